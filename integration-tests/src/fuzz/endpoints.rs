//! Fuzz targets with state: each protocol endpoint alone, its events answered as a core might (and as
//! it should not: late, refused, twice), and the bounds on what it sends.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use motegate_message::{
    ConnectionId, Delivery, DeliveryId, ListenerId, Message, Peer, Qos, Reason, Seq, SessionId,
    SessionKey, TopicName, Turn, Wall,
};
use motegate_mqtt::codec::Utf8;
use motegate_timers::Instant;

use super::{corpus, mutate};
use crate::sim::rng::Rng;

/// A clock that a target advances, and numbers that it needs.
#[derive(Debug)]
pub struct Clock {
    now: Instant,
    pub(super) seq: Seq,
    durable: bool,
}

impl Clock {
    pub(super) fn new(durable: bool) -> Self {
        Clock { now: Instant::from_secs(1), seq: Seq(1), durable }
    }

    pub(super) fn turn(&mut self, rng: &mut Rng) -> Turn {
        let step = if rng.chance(10) { rng.below(40_000_000) } else { rng.below(3_000) };
        self.now += Duration::from_micros(step);
        let wall = Wall::from_millis(1_700_000_000_000 + self.now.as_micros() / 1000);
        Turn { seq: self.seq, durable: self.durable, ..Turn::new(self.now, wall) }
    }
}

pub(super) fn address(n: u64) -> SocketAddr {
    let host = u8::try_from(n & 0xff).unwrap_or(0);
    let port = 1000 + u16::try_from(n >> 8 & 0x3fff).unwrap_or(0);
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 1, 1, host)), port)
}

fn message(rng: &mut Rng) -> Message {
    let topic = ["a", "a/b", "zz", "t/b/c", "é/ü"][rng.index(5)];
    let payload = vec![b'x'; if rng.chance(30) { 1500 } else { rng.index(40) }];
    let mut message = Message::new(TopicName::new(topic).expect("valid"), Bytes::from(payload));
    message.qos = Qos::from_bits(u8::try_from(rng.below(3)).unwrap_or(0)).expect("below 3");
    message
}

fn delivery(rng: &mut Rng, id: u64) -> Delivery {
    let message = Arc::new(message(rng));
    let (qos, retain, again) = (message.qos, rng.chance(100), rng.chance(100));
    Delivery { id: DeliveryId(id), message, qos, retain, again, identifiers: None, share: 0 }
}

/// Small limits in every second run, the defaults otherwise.
pub(super) fn small(run: u64) -> bool {
    run.is_multiple_of(2)
}

/// Every fifth run is a flood: nearly every datagram comes from somebody new.
fn flood(run: u64) -> bool {
    run % 5 == 3
}

