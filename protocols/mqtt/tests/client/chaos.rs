//! A server that sends anything: the client never panics, writes valid packets only, begins each
//! connection with CONNECT, and gives each publish one outcome.

use std::collections::HashMap;
use std::time::Duration;

use motegate_message::Qos;
use motegate_mqtt::client::{
    Client, ClientConfig, Event, Filter, Goodbye, Publish, Reconnect, Transmit,
};
use motegate_mqtt::{Packet, PropertyBuf, ReasonCode, Sender, Version, codec};
use motegate_timers::Instant;
use proptest::prelude::*;

use crate::common::{field, hex, packet, show};

#[derive(Debug, Clone)]
enum Step {
    Packet(u8, u16, u8),
    Cut(u8, u16, usize),
    Garbage(Vec<u8>),
    Publish(u8, usize),
    Subscribe,
    Unsubscribe,
    Ack(usize),
    Write(usize),
    Lose,
    Connect,
    Disconnect,
    GiveUp,
    Advance(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => (0_u8..16, 1_u16..6, 0_u8..4).prop_map(|(k, id, c)| Step::Packet(k, id, c)),
        2 => (0_u8..16, 1_u16..6, 1_usize..12).prop_map(|(k, id, at)| Step::Cut(k, id, at)),
        1 => proptest::collection::vec(any::<u8>(), 1..12).prop_map(Step::Garbage),
        8 => (0_u8..3, 0_usize..30).prop_map(|(qos, len)| Step::Publish(qos, len)),
        2 => Just(Step::Subscribe),
        1 => Just(Step::Unsubscribe),
        3 => any::<usize>().prop_map(Step::Ack),
        6 => (1_usize..200).prop_map(Step::Write),
        2 => Just(Step::Lose),
        2 => Just(Step::Connect),
        1 => Just(Step::Disconnect),
        1 => Just(Step::GiveUp),
        3 => (0_u64..20_000).prop_map(Step::Advance),
    ]
}

/// A packet of the server's, more or less right.
fn server_packet(v5: bool, kind: u8, id: u16, code: u8) -> Vec<u8> {
    let p = if v5 { "00" } else { "" };
    let code = ["00", "10", "87", "92"][usize::from(code)];
    let ack = |first: u8| {
        if v5 && code != "00" {
            format!("{first:02x} 03 {id:04x} {code}")
        } else {
            format!("{first:02x} 02 {id:04x}")
        }
    };
    hex(&match kind {
        0 if v5 => "20 09 00 00 06 21 0002 22 0002".into(),
        0 => "20 02 00 00".into(),
        1 if v5 => "20 03 01 00 00".into(),
        1 => "20 02 01 00".into(),
        2 => packet(0x30, &format!("{} {p} 41", field("t"))),
        3 => packet(0x32, &format!("{} {id:04x} {p} 41", field("t"))),
        4 => packet(0x34, &format!("{} {id:04x} {p} 41", field("t"))),
        5 => packet(0x3c, &format!("{} {id:04x} {p} 41", field("t"))),
        6 if v5 => packet(0x30, "0000 03 23 0001 41"),
        7 if v5 => packet(0x30, &format!("{} 03 23 0001 41", field("t"))),
        6 | 7 => packet(0x31, &format!("{} 41", field("t"))),
        8 => ack(0x40),
        9 => ack(0x50),
        10 => format!("62 02 {id:04x}"),
        11 => ack(0x70),
        12 => packet(0x90, &format!("{id:04x} {p} 01")),
        13 => packet(0xb0, &format!("{id:04x} {p} {p}")),
        14 => "d0 00".into(),
        _ if v5 => "e0 01 8b".into(),
        _ => "d0 00".into(),
    })
}

struct Run {
    client: Client,
    now: Instant,
    open: bool,
    /// What was written on this connection.
    wire: Vec<u8>,
    taken: u64,
    outcomes: HashMap<u64, u32>,
    acks: Vec<motegate_mqtt::client::AckHandle>,
}

impl Run {
    fn drain(&mut self) {
        while let Some(transmit) = self.client.poll_transmit() {
            match transmit {
                Transmit::Open => {
                    assert!(!self.open);
                    self.open = true;
                    self.client.handle_opened(self.now);
                }
                Transmit::Close => {
                    self.write(usize::MAX);
                    self.lose();
                }
                Transmit::PauseReads | Transmit::ResumeReads => {}
            }
        }
        while let Some(event) = self.client.poll_event() {
            match event {
                Event::Published { token, .. } | Event::PublishFailed { token, .. } => {
                    *self.outcomes.entry(token).or_default() += 1;
                }
                Event::Message(message) => {
                    assert_eq!(message.topic(), "t");
                    assert_eq!(message.payload(), b"A");
                    self.acks.extend(message.ack());
                }
                _ => {}
            }
        }
    }

