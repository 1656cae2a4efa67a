//! SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK (MQTT 5 §3.8…§3.11).

use std::time::Duration;

use crate::wire::*;

/// [MQTT-3.8.3-2], [MQTT-3.8.3-4], [MQTT-3.8.3-5], [MQTT-3.10.3-2], [MQTT-4.7.1-1],
/// [MQTT-4.7.1-2], [MQTT-4.7.3-1], [MQTT-4.8.2-1], [MQTT-4.8.2-2]: each with its class; no SUBACK,
/// nothing stored, and the will goes.
#[test]
fn requests_that_are_none() {
    let mut w = World::new();
    let watcher = w.watcher();
    let mut requests = vec![
        (packet(0x82, "0001 00"), 0x82),
        (packet(0xa2, "0001 00"), 0x82),
        (packet(0x82, &format!("0001 00 {}", field("t"))), 0x81),
        (packet(0x82, "0001 00 0005 61"), 0x81),
        (packet(0x82, "0001"), 0x81),
        (packet(0xa2, "0001 00 0005 61"), 0x81),
        (subscribe("0001", "", "t", "03"), 0x82),
        (subscribe("0001", "", "t", "30"), 0x82),
        (subscribe("0001", "", "t", "40"), 0x81),
        (subscribe("0001", "", "t", "80"), 0x81),
        (subscribe("0001", "", "$share/g/t", "04"), 0x82),
        (subscribe("0001", "0b 00", "t", "00"), 0x82),
        (subscribe("0001", "0b 01 0b 02", "t", "00"), 0x82),
        (subscribe("0001", "0b 80808080 01", "t", "00"), 0x81),
        (subscribe("0001", "1f 0001 61", "t", "00"), 0x81),
        (packet(0xa2, &format!("0001 02 0b 01 {}", field("t"))), 0x81),
        (packet(0xa2, &format!("0001 04 1f 0001 61 {}", field("t"))), 0x81),
    ];
    for bad in [
        "",
        "#/a",
        "a#",
        "a/b#",
        "a/#/b",
        "##",
        "a+",
        "+a",
        "a/+b",
        "a/b+/c",
        "++",
        "$share/g",
        "$share/g/",
        "$share//t",
        "$share/",
        "$share/+/t",
        "$share/#/t",
        "$share/g+/t",
        "$share/g/a#",
        "$share/g/#/b",
    ] {
        requests.push((subscribe("0001", "", bad, "00"), 0x81));
        requests.push((unsubscribe("0001", bad), 0x81));
    }
    for (request, code) in requests {
        let c = w.enter(&connect_with_will(2, "", "a", ""), false);
        w.send(c, &request);
        w.goodbye(c, code);
        assert_eq!(w.wills(watcher), 1, "{request}");
    }
}

/// [MQTT-4.13.1-1], [MQTT-4.7.1-1], [MQTT-3.8.3-5]: of a packet that is refused nothing counts,
/// whatever good filters stand before the bad one.
#[test]
fn nothing_of_a_bad_packet_counts() {
    let mut w = World::new();
    let p = w.client("p", "");
    let good = field("good");
    for (bad, code) in [("a#", 0x81), ("a/+b", 0x81), ("$share/g", 0x81), ("", 0x81)] {
        let c = w.durable("a", false);
        w.subscribed(c, "kept", 1);
        w.send(c, &packet(0x82, &format!("0001 00 {good} 01 {} 01", field(bad))));
        w.goodbye(c, code);
        let c = w.durable("a", true);
        w.send(c, &packet(0xa2, &format!("0001 00 {} {}", field("kept"), field(bad))));
        w.goodbye(c, code);
        // Neither was the one filter added nor the other taken away.
        w.send(p, &publish(0x32, "good", "0001", "", "61"));
        w.expect(p, "40 03 0001 10");
        w.send(p, &publish(0x32, "kept", "0001", "", "61"));
        w.expect(p, "40 02 0001");
        w.enter(&connect(2, "", &field("a")), false);
    }
    for (options, code) in [("03", 0x82), ("30", 0x82), ("40", 0x81)] {
        let c = w.durable("a", false);
        w.send(c, &packet(0x82, &format!("0001 00 {good} 01 {} {options}", field("t"))));
        w.goodbye(c, code);
        w.send(p, &publish(0x32, "good", "0001", "", "61"));
        w.expect(p, "40 03 0001 10");
        w.enter(&connect(2, "", &field("a")), false);
    }
}

