//! Requests in blocks (RFC 7959 §2.3, §2.5, §2.7, §2.9; RFC 9175 §3.3) from the server's side, and
//! whole transfers with our own client. TD_COAP_BLOCK_03, 04 and 05.
#![allow(missing_docs, clippy::unwrap_used, clippy::cast_possible_truncation)]

mod support;

use std::time::Duration;

use motegate_coap::client::{self, Client};
use motegate_coap::endpoint::{Code, Event, Method, Response};
use motegate_coap::{Config, Endpoint};
use motegate_message::{Reason, Seq, Turn, Wall};
use motegate_timers::Instant;
use support::{DELETE, GET, Msg, POST, PUT, Server, peer};

const BLOCK2: u16 = 23;
const BLOCK1: u16 = 27;
const SIZE1: u16 = 60;
const REQUEST_TAG: u16 = 292;
const CONTINUE: Response = Response::new(Code::CONTINUE);
const CHANGED: Response = Response::new(Code::CHANGED);

fn uint(value: u32) -> Vec<u8> {
    value.to_be_bytes().into_iter().skip(value.leading_zeros() as usize / 8).collect()
}

fn option(number: u32, more: bool, exponent: u32) -> Vec<u8> {
    uint(number << 4 | u32::from(more) << 3 | exponent)
}

fn body(length: usize) -> Vec<u8> {
    (0..=250_u8).cycle().take(length).collect()
}

/// A client's body of so many bytes to `x` in blocks of one size, and the ids of its messages.
struct Sender {
    server: Server,
    length: usize,
    exponent: u32,
    id: u16,
    confirmable: bool,
}

impl Sender {
    fn new(length: usize, exponent: u32) -> Self {
        Sender::to(Server::new(), length, exponent)
    }

    fn to(server: Server, length: usize, exponent: u32) -> Self {
        Sender { server, length, exponent, id: 0, confirmable: true }
    }

    fn msg(&mut self, number: u32) -> Msg {
        self.id += 1;
        let size = 16 << self.exponent;
        let start = (number as usize * size).min(self.length);
        let end = self.length.min(start + size);
        let head = if self.confirmable { Msg::con(PUT, self.id) } else { Msg::non(PUT, self.id) };
        head.token(b"t")
            .path("x")
            .opt(BLOCK1, &option(number, end < self.length, self.exponent))
            .body(&body(self.length)[start..end])
    }

    /// Sends a block; answers what asks whether more may come.
    fn block(&mut self, number: u32) -> String {
        let msg = self.msg(number);
        self.send(&msg)
    }

    fn send(&mut self, msg: &Msg) -> String {
        let mut sent = self.server.msg(1, msg);
        if let [Event::Request(request)] = &self.server.events[..]
            && request.more_follows
        {
            assert!(request.payload.is_empty(), "nothing to act on yet");
            let exchange = request.exchange;
            self.server.events.clear();
            sent = self.server.respond(exchange, CONTINUE);
        }
        sent.join(" & ")
    }

    /// The whole has come up; answers it.
    fn finish(&mut self, response: Response) -> String {
        let request = self.server.request();
        assert!(!request.more_follows);
        assert_eq!(request.payload, body(self.length), "all of it, once");
        self.server.respond(request.exchange, response).join(" & ")
    }
}

/// RFC 7959 §2.5: 2.31 for every block but the last; the request takes place at the last.
#[test]
fn blocks_become_one_request() {
    for (length, exponent) in [(2_500, 6), (100, 0), (48, 1), (96, 1), (200_000, 6)] {
        let mut sender = Sender::new(length, exponent);
        let last = length.div_ceil(16 << exponent) as u32 - 1;
        for number in 0..last {
            let value: String =
                option(number, true, exponent).iter().map(|b| format!("{b:02x}")).collect();
            let answer = format!("ACK 2.31 #{} t=74 27={value}", number + 1);
            assert_eq!(sender.block(number), answer);
            sender.server.no_request();
        }
        assert_eq!(sender.block(last), "", "the layer above answers");
        let value: String =
            option(last, false, exponent).iter().map(|b| format!("{b:02x}")).collect();
        let answer = format!("ACK 2.04 #{} t=74 27={value}", last + 1);
        assert_eq!(sender.finish(CHANGED), answer);
        assert_eq!(sender.server.endpoint.transfers(), (0, 0));
    }
}

