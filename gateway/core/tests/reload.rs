//! Another configuration while everybody stays connected (mapping.md §2.18).

mod common;

use std::sync::Arc;

use common::{COAP, Gateway, SN, coap, config, listener, peer, publish, sn, sn_connect};
use motegate_core::{Change, Config, Input, Listener, Protocol, Reload};
use motegate_mapping::{
    Action, CoapMethod, CoapRule, PayloadRule, Rules, Scope, SnRules, Table, TopicId,
};
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
        // A listener that goes on has its old place.
        let (mut listeners, mut removed) = (old, Vec::new());
        for (at, place) in listeners.iter_mut().enumerate() {
            match config.listeners.iter().find(|new| new.name == place.name) {
                Some(new) => *place = new.clone(),
                None => removed.push(ListenerId(u16::try_from(at).expect("few"))),
            }
        }
        let is_new = |new: &&Listener| listeners.iter().all(|place| place.name != new.name);
        let new: Vec<Listener> = config.listeners.iter().filter(is_new).cloned().collect();
        listeners.extend(new);
        let config = Config { listeners, ..config };
        let moved = std::mem::take(&mut self.moved);
        let reload = Reload { config, table: Arc::new(table), removed, moved };
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

/// Ids in the order of their numbers, each with a topic.
fn ids(topics: &[&str]) -> Table {
    let ids: Vec<(u16, &str)> = (1..).zip(topics.iter().copied()).collect();
    table(&[], &ids, &[])
}

impl Gateway {
    fn sn_subscribe(&mut self, port: u16, number: u8, qos: u8) {
        let flags = qos << 5 | 0x01;
        let suback = self.datagram(SN, peer(port), &sn(0x12, &[flags, 0, 1, 0, number]));
        assert_eq!(suback[0][7], 0, "{suback:02x?}");
    }

    /// Topic and payload of the PUBLISHes among these packets and of those that follow when each
    /// PUBLISH and REGISTER is acknowledged.
    fn sn_receive(&mut self, port: u16, mut inbox: Vec<Vec<u8>>) -> Vec<(String, String)> {
        let (mut names, mut heard) = (std::collections::BTreeMap::new(), Vec::new());
        while !inbox.is_empty() {
            let packet = inbox.remove(0);
            let answer = match packet[1] {
                0x0a => {
                    let name = String::from_utf8_lossy(&packet[6..]).into_owned();
                    names.insert([packet[2], packet[3]], name);
                    sn(0x0b, &[&packet[2..6], &[0]].concat())
                }
                0x0c => {
                    let id = [packet[3], packet[4]];
                    let topic = match packet[2] & 3 {
                        // Registered earlier, or by a SUBACK.
                        0 => names.get(&id).cloned().unwrap_or_default(),
                        _ => format!("id {}", packet[4]),
                    };
                    heard.push((topic, String::from_utf8_lossy(&packet[7..]).into_owned()));
                    sn(0x0d, &[&packet[3..7], &[0]].concat())
                }
                _ => continue,
            };
            inbox.extend(self.datagram(SN, peer(port), &answer));
        }
        heard
    }
}

fn heard(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(topic, payload)| ((*topic).into(), (*payload).into())).collect()
}

#[test]
fn p18_numbers_that_take_each_others_topics_are_all_followed() {
    let mut gateway = Gateway::with_table(config(), ids(&["a", "b", "c"]));
    let mqtt = gateway.mqtt("m", true);
    gateway.datagram(SN, peer(9), &sn_connect("mote", true, 60));
    (1..=3).for_each(|number| gateway.sn_subscribe(9, number, 0));
    assert_eq!(
        gateway.reload(config(), ids(&["b", "c", "d"])),
        ["mote id 1: a → b", "mote id 2: b → c", "mote id 3: c → d"]
    );
    let topics = ["a", "b", "c", "d"];
    for topic in topics {
        gateway.send(mqtt, &publish(topic, topic.as_bytes(), 0, false, 0));
    }
    let packets = gateway.datagrams_to(peer(9));
    let all = heard(&[("id 1", "b"), ("id 2", "c"), ("id 3", "d")]);
    assert_eq!(gateway.sn_receive(9, packets), all);
    // And exchanged.
    gateway.reload(config(), ids(&["c", "b", "d"]));
    gateway.reload(config(), ids(&["d", "b", "c"]));
    gateway.datagrams.clear();
    for topic in topics {
        gateway.send(mqtt, &publish(topic, topic.as_bytes(), 0, false, 0));
    }
    let packets = gateway.datagrams_to(peer(9));
    let all = heard(&[("id 2", "b"), ("id 3", "c"), ("id 1", "d")]);
    assert_eq!(gateway.sn_receive(9, packets), all);
}

