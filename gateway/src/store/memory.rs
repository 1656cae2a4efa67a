//! [`Forgetful`]: the store of a gateway that keeps nothing (`durability: none`): a batch is
//! committed as soon as it is handed over, and forgotten.

use std::collections::VecDeque;

use motegate_message::journal::Page;
use motegate_message::{Record, Seq, SessionId};

use super::Report;

/// Answers at once.
#[derive(Debug, Default)]
pub(crate) struct Forgetful {
    committed: Option<Seq>,
    fetched: VecDeque<SessionId>,
}

impl Forgetful {
    pub(super) fn append(&mut self, seq: Seq, batch: Vec<Record>) {
        drop(batch);
        self.committed = Some(seq);
    }

    /// Nothing is kept that could be read.
    pub(super) fn fetch(&mut self, session: SessionId) {
        self.fetched.push_back(session);
    }

    pub(super) fn poll_report(&mut self) -> Option<Report> {
        if let Some(session) = self.fetched.pop_front() {
            let page = Page { is_last: true, ..Page::default() };
            return Some(Report::Fetched { session, page });
        }
        self.committed.take().map(Report::Committed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_committed_once() {
        let mut store = Forgetful::default();
        assert_eq!(store.poll_report(), None);
        store.append(Seq(1), Vec::new());
        store.append(Seq(2), vec![Record { key: vec![b'b'], value: None }]);
        assert_eq!(store.poll_report(), Some(Report::Committed(Seq(2))));
        assert_eq!(store.poll_report(), None);
    }

    #[test]
    fn a_queue_is_empty() {
        let mut store = Forgetful::default();
        store.fetch(SessionId::from_u64(3));
        let Some(Report::Fetched { session, page }) = store.poll_report() else { panic!() };
        assert_eq!(session, SessionId::from_u64(3));
        assert!(page.entries.is_empty() && page.is_last && !page.is_damaged);
    }
}
