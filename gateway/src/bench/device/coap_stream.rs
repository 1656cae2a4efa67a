//! The stream below a CoAP client over a connection (RFC 8323), as the event loop polls it.

use std::io;
use std::sync::Arc;

use mio::Token;
use motegate_coap::client::{Client, Loss, Wanted};

use super::Around;
use crate::bench::find::Way;
use crate::bench::link::{Fault, Link};
use crate::client::{Error, secure};

/// See the module.
#[derive(Debug)]
pub(super) struct CoapStream {
    way: Arc<Way>,
    token: Token,
    link: Option<Link>,
    opened: bool,
    /// Why it broke, or did not come about.
    fault: Option<Error>,
}

impl CoapStream {
    pub(super) fn new(way: &Arc<Way>, token: Token) -> Self {
        CoapStream { way: Arc::clone(way), token, link: None, opened: false, fault: None }
    }

    /// The socket may be read or written.
    pub(super) fn ready(
        &mut self,
        machine: &mut Client,
        readable: bool,
        writable: bool,
        around: &mut Around<'_>,
    ) {
        if !self.opened {
            self.check_opened(machine, writable, around);
        }
        if self.opened && readable {
            self.read(machine, around);
        }
    }

    /// Does what the machine wants, and writes what waits.
    pub(super) fn work(&mut self, machine: &mut Client, around: &mut Around<'_>) {
        self.write(machine, around);
        while let Some(wanted) = machine.poll_wanted() {
            match wanted {
                Wanted::Open => {
                    (self.opened, self.fault) = (false, None);
                    match Link::connect(&self.way, around.registry, self.token) {
                        Ok(link) => self.link = Some(link),
                        Err(error) => self.break_off(machine, error, around),
                    }
                }
                Wanted::Close => {
                    // A last message that the kernel does not take is not waited for.
                    if let Some(link) = &mut self.link {
                        link.close();
                    }
                    self.drop_link(around);
                    machine.handle_closed(around.now);
                }
            }
        }
    }

    /// Whether the socket is open, and what comes above it.
    fn check_opened(&mut self, machine: &mut Client, writable: bool, around: &mut Around<'_>) {
        let Some(link) = &mut self.link else { return };
        match link.open(&self.way, writable) {
            Ok(true) => {
                self.opened = true;
                machine.handle_opened(around.now);
            }
            Ok(false) => {}
            Err(Fault::Socket(error)) => self.break_off(machine, error, around),
            Err(Fault::Said(error)) => self.lose(machine, Some(error), around),
        }
    }

    fn read(&mut self, machine: &mut Client, around: &mut Around<'_>) {
        while let Some(link) = &mut self.link {
            let read = match link.try_read_message() {
                Some(message) => message.map(|message| {
                    let message = message?;
                    machine.handle_message(around.now, &message);
                    Some(false)
                }),
                None => link.read(around.chunk).map(|len| {
                    let chunk = around.chunk.get(..len).filter(|chunk| !chunk.is_empty())?;
                    machine.handle_bytes(around.now, chunk);
                    // A short read empties a stream: epoll tells of the next bytes (epoll(7)).
                    Some(len < around.chunk.len() && link.is_plain())
                }),
            };
            match read {
                Ok(Some(true)) => return,
                Ok(Some(false)) => {}
                Ok(None) => return self.lose(machine, None, around),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return self.break_off(machine, error, around),
            }
        }
    }

    fn write(&mut self, machine: &mut Client, around: &mut Around<'_>) {
        while self.opened
            && let Some(link) = &mut self.link
        {
            match link.send(machine.outbox()) {
                Ok(Some(0)) => {}
                Ok(Some(len)) => machine.handle_written(len),
                Ok(None) => return,
                Err(error) => return self.break_off(machine, error, around),
            }
        }
    }

    fn break_off(&mut self, machine: &mut Client, error: io::Error, around: &mut Around<'_>) {
        let target = &self.way.target;
        let said = secure::said(&error).map(|error| secure::explain(error, target));
        let place = self.way.place();
        let fault = said.unwrap_or_else(|| match error.kind() {
            io::ErrorKind::ConnectionRefused => {
                Error::NothingListens { place, hint: "is the gateway still up?" }
            }
            _ => Error::Unreachable { place, source: error },
        });
        self.lose(machine, Some(fault), around);
    }

    fn lose(&mut self, machine: &mut Client, fault: Option<Error>, around: &mut Around<'_>) {
        self.fault = fault;
        self.drop_link(around);
        machine.handle_closed(around.now);
    }

    fn drop_link(&mut self, around: &Around<'_>) {
        if let Some(mut link) = self.link.take() {
            link.deregister(around.registry);
        }
        self.opened = false;
    }

    /// A loss in words, with what the socket or a layer above it says.
    pub(super) fn lost(&mut self, loss: &Loss) -> Error {
        let text = loss.to_string();
        match (loss, self.fault.take()) {
            (Loss::Unreachable, Some(fault)) => fault,
            (Loss::Aborted { .. }, _) => Error::Refused { text, hint: "".into() },
            (Loss::Breach(_), _) => Error::Protocol(text),
            (Loss::Silent(_), _) => {
                Error::TimedOut { what: text, hint: "is CoAP spoken on this port?".into() }
            }
            _ => Error::Ended { text, hint: "see the gateway's log" },
        }
    }
}
