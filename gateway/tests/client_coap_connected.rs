//! `get put post delete observe discover ping bench` over TCP, TLS and WebSocket (RFC 8323): success against
//! a gateway, and how connections fail.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::thread::JoinHandle;

use common::certs::Authority;
use common::client::{Configured, Running, said, silent_tcp};
use tungstenite::Message;
use tungstenite::handshake::server::{Request, Response};

const SCHEMES: [&str; 4] = ["coap+tcp", "coaps+tcp", "coap+ws", "coaps+ws"];

/// A gateway with a listener of each, and its certificates.
struct World {
    gateway: Configured,
    certs: PathBuf,
}

impl World {
    fn start(name: &str) -> World {
        let certs =
            std::env::temp_dir().join(format!("motegate-coap-certs-{name}-{}", std::process::id()));
        Authority::new(&certs, "ca").issue("server");
        let folder = certs.display();
        let listener = |scheme: &str| {
            let tls = format!(", tls: {{cert: {folder}/server.pem, key: {folder}/server.key}}");
            let tls = if scheme.starts_with("coaps") { tls } else { String::new() };
            format!("  - {{protocol: {scheme}, bind: \"127.0.0.1:0\", anonymous: true{tls}}}\n")
        };
        let all: String = SCHEMES.iter().chain(&["mqtt", "coap"]).map(|s| listener(s)).collect();
        let text = format!("version: 1\ndurability: none\nlisteners:\n{all}");
        World { gateway: Configured::start(name, &text), certs }
    }

    fn base(&self, scheme: &str) -> String {
        format!("{scheme}://localhost:{}", self.gateway.address(scheme).port())
    }

    /// What it takes to trust it.
    fn trust(&self, scheme: &str) -> String {
        let file = self.certs.join("ca.pem");
        if scheme.starts_with("coaps") {
            format!(" --cafile {}", file.display())
        } else {
            String::new()
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.certs);
    }
}

/// RFC 8323 §8: each scheme; what one puts the next reads, small and large.
#[test]
fn every_transport_puts_and_gets() {
    let world = World::start("coap-connected");
    let large = world.certs.join("large");
    std::fs::write(&large, "0123456789".repeat(20_000)).unwrap();
    for (index, scheme) in SCHEMES.iter().enumerate() {
        let (base, trust) = (world.base(scheme), world.trust(scheme));
        let next = SCHEMES[(index + 1) % SCHEMES.len()];
        let (other, other_trust) = (world.base(next), world.trust(next));
        let door = format!("{base}/mqtt/{index}/door{trust}");
        assert_eq!(said(&format!("put {door} open")).err, "2.01 Created\n");
        let got = said(&format!("get {other}/mqtt/{index}/door{other_trust} -d"));
        for line in ["-> CSM, 7 bytes\n", "<- CSM, 7 bytes\n", "-> GET =", "-> Release, 2 bytes\n"]
        {
            assert!(got.err.contains(line), "no {line} in {}", got.err);
        }
        assert_eq!(got.good(), "open\n");
        assert_eq!(said(&format!("post {door} -m now")).err, "2.04 Changed\n");
        assert_eq!(said(&format!("delete {door}")).err, "2.02 Deleted\n");
        said(&format!("get {door}")).bad(4, &["4.04 Not Found", "try:"]);
        let big = format!("/mqtt/{index}/big");
        said(&format!("put {base}{big}{trust} -f {}", large.display())).good();
        for block in ["", " -b 1024", " -b 256"] {
            let got = said(&format!("get {other}{big}{other_trust} --no-newline{block}")).good();
            assert!(got == "0123456789".repeat(20_000), "{scheme}{block}: {} bytes", got.len());
        }
        let said = said(&format!("ping {base}{trust} -C 2 -i 0.01")).good();
        assert_eq!(said.matches(&format!("{base} lives: ")).count(), 2, "{said}");
    }
    let base = world.base("coap+tcp");
    let found = said(&format!("discover {base}")).good();
    assert!(found.contains("/mqtt/0/big"), "{found}");
    // By --host and -p it is UDP, as ever.
    let port = world.gateway.address("coap").port();
    said(&format!("get --host 127.0.0.1 -p {port} /mqtt/0/big -q")).good();
}

