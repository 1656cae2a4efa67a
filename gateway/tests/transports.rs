//! Unix sockets and the PROXY protocol, over real sockets (mqtt.md §2.19).
#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // real time passes here

mod common;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;

use common::client::Configured;
use common::{PATIENCE, packet, string};

const CONNECT: &[u8] = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a";
const CONNACK: [u8; 4] = [0x20, 2, 0, 0];

fn config(listeners: &str) -> String {
    format!("version: 1\ndurability: none\nlisteners:\n{listeners}")
}

/// The answer to what was written; `None` at the end of the stream.
fn answer(stream: &mut (impl std::io::Read + std::io::Write), bytes: &[u8]) -> Option<[u8; 4]> {
    stream.write_all(bytes).unwrap();
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).ok().map(|()| answer)
}

fn dial(gateway: &Configured) -> TcpStream {
    let stream = TcpStream::connect(gateway.address("mqtt")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

#[test]
fn a_unix_socket_speaks_mqtt_and_its_file_goes_with_it() {
    let listeners =
        "  - {protocol: mqtt, bind: [\"127.0.0.1:0\", \"unix:mqtt.sock\"], anonymous: true}\n";
    let mut gateway = Configured::start("unix", &config(listeners));
    let path = gateway.directory.join("mqtt.sock");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(answer(&mut stream, CONNECT), Some(CONNACK));
    // A publish goes to a subscriber that came over TCP.
    let mut subscriber = common::connect(gateway.address("mqtt"), 4, "s");
    subscriber.write_all(b"\x82\x08\x00\x01\x00\x03a/b\x00").unwrap();
    assert_eq!(common::read_packet(&mut subscriber).unwrap().0, 0x90);
    let mut body = Vec::new();
    string(&mut body, "a/b");
    body.extend(b"hello");
    stream.write_all(&packet(0x30, &body)).unwrap();
    assert_eq!(common::read_packet(&mut subscriber), Some((0x30, body)));
    gateway.signal("TERM");
    assert_eq!(gateway.ended(PATIENCE), Some(0));
    assert!(!path.exists());
}

#[test]
fn a_proxy_header_is_who_the_client_is() {
    let listeners =
        "  - {protocol: mqtt, bind: \"127.0.0.1:0\", anonymous: true, proxy_protocol: any}\n";
    let gateway = Configured::start("proxy", &config(listeners));
    let hello = [b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 1883\r\n".as_slice(), CONNECT].concat();
    assert_eq!(answer(&mut dial(&gateway), &hello), Some(CONNACK));
    gateway.says("192.0.2.7:4711");
    // A byte at a time, version 2.
    let mut binary = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c".to_vec();
    binary.extend([198, 51, 100, 9, 10, 0, 0, 1, 0x12, 0x68, 0x07, 0x5b]);
    binary.extend(CONNECT);
    let mut stream = dial(&gateway);
    stream.set_nodelay(true).unwrap();
    let (last, before) = binary.split_last().unwrap();
    for byte in before {
        stream.write_all(&[*byte]).unwrap();
    }
    assert_eq!(answer(&mut stream, &[*last]), Some(CONNACK));
    gateway.says("198.51.100.9:4712");
    // LOCAL, UNSPEC and UDP are taken, with the address that the connection has.
    for (header, addresses) in [(b"\x20\x00", 0), (b"\x21\x00", 3), (b"\x21\x12", 12)] {
        let mut hello = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
        hello.extend(header);
        hello.extend([0, addresses]);
        hello.extend(vec![9; usize::from(addresses)]);
        hello.extend(CONNECT);
        let mut stream = dial(&gateway);
        let from = stream.local_addr().unwrap().to_string();
        assert_eq!(answer(&mut stream, &hello), Some(CONNACK), "{header:x?}");
        gateway.says(&from);
    }
    // Without a header, or with a bad one: closed at once, and nothing is said.
    let long = format!("PROXY UNKNOWN {}", "x".repeat(93));
    let bad = [
        CONNECT,
        b"PROXY TCP4 192.0.2.7 10.0.0.1 01 1883\r\n",
        b"PROXY TCP4 192.0.2.7 10.0.0.1 1 1883\n",
        long.as_bytes(),
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x10\x01\x01\x01\x01\x02\x02\x02\x02\x00\x01\x00\x02\x04\x00\x02\x00",
    ];
    for bytes in bad {
        let mut stream = dial(&gateway);
        stream.write_all(bytes).unwrap();
        assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0, "{bytes:?}");
    }
    // The first tells why; the others of the next seconds are counted only.
    gateway.says("the connection does not begin with a PROXY header");
    let status = gateway.status();
    assert_eq!(status["connections"]["failed"]["proxy_header"], bad.len(), "{status}");
    assert!(status["connections"]["failed"]["connect_timeout"].is_null(), "{status}");
}

/// What a client says wrong is diagnosed alike where it comes in one segment with the header.
#[test]
fn what_comes_in_one_piece_with_a_proxy_header_is_looked_at_once() {
    let listeners =
        "  - {protocol: mqtt, bind: \"127.0.0.1:0\", anonymous: true, proxy_protocol: any}\n";
    let gateway = Configured::start("proxy-strange", &config(listeners));
    for (bytes, word) in [
        (&b"\x16\x03\x01\x02\x00\x01"[..], "tls_on_plain"),
        (b"GET /mqtt HTTP/1.1\r\n", "http_on_plain"),
    ] {
        let mut stream = dial(&gateway);
        stream.write_all(&[b"PROXY UNKNOWN\r\n", bytes].concat()).unwrap();
        assert!(matches!(stream.read(&mut [0; 8]), Ok(0) | Err(_)));
        gateway.says(word);
        assert_eq!(gateway.status()["connections"]["failed"][word], 1);
    }
    // Later bytes are no first ones: here the middle of a topic.
    let mut stream = dial(&gateway);
    let hello = [b"PROXY UNKNOWN\r\n", CONNECT].concat();
    assert_eq!(answer(&mut stream, &hello), Some(CONNACK));
    stream.set_nodelay(true).unwrap();
    stream.write_all(b"\x30\x07\x00\x05").unwrap();
    gateway.status(); // it has read that
    assert_eq!(answer(&mut stream, b"GET /\xc0\x00\xc0\x00"), Some([0xd0, 0, 0xd0, 0]));
    assert_eq!(gateway.status()["connections"]["failed"]["http_on_plain"], 1);
}

#[test]
fn a_proxy_header_is_believed_of_listed_addresses_only() {
    let listeners = "  - {protocol: mqtt, bind: \"127.0.0.1:0\", anonymous: true, proxy_protocol: v1, \
                     proxy_from: 10.0.0.0/8}\n";
    let gateway = Configured::start("proxy-from", &config(listeners));
    let mut stream = dial(&gateway);
    let _ = stream.write_all(b"PROXY UNKNOWN\r\n");
    assert!(matches!(stream.read(&mut [0; 8]), Ok(0) | Err(_)));
    gateway.says("proxy_from");
    assert_eq!(gateway.status()["connections"]["failed"]["proxy_source"], 1);
}

/// `connect_timeout` counts from accept, whatever comes in between.
#[test]
fn a_header_that_never_comes_whole_has_an_end() {
    let listeners =
        "  - {protocol: mqtt, bind: \"127.0.0.1:0\", anonymous: true, proxy_protocol: v1}\n";
    let limits = "limits: {connect_timeout: 500ms}\n";
    let gateway = Configured::start("proxy-late", &format!("{}{limits}", config(listeners)));
    let begun = std::time::Instant::now();
    let mut stream = dial(&gateway);
    stream.write_all(b"PROXY TCP4 ").unwrap();
    assert!(matches!(stream.read(&mut [0; 8]), Ok(0) | Err(_)));
    let took = begun.elapsed();
    assert!(took.as_millis() >= 450 && took < PATIENCE, "{took:?}");
    assert_eq!(gateway.status()["connections"]["failed"]["connect_timeout"], 1);
}

/// The reverse of plain bytes on a TLS port.
#[test]
fn tls_and_http_on_a_plain_port_are_said_to_be_such() {
    let listeners = "  - {protocol: mqtt, bind: \"127.0.0.1:0\", anonymous: true}\n";
    let gateway = Configured::start("strange", &config(listeners));
    for (bytes, word) in [
        (&b"\x16\x03\x01\x02\x00\x01"[..], "tls_on_plain"),
        (b"GET /mqtt HTTP/1.1\r\n", "http_on_plain"),
    ] {
        let mut stream = dial(&gateway);
        stream.write_all(bytes).unwrap();
        assert!(matches!(stream.read(&mut [0; 8]), Ok(0) | Err(_)));
        gateway.says(word);
        assert_eq!(gateway.status()["connections"]["failed"][word], 1);
    }
}

/// A listener may have fewer connections than the gateway.
#[test]
fn one_connection_more_than_a_listener_may_have_is_closed_at_once() {
    let listeners = "  - {protocol: mqtt, bind: \"127.0.0.1:0\", anonymous: true, \
                     limits: {max_connections: 1}}\n";
    let gateway = Configured::start("few", &config(listeners));
    let mut first = dial(&gateway);
    assert_eq!(answer(&mut first, CONNECT), Some(CONNACK));
    for _ in 0..3 {
        assert!(matches!(dial(&gateway).read(&mut [0; 8]), Ok(0) | Err(_)));
    }
    let line = gateway.says("max_connections");
    assert!(line.contains("1 of this listener are open") && line.contains("raise"), "{line}");
    let status = gateway.status();
    assert_eq!(status["connections"]["refused"], 3);
    assert_eq!(status["connections"]["failed"], serde_json::json!({}), "it is counted once");
}

/// Connections without CONNECT count together, whether the MQTT endpoint knows them or not.
#[test]
fn the_oldest_of_all_half_open_connections_gives_way() {
    let listeners = "  - {protocol: mqtt, name: plain, bind: \"127.0.0.1:0\", anonymous: true}\n  \
                     - {protocol: mqtt, name: behind, bind: \"127.0.0.1:0\", anonymous: true, \
                     proxy_protocol: any}\nlimits: {max_half_open: 2}\n";
    let gateway = Configured::start("half-open", &config(listeners));
    let dial = |name| {
        let stream = TcpStream::connect(gateway.address_of(name)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    };
    let used = || {
        let status = gateway.status();
        let limits = status["limits"].as_array().unwrap().clone();
        let found = limits.iter().find(|limit| limit["key"] == "max_half_open").unwrap();
        (found["used"].as_u64().unwrap(), found["acted"].as_u64().unwrap())
    };
    let ended = |mut stream: TcpStream| matches!(stream.read(&mut [0; 8]), Ok(0) | Err(_));
    // The kernel hands them over in order where each is waited for.
    let wait = |most| {
        let until = std::time::Instant::now() + PATIENCE;
        while used() != most {
            assert!(std::time::Instant::now() < until, "{:?}, not {most:?}", used());
        }
    };
    let first = dial("plain");
    wait((1, 0));
    let second = dial("behind");
    wait((2, 0));
    let third = dial("behind");
    wait((2, 1));
    assert!(ended(first), "the core's was the oldest");
    let mut fourth = dial("plain");
    wait((2, 2));
    assert!(ended(second), "the oldest is one that the core does not know");
    assert_eq!(answer(&mut fourth, CONNECT), Some(CONNACK));
    let mut third = third;
    let hello = [b"PROXY UNKNOWN\r\n".as_slice(), CONNECT].concat();
    assert_eq!(answer(&mut third, &hello), Some(CONNACK), "it was never in the way");
    wait((0, 2));
}
