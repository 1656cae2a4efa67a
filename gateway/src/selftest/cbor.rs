//! JSON values as CBOR (RFC 8949) and back, for payloads of tests.
//!
//! Written apart from the gateway's own codec, so that one does not prove the other's mistakes.
//! Only what JSON can say; of what JSON cannot, reading gives up.

use serde_json::{Map, Number, Value};

/// Deepest nesting that is read.
const MAX_DEPTH: usize = 32;

/// SenML's labels in CBOR (RFC 8428 §6).
const LABELS: [(&str, i64); 15] = [
    ("bver", -1),
    ("bn", -2),
    ("bt", -3),
    ("bu", -4),
    ("bv", -5),
    ("bs", -6),
    ("n", 0),
    ("u", 1),
    ("v", 2),
    ("vs", 3),
    ("vb", 4),
    ("s", 5),
    ("t", 6),
    ("ut", 7),
    ("vd", 8),
];

/// As CBOR, integers and floats in their shortest form. Depth is that of the configuration.
pub(super) fn write(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    put(value, false, &mut out);
    out
}

/// A SenML pack, its labels as numbers.
pub(super) fn write_senml(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    put(value, true, &mut out);
    out
}

fn put(value: &Value, senml: bool, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.push(0xf6),
        Value::Bool(yes) => out.push(if *yes { 0xf5 } else { 0xf4 }),
        Value::Number(number) => put_number(number, out),
        Value::String(text) => put_text(text, out),
        Value::Array(all) => {
            head(4, all.len() as u64, out);
            all.iter().for_each(|one| put(one, senml, out));
        }
        Value::Object(map) => {
            head(5, map.len() as u64, out);
            for (key, value) in map {
                match LABELS.iter().find(|(name, _)| senml && name == key) {
                    Some((_, label)) => put_integer((*label).into(), out),
                    None => put_text(key, out),
                }
                put(value, senml, out);
            }
        }
    }
}

fn head(major: u8, count: u64, out: &mut Vec<u8>) {
    let bytes = count.to_be_bytes();
    let (info, skip) = match count {
        0..=23 => (bytes[7], 8),
        24..=0xff => (24, 7),
        0x100..=0xffff => (25, 6),
        0x1_0000..=0xffff_ffff => (26, 4),
        _ => (27, 0),
    };
    out.push(major << 5 | info);
    out.extend_from_slice(bytes.get(skip..).unwrap_or_default());
}

fn put_text(text: &str, out: &mut Vec<u8>) {
    head(3, text.len() as u64, out);
    out.extend_from_slice(text.as_bytes());
}

fn put_integer(number: i128, out: &mut Vec<u8>) {
    match u64::try_from(number) {
        Ok(positive) => head(0, positive, out),
        Err(_) => head(1, u64::try_from(-1 - number).unwrap_or(u64::MAX), out),
    }
}

fn put_number(number: &Number, out: &mut Vec<u8>) {
    if let Some(whole) = number.as_u64() {
        put_integer(whole.into(), out);
    } else if let Some(whole) = number.as_i64() {
        put_integer(whole.into(), out);
    } else {
        let double = number.as_f64().unwrap_or_default();
        #[allow(clippy::cast_possible_truncation)] // compared with what it was right after
        let single = double as f32;
        if f64::from(single) == double {
            out.push(0xfa);
            out.extend_from_slice(&single.to_be_bytes());
        } else {
            out.push(0xfb);
            out.extend_from_slice(&double.to_be_bytes());
        }
    }
}

/// The value of CBOR bytes; `None` for what JSON cannot say. Keys that are numbers become text.
pub(super) fn read(bytes: &[u8]) -> Option<Value> {
    let mut rest = bytes;
    let value = item(&mut rest, 0)?;
    rest.is_empty().then_some(value)
}

fn take<'b>(rest: &mut &'b [u8], n: u64) -> Option<&'b [u8]> {
    let (taken, left) = rest.split_at_checked(usize::try_from(n).ok()?)?;
    *rest = left;
    Some(taken)
}

fn uint(rest: &mut &[u8], n: u64) -> Option<u64> {
    Some(take(rest, n)?.iter().fold(0, |sum, b| sum << 8 | u64::from(*b)))
}

fn item(rest: &mut &[u8], depth: usize) -> Option<Value> {
    if depth > MAX_DEPTH {
        return None;
    }
    let first = uint(rest, 1)?;
    let (major, info) = (first >> 5, first & 31);
    let count = match info {
        0..=23 => info,
        24..=27 => uint(rest, 1 << (info - 24))?,
        _ => return None,
    };
    Some(match major {
        0 => Value::from(count),
        1 => Value::from(i64::try_from(-1 - i128::from(count)).ok()?),
        3 => Value::String(String::from_utf8(take(rest, count)?.to_vec()).ok()?),
        4 => Value::Array((0..count).map(|_| item(rest, depth + 1)).collect::<Option<_>>()?),
        5 => {
            let mut map = Map::new();
            for _ in 0..count {
                let key = match item(rest, depth + 1)? {
                    Value::String(text) => text,
                    other => other.to_string(),
                };
                map.insert(key, item(rest, depth + 1)?);
            }
            Value::Object(map)
        }
        7 => match info {
            20 => Value::Bool(false),
            21 => Value::Bool(true),
            22 => Value::Null,
            25 => float(half(u16::try_from(count).ok()?))?,
            26 => float(f32::from_bits(u32::try_from(count).ok()?).into())?,
            27 => float(f64::from_bits(count))?,
            _ => return None,
        },
        _ => return None,
    })
}

fn float(value: f64) -> Option<Value> {
    Number::from_f64(value).map(Value::Number)
}

/// IEEE 754 half precision.
fn half(bits: u16) -> f64 {
    let (sign, exponent, fraction) = (bits >> 15, bits >> 10 & 31, f64::from(bits & 0x3ff));
    let value = match exponent {
        0 => fraction * 2f64.powi(-24),
        31 => return f64::NAN,
        e => (1.0 + fraction / 1024.0) * 2f64.powi(i32::from(e) - 15),
    };
    if sign == 1 { -value } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// RFC 8949, appendix A.
    #[test]
    fn the_examples_of_the_rfc() {
        for (value, hex) in [
            (json!(0), "00"),
            (json!(24), "1818"),
            (json!(1000), "1903e8"),
            (json!(-10), "29"),
            (json!(1.1), "fb3ff199999999999a"),
            (json!("IETF"), "6449455446"),
            (json!([1, [2, 3]]), "8201820203"),
            (json!({"a": 1, "b": [2, 3]}), "a26161016162820203"),
            (json!(null), "f6"),
            (json!(18_446_744_073_709_551_615_u64), "1bffffffffffffffff"),
        ] {
            let bytes = write(&value);
            let text: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
            assert_eq!(text, hex, "{value}");
            assert_eq!(read(&bytes), Some(value));
        }
        assert_eq!(read(&[0xf9, 0x3e, 0x00]), Some(json!(1.5)));
        assert_eq!(read(&[0xa1, 0x00, 0x13]), Some(json!({"0": 19})));
        for bad in [&[0x9f, 0xff][..], &[0x41, 0], &[0], &[0, 0], &[]] {
            assert_eq!(read(bad).is_some(), bad == [0], "{bad:?}");
        }
        assert_eq!(read(&[0x81; 100]), None, "too deep");
        assert_eq!(write_senml(&json!([{"n": "t", "v": 1}])), [0x81, 0xa2, 0, 0x61, b't', 2, 1]);
    }
}