/// [MQTT-3.8.4-1], [MQTT-3.8.4-2], [MQTT-3.8.4-5], [MQTT-3.8.4-6], [MQTT-3.8.4-7],
/// [MQTT-3.9.3-1], [MQTT-3.9.3-2]: one SUBACK, with a code for each filter, in their order, as if
/// they had come one after the other.
#[test]
fn one_suback_with_all_codes() {
    let mut w = World::with(|config| config.broker.max_subscriptions_per_session = 3);
    let c = w.client("a", "17 00");
    let filters = [("x", 2), ("y", 0), ("x", 1), ("z", 1), ("more", 1), ("y", 2)];
    let body: String = filters.iter().map(|(f, qos)| format!("{} {qos:02x}", field(f))).collect();
    w.send(c, &packet(0x82, &format!("000a 00 {body}")));
    w.expect(c, "90 09 000a 00 02 00 01 01 97 02");
    // The last of each filter holds.
    let p = w.client("p", "");
    for (topic, qos) in [("x", 1), ("y", 2), ("z", 1)] {
        w.send(p, &publish(0x34, topic, "0001", "", "61"));
        w.send(p, "62 02 0001");
        let got = w.take(c);
        assert_eq!((packets(&got).len(), got[0] >> 1 & 3), (1, qos), "{topic}");
    }
    w.send(p, &publish(0x30, "more", "", "", "61"));
    w.expect(c, "");
}

/// `max_subscription_bytes_per_session`: filters and share names, the mount included, counted as they
/// come and go, over a restart too. 0x97; 3.x 0x80. [MQTT-3.8.4-1]
#[test]
fn bytes_of_filters_are_bounded() {
    let config = || {
        let mut config = crate::common::config();
        config.listeners[0].mount = "m/".into();
        config.broker.max_subscription_bytes_per_session = 20;
        config
    };
    let mut w = World { gateway: crate::common::Gateway::new(config()) };
    let enter = connect(0, "11 00000e10 17 00", &field("a"));
    let c = w.enter(&enter, false);
    let long = "x".repeat(19);
    w.send(c, &subscribe("0001", "", &long, "00"));
    w.expect(c, "90 04 0001 00 97");
    w.subscribed(c, "12345678", 0); // ten bytes with the mount
    w.subscribed(c, "12345678", 1); // the same
    w.subscribed(c, "$share/abc/12345", 0); // ten more
    w.send(c, &subscribe("0001", "", "1", "00"));
    w.expect(c, "90 04 0001 00 97");
    w.gateway.crash(config());
    let c = w.enter(&enter, true);
    w.send(c, &(unsubscribe("0002", "none") + &subscribe("0001", "", "1", "00")));
    w.expect(c, "b0 04 0002 00 11 90 04 0001 00 97");
    w.send(c, &unsubscribe("0002", "$share/abc/12345"));
    w.expect(c, "b0 04 0002 00 00");
    w.subscribed(c, "abcdefgh", 0);
    let old = w.gateway.mqtt("old", true);
    w.gateway.send(old, &hex(&packet(0x82, &format!("0001 {} 00", field(&long)))));
    w.expect(old, "90 03 0001 80");
    let row = w.gateway.limit("max_subscription_bytes_per_session");
    assert_eq!((row.max, row.acted), (20, Some(2)), "since the restart");
}

