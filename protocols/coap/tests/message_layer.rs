//! Transcripts of the message layer: RFC 7252 §4 and §5, by clause, with the ETSI plugtest case
//! where one applies.
#![allow(missing_docs, clippy::unwrap_used, clippy::cast_possible_truncation)]

mod support;

use std::time::Duration;

use motegate_coap::Config;
use motegate_coap::endpoint::{Code, Method, Response};
use motegate_message::{Reason, Seq};
use support::{DELETE, GET, Msg, POST, PUT, Server, content, peer};

const SECOND: Duration = Duration::from_secs(1);

// --- RFC 7252 §3, §4.2, §4.3: what is no message ------------------------------------------------

#[test]
fn other_versions_and_stubs_are_silently_ignored() {
    let mut server = Server::new();
    for bytes in [&b""[..], b"\x40", b"\x40\x01\x00", b"\x80\x01\x00\x01", b"\xc0\x01\x00\x01"] {
        assert!(server.recv(1, bytes).is_empty());
    }
    assert_eq!(server.dropped.len(), 5);
    assert_eq!(server.dropped[4], Reason::UnsupportedVersion);
    assert!(server.events.is_empty());
}

#[test]
fn a_con_with_a_format_error_is_reset_everything_else_ignored() {
    let mut server = Server::new();
    // TKL 9, marker without payload, option past the end, Empty with a token, class 1.
    let broken: [&[u8]; 5] =
        [&[0x09, 1], &[0x00, 1, 0xff], &[0x00, 1, 0xb5, b'a'], &[0x01, 0, 7], &[0x00, 0x21]];
    for tail in broken {
        for kind in 0..4_u8 {
            let mut bytes = vec![0x40 | kind << 4 | tail[0], tail[1], 0x12, 0x34];
            bytes.extend_from_slice(&tail[2..]);
            let expected: &[&str] = if kind == 0 { &["RST 0.00 #4660"] } else { &[] };
            assert_eq!(server.recv(1, &bytes), expected, "{bytes:02x?}");
        }
    }
    assert_eq!(server.dropped, [Reason::Malformed; 20]);
    server.no_request();
    assert_eq!(server.endpoint.deduplication_entries(), 0);
}

/// TD_COAP_CORE_31.
#[test]
fn a_ping_is_reset() {
    let mut server = Server::new();
    assert_eq!(server.msg(1, &Msg::con(0, 7)), ["RST 0.00 #7"]);
    assert_eq!(server.msg(1, &Msg::con(0, 7)), ["RST 0.00 #7"]);
    assert!(server.dropped.is_empty());
    assert_eq!(server.endpoint.counters().pings, 2);
}

#[test]
fn stray_acks_and_resets_are_never_answered() {
    let mut server = Server::new();
    let non_empty_reset = [0x70, 1, 0, 9];
    let ack_with_request = [0x60, 1, 0, 9];
    let ack_with_response = [0x60, 0x45, 0, 9];
    let empty_non = [0x50, 0, 0, 9];
    for bytes in [
        Msg::ack(9).bytes(),
        Msg::rst(9).bytes(),
        non_empty_reset.to_vec(),
        ack_with_request.to_vec(),
        ack_with_response.to_vec(),
        empty_non.to_vec(),
    ] {
        assert!(server.recv(1, &bytes).is_empty());
    }
    assert_eq!(server.dropped, [Reason::ProtocolError; 6]);
}

/// RFC 7252 §4.2, §4.3: a response that nobody asked for.
#[test]
fn an_unexpected_con_response_is_reset() {
    let mut server = Server::new();
    assert_eq!(server.msg(1, &Msg::con(0x45, 3).token(b"x")), ["RST 0.00 #3"]);
    assert!(server.msg(1, &Msg::non(0x45, 4).token(b"x")).is_empty());
    server.no_request();
}

// --- RFC 7252 §5.2.1: piggybacked ---------------------------------------------------------------