#[test]
fn p18_what_waits_for_a_sleeper_is_not_lost_when_its_number_changes() {
    // The number means another topic, is gone, or its topic has another number.
    let moved = table(&[], &[(7, "a")], &[]);
    for after in [ids(&["b"]), ids(&[]), moved] {
        let mut gateway = Gateway::with_table(config(), ids(&["a"]));
        let mqtt = gateway.mqtt("m", true);
        gateway.datagram(SN, peer(9), &sn_connect("mote", false, 60));
        gateway.sn_subscribe(9, 1, 1);
        gateway.datagram(SN, peer(9), &sn(0x18, &[0, 100]));
        for (id, text) in [(1, "one"), (2, "two")] {
            gateway.send(mqtt, &publish("a", text.as_bytes(), 1, false, id));
        }
        assert_eq!(gateway.received(mqtt).len(), 8, "two PUBACKs");
        gateway.reload(config(), after);
        let awake = gateway.datagram(SN, peer(9), &sn(0x16, b"mote"));
        // MQTT-SN 1.2 §6.10: it has not subscribed by a number of `a` that is valid now.
        assert_eq!(gateway.sn_receive(9, awake), heard(&[("a", "one"), ("a", "two")]));
    }
}

#[test]
fn p18_what_waits_behind_the_window_is_not_lost_when_its_number_changes() {
    let mut gateway = Gateway::with_table(config(), ids(&["a"]));
    let mqtt = gateway.mqtt("m", true);
    gateway.datagram(SN, peer(9), &sn_connect("mote", true, 60));
    gateway.sn_subscribe(9, 1, 1);
    let texts = ["one", "two", "three"];
    for (id, text) in (1..).zip(texts) {
        gateway.send(mqtt, &publish("a", text.as_bytes(), 1, false, id));
    }
    let first = gateway.datagrams_to(peer(9));
    assert_eq!(first.len(), 1, "the window is 1: {first:02x?}");
    gateway.reload(config(), ids(&["b"]));
    gateway.send(mqtt, &publish("b", b"four", 1, false, 9));
    // The one in flight is finished as it began.
    gateway.datagrams.clear();
    let acked = sn(0x0d, &[&first[0][3..7], &[0]].concat());
    let next = gateway.datagram(SN, peer(9), &acked);
    let rest = heard(&[("a", "two"), ("a", "three"), ("id 1", "four")]);
    assert_eq!(gateway.sn_receive(9, next), rest);
}

#[test]
fn p18_a_client_that_was_away_finds_its_numbers_moved() {
    let mut gateway = Gateway::with_table(config(), ids(&["a", "b"]));
    let mqtt = gateway.mqtt("m", true);
    gateway.datagram(SN, peer(9), &sn_connect("mote", false, 60));
    (1..=2).for_each(|number| gateway.sn_subscribe(9, number, 1));
    gateway.datagram(SN, peer(9), &sn(0x18, &[]));
    gateway.send(mqtt, &publish("a", b"one", 1, false, 1));
    let told = gateway.reload(config(), ids(&["b", "c"]));
    assert_eq!(told, ["mote id 1: a → b", "mote id 2: b → c"]);
    gateway.send(mqtt, &publish("c", b"meanwhile", 1, false, 2));
    gateway.send(mqtt, &publish("a", b"unheard", 1, false, 3));
    let back = gateway.datagram(SN, peer(9), &sn_connect("mote", false, 60));
    let waited = heard(&[("a", "one"), ("id 2", "meanwhile")]);
    assert_eq!(gateway.sn_receive(9, back), waited);
    for topic in ["a", "b", "c"] {
        gateway.send(mqtt, &publish(topic, topic.as_bytes(), 0, false, 0));
    }
    let packets = gateway.datagrams_to(peer(9));
    assert_eq!(gateway.sn_receive(9, packets), heard(&[("id 1", "b"), ("id 2", "c")]));
}

