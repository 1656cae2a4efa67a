//! A network of a test's own: the device end is the namespace that the test runs in, the gateway is in
//! another one; `m0` and `m1` lead to its `n0` and `n1`.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use super::client::Configured;

/// Runs the test again in a network of its own, as root of that.
pub(crate) fn elsewhere(test: &str) {
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env("OWN_NETWORK", "1")
        .output()
        .expect("`unshare` is part of util-linux");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "in a network of its own (this needs user namespaces: sysctl \
         kernel.unprivileged_userns_clone):\n{text}"
    );
}

/// The gateway's end of the network; gone with the value.
pub(crate) struct FarEnd(Child);

impl FarEnd {
    pub(crate) fn new() -> FarEnd {
        let mut holder = Command::new("unshare")
            .args(["--net", "sh", "-c", "echo up; exec sleep 600"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "up\n");
        let far = FarEnd(holder);
        shell("ip link set lo up");
        far.shell("ip link set lo up");
        for link in [0, 1] {
            far.connect(link);
        }
        far
    }

    pub(crate) fn connect(&self, link: u8) {
        let pid = self.0.id();
        shell(&format!("ip link add m{link} type veth peer name n{link}"));
        shell(&format!("ip link set n{link} netns {pid}"));
        let up = |end: &str, host: u8| {
            format!(
                "ip link set {end}{link} addrgenmode none; ip link set {end}{link} up
                 ip addr add 10.83.{link}.{host}/24 brd + dev {end}{link}
                 ip addr add fe80::{link}:{host}/64 dev {end}{link} nodad"
            )
        };
        shell(&up("m", 2));
        self.shell(&up("n", 1));
    }

    pub(crate) fn shell(&self, script: &str) {
        let mut command = self.inside("sh");
        assert!(command.args(["-euc", script]).status().unwrap().success(), "{script}");
    }

    /// A program at that end.
    fn inside(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.0.id())).arg(program);
        command
    }

    /// A gateway at that end, with this configuration.
    pub(crate) fn gateway(&self, name: &str, text: &str) -> Configured {
        let mut command = self.inside(env!("CARGO_BIN_EXE_motegate"));
        command.arg("run").env_remove("MOTEGATE_LOG").stdin(Stdio::null());
        Configured::start_command(name, text, command)
    }
}

impl Drop for FarEnd {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn shell(script: &str) {
    assert!(Command::new("sh").args(["-euc", script]).status().unwrap().success(), "{script}");
}
