//! Another configuration while everybody stays connected (mapping.md §2.18).

mod common;

use std::sync::Arc;

use common::{COAP, Gateway, MQTT, SN, coap, config, listener, peer, publish, sn, sn_connect};
use motegate_core::{Change, Config, Input, Protocol, Reload, align};
use motegate_mapping::{CoapRule, Rules, Scope, SnRules, Table, TopicId};
use motegate_message::{ListenerId, Reason};

fn coap_rule(name: &str, path: &str, topic: &str) -> CoapRule {
    CoapRule { name: name.into(), path: path.into(), topic: topic.into(), ..CoapRule::default() }
}

fn id(number: u16, topic: &str) -> TopicId {
    TopicId { first: number, last: number, topic: topic.into(), ..TopicId::default() }
}

fn table(coap: &[(&str, &str)], ids: &[(u16, &str)], names: &[(&str, &str)]) -> Table {
    let names = names.iter().map(|(filter, topic)| motegate_mapping::NameRule {
        name: (*filter).into(),
        filter: (*filter).into(),
        topic: (*topic).into(),
        priority: 0,
    });
    Table::new(Rules {
        coap: coap.iter().map(|(path, topic)| coap_rule(path, path, topic)).collect(),
        sn: SnRules {
            topic_ids: vec![(Scope::All, ids.iter().map(|(n, topic)| id(*n, topic)).collect())],
            names: names.collect(),
            ..SnRules::default()
        },
        ..Rules::default()
    })
    .expect("good rules")
}

impl Gateway {
    /// Reloads, after a look at what that would do; both say the same.
    fn reload(&mut self, config: Config, table: Table) -> Vec<String> {
        let old = self.core.config().listeners.clone();
        let aligned = align(&old, config.listeners.clone()).expect("few listeners");
        let config = Config { listeners: aligned.listeners, ..config };
        let reload = Reload { config, table: Arc::new(table), removed: aligned.removed };
        let preview = self.core.preview(&reload);
        self.datagrams.clear();
        self.touched.clear();
        self.input(Input::Reload(Box::new(reload)));
        assert_eq!(self.touched, preview);
        preview.iter().map(|t| format!("{} {}", t.client, t.change)).collect()
    }

    fn observe(&mut self, port: u16, path: &[&str]) -> Vec<u8> {
        let answers = self.datagram(COAP, peer(port), &coap(0, 1, 1, b"t", Some(0), path, b""));
        answers.into_iter().next().expect("an answer")
    }
}

/// The payload of a CoAP message.
fn payload(message: &[u8]) -> &[u8] {
    let marker = message.iter().rposition(|byte| *byte == 0xff);
    marker.map_or(&[], |at| &message[at + 1..])
}

#[test]
fn p18_an_observation_follows_its_rule_or_ends() {
    let before = table(&[("/a", "site/a"), ("/b", "site/b"), ("/c", "site/c")], &[], &[]);
    let mut gateway = Gateway::with_table(config(), before);
    let mqtt = gateway.mqtt("m", true);
    gateway.send(mqtt, &publish("site/a", b"old", 0, true, 0));
    gateway.send(mqtt, &publish("other/a", b"new", 0, true, 0));
    for (port, path) in [(1, "a"), (2, "b"), (3, "c")] {
        gateway.observe(port, &[path]);
    }
    let after = table(&[("/a", "other/a"), ("/c", "site/c")], &[], &[]);
    assert_eq!(
        gateway.reload(config(), after),
        [
            "anon-127.0.0.1 observes /a: site/a → other/a",
            "anon-127.0.0.1 loses its observe of /b (no mapping rule takes the path /b): one final \
             4.04",
        ]
    );
    let moved = gateway.datagrams_to(peer(1)).pop().expect("the value of the new topic");
    assert_eq!(payload(&moved), b"new");
    let ended = gateway.datagrams_to(peer(2)).pop().expect("a last word");
    assert_eq!(ended[1], 0x84, "{ended:02x?}");
    assert!(gateway.datagrams_to(peer(3)).is_empty());
    // From now on only the new topic counts. (The one in flight is acknowledged first.)
    gateway.datagram(COAP, peer(1), &[0x60, 0, moved[2], moved[3]]);
    gateway.send(mqtt, &publish("site/a", b"unheard", 0, true, 0));
    assert!(gateway.datagrams_to(peer(1)).is_empty());
    gateway.send(mqtt, &publish("other/a", b"heard", 0, true, 0));
    let next = gateway.datagrams_to(peer(1)).pop().expect("the next value");
    assert_eq!(payload(&next), b"heard");
    gateway.send(mqtt, &publish("site/c", b"kept", 0, true, 0));
    assert_eq!(payload(&gateway.datagrams_to(peer(3))[0]), b"kept");
    assert!(gateway.closed.is_empty());
}

#[test]
fn p18_a_subscription_by_number_follows_its_number() {
    let before = table(&[], &[(1, "old/one"), (2, "gone"), (3, "kept")], &[]);
    let mut gateway = Gateway::with_table(config(), before);
    let mqtt = gateway.mqtt("m", true);
    gateway.datagram(SN, peer(9), &sn_connect("mote", true, 60));
    for number in 1..=3 {
        let suback = gateway.datagram(SN, peer(9), &sn(0x12, &[0x01, 0, number, 0, number]));
        assert_eq!(suback[0][7], 0, "{suback:02x?}");
    }
    let after = table(&[], &[(1, "new/one"), (3, "kept")], &[]);
    assert_eq!(
        gateway.reload(config(), after),
        ["mote id 1: old/one → new/one", "mote id 2: gone → nothing"]
    );
    for (topic, heard) in [("old/one", false), ("new/one", true), ("gone", false), ("kept", true)] {
        gateway.send(mqtt, &publish(topic, b"x", 0, false, 0));
        assert_eq!(!gateway.datagrams_to(peer(9)).is_empty(), heard, "{topic}");
    }
    // MQTT-SN 1.2 §5.3.10: "rejected: invalid topic ID".
    let puback = gateway.datagram(SN, peer(9), &sn(0x0c, &[0x21, 0, 2, 0, 7, b'x']));
    assert_eq!(puback, [sn(0x0d, &[0, 2, 0, 7, 2])]);
}

