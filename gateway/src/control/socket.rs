//! The control socket's file: where it is, that only its owner can open it, and that it is gone
//! when the gateway is.
//!
//! The file has mode 0600 from its first moment, whatever the umask: Linux creates it with the
//! mode that the socket has before `bind`. A file that a dead gateway left is replaced, one that
//! answers is not. Two gateways that start at once take turns by a lock on the directory.

use std::fs::{DirBuilder, File, TryLockError};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{
    DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _,
};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use motegate_core::Protocol;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::setup::Bind;

/// The socket's name in a data directory.
const NAME: &str = "control.sock";
/// What the socket of `motegate dev` is called: by its MQTT port, so that several can run.
const DEV_PREFIX: &str = "dev-";
const DEV_SUFFIX: &str = ".sock";
/// Sockets of `motegate dev` that are looked at.
const MAX_DEV: usize = 256;
/// How long another start in the same directory is waited for.
const LOCK_TRIES: u32 = 40;
const LOCK_PAUSE: Duration = Duration::from_millis(50);
/// Connections that wait to be accepted.
const BACKLOG: i32 = 64;

/// Where a gateway's control interface listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ControlPlace {
    /// `control.sock` in this directory, which is made (mode 0700) if it is not there.
    Directory(PathBuf),
    /// `dev-PORT.sock` (the port is that of the first MQTT listener) in `$XDG_RUNTIME_DIR/motegate`,
    /// or in `motegate-UID` among the temporary files: for a gateway that has no directory.
    Runtime,
}

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// A gateway answers there.
    #[error("another gateway answers at {}: give this one a `data_dir` of its own", .0.display())]
    InUse(PathBuf),
    /// Something else lies there.
    #[error("{} is there and is no socket: move it away", .0.display())]
    NoSocket(PathBuf),
    /// A directory that others may write to, or that is somebody else's.
    #[error("{} is not this user's own directory (mode 0700)", .0.display())]
    Unsafe(PathBuf),
    /// Longer than a socket's name may be.
    #[error("{} is longer than the 107 bytes that a socket's path may have", .0.display())]
    TooLong(PathBuf),
    /// What the system said.
    #[error("{}: {source}", path.display())]
    System {
        /// Of what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl ControlError {
    fn at(path: &Path) -> impl FnOnce(io::Error) -> ControlError {
        move |source| ControlError::System { path: path.to_owned(), source }
    }
}

/// A bound socket; its file goes with it.
#[derive(Debug)]
pub(crate) struct ControlSocket {
    pub(crate) listener: UnixListener,
    pub(crate) file: SocketFile,
}

/// The file of a bound socket, removed with this value, unless it is another's by then.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    made: Made,
}

/// Which file it is: device, inode, and when it was made, as inodes are used again.
type Made = (u64, u64, i64, i64);

fn made(found: &std::fs::Metadata) -> Made {
    (found.dev(), found.ino(), found.mtime(), found.mtime_nsec())
}

impl SocketFile {
    /// Of the socket that was bound there just now.
    pub(crate) fn new(path: &Path) -> io::Result<SocketFile> {
        let made = made(&std::fs::symlink_metadata(path)?);
        Ok(SocketFile { path: path.to_owned(), made })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl SocketFile {
    /// Takes the file away. Best while the socket still answers: a gateway that starts right now
    /// leaves it alone then, and does not put its own in its place.
    pub(crate) fn remove(&self) {
        let found = std::fs::symlink_metadata(&self.path);
        if found.is_ok_and(|found| made(&found) == self.made) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        self.remove();
    }
}

impl ControlPlace {
    /// Opens the socket of a gateway that listens on `bound`.
    pub(crate) fn open(&self, bound: &[Bind]) -> Result<ControlSocket, ControlError> {
        match self {
            ControlPlace::Directory(directory) => {
                make(directory).map_err(ControlError::at(directory))?;
                let _turn = lock(directory)?;
                bind(directory.join(NAME))
            }
            ControlPlace::Runtime => {
                let directory = runtime_directory();
                make(&directory).map_err(ControlError::at(&directory))?;
                own(&directory)?;
                let _turn = lock(&directory)?;
                for stale in dev_sockets(&directory).filter(|path| is_stale(path)) {
                    let _ = std::fs::remove_file(stale);
                }
                bind(directory.join(dev_name(bound)))
            }
        }
    }
}

/// The socket that a gateway with this data directory listens on.
pub(crate) fn in_directory(directory: &Path) -> PathBuf {
    directory.join(NAME)
}

/// The sockets of this user's running `motegate dev`, the one on MQTT's usual port first.
pub(crate) fn running_dev() -> Vec<PathBuf> {
    let directory = runtime_directory();
    if own(&directory).is_err() {
        return Vec::new();
    }
    let mut found: Vec<PathBuf> = dev_sockets(&directory).filter(|path| answers(path)).collect();
    found.sort();
    let usual = directory.join(format!("{DEV_PREFIX}1883{DEV_SUFFIX}"));
    if found.contains(&usual) {
        return vec![usual];
    }
    found
}

/// Where the sockets of `motegate dev` are.
pub(crate) fn runtime_directory() -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR").filter(|value| !value.is_empty()) {
        Some(directory) => PathBuf::from(directory).join("motegate"),
        None => std::env::temp_dir().join(format!("motegate-{}", user())),
    }
}