/// RFC 7252 §4.5 holds for each block: a repetition has the same answer and does nothing.
#[test]
fn a_repeated_block_is_answered_from_memory_and_the_last_one_publishes_once() {
    let mut sender = Sender::new(100, 2);
    for number in 0..2 {
        let msg = sender.msg(number);
        let answer = sender.send(&msg);
        if number == 0 {
            assert_eq!(answer, "ACK 2.31 #1 t=74 27=0a");
            assert_eq!(sender.send(&msg), answer);
        } else {
            assert_eq!(sender.send(&msg), "ACK 0.00 #2", "not answered yet");
            // The client has its acknowledgement, so that the answer comes on its own.
            assert_eq!(sender.finish(CHANGED), "CON 2.04 #* t=74 27=12");
            assert_eq!(sender.send(&msg), "ACK 0.00 #2");
        }
        sender.server.no_request();
    }
    let mut sender = Sender::new(100, 2);
    sender.block(0);
    let last = sender.msg(1);
    sender.send(&last);
    let answer = sender.finish(CHANGED);
    assert_eq!(answer, "ACK 2.04 #2 t=74 27=12");
    assert_eq!(sender.send(&last), answer);
    // Under a new message id it is another request, and the beginning is gone (RFC 7959 §2.9.2).
    assert!(sender.block(1).starts_with("ACK 4.08 #3 "));
    sender.server.no_request();
}

/// RFC 7959 §2.5: not in sequence is 4.08; the last block ends the transfer either way.
#[test]
fn blocks_come_in_order() {
    let mut sender = Sender::new(64 * 4, 2);
    assert!(sender.block(1).starts_with("ACK 4.08 #1 t=74 \""), "there is no beginning");
    sender.block(0);
    assert!(sender.block(2).starts_with("ACK 4.08 "), "a gap");
    assert!(sender.block(1).starts_with("ACK 2.31 "), "the missing one may come all the same");
    assert!(sender.block(1).starts_with("ACK 2.31 "), "its answer was lost, and it is the same");
    let other = Msg::con(PUT, 90).token(b"t").path("x").opt(BLOCK1, &option(1, true, 2));
    assert!(sender.send(&other.body(&[9; 64])).starts_with("ACK 4.08 "), "not the same");
    assert!(sender.block(2).starts_with("ACK 2.31 "));
    sender.block(3);
    assert_eq!(sender.finish(CHANGED), "ACK 2.04 #7 t=74 27=32");
    // A last block too early: the transfer fails.
    sender.block(0);
    assert!(sender.block(3).starts_with("ACK 4.08 "));
    assert!(sender.block(1).starts_with("ACK 4.08 "));
    sender.server.no_request();
    assert_eq!(sender.server.endpoint.transfers(), (0, 0));
}

/// RFC 7959 §2.5: a new sequence overwrites the old one; a request in one message does, too.
#[test]
fn block_0_begins_anew() {
    let mut sender = Sender::new(64 * 3, 2);
    sender.block(0);
    sender.block(1);
    sender.block(0);
    assert!(sender.block(2).starts_with("ACK 4.08 "));
    sender.block(0);
    sender.block(1);
    sender.block(2);
    sender.finish(CHANGED);
    sender.block(0);
    let plain = Msg::con(PUT, 50).path("x").opt(BLOCK1, &option(0, false, 2)).body(b"short");
    assert_eq!(sender.send(&plain), "");
    let request = sender.server.request();
    assert_eq!((&request.payload[..], request.more_follows), (&b"short"[..], false));
    assert_eq!(sender.server.respond(request.exchange, CHANGED), ["ACK 2.04 #50 27=02"]);
    assert!(sender.block(1).starts_with("ACK 4.08 "));
}