#[test]
fn p18_a_client_whose_names_mean_something_else_registers_anew() {
    let before = table(&[], &[], &[("d/{kind}", "dev/{kind}")]);
    let mut gateway = Gateway::with_table(config(), before);
    for (port, client, name) in [(1, "changed", "d/temp"), (2, "same", "e/temp")] {
        gateway.datagram(SN, peer(port), &sn_connect(client, true, 60));
        let register = sn(0x0a, &[&[0, 0, 0, 1], name.as_bytes()].concat());
        assert_eq!(gateway.datagram(SN, peer(port), &register), [sn(0x0b, &[0, 1, 0, 1, 0])]);
    }
    // This one sleeps: it is not to be woken for that.
    gateway.datagram(SN, peer(3), &sn_connect("sleeper", false, 60));
    let register = sn(0x0a, &[&[0, 0, 0, 1], &b"d/hum"[..]].concat());
    gateway.datagram(SN, peer(3), &register);
    gateway.datagram(SN, peer(3), &sn(0x18, &[0, 100]));
    let after = table(&[], &[], &[("d/{kind}", "device/{kind}")]);
    assert_eq!(
        gateway.reload(config(), after),
        [
            "changed name d/temp: dev/temp → device/temp (is disconnected, registers anew)",
            "sleeper name d/hum: dev/hum → device/hum",
        ]
    );
    assert_eq!(gateway.datagrams_to(peer(1)), [sn(0x18, &[])]);
    assert!(gateway.datagrams_to(peer(2)).is_empty() && gateway.datagrams_to(peer(3)).is_empty());
}

#[test]
fn whoever_is_on_a_removed_listener_is_told_and_nobody_else() {
    let mut gateway = Gateway::new(config());
    let mqtt = gateway.mqtt("m", true);
    gateway.observe(1, &["mqtt", "a"]);
    gateway.datagram(SN, peer(2), &sn_connect("mote", true, 60));
    let mut smaller = config();
    smaller.listeners =
        vec![listener("coap", Protocol::Coap, "coap"), listener("other", Protocol::Mqtt, "mqtt")];
    let told = gateway.reload(smaller, Table::passthrough("mqtt"));
    assert_eq!(
        told,
        [
            "m is disconnected: listener mqtt is another or none",
            "mote is disconnected: listener sn is another or none",
        ]
    );
    assert_eq!(gateway.closed.get(&mqtt), Some(&Reason::ConfigReload));
    assert_eq!(gateway.datagrams_to(peer(2)), [sn(0x18, &[])]);
    assert!(gateway.datagrams_to(peer(1)).is_empty());
}

#[test]
fn p18_the_same_configuration_touches_nobody() {
    let rules = || table(&[("/a", "site/a")], &[(1, "one")], &[("d/{kind}", "dev/{kind}")]);
    let mut gateway = Gateway::with_table(config(), rules());
    let mqtt = gateway.mqtt("m", true);
    gateway.observe(1, &["a"]);
    gateway.datagram(SN, peer(2), &sn_connect("mote", true, 60));
    gateway.datagram(SN, peer(2), &sn(0x12, &[0x01, 0, 1, 0, 1]));
    gateway.datagram(SN, peer(2), &sn(0x12, &[0x00, 0, 2, b'd', b'/', b'+']));
    assert_eq!(gateway.reload(config(), rules()), Vec::<String>::new());
    assert!(gateway.datagrams.is_empty() && gateway.closed.is_empty());
    for topic in ["site/a", "one", "dev/x"] {
        gateway.send(mqtt, &publish(topic, b"x", 0, false, 0));
        assert_eq!(gateway.datagrams.len(), 1, "{topic}: {:02x?}", gateway.datagrams);
        gateway.datagrams.clear();
    }
}

#[test]
fn listeners_keep_their_place_by_name_and_protocol() {
    let old = config().listeners;
    let new = vec![
        listener("new", Protocol::Coap, "coap"),
        listener("mqtt", Protocol::Coap, "coap"),
        listener("coap", Protocol::Coap, "elsewhere"),
    ];
    let aligned = align(&old, new.clone()).expect("few");
    assert_eq!(aligned.ids, [ListenerId(3), ListenerId(4), COAP]);
    assert_eq!(aligned.removed, [MQTT, SN]);
    assert_eq!(aligned.listeners[2], new[2]);
    assert_eq!(aligned.listeners.len(), 5);
    // One that comes back has its place again.
    let again = align(&aligned.listeners, old.clone()).expect("few");
    assert_eq!(again.ids, [MQTT, SN, COAP]);
    assert_eq!(again.removed, [ListenerId(3), ListenerId(4)]);
}

#[test]
fn a_change_is_told_in_words() {
    let change = Change::TopicChanged {
        topic: "id 10".into(),
        before: "a".into(),
        after: Some("b".into()),
        disconnected: false,
    };
    assert_eq!(change.to_string(), "id 10: a → b");
}
