//! How many observe: bounds of all, of a client and of a topic (RFC 7641 §4.1: beyond them 2.05 without
//! Observe), and what the operator sees of them.
#![allow(clippy::cast_possible_truncation)] // option lengths and numbers are small

mod common;

use std::sync::Arc;

use common::{COAP, Gateway, coap, config, listener, option, peer, publish};
use motegate_core::{Config, Input, NoticeKind, Protocol, Reload};
use motegate_mapping::{Action, CoapMethod, CoapRule, Rules, Table};
use motegate_message::{ListenerId, Reason};

const OBSERVE: u16 = 6;
const CONTENT: u8 = 0x45;
const NOT_FOUND: u8 = 0x84;
/// Another listener of CoAP.
const OTHER: ListenerId = ListenerId(3);

fn limited(most: usize) -> Config {
    let mut config = Config { max_observers_per_topic: most, ..config() };
    config.listeners.push(listener("other", Protocol::Coap, "coap"));
    config
}

/// `/alias/x` and `/mqtt/x` are one topic; `/all` is a filter; with `moved` the alias is another topic.
fn table(moved: bool) -> Table {
    let rule = |path: &str, topic: &str| CoapRule {
        name: path.into(),
        path: path.into(),
        topic: topic.into(),
        ..CoapRule::default()
    };
    let all = CoapRule {
        methods: Some(vec![(CoapMethod::Observe, Action::Subscribe)]),
        ..rule("/all", "+")
    };
    let alias = rule("/alias/{x}", if moved { "{x}/moved" } else { "{x}" });
    Table::new(Rules { coap: vec![alias, all], ..Rules::default() }).expect("good rules")
}

struct Clients {
    gateway: Gateway,
    mid: u16,
}

impl Clients {
    fn new(config: Config) -> Self {
        Clients { gateway: Gateway::with_table(config, table(false)), mid: 0 }
    }

    fn get(&mut self, at: ListenerId, port: u16, token: &[u8], observe: u8, path: &str) -> Vec<u8> {
        self.mid += 1;
        let path: Vec<&str> = path.split('/').collect();
        let bytes = coap(0, 1, self.mid, token, Some(observe), &path, b"");
        self.gateway.datagram(at, peer(port), &bytes)[0].clone()
    }

    /// Registers; whether it is observed. It is answered in any case, as a GET if it is not: without
    /// a value that is 4.04.
    fn observes(&mut self, at: ListenerId, port: u16, path: &str) -> bool {
        let answer = self.get(at, port, b"t", 0, path);
        let is_observed = option(&answer, OBSERVE).is_some();
        let expected: &[u8] = if is_observed { &[CONTENT] } else { &[CONTENT, NOT_FOUND] };
        assert!(expected.contains(&answer[1]), "{answer:02x?}");
        is_observed
    }

    /// Somebody writes; how many hear of it.
    fn told(&mut self, topic: &str) -> usize {
        self.mid += 1;
        let put = coap(0, 3, self.mid, b"w", None, &["mqtt", topic], b"1");
        self.gateway.datagram(COAP, peer(3_999), &put);
        self.gateway.datagrams.len()
    }

    /// Observers of the topic that has the most, and how often the bound acted.
    fn row(&mut self) -> (Option<u64>, Option<u64>) {
        let row = self.gateway.limit("max_observers_per_topic");
        (row.used, row.acted)
    }
}

/// RFC 7641 §4.1: whoever comes when a topic has its observers gets the value alone, by whichever path
/// and listener.
#[test]
fn rfc_7641_s4_1_a_topic_has_so_many_observers() {
    let mut clients = Clients::new(limited(2));
    clients.told("v");
    assert!(clients.observes(COAP, 4_001, "mqtt/v"));
    assert!(clients.observes(OTHER, 4_002, "alias/v"));
    assert_eq!(clients.row(), (Some(2), Some(0)));
    for (at, path) in [(COAP, "mqtt/v"), (OTHER, "mqtt/v"), (COAP, "alias/v")] {
        let answer = clients.get(at, 4_003, b"t", 0, path);
        assert_eq!((answer[1], option(&answer, OBSERVE)), (CONTENT, None), "{path}");
    }
    assert_eq!(clients.row(), (Some(2), Some(3)));
    let refused = |kind: &NoticeKind| *kind == NoticeKind::Dropped(Reason::QuotaExceeded);
    let said = clients.gateway.notices.iter().find(|notice| refused(&notice.kind));
    assert_eq!(said.map(|notice| notice.limit), Some(Some("max_observers_per_topic")));
    assert!(clients.observes(COAP, 4_003, "mqtt/w"), "another topic");
    assert!(clients.observes(COAP, 4_001, "mqtt/v"), "the same one again (RFC 7641 §4.1)");
    assert_eq!(clients.told("v"), 2, "who was refused hears nothing");
    // One goes: there is room.
    clients.get(COAP, 4_001, b"t", 1, "mqtt/v");
    assert!(clients.observes(COAP, 4_004, "mqtt/v"));
    assert_eq!(clients.row(), (Some(2), Some(3)));
}

