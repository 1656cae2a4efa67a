//! `pub sub rr` with `mqtt://`: success against a gateway, and the usual failures.

mod common;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};

use common::Program;
use common::client::{
    Configured, Running, closed_tcp, said, said_with_stdin, said_words, silent_tcp,
};
use common::{packet, read_packet, string};
use serde_json::Value;

fn url(addr: SocketAddr) -> String {
    format!("mqtt://{addr}")
}

#[test]
fn what_is_published_is_received_at_every_qos_and_version() {
    let gateway = Program::dev();
    let url = url(gateway.address("mqtt"));
    for (qos, version) in [("0", "5"), ("1", "mqttv311"), ("2", "31"), ("2", "5")] {
        let sub = format!("sub {url} -t site/+ -t other -q {qos} -V {version} -v -C 1");
        let sub = Running::until(&format!("SUBSCRIBE qos {qos} site/+"), &sub);
        let published = said(&format!("pub {url}/site/door -q {qos} -V {version} -m closed"));
        assert_eq!(published.err, format!("CONNECT ok · PUBLISH qos {qos} → site/door\n"));
        assert_eq!(published.good(), "");
        assert_eq!(sub.end(), (Some(0), "site/door closed\n".to_owned()));
    }
}

#[test]
fn retained_messages_come_at_once_and_are_deleted() {
    let gateway = Program::dev();
    let port = gateway.address("mqtt").port();
    let say = |line: &str| said(&format!("{line} -h localhost -p {port} --quiet"));
    say("pub -t a/1 -r -m one").good();
    say("pub -t a/2 -r -m two").good();
    assert_eq!(say("sub -t a/+ -C 1 -T a/1").good(), "two\n");
    assert_eq!(say("sub -t a/1 -C 1 -N -F %t=%p,%q,%r,%l,%x").good(), "a/1=one,0,1,3,6f6e65");
    say("sub -t a/1 -R -C 1 -W 0.3").bad(27, &[]);
    say("pub -t a/1 -r -n").good();
    said(&format!("sub -p {port} -t a/1 -W 0.3"))
        .bad(27, &["no message within 0.3 s", &format!("`motegate sub -p {port} -t '#' -v`")]);
    said(&format!("sub mqtt://me:secret@localhost:{port}/a -W 0.3"))
        .bad(27, &[&format!("`motegate sub mqtt://localhost:{port} -t '#' -v`")]);
    said(&format!("sub -p {port} -t # -R -W 0.3")).bad(27, &["nobody has published anything"]);
}

#[test]
fn many_lines_arrive_in_order_and_nothing_is_lost() {
    const LINES: usize = 900; // the gateway keeps 1,000 for a subscriber that is slower
    let gateway = Program::dev();
    let url = url(gateway.address("mqtt"));
    let sub = Running::until("SUBSCRIBE", &format!("sub {url} -t bulk -q 1 -C {LINES} -W 60"));
    let lines: String = (0..LINES).map(|n| format!("{n}\n")).collect();
    let published = said_with_stdin(&format!("pub {url} -t bulk -q 1 -l"), &lines);
    assert!(published.err.contains(&format!("PUBLISH {LINES} messages")), "{}", published.err);
    published.good();
    let (code, out) = sub.end();
    assert_eq!(code, Some(0));
    assert!(out == lines, "{} lines arrived", out.lines().count());
}

#[test]
fn properties_go_and_come_and_json_has_them() {
    let gateway = Program::dev();
    let url = url(gateway.address("mqtt"));
    let sub = Running::until(
        "SUBSCRIBE",
        &format!("sub {url} -t p -o json -C 2 -D subscribe subscription-identifier 7"),
    );
    let words = ["pub", "-t", "p", "-m", "x\"y", "-D", "publish", "content-type", "text/plain"];
    let words = [&words[..], &["-D", "publish", "user-property", "unit", "Cel", &url]].concat();
    said_words(&words).good();
    said_with_stdin(&format!("pub {url} -t p -s"), "").good();
    let (code, out) = sub.end();
    let all: Value = serde_json::from_str(&out).unwrap();
    let first = &all[0];
    assert_eq!(
        (code, &first["payload"], &first["payloadlen"]),
        (Some(0), &"x\"y".into(), &3.into())
    );
    let expected = serde_json::json!({
        "content-type": "text/plain",
        "user-properties": {"unit": "Cel"},
        "subscription-identifier": 7
    });
    assert_eq!(first["properties"], expected);
    assert_eq!(all[1]["payload"], "");
}

