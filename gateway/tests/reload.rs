//! A running gateway takes another configuration: by SIGHUP, by `motegate reload`, by itself.

mod common;

use std::io::Write as _;
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

    fn hears(&mut self, topic: &str, value: &str) {
        let (_, body) = read_packet(&mut self.0).expect("it is still connected");
        let length = usize::from(u16::from_be_bytes([body[0], body[1]]));
        assert_eq!(
            (&body[2..2 + length], &body[2 + length..]),
            (topic.as_bytes(), value.as_bytes())
        );
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
