//! [`Pending`]: what the core asked the broker, and for whom, until the answer comes.
//!
//! The broker answers within the same turn today and may answer from another worker later; the
//! table costs one slot an open question and no allocation once it has grown.

use motegate_broker::{Precondition, Ticket};
use motegate_coap::endpoint::{ExchangeId, ObservationId};
use motegate_message::{ConnectionId, ListenerId, Qos, Reason, SessionKey, TopicFilter};
use motegate_mqtt_sn::endpoint::{ClientRef, WillUpdate};

use crate::coap::{Meaning, NewTopic, TopicRef};
use crate::discovery::Listing;

/// A question to the broker.
#[derive(Debug)]
pub(crate) enum Pending {
    /// An MQTT CONNECT.
    MqttConnect { conn: ConnectionId },
    /// An MQTT PUBLISH.
    MqttPublish { conn: ConnectionId, ticket: u64 },
    /// An MQTT SUBSCRIBE; `refused` are the places that the core itself refused.
    MqttSubscribe { conn: ConnectionId, ticket: u64, refused: Vec<(usize, Reason)> },
    /// An MQTT UNSUBSCRIBE; `unknown` are the places that cannot exist.
    MqttUnsubscribe { conn: ConnectionId, ticket: u64, unknown: Vec<usize> },
    /// An MQTT-SN CONNECT.
    SnConnect { client: ClientRef, key: SessionKey },
    /// An MQTT-SN PUBLISH.
    SnPublish { ticket: u64 },
    /// An MQTT-SN SUBSCRIBE.
    SnSubscribe { ticket: u64, qos: Qos },
    /// An MQTT-SN UNSUBSCRIBE.
    SnUnsubscribe { ticket: u64 },
    /// The old will, of which an update changes one half.
    SnWill { client: ClientRef, ticket: u64, change: WillUpdate },
    /// A CoAP GET.
    CoapRead(CoapRead),
    /// An observation's session is being opened; then its filter is subscribed.
    CoapOpen { filter: TopicFilter, read: CoapRead },
    /// The filter is being subscribed; then the present value is read.
    CoapSubscribe { filter: TopicFilter, read: CoapRead },
    /// Whether the topic that an observation has moved to has a value.
    CoapMoved { observation: ObservationId },
    /// A CoAP PUT, POST or DELETE.
    CoapPublish { exchange: ExchangeId, kind: CoapPublish },
    /// A record of a CoAP pack.
    CoapRecord { exchange: ExchangeId },
    /// The first data of a topic that is being made.
    CoapTopic(Box<NewTopic>),
    /// The value that an observer is asked with whether it is still there.
    CoapDaily(ObservationId),
    /// The data of a topic whose observers are to confirm that they are there.
    CoapTopicCheck(TopicRef),
    /// `.well-known/core`, or the topic collection.
    CoapDiscover { exchange: ExchangeId, asked: Box<Discover> },
    /// Nobody waits for the answer.
    Nothing,
}

/// How a retained value is to be answered over CoAP.
#[derive(Debug)]
pub(crate) struct CoapRead {
    pub(crate) exchange: ExchangeId,
    pub(crate) listener: ListenerId,
    pub(crate) observation: Option<ObservationId>,
    /// Observe 1, of a rule that takes OBSERVE only: answered as a registration is.
    pub(crate) cancels: bool,
    pub(crate) accept: Option<u16>,
    pub(crate) etags: Vec<Vec<u8>>,
    pub(crate) precondition: Option<Precondition>,
    pub(crate) meaning: Meaning,
}

impl CoapRead {
    /// Whether an observation begins or ends with it.
    pub(crate) const fn is_of_observer(&self) -> bool {
        self.observation.is_some() || self.cancels
    }
}

/// Which CoAP method published, for the response code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CoapPublish {
    /// 2.01 or 2.04.
    Put,
    /// 2.04.
    Post,
    /// 2.02.
    Delete,
}

/// Who asked for discovery, and with which filters.
#[derive(Debug)]
pub(crate) struct Discover {
    pub(crate) listing: Listing,
    pub(crate) peer: motegate_message::Peer,
    pub(crate) query: Vec<String>,
    pub(crate) host: Option<String>,
    pub(crate) etags: Vec<Vec<u8>>,
    pub(crate) precondition: Option<Precondition>,
    pub(crate) key: SessionKey,
}

/// Open questions by ticket.
#[derive(Debug, Default)]
pub(crate) struct PendingTable {
    slots: Vec<Option<Pending>>,
    free: Vec<usize>,
}

impl PendingTable {
    /// Notes a question; its ticket comes back with the answer.
    pub(crate) fn insert(&mut self, pending: Pending) -> Ticket {
        if let Some(slot) = self.free.pop() {
            self.slots[slot] = Some(pending);
            return slot as Ticket;
        }
        self.slots.push(Some(pending));
        (self.slots.len() - 1) as Ticket
    }

    /// The question that an answer belongs to.
    pub(crate) fn take(&mut self, ticket: Ticket) -> Pending {
        let Ok(slot) = usize::try_from(ticket) else { return Pending::Nothing };
        let Some(pending) = self.slots.get_mut(slot).and_then(Option::take) else {
            return Pending::Nothing;
        };
        self.free.push(slot);
        pending
    }

    /// Questions still open.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tickets_are_reused_and_answered_once() {
        let mut table = PendingTable::default();
        let a = table.insert(Pending::SnPublish { ticket: 1 });
        let b = table.insert(Pending::SnPublish { ticket: 2 });
        assert!(matches!(table.take(a), Pending::SnPublish { ticket: 1 }));
        assert!(matches!(table.take(a), Pending::Nothing));
        assert_eq!(table.insert(Pending::SnPublish { ticket: 3 }), a);
        assert!(matches!(table.take(b), Pending::SnPublish { ticket: 2 }));
        assert!(matches!(table.take(99), Pending::Nothing));
        assert_eq!(table.len(), 1);
    }
}
