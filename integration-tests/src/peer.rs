//! The independent clients: where they are, and how each is called against a gateway.
//!
//! A missing one fails the test with the line that installs it; nothing is ever skipped. Everything
//! is run through `stdbuf -oL`, so that a line is seen when it is printed and not when a buffer is
//! full.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::gateway::Gateway;
use crate::process::Process;

/// The root of the repository.
pub fn repository() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the crate is a folder of the repository").to_owned()
}

/// `program`, found on the path.
///
/// # Panics
/// If it is not installed.
pub fn program(name: &str, package: &str) -> Command {
    let path = std::env::var_os("PATH").unwrap_or_default();
    found(name, package, std::env::split_paths(&path).collect())
}

/// A program that may lie where only root looks for it.
///
/// # Panics
/// If it is not installed.
pub fn system_program(name: &str, package: &str) -> Command {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    found(name, package, std::env::split_paths(&path).chain(system).collect())
}

fn found(name: &str, package: &str, folders: Vec<PathBuf>) -> Command {
    let found = folders.into_iter().map(|folder| folder.join(name)).find(|file| file.is_file());
    let Some(found) = found else {
        panic!(
            "{name} is not installed; ./integration-tests/run installs it, or: apt-get install {package}"
        );
    };
    line_buffered(&found)
}

/// A program of the Python environment that `integration-tests/run` makes.
///
/// # Panics
/// If it is not there.
pub fn from_venv(name: &str) -> Command {
    from_environment("venv", name)
}

/// The same of one of its other environments.
///
/// # Panics
/// If it is not there.
pub fn from_environment(environment: &str, name: &str) -> Command {
    let found = repository().join("target/peers").join(environment).join("bin").join(name);
    assert!(
        found.is_file(),
        "{} is missing; install it with: ./integration-tests/run",
        found.display()
    );
    let mut command = line_buffered(&found);
    command.env("PYTHONUNBUFFERED", "1");
    command
}

/// A script of `integration-tests/peers`, started with the three addresses of `gateway` and
/// `arguments`.
///
/// # Panics
/// If the Python environment is missing.
pub fn python(script: &str, gateway: &Gateway, arguments: &[&str]) -> Process {
    let mut command = from_venv("python3");
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("peers").join(script));
    command.env("MOTEGATE_MQTT", gateway.mqtt.port().to_string());
    command.env("MOTEGATE_MQTTSN", gateway.mqtt_sn.port().to_string());
    command.env("MOTEGATE_COAP", gateway.coap.port().to_string());
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command.args(arguments);
    Process::start(command)
}

/// What `-F` prints for a message: topic, QoS, RETAIN and payload on one line that cannot be
/// mistaken for another.
pub const MESSAGE: &str = "> %t q%q r%r %p";

/// `mosquitto_sub`, subscribed when this returns; messages are lines of the form [`MESSAGE`].
pub fn mosquitto_sub(gateway: &Gateway, arguments: &[&str]) -> Process {
    let mut process = Process::start(mosquitto("mosquitto_sub", gateway, arguments));
    process.wait_for_text("Subscribed (mid:");
    process
}

/// `mosquitto_sub` that resumes a session: ready when CONNACK is in.
pub fn mosquitto_resume(gateway: &Gateway, arguments: &[&str]) -> Process {
    let mut process = Process::start(mosquitto("mosquitto_sub", gateway, arguments));
    process.wait_for_text("received CONNACK (0)");
    process
}

/// `mosquitto_pub`, to its successful end; its lines.
pub fn mosquitto_pub(gateway: &Gateway, arguments: &[&str]) -> Vec<String> {
    Process::start(mosquitto("mosquitto_pub", gateway, arguments)).succeed()
}

/// `mosquitto_pub` or `mosquitto_sub`, ready to be started, with debug lines.
pub fn mosquitto(name: &str, gateway: &Gateway, arguments: &[&str]) -> Command {
    let mut command = program(name, "mosquitto-clients");
    command.args(["-h", "127.0.0.1", "-p", &gateway.mqtt.port().to_string(), "-d"]);
    if name == "mosquitto_sub" {
        command.args(["-F", MESSAGE]);
    }
    command.args(arguments);
    command
}

/// libcoap's client without security.
pub fn coap_client(arguments: &[&str]) -> Command {
    let mut command = program("coap-client-notls", "libcoap3-bin");
    command.args(arguments);
    command
}

/// One request by libcoap's client; every line it printed, its protocol log included.
pub fn coap(arguments: &[&str]) -> Vec<String> {
    let mut command = coap_client(&["-v", "6", "-B", "10"]);
    command.args(arguments);
    let finished = Process::start(command).finish();
    [finished.stdout, finished.stderr].concat()
}

/// Whether one of `lines` holds `text`.
pub fn any(lines: &[String], text: &str) -> bool {
    lines.iter().any(|line| line.contains(text))
}

fn line_buffered(program: &Path) -> Command {
    let mut command = Command::new("stdbuf");
    command.args(["-oL", "-eL"]).arg(program);
    command
}
