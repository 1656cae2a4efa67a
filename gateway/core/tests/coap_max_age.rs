//! Max-Age (RFC 7252 §5.10.5, RFC 7641 §4.3.1): what remains of a value's expiry, else what its rule
//! says, else nothing, which means 60 s.
#![allow(clippy::cast_possible_truncation)] // option lengths and numbers are small

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{COAP, Gateway, Options, config, option, peer, publish, request};
use motegate_core::{Input, Reload};
use motegate_mapping::{Action, CoapMethod, CoapRule, Defaults, Rules, Table};

const GET: u8 = 1;
const PUT: u8 = 3;
const DELETE: u8 = 4;
const VALID: u8 = 0x43;
const CONTENT: u8 = 0x45;
const NOT_FOUND: u8 = 0x84;

const ETAG: u16 = 4;
const OBSERVE: u16 = 6;
const PATH: u16 = 11;
const MAX_AGE: u16 = 14;
const QUERY: u16 = 15;
const BLOCK2: u16 = 23;

const REGISTER: (u16, &[u8]) = (OBSERVE, b"");

fn rule(path: &str, topic: &str, secs: Option<u64>) -> CoapRule {
    CoapRule {
        name: path.into(),
        path: path.into(),
        topic: topic.into(),
        query: vec![("expiry".into(), "expiry".into())],
        max_age: secs.map(Duration::from_secs),
        ..CoapRule::default()
    }
}

/// Of an hour, always to be asked again, of a default of two minutes, and of several topics.
fn table(slow: u64) -> Table {
    let all = CoapRule {
        methods: Some(vec![(CoapMethod::Observe, Action::Subscribe)]),
        ..rule("/all", "slow/+", Some(slow))
    };
    let coap = vec![
        rule("/slow/{x}", "slow/{x}", Some(slow)),
        rule("/now/{x}", "now/{x}", Some(0)),
        rule("/some/{x}", "some/{x}", None),
        all,
    ];
    let defaults = Defaults { max_age: Some(Duration::from_secs(120)), ..Defaults::default() };
    Table::new(Rules { coap, defaults, ..Rules::default() }).expect("good rules")
}

/// One client, and another that writes.
struct Client {
    gateway: Gateway,
    mid: u16,
}

impl Client {
    fn new() -> Self {
        Client { gateway: Gateway::with_table(config(), table(3_600)), mid: 0 }
    }

    /// A confirmable request for `path`, with options before and behind it.
    fn ask(&mut self, code: u8, before: Options<'_>, path: &str, behind: Options<'_>) -> Vec<u8> {
        self.send(4_000, code, before, path, behind)
    }

    /// The other client writes; what this one is told of it.
    fn update(&mut self, code: u8, path: &str, behind: Options<'_>) -> Vec<u8> {
        self.send(4_001, code, &[], path, behind);
        let told = self.told();
        assert_eq!(told.len(), 1);
        told[0].clone()
    }

    fn send(
        &mut self,
        port: u16,
        code: u8,
        before: Options<'_>,
        path: &str,
        behind: Options<'_>,
    ) -> Vec<u8> {
        self.mid += 1;
        let path: Vec<(u16, &[u8])> = path.split('/').map(|s| (PATH, s.as_bytes())).collect();
        let options = [before, &path[..], behind].concat();
        let body: &[u8] = if code == PUT { b"21.5" } else { b"" };
        let bytes = request(code, self.mid, &[self.mid as u8], &options, body);
        let answers = self.gateway.datagram(COAP, peer(port), &bytes);
        assert!(!answers.is_empty());
        answers[0].clone()
    }

    fn get(&mut self, path: &str) -> (u8, Option<u32>) {
        let answer = self.ask(GET, &[], path, &[]);
        (answer[1], max_age(&answer))
    }

    /// What was told, acknowledged.
    fn told(&mut self) -> Vec<Vec<u8>> {
        let told = self.gateway.datagrams_to(peer(4_000));
        for packet in told.iter().filter(|packet| packet[0] >> 4 == 4) {
            self.gateway.datagram(COAP, peer(4_000), &[0x60, 0, packet[2], packet[3]]);
        }
        told
    }
}

/// RFC 7252 §3.2: an uint.
fn max_age(packet: &[u8]) -> Option<u32> {
    let value = option(packet, MAX_AGE)?;
    Some(value.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte)))
}

/// RFC 7252 §5.10.5: the rule's word, the default's, or what remains of the expiry, which goes first.
#[test]
fn rfc_7252_s5_10_5_of_values_as_the_rule_says() {
    let mut client = Client::new();
    for (path, age) in [("slow/a", 3_600), ("now/a", 0), ("some/a", 120), ("mqtt/p", 120)] {
        client.ask(PUT, &[], path, &[]);
        assert_eq!(client.get(path), (CONTENT, Some(age)), "{path}");
        // §5.9.1.3: 2.03 says anew how long the value is fresh.
        let etag = option(&client.ask(GET, &[], path, &[]), ETAG).expect("an ETag");
        let valid = client.ask(GET, &[(ETAG, &etag)], path, &[]);
        assert_eq!((valid[1], max_age(&valid)), (VALID, Some(age)), "{path}");
        let expiring = [(QUERY, &b"expiry=7200"[..])];
        assert_eq!(max_age(&client.ask(PUT, &[], path, &expiring)), None, "not of a PUT");
        client.gateway.advance(Duration::from_secs(200));
        assert_eq!(client.get(path), (CONTENT, Some(7_000)), "{path}: of what expires");
    }
    let mut plain = Gateway::new(config());
    let value = |gateway: &mut Gateway, mid, code, body: &[u8]| {
        let path = [(PATH, &b"mqtt"[..]), (PATH, b"v")];
        let bytes = request(code, mid, b"t", &path, body);
        gateway.datagram(COAP, peer(4_000), &bytes)[0].clone()
    };
    value(&mut plain, 1, PUT, b"1");
    assert_eq!(max_age(&value(&mut plain, 2, GET, b"")), None, "60 s need no word");
}

