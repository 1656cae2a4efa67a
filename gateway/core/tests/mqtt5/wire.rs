//! A gateway and its MQTT 5 clients, which speak text: hexadecimal, and quoted strings that stand
//! for themselves.

use std::fmt::Write;
use std::time::Duration;

use motegate_core::Config;
use motegate_message::{ConnectionId, Reason};

use crate::common::{self, Gateway};

pub(crate) use motegate_core::settings::Mqtt;

/// What a CONNACK says of a gateway with default settings.
pub(crate) const CAPABILITIES: &str = "21 0400 27 00200000 22 0040";

pub(crate) struct World {
    pub(crate) gateway: Gateway,
}

/// Bytes from hexadecimal, spaces ignored; text between quotes stands for itself.
pub(crate) fn hex(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for (i, part) in text.split('"').enumerate() {
        if i % 2 == 1 {
            out.extend_from_slice(part.as_bytes());
            continue;
        }
        let digits: Vec<u8> = part.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
        assert_eq!(digits.len() % 2, 0, "half a byte in {text:?}");
        for pair in digits.chunks(2) {
            let pair = std::str::from_utf8(pair).unwrap();
            out.push(u8::from_str_radix(pair, 16).unwrap());
        }
    }
    out
}

pub(crate) fn show(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x} ");
        text
    })
}

pub(crate) fn var_int(mut value: usize) -> String {
    let mut out = String::new();
    loop {
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        let more = if value > 0 { 0x80 } else { 0 };
        let _ = write!(out, "{:02x}", byte | more);
        if value == 0 {
            return out;
        }
    }
}

/// A packet from its first byte and its body.
pub(crate) fn packet(first: u8, body: &str) -> String {
    format!("{first:02x} {} {body}", var_int(hex(body).len()))
}

/// A string with its length.
pub(crate) fn field(text: &str) -> String {
    format!("{:04x} {}", text.len(), show(text.as_bytes()))
}

/// Properties with their length.
pub(crate) fn props(properties: &str) -> String {
    format!("{} {properties}", var_int(hex(properties).len()))
}

/// CONNECT with keep alive 60: flags, properties and whatever the payload holds.
pub(crate) fn connect(flags: u8, properties: &str, payload: &str) -> String {
    packet(0x10, &format!("0004 \"MQTT\" 05 {flags:02x} 003c {} {payload}", props(properties)))
}

/// CONNECT with a will at `will/ID` that says `gone`.
pub(crate) fn connect_with_will(flags: u8, properties: &str, id: &str, will: &str) -> String {
    let topic = field(&format!("will/{id}"));
    connect(flags | 4, properties, &format!("{} {} {topic} 0004 \"gone\"", field(id), props(will)))
}

/// PUBLISH: `id` in hexadecimal, empty at QoS 0.
pub(crate) fn publish(first: u8, topic: &str, id: &str, properties: &str, payload: &str) -> String {
    packet(first, &format!("{} {id} {} {payload}", field(topic), props(properties)))
}

/// SUBSCRIBE to one filter.
pub(crate) fn subscribe(id: &str, properties: &str, filter: &str, options: &str) -> String {
    packet(0x82, &format!("{id} {} {} {options}", props(properties), field(filter)))
}

pub(crate) fn unsubscribe(id: &str, filter: &str) -> String {
    packet(0xa2, &format!("{id} 00 {}", field(filter)))
}

/// Packets of a stream, the last perhaps incomplete.
pub(crate) fn packets(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let (mut len, mut at) = (0, 1);
        loop {
            let byte = bytes[at];
            len |= usize::from(byte & 0x7f) << (7 * (at - 1));
            at += 1;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let (packet, rest) = bytes.split_at((at + len).min(bytes.len()));
        found.push(packet.to_vec());
        bytes = rest;
    }
    found
}

impl World {
    pub(crate) fn new() -> Self {
        World { gateway: Gateway::new(common::config()) }
    }

