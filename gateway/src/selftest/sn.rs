//! An MQTT-SN device of a test: packets, and answers to the gateway's.

use std::collections::HashMap;
use std::net::SocketAddr;

use motegate_config::tests::{SnPublish, SnTopic, Subscriber};
use motegate_message::{ListenerId, Qos};
use motegate_mqtt_sn::{PROTOCOL_ID, Packet, QosBits, ReturnCode, TopicId, TopicRef};

use super::coap::plain;
use super::compare::Delivered;
use super::report::Failure;
use super::stage::Wires;

/// Seconds: longer than a test lasts.
const KEEP_ALIVE: u16 = 600;
const SLEEP: u16 = 3600;

/// One client at one address.
pub(super) struct SnDevice {
    pub(super) id: String,
    pub(super) listener: ListenerId,
    pub(super) asleep: bool,
    address: SocketAddr,
    next: u16,
    /// What the gateway has registered.
    names: HashMap<u16, String>,
    pub(super) delivered: Vec<Delivered>,
    /// A PUBLISH of QoS 2 whose PUBREL is awaited.
    held: Option<u16>,
    /// The answers to requests.
    codes: Vec<ReturnCode>,
    registered: Option<u16>,
}

impl SnDevice {
    pub(super) fn new(wires: &mut Wires, listener: ListenerId, id: &str) -> Self {
        SnDevice {
            id: id.to_owned(),
            listener,
            asleep: false,
            address: wires.address(),
            next: 0,
            names: HashMap::new(),
            delivered: Vec::new(),
            held: None,
            codes: Vec::new(),
            registered: None,
        }
    }

    pub(super) fn connect(&mut self, wires: &mut Wires) -> Result<(), Failure> {
        let id = self.id.clone();
        let packet = Packet::Connect {
            will: false,
            clean: true,
            protocol_id: PROTOCOL_ID,
            duration: KEEP_ALIVE,
            client_id: &id,
        };
        self.request(wires, &packet, "a connection")
    }

    pub(super) fn subscribe(
        &mut self,
        wires: &mut Wires,
        wanted: &Subscriber,
    ) -> Result<(), Failure> {
        let topic = match &wanted.topic {
            SnTopic::Name(name) => TopicRef::Name(name),
            SnTopic::Id(id) => TopicRef::Predefined(*id),
            SnTopic::Short(short) => TopicRef::Short(*short),
        };
        let msg_id = self.message_id();
        let packet = Packet::Subscribe { dup: false, qos: bits(Some(wanted.qos)), msg_id, topic };
        self.request(wires, &packet, "a subscription")?;
        if let (SnTopic::Name(name), Some(id)) = (&wanted.topic, self.registered.take()) {
            self.names.insert(id, name.clone());
        }
        Ok(())
    }

    pub(super) fn sleep(&mut self, wires: &mut Wires) {
        self.send(wires, &Packet::Disconnect { duration: Some(SLEEP) });
        self.asleep = true;
        while self.step(wires) {}
    }

    /// Asks for what was buffered.
    pub(super) fn wake(&mut self, wires: &mut Wires) {
        let id = self.id.clone();
        self.send(wires, &Packet::PingReq { client_id: Some(&id) });
        while self.step(wires) {}
    }

    /// Publishes; a long name is registered first. A refusal is the gateway's to tell.
    pub(super) fn publish(&mut self, wires: &mut Wires, publish: &SnPublish) {
        let topic = match &publish.topic {
            SnTopic::Id(id) => TopicId::Predefined(*id),
            SnTopic::Short(short) => TopicId::Short(*short),
            SnTopic::Name(name) => {
                let msg_id = self.message_id();
                self.send(wires, &Packet::Register { topic_id: 0, msg_id, name });
                while self.step(wires) {}
                match self.registered.take() {
                    Some(id) => TopicId::Normal(id),
                    None => return,
                }
            }
        };
        let qos = bits(publish.qos);
        let msg_id = match qos {
            QosBits::One | QosBits::Two => self.message_id(),
            _ => 0,
        };
        let data = plain(publish.payload.as_ref());
        let retain = publish.retain;
        self.send(wires, &Packet::Publish { dup: false, qos, retain, topic, msg_id, data: &data });
        while self.step(wires) {}
    }

