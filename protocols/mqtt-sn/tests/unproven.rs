//! Clients whose source address may be forged: what is sent there before they have answered
//! something that only the gateway could have said to them ("never answer unknown peers with more
//! octets than received", checklist §3).
#![cfg(feature = "endpoint")]

mod rig;

use core::net::{Ipv4Addr, SocketAddr};

use motegate_message::{Network, Qos, Reason};
use motegate_mqtt_sn::endpoint::{Config, Forwarders};
use motegate_mqtt_sn::{Packet, QosBits, TopicRef};
use rig::*;

/// A documentation address: anybody may put it into a datagram.
fn victim() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(203, 0, 113, 7), 1885))
}

/// Sends blindly, and counts what that draws.
struct Spoofer {
    rig: Rig,
    from: SocketAddr,
    sent: usize,
    drawn: usize,
}

impl Spoofer {
    fn new(config: Config) -> Self {
        Spoofer { rig: Rig::with(config), from: victim(), sent: 0, drawn: 0 }
    }

    fn says(&mut self, packet: Packet<'_>) {
        let bytes = encode(&packet);
        self.sent += bytes.len();
        self.rig.send_from(self.from, &bytes);
    }

    /// What went to the address since it was asked last.
    fn draws(&mut self) -> Vec<Vec<u8>> {
        let all: Vec<Vec<u8>> = self.rig.inbox.drain(..).map(|(_, bytes)| bytes).collect();
        self.drawn += all.iter().map(Vec::len).sum::<usize>();
        all
    }

    fn subscribed(config: Config, qos: QosBits) -> Self {
        let mut spoofer = Spoofer::new(config);
        spoofer.says(connect("v", true, 0));
        spoofer.says(subscribe(qos, 1, "big"));
        assert_eq!(spoofer.draws().len(), 2);
        spoofer
    }

    fn dropped(&self) -> usize {
        self.rig.dropped.iter().filter(|reason| **reason == Reason::SnAddressUnproven).count()
    }
}

fn big() -> String {
    "z".repeat(1200)
}

#[test]
fn a_forged_address_draws_no_more_than_the_floor_and_three_times_what_it_sends() {
    let mut spoofer = Spoofer::subscribed(Config::default(), QosBits::Zero);
    for n in 0..200 {
        if spoofer.rig.disconnected.is_empty() {
            spoofer.rig.deliver("v", "big", Qos::AtMostOnce, &big());
        }
        spoofer.says(subscribe(QosBits::Zero, n + 2, "big"));
        spoofer.rig.advance(1);
        spoofer.draws();
    }
    assert!(spoofer.drawn <= 1500 + 3 * spoofer.sent, "{} for {}", spoofer.drawn, spoofer.sent);
    // Its REGISTERs were not answered, so it is gone.
    assert_eq!(spoofer.rig.disconnected, [(Reason::RetryExhausted, false)]);
}

#[test]
fn connecting_again_and_again_draws_the_floor_once() {
    let mut spoofer = Spoofer::new(Config::default());
    for n in 0..100 {
        spoofer.from.set_port(2000 + n);
        spoofer.says(connect("v", true, 0));
        spoofer.says(subscribe(QosBits::Zero, 1, "big"));
        spoofer.rig.deliver("v", "big", Qos::AtMostOnce, &big());
        spoofer.says(Packet::Disconnect { duration: None });
        spoofer.draws();
    }
    assert!(spoofer.drawn <= 1500 + 3 * spoofer.sent, "{} for {}", spoofer.drawn, spoofer.sent);
}

#[test]
fn a_regack_proves_the_address_and_nothing_was_lost() {
    let mut spoofer = Spoofer::subscribed(Config::default(), QosBits::Zero);
    spoofer.rig.deliver("v", "big", Qos::AtMostOnce, &big());
    assert_eq!(spoofer.draws().len(), 1, "the floor");
    spoofer.rig.deliver("v", "big", Qos::AtMostOnce, &big());
    let register = spoofer.draws();
    let Packet::Register { topic_id: 1, msg_id, name: "big" } =
        Packet::decode(&register[0]).unwrap()
    else {
        panic!("{register:?}");
    };
    assert_ne!(msg_id, 1, "it cannot be guessed");
    // A guess is none.
    spoofer.says(Packet::RegAck { topic_id: 1, msg_id: msg_id.wrapping_add(1), code: OK });
    assert_eq!(spoofer.draws().len(), 0);
    spoofer.says(Packet::RegAck { topic_id: 1, msg_id, code: OK });
    assert_eq!(spoofer.draws().len(), 1, "the message that waited");
    for _ in 0..20 {
        spoofer.rig.deliver("v", "big", Qos::AtMostOnce, &big());
    }
    assert_eq!(spoofer.draws().len(), 20);
    assert_eq!(spoofer.dropped(), 0);
}

