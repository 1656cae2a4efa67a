//! Arbitrary operations in arbitrary order: the endpoint never panics, what it writes is always
//! a sequence of valid server packets that begins with CONNACK, and every session is given back.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use common::{World, connect_bytes, field, hex, packet, show};
use motegate_message::{ConnectionId, Qos, Reason};
use motegate_mqtt::{Config, PacketType, Sender, Version, codec};
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    Open(u8, u8),
    Packet(usize, u8, u16),
    Cut(usize, u8, u16, usize),
    Garbage(usize, Vec<u8>),
    Lose(usize),
    Close(usize),
    Inject(u8, u8),
    Commit,
    Advance(u64),
    Stick(usize),
    Read(usize, usize),
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    let conn = 0_usize..6;
    prop_oneof![
        4 => (3_u8..6, 0_u8..3).prop_map(|(level, who)| Step::Open(level, who)),
        12 => (conn.clone(), 0_u8..12, 1_u16..5).prop_map(|(c, k, id)| Step::Packet(c, k, id)),
        2 => (conn.clone(), 0_u8..12, 1_u16..5, 1_usize..9)
            .prop_map(|(c, k, id, at)| Step::Cut(c, k, id, at)),
        1 => (conn.clone(), proptest::collection::vec(any::<u8>(), 1..9))
            .prop_map(|(c, bytes)| Step::Garbage(c, bytes)),
        1 => conn.clone().prop_map(Step::Lose),
        1 => conn.clone().prop_map(Step::Close),
        6 => (0_u8..3, 0_u8..20).prop_map(|(qos, len)| Step::Inject(qos, len)),
        3 => Just(Step::Commit),
        1 => (0_u64..40_000).prop_map(Step::Advance),
        1 => conn.clone().prop_map(Step::Stick),
        2 => (conn, 1_usize..50).prop_map(|(c, n)| Step::Read(c, n)),
        1 => Just(Step::Crash),
    ]
}

fn bytes(level: u8, kind: u8, id: u16) -> String {
    let p = if level == 5 { "00" } else { "" };
    match kind {
        0 => packet(0x30, &format!("{} {p} 41", field("t"))),
        1 => packet(0x32, &format!("{} {id:04x} {p} 41", field("t"))),
        2 => packet(0x34, &format!("{} {id:04x} {p} 41", field("t"))),
        3 => packet(0x3c, &format!("{} {id:04x} {p} 41", field("t"))),
        4 => format!("62 02 {id:04x}"),
        5 => format!("40 02 {id:04x}"),
        6 => format!("50 02 {id:04x}"),
        7 => format!("70 02 {id:04x}"),
        8 => packet(0x82, &format!("{id:04x} {p} {} 02", field("t"))),
        9 => packet(0xa2, &format!("{id:04x} {p} {}", field("t"))),
        10 => "c0 00".into(),
        _ => "e0 00".into(),
    }
}

struct Client {
    conn: ConnectionId,
    level: u8,
    got: Vec<u8>,
}

fn config() -> Config {
    Config { max_outbox_bytes: 400, receive_maximum: 3, max_inflight: 3, ..Config::default() }
}

/// The world, the level of each connection, and those that are perhaps inside a packet.
type Outcome = (World, HashMap<ConnectionId, u8>, HashSet<ConnectionId>);

