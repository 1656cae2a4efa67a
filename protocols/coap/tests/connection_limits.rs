//! Connections of CoAP in time and under load (RFC 8323 §3.4, §10): silence, half messages, too many of
//! them, and peers that read nothing; all on a virtual clock.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::time::Duration;

use motegate_coap::Config;
use motegate_coap::endpoint::Event;
use motegate_message::Reason;
use support::stream::{CSM, PONG, Streams, conn, frame};
use support::{GET, Msg, content};

const NOTHING: [&str; 0] = [];

fn csm() -> Msg {
    Msg::con(CSM, 0)
}

fn get(token: &[u8]) -> Msg {
    Msg::con(GET, 0).token(token).path("x")
}

/// The CSM has `connect_timeout`, a message that has begun a minute.
#[test]
fn who_says_nothing_or_half_a_message_is_aborted() {
    let mut streams = Streams::new();
    streams.accept(1);
    streams.bytes(1, &[0]);
    assert_eq!(streams.wait(Duration::from_secs(9)), NOTHING);
    assert_eq!(streams.wait(Duration::from_secs(1)), ["Abort \"no CSM came in time\""]);
    let ended = streams.ended_by(1);
    assert_eq!(
        (ended.0, ended.1, ended.2),
        (Reason::ConnectTimeout, false, Some("connect_timeout"))
    );
    streams.open(2);
    assert_eq!(streams.endpoint.half_open(None), 0);
    streams.bytes(2, &frame(&get(b"t"))[..3]);
    assert_eq!(streams.wait(Duration::from_secs(59)), NOTHING);
    let sent = streams.wait(Duration::from_secs(1));
    assert_eq!(sent, ["Abort \"a message did not come whole in time\""]);
}

/// §3.4, §5.4: who is silent is asked by a Ping; who answers it, or says anything, stays.
#[test]
fn who_is_silent_is_pinged_and_then_ended() {
    let mut streams = Streams::new();
    streams.open(1);
    streams.open(2);
    let sent = streams.wait(Duration::from_secs(12 * 60));
    assert_eq!(
        sent,
        [
            "Ping",
            "Ping",
            "Abort \"nothing was heard, not even an answer to a Ping\"",
            "Abort \"nothing was heard, not even an answer to a Ping\""
        ]
    );
    assert_eq!(streams.ended_by(1).2, Some("idle_timeout"));
    streams.open(3);
    let mut pings = 0;
    for _ in 0..120 {
        for sent in streams.wait(Duration::from_secs(30)) {
            assert_eq!(sent, "Ping");
            pings += 1;
            assert_eq!(streams.say(3, &Msg::con(PONG, 0)), NOTHING);
        }
    }
    assert!((5..=6).contains(&pings), "{pings} in an hour");
    let mut streams = Streams::with(Config { idle_timeout: Duration::ZERO, ..Config::default() });
    streams.open(1);
    assert_eq!(streams.wait(Duration::from_secs(1_000_000)), NOTHING);
}

/// RFC 8323 §5.4: who reads slowly is not read meanwhile, and so not taken for silent however long that
/// takes; once it is read again, it is asked as anybody.
#[test]
fn who_is_not_read_is_not_silent() {
    let config = Config { max_outbox_bytes: 10_000, ..Config::default() };
    let mut streams = Streams::with(config);
    streams.open(1);
    streams.say(1, &csm().opt(2, &[0x40, 0]));
    streams.reads = false;
    let value = "v".repeat(12_000);
    streams.say(1, &get(b"t"));
    let request = streams.request();
    streams.answer(&request, content(&value));
    assert_eq!(streams.paused, [conn(1)]);
    for _ in 0..40 {
        assert_eq!(streams.wait(Duration::from_secs(25)), NOTHING);
        let turn = streams.turn();
        streams.endpoint.handle_written(&turn, conn(1), 40);
    }
    assert!(streams.closed.is_empty(), "{:?}", streams.closed);
    let (turn, left) = (streams.turn(), streams.endpoint.outbox(conn(1)).len());
    streams.endpoint.handle_written(&turn, conn(1), left);
    streams.reads = true;
    streams.flush();
    assert!(streams.paused.is_empty());
    let sent = streams.wait(Duration::from_secs(12 * 60));
    assert_eq!(sent, ["Ping", "Abort \"nothing was heard, not even an answer to a Ping\""]);
}

/// `max_half_open`: the oldest of those that have said no CSM gives way.
#[test]
fn too_many_without_a_csm_cost_the_oldest() {
    let mut streams = Streams::with(Config { max_half_open: 3, ..Config::default() });
    streams.open(9);
    for n in 1..=3 {
        streams.accept(n);
    }
    assert!(streams.closed.is_empty());
    let sent = streams.accept(4);
    assert!(sent.contains(&"Abort \"too many wait for a CSM\"".to_owned()), "{sent:?}");
    assert_eq!(streams.closed, [(conn(1), Reason::HalfOpen)]);
    assert_eq!(streams.ended_by(1).2, Some("max_half_open"));
    assert_eq!(streams.endpoint.half_open(None), 3);
}

