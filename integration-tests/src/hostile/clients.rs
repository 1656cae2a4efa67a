//! The hostile clients: each does one thing, as hard as it can, and says what it heard at the end.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::wire::{Version, connect, packet, publish, string, subscribe};

/// A hostile client.
#[derive(Debug, Clone, Copy)]
pub struct Hostile {
    /// What it does, and its client id where it has one.
    pub name: &'static str,
    /// Does it until it is sent away, or until the time is over; the last code that it heard.
    pub run: fn(SocketAddr, Instant) -> Option<u8>,
    /// The code that it must have heard; `None` where it cannot hear one.
    pub code: Option<u8>,
    /// The words that a line of the log must hold, of its `reason` or its `limit`.
    pub told: &'static str,
}

/// All of them.
pub const ALL: [Hostile; 12] = [
    Hostile { name: "stops-reading", run: stops_reading, code: None, told: "slow_consumer" },
    Hostile {
        name: "10500-subscriptions",
        run: subscribes,
        code: Some(0x97),
        told: "max_subscriptions_per_session",
    },
    Hostile { name: "announces-256MB", run: announces, code: Some(0x95), told: "too_large" },
    Hostile { name: "a-byte-a-second", run: drips, code: None, told: "connect_timeout" },
    Hostile { name: "never-connects", run: never_connects, code: None, told: "half_open" },
    Hostile {
        name: "2MiB-byte-by-byte",
        run: publishes_slowly,
        code: Some(0x8d),
        told: "keepalive_timeout",
    },
    Hostile {
        name: "all-topics-window-1",
        run: acknowledges_nothing,
        code: Some(0x8d),
        told: "keepalive_timeout",
    },
    Hostile { name: "subscribe-storm", run: storms, code: None, told: "client_disconnect" },
    Hostile { name: "65535-levels", run: levels, code: Some(0x90), told: "max_topic_levels" },
    Hostile { name: "qos2-unreleased", run: holds, code: Some(0x93), told: "receive_maximum" },
    Hostile { name: "property-bomb", run: bombs, code: Some(0x97), told: "max_user_properties" },
    // One at a time: it is not refused, but made to wait.
    Hostile { name: "one-id-storm", run: reconnects, code: None, told: "takeovers" },
];

const V5: Version = Version::V5;

/// Connects with MQTT 5; the CONNACK's code.
fn open(address: SocketAddr, id: &str, keep_alive: u16) -> (TcpStream, Option<u8>) {
    let mut stream = TcpStream::connect(address).expect("the gateway listens");
    stream.set_read_timeout(Some(Duration::from_millis(100))).expect("not zero");
    stream.set_write_timeout(Some(Duration::from_secs(2))).expect("not zero");
    let _ = stream.write_all(&connect(V5, id, true, keep_alive));
    let until = Instant::now() + Duration::from_secs(3);
    let code = read(&mut stream, until).and_then(|packet| packet.get(3).copied());
    (stream, code)
}

/// One packet; `None` at the end of the stream, or when the time is over.
fn read(stream: &mut TcpStream, until: Instant) -> Option<Vec<u8>> {
    let mut head = Vec::new();
    let mut length = None;
    loop {
        let wanted = length.map_or(1, |(head, body): (usize, usize)| head + body);
        if length.is_some() && head.len() >= wanted {
            return Some(head);
        }
        let mut more = vec![0; wanted.saturating_sub(head.len()).max(1)];
        match stream.read(&mut more) {
            Ok(0) => return None,
            Ok(n) => head.extend_from_slice(&more[..n]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                if Instant::now() >= until {
                    return None;
                }
            }
            Err(_) => return None,
        }
        if length.is_none() && head.len() > 1 && head.last().is_some_and(|b| b & 0x80 == 0) {
            let digits = head[1..].iter().rev();
            let body = digits.fold(0, |sum, byte| sum << 7 | usize::from(byte & 0x7f));
            length = Some((head.len(), body));
        }
    }
}

/// The code of a DISCONNECT, or the last of a SUBACK that refuses, until the stream ends.
fn goodbye(stream: &mut TcpStream, until: Instant) -> Option<u8> {
    let mut heard = None;
    while let Some(packet) = read(stream, until) {
        match packet.first() {
            Some(0xe0) => return packet.get(2).copied(),
            Some(0x90) => heard = packet.last().copied().filter(|code| *code >= 0x80).or(heard),
            _ => {}
        }
    }
    heard
}

/// Subscribes and reads nothing of what a busy publisher sends it.
fn stops_reading(address: SocketAddr, until: Instant) -> Option<u8> {
    let (mut sub, _) = open(address, "stops-reading", 0);
    let _ = sub.write_all(&subscribe(V5, "flood/#", 0));
    let (mut busy, _) = open(address, "flood", 0);
    let message = publish(V5, 0, 0, "flood/x", &[0; 4096]);
    while Instant::now() < until {
        if busy.write_all(&message).is_err() {
            break;
        }
        std::thread::sleep(Duration::from_micros(500));
    }
    None
}

