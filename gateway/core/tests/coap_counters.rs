//! What the operator sees of CoAP, number by number: why something was refused or dropped, and `$SYS`.
#![allow(clippy::cast_possible_truncation)] // option lengths and numbers are small

mod common;

use std::time::Duration;

use common::pubsub::{Broker, named};
use common::{COAP, Gateway, coap, config, option, peer, request};
use motegate_coap::pubsub::Properties;
use motegate_core::admin::{Answer, Query};
use motegate_core::settings::EchoWhen;
use motegate_core::{Config, Input, NoticeKind};
use motegate_message::{Group, Reason};

const GET: u8 = 1;
const PUT: u8 = 3;
const CON: u8 = 0;
const NON: u8 = 1;
const PATH: u16 = 11;
const V: [&str; 2] = ["mqtt", "v"];
const V_OPTIONS: [(u16, &[u8]); 2] = [(PATH, b"mqtt"), (PATH, b"v")];
const SECOND: Duration = Duration::from_secs(1);

fn reasons(gateway: &mut Gateway) -> Vec<(Reason, u64)> {
    gateway.input(Input::Admin { ticket: 1, query: Query::Status });
    let Some(Answer::Status(status)) = gateway.answers.pop() else { panic!("no status") };
    status.reasons
}

/// A request with more options, before and behind the path.
fn with(code: u8, before: &[(u16, &[u8])], behind: &[(u16, &[u8])]) -> Vec<u8> {
    request(code, 1, b"t", &[before, &V_OPTIONS, behind].concat(), b"")
}

/// Each reason is counted by itself, and what is counted is a line in the log.
#[test]
fn each_drop_is_counted_by_its_reason() {
    let plain = |_: &mut Config| {};
    let get = coap(CON, GET, 1, b"t", None, &V, b"");
    let observe =
        |mid, token: &[u8], path| coap(CON, GET, mid, token, Some(0), &["mqtt", path], b"");
    let large = coap(CON, PUT, 1, b"t", None, &V, &[0; 1_153]);
    type Case<'a> = (&'a str, fn(&mut Config), Vec<Vec<u8>>, Reason);
    let cases: Vec<Case<'_>> = vec![
        ("a stub", plain, vec![b"\x40".to_vec()], Reason::Malformed),
        ("a reserved token length", plain, vec![b"\x49\x01\x00\x01".to_vec()], Reason::Malformed),
        ("bad UTF-8", plain, vec![with(GET, &[], &[(15, b"\xff")])], Reason::Malformed),
        ("another version", plain, vec![b"\x80\x01\x00\x01".to_vec()], Reason::UnsupportedVersion),
        ("a response", plain, vec![b"\x40\x45\x00\x01".to_vec()], Reason::ProtocolError),
        ("a critical option", plain, vec![with(GET, &[(9, b"")], &[])], Reason::BadOption),
        ("a proxy option", plain, vec![with(GET, &[], &[(35, b"coap://x")])], Reason::NotSupported),
        ("a method", plain, vec![with(8, &[], &[])], Reason::MethodNotAllowed),
        ("a segment", plain, vec![with(GET, &[], &[(PATH, b"..")])], Reason::BadTopic),
        ("a wildcard", plain, vec![with(GET, &[], &[(PATH, b"+")])], Reason::BadTopic),
        ("a query", plain, vec![with(GET, &[], &[(15, b"x=1")])], Reason::BadOption),
        ("a repetition", plain, vec![get.clone(), get.clone()], Reason::CoapDedup),
        ("a large payload", plain, vec![large], Reason::TooLarge),
        ("no rule", plain, vec![coap(CON, GET, 1, b"t", None, &["none"], b"")], Reason::NoRule),
        ("a condition", plain, vec![with(GET, &[(1, b"")], &[])], Reason::PreconditionFailed),
        (
            "the gateway's own",
            plain,
            vec![coap(CON, PUT, 1, b"t", None, &["mqtt", "$SYS", "x"], b"1")],
            Reason::BadTopic,
        ),
        (
            "nobody",
            |config| config.listeners[usize::from(COAP.0)].anonymous = false,
            vec![get.clone()],
            Reason::AuthMissing,
        ),
        (
            "too fast",
            |config| config.coap.max_request_rate = 1,
            (1..=3).map(|mid| coap(CON, GET, mid, b"t", None, &V, b"")).collect(),
            Reason::RateLimited,
        ),
        (
            "an observer too many",
            |config| config.coap.max_observers_per_peer = 1,
            vec![observe(1, b"a", "a"), observe(2, b"b", "b")],
            Reason::QuotaExceeded,
        ),
        (
            "a deduplication entry",
            |config| config.coap.max_exchanges = 64,
            (1..=65).map(|mid| coap(NON, PUT, mid, b"t", None, &V, b"1")).collect(),
            Reason::QuotaExceeded,
        ),
    ];
    for (name, change, packets, reason) in cases {
        let mut config = config();
        change(&mut config);
        let mut gateway = Gateway::new(config);
        for packet in packets {
            gateway.datagram(COAP, peer(4_000), &packet);
        }
        assert_eq!(reasons(&mut gateway), [(reason, 1)], "{name}");
        let said = |kind: &NoticeKind| match kind {
            NoticeKind::Refused(said) | NoticeKind::Dropped(said) => *said == reason,
            _ => false,
        };
        assert!(gateway.notices.iter().any(|notice| said(&notice.kind)), "{name}");
    }
}

