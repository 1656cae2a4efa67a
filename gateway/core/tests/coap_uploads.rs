//! Requests in blocks (RFC 7959, Block1) through the gateway: one publication at the end, and what
//! is refused is refused before the rest is sent.
#![allow(clippy::cast_possible_truncation)] // option lengths and numbers are small

mod common;

use common::{COAP, Gateway, Options, config, option, peer, request};

const GET: u8 = 1;
const POST: u8 = 2;
const PUT: u8 = 3;
const FETCH: u8 = 5;
const CREATED: u8 = 0x41;
const CHANGED: u8 = 0x44;
const CONTENT: u8 = 0x45;
const CONTINUE: u8 = 0x5f;
const BAD_REQUEST: u8 = 0x80;
const NOT_FOUND: u8 = 0x84;
const METHOD_NOT_ALLOWED: u8 = 0x85;
const INCOMPLETE: u8 = 0x88;
const PRECONDITION_FAILED: u8 = 0x8c;

const PATH: u16 = 11;
const IF_NONE_MATCH: u16 = 5;
const BLOCK1: u16 = 27;
const V: [(u16, &[u8]); 2] = [(PATH, b"mqtt"), (PATH, b"v")];

struct Device {
    gateway: Gateway,
    mid: u16,
}

impl Device {
    /// A block of 16 bytes by value of the option; the response.
    fn block(&mut self, code: u8, options: Options<'_>, block: u8, body: &[u8]) -> Vec<u8> {
        self.mid += 1;
        let block = [block];
        let options = [options, &[(BLOCK1, &block[..])]].concat();
        let bytes = request(code, self.mid, b"t", &options, body);
        let answers = self.gateway.datagram(COAP, peer(4_000), &bytes);
        assert_eq!(answers.len(), 1, "one answer: {answers:02x?}");
        // A repetition is answered from memory, whatever it was.
        assert_eq!(self.gateway.datagram(COAP, peer(4_000), &bytes), answers);
        answers[0].clone()
    }
}

fn device() -> Device {
    Device { gateway: Gateway::new(config()), mid: 0 }
}

/// RFC 7959 §2.5: the replacement takes place at the last block, once.
#[test]
fn blocks_are_one_publication() {
    let mut device = device();
    let watcher = device.gateway.mqtt("watcher", true);
    device.gateway.mqtt_subscribe(watcher, "#", 1);
    for (code, answer) in [(PUT, CREATED), (PUT, CHANGED), (POST, CHANGED)] {
        let first = device.block(code, &V, 0x08, b"0123456789abcdef");
        assert_eq!((first[1], option(&first, BLOCK1)), (CONTINUE, Some(vec![0x08])));
        assert_eq!(device.gateway.received(watcher), b"");
        let last = device.block(code, &V, 0x10, b"end");
        assert_eq!((last[1], option(&last, BLOCK1)), (answer, Some(vec![0x10])));
        let published = device.gateway.received(watcher);
        let payload = b"0123456789abcdefend";
        assert!(published.ends_with(payload), "{published:02x?}");
        assert_eq!(published.len(), 2 + 2 + 1 + 2 + payload.len(), "one message");
    }
    let value = request(GET, 500, b"g", &V, b"");
    let value = &device.gateway.datagram(COAP, peer(4_001), &value)[0];
    assert!(value[1] == CONTENT && value.ends_with(b"0123456789abcdefend"));
}

/// Nothing is gained by sending a body that is refused in the end.
#[test]
fn what_is_refused_is_refused_at_the_first_block() {
    let mut device = device();
    let body = b"0123456789abcdef";
    let cases: [(u8, Options<'_>, u8); 5] = [
        (PUT, &[(PATH, b"nowhere")], NOT_FOUND),
        (FETCH, &V, METHOD_NOT_ALLOWED),
        (PUT, &[(PATH, b"mqtt"), (PATH, b"$SYS"), (PATH, b"x")], BAD_REQUEST),
        (PUT, &[(PATH, b"mqtt"), (PATH, b"a+b")], BAD_REQUEST),
        (PUT, &[(PATH, b".well-known"), (PATH, b"core")], METHOD_NOT_ALLOWED),
    ];
    for (code, path, answer) in cases {
        assert_eq!(device.block(code, path, 0x08, body)[1], answer, "{path:02x?}");
        assert_eq!(device.block(code, path, 0x10, b"end")[1], INCOMPLETE);
    }
}

/// RFC 7252 §5.10.8 with RFC 7959 §2.5: conditions hold when the last block is processed.
#[test]
fn conditions_hold_at_the_last_block() {
    let mut device = device();
    let options = [&[(IF_NONE_MATCH, &b""[..])], &V[..]].concat();
    let body = b"0123456789abcdef";
    assert_eq!(device.block(PUT, &options, 0x08, body)[1], CONTINUE);
    let mut other = request(PUT, 900, b"o", &V, b"first");
    assert_eq!(device.gateway.datagram(COAP, peer(4_001), &other)[0][1], CREATED);
    let last = device.block(PUT, &options, 0x10, b"end");
    assert_eq!((last[1], option(&last, BLOCK1)), (PRECONDITION_FAILED, Some(vec![0x10])));
    other = request(GET, 901, b"o", &V, b"");
    assert!(device.gateway.datagram(COAP, peer(4_001), &other)[0].ends_with(b"first"));
}
