//! Transcripts of observations: RFC 7641 by clause, with the ETSI plugtest case where one applies.
#![allow(missing_docs, clippy::unwrap_used, clippy::cast_possible_truncation)]

mod support;

use std::time::Duration;

use motegate_coap::Config;
use motegate_coap::endpoint::{Code, Event, ObservationId, Observe, Response};
use motegate_message::{Reason, Seq};
use support::{GET, Msg, Server, content, note, observe_value};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);

/// TD_COAP_OBS_02: NON notifications; sequence numbers grow (RFC 7641 §4.4).
#[test]
fn notifications_carry_the_token_and_growing_numbers() {
    let mut server = Server::new();
    let observation = server.register(1, 1, b"tok", "20");
    let mut last = observe_value(&server.sent[0].1).unwrap();
    for (delivery, value) in (1..).zip(["21", "22", "23"]) {
        let sent = server.notify(observation, delivery, value);
        assert_eq!(sent, [format!("NON 2.05 #* t=746f6b observe {value:?}")]);
        let sequence = observe_value(&server.sent[0].1).unwrap();
        assert_eq!(sequence, (last + 1) & 0xff_ffff);
        last = sequence;
        assert_eq!(server.notified(), [delivery]); // reported when sent
    }
}

/// RFC 7641 §4.4: the numbers of a token grow also where it is cancelled and registered again in the
/// same moment.
#[test]
fn numbers_grow_over_a_cancellation() {
    let mut server = Server::new();
    let mut last = None;
    for id in (1..20).step_by(2) {
        server.register(1, id, b"tok", "20");
        let number = observe_value(&server.sent[0].1).unwrap();
        assert!(last.is_none_or(|last| number > last), "{number} after {last:?}");
        last = Some(number);
        server.msg(1, &Msg::con(GET, id + 1).token(b"tok").opt(6, &[1]).path("mqtt/t"));
        let Some(Event::Request(request)) = server.events.pop() else { panic!("no request") };
        server.respond(request.exchange, content("20"));
        server.events.clear();
    }
}

/// TD_COAP_OBS_01: CON notifications.
#[test]
fn a_confirmable_notification_is_reported_when_acknowledged() {
    let mut server = Server::new();
    let observation = server.register(1, 1, b"t", "20");
    assert_eq!(server.notify_con(observation, 7, "21"), ["CON 2.05 #* t=74 observe \"21\""]);
    let id = server.last_id();
    assert!(server.notified().is_empty());
    assert!(server.msg(2, &Msg::ack(id)).is_empty()); // another peer's ACK means nothing
    assert!(server.notified().is_empty());
    server.msg(1, &Msg::ack(id));
    assert_eq!(server.notified(), [7]);
    assert_eq!(server.advance(SECOND * 100), []);
}

/// RFC 7641 §4.5.2: the newest value replaces the waiting one, at once.
#[test]
fn the_newest_value_replaces_the_waiting_one() {
    let mut server = Server::new();
    let observation = server.register(1, 1, b"t", "20");
    server.notify_con(observation, 1, "21");
    let id = server.last_id();
    assert!(server.notify_con(observation, 2, "22").is_empty());
    assert!(server.notified().is_empty());
    assert!(server.notify(observation, 3, "23").is_empty());
    assert_eq!(server.notified(), [2]);
    // It stays confirmable, as its predecessor had to be.
    assert_eq!(server.msg(1, &Msg::ack(id)), ["CON 2.05 #* t=74 observe \"23\""]);
    assert_eq!(server.notified(), [1]);
    let id = server.last_id();
    server.msg(1, &Msg::ack(id));
    assert_eq!(server.notified(), [3]);
}

