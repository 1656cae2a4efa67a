//! Values as they are written: [`Typed`] keeps the text and is read later, so that every bad value
//! is reported, each at its own place.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use motegate_mapping::{Action, OnBadPayload, Rate, Retain};
use motegate_message::Qos;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

/// How a kind of value is written.
pub(crate) trait Value: Sized {
    /// In words, for an error: "a duration such as 250ms, 10s, 5m, 1h or 7d".
    const WHAT: &'static str;
    /// The words that it can be, if it is one of a few.
    const WORDS: &'static [&'static str] = &[];
    /// What it looks like, for editors; empty: anything.
    const PATTERN: &'static str = "";
    /// The types of JSON that editors may see in its place.
    const TYPES: &'static [&'static str] = &["string"];
    fn parse(text: &str) -> Option<Self>;
    /// Its place in a range, if it can have one.
    fn rank(&self) -> Option<f64> {
        None
    }
}

/// A value that was written but not yet read.
pub(crate) struct Typed<T> {
    pub(crate) text: String,
    kind: PhantomData<fn() -> T>,
}

impl<T> fmt::Debug for Typed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

impl<T> Typed<T> {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Typed { text: text.into(), kind: PhantomData }
    }
}

impl<'de, T> Deserialize<'de> for Typed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // As text: `1.10` and `on` stay what was typed.
        String::deserialize(deserializer).map(Typed::new)
    }
}

impl<T: Value> JsonSchema for Typed<T> {
    fn schema_name() -> Cow<'static, str> {
        T::WHAT.into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // Its own words, which `schema` turns into those of JSON Schema.
        json_schema!({
            "type": ["string", "number", "boolean"],
            "what": T::WHAT,
            "words": T::WORDS,
            "looks": T::PATTERN,
            "types": T::TYPES,
        })
    }
}

/// One of something, or a list of them.
#[derive(Debug)]
pub(crate) struct OneOrMany<T>(pub(crate) Vec<Typed<T>>);

impl<T> Default for OneOrMany<T> {
    fn default() -> Self {
        OneOrMany(Vec::new())
    }
}

impl<'de, T> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Texts<T>(PhantomData<T>);
        impl<'de, T> Visitor<'de> for Texts<T> {
            type Value = OneOrMany<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value or a list of values")
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(OneOrMany(vec![Typed::new(text)]))
            }
            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(OneOrMany(Vec::new()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut all = Vec::new();
                while let Some(item) = seq.next_element()? {
                    all.push(item);
                }
                Ok(OneOrMany(all))
            }
        }
        deserializer.deserialize_any(Texts(PhantomData))
    }
}

impl<T: Value> JsonSchema for OneOrMany<T> {
    fn schema_name() -> Cow<'static, str> {
        T::WHAT.into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = Typed::<T>::json_schema(generator);
        json_schema!({"anyOf": [one, {"type": "array", "items": one}]})
    }
}

/// What a pre-defined topic id stands for: a template, or a mapping with more.
#[derive(Debug)]
pub(crate) enum IdTopic {
    Plain(String),
    Detailed(IdDetail),
}

/// The long form of a pre-defined topic id.
#[derive(Debug, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct IdDetail {
    /// Template of the topic.
    #[schemars(extend("required" = true))]
    pub(crate) topic: Option<Typed<String>>,
    /// Whether a publish is retained: `by_method` (the RETAIN flag), `true` or `false`.
    #[schemars(extend("otherwise" = "`mappings.defaults.retain`"))]
    pub(crate) retain: Option<Typed<Retain>>,
    /// When a published message expires.
    #[schemars(extend("otherwise" = "`mappings.defaults.expiry`"))]
    pub(crate) expiry: Option<Typed<Duration>>,
    /// The topic is final: the listener's mount is not put in front.
    #[schemars(extend("default" = "false"))]
    pub(crate) absolute: Option<Typed<bool>>,
    /// The device's format, by its name in `codecs`; what stands in the broker is JSON.
    #[schemars(extend("otherwise" = "payloads go through as they are"))]
    pub(crate) codec: Option<Typed<String>>,
}

impl<'de> Deserialize<'de> for IdTopic {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = IdTopic;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a topic, or a mapping with `topic`")
            }
            fn visit_str<E>(self, text: &str) -> Result<IdTopic, E> {
                Ok(IdTopic::Plain(text.to_owned()))
            }
            fn visit_unit<E>(self) -> Result<IdTopic, E> {
                Ok(IdTopic::Plain(String::new()))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<IdTopic, A::Error> {
                let map = serde::de::value::MapAccessDeserializer::new(map);
                IdDetail::deserialize(map).map(IdTopic::Detailed)
            }
        }
        deserializer.deserialize_any(Either).map_err(D::Error::custom)
    }
}

