//! An MQTT-SN 1.2 client without sockets, clocks or heap: for firmware, tools and tests.
//!
//! One request is outstanding at a time, as §6.6 and §6.13 have it: it is repeated every T_RETRY,
//! N_RETRY times, then the connection counts as lost. Datagrams and time come in; datagrams
//! ([`Client::poll_transmit`]), events (the value of each call) and a next deadline go out. After
//! each call, fetch what is to be sent. A lost connection is the application's to make again.
//!
//! The application keeps topic names and ids ([`Topics`] will do); the client reports those that
//! the gateway registers. QoS 2 is exactly once in both directions within one connection.
//!
//! # Memory
//! On a 32-bit device a client of 64-byte packets without a will takes 280 bytes, and the four
//! topics of a [`Topics<4>`](Topics) 40 more: **320 bytes**; with room for a will of 32 + 32 bytes,
//! 384. `N` counts twice: once for the outstanding request, once for a PUBLISH without an answer;
//! each call takes about as much again of the stack. `examples/sensor` and a test hold this.
//!
//! # Driving it
//! ```
//! use motegate_mqtt_sn::client::{Client, ClientConfig, ClientError, ClientEvent, Done};
//! use motegate_mqtt_sn::{QosBits, TopicId};
//! use motegate_timers::Instant;
//! # use motegate_mqtt_sn::{Packet, ReturnCode};
//! # struct Radio(Option<heapless::Vec<u8, 64>>);
//! # impl Radio {
//! #     fn send(&mut self, datagram: &[u8]) {
//! #         let code = ReturnCode::Accepted;
//! #         self.0 = match Packet::decode(datagram).unwrap() {
//! #             Packet::Connect { .. } => Packet::ConnAck { code }.to_vec().ok(),
//! #             Packet::Publish { topic, msg_id, .. } => {
//! #                 Packet::PubAck { topic_id: topic.raw(), msg_id, code }.to_vec().ok()
//! #             }
//! #             _ => None,
//! #         };
//! #     }
//! #     fn receive(&mut self, _until: Instant, buffer: &mut [u8]) -> Option<usize> {
//! #         let datagram = self.0.take()?;
//! #         buffer[..datagram.len()].copy_from_slice(&datagram);
//! #         Some(datagram.len())
//! #     }
//! #     fn now(&self) -> Instant { Instant::ZERO }
//! # }
//!
//! /// Sends what waits, then waits for a datagram or the deadline, until the request is done.
//! fn finish(client: &mut Client<64, 0>, radio: &mut Radio) -> Option<Done> {
//!     let mut buffer = [0; 64];
//!     loop {
//!         while let Some(datagram) = client.poll_transmit() {
//!             radio.send(&datagram);
//!         }
//!         let event = match radio.receive(client.poll_timeout()?, &mut buffer) {
//!             Some(length) => client.handle_datagram(radio.now(), &buffer[..length]),
//!             None => client.handle_timeout(radio.now()),
//!         };
//!         match event {
//!             Some(ClientEvent::Done(done)) => return Some(done),
//!             Some(ClientEvent::Refused { .. } | ClientEvent::Lost) => return None,
//!             Some(ClientEvent::Message { topic: _, data: _, .. }) => {} // act on it
//!             _ => {}
//!         }
//!     }
//! }
//!
//! # let mut radio = Radio(None);
//! let mut client = Client::<64, 0>::new("mote-7", ClientConfig::default())?;
//! client.connect(radio.now(), true)?;
//! assert_eq!(finish(&mut client, &mut radio), Some(Done::Connect));
//! client.publish(radio.now(), TopicId::Predefined(12), QosBits::One, false, b"21.5")?;
//! assert_eq!(finish(&mut client, &mut radio), Some(Done::Publish));
//! # Ok::<(), ClientError>(())
//! ```
//! `examples/sensor` is a whole device: registration, sleep, waking up, a gateway that forgot.

mod config;
mod event;
mod incoming;
mod reply;
mod topics;

pub use config::{ClientConfig, WillFields};
pub use event::{ClientError, ClientEvent, Done};
pub use topics::Topics;

use core::time::Duration;

use heapless::{Deque, String, Vec};
use motegate_timers::Instant;

use self::reply::Reply;
use crate::types::flag;
use crate::{PROTOCOL_ID, Packet, QosBits, TopicId, TopicRef, WillTopic, msg_type, peek_type};

