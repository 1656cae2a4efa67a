//! [`Stream`]: the messages of one publisher as one subscriber gets them.

/// Numbers behind the highest that are told apart.
const WINDOW: u32 = 1024;
const WORDS: usize = WINDOW as usize / 64;

/// What an arrival is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrival {
    /// The highest number so far, and how many before it have not come.
    Next { skipped: u32 },
    /// After a higher one, for the first time.
    Late,
    /// Again; or so late that nobody knows any more.
    Duplicate,
}

/// Which numbers came: a bit for each of the last [`WINDOW`].
#[derive(Debug, Clone, Default)]
pub(super) struct Stream {
    /// One more than the highest.
    next: u32,
    seen: [u64; WORDS],
}

impl Stream {
    pub(super) fn take(&mut self, number: u32) -> Arrival {
        if number >= self.next {
            let skipped = number - self.next;
            if skipped >= WINDOW {
                self.seen = [0; WORDS];
            } else {
                (self.next..number).for_each(|missing| self.set(missing, false));
            }
            self.next = number.saturating_add(1);
            self.set(number, true);
            return Arrival::Next { skipped };
        }
        if self.next - number > WINDOW || self.is_set(number) {
            return Arrival::Duplicate;
        }
        self.set(number, true);
        Arrival::Late
    }

    fn is_set(&self, number: u32) -> bool {
        let (word, bit) = place(number);
        self.seen.get(word).is_some_and(|word| word & bit != 0)
    }

    fn set(&mut self, number: u32, on: bool) {
        let (word, bit) = place(number);
        if let Some(word) = self.seen.get_mut(word) {
            *word = if on { *word | bit } else { *word & !bit };
        }
    }
}

fn place(number: u32) -> (usize, u64) {
    let slot = number % WINDOW;
    ((slot / 64) as usize, 1 << (slot % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_are_told_apart() {
        let mut stream = Stream::default();
        let mut take = |number| stream.take(number);
        assert_eq!([0, 1, 4, 2, 2, 4, 3].map(&mut take), {
            use Arrival::{Duplicate, Late};
            let next = |skipped| Arrival::Next { skipped };
            [next(0), next(0), next(2), Late, Duplicate, Duplicate, Late]
        });
        assert_eq!(take(4 + WINDOW), Arrival::Next { skipped: WINDOW - 1 });
        assert_eq!(take(5), Arrival::Late); // in the window, and its slot was cleared
        assert_eq!(take(4), Arrival::Duplicate); // before it
        assert_eq!(take(9 * WINDOW), Arrival::Next { skipped: 8 * WINDOW - 5 });
        assert_eq!(take(8 * WINDOW + 1), Arrival::Late);
        assert_eq!(take(8 * WINDOW + 1), Arrival::Duplicate);
        assert!(matches!(take(u32::MAX), Arrival::Next { .. }));
    }
}
