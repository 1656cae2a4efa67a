//! [`FileWatch`]: says when configuration files have changed.
//!
//! It watches the folders of all names that lead to the files (an editor replaces a file, a
//! Kubernetes volume a link), waits until those names have been quiet for a moment, and then looks
//! whether any file is another one. Which files there are is what [`Layers`] says, and what the
//! last configuration spoke of. Looking is done on a thread of its own: a file system may not
//! answer.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsString;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use motegate_config::Layers;
use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::file_trail::trail;
use crate::net::watch;

/// So long nothing must have happened: whoever writes several files is done by then.
const QUIET: Duration = Duration::from_millis(200);
/// So long a change waits for that at most.
const MAX_WAIT: Duration = Duration::from_secs(2);

/// Watches the files of a configuration.
#[derive(Debug)]
pub(crate) struct FileWatch {
    inotify: AsyncFd<Descriptor>,
    layers: Arc<Layers>,
    wanted: Wanted,
    seen: Seen,
    /// What happened and was not looked at yet: the first and the last time.
    stirred: Option<(Instant, Instant)>,
    looking: Option<JoinHandle<(Wanted, Seen)>>,
}

/// The names that matter in each folder; `None`: all of them.
type Wanted = HashMap<WatchDescriptor, Option<HashSet<OsString>>>;

/// Files as they were when they were looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Seen(BTreeMap<PathBuf, Option<Stamp>>);

impl Seen {
    /// Looks at these files.
    pub(crate) fn of(files: impl IntoIterator<Item = PathBuf>) -> Seen {
        Seen(files.into_iter().map(|file| (file.clone(), Stamp::of(&file))).collect())
    }

    /// The files that were read after this: what was not looked at before is looked at now.
    pub(crate) fn of_these(&self, read: &[PathBuf]) -> Seen {
        let stamp = |file: &PathBuf| self.0.get(file).copied().unwrap_or_else(|| Stamp::of(file));
        Seen(read.iter().map(|file| (file.clone(), stamp(file))).collect())
    }
}

/// What changes when a file does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: (u64, u64),
    len: u64,
    modified: Option<SystemTime>,
    /// Nobody can set this one back.
    changed: (i64, i64),
}

impl Stamp {
    fn of(file: &Path) -> Option<Stamp> {
        std::fs::metadata(file).ok().map(Stamp::from)
    }
}

impl From<Metadata> for Stamp {
    fn from(found: Metadata) -> Self {
        Stamp {
            inode: (found.dev(), found.ino()),
            len: found.len(),
            modified: found.modified().ok(),
            changed: (found.ctime(), found.ctime_nsec()),
        }
    }
}

/// `Inotify` as something with a raw descriptor.
#[derive(Debug, Clone)]
struct Descriptor(Arc<Inotify>);

impl std::os::fd::AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        use std::os::fd::AsFd as _;
        self.0.as_fd().as_raw_fd()
    }
}

impl FileWatch {
    /// Watches what was read; a change since then counts. Must be called within the runtime.
    pub(crate) fn new(layers: Layers, read: Seen) -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        let inotify = watch(Descriptor(Arc::new(inotify)), Interest::READABLE)?;
        let layers = Arc::new(layers);
        let (wanted, looking) = (Wanted::new(), None);
        let mut watch = FileWatch { inotify, layers, wanted, seen: read, stirred: None, looking };
        watch.look();
        Ok(watch)
    }

    /// The files that the configuration consisted of when it was last read.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        self.seen.0.keys().cloned().collect()
    }

    /// It was read once more, and consists of these files now.
    pub(crate) fn follow(&mut self, read: Seen) {
        self.seen = read;
        self.look();
    }

    /// Ready when a file has changed, came or went. May be dropped and called again.
    pub(crate) async fn changed(&mut self) {
        loop {
            if let Some(looking) = &mut self.looking {
                let found = looking.await;
                self.looking = None;
                if let Ok((wanted, now)) = found
                    && self.found(wanted, now)
                {
                    return;
                }
            }
            self.quiet().await;
            self.look();
        }
    }

    /// Begins to look, and forgets what an earlier look will say.
    fn look(&mut self) {
        self.stirred = None;
        let (inotify, layers) = (self.inotify.get_ref().clone(), self.layers.clone());
        let files = self.files();
        self.looking = Some(tokio::task::spawn_blocking(move || look(&inotify.0, &layers, &files)));
    }

    /// Whether what was found is something else.
    fn found(&mut self, wanted: Wanted, now: Seen) -> bool {
        for gone in self.wanted.keys().filter(|folder| !wanted.contains_key(folder)) {
            let _ = self.inotify.get_ref().0.rm_watch(*gone);
        }
        self.wanted = wanted;
        let other = now != self.seen;
        self.seen = now;
        other
    }

    /// Waits until something has happened, and then for a moment in which nothing does.
    async fn quiet(&mut self) {
        loop {
            let Some((first, last)) = self.stirred else {
                self.event().await;
                let now = Instant::now();
                self.stirred = Some((now, now));
                continue;
            };
            let until = (last + QUIET).min(first + MAX_WAIT);
            match tokio::time::timeout_at(until, self.event()).await {
                Ok(()) if Instant::now() < until => self.stirred = Some((first, Instant::now())),
                _ => return,
            }
        }
    }

    /// Something has happened to a name that matters.
    async fn event(&self) {
        loop {
            let Ok(mut ready) = self.inotify.readable().await else {
                return std::future::pending().await;
            };
            match self.inotify.get_ref().0.read_events() {
                Ok(events) if events.iter().any(|event| self.matters(event)) => return,
                Ok(_) | Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => ready.clear_ready(),
                Err(error) => {
                    tracing::error!(%error, "changed files are noticed no more");
                    return std::future::pending().await;
                }
            }
        }
    }

    fn matters(&self, event: &InotifyEvent) -> bool {
        match self.wanted.get(&event.wd) {
            // Events were lost, or it is of a folder that is watched no more.
            None => event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW),
            Some(None) => true,
            // Without a name it is about the folder itself.
            Some(Some(names)) => event.name.as_ref().is_none_or(|name| names.contains(name)),
        }
    }
}