/// RFC 7641 §4.5.2: a retransmission carries the newest value under a new id; the back-off goes on.
#[test]
fn a_retransmission_switches_to_the_newest_value() {
    let mut server = Server::new();
    let observation = server.register(1, 1, b"t", "20");
    server.notify_con(observation, 1, "21");
    let (first_id, first) = (server.last_id(), observe_value(&server.sent[0].1).unwrap());
    server.notify_con(observation, 2, "22");
    assert_eq!(server.texts(SECOND * 3), ["CON 2.05 #* t=74 observe \"22\""]);
    assert_ne!(server.last_id(), first_id);
    assert_eq!(observe_value(&server.sent[0].1), Some(first + 1));
    assert_eq!(server.notified(), [1]);
    // The old id's ACK does not confirm the new value.
    server.msg(1, &Msg::ack(first_id));
    assert!(server.notified().is_empty());
    let left = server.advance(SECOND * 100);
    assert_eq!(left.len(), 3, "four repetitions in all: {left:?}");
    assert_eq!(server.ended(), [(observation, Reason::RetryExhausted)]);
}

/// A late RST to a value that was replaced in the meantime still says "not interested".
#[test]
fn a_reset_to_a_superseded_notification_cancels() {
    let mut server = Server::new();
    let observation = server.register(1, 1, b"t", "20");
    server.notify_con(observation, 1, "21");
    let first_id = server.last_id();
    server.notify_con(observation, 2, "22");
    assert_eq!(server.texts(SECOND * 3).len(), 1);
    server.msg(1, &Msg::rst(first_id));
    assert_eq!(server.ended(), [(observation, Reason::ObserveRejected)]);
    assert_eq!(server.advance(SECOND * 100), []);
}

/// RFC 7641 §3.6, TD_COAP_OBS_04/07: RST to a CON or a NON notification.
#[test]
fn a_reset_cancels() {
    for confirmable in [false, true] {
        let mut server = Server::new();
        let observation = server.register(1, 1, b"t", "20");
        server.notify_as(observation, note(1, "21", confirmable));
        let id = server.last_id();
        server.msg(2, &Msg::rst(id)); // somebody else's
        assert!(server.ended().is_empty());
        server.msg(1, &Msg::rst(id));
        assert_eq!(server.ended(), [(observation, Reason::ObserveRejected)]);
        assert!(server.notify(observation, 2, "22").is_empty());
        assert_eq!(server.advance(SECOND * 100), []);
        assert_eq!(server.endpoint.observations(), 0);
    }
}

#[test]
fn a_reset_to_one_of_the_last_notifications_finds_its_observation() {
    let mut server = Server::new();
    let a = server.register(1, 1, b"a", "");
    let b = server.register(1, 2, b"b", "");
    server.notify(a, 1, "1");
    let id = server.last_id();
    for delivery in 2..=4 {
        server.notify(a, delivery, "x");
        server.notify(b, delivery, "y");
    }
    server.msg(1, &Msg::rst(id));
    assert_eq!(server.ended(), [(a, Reason::ObserveRejected)]);
    assert_eq!(server.notify(b, 9, "z").len(), 1);
}

/// TD_COAP_OBS_05: client loss; RFC 7641 §4.5: the last time-out cancels.
#[test]
fn a_silent_client_is_forgotten() {
    let mut server = Server::new();
    let observation = server.register(1, 1, b"t", "20");
    server.notify_con(observation, 1, "21");
    let left = server.advance(SECOND * 93);
    assert_eq!(left.len(), 4);
    assert_eq!(server.ended(), [(observation, Reason::RetryExhausted)]);
    assert!(server.notify(observation, 2, "22").is_empty());
}

/// RFC 7641 §3.6: GET with Observe 1 and the same token.
#[test]
fn a_deregistration_cancels_and_is_answered_as_a_plain_get() {
    let mut server = Server::new();
    let observation = server.register(1, 1, b"t", "20");
    server.msg(1, &Msg::con(GET, 2).token(b"t").opt(6, &[1]).path("mqtt/t"));
    let end = Event::ObservationEnded { observation, reason: Reason::ClientDisconnect };
    assert_eq!(server.events.remove(0), end);
    let request = server.request();
    assert_eq!(request.observe, Some(Observe::Deregister));
    assert_eq!(server.respond(request.exchange, content("20")), ["ACK 2.05 #2 t=74 \"20\""]);
    // Another token or another peer's same token leaves an observation alone.
    let observation = server.register(1, 3, b"t", "20");
    for (port, token) in [(1, b"u"), (2, b"t")] {
        server.msg(port, &Msg::con(GET, 4).token(token).opt(6, &[1]).path("mqtt/t"));
        server.request();
    }
    assert_eq!(server.notify(observation, 1, "21").len(), 1);
}

