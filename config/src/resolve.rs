//! From the file as written to what the gateway is built from.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

use motegate_core::settings::{Overflow, SharedStrategy, TakeoverWill, Utf8};
use motegate_core::{Config as Core, ConnectRate, FailureRate};
use motegate_mapping::{
    Caller, CoapMethod, Managed, Place, Preset, Rate, RuleError, RuleErrorKind, Rules, Table,
    TemplateError,
};
use motegate_message::{TopicName, has_disallowed};

use crate::diagnostic::{Code, Diagnostic};
use crate::document::Document;
use crate::file::{Coap, File, Gateway, Limits, Mqtt, MqttSn};
use crate::reader::Reader;
use crate::tests::Places;
use crate::value::{
    DenyWord, Durability, EchoWord, KeepWord, LogFormat, LogLevel, MqttVersion, OverflowWord,
    PerSecond, PerTime, RebindWord, SharedWord, TakeoverWord, Utf8Word,
};
use crate::{Bind, Log, Resolved, directory, discovery, listeners, rules, users};

/// Replaces defaults by what the block says: `key => target`.
macro_rules! take {
    ($r:ident, $block:ident, $at:ident: $($key:ident => $($target:expr),+;)+) => {
        $(if let Some(value) = $r.get($block.$key.as_ref(), $at, stringify!($key)) {
            $($target = narrow(value);)+
        })+
    };
}

/// A value in its target's type; ranges were checked when it was read.
pub(crate) fn narrow<A, B: TryFrom<A>>(value: A) -> B
where
    B::Error: std::fmt::Debug,
{
    B::try_from(value).expect("the range of the key fits its type")
}

/// What became of it, what was found, and the files that values name.
type Read = (Option<Resolved>, Vec<Diagnostic>, Vec<PathBuf>);

/// Reads every block.
pub(crate) fn resolve(file: &File, document: &Document) -> Read {
    let has_users = file.users.as_ref().is_some_and(|users| !users.is_empty());
    let (found, files) = (Vec::new(), Vec::new());
    let presets = file.mappings.as_ref().and_then(|mappings| mappings.presets.as_ref());
    let emqx = Preset::EmqxPs.as_str();
    let has_emqx = presets.is_some_and(|all| all.iter().any(|one| one.text == emqx));
    let mut reader =
        Reader { document, found, listeners_unread: false, has_users, has_emqx, files };
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
    core.users =
        users::read(&mut reader, file.users.as_deref().unwrap_or_default(), &root.at("users"))
            .into();
    let binds = listeners::read(&mut reader, file.listeners.as_deref(), &mut core, max_connections);
    let groups = discovery::joined(&mut reader, file, &root, &binds);
    let directory = directory::read(&mut reader, file, &core, &binds);
    let log = log(&mut reader, file, &root);
    let (rules, count) = rules::read(&mut reader, file, &core);
    let table = table(&mut reader, rules);
    if let Some(table) = &table {
        connections(&mut reader, (&core, table), &root.at("listeners"));
    }
    let tests = crate::tests::read(&mut reader, file.tests.as_deref().unwrap_or_default(), &core);
    let Reader { found, files, .. } = reader;
    if found.iter().any(Diagnostic::is_error) {
        return (None, found, files);
    }
    let resolved = table.map(|table| Resolved {
        core,
        table,
        listeners: binds,
        groups,
        directory,
        rules: count,
        max_connections,
        data_dir_given: data_dir.is_some(),
        data_dir: PathBuf::from(data_dir.unwrap_or_else(|| "./motegate-data".into())),
        durability,
        log,
        tests,
        places: Places::default(),
        warnings: Vec::new(),
        warned: Vec::new(),
        files: Vec::new(),
    });
    (resolved, found, files)
}

