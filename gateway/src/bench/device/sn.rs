//! An MQTT-SN client on a datagram socket of its own, or behind a forwarder's wrapper.

use motegate_mqtt_sn::client::{Client, ClientConfig, ClientEvent, Done};
use motegate_mqtt_sn::{Encapsulation, QosBits, TopicId, TopicRef};
use motegate_timers::Instant;

use std::time::Duration;

use super::{Around, Fact, Role, Taken};
use crate::bench::plan::Plan;
use crate::bench::stamp::Stamp;
use crate::client::Error;

/// Longest packet that is sent.
const MAX_PACKET: usize = 1152;
/// T_RETRY: on a fast network, a lost datagram should not stop a publisher for long.
const RETRY: Duration = Duration::from_secs(2);
/// Packets that wait for the socket, from which on a publisher waits.
const FULL: usize = 128;

/// See the module.
#[derive(Debug)]
pub(super) struct Sn {
    machine: Client<MAX_PACKET>,
    topic: String,
    subscribes: bool,
    publishes: bool,
    qos: QosBits,
    topic_id: u16,
    /// When the publish that is outstanding was due.
    since: Option<Instant>,
    /// A wrapper before each packet.
    wrapper: heapless::Vec<u8, 8>,
}

impl Sn {
    pub(super) fn new(
        plan: &Plan,
        role: &Role,
        id: &str,
        node: Option<u32>,
    ) -> Result<Self, Error> {
        let config: ClientConfig = ClientConfig { retry_timeout: RETRY, ..ClientConfig::default() };
        let machine = Client::new(id, config)
            .map_err(|error| Error::usage(format!("client id {id}: {error}")))?;
        let (topic, publishes, subscribes) = match role {
            Role::Connect => (String::new(), false, false),
            Role::Publish { topic, .. } => (topic.clone(), true, false),
            Role::Subscribe { topic, .. } => (topic.clone(), false, true),
        };
        let mut wrapper = heapless::Vec::new();
        if let Some(node) = node {
            let node = node.to_be_bytes();
            let _ = wrapper.resize(Encapsulation::wrapper_len(&node), 0);
            Encapsulation::encode_wrapper(0, &node, &mut wrapper)
                .expect("it was made as long as it is");
        }
        let qos = match plan.qos {
            0 => QosBits::Zero,
            1 => QosBits::One,
            _ => QosBits::Two,
        };
        Ok(Sn { machine, topic, subscribes, publishes, qos, topic_id: 0, since: None, wrapper })
    }

    pub(super) fn open(&mut self, around: &mut Around<'_>) {
        // Not connected and not busy, or its own answer is under way: the retry sees to it.
        let _ = self.machine.connect(around.now, true);
        self.transmit(around);
    }

    pub(super) fn publish(
        &mut self,
        payload: &[u8],
        since: Instant,
        around: &mut Around<'_>,
    ) -> Taken {
        let full = around.wire.as_ref().is_some_and(|wire| wire.backlog() >= FULL);
        if full || self.machine.is_busy() {
            return Taken::NotNow;
        }
        let topic = TopicId::Normal(self.topic_id);
        let published = self.machine.publish(around.now, topic, self.qos, false, payload).is_ok();
        if published && self.qos == QosBits::Zero {
            around.facts.push(Fact::Through { since, ok: true });
        } else if published {
            self.since = Some(since);
        }
        self.transmit(around);
        if published { Taken::Yes } else { Taken::NotNow }
    }

    /// UNSUBACK comes behind everything that was published before.
    pub(super) fn settle(&mut self, around: &mut Around<'_>) {
        if self.machine.unsubscribe(around.now, TopicRef::Name("none")).is_err() {
            around.facts.push(Fact::Settled);
        }
        self.transmit(around);
    }

    pub(super) fn close(&mut self, around: &mut Around<'_>) {
        if self.machine.disconnect(around.now).is_err() {
            around.facts.push(Fact::Left);
        }
        self.transmit(around);
    }

    pub(super) fn datagram(&mut self, bytes: &[u8], around: &mut Around<'_>) {
        let event = self.machine.handle_datagram(around.now, bytes);
        if let Some(event) = event
            && let Some(fact) = self.fact(&event, around)
        {
            around.facts.push(fact);
        }
        self.transmit(around);
    }

    pub(super) fn timeout(&mut self, around: &mut Around<'_>) {
        if self.machine.handle_timeout(around.now).is_some() {
            self.fail(around);
            around.facts.push(Fact::Gone(Error::TimedOut {
                what: "no answer from the MQTT-SN gateway".to_owned(),
                hint: "is it overloaded? try fewer --clients or a lower --rate".into(),
            }));
        }
        self.transmit(around);
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.machine.poll_timeout()
    }

    fn fact(&mut self, event: &ClientEvent<'_>, around: &mut Around<'_>) -> Option<Fact> {
        match *event {
            ClientEvent::Message { data, .. } => Stamp::read(around.run, data).map(Fact::Delivered),
            ClientEvent::Done(done) => self.done(done, around.now),
            ClientEvent::Refused { request: Done::Publish, .. } => {
                Some(Fact::Through { since: self.since.take()?, ok: false })
            }
            ClientEvent::Refused { request, code } => Some(Fact::Gone(Error::Refused {
                text: format!("{request:?} refused: {code:?}"),
                hint: "see the gateway's log".into(),
            })),
            ClientEvent::Lost => {
                self.fail(around);
                Some(Fact::Gone(Error::Ended {
                    text: "the gateway is gone, or has forgotten a client".to_owned(),
                    hint: "is it still up?",
                }))
            }
            ClientEvent::Registered { .. } | ClientEvent::GatewayFound { .. } => None,
        }
    }

    fn done(&mut self, done: Done, now: Instant) -> Option<Fact> {
        let asked = match done {
            Done::Connect if self.subscribes => {
                self.machine.subscribe(now, TopicRef::Name(&self.topic), self.qos)
            }
            Done::Connect if self.publishes => self.machine.register(now, &self.topic),
            Done::Connect | Done::Subscribe { .. } => return Some(Fact::Ready),
            Done::Register { topic_id } => {
                self.topic_id = topic_id;
                return Some(Fact::Ready);
            }
            Done::Publish => return Some(Fact::Through { since: self.since.take()?, ok: true }),
            Done::Unsubscribe => return Some(Fact::Settled),
            Done::Disconnect => return Some(Fact::Left),
            _ => return None,
        };
        asked.err().map(|error| Fact::Gone(Error::usage(format!("{}: {error}", self.topic))))
    }

    /// What is outstanding will not be answered.
    fn fail(&mut self, around: &mut Around<'_>) {
        if let Some(since) = self.since.take() {
            around.facts.push(Fact::Through { since, ok: false });
        }
    }

    fn transmit(&mut self, around: &mut Around<'_>) {
        let Some(wire) = &mut around.wire else { return };
        while let Some(packet) = self.machine.poll_transmit() {
            wire.push(&self.wrapper, &packet);
        }
    }
}