#[test]
fn a_kept_session_gets_what_was_missed() {
    let gateway = Program::dev();
    let url = url(gateway.address("mqtt"));
    said(&format!("sub {url} -i keep -c -q 1 -t k -E")).good();
    for word in ["one", "two", "three"] {
        said(&format!("pub {url} -q 1 -t k -m {word}")).good();
    }
    // What is not printed is not acknowledged: it comes the next time.
    let first = said(&format!("sub {url} -i keep -c -q 1 -t k -C 1 -W 10"));
    assert!(first.err.contains("session resumed"), "{}", first.err);
    assert_eq!(first.good(), "one\n");
    let rest = said(&format!("sub {url} -i keep -c -q 1 -t k -C 2 -W 10"));
    assert_eq!(rest.good(), "two\nthree\n");
}

#[test]
fn a_will_is_published_when_a_subscriber_is_killed() {
    let gateway = Program::dev();
    let url = url(gateway.address("mqtt"));
    let heir = Running::until("SUBSCRIBE", &format!("sub {url} -t w/# -v -C 1"));
    let will = "--will-topic w/x --will-payload gone --will-qos 1";
    Running::until("SUBSCRIBE", &format!("sub {url} -t x {will}")).signal("KILL");
    assert_eq!(heir.end(), (Some(0), "w/x gone\n".to_owned()));
    // A signal that can be obeyed is a goodbye: no will.
    let heir = Running::until("SUBSCRIBE", &format!("sub {url} -t w/# -C 1 -W 0.5"));
    let polite = Running::until("SUBSCRIBE", &format!("sub {url} -t x {will}"));
    polite.signal("TERM");
    assert_eq!(polite.end(), (Some(0), String::new()));
    assert_eq!(heir.end().0, Some(27));
}

#[test]
fn a_request_finds_its_response_and_no_other() {
    let gateway = Program::dev();
    let url = url(gateway.address("mqtt"));
    let server = Running::until("SUBSCRIBE", &format!("sub {url} -t q -F %R|%p -C 1"));
    let ask = Running::until("PUBLISH qos 0 → q", &format!("rr {url}/q -i me -m ? -v -W 20"));
    assert_eq!(server.end(), (Some(0), "response/me|?\n".to_owned()));
    let foreign = "-D publish correlation-data foreign";
    said(&format!("pub {url} -t response/me -m no {foreign}")).good();
    said(&format!("pub {url} -t response/me -m yes")).good();
    assert_eq!(ask.end(), (Some(0), "response/me yes\n".to_owned()));
    let asked = said(&format!("rr {url} -t nobody -e r -m ? -q 1 -W 0.3"));
    asked.bad(27, &["CONNECT ok", "no response on r within 0.3 s", "answer on r?"]);
}

/// A broker that is not ours: accepts, drops the connection before the PUBACK, and comes back.
#[test]
fn a_publish_survives_a_lost_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = url(listener.local_addr().unwrap());
    let broker = std::thread::spawn(move || {
        let mut seen = Vec::new();
        for answers in [false, true] {
            let (mut stream, _) = listener.accept().unwrap();
            read_packet(&mut stream).unwrap();
            stream.write_all(&packet(0x20, &[0, 0])).unwrap();
            let (first, body) = read_packet(&mut stream).unwrap();
            seen.push((first, body[..].to_vec()));
            if answers {
                stream.write_all(&packet(0x40, &body[3..5])).unwrap();
                let mut rest = Vec::new();
                stream.read_to_end(&mut rest).unwrap();
                assert_eq!(rest, packet(0xe0, &[]));
            }
        }
        seen
    });
    let published = said(&format!("pub {url} -V 311 -t t -q 1 -m kept -W 20"));
    assert!(published.err.contains("lost; connecting again"), "{}", published.err);
    published.good();
    let seen = broker.join().unwrap();
    assert_eq!(seen[0].1[5..], *b"kept");
    assert_eq!(seen[0].1[5..], seen[1].1[5..]);
}

/// With the arguments that each needs.
fn commands(url: &str) -> [String; 3] {
    [format!("pub {url}/a -m x"), format!("sub {url}/a"), format!("rr {url}/a -m x")]
}

#[test]
fn nobody_is_there() {
    let addr = closed_tcp();
    for command in commands(&url(addr)) {
        let place = format!("nothing listens on {addr}");
        said(&command).bad(5, &[&place, "try: is the broker up?"]);
    }
    said("pub mqtt://no-such-host.invalid/a -m x").bad(5, &["no host `no-such-host.invalid`"]);
}

#[test]
fn nobody_answers() {
    let (_silent, addr) = silent_tcp();
    for command in commands(&url(addr)) {
        said(&format!("{command} -W 0.3")).bad(27, &["timed out", "within 0.3 s", "try:"]);
    }
}

#[test]
fn the_broker_refuses() {
    let gateway = Configured::closed("mqtt");
    for command in commands(&url(gateway.address("mqtt"))) {
        for version in ["5", "311"] {
            let words = ["not authorized (0x87)", "try: give user name and password: -u"];
            said(&format!("{command} -V {version}")).bad(4, &words);
        }
    }
}

