//! Shared subscriptions of members that are different clients of different versions.

use motegate_tests::matrix::client::Client;
use motegate_tests::matrix::world::{Row, World};
use motegate_tests::matrix::{Outcome, ensure, same};

use super::VERSIONS;

/// Messages of one publisher.
const COUNT: u64 = 12;

/// With a member of each version.
pub(super) fn shared(world: &World, row: Row) -> Outcome {
    for version in VERSIONS {
        let partner = world.partner(row, version);
        divided(world, row, partner).map_err(|error| format!("with {partner}: {error}"))?;
    }
    Ok(())
}

fn divided(world: &World, first: Row, second: Row) -> Outcome {
    let root = world.fresh("shared");
    let publisher = world.client(world.partner(first, second.version))?;
    let members = [world.client(first)?, world.client(second)?];
    for member in &members {
        member.subscribe(&format!("$share/{root}/{root}/+"), 2)?;
    }
    let mut got = Vec::new();
    for number in 0..COUNT {
        publisher.publish(&format!("{root}/job"), &number.to_string(), number % 3)?;
    }
    // Taken in turn, so that each has half of them.
    for member in &members {
        for _ in 0..COUNT / 2 {
            got.push(number(member)?);
        }
    }
    got.sort_unstable();
    same("messages of both", got, (0..COUNT).collect::<Vec<u64>>())?;
    // One leaves, the other has the rest.
    let [first, second] = members;
    first.disconnect()?;
    for number in 0..3 {
        publisher.publish(&format!("{root}/job"), &number.to_string(), 1)?;
        second.expect(&format!("{root}/job"), &number.to_string(), 1, false)?;
    }
    ensure(!second.has_message(), || "a message came twice".to_owned())?;
    second.disconnect()?;
    publisher.disconnect()
}

fn number(member: &Client) -> Outcome<u64> {
    let message = member.message()?;
    message.payload.parse().map_err(|_| format!("not ours: {message:?}"))
}
