//! Connections that break in the middle of whatever is under way, and clients that connect again
//! by themselves: nothing is lost, at QoS 2 nothing comes twice.

use motegate_tests::matrix::client::Client;
use motegate_tests::matrix::peer::{Make, Transport, Version};
use motegate_tests::matrix::table::Table;
use motegate_tests::matrix::world::{Row, World, tcp};
use motegate_tests::matrix::{Outcome, ensure, same};
use motegate_tests::tcp_relay::{Cut, TcpRelay};
use serde_json::{Value, json};

/// Messages of one run.
const COUNT: usize = 150;

/// Clients that go on by themselves.
const ROWS: [(Make, Version); 7] = [
    (Make::Paho1, Version::V311),
    (Make::Paho2, Version::V311),
    (Make::Paho2, Version::V5),
    (Make::MqttJs, Version::V311),
    (Make::MqttJs, Version::V5),
    (Make::Rumqttc, Version::V311),
    (Make::Rumqttc, Version::V5),
];

const COLUMNS: [super::Column; 6] = [
    ("from, QoS 1", |world, row| published(world, row, 1)),
    ("from, QoS 2", |world, row| published(world, row, 2)),
    ("to, QoS 1", |world, row| delivered(world, row, 1)),
    ("to, QoS 2", |world, row| delivered(world, row, 2)),
    ("resubscribed", resubscribed),
    ("pings", pings),
];

fn can(row: Row, column: &str) -> bool {
    match column {
        // rumqttc forgets which messages of QoS 2 it has, and takes the PUBREL of the resumed
        // session for an error, for ever.
        "to, QoS 2" => row.make != Make::Rumqttc,
        // Only MQTT.js subscribes again by itself.
        "resubscribed" => row.make == Make::MqttJs,
        // rumqttc of 5.0 has no keep alive below 5 s.
        "pings" => row.make != Make::Rumqttc || row.version == Version::V311,
        _ => true,
    }
}

#[test]
fn clients_that_connect_again() {
    let world = super::world();
    let mut table = Table::new(&COLUMNS.map(|(name, _)| name));
    for (make, version) in ROWS {
        let row = Row { make, version, transport: Transport::Tcp };
        table.row(row.to_string());
        for (name, cell) in COLUMNS {
            if can(row, name) {
                table.fill(name, cell(&world, row));
            }
        }
    }
    drop(world);
    table.finish();
}

/// A client whose session outlives its connections, which go through `relay`.
fn through(world: &World, row: Row, relay: &TcpRelay) -> Outcome<Client> {
    let mut command = persistent(row.version);
    command["transport"] = tcp(relay.address.port());
    command["reconnect"] = true.into();
    // rumqttc gives an id again that it has in use when it has counted so far.
    command["inflight"] = (2 * COUNT).into();
    world.accepted(row, command)
}

fn persistent(version: Version) -> Value {
    let mut command = json!({"clean": false});
    if version == Version::V5 {
        command["properties"] = json!({"session_expiry_interval": 60});
    }
    command
}

/// In both directions, in the middle of packets and between them, never before a connection is
/// accepted: paho-mqtt takes a PUBREL that it meant to repeat for a PUBLISH then.
fn while_sending() -> Vec<Cut> {
    vec![
        Cut::Sent(203),
        Cut::Received(77),
        Cut::Sent(61),
        Cut::Received(90),
        Cut::Sent(150),
        Cut::Received(64),
        Cut::Sent(301),
        Cut::Received(130),
    ]
}

/// The same for a subscriber; the first three before it can have everything.
fn while_receiving() -> Vec<Cut> {
    let mut cuts = vec![Cut::Received(130), Cut::Received(301), Cut::Received(203)];
    cuts.extend(while_sending());
    cuts
}

/// All are sent at once; the connection breaks again and again below them.
fn published(world: &World, row: Row, qos: u64) -> Outcome {
    let topic = world.fresh("from");
    let watcher = world.client(world.partner(row, Version::V5))?;
    watcher.subscribe(&topic, 2)?;
    let relay = TcpRelay::start(world.gateway.mqtt, while_sending());
    let client = through(world, row, &relay)?;
    for number in 0..COUNT {
        client.send(&topic, &number.to_string(), qos, false, json!({}));
    }
    complete(&watcher, qos, row.make == Make::MqttJs)?;
    for _ in 0..COUNT {
        client.published()?;
    }
    ensure(relay.cuts_made() >= 3, || format!("{} cuts", relay.cuts_made()))?;
    end(client, watcher, &topic)
}

