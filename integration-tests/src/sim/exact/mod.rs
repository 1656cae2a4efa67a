//! The model check of the broker: MQTT 5.0, 3.1.1 and 3.1 clients talk to the real core over ordered
//! streams, in virtual time, and a naive broker beside it says exactly what each of them must receive:
//! which copies, QoS, RETAIN, DUP, subscription identifiers, the expiry interval that is left, the
//! order, session present and every code of an answer ([`reference::Reference`]).
//!
//! A run has 3 to 6 clients that subscribe (with all options, shared too), publish, retain, acknowledge
//! or do not, take each other over, lose connections, leave wills; sessions and messages expire; the
//! process dies and comes back from its journal. Unlike the simulation of three protocols
//! ([`crate::sim`]), nothing is lost or late here but by design, so that everything can be foretold: only
//! which member of a group gets a message is left to the gateway, within the documented choice.
//! So that it can be, the script keeps apart what would look alike or come in any order: see [`Kind`].
//! That it finds what is wrong is shown by faults that are planted ([`Spoil`]).
//! Not in here: keep alive, flow control of publishers, a peer that does not read.

pub mod heard;
pub mod host;
pub mod reader;
pub mod reference;
pub mod script;
mod spoil;
pub mod tool;
pub mod wire;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use motegate_core::Config;
use motegate_core::settings::{Overflow, SharedStrategy, TakeoverWill};
use reference::{Full, Settings, Strategy};
pub use spoil::Spoil;

use super::rng::Rng;

/// What a run is about; some things cannot be foretold together.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// There is a journal, and the process dies now and then.
    pub crashes: bool,
    /// Shared subscriptions.
    pub shared: bool,
    /// One topic goes to several groups: then all copies can be told apart ([`script`]).
    pub overlap: bool,
    /// Clients that take small packets only: where something is shared, the next member gets it then.
    pub sizes: bool,
    /// Clients leave wills.
    pub wills: bool,
    /// Most of the queues is on disk only.
    pub spills: bool,
    /// Queues are full soon.
    pub bounded: bool,
    /// Limits are low.
    pub limits: bool,
    /// Compared after every action.
    pub one_by_one: bool,
}

impl Kind {
    fn of(rng: &mut Rng) -> Self {
        let shared = rng.chance(600);
        let bounded = !shared && rng.chance(350);
        let sizes = !bounded && (!shared || rng.chance(300));
        Kind {
            shared,
            bounded,
            overlap: shared && !sizes && rng.chance(600),
            sizes,
            wills: true,
            crashes: !bounded && rng.chance(700),
            spills: !shared && !bounded && rng.chance(500),
            limits: rng.chance(200),
            // When it is found too large depends on what is stored by then.
            one_by_one: bounded || shared && sizes || rng.chance(300),
        }
    }
}

fn settings(rng: &mut Rng, kind: &Kind) -> Settings {
    let low = |low, high: usize| if kind.limits { low } else { high };
    let full = *rng.pick(&[Full::DropOldest, Full::DropNewest, Full::Disconnect]);
    Settings {
        max_inflight: *rng.pick(&[1, 2, 4, 20]),
        max_expiry: if rng.chance(200) { 8_000 } else { 30 * 86_400_000 },
        max_sessions: low(3, 1_000),
        max_subscriptions: (low(3, 1_000), low(8, 10_000)),
        max_groups: low(2, 1_000),
        max_retained: low(2, 10_000),
        bound: kind.bounded.then(|| (1 + rng.index(5), full)),
        queue_qos0: rng.chance(300),
        takeover_will: rng.chance(700),
        strategy: *rng.pick(&[
            Strategy::RoundRobin,
            Strategy::RoundRobin,
            Strategy::Sticky,
            Strategy::HashTopic,
        ]),
        durable: kind.crashes || !kind.bounded && rng.chance(300),
        spills: kind.spills,
    }
}

/// The same for the core.
fn core_config(settings: &Settings, kind: &Kind) -> Config {
    let mut config = Config {
        listeners: vec![host::listener()],
        durable: settings.durable,
        ..Config::default()
    };
    config.mqtt.max_inflight = u16::try_from(settings.max_inflight).unwrap_or(u16::MAX);
    config.mqtt.max_session_expiry = Duration::from_millis(settings.max_expiry);
    let broker = &mut config.broker;
    broker.max_sessions = settings.max_sessions;
    (broker.max_subscriptions_per_session, broker.max_subscriptions) = settings.max_subscriptions;
    broker.max_share_groups = settings.max_groups;
    broker.max_retained_messages = settings.max_retained;
    if kind.spills {
        (broker.head_messages, broker.head_messages_away) = (2, 1);
    } else {
        (broker.head_messages, broker.head_messages_away) = (10_000, 10_000);
    }
    broker.shared_strategy = match settings.strategy {
        Strategy::RoundRobin => SharedStrategy::RoundRobin,
        Strategy::Sticky => SharedStrategy::Sticky,
        Strategy::HashTopic => SharedStrategy::HashTopic,
    };
    if !settings.takeover_will {
        broker.takeover_will = TakeoverWill::EndedSession;
    }
    config.queue.queue_qos0 = settings.queue_qos0;
    config.queue.max_messages = 1_000_000;
    if let Some((max, full)) = settings.bound {
        config.queue.max_messages = u32::try_from(max).unwrap_or(u32::MAX);
        config.queue.overflow = match full {
            Full::DropOldest => Overflow::DropOldest,
            Full::DropNewest => Overflow::DropNewest,
            Full::Disconnect => Overflow::Disconnect,
        };
    }
    config
}

/// What became of a run.
#[derive(Debug, Default)]
pub struct Report {
    /// The broken rule, if one was.
    pub failure: Option<String>,
    /// Steps of the script.
    pub steps: u64,
    /// Deliveries, each as it had to be.
    pub delivered: u64,
    /// Restarts from the journal.
    pub restarts: u64,
    /// What happened, if it was asked for.
    pub lines: Vec<String>,
}

/// Runs one seed. A panic of the core is a failure like any other (where the profile unwinds).
#[must_use]
pub fn run(seed: u64, fault: Option<Spoil>, verbose: bool) -> Report {
    let world = AssertUnwindSafe(|| world::World::new(seed, fault, verbose).run());
    catch_unwind(world).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        let failure = Some(format!("panic: {}", text.unwrap_or_default()));
        Report { failure, ..Report::default() }
    })
}

/// The first seed of `seeds` that fails, with its report.
#[must_use]
pub fn first_failure(
    seeds: impl IntoIterator<Item = u64>,
    fault: Option<Spoil>,
) -> Option<(u64, Report)> {
    let fails = |seed: &u64| run(*seed, fault, false).failure.is_some();
    seeds.into_iter().find(fails).map(|seed| (seed, run(seed, fault, true)))
}