fn run(steps: &[Step], durable: bool) -> Outcome {
    let mut levels = HashMap::new();
    let mut started = HashSet::new();
    let mut w = World::with(config());
    w.durable = durable;
    w.auto_commit = !durable;
    w.script.after_turn = true;
    let mut clients: Vec<Client> = Vec::new();
    for step in steps {
        let at = |i: &usize| clients.get(*i % clients.len().max(1)).map(|c| (c.conn, c.level));
        match step {
            Step::Open(level, who) => {
                let conn = w.open();
                let properties = if *level == 5 { "11 00000e10 22 0001" } else { "" };
                let id = format!("client{who}");
                w.send(conn, &connect_bytes(*level, 0, 10, properties, &id));
                levels.insert(conn, *level);
                clients.push(Client { conn, level: *level, got: Vec::new() });
            }
            Step::Packet(c, kind, id) => {
                if let Some((conn, level)) = at(c) {
                    w.send(conn, &bytes(level, *kind, *id));
                }
            }
            Step::Cut(c, kind, id, cut) => {
                if let Some((conn, level)) = at(c) {
                    let all = hex(&bytes(level, *kind, *id));
                    let (head, tail) = all.split_at((*cut).min(all.len()));
                    w.send_bytes(conn, head);
                    w.advance(Duration::from_millis(10));
                    w.send_bytes(conn, tail);
                }
            }
            Step::Garbage(c, bytes) => {
                if let Some((conn, _)) = at(c) {
                    w.send_bytes(conn, bytes);
                    started.insert(conn);
                }
            }
            Step::Lose(c) => {
                if let Some((conn, _)) = at(c) {
                    w.lose(conn);
                }
            }
            Step::Close(c) => {
                if let Some((conn, _)) = at(c) {
                    w.close(conn, Reason::Kicked);
                }
            }
            Step::Inject(qos, len) => {
                let payload = vec![b'x'; usize::from(*len)];
                w.inject("t", Qos::from_bits(*qos).unwrap(), &payload);
            }
            Step::Commit => w.commit(),
            Step::Advance(ms) => w.advance(Duration::from_millis(*ms)),
            Step::Stick(c) => {
                if let Some((conn, _)) = at(c) {
                    w.stuck.push(conn);
                }
            }
            Step::Read(c, n) => {
                if let Some((conn, _)) = at(c) {
                    w.read_outbox(conn, *n);
                }
            }
            Step::Crash => {
                if durable {
                    for client in &mut clients {
                        client.got.extend(w.take(client.conn));
                        check(client);
                    }
                    clients.clear();
                    w.crash();
                }
            }
        }
        for client in &mut clients {
            client.got.extend(w.take(client.conn));
        }
    }
    for client in &clients {
        check(client);
    }
    (w, levels, started)
}

/// What one client got: CONNACK first and once, all packets valid, DISCONNECT last.
fn check(client: &Client) {
    let version = match client.level {
        3 => Version::V31,
        4 => Version::V311,
        _ => Version::V5,
    };
    let mut rest = &client.got[..];
    let mut kinds = Vec::new();
    while let Ok(Some(header)) = codec::header(rest) {
        if rest.len() < header.packet_len() {
            break; // the peer has not read on
        }
        let body = &rest[header.len..header.packet_len()];
        let packet = codec::decode(header.first, body, version, Sender::Server)
            .unwrap_or_else(|e| panic!("{e}: {}", show(rest)));
        kinds.push(packet.packet_type());
        rest = &rest[header.packet_len()..];
    }
    for (i, kind) in kinds.iter().enumerate() {
        assert_eq!(*kind == PacketType::ConnAck, i == 0, "{kinds:?}");
        assert!(*kind != PacketType::Disconnect || i + 1 == kinds.len(), "{kinds:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_operations(steps in proptest::collection::vec(step(), 1..60), durable in any::<bool>()) {
        let (mut w, levels, started) = run(&steps, durable);
        // Nothing waits for a commit that never comes: a last publish of each is acknowledged.
        w.stuck.clear();
        w.commit();
        w.commit();
        let open: Vec<_> = w.sessions.values().filter_map(|s| s.conn).collect();
        for conn in open {
            w.read_outbox(conn, usize::MAX);
            w.take(conn);
            let level = levels[&conn];
            if w.closed.contains_key(&conn) || started.contains(&conn) {
                continue;
            }
            w.send(conn, &bytes(level, 1, 0x7777));
            w.commit();
            w.read_outbox(conn, usize::MAX);
            let got = show(&w.take(conn));
            prop_assert!(got.contains("77 77") || w.closed.contains_key(&conn), "{}", got);
        }
        // When every session is over, nothing is left: no record, no deadline that keeps firing.
        w.auto_commit = true;
        w.commit();
        for (_, session) in std::mem::take(&mut w.sessions) {
            if let Some(conn) = session.conn {
                w.close(conn, Reason::Shutdown);
                w.lose(conn);
            }
            let turn = w.turn();
            w.endpoint.forget(&turn, session.id);
        }
        w.send_bytes(ConnectionId::new(999, 9), b"nobody");
        w.commit();
        prop_assert!(w.journal.is_empty(), "{:?}", w.journal);
        w.advance(Duration::from_secs(1_000_000));
        prop_assert_eq!(w.endpoint.poll_timeout(), None);
    }
}
