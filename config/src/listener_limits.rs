//! `limits` under a listener: its own bounds, none above the gateway's; and which bounds belong to no
//! listener.

use std::sync::Arc;
use std::time::Duration;

use motegate_core::{Config as Core, FailureRate, ListenerLimits, Protocol};
use motegate_mapping::{Place, Rate};

use crate::diagnostic::Code;
use crate::document::Kind as NodeKind;
use crate::file;
use crate::reader::Reader;
use crate::resolve::{connect_rate, narrow, overflow};
use crate::schema;
use crate::transport::Kind;
use crate::value::{PerSecond, PerTime, Size, Value};

/// Bounds of `limits` that hold for all listeners together, and why.
const OF_ALL: &[(&str, &str)] = &[
    ("max_sessions", "a session outlives its connection, and listeners of one realm share it"),
    (
        "max_subscriptions",
        "it bounds those of all sessions together; `max_subscriptions_per_session` can stand here",
    ),
    ("max_share_groups", "the members of a group come by any listener"),
    (
        "max_memory_queued",
        "the queues of all sessions share this memory; `max_queued_messages` and \
         `max_queued_bytes` can stand here",
    ),
    (
        "max_disk_queued",
        "the queues of all sessions share this disk; `max_queued_messages` and `max_queued_bytes` \
         can stand here",
    ),
    ("max_uncommitted_bytes", "there is one store, that all clients wait for"),
    ("max_retained_messages", "a retained message is its topic's, whoever has published it"),
    ("max_retained_bytes", "a retained message is its topic's, whoever has published it"),
    (
        "max_observers",
        "it bounds those of all CoAP clients together; `max_observers_per_peer` can stand here",
    ),
    ("max_observers_per_topic", "a topic's observers come by any listener"),
    ("max_exchanges", "one table remembers the requests of all CoAP clients"),
    ("max_pubsub_topics", "one table keeps the topics of all collections"),
    ("max_coap_logins", "a client that has connected goes on by any listener of its realm"),
    ("max_pubsub_topic_size", "a topic's configuration is the topic's, whoever has made it"),
];

/// Why a key of `limits` cannot stand under a listener, if it cannot.
pub(crate) fn of_all(key: &str) -> Option<&'static str> {
    OF_ALL.iter().find(|(name, _)| *name == key).map(|(_, why)| *why)
}

/// Those that MQTT-SN's clients have, too.
const OF_SN: &[&str] = &[
    "max_connect_rate",
    "max_connect_rate_per_address",
    "max_client_id_length",
    "max_topic_length",
    "max_topic_levels",
    "max_subscriptions_per_session",
    "max_subscription_bytes_per_session",
    "max_queued_messages",
    "max_queued_bytes",
    "overflow",
    "max_sn_topics_per_client",
];
/// Those of CoAP.
const OF_COAP: &[&str] = &[
    "max_topic_length",
    "max_topic_levels",
    "max_observers_per_peer",
    "packet_rate_per_peer",
    "max_blocks_in_progress_per_peer",
];

/// Those that its connections have, too.
const OF_COAP_CONNECTIONS: &[&str] = &[
    "max_connections",
    "max_half_open",
    "connect_timeout",
    "max_outbox_bytes",
    "write_stall_timeout",
];

fn is_for(key: &str, protocol: Protocol) -> bool {
    match protocol {
        Protocol::Mqtt => {
            let topics = matches!(key, "max_topic_length" | "max_topic_levels");
            key != "max_sn_topics_per_client" && (topics || !OF_COAP.contains(&key))
        }
        Protocol::MqttSn => OF_SN.contains(&key),
        Protocol::Coap => OF_COAP.contains(&key),
    }
}

