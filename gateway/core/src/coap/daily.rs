//! Once a day every observer gets a confirmable notification, whether its resource has changed or
//! not: who has gone without a word is noticed, and costs nothing from then on (RFC 7641 §4.5).
//!
//! No timer an observer: a round looks at all of them every ten minutes, a slice a second, and the
//! endpoint knows who has had nothing confirmable for nearly a day.

use std::time::Duration;

use motegate_broker::Request;
use motegate_coap::endpoint::{Code, ObservationId};
use motegate_mapping::{Caller, CoapMethod};
use motegate_message::{Message, Reason, SessionKey};
use motegate_timers::{Instant, earliest};

use super::map_resource;
use super::observe::NO_DELIVERY;
use crate::notice::{Notice, NoticeKind};
use crate::pending::Pending;
use crate::{Core, Protocol};

/// Between two rounds.
const ROUND: Duration = Duration::from_secs(600);
/// Between two slices of one.
const PAUSE: Duration = Duration::from_secs(1);
/// Observations of a slice.
const SLICE: u32 = 1_000;

/// Where the round is.
#[derive(Debug, Default)]
pub(crate) struct Rounds {
    /// The next slice; none while nobody observes.
    at: Option<Instant>,
    from: u32,
}

impl Rounds {
    /// Somebody observes.
    pub(super) fn begin(&mut self, now: Instant) {
        self.at.get_or_insert(now + ROUND);
    }
}

impl Core {
    /// When [`coap_due`](Self::coap_due) is wanted.
    pub(crate) fn coap_next(&self) -> Option<Instant> {
        earliest(earliest(self.rounds.at, self.topics.next()), self.passes.next())
    }

    /// What of topics, observers and EMQX clients is due.
    pub(crate) fn coap_due(&mut self) {
        self.topics_due();
        self.passes_due();
        let now = self.turn.now;
        if self.rounds.at.is_none_or(|at| at > now) {
            return;
        }
        let (from, slots) = (self.rounds.from, self.coap.observation_slots());
        let end = slots.min(from.saturating_add(SLICE));
        for slot in from..end {
            if let Some(observation) = self.coap.unconfirmed_at(slot, now) {
                self.ask_observer(observation);
            }
        }
        self.rounds = match end < slots {
            true => Rounds { at: Some(now + PAUSE), from: end },
            false => {
                let at = (self.coap.observations() > 0).then_some(now + ROUND);
                Rounds { at, from: 0 }
            }
        };
    }

    /// Whoever observed has not acknowledged a notification, however often (RFC 7641 §4.5).
    pub(super) fn notice_silent_observer(&mut self, observation: ObservationId) {
        let Some(known) = self.observations.get(&observation) else { return };
        let path = known.asked.show();
        self.notice(Notice {
            protocol: Some(Protocol::Coap),
            text: Some(format!("whoever observed {path} acknowledges nothing any more")),
            ..Notice::new(NoticeKind::Dropped(Reason::RetryExhausted))
        });
    }

    fn ask_observer(&mut self, observation: ObservationId) {
        let (known, peer) = (self.observations.get(&observation), self.coap.observer(observation));
        let Some((known, peer)) = known.zip(peer) else { return };
        let (listener, ip) = (peer.listener, peer.addr.ip());
        let anonymous = format!("anon-{ip}");
        let client = known.client.as_ref().map_or(anonymous.as_str(), SessionKey::client_id);
        let caller = self.caller(listener, client, ip);
        let caller = Caller { identity: known.identity.as_deref(), ..caller };
        let rules = (&self.config, &*self.table);
        let asked = known.asked.resource();
        let mapped = map_resource(rules, listener, &caller, CoapMethod::Observe, asked);
        let Ok(mapped) = mapped else { return };
        match mapped.topic.as_name() {
            Some(topic) => {
                let ticket = self.pending.insert(Pending::CoapDaily(observation));
                self.ask(Request::Read { ticket, topic });
            }
            None => self.notify_empty(observation),
        }
    }

    /// The value that the observer is asked with.
    pub(super) fn observer_asked(&mut self, observation: ObservationId, value: Option<&Message>) {
        let Some(known) = self.observations.get(&observation) else { return };
        match value {
            Some(value) => self.coap_tell(observation, value, NO_DELIVERY, true),
            None if known.meaning.content_when_empty => self.notify_empty(observation),
            None => self.finish_observation(observation, Code::NOT_FOUND),
        }
    }
}
