//! What the gateway says of itself (`$SYS`): retained messages in a store of their own.
//!
//! They reach subscribers and readers as any retained message does. They are in no journal, count
//! against no bound on what clients retain, and are not among the topics that a list of retained
//! topics shows: they come from nobody who could be asked to take them back.

use alloc::sync::Arc;

use motegate_message::{Message, Turn};

use crate::Broker;
use crate::retained::Retained;

impl Broker {
    /// Publishes a message of the gateway's own and retains it until the next one of its topic, or
    /// [`forget_own`](Self::forget_own). Nobody waits for an answer. The caller says each topic at
    /// most once a turn and bounds their number.
    pub fn announce(&mut self, turn: &Turn, mut message: Message) {
        self.journal.begin(turn);
        message.topic = self.own.shared_topic(&message.topic);
        message.retain = true;
        let message = Arc::new(message);
        self.own.set(&message);
        self.spread(turn, &message);
        self.settle(turn);
    }

    /// Forgets what was announced; subscribers are told nothing.
    pub fn forget_own(&mut self) {
        self.own = Retained::default();
    }

    /// How many topics the gateway retains for itself, and the bytes of their messages.
    #[must_use]
    pub fn own(&self) -> (usize, usize) {
        (self.own.len(), self.own.bytes())
    }
}
