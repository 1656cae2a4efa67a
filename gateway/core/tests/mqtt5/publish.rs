//! PUBLISH (MQTT 5 §3.3).

use motegate_message::Reason;

use crate::wire::*;

/// [MQTT-3.3.1-4], [MQTT-3.3.2-1], [MQTT-3.3.2-2], [MQTT-3.3.2-14], [MQTT-3.3.4-6],
/// [MQTT-4.7.0-1], [MQTT-4.7.3-1]: each is refused with its class, and nobody receives it.
#[test]
fn publishes_that_are_none() {
    let mut w = World::new();
    let watcher = w.watcher();
    let s = w.client("s", "");
    w.subscribed(s, "#", 2);
    for (request, code) in [
        (publish(0x36, "t", "0001", "", "61"), 0x81),
        (publish(0x3e, "t", "0001", "", "61"), 0x81),
        (publish(0x30, "a/+", "", "", "61"), 0x81),
        (publish(0x30, "#", "", "", "61"), 0x81),
        (publish(0x30, "a#b", "", "", "61"), 0x81),
        (packet(0x30, "00"), 0x81),
        (packet(0x30, "0003 61"), 0x81),
        (publish(0x30, "", "", "", "61"), 0x82),
        (publish(0x30, "t", "", &format!("08 {}", field("re/+")), "61"), 0x82),
        (publish(0x30, "t", "", &format!("08 {}", field("re/#")), "61"), 0x82),
        (publish(0x30, "t", "", "08 0000", "61"), 0x82),
        (publish(0x30, "t", "", "0b 01", "61"), 0x82),
        (publish(0x30, "t", "", "01 02", "61"), 0x82),
        (publish(0x30, "t", "", "01 00 01 00", "61"), 0x82),
        (publish(0x30, "t", "", "02 00000001 02 00000001", "61"), 0x82),
        (publish(0x30, "t", "", "23 0001 23 0001", "61"), 0x82),
        (publish(0x30, "t", "", &format!("09 {0} 09 {0}", field("x")), "61"), 0x82),
        (publish(0x30, "t", "", "11 00000001", "61"), 0x81),
        (publish(0x30, "t", "", "21 0001", "61"), 0x81),
        (publish(0x30, "t", "", &format!("1f {}", field("x")), "61"), 0x81),
        (publish(0x30, "t", "", "02 0001", ""), 0x81),
        (packet(0x30, &format!("{} 05 01 00", field("t"))), 0x81),
    ] {
        let c = w.enter(&connect_with_will(2, "", "a", ""), false);
        w.send(c, &request);
        w.goodbye(c, code);
        assert_eq!(w.wills(watcher), 1, "{request}");
        let got = w.take(s);
        assert_eq!(packets(&got).len(), 1, "its will alone: {}", show(&got));
    }
}

