//! Every (state, packet) pair and what comes of it, as one reviewed table; and arbitrary
//! sequences, which must never panic and always come to rest.
#![cfg(feature = "endpoint")]
#![allow(clippy::unwrap_used)]

mod rig;

use std::fmt::Write;

use motegate_message::Qos;
use motegate_mqtt_sn::endpoint::Config;
use motegate_mqtt_sn::{Packet, QosBits, ReturnCode, TopicId, TopicRef, WillTopic};
use proptest::prelude::*;
use rig::*;

const STATES: [&str; 12] = [
    "unknown",
    "will topic",
    "will message",
    "opening",
    "active",
    "registering",
    "publishing",
    "releasing",
    "receiving",
    "asleep",
    "awake",
    "lost",
];

/// A client `m` at port 1 in the named state.
fn in_state(state: &str) -> Rig {
    let mut rig = Rig::new();
    let will = WillTopic { qos: QosBits::Zero, retain: false, topic: "w" };
    match state {
        "unknown" => {}
        "will topic" => rig.send(1, connect_will("m", false)),
        "will message" => {
            rig.send(1, connect_will("m", false));
            rig.send(1, Packet::WillTopic { will: Some(will) });
        }
        "opening" => {
            rig.auto_answer = false;
            rig.send(1, connect("m", false, 60));
            rig.auto_answer = true;
        }
        _ => {
            rig.send(1, connect("m", false, 60));
            rig.send(1, subscribe(QosBits::Two, 1, "a"));
        }
    }
    match state {
        "registering" => rig.deliver("m", "new", Qos::AtLeastOnce, "x"),
        "publishing" => rig.deliver("m", "a", Qos::AtLeastOnce, "x"),
        "releasing" => {
            rig.deliver("m", "a", Qos::ExactlyOnce, "x");
            rig.send(1, Packet::PubRec { msg_id: 1 });
        }
        "receiving" => rig.send(1, publish(QosBits::Two, TopicId::Short(*b"ab"), 5, "x")),
        "asleep" => rig.send(1, Packet::Disconnect { duration: Some(100) }),
        "awake" => {
            rig.send(1, Packet::Disconnect { duration: Some(100) });
            rig.deliver("m", "a", Qos::AtLeastOnce, "x");
            rig.send(1, Packet::PingReq { client_id: Some("m") });
        }
        "lost" => rig.advance(100),
        _ => {}
    }
    rig.lose();
    rig.log.clear();
    rig
}

fn packets() -> Vec<Packet<'static>> {
    let will = Some(WillTopic { qos: QosBits::One, retain: false, topic: "w" });
    let short = TopicId::Short(*b"ab");
    vec![
        Packet::Advertise { gateway_id: 2, duration: 900 },
        Packet::SearchGw { radius: 1 },
        Packet::GwInfo { gateway_id: 2, address: &[] },
        connect("m", true, 60),
        connect("m", false, 60),
        connect_will("m", false),
        connect("other", false, 60),
        CONNACK,
        Packet::WillTopicReq,
        Packet::WillTopic { will },
        Packet::WillTopic { will: None },
        Packet::WillMsgReq,
        Packet::WillMsg { message: b"bye" },
        Packet::Register { topic_id: 0, msg_id: 5, name: "n" },
        Packet::RegAck { topic_id: 1, msg_id: 1, code: OK },
        Packet::RegAck { topic_id: 1, msg_id: 1, code: ReturnCode::Congestion },
        Packet::RegAck { topic_id: 1, msg_id: 1, code: ReturnCode::InvalidTopicId },
        publish(QosBits::MinusOne, short, 0, "x"),
        publish(QosBits::Zero, short, 0, "x"),
        publish(QosBits::One, short, 5, "x"),
        publish(QosBits::Two, short, 5, "x"),
        publish(QosBits::Zero, TopicId::Normal(99), 0, "x"),
        puback(1, 1, OK),
        puback(1, 1, ReturnCode::InvalidTopicId),
        puback(1, 1, ReturnCode::Congestion),
        puback(1, 1, ReturnCode::NotSupported),
        Packet::PubRec { msg_id: 1 },
        Packet::PubRel { msg_id: 1 },
        Packet::PubRel { msg_id: 5 },
        Packet::PubComp { msg_id: 1 },
        subscribe(QosBits::One, 6, "b"),
        Packet::Subscribe {
            dup: false,
            qos: QosBits::One,
            msg_id: 6,
            topic: TopicRef::Predefined(1),
        },
        Packet::Subscribe {
            dup: true,
            qos: QosBits::Zero,
            msg_id: 6,
            topic: TopicRef::Short(*b"ab"),
        },
        suback(QosBits::Zero, 1, 1),
        Packet::Unsubscribe { msg_id: 7, topic: TopicRef::Name("b") },
        Packet::Unsubscribe { msg_id: 7, topic: TopicRef::Predefined(1) },
        Packet::UnsubAck { msg_id: 7 },
        Packet::PingReq { client_id: None },
        Packet::PingReq { client_id: Some("m") },
        Packet::PingReq { client_id: Some("other") },
        Packet::PingResp,
        GOODBYE,
        Packet::Disconnect { duration: Some(0) },
        Packet::Disconnect { duration: Some(100) },
        Packet::WillTopicUpd { will },
        Packet::WillTopicUpd { will: None },
        Packet::WillTopicResp { code: OK },
        Packet::WillMsgUpd { message: b"new" },
        Packet::WillMsgResp { code: OK },
    ]
}

