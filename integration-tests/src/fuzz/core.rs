//! Fuzz target: a whole core with mixed inputs of every protocol, and the configuration parser.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use motegate_core::{Config, Core, Input, Output, Users, Verdict, Verifier};
use motegate_mapping::{Preset, Rules, Table};
use motegate_message::{ConnectionId, Group, Interface, ListenerId, LocalId, Reason, Seq, Wall};
use motegate_timers::Instant;

use super::{corpus, mutate};
use crate::sim::gateway;
use crate::sim::rng::Rng;

fn address(n: u64) -> SocketAddr {
    let host = u8::try_from(n & 0xff).unwrap_or(0);
    let port = 1000 + u16::try_from(n >> 8 & 0x3fff).unwrap_or(0);
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 1, 1, host)), port)
}

fn config(rng: &mut Rng, run: u64) -> Config {
    let mut config = gateway::config(rng, None, run.is_multiple_of(2));
    config.durable = run % 3 != 2;
    if run % 4 == 1 {
        // Whoever names a method is asked who it is.
        let (stored_key, server_key) = ([1; 32], [2; 32]);
        let verifier = Verifier { iterations: 1, salt: [0].into(), stored_key, server_key };
        config.users = Arc::new(Users::from_iter([("anna".into(), verifier)]));
    }
    if run.is_multiple_of(2) {
        config.broker.max_sessions = 30;
        config.broker.max_subscriptions = 60;
        config.broker.max_subscriptions_per_session = 6;
        config.broker.max_retained_messages = 10;
        config.broker.max_memory_queued = 64 * 1024;
        config.mqtt.max_packet_size = 4096;
        config.coap.max_observers = 20;
        config.coap.max_exchanges = 100;
        config.mqtt_sn.max_clients = 20;
    }
    config
}

/// A core that a target drives, and what its shell would hold.
#[derive(Debug)]
struct Shell {
    core: Core,
    now: Instant,
    wall: u64,
    committed: Seq,
    written: Seq,
    /// Whose identity is asked for.
    asked: Vec<u64>,
    open: Vec<ConnectionId>,
    sent: usize,
    /// Nearly every datagram comes from somebody new.
    flood: bool,
}

impl Shell {
    fn handle(&mut self, rng: &mut Rng, input: Input<'_>) {
        self.core.handle(self.now, Wall::from_millis(self.wall), input);
        self.drain(rng);
    }

    fn drain(&mut self, rng: &mut Rng) {
        let mut writes = Vec::new();
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Write(conn) => writes.push(conn),
                Output::Close(conn, _) => {
                    self.open.retain(|c| *c != conn);
                    let (now, wall) = (self.now, Wall::from_millis(self.wall));
                    let input = Input::Closed { conn, reason: Reason::ConnectionLost };
                    self.core.handle(now, wall, input);
                }
                Output::Records { seq, .. } => self.written = seq,
                Output::Authenticate(asked) => self.asked.push(asked.ticket),
                _ => {}
            }
        }
        for queue in self.core.datagrams() {
            self.sent += queue.iter().map(|(_, b)| b.len()).sum::<usize>();
            queue.clear();
        }
        for conn in writes {
            let waiting = self.core.outbox(conn).len();
            self.sent += waiting;
            if waiting > 0 && !rng.chance(50) {
                let (now, wall) = (self.now, Wall::from_millis(self.wall));
                self.core.handle(now, wall, Input::Written { conn, n: waiting });
            }
        }
    }
}

/// With the topic collection, mostly.
fn table(run: u64) -> Table {
    let presets = match run % 3 {
        0 => vec![Preset::Passthrough],
        _ => vec![Preset::CorePubsub, Preset::Passthrough],
    };
    Table::new(Rules { presets, ..Rules::default() }).expect("presets of two paths")
}

