//! CBOR (RFC 8949): any well-formed item is read, one encoding is written.
//!
//! Read are definite and indefinite lengths, integers and floats of every width, bignums (tags 2
//! and 3) up to 128 bits, decimal fractions (tag 4), and a self-described payload (tag 55799 in
//! front). Other tags, `undefined` and other simple values, and floats that are not finite have no
//! counterpart in the other formats; they are errors, not approximations, because nothing could
//! bring them back. A key that stands twice is an error (§5.6).
//!
//! Written is the deterministic encoding (§4.2.1): shortest heads, definite lengths, the shortest
//! float that has the value, keys in the bytewise order of their encodings.

mod read;
mod write;

pub(super) use read::{check, read};
pub(super) use write::write;