/// One MQTT endpoint, some connections, `inputs` chunks.
///
/// # Errors
/// A bound that does not hold.
pub fn mqtt(rng: &mut Rng, run: u64, inputs: u64) -> Result<(), String> {
    let mut config = motegate_mqtt::Config::default();
    if small(run) {
        config.max_packet_size = 4096;
        config.max_connect_size = 512;
        config.max_outbox_bytes = 2048;
        config.receive_maximum = 4;
        config.max_inflight = 3;
        config.topic_alias_maximum = 2;
    }
    let limit = (config.max_outbox_bytes + config.max_packet_size) as usize + 8192;
    let base = config.clone();
    let mut endpoint = motegate_mqtt::Endpoint::new(config, run);
    let mut clock = Clock::new(run.is_multiple_of(3));
    let mut state = MqttState::default();
    let mut generations = [0u32; 6];
    for n in 0..inputs {
        let slot = rng.index(6);
        let turn = clock.turn(rng);
        let conn = ConnectionId::new(u32::try_from(slot).unwrap_or(0), generations[slot].max(1));
        match rng.below(20) {
            _ if generations[slot] == 0 || state.closed.contains(&conn) || rng.chance(5) => {
                endpoint.handle_closed(&turn, conn, Reason::ConnectionLost);
                generations[slot] += 1;
                let conn = ConnectionId::new(u32::try_from(slot).unwrap_or(0), generations[slot]);
                endpoint.handle_opened(&turn, conn, ListenerId(0), turn.now);
                let version = [3, 4, 5, 5][slot % 4];
                let bytes = corpus::mqtt_connect(rng, version);
                endpoint.handle_bytes(&turn, conn, &bytes);
            }
            0 => endpoint.handle_timeout(&turn),
            1 => {
                let seq = clock.seq;
                clock.seq = seq.next();
                endpoint.handle_committed(&turn, seq);
            }
            // A reload: what was granted before stays granted.
            2 if rng.chance(20) => endpoint.reconfigure(other_settings(rng, &base)),
            2 => {
                let delivery = delivery(rng, n);
                endpoint.deliver(&turn, conn, delivery, rng.chance(100).then(|| "x/y".into()));
            }
            _ => {
                let version = [3, 4, 5, 5][slot % 4];
                let bytes = mutate::gentle(rng, |rng| corpus::mqtt(rng, version));
                endpoint.handle_bytes(&turn, conn, &bytes);
            }
        }
        state.answer(rng, &turn, &mut endpoint);
        let waiting = endpoint.outbox(conn).len();
        if waiting > limit {
            return Err(format!("{waiting} bytes in an outbox, the limit is {limit}"));
        }
        if waiting > 0 && !rng.chance(100) {
            endpoint.handle_written(&turn, conn, waiting);
            state.answer(rng, &turn, &mut endpoint);
        }
        while endpoint.poll_record().is_some() {}
    }
    Ok(())
}

/// The same limits, other settings.
fn other_settings(rng: &mut Rng, base: &motegate_mqtt::Config) -> motegate_mqtt::Config {
    let mut config = base.clone();
    let mut flip = |setting: &mut bool| *setting ^= rng.chance(500);
    flip(&mut config.retain_available);
    flip(&mut config.wildcard_subscriptions);
    flip(&mut config.shared_subscriptions);
    flip(&mut config.subscription_identifiers);
    flip(&mut config.validate_payload_format);
    flip(&mut config.deny_disconnects);
    config.utf8 = if rng.chance(500) { Utf8::Lenient } else { Utf8::Strict };
    config.max_qos = u8::try_from(rng.below(3)).unwrap_or(2);
    config.topic_alias_maximum = u16::try_from(rng.below(4)).unwrap_or(0);
    config.response_prefix = if rng.chance(500) { "re/".into() } else { String::new() };
    config.server_reference = if rng.chance(50) { "b.example".into() } else { String::new() };
    config
}

#[derive(Debug, Default)]
struct MqttState {
    sessions: u32,
    late: Vec<motegate_mqtt::endpoint::Event>,
    /// What the endpoint has closed last.
    closed: Vec<ConnectionId>,
}

impl MqttState {
    fn answer(&mut self, rng: &mut Rng, turn: &Turn, endpoint: &mut motegate_mqtt::Endpoint) {
        while let Some(event) = endpoint.poll_event() {
            if rng.chance(30) && self.late.len() < 50 {
                self.late.push(event);
            } else {
                self.reply(rng, turn, endpoint, event);
            }
        }
        if rng.chance(50) {
            for event in std::mem::take(&mut self.late) {
                self.reply(rng, turn, endpoint, event);
            }
        }
        while let Some(transmit) = endpoint.poll_transmit() {
            if let motegate_mqtt::endpoint::Transmit::Close(conn, _) = transmit {
                self.closed.push(conn);
                if self.closed.len() > 30 {
                    self.closed.remove(0);
                }
            }
        }
    }

