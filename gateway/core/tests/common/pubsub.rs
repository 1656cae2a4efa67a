//! A client of the topic collection of draft-ietf-core-coap-pubsub.

use motegate_coap::pubsub::Properties;
use motegate_core::Config;
use motegate_mapping::{Preset, Rules, Table};

use super::{COAP, Gateway, Options, config, option, options, peer, request};

pub const GET: u8 = 1;
pub const POST: u8 = 2;
pub const PUT: u8 = 3;
pub const DELETE: u8 = 4;
pub const FETCH: u8 = 5;
pub const PATCH: u8 = 6;
pub const IPATCH: u8 = 7;

pub const CREATED: u8 = 0x41;
pub const DELETED: u8 = 0x42;
pub const VALID: u8 = 0x43;
pub const CHANGED: u8 = 0x44;
pub const CONTENT: u8 = 0x45;
pub const CONTINUE: u8 = 0x5f;
pub const BAD_REQUEST: u8 = 0x80;
pub const NOT_FOUND: u8 = 0x84;
pub const NOT_ALLOWED: u8 = 0x85;
pub const NOT_ACCEPTABLE: u8 = 0x86;
pub const PRECONDITION_FAILED: u8 = 0x8c;
pub const TOO_LARGE: u8 = 0x8d;
pub const UNSUPPORTED: u8 = 0x8f;
pub const UNAVAILABLE: u8 = 0xa3;

pub const IF_MATCH: u16 = 1;
pub const ETAG: u16 = 4;
pub const OBSERVE: u16 = 6;
pub const LOCATION_PATH: u16 = 8;
pub const PATH: u16 = 11;
pub const FORMAT: u16 = 12;
pub const QUERY: u16 = 15;
pub const ACCEPT: u16 = 17;
pub const BLOCK2: u16 = 23;
pub const BLOCK1: u16 = 27;

/// `application/core-pubsub+cbor`: 606.
pub const PROPERTIES: (u16, &[u8]) = (FORMAT, b"\x02\x5e");
pub const PS: (u16, &[u8]) = (PATH, b"ps");

pub struct Broker {
    pub gateway: Gateway,
    pub mid: u16,
}

pub fn table() -> Table {
    let presets = vec![Preset::CorePubsub, Preset::Passthrough];
    Table::new(Rules { presets, ..Rules::default() }).expect("presets of two paths")
}

/// The payload of a packet.
pub fn body(packet: &[u8]) -> &[u8] {
    let mut at = 4 + usize::from(packet[0] & 0xf);
    while at < packet.len() && packet[at] != 0xff {
        let (delta, length) = (packet[at] >> 4, packet[at] & 0xf);
        at += 1 + usize::from(delta == 13) + usize::from(length == 13);
        let extended = if length == 13 { usize::from(packet[at - 1]) + 13 } else { length.into() };
        at += extended;
    }
    packet.get(at + 1..).unwrap_or_default()
}

pub fn text(packet: &[u8]) -> &str {
    std::str::from_utf8(body(packet)).expect("text")
}

pub fn configuration(packet: &[u8]) -> Properties {
    assert_eq!(option(packet, FORMAT).as_deref(), Some(PROPERTIES.1));
    Properties::from_cbor(body(packet)).expect("a configuration")
}

pub fn named(name: &str) -> Properties {
    Properties {
        topic_name: Some(name.into()),
        resource_type: Some("core.ps.data".into()),
        ..Properties::default()
    }
}

impl Broker {
    pub fn new() -> Self {
        Self::with(config())
    }

    pub fn with(config: Config) -> Self {
        Broker { gateway: Gateway::with_table(config, table()), mid: 0 }
    }

    pub fn from(&mut self, port: u16, code: u8, options: Options<'_>, body: &[u8]) -> Vec<u8> {
        self.mid += 1;
        let bytes = request(code, self.mid, b"t", options, body);
        let mut answers = self.gateway.datagram(COAP, peer(port), &bytes);
        assert_eq!(answers.len(), 1, "{answers:02x?}");
        answers.remove(0)
    }

    pub fn ask(&mut self, code: u8, options: Options<'_>, body: &[u8]) -> Vec<u8> {
        self.from(4_000, code, options, body)
    }

    pub fn post(&mut self, properties: &Properties) -> Vec<u8> {
        self.ask(POST, &[PS, PROPERTIES], &properties.to_cbor())
    }

    /// Makes a topic; its id.
    pub fn make(&mut self, properties: &Properties) -> String {
        let answer = self.post(properties);
        assert_eq!(answer[1], CREATED, "{}", String::from_utf8_lossy(&answer));
        id(&answer)
    }

    pub fn topic(&mut self, code: u8, id: &str, more: Options<'_>, body: &[u8]) -> Vec<u8> {
        self.ask(code, &[&[PS, (PATH, id.as_bytes())], more].concat(), body)
    }

    pub fn data(
        &mut self,
        port: u16,
        code: u8,
        name: &str,
        more: Options<'_>,
        body: &[u8],
    ) -> Vec<u8> {
        let path = [PS, (PATH, b"data"), (PATH, name.as_bytes())];
        let (before, after): (Vec<_>, Vec<_>) = more.iter().partition(|(number, _)| *number < PATH);
        self.from(port, code, &[&before[..], &path, &after[..]].concat(), body)
    }

    pub fn observe(&mut self, port: u16, name: &str) -> Vec<u8> {
        self.data(port, GET, name, &[(OBSERVE, b"")], b"")
    }

    /// The one confirmable notification that a client was sent.
    pub fn acknowledge(&mut self, port: u16) -> Vec<u8> {
        let mut told = self.told(port);
        assert_eq!((told.len(), told[0][0] >> 4), (1, 4), "{told:02x?}");
        let [high, low] = [told[0][2], told[0][3]];
        self.gateway.datagram(COAP, peer(port), &[0x60, 0, high, low]);
        told.remove(0)
    }

    /// What a client was sent by itself.
    pub fn told(&mut self, port: u16) -> Vec<Vec<u8>> {
        self.gateway.datagrams_to(peer(port))
    }
}

/// The last segment of Location-Path.
pub fn id(answer: &[u8]) -> String {
    let path: Vec<_> = options(answer).into_iter().filter(|(n, _)| *n == LOCATION_PATH).collect();
    assert_eq!((path.len(), &path[0].1[..]), (2, &b"ps"[..]));
    String::from_utf8(path[1].1.clone()).expect("text")
}
