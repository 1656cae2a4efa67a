//! What captured text may bring into a topic.
//!
//! A device chooses its path segments, its client id and its query values; none of them may widen
//! or redirect a topic. `+ # NUL`, an empty text and a `/` inside one level are refused, or
//! percent-encoded (also `%`, so that it stays reversible) where a rule says `unsafe: encode`.

use std::borrow::Cow;

use crate::text::Text;

/// What becomes of unsafe text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unsafe {
    /// Refused.
    Refuse,
    /// Percent-encoded.
    Encode,
    /// Refused, except that a level may be a wildcard: the text is an MQTT-SN topic filter.
    Wildcards,
    /// Taken as it is but for control characters: it is no topic, but an attribute for people.
    Free,
}

/// The first thing in `text` that cannot stand in one level.
pub(crate) fn unsafe_char(text: &str) -> Option<char> {
    text.chars().find(|c| matches!(c, '+' | '#' | '/' | '\0'))
}

/// Appends one level's text.
///
/// # Errors
/// The character that cannot stand there.
pub(crate) fn push_level(out: &mut Text, text: &str, mode: Unsafe) -> Result<(), char> {
    match mode {
        Unsafe::Encode => encode(out, text),
        Unsafe::Free => text.chars().filter(|c| !c.is_control()).for_each(|c| out.push(c)),
        Unsafe::Wildcards if text == "+" || text == "#" => out.push_str(text),
        _ => match unsafe_char(text) {
            Some(c) => return Err(c),
            None => out.push_str(text),
        },
    }
    Ok(())
}

fn encode(out: &mut Text, text: &str) {
    for c in text.chars() {
        let leading_dollar = c == '$' && out.is_at_begin();
        match c {
            '+' => out.push_str("%2B"),
            '#' => out.push_str("%23"),
            '/' => out.push_str("%2F"),
            '%' => out.push_str("%25"),
            '\0' => out.push_str("%00"),
            '$' if leading_dollar => out.push_str("%24"),
            c => out.push(c),
        }
    }
}

/// The way back from `unsafe: encode`; `None` for what [`push_level`] does not write.
pub(crate) fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        out.push(match after.get(..2)? {
            "2B" => '+',
            "23" => '#',
            "2F" => '/',
            "25" => '%',
            "00" => '\0',
            "24" => '$',
            _ => return None,
        });
        rest = after.get(2..)?;
    }
    out.push_str(rest);
    Some(Cow::Owned(out))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn refuses() {
        for bad in ["a+", "#", "a/b", "\0"] {
            assert!(push_level(&mut Text::new(), bad, Unsafe::Refuse).is_err(), "{bad:?}");
        }
        assert!(push_level(&mut Text::new(), "a$b%2F é", Unsafe::Refuse).is_ok());
        assert!(push_level(&mut Text::new(), "+", Unsafe::Wildcards).is_ok());
        assert!(push_level(&mut Text::new(), "a+", Unsafe::Wildcards).is_err());
    }

    proptest! {
        #[test]
        fn encoding_is_reversible(text in "[a%+#/$é\\x002F]{0,12}") {
            let mut out = Text::new();
            push_level(&mut out, &text, Unsafe::Encode).unwrap();
            prop_assert_eq!(unsafe_char(out.as_str()), None);
            prop_assert!(!out.as_str().starts_with('$'));
            let decoded = decode(out.as_str());
            prop_assert_eq!(decoded.as_deref(), Some(text.as_str()));
        }
    }
}
