//! RFC 8323 §6 and §7 on a virtual clock: BERT blocks and observations of connections.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::time::Duration;

use motegate_coap::Config;
use motegate_coap::endpoint::{Code, Event, Response};
use motegate_message::Reason;
use support::stream::{CSM, Streams, conn, frame, web};
use support::{GET, Msg, PUT, content};

const NOTHING: [&str; 0] = [];

/// A peer that takes messages of so many bytes, and blocks.
fn csm(max: u16) -> Msg {
    Msg::con(CSM, 0).opt(2, &max.to_be_bytes()).opt(4, &[])
}

fn open(max: u16) -> Streams {
    let mut streams = Streams::new();
    streams.open(1);
    assert_eq!(streams.say(1, &csm(max)), NOTHING);
    streams
}

fn get(token: &[u8]) -> Msg {
    Msg::con(GET, 0).token(token).path("x")
}

fn body(length: usize) -> Response {
    let payload: Vec<u8> = (0_u8..251).cycle().take(length).collect();
    Response { payload: payload.into(), etag: Some(7), ..Response::new(Code::CONTENT) }
}

/// §6.1: the figure's body of 12,903 bytes, in as many blocks at once as fit the client's
/// Max-Message-Size of "around 6000 bytes".
#[test]
fn a_large_body_leaves_in_bert_blocks() {
    let mut streams = open(6_000);
    let (mut number, mut whole, mut sizes) = (0_u32, Vec::new(), Vec::new());
    loop {
        let mut request = get(b"t");
        if number > 0 {
            request = request.opt(23, &(number << 4 | 7).to_be_bytes()[2..]);
        }
        assert_eq!(streams.say(1, &request), NOTHING);
        let request = streams.request();
        assert_eq!(request.later_block, number > 0);
        streams.answer(&request, body(12_903));
        let packet = &support::stream::messages(&streams.raw)[0];
        let block = packet.get_first_option(coap_lite::CoapOption::Block2).unwrap();
        let block = block.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte));
        assert_eq!((block & 7, block >> 4), (7, number), "BERT, at the place asked for");
        assert!(streams.raw.len() <= 6_000);
        sizes.push(packet.payload.len());
        whole.extend_from_slice(&packet.payload);
        if block & 8 == 0 {
            break;
        }
        assert_eq!(packet.payload.len() % 1_024, 0, "not the last: whole blocks");
        number += u32::try_from(packet.payload.len() / 1_024).unwrap();
    }
    assert_eq!(sizes, [5_120, 5_120, 2_663]);
    assert_eq!(whole, body(12_903).payload);
}

/// §5.3.2: BERT is what both values say; §6: in a request the option itself says it, and a smaller size
/// is kept to.
#[test]
fn blocks_are_as_large_as_both_sides_take() {
    let sent = |streams: &mut Streams, request: &Msg| {
        assert_eq!(streams.say(1, request), NOTHING);
        let request = streams.request();
        streams.answer(&request, body(3_000)).remove(0)
    };
    // No Block-Wise-Transfer: no BERT of our own accord.
    let mut streams = Streams::new();
    streams.open(1);
    streams.say(1, &Msg::con(CSM, 0).opt(2, &[9, 0]));
    assert!(sent(&mut streams, &get(b"t")).contains("23=0e 28=0bb8 1024 bytes"));
    assert!(sent(&mut streams, &get(b"t").opt(23, &[7])).contains("23=0e 28=0bb8 1024 bytes"));
    // No larger message than the base value.
    let mut streams = open(1_152);
    assert!(sent(&mut streams, &get(b"t")).contains("23=0e 28=0bb8 1024 bytes"));
    let mut streams = open(2_304);
    assert!(sent(&mut streams, &get(b"t")).contains("23=0f 28=0bb8 2048 bytes"));
    assert!(sent(&mut streams, &get(b"t").opt(23, &[6])).contains("23=0e 28=0bb8 1024 bytes"));
    assert!(sent(&mut streams, &get(b"t").opt(23, &[3])).contains("23=0b 28=0bb8 128 bytes"));
    assert!(sent(&mut streams, &get(b"t").opt(23, &[0x27])).contains("23=27 952 bytes"));
    assert!(sent(&mut streams, &get(b"t").opt(23, &[0x37])).starts_with("4.00"), "behind the end");
    // Without a block option, what fits leaves whole.
    let mut streams = open(4_000);
    let whole = sent(&mut streams, &get(b"t"));
    assert!(!whole.contains(" 23=") && whole.contains("3000 bytes"));
    assert!(sent(&mut streams, &get(b"t").opt(23, &[7])).contains(" 23=07 3000 bytes"));
    // Ours is small: none, and SZX 7 of a request's body is what it is to datagrams.
    let config = Config { max_message_size: 1_152, ..Config::default() };
    let mut streams = Streams::with(config);
    streams.open(1);
    streams.say(1, &csm(9_000));
    assert!(sent(&mut streams, &get(b"t").opt(23, &[7])).contains("1024 bytes"));
    let put = Msg::con(PUT, 0).token(b"t").path("x").opt(27, &[0x0f]).body(&[1; 1_024]);
    assert!(streams.say(1, &put)[0].starts_with("4.00"));
}

