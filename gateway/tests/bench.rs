//! `motegate bench` against a gateway of its own, and its failures.

mod common;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::TcpListener;

use common::client::{Configured, Said, said};
use common::{Program, connect, motegate, packet, read_packet, string};
use serde_json::Value;

fn url(gateway: &Program, scheme: &str) -> String {
    let protocol = match scheme {
        "mqttsn" => "mqtt-sn",
        other => other,
    };
    format!("{scheme}://{}", gateway.address(protocol))
}

/// Runs it, and gives its figures.
#[track_caller]
fn figures(line: &str) -> Value {
    let text = said(&format!("bench {line} -o json")).good();
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn the_helps_fit_and_end_with_examples() {
    let text = said("bench --help").good();
    for word in ["conn", "pub", "sub", "rtt", "Examples:"] {
        assert!(text.contains(word), "{word} is not in\n{text}");
    }
    for what in ["conn", "pub", "sub", "rtt"] {
        let text = said(&format!("bench {what} --help")).good();
        for word in ["--rate", "--count", "--for", "--clients", "--window", "--payload", "--qos"] {
            assert!(text.contains(word), "{word} is not in\n{text}");
        }
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }
}

#[test]
fn every_protocol_delivers_everything_in_both_directions() {
    let gateway = Program::dev();
    for (scheme, qos) in [("mqtt", 0), ("mqtt", 1), ("mqtt", 2), ("mqttsn", 1), ("mqttsn", 2)] {
        let line = format!("rtt {} -q {qos} -c 3 -n 300 -w 8", url(&gateway, scheme));
        let report = figures(&line);
        assert_eq!(report["delivered"], 300, "{line}: {report}");
        assert_eq!(report["acknowledged"], 300, "{line}: {report}");
        for none in ["lost", "duplicates", "refused", "broken", "replaced"] {
            assert_eq!(report[none], 0, "{line}: {none}: {report}");
        }
        let latency = &report["latency"];
        let micros = |name: &str| latency[name].as_u64().expect("a number");
        assert_eq!(latency["until"], "delivery");
        assert!(micros("p50_us") > 0 && micros("p50_us") <= micros("p99_us"), "{report}");
        assert!(micros("p99_us") <= micros("max_us"), "{report}");
        assert!(report["bench_cpu"]["seconds"].as_f64().expect("seconds") > 0.0, "{report}");
    }
}

#[test]
fn what_an_observer_misses_was_replaced_and_not_lost() {
    let gateway = Program::dev();
    let report = figures(&format!("sub {} -q 1 -c 4 -n 40", url(&gateway, "coap")));
    let of = |name: &str| report[name].as_u64().expect("a number");
    assert_eq!(of("sent"), 40);
    assert_eq!(of("acknowledged"), 40);
    assert_eq!(of("delivered") + of("replaced") + of("lost"), 160, "{report}");
    assert_eq!((of("lost"), of("duplicates")), (0, 0), "{report}");
}

#[test]
fn one_protocol_publishes_and_another_receives() {
    let gateway = Program::dev();
    let (sn, mqtt) = (url(&gateway, "mqttsn"), url(&gateway, "mqtt"));
    let text = said(&format!("bench rtt {sn} --to {mqtt} -q 1 -n 100 --rate 1000")).good();
    assert!(text.starts_with(&format!("rtt {sn} → {mqtt} · 1 pair · QoS 1")), "{text}");
    for words in ["delivered  100,", "lost 0 · duplicates 0", "latency    p50 ", "µs CPU a message"]
    {
        assert!(text.contains(words), "{words} is not in\n{text}");
    }
}

#[test]
fn fan_out_reaches_everybody_and_fan_in_comes_together() {
    let gateway = Program::dev();
    for (scheme, publishers, clients) in [("mqtt", 1, 20), ("mqtt", 20, 1), ("mqttsn", 1, 5)] {
        let url = url(&gateway, scheme);
        let line = format!("sub {url} -q 1 --publishers {publishers} -c {clients} -n 40");
        let report = figures(&line);
        assert_eq!(report["sent"], 40, "{line}: {report}");
        assert_eq!(report["delivered"], 40 * clients, "{line}: {report}");
    }
}

#[test]
fn publishing_to_nobody_waits_for_the_acknowledgement() {
    let gateway = Program::dev();
    for scheme in ["mqtt", "mqttsn", "coap"] {
        let report = figures(&format!("pub {} -q 1 -c 2 -n 100", url(&gateway, scheme)));
        assert_eq!(report["acknowledged"], 100, "{scheme}: {report}");
        assert_eq!(report["latency"]["until"], "acknowledgement", "{scheme}: {report}");
        // Nobody answers at QoS 0: no figure is better than a wrong one.
        let report = figures(&format!("pub {} -q 0 -n 100", url(&gateway, scheme)));
        assert_eq!(report["latency"].is_null(), scheme != "coap", "{scheme}: {report}");
        assert_eq!(report["sent"], 100);
    }
}

#[test]
fn many_clients_connect_at_once_and_over_again() {
    let gateway = Program::dev();
    for scheme in ["mqtt", "mqttsn", "coap"] {
        let url = url(&gateway, scheme);
        for (options, connections) in [("-c 60", 60), ("-c 3 -n 30", 30)] {
            let report = figures(&format!("conn {url} {options}"));
            assert_eq!(report["acknowledged"], connections, "{scheme} {options}: {report}");
            assert_eq!(report["latency"]["until"], "connection");
        }
    }
}

#[test]
fn sn_clients_share_a_socket_behind_a_forwarder() {
    let gateway = Program::dev();
    let report = figures(&format!("rtt {} --forwarder -q 1 -c 50 -n 500", url(&gateway, "mqttsn")));
    assert_eq!((&report["delivered"], &report["lost"]), (&500.into(), &0.into()), "{report}");
}

#[test]
fn a_rate_and_a_time_are_kept() {
    let gateway = Program::dev();
    let report = figures(&format!("rtt {} --rate 200 --for 1", url(&gateway, "mqtt")));
    let sent = report["sent"].as_u64().expect("a number");
    assert!((195..=201).contains(&sent), "{report}");
    let pid = std::process::id();
    let line = format!("pub {} -q 1 --for 0.2 --pid {pid}", url(&gateway, "mqtt"));
    let report = figures(&line);
    assert_eq!(report["process"]["pid"], pid);
    assert!(report["process"]["resident_bytes"].as_u64().expect("bytes") > 100_000, "{report}");
}

/// Nobody acknowledges QoS 0: what is counted is told, and takes longer than nothing.
#[test]
fn what_nobody_acknowledges_is_counted_until_it_was_handled() {
    let gateway = Program::dev();
    for scheme in ["mqtt", "mqttsn"] {
        let text = said(&format!("bench pub {} -n 1000", url(&gateway, scheme))).good();
        assert!(text.contains("/s, until the server had handled all\n"), "{text}");
        assert!(text.contains(" ms, ") && !text.contains("in 0.00 "), "{text}");
    }
}

#[test]
fn failures_say_what_is_wrong() {
    let gateway = Program::dev();
    let mqtt = url(&gateway, "mqtt");
    for scheme in ["mqtt", "mqttsn", "coap"] {
        said(&format!("bench rtt {scheme}://127.0.0.1:1")).bad(5, &["nothing listens", "try:"]);
    }
    said("bench conn mqtt://no-such-host.invalid").bad(5, &["no host `no-such-host.invalid`"]);
    for (line, word) in [
        ("rtt localhost".to_owned(), "no URL"),
        (format!("rtt {mqtt} --payload 8"), "at least 20 bytes"),
        (format!("rtt {mqtt} --qos 3"), "--qos"),
        (format!("rtt {mqtt} --rate 0"), "--rate"),
        (format!("pub {mqtt} --to {mqtt}"), "--to"),
        (format!("conn {mqtt} --pid 4294967295"), "no process"),
        (format!("rtt {mqtt} --forwarder"), "mqttsn://"),
        (format!("conn {mqtt} -c 1000000"), "open files"),
        (format!("pub {} --qos 2", url(&gateway, "coap")), "CON"),
    ] {
        said(&format!("bench {line}")).bad(2, &[word]);
    }
}

/// A socket that listens and never answers.
#[test]
fn silence_is_exit_27() {
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    let port = silent.local_addr().expect("bound").port();
    said(&format!("bench pub coap://127.0.0.1:{port}")).bad(27, &["timed out", "try:"]);
}

/// Runs of all protocols with these options, each of which has got a message through.
fn under_way(gateway: &Program, options: &'static str) -> Vec<std::thread::JoinHandle<Said>> {
    let mut watcher = connect(gateway.address("mqtt"), 4, "watcher");
    let mut subscribe = vec![0, 1];
    string(&mut subscribe, "#");
    subscribe.push(0);
    watcher.write_all(&packet(0x82, &subscribe)).expect("it reads");
    assert_eq!(read_packet(&mut watcher), Some((0x90, vec![0, 1, 0])));

    let places = [("mqtt", "mqtt"), ("mqttsn", "mqttsn"), ("coap", "mqtt/coap")];
    let runs: Vec<_> = places
        .into_iter()
        .map(|(scheme, path)| {
            let url = format!("{}/{path}", url(gateway, scheme));
            std::thread::spawn(move || said(&format!("bench rtt {url} {options}")))
        })
        .collect();
    // When the third of each has come, the first has come back to its sender.
    let mut wanted = BTreeMap::from([("mqtt", 3), ("mqttsn", 3), ("coap", 3)]);
    while wanted.values().any(|left| *left > 0) {
        let (_, body) = read_packet(&mut watcher).expect("messages of each");
        let length = usize::from(u16::from_be_bytes([body[0], body[1]]));
        let topic = std::str::from_utf8(&body[2..][..length]).expect("a topic");
        let left = wanted.get_mut(topic).expect("one of the three");
        *left = i32::max(*left - 1, 0);
    }
    runs
}

/// What stands still in the middle ends the run with its report, too.
#[test]
fn a_gateway_that_does_not_answer_any_more_ends_the_run() {
    let gateway = Program::dev();
    let runs = under_way(&gateway, "--qos 1 --rate 100 --for 60 -W 1.5");
    gateway.signal("STOP");
    for run in runs {
        let said = run.join().expect("it ends");
        assert_eq!(said.code, Some(6), "{}{}", said.out, said.err);
        assert!(said.out.starts_with("rtt "), "{}{}", said.out, said.err);
        assert!(said.err.contains("no sign of") && said.err.contains("1.5 s"), "{}", said.err);
    }
}

/// MQTT 5 tells its limit, 3.1.1 closes the connection.
#[test]
fn a_payload_that_the_gateway_does_not_take_ends_the_run() {
    let gateway = Program::dev();
    let url = url(&gateway, "mqtt");
    for what in ["pub", "sub", "rtt"] {
        let line = format!("bench {what} {url} -c 2");
        said(&format!("{line} --payload 268435460 -n 2")).bad(2, &["--payload", "268435455"]);
        for limit in ["-n 2", "--for 1"] {
            let line = format!("{line} --payload 3000000 {limit}");
            said(&line).bad(2, &["--payload 3000000", "2097152 bytes"]);
            for qos in [0, 1] {
                let said = said(&format!("{line} --qos {qos} -V 311"));
                assert_eq!(said.code, Some(6), "{line}: {}{}", said.out, said.err);
                for words in ["took no message", "--payload"] {
                    assert!(said.err.contains(words), "{line}: {}", said.err);
                }
            }
        }
        assert_eq!(figures(&format!("{what} {url} -c 2 -n 2 --payload 2000000"))["sent"], 2);
    }
}

/// A server that takes connections and says nothing more.
#[test]
fn a_server_that_only_listens_ends_the_run() {
    let server = TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = server.local_addr().expect("bound");
    std::thread::spawn(move || {
        for mut stream in server.incoming().flatten() {
            std::thread::spawn(move || {
                while let Some((first, _)) = read_packet(&mut stream) {
                    if first == 0x10 {
                        stream.write_all(&[0x20, 3, 0, 0, 0]).expect("a CONNACK");
                    }
                }
            });
        }
    });
    said(&format!("bench pub mqtt://{addr} -q 1 -n 2 -W 0.5")).bad(6, &["no sign of", "0.5 s"]);
    said(&format!("bench rtt mqtt://{addr} -n 2 -W 0.5")).bad(6, &["nothing becomes ready"]);
}

#[test]
fn nothing_sent_is_no_success() {
    let gateway = Program::dev();
    for scheme in ["mqtt", "mqttsn", "coap"] {
        let url = url(&gateway, scheme);
        let said = said(&format!("bench pub {url} --rate 1 --for 0.000001"));
        assert_eq!(said.code, Some(6), "{}{}", said.out, said.err);
        assert!(said.err.contains("nothing was sent"), "{}", said.err);
    }
}

/// What is killed in the middle ends the run, with a report and its fault.
#[test]
fn a_gateway_that_dies_ends_the_run() {
    let gateway = Program::dev();
    let runs = under_way(&gateway, "--rate 100 --for 30");
    drop(gateway); // kills it
    for run in runs {
        let said = run.join().expect("it ends");
        assert_eq!(said.code, Some(1), "{}{}", said.out, said.err);
        assert!(said.out.starts_with("rtt "), "{}{}", said.out, said.err);
        assert!(said.err.contains("connection"), "{}", said.err);
    }
}

/// The subscriber of the other side was let in: it says goodbye, or the gateway would keep it until it
/// has been silent for long.
#[test]
fn who_is_refused_takes_leave_on_the_other_side() {
    let gateway = Configured::start(
        "bench-leave",
        "version: 1\ndurability: none\nlisteners:\n\
         \x20 - {protocol: mqtt, bind: \"127.0.0.1:0\"}\n\
         \x20 - {protocol: mqttsn, bind: \"127.0.0.1:0\", anonymous: true}\n",
    );
    let (mqtt, sn) = (gateway.address("mqtt"), gateway.address("mqtt-sn"));
    said(&format!("bench rtt mqtt://{mqtt} --to mqttsn://{sn} -n 5")).bad(4, &["refused"]);
    let mut list = motegate(&["clients", "list", "-o", "json"]);
    list.current_dir(&gateway.directory).env("XDG_RUNTIME_DIR", &gateway.directory);
    let told = list.env_remove("MOTEGATE_CONTROL").output().expect("the program runs");
    let told: Value = serde_json::from_slice(&told.stdout).expect("JSON");
    assert_eq!(told["clients"], serde_json::json!([]));
}