/// RFC 7959 §2.3: the server's size may be smaller; the next number counts in it.
#[test]
fn the_answer_asks_for_smaller_blocks() {
    let config = Config { block_size: 70, ..Config::default() };
    let mut sender = Sender::to(Server::with(config.clone()), 300, 3);
    assert_eq!(sender.block(0), "ACK 2.31 #1 t=74 27=0a", "0/M/64");
    sender.exponent = 2;
    assert_eq!(sender.block(2), "ACK 2.31 #2 t=74 27=2a", "128 bytes are two blocks");
    assert_eq!(sender.block(3), "ACK 2.31 #3 t=74 27=3a");
    sender.block(4);
    assert_eq!(sender.finish(CHANGED), "ACK 2.04 #4 t=74 27=42");
    // It is a wish: whoever goes on with the old size is understood.
    let mut sender = Sender::to(Server::with(config), 300, 3);
    sender.block(0);
    sender.block(1);
    sender.block(2);
    assert_eq!(sender.finish(CHANGED), "ACK 2.04 #3 t=74 27=23");
}

/// RFC 7959 §2.2: exponent 7 is reserved, and a block has its size.
#[test]
fn blocks_of_another_form_are_refused() {
    for (value, length) in
        [(option(0, true, 7), 64), (option(0, true, 2), 63), (option(0, true, 2), 65)]
    {
        let mut server = Server::new();
        let msg = Msg::con(PUT, 1).path("x").opt(BLOCK1, &value).body(&body(length));
        let sent = server.msg(1, &msg);
        assert!(sent[0].starts_with("ACK 4.00 #1 \""), "{sent:?}");
        server.no_request();
        assert_eq!(server.dropped, [Reason::ProtocolError]);
    }
}

/// RFC 7959 §2.9.3, RFC 7252 §5.9.2.9: 4.13 with Size1, at once where Size1 announces it.
#[test]
fn a_body_has_a_limit() {
    let config = Config { max_body: 200, ..Config::default() };
    let mut sender = Sender::to(Server::with(config.clone()), 200, 2);
    let told = sender.msg(0).opt(SIZE1, &uint(201));
    let sent = sender.send(&told);
    assert_eq!(sent, "ACK 4.13 #1 t=74 60=c8 \"at most 200 bytes are accepted\"");
    assert_eq!(sender.server.dropped, [Reason::TooLarge]);
    let told = sender.msg(0).opt(SIZE1, &uint(200));
    assert!(sender.send(&told).starts_with("ACK 2.31"));
    for number in 1..4 {
        sender.block(number);
    }
    sender.finish(CHANGED);
    let mut sender = Sender::to(Server::with(config.clone()), 201, 2);
    for number in 0..3 {
        assert!(sender.block(number).starts_with("ACK 2.31"));
    }
    assert!(sender.block(3).starts_with("ACK 4.13 #4 t=74 60=c8 "));
    sender.server.no_request();
    assert_eq!(sender.server.endpoint.transfers(), (0, 0));
    // In one message, too; blocks would not help, so that none are asked for.
    let mut server = Server::with(config);
    let sent = server.msg(1, &Msg::con(PUT, 1).path("x").body(&body(201)));
    assert!(sent[0].starts_with("ACK 4.13 #1 60=c8 "), "{sent:?}");
}

