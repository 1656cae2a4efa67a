//! What all connections share: the settings, the outputs that wait to be polled, the timers, the
//! wire state of sessions without a connection.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::num::NonZeroU16;

use hashbrown::HashMap;
use motegate_message::{
    ConnectionId, Gate, HalfOpen, ListenerId, Pool, Reason, Record, Seq, SessionId, Turn,
};
use motegate_timers::TimerQueue;

use super::limits::{Acted, Configs, Limit};
use super::session::{Journal, Wire};
use crate::endpoint::{Event, Ticket};
use crate::{Config, PropertyBuf};

/// What happened so far, in packets or messages; for `$SYS`, the log and the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Bytes taken, incomplete packets included.
    pub bytes_received: u64,
    /// Bytes written to transports.
    pub bytes_sent: u64,
    /// Packets taken, of all types.
    pub packets_received: u64,
    /// CONNECT packets taken.
    pub connects_received: u64,
    /// PUBLISH packets taken.
    pub publishes_received: u64,
    /// Bytes of their payloads.
    pub payload_received: u64,
    /// Packets put into an outbox, of all types.
    pub packets_sent: u64,
    /// PUBLISH packets put into an outbox.
    pub publishes_sent: u64,
    /// Bytes of their payloads.
    pub payload_sent: u64,
    /// Packets that wait in outboxes now; one of which a part was written counts until its outbox
    /// is empty.
    pub packets_waiting: u64,
    /// Bytes that wait in outboxes now.
    pub bytes_waiting: u64,
    /// Connections ended for malformed packets.
    pub malformed: u64,
    /// Connections ended for protocol errors.
    pub protocol_errors: u64,
    /// Connections ended at a limit (packet size, receive maximum, user properties).
    pub limits: u64,
    /// CONNECTs refused, by the endpoint or from above.
    pub refused: u64,
    /// Deliveries dropped because the client's Maximum Packet Size is smaller.
    pub oversize_dropped: u64,
    /// Deliveries that expired while they waited behind a commit.
    pub expired_dropped: u64,
    /// Publishes at QoS 0 that were refused, and so dropped without a word.
    pub refused_qos0: u64,
    /// Repeated QoS 2 publishes that were recognised.
    pub duplicates: u64,
    /// Held QoS 2 ids reused for other content by a client that lost its state.
    pub reused_ids: u64,
    /// Acknowledgements of ids that nobody knows.
    pub unknown_acks: u64,
    /// Filters of SUBSCRIBEs refused by the endpoint itself.
    pub filters_refused: u64,
    /// Connections ended by a deadline: no CONNECT, keep alive, stalled writes.
    pub timeouts: u64,
}

/// Where a session's wire state is.
#[derive(Debug)]
pub(super) enum Place {
    /// With this connection.
    Attached(ConnectionId),
    /// Here, until the session's next connection or its end.
    Detached(Box<Wire>),
}

/// A QoS 2 publish whose connection ended before the layer above has answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Orphan {
    pub(super) conn: ConnectionId,
    pub(super) ticket: Ticket,
    pub(super) session: SessionId,
    pub(super) durable: bool,
    pub(super) id: NonZeroU16,
}

/// Something to tell the transport; judged again when it is polled.
#[derive(Debug, Clone, Copy)]
pub(super) enum Signal {
    Write(ConnectionId),
    /// Whether the connection wants to be read may have changed.
    Reads(ConnectionId),
    Close(ConnectionId, Reason),
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: Configs,
    pub(super) events: VecDeque<Event>,
    pub(super) signals: VecDeque<Signal>,
    pub(super) records: VecDeque<Record>,
    pub(super) timers: TimerQueue<ConnectionId>,
    pub(super) sessions: HashMap<SessionId, Place>,
    /// Each until its answer, which comes in the same turn.
    pub(super) orphans: Vec<Orphan>,
    /// Connections that wait for a commit.
    pub(super) waiting: Gate<ConnectionId>,
    pub(super) committed: Seq,
    pub(super) pool: Pool,
    /// Properties of the PUBLISH being written.
    pub(super) scratch: PropertyBuf,
    pub(super) counters: Counters,
    pub(super) acted: Acted,
    /// Connections that have not said CONNECT.
    pub(super) half_open: HalfOpen,
    random: u64,
}

