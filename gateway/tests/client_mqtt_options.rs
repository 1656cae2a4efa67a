//! `pub sub rr` with `mqtt://`: options that mosquitto has, and what a lost connection leaves.

mod common;

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::client::{Running, said, said_with_stdin, said_words, silent_tcp};
use common::{PATIENCE, Program, packet, read_packet};

/// A Unix socket in front of a TCP port.
fn unix_socket(name: &str, broker: SocketAddr) -> PathBuf {
    let path = std::env::temp_dir().join(format!("motegate-{name}-{}.sock", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).expect("a path");
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (Ok(client), Ok(server)) = (client, TcpStream::connect(broker)) else { return };
            let (from, to) = (client.try_clone(), server.try_clone());
            std::thread::spawn(move || pass(from.expect("a socket"), to.expect("a socket")));
            std::thread::spawn(move || back(server, client));
        }
    });
    path
}

fn pass(mut from: UnixStream, mut to: TcpStream) {
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}

fn back(mut from: TcpStream, mut to: UnixStream) {
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}

#[test]
fn a_unix_socket_is_as_good_as_a_port() {
    let gateway = Program::dev();
    let socket = unix_socket("good", gateway.address("mqtt"));
    let at = socket.display();
    let sub = Running::until("SUBSCRIBE", &format!("sub --unix {at} -t u -q 2 -C 1"));
    said(&format!("pub --unix {at} -t u -q 2 -m local --nodelay")).good();
    assert_eq!(sub.end(), (Some(0), "local\n".to_owned()));
    let server = Running::until("SUBSCRIBE", &format!("sub --unix {at} -t q -F %R -C 1"));
    let ask = Running::until("PUBLISH", &format!("rr --unix {at} -t q -e a -m ? -W 20"));
    assert_eq!(server.end(), (Some(0), "a\n".to_owned()));
    said(&format!("pub --unix {at} -t a -m yes")).good();
    assert_eq!(ask.end(), (Some(0), "yes\n".to_owned()));
    std::fs::remove_file(socket).unwrap();
}

#[test]
fn a_unix_socket_that_is_not_there_is_named() {
    let gone = std::env::temp_dir().join("motegate-no-such.sock");
    let words = [&format!("nothing listens on {}", gone.display()), "try: is the broker up"];
    for command in ["pub -t a -m x", "sub -t a", "rr -t a -m x"] {
        said(&format!("{command} --unix {}", gone.display())).bad(5, &words);
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    said(&format!("sub -t a --unix {}", file.display())).bad(5, &["Cargo.toml"]);
}

#[test]
fn the_address_to_come_from_can_be_chosen() {
    let (listener, addr) = silent_tcp();
    let broker = std::thread::spawn(move || {
        let (mut stream, from) = listener.accept().unwrap();
        read_packet(&mut stream).unwrap();
        from.ip().to_string()
    });
    said(&format!("pub mqtt://{addr}/a -m x -A 127.0.0.2"));
    assert_eq!(broker.join().unwrap(), "127.0.0.2");
    // 192.0.2.0/24 is for documentation: nobody has it (RFC 5737).
    let foreign = said(&format!("pub mqtt://{addr}/a -m x -A 192.0.2.7"));
    foreign.bad(2, &["192.0.2.7 is no address of this machine"]);
}

#[test]
fn no_more_is_in_flight_than_asked_for() {
    let (listener, addr) = silent_tcp();
    let broker = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        read_packet(&mut stream).unwrap();
        stream.write_all(&packet(0x20, &[0, 0, 0])).unwrap();
        let mut ids = Vec::new();
        while ids.len() < 6 {
            let window: Vec<_> = (0..3)
                .map(|_| {
                    let (_, body) = read_packet(&mut stream).unwrap();
                    body[3..5].to_vec()
                })
                .collect();
            // A fourth would have come by now: they leave together.
            stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
            assert!(stream.read(&mut [0]).is_err(), "a fourth is in flight");
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            for id in &window {
                stream.write_all(&packet(0x40, id)).unwrap();
            }
            ids.extend(window);
        }
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let lines = "a\nb\nc\nd\ne\nf\n";
    said_with_stdin(&format!("pub mqtt://{addr}/t -q 1 -l -M 3 -W 20"), lines).good();
    broker.join().unwrap();
}

#[test]
fn limits_go_into_connect() {
    let (listener, addr) = silent_tcp();
    let broker = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        read_packet(&mut stream).unwrap().1
    });
    let limits = [
        ("session-expiry-interval", "7"),
        ("receive-maximum", "8"),
        ("maximum-packet-size", "900"),
        ("topic-alias-maximum", "0"),
    ];
    let url = format!("mqtt://{addr}/t");
    let mut words = vec!["pub", "-i", "me", "-k", "9", "-n", "-q", "1"];
    for (name, value) in limits {
        words.extend(["-D", "connect", name, value]);
    }
    said_words(&[&words[..], &[&url]].concat());
    let mut expected = b"\x00\x04MQTT\x05\x02\x00\x09".to_vec();
    expected.extend([13, 0x11, 0, 0, 0, 7, 0x21, 0, 8, 0x27, 0, 0, 3, 0x84]);
    expected.extend(b"\x00\x02me");
    assert_eq!(broker.join().unwrap(), expected);
    said("pub -t t -n -D connect receive-maximum 0").bad(2, &["at least 1"]);
}

