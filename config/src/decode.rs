//! [`Decoder`]: hands a tree to serde.
//!
//! A scalar is always the text that was typed: `on`, `no` and `1.10` stay what they are, and what
//! asks for a number reads it from the text. `~` and nothing at all are as if the key were not there.

use serde::de::value::{Error, MapDeserializer, SeqDeserializer};
use serde::de::{Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

use crate::document::{Kind, Node};
use crate::value;

/// A node as serde sees it. Nesting is bounded by [`Document::parse`](crate::document::Document).
pub(crate) struct Decoder<'n>(pub(crate) &'n Node);

impl<'n> IntoDeserializer<'n, Error> for Decoder<'n> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Decoder<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.0.kind {
            Kind::Scalar { .. } if self.0.is_null() => visitor.visit_unit(),
            Kind::Scalar { text, .. } => visitor.visit_borrowed_str(text),
            Kind::List(items) => visitor.visit_seq(SeqDeserializer::new(items.iter().map(Decoder))),
            Kind::Map(items) => {
                let entries = items.iter().map(|(key, node)| (key.text.as_str(), Decoder(node)));
                visitor.visit_map(MapDeserializer::new(entries))
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.0.kind {
            Kind::Scalar { text, .. } => visitor.visit_borrowed_str(text),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// A scalar's value by YAML 1.2's core schema, everything below a node included.
///
/// For payloads that are written as YAML, whose types nobody asks for.
impl Node {
    pub(crate) fn to_json(&self) -> serde_json::Value {
        use serde_json::Value;
        match &self.kind {
            Kind::List(items) => Value::Array(items.iter().map(Node::to_json).collect()),
            Kind::Map(items) => {
                Value::Object(items.iter().map(|(k, n)| (k.text.clone(), n.to_json())).collect())
            }
            Kind::Scalar { text, style } if *style == saphyr_parser::ScalarStyle::Plain => {
                core_schema(text)
            }
            Kind::Scalar { text, .. } => Value::String(text.clone()),
        }
    }
}

/// YAML 1.2 §10.3.2.
fn core_schema(text: &str) -> serde_json::Value {
    use serde_json::Value;
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let whole = if let Some(number) = value::radix(text) {
        Some(Value::from(number))
    } else if !unsigned.is_empty() && unsigned.bytes().all(|b| b.is_ascii_digit()) {
        let plain = text.strip_prefix('+').unwrap_or(text);
        plain
            .parse::<u64>()
            .map(Value::from)
            .or_else(|_| plain.parse::<i64>().map(Value::from))
            .ok()
    } else {
        None
    };
    let pointed = || {
        let number = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
            && unsigned.contains(|c: char| c.is_ascii_digit())
            && unsigned
                .chars()
                .all(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-'));
        let value = number.then(|| text.parse::<f64>().ok()).flatten()?;
        serde_json::Number::from_f64(value).map(Value::Number)
    };
    whole.or_else(pointed).unwrap_or_else(|| Value::String(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use crate::document::Document;

    #[test]
    fn scalars_by_the_core_schema() {
        let text = "[1, -2, +3, 0x1F, 0o17, 010, 1.10, .5, 1e3, -1.5E-2, on, no, 12e, 0x, 1_000, \
                    \"1\", '~', ~, true, .inf, 18446744073709551616, 1.2.3, {k: [null]}]";
        let document = Document::parse(text, 0).unwrap();
        let expected = serde_json::json!([
            1, -2, 3, 31, 15, 10, 1.1, 0.5, 1000.0, -0.015, "on", "no", "12e", "0x", "1_000", "1",
            "~", null, true, ".inf", 18446744073709551616.0, "1.2.3", {"k": [null]}
        ]);
        assert_eq!(document.root.unwrap().to_json(), expected);
    }
}