/// The subscriber's connection breaks while messages are on their way to it.
fn delivered(world: &World, row: Row, qos: u64) -> Outcome {
    let topic = world.fresh("to");
    let relay = TcpRelay::start(world.gateway.mqtt, vec![Cut::Never]);
    let client = through(world, row, &relay)?;
    client.subscribe(&topic, qos)?;
    let publisher = world.client(world.partner(row, Version::V5))?;
    relay.then(while_receiving());
    for number in 0..COUNT {
        if number == 3 {
            relay.cut();
        }
        publisher.send(&topic, &number.to_string(), qos, false, json!({}));
    }
    for _ in 0..COUNT {
        publisher.published()?;
    }
    complete(&client, qos, true)?;
    ensure(relay.cuts_made() >= 3, || format!("{} cuts", relay.cuts_made()))?;
    end(publisher, client, &topic)
}

/// Every number is there: once at QoS 2, in order or, at QoS 1, in the order of first copies.
/// paho-mqtt and rumqttc mix up the order of their own when a connection breaks again before all is
/// sent anew, or when they are asked to publish meanwhile.
fn complete(watcher: &Client, qos: u64, ordered: bool) -> Outcome {
    let mut seen = [false; COUNT];
    let mut count = 0;
    while count < COUNT {
        let message = watcher.message()?;
        same("QoS", message.qos, qos)?;
        let number: usize = message.payload.parse().map_err(|_| format!("{message:?}"))?;
        if seen[number] {
            ensure(qos == 1, || format!("{number} came twice at QoS 2, when {count} were there"))?;
            continue;
        }
        ensure(!ordered || number == count, || format!("{number} came where {count} was due"))?;
        seen[number] = true;
        count += 1;
    }
    Ok(())
}

/// Nothing came behind the last one.
fn end(publisher: Client, watcher: Client, topic: &str) -> Outcome {
    publisher.send(topic, "end", 2, false, json!({}));
    loop {
        let message = watcher.message()?;
        if message.payload == "end" {
            break;
        }
        ensure(message.qos == 1, || format!("twice at QoS 2: {message:?}"))?;
    }
    publisher.disconnect()?;
    watcher.disconnect()
}

/// A clean session is gone with its connection: its client subscribes again, and is heard.
fn resubscribed(world: &World, row: Row) -> Outcome {
    let topic = world.fresh("again");
    let relay = TcpRelay::start(world.gateway.mqtt, Vec::new());
    let transport = tcp(relay.address.port());
    let command = json!({"transport": transport, "reconnect": true, "resubscribe": true});
    let client = world.accepted(row, command)?;
    client.subscribe(&topic, 1)?;
    let publisher = world.client(world.partner(row, Version::V311))?;
    publisher.publish(&topic, "before", 1)?;
    client.expect(&topic, "before", 1, false)?;
    relay.cut();
    let connack = client.event("connected")?;
    same("session present", connack["session_present"] == true, false)?;
    // Behind its SUBSCRIBE, which was sent when it was connected.
    client.publish("elsewhere", "", 1)?;
    publisher.publish(&topic, "after", 1)?;
    client.expect(&topic, "after", 1, false)?;
    client.disconnect()?;
    publisher.disconnect()
}

/// A keep alive of one second: pings keep the connection for three of them.
fn pings(world: &World, row: Row) -> Outcome {
    let topic = world.fresh("pings");
    let client = world.accepted(row, json!({"keep_alive": 1}))?;
    client.subscribe(&topic, 1)?;
    let other = world.client(world.partner(row, Version::V5))?;
    // Time itself is what is waited for.
    std::thread::sleep(std::time::Duration::from_secs(3));
    other.publish(&topic, "still there", 1)?;
    client.expect(&topic, "still there", 1, false)?;
    client.disconnect()?;
    other.disconnect()
}

/// Clients whose process hangs: after one and a half keep alives their wills are due.
#[test]
fn a_client_that_hangs_is_gone_after_its_keep_alive() {
    let world = super::world();
    let run = || -> Outcome {
        let watcher = world.client(Row::tcp(Make::Paho2, Version::V5))?;
        watcher.subscribe("hung/+", 1)?;
        let mut hung = Vec::new();
        for (make, version) in [(Make::MqttJs, Version::V5), (Make::MqttJs, Version::V31)] {
            let topic = format!("hung/{version}");
            let will = json!({"topic": topic, "payload": "gone", "qos": 1, "retain": false});
            let command = json!({"keep_alive": 1, "will": will});
            hung.push(world.accepted(Row::tcp(make, version), command)?);
        }
        let peer = world.peer(Make::MqttJs);
        peer.borrow().hang(true);
        let mut topics = [watcher.message()?.topic, watcher.message()?.topic];
        topics.sort();
        peer.borrow().hang(false);
        same("wills", topics, ["hung/3.1", "hung/5"].map(str::to_owned))?;
        watcher.disconnect()?;
        hung.into_iter().try_for_each(|client| client.closed().map(drop))
    };
    let outcome = run();
    drop(world);
    assert_eq!(outcome, Ok(()));
}
