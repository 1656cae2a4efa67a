//! Files that a configuration is read from, as text.
//!
//! What may never end (a pipe, a device) is refused before it is opened, and no more is read than
//! the caller can use: a file that is somewhere by mistake must not hold up whoever reads it.

use std::fmt;
use std::fs::{File, FileType};
use std::io::{self, Read as _};
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

/// What may be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kinds {
    /// What can be read as often as one likes.
    Files,
    /// A pipe as well: whoever named it will write into it.
    Pipes,
}

/// Why there is no text.
#[derive(Debug)]
pub(crate) enum Unread {
    /// It is a pipe, a device, …
    Kind(&'static str),
    /// It is longer than was asked for.
    TooLong,
    NotUtf8,
    Io(io::Error),
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unread::Kind(what) => write!(f, "it is {what}, not a file"),
            Unread::TooLong => f.write_str("it is too large"),
            Unread::NotUtf8 => f.write_str("it is not UTF-8"),
            Unread::Io(error) => error.fmt(f),
        }
    }
}

/// The text of a file of at most `max` bytes.
pub(crate) fn read(path: &Path, kinds: Kinds, max: usize) -> Result<String, Unread> {
    let kind = std::fs::metadata(path).map_err(Unread::Io)?.file_type();
    if let Some(what) = unfit(kind, kinds).filter(|_| path != Path::new("/dev/null")) {
        return Err(Unread::Kind(what));
    }
    let file = File::open(path).map_err(Unread::Io)?;
    let mut bytes = Vec::new();
    file.take(max as u64 + 1).read_to_end(&mut bytes).map_err(Unread::Io)?;
    if bytes.len() > max {
        return Err(Unread::TooLong);
    }
    String::from_utf8(bytes).map_err(|_| Unread::NotUtf8)
}

/// What it is instead of something to read.
fn unfit(kind: FileType, kinds: Kinds) -> Option<&'static str> {
    if kind.is_file() || kind.is_fifo() && kinds == Kinds::Pipes {
        None
    } else if kind.is_fifo() {
        Some("a pipe")
    } else if kind.is_dir() {
        Some("a folder")
    } else if kind.is_socket() {
        Some("a socket")
    } else {
        Some("a device")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_ends_is_read() {
        let kind = |path: &str| match read(Path::new(path), Kinds::Pipes, 10) {
            Err(Unread::Kind(what)) => what,
            other => panic!("{path}: {other:?}"),
        };
        assert_eq!((kind("/dev/zero"), kind("/")), ("a device", "a folder"));
        assert_eq!(read(Path::new("/dev/null"), Kinds::Files, 10).unwrap(), "");
        let file = std::env::temp_dir().join(format!("motegate-text-{}", std::process::id()));
        std::fs::write(&file, "0123456789").unwrap();
        assert_eq!(read(&file, Kinds::Files, 10).unwrap(), "0123456789");
        assert!(matches!(read(&file, Kinds::Files, 9), Err(Unread::TooLong)));
        std::fs::write(&file, b"\xff").unwrap();
        assert!(matches!(read(&file, Kinds::Files, 9), Err(Unread::NotUtf8)));
        std::fs::remove_file(&file).unwrap();
        assert!(matches!(read(&file, Kinds::Files, 9), Err(Unread::Io(_))));
    }
}