    fn reply(
        &mut self,
        rng: &mut Rng,
        turn: &Turn,
        endpoint: &mut motegate_mqtt::Endpoint,
        event: motegate_mqtt::endpoint::Event,
    ) {
        use motegate_mqtt::endpoint::{Accept, Event, Published};
        let after = if rng.chance(500) { Seq::NONE } else { turn.seq };
        let refused = rng.chance(50);
        match event {
            Event::Connect(connect) if refused => {
                endpoint.refuse(turn, connect.conn, Reason::QuotaExceeded);
            }
            Event::Auth { conn, .. } if refused => endpoint.refuse(turn, conn, Reason::AuthFailed),
            Event::Auth { conn, .. } if rng.chance(500) => endpoint.challenge(turn, conn, b"x"),
            Event::Connect(connect) if connect.auth.is_some() && rng.chance(500) => {
                endpoint.challenge(turn, connect.conn, b"x");
            }
            Event::Connect(_) | Event::Auth { .. } => {
                let conn = match event {
                    Event::Connect(connect) => connect.conn,
                    Event::Auth { conn, data, .. } => {
                        endpoint.authenticated(turn, conn, data);
                        conn
                    }
                    _ => return,
                };
                if !endpoint.is_connecting(conn) && rng.chance(900) {
                    return;
                }
                self.sessions += 1;
                let number = if rng.chance(500) { self.sessions } else { self.sessions % 8 };
                let session = SessionId::new(number % 64, number / 64);
                let present = rng.chance(300);
                endpoint.accept(turn, conn, Accept { session, present, after });
            }
            Event::Publish { conn, ticket, .. } => {
                let result = Published { matched: rng.chance(500), after };
                let result = if refused { Err(Reason::AclDeny) } else { Ok(result) };
                endpoint.published(turn, conn, ticket, result);
            }
            Event::Subscribe { conn, ticket, items, .. } => {
                let outcomes: Vec<_> = items
                    .iter()
                    .map(|i| if refused { Err(Reason::QuotaExceeded) } else { Ok(i.qos) })
                    .collect();
                endpoint.subscribed(turn, conn, ticket, &outcomes, after);
            }
            Event::Unsubscribe { conn, ticket, filters, .. } => {
                let existed: Vec<bool> = filters.iter().map(|_| rng.chance(500)).collect();
                endpoint.unsubscribed(turn, conn, ticket, &existed, after);
            }
            Event::Disconnected { session, .. } if rng.chance(700) => {
                endpoint.forget(turn, session);
            }
            _ => {}
        }
    }
}

/// One MQTT-SN endpoint, some peers, `inputs` datagrams.
///
/// # Errors
/// A bound that does not hold.
pub fn sn(rng: &mut Rng, run: u64, inputs: u64) -> Result<(), String> {
    let mut config = motegate_mqtt_sn::endpoint::Config::default();
    if small(run) {
        config.max_topics_per_client = 4;
        config.max_clients = 8;
        config.max_client_id_length = 10;
        config.max_datagram = 200;
    }
    let mut endpoint = motegate_mqtt_sn::endpoint::Endpoint::new(config, run);
    let mut clock = Clock::new(run.is_multiple_of(3));
    let mut known = Vec::new();
    for n in 0..inputs {
        let turn = clock.turn(rng);
        let mut came = 0;
        let mut plain = true;
        match rng.below(20) {
            0 => {
                plain = false;
                endpoint.handle_timeout(&turn);
            }
            1 => {
                plain = false;
                let seq = clock.seq;
                clock.seq = seq.next();
                endpoint.handle_committed(&turn, seq);
            }
            2 if !known.is_empty() => {
                plain = false;
                let (client, _) = *rng.pick(&known);
                let delivery = delivery(rng, n);
                let name = delivery.message.topic.clone();
                let predefined = rng.chance(200).then_some(7);
                let short = rng.chance(200).then_some(*b"zz");
                let names = motegate_mqtt_sn::endpoint::Names {
                    name,
                    predefined,
                    short,
                    by_predefined: None,
                };
                endpoint.deliver(&turn, client, delivery, names);
            }
            3 if !known.is_empty() && rng.chance(300) => {
                plain = false;
                let (client, session) = known.swap_remove(rng.index(known.len()));
                endpoint.close(&turn, client, Reason::Kicked);
                endpoint.forget(&turn, session);
            }
            _ => {
                let many = if flood(run) || rng.chance(100) { 1_000_000 } else { 8 };
                let peer = Peer::new(ListenerId(1), address(rng.below(many)));
                let bytes = if flood(run) && rng.chance(700) {
                    crate::sim::sn_wire::connect(0, 600, &format!("flood{n}"))
                } else {
                    mutate::input(rng, corpus::sn)
                };
                came = bytes.len();
                endpoint.handle_datagram(&turn, peer, &bytes);
            }
        }
        answer_sn(rng, &turn, &mut endpoint, &mut known, if flood(run) { 1 << 20 } else { 64 });
        let sent: usize = endpoint.transmits().iter().map(|(_, b)| b.len()).sum();
        endpoint.transmits().clear();
        // A client may be sent what waits for it, in small pieces; strangers only small answers.
        if plain && sent > came + 4 * 1500 {
            return Err(format!("{sent} bytes sent for {came}"));
        }
        while endpoint.poll_record().is_some() {}
    }
    Ok(())
}