/// §6.2: the figure: 8,192, 16,384 and 5,683 bytes become one request of 30,259.
#[test]
fn bert_blocks_become_one_request() {
    let mut streams = open(9_000);
    let whole = body(30_259).payload;
    let put = |number: u32, more: bool, at: usize, length: usize| {
        let option = number << 4 | u32::from(more) << 3 | 7;
        let option = option.to_be_bytes();
        let skip = option.iter().take_while(|byte| **byte == 0).count();
        let part = &whole[at..at + length];
        Msg::con(PUT, 0).token(b"t").path("options").opt(27, &option[skip..]).body(part)
    };
    assert_eq!(streams.say(1, &put(0, true, 0, 8_192)), NOTHING);
    let request = streams.request();
    assert!(request.more_follows);
    assert_eq!(streams.answer(&request, Response::new(Code::CONTINUE)), ["2.31 t=74 27=0f"]);
    assert_eq!(streams.say(1, &put(8, true, 8_192, 16_384)), ["2.31 t=74 27=8f"]);
    assert_eq!(streams.say(1, &put(8, true, 8_192, 16_384)), ["2.31 t=74 27=8f"], "once more");
    assert_eq!(streams.say(1, &put(24, false, 24_576, 5_683)), NOTHING);
    let request = streams.request();
    assert_eq!(request.payload, whole);
    assert_eq!(streams.answer(&request, Response::new(Code::CHANGED)), ["2.04 t=74 27=0187"]);
    // Not the last, and no whole blocks.
    assert!(streams.say(1, &put(0, true, 0, 1_500))[0].starts_with("4.00"));
    assert!(streams.say(1, &put(0, true, 0, 0))[0].starts_with("4.00"));
    // A gap.
    streams.say(1, &put(0, true, 0, 2_048));
    let request = streams.request();
    streams.answer(&request, Response::new(Code::CONTINUE));
    assert!(streams.say(1, &put(3, true, 3_072, 1_024))[0].starts_with("4.08"));
}

/// RFC 7959 §2.3: blocks of other sizes come as they do in datagrams; a body in one message needs none.
#[test]
fn bodies_come_in_any_size() {
    let mut streams = open(9_000);
    streams.say(1, &Msg::con(PUT, 0).token(b"t").path("x").body(&[1; 60_000]));
    assert_eq!(streams.request().payload.len(), 60_000);
    streams.say(1, &Msg::con(PUT, 0).path("x").opt(27, &[0x0a]).body(&[1; 64]));
    let request = streams.request();
    assert_eq!(streams.answer(&request, Response::new(Code::CONTINUE)), ["2.31 27=0a"]);
    streams.say(1, &Msg::con(PUT, 0).path("x").opt(27, &[0x12]).body(&[2; 3]));
    assert_eq!(streams.request().payload.len(), 67);
    let config = Config { max_body: 1_000, ..Config::default() };
    let mut streams = Streams::with(config);
    streams.open(1);
    let sent = streams.say(1, &Msg::con(PUT, 0).path("x").body(&[1; 1_001]));
    assert_eq!(sent, ["4.13 60=03e8 \"at most 1000 bytes are accepted\""]);
}

/// §3.4: what was begun ends with the connection, and its memory is free.
#[test]
fn bodies_in_parts_end_with_the_connection() {
    let mut streams = open(9_000);
    streams.say(1, &Msg::con(PUT, 0).path("x").opt(27, &[0x0f]).body(&[1; 1_024]));
    let request = streams.request();
    streams.answer(&request, Response::new(Code::CONTINUE));
    assert_eq!(streams.endpoint.transfers().0, 1);
    streams.lost(1);
    assert_eq!(streams.endpoint.transfers(), (0, 0));
    assert_eq!((streams.endpoint.peers(), streams.endpoint.connections()), (0, 0));
    assert_eq!(streams.ended_by(1).0, Reason::ConnectionLost);
}

