//! Who has a password: names and [`Verifier`]s, plain data of the configuration.
//!
//! A verifier is what a server keeps of a password for SCRAM (RFC 5802 §3, RFC 7677): it can be
//! checked against, and the password cannot be read from it. Its text is PostgreSQL's (RFC 5803
//! says the same in other words): `SCRAM-SHA-256$ITERATIONS:SALT$STORED_KEY:SERVER_KEY`, in base64.
//! Nothing is computed here: whoever answers `Output::Authenticate` does that.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use data_encoding::BASE64;
use hashbrown::HashMap;

/// Bytes of a SHA-256 digest.
const DIGEST: usize = 32;
/// What a verifier's text begins with.
const SCHEME: &str = "SCRAM-SHA-256$";

/// What is kept of a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    /// Rounds of PBKDF2, 1 to [`Verifier::MAX_ITERATIONS`]: the cost of a check.
    pub iterations: u32,
    /// Some bytes, 1 to 255.
    pub salt: Box<[u8]>,
    /// H(HMAC(SaltedPassword, "Client Key")).
    pub stored_key: [u8; DIGEST],
    /// HMAC(SaltedPassword, "Server Key").
    pub server_key: [u8; DIGEST],
}

impl Verifier {
    /// More would let one login take seconds.
    pub const MAX_ITERATIONS: u32 = 1_000_000;
}

/// A `Debug` shows nothing that a password could be guessed from.
impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

/// As it stands in a configuration.
impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Verifier { iterations, salt, stored_key, server_key } = self;
        write!(f, "{SCHEME}{iterations}:{}", BASE64.encode(salt))?;
        write!(f, "${}:{}", BASE64.encode(stored_key), BASE64.encode(server_key))
    }
}

/// What is wrong with the text of a verifier; shows nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VerifierError {
    /// It does not begin as one.
    Scheme,
    /// A part is missing, or one is left over.
    Parts,
    /// The iterations are no number, or out of range.
    Iterations,
    /// The salt is not in base64, or empty or longer than 255 bytes.
    Salt,
    /// A key is not in base64, or not 32 bytes.
    Key,
}

impl FromStr for Verifier {
    type Err = VerifierError;

    fn from_str(text: &str) -> Result<Self, VerifierError> {
        let rest = text.strip_prefix(SCHEME).ok_or(VerifierError::Scheme)?;
        let (first, second) = rest.split_once('$').ok_or(VerifierError::Parts)?;
        let (iterations, salt) = first.split_once(':').ok_or(VerifierError::Parts)?;
        let (stored, server) = second.split_once(':').ok_or(VerifierError::Parts)?;
        let digits = iterations.bytes().all(|b| b.is_ascii_digit());
        let iterations = iterations.parse().ok().filter(|_| digits);
        let salt = BASE64.decode(salt.as_bytes()).ok();
        Ok(Verifier {
            iterations: iterations
                .filter(|n| (1..=Verifier::MAX_ITERATIONS).contains(n))
                .ok_or(VerifierError::Iterations)?,
            salt: salt
                .filter(|salt| (1..=255).contains(&salt.len()))
                .ok_or(VerifierError::Salt)?
                .into(),
            stored_key: key(stored)?,
            server_key: key(server)?,
        })
    }
}

fn key(text: &str) -> Result<[u8; DIGEST], VerifierError> {
    let bytes = BASE64.decode(text.as_bytes()).map_err(|_| VerifierError::Key)?;
    bytes.try_into().map_err(|_| VerifierError::Key)
}

/// Users by name, compared byte for byte.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Users {
    by_name: HashMap<Arc<str>, Verifier>,
}

impl Users {
    /// The verifier of a user, and the name to share.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<(&Arc<str>, &Verifier)> {
        self.by_name.get_key_value(name)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Verifier)> {
        self.by_name.iter()
    }
}

impl FromIterator<(Arc<str>, Verifier)> for Users {
    fn from_iter<T: IntoIterator<Item = (Arc<str>, Verifier)>>(users: T) -> Self {
        Users { by_name: users.into_iter().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the password `pencil` with the salt and iterations of RFC 7677 §3.
    const TEXT: &str = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==\
                        $WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=\
                        :wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";

    #[test]
    fn a_verifier_is_read_and_written() {
        let verifier: Verifier = TEXT.parse().unwrap();
        assert_eq!((verifier.iterations, verifier.salt.len()), (4096, 16));
        assert_eq!(verifier.to_string(), TEXT);
        assert_eq!(format!("{verifier:?}"), "Verifier { iterations: 4096, .. }");
    }

    #[test]
    fn what_is_no_verifier_says_what_is_wrong() {
        use VerifierError::*;
        for (text, error) in [
            ("", Scheme),
            ("hunter2", Scheme),
            ("SCRAM-SHA-1$4096:QQ==$QQ==:QQ==", Scheme),
            ("SCRAM-SHA-256$4096", Parts),
            ("SCRAM-SHA-256$4096:QQ==$QQ==", Parts),
            (&TEXT.replace("4096", "0"), Iterations),
            (&TEXT.replace("4096", "+4096"), Iterations),
            (&TEXT.replace("4096", "1000001"), Iterations),
            (&TEXT.replace("4096", "99999999999"), Iterations),
            (&TEXT.replace("W22ZaJ0SNY7soEsUEjb6gQ==", ""), Salt),
            (&TEXT.replace("W22ZaJ0SNY7soEsUEjb6gQ==", "W22ZaJ0SNY7soEsUEjb6gQ"), Salt),
            (&TEXT.replace("WG5d8oPm3O", "WG5d8oPm3*"), Key),
            (&TEXT.replace("WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=", "QQ=="), Key),
            (&format!("{TEXT}:QQ=="), Key),
        ] {
            assert_eq!(text.parse::<Verifier>(), Err(error), "{text}");
        }
    }
}
