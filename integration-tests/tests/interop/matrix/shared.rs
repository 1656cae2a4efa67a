//! Shared subscriptions of members that are different clients of different versions. `$share` is
//! of 5.0, and served to the elder versions as well.

use motegate_tests::matrix::client::Client;
use motegate_tests::matrix::peer::{Make, Version};
use motegate_tests::matrix::world::{Row, World};
use motegate_tests::matrix::{Outcome, ensure, same};
use serde_json::json;

use super::partners;

/// Messages of one publisher.
const COUNT: u64 = 6;

/// With another member.
pub(super) fn shared(world: &World, row: Row, qos: u64) -> Outcome {
    for partner in partners(world, row, qos) {
        divided(world, row, partner, qos).map_err(|error| format!("with {partner}: {error}"))?;
    }
    Ok(())
}

fn divided(world: &World, first: Row, second: Row, qos: u64) -> Outcome {
    let root = world.fresh("shared");
    let topic = format!("{root}/job");
    let publisher = world.client(world.partner(first, second.version))?;
    let id = world.fresh("member");
    let members = [world.accepted(first, json!({ "id": id }))?, world.client(second)?];
    for member in &members {
        member.subscribe(&format!("$share/{root}/{root}/+"), 2)?;
    }
    for number in 0..COUNT {
        publisher.publish(&topic, &number.to_string(), qos)?;
    }
    // Taken in turn, so that each has half of them.
    let mut got = Vec::new();
    for member in &members {
        for _ in 0..COUNT / 2 {
            got.push(number(member, &topic, qos)?);
        }
        ensure(!member.has_message(), || "a message came to both".to_owned())?;
    }
    got.sort_unstable();
    same("messages of both", got, (0..COUNT).collect::<Vec<u64>>())?;
    // One leaves, the other has the rest.
    let [first, second] = members;
    first.settle()?;
    first.disconnect()?;
    // The gateway has seen it go, or sees it now: another comes by its id.
    world.accepted(Row::tcp(Make::MqttJs, Version::V5), json!({ "id": id }))?.disconnect()?;
    for number in 0..2 {
        publisher.publish(&topic, &number.to_string(), qos)?;
        second.expect(&topic, &number.to_string(), qos, false)?;
    }
    ensure(!second.has_message(), || "a message came twice".to_owned())?;
    second.disconnect()?;
    publisher.disconnect()
}

fn number(member: &Client, topic: &str, qos: u64) -> Outcome<u64> {
    let message = member.message()?;
    same("message", (message.topic.as_str(), message.qos, message.retain), (topic, qos, false))?;
    message.payload.parse().map_err(|_| format!("not ours: {message:?}"))
}