/// RFC 9175 §3.3, RFC 7959 §2.9.2: each peer, resource and Request-Tag has a body of its own.
#[test]
fn bodies_are_told_apart() {
    type Change = fn(Msg) -> Msg;
    let changes: [Change; 6] = [
        |msg| msg.opt(REQUEST_TAG, b"\x01"),
        |msg| msg.opt(REQUEST_TAG, b""),
        |msg| msg.opt(11, b"y"),
        |msg| msg.opt(15, b"qos=1"),
        |msg| msg.opt(3, b"gateway"),
        |msg| msg.opt(12, b"\x32"), // Content-Format
    ];
    for change in changes {
        let mut sender = Sender::new(128, 2);
        sender.block(0);
        let msg = change(sender.msg(1));
        assert!(sender.send(&msg).starts_with("ACK 4.08 "), "its beginning is another's");
        let first = change(sender.msg(0));
        assert!(sender.send(&first).starts_with("ACK 2.31 "));
        assert_eq!(sender.server.endpoint.transfers().0, 2, "side by side");
        sender.block(1);
        sender.finish(CHANGED);
        let last = change(sender.msg(1));
        sender.send(&last);
        sender.finish(CHANGED);
    }
    // Another peer with the same options.
    let mut sender = Sender::new(128, 2);
    sender.block(0);
    let last = sender.msg(1);
    assert!(sender.server.msg(2, &last)[0].starts_with("ACK 4.08 "));
    sender.server.no_request();
}

/// `block_timeout`, from the last block.
#[test]
fn a_body_waits_so_long() {
    let mut sender = Sender::new(64 * 3, 2);
    sender.block(0);
    sender.server.advance(Duration::from_secs(29));
    assert!(sender.block(1).starts_with("ACK 2.31 "));
    sender.server.advance(Duration::from_secs(29));
    assert_eq!(sender.server.endpoint.transfers().0, 1);
    sender.server.advance(Duration::from_secs(1));
    assert_eq!(sender.server.endpoint.transfers(), (0, 0));
    assert!(sender.block(2).starts_with("ACK 4.08 "));
    assert_eq!(sender.server.endpoint.counters().blocks_expired, 1);
    sender.server.advance(Duration::from_secs(600));
    assert_eq!((sender.server.endpoint.peers(), sender.server.endpoint.poll_timeout()), (0, None));
}

/// RFC 9175 §3.3: 5.03 with Max-Age for one body too many of a peer.
#[test]
fn a_peer_has_so_many_bodies_at_once() {
    let mut sender = Sender::new(128, 2);
    for tag in 0..4 {
        let msg = sender.msg(0).opt(REQUEST_TAG, &[tag]);
        assert!(sender.send(&msg).starts_with("ACK 2.31 "));
    }
    let msg = sender.msg(0).opt(REQUEST_TAG, &[9]);
    assert_eq!(sender.send(&msg), "ACK 5.03 #5 t=74 14=1e \"too many bodies in blocks at once\"");
    assert_eq!(sender.server.dropped, [Reason::QuotaExceeded]);
    assert_eq!(sender.server.endpoint.counters().blocks_per_peer_refused, 1);
    // Another peer has its own; one that is finished makes room.
    let other = Msg::con(PUT, 1).path("x").opt(BLOCK1, &option(0, true, 0)).body(&body(16));
    sender.server.msg(2, &other);
    assert!(sender.server.request().more_follows);
    let msg = sender.msg(1).opt(REQUEST_TAG, &[0]);
    sender.send(&msg);
    sender.finish(CHANGED);
    let msg = sender.msg(0).opt(REQUEST_TAG, &[9]);
    assert!(sender.send(&msg).starts_with("ACK 2.31 "));
}

/// All bodies together have a bound; one that nobody goes on with gives way to a new one.
#[test]
fn memory_is_bounded() {
    let config = Config {
        max_block_bytes: 8_000,
        max_blocks_in_progress_per_peer: 100,
        ..Config::default()
    };
    let mut server = Server::with(config);
    let first =
        |id: u16| Msg::con(PUT, id).path("x").opt(BLOCK1, &option(0, true, 6)).body(&body(1_024));
    let mut refused = 0;
    for port in 0..20 {
        let sent = server.msg(port, &first(1));
        if sent.is_empty() {
            let exchange = server.request().exchange;
            server.respond(exchange, CONTINUE);
        } else {
            assert!(sent[0].starts_with("ACK 5.03 #1 14=1e "), "{sent:?}");
            refused += 1;
        }
        assert!(server.endpoint.transfers().1 <= 8_000);
    }
    assert_eq!((refused, server.endpoint.transfers().0), (14, 6));
    assert_eq!(server.endpoint.counters().blocks_refused, 14);
    server.advance(Duration::from_secs(5));
    assert!(server.msg(30, &first(1)).is_empty(), "the oldest gave way");
    assert_eq!(server.endpoint.counters().blocks_evicted, 1);
    let next = Msg::con(PUT, 2).path("x").opt(BLOCK1, &option(1, false, 6)).body(b"end");
    assert!(server.msg(0, &next)[0].starts_with("ACK 4.08 "));
}

