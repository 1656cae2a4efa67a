//! 5.0.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use rumqttc::Outgoing;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    ConnAck, ConnectProperties, Filter, LastWill, LastWillProperties, Packet, PubRecReason,
    Publish, PublishProperties, RetainForwardRule, SubscribeProperties, SubscribeReasonCode,
};
use rumqttc::v5::{AsyncClient, ConnectionError, Event, EventLoop, MqttOptions, StateError};
use serde_json::{Map, Value, json};
use tokio::task::JoinHandle;

use crate::tell::{code, number, put, tell, text, users, yes};
use crate::{Handle, MOST, REQUESTS, transport};

/// Starts a client.
pub(crate) fn connect(name: &str, command: &Value) -> (Handle, JoinHandle<()>) {
    let (host, port, transport) = transport(command);
    let mut options = MqttOptions::new(text(command, "id"), host, port);
    options.set_transport(transport);
    options.set_clean_start(yes(command, "clean"));
    options.set_keep_alive(Duration::from_secs(number(command, "keep_alive").unwrap_or(60)));
    options.set_connect_properties(connect_properties(&command["properties"]));
    if let Some(inflight) = number(command, "inflight") {
        options.set_outgoing_inflight_upper_limit(inflight);
    }
    if let Some(user) = command["user"].as_str() {
        options.set_credentials(user, text(command, "password"));
    }
    let will = &command["will"];
    if will.is_object() {
        let (topic, payload) = (text(will, "topic"), text(will, "payload"));
        let properties = will_properties(&will["properties"]);
        options.set_last_will(LastWill::new(
            topic,
            payload,
            qos(will),
            yes(will, "retain"),
            Some(properties),
        ));
    }
    let (handle, events) = AsyncClient::new(options, REQUESTS);
    let task = tokio::spawn(run(name.to_owned(), events, yes(command, "reconnect")));
    (Handle::V5(handle), task)
}

/// Hands a request to the event loop.
pub(crate) async fn request(
    handle: &AsyncClient,
    what: &str,
    command: &Value,
) -> Result<(), String> {
    let done = match what {
        "subscribe" => {
            let values = &command["properties"];
            let id = values["subscription_identifier"][0].as_u64();
            let id = id.and_then(|id| usize::try_from(id).ok());
            let properties = SubscribeProperties { id, user_properties: users(values) };
            handle.subscribe_many_with_properties([filter(command)], properties).await
        }
        "unsubscribe" => handle.unsubscribe(text(command, "filter")).await,
        "publish" => {
            let (topic, payload) = (text(command, "topic"), text(command, "payload").to_owned());
            let properties = publish_properties(&command["properties"]);
            let retain = yes(command, "retain");
            handle.publish_with_properties(topic, qos(command), retain, payload, properties).await
        }
        "disconnect" if command["code"].is_null() && command["properties"].is_null() => {
            handle.disconnect().await
        }
        other => return Err(format!("rumqttc does not do {other}")),
    };
    done.map_err(|error| error.to_string())
}

fn filter(command: &Value) -> Filter {
    let mut filter = Filter::new(text(command, "filter"), qos(command));
    filter.nolocal = yes(command, "no_local");
    filter.preserve_retain = yes(command, "retain_as_published");
    filter.retain_forward_rule = match command["retain_handling"].as_u64() {
        Some(1) => RetainForwardRule::OnNewSubscribe,
        Some(2) => RetainForwardRule::Never,
        _ => RetainForwardRule::OnEverySubscribe,
    };
    filter
}

fn connect_properties(values: &Value) -> ConnectProperties {
    let mut properties = ConnectProperties::new();
    properties.session_expiry_interval = number(values, "session_expiry_interval");
    properties.receive_maximum = number(values, "receive_maximum");
    properties.max_packet_size = number(values, "maximum_packet_size").or(Some(MOST));
    properties.topic_alias_max = number(values, "topic_alias_maximum");
    properties.request_response_info = number(values, "request_response_information");
    properties.request_problem_info = number(values, "request_problem_information");
    properties.user_properties = users(values);
    properties
}

fn will_properties(values: &Value) -> LastWillProperties {
    LastWillProperties {
        delay_interval: number(values, "will_delay_interval"),
        payload_format_indicator: number(values, "payload_format_indicator"),
        message_expiry_interval: number(values, "message_expiry_interval"),
        content_type: owned(values, "content_type"),
        response_topic: owned(values, "response_topic"),
        correlation_data: owned(values, "correlation_data").map(Bytes::from),
        user_properties: users(values),
    }
}

