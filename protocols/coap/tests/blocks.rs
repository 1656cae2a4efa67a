//! Representations in blocks (RFC 7959, Block2) from the server's side: what each request for a
//! part gets, and a whole transfer with our own client. TD_COAP_BLOCK_01, 02 and 06,
//! TD_COAP_OBS_13 and 14.
#![allow(missing_docs, clippy::unwrap_used, clippy::cast_possible_truncation)]

mod support;

use coap_lite::{CoapOption, Packet};
use motegate_coap::client::{self, Client};
use motegate_coap::endpoint::{Code, Method, Response};
use motegate_coap::{Config, Endpoint};
use motegate_message::{Reason, Seq, Turn, Wall};
use motegate_timers::Instant;
use support::{DELETE, GET, Msg, PUT, Server, note, peer};

const OBSERVE: u16 = 6;
const BLOCK2: u16 = 23;
const SIZE2: u16 = 28;
const ETAG: u64 = 0x0102_0304_0506_0708;

fn body(length: usize) -> String {
    (0..length).map(|i| char::from(b'a' + (i / 16 % 26) as u8)).collect()
}

fn representation(length: usize) -> Response {
    Response {
        payload: body(length).into(),
        etag: Some(ETAG),
        content_format: Some(0),
        ..Response::new(Code::CONTENT)
    }
}

fn uint(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte))
}

/// Code, Block2 as number/more/size, Size2, payload: what a GET with these options gets of a
/// representation of this length.
fn get(length: usize, options: &[(u16, &[u8])]) -> (String, Option<String>, Option<u32>, String) {
    let mut server = Server::new();
    let msg = options.iter().fold(Msg::con(GET, 1).path("x"), |msg, (n, value)| msg.opt(*n, value));
    let sent = server.msg(1, &msg);
    if sent.is_empty() {
        let exchange = server.request().exchange;
        server.respond(exchange, representation(length));
    }
    assert_eq!(server.sent.len(), 1, "one datagram for one");
    let packet = Packet::from_bytes(&server.sent[0].1).unwrap();
    let option = |number: u16| packet.get_first_option(CoapOption::from(number)).map(|v| uint(v));
    let code = packet.header.get_code();
    if code == "2.05" {
        let etag = packet.get_first_option(CoapOption::ETag).unwrap();
        assert_eq!(etag[..], ETAG.to_be_bytes(), "every block says which body it is of");
        assert!(packet.get_first_option(CoapOption::ContentFormat).is_some());
    }
    let block = option(BLOCK2)
        .map(|v| format!("{}/{}/{}", v >> 4, if v & 8 == 0 { "-" } else { "M" }, 16 << (v & 7)));
    (code, block, option(SIZE2), String::from_utf8(packet.payload).unwrap())
}

#[test]
fn each_request_gets_the_part_that_it_asks_for() {
    type Case<'a> = (usize, &'a [u8], &'a str, Option<u32>, std::ops::Range<usize>);
    let cases: &[Case<'_>] = &[
        // Early negotiation, every size; the last block is short, or full.
        (300, b"\x00", "0/M/16", Some(300), 0..16),
        (300, b"", "0/M/16", Some(300), 0..16),
        (300, b"\x03", "0/M/128", Some(300), 0..128),
        (300, b"\x13", "1/M/128", None, 128..256),
        (300, b"\x23", "2/-/128", None, 256..300),
        (256, b"\x13", "1/-/128", None, 128..256),
        (2_000, b"\x06", "0/M/1024", Some(2_000), 0..1_024),
        (2_000, b"\x16", "1/-/1024", None, 1_024..2_000),
        // A body that fits says that it is all.
        (100, b"\x06", "0/-/1024", None, 0..100),
        (0, b"\x02", "0/-/64", None, 0..0),
        // Late negotiation goes on where the larger block ended; M means nothing in a request.
        (2_000, b"\x42", "4/M/64", None, 256..320),
        (2_000, b"\x4a", "4/M/64", None, 256..320),
        // Far behind: two bytes of number.
        (70_000, b"\x04\x44", "68/M/256", None, 17_408..17_664),
    ];
    for (length, option, block, size, range) in cases {
        let got = get(*length, &[(BLOCK2, option)]);
        let part = body(*length)[range.clone()].to_owned();
        assert_eq!(got, ("2.05".into(), Some((*block).into()), *size, part), "{length} {option:?}");
    }
    // Without the option: whole while it fits, then the largest blocks.
    assert_eq!(get(1_024, &[]), ("2.05".into(), None, None, body(1_024)));
    let (_, block, size, part) = get(1_025, &[]);
    assert_eq!((block.as_deref(), size, part.len()), (Some("0/M/1024"), Some(1_025), 1_024));
    // Size2 asks how much there is.
    assert_eq!(get(10, &[(SIZE2, b"")]).2, Some(10));
    assert_eq!(get(300, &[(BLOCK2, b"\x13"), (SIZE2, b"")]).2, Some(300));
}

