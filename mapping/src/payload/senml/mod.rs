//! SenML packs (RFC 8428) in JSON and CBOR, checked, resolved and split into records.
//!
//! Both encodings are read into the same value, that of the JSON form: the labels of §6 become their
//! names, and a data value is base64url text. So `senml+cbor` and `senml+json` become each other
//! without loss, and either becomes `json` or `cbor` as the list that it is.
//!
//! Every pack is checked as a whole: types, names (§4.5.1), one value a record (§4.2), version (§4.4),
//! fields that must be understood. Unknown fields are passed on, as the RFC lets a reader ignore
//! them; CBOR's unknown integer labels have no name to be passed on by and are left out.
//!
//! A record that has nothing but base fields is taken: it sets them for those that follow.

mod labels;
mod pack;
mod record;

pub(super) use labels::{read_cbor, write_cbor};
pub(super) use pack::resolve;
pub(super) use record::one_record;

use super::error::{Fault, Problem};
use super::{Limits, SenmlProblem, Value, json};

/// Reads a pack in JSON and checks it.
///
/// # Errors
/// Not JSON, or not a pack.
pub(super) fn read_json<'a>(input: &'a [u8], limits: &Limits) -> Result<Value<'a>, Fault> {
    let pack = json::read(input, limits)?;
    resolve(&pack)?;
    Ok(pack)
}

/// RFC 8428 §4.5.1: what a name may be, base name included.
pub(super) fn check_name(name: &str) -> Result<(), Fault> {
    let problem = match name.bytes().next() {
        None => SenmlProblem::NoName,
        Some(first) => {
            let allowed = |c: u8| c.is_ascii_alphanumeric() || b"-:./_".contains(&c);
            if first.is_ascii_alphanumeric() && name.bytes().all(allowed) {
                return Ok(());
            }
            SenmlProblem::BadName(name.to_owned())
        }
    };
    Err(Fault::whole(Problem::from(problem)))
}
