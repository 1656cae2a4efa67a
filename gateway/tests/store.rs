//! What the program keeps on disk: over kill -9, in a directory of its own, and what it says when
//! the disk is not what it should be.
#![allow(clippy::unwrap_used, reason = "the helpers of tests are tests")]

mod common;

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Stdio};

use common::client::{Said, said};
use common::{PATIENCE, lines, motegate, packet, read_packet, string};

const CONFIG: &str = "version: 1
data_dir: data
listeners:
  - {protocol: mqtt, bind: \"127.0.0.1:0\", anonymous: true}
";

/// A folder that outlives the gateways in it.
struct Home(PathBuf);

/// A gateway in it; killed when it is dropped.
struct Running {
    child: Child,
    mqtt: SocketAddr,
}

impl Home {
    fn new(name: &str) -> Home {
        let path =
            std::env::temp_dir().join(format!("motegate-kept-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("motegate.yaml"), CONFIG).unwrap();
        Home(path)
    }

    fn start(&self) -> Running {
        let mut command = motegate(&["run"]);
        command.current_dir(&self.0).stdout(Stdio::null()).stderr(Stdio::piped());
        let nowhere = ([0, 0, 0, 0], 0).into();
        let mut running = Running { child: command.spawn().unwrap(), mqtt: nowhere };
        let log = lines(running.child.stderr.take().unwrap());
        loop {
            let line = log.recv_timeout(PATIENCE).expect("it says that it is ready");
            let entry: serde_json::Value = serde_json::from_str(&line).unwrap();
            if entry["proto"] == "mqtt" {
                running.mqtt = entry["addr"].as_str().unwrap().parse().unwrap();
            }
            if entry["message"] == "ready" {
                // Nobody needs the rest.
                std::thread::spawn(move || log.iter().count());
                return running;
            }
        }
    }

    /// Runs a command line (split at spaces) here.
    fn said(&self, line: &str) -> Said {
        let mut command = motegate(&line.split(' ').collect::<Vec<_>>());
        let output = command.current_dir(&self.0).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Said { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Running {
    fn stop(mut self) {
        let pid = self.child.id().to_string();
        std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Connects with a session that is kept; whether one was there.
fn connect_kept(addr: SocketAddr, id: &str) -> (TcpStream, bool) {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut body = b"\x00\x04MQTT\x04\x00\x00\x00".to_vec();
    string(&mut body, id);
    stream.write_all(&packet(0x10, &body)).unwrap();
    let (first, connack) = read_packet(&mut stream).expect("a CONNACK");
    assert_eq!((first, connack[1]), (0x20, 0));
    (stream, connack[0] == 1)
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    let home = Home::new("kill");
    let gateway = home.start();
    let (mut stream, was_there) = connect_kept(gateway.mqtt, "kept");
    assert!(!was_there);
    let mut subscribe = vec![0, 1];
    string(&mut subscribe, "plant/#");
    subscribe.push(1);
    stream.write_all(&packet(0x82, &subscribe)).unwrap();
    assert_eq!(read_packet(&mut stream), Some((0x90, vec![0, 1, 1])));
    drop(stream);
    let port = gateway.mqtt.port();
    for n in 0..20 {
        said(&format!("pub -p {port} -q 1 -t plant/a -m {n}")).good();
    }
    said(&format!("pub -p {port} -q 1 -r -t site/door -m open")).good();
    drop(gateway); // SIGKILL

    let gateway = home.start();
    let port = gateway.mqtt.port();
    assert_eq!(said(&format!("sub -p {port} -t site/# -C 1 -W 10")).good(), "open\n");
    let (mut stream, was_there) = connect_kept(gateway.mqtt, "kept");
    assert!(was_there, "session present");
    for n in 0..20 {
        let (first, body) = read_packet(&mut stream).expect("a PUBLISH");
        assert_eq!(first & 0xf6, 0x32, "QoS 1, first or repeated");
        assert!(body.ends_with(n.to_string().as_bytes()), "{n}: {body:?}");
        stream.write_all(&packet(0x40, &body[9..11])).unwrap();
    }
    let told = home.said("status").good();
    for words in ["durability   power_loss, in data", "stored ", "a sync takes "] {
        assert!(told.contains(words), "{told}");
    }
    gateway.stop();
    assert!(home.0.join("data/store").is_dir() && !home.0.join("data/control.sock").exists());
}

#[test]
fn a_data_directory_has_one_gateway_and_one_format() {
    let home = Home::new("one");
    let gateway = home.start();
    let pid = gateway.child.id().to_string();
    home.said("run")
        .bad(1, &["data directory data is in use", &format!("process {pid}"), "data_dir"]);
    gateway.stop();
    std::fs::write(home.0.join("data/FORMAT"), "motegate data format 9\n").unwrap();
    home.said("run").bad(1, &["data format 9", "knows 1 only", "A newer motegate wrote it"]);
}

#[test]
fn a_backup_of_a_running_gateway_is_restored() {
    let home = Home::new("backup");
    let gateway = home.start();
    let port = gateway.mqtt.port();
    for n in 0..5 {
        said(&format!("pub -p {port} -q 1 -r -t site/{n} -m {n}")).good();
    }
    let told = home.said("backup monday").good();
    assert!(told.contains("monday: ") && told.contains(" records, "), "{told}");
    home.said("backup monday").bad(1, &["monday is there already", "another file"]);
    home.said("restore monday").bad(1, &["in use by process", "stop that gateway"]);
    let checked = home.said("store check").good();
    assert!(checked.contains("retained messages") && checked.contains("nothing is damaged"));
    home.said("store check --repair").bad(1, &["running gateway", "stop it first"]);
    said(&format!("pub -p {port} -q 1 -r -t site/0 -m later")).good();
    gateway.stop();

    let checked = home.said("store check -o json").good();
    let checked: serde_json::Value = serde_json::from_str(&checked).unwrap();
    assert_eq!(
        (&checked["counts"]["retained messages"], &checked["damaged"]),
        (&5.into(), &0.into())
    );
    home.said("restore monday").bad(1, &["holds a store already", "--force"]);
    let told = home.said("restore --force monday").good();
    assert!(told.contains("the store that was there is now data/store-replaced-"), "{told}");
    let gateway = home.start();
    let port = gateway.mqtt.port();
    let told = said(&format!("sub -p {port} -t site/# -C 5 -W 10")).good();
    let mut values: Vec<&str> = told.lines().collect();
    values.sort_unstable();
    assert_eq!(values, ["0", "1", "2", "3", "4"], "as they were at the backup");
}

#[test]
fn what_is_no_store_and_no_backup_is_called_so() {
    let home = Home::new("none");
    home.said("store check").bad(1, &["data", "--data-dir"]);
    std::fs::create_dir_all(home.0.join("empty")).unwrap();
    home.said("store check --data-dir empty").bad(1, &["there is no store in empty"]);
    home.said("backup --data-dir empty b").bad(1, &["there is no store in empty"]);
    std::fs::write(home.0.join("junk"), "junk").unwrap();
    home.said("restore junk").bad(1, &["junk is no backup of motegate"]);
    home.said("restore nothing").bad(1, &["nothing: "]);
    for command in ["backup", "restore", "store check"] {
        let help = home.said(&format!("{command} --help")).good();
        assert!(help.contains("Examples:") && help.contains("--data-dir"), "{help}");
    }
    home.said("backup").bad(2, &["<FILE>"]);
}
