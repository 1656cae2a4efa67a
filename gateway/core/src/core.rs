//! [`Core`]: the three endpoints, the mapping and the broker, composed by value.
//!
//! One mutation, then drain: `handle` gives the input to the endpoint that owns its wire, carries
//! events to the broker and effects back until all are quiet, and closes the turn's batch of
//! journal records. What a protocol's events and effects mean is in its own file (`mqtt.rs`,
//! `sn.rs`, `coap.rs`).

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use motegate_broker::{Broker, Effect, Handle, Request};
use motegate_coap::endpoint::{ExchangeId, ObservationId};
use motegate_mapping::Table;
use motegate_message::journal::Saved;
use motegate_message::{
    Announcement, ConnectionId, DatagramQueue, Delivery, Group, ListenerId, LocalId, Peer, Reason,
    Record, Route, Seq, SessionId, Turn, Wall, journal,
};
use motegate_mqtt_sn::endpoint::ClientRef;
use motegate_timers::{Instant, earliest};

use crate::access::{Target, admits};
use crate::admission::Admission;
use crate::backpressure::Backpressure;
use crate::coap::{Audience, Behind, Notified, Observation, Pack, Passes, Proofs, Rounds, Topics};
use crate::journal_clock::JournalClock;
use crate::lockout::Lockout;
use crate::login::Login;
use crate::mqtt::{MqttClient, Opened};
use crate::notice::{Notice, NoticeKind};
use crate::pending::{Pending, PendingTable};
use crate::rate::RateLimit;
use crate::sys::Sys;
use crate::{Config, Input, Listener, Output, Protocol, Stats};

/// One whole gateway.
#[derive(Debug)]
pub struct Core {
    pub(crate) config: Config,
    pub(crate) table: Arc<Table>,
    pub(crate) broker: Broker,
    pub(crate) mqtt: motegate_mqtt::Endpoint,
    pub(crate) sn: motegate_mqtt_sn::endpoint::Endpoint,
    pub(crate) coap: motegate_coap::Endpoint,
    /// By `ConnectionId::slot`.
    pub(crate) mqtt_clients: Vec<Option<MqttClient>>,
    /// MQTT clients whose identity is being found out.
    pub(crate) logins: HashMap<ConnectionId, Login>,
    /// MQTT connections whose operator was told that messages wait which have no name there.
    pub(crate) nameless: HashSet<ConnectionId>,
    /// Since the store failed: when those who wait for it are told.
    pub(crate) stalled: Option<Instant>,
    pub(crate) lockout: Lockout,
    /// Of addresses that may be others': datagrams without Echo. They lock nobody out.
    pub(crate) lockout_in_doubt: Lockout,
    /// MQTT-SN clients that are sent away once what waits for them has been delivered.
    pub(crate) sn_leaving: HashMap<ClientRef, Reason>,
    pub(crate) observations: HashMap<ObservationId, Observation>,
    /// What the transport of CoAP connections says of whoever is behind them, where it says something.
    pub(crate) coap_behind: HashMap<ConnectionId, Behind>,
    /// Packs whose records the broker has not all answered.
    pub(crate) packs: HashMap<ExchangeId, Pack>,
    pub(crate) notified: Notified,
    pub(crate) audience: Audience,
    /// Of the topic collection.
    pub(crate) topics: Topics,
    pub(crate) rounds: Rounds,
    /// EMQX's clients that have connected.
    pub(crate) passes: Passes,
    /// CoAP requests whose password is being looked at.
    pub(crate) proofs: Proofs,
    pub(crate) pending: PendingTable,
    pub(crate) turn: Turn,
    /// The wall clock as it is, jumps and all.
    pub(crate) wall: Wall,
    pub(crate) backpressure: Backpressure,
    /// MQTT-SN publishes at QoS −1.
    pub(crate) minus_one: RateLimit,
    pub(crate) sys: Sys,
    pub(crate) admission: Admission,
    /// Of datagrams (MQTT-SN, CoAP): whoever forges them keeps no MQTT client waiting.
    pub(crate) sn_admission: Admission,
    /// Bounds that end a connection in this turn, until its end is told.
    pub(crate) ending: HashMap<ConnectionId, &'static str>,
    /// What of the broker's bounds was told.
    told_limits: motegate_broker::Acted,
    /// That of persisted deadlines, from the first turn on.
    clock: Option<JournalClock>,
    batch: Vec<Record>,
    /// For after the batch: they are to see it.
    fetches: Vec<Output>,
    pub(crate) outputs: VecDeque<Output>,
    pub(crate) stats: Stats,
}

