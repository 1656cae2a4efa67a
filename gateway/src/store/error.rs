//! Why a store does not open or does not write: cause and cure, in words.

use std::io;
use std::path::{Path, PathBuf};

use super::directory::FORMAT;

/// Why there is no store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another gateway has the directory.
    #[error("the data directory {} is in use{}", path.display(), by(*holder))]
    InUse {
        /// Which.
        path: PathBuf,
        /// The process that holds it, if it says so.
        holder: Option<u32>,
    },
    /// Nothing was ever kept there.
    #[error("there is no store in {}", .0.display())]
    Missing(PathBuf),
    /// Written by another version.
    #[error(
        "{} has data format {found}; this version knows {FORMAT} only.\n  {}",
        path.display(),
        if *found > FORMAT {
            "A newer motegate wrote it: run that one, or restore a backup of this version's"
        } else {
            "It is older than any that this version reads: restore a backup"
        }
    )]
    Format {
        /// Of which directory.
        path: PathBuf,
        /// What is there.
        found: u32,
    },
    /// What is there cannot be read.
    #[error(
        "the store in {} is damaged: {what}.\n  Nothing was changed. Restore a backup (`motegate \
         restore`), or keep what can be read with\n  `motegate store check --repair`, which says \
         what is lost.",
        path.display()
    )]
    Damaged {
        /// Which data directory.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// What the system said.
    #[error("{} {what}: {}", path.display(), in_words(source, path))]
    System {
        /// Of what.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
}

fn by(holder: Option<u32>) -> String {
    match holder {
        Some(pid) => format!(
            " by process {pid}.\n  Two gateways cannot share one: stop that one, or give this one \
             a `data_dir` of its own"
        ),
        None => " by another process".into(),
    }
}

impl StoreError {
    pub(crate) fn at(
        what: &'static str,
        path: &Path,
    ) -> impl FnOnce(io::Error) -> StoreError + use<> {
        let path = path.to_owned();
        move |source| StoreError::System { path, what, source }
    }

    pub(crate) fn damaged(path: &Path, what: String) -> StoreError {
        StoreError::Damaged { path: path.to_owned(), what }
    }

    /// Of what fjall said when it opened or read the database of a data directory.
    pub(crate) fn of(error: fjall::Error, path: &Path) -> StoreError {
        match system_error(&error) {
            Some(io) if !is_damage(io) => StoreError::System {
                path: path.to_owned(),
                what: "cannot be opened",
                source: io::Error::new(io.kind(), io.to_string()),
            },
            _ => match error {
                fjall::Error::Locked => StoreError::InUse { path: path.to_owned(), holder: None },
                error => StoreError::damaged(path, format!("{error:?}")),
            },
        }
    }
}

/// A file that is not there or ends too early is no failure of the system.
fn is_damage(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, NotFound, Other, UnexpectedEof};
    matches!(error.kind(), NotFound | UnexpectedEof | InvalidData | Other)
}

/// What the system said, if it is the system that failed.
pub(crate) fn system_error(error: &fjall::Error) -> Option<&io::Error> {
    match error {
        fjall::Error::Io(error) | fjall::Error::Storage(fjall::LsmError::Io(error)) => Some(error),
        _ => None,
    }
}

/// Cause and cure of a failure below `path`.
pub(crate) fn in_words(error: &io::Error, path: &Path) -> String {
    use io::ErrorKind::{
        FileTooLarge, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull,
    };
    let free = free_bytes(path).map_or(String::new(), |free| format!(" ({free} bytes free)"));
    match error.kind() {
        StorageFull => format!("the disk is full{free}: make room on it"),
        QuotaExceeded => format!("this user's quota is used up{free}: raise it, or make room"),
        ReadOnlyFilesystem => {
            "the file system is read-only: mount it for writing, and look at the system's log \
             for why it is"
                .into()
        }
        PermissionDenied => "not permitted: the gateway's user must own it (mode 0700)".into(),
        FileTooLarge => "a file may not grow further: raise the limit of file sizes".into(),
        _ if error.raw_os_error() == Some(nix::errno::Errno::EIO as i32) => {
            format!("{error}: the disk fails; look at the system's log, replace the disk")
        }
        _ => error.to_string(),
    }
}

/// Bytes that this user may still write on the file system that holds `path`.
pub(crate) fn free_bytes(path: &Path) -> Option<u64> {
    let found = nix::sys::statvfs::statvfs(path).ok()?;
    #[allow(clippy::useless_conversion, reason = "the field is narrower on other machines")]
    Some(u64::from(found.blocks_available()).saturating_mul(u64::from(found.fragment_size())))
}
