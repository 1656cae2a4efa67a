//! [`Filter`]: what may be done to a value on its way into a topic, and the way back.
//!
//! `trim:PREFIX` (the prefix must be there, so that it is reversible), `lower` (which is not), `hex`
//! of the UTF-8 bytes. Left out: whatever would be logic (mapping.md §2.4).

use std::borrow::Cow;
use std::fmt::Write as _;

use motegate_message::Reason;

use crate::MapError;
use crate::error::TemplateError;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Filter {
    Trim(Box<str>),
    Lower,
    Hex,
}

impl Filter {
    /// `trim:PREFIX`, `lower` or `hex`.
    pub(crate) fn parse(text: &str) -> Result<Filter, TemplateError> {
        match text.split_once(':') {
            Some(("trim", prefix)) if !prefix.is_empty() => Ok(Filter::Trim(prefix.into())),
            None if text == "lower" => Ok(Filter::Lower),
            None if text == "hex" => Ok(Filter::Hex),
            split => match split.map_or(text, |(name, _)| name) {
                "trim" | "lower" | "hex" => Err(TemplateError::FilterArgument(text.to_owned())),
                other => Err(TemplateError::UnknownFilter(other.to_owned())),
            },
        }
    }
}

/// The value of `{name}` through its filters.
///
/// # Errors
/// A prefix that is not there.
pub(crate) fn apply<'a>(
    filters: &[Filter],
    mut text: Cow<'a, str>,
    name: &str,
) -> Result<Cow<'a, str>, MapError> {
    for filter in filters {
        text = match filter {
            Filter::Trim(prefix) => match &text {
                Cow::Borrowed(t) => t.strip_prefix(&**prefix).map(Cow::Borrowed),
                Cow::Owned(t) => t.strip_prefix(&**prefix).map(|t| Cow::Owned(t.to_owned())),
            }
            .ok_or_else(|| MapError {
                reason: Reason::BadTopic,
                text: format!("{{{name}}} is {text:?}, which does not begin with {prefix:?}"),
            })?,
            Filter::Lower => Cow::Owned(text.to_lowercase()),
            Filter::Hex => Cow::Owned(to_hex(&text)),
        };
    }
    Ok(text)
}

fn to_hex(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len() * 2), |mut out, b| {
        let _ = write!(out, "{b:02x}");
        out
    })
}

/// The way back through the filters; `None` where there is none.
pub(crate) fn unapply(filters: &[Filter], text: &str) -> Option<String> {
    filters.iter().rev().try_fold(text.to_owned(), |text, filter| match filter {
        Filter::Trim(prefix) => Some(format!("{prefix}{text}")),
        Filter::Lower => None,
        Filter::Hex => from_hex(&text),
    })
}

fn from_hex(text: &str) -> Option<String> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2)
        || digits.iter().any(|b| !matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    {
        return None;
    }
    let value = |b: u8| if b <= b'9' { b - b'0' } else { b - b'a' + 10 };
    let bytes = digits.chunks_exact(2).map(|pair| value(pair[0]) << 4 | value(pair[1])).collect();
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_go_back() {
        let trim = Filter::Trim("m-".into());
        assert_eq!(unapply(&[trim, Filter::Hex], "3432").as_deref(), Some("m-42"));
        assert_eq!(unapply(&[Filter::Hex], "3G"), None);
        assert_eq!(unapply(&[Filter::Lower], "a"), None);
    }
}
