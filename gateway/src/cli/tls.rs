//! The options of TLS, which every client command has.

use std::path::PathBuf;

use clap::Args;

use crate::client::{Credentials, Error, Target};

/// What TLS trusts and shows.
#[derive(Debug, Args)]
pub(super) struct Tls {
    /// Trust the certificates of this PEM file [default: what the system trusts]
    #[arg(long, value_name = "FILE", help_heading = "TLS")]
    cafile: Option<PathBuf>,
    /// Show this certificate
    #[arg(long, value_name = "FILE", requires = "key", help_heading = "TLS")]
    cert: Option<PathBuf>,
    /// Its private key
    #[arg(long, value_name = "FILE", requires = "cert", help_heading = "TLS")]
    key: Option<PathBuf>,
    /// Take a certificate for another host name; it must be trusted all the same
    #[arg(long, help_heading = "TLS")]
    insecure: bool,
}

impl Tls {
    pub(super) fn credentials(&self) -> Credentials {
        Credentials {
            ca: self.cafile.clone(),
            cert: self.cert.clone(),
            key: self.key.clone(),
            insecure: self.insecure,
        }
    }

    /// Gives them to those that have TLS; `schemes` are there to be used where none has.
    pub(super) fn apply(&self, targets: &mut [Target], schemes: &str) -> Result<(), Error> {
        let credentials = self.credentials();
        let secure = targets.iter_mut().filter(|target| target.transport.is_tls());
        let given = secure.map(|target| target.tls = credentials.clone()).count();
        if credentials.is_set() && given == 0 {
            let names: Vec<String> = targets.iter().map(Target::to_string).collect();
            return Err(Error::usage(format!(
                "{} has no TLS, so --cafile, --cert, --key and --insecure have no meaning: \
                 use {schemes}",
                names.first().map_or("", String::as_str)
            )));
        }
        Ok(())
    }
}