/// RFC 7641 §4.1: a token observes one thing; what is refused does not leave it with another.
#[test]
fn a_refused_registration_ends_what_its_token_observed() {
    let mut clients = Clients::new(limited(1));
    assert!(clients.observes(COAP, 4_001, "mqtt/full"));
    assert!(clients.observes(COAP, 4_002, "mqtt/v"));
    assert!(!clients.observes(COAP, 4_002, "mqtt/full"));
    assert_eq!(clients.told("v"), 0);
    assert_eq!(clients.row(), (Some(1), Some(1)));
}

/// A filter is counted by itself.
#[test]
fn several_topics_have_so_many_observers_too() {
    let mut clients = Clients::new(limited(1));
    assert!(clients.observes(COAP, 4_001, "all"));
    assert!(clients.observes(COAP, 4_002, "mqtt/v"));
    let answer = clients.get(COAP, 4_003, b"t", 0, "all");
    assert_eq!(
        (answer[1], option(&answer, OBSERVE)),
        (0xa3, None),
        "5.03: there is no value alone"
    );
    assert_eq!(option(&answer, 14), Some(vec![5]), "RFC 7252 §5.9.3.4: when to come again");
    assert_eq!(clients.row(), (Some(1), Some(1)));
}

/// What waits for an observer of several topics is bounded as a session's queue is, in messages and in
/// bytes; the latest are kept.
#[test]
fn what_waits_of_several_topics_is_bounded() {
    for (messages, bytes, kept, limit) in
        [(5, 1 << 20, 5..6, "max_queued_messages"), (1_000, 2_000, 5..20, "max_queued_bytes")]
    {
        let mut config = limited(1);
        (config.queue.max_messages, config.queue.max_bytes) = (messages, bytes);
        let mut clients = Clients::new(config);
        assert!(clients.observes(COAP, 4_001, "all"));
        let mqtt = clients.gateway.mqtt("m", true);
        let mut told = Vec::new();
        for n in 0..100 {
            clients.gateway.send(mqtt, &publish(&n.to_string(), &[b'x'; 100], 1, false, n + 1));
            told.extend(clients.gateway.datagrams_to(peer(4_001)));
        }
        assert_eq!(told.len(), 1, "a CON that is not acknowledged");
        assert!(clients.gateway.limit(limit).acted > Some(75));
        while let Some(last) = told.last().filter(|_| told.len() < 100).cloned() {
            let ack = [0x60, 0, last[2], last[3]];
            let more = clients.gateway.datagram(COAP, peer(4_001), &ack);
            if more.is_empty() {
                break;
            }
            told.extend(more);
        }
        assert!(kept.contains(&(told.len() - 1)), "{limit}: {}", told.len());
        let last = String::from_utf8_lossy(told.last().expect("some")).into_owned();
        assert!(last.contains("99"), "the last of all is there: {last}");
    }
}

/// By default there is no other bound than that of all observers.
#[test]
fn ten_thousand_observe_one_topic() {
    let mut config = config();
    config.coap.max_observers = 10_000;
    assert!(config.max_observers_per_topic >= 100_000);
    let mut clients = Clients::new(config);
    for port in 1_000..11_000 {
        assert!(clients.observes(COAP, port, "mqtt/v"));
    }
    assert!(!clients.observes(COAP, 11_000, "mqtt/v"), "max_observers");
    assert_eq!(clients.row(), (Some(10_000), Some(0)));
    assert_eq!(clients.gateway.limit("max_observers").acted, Some(1));
}

/// mapping.md §2.18: a reload ends nobody's observation for it, and counts where they have moved to.
#[test]
fn a_reload_changes_the_bound_and_where_they_count() {
    let mut clients = Clients::new(limited(3));
    for port in 4_001..=4_003 {
        assert!(clients.observes(COAP, port, "alias/v"));
    }
    let mut reload = |config: Config, moved: bool| {
        let reload =
            Reload { config, table: Arc::new(table(moved)), removed: vec![], moved: vec![] };
        clients.gateway.input(Input::Reload(Box::new(reload)));
    };
    reload(limited(1), false);
    assert_eq!(clients.row(), (Some(3), Some(0)));
    assert!(!clients.observes(COAP, 4_004, "mqtt/v"));
    let reload =
        Reload { config: limited(1), table: Arc::new(table(true)), removed: vec![], moved: vec![] };
    clients.gateway.input(Input::Reload(Box::new(reload)));
    assert!(clients.observes(COAP, 4_004, "mqtt/v"), "they have gone");
    assert!(!clients.observes(COAP, 4_005, "alias/v"), "to here");
    assert_eq!(clients.row(), (Some(3), Some(2)));
}
