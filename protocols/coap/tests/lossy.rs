//! Client and endpoint over a link that loses, repeats and reorders, on a virtual clock.
//! TD_COAP_CORE_14 and 15, TD_COAP_OBS_06: what was answered was executed exactly once, and an
//! observer ends up with the last value or knows that it lost its observation.
#![allow(missing_docs, clippy::unwrap_used, clippy::cast_possible_truncation)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use motegate_coap::client::{self, Client, RequestId};
use motegate_coap::endpoint::{
    Code, Event, ExchangeId, Method, ObservationId, Observe, Request, Response,
};
use motegate_coap::{Config, Endpoint};
use motegate_message::{DeliveryId, Seq, Turn, Wall};
use motegate_timers::Instant;
use support::{content, note, peer};

struct Rng(u64);

impl Rng {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        (self.0 >> 33) % below
    }
}

/// Datagrams under way: (arrival, order, to the server?, client, bytes).
type Flight = BTreeSet<(Instant, u64, bool, usize, Vec<u8>)>;

struct World {
    rng: Rng,
    now: Instant,
    loss_percent: u64,
    server: Endpoint,
    clients: Vec<Client>,
    flight: Flight,
    order: u64,
    /// How long the layer above thinks.
    think: Duration,
    thinking: BTreeMap<(Instant, u64), (ExchangeId, Request)>,
    executed: BTreeMap<Vec<u8>, u32>,
    value: u64,
    observers: BTreeSet<ObservationId>,
    seen: Vec<(usize, client::Event)>,
}

impl World {
    fn new(seed: u64, clients: usize, loss_percent: u64, think: Duration) -> Self {
        World {
            rng: Rng(seed),
            now: Instant::from_secs(5),
            loss_percent,
            server: Endpoint::new(Config::default(), seed),
            clients: (0..clients as u64)
                .map(|n| Client::new(Config::default(), seed ^ (n + 1) << 20))
                .collect(),
            flight: Flight::new(),
            order: 0,
            think,
            thinking: BTreeMap::new(),
            executed: BTreeMap::new(),
            value: 0,
            observers: BTreeSet::new(),
            seen: Vec::new(),
        }
    }

    fn turn(&self) -> Turn {
        Turn::new(self.now, Wall::from_millis(self.now.as_micros() / 1_000))
    }

    fn fly(&mut self, to_server: bool, client: usize, bytes: &[u8]) {
        let copies = if self.rng.next(100) < 10 { 2 } else { 1 };
        for _ in 0..copies {
            if self.rng.next(100) < self.loss_percent {
                continue;
            }
            let delay = Duration::from_millis(5 + self.rng.next(300));
            self.order += 1;
            self.flight.insert((self.now + delay, self.order, to_server, client, bytes.to_vec()));
        }
    }

    /// Drains both sides into the link and the layers above.
    fn drain(&mut self) {
        while let Some(event) = self.server.poll_event() {
            match event {
                Event::Request(request) => {
                    self.order += 1;
                    let at = self.now + self.think;
                    self.thinking.insert((at, self.order), (request.exchange, *request));
                }
                Event::ObservationEnded { observation, .. } => {
                    self.observers.remove(&observation);
                }
                _ => {}
            }
        }
        let out: Vec<(usize, Vec<u8>)> = self
            .server
            .transmits()
            .iter()
            .map(|(to, bytes)| (usize::from(to.addr.port()), bytes.to_vec()))
            .collect();
        self.server.transmits().clear();
        for (client, bytes) in out {
            self.fly(false, client, &bytes);
        }
        for client in 0..self.clients.len() {
            while let Some(bytes) = self.clients[client].poll_transmit() {
                self.fly(true, client, &bytes);
            }
            while let Some(event) = self.clients[client].poll_event() {
                self.seen.push((client, event));
            }
        }
    }

    fn execute(&mut self, exchange: ExchangeId, request: Request) {
        let turn = self.turn();
        let mut response = match request.method {
            Method::Get => content(&self.value.to_string()),
            _ => {
                *self.executed.entry(request.payload.to_vec()).or_default() += 1;
                Response::new(Code::CHANGED)
            }
        };
        if request.observe == Some(Observe::Register) {
            response.observe = self.server.observe(&turn, exchange);
            self.observers.extend(response.observe);
        }
        self.server.respond(&turn, exchange, response, Seq::NONE);
    }

    fn publish(&mut self, confirmable: bool) {
        self.value += 1;
        let turn = self.turn();
        for observation in self.observers.clone() {
            let mut notification = note(self.value, &self.value.to_string(), confirmable);
            notification.delivery = DeliveryId(self.value);
            self.server.notify(&turn, observation, notification);
        }
        self.drain();
    }