/// RFC 8516: too many requests in a second are 4.29 with Max-Age; `max_exchanges`: 5.03.
#[test]
fn requests_have_their_limits() {
    let mut streams = Streams::with(Config { max_request_rate: 2, ..Config::default() });
    streams.open(1);
    for _ in 0..2 {
        streams.get(1, b"t", "v");
    }
    let sent = streams.say(1, &get(b"u"));
    assert_eq!(sent, ["4.29 t=75 14=01 \"at most 2 requests a second\""]);
    assert_eq!(streams.dropped, [Reason::RateLimited]);
    streams.wait(Duration::from_secs(1));
    assert_eq!(streams.get(1, b"t", "v"), ["2.05 t=74 \"v\""]);
    let mut streams = Streams::with(Config { max_exchanges: 1, ..Config::default() });
    streams.open(1);
    streams.say(1, &get(b"a"));
    assert_eq!(streams.say(1, &get(b"b")), ["5.03 t=62 14=0a \"too many requests at once\""]);
}

/// Requests whose answers may be large are taken a few at a time, however many came at once; all are
/// answered.
#[test]
fn a_burst_of_requests_is_taken_bit_by_bit() {
    let mut streams = Streams::new();
    streams.open(1);
    let many: Vec<u8> = (0..100_u8).flat_map(|n| frame(&get(&[n]))).collect();
    assert_eq!(streams.bytes(1, &many), NOTHING);
    let mut answered = Vec::new();
    let mut most = 0;
    while !streams.events.is_empty() {
        let events = std::mem::take(&mut streams.events);
        most = most.max(events.len());
        for event in events {
            let Event::Request(request) = event else { panic!("{event:?}") };
            answered.extend(streams.answer(&request, content("v")));
        }
    }
    let all: Vec<String> = (0..100_u8).map(|n| format!("2.05 t={n:02x} \"v\"")).collect();
    assert_eq!(answered, all);
    assert!(most <= 8, "{most} at once");
    assert!(streams.paused.is_empty(), "it is read again");
}

/// What reads gives its place back whatever became of it: 100 FETCHes one after the other, and 100 GETs that
/// are refused before they are handed up, are all answered (RFC 8323 §3.3, RFC 8132 §2, RFC 7252 §5.4.1).
#[test]
fn a_connection_that_has_read_much_is_still_read() {
    let mut streams = Streams::new();
    streams.open(1);
    for n in 0..100_u8 {
        let fetch = Msg::con(5, 0).token(&[n]).path("x").opt(12, &[60]).body(b"[]");
        assert_eq!(streams.say(1, &fetch), NOTHING);
        let request = streams.request();
        assert_eq!(streams.answer(&request, content("v")), [format!("2.05 t={n:02x} \"v\"")]);
        let refused = streams.say(1, &get(&[n]).opt(9, b"?"));
        assert!(refused.len() == 1 && refused[0].starts_with("4.02"), "{n}: {refused:?}");
    }
    assert!(streams.paused.is_empty());
}

/// `max_outbox_bytes`: who does not read is asked no more; `write_stall_timeout` ends it.
#[test]
fn who_does_not_read_is_not_read_and_then_ended() {
    let config = Config { max_outbox_bytes: 10_000, ..Config::default() };
    let mut streams = Streams::with(config);
    streams.open(1);
    streams.say(1, &csm().opt(2, &[0x40, 0]));
    streams.reads = false;
    let value = "v".repeat(3_000);
    let many: Vec<u8> = (0..20_u8).flat_map(|n| frame(&get(&[n]))).collect();
    streams.bytes(1, &many);
    let mut taken = 0;
    while !streams.events.is_empty() {
        for event in std::mem::take(&mut streams.events) {
            let Event::Request(request) = event else { panic!("{event:?}") };
            taken += 1;
            streams.answer(&request, content(&value));
        }
    }
    assert!((4..20).contains(&taken), "{taken}");
    assert_eq!(streams.paused, [conn(1)]);
    assert!(streams.endpoint.outbox(conn(1)).len() <= 10_000 + 8 * 3_100);
    // It reads: the rest is taken up.
    assert_eq!(streams.read(conn(1)).len(), taken);
    streams.flush();
    assert!(!streams.events.is_empty(), "the rest is looked at");
    let Some(Event::Request(request)) = streams.events.pop() else { panic!() };
    streams.events.clear();
    streams.answer(&request, content(&value));
    streams.wait(Duration::from_secs(29));
    assert!(streams.closed.is_empty());
    streams.wait(Duration::from_secs(2));
    assert_eq!(streams.closed, [(conn(1), Reason::SlowConsumer)]);
    let ended = streams.ended_by(1);
    assert_eq!((ended.0, ended.2), (Reason::SlowConsumer, Some("write_stall_timeout")));
    assert!(streams.endpoint.outbox(conn(1)).is_empty());
}

/// At rest a connection has no timer of its own: only the sweep over all of them is due.
#[test]
fn no_timer_runs_for_a_connection_at_rest() {
    let mut streams = Streams::with(Config { idle_timeout: Duration::ZERO, ..Config::default() });
    for n in 1..100 {
        streams.open(n);
        streams.get(n, b"t", "v");
    }
    let now = streams.now;
    streams.wait(Duration::from_secs(60)); // deadlines that were lifted are found out lazily
    assert!(streams.now > now);
    assert_eq!(streams.endpoint.poll_timeout(), None);
    for n in 1..100 {
        streams.lost(n);
    }
    assert_eq!((streams.endpoint.connections(), streams.endpoint.peers()), (0, 0));
}
