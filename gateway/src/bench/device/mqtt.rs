//! An MQTT client on a stream that the event loop polls, over every transport that there is.

use std::io;
use std::sync::Arc;

use mio::Token;
use motegate_message::Qos;
use motegate_mqtt::PropertyBuf;
use motegate_mqtt::client::{
    Client, ClientConfig, ClientError, ErrorKind, Event, Filter, Goodbye, Password, Publish,
    PublishError, Transmit,
};
use motegate_timers::Instant;

use super::{Around, Fact, Role, Taken};
use crate::bench::find::Way;
use crate::bench::link::{Fault, Link};
use crate::bench::plan::Plan;
use crate::bench::stamp::Stamp;
use crate::client::{Error, secure};

/// Bytes that wait to be written, from which on a publisher waits.
const FULL: usize = 64 * 1024;
/// Room for a payload's packet around it: topic, properties, header.
const AROUND_PAYLOAD: usize = 128 * 1024;
/// Longest packet there is (MQTT 5 §2.1.4).
const MAX_PACKET: u32 = 268_435_460;
/// Tokens of requests; those of publishes are times.
const SUBSCRIBE: u64 = 1;
const BARRIER: u64 = 2;

/// See the module.
#[derive(Debug)]
pub(super) struct Mqtt {
    machine: Client,
    way: Arc<Way>,
    token: Token,
    /// What it publishes or subscribes to.
    topic: String,
    subscribes: bool,
    qos: Qos,
    link: Option<Link>,
    opened: bool,
    paused: bool,
    fault: Option<Fault>,
}

impl Mqtt {
    pub(super) fn new(
        plan: &Plan,
        way: &Arc<Way>,
        role: &Role,
        id: &str,
        token: Token,
        seed: u64,
    ) -> Result<Self, Error> {
        let window = u16::try_from(plan.window).unwrap_or(u16::MAX).max(1);
        let (target, defaults) = (&way.target, ClientConfig::new(id));
        let packet = plan.payload + AROUND_PAYLOAD;
        let max_packet_size = u32::try_from(packet).unwrap_or(MAX_PACKET).min(MAX_PACKET);
        let config = ClientConfig {
            version: plan.version,
            user_name: target.username.clone(),
            password: target.password.clone().map(|password| Password(password.into_bytes())),
            max_inflight: window,
            receive_maximum: u16::MAX,
            topic_alias_maximum: 0,
            reconnect: None,
            max_packet_size: max_packet_size.max(defaults.max_packet_size),
            max_queue_bytes: packet.max(defaults.max_queue_bytes),
            ..defaults
        };
        let machine = Client::new(config, seed).map_err(|error| Error::usage(error.to_string()))?;
        let (topic, subscribes) = match role {
            Role::Connect => (String::new(), false),
            Role::Publish { topic, .. } => (topic.clone(), false),
            Role::Subscribe { topic, .. } => (topic.clone(), true),
        };
        Ok(Mqtt {
            machine,
            way: Arc::clone(way),
            token,
            topic,
            subscribes,
            qos: Qos::from_bits(plan.qos).unwrap_or(Qos::AtMostOnce),
            link: None,
            opened: false,
            paused: false,
            fault: None,
        })
    }

    pub(super) fn open(&mut self, around: &mut Around<'_>) {
        self.machine.connect(around.now);
        self.obey(around);
    }

    pub(super) fn publish(&mut self, payload: &[u8], since: Instant) -> Taken {
        if self.machine.outbox().len() >= FULL {
            return Taken::NotNow;
        }
        let publish = Publish::new(&self.topic, payload, self.qos);
        match self.machine.publish(&publish, since.as_micros()) {
            Ok(()) => Taken::Yes,
            Err(PublishError::QueueFull) => Taken::NotNow,
            Err(PublishError::TooLarge { max }) => Taken::Never(Error::usage(format!(
                "--payload {}: {} takes packets of at most {max} bytes",
                payload.len(),
                self.way.address
            ))),
            Err(PublishError::QosNotSupported) => Taken::Never(Error::usage(format!(
                "--qos: {} takes a lower one only",
                self.way.address
            ))),
            Err(error) => Taken::Never(Error::Failed(format!("{}: {error}", self.topic))),
        }
    }

    /// An UNSUBSCRIBE is answered behind everything that was published before.
    pub(super) fn settle(&mut self, around: &mut Around<'_>) {
        let asked = self.machine.unsubscribe(&["none"], &PropertyBuf::new(), BARRIER);
        if asked.is_err() {
            around.facts.push(Fact::Settled);
        }
        self.flush(around);
    }

    pub(super) fn close(&mut self, around: &mut Around<'_>) {
        self.machine.disconnect(around.now, &Goodbye::default());
        self.obey(around);
    }

    pub(super) fn ready(&mut self, readable: bool, writable: bool, around: &mut Around<'_>) {
        if !self.opened {
            self.check_opened(writable, around);
        }
        if self.opened && readable && !self.paused {
            self.read(around);
        }
        self.flush(around);
    }

    pub(super) fn timeout(&mut self, around: &mut Around<'_>) {
        self.machine.handle_timeout(around.now);
        self.flush(around);
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.machine.poll_timeout()
    }

    /// Writes, and does and tells what follows from it.
    pub(super) fn flush(&mut self, around: &mut Around<'_>) {
        self.tell(around);
        let unsent = self.link.as_ref().is_some_and(Link::has_unsent);
        if self.opened && (unsent || !self.machine.outbox().is_empty()) {
            self.write(around);
            self.tell(around);
        }
        self.obey(around);
    }