/// RFC 7252 §5.9.2: a cache keeps 4.04 for 60 s, or less where the rule says less of its values; an
/// hour would hide the first one.
#[test]
fn rfc_7252_s5_9_2_of_what_is_not_there() {
    let mut client = Client::new();
    for (path, age) in [("slow/a", None), ("now/a", Some(0)), ("some/a", None)] {
        assert_eq!(client.get(path), (NOT_FOUND, age), "{path}");
    }
}

/// RFC 7252 §5.9.3.4: 5.03 says when to come again, whatever the rule says of values.
#[test]
fn rfc_7252_s5_9_3_4_of_what_is_refused_for_load() {
    let config = motegate_core::Config { max_uncommitted_bytes: 1, ..config() };
    let mut gateway = Gateway::with_table(config, table(3_600));
    gateway.commit_at_once = false;
    let path = [(PATH, &b"slow"[..]), (PATH, b"a")];
    gateway.datagram(COAP, peer(4_000), &request(PUT, 1, b"t", &path, b"1"));
    let answer = &gateway.datagram(COAP, peer(4_001), &request(PUT, 2, b"t", &path, b"2"))[0];
    assert_eq!((answer[1], max_age(answer)), (0xa3, Some(5)));
}

/// RFC 7641 §4.3.1: the age up to which it may be out of step is said in every notification.
#[test]
fn rfc_7641_s4_3_1_of_notifications() {
    for (path, age) in [("slow/a", 3_600), ("now/a", 0), ("some/a", 120), ("mqtt/p", 120)] {
        let mut client = Client::new();
        // Nothing is there yet: 2.05 without a value.
        let answer = client.ask(GET, &[REGISTER], path, &[]);
        assert_eq!((answer[1], max_age(&answer)), (CONTENT, Some(age)), "{path}");
        let told = client.update(PUT, path, &[]);
        assert_eq!((told[1], max_age(&told)), (CONTENT, Some(age)), "{path}");
        let told = client.update(PUT, path, &[(QUERY, b"expiry=90")]);
        assert_eq!(max_age(&told), Some(90), "{path}: of what expires");
        // The value that is gone has no expiry left; that there is none is as old as a value may be.
        let told = client.update(DELETE, path, &[(QUERY, b"expiry=90")]);
        assert_eq!((told[1], max_age(&told)), (CONTENT, Some(age)), "{path}");
    }
}

/// Several topics: the registration, and each of the packs.
#[test]
fn of_several_topics() {
    let mut client = Client::new();
    let answer = client.ask(GET, &[REGISTER], "all", &[]);
    assert_eq!((answer[1], max_age(&answer)), (CONTENT, Some(3_600)));
    client.gateway.datagrams.clear();
    let writer = client.gateway.mqtt("writer", true);
    client.gateway.send(writer, &publish("slow/b", b"21.5", 0, false, 0));
    let told = client.told();
    assert_eq!((told.len(), max_age(&told[0])), (1, Some(3_600)));
}

/// RFC 7959 §3.4: the rest of a notification is as old as its first block.
#[test]
fn of_the_rest_of_a_notification() {
    let mut client = Client::new();
    client.ask(GET, &[REGISTER], "slow/a", &[]);
    let writer = client.gateway.mqtt("writer", true);
    let mut large = vec![0x30, 0x88, 0x10, 0, 6];
    large.extend_from_slice(b"slow/a");
    large.resize(large.len() + 2_048, b'x');
    client.gateway.send(writer, &large);
    let told = client.told();
    assert_eq!((option(&told[0], BLOCK2), max_age(&told[0])), (Some(vec![0x0e]), Some(3_600)));
    client.gateway.advance(Duration::from_secs(10));
    let rest = client.ask(GET, &[], "slow/a", &[(BLOCK2, &[0x16])]);
    assert_eq!((rest[1], max_age(&rest)), (CONTENT, Some(3_590)));
}

/// mapping.md §2.18: a rule that says another age moves nobody; it is said from the next time on.
#[test]
fn a_reload_changes_it() {
    let mut client = Client::new();
    client.ask(GET, &[REGISTER], "slow/a", &[]);
    let reload = Reload {
        config: client.gateway.core.config().clone(),
        table: Arc::new(table(600)),
        removed: Vec::new(),
        moved: Vec::new(),
    };
    client.gateway.datagrams.clear();
    client.gateway.input(Input::Reload(Box::new(reload)));
    assert_eq!((client.gateway.touched.len(), client.told().len()), (0, 0));
    assert_eq!(max_age(&client.update(PUT, "slow/a", &[])), Some(600));
    assert_eq!(client.get("slow/a"), (CONTENT, Some(600)));
}
