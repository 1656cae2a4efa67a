//! Transcripts of block-wise transfer by the client: RFC 7959 §2.4 to §2.9, §3 and §4.
#![allow(missing_docs, clippy::unwrap_used, clippy::cast_possible_truncation)]

mod support;

use std::time::Duration;

use coap_lite::{CoapOption, Packet};
use motegate_coap::Config;
use motegate_coap::client::{Client, Event, Flaw, Request, RequestId, Response};
use motegate_coap::endpoint::Method;
use motegate_timers::Instant;
use support::Msg;

const BLOCK2: u16 = 23;
const BLOCK1: u16 = 27;
const SIZE2: u16 = 28;
const SIZE1: u16 = 60;
const REQUEST_TAG: u16 = 292;

/// A Block option's value of this number, size exponent and M.
fn block(number: u32, more: bool, exponent: u32) -> Vec<u8> {
    let value = number << 4 | u32::from(more) << 3 | exponent;
    value.to_be_bytes().into_iter().skip(value.leading_zeros() as usize / 8).collect()
}

fn number(value: &[u8]) -> u32 {
    value.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte))
}

struct Device {
    client: Client,
    now: Instant,
}

/// A request as it was sent.
struct Sent(Packet);

impl Sent {
    fn option(&self, number: u16) -> Option<Vec<u8>> {
        self.0.get_first_option(CoapOption::from(number)).cloned()
    }

    /// `1:2/M/64` is Block1, number 2, more, 64 bytes; then payload length and Observe.
    fn shown(&self) -> String {
        let mut text = self.0.header.get_code();
        for (name, option) in [(1, BLOCK1), (2, BLOCK2)] {
            if let Some(value) = self.option(option) {
                let value = number(&value);
                let more = if value & 8 == 0 { '-' } else { 'M' };
                text += &format!(" {name}:{}/{more}/{}", value >> 4, 16 << (value & 7));
            }
        }
        if let Some(value) = self.option(6) {
            text += &format!(" observe={}", number(&value));
        }
        text + &format!(" {}", self.0.payload.len())
    }

    fn token(&self) -> &[u8] {
        self.0.get_token()
    }

    /// The piggybacked answer to it.
    fn answer(&self, code: u8) -> Msg {
        Msg::ack_with(code, self.0.header.message_id).token(self.token())
    }
}

impl Device {
    fn new() -> Self {
        Device { client: Client::new(Config::default(), 3), now: Instant::from_secs(100) }
    }

    /// The one request that was sent.
    #[track_caller]
    fn sent(&mut self) -> Sent {
        let bytes = self.client.poll_transmit().expect("something is sent");
        assert_eq!(self.client.poll_transmit(), None, "one request at a time");
        Sent(Packet::from_bytes(&bytes).unwrap())
    }

    fn ask(&mut self, request: Request) -> (RequestId, Sent) {
        let id = self.client.request(self.now, request);
        (id, self.sent())
    }

    /// The server answers, and this is what is sent then.
    #[track_caller]
    fn next(&mut self, answer: &Msg, shown: &str) -> Sent {
        self.client.handle_datagram(self.now, &answer.bytes());
        assert_eq!(self.client.poll_event(), None);
        let sent = self.sent();
        assert_eq!(sent.shown(), shown);
        sent
    }

    /// The server answers, and that is the end.
    #[track_caller]
    fn last(&mut self, answer: &Msg) -> Event {
        self.client.handle_datagram(self.now, &answer.bytes());
        let event = self.client.poll_event().expect("an event");
        assert_eq!((self.client.poll_event(), self.client.poll_transmit()), (None, None));
        event
    }

    fn is_idle(&self) -> bool {
        self.client.open() == 0
    }
}

fn get() -> Request {
    Request::new(Method::Get, "big")
}

fn put(len: usize) -> Request {
    Request::new(Method::Put, "up").payload(body(len))
}

fn body(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8).collect()
}

