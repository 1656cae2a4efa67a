//! Wills (MQTT 5 §3.1.2.5, §3.1.3.2).

use crate::wire::*;

/// [MQTT-3.1.2-7], [MQTT-3.1.2-8], [MQTT-3.1.2-10], [MQTT-3.14.4-3]: kept with the session, sent once
/// after the close unless a normal goodbye took it away; not while the connection stands.
#[test]
fn sent_once_after_the_close() {
    let mut w = World::new();
    let watcher = w.watcher();
    let c = w.enter(&connect_with_will(0, "11 00000e10", "a", ""), false);
    w.secs(20);
    assert_eq!(w.wills(watcher), 0);
    w.lose(c);
    w.expect(watcher, &publish(0x30, "will/a", "", "", "\"gone\""));
    // It was removed: the session's next connection has none.
    let c = w.durable("a", true);
    w.lose(c);
    assert_eq!(w.wills(watcher), 0);
    let c = w.enter(&connect_with_will(0, "11 00000e10", "a", ""), true);
    w.send(c, "e000");
    w.secs(4_000);
    assert_eq!(w.wills(watcher), 0);
    // Code 0x04 keeps it.
    let c = w.enter(&connect_with_will(2, "", "a", ""), false);
    w.send(c, "e0 01 04");
    assert_eq!(w.wills(watcher), 1);
}

/// [MQTT-3.1.2-12], [MQTT-3.1.2-14], [MQTT-3.1.2-15]: at its QoS, kept or not as its flag says; a
/// retained one without payload clears.
#[test]
fn qos_and_retain() {
    let mut w = World::new();
    let c = w.client("watcher", "");
    w.subscribed(c, "will/#", 2);
    for retain in [false, true] {
        for qos in 0..=2_u8 {
            let flags = 2 | qos << 3 | u8::from(retain) << 5;
            let dying = w.enter(&connect_with_will(flags, "", "a", ""), false);
            w.lose(dying);
            let got = w.take(c);
            assert_eq!(got[0], 0x30 | qos << 1, "live, RETAIN 0: {}", show(&got));
            let late = w.client("late", "");
            w.subscribed(late, "will/#", 2);
            let got = w.take(late);
            assert_eq!(got.first().copied(), retain.then_some(0x31 | qos << 1));
        }
    }
    let empty = connect(0x26, "", &format!("{} 00 {} 0000", field("a"), field("will/a")));
    let dying = w.enter(&empty, false);
    w.lose(dying);
    let late = w.client("late", "");
    w.subscribed(late, "will/#", 2);
    w.expect(late, "");
}

/// [MQTT-3.1.2-8], [MQTT-3.1.3-9]: after its delay, or at the session's end if that is earlier; not
/// at all if the session goes on before.
#[test]
fn after_its_delay() {
    let mut w = World::new();
    let watcher = w.watcher();
    let will = |delay: u32, expiry: u32| {
        connect_with_will(0, &format!("11 {expiry:08x}"), "a", &format!("18 {delay:08x}"))
    };
    for (delay, expiry, after) in [(10, 100, 10), (100, 10, 10), (0, 100, 0), (10, 0, 0)] {
        let c = w.enter(&will(delay, expiry), false);
        w.lose(c);
        if after > 0 {
            w.secs(after - 1);
            assert_eq!(w.wills(watcher), 0, "{delay} {expiry}");
            w.secs(1);
        }
        assert_eq!(w.wills(watcher), 1, "{delay} {expiry}");
        w.secs(120);
        assert_eq!(w.wills(watcher), 0, "once");
    }
    // A new connection in time: not sent, neither then nor later.
    let c = w.enter(&will(10, 100), false);
    w.lose(c);
    w.secs(9);
    let c = w.enter(&connect(0, "11 00000064", &field("a")), true);
    w.secs(50);
    assert_eq!(w.wills(watcher), 0);
    // With Clean Start the session has ended: sent at once.
    w.lose(c);
    let c = w.enter(&will(10, 100), true);
    w.lose(c);
    w.enter(&connect(2, "", &field("a")), false);
    assert_eq!(w.wills(watcher), 1);
}

