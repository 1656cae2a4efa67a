//! The clients of a run and their clock.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::coap;
use super::mqtt::{self, Feed};
use super::retained::{Probe, Reader};
use super::sn;
use super::subscriber::{Subscriber, Visits};
use super::victim::{Shared, Victim};
use super::will::Mortal;
use crate::load::actor::{Actor, TICK, Turn};
use crate::load::ledger::{Ledger, StreamId};
use crate::load::sn::Of;
use crate::sim::coap_wire::{POST, PUT};

/// How long clients may take to be ready, and what is on its way to arrive.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long nothing more may come when everything has.
const REST: Duration = Duration::from_millis(1_500);

/// After so many faults the rest is not needed.
const ENOUGH: u64 = 20;

/// All clients.
pub struct World {
    ledger: Ledger,
    actors: Vec<Box<dyn Actor>>,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").field("actors", &self.actors.len()).finish_non_exhaustive()
    }
}

/// Streams by the QoS of their publishers.
struct Streams {
    once: [StreamId; 8],
    more: [StreamId; 9],
}

impl World {
    /// Clients on their way to a gateway.
    #[must_use]
    pub fn new(victim: &Victim) -> World {
        let mut ledger = Ledger::default();
        let once = [
            "k/mqtt/311-2",
            "k/mqtt/5-2",
            "k/slow/2",
            "k/slow/n2",
            "k/sn/pub-id2",
            "k/snn/2",
            "k/r/mqtt2",
            "k/will/0",
        ]
        .map(|name| ledger.stream(name));
        let more = [
            "k/mqtt/311-1",
            "k/mqtt/5-1",
            "k/slow/1",
            "k/slow/n1",
            "k/sn/pub-id1",
            "k/snn/1",
            "k/r/mqtt1",
            "k/r/coap",
            "k/coap/0",
        ]
        .map(|name| ledger.stream(name));
        let retained_sn = ledger.stream("k/r/sn");
        let mut world = World { ledger, actors: Vec::new() };
        let streams = Streams { once, more };
        world.publishers(victim, &streams, retained_sn);
        let heard_by = world.subscribers(victim, &streams, retained_sn);
        world.sn_subscribers(victim, &streams);
        let mortal = Mortal::new(victim.mqtt, "mortal", once[7], heard_by);
        world.actors.push(Box::new(mortal));
        let retained = [once[6], more[6], more[7], retained_sn];
        world.actors.push(Box::new(Reader::new(victim.coap, &retained)));
        world.actors.push(Box::new(Probe::new(victim.mqtt, &retained)));
        world
    }

    fn publishers(&mut self, victim: &Victim, streams: &Streams, retained_sn: StreamId) {
        let Streams { once, more } = streams;
        for (at, (id, v5)) in [("pub-311", false), ("pub-5", true)].into_iter().enumerate() {
            let mut feeds = vec![
                Feed::new(more[at], 1, 120.0, false),
                Feed::new(once[at], 2, 60.0, false),
                // Of one QoS each: repeats of QoS 1 may overtake QoS 2.
                Feed::new(more[2 + at], 1, 6.0, false),
                Feed::new(once[2 + at], 2, 6.0, false),
            ];
            feeds.push(match v5 {
                true => Feed::new(more[6], 1, 20.0, true),
                false => Feed::new(once[6], 2, 20.0, true),
            });
            self.actors.push(Box::new(mqtt::Publisher::new(victim.mqtt, id, v5, feeds)));
        }
        let devices = [
            ("pub-id1", more[4], (false, 1, false)),
            ("pub-id2", once[4], (false, 2, false)),
            ("pub-name1", more[5], (true, 1, false)),
            ("pub-name2", once[5], (true, 2, false)),
            ("pub-retain", retained_sn, (true, 1, true)),
        ];
        for (id, stream, manner) in devices {
            let publisher = sn::Publisher::new(victim.mqtt_sn, id, stream, manner, 60.0);
            self.actors.push(Box::new(publisher));
        }
        for (method, stream) in [(PUT, more[7]), (POST, more[8])] {
            self.actors.push(Box::new(coap::Publisher::new(victim.coap, method, stream, 60.0)));
        }
    }