#[test]
fn p18_numbers_and_names_that_meet_part_again() {
    let rules = |one: &str, two: &str| table(&[], &[(1, one), (2, two)], &[]);
    let mut gateway = Gateway::with_table(config(), rules("a", "b"));
    let mqtt = gateway.mqtt("m", true);
    gateway.datagram(SN, peer(9), &sn_connect("mote", true, 60));
    gateway.sn_subscribe(9, 1, 0);
    gateway.sn_subscribe(9, 2, 1);
    let suback = gateway.datagram(SN, peer(9), &sn(0x12, &[0x20, 0, 1, b'n', b'a', b'm', b'e']));
    assert_eq!(suback[0][7], 0, "{suback:02x?}");
    let hears = |gateway: &mut Gateway, rules, topics: &[(&str, u8)]| {
        gateway.reload(config(), rules);
        for topic in ["a", "b", "name", "z"] {
            gateway.datagrams.clear();
            gateway.send(mqtt, &publish(topic, b"x", 1, false, 7));
            let packets = gateway.datagrams_to(peer(9));
            let publish = packets.iter().find(|packet| packet[1] == 0x0c);
            let qos = publish.map(|packet| packet[2] >> 5 & 3);
            let wanted = topics.iter().find(|(wanted, _)| *wanted == topic).map(|(_, qos)| *qos);
            assert_eq!(qos, wanted, "{topic}: {packets:02x?}");
            gateway.sn_receive(9, packets);
        }
    };
    hears(&mut gateway, rules("a", "b"), &[("a", 0), ("b", 1), ("name", 1)]);
    hears(&mut gateway, rules("z", "z"), &[("z", 1), ("name", 1)]);
    hears(&mut gateway, rules("a", "b"), &[("a", 0), ("b", 1), ("name", 1)]);
    hears(&mut gateway, rules("name", "b"), &[("b", 1), ("name", 1)]);
    hears(&mut gateway, rules("a", "b"), &[("a", 0), ("b", 1), ("name", 1)]);
    // What is left by one word and meant by another stays.
    gateway.reload(config(), rules("name", "b"));
    gateway.datagram(SN, peer(9), &sn(0x14, &[0x01, 0, 5, 0, 1]));
    hears(&mut gateway, rules("name", "b"), &[("b", 1), ("name", 1)]);
    hears(&mut gateway, rules("a", "b"), &[("b", 1), ("name", 1)]);
}

#[test]
fn p18_names_of_a_client_that_is_away_follow_their_rules() {
    let rules = |topic| table(&[], &[], &[("d/{kind}", topic)]);
    let mut gateway = Gateway::with_table(config(), rules("dev/{kind}"));
    let mqtt = gateway.mqtt("m", true);
    gateway.datagram(SN, peer(9), &sn_connect("mote", false, 60));
    let subscribe = sn(0x12, &[&[0x20, 0, 1], &b"d/cmd"[..]].concat());
    gateway.datagram(SN, peer(9), &subscribe);
    gateway.datagram(SN, peer(9), &sn(0x18, &[]));
    let told = gateway.reload(config(), rules("device/{kind}"));
    assert_eq!(told, ["mote name d/cmd: dev/cmd → device/cmd"]);
    gateway.send(mqtt, &publish("device/cmd", b"go", 1, false, 1));
    let back = gateway.datagram(SN, peer(9), &sn_connect("mote", false, 60));
    assert_eq!(gateway.sn_receive(9, back), heard(&[("d/cmd", "go")]));
}

#[test]
fn p18_what_waits_for_a_clean_session_is_delivered_before_it_is_sent_away() {
    let rules = |topic| table(&[], &[(1, "a")], &[("d/{kind}", topic)]);
    let mut gateway = Gateway::with_table(config(), rules("dev/{kind}"));
    let mqtt = gateway.mqtt("m", true);
    gateway.datagram(SN, peer(9), &sn_connect("mote", true, 60));
    let register = sn(0x0a, &[&[0, 0, 0, 1], &b"d/x"[..]].concat());
    gateway.datagram(SN, peer(9), &register);
    gateway.sn_subscribe(9, 1, 1);
    for (id, text) in (1..).zip(["one", "two", "three"]) {
        gateway.send(mqtt, &publish("a", text.as_bytes(), 1, false, id));
    }
    let first = gateway.datagrams_to(peer(9));
    assert_eq!(first.len(), 1, "the window is 1");
    gateway.reload(config(), rules("device/{kind}"));
    assert!(gateway.datagrams_to(peer(9)).is_empty(), "not yet");
    gateway.send(mqtt, &publish("a", b"late", 1, false, 4));
    let mut packets = first;
    let mut texts = Vec::new();
    while let Some(packet) = packets.pop() {
        if packet[1] == 0x18 {
            break;
        }
        texts.push(String::from_utf8_lossy(&packet[7..]).into_owned());
        let puback = sn(0x0d, &[&packet[3..7], &[0]].concat());
        packets = gateway.datagram(SN, peer(9), &puback);
        packets.reverse();
    }
    assert_eq!(texts, ["one", "two", "three"], "and then DISCONNECT");
    assert!(gateway.notices.iter().any(|notice| {
        notice.kind == motegate_core::NoticeKind::Disconnected(Reason::ConfigReload)
    }));
}

