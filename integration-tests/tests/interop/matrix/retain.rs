//! Retained messages: stored, live, as published, cleared.

use motegate_tests::matrix::peer::Version;
use motegate_tests::matrix::world::{Row, World};
use motegate_tests::matrix::{Outcome, same};
use serde_json::json;

use super::VERSIONS;

/// With each version, as publisher and as subscriber.
pub(super) fn retain(world: &World, row: Row) -> Outcome {
    for version in VERSIONS {
        let partner = world.partner(row, version);
        kept(world, row, partner).map_err(|error| format!("to {partner}: {error}"))?;
        kept(world, partner, row).map_err(|error| format!("from {partner}: {error}"))?;
    }
    Ok(())
}

fn kept(world: &World, publisher: Row, subscriber: Row) -> Outcome {
    let root = world.fresh("retain");
    let (topic, payload) = (format!("{root}/value"), "21 \u{b0}C");
    let publisher = world.client(publisher)?;
    for qos in 0..=2 {
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
    }
    let as_published = subscriber.version == Version::V5;
    let watcher = world.client(subscriber)?;
    let options = if as_published { json!({"retain_as_published": true}) } else { json!({}) };
    same("SUBACK", watcher.subscribe_with(&format!("{root}/#"), 1, options)?, vec![1])?;
    watcher.expect(&topic, "live", 1, true)?;
    // An empty one clears it, and is delivered.
    publisher.publish_with(&topic, "", 1, true, json!({}))?;
    watcher.expect(&topic, "", 1, as_published)?;
    let late = world.client(subscriber)?;
    late.subscribe(&format!("{root}/#"), 1)?;
    publisher.publish(&format!("{root}/mark"), "mark", 1)?;
    late.expect(&format!("{root}/mark"), "mark", 1, false)?;
    late.disconnect()?;
    watcher.disconnect()?;
    publisher.disconnect()
}
