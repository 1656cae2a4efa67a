//! How a run ended, where that was not its end: nothing was taken, nothing moved, nothing was sent.

use super::load::Load;
use super::plan::Plan;
use super::report::Report;
use crate::client::Error;

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// `None`: nothing got through.
    pub(crate) report: Option<Report>,
    /// Why it did not go on to its end.
    pub(crate) ended: Option<Error>,
}

/// Nothing happens any more, and something should.
pub(super) fn stuck(plan: &Plan, what: &str) -> Error {
    let secs = plan.wait.as_secs_f64();
    Error::NoProgress {
        text: format!("nothing {what}: no sign of {} for {secs} s", plan.from),
        hint: "is the gateway up, and not overloaded? -W SECONDS waits longer",
    }
}

/// All connections are gone; an error if no message went through one of them.
pub(super) fn closed(plan: &Plan, load: &Load, last: Option<&Error>) -> Option<Error> {
    if load.counts.broken == 0 || load.is_accepted(plan.acknowledges()) {
        return None;
    }
    let why = last.map_or(String::new(), |gone| format!(": {gone}"));
    Some(Error::NoProgress {
        text: format!("the server ended every connection and took no message{why}"),
        hint: "does it take so large a --payload? its log says why it closes",
    })
}

/// The time was over, or the user's patience, before the first message.
pub(super) fn nothing_sent(stopped: bool) -> Error {
    if stopped {
        return Error::Failed("interrupted before anything was sent".to_owned());
    }
    Error::NoProgress {
        text: "nothing was sent".to_owned(),
        hint: "a longer --for, or a higher --rate",
    }
}
