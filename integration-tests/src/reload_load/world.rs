//! The clients of a run and their clock.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::coap::{self, Observer};
use super::file::SHIFTING_IDS;
use super::mqtt::{self, Feed};
use super::sn::{self, Manner, To};
use crate::gateway::Gateway;
use crate::load::actor::{Actor, TICK, Turn};
use crate::load::ledger::Ledger;
use crate::load::sn::Of;
use crate::sim::coap_wire::{POST, PUT};

/// How long clients may take to be ready, and what is on its way to arrive.
const PATIENCE: Duration = Duration::from_secs(20);

/// What clients and the reloads tell each other.
#[derive(Debug, Default)]
pub struct Shared {
    /// All clients are there, messages flow.
    pub flowing: AtomicBool,
    /// No more reloads.
    pub over: AtomicBool,
    /// Which topic the moving rule has: 0 or 1.
    pub moved: AtomicUsize,
    /// Which topic its observer hears: 0 or 1.
    pub heard: AtomicUsize,
}

/// All clients.
pub struct World {
    ledger: Ledger,
    actors: Vec<Box<dyn Actor>>,
    observers: Vec<Observer>,
    /// Follows the rule that moves.
    moving: Observer,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").field("actors", &self.actors.len()).finish_non_exhaustive()
    }
}

impl World {
    /// Clients that are on their way to a gateway: 2,231 messages a second.
    #[must_use]
    pub fn new(gateway: &Gateway) -> World {
        let (mqtt, sn, coap) = (gateway.mqtt, gateway.mqtt_sn, gateway.coap);
        let mut ledger = Ledger::default();
        let fast = [0, 1].map(|n| ledger.stream(format!("mqtt {n}")));
        let slow = ledger.stream("mqtt slow");
        let moving = ['a', 'b'].map(|letter| ledger.stream(format!("mqtt moving {letter}")));
        let of_sn = [0, 1, 2, 3].map(|n| ledger.stream(format!("mqtt-sn {n}")));
        let renamed = ledger.stream("mqtt-sn renamed");
        let of_coap = [0, 1, 2, 3].map(|n| ledger.stream(format!("coap {n}")));

        let shifting = [0, 1, 2].map(|n| ledger.stream(format!("mqtt shifting {n}")));

        let all = [&fast[..], &[slow, renamed], &moving, &shifting, &of_sn, &of_coap].concat();
        let half = [&fast[1..], &of_sn].concat();
        let names = ["all-311", "all-5"].map(|name| (name, ledger.receiver(name, &all)));
        let cut = ["cut-311", "cut-5"].map(|name| (name, ledger.receiver(name, &half)));
        let of_slow = ["sn-id", "sn-name", "sn-sleeper"];
        let of_slow = of_slow.map(|name| (name, ledger.receiver(name, &[slow])));

        let mut actors: Vec<Box<dyn Actor>> = Vec::new();
        for ((name, receiver), v5) in names.into_iter().zip([false, true]) {
            let filters = ["load/#"];
            actors.push(Box::new(mqtt::Subscriber::new(
                mqtt,
                (name, v5),
                &filters,
                receiver,
                None,
            )));
        }
        let seconds = Duration::from_secs;
        let cuts = [(seconds(4), Duration::from_millis(1_500)), (seconds(3), seconds(1))];
        for (((name, receiver), v5), cuts) in cut.into_iter().zip([false, true]).zip(cuts) {
            let filters = ["load/mqtt/1", "load/sn/#"];
            let subscriber =
                mqtt::Subscriber::new(mqtt, (name, v5), &filters, receiver, Some(cuts));
            actors.push(Box::new(subscriber));
        }
        let (id, name, quick) = (Of::Id(2, 1), Of::Name("f/cmd", 1), Manner::Quick);
        let ways = [(id, quick), (name, quick), (id, Manner::Sleeper)];
        for ((name, receiver), (of, manner)) in of_slow.into_iter().zip(ways) {
            actors.push(Box::new(sn::Subscriber::new(sn, name, &[of], manner, receiver)));
        }
        // Always something waits for these when their ids change.
        let of = SHIFTING_IDS.map(|id| Of::Id(id, 1));
        for (name, manner) in [("sn-shift-slow", Manner::Slow), ("sn-shift", Manner::Sleeper)] {
            let receiver = ledger.receiver(name, &shifting);
            actors.push(Box::new(sn::Subscriber::new(sn, name, &of, manner, receiver)));
        }
        let feeds = vec![Feed::new(fast[0], "load/mqtt/0", 580.0, false)];
        actors.push(Box::new(mqtt::Publisher::new(mqtt, "pub-311", false, feeds)));
        let feeds = vec![
            Feed::new(fast[1], "load/mqtt/1", 580.0, false),
            Feed::new(slow, "load/slow/cmd", 10.0, true),
            Feed::new(moving[0], "load/moving/a", 5.0, true),
            Feed::new(moving[1], "load/moving/b", 5.0, true),
            Feed::new(shifting[0], "load/shift/0", 7.0, true),
            Feed::new(shifting[1], "load/shift/1", 7.0, true),
            Feed::new(shifting[2], "load/shift/2", 7.0, true),
        ];
        actors.push(Box::new(mqtt::Publisher::new(mqtt, "pub-5", true, feeds)));
        let ways = [To::Id, To::Id, To::Name("e/one"), To::Name("e/two")];
        for (at, to) in ways.into_iter().enumerate() {
            let id = format!("sn-pub-{at}");
            actors.push(Box::new(sn::Publisher::new(sn, &id, to, of_sn[at], 125.0)));
        }
        let to = To::Renamed("d/x");
        actors.push(Box::new(sn::Publisher::new(sn, "sn-renamed", to, renamed, 20.0)));
        let ways = [(PUT, "/p/0"), (PUT, "/p/1"), (POST, "/e/2"), (POST, "/e/3")];
        for (at, (method, path)) in ways.into_iter().enumerate() {
            let publisher = coap::Publisher::new(coap, method, path, of_coap[at], 130.0);
            actors.push(Box::new(publisher));
        }
        let followed = [("/p/0", of_coap[0]), ("/p/0", of_coap[0]), ("/p/1", of_coap[1])];
        let followed = followed.into_iter().chain([("/slow", slow)]);
        let observers = followed.map(|(path, stream)| Observer::new(coap, path, vec![stream]));
        World {
            ledger,
            actors,
            observers: observers.collect(),
            moving: Observer::new(coap, "/moving", moving.to_vec()),
        }
    }