#[test]
fn retained_messages_are_removed_except_those_filtered_out() {
    let gateway = Program::dev();
    let port = gateway.address("mqtt").port();
    for topic in ["r/1", "r/2", "r/keep"] {
        said(&format!("pub -p {port} -t {topic} -r -m {topic}")).good();
    }
    // What is deleted comes back as a live message without payload: that ends --retained-only.
    let removed =
        said(&format!("sub -p {port} -t r/# -T r/keep --remove-retained --retained-only -W 20"));
    let mut lines: Vec<_> = removed.good().lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, ["r/1", "r/2"]);
    assert_eq!(said(&format!("sub -p {port} -t r/# --retained-only -C 1")).good(), "r/keep\n");
    // -R does not print it, and it is deleted all the same.
    let sub = format!("sub -p {port} -t r/# -R --remove-retained -C 1 -v -W 20");
    assert_eq!(said(&sub).good(), "r/keep \n");
    said(&format!("sub -p {port} -t r/# -W 0.3")).bad(27, &["no message"]);
}

#[test]
fn the_flag_is_kept_as_published_on_request() {
    let gateway = Program::dev();
    let port = gateway.address("mqtt").port();
    let plain = Running::until("SUBSCRIBE", &format!("sub -p {port} -t f -F %r -C 1"));
    let kept = format!("sub -p {port} -t f -F %r -C 1 --retain-as-published");
    let kept = Running::until("SUBSCRIBE", &kept);
    said(&format!("pub -p {port} -t f -r -m x")).good();
    assert_eq!((plain.end().1, kept.end().1), ("0\n".to_owned(), "1\n".to_owned()));
}