/// Warns of a listener where clients must connect and cannot: without the preset, or because a rule
/// takes the path.
fn connections(reader: &mut Reader<'_>, (core, table): (&Core, &Table), at: &Place) {
    let path = ["mqtt", "connection"].map(str::to_owned);
    let mut warned: Option<&str> = None;
    for listener in core.listeners.iter().filter(|listener| listener.connection_required) {
        let caller = Caller {
            listener: &listener.name,
            client: "",
            identity: None,
            tenant: &listener.tenant,
            gateway: &core.gateway_name,
            source_ip: Ipv4Addr::LOCALHOST.into(),
            mount: &listener.mount,
        };
        let found = table.managed(&caller, None, &path);
        if found == Some(Managed::Connection) || warned == Some(&listener.name) {
            continue;
        }
        warned = Some(&listener.name);
        let taken = table.coap(&caller, None, CoapMethod::Post, &path, &[]);
        let (why, fix) = match taken {
            Ok(mapped) if table.has_connections() => (
                format!("rule {} takes /mqtt/connection", mapped.rule),
                "give the rule a narrower path",
            ),
            _ => (
                "`connection_required` needs the preset `emqx-ps`".into(),
                "add it to `mappings.presets`, or take `connection_required` out",
            ),
        };
        let text = format!("nobody may connect to listener {}: {why}", listener.name);
        let found = Diagnostic::new(Code::NobodyMayConnect, text, fix);
        reader.found.push(found.at(reader.document.key(at)));
    }
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
            let reported = reader.found.iter().any(Diagnostic::is_error);
            let missing = reader.found.iter().any(|d| d.code == Code::Missing);
            let empty = RuleErrorKind::Template(TemplateError::Empty);
            let present = |e: &RuleError| {
                !reported
                    || reader.document.node(&e.place).is_some() && !(missing && e.kind == empty)
            };
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
    take! { reader, block, at: sn_gateway_id => core.mqtt_sn.gateway_id; }
}

fn mqtt(reader: &mut Reader<'_>, block: Option<&Mqtt>, at: &Place, core: &mut Core) {
    let Some(block) = block else { return };
    let queue = &mut core.queue;
    take! { reader, block, at: queue_qos0 => queue.queue_qos0; }
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
    if let Some(word) = reader.get(block.shared_strategy.as_ref(), at, "shared_strategy") {
        core.broker.shared_strategy = match word {
            SharedWord::RoundRobin => SharedStrategy::RoundRobin,
            SharedWord::Sticky => SharedStrategy::Sticky,
            SharedWord::HashTopic => SharedStrategy::HashTopic,
        };
    }
    if let Some(word) = reader.get(block.takeover_will.as_ref(), at, "takeover_will") {
        core.broker.takeover_will = match word {
            TakeoverWord::Published => TakeoverWill::Published,
            TakeoverWord::EndedSession => TakeoverWill::EndedSession,
        };
    }
    let (sn, sys_interval) = (&mut core.mqtt_sn, &mut core.sys_interval);
    take! { reader, block, at:
        sys_interval => *sys_interval;
        max_qos => config.max_qos;
        retain_available => config.retain_available;
        wildcard_subscriptions => config.wildcard_subscriptions;
        shared_subscriptions => config.shared_subscriptions;
        subscription_identifiers => config.subscription_identifiers;
        max_keep_alive => config.max_keep_alive;
        max_session_expiry => config.max_session_expiry, sn.session_expiry;
        topic_alias_maximum => config.topic_alias_maximum;
        receive_maximum => config.receive_maximum;
        max_awaiting_release => config.max_awaiting_release;
        max_inflight => config.max_inflight;
        server_moved => config.server_moved;
        validate_payload_format => config.validate_payload_format;
    }
    if let Some(word) = reader.get(block.utf8.as_ref(), at, "utf8") {
        config.utf8 = match word {
            Utf8Word::Strict => Utf8::Strict,
            Utf8Word::Lenient => Utf8::Lenient,
        };
    }
    if let Some(word) = reader.get(block.deny.as_ref(), at, "deny") {
        config.deny_disconnects = word == DenyWord::Disconnect;
    }
    mqtt_texts(reader, block, at, config);
}

/// Texts that clients are told.
fn mqtt_texts(
    reader: &mut Reader<'_>,
    block: &Mqtt,
    at: &Place,
    config: &mut motegate_core::settings::Mqtt,
) {
    if let Some(text) =
        reader.get(block.assigned_client_id_prefix.as_ref(), at, "assigned_client_id_prefix")
    {
        if text.len() > 64 || has_disallowed(&text) {
            let text = "no start of a client id";
            let fix = "write up to 64 bytes without control characters";
            reader.report(&at.at("assigned_client_id_prefix"), Code::Value, text, fix);
        }
        config.assigned_prefix = text;
    }
    if let Some(text) = reader.get(block.response_prefix.as_ref(), at, "response_prefix") {
        if !text.is_empty() && (text.len() > 1024 || TopicName::new(&text).is_err()) {
            let text = "no start of a topic";
            let fix = "write up to 1,024 bytes without + and #, such as `reply/`";
            reader.report(&at.at("response_prefix"), Code::Value, text, fix);
        }
        config.response_prefix = text;
    }
    if let Some(text) = reader.get(block.server_reference.as_ref(), at, "server_reference") {
        if text.len() > 1024 || has_disallowed(&text) {
            let text = "no name of a server";
            let fix = "write HOST or HOST:PORT";
            reader.report(&at.at("server_reference"), Code::Value, text, fix);
        }
        config.server_reference = text;
    }
}