impl JsonSchema for IdTopic {
    fn schema_name() -> Cow<'static, str> {
        "IdTopic".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let detail = generator.subschema_for::<IdDetail>();
        json_schema!({"anyOf": [Typed::<String>::json_schema(generator), detail]})
    }
}

impl Value for String {
    const WHAT: &'static str = "text";
    const TYPES: &'static [&'static str] = &["string", "number", "boolean"];
    fn parse(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
}

impl Value for bool {
    const WHAT: &'static str = "true or false";
    const WORDS: &'static [&'static str] = &["true", "false"];
    fn parse(text: &str) -> Option<Self> {
        match text {
            "true" | "True" | "TRUE" => Some(true),
            "false" | "False" | "FALSE" => Some(false),
            _ => None,
        }
    }
}

/// A whole number.
impl Value for u64 {
    const WHAT: &'static str = "a whole number";
    const PATTERN: &'static str = r"^([0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$";
    const TYPES: &'static [&'static str] = &["integer", "string"];
    fn parse(text: &str) -> Option<Self> {
        whole(text)
    }
    fn rank(&self) -> Option<f64> {
        Some(*self as f64)
    }
}

impl Value for i32 {
    const WHAT: &'static str = "a whole number";
    const PATTERN: &'static str = r"^(-?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$";
    const TYPES: &'static [&'static str] = &["integer", "string"];
    fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix('-') {
            Some(unsigned) => digits(unsigned).and_then(|_| text.parse().ok()),
            None => whole(text)?.try_into().ok(),
        }
    }
    fn rank(&self) -> Option<f64> {
        Some(f64::from(*self))
    }
}

/// A number with a point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Factor(pub(crate) f64);

impl Value for Factor {
    const WHAT: &'static str = "a number such as 1.5";
    const PATTERN: &'static str = r"^[0-9.]+$";
    const TYPES: &'static [&'static str] = &["number", "string"];
    fn parse(text: &str) -> Option<Self> {
        let plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        plain.then(|| text.parse().ok().map(Factor)).flatten()
    }
    fn rank(&self) -> Option<f64> {
        Some(self.0)
    }
}

impl Value for Duration {
    const WHAT: &'static str = "a duration such as 250ms, 10s, 5m, 1h or 7d";
    const PATTERN: &'static str = r"^([0-9]+(ms|s|m|h|d)|0)$";
    const TYPES: &'static [&'static str] = &["string", "integer"];
    fn parse(text: &str) -> Option<Self> {
        let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let count: u64 = digits(number)?.parse().ok()?;
        let millis = match &text[number.len()..] {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "" if count == 0 => 1,
            _ => return None,
        };
        // A hundred years are more than anything here can mean.
        count.checked_mul(millis).filter(|ms| *ms <= 3_155_760_000_000).map(Duration::from_millis)
    }
    fn rank(&self) -> Option<f64> {
        Some(self.as_secs_f64())
    }
}

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) u64);

impl Size {
    /// The number of bytes that a text means.
    pub(crate) fn parse_bytes(text: &str) -> Option<u64> {
        Size::parse(text).map(|size| size.0)
    }
}

impl TryFrom<Size> for usize {
    type Error = std::num::TryFromIntError;

    fn try_from(size: Size) -> Result<usize, Self::Error> {
        size.0.try_into()
    }
}

impl TryFrom<Size> for u32 {
    type Error = std::num::TryFromIntError;

    fn try_from(size: Size) -> Result<u32, Self::Error> {
        size.0.try_into()
    }
}

impl Value for Size {
    const WHAT: &'static str = "a size such as 512, 64KiB, 8MiB or 1GiB";
    const PATTERN: &'static str = r"^([0-9]+(B|KiB|MiB|GiB|kB|MB|GB)?|0o[0-7]+|0x[0-9a-fA-F]+)$";
    const TYPES: &'static [&'static str] = &["integer", "string"];
    fn parse(text: &str) -> Option<Self> {
        if let Some(count) = radix(text) {
            return Some(Size(count));
        }
        let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let count: u64 = digits(number)?.parse().ok()?;
        let scale = match &text[number.len()..] {
            "" | "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            "kB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            _ => return None,
        };
        count.checked_mul(scale).map(Size)
    }
    fn rank(&self) -> Option<f64> {
        Some(self.0 as f64)
    }
}