impl Shared {
    pub(super) fn new(config: Config, seed: u64) -> Self {
        Shared {
            config: Configs::new(config),
            events: VecDeque::new(),
            signals: VecDeque::new(),
            records: VecDeque::new(),
            timers: TimerQueue::new(),
            sessions: HashMap::new(),
            orphans: Vec::new(),
            waiting: Gate::default(),
            committed: Seq::NONE,
            pool: Pool::default(),
            scratch: PropertyBuf::new(),
            counters: Counters::default(),
            acted: Acted::default(),
            half_open: HalfOpen::default(),
            random: seed,
        }
    }

    /// A bound has acted; `ends`: the connection is over with it.
    pub(super) fn hit(&mut self, conn: ConnectionId, limit: Limit, ends: bool) {
        self.acted.count(limit);
        self.events.push_back(Event::Limited { conn, limit, ends });
    }

    /// Where the records of a session go. `durable`: whether new ones are wanted.
    pub(super) fn journal(
        &mut self,
        turn: &Turn,
        session: SessionId,
        durable: bool,
    ) -> Journal<'_> {
        let seq = (durable && turn.durable).then_some(turn.seq);
        Journal { records: &mut self.records, session, seq }
    }

    /// The answer to a publish has come. One that was refused after its connection had ended was
    /// never taken over: the client sends it again, and then it must count.
    pub(super) fn orphan_answered(
        &mut self,
        turn: &Turn,
        (conn, ticket): (ConnectionId, Ticket),
        taken: bool,
    ) {
        let place = self.orphans.iter().position(|o| o.conn == conn && o.ticket == ticket);
        let Some(orphan) = place.map(|place| self.orphans.swap_remove(place)) else { return };
        let Orphan { session, durable, id, .. } = orphan;
        if taken || !matches!(self.sessions.get(&session), Some(Place::Detached(_))) {
            return;
        }
        if let Some(Place::Detached(mut wire)) = self.sessions.remove(&session) {
            wire.drop_held(id, &mut self.journal(turn, session, durable));
            if !wire.is_empty() {
                self.sessions.insert(session, Place::Detached(wire));
            }
        }
    }

    /// Deletes the wire state of a session that is not attached to a connection.
    pub(super) fn drop_wire(&mut self, turn: &Turn, session: SessionId, wire: &Wire) {
        wire.forget(&mut self.journal(turn, session, false));
    }

    /// SplitMix64.
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.random ^ self.random >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// A client id for a client that gives none: prefix and UUID version 4 (RFC 9562 §5.4).
    pub(super) fn assigned_client_id(&mut self, listener: ListenerId) -> String {
        let high = self.random() & !0xf000 | 0x4000;
        let low = self.random() & !(3 << 62) | 2 << 62;
        format!(
            "{}{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            self.config.of(listener).assigned_prefix,
            high >> 32,
            high >> 16 & 0xffff,
            high & 0xffff,
            low >> 48,
            low & 0xffff_ffff_ffff
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assigned_ids_are_uuids_of_version_4() {
        let mut shared = Shared::new(Config::default(), 7);
        let mut next = || shared.assigned_client_id(ListenerId(0));
        let (a, b) = (next(), next());
        assert_ne!(a, b);
        for id in [a, b] {
            assert_eq!(id.len(), 5 + 36, "{id}");
            assert_eq!(id.as_bytes()[5 + 14], b'4', "{id}");
            assert!(b"89ab".contains(&id.as_bytes()[5 + 19]), "{id}");
        }
    }
}