fn publish_properties(values: &Value) -> PublishProperties {
    PublishProperties {
        payload_format_indicator: number(values, "payload_format_indicator"),
        message_expiry_interval: number(values, "message_expiry_interval"),
        topic_alias: number(values, "topic_alias"),
        response_topic: owned(values, "response_topic"),
        correlation_data: owned(values, "correlation_data").map(Bytes::from),
        user_properties: users(values),
        subscription_identifiers: Vec::new(),
        content_type: owned(values, "content_type"),
    }
}

fn owned(values: &Value, name: &str) -> Option<String> {
    values[name].as_str().map(str::to_owned)
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
                let code = code(reason);
                return tell(
                    &name,
                    "connected",
                    json!({"code": code, "session_present": false, "properties": {}}),
                );
            }
            Err(error) => {
                let reason = match &error {
                    ConnectionError::MqttState(StateError::ServerDisconnect {
                        reason_code,
                        ..
                    }) => code(reason_code),
                    _ => 0,
                };
                tell(
                    &name,
                    if again { "lost" } else { "closed" },
                    json!({"code": reason, "text": error.to_string()}),
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
        Packet::ConnAck(ack) => connected(name, ack),
        Packet::Publish(publish) => message(name, publish),
        Packet::SubAck(ack) => {
            let codes = ack.return_codes.iter().map(|reason| match reason {
                SubscribeReasonCode::Success(qos) => *qos as u8,
                other => code(other),
            });
            tell(name, "subscribed", json!({"codes": codes.collect::<Vec<u8>>()}));
        }
        Packet::UnsubAck(_) => tell(name, "unsubscribed", json!({})),
        Packet::PubAck(ack) => tell(name, "published", json!({"code": code(ack.reason)})),
        Packet::PubRec(ack)
            if !matches!(
                ack.reason,
                PubRecReason::Success | PubRecReason::NoMatchingSubscribers
            ) =>
        {
            tell(name, "published", json!({"code": code(ack.reason)}));
        }
        Packet::PubComp(ack) => tell(name, "published", json!({"code": code(ack.reason)})),
        _ => {}
    }
}

fn connected(name: &str, ack: ConnAck) {
    let mut properties = Map::new();
    if let Some(found) = ack.properties {
        put(&mut properties, "assigned_client_identifier", found.assigned_client_identifier);
        put(&mut properties, "receive_maximum", found.receive_max);
        put(&mut properties, "maximum_packet_size", found.max_packet_size);
        put(&mut properties, "topic_alias_maximum", found.topic_alias_max);
        put(&mut properties, "server_keep_alive", found.server_keep_alive);
        put(&mut properties, "session_expiry_interval", found.session_expiry_interval);
        put(&mut properties, "response_information", found.response_information);
    }
    let present = ack.session_present;
    tell(
        name,
        "connected",
        json!({"code": 0, "session_present": present, "properties": properties}),
    );
}

fn message(name: &str, publish: Publish) {
    let mut properties = Map::new();
    if let Some(found) = publish.properties {
        let text = |bytes: Bytes| String::from_utf8_lossy(&bytes).into_owned();
        put(&mut properties, "payload_format_indicator", found.payload_format_indicator);
        put(&mut properties, "message_expiry_interval", found.message_expiry_interval);
        put(&mut properties, "topic_alias", found.topic_alias);
        put(&mut properties, "response_topic", found.response_topic);
        put(&mut properties, "correlation_data", found.correlation_data.map(text));
        put(&mut properties, "content_type", found.content_type);
        let ids = found.subscription_identifiers;
        put(&mut properties, "subscription_identifier", (!ids.is_empty()).then_some(ids));
        let users: Vec<Value> =
            found.user_properties.iter().map(|(key, value)| json!([key, value])).collect();
        put(&mut properties, "user_property", (!users.is_empty()).then_some(users));
    }
    tell(
        name,
        "message",
        json!({
            "topic": String::from_utf8_lossy(&publish.topic),
            "payload": String::from_utf8_lossy(&publish.payload),
            "qos": publish.qos as u8, "retain": publish.retain, "dup": publish.dup,
            "properties": properties,
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
