//! RFC 8323 §3 and §5 on a virtual clock: framing, CSM, Ping, Release, Abort, what ends a connection
//! and what ends with it.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::time::Duration;

use motegate_coap::Config;
use motegate_coap::endpoint::{Code, Event, Response};
use motegate_message::{Reason, Seq};
use support::stream::{ABORT, CSM, PING, PONG, RELEASE, Streams, conn, frame, web};
use support::{GET, Msg, PUT, content};

const NOTHING: [&str; 0] = [];

fn csm() -> Msg {
    Msg::con(CSM, 0)
}

fn get(token: &[u8]) -> Msg {
    Msg::con(GET, 0).token(token).path("x")
}

/// §3.3, §5.3: ours is the first message and does not wait for the other; it says Max-Message-Size and
/// Block-Wise-Transfer.
#[test]
fn our_csm_is_the_first_message_and_says_what_we_take() {
    let mut streams = Streams::new();
    assert_eq!(streams.accept(1), ["CSM 2=010200 4="]);
    assert_eq!(streams.raw, [0x50, 0xe1, 0x23, 1, 2, 0, 0x20]);
    let mut streams = Streams::with(Config { max_message_size: 1_152, ..Config::default() });
    assert_eq!(streams.accept(1), ["CSM 2=0480 4="]);
}

/// §3.3: "MUST treat a missing or invalid CSM as a connection error and abort the connection".
#[test]
fn a_first_message_that_is_no_csm_aborts() {
    for msg in [get(b"t"), Msg::con(PING, 0), Msg::con(0x45, 0), Msg::con(RELEASE, 0)] {
        let mut streams = Streams::new();
        streams.accept(1);
        assert_eq!(streams.say(1, &msg), ["Abort \"the first message must be a CSM\""]);
        assert_eq!(streams.closed, [(conn(1), Reason::ProtocolError)]);
        assert_eq!(streams.ended_by(1).0, Reason::ProtocolError);
        assert!(streams.events.is_empty());
        assert_eq!(streams.say(1, &csm()), NOTHING, "nothing is heard after it");
    }
}

/// §3.3: requests may follow the CSM at once.
#[test]
fn requests_may_come_with_the_csm() {
    let mut streams = Streams::new();
    streams.accept(1);
    streams.bytes(1, &[frame(&csm()), frame(&get(b"t"))].concat());
    let Some(Event::Request(request)) = streams.events.pop() else { panic!() };
    streams.connected(1);
    assert_eq!(request.conn, Some(conn(1)));
    assert!(request.confirmable, "as reliable as a CON");
    assert_eq!(streams.answer(&request, content("v")), ["2.05 t=74 \"v\""]);
}

/// §3.2: messages come in pieces, and several in one.
#[test]
fn messages_are_cut_anywhere() {
    let long = Msg::con(PUT, 0).token(b"12345678").path("x").body(&[b'v'; 300]);
    let all = [frame(&csm()), frame(&get(b"t")), frame(&long), frame(&Msg::con(PING, 0))].concat();
    for piece in [1, 2, 3, 7, 50, all.len()] {
        let mut streams = Streams::new();
        streams.accept(1);
        let mut sent = Vec::new();
        for chunk in all.chunks(piece) {
            sent.extend(streams.bytes(1, chunk));
        }
        assert_eq!(sent, ["Pong"], "in pieces of {piece}");
        let lengths: Vec<usize> = streams
            .events
            .iter()
            .filter_map(|event| match event {
                Event::Request(request) => Some(request.payload.len()),
                _ => None,
            })
            .collect();
        assert_eq!(lengths, [0, 300]);
    }
}