/// TD_COAP_CORE_01 to 04, 10, 11, 12, 13.
#[test]
fn con_requests_are_answered_in_the_acknowledgement() {
    let mut server = Server::new();
    let cases = [
        (GET, Method::Get, Code::CONTENT),
        (DELETE, Method::Delete, Code::DELETED),
        (PUT, Method::Put, Code::CHANGED),
        (POST, Method::Post, Code::CREATED),
    ];
    for (id, (code, method, answer)) in (0_u16..).zip(cases) {
        let token = &b"\x01\x02\x03\x04\x05\x06\x07\x08"[..usize::from(id) * 2];
        let msg = Msg::con(code, id).token(token).path("mqtt/a/b").opt(15, b"qos=1").body(b"x");
        assert!(server.msg(1, &msg).is_empty());
        let request = server.request();
        assert_eq!((request.method, request.confirmable), (method, true));
        assert_eq!(
            (request.path.join("|"), request.query),
            ("mqtt|a|b".into(), vec!["qos=1".into()])
        );
        assert_eq!(request.peer, peer(1));
        let sent = server.respond(request.exchange, Response::new(answer));
        let token: String = token.iter().map(|b| format!("{b:02x}")).collect();
        let token = if token.is_empty() { token } else { format!(" t={token}") };
        let (class, detail) = (answer.class(), answer.detail());
        assert_eq!(sent, [format!("ACK {class}.{detail:02} #{id}{token}")]);
    }
    assert_eq!(server.advance(SECOND * 5), []);
}

/// TD_COAP_CORE_05 to 08: NON is answered with NON and an id of our own.
#[test]
fn non_requests_are_answered_with_non() {
    let mut server = Server::new();
    let mut ids = Vec::new();
    for (id, code) in (100_u16..).zip([GET, DELETE, PUT, POST]) {
        assert!(server.msg(1, &Msg::non(code, id).token(b"tk").path("x")).is_empty());
        let request = server.request();
        assert!(!request.confirmable);
        assert_eq!(server.respond(request.exchange, content("v")), ["NON 2.05 #* t=746b \"v\""]);
        ids.push(server.last_id());
    }
    assert_eq!(ids[1..], [ids[0].wrapping_add(1), ids[0].wrapping_add(2), ids[0].wrapping_add(3)]);
    assert_eq!(server.advance(SECOND * 5), []); // never repeated
}

/// RFC 7252 §5.10, TD_COAP_CORE_20, 21: the options of a response.
#[test]
fn a_response_carries_its_options_in_order() {
    let mut server = Server::new();
    server.msg(1, &Msg::con(GET, 1).path("x").opt(17, &[50]).opt(4, b"\x01\x02"));
    let request = server.request();
    assert_eq!(request.accept, Some(50));
    assert_eq!(request.etags, [[1, 2]]);
    let response = Response {
        etag: Some(0x0102_0304),
        content_format: Some(50),
        max_age: Some(Duration::from_secs(300)),
        location_path: vec!["ps".into(), "t".into()],
        ..content("{}")
    };
    let sent = server.respond(request.exchange, response);
    assert_eq!(sent, ["ACK 2.05 #1 4=0000000001020304 8=7073 8=74 12=32 14=012c \"{}\""]);
    server.msg(1, &Msg::con(GET, 2).path("x"));
    let request = server.request();
    let response =
        Response { max_age: Some(Duration::ZERO), content_format: Some(0), ..content("") };
    assert_eq!(server.respond(request.exchange, response), ["ACK 2.05 #2 12= 14="]);
}

/// TD_COAP_CORE_22, 23.
#[test]
fn preconditions_reach_the_request() {
    let mut server = Server::new();
    server.msg(1, &Msg::con(PUT, 1).path("x").opt(1, b"").opt(1, b"\x09").body(b"v"));
    assert_eq!(server.request().if_match, [vec![], vec![9]]);
    server.msg(1, &Msg::con(PUT, 2).path("x").opt(5, b"").body(b"v"));
    assert!(server.request().if_none_match);
}

// --- RFC 7252 §5.2.2: separate ------------------------------------------------------------------