/// [MQTT-3.3.2-3], [MQTT-4.7.1-1], [MQTT-4.7.1-2], [MQTT-4.7.2-1], [MQTT-4.7.3-4]: whoever
/// receives has a filter that matches, and whoever has one receives.
#[test]
fn what_matches() {
    let mut w = World::new();
    let p = w.client("p", "");
    let filters = [
        "a", "a/b", "a/+", "+/b", "+", "#", "a/#", "/", "+/+", "/+", "A", "$x/#", "$x/+", "+/x",
        "a//b",
    ];
    let names = ["a", "a/b", "a/b/c", "/", "/b", "A", "$x/x", "$x", "a//b", "a/", "b"];
    let matches = |filter: &str, name: &str| {
        if name.starts_with('$') && filter.starts_with(['+', '#']) {
            return false;
        }
        let (mut f, mut n) = (filter.split('/'), name.split('/'));
        loop {
            match (f.next(), n.next()) {
                (Some("#"), _) | (None, None) => return true,
                (Some(f), Some(n)) if f == "+" || f == n => {}
                _ => return false,
            }
        }
    };
    for filter in filters {
        let c = w.client("c", "");
        w.subscribed(c, filter, 0);
        for name in names {
            let message = publish(0x30, name, "", "", "61");
            w.send(p, &message);
            w.expect(c, if matches(filter, name) { &message } else { "" });
        }
    }
    // What is retained is found by the same rules, by ordinary and not by shared subscriptions.
    for name in names {
        w.send(p, &publish(0x31, name, "", "", "61"));
    }
    for filter in filters {
        let c = w.client("c", "");
        w.subscribed(c, filter, 0);
        let mut wanted: Vec<&str> =
            names.into_iter().filter(|name| matches(filter, name)).collect();
        wanted.sort_unstable();
        let wanted: String = wanted.iter().map(|name| publish(0x31, name, "", "", "61")).collect();
        w.expect(c, &wanted);
    }
    // A group matches by the filter behind its name.
    for filter in filters {
        let c = w.client("c", "");
        w.subscribed(c, &format!("$share/g/{filter}"), 0);
        for name in names {
            let message = publish(0x30, name, "", "", "61");
            w.send(p, &message);
            w.expect(c, if matches(filter, name) { &message } else { "" });
        }
    }
}

/// [MQTT-4.7.2-1] on a listener with a mount: the first level is the one that the client sees, live,
/// retained and shared, after a restart, and where a reload changes the mount.
#[test]
fn dollar_below_a_mount() {
    let mounted = |mount: &str| {
        let mut config = crate::common::config();
        config.listeners[0].mount = mount.into();
        config
    };
    let mut w = World { gateway: crate::common::Gateway::new(mounted("m/o/")) };
    let (dollar, plain) = (publish(0x31, "$x/y", "", "", "61"), publish(0x31, "x/y", "", "", "62"));
    let p = w.client("p", "");
    w.send(p, &(dollar.clone() + &plain));
    let live = |text: &str| text.replacen("31", "30", 1);
    for (filter, is_dollar) in [
        ("#", false),
        ("+/y", false),
        ("+/#", false),
        ("+/+", false),
        ("$x/#", true),
        ("$x/+", true),
        ("$x/y", true),
    ] {
        let all = if is_dollar { &dollar } else { &plain };
        let c = w.client("c", "");
        w.subscribed(c, filter, 0);
        w.expect(c, all);
        w.send(p, &(dollar.clone() + &plain));
        w.expect(c, &live(all));
        let c = w.client("c", "");
        w.subscribed(c, &format!("$share/g/{filter}"), 0);
        w.send(p, &(dollar.clone() + &plain));
        w.expect(c, &live(all));
    }
    for (round, mount) in ["m/o/", "", "n/", "n/"].into_iter().enumerate() {
        let c = w.durable("d", round > 0);
        if round == 0 {
            w.subscribed(c, "#", 0);
            w.expect(c, &plain);
        }
        let p = w.client("p", "");
        w.send(p, &(dollar.clone() + &plain));
        w.expect(c, &live(&plain));
        if round < 2 {
            let next = ["", "n/"][round];
            let table = motegate_mapping::Table::passthrough("mqtt").into();
            let (config, removed, moved) = (mounted(next), Vec::new(), Vec::new());
            let reload = motegate_core::Reload { config, table, removed, moved };
            w.gateway.input(motegate_core::Input::Reload(Box::new(reload)));
        } else {
            w.gateway.crash(mounted(mount));
        }
    }
}

