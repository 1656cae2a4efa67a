//! [`Glob`]: text in which `*` stands for any run of characters, for client ids.
//!
//! Exact and linear: matching is greedy, containment and overlap are decided, not guessed.

/// A checked glob; runs of `*` are folded into one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Glob {
    /// The texts between the stars; one star more than gaps.
    pieces: Vec<Box<str>>,
}

impl std::fmt::Display for Glob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.pieces.join("*"))
    }
}

impl Glob {
    /// `None` for the empty text.
    pub(crate) fn parse(text: &str) -> Option<Glob> {
        if text.is_empty() {
            return None;
        }
        let mut pieces: Vec<Box<str>> = Vec::new();
        let last = text.split('*').count() - 1;
        for (i, piece) in text.split('*').enumerate() {
            // An empty piece in the middle is a doubled star.
            if !piece.is_empty() || i == 0 || i == last {
                pieces.push(piece.into());
            }
        }
        Some(Glob { pieces })
    }

    /// The text before the first star.
    pub(crate) fn prefix(&self) -> &str {
        self.pieces.first().map_or("", |piece| piece)
    }

    pub(crate) fn matches(&self, text: &str) -> bool {
        let [first, middle @ .., last] = self.pieces.as_slice() else {
            return self.prefix() == text;
        };
        let Some(mut rest) = text.strip_prefix(&**first) else { return false };
        for piece in middle {
            let Some(at) = rest.find(&**piece) else { return false };
            rest = &rest[at + piece.len()..];
        }
        rest.ends_with(&**last)
    }

    /// Whether `self` takes everything that `narrow` takes. A star of `narrow` may be any text, so
    /// only a star of `self` can take it: `self` must match `narrow` with each `*` as a character
    /// that no literal holds.
    pub(crate) fn contains(&self, narrow: &Glob) -> bool {
        self.matches(&narrow.pieces.join("*"))
    }

    /// The narrower a glob, the lower: strictly monotone in [`contains`](Self::contains).
    pub(crate) fn breadth(&self) -> (i64, usize) {
        let literal: usize = self.pieces.iter().map(|piece| piece.len()).sum();
        (-i64::try_from(literal).unwrap_or(i64::MAX), self.pieces.len())
    }

    /// A text that both take.
    pub(crate) fn common(&self, other: &Glob) -> Option<String> {
        let (a, b) = (self.pieces.join("*"), other.pieces.join("*"));
        let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
        let width = b.len() + 1;
        // Which (i, j) is reachable, and from where: the shortest common text by forward search.
        let mut from: Vec<Option<(usize, Option<char>)>> = vec![None; (a.len() + 1) * width];
        let mut open = std::collections::VecDeque::from([0]);
        from[0] = Some((0, None));
        while let Some(state) = open.pop_front() {
            let (i, j) = (state / width, state % width);
            let mut go = |next: usize, read: Option<char>| {
                if from[next].is_none() {
                    from[next] = Some((state, read));
                    open.push_back(next);
                }
            };
            match (a.get(i), b.get(j)) {
                (Some('*'), _) if j == b.len() => go(state + width, None),
                (_, Some('*')) if i == a.len() => go(state + 1, None),
                (Some('*'), Some('*')) => {
                    go(state + width, None);
                    go(state + 1, None);
                }
                (Some('*'), Some(&c)) => {
                    go(state + width, None);
                    go(state + 1, Some(c));
                }
                (Some(&c), Some('*')) => {
                    go(state + 1, None);
                    go(state + width, Some(c));
                }
                (Some(&c), Some(d)) if c == *d => go(state + width + 1, Some(c)),
                _ => {}
            }
        }
        let mut state = (a.len() + 1) * width - 1;
        let mut text = Vec::new();
        while state != 0 {
            let (before, read) = from[state]?;
            text.extend(read);
            state = before;
        }
        Some(text.into_iter().rev().collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn glob(text: &str) -> Glob {
        Glob::parse(text).unwrap()
    }

    #[test]
    fn matching() {
        assert!(glob("env-*").matches("env-") && glob("env-*").matches("env-7"));
        assert!(!glob("env-*").matches("Env-7") && !glob("env-*").matches("env"));
        assert!(glob("*").matches("") && glob("a*a").matches("aa") && !glob("a*a").matches("a"));
        assert!(glob("a*b*c").matches("aXbXbXc") && !glob("a*b*c").matches("acb"));
        assert!(glob("plain").matches("plain") && !glob("plain").matches("plainer"));
        assert_eq!(glob("a***b"), glob("a*b"));
        assert_eq!(Glob::parse(""), None);
    }

    fn all_texts() -> Vec<String> {
        let mut texts = vec![String::new()];
        let mut from = 0;
        for _ in 0..6 {
            let until = texts.len();
            for i in from..until {
                for c in ["a", "b", "z"] {
                    texts.push(texts[i].clone() + c);
                }
            }
            from = until;
        }
        texts
    }

    #[test]
    fn common_and_contains_agree_with_brute_force() {
        let texts = all_texts();
        let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(2000));
        runner
            .run(&("[ab*]{1,3}", "[ab*]{1,3}"), |(a, b)| {
                let (ga, gb) = (glob(&a), glob(&b));
                let overlap = texts.iter().any(|t| ga.matches(t) && gb.matches(t));
                let common = ga.common(&gb);
                prop_assert_eq!(common.is_some(), overlap, "{} {}", a, b);
                if let Some(text) = common {
                    prop_assert!(ga.matches(&text) && gb.matches(&text), "{} {} {}", a, b, text);
                }
                let inside = texts.iter().all(|t| !ga.matches(t) || gb.matches(t));
                prop_assert_eq!(gb.contains(&ga), inside, "{} in {}", a, b);
                if inside && ga != gb {
                    prop_assert!(ga.breadth() < gb.breadth(), "{} {}", a, b);
                }
                Ok(())
            })
            .unwrap();
    }
}
