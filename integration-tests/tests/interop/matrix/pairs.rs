//! What needs its own gateway, or only one client has: lines with a topic alias,
//! settings that CONNACK tells, asyncio clients in number, and Wireshark's reading of it all.

use motegate_tests::gateway::Gateway;
use motegate_tests::matrix::Outcome;
use motegate_tests::matrix::peer::{Make, Version};
use motegate_tests::matrix::world::{Row, World};
use motegate_tests::peer::{mosquitto, mosquitto_sub, python};
use motegate_tests::process::Process;
use motegate_tests::tcp_capture::dissect;
use motegate_tests::tcp_relay::TcpRelay;
use serde_json::json;

use super::{ASPECTS, QOS, VERSIONS, can, five, world};

/// `mosquitto_pub -l` names the topic with its first line and only the alias with the others.
#[test]
fn lines_with_an_alias() {
    let gateway = Gateway::dev();
    let mut sub = mosquitto_sub(&gateway, &["-V", "mqttv5", "-q", "1", "-t", "lines/+"]);
    let arguments = ["-V", "mqttv5", "-q", "1", "-t", "lines/a", "-l"];
    let mut command = mosquitto("mosquitto_pub", &gateway, &arguments);
    command.args(["-D", "publish", "topic-alias", "7"]);
    let mut lines = Process::start(command);
    for number in 0..5 {
        lines.say(&number.to_string());
        let got = sub.wait_for("message", |line| line.starts_with("> "));
        assert_eq!(got, format!("> lines/a q1 r0 {number}"));
    }
    lines.succeed();
}

/// What the gateway's settings tell a client of 5.0, and that the client can read it.
#[test]
fn settings_are_told() {
    let rest = "mqtt: {max_keep_alive: 30s, response_prefix: \"answers/\", receive_maximum: 7}\n";
    let world = World::of(Gateway::run(rest), std::collections::BTreeMap::new());
    for make in [Make::Paho2, Make::MqttJs, Make::Rumqttc] {
        let row = Row::tcp(make, Version::V5);
        let id = format!("told-{}", make as u8);
        let asks = json!({"id": id, "properties": {"request_response_information": 1}});
        let client = world.accepted(row, asks).expect("accepted");
        let told = &client.connack["properties"];
        assert_eq!(told["server_keep_alive"], 30, "{make}: {told}");
        assert_eq!(told["response_information"], format!("answers/{id}/"), "{make}: {told}");
        assert_eq!(told["receive_maximum"], 7, "{make}: {told}");
        // Who does not ask is not told, and a keep alive below the cap stands.
        let plain = world.accepted(row, json!({"keep_alive": 20})).expect("accepted");
        let told = &plain.connack["properties"];
        assert!(told["response_information"].is_null(), "{make}: {told}");
        assert!(told["server_keep_alive"].is_null(), "{make}: {told}");
    }
}

#[test]
fn asyncio_clients_come_and_go() {
    let gateway = Gateway::dev();
    let finished = python("aiomqtt_suite.py", &gateway, &[]).finish();
    assert_eq!(finished.stdout.last().map(String::as_str), Some("ok"), "{finished:#?}");
}

/// Every cell for a client of each version, read by Wireshark in both directions.
#[test]
fn mqtt_is_well_formed() {
    let mut world = world();
    let relay = TcpRelay::start(world.gateway.mqtt, Vec::new());
    world.detour(Make::MqttJs, relay.address.port());
    let run = || -> Outcome {
        for version in VERSIONS {
            for (name, cell) in ASPECTS {
                let row = Row::tcp(Make::MqttJs, version);
                for qos in QOS.into_iter().filter(|_| can(row, name)) {
                    cell(&world, row, qos)?;
                }
            }
        }
        for (_, cell) in five::COLUMNS {
            cell(&world, Row::tcp(Make::MqttJs, Version::V5))?;
        }
        Ok(())
    };
    let outcome = run();
    drop(world);
    assert_eq!(outcome, Ok(()));
    let read = dissect(&relay.record()).join("\n");
    for name in [
        "Connect Ack",
        "Publish Message",
        "Publish Ack",
        "Publish Received",
        "Publish Release",
        "Publish Complete",
        "Subscribe Ack",
        "Unsubscribe Ack",
    ] {
        assert!(read.contains(name), "{name} is missing");
    }
}
