//! From the file as written to what the gateway is built from.

use std::path::PathBuf;
use std::sync::Arc;

use motegate_core::Config as Core;
use motegate_core::settings::Overflow;
use motegate_mapping::{Place, RuleError, Rules, Table};

use crate::diagnostic::{Code, Diagnostic};
use crate::document::Document;
use crate::file::{Coap, File, Gateway, Limits, Mqtt, MqttSn};
use crate::reader::Reader;
use crate::value::{
    AllowWord, Durability, KeepWord, LogFormat, LogLevel, MqttVersion, OverflowWord, RebindWord,
};
use crate::{Bind, Log, Resolved, listeners, rules};

const MANY: u64 = 1 << 40;
const U16: u64 = u16::MAX as u64;
const U32: u64 = u32::MAX as u64;
const HOUR: u64 = 3_600_000;
const DAY: u64 = 24 * HOUR;

/// Replaces a default by what the file says.
macro_rules! set {
    ($target:expr, $value:expr) => {
        if let Some(value) = $value {
            $target = narrow(value);
        }
    };
}

/// A value in its target's type; ranges were checked when it was read.
fn narrow<A, B: TryFrom<A>>(value: A) -> B
where
    B::Error: std::fmt::Debug,
{
    B::try_from(value).expect("the range of the key fits its type")
}

/// Reads every block.
pub(crate) fn resolve(file: &File, document: &Document) -> (Option<Resolved>, Vec<Diagnostic>) {
    let mut reader = Reader { document, found: Vec::new() };
    let root = Place::root();
    version(&mut reader, file, &root);
    let mut core = Core::default();
    gateway(&mut reader, file.gateway.as_ref(), &root.at("gateway"), &mut core);
    mqtt(&mut reader, file.mqtt.as_ref(), &root.at("mqtt"), &mut core);
    mqtt_sn(&mut reader, file.mqttsn.as_ref(), &root.at("mqttsn"), &mut core);
    coap(&mut reader, file.coap.as_ref(), &root.at("coap"), &mut core);
    let max_connections = limits(&mut reader, file.limits.as_ref(), &root.at("limits"), &mut core);
    let durability =
        reader.get(file.durability.as_ref(), &root, "durability").unwrap_or(Durability::PowerLoss);
    core.durable = durability != Durability::None;
    let data_dir = reader.get(file.data_dir.as_ref(), &root, "data_dir");
    let binds = listeners::read(&mut reader, file.listeners.as_deref(), &mut core);
    let log = log(&mut reader, file, &root);
    let (rules, count) = rules::read(&mut reader, file, &core);
    let table = table(&mut reader, rules);
    let found = reader.found;
    if found.iter().any(Diagnostic::is_error) {
        return (None, found);
    }
    let resolved = table.map(|table| Resolved {
        core,
        table,
        listeners: binds,
        rules: count,
        max_connections,
        data_dir: PathBuf::from(data_dir.unwrap_or_else(|| "./motegate-data".into())),
        durability,
        log,
        warnings: Vec::new(),
    });
    (resolved, found)
}

fn version(reader: &mut Reader<'_>, file: &File, root: &Place) {
    if reader.get(file.version.as_ref(), root, "version").is_some_and(|version| version != 1) {
        let text = "this version of the format is not known";
        reader.report(&root.at("version"), Code::Value, text, "write `version: 1`");
    }
}

fn table(reader: &mut Reader<'_>, rules: Rules) -> Option<Arc<Table>> {
    match Table::new(rules) {
        Ok(table) => Some(Arc::new(table)),
        Err(errors) => {
            // What is missing was reported as missing.
            let present = |e: &RuleError| reader.document.node(&e.place).is_some();
            let errors = errors.into_iter().filter(present);
            let found: Vec<Diagnostic> =
                errors.map(|e| rules::diagnose(e, reader.document)).collect();
            reader.found.extend(found);
            None
        }
    }
}

fn gateway(reader: &mut Reader<'_>, block: Option<&Gateway>, at: &Place, core: &mut Core) {
    let Some(block) = block else { return };
    if let Some(name) = reader.get(block.name.as_ref(), at, "name") {
        listeners::check_level(reader, &at.at("name"), "gateway name", &name);
        core.gateway_name = name.into();
    }
    let id = reader.number(block.sn_gateway_id.as_ref(), at, "sn_gateway_id", 1..=255);
    set!(core.mqtt_sn.gateway_id, id);
}

