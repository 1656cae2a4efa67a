//! Transcripts of the confirmable messages that wait for a peer that acknowledges nothing
//! (RFC 7252 §4.7): they are bounded, and what was superseded does not leave.
#![allow(missing_docs, clippy::unwrap_used, clippy::cast_possible_truncation)]

mod support;

use std::time::Duration;

use motegate_coap::endpoint::{Code, Notification, Response};
use motegate_coap::{Config, endpoint::ObservationId};
use motegate_message::Reason;
use support::{GET, Msg, Server, content, note};

const SECOND: Duration = Duration::from_secs(1);

fn end(server: &mut Server, observation: ObservationId) -> Vec<String> {
    let turn = server.turn();
    server.endpoint.end_observation(&turn, observation, Response::new(Code::NOT_ACCEPTABLE));
    server.drain();
    server.shown()
}

/// Acknowledges whatever leaves until nothing does.
fn acknowledge_all(server: &mut Server, port: u16, first: u16) -> Vec<String> {
    let (mut id, mut left) = (first, Vec::new());
    for _ in 0..10_000 {
        let sent = server.msg(port, &Msg::ack(id));
        if sent.is_empty() {
            return left;
        }
        left.extend(sent);
        id = server.last_id();
    }
    panic!("no end");
}

/// A CON GET whose Empty ACK has left; answers with `value` separately.
fn separate(server: &mut Server, id: u16, value: &str) -> Vec<String> {
    let token = id.to_be_bytes();
    server.msg(1, &Msg::con(GET, id).token(&token).path("x"));
    let exchange = server.request().exchange;
    let repeated = server.msg(1, &Msg::con(GET, id).token(&token).path("x"));
    assert_eq!(repeated, [format!("ACK 0.00 #{id}")]);
    server.respond(exchange, content(value))
}

/// RFC 7641 §4.2 with RFC 7252 §4.7: ends wait for their turn, at most 64; the oldest give way.
#[test]
fn final_notifications_are_bounded() {
    let mut server = Server::new();
    let mut first = None;
    for round in 0..1_000_u16 {
        let token = round.to_be_bytes();
        let observation = server.register(1, round, &token, "20");
        let sent = end(&mut server, observation);
        if round == 0 {
            assert_eq!(sent, ["CON 4.06 #* t=0000"]);
            first = Some(server.last_id());
        } else {
            assert!(sent.is_empty(), "{sent:?}");
        }
    }
    assert_eq!(server.dropped, [Reason::QueueFull; 1_000 - 1 - 64]);
    let left = acknowledge_all(&mut server, 1, first.unwrap());
    let newest: Vec<_> =
        (936..1_000_u16).map(|round| format!("CON 4.06 #* t={round:04x}")).collect();
    assert_eq!(left, newest);
}

/// A peer that may have more observations may be told the end of each.
#[test]
fn the_end_of_every_observation_can_wait() {
    let config = Config { max_observers_per_peer: 200, ..Config::default() };
    let mut server = Server::with(config);
    let all: Vec<_> = (0..200_u16).map(|n| server.register(1, n, &n.to_be_bytes(), "20")).collect();
    let mut sent = Vec::new();
    for observation in all {
        sent.extend(end(&mut server, observation));
        if sent.len() == 1 && !server.sent.is_empty() {
            assert_eq!(sent, ["CON 4.06 #* t=0000"]);
        }
    }
    assert_eq!(sent.len(), 1);
    assert!(server.dropped.is_empty());
}

/// RFC 7641 §3.2, §4.1: a client that registers again with the token is not told of the old end,
/// which it would take for the end of the new observation.
#[test]
fn an_end_that_is_outstanding_does_not_reach_a_new_registration() {
    let mut server = Server::new();
    let old = server.register(1, 1, b"t", "20");
    assert_eq!(end(&mut server, old), ["CON 4.06 #* t=74"]);
    let new = server.register(1, 2, b"t", "21");
    assert_eq!(server.advance(SECOND * 93), []);
    assert_eq!(server.notify(new, 1, "22"), ["NON 2.05 #* t=74 observe \"22\""]);
}

/// The same while it waits, thousands of times; other tokens keep their ends.
#[test]
fn an_end_that_waits_does_not_reach_a_new_registration() {
    let mut server = Server::new();
    let other = server.register(1, 0, b"o", "20");
    assert_eq!(end(&mut server, other), ["CON 4.06 #* t=6f"]);
    let id = server.last_id();
    for round in 1..=3_000 {
        let observation = server.register(1, round, b"t", "20");
        assert!(end(&mut server, observation).is_empty());
    }
    assert!(server.dropped.is_empty());
    assert_eq!(acknowledge_all(&mut server, 1, id), ["CON 4.06 #* t=74"]);
}

