//! Wills of MQTT-SN clients across a restart: a client that is served where it was has lost nothing,
//! so its will waits until its new deadline is missed (MQTT-SN 1.2 §6.14, §6.3; row 45 of the
//! checklist).

mod common;

use std::time::Duration;

use common::{Gateway, SN, config, listener, peer, sn, sn_connect};
use motegate_core::{Input, Protocol};
use motegate_message::ConnectionId;

const MOTE: u16 = 2_002;

/// `watch` keeps its subscription to will/#; `mote`, without CleanSession, has the will will/m.
fn gateway() -> Gateway {
    let mut gateway = Gateway::new(config());
    let watch = gateway.mqtt("watch", false);
    gateway.mqtt_subscribe(watch, "will/#", 1);
    let mut connect = sn_connect("mote", false, 60);
    connect[2] |= 0x08;
    assert_eq!(gateway.datagram(SN, peer(MOTE), &connect), [sn(0x06, &[])]);
    let topic = [&[0x20][..], b"will/m"].concat();
    assert_eq!(gateway.datagram(SN, peer(MOTE), &sn(0x07, &topic)), [sn(0x08, &[])]);
    assert_eq!(gateway.datagram(SN, peer(MOTE), &sn(0x09, b"gone")), [sn(0x05, &[0])]);
    gateway.send(watch, &[0xe0, 0]);
    gateway
}

fn sleeps(gateway: &mut Gateway) {
    assert_eq!(gateway.datagram(SN, peer(MOTE), &sn(0x18, &[0, 200])), [sn(0x18, &[])]);
}

/// What `watch` gets that has come back.
fn wills(gateway: &mut Gateway, watch: ConnectionId) -> usize {
    let seen = gateway.received(watch);
    seen.windows(4).filter(|bytes| bytes == b"gone").count()
}

fn watches(gateway: &mut Gateway) -> (ConnectionId, usize) {
    let watch = gateway.mqtt_again("watch");
    let seen = wills(gateway, watch);
    (watch, seen)
}

#[test]
fn row_45_a_resumed_clients_will_waits_for_its_new_deadline() {
    for (asleep, patience) in [(true, 220), (false, 90)] {
        for stops in [true, false] {
            if stops && !asleep {
                continue; // told by DISCONNECT that the gateway stops, and not resumed
            }
            let mut gateway = gateway();
            if asleep {
                sleeps(&mut gateway);
            }
            for round in 0..2 {
                if stops {
                    gateway.input(Input::Shutdown);
                }
                gateway.crash(config());
                let (watch, seen) = watches(&mut gateway);
                assert_eq!(seen, 0, "asleep {asleep}, stops {stops}, round {round}");
                gateway.send(watch, &[0xe0, 0]);
            }
            // `watch` stays away: its keep-alive is shorter than what is waited for.
            gateway.advance(Duration::from_secs(patience - 1));
            let (watch, seen) = watches(&mut gateway);
            assert_eq!(seen, 0, "asleep {asleep}, stops {stops}");
            gateway.advance(Duration::from_secs(2));
            assert_eq!(wills(&mut gateway, watch), 1, "asleep {asleep}, stops {stops}");
        }
    }
}

#[test]
fn a_will_is_published_at_the_restart_if_its_session_is_not_resumed() {
    for asleep in [true, false] {
        let mut gateway = gateway();
        if asleep {
            sleeps(&mut gateway);
        }
        let mut moved = config();
        moved.listeners[usize::from(SN.0)] = listener("other", Protocol::MqttSn, "mqttsn");
        gateway.crash(moved);
        assert_eq!(watches(&mut gateway).1, 1, "asleep {asleep}");
    }
    // An active client is told to go when the gateway stops.
    let mut gateway = gateway();
    gateway.input(Input::Shutdown);
    gateway.crash(config());
    assert_eq!(watches(&mut gateway).1, 1);
}

#[test]
fn a_resumed_client_that_says_goodbye_has_no_will() {
    let mut gateway = gateway();
    sleeps(&mut gateway);
    gateway.crash(config());
    assert_eq!(gateway.datagram(SN, peer(MOTE), &sn(0x16, b"mote")), [sn(0x17, &[])]);
    assert_eq!(gateway.datagram(SN, peer(MOTE), &sn(0x18, &[])), [sn(0x18, &[])]);
    gateway.advance(Duration::from_secs(1_000));
    assert_eq!(watches(&mut gateway).1, 0);
}
