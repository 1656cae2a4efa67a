//! QoS, and order.

use motegate_tests::matrix::client::Client;
use motegate_tests::matrix::world::{Row, World};
use motegate_tests::matrix::{Outcome, ensure, same};

use super::{QOS, both_ways};

/// Published at this QoS, delivered at the lower of it and each that was granted.
pub(super) fn pairs(world: &World, row: Row, qos: u64) -> Outcome {
    both_ways(world, row, qos, each_granted)
}

fn each_granted(world: &World, publisher: Row, subscriber: Row, qos: u64) -> Outcome {
    let (publisher, subscriber) = (world.client(publisher)?, world.client(subscriber)?);
    let root = world.fresh("qos");
    for granted in QOS {
        subscriber.subscribe(&format!("{root}/{granted}/+"), granted)?;
    }
    for granted in QOS {
        let topic = format!("{root}/{granted}/\u{e4}");
        // Two bytes, three bytes and four.
        let payload = format!("\u{e9}\u{20ac}\u{1f321} {granted}");
        publisher.publish(&topic, &payload, qos)?;
        subscriber.expect(&topic, &payload, qos.min(granted), false)?;
    }
    close(publisher, subscriber)
}

/// Many at once, some large, arrive in their order and once.
pub(super) fn order(world: &World, row: Row, qos: u64) -> Outcome {
    both_ways(world, row, qos, in_order)
}

fn in_order(world: &World, publisher: Row, subscriber: Row, qos: u64) -> Outcome {
    let (publisher, subscriber) = (world.client(publisher)?, world.client(subscriber)?);
    let topic = world.fresh("order");
    subscriber.subscribe(&topic, 2)?;
    let payloads: Vec<String> = (0..40)
        .map(|number| {
            // Crosses reads, writes and WebSocket frames.
            let long = if number % 10 == 9 { "x".repeat(number * 1_000) } else { String::new() };
            format!("{number} {long}")
        })
        .collect();
    publisher.send_all(&topic, &payloads, qos);
    for (number, wanted) in payloads.iter().enumerate() {
        let got = subscriber.message()?;
        same("QoS", got.qos, qos)?;
        ensure(got.payload == *wanted, || {
            let start: String = got.payload.chars().take(20).collect();
            format!("message {number} is {start}\u{2026} of {} bytes", got.payload.len())
        })?;
    }
    for _ in &payloads {
        publisher.published()?;
    }
    close(publisher, subscriber)
}

fn close(publisher: Client, subscriber: Client) -> Outcome {
    ensure(!subscriber.has_message(), || "a message came twice".to_owned())?;
    publisher.disconnect()?;
    subscriber.disconnect()
}