fn mqtt(reader: &mut Reader<'_>, block: Option<&Mqtt>, at: &Place, core: &mut Core) {
    let Some(block) = block else { return };
    let config = &mut core.mqtt;
    if let Some(protocols) = &block.protocols {
        let at = at.at("protocols");
        let versions: Vec<MqttVersion> = protocols
            .iter()
            .enumerate()
            .filter_map(|(i, typed)| reader.typed(typed, &at.at(i)))
            .collect();
        if protocols.is_empty() {
            let fix = "name at least one of 3.1, 3.1.1 and 5.0";
            reader.report(&at, Code::Value, "no version of MQTT is left", fix);
        }
        config.allow_v31 = versions.contains(&MqttVersion::V31);
        config.allow_v311 = versions.contains(&MqttVersion::V311);
        config.allow_v5 = versions.contains(&MqttVersion::V5);
    }
    let r = reader;
    set!(config.max_qos, r.number(block.max_qos.as_ref(), at, "max_qos", 0..=2));
    set!(config.retain_available, r.get(block.retain_available.as_ref(), at, "retain_available"));
    let key = "wildcard_subscriptions";
    set!(config.wildcard_subscriptions, r.get(block.wildcard_subscriptions.as_ref(), at, key));
    let key = "shared_subscriptions";
    set!(config.shared_subscriptions, r.get(block.shared_subscriptions.as_ref(), at, key));
    let key = "subscription_identifiers";
    set!(config.subscription_identifiers, r.get(block.subscription_identifiers.as_ref(), at, key));
    // MQTT 5 §3.2.2.3.14: two bytes of seconds.
    let (key, range) = ("max_keep_alive", 0..=U16 * 1000);
    set!(config.max_keep_alive, r.time(block.max_keep_alive.as_ref(), at, key, range));
    let (key, range) = ("max_session_expiry", 0..=U32 * 1000);
    let expiry = r.time(block.max_session_expiry.as_ref(), at, key, range);
    set!(config.max_session_expiry, expiry);
    set!(core.mqtt_sn.session_expiry, expiry);
    let (key, range) = ("topic_alias_maximum", 0..=U16);
    set!(config.topic_alias_maximum, r.number(block.topic_alias_maximum.as_ref(), at, key, range));
    let (key, range) = ("receive_maximum", 1..=U16);
    set!(config.receive_maximum, r.number(block.receive_maximum.as_ref(), at, key, range));
    set!(config.max_inflight, r.number(block.max_inflight.as_ref(), at, "max_inflight", 1..=U16));
}

fn mqtt_sn(r: &mut Reader<'_>, block: Option<&MqttSn>, at: &Place, core: &mut Core) {
    let Some(block) = block else { return };
    let config = &mut core.mqtt_sn;
    let (key, range) = ("retry_timeout", 100..=HOUR);
    set!(config.retry_timeout, r.time(block.retry_timeout.as_ref(), at, key, range));
    set!(config.max_retries, r.number(block.max_retries.as_ref(), at, "max_retries", 0..=255));
    // MQTT-SN 1.2 §5.4.21: two bytes of seconds, which 24 h exceed; the wire is the bound then.
    let range = 1_000..=365 * DAY;
    set!(config.max_sleep, r.time(block.max_sleep.as_ref(), at, "max_sleep", range));
    if let Some(word) = r.get(block.forwarders.as_ref(), at, "forwarders") {
        config.forwarders = word == AllowWord::Allow;
    }
    if let Some(word) = r.get(block.rebind.as_ref(), at, "rebind") {
        use motegate_core::settings::Rebind;
        config.rebind = match word {
            RebindWord::SameHost => Rebind::SameHost,
            RebindWord::Any => Rebind::Any,
            RebindWord::Never => Rebind::Never,
        };
    }
    let (at, Some(block)) = (at.at("when_asleep"), &block.when_asleep) else { return };
    let queue = &mut core.when_asleep;
    let range = 1..=1_000_000;
    set!(queue.max_messages, r.number(block.max_messages.as_ref(), &at, "max_messages", range));
    let range = 256..=1 << 30;
    set!(queue.max_bytes, r.size(block.max_bytes.as_ref(), &at, "max_bytes", range));
    if let Some(word) = r.get(block.overflow.as_ref(), &at, "overflow") {
        if word == OverflowWord::Disconnect {
            let fix = "write drop_oldest, drop_newest or latest_per_topic";
            let text = "a sleeping client cannot be disconnected";
            r.report(&at.at("overflow"), Code::Value, text, fix);
        }
        queue.overflow = overflow(word);
    }
    if let Some(word) = r.get(block.qos0.as_ref(), &at, "qos0") {
        queue.queue_qos0 = word == KeepWord::Keep;
    }
}