/// [MQTT-3.3.2-4], [MQTT-3.3.2-15], [MQTT-3.3.2-16], [MQTT-3.3.2-17], [MQTT-3.3.2-18],
/// [MQTT-3.3.2-20]: what says something of the message travels with it unaltered and in order, live,
/// queued, retained and in a will.
#[test]
fn properties_travel_unaltered() {
    let user = |name: &str, value: &str| format!("26 {} {}", field(name), field(value));
    let sent = [
        "01 01".to_string(),
        format!("03 {}", field("text/x-ünknown; v=1")),
        format!("08 {}", field("re/ply")),
        "09 0004 00ff0102".into(),
        user("b", "2"),
        user("a", "1"),
        user("b", "2"),
        user("", ""),
        user("ключ", "значение"),
    ]
    .concat();
    let mut w = World::new();
    let live = w.client("live", "");
    w.subscribed(live, "t", 2);
    let away = w.durable("away", false);
    w.subscribed(away, "t", 2);
    w.lose(away);
    let p = w.client("p", "");
    for (first, id) in [(0x31, ""), (0x33, "0001"), (0x35, "0002")] {
        w.send(p, &publish(first, "t", id, &sent, "ff00"));
        let got = show(&w.take(live));
        assert!(got.ends_with(&show(&hex(&(props(&sent) + "ff00")))), "{got}");
    }
    w.send(p, "62 02 0002");
    // A restart lies between.
    w.gateway.crash(crate::common::config());
    let away = w.durable("away", true);
    let got = w.take(away);
    let all = packets(&got);
    assert_eq!(all.len(), 2, "QoS 1 and 2: {}", show(&got));
    for packet in all {
        assert!(show(&packet).ends_with(&show(&hex(&(props(&sent) + "ff00")))));
    }
    let late = w.client("late", "");
    w.subscribed(late, "t", 0);
    w.expect(late, &publish(0x31, "t", "", &sent, "ff00"));
    // A will is a message like any other; [MQTT-3.1.3-10].
    let watcher = w.watcher();
    let dying = w.enter(&connect_with_will(2, "", "a", &sent), false);
    w.lose(dying);
    w.expect(watcher, &publish(0x30, "will/a", "", &sent, "\"gone\""));
}

/// [MQTT-3.3.2-7]: aliases end with their connection, also where the session goes on, and are each
/// direction's own.
#[test]
fn aliases_end_with_the_connection() {
    let mut w = World::new();
    let c = w.enter(&connect(0, "11 00000e10 22 000a", &field("a")), false);
    w.subscribed(c, "t/#", 1);
    w.send(c, &publish(0x30, "x", "", "23 0001", "61"));
    let p = w.client("p", "");
    w.send(p, &publish(0x30, "t/1", "", "", "61"));
    w.expect(c, &publish(0x30, "t/1", "", "23 0001", "61"));
    // Ours is not the client's: 1 means `x` towards us.
    w.send(c, &publish(0x32, "", "0001", "23 0001", "61"));
    w.expect(c, "40 03 0001 10");
    w.lose(c);
    let c = w.enter(&connect(0, "11 00000e10 22 000a", &field("a")), true);
    w.send(p, &publish(0x30, "t/1", "", "", "62"));
    w.expect(c, &publish(0x30, "t/1", "", "23 0001", "62"));
    w.send(c, &publish(0x30, "", "", "23 0001", "61"));
    w.goodbye(c, 0x82);
}

/// [MQTT-3.1.2-26], [MQTT-3.1.2-27], [MQTT-3.3.2-10], [MQTT-3.3.2-11]: our aliases go from 1 to the
/// client's maximum, and to no client that named none; the one used longest ago is given anew to
/// what comes often.
#[test]
fn aliases_of_ours() {
    let mut w = World::new();
    let plain = w.client("plain", "");
    let zero = w.client("zero", "22 0000");
    let two = w.client("two", "22 0002");
    for c in [plain, zero, two] {
        w.subscribed(c, "#", 0);
    }
    let p = w.client("p", "");
    let mut names = std::collections::BTreeMap::new();
    for topic in ["a", "b", "a", "c", "c", "c", "b", "b", "a", "c", "d", "d", "b"] {
        let message = publish(0x30, topic, "", "", "61");
        w.send(p, &message);
        w.expect(plain, &message);
        w.expect(zero, &message);
        let got = w.take(two);
        let len = usize::from(got[3]);
        let name = String::from_utf8(got[4..4 + len].to_vec()).unwrap();
        match got[4 + len] {
            0 => assert_eq!(name, topic, "in full"),
            _ => {
                let alias = u16::from_be_bytes([got[6 + len], got[7 + len]]);
                assert!((1..=2).contains(&alias), "{alias}");
                if !name.is_empty() {
                    names.insert(alias, name);
                }
                assert_eq!(names.get(&alias).map(String::as_str), Some(topic), "{}", show(&got));
            }
        }
    }
    assert_eq!(names.len(), 2);
}