/// Watches whatever leads to the files, then looks at them: what happens in between happens twice.
fn look(inotify: &Inotify, layers: &Layers, others: &[PathBuf]) -> (Wanted, Seen) {
    let files = || layers.paths().into_iter().chain(others.iter().cloned());
    let mut wanted = Wanted::new();
    for path in files().chain(layers.folder()) {
        for (folder, name) in trail(&path) {
            want(inotify, &mut wanted, &folder, Some(name));
        }
    }
    if let Some(folder) = layers.folder() {
        want(inotify, &mut wanted, &folder, None);
    }
    (wanted, Seen::of(files()))
}

fn want(inotify: &Inotify, wanted: &mut Wanted, folder: &Path, name: Option<OsString>) {
    let what = AddWatchFlags::IN_CLOSE_WRITE
        | AddWatchFlags::IN_MOVED_TO
        | AddWatchFlags::IN_MOVED_FROM
        | AddWatchFlags::IN_DELETE
        | AddWatchFlags::IN_CREATE
        | AddWatchFlags::IN_ATTRIB
        | AddWatchFlags::IN_DELETE_SELF
        | AddWatchFlags::IN_MOVE_SELF
        | AddWatchFlags::IN_ONLYDIR;
    // One that is not there yet is noticed in the folder above. The same folder is the same watch,
    // and one that was made anew is another.
    let Ok(watch) = inotify.add_watch(folder, what) else { return };
    let names = wanted.entry(watch).or_insert_with(|| Some(HashSet::new()));
    match (name, names) {
        (Some(name), Some(names)) => drop(names.replace(name)),
        (Some(_), None) => {}
        (None, names) => *names = None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// A folder with a configuration, and what watches it.
    struct Place {
        folder: PathBuf,
        watch: FileWatch,
    }

    impl Place {
        fn new(name: &str, prepare: impl FnOnce(&Path)) -> Place {
            let name = format!("motegate-watch-{name}-{}", std::process::id());
            let folder = std::env::temp_dir().join(name);
            let _ = std::fs::remove_dir_all(&folder);
            std::fs::create_dir_all(&folder).unwrap();
            prepare(&folder);
            let layers = Layers::new().file(folder.join("motegate.yaml"));
            let seen = Seen::of(layers.paths());
            Place { watch: FileWatch::new(layers, seen).unwrap(), folder }
        }

        fn write(&self, name: &str, text: &str) {
            std::fs::write(self.folder.join(name), text).unwrap();
        }

        async fn changes(&mut self, what: &str) {
            let long = Duration::from_secs(20);
            let changed = tokio::time::timeout(long, self.watch.changed()).await;
            assert!(changed.is_ok(), "{what}");
        }

        async fn rests(&mut self, what: &str) {
            let changed = tokio::time::timeout(QUIET * 4, self.watch.changed()).await;
            assert!(changed.is_err(), "{what}");
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }

    fn plain(folder: &Path) {
        std::fs::write(folder.join("motegate.yaml"), "version: 1\n").unwrap();
    }

    #[tokio::test]
    async fn a_file_that_is_written_replaced_or_new_is_a_change_and_a_neighbour_is_none() {
        let mut place = Place::new("files", |folder| {
            plain(folder);
            std::fs::create_dir(folder.join("conf.d")).unwrap();
        });
        place.write("motegate.yaml", "version: 1\n# more\n");
        place.changes("written").await;
        place.write("new", "version: 1\n# other\n");
        std::fs::rename(place.folder.join("new"), place.folder.join("motegate.yaml")).unwrap();
        place.changes("replaced").await;
        place.write("conf.d/a.yaml", "log: {level: info}\n");
        place.changes("new in conf.d").await;
        place.write("neighbour", "x");
        place.write("conf.d/.b.yaml.swp", "x");
        place.write("conf.d/b.yaml~", "x");
        place.rests("a neighbour is none").await;
        std::fs::remove_file(place.folder.join("motegate.yaml")).unwrap();
        place.changes("removed").await;
    }

    #[tokio::test]
    async fn a_folder_that_is_made_later_or_anew_is_watched() {
        let mut place = Place::new("anew", plain);
        place.rests("nothing has happened").await;
        for round in ["made", "made anew"] {
            std::fs::create_dir(place.folder.join("conf.d")).unwrap();
            place.rests("an empty folder is no change").await;
            place.write("conf.d/a.yaml", "log: {level: info}\n");
            place.changes(round).await;
            place.write("conf.d/a.yaml", "log: {level: debug}\n");
            place.changes(round).await;
            std::fs::remove_dir_all(place.folder.join("conf.d")).unwrap();
            place.changes("removed").await;
        }
    }

    #[tokio::test]
    async fn links_are_followed_to_their_end() {
        let mut place = Place::new("links", |folder| {
            std::fs::create_dir_all(folder.join("real/conf.d")).unwrap();
            std::fs::write(folder.join("real/motegate.yaml"), "version: 1\n").unwrap();
            std::fs::write(folder.join("real/x.yaml"), "version: 1\n").unwrap();
            symlink("real/motegate.yaml", folder.join("motegate.yaml")).unwrap();
            symlink("real/conf.d", folder.join("conf.d")).unwrap();
            symlink("../x.yaml", folder.join("real/conf.d/x.yaml")).unwrap();
        });
        place.write("real/motegate.yaml", "version: 1\n# more\n");
        place.changes("behind a link").await;
        place.write("real/x.yaml", "version: 1\n# more\n");
        place.changes("behind a link in conf.d, which is one itself").await;
        std::fs::rename(place.folder.join("real"), place.folder.join("old")).unwrap();
        place.changes("the folder is away").await;
        std::fs::rename(place.folder.join("old"), place.folder.join("real")).unwrap();
        place.changes("and back").await;
    }

    /// As the volumes of Kubernetes change: one link is replaced, everything leads through it.
    #[tokio::test]
    async fn a_link_that_is_swapped_is_a_change() {
        let mut place = Place::new("swap", |folder| {
            for (version, text) in [("..1", "version: 1\n"), ("..2", "version: 1\n# two\n")] {
                std::fs::create_dir(folder.join(version)).unwrap();
                std::fs::write(folder.join(version).join("motegate.yaml"), text).unwrap();
            }
            symlink("..1", folder.join("..data")).unwrap();
            symlink("..data/motegate.yaml", folder.join("motegate.yaml")).unwrap();
        });
        for version in ["..2", "..1"] {
            symlink(version, place.folder.join("..tmp")).unwrap();
            std::fs::rename(place.folder.join("..tmp"), place.folder.join("..data")).unwrap();
            place.changes(version).await;
        }
    }

    #[tokio::test]
    async fn a_busy_folder_delays_a_change_but_does_not_hide_it() {
        let mut place = Place::new("busy", |folder| {
            plain(folder);
            std::fs::create_dir(folder.join("conf.d")).unwrap();
        });
        place.rests("nothing has happened").await;
        place.write("motegate.yaml", "version: 1\n# more\n");
        let folder = place.folder.clone();
        let busy = async move {
            loop {
                std::fs::write(folder.join("log"), "x").unwrap();
                std::fs::write(folder.join("conf.d/log"), "x").unwrap();
                tokio::time::sleep(QUIET / 4).await;
            }
        };
        tokio::select! {
            () = busy => {}
            () = place.changes("noticed all the same") => {}
        }
    }

    /// A file that a value comes from is not in any folder that is listed.
    #[tokio::test]
    async fn what_the_files_speak_of_is_followed() {
        let mut place = Place::new("spoken", plain);
        place.rests("nothing has happened").await;
        let secret = place.folder.join("keys/secret");
        let main = place.folder.join("motegate.yaml");
        place.watch.follow(Seen::default().of_these(&[main.clone(), secret.clone()]));
        place.rests("it is not there yet").await;
        std::fs::create_dir(place.folder.join("keys")).unwrap();
        std::fs::write(&secret, "x").unwrap();
        place.changes("it came").await;
        place.watch.follow(Seen::of([main]));
        std::fs::write(&secret, "y").unwrap();
        place.rests("nobody speaks of it any more").await;
    }
}
