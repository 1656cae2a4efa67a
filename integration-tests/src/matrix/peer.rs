//! The peers and the language in which they are spoken to.
//!
//! A command is a JSON object on one line: `client` (a name that the test gives), `do`, and what
//! that needs. An event is one too: `client`, `event` and what belongs to it.
//!
//! | `do` | with | events that follow |
//! |---|---|---|
//! | `connect` | `id`, `version`, `transport`, `clean`, `keep_alive`, `will`, `properties`, `user`, `password`, `reconnect` | `connected` with `code`, `session_present`, `properties` |
//! | `subscribe` | `filter`, `qos`, `no_local`, `retain_as_published`, `retain_handling`, `properties` | `subscribed` with `codes` |
//! | `unsubscribe` | `filter` | `unsubscribed` |
//! | `publish` | `topic`, `payload`, `qos`, `retain`, `properties` | `published` with `code`, when it is acknowledged |
//! | `lines` | `topic`, `lines`, `qos` | `published` with `code` for each line; mosquitto alone |
//! | `request` | `topic`, `answer`, `payload`, `qos`, `properties` | `answered` with `payload`; mosquitto alone |
//! | `disconnect` | `code`, `properties` | `closed` |
//! | `kill` | | `closed`; the connection is broken without a goodbye |
//!
//! With `reconnect` a client connects again whenever its connection is `lost`. `message` comes by itself (`topic`, `payload`, `qos`, `retain`, `dup`, `properties`), `closed` too
//! when it was not asked for, and `failed` with `text` says that a command could not be carried out.
//! Properties have the names of the specification in `snake_case`.
#![allow(clippy::disallowed_methods)] // a test harness has a clock of its own: real processes run in real time

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Outcome;
use crate::peer::{from_environment, from_venv, program, repository};
use crate::process::Process;

/// How long an event may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(15);

/// Whose client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Make {
    /// `mosquitto_pub`, `mosquitto_sub` and `mosquitto_rr`.
    Mosquitto,
    /// paho-mqtt 1.x.
    Paho1,
    /// paho-mqtt 2.x.
    Paho2,
    /// MQTT.js.
    MqttJs,
    /// rumqttc.
    Rumqttc,
}

/// A version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Version {
    /// 3.1, level 3.
    V31,
    /// 3.1.1, level 4.
    V311,
    /// 5.0, level 5.
    V5,
}

/// What carries the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// TLS on TCP.
    Tls,
    /// WebSocket on TCP.
    Ws,
    /// WebSocket on TLS.
    Wss,
    /// A Unix domain socket.
    Unix,
}

impl Make {
    /// All of them.
    pub const ALL: [Make; 5] =
        [Make::Mosquitto, Make::Paho1, Make::Paho2, Make::MqttJs, Make::Rumqttc];

    /// The versions that it speaks.
    pub fn versions(self) -> &'static [Version] {
        match self {
            Make::Rumqttc => &[Version::V311, Version::V5],
            _ => &[Version::V31, Version::V311, Version::V5],
        }
    }

    /// The transports that it knows.
    pub fn transports(self) -> &'static [Transport] {
        use Transport::{Tcp, Tls, Unix, Ws, Wss};
        match self {
            // --ws came with 2.1, which Debian does not have yet.
            Make::Mosquitto => &[Tcp, Tls, Unix],
            Make::Paho1 => &[Tcp, Tls, Ws, Wss],
            _ => &[Tcp, Tls, Ws, Wss, Unix],
        }
    }

    fn command(self) -> Command {
        match self {
            Make::Mosquitto => {
                for name in ["mosquitto_pub", "mosquitto_sub", "mosquitto_rr"] {
                    program(name, "mosquitto-clients");
                }
                python(from_venv("python3"), "mosquitto_peer.py")
            }
            Make::Paho1 => python(from_environment("venv-paho-1", "python3"), "paho_peer.py"),
            Make::Paho2 => python(from_venv("python3"), "paho_peer.py"),
            Make::MqttJs => node("mqtt", "mqttjs_peer.js"),
            Make::Rumqttc => Command::new(rumqttc()),
        }
    }
}

/// A file of `integration-tests/peers`.
fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers").join(name)
}