    pub(crate) fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = common::config();
        change(&mut config);
        World { gateway: Gateway::new(config) }
    }

    pub(crate) fn with_mqtt(mqtt: Mqtt) -> Self {
        World::with(|config| config.mqtt = mqtt)
    }

    pub(crate) fn open(&mut self) -> ConnectionId {
        self.gateway.open()
    }

    pub(crate) fn send(&mut self, conn: ConnectionId, text: &str) {
        self.gateway.send(conn, &hex(text));
    }

    /// Everything that has come.
    pub(crate) fn take(&mut self, conn: ConnectionId) -> Vec<u8> {
        self.gateway.received(conn)
    }

    /// Exactly this has come.
    #[track_caller]
    pub(crate) fn expect(&mut self, conn: ConnectionId, text: &str) {
        let got = self.take(conn);
        assert_eq!(show(&got), show(&hex(text)));
    }

    /// Sends a CONNECT; the CONNACK is left to be read.
    pub(crate) fn knock(&mut self, connect: &str) -> ConnectionId {
        let conn = self.open();
        self.send(conn, connect);
        conn
    }

    /// Sends a CONNECT that must be accepted, without or with a session.
    #[track_caller]
    pub(crate) fn enter(&mut self, connect: &str, present: bool) -> ConnectionId {
        let conn = self.knock(connect);
        let got = self.take(conn);
        let all = packets(&got);
        assert_eq!(all[0][0], 0x20, "{}", show(&got));
        assert_eq!(all[0][2..4], [u8::from(present), 0], "{}", show(&got));
        assert!(!self.gateway.closed.contains_key(&conn));
        // What a resumed session had to say stays to be read.
        self.gateway.streams.insert(conn, all[1..].concat());
        conn
    }

    /// A client with Clean Start and these properties.
    #[track_caller]
    pub(crate) fn client(&mut self, id: &str, properties: &str) -> ConnectionId {
        self.enter(&connect(2, properties, &field(id)), false)
    }

    /// A client whose session lives for an hour; `present`: it has one.
    #[track_caller]
    pub(crate) fn durable(&mut self, id: &str, present: bool) -> ConnectionId {
        self.enter(&connect(0, "11 00000e10", &field(id)), present)
    }

    #[track_caller]
    pub(crate) fn subscribed(&mut self, conn: ConnectionId, filter: &str, options: u8) {
        self.send(conn, &subscribe("0009", "", filter, &format!("{options:02x}")));
        let got = self.take(conn);
        let suback = [0x90, 4, 0, 9, 0, options & 3];
        assert!(got.starts_with(&suback), "{}", show(&got));
        self.gateway.streams.insert(conn, got[6..].to_vec());
    }

    /// CONNACK of a refusal with this code, Session Present 0, then the close.
    #[track_caller]
    pub(crate) fn refused(&mut self, conn: ConnectionId, code: u8) {
        let got = self.take(conn);
        assert_eq!(packets(&got).len(), 1, "one packet: {}", show(&got));
        assert_eq!((got[0], got[2], got[3]), (0x20, 0, code), "{}", show(&got));
        assert!(self.gateway.closed.contains_key(&conn), "still open");
    }

    /// DISCONNECT with this code as the last packet, then the close.
    #[track_caller]
    pub(crate) fn goodbye(&mut self, conn: ConnectionId, code: u8) {
        let got = self.take(conn);
        let all = packets(&got);
        let last =
            all.last().unwrap_or_else(|| panic!("closed: {:?}", self.gateway.closed.get(&conn)));
        assert_eq!((last[0], last[2]), (0xe0, code), "{}", show(&got));
        assert!(self.gateway.closed.contains_key(&conn), "still open");
    }

    /// Closed without a word.
    #[track_caller]
    pub(crate) fn hung_up(&mut self, conn: ConnectionId) -> Reason {
        self.expect(conn, "");
        *self.gateway.closed.get(&conn).expect("still open")
    }

    #[track_caller]
    pub(crate) fn alive(&mut self, conn: ConnectionId) {
        assert_eq!(self.gateway.closed.get(&conn), None);
        self.send(conn, "c000");
        self.expect(conn, "d000");
    }

    /// The transport ends.
    pub(crate) fn lose(&mut self, conn: ConnectionId) {
        let reason = Reason::ConnectionLost;
        self.gateway.input(motegate_core::Input::Closed { conn, reason });
    }

    pub(crate) fn secs(&mut self, secs: u64) {
        self.gateway.advance(Duration::from_secs(secs));
    }

    /// Somebody without keep alive who sees all wills.
    pub(crate) fn watcher(&mut self) -> ConnectionId {
        let id = field("watcher");
        let conn = self.enter(&packet(0x10, &format!("0004 \"MQTT\" 05 02 0000 00 {id}")), false);
        self.subscribed(conn, "will/#", 0);
        conn
    }

    /// How many wills have come.
    pub(crate) fn wills(&mut self, watcher: ConnectionId) -> usize {
        packets(&self.take(watcher)).len()
    }
}
