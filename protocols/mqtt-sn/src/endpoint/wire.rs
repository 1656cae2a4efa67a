//! What a session has on the wire and keeps between its connections ([`Wire`]): topic ids,
//! message ids, unfinished exchanges in both directions.
//!
//! It ends when the layer above says that the session ended. An idle session holds a few words
//! and its topic names; what an exchange needs is boxed and given back.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::hash::BuildHasher;
use core::net::IpAddr;

use hashbrown::{DefaultHashBuilder, HashTable};
use motegate_message::{Delivery, DeliveryId, ListenerId, Peer, Qos, Seq, SessionId};
use motegate_timers::Instant;

use super::clients::Slot;
use super::contract::{Filter, Names};
use super::topics::Topics;
use crate::TopicId;

/// The wire state of one session.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) session: SessionId,
    /// The connection that it has now.
    pub(super) slot: Option<Slot>,
    /// Whether its changes are journaled: a session without CleanSession.
    pub(super) durable: bool,
    /// Where its client was last, in this life of the process; present while it has none.
    pub(super) home: Option<Box<(ListenerId, IpAddr)>>,
    /// Its client missed a deadline and has not connected since.
    pub(super) lost: bool,
    pub(super) next_msg_id: u16,
    /// The batch of its latest record: nothing that follows from it leaves before.
    pub(super) written: Seq,
    pub(super) topics: Topics,
    /// Deliveries under way; absent when there are none.
    pub(super) out: Option<Box<Outbound>>,
    /// Exchanges; absent until the first.
    pub(super) exchange: Option<Box<Exchange>>,
}

/// So many message ids are used in a short time.
const SOON: u16 = 4096;

fn id_after(id: u16) -> u16 {
    id.checked_add(1).unwrap_or(1)
}

impl Wire {
    pub(super) fn new(session: SessionId) -> Self {
        Wire {
            session,
            slot: None,
            durable: false,
            home: None,
            lost: false,
            next_msg_id: 1,
            written: Seq::NONE,
            topics: Topics::default(),
            out: None,
            exchange: None,
        }
    }

    /// The exchanges, from now on.
    pub(super) fn exchange(&mut self) -> &mut Exchange {
        self.exchange.get_or_insert_default()
    }

    /// A message id for what the gateway starts; never 0x0000, nor that of the open handshake.
    pub(super) fn take_msg_id(&mut self) -> u16 {
        let mut id = self.next_msg_id;
        if self.sending_id() == Some(id) {
            id = id_after(id);
        }
        self.next_msg_id = id_after(id);
        id
    }

    fn sending_id(&self) -> Option<u16> {
        let sending = self.exchange.as_ref().and_then(|exchange| exchange.sending);
        sending.map(|sending| sending.msg_id)
    }

    /// Message ids begin at `first`, or behind the one that is still in use if they would soon come
    /// to it: a packet that has it when it is free again would be taken for a late copy.
    pub(super) fn begin_msg_ids(&mut self, first: u16) {
        let ahead = self.sending_id().filter(|id| id.wrapping_sub(first) < SOON);
        self.next_msg_id = ahead.map_or(first, id_after);
    }

    /// A connection is over: what was handed out comes again from the layer above.
    pub(super) fn disconnect(&mut self, peer: &Peer) {
        self.leave(peer);
        self.out = None;
    }

    /// Its client, which was there, has no connection from now on, or begins a new one.
    pub(super) fn leave(&mut self, peer: &Peer) {
        self.slot = None;
        self.home = Some(Box::new((peer.listener, peer.addr.ip())));
    }

    /// A new connection resumes: QoS 1/2 deliveries come again, QoS 0 ones that waited would not.
    pub(super) fn resume(&mut self) {
        self.topics.forget_known();
        if let Some(exchange) = &mut self.exchange {
            // A device that starts anew may begin with the same message id.
            exchange.released = Vec::new();
            exchange.received.iter_mut().for_each(|received| received.earlier = true);
        }
        if let Some(out) = &mut self.out {
            let current = out.current.take().map(|current| current.item);
            out.queue.retain(|item| item.delivery.qos == Qos::AtMostOnce);
            if let Some(item) = current.filter(|item| item.delivery.qos == Qos::AtMostOnce) {
                out.queue.push_front(item);
            }
            if out.queue.is_empty() {
                self.out = None;
            }
        }
    }
}

/// The wire state of all sessions, found by session. An entry is a pointer: the session is in it.
#[derive(Debug, Default)]
pub(super) struct Wires {
    table: HashTable<Box<Wire>>,
    hasher: DefaultHashBuilder,
}

impl Wires {
    pub(super) fn get(&self, session: SessionId) -> Option<&Wire> {
        let found = self.table.find(self.hasher.hash_one(session), |w| w.session == session);
        found.map(|wire| &**wire)
    }

    pub(super) fn get_mut(&mut self, session: SessionId) -> Option<&mut Wire> {
        let hash = self.hasher.hash_one(session);
        self.table.find_mut(hash, |w| w.session == session).map(|wire| &mut **wire)
    }

    /// A new one if there is none.
    pub(super) fn get_or_insert(&mut self, session: SessionId) -> &mut Wire {
        let Wires { table, hasher } = self;
        let hash = hasher.hash_one(session);
        table
            .entry(hash, |wire| wire.session == session, |wire| hasher.hash_one(wire.session))
            .or_insert_with(|| Box::new(Wire::new(session)))
            .into_mut()
    }