    /// Serves all clients until the reloads are over and everything has arrived.
    pub fn run(mut self, shared: &Shared, seconds: Duration) -> Ledger {
        let began = Instant::now();
        while !self.is_ready() {
            self.tick(shared, None);
            if began.elapsed() > PATIENCE {
                self.ledger.fault("clients were not ready in time".into());
                shared.over.store(true, Ordering::Release);
                return self.ledger;
            }
        }
        shared.flowing.store(true, Ordering::Release);
        let began = Instant::now();
        while began.elapsed() < seconds {
            self.tick(shared, Some(began));
        }
        // Changes may still come, messages do not: the numbers are final.
        let began = Instant::now();
        while !(shared.over.load(Ordering::Acquire) && self.is_settled(shared))
            && began.elapsed() < PATIENCE
        {
            self.tick(shared, None);
        }
        let moved = shared.moved.load(Ordering::Acquire);
        for observer in &self.observers {
            observer.judge(0, &mut self.ledger);
        }
        self.moving.judge(moved, &mut self.ledger);
        self.ledger
    }

    fn tick(&mut self, shared: &Shared, flowing: Option<Instant>) {
        let now = Instant::now();
        let since = flowing.map(|began| now.duration_since(began));
        let turn = Turn { now, since, publishing: flowing.is_some() };
        for actor in &mut self.actors {
            actor.turn(&turn, &mut self.ledger);
        }
        for observer in self.observers.iter_mut().chain([&mut self.moving]) {
            observer.turn(&turn, &mut self.ledger);
        }
        if let Some(heard) = self.moving.hears() {
            shared.heard.store(heard, Ordering::Release);
        }
        std::thread::sleep(TICK.saturating_sub(now.elapsed()));
    }

    fn is_ready(&self) -> bool {
        self.actors.iter().all(|actor| actor.is_ready())
            && self.observers.iter().chain([&self.moving]).all(Observer::is_ready)
    }

    fn is_settled(&self, shared: &Shared) -> bool {
        let ledger = &self.ledger;
        let moved = shared.moved.load(Ordering::Acquire);
        self.actors.iter().all(|actor| actor.is_settled(ledger))
            && self.observers.iter().all(|observer| observer.is_settled(0, ledger))
            && self.moving.is_settled(moved, ledger)
            && ledger.missing() == 0
    }
}