/// TD_COAP_CORE_09, checklist item 5.
#[test]
fn a_late_response_comes_separately_and_is_repeated_until_acknowledged() {
    let mut server = Server::new();
    server.msg(1, &Msg::con(GET, 5).token(b"T").path("slow"));
    let exchange = server.request().exchange;
    assert_eq!(server.advance(SECOND), [(1_000, "ACK 0.00 #5".into())]);
    assert_eq!(server.respond(exchange, content("v")), ["CON 2.05 #* t=54 \"v\""]);
    let id = server.last_id();
    let repeats = server.advance(SECOND * 20);
    let times: Vec<u64> = repeats.iter().map(|(ms, _)| *ms).collect();
    // 2 s x 1..1.5, doubling: after t, 3t (and 7t lies beyond).
    assert!((2_000..=3_000).contains(&times[0]), "{times:?}");
    assert!((times[1]).abs_diff(times[0] * 3) <= 2, "{times:?}");
    assert!(repeats.iter().all(|(_, text)| text == "CON 2.05 #* t=54 \"v\""));
    assert_eq!(server.last_id(), id); // the same message
    assert!(server.msg(1, &Msg::ack(id)).is_empty());
    assert_eq!(server.advance(SECOND * 120), []);
    assert!(server.dropped.is_empty());
}

/// RFC 7252 §4.2: MAX_RETRANSMIT, and MAX_TRANSMIT_WAIT to give up.
#[test]
fn a_separate_response_gives_up() {
    let mut server = Server::new();
    server.msg(1, &Msg::con(GET, 5).path("slow"));
    let exchange = server.request().exchange;
    server.advance(SECOND);
    server.respond(exchange, content("v"));
    assert_eq!(server.advance(SECOND * 93).len(), 4);
    assert_eq!(server.dropped, [Reason::RetryExhausted]);
    assert_eq!(server.endpoint.counters().retransmissions, 4);
    assert_eq!(server.advance(SECOND * 100), []);
}

#[test]
fn a_reset_ends_a_separate_response() {
    let mut server = Server::new();
    server.msg(1, &Msg::con(GET, 5).path("slow"));
    let exchange = server.request().exchange;
    server.advance(SECOND);
    server.respond(exchange, content("v"));
    let id = server.last_id();
    server.msg(1, &Msg::rst(id));
    assert_eq!(server.advance(SECOND * 100), []);
    assert!(server.dropped.is_empty());
}

/// TD_COAP_CORE_16, 17: NON, however late.
#[test]
fn a_late_response_to_a_non_is_a_non() {
    let mut server = Server::new();
    server.msg(1, &Msg::non(GET, 5).token(b"T").path("slow"));
    let exchange = server.request().exchange;
    assert_eq!(server.advance(SECOND * 9), []);
    assert_eq!(server.respond(exchange, content("v")), ["NON 2.05 #* t=54 \"v\""]);
    assert_eq!(server.advance(SECOND * 100), []);
}

/// RFC 7252 §4.7: NSTART.
#[test]
fn one_confirmable_message_a_peer_is_outstanding() {
    let mut server = Server::new();
    let mut exchanges = Vec::new();
    for id in 1..=3 {
        server.msg(1, &Msg::con(GET, id).token(&[id as u8]).path("slow"));
        exchanges.push(server.request().exchange);
    }
    server.msg(2, &Msg::con(GET, 1).token(&[9]).path("slow"));
    let other = server.request().exchange;
    server.advance(SECOND);
    assert_eq!(server.respond(exchanges[0], content("a")).len(), 1);
    let first = server.last_id();
    assert!(server.respond(exchanges[1], content("b")).is_empty());
    assert!(server.respond(exchanges[2], content("c")).is_empty());
    assert_eq!(server.respond(other, content("z")).len(), 1); // another peer
    assert_eq!(server.msg(1, &Msg::ack(first)), ["CON 2.05 #* t=02 \"b\""]);
    let second = server.last_id();
    assert_ne!(first, second);
    assert_eq!(server.msg(1, &Msg::rst(second)), ["CON 2.05 #* t=03 \"c\""]);
}