    pub(super) fn remove(&mut self, session: SessionId) -> Option<Box<Wire>> {
        let hash = self.hasher.hash_one(session);
        let entry = self.table.find_entry(hash, |wire| wire.session == session).ok()?;
        Some(entry.remove().0)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Wire> {
        self.table.iter().map(|wire| &**wire)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Wire> {
        self.table.iter_mut().map(|wire| &mut **wire)
    }
}

impl Exchange {
    /// Whether the client subscribed by this pre-defined id or short name.
    pub(super) fn is_subscribed_by(&self, id: TopicId) -> bool {
        self.subscribed.iter().any(|(filter, _)| filter.topic_id() == Some(id))
    }
}

/// Uplink exchanges, the outgoing QoS 2 handshake, and how topics were subscribed.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    /// The latest PUBLISH at QoS 1.
    pub(super) last: Option<LastPublish>,
    /// PUBLISHes at QoS 2 that wait for PUBREL.
    pub(super) received: Vec<Received>,
    /// The latest of them that were released: a late copy of such a PUBLISH is no message.
    pub(super) released: Vec<Released>,
    /// The latest SUBACK, for a repeated SUBSCRIBE.
    pub(super) last_sub: Option<LastSubscribe>,
    /// What the client subscribed to, in its own words, and the QoS granted.
    pub(super) subscribed: Vec<(Filter, Qos)>,
    /// The delivery at QoS 2 under way; with a window of 1 there is one.
    pub(super) sending: Option<Sending>,
    /// The PUBLISH of the last delivery at QoS 1 or 2 has never left.
    pub(super) unpublished: bool,
    /// The delivery of which all repeats were in vain, by the low bits of its number, and how often.
    pub(super) vain: u32,
    pub(super) vain_rounds: u8,
}

/// The latest PUBLISH at QoS 1.
#[derive(Debug, Clone, Copy)]
pub(super) struct LastPublish {
    pub(super) msg_id: u16,
    pub(super) hash: u32,
    /// When it was acknowledged, and after which batch; `None` while it is being published.
    pub(super) acked: Option<(Instant, Seq)>,
}

/// A PUBLISH at QoS 2 that waits for PUBREL.
#[derive(Debug, Clone, Copy)]
pub(super) struct Received {
    pub(super) msg_id: u16,
    pub(super) hash: u32,
    /// PUBREC leaves after this batch; `None` while it is being published.
    pub(super) after: Option<Seq>,
    /// It came on an earlier connection: a device that starts anew may never release it.
    pub(super) earlier: bool,
}

/// A PUBLISH at QoS 2 that was released by PUBREL.
#[derive(Debug, Clone, Copy)]
pub(super) struct Released {
    pub(super) msg_id: u16,
    pub(super) hash: u32,
    pub(super) at: Instant,
}

/// The latest SUBACK.
#[derive(Debug, Clone, Copy)]
pub(super) struct LastSubscribe {
    pub(super) msg_id: u16,
    pub(super) hash: u32,
    pub(super) qos: Qos,
    pub(super) topic_id: u16,
    pub(super) after: Seq,
    pub(super) at: Instant,
}

/// A delivery at QoS 2 whose handshake has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sending {
    pub(super) delivery: DeliveryId,
    pub(super) msg_id: u16,
    pub(super) handshake: Handshake,
}

/// How far a delivery at QoS 2 has come, whichever connection is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Handshake {
    /// PUBLISH, until PUBREC comes.
    Publish,
    /// PUBREL, never PUBLISH again [MQTT-4.3.3-1].
    Release,
    /// PUBCOMP came before the layer above had handed the delivery to this connection: it is
    /// acknowledged when it comes.
    Complete,
}

/// Deliveries under way to a client, strictly in order.
#[derive(Debug, Default)]
pub(super) struct Outbound {
    pub(super) current: Option<Current>,
    pub(super) queue: VecDeque<Item>,
}

impl Outbound {
    /// Queues a delivery in its place: one that comes again on a new connection goes before the
    /// younger ones at QoS 0 that are still here.
    pub(super) fn enqueue(&mut self, item: Item) {
        let older = |queued: &Item| queued.delivery.id <= item.delivery.id;
        let place = self.queue.iter().rposition(older).map_or(0, |last| last + 1);
        self.queue.insert(place, item);
    }
}

/// A delivery and the names that its client knows for the topic.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) delivery: Delivery,
    pub(super) names: Names,
}

/// The one packet that waits for its answer.
#[derive(Debug)]
pub(super) struct Current {
    pub(super) item: Item,
    pub(super) stage: Stage,
    pub(super) msg_id: u16,
    pub(super) topic: TopicId,
    /// The batch that it waits for.
    pub(super) after: Seq,
    /// Whether it has left in this stage.
    pub(super) sent: bool,
    /// Repeats left.
    pub(super) retries: u8,
    /// How often a REGISTER preceded it.
    pub(super) registers: u8,
}

/// What was sent last for a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// REGISTER, waits for REGACK.
    Register,
    /// PUBLISH, waits for PUBACK or PUBREC.
    Publish,
    /// PUBREL, waits for PUBCOMP.
    Release,
}
