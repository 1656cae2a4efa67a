//! What a registration is to be ([`Settings`]), what it asks for ([`Action`]), and what it reports
//! ([`Event`]).

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::uri::{Server, Uri};
use crate::client::Request;
use crate::endpoint::Code;

/// Which registration is kept up, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The registration resource; without a path it is asked for (§4.3).
    pub directory: Uri,
    /// `ep`: at most 63 bytes, without control characters.
    pub endpoint: String,
    /// `d`: the same.
    pub sector: Option<String>,
    /// `lt`, in seconds: 1 or more.
    pub lifetime_secs: u32,
    /// How often the links are looked at.
    pub links_every: Duration,
}

/// What is to be done; one at a time, each answered by one of the machine's `handle_…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Find this server; any other is done with. → `handle_opened` or `handle_failed`.
    Open(Server),
    /// Look at the links, and at where they lie. → `handle_look` or `handle_failed`.
    Look,
    /// Send this to the server that was opened. → `handle_response` or `handle_failed`.
    Ask(Request),
}

/// What is to be registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// In Limited Link Format (RFC 9176 appendix C).
    pub links: String,
    /// How many they are.
    pub count: usize,
    /// The URI that their paths are relative to, as seen from the directory.
    pub base: String,
}

/// A registration that stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// Where.
    pub server: Server,
    /// The registration's own resource there.
    pub location: Vec<String>,
    /// How many links.
    pub links: usize,
    /// What they are relative to.
    pub base: String,
}

/// What the registration reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It stands, for the first time or anew.
    Registered(Registered),
    /// Its lifetime begins anew.
    Renewed(Registered),
    /// The directory did not renew it; it is registered anew at once.
    Lost(Failure),
    /// It does not stand, or not as it should.
    Failed {
        /// Why.
        failure: Failure,
        /// When it is tried again.
        again_in: Duration,
    },
    /// It was removed: the end.
    Removed,
}

/// Why something did not go as it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The shell's words: no answer, no such host, no links.
    #[error("{0}")]
    Shell(String),
    /// It is no directory.
    #[error("{0} has no resource of type core.rd in its .well-known/core")]
    NoResource(Server),
    /// It says no.
    #[error("{server} answers {} to the {what}{text}", told(*code))]
    Refused {
        /// Who.
        server: Server,
        /// Which request.
        what: &'static str,
        /// With which code.
        code: Code,
        /// Its words, behind a colon; empty without.
        text: String,
    },
    /// §5: "The Location-Path option … MUST be included".
    #[error("{0} answers the registration without a Location-Path")]
    NoLocation(Server),
}

fn told(code: Code) -> String {
    alloc::format!("{}.{:02}", code.class(), code.detail())
}

/// What was done, since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Registrations, those again included.
    pub registrations: u64,
    /// Updates.
    pub updates: u64,
    /// Attempts that failed.
    pub failures: u64,
}
