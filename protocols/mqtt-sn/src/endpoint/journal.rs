//! What the endpoint journals of durable sessions, and how it comes back.
//!
//! Records, each under its session: the connection (client id, listener by name, address, that of
//! this machine, keep-alive, sleep duration), topic ids, message ids received at QoS 2 and not released, the delivery at QoS 2 in
//! flight, subscriptions in the client's own words. Deadlines are not kept: after a restart
//! they start anew in full, as nobody could be heard meanwhile.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use motegate_message::journal::{Reader, Writer, owner};
use motegate_message::{
    DeliveryId, NodeId, Peer, Qos, Reason, Record, Seq, SessionId, TopicFilter, TopicName, Turn,
};

use super::Endpoint;
use super::clients::{Client, Slot, State};
use super::contract::{Connect, Event, Filter, WillChange};
use super::line::Line;
use super::will::{Dialogue, DialogueStage};
use super::wire::{Handshake, Received, Sending, Wire};

/// Version of every value.
const FORMAT: u8 = 2;

/// The part of a key behind the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key<'a> {
    Connection,
    Topic(u16),
    Received(u16),
    Sending(DeliveryId),
    Subscribed(&'a Filter),
}

impl Key<'_> {
    pub(super) fn bytes(self, session: SessionId) -> Vec<u8> {
        let mut key = Writer::key(owner::MQTT_SN);
        key.u64(session.get());
        match self {
            Key::Connection => key.u8(b'c'),
            Key::Topic(id) => {
                key.u8(b't');
                key.u16(id);
            }
            Key::Received(msg_id) => {
                key.u8(b'r');
                key.u16(msg_id);
            }
            Key::Sending(delivery) => {
                key.u8(b'o');
                key.u64(delivery.0);
            }
            Key::Subscribed(filter) => {
                key.u8(b's');
                match filter {
                    Filter::Name(name) => {
                        key.u8(0);
                        key.tail(name.as_str().as_bytes());
                    }
                    Filter::Predefined(id) => {
                        key.u8(1);
                        key.u16(*id);
                    }
                    Filter::Short(name) => {
                        key.u8(2);
                        key.tail(name);
                    }
                }
            }
        }
        key.into_vec()
    }
}

/// A key that was read.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    Connection,
    Topic(u16),
    Received(u16),
    Sending(DeliveryId),
    Subscribed(Filter),
}

impl Found {
    fn parse(key: &[u8]) -> Option<(SessionId, Found)> {
        let mut key = Reader::new(key);
        if key.u8()? != owner::MQTT_SN {
            return None;
        }
        let session = SessionId::from_u64(key.u64()?);
        let kind = match key.u8()? {
            b'c' => Found::Connection,
            b't' => Found::Topic(key.u16()?),
            b'r' => Found::Received(key.u16()?),
            b'o' => Found::Sending(DeliveryId(key.u64()?)),
            b's' => Found::Subscribed(match key.u8()? {
                0 => {
                    let name = core::str::from_utf8(key.tail()).ok()?;
                    Filter::Name(TopicFilter::new(name).ok()?)
                }
                1 => Filter::Predefined(key.u16()?),
                2 => Filter::Short(key.u16()?.to_be_bytes()),
                _ => return None,
            }),
            _ => return None,
        };
        key.is_empty().then_some((session, kind))
    }
}

fn value(write: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut out = Writer::default();
    out.u8(FORMAT);
    write(&mut out);
    out.into_vec()
}

pub(super) fn topic_value(name: &TopicName, refused: bool) -> Vec<u8> {
    value(|out| {
        out.u8(u8::from(refused));
        out.str(name.as_str());
    })
}

pub(super) fn received_value(hash: u32) -> Vec<u8> {
    value(|out| out.u64(u64::from(hash)))
}

pub(super) fn sending_value(sending: Sending) -> Vec<u8> {
    value(|out| {
        out.u16(sending.msg_id);
        out.u8(match sending.handshake {
            Handshake::Publish => 0,
            Handshake::Release => 1,
            Handshake::Complete => 2,
        });
    })
}

pub(super) fn subscribed_value(qos: Qos) -> Vec<u8> {
    value(|out| out.u8(qos as u8))
}

/// A connection as the journal has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Saved {
    session: SessionId,
    client_id: String,
    /// Numbers of listeners hold as long as the program runs: the name is what lasts.
    listener: String,
    addr: SocketAddr,
    node: Option<NodeId>,
    /// The address of this machine that it spoke to, where the shell has told.
    local: Option<IpAddr>,
    keep_alive: u16,
    /// Seconds, if the client sleeps.
    sleep: Option<u16>,
}

