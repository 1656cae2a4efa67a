//! Very many messages that wait for very many sessions: what they take, and what a restart takes.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::server::Server;
use super::sink::Sink;
use crate::load::link::Link;
use crate::sim::mqtt_wire::{self as wire, Packet};

/// Connections at a time.
const AT_ONCE: usize = 200;
/// Messages on their way to the gateway.
const WINDOW: usize = 1_000;
/// Nothing comes for so long: then nothing does.
const PATIENCE: Duration = Duration::from_secs(60);

/// A session that asks whether the gateway is there.
const WITNESS: &str = "witness";

fn name(session: usize) -> String {
    format!("sink-{session}")
}

/// Makes the sessions; each subscribes to a topic of its own and goes.
///
/// # Panics
/// If the gateway refuses one.
pub fn subscribe(gateway: SocketAddr, sessions: usize) {
    Sink::open(gateway, WITNESS, true).connected();
    for first in (0..sessions).step_by(AT_ONCE) {
        let wave = first..sessions.min(first + AT_ONCE);
        let mut sinks: Vec<_> =
            wave.clone().map(|at| Sink::open(gateway, &name(at), true)).collect();
        for (sink, at) in sinks.iter_mut().zip(wave) {
            sink.connected();
            sink.subscribe(&format!("q/{at}"));
        }
        sinks.iter_mut().for_each(Sink::subscribed);
    }
}

/// Publishes to all topics in turn at QoS 1, each message of so many bytes, until every one is
/// acknowledged.
///
/// # Panics
/// If one is refused.
pub fn fill(gateway: SocketAddr, sessions: usize, each: usize, bytes: usize) {
    let mut link = Link::open(gateway, true, "filler", true).expect("the gateway listens");
    let (mut sent, mut acknowledged, all) = (0, 0, sessions * each);
    let (mut let_in, mut quota) = (false, WINDOW);
    let payload = vec![b'x'; bytes];
    let mut last = Instant::now();
    while acknowledged < all {
        let (packets, over) = link.read();
        assert!(over.is_none(), "connection lost: {over:?}");
        for packet in packets {
            last = Instant::now();
            match packet {
                Packet::ConnAck { code: 0, receive_maximum, .. } => {
                    let_in = true;
                    quota = WINDOW.min(usize::from(receive_maximum));
                }
                Packet::Ack(wire::PUBACK, _, 0) => acknowledged += 1,
                other => panic!("{other:?}"),
            }
        }
        while let_in && sent < all && sent - acknowledged < quota {
            let pid = u16::try_from(sent % 60_000).expect("below") + 1;
            let topic = format!("q/{}", sent % sessions);
            link.output.extend(wire::publish(true, &topic, &payload, 1, (false, false), pid));
            sent += 1;
        }
        link.flush().expect("the gateway reads");
        assert!(last.elapsed() < PATIENCE, "{acknowledged} of {all} acknowledged");
        std::thread::sleep(Duration::from_micros(100));
    }
}

/// Connects all sessions, some at a time, until each has so many messages; gives how many came.
///
/// # Panics
/// If a session is gone.
#[must_use]
pub fn drain(gateway: SocketAddr, sessions: usize, each: usize) -> u64 {
    let mut waiting: VecDeque<usize> = (0..sessions).collect();
    let mut open: Vec<Sink> = Vec::new();
    let mut received = 0;
    let mut last = Instant::now();
    while !(waiting.is_empty() && open.is_empty()) && last.elapsed() < PATIENCE {
        while open.len() < AT_ONCE
            && let Some(at) = waiting.pop_front()
        {
            open.push(Sink::open(gateway, &name(at), false));
        }
        for sink in &mut open {
            if sink.drain() {
                last = Instant::now();
            }
        }
        open.retain_mut(|sink| {
            let over = sink.received >= each as u64;
            if over {
                assert!(sink.present, "a session is gone");
                sink.goodbye();
                received += sink.received;
            }
            !over
        });
        std::thread::sleep(Duration::from_micros(200));
    }
    received + open.iter().map(|sink| sink.received).sum::<u64>()
}

/// How long until a session that was there is let in again.
///
/// # Panics
/// If it is gone.
#[must_use]
pub fn restart(server: &mut Server) -> (Duration, Duration) {
    let began = Instant::now();
    let listening = server.live();
    let mut sink = Sink::open(server.mqtt, WITNESS, false);
    sink.connected();
    assert!(sink.present, "the session is gone");
    (listening, began.elapsed())
}
