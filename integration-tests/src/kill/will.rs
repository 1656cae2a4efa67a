//! One that dies with a will that is delayed: once CONNACK has come, the will is the gateway's.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::mqtt::{Change, Durable};
use crate::load::actor::{Actor, Turn};
use crate::load::ledger::{Ledger, StreamId};

/// Of the will, in seconds.
const DELAY: u32 = 1;
/// How long it lives.
const LIFE: Duration = Duration::from_millis(120);
/// A will that is due comes before that.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug)]
enum State {
    /// This number is the will of the connection that is opened.
    Coming(u32),
    /// It is lodged.
    Living(u32, Instant),
    /// It is due; the client comes back when it was published.
    Dead(u32, Instant),
    Done,
}

/// The client; its wills are the stream, and somebody hears them all.
#[derive(Debug)]
pub(super) struct Mortal {
    client: Durable,
    stream: StreamId,
    heard_by: usize,
    state: State,
}

impl Mortal {
    pub(super) fn new(gateway: SocketAddr, id: &str, stream: StreamId, heard_by: usize) -> Mortal {
        let mut client = Durable::new(gateway, id, true);
        client.away = true;
        Mortal { client, stream, heard_by, state: State::Done }
    }

    fn come(&mut self, ledger: &mut Ledger) {
        let number = ledger.next(self.stream);
        let payload = Ledger::payload(self.stream, number);
        self.client.will = Some((ledger.name(self.stream).to_owned(), payload, 2, DELAY));
        self.client.away = false;
        self.state = State::Coming(number);
    }

    fn die(&mut self, number: u32, now: Instant, ledger: &mut Ledger) {
        self.client.cut();
        self.client.away = true;
        // From the CONNACK on the gateway owes it.
        ledger.acked(self.stream, number);
        self.state = State::Dead(number, now);
    }
}

impl Actor for Mortal {
    fn turn(&mut self, turn: &Turn, ledger: &mut Ledger) {
        let (change, packets) = self.client.turn(turn.now, ledger);
        for packet in packets {
            ledger.fault(format!("{}: {packet:?}", self.client.id));
        }
        match self.state {
            State::Coming(number) if change == Change::Up => {
                self.state = State::Living(number, turn.now);
            }
            // Whether the gateway has this will is not known: the next one is another.
            State::Coming(_) if change == Change::Lost => self.come(ledger),
            // Lost with the CONNACK: the gateway was killed, and has the will.
            State::Living(number, _) if change == Change::Lost => {
                self.die(number, turn.now, ledger);
            }
            State::Living(number, since) if turn.now > since + LIFE => {
                self.die(number, turn.now, ledger);
            }
            State::Dead(number, since) => {
                if ledger.has(self.heard_by, self.stream, number) {
                    self.state = State::Done;
                } else if turn.now > since + PATIENCE {
                    ledger.fault(format!("{}: will {number} was not published", self.client.id));
                    self.state = State::Done;
                }
            }
            State::Done if turn.publishing => self.come(ledger),
            _ => {}
        }
        self.client.flush();
    }

    fn is_ready(&self) -> bool {
        true
    }

    fn is_settled(&self, _: &Ledger) -> bool {
        matches!(self.state, State::Done)
    }
}