fn overflow(word: OverflowWord) -> Overflow {
    match word {
        OverflowWord::DropOldest => Overflow::DropOldest,
        OverflowWord::DropNewest => Overflow::DropNewest,
        OverflowWord::Disconnect => Overflow::Disconnect,
        OverflowWord::LatestPerTopic => Overflow::LatestPerTopic,
    }
}

fn coap(r: &mut Reader<'_>, block: Option<&Coap>, at: &Place, core: &mut Core) {
    let Some(block) = block else { return };
    let config = &mut core.coap;
    let range = 100..=60_000;
    set!(config.ack_timeout, r.time(block.ack_timeout.as_ref(), at, "ack_timeout", range));
    if let Some(factor) = r.get(block.ack_random_factor.as_ref(), at, "ack_random_factor") {
        let permille = (factor.0 * 1000.0).round();
        if (1_000.0..=10_000.0).contains(&permille) {
            // In range, so neither cut nor negative.
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let permille = permille as u32;
            config.ack_random_factor_permille = permille;
        } else {
            // RFC 7252 §4.8.1: not below 1.
            let text = "this is outside its range";
            r.report(&at.at("ack_random_factor"), Code::Range, text, "write 1 to 10");
        }
    }
    let range = 0..=20;
    set!(
        config.max_retransmit,
        r.number(block.max_retransmit.as_ref(), at, "max_retransmit", range)
    );
    set!(config.nstart, r.number(block.nstart.as_ref(), at, "nstart", 1..=255));
    let (key, range) = ("notify_confirmable_every", 1..=1_000_000);
    let every = r.number(block.notify_confirmable_every.as_ref(), at, key, range);
    set!(config.notify_confirmable_every, every);
}

/// Reads `limits`; returns the most connections.
fn limits(r: &mut Reader<'_>, block: Option<&Limits>, at: &Place, core: &mut Core) -> usize {
    let mut max_connections = 100_000;
    let Some(block) = block else { return max_connections };
    let range = 1..=10_000_000;
    set!(max_connections, r.number(block.max_connections.as_ref(), at, "max_connections", range));
    limits_of_packets(r, block, at, core);
    limits_of_sessions(r, block, at, core);
    let coap = &mut core.coap;
    set!(coap.max_observers, r.number(block.max_observers.as_ref(), at, "max_observers", 0..=MANY));
    let (key, range) = ("max_observers_per_peer", 0..=MANY);
    let peer = r.number(block.max_observers_per_peer.as_ref(), at, key, range);
    set!(coap.max_observers_per_peer, peer);
    // Fewer entries than a handful of peers need would break deduplication for all.
    let range = 64..=MANY;
    set!(coap.max_exchanges, r.number(block.max_exchanges.as_ref(), at, "max_exchanges", range));
    max_connections
}

fn limits_of_packets(r: &mut Reader<'_>, block: &Limits, at: &Place, core: &mut Core) {
    let mqtt = &mut core.mqtt;
    let (key, range) = ("connect_timeout", 100..=HOUR);
    set!(mqtt.connect_timeout, r.time(block.connect_timeout.as_ref(), at, key, range));
    // MQTT 5 §2.1.4: four bytes of seven bits, and the header.
    let largest = 268_435_455 + 5;
    let (key, range) = ("max_connect_size", 64..=largest);
    set!(mqtt.max_connect_size, r.size(block.max_connect_size.as_ref(), at, key, range));
    let (key, range) = ("max_packet_size", 128..=largest);
    set!(mqtt.max_packet_size, r.size(block.max_packet_size.as_ref(), at, key, range));
    let (key, range) = ("max_client_id_length", 23..=U16);
    let length = r.number(block.max_client_id_length.as_ref(), at, key, range);
    set!(mqtt.max_client_id_length, length);
    set!(core.mqtt_sn.max_client_id_length, length);
    let (key, range) = ("max_topic_length", 1..=U16);
    set!(mqtt.max_topic_length, r.number(block.max_topic_length.as_ref(), at, key, range));
    let (key, range) = ("max_topic_levels", 1..=U16 + 1);
    set!(mqtt.max_topic_levels, r.number(block.max_topic_levels.as_ref(), at, key, range));
    let (key, range) = ("max_user_properties", 0..=MANY);
    set!(mqtt.max_user_properties, r.number(block.max_user_properties.as_ref(), at, key, range));
    let (key, range) = ("max_user_property_bytes", 0..=MANY);
    let bytes = r.size(block.max_user_property_bytes.as_ref(), at, key, range);
    set!(mqtt.max_user_property_bytes, bytes);
    let (key, range) = ("max_outbox_bytes", 1024..=1 << 30);
    set!(mqtt.max_outbox_bytes, r.size(block.max_outbox_bytes.as_ref(), at, key, range));
    let (key, range) = ("write_stall_timeout", 100..=DAY);
    set!(mqtt.write_stall_timeout, r.time(block.write_stall_timeout.as_ref(), at, key, range));
}

