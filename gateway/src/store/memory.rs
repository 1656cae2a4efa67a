//! The store of a gateway that keeps nothing: a batch is committed as soon as it is handed over.
//!
//! It forgets the records themselves. What has to survive a restart is the disk store's business.

use std::task::{Context, Poll};

use motegate_message::{DeliveryId, Record, Seq, SessionId};

/// Answers at once.
#[derive(Debug, Default)]
pub(crate) struct Store {
    committed: Option<Seq>,
}

impl Store {
    /// Takes a batch, after all earlier ones.
    pub(crate) fn append(&mut self, seq: Seq, batch: Vec<Record>) {
        drop(batch);
        self.committed = Some(seq);
    }

    /// Nothing is ever kept here that could be read.
    #[allow(clippy::unused_self, reason = "the shape that a store on disk needs")]
    pub(crate) fn fetch(&mut self, _: SessionId, _: DeliveryId, _: usize, _: usize) {}

    /// The latest batch that is stored, if it was not told yet; every earlier one is stored too.
    pub(crate) fn poll_committed(&mut self) -> Option<Seq> {
        self.committed.take()
    }

    /// Ready when `poll_committed` has something that came on its own.
    #[allow(clippy::unused_self, reason = "the shape that a store with a thread needs")]
    pub(crate) fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_committed_once() {
        let mut store = Store::default();
        assert_eq!(store.poll_committed(), None);
        store.append(Seq(1), Vec::new());
        store.append(Seq(2), vec![Record { key: vec![b'b'], value: None }]);
        assert_eq!(store.poll_committed(), Some(Seq(2)));
        assert_eq!(store.poll_committed(), None);
    }
}