#[test]
fn every_packet_in_every_state() {
    let mut table = String::new();
    for state in STATES {
        writeln!(table, "== {state}").unwrap();
        for packet in packets() {
            let mut rig = in_state(state);
            rig.send(1, packet);
            writeln!(table, "{packet:?}").unwrap();
            for event in &rig.log {
                let name = event.split(['(', ' ']).next().unwrap();
                let reason = event.split_once("reason: ").map_or("", |(_, reason)| reason);
                let reason = reason.trim_end_matches([' ', '}']).replace(", expiry: None", "");
                writeln!(table, "    . {name} {reason}").unwrap();
            }
            for (_, bytes) in &rig.inbox {
                writeln!(table, "    > {:?}", Packet::decode(bytes).unwrap()).unwrap();
            }
        }
    }
    insta::assert_snapshot!(table);
}

#[derive(Debug, Clone)]
enum Step {
    Packet(u16, usize),
    Bytes(u16, Vec<u8>),
    Deliver(u8),
    Advance(u64),
    Answer,
    HoldCommits(bool),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1..4_u16, 0..49_usize).prop_map(|(port, at)| Step::Packet(port, at)),
        1 => (1..4_u16, prop::collection::vec(any::<u8>(), 0..12)).prop_map(|(p, b)| Step::Bytes(p, b)),
        4 => (0..3_u8).prop_map(Step::Deliver),
        3 => (0..120_u64).prop_map(Step::Advance),
        6 => Just(Step::Answer),
        1 => any::<bool>().prop_map(Step::HoldCommits),
        1 => Just(Step::Restart),
    ]
}

/// Answers everything in the inbox, as a good client would.
fn answer(rig: &mut Rig) {
    for _ in 0..200 {
        let Some((to, bytes)) = rig.inbox.pop_front() else { return };
        let reply = match Packet::decode(&bytes).unwrap() {
            Packet::Register { topic_id, msg_id, .. } => {
                Packet::RegAck { topic_id, msg_id, code: OK }
            }
            Packet::Publish { qos: QosBits::One, topic, msg_id, .. } => {
                puback(topic.raw(), msg_id, OK)
            }
            Packet::Publish { qos: QosBits::Two, msg_id, .. } => Packet::PubRec { msg_id },
            Packet::PubRel { msg_id } => Packet::PubComp { msg_id },
            _ => continue,
        };
        rig.send_from(to, &encode(&reply));
    }
    panic!("client and gateway talk for ever");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn arbitrary_sequences_come_to_rest(steps in prop::collection::vec(step(), 1..60)) {
        let mut rig = Rig::with(Config { max_topics_per_client: 3, ..Config::default() });
        let packets = packets();
        for step in steps {
            match step {
                Step::Packet(port, at) => rig.send(port, packets[at % packets.len()]),
                Step::Bytes(port, bytes) => rig.send_bytes(port, &bytes),
                Step::Deliver(qos) => {
                    let id = if rig.by_name.contains_key("m") { "m" } else { "other" };
                    let open = rig.by_name.get(id).is_some_and(|s| rig.sessions.contains_key(s));
                    if open {
                        let topic = if qos == 0 { "a" } else { "z" };
                        rig.deliver(id, topic, Qos::from_bits(qos).unwrap(), "x");
                    }
                }
                Step::Advance(secs) => rig.advance(secs),
                Step::Answer => answer(&mut rig),
                Step::HoldCommits(hold) => {
                    rig.auto_commit = !hold;
                    rig.commit();
                }
                Step::Restart => rig.restart(),
            }
        }
        // A good client at the end gets everything that is left for it.
        rig.auto_commit = true;
        rig.commit();
        rig.lose();
        rig.send(8, connect("m", false, 0));
        answer(&mut rig);
        rig.send(8, subscribe(QosBits::Two, 0xbeef, "last"));
        answer(&mut rig);
        let session = rig.session("m");
        prop_assert!(session.queue.is_empty() && session.in_flight.is_none(), "{:?}", session);
        rig.advance(200_000);
        answer(&mut rig);
        prop_assert!(rig.endpoint.client_count() <= 1);
    }

    #[test]
    fn no_bytes_harm_the_endpoint(
        datagrams in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..40)
    ) {
        let mut rig = in_state("active");
        for bytes in datagrams {
            rig.send_bytes(1, &bytes);
        }
        prop_assert!(rig.endpoint.client_count() < 45);
    }
}

#[test]
fn advertisements_and_timeouts_with_nothing_due_do_nothing() {
    let to = "10.0.0.255:1885".parse().unwrap();
    let mut rig = Rig::with(Config { advertise_to: vec![to], ..Config::default() });
    rig.advance(0);
    assert_eq!(rig.announced.len(), 1);
    let turn = rig.turn();
    rig.endpoint.handle_timeout(&turn);
    rig.settle();
    assert_eq!(rig.announced.len(), 1);
}
