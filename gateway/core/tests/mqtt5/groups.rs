//! Shared subscriptions (MQTT 5 §4.8.2).

use motegate_message::ConnectionId;

use crate::wire::*;

fn member(w: &mut World, id: &str, qos: u8) -> ConnectionId {
    let c = w.durable(id, false);
    w.subscribed(c, "$share/g/t", qos);
    c
}

/// [MQTT-4.8.2-3]: to one member, at the QoS of that member's subscription, with its identifier.
#[test]
fn each_member_has_its_qos() {
    let mut w = World::new();
    let members: Vec<ConnectionId> =
        (0..3).map(|qos| member(&mut w, &format!("m{qos}"), qos)).collect();
    let p = w.client("p", "");
    for _ in 0..3 {
        w.send(p, &(publish(0x34, "t", "0001", "", "61") + "62 02 0001"));
    }
    for (qos, conn) in members.into_iter().enumerate() {
        let got = w.take(conn);
        assert_eq!(packets(&got).len(), 1, "one of three each");
        assert_eq!(got[0], 0x30 | (qos as u8) << 1);
    }
}

/// [MQTT-4.8.2-4]: a QoS 2 message that was begun with a member is finished with that member, when
/// it comes back.
#[test]
fn a_begun_qos_2_message_stays() {
    for received in [false, true] {
        let mut w = World::new();
        let m = member(&mut w, "m", 2);
        let p = w.client("p", "");
        w.send(p, &publish(0x34, "t", "0001", "", "61"));
        w.expect(m, &publish(0x34, "t", "0001", "", "61"));
        let n = member(&mut w, "n", 2);
        if received {
            w.send(m, "50 02 0001");
            w.expect(m, "62 02 0001");
        }
        w.lose(m);
        w.secs(60);
        w.expect(n, "");
        let m = w.durable("m", true);
        let again = publish(0x3c, "t", "0001", "", "61");
        w.expect(m, if received { "62 02 0001" } else { &again });
        w.send(m, "50 02 0001 70 02 0001");
        w.expect(n, "");
    }
}

/// [MQTT-4.8.2-5]: if its session ends before, the message goes to no other member.
#[test]
fn a_begun_qos_2_message_ends_with_its_session() {
    let mut w = World::new();
    let m = w.enter(&connect(0, "11 0000000a", &field("m")), false);
    w.subscribed(m, "$share/g/t", 2);
    let p = w.client("p", "");
    w.send(p, &publish(0x34, "t", "0001", "", "61"));
    w.expect(m, &publish(0x34, "t", "0001", "", "61"));
    let n = member(&mut w, "n", 2);
    w.lose(m);
    w.secs(20);
    w.expect(n, "");
    // At QoS 1 it may, and does.
    let m = w.enter(&connect(0, "11 0000000a", &field("m")), false);
    w.subscribed(m, "$share/g/t", 1);
    for id in ["0003", "0004"] {
        w.send(p, &publish(0x32, "t", id, "", id));
    }
    let lost = packets(&w.take(m));
    assert_eq!(lost.len(), 1);
    w.take(n);
    w.lose(m);
    w.secs(20);
    let got = packets(&w.take(n));
    assert_eq!(got.len(), 1);
    assert_eq!((got[0][0], &got[0][8..]), (0x32, &lost[0][8..]), "a new message, DUP 0");
}

/// [MQTT-4.8.2-6]: a member that refuses a message ends it for the group.
#[test]
fn a_refused_message_goes_to_nobody_else() {
    let mut w = World::new();
    let m = member(&mut w, "m", 2);
    let p = w.client("p", "");
    w.send(p, &publish(0x32, "t", "0001", "", "61"));
    w.send(p, &publish(0x34, "t", "0002", "", "62"));
    assert_eq!(packets(&w.take(m)).len(), 2);
    let n = member(&mut w, "n", 2);
    w.send(m, "40 03 0001 83 50 03 0002 97");
    w.expect(m, "");
    w.expect(n, "");
    w.lose(m);
    let m = w.durable("m", true);
    w.expect(m, "");
    w.expect(n, "");
}
