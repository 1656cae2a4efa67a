//! The MQTT-SN client of `motegate_mqtt_sn` on a UDP socket.
//!
//! Keeps what the machine leaves to its application: the names behind topic ids, and the messages
//! that come while a request is under way.

use std::collections::{HashMap, VecDeque};
use std::future::Future;

use motegate_mqtt_sn::client::{Client, ClientConfig, ClientError, ClientEvent, ClientState, Done};
use motegate_mqtt_sn::{Packet, QosBits, ReturnCode, TopicId, TopicRef};
use motegate_timers::Instant;

use super::datagrams::Datagrams;
use super::{Error, Target, until};
use crate::clock::Clock;

/// Longest packet that is sent.
const MAX_PACKET: usize = 2048;

/// A message that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reception {
    pub(crate) topic: TopicId,
    /// The name, where the gateway has told it.
    pub(crate) name: Option<String>,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) payload: Vec<u8>,
}

/// What a step brought.
enum Step {
    Nothing,
    Done(Done),
    /// Perhaps about an earlier request: a PUBLISH at QoS 0 (MQTT-SN 1.2 §6.6).
    Refused(Done, ReturnCode),
    /// N_RETRY repeats were in vain.
    Lost,
    /// DISCONNECT from the gateway, which nobody has asked for.
    SentAway,
}

/// One client towards one gateway.
pub(crate) struct SnClient {
    machine: Box<Client<MAX_PACKET>>,
    wire: Datagrams,
    clock: Clock,
    names: HashMap<u16, String>,
    inbox: VecDeque<Reception>,
    /// Shows every packet on stderr.
    debug: bool,
}

impl SnClient {
    /// Finds the host; nothing is sent.
    pub(crate) async fn open(
        target: &Target,
        id: &str,
        config: ClientConfig,
        clock: Clock,
        debug: bool,
    ) -> Result<Self, Error> {
        let machine = Client::new(id, config).map_err(|_| {
            Error::usage(format!("`{id}` is no MQTT-SN client id: 1 to 23 bytes (-i)"))
        })?;
        let wire = Datagrams::open(target, clock).await?;
        let (names, inbox) = (HashMap::new(), VecDeque::new());
        Ok(SnClient { machine: Box::new(machine), wire, clock, names, inbox, debug })
    }

    /// CONNECT.
    pub(crate) async fn connect(&mut self, clean: bool) -> Result<(), Error> {
        self.done("CONNECT", |machine, now| machine.connect(now, clean)).await.map(drop)
    }

    /// REGISTER: the id of the name.
    pub(crate) async fn register(&mut self, name: &str) -> Result<u16, Error> {
        let what = format!("REGISTER {name}");
        match self.done(&what, |machine, now| machine.register(now, name)).await? {
            Done::Register { topic_id } => {
                self.names.insert(topic_id, name.to_owned());
                Ok(topic_id)
            }
            other => Err(unexpected("REGISTER", &other)),
        }
    }

    /// PUBLISH, until the gateway has it.
    pub(crate) async fn publish(
        &mut self,
        topic: TopicId,
        qos: QosBits,
        retain: bool,
        payload: &[u8],
    ) -> Result<(), Error> {
        if matches!(qos, QosBits::Zero | QosBits::MinusOne) {
            let now = self.clock.now();
            self.machine
                .publish(now, topic, qos, retain, payload)
                .map_err(|error| not_sent("PUBLISH", error))?;
            return self.flush().await;
        }
        let publish = |machine: &mut Client<MAX_PACKET>, now| {
            machine.publish(now, topic, qos, retain, payload)
        };
        self.done("PUBLISH", publish).await.map(drop)
    }

    /// SUBSCRIBE: the granted QoS.
    pub(crate) async fn subscribe(
        &mut self,
        topic: TopicRef<'_>,
        qos: QosBits,
    ) -> Result<QosBits, Error> {
        let what = format!("SUBSCRIBE {}", shown(topic));
        match self.done(&what, |machine, now| machine.subscribe(now, topic, qos)).await? {
            Done::Subscribe { qos, topic_id } => {
                if let (TopicRef::Name(name), 1..) = (topic, topic_id) {
                    self.names.insert(topic_id, name.to_owned());
                }
                Ok(qos)
            }
            other => Err(unexpected("SUBSCRIBE", &other)),
        }
    }

    /// UNSUBSCRIBE.
    pub(crate) async fn unsubscribe(&mut self, topic: TopicRef<'_>) -> Result<(), Error> {
        let what = format!("UNSUBSCRIBE {}", shown(topic));
        self.done(&what, |machine, now| machine.unsubscribe(now, topic)).await.map(drop)
    }

