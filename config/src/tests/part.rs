//! Values that only tests have: codes, methods, reasons, hexadecimal digits.

use std::ops::Range;
use std::sync::LazyLock;

use motegate_mapping::CoapMethod;
use motegate_message::{Qos, Reason};

use crate::value::Value;

/// Bytes in hexadecimal digits; spaces may stand between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hex(pub(crate) Vec<u8>);

impl Value for Hex {
    const WHAT: &'static str = "pairs of hexadecimal digits such as 08662da5";
    const PATTERN: &'static str = "^([0-9a-fA-F]{2} ?)*$";
    const TYPES: &'static [&'static str] = &["string", "integer"];
    fn parse(text: &str) -> Option<Self> {
        let mut out = Vec::with_capacity(text.len() / 2);
        let mut rest = text;
        while let Some(pair) = rest.get(..2) {
            if !pair.bytes().all(|b| b.is_ascii_hexdigit()) {
                return None;
            }
            out.push(u8::from_str_radix(pair, 16).ok()?);
            rest = rest.get(2..)?;
            rest = rest.strip_prefix(' ').unwrap_or(rest);
        }
        rest.is_empty().then_some(Hex(out))
    }
}

/// A CoAP code: `2.01`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CodeText(pub(crate) u8);

impl Value for CodeText {
    const WHAT: &'static str = "a CoAP code such as 2.01 or 4.05";
    const PATTERN: &'static str = r"^[245]\.[0-3][0-9]$";
    const TYPES: &'static [&'static str] = &["string", "number"];
    fn parse(text: &str) -> Option<Self> {
        let (class, detail) = text.split_once('.')?;
        let number = |text: &str, range: Range<u8>| {
            let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            text.parse().ok().filter(|n| digits && range.contains(n))
        };
        let class = number(class, 2..6).filter(|class| *class != 3)?;
        let detail = number(detail, 0..32).filter(|_| detail.len() == 2)?;
        Some(CodeText(class << 5 | detail))
    }
}

/// What a CoAP request wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MethodWord(pub(crate) CoapMethod);

impl Value for MethodWord {
    const WHAT: &'static str = "GET, OBSERVE, PUT, POST, DELETE or FETCH";
    const WORDS: &'static [&'static str] = &["GET", "OBSERVE", "PUT", "POST", "DELETE", "FETCH"];
    fn parse(text: &str) -> Option<Self> {
        Some(MethodWord(match text {
            "GET" => CoapMethod::Get,
            "OBSERVE" => CoapMethod::Observe,
            "PUT" => CoapMethod::Put,
            "POST" => CoapMethod::Post,
            "DELETE" => CoapMethod::Delete,
            "FETCH" => CoapMethod::Other,
            _ => return None,
        }))
    }
}

/// QoS of an MQTT-SN PUBLISH; `None` is −1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SnQos(pub(crate) Option<Qos>);

impl Value for SnQos {
    const WHAT: &'static str = "-1, 0, 1 or 2";
    const WORDS: &'static [&'static str] = &["-1", "0", "1", "2"];
    fn parse(text: &str) -> Option<Self> {
        Some(SnQos(match text {
            "-1" => None,
            "0" => Some(Qos::AtMostOnce),
            "1" => Some(Qos::AtLeastOnce),
            "2" => Some(Qos::ExactlyOnce),
            _ => return None,
        }))
    }
}

/// Why something is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReasonWord(pub(crate) Reason);

impl Value for ReasonWord {
    const WHAT: &'static str = "a reason such as no_rule, bad_topic or sn_unknown_topic_id";
    fn parse(text: &str) -> Option<Self> {
        Reason::ALL.iter().find(|reason| reason.as_str() == text).map(|reason| ReasonWord(*reason))
    }
}

/// The words of all reasons.
pub(crate) static REASONS: LazyLock<Vec<&'static str>> =
    LazyLock::new(|| Reason::ALL.iter().map(|reason| reason.as_str()).collect());

/// What a person types as a path or a query, taken apart and then percent-decoded, once.
pub(crate) fn decode_percent(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        if b != b'%' {
            out.push(b);
            continue;
        }
        let mut digit = || bytes.next().and_then(|b| char::from(b).to_digit(16));
        let code = digit()? * 16 + digit()?;
        out.push(u8::try_from(code).ok()?);
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        assert_eq!(Hex::parse("08662da5"), Some(Hex(vec![8, 0x66, 0x2d, 0xa5])));
        assert_eq!(Hex::parse("08 66"), Some(Hex(vec![8, 0x66])));
        assert_eq!(Hex::parse(""), Some(Hex(vec![])));
        for bad in ["0", "0g", "+1", "08  66", "é0"] {
            assert_eq!(Hex::parse(bad), None, "{bad}");
        }
        assert_eq!(CodeText::parse("2.01"), Some(CodeText(0x41)));
        assert_eq!(CodeText::parse("5.03"), Some(CodeText(0xa3)));
        for bad in ["2.1", "201", "3.00", "2.32", "1.01", "2.001", "-2.01", "2.+1"] {
            assert_eq!(CodeText::parse(bad), None, "{bad}");
        }
        assert_eq!(decode_percent("a%2Fb%c3%a9"), Some("a/bé".into()));
        assert_eq!(
            (decode_percent("%2"), decode_percent("%zz"), decode_percent("%ff")),
            (None, None, None)
        );
        assert!(REASONS.contains(&"no_rule"));
    }
}