fn answer_sn(
    rng: &mut Rng,
    turn: &Turn,
    endpoint: &mut motegate_mqtt_sn::endpoint::Endpoint,
    known: &mut Vec<(motegate_mqtt_sn::endpoint::ClientRef, SessionId)>,
    sessions: u64,
) {
    use motegate_mqtt_sn::endpoint::{Accept, Event};
    while let Some(event) = endpoint.poll_event() {
        let after = if rng.chance(500) { Seq::NONE } else { turn.seq };
        let refused = rng.chance(50);
        match event {
            Event::Connect(connect) if refused => {
                endpoint.refuse(turn, connect.client, Reason::QuotaExceeded);
            }
            Event::Connect(connect) => {
                let number = u32::try_from(rng.below(sessions)).unwrap_or(0);
                let session = SessionId::new(number, 1);
                if known.len() > 40 {
                    known.remove(0);
                }
                known.push((connect.client, session));
                let key = SessionKey::new("mqttsn", &connect.client_id);
                let accept = Accept { key, session, present: rng.chance(300), after };
                endpoint.accept(turn, connect.client, accept);
            }
            Event::Publish { ticket, .. } => {
                let result = if refused { Err(Reason::SnUnknownTopicId) } else { Ok(after) };
                endpoint.published(turn, ticket, result);
            }
            Event::Register { ticket, .. } => {
                endpoint.registered(
                    turn,
                    ticket,
                    if refused { Err(Reason::BadTopic) } else { Ok(()) },
                );
            }
            Event::Subscribe { ticket, qos, .. } => {
                let result = if refused { Err(Reason::BadTopic) } else { Ok((qos, after)) };
                endpoint.subscribed(turn, ticket, result);
            }
            Event::Unsubscribe { ticket, .. } => {
                endpoint.unsubscribed(turn, ticket, after);
            }
            Event::UpdateWill { ticket, .. } => {
                endpoint.will_updated(
                    turn,
                    ticket,
                    if refused { Err(Reason::BadTopic) } else { Ok(after) },
                );
            }
            Event::Drain { session, .. } => {
                if let Some((client, _)) = known.iter().rev().find(|(_, s)| *s == session) {
                    endpoint.drained(turn, *client);
                }
            }
            Event::Disconnected { session, .. } if rng.chance(500) => {
                endpoint.forget(turn, session);
            }
            _ => {}
        }
    }
}

