//! [`FileWatch`]: says when configuration files have changed.
//!
//! It watches the files' folders (an editor replaces a file, a Kubernetes volume a link), waits
//! until they have been quiet for a moment, and then looks whether any file is another one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::net::watch;

/// So long nothing must have happened: whoever writes several files is done by then.
const QUIET: Duration = Duration::from_millis(200);

/// Watches the files of a configuration.
#[derive(Debug)]
pub(crate) struct FileWatch {
    inotify: AsyncFd<Descriptor>,
    folders: BTreeSet<PathBuf>,
    seen: Seen,
    /// Something happened that was not looked at yet.
    stirred: bool,
}

/// Files as they were when they were read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    files: Vec<PathBuf>,
    stamps: BTreeMap<PathBuf, Option<Stamp>>,
}

impl Seen {
    /// Looks at these files, and at what is in the `conf.d` beside the first.
    pub(crate) fn now(files: &[PathBuf]) -> Seen {
        let conf_d = files.first().map(|first| beside(first).join("conf.d"));
        let found = conf_d.and_then(|folder| std::fs::read_dir(folder).ok());
        let yaml = |path: &PathBuf| path.extension().is_some_and(|end| end == "yaml");
        let entries = found.into_iter().flatten().flatten().map(|entry| entry.path());
        let all = files.iter().cloned().chain(entries.filter(yaml));
        let stamp = |file: PathBuf| {
            let stamp = std::fs::metadata(&file).ok().map(Stamp::from);
            (file, stamp)
        };
        Seen { files: files.to_vec(), stamps: all.map(stamp).collect() }
    }
}

/// The folder of a file.
fn beside(file: &Path) -> PathBuf {
    match file.parent() {
        Some(folder) if folder != Path::new("") => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// `Inotify` as something with a raw descriptor.
#[derive(Debug)]
struct Descriptor(Inotify);

impl std::os::fd::AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        use std::os::fd::AsFd as _;
        self.0.as_fd().as_raw_fd()
    }
}

/// What changes when a file does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: (u64, u64),
    len: u64,
    modified: Option<SystemTime>,
}

impl From<Metadata> for Stamp {
    fn from(found: Metadata) -> Self {
        let modified = found.modified().ok();
        Stamp { inode: (found.dev(), found.ino()), len: found.len(), modified }
    }
}

impl FileWatch {
    /// Watches what was read; a change since then counts. Must be called within the runtime.
    pub(crate) fn new(seen: Seen) -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        let inotify = watch(Descriptor(inotify), Interest::READABLE)?;
        let mut watch = FileWatch { inotify, folders: BTreeSet::new(), seen, stirred: true };
        watch.watch_folders();
        Ok(watch)
    }

    /// The configuration consists of these files now.
    pub(crate) fn follow(&mut self, files: &[PathBuf]) {
        let mut seen = Seen::now(files);
        for (file, stamp) in &mut seen.stamps {
            // What has changed since it was read is still to be noticed.
            if let Some(known) = self.seen.stamps.get(file) {
                *stamp = *known;
            }
        }
        self.seen = seen;
        self.stirred = true;
        self.watch_folders();
    }

    fn watch_folders(&mut self) {
        let files = &self.seen.files;
        let conf_d = files.first().map(|first| beside(first).join("conf.d"));
        let folders: Vec<PathBuf> = files.iter().map(|file| beside(file)).chain(conf_d).collect();
        for folder in folders {
            let what = AddWatchFlags::IN_CLOSE_WRITE
                | AddWatchFlags::IN_MOVED_TO
                | AddWatchFlags::IN_MOVED_FROM
                | AddWatchFlags::IN_DELETE
                | AddWatchFlags::IN_CREATE;
            // One that is not there yet is noticed in the folder above.
            if !self.folders.contains(&folder)
                && self.inotify.get_ref().0.add_watch(&folder, what).is_ok()
            {
                self.folders.insert(folder);
            }
        }
    }

    /// Ready when a file has changed, came or went. May be dropped and called again.
    pub(crate) async fn changed(&mut self) {
        loop {
            if !self.stirred {
                self.event().await;
                self.stirred = true;
            }
            while tokio::time::timeout(QUIET, self.event()).await.is_ok() {}
            self.stirred = false;
            let now = Seen::now(&self.seen.files);
            if now != self.seen {
                self.seen = now;
                return;
            }
        }
    }

    /// Something has happened in a folder.
    async fn event(&self) {
        loop {
            let Ok(mut ready) = self.inotify.readable().await else {
                return std::future::pending().await;
            };
            match self.inotify.get_ref().0.read_events() {
                Ok(_) => return,
                Err(Errno::EAGAIN) => ready.clear_ready(),
                Err(Errno::EINTR) => {}
                Err(error) => {
                    tracing::error!(%error, "changed files are noticed no more");
                    return std::future::pending().await;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("motegate-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(folder.join("conf.d")).unwrap();
        folder
    }

    async fn changes(watch: &mut FileWatch) -> bool {
        tokio::time::timeout(Duration::from_secs(20), watch.changed()).await.is_ok()
    }

    #[tokio::test]
    async fn a_file_that_is_written_replaced_or_new_is_a_change_and_a_neighbour_is_none() {
        let folder = folder("file-watch");
        let file = folder.join("motegate.yaml");
        std::fs::write(&file, "version: 1\n").unwrap();
        let mut watch = FileWatch::new(Seen::now(std::slice::from_ref(&file))).unwrap();
        std::fs::write(&file, "version: 1\n# more\n").unwrap();
        assert!(changes(&mut watch).await, "written");
        std::fs::write(folder.join("new"), "version: 1\n# other\n").unwrap();
        std::fs::rename(folder.join("new"), &file).unwrap();
        assert!(changes(&mut watch).await, "replaced");
        std::fs::write(folder.join("conf.d/a.yaml"), "log: {level: info}\n").unwrap();
        assert!(changes(&mut watch).await, "new in conf.d");
        std::fs::write(folder.join("neighbour"), "x").unwrap();
        let quiet = tokio::time::timeout(QUIET * 4, watch.changed()).await.is_err();
        assert!(quiet, "a neighbour is none");
        std::fs::remove_file(&file).unwrap();
        assert!(changes(&mut watch).await, "removed");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
