//! One connection of a peer, and what it is asked to do.

use std::cell::RefCell;
use std::rc::Rc;

use serde_json::{Value, json};

use super::peer::{Make, Peer, Version};
use super::{Failure, Outcome, ensure, same};

/// A connection; dropped, it is broken, so that a failed cell leaves nobody behind.
#[derive(Debug)]
pub struct Client {
    peer: Rc<RefCell<Peer>>,
    name: String,
    /// Whose it is.
    pub make: Make,
    /// What it speaks.
    pub version: Version,
    /// What CONNACK said: `code`, `session_present`, `properties`.
    pub connack: Value,
    open: bool,
}

/// A message as a subscriber got it.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Its topic.
    pub topic: String,
    /// Its payload; the matrix sends text.
    pub payload: String,
    /// 0, 1 or 2.
    pub qos: u64,
    /// RETAIN.
    pub retain: bool,
    /// DUP.
    pub dup: bool,
    /// Properties by name.
    pub properties: Value,
}

impl Client {
    /// Connects; `command` is complete but for client and version.
    ///
    /// # Errors
    /// If there is no CONNACK.
    pub fn connect(
        peer: Rc<RefCell<Peer>>,
        make: Make,
        version: Version,
        name: &str,
        mut command: Value,
    ) -> Outcome<Client> {
        command["version"] = version.to_string().into();
        peer.borrow_mut().forget(name);
        peer.borrow_mut().say(name, "connect", command);
        let connack = peer.borrow_mut().event(name, "connected")?;
        let open = connack["code"] == 0;
        Ok(Client { peer, name: name.to_owned(), make, version, connack, open })
    }

    /// Subscribes with these options and properties; the codes of SUBACK.
    ///
    /// # Errors
    /// If there is no SUBACK.
    pub fn subscribe_with(&self, filter: &str, qos: u64, mut more: Value) -> Outcome<Vec<u64>> {
        more["filter"] = filter.into();
        more["qos"] = qos.into();
        self.say("subscribe", more);
        let event = self.event("subscribed")?;
        let codes = event["codes"].as_array().into_iter().flatten();
        Ok(codes.filter_map(Value::as_u64).collect())
    }

    /// Subscribes and insists on the QoS asked for.
    ///
    /// # Errors
    /// If it is not granted.
    pub fn subscribe(&self, filter: &str, qos: u64) -> Outcome {
        let codes = self.subscribe_with(filter, qos, json!({}))?;
        same(&format!("SUBACK for {filter}"), codes, vec![qos])
    }

    /// Unsubscribes.
    ///
    /// # Errors
    /// If there is no UNSUBACK.
    pub fn unsubscribe(&self, filter: &str) -> Outcome {
        self.say("unsubscribe", json!({ "filter": filter }));
        self.event("unsubscribed").map(drop)
    }

    /// Hands over a message; [`published`](Client::published) waits for its acknowledgement.
    pub fn send(&self, topic: &str, payload: &str, qos: u64, retain: bool, properties: Value) {
        let mut command = json!({"topic": topic, "payload": payload, "qos": qos, "retain": retain});
        if properties.as_object().is_some_and(|object| !object.is_empty()) {
            command["properties"] = properties;
        }
        self.say("publish", command);
    }

    /// Hands over many messages at once. mosquitto_pub takes them as lines, over one connection.
    pub fn send_all(&self, topic: &str, payloads: &[String], qos: u64) {
        if self.make == Make::Mosquitto {
            self.say("lines", json!({"topic": topic, "lines": payloads, "qos": qos}));
            return;
        }
        for payload in payloads {
            self.send(topic, payload, qos, false, json!({}));
        }
    }

    /// Waits until everything that the client has written is taken: an answer that it gives last
    /// (PUBCOMP) is not lost with a connection that is broken next. Not for mosquitto_sub, which
    /// never asks for anything again.
    ///
    /// # Errors
    /// If there is no answer.
    pub fn settle(&self) -> Outcome {
        if self.make == Make::Mosquitto { Ok(()) } else { self.unsubscribe("settled") }
    }

    /// The code of the next acknowledgement.
    ///
    /// # Errors
    /// If there is none.
    pub fn published(&self) -> Outcome<u64> {
        let event = self.event("published")?;
        event["code"].as_u64().ok_or_else(|| format!("no code in {event}"))
    }

    /// Publishes and waits until it is acknowledged.
    ///
    /// # Errors
    /// If it is refused, or not acknowledged.
    pub fn publish(&self, topic: &str, payload: &str, qos: u64) -> Outcome {
        self.publish_with(topic, payload, qos, false, json!({}))
    }

    /// The same with everything that belongs to a message.
    ///
    /// # Errors
    /// As [`publish`](Client::publish).
    pub fn publish_with(
        &self,
        topic: &str,
        payload: &str,
        qos: u64,
        retain: bool,
        properties: Value,
    ) -> Outcome {
        self.send(topic, payload, qos, retain, properties);
        let code = self.published()?;
        ensure(code < 0x80, || format!("{}: {topic} is refused with {code:#04x}", self.name))
    }

    /// The next message.
    ///
    /// # Errors
    /// If none comes.
    pub fn message(&self) -> Outcome<Message> {
        let event = self.event("message")?;
        let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        let yes = |name: &str| event[name].as_bool().unwrap_or_default();
        Ok(Message {
            topic: text("topic"),
            payload: text("payload"),
            qos: event["qos"].as_u64().unwrap_or(u64::MAX),
            retain: yes("retain"),
            dup: yes("dup"),
            properties: event["properties"].clone(),
        })
    }

    /// The next message is this one.
    ///
    /// # Errors
    /// If it is another, or none comes.
    pub fn expect(&self, topic: &str, payload: &str, qos: u64, retain: bool) -> Outcome<Message> {
        let got = self.message()?;
        let seen = (got.topic.as_str(), got.payload.as_str(), got.qos, got.retain);
        same(&self.name, seen, (topic, payload, qos, retain))?;
        Ok(got)
    }

    /// Says goodbye and waits for the end.
    ///
    /// # Errors
    /// If the connection does not end.
    pub fn disconnect(mut self) -> Outcome {
        self.open = false;
        self.say("disconnect", json!({}));
        self.event("closed").map(drop)
    }

    /// The same with a code and properties of 5.0.
    ///
    /// # Errors
    /// As [`disconnect`](Client::disconnect).
    pub fn disconnect_with(mut self, command: Value) -> Outcome {
        self.open = false;
        self.say("disconnect", command);
        self.event("closed").map(drop)
    }

    /// Breaks the connection.
    ///
    /// # Errors
    /// If it cannot be broken.
    pub fn kill(mut self) -> Outcome {
        self.open = false;
        self.say("kill", json!({}));
        self.event("closed").map(drop)
    }

    /// The other side ends the connection; what the peer tells of it.
    ///
    /// # Errors
    /// If it does not.
    pub fn closed(mut self) -> Outcome<Value> {
        self.open = false;
        self.event("closed")
    }

    /// A command that only one peer knows.
    pub fn say(&self, what: &str, command: Value) {
        self.peer.borrow_mut().say(&self.name, what, command);
    }

    /// An event of this kind.
    ///
    /// # Errors
    /// If it does not come.
    pub fn event(&self, kind: &str) -> Result<Value, Failure> {
        self.peer.borrow_mut().event(&self.name, kind)
    }

    /// Whether a message is in that was not taken; for a check after another that came behind it.
    pub fn has_message(&self) -> bool {
        self.peer.borrow().has(&self.name, "message")
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if self.open {
            self.say("kill", json!({}));
        }
    }
}