/// TD_COAP_OBS_12, RFC 7641 §4.1: registering again with the same token replaces.
#[test]
fn a_new_registration_with_the_same_token_replaces() {
    let mut server = Server::new();
    let old = server.register(1, 1, b"t", "20");
    for delivery in 0..5 {
        server.notify(old, delivery, "21");
    }
    let last = observe_value(&server.sent[0].1).unwrap();
    server.events.clear();
    let new = server.register(1, 2, b"t", "22");
    assert_eq!(server.ended(), [(old, Reason::TakenOver)]);
    assert_ne!(old, new);
    assert_eq!(server.endpoint.observations(), 1);
    // Newer than anything the client saw under this token.
    let sequence = observe_value(&server.sent[0].1).unwrap();
    assert!((sequence.wrapping_sub(last) & 0xff_ffff) < 1 << 23 && sequence != last);
    assert!(server.notify(old, 9, "23").is_empty());
    assert_eq!(server.notify(new, 9, "23").len(), 1);
}

/// TD_COAP_OBS_10: a GET during an observation is just a GET.
#[test]
fn a_plain_get_leaves_observations_alone() {
    let mut server = Server::new();
    let observation = server.register(1, 1, b"t", "20");
    server.msg(1, &Msg::con(GET, 2).token(b"g").path("mqtt/t"));
    let exchange = server.request().exchange;
    assert_eq!(server.respond(exchange, content("20")), ["ACK 2.05 #2 t=67 \"20\""]);
    assert_eq!(server.notify(observation, 1, "21").len(), 1);
}

/// TD_COAP_OBS_08, RFC 7641 §4.2: an error notification has no Observe and ends the observation.
#[test]
fn an_error_ends_the_observation() {
    let mut server = Server::new();
    let observation = server.register(1, 1, b"t", "20");
    let turn = server.turn();
    server.endpoint.end_observation(&turn, observation, Response::new(Code::NOT_FOUND));
    server.drain();
    assert_eq!(server.shown(), ["CON 4.04 #* t=74"]);
    assert!(server.ended().is_empty()); // the caller knows
    let id = server.last_id();
    assert_eq!(server.advance(SECOND * 3).len(), 1); // made sure of
    server.msg(1, &Msg::ack(id));
    assert_eq!(server.advance(SECOND * 100), []);

    let observation = server.register(1, 2, b"t", "20");
    let mut error = note(4, "gone", false);
    error.code = Code::NOT_FOUND;
    assert_eq!(server.notify_as(observation, error), ["CON 4.04 #* t=74 \"gone\""]);
    assert_eq!(server.ended(), [(observation, Reason::ObserveRejected)]);
}

#[test]
fn the_final_notification_replaces_one_that_is_outstanding() {
    let mut server = Server::new();
    let observation = server.register(1, 1, b"t", "20");
    server.notify_con(observation, 1, "21");
    let turn = server.turn();
    server.endpoint.end_observation(&turn, observation, Response::new(Code::NOT_FOUND));
    server.drain();
    assert_eq!(server.shown(), ["CON 4.04 #* t=74"]);
    let texts = server.texts(SECOND * 93);
    assert_eq!(texts, ["CON 4.04 #* t=74"; 4]);
}

/// RFC 7641 §4.5: a confirmable one every n-th time, and at least every 24 h.
#[test]
fn some_notifications_are_confirmable_whatever_is_asked() {
    let config = Config { notify_confirmable_every: 3, ..Config::default() };
    let mut server = Server::with(config);
    let observation = server.register(1, 1, b"t", "20");
    let mut kinds = Vec::new();
    for delivery in 0..7 {
        let sent = server.notify(observation, delivery, "x");
        kinds.push(sent[0][..3].to_owned());
        if sent[0].starts_with("CON") {
            let id = server.last_id();
            server.msg(1, &Msg::ack(id));
        }
    }
    assert_eq!(kinds, ["NON", "NON", "CON", "NON", "NON", "CON", "NON"]);
    assert_eq!(server.notified(), (0..7).collect::<Vec<_>>());
    // RFC 7641 §4.5: one in 24 hours, however many are allowed to be NON.
    let config = Config { notify_confirmable_every: 1_000, ..Config::default() };
    let mut server = Server::with(config);
    let observation = server.register(1, 1, b"t", "20");
    for half_hour in 1..100 {
        server.advance(HOUR / 2);
        let confirmable = server.notify(observation, half_hour, "x")[0].starts_with("CON");
        assert_eq!(confirmable, half_hour % 48 == 0, "{half_hour}");
        if confirmable {
            let id = server.last_id();
            server.msg(1, &Msg::ack(id));
        }
    }
}

