//! Sessions that outlive their connection.

use motegate_tests::matrix::peer::{Make, Version};
use motegate_tests::matrix::world::{Row, World};
use motegate_tests::matrix::{Outcome, ensure, same};
use serde_json::json;

use super::VERSIONS;

/// What was published meanwhile by each version arrives after the return, in order and once.
pub(super) fn session(world: &World, row: Row) -> Outcome {
    for version in VERSIONS {
        let partner = world.partner(row, version);
        away(world, row, partner).map_err(|error| format!("from {partner}: {error}"))?;
    }
    Ok(())
}

fn away(world: &World, row: Row, publisher: Row) -> Outcome {
    let (topic, id) = (world.fresh("session"), world.fresh("keeper"));
    let mut command = json!({"id": id, "clean": false});
    if row.version == Version::V5 {
        command["properties"] = json!({"session_expiry_interval": 60});
    }
    let publisher = world.client(publisher)?;
    let client = world.accepted(row, command.clone())?;
    same("session present", client.connack["session_present"] == true, false)?;
    client.subscribe(&topic, 2)?;
    publisher.publish(&topic, "here", 2)?;
    client.expect(&topic, "here", 2, false)?;
    client.disconnect()?;
    for number in 0..6 {
        publisher.publish(&topic, &number.to_string(), 1 + number % 2)?;
    }
    let client = world.accepted(row, command.clone())?;
    if row.make == Make::Mosquitto {
        // It connects now, and subscribes again as it always does.
        client.subscribe(&topic, 2)?;
    } else {
        // 3.1 has no such flag.
        let wanted = row.version != Version::V31;
        same("session present", client.connack["session_present"] == true, wanted)?;
    }
    // In order among those of one QoS: most clients show a message of QoS 2 at its PUBREL.
    let mut got = Vec::new();
    for _ in 0..6 {
        let message = client.message()?;
        got.push((message.qos, message.payload));
    }
    got.sort_by_key(|(qos, _)| *qos);
    let wanted = [(1, "0"), (1, "2"), (1, "4"), (2, "1"), (2, "3"), (2, "5")];
    same("while away", got, wanted.map(|(qos, payload)| (qos, payload.to_owned())).to_vec())?;
    publisher.publish(&topic, "back", 1)?;
    client.expect(&topic, "back", 1, false)?;
    ensure(!client.has_message(), || "a message came twice".to_owned())?;
    client.disconnect()?;
    command["clean"] = true.into();
    command["properties"] = json!({});
    let last = world.accepted(row, command)?;
    same("session present", last.connack["session_present"] == true, false)?;
    if row.make == Make::Mosquitto {
        last.subscribe(&world.fresh("nothing"), 0)?;
    }
    last.disconnect()?;
    publisher.disconnect()
}
