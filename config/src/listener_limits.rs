//! `limits` under a listener: its own bounds, none above the gateway's.

use std::sync::Arc;
use std::time::Duration;

use motegate_core::{Config as Core, ListenerLimits};
use motegate_mapping::Place;

use crate::diagnostic::Code;
use crate::file;
use crate::reader::Reader;
use crate::resolve::{connect_rate, narrow, overflow};
use crate::value::{PerSecond, PerTime, Size, Value};

/// Reads the block; `max_connections` is the gateway's.
pub(crate) fn read(
    reader: &mut Reader<'_>,
    block: Option<&file::ListenerLimits>,
    at: &Place,
    core: &Core,
    max_connections: usize,
) -> Option<Arc<ListenerLimits>> {
    let block = block?;
    let mut own = ListenerLimits {
        max_connections,
        max_connect_rate: core.max_connect_rate,
        max_connect_rate_per_address: core.max_connect_rate_per_address,
        mqtt: core.mqtt.clone(),
        queue: core.queue,
    };
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
        connect_timeout => mqtt.connect_timeout, same;
        max_connect_size => mqtt.max_connect_size, small;
        max_packet_size => mqtt.max_packet_size, small;
        max_client_id_length => mqtt.max_client_id_length, number;
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
    rates(reader, block, at, core, &mut own);
    if let Some(word) = reader.get(block.overflow.as_ref(), at, "overflow") {
        own.queue.overflow = overflow(word);
    }
    Some(Arc::new(own))
}

/// Those of which 0 is no bound at all.
fn rates(
    reader: &mut Reader<'_>,
    block: &file::ListenerLimits,
    at: &Place,
    core: &Core,
    own: &mut ListenerLimits,
) {
    let key = "max_publish_rate";
    if let Some(rate) = reader.get(block.max_publish_rate.as_ref(), at, key)
        && is_within(reader, at, key, &rate, &PerSecond(core.mqtt.max_publish_rate))
    {
        own.mqtt.max_publish_rate = rate.0;
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
