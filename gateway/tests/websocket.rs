//! MQTT over WebSocket with tungstenite's client, and with bytes that it would not send (mqtt.md §2.18).
#![allow(clippy::unwrap_used)]

mod common;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;

use common::certs::Authority;
use common::client::Configured;
use common::{PATIENCE, packet, read_packet, string};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tungstenite::client::IntoClientRequest as _;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Message, WebSocket};

const CONNACK: &[u8] = &[0x20, 2, 0, 0];

fn gateway(name: &str, listener: &str) -> Configured {
    let text = format!(
        "version: 1\ndurability: none\nlisteners:\n  \
         - {{protocol: ws, name: web, bind: \"127.0.0.1:0\", anonymous: true{listener}}}\n  \
         - {{protocol: mqtt, bind: \"127.0.0.1:0\", anonymous: true}}\n"
    );
    Configured::start(name, &text)
}

fn dial(gateway: &Configured) -> TcpStream {
    let stream = TcpStream::connect(gateway.address("ws")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// A client that asks for these subprotocols; the one that was chosen.
fn upgraded<S: std::io::Read + std::io::Write>(
    stream: S,
    url: &str,
    protocols: &str,
) -> Result<(WebSocket<S>, String), u16> {
    let mut request = url.into_client_request().unwrap();
    request.headers_mut().insert("Sec-WebSocket-Protocol", protocols.parse().unwrap());
    match tungstenite::client::client(request, stream) {
        Ok((socket, response)) => {
            assert!(response.headers().get("Sec-WebSocket-Extensions").is_none());
            let chosen = response.headers()["Sec-WebSocket-Protocol"].to_str().unwrap().to_owned();
            Ok((socket, chosen))
        }
        Err(tungstenite::HandshakeError::Failure(tungstenite::Error::Http(response))) => {
            Err(response.status().as_u16())
        }
        Err(error) => panic!("{error}"),
    }
}

fn connect_packet(id: &str) -> Vec<u8> {
    let mut body = b"\x00\x04MQTT\x04\x02\x00\x3c".to_vec();
    string(&mut body, id);
    packet(0x10, &body)
}

type Socket = WebSocket<TcpStream>;

fn connected(gateway: &Configured, id: &str) -> Socket {
    let (mut socket, chosen) = upgraded(dial(gateway), "ws://localhost/mqtt", "mqtt").unwrap();
    assert_eq!(chosen, "mqtt");
    socket.send(Message::binary(connect_packet(id))).unwrap();
    assert_eq!(socket.read().unwrap().into_data(), CONNACK);
    socket
}

/// [MQTT-6.0.0-1] to [MQTT-6.0.0-4]: a browser's way to a client of TCP and back.
#[test]
fn packets_anywhere_in_frames() {
    let gateway = gateway("ws-frames", "");
    let mut plain = common::connect(gateway.address("mqtt"), 4, "plain");
    plain.write_all(b"\x82\x08\x00\x01\x00\x03a/b\x00").unwrap();
    assert_eq!(read_packet(&mut plain).unwrap().0, 0x90);

    let (mut socket, _) = upgraded(dial(&gateway), "ws://localhost/mqtt", "mqtt").unwrap();
    let mut body = Vec::new();
    string(&mut body, "a/b");
    body.extend(b"hello");
    let publish = packet(0x30, &body);
    let stream: Vec<u8> = [connect_packet("web"), publish.clone(), publish].concat();
    // A byte a frame, a ping between, then the rest in one.
    let (single, rest) = stream.split_at(9);
    for byte in single {
        socket.send(Message::binary(vec![*byte])).unwrap();
    }
    socket.send(Message::Ping("here?".into())).unwrap();
    socket.send(Message::binary(rest.to_vec())).unwrap();
    let mut answers = vec![socket.read().unwrap(), socket.read().unwrap()];
    answers.sort_by_key(Message::is_pong);
    assert_eq!(answers, [Message::binary(CONNACK), Message::Pong("here?".into())]);
    for _ in 0..2 {
        assert_eq!(read_packet(&mut plain), Some((0x30, body.clone())));
    }
    // One frame for what is written at once, whatever the number of packets.
    socket.send(Message::binary(b"\xc0\x00\xc0\x00\xc0\x00".to_vec())).unwrap();
    assert_eq!(socket.read().unwrap().into_data(), &b"\xd0\x00\xd0\x00\xd0\x00"[..]);
    // DISCONNECT: the gateway closes with a close frame.
    socket.send(Message::binary(b"\xe0\x00".to_vec())).unwrap();
    let Message::Close(Some(frame)) = socket.read().unwrap() else { panic!("no close frame") };
    assert_eq!(frame.code, CloseCode::Normal);
    assert_eq!(gateway.status()["listeners"][0]["protocol"], "ws");
}

#[test]
fn large_messages_both_ways() {
    let gateway = gateway("ws-large", "");
    let mut socket = connected(&gateway, "large");
    socket.send(Message::binary(b"\x82\x08\x00\x01\x00\x03big\x00".to_vec())).unwrap();
    assert_eq!(socket.read().unwrap().into_data()[0], 0x90);
    let mut body = Vec::new();
    string(&mut body, "big");
    body.extend((0..1_500_000u32).map(|n| n.to_le_bytes()[0]));
    let publish = packet(0x30, &body);
    socket.send(Message::binary(publish.clone())).unwrap();
    let mut back = Vec::new();
    while back.len() < publish.len() {
        back.extend_from_slice(&socket.read().unwrap().into_data());
    }
    assert!(back == publish);
}

#[test]
fn what_is_no_upgrade_is_refused() {
    let gateway = gateway("ws-refused", "");
    let status = |url: &str, protocols: &str| match upgraded(dial(&gateway), url, protocols) {
        Ok((_, chosen)) => Ok(chosen),
        Err(status) => Err(status),
    };
    assert_eq!(status("ws://localhost/mqtt", "mqttv3.1"), Ok("mqttv3.1".into()));
    assert_eq!(status("ws://localhost/mqtt", "mqttv3.1, mqtt"), Ok("mqtt".into()));
    assert_eq!(status("ws://localhost/", "mqtt"), Err(404));
    let raw = |bytes: &[u8]| {
        let mut stream = dial(&gateway);
        stream.write_all(bytes).unwrap();
        let mut text = Vec::new();
        stream.read_to_end(&mut text).unwrap();
        String::from_utf8(text).unwrap()
    };
    let chat = "GET /mqtt HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
                Sec-WebSocket-Protocol: chat\r\n\r\n";
    for (bytes, status) in [
        (chat.as_bytes(), "400"),
        (&connect_packet("plain"), "400"),
        (format!("GET /mqtt HTTP/1.1\r\nCookie: {}", "x".repeat(9000)).as_bytes(), "431"),
    ] {
        let answer = raw(bytes);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
    assert_eq!(gateway.status()["connections"]["failed"]["ws_request"], 4);
}

#[test]
fn frames_that_close() {
    let gateway = gateway("ws-close", "");
    for (bytes, code) in [
        (&b"\x81\x82\x00\x00\x00\x00hi"[..], 1003u16),
        (b"\x82\x02\xc0\x00", 1002),
        (b"\x82\xff\x00\x00\x00\x00\x00\x20\x00\x01\x00\x00\x00\x00", 1009),
        (b"\xc2\x80\x00\x00\x00\x00", 1002),
    ] {
        let mut socket = connected(&gateway, "faulty");
        socket.get_mut().write_all(bytes).unwrap();
        let Message::Close(Some(frame)) = socket.read().unwrap() else { panic!("{code}") };
        assert_eq!(u16::from(frame.code), code);
    }
    assert_eq!(gateway.status()["connections"]["failed"]["ws_frame"], 4);
}

/// RFC 6455 §5.5.1: what answers the packets in front of a Close, or of a frame that is none of ours,
/// in the same segment goes before our own Close, and behind that nothing does.
#[test]
fn answers_go_before_the_close() {
    let gateway = gateway("ws-last", "");
    let binary = |payload: &[u8]| {
        let len = 0x80 | u8::try_from(payload.len()).unwrap();
        [&[0x82, len, 0, 0, 0, 0][..], payload].concat()
    };
    let publish = b"\x32\x08\x00\x03a/b\x00\x07x";
    let puback = &b"\x40\x02\x00\x07"[..];
    for (last, code) in [
        (&b"\x88\x82\x00\x00\x00\x00\x03\xe8"[..], 1000u16),
        (b"\x81\x82\x00\x00\x00\x00hi", 1003),
        (b"\xc2\x80\x00\x00\x00\x00", 1002),
    ] {
        for (mut socket, sent, answers) in [
            (connected(&gateway, "last"), [&binary(publish), last].concat(), puback),
            (
                upgraded(dial(&gateway), "ws://localhost/mqtt", "mqtt").unwrap().0,
                [&binary(&connect_packet("first"))[..], last].concat(),
                CONNACK,
            ),
        ] {
            socket.get_mut().write_all(&sent).unwrap();
            let mut all = Vec::new();
            socket.get_mut().read_to_end(&mut all).unwrap();
            let close = [&[0x88, 2][..], &code.to_be_bytes()].concat();
            let answers = [&[0x82, u8::try_from(answers.len()).unwrap()][..], answers].concat();
            assert_eq!(all, [answers, close].concat(), "{code}");
        }
    }
}

/// A close frame is answered, and is a lost connection: the will is due.
#[test]
fn a_close_frame_is_a_lost_connection() {
    let gateway = gateway("ws-will", "");
    let mut heir = common::connect(gateway.address("mqtt"), 4, "heir");
    heir.write_all(b"\x82\x08\x00\x01\x00\x03w/t\x00").unwrap();
    assert_eq!(read_packet(&mut heir).unwrap().0, 0x90);
    let (mut socket, _) = upgraded(dial(&gateway), "ws://localhost/mqtt", "mqtt").unwrap();
    let mut body = b"\x00\x04MQTT\x04\x06\x00\x3c".to_vec();
    for text in ["testator", "w/t", "gone"] {
        string(&mut body, text);
    }
    socket.send(Message::binary(packet(0x10, &body))).unwrap();
    assert_eq!(socket.read().unwrap().into_data(), CONNACK);
    socket.close(None).unwrap();
    assert!(matches!(socket.read(), Ok(Message::Close(_))));
    let (first, body) = read_packet(&mut heir).unwrap();
    assert_eq!((first, body.as_slice()), (0x30, &b"\x00\x03w/tgone"[..]));
}

#[test]
fn who_it_is_behind_a_proxy_and_from_which_page() {
    let listener = ", path: /other, origins: [\"https://app.example\"], forwarded_from: 127.0.0.1";
    let gateway = gateway("ws-proxy", listener);
    let ask = |origin: &str| {
        let mut stream = dial(&gateway);
        let request = format!(
            "GET /other HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
             Origin: {origin}\r\nX-Forwarded-For: 198.51.100.1, 203.0.113.9\r\n\
             Sec-WebSocket-Protocol: mqtt\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).unwrap();
        (String::from_utf8_lossy(&head[9..]).into_owned(), stream)
    };
    assert_eq!(ask("https://evil.example").0, "403");
    let (status, mut stream) = ask("https://app.example");
    assert_eq!(status, "101");
    let mut frame = vec![0x82, 0x80 | 0x0f, 0, 0, 0, 0];
    frame.extend(connect_packet("a"));
    stream.write_all(&frame).unwrap();
    gateway.says("203.0.113.9");
}

#[test]
fn websocket_in_tls_behind_a_proxy_header() {
    let directory = std::env::temp_dir().join(format!("motegate-wss-{}", std::process::id()));
    let ca = Authority::new(&directory, "ca");
    ca.issue("server");
    let folder = directory.display();
    let text = format!(
        "version: 1\ndurability: none\nlisteners:\n  - protocol: wss\n    bind: \"127.0.0.1:0\"\n    \
         anonymous: true\n    proxy_protocol: v1\n    \
         tls: {{cert: {folder}/server.pem, key: {folder}/server.key}}\n"
    );
    let gateway = Configured::start("wss", &text);
    let mut roots = RootCertStore::empty();
    roots.add(ca.certificate.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut stream = TcpStream::connect(gateway.address("wss")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"PROXY TCP6 2001:db8::7 ::1 4711 8084\r\n").unwrap();
    let tls = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
    let tls = StreamOwned::new(tls, stream);
    let (mut socket, _) = upgraded(tls, "wss://localhost/mqtt", "mqtt").unwrap();
    socket.send(Message::binary(connect_packet("deep"))).unwrap();
    assert_eq!(socket.read().unwrap().into_data(), CONNACK);
    gateway.says("[2001:db8::7]:4711");
    socket.close(None).unwrap();
    assert!(matches!(socket.read(), Ok(Message::Close(_))));
    std::fs::remove_dir_all(directory).unwrap();
}
