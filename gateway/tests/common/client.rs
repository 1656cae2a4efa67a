//! The client commands as child processes, and peers that are none.

use std::io::Read as _;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::mpsc::Receiver;

use super::{PATIENCE, lines, motegate};

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs a command line (split at spaces) to its end.
pub(crate) fn said(line: &str) -> Said {
    said_words(&line.split(' ').collect::<Vec<_>>())
}

/// The same with arguments that hold spaces.
pub(crate) fn said_words(arguments: &[&str]) -> Said {
    let output = motegate(arguments).output().expect("the program runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Said { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// The same with something on stdin.
pub(crate) fn said_with_stdin(line: &str, stdin: &str) -> Said {
    let mut command = motegate(&line.split(' ').collect::<Vec<_>>());
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut pipe = child.stdin.take().expect("piped");
    std::io::Write::write_all(&mut pipe, stdin.as_bytes()).expect("it reads");
    drop(pipe);
    let output = child.wait_with_output().expect("it ends");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Said { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

impl Said {
    /// The end was good; stdout.
    #[track_caller]
    pub(crate) fn good(self) -> String {
        assert_eq!(self.code, Some(0), "{}", self.err);
        self.out
    }

    /// It failed with this code, nothing on stdout, and these words on stderr.
    #[track_caller]
    pub(crate) fn bad(self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{}{}", self.out, self.err);
        assert_eq!(self.out, "");
        for word in words {
            assert!(self.err.contains(word), "`{word}` is not in\n{}", self.err);
        }
    }
}

/// A command that goes on in the background.
pub(crate) struct Running {
    child: Child,
    talk: Receiver<String>,
}

impl Running {
    /// Started, and it has said a line with this word.
    pub(crate) fn until(word: &str, line: &str) -> Running {
        let mut command = motegate(&line.split(' ').collect::<Vec<_>>());
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let running = Running { talk: lines(child.stderr.take().expect("piped")), child };
        running.says(word);
        running
    }

    /// Waits for a line with this word on stderr.
    #[track_caller]
    pub(crate) fn says(&self, word: &str) {
        loop {
            let line = self.talk.recv_timeout(PATIENCE).expect("it says so");
            if line.contains(word) {
                return;
            }
        }
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let kill = std::process::Command::new("kill").args([&format!("-{name}"), &pid]).status();
        assert!(kill.expect("kill runs").success());
    }

    /// Its exit code and stdout, at its end.
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        let mut out = String::new();
        let mut pipe = self.child.stdout.take().expect("piped");
        pipe.read_to_string(&mut out).expect("text");
        (self.child.wait().expect("it ends").code(), out)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A gateway by a configuration.
pub(crate) struct Configured {
    child: Child,
    /// Protocol and name of each.
    listeners: Vec<(String, String, SocketAddr)>,
    pub(crate) directory: PathBuf,
    /// Its log after its start; whose log nobody takes cannot say its last words.
    log: Option<Receiver<String>>,
}

impl Configured {
    /// One that takes nobody.
    pub(crate) fn closed(name: &str) -> Configured {
        let listener = |protocol| format!("  - {{protocol: {protocol}, bind: \"127.0.0.1:0\"}}\n");
        let listeners = ["mqtt", "mqttsn", "coap"].map(listener).concat();
        Configured::start(name, &format!("version: 1\nlisteners:\n{listeners}"))
    }

    pub(crate) fn start(name: &str, text: &str) -> Configured {
        Configured::start_with(name, text, &["run"])
    }

    /// The same with arguments of its own.
    pub(crate) fn start_with(name: &str, text: &str, arguments: &[&str]) -> Configured {
        Configured::start_command(name, text, motegate(arguments))
    }

    /// The same by a command that ends in one.
    pub(crate) fn start_command(
        name: &str,
        text: &str,
        mut command: std::process::Command,
    ) -> Configured {
        // It makes its data directory where it runs.
        let directory = format!("motegate-client-{name}-{}", std::process::id());
        let directory = std::env::temp_dir().join(directory);
        std::fs::create_dir_all(&directory).expect("a directory");
        std::fs::write(directory.join("motegate.yaml"), text).expect("it writes");
        command.current_dir(&directory);
        let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        let child = child.expect("it starts");
        let mut gateway = Configured { child, listeners: Vec::new(), directory, log: None };
        let log = lines(gateway.child.stderr.take().expect("piped"));
        loop {
            let line = log.recv_timeout(PATIENCE).expect("it says that it is ready");
            let Ok(entry) = serde_json::from_str::<serde_json::Value>(&line) else { continue };
            if let (Some(proto), Some(addr)) = (entry["proto"].as_str(), entry["addr"].as_str())
                && let Ok(addr) = addr.parse()
            {
                let name = entry["listener"].as_str().unwrap_or_default().to_owned();
                gateway.listeners.push((proto.to_owned(), name, addr));
            }
            if entry["message"] == "ready" {
                gateway.log = Some(log);
                return gateway;
            }
        }
    }

    pub(crate) fn address(&self, protocol: &str) -> SocketAddr {
        let found = self.listeners.iter().find(|(name, ..)| name == protocol);
        found.expect("it listens for this protocol").2
    }

    /// That of a listener by its name.
    pub(crate) fn address_of(&self, listener: &str) -> SocketAddr {
        let found = self.listeners.iter().find(|(_, name, _)| name == listener);
        found.expect("it has this listener").2
    }

    /// Asks it to stop.
    pub(crate) fn stop(&self) {
        let pid = self.child.id().to_string();
        let kill = std::process::Command::new("kill").args(["-TERM", &pid]).status();
        assert!(kill.expect("kill runs").success());
    }

    /// Waits for a line with this word in its log.
    #[track_caller]
    pub(crate) fn says(&self, word: &str) -> String {
        let log = self.log.as_ref().expect("nobody else takes it");
        loop {
            let line = log.recv_timeout(PATIENCE).expect("it says so");
            if line.contains(word) {
                return line;
            }
        }
    }

    /// What `motegate status` knows.
    pub(crate) fn status(&self) -> serde_json::Value {
        let mut command = motegate(&["status", "-o", "json"]);
        command.current_dir(&self.directory).env("XDG_RUNTIME_DIR", &self.directory);
        let output = command.env_remove("MOTEGATE_CONTROL").output().expect("the program runs");
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let kill = std::process::Command::new("kill").args([&format!("-{name}"), &pid]).status();
        assert!(kill.expect("kill runs").success());
    }

    /// Its exit code; it must end within this time.
    pub(crate) fn ended(&mut self, within: std::time::Duration) -> Option<i32> {
        for _ in 0..within.as_millis() / 20 {
            if let Some(status) = self.child.try_wait().expect("it is ours") {
                return status.code();
            }
            std::thread::sleep(std::time::Duration::from_millis(20)); // between two looks
        }
        panic!("it does not end");
    }
}

impl Drop for Configured {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// A UDP port where somebody is who says nothing.
pub(crate) fn silent_udp() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let addr = socket.local_addr().expect("it has one");
    (socket, addr)
}

/// A TCP port that accepts and says nothing.
pub(crate) fn silent_tcp() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = listener.local_addr().expect("it has one");
    (listener, addr)
}

/// A port where nobody is.
pub(crate) fn closed_udp() -> SocketAddr {
    silent_udp().1
}

/// A port where nobody is.
pub(crate) fn closed_tcp() -> SocketAddr {
    silent_tcp().1
}
