//! `motegate pub`, `sub` and `rr` as child processes.

use std::net::SocketAddr;
use std::process::Command;

use crate::gateway::binary;
use crate::process::Process;

/// What `-F` prints for a message: as [`peer::MESSAGE`](crate::peer::MESSAGE).
pub use crate::peer::MESSAGE;

/// One of them towards `broker`, ready to be started. Words of `line` are parted by spaces.
///
/// # Panics
/// If the binary is not built.
pub fn command(broker: SocketAddr, line: &str) -> Command {
    let mut words = line.split(' ').filter(|word| !word.is_empty());
    let mut command = Command::new(binary());
    command.env_remove("MOTEGATE_LOG").args(words.next());
    command.args(["-h", &broker.ip().to_string(), "-p", &broker.port().to_string()]);
    command.args(words);
    command
}

/// The same, running.
pub fn start(broker: SocketAddr, line: &str) -> Process {
    Process::start(command(broker, line))
}

/// To its successful end; the lines of standard output.
pub fn run(broker: SocketAddr, line: &str) -> Vec<String> {
    start(broker, line).succeed()
}

/// `motegate sub`, subscribed when this returns; messages are lines of the form [`MESSAGE`].
pub fn sub(broker: SocketAddr, line: &str) -> Process {
    let mut command = command(broker, &format!("sub {line}"));
    if !line.contains("-F ") {
        command.args(["-F", MESSAGE]);
    }
    let mut process = Process::start(command);
    process.wait_for_text("SUBSCRIBE qos");
    process
}
