//! [`Connected`]: the stream below a CoAP client that speaks over a connection (RFC 8323): opened, written,
//! read and closed as the machine wants it.
//!
//! Whatever is awaited here may be dropped: an opening that was under way begins anew.

use std::io;
use std::time::Duration;

use motegate_coap::client::{Client, Loss, Wanted};
use motegate_coap::for_websocket;
use tokio::io::Interest;
use tokio::time::timeout;

use super::stream::Stream;
use super::{Error, Target, secure, until};
use crate::clock::Clock;

/// For the last messages of a connection.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// Bytes read at a time.
const CHUNK: usize = 64 * 1024;

/// See the module.
#[derive(Debug)]
pub(super) struct Connected {
    target: Target,
    stream: Option<Stream>,
    opening: bool,
    /// Why the last opening failed, or what a layer said at the end.
    fault: Option<Error>,
    chunk: Vec<u8>,
    /// Shows every message on stderr: what has come of one, and what has left.
    debug: Option<[Vec<u8>; 2]>,
}

impl Connected {
    pub(super) fn new(target: &Target, debug: bool) -> Self {
        Connected {
            target: target.clone(),
            stream: None,
            opening: false,
            fault: None,
            chunk: vec![0; CHUNK],
            debug: debug.then(Default::default),
        }
    }

    /// Does what the machine wants of its driver.
    pub(super) async fn obey(&mut self, machine: &mut Client, clock: Clock) {
        loop {
            if self.opening {
                match Stream::open(&self.target).await {
                    Ok(stream) => {
                        self.stream = Some(stream);
                        machine.handle_opened(clock.now());
                    }
                    Err(fault) => {
                        self.fault = Some(fault);
                        machine.handle_closed(clock.now());
                    }
                }
                self.opening = false;
            }
            match machine.poll_wanted() {
                Some(Wanted::Open) => {
                    (self.opening, self.fault) = (true, None);
                    self.debug = self.debug.take().map(|_| Default::default());
                }
                Some(Wanted::Close) => {
                    let _ = timeout(CLOSE_TIMEOUT, self.flush(machine)).await;
                    if let Some(stream) = self.stream.take() {
                        let _ = timeout(CLOSE_TIMEOUT, stream.end()).await;
                    }
                    machine.handle_closed(clock.now());
                }
                None => return,
            }
        }
    }

    async fn flush(&mut self, machine: &mut Client) {
        loop {
            let Some(stream) = &self.stream else { return };
            if machine.outbox().is_empty() && !stream.has_unsent() {
                return;
            }
            if stream.writable().await.is_err() || self.write(machine).is_err() {
                return;
            }
        }
    }

    /// Waits for the stream or the deadline, once.
    pub(super) async fn turn(&mut self, machine: &mut Client, clock: Clock) {
        let deadline = until(clock, machine.poll_timeout());
        let Some(stream) = &self.stream else {
            deadline.await;
            return machine.handle_timeout(clock.now());
        };
        let idle = machine.outbox().is_empty() && !stream.has_unsent();
        let interest = match idle {
            true => Interest::READABLE,
            false => Interest::READABLE | Interest::WRITABLE,
        };
        let ready = tokio::select! {
            ready = stream.ready(interest) => ready,
            () = deadline => return machine.handle_timeout(clock.now()),
        };
        let result = ready.and_then(|ready| {
            if ready.is_readable() {
                self.read(machine, clock)?;
            }
            if ready.is_writable() { self.write(machine) } else { Ok(()) }
        });
        if let Err(error) = result {
            // An alert of TLS says more than the end that follows: a certificate that was refused.
            self.fault = secure::said(&error).map(|error| secure::explain(error, &self.target));
            self.stream = None;
            machine.handle_closed(clock.now());
        }
    }

