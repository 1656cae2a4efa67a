//! [`Stage`]: one gateway without a world around it, and the devices of one test.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use motegate_config::Resolved;
use motegate_config::tests::{CoapRequest, MqttPublish, SnPublish, Stimulus, Test};
use motegate_core::{
    ClientFrom, Config, Core, Input, Listener, NoticeKind, Output, Protocol, Sources,
};
use motegate_mapping::Caller;
use motegate_message::{ConnectionId, ListenerId, LocalId, Reason, TopicName, Wall};
use motegate_timers::Instant;

use super::coap::CoapDevice;
use super::compare::{Answered, Came, Line};
use super::mqtt::MqttDevice;
use super::report::Failure;
use super::sn::SnDevice;

/// Every device is somewhere in TEST-NET-1 (RFC 5737).
const DEVICES: [u8; 4] = [192, 0, 2, 1];
/// Refusals are told again after ten seconds: what was before must not hide what comes.
const PAUSE: Duration = Duration::from_secs(11);
/// Rounds of packets after which something goes in circles.
const MAX_ROUNDS: usize = 10_000;

/// The gateway, and the wires to it.
pub(super) struct Wires {
    core: Core,
    pub(super) now: Instant,
    datagrams: HashMap<SocketAddr, Vec<Vec<u8>>>,
    streams: HashMap<ConnectionId, Vec<u8>>,
    closed: HashMap<ConnectionId, Reason>,
    refusals: Vec<(Reason, Option<String>)>,
    next_port: u16,
    next_conn: u32,
}

/// The gateway and the devices.
pub(super) struct Stage {
    wires: Wires,
    /// Sees every message.
    tap: MqttDevice,
    observers: Vec<CoapDevice>,
    subscribers: Vec<SnDevice>,
}

impl Stage {
    /// A gateway with what is given.
    pub(super) fn new(resolved: &Resolved, test: &Test) -> Result<Self, Failure> {
        let config = settings(&resolved.core, test);
        let unmounted = ListenerId(u16::try_from(resolved.core.listeners.len()).unwrap_or(0));
        let mut wires = Wires {
            core: Core::new(config, resolved.table.clone(), 1),
            now: Instant::from_secs(1),
            datagrams: HashMap::new(),
            streams: HashMap::new(),
            closed: HashMap::new(),
            refusals: Vec::new(),
            next_port: 49_152,
            next_conn: 0,
        };
        let tap = MqttDevice::tap(&mut wires, unmounted)?;
        let mut stage = Stage { wires, tap, observers: Vec::new(), subscribers: Vec::new() };
        for retained in &test.given.retained {
            stage.mqtt(retained).map_err(|f| f.of("given.retained"))?;
            stage.accepted("given.retained")?;
        }
        for observe in &test.given.observe {
            let mut device = CoapDevice::new(&mut stage.wires, observe);
            let answer = device.ask(&mut stage.wires, observe)?;
            if !device.observes() {
                let came = stage.wires.explained(answer.code_text());
                return Err(Failure::new("given.observe", "an observation", came));
            }
            stage.observers.push(device);
        }
        for subscriber in &test.given.subscribe {
            let mut device =
                SnDevice::new(&mut stage.wires, subscriber.listener, &subscriber.client);
            let place = if subscriber.asleep { "given.sleep" } else { "given.subscribe" };
            device
                .connect(&mut stage.wires)
                .and_then(|()| device.subscribe(&mut stage.wires, subscriber))
                .map_err(|failure| failure.of(place))?;
            if subscriber.asleep {
                device.sleep(&mut stage.wires);
            }
            stage.subscribers.push(device);
        }
        Ok(stage)
    }

    /// What was before is past.
    pub(super) fn curtain(&mut self) {
        self.settle();
        self.wires.advance(PAUSE);
        self.settle();
        self.tap.messages.clear();
        self.observers.iter_mut().for_each(|device| device.notified.clear());
        self.subscribers.iter_mut().for_each(|device| device.delivered.clear());
        self.wires.refusals.clear();
    }

    pub(super) fn coap(&mut self, request: &CoapRequest) -> Result<Answered, Failure> {
        let mut device = CoapDevice::new(&mut self.wires, request);
        let answer = device.ask(&mut self.wires, request)?;
        self.settle();
        Ok(answer)
    }

    pub(super) fn sn(&mut self, publish: &SnPublish) -> Result<(), Failure> {
        // Who is there already does not connect again.
        let known = self.subscribers.iter().position(|device| {
            device.id == publish.client && device.listener == publish.listener && !device.asleep
        });
        let mut device = match known {
            Some(at) => self.subscribers.swap_remove(at),
            None => SnDevice::new(&mut self.wires, publish.listener, &publish.client),
        };
        if known.is_none() && publish.qos.is_some() {
            device.connect(&mut self.wires)?;
        }
        device.publish(&mut self.wires, publish);
        if known.is_some() {
            self.subscribers.push(device);
        }
        self.settle();
        Ok(())
    }

