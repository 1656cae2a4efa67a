//! [`Stamp`]: the head of every payload of a bench: whose it is, which one, and when it was due.

use motegate_timers::Instant;

/// Bytes of a stamp, so the shortest payload.
pub(crate) const STAMP: usize = 20;

/// What a message says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) publisher: u32,
    /// Of this publisher, from 0.
    pub(super) number: u32,
    /// When it was published, or with a fixed rate should have been.
    pub(super) since: Instant,
}

impl Stamp {
    /// Overwrites the payload's head. `run` tells one bench from another.
    pub(super) fn write(&self, run: u32, payload: &mut [u8]) {
        if let Some(head) = payload.first_chunk_mut::<STAMP>() {
            head[..4].copy_from_slice(&run.to_be_bytes());
            head[4..8].copy_from_slice(&self.publisher.to_be_bytes());
            head[8..12].copy_from_slice(&self.number.to_be_bytes());
            head[12..].copy_from_slice(&self.since.as_micros().to_be_bytes());
        }
    }

    /// `None`: not of this run.
    pub(super) fn read(run: u32, payload: &[u8]) -> Option<Self> {
        let rest = payload.strip_prefix(&run.to_be_bytes())?;
        let (publisher, rest) = rest.split_first_chunk()?;
        let (number, rest) = rest.split_first_chunk()?;
        let since = rest.first_chunk()?;
        Some(Stamp {
            publisher: u32::from_be_bytes(*publisher),
            number: u32::from_be_bytes(*number),
            since: Instant::from_micros(u64::from_be_bytes(*since)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_read_as_it_was_written() {
        let stamp = Stamp { publisher: 7, number: u32::MAX, since: Instant::from_micros(1 << 40) };
        let mut payload = [b'.'; 64];
        stamp.write(0xdead_beef, &mut payload);
        assert_eq!(Stamp::read(0xdead_beef, &payload), Some(stamp));
        assert_eq!(Stamp::read(0xdead_beef, &payload[..STAMP]), Some(stamp));
        assert_eq!(Stamp::read(0xdead_beef, &payload[..STAMP - 1]), None);
        assert_eq!(Stamp::read(1, &payload), None);
    }
}
