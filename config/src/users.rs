//! The `users` block: names, and what is kept of their passwords.
//!
//! A password itself is an error here, and no message shows what stands in its place: what is wrong
//! with it is said in words (see also [`secret`](crate::secret)).

use std::collections::HashSet;
use std::sync::Arc;

use motegate_core::{Users, Verifier, VerifierError};
use motegate_mapping::Place;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::diagnostic::{Code, Diagnostic};
use crate::reader::Reader;
use crate::value::Typed;

/// As long as a User Name of MQTT can be.
const MAX_NAME: usize = 65_535;

/// Somebody who has a password.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct User {
    /// The user name that clients send.
    #[schemars(extend("required" = true))]
    pub(crate) name: Option<Typed<String>>,
    /// What is kept of the password: a SCRAM-SHA-256 verifier, as `motegate passwd` writes it and
    /// PostgreSQL keeps it.
    #[schemars(extend("required" = true, "secret" = "digest"))]
    pub(crate) password: Option<Typed<String>>,
}

/// Reads the block.
pub(crate) fn read(reader: &mut Reader<'_>, block: &[User], at: &Place) -> Users {
    let mut users = Vec::with_capacity(block.len());
    let mut seen: HashSet<String> = HashSet::with_capacity(block.len());
    for (i, user) in block.iter().enumerate() {
        let at = at.at(i);
        let name = name(reader, user, &at);
        let verifier = verifier(reader, user, &at);
        let Some(name) = name else { continue };
        if !seen.insert(name.clone()) {
            let d = Diagnostic::new(
                Code::UserName,
                format!("there are two users {name:?}"),
                "remove one of them, or give it another name",
            );
            // Not the first beside it: the lines between hold what must not be shown.
            reader.found.push(d.at(reader.document.value(&at.at("name"))));
            continue;
        }
        users.extend(verifier.map(|verifier| (Arc::from(name), verifier)));
    }
    users.into_iter().collect()
}

fn name(reader: &mut Reader<'_>, user: &User, at: &Place) -> Option<String> {
    if user.name.is_none() {
        reader.missing(at, "name", "add `name: …`, the MQTT user name");
        return None;
    }
    let name = reader.get(user.name.as_ref(), at, "name")?;
    let text = match name.len() {
        0 => "a user's name cannot be empty",
        n if n > MAX_NAME => "a user's name cannot be longer than 65,535 bytes",
        _ if name.contains('\0') => "a user's name cannot hold U+0000",
        _ => return Some(name),
    };
    reader.report(&at.at("name"), Code::UserName, text, "give the name that clients will send");
    None
}

fn verifier(reader: &mut Reader<'_>, user: &User, at: &Place) -> Option<Verifier> {
    if user.password.is_none() {
        let fix = "`motegate passwd NAME` asks for the password and writes the whole entry";
        reader.missing(at, "password", fix);
        return None;
    }
    let text = reader.get(user.password.as_ref(), at, "password")?;
    match text.parse() {
        Ok(verifier) => Some(verifier),
        Err(error) => {
            let (text, fix) = what_is_wrong(&text, error);
            let place = at.at("password");
            reader.report(&place, Code::Password, text, fix);
            None
        }
    }
}

/// The cause and the way out; nothing of the text is shown.
fn what_is_wrong(text: &str, error: VerifierError) -> (&'static str, &'static str) {
    const AGAIN: &str = "have `motegate passwd NAME` write the entry again, and copy all of it";
    let text = match error {
        VerifierError::Scheme => return foreign(text),
        VerifierError::Parts => "a part of this SCRAM-SHA-256 verifier is missing",
        VerifierError::Iterations => "the iterations of this verifier are not 1 to 1000000",
        VerifierError::Salt => "the salt of this verifier is not in base64, or empty",
        VerifierError::Key => "a key of this verifier is not 32 bytes in base64",
    };
    (text, AGAIN)
}

/// What else people have: other programs' hashes, what `config show` prints, and plain passwords.
fn foreign(text: &str) -> (&'static str, &'static str) {
    const NEW: &str =
        "have `motegate passwd NAME` write the entry; the password itself must be known for that";
    let is = |all: &[&str]| all.iter().any(|start| text.starts_with(start));
    if text == "***" {
        ("this is what `config show` writes in place of a secret", "copy the entry from the file")
    } else if is(&["$6$", "$7$"]) {
        ("this is a hash of mosquitto_passwd, which cannot be changed into a verifier", NEW)
    } else if is(&["$2a$", "$2b$", "$2y$", "$5$", "$argon2", "$pbkdf2", "$scrypt", "$1$"]) {
        ("this is another kind of hash, which cannot be changed into a verifier", NEW)
    } else if is(&["SCRAM-"]) {
        ("this is a verifier of another mechanism than SCRAM-SHA-256", NEW)
    } else if is(&["md5"]) && text.len() == 35 {
        ("this is an MD5 hash, which cannot be changed into a verifier", NEW)
    } else {
        (
            "a password stands here as it is, or something that is no verifier",
            "`motegate passwd NAME` asks for the password and writes what belongs here",
        )
    }
}