#[test]
fn an_observer_sees_every_value_and_says_goodbye() {
    let world = World::start("coap-observe");
    for scheme in SCHEMES {
        let door = format!("{}/mqtt/door{}", world.base(scheme), world.trust(scheme));
        let observer = Running::until("2.05 Content", &format!("observe {door} -C 4 -d"));
        for value in ["a", "b", "c", "d"] {
            said(&format!("put {door} {value}")).good();
            observer.says("<- 2.05");
        }
        observer.says("-> GET");
        observer.says("-> Release");
        assert_eq!(observer.end(), (Some(0), "a\nb\nc\nd\n".to_owned()));
        said(&format!("delete {door}")).good();
    }
}

#[test]
fn tls_fails_in_the_words_of_the_other_commands() {
    let world = World::start("coap-distrust");
    let (tcp, tls) = (world.base("coap+tcp"), world.base("coaps+tcp"));
    said(&format!("get {tls}/x")).bad(4, &["certificate is not trusted", "--cafile FILE"]);
    let trust = world.trust("coaps+tcp");
    said(&format!("get {tcp}/x{trust}")).bad(2, &["has no TLS", "coaps+tcp:// or coaps+ws://"]);
    let port = |scheme| world.gateway.address(scheme).port();
    said(&format!("get coaps+tcp://localhost:{}/x{trust}", port("coap+tcp")))
        .bad(6, &["does not speak TLS"]);
    said(&format!("get coaps+tcp://localhost:{}/x{trust}", port("mqtt")))
        .bad(5, &["closed the connection during the handshake", "5684"]);
    said(&format!("get coap+ws://localhost:{}/x", port("mqtt")))
        .bad(5, &["is WebSocket spoken on this port, with TLS (coaps+ws)"]);
    said(&format!("get coap+tcp://localhost:{}/x", port("coaps+tcp"))).bad(5, &["its CSM"]);
    said(&format!("get coap+tcp://localhost:{}/x", port("mqtt")))
        .bad(5, &["closed the connection before it said that it speaks CoAP", "coap://"]);
    said("get coap+tcp://127.0.0.1:1/x").bad(5, &["nothing listens on 127.0.0.1:1", "try:"]);
    said("get coap+tcp://a:b@localhost/x").bad(2, &["no user name"]);
}

/// A server by hand on a port of its own; what it does with each connection.
fn server(
    connections: usize,
    act: impl Fn(usize, TcpStream) + Send + 'static,
) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        for number in 0..connections {
            act(number, listener.accept().unwrap().0);
        }
    });
    (address, thread)
}

/// Reads until a message of this code has come; its token. Messages here are short.
fn until(stream: &mut TcpStream, code: u8) -> Vec<u8> {
    let mut byte = [0];
    loop {
        stream.read_exact(&mut byte).unwrap();
        let (mut length, token) = (usize::from(byte[0] >> 4), usize::from(byte[0] & 15));
        if length == 13 {
            stream.read_exact(&mut byte).unwrap();
            length = 13 + usize::from(byte[0]);
        }
        stream.read_exact(&mut byte).unwrap();
        let mut rest = vec![0; token + length];
        stream.read_exact(&mut rest).unwrap();
        if byte[0] == code {
            rest.truncate(token);
            return rest;
        }
    }
}

/// A message without extended length.
fn message(code: u8, token: &[u8], rest: &[u8]) -> Vec<u8> {
    let first = u8::try_from(rest.len() << 4 | token.len()).unwrap();
    [&[first, code], token, rest].concat()
}

const CSM: u8 = 0xe1;
const RELEASE: u8 = 0xe4;
const ABORT: u8 = 0xe5;

