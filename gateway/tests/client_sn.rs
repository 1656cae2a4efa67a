//! `pub sub rr` with `mqttsn://`: success against a gateway, and the usual failures.

mod common;

use std::net::SocketAddr;

use common::Program;
use common::client::{Configured, Running, closed_udp, said, said_with_stdin, silent_udp};
use serde_json::Value;

fn url(addr: SocketAddr) -> String {
    format!("mqttsn://{addr}")
}

#[test]
fn what_is_published_is_received_at_every_qos() {
    let gateway = Program::dev();
    let url = url(gateway.address("mqtt-sn"));
    for qos in ["0", "1", "2"] {
        let sub = format!("sub {url} -t site/+ -q {qos} -v -C 1");
        let sub = Running::until(&format!("SUBSCRIBE qos {qos} site/+"), &sub);
        let published = said(&format!("pub {url} -i me -t site/door -q {qos} -m closed"));
        assert_eq!(
            published.err,
            format!("CONNECT ok · REGISTER id 1 · PUBLISH qos {qos} → site/door\n")
        );
        assert_eq!(published.good(), "");
        assert_eq!(sub.end(), (Some(0), "site/door closed\n".to_owned()));
    }
}

#[test]
fn short_topics_and_lines_and_files() {
    let gateway = Program::dev();
    let url = url(gateway.address("mqtt-sn"));
    let sub = Running::until("SUBSCRIBE", &format!("sub {url} -t ab --short -C 4 -N"));
    let lines = said_with_stdin(&format!("pub {url} -t ab --short -l -q 1"), "x\ny\n");
    assert!(lines.err.contains("PUBLISH 2 messages qos 1 → ab"), "{}", lines.err);
    lines.good();
    said_with_stdin(&format!("pub {url}/ab -s -q 1"), "z").good();
    // QoS -1 needs no connection.
    let one = said(&format!("pub {url} -t ab --short --qos -1 -m !"));
    // Whether a gateway takes QoS -1 is its own matter; the client cannot know.
    assert_eq!(one.err, "PUBLISH qos -1 → ab\n");
    said(&format!("pub {url} -t ab -q 1 -m .")).good();
    let (code, out) = sub.end();
    assert_eq!(code, Some(0));
    assert!(["xyz!", "xyz."].contains(&out.as_str()), "{out}");
}

#[test]
fn a_sleeper_fetches_what_was_kept() {
    let gateway = Program::dev();
    let url = url(gateway.address("mqtt-sn"));
    let sub = format!("sub {url} -i sleeper -t site/lamp -q 1 --sleep 1 -C 2 -o ndjson");
    let sub = Running::until("asleep, awake every 1 s", &sub);
    said(&format!("pub {url} -t site/lamp -q 1 -m on")).good();
    said(&format!("pub {url} -t site/lamp -q 1 -m off")).good();
    let (code, out) = sub.end();
    let messages: Vec<Value> =
        out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(code, Some(0));
    assert_eq!(messages[0]["topic"], "site/lamp");
    assert_eq!((&messages[0]["payload"], &messages[1]["payload"]), (&"on".into(), &"off".into()));
    assert_eq!(messages[0]["qos"], 1);

    let asleep = said(&format!("pub {url} -i sensor -t a -m x --sleep 30"));
    assert!(asleep.err.ends_with("· asleep for 30 s\n"), "{}", asleep.err);
}

#[test]
fn a_will_is_published_when_a_subscriber_is_lost() {
    let gateway = Program::dev();
    let url = url(gateway.address("mqtt-sn"));
    let heir = Running::until("SUBSCRIBE", &format!("sub {url} -t w -C 1"));
    let will = format!("sub {url} -t x -k 1 --will-topic w --will-payload gone --will-qos 1");
    Running::until("SUBSCRIBE", &will).signal("KILL");
    assert_eq!(heir.end(), (Some(0), "gone\n".to_owned()));
}

#[test]
fn a_request_finds_its_response() {
    let gateway = Program::dev();
    let url = url(gateway.address("mqtt-sn"));
    let ask = Running::until("PUBLISH → q", &format!("rr {url} -t q -e r -q 1 -m ? -W 20"));
    said(&format!("pub {url} -t r -q 1 -m !")).good();
    assert_eq!(ask.end(), (Some(0), "!\n".to_owned()));
}

/// With the arguments that each needs.
fn commands(url: &str) -> [String; 3] {
    [format!("pub {url}/a -m x"), format!("sub {url}/a"), format!("rr {url}/a -m x")]
}

#[test]
fn nobody_is_there() {
    for index in 0..3 {
        let addr = closed_udp();
        let place = format!("nothing listens on {addr}/udp");
        said(&commands(&url(addr))[index]).bad(5, &[&place, "try: `motegate dev`"]);
    }
    // Also where nobody would answer.
    let addr = closed_udp();
    said(&format!("pub {} --qos -1 -T 1 -m x", url(addr))).bad(5, &["nothing listens"]);
}

