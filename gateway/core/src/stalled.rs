//! A store that fails. New requests that need it are refused at once; those that were taken in just
//! before it failed wait for an answer that may never come.
//!
//! Whoever waits like that is not left without a word: the operator reads at once how many do, and
//! after [`PATIENCE`] their connections are closed (`storage_full`), so that they can go elsewhere or try
//! again. What was not acknowledged is theirs to send again. MQTT-SN and CoAP clients repeat by
//! themselves, and are refused then.

use core::time::Duration;

use motegate_message::{ConnectionId, Reason, Seq};

use crate::{Core, Notice, NoticeKind};

/// A disk that was full for a moment costs nobody a connection.
const PATIENCE: Duration = Duration::from_secs(30);

impl Core {
    /// The store could not write a batch; it tries again, and says so each time.
    pub(crate) fn store_failed(&mut self) {
        self.broker.set_store_failed(true);
        if self.stalled.is_some() {
            return;
        }
        self.stalled = Some(self.turn.now + PATIENCE);
        let waiting = self.mqtt.awaiting_commit().count();
        if waiting > 0 {
            let text = format!(
                "the store fails: {waiting} MQTT connections wait for the answer to what came \
                 before; they are closed (storage_full) if it does not recover within {} s",
                PATIENCE.as_secs()
            );
            self.notice(Notice {
                limit: Some(Reason::StorageFull.as_str()),
                text: Some(text),
                ..Notice::new(NoticeKind::Limited)
            });
        }
    }

    /// The store works.
    pub(crate) fn committed(&mut self, seq: Seq) {
        self.stalled = None;
        self.broker.handle_committed(seq);
        self.mqtt.handle_committed(&self.turn, seq);
        self.sn.handle_committed(&self.turn, seq);
        self.coap.handle_committed(&self.turn, seq);
        for conn in self.backpressure.committed(seq) {
            self.resume_reads(conn);
        }
    }

    /// Closes those who have waited long enough, and those who came to wait since, in the next round.
    pub(crate) fn stalled_due(&mut self) {
        let now = self.turn.now;
        if self.stalled.is_none_or(|at| at > now) {
            return;
        }
        self.stalled = Some(now + PATIENCE);
        let waiting: Vec<ConnectionId> = self.mqtt.awaiting_commit().collect();
        for conn in waiting {
            self.mqtt_sent_away(conn, Reason::StorageFull, false);
        }
    }
}