/// [MQTT-3.8.4-8]: delivered at the lower of what was published and what was granted.
#[test]
fn the_lower_qos() {
    let mut w = World::new();
    let c = w.client("a", "");
    let p = w.client("p", "");
    for granted in 0..=2_u8 {
        w.subscribed(c, "t", granted);
        for published in 0..=2_u8 {
            let id = if published > 0 { "0001" } else { "" };
            w.send(p, &publish(0x30 | published << 1, "t", id, "", "61"));
            w.send(p, "62 02 0001");
            let got = w.take(c);
            assert_eq!(got[0], 0x30 | granted.min(published) << 1);
        }
    }
}

/// [MQTT-3.8.3-3]: with No Local nothing comes back to its publisher, by whatever connection; to
/// others it does.
#[test]
fn no_local() {
    let mut w = World::new();
    let c = w.durable("a", false);
    let other = w.client("b", "");
    w.subscribed(c, "t", 0x05);
    w.subscribed(other, "t", 0);
    let message = publish(0x32, "t", "0001", "", "61");
    w.send(c, &message);
    w.expect(c, "40 02 0001");
    w.expect(other, &publish(0x30, "t", "", "", "61"));
    w.send(other, &message);
    assert_eq!(packets(&w.take(c)), [hex(&message)]);
    // Its will is its own, too, and would wait for it at QoS 1.
    w.send(c, "40 02 0001");
    w.lose(c);
    let c = w.enter(&connect_with_will(8, "11 00000e10", "a", ""), true);
    w.subscribed(c, "will/#", 0x05);
    let watcher = w.watcher();
    w.lose(c);
    assert_eq!(w.wills(watcher), 1);
    let c = w.durable("a", true);
    w.expect(c, "");
}

/// [MQTT-3.8.4-3], [MQTT-3.8.4-4]: the same filter again replaces its subscription, with all its
/// options and its identifier; the retained messages come again, and none that is published
/// meanwhile is lost.
#[test]
fn the_same_filter_again() {
    let mut w = World::new();
    let p = w.client("p", "");
    w.send(p, &publish(0x31, "t", "", "", "\"kept\""));
    let c = w.client("a", "21 0001");
    w.send(c, &subscribe("0001", "0b 07", "t", "01"));
    w.expect(c, &("90 04 0001 00 01".to_string() + &publish(0x31, "t", "", "0b 07", "\"kept\"")));
    // Two wait for the first to be acknowledged while the filter is replaced.
    for id in ["0001", "0002", "0003"] {
        w.send(p, &publish(0x32, "t", id, "", id));
    }
    w.expect(c, &publish(0x32, "t", "0001", "0b 07", "0001"));
    w.send(c, &subscribe("0002", "", "t", "00"));
    w.expect(c, "90 04 0002 00 00");
    w.send(c, "40 02 0001");
    w.expect(c, &publish(0x32, "t", "0002", "0b 07", "0002"));
    w.send(c, "40 02 0002");
    let retained = publish(0x31, "t", "", "", "\"kept\"");
    w.expect(c, &(publish(0x32, "t", "0003", "0b 07", "0003") + &retained));
    // One subscription, of QoS 0 and without an identifier.
    w.send(p, &publish(0x32, "t", "0001", "", "61"));
    w.expect(c, &publish(0x30, "t", "", "", "61"));
}

/// [MQTT-3.8.4-3], [MQTT-4.1.0-1]: what was replaced, and what was taken away, is so after a restart,
/// with all options.
#[test]
fn a_restart_knows_the_latest_subscription() {
    let mut w = World::new();
    let c = w.durable("a", false);
    w.send(c, &subscribe("0001", "0b 07", "t", "00"));
    w.send(c, &subscribe("0002", "0b 09", "t", "0e"));
    w.send(c, &subscribe("0003", "0b 08", "gone", "02"));
    w.send(c, &unsubscribe("0004", "gone"));
    w.expect(c, "90 04 0001 00 00 90 04 0002 00 02 90 04 0003 00 02 b0 04 0004 00 00");
    w.gateway.crash(crate::common::config());
    let c = w.durable("a", true);
    let p = w.client("p", "");
    w.send(p, &publish(0x31, "gone", "", "", "61"));
    w.send(p, &publish(0x35, "t", "0001", "", "61"));
    // QoS 2, retain as published, identifier 9, and No Local.
    w.expect(c, &publish(0x35, "t", "0001", "0b 09", "61"));
    w.send(c, &publish(0x30, "t", "", "", "61"));
    w.alive(c);
}

