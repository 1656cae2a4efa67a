//! The CONNECT dialogue with a will (MQTT-SN 1.2 §6.2, §6.3) and updates of the will (§6.4).
//!
//! CONNECT, WILLTOPIC and WILLMSG may each come again at any stage, because the client repeats
//! what it thinks was lost (§6.13); each is answered as at first. The gateway repeats nothing
//! here: it forgets a dialogue that does not go on.

use alloc::boxed::Box;
use alloc::collections::VecDeque;

use bytes::Bytes;
use motegate_message::{Message, Qos, Reason, Seq, SessionId, TopicName, Turn, Will};

use super::clients::{Slot, State};
use super::contract::{ClientRef, Event, WillChange, WillUpdate};
use super::line::{Line, qos, reply_for};
use super::{Endpoint, Pending};
use crate::{Packet, ReturnCode, WillTopic};

/// A CONNECT under way.
#[derive(Debug)]
pub(super) struct Dialogue {
    pub(super) stage: DialogueStage,
    pub(super) client_id: Box<str>,
    pub(super) clean: bool,
    pub(super) with_will: bool,
    pub(super) keep_alive: u16,
    /// Of WILLTOPIC, once it came.
    pub(super) topic: Option<(TopicName, Qos, bool)>,
    /// Opened by the gateway after a restart, for this session.
    pub(super) resumed: Option<SessionId>,
    pub(super) asleep: bool,
}

/// What a dialogue waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DialogueStage {
    WillTopic,
    WillMsg,
    /// `Event::Connect` is out, or its CONNACK is held.
    Opening,
}

/// Dialogues that may wait for their clients at least, however small `max_clients` is.
const MIN_DIALOGUES: usize = 1024;

/// Dialogues of unknown clients, the oldest first; some are over.
#[derive(Debug, Default)]
pub(super) struct Dialogues {
    begun: VecDeque<ClientRef>,
    /// How many were given up for a younger one.
    pub(super) given_up: u64,
}

impl Endpoint {
    /// Most dialogues at once: what anybody can begin with one datagram takes a sixteenth of the
    /// places at most.
    #[must_use]
    pub fn max_dialogues(&self) -> usize {
        (self.config.max_clients / 16).max(MIN_DIALOGUES)
    }

    /// A new client is asked for its will. Beyond the bound the oldest dialogue is given up: its
    /// client may begin again, and whoever never goes on keeps nobody out.
    pub(super) fn begin_dialogue(&mut self, turn: &Turn, slot: Slot) {
        while self.dialogues.begun.len() >= self.max_dialogues() {
            let Some(oldest) = self.dialogues.begun.pop_front() else { break };
            let Some(oldest) = self.clients.slot_of(oldest) else { continue };
            let Some(client) = self.clients.get(oldest) else { continue };
            if client.state == State::Connecting {
                let (peer, reason) = (client.peer.clone(), Reason::HalfOpen);
                self.events.push_back(Event::Dropped { peer, reason });
                self.dialogues.given_up += 1;
                self.remove_client(turn, oldest, reason, false);
            }
        }
        self.dialogues.begun.push_back(self.clients.ref_of(slot));
    }

    /// Whether a dialogue waits for WILLTOPIC or WILLMSG.
    pub(super) fn awaits_will(&self, slot: Slot) -> bool {
        let dialogue = self.clients.get(slot).and_then(|client| client.dialogue.as_deref());
        dialogue.is_some_and(|dialogue| dialogue.stage != DialogueStage::Opening)
    }

