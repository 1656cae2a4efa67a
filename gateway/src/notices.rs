//! Writes the core's notices to the log.
//!
//! Every close, refusal and drop carries `reason=` from the one published list. The core folds a
//! flood of the same; `repeated=` says how many lines one stands for.

use std::sync::Arc;

use motegate_core::{Listener, Notice, NoticeKind, Protocol};
use motegate_message::Reason;

/// The log of one worker.
#[derive(Debug)]
pub(crate) struct Notices {
    listeners: Vec<Arc<str>>,
}

impl Notices {
    /// `listeners` gives the names by id.
    pub(crate) fn new(listeners: &[Listener]) -> Self {
        let listeners = listeners.iter().map(|listener| listener.name.clone()).collect();
        Notices { listeners }
    }

    /// Writes one notice.
    pub(crate) fn log(&self, notice: &Notice) {
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
                    limit = notice.limit,
                    hint = notice.text.as_deref(),
                    "disconnected"
                );
            }
            NoticeKind::Refused(reason) => self.refusal(notice, reason, "refused"),
            NoticeKind::Dropped(reason) => self.refusal(notice, reason, "dropped"),
            NoticeKind::Overdue => self.refusal(notice, Reason::SleepOverdue, "overdue"),
            NoticeKind::Limited => tracing::warn!(
                proto = notice.protocol.map(protocol),
                listener = self.listener(notice),
                client = client(notice),
                peer = notice.peer.map(tracing::field::display),
                limit = notice.limit,
                hint = notice.text.as_deref(),
                repeated = (notice.untold > 0).then_some(notice.untold),
                "limit reached"
            ),
        }
    }

    fn refusal(&self, notice: &Notice, reason: Reason, what: &'static str) {
        tracing::warn!(
            proto = notice.protocol.map(protocol),
            listener = self.listener(notice),
            client = client(notice),
            peer = notice.peer.map(tracing::field::display),
            reason = reason.as_str(),
            limit = notice.limit,
            hint = notice.text.as_deref(),
            repeated = (notice.untold > 0).then_some(notice.untold),
            "{what}"
        );
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
