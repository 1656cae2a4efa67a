//! 3.1.1.

use std::collections::HashMap;
use std::time::Duration;

use rumqttc::{
    AsyncClient, ConnectionError, Event, EventLoop, LastWill, MqttOptions, Outgoing, Packet,
    Publish, QoS, SubscribeReasonCode,
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::tell::{code, number, tell, text, yes};
use crate::{Handle, MOST, REQUESTS, transport};

/// Starts a client.
pub(crate) fn connect(name: &str, command: &Value) -> (Handle, JoinHandle<()>) {
    let (host, port, transport) = transport(command);
    let mut options = MqttOptions::new(text(command, "id"), host, port);
    options.set_transport(transport);
    options.set_max_packet_size(MOST as usize, MOST as usize);
    options.set_clean_session(yes(command, "clean"));
    options.set_keep_alive(Duration::from_secs(number(command, "keep_alive").unwrap_or(60)));
    if let Some(inflight) = number(command, "inflight") {
        options.set_inflight(inflight);
    }
    if let Some(user) = command["user"].as_str() {
        options.set_credentials(user, text(command, "password"));
    }
    let will = &command["will"];
    if will.is_object() {
        let (topic, payload) = (text(will, "topic"), text(will, "payload"));
        options.set_last_will(LastWill::new(topic, payload, qos(will), yes(will, "retain")));
    }
    let (handle, events) = AsyncClient::new(options, REQUESTS);
    let task = tokio::spawn(run(name.to_owned(), events, yes(command, "reconnect")));
    (Handle::V4(handle), task)
}

/// Hands a request to the event loop.
pub(crate) async fn request(
    handle: &AsyncClient,
    what: &str,
    command: &Value,
) -> Result<(), String> {
    let done = match what {
        "subscribe" => handle.subscribe(text(command, "filter"), qos(command)).await,
        "unsubscribe" => handle.unsubscribe(text(command, "filter")).await,
        "publish" => {
            let (topic, payload) = (text(command, "topic"), text(command, "payload"));
            handle.publish(topic, qos(command), yes(command, "retain"), payload).await
        }
        "disconnect" => handle.disconnect().await,
        other => return Err(format!("rumqttc does not do {other}")),
    };
    done.map_err(|error| error.to_string())
}

async fn run(name: String, mut events: EventLoop, mut again: bool) {
    let mut held = HashMap::new();
    loop {
        match events.poll().await {
            // Shown when its exchange is over, so that a test which goes on leaves nothing behind.
            Ok(Event::Incoming(Packet::Publish(publish))) if publish.qos == QoS::ExactlyOnce => {
                held.insert(publish.pkid, publish);
            }
            Ok(Event::Incoming(Packet::PubRel(rel))) => {
                if let Some(publish) = held.remove(&rel.pkid) {
                    message(&name, publish);
                }
            }
            Ok(Event::Incoming(packet)) => incoming(&name, packet),
            Ok(Event::Outgoing(Outgoing::Publish(0))) => {
                tell(&name, "published", json!({"code": 0}))
            }
            Ok(Event::Outgoing(Outgoing::Disconnect)) => again = false,
            Ok(Event::Outgoing(_)) => {}
            Err(ConnectionError::ConnectionRefused(reason)) => {
                let code = match code(reason) {
                    0x86 => 4,
                    0x87 => 5,
                    other => other,
                };
                return tell(
                    &name,
                    "connected",
                    json!({"code": code, "session_present": false, "properties": {}}),
                );
            }
            Err(error) => {
                tell(
                    &name,
                    if again { "lost" } else { "closed" },
                    json!({"code": 0, "text": error.to_string()}),
                );
                if !again {
                    return;
                }
            }
        }
    }
}

fn incoming(name: &str, packet: Packet) {
    match packet {
        Packet::ConnAck(ack) => {
            let present = ack.session_present;
            tell(
                name,
                "connected",
                json!({"code": 0, "session_present": present, "properties": {}}),
            );
        }
        Packet::Publish(publish) => message(name, publish),
        Packet::SubAck(ack) => {
            let codes = ack.return_codes.iter().map(|code| match code {
                SubscribeReasonCode::Success(qos) => *qos as u8,
                SubscribeReasonCode::Failure => 0x80,
            });
            tell(name, "subscribed", json!({"codes": codes.collect::<Vec<u8>>()}));
        }
        Packet::UnsubAck(_) => tell(name, "unsubscribed", json!({})),
        Packet::PubAck(_) | Packet::PubComp(_) => tell(name, "published", json!({"code": 0})),
        _ => {}
    }
}

fn message(name: &str, publish: Publish) {
    tell(
        name,
        "message",
        json!({
            "topic": publish.topic, "payload": String::from_utf8_lossy(&publish.payload),
            "qos": publish.qos as u8, "retain": publish.retain, "dup": publish.dup,
            "properties": {},
        }),
    );
}

fn qos(command: &Value) -> QoS {
    match command["qos"].as_u64() {
        Some(1) => QoS::AtLeastOnce,
        Some(2) => QoS::ExactlyOnce,
        _ => QoS::AtMostOnce,
    }
}