#[test]
fn whoever_is_on_a_listener_that_moves_is_told_by_the_old_address() {
    let mut gateway = Gateway::new(config());
    gateway.mqtt("m", true);
    gateway.observe(1, &["mqtt", "a"]);
    gateway.datagram(SN, peer(2), &sn_connect("active", true, 60));
    gateway.datagram(SN, peer(3), &sn_connect("sleeper", false, 60));
    gateway.datagram(SN, peer(3), &sn(0x18, &[0, 100]));
    gateway.moved = vec![SN, COAP];
    assert_eq!(
        gateway.reload(config(), Table::passthrough("mqtt")),
        [
            "active is disconnected: listener sn has another address",
            "sleeper sleeps, and has to find listener sn at another address",
            "anon-127.0.0.1 is disconnected: listener coap has another address",
        ]
    );
    assert_eq!(gateway.datagrams_to(peer(2)), [sn(0x18, &[])]);
    assert!(gateway.datagrams_to(peer(3)).is_empty());
    let ended = gateway.datagrams_to(peer(1)).pop().expect("a last word");
    assert_eq!(ended[1], 0xa3, "5.03: {ended:02x?}");
}

#[test]
fn an_mqtt_session_goes_with_the_mount_of_its_listener() {
    let mounted = |mount: &str| {
        let mut config = config();
        config.listeners[0].mount = mount.into();
        config
    };
    let mut gateway = Gateway::with_table(mounted("p/"), Table::passthrough("mqtt"));
    let kept = gateway.mqtt("kept", false);
    gateway.mqtt_subscribe(kept, "x/#", 1);
    let away = gateway.mqtt("away", false);
    gateway.mqtt_subscribe(away, "x/+", 1);
    gateway.send(away, &[0xe0, 0]);
    let told = gateway.reload(mounted("q/"), Table::passthrough("mqtt"));
    assert_eq!(told, ["kept is disconnected: listener mqtt is another or none"]);
    let publisher = gateway.mqtt("publisher", true);
    gateway.send(publisher, &publish("x/1", b"new", 1, false, 1));
    for client in ["kept", "away"] {
        let conn = gateway.mqtt_again(client);
        let came = gateway.received(conn);
        assert!(came.ends_with(b"new"), "{client}: {came:02x?}");
    }
}

#[test]
fn p18_an_observation_that_moves_to_an_empty_topic_is_told() {
    let rule = |topic: &str, not_found_when_empty: bool| {
        let rule = CoapRule { not_found_when_empty, ..coap_rule("/a", "/a", topic) };
        Table::new(Rules { coap: vec![rule], ..Rules::default() }).expect("a good rule")
    };
    for (not_found_when_empty, code) in [(false, 0x45), (true, 0x84)] {
        let mut gateway = Gateway::with_table(config(), rule("old", not_found_when_empty));
        let mqtt = gateway.mqtt("m", true);
        gateway.send(mqtt, &publish("old", b"value", 0, true, 0));
        assert_eq!(payload(&gateway.observe(1, &["a"])), b"value");
        let told = gateway.reload(config(), rule("new", not_found_when_empty));
        let words = if not_found_when_empty { "new has no value" } else { "old → new" };
        assert!(told[0].contains(words), "{told:?}");
        let told = gateway.datagrams_to(peer(1));
        assert_eq!(told.len(), 1, "{told:02x?}");
        // An error says in words what is the matter.
        let last: &[u8] = match not_found_when_empty {
            true => b"there is nothing to observe here any more",
            false => b"",
        };
        assert_eq!((told[0][1], payload(&told[0])), (code, last), "{told:02x?}");
    }
}

