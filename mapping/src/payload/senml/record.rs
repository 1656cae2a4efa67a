//! One message as a pack of one record, named by its topic, and the way back.
//!
//! What a split pack's messages hold comes back as the record that it was. Any other payload
//! becomes a record's value by its kind: a number `v`, text `vs`, a boolean `vb`, and whatever is
//! neither (lists, other objects, `null`, bytes) `vd`: the payload's own bytes, untouched.

use std::borrow::Cow;

use data_encoding::BASE64URL_NOPAD;

use super::super::error::Fault;
use super::super::{Key, Value};
use super::{check_name, resolve};

/// A pack of one record: `value` is what `payload` says.
///
/// # Errors
/// A topic that cannot be a name (RFC 8428 §4.5.1).
pub(in super::super) fn one_record<'a>(
    name: &'a str,
    value: Value<'a>,
    payload: &'a [u8],
) -> Result<Value<'a>, Fault> {
    check_name(name).map_err(|fault| fault.below("n"))?;
    let data = || Value::text(BASE64URL_NOPAD.encode(payload));
    let field = |label: &'static str, value: Value<'a>| vec![(Key::from(label), value)];
    let mut fields = match value {
        Value::Number(number) => field("v", Value::Number(number)),
        Value::Text(text) => field("vs", Value::Text(text)),
        Value::Bool(value) => field("vb", Value::Bool(value)),
        Value::Bytes(bytes) => field("vd", Value::text(BASE64URL_NOPAD.encode(&bytes))),
        Value::Map(map) if is_record(name, &map) => map,
        _ => field("vd", data()),
    };
    fields.insert(0, (Key::from("n"), Value::Text(Cow::Borrowed(name))));
    Ok(Value::Array(vec![Value::Map(fields)]))
}

/// Whether an object is a resolved record without its name.
fn is_record(name: &str, map: &[(Key<'_>, Value<'_>)]) -> bool {
    const OWN: [&str; 8] = ["u", "v", "vs", "vb", "vd", "s", "t", "ut"];
    let own = |key: &Key<'_>| matches!(key, Key::Text(text) if OWN.contains(&&**text));
    if !map.iter().any(|(key, _)| own(key)) || map.iter().any(|(key, _)| is_base_or_name(key)) {
        return false;
    }
    let mut fields = map.to_vec();
    fields.push((Key::from("n"), Value::text(name)));
    resolve(&Value::Array(vec![Value::Map(fields)])).is_ok()
}

fn is_base_or_name(key: &Key<'_>) -> bool {
    match key {
        Key::Text(text) => text == "n" || (text.starts_with('b') && text != "bver"),
        Key::Int(_) => true,
    }
}
