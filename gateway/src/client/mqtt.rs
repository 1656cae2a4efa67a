//! The MQTT client of `motegate_mqtt` on a TCP or Unix stream, perhaps with TLS
//! and WebSocket between.
//!
//! [`MqttClient::next`] does what the machine asks of its driver until there is an event. It may
//! be dropped at any await: an opening that was under way begins anew.

use std::io;
use std::time::Duration;

use motegate_mqtt::ReasonCode;
use motegate_mqtt::client::{
    Client, ClientConfig, ClientError, ErrorKind, Event, Goodbye, Transmit,
};
use tokio::io::Interest;
use tokio::time::timeout;

use super::scram::Scram;
use super::stream::Stream;
use super::{Error, Target, random, secure, until};
use crate::clock::Clock;

/// For the last packets of a connection.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// Bytes read at a time.
const CHUNK: usize = 64 * 1024;

/// One client towards one server.
pub(crate) struct MqttClient {
    pub(crate) machine: Client,
    target: Target,
    clock: Clock,
    stream: Option<Stream>,
    opening: bool,
    paused: bool,
    /// The machine wants no connection any more.
    over: bool,
    /// Why the last opening failed.
    fault: Option<Error>,
    chunk: Vec<u8>,
    /// Who it is, where that is proved by an exchange.
    scram: Option<Scram>,
    /// Shows every packet on stderr.
    debug: bool,
    /// How it takes leave.
    pub(crate) goodbye: Goodbye,
}

impl MqttClient {
    /// A client that wants a connection; nothing is sent before [`next`](Self::next).
    pub(crate) fn new(
        target: &Target,
        mut config: ClientConfig,
        clock: Clock,
        debug: bool,
    ) -> Result<Self, Error> {
        let scram = Scram::take(&mut config)?;
        let mut machine =
            Client::new(config, random()).map_err(|error| Error::usage(error.to_string()))?;
        machine.connect(clock.now());
        Ok(MqttClient {
            machine,
            target: target.clone(),
            clock,
            stream: None,
            opening: false,
            paused: false,
            over: false,
            fault: None,
            chunk: vec![0; CHUNK],
            scram,
            debug,
            goodbye: Goodbye::default(),
        })
    }

    /// The next event. The end of the connection is an error, unless it was asked for or the
    /// machine tries again.
    pub(crate) async fn next(&mut self) -> Result<Event, Error> {
        loop {
            self.obey().await;
            match self.machine.poll_event() {
                Some(Event::Disconnected { error: Some(error), retry_at: None }) => {
                    self.over = true;
                    return Err(self.ended(&error));
                }
                Some(Event::AuthWanted { data }) => {
                    let scram = self.scram.as_mut().expect("it is asked for a method that it has");
                    let word = scram.answer(data.as_deref())?;
                    self.machine.authenticate(self.clock.now(), word.as_bytes());
                }
                Some(Event::Connected(connected)) => {
                    if let Some(scram) = &mut self.scram {
                        scram.check(connected.properties.as_properties())?;
                    }
                    return Ok(Event::Connected(connected));
                }
                Some(event) => return Ok(event),
                None => self.turn().await,
            }
        }
    }

    /// Sends what is sent and says goodbye; waits a little for both.
    pub(crate) async fn leave(&mut self) {
        if self.over {
            return;
        }
        self.machine.disconnect(self.clock.now(), &self.goodbye);
        let gone = async {
            loop {
                match self.next().await {
                    Ok(Event::Disconnected { .. }) | Err(_) => return,
                    Ok(_) => {}
                }
            }
        };
        let _ = timeout(CLOSE_TIMEOUT * 2, gone).await;
    }

    /// What the machine wants of its driver.
    async fn obey(&mut self) {
        loop {
            if self.opening {
                match Stream::open(&self.target).await {
                    Ok(stream) => {
                        self.stream = Some(stream);
                        self.machine.handle_opened(self.clock.now());
                    }
                    Err(fault) => {
                        self.fault = Some(fault);
                        self.machine.handle_closed(self.clock.now());
                    }
                }
                self.opening = false;
            }
            match self.machine.poll_transmit() {
                Some(Transmit::Open) => (self.opening, self.paused) = (true, false),
                Some(Transmit::Close) => {
                    let _ = timeout(CLOSE_TIMEOUT, self.flush()).await;
                    if let Some(stream) = self.stream.take() {
                        let _ = timeout(CLOSE_TIMEOUT, stream.end()).await;
                    }
                    self.opening = false;
                    self.machine.handle_closed(self.clock.now());
                }
                Some(Transmit::PauseReads) => self.paused = true,
                Some(Transmit::ResumeReads) => self.paused = false,
                None => return,
            }
        }
    }