#[track_caller]
fn answered(event: Event) -> Response {
    match event {
        Event::Response { response, .. } => response,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn broken(event: Event) -> String {
    match event {
        Event::Broken { flaw, .. } => flaw.to_string(),
        other => panic!("{other:?}"),
    }
}

/// RFC 7959 §2.4, figure 2: the server decides.
#[test]
fn a_body_comes_in_blocks() {
    let mut device = Device::new();
    let mut request = get();
    request.accept = Some(50);
    request.query = vec!["a=1".to_owned()];
    let (_, mut sent) = device.ask(request);
    assert_eq!(sent.shown(), "0.01 0");
    let all = body(300);
    let mut tokens = vec![sent.token().to_vec()];
    for at in 0..2_usize {
        let part = &all[at * 128..][..128];
        let answer = sent.answer(0x45).opt(4, b"e").opt(12, &[50]).opt(14, &[9]);
        let answer = answer.opt(BLOCK2, &block(at as u32, true, 3)).opt(SIZE2, &[1, 44]).body(part);
        sent = device.next(&answer, &format!("0.01 2:{}/-/128 0", at + 1));
        // The same resource and the same kind of it, under a token of its own.
        let options = [(11, &b"big"[..]), (15, b"a=1"), (17, &[50])];
        assert!(options.iter().all(|(n, v)| sent.option(*n).as_deref() == Some(*v)));
        assert!(!tokens.contains(&sent.token().to_vec()));
        tokens.push(sent.token().to_vec());
    }
    let end = sent.answer(0x45).opt(4, b"e").opt(BLOCK2, &block(2, false, 3)).body(&all[256..]);
    let response = answered(device.last(&end));
    assert_eq!(response.payload, all);
    assert_eq!((response.content_format, response.etag), (Some(50), Some(b"e".to_vec())));
    assert_eq!(response.max_age, Some(Duration::from_secs(9)));
    assert!(device.is_idle());
}

/// §2.4: early negotiation, and a server that wants still less, from the first block or later.
#[test]
fn the_size_is_agreed() {
    let mut device = Device::new();
    device.client.set_block_size(300);
    let (_, sent) = device.ask(get());
    assert_eq!(sent.shown(), "0.01 2:0/-/256 0");
    let all = body(256);
    let first = sent.answer(0x45).opt(BLOCK2, &block(0, true, 3)).body(&all[..128]);
    let sent = device.next(&first, "0.01 2:1/-/128 0");
    // Bytes 128 to 191, as the third block of 64.
    let second = sent.answer(0x45).opt(BLOCK2, &block(2, true, 2)).body(&all[128..192]);
    let sent = device.next(&second, "0.01 2:3/-/64 0");
    let third = sent.answer(0x45).opt(BLOCK2, &block(3, false, 2)).body(&all[192..]);
    assert_eq!(answered(device.last(&third)).payload, all);

    // What fits needs no further block, and no option in the answer.
    for option in [None, Some(block(0, false, 4))] {
        let (_, sent) = device.ask(get());
        let mut answer = sent.answer(0x45).body(b"small");
        if let Some(value) = option {
            answer = answer.opt(BLOCK2, &value);
        }
        assert_eq!(answered(device.last(&answer)).payload, "small");
    }
}

/// Each block is an exchange: repeated, answered late, answered separately.
#[test]
fn blocks_survive_a_bad_link() {
    let mut device = Device::new();
    let (_, sent) = device.ask(get());
    let all = body(48);
    let first = sent.answer(0x45).opt(BLOCK2, &block(0, true, 0)).body(&all[..16]);
    let second = device.next(&first, "0.01 2:1/-/16 0");
    device.client.handle_datagram(device.now, &first.bytes()); // twice
    assert_eq!(device.client.poll_transmit(), None);
    device.now += Duration::from_secs(3);
    device.client.handle_timeout(device.now);
    assert_eq!(device.sent().shown(), second.shown(), "repeated");
    let ack = Msg::ack(second.0.header.message_id);
    device.client.handle_datagram(device.now, &ack.bytes());
    let separate = Msg::con(0x45, 7).token(second.token());
    let separate = separate.opt(BLOCK2, &block(1, true, 0)).body(&all[16..32]);
    device.client.handle_datagram(device.now, &separate.bytes());
    let bytes = device.client.poll_transmit().unwrap();
    assert_eq!(bytes, Msg::ack(7).bytes());
    let third = device.sent();
    assert_eq!(third.shown(), "0.01 2:2/-/16 0");
    let end = third.answer(0x45).opt(BLOCK2, &block(2, false, 0)).body(&all[32..]);
    assert_eq!(answered(device.last(&end)).payload, all);
    // A server that falls silent in the middle.
    let (id, sent) = device.ask(get());
    device.next(
        &sent.answer(0x45).opt(BLOCK2, &block(0, true, 0)).body(&all[..16]),
        "0.01 2:1/-/16 0",
    );
    while let Some(at) = device.client.poll_timeout() {
        device.now = at;
        device.client.handle_timeout(at);
    }
    assert_eq!(device.client.poll_event(), Some(Event::TimedOut { request: id }));
    assert_eq!(device.client.open(), 0);
}

/// §2.4: blocks of different versions are no body; the new one is read from its beginning.
#[test]
fn another_version_in_the_middle() {
    let mut device = Device::new();
    let (_, sent) = device.ask(get());
    let part = |sent: &Sent, n: u32, more: bool, etag: &[u8], fill: u8| {
        sent.answer(0x45).opt(4, etag).opt(BLOCK2, &block(n, more, 0)).body(&[fill; 16])
    };
    let sent = device.next(&part(&sent, 0, true, b"1", b'a'), "0.01 2:1/-/16 0");
    let sent = device.next(&part(&sent, 1, true, b"2", b'b'), "0.01 2:0/-/16 0");
    let sent = device.next(&part(&sent, 0, true, b"2", b'b'), "0.01 2:1/-/16 0");
    let response = answered(device.last(&part(&sent, 1, false, b"2", b'b')));
    assert_eq!((response.payload.len(), response.etag), (32, Some(b"2".to_vec())));
    assert!(response.payload.iter().all(|byte| *byte == b'b'));

    // One that changes all the time is given up.
    let (_, mut sent) = device.ask(get());
    for version in 0..3 {
        sent = device.next(&part(&sent, 0, true, &[version], b'a'), "0.01 2:1/-/16 0");
        sent = device.next(&part(&sent, 1, true, &[99], b'a'), "0.01 2:0/-/16 0");
    }
    sent = device.next(&part(&sent, 0, true, &[7], b'a'), "0.01 2:1/-/16 0");
    let text = broken(device.last(&part(&sent, 1, true, &[8], b'a')));
    assert!(text.contains("changes faster"), "{text}");

    // One that goes is the answer.
    let (_, sent) = device.ask(get());
    let sent = device.next(&part(&sent, 0, true, b"1", b'a'), "0.01 2:1/-/16 0");
    let response = answered(device.last(&sent.answer(0x84).body(b"gone")));
    assert_eq!((response.code.class(), &response.payload[..]), (4, &b"gone"[..]));
    assert!(device.is_idle());
}

/// What is not a body is said, and nothing is reported as if it were.
#[test]
fn blocks_that_do_not_fit() {
    for (number, more, exponent, len, word) in [
        (2, true, 0, 16, "not the block"),
        (0, true, 0, 16, "not the block"),
        (1, true, 0, 15, "another size"),
        (1, false, 0, 17, "another size"),
        (1, true, 7, 16, "not the block"),
    ] {
        let mut device = Device::new();
        let (_, sent) = device.ask(get());
        let first = sent.answer(0x45).opt(BLOCK2, &block(0, true, 0)).body(&[0; 16]);
        let sent = device.next(&first, "0.01 2:1/-/16 0");
        let wrong = sent.answer(0x45).opt(BLOCK2, &block(number, more, exponent));
        let text = broken(device.last(&wrong.body(&vec![0; len])));
        assert!(text.contains(word), "{text}");
        assert!(device.is_idle());
    }
    let mut device = Device::new();
    let (_, sent) = device.ask(get());
    let text =
        broken(device.last(&sent.answer(0x45).opt(BLOCK2, &block(3, true, 0)).body(&[0; 16])));
    assert!(text.contains("not the block"), "{text}");
    let (_, sent) = device.ask(get());
    let first = sent.answer(0x45).opt(BLOCK2, &block(0, true, 0)).body(&[0; 16]);
    let sent = device.next(&first, "0.01 2:1/-/16 0");
    let text = broken(device.last(&sent.answer(0x45).body(b"x")));
    assert!(text.contains("without its number"), "{text}");
}

/// A limit, found out by Size2 at once or else by counting.
#[test]
fn a_body_has_a_limit() {
    let mut device = Device::new();
    device.client.set_max_body(40);
    for size2 in [false, true] {
        let (_, mut sent) = device.ask(get());
        for n in 0..3 {
            let mut answer = sent.answer(0x45).opt(BLOCK2, &block(n, true, 0)).body(&[0; 16]);
            if size2 {
                answer = answer.opt(SIZE2, &[41]);
            }
            if n == 2 || size2 {
                let event = device.last(&answer);
                let flaw = Flaw::TooLarge { limit: 40 };
                assert!(matches!(event, Event::Broken { flaw: f, .. } if f == flaw), "{event:?}");
                break;
            }
            sent = device.next(&answer, &format!("0.01 2:{}/-/16 0", n + 1));
        }
        assert!(device.is_idle());
    }
}

/// §2.5, figure 6; the first block says how much there will be (§4), and all carry one tag
/// (RFC 9175 §3).
#[test]
fn a_body_goes_in_blocks() {
    let mut device = Device::new();
    let mut request = put(2_500);
    request.content_format = Some(42);
    let (_, mut sent) = device.ask(request);
    assert_eq!(sent.shown(), "0.03 1:0/M/1024 1024");
    assert_eq!(sent.option(SIZE1), Some(vec![9, 196]));
    let tag = sent.option(REQUEST_TAG);
    assert!(tag.is_some());
    let mut all = sent.0.payload.clone();
    for n in 0..2 {
        let answer = sent.answer(0x5f).opt(BLOCK1, &block(n, true, 6));
        let shown = ["0.03 1:1/M/1024 1024", "0.03 1:2/-/1024 452"][n as usize];
        sent = device.next(&answer, shown);
        assert_eq!((sent.option(REQUEST_TAG), sent.option(SIZE1)), (tag.clone(), None));
        assert_eq!(sent.option(12), Some(vec![42]));
        all.extend(&sent.0.payload);
    }
    assert_eq!(all, body(2_500));
    let response = answered(device.last(&sent.answer(0x44).opt(BLOCK1, &block(2, false, 6))));
    assert_eq!((response.code.class(), response.code.detail()), (2, 4));
    assert!(device.is_idle());
    // What fits a message is one.
    let (_, sent) = device.ask(put(1_024));
    assert_eq!(sent.shown(), "0.03 1024");
}

/// §2.3, figure 8 (late negotiation), and §2.9.3: smaller blocks from 4.13 on.
#[test]
fn the_server_wants_smaller_blocks() {
    let mut device = Device::new();
    device.client.set_block_size(128);
    let (_, sent) = device.ask(put(256));
    assert_eq!(sent.shown(), "0.03 1:0/M/128 128");
    let sent = device.next(&sent.answer(0x5f).opt(BLOCK1, &block(0, true, 1)), "0.03 1:4/M/32 32");
    assert_eq!(sent.0.payload, &body(256)[128..160]);
    let (_, sent) = {
        device.client.forget(device.now, RequestId(1));
        device.ask(put(256))
    };
    let too_large = sent.answer(0x8d).opt(BLOCK1, &block(0, true, 2));
    let sent = device.next(&too_large, "0.03 1:0/M/64 64");
    assert!(sent.option(SIZE1).is_some(), "it is a first block again");
    device.client.forget(device.now, RequestId(2));

    // Also when it came in one message.
    let (_, sent) = device.ask(put(100));
    assert_eq!(sent.shown(), "0.03 100");
    let sent = device.next(&sent.answer(0x8d).opt(BLOCK1, &block(0, false, 2)), "0.03 1:0/M/64 64");
    let sent = device.next(&sent.answer(0x5f).opt(BLOCK1, &block(0, true, 2)), "0.03 1:1/-/64 36");
    answered(device.last(&sent.answer(0x41).opt(BLOCK1, &block(1, false, 2))));

    // A refusal that offers nothing, or not less, is the answer.
    for offer in [None, Some(block(0, true, 3)), Some(block(0, true, 6))] {
        let (_, sent) = device.ask(put(256));
        let mut answer = sent.answer(0x8d).opt(SIZE1, &[100]);
        if let Some(offer) = offer {
            answer = answer.opt(BLOCK1, &offer);
        }
        assert_eq!(answered(device.last(&answer)).code.detail(), 13);
    }
    assert!(device.is_idle());
}

/// §2.9.2: a server that lost the beginning gets it again; one that keeps losing it is believed.
#[test]
fn an_upload_begins_again() {
    let mut device = Device::new();
    let (_, mut sent) = device.ask(put(2_000));
    for round in 0..4 {
        sent =
            device.next(&sent.answer(0x5f).opt(BLOCK1, &block(0, true, 6)), "0.03 1:1/-/1024 976");
        if round < 3 {
            sent = device.next(&sent.answer(0x88), "0.03 1:0/M/1024 1024");
        }
    }
    assert_eq!(answered(device.last(&sent.answer(0x88))).code.detail(), 8);
    // An error in the middle is the answer, too.
    let (_, sent) = device.ask(put(3_000));
    let sent =
        device.next(&sent.answer(0x5f).opt(BLOCK1, &block(0, true, 6)), "0.03 1:1/M/1024 1024");
    assert_eq!(answered(device.last(&sent.answer(0x83))).code.detail(), 3);
    assert!(device.is_idle());
}

#[test]
fn answers_that_make_no_upload() {
    let mut device = Device::new();
    for (code, option, word) in [
        (0x44, None, "a part for the whole"),
        (0x44, Some(block(0, true, 6)), "a part for the whole"),
        (0x5f, None, "another block"),
        (0x5f, Some(block(1, true, 6)), "another block"),
    ] {
        let (_, sent) = device.ask(put(2_000));
        let mut answer = sent.answer(code);
        if let Some(value) = option {
            answer = answer.opt(BLOCK1, &value);
        }
        let text = broken(device.last(&answer));
        assert!(text.contains(word), "{text}");
    }
    let (_, sent) = device.ask(put(1_025));
    let sent = device.next(&sent.answer(0x5f).opt(BLOCK1, &block(0, true, 6)), "0.03 1:1/-/1024 1");
    let text = broken(device.last(&sent.answer(0x5f).opt(BLOCK1, &block(1, true, 6))));
    assert!(text.contains("behind the last"), "{text}");
    assert!(device.is_idle());
}

/// §3.3, figure 11: the answer to a body in blocks comes in blocks.
#[test]
fn blocks_in_both_directions() {
    let mut device = Device::new();
    device.client.set_block_size(16);
    let (_, sent) = device.ask(Request::new(Method::Post, "soap").payload(body(20)));
    assert_eq!(sent.shown(), "0.02 1:0/M/16 16");
    let sent = device.next(&sent.answer(0x5f).opt(BLOCK1, &block(0, true, 0)), "0.02 1:1/-/16 4");
    let answer = sent.answer(0x44).opt(BLOCK1, &block(1, false, 0)).opt(BLOCK2, &block(0, true, 0));
    let tag = sent.option(REQUEST_TAG);
    let sent = device.next(&answer.body(&[1; 16]), "0.02 2:1/-/16 0");
    assert!(tag.is_some() && sent.option(REQUEST_TAG) == tag, "one operation, one tag");
    let answer = sent.answer(0x44).opt(BLOCK2, &block(1, false, 0)).body(&[2; 3]);
    assert_eq!(answered(device.last(&answer)).payload.len(), 19);
    assert!(device.is_idle());
}

/// §2.6, figure 13: the observation keeps its token, the rest of a notification is fetched beside
/// it; a newer one makes the older of no interest.
#[test]
fn an_observed_body_comes_in_blocks() {
    let mut device = Device::new();
    let (id, sent) = device.ask(get().observe());
    assert_eq!(sent.shown(), "0.01 observe=0 0");
    let token = sent.token().to_vec();
    let first = |msg: Msg, n: u8| {
        msg.opt(6, &[n]).opt(4, &[n]).opt(BLOCK2, &block(0, true, 0)).body(&[n; 16])
    };
    let rest = |sent: &Sent, n: u8| {
        sent.answer(0x45).opt(4, &[n]).opt(BLOCK2, &block(1, false, 0)).body(&[n; 4])
    };
    let sent = device.next(&first(sent.answer(0x45), 1), "0.01 2:1/-/16 0");
    assert_ne!(sent.token(), token);
    let response = answered(device.last(&rest(&sent, 1)));
    assert_eq!((response.payload.len(), response.observe), (20, Some(1)));
    assert_eq!(device.client.open(), 1, "the observation alone");

    let con = |n: u8| first(Msg::con(0x45, n.into()).token(&token), n);
    let notify = |device: &mut Device, n: u8| {
        device.client.handle_datagram(device.now, &con(n).bytes());
        assert_eq!(device.client.poll_transmit(), Some(Msg::ack(n.into()).bytes()));
        device.sent()
    };
    let second = notify(&mut device, 2);
    let third = notify(&mut device, 3);
    assert_eq!(third.shown(), "0.01 2:1/-/16 0");
    device.client.handle_datagram(device.now, &rest(&second, 2).bytes());
    assert_eq!(device.client.poll_event(), None);
    match device.last(&rest(&third, 3)) {
        Event::Notification { request, response } => {
            assert_eq!((request, &response.payload[..]), (id, &[3; 20][..]));
            assert_eq!((response.observe, response.etag), (Some(3), Some(vec![3])));
        }
        other => panic!("{other:?}"),
    }
    // The version of the notification has gone when its rest is asked for: the new one is read.
    let fourth = notify(&mut device, 4);
    let again = device.next(&rest(&fourth, 5), "0.01 2:0/-/16 0");
    let head = again.answer(0x45).opt(4, &[5]).opt(BLOCK2, &block(0, true, 0)).body(&[5; 16]);
    let fifth = device.next(&head, "0.01 2:1/-/16 0");
    let event = device.last(&rest(&fifth, 5));
    assert!(
        matches!(&event, Event::Notification { response, .. }
        if response.payload[..] == [5; 20] && response.observe == Some(4)),
        "{event:?}"
    );
    // Forgotten in the middle: nothing is left, and what comes is rejected.
    let sixth = notify(&mut device, 6);
    device.client.forget(device.now, id);
    assert!(device.is_idle());
    device.client.handle_datagram(device.now, &rest(&sixth, 6).bytes());
    device.client.handle_datagram(device.now, &con(7).bytes());
    assert_eq!(device.client.poll_event(), None);
    assert_eq!(device.client.poll_transmit(), Some(Msg::rst(7).bytes()));
}

/// The rest of a notification does not come, or makes no body: the observation is over.
#[test]
fn an_observation_ends_with_its_part() {
    for silent in [true, false] {
        let mut device = Device::new();
        let (id, sent) = device.ask(get().observe());
        let first = sent.answer(0x45).opt(6, &[1]).opt(BLOCK2, &block(0, true, 0)).body(&[0; 16]);
        let sent = device.next(&first, "0.01 2:1/-/16 0");
        if silent {
            while let Some(at) = device.client.poll_timeout() {
                device.now = at;
                device.client.handle_timeout(at);
                while device.client.poll_transmit().is_some() {}
            }
            assert_eq!(device.client.poll_event(), Some(Event::TimedOut { request: id }));
        } else {
            let text = broken(device.last(&sent.answer(0x45).body(b"x")));
            assert!(text.contains("without its number"), "{text}");
        }
        assert!(device.is_idle());
    }
}

/// A Block option among the request's own leaves the blocks to the caller.
#[test]
fn blocks_by_hand() {
    let mut device = Device::new();
    let mut request = get();
    request.options = vec![(BLOCK2, block(4, false, 1))];
    let (_, sent) = device.ask(request);
    assert_eq!(sent.shown(), "0.01 2:4/-/32 0");
    let answer = sent.answer(0x45).opt(BLOCK2, &block(4, true, 1)).body(&[7; 32]);
    assert_eq!(answered(device.last(&answer)).payload.len(), 32);
    let mut request = put(1_500);
    request.options = vec![(BLOCK1, block(1, true, 6))];
    let (_, sent) = device.ask(request);
    assert_eq!(sent.shown(), "0.03 1:1/M/1024 1500");
    answered(device.last(&sent.answer(0x5f).opt(BLOCK1, &block(1, true, 6))));
    assert!(device.is_idle());
}
