//! Sessions that outlive their connection.

use motegate_tests::matrix::client::Client;
use motegate_tests::matrix::peer::{Make, Version};
use motegate_tests::matrix::world::{Row, World};
use motegate_tests::matrix::{Outcome, ensure, same};
use serde_json::json;

use super::partners;

/// What was published meanwhile arrives after the return, in order and once: after a goodbye, and
/// after a connection that broke. At QoS 0 nothing is kept but the subscription.
pub(super) fn session(world: &World, row: Row, qos: u64) -> Outcome {
    for partner in partners(world, row, qos) {
        away(world, row, partner, qos).map_err(|error| format!("from {partner}: {error}"))?;
    }
    Ok(())
}

fn away(world: &World, row: Row, publisher: Row, qos: u64) -> Outcome {
    let (topic, id) = (world.fresh("session"), world.fresh("keeper"));
    let mut command = json!({"id": id, "clean": false});
    if row.version == Version::V5 {
        command["properties"] = json!({"session_expiry_interval": 60});
    }
    let publisher = world.client(publisher)?;
    let mut client = world.accepted(row, command.clone())?;
    same("session present", client.connack["session_present"] == true, false)?;
    client.subscribe(&topic, qos)?;
    publisher.publish(&topic, "here", qos)?;
    client.expect(&topic, "here", qos, false)?;
    for broken in [false, true] {
        client.settle()?;
        if broken {
            client.kill()?;
        } else {
            client.disconnect()?;
        }
        for number in 0..3 {
            publisher.publish(&topic, &number.to_string(), qos)?;
        }
        // Behind them: they are in, at QoS 0 too.
        publisher.publish("in", "", 1)?;
        client = world.accepted(row, command.clone())?;
        resumed(&client, &topic, qos)?;
        for number in 0..3 {
            if qos > 0 {
                client.expect(&topic, &number.to_string(), qos, false)?;
            }
        }
        publisher.publish(&topic, "back", qos)?;
        client.expect(&topic, "back", qos, false)?;
        ensure(!client.has_message(), || "a message came twice".to_owned())?;
    }
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

fn resumed(client: &Client, topic: &str, qos: u64) -> Outcome {
    if client.make == Make::Mosquitto {
        // It connects now, and subscribes again as it always does.
        return client.subscribe(topic, qos);
    }
    // 3.1 has no such flag.
    let wanted = client.version != Version::V31;
    same("session present", client.connack["session_present"] == true, wanted)
}