impl Value for Rate {
    const WHAT: &'static str = "a rate such as 5/s, 10/m or 100/h";
    const PATTERN: &'static str = r"^[0-9]+/[smhd]$";
    fn parse(text: &str) -> Option<Self> {
        let (count, unit) = text.split_once('/')?;
        let secs = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            "d" => 86_400,
            _ => return None,
        };
        let count = digits(count)?.parse().ok().filter(|count| *count > 0)?;
        Some(Rate { count, per: Duration::from_secs(secs) })
    }
    fn rank(&self) -> Option<f64> {
        Some(f64::from(self.count) / self.per.as_secs_f64())
    }
}

/// So many in so much time; a count of 0 is any number. A plain number is one a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PerTime {
    pub(crate) count: u32,
    pub(crate) per: Duration,
}

impl PerTime {
    /// As it is written.
    pub(crate) fn word(&self) -> String {
        let unit = match self.per.as_secs() {
            60 => "m",
            3_600 => "h",
            86_400 => "d",
            _ => "s",
        };
        format!("{}/{unit}", self.count)
    }
}

impl Value for PerTime {
    const WHAT: &'static str = "a rate such as 5/s or 10/m, or 0 for no bound";
    const PATTERN: &'static str = r"^[0-9]+(/[smhd])?$";
    const TYPES: &'static [&'static str] = &["string", "integer"];
    fn parse(text: &str) -> Option<Self> {
        if let Some(count) = digits(text) {
            return Some(PerTime { count: count.parse().ok()?, per: Duration::from_secs(1) });
        }
        if let Some(zero) = text.strip_prefix("0/") {
            return Rate::parse(&["1/", zero].concat()).map(|r| PerTime { count: 0, per: r.per });
        }
        Rate::parse(text).map(|rate| PerTime { count: rate.count, per: rate.per })
    }
    /// No bound is the highest.
    fn rank(&self) -> Option<f64> {
        let rate = f64::from(self.count) / self.per.as_secs_f64();
        Some(if self.count == 0 { f64::INFINITY } else { rate })
    }
}

/// So many a second; 0 is any number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PerSecond(pub(crate) u32);

impl Value for PerSecond {
    const WHAT: &'static str = "a number for each second such as 100 or 100/s, or 0 for no bound";
    const PATTERN: &'static str = r"^[0-9]+(/s)?$";
    const TYPES: &'static [&'static str] = &["string", "integer"];
    fn parse(text: &str) -> Option<Self> {
        digits(text.strip_suffix("/s").unwrap_or(text))?.parse().ok().map(PerSecond)
    }
    fn rank(&self) -> Option<f64> {
        Some(if self.0 == 0 { f64::INFINITY } else { f64::from(self.0) })
    }
}

/// `auto` is `None`.
impl Value for Option<Qos> {
    const WHAT: &'static str = "auto, 0, 1 or 2";
    const WORDS: &'static [&'static str] = &["auto", "0", "1", "2"];
    fn parse(text: &str) -> Option<Self> {
        match text {
            "auto" => Some(None),
            _ => Qos::from_bits(whole(text)?.try_into().ok()?).map(Some),
        }
    }
}

impl Value for Retain {
    const WHAT: &'static str = "by_method, true or false";
    const WORDS: &'static [&'static str] = &["by_method", "true", "false"];
    fn parse(text: &str) -> Option<Self> {
        match text {
            "by_method" => Some(Retain::ByMethod),
            _ => bool::parse(text).map(|yes| if yes { Retain::Always } else { Retain::Never }),
        }
    }
}

impl Value for OnBadPayload {
    const WHAT: &'static str = "reject, pass or dead_letter";
    const WORDS: &'static [&'static str] = &["reject", "pass", "dead_letter"];
    fn parse(text: &str) -> Option<Self> {
        match text {
            "reject" => Some(OnBadPayload::Reject),
            "pass" => Some(OnBadPayload::Pass),
            "dead_letter" => Some(OnBadPayload::DeadLetter),
            _ => None,
        }
    }
}

impl Value for Action {
    const WHAT: &'static str = "publish, read, subscribe or clear";
    const WORDS: &'static [&'static str] = &["publish", "read", "subscribe", "clear"];
    fn parse(text: &str) -> Option<Self> {
        let all = [Action::Publish, Action::Read, Action::Subscribe, Action::Clear];
        all.into_iter().find(|action| action.as_str() == text)
    }
}