/// §7.1, §7.2: notifications carry the token and an Observe option, and nothing is acknowledged.
#[test]
fn an_observer_is_told_each_value() {
    let mut streams = Streams::new();
    streams.open(1);
    let observation = streams.observe(1, &get(b"o").opt(6, &[]), content("1"));
    for (delivery, value) in [(1, "2"), (2, "3"), (3, "4")] {
        let sent = streams.tell(observation, delivery, value);
        assert_eq!(sent, [format!("2.05 t=6f observe {value:?}")]);
        assert_eq!(streams.notified(), [delivery]);
    }
    // No CON now and then, no repetition, no end for want of an acknowledgement.
    assert_eq!(streams.wait(Duration::from_secs(500)), NOTHING);
    assert_eq!(streams.endpoint.observations(), 1);
    // RFC 7641 §4.2: an error is the last.
    let turn = streams.turn();
    streams.endpoint.end_observation(&turn, observation, Response::new(Code::NOT_FOUND));
    assert_eq!(streams.flush(), ["4.04 t=6f"]);
    assert_eq!((streams.endpoint.observations(), streams.endpoint.peers()), (0, 0));
}

/// §7.4: a GET with Observe 1 and the token ends it, as does a new registration with its token.
#[test]
fn a_get_cancels() {
    let mut streams = Streams::new();
    streams.open(1);
    streams.observe(1, &get(b"o").opt(6, &[]), content("1"));
    streams.say(1, &get(b"p").opt(6, &[1]));
    let request = streams.request();
    streams.answer(&request, content("1"));
    assert_eq!(streams.endpoint.observations(), 1, "another token");
    streams.say(1, &get(b"o").opt(6, &[1]));
    assert_eq!(streams.endpoint.observations(), 0);
    let Some(Event::Request(request)) = streams.events.pop() else { panic!() };
    assert_eq!(streams.ended().len(), 1);
    assert_eq!(streams.answer(&request, content("1")), ["2.05 t=6f \"1\""]);
    let old = streams.observe(1, &get(b"o").opt(6, &[]), content("1"));
    streams.say(1, &get(b"o").opt(6, &[]));
    let request = streams.request();
    let turn = streams.turn();
    let new = streams.endpoint.observe(&turn, request.exchange).unwrap();
    streams.answer(&request, Response { observe: Some(new), ..content("2") });
    assert_eq!(streams.ended(), [(old, Reason::TakenOver)]);
}

/// §3.4, §7.4: "MUST remove all entries associated with the client endpoint from the lists of observers
/// when the connection is either closed or times out".
#[test]
fn observations_end_with_the_connection() {
    for by in ["closed", "abort", "time"] {
        let mut streams = Streams::new();
        streams.open(1);
        streams.open(2);
        let mut all: Vec<_> =
            (0..5_u8).map(|n| streams.observe(1, &get(&[n]).opt(6, &[]), content("1"))).collect();
        let other = streams.observe(2, &get(&[0]).opt(6, &[]), content("1"));
        match by {
            "closed" => streams.lost(1),
            "abort" => drop(streams.bytes(1, &[0x0f])),
            _ => {
                for _ in 0..25 {
                    streams.wait(Duration::from_secs(30));
                    streams.bytes(2, &[0, 0]);
                }
            }
        }
        streams.ended_by(1);
        let mut ended = streams.ended();
        ended.sort();
        all.sort();
        let lost: Vec<_> = all.into_iter().map(|id| (id, Reason::ConnectionLost)).collect();
        assert_eq!(ended, lost, "{by}");
        assert_eq!(streams.endpoint.observations(), 1);
        assert_eq!(streams.tell(other, 1, "2"), ["2.05 t=00 observe \"2\""]);
    }
}