#[test]
fn the_end_of_a_connection_says_why() {
    let (abort, _) = server(1, |_, mut stream| {
        let text = [&message(CSM, b"", b"")[..], &message(ABORT, b"", b"\xfftoo busy")].concat();
        until(&mut stream, 1);
        stream.write_all(&text).unwrap();
    });
    said(&format!("get coap+tcp://{abort}/x")).bad(4, &["aborted the connection: too busy"]);
    let (close, _) = server(1, |_, mut stream| {
        stream.write_all(&message(CSM, b"", b"")).unwrap();
        until(&mut stream, 1);
    });
    said(&format!("get coap+tcp://{close}/x")).bad(5, &["the server closed the connection\n"]);
    let (noise, thread) = server(1, |_, mut stream| {
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        until(&mut stream, ABORT);
    });
    said(&format!("get coap+tcp://{noise}/x")).bad(6, &["broke the rules", "another protocol"]);
    thread.join().unwrap();
    let (_kept, silent) = silent_tcp();
    said(&format!("get coap+tcp://{silent}/x -W 1")).bad(27, &["no answer from coap+tcp://"]);
}

/// RFC 8323 §5.5: what the server has not answered yet, it answers; then the command is done.
#[test]
fn a_release_lets_the_answer_come() {
    let (address, thread) = server(1, |_, mut stream| {
        let token = until(&mut stream, 1);
        for bytes in [
            message(CSM, b"", b""),
            message(RELEASE, b"", b"\xffbye"),
            message(0x45, &token, b"\xffv"),
        ] {
            stream.write_all(&bytes).unwrap();
        }
        // The client closes.
        assert_eq!(stream.read(&mut [0; 9]).unwrap(), 0);
    });
    assert_eq!(said(&format!("get coap+tcp://{address}/x")).good(), "v\n");
    thread.join().unwrap();
}

/// RFC 8323 §7.4: an observation ends with its connection; it is registered again, as soon as somebody
/// is there.
#[test]
fn an_observer_connects_anew() {
    let (address, thread) = server(3, |number, mut stream| {
        let token = until(&mut stream, 1);
        stream.write_all(&message(CSM, b"", b"")).unwrap();
        // Observe, and no Max-Age; the second connection has the same value.
        let value = [b"one", b"one", b"two"][number];
        let rest = [&[0x60, 0xff][..], value].concat();
        stream.write_all(&message(0x45, &token, &rest)).unwrap();
        if number == 2 {
            until(&mut stream, RELEASE);
        }
    });
    let observer = Running::until("2.05", &format!("observe coap+tcp://{address}/x -C 2 -W 10"));
    observer.says("the server closed the connection; asking anew");
    assert_eq!(observer.end(), (Some(0), "one\ntwo\n".to_owned()));
    thread.join().unwrap();
    // Nobody comes back.
    let (address, thread) = server(1, |_, mut stream| {
        let token = until(&mut stream, 1);
        stream.write_all(&message(CSM, b"", b"")).unwrap();
        stream.write_all(&message(0x45, &token, b"\x60\xffone")).unwrap();
    });
    let gone = said(&format!("observe coap+tcp://{address}/x -W 1.5"));
    thread.join().unwrap();
    assert_eq!((gone.code, gone.out.as_str()), (Some(5), "one\n"), "{}", gone.err);
    for word in ["asking anew", "trying again", "nothing listens"] {
        assert_eq!(
            gone.err.matches(word).count(),
            if word == "nothing listens" { 2 } else { 1 },
            "{}",
            gone.err
        );
    }
}

