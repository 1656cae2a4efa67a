//! Why a client command did not do what it was asked, and what to try next.
//!
//! Every failure belongs to one exit code of the command line and says who is at fault: the name,
//! the way, the peer's silence, its refusal, its protocol, or the command.

use std::borrow::Cow;
use std::fmt::Display;
use std::io;

/// A failure of a client.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The command makes no sense; found after the arguments were parsed.
    #[error("{0}")]
    Usage(String),
    /// The name has no address.
    #[error("there is no host `{host}`")]
    NoSuchHost {
        /// As it was given.
        host: String,
    },
    /// The host answers that the port is closed.
    #[error("nothing listens on {place}")]
    NothingListens {
        /// Addresses, port and transport.
        place: String,
        /// The option that moves a gateway of ours there, if any.
        hint: &'static str,
    },
    /// The system knows no way there, or refuses a socket.
    #[error("cannot reach {place}: {source}")]
    Unreachable {
        /// Address and transport.
        place: String,
        /// What the system says.
        source: io::Error,
    },
    /// No answer in time.
    #[error("timed out: {what}")]
    TimedOut {
        /// What was waited for.
        what: String,
        /// What helps.
        hint: Cow<'static, str>,
    },
    /// The peer said no.
    #[error("{text}")]
    Refused {
        /// The request, and the peer's words or code.
        text: String,
        /// What helps.
        hint: Cow<'static, str>,
    },
    /// The server failed at it, through no fault of the request.
    #[error("{0}")]
    Failed(String),
    /// The connection ended although nobody asked for that.
    #[error("{text}")]
    Ended {
        /// How.
        text: String,
        /// What helps.
        hint: &'static str,
    },
    /// The peer takes connections and nothing through them, or nothing moves any more.
    #[error("{text}")]
    NoProgress {
        /// What was tried, and how it ended.
        text: String,
        /// What helps.
        hint: &'static str,
    },
    /// The peer does not keep the rules.
    #[error("protocol error: {0}")]
    Protocol(String),
    /// A file or a stream of ours.
    #[error("{what}: {source}")]
    File {
        /// Which.
        what: String,
        /// What the system says.
        source: io::Error,
    },
    /// Whoever read our output has gone: nothing to say and nobody to say it to.
    #[error("nobody reads the output any more")]
    Unread,
}

impl Error {
    /// A usage error.
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Error::Usage(text.into())
    }

    /// Nothing came in time.
    pub(crate) fn timed_out(what: impl Into<String>) -> Self {
        let hint = "check host, port and firewall; -W SECONDS waits longer, -d shows packets";
        Error::TimedOut { what: what.into(), hint: hint.into() }
    }

    /// The file or stream `what` failed.
    pub(crate) fn file(what: impl Display, source: io::Error) -> Self {
        Error::File { what: what.to_string(), source }
    }

    /// Whether another attempt may end otherwise: the server was not there, or is no more.
    pub(crate) const fn may_pass(&self) -> bool {
        matches!(
            self,
            Error::NothingListens { .. }
                | Error::Unreachable { .. }
                | Error::Ended { .. }
                | Error::TimedOut { .. }
        )
    }

    /// What to try next.
    pub(crate) fn hint(&self) -> Option<&str> {
        match self {
            Error::NoSuchHost { .. } => {
                Some("check the spelling, or give the address itself: 192.168.1.10")
            }
            Error::TimedOut { hint, .. } => Some(hint),
            Error::NothingListens { hint, .. } | Error::NoProgress { hint, .. } => Some(hint),
            Error::Unreachable { .. } => Some("check the network and the address"),
            Error::Refused { hint, .. } if !hint.is_empty() => Some(hint),
            Error::Ended { hint, .. } if !hint.is_empty() => Some(hint),
            Error::Protocol(_) => {
                Some("is another protocol spoken on this port? -d shows the packets")
            }
            _ => None,
        }
    }
}

impl From<io::Error> for Error {
    /// Of writing to stdout.
    fn from(source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::BrokenPipe => Error::Unread,
            _ => Error::file("stdout", source),
        }
    }
}
