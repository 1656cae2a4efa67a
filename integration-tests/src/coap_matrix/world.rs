//! A gateway, its peers, the record of its datagrams and connections, and the subscriber behind it.
#![allow(clippy::disallowed_methods)] // a test harness has a clock of its own: real processes run in real time

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::peer::{Make, Row, Transport};
use crate::certificates::Certificates;
use crate::gateway::Gateway;
use crate::matrix::peer::Peer;
use crate::matrix::{Outcome, ensure, same};
use crate::peer::mosquitto_sub;
use crate::process::{DEADLINE, Process};
use crate::relay::{From, Relay};
use crate::tcp_capture::dissect_coap;
use crate::tcp_relay::TcpRelay;

/// The largest body in the smallest blocks has 4,096 round trips, and more of other clients beside it. The
/// clients give up a little earlier and say so.
const PATIENCE: Duration = Duration::from_secs(60);

/// Below it lie all topics, which the subscriber sees.
pub const ROOT: &str = "matrix";

/// What a peer saw: the code as `2.05`, and the whole body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Class and detail.
    pub code: String,
    /// In however many blocks it came.
    pub payload: String,
}

impl Answer {
    fn of(event: &Value) -> Answer {
        let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        Answer { code: text("code"), payload: text("payload") }
    }

    /// Whether it is this.
    ///
    /// # Errors
    /// If it is not.
    pub fn is(&self, code: &str, payload: &str) -> Outcome {
        same("code", self.code.as_str(), code)?;
        ensure(self.payload == payload, || {
            let (got, wanted) = (self.payload.len(), payload.len());
            format!("another body: {got} bytes for {wanted}")
        })
    }
}

/// Everything beside each other.
#[derive(Debug)]
pub struct World {
    relay: Relay,
    streams: BTreeMap<Transport, TcpRelay>,
    bases: BTreeMap<Transport, String>,
    port: u16,
    peers: RefCell<BTreeMap<Make, Peer>>,
    subscriber: RefCell<Process>,
    next: Cell<u32>,
    certificates: Option<Certificates>,
    _gateway: Gateway,
}

/// What is asked of a path, besides how a row asks.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asked<'a> {
    /// GET and its kin.
    pub method: &'a str,
    /// Behind the authority, from `/` on.
    pub path: &'a str,
    /// A letter a byte.
    pub payload: &'a str,
    /// Content-Format of that.
    pub format: Option<u16>,
    /// Bytes of the token; else as the client likes it.
    pub token: Option<usize>,
}

impl World {
    /// A gateway with listeners of every transport and `rest` in its file, and a relay before each whose
    /// bytes can be read.
    ///
    /// # Panics
    /// If it does not come up.
    pub fn start(rest: &str) -> World {
        let certificates = Certificates::make();
        let (cert, key) = (certificates.server(), certificates.key());
        let tls = format!(", tls: {{cert: {}, key: {}}}", cert.display(), key.display());
        let listeners = Transport::STREAMS.map(|transport| {
            let (protocol, name) = (transport.scheme(), name(transport));
            let tls = if transport.is_secure() { &*tls } else { "" };
            format!(
                "  - {{name: {name}, protocol: {protocol}, bind: \"127.0.0.1:0\", anonymous: true{tls}}}\n"
            )
        });
        let gateway = Gateway::run(&(listeners.concat() + rest));
        let addresses = Transport::STREAMS.map(|transport| {
            let listening = gateway.listening(&name(transport));
            (transport, listening.parse::<SocketAddr>().expect("the log names an address"))
        });
        let mut world = World::before(gateway);
        for (transport, address) in addresses {
            let scheme = transport.scheme();
            let base = if transport.is_secure() {
                // The name of the certificate.
                format!("{scheme}://localhost:{}", address.port())
            } else {
                let relay = TcpRelay::start(address, Vec::new());
                let base = format!("{scheme}://{}", relay.address);
                world.streams.insert(transport, relay);
                base
            };
            world.bases.insert(transport, base);
        }
        world.certificates = Some(certificates);
        world
    }

    /// A gateway that is configured so, for datagrams.
    pub fn before(gateway: Gateway) -> World {
        let relay = Relay::start(gateway.coap);
        let subscriber =
            mosquitto_sub(&gateway, &["-t", &format!("{ROOT}/#"), "-q", "1", "-F", "> %t %p"]);
        let base = format!("coap://{}", relay.address);
        World {
            bases: BTreeMap::from([(Transport::Udp, base)]),
            relay,
            streams: BTreeMap::new(),
            port: gateway.coap.port(),
            peers: RefCell::default(),
            subscriber: RefCell::new(subscriber),
            next: Cell::new(0),
            certificates: None,
            _gateway: gateway,
        }
    }

    /// The transports that there are.
    pub fn transports(&self) -> impl Iterator<Item = Transport> {
        self.bases.keys().copied()
    }

    /// A name that was not given before.
    pub fn fresh(&self) -> String {
        self.next.set(self.next.get() + 1);
        format!("t{}", self.next.get())
    }

    fn command(&self, row: Row, path: &str) -> Value {
        let uri = format!("{}{path}", self.bases[&row.transport]);
        json!({"uri": uri, "confirmable": row.confirmable, "block": row.block})
    }

