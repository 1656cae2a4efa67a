//! What the gateway says, and what time does: answers, messages, registrations, repeats.

use motegate_timers::Instant;

use super::reply::Reply;
use super::{Client, ClientEvent, ClientState, Done, Request, Waiting, set_dup};
use crate::{Packet, QosBits, ReturnCode, TopicId, is_reserved_topic_id};

/// Messages whose copies can be under way at once.
const LATE: u16 = 64;

impl<const N: usize, const WILL: usize> Client<N, WILL> {
    /// Time has passed: repeats what was not answered, pings when nothing else was sent.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<ClientEvent<'static>> {
        if let Some(request) = &mut self.request {
            if request.due > now {
                return None;
            }
            if request.repeats_left == 0 {
                return Some(self.give_up());
            }
            request.repeats_left -= 1;
            request.due = now + self.config.retry_timeout;
            request.unsent = true;
            set_dup(&mut request.packet);
            return None;
        }
        if self.state == ClientState::Active && self.ping_at <= now {
            // MQTT-SN 1.2 §6.11. Nothing is outstanding, and it fits.
            let _ = self.ask(now, Waiting::PingResp, 0, &Packet::PingReq { client_id: None });
        }
        None
    }

    /// A datagram came from the gateway; what is none of MQTT-SN's, or not for a client, is
    /// ignored. Payload and names in the event borrow from it.
    pub fn handle_datagram<'a>(
        &mut self,
        now: Instant,
        bytes: &'a [u8],
    ) -> Option<ClientEvent<'a>> {
        let packet = Packet::decode(bytes).ok()?;
        match packet {
            Packet::Advertise { gateway_id, .. } => {
                Some(ClientEvent::GatewayFound { gateway_id, address: &[] })
            }
            Packet::GwInfo { gateway_id, address } => {
                self.answered(now, Waiting::GwInfo, 0);
                Some(ClientEvent::GatewayFound { gateway_id, address })
            }
            Packet::Disconnect { .. } => self.on_disconnect(now),
            Packet::WillTopicReq | Packet::WillMsgReq => {
                self.on_will_request(now, packet == Packet::WillMsgReq);
                None
            }
            Packet::Publish { .. }
            | Packet::PubRel { .. }
            | Packet::PubRec { .. }
            | Packet::Register { .. }
            | Packet::PingReq { .. } => self.on_request(now, packet),
            _ => self.on_answer(now, packet),
        }
    }

    /// What the gateway begins.
    fn on_request<'a>(&mut self, now: Instant, packet: Packet<'a>) -> Option<ClientEvent<'a>> {
        if self.state == ClientState::Disconnected {
            // Of an earlier life. Kept by the gateway as long as nobody takes it.
            return None;
        }
        self.gateway_is_busy(now);
        match packet {
            Packet::Publish { qos, retain, topic, msg_id, data, .. } => self
                .on_publish(now, qos, topic, msg_id)
                .then_some(ClientEvent::Message { topic, retain, data }),
            Packet::PubRel { msg_id } => {
                if self.received == msg_id {
                    self.received = 0;
                    if msg_id.wrapping_sub(self.released[0]) >= LATE {
                        // The gateway counts on from elsewhere: it was started anew.
                        self.released[1] = self.released[0];
                    }
                    self.released[0] = msg_id;
                    self.released_until = now + self.config.retry_timeout;
                }
                self.reply(Reply::PubComp(msg_id));
                None
            }
            Packet::PubRec { msg_id } => {
                self.on_pubrec(now, msg_id);
                None
            }
            Packet::Register { topic_id, msg_id, name } => {
                let known = !is_reserved_topic_id(topic_id);
                self.reply(Reply::RegAck { topic_id, msg_id, known });
                known.then_some(ClientEvent::Registered { topic_id, name })
            }
            Packet::PingReq { .. } => {
                self.reply(Reply::PingResp);
                None
            }
            _ => None,
        }
    }

    fn on_answer(&mut self, now: Instant, packet: Packet<'_>) -> Option<ClientEvent<'static>> {
        let (waiting, id, done, code) = match packet {
            Packet::ConnAck { code } => (Waiting::ConnAck, 0, Done::Connect, code),
            Packet::RegAck { topic_id, msg_id, code } => {
                (Waiting::RegAck, msg_id, Done::Register { topic_id }, code)
            }
            // MQTT-SN 1.2 §6.6: an unknown topic id is refused at every QoS.
            Packet::PubAck { msg_id: 0, code, .. } if code != ReturnCode::Accepted => {
                return Some(ClientEvent::Refused { request: Done::Publish, code });
            }
            Packet::PubAck { msg_id, code, .. } => {
                // At QoS 2 a PUBACK is a refusal.
                let refused = code != ReturnCode::Accepted && self.waits(Waiting::PubRec, msg_id);
                let waiting = if refused { Waiting::PubRec } else { Waiting::PubAck };
                (waiting, msg_id, Done::Publish, code)
            }
            Packet::PubComp { msg_id } => {
                (Waiting::PubComp, msg_id, Done::Publish, ReturnCode::Accepted)
            }
            Packet::SubAck { qos, topic_id, msg_id, code } => {
                (Waiting::SubAck, msg_id, Done::Subscribe { qos, topic_id }, code)
            }
            Packet::UnsubAck { msg_id } => {
                (Waiting::UnsubAck, msg_id, Done::Unsubscribe, ReturnCode::Accepted)
            }
            Packet::PingResp => (Waiting::PingResp, 0, Done::Ping, ReturnCode::Accepted),
            Packet::WillTopicResp { code } => (Waiting::WillTopicResp, 0, Done::WillTopic, code),
            Packet::WillMsgResp { code } => (Waiting::WillMsgResp, 0, Done::WillMessage, code),
            _ => return None,
        };
        if !self.answered(now, waiting, id) {
            return None; // the answer to a repeat, or to nothing
        }
        match (waiting, code) {
            (Waiting::ConnAck, ReturnCode::Accepted) => {
                self.state = ClientState::Active;
                self.heard(now);
            }
            (Waiting::ConnAck, _) => self.forget(),
            (Waiting::PingResp, _) if self.state == ClientState::Awake => {
                self.state = ClientState::Asleep;
            }
            _ => {}
        }
        Some(match code {
            ReturnCode::Accepted => ClientEvent::Done(done),
            code => ClientEvent::Refused { request: done, code },
        })
    }

    /// Whether the message is a new one.
    fn on_publish(&mut self, now: Instant, qos: QosBits, topic: TopicId, msg_id: u16) -> bool {
        match qos {
            QosBits::Zero | QosBits::MinusOne => true,
            QosBits::One => {
                self.reply(Reply::PubAck { topic_id: topic.raw(), msg_id });
                true
            }
            // UDP may deliver a copy after the PUBREL. The gateway waits for nothing any more; if it
            // does after all, its repeat comes when no copy can be under way.
            QosBits::Two if self.is_late(now, msg_id) => false,
            QosBits::Two => {
                self.reply(Reply::PubRec(msg_id));
                core::mem::replace(&mut self.received, msg_id) != msg_id
            }
        }
    }

    /// Gateways count message ids up: one shortly below the last that was released is an old one,
    /// and so is one below where a gateway stopped that was started anew.
    fn is_late(&self, now: Instant, msg_id: u16) -> bool {
        let is_old = |released: &u16| released.wrapping_sub(msg_id) < LATE;
        now < self.released_until && self.released.iter().any(is_old)
    }

    fn on_will_request(&mut self, now: Instant, message: bool) {
        if !self.waits(Waiting::ConnAck, 0) {
            return;
        }
        let Some(Ok(packet)) = self.will_packet(message).map(|packet| packet.to_vec()) else {
            return; // we did not say that there is one
        };
        if let Some(request) = &mut self.request {
            *request = Request {
                due: now + self.config.retry_timeout,
                packet,
                repeats_left: self.config.max_retries,
                unsent: true,
                ..*request
            };
        }
    }

    fn on_pubrec(&mut self, now: Instant, msg_id: u16) {
        if self.waits(Waiting::PubRec, msg_id) {
            self.request = None;
            let _ = self.ask(now, Waiting::PubComp, msg_id, &Packet::PubRel { msg_id });
        } else {
            self.reply(Reply::PubRel(msg_id));
        }
    }

    fn on_disconnect(&mut self, now: Instant) -> Option<ClientEvent<'static>> {
        match (self.state, self.request.as_ref().map(|request| request.waiting)) {
            (_, Some(Waiting::Sleep)) => {
                self.request = None;
                self.state = ClientState::Asleep;
                self.heard(now);
                Some(ClientEvent::Done(Done::Sleep))
            }
            (_, Some(Waiting::Goodbye)) => {
                self.forget();
                Some(ClientEvent::Done(Done::Disconnect))
            }
            // Nothing to lose; or the answer to a repeat of what has been answered.
            (ClientState::Disconnected, _) | (ClientState::Asleep, None) => None,
            _ => {
                // The gateway does not know us (any more).
                self.forget();
                Some(ClientEvent::Lost)
            }
        }
    }

    /// N_RETRY repeats were in vain.
    fn give_up(&mut self) -> ClientEvent<'static> {
        if self.waits(Waiting::GwInfo, 0) {
            self.request = None;
        } else {
            self.forget();
        }
        ClientEvent::Lost
    }

    fn waits(&self, waiting: Waiting, msg_id: u16) -> bool {
        self.request.as_ref().is_some_and(|r| r.waiting == waiting && r.msg_id == msg_id)
    }

    fn answered(&mut self, now: Instant, waiting: Waiting, msg_id: u16) -> bool {
        let is_it = self.waits(waiting, msg_id);
        if is_it {
            self.request = None;
            self.heard(now);
        }
        is_it
    }

    /// It is delivering what was buffered, PINGRESP comes last (§6.14): asking again can wait.
    fn gateway_is_busy(&mut self, now: Instant) {
        if self.state != ClientState::Awake {
            return;
        }
        if let Some(request) = &mut self.request {
            request.due = now + self.config.retry_timeout;
            request.repeats_left = self.config.max_retries;
        }
    }

    /// A full queue is a lost datagram: the gateway repeats what is not answered.
    fn reply(&mut self, reply: Reply) {
        let _ = self.replies.push_back(reply);
    }
}