#[test]
fn what_speaks_no_mqtt_is_named() {
    let (listener, addr) = silent_tcp();
    let server = std::thread::spawn(move || {
        for _ in 0..3 {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"SSH-2.0-no_mqtt\r\n").unwrap();
            let _ = stream.read_to_end(&mut Vec::new());
        }
    });
    for command in commands(&url(addr)) {
        said(&command).bad(6, &["not MQTT", "another protocol"]);
    }
    server.join().unwrap();
}

#[test]
fn a_broker_that_refuses_the_message_or_the_subscription() {
    let (listener, addr) = silent_tcp();
    let server = std::thread::spawn(move || {
        for answer in [packet(0x40, &[0, 1, 0x87, 0]), packet(0x90, &[0, 1, 0, 0x87])] {
            let (mut stream, _) = listener.accept().unwrap();
            read_packet(&mut stream).unwrap();
            stream.write_all(&packet(0x20, &[0, 0, 0])).unwrap();
            read_packet(&mut stream).unwrap();
            stream.write_all(&answer).unwrap();
            let _ = stream.read_to_end(&mut Vec::new());
        }
    });
    let published = said(&format!("pub {} -t a -q 1 -m x", url(addr)));
    published.bad(4, &["CONNECT ok\n", "PUBLISH refused: not authorized", "-u NAME"]);
    let subscribed = said(&format!("sub {} -t a", url(addr)));
    subscribed.bad(4, &["SUBSCRIBE a refused", "0x87", "-u NAME"]);
    server.join().unwrap();
}

#[test]
fn login_and_client_id_are_sent() {
    let (listener, addr) = silent_tcp();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        read_packet(&mut stream).unwrap().1
    });
    let mut expected = b"\x00\x04MQTT\x04\xc2\x00\x07".to_vec();
    for text in ["me", "a@b", "p:w"] {
        string(&mut expected, text);
    }
    said(&format!("pub mqtt://a%40b:p%3aw@{addr}/t -i me -k 7 -V 311 -m x"));
    assert_eq!(server.join().unwrap(), expected);
}

#[test]
fn the_command_line_is_wrong() {
    for (line, word) in [
        ("pub -m x", "-t TOPIC"),
        ("pub -t a", "what to send?"),
        ("pub -t a -m x -n", "cannot be used"),
        ("pub -t a -m x -l", "cannot be used"),
        ("pub -t a -m x -q 3", "--qos"),
        ("pub -t a -m x -q -1", "mqttsn://"),
        ("pub -t a -m x --short", "mqttsn://"),
        ("pub -t a -m x -V 6", "5, 311 or 31"),
        ("pub -t a -m x -V 311 -x 10", "-V 5"),
        ("pub -t a -m x -c", "-i"),
        ("pub -t a -m x -D publish nothing x", "nothing"),
        ("pub -t a -m x --will-payload y", "--will-topic"),
        ("pub -t a/# -m x", "no topic to publish to"),
        ("pub coap://localhost/a -m x", "motegate get"),
        ("pub ftp://localhost/a -m x", "no protocol of ours: mqtt, mqtts"),
        ("pub mqtt://localhost/a -h other -m x", "leave out -h"),
        ("sub", "-t FILTER"),
        ("sub -t a -T b/#/c", "-T: `b/#/c` is no topic filter"),
        ("sub -t a -t b/#/c", "-t: `b/#/c` is no topic filter"),
        ("sub -t $share/g", "-t: `$share/g` is no topic filter"),
        ("sub -t a -U b+", "-U: `b+` is no topic filter"),
        ("sub mqtt://localhost/a#", "`a#` is no topic filter"),
        ("rr -t a -m x -e b/#/c", "-e: `b/#/c` is no topic filter"),
        ("sub -t a -F %y", "%y"),
        ("sub -t a -F %5", "no field"),
        ("sub -t a -F @Q", "@Q"),
        ("sub -t a -o yaml", "--output"),
        ("sub -t a -o ndjson --pretty", "-o json"),
        ("sub -t a --random-filter 0", "--random-filter"),
        ("sub mqttsn://localhost -t a --remove-retained", "mqtt://"),
        ("sub -t a --unix /x -p 1883", "cannot be used"),
        ("sub mqtt://localhost -t a --unix /x", "cannot be used"),
        ("pub -t a -m x -A somewhere", "--bind"),
        ("pub -t a -m x -A ::1 -h 127.0.0.1", "has no IPv6 address"),
        ("pub mqttsn://localhost -t a -m x -A 127.0.0.1", "-A is for MQTT"),
        ("pub -t a -m x -M 0", "--max-inflight"),
        ("rr -t a", "what to ask?"),
        ("rr -t a -m x -D publish response-topic b", "-e TOPIC"),
    ] {
        let said = said(line);
        assert_eq!((said.code, said.out.as_str()), (Some(2), ""), "{line}: {}", said.err);
        assert!(said.err.contains(word), "{line}: {}", said.err);
    }
}
