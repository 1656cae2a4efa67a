//! The mosquitto broker on a port and with a store of its own, and its three clients.
//!
//! [`Mosquitto::kill`] is `SIGKILL`: what the broker had not written is lost. mosquitto acknowledges
//! before it writes, so a test of what survives puts [`Mosquitto::stored`] in front of its answers:
//! they then reach the client when all that they acknowledge is in the file.
#![allow(clippy::disallowed_types)] // a lock between a test and its threads, none of the program's
#![allow(clippy::disallowed_methods)] // a test harness has a clock of its own: real processes run in real time

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};

use crate::gateway::scratch;
use crate::peer::{MESSAGE, program, system_program};
use crate::process::{DEADLINE, Process};

/// Ports that are tried: another process may take a free one first.
const ATTEMPTS: usize = 10;

/// A running broker; dropped, it is killed and its files are gone.
#[derive(Debug)]
pub struct Mosquitto {
    /// Where it speaks MQTT over TCP.
    pub address: SocketAddr,
    /// Where it speaks MQTT over a Unix domain socket.
    pub socket: PathBuf,
    directory: PathBuf,
    process: Option<Process>,
    running: Running,
    /// Lines of its configuration beside ours.
    more: String,
}

/// The process id, while there is a process of that id which is ours.
#[derive(Debug, Clone, Default)]
struct Running(Arc<Mutex<Option<Pid>>>);

impl Running {
    fn lock(&self) -> MutexGuard<'_, Option<Pid>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Mosquitto {
    /// Starts one with an empty store.
    ///
    /// # Panics
    /// If it is not installed or does not come up.
    pub fn start() -> Mosquitto {
        Mosquitto::with("")
    }

    /// The same with more lines in its configuration.
    ///
    /// # Panics
    /// As [`start`](Mosquitto::start).
    pub fn with(more: &str) -> Mosquitto {
        let directory = scratch("mosquitto");
        let mut broker = Mosquitto {
            address: (Ipv4Addr::LOCALHOST, 0).into(),
            socket: directory.join("socket"),
            directory,
            process: None,
            running: Running::default(),
            more: more.to_owned(),
        };
        for _ in 0..ATTEMPTS {
            let free = TcpListener::bind(broker.address).and_then(|port| port.local_addr());
            let address = free.expect("loopback has a free port");
            if broker.launch(address) {
                broker.address = address;
                return broker;
            }
        }
        panic!("mosquitto found no free port");
    }

    /// Kills it without a warning and waits for its end.
    ///
    /// # Panics
    /// If it does not run.
    pub fn kill(&mut self) {
        // Nobody may signal a process id that the system may give to another.
        *self.running.lock() = None;
        drop(self.process.take().expect("the broker runs"));
    }

    /// Starts it again, on the same port and with the same store.
    ///
    /// # Panics
    /// If it does not come up.
    pub fn restart(&mut self) {
        assert!(self.launch(self.address), "the port of the killed broker is taken");
    }

    /// A gate for the broker's answers: waits until a store that was written after the call is on
    /// the disk; `false` if the broker died before. One thread alone runs mosquitto, so what it
    /// had answered is in every store that it begins to write afterwards.
    pub fn stored(&self) -> impl Fn() -> bool + Send + Sync + 'static {
        let (running, file) = (self.running.clone(), self.directory.join("mosquitto.db"));
        move || {
            // A broker that has taken its place knows nothing of this answer.
            let Some(broker) = *running.lock() else { return false };
            let inode = || file.metadata().map(|file| file.ino()).ok();
            let (before, deadline) = (inode(), Instant::now() + DEADLINE);
            // The new store is written beside the old one and takes its name when it is complete.
            // SIGUSR1 begins one; repeated, because two signals may become one.
            while Instant::now() < deadline {
                let now = running.lock();
                if *now != Some(broker) || kill(broker, Signal::SIGUSR1).is_err() {
                    return false;
                }
                drop(now);
                for _ in 0..50 {
                    if inode().is_some_and(|now| Some(now) != before) {
                        return *running.lock() == Some(broker);
                    }
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            false
        }
    }

    /// Its process, for the lines that it logs.
    ///
    /// # Panics
    /// If it does not run.
    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("the broker runs")
    }

    /// A file that goes when the broker goes.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn file(&self, name: &str, contents: &[u8]) -> PathBuf {
        let path = self.directory.join(name);
        std::fs::write(&path, contents).expect("the scratch directory is ours");
        path
    }

    /// mosquitto_sub, subscribed when this returns; messages are lines of the form [`MESSAGE`].
    pub fn sub(&self, arguments: &[&str]) -> Process {
        let mut process = Process::start(self.client("mosquitto_sub", arguments));
        process.wait_for_text("Subscribed (mid:");
        process
    }

    /// mosquitto_pub, to its successful end; its lines.
    pub fn publish(&self, arguments: &[&str]) -> Vec<String> {
        Process::start(self.client("mosquitto_pub", arguments)).succeed()
    }

    /// One of its clients, ready to be started, with debug lines.
    pub fn client(&self, name: &str, arguments: &[&str]) -> Command {
        client(name, self.address, arguments)
    }

    /// `false`: the port was taken.
    fn launch(&mut self, address: SocketAddr) -> bool {
        let file = self.directory.join("mosquitto.conf");
        std::fs::write(&file, self.configuration(address)).expect("the scratch directory is ours");
        let mut command = system_program("mosquitto", "mosquitto");
        command.arg("-c").arg(&file);
        let mut process = Process::start(command);
        let line = process.wait_for("line that it runs", |line| {
            line.contains(" running") || line.contains("Address already in use")
        });
        if !line.contains(" running") {
            return false;
        }
        let pid = i32::try_from(process.id()).expect("process ids are small");
        *self.running.lock() = Some(Pid::from_raw(pid));
        self.process = Some(process);
        true
    }

    /// Nothing is dropped for want of room: what is lost was lost by somebody else.
    fn configuration(&self, address: SocketAddr) -> String {
        // As root it would become a user who may not write here.
        let user = if Uid::effective().is_root() { "user root\n" } else { "" };
        format!(
            "{user}allow_anonymous true\nlistener {} {}\nlistener 0 {}\npersistence true\n\
             persistence_location {}/\nmax_queued_messages 0\nlog_dest stderr\n{}",
            address.port(),
            address.ip(),
            self.socket.display(),
            self.directory.display(),
            self.more
        )
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        *self.running.lock() = None;
        self.process = None;
        // Left behind in the system's temporary folder at worst.
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// `mosquitto_pub`, `mosquitto_sub` or `mosquitto_rr` towards any broker, with debug lines.
pub fn client(name: &str, broker: SocketAddr, arguments: &[&str]) -> Command {
    let mut command = program(name, "mosquitto-clients");
    command.args(["-h", &broker.ip().to_string(), "-p", &broker.port().to_string(), "-d"]);
    if name != "mosquitto_pub" && !arguments.contains(&"-F") {
        command.args(["-F", MESSAGE]);
    }
    command.args(arguments);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A retained message that was acknowledged behind the gate is there after the kill.
    #[test]
    fn what_is_stored_survives_a_kill() {
        let mut broker = Mosquitto::start();
        broker.publish(&["-q", "1", "-r", "-t", "kept", "-m", "yes"]);
        assert!(broker.stored()());
        let gate = broker.stored();
        broker.kill();
        assert!(!gate(), "nobody stores anything");
        broker.restart();
        let mut sub = broker.sub(&["-t", "kept", "-C", "1"]);
        sub.wait_for_text("> kept q0 r1 yes");
    }
}