/// Reports bounds that mean nothing for what a listener speaks.
pub(crate) fn check_protocol(
    reader: &mut Reader<'_>,
    at: &Place,
    (protocol, word): (Protocol, &str),
) {
    let Some(NodeKind::Map(items)) = reader.document.node(at).map(|node| &node.kind) else {
        return;
    };
    let keys: Vec<String> = items.iter().map(|(key, _)| key.text.clone()).collect();
    let known = keys.iter().filter(|key| schema::at(&at.at(key.as_str())).is_some());
    let coap = protocol == Protocol::Coap && Kind::of(word).connections;
    let connections = |key: &str| coap && OF_COAP_CONNECTIONS.contains(&key);
    for key in known.filter(|key| !is_for(key, protocol) && !connections(key)) {
        let whom = match key.as_str() {
            "max_sn_topics_per_client" => "MQTT-SN clients",
            "max_observers_per_peer"
            | "packet_rate_per_peer"
            | "max_blocks_in_progress_per_peer" => "CoAP clients",
            _ if is_for(key, Protocol::MqttSn) => "MQTT and MQTT-SN clients",
            _ if OF_COAP_CONNECTIONS.contains(&key.as_str()) => "connections",
            _ => "MQTT connections",
        };
        let text = format!("`{key}` bounds {whom}: it means nothing for {word}");
        reader.report(&at.at(key.as_str()), Code::NotForProtocol, text, "remove the key");
    }
}

/// Reads the block; `max_connections` is the gateway's.
pub(crate) fn read(
    reader: &mut Reader<'_>,
    block: Option<&file::ListenerLimits>,
    at: &Place,
    core: &Core,
    max_connections: usize,
) -> Option<Arc<ListenerLimits>> {
    let block = block?;
    let mut own = ListenerLimits::of(core, max_connections);
    /// Lowers what the listener says: `key => target, in the file's own words`.
    macro_rules! lower {
        ($($key:ident => $target:expr, $words:expr;)+) => {
            $(if let Some(value) = reader.get(block.$key.as_ref(), at, stringify!($key)) {
                let words = $words;
                if is_within(reader, at, stringify!($key), &value, &words($target)) {
                    $target = narrow(value);
                }
            })+
        };
    }
    let number = |value: usize| value as u64;
    let small = |value: u32| Size(u64::from(value));
    let size = |value: usize| Size(value as u64);
    let same = |value: Duration| value;
    let mqtt = &mut own.mqtt;
    lower! {
        max_connections => own.max_connections, number;
        max_half_open => mqtt.max_half_open, number;
        connect_timeout => mqtt.connect_timeout, same;
        auth_timeout => mqtt.auth_timeout, same;
        max_connect_size => mqtt.max_connect_size, small;
        max_packet_size => mqtt.max_packet_size, small;
        max_client_id_length => mqtt.max_client_id_length, number;
        max_subscriptions_per_session => own.subscriptions.count, number;
        max_subscription_bytes_per_session => own.subscriptions.bytes, size;
        max_sn_topics_per_client => own.mqtt_sn.max_topics_per_client, number;
        max_observers_per_peer => own.coap.max_observers_per_peer, number;
        max_blocks_in_progress_per_peer => own.coap.max_blocks_in_progress_per_peer, number;
        max_topic_length => mqtt.max_topic_length, number;
        max_topic_levels => mqtt.max_topic_levels, number;
        max_user_properties => mqtt.max_user_properties, number;
        max_user_property_bytes => mqtt.max_user_property_bytes, size;
        max_will_payload => mqtt.max_will_payload, size;
        max_queued_messages => own.queue.max_messages, |value: u32| u64::from(value);
        max_queued_bytes => own.queue.max_bytes, small;
        max_outbox_bytes => mqtt.max_outbox_bytes, small;
        write_stall_timeout => mqtt.write_stall_timeout, same;
    }
    own.mqtt_sn.max_client_id_length = own.mqtt.max_client_id_length;
    own.coap.connect_timeout = own.mqtt.connect_timeout;
    own.coap.max_half_open = own.mqtt.max_half_open;
    own.coap.max_outbox_bytes = own.mqtt.max_outbox_bytes;
    own.coap.write_stall_timeout = own.mqtt.write_stall_timeout;
    rates(reader, block, at, core, &mut own);
    if let Some(word) = reader.get(block.overflow.as_ref(), at, "overflow") {
        own.queue.overflow = overflow(word);
    }
    Some(Arc::new(own))
}