/// [MQTT-3.10.4-1], [MQTT-3.10.4-2], [MQTT-3.10.4-4], [MQTT-3.10.4-5], [MQTT-3.10.4-6],
/// [MQTT-3.11.3-1], [MQTT-3.11.3-2]: filters are compared character by character; one UNSUBACK has
/// a code for each, in order, 0x11 where there was none.
#[test]
fn unsubscribing() {
    let mut w = World::new();
    let c = w.client("a", "");
    for filter in ["a/b", "a/+", "#", "$share/g/t"] {
        w.subscribed(c, filter, 0);
    }
    let all = ["a/B", "a/b", "a/b", "+/b", "a/#", "t", "$share/h/t", "$share/g/t", "#"];
    let body: String = all.iter().map(|filter| field(filter)).collect();
    w.send(c, &packet(0xa2, &format!("1234 00 {body}")));
    w.expect(c, "b0 0c 1234 00 11 00 11 11 11 11 11 00 00");
    let p = w.client("p", "");
    w.send(p, &(publish(0x30, "t", "", "", "61") + &publish(0x30, "a/b", "", "", "62")));
    w.expect(c, &publish(0x30, "a/b", "", "", "62"));
    w.send(c, &unsubscribe("0001", "a/+"));
    w.expect(c, "b0 04 0001 00 00");
    w.send(p, &publish(0x30, "a/b", "", "", "62"));
    w.expect(c, "");
}

/// [MQTT-3.10.4-2], [MQTT-3.10.4-3]: what was started is finished, what only waits is not sent.
#[test]
fn unsubscribing_finishes_what_was_started() {
    let mut w = World::new();
    let c = w.enter(&connect(0, "11 00000e10 21 0002", &field("a")), false);
    w.subscribed(c, "t", 2);
    let p = w.client("p", "");
    for (first, id) in [(0x32, "0001"), (0x34, "0002"), (0x32, "0003"), (0x32, "0004")] {
        w.send(p, &publish(first, "t", id, "", id));
    }
    w.expect(
        c,
        &(publish(0x32, "t", "0001", "", "0001") + &publish(0x34, "t", "0002", "", "0002")),
    );
    w.send(c, &unsubscribe("0001", "t"));
    w.expect(c, "b0 04 0001 00 00");
    w.send(c, "50 02 0002");
    w.expect(c, "62 02 0002");
    w.lose(c);
    let c = w.durable("a", true);
    w.expect(c, &(publish(0x3a, "t", "0001", "", "0001") + "62 02 0002"));
    w.send(c, "40 02 0001 70 02 0002");
    w.expect(c, "");
}

/// Switched off and asked for all the same: a goodbye that says what there is not (MQTT 5
/// §3.2.2.3.11 to §3.2.2.3.13), with the will.
#[test]
fn what_is_switched_off() {
    let mut w = World::with_mqtt(Mqtt {
        wildcard_subscriptions: false,
        shared_subscriptions: false,
        subscription_identifiers: false,
        max_keep_alive: Duration::ZERO,
        ..Mqtt::default()
    });
    let watcher = w.client("watcher", "");
    w.subscribed(watcher, "will/a", 0);
    for (request, code) in [
        (subscribe("0001", "", "a/+", "00"), 0xa2),
        (subscribe("0001", "", "#", "00"), 0xa2),
        (subscribe("0001", "", "$share/g/t", "00"), 0x9e),
        (subscribe("0001", "0b 01", "t", "00"), 0xa1),
    ] {
        let c = w.enter(&connect_with_will(2, "", "a", ""), false);
        w.send(c, &request);
        w.goodbye(c, code);
        assert_eq!(w.wills(watcher), 1, "{request}");
    }
}
