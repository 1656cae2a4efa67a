//! Writes the core's notices to the log.
//!
//! Every close, refusal and drop carries `reason=` from the one published list. A flood of the
//! same refusal or drop is folded: the first of each kind is written, and those of the next ten
//! seconds are told as a count with the one that follows.

use std::sync::Arc;
use std::time::Duration;

use motegate_core::{Listener, Notice, NoticeKind, Protocol};
use motegate_message::{ListenerId, Reason};
use motegate_timers::Instant;

/// How long repeats of a refusal or drop are only counted.
const FOLD: Duration = Duration::from_secs(10);

/// Where a refusal or drop belongs.
type Key = (Reason, Option<ListenerId>, Option<Protocol>);

/// The log of one worker.
#[derive(Debug)]
pub(crate) struct Notices {
    listeners: Vec<Arc<str>>,
    /// When each kind was last written, and how many came since. Bounded by reasons × listeners.
    folded: Vec<(Key, Instant, u64)>,
}

impl Notices {
    /// `listeners` gives the names by id.
    pub(crate) fn new(listeners: &[Listener]) -> Self {
        let listeners = listeners.iter().map(|listener| listener.name.clone()).collect();
        Notices { listeners, folded: Vec::new() }
    }

    /// Writes or folds one notice.
    pub(crate) fn log(&mut self, now: Instant, notice: &Notice) {
        match notice.kind {
            NoticeKind::Connected { present } => {
                tracing::info!(
                    proto = notice.protocol.map(protocol),
                    listener = self.listener(notice),
                    client = client(notice),
                    peer = notice.peer.map(tracing::field::display),
                    session = if present { "resumed" } else { "new" },
                    "connected"
                );
            }
            NoticeKind::Disconnected(reason) => {
                tracing::info!(
                    proto = notice.protocol.map(protocol),
                    listener = self.listener(notice),
                    client = client(notice),
                    peer = notice.peer.map(tracing::field::display),
                    reason = reason.as_str(),
                    hint = notice.text.as_deref(),
                    "disconnected"
                );
            }
            NoticeKind::Refused(reason) => self.refusal(now, notice, reason, "refused"),
            NoticeKind::Dropped(reason) => self.refusal(now, notice, reason, "dropped"),
        }
    }

    fn refusal(&mut self, now: Instant, notice: &Notice, reason: Reason, what: &'static str) {
        let Some(repeated) = self.fold(now, (reason, notice.listener, notice.protocol)) else {
            return;
        };
        tracing::warn!(
            proto = notice.protocol.map(protocol),
            listener = self.listener(notice),
            client = client(notice),
            peer = notice.peer.map(tracing::field::display),
            reason = reason.as_str(),
            hint = notice.text.as_deref(),
            repeated = (repeated > 0).then_some(repeated),
            "{what}"
        );
    }

    /// How many were folded since the last one written; `None` folds this one too.
    fn fold(&mut self, now: Instant, key: Key) -> Option<u64> {
        let Some((_, since, count)) = self.folded.iter_mut().find(|(k, ..)| *k == key) else {
            self.folded.push((key, now, 0));
            return Some(0);
        };
        if now < *since + FOLD {
            *count += 1;
            return None;
        }
        *since = now;
        Some(std::mem::take(count))
    }

    fn listener(&self, notice: &Notice) -> Option<&str> {
        self.listeners.get(usize::from(notice.listener?.0)).map(|name| &**name)
    }
}

fn client(notice: &Notice) -> Option<&str> {
    notice.client.as_ref().map(motegate_message::SessionKey::client_id)
}

/// The word for a protocol in logs and on the terminal.
pub(crate) const fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Mqtt => "mqtt",
        Protocol::MqttSn => "mqtt-sn",
        Protocol::Coap => "coap",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_are_folded_for_a_while() {
        let mut notices = Notices::new(&[]);
        let a = (Reason::Malformed, Some(ListenerId(0)), None);
        let b = (Reason::Malformed, Some(ListenerId(1)), None);
        let at = Instant::from_secs;
        assert_eq!(notices.fold(at(0), a), Some(0));
        assert_eq!(notices.fold(at(1), a), None);
        assert_eq!(notices.fold(at(1), b), Some(0));
        assert_eq!(notices.fold(at(9), a), None);
        assert_eq!(notices.fold(at(10), a), Some(2));
        assert_eq!(notices.fold(at(11), a), None);
        assert_eq!(notices.fold(at(30), a), Some(1));
        assert_eq!(notices.folded.len(), 2);
    }
}
