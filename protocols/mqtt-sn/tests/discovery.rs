//! Discovery, unknown peers, forwarders: rows 1, 2, 8, 9, 18, 46 of the checklist.
#![cfg(feature = "endpoint")]
#![allow(clippy::unwrap_used)]

mod rig;

use motegate_message::{Group, Qos, Reason};
use motegate_mqtt_sn::endpoint::{Config, Forwarders};
use motegate_mqtt_sn::{Packet, QosBits, TopicId};
use rig::*;

#[test]
fn row_8_advertise_goes_to_the_configured_groups_every_t_adv() {
    let groups = ["224.0.18.83%eth0", "10.0.0.255:1885"];
    let advertise_to = groups.map(|group| group.parse().unwrap()).to_vec();
    let mut rig = Rig::with(Config { gateway_id: 7, advertise_to, ..Config::default() });
    for secs in [0, 900, 900] {
        rig.advance(secs);
        for to in groups {
            rig.expect_announced(to, 0, Packet::Advertise { gateway_id: 7, duration: 900 });
        }
        rig.advance(0);
        assert!(rig.announced.is_empty());
        rig.expect_nothing();
    }
    // Another period holds at once, and is told.
    let every = std::time::Duration::from_secs(3600);
    rig.endpoint.reconfigure(Config { advertise_every: every, ..rig.config.clone() });
    rig.advance(0);
    for to in groups {
        rig.expect_announced(to, 0, Packet::Advertise { gateway_id: 7, duration: 3600 });
    }
    rig.advance(3599);
    assert!(rig.announced.is_empty());
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

const INFO: Packet<'static> = Packet::GwInfo { gateway_id: 1, address: &[] };

/// An IPv4 group on the interface of that number.
fn group() -> Group {
    Group { interface: motegate_message::Interface::Index(3), ..group_anywhere() }
}

fn group_anywhere() -> Group {
    "224.0.18.83".parse().unwrap()
}

#[test]
fn row_9_what_was_asked_of_a_group_is_answered_there_too_with_its_radius() {
    let mut rig = Rig::new();
    for radius in [1, 0, 7] {
        rig.send_group(1, &group(), &encode(&Packet::SearchGw { radius }));
        rig.expect(1, INFO);
        rig.expect_announced("224.0.18.83%3", radius, INFO);
    }
    // Through a forwarder that hears the group: the wrapper has two bits.
    rig.send_group(1, &group(), &wrapped(b"n", &Packet::SearchGw { radius: 2 }));
    rig.expect_bytes(1, &[4, 0xfe, 2, b'n', 3, 2, 1]);
    rig.expect_announced("224.0.18.83%3", 2, INFO);
    // A flood does not become one on the group; the asker is answered as it asks.
    for port in 0..100 {
        rig.send_group(port, &group(), &encode(&Packet::SearchGw { radius: 1 }));
    }
    assert_eq!((rig.lose(), rig.announced.len()), (100, 4));
    assert_eq!(rig.dropped, [Reason::RateLimited; 96]);
}

#[test]
fn row_9_a_gateway_that_can_take_nobody_does_not_answer_searchgw() {
    let mut rig = Rig::with(Config { max_clients: 1, ..Config::default() });
    rig.endpoint.set_busy(true);
    rig.send(1, Packet::SearchGw { radius: 1 });
    rig.send_group(1, &group(), &encode(&Packet::SearchGw { radius: 1 }));
    rig.endpoint.set_busy(false);
    rig.connected(2, "m", true);
    rig.send(1, Packet::SearchGw { radius: 1 });
    rig.send_group(1, &group(), &encode(&Packet::SearchGw { radius: 1 }));
    rig.expect_nothing();
    assert!(rig.announced.is_empty());
    assert_eq!(rig.dropped, [Reason::Overloaded; 4]);
    rig.send(2, GOODBYE);
    rig.expect(2, GOODBYE);
    rig.send(1, Packet::SearchGw { radius: 1 });
    rig.expect(1, INFO);
}

#[test]
fn what_is_sent_to_a_group_is_discovery_or_qos_minus_one_and_nothing_else() {
    let mut rig = Rig::new();
    rig.connected(1, "m", false);
    for packet in [
        connect("m", true, 60),
        connect("other", true, 60),
        GOODBYE,
        Packet::PingReq { client_id: None },
        Packet::PingReq { client_id: Some("m") },
        publish(QosBits::One, TopicId::Short(*b"ab"), 1, "x"),
        subscribe(QosBits::Zero, 1, "a"),
    ] {
        rig.send_group(1, &group(), &encode(&packet));
        rig.send_group(9, &group(), &encode(&packet));
    }
    rig.expect_nothing();
    assert_eq!(rig.dropped, [Reason::ProtocolError; 14]);
    let unasked = publish(QosBits::MinusOne, TopicId::Short(*b"ab"), 0, "x");
    rig.send_group(9, &group(), &encode(&unasked));
    assert_eq!(rig.published, [("ab".to_owned(), "x".to_owned())]);
    assert_eq!(rig.endpoint.client_count(), 1);
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
fn forwarders_can_be_switched_off_or_named() {
    let mut rig = Rig::with(Config { forwarders: Forwarders::Deny, ..Config::default() });
    rig.send_bytes(1, &wrapped(b"n", &connect("m", true, 60)));
    rig.expect_nothing();
    assert_eq!(rig.dropped, [Reason::NotSupported]);
    let forwarders = ["192.0.2.0/24", "127.0.0.1"].map(|network| network.parse().unwrap());
    let forwarders = Forwarders::From(forwarders.to_vec());
    let mut rig = Rig::with(Config { forwarders, ..Config::default() });
    rig.send_from("192.0.3.9:7".parse().unwrap(), &wrapped(b"n", &connect("m", true, 60)));
    rig.expect_nothing();
    assert_eq!(rig.dropped, [Reason::NotSupported]);
    for (from, id) in [("192.0.2.9:7", "a"), ("127.0.0.1:7", "b")] {
        rig.send_from(from.parse().unwrap(), &wrapped(b"n", &connect(id, true, 60)));
        rig.expect_bytes(7, &wrapped(b"n", &CONNACK));
    }
    // Who speaks for itself is no forwarder.
    rig.send_from("192.0.3.9:7".parse().unwrap(), &encode(&connect("m", true, 60)));
    rig.expect(7, CONNACK);
}

#[test]
fn row_46_the_same_node_behind_two_forwarders_is_two_clients() {
    let mut rig = Rig::new();
    for (port, id) in [(1, "a"), (2, "b")] {
        rig.send_bytes(port, &wrapped(b"n", &connect(id, true, 60)));
        rig.expect_bytes(port, &wrapped(b"n", &CONNACK));
        rig.send_bytes(port, &wrapped(b"n", &subscribe(QosBits::Zero, 1, "a")));
        rig.expect_bytes(port, &wrapped(b"n", &suback(QosBits::Zero, 1, 1)));
    }
    assert_eq!(rig.endpoint.client_count(), 2);
    rig.deliver("b", "a", Qos::AtMostOnce, "x");
    rig.expect_bytes(2, &wrapped(b"n", &publish(QosBits::Zero, TopicId::Normal(1), 0, "x")));
    rig.expect_nothing();
}
