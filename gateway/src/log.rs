//! Logs: structured lines on stderr, logfmt on a terminal and JSON otherwise.
//!
//! The worker must never wait for whoever reads them, so lines go through a bounded channel to a
//! thread that writes; when that cannot keep up, lines are dropped and their number is told.

use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Libraries whose words nobody needs: the store says itself what of fjall's matters.
const QUIET: &str = "fjall=off,lsm_tree=off";
/// Replaces the configured level; the syntax of `RUST_LOG`.
const VARIABLE: &str = "MOTEGATE_LOG";
/// Lines that may wait for the writing thread.
const MAX_LINES: usize = 4096;
/// How long the end of the program waits for lines to be written.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// How lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Format {
    /// By what stderr is.
    #[default]
    Auto,
    /// `time=… level=info msg=…`.
    Logfmt,
    /// One JSON object a line.
    Json,
}

/// Keeps the log running; dropped, it waits until what was said is written.
#[derive(Debug)]
pub(crate) struct Log {
    lines: SyncSender<Message>,
}

#[derive(Debug)]
enum Message {
    Line(Vec<u8>),
    Flush(SyncSender<()>),
}

/// A word that stands where a level should: it would be taken for the name of a module that says
/// nothing, and silence everything else.
fn misspelt(filter: &str) -> Option<&str> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let level = |word: &str| LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word));
    let parts = filter.split(',').map(str::trim).filter(|part| !part.is_empty());
    let mut words = parts.map(|part| part.rsplit_once('=').map_or(part, |(_, level)| level));
    words.find(|word| !level(word) && !word.starts_with("motegate"))
}

/// Starts the log of the program; `level` holds unless the environment says otherwise.
pub(crate) fn start(level: &str, format: Format) -> Log {
    let wanted = std::env::var(VARIABLE).ok().filter(|text| !text.is_empty());
    let wanted = wanted.filter(|text| match misspelt(text) {
        Some(word) => {
            eprintln!(
                "motegate: {VARIABLE}: `{word}` is no level; write error, warn, info, debug or \
                 trace. The configured level `{level}` holds."
            );
            false
        }
        None => true,
    });
    let filter = wanted.unwrap_or_else(|| format!("{level},{QUIET}"));
    let filter = EnvFilter::builder().parse_lossy(filter);
    let (sender, receiver) = sync_channel(MAX_LINES);
    let lines = Lines { sender: sender.clone(), dropped: Arc::default() };
    let dropped = lines.dropped.clone();
    // Without the thread the channel is closed and nothing is logged; the gateway runs.
    let _ = std::thread::Builder::new()
        .name("motegate-log".into())
        .spawn(move || write_lines(&receiver, &dropped, &mut io::stderr()));
    let json = match format {
        Format::Auto => !io::stderr().is_terminal(),
        Format::Logfmt => false,
        Format::Json => true,
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(move || lines.clone())
        .with_ansi(false);
    // A second start in one process (a test) keeps the first.
    let _ = if json {
        builder.json().flatten_event(true).with_target(false).try_init()
    } else {
        builder.event_format(Logfmt).try_init()
    };
    Log { lines: sender }
}

impl Drop for Log {
    fn drop(&mut self) {
        let (done, written) = sync_channel(1);
        if self.lines.try_send(Message::Flush(done)).is_ok() {
            let _ = written.recv_timeout(FLUSH_TIMEOUT);
        }
    }
}

fn write_lines(lines: &Receiver<Message>, dropped: &AtomicU64, out: &mut impl io::Write) {
    while let Ok(message) = lines.recv() {
        match message {
            Message::Line(line) => {
                let _ = out.write_all(&line);
            }
            Message::Flush(done) => {
                let _ = done.try_send(());
            }
        }
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let _ = writeln!(out, "level=warn msg=\"log lines dropped\" count={lost}");
        }
    }
}

/// Where the subscriber writes: each event is one call of `write`.
#[derive(Debug, Clone)]
struct Lines {
    sender: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
}

impl io::Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.sender.try_send(Message::Line(line.to_vec())).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// `time=2026-11-25T12:00:03.123456Z level=info msg=connected proto=mqtt client="a b"`.
#[derive(Debug)]
struct Logfmt;

impl<S, N> FormatEvent<S, N> for Logfmt
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        writer.write_str("time=")?;
        SystemTime.format_time(&mut writer)?;
        let level = event.metadata().level().as_str().to_ascii_lowercase();
        let mut fields = Fields { message: String::new(), rest: String::new() };
        event.record(&mut fields);
        writeln!(writer, " level={level} msg={}{}", fields.message, fields.rest)
    }
}

/// An event's fields as text, the message apart.
struct Fields {
    message: String,
    rest: String,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            quote(value, &mut self.message);
        } else {
            let _ = write!(self.rest, " {}=", field.name());
            quote(value, &mut self.rest);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

/// A value, in quotes where a reader of words would stumble.
fn quote(value: &str, out: &mut String) {
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && !matches!(c, '"' | '=' | '\\');
    if !value.is_empty() && value.chars().all(plain) {
        out.push_str(value);
    } else {
        out.push('"');
        for c in value.chars() {
            match c {
                '"' | '\\' => out.extend(['\\', c]),
                c if c.is_control() => out.extend(c.escape_default()),
                c => out.push(c),
            }
        }
        out.push('"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_level_is_no_module() {
        for good in ["debug", "WARN", "info,motegate::net=trace", "motegate", "off"] {
            assert_eq!(misspelt(good), None, "{good}");
        }
        for (bad, word) in [("debgu", "debgu"), ("info,motegate=trcae", "trcae")] {
            assert_eq!(misspelt(bad), Some(word));
        }
    }
    use std::io::Write as _;

    #[test]
    fn values_are_quoted_where_needed() {
        for (value, expected) in [
            ("plain", "plain"),
            ("127.0.0.1:1883", "127.0.0.1:1883"),
            ("", r#""""#),
            ("two words", r#""two words""#),
            ("a\"b\\c", r#""a\"b\\c""#),
            // A client id cannot forge a line of the log.
            ("x\nlevel=error", r#""x\nlevel=error""#),
        ] {
            let mut out = String::new();
            quote(value, &mut out);
            assert_eq!(out, expected);
        }
    }

    #[test]
    fn lines_are_dropped_and_counted_when_nobody_writes() {
        let (sender, receiver) = sync_channel(2);
        let mut lines = Lines { sender, dropped: Arc::default() };
        for line in [b"one\n", b"two\n", b"and\n", b"etc\n"] {
            lines.write_all(line).unwrap();
        }
        let dropped = lines.dropped.clone();
        drop(lines);
        let mut out = Vec::new();
        write_lines(&receiver, &dropped, &mut out);
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, "one\nlevel=warn msg=\"log lines dropped\" count=2\ntwo\n");
    }
}
