//! `tests`: what should happen to a request or a message, as plain data (mapping.md §2.17).
//!
//! A [`Test`] is one stimulus, what there is before it ([`Given`]) and what must come of it
//! ([`Expect`]). Everything that a text can be wrong in is found here, with its place; what the
//! gateway makes of it is for whoever runs them. [`Places`] leads from a place back to file and line.

mod block;
mod part;
mod read;

use std::sync::Arc;
use std::time::Duration;

use motegate_mapping::{CoapMethod, Place};
use motegate_message::{ListenerId, Qos, Reason};
use serde_json::Value as Json;

use crate::document::Document;
use crate::sources::{Position, Sources};

pub(crate) use block::Test as TestBlock;
pub(crate) use read::read;

/// One test.
#[derive(Debug, Clone, PartialEq)]
pub struct Test {
    /// Unique; what it is about.
    pub name: String,
    /// Where it stands.
    pub place: Place,
    /// What there is before.
    pub given: Given,
    /// What happens.
    pub stimulus: Stimulus,
    /// What must come of it.
    pub expect: Expect,
}

/// What happens.
#[derive(Debug, Clone, PartialEq)]
pub enum Stimulus {
    /// A CoAP request.
    Coap(CoapRequest),
    /// An MQTT-SN PUBLISH.
    MqttSn(SnPublish),
    /// An MQTT PUBLISH.
    Mqtt(MqttPublish),
}

/// A CoAP request.
#[derive(Debug, Clone, PartialEq)]
pub struct CoapRequest {
    /// Where it comes in.
    pub listener: ListenerId,
    /// `{client}`, whatever the listener knows clients by; `None`: as the listener says.
    pub client: Option<String>,
    /// What is wanted.
    pub method: CoapMethod,
    /// Uri-Path options.
    pub path: Vec<String>,
    /// Uri-Query options.
    pub query: Vec<String>,
    /// Body.
    pub payload: Option<Payload>,
    /// Overrides that of the payload.
    pub content_format: Option<u16>,
    /// Accept.
    pub accept: Option<u16>,
    /// CON or NON.
    pub confirmable: bool,
}

/// How an MQTT-SN client names a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SnTopic {
    /// By name; for a PUBLISH it is registered first.
    Name(String),
    /// By pre-defined id.
    Id(u16),
    /// By two characters.
    Short([u8; 2]),
}

/// An MQTT-SN PUBLISH.
#[derive(Debug, Clone, PartialEq)]
pub struct SnPublish {
    /// Where it comes in.
    pub listener: ListenerId,
    /// Client id.
    pub client: String,
    /// What is published to.
    pub topic: SnTopic,
    /// `None` is QoS −1: without a connection.
    pub qos: Option<Qos>,
    /// RETAIN.
    pub retain: bool,
    /// Body.
    pub payload: Option<Payload>,
}

/// An MQTT PUBLISH.
#[derive(Debug, Clone, PartialEq)]
pub struct MqttPublish {
    /// Where it comes in, its mount applied; `None`: the topic is final.
    pub listener: Option<ListenerId>,
    /// Client id.
    pub client: String,
    /// As the client writes it.
    pub topic: String,
    /// QoS.
    pub qos: Qos,
    /// RETAIN.
    pub retain: bool,
    /// User properties.
    pub user: Vec<(String, String)>,
    /// Content Type.
    pub content_type: Option<String>,
    /// Body.
    pub payload: Option<Payload>,
}

/// A payload as it is written.
#[derive(Debug, Clone, PartialEq)]
pub enum Payload {
    /// `json`.
    Json(Json),
    /// `text`.
    Text(String),
    /// `hex`.
    Hex(Vec<u8>),
    /// `cbor`: CBOR, written as JSON.
    Cbor(Json),
    /// `senml`: a pack, written as JSON.
    Senml(Json),
}

/// What there is before.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Given {
    /// Retained messages, by final topic.
    pub retained: Vec<MqttPublish>,
    /// CoAP observations.
    pub observe: Vec<CoapRequest>,
    /// MQTT-SN subscriptions.
    pub subscribe: Vec<Subscriber>,
}

