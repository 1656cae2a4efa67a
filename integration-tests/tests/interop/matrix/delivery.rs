//! QoS, and order.

use motegate_tests::matrix::client::Client;
use motegate_tests::matrix::peer::Version;
use motegate_tests::matrix::world::{Row, World};
use motegate_tests::matrix::{Outcome, ensure, same};

use super::VERSIONS;

/// Nine pairs of QoS with each version, as publisher and as subscriber: min(published, granted).
pub(super) fn qos(world: &World, row: Row) -> Outcome {
    for version in VERSIONS {
        let partner = world.partner(row, version);
        each_pair(world, row, partner).map_err(|error| format!("to {partner}: {error}"))?;
        each_pair(world, partner, row).map_err(|error| format!("from {partner}: {error}"))?;
    }
    Ok(())
}

fn each_pair(world: &World, publisher: Row, subscriber: Row) -> Outcome {
    let (publisher, subscriber) = (world.client(publisher)?, world.client(subscriber)?);
    let root = world.fresh("qos");
    for granted in 0..=2 {
        subscriber.subscribe(&format!("{root}/{granted}/+"), granted)?;
    }
    for published in 0..=2 {
        for granted in 0..=2 {
            let topic = format!("{root}/{granted}/\u{e4}");
            // Two bytes, three bytes and four.
            let payload = format!("\u{e9}\u{20ac}\u{1f321} {published}");
            publisher.publish(&topic, &payload, published)?;
            subscriber.expect(&topic, &payload, published.min(granted), false)?;
        }
    }
    ensure(!subscriber.has_message(), || format!("{root}: a message came twice"))?;
    publisher.disconnect()?;
    subscriber.disconnect()
}

/// Many at once of all QoS, some large, arrive in their order and once.
pub(super) fn order(world: &World, row: Row) -> Outcome {
    // 5.0 meets 3.1.1, the others 5.0.
    let version = if row.version == Version::V5 { Version::V311 } else { Version::V5 };
    let partner = world.partner(row, version);
    in_order(world, row, partner).map_err(|error| format!("to {partner}: {error}"))?;
    in_order(world, partner, row).map_err(|error| format!("from {partner}: {error}"))
}

fn in_order(world: &World, publisher: Row, subscriber: Row) -> Outcome {
    let (publisher, subscriber) = (world.client(publisher)?, world.client(subscriber)?);
    let topic = world.fresh("order");
    subscriber.subscribe(&topic, 2)?;
    let payload = |number: usize| {
        // Crosses reads, writes and WebSocket frames.
        let long = if number % 10 == 9 { "x".repeat(number * 1_000) } else { String::new() };
        format!("{number} {long}")
    };
    const COUNT: usize = 40;
    for qos in 0..=2 {
        for number in 0..COUNT {
            publisher.send(&topic, &payload(number), qos, false, serde_json::json!({}));
        }
        for number in 0..COUNT {
            let got = subscriber.message()?;
            let wanted = payload(number);
            same("QoS", got.qos, qos)?;
            ensure(got.payload == wanted, || {
                let start: String = got.payload.chars().take(20).collect();
                format!("QoS {qos}: message {number} is {start}… of {} bytes", got.payload.len())
            })?;
            publisher.published()?;
        }
    }
    close(publisher, subscriber)
}

fn close(publisher: Client, subscriber: Client) -> Outcome {
    ensure(!subscriber.has_message(), || "a message came twice".to_owned())?;
    publisher.disconnect()?;
    subscriber.disconnect()
}
