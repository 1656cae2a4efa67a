//! The folder `conf.d` beside the first file: which of its files belong to the configuration.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

/// Most entries of the folder.
const MAX_FILES: usize = 1_000;

/// What is in the folder.
#[derive(Debug)]
pub(crate) enum Listing {
    /// There is no such folder.
    Nothing,
    /// Files in the order of their names.
    Files {
        /// Those that are read.
        read: Vec<PathBuf>,
        /// Those whose names look as if they should be.
        alike: Vec<PathBuf>,
    },
    /// It is no folder.
    NoFolder,
    TooMany,
    Io(io::Error),
}

/// The folder beside a file.
pub(crate) fn beside(main: &Path) -> PathBuf {
    main.parent().unwrap_or(Path::new("")).join("conf.d")
}

/// Looks into a folder; files that are named anyway are not counted among its own.
pub(crate) fn list(folder: &Path, named: &[PathBuf]) -> Listing {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => {
            return match error.kind() {
                io::ErrorKind::NotFound => Listing::Nothing,
                io::ErrorKind::NotADirectory => Listing::NoFolder,
                _ => Listing::Io(error),
            };
        }
    };
    let entries = entries.filter_map(Result::ok).map(|entry| entry.path());
    let mut paths: Vec<PathBuf> = entries.take(MAX_FILES + 1).collect();
    if paths.len() > MAX_FILES {
        return Listing::TooMany;
    }
    paths.sort();
    let named: HashSet<PathBuf> =
        named.iter().filter_map(|path| path.canonicalize().ok()).collect();
    let (mut read, mut alike) = (Vec::new(), Vec::new());
    for path in paths {
        let hidden = path.file_name().is_some_and(|n| n.as_encoded_bytes().starts_with(b"."));
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        if hidden || named.contains(&path.canonicalize().unwrap_or_default()) {
            continue;
        }
        if ending == "yaml" {
            read.push(path);
        } else if ["yaml", "yml"].iter().any(|like| ending.eq_ignore_ascii_case(like)) {
            alike.push(path);
        }
    }
    Listing::Files { read, alike }
}