/// Longest client id, in bytes. MQTT-SN 1.2 §5.3.1 allows 23.
pub const MAX_CLIENT_ID: usize = 23;
/// Answers that wait to be fetched; more are lost, as datagrams are.
const MAX_REPLIES: usize = 4;

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
    /// The answer to a DISCONNECT with a duration.
    Sleep,
    /// The answer to one without.
    Goodbye,
    WillTopicResp,
    WillMsgResp,
}

#[derive(Debug)]
struct Request<const N: usize> {
    due: Instant,
    packet: Vec<u8, N>,
    msg_id: u16,
    waiting: Waiting,
    repeats_left: u8,
    /// Not fetched since it was made or came due.
    unsent: bool,
}

/// One MQTT-SN client. See the [module](self).
///
/// `N`, 32 to 65,535, is the longest packet that can be sent; what is received may be as long as
/// the caller's buffer. `WILL` is the longest topic and message of the will, 0 for none.
#[derive(Debug)]
pub struct Client<const N: usize, const WILL: usize = 64> {
    ping_at: Instant,
    config: ClientConfig<WILL>,
    request: Option<Request<N>>,
    /// A PUBLISH that is not answered; empty for none.
    plain: Vec<u8, N>,
    /// Whether the unsent request was made before `plain`.
    plain_is_second: bool,
    replies: Deque<Reply, MAX_REPLIES>,
    id: String<MAX_CLIENT_ID, u8>,
    state: ClientState,
    next_msg_id: u16,
    /// A PUBLISH at QoS 2 that waits for PUBREL; 0x0000 for none.
    received: u16,
    /// The last one that was released, and the last of an earlier count: a late copy of one of them,
    /// or of one a little before, is no message.
    released: [u16; 2],
    /// Until when a copy can be under way.
    released_until: Instant,
}

impl<const N: usize, const WILL: usize> Client<N, WILL> {
    /// A client that is not connected.
    ///
    /// # Errors
    /// [`ClientError::TooLong`] when `id` is empty or has more than [`MAX_CLIENT_ID`] bytes.
    pub fn new(id: &str, config: ClientConfig<WILL>) -> Result<Self, ClientError> {
        const { assert!(N >= 32 && N <= 0xffff, "a CONNECT fits, and the length field holds it") };
        let id = String::try_from(id).map_err(|_| ClientError::TooLong)?;
        if id.is_empty() {
            return Err(ClientError::TooLong);
        }
        Ok(Client {
            ping_at: Instant::FAR_FUTURE,
            config,
            request: None,
            plain: Vec::new(),
            plain_is_second: false,
            replies: Deque::new(),
            id,
            state: ClientState::Disconnected,
            next_msg_id: 1,
            received: 0,
            released: [0; 2],
            released_until: Instant::ZERO,
        })
    }

    /// Where message ids go on: for a device that keeps its session ([`connect`](Self::connect)
    /// with `clean` false) but not this client, over a reset. The gateway would take an id that it
    /// has just seen for a repetition; a random number or a boot counter × 256 will do.
    pub fn set_next_msg_id(&mut self, id: u16) {
        // MQTT-SN 1.2 §5.4.12: 0x0000 is for PUBLISH without acknowledgement.
        self.next_msg_id = id.max(1);
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

    /// Asks for a gateway (§6.1), as broadcast or multicast; `GatewayFound` answers, and `Lost`
    /// says that nobody did. The random wait before (T_SEARCHGW, up to 5 s) is the caller's.
    ///
    /// # Errors
    /// [`ClientError::Busy`].
    pub fn search(&mut self, now: Instant, radius: u8) -> Result<(), ClientError> {
        self.ask(now, Waiting::GwInfo, 0, &Packet::SearchGw { radius })
    }

    /// Connects (§6.2), or wakes for good (§6.14); `Done(Connect)` answers. With `clean` the
    /// gateway forgets subscriptions and will; topic ids are agreed anew.
    ///
    /// # Errors
    /// [`ClientError::Busy`]; [`ClientError::TooLong`] when the will does not fit a packet.
    pub fn connect(&mut self, now: Instant, clean: bool) -> Result<(), ClientError> {
        for half in [false, true] {
            // Found out in the middle of the dialogue, it could not be told.
            if self.will_packet(half).is_some_and(|packet| packet.encoded_len() > N) {
                return Err(ClientError::TooLong);
            }
        }
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
            self.received = 0;
        }
        self.state = ClientState::Connecting;
        Ok(())
    }