/// [MQTT-3.3.2-5], [MQTT-3.3.2-6]: what has expired is not delivered, and what is has the time that
/// is left; retained copies, too.
#[test]
fn message_expiry() {
    let mut w = World::new();
    let c = w.durable("a", false);
    w.subscribed(c, "t", 1);
    w.lose(c);
    let p = w.client("p", "");
    w.send(p, &publish(0x33, "t", "0001", "02 0000000a", "61"));
    w.send(p, &publish(0x32, "t", "0002", "02 00000064", "62"));
    w.send(p, &publish(0x32, "t", "0003", "", "63"));
    w.secs(4);
    let late = w.client("late", "");
    w.subscribed(late, "t", 0);
    w.expect(late, &publish(0x31, "t", "", "02 00000006", "61"));
    w.secs(7);
    let c = w.durable("a", true);
    w.expect(
        c,
        &(publish(0x32, "t", "0001", "02 00000059", "62") + &publish(0x32, "t", "0002", "", "63")),
    );
    w.subscribed(late, "t", 0);
    w.expect(late, "");
    // Live: as it came.
    w.send(p, &publish(0x30, "t", "", "02 00000005", "64"));
    w.expect(late, &publish(0x30, "t", "", "02 00000005", "64"));
    // 0: to whoever can take it at once, with 0, and stored nowhere.
    w.send(p, &publish(0x31, "t", "", "02 00000000", "65"));
    w.expect(late, &publish(0x30, "t", "", "02 00000000", "65"));
    w.subscribed(late, "t", 0);
    w.expect(late, "");
    // Also where it only waits behind a SUBACK that is not stored yet.
    let slow = w.durable("slow", false);
    w.gateway.commit_at_once = false;
    w.send(slow, &subscribe("0001", "", "t", "01"));
    for (first, id, properties) in [(0x30, "", "02 00000002"), (0x30, "", "02 00000009")] {
        w.send(p, &publish(first, "t", id, properties, "66"));
    }
    w.secs(3);
    w.expect(slow, "");
    w.gateway.commit();
    w.expect(
        slow,
        &("90 04 0001 00 01".to_string() + &publish(0x30, "t", "", "02 00000006", "66")),
    );
}

/// [MQTT-3.3.4-1]: nothing at QoS 0, PUBACK at 1, PUBREC at 2; 0x10 where nobody is subscribed.
#[test]
fn answered_by_qos() {
    let mut w = World::new();
    let c = w.client("a", "");
    w.send(c, &publish(0x30, "t", "", "", "61"));
    w.expect(c, "");
    w.send(c, &publish(0x32, "t", "0001", "", "61"));
    w.expect(c, "40 03 0001 10");
    w.send(c, &publish(0x34, "t", "0002", "", "61"));
    w.expect(c, "50 03 0002 10");
    w.send(c, "62 02 0002");
    w.expect(c, "70 02 0002");
    let away = w.durable("s", false);
    w.subscribed(away, "t", 1);
    w.lose(away);
    w.send(c, &publish(0x32, "t", "0001", "", "61"));
    w.expect(c, "40 02 0001");
}