fn mqtt_sn(r: &mut Reader<'_>, block: Option<&MqttSn>, at: &Place, core: &mut Core) {
    let Some(block) = block else { return };
    let config = &mut core.mqtt_sn;
    // MQTT-SN 1.2 §5.4.21: two bytes of seconds, which 24 h exceed; the wire is the bound then.
    take! { r, block, at:
        retry_timeout => config.retry_timeout;
        max_retries => config.max_retries;
        max_sleep => config.max_sleep;
    }
    config.forwarders = discovery::forwarders(r, block.forwarders.as_ref(), at);
    if let Some(word) = r.get(block.rebind.as_ref(), at, "rebind") {
        use motegate_core::settings::Rebind;
        config.rebind = match word {
            RebindWord::SameHost => Rebind::SameHost,
            RebindWord::Any => Rebind::Any,
            RebindWord::Never => Rebind::Never,
        };
    }
    discovery::advertise(r, block.advertise.as_ref(), at, core);
    let (at, Some(block)) = (&at.at("when_asleep"), &block.when_asleep) else { return };
    let queue = &mut core.when_asleep;
    take! { r, block, at: max_messages => queue.max_messages; max_bytes => queue.max_bytes; }
    if let Some(word) = r.get(block.overflow.as_ref(), at, "overflow") {
        if word == OverflowWord::Disconnect {
            let fix = "write drop_oldest, drop_newest or latest_per_topic";
            let text = "a sleeping client cannot be disconnected";
            r.report(&at.at("overflow"), Code::Value, text, fix);
        }
        queue.overflow = overflow(word);
    }
    if let Some(word) = r.get(block.qos0.as_ref(), at, "qos0") {
        queue.queue_qos0 = word == KeepWord::Keep;
    }
}

/// Who writes another rate than the default means loopback too.
pub(crate) fn connect_rate(rate: PerTime, default: ConnectRate) -> ConnectRate {
    let spared = ConnectRate { count: rate.count, per: rate.per, spares_loopback: true };
    ConnectRate { spares_loopback: spared == default, ..spared }
}

pub(crate) fn overflow(word: OverflowWord) -> Overflow {
    match word {
        OverflowWord::DropOldest => Overflow::DropOldest,
        OverflowWord::DropNewest => Overflow::DropNewest,
        OverflowWord::Disconnect => Overflow::Disconnect,
        OverflowWord::LatestPerTopic => Overflow::LatestPerTopic,
    }
}

fn coap(r: &mut Reader<'_>, block: Option<&Coap>, at: &Place, core: &mut Core) {
    let Some(block) = block else { return };
    use motegate_core::settings::EchoWhen;
    take! { r, block, at: heartbeat => core.coap_heartbeat; }
    let config = &mut core.coap;
    // RFC 7252 §4.8.1: ACK_RANDOM_FACTOR is not below 1; its range says so.
    if let Some(factor) = r.get(block.ack_random_factor.as_ref(), at, "ack_random_factor") {
        // Its range: neither cut nor negative.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let permille = (factor.0 * 1000.0).round() as u32;
        config.ack_random_factor_permille = permille;
    }
    take! { r, block, at:
        ack_timeout => config.ack_timeout;
        max_retransmit => config.max_retransmit;
        nstart => config.nstart;
        block_size => config.block_size;
        max_body => config.max_body;
        block_timeout => config.block_timeout;
        notify_confirmable_every => config.notify_confirmable_every;
        max_message_size => config.max_message_size;
        idle_timeout => config.idle_timeout;
    }
    // Room for some of the largest, each of which may take twice its size while it grows.
    config.max_block_bytes = config.max_block_bytes.max(config.max_body.saturating_mul(4));
    let (at, Some(block)) = (&at.at("unverified_peer"), &block.unverified_peer) else { return };
    take! { r, block, at: amplification => config.unverified.amplification; }
    if let Some(word) = r.get(block.echo.as_ref(), at, "echo") {
        config.unverified.echo = match word {
            EchoWord::Auto => EchoWhen::Auto,
            EchoWord::Always => EchoWhen::Always,
            EchoWord::Off => EchoWhen::Off,
        };
    }
}

