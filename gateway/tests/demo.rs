//! `motegate demo` against a gateway of its own, and its failures.

mod common;

use common::Program;
use common::client::said;

fn ports(gateway: &Program) -> String {
    let port = |protocol| gateway.address(protocol).port();
    format!(
        "--host 127.0.0.1 --mqtt-port {} --mqttsn-port {} --coap-port {}",
        port("mqtt"),
        port("mqtt-sn"),
        port("coap"),
    )
}

#[test]
fn the_help_fits_and_ends_with_examples() {
    let text = said("demo --help").good();
    for word in ["--seconds", "--host", "Examples:", "demo/#"] {
        assert!(text.contains(word), "{word} is not in\n{text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
}

#[test]
fn every_protocol_is_seen_to_reach_every_other() {
    let gateway = Program::dev();
    let text = said(&format!("demo --seconds 7 {}", ports(&gateway))).good();
    let find = |words: &[&str]| {
        let line = text.lines().find(|line| words.iter().all(|word| line.contains(word)));
        assert!(line.is_some(), "{words:?} are not in one line of\n{text}");
    };
    find(&["mqtt-sn demo-env-1", "→ mqtt    demo-panel", "demo/env-1/temp = ", " ms)"]);
    find(&["mqtt-sn demo-env-1", "→ coap    demo-lamp", "demo/env-1/temp = "]);
    find(&["coap    demo-door", "→ mqtt    demo-panel", "demo/door = open"]);
    find(&["mqtt    demo-panel", "→ coap    demo-lamp", "demo/lamp = on"]);
    find(&["coap    demo-door", "→ mqtt-sn demo-env-3", "(waited "]);
    find(&["mqtt    demo-panel", "→ mqtt-sn demo-env-", "/interval = ", "(waited "]);
    find(&["mqtt-sn demo-env-2", "sleeps for 3 s"]);
    find(&["mqtt-sn demo-env-3", "woke up", "had waited"]);
    find(&["a sleeper woke up", ". Messages:"]);
    assert!(!text.contains("someone"), "{text}");
}

#[test]
fn it_leaves_nothing_behind() {
    let directory = std::env::temp_dir().join(format!("motegate-demo-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    let gateway = Program::dev_in(&directory);
    let port = gateway.address("mqtt").port();
    let socket = directory.join(format!("motegate/dev-{port}.sock"));
    let ask = |what: &str| said(&format!("{what} --control {}", socket.display())).good();
    let nothing = || {
        assert_eq!(ask("clients list"), "");
        assert_eq!(ask("topics tree"), "");
    };
    // While the sensors are awake, and after they have slept.
    for seconds in ["0.3", "4"] {
        said(&format!("demo --seconds {seconds} {}", ports(&gateway))).good();
        nothing();
    }
    // One that cannot even begin.
    let coap = gateway.address("coap").port();
    let line =
        format!("demo --host 127.0.0.1 --mqtt-port {port} --mqttsn-port 1 --coap-port {coap}");
    said(&line).bad(5, &["nothing listens"]);
    nothing();
    drop(gateway);
    let _ = std::fs::remove_dir_all(&directory);
}

#[test]
fn failures_say_what_is_wrong() {
    let gateway = Program::dev();
    said(&format!("demo {}", ports(&gateway).replace("--mqttsn-port ", "--mqttsn-port 1 --x ")))
        .bad(2, &["--x"]);
    said("demo --seconds 0").bad(2, &["above 0"]);
    said("demo --host no-such-host.invalid").bad(5, &["no host `no-such-host.invalid`", "--host"]);
    let mqtt = gateway.address("mqtt").port();
    let line = format!("demo --host 127.0.0.1 --mqtt-port {mqtt} --mqttsn-port 1 --coap-port 1");
    let said = said(&line);
    assert!(!said.err.contains("-p PORT"), "{}", said.err);
    said.bad(5, &["nothing listens", "try:", "--host", "--mqttsn-port"]);
}