impl Core {
    /// A gateway with nothing connected. `seed` feeds everything random.
    #[must_use]
    pub fn new(config: Config, table: Arc<Table>, seed: u64) -> Self {
        let turn = Turn {
            now: Instant::ZERO,
            wall: Wall::default(),
            seq: Seq::NONE.next(),
            durable: config.durable,
        };
        let mut mqtt = motegate_mqtt::Endpoint::new(config.mqtt.clone(), seed);
        mqtt.reconfigure_listeners(config.mqtt.clone(), config.mqtt_by_listener());
        let mut sn = motegate_mqtt_sn::endpoint::Endpoint::new(config.sn(), seed ^ 0x5e);
        sn.bound_listeners(config.sn_by_listener());
        let mut coap = motegate_coap::Endpoint::new(config.coap.clone(), seed ^ 0xc0);
        coap.bound_listeners(config.coap_by_listener());
        Core {
            broker: Broker::new(config.broker),
            mqtt,
            sn,
            coap,
            backpressure: Backpressure::new(config.max_uncommitted_bytes),
            minus_one: RateLimit::default(),
            sys: Sys::new(config.sys_interval),
            admission: Admission::default(),
            sn_admission: Admission::default(),
            ending: HashMap::new(),
            told_limits: motegate_broker::Acted::default(),
            table,
            config,
            mqtt_clients: Vec::new(),
            logins: HashMap::new(),
            nameless: HashSet::new(),
            stalled: None,
            lockout: Lockout::default(),
            lockout_in_doubt: Lockout::default(),
            sn_leaving: HashMap::new(),
            observations: HashMap::new(),
            coap_behind: HashMap::new(),
            packs: HashMap::new(),
            notified: Notified::default(),
            audience: Audience::default(),
            topics: Topics::default(),
            rounds: Rounds::default(),
            passes: Passes::new(seed),
            proofs: Proofs::default(),
            pending: PendingTable::default(),
            turn,
            wall: Wall::default(),
            clock: None,
            batch: Vec::new(),
            fetches: Vec::new(),
            outputs: VecDeque::new(),
            stats: Stats::default(),
        }
    }

    /// Adds to what tokens of CoAP clients are made from, before there are any: a seed is little for
    /// what nobody is to guess. `seed` is that of [`Core::new`].
    pub fn add_secret(&mut self, seed: u64, secret: &[u8; 32]) {
        self.passes.add_secret(seed, secret);
    }

    /// Rebuilds what a journal holds, before anything else is handled. Returns how many records
    /// were damaged or belong to nobody.
    pub fn restore(&mut self, now: Instant, wall: Wall, saved: &mut dyn Saved) -> usize {
        self.turn.now = now;
        let last = saved.value(CLOCK);
        self.clock = last.and_then(|value| JournalClock::resume(now, wall, &value));
        self.look_at_the_clock(wall);
        let mut damaged = 0;
        saved.state(&mut |key, value| {
            let understood = match key.first() {
                Some(&journal::owner::BROKER) => self.broker.restore(&self.turn, key, value),
                Some(&journal::owner::MQTT) => self.mqtt.restore(&self.turn, key, value),
                Some(&journal::owner::MQTT_SN) => self.sn.restore(&self.turn, key, value),
                Some(&journal::owner::CORE) if key == CLOCK => {
                    JournalClock::resume(now, wall, value).is_some()
                }
                Some(&journal::owner::CORE) => self.restore_topic(key, value),
                _ => false,
            };
            damaged += usize::from(!understood);
        });
        self.broker.will_resume(self.sn.resumable());
        self.broker.restored(&self.turn, saved);
        self.sn.restored(&self.turn);
        self.pump();
        self.broker.resumed(&self.turn);
        self.pump();
        self.close_batch();
        damaged
    }

