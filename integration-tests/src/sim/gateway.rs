//! [`Gateway`]: the whole core under test as the shell would run it, with its clocks and its journal,
//! and its deaths.

use std::sync::Arc;
use std::time::Duration;

use motegate_coap::EchoWhen;
use motegate_core::{ClientFrom, Config, Core, Input, Listener, Protocol, Reload, Sources};
use motegate_mapping::Table;
use motegate_message::{ListenerId, Reason, Wall};
use motegate_timers::Instant;

use super::ctx::{Micros, PREDEFINED};
use super::rng::Rng;
use super::store::Store;
use super::{Fault, Scene};

/// The MQTT listener.
pub const MQTT: ListenerId = ListenerId(0);
/// The MQTT-SN listener.
pub const SN: ListenerId = ListenerId(1);
/// The CoAP listener.
pub const COAP: ListenerId = ListenerId(2);
/// The CoAP listener of connections.
pub const COAP_STREAMS: ListenerId = ListenerId(3);

/// 2026-01-01T00:00:00Z.
const START_OF_TIME: u64 = 1_767_225_600_000;

/// The gateway: up or down.
#[derive(Debug)]
pub struct Gateway {
    core: Option<Core>,
    config: Config,
    table: Arc<Table>,
    seed: u64,
    /// Virtual time at which this process started: its `Instant`s count from there.
    started: Micros,
    /// The wall clock is in 1970 until the network sets it.
    clock_set_at: Micros,
    /// The journal's disk.
    pub store: Store,
    /// Crashes so far.
    pub crashes: u32,
}

fn listener(name: &str, protocol: Protocol) -> Listener {
    Listener {
        name: name.into(),
        protocol,
        anonymous: true,
        sources: Sources::Any,
        realm: name.into(),
        tenant: "".into(),
        mount: "".into(),
        client_from: ClientFrom::Address,
        connection_required: false,
        client_id_from_identity: false,
        limits: None,
    }
}

/// What the gateway of a run is configured to.
#[must_use]
pub fn config(rng: &mut Rng, fault: Option<Fault>, tight: bool) -> Config {
    let mut config = Config {
        listeners: vec![
            listener("mqtt", Protocol::Mqtt),
            listener("mqttsn", Protocol::MqttSn),
            listener("coap", Protocol::Coap),
            listener("coap-tcp", Protocol::Coap),
        ],
        durable: true,
        ..Config::default()
    };
    config.mqtt.max_inflight = u16::try_from(rng.range(2, 12)).unwrap_or(2);
    config.mqtt.receive_maximum = u16::try_from(rng.range(3, 20)).unwrap_or(3);
    config.mqtt.max_outbox_bytes = u32::try_from(rng.range(2_000, 20_000)).unwrap_or(2_000);
    config.mqtt_sn.retry_timeout = Duration::from_secs(10);
    if rng.chance(500) {
        // Most of most queues is on disk only.
        config.broker.head_messages = rng.index(4);
        config.broker.head_messages_away = rng.index(3);
    }
    if rng.chance(300) {
        config.coap.unverified.echo = EchoWhen::Always;
    }
    if tight {
        config.queue.max_messages = 6;
        config.when_asleep.max_messages = 5;
    } else {
        // Never full: what is owed must come.
        config.when_asleep.max_messages = config.queue.max_messages;
        config.when_asleep.max_bytes = config.queue.max_bytes;
    }
    config.mqtt_sn.faults.no_duplicate_check = fault == Some(Fault::NoDuplicateCheck);
    config.coap.faults.no_duplicate_check = fault == Some(Fault::NoDuplicateCheck);
    config.mqtt_sn.faults.early_pingresp = fault == Some(Fault::EarlyPingresp);
    config
}

/// What CoAP's connections are configured to besides.
pub fn connections(rng: &mut Rng, config: &mut Config, fault: Option<Fault>) {
    let coap = &mut config.coap;
    coap.max_outbox_bytes = u32::try_from(rng.range(500, 6_000)).unwrap_or(500);
    coap.max_message_size = *rng.pick(&[1_152, 2_400, 5_000]);
    coap.write_stall_timeout = Duration::from_secs(rng.range(20, 60));
    coap.idle_timeout = Duration::from_secs(rng.range(20, 60));
    coap.unverified = Default::default();
    coap.faults.held_back_lost = fault == Some(Fault::HeldBackLost);
}