fn limits_of_sessions(r: &mut Reader<'_>, block: &Limits, at: &Place, core: &mut Core) {
    let broker = &mut core.broker;
    let sessions = r.number(block.max_sessions.as_ref(), at, "max_sessions", 1..=MANY);
    set!(broker.max_sessions, sessions);
    set!(core.mqtt_sn.max_clients, sessions);
    let (key, range) = ("max_subscriptions_per_session", 1..=MANY);
    let each = r.number(block.max_subscriptions_per_session.as_ref(), at, key, range);
    set!(broker.max_subscriptions_per_session, each);
    let (key, range) = ("max_subscriptions", 1..=MANY);
    set!(broker.max_subscriptions, r.number(block.max_subscriptions.as_ref(), at, key, range));
    let (key, range) = ("max_share_groups", 0..=MANY);
    set!(broker.max_share_groups, r.number(block.max_share_groups.as_ref(), at, key, range));
    let (key, range) = ("max_memory_queued", 1 << 20..=MANY);
    set!(broker.max_memory_queued, r.size(block.max_memory_queued.as_ref(), at, key, range));
    let (key, range) = ("max_retained_messages", 0..=MANY);
    let messages = r.number(block.max_retained_messages.as_ref(), at, key, range);
    set!(broker.max_retained_messages, messages);
    let (key, range) = ("max_retained_bytes", 0..=MANY);
    set!(broker.max_retained_bytes, r.size(block.max_retained_bytes.as_ref(), at, key, range));
    let queue = &mut core.queue;
    let (key, range) = ("max_queued_messages", 1..=100_000_000);
    set!(queue.max_messages, r.number(block.max_queued_messages.as_ref(), at, key, range));
    let (key, range) = ("max_queued_bytes", 1024..=(4 << 30) - 1);
    set!(queue.max_bytes, r.size(block.max_queued_bytes.as_ref(), at, key, range));
    set!(queue.overflow, r.get(block.overflow.as_ref(), at, "overflow").map(overflow));
    let (key, range) = ("max_uncommitted_bytes", 64 << 10..=MANY);
    let bytes = r.size(block.max_uncommitted_bytes.as_ref(), at, key, range);
    set!(core.max_uncommitted_bytes, bytes);
    let (key, range) = ("max_sn_topics_per_client", 1..=65_534);
    let topics = r.number(block.max_sn_topics_per_client.as_ref(), at, key, range);
    set!(core.mqtt_sn.max_topics_per_client, topics);
}

fn log(reader: &mut Reader<'_>, file: &File, root: &Place) -> Log {
    let at = root.at("log");
    let block = file.log.as_ref();
    let level = block.and_then(|log| reader.get(log.level.as_ref(), &at, "level"));
    let format = block.and_then(|log| reader.get(log.format.as_ref(), &at, "format"));
    Log { level: level.unwrap_or(LogLevel::Info), format: format.unwrap_or(LogFormat::Auto) }
}

/// What `motegate dev` runs with.
pub(crate) fn dev(expose: bool) -> Resolved {
    let mut core = Core { durable: false, ..Core::default() };
    let listeners: Vec<Bind> = listeners::dev(expose, &mut core);
    Resolved {
        core,
        table: Arc::new(Table::passthrough("mqtt")),
        listeners,
        rules: 0,
        max_connections: 100_000,
        data_dir: PathBuf::from("./motegate-data"),
        durability: Durability::None,
        log: Log { level: LogLevel::Info, format: LogFormat::Auto },
        warnings: Vec::new(),
    }
}
