//! [`Broker`]: requests in, effects and records out.

use motegate_message::{Record, Turn};
use motegate_timers::Instant;

use crate::{Config, Effect, Request};

/// All sessions, subscriptions, queues, retained messages and wills of one worker.
#[derive(Debug)]
pub struct Broker {}

#[allow(unused_variables)]
impl Broker {
    /// A broker with nothing in it.
    pub fn new(config: Config) -> Self {
        todo!()
    }
    /// Does what is asked; the answers are polled.
    pub fn handle(&mut self, turn: &Turn, request: Request) {}
    /// Deadlines up to `turn.now` are due: wills, session and message expiry.
    pub fn handle_timeout(&mut self, turn: &Turn) {}
    /// One record of an earlier life, before anything else is handled; `false` when it is damaged.
    pub fn restore(&mut self, turn: &Turn, key: &[u8], value: &[u8]) -> bool {
        false
    }
    /// After the last `restore`: open connections count as closed now.
    pub fn restored(&mut self, turn: &Turn) {}
    /// The gateway stops: wills without delay of open connections are published.
    pub fn shutdown(&mut self, turn: &Turn) {}
    /// The next answer.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        None
    }
    /// The next change to the durable state.
    pub fn poll_record(&mut self) -> Option<Record> {
        None
    }
    /// When `handle_timeout` is wanted.
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}
