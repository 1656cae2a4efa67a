//! An MQTT device of a test, and the tap that sees every message.

use std::time::Duration;

use motegate_config::tests::MqttPublish;
use motegate_message::{ConnectionId, ListenerId, Qos};
use motegate_mqtt::client::{Client, ClientConfig, Event, Filter, Message, Publish, Transmit};
use motegate_mqtt::{Property, PropertyBuf};

use super::coap::plain;
use super::compare::Published;
use super::report::Failure;
use super::stage::Wires;

/// One MQTT 5 client.
pub(super) struct MqttDevice {
    machine: Client,
    pub(super) listener: ListenerId,
    conn: Option<ConnectionId>,
    pub(super) messages: Vec<Published>,
}

impl MqttDevice {
    /// A client that is connected.
    pub(super) fn open(wires: &mut Wires, listener: ListenerId, id: &str) -> Result<Self, Failure> {
        let config = ClientConfig { keep_alive_secs: 0, reconnect: None, ..ClientConfig::new(id) };
        let machine = Client::new(config, 1)
            .map_err(|error| Failure::new("mqtt", "a client", error.to_string()))?;
        let mut device = MqttDevice { machine, listener, conn: None, messages: Vec::new() };
        device.machine.connect(wires.now);
        while device.step(wires) {}
        match device.machine.is_connected() {
            true => Ok(device),
            false => {
                Err(Failure::new("mqtt", "a connection", wires.explained("no connection".into())))
            }
        }
    }

    /// A client that gets every message as it was published.
    pub(super) fn tap(wires: &mut Wires, listener: ListenerId) -> Result<Self, Failure> {
        let mut device = Self::open(wires, listener, "motegate test")?;
        let filter = Filter { retain_as_published: true, ..Filter::new("#", Qos::ExactlyOnce) };
        device
            .machine
            .subscribe(&[filter], &PropertyBuf::new(), 0)
            .map_err(|error| Failure::new("mqtt", "a subscription", error.to_string()))?;
        while device.step(wires) {}
        Ok(device)
    }

    pub(super) fn publish(&mut self, wires: &mut Wires, publish: &MqttPublish) {
        let mut properties = PropertyBuf::new();
        if let Some(text) = &publish.content_type {
            properties.push(Property::ContentType(text));
        }
        for (name, value) in &publish.user {
            properties.push(Property::UserProperty(name, value));
        }
        let payload = plain(publish.payload.as_ref());
        let message = Publish {
            topic: &publish.topic,
            payload: &payload,
            qos: publish.qos,
            retain: publish.retain,
            properties: properties.as_properties(),
        };
        // What the client itself refuses is not published; the test sees that nothing came.
        let _ = self.machine.publish(&message, 1);
        while self.step(wires) {}
    }

    /// Sends and receives what there is.
    pub(super) fn step(&mut self, wires: &mut Wires) -> bool {
        let mut moved = false;
        while let Some(transmit) = self.machine.poll_transmit() {
            moved = true;
            match transmit {
                Transmit::Open => {
                    self.conn = Some(wires.open(self.listener));
                    self.machine.handle_opened(wires.now);
                }
                Transmit::Close => {
                    self.conn = None;
                    self.machine.handle_closed(wires.now);
                }
                Transmit::PauseReads | Transmit::ResumeReads => {}
            }
        }
        let Some(conn) = self.conn else { return moved };
        let out = self.machine.outbox().to_vec();
        if !out.is_empty() {
            moved = true;
            wires.bytes(conn, &out);
            self.machine.handle_written(wires.now, out.len());
        }
        let (bytes, closed) = wires.read(conn);
        if !bytes.is_empty() {
            moved = true;
            self.machine.handle_bytes(wires.now, &bytes);
        }
        if closed {
            moved = true;
            self.conn = None;
            self.machine.handle_closed(wires.now);
        }
        while let Some(event) = self.machine.poll_event() {
            if let Event::Message(message) = event {
                self.messages.push(published(&message));
            }
        }
        moved
    }
}

fn published(message: &Message) -> Published {
    let mut out = Published {
        topic: message.topic().to_owned(),
        retain: message.retain(),
        qos: message.qos(),
        expiry: None,
        user: Vec::new(),
        payload: message.payload_bytes(),
    };
    for property in message.properties().iter() {
        match property {
            Property::UserProperty(name, value) => {
                out.user.push((name.to_owned(), value.to_owned()));
            }
            Property::MessageExpiryInterval(secs) => {
                out.expiry = Some(Duration::from_secs(secs.into()));
            }
            _ => {}
        }
    }
    out
}