    /// DISCONNECT with a duration.
    pub(crate) async fn sleep(&mut self, secs: u16) -> Result<(), Error> {
        self.done("DISCONNECT", |machine, now| machine.sleep(now, secs)).await.map(drop)
    }

    /// PINGREQ of a sleeper: what was kept is in the inbox afterwards.
    pub(crate) async fn wake(&mut self) -> Result<(), Error> {
        self.done("PINGREQ", Client::wake).await.map(drop)
    }

    /// DISCONNECT.
    pub(crate) async fn disconnect(&mut self) -> Result<(), Error> {
        self.done("DISCONNECT", Client::disconnect).await.map(drop)
    }

    /// Whether there is a gateway to say goodbye to.
    pub(crate) fn is_connected(&self) -> bool {
        !matches!(self.machine.state(), ClientState::Disconnected | ClientState::Connecting)
    }

    /// What came already.
    pub(crate) fn received(&mut self) -> Option<Reception> {
        self.inbox.pop_front()
    }

    /// The next message, however long it takes; keeps the connection alive meanwhile.
    pub(crate) async fn message(&mut self) -> Result<Reception, Error> {
        loop {
            if let Some(message) = self.inbox.pop_front() {
                return Ok(message);
            }
            if let Step::Lost | Step::SentAway = self.step().await? {
                return Err(gone());
            }
        }
    }

    /// Waits for `pause`; keeps the connection alive, and a closed port is reported.
    pub(crate) async fn settle<T>(&mut self, pause: impl Future<Output = T>) -> Result<T, Error> {
        tokio::pin!(pause);
        loop {
            tokio::select! {
                done = &mut pause => return Ok(done),
                step = self.step() => match step? {
                    Step::Lost | Step::SentAway => return Err(gone()),
                    Step::Refused(request, code) => return Err(refused(&request, "", code)),
                    Step::Nothing | Step::Done(_) => {}
                },
            }
        }
    }

    fn ask(
        &mut self,
        what: &str,
        start: impl FnOnce(&mut Client<MAX_PACKET>, Instant) -> Result<(), ClientError>,
    ) -> Result<(), Error> {
        start(&mut self.machine, self.clock.now()).map_err(|error| not_sent(what, error))
    }

    /// One request to its end.
    async fn done(
        &mut self,
        what: &str,
        start: impl FnOnce(&mut Client<MAX_PACKET>, Instant) -> Result<(), ClientError>,
    ) -> Result<Done, Error> {
        while self.machine.is_busy() {
            // A PINGREQ of the machine's own.
            match self.step().await? {
                Step::Lost => return Err(self.silent(what)),
                Step::SentAway => return Err(sent_away(what)),
                Step::Nothing | Step::Done(_) | Step::Refused(..) => {}
            }
        }
        self.ask(what, start)?;
        loop {
            match self.step().await? {
                Step::Done(done) => return Ok(done),
                Step::Refused(request, code) => return Err(refused(&request, what, code)),
                Step::Lost => return Err(self.silent(what)),
                Step::SentAway => return Err(sent_away(what)),
                Step::Nothing => {}
            }
        }
    }

    async fn flush(&mut self) -> Result<(), Error> {
        while let Some(packet) = self.machine.poll_transmit() {
            self.show("->", &packet);
            self.wire.send(&packet).await?;
        }
        Ok(())
    }

    /// Writes what waits; then a datagram or a deadline.
    async fn step(&mut self) -> Result<Step, Error> {
        self.flush().await?;
        let deadline = self.machine.poll_timeout();
        let bytes = tokio::select! {
            bytes = self.wire.receive() => bytes?.to_vec(),
            () = until(self.clock, deadline) => {
                return Ok(match self.machine.handle_timeout(self.clock.now()) {
                    Some(_) => Step::Lost,
                    None => Step::Nothing,
                });
            }
        };
        self.show("<-", &bytes);
        let step = match self.machine.handle_datagram(self.clock.now(), &bytes) {
            None | Some(ClientEvent::GatewayFound { .. }) => Step::Nothing,
            Some(ClientEvent::Done(done)) => Step::Done(done),
            Some(ClientEvent::Refused { request, code }) => Step::Refused(request, code),
            Some(ClientEvent::Lost) => Step::SentAway,
            Some(ClientEvent::Registered { topic_id, name }) => {
                self.names.insert(topic_id, name.to_owned());
                Step::Nothing
            }
            Some(ClientEvent::Message { topic, retain, data }) => {
                let name = match topic {
                    TopicId::Normal(id) => self.names.get(&id).cloned(),
                    TopicId::Short(name) => Some(String::from_utf8_lossy(&name).into_owned()),
                    TopicId::Predefined(_) => None,
                };
                // The event does not tell; the packet does.
                let qos = match Packet::decode(&bytes) {
                    Ok(Packet::Publish { qos: QosBits::One, .. }) => 1,
                    Ok(Packet::Publish { qos: QosBits::Two, .. }) => 2,
                    _ => 0,
                };
                let payload = data.to_vec();
                self.inbox.push_back(Reception { topic, name, qos, retain, payload });
                Step::Nothing
            }
        };
        self.flush().await?;
        Ok(step)
    }