/// What would be refused in the end is refused at the first block, and its body is forgotten.
#[test]
fn the_layer_above_may_refuse_at_once() {
    let mut sender = Sender::new(128, 2);
    let msg = sender.msg(0);
    sender.server.msg(1, &msg);
    let request = sender.server.request();
    assert!(request.more_follows && request.confirmable && request.method == Method::Put);
    let refusal = Response::error(Code::METHOD_NOT_ALLOWED, "no");
    let sent = sender.server.respond(request.exchange, refusal);
    assert_eq!(sent, ["ACK 4.05 #1 t=74 27=02 \"no\""]);
    assert_eq!(sender.server.endpoint.transfers(), (0, 0));
    assert!(sender.block(1).starts_with("ACK 4.08 "));
}

/// The answer to the last block says which block it answers, whatever it is.
#[test]
fn an_error_of_the_whole_answers_the_last_block() {
    let mut sender = Sender::new(128, 2);
    sender.block(0);
    sender.block(1);
    let error = Response::error(Code::PRECONDITION_FAILED, "exists");
    assert_eq!(sender.finish(error), "ACK 4.12 #2 t=74 27=12 \"exists\"");
    sender.block(0);
    sender.block(1);
    let error = Response::error(Code::REQUEST_ENTITY_TOO_LARGE, "big");
    assert_eq!(sender.finish(error), "ACK 4.13 #4 t=74 \"big\"", "no hint to smaller blocks");
}

/// NON blocks are answered by NON with ids of our own, each once (RFC 7252 §5.2.3, §4.5).
#[test]
fn blocks_may_be_non_confirmable() {
    let mut sender = Sender::new(150, 2);
    sender.confirmable = false;
    assert_eq!(sender.block(0), "NON 2.31 #* t=74 27=0a");
    let second = sender.msg(1);
    assert_eq!(sender.send(&second), "NON 2.31 #* t=74 27=1a");
    assert_eq!(sender.send(&second), "", "a repeated NON is ignored");
    sender.block(2);
    assert_eq!(sender.finish(CHANGED), "NON 2.04 #* t=74 27=22");
}

/// RFC 7967 §2.1: who wants no 2.xx still has to be told to go on.
#[test]
fn no_response_does_not_silence_2_31() {
    let mut sender = Sender::new(128, 2);
    sender.confirmable = false;
    let first = sender.msg(0).opt(258, &[2]);
    assert_eq!(sender.send(&first), "NON 2.31 #* t=74 27=0a");
    let last = sender.msg(1).opt(258, &[2]);
    sender.send(&last);
    assert_eq!(sender.finish(CHANGED), "");
}

/// A durable answer waits for the journal, and a repeated last block meanwhile does nothing.
#[test]
fn the_last_block_waits_for_the_journal() {
    let mut sender = Sender::new(128, 2);
    sender.server.durable = true;
    assert!(sender.block(0).starts_with("ACK 2.31"));
    let last = sender.msg(1);
    sender.send(&last);
    let exchange = sender.server.request().exchange;
    assert!(sender.server.respond_after(exchange, CHANGED, Seq(5)).is_empty());
    assert_eq!(sender.server.committed(5), ["ACK 2.04 #2 t=74 27=12"]);
    assert_eq!(sender.send(&last), "ACK 2.04 #2 t=74 27=12");
    sender.server.no_request();
}