    fn read(&mut self, machine: &mut Client, clock: Clock) -> io::Result<()> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        let read = match stream.try_read_message() {
            Some(message) => message.map(|message| {
                message.map(|message| {
                    if self.debug.is_some() {
                        eprintln!("<- {}", describe(&message));
                    }
                    machine.handle_message(clock.now(), &message);
                })
            }),
            None => stream.try_read(&mut self.chunk).map(|len| {
                let chunk = self.chunk.get(..len).filter(|chunk| !chunk.is_empty())?;
                if let Some([came, _]) = &mut self.debug {
                    show("<-", came, chunk);
                }
                machine.handle_bytes(clock.now(), chunk);
                Some(())
            }),
        };
        match read {
            Ok(Some(())) => Ok(()),
            Ok(None) => Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn write(&mut self, machine: &mut Client) -> io::Result<()> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        let bytes = machine.outbox();
        let written =
            if bytes.is_empty() { stream.push().map(|()| 0) } else { stream.try_write(bytes) };
        match written {
            Ok(0) => Ok(()),
            Ok(len) => {
                if let Some([_, left]) = &mut self.debug {
                    show("->", left, bytes.get(..len).unwrap_or_default());
                }
                machine.handle_written(len);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// A loss in words, with what the socket or a layer above it says.
    pub(super) fn lost(&mut self, loss: Loss) -> Error {
        let target = &self.target;
        if matches!(loss, Loss::Unreachable | Loss::ClosedEarly | Loss::Closed)
            && let Some(fault) = self.fault.take()
        {
            return fault;
        }
        let text = format!("{target}: {loss}");
        let hint = "is CoAP spoken by connections on this port? coap:// is CoAP by UDP";
        match loss {
            Loss::Unreachable | Loss::Closed => Error::Ended { text, hint: "" },
            Loss::ClosedEarly => Error::Ended { text, hint },
            Loss::Released { .. } => Error::Ended { text, hint: "ask again: it may be back soon" },
            Loss::Aborted { .. } => Error::Refused { text, hint: "".into() },
            Loss::Silent(_) => Error::TimedOut { what: text, hint: hint.into() },
            Loss::Breach(_) => Error::Protocol(text),
        }
    }

    pub(super) fn place(&self) -> String {
        self.target.to_string()
    }
}

/// Shows the messages that are whole with these bytes; `begun` keeps what is not.
fn show(direction: &str, begun: &mut Vec<u8>, bytes: &[u8]) {
    begun.extend_from_slice(bytes);
    for text in split(begun) {
        eprintln!("{direction} {text}");
    }
}

/// Takes the whole messages from the front, and says what they are.
fn split(bytes: &mut Vec<u8>) -> Vec<String> {
    let (mut all, mut used) = (Vec::new(), 0);
    while let Some(message) = for_websocket(bytes.get(used..).unwrap_or_default()) {
        all.push(describe(&[&[message.first], message.rest].concat()));
        used += message.taken;
    }
    bytes.drain(..used);
    all
}

/// Code, token, size (RFC 8323 §4.2).
fn describe(message: &[u8]) -> String {
    let &[first, code, ..] = message else { return format!("no message: {message:02x?}") };
    let token = message.get(2..2 + usize::from(first & 15)).unwrap_or_default();
    let token: String = token.iter().map(|byte| format!("{byte:02x}")).collect();
    let token = if token.is_empty() { token } else { format!(" ={token}") };
    format!("{}{token}, {} bytes", super::coap::code(code), message.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_described() {
        assert_eq!(describe(&[0x02, 0x01, 0xab, 0x0c]), "GET =ab0c, 4 bytes");
        assert_eq!(describe(&[0x00, 0xe1, 0x20]), "CSM, 3 bytes");
        let mut bytes = vec![0x00, 0xe2, 0x01, 0x45, 9, 0x20, 1];
        assert_eq!(split(&mut bytes), ["Ping, 2 bytes", "2.05 =09, 3 bytes"]);
        assert_eq!(bytes, [0x20, 1], "the beginning of the next");
    }
}
