//! The CoAP client of `motegate_coap` on a UDP socket, or over a connection of TCP, TLS or WebSocket.

use std::time::Duration;

use motegate_coap::Config;
use motegate_coap::client::{Client, Event, Flaw, Loss, Request, RequestId, Response};
use motegate_coap::endpoint::Method;

use super::connected::Connected;
use super::datagrams::Datagrams;
use super::{Error, Target, random, until};
use crate::clock::Clock;

/// Uri-Host (RFC 7252 §5.10.1).
const URI_HOST: u16 = 3;

/// What is below the machine.
enum Wire {
    Datagrams(Datagrams),
    Connection(Box<Connected>),
}

/// Requests and observations towards one server.
pub(crate) struct CoapClient {
    machine: Client,
    wire: Wire,
    clock: Clock,
    target: Target,
    /// Shows every message on stderr.
    debug: bool,
}

impl CoapClient {
    /// Finds the host, where it is spoken to by datagrams; nothing is sent.
    pub(crate) async fn open(target: &Target, clock: Clock, debug: bool) -> Result<Self, Error> {
        // Message ids and tokens of two runs of the program should not meet (RFC 7252 §4.4).
        let (config, seed) = (Config::default(), random());
        let (machine, wire) = if target.is_stream() {
            let connected = Box::new(Connected::new(target, debug));
            (Client::over_connection(config, seed), Wire::Connection(connected))
        } else {
            let wire = Wire::Datagrams(Datagrams::open(target, clock).await?);
            (Client::new(config, seed), wire)
        };
        Ok(CoapClient { machine, wire, clock, target: target.clone(), debug })
    }

    /// A request to the target's path and query.
    pub(crate) fn to_target(&self, method: Method) -> Request {
        let mut request = Request::new(method, "");
        request.path.clone_from(&self.target.path);
        request.query.clone_from(&self.target.query);
        // RFC 7252 §6.4: an address is left out, a name is not.
        if self.target.host.parse::<std::net::IpAddr>().is_err() {
            let host = self.target.host.to_ascii_lowercase();
            request.options.push((URI_HOST, host.into_bytes()));
        }
        request
    }

    /// Sends a request; [`next`](Self::next) has the answer.
    pub(crate) fn start(&mut self, request: Request) -> RequestId {
        self.machine.request(self.clock.now(), request)
    }

    /// One request to its response.
    pub(crate) async fn ask(&mut self, request: Request) -> Result<Response, Error> {
        let id = self.start(request);
        loop {
            match self.next().await? {
                Event::Response { request, response } if request == id => return Ok(response),
                Event::Lost { request, loss } if request == id => return Err(self.lost(loss)),
                _ => {}
            }
        }
    }

    /// An empty message and its rejection, or a Ping and its Pong: how long that took.
    pub(crate) async fn ping(&mut self) -> Result<Duration, Error> {
        let start = self.clock.now();
        let id = self.machine.ping(start);
        loop {
            match self.next().await? {
                Event::Pong { request } if request == id => {
                    return Ok(self.clock.now().saturating_since(start));
                }
                Event::Lost { request, loss } if request == id => return Err(self.lost(loss)),
                _ => {}
            }
        }
    }

    /// Ends observations, and waits for the answers.
    pub(crate) async fn end(&mut self, ids: &[RequestId]) -> Result<(), Error> {
        for id in ids {
            self.machine.deregister(self.clock.now(), *id);
        }
        while self.machine.open() > 0 {
            self.next().await?;
        }
        Ok(())
    }

    /// Registers an observation anew; [`next`](Self::next) has the answer. `false` where none is.
    pub(crate) fn renew(&mut self, id: RequestId) -> bool {
        self.machine.reregister(self.clock.now(), id)
    }

    /// Sends blocks of at most so many bytes and asks for no larger ones.
    pub(crate) const fn set_block_size(&mut self, bytes: usize) {
        self.machine.set_block_size(bytes);
    }

    /// The next response or notification. A connection that ends is an event of each request, which
    /// [`lost`](Self::lost) puts into words.
    pub(crate) async fn next(&mut self) -> Result<Event, Error> {
        loop {
            match &mut self.wire {
                Wire::Connection(wire) => wire.obey(&mut self.machine, self.clock).await,
                Wire::Datagrams(wire) => {
                    while let Some(bytes) = self.machine.poll_transmit() {
                        show(self.debug, "->", &bytes);
                        wire.send(&bytes).await?;
                    }
                }
            }
            match self.machine.poll_event() {
                Some(event) => return self.judge(event),
                None => self.turn().await?,
            }
        }
    }