    /// One mutation; then drain `poll_output` and `datagrams`.
    pub fn handle(&mut self, now: Instant, wall: Wall, input: Input<'_>) {
        self.turn.now = self.turn.now.max(now);
        self.look_at_the_clock(wall);
        match input {
            Input::Datagram { listener, local, peer, bytes } => {
                self.datagram(Route { listener, local, addr: peer }, None, bytes);
            }
            Input::GroupDatagram { listener, group, peer, bytes } => {
                let from = Route { listener, local: LocalId::ANY, addr: peer };
                self.datagram(from, Some(group), bytes);
            }
            Input::Opened { conn, listener, peer, identity, host, since } => {
                self.opened(Opened { conn, listener, peer, identity, host, since });
            }
            Input::CloseHalfOpen(of) => self.close_oldest_half_open(of),
            Input::Bytes { conn, chunk } => self.stream_bytes(conn, chunk),
            Input::Part { conn, chunk, is_last } => {
                self.coap.handle_part(&self.turn, conn, chunk, is_last);
            }
            Input::Written { conn, n } => self.stream_written(conn, n),
            Input::Closed { conn, reason } => self.stream_closed(conn, reason),
            Input::Committed(seq) => self.committed(seq),
            Input::StoreFailed => self.store_failed(),
            Input::Fetched { session, page } => self.broker.fetched(&self.turn, session, &page),
            Input::Verdict { ticket, verdict } => self.verdict(ticket, verdict),
            Input::Reload(reload) => {
                let touched = self.reload(*reload);
                self.pump();
                self.outputs.push_back(Output::Reloaded(touched));
            }
            Input::Admin { ticket, query } => self.admin(ticket, query),
            Input::Shutdown => self.shutdown(),
            Input::Timeout => self.timeout(),
        }
        self.pump();
        self.close_batch();
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Datagrams to send, each queue to be cleared by the caller: MQTT-SN, CoAP.
    pub fn datagrams(&mut self) -> [&mut DatagramQueue; 2] {
        [self.sn.transmits(), self.coap.transmits()]
    }

    /// A number that the shell has given to an address of this machine, which one listener was
    /// spoken to at: before the first datagram that bears it.
    pub fn learn_local(&mut self, listener: ListenerId, local: LocalId, ip: std::net::IpAddr) {
        if self.config.listeners.get(usize::from(listener.0)).is_some() {
            self.sn.learn_local(listener, local, ip);
        }
    }

    /// The numbers that hold after `restore`, for each listener from 1 up.
    #[must_use]
    pub fn locals(&self) -> Vec<(ListenerId, LocalId, std::net::IpAddr)> {
        self.sn.locals()
    }

    /// When `Input::Timeout` is wanted.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let datagrams = earliest(self.sn.poll_timeout(), self.coap.poll_timeout());
        let streams = earliest(self.broker.poll_timeout(), self.mqtt.poll_timeout());
        let own = earliest(self.sys.next(), earliest(self.admission.next(), self.coap_next()));
        earliest(earliest(streams, datagrams), earliest(own, self.stalled))
    }

    /// What holds now.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Counters.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// The listener, which the shell named from the same configuration.
    pub(crate) fn listener(&self, id: ListenerId) -> &Listener {
        &self.config.listeners[usize::from(id.0)]
    }

    /// What to change where a listener takes nobody without an identity; `None` where it does.
    pub(crate) fn closed_to_anonymous(&self, id: ListenerId) -> Option<String> {
        let listener = self.listener(id);
        (!listener.anonymous).then(|| {
            format!(
                "listener `{}` takes no anonymous clients: add `anonymous: true` to it to let \
                 anyone in",
                listener.name
            )
        })
    }

    fn datagram(&mut self, from: Route, group: Option<&Group>, bytes: &[u8]) {
        let Route { listener, local, addr } = from;
        let Some(settings) = self.config.listeners.get(usize::from(listener.0)) else { return };
        let protocol = settings.protocol;
        if !admits(settings.sources, addr) {
            self.refuse_source(protocol, listener, addr);
            return;
        }
        let peer = Peer { local, ..Peer::new(listener, addr) };
        let counted = self.sys.of_mut(protocol);
        counted.received += 1;
        counted.bytes_received += bytes.len() as u64;
        if protocol == Protocol::MqttSn {
            self.sn.set_busy(self.backpressure.is_over() || self.broker.is_store_failed());
        }
        match (protocol, group) {
            (Protocol::MqttSn, None) => self.sn.handle_datagram(&self.turn, peer, bytes),
            (Protocol::MqttSn, Some(group)) => {
                self.sn.handle_group_datagram(&self.turn, peer, group, bytes);
            }
            (Protocol::Coap, None) => self.coap.handle_datagram(&self.turn, peer, bytes),
            (Protocol::Coap, Some(_)) => self.coap.handle_group_datagram(peer, bytes),
            (Protocol::Mqtt, _) => {}
        }
    }

    pub(crate) fn refuse_source(
        &mut self,
        protocol: Protocol,
        listener: ListenerId,
        addr: SocketAddr,
    ) {
        self.notice(Notice {
            protocol: Some(protocol),
            listener: Some(listener),
            peer: Some(addr),
            text: Some(
                "only loopback, link-local and private addresses are served here; `motegate dev \
                 --expose` serves all"
                    .into(),
            ),
            ..Notice::new(NoticeKind::Refused(Reason::SourceDenied))
        });
    }

