//! A client with its clock, and the server's side of the wire.

use std::time::Duration;

use motegate_message::Qos;
use motegate_mqtt::client::{Client, ClientConfig, ClientError, Event, Publish, Transmit};
use motegate_mqtt::{ReasonCode, Version};
use motegate_timers::Instant;

use crate::common::{hex, packet, show};

/// A client, its clock, and the server's side of the wire.
pub(crate) struct Peer {
    pub(crate) client: Client,
    pub(crate) now: Instant,
    pub(crate) events: Vec<Event>,
    pub(crate) transmits: Vec<Transmit>,
}

impl Peer {
    pub(crate) fn new(config: ClientConfig) -> Self {
        let client = Client::new(config, 1).unwrap();
        Peer { client, now: Instant::from_secs(10), events: vec![], transmits: vec![] }
    }

    /// Opens the transport; the CONNECT is what comes.
    pub(crate) fn open(&mut self) -> String {
        self.client.connect(self.now);
        self.opened()
    }

    pub(crate) fn opened(&mut self) -> String {
        assert_eq!(self.client.poll_transmit(), Some(Transmit::Open));
        self.client.handle_opened(self.now);
        self.sent()
    }

    /// Connected, with these CONNACK properties (5.0).
    pub(crate) fn connected(config: ClientConfig, present: u8, properties: &str) -> Self {
        let mut peer = Peer::new(config);
        peer.open();
        peer.accept(present, properties);
        peer
    }

    pub(crate) fn accept(&mut self, present: u8, properties: &str) {
        let properties = match self.client.version() {
            Version::V5 => format!("{:02x} {properties}", hex(properties).len()),
            _ => String::new(),
        };
        self.receive(&packet(0x20, &format!("{present:02x} 00 {properties}")));
        let event = self.events.remove(0);
        assert!(matches!(event, Event::Connected(_)), "{event:?}");
    }

    pub(crate) fn receive(&mut self, bytes: &str) {
        self.client.handle_bytes(self.now, &hex(bytes));
        self.drain();
    }

    pub(crate) fn drain(&mut self) {
        while let Some(event) = self.client.poll_event() {
            self.events.push(event);
        }
        while let Some(transmit) = self.client.poll_transmit() {
            self.transmits.push(transmit);
        }
    }

    /// What the client wrote.
    pub(crate) fn sent(&mut self) -> String {
        let bytes = self.client.outbox().to_vec();
        self.client.handle_written(self.now, bytes.len());
        self.drain();
        show(&bytes)
    }

    #[track_caller]
    pub(crate) fn expect(&mut self, bytes: &str) {
        assert_eq!(self.sent(), show(&hex(bytes)));
    }

    pub(crate) fn advance(&mut self, by: Duration) {
        self.now += by;
        self.client.handle_timeout(self.now);
        self.drain();
    }

    pub(crate) fn publish(&mut self, topic: &str, qos: Qos, token: u64) {
        self.client.publish(&Publish::new(topic, b"x", qos), token).unwrap();
    }

    #[track_caller]
    pub(crate) fn event(&mut self) -> Event {
        assert!(!self.events.is_empty(), "no event");
        self.events.remove(0)
    }

    #[track_caller]
    pub(crate) fn expect_published(&mut self, token: u64) {
        assert_eq!(self.event(), Event::Published { token, code: ReasonCode::Success });
    }

    /// The connection ended for this reason, and the driver has closed it.
    #[track_caller]
    pub(crate) fn expect_end(&mut self, error: &ClientError) -> Option<Instant> {
        assert_eq!(self.transmits.pop(), Some(Transmit::Close));
        let Event::Disconnected { error: Some(got), retry_at } = self.event() else { panic!() };
        assert_eq!(&got, error);
        assert!(!got.to_string().is_empty() && !got.hint().is_empty());
        self.client.handle_closed(self.now);
        self.drain();
        retry_at
    }

    /// The transport breaks; the next attempt is begun when it is due.
    pub(crate) fn lose(&mut self) -> String {
        self.client.handle_closed(self.now);
        self.drain();
        let at = self.client.poll_timeout().unwrap();
        self.now = at;
        self.client.handle_timeout(at);
        let open = self.opened();
        self.events.retain(|e| !matches!(e, Event::Disconnected { .. }));
        open
    }
}

pub(crate) fn v5() -> ClientConfig {
    let mut config = ClientConfig::new("c");
    config.topic_alias_maximum = 0;
    config
}

pub(crate) fn v311() -> ClientConfig {
    ClientConfig { version: Version::V311, ..v5() }
}

pub(crate) fn durable() -> ClientConfig {
    ClientConfig { session_expiry_secs: 3600, ..v5() }
}
