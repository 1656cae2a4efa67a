//! The deterministic simulation: a whole gateway, several clients of every protocol, a link that
//! loses, doubles, delays and reorders datagrams, streams that arrive in pieces and break, a disk that
//! lags and fails, crashes and restarts from the journal, all in virtual time and from one seed; beside it a
//! naive reference broker ([`model`]) that says what must, may and must not arrive.
//!
//! One seed is one run of at least 300 steps: an active phase with 1 to 3 crashes, a healing phase in
//! which everybody reconnects, a last round of publishes, and a probe that reads every retained value.
//! [`Scene::Coap`] has CoAP's clients before MQTT's subscribers, 20 % of all datagrams lost to the end,
//! and no crash, so that what was acknowledged must have been published exactly once. [`Scene::Streams`] has
//! CoAP's clients on connections ([`stream`]) that break, stall and come back.
//! Every tenth seed has tight queues: there bounds are checked instead of arrivals. In half of the seeds syncs
//! fail, and what needs the disk may be refused meanwhile; in some, reads of queues find damage,
//! which must be told; only then may something be missing.

mod cast;
pub mod coap;
pub mod coap_wire;
pub mod ctx;
pub mod exact;
mod falsify;
pub mod gateway;
pub mod link;
pub mod model;
pub mod mqtt;
mod mqtt_bytes;
pub mod mqtt_wire;
mod network;
pub mod outage;
pub mod payload;
pub mod rng;
mod shell;
pub mod sleep;
pub mod sn;
pub mod sn_wire;
pub mod store;
pub mod stream;
pub mod trace;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

pub use trace::Detail;

/// A deliberate fault that the simulation must find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Repeated MQTT-SN and CoAP messages are executed again.
    NoDuplicateCheck,
    /// The disk says "stored" before it is.
    AckBeforeCommit,
    /// PINGRESP leaves before the sleeper's buffer is out.
    EarlyPingresp,
    /// The disk says "stored" when a sync has failed, and what was to be synced is gone.
    AckOnFailedSync,
    /// The first block of a CoAP body is taken for all of it (falsified on its way).
    FragmentPublished,
    /// What waited for a full outbox of CoAP is not told when it has room again.
    HeldBackLost,
    /// What a connection of CoAP said last before it ended is done again on the next one (falsified on its
    /// way).
    BodyDoubled,
    /// One in four values is never notified to CoAP observers (falsified on its way).
    NotificationLost,
}

/// Who takes part, and in what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scene {
    /// All protocols; crashes, and a disk that fails.
    #[default]
    All,
    /// CoAP at 20 % loss.
    Coap,
    /// CoAP over connections that break and stall, with crashes.
    Streams,
}

impl Fault {
    /// All of them.
    pub const ALL: [Fault; 8] = [
        Fault::NoDuplicateCheck,
        Fault::AckBeforeCommit,
        Fault::EarlyPingresp,
        Fault::AckOnFailedSync,
        Fault::FragmentPublished,
        Fault::NotificationLost,
        Fault::HeldBackLost,
        Fault::BodyDoubled,
    ];

    /// Its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Fault::NoDuplicateCheck => "no-duplicate-check",
            Fault::AckBeforeCommit => "ack-before-commit",
            Fault::EarlyPingresp => "early-pingresp",
            Fault::AckOnFailedSync => "ack-on-failed-sync",
            Fault::FragmentPublished => "fragment-published",
            Fault::NotificationLost => "notification-lost",
            Fault::HeldBackLost => "held-back-lost",
            Fault::BodyDoubled => "body-doubled",
        }
    }

    /// From its name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Fault::ALL.into_iter().find(|f| f.name() == name)
    }
}

/// What became of a run.
#[derive(Debug, Default)]
pub struct Report {
    /// The broken rule, if one was.
    pub failure: Option<String>,
    /// Events.
    pub steps: u64,
    /// Deliveries to clients.
    pub messages: u64,
    /// Publishes of clients.
    pub published: u64,
    /// Of CoAP in blocks, acknowledged.
    pub in_blocks: u64,
    /// Values in blocks that clients of CoAP on connections read.
    pub in_blocks_read: u64,
    /// Times that an outbox of CoAP was full for a notification.
    pub held_back: u64,
    /// Restarts from the journal.
    pub restarts: u64,
    /// Batches stored.
    pub batches: u64,
    /// Times that the store began to fail.
    pub failures: u64,
    /// What was refused meanwhile.
    pub refused: u64,
    /// Reads of queues that found damage.
    pub damaged: u64,
    /// Length of the run in virtual time.
    pub virtual_secs: u64,
    /// Equal for equal runs.
    pub hash: u64,
    /// The kept part of the trace.
    pub lines: Vec<String>,
}

/// Runs one seed. A panic of the core is a failure like any other (where the profile unwinds).
#[must_use]
pub fn run(seed: u64, fault: Option<Fault>, detail: Detail) -> Report {
    run_crashing(seed, fault, detail, None)
}

/// The same, with one crash more: when the core hands over this batch (counted over all lives),
/// before anything else of that turn has left.
#[must_use]
pub fn run_crashing(
    seed: u64,
    fault: Option<Fault>,
    detail: Detail,
    at_batch: Option<u64>,
) -> Report {
    caught(|| world::World::new(seed, fault, detail, at_batch, Scene::All).run())
}

/// Runs one seed of a scene.
#[must_use]
pub fn run_scene(scene: Scene, seed: u64, fault: Option<Fault>, detail: Detail) -> Report {
    caught(|| world::World::new(seed, fault, detail, None, scene).run())
}

fn caught(run: impl FnOnce() -> Report) -> Report {
    let world = AssertUnwindSafe(run);
    catch_unwind(world).unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        Report {
            failure: Some(format!("panic: {}", text.unwrap_or_default())),
            ..Report::default()
        }
    })
}

/// The first seed of `seeds` that fails, with its report (and the last `tail` lines of its trace).
#[must_use]
pub fn first_failure(
    seeds: impl IntoIterator<Item = u64>,
    fault: Option<Fault>,
    tail: usize,
) -> Option<(u64, Report)> {
    seeds.into_iter().find(|seed| run(*seed, fault, Detail::Hash).failure.is_some()).map(|seed| {
        let mut report = run(seed, fault, Detail::Tail(tail));
        if report.failure.is_none() {
            report.failure = Some("failed once and not again: the run is not deterministic".into());
        }
        (seed, report)
    })
}
