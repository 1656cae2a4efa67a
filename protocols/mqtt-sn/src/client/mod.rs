//! An MQTT-SN 1.2 client without sockets, clocks or heap: for firmware, tools and tests.
//!
//! One request is outstanding at a time, as §6.6 and §6.13 have it: it is repeated every T_RETRY,
//! N_RETRY times, then the connection counts as lost. Datagrams and time come in; datagrams
//! ([`Client::poll_transmit`]), events (the value of each call) and a next deadline go out. `N` is
//! the longest packet that can be sent.
//!
//! The application keeps topic names and ids; the client reports those that the gateway registers.
//! QoS 2 is exactly once in both directions within one connection.

mod config;
mod event;

pub use config::{ClientConfig, WillFields};
pub use event::{ClientError, ClientEvent, Done};

use core::time::Duration;

use heapless::{Deque, String, Vec};
use motegate_timers::{Backoff, Instant};

use crate::{PROTOCOL_ID, Packet, QosBits, ReturnCode, TopicId, TopicRef, WillTopic};

/// Longest client id, in bytes. MQTT-SN 1.2 §5.3.1 allows 23.
pub const MAX_CLIENT_ID: usize = 23;

/// Where the client stands (MQTT-SN 1.2 §6.14).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientState {
    /// Not connected.
    Disconnected,
    /// CONNECT is under way.
    Connecting,
    /// Connected.
    Active,
    /// Nothing will be received until [`Client::wake`].
    Asleep,
    /// Receiving what was buffered.
    Awake,
}

/// What the outstanding request waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waiting {
    GwInfo,
    ConnAck,
    RegAck,
    PubAck,
    PubRec,
    PubComp,
    SubAck,
    UnsubAck,
    PingResp,
    /// With the sleep duration, if any.
    Goodbye(Option<u16>),
    WillTopicResp,
    WillMsgResp,
}

#[derive(Debug)]
struct Request<const N: usize> {
    waiting: Waiting,
    msg_id: u16,
    packet: Vec<u8, N>,
    backoff: Backoff,
    due: Instant,
}

/// One MQTT-SN client. See the module.
#[derive(Debug)]
pub struct Client<const N: usize> {
    config: ClientConfig,
    id: String<MAX_CLIENT_ID>,
    state: ClientState,
    request: Option<Request<N>>,
    out: Deque<Vec<u8, N>, 4>,
    next_msg_id: u16,
    /// A PUBLISH at QoS 2 that waits for PUBREL.
    received: Option<u16>,
    ping_at: Instant,
}

impl<const N: usize> Client<N> {
    /// A client that is not connected.
    ///
    /// # Errors
    /// [`ClientError::TooLong`] when `id` is empty or has more than [`MAX_CLIENT_ID`] bytes.
    pub fn new(id: &str, config: ClientConfig) -> Result<Self, ClientError> {
        let id = String::try_from(id).map_err(|_| ClientError::TooLong)?;
        if id.is_empty() {
            return Err(ClientError::TooLong);
        }
        Ok(Client {
            config,
            id,
            state: ClientState::Disconnected,
            request: None,
            out: Deque::new(),
            next_msg_id: 1,
            received: None,
            ping_at: Instant::FAR_FUTURE,
        })
    }

    /// Where the client stands.
    #[must_use]
    pub fn state(&self) -> ClientState {
        self.state
    }