#[test]
fn parts_that_there_are_not_are_refused() {
    for (option, code) in [
        (&b"\x33"[..], "4.00"),        // behind the end
        (b"\xff\xff\xf3", "4.00"),     // far behind it
        (b"\x07", "4.00"),             // exponent 7 is reserved
        (b"\x00\x00\x00\x03", "4.02"), // not a Block2
    ] {
        let (got, block, ..) = get(300, &[(BLOCK2, option)]);
        assert_eq!((got.as_str(), block), (code, None), "{option:?}");
    }
    // Exactly at the end there is nothing left.
    assert_eq!(get(256, &[(BLOCK2, b"\x23")]).0, "4.00");
    // What writes is not done again for a part of its answer.
    for code in [PUT, DELETE] {
        let mut server = Server::new();
        let sent = server.msg(1, &Msg::con(code, 1).path("x").opt(BLOCK2, b"\x12"));
        assert!(sent[0].starts_with("ACK 4.08"), "{sent:?}");
        server.no_request();
    }
    // An error is no representation.
    let mut server = Server::new();
    server.msg(1, &Msg::con(GET, 1).path("x").opt(BLOCK2, b"\x00"));
    let exchange = server.request().exchange;
    let sent = server.respond(exchange, Response::error(Code::NOT_FOUND, "there is nothing here"));
    assert_eq!(sent, ["ACK 4.04 #1 \"there is nothing here\""]);
}

/// RFC 7959 §3.4: a notification is the first block, of the size that the client asked for; the
/// rest is fetched with GETs that neither register nor end anything.
#[test]
fn a_notification_is_a_first_block() {
    for (asked, block, length) in [(None, "ee", 1_024), (Some(2), "0a", 64)] {
        let mut server = Server::new();
        let mut msg = Msg::con(GET, 1).token(b"t").opt(OBSERVE, &[]).path("x");
        if let Some(exponent) = asked {
            msg = msg.opt(BLOCK2, &[exponent]);
        }
        server.msg(1, &msg);
        let exchange = server.request().exchange;
        let turn = server.turn();
        let observation = server.endpoint.observe(&turn, exchange).unwrap();
        let first = Response { observe: Some(observation), ..representation(2_000) };
        let size = "28=07d0"; // Size2 2,000
        let option = format!("23={}", if asked.is_some() { "0a" } else { "0e" });
        let part = &body(2_000)[..length];
        let sent = server.respond(exchange, first);
        let shown = |kind: &str, id: &str, etag: &str| {
            format!("{kind} 2.05 {id} t=74{etag} {option} {size} {part:?}")
        };
        assert_eq!(sent, [shown("ACK", "#1", " 4=0102030405060708 observe 12=")], "{block}");
        for confirmable in [false, true] {
            let sent = server.notify_as(observation, note(1, &body(2_000), confirmable));
            let kind = if confirmable { "CON" } else { "NON" };
            assert_eq!(sent, [shown(kind, "#*", " observe")]);
        }
        // Not acknowledged: what is sent again is the newest value's first block.
        server.notify_as(observation, note(2, &body(1_999), true));
        let again = server.texts(std::time::Duration::from_secs(4));
        assert!(again[0].contains("28=07cf"), "{again:?}");
        let id = server.last_id();
        server.msg(1, &Msg::ack(id));
        // The rest, with the same token, and Observe where a client repeats it.
        server.events.clear();
        server
            .msg(1, &Msg::con(GET, 2).token(b"t").opt(OBSERVE, &[]).path("x").opt(BLOCK2, b"\x16"));
        let request = server.request();
        assert_eq!((request.observe, request.later_block), (None, true));
        let sent = server.respond(request.exchange, representation(2_000));
        assert!(sent[0].contains(" 23=16 ") && !sent[0].contains("observe"), "{sent:?}");
        assert_eq!(server.notify(observation, 3, "short"), ["NON 2.05 #* t=74 observe \"short\""]);
        assert!(server.dropped.iter().all(|reason| *reason != Reason::ProtocolError));
    }
}

/// Our client reads what our server cuts, whatever either side's size is.
#[test]
fn our_client_gets_the_whole() {
    for (length, block_size, wish) in [
        (1_025, 1_024, None),
        (50_000, 1_024, None),
        (5_000, 1_024, Some(1)),
        (5_000, 100, Some(6)),
    ] {
        let turn = Turn::new(Instant::from_secs(1), Wall::from_millis(1));
        let mut server = Endpoint::new(Config { block_size, ..Config::default() }, 1);
        let mut client = Client::new(Config::default(), 2);
        let request = client::Request::new(Method::Get, "x");
        if let Some(exponent) = wish {
            client.set_block_size(16 << exponent);
        }
        client.request(turn.now, request);
        let mut rounds = 0;
        while let Some(bytes) = client.poll_transmit() {
            rounds += 1;
            server.handle_datagram(&turn, peer(1), &bytes);
            while let Some(event) = server.poll_event() {
                if let motegate_coap::endpoint::Event::Request(request) = event {
                    server.respond(&turn, request.exchange, representation(length), Seq::NONE);
                }
            }
            let answers: Vec<Vec<u8>> =
                server.transmits().iter().map(|(_, bytes)| bytes.to_vec()).collect();
            server.transmits().clear();
            answers.iter().for_each(|bytes| client.handle_datagram(turn.now, bytes));
        }
        let mut got = None;
        while let Some(event) = client.poll_event() {
            if let client::Event::Response { response, .. } = event {
                got = Some(response);
            }
        }
        let got = got.expect("an answer");
        assert_eq!(got.payload, body(length).as_bytes(), "{length} {block_size} {wish:?}");
        assert!(rounds > 1);
    }
}