/// The default rules, two pre-defined topic ids, and QoS −1 for the first of them.
fn table(scene: Scene) -> Arc<Table> {
    let [one, two] = PREDEFINED;
    let presets = match scene {
        Scene::Streams => "  presets: [core-pubsub, passthrough]\n",
        _ => "",
    };
    let text = format!(
        "mappings:\n{presets}  mqttsn:\n    topic_ids:\n      all: {{1: \"{one}\", 2: \"{two}\"}}\n    \
         qos_minus_one: {{ids: [1], client: \"anon-{{source_ip}}\", rate: 1000/s}}\n"
    );
    let parsed = motegate_config::Config::parse("simulation.yaml", &text);
    parsed.unwrap_or_else(|findings| panic!("{findings}")).table
}

impl Gateway {
    /// A gateway that starts for the first time.
    #[must_use]
    pub fn new(config: Config, seed: u64, scene: Scene) -> Self {
        let table = table(scene);
        Gateway {
            core: Some(Core::new(config.clone(), table.clone(), seed)),
            config,
            table,
            seed,
            started: 0,
            clock_set_at: match seed % 16 {
                1 => Micros::MAX,
                2 => 20_000_000,
                _ => 0,
            },
            store: Store::default(),
            crashes: 0,
        }
    }

    /// The core while the process runs.
    pub fn core(&mut self) -> Option<&mut Core> {
        self.core.as_mut()
    }

    /// Messages of which this process has said that the disk has lost them.
    #[must_use]
    pub fn told_damaged(&self) -> u64 {
        self.core.as_ref().map_or(0, |core| core.stats().dropped(Reason::StoreDamaged))
    }

    /// Whether the process runs.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.core.is_some()
    }

    pub(crate) fn clocks(&self, now: Micros) -> (Instant, Wall) {
        let epoch = if now < self.clock_set_at { 1_000 } else { START_OF_TIME };
        let wall = epoch + now / 1000;
        (Instant::from_micros(now - self.started), Wall::from_millis(wall))
    }

    /// Hands one input to the core; false while it is down.
    pub fn handle(&mut self, now: Micros, input: Input<'_>) -> bool {
        let (instant, wall) = self.clocks(now);
        match &mut self.core {
            Some(core) => {
                core.handle(instant, wall, input);
                true
            }
            None => false,
        }
    }

    /// The rules are read again; nothing has changed in them. False while the core is down.
    pub fn reload(&mut self, now: Micros) -> bool {
        let Some(core) = &self.core else { return false };
        let (config, table) = (core.config().clone(), self.table.clone());
        let reload = Reload { config, table, removed: Vec::new(), moved: Vec::new() };
        self.handle(now, Input::Reload(Box::new(reload)))
    }

    /// When the core wants to be told of the time.
    #[must_use]
    pub fn next_at(&self) -> Micros {
        let timeout = self.core.as_ref().and_then(Core::poll_timeout);
        timeout.map_or(Micros::MAX, |at| at.as_micros().saturating_add(self.started))
    }

    /// The process dies; what was not stored is lost.
    pub fn crash(&mut self, rng: &mut Rng) {
        self.core = None;
        self.crashes += 1;
        self.store.crash(rng);
    }

    /// The process starts anew and reads its journal.
    ///
    /// # Errors
    /// Damaged records.
    pub fn restart(&mut self, rng: &mut Rng, now: Micros) -> Result<(), String> {
        self.started = now - rng.below(now.min(5_000_000));
        self.clock_set_at = match rng.chance(60) {
            true if rng.chance(500) => Micros::MAX,
            true => now + rng.below(30_000_000),
            false => 0,
        };
        let (instant, wall) = self.clocks(now);
        let seed = self.seed ^ u64::from(self.crashes) << 32;
        let mut core = Core::new(self.config.clone(), self.table.clone(), seed);
        let damaged = core.restore(instant, wall, &mut self.store.saved(rng));
        self.core = Some(core);
        if damaged == 0 { Ok(()) } else { Err(format!("{damaged} records called damaged")) }
    }
}