#[test]
fn p18_an_observation_moves_between_one_topic_and_several() {
    let one = || {
        let payload = PayloadRule {
            device: vec!["senml+json".into()],
            broker: "senml+json".into(),
            split: false,
        };
        let rule = CoapRule { payload: Some(payload), ..coap_rule("/a", "/a", "one") };
        Table::new(Rules { coap: vec![rule], ..Rules::default() }).expect("a good rule")
    };
    let pack = br#"[{"n":"x","v":1}]"#;
    let several = || {
        let methods = vec![(CoapMethod::Observe, Action::Subscribe)];
        let rule = CoapRule { methods: Some(methods), ..coap_rule("/a", "/a", "many/+") };
        Table::new(Rules { coap: vec![rule], ..Rules::default() }).expect("a good rule")
    };
    let mut gateway = Gateway::with_table(config(), one());
    let mqtt = gateway.mqtt("m", true);
    gateway.send(mqtt, &publish("one", pack, 0, true, 0));
    for topic in ["many/1", "many/2"] {
        gateway.send(mqtt, &publish(topic, topic.as_bytes(), 0, true, 0));
    }
    assert_eq!(payload(&gateway.observe(1, &["a"])), pack);
    // As a fresh observation of several topics: empty, then each value, none dropped.
    gateway.reload(config(), several());
    let mut told = Vec::new();
    let mut packets = gateway.datagrams_to(peer(1));
    while let Some(packet) = packets.pop() {
        told.push(String::from_utf8_lossy(payload(&packet)).into_owned());
        packets.extend(gateway.datagram(COAP, peer(1), &[0x60, 0, packet[2], packet[3]]));
    }
    told[1..].sort_unstable();
    let record = |topic: &str| format!(r#"[{{"n":"{topic}","vs":"{topic}"}}]"#);
    assert_eq!(told, [String::new(), record("many/1"), record("many/2")]);
    gateway.reload(config(), one());
    let told = gateway.datagrams_to(peer(1));
    assert_eq!(told.iter().map(|packet| payload(packet)).collect::<Vec<_>>(), [pack]);
}

/// RFC 7641 §4.2: what is text does not become SenML on the way.
#[test]
fn p18_an_observation_whose_format_is_gone_ends() {
    let several = || {
        let methods = vec![(CoapMethod::Observe, Action::Subscribe)];
        let rule = CoapRule { methods: Some(methods), ..coap_rule("/a", "/a", "many/+") };
        Table::new(Rules { coap: vec![rule], ..Rules::default() }).expect("a good rule")
    };
    let mut gateway = Gateway::with_table(config(), table(&[("/a", "one")], &[], &[]));
    let mqtt = gateway.mqtt("m", true);
    gateway.send(mqtt, &publish("one", b"text", 0, true, 0));
    assert_eq!(payload(&gateway.observe(1, &["a"])), b"text");
    gateway.reload(config(), several());
    let told = gateway.datagrams_to(peer(1));
    assert_eq!(told.iter().map(|packet| packet[1]).collect::<Vec<_>>(), [0x86], "4.06");
}

#[test]
fn a_listener_that_is_closed_to_anonymous_clients_keeps_none() {
    let mut gateway = Gateway::new(config());
    let mqtt = gateway.mqtt("m", true);
    gateway.observe(1, &["mqtt", "a"]);
    gateway.datagram(SN, peer(2), &sn_connect("mote", true, 60));
    let mut closed = config();
    closed.listeners.iter_mut().for_each(|listener| listener.anonymous = false);
    assert_eq!(
        gateway.reload(closed, Table::passthrough("mqtt")),
        [
            "m is disconnected: listener mqtt takes no anonymous clients any more",
            "mote is disconnected: listener sn takes no anonymous clients any more",
            "anon-127.0.0.1 is disconnected: listener coap takes no anonymous clients any more",
        ]
    );
    assert_eq!(gateway.closed.get(&mqtt), Some(&Reason::ConfigReload));
    assert_eq!(gateway.datagrams_to(peer(2)), [sn(0x18, &[])]);
    let ended = gateway.datagrams_to(peer(1)).pop().expect("a last word");
    assert_eq!(ended[1], 0x81, "4.01: {ended:02x?}");
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
fn a_change_is_told_in_words() {
    let change = Change::TopicChanged {
        topic: "id 10".into(),
        before: "a".into(),
        after: Some("b".into()),
        disconnected: false,
    };
    assert_eq!(change.to_string(), "id 10: a → b");
}
