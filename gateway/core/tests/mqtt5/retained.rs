//! Retained messages and the subscription options that concern them (MQTT 5 §3.3.1.3, §3.8.3.1).

use crate::wire::*;

/// What a new subscriber gets at once.
fn kept(w: &mut World, filter: &str) -> Vec<Vec<u8>> {
    let c = w.client("late", "");
    w.subscribed(c, filter, 2);
    let got = w.take(c);
    packets(&got)
}

/// [MQTT-3.3.1-5], [MQTT-3.3.1-6], [MQTT-3.3.1-7], [MQTT-3.3.1-8]: the last with RETAIN 1 is kept,
/// whole, whatever its QoS; an empty one takes it away, is delivered like any other and is not kept;
/// RETAIN 0 leaves it alone.
#[test]
fn the_last_one_is_kept() {
    let mut w = World::new();
    let s = w.client("s", "");
    w.subscribed(s, "t", 2);
    let p = w.client("p", "");
    let user = format!("26 {} {}", field("k"), field("v"));
    w.send(p, &publish(0x33, "t", "0001", "", "61"));
    assert_eq!(kept(&mut w, "t")[0][..], hex(&publish(0x33, "t", "0001", "", "61")));
    w.send(p, &publish(0x31, "t", "", &user, "62"));
    assert_eq!(kept(&mut w, "t"), [hex(&publish(0x31, "t", "", &user, "62"))]);
    for (first, payload) in [(0x30, "63"), (0x30, ""), (0x32, "")] {
        w.send(p, &publish(first, "t", if first == 0x32 { "0001" } else { "" }, "", payload));
        assert_eq!(kept(&mut w, "t"), [hex(&publish(0x31, "t", "", &user, "62"))]);
    }
    w.take(s);
    w.send(p, &publish(0x31, "t", "", "", ""));
    w.expect(s, &publish(0x30, "t", "", "", ""));
    assert!(kept(&mut w, "t").is_empty());
    // Clearing what is not there.
    w.send(p, &publish(0x31, "u", "", "", ""));
    assert!(kept(&mut w, "#").is_empty());
    // They are no part of a session.
    w.send(p, &publish(0x31, "t", "", "", "64"));
    w.send(p, "e000");
    w.secs(1);
    assert_eq!(kept(&mut w, "t").len(), 1);
    w.gateway.crash(crate::common::config());
    assert_eq!(kept(&mut w, "t").len(), 1);
}

/// [MQTT-3.3.1-9], [MQTT-3.3.1-10], [MQTT-3.3.1-11]: at each SUBSCRIBE, at one that is new, at none;
/// always with RETAIN 1.
#[test]
fn retain_handling() {
    let mut w = World::new();
    let p = w.client("p", "");
    w.send(p, &publish(0x31, "t", "", "", "61"));
    let message = packets(&hex(&publish(0x31, "t", "", "", "61")));
    let c = w.durable("a", false);
    for (options, comes) in
        [("10", true), ("10", false), ("00", true), ("20", false), ("00", true), ("18", false)]
    {
        w.send(c, &subscribe("0001", "", "t", options));
        let got = packets(&w.take(c));
        assert_eq!(got[0], hex("90 04 0001 00 00"));
        assert_eq!(got[1..], message[..usize::from(comes)], "{options}");
    }
    // A resumed session has the subscription; another filter is another subscription.
    w.lose(c);
    let c = w.durable("a", true);
    w.expect(c, "");
    for (filter, options, comes) in [("t", "10", 0), ("+", "10", 1), ("+", "10", 0), ("#", "20", 0)]
    {
        w.send(c, &subscribe("0001", "", filter, options));
        assert_eq!(packets(&w.take(c)).len(), 1 + comes, "{filter} {options}");
    }
    // After UNSUBSCRIBE it is new again.
    w.send(c, &unsubscribe("0002", "t"));
    w.take(c);
    w.send(c, &subscribe("0001", "", "t", "10"));
    assert_eq!(packets(&w.take(c)).len(), 2);
    // A group gets none.
    w.send(c, &subscribe("0001", "", "$share/g/t", "00"));
    assert_eq!(packets(&w.take(c)).len(), 1);
}

/// [MQTT-3.3.1-12], [MQTT-3.3.1-13]: live messages have RETAIN 0, or as they were published, by the
/// subscription's option; queued ones and groups, too.
#[test]
fn retain_as_published() {
    let mut w = World::new();
    let plain = w.client("plain", "");
    w.subscribed(plain, "t", 0);
    let as_is = w.client("as-is", "");
    w.subscribed(as_is, "t", 0x08);
    let member = w.client("member", "");
    w.subscribed(member, "$share/g/t", 0x08);
    let away = w.durable("away", false);
    w.subscribed(away, "t", 0x09);
    w.lose(away);
    let p = w.client("p", "");
    for (first, payload) in [(0x33, "61"), (0x32, "62"), (0x33, "")] {
        w.send(p, &publish(first, "t", "0001", "", payload));
        w.expect(plain, &publish(0x30, "t", "", "", payload));
        w.expect(as_is, &publish(0x30 | first & 1, "t", "", "", payload));
        w.expect(member, &publish(0x30 | first & 1, "t", "", "", payload));
    }
    let away = w.durable("away", true);
    let flags: Vec<u8> = packets(&w.take(away)).iter().map(|packet| packet[0]).collect();
    assert_eq!(flags, [0x33, 0x32, 0x33]);
}

/// §2.4: SUBACK, then the retained messages of each filter in turn, with its own identifier and
/// QoS, then what is live.
#[test]
fn suback_retained_live() {
    let mut w = World::new();
    let p = w.client("p", "");
    for topic in ["a/2", "a/1", "b"] {
        w.send(p, &publish(0x33, topic, "0001", "", "61"));
    }
    let c = w.client("a", "");
    let filters = format!("{} 01 {} 00", field("a/+"), field("a/1"));
    w.send(c, &packet(0x82, &format!("0001 02 0b 07 {filters}")));
    let expected = [
        "90 05 0001 00 01 00".to_string(),
        publish(0x33, "a/1", "0001", "0b 07", "61"),
        publish(0x33, "a/2", "0002", "0b 07", "61"),
        publish(0x31, "a/1", "", "0b 07", "61"),
    ];
    w.expect(c, &expected.concat());
}