/// §3.4: "Empty messages can always be sent and MUST be ignored", also before the CSM.
#[test]
fn empty_messages_are_ignored() {
    let mut streams = Streams::new();
    streams.accept(1);
    assert_eq!(streams.bytes(1, &[0, 0, 0, 0]), NOTHING);
    assert_eq!(streams.say(1, &csm()), NOTHING);
    streams.connected(1);
    assert_eq!(streams.bytes(1, &[0, 0]), NOTHING);
    assert_eq!(streams.get(1, b"t", "v"), ["2.05 t=74 \"v\""]);
    assert!(streams.closed.is_empty() && streams.dropped.is_empty());
}

/// §5.6: "the recipient rejects such messages by sending an Abort message and otherwise ignoring (not
/// processing) the message".
#[test]
fn what_is_malformed_aborts() {
    for (bytes, why) in [
        (&[0x09, 0x01][..], "token"),
        (&[0x0f][..], "token"),
        (&[0x10, 0x01, 0xff], "payload"),
        (&[0x10, 0x01, 0xf0], "options"),
        (&[0x20, 0x01, 0xb2, b'a'], "options"),
        (&[0x01, 0x00, 0x07], "Empty"),
        (&[0x00, 0x20], "class"),
        (&[0x00, 0xc1], "class"),
    ] {
        let mut streams = Streams::new();
        streams.open(1);
        let sent = streams.bytes(1, bytes);
        assert!(
            sent.len() == 1 && sent[0].starts_with("Abort") && sent[0].contains(why),
            "{sent:?}"
        );
        assert_eq!(streams.closed, [(conn(1), Reason::Malformed)]);
        let (reason, was_connected, limit, text) = streams.ended_by(1);
        assert_eq!((reason, was_connected, limit), (Reason::Malformed, true, None));
        assert!(text.contains(why));
        assert!(streams.events.is_empty(), "nothing was processed");
    }
}

/// §5.3.1, §5.6: what is longer than our Max-Message-Size ends the connection as soon as its header
/// says so; a message of just that length is taken.
#[test]
fn a_message_too_long_aborts_by_its_header() {
    let mut streams = Streams::with(Config { max_message_size: 2_000, ..Config::default() });
    streams.open(1);
    let most = Msg::con(PUT, 0).path("x").body(&vec![b'v'; 2_000 - 4 - 2 - 1]);
    assert_eq!(frame(&most).len(), 2_000);
    streams.say(1, &most);
    let request = streams.request();
    assert_eq!(request.payload.len(), 1_993);
    assert_eq!(streams.answer(&request, Response::new(Code::CHANGED)), ["2.04"]);
    let over = Msg::con(PUT, 0).path("x").body(&vec![b'v'; 2_000 - 6]);
    let sent = streams.bytes(1, &frame(&over)[..3]);
    assert_eq!(sent, ["Abort \"a message has at most 2000 bytes\""]);
    let ended = streams.ended_by(1);
    assert_eq!((ended.0, ended.2), (Reason::TooLarge, Some("max_message_size")));
    assert_eq!(streams.endpoint.counters().messages_too_large, 1);
}

