//! What 5.0 has and its elders do not, between every two of the clients that speak it.

use motegate_tests::matrix::client::{Client, Message};
use motegate_tests::matrix::peer::{Make, Version};
use motegate_tests::matrix::world::{Row, World};
use motegate_tests::matrix::{Outcome, ensure, same};
use serde_json::{Value, json};

/// The cells of a row; one that the client cannot do is left out.
pub(super) const COLUMNS: [super::Column; 9] = [
    ("properties", properties),
    ("reply", reply),
    ("ids", subscription_identifiers),
    ("local", no_local),
    ("handling", retain_handling),
    ("alias", alias),
    ("window", window),
    ("size", packet_size),
    ("id", assigned_identifier),
];

/// Whether a client can be made to do what a column asks for.
pub(super) fn can(make: Make, column: &str) -> bool {
    match column {
        // Its publisher and its subscriber are two connections; an id is always given.
        "local" | "alias" | "id" => make != Make::Mosquitto,
        // mosquitto_sub 2.0 subscribes once a connection.
        "handling" => make != Make::Mosquitto,
        _ => true,
    }
}

/// Clients of 5.0 other than this one.
fn others(row: Row) -> impl Iterator<Item = Row> {
    let makes = Make::ALL.into_iter().filter(|make| make.versions().contains(&Version::V5));
    makes.filter(move |make| *make != row.make).map(|make| Row::tcp(make, Version::V5))
}

/// User properties in an order that shows: MQTT.js has them by name.
fn users(one: Make, other: Make) -> Value {
    if one == Make::MqttJs || other == Make::MqttJs {
        json!([["b", "1"], ["b", "3"], ["a", "2"]])
    } else {
        json!([["b", "1"], ["a", "2"], ["b", "3"]])
    }
}

fn property<'a>(message: &'a Message, name: &str) -> &'a Value {
    &message.properties[name]
}

/// Everything that belongs to a message arrives as it was sent, at each QoS, live and stored.
fn properties(world: &World, row: Row) -> Outcome {
    for other in others(row) {
        whole(world, row, other).map_err(|error| format!("to {other}: {error}"))?;
    }
    Ok(())
}

fn whole(world: &World, publisher: Row, subscriber: Row) -> Outcome {
    let topic = world.fresh("whole");
    let sent = json!({
        "payload_format_indicator": 1, "message_expiry_interval": 100,
        "content_type": "text/\u{fc}", "response_topic": "answers/\u{e4}", "correlation_data": "c-7",
        "user_property": users(publisher.make, subscriber.make),
    });
    let (publisher, client) = (world.client(publisher)?, world.client(subscriber)?);
    client.subscribe(&topic, 2)?;
    let compare = |message: Message| {
        for (name, value) in sent.as_object().into_iter().flatten() {
            // Less than a second has passed, or a little more.
            let got = property(&message, name);
            let waited = name == "message_expiry_interval" && got.as_u64() > Some(90);
            ensure(got == value || waited, || format!("{name}: got {got}, wanted {value}"))?;
        }
        same("alias", property(&message, "topic_alias"), &Value::Null)
    };
    for qos in 0..=2 {
        publisher.publish_with(&topic, "x", qos, qos == 2, sent.clone())?;
        compare(client.expect(&topic, "x", qos, false)?)?;
    }
    let late = world.client(subscriber)?;
    late.subscribe(&topic, 1)?;
    compare(late.expect(&topic, "x", 1, true)?)?;
    late.disconnect()?;
    publisher.publish_with(&topic, "", 1, true, json!({}))?;
    client.expect(&topic, "", 1, false)?;
    client.disconnect()?;
    publisher.disconnect()
}

/// A request names where its answer goes, and the answer finds its request.
fn reply(world: &World, row: Row) -> Outcome {
    for other in others(row) {
        let (asks, answers) = (world.client(row)?, world.client(other)?);
        let (question, answer) = (world.fresh("question"), world.fresh("answer"));
        answers.subscribe(&question, 1)?;
        asks.subscribe(&answer, 1)?;
        for correlation in ["first", "second"] {
            let request = json!({"response_topic": answer, "correlation_data": correlation});
            asks.publish_with(&question, "?", 1, false, request)?;
            let got = answers.expect(&question, "?", 1, false)?;
            let to = property(&got, "response_topic").as_str().unwrap_or_default().to_owned();
            let same_again = json!({"correlation_data": property(&got, "correlation_data")});
            answers.publish_with(&to, "!", 1, false, same_again)?;
            let got = asks.expect(&answer, "!", 1, false)?;
            same("correlation", property(&got, "correlation_data").as_str(), Some(correlation))?;
        }
        asks.disconnect()?;
        answers.disconnect()?;
    }
    Ok(())
}

/// All ids of the subscriptions that match, on one copy; mosquitto_sub has a connection for each.
fn subscription_identifiers(world: &World, row: Row) -> Outcome {
    let root = world.fresh("ids");
    let client = world.client(row)?;
    let publisher = world.client(world.partner(row, Version::V5))?;
    let with = |id: u64| json!({"properties": {"subscription_identifier": [id]}});
    client.subscribe_with(&format!("{root}/+"), 1, with(7))?;
    if row.make != Make::Mosquitto {
        client.subscribe_with(&format!("{root}/b"), 2, with(268_435_455))?;
    }
    publisher.publish(&format!("{root}/a"), "one", 1)?;
    let got = client.expect(&format!("{root}/a"), "one", 1, false)?;
    same("one id", property(&got, "subscription_identifier"), &json!([7]))?;
    if row.make != Make::Mosquitto {
        publisher.publish(&format!("{root}/b"), "two", 2)?;
        let got = client.expect(&format!("{root}/b"), "two", 2, false)?;
        let ids = property(&got, "subscription_identifier");
        ensure(*ids == json!([7, 268_435_455]) || *ids == json!([268_435_455, 7]), || {
            format!("both ids: got {ids}")
        })?;
    }
    client.disconnect()?;
    publisher.disconnect()
}