// --- RFC 7252 §4.5: deduplication ---------------------------------------------------------------

/// TD_COAP_CORE_14, checklist item 4.
#[test]
fn a_repeated_con_gets_the_same_bytes_and_is_not_executed() {
    let mut server = Server::new();
    for (id, code) in (1..).zip([PUT, POST, DELETE, GET]) {
        let msg = Msg::con(code, id).token(b"tok").path("mqtt/door").body(b"open");
        server.msg(1, &msg);
        let exchange = server.request().exchange;
        server.respond(exchange, Response { etag: Some(7), ..Response::new(Code::CHANGED) });
        let first = server.sent.clone();
        for _ in 0..3 {
            server.advance(SECOND * 10);
            server.msg(1, &msg);
            assert_eq!(server.sent, first);
            server.no_request();
        }
    }
    assert_eq!(server.endpoint.counters().repeats, 12);
    assert_eq!(server.dropped, [Reason::CoapDedup; 12]);
}

#[test]
fn a_repeat_in_progress_gets_an_empty_ack() {
    let mut server = Server::new();
    let msg = Msg::con(PUT, 1).token(b"t").path("x").body(b"v");
    server.msg(1, &msg);
    let exchange = server.request().exchange;
    assert_eq!(server.msg(1, &msg), ["ACK 0.00 #1"]);
    server.no_request();
    assert_eq!(server.advance(SECOND), []); // acknowledged already
    assert_eq!(server.respond(exchange, content("")), ["CON 2.05 #* t=74"]);
    assert_eq!(server.msg(1, &msg), ["ACK 0.00 #1"]); // TD_COAP_CORE_15
}

/// RFC 7252 §4.3: a repeated NON is silently ignored.
#[test]
fn a_repeated_non_is_ignored() {
    let mut server = Server::new();
    let msg = Msg::non(POST, 1).path("x").body(b"v");
    server.msg(1, &msg);
    let exchange = server.request().exchange;
    assert!(server.msg(1, &msg).is_empty());
    server.respond(exchange, Response::new(Code::CHANGED));
    assert!(server.msg(1, &msg).is_empty());
    server.no_request();
}

#[test]
fn a_large_get_may_be_executed_again_a_small_one_is_remembered() {
    let mut server = Server::new();
    let large = "x".repeat(500);
    let msg = Msg::con(GET, 1).path("x");
    server.msg(1, &msg);
    let exchange = server.request().exchange;
    server.respond(exchange, content(&large));
    assert!(server.msg(1, &msg).is_empty());
    let again = server.request().exchange;
    assert_ne!(again, exchange);
    assert_eq!(server.respond(again, content("now small")), ["ACK 2.05 #1 \"now small\""]);
    assert_eq!(server.msg(1, &msg), ["ACK 2.05 #1 \"now small\""]);
    server.no_request();
}

/// Peers reuse ids above 265 requests a second: another datagram is another request.
#[test]
fn a_reused_message_id_is_a_new_request() {
    let mut server = Server::new();
    server.msg(1, &Msg::con(PUT, 1).token(b"a").path("x").body(b"1"));
    let first = server.request().exchange;
    server.msg(1, &Msg::con(PUT, 1).token(b"b").path("x").body(b"2"));
    let second = server.request().exchange;
    assert_eq!(server.respond(second, Response::new(Code::CHANGED)), ["ACK 2.04 #1 t=62"]);
    assert_eq!(server.respond(first, Response::new(Code::CHANGED)), ["ACK 2.04 #1 t=61"]);
    assert_eq!(server.endpoint.counters().reused_message_ids, 1);
    // The newer one is remembered.
    let repeat = Msg::con(PUT, 1).token(b"b").path("x").body(b"2");
    assert_eq!(server.msg(1, &repeat), ["ACK 2.04 #1 t=62"]);
}

#[test]
fn ids_of_different_peers_have_nothing_to_do_with_each_other() {
    let mut server = Server::new();
    let msg = Msg::con(PUT, 1).path("x");
    server.msg(1, &msg);
    server.request();
    server.msg(2, &msg);
    server.request();
}

