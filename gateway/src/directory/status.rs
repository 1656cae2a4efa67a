//! [`Status`]: what is told of the registration, to the control interface.

use motegate_coap::directory::{Counts, Registered};
use motegate_config::ResourceDirectory;
use motegate_message::Wall;

use crate::clock::Clock;

/// How the registration stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// It was not made yet.
    Registering,
    /// It is there.
    Registered,
    /// The last attempt failed.
    Failing,
}

impl State {
    /// The published word.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            State::Registering => "registering",
            State::Registered => "registered",
            State::Failing => "failing",
        }
    }
}

/// Of a registration that is to be there.
#[derive(Debug, Clone)]
pub(crate) struct Status {
    /// As configured.
    pub(crate) uri: String,
    /// `ep`.
    pub(crate) endpoint: String,
    /// `d`.
    pub(crate) sector: Option<String>,
    /// Whose resources.
    pub(crate) listener: String,
    pub(crate) state: State,
    /// Since when it is in that state.
    pub(crate) since: Wall,
    /// The registration, if it was ever made.
    pub(crate) registered: Option<Registered>,
    /// When the directory last took it, or its renewal.
    pub(crate) confirmed: Option<Wall>,
    /// Resources that are not registered because there are too many.
    pub(crate) left_out: usize,
    /// The last failure, and when that was.
    pub(crate) last_failure: Option<(Wall, String)>,
    pub(crate) counts: Counts,
}

impl Status {
    pub(super) fn new(wanted: &ResourceDirectory, endpoint: &str) -> Self {
        Status {
            uri: place(&wanted.uri.server.to_string(), &wanted.uri.path),
            endpoint: endpoint.to_owned(),
            sector: wanted.sector.clone(),
            listener: wanted.listener.to_string(),
            state: State::Registering,
            since: Clock::wall(),
            registered: None,
            confirmed: None,
            left_out: 0,
            last_failure: None,
            counts: Counts::default(),
        }
    }

    pub(super) fn to(&mut self, state: State) {
        if self.state != state {
            self.state = state;
            self.since = Clock::wall();
        }
    }

    pub(super) fn confirm(&mut self, registered: Registered) {
        self.to(State::Registered);
        self.registered = Some(registered);
        self.confirmed = Some(Clock::wall());
    }

    pub(super) fn fail(&mut self, why: String) {
        self.to(State::Failing);
        self.last_failure = Some((Clock::wall(), why));
    }

    /// The registration's own resource.
    pub(crate) fn location(&self) -> Option<String> {
        let registered = self.registered.as_ref()?;
        Some(place(&registered.server.to_string(), &registered.location))
    }
}

fn place(server: &str, path: &[String]) -> String {
    let path = path.iter().flat_map(|segment| ["/", segment.as_str()]);
    std::iter::once(server).chain(path).collect()
}