impl Saved {
    fn encode(client: &Client, listener: &str, local: Option<IpAddr>) -> Vec<u8> {
        value(|out| {
            out.str(client.id());
            out.str(listener);
            match client.peer.addr {
                SocketAddr::V4(addr) => {
                    out.bytes(&addr.ip().octets());
                    out.u16(addr.port());
                    out.u64(0);
                }
                SocketAddr::V6(addr) => {
                    out.bytes(&addr.ip().octets());
                    out.u16(addr.port());
                    // A link-local address means nothing without its interface.
                    out.u64(u64::from(addr.scope_id()));
                }
            }
            out.option(client.peer.node.as_deref(), |out, node| out.bytes(node));
            out.u16(client.keep_alive);
            out.option(client.sleeps().then_some(client.sleep), |out, secs| out.u16(secs));
            match local {
                Some(IpAddr::V4(ip)) => out.bytes(&ip.octets()),
                Some(IpAddr::V6(ip)) => out.bytes(&ip.octets()),
                None => {}
            }
        })
    }

    fn decode(session: SessionId, input: &mut Reader<'_>) -> Option<Saved> {
        let client_id = input.str()?.to_string();
        let listener = input.str()?.to_string();
        let ip = input.bytes()?;
        let port = input.u16()?;
        let scope = u32::try_from(input.u64()?).ok()?;
        let ip = read_ip(ip)?;
        let addr = match ip {
            IpAddr::V4(_) => SocketAddr::new(ip, port),
            IpAddr::V6(ip) => SocketAddrV6::new(ip, port, 0, scope).into(),
        };
        let node = input.option(Reader::bytes)?.map(Into::into);
        let keep_alive = input.u16()?;
        let sleep = input.option(Reader::u16)?;
        let local = if input.is_empty() { None } else { Some(read_ip(input.bytes()?)?) };
        Some(Saved { session, client_id, listener, addr, node, local, keep_alive, sleep })
    }
}

fn read_ip(bytes: &[u8]) -> Option<IpAddr> {
    match (<[u8; 4]>::try_from(bytes), <[u8; 16]>::try_from(bytes)) {
        (Ok(v4), _) => Some(IpAddr::V4(Ipv4Addr::from(v4))),
        (_, Ok(v6)) => Some(IpAddr::V6(Ipv6Addr::from(v6))),
        _ => None,
    }
}

impl Line<'_> {
    /// Journals one change of a durable session.
    pub(super) fn record(&mut self, key: Key<'_>, value: Option<Vec<u8>>) {
        if self.turn.durable && self.wire.durable {
            self.wire.written = self.turn.seq;
            self.records.push_back(Record { key: key.bytes(self.wire.session), value });
        }
    }

    /// The connection as it is now.
    pub(super) fn record_connection(&mut self) {
        if self.turn.durable && self.wire.durable {
            let listener = self.config.listener_name(self.client.peer.listener);
            let local = self.locals.ip(listener, self.client.peer.local);
            let value = Saved::encode(self.client, listener, local);
            self.record(Key::Connection, Some(value));
        }
    }

    /// Everything that the session gathered before it was durable.
    pub(super) fn record_contents(&mut self) {
        let topics = &self.wire.topics;
        let session = self.wire.session;
        let mut all: Vec<(Vec<u8>, Vec<u8>)> = topics
            .iter()
            .map(|(id, name)| {
                (Key::Topic(id).bytes(session), topic_value(name, topics.is_refused(id)))
            })
            .collect();
        if let Some(exchange) = &self.wire.exchange {
            let received = exchange.received.iter().filter(|received| received.after.is_some());
            all.extend(
                received.map(|r| (Key::Received(r.msg_id).bytes(session), received_value(r.hash))),
            );
            all.extend(exchange.subscribed.iter().map(|(filter, qos)| {
                (Key::Subscribed(filter).bytes(session), subscribed_value(*qos))
            }));
            all.extend(
                exchange
                    .sending
                    .map(|s| (Key::Sending(s.delivery).bytes(session), sending_value(s))),
            );
        }
        if self.turn.durable && self.wire.durable && !all.is_empty() {
            self.wire.written = self.turn.seq;
            let record = |(key, value)| Record { key, value: Some(value) };
            self.records.extend(all.into_iter().map(record));
        }
    }
}