/// EXCHANGE_LIFETIME 247 s, NON_LIFETIME 145 s (RFC 7252 §4.8.2).
#[test]
fn message_ids_are_free_again_after_their_lifetime() {
    let mut server = Server::new();
    let (con, non) = (Msg::con(POST, 1).path("x"), Msg::non(POST, 2).path("x"));
    for msg in [&con, &non] {
        server.msg(1, msg);
        let exchange = server.request().exchange;
        server.respond(exchange, Response::new(Code::CHANGED));
    }
    server.advance(Duration::from_millis(144_999));
    server.msg(1, &non);
    server.no_request();
    server.advance(Duration::from_millis(1));
    server.msg(1, &non);
    let exchange = server.request().exchange;
    server.respond(exchange, Response::new(Code::CHANGED));
    server.advance(Duration::from_millis(101_999));
    server.msg(1, &con);
    server.no_request();
    server.advance(Duration::from_millis(1));
    server.msg(1, &con);
    let exchange = server.request().exchange;
    server.respond(exchange, Response::new(Code::CHANGED));
    server.advance(SECOND * 600);
    assert_eq!(server.endpoint.deduplication_entries(), 0);
    assert_eq!(server.endpoint.poll_timeout(), None); // nothing is left behind
}

/// The same, when no timer ran in between.
#[test]
fn an_entry_that_outlived_its_time_unswept_does_not_count() {
    let mut server = Server::new();
    for id in 0..10 {
        server.msg(1, &Msg::non(POST, id).path("x"));
        let exchange = server.request().exchange;
        server.respond(exchange, Response::new(Code::CHANGED));
    }
    server.now += SECOND * 145;
    for id in (0..10).rev() {
        let msg = Msg::con(POST, id).path("x");
        server.msg(1, &msg);
        let exchange = server.request().exchange;
        server.respond(exchange, Response::new(Code::CHANGED));
        assert!(server.dropped.is_empty(), "not a reused id: {:?}", server.dropped);
        assert_eq!(server.msg(1, &msg), [format!("ACK 2.04 #{id}")]);
        server.no_request();
        server.dropped.clear();
    }
    assert_eq!(server.endpoint.deduplication_entries(), 10);
    server.advance(SECOND * 600);
    assert_eq!(server.endpoint.deduplication_entries(), 0);
}

#[test]
fn a_full_table_takes_from_the_busiest_and_spares_the_quiet() {
    let mut server = Server::with(Config { max_exchanges: 40, ..Config::default() });
    let put = |server: &mut Server, port: u16, id: u16| {
        let sent = server.msg(port, &Msg::con(PUT, id).path("x").body(b"v"));
        if server.events.is_empty() {
            return sent;
        }
        let exchange = server.request().exchange;
        server.respond(exchange, Response::new(Code::CHANGED))
    };
    for id in 0..16 {
        put(&mut server, 1, id);
    }
    for id in 0..100 {
        assert_eq!(put(&mut server, 2, id), [format!("ACK 2.04 #{id}")]);
    }
    assert_eq!(server.endpoint.counters().evicted, 76);
    assert_eq!(put(&mut server, 1, 0), ["ACK 2.04 #0"]);
    assert_eq!(server.endpoint.counters().repeats, 1); // the quiet peer was spared

    // A table of quiet peers refuses instead (item 15: 5.03 with Max-Age).
    let mut server = Server::with(Config { max_exchanges: 20, ..Config::default() });
    for port in 0..20 {
        put(&mut server, port, 1);
    }
    let refused = ["ACK 5.03 #1 14=0a \"too many requests at once\""];
    assert_eq!(put(&mut server, 20, 1), refused);
    assert!(server.dropped.contains(&Reason::Overloaded));
    server.advance(SECOND * 45);
    assert_eq!(put(&mut server, 20, 1), ["ACK 2.04 #1"]);
}

