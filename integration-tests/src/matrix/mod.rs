//! The interoperability matrix: independent MQTT clients, each in one process for many connections,
//! told what to do and asked what they saw.
//!
//! [`peer`] starts the processes and is the language between them and us, [`client`] is one
//! connection of one of them, [`world`] all peers beside a gateway with a listener for each
//! transport, [`table`] what came out. A failure is a value, so that one bad cell does not hide the
//! others. The cells themselves are under `tests/interop/matrix`.

pub mod client;
pub mod peer;
pub mod table;
pub mod world;

/// What went wrong in a cell, in words.
pub type Failure = String;

/// What a cell gives.
pub type Outcome<T = ()> = Result<T, Failure>;

/// A cell's own check.
///
/// # Errors
/// `what`, if it does not hold.
pub fn ensure(holds: bool, what: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { Err(what()) }
}

/// Two values that are to be the same.
///
/// # Errors
/// Both of them, if they are not.
pub fn same<T: PartialEq + std::fmt::Debug>(what: &str, got: T, wanted: T) -> Outcome {
    ensure(got == wanted, || format!("{what}: got {got:?}, wanted {wanted:?}"))
}