/// An MQTT-SN subscription.
#[derive(Debug, Clone, PartialEq)]
pub struct Subscriber {
    /// Where the client is.
    pub listener: ListenerId,
    /// Client id.
    pub client: String,
    /// What it subscribes to; a name may hold wildcards.
    pub topic: SnTopic,
    /// Highest QoS.
    pub qos: Qos,
    /// It goes to sleep, and wakes once the rest has happened.
    pub asleep: bool,
}

/// What must come of it; what is not there is not looked at.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Expect {
    /// CoAP's answer, as on the wire: class and detail.
    pub code: Option<u8>,
    /// What is in the answer.
    pub answer: Option<Answer>,
    /// Why it is refused or dropped.
    pub refused: Option<Reason>,
    /// The messages that are published, no others.
    pub messages: Option<Vec<Message>>,
    /// What observers are told.
    pub notify: Option<Vec<Notify>>,
    /// What MQTT-SN clients are sent.
    pub deliver: Option<Vec<Deliver>>,
    /// The CoAP path that reads the message's topic.
    pub coap_path: Option<String>,
    /// Its line in `.well-known/core`; attributes that are not named are not looked at.
    pub link: Option<String>,
}

/// What is in CoAP's answer; what is not there is not looked at.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Answer {
    /// Content-Format.
    pub content_format: Option<u16>,
    /// Body.
    pub payload: Option<Payload>,
}

/// A published message; what is not there is not looked at.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Message {
    /// Final topic.
    pub topic: Option<String>,
    /// RETAIN.
    pub retain: Option<bool>,
    /// QoS.
    pub qos: Option<Qos>,
    /// Message expiry.
    pub expiry: Option<Duration>,
    /// User properties that it has, among others.
    pub user: Vec<(String, String)>,
    /// Body.
    pub payload: Option<Payload>,
}

/// What an observer of `given` is told.
#[derive(Debug, Clone, PartialEq)]
pub struct Notify {
    /// Which.
    pub client: Option<String>,
    /// Of which path; `None`: any.
    pub path: Option<Vec<String>>,
    /// Code.
    pub code: Option<u8>,
    /// Content-Format.
    pub content_format: Option<u16>,
    /// Body.
    pub payload: Option<Payload>,
}

/// What an MQTT-SN client of `given` is sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Deliver {
    /// Which; `None`: any.
    pub client: Option<String>,
    /// How the topic is named to it.
    pub topic: Option<SnTopic>,
    /// RETAIN.
    pub retain: Option<bool>,
    /// QoS.
    pub qos: Option<Qos>,
    /// Body.
    pub payload: Option<Payload>,
}

/// Where what a configuration says stands.
#[derive(Debug, Clone, Default)]
pub struct Places(Option<Arc<(Document, Sources)>>);

impl Places {
    pub(crate) fn new(document: Document, sources: Sources) -> Self {
        Places(Some(Arc::new((document, sources))))
    }

    /// Where a place is; `None` where nothing stands there.
    #[must_use]
    pub fn position(&self, place: &Place) -> Option<Position> {
        let (document, sources) = &**self.0.as_ref()?;
        document.node(place)?;
        sources.position(document.key(place).start)
    }

    /// `motegate.yaml:18`.
    #[must_use]
    pub fn line(&self, place: &Place) -> Option<String> {
        self.position(place).map(|at| format!("{}:{}", at.name, at.line))
    }
}

#[test]
fn where_state_is_kept_is_known_whatever_else_is_wrong() {
    let folder = std::env::temp_dir().join(format!("motegate-data-dir-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let file = folder.join("motegate.yaml");
    let layers = || crate::Layers::new().files([file.clone()]);
    for (text, place) in [
        ("data_dir: ./d\n", "d"),
        ("data_dir: ./d\nnonsense: 1\nmqtt: {max_qos: 9}\n", "d"),
        ("data_dir: \"d\" # here\nlisteners: [}\n", "d"),
        ("listeners: [}\n", "motegate-data"),
    ] {
        std::fs::write(&file, text).expect("a file");
        assert_eq!(layers().data_dir(), folder.join(place), "{text}");
    }
    let named = layers().environment([("MOTEGATE__DATA_DIR".into(), "/there".into())]);
    assert_eq!(named.data_dir(), std::path::Path::new("/there"));
    std::fs::remove_dir_all(&folder).expect("it is ours");
}