    /// WILLTOPIC and WILLMSG; `false` when no dialogue waits for them.
    pub(super) fn on_will_topic(
        &mut self,
        turn: &Turn,
        slot: Slot,
        will: Option<WillTopic<'_>>,
    ) -> bool {
        let Some(client) = self.clients.get_mut(slot) else { return false };
        let Some(dialogue) = &mut client.dialogue else { return false };
        if dialogue.stage == DialogueStage::Opening {
            return true; // a repeat that crossed our answer
        }
        // §5.4.7: an empty WILLTOPIC deletes the will; CONNACK follows at once.
        let Some(will) = will.filter(|will| !will.topic.is_empty()) else {
            self.open(turn, slot, WillChange::Set(None));
            return true;
        };
        let Some(will_qos) = qos(will.qos) else {
            self.refuse_connect(turn, slot, Reason::NotSupported);
            return true;
        };
        let Ok(topic) = TopicName::new(will.topic) else {
            self.refuse_connect(turn, slot, Reason::BadTopic);
            return true;
        };
        dialogue.topic = Some((topic, will_qos, will.retain));
        dialogue.stage = DialogueStage::WillMsg;
        self.send_to(slot, &Packet::WillMsgReq);
        true
    }

    pub(super) fn on_will_message(&mut self, turn: &Turn, slot: Slot, payload: &[u8]) -> bool {
        let Some(client) = self.clients.get_mut(slot) else { return false };
        let Some(dialogue) = &mut client.dialogue else {
            if client.fresh {
                // Its CONNACK was lost.
                self.send_to(slot, &Packet::ConnAck { code: ReturnCode::Accepted });
            }
            return client_is_fresh(self, slot);
        };
        match (dialogue.stage, dialogue.topic.take()) {
            (DialogueStage::WillMsg, Some((topic, qos, retain))) => {
                let mut message = Message::new(topic, Bytes::copy_from_slice(payload));
                message.qos = qos;
                message.retain = retain;
                let will = Will { message, expiry: None, delay: core::time::Duration::ZERO };
                self.open(turn, slot, WillChange::Set(Some(Box::new(will))));
                true
            }
            (DialogueStage::Opening, _) => true,
            (DialogueStage::WillTopic | DialogueStage::WillMsg, topic) => {
                dialogue.topic = topic;
                false
            }
        }
    }
}

fn client_is_fresh(endpoint: &Endpoint, slot: Slot) -> bool {
    endpoint.clients.get(slot).is_some_and(|client| client.fresh)
}

/// Which answer an update waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WillHalf {
    Topic,
    Message,
}

impl WillHalf {
    fn response(self, code: ReturnCode) -> Packet<'static> {
        match self {
            WillHalf::Topic => Packet::WillTopicResp { code },
            WillHalf::Message => Packet::WillMsgResp { code },
        }
    }
}

impl Line<'_> {
    pub(super) fn on_will_topic_update(&mut self, will: Option<WillTopic<'_>>) {
        // §6.4: an empty one deletes topic and message.
        let Some(will) = will.filter(|will| !will.topic.is_empty()) else {
            return self.update_will(WillHalf::Topic, WillUpdate::Delete);
        };
        let Some(qos) = qos(will.qos) else {
            return self.refuse_will(WillHalf::Topic, Reason::NotSupported);
        };
        match TopicName::new(will.topic) {
            Ok(topic) => {
                let retain = will.retain;
                self.update_will(WillHalf::Topic, WillUpdate::Topic { topic, qos, retain });
            }
            Err(_) => self.refuse_will(WillHalf::Topic, Reason::BadTopic),
        }
    }

    pub(super) fn on_will_message_update(&mut self, payload: &[u8]) {
        let payload = Bytes::copy_from_slice(payload);
        self.update_will(WillHalf::Message, WillUpdate::Payload(payload));
    }

    fn update_will(&mut self, half: WillHalf, change: WillUpdate) {
        let (client, session) = (self.at, self.wire.session);
        match self.ask(Pending::Will { client, half }) {
            Some(ticket) => {
                self.events.push_back(Event::UpdateWill { client, session, ticket, change });
            }
            None => self.refuse_will(half, Reason::Overloaded),
        }
    }

    fn refuse_will(&mut self, half: WillHalf, reason: Reason) {
        self.dropped(reason);
        self.send(&half.response(reply_for(reason)));
    }

    /// Answer to `Event::UpdateWill`.
    pub(super) fn will_updated(&mut self, half: WillHalf, result: Result<Seq, Reason>) {
        match result {
            Ok(after) => self.reply(after, half.response(ReturnCode::Accepted)),
            Err(reason) => self.refuse_will(half, reason),
        }
    }
}
