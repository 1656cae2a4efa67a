//! `motegate passwd`: what the configuration keeps of a password.

use std::io::{self, BufRead as _, IsTerminal as _};

use clap::Args;
use motegate_core::Verifier;

use super::pages::write;
use super::{Exit, fail};
use crate::auth::password::{self, ITERATIONS, SALT};

/// Longest password, in bytes, as MQTT can carry it.
const MAX: usize = 65_535;

/// Print an entry of `users` for an MQTT client's name and password
///
/// Asks for the password on a terminal, without showing it; otherwise the first line of stdin is
/// it. What is printed holds a SCRAM-SHA-256 verifier, not the password, and is a whole file:
/// beside the configuration in `conf.d`, or pasted into it. Users of several files are one list.
/// `motegate reload` lets them in, and sends away who has another password now.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  motegate passwd anna > conf.d/anna.yaml
  pwgen 24 1 | tee /dev/stderr | motegate passwd meter-7 >> users.txt")]
pub(super) struct Passwd {
    /// The user name that the client will send
    name: String,
    /// Rounds of hashing; a login costs so many, here and in a client of SCRAM
    #[arg(
        long,
        value_name = "N",
        default_value_t = ITERATIONS,
        value_parser = clap::value_parser!(u32).range(4096..=i64::from(Verifier::MAX_ITERATIONS))
    )]
    iterations: u32,
}

impl Passwd {
    pub(super) fn run(&self) -> Exit {
        if self.name.is_empty() || self.name.contains('\0') {
            return fail(Exit::Usage, &"a user's name cannot be empty");
        }
        let password = match ask(&self.name) {
            Ok(password) => password,
            Err(error) => return fail(Exit::Failed, &error),
        };
        let mut salt = [0; SALT];
        if let Err(error) = getrandom::fill(&mut salt) {
            return fail(Exit::Failed, &format!("no random numbers: {error}"));
        }
        let verifier = password::verifier(password.as_bytes(), &salt, self.iterations);
        write(entry(&self.name, &verifier).as_bytes())
    }
}

fn entry(name: &str, verifier: &Verifier) -> String {
    // A JSON string is one of YAML, whatever the name holds.
    let name = serde_json::Value::from(name);
    format!("users:\n  - name: {name}\n    password: \"{verifier}\"\n")
}

fn ask(name: &str) -> Result<String, String> {
    let unread = |error: io::Error| format!("the password cannot be read: {error}");
    let password = if io::stdin().is_terminal() {
        let first = rpassword::prompt_password(format!("Password of {name}: ")).map_err(unread)?;
        let again = rpassword::prompt_password("Once more: ").map_err(unread)?;
        if first != again {
            return Err("the two are not the same; nothing was written".into());
        }
        first
    } else {
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line).map_err(unread)?;
        line.trim_end_matches(['\n', '\r']).to_owned()
    };
    match password.len() {
        0 => Err("a password cannot be empty".into()),
        n if n > MAX => Err("a password cannot be longer than 65,535 bytes".into()),
        _ => Ok(password),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_a_file_that_loads() {
        for name in ["anna", "a: \"b\" #c", "ü{x}", "- 1", "null", "\u{1}"] {
            let verifier = password::verifier(b"pencil", b"salt", 1);
            let text = entry(name, &verifier);
            let loaded = motegate_config::Layers::new().text("users.yaml", text).load().unwrap();
            assert_eq!(loaded.core.users.get(name).map(|(_, v)| v), Some(&verifier), "{name}");
        }
    }
}
