//! A disk that is full for real: what the program refuses over each protocol, what goes on, and that
//! all is well when there is room again.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a real process in real time")]

mod common;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::client::{Said, said};
use common::{PATIENCE, lines, motegate};

const CONFIG: &str = "version: 1
data_dir: data
listeners:
  - {protocol: mqtt, bind: \"127.0.0.1:0\", anonymous: true}
  - {protocol: mqttsn, bind: \"127.0.0.1:0\", anonymous: true}
  - {protocol: coap, bind: \"127.0.0.1:0\", anonymous: true}
";

/// The gateway on the small disk; killed when it is dropped.
struct Gateway {
    child: Child,
    /// Its addresses by protocol.
    at: BTreeMap<String, String>,
}

impl Gateway {
    fn start(disk: &Path) -> Gateway {
        std::fs::write(disk.join("motegate.yaml"), CONFIG).unwrap();
        let mut command = motegate(&["run"]);
        command.current_dir(disk).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut gateway = Gateway { child: command.spawn().unwrap(), at: BTreeMap::new() };
        let log = lines(gateway.child.stderr.take().unwrap());
        loop {
            let line = log.recv_timeout(PATIENCE).expect("it says that it is ready");
            let entry: serde_json::Value = serde_json::from_str(&line).unwrap();
            if let (Some(proto), Some(addr)) = (entry["proto"].as_str(), entry["addr"].as_str()) {
                gateway.at.insert(proto.to_owned(), addr.to_owned());
            }
            if entry["message"] == "ready" {
                // What it says later is seen where a test fails.
                std::thread::spawn(move || log.iter().for_each(|line| eprintln!("{line}")));
                return gateway;
            }
        }
    }

    fn publish(&self, options: &str) -> Said {
        // A session that ends with its connection needs no disk.
        said(&format!("pub mqtt://{} {options} -x 0 -W 20", self.at["mqtt"]))
    }

    fn put(&self, path: &str) -> Said {
        said(&format!("put coap://{}/mqtt/{path} value", self.at["coap"]))
    }

    fn publish_sn(&self, options: &str) -> Said {
        said(&format!("pub mqttsn://{} {options} -W 20", self.at["mqtt-sn"]))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Takes all that is left.
fn fill(ballast: &Path) {
    let mut file = std::fs::File::options().append(true).create(true).open(ballast).unwrap();
    let mut size = 1 << 20;
    while size > 0 {
        if file.write_all(&vec![7; size]).is_err() {
            size /= 2;
        }
    }
}

/// Tries again until it is as wanted.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < 2 * PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Runs the test again within a file system of 12 MiB, of this process' own.
fn on_a_small_disk(test: &str) {
    let mount = std::env::temp_dir().join(format!("motegate-full-{}", std::process::id()));
    std::fs::create_dir_all(&mount).unwrap();
    let script = "mount -t tmpfs -o size=12m tmpfs \"$SMALL_DISK\" && exec \"$0\" \"$@\"";
    let output = Command::new("unshare")
        .args(["-Urm", "sh", "-c", script])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env("SMALL_DISK", &mount)
        .output()
        .expect("`unshare` is part of util-linux");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    std::fs::remove_dir(&mount).unwrap();
    assert!(
        output.status.success() && text.contains("1 passed"),
        "on a disk of 12 MiB (this needs user namespaces: sysctl kernel.unprivileged_userns_clone):\n{text}"
    );
}

#[test]
fn a_full_disk_refuses_what_needs_it_and_nothing_else() {
    let Some(disk) = std::env::var_os("SMALL_DISK").map(PathBuf::from) else {
        return on_a_small_disk("a_full_disk_refuses_what_needs_it_and_nothing_else");
    };
    let gateway = Gateway::start(&disk);
    // A session that is kept and away, so that what is published for it must be stored.
    let keep = format!("sub mqtt://{} -c -i kept -q 1 -t kept/#", gateway.at["mqtt"]);
    assert_eq!(said(&format!("{keep} -W 1")).code, Some(27), "nothing came yet");
    gateway.publish("-q 1 -t kept/x -m first").good();
    // What the store has set aside, and what it gains by opening anew, is used up first.
    let mut noise = 1_u64;
    let is_refused = |gateway: &Gateway| {
        let refused = gateway.publish("-q 1 -t kept/y -m no");
        refused.code == Some(4) && refused.err.contains("quota")
    };
    let mut accepted = 0;
    until("the store takes everything on a full disk", || {
        fill(&disk.join("ballast"));
        noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let flood = format!("-q 1 -t kept/x -m {noise:064x} -W 1 --repeat 200 -M 200");
        said(&format!("pub mqtt://{} -x 0 {flood}", gateway.at["mqtt"]));
        (0..5).all(|_| {
            std::thread::sleep(Duration::from_millis(250));
            let refused = is_refused(&gateway);
            accepted += u32::from(!refused);
            refused
        })
    });

    gateway.publish("-q 0 -r -t site/r -m no");
    let refused =
        said(&format!("pub mqtt://{} -V 311 -q 1 -t kept/y -m no -W 3", gateway.at["mqtt"]));
    assert_ne!(refused.code, Some(0), "MQTT 3 is closed, not acknowledged: {}", refused.err);
    gateway.put("r/value").bad(1, &["5.03", "storage_full"]);
    gateway.publish_sn("-q 1 -t kept/z -m no").bad(4, &["ongestion"]);
    let refused = said(&format!("sub mqtt://{} -c -i other -t x -W 5", gateway.at["mqtt"]));
    assert_ne!(refused.code, Some(27), "a session that is kept needs the disk: {}", refused.err);

    // What needs no disk goes on.
    gateway.publish("-q 1 -t live/x -m yes").good();
    gateway.publish("-q 2 -t live/x -m yes").good();
    said(&format!("post coap://{}/mqtt/live/x yes", gateway.at["coap"])).good();
    let status = Command::new(env!("CARGO_BIN_EXE_motegate"))
        .arg("status")
        .current_dir(&disk)
        .output()
        .unwrap();
    let status = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(status.contains("storage_full"), "{status}");

    std::fs::remove_file(disk.join("ballast")).unwrap();
    until("the store does not recover", || gateway.put("r/value").code == Some(0));
    gateway.publish("-q 1 -t kept/last -m last").good();
    let came = said(&format!("{keep} -v -W 5")).out;
    let first = came.lines().next();
    assert_eq!(first, Some("kept/x first"), "{came}");
    assert_eq!(came.lines().last(), Some("kept/last last"), "{came}");
    let of_y = came.lines().filter(|line| line.starts_with("kept/y ")).count();
    assert_eq!(of_y, accepted as usize, "what was refused is not delivered");
    assert!(!came.contains("kept/z"), "{came}");
}
