//! The integer labels of SenML in CBOR (RFC 8428 §6, table 4), and its data values.

use std::borrow::Cow;

use data_encoding::BASE64URL_NOPAD;

use super::super::error::{Fault, Problem};
use super::super::value::duplicate;
use super::super::{Key, Limits, SenmlProblem, Value, WriteError, cbor};
use super::resolve;

const LABELS: [(i128, &str); 15] = [
    (-1, "bver"),
    (-2, "bn"),
    (-3, "bt"),
    (-4, "bu"),
    (-5, "bv"),
    (-6, "bs"),
    (0, "n"),
    (1, "u"),
    (2, "v"),
    (3, "vs"),
    (4, "vb"),
    (5, "s"),
    (6, "t"),
    (7, "ut"),
    (8, "vd"),
];

/// Reads a pack in CBOR into the value of its JSON form, and checks it.
///
/// # Errors
/// Not CBOR, or not a pack.
pub(in super::super) fn read_cbor<'a>(
    input: &'a [u8],
    limits: &Limits,
) -> Result<Value<'a>, Fault> {
    let mut pack = cbor::read(input, limits)?;
    if let Value::Array(records) = &mut pack {
        for (i, record) in records.iter_mut().enumerate() {
            name_labels(record).map_err(|fault| fault.below_index(i))?;
        }
    }
    resolve(&pack)?;
    Ok(pack)
}

fn name_labels(record: &mut Value<'_>) -> Result<(), Fault> {
    let Value::Map(map) = record else { return Ok(()) };
    map.retain(|(key, _)| match key {
        Key::Int(label) => LABELS.iter().any(|(number, _)| number == label),
        Key::Text(_) => true,
    });
    for (key, value) in map.iter_mut() {
        if let Key::Int(label) = key {
            let name =
                LABELS.iter().find(|(number, _)| number == label).map_or("", |(_, name)| name);
            *key = Key::from(name);
        }
        if *key == Key::from("vd") {
            let Value::Bytes(bytes) = value else {
                let problem = Problem::WrongKind { wanted: "bytes", got: value.kind() };
                return Err(Fault::field("vd", problem));
            };
            *value = Value::text(BASE64URL_NOPAD.encode(bytes));
        }
    }
    match duplicate(map) {
        Some(key) => Err(Fault::whole(Problem::DuplicateKey(key.to_string()))),
        None => Ok(()),
    }
}

/// Writes a pack in CBOR from the value of its JSON form, which was checked.
///
/// # Errors
/// What CBOR cannot hold.
pub(in super::super) fn write_cbor(
    mut pack: Value<'_>,
    limits: &Limits,
) -> Result<Vec<u8>, WriteError> {
    if let Value::Array(records) = &mut pack {
        for (i, record) in records.iter_mut().enumerate() {
            let Value::Map(map) = record else { continue };
            for (key, value) in map {
                let Key::Text(name) = key else { continue };
                if name == "vd" {
                    *value = data(value).map_err(|fault| fault.below("vd").below_index(i))?;
                }
                if let Some((label, _)) = LABELS.iter().find(|(_, known)| known == name) {
                    *key = Key::Int(*label);
                }
            }
        }
    }
    cbor::write(&pack, limits)
}

/// The bytes of a data value in JSON (§5).
pub(super) fn data<'a>(value: &Value<'_>) -> Result<Value<'a>, Fault> {
    let Value::Text(text) = value else {
        return Err(Fault::whole(Problem::WrongKind { wanted: "text", got: value.kind() }));
    };
    let bytes = BASE64URL_NOPAD.decode(text.as_bytes());
    let bytes = bytes.map_err(|_| Fault::whole(Problem::from(SenmlProblem::BadData)))?;
    Ok(Value::Bytes(Cow::Owned(bytes)))
}