    fn timeout(&mut self) {
        let now = self.turn.now;
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if due(self.broker.poll_timeout()) {
            self.broker.handle_timeout(&self.turn);
        }
        if due(self.mqtt.poll_timeout()) {
            self.mqtt.handle_timeout(&self.turn);
        }
        if due(self.sn.poll_timeout()) {
            self.sn.handle_timeout(&self.turn);
        }
        if due(self.coap.poll_timeout()) {
            self.coap.handle_timeout(&self.turn);
        }
        self.coap_due();
        self.stalled_due();
        self.mqtt_turns();
        self.sys_round();
    }

    /// Wills without delay go out first, so that whoever is still connected gets them; then every
    /// client is told. A sleeper that is served after the restart loses nothing, so not its will.
    fn shutdown(&mut self) {
        let Core { broker, sn, turn, .. } = self;
        broker.shutdown(turn, |session| sn.goes_on(turn, session));
        self.pump();
        self.shutdown_mqtt();
        self.shutdown_sn();
        self.shutdown_coap();
    }

    /// Carries events down and effects up until every machine is quiet.
    fn pump(&mut self) {
        loop {
            while let Some(effect) = self.broker.poll_effect() {
                self.effect(effect);
            }
            if let Some(event) = self.mqtt.poll_event() {
                self.mqtt_event(event);
            } else if let Some(event) = self.sn.poll_event() {
                self.sn_event(event);
            } else if let Some(event) = self.coap.poll_event() {
                self.coap_event(event);
            } else {
                break;
            }
        }
        while let Some(transmit) = self.mqtt.poll_transmit() {
            self.mqtt_transmit(transmit);
        }
        while let Some(transmit) = self.coap.poll_transmit() {
            self.coap_transmit(transmit);
        }
        self.ending.clear();
        self.tell_limits();
        while let Some(announcement) = self.sn.poll_announcement() {
            self.announce(announcement);
        }
    }

    /// One for each listener that it leaves by; one without a socket that reaches the group is the
    /// shell's to leave out.
    fn announce(&mut self, announcement: Announcement) {
        let listeners = match announcement.listener {
            Some(listener) => vec![listener],
            None => {
                let sn = |(listener, _): &(&Listener, u16)| listener.protocol == Protocol::MqttSn;
                let all = self.config.listeners.iter().zip(0..).filter(sn);
                all.map(|(_, at)| ListenerId(at)).collect()
            }
        };
        for listener in listeners {
            let one = Announcement { listener: Some(listener), ..announcement.clone() };
            self.outputs.push_back(Output::Announce(Box::new(one)));
        }
    }

    /// Which of the broker's bounds have acted in this turn.
    fn tell_limits(&mut self) {
        let acted = *self.broker.acted();
        if acted == self.told_limits {
            return;
        }
        let told = std::mem::replace(&mut self.told_limits, acted);
        for ((key, now), (_, before)) in acted.rows().into_iter().zip(told.rows()) {
            // A refused session is told with its connection.
            if now > before && key != "max_sessions" {
                let limit = Some(key);
                self.notice(Notice { limit, ..Notice::new(NoticeKind::Limited) });
            }
        }
    }

    fn look_at_the_clock(&mut self, wall: Wall) {
        let now = self.turn.now;
        let clock = self.clock.get_or_insert_with(|| JournalClock::new(now, wall));
        self.turn.wall = clock.look(now, wall);
        self.wall = wall;
        self.topics.look(&Turn { wall, ..self.turn });
    }

    /// All records of one `handle` are one atomic batch (architecture: the journal).
    fn close_batch(&mut self) {
        self.collect_records();
        self.output_batch();
        self.outputs.extend(self.fetches.drain(..));
    }

    fn output_batch(&mut self) {
        let jumped = self.turn.durable && self.clock.is_some_and(|clock| clock.jumped());
        if self.batch.is_empty() && !jumped {
            return;
        }
        if let Some(clock) = &mut self.clock {
            let value = Some(clock.value(self.turn.wall));
            self.batch.push(Record { key: CLOCK.to_vec(), value });
        }
        let seq = self.turn.seq;
        self.turn.seq = seq.next();
        let batch = core::mem::take(&mut self.batch);
        self.backpressure.written(seq, &batch);
        self.outputs.push_back(Output::Records { seq, batch });
    }

    fn collect_records(&mut self) {
        while let Some(record) = self.broker.poll_record() {
            self.batch.push(record);
        }
        while let Some(record) = self.mqtt.poll_record() {
            self.batch.push(record);
        }
        while let Some(record) = self.sn.poll_record() {
            self.batch.push(record);
        }
        self.batch.extend(self.topics.take_records());
    }