    /// Those on MQTT; gives the one who hears everything.
    fn subscribers(&mut self, victim: &Victim, s: &Streams, retained_sn: StreamId) -> usize {
        let all = [&s.once[..], &s.more, &[retained_sn]].concat();
        let mqtt = [s.once[0], s.once[1], s.more[0], s.more[1]];
        let millis = Duration::from_millis;
        let rarely = Visits { stay: millis(150), away: millis(900) };
        let group = Visits { stay: millis(500), away: millis(300) };
        let mut heard_by = 0;
        for (id, v5, filter, streams, visits) in [
            ("all-311", false, "k/#", &all[..], None),
            ("all-5", true, "k/#", &all, None),
            ("away-311", false, "k/mqtt/#", &mqtt, Some(rarely)),
            ("away-5", true, "k/#", &all, Some(Visits { away: millis(1_700), ..rarely })),
        ] {
            let receiver = self.ledger.receiver(id, streams);
            self.ledger.once(receiver, &s.once);
            let subscriber = Subscriber::new(victim.mqtt, (id, v5), filter, receiver, visits);
            self.actors.push(Box::new(subscriber));
            if id == "all-5" {
                heard_by = receiver;
            }
        }
        let receiver = self.ledger.receiver("group", &mqtt);
        self.ledger.shared(receiver);
        self.ledger.once(receiver, &s.once);
        for (id, v5, visits) in
            [("g-311", false, None), ("g-5", true, Some(group)), ("g-away", true, Some(rarely))]
        {
            let filter = "$share/g/k/mqtt/#";
            let subscriber = Subscriber::new(victim.mqtt, (id, v5), filter, receiver, visits);
            self.actors.push(Box::new(subscriber));
        }
        heard_by
    }

    fn sn_subscribers(&mut self, victim: &Victim, s: &Streams) {
        let (one, two) = ([s.once[2], s.more[2]], [s.once[3], s.more[3]]);
        let ids = [Of::Id(2, 1), Of::Id(3, 2)];
        let names = [Of::Name("k/slow/n1", 1), Of::Name("k/slow/n2", 2)];
        let every = [Of::Name("k/slow/+", 2)];
        let all = [one, two].concat();
        for (id, of, sleeper, streams) in [
            ("sn-id", &ids[..], false, &one[..]),
            ("sn-name", &names, false, &two),
            ("sn-every", &every, false, &all),
            ("sn-sleeper-id", &ids, true, &one),
            ("sn-sleeper-name", &names, true, &two),
            ("sn-sleeper-every", &every, true, &all),
        ] {
            let receiver = self.ledger.receiver(id, streams);
            self.ledger.once(receiver, &s.once);
            let subscriber = sn::Subscriber::new(victim.mqtt_sn, id, of, sleeper, receiver);
            self.actors.push(Box::new(subscriber));
        }
    }

    /// Serves all clients until the kills are over and everything has arrived.
    #[must_use]
    pub fn run(mut self, shared: &Shared) -> Ledger {
        let began = Instant::now();
        while !self.actors.iter().all(|actor| actor.is_ready()) {
            self.tick(shared, None, false);
            if began.elapsed() > PATIENCE {
                self.ledger.fault("clients were not ready in time".into());
                shared.over.store(true, Ordering::Release);
                return self.ledger;
            }
        }
        shared.flowing.store(true, Ordering::Release);
        let began = Instant::now();
        while !shared.over.load(Ordering::Acquire) {
            self.tick(shared, Some(began), true);
            if self.ledger.faults() > ENOUGH {
                shared.over.store(true, Ordering::Release);
            }
        }
        if self.ledger.faults() > ENOUGH {
            return self.ledger;
        }
        let ended = Instant::now();
        while ended.elapsed() < PATIENCE && !self.is_settled() {
            for _ in 0..20 {
                self.tick(shared, Some(began), false);
            }
        }
        if !self.actors.iter().all(|actor| actor.is_settled(&self.ledger)) {
            self.ledger.fault("some clients did not come to rest".into());
        }
        let ended = Instant::now();
        while ended.elapsed() < REST {
            self.tick(shared, Some(began), false);
        }
        self.ledger
    }

    fn tick(&mut self, shared: &Shared, flowing: Option<Instant>, publishing: bool) {
        let now = Instant::now();
        self.ledger.life = shared.life.load(Ordering::Acquire);
        let since = flowing.map(|began| now.duration_since(began));
        let turn = Turn { now, since, publishing };
        for actor in &mut self.actors {
            actor.turn(&turn, &mut self.ledger);
        }
        std::thread::sleep(TICK.saturating_sub(now.elapsed()));
    }

    fn is_settled(&self) -> bool {
        self.actors.iter().all(|actor| actor.is_settled(&self.ledger)) && self.ledger.missing() == 0
    }
}