/// Anti-amplification: a client that never shows a sign of life gets `every - 1` notifications and
/// one confirmable with its repetitions.
#[test]
fn a_client_that_never_answers_gets_few_datagrams() {
    let mut server = Server::new();
    let observation = server.register(1, 1, b"t", "20");
    let mut datagrams = 0;
    for delivery in 0..1_000 {
        datagrams += server.notify(observation, delivery, "x").len();
        datagrams += server.advance(Duration::from_millis(200)).len();
    }
    assert_eq!(datagrams, 7 + 5);
    assert_eq!(server.endpoint.observations(), 0);
}

/// RFC 7252 §4.7: NSTART 1 over all observations of a peer; each waits with its newest value.
#[test]
fn one_confirmable_notification_a_peer() {
    let mut server = Server::new();
    let a = server.register(1, 1, b"a", "");
    let b = server.register(1, 2, b"b", "");
    let c = server.register(1, 3, b"c", "");
    assert_eq!(server.notify_con(a, 1, "a1").len(), 1);
    let id = server.last_id();
    assert!(server.notify_con(c, 2, "c1").is_empty());
    assert!(server.notify_con(b, 3, "b1").is_empty());
    assert!(server.notify_con(c, 4, "c2").is_empty());
    assert_eq!(server.notified(), [2]);
    assert_eq!(server.msg(1, &Msg::ack(id)), ["CON 2.05 #* t=63 observe \"c2\""]);
    let id = server.last_id();
    // A cancelled observation loses its place in the queue.
    server.msg(1, &Msg::con(GET, 9).token(b"b").opt(6, &[1]).path("mqtt/t"));
    assert_eq!(server.msg(1, &Msg::ack(id)), [] as [&str; 0]);
    assert_eq!(server.advance(SECOND)[0].1, "ACK 0.00 #9");
}

/// Checklist item 23, RFC 7641 §4.1.
#[test]
fn limits_mean_no_observe() {
    let config = Config { max_observers: 3, max_observers_per_peer: 2, ..Config::default() };
    let mut server = Server::with(config);
    server.register(1, 1, b"a", "");
    let b = server.register(1, 2, b"b", "");
    let try_more = |server: &mut Server, port: u16, id: u16, token: &[u8]| {
        server.msg(port, &Msg::con(GET, id).token(token).opt(6, &[]).path("x"));
        let exchange = server.request().exchange;
        let turn = server.turn();
        let observation = server.endpoint.observe(&turn, exchange);
        let response = Response { observe: observation, ..content("v") };
        (observation.is_some(), server.respond(exchange, response))
    };
    let (stands, sent) = try_more(&mut server, 1, 3, b"c");
    assert_eq!((stands, sent), (false, vec!["ACK 2.05 #3 t=63 \"v\"".into()]));
    assert!(try_more(&mut server, 2, 3, b"c").0);
    assert!(!try_more(&mut server, 2, 4, b"d").0); // 3 in all
    assert_eq!(server.dropped, [Reason::QuotaExceeded; 2]);
    // A full table does not stop a client from registering again.
    server.msg(1, &Msg::con(GET, 5).token(b"b").opt(6, &[]).path("x"));
    let exchange = server.request().exchange;
    let turn = server.turn();
    assert!(server.endpoint.observe(&turn, exchange).is_some_and(|again| again != b));
}