    async fn flush(&mut self) {
        loop {
            let Some(stream) = &self.stream else { return };
            if self.machine.outbox().is_empty() && !stream.has_unsent() {
                return;
            }
            if stream.writable().await.is_err() || self.write().is_err() {
                return;
            }
        }
    }

    /// Waits for the stream or the deadline, once.
    async fn turn(&mut self) {
        let deadline = until(self.clock, self.machine.poll_timeout());
        let Some(stream) = &self.stream else {
            deadline.await;
            return self.machine.handle_timeout(self.clock.now());
        };
        let idle = self.machine.outbox().is_empty() && !stream.has_unsent();
        let interest = match (self.paused, idle) {
            (false, true) => Interest::READABLE,
            (false, false) => Interest::READABLE | Interest::WRITABLE,
            (true, _) => Interest::WRITABLE,
        };
        let ready = tokio::select! {
            ready = stream.ready(interest) => ready,
            () = deadline => return self.machine.handle_timeout(self.clock.now()),
        };
        let result = ready.and_then(|ready| {
            if ready.is_readable() && !self.paused {
                self.read()?;
            }
            if ready.is_writable() { self.write() } else { Ok(()) }
        });
        if let Err(error) = result {
            // An alert of TLS says more than the end that follows: a certificate that was refused.
            self.fault = secure::said(&error).map(|error| secure::explain(error, &self.target));
            self.stream = None;
            self.machine.handle_closed(self.clock.now());
        }
    }

    fn read(&mut self) -> io::Result<()> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        match stream.try_read(&mut self.chunk) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(len) => {
                let chunk = self.chunk.get(..len).unwrap_or_default();
                show(self.debug, "<-", chunk);
                self.machine.handle_bytes(self.clock.now(), chunk);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn write(&mut self) -> io::Result<()> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        let bytes = self.machine.outbox();
        let written =
            if bytes.is_empty() { stream.push().map(|()| 0) } else { stream.try_write(bytes) };
        match written {
            Ok(0) => Ok(()),
            Ok(len) => {
                show(self.debug, "->", bytes.get(..len).unwrap_or_default());
                self.machine.handle_written(self.clock.now(), len);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn ended(&mut self, error: &ClientError) -> Error {
        let lost =
            [ClientError::Unreachable, ClientError::ClosedEarly, ClientError::ConnectionLost];
        if lost.contains(error)
            && let Some(fault) = self.fault.take()
        {
            return fault;
        }
        let hint = match error {
            ClientError::Refused(refusal) => match refusal.code {
                ReasonCode::UnsupportedProtocolVersion => "-V 311 speaks MQTT 3.1.1",
                ReasonCode::NotAuthorized | ReasonCode::BadUserNameOrPassword => {
                    "give user name and password: -u NAME -P PASSWORD"
                }
                _ => error.hint(),
            },
            _ => error.hint(),
        };
        let text = error.to_string();
        match error.kind() {
            ErrorKind::Refused => Error::Refused { text, hint: hint.into() },
            ErrorKind::Unreachable => Error::Ended { text, hint },
            ErrorKind::TimedOut => Error::timed_out(format!("{text} from {}", self.target)),
            ErrorKind::Protocol => Error::Protocol(text),
        }
    }
}

/// Packet types of the first bytes; chunks are cut anywhere, so this is for the eye only.
fn show(debug: bool, direction: &str, bytes: &[u8]) {
    const TYPES: [&str; 16] = [
        "0?",
        "CONNECT",
        "CONNACK",
        "PUBLISH",
        "PUBACK",
        "PUBREC",
        "PUBREL",
        "PUBCOMP",
        "SUBSCRIBE",
        "SUBACK",
        "UNSUBSCRIBE",
        "UNSUBACK",
        "PINGREQ",
        "PINGRESP",
        "DISCONNECT",
        "AUTH",
    ];
    if debug && let Some(first) = bytes.first() {
        let name = TYPES.get(usize::from(first >> 4)).unwrap_or(&"?");
        eprintln!("{direction} {name}…, {} bytes", bytes.len());
    }
}
