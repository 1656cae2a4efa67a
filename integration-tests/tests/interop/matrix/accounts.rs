//! Names and passwords in every version, and SCRAM-SHA-256 by AUTH in 5.0.

use std::collections::BTreeMap;
use std::process::Command;

use motegate_tests::gateway::{Gateway, binary};
use motegate_tests::matrix::peer::{Make, Transport, Version};
use motegate_tests::matrix::table::Table;
use motegate_tests::matrix::world::{Row, World};
use motegate_tests::matrix::{Outcome, ensure, same};
use motegate_tests::process::Process;
use serde_json::json;

const NAME: &str = "an=na,\u{e9}";
const PASSWORD: &str = "p\u{e4}ss=w,rd";

/// A gateway that only the one who has the password may enter.
fn closed_world() -> World {
    let mut command = Command::new(binary());
    // Few rounds: MQTT.js and a debug build shall both be quick.
    command.args(["passwd", NAME, "--iterations", "4096"]);
    let mut passwd = Process::start(command);
    passwd.say(PASSWORD);
    let users = passwd.succeed().join("\n");
    let listeners = "listeners:\n  - {protocol: mqtt, bind: \"127.0.0.1:0\"}\n  \
        - {protocol: mqttsn, bind: \"127.0.0.1:0\", anonymous: true}\n  \
        - {protocol: coap, bind: \"127.0.0.1:0\", anonymous: true}\n";
    let text = format!(
        "version: 1\ndurability: none\nlimits: {{max_auth_failures: 1000/m}}\n{listeners}{users}\n"
    );
    World::of(Gateway::of_file(&binary(), &["run"], &text), BTreeMap::new())
}

const COLUMNS: [super::Column; 4] =
    [("right", right), ("wrong", wrong), ("none", none), ("scram", scram)];

#[test]
fn who_may_enter() {
    let world = closed_world();
    let mut table = Table::new(&COLUMNS.map(|(name, _)| name));
    for row in world.rows().into_iter().filter(|row| row.transport == Transport::Tcp) {
        table.row(row.to_string());
        for (name, cell) in COLUMNS {
            let can = match name {
                "scram" => row.make == Make::MqttJs && row.version == Version::V5,
                // mosquitto_sub ends with words; the others tell a code.
                "wrong" | "none" => row.make != Make::Mosquitto,
                _ => true,
            };
            if can {
                table.fill(name, cell(&world, row));
            }
        }
    }
    drop(world);
    table.finish();
}

fn right(world: &World, row: Row) -> Outcome {
    let topic = world.fresh("right");
    let client = world.accepted(row, json!({"user": NAME, "password": PASSWORD}))?;
    client.subscribe(&topic, 1)?;
    client.publish(&topic, "in", 1)?;
    client.expect(&topic, "in", 1, false)?;
    client.disconnect()
}

/// The code of 5.0, or the one of 3.x; paho-mqtt 2.x tells the former for both.
fn refused(world: &World, row: Row, command: serde_json::Value, old: u64, new: u64) -> Outcome {
    let client = world.connect(row, command)?;
    let code = client.connack["code"].as_u64();
    let as_new = row.version == Version::V5 || row.make == Make::Paho2;
    same("CONNACK", code, Some(if as_new { new } else { old }))
}

fn wrong(world: &World, row: Row) -> Outcome {
    for (user, password) in [(NAME, "another"), ("nobody", PASSWORD), (NAME, "")] {
        let command = json!({"user": user, "password": password});
        refused(world, row, command, 4, 0x86)?;
    }
    Ok(())
}

fn none(world: &World, row: Row) -> Outcome {
    refused(world, row, json!({}), 5, 0x87)
}

/// The exchange before CONNACK, the server's proof, and again while connected.
fn scram(world: &World, row: Row) -> Outcome {
    let topic = world.fresh("scram");
    let client = world.accepted(row, json!({"scram": [NAME, PASSWORD]}))?;
    ensure(client.connack["proved"] == true, || format!("the server: {}", client.connack))?;
    client.subscribe(&topic, 2)?;
    client.say("authenticate", json!({"scram": [NAME, PASSWORD]}));
    // Meanwhile the connection is what it was.
    client.publish(&topic, "meanwhile", 2)?;
    client.expect(&topic, "meanwhile", 2, false)?;
    let event = client.event("authenticated")?;
    ensure(event["proved"] == true, || format!("the server, again: {event}"))?;
    client.publish(&topic, "after", 1)?;
    client.expect(&topic, "after", 1, false)?;
    // Who cannot do it again is sent away.
    client.say("authenticate", json!({"scram": [NAME, "another"]}));
    let goodbye = client.event("goodbye")?;
    same("DISCONNECT", goodbye["code"].as_u64(), Some(0x87))?;
    client.closed()?;
    for who in [[NAME, "another"], ["nobody", PASSWORD]] {
        let client = world.connect(row, json!({ "scram": who }))?;
        same("CONNACK", client.connack["code"].as_u64(), Some(0x87))?;
    }
    Ok(())
}