/// [MQTT-3.1.2-8], [MQTT-3.1.3-9], [MQTT-3.1.4-3]: a takeover closes the old connection without a
/// goodbye of its client's: its will goes out, once and before the new CONNACK, unless it has a delay
/// and the session goes on.
#[test]
fn a_takeover() {
    let mut w = World::new();
    let watcher = w.watcher();
    let with = |delay: &str| connect_with_will(0, "11 00000064", "a", delay);
    for (delay, clean, sent) in [
        ("", 0, 1),
        ("18 00000000", 0, 1),
        ("18 0000000a", 0, 0),
        ("", 2, 1),
        ("18 0000000a", 2, 1), // with its session
    ] {
        let old = w.enter(&with(delay), false);
        w.gateway.commit_at_once = false;
        let new = w.knock(&connect(clean, "11 00000064", &field("a")));
        w.goodbye(old, 0x8e);
        assert_eq!(w.wills(watcher), sent, "{delay:?} {clean}");
        w.expect(new, "");
        w.gateway.commit();
        w.gateway.commit_at_once = true;
        assert_eq!(w.take(new)[..1], [0x20]);
        w.lose(old);
        w.secs(50);
        assert_eq!(w.wills(watcher), 0, "{delay:?} {clean}: not again");
        // Nor is it the new connection's.
        w.lose(new);
        w.secs(120);
        assert_eq!(w.wills(watcher), 0, "{delay:?} {clean}: it has none");
    }
}

/// DISCONNECT can end the session, and with it the delay.
#[test]
fn a_goodbye_that_ends_the_session() {
    let mut w = World::new();
    let watcher = w.watcher();
    let c = w.enter(&connect_with_will(0, "11 00000064", "a", "18 0000000a"), false);
    w.send(c, "e0 07 04 05 11 00000000");
    assert_eq!(w.wills(watcher), 1);
}

/// [MQTT-3.1.3-10], [MQTT-3.3.2-6]: its properties are the message's, in order; its expiry starts
/// when it is sent.
#[test]
fn properties_of_a_will() {
    let mut w = World::new();
    let watcher = w.watcher();
    let user = |name: &str| format!("26 {} {}", field(name), field("v"));
    let carried = format!(
        "01 01 03 {} 08 {} 09 0001 ff {}{}{}",
        field("text"),
        field("re"),
        user("b"),
        user("a"),
        user("b")
    );
    let c = w.enter(
        &connect_with_will(0, "11 00000064", "a", &format!("18 00000005 02 00000007 {carried}")),
        false,
    );
    w.lose(c);
    w.secs(5);
    w.expect(watcher, &publish(0x30, "will/a", "", &format!("{carried} 02 00000007"), "\"gone\""));
}

/// [MQTT-3.1.2-7]: a restart counts as the close; the will of a session that is kept is not lost.
#[test]
fn a_restart_is_a_close() {
    let mut w = World::new();
    w.enter(&connect_with_will(8, "11 00000064", "a", "18 00000005"), false);
    let late = w.durable("late", false);
    w.subscribed(late, "will/#", 1);
    w.gateway.crash(crate::common::config());
    w.secs(4);
    let late = w.durable("late", true);
    w.expect(late, "");
    w.secs(2);
    w.expect(late, &publish(0x32, "will/a", "0001", "", "\"gone\""));
}

/// [MQTT-3.1.2-7], [MQTT-3.1.2-8]: what is kept over a restart is the will of the latest CONNECT, or
/// that there is none, and the time at which a delayed one is due: it does not begin anew.
#[test]
fn a_restart_changes_no_will() {
    let mut w = World::new();
    let will = |text: &str, delay: &str| {
        let will = format!("{} {} {}", props(delay), field("will/a"), field(text));
        connect(0x0c, "11 00000064", &format!("{} {will}", field("a")))
    };
    let late = w.durable("late", false);
    w.subscribed(late, "will/#", 1);
    let c = w.enter(&will("old", ""), false);
    w.send(c, "e000");
    w.enter(&will("new", "18 0000000a"), true);
    w.gateway.crash(crate::common::config());
    let late = w.durable("late", true);
    w.secs(9);
    w.expect(late, "");
    w.gateway.crash(crate::common::config());
    let late = w.durable("late", true);
    w.expect(late, "");
    w.secs(2);
    w.expect(late, &publish(0x32, "will/a", "0001", "", "\"new\""));
    w.send(late, "40 02 0001");
    // Sent once, also if it is another life that sends it.
    w.gateway.crash(crate::common::config());
    let late = w.durable("late", true);
    w.secs(60);
    w.expect(late, "");
    // A connection without one takes the old one away.
    w.enter(&will("old", ""), true);
    w.enter(&connect(0, "11 00000064", &field("a")), true);
    w.expect(late, &publish(0x32, "will/a", "0001", "", "\"old\""));
    w.send(late, "40 02 0001");
    w.gateway.crash(crate::common::config());
    let late = w.durable("late", true);
    for _ in 0..2 {
        w.secs(80);
        w.alive(late);
    }
}