/// An exchange whose entry gave way can still be answered; unanswered, it does not stay for ever.
#[test]
fn exchanges_outlive_their_entry_but_not_for_long() {
    let config = Config { max_exchanges: 20, ..Config::default() };
    let mut server = Server::with(config);
    let mut exchanges = Vec::new();
    for id in 0..20 {
        server.msg(1, &Msg::con(PUT, id).path("x"));
        exchanges.push(server.request().exchange);
    }
    server.respond(exchanges[19], Response::new(Code::CHANGED));
    server.msg(1, &Msg::con(PUT, 20).path("x"));
    server.request();
    assert_eq!(server.endpoint.counters().evicted, 1); // the entry of id 0
    assert_eq!(server.respond(exchanges[0], Response::new(Code::CHANGED)), ["ACK 2.04 #0"]);
    server.msg(1, &Msg::con(PUT, 21).path("x"));
    server.request();
    assert_eq!(server.endpoint.counters().evicted, 2);
    server.advance(SECOND * 600);
    assert_eq!((server.endpoint.deduplication_entries(), server.endpoint.peers()), (0, 0));
    assert_eq!(server.endpoint.poll_timeout(), None);
    assert!(server.respond(exchanges[1], Response::new(Code::CHANGED)).is_empty());
}

// --- RFC 7252 §5.4: options ---------------------------------------------------------------------

/// Checklist item 8.
#[test]
fn an_unknown_critical_option_is_refused_for_con_and_silent_for_non() {
    let mut server = Server::new();
    let sent = server.msg(1, &Msg::con(PUT, 1).token(b"t").path("x").opt(65_001, b"?"));
    assert_eq!(sent, ["ACK 4.02 #1 t=74 \"critical option 65001 is not understood\""]);
    assert!(server.msg(1, &Msg::non(PUT, 2).path("x").opt(65_001, b"?")).is_empty());
    server.no_request();
    assert_eq!(server.dropped, [Reason::BadOption; 2]);
    server.msg(1, &Msg::con(PUT, 3).path("x").opt(65_000, b"?"));
    server.request(); // elective: ignored
}

/// Checklist items 12, 16.
#[test]
fn what_is_refused_before_the_core_hears_of_it() {
    let mut server = Server::new();
    let big = vec![b'x'; 1_153];
    let cases = [
        (Msg::con(GET, 1).opt(11, b"\xff\xfe"), "4.00"),
        (Msg::con(GET, 2).opt(39, b"coap"), "5.05"),
        (Msg::con(9, 3).path("x"), "4.05"),
        (Msg::con(PUT, 4).path("x").body(&big), "4.13"),
        (Msg::con(PUT, 5).path("x").opt(27, &[0x08]), "4.00"), // Block1 0/more, empty
        (Msg::con(PUT, 6).path("x").opt(27, &[0x10]), "4.08"), // Block1 1/last
        (Msg::con(PUT, 7).path("x").opt(23, &[0x10]), "4.08"), // Block2 1
        (Msg::con(GET, 9).path("x").opt(27, &[0x10]), "4.02"), // Block1 of a GET
        (Msg::con(PUT, 10).path("x").opt(19, &[0x08]), "4.02"), // Q-Block1
    ];
    for (msg, code) in &cases {
        let sent = server.msg(1, msg);
        assert!(sent[0].starts_with(&format!("ACK {code} #")), "{sent:?}");
        assert!(sent[0].ends_with('"'), "a diagnostic text: {sent:?}");
        assert_eq!(server.msg(1, msg), sent, "remembered");
    }
    server.no_request();
    let sent = server.msg(1, &Msg::non(PUT, 8).path("x").body(&big));
    // RFC 7959 §2.9.3: Block1 says in which blocks it may come, Size1 how large it may be.
    assert!(sent[0].starts_with("NON 4.13 #* 27=06 60=040000 "), "{sent:?}");
}