/// A script for this Python.
pub(crate) fn python(mut command: Command, name: &str) -> Command {
    command.arg(script(name)).env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// A script for Node that needs a package.
///
/// # Panics
/// If that is not installed.
pub(crate) fn node(package: &str, name: &str) -> Command {
    let modules = repository().join("target/peers/node/node_modules");
    let wanted = modules.join(package);
    let shown = wanted.display();
    assert!(wanted.is_dir(), "{shown} is missing; install it with: ./integration-tests/run");
    let mut command = program("node", "nodejs");
    command.env("MOTEGATE_NODE_MODULES", modules).arg(script(name));
    command
}

/// The program `peer-rumqttc` beside this test executable.
fn rumqttc() -> PathBuf {
    let test = std::env::current_exe().expect("a running program has a path");
    let folders = test.ancestors().skip(1).take(2);
    let mut candidates = folders.map(|folder| folder.join("peer-rumqttc"));
    candidates
        .find(|path| path.is_file())
        .expect("peer-rumqttc is not built; build it with: cargo build -p motegate-tests --bins")
}

impl fmt::Display for Make {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Make::Mosquitto => "mosquitto",
            Make::Paho1 => "paho 1.x",
            Make::Paho2 => "paho 2.x",
            Make::MqttJs => "MQTT.js",
            Make::Rumqttc => "rumqttc",
        })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Version::V31 => "3.1",
            Version::V311 => "3.1.1",
            Version::V5 => "5",
        })
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Transport::Tcp => "tcp",
            Transport::Tls => "tls",
            Transport::Ws => "ws",
            Transport::Wss => "wss",
            Transport::Unix => "unix",
        })
    }
}

/// A process that makes clients.
#[derive(Debug)]
pub struct Peer {
    process: Process,
    /// Events by client that nobody has asked for yet.
    waiting: HashMap<String, VecDeque<Value>>,
}

impl Peer {
    /// Starts one.
    ///
    /// # Panics
    /// If it is not installed or does not come up.
    pub fn start(make: Make) -> Peer {
        Peer::of(make.command())
    }

    /// Starts any other that speaks the same way: `ready` first, then an event a line.
    ///
    /// # Panics
    /// As [`start`](Peer::start).
    pub fn of(command: Command) -> Peer {
        let mut process = Process::start(command);
        process.wait_for_text(r#""ready""#);
        Peer { process, waiting: HashMap::new() }
    }

    /// Hands it a command.
    ///
    /// # Panics
    /// If it has ended.
    pub fn say(&mut self, client: &str, what: &str, mut command: Value) {
        command["client"] = client.into();
        command["do"] = what.into();
        self.process.say(&command.to_string());
    }

    /// The next event of this kind that a client has; others before it wait on.
    ///
    /// # Errors
    /// If it does not come, or the client failed or was closed meanwhile.
    pub fn event(&mut self, client: &str, kind: &str) -> Outcome<Value> {
        self.event_within(client, kind, PATIENCE)
    }

    /// The same of what may take so long.
    ///
    /// # Errors
    /// As [`event`](Peer::event).
    pub fn event_within(&mut self, client: &str, kind: &str, patience: Duration) -> Outcome<Value> {
        let deadline = Instant::now() + patience;
        loop {
            let events = self.waiting.entry(client.to_owned()).or_default();
            if let Some(at) = events.iter().position(|event| event["event"] == kind) {
                return Ok(events.remove(at).expect("it was found there"));
            }
            let end = events
                .iter()
                .find(|event| event["event"] == "failed" || event["event"] == "closed");
            if let Some(end) = end {
                return Err(format!("{client}: instead of {kind:?}: {end}"));
            }
            if !self.read(deadline) {
                let events = self.waiting.get(client);
                return Err(format!("{client}: no {kind:?}; it has {events:?}"));
            }
        }
    }

    /// Stops the whole process, as one that hangs, or lets it go on.
    pub fn hang(&self, hung: bool) {
        self.process.signal(if hung { "STOP" } else { "CONT" });
    }

    /// Forgets what a client had, whose name is used again.
    pub fn forget(&mut self, client: &str) {
        self.waiting.remove(client);
    }

    /// Whether a client has an event of this kind that was not taken, among those that are in.
    pub fn has(&self, client: &str, kind: &str) -> bool {
        self.waiting.get(client).is_some_and(|all| all.iter().any(|one| one["event"] == kind))
    }

    /// Takes one line in; false when the deadline passes first.
    fn read(&mut self, deadline: Instant) -> bool {
        let Some(line) = self.process.next_line(deadline) else { return false };
        // Anything else is a warning of a library, which the transcript keeps.
        if let Ok(event) = serde_json::from_str::<Value>(&line)
            && let Some(client) = event["client"].as_str()
        {
            self.waiting.entry(client.to_owned()).or_default().push_back(event);
        }
        true
    }
}