    /// Answers what there is.
    pub(super) fn step(&mut self, wires: &mut Wires) -> bool {
        let received = wires.received(self.address);
        for bytes in &received {
            if let Ok(packet) = Packet::decode(bytes) {
                self.packet(wires, packet);
            }
        }
        !received.is_empty()
    }

    fn packet(&mut self, wires: &mut Wires, packet: Packet<'_>) {
        match packet {
            Packet::ConnAck { code } | Packet::PubAck { code, .. } => self.codes.push(code),
            Packet::SubAck { topic_id, code, .. } | Packet::RegAck { topic_id, code, .. } => {
                self.registered =
                    (code == ReturnCode::Accepted && topic_id != 0).then_some(topic_id);
                self.codes.push(code);
            }
            Packet::Register { topic_id, msg_id, name } => {
                self.names.insert(topic_id, name.to_owned());
                self.send(wires, &Packet::RegAck { topic_id, msg_id, code: ReturnCode::Accepted });
            }
            Packet::Publish { qos, retain, topic, msg_id, data, .. } => {
                self.message(wires, (qos, retain, topic), msg_id, data);
            }
            Packet::PubRel { msg_id } => {
                self.held = None;
                self.send(wires, &Packet::PubComp { msg_id });
            }
            Packet::PubRec { msg_id } => self.send(wires, &Packet::PubRel { msg_id }),
            _ => {}
        }
    }

    fn message(
        &mut self,
        wires: &mut Wires,
        (qos, retain, topic): (QosBits, bool, TopicId),
        msg_id: u16,
        data: &[u8],
    ) {
        let repeated = qos == QosBits::Two && self.held.replace(msg_id) == Some(msg_id);
        if !repeated {
            let (name, topic) = match topic {
                TopicId::Normal(id) => (self.names.get(&id).cloned(), None),
                TopicId::Predefined(id) => (None, Some(SnTopic::Id(id))),
                TopicId::Short(short) => (None, Some(SnTopic::Short(short))),
            };
            let topic = topic.or(name.map(SnTopic::Name));
            let client = self.id.clone();
            let qos = match qos {
                QosBits::Two => Qos::ExactlyOnce,
                QosBits::One => Qos::AtLeastOnce,
                _ => Qos::AtMostOnce,
            };
            let payload = data.to_vec().into();
            self.delivered.push(Delivered { client, topic, retain, qos, payload });
        }
        let (topic_id, code) = (topic.raw(), ReturnCode::Accepted);
        match qos {
            QosBits::One => self.send(wires, &Packet::PubAck { topic_id, msg_id, code }),
            QosBits::Two => self.send(wires, &Packet::PubRec { msg_id }),
            _ => {}
        }
    }

    /// Sends what is answered with a code.
    fn request(
        &mut self,
        wires: &mut Wires,
        packet: &Packet<'_>,
        wanted: &str,
    ) -> Result<(), Failure> {
        self.codes.clear();
        self.send(wires, packet);
        while self.step(wires) {}
        match self.codes.first() {
            Some(ReturnCode::Accepted) => Ok(()),
            Some(code) => Err(Failure::new("mqttsn", wanted, wires.explained(format!("{code:?}")))),
            None => Err(Failure::new("mqttsn", wanted, wires.explained("no answer".into()))),
        }
    }

    fn send(&mut self, wires: &mut Wires, packet: &Packet<'_>) {
        let mut bytes = vec![0; packet.encoded_len()];
        // What is longer than a datagram is not sent, as by a device.
        if let Ok(length) = packet.encode(&mut bytes) {
            bytes.truncate(length);
            wires.datagram(self.listener, self.address, &bytes);
        }
    }

    fn message_id(&mut self) -> u16 {
        self.next = self.next.checked_add(1).unwrap_or(1);
        self.next
    }
}

fn bits(qos: Option<Qos>) -> QosBits {
    match qos {
        None => QosBits::MinusOne,
        Some(Qos::AtMostOnce) => QosBits::Zero,
        Some(Qos::AtLeastOnce) => QosBits::One,
        Some(Qos::ExactlyOnce) => QosBits::Two,
    }
}