    /// Registers a topic name (§6.5); `Done(Register)` has the id.
    ///
    /// # Errors
    /// [`ClientError::NotConnected`] unless active, [`ClientError::Busy`], or
    /// [`ClientError::TooLong`] for a name of more than `N` − 6 bytes.
    pub fn register(&mut self, now: Instant, name: &str) -> Result<(), ClientError> {
        self.active()?;
        let msg_id = self.next_msg_id;
        self.ask(now, Waiting::RegAck, msg_id, &Packet::Register { topic_id: 0, msg_id, name })
    }

    /// Publishes (§6.6). `Done(Publish)` answers QoS 1 and 2. QoS 0 and −1 are done at once, also
    /// while a request is outstanding; −1 needs no connection, and a topic that is pre-defined or
    /// short (§6.8).
    ///
    /// # Errors
    /// [`ClientError::NotConnected`] unless active (QoS −1: for a topic id that a connection would
    /// have agreed), [`ClientError::Busy`], or [`ClientError::TooLong`] for a payload of more than
    /// `N` − 7 bytes (−9 where the packet exceeds 255).
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
        let msg_id = if waiting.is_some() { self.next_msg_id } else { 0 };
        let packet = Packet::Publish { dup: false, qos, retain, topic, msg_id, data };
        match waiting {
            Some(waiting) => self.ask(now, waiting, msg_id, &packet),
            None => self.say(&packet),
        }
    }

    /// Subscribes (§6.9); `Done(Subscribe)` has the granted QoS and the topic id.
    ///
    /// # Errors
    /// [`ClientError::NotConnected`] unless active, [`ClientError::Qos`] at QoS −1,
    /// [`ClientError::Busy`], or [`ClientError::TooLong`] for a name of more than `N` − 5 bytes.
    pub fn subscribe(
        &mut self,
        now: Instant,
        topic: TopicRef<'_>,
        qos: QosBits,
    ) -> Result<(), ClientError> {
        self.active()?;
        if qos == QosBits::MinusOne {
            return Err(ClientError::Qos);
        }
        let msg_id = self.next_msg_id;
        let packet = Packet::Subscribe { dup: false, qos, msg_id, topic };
        self.ask(now, Waiting::SubAck, msg_id, &packet)
    }

    /// Unsubscribes (§6.9); `Done(Unsubscribe)` answers, whether there was a subscription or not.
    ///
    /// # Errors
    /// [`ClientError::NotConnected`] unless active, [`ClientError::Busy`], or
    /// [`ClientError::TooLong`] for a name of more than `N` − 5 bytes.
    pub fn unsubscribe(&mut self, now: Instant, topic: TopicRef<'_>) -> Result<(), ClientError> {
        self.active()?;
        let msg_id = self.next_msg_id;
        self.ask(now, Waiting::UnsubAck, msg_id, &Packet::Unsubscribe { msg_id, topic })
    }

    /// Replaces the topic of the will, or deletes the will (§6.4); `Done(WillTopic)` answers. The
    /// next CONNECT sets the will of [`ClientConfig`] again.
    ///
    /// # Errors
    /// [`ClientError::NotConnected`] unless active, [`ClientError::Busy`], or
    /// [`ClientError::TooLong`] for a topic of more than `N` − 3 bytes.
    pub fn update_will_topic(
        &mut self,
        now: Instant,
        will: Option<WillTopic<'_>>,
    ) -> Result<(), ClientError> {
        self.active()?;
        self.ask(now, Waiting::WillTopicResp, 0, &Packet::WillTopicUpd { will })
    }

    /// Replaces the message of the will (§6.4); `Done(WillMessage)` answers.
    ///
    /// # Errors
    /// [`ClientError::NotConnected`] unless active, [`ClientError::Busy`], or
    /// [`ClientError::TooLong`] for a message of more than `N` − 2 bytes.
    pub fn update_will_message(&mut self, now: Instant, message: &[u8]) -> Result<(), ClientError> {
        self.active()?;
        self.ask(now, Waiting::WillMsgResp, 0, &Packet::WillMsgUpd { message })
    }

    /// Goes to sleep (§6.14); `Done(Sleep)` says from when the radio may be off. The client is lost,
    /// and its will published, unless it wakes within `secs` and a tolerance of the gateway's.
    ///
    /// # Errors
    /// [`ClientError::NotConnected`] when disconnected, [`ClientError::Busy`].
    pub fn sleep(&mut self, now: Instant, secs: u16) -> Result<(), ClientError> {
        if self.state == ClientState::Disconnected {
            return Err(ClientError::NotConnected);
        }
        self.ask(now, Waiting::Sleep, 0, &Packet::Disconnect { duration: Some(secs) })
    }

    /// Asks for what was buffered (§6.14): messages come, then `Done(Ping)`, and the client is
    /// asleep again, for as long as [`sleep`](Self::sleep) said. To publish,
    /// [`connect`](Self::connect) instead.
    ///
    /// # Errors
    /// [`ClientError::NotAsleep`], [`ClientError::Busy`].
    pub fn wake(&mut self, now: Instant) -> Result<(), ClientError> {
        if self.state != ClientState::Asleep {
            return Err(ClientError::NotAsleep);
        }
        let id = self.id.clone();
        self.ask(now, Waiting::PingResp, 0, &Packet::PingReq { client_id: Some(&id) })?;
        self.state = ClientState::Awake;
        Ok(())
    }

    /// Says goodbye (§6.12): the will is not published. `Done(Disconnect)` answers.
    ///
    /// # Errors
    /// [`ClientError::Busy`].
    pub fn disconnect(&mut self, now: Instant) -> Result<(), ClientError> {
        self.ask(now, Waiting::Goodbye, 0, &Packet::Disconnect { duration: None })
    }

    /// Drops the outstanding request, everything that is to be sent and the connection, without a
    /// word to the gateway: when the battery has no patience for T_RETRY, or another gateway is
    /// next.
    pub fn reset(&mut self) {
        self.forget();
        self.plain.clear();
        self.replies.clear();
    }

    /// The next datagram for the gateway. To be called until `None` after each other call.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8, N>> {
        if let Some(reply) = self.replies.pop_front() {
            return reply.packet().to_vec().ok();
        }
        let request = self.request.as_mut().filter(|request| request.unsent);
        match request {
            Some(request) if self.plain.is_empty() || self.plain_is_second => {
                request.unsent = false;
                self.plain_is_second = false;
                Some(request.packet.clone())
            }
            _ if self.plain.is_empty() => None,
            _ => Some(core::mem::take(&mut self.plain)),
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is wanted.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.request {
            Some(request) => Some(request.due),
            None => (self.ping_at != Instant::FAR_FUTURE).then_some(self.ping_at),
        }
    }

    fn active(&self) -> Result<(), ClientError> {
        match self.state {
            ClientState::Active => Ok(()),
            _ => Err(ClientError::NotConnected),
        }
    }

    /// Makes a request.
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
        self.request = Some(Request {
            due: now + self.config.retry_timeout,
            packet: packet.to_vec().map_err(|_| ClientError::TooLong)?,
            msg_id,
            waiting,
            repeats_left: self.config.max_retries,
            unsent: true,
        });
        if msg_id == self.next_msg_id {
            self.next_msg_id = msg_id.checked_add(1).unwrap_or(1);
        }
        Ok(())
    }

    /// Sends a packet that is not answered.
    fn say(&mut self, packet: &Packet<'_>) -> Result<(), ClientError> {
        if !self.plain.is_empty() {
            return Err(ClientError::Busy);
        }
        self.plain = packet.to_vec().map_err(|_| ClientError::TooLong)?;
        self.plain_is_second = self.request.as_ref().is_some_and(|request| request.unsent);
        Ok(())
    }

    /// Its topic, or its message.
    fn will_packet(&self, message: bool) -> Option<Packet<'_>> {
        let will = self.config.will.as_ref()?;
        Some(if message {
            Packet::WillMsg { message: &will.message }
        } else {
            let topic = WillTopic { qos: will.qos, retain: will.retain, topic: &will.topic };
            Packet::WillTopic { will: Some(topic) }
        })
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
}

/// Marks a repeated PUBLISH or SUBSCRIBE (§6.13); other packets have no DUP.
fn set_dup(packet: &mut [u8]) {
    if !matches!(peek_type(packet), Some(msg_type::PUBLISH | msg_type::SUBSCRIBE)) {
        return;
    }
    // The flags follow the message type, which follows one octet of length or three (§5.2.1).
    let at = if packet.first() == Some(&0x01) { 4 } else { 2 };
    if let Some(flags) = packet.get_mut(at) {
        *flags |= flag::DUP;
    }
}
