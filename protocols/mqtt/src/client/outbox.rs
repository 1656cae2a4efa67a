//! What waits to be written, and which QoS 0 publishes are through when it was.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::Token;

/// From here on what was written is cut off before the rest is.
const COMPACT: usize = 64 * 1024;
/// An emptied buffer of at most this many bytes is kept: an idle client holds little.
const KEPT: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct Outbox {
    buf: Vec<u8>,
    read: usize,
    /// Bytes written so far, of all connections.
    written: u64,
    /// QoS 0 publishes: where each ends, and whose it is.
    marks: VecDeque<(u64, Token)>,
}

impl Outbox {
    pub(super) fn len(&self) -> usize {
        self.buf.len() - self.read
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        self.buf.get(self.read..).unwrap_or_default()
    }

    /// The buffer to append to.
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buf
    }

    /// `token` is through when all that was appended so far is written.
    pub(super) fn mark(&mut self, token: Token) {
        self.marks.push_back((self.written + self.len() as u64, token));
    }

    pub(super) fn has_marks(&self) -> bool {
        !self.marks.is_empty()
    }

    /// `n` bytes were written.
    pub(super) fn consume(&mut self, n: usize) {
        let n = n.min(self.len());
        self.written += n as u64;
        self.read += n;
        if self.read == self.buf.len() {
            self.read = 0;
            self.buf.clear();
            self.buf.shrink_to(KEPT);
        } else if self.read >= COMPACT && self.read >= self.buf.len() / 2 {
            self.buf.drain(..self.read);
            self.read = 0;
        }
    }

    /// The next publish that is through.
    pub(super) fn pop_written(&mut self) -> Option<Token> {
        let (_, token) = *self.marks.front().filter(|(end, _)| *end <= self.written)?;
        self.marks.pop_front();
        if self.marks.is_empty() {
            self.marks.shrink_to(KEPT / 16);
        }
        Some(token)
    }

    /// The next publish that is lost with its connection.
    pub(super) fn pop_lost(&mut self) -> Option<Token> {
        Some(self.marks.pop_front()?.1)
    }

    /// The connection is over; lost publishes have been popped.
    pub(super) fn clear(&mut self) {
        self.buf = Vec::new();
        self.read = 0;
        self.marks = VecDeque::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_through_when_their_last_byte_is() {
        let mut outbox = Outbox::default();
        outbox.buffer().extend_from_slice(b"abc");
        outbox.mark(1);
        outbox.buffer().extend_from_slice(b"de");
        outbox.mark(2);
        outbox.consume(2);
        assert_eq!(outbox.pop_written(), None);
        outbox.consume(1);
        assert_eq!(outbox.pop_written(), Some(1));
        assert_eq!(outbox.as_slice(), b"de");
        outbox.consume(1);
        assert_eq!((outbox.pop_written(), outbox.pop_lost()), (None, Some(2)));
        outbox.clear();
        assert_eq!((outbox.len(), outbox.buf.capacity()), (0, 0));
    }

    #[test]
    fn a_long_outbox_is_cut_and_an_emptied_one_gives_its_memory_back() {
        let mut outbox = Outbox::default();
        outbox.buffer().resize(COMPACT + 10, 7);
        outbox.consume(COMPACT);
        assert_eq!((outbox.len(), outbox.read), (10, 0));
        outbox.consume(99);
        assert!(outbox.buf.capacity() <= KEPT);
    }
}