#[test]
fn a_single_block_and_a_size_hint_are_plain_requests() {
    let mut server = Server::new();
    server.msg(1, &Msg::con(PUT, 1).path("x").opt(27, &[0x06]).opt(60, &[3]).body(b"abc"));
    assert_eq!(&server.request().payload[..], b"abc");
    server.msg(1, &Msg::con(GET, 2).path("x").opt(23, &[0x02]).opt(28, &[]));
    let exchange = server.request().exchange;
    let whole = "y".repeat(100);
    let first = &whole[..64]; // Block2 0, more, 64 bytes; Size2 100
    let sent = server.respond(exchange, content(&whole));
    assert_eq!(sent, [format!("ACK 2.05 #2 23=0a 28=64 {first:?}")]);
}

/// RFC 7252 §5.5.2: a text that does not fit ends early; what is wrong stays what it is.
#[test]
fn an_error_that_does_not_fit_ends_early() {
    let mut server = Server::new();
    server.msg(1, &Msg::con(GET, 1).path("x"));
    let exchange = server.request().exchange;
    let sent = server.respond(exchange, Response::error(Code::NOT_FOUND, "y".repeat(1_025)));
    assert_eq!(sent, [format!("ACK 4.04 #1 {:?}", "y".repeat(1_024))]);
    assert!(server.dropped.is_empty());
}

/// RFC 7967 (checklist item 31).
#[test]
fn no_response_is_honoured() {
    let mut server = Server::new();
    server.msg(1, &Msg::non(PUT, 1).path("x").opt(258, &[0x02]));
    let exchange = server.request().exchange;
    assert!(server.respond(exchange, Response::new(Code::CHANGED)).is_empty());
    server.msg(1, &Msg::non(PUT, 2).path("x").opt(258, &[0x02]));
    let exchange = server.request().exchange;
    assert_eq!(server.respond(exchange, Response::new(Code::NOT_FOUND)), ["NON 4.04 #*"]);
    let msg = Msg::con(PUT, 3).path("x").opt(258, &[0x1a]);
    server.msg(1, &msg);
    let exchange = server.request().exchange;
    assert_eq!(server.respond(exchange, Response::new(Code::CHANGED)), ["ACK 0.00 #3"]);
    assert_eq!(server.msg(1, &msg), ["ACK 0.00 #3"]);
}

// --- The journal --------------------------------------------------------------------------------

#[test]
fn success_waits_for_the_commit_and_errors_do_not() {
    let mut server = Server::new();
    server.durable = true;
    let mut exchanges = Vec::new();
    for id in 1..=3 {
        server.msg(1, &Msg::con(PUT, id).path("x"));
        exchanges.push(server.request().exchange);
    }
    let changed = || Response::new(Code::CHANGED);
    assert!(server.respond_after(exchanges[0], changed(), Seq(5)).is_empty());
    assert!(server.respond_after(exchanges[1], changed(), Seq(6)).is_empty());
    let error = Response::new(Code::FORBIDDEN);
    assert_eq!(server.respond_after(exchanges[2], error, Seq::NONE), ["ACK 4.03 #3"]);
    assert!(server.committed(4).is_empty());
    assert_eq!(server.committed(5), ["ACK 2.04 #1"]);
    // A second answer to the same exchange changes nothing.
    assert!(server.respond_after(exchanges[1], content("again"), Seq::NONE).is_empty());
    // A slow disk: the empty ACK goes first, nothing is promised before the commit.
    assert_eq!(server.texts(SECOND), ["ACK 0.00 #2"]);
    assert_eq!(server.committed(9), ["CON 2.04 #*"]);
    server.msg(1, &Msg::con(PUT, 4).path("x"));
    let exchange = server.request().exchange;
    assert_eq!(server.respond_after(exchange, changed(), Seq(9)), ["ACK 2.04 #4"]);
}

#[cfg(feature = "planted-faults")]
#[test]
fn the_planted_fault_executes_repeats() {
    let mut config = Config::default();
    config.faults.no_duplicate_check = true;
    let mut server = Server::with(config);
    let msg = Msg::con(POST, 1).path("x");
    for _ in 0..2 {
        server.msg(1, &msg);
        let exchange = server.request().exchange;
        assert_eq!(server.respond(exchange, Response::new(Code::CHANGED)), ["ACK 2.04 #1"]);
    }
}
