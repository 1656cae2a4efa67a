//! `pub`, `sub` and `rr` over TLS, WebSocket, both, and a Unix socket, and how failures are told.
#![allow(clippy::unwrap_used)]

mod common;

use std::net::TcpListener;
use std::path::{Path, PathBuf};

use common::certs::Authority;
use common::client::{Configured, Running, said, said_with_stdin, silent_tcp};
use rcgen::date_time_ymd;
use tungstenite::Message;
use tungstenite::handshake::server::{Request, Response};

/// Certificates of a test, gone with it.
struct Certs(PathBuf);

impl Certs {
    fn new(name: &str) -> (Certs, Authority) {
        let name = format!("motegate-client-certs-{name}-{}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        let ca = Authority::new(&directory, "ca");
        ca.issue("server");
        (Certs(directory), ca)
    }

    fn path(&self, file: &str) -> String {
        self.0.join(file).display().to_string()
    }
}

impl Drop for Certs {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn listener(protocol: &str, directory: &Path, tls: &str) -> String {
    let folder = directory.display();
    let tls = match protocol {
        "mqtts" | "wss" => {
            format!(", tls: {{cert: {folder}/server.pem, key: {folder}/server.key{tls}}}")
        }
        _ => String::new(),
    };
    format!("  - {{protocol: {protocol}, bind: \"127.0.0.1:0\", anonymous: true{tls}}}\n")
}

fn gateway(name: &str, directory: &Path, protocols: &[&str], tls: &str) -> Configured {
    let all: String = protocols.iter().map(|p| listener(p, directory, tls)).collect();
    Configured::start(name, &format!("version: 1\ndurability: none\nlisteners:\n{all}"))
}

/// The URL of a listener, by the name that is in the certificate.
fn url(gateway: &Configured, scheme: &str) -> String {
    let path = if scheme.starts_with("ws") { "/mqtt" } else { "" };
    format!("{scheme}://localhost:{}{path}", gateway.address(scheme).port())
}

#[test]
fn messages_go_through_every_transport() {
    let (certs, _) = Certs::new("all");
    let socket = certs.path("socket");
    let listeners: String = ["mqtt", "mqtts", "ws", "wss"]
        .iter()
        .map(|p| listener(p, &certs.0, ""))
        .chain([format!(
            "  - {{protocol: mqtt, name: local, bind: \"unix:{socket}\", anonymous: true}}\n"
        )])
        .collect();
    let text = format!("version: 1\ndurability: none\nlisteners:\n{listeners}");
    let gateway = Configured::start("transports", &text);
    let ca = certs.path("ca.pem");
    let large: String =
        (0..300_000).map(|n| char::from(b'a' + u8::try_from(n % 26).unwrap())).collect();
    let places: Vec<String> = ["mqtts", "wss", "ws"]
        .iter()
        .map(|scheme| {
            let trust = if *scheme == "ws" { String::new() } else { format!(" --cafile {ca}") };
            url(&gateway, scheme) + &trust
        })
        .chain([format!("unix:{socket}")])
        .collect();
    for place in &places {
        let sub = Running::until("SUBSCRIBE", &format!("sub {place} -t big -q 1 -C 1 -W 60"));
        said_with_stdin(&format!("pub {place} -t big -q 1 -s"), &large).good();
        let (code, out) = sub.end();
        assert_eq!(code, Some(0), "{place}");
        assert!(out.trim_end() == large, "{place}: {} bytes", out.len());
    }
    let server = Running::until("SUBSCRIBE", &format!("sub {} -t q -F %R|%p -C 1", places[0]));
    let ask =
        Running::until("PUBLISH qos 0 → q", &format!("rr {} -t q -i me -m ? -v -W 20", places[1]));
    assert_eq!(server.end(), (Some(0), "response/me|?\n".to_owned()));
    said(&format!("pub {} -t response/me -m yes", places[2])).good();
    assert_eq!(ask.end(), (Some(0), "response/me yes\n".to_owned()));
}

/// -h and -p with a file of TLS are TLS, as in mosquitto.
#[test]
fn a_file_of_tls_asks_for_tls() {
    let (certs, _) = Certs::new("host");
    let gateway = gateway("tls-host", &certs.0, &["mqtts"], "");
    let port = gateway.address("mqtts").port();
    let ca = certs.path("ca.pem");
    said(&format!("pub -h localhost -p {port} --cafile {ca} -t a -m b")).good();
    said(&format!("pub mqtt://localhost:{port} --cafile {ca} -t a -m b")).bad(2, &["mqtts://"]);
    said(&format!("pub -p {port} --cafile {ca} --cert {ca} -t a -m b")).bad(2, &["--key"]);
    said(&format!("pub -p {port} --cafile {ca}.not -t a -m b")).bad(1, &["ca.pem.not"]);
    let key = certs.path("server.key");
    said(&format!("pub -p {port} --cafile {key} -t a -m b")).bad(2, &["no certificate in it"]);
}

#[test]
fn a_certificate_that_is_not_trusted_is_told() {
    let (certs, ca) = Certs::new("trust");
    let other = Authority::new(&certs.0.join("other"), "other");
    drop(other);
    let gateway = gateway("tls-trust", &certs.0, &["mqtts", "wss"], "");
    let trust = format!("--cafile {}", certs.path("ca.pem"));
    for scheme in ["mqtts", "wss"] {
        let place = url(&gateway, scheme);
        let stranger = certs.path("other/other.pem");
        said(&format!("pub {place} --cafile {stranger} -t a -m b"))
            .bad(4, &["not trusted: no authority that we trust", "--cafile FILE"]);
        let address = place.replace("localhost", "127.0.0.1");
        said(&format!("pub {address} {trust} -t a -m b"))
            .bad(4, &["it is not for the host `127.0.0.1`", "--insecure"]);
        said(&format!("pub {address} {trust} --insecure -t a -m b")).good();
        // The name is left out, and nothing else.
        said(&format!("pub {place} --cafile {stranger} --insecure -t a -m b")).bad(4, &["trust"]);
    }
    drop(gateway);
    ca.issue_with("server", |params| {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
    });
    let gateway = crate::gateway("tls-expired", &certs.0, &["mqtts"], "");
    said(&format!("pub {} {trust} -t a -m b", url(&gateway, "mqtts")))
        .bad(4, &["it has expired", "clock"]);
}

/// As OpenSSL has it: the one certificate of a small server, an authority or not.
#[test]
fn a_self_signed_certificate_is_trusted_by_itself() {
    for is_ca in [true, false] {
        let (certs, _) = Certs::new(&format!("self-{is_ca}"));
        let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        if is_ca {
            params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        }
        let key = rcgen::KeyPair::generate().unwrap();
        let own = params.self_signed(&key).unwrap();
        std::fs::write(certs.path("server.pem"), own.pem()).unwrap();
        std::fs::write(certs.path("server.key"), key.serialize_pem()).unwrap();
        let gateway = gateway(&format!("tls-self-{is_ca}"), &certs.0, &["mqtts"], "");
        let (place, own) = (url(&gateway, "mqtts"), certs.path("server.pem"));
        said(&format!("pub {place} --cafile {own} -t a -m b")).good();
        let address = place.replace("localhost", "127.0.0.1");
        said(&format!("pub {address} --cafile {own} -t a -m b")).bad(4, &["not for the host"]);
        said(&format!("pub {place} --cafile {} -t a -m b", certs.path("ca.pem")))
            .bad(4, &["trust"]);
    }
}

#[test]
fn a_certificate_of_ours_is_shown() {
    let (certs, ca) = Certs::new("own");
    ca.issue("node");
    let client_ca = format!(", client_ca: {}", certs.path("ca.pem"));
    let gateway = gateway("tls-own", &certs.0, &["mqtts"], &client_ca);
    let place = format!("{} --cafile {}", url(&gateway, "mqtts"), certs.path("ca.pem"));
    said(&format!("pub {place} -q 1 -t a -m b"))
        .bad(4, &["the server refused TLS: CertificateRequired", "--cert FILE --key FILE"]);
    let own = format!("--cert {} --key {}", certs.path("node.pem"), certs.path("node.key"));
    said(&format!("pub {place} {own} -q 1 -t a -m b")).good();
    let stranger = Authority::new(&certs.0.join("other"), "other");
    stranger.issue("node");
    let own = format!("--cert {0}.pem --key {0}.key", certs.path("other/node"));
    said(&format!("pub {place} {own} -q 1 -t a -m b"))
        .bad(4, &["the server refused TLS", "--cert"]);
    let torn = format!("--cert {} --key {}", certs.path("node.pem"), certs.path("server.key"));
    said(&format!("pub {place} {torn} -t a -m b")).bad(2, &["node.pem with"]);
}

#[test]
fn another_protocol_on_the_port_is_told() {
    let (certs, _) = Certs::new("other");
    let gateway = gateway("tls-other", &certs.0, &["mqtt", "mqtts", "ws"], "");
    let port = |protocol| gateway.address(protocol).port();
    let trust = format!("--cafile {}", certs.path("ca.pem"));
    said(&format!("pub mqtts://localhost:{} {trust} -t a -m b", port("mqtt")))
        .bad(5, &["closed the connection during the handshake", "is TLS spoken on this port?"]);
    // It answers, but not in TLS.
    said(&format!("pub mqtts://localhost:{} {trust} -t a -m b", port("ws")))
        .bad(6, &["does not speak TLS"]);
    said(&format!("pub mqtt://localhost:{} -t a -m b", port("mqtts"))).bad(5, &["TLS"]);
    said(&format!("pub ws://localhost:{}/other -t a -m b", port("ws")))
        .bad(4, &["refused the WebSocket at /other: HTTP 404", "ws://HOST:PORT/PATH"]);
    said(&format!("pub ws://localhost:{} -t a -m b", port("mqtt")))
        .bad(5, &["is WebSocket spoken on this port"]);
    let (_kept, silent) = silent_tcp();
    said(&format!("pub mqtts://{silent} {trust} -t a -m b -W 1")).bad(27, &[]);
}

/// [MQTT-6.0.0-3]: the client offers the subprotocol `mqtt`; [MQTT-6.0.0-1]: it sends binary frames,
/// and a server that answers with text is left.
#[test]
fn the_subprotocol_is_offered_and_frames_are_binary() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let peer = std::thread::spawn(move || {
        let (stream, _) = server.accept().unwrap();
        let mut offered = Vec::new();
        #[allow(clippy::result_large_err)] // the error type is tungstenite's
        let upgrade = |request: &Request, mut response: Response| {
            let headers = request.headers().get_all("Sec-WebSocket-Protocol");
            offered.extend(headers.iter().map(|value| value.to_str().unwrap().to_owned()));
            response.headers_mut().insert("Sec-WebSocket-Protocol", "mqtt".parse().unwrap());
            Ok(response)
        };
        let mut socket = tungstenite::accept_hdr(stream, upgrade).unwrap();
        let first = socket.read().unwrap();
        // A CONNACK, but for its frame.
        socket.send(Message::text("\u{20}\u{2}\0\0")).unwrap();
        let mut published = false;
        while let Ok(message) = socket.read() {
            published |= message.into_data().first() == Some(&0x30);
        }
        (offered, first, published)
    });
    said(&format!("pub ws://{address}/mqtt -t a -m b")).bad(5, &["without an answer to CONNECT"]);
    let (offered, first, published) = peer.join().unwrap();
    assert_eq!(offered, ["mqtt"]);
    let Message::Binary(connect) = first else { panic!("no binary frame: {first:?}") };
    assert_eq!((connect[0], published), (0x10, false));
}

/// `bench` takes every transport that the gateway offers, connections and messages.
#[test]
fn bench_loads_every_transport() {
    let (certs, ca) = Certs::new("bench");
    ca.issue("device");
    let socket = certs.path("socket");
    let demand = format!(", client_ca: {}", certs.path("ca.pem"));
    let listeners: String = ["mqtts", "ws", "wss"]
        .iter()
        .map(|p| listener(p, &certs.0, &demand))
        .chain([format!(
            "  - {{protocol: mqtt, name: local, bind: \"unix:{socket}\", anonymous: true}}\n"
        )])
        .collect();
    let gateway = Configured::start(
        "bench-all",
        &format!("version: 1\ndurability: none\nlisteners:\n{listeners}"),
    );
    let files = format!(
        " --cafile {} --cert {} --key {}",
        certs.path("ca.pem"),
        certs.path("device.pem"),
        certs.path("device.key")
    );
    for (url, files) in [
        (url(&gateway, "mqtts"), files.as_str()),
        (url(&gateway, "ws"), ""),
        (url(&gateway, "wss"), &files),
        (format!("unix:{socket}"), ""),
    ] {
        let figures = |line: &str| -> serde_json::Value {
            serde_json::from_str(&said(&format!("bench {line}{files} -o json")).good()).unwrap()
        };
        let report = figures(&format!("rtt {url} -q 2 -c 3 -n 300 -w 8 --payload 20000"));
        assert_eq!(report["delivered"], 300, "{url}: {report}");
        let report = figures(&format!("conn {url} -c 50"));
        assert_eq!(report["acknowledged"], 50, "{url}: {report}");
    }
    // From one to another, and what is wrong is said as `pub` says it.
    let (tls, ws) = (url(&gateway, "mqtts"), url(&gateway, "ws"));
    said(&format!("bench rtt {ws} --to {tls}{files} -q 1 -n 50")).good();
    said(&format!("bench rtt {tls} -n 5")).bad(4, &["not trusted", "--cafile"]);
    let ca = certs.path("ca.pem");
    said(&format!("bench rtt {tls} --cafile {ca} -n 5")).bad(4, &["--cert"]);
    said(&format!("bench rtt {ws} --cafile {ca} -n 5"))
        .bad(2, &["has no TLS", "coaps+tcp:// or coaps+ws://"]);
    said(&format!("bench rtt {ws}x -n 5")).bad(4, &["404"]);
    said("bench rtt unix:/nowhere -n 5").bad(5, &["nothing listens", "bind: unix:"]);
}