    /// What the machine wants of its driver.
    fn obey(&mut self, around: &mut Around<'_>) {
        while let Some(transmit) = self.machine.poll_transmit() {
            match transmit {
                Transmit::Open => self.connect(around),
                Transmit::Close => {
                    // A last packet that the kernel does not take is not waited for.
                    self.write(around);
                    if let Some(link) = &mut self.link {
                        link.close();
                    }
                    self.drop_stream(around);
                    self.machine.handle_closed(around.now);
                }
                Transmit::PauseReads => self.paused = true,
                Transmit::ResumeReads => {
                    self.paused = false;
                    self.read(around);
                }
            }
        }
        self.tell(around);
    }

    fn connect(&mut self, around: &mut Around<'_>) {
        (self.opened, self.paused, self.fault) = (false, false, None);
        match Link::connect(&self.way, around.registry, self.token) {
            Ok(link) => self.link = Some(link),
            Err(error) => self.lose(Some(Fault::Socket(error)), around),
        }
    }

    /// Whether the socket is open, and what comes above it.
    fn check_opened(&mut self, writable: bool, around: &mut Around<'_>) {
        let Some(link) = &mut self.link else { return };
        match link.open(&self.way, writable) {
            Ok(true) => {
                self.opened = true;
                self.machine.handle_opened(around.now);
            }
            Ok(false) => {}
            Err(fault) => self.lose(Some(fault), around),
        }
    }

    fn read(&mut self, around: &mut Around<'_>) {
        while let Some(link) = &mut self.link {
            match link.read(around.chunk) {
                Ok(0) => return self.lose(None, around),
                Ok(len) => {
                    // A short read empties a stream: epoll tells of the next bytes (epoll(7)).
                    let is_last = len < around.chunk.len() && link.is_plain();
                    let chunk = around.chunk.get(..len).unwrap_or_default();
                    self.machine.handle_bytes(around.now, chunk);
                    self.tell(around);
                    if is_last || self.paused {
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return self.break_off(error, around),
            }
        }
    }

    fn write(&mut self, around: &mut Around<'_>) {
        while let Some(link) = &mut self.link {
            match link.send(self.machine.outbox()) {
                Ok(Some(0)) => {}
                Ok(Some(len)) => self.machine.handle_written(around.now, len),
                Ok(None) => return,
                Err(error) => return self.break_off(error, around),
            }
        }
    }

    fn break_off(&mut self, error: io::Error, around: &mut Around<'_>) {
        let said = secure::said(&error).map(|error| secure::explain(error, &self.way.target));
        self.lose(Some(said.map_or(Fault::Socket(error), Fault::Said)), around);
    }

    fn lose(&mut self, fault: Option<Fault>, around: &mut Around<'_>) {
        self.fault = fault;
        self.drop_stream(around);
        self.machine.handle_closed(around.now);
        self.tell(around);
    }

    fn drop_stream(&mut self, around: &Around<'_>) {
        if let Some(mut link) = self.link.take() {
            link.deregister(around.registry);
        }
        self.opened = false;
    }

    fn tell(&mut self, around: &mut Around<'_>) {
        while let Some(event) = self.machine.poll_event() {
            let fact = match event {
                Event::Message(message) => match Stamp::read(around.run, message.payload()) {
                    Some(stamp) => Fact::Delivered(stamp),
                    None => continue,
                },
                Event::Published { token, .. } => {
                    Fact::Through { since: Instant::from_micros(token), ok: true }
                }
                Event::PublishFailed { token, .. } => {
                    Fact::Through { since: Instant::from_micros(token), ok: false }
                }
                Event::Connected(_) if self.subscribes => {
                    let filters = [Filter::new(&self.topic, self.qos)];
                    let asked = self.machine.subscribe(&filters, &PropertyBuf::new(), SUBSCRIBE);
                    match asked {
                        Ok(()) => continue,
                        Err(error) => Fact::Gone(Error::Protocol(error.to_string())),
                    }
                }
                Event::Connected(_) => Fact::Ready,
                Event::Subscribed { codes, .. } => match codes.first() {
                    Some(code) if code.is_error() => Fact::Gone(Error::Refused {
                        text: format!("SUBSCRIBE to {} refused: {code:?}", self.topic),
                        hint: "may this client do that? see the server's log".into(),
                    }),
                    _ => Fact::Ready,
                },
                Event::Unsubscribed { .. } | Event::RequestFailed { token: BARRIER, .. } => {
                    Fact::Settled
                }
                Event::Disconnected { error: None, .. } => Fact::Left,
                Event::Disconnected { error: Some(error), .. } => Fact::Gone(self.ended(&error)),
                Event::RequestFailed { .. }
                | Event::QueueFree
                | Event::AuthWanted { .. }
                | Event::Authenticated { .. } => continue,
            };
            around.facts.push(fact);
        }
    }

    fn ended(&mut self, error: &ClientError) -> Error {
        let place = self.way.place();
        let (text, hint) = (error.to_string(), error.hint());
        match (error.kind(), self.fault.take()) {
            (ErrorKind::Unreachable, Some(Fault::Said(said))) => said,
            (ErrorKind::Unreachable, Some(Fault::Socket(fault)))
                if *error == ClientError::Unreachable =>
            {
                match fault.kind() {
                    io::ErrorKind::ConnectionRefused => Error::NothingListens { place, hint },
                    _ => Error::Unreachable { place, source: fault },
                }
            }
            (ErrorKind::Unreachable, _) => Error::Ended { text, hint },
            (ErrorKind::Refused, _) => Error::Refused { text, hint: hint.into() },
            (ErrorKind::TimedOut, _) => Error::TimedOut { what: text, hint: hint.into() },
            (ErrorKind::Protocol, _) => Error::Protocol(text),
        }
    }
}