#[test]
fn a_registration_that_is_refused_leaves_nothing() {
    let mut server = Server::new();
    let old = server.register(1, 1, b"t", "20");
    // The core begins an observation and then answers with an error.
    server.msg(1, &Msg::con(GET, 2).token(b"t").opt(6, &[]).path("x"));
    let exchange = server.request().exchange;
    let turn = server.turn();
    let new = server.endpoint.observe(&turn, exchange).unwrap();
    let error = Response { observe: Some(new), ..Response::new(Code::NOT_FOUND) };
    assert_eq!(server.respond(exchange, error), ["ACK 4.04 #2 t=74"]);
    let ended = server.ended();
    assert_eq!(ended, [(old, Reason::TakenOver), (new, Reason::ObserveRejected)]);
    assert_eq!(server.endpoint.observations(), 0);
    // The core never begins one: the old one with that token ends too.
    let old = server.register(1, 3, b"t", "20");
    server.msg(1, &Msg::con(GET, 4).token(b"t").opt(6, &[]).path("x"));
    let exchange = server.request().exchange;
    server.respond(exchange, content("no observe"));
    assert_eq!(server.ended(), [(old, Reason::ObserveRejected)]);
}

/// Notifications do not overtake the response to the registration.
#[test]
fn notifications_wait_for_the_registration() {
    let mut server = Server::new();
    server.durable = true;
    server.msg(1, &Msg::con(GET, 1).token(b"t").opt(6, &[]).path("x"));
    let exchange = server.request().exchange;
    let turn = server.turn();
    let observation = server.endpoint.observe(&turn, exchange).unwrap();
    assert_eq!(server.endpoint.observe(&turn, exchange), Some(observation)); // asked twice
    assert!(server.notify(observation, 1, "early").is_empty());
    let response = Response { observe: Some(observation), ..content("first") };
    assert!(server.respond_after(exchange, response, Seq(1)).is_empty());
    assert!(server.notify(observation, 2, "newer").is_empty());
    assert_eq!(server.notified(), [1]);
    let sent = server.committed(1);
    let expected = ["ACK 2.05 #1 t=74 observe \"first\"", "NON 2.05 #* t=74 observe \"newer\""];
    assert_eq!(sent, expected);
    assert_eq!(server.notified(), [2]);
}

/// A separate response to a registration holds notifications back until it is acknowledged.
#[test]
fn a_registration_answered_late() {
    let mut server = Server::new();
    server.msg(1, &Msg::con(GET, 1).token(b"t").opt(6, &[]).path("x"));
    let exchange = server.request().exchange;
    assert_eq!(server.texts(SECOND), ["ACK 0.00 #1"]);
    let turn = server.turn();
    let observation = server.endpoint.observe(&turn, exchange).unwrap();
    let response = Response { observe: Some(observation), ..content("first") };
    assert_eq!(server.respond(exchange, response), ["CON 2.05 #* t=74 observe \"first\""]);
    let id = server.last_id();
    assert!(server.notify(observation, 1, "21").is_empty());
    assert_eq!(server.msg(1, &Msg::ack(id)), ["NON 2.05 #* t=74 observe \"21\""]);
    assert_eq!(server.notified(), [1]);
}

#[test]
fn a_reset_to_a_late_registration_or_a_non_one_cancels() {
    for confirmable in [true, false] {
        let mut server = Server::new();
        let msg = if confirmable { Msg::con(GET, 1) } else { Msg::non(GET, 1) };
        server.msg(1, &msg.token(b"t").opt(6, &[]).path("x"));
        let exchange = server.request().exchange;
        server.advance(SECOND);
        let turn = server.turn();
        let observation = server.endpoint.observe(&turn, exchange).unwrap();
        let response = Response { observe: Some(observation), ..content("first") };
        server.respond(exchange, response);
        let id = server.last_id();
        server.msg(1, &Msg::rst(id));
        assert_eq!(server.ended(), [(observation, Reason::ObserveRejected)]);
    }
}

/// A lost acknowledgement of the registration: the client repeats it (TD_COAP_OBS_06).
#[test]
fn a_repeated_registration_is_answered_from_memory() {
    let mut server = Server::new();
    let msg = Msg::con(GET, 1).token(b"t").opt(6, &[]).path("mqtt/t");
    let observation = server.register(1, 1, b"t", "20");
    let first = server.sent.clone();
    server.msg(1, &msg);
    assert_eq!(server.sent, first);
    assert_eq!(server.notify(observation, 1, "21").len(), 1);
}

