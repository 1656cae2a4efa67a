//! The gateway side of MQTT-SN 1.2: all clients of all MQTT-SN listeners, as one machine.
//!
//! Datagrams, answers of the layer above and time come in; datagrams, events, records and a next
//! deadline go out. A client's mistake is answered as the specification says, or counted and
//! dropped. It knows client-side topic names only; what they mean is the layer above's affair.
//!
//! `receive` opens datagrams, `session` has the connections, `sleep` their sleep, `will` the CONNECT dialogue, `subscribe` REGISTER and
//! SUBSCRIBE, `uplink` and `downlink` the messages, `topics` the ids, `discovery` what unknown
//! peers get, `budget` how much an unproven address gets, `forwarder` the encapsulation, `journal` what survives a restart.

mod budget;
mod clients;
mod config;
mod contract;
mod discovery;
mod downlink;
mod forwarder;
mod in_vain;
mod journal;
mod line;
mod locals;
mod receive;
mod session;
mod sleep;
mod subscribe;
mod topics;
mod uplink;
mod view;
mod will;
mod wire;

#[cfg(feature = "planted-faults")]
pub use config::Faults;
pub use config::{Config, Forwarders, ListenerBounds, Rebind};
pub use contract::{
    Accept, ClientRef, Connect, Event, Filter, Names, Ticket, Topic, WillChange, WillUpdate,
};
pub use view::{ClientState, ClientView, Known, WireView};

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use hashbrown::HashMap;
use motegate_message::{
    Announcement, DatagramQueue, Delivery, Gate, Group, ListenerId, Peer, Qos, Reason, Record, Seq,
    SessionId, TopicName, Turn,
};
use motegate_timers::{Instant, TimerQueue, earliest};

use self::budget::Floors;
use self::clients::{Clients, Slot};
use self::discovery::Strangers;
use self::journal::{Key, Saved};
use self::line::Line;
use self::locals::Locals;
use self::will::{Dialogues, WillHalf};
use self::wire::{Item, Wires};
use crate::Packet;

/// A client's deadline; a stale reference finds nobody. The highest bit, which no reference has, is
/// the kind: there is one of these a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct TimerKey(u64);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TimerKind {
    /// Keep-alive, sleep or dialogue.
    Alive,
    /// T_RETRY of the packet in flight.
    Retry,
}

impl TimerKey {
    const RETRY: u64 = 1 << 63;

    const fn new(at: ClientRef, kind: TimerKind) -> TimerKey {
        match kind {
            TimerKind::Alive => TimerKey(at.0),
            TimerKind::Retry => TimerKey(at.0 | Self::RETRY),
        }
    }

    const fn parts(self) -> (ClientRef, TimerKind) {
        let kind = if self.0 & Self::RETRY == 0 { TimerKind::Alive } else { TimerKind::Retry };
        (ClientRef(self.0 & !Self::RETRY), kind)
    }
}