    /// Asks the broker something that answers without a ticket, and tells which batch its records
    /// are in, if it wrote any.
    pub(crate) fn ask_quietly(&mut self, request: Request) -> Seq {
        self.collect_records();
        let before = self.batch.len();
        self.broker.handle(&self.turn, request);
        self.collect_records();
        if self.batch.len() > before { self.turn.seq } else { Seq::NONE }
    }

    pub(crate) fn ask(&mut self, request: Request) {
        self.broker.handle(&self.turn, request);
    }

    pub(crate) fn output(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    /// Counts, and tells the log unless the same was told a moment ago.
    pub(crate) fn notice(&mut self, mut notice: Notice) {
        if let Some(reason) = notice.reason() {
            self.stats.count(reason);
        }
        match notice.kind {
            NoticeKind::Connected { .. } | NoticeKind::Disconnected(_) => {}
            NoticeKind::Refused(_)
            | NoticeKind::Dropped(_)
            | NoticeKind::Overdue
            | NoticeKind::Limited => {
                let Some(untold) = self.stats.tell(self.turn.now, &notice) else { return };
                notice.untold = untold;
            }
        }
        self.outputs.push_back(Output::Notice(Box::new(notice)));
    }

    fn effect(&mut self, effect: Effect) {
        match effect {
            Effect::Deliver { session, handle, delivery } => {
                self.deliver(session, handle, delivery);
            }
            Effect::Drained { handle, .. } => self.drained(handle),
            Effect::Closed { handle, reason, .. } => self.closed(handle, reason),
            Effect::Ended { session, key } => {
                // A session without a name has no wire state that outlives its connection.
                if key.is_some() {
                    self.mqtt.forget(&self.turn, session);
                    self.sn.forget(&self.turn, session);
                }
            }
            Effect::Fetch(wanted) => self.fetches.push(Output::Fetch(wanted)),
            Effect::Dropped { reason, .. } => {
                // Who is away and keeps no QoS 0 misses nothing.
                self.sys.dropped += u64::from(reason != Reason::NoReceiver);
                self.notice(Notice::new(NoticeKind::Dropped(reason)));
            }
            answer => self.answer(answer),
        }
    }

    fn deliver(&mut self, session: SessionId, handle: Handle, delivery: Delivery) {
        match Target::from_handle(handle) {
            Target::Mqtt(conn) => self.mqtt_deliver(session, conn, delivery),
            Target::Sn(client) => self.sn_deliver(session, client, delivery),
            Target::Coap(observation) => self.coap_deliver(session, observation, delivery),
        }
    }

    fn drained(&mut self, handle: Handle) {
        // Only MQTT-SN sessions are drained.
        let Target::Sn(client) = Target::from_handle(handle) else { return };
        match self.sn_leaving.get(&client) {
            Some(reason) => self.sn_send_away(client, *reason),
            None => self.sn.drained(&self.turn, client),
        }
    }

    fn closed(&mut self, handle: Handle, reason: Reason) {
        match Target::from_handle(handle) {
            Target::Mqtt(conn) => self.mqtt_closed(conn, reason),
            Target::Sn(client) => self.sn_closed(client, reason),
            Target::Coap(observation) => self.coap_closed(observation),
        }
    }

    /// An effect that answers a ticket.
    fn answer(&mut self, effect: Effect) {
        let ticket = match &effect {
            Effect::Opened { ticket, .. }
            | Effect::OpenRefused { ticket, .. }
            | Effect::Accepted { ticket, .. }
            | Effect::Refused { ticket, .. }
            | Effect::Value { ticket, .. }
            | Effect::Topics { ticket, .. }
            | Effect::Subscribed { ticket, .. }
            | Effect::Unsubscribed { ticket, .. }
            | Effect::WillValue { ticket, .. } => *ticket,
            _ => return,
        };
        match self.pending.take(ticket) {
            Pending::Nothing => {}
            pending @ (Pending::MqttConnect { .. }
            | Pending::MqttPublish { .. }
            | Pending::MqttSubscribe { .. }
            | Pending::MqttUnsubscribe { .. }) => self.mqtt_answer(pending, effect),
            pending @ (Pending::SnConnect { .. }
            | Pending::SnPublish { .. }
            | Pending::SnSubscribe { .. }
            | Pending::SnUnsubscribe { .. }
            | Pending::SnWill { .. }) => self.sn_answer(pending, effect),
            pending => self.coap_answer(pending, effect),
        }
    }
}

/// Key of the clock that the last batch was closed at.
const CLOCK: &[u8] = &[journal::owner::CORE, b'w'];
