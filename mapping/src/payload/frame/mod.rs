//! Fixed binary frames: fields one after another, no bytes between them, as an object of names.
//!
//! ```yaml
//! frame: [{temp: i16be, scale: 0.01, unit: "°C"}, {hum: u8, unit: "%"}, {batt: u8, scale: 0.02, unit: V}]
//! ```
//!
//! | type | on the other side |
//! |---|---|
//! | `u8` `i8`, `u16be` … `i64le` (16, 24, 32, 64 bits; `be` or `le`) | a number: raw × `scale` + `offset` |
//! | the unsigned of these with `bits: {door: 0, tamper: 1}` | an object of booleans; other bits must be 0 |
//! | `f32be` `f32le` `f64be` `f64le` | a number: the shortest decimal that is this float |
//! | `bool` | `true` or `false`: a byte that is 0 or 1 |
//! | `text[N]` | text of up to N bytes, filled up with NUL |
//! | `bytes[N]` | N bytes as 2 × N lower-case hexadecimal digits |
//! | `rest`, last | what remains, any length, as hexadecimal digits |
//!
//! All is exact and strict in both directions: a frame has the length of its fields, an object has
//! all of them and no other, a number lies on the field's grid and in its range. Whatever does not
//! is an error that names the field. So each frame has one object and each object one frame.

mod layout;
mod wire;

pub use layout::{FieldSpec, Frame};
