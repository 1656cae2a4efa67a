//! Our commands over connections (RFC 8323) against libcoap's server (TCP, TLS by OpenSSL) and aiocoap's (TCP,
//! WebSocket): values, bodies of every size, observations, signals.

use motegate_tests::gateway::scratch;
use motegate_tests::process::{Finished, Process};
use motegate_tests::server::{Make, Server, Way, motegate, running};

const ALL: [(Make, Way); 4] = [
    (Make::Libcoap, Way::Tcp),
    (Make::Libcoap, Way::Tls),
    (Make::Aiocoap, Way::Tcp),
    (Make::Aiocoap, Way::WebSocket),
];

/// A command at a path of the server, with what it takes to trust it.
fn words(server: &Server, way: Way, command: &str, path: &str) -> Vec<String> {
    let mut words = vec![command.to_owned(), server.url(path)];
    if way == Way::Tls {
        words.extend(["--cafile".to_owned(), server.authority()]);
    }
    words
}

fn ask(server: &Server, way: Way, command: &str, path: &str, more: &[&str]) -> Finished {
    let words = words(server, way, command, path);
    let words: Vec<&str> = words.iter().map(String::as_str).chain(more.iter().copied()).collect();
    motegate(&words)
}

fn observing(server: &Server, way: Way, path: &str, more: &[&str]) -> Process {
    let words = words(server, way, "observe", path);
    let words: Vec<&str> = words.iter().map(String::as_str).chain(more.iter().copied()).collect();
    running(&words)
}

/// RFC 8323 §3.3, §4, §5.3, §5.4, §8: on each, a value lives and dies, and a Ping has its Pong.
#[test]
fn a_value_is_put_read_and_deleted_on_all() {
    for (make, way) in ALL {
        let server = Server::over(make, way);
        let value = |command: &str, more: &[&str]| ask(&server, way, command, "value", more);
        value("get", &[]).bad(4, "4.04 Not Found");
        assert_eq!(value("put", &["open"]).good("2.01 Created"), "");
        assert_eq!(value("put", &["ajar"]).good("2.04 Changed"), "");
        assert_eq!(value("get", &[]).good("2.05 Content"), "ajar");
        assert_eq!(value("delete", &[]).good("2.02 Deleted"), "");
        let lives = ask(&server, way, "ping", "", &[]).good("");
        assert!(lives.contains("lives: "), "{make:?} {way:?}: {lives}");
        let found = ask(&server, way, "discover", "", &["-q"]).good("");
        let known = if make == Make::Libcoap { "/time" } else { "/count" };
        assert!(found.contains(known), "{make:?} {way:?}: {found}");
    }
}

/// RFC 8323 §5.3.1, §6: what fits the server's messages goes in one, the rest by BERT; blocks of RFC 7959
/// where they are asked for. aiocoap takes messages of 1 MiB, libcoap of 8 MiB; both get 60 KiB of ours.
#[test]
fn bodies_of_every_size_go_and_come() {
    let directory = scratch("connected");
    let file = directory.join("body");
    for (make, way) in ALL {
        let server = Server::over(make, way);
        let path = if make == Make::Libcoap { "example_data" } else { "value" };
        for bytes in [1, 1_024, 1_025, 66_000, 500_000, 1_000_000] {
            let text: String =
                (b'a'..=b'z').cycle().step_by(3).take(bytes).map(char::from).collect();
            std::fs::write(&file, &text).expect("the scratch directory takes a file");
            let name = file.to_str().expect("a path of letters");
            let case = format!("{make:?} {way:?} {bytes} bytes");
            let put = ask(&server, way, "put", path, &["-f", name]);
            assert_eq!(put.status.code(), Some(0), "{case}: {put:#?}");
            for block in [None, Some("1024"), Some("512")] {
                if block.is_some() && bytes > 100_000 {
                    continue; // as many requests as blocks
                }
                let more: Vec<&str> = block.map_or(vec![], |size| vec!["-b", size]);
                let more = [&more[..], &["--no-newline"]].concat();
                let got = ask(&server, way, "get", path, &more).good("2.05 Content");
                assert!(got == text, "{case} in {block:?} came as {}", got.len());
            }
            if bytes <= 66_000 {
                let put = ask(&server, way, "put", path, &["-f", name, "-b", "256"]);
                assert_eq!(put.status.code(), Some(0), "{case} in blocks: {put:#?}");
                let got = ask(&server, way, "get", path, &["--no-newline"]).good("2.05 Content");
                assert!(got == text, "{case} put in blocks came as {}", got.len());
            }
        }
    }
    let _ = std::fs::remove_dir_all(directory);
}