/// Rates, and what of 0 is no bound at all.
fn rates(
    reader: &mut Reader<'_>,
    block: &file::ListenerLimits,
    at: &Place,
    core: &Core,
    own: &mut ListenerLimits,
) {
    let FailureRate { count, per } = core.max_auth_failures;
    let key = "max_auth_failures";
    if let Some(rate) = reader.get(block.max_auth_failures.as_ref(), at, key)
        && is_within(reader, at, key, &rate, &Rate { count, per })
    {
        own.max_auth_failures = Some(FailureRate { count: rate.count, per: rate.per });
    }
    let key = "max_publish_rate";
    if let Some(rate) = reader.get(block.max_publish_rate.as_ref(), at, key)
        && is_within(reader, at, key, &rate, &PerSecond(core.mqtt.max_publish_rate))
    {
        own.mqtt.max_publish_rate = rate.0;
    }
    let key = "packet_rate_per_peer";
    if let Some(rate) = reader.get(block.packet_rate_per_peer.as_ref(), at, key)
        && is_within(reader, at, key, &rate, &PerSecond(core.coap.max_request_rate))
    {
        own.coap.max_request_rate = rate.0;
    }
    for (rate, key, all, target) in [
        (
            &block.max_connect_rate,
            "max_connect_rate",
            core.max_connect_rate,
            &mut own.max_connect_rate,
        ),
        (
            &block.max_connect_rate_per_address,
            "max_connect_rate_per_address",
            core.max_connect_rate_per_address,
            &mut own.max_connect_rate_per_address,
        ),
    ] {
        let all = PerTime { count: all.count, per: all.per };
        if let Some(rate) = reader.get(rate.as_ref(), at, key)
            && is_within(reader, at, key, &rate, &all)
        {
            *target = connect_rate(rate, *target);
        }
    }
    let key = "max_connection_age";
    let Some(age) = reader.get(block.max_connection_age.as_ref(), at, key) else { return };
    let bound = |age: Duration| if age.is_zero() { Duration::MAX } else { age };
    if is_within(reader, at, key, &bound(age), &bound(core.mqtt.max_connection_age)) {
        own.mqtt.max_connection_age = age;
    }
}

/// Whether a listener's bound is not above the gateway's; reports it if it is.
fn is_within<T: Value>(reader: &mut Reader<'_>, at: &Place, key: &str, value: &T, all: &T) -> bool {
    let within = value.rank() <= all.rank();
    if !within {
        let text = format!("a listener's {key} cannot be above the gateway's");
        let fix = format!("lower it, or raise `limits: {{{key}: …}}`");
        reader.report(&at.at(key), Code::Range, text, fix);
    }
    within
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(place: &str) -> Vec<String> {
        let limits = match place {
            "limits" => schema::at(&Place::root().at("limits")),
            _ => schema::at(&Place::root().at("listeners").at(0).at("limits")),
        };
        let map = limits.and_then(|limits| schema::alternative(limits, "object")).unwrap();
        map["properties"].as_object().unwrap().keys().cloned().collect()
    }

    /// config.md: "any key of `limits`, for this listener only".
    #[test]
    fn each_bound_may_stand_under_a_listener_or_says_why_not() {
        let own = keys("listeners");
        for key in keys("limits") {
            assert!(own.contains(&key) != of_all(&key).is_some(), "{key}");
        }
        for key in &own {
            assert!(keys("limits").contains(key), "{key}");
            let some = [Protocol::Mqtt, Protocol::MqttSn, Protocol::Coap];
            assert!(some.into_iter().any(|protocol| is_for(key, protocol)), "{key}");
        }
        for key in OF_SN.iter().chain(OF_COAP) {
            assert!(own.iter().any(|own| own == key), "{key}");
        }
        for (key, _) in OF_ALL {
            assert!(keys("limits").iter().any(|all| all == key), "{key}");
        }
    }
}