/// One of a few words.
macro_rules! words {
    ($(#[$doc:meta])* $vis:vis $name:ident, $what:literal { $($(#[$vdoc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        $vis enum $name { $($(#[$vdoc])* $variant,)+ }

        impl Value for $name {
            const WHAT: &'static str = $what;
            const WORDS: &'static [&'static str] = &[$($word),+];
            fn parse(text: &str) -> Option<Self> {
                match text { $($word => Some($name::$variant),)+ _ => None }
            }
        }
    };
}

pub(crate) use words;

mod word_lists;

pub(crate) use word_lists::*;
pub use word_lists::{Durability, LogFormat, LogLevel};

/// A whole number as YAML 1.2 writes one (§10.3.2): `17`, `0o21`, `0x11`.
pub(crate) fn whole(text: &str) -> Option<u64> {
    radix(text).or_else(|| digits(text)?.parse().ok())
}

/// One that is written in octal or hexadecimal digits.
pub(crate) fn radix(text: &str) -> Option<u64> {
    let (digits, radix) = match text.strip_prefix("0o") {
        Some(octal) => (octal, 8),
        None => (text.strip_prefix("0x")?, 16),
    };
    // The standard library would take a sign.
    let all = digits.chars().all(|c| c.is_digit(radix));
    all.then(|| u64::from_str_radix(digits, radix).ok()).flatten()
}

/// ASCII digits only: no sign, no space, no underscore.
fn digits(text: &str) -> Option<&str> {
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_sizes_and_rates() {
        let ms = |text: &str| <Duration as Value>::parse(text).map(|d| d.as_millis());
        assert_eq!(ms("250ms"), Some(250));
        assert_eq!(ms("5m"), Some(300_000));
        assert_eq!(ms("7d"), Some(604_800_000));
        assert_eq!(ms("0"), Some(0));
        for bad in ["5", "", "s", "1.5s", "-1s", "1 s", "5min", "99999999999999999999s", "40000d"] {
            assert_eq!(ms(bad), None, "{bad}");
        }
        let size = |text: &str| Size::parse(text).map(|s| s.0);
        assert_eq!(
            (size("512"), size("64KiB"), size("1GiB")),
            (Some(512), Some(65_536), Some(1 << 30))
        );
        assert_eq!((size("1K"), size("KiB"), size("99999999999GiB")), (None, None, None));
        let rate = |text: &str| PerTime::parse(text).map(|r| (r.count, r.per.as_secs()));
        assert_eq!((rate("5/s"), rate("5"), rate("0")), (Some((5, 1)), Some((5, 1)), Some((0, 1))));
        assert_eq!(
            (rate("10/m"), rate("0/h"), rate("5/w")),
            (Some((10, 60)), Some((0, 3600)), None)
        );
        assert!(PerTime::parse("0").unwrap().rank() > PerTime::parse("9999/s").unwrap().rank());
        let second = |text: &str| PerSecond::parse(text).map(|r| r.0);
        assert_eq!((second("7/s"), second("7"), second("7/m")), (Some(7), Some(7), None));
        let rate = Rate::parse("10/m").unwrap();
        assert_eq!((rate.count, rate.per), (10, Duration::from_secs(60)));
        assert_eq!((Rate::parse("0/s"), Rate::parse("5"), Rate::parse("5/w")), (None, None, None));
        assert_eq!((size("0x200"), size("0o10"), size("0x1KiB")), (Some(512), Some(8), None));
        assert_eq!(LogLevel::parse("warn").map(LogLevel::as_str), Some("warn"));
    }

    #[test]
    fn whole_numbers_are_those_of_the_core_schema() {
        for (text, number) in [("17", 17), ("0o17", 15), ("0x1F", 31), ("0xff", 255), ("007", 7)] {
            assert_eq!(u64::parse(text), Some(number), "{text}");
            assert_eq!(<i32 as Value>::parse(text).map(u64::try_from), Some(Ok(number)), "{text}");
        }
        for bad in ["", "0x", "0o8", "0o", "0x+1", "0X1", "-1", "1_0", "0xffffffffffffffffff"] {
            assert_eq!(u64::parse(bad), None, "{bad}");
        }
        assert_eq!((<i32 as Value>::parse("-7"), <i32 as Value>::parse("-0x7")), (Some(-7), None));
        assert_eq!(<Option<Qos> as Value>::parse("0x1"), Some(Some(Qos::AtLeastOnce)));
    }
}