/// RFC 7959 §2.7: after the last Block1 the answer leaves in Block2, and is not made again.
#[test]
fn both_directions_in_one_exchange() {
    let whole = |length: usize| Response {
        payload: "y".repeat(length).into(),
        etag: Some(7),
        content_format: Some(0),
        ..CHANGED
    };
    let mut sender = Sender::new(128, 2);
    let ask = |msg: Msg, number: u32| msg.opt(BLOCK2, &option(number, false, 2));
    let first = ask(sender.msg(0), 0);
    assert_eq!(sender.send(&first), "ACK 2.31 #1 t=74 27=0a");
    let last = ask(sender.msg(1), 0);
    sender.send(&last);
    let y = "y".repeat(64);
    let answer = format!("ACK 2.04 #2 t=74 4=0000000000000007 12= 23=0a 27=12 28=96 {y:?}");
    assert_eq!(sender.finish(whole(150)), answer);
    assert_eq!(sender.send(&last), answer, "remembered");
    // The rest, in any order, without the body.
    let rest = |id, number| Msg::con(PUT, id).path("x").opt(BLOCK2, &option(number, false, 2));
    let tail = "y".repeat(22);
    let answer = format!("ACK 2.04 #11 4=0000000000000007 12= 23=22 {tail:?}");
    assert_eq!(sender.send(&rest(11, 2)), answer);
    assert!(sender.send(&rest(12, 1)).starts_with("ACK 2.04 #12 4=0000000000000007 12= 23=1a "));
    assert!(sender.send(&rest(13, 3)).starts_with("ACK 4.00 #13 "), "behind the end");
    assert!(sender.send(&Msg::con(POST, 14).path("x").opt(BLOCK2, b"\x12")).contains("4.08"));
    sender.server.no_request();
    sender.server.advance(Duration::from_secs(31));
    assert!(sender.send(&rest(15, 1)).starts_with("ACK 4.08 #15 "), "kept so long");
    assert_eq!(sender.server.endpoint.transfers(), (0, 0));
}

/// RFC 7959 §2.7, RFC 8132 §2: answers in blocks that are kept for a peer, whether it has read them or not,
/// stand in the way of no body of its own; of too many the oldest goes.
#[test]
fn answers_that_are_kept_do_not_stop_a_peer() {
    let mut server = Server::new();
    let long = || Response { payload: "y".repeat(150).into(), ..CHANGED };
    let ask = |n: u16, id: u16, number: u32| {
        let msg = Msg::con(POST, id).path(&format!("x{n}"));
        msg.opt(BLOCK2, &option(number, false, 2))
    };
    for n in 0..8 {
        server.msg(1, &ask(n, n, 0));
        let request = server.request();
        let said = server.respond(request.exchange, long()).join(" & ");
        assert!(said.starts_with(&format!("ACK 2.04 #{n} ")), "{said}");
    }
    assert_eq!(server.endpoint.transfers().0, 4);
    let mut rest = |n: u16| server.msg(1, &ask(n, 20 + n, 1)).join(" & ");
    for n in 0..8 {
        let code = if n < 4 { "4.08" } else { "2.04" };
        assert!(rest(n).starts_with(&format!("ACK {code} #{} ", 20 + n)), "{n}");
    }
    // There is room for a body of the peer's own.
    server.msg(1, &Msg::con(PUT, 30).path("x").opt(BLOCK1, &option(0, true, 0)).body(&body(16)));
    assert!(server.request().more_follows);
}

