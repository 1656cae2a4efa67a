//! A running gateway takes another configuration: by SIGHUP, by `motegate reload`, by itself.

mod common;

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use common::client::{Configured, Said};
use common::{PATIENCE, connect, motegate, packet, read_packet, string};
use serde_json::Value;

fn text(topic: &str, rest: &str) -> String {
    format!(
        "version: 1\ndurability: none\nlisteners:\n\
         \x20 - {{name: lan, protocol: mqtt, bind: \"127.0.0.1:0\", anonymous: true}}\n\
         \x20 - {{name: edge, protocol: coap, bind: \"127.0.0.1:0\", anonymous: true}}\n{rest}\
         mappings:\n  coap:\n    - {{name: door, path: /door, topic: {topic}}}\n"
    )
}

fn write(gateway: &Configured, text: &str) {
    std::fs::write(gateway.directory.join("motegate.yaml"), text).expect("it writes");
}

fn said_in(directory: &Path, line: &str) -> Said {
    let mut command = motegate(&line.split(' ').collect::<Vec<_>>());
    command.current_dir(directory).env("XDG_RUNTIME_DIR", directory);
    let output = command.env_remove("MOTEGATE_CONTROL").output().expect("the program runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Said { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

fn status(gateway: &Configured) -> Value {
    let text = said_in(&gateway.directory, "status -o json").good();
    serde_json::from_str(&text).expect("JSON")
}

/// Waits until a reload has ended as wanted.
fn wait_for_reload(gateway: &Configured, successful: bool, words: &str) {
    let mut last = Value::Null;
    for _ in 0..PATIENCE.as_millis() / 20 {
        last = status(gateway)["last_reload"].clone();
        let told = last["text"].as_str().unwrap_or_default();
        if last["successful"] == successful && told.contains(words) {
            return;
        }
        std::thread::sleep(Duration::from_millis(20)); // between two questions
    }
    panic!("no such reload: {last}");
}

fn put(gateway: &Configured, value: &str) {
    let url = format!("coap://{}/door", gateway.address("coap"));
    said_in(&gateway.directory, &format!("put {url} {value}")).good();
}

/// A client that is there from the beginning to the end, subscribed to all.
struct Watcher(std::net::TcpStream);

impl Watcher {
    fn new(gateway: &Configured) -> Watcher {
        let mut stream = connect(gateway.address("mqtt"), 4, "watcher");
        let mut subscribe = vec![0, 1];
        string(&mut subscribe, "#");
        subscribe.push(0);
        stream.write_all(&packet(0x82, &subscribe)).expect("it reads");
        assert_eq!(read_packet(&mut stream), Some((0x90, vec![0, 1, 0])));
        Watcher(stream)
    }

    /// Topic and value of the next message.
    fn heard(&mut self) -> (String, String) {
        let (_, body) = read_packet(&mut self.0).expect("it is still connected");
        let length = usize::from(u16::from_be_bytes([body[0], body[1]]));
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
        (text(&body[2..2 + length]), text(&body[2 + length..]))
    }

    fn hears(&mut self, topic: &str, value: &str) {
        assert_eq!(self.heard(), (topic.to_owned(), value.to_owned()));
    }
}

#[test]
fn the_help_fits_and_ends_with_examples() {
    let text = common::client::said("reload --help").good();
    for word in ["--dry-run", "--control", "Examples:", "kill -HUP"] {
        assert!(text.contains(word), "{word} is not in\n{text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
}

#[test]
fn a_good_one_holds_at_once_and_closes_nothing() {
    let gateway = Configured::start("reload", &text("site/door", ""));
    let mut watcher = Watcher::new(&gateway);
    put(&gateway, "1");
    watcher.hears("site/door", "1");
    write(&gateway, &text("other/door", ""));
    put(&gateway, "2");
    watcher.hears("site/door", "2");

    let told = said_in(&gateway.directory, "reload --dry-run").good();
    assert!(told.contains("If reloaded now: no client is touched"), "{told}");
    put(&gateway, "3");
    watcher.hears("site/door", "3");

    let told = said_in(&gateway.directory, "reload").good();
    assert!(told.starts_with("reloaded: 1 rule"), "{told}");
    put(&gateway, "4");
    watcher.hears("other/door", "4");
    wait_for_reload(&gateway, true, "1 rule");
}

#[test]
fn p18_a_bad_one_changes_nothing_and_says_why() {
    let gateway = Configured::start("reload-bad", &text("site/door", ""));
    let mut watcher = Watcher::new(&gateway);
    write(&gateway, &text("other/{room}", ""));
    said_in(&gateway.directory, "reload")
        .bad(3, &["nothing was changed", "motegate.yaml:", "room"]);
    assert_eq!(status(&gateway)["last_reload"]["successful"], false);
    let shown = said_in(&gateway.directory, "status").good();
    assert!(shown.contains("THE LAST RELOAD FAILED"), "{shown}");
    put(&gateway, "1");
    watcher.hears("site/door", "1");
    // An address that is taken is a failure, too, and the good half of the file is not applied.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("it has one");
    let more = format!("  - {{name: more, protocol: mqtt, bind: \"{address}\"}}\n");
    write(&gateway, &text("other/door", &more));
    said_in(&gateway.directory, "reload").bad(1, &["nothing was changed", "is taken"]);
    put(&gateway, "2");
    watcher.hears("site/door", "2");
}

/// Tests of a configuration, one of which wants the door to publish here.
fn tests(topic: &str) -> String {
    format!(
        "tests:\n\
         \x20 - {{name: none, coap: {{method: PUT, path: /none, text: x}}, expect: {{code: \"4.04\"}}}}\n\
         \x20 - {{name: door, coap: {{method: PUT, path: /door, text: x}}, \
         expect: {{topic: {topic}}}}}\n"
    )
}

/// The tests of a file are run before anything changes (mapping.md §2.18).
#[test]
fn a_failing_test_changes_nothing_and_is_shown() {
    let gateway = Configured::start("reload-tests", &text("site/door", ""));
    let mut watcher = Watcher::new(&gateway);
    write(&gateway, &text("other/door", &tests("site/door")));
    let words = ["nothing was changed", "FAILED  door", "other/door", "1 of 2 tests failed"];
    said_in(&gateway.directory, "reload --dry-run").bad(7, &words);
    assert!(status(&gateway)["last_reload"].is_null(), "a dry run is none");
    said_in(&gateway.directory, "reload").bad(7, &words);
    wait_for_reload(&gateway, false, "FAILED  door");
    put(&gateway, "1");
    watcher.hears("site/door", "1");
    // Of the interface: its code, for programs.
    let mut stream = std::os::unix::net::UnixStream::connect(
        gateway.directory.join("motegate-data/control.sock"),
    )
    .expect("it listens");
    stream
        .write_all(b"POST /api/v1/reload?dry_run=true HTTP/1.0\r\nhost: localhost\r\n\r\n")
        .expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("text");
    assert!(answer.starts_with("HTTP/1.0 422 "), "{answer}");
    assert!(answer.contains("\"code\":\"tests_failed\""), "{answer}");

    write(&gateway, &text("other/door", &tests("other/door")));
    said_in(&gateway.directory, "reload").good();
    put(&gateway, "2");
    watcher.hears("other/door", "2");
}

/// A start must not fail for a test; `--check-only` is for that.
#[test]
fn the_start_runs_no_tests_and_check_only_does() {
    let bad = text("site/door", &tests("other/door"));
    let gateway = Configured::start("reload-start", &bad);
    put(&gateway, "1");
    said_in(&gateway.directory, "run --check-only").bad(7, &["FAILED  door"]);
}

#[test]
fn check_live_names_whom_a_reload_would_touch() {
    let gateway = Configured::start("check-live", &text("site/door", ""));
    let _watcher = Watcher::new(&gateway);
    let url = format!("coap://{}/door", gateway.address("coap"));
    let _observer = common::client::Running::until("no value yet", &format!("observe {url}"));
    let told = said_in(&gateway.directory, "check --live").good();
    assert_eq!(
        told,
        "config ok: 1 rule, 2 listeners.   If reloaded now: none of 2 devices is touched\n"
    );
    write(&gateway, &text("other/door", &tests("other/door")));
    let told = said_in(&gateway.directory, "check --live").good();
    let (first, rest) = told.split_once('\n').expect("lines");
    assert_eq!(
        first,
        "config ok: 1 rule, 2 tests passed.   If reloaded now: 1 change touches 1 of 2 devices"
    );
    assert!(rest.contains("observes /door: site/door → other/door"), "{rest}");
    assert!(status(&gateway)["last_reload"].is_null(), "it only looks");
    // Mistakes of the file that is checked here, and of those that the gateway reads.
    let other = gateway.directory.join("other.yaml");
    std::fs::write(&other, text("site/door", "")).expect("it writes");
    write(&gateway, &text("other/door", &tests("site/door")));
    said_in(&gateway.directory, "check --live").bad(7, &["FAILED  door"]);
    let theirs = ["the files that the running gateway reads are not good", "FAILED  door"];
    said_in(&gateway.directory, "check --live other.yaml").bad(7, &theirs);
    write(&gateway, &text("other/{room}", ""));
    said_in(&gateway.directory, "check --live other.yaml").bad(3, &[theirs[0], "room"]);
}

#[test]
fn check_live_without_a_gateway_says_so() {
    let directory = std::env::temp_dir().join(format!("motegate-live-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    std::fs::write(directory.join("motegate.yaml"), text("site/door", "")).expect("it writes");
    said_in(&directory, "check --live").bad(5, &["no gateway answers at", "control.sock"]);
    said_in(&directory, "check --live --control ./none").bad(5, &["./none"]);
    said_in(&directory, "check --control ./none").bad(2, &["--live"]);
    let _ = std::fs::remove_dir_all(&directory);
}

#[test]
fn sighup_reloads() {
    let gateway = Configured::start("reload-hup", &text("site/door", ""));
    let mut watcher = Watcher::new(&gateway);
    write(
        &gateway,
        &text("other/door", "  - {name: more, protocol: mqtt, bind: \"127.0.0.1:0\"}\n"),
    );
    let pid = status(&gateway)["pid"].to_string();
    assert!(Command::new("kill").args(["-HUP", &pid]).status().expect("kill runs").success());
    wait_for_reload(&gateway, true, "3 listeners");
    put(&gateway, "1");
    watcher.hears("other/door", "1");
    let listeners = status(&gateway)["listeners"].clone();
    let new = listeners.as_array().expect("a list").iter().find(|l| l["name"] == "more");
    let address = new.expect("the new listener")["address"].as_str().expect("text").to_owned();
    assert!(std::net::TcpStream::connect(&address).is_ok(), "it listens there");
    // And back: the port is given up.
    write(&gateway, &text("other/door", ""));
    said_in(&gateway.directory, "reload").good();
    assert!(std::net::TcpStream::connect(&address).is_err(), "it listens there no more");
}

/// Ports that nobody has, of both transports.
fn free_ports<const N: usize>() -> [u16; N] {
    let held: [_; N] = std::array::from_fn(|_| {
        loop {
            let tcp = std::net::TcpListener::bind("0.0.0.0:0").expect("a port");
            let port = tcp.local_addr().expect("it has one").port();
            if let Ok(udp) = std::net::UdpSocket::bind(("0.0.0.0", port)) {
                return (tcp, udp, port);
            }
        }
    });
    held.map(|(_, _, port)| port)
}

/// Listeners by name, protocol and address.
fn listeners(all: &[(&str, &str, String)]) -> String {
    let line = |(name, protocol, bind): &(&str, &str, String)| {
        format!("  - {{name: {name}, protocol: {protocol}, bind: {bind}, anonymous: true}}\n")
    };
    let lines = all.iter().map(line).collect::<String>();
    format!(
        "version: 1\ndurability: none\nlisteners:\n{lines}\
         mappings: {{coap: [{{name: door, path: /door, topic: site/door}}]}}\n"
    )
}

fn put_at(gateway: &Configured, port: u16) -> bool {
    let line = format!("put coap://127.0.0.1:{port}/door 1 -W 2");
    said_in(&gateway.directory, &line).code == Some(0)
}

#[test]
fn a_listener_is_renamed_on_its_port_and_its_clients_stay() {
    let [mqtt, coap] = free_ports();
    let text = |lan: &str, edge: &str| {
        listeners(&[
            (lan, "mqtt", format!("\"127.0.0.1:{mqtt}\"")),
            (edge, "coap", format!("\"127.0.0.1:{coap}\"")),
        ])
    };
    let gateway = Configured::start("reload-rename", &text("lan", "edge"));
    let mut watcher = Watcher::new(&gateway);
    let url = format!("coap://127.0.0.1:{coap}/door");
    let observer = common::client::Running::until("no value yet", &format!("observe {url} -C 1"));
    write(&gateway, &text("house", "garden"));
    let told = said_in(&gateway.directory, "reload").good();
    assert!(told.contains("no client is touched"), "{told}");
    assert!(told.contains("listener lan is called house now"), "{told}");
    assert!(told.contains("listener edge is called garden now"), "{told}");
    assert!(put_at(&gateway, coap));
    watcher.hears("site/door", "1");
    assert_eq!(observer.end(), (Some(0), "1\n".to_owned()));
    let names: Vec<Value> = status(&gateway)["listeners"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|listener| listener["name"].clone())
        .collect();
    assert_eq!(names, ["house", "garden"]);
}

#[test]
fn listeners_swap_their_ports() {
    let [a, b, c, d] = free_ports();
    let text = |[a, b, c, d]: [u16; 4]| {
        listeners(&[
            ("a", "mqtt", format!("\"127.0.0.1:{a}\"")),
            ("b", "mqtt", format!("\"127.0.0.1:{b}\"")),
            ("c", "coap", format!("\"127.0.0.1:{c}\"")),
            ("d", "mqttsn", format!("\"127.0.0.1:{d}\"")),
        ])
    };
    let gateway = Configured::start("reload-swap", &text([a, b, c, d]));
    let mut watcher = Watcher::new(&gateway);
    for ports in [[b, a, d, c], [a, b, c, d], [a, b, d, c]] {
        write(&gateway, &text(ports));
        let told = said_in(&gateway.directory, "reload").good();
        let moved = format!("listener d moved from 127.0.0.1:{} to", ports[2]);
        assert!(
            told.contains(&moved) && told.contains("its clients are told, and have to go there"),
            "{told}"
        );
        assert!(put_at(&gateway, ports[2]) && !put_at(&gateway, ports[3]));
        watcher.hears("site/door", "1");
        let mut other = connect(([127, 0, 0, 1], ports[1]).into(), 4, "other");
        other.write_all(&[0xc0, 0]).expect("it reads");
        assert_eq!(read_packet(&mut other), Some((0xd0, vec![])));
    }
}

/// The first thing a user does after `init`.
#[test]
fn a_listener_goes_from_loopback_to_all_addresses_on_its_port_and_back() {
    let [mqtt, coap] = free_ports();
    let text = |ip: &str| {
        listeners(&[
            ("lan", "mqtt", format!("\"{ip}:{mqtt}\"")),
            ("edge", "coap", format!("\"{ip}:{coap}\"")),
        ])
    };
    let gateway = Configured::start("reload-all", &text("127.0.0.1"));
    let mut watcher = Watcher::new(&gateway);
    for ip in ["0.0.0.0", "127.0.0.1", "[::]", "0.0.0.0", "[::]", "127.0.0.1"] {
        write(&gateway, &text(ip));
        let told = said_in(&gateway.directory, "reload").good();
        assert!(told.contains(&format!("to {ip}:{mqtt}: new connections go there")), "{told}");
        assert!(put_at(&gateway, coap), "{ip}");
        watcher.hears("site/door", "1");
        drop(connect(([127, 0, 0, 1], mqtt).into(), 4, "other"));
        let elsewhere = std::net::TcpStream::connect(("127.0.0.2", mqtt)).is_ok();
        assert_eq!(elsewhere, ip != "127.0.0.1", "{ip}");
        assert!(std::net::TcpListener::bind(("127.0.0.1", mqtt)).is_err(), "it is ours alone");
        assert!(std::net::UdpSocket::bind(("127.0.0.1", coap)).is_err(), "it is ours alone");
    }
}

#[test]
fn a_listener_has_several_addresses_and_each_keeps_its_clients() {
    let [mqtt, coap] = free_ports();
    let text = |mqtts: &str, coaps: &str| {
        listeners(&[
            ("lan", "mqtt", mqtts.replace('P', &mqtt.to_string())),
            ("edge", "coap", coaps.replace('P', &coap.to_string())),
        ])
    };
    let gateway = Configured::start(
        "reload-several",
        &text("[\"127.0.0.1:P\", \"127.0.0.2:P\"]", "[\"127.0.0.1:P\", \"127.0.0.2:P\"]"),
    );
    let mut watcher = Watcher::new(&gateway);
    let url = format!("coap://127.0.0.2:{coap}/door");
    let line = format!("observe {url} -C 2");
    let observer = common::client::Running::until("no value yet", &line);
    let told = said_in(&gateway.directory, "reload").good();
    assert!(told.ends_with("no client is touched\n"), "{told}");
    assert!(put_at(&gateway, coap));
    watcher.hears("site/door", "1");
    // The order is nobody's business, and neither is the address that is no more.
    write(&gateway, &text("[\"127.0.0.2:P\", \"127.0.0.1:P\"]", "[\"127.0.0.2:P\"]"));
    let told = said_in(&gateway.directory, "reload").good();
    let gone =
        format!("no client is touched\n  listener edge listens on 127.0.0.1:{coap} no more\n");
    assert!(told.ends_with(&gone), "{told}");
    said_in(&gateway.directory, &format!("put {url} 2")).good();
    watcher.hears("site/door", "2");
    assert_eq!(observer.end(), (Some(0), "1\n2\n".to_owned()));
}

#[test]
fn an_address_that_cannot_be_had_changes_nothing_and_says_who_has_it() {
    let [mqtt, coap] = free_ports();
    let text = |ip: &str, more: &str| {
        listeners(&[
            ("lan", "mqtt", format!("\"{ip}:{mqtt}\"")),
            ("edge", "coap", format!("\"{ip}:{coap}\"")),
            ("free", "mqtt", "\"127.0.0.1:0\"".into()),
            ("more", "mqtt", more.into()),
        ])
    };
    let gateway = Configured::start("reload-own", &text("127.0.0.1", "\"127.0.0.1:0\""));
    let mut watcher = Watcher::new(&gateway);
    let all = status(&gateway)["listeners"].clone();
    let free = all[2]["address"].as_str().expect("text").to_owned();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let theirs = taken.local_addr().expect("it has one").to_string();
    for (address, words) in [
        (&theirs, ["is taken", "Another program has it"]),
        (&free, ["this gateway itself has", "for its listener free"]),
    ] {
        // The others could go to all addresses.
        write(&gateway, &text("0.0.0.0", &format!("\"{address}\"")));
        for line in ["reload --dry-run", "check --live"] {
            said_in(&gateway.directory, line).bad(1, &words);
        }
        said_in(&gateway.directory, "reload").bad(1, &["nothing was changed", words[0], words[1]]);
        assert_eq!(status(&gateway)["listeners"], all);
        assert!(put_at(&gateway, coap));
        watcher.hears("site/door", "1");
        drop(connect(([127, 0, 0, 1], mqtt).into(), 4, "other"));
        assert!(std::net::TcpStream::connect(("127.0.0.2", mqtt)).is_err());
        assert!(std::net::TcpListener::bind(("0.0.0.0", mqtt)).is_err(), "it is ours alone");
        assert!(std::net::UdpSocket::bind(("0.0.0.0", coap)).is_err(), "it is ours alone");
    }
}

#[test]
fn a_look_ahead_tries_addresses_and_lets_them_go() {
    let [port, other] = free_ports();
    let at = |more: &str| {
        let edge = format!("\"127.0.0.1:{port}\"");
        listeners(&[("edge", "coap", edge), ("more", "mqtt", more.into())])
    };
    let gateway = Configured::start("reload-try", &at(&format!("\"127.0.0.1:{other}\"")));
    write(&gateway, &at("\"192.0.2.1:1883\""));
    let words = ["more", "192.0.2.1:1883"];
    said_in(&gateway.directory, "reload --dry-run").bad(1, &words);
    said_in(&gateway.directory, "reload").bad(1, &words);
    // One that is given up by the same change may be had, and one that was tried is free.
    for more in ["\"127.0.0.1:0\"".to_owned(), format!("\"0.0.0.0:{other}\"")] {
        write(&gateway, &at(&more));
        for _ in 0..2 {
            let told = said_in(&gateway.directory, "reload --dry-run").good();
            assert!(told.contains("listener more moved from"), "{told}");
        }
        said_in(&gateway.directory, "reload").good();
    }
}

#[test]
fn changed_files_are_reloaded_where_that_is_asked_for() {
    let gateway =
        Configured::start_with("reload-watch", &text("site/door", ""), &["run", "--watch"]);
    let mut watcher = Watcher::new(&gateway);
    write(&gateway, &text("other/door", ""));
    wait_for_reload(&gateway, true, "1 rule");
    put(&gateway, "1");
    watcher.hears("other/door", "1");
    write(&gateway, "version: 2\n");
    wait_for_reload(&gateway, false, "version");
}

fn pid(gateway: &Configured) -> String {
    status(gateway)["pid"].to_string()
}

fn signal(name: &str, pid: &str) {
    let status = Command::new("kill").args([name, pid]).status().expect("kill runs");
    assert!(status.success(), "{name}");
}

/// A pipe that nobody writes into, in the midst of the files.
#[test]
fn a_file_that_never_ends_is_refused_and_the_gateway_lives_and_ends_as_ever() {
    let mut gateway = Configured::start("reload-pipe", &text("site/door", ""));
    std::fs::create_dir(gateway.directory.join("conf.d")).expect("a directory");
    let pipe = gateway.directory.join("conf.d/a.yaml");
    assert!(Command::new("mkfifo").arg(pipe).status().expect("mkfifo runs").success());
    let pid = pid(&gateway);
    signal("-HUP", &pid);
    wait_for_reload(&gateway, false, "it is a pipe");
    said_in(&gateway.directory, "reload").bad(3, &["conf.d/a.yaml", "it is a pipe, not a file"]);
    signal("-TERM", &pid);
    assert_eq!(gateway.ended(PATIENCE), Some(0));
}

/// So many tests that a reload takes long.
fn many_tests(gateway: &Configured) {
    std::fs::create_dir_all(gateway.directory.join("conf.d")).expect("a directory");
    for file in 0..2 {
        let tests = (0..10_000).map(|n| {
            format!(
                "  - {{name: t{file}-{n}, coap: {{method: PUT, path: /door, text: x}}, \
                 expect: {{code: \"2.01\"}}}}\n"
            )
        });
        let text = format!("tests:\n{}", tests.collect::<String>());
        let name = format!("conf.d/{file}.yaml");
        std::fs::write(gateway.directory.join(name), text).expect("it writes");
    }
}

#[test]
fn signals_do_not_wait_for_a_configuration_that_is_being_read() {
    for (signals, code) in [(&["-TERM"][..], 0), (&["-INT", "-TERM"][..], 1)] {
        let mut gateway = Configured::start("reload-long", &text("site/door", ""));
        // A client that does not end its half keeps the first signal waiting, not the second.
        let _client = connect(gateway.address("mqtt"), 4, "slow");
        many_tests(&gateway);
        let pid = pid(&gateway);
        let directory = gateway.directory.clone();
        let asking = std::thread::spawn(move || said_in(&directory, "reload"));
        std::thread::sleep(Duration::from_millis(500)); // it reads
        assert!(status(&gateway)["last_reload"].is_null(), "it is still reading");
        for name in signals {
            signal(name, &pid);
        }
        assert_eq!(gateway.ended(Duration::from_secs(5)), Some(code), "{signals:?}");
        asking.join().expect("it ends").bad(5, &[]);
    }
}

/// The last edit holds, whatever was under way when it was made.
#[test]
fn a_storm_of_signals_and_edits_ends_with_the_last_edit() {
    let gateway =
        Configured::start_with("reload-storm", &text("site/door", ""), &["run", "--watch"]);
    let mut watcher = Watcher::new(&gateway);
    let pid = pid(&gateway);
    let file = gateway.directory.join("motegate.yaml");
    for n in 0..50 {
        // As editors do: a new file takes the old one's name.
        let new = gateway.directory.join("motegate.yaml.new");
        std::fs::write(&new, text(&format!("n{n}/door"), "")).expect("it writes");
        std::fs::rename(&new, &file).expect("it is renamed");
        signal("-HUP", &pid);
    }
    let held = (0..PATIENCE.as_millis() / 20).any(|_| {
        put(&gateway, "1");
        std::thread::sleep(Duration::from_millis(20)); // between two questions
        watcher.heard().0 == "n49/door"
    });
    assert!(held, "the last edit is lost");
    std::thread::sleep(Duration::from_secs(1)); // whatever else was under way
    put(&gateway, "2");
    watcher.hears("n49/door", "2");
}

#[test]
fn what_counts_from_the_next_start_is_named() {
    let gateway = Configured::start("reload-fixed", &text("site/door", ""));
    write(&gateway, &text("site/door", "log: {level: debug}\n"));
    let told = said_in(&gateway.directory, "reload").good();
    assert!(told.contains("log counts from the next start"), "{told}");
}

#[test]
fn without_a_gateway_or_a_file_there_is_nothing_to_reload() {
    let directory = std::env::temp_dir().join(format!("motegate-reload-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    said_in(&directory, "reload").bad(5, &["motegate dev"]);
    let dev = common::Program::dev_in(&directory);
    said_in(&directory, "reload").bad(1, &["without a configuration file"]);
    drop(dev);
    let _ = std::fs::remove_dir_all(&directory);
}
