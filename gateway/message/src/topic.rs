//! Topic names and filters, parsed once into types that cannot be wrong (MQTT 5 §4.7).
//!
//! Any UTF-8 without control characters up to 65,535 bytes is a name if it holds no wildcard;
//! levels may be empty; nothing is normalised, comparison is by bytes (MQTT-4.7.3-4). Whatever the
//! protocol it came by, a name must be one that every MQTT client takes: a receiver may close on
//! the characters that MQTT 5 §1.5.4 calls disallowed. Tighter limits are the configuration's.

use alloc::sync::Arc;
use core::fmt;

/// Longest topic name or filter, in bytes (MQTT-4.7.3-3).
pub const MAX_TOPIC_LEN: usize = 65_535;

/// Why a text is no topic name or filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// MQTT-4.7.3-1.
    #[error("a topic needs at least one character")]
    Empty,
    /// MQTT-4.7.3-2.
    #[error("a topic cannot contain U+0000")]
    Null,
    /// MQTT 5 §1.5.4: U+0001 to U+001F, U+007F to U+009F, and code points that are no characters.
    #[error("a topic cannot contain control characters (U+0001..1F, U+007F..9F) or non-characters")]
    Disallowed,
    /// MQTT-4.7.3-3.
    #[error("a topic is at most 65,535 bytes long")]
    TooLong,
    /// MQTT-4.7.0-1.
    #[error("a topic name cannot contain the wildcards + and #")]
    WildcardInName,
    /// MQTT-4.7.1-1.
    #[error("# stands alone in the last level of a filter")]
    MisplacedHash,
    /// MQTT-4.7.1-2.
    #[error("+ stands alone in its level of a filter")]
    MisplacedPlus,
    /// MQTT-4.8.2-1, -2.
    #[error("a shared subscription is $share/NAME/FILTER, NAME not empty and without + and #")]
    BadShare,
}

/// A valid topic name: what a message is published to. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicName(Arc<str>);

/// A valid topic filter: what a subscription asks for. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicFilter(Arc<str>);

fn check_text(text: &str) -> Result<(), TopicError> {
    check_form(text)?;
    if has_disallowed(text) { Err(TopicError::Disallowed) } else { Ok(()) }
}

/// What no receiver may let pass.
fn check_form(text: &str) -> Result<(), TopicError> {
    if text.is_empty() {
        return Err(TopicError::Empty);
    }
    if text.len() > MAX_TOPIC_LEN {
        return Err(TopicError::TooLong);
    }
    if text.as_bytes().contains(&0) {
        return Err(TopicError::Null);
    }
    Ok(())
}

/// Whether a text holds control characters or code points that are no characters: a receiver may
/// close on them (MQTT 5 §1.5.4), and we do.
#[must_use]
pub fn has_disallowed(text: &str) -> bool {
    // Printable ASCII is all that most strings hold.
    if text.bytes().all(|b| (0x20..0x7f).contains(&b)) {
        return false;
    }
    text.chars().any(|c| {
        let code = u32::from(c);
        c.is_control() || (0xfdd0..=0xfdef).contains(&code) || code & 0xfffe == 0xfffe
    })
}

impl TopicName {
    /// Checks and owns a topic name.
    ///
    /// # Errors
    /// Says which rule of MQTT 5 §4.7 the text breaks.
    pub fn new(text: &str) -> Result<Self, TopicError> {
        check_text(text)?;
        TopicName::of(text)
    }

    /// The same with control characters and non-characters: of text that was judged before, or by a
    /// gateway that lets them pass.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn lenient(text: &str) -> Result<Self, TopicError> {
        check_form(text)?;
        TopicName::of(text)
    }

    /// Of a text of the right form.
    fn of(text: &str) -> Result<Self, TopicError> {
        if text.bytes().any(|b| b == b'+' || b == b'#') {
            return Err(TopicError::WildcardInName);
        }
        Ok(TopicName(text.into()))
    }

    /// The text, as published.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The levels, in order; at least one, any of them may be empty.
    pub fn levels(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// Whether the name starts with `$`, so that leading wildcards pass it by (MQTT-4.7.2-1).
    #[must_use]
    pub fn is_dollar(&self) -> bool {
        self.0.starts_with('$')
    }
}

impl TopicFilter {
    /// Checks and owns a topic filter. `$share/…` has no special meaning here, see
    /// [`SubscriptionFilter`].
    ///
    /// # Errors
    /// Says which rule of MQTT 5 §4.7 the text breaks.
    pub fn new(text: &str) -> Result<Self, TopicError> {
        check_text(text)?;
        TopicFilter::of(text)
    }

    /// The same with control characters and non-characters, as [`TopicName::lenient`].
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn lenient(text: &str) -> Result<Self, TopicError> {
        check_form(text)?;
        TopicFilter::of(text)
    }