#[test]
fn formats_have_widths_and_json_has_layouts() {
    let gateway = Program::dev();
    let port = gateway.address("mqtt").port().to_string();
    let publish = |topic: &str, text: &str| {
        said_words(&["pub", "-p", &port, "-t", topic, "-r", "-q", "1", "-m", text]).good();
    };
    publish("w", r#"{"x": [1.0, {}]}"#);
    let sub = |format: &str, more: &[&str]| {
        let words = ["sub", "-p", &port, "-q", "1", "-t", "w", "-C", "1", "-W", "20", "-F", format];
        said_words(&[&words[..], more].concat())
    };
    assert_eq!(sub("%3t|%-3t|%.0t|%03l|%3q|@@", &[]).good(), "  w|w  ||016|1|@\n");
    let line = sub("%J", &[]).good();
    assert!(line.ends_with(",\"mid\":1,\"payload\":{\"x\":[1.0,{}]}}\n"), "{line}");
    let json: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(json["payload"]["x"][0], 1.0);
    let pretty = sub("%J", &["--pretty"]).good();
    assert!(
        pretty.contains("\n  \"payload\": {\n    \"x\": [\n      1.0,\n      {}\n"),
        "{pretty}"
    );
    // A payload that is no JSON is left out of JSON, and said.
    publish("no", "plain");
    let words = ["sub", "-p", &port, "-t", "no", "-F", "%J", "-C", "1", "-W", "20"];
    let said = said_words(&words);
    assert!(said.err.contains("the payload on no is not JSON"), "{}", said.err);
    assert_eq!(said.good(), "");
}

/// The second half of MQTT 5's exactly once: the session outlives the connection, and the command
/// takes it along when it ends.
#[test]
fn qos_2_goes_on_where_the_connection_broke() {
    let (listener, addr) = silent_tcp();
    let broker = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (_, connect) = read_packet(&mut stream).unwrap();
        assert_eq!(connect[7] & 0x02, 0x02, "a clean start");
        stream.write_all(&packet(0x20, &[0, 0, 0])).unwrap();
        let first = read_packet(&mut stream).unwrap();
        assert_eq!(first.0, 0x34);
        drop(stream);
        let (mut stream, _) = listener.accept().unwrap();
        let (_, connect) = read_packet(&mut stream).unwrap();
        assert_eq!(connect[7] & 0x02, 0, "it wants its session back");
        stream.write_all(&packet(0x20, &[1, 0, 0])).unwrap();
        let again = read_packet(&mut stream).unwrap();
        assert_eq!(again, (0x3c, first.1), "the same, marked as a repetition");
        let id = again.1[3..5].to_vec();
        stream.write_all(&packet(0x50, &id)).unwrap();
        assert_eq!(read_packet(&mut stream).unwrap(), (0x62, id.clone()));
        stream.write_all(&packet(0x70, &id)).unwrap();
        let goodbye = read_packet(&mut stream).unwrap();
        assert_eq!(goodbye, (0xe0, vec![0, 5, 0x11, 0, 0, 0, 0]), "the session ends with it");
    });
    said(&format!("pub mqtt://{addr}/t -q 2 -m once -W 20")).good();
    broker.join().unwrap();
}

/// QoS 0 is at most once: a stream of messages goes on, and the end says that it had a hole.
#[test]
fn what_is_lost_at_qos_0_is_counted() {
    const LINE: usize = 12 * 1024 * 1024; // more than the sockets between them hold
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let broker = std::thread::spawn(move || {
        let accept = || {
            let (mut stream, _) = listener.accept().unwrap();
            read_packet(&mut stream).unwrap();
            stream.write_all(&packet(0x20, &[0, 0, 0])).unwrap();
            stream
        };
        accept().read_exact(&mut [0; 100]).unwrap();
        let (_, body) = read_packet(&mut accept()).unwrap();
        body.last().copied()
    });
    let lines = format!("{}\n{}\n", "a".repeat(LINE), "b".repeat(LINE));
    let said = said_with_stdin(&format!("pub mqtt://{addr}/t -l"), &lines);
    said.bad(1, &["lost; connecting again", "1 of 2 messages at QoS 0 were lost", "-q 1"]);
    assert_eq!(broker.join().unwrap(), Some(b'b'));
}

/// A server that is still sending must not lose what the command said last.
#[test]
fn the_last_acknowledgement_arrives_although_more_is_coming() {
    let (listener, addr) = silent_tcp();
    let (gone, is_gone) = std::sync::mpsc::channel();
    let broker = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        read_packet(&mut stream).unwrap();
        stream.write_all(&packet(0x20, &[0, 0, 0])).unwrap();
        let (_, subscribe) = read_packet(&mut stream).unwrap();
        let mut all = packet(0x90, &[subscribe[0], subscribe[1], 0, 1]);
        for id in 1..=200_u8 {
            let message = [&b"\x00\x01t\x00"[..], &[id, 0], &[b'x'; 8_000]].concat();
            all.extend(packet(0x32, &message));
        }
        // It reads late, when the command is gone.
        let mut to = stream.try_clone().unwrap();
        let sender = std::thread::spawn(move || to.write_all(&all));
        is_gone.recv().unwrap();
        let mut said = Vec::new();
        let heard = stream.read_to_end(&mut said);
        let _ = sender.join();
        (heard.is_ok(), said)
    });
    said(&format!("sub mqtt://{addr} -t t -q 1 -C 1")).good();
    gone.send(()).unwrap();
    let (whole, said) = broker.join().unwrap();
    assert!(whole, "the connection was reset");
    assert_eq!(said, [packet(0x40, &[0, 1]), packet(0xe0, &[])].concat());
}