/// [MQTT-3.3.4-2], [MQTT-3.3.4-3], [MQTT-3.3.4-4], [MQTT-3.3.4-5]: where filters overlap one copy
/// comes, at the highest QoS, with the identifiers of all that have one.
#[test]
fn overlapping_filters() {
    let mut w = World::new();
    let c = w.client("a", "");
    for (filter, properties, qos) in [
        ("t/1", "0b 07", "00"),
        ("t/+", "0b ac02", "02"),
        ("#", "", "01"),
        ("+/1", "0b 01", "01"),
        ("u", "0b 09", "00"),
    ] {
        w.send(c, &subscribe("0001", properties, filter, qos));
        w.expect(c, &format!("90 04 0001 00 {qos}"));
    }
    let p = w.client("p", "");
    w.send(p, &publish(0x34, "t/1", "0001", "", "61"));
    let got = w.take(c);
    assert_eq!(packets(&got).len(), 1, "{}", show(&got));
    assert_eq!(got[0], 0x34, "QoS 2");
    let tail = show(&got[9..]);
    for id in ["0b 07", "0b ac 02", "0b 01"] {
        assert_eq!(tail.matches(id).count(), 1, "{id} in {tail}");
    }
    assert_eq!((got[9], tail.contains("0b 09")), (7, false));
    // Only the filter without one matches: no identifier.
    w.send(p, &publish(0x30, "v/2", "", "", "61"));
    w.expect(c, &publish(0x30, "v/2", "", "", "61"));
}

/// [MQTT-3.3.4-7], [MQTT-4.9.0-1]: more than the Receive Maximum at once is 0x93; what has been
/// answered by PUBACK, PUBCOMP or an error PUBREC does not count.
#[test]
fn receive_maximum_of_ours() {
    let mut w = World::with_mqtt(Mqtt { receive_maximum: 2, ..Mqtt::default() });
    let watcher = w.watcher();
    let c = w.knock(&connect_with_will(2, "", "a", ""));
    w.expect(c, "20 0e 00 00 0b 21 0002 27 00200000 22 0040");
    for round in 0..3 {
        w.send(c, &publish(0x34, "t", "0001", "", "61"));
        w.send(c, &publish(0x32, "t", "0002", "", "61"));
        w.send(c, &publish(0x34, "$SYS/no", "0003", "", "61"));
        w.send(c, &publish(0x34, "t", "0004", "", "61"));
        let codes: Vec<(u8, u8)> = packets(&w.take(c)).iter().map(|p| (p[0], p[4])).collect();
        assert_eq!(codes, [(0x50, 0x10), (0x40, 0x10), (0x50, 0x87), (0x50, 0x10)], "{round}");
        // A repeat of what is held is no further one.
        w.send(c, &publish(0x3c, "t", "0001", "", "61"));
        w.expect(c, "50 02 0001");
        w.send(c, "62 02 0001 62 02 0004");
        w.expect(c, "70 02 0001 70 02 0004");
    }
    for id in ["0001", "0002", "0003"] {
        w.send(c, &publish(0x34, "t", id, "", "61"));
    }
    w.goodbye(c, 0x93);
    assert_eq!((w.gateway.closed[&c], w.wills(watcher)), (Reason::QuotaExceeded, 1));
}

/// Choice 15: topics of the broker's own are refused as not authorised; the connection stays.
#[test]
fn topics_of_the_broker() {
    let mut w = World::new();
    let s = w.client("s", "");
    w.subscribed(s, "$SYS/#", 0);
    w.take(s);
    let c = w.client("a", "17 00");
    for topic in ["$SYS/x", "$SYS", "$share/g/t", "$CONTROL/x"] {
        w.send(c, &publish(0x32, topic, "0001", "", "61"));
        w.expect(c, "40 03 0001 87");
        w.send(c, &publish(0x34, topic, "0001", "", "61"));
        w.expect(c, "50 03 0001 87");
        w.send(c, &publish(0x31, topic, "", "", "61"));
        w.alive(c);
    }
    w.expect(s, "");
    w.subscribed(s, "$SYS/#", 0);
    let got = String::from_utf8_lossy(&w.take(s)).into_owned();
    assert!(!got.contains("$SYS/x"), "{got}");
}