/// Whether a gateway listens there.
pub(crate) fn answers(path: &Path) -> bool {
    UnixStream::connect(path).is_ok()
}

fn user() -> u32 {
    std::fs::metadata("/proc/self").map_or(0, |own| own.uid())
}

fn dev_name(bound: &[Bind]) -> String {
    let mqtt = bound.iter().find(|bind| bind.protocol == Protocol::Mqtt).or(bound.first());
    let port = mqtt.and_then(|bind| bind.addr.port()).unwrap_or(0);
    format!("{DEV_PREFIX}{port}{DEV_SUFFIX}")
}

fn dev_sockets(directory: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let name = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.starts_with(DEV_PREFIX) && name.ends_with(DEV_SUFFIX))
    };
    entries.map(|entry| entry.path()).filter(name).take(MAX_DEV)
}

fn make(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

/// A directory among everybody's temporary files may be somebody's trap.
fn own(directory: &Path) -> Result<(), ControlError> {
    let found = std::fs::symlink_metadata(directory).map_err(ControlError::at(directory))?;
    let safe = found.is_dir() && found.uid() == user() && found.mode() & 0o022 == 0;
    if safe { Ok(()) } else { Err(ControlError::Unsafe(directory.to_owned())) }
}

/// A turn of looking for a stale file, removing it and binding.
fn lock(directory: &Path) -> Result<File, ControlError> {
    let file = File::open(directory).map_err(ControlError::at(directory))?;
    for _ in 0..LOCK_TRIES {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            // A file system without locks: it is rare that two start at once.
            Ok(()) | Err(TryLockError::Error(_)) => break,
        }
    }
    Ok(file)
}

/// Whether this is the socket of a gateway that is gone.
pub(crate) fn is_stale(path: &Path) -> bool {
    let socket = std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    socket && UnixStream::connect(path).is_err_and(refused)
}

fn bind(path: PathBuf) -> Result<ControlSocket, ControlError> {
    match std::fs::symlink_metadata(&path) {
        Ok(found) if !found.file_type().is_socket() => return Err(ControlError::NoSocket(path)),
        Ok(_) if is_stale(&path) => {
            std::fs::remove_file(&path).map_err(ControlError::at(&path))?;
        }
        Ok(_) => return Err(ControlError::InUse(path)),
        Err(_) => {}
    }
    let address = SockAddr::unix(&path).map_err(|_| ControlError::TooLong(path.clone()))?;
    let open = || {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        // Before `bind`: the file begins with what of this mode the umask leaves.
        let socket = File::from(OwnedFd::from(socket));
        socket.set_permissions(std::fs::Permissions::from_mode(0o600))?;
        let socket = Socket::from(OwnedFd::from(socket));
        socket.bind(&address)?;
        let made = made(&std::fs::symlink_metadata(&path)?);
        let file = SocketFile { path: path.clone(), made };
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        Ok(ControlSocket { listener: UnixListener::from(OwnedFd::from(socket)), file })
    };
    open().map_err(ControlError::at(&path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(name: &str) -> PathBuf {
        let name = format!("motegate-socket-{name}-{}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&directory);
        directory
    }

    fn mode(path: &Path) -> u32 {
        std::fs::symlink_metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn only_the_owner_opens_it_and_it_goes_with_the_gateway() {
        let directory = directory("mode");
        let place = ControlPlace::Directory(directory.join("deep"));
        let socket = place.open(&[]).unwrap();
        let path = socket.file.path().to_owned();
        assert_eq!(path, directory.join("deep/control.sock"));
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert!(answers(&path));
        drop(socket);
        assert!(!path.exists());
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_dead_ones_file_is_replaced_and_a_live_ones_is_not() {
        let directory = directory("stale");
        let place = ControlPlace::Directory(directory.clone());
        let first = place.open(&[]).unwrap();
        let error = place.open(&[]).unwrap_err();
        assert!(matches!(&error, ControlError::InUse(path) if path == first.file.path()));
        assert!(error.to_string().contains("control.sock"), "{error}");
        // The gateway is killed: its file stays.
        let ControlSocket { listener, file } = first;
        drop(listener);
        let second = place.open(&[]).unwrap();
        drop(file);
        assert!(answers(second.file.path()), "the dead one's end does not remove it");
        drop(second);
        std::fs::write(directory.join(NAME), "").unwrap();
        assert!(matches!(place.open(&[]), Err(ControlError::NoSocket(_))));
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_path_that_is_too_long_is_called_so() {
        let directory = directory(&"x".repeat(100));
        let error = ControlPlace::Directory(directory.clone()).open(&[]).unwrap_err();
        assert!(matches!(error, ControlError::TooLong(_)), "{error}");
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_directory_that_others_write_to_is_not_trusted() {
        let directory = directory("trap");
        make(&directory).unwrap();
        assert!(own(&directory).is_ok());
        std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(own(&directory), Err(ControlError::Unsafe(_))));
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_dev_gateway_is_called_by_its_mqtt_port() {
        let bind = |protocol, port| Bind {
            name: "x".into(),
            protocol,
            addr: std::net::SocketAddr::from(([127, 0, 0, 1], port)).into(),
            transport: Default::default(),
        };
        let bound = [bind(Protocol::Coap, 5683), bind(Protocol::Mqtt, 4001)];
        assert_eq!(dev_name(&bound), "dev-4001.sock");
        assert_eq!(dev_name(&bound[..1]), "dev-5683.sock");
    }
}
