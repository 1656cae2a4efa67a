//! A session that roams between listeners of its realm that have different mounts.

use motegate_message::{ConnectionId, ListenerId};

use crate::common::{Gateway, config};
use crate::wire::*;

const MOUNTED: ListenerId = ListenerId(3);

fn world() -> World {
    let mut config = config();
    let mut mounted = config.listeners[0].clone();
    (mounted.name, mounted.mount) = ("mounted".into(), "mnt/".into());
    config.listeners.push(mounted);
    World { gateway: Gateway::new(config) }
}

/// The client `c` below the mount, its session resumed; Receive Maximum 2.
fn below(w: &mut World) -> ConnectionId {
    let conn = w.gateway.open_at(MOUNTED, [127, 0, 0, 1], None);
    w.send(conn, &connect(0, "11 00000e10 21 0002", &field("c")));
    let got = w.take(conn);
    assert_eq!(got[..4], [0x20, got[1], 1, 0], "{}", show(&got));
    let rest = packets(&got)[1..].concat();
    w.gateway.streams.insert(conn, rest);
    conn
}

/// [MQTT-4.5.0-1], [MQTT-3.1.2-5]: what was acknowledged and cannot be named below a mount stays for
/// the listener that can, in its order and with its packet ids, and holds up nothing meanwhile.
#[test]
fn what_has_no_name_below_a_mount_waits() {
    let mut w = world();
    let c = w.durable("c", false);
    w.subscribed(c, "v/#", 2);
    let p = w.client("p", "");
    w.send(p, &publish(0x32, "v/0", "0001", "", "30"));
    w.expect(p, "40 02 0001");
    w.expect(c, &publish(0x32, "v/0", "0001", "", "30")); // in flight
    w.lose(c);
    for n in 1..=4 {
        w.send(p, &publish(0x32, &format!("v/{n}"), "0001", "", "31"));
        w.expect(p, "40 02 0001");
    }

    let c = below(&mut w);
    w.subscribed(c, "mine", 1);
    w.expect(c, "");
    // Nothing is in the way of what has a name, at QoS 0 and 1; live ones wait, too.
    w.send(p, &publish(0x32, "v/5", "0001", "", "35"));
    w.expect(p, "40 02 0001");
    w.send(p, &publish(0x30, "v/6", "", "", "36"));
    for id in [2, 3] {
        let text = format!("{id:04x}");
        w.send(p, &publish(0x32, "mnt/mine", "0001", "", "61"));
        w.expect(p, "40 02 0001");
        w.expect(c, &publish(0x32, "mine", &text, "", "61"));
    }
    w.send(p, &publish(0x32, "mnt/mine", "0001", "", "62"));
    w.expect(p, "40 02 0001");
    w.expect(c, ""); // its Receive Maximum is 2
    w.send(c, "40 02 0002");
    w.expect(c, &publish(0x32, "mine", "0004", "", "62"));
    w.send(c, "40 02 0003 40 02 0004");
    w.lose(c);

    // A restart lies between, and once more the mount.
    let config = w.gateway.core.config().clone();
    w.gateway.crash(config);
    let c = below(&mut w);
    w.expect(c, "");
    w.lose(c);
    let c = w.durable("c", true);
    let got = w.take(c);
    let topics: Vec<String> =
        packets(&got).iter().map(|p| String::from_utf8_lossy(&p[4..7]).into_owned()).collect();
    assert_eq!(topics, ["v/0", "v/1", "v/2", "v/3", "v/4", "v/5"], "{}", show(&got));
    assert_eq!((got[0], &got[7..9]), (0x3a, &[0, 1][..]), "sent before: {}", show(&got));
}

/// What waits so is bounded as a queue is; what goes beyond is counted and told. Other messages go on
/// whatever was passed over: its room is given back.
#[test]
fn what_waits_for_another_listener_is_bounded() {
    let mut w = world();
    let c = w.durable("c", false);
    w.subscribed(c, "v/#", 1);
    w.lose(c);
    let c = below(&mut w);
    w.subscribed(c, "mine", 1);
    let p = w.client("p", "");
    let before = w.gateway.core.stats().dropped(motegate_message::Reason::QueueFull);
    let long = "00".repeat(1000);
    for n in 0..1_010 {
        w.send(p, &publish(0x32, &format!("v/{n}"), "0001", "", &long));
        w.expect(p, "40 02 0001");
    }
    let dropped = w.gateway.core.stats().dropped(motegate_message::Reason::QueueFull) - before;
    assert_eq!(dropped, 10);
    w.send(p, &publish(0x32, "mnt/mine", "0001", "", "61"));
    w.expect(c, &publish(0x32, "mine", "0001", "", "61"));
}

/// `max_topic_levels` and `max_topic_length` hold for the final topic, and what exceeds them has one
/// answer: whoever comes by a mount hears what others hear, and the bound is counted.
#[test]
fn bounds_of_a_topic_answer_alike_below_a_mount() {
    let said = |mounted: bool, of: &dyn Fn(&str) -> String, connects: bool| {
        let mut config = config();
        (config.mqtt.max_topic_levels, config.mqtt.max_topic_length) = (4, 20);
        config.listeners[0].mount = if mounted { "m/o/".into() } else { "".into() };
        let mut w = World { gateway: Gateway::new(config) };
        let prefix = if mounted { "" } else { "m/o/" };
        let mut all = Vec::new();
        // Fits, is too deep, is too long.
        for topic in ["a/b", "a/b/c", "a/345678901234567"] {
            let packet = of(&format!("{prefix}{topic}"));
            let conn = if connects { w.open() } else { w.client("c", "") };
            w.send(conn, &packet);
            let got = w.take(conn);
            let rows =
                ["max_topic_levels", "max_topic_length"].map(|row| w.gateway.limit(row).acted);
            all.push((got, w.gateway.closed.get(&conn).copied(), rows));
        }
        assert_eq!(
            all.iter().map(|(_, closed, _)| closed.is_some()).collect::<Vec<_>>(),
            [false, true, true]
        );
        all
    };
    let packets: [&dyn Fn(&str) -> String; 5] = [
        &|topic| publish(0x30, topic, "", "", "61"),
        &|topic| publish(0x32, topic, "0001", "", "61"),
        &|topic| publish(0x34, topic, "0001", "", "61"),
        &|topic| subscribe("0001", "", topic, "01"),
        &|topic| unsubscribe("0001", topic),
    ];
    for of in packets {
        assert_eq!(said(true, of, false), said(false, of, false), "{}", of("a"));
    }
    let will =
        |topic: &str| connect(0x06, "", &format!("{} 00 {} 0001 61", field("w"), field(topic)));
    assert_eq!(said(true, &will, true), said(false, &will, true));
}