    pub(super) fn mqtt(&mut self, publish: &MqttPublish) -> Result<(), Failure> {
        let listener = publish.listener.unwrap_or(self.tap.listener);
        let mut device = MqttDevice::open(&mut self.wires, listener, &publish.client)?;
        device.publish(&mut self.wires, publish);
        self.settle();
        Ok(())
    }

    /// Sleepers ask for what they have missed.
    pub(super) fn wake(&mut self) {
        for at in 0..self.subscribers.len() {
            if let Some(device) = self.subscribers.get_mut(at).filter(|device| device.asleep) {
                device.wake(&mut self.wires);
            }
        }
        self.settle();
    }

    /// Everything that came of it.
    pub(super) fn came(&mut self, answer: Option<Answered>) -> Came {
        Came {
            answer,
            refusals: std::mem::take(&mut self.wires.refusals),
            messages: std::mem::take(&mut self.tap.messages),
            notified: self.observers.iter_mut().flat_map(|d| d.notified.drain(..)).collect(),
            delivered: self.subscribers.iter_mut().flat_map(|d| d.delivered.drain(..)).collect(),
            line: None,
        }
    }

    /// Looks up how discovery names the topic of the message, if the test asks for it.
    pub(super) fn links(&mut self, resolved: &Resolved, test: &Test, came: &mut Came) {
        if test.expect.coap_path.is_none() && test.expect.link.is_none() {
            return;
        }
        let topic = match (came.messages.as_slice(), &test.stimulus) {
            ([message, ..], _) => message.topic.clone(),
            ([], Stimulus::Mqtt(publish)) => publish.topic.clone(),
            _ => return,
        };
        let Ok(topic) = TopicName::new(&topic) else { return };
        let asks = match &test.stimulus {
            Stimulus::Coap(request) => Some((request.listener, request.client.clone())),
            _ => test.given.observe.first().map(|o| (o.listener, o.client.clone())),
        };
        for (place, listener) in resolved.core.listeners.iter().enumerate() {
            let Ok(id) = u16::try_from(place).map(ListenerId) else { continue };
            if listener.protocol != Protocol::Coap || asks.as_ref().is_some_and(|(l, _)| *l != id) {
                continue;
            }
            let client = asks.as_ref().and_then(|(_, client)| client.as_deref()).unwrap_or("test");
            let found = caller(&resolved.core, id, client)
                .and_then(|asks| resolved.table.coap_path(&asks, &topic));
            let Some(path) = found else { continue };
            let href = motegate_coap::link_format::Link::to(&path).href;
            let line = CoapDevice::discover(&mut self.wires, id, &href);
            came.line = Some(Line { path: href, link: line });
            return;
        }
    }

    fn accepted(&mut self, place: &'static str) -> Result<(), Failure> {
        match self.wires.refusals.is_empty() {
            true => Ok(()),
            false => Err(Failure::new(place, "accepted", self.wires.explained(String::new()))),
        }
    }

    /// Carries packets until all are quiet.
    fn settle(&mut self) {
        for _ in 0..MAX_ROUNDS {
            let mut moved = self.tap.step(&mut self.wires);
            for device in &mut self.observers {
                moved |= device.step(&mut self.wires);
            }
            for device in &mut self.subscribers {
                moved |= device.step(&mut self.wires);
            }
            if !moved {
                return;
            }
        }
    }
}

/// Who asks, as the mapping sees it.
pub(super) fn caller<'a>(
    core: &'a Config,
    listener: ListenerId,
    client: &'a str,
) -> Option<Caller<'a>> {
    let settings = core.listeners.get(usize::from(listener.0))?;
    Some(Caller {
        listener: &settings.name,
        client,
        identity: None,
        tenant: &settings.tenant,
        gateway: &core.gateway_name,
        source_ip: std::net::IpAddr::from(DEVICES),
        mount: &settings.mount,
    })
}

