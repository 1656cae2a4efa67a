//! The binary as a child process, and a few MQTT packets.
#![allow(dead_code, reason = "each test file uses a part of it")]

pub(crate) mod certs;
pub(crate) mod client;
pub(crate) mod network;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// Longer than anything here takes on a busy machine; only a failing test waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The built program with these arguments, and none of our environment's log settings.
pub(crate) fn motegate(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_motegate"));
    command.args(arguments).env_remove("MOTEGATE_LOG").stdin(Stdio::null());
    command
}

/// Runs it to its end.
pub(crate) fn finished(arguments: &[&str]) -> Output {
    motegate(arguments).output().expect("the program runs")
}

/// A child whose lines are read as they come.
pub(crate) struct Program {
    child: Child,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
    pub(crate) banner: Vec<String>,
}

impl Program {
    /// `motegate dev` on loopback and free ports, when it has said what to type next.
    pub(crate) fn dev() -> Program {
        let free = "127.0.0.1:0";
        Program::started(motegate(&["dev", "--mqtt", free, "--mqttsn", free, "--coap", free]))
    }

    /// The same with its control socket below this directory.
    pub(crate) fn dev_in(directory: &std::path::Path) -> Program {
        let free = "127.0.0.1:0";
        let mut command = motegate(&["dev", "--mqtt", free, "--mqttsn", free, "--coap", free]);
        command.env("XDG_RUNTIME_DIR", directory);
        Program::started(command)
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The same with room for so many open files.
    pub(crate) fn dev_with_files(files: u32) -> Program {
        let program = env!("CARGO_BIN_EXE_motegate");
        let script = format!(
            "ulimit -n {files}; exec {program} dev --mqtt 127.0.0.1:0 --mqttsn 127.0.0.1:0 \
             --coap 127.0.0.1:0"
        );
        let mut command = Command::new("sh");
        command.args(["-c", &script]).env_remove("MOTEGATE_LOG").stdin(Stdio::null());
        Program::started(command)
    }

    pub(crate) fn started(mut command: Command) -> Program {
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let stdout = lines(child.stdout.take().expect("piped"));
        let stderr = lines(child.stderr.take().expect("piped"));
        let mut program = Program { child, stdout, stderr, banner: Vec::new() };
        loop {
            let line = program.stdout.recv_timeout(PATIENCE).expect("it prints what to type");
            let last = line.starts_with("mosquitto_sub takes");
            program.banner.push(line);
            if last {
                return program;
            }
        }
    }

    /// The address that the banner gives for a protocol.
    pub(crate) fn address(&self, protocol: &str) -> SocketAddr {
        let words = self.banner.iter().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let line = words.into_iter().find(|words| words.first() == Some(&protocol));
        let address = line.expect("the banner has the protocol")[1];
        address.trim_end_matches("/udp").parse().expect("an address")
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args([&format!("-{name}"), &pid]).status();
        assert!(status.expect("kill runs").success());
    }

    /// Waits for the end; gives the exit code and what it said on stderr.
    pub(crate) fn end(mut self) -> (Option<i32>, Vec<String>) {
        let mut said = Vec::new();
        // The pipe closes when the program ends.
        while let Ok(line) = self.stderr.recv_timeout(PATIENCE) {
            said.push(line);
        }
        let status = self.child.wait().expect("it ends");
        (status.code(), said)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn lines(pipe: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

/// A connected MQTT client, version 3.1.1 (4) or 5.
pub(crate) fn connect(addr: SocketAddr, version: u8, id: &str) -> TcpStream {
    let mut stream = TcpStream::connect(addr).expect("it accepts");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout is set");
    stream.set_nodelay(true).expect("no delay");
    let mut body = b"\x00\x04MQTT".to_vec();
    body.extend([version, 0x02, 0, 0]);
    if version == 5 {
        body.push(0);
    }
    string(&mut body, id);
    stream.write_all(&packet(0x10, &body)).expect("it reads");
    let (first, _) = read_packet(&mut stream).expect("a CONNACK");
    assert_eq!(first, 0x20);
    stream
}

/// A length-prefixed string.
pub(crate) fn string(out: &mut Vec<u8>, text: &str) {
    out.extend(u16::try_from(text.len()).expect("short").to_be_bytes());
    out.extend(text.as_bytes());
}

/// A packet with its fixed header.
pub(crate) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    let mut rest = body.len();
    loop {
        let digit = u8::try_from(rest % 128).expect("below 128");
        rest /= 128;
        out.push(digit | if rest > 0 { 0x80 } else { 0 });
        if rest == 0 {
            break;
        }
    }
    out.extend(body);
    out
}

/// The next packet: first byte and body; `None` at the end of the stream.
pub(crate) fn read_packet(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let mut byte = [0];
    let mut next = |stream: &mut TcpStream| stream.read_exact(&mut byte).ok().map(|()| byte[0]);
    let first = next(stream)?;
    let (mut len, mut shift) = (0, 0);
    loop {
        let digit = next(stream)?;
        len |= usize::from(digit & 0x7f) << shift;
        shift += 7;
        if digit & 0x80 == 0 {
            break;
        }
    }
    let mut body = vec![0; len];
    stream.read_exact(&mut body).ok()?;
    Some((first, body))
}
