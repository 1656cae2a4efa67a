//! A datagram on its way in: out of its wrapper (MQTT-SN 1.2 §5.5), decoded, and handed to what its
//! packet is about (§5.4.21). What cannot be read is dropped, or refused where it asks something.

use motegate_message::{Group, Peer, Reason, Turn};

use super::Endpoint;
use super::clients::Slot;
use super::contract::Event;
use super::forwarder::{self, Source};
use super::line::Line;
use super::session::ConnectFields;
use super::uplink::Uplink;
use crate::{Encapsulation, Packet, QosBits, codec, msg_type, peek_type};

impl Endpoint {
    pub(super) fn receive(&mut self, turn: &Turn, peer: Peer, group: Option<&Group>, bytes: &[u8]) {
        let mut source = Source { route: peer.route(), node: None, slot: None, group };
        let mut datagram = bytes;
        if peek_type(bytes) == Some(msg_type::ENCAPSULATED) {
            if !self.config.forwarders.admits(peer.addr.ip()) {
                return self.drop_from(source, Reason::NotSupported);
            }
            // MQTT-SN 1.2 §5.5: a wrapper holds a packet, never another wrapper.
            match Encapsulation::decode(bytes) {
                Some(wrapper) if peek_type(wrapper.inner) != Some(msg_type::ENCAPSULATED) => {
                    source.node = Some(wrapper.node);
                    datagram = wrapper.inner;
                }
                _ => return self.drop_from(source, Reason::Malformed),
            }
        }
        source.slot = self.clients.find_peer(peer.listener, peer.addr, source.node);
        if let Some(slot) = source.slot.filter(|_| group.is_none()) {
            self.heard(turn, slot, peer.local, bytes.len());
        }
        match Packet::decode(datagram) {
            Ok(packet) => self.on_packet(turn, source, packet),
            Err(_) => self.on_undecodable(turn, source, datagram),
        }
    }

    /// What cannot be read is dropped; a client, or who wants to be one, is told when it asked.
    fn on_undecodable(&mut self, turn: &Turn, source: Source<'_>, datagram: &[u8]) {
        let asked = source.slot.filter(|slot| source.group.is_none() && self.awaits_will(*slot));
        let is_will = codec::frame(datagram).is_ok_and(|(kind, _)| kind == msg_type::WILLTOPIC);
        if let Some(slot) = asked.filter(|_| is_will) {
            return self.refuse_connect(turn, slot, Reason::BadTopic);
        }
        self.drop_from(source, Reason::Malformed);
        if source.group.is_some() {
            return;
        }
        let is_client = source.slot.is_some_and(|slot| self.is_connected(slot));
        match codec::refusal(datagram) {
            Some(packet) if is_client || matches!(packet, Packet::ConnAck { .. }) => {
                forwarder::send_to(&mut self.out, source.route, source.node, 0, &packet);
            }
            _ => {}
        }
    }

    pub(super) fn drop_from(&mut self, source: Source<'_>, reason: Reason) {
        self.events.push_back(Event::Dropped { peer: source.to_peer(), reason });
    }

    /// What anybody may send; the rest needs a connection (MQTT-SN 1.2 §5.4.21).
    fn on_packet(&mut self, turn: &Turn, source: Source<'_>, packet: Packet<'_>) {
        match packet {
            Packet::SearchGw { radius } => self.on_search(turn, source, radius),
            // Other gateways, and clients that answer for one (§6.1), are heard on a group.
            Packet::Advertise { .. } | Packet::GwInfo { .. } => {}
            Packet::Publish { qos: QosBits::MinusOne, topic, retain, data, .. } => {
                self.on_publish_unasked(turn, source, topic, retain, data);
            }
            _ if source.group.is_some() => self.drop_from(source, Reason::ProtocolError),
            Packet::Connect { will, clean, protocol_id, duration, client_id } => {
                let fields = ConnectFields { will, clean, protocol_id, duration, client_id };
                self.on_connect(turn, source, fields);
            }
            Packet::PingReq { client_id: Some(id) } => self.on_ping_id(turn, source, id),
            // Only a gateway sends these. They are not answered, so that two gateways that hear
            // each other do not go on for ever.
            Packet::ConnAck { .. }
            | Packet::WillTopicReq
            | Packet::WillMsgReq
            | Packet::SubAck { .. }
            | Packet::UnsubAck { .. }
            | Packet::WillTopicResp { .. }
            | Packet::WillMsgResp { .. } => self.drop_from(source, Reason::ProtocolError),
            _ => match source.slot {
                Some(slot) => self.on_client_packet(turn, source, slot, packet),
                None => self.on_stranger(turn, source),
            },
        }
    }

    /// A packet of somebody who has at least said CONNECT.
    fn on_client_packet(
        &mut self,
        turn: &Turn,
        source: Source<'_>,
        slot: Slot,
        packet: Packet<'_>,
    ) {
        match packet {
            Packet::WillTopic { will } => {
                if !self.on_will_topic(turn, slot, will) {
                    self.drop_from(source, Reason::ProtocolError);
                }
            }
            Packet::WillMsg { message } => {
                if !self.on_will_message(turn, slot, message) {
                    self.drop_from(source, Reason::ProtocolError);
                }
            }
            Packet::Disconnect { duration } => self.on_disconnect(turn, slot, duration),
            _ => match self.line(turn, slot).filter(Line::is_connected) {
                Some(mut line) => line.on_packet(packet),
                // Its CONNACK is not out yet.
                None => self.drop_from(source, Reason::SnNotConnected),
            },
        }
    }
}

impl Line<'_> {
    /// A packet of a connected client, whatever state it is in: one that is asleep and speaks is
    /// awake enough to hear the answer.
    fn on_packet(&mut self, packet: Packet<'_>) {
        self.client.fresh = false;
        self.touch();
        match packet {
            Packet::Register { msg_id, name, .. } => self.on_register(msg_id, name),
            Packet::RegAck { msg_id, code, .. } => self.on_regack(msg_id, code),
            Packet::Publish { dup, qos, retain, topic, msg_id, data } => {
                if let Some(qos) = super::line::qos(qos) {
                    self.on_publish(Uplink { dup, qos, retain, topic, msg_id, data });
                }
            }
            Packet::PubAck { topic_id, msg_id, code } => self.on_puback(topic_id, msg_id, code),
            Packet::PubRec { msg_id } => self.on_pubrec(msg_id),
            Packet::PubRel { msg_id } => self.on_pubrel(msg_id),
            Packet::PubComp { msg_id } => self.on_pubcomp(msg_id),
            Packet::Subscribe { dup, qos, msg_id, topic } => {
                self.on_subscribe(dup, qos, msg_id, topic);
            }
            Packet::Unsubscribe { msg_id, topic } => self.on_unsubscribe(msg_id, topic),
            Packet::PingReq { .. } => self.send(&Packet::PingResp),
            Packet::PingResp => {}
            Packet::WillTopicUpd { will } => self.on_will_topic_update(will),
            Packet::WillMsgUpd { message } => self.on_will_message_update(message),
            _ => self.dropped(Reason::ProtocolError),
        }
    }
}
