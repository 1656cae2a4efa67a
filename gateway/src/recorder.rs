//! The flight recorder: the worker's last inputs, printed when the program panics.
//!
//! It keeps kinds, lengths and identifiers, never payloads, addresses or credentials. The ring is
//! the worker thread's own; the panic hook runs on the thread that panicked and so finds it
//! without a lock.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::io::Write as _;

use motegate_core::Input;
use motegate_timers::Instant;
use ringbuf::LocalRb;
use ringbuf::storage::Array;
use ringbuf::traits::Observer;

/// How many inputs are remembered.
const DEPTH: usize = 64;

/// One input, without what it said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    now: Instant,
    kind: &'static str,
    id: u64,
    len: usize,
}

thread_local! {
    static RING: RefCell<LocalRb<Array<Entry, DEPTH>>> = RefCell::new(LocalRb::default());
}

/// Remembers an input before the core sees it.
pub(crate) fn record(now: Instant, input: &Input<'_>) {
    let (kind, id, len) = match input {
        Input::Datagram { listener, bytes, .. } => ("datagram", u64::from(listener.0), bytes.len()),
        Input::GroupDatagram { listener, bytes, .. } => {
            ("group datagram", u64::from(listener.0), bytes.len())
        }
        Input::Opened { conn, .. } => ("opened", conn.get(), 0),
        Input::Bytes { conn, chunk } => ("bytes", conn.get(), chunk.len()),
        Input::Part { conn, chunk, .. } => ("part", conn.get(), chunk.len()),
        Input::Written { conn, n } => ("written", conn.get(), *n),
        Input::Closed { conn, .. } => ("closed", conn.get(), 0),
        Input::Committed(seq) => ("committed", seq.0, 0),
        Input::CloseHalfOpen(_) => ("close half-open", 0, 0),
        Input::StoreFailed => ("store failed", 0, 0),
        Input::Fetched { session, page } => ("fetched", session.get(), page.entries.len()),
        Input::Verdict { ticket, .. } => ("verdict", *ticket, 0),
        Input::Reload(_) => ("reload", 0, 0),
        Input::Admin { ticket, .. } => ("admin", *ticket, 0),
        Input::Shutdown => ("shutdown", 0, 0),
        Input::Timeout => ("timeout", 0, 0),
    };
    RING.with_borrow_mut(|ring| {
        ring.push_overwrite(Entry { now, kind, id, len });
    });
}

/// The recorded inputs of this thread as text, oldest first; empty on other threads.
fn report() -> String {
    RING.with(|ring| {
        let Ok(mut ring) = ring.try_borrow_mut() else { return String::new() };
        let mut text = String::new();
        if !ring.is_empty() {
            let _ = writeln!(text, "last {} inputs, oldest first:", ring.occupied_len());
        }
        for Entry { now, kind, id, len } in ring.iter() {
            let _ = writeln!(text, "  {now:?} {kind} id={id:#x} len={len}");
        }
        text
    })
}

/// Makes a panic print where it happened, this version and the worker's last inputs, on stderr.
/// The program's binary calls it once at its start; an embedding program chooses for itself.
pub fn install_panic_hook() {
    std::panic::set_hook(Box::new(|info| {
        let name = std::thread::current().name().unwrap_or("unnamed").to_owned();
        let mut err = std::io::stderr().lock();
        let _ = writeln!(
            err,
            "motegate {} has a bug: thread {name} {info}\n{}\
             Please report these lines; they hold no payloads and no credentials.",
            env!("CARGO_PKG_VERSION"),
            report(),
        );
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use motegate_message::{ConnectionId, Seq};

    #[test]
    fn the_last_inputs_are_kept_without_their_bytes() {
        for seq in 0..100 {
            record(Instant::ZERO, &Input::Committed(Seq(seq)));
        }
        let conn = ConnectionId::new(7, 1);
        record(Instant::from_millis(1500), &Input::Bytes { conn, chunk: b"secret" });
        let text = report();
        assert_eq!(text.lines().count(), 1 + DEPTH, "{text}");
        assert!(text.ends_with("1.500000s bytes id=0x100000007 len=6\n"), "{text}");
        assert!(text.contains("committed id=0x25 ") && !text.contains("id=0x24 "), "{text}");
        assert!(!text.contains("secret"));
    }
}
