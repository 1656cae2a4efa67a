//! Very many MQTT-SN clients behind one forwarder: they connect, subscribe, fall asleep, and some
//! wake. One socket, encapsulation of MQTT-SN 1.2 §5.5, the number of a client as its node id.
#![allow(clippy::disallowed_methods)] // measured in real time

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use crate::sim::sn_wire::{self as wire, Packet};

/// Clients that are on their way to sleep at a time.
const AT_ONCE: u32 = 64;
/// Then what was asked is asked again.
const RETRY: Duration = Duration::from_secs(1);
/// Topics that a connection registers, below `max_sn_topics_per_client`.
const TOPICS: usize = 500;
/// Nothing is answered for so long: then nothing is.
const PATIENCE: Duration = Duration::from_secs(30);
/// Seconds of sleep: longer than a measurement.
const SLEEP: u16 = 3 * 3600;

/// What a client is to do before it sleeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wish {
    /// CleanSession: nothing is kept beyond the connection.
    pub clean: bool,
    /// It subscribes to a topic of its own at QoS 1.
    pub subscribes: bool,
}

/// What is asked of a client next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Connect,
    Subscribe,
    Sleep,
}

/// A forwarder with its clients.
#[derive(Debug)]
pub struct Fleet {
    socket: UdpSocket,
    wish: Wish,
}

/// `sleeper-NNNNNN`, 14 characters.
#[must_use]
pub fn id(number: u32) -> String {
    format!("sleeper-{number:06}")
}

/// The topic that a client subscribes to.
#[must_use]
pub fn topic(number: u32) -> String {
    format!("s/{number:06}")
}

impl Fleet {
    /// Nobody is connected yet.
    ///
    /// # Panics
    /// If there is no socket.
    #[must_use]
    pub fn new(gateway: SocketAddr, wish: Wish) -> Fleet {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        socket.connect(gateway).expect("loopback is reachable");
        socket.set_read_timeout(Some(RETRY)).expect("a second is a timeout");
        Fleet { socket, wish }
    }

    /// Brings all of these clients to sleep.
    ///
    /// # Panics
    /// If one is refused, or not answered.
    pub fn fall_asleep(&self, numbers: std::ops::Range<u32>) {
        let mut waiting = numbers;
        let mut steps: Vec<(u32, Step)> = Vec::new();
        let mut heard = Instant::now();
        loop {
            while steps.len() < AT_ONCE as usize
                && let Some(number) = waiting.next()
            {
                steps.push((number, Step::Connect));
                self.ask(number, Step::Connect);
            }
            if steps.is_empty() {
                return;
            }
            let Some((number, packet)) = self.receive() else {
                assert!(heard.elapsed() < PATIENCE, "no answer to {:?}", steps[0]);
                steps.iter().for_each(|(number, step)| self.ask(*number, *step));
                continue;
            };
            heard = Instant::now();
            let Some(place) = steps.iter().position(|(other, _)| *other == number) else {
                continue;
            };
            let next = match (steps[place].1, packet) {
                (Step::Connect, Packet::ConnAck(0)) if self.wish.subscribes => Step::Subscribe,
                (Step::Connect, Packet::ConnAck(0))
                | (Step::Subscribe, Packet::SubAck { code: 0, .. }) => Step::Sleep,
                (Step::Sleep, Packet::Disconnect(_)) => {
                    steps.swap_remove(place);
                    continue;
                }
                // The answer to what was asked twice.
                (_, Packet::ConnAck(0) | Packet::SubAck { code: 0, .. }) => continue,
                (step, other) => panic!("{step:?} of {number} is answered with {other:?}"),
            };
            steps[place].1 = next;
            self.ask(number, next);
        }
    }

    fn ask(&self, number: u32, step: Step) {
        let packet = match step {
            Step::Connect => {
                let flags = if self.wish.clean { wire::CLEAN } else { 0 };
                wire::connect(flags, 600, &id(number))
            }
            Step::Subscribe => wire::subscribe(0x12, wire::qos_bits(1), 1, &topic(number)),
            Step::Sleep => wire::disconnect(Some(SLEEP)),
        };
        self.send(number, &packet);
    }

    /// PINGREQ of a sleeper until PINGRESP: how long it took, and how many messages came between.
    ///
    /// # Panics
    /// If it is not answered.
    #[must_use]
    pub fn wake(&self, number: u32) -> (Duration, usize) {
        let began = Instant::now();
        self.send(number, &wire::ping(&id(number)));
        let mut messages = 0;
        loop {
            match self.receive() {
                Some((from, packet)) if from == number => match packet {
                    Packet::PingResp => return (began.elapsed(), messages),
                    Packet::Register { tid, mid, .. } => {
                        self.send(number, &wire::regack(tid, mid, 0));
                    }
                    Packet::Publish { tid, mid, .. } => {
                        messages += 1;
                        self.send(number, &wire::puback(tid, mid, 0));
                    }
                    other => panic!("{number} woke to {other:?}"),
                },
                Some(_) => {}
                None => panic!("{number} pinged, and had no answer within {RETRY:?}"),
            }
        }
    }

    /// A client that stays awake publishes a message to each of these, at QoS 1.
    ///
    /// # Panics
    /// If one is refused.
    pub fn publish_to(&self, publisher: u32, numbers: &[u32]) {
        for some in numbers.chunks(TOPICS) {
            self.publish_some(publisher, some);
        }
    }

    fn publish_some(&self, publisher: u32, numbers: &[u32]) {
        self.send(publisher, &wire::connect(wire::CLEAN, 600, &id(publisher)));
        assert_eq!(self.answer(publisher), Packet::ConnAck(0));
        for (mid, number) in (1..).zip(numbers) {
            self.send(publisher, &wire::register(mid, &topic(*number)));
            let Packet::RegAck { tid, code: 0, .. } = self.answer(publisher) else {
                panic!("{} is not registered", topic(*number));
            };
            let flags = wire::qos_bits(1);
            self.send(publisher, &wire::publish(flags, tid.to_be_bytes(), mid, b"21.5"));
            assert_eq!(self.answer(publisher), Packet::PubAck { tid, mid, code: 0 });
        }
        self.send(publisher, &wire::disconnect(None));
        assert_eq!(self.answer(publisher), Packet::Disconnect(None));
    }

    fn answer(&self, number: u32) -> Packet {
        loop {
            match self.receive() {
                Some((from, packet)) if from == number => return packet,
                Some(_) => {}
                None => panic!("no answer to {number} within {RETRY:?}"),
            }
        }
    }

    fn send(&self, node: u32, packet: &[u8]) {
        let mut frame = vec![7, 0xfe, 0];
        frame.extend_from_slice(&node.to_be_bytes());
        frame.extend_from_slice(packet);
        self.socket.send(&frame).expect("loopback takes a datagram");
    }

    /// The next packet and whose it is; nothing within [`RETRY`].
    fn receive(&self) -> Option<(u32, Packet)> {
        let mut buffer = [0; 2048];
        let n = match self.socket.recv(&mut buffer) {
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
            Err(error) => panic!("{error}"),
        };
        let [7, 0xfe, _, a, b, c, d, packet @ ..] = &buffer[..n] else {
            panic!("not in the forwarder's wrapper: {:?}", &buffer[..n]);
        };
        let packet = wire::decode(packet).expect("the gateway sends what can be read");
        Some((u32::from_be_bytes([*a, *b, *c, *d]), packet))
    }
}
