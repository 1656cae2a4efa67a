//! Fixed binary frames: fields one after another, no bytes between them, as an object of names.
//!
//! The types of fields are listed at [`Frame`].
//!
//! All is exact and strict in both directions: a frame has the length of its fields, an object has
//! all of them and no other, a number lies on the field's grid and in its range. Whatever does not
//! is an error that names the field. So each frame has one object and each object one frame.

mod layout;
mod wire;

pub use layout::{FieldSpec, Frame};
