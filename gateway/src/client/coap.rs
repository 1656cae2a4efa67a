//! The CoAP client of `motegate_coap` on a UDP socket.

use std::time::Duration;

use motegate_coap::Config;
use motegate_coap::client::{Client, Event, Flaw, Request, RequestId, Response};
use motegate_coap::endpoint::Method;

use super::datagrams::Datagrams;
use super::{Error, Target, random, until};
use crate::clock::Clock;

/// Uri-Host (RFC 7252 §5.10.1).
const URI_HOST: u16 = 3;

/// Requests and observations towards one server.
pub(crate) struct CoapClient {
    machine: Client,
    wire: Datagrams,
    clock: Clock,
    target: Target,
    /// Shows every datagram on stderr.
    debug: bool,
}

impl CoapClient {
    /// Finds the host; nothing is sent.
    pub(crate) async fn open(target: &Target, clock: Clock, debug: bool) -> Result<Self, Error> {
        let wire = Datagrams::open(target, clock).await?;
        // Message ids and tokens of two runs of the program should not meet (RFC 7252 §4.4).
        let machine = Client::new(Config::default(), random());
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
            if let Event::Response { request, response } = self.next().await?
                && request == id
            {
                return Ok(response);
            }
        }
    }

    /// An empty message and its rejection: how long that took.
    pub(crate) async fn ping(&mut self) -> Result<Duration, Error> {
        let start = self.clock.now();
        let id = self.machine.ping(start);
        loop {
            if let Event::Pong { request } = self.next().await?
                && request == id
            {
                return Ok(self.clock.now().saturating_since(start));
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

    /// The next response or notification.
    pub(crate) async fn next(&mut self) -> Result<Event, Error> {
        loop {
            while let Some(bytes) = self.machine.poll_transmit() {
                self.show("->", &bytes);
                self.wire.send(&bytes).await?;
            }
            match self.machine.poll_event() {
                Some(Event::TimedOut { .. }) => return Err(self.silent()),
                Some(Event::Reset { .. }) => {
                    return Err(Error::Refused {
                        text: "refused: the server answered with a reset".to_owned(),
                        hint: "is it a CoAP server, and does it take this kind of request?".into(),
                    });
                }
                Some(Event::Broken { flaw: Flaw::TooLarge { limit }, .. }) => {
                    return Err(Error::Failed(format!(
                        "the response is larger than {} KiB, which is too much for this client",
                        limit / 1024
                    )));
                }
                Some(Event::Broken { flaw, .. }) => return Err(Error::Protocol(flaw.to_string())),
                Some(event) => return Ok(event),
                None => {}
            }
            let deadline = self.machine.poll_timeout();
            tokio::select! {
                bytes = self.wire.receive() => {
                    let bytes = bytes?.to_vec();
                    self.show("<-", &bytes);
                    self.machine.handle_datagram(self.clock.now(), &bytes);
                }
                () = until(self.clock, deadline) => {
                    self.machine.handle_timeout(self.clock.now());
                }
            }
        }
    }

    /// Nobody answered in time.
    pub(crate) fn silent(&self) -> Error {
        let peer = self.wire.peer().map_or_else(String::new, |peer| format!(" from {peer}/udp"));
        Error::timed_out(format!("no answer{peer}"))
    }

    fn show(&self, direction: &str, bytes: &[u8]) {
        if self.debug {
            eprintln!("{direction} {}", describe(bytes));
        }
    }
}

/// Type, code, message id, size (RFC 7252 §3).
fn describe(bytes: &[u8]) -> String {
    let &[first, code, high, low, ..] = bytes else {
        return format!("no message: {bytes:02x?}");
    };
    let kind = ["CON", "NON", "ACK", "RST"][usize::from(first >> 4 & 3)];
    let code = match (code >> 5, code & 0x1f) {
        (0, 0) => "empty".to_owned(),
        (0, 1) => "GET".to_owned(),
        (0, 2) => "POST".to_owned(),
        (0, 3) => "PUT".to_owned(),
        (0, 4) => "DELETE".to_owned(),
        (class, detail) => format!("{class}.{detail:02}"),
    };
    let message_id = u16::from_be_bytes([high, low]);
    format!("{kind} {code} #{message_id}, {} bytes", bytes.len()) // at least 4
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