#[test]
fn a_notification_that_no_blocks_can_tell_ends_the_observation() {
    let mut server = Server::with(Config { block_size: 16, ..Config::default() });
    let observation = server.register(1, 1, b"t", "20");
    let sent = server.notify(observation, 1, &"x".repeat((16 << 20) + 1));
    let text = "the representation has more than 16777216 bytes";
    assert_eq!(sent, [format!("CON 4.13 #* t=74 {text:?}")]);
    assert_eq!(server.ended(), [(observation, Reason::TooLarge)]);
}

/// That the format stays (TD_COAP_OBS_09) is for the layer above to see to; here it is said.
#[test]
fn a_notification_carries_its_options() {
    let mut server = Server::new();
    let observation = server.register(1, 1, b"t", "20");
    let mut notification = note(1, "{}", false);
    notification.content_format = Some(50);
    notification.etag = Some(9);
    notification.max_age = Some(SECOND * 90);
    let sent = server.notify_as(observation, notification);
    assert_eq!(sent, ["NON 2.05 #* t=74 4=0000000000000009 observe 12=32 14=5a \"{}\""]);
}

/// A thousand observers come and go; nothing stays.
#[test]
fn everything_is_given_back() {
    let mut server = Server::new();
    for port in 0..500 {
        server.advance(Duration::from_millis(1)); // nobody waits for the pace
        let observation = server.register(port, 1, b"t", "20");
        server.notify_con(observation, 1, "21");
        let id = server.last_id();
        if port % 2 == 0 {
            server.msg(port, &Msg::ack(id));
            server.msg(port, &Msg::con(GET, 2).token(b"t").opt(6, &[1]).path("x"));
            let request = server.events.pop().unwrap();
            let Event::Request(request) = request else { panic!("{request:?}") };
            server.respond(request.exchange, content("20"));
            server.events.clear();
        }
    }
    server.advance(SECOND * 1_000);
    assert_eq!(server.endpoint.observations(), 0);
    assert_eq!(server.endpoint.deduplication_entries(), 0);
    assert_eq!(server.endpoint.peers(), 0);
    assert_eq!(server.endpoint.poll_timeout(), None);
}

/// RFC 7641 §4.5.1: an update for many leaves in portions, the newest value for those who wait; §3.6
/// holds for them too.
#[test]
fn an_update_for_many_leaves_in_portions() {
    let mut server = Server::new();
    let observers: Vec<ObservationId> =
        (0..400).map(|port| server.register(port, 1, b"t", "20")).collect();
    server.advance(SECOND);
    let at_once: usize =
        observers.iter().map(|observer| server.notify_con(*observer, 1, "21").len()).sum();
    assert_eq!(at_once, 128, "fewer than a socket's buffer holds of their acknowledgements");
    // Another value comes while they wait, and one gives up.
    let last = observers.len() - 1;
    assert!(server.notify_con(observers[last], 2, "22").is_empty());
    server.msg(200, &Msg::con(GET, 2).token(b"t").opt(6, &[1]).path("x"));
    let mut portions = Vec::new();
    let mut texts = Vec::new();
    while texts.len() < observers.len() - at_once - 1 {
        let sent = server.texts(Duration::from_millis(1));
        portions.push(sent.len());
        texts.extend(sent);
    }
    assert!(portions.len() == 3 && portions.iter().all(|n| *n <= 128), "{portions:?}");
    assert!(texts[..270].iter().all(|text| text.contains("\"21\"")), "{texts:?}");
    assert!(texts[270].contains("\"22\""), "{texts:?}");
}

#[test]
fn observers_are_listed_with_their_observations() {
    let mut server = Server::new();
    let first = server.register(1, 1, b"a", "20");
    let second = server.register(1, 2, b"b", "20");
    let other = server.register(2, 1, b"a", "20");
    let endpoint = &server.endpoint;
    let listed: Vec<_> =
        (0..endpoint.peer_slots()).filter_map(|slot| endpoint.observer_at(slot)).collect();
    let [one, two] = &listed[..] else { panic!("{listed:?}") };
    assert_eq!(one.observations, [second, first]);
    assert_eq!(two.observations, [other]);
    assert_eq!(endpoint.observer(second), Some(one.peer));
    assert_ne!(one.peer, two.peer);
}
