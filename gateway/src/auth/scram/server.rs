//! The server's side: client-first, server-first, client-final, server-final (RFC 5802 §5, §7).
//!
//! Between its two words a server remembers only the two first messages ([`Exchange`]); whom they are
//! about is looked up again.

use data_encoding::BASE64;
use motegate_core::Verifier;

use super::{Bad, NONCE, value};
use crate::auth::password::{Key, hash, hmac, same};

/// Separates what an exchange is made of; no message has one.
const SEPARATOR: char = '\0';

/// The client's first message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ClientFirst<'a> {
    whole: &'a str,
    /// What stands before `bare`: `n,,`.
    gs2: &'a str,
    bare: &'a str,
    /// The name, unescaped.
    pub(crate) user: String,
    nonce: &'a str,
}

/// An exchange in which the client has the last word.
#[derive(Debug)]
pub(crate) struct Exchange<'a> {
    pub(crate) first: ClientFirst<'a>,
    server_first: &'a str,
}

impl<'a> ClientFirst<'a> {
    /// Reads `gs2-header client-first-message-bare`.
    pub(crate) fn read(data: &'a [u8]) -> Result<Self, Bad> {
        let whole = std::str::from_utf8(data).map_err(|_| Bad)?;
        if whole.contains(SEPARATOR) {
            return Err(Bad);
        }
        let (binding, rest) = whole.split_once(',').ok_or(Bad)?;
        // `p=…` asks for a binding, which this mechanism's name does not offer (§6).
        if !matches!(binding, "n" | "y") {
            return Err(Bad);
        }
        let (authzid, bare) = rest.split_once(',').ok_or(Bad)?;
        let gs2 = whole.strip_suffix(bare).ok_or(Bad)?;
        // Extensions that must be understood (`m=`) are none of a name, and so refused.
        let mut attributes = bare.split(',');
        let user = unescape(value("n", attributes.next())?)?;
        let nonce = value("r", attributes.next())?;
        let printable = nonce.bytes().all(|b| b.is_ascii_graphic());
        if nonce.is_empty() || !printable || user.is_empty() {
            return Err(Bad);
        }
        // Nobody acts for anybody else.
        if !authzid.is_empty() && unescape(value("a", Some(authzid))?)? != user {
            return Err(Bad);
        }
        Ok(ClientFirst { whole, gs2, bare, user, nonce })
    }

    /// The server's first message, and the [`Exchange`] as text.
    pub(crate) fn answer(&self, verifier: &Verifier, nonce: &[u8; NONCE]) -> (String, String) {
        let Verifier { iterations, salt, .. } = verifier;
        let (salt, ours) = (BASE64.encode(salt), BASE64.encode(nonce));
        let answer = format!("r={}{ours},s={salt},i={iterations}", self.nonce);
        let state = format!("{}{SEPARATOR}{answer}", self.whole);
        (answer, state)
    }
}

impl<'a> Exchange<'a> {
    /// From the text that [`ClientFirst::answer`] has made.
    pub(crate) fn read(state: &'a [u8]) -> Result<Self, Bad> {
        let text = std::str::from_utf8(state).map_err(|_| Bad)?;
        let (first, server_first) = text.split_once(SEPARATOR).ok_or(Bad)?;
        Ok(Exchange { first: ClientFirst::read(first.as_bytes())?, server_first })
    }

    /// Checks the client's last message; the server's last message.
    pub(crate) fn finish(&self, verifier: &Verifier, data: &[u8]) -> Result<String, Bad> {
        let text = std::str::from_utf8(data).map_err(|_| Bad)?;
        let (without_proof, proof) = text.rsplit_once(",p=").ok_or(Bad)?;
        let proof = BASE64.decode(proof.as_bytes()).map_err(|_| Bad)?;
        let proof: Key = proof.try_into().map_err(|_| Bad)?;
        let mut attributes = without_proof.split(',');
        let binding = value("c", attributes.next())?;
        let nonce = value("r", attributes.next())?;
        let expected = value("r", self.server_first.split(',').next())?;
        if binding != BASE64.encode(self.first.gs2.as_bytes()) || nonce != expected {
            return Err(Bad);
        }
        let message: [&[u8]; 5] = [
            self.first.bare.as_bytes(),
            b",",
            self.server_first.as_bytes(),
            b",",
            without_proof.as_bytes(),
        ];
        let signature = hmac(&verifier.stored_key, &message);
        let client_key: Key = std::array::from_fn(|i| proof[i] ^ signature[i]);
        if !same(&hash(&client_key), &verifier.stored_key) {
            return Err(Bad);
        }
        Ok(format!("v={}", BASE64.encode(&hmac(&verifier.server_key, &message))))
    }
}

/// `saslname` (RFC 5802 §5.1): `,` and `=` are written `=2C` and `=3D`.
fn unescape(name: &str) -> Result<String, Bad> {
    let mut out = String::with_capacity(name.len());
    for (i, part) in name.split('=').enumerate() {
        let rest = match i {
            0 => part,
            _ if part.starts_with("2C") => {
                out.push(',');
                &part[2..]
            }
            _ if part.starts_with("3D") => {
                out.push('=');
                &part[2..]
            }
            _ => return Err(Bad),
        };
        out.push_str(rest);
    }
    Ok(out)
}