/// What leaves when a batch is stored.
#[derive(Debug)]
enum Held {
    /// An answer.
    Packet(ClientRef, Packet<'static>),
    /// The CONNACK that makes a client active.
    Opened(ClientRef),
    /// A SUBACK, and the deliveries behind it.
    SubAck(ClientRef, Packet<'static>),
    /// The packet in flight.
    Downlink(ClientRef),
}

/// A question to the layer above.
#[derive(Debug)]
enum Pending {
    Publish { client: ClientRef, topic_id: u16, msg_id: u16, qos: Qos, hash: u32 },
    Register { client: ClientRef, msg_id: u16, name: TopicName },
    Subscribe { client: ClientRef, msg_id: u16, hash: u32, filter: Filter },
    Unsubscribe { client: ClientRef, msg_id: u16, filter: Filter },
    Will { client: ClientRef, half: WillHalf },
}

impl Pending {
    fn client(&self) -> ClientRef {
        match self {
            Pending::Publish { client, .. }
            | Pending::Register { client, .. }
            | Pending::Subscribe { client, .. }
            | Pending::Unsubscribe { client, .. }
            | Pending::Will { client, .. } => *client,
        }
    }
}

/// A listener's own bounds, or everybody's.
fn bounds(config: &Config, own: &[Option<ListenerBounds>], listener: ListenerId) -> ListenerBounds {
    let own = own.get(usize::from(listener.0)).copied().flatten();
    own.unwrap_or_else(|| config.bounds())
}

/// All MQTT-SN clients and the wire state of all MQTT-SN sessions.
#[derive(Debug)]
pub struct Endpoint {
    config: Config,
    /// Of listeners that have some of their own, by their ids.
    bounds: Vec<Option<ListenerBounds>>,
    clients: Clients,
    wires: Wires,
    timers: TimerQueue<TimerKey>,
    pending: HashMap<Ticket, Pending>,
    seed: u64,
    next_ticket: Ticket,
    gate: Gate<Held>,
    committed: Seq,
    strangers: Strangers,
    floors: Floors,
    locals: Locals,
    dialogues: Dialogues,
    next_advertise: Option<Instant>,
    /// New clients had better go to another gateway.
    busy: bool,
    /// Between `restore` and `restored`.
    saved: Vec<Saved>,
    events: VecDeque<Event>,
    records: VecDeque<Record>,
    out: DatagramQueue,
    announcements: VecDeque<Announcement>,
    /// How many were ever made, and their bytes.
    announced: (u64, u64),
    /// How often `max_topics_per_client` has acted.
    topics_refused: u64,
    unproven_held: u64,
}

impl Endpoint {
    /// An endpoint that knows nobody. `seed` decides where its tickets start, the message ids of
    /// restored sessions, and which strangers share a place; nothing else is random.
    #[must_use]
    pub fn new(config: Config, seed: u64) -> Self {
        Endpoint {
            config,
            bounds: Vec::new(),
            clients: Clients::default(),
            wires: Wires::default(),
            timers: TimerQueue::new(),
            pending: HashMap::new(),
            seed,
            next_ticket: seed >> 1,
            gate: Gate::default(),
            committed: Seq::NONE,
            strangers: Strangers::new(seed),
            floors: Floors::new(seed),
            locals: Locals::default(),
            dialogues: Dialogues::default(),
            next_advertise: None,
            busy: false,
            saved: Vec::new(),
            events: VecDeque::new(),
            records: VecDeque::new(),
            out: DatagramQueue::default(),
            announcements: VecDeque::new(),
            announced: (0, 0),
            topics_refused: 0,
            unproven_held: 0,
        }
    }

    /// A datagram came. `peer.node` is `None`: the endpoint opens forwarder encapsulation itself.
    pub fn handle_datagram(&mut self, turn: &Turn, peer: Peer, bytes: &[u8]) {
        self.receive(turn, peer, None, bytes);
    }

    /// A datagram came to a group: discovery, or a PUBLISH at QoS −1; anything else is meant for
    /// one gateway and is not answered by all.
    pub fn handle_group_datagram(&mut self, turn: &Turn, peer: Peer, group: &Group, bytes: &[u8]) {
        self.receive(turn, peer, Some(group), bytes);
    }

    /// Whether new clients had better go to another gateway (the store fails, publishers are held
    /// back): SEARCHGW is not answered then. A full table of clients is known here.
    pub fn set_busy(&mut self, busy: bool) {
        self.busy = busy;
    }

    /// Deadlines up to `turn.now` are due.
    pub fn handle_timeout(&mut self, turn: &Turn) {
        while let Some(key) = self.timers.pop(turn.now) {
            let (at, kind) = key.parts();
            let Some(slot) = self.clients.slot_of(at) else { continue };
            let Some(client) = self.clients.get_mut(slot) else { continue };
            let fires = match kind {
                TimerKind::Alive => self.timers.fires(&mut client.alive, key, turn.now),
                TimerKind::Retry => client.retry.take().is_some_and(|mut retry| {
                    let fires = self.timers.fires(&mut retry, key, turn.now);
                    client.retry = (!retry.is_idle()).then_some(retry);
                    fires
                }),
            };
            if !fires {
                continue;
            }
            match kind {
                TimerKind::Alive => self.on_silence(turn, slot),
                TimerKind::Retry => {
                    if !self.line(turn, slot).is_none_or(|mut line| line.retry()) {
                        // MQTT-SN 1.2 §6.13, §6.14: N_RETRY repeats in vain, it is lost.
                        self.remove_client(turn, slot, Reason::RetryExhausted, false);
                    }
                }
            }
        }
        self.advertise(turn.now);
    }

    /// Batches up to `seq` are stored.
    pub fn handle_committed(&mut self, turn: &Turn, seq: Seq) {
        self.committed = self.committed.max(seq);
        while let Some(held) = self.gate.pop(self.committed) {
            let (Held::Packet(at, _) | Held::Opened(at) | Held::SubAck(at, _) | Held::Downlink(at)) =
                held;
            let Some(slot) = self.clients.slot_of(at) else { continue };
            if let (Held::Packet(..) | Held::SubAck(..), Some(client)) =
                (&held, self.clients.get_mut(slot))
            {
                client.held = client.held.saturating_sub(1);
            }
            match held {
                Held::Packet(_, packet) => self.send_to(slot, &packet),
                Held::Opened(_) => self.opened(turn, slot),
                Held::SubAck(_, packet) => self.with_line(turn, slot, |line| line.suback(&packet)),
                Held::Downlink(_) => self.with_line(turn, slot, |line| line.released()),
            }
        }
    }

    /// Answers `Event::Connect`.
    pub fn accept(&mut self, turn: &Turn, client: ClientRef, accept: Accept) {
        self.accept_client(turn, client, accept);
    }

    /// Answers `Event::Connect`.
    pub fn refuse(&mut self, turn: &Turn, client: ClientRef, reason: Reason) {
        if let Some(slot) = self.clients.slot_of(client) {
            self.refuse_client(turn, slot, reason);
        }
    }

    /// The asker of `ticket`, if it is still there, and what it asked.
    fn answered<'a>(&'a mut self, turn: &'a Turn, ticket: Ticket) -> Option<(Line<'a>, Pending)> {
        let pending = self.pending.remove(&ticket)?;
        let slot = self.clients.slot_of(pending.client())?;
        let line = self.line(turn, slot)?;
        line.client.pending = line.client.pending.saturating_sub(1);
        Some((line, pending))
    }

    /// Answers `Event::Publish`; at QoS −1 there is nothing to say.
    pub fn published(&mut self, turn: &Turn, ticket: Ticket, result: Result<Seq, Reason>) {
        if let Some((mut line, Pending::Publish { topic_id, msg_id, qos, hash, .. })) =
            self.answered(turn, ticket)
        {
            line.published((topic_id, msg_id, qos, hash), result);
        }
    }

    /// Answers `Event::Register`.
    pub fn registered(&mut self, turn: &Turn, ticket: Ticket, result: Result<(), Reason>) {
        if let Some((mut line, Pending::Register { msg_id, name, .. })) =
            self.answered(turn, ticket)
        {
            line.registered(msg_id, &name, result);
        }
    }

    /// Answers `Event::Subscribe`: granted QoS and the batch to wait for.
    pub fn subscribed(&mut self, turn: &Turn, ticket: Ticket, result: Result<(Qos, Seq), Reason>) {
        if let Some((mut line, Pending::Subscribe { msg_id, hash, filter, .. })) =
            self.answered(turn, ticket)
        {
            line.subscribed((msg_id, hash), &filter, result);
        }
    }

    /// Answers `Event::Unsubscribe`.
    pub fn unsubscribed(&mut self, turn: &Turn, ticket: Ticket, after: Seq) {
        if let Some((mut line, Pending::Unsubscribe { msg_id, filter, .. })) =
            self.answered(turn, ticket)
        {
            line.unsubscribed(msg_id, &filter, after);
        }
    }

    /// Answers `Event::UpdateWill`.
    pub fn will_updated(&mut self, turn: &Turn, ticket: Ticket, result: Result<Seq, Reason>) {
        if let Some((mut line, Pending::Will { half, .. })) = self.answered(turn, ticket) {
            line.will_updated(half, result);
        }
    }

    /// A message for a client. It waits here while the client may not be sent to: before its
    /// CONNACK and SUBACK, behind an unanswered packet, and asleep.
    pub fn deliver(&mut self, turn: &Turn, client: ClientRef, delivery: Delivery, names: Names) {
        if let Some(slot) = self.clients.slot_of(client) {
            self.with_line(turn, slot, |line| line.deliver(Item { delivery, names }));
        }
    }

    /// Answers `Event::Drain`.
    pub fn drained(&mut self, turn: &Turn, client: ClientRef) {
        if let Some(slot) = self.clients.slot_of(client) {
            self.with_line(turn, slot, |line| line.drained());
        }
    }

    /// Ends a connection from above: DISCONNECT goes out (not to a sleeper, who could not hear
    /// it), no `Event::Disconnected` follows.
    pub fn close(&mut self, turn: &Turn, client: ClientRef, reason: Reason) {
        if let Some(slot) = self.clients.slot_of(client) {
            self.close_client(turn, slot, reason);
        }
    }

    /// Another configuration holds from now on; timers that run keep their deadlines.
    pub fn reconfigure(&mut self, config: Config) {
        let advertises = |config: &Config| (config.gateway_id, config.advertise_every);
        if advertises(&self.config) != advertises(&config)
            || self.config.advertise_to != config.advertise_to
        {
            self.next_advertise = None; // at once
        }
        self.config = config;
    }

    /// Listeners have other bounds of their own from now on, by their ids.
    pub fn bound_listeners(&mut self, bounds: Vec<Option<ListenerBounds>>) {
        self.bounds = bounds;
    }

    /// The session is over.
    pub fn forget(&mut self, turn: &Turn, session: SessionId) {
        let slot = self.wires.get(session).and_then(|wire| wire.slot);
        if let Some(slot) = slot {
            self.close_client(turn, slot, Reason::SessionExpired);
        }
        self.drop_wire(turn, session);
    }

    /// One record of an earlier life, before anything else is handled; `false` when it is damaged.
    pub fn restore(&mut self, _turn: &Turn, key: &[u8], value: &[u8]) -> bool {
        self.restore_record(key, value).is_some()
    }

    /// After the last `restore`: emits the `Event::Connect { resumed }` of sessions served at
    /// their journaled address.
    pub fn restored(&mut self, turn: &Turn) {
        self.resume_saved(turn);
    }

    /// The next thing for the layer above.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Datagrams to send; the caller clears the queue.
    pub fn transmits(&mut self) -> &mut DatagramQueue {
        &mut self.out
    }

    /// The next datagram for more than one.
    pub fn poll_announcement(&mut self) -> Option<Announcement> {
        self.announcements.pop_front()
    }

    /// Datagrams sent so far, and their bytes.
    #[must_use]
    pub fn pushed(&self) -> (u64, u64) {
        let (datagrams, bytes) = self.out.pushed();
        (datagrams + self.announced.0, bytes + self.announced.1)
    }

    /// The next change to the durable state.
    pub fn poll_record(&mut self) -> Option<Record> {
        self.records.pop_front()
    }

    /// When `handle_timeout` is wanted.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let advertise = (!self.config.advertise_to.is_empty())
            .then(|| self.next_advertise.unwrap_or(Instant::ZERO));
        earliest(self.timers.next_deadline(), advertise)
    }