    fn run(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            self.drain();
            let next = [
                self.flight.first().map(|flight| flight.0),
                self.thinking.first_key_value().map(|((at, _), _)| *at),
                self.server.poll_timeout(),
                self.clients.iter().filter_map(Client::poll_timeout).min(),
            ];
            let Some(at) = next.into_iter().flatten().min().filter(|at| *at <= end) else { break };
            self.now = self.now.max(at);
            let turn = self.turn();
            while self.flight.first().is_some_and(|flight| flight.0 <= self.now) {
                let (_, _, to_server, client, bytes) = self.flight.pop_first().unwrap();
                if to_server {
                    self.server.handle_datagram(&turn, peer(client as u16), &bytes);
                } else {
                    self.clients[client].handle_datagram(self.now, &bytes);
                }
            }
            while self.thinking.first_key_value().is_some_and(|((at, _), _)| *at <= self.now) {
                let (_, (exchange, request)) = self.thinking.pop_first().unwrap();
                self.execute(exchange, request);
            }
            self.server.handle_timeout(&turn);
            for client in &mut self.clients {
                client.handle_timeout(self.now);
            }
        }
        self.now = end;
    }
}

fn post(world: &mut World, client: usize, n: u32) -> (RequestId, Vec<u8>) {
    let body = format!("{client}/{n}").into_bytes();
    let request = client::Request::new(Method::Post, "mqtt/x").payload(body.clone());
    (world.clients[client].request(world.now, request), body)
}

fn exactly_once(seed: u64, loss: u64, think: Duration) -> (usize, usize) {
    let mut world = World::new(seed, 3, loss, think);
    let mut sent = BTreeMap::new();
    for n in 0..10 {
        for client in 0..3 {
            let (id, body) = post(&mut world, client, n);
            sent.insert((client, id), body);
        }
        world.run(Duration::from_secs(20));
    }
    world.run(Duration::from_secs(2_000));
    let (mut answered, mut lost) = (0, 0);
    let mut closed = BTreeSet::new();
    for (client, event) in &world.seen {
        match event {
            client::Event::Response { request, response } => {
                assert!(closed.insert((*client, *request)), "seed {seed}: answered twice");
                assert_eq!(response.code, Code::CHANGED);
                let body = &sent[&(*client, *request)];
                assert_eq!(world.executed.get(body), Some(&1), "seed {seed}: {body:?}");
                answered += 1;
            }
            client::Event::TimedOut { request } => {
                assert!(closed.insert((*client, *request)));
                lost += 1;
            }
            other => panic!("seed {seed}: {other:?}"),
        }
    }
    assert!(world.executed.values().all(|times| *times == 1), "seed {seed}");
    assert_eq!(closed.len(), sent.len(), "seed {seed}: every request ends");
    assert_eq!((world.server.deduplication_entries(), world.server.peers()), (0, 0));
    assert_eq!(world.server.poll_timeout(), None, "seed {seed}");
    (answered, lost)
}

#[test]
fn what_is_answered_was_executed_once() {
    let (mut answered, mut lost) = (0, 0);
    for seed in 0..60 {
        let think = Duration::from_millis([0, 0, 700, 1_800][seed as usize % 4]);
        let (a, l) = exactly_once(seed, 30, think);
        answered += a;
        lost += l;
    }
    // Five transmissions against 30 % loss both ways: a few in a hundred fail.
    assert!(answered > 20 * lost && lost > 0, "{answered} answered, {lost} lost");
}

#[test]
fn without_loss_everything_is_answered() {
    for think in [0, 500, 5_000] {
        assert_eq!(exactly_once(7, 0, Duration::from_millis(think)), (30, 0));
    }
}

#[test]
fn observers_end_up_with_the_last_value() {
    let mut stood = 0;
    for seed in 0..60_u64 {
        let think = Duration::from_millis([0, 1_300][seed as usize % 2]);
        let mut world = World::new(seed, 4, 20, think);
        for client in 0..4 {
            let request = client::Request::new(Method::Get, "mqtt/t").observe();
            let request = if client == 3 { request.non_confirmable() } else { request };
            world.clients[client].request(world.now, request);
        }
        world.run(Duration::from_secs(120));
        for n in 0..40 {
            world.publish(n % 3 == 0);
            let pause = world.rng.next(6_000);
            world.run(Duration::from_millis(pause));
        }
        world.publish(true);
        world.run(Duration::from_secs(300));
        let last = world.value.to_string();
        let mut newest: BTreeMap<usize, u64> = BTreeMap::new();
        for (client, event) in &world.seen {
            if let client::Event::Notification { response, .. }
            | client::Event::Response { response, .. } = event
            {
                let value: u64 = String::from_utf8_lossy(&response.payload).parse().unwrap();
                let before = newest.insert(*client, value).unwrap_or(0);
                assert!(value >= before, "seed {seed}: client {client} went back to {value}");
            }
        }
        // Whoever the server still counts as an observer has the last value.
        let current = newest.values().filter(|value| value.to_string() == last).count();
        assert!(current >= world.observers.len(), "seed {seed}: {newest:?}, last {last}");
        stood += world.observers.len();
    }
    assert!(stood > 150, "{stood} of 240 observations stood");
}