    /// Of a text of the right form.
    fn of(text: &str) -> Result<Self, TopicError> {
        let mut levels = text.split('/').peekable();
        while let Some(level) = levels.next() {
            if level.contains('#') && (level != "#" || levels.peek().is_some()) {
                return Err(TopicError::MisplacedHash);
            }
            if level.contains('+') && level != "+" {
                return Err(TopicError::MisplacedPlus);
            }
        }
        Ok(TopicFilter(text.into()))
    }

    /// The text, as subscribed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The levels, in order, wildcards among them.
    pub fn levels(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// Whether it holds `+` or `#`.
    #[must_use]
    pub fn has_wildcard(&self) -> bool {
        self.0.bytes().any(|b| b == b'+' || b == b'#')
    }

    /// The one topic name it matches, if it holds no wildcard.
    #[must_use]
    pub fn as_name(&self) -> Option<TopicName> {
        (!self.has_wildcard()).then(|| TopicName(self.0.clone()))
    }

    /// Whether `topic` is one that this filter asks for.
    #[must_use]
    pub fn matches(&self, topic: &TopicName) -> bool {
        matches(&self.0, &topic.0)
    }
}

impl From<TopicName> for TopicFilter {
    /// The filter that matches just this name.
    fn from(name: TopicName) -> Self {
        TopicFilter(name.0)
    }
}

/// Matching on plain text, for callers that hold no parsed types. Both must be valid.
/// Iterates, never recurses: 65,535 slashes are 65,536 levels.
#[must_use]
pub fn matches(filter: &str, topic: &str) -> bool {
    // MQTT-4.7.2-1: a leading wildcard does not match a topic that starts with `$`.
    if topic.starts_with('$') && (filter.starts_with('+') || filter.starts_with('#')) {
        return false;
    }
    let mut levels = topic.split('/');
    for wanted in filter.split('/') {
        if wanted == "#" {
            return true; // also the parent level: `a/#` matches `a`
        }
        match levels.next() {
            Some(level) if wanted == "+" || wanted == level => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}

/// What a SUBSCRIBE asks for: a filter, perhaps shared among a group (MQTT 5 §4.8.2).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubscriptionFilter {
    /// The share name; `None` for an ordinary subscription.
    pub share: Option<Arc<str>>,
    /// The filter, without `$share/NAME/`.
    pub filter: TopicFilter,
}

impl SubscriptionFilter {
    /// Parses the text of a SUBSCRIBE or UNSUBSCRIBE.
    ///
    /// # Errors
    /// [`TopicError::BadShare`] for a malformed `$share/…`, otherwise as [`TopicFilter::new`].
    pub fn new(text: &str) -> Result<Self, TopicError> {
        let parsed = SubscriptionFilter::lenient(text)?;
        if has_disallowed(text) { Err(TopicError::Disallowed) } else { Ok(parsed) }
    }

    /// The same with control characters and non-characters, as [`TopicName::lenient`].
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn lenient(text: &str) -> Result<Self, TopicError> {
        let Some(rest) = text.strip_prefix("$share/") else {
            return Ok(SubscriptionFilter { share: None, filter: TopicFilter::lenient(text)? });
        };
        check_form(text)?;
        let (name, filter) = rest.split_once('/').ok_or(TopicError::BadShare)?;
        if name.is_empty() || filter.is_empty() || name.contains(['+', '#']) {
            return Err(TopicError::BadShare);
        }
        Ok(SubscriptionFilter { share: Some(name.into()), filter: TopicFilter::lenient(filter)? })
    }
}

macro_rules! text_traits {
    ($($type:ident)+) => {$(
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    )+};
}
text_traits!(TopicName TopicFilter);

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn filter(text: &str) -> TopicFilter {
        TopicFilter::new(text).unwrap()
    }

    fn name(text: &str) -> TopicName {
        TopicName::new(text).unwrap()
    }

    #[test]
    fn names() {
        for good in ["a", "/", "//", "a/b", " ", "é", "$SYS/x", "a b", "\u{feff}x"] {
            assert_eq!(name(good).as_str(), good);
        }
        assert_eq!(TopicName::new(""), Err(TopicError::Empty));
        assert_eq!(TopicName::new("a\0b"), Err(TopicError::Null));
        for bad in ["\u{1}", "a\n", "\u{7f}", "\u{9f}x", "\u{fdd0}", "\u{ffff}", "\u{1fffe}"] {
            assert_eq!(TopicName::new(bad), Err(TopicError::Disallowed), "{bad:?}");
            assert_eq!(TopicFilter::new(bad), Err(TopicError::Disallowed), "{bad:?}");
        }
        assert_eq!(TopicName::new("a/+"), Err(TopicError::WildcardInName));
        assert_eq!(TopicName::new("a#"), Err(TopicError::WildcardInName));
        assert!(TopicName::new(&"/".repeat(MAX_TOPIC_LEN)).is_ok());
        assert_eq!(TopicName::new(&"a".repeat(MAX_TOPIC_LEN + 1)), Err(TopicError::TooLong));
    }

    #[test]
    fn filters() {
        for good in ["#", "+", "a/#", "+/+", "/+", "+/", "a/+/b", "$SYS/#", "/"] {
            assert_eq!(filter(good).as_str(), good);
        }
        for bad in ["a#", "#/a", "a/#/b", "##", "/#/", "+#", "#+"] {
            assert_eq!(TopicFilter::new(bad), Err(TopicError::MisplacedHash), "{bad}");
        }
        for bad in ["a+", "+a", "a/b+/c", "++"] {
            assert_eq!(TopicFilter::new(bad), Err(TopicError::MisplacedPlus), "{bad}");
        }
        assert_eq!(TopicFilter::new(""), Err(TopicError::Empty));
    }

    /// The edges of `protocols/mqtt.md` §2.8 and MQTT 5 §4.7.
    #[test]
    fn matching_edges() {
        let table: &[(&str, &[&str], &[&str])] = &[
            ("a/#", &["a", "a/", "a/b", "a/b/c"], &["b", "ab", "/a"]),
            ("a/+", &["a/", "a/b"], &["a", "a/b/c"]),
            ("#", &["a", "/", "a/b"], &["$SYS", "$SYS/x", "$x/y"]),
            ("+/x", &["a/x", "/x"], &["$SYS/x", "x"]),
            ("$SYS/#", &["$SYS", "$SYS/x"], &["SYS"]),
            ("$x/+", &["$x/y"], &["$x"]),
            ("/", &["/"], &["a", "//"]),
            ("+/+", &["/", "a/b"], &["a", "//"]),
            ("/+", &["/", "/a"], &["a"]),
            ("+/", &["/", "a/"], &["a"]),
            ("+", &["a"], &["/", "a/"]),
            ("+/+/+", &["//"], &["/"]),
            ("A", &["A"], &["a"]),
            ("\u{e9}", &["\u{e9}"], &["e\u{301}"]),
        ];
        for (pattern, yes, no) in table {
            for topic in *yes {
                assert!(filter(pattern).matches(&name(topic)), "{pattern} should match {topic}");
            }
            for topic in *no {
                assert!(!filter(pattern).matches(&name(topic)), "{pattern} should pass {topic}");
            }
        }
        let slashes = "/".repeat(MAX_TOPIC_LEN);
        assert!(filter("#").matches(&name(&slashes)));
        assert!(filter(&slashes).matches(&name(&slashes)));
    }

    #[test]
    fn shares() {
        let shared = SubscriptionFilter::new("$share/g/a/+").unwrap();
        assert_eq!((shared.share.as_deref(), shared.filter.as_str()), (Some("g"), "a/+"));
        let plain = SubscriptionFilter::new("$shared/g/a").unwrap();
        assert_eq!((plain.share, plain.filter.as_str()), (None, "$shared/g/a"));
        assert_eq!(SubscriptionFilter::new("$share").unwrap().filter.as_str(), "$share");
        assert_eq!(SubscriptionFilter::new("$share/g//").unwrap().filter.as_str(), "/");
        for bad in ["$share/", "$share/g", "$share//t", "$share/g/", "$share/g+/t", "$share/#/t"] {
            assert_eq!(SubscriptionFilter::new(bad), Err(TopicError::BadShare), "{bad}");
        }
        assert_eq!(SubscriptionFilter::new("$share/g/a#"), Err(TopicError::MisplacedHash));
    }

    /// A naive matcher on level lists.
    fn model(filter: &[&str], topic: &[&str]) -> bool {
        match (filter, topic) {
            (["#"], _) => true,
            ([f, fs @ ..], [t, ts @ ..]) => (*f == "+" || f == t) && model(fs, ts),
            (fs, ts) => fs.is_empty() && ts.is_empty(),
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_naive_model(
            f in proptest::collection::vec("[ab+]|", 1..5),
            hash in any::<bool>(),
            t in proptest::collection::vec("[ab]|", 1..6),
        ) {
            let mut levels: Vec<&str> = f.iter().map(String::as_str).collect();
            if hash {
                levels.push("#");
            }
            let topic: Vec<&str> = t.iter().map(String::as_str).collect();
            let (ftext, ttext) = (levels.join("/"), topic.join("/"));
            prop_assume!(!ftext.is_empty() && !ttext.is_empty());
            prop_assert_eq!(filter(&ftext).matches(&name(&ttext)), model(&levels, &topic));
        }
    }
}
