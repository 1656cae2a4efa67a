//! Discovery, unknown peers, forwarders: rows 1, 2, 8, 9, 18, 46 of the checklist.
#![cfg(feature = "endpoint")]
#![allow(clippy::unwrap_used)]

mod rig;

use motegate_message::{ListenerId, Qos, Reason};
use motegate_mqtt_sn::endpoint::Config;
use motegate_mqtt_sn::{Packet, QosBits, TopicId};
use rig::*;

#[test]
fn row_8_advertise_goes_to_the_configured_groups_every_t_adv() {
    let group = "224.0.18.83:1885".parse().unwrap();
    let config = Config { advertise_to: vec![(ListenerId(0), group)], ..Config::default() };
    let mut rig = Rig::with(Config { gateway_id: 7, ..config });
    for secs in [0, 900, 900] {
        rig.advance(secs);
        rig.expect(1885, Packet::Advertise { gateway_id: 7, duration: 900 });
        rig.expect_nothing();
    }
    let mut silent = Rig::new();
    assert_eq!(silent.endpoint.poll_timeout(), None);
    silent.advance(10_000);
    silent.expect_nothing();
}

#[test]
fn row_9_searchgw_is_answered_to_the_asker() {
    let mut rig = Rig::new();
    rig.send(1, Packet::SearchGw { radius: 0 });
    rig.expect_bytes(1, &[3, 2, 1]);
    // What other gateways say is not answered.
    rig.send(1, Packet::Advertise { gateway_id: 2, duration: 900 });
    rig.send(1, Packet::GwInfo { gateway_id: 2, address: &[] });
    rig.expect_nothing();
    assert!(rig.dropped.is_empty());
}

#[test]
fn row_18_an_unknown_sender_is_told_to_connect_but_not_without_end() {
    // paho 37.
    let mut rig = Rig::new();
    let packets = [
        publish(QosBits::One, TopicId::Normal(1), 1, "x"),
        subscribe(QosBits::Zero, 1, "a"),
        Packet::PingReq { client_id: None },
        Packet::PingReq { client_id: Some("nobody") },
        Packet::WillMsg { message: b"" },
        GOODBYE,
    ];
    for packet in packets {
        rig.send(1, packet);
        rig.expect(1, GOODBYE);
    }
    for _ in 0..100 {
        rig.send(1, GOODBYE);
    }
    assert_eq!(rig.lose(), 2);
    rig.send(2, GOODBYE);
    rig.expect(2, GOODBYE);
    rig.advance(1);
    rig.send(1, GOODBYE);
    rig.expect(1, GOODBYE);
    assert_eq!(rig.dropped.iter().filter(|r| **r == Reason::RateLimited).count(), 98);
    assert_eq!(rig.endpoint.client_count(), 0);
}

#[test]
fn what_only_a_gateway_sends_is_never_answered() {
    let mut rig = Rig::new();
    rig.connected(2, "m", true);
    for port in [1, 2] {
        for packet in [
            CONNACK,
            Packet::WillTopicReq,
            Packet::WillMsgReq,
            suback(QosBits::Zero, 1, 1),
            Packet::UnsubAck { msg_id: 1 },
            Packet::WillTopicResp { code: OK },
            Packet::WillMsgResp { code: OK },
        ] {
            rig.send(port, packet);
        }
    }
    rig.expect_nothing();
    assert_eq!(rig.dropped, [Reason::ProtocolError; 14]);
}

#[test]
fn row_1_row_2_what_is_no_packet_is_counted_and_dropped() {
    let mut rig = Rig::new();
    rig.connected(1, "m", true);
    for bytes in [&[][..], &[2], &[3, 0x16], &[2, 0x16, 0], &[2, 0x03], &[1, 0, 4], &[3, 0xfe]] {
        rig.send_bytes(1, bytes);
    }
    rig.expect_nothing();
    assert_eq!(rig.dropped, [Reason::Malformed; 7]);
}

/// `packet` in the wrapper of `node`.
fn wrapped(node: &[u8], packet: &Packet<'_>) -> Vec<u8> {
    let mut bytes = vec![u8::try_from(3 + node.len()).unwrap(), 0xfe, 0];
    bytes.extend(node);
    bytes.extend(encode(packet));
    bytes
}

#[test]
fn row_46_nodes_behind_a_forwarder_are_clients_of_their_own() {
    let mut rig = Rig::new();
    let nodes: [&[u8]; 3] = [b"", b"n1", b"n2"];
    for (node, id) in nodes.into_iter().zip(["a", "b", "c"]) {
        rig.send_bytes(1, &wrapped(node, &connect(id, true, 60)));
        rig.expect_bytes(1, &wrapped(node, &CONNACK));
    }
    rig.connected(1, "itself", true);
    assert_eq!(rig.endpoint.client_count(), 4);
    rig.send_bytes(1, &wrapped(b"n1", &subscribe(QosBits::Zero, 1, "a")));
    rig.expect_bytes(1, &wrapped(b"n1", &suback(QosBits::Zero, 1, 1)));
    rig.deliver("b", "a", Qos::AtMostOnce, "x");
    rig.expect_bytes(1, &wrapped(b"n1", &publish(QosBits::Zero, TopicId::Normal(1), 0, "x")));
    rig.send_bytes(1, &wrapped(b"n9", &Packet::PingReq { client_id: None }));
    rig.expect_bytes(1, &wrapped(b"n9", &GOODBYE));
    rig.expect_nothing();
}

#[test]
fn row_46_row_9_gwinfo_goes_back_with_the_radius_asked_for() {
    let mut rig = Rig::new();
    rig.send_bytes(1, &wrapped(b"n", &Packet::SearchGw { radius: 2 }));
    rig.expect_bytes(1, &[4, 0xfe, 2, b'n', 3, 2, 1]);
}

#[test]
fn row_46_nested_wrappers_are_refused() {
    let mut rig = Rig::new();
    let mut nested = vec![3, 0xfe, 0];
    nested.extend(wrapped(b"n", &connect("m", true, 60)));
    rig.send_bytes(1, &nested);
    rig.expect_nothing();
    assert_eq!(rig.dropped, [Reason::Malformed]);
}

#[test]
fn forwarders_can_be_switched_off() {
    let mut rig = Rig::with(Config { forwarders: false, ..Config::default() });
    rig.send_bytes(1, &wrapped(b"n", &connect("m", true, 60)));
    rig.expect_nothing();
    assert_eq!(rig.dropped, [Reason::NotSupported]);
}