/// §3.3: answers go by their tokens, in whichever order they are ready.
#[test]
fn answers_come_in_any_order() {
    let mut streams = Streams::new();
    streams.open(1);
    streams.bytes(1, &[frame(&get(b"a")), frame(&get(b"b")), frame(&get(b""))].concat());
    let requests: Vec<_> = streams
        .events
        .drain(..)
        .map(|event| match event {
            Event::Request(request) => *request,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(streams.answer(&requests[1], content("2")), ["2.05 t=62 \"2\""]);
    assert_eq!(streams.answer(&requests[2], content("3")), ["2.05 \"3\""]);
    assert_eq!(streams.answer(&requests[0], content("1")), ["2.05 t=61 \"1\""]);
    assert_eq!(streams.endpoint.peers(), 0, "nothing is left of who asks nothing");
    assert_eq!(streams.endpoint.deduplication_entries(), 0);
}

/// §3.1: no deduplication: what comes twice is done twice.
#[test]
fn nothing_is_taken_for_a_repetition() {
    let mut streams = Streams::new();
    streams.open(1);
    for _ in 0..2 {
        assert_eq!(streams.get(1, b"t", "v"), ["2.05 t=74 \"v\""]);
    }
    assert!(streams.dropped.is_empty());
}

/// An acknowledgement waits for the store, as a CON's does; no Empty message comes before it.
#[test]
fn an_answer_waits_until_it_is_stored() {
    let mut streams = Streams::new();
    streams.durable = true;
    streams.open(1);
    streams.say(1, &Msg::con(PUT, 0).token(b"t").path("x").body(b"v"));
    let request = streams.request();
    assert_eq!(streams.answer_after(&request, Response::new(Code::CHANGED), Seq(7)), NOTHING);
    assert_eq!(streams.wait(Duration::from_secs(5)), NOTHING);
    let turn = streams.turn();
    streams.endpoint.handle_committed(&turn, Seq(7));
    assert_eq!(streams.flush(), ["2.04 t=74"]);
}

/// RFC 7252 §5.4.1: a critical option that is not understood is 4.02; RFC 7967: No-Response holds.
#[test]
fn requests_are_judged_as_a_con_is() {
    let mut streams = Streams::new();
    streams.open(1);
    let sent = streams.say(1, &Msg::con(GET, 0).token(b"t").opt(9, b"?"));
    assert_eq!(sent, ["4.02 t=74 \"critical option 9 is not understood\""]);
    let sent = streams.say(1, &Msg::con(GET, 0).token(b"t").opt(9, b"?").opt(258, &[0x08]));
    assert_eq!(sent, NOTHING);
    streams.say(1, &Msg::con(PUT, 0).token(b"t").path("x").opt(258, &[0x1a]).body(b"v"));
    let request = streams.request();
    assert_eq!(streams.answer(&request, Response::new(Code::CHANGED)), NOTHING);
    assert_eq!(streams.endpoint.peers(), 0);
}

/// RFC 7252 §5.3.2: nobody asked for it.
#[test]
fn a_response_is_dropped() {
    let mut streams = Streams::new();
    streams.open(1);
    assert_eq!(streams.say(1, &Msg::con(0x45, 0).token(b"t").body(b"v")), NOTHING);
    assert_eq!(streams.dropped, [Reason::ProtocolError]);
    assert!(streams.closed.is_empty());
}

/// §5.4: a Pong with the identical token; elective options are ignored.
#[test]
fn a_ping_is_answered_by_a_pong_with_its_token() {
    let mut streams = Streams::new();
    streams.open(1);
    assert_eq!(streams.bytes(1, &[0x01, 0xe2, 0x42]), ["Pong t=42 2="]);
    assert_eq!(streams.raw, [0x11, 0xe3, 0x42, 0x20], "all before it is done: Custody");
    assert_eq!(streams.say(1, &Msg::con(PING, 0).opt(4, b"x").body(b"why")), ["Pong 2="]);
    assert_eq!(streams.say(1, &Msg::con(PONG, 0).token(b"?")), NOTHING, "of nobody's Ping");
}

/// §5.4.1: with Custody the Pong waits for what came before it, and for nothing else.
#[test]
fn custody_waits_for_what_came_before() {
    let mut streams = Streams::new();
    streams.open(1);
    streams.say(1, &get(b"a"));
    let first = streams.request();
    let custody = Msg::con(PING, 0).token(b"p").opt(2, &[]);
    assert_eq!(streams.say(1, &custody), NOTHING);
    assert_eq!(streams.say(1, &Msg::con(PING, 0).token(b"q")), ["Pong t=71"], "asks for none");
    streams.say(1, &get(b"b"));
    let second = streams.request();
    assert_eq!(streams.answer(&second, content("2")), ["2.05 t=62 \"2\""]);
    let sent = streams.answer(&first, content("1"));
    assert_eq!(sent, ["2.05 t=61 \"1\"", "Pong t=70 2="]);
    assert_eq!(streams.say(1, &custody), ["Pong t=70 2="]);
}

/// §5.2: options of signals: critical ones abort, elective ones are ignored, numbers are the code's.
#[test]
fn signals_with_options_that_are_not_understood() {
    for code in [CSM, PING, PONG, RELEASE, ABORT, 0xe0, 0xe6, 0xff] {
        let mut streams = Streams::new();
        streams.open(1);
        let sent = streams.say(1, &Msg::con(code, 0).opt(3, b"?"));
        let bad = if code == CSM { " 2=03" } else { "" };
        assert_eq!(sent, [format!("Abort{bad} \"critical option 3 is not understood\"")]);
        assert_eq!(streams.closed, [(conn(1), Reason::BadOption)], "{code:02x}");
    }
    for code in [CSM, PONG, 0xe0, 0xe6, 0xff] {
        let mut streams = Streams::new();
        streams.open(1);
        assert_eq!(streams.say(1, &Msg::con(code, 0).opt(200, b"?").body(b"d")), NOTHING);
        assert!(streams.closed.is_empty(), "{code:02x}");
        assert_eq!(streams.get(1, b"t", "v"), ["2.05 t=74 \"v\""]);
    }
}

/// §3.3, §5.6: an invalid CSM names the option.
#[test]
fn a_csm_that_cannot_be_used_is_named_in_the_abort() {
    for (number, value) in [(2, &[1, 2, 3, 4, 5][..]), (2, &[]), (2, &[0]), (4, b"x")] {
        let mut streams = Streams::new();
        streams.accept(1);
        let sent = streams.say(1, &csm().opt(number, value));
        let text = format!("the value of option {number} cannot be used");
        assert_eq!(sent, [format!("Abort 2=0{number} {text:?}")]);
        assert_eq!(streams.ended_by(1).0, Reason::BadOption);
    }
}

/// §5.3: capabilities are cumulative, and a later one replaces its like; §5.3.1: no message is larger
/// than the peer can receive.
#[test]
fn a_peer_gets_what_it_can_receive() {
    let value = "v".repeat(5_000);
    let mut streams = Streams::new();
    streams.open(1);
    // The base value: 1,152 with header and options.
    let sent = streams.get(1, b"t", &value);
    assert_eq!(sent, ["2.05 t=74 23=0e 28=1388 1024 bytes"]);
    assert!(streams.raw.len() <= 1_152);
    assert_eq!(streams.say(1, &csm().opt(2, &[0x20, 0])), NOTHING);
    assert_eq!(streams.get(1, b"t", &value), ["2.05 t=74 5000 bytes"]);
    assert_eq!(streams.say(1, &csm()), NOTHING, "says nothing anew");
    assert_eq!(streams.get(1, b"t", &value), ["2.05 t=74 5000 bytes"]);
    for (size, part) in [(100_u8, 32), (64, 16)] {
        assert_eq!(streams.say(1, &csm().opt(2, &[size])), NOTHING);
        let sent = streams.get(1, b"t", &value);
        assert!(sent[0].contains(" 28=1388 "), "{sent:?}");
        assert!(streams.raw.len() <= usize::from(size) && streams.raw.len() > part);
    }
    // So little that not even a block fits: the code alone.
    assert_eq!(streams.say(1, &csm().opt(2, &[20])), NOTHING);
    assert_eq!(streams.get(1, b"t", &value), ["5.00 t=74"]);
}

/// §5.5: the connection ends once what came before the Release is answered.
#[test]
fn a_release_ends_it_when_all_is_answered() {
    let mut streams = Streams::new();
    streams.open(1);
    streams.say(1, &get(b"a"));
    let request = streams.request();
    let release = Msg::con(RELEASE, 0).opt(2, b"other.example:5683").opt(4, &[10]).body(b"bye");
    assert_eq!(streams.say(1, &release), NOTHING);
    assert!(streams.closed.is_empty());
    assert_eq!(streams.say(1, &get(b"b")), NOTHING, "nothing is heard any more");
    streams.no_request();
    assert_eq!(streams.answer(&request, content("1")), ["2.05 t=61 \"1\""]);
    assert_eq!(streams.closed, [(conn(1), Reason::ClientDisconnect)]);
    assert_eq!(streams.ended_by(1).0, Reason::ClientDisconnect);
    let mut streams = Streams::new();
    streams.open(1);
    assert_eq!(streams.say(1, &Msg::con(RELEASE, 0)), NOTHING);
    assert_eq!(streams.closed, [(conn(1), Reason::ClientDisconnect)]);
}

/// §5.6: an Abort ends it at once; what it says is for the log.
#[test]
fn an_abort_ends_it() {
    let mut streams = Streams::new();
    streams.open(1);
    streams.say(1, &get(b"a"));
    let request = streams.request();
    let abort = Msg::con(ABORT, 0).opt(2, &[4]).body(b"no blocks\n, please");
    assert_eq!(streams.say(1, &abort), NOTHING, "no Abort answers it");
    assert_eq!(streams.closed, [(conn(1), Reason::ClientDisconnect)]);
    let text = streams.ended_by(1).3;
    assert_eq!(text, "aborted by the client: no blocks, please");
    assert_eq!(streams.answer(&request, content("1")), NOTHING);
    assert_eq!((streams.endpoint.peers(), streams.endpoint.connections()), (0, 0));
}

/// §5.5: from our side: whoever is connected is told, and the transport ends.
#[test]
fn we_release_whom_we_send_away() {
    let mut streams = Streams::new();
    streams.open(1);
    streams.open(2);
    let turn = streams.turn();
    for n in 1..=2 {
        streams.endpoint.close(&turn, conn(n), Reason::Shutdown);
    }
    assert_eq!(streams.flush(), ["Release \"the gateway stops\""; 2]);
    assert_eq!(streams.closed.len(), 2);
    assert_eq!(streams.ended_by(2).0, Reason::Shutdown);
    assert_eq!(streams.endpoint.connections(), 0);
}

/// §4.2: messages of a WebSocket, whole and in fragments; its Len is 0.
#[test]
fn a_websocket_carries_the_same_messages() {
    let mut streams = Streams::new();
    streams.accept(1);
    assert_eq!(streams.part(1, &web(&csm().opt(2, &[0x20, 0])), true), NOTHING);
    streams.connected(1);
    let put = web(&Msg::con(PUT, 0).token(b"t").path("x").body(&[b'v'; 300]));
    for at in [0, 1, 2, 3, 150, put.len()] {
        assert_eq!(streams.part(1, &put[..at], false), NOTHING);
        streams.no_request();
        assert_eq!(streams.part(1, &put[at..], true), NOTHING);
        let request = streams.request();
        assert_eq!(request.payload.len(), 300);
        assert_eq!(streams.answer(&request, Response::new(Code::CHANGED)), ["2.04 t=74"]);
    }
    assert_eq!(streams.part(1, &[0, 0], true), NOTHING, "Empty");
    assert_eq!(streams.part(1, &[0x00, 0xe2], true), ["Pong 2="]);
    for (bytes, why) in
        [(&[0x10, 1, 0xb0][..], "Len"), (&[], "header"), (&[0], "header"), (&[1, 1], "token")]
    {
        let mut streams = Streams::new();
        streams.accept(1);
        streams.part(1, &web(&csm()), true);
        let sent = streams.part(1, bytes, true);
        assert!(sent[0].starts_with("Abort") && sent[0].contains(why), "{sent:?}");
    }
    let mut streams = Streams::with(Config { max_message_size: 1_200, ..Config::default() });
    streams.accept(1);
    streams.part(1, &web(&csm()), true);
    assert_eq!(streams.part(1, &[0x41; 1_000], false), NOTHING);
    assert_eq!(
        streams.part(1, &[0x41; 201], false),
        ["Abort \"a message has at most 1200 bytes\""]
    );
}
