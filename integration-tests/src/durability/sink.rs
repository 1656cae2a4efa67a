//! [`Sink`]: a durable MQTT 5 session that hears everything, or what it is told to.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::load::link::Link;
use crate::sim::mqtt_wire::{self as wire, Connect, Packet};

/// An answer takes no longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Its connection.
#[derive(Debug)]
pub struct Sink {
    link: Link,
    /// Messages that came, and were acknowledged.
    pub received: u64,
    /// Whether the session was there.
    pub present: bool,
}

impl Sink {
    /// Asks to be let in; `clean`: with a new session.
    ///
    /// # Panics
    /// If nobody listens.
    #[must_use]
    pub fn open(gateway: SocketAddr, id: &str, clean: bool) -> Sink {
        let connect = Connect { v5: true, id, clean, expiry: 86_400, ..Connect::default() };
        let mut link = Link::open_with(gateway, &connect).expect("the gateway listens");
        link.flush().expect("a CONNECT is short");
        Sink { link, received: 0, present: false }
    }

    /// Ends a session.
    ///
    /// # Panics
    /// If the gateway does not answer.
    pub fn end(gateway: SocketAddr, id: &str) {
        let connect = Connect { v5: true, id, clean: true, ..Connect::default() };
        let mut link = Link::open_with(gateway, &connect).expect("the gateway listens");
        link.flush().expect("a CONNECT is short");
        let mut sink = Sink { link, received: 0, present: false };
        sink.wait("CONNACK", |packet| matches!(packet, Packet::ConnAck { code: 0, .. }));
        sink.link.output.extend(wire::disconnect());
        let _ = sink.link.flush();
    }

    /// Waits for CONNACK.
    ///
    /// # Panics
    /// If it is not let in.
    pub fn connected(&mut self) {
        self.wait("CONNACK", |packet| matches!(packet, Packet::ConnAck { code: 0, .. }));
    }

    /// Sends SUBSCRIBE at QoS 1.
    pub fn subscribe(&mut self, filter: &str) {
        self.link.output.extend(wire::subscribe(true, 1, &[(filter.to_owned(), 1)]));
        let _ = self.link.flush();
    }

    /// Waits for SUBACK.
    ///
    /// # Panics
    /// If it is refused.
    pub fn subscribed(&mut self) {
        self.wait("SUBACK", |packet| matches!(packet, Packet::SubAck(1, codes) if codes == &[1]));
    }

    /// Takes what has come and acknowledges it; whether something has.
    ///
    /// # Panics
    /// If the connection is lost.
    pub fn drain(&mut self) -> bool {
        let before = self.received;
        for packet in self.read() {
            self.take(&packet);
        }
        self.received > before
    }

    /// Says goodbye; the session stays, and hears that all was acknowledged.
    pub fn goodbye(&mut self) {
        self.link.output.extend(wire::disconnect());
        while self.link.flush().is_ok() && !self.link.output.is_empty() {
            std::thread::sleep(Duration::from_micros(100));
        }
    }

    fn read(&mut self) -> Vec<Packet> {
        let _ = self.link.flush();
        let (packets, over) = self.link.read();
        assert!(over.is_none() || !packets.is_empty(), "connection lost: {over:?}");
        packets
    }

    fn take(&mut self, packet: &Packet) {
        match packet {
            Packet::Publish { qos: 1, pid, .. } => {
                self.received += 1;
                self.link.output.extend(wire::ack(wire::PUBACK, *pid));
            }
            Packet::Publish { .. } => self.received += 1,
            Packet::ConnAck { present, .. } => self.present = *present,
            _ => {}
        }
        let _ = self.link.flush();
    }

    fn wait(&mut self, what: &str, wanted: impl Fn(&Packet) -> bool) {
        let began = Instant::now();
        loop {
            let mut found = false;
            for packet in self.read() {
                found |= wanted(&packet);
                self.take(&packet);
            }
            if found {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "no {what}");
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}