fn no_local(world: &World, row: Row) -> Outcome {
    let topic = world.fresh("local");
    let client = world.client(row)?;
    let other = world.client(world.partner(row, Version::V5))?;
    client.subscribe_with(&topic, 1, json!({"no_local": true}))?;
    client.publish(&topic, "mine", 1)?;
    other.publish(&topic, "yours", 1)?;
    client.expect(&topic, "yours", 1, false)?;
    client.disconnect()?;
    other.disconnect()
}

fn retain_handling(world: &World, row: Row) -> Outcome {
    let root = world.fresh("handling");
    let (kept, mark) = (format!("{root}/kept"), format!("{root}/mark"));
    let other = world.client(world.partner(row, Version::V5))?;
    other.publish_with(&kept, "x", 1, true, json!({}))?;
    let client = world.client(row)?;
    let subscribe = |handling: u64| -> Outcome {
        let options = json!({"retain_handling": handling});
        same("SUBACK", client.subscribe_with(&format!("{root}/+"), 1, options)?, vec![1])
    };
    let silent = || -> Outcome {
        other.publish(&mark, "mark", 1)?;
        client.expect(&mark, "mark", 1, false).map(drop)
    };
    subscribe(2)?;
    silent()?;
    subscribe(1)?; // there already
    silent()?;
    subscribe(0)?;
    client.expect(&kept, "x", 1, true)?;
    client.unsubscribe(&format!("{root}/+"))?;
    subscribe(1)?; // new
    client.expect(&kept, "x", 1, true)?;
    other.publish_with(&kept, "", 1, true, json!({}))?;
    client.expect(&kept, "", 1, false)?;
    client.disconnect()?;
    other.disconnect()
}

/// Aliases in both directions. MQTT.js gives them by itself and is the only one that shows the
/// topic behind one; the others are told which to use.
fn alias(world: &World, row: Row) -> Outcome {
    let root = world.fresh("alias");
    let own = row.make == Make::MqttJs;
    let publisher = world.accepted(row, json!({"aliases": own}))?;
    let maximum = publisher.connack["properties"]["topic_alias_maximum"].as_u64();
    ensure(maximum >= Some(2), || format!("the gateway takes {maximum:?} aliases"))?;
    let command = json!({"properties": {"topic_alias_maximum": 2}});
    let subscriber = world.accepted(Row::tcp(Make::MqttJs, Version::V5), command)?;
    subscriber.subscribe(&format!("{root}/+"), 1)?;
    // More topics than the subscriber has aliases, each twice.
    for round in 0..2 {
        for number in 1..=3_u64 {
            let topic = format!("{root}/{number}");
            let payload = format!("{number}-{round}");
            if own {
                publisher.publish(&topic, &payload, 1)?;
            } else if number < 3 {
                let alias = json!({"topic_alias": number});
                let named = if round == 0 { topic.as_str() } else { "" };
                publisher.publish_with(named, &payload, 1, false, alias)?;
            } else {
                publisher.publish(&topic, &payload, 1)?;
            }
            subscriber.expect(&topic, &payload, 1, false)?;
        }
    }
    publisher.disconnect()?;
    subscriber.disconnect()
}

/// Receive maximum 1: one delivery at a time, and all of them in the end.
fn window(world: &World, row: Row) -> Outcome {
    let topic = world.fresh("window");
    let command = json!({"properties": {"receive_maximum": 1}});
    let client = world.accepted(row, command)?;
    client.subscribe(&topic, 2)?;
    let publisher = world.client(world.partner(row, Version::V5))?;
    for number in 0..20 {
        publisher.send(&topic, &number.to_string(), 1 + number % 2, false, json!({}));
    }
    for number in 0..20_u64 {
        client.expect(&topic, &number.to_string(), 1 + number % 2, false)?;
        publisher.published()?;
    }
    client.disconnect()?;
    publisher.disconnect()
}

/// What is larger than the client takes is not sent to it, and nothing else suffers.
fn packet_size(world: &World, row: Row) -> Outcome {
    let topic = world.fresh("size");
    let command = json!({"properties": {"maximum_packet_size": 200}});
    let client = world.accepted(row, command)?;
    client.subscribe(&topic, 2)?;
    let publisher = world.client(world.partner(row, Version::V5))?;
    for qos in 0..=2 {
        publisher.publish(&topic, &"x".repeat(300), qos)?;
        publisher.publish(&topic, "small", qos)?;
        client.expect(&topic, "small", qos, false)?;
    }
    client.disconnect()?;
    publisher.disconnect()
}

fn assigned_identifier(world: &World, row: Row) -> Outcome {
    let clients = [0, 1].map(|_| world.accepted(row, json!({"id": ""})));
    let mut seen: Vec<String> = Vec::new();
    for client in clients {
        let client: Client = client?;
        let id = client.connack["properties"]["assigned_client_identifier"].as_str();
        let id = id.ok_or("no id was assigned")?.to_owned();
        ensure(!id.is_empty() && !seen.contains(&id), || format!("{id:?} after {seen:?}"))?;
        seen.push(id);
        client.disconnect()?;
    }
    Ok(())
}