fn subscribes(address: SocketAddr, until: Instant) -> Option<u8> {
    let (mut stream, _) = open(address, "10500-subscriptions", 0);
    for hundred in 0..105 {
        let mut body = vec![0, 1, 0];
        for n in 0..100 {
            body.extend(string(format!("s/{hundred}/{n}/+")));
            body.push(0);
        }
        let _ = stream.write_all(&packet(0x82, &body));
    }
    goodbye(&mut stream, until)
}

fn announces(address: SocketAddr, until: Instant) -> Option<u8> {
    let (mut stream, _) = open(address, "announces-256MB", 0);
    let _ = stream.write_all(&[0x30, 0xff, 0xff, 0xff, 0x7f]);
    goodbye(&mut stream, until)
}

fn drips(address: SocketAddr, until: Instant) -> Option<u8> {
    let mut stream = TcpStream::connect(address).expect("the gateway listens");
    for byte in connect(V5, "a-byte-a-second", true, 0) {
        if Instant::now() >= until || stream.write_all(&[byte]).is_err() {
            break;
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    None
}

fn never_connects(address: SocketAddr, until: Instant) -> Option<u8> {
    let mut open = Vec::new();
    for _ in 0..10_000 {
        match TcpStream::connect(address) {
            Ok(stream) => open.push(stream),
            Err(_) => break,
        }
        if Instant::now() >= until {
            break;
        }
    }
    std::thread::sleep(until.saturating_duration_since(Instant::now()));
    None
}

fn publishes_slowly(address: SocketAddr, until: Instant) -> Option<u8> {
    let (mut stream, _) = open(address, "2MiB-byte-by-byte", 1);
    let message = publish(V5, 0, 0, "slow", &vec![0; 2 * 1024 * 1024 - 64]);
    stream.set_nodelay(true).expect("a TCP socket");
    for byte in message {
        if Instant::now() >= until || stream.write_all(&[byte]).is_err() {
            break;
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    goodbye(&mut stream, until)
}

/// Receive Maximum 1, and not one acknowledgement, while everything is published.
fn acknowledges_nothing(address: SocketAddr, until: Instant) -> Option<u8> {
    let mut stream = TcpStream::connect(address).expect("the gateway listens");
    stream.set_read_timeout(Some(Duration::from_millis(100))).expect("not zero");
    let mut body = string("MQTT");
    body.extend([5, 2, 0, 2, 3, 0x21, 0, 1]);
    body.extend(string("all-topics-window-1"));
    let _ = stream.write_all(&packet(0x10, &body));
    let _ = stream.write_all(&subscribe(V5, "#", 1));
    let (mut busy, _) = open(address, "flood-1", 0);
    for n in 1..2_000_u16 {
        let _ = busy.write_all(&publish(V5, 2, n, "window", &[0; 4096]));
        if n % 100 == 0 {
            while let Ok(1..) = busy.read(&mut [0; 65_536]) {}
        }
    }
    goodbye(&mut stream, until)
}

fn storms(address: SocketAddr, until: Instant) -> Option<u8> {
    let (mut stream, _) = open(address, "subscribe-storm", 0);
    let mut unsubscribe = vec![0, 2, 0];
    unsubscribe.extend(string("storm/+/#"));
    let turn = [subscribe(V5, "storm/+/#", 2), packet(0xa2, &unsubscribe)].concat().repeat(50);
    while Instant::now() + Duration::from_millis(300) < until && stream.write_all(&turn).is_ok() {
        let _ = stream.read(&mut [0; 65_536]);
    }
    let _ = stream.write_all(&[0xe0, 0]);
    None
}

fn levels(address: SocketAddr, until: Instant) -> Option<u8> {
    let (mut stream, _) = open(address, "65535-levels", 0);
    let _ = stream.write_all(&publish(V5, 0, 0, &"/".repeat(65_535), b""));
    goodbye(&mut stream, until)
}

fn holds(address: SocketAddr, until: Instant) -> Option<u8> {
    let (mut stream, _) = open(address, "qos2-unreleased", 0);
    for id in 1..=2_000 {
        let _ = stream.write_all(&publish(V5, 4, id, "held", &[0; 512]));
    }
    goodbye(&mut stream, until)
}

fn bombs(address: SocketAddr, until: Instant) -> Option<u8> {
    let (mut stream, _) = open(address, "property-bomb", 0);
    let properties = [&[0x26][..], &string("k"), &string("v")].concat().repeat(2_000);
    let mut body = string("bomb");
    body.extend(&packet(0, &properties)[1..]);
    let _ = stream.write_all(&packet(0x30, &body));
    goodbye(&mut stream, until)
}

/// Always the same client id, as fast as it can.
fn reconnects(address: SocketAddr, until: Instant) -> Option<u8> {
    let mut refused = None;
    let mut last = Vec::new();
    while Instant::now() < until {
        let (stream, code) = open(address, "one-id-storm", 0);
        refused = refused.or(code.filter(|code| *code != 0));
        last.push(stream); // an orderly close would be no takeover
        last.drain(..last.len().saturating_sub(20));
    }
    refused
}
