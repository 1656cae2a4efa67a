//! PUBLISH of MQTT-SN: of a connected client, and at QoS -1 of anybody, as the rules let it act; in
//! the broker's format (mapping.md §2.10, §2.12).

use bytes::Bytes;
use motegate_broker::Request;
use motegate_mapping::payload::{PayloadError, Uplink};
use motegate_mapping::{MapError, OnBadPayload, SnMatch};
use motegate_message::{Message, Peer, Qos, Reason, SessionKey, TopicFilter, TopicName};
use motegate_mqtt_sn::endpoint::{ClientRef, Topic};

use super::{of_peer, sn_topic};
use crate::notice::{Notice, NoticeKind};
use crate::pending::Pending;
use crate::topics::dead_letter;
use crate::{Core, Protocol, content_types};

/// A PUBLISH as the endpoint understood it.
pub(super) struct Publish {
    pub(super) topic: Topic,
    pub(super) qos: Option<Qos>,
    pub(super) retain: bool,
    pub(super) payload: Bytes,
}

impl Core {
    pub(super) fn sn_publish(
        &mut self,
        client: Option<ClientRef>,
        peer: Peer,
        ticket: u64,
        publish: Publish,
    ) {
        if self.backpressure.is_over() {
            self.sn.published(&self.turn, ticket, Err(Reason::Overloaded));
            return;
        }
        let mapped = match (client, publish.qos) {
            (Some(client), Some(_)) => {
                self.sn_map(client, sn_topic(&publish.topic)).and_then(|m| {
                    let topic = self.sn_concrete(self.config.mqtt_of(peer.listener), &m)?;
                    let key = self.sn.known(client).map(|known| known.key.clone());
                    Ok((key, topic, m))
                })
            }
            _ => self.sn_map_minus_one(client, &peer, &publish.topic),
        };
        let (publisher, topic, mapped) = match mapped {
            Ok(mapped) => mapped,
            Err(error) => {
                let kind = NoticeKind::Refused(error.reason);
                self.notice(Notice { text: Some(error.text), ..of_peer(kind, &peer) });
                self.sn.published(&self.turn, ticket, Err(error.reason));
                return;
            }
        };
        // What is not listed uses up nothing.
        if publish.qos.is_none() && !self.minus_one_admits(&peer) {
            self.notice(of_peer(NoticeKind::Dropped(Reason::RateLimited), &peer));
            self.sn.published(&self.turn, ticket, Err(Reason::RateLimited));
            return;
        }
        let message = match self.sn_message(topic, publisher, &publish, &mapped) {
            Ok(message) => message,
            Err(error) => {
                let text = Some(format!("{error}: {}", error.fix()));
                let kind = NoticeKind::Refused(Reason::BadPayload);
                self.notice(Notice { text, ..of_peer(kind, &peer) });
                self.sn.published(&self.turn, ticket, Err(Reason::BadPayload));
                return;
            }
        };
        self.sys.of_mut(Protocol::MqttSn).published += 1;
        let ticket = self.pending.insert(Pending::SnPublish { ticket });
        self.ask(Request::Publish { ticket, message, precondition: None });
    }

    /// The message that a PUBLISH becomes, in the broker's format (mapping.md §2.10).
    fn sn_message(
        &self,
        topic: TopicName,
        publisher: Option<SessionKey>,
        publish: &Publish,
        mapped: &SnMatch,
    ) -> Result<Message, PayloadError> {
        let mut message = Message::new(topic, publish.payload.clone());
        message.qos = publish.qos.unwrap_or(Qos::AtMostOnce);
        message.retain = mapped.retain.unwrap_or(publish.retain);
        message.expires = mapped.expiry.map(|expiry| self.turn.now + expiry);
        // An empty retained message clears the topic, whatever its format.
        let clears = message.retain && message.payload.is_empty();
        if let Some(conversion) = mapped.conversion.as_ref().filter(|_| !clears) {
            match conversion.uplink(None, &publish.payload) {
                Ok(Uplink::One(payload)) => {
                    message.payload = payload;
                    let format = conversion.broker().content_format();
                    message.properties = content_types::properties(Some(format), &[]);
                }
                // No topic id has `split`.
                Ok(Uplink::Records(_)) => {}
                Err(error) => match (conversion.on_bad(), &publisher) {
                    (OnBadPayload::Pass, _) => {}
                    (OnBadPayload::DeadLetter, Some(client)) => {
                        let (topic, payload) = (TopicFilter::from(message.topic), message.payload);
                        return Ok(dead_letter(&topic, payload, client, "topic_ids", &error));
                    }
                    _ => return Err(error),
                },
            }
        }
        message.publisher = publisher;
        Ok(message)
    }

    fn minus_one_admits(&mut self, peer: &Peer) -> bool {
        let Some(rate) = self.table.qos_minus_one().and_then(|rule| rule.rate) else { return true };
        self.minus_one.admits(self.turn.now, peer.addr.ip(), rate.count, rate.per)
    }

    /// A PUBLISH at QoS −1 acts as the client name that the rules give it.
    fn sn_map_minus_one(
        &self,
        client: Option<ClientRef>,
        peer: &Peer,
        topic: &Topic,
    ) -> Result<(Option<SessionKey>, TopicName, SnMatch), MapError> {
        let known = client.and_then(|client| self.sn.known(client));
        let name = known.map_or("", |known| known.key.client_id());
        let caller = self.caller(peer.listener, name, peer.addr.ip());
        let (acts_as, mapped) = self.table.sn_qos_minus_one(&caller, sn_topic(topic))?;
        let key = SessionKey::new(&self.listener(peer.listener).realm, &acts_as);
        let topic = self.sn_concrete(self.config.mqtt_of(peer.listener), &mapped)?;
        Ok((Some(key), topic, mapped))
    }
}
