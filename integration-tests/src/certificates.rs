//! Certificates made on the spot by the `openssl` command: an authority, and a server on loopback.

use std::path::{Path, PathBuf};

use crate::gateway::scratch;
use crate::peer::program;
use crate::process::Process;

/// Files of a scratch directory; dropped, they are gone.
#[derive(Debug)]
pub struct Certificates {
    directory: PathBuf,
}

impl Certificates {
    /// An authority of its own, and a certificate for `localhost`, 127.0.0.1 and ::1.
    ///
    /// # Panics
    /// If `openssl` is not installed or fails.
    pub fn make() -> Certificates {
        let made = Certificates { directory: scratch("certificates") };
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
        made.openssl(&format!(
            "req -x509 {key} -keyout ca.key -out ca.pem -days 2 -subj /CN=authority \
             -addext keyUsage=critical,keyCertSign,cRLSign"
        ));
        made.openssl(&format!(
            "req {key} -keyout server.key -out server.csr -subj /CN=localhost \
             -addext subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1"
        ));
        made.openssl(
            "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \
             -copy_extensions copy -out server.pem",
        );
        made
    }

    /// What clients trust.
    pub fn authority(&self) -> PathBuf {
        self.directory.join("ca.pem")
    }

    /// What the server shows.
    pub fn server(&self) -> PathBuf {
        self.directory.join("server.pem")
    }

    /// Its private key.
    pub fn key(&self) -> PathBuf {
        self.directory.join("server.key")
    }

    fn openssl(&self, line: &str) {
        let mut command = program("openssl", "openssl");
        command.args(line.split_whitespace()).current_dir(&self.directory);
        Process::start(command).succeed();
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        // Left behind in the system's temporary folder at worst.
        let _ = std::fs::remove_dir_all::<&Path>(&self.directory);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_authority_vouches_for_the_server() {
        let made = Certificates::make();
        made.openssl("verify -CAfile ca.pem -verify_ip 127.0.0.1 server.pem");
        assert!(made.key().is_file());
    }
}
