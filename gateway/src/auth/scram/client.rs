//! The client's side: for `motegate pub` and `sub`, and for tests.

use data_encoding::BASE64;
use motegate_core::Verifier;

use super::{Bad, NONCE, value};
use crate::auth::password::{Key, client_key, hash, hmac, salted, server_key};

/// No channel binding, and nobody to act for.
const GS2: &str = "n,,";

/// Who wants to log in; good for one exchange.
pub(crate) struct Client {
    bare: String,
    nonce: String,
    password: Vec<u8>,
}

impl Client {
    /// A client with a new nonce.
    pub(crate) fn new(user: &str, password: &[u8]) -> Result<Self, getrandom::Error> {
        let mut nonce = [0; NONCE];
        getrandom::fill(&mut nonce)?;
        Ok(Self::with_nonce(user, password, &BASE64.encode(&nonce)))
    }

    pub(super) fn with_nonce(user: &str, password: &[u8], nonce: &str) -> Self {
        let user = user.replace('=', "=3D").replace(',', "=2C");
        let (bare, nonce) = (format!("n={user},r={nonce}"), nonce.to_owned());
        Client { bare, nonce, password: password.to_owned() }
    }

    /// Its first message.
    pub(crate) fn first(&self) -> String {
        [GS2, &self.bare].concat()
    }

    /// Its last message, and what the server's last one must be.
    pub(crate) fn finish(&self, server_first: &[u8]) -> Result<(String, String), Bad> {
        let server_first = std::str::from_utf8(server_first).map_err(|_| Bad)?;
        let mut attributes = server_first.split(',');
        let nonce = value("r", attributes.next())?;
        let salt = value("s", attributes.next())?;
        let iterations = value("i", attributes.next())?.parse::<u32>().map_err(|_| Bad)?;
        let salt = BASE64.decode(salt.as_bytes()).map_err(|_| Bad)?;
        // [RFC 5802 §5.1]: the server has added to the nonce.
        let added = nonce.strip_prefix(&self.nonce).is_some_and(|rest| !rest.is_empty());
        if !added || salt.is_empty() || !(1..=Verifier::MAX_ITERATIONS).contains(&iterations) {
            return Err(Bad);
        }
        let salted = salted(&self.password, &salt, iterations);
        let client_key = client_key(&salted);
        let without_proof = format!("c={},r={nonce}", BASE64.encode(GS2.as_bytes()));
        let message = [&*self.bare, server_first, &without_proof].join(",");
        let signature = hmac(&hash(&client_key), &[message.as_bytes()]);
        let proof: Key = std::array::from_fn(|i| client_key[i] ^ signature[i]);
        let expected = hmac(&server_key(&salted), &[message.as_bytes()]);
        let last = format!("{without_proof},p={}", BASE64.encode(&proof));
        Ok((last, format!("v={}", BASE64.encode(&expected))))
    }
}
