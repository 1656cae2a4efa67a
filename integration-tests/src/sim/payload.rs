//! What a message of the simulation looks like, and a naive matcher for its topic.

use super::model::MsgId;

/// So many bytes more a message has at most.
const MOST: usize = 10_000;

/// The payload of message `id`: recognisable, of varying length, the same every time.
#[must_use]
pub fn payload(id: MsgId) -> Vec<u8> {
    longer(id, 0)
}

/// The same with so many bytes more.
#[must_use]
pub fn longer(id: MsgId, extra: usize) -> Vec<u8> {
    let filler = extra + usize::try_from(id.wrapping_mul(7919) % 61).unwrap_or(0);
    let said = if extra == 0 { String::new() } else { format!("+{extra}") };
    let mut text = format!("{id}{said}.").into_bytes();
    text.extend((0..filler).map(|i| b'a' + u8::try_from(i % 26).unwrap_or(0)));
    text
}

/// The number in a payload; `None` when it is nobody's.
#[must_use]
pub fn parse(bytes: &[u8]) -> Option<MsgId> {
    let digits = bytes.split(|b| *b == b'.').next()?;
    let digits = std::str::from_utf8(digits).ok()?;
    let (id, extra) = digits.split_once('+').unwrap_or((digits, "0"));
    let (id, extra) = (id.parse().ok()?, extra.parse().ok().filter(|extra| *extra <= MOST)?);
    (longer(id, extra) == bytes).then_some(id)
}

/// A naive matcher of filters.
#[must_use]
pub fn matches(filter: &str, topic: &str) -> bool {
    let (mut f, mut t) = (filter.split('/'), topic.split('/'));
    loop {
        match (f.next(), t.next()) {
            (Some("#"), _) | (None, None) => return true,
            (Some("+"), Some(_)) => {}
            (Some(a), Some(b)) if a == b => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_matcher() {
        assert!(matches("t/#", "t") && matches("+/a", "t/a") && matches("#", "x/y"));
        assert!(!matches("t/+", "t") && !matches("t", "t/a") && !matches("t/+", "t/a/b"));
    }
}
