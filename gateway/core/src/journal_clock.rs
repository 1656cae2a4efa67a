//! The clock of persisted deadlines: the wall clock, but for what it jumps.
//!
//! Deadlines in the journal outlive the process, so they cannot be of its monotonic clock; but a
//! board without a battery boots in 1970, or where its last shutdown was, and is set by the network
//! when the first sessions have long been journaled. Deadlines by its wall clock would then all be
//! over at the next start. So within one life this clock goes on with the monotonic one; how far
//! the wall clock is ahead of it (the *skew*) is journaled with every batch, and only the time
//! between two lives is taken from the wall clock.

use motegate_message::Wall;
use motegate_timers::Instant;

/// 2020-01-01T00:00:00Z. A wall clock before that was not set.
const SET: u64 = 1_577_836_800_000;

/// As the module says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct JournalClock {
    now: Instant,
    at: Wall,
    /// What the wall clock is ahead, in ms; that it is behind is negative.
    skew: i64,
    /// The same as it is in the journal.
    written: i64,
}

/// Of more than these milliseconds the journal hears at once, and not with the next batch.
const JUMP: u64 = 60_000;

impl JournalClock {
    /// A gateway without a journal, or with an empty one.
    pub(crate) fn new(now: Instant, wall: Wall) -> Self {
        JournalClock { now, at: wall, skew: 0, written: 0 }
    }

    /// Goes on from the value of a journal. Where the wall clock is behind the last batch, or was
    /// set only since, nobody knows how much time has passed: none has.
    pub(crate) fn resume(now: Instant, wall: Wall, saved: &[u8]) -> Option<Self> {
        let (last, skew) = saved.split_first_chunk()?;
        let last = u64::from_be_bytes(*last);
        let skew = match skew {
            [] => 0, // of a version that had none
            skew => i64::from_be_bytes(skew.try_into().ok()?),
        };
        let was_set = last.saturating_add_signed(skew) >= SET;
        let passed = wall.as_millis().saturating_add_signed(skew.saturating_neg());
        let passed = if was_set { passed.max(last) } else { last };
        let mut clock = JournalClock { now, at: Wall::from_millis(passed), skew, written: skew };
        clock.look(now, wall);
        Some(clock)
    }

    /// What it is now, where the wall clock says this.
    pub(crate) fn look(&mut self, now: Instant, wall: Wall) -> Wall {
        let passed = now.saturating_since(self.now).as_micros();
        let millis = u64::try_from(passed / 1000).unwrap_or(u64::MAX);
        let at = self.at.as_millis().saturating_add(millis);
        self.skew =
            i64::try_from(i128::from(wall.as_millis()) - i128::from(at)).unwrap_or(i64::MAX);
        Wall::from_millis(at)
    }

    /// Whether the wall clock was set since a batch last said how far it is ahead.
    pub(crate) fn jumped(&self) -> bool {
        self.skew.abs_diff(self.written) > JUMP
    }

    /// As it is in the journal from now on.
    pub(crate) fn value(&mut self, at: Wall) -> Vec<u8> {
        self.written = self.skew;
        [at.as_millis().to_be_bytes(), self.skew.to_be_bytes()].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;

    const TODAY: u64 = 1_767_225_600_000;
    const HOUR: u64 = 3_600_000;

    fn wall(millis: u64) -> Wall {
        Wall::from_millis(millis)
    }

    fn after(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    /// What the next life begins with whose wall clock says `then`.
    fn next_life(mut clock: JournalClock, at: Wall, then: u64) -> JournalClock {
        JournalClock::resume(Instant::ZERO, wall(then), &clock.value(at)).unwrap()
    }

    fn begins(clock: JournalClock) -> u64 {
        clock.at.as_millis()
    }

    #[test]
    fn the_time_between_two_lives_counts() {
        let mut clock = JournalClock::new(Instant::ZERO, wall(TODAY));
        let at = clock.look(after(HOUR), wall(TODAY + HOUR));
        assert_eq!(at, wall(TODAY + HOUR));
        assert_eq!(begins(next_life(clock, at, TODAY + 3 * HOUR)), TODAY + 3 * HOUR);
    }

    #[test]
    fn a_clock_that_is_set_in_a_life_makes_nobody_older() {
        let mut clock = JournalClock::new(Instant::ZERO, wall(1_000));
        let before = clock.look(after(10_000), wall(11_000));
        assert!(!clock.jumped());
        let set = clock.look(after(20_000), wall(TODAY));
        assert!(clock.jumped());
        assert_eq!(set.as_millis() - before.as_millis(), 10_000);
        let next = next_life(clock, set, TODAY + HOUR);
        assert_eq!(begins(next) - set.as_millis(), HOUR, "the time in between is known");
        // The same where it was only a few hours behind, or ahead.
        for wrong in [TODAY - 3 * HOUR, TODAY + 3 * HOUR] {
            let mut clock = JournalClock::new(Instant::ZERO, wall(wrong));
            let set = clock.look(after(HOUR), wall(TODAY));
            assert_eq!(set, wall(wrong + HOUR));
            assert_eq!(begins(next_life(clock, set, TODAY + HOUR)), wrong + 2 * HOUR);
        }
    }

    #[test]
    fn a_clock_that_was_set_between_two_lives_makes_nobody_older() {
        let mut clock = JournalClock::new(Instant::ZERO, wall(1_000));
        let at = clock.look(after(HOUR), wall(1_000 + HOUR));
        let mut next = next_life(clock, at, TODAY);
        assert_eq!(begins(next), 1_000 + HOUR);
        let at = next.look(after(HOUR), wall(TODAY + HOUR));
        assert_eq!(begins(next_life(next, at, TODAY + 2 * HOUR)), 1_000 + 3 * HOUR);
    }

    #[test]
    fn behind_the_journal_no_time_has_passed() {
        let mut clock = JournalClock::new(Instant::ZERO, wall(TODAY));
        let at = clock.look(after(HOUR), wall(TODAY + HOUR));
        let mut next = next_life(clock, at, 5_000);
        assert_eq!(begins(next), TODAY + HOUR);
        let at = next.look(after(1_000), wall(6_000));
        assert_eq!(at, wall(TODAY + HOUR + 1_000));
        let mut third = next_life(next, at, 5_000);
        assert_eq!(begins(third), TODAY + HOUR + 1_000);
        // Set at last, it counts on, and so does the next life.
        let at = third.look(after(1_000), wall(TODAY + 10 * HOUR));
        assert_eq!(at, wall(TODAY + HOUR + 2_000));
        assert_eq!(begins(next_life(third, at, TODAY + 11 * HOUR)), TODAY + 2 * HOUR + 2_000);
    }

    #[test]
    fn a_journal_of_before_has_no_skew() {
        let clock = JournalClock::resume(Instant::ZERO, wall(TODAY + 1), &TODAY.to_be_bytes());
        assert_eq!(clock.map(begins), Some(TODAY + 1));
        for bad in [&[0; 7][..], &[0; 15]] {
            assert!(JournalClock::resume(Instant::ZERO, wall(TODAY), bad).is_none());
        }
    }
}
