//! No input makes the endpoint or the client panic, answer more than it was asked, or grow beyond
//! its limits.
#![allow(missing_docs, clippy::unwrap_used, clippy::cast_possible_truncation)]

mod support;

use std::time::Duration;

use coap_lite::Packet;
use motegate_coap::client::Client;
use motegate_coap::endpoint::{Code, Event, ExchangeId, ObservationId, Response};
use motegate_coap::{Config, Endpoint};
use motegate_message::{Seq, Turn, Wall};
use motegate_timers::Instant;
use proptest::prelude::*;
use support::{GET, Msg, PUT, content, note, peer};

#[derive(Debug, Clone)]
enum Step {
    Raw(u16, Vec<u8>),
    Mutated(u16, Vec<u8>, usize, u8),
    Respond(usize, u8, u64),
    Observe(usize),
    Notify(usize, bool, u8),
    End(usize),
    Commit(u64),
    /// An ACK or a RST to a datagram that left.
    Answer(usize, bool),
    Pass(u64),
}

fn message() -> impl Strategy<Value = Vec<u8>> {
    let block = prop_oneof![2 => Just(None), 1 => (0_u8..4, any::<bool>()).prop_map(Some)];
    (0_u16..6, 0_u8..3, any::<bool>(), prop_oneof![Just(None), Just(Some(0)), Just(Some(1))], block)
        .prop_map(|(id, token, confirmable, observe, block)| {
            let (observe, block): (Option<u8>, Option<(u8, bool)>) = (observe, block);
            let code = if observe.is_some() { GET } else { PUT };
            let mut msg = if confirmable { Msg::con(code, id) } else { Msg::non(code, id) };
            msg = msg.token(&[token]);
            if let Some(value) = observe {
                msg = msg.opt(6, &[value]);
            }
            msg = msg.path("mqtt/t");
            match (observe, block) {
                (None, Some((number, more))) => {
                    let option = number << 4 | u8::from(more) << 3;
                    msg.opt(27, &[option]).body(&[token; 16]).bytes()
                }
                (Some(_), Some((number, _))) => msg.opt(23, &[number << 4]).bytes(),
                _ => msg.bytes(),
            }
        })
}

fn response_code() -> impl Strategy<Value = u8> {
    (prop_oneof![4 => Just(2_u8), 1 => Just(4), 1 => Just(5)], 0_u8..32)
        .prop_map(|(c, d)| c << 5 | d)
}

fn step() -> impl Strategy<Value = Step> {
    let port = 0_u16..4;
    prop_oneof![
        4 => (port.clone(), message()).prop_map(|(p, b)| Step::Raw(p, b)),
        1 => (port.clone(), proptest::collection::vec(any::<u8>(), 0..40))
            .prop_map(|(p, b)| Step::Raw(p, b)),
        2 => (port, message(), any::<usize>(), any::<u8>())
            .prop_map(|(p, b, at, to)| Step::Mutated(p, b, at, to)),
        3 => (any::<usize>(), response_code(), 0_u64..4).prop_map(|(n, c, s)| Step::Respond(n, c, s)),
        2 => any::<usize>().prop_map(Step::Observe),
        3 => (any::<usize>(), any::<bool>(), any::<u8>()).prop_map(|(n, c, k)| Step::Notify(n, c, k)),
        1 => any::<usize>().prop_map(Step::End),
        1 => (0_u64..4).prop_map(Step::Commit),
        3 => (any::<usize>(), any::<bool>()).prop_map(|(n, a)| Step::Answer(n, a)),
        2 => (0_u64..70_000).prop_map(Step::Pass),
    ]
}

struct Fuzzed {
    endpoint: Endpoint,
    turn: Turn,
    exchanges: Vec<ExchangeId>,
    observations: Vec<ObservationId>,
    sent: Vec<(u16, u16)>,
}

impl Fuzzed {
    fn drain(&mut self) -> usize {
        while let Some(event) = self.endpoint.poll_event() {
            if let Event::Request(request) = event {
                self.exchanges.push(request.exchange);
            }
        }
        let mut count = 0;
        for (to, bytes) in self.endpoint.transmits().iter() {
            let packet = Packet::from_bytes(bytes).expect("what is sent is well-formed");
            assert_eq!(packet.to_bytes_unlimited().unwrap(), bytes);
            self.sent.push((to.addr.port(), packet.header.message_id));
            count += 1;
        }
        self.endpoint.transmits().clear();
        count
    }

    fn pick<T: Copy>(list: &[T], n: usize) -> Option<T> {
        (!list.is_empty()).then(|| list[n % list.len()])
    }