    fn silent(&self, what: &str) -> Error {
        let peer = self.wire.peer().map_or_else(String::new, |peer| format!(" from {peer}/udp"));
        Error::timed_out(format!("no answer to {what}{peer}"))
    }

    fn show(&self, direction: &str, bytes: &[u8]) {
        if self.debug {
            match Packet::decode(bytes) {
                Ok(packet) => eprintln!("{direction} {packet:?}"),
                Err(error) => eprintln!("{direction} {} bytes: {error}", bytes.len()),
            }
        }
    }
}

fn gone() -> Error {
    Error::Ended {
        text: "the gateway is gone, or has forgotten us".to_owned(),
        hint: "is it still up? did another client use our id (-i)?",
    }
}

fn sent_away(what: &str) -> Error {
    Error::Ended {
        text: format!("the gateway has answered {what} with DISCONNECT: it knows us no more"),
        hint: "was it restarted? did another client use our id (-i)?",
    }
}

fn not_sent(what: &str, error: ClientError) -> Error {
    match error {
        ClientError::TooLong => Error::usage(format!(
            "{what}: topic and payload do not fit one packet of {MAX_PACKET} bytes"
        )),
        other => Error::Protocol(format!("{what}: {other}")),
    }
}

fn unexpected(what: &str, got: &Done) -> Error {
    Error::Protocol(format!("{what} was answered by {got:?}"))
}

fn shown(topic: TopicRef<'_>) -> String {
    match topic {
        TopicRef::Name(name) => name.to_owned(),
        TopicRef::Short(name) => String::from_utf8_lossy(&name).into_owned(),
        TopicRef::Predefined(id) => format!("id {id}"),
    }
}

/// The packet that asked for it.
const fn name_of(request: &Done) -> &'static str {
    match request {
        Done::Connect => "CONNECT",
        Done::Register { .. } => "REGISTER",
        Done::Publish => "PUBLISH",
        Done::Subscribe { .. } => "SUBSCRIBE",
        Done::Unsubscribe => "UNSUBSCRIBE",
        Done::Ping => "PINGREQ",
        Done::Sleep | Done::Disconnect => "DISCONNECT",
        Done::WillTopic => "WILLTOPICUPD",
        Done::WillMessage => "WILLMSGUPD",
    }
}

/// MQTT-SN 1.2 §5.3.10. `asked` is what is being waited for, which may be something else: a PUBLISH
/// at QoS 0 is refused whenever the gateway comes to it (§6.6).
fn refused(request: &Done, asked: &str, code: ReturnCode) -> Error {
    let name = name_of(request);
    let what = if asked.split(' ').next() == Some(name) { asked } else { name };
    let (why, hint) = match code {
        ReturnCode::Congestion => ("congestion".to_owned(), "the gateway is busy: try again"),
        ReturnCode::InvalidTopicId => (
            "invalid topic id".to_owned(),
            "the gateway knows no such id: predefine it in its configuration, or give -t NAME",
        ),
        ReturnCode::NotSupported if *request == Done::Connect => (
            "not supported (or not allowed)".to_owned(),
            "does the listener take clients without identity (`anonymous`)? see its log",
        ),
        ReturnCode::NotSupported if *request == Done::Publish => (
            "not supported (or not allowed)".to_owned(),
            "does the payload fit the codec of its id? may this client do that? its log has why",
        ),
        ReturnCode::NotSupported => (
            "not supported (or not allowed)".to_owned(),
            "may this client do that? see the gateway's log; is the topic name valid?",
        ),
        ReturnCode::Accepted | ReturnCode::Reserved(_) => {
            (format!("return code {:#04x}", code.to_u8()), "see the gateway's log")
        }
    };
    Error::Refused { text: format!("{what} refused: {why}"), hint: hint.into() }
}