/// Who does not acknowledge is given up: a separate response, and an observer.
#[test]
fn what_was_given_up_is_counted() {
    let mut gateway = Gateway::new(config());
    gateway.commit_at_once = false;
    gateway.datagram(COAP, peer(4_000), &coap(CON, PUT, 1, b"t", None, &V, b"1"));
    gateway.advance(2 * SECOND); // the acknowledgement leaves alone
    gateway.commit();
    gateway.advance(100 * SECOND);
    assert_eq!(reasons(&mut gateway), [(Reason::RetryExhausted, 1)]);
    let mut gateway = Gateway::new(config());
    gateway.datagram(COAP, peer(4_000), &coap(CON, GET, 1, b"t", Some(0), &V, b""));
    gateway.datagram(COAP, peer(4_001), &coap(CON, PUT, 1, b"t", None, &V, b"1"));
    gateway.advance(100 * SECOND);
    assert_eq!(reasons(&mut gateway), [(Reason::RetryExhausted, 1)]);
    let said = gateway.notices.iter().find_map(|notice| notice.text.clone());
    assert_eq!(said.as_deref(), Some("whoever observed /mqtt/v acknowledges nothing any more"));
}

/// The next round of `$SYS`, read from a port of its own.
struct Figures<'a> {
    gateway: &'a mut Gateway,
    mid: u16,
}

impl<'a> Figures<'a> {
    fn of(gateway: &'a mut Gateway) -> Self {
        gateway.advance(10 * SECOND);
        Figures { gateway, mid: 0 }
    }

    fn is(&mut self, name: &str) -> u64 {
        self.mid += 1;
        let topic = ["mqtt/$SYS/motegate/coap/", name].concat();
        let path: Vec<(u16, &[u8])> = topic.split('/').map(|s| (PATH, s.as_bytes())).collect();
        let get = request(GET, self.mid, b"", &path, b"");
        let answer = self.gateway.datagram(COAP, peer(9_999), &get)[0].clone();
        let number = answer.split(|byte| *byte == 0xff).next_back().unwrap_or_default();
        let text = std::str::from_utf8(number).ok().and_then(|text| text.parse().ok());
        text.unwrap_or_else(|| panic!("{name}: {answer:02x?}"))
    }
}

/// Requests, repetitions, repeated messages, observers of the gateway and of one topic, and who was not
/// taken.
#[test]
fn sys_has_what_clients_do() {
    let mut config = Config { max_observers_per_topic: 2, ..config() };
    config.coap.max_observers_per_peer = 2;
    config.coap.max_observers = 4;
    let mut gateway = Gateway::new(config);
    let mut told = 0;
    for (mid, port, topic) in [
        (1, 4_000, "v"),
        (2, 4_000, "w"),
        (3, 4_000, "x"),
        (4, 4_001, "v"),
        (5, 4_002, "v"),
        (6, 4_003, "x"),
        (7, 4_004, "y"),
    ] {
        let register = coap(CON, GET, mid, &[mid as u8], Some(0), &["mqtt", topic], b"");
        let answer = gateway.datagram(COAP, peer(port), &register)[0].clone();
        told += u64::from(option(&answer, 6).is_some());
    }
    assert_eq!(told, 4, "the third of a client, of a topic, and the fifth of all are not taken");
    let put = coap(CON, PUT, 8, b"p", None, &V, b"1");
    gateway.datagram(COAP, peer(4_005), &put);
    for port in [4_000, 4_001] {
        assert_eq!(gateway.datagrams_to(peer(port)).len(), 1);
    }
    gateway.datagram(COAP, peer(4_005), &put); // once more: recognised
    gateway.advance(Duration::from_millis(3_100)); // ACK_TIMEOUT is 2 to 3 s
    let again = [4_000, 4_001].map(|port| (port, gateway.datagrams_to(peer(port))));
    for (port, again) in again {
        assert_eq!(again.len(), 1, "repeated once");
        gateway.datagram(COAP, peer(port), &[0x60, 0, again[0][2], again[0][3]]);
    }
    let mut figures = Figures::of(&mut gateway);
    for (name, is) in [
        ("clients/observing", 3),
        ("observations/count", 4),
        ("observations/highest", 2),
        ("observations/refused", 3),
        ("requests/received", 8),
        ("requests/repeated", 1),
        ("requests/challenged", 0),
        ("messages/retransmitted", 2),
        ("publish/received", 1),
        ("publish/sent", 2),
        ("packets/received", 11), // 7 registrations, a PUT twice, 2 acknowledgements
        ("packets/sent", 13),     // an answer to each of 9, 2 notifications twice
    ] {
        assert_eq!(figures.is(name), is, "{name}");
    }
    assert_eq!(figures.gateway.limit("max_observers").acted, Some(1));
    assert_eq!(figures.gateway.limit("max_observers_per_peer").acted, Some(1));
    assert_eq!(figures.gateway.limit("max_observers_per_topic").acted, Some(1));
}