impl Endpoint {
    /// Sessions that [`restored`](Self::restored) means to open again, after the last `restore`.
    pub fn resumable(&self) -> impl Iterator<Item = SessionId> {
        self.saved.iter().map(|saved| saved.session)
    }

    /// Whether the session's client is served after a stop as if nothing had happened: a sleeper
    /// without CleanSession, which is not told of the stop either (MQTT-SN 1.2 §6.14).
    #[must_use]
    pub fn goes_on(&self, turn: &Turn, session: SessionId) -> bool {
        let wire = self.wires.get(session).filter(|wire| wire.durable && turn.durable);
        let client = wire.and_then(|wire| self.clients.get(wire.slot?));
        client.is_some_and(|client| client.state == State::Asleep)
    }

    /// Forgets the wire state of a session, in the journal too.
    pub(super) fn drop_wire(&mut self, turn: &Turn, session: SessionId) {
        let Some(wire) = self.wires.remove(session) else { return };
        if !(turn.durable && wire.durable) {
            return;
        }
        let mut delete = |key: Key<'_>| {
            self.records.push_back(Record { key: key.bytes(session), value: None });
        };
        delete(Key::Connection);
        wire.topics.iter().for_each(|(id, _)| delete(Key::Topic(id)));
        if let Some(exchange) = &wire.exchange {
            exchange.received.iter().for_each(|r| delete(Key::Received(r.msg_id)));
            exchange.subscribed.iter().for_each(|(filter, _)| delete(Key::Subscribed(filter)));
            exchange.sending.iter().for_each(|sending| delete(Key::Sending(sending.delivery)));
        }
    }

    /// One record; `None` when it is damaged or newer than this program.
    pub(super) fn restore_record(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let (session, key) = Found::parse(key)?;
        let mut value = Reader::new(value);
        if value.u8()? != FORMAT {
            return None;
        }
        if key == Found::Connection {
            let saved = Saved::decode(session, &mut value)?;
            self.restored_wire(session);
            self.saved.push(saved);
            return value.is_empty().then_some(());
        }
        match key {
            Found::Connection => {}
            Found::Topic(id) => {
                let refused = value.u8()? != 0;
                let name = TopicName::new(value.str()?).ok()?;
                self.restored_wire(session).topics.restore(id, name, refused).then_some(())?;
            }
            Found::Received(msg_id) => {
                let hash = u32::try_from(value.u64()?).ok()?;
                let received = Received { msg_id, hash, after: Some(Seq::NONE), earlier: true };
                self.restored_wire(session).exchange().received.push(received);
            }
            Found::Sending(delivery) => {
                let msg_id = value.u16()?;
                let handshake = match value.u8()? {
                    0 => Handshake::Publish,
                    1 => Handshake::Release,
                    2 => Handshake::Complete,
                    _ => return None,
                };
                let wire = self.restored_wire(session);
                wire.exchange().sending = Some(Sending { delivery, msg_id, handshake });
            }
            Found::Subscribed(filter) => {
                let qos = Qos::from_bits(value.u8()?)?;
                self.restored_wire(session).exchange().subscribed.push((filter, qos));
            }
        }
        value.is_empty().then_some(())
    }

    fn restored_wire(&mut self, session: SessionId) -> &mut Wire {
        let wire = self.wires.get_or_insert(session);
        wire.durable = true;
        wire
    }

    fn resumes_asleep(&self, slot: Slot) -> bool {
        let dialogue = self.clients.get(slot).and_then(|client| client.dialogue.as_deref());
        dialogue.is_some_and(|dialogue| dialogue.asleep)
    }

    /// Opens the sessions that had a connection: they are served where they were.
    pub(super) fn resume_saved(&mut self, turn: &Turn) {
        // Message ids are not journaled. Those of the last life are not used again at once: a late
        // answer to one of them would be taken for the answer to another packet.
        let first = (self.seed ^ turn.wall.as_millis()) % u64::from(u16::MAX) + 1;
        let first = u16::try_from(first).unwrap_or(1);
        for wire in self.wires.iter_mut() {
            wire.begin_msg_ids(first);
            wire.topics.restored();
        }
        let mut all = core::mem::take(&mut self.saved);
        all.sort_unstable_by_key(|saved| saved.session);
        for saved in all {
            let Saved { session, client_id, listener, addr, node, local, keep_alive, sleep } =
                saved;
            let local = local.map(|ip| self.locals.restored(&listener, ip)).unwrap_or_default();
            let Some(listener) = self.config.listener_id(&listener) else {
                // It is not served any more: the session waits for its client elsewhere.
                self.drop_connection_record(turn, session);
                continue;
            };
            let peer = Peer { node, local, ..Peer::new(listener, addr) };
            let taken = self.clients.find_peer(peer.listener, peer.addr, peer.node.as_deref());
            // Of two at one address a sleeper is the one that may be elsewhere by now.
            let yields = taken.filter(|slot| self.resumes_asleep(*slot));
            if let Some(other) = yields {
                self.clients.leave_address(other);
            }
            let is_taken = taken.is_some() && yields.is_none() && sleep.is_none();
            if is_taken || self.clients.len() >= self.config.max_clients {
                self.events.push_back(Event::Dropped { peer, reason: Reason::QuotaExceeded });
                continue;
            }
            let dialogue = Dialogue {
                stage: DialogueStage::Opening,
                client_id: client_id.as_str().into(),
                clean: false,
                with_will: false,
                keep_alive,
                topic: None,
                resumed: Some(session),
                asleep: sleep.is_some(),
            };
            let budget = self.budget_of(turn, &peer);
            let slot = self.clients.insert(Client {
                budget,
                dialogue: Some(Box::new(dialogue)),
                clean: false,
                keep_alive,
                sleep: sleep.unwrap_or(0),
                ..Client::connecting(peer.clone())
            });
            if taken.is_some() && yields.is_none() {
                self.clients.leave_address(slot);
            }
            self.arm_dialogue(turn, slot);
            self.events.push_back(Event::Connect(Box::new(Connect {
                client: self.clients.ref_of(slot),
                peer,
                client_id,
                clean: false,
                expiry: self.config.session_expiry,
                will: WillChange::Keep,
                resumed: Some(session),
                asleep: sleep.is_some(),
            })));
        }
    }
}

