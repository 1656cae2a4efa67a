//! Retained messages: stored, live, as published, cleared.

use motegate_tests::matrix::peer::Version;
use motegate_tests::matrix::world::{Row, World};
use motegate_tests::matrix::{Outcome, same};
use serde_json::json;

use super::both_ways;

/// As publisher and as subscriber.
pub(super) fn retain(world: &World, row: Row, qos: u64) -> Outcome {
    both_ways(world, row, qos, kept)
}

fn kept(world: &World, publisher: Row, subscriber: Row, qos: u64) -> Outcome {
    let root = world.fresh("retain");
    let (topic, payload) = (format!("{root}/value"), "21 \u{b0}C");
    let publisher = world.client(publisher)?;
    publisher.publish_with(&topic, payload, qos, true, json!({}))?;
    // Its own acknowledgement says that the one before it is in, at QoS 0 too.
    publisher.publish("in", "", 1)?;
    // Stored: RETAIN 1, at most the QoS granted.
    let late = world.client(subscriber)?;
    late.subscribe(&topic, 1)?;
    late.expect(&topic, payload, qos.min(1), true)?;
    // Live: RETAIN 0 unless the subscription asks for it.
    publisher.publish_with(&topic, "live", qos, true, json!({}))?;
    late.expect(&topic, "live", qos.min(1), false)?;
    late.disconnect()?;
    let as_published = subscriber.version == Version::V5;
    let watcher = world.client(subscriber)?;
    let options = if as_published { json!({"retain_as_published": true}) } else { json!({}) };
    same("SUBACK", watcher.subscribe_with(&format!("{root}/#"), 2, options)?, vec![2])?;
    watcher.expect(&topic, "live", qos, true)?;
    // An empty one clears it, and is delivered.
    publisher.publish_with(&topic, "", qos, true, json!({}))?;
    watcher.expect(&topic, "", qos, as_published)?;
    let late = world.client(subscriber)?;
    late.subscribe(&format!("{root}/#"), 1)?;
    publisher.publish(&format!("{root}/mark"), "mark", 1)?;
    late.expect(&format!("{root}/mark"), "mark", 1, false)?;
    late.disconnect()?;
    watcher.disconnect()?;
    publisher.disconnect()
}
