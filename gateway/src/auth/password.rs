//! Passwords and what a server keeps of them (RFC 5802 §3, RFC 7677): salted, stored and server key.
//!
//! `SaltedPassword := PBKDF2-HMAC-SHA-256(SASLprep(password), salt, i)`. A password that SASLprep
//! (RFC 4013) does not take, or that is no UTF-8 (MQTT's may be any bytes), is used as it is, which
//! is what PostgreSQL does.

use std::borrow::Cow;

use hmac::{Hmac, KeyInit as _, Mac as _};
use motegate_core::Verifier;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// Rounds of a new verifier: RFC 7677 §4 asks for this at least; small devices have to do them, too.
pub(crate) const ITERATIONS: u32 = 4_096;
/// Bytes of a new salt.
pub(crate) const SALT: usize = 16;

/// A digest, or a key of that length.
pub(crate) type Key = [u8; 32];

/// A password as it is hashed.
pub(crate) fn prepare(password: &[u8]) -> Cow<'_, [u8]> {
    let text = std::str::from_utf8(password).ok();
    match text.map(stringprep::saslprep) {
        Some(Ok(Cow::Owned(text))) => Cow::Owned(text.into_bytes()),
        _ => Cow::Borrowed(password),
    }
}

/// SaltedPassword.
pub(crate) fn salted(password: &[u8], salt: &[u8], iterations: u32) -> Key {
    let mut key = Key::default();
    pbkdf2::pbkdf2_hmac::<Sha256>(&prepare(password), salt, iterations, &mut key);
    key
}

/// HMAC-SHA-256 of the parts, one after another.
pub(crate) fn hmac(key: &[u8], parts: &[&[u8]]) -> Key {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

/// H(…).
pub(crate) fn hash(data: &[u8]) -> Key {
    Sha256::digest(data).into()
}

/// ClientKey.
pub(crate) fn client_key(salted: &Key) -> Key {
    hmac(salted, &[b"Client Key"])
}

/// ServerKey.
pub(crate) fn server_key(salted: &Key) -> Key {
    hmac(salted, &[b"Server Key"])
}

/// What to keep of a new password.
pub(crate) fn verifier(password: &[u8], salt: &[u8], iterations: u32) -> Verifier {
    let salted = salted(password, salt, iterations);
    Verifier {
        iterations,
        salt: salt.into(),
        stored_key: hash(&client_key(&salted)),
        server_key: server_key(&salted),
    }
}

/// Whether a password is the verifier's; the comparison takes the same time whatever differs.
pub(crate) fn is_right(verifier: &Verifier, password: &[u8]) -> bool {
    let salted = salted(password, &verifier.salt, verifier.iterations);
    same(&hash(&client_key(&salted)), &verifier.stored_key)
}

/// Equality in constant time.
pub(crate) fn same(one: &Key, other: &Key) -> bool {
    one.ct_eq(other).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// That of RFC 7677 §3.
    const PENCIL: &str = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==\
                          $WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=\
                          :wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";

    #[test]
    fn a_verifier_is_postgresqls() {
        let known: Verifier = PENCIL.parse().unwrap();
        assert_eq!(verifier(b"pencil", &known.salt, 4096), known);
        assert!(is_right(&known, b"pencil"));
        for wrong in [&b"pencil "[..], b"Pencil", b"", b"penci\xff"] {
            assert!(!is_right(&known, wrong));
        }
    }

    /// RFC 4013 §3: what looks the same is the same; what is forbidden is taken as it is.
    #[test]
    fn passwords_are_prepared() {
        assert_eq!(&*prepare("I\u{ad}X".as_bytes()), b"IX");
        assert_eq!(&*prepare("\u{2168}".as_bytes()), b"IX");
        assert_eq!(&*prepare("\u{aa}".as_bytes()), b"a");
        for as_it_is in [&b"user"[..], b"a\x07b", "\u{627}1".as_bytes(), b"\xff\x00"] {
            assert_eq!(&*prepare(as_it_is), as_it_is);
        }
    }
}
