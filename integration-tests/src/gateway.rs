//! The real `motegate` binary as a child process, on ports of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::Process;

/// The configuration file in its scratch directory.
const FILE: &str = "motegate.yaml";

/// A running gateway; dropped, it is killed.
#[derive(Debug)]
pub struct Gateway {
    /// None once it was handed out.
    process: Option<Process>,
    /// Where it speaks MQTT.
    pub mqtt: SocketAddr,
    /// Where it speaks MQTT-SN.
    pub mqtt_sn: SocketAddr,
    /// Where it speaks CoAP.
    pub coap: SocketAddr,
    /// Holds the configuration file, if there is one.
    directory: Option<PathBuf>,
}

impl Gateway {
    /// `motegate dev` on loopback, on ports that the system chose.
    ///
    /// # Panics
    /// If the binary is not built or does not come up.
    pub fn dev() -> Gateway {
        Gateway::dev_of(&binary())
    }

    /// The same with another build of the binary.
    ///
    /// # Panics
    /// As [`dev`](Gateway::dev).
    pub fn dev_of(binary: &Path) -> Gateway {
        Gateway::dev_at(binary, "127.0.0.1:0")
    }

    /// The same at an address that may be all addresses of this machine.
    ///
    /// # Panics
    /// As [`dev`](Gateway::dev).
    pub fn dev_everywhere() -> Gateway {
        Gateway::dev_at(&binary(), "[::]:0")
    }

    fn dev_at(binary: &Path, address: &str) -> Gateway {
        let mut command = Command::new(binary);
        command.arg("dev");
        for protocol in ["--mqtt", "--mqttsn", "--coap"] {
            command.args([protocol, address]);
        }
        let mut process = Process::start(command);
        let (mut mqtt, mut mqtt_sn, mut coap) = (None, None, None);
        process.wait_for("ready line", |line| {
            line.contains("ready") // the banner is read again below, whole
        });
        for line in process.transcript().lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            for pair in words.windows(2) {
                let address = pair[1].trim_end_matches("/udp").parse().ok();
                match pair[0] {
                    "mqtt" => mqtt = mqtt.or(address),
                    "mqtt-sn" => mqtt_sn = mqtt_sn.or(address),
                    "coap" => coap = coap.or(address),
                    _ => {}
                }
            }
        }
        let (Some(mqtt), Some(mqtt_sn), Some(coap)) = (mqtt, mqtt_sn, coap) else {
            panic!("the banner does not name three addresses\n{}", process.transcript());
        };
        Gateway { process: Some(process), mqtt, mqtt_sn, coap, directory: None }
    }

    /// `motegate run -c` with three anonymous loopback listeners, followed by `rest` of the file.
    ///
    /// # Panics
    /// If the binary is not built, the file is refused, or the gateway does not come up.
    pub fn run(rest: &str) -> Gateway {
        Gateway::run_of(&binary(), rest)
    }

    /// The same with another build of the binary.
    ///
    /// # Panics
    /// As [`run`](Gateway::run).
    pub fn run_of(binary: &Path, rest: &str) -> Gateway {
        let listeners = ["mqtt", "mqttsn", "coap"].map(|protocol| {
            format!("  - {{protocol: {protocol}, bind: \"127.0.0.1:0\", anonymous: true}}\n")
        });
        let listeners = listeners.concat();
        let text = format!("version: 1\ndurability: none\nlisteners:\n{listeners}{rest}");
        Gateway::of_file(binary, &["run"], &text)
    }

    /// `motegate` with these arguments in a scratch directory whose `motegate.yaml` is `text`; its
    /// first listener of each protocol is the one that counts.
    ///
    /// # Panics
    /// As [`run`](Gateway::run).
    pub fn of_file(binary: &Path, arguments: &[&str], text: &str) -> Gateway {
        let directory = scratch("gateway");
        let file = directory.join(FILE);
        std::fs::write(&file, text).expect("the scratch directory takes a file");
        let mut command = Command::new(binary);
        command.args(arguments).arg("-c").arg(&file).current_dir(&directory);
        let mut process = Process::start(command);
        let listening = ["mqtt", "mqtt-sn", "coap"].map(|protocol| {
            let line = process.wait_for("line of a listener", |line| {
                line.contains(r#""message":"listening""#)
                    && line.contains(&format!(r#""proto":"{protocol}""#))
            });
            let address = line.split(r#""addr":""#).nth(1).and_then(|rest| rest.split('"').next());
            address.and_then(|address| address.parse().ok()).expect("the line names an address")
        });
        process.wait_for_text("ready");
        let [mqtt, mqtt_sn, coap] = listening;
        Gateway { process: Some(process), mqtt, mqtt_sn, coap, directory: Some(directory) }
    }

    /// The configuration file, if there is one.
    pub fn file(&self) -> Option<PathBuf> {
        self.directory.as_ref().map(|directory| directory.join(FILE))
    }

    /// Where the listener of this name is, as the log says.
    ///
    /// # Panics
    /// If it does not say.
    pub fn listening(&self, listener: &str) -> String {
        let name = format!(r#""listener":"{listener}""#);
        let text = self.running().transcript();
        let mut lines = text.lines().filter(|line| line.contains(r#""message":"listening""#));
        let line = lines.find(|line| line.contains(&name));
        let address = line.and_then(|line| line.split(r#""addr":""#).nth(1)?.split('"').next());
        address.unwrap_or_else(|| panic!("no listener {listener}\n{text}")).to_owned()
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.running().id()
    }

    /// The process, for signals and for what it prints.
    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("the gateway was not handed out")
    }

    /// The process alone, to wait for its end.
    pub fn into_process(mut self) -> Process {
        self.process.take().expect("the gateway was not handed out")
    }

    /// `coap://ADDRESS/mqtt/TOPIC`.
    pub fn coap_url(&self, topic: &str) -> String {
        format!("coap://{}/mqtt/{topic}", self.coap)
    }

    fn running(&self) -> &Process {
        self.process.as_ref().expect("the gateway was not handed out")
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if let Some(directory) = &self.directory {
            // Left behind in the system's temporary folder at worst.
            let _ = std::fs::remove_dir_all(directory);
        }
    }
}

/// The `motegate` binary beside this test executable.
///
/// # Panics
/// If it is not there; the message is the line that builds it.
pub fn binary() -> PathBuf {
    let test = std::env::current_exe().expect("a running program has a path");
    // target/debug/deps/NAME-HASH for tests, target/debug/NAME for binaries.
    let folders = test.ancestors().skip(1).take(2);
    let mut candidates = folders.map(|folder| folder.join("motegate"));
    candidates.find(|path| path.is_file()).unwrap_or_else(|| {
        let release = test.components().any(|part| part.as_os_str() == "release");
        let flag = if release { " --release" } else { "" };
        panic!("the gateway is not built; build it with: cargo build -p motegate{flag}")
    })
}

/// A fresh directory in the system's temporary folder.
///
/// # Panics
/// If it cannot be made.
pub fn scratch(name: &str) -> PathBuf {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let next = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("motegate-{name}-{}-{next}", std::process::id()));
    std::fs::create_dir_all(&path).expect("the temporary folder takes a directory");
    path
}