/// RFC 8323 §4.1: the subprotocol `coap` at `/.well-known/coap`; §4.2: binary messages with Len 0, one a
/// message, and text is none.
#[test]
fn a_websocket_is_opened_as_it_should() {
    for text in [false, true] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let peer = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut asked = Vec::new();
            #[allow(clippy::result_large_err)] // the error type is tungstenite's
            let upgrade = |request: &Request, mut response: Response| {
                let offered = request.headers().get("Sec-WebSocket-Protocol").unwrap();
                let host = request.headers().get("Host").unwrap();
                asked = vec![
                    request.uri().path().to_owned(),
                    offered.to_str().unwrap().to_owned(),
                    host.to_str().unwrap().to_owned(),
                ];
                response.headers_mut().insert("Sec-WebSocket-Protocol", "coap".parse().unwrap());
                Ok(response)
            };
            let mut socket = tungstenite::accept_hdr(stream, upgrade).unwrap();
            let (csm, get) = (socket.read().unwrap(), socket.read().unwrap());
            if text {
                let _ = socket.send(Message::text("\0\u{61}"));
            } else {
                let token = get.clone().into_data()[2..6].to_vec();
                socket.send(Message::binary(vec![0, CSM])).unwrap();
                let answer = [&[4, 0x45][..], &token, b"\xffv"].concat();
                socket.send(Message::binary(answer)).unwrap();
            }
            while socket.read().is_ok() {}
            (asked, [csm, get])
        });
        let got = said(&format!("get coap+ws://{address}/x"));
        if text {
            got.bad(5, &["closed the connection"]);
        } else {
            assert_eq!(got.good(), "v\n");
        }
        let (asked, said) = peer.join().unwrap();
        assert_eq!(asked, ["/.well-known/coap".to_owned(), "coap".into(), address.to_string()]);
        let [Message::Binary(csm), Message::Binary(get)] = said else { panic!("{said:?}") };
        assert_eq!(csm[..2], [0, CSM]);
        assert_eq!((&get[..2], &get[6..]), (&[4, 1][..], &b"\xb1x"[..]));
    }
}

/// `bench` takes each of them for its CoAP side, and from one to another.
#[test]
fn bench_loads_every_transport() {
    let world = World::start("coap-bench");
    let figures = |line: &str| -> serde_json::Value {
        serde_json::from_str(&said(&format!("bench {line} -o json")).good()).unwrap()
    };
    for scheme in SCHEMES {
        let url = world.base(scheme) + &world.trust(scheme);
        let report = figures(&format!("pub {url} -c 3 -n 300 -w 8 --payload 3000"));
        assert_eq!(report["acknowledged"], 300, "{url}: {report}");
        let report = figures(&format!("rtt {url} -c 3 -n 300 -w 1"));
        for none in ["lost", "duplicates", "refused", "broken"] {
            assert_eq!(report[none], 0, "{url}: {none}: {report}");
        }
        assert!(report["delivered"].as_u64().unwrap() > 0, "{url}: {report}");
        let report = figures(&format!("conn {url} -c 50 -q 1"));
        assert_eq!(report["acknowledged"], 50, "{url}: {report}");
        let report = figures(&format!("conn {url} -c 5 -n 40 -q 1"));
        assert_eq!(report["acknowledged"], 40, "{url}: {report}");
    }
    let (tcp, mqtt) = (world.base("coap+tcp"), world.base("mqtt"));
    let report = figures(&format!("rtt {tcp} --to {mqtt} -c 2 -n 100"));
    assert_eq!((&report["delivered"], &report["lost"]), (&100.into(), &0.into()), "{report}");
    let report = figures(&format!("sub {mqtt} --to {tcp} -c 20 -n 50 -r 100"));
    assert!(report["delivered"].as_u64().unwrap() > 0, "{report}");
    said("bench pub coap+tcp://127.0.0.1:1 -n 5").bad(5, &["nothing listens on 127.0.0.1:1/tcp"]);
    let port = world.gateway.address("mqtt").port();
    said(&format!("bench pub coap+tcp://127.0.0.1:{port} -n 5")).bad(5, &["its CSM"]);
    let tls = world.base("coaps+tcp");
    said(&format!("bench pub {tls} -n 5")).bad(4, &["not trusted"]);
}