/// RFC 7959 §2.9.3 over a connection, and what no blocks help.
#[test]
fn a_server_may_want_smaller_blocks() {
    let mut server = Server::over(Make::Aiocoap, Way::Tcp);
    let body = "x".repeat(1_000);
    motegate(&["put", &server.url("tight"), &body]).good("2.04 Changed");
    server.process().wait_for_text("upload 1000 bytes");
    motegate(&["put", &server.url("closed"), &body]).bad(4, "4.13");
    motegate(&["get", &server.url("odd")]).bad(6, "critical option 65001");
    motegate(&["get", &server.url("error?4.03")]).bad(4, "4.03 Forbidden: because");
}

/// RFC 8323 §7: every change in order, and a GET with Observe 1 at the end.
#[test]
fn observations_come_in_order_and_end() {
    for way in [Way::Tcp, Way::WebSocket] {
        let mut server = Server::over(Make::Aiocoap, way);
        let mut observer = observing(&server, way, "count", &[]);
        observer.wait_for("the first value", |line| line == "0");
        server.process().wait_for_text("observers 1");
        for value in 1..=20 {
            server.process().say(&format!("count {value}"));
            observer.wait_for("value", |line| line == value.to_string());
        }
        observer.signal("INT");
        let finished = observer.finish();
        assert_eq!(finished.status.code(), Some(0));
        let expected: Vec<String> = (0..=20).map(|value| value.to_string()).collect();
        assert_eq!(finished.stdout, expected);
        server.process().wait_for_text("observers 0");
        server.process().rewind();
        server.process().wait_for_text("observe=1");
        // A value of more than a message of 1,152 bytes.
        server.process().say("swarm Z");
        let got = observing(&server, way, "swarm", &["-C", "1"]).finish();
        assert_eq!(got.stdout, ["Z".repeat(3_000)]);
    }
    for way in [Way::Tcp, Way::Tls] {
        let mut server = Server::over(Make::Libcoap, way);
        let finished = observing(&server, way, "time", &["-C", "3"]).finish();
        assert_eq!((finished.status.code(), finished.stdout.len()), (Some(0), 3), "{finished:#?}");
        assert!(finished.stdout.is_sorted(), "{finished:#?}");
        server.process().wait_for_text("removed subscription");
    }
}

/// RFC 8323 §7.4: an observation ends with its connection. A server that comes back is observed again, at
/// once: nobody has to wait until the value is old.
#[test]
fn a_restarted_server_is_observed_again() {
    for (make, way) in [(Make::Libcoap, Way::Tcp), (Make::Aiocoap, Way::WebSocket)] {
        let mut server = Server::over(make, way);
        let path = if make == Make::Libcoap { "time" } else { "count" };
        let mut observer = observing(&server, way, path, &[]);
        observer.wait_for_text("2.05 Content");
        server.down();
        observer.wait_for_text("asking anew");
        server.up();
        match make {
            Make::Libcoap => {
                server.process().wait_for_text("Observe:0");
            }
            _ => {
                server.process().wait_for_text("observe=0");
                server.process().say("count back");
                observer.wait_for("the value of the new server", |line| line == "back");
            }
        }
        observer.signal("INT");
        assert_eq!(observer.finish().status.code(), Some(0));
    }
}