    fn send_to(&mut self, slot: Slot, packet: &Packet<'_>) {
        if let Some(client) = self.clients.get_mut(slot) {
            client.spend(packet);
            forwarder::send(&mut self.out, &client.peer, 0, packet);
        }
    }

    /// The client in `slot` with its session, if it has one.
    fn line<'a>(&'a mut self, turn: &'a Turn, slot: Slot) -> Option<Line<'a>> {
        let at = self.clients.ref_of(slot);
        let client = self.clients.get_mut(slot)?;
        let wire = self.wires.get_mut(client.session?)?;
        Some(Line {
            turn,
            config: &self.config,
            locals: &self.locals,
            bounds: bounds(&self.config, &self.bounds, client.peer.listener),
            at,
            client,
            wire,
            committed: self.committed,
            gate: &mut self.gate,
            events: &mut self.events,
            records: &mut self.records,
            out: &mut self.out,
            topics_refused: &mut self.topics_refused,
            unproven_held: &mut self.unproven_held,
            timers: &mut self.timers,
            pending: &mut self.pending,
            next_ticket: &mut self.next_ticket,
        })
    }

    fn with_line(&mut self, turn: &Turn, slot: Slot, f: impl FnOnce(&mut Line<'_>)) {
        if let Some(mut line) = self.line(turn, slot) {
            f(&mut line);
        }
    }

    /// The address of a session is not journaled any more.
    fn drop_connection_record(&mut self, turn: &Turn, session: SessionId) {
        if let Some(wire) = self.wires.get_mut(session)
            && wire.durable
            && turn.durable
        {
            wire.written = turn.seq;
            let key = Key::Connection.bytes(session);
            self.records.push_back(Record { key, value: None });
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::endpoint::clients::Client;
    use crate::endpoint::wire::Wire;

    #[test]
    fn an_idle_client_is_small() {
        // One allocation each; beside them 16 bytes in the table of clients, about 13 in its
        // indices, 12 in the table of sessions, 16 of a timer, and the name.
        let (client, wire) = (size_of::<Client>(), size_of::<Wire>());
        assert!(client <= 136 && wire <= 56, "{client} and {wire}");
    }
}