#[test]
fn nobody_answers() {
    let (_silent, addr) = silent_udp();
    for command in commands(&url(addr)) {
        said(&format!("{command} -W 0.3")).bad(27, &["timed out", "within 0.3 s", "try:"]);
    }
}

#[test]
fn the_gateway_refuses() {
    let gateway = Configured::closed("sn");
    for command in commands(&url(gateway.address("mqtt-sn"))) {
        said(&command).bad(4, &["CONNECT refused: not supported", "anonymous"]);
    }
    let open = Program::dev();
    let url = url(open.address("mqtt-sn"));
    // What was refused is named.
    for (line, what) in [
        ("pub {url} -T 999 -m x", "PUBLISH refused"),
        ("sub {url} -T 999", "SUBSCRIBE id 999 refused"),
    ] {
        said(&line.replace("{url}", &url)).bad(4, &[what]);
    }
    // The CONNECT went well, and is told of.
    said(&format!("pub {url} -T 999 -q 1 -m x")).bad(4, &["CONNECT ok\n", "invalid topic id"]);
}

#[test]
fn a_payload_that_its_codec_does_not_read_is_hinted_at() {
    let gateway = Configured::start(
        "codec",
        "listeners: [{protocol: mqttsn, bind: \"127.0.0.1:0\", anonymous: true}]\n\
         codecs: {env: {frame: [{temp: i16be}]}}\n\
         mappings: {mqttsn: {topic_ids: {all: {10: {topic: env, codec: env}}}}}\n",
    );
    let url = url(gateway.address("mqtt-sn"));
    said(&format!("pub {url} -T 10 -q 1 -m x")).bad(4, &["PUBLISH refused", "codec of its id"]);
}

/// MQTT-SN 1.2 §6.12: a goodbye; otherwise its keep alive would have to end it.
#[test]
fn who_is_refused_says_goodbye() {
    let folder = std::env::temp_dir().join(format!("motegate-goodbye-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a directory");
    let gateway = Program::dev_in(&folder);
    let url = url(gateway.address("mqtt-sn"));
    said(&format!("pub {url} -i same -T 999 -q 1 -m x")).bad(4, &["invalid topic id"]);
    let port = gateway.address("mqtt").port();
    let socket = folder.join(format!("motegate/dev-{port}.sock"));
    let clients = said(&format!("clients list -o json --control {}", socket.display())).good();
    assert!(!clients.contains("active"), "{clients}");
    drop(gateway);
    let _ = std::fs::remove_dir_all(&folder);
}

#[test]
fn the_command_line_is_wrong() {
    for (line, word) in [
        ("pub mqttsn://localhost -m x", "-t TOPIC"),
        ("pub mqttsn://localhost -t a", "what to send?"),
        ("pub mqttsn://localhost -t abc --short -m x", "two characters"),
        ("pub mqttsn://localhost -t a -m x --qos -1", "predefined id"),
        ("pub mqttsn://localhost -t a -T 1 -m x", "cannot be used"),
        ("pub mqttsn://localhost -T 65535 -m x", "--topic-id"),
        ("pub mqttsn://localhost -t a -m x -q 3", "--qos"),
        ("pub mqttsn://localhost -t a -m x -u me", "no login"),
        ("pub mqttsn://localhost -t a -m x -i a-client-id-of-more-than-23-bytes", "1 to 23"),
        ("pub mqttsns://localhost -t a -m x", "yet"),
        ("sub mqttsn://localhost", "-t FILTER"),
        ("sub mqttsn://localhost -T none", "1 to 65534"),
        ("sub mqttsn://localhost -t a/#/b", "`a/#/b` is no topic filter"),
        ("sub mqttsn://localhost -t a --qos -1", "0..=2"),
        ("sub mqttsn://localhost -t a -c", "-i"),
        ("rr mqttsn://localhost -t a", "what to ask?"),
    ] {
        let said = said(line);
        assert_eq!((said.code, said.out.as_str()), (Some(2), ""), "{line}: {}", said.err);
        assert!(said.err.contains(word), "{line}: {}", said.err);
    }
}

/// Taken over, or after a restart of the gateway: what came is told, and not that nothing came.
#[test]
fn who_is_sent_away_instead_of_answered_is_told_so() {
    for (command, what) in [("sub -t x/#", "SUBSCRIBE x/#"), ("pub -t x -m y -q 1", "REGISTER x")] {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
        let at = socket.local_addr().expect("an address");
        let gateway = std::thread::spawn(move || {
            for answer in [&b"\x03\x05\x00"[..], b"\x02\x18"] {
                let (_, from) = socket.recv_from(&mut [0; 100]).expect("a request");
                socket.send_to(answer, from).expect("an answer");
            }
            socket
        });
        let (name, rest) = command.split_once(' ').expect("a command");
        let told = said(&format!("{name} {} {rest}", url(at)));
        told.bad(5, &[&format!("the gateway has answered {what} with DISCONNECT"), "try:"]);
        gateway.join().expect("two requests");
    }
}