/// A whole core, `inputs` of everything.
///
/// # Errors
/// A bound that does not hold.
pub fn core(rng: &mut Rng, run: u64, inputs: u64) -> Result<(), String> {
    let config = config(rng, run);
    let outbox = (config.mqtt.max_outbox_bytes + config.mqtt.max_packet_size) as usize + 16_384;
    let mut shell = Shell {
        core: Core::new(config, Arc::new(table(run)), run),
        now: Instant::from_secs(1),
        wall: 1_700_000_000_000,
        committed: Seq::NONE,
        written: Seq::NONE,
        asked: Vec::new(),
        open: Vec::new(),
        sent: 0,
        flood: run % 5 == 3,
    };
    let mut generation = 0;
    for _ in 0..inputs {
        let millis = if rng.chance(5) { rng.below(90_000) } else { rng.below(3) };
        shell.now = Instant::from_micros(shell.now.as_micros() + millis * 1000);
        shell.wall += millis;
        one(rng, &mut shell, &mut generation);
        for conn in &shell.open {
            let waiting = shell.core.outbox(*conn).len();
            if waiting > outbox {
                return Err(format!("{waiting} bytes in an outbox, the limit is {outbox}"));
            }
        }
        if shell.core.poll_timeout().is_some_and(|at| at <= shell.now) {
            shell.handle(rng, Input::Timeout);
        }
    }
    Ok(())
}

static GROUP: Group = Group {
    addr: SocketAddr::new(IpAddr::V4(Ipv4Addr::new(224, 0, 18, 83)), 0),
    interface: Interface::Index(3),
};

fn datagram(listener: ListenerId, peer: SocketAddr, bytes: &[u8]) -> Input<'_> {
    Input::Datagram { listener, local: LocalId::ANY, peer, bytes }
}

fn one(rng: &mut Rng, shell: &mut Shell, generation: &mut u32) {
    let many = if shell.flood || rng.chance(20) { 1_000_000 } else { 8 };
    let peer = address(rng.below(many));
    match rng.below(100) {
        0 => {
            let coap = rng.chance(500);
            let bytes = mutate::input(rng, if coap { corpus::coap } else { corpus::sn });
            let listener = if coap != rng.chance(80) { gateway::COAP } else { gateway::SN };
            let group = &GROUP;
            shell.handle(rng, Input::GroupDatagram { listener, group, peer, bytes: &bytes });
        }
        1..25 => {
            let bytes = mutate::input(rng, corpus::sn);
            shell.handle(rng, datagram(gateway::SN, peer, &bytes));
        }
        25..50 => {
            let bytes = mutate::input(rng, corpus::coap);
            shell.handle(rng, datagram(gateway::COAP, peer, &bytes));
        }
        50..55 if shell.committed < shell.written => {
            shell.committed =
                Seq(shell.committed.0 + 1 + rng.below(shell.written.0 - shell.committed.0));
            let seq = shell.committed;
            shell.handle(rng, Input::Committed(seq));
        }
        55..58 if !shell.open.is_empty() => {
            let conn = shell.open.swap_remove(rng.index(shell.open.len()));
            shell.handle(rng, Input::Closed { conn, reason: Reason::ConnectionLost });
        }
        62..66 if !shell.asked.is_empty() => {
            let ticket = shell.asked.swap_remove(rng.index(shell.asked.len()));
            let verdict = match rng.below(4) {
                0 => Verdict::Deny(Reason::AuthFailed),
                1 => Verdict::Continue { data: "x".into(), state: "y".into() },
                _ => Verdict::Allow { user: "anna".into(), data: None },
            };
            shell.handle(rng, Input::Verdict { ticket, verdict });
        }
        n if n < 62 || shell.open.len() < 4 => {
            *generation += 1;
            let conn = ConnectionId::new(*generation % 12, *generation);
            shell.open.retain(|c| c.slot() != conn.slot());
            shell.open.push(conn);
            let listener = ListenerId(u16::try_from(rng.below(200) / 199).unwrap_or(0));
            let peer = Some(peer);
            let identity = rng.chance(4).then(|| "device-1".into());
            let since = shell.now;
            shell.handle(rng, Input::Opened { conn, listener, peer, identity, host: None, since });
            let bytes = corpus::mqtt_connect(rng, [3, 4, 5][conn.slot() % 3]);
            shell.handle(rng, Input::Bytes { conn, chunk: &bytes });
        }
        _ => {
            let conn = *rng.pick(&shell.open);
            let version = [3, 4, 5][conn.slot() % 3];
            let bytes = mutate::gentle(rng, |rng| corpus::mqtt(rng, version));
            shell.handle(rng, Input::Bytes { conn, chunk: &bytes });
        }
    }
}