#[cfg(test)]
mod tests {
    use motegate_message::ListenerId;

    use super::*;
    use motegate_message::SessionKey;

    #[test]
    fn keys_round_trip_and_damage_is_seen() {
        let session = SessionId::new(7, 2);
        let name = Filter::Name(TopicFilter::new("a/+").unwrap());
        let words = [name, Filter::Predefined(1), Filter::Short(*b"ab")];
        let [name, predefined, short] = words.each_ref().map(Key::Subscribed);
        for (key, found) in [
            (Key::Connection, Found::Connection),
            (Key::Topic(9), Found::Topic(9)),
            (Key::Received(0xabcd), Found::Received(0xabcd)),
            (Key::Sending(DeliveryId(u64::MAX)), Found::Sending(DeliveryId(u64::MAX))),
            (name, Found::Subscribed(words[0].clone())),
            (predefined, Found::Subscribed(words[1].clone())),
            (short, Found::Subscribed(words[2].clone())),
        ] {
            let bytes = key.bytes(session);
            assert_eq!(Found::parse(&bytes), Some((session, found)));
            // A name may end anywhere.
            let whole = if key == name { bytes.len() - 2 } else { bytes.len() };
            for cut in 0..whole {
                assert_eq!(Found::parse(&bytes[..cut]), None, "{key:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn connections_round_trip() {
        let v6 = SocketAddrV6::new(Ipv6Addr::LOCALHOST, 1885, 0, 3);
        let v4 = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
        for (addr, node, state) in [
            (SocketAddr::from(v6), Some(&[][..]), State::Asleep),
            (v4, Some(&[1, 2][..]), State::Active),
            (v4, None, State::Awake),
        ] {
            let node = node.map(Into::into);
            let peer = Peer { node: node.clone(), ..Peer::new(ListenerId(4), addr) };
            let client = Client {
                key: Some(SessionKey::new("r", "pump")),
                keep_alive: 30,
                sleep: 600,
                state,
                ..Client::connecting(peer)
            };
            let local = Some(addr.ip()).filter(|_| state != State::Awake);
            let bytes = Saved::encode(&client, "field", local);
            let session = SessionId::new(1, 1);
            let mut reader = Reader::new(&bytes);
            assert_eq!(reader.u8(), Some(FORMAT));
            let sleep = (state != State::Active).then_some(600);
            let (client_id, listener) = (String::from("pump"), String::from("field"));
            let expected =
                Saved { session, client_id, listener, addr, node, local, keep_alive: 30, sleep };
            assert_eq!(Saved::decode(session, &mut reader), Some(expected));
        }
    }
}