    /// What ends the request that it belongs to is an error.
    fn judge(&self, event: Event) -> Result<Event, Error> {
        Err(match event {
            Event::TimedOut { .. } => self.silent(),
            Event::Reset { .. } => Error::Refused {
                text: "refused: the server answered with a reset".to_owned(),
                hint: "is it a CoAP server, and does it take this kind of request?".into(),
            },
            Event::Broken { flaw: Flaw::TooLarge { limit }, .. } => Error::Failed(format!(
                "the response is larger than {} KiB, which is too much for this client",
                limit / 1024
            )),
            Event::Broken { flaw: flaw @ Flaw::TooLong { .. }, .. } => {
                Error::Refused { text: flaw.to_string(), hint: "shorten path and options".into() }
            }
            Event::Broken { flaw, .. } => Error::Protocol(flaw.to_string()),
            event => return Ok(event),
        })
    }

    /// Waits for something to come, or to be due.
    async fn turn(&mut self) -> Result<(), Error> {
        let deadline = self.machine.poll_timeout();
        match &mut self.wire {
            Wire::Connection(wire) => wire.turn(&mut self.machine, self.clock).await,
            Wire::Datagrams(wire) => tokio::select! {
                bytes = wire.receive() => {
                    let bytes = bytes?.to_vec();
                    show(self.debug, "<-", &bytes);
                    self.machine.handle_datagram(self.clock.now(), &bytes);
                }
                () = until(self.clock, deadline) => {
                    self.machine.handle_timeout(self.clock.now());
                }
            },
        }
        Ok(())
    }

    /// Takes leave of a connection; datagrams need none.
    pub(crate) async fn leave(&mut self) {
        if let Wire::Connection(wire) = &mut self.wire {
            self.machine.disconnect();
            wire.obey(&mut self.machine, self.clock).await;
        }
    }

    /// Why a connection ended.
    pub(crate) fn lost(&mut self, loss: Loss) -> Error {
        match &mut self.wire {
            Wire::Connection(wire) => wire.lost(loss),
            Wire::Datagrams(_) => Error::Failed(loss.to_string()), // they have none
        }
    }

    /// Nobody answered in time.
    pub(crate) fn silent(&self) -> Error {
        let peer = match &self.wire {
            Wire::Connection(wire) => Some(wire.place()),
            Wire::Datagrams(wire) => wire.peer().map(|peer| format!("{peer}/udp")),
        };
        let peer = peer.map_or_else(String::new, |peer| format!(" from {peer}"));
        Error::timed_out(format!("no answer{peer}"))
    }
}

fn show(debug: bool, direction: &str, bytes: &[u8]) {
    if debug {
        eprintln!("{direction} {}", describe(bytes));
    }
}

/// Type, code, message id, size (RFC 7252 §3).
fn describe(bytes: &[u8]) -> String {
    let &[first, code, high, low, ..] = bytes else {
        return format!("no message: {bytes:02x?}");
    };
    let kind = ["CON", "NON", "ACK", "RST"][usize::from(first >> 4 & 3)];
    let message_id = u16::from_be_bytes([high, low]);
    format!("{kind} {} #{message_id}, {} bytes", self::code(code), bytes.len()) // at least 4
}

/// A code as people call it.
pub(super) fn code(code: u8) -> String {
    let name = match (code >> 5, code & 0x1f) {
        (0, 0) => "empty",
        (0, 1) => "GET",
        (0, 2) => "POST",
        (0, 3) => "PUT",
        (0, 4) => "DELETE",
        (7, 1) => "CSM",
        (7, 2) => "Ping",
        (7, 3) => "Pong",
        (7, 4) => "Release",
        (7, 5) => "Abort",
        (class, detail) => return format!("{class}.{detail:02}"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_are_described() {
        assert_eq!(describe(&[0x40, 0x03, 1, 2, 9]), "CON PUT #258, 5 bytes");
        assert_eq!(describe(&[0x60, 0x84, 0, 7]), "ACK 4.04 #7, 4 bytes");
        assert_eq!(describe(&[0x70, 0, 0, 7]), "RST empty #7, 4 bytes");
        assert_eq!(describe(&[1]), "no message: [01]");
    }
}