    fn apply(&mut self, step: Step, max_observers: usize) {
        let turn = self.turn;
        match step {
            Step::Raw(port, bytes) => {
                self.endpoint.handle_datagram(&turn, peer(port), &bytes);
                assert!(self.drain() <= 1 + max_observers, "one answer for one datagram");
            }
            Step::Mutated(port, mut bytes, at, to) => {
                let at = at % bytes.len();
                bytes[at] = to;
                self.endpoint.handle_datagram(&turn, peer(port), &bytes);
            }
            Step::Respond(n, code, after) => {
                if let Some(exchange) = Self::pick(&self.exchanges, n) {
                    let observe = Self::pick(&self.observations, n);
                    let mut response = Response { observe, ..content("v") };
                    response.code = Code(code);
                    self.endpoint.respond(&turn, exchange, response, Seq(after));
                }
            }
            Step::Observe(n) => {
                if let Some(exchange) = Self::pick(&self.exchanges, n) {
                    let observation = self.endpoint.observe(&turn, exchange);
                    self.observations.extend(observation);
                    if let Some(observe) = observation {
                        let response = Response { observe: Some(observe), ..content("v") };
                        self.endpoint.respond(&turn, exchange, response, Seq::NONE);
                    }
                }
            }
            Step::Notify(n, confirmable, kind) => {
                if let Some(observation) = Self::pick(&self.observations, n) {
                    let len = if kind == 0 { 2_000 } else { 3 };
                    let mut notification = note(n as u64, &"x".repeat(len), confirmable);
                    if kind == 1 {
                        notification.code = Code::NOT_FOUND;
                    }
                    self.endpoint.notify(&turn, observation, notification);
                }
            }
            Step::End(n) => {
                if let Some(observation) = Self::pick(&self.observations, n) {
                    self.endpoint.end_observation(
                        &turn,
                        observation,
                        Response::new(Code::NOT_FOUND),
                    );
                }
            }
            Step::Commit(seq) => self.endpoint.handle_committed(&turn, Seq(seq)),
            Step::Answer(n, ack) => {
                if let Some((port, id)) = Self::pick(&self.sent, n) {
                    let msg = if ack { Msg::ack(id) } else { Msg::rst(id) };
                    self.endpoint.handle_datagram(&turn, peer(port), &msg.bytes());
                }
            }
            Step::Pass(ms) => self.pass(Duration::from_millis(ms)),
        }
        self.drain();
    }

    fn pass(&mut self, by: Duration) {
        let end = self.turn.now + by;
        for _ in 0..2_000 {
            match self.endpoint.poll_timeout() {
                Some(at) if at <= end => self.turn.now = self.turn.now.max(at),
                _ => break,
            }
            self.endpoint.handle_timeout(&self.turn);
            self.drain();
        }
        assert!(self.endpoint.poll_timeout().is_none_or(|at| at > end), "busy loop");
        self.turn.now = end;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_sequence_keeps_the_bounds_and_ends_in_peace(
        steps in proptest::collection::vec(step(), 1..150),
        durable in any::<bool>(),
    ) {
        let config = Config {
            max_exchanges: 24,
            max_observers: 3,
            max_observers_per_peer: 2,
            max_body: 48,
            max_block_bytes: 1_000,
            ..Config::default()
        };
        let mut turn = Turn::new(Instant::from_secs(1), Wall::from_millis(1));
        turn.durable = durable;
        let mut fuzzed = Fuzzed {
            endpoint: Endpoint::new(config, 3),
            turn,
            exchanges: Vec::new(),
            observations: Vec::new(),
            sent: Vec::new(),
        };
        for step in steps {
            fuzzed.apply(step, 3);
            prop_assert!(fuzzed.endpoint.observations() <= 3);
            prop_assert!(fuzzed.endpoint.deduplication_entries() <= 24);
            prop_assert!(fuzzed.endpoint.transfers().1 <= 1_000);
        }
        // Whatever came, when everybody is silent for long nothing is left to do.
        fuzzed.pass(Duration::from_secs(2_000));
        prop_assert_eq!(fuzzed.endpoint.deduplication_entries(), 0);
        prop_assert_eq!(fuzzed.endpoint.transfers(), (0, 0));
        let observed = fuzzed.endpoint.observations();
        prop_assert!(fuzzed.endpoint.peers() <= observed, "an idle observer is all that stays");
        prop_assert_eq!(fuzzed.endpoint.poll_timeout(), None);
    }

    #[test]
    fn random_datagrams_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let turn = Turn::new(Instant::from_secs(1), Wall::from_millis(1));
        let mut endpoint = Endpoint::new(Config::default(), 1);
        endpoint.handle_datagram(&turn, peer(1), &bytes);
        let mut client = Client::new(Config::default(), 1);
        client.request(turn.now, motegate_coap::client::Request::new(
            motegate_coap::endpoint::Method::Get, "x"));
        client.handle_datagram(turn.now, &bytes);
        let mut valid_head = vec![0x44, 0x01, 0, 1];
        valid_head.extend_from_slice(&bytes);
        endpoint.handle_datagram(&turn, peer(1), &valid_head);
        client.handle_datagram(turn.now, &valid_head);
        prop_assert!(endpoint.transmits().len() <= 2);
    }
}
