//! Discovery of MQTT-SN through the whole core: who answers, when, and by which listeners; and the
//! alarm when a sleeper is late.

mod common;

use std::time::Duration;

use common::{COAP, Gateway, SN, config, listener, peer, sn, sn_connect};
use motegate_core::{Config, Input, NoticeKind, Protocol};
use motegate_message::{Group, ListenerId, Reason};

fn group() -> Group {
    "224.0.18.83%eth0".parse().expect("a group")
}

fn search(gateway: &mut Gateway, listener: ListenerId) -> (usize, usize) {
    gateway.datagrams.clear();
    gateway.announced.clear();
    let (group, bytes) = (&group(), &sn(0x01, &[2])[..]);
    gateway.input(Input::GroupDatagram { listener, group, peer: peer(7), bytes });
    (gateway.datagrams_to(peer(7)).len(), gateway.announced.len())
}

#[test]
fn who_cannot_store_does_not_offer_itself() {
    let mut gateway = Gateway::new(config());
    assert_eq!(search(&mut gateway, SN), (1, 1));
    let told = &gateway.announced[0];
    assert_eq!((told.listener, &told.to, told.hops), (Some(SN), &group(), 2));
    assert_eq!(&*told.bytes, [3, 2, 1]);
    gateway.input(Input::StoreFailed);
    assert_eq!(search(&mut gateway, SN), (0, 0));
    assert_eq!(gateway.datagram(SN, peer(7), &sn(0x01, &[2])), [[0_u8; 0]; 0]);
    // The next commit says that it can again.
    gateway.datagram(SN, peer(9), &sn_connect("mote", false, 60));
    gateway.input(Input::Committed(motegate_message::Seq(1_000)));
    assert_eq!(search(&mut gateway, SN), (1, 1));
    assert_eq!(search(&mut gateway, COAP), (0, 0), "a SEARCHGW is no CoAP");
}

#[test]
fn every_listener_of_mqtt_sn_advertises() {
    let mut config = Config { ..config() };
    config.listeners.push(listener("field", Protocol::MqttSn, "mqttsn"));
    config.mqtt_sn.advertise_to = vec![group()];
    let mut gateway = Gateway::new(config);
    gateway.advance(Duration::ZERO);
    let by: Vec<_> = gateway.announced.iter().map(|told| told.listener).collect();
    assert_eq!(by, [Some(SN), Some(ListenerId(3))]);
    assert!(gateway.announced.iter().all(|told| *told.bytes == [5, 0, 1, 0x03, 0x84]));
    gateway.advance(Duration::from_secs(899));
    assert_eq!(gateway.announced.len(), 2);
    gateway.advance(Duration::from_secs(1));
    assert_eq!(gateway.announced.len(), 4);
}

#[test]
fn a_late_sleeper_is_an_alarm_with_what_waits_for_it() {
    let mut gateway = Gateway::new(config());
    gateway.datagram(SN, peer(7), &sn_connect("mote", false, 60));
    gateway.datagram(SN, peer(7), &sn(0x12, b"\x20\0\x01a/b"));
    gateway.datagram(SN, peer(7), &sn(0x18, &[0, 100]));
    gateway.datagram(SN, peer(8), &sn_connect("other", true, 60));
    gateway.datagram(SN, peer(8), &sn(0x0a, b"\0\0\0\x01a/b"));
    gateway.datagram(SN, peer(8), &sn(0x0c, b"\x20\0\x01\0\x02x"));
    gateway.notices.clear();
    gateway.advance(Duration::from_secs(106));
    let overdue: Vec<_> =
        gateway.notices.iter().filter(|n| n.kind == NoticeKind::Overdue).collect();
    let [notice] = overdue[..] else { panic!("{:?}", gateway.notices) };
    assert_eq!(notice.client.as_ref().map(|key| key.client_id()), Some("mote"));
    let text = "it sleeps longer than it said; messages that wait for it: 1; lost in 5 s";
    assert_eq!(notice.text.as_deref(), Some(text));
    assert_eq!(gateway.core.stats().dropped(Reason::SleepOverdue), 1);
}

#[test]
fn row_47_what_waits_for_the_disk_is_congestion_and_no_invitation() {
    let mut gateway = Gateway::new(Config { max_uncommitted_bytes: 500, ..config() });
    gateway.datagram(SN, peer(7), &sn_connect("mote", false, 60));
    let publish = |id: u8| sn(0x0c, &[&[0x32, b'a', b'b', 0, id][..], &[b'x'; 200]].concat());
    assert_eq!(gateway.datagram(SN, peer(7), &publish(1)), [sn(0x0d, &[b'a', b'b', 0, 1, 0])]);
    gateway.commit_at_once = false;
    let refused = |id: u8| [sn(0x0d, &[b'a', b'b', 0, id, 1])];
    let answers: Vec<_> = (2..9).map(|id| gateway.datagram(SN, peer(7), &publish(id))).collect();
    assert_eq!(answers[0], [[0_u8; 0]; 0], "acknowledged when it is stored");
    assert_eq!(answers[6], refused(8));
    assert_eq!(search(&mut gateway, SN), (0, 0));
    gateway.commit();
    assert_eq!(gateway.datagrams_to(peer(7))[0], sn(0x0d, &[b'a', b'b', 0, 2, 0]));
    assert_eq!(search(&mut gateway, SN), (1, 1));
}