/// RFC 9175: who had to prove the address.
#[test]
fn sys_has_challenges() {
    let mut config = config();
    config.coap.unverified.echo = EchoWhen::Always;
    let mut gateway = Gateway::new(config);
    for mid in 1..=2 {
        let register = coap(CON, GET, mid, b"t", Some(0), &V, b"");
        assert_eq!(gateway.datagram(COAP, peer(4_000), &register)[0][1], 0x81, "4.01 with Echo");
    }
    let mut figures = Figures::of(&mut gateway);
    assert_eq!(figures.is("requests/challenged"), 2);
    assert_eq!(figures.is("observations/count"), 0);
}

/// What came by a group, and what of it was answered.
#[test]
fn sys_has_discovery() {
    let mut gateway = Gateway::new(config());
    let group: Group = "224.0.1.187%eth0".parse().expect("a group");
    for (port, query) in [(4_000, &b"rt=core.ps"[..]), (4_001, b"rt=other")] {
        let options = [(PATH, &b".well-known"[..]), (PATH, b"core"), (15, query)];
        let mut bytes = request(GET, 1, b"t", &options, b"");
        bytes[0] |= 0x10;
        let (listener, group, peer) = (COAP, &group, peer(port));
        gateway.input(Input::GroupDatagram { listener, group, peer, bytes: &bytes });
    }
    let mut figures = Figures::of(&mut gateway);
    assert_eq!((figures.is("discovery/received"), figures.is("discovery/sent")), (2, 1));
}

/// The topics of core-pubsub, and who was beyond `max-subscribers`.
#[test]
fn sys_has_the_topics_of_the_collection() {
    let mut broker = Broker::new();
    let id = broker.make(&Properties { max_subscribers: Some(1), ..named("t") });
    broker.make(&named("u"));
    broker.data(4_000, PUT, "t", &[], b"1");
    assert!(option(&broker.observe(4_001, "t"), 6).is_some());
    assert_eq!(option(&broker.observe(4_002, "t"), 6), None);
    broker.topic(4, &id, &[], b"");
    let mut figures = Figures::of(&mut broker.gateway);
    for (name, is) in
        [("topics/count", 1), ("topics/created", 2), ("topics/subscribers/refused", 1)]
    {
        assert_eq!(figures.is(name), is, "{name}");
    }
}

/// RFC 8323: connections that are open, that we aborted, and whom we asked whether they are there.
#[test]
fn sys_has_connections() {
    let mut config = config();
    config.coap.idle_timeout = 5 * SECOND;
    let mut gateway = Gateway::new(config);
    let connections: Vec<_> = (0..3).map(|_| gateway.open_at(COAP, [127, 0, 0, 1], None)).collect();
    for conn in &connections {
        gateway.send(*conn, &[0, 0xe1]); // a CSM
    }
    gateway.send(connections[0], &[0x09, 1]); // a reserved token length
    let mut figures = Figures::of(&mut gateway);
    assert_eq!(figures.is("connections/count"), 2);
    assert_eq!(figures.is("connections/aborted"), 1);
    assert_eq!(figures.is("connections/pinged"), 2);
    assert_eq!(reasons(figures.gateway), [(Reason::Malformed, 1)]);
}