/// RFC 7959 §2.7, RFC 9175 §2.4: the answer says which block it answers, and that is part of what an
/// address in doubt may be sent: whatever is cut for it is kept, for every length.
#[test]
fn whatever_is_cut_beside_a_block1_is_kept() {
    let block2 = |text: &str| {
        let word = text.split(' ').find_map(|word| word.strip_prefix("23="))?;
        Some(u32::from_str_radix(word, 16).unwrap())
    };
    let (mut cut, mut whole) = (0, 0);
    for length in 30..200 {
        let mut server = Server::new();
        server.ip = [192, 0, 2, 1];
        let mut sender = Sender::to(server, 16, 0);
        assert_eq!(sender.block(0), "");
        let said = sender.finish(Response { payload: "z".repeat(length).into(), ..CHANGED });
        assert!(said.starts_with("ACK 2.04 #1 t=74"), "{length}: {said}");
        let Some(value) = block2(&said) else {
            whole += 1;
            continue;
        };
        cut += 1;
        let next = Msg::con(PUT, 9).path("x").opt(BLOCK2, &option(1, false, value & 7));
        let said = sender.send(&next);
        assert!(said.starts_with("ACK 2.04 #9 "), "{length}: {said}");
        sender.server.no_request();
    }
    assert!(cut > 20 && whole > 20, "{cut} {whole}");
}

/// What fits a message is not kept, and GET is asked again for each block.
#[test]
fn little_is_kept() {
    let mut sender = Sender::new(128, 2);
    sender.block(0);
    sender.block(1);
    sender.finish(Response { payload: "short".into(), ..CHANGED });
    assert_eq!(sender.server.endpoint.transfers(), (0, 0));
    let mut server = Server::new();
    server.msg(1, &Msg::con(GET, 1).path("x").opt(BLOCK2, b"\x02"));
    let exchange = server.request().exchange;
    server.respond(
        exchange,
        Response { payload: "z".repeat(99).into(), ..Response::new(Code::CONTENT) },
    );
    assert_eq!(server.endpoint.transfers(), (0, 0));
    server.msg(1, &Msg::con(DELETE, 2).path("x").opt(BLOCK2, b"\x02"));
    let exchange = server.request().exchange;
    assert_eq!(server.respond(exchange, Response::new(Code::DELETED)), ["ACK 2.02 #2"]);
}

/// Our client and our server, whatever either one's size is; and bodies that are refused.
#[test]
fn our_client_sends_the_whole() {
    for (length, block_size, wish, code) in [
        (1_025, 1_024, 1_024, Code::CHANGED),
        (50_000, 1_024, 1_024, Code::CHANGED),
        (5_000, 1_024, 16, Code::CHANGED),
        (5_000, 100, 1_024, Code::CHANGED),
        (256 * 1_024, 1_024, 1_024, Code::CHANGED),
        (256 * 1_024 + 1, 1_024, 1_024, Code::REQUEST_ENTITY_TOO_LARGE),
    ] {
        let turn = Turn::new(Instant::from_secs(1), Wall::from_millis(1));
        let mut server = Endpoint::new(Config { block_size, ..Config::default() }, 1);
        let mut client = Client::new(Config::default(), 2);
        client.set_block_size(wish);
        client.request(turn.now, client::Request::new(Method::Post, "x").payload(body(length)));
        let mut whole = 0;
        while let Some(bytes) = client.poll_transmit() {
            server.handle_datagram(&turn, peer(1), &bytes);
            while let Some(event) = server.poll_event() {
                let Event::Request(request) = event else { continue };
                let response = if request.more_follows { CONTINUE } else { CHANGED };
                if !request.more_follows {
                    assert_eq!(request.payload, body(length));
                    whole += 1;
                }
                server.respond(&turn, request.exchange, response, Seq::NONE);
            }
            let answers: Vec<Vec<u8>> =
                server.transmits().iter().map(|(_, bytes)| bytes.to_vec()).collect();
            server.transmits().clear();
            answers.iter().for_each(|bytes| client.handle_datagram(turn.now, bytes));
        }
        let codes: Vec<Code> = std::iter::from_fn(|| client.poll_event())
            .filter_map(|event| match event {
                client::Event::Response { response, .. } => Some(response.code),
                _ => None,
            })
            .collect();
        assert_eq!(codes, [code], "{length} {block_size} {wish}");
        assert_eq!(whole, usize::from(code == Code::CHANGED));
        assert_eq!(server.transfers(), (0, 0));
    }
}