/// The settings of the configuration, with what a test needs.
fn settings(core: &Config, test: &Test) -> Config {
    let mut config = core.clone();
    // Nothing is stored, so nothing waits for a store.
    config.durable = false;
    // The tap sees all there is, as it is.
    config.mqtt.allow_v5 = true;
    config.mqtt.wildcard_subscriptions = true;
    config.mqtt.max_qos = 2;
    for listener in &mut config.listeners {
        listener.anonymous = true;
        listener.sources = Sources::Any;
    }
    let coap = match &test.stimulus {
        Stimulus::Coap(request) => Some(request),
        _ => None,
    };
    // Whether a token holds only the gateway knows that gave it: one that is shown is believed.
    let shows = |query: &[String]| {
        query.iter().any(|pair| pair.starts_with("token=") || pair.starts_with("t="))
    };
    for request in test.given.observe.iter().chain(coap).filter(|r| shows(&r.query)) {
        if let Some(listener) = config.listeners.get_mut(usize::from(request.listener.0)) {
            listener.connection_required = false;
        }
    }
    for request in test.given.observe.iter().chain(coap).filter(|r| r.client.is_some()) {
        // A name that a test gives is what the query would give.
        if let Some(listener) = config.listeners.get_mut(usize::from(request.listener.0)) {
            listener.client_from = ClientFrom::Query;
        }
    }
    let name: Arc<str> = "test".into();
    config.listeners.push(Listener {
        name: name.clone(),
        protocol: Protocol::Mqtt,
        anonymous: true,
        sources: Sources::Any,
        realm: name,
        tenant: "".into(),
        mount: "".into(),
        client_from: ClientFrom::Address,
        connection_required: false,
        client_id_from_identity: false,
        limits: None,
    });
    config
}

impl Wires {
    /// An address that no other device has.
    pub(super) fn address(&mut self) -> SocketAddr {
        self.next_port = self.next_port.checked_add(1).unwrap_or(1024);
        SocketAddr::from((DEVICES, self.next_port))
    }

    pub(super) fn open(&mut self, listener: ListenerId) -> ConnectionId {
        self.next_conn += 1;
        let conn = ConnectionId::new(self.next_conn, self.next_conn);
        let peer = Some(self.address());
        let since = self.now;
        self.input(Input::Opened { conn, listener, peer, identity: None, host: None, since });
        conn
    }

    pub(super) fn bytes(&mut self, conn: ConnectionId, chunk: &[u8]) {
        self.input(Input::Bytes { conn, chunk });
    }

    pub(super) fn datagram(&mut self, listener: ListenerId, peer: SocketAddr, bytes: &[u8]) {
        self.input(Input::Datagram { listener, local: LocalId::ANY, peer, bytes });
    }

    /// What was sent to a device.
    pub(super) fn received(&mut self, peer: SocketAddr) -> Vec<Vec<u8>> {
        self.datagrams.remove(&peer).unwrap_or_default()
    }

    /// What was written to a connection, and whether it was closed.
    pub(super) fn read(&mut self, conn: ConnectionId) -> (Vec<u8>, bool) {
        let closed = self.closed.remove(&conn).is_some();
        (self.streams.remove(&conn).unwrap_or_default(), closed)
    }

    /// What came instead, with the gateway's own words.
    pub(super) fn explained(&self, came: String) -> String {
        let Some((reason, text)) = self.refusals.last() else { return came };
        let reason = match text {
            Some(text) => format!("{reason} ({text})"),
            None => reason.to_string(),
        };
        if came.is_empty() { reason } else { format!("{came}: {reason}") }
    }

    fn advance(&mut self, by: Duration) {
        let end = self.now + by;
        while let Some(at) = self.core.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.input(Input::Timeout);
        }
        self.now = end;
        self.input(Input::Timeout);
    }

    fn wall(&self) -> Wall {
        Wall::from_millis(1_700_000_000_000 + self.now.as_micros() / 1000)
    }

    fn input(&mut self, input: Input<'_>) {
        self.core.handle(self.now, self.wall(), input);
        loop {
            for queue in self.core.datagrams() {
                for (to, bytes) in queue.iter() {
                    self.datagrams.entry(to.addr).or_default().push(bytes.to_vec());
                }
                queue.clear();
            }
            let Some(output) = self.core.poll_output() else { break };
            self.output(output);
        }
    }

    fn output(&mut self, output: Output) {
        match output {
            Output::Write(conn) => {
                let n = self.take_outbox(conn);
                self.core.handle(self.now, self.wall(), Input::Written { conn, n });
            }
            Output::Close(conn, reason) => {
                self.take_outbox(conn);
                self.closed.insert(conn, reason);
                self.core.handle(self.now, self.wall(), Input::Closed { conn, reason });
            }
            Output::Notice(notice) => match notice.kind {
                NoticeKind::Refused(reason) | NoticeKind::Dropped(reason) => {
                    self.refusals.push((reason, notice.text));
                }
                _ => {}
            },
            _ => {}
        }
    }

    fn take_outbox(&mut self, conn: ConnectionId) -> usize {
        let bytes = self.core.outbox(conn);
        let n = bytes.len();
        self.streams.entry(conn).or_default().extend_from_slice(bytes);
        n
    }
}
