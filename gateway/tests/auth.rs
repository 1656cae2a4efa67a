//! Who may connect, over sockets: passwords, lockout, SCRAM, a reload, and that slow hashing holds up
//! nobody's messages (mqtt.md §1.2, §2.15; config.md `users`).

mod common;

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use common::client::{Configured, Said, said, said_with_stdin};
use common::{PATIENCE, motegate, packet, read_packet, string};

/// What `motegate passwd` makes of a name and a password.
fn entry(name: &str, password: &str) -> String {
    said_with_stdin(&format!("passwd {name}"), &format!("{password}\n")).good()
}

/// The entry of a user whose check takes long.
fn slow_entry(name: &str, password: &str) -> String {
    said_with_stdin(&format!("passwd {name} --iterations 200000"), password).good()
}

fn text(users: &str, rest: &str) -> String {
    format!("durability: none\nlisteners:\n{LISTENER}{rest}\n{users}")
}

const LISTENER: &str = "  - {name: lan, protocol: mqtt, bind: \"127.0.0.1:0\"}\n";
const OPEN: &str = "  - {name: open, protocol: mqtt, bind: \"127.0.0.1:0\", anonymous: true}\n";

fn said_in(directory: &Path, line: &str) -> Said {
    let mut command = motegate(&line.split(' ').collect::<Vec<_>>());
    command.current_dir(directory).env("XDG_RUNTIME_DIR", directory);
    let output = command.env_remove("MOTEGATE_CONTROL").output().expect("the program runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Said { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// A CONNECT with what it says of itself; not answered yet.
fn connecting(addr: SocketAddr, version: u8, login: Option<(&str, &str)>) -> TcpStream {
    let mut stream = TcpStream::connect(addr).expect("it accepts");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout is set");
    stream.set_nodelay(true).expect("no delay");
    let mut body = b"\x00\x04MQTT".to_vec();
    body.extend([version, if login.is_some() { 0xc2 } else { 2 }, 0, 0]);
    if version == 5 {
        body.push(0);
    }
    string(&mut body, "");
    if let Some((user, password)) = login {
        string(&mut body, user);
        string(&mut body, password);
    }
    stream.write_all(&packet(0x10, &body)).expect("it reads");
    stream
}

fn answer(stream: &mut TcpStream) -> u8 {
    let (first, body) = read_packet(stream).expect("a CONNACK");
    assert_eq!(first, 0x20);
    body[1]
}

/// The code of the CONNACK.
fn code(addr: SocketAddr, version: u8, login: Option<(&str, &str)>) -> u8 {
    answer(&mut connecting(addr, version, login))
}

#[test]
fn a_password_lets_in_and_nothing_else_does() {
    let gateway = Configured::start("auth-password", &text(&entry("anna", "pencil"), ""));
    let addr = gateway.address("mqtt");
    for (login, v3, v5) in [
        (Some(("anna", "pencil")), 0, 0),
        (Some(("anna", "crayon")), 4, 0x86),
        (Some(("ben", "pencil")), 4, 0x86),
        (Some(("anna", "")), 4, 0x86),
        (None, 5, 0x87),
    ] {
        assert_eq!(code(addr, 4, login), v3, "3.1.1 {login:?}");
        assert_eq!(code(addr, 5, login), v5, "5.0 {login:?}");
    }
    // A second time from what is remembered, and only the same.
    assert_eq!(code(addr, 5, Some(("anna", "pencil"))), 0);
    assert_eq!(code(addr, 5, Some(("anna", "pencils"))), 0x86);
}

/// mqtt.md §4: `max_auth_failures` per address, then 0x8A / 5.
#[test]
fn an_address_that_guesses_is_locked_out() {
    let rest = "limits: {max_auth_failures: 2/m}";
    let gateway = Configured::start("auth-lockout", &text(&entry("anna", "pencil"), rest));
    let addr = gateway.address("mqtt");
    assert_eq!(code(addr, 5, Some(("anna", "a"))), 0x86);
    assert_eq!(code(addr, 5, Some(("anna", "b"))), 0x86);
    assert_eq!(code(addr, 5, Some(("anna", "pencil"))), 0x8a);
    assert_eq!(code(addr, 4, Some(("anna", "pencil"))), 5);
    let status = said_in(&gateway.directory, "status").good();
    assert!(status.contains("max_auth_failures  1 of 2"), "{status}");
}

/// A real exchange between two programs: the password never crosses the wire.
#[test]
fn scram_lets_in_who_knows_the_password() {
    let gateway = Configured::start("auth-scram", &text(&entry("anna", "pencil"), OPEN));
    let addr = gateway.address("mqtt");
    let tail = format!("-t t -m x -p {} --auth-method SCRAM-SHA-256", addr.port());
    said(&format!("pub {tail} -u anna -P pencil")).good();
    said(&format!("pub {tail} -u anna -P crayon")).bad(4, &["not authorized (0x87)"]);
    said(&format!("pub {tail} -u ben -P pencil")).bad(4, &["not authorized (0x87)"]);
    said(&format!("pub {tail} -u anna")).bad(2, &["a user name and a password"]);
    said(&format!("pub {tail} -u anna -P pencil -V 311")).bad(2, &["-V 5"]);
    let other = format!("pub -t t -m x -p {} --auth-method PLAIN -u a -P b", addr.port());
    said(&other).bad(2, &["SCRAM-SHA-256"]);
}

/// MQTT 5 §4.12: a method that is not offered is 0x8C, whoever may come in otherwise.
#[test]
fn an_unknown_method_is_refused() {
    for users in [entry("anna", "pencil"), String::new()] {
        let gateway = Configured::start("auth-method", &text(&users, OPEN));
        let mut stream = TcpStream::connect(gateway.address("mqtt")).expect("it accepts");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout is set");
        let connect = b"\x10\x15\x00\x04MQTT\x05\x02\x00\x00\x08\x15\x00\x05PLAIN\x00\x00";
        stream.write_all(connect).expect("it reads");
        assert_eq!(answer(&mut stream), 0x8c);
        assert_eq!(read_packet(&mut stream), None, "and closed");
    }
}

#[test]
fn a_reload_lets_in_and_sends_away() {
    let users = [entry("anna", "pencil"), entry("ben", "chalk")];
    let gateway = Configured::start("auth-reload", &text(&users[0], ""));
    let addr = gateway.address("mqtt");
    let mut anna = connecting(addr, 5, Some(("anna", "pencil")));
    assert_eq!(answer(&mut anna), 0);
    assert_eq!(code(addr, 5, Some(("ben", "chalk"))), 0x86);

    let file = gateway.directory.join("motegate.yaml");
    std::fs::write(&file, text(&users[1], "")).expect("it writes");
    let told = said_in(&gateway.directory, "reload").good();
    assert!(told.contains("there is no user anna any more"), "{told}");
    // MQTT 5 §3.14.2.1: not authorized.
    let (first, body) = read_packet(&mut anna).expect("a goodbye");
    assert_eq!((first, body[0]), (0xe0, 0x87));
    assert_eq!(code(addr, 5, Some(("anna", "pencil"))), 0x86);
    assert_eq!(code(addr, 5, Some(("ben", "chalk"))), 0);
}

/// Nobody's messages wait for a password, however long it takes and however many come.
#[test]
#[allow(clippy::disallowed_methods, reason = "a real program is measured")]
fn slow_hashing_delays_no_messages() {
    let gateway = Configured::start("auth-flood", &text(&slow_entry("anna", "pencil"), OPEN));
    let (closed, open) = (gateway.address("mqtt"), gateway.address_of("open"));
    let mut other = connecting(open, 4, None);
    assert_eq!(answer(&mut other), 0);
    let flood: Vec<TcpStream> =
        (0..200).map(|_| connecting(closed, 5, Some(("anna", "wrong")))).collect();
    let mut slowest = Duration::ZERO;
    for _ in 0..50 {
        let before = Instant::now();
        other.write_all(b"\xc0\x00").expect("it reads");
        assert_eq!(read_packet(&mut other), Some((0xd0, vec![])));
        slowest = slowest.max(before.elapsed());
    }
    // A check takes longer than this on any machine; the flood would take minutes.
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    drop(flood); // their verdicts find nobody
    other.write_all(b"\xc0\x00").expect("it reads");
    assert_eq!(read_packet(&mut other), Some((0xd0, vec![])));
    let mut gateway = gateway;
    gateway.stop();
    // What waits is not worked through.
    assert_eq!(gateway.ended(Duration::from_secs(15)), Some(0));
}

#[test]
fn a_verdict_that_takes_too_long_is_told() {
    let rest = "limits: {auth_timeout: 100ms}";
    let gateway = Configured::start("auth-timeout", &text(&slow_entry("anna", "pencil"), rest));
    let addr = gateway.address("mqtt");
    // Several: one alone might be fast enough on a fast machine.
    let mut all: Vec<TcpStream> =
        (0..20).map(|_| connecting(addr, 5, Some(("anna", "pencil")))).collect();
    let codes: Vec<u8> = all.iter_mut().map(answer).collect();
    assert!(codes.contains(&0x87), "{codes:02x?}");
}

/// Neither passwords nor verifiers are shown anywhere.
#[test]
fn secrets_are_shown_nowhere() {
    let users = entry("anna", "hunter2");
    let gateway = Configured::start("auth-secrets", &text(&users, ""));
    let shown = said_in(&gateway.directory, "config show --effective --origin").good();
    assert!(shown.contains("anna") && shown.contains("***"), "{shown}");
    assert!(!shown.contains("SCRAM-SHA-256$"), "{shown}");
    let file = gateway.directory.join("motegate.yaml");
    std::fs::write(&file, text("users: [{name: anna, password: hunter2}]\n", "")).expect("writes");
    let said = said_in(&gateway.directory, "check");
    assert_eq!(said.code, Some(3));
    assert!(said.err.contains("E0502") && !said.err.contains("hunter2"), "{}", said.err);
}

#[test]
fn passwd_wants_a_name_and_a_password() {
    said_with_stdin("passwd anna", "\n").bad(1, &["cannot be empty"]);
    let few = said_with_stdin("passwd anna --iterations 10", "x\n");
    assert_eq!(few.code, Some(2));
    assert_ne!(entry("anna", "pencil"), entry("anna", "pencil"), "each has its own salt");
}