    /// Whether a request is outstanding: no other can be made.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.request.is_some()
    }

    /// Asks for a gateway (§6.1); `GatewayFound` answers.
    ///
    /// # Errors
    /// [`ClientError::Busy`].
    pub fn search(&mut self, now: Instant, radius: u8) -> Result<(), ClientError> {
        self.ask(now, Waiting::GwInfo, 0, &Packet::SearchGw { radius })
    }

    /// Connects, or wakes for good; `Done(Connect)` answers.
    ///
    /// # Errors
    /// [`ClientError::Busy`].
    pub fn connect(&mut self, now: Instant, clean: bool) -> Result<(), ClientError> {
        let id = self.id.clone();
        let packet = Packet::Connect {
            will: self.config.will.is_some(),
            clean,
            protocol_id: PROTOCOL_ID,
            duration: self.config.keep_alive_secs,
            client_id: &id,
        };
        self.ask(now, Waiting::ConnAck, 0, &packet)?;
        if clean {
            self.received = None;
        }
        self.state = ClientState::Connecting;
        Ok(())
    }

    /// Registers a topic name (§6.5); `Done(Register)` has the id.
    ///
    /// # Errors
    /// [`ClientError`] says why it was not sent.
    pub fn register(&mut self, now: Instant, name: &str) -> Result<(), ClientError> {
        self.active()?;
        let msg_id = self.take_msg_id();
        self.ask(now, Waiting::RegAck, msg_id, &Packet::Register { topic_id: 0, msg_id, name })
    }

    /// Publishes. QoS 0 and −1 are done at once; −1 needs no connection, and a topic that is
    /// pre-defined or short (§6.8).
    ///
    /// # Errors
    /// [`ClientError`] says why it was not sent.
    pub fn publish(
        &mut self,
        now: Instant,
        topic: TopicId,
        qos: QosBits,
        retain: bool,
        data: &[u8],
    ) -> Result<(), ClientError> {
        let waiting = match qos {
            QosBits::MinusOne if matches!(topic, TopicId::Normal(_)) => {
                return Err(ClientError::NotConnected);
            }
            QosBits::MinusOne | QosBits::Zero => None,
            QosBits::One => Some(Waiting::PubAck),
            QosBits::Two => Some(Waiting::PubRec),
        };
        if qos != QosBits::MinusOne {
            self.active()?;
        }
        let msg_id = if waiting.is_some() { self.take_msg_id() } else { 0 };
        let packet = Packet::Publish { dup: false, qos, retain, topic, msg_id, data };
        match waiting {
            Some(waiting) => self.ask(now, waiting, msg_id, &packet),
            None => self.send(&packet),
        }
    }

    /// Subscribes; `Done(Subscribe)` has the granted QoS and the topic id.
    ///
    /// # Errors
    /// [`ClientError`] says why it was not sent.
    pub fn subscribe(
        &mut self,
        now: Instant,
        topic: TopicRef<'_>,
        qos: QosBits,
    ) -> Result<(), ClientError> {
        self.active()?;
        let msg_id = self.take_msg_id();
        let packet = Packet::Subscribe { dup: false, qos, msg_id, topic };
        self.ask(now, Waiting::SubAck, msg_id, &packet)
    }

    /// Unsubscribes.
    ///
    /// # Errors
    /// [`ClientError`] says why it was not sent.
    pub fn unsubscribe(&mut self, now: Instant, topic: TopicRef<'_>) -> Result<(), ClientError> {
        self.active()?;
        let msg_id = self.take_msg_id();
        self.ask(now, Waiting::UnsubAck, msg_id, &Packet::Unsubscribe { msg_id, topic })
    }

    /// Replaces the topic of the will, or deletes the will (§6.4).
    ///
    /// # Errors
    /// [`ClientError`] says why it was not sent.
    pub fn update_will_topic(
        &mut self,
        now: Instant,
        will: Option<WillTopic<'_>>,
    ) -> Result<(), ClientError> {
        self.active()?;
        self.ask(now, Waiting::WillTopicResp, 0, &Packet::WillTopicUpd { will })
    }

    /// Replaces the message of the will (§6.4).
    ///
    /// # Errors
    /// [`ClientError`] says why it was not sent.
    pub fn update_will_message(&mut self, now: Instant, message: &[u8]) -> Result<(), ClientError> {
        self.active()?;
        self.ask(now, Waiting::WillMsgResp, 0, &Packet::WillMsgUpd { message })
    }

    /// Goes to sleep for at most `secs`; `Done(Sleep)` says from when the radio may be off.
    ///
    /// # Errors
    /// [`ClientError`] says why it was not sent.
    pub fn sleep(&mut self, now: Instant, secs: u16) -> Result<(), ClientError> {
        if self.state == ClientState::Disconnected {
            return Err(ClientError::NotConnected);
        }
        let packet = Packet::Disconnect { duration: Some(secs) };
        self.ask(now, Waiting::Goodbye(Some(secs)), 0, &packet)
    }

    /// Asks for what was buffered (§6.14): messages come, then `Done(Ping)`, and the client is
    /// asleep again.
    ///
    /// # Errors
    /// [`ClientError`] says why it was not sent.
    pub fn wake(&mut self, now: Instant) -> Result<(), ClientError> {
        if self.state != ClientState::Asleep {
            return Err(ClientError::NotAsleep);
        }
        let id = self.id.clone();
        self.ask(now, Waiting::PingResp, 0, &Packet::PingReq { client_id: Some(&id) })?;
        self.state = ClientState::Awake;
        Ok(())
    }

    /// Says goodbye: the will is not published.
    ///
    /// # Errors
    /// [`ClientError::Busy`].
    pub fn disconnect(&mut self, now: Instant) -> Result<(), ClientError> {
        self.ask(now, Waiting::Goodbye(None), 0, &Packet::Disconnect { duration: None })
    }

    /// The next datagram for the gateway.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8, N>> {
        self.out.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is wanted.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.request {
            Some(request) => Some(request.due),
            None => (self.ping_at != Instant::FAR_FUTURE).then_some(self.ping_at),
        }
    }

    /// Time has passed: repeats what was not answered, pings when nothing else was sent.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<ClientEvent<'static>> {
        if let Some(request) = &mut self.request {
            if request.due > now {
                return None;
            }
            if !request.backoff.retry() {
                self.forget();
                return Some(ClientEvent::Lost);
            }
            request.due = now + request.backoff.timeout();
            set_dup(&mut request.packet);
            let packet = request.packet.clone();
            // A full queue is a lost datagram: the next repeat is on its way.
            let _ = self.out.push_back(packet);
            return None;
        }
        if self.state == ClientState::Active && self.ping_at <= now {
            let _ = self.ask(now, Waiting::PingResp, 0, &Packet::PingReq { client_id: None });
        }
        None
    }

    /// A datagram came from the gateway. Payload and names in the event borrow from it.
    pub fn handle_datagram<'a>(
        &mut self,
        now: Instant,
        bytes: &'a [u8],
    ) -> Option<ClientEvent<'a>> {
        let packet = Packet::decode(bytes).ok()?;
        match packet {
            Packet::Publish { qos, retain, topic, msg_id, data, .. } => self
                .on_publish(qos, topic, msg_id)
                .then_some(ClientEvent::Message { topic, retain, data }),
            Packet::PubRel { msg_id } => {
                if self.received == Some(msg_id) {
                    self.received = None;
                }
                let _ = self.send(&Packet::PubComp { msg_id });
                None
            }
            Packet::Register { topic_id, msg_id, name } => {
                let code = ReturnCode::Accepted;
                let _ = self.send(&Packet::RegAck { topic_id, msg_id, code });
                Some(ClientEvent::Registered { topic_id, name })
            }
            Packet::WillTopicReq | Packet::WillMsgReq => {
                self.on_will_request(now, packet == Packet::WillMsgReq);
                None
            }
            Packet::PubRec { msg_id } => {
                self.on_pubrec(now, msg_id);
                None
            }
            Packet::Advertise { gateway_id, .. } => Some(ClientEvent::GatewayFound { gateway_id }),
            Packet::GwInfo { gateway_id, .. } => {
                self.answered(now, Waiting::GwInfo, 0);
                Some(ClientEvent::GatewayFound { gateway_id })
            }
            Packet::PingReq { .. } => {
                let _ = self.send(&Packet::PingResp);
                None
            }
            Packet::Disconnect { .. } => Some(self.on_disconnect(now)),
            _ => self.on_answer(now, packet),
        }
    }

    fn on_answer(&mut self, now: Instant, packet: Packet<'_>) -> Option<ClientEvent<'static>> {
        let (waiting, id, done, code) = match packet {
            Packet::ConnAck { code } => (Waiting::ConnAck, 0, Done::Connect, code),
            Packet::RegAck { topic_id, msg_id, code } => {
                (Waiting::RegAck, msg_id, Done::Register { topic_id }, code)
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
    fn on_publish(&mut self, qos: QosBits, topic: TopicId, msg_id: u16) -> bool {
        match qos {
            QosBits::Zero | QosBits::MinusOne => true,
            QosBits::One => {
                let code = ReturnCode::Accepted;
                let _ = self.send(&Packet::PubAck { topic_id: topic.raw(), msg_id, code });
                true
            }
            QosBits::Two => {
                let _ = self.send(&Packet::PubRec { msg_id });
                self.received.replace(msg_id) != Some(msg_id)
            }
        }
    }

    fn on_will_request(&mut self, now: Instant, message: bool) {
        if !self.waits(Waiting::ConnAck, 0) {
            return;
        }
        let Some(will) = self.config.will.clone() else { return };
        let packet = if message {
            Packet::WillMsg { message: &will.message }
        } else {
            let topic = WillTopic { qos: will.qos, retain: will.retain, topic: &will.topic };
            Packet::WillTopic { will: Some(topic) }
        };
        self.request = None;
        let _ = self.ask(now, Waiting::ConnAck, 0, &packet);
    }

    fn on_pubrec(&mut self, now: Instant, msg_id: u16) {
        if self.waits(Waiting::PubRec, msg_id) {
            self.request = None;
            let _ = self.ask(now, Waiting::PubComp, msg_id, &Packet::PubRel { msg_id });
        } else {
            let _ = self.send(&Packet::PubRel { msg_id });
        }
    }

    fn on_disconnect(&mut self, now: Instant) -> ClientEvent<'static> {
        let asked = self.request.as_ref().map(|request| request.waiting);
        match asked {
            Some(Waiting::Goodbye(Some(_))) => {
                self.request = None;
                self.state = ClientState::Asleep;
                self.heard(now);
                ClientEvent::Done(Done::Sleep)
            }
            Some(Waiting::Goodbye(None)) => {
                self.forget();
                ClientEvent::Done(Done::Disconnect)
            }
            _ => {
                // The gateway does not know us (any more).
                self.forget();
                ClientEvent::Lost
            }
        }
    }

    fn active(&self) -> Result<(), ClientError> {
        match self.state {
            ClientState::Active => Ok(()),
            _ => Err(ClientError::NotConnected),
        }
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

    /// The gateway has heard of us: the next PINGREQ is due well before its patience ends.
    fn heard(&mut self, now: Instant) {
        self.ping_at = match (self.state, self.config.keep_alive_secs) {
            (ClientState::Active, 1..) => {
                now + Duration::from_millis(u64::from(self.config.keep_alive_secs) * 900)
            }
            _ => Instant::FAR_FUTURE,
        };
    }

    fn forget(&mut self) {
        self.state = ClientState::Disconnected;
        self.request = None;
        self.ping_at = Instant::FAR_FUTURE;
    }

    fn take_msg_id(&mut self) -> u16 {
        let id = self.next_msg_id;
        self.next_msg_id = if id == u16::MAX { 1 } else { id + 1 };
        id
    }

    fn ask(
        &mut self,
        now: Instant,
        waiting: Waiting,
        msg_id: u16,
        packet: &Packet<'_>,
    ) -> Result<(), ClientError> {
        if self.request.is_some() {
            return Err(ClientError::Busy);
        }
        let packet = packet.to_vec().map_err(|_| ClientError::TooLong)?;
        self.out.push_back(packet.clone()).map_err(|_| ClientError::Busy)?;
        let backoff = Backoff::constant(self.config.retry_timeout, self.config.max_retries);
        let due = now + backoff.timeout();
        self.request = Some(Request { waiting, msg_id, packet, backoff, due });
        Ok(())
    }

    fn send(&mut self, packet: &Packet<'_>) -> Result<(), ClientError> {
        let packet = packet.to_vec().map_err(|_| ClientError::TooLong)?;
        self.out.push_back(packet).map_err(|_| ClientError::Busy)
    }
}

/// Marks a repeated PUBLISH or SUBSCRIBE (§6.13); other packets have no DUP.
fn set_dup<const N: usize>(packet: &mut Vec<u8, N>) {
    let again = match Packet::decode(packet) {
        Ok(Packet::Publish { qos, retain, topic, msg_id, data, .. }) => {
            Packet::Publish { dup: true, qos, retain, topic, msg_id, data }.to_vec()
        }
        Ok(Packet::Subscribe { qos, msg_id, topic, .. }) => {
            Packet::Subscribe { dup: true, qos, msg_id, topic }.to_vec()
        }
        _ => return,
    };
    if let Ok(again) = again {
        *packet = again;
    }
}