    fn with<T>(&self, make: Make, call: impl FnOnce(&mut Peer) -> T) -> T {
        let mut peers = self.peers.borrow_mut();
        let peer = peers.entry(make).or_insert_with(|| {
            let mut command = make.command();
            if let Some(certificates) = &self.certificates {
                command.env("SSL_CERT_FILE", certificates.authority());
            }
            Peer::of(command)
        });
        call(peer)
    }

    /// One request of this row's client about a topic.
    ///
    /// # Errors
    /// If it is not answered.
    pub fn ask(&self, row: Row, method: &str, topic: &str, payload: &str) -> Outcome<Answer> {
        let path = &path(topic);
        self.ask_at(row, Asked { method, path, payload, ..Asked::default() })
    }

    /// One request of this row's client.
    ///
    /// # Errors
    /// As [`ask`](World::ask).
    pub fn ask_at(&self, row: Row, asked: Asked<'_>) -> Outcome<Answer> {
        let mut command = self.command(row, asked.path);
        command["method"] = asked.method.into();
        command["payload"] = asked.payload.into();
        command["format"] = asked.format.into();
        command["token"] = asked.token.into();
        let name = self.fresh();
        self.with(row.make, |peer| {
            peer.say(&name, "request", command);
            let event = peer.event_within(&name, "response", PATIENCE);
            peer.forget(&name);
            event.map(|event| Answer::of(&event))
        })
    }

    /// Begins to observe a topic; the name of the observation, and its first value.
    ///
    /// # Errors
    /// If the gateway does not take it for that.
    pub fn observe(&self, row: Row, topic: &str) -> Outcome<(String, Answer)> {
        self.observe_by(row, topic, None)
    }

    /// The same by a token of so many bytes.
    ///
    /// # Errors
    /// As [`observe`](World::observe).
    pub fn observe_by(
        &self,
        row: Row,
        topic: &str,
        token: Option<usize>,
    ) -> Outcome<(String, Answer)> {
        let name = self.fresh();
        let mut command = self.command(row, &path(topic));
        command["token"] = token.into();
        let event = self.with(row.make, |peer| {
            peer.say(&name, "observe", command);
            peer.event(&name, "observing")
        })?;
        ensure(event["registered"] == true, || format!("not registered: {event}"))?;
        Ok((name, Answer::of(&event)))
    }

    /// The next value of an observation.
    ///
    /// # Errors
    /// If none comes.
    pub fn value(&self, row: Row, observation: &str) -> Outcome<Answer> {
        self.with(row.make, |peer| peer.event(observation, "value")).map(|event| Answer::of(&event))
    }

    /// The client wants no more of it.
    ///
    /// # Errors
    /// If it had a value that was not asked for.
    pub fn cancel(&self, row: Row, observation: &str) -> Outcome {
        self.with(row.make, |peer| {
            peer.say(observation, "cancel", json!({}));
            peer.event(observation, "cancelled")?;
            ensure(!peer.has(observation, "value"), || "a value came twice".to_owned())?;
            peer.forget(observation);
            Ok(())
        })
    }

    /// What the subscriber has next: this, and once, as the one after it will show.
    ///
    /// # Errors
    /// If it is something else, or nothing; what an earlier cell had too often is passed over, too.
    pub fn published(&self, topic: &str, payload: &str) -> Outcome {
        let mut subscriber = self.subscriber.borrow_mut();
        let deadline = Instant::now() + DEADLINE;
        let topic = format!("{ROOT}/{topic}");
        let mut again = None;
        loop {
            let line = subscriber.next_line(deadline).ok_or("nothing was published")?;
            let Some(message) = line.strip_prefix("> ") else { continue };
            let (name, body) = message.split_once(' ').unwrap_or((message, ""));
            if name != topic {
                again = Some(name.to_owned());
                continue;
            }
            ensure(body == payload, || {
                format!("another payload: {} bytes for {}", body.len(), payload.len())
            })?;
            return again.map_or(Ok(()), |name| Err(format!("{name} was published again")));
        }
    }

    /// Whether a datagram of the gateway had this code, class and detail in one byte.
    pub fn answered(&mut self, code: u8) -> bool {
        let mut records = self.relay.record().iter();
        records.any(|(from, bytes)| *from == From::Gateway && bytes.get(1) == Some(&code))
    }

    /// Wireshark reads every datagram of the gateway, and every connection that is not encrypted; its
    /// words about them.
    ///
    /// # Panics
    /// If it marks one.
    pub fn dissect(self) -> BTreeMap<Transport, Vec<String>> {
        self.dissect_but(&[])
    }

    /// The same, but for marks of datagrams that are one of `unknown`.
    ///
    /// # Panics
    /// As [`dissect`](World::dissect), but for these.
    pub fn dissect_but(mut self, unknown: &[&str]) -> BTreeMap<Transport, Vec<String>> {
        let datagrams = self.relay.dissect_but("coap", self.port, unknown);
        let mut read = BTreeMap::from([(Transport::Udp, datagrams)]);
        for (transport, relay) in self.streams {
            let record = relay.record();
            if !record.is_empty() {
                read.insert(transport, dissect_coap(&record, transport == Transport::Ws));
            }
        }
        read
    }
}

/// The name of the listener.
fn name(transport: Transport) -> String {
    transport.scheme().replace('+', "-")
}

/// Where a topic's value is.
fn path(topic: &str) -> String {
    format!("/mqtt/{ROOT}/{topic}")
}