    fn write(&mut self, max: usize) {
        let n = self.client.outbox().len().min(max);
        self.wire.extend_from_slice(&self.client.outbox()[..n]);
        self.client.handle_written(self.now, n);
    }

    fn lose(&mut self) {
        self.check_wire();
        self.open = false;
        self.client.handle_closed(self.now);
        assert!(self.client.outbox().is_empty());
    }

    /// Whole packets of a client, CONNECT first and once, none after DISCONNECT.
    fn check_wire(&mut self) {
        let wire = std::mem::take(&mut self.wire);
        let mut rest = &wire[..];
        let mut last = None;
        while let Ok(Some(header)) = codec::header(rest) {
            if rest.len() < header.packet_len() {
                break;
            }
            let (body, tail) = rest[header.len..].split_at(header.remaining);
            let version = self.client.version();
            let packet = codec::decode(header.first, body, version, Sender::Client)
                .unwrap_or_else(|e| panic!("{e}: {}", show(rest)));
            assert_eq!(matches!(packet, Packet::Connect(_)), last.is_none());
            assert!(!matches!(last, Some(motegate_mqtt::PacketType::Disconnect)));
            last = Some(packet.packet_type());
            rest = tail;
        }
    }

    fn step(&mut self, step: &Step) {
        let v5 = self.client.version().is_v5();
        match step {
            Step::Packet(kind, id, code) => {
                let bytes = server_packet(v5, *kind, *id, *code);
                self.client.handle_bytes(self.now, &bytes);
            }
            Step::Cut(kind, id, at) => {
                let bytes = server_packet(v5, *kind, *id, 0);
                let (head, tail) = bytes.split_at((*at).min(bytes.len()));
                self.client.handle_bytes(self.now, head);
                self.client.handle_shared_bytes(self.now, &tail.to_vec().into());
            }
            Step::Garbage(bytes) => self.client.handle_bytes(self.now, bytes),
            Step::Publish(qos, len) => {
                let qos = Qos::from_bits(*qos).unwrap();
                let payload = vec![b'x'; *len];
                if self.client.publish(&Publish::new("t", &payload, qos), self.taken).is_ok() {
                    self.taken += 1;
                }
            }
            Step::Subscribe => {
                let filters = [Filter::new("t", Qos::ExactlyOnce)];
                let _ = self.client.subscribe(&filters, &PropertyBuf::new(), 1);
            }
            Step::Unsubscribe => {
                let _ = self.client.unsubscribe(&["t"], &PropertyBuf::new(), 1);
            }
            Step::Ack(i) => {
                if !self.acks.is_empty() {
                    let handle = self.acks.swap_remove(i % self.acks.len());
                    let code = ReasonCode::ALL[i % ReasonCode::ALL.len()];
                    self.client.acknowledge(handle, code);
                }
            }
            Step::Write(n) => self.write(*n),
            Step::Lose => self.lose(),
            Step::Connect => self.client.connect(self.now),
            Step::Disconnect => self.client.disconnect(self.now, &Goodbye::default()),
            Step::GiveUp => self.client.give_up(),
            Step::Advance(ms) => {
                self.now += Duration::from_millis(*ms);
                self.client.handle_timeout(self.now);
            }
        }
        self.drain();
    }
}

fn config(version: Version, manual_ack: bool) -> ClientConfig {
    ClientConfig {
        version,
        clean: false,
        session_expiry_secs: 60,
        manual_ack,
        receive_maximum: 3,
        topic_alias_maximum: 2,
        max_topic_aliases: 1,
        max_queue: 8,
        max_outbox_bytes: 60,
        max_packet_size: 100,
        reconnect: Some(Reconnect { initially: true, ..Reconnect::default() }),
        ..ClientConfig::new("c")
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_server(
        steps in proptest::collection::vec(step(), 1..80),
        version in prop_oneof![Just(Version::V5), Just(Version::V311), Just(Version::V31)],
        manual in any::<bool>(),
    ) {
        let mut run = Run {
            client: Client::new(config(version, manual), 1).unwrap(),
            now: Instant::from_secs(1),
            open: false,
            wire: vec![],
            taken: 0,
            outcomes: HashMap::new(),
            acks: vec![],
        };
        run.client.connect(run.now);
        run.drain();
        // Most runs begin with an accepted connection.
        run.step(&Step::Packet(0, 0, 0));
        for step in &steps {
            run.step(step);
        }
        run.step(&Step::Disconnect);
        run.step(&Step::Lose);
        run.step(&Step::GiveUp);
        prop_assert_eq!(run.client.poll_timeout(), None);
        for token in 0..run.taken {
            prop_assert_eq!(run.outcomes.get(&token), Some(&1), "publish {}", token);
        }
        prop_assert!(run.client.is_idle());
    }
}
