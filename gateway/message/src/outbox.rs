//! [`Outbox`]: what waits to be written to one connection. An empty one holds no memory: its buffer
//! goes back to a small pool.

use alloc::vec::Vec;

/// Buffers kept for reuse, and the largest that is kept.
const POOLED: usize = 32;
const POOLED_CAPACITY: usize = 16 * 1024;
/// From here on what was written is cut off before the rest is.
const COMPACT: usize = 64 * 1024;

/// Spare buffers.
#[derive(Debug, Default)]
pub struct Pool(Vec<Vec<u8>>);

impl Pool {
    /// One of them, or a new one.
    #[must_use]
    pub fn take(&mut self) -> Vec<u8> {
        self.0.pop().unwrap_or_default()
    }

    /// Keeps one for later, unless there are enough.
    pub fn give(&mut self, mut buffer: Vec<u8>) {
        if self.0.len() < POOLED && (1..=POOLED_CAPACITY).contains(&buffer.capacity()) {
            buffer.clear();
            self.0.push(buffer);
        }
    }
}

/// Encoded packets, the first `read` bytes of them already written.
#[derive(Debug, Default)]
pub struct Outbox {
    buf: Vec<u8>,
    read: u32,
    /// Put in since it was last empty.
    packets: u32,
}

impl Outbox {
    /// Bytes that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.buf.len() - self.read as usize
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What waits.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        self.buf.get(self.read as usize..).unwrap_or_default()
    }

    /// Packets that wait.
    #[must_use]
    pub const fn packets(&self) -> u32 {
        self.packets
    }

    /// The buffer to append one packet to.
    pub fn buffer(&mut self, pool: &mut Pool) -> &mut Vec<u8> {
        if self.buf.capacity() == 0 {
            self.buf = pool.take();
        }
        self.packets = self.packets.saturating_add(1);
        &mut self.buf
    }

    /// Takes back the packet that was just appended: the buffer had `len` bytes before it.
    pub fn take_back(&mut self, len: usize, pool: &mut Pool) {
        self.buf.truncate(len);
        self.packets = self.packets.saturating_sub(1);
        if self.is_empty() {
            self.clear(pool);
        }
    }

    /// `n` bytes were written.
    pub fn consume(&mut self, n: usize, pool: &mut Pool) {
        let read = (self.read as usize).saturating_add(n).min(self.buf.len());
        if read == self.buf.len() {
            return self.clear(pool);
        }
        match u32::try_from(read).ok().filter(|_| read < COMPACT) {
            Some(read) => self.read = read,
            None => {
                self.buf.drain(..read);
                self.read = 0;
            }
        }
    }

    /// Throws away what waits.
    pub fn clear(&mut self, pool: &mut Pool) {
        (self.read, self.packets) = (0, 0);
        pool.give(core::mem::take(&mut self.buf));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emptied_outbox_gives_its_buffer_back() {
        let mut pool = Pool::default();
        let mut outbox = Outbox::default();
        outbox.buffer(&mut pool).extend_from_slice(b"abcdef");
        outbox.consume(2, &mut pool);
        assert_eq!(outbox.as_slice(), b"cdef");
        outbox.buffer(&mut pool).push(b'g');
        outbox.consume(9, &mut pool);
        assert!(outbox.is_empty());
        assert_eq!(outbox.buf.capacity(), 0);
        assert_eq!(pool.0.len(), 1);
    }

    #[test]
    fn a_long_outbox_is_cut() {
        let mut pool = Pool::default();
        let mut outbox = Outbox::default();
        outbox.buffer(&mut pool).resize(COMPACT + 10, 7);
        outbox.consume(COMPACT, &mut pool);
        assert_eq!((outbox.len(), outbox.read), (10, 0));
        outbox.consume(10, &mut pool);
        assert!(pool.0.is_empty(), "too large to keep");
    }
}