#[test]
fn a_puback_proves_it_too_and_qos_1_waits_rather_than_is_dropped() {
    let mut spoofer = Spoofer::subscribed(Config::default(), QosBits::One);
    spoofer.rig.deliver("v", "big", Qos::AtLeastOnce, &big());
    let publish = spoofer.draws();
    let Packet::Publish { msg_id, .. } = Packet::decode(&publish[0]).unwrap() else {
        panic!("{publish:?}");
    };
    spoofer.says(puback(1, msg_id, OK));
    for _ in 0..5 {
        spoofer.rig.deliver("v", "big", Qos::AtMostOnce, &big());
    }
    assert_eq!(spoofer.draws().len(), 5);
    assert_eq!(spoofer.dropped(), 0);
}

/// One that subscribes by short names or pre-defined ids at QoS 0, and knows no REGISTER.
#[test]
fn who_answers_no_register_keeps_its_connection_and_gets_what_it_pays_for() {
    let mut spoofer = Spoofer::new(Config::default());
    spoofer.rig.names.insert("plant/big".into(), (None, Some(*b"bg")));
    spoofer.says(connect("v", true, 0));
    let topic = TopicRef::Short(*b"bg");
    spoofer.says(Packet::Subscribe { dup: false, qos: QosBits::Zero, msg_id: 1, topic });
    for _ in 0..100 {
        spoofer.rig.deliver("v", "plant/big", Qos::AtMostOnce, &big());
        spoofer.says(Packet::PingReq { client_id: None });
        spoofer.rig.advance(10);
        spoofer.draws();
    }
    assert_eq!(spoofer.rig.disconnected, []);
    assert!(spoofer.dropped() > 0, "counted");
    assert!(spoofer.drawn <= 1500 + 3 * spoofer.sent, "{} for {}", spoofer.drawn, spoofer.sent);
}

#[test]
fn loopback_and_listed_forwarders_have_no_bound() {
    let network = "203.0.113.0/24".parse::<Network>().unwrap();
    let listed = Config { forwarders: Forwarders::From(vec![network]), ..Config::default() };
    for (from, config, wrapped) in [
        (addr(9), Config::default(), false),
        (victim(), listed.clone(), true),
        (victim(), listed, false),
    ] {
        let mut spoofer = Spoofer { from, ..Spoofer::new(config) };
        for packet in [connect("v", true, 0), subscribe(QosBits::Zero, 1, "big")] {
            let wrapper: &[u8] = if wrapped { &[4, 0xfe, 0, 5] } else { &[] };
            spoofer.rig.send_from(from, &[wrapper, &encode(&packet)].concat());
        }
        spoofer.draws();
        for _ in 0..10 {
            spoofer.rig.deliver("v", "big", Qos::AtMostOnce, &big());
        }
        let all = spoofer.draws().iter().filter(|bytes| bytes.len() > 1000).count();
        let bounded = from == victim() && !wrapped;
        assert_eq!(all, if bounded { 1 } else { 10 }, "{from}, wrapped {wrapped}");
    }
}

#[test]
fn a_sleeper_that_speaks_from_another_host_has_to_prove_it() {
    let rebind = motegate_mqtt_sn::endpoint::Rebind::Any;
    let mut rig = Rig::with(Config { rebind, ..Config::default() });
    rig.connected(1, "v", false);
    rig.send(1, subscribe(QosBits::Zero, 1, "big"));
    rig.expect(1, suback(QosBits::Zero, 1, 1));
    rig.asleep(1, 1000);
    for _ in 0..10 {
        rig.deliver("v", "big", Qos::AtMostOnce, &big());
    }
    rig.lose();
    rig.send_from(victim(), &encode(&Packet::PingReq { client_id: Some("v") }));
    let drawn: usize = rig.inbox.iter().map(|(_, bytes)| bytes.len()).sum();
    assert!(drawn <= 1500 + 9, "{drawn}");
}

/// Both bounds have a row in the status: what had to wait for them is counted.
#[test]
fn what_had_to_wait_for_proof_is_counted() {
    let mut spoofer = Spoofer::subscribed(Config::default(), QosBits::One);
    assert_eq!(spoofer.rig.endpoint.unproven(), (1500, 3, 0));
    spoofer.rig.deliver("v", "big", Qos::AtLeastOnce, &big());
    let before = spoofer.rig.endpoint.unproven().2;
    spoofer.rig.advance(10);
    assert!(before + spoofer.rig.endpoint.unproven().2 > 0);
}