/// RFC 7641 §3.6: nor is one that deregisters.
#[test]
fn an_end_is_withdrawn_by_deregistration() {
    let mut server = Server::new();
    let observation = server.register(1, 1, b"t", "20");
    assert_eq!(end(&mut server, observation), ["CON 4.06 #* t=74"]);
    server.msg(1, &Msg::con(GET, 2).token(b"t").opt(6, &[1]).path("mqtt/t"));
    let exchange = server.request().exchange;
    assert_eq!(server.respond(exchange, content("20")), ["ACK 2.05 #2 t=74 \"20\""]);
    assert_eq!(server.advance(SECOND * 93), []);
}

/// RFC 7252 §5.2.2: past 64 waiting the oldest separate response leaves as a NON; none is lost.
#[test]
fn separate_responses_are_bounded() {
    let mut server = Server::new();
    assert_eq!(separate(&mut server, 0, "v"), ["CON 2.05 #* t=0000 \"v\""]);
    let first = server.last_id();
    for id in 1..=64 {
        assert!(separate(&mut server, id, "v").is_empty());
    }
    assert_eq!(separate(&mut server, 65, "v"), ["NON 2.05 #* t=0001 \"v\""]);
    assert_eq!(separate(&mut server, 66, "v"), ["NON 2.05 #* t=0002 \"v\""]);
    assert_eq!(server.endpoint.counters().unconfirmed_responses, 2);
    let left = acknowledge_all(&mut server, 1, first);
    let rest: Vec<_> = (3..=66).map(|id| format!("CON 2.05 #* t={id:04x} \"v\"")).collect();
    assert_eq!(left, rest);
}

/// A final notification gives way before a response does.
#[test]
fn a_final_notification_goes_before_a_response() {
    let mut server = Server::new();
    let observation = server.register(1, 1_000, b"obs", "20");
    separate(&mut server, 0, "v");
    for id in 1..=63 {
        separate(&mut server, id, "v");
    }
    assert!(end(&mut server, observation).is_empty());
    server.dropped.clear(); // the repetitions
    assert!(separate(&mut server, 64, "v").is_empty());
    assert_eq!(server.dropped, [Reason::CoapDedup, Reason::QueueFull]);
}

/// A registration whose late response had to leave as a NON stands, and is notified at once.
#[test]
fn a_registration_that_is_answered_unconfirmed() {
    let mut server = Server::new();
    separate(&mut server, 0, "v");
    let get = Msg::con(GET, 1_000).token(b"t").opt(6, &[]).path("x");
    server.msg(1, &get);
    let exchange = server.request().exchange;
    server.msg(1, &get);
    let turn = server.turn();
    let observation = server.endpoint.observe(&turn, exchange).unwrap();
    let response = motegate_coap::endpoint::Response { observe: Some(observation), ..content("a") };
    assert!(server.respond(exchange, response).is_empty());
    assert!(server.notify(observation, 1, "b").is_empty());
    for id in 1..=63 {
        assert!(separate(&mut server, id, "v").is_empty());
    }
    let expected = ["NON 2.05 #* t=74 observe \"a\"", "NON 2.05 #* t=74 observe \"b\""];
    assert_eq!(separate(&mut server, 64, "v"), expected);
    server.events.clear();
    assert_eq!(server.notify(observation, 2, "c").len(), 1);
}

/// RFC 7252 §5.10.5: what waited for another's acknowledgement is fresh for as much less when it leaves.
#[test]
fn a_notification_that_waits_grows_old() {
    let mut server = Server::new();
    let observation = server.register(1, 1, b"t", "20");
    assert_eq!(server.notify_con(observation, 1, "21").len(), 1);
    let first = server.last_id();
    let aged = |value: &str, secs: u64| Notification {
        max_age: Some(SECOND * secs as u32),
        ..note(2, value, false)
    };
    assert!(server.notify_as(observation, aged("22", 60)).is_empty());
    server.advance(Duration::from_millis(1_500));
    assert!(server.notify_as(observation, aged("23", 61)).is_empty(), "the newest counts");
    server.advance(Duration::from_millis(400));
    let sent = server.msg(1, &Msg::ack(first));
    assert_eq!(sent, ["NON 2.05 #* t=74 observe 14=3c \"23\""]);
}