/// Reads `limits`; returns the most connections.
fn limits(r: &mut Reader<'_>, block: Option<&Limits>, at: &Place, core: &mut Core) -> usize {
    let mut max_connections = 100_000;
    let Some(block) = block else { return max_connections };
    let Core { mqtt, mqtt_sn, coap, broker, queue, .. } = core;
    take! { r, block, at:
        max_connections => max_connections;
        max_half_open => mqtt.max_half_open;
        max_will_payload => mqtt.max_will_payload;
        max_connection_age => mqtt.max_connection_age;
        connect_timeout => mqtt.connect_timeout;
        auth_timeout => mqtt.auth_timeout;
        max_connect_size => mqtt.max_connect_size;
        max_packet_size => mqtt.max_packet_size;
        max_client_id_length => mqtt.max_client_id_length, mqtt_sn.max_client_id_length;
        max_topic_length => mqtt.max_topic_length;
        max_topic_levels => mqtt.max_topic_levels;
        max_user_properties => mqtt.max_user_properties;
        max_user_property_bytes => mqtt.max_user_property_bytes;
        max_outbox_bytes => mqtt.max_outbox_bytes;
        write_stall_timeout => mqtt.write_stall_timeout;
        max_sessions => broker.max_sessions, mqtt_sn.max_clients;
        max_subscriptions_per_session => broker.max_subscriptions_per_session;
        max_subscription_bytes_per_session => broker.max_subscription_bytes_per_session;
        max_subscriptions => broker.max_subscriptions;
        max_share_groups => broker.max_share_groups;
        max_memory_queued => broker.max_memory_queued;
        max_disk_queued => broker.max_disk_queued;
        max_retained_messages => broker.max_retained_messages;
        max_retained_bytes => broker.max_retained_bytes;
        max_queued_messages => queue.max_messages;
        max_queued_bytes => queue.max_bytes;
        max_uncommitted_bytes => core.max_uncommitted_bytes;
        max_sn_topics_per_client => mqtt_sn.max_topics_per_client;
        max_observers => coap.max_observers;
        max_observers_per_peer => coap.max_observers_per_peer;
        max_observers_per_topic => core.max_observers_per_topic;
        max_blocks_in_progress_per_peer => coap.max_blocks_in_progress_per_peer;
        max_exchanges => coap.max_exchanges;
        max_pubsub_topics => core.max_pubsub_topics;
        max_pubsub_topic_size => core.max_pubsub_topic_size;
        max_coap_logins => core.max_coap_logins;
    }
    if let Some(Rate { count, per }) =
        r.get(block.max_auth_failures.as_ref(), at, "max_auth_failures")
    {
        core.max_auth_failures = FailureRate { count, per };
    }
    if let Some(PerSecond(rate)) = r.get(block.max_publish_rate.as_ref(), at, "max_publish_rate") {
        mqtt.max_publish_rate = rate;
    }
    if let Some(PerSecond(rate)) =
        r.get(block.packet_rate_per_peer.as_ref(), at, "packet_rate_per_peer")
    {
        coap.max_request_rate = rate;
    }
    for (rate, key, target) in [
        (&block.max_connect_rate, "max_connect_rate", &mut core.max_connect_rate),
        (
            &block.max_connect_rate_per_address,
            "max_connect_rate_per_address",
            &mut core.max_connect_rate_per_address,
        ),
    ] {
        if let Some(rate) = r.get(rate.as_ref(), at, key) {
            *target = connect_rate(rate, *target);
        }
    }
    if let Some(word) = r.get(block.overflow.as_ref(), at, "overflow") {
        core.queue.overflow = overflow(word);
    }
    connection_bounds(core);
    max_connections
}

/// Connections of CoAP have the bounds of MQTT's.
fn connection_bounds(core: &mut Core) {
    let Core { mqtt, coap, .. } = core;
    coap.connect_timeout = mqtt.connect_timeout;
    coap.max_half_open = mqtt.max_half_open;
    coap.max_outbox_bytes = mqtt.max_outbox_bytes;
    coap.write_stall_timeout = mqtt.write_stall_timeout;
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
        groups: Vec::new(),
        directory: None,
        rules: 0,
        max_connections: 100_000,
        data_dir: PathBuf::from("./motegate-data"),
        data_dir_given: false,
        durability: Durability::None,
        log: Log { level: LogLevel::Info, format: LogFormat::Auto },
        tests: Vec::new(),
        places: Places::default(),
        warnings: Vec::new(),
        warned: Vec::new(),
        files: Vec::new(),
    }
}