/// Whoever does not read has the latest value of each thing that it observes, when it does.
#[test]
fn a_slow_reader_gets_the_latest() {
    let config = Config { max_outbox_bytes: 1_000, ..Config::default() };
    let mut streams = Streams::with(config);
    streams.open(1);
    let a = streams.observe(1, &get(b"a").opt(6, &[]), content("1"));
    let b = streams.observe(1, &get(b"b").opt(6, &[]), content("1"));
    streams.reads = false;
    let long = "x".repeat(900);
    streams.tell(a, 1, &long);
    streams.tell(a, 2, &long);
    assert_eq!(streams.notified(), [1, 2]);
    for n in 3..100_u64 {
        streams.tell(if n % 2 == 0 { a } else { b }, n, &n.to_string());
    }
    let limited = streams
        .events
        .iter()
        .filter(|event| matches!(event, Event::Limited { limit: "max_outbox_bytes", .. }))
        .count();
    assert_eq!(limited, 1, "told once");
    streams.events.retain(|event| !matches!(event, Event::Limited { .. }));
    assert_eq!(streams.notified(), (3..=97).collect::<Vec<_>>(), "what was replaced");
    assert!(streams.endpoint.outbox(conn(1)).len() < 2_000);
    assert_eq!(streams.read(conn(1)).len(), 2);
    streams.reads = true;
    let mut sent = streams.flush();
    sent.sort();
    assert_eq!(sent, ["2.05 t=61 observe \"98\"", "2.05 t=62 observe \"99\""]);
    let mut notified = streams.notified();
    notified.sort_unstable();
    assert_eq!(notified, [98, 99]);
}

/// RFC 7641 §4.1: limits mean no Observe; what is behind `max_observers_per_peer` is one connection's.
#[test]
fn a_connection_has_so_many_observations() {
    let config = Config { max_observers_per_peer: 2, ..Config::default() };
    let mut streams = Streams::with(config);
    streams.open(1);
    streams.open(2);
    for n in 0..2 {
        streams.observe(1, &get(&[n]).opt(6, &[]), content("1"));
    }
    streams.say(1, &get(b"x").opt(6, &[]));
    let request = streams.request();
    let turn = streams.turn();
    assert_eq!(streams.endpoint.observe(&turn, request.exchange), None);
    assert_eq!(streams.answer(&request, content("1")), ["2.05 t=78 \"1\""]);
    streams.observe(2, &get(&[0]).opt(6, &[]), content("1"));
}

/// §6: a notification is as much of a body as fits at once.
#[test]
fn a_large_notification_is_a_bert_block() {
    let mut streams = open(5_000);
    let observation = streams.observe(1, &get(b"o").opt(6, &[]), content("1"));
    assert_eq!(streams.endpoint.notification_room(observation), 5_000 - 47);
    let sent = streams.tell(observation, 1, &"x".repeat(4_900));
    assert_eq!(sent, ["2.05 t=6f observe 4900 bytes"]);
    let sent = streams.tell(observation, 2, &"x".repeat(10_000));
    assert_eq!(sent, ["2.05 t=6f observe 23=0f 28=2710 4096 bytes"]);
    assert_eq!(streams.notified(), [1, 2]);
    let small = streams.observe(1, &get(b"s").opt(6, &[]).opt(23, &[4]), content("1"));
    let sent = streams.tell(small, 3, &"x".repeat(1_000));
    assert_eq!(sent, ["2.05 t=73 observe 23=0c 28=03e8 256 bytes"]);
}

/// Over WebSocket it is all the same.
#[test]
fn a_websocket_observes() {
    let mut streams = Streams::new();
    streams.accept(1);
    streams.part(1, &web(&csm(4_000)), true);
    streams.connected(1);
    streams.part(1, &web(&get(b"o").opt(6, &[])), true);
    let request = streams.request();
    let turn = streams.turn();
    let observation = streams.endpoint.observe(&turn, request.exchange).unwrap();
    let response = Response { observe: Some(observation), ..content("1") };
    assert_eq!(streams.answer(&request, response), ["2.05 t=6f observe \"1\""]);
    assert_eq!(streams.tell(observation, 1, "2"), ["2.05 t=6f observe \"2\""]);
}

/// Requests behind the bound of an outbox wait in order, whole and in pieces, on both transports.
#[test]
fn what_waits_for_room_keeps_its_order() {
    for web_socket in [false, true] {
        let mut streams = open(9_000);
        let mut answered = Vec::new();
        for n in 0..60_u8 {
            let msg = get(&[n]);
            let sent = if web_socket {
                streams.part(1, &web(&msg), true)
            } else {
                let bytes = frame(&msg);
                streams.bytes(1, &bytes[..2]);
                streams.bytes(1, &bytes[2..])
            };
            assert_eq!(sent, NOTHING);
        }
        while !streams.events.is_empty() {
            for event in std::mem::take(&mut streams.events) {
                let Event::Request(request) = event else { panic!("{event:?}") };
                answered.extend(streams.answer(&request, content("v")));
            }
        }
        let all: Vec<String> = (0..60_u8).map(|n| format!("2.05 t={n:02x} \"v\"")).collect();
        assert_eq!(answered, all);
    }
}