/// One CoAP endpoint, some peers, `inputs` datagrams; `deaf`: nobody answers its requests.
///
/// # Errors
/// A bound that does not hold.
pub fn coap(rng: &mut Rng, run: u64, inputs: u64, deaf: bool) -> Result<(), String> {
    let mut config = motegate_coap::Config::default();
    if small(run) || deaf {
        config.max_exchanges = 50;
        config.max_observers = 20;
        config.max_observers_per_peer = 3;
        config.max_payload = 200;
        config.block_size = 64;
        config.max_body = 2_000;
        config.max_block_bytes = 4_000;
        config.max_request_rate = 50;
    }
    if run.is_multiple_of(4) {
        config.unverified.echo = motegate_coap::EchoWhen::Always;
    }
    let mut endpoint = motegate_coap::Endpoint::new(config, run);
    let mut clock = Clock::new(run.is_multiple_of(3));
    let mut observations = Vec::new();
    let mut waiting = Vec::new();
    for n in 0..inputs {
        let turn = clock.turn(rng);
        let mut datagram = None;
        match rng.below(20) {
            0 => endpoint.handle_timeout(&turn),
            1 => {
                let seq = clock.seq;
                clock.seq = seq.next();
                endpoint.handle_committed(&turn, seq);
            }
            2 if !observations.is_empty() => {
                let observation = *rng.pick(&observations);
                endpoint.notify(&turn, observation, notification(rng, n));
            }
            3 if !observations.is_empty() && rng.chance(200) => {
                let observation = observations.swap_remove(rng.index(observations.len()));
                let code = motegate_coap::endpoint::Code::NOT_FOUND;
                let last = motegate_coap::endpoint::Response::new(code);
                endpoint.end_observation(&turn, observation, last);
            }
            _ => {
                let many = if flood(run) || rng.chance(100) { 1_000_000 } else { 8 };
                let peer = Peer::new(ListenerId(2), address(rng.below(many)));
                let bytes = mutate::input(rng, corpus::coap);
                endpoint.handle_datagram(&turn, peer, &bytes);
                datagram = Some(bytes.len());
            }
        }
        if deaf {
            while endpoint.poll_event().is_some() {}
        } else {
            answer_coap(rng, &turn, &mut endpoint, &mut observations, &mut waiting);
        }
        let count = endpoint.transmits().len();
        let sent: usize = endpoint.transmits().iter().map(|(_, b)| b.len()).sum();
        endpoint.transmits().clear();
        if let Some(came) = datagram.filter(|came| sent > came + 6 * 1500) {
            return Err(format!("{sent} bytes in {count} datagrams sent for {came}"));
        }
    }
    Ok(())
}

pub(super) fn notification(rng: &mut Rng, id: u64) -> motegate_coap::endpoint::Notification {
    motegate_coap::endpoint::Notification {
        delivery: DeliveryId(id),
        code: motegate_coap::endpoint::Code::CONTENT,
        payload: Bytes::from(vec![b'n'; rng.index(60)]),
        content_format: Some(0),
        etag: Some(rng.next()),
        max_age: None,
        confirmable: rng.chance(400),
    }
}

pub(super) fn answer_coap(
    rng: &mut Rng,
    turn: &Turn,
    endpoint: &mut motegate_coap::Endpoint,
    observations: &mut Vec<motegate_coap::endpoint::ObservationId>,
    waiting: &mut Vec<motegate_coap::endpoint::Request>,
) {
    use motegate_coap::endpoint::{Code, Event, Observe, Response};
    while let Some(event) = endpoint.poll_event() {
        match event {
            Event::Request(request) => waiting.push(*request),
            Event::ObservationEnded { observation, .. } => {
                observations.retain(|o| *o != observation);
            }
            _ => {}
        }
    }
    while !waiting.is_empty() && (waiting.len() > 30 || rng.chance(900)) {
        let request = waiting.swap_remove(rng.index(waiting.len()));
        let after = if rng.chance(500) { Seq::NONE } else { turn.seq };
        let code = *rng.pick(&[Code::CONTENT, Code::CHANGED, Code::NOT_FOUND, Code::BAD_OPTION]);
        let goes_on = request.more_follows && rng.chance(800);
        let mut response = Response::new(if goes_on { Code::CONTINUE } else { code });
        response.payload = Bytes::from(vec![b'r'; rng.index(100)]);
        if request.observe == Some(Observe::Register) {
            response.observe = endpoint.observe(turn, request.exchange);
            observations.extend(response.observe);
        }
        endpoint.respond(turn, request.exchange, response, after);
        if observations.len() > 500 {
            observations.remove(0);
        }
    }
}
