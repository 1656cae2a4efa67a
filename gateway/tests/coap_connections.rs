//! CoAP over TCP, TLS and WebSocket (RFC 8323) at real listeners: what their transports add. The messages
//! themselves are tested where they are made, independent clients in the interoperability tests.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // real time passes here

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use common::PATIENCE;
use common::certs::Authority;
use common::client::Configured;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tungstenite::Message;
use tungstenite::client::IntoClientRequest as _;

/// A CSM of a client with nothing to say.
const CSM: [u8; 2] = [0x00, 0xe1];
/// GET and PUT of `/mqtt/a`; a value that is there.
const GET: [u8; 10] = *b"\x71\x01\x07\xb4mqtt\x01a";
const PUT: [u8; 13] = *b"\xa1\x03\x06\xb4mqtt\x01a\xffon";

fn gateway(name: &str, listener: &str) -> Configured {
    Configured::start(
        name,
        &format!(
            "version: 1\ndurability: none\nlisteners:\n  - {{bind: \"127.0.0.1:0\", {listener}}}\n"
        ),
    )
}

fn dial(gateway: &Configured, word: &str) -> TcpStream {
    let stream = TcpStream::connect(gateway.address(word)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// The next message: its code, and what is behind its token.
fn message(stream: &mut impl Read) -> std::io::Result<(u8, Vec<u8>)> {
    let mut byte = || {
        let mut byte = [0];
        stream.read_exact(&mut byte).map(|()| usize::from(byte[0]))
    };
    let first = byte()?;
    let length = match first >> 4 {
        13 => 13 + byte()?,
        14 => 269 + (byte()? << 8) + byte()?,
        short => short,
    };
    let code = u8::try_from(byte()?).unwrap();
    let mut rest = vec![0; (first & 15) + length];
    stream.read_exact(&mut rest)?;
    Ok((code, rest.split_off(first & 15)))
}

/// A put and a get behind a CSM, and their answers.
fn exchange(stream: &mut (impl Read + Write)) -> std::io::Result<()> {
    stream.write_all(&CSM)?;
    assert_eq!(message(stream)?.0, 0xe1, "their first message is a CSM, too");
    stream.write_all(&PUT)?;
    let (code, _) = message(stream)?;
    assert!([0x41, 0x44].contains(&code), "{code:02x}");
    stream.write_all(&GET)?;
    let (code, rest) = message(stream)?;
    assert_eq!((code, rest.ends_with(b"\xffon")), (0x45, true), "{rest:02x?}");
    Ok(())
}

#[test]
fn a_connection_in_pieces_is_released_when_the_gateway_stops() {
    let mut gateway = gateway("coap-tcp", "protocol: coap+tcp, anonymous: true");
    let mut stream = dial(&gateway, "coap+tcp");
    for byte in CSM.iter().chain(&PUT).chain(&GET) {
        stream.write_all(&[*byte]).unwrap();
    }
    let codes: Vec<u8> = (0..3).map(|_| message(&mut stream).unwrap().0).collect();
    assert_eq!(codes, [0xe1, 0x41, 0x45]);
    let status = gateway.status();
    assert_eq!(status["connections"]["open"], 1, "{status}");
    gateway.stop();
    let (code, text) = message(&mut stream).unwrap();
    assert_eq!(code, 0xe4, "RFC 8323 §5.5: {text:02x?}");
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    assert_eq!(gateway.ended(Duration::from_secs(10)), Some(0));
}

/// RFC 8323 §5.6: why it ends is said before it does, and in the log.
#[test]
fn an_abort_comes_before_the_end() {
    let gateway = gateway("coap-abort", "protocol: coap+tcp, anonymous: true");
    let mut stream = dial(&gateway, "coap+tcp");
    stream.write_all(&GET).unwrap();
    assert_eq!(message(&mut stream).unwrap().0, 0xe1);
    let (code, text) = message(&mut stream).unwrap();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(code == 0xe5 && text.contains("CSM"), "{code:02x} {text}");
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    gateway.says("the first message must be a CSM");
}

#[test]
fn a_proxy_header_is_who_the_client_is() {
    let gateway = gateway("coap-proxy", "protocol: coap+tcp, anonymous: true, proxy_protocol: any");
    let mut stream = dial(&gateway, "coap+tcp");
    stream.write_all(b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 5683\r\n").unwrap();
    exchange(&mut stream).unwrap();
    gateway.says("192.0.2.7:4711");
}

struct Certs(PathBuf);

impl Drop for Certs {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// An authority, and files of a server and of a client.
fn certs(name: &str) -> (Certs, Authority) {
    let directory = std::env::temp_dir().join(format!("motegate-{name}-{}", std::process::id()));
    let authority = Authority::new(&directory, "ca");
    authority.issue("server");
    authority.issue("mote");
    (Certs(directory), authority)
}

/// A client that trusts the authority and names these protocols (RFC 7301).
fn client(certs: &Certs, alpn: &[&str], certificate: bool) -> Arc<ClientConfig> {
    let file = |name: &str| certs.0.join(name);
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(file("ca.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = if certificate {
        let chain = vec![CertificateDer::from_pem_file(file("mote.pem")).unwrap()];
        let key = PrivateKeyDer::from_pem_file(file("mote.key")).unwrap();
        builder.with_client_auth_cert(chain, key).unwrap()
    } else {
        builder.with_no_client_auth()
    };
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

fn secure(
    stream: TcpStream,
    config: Arc<ClientConfig>,
) -> StreamOwned<ClientConnection, TcpStream> {
    let name = "localhost".try_into().unwrap();
    StreamOwned::new(ClientConnection::new(config, name).unwrap(), stream)
}

fn tls(certs: &Certs, more: &str) -> String {
    let folder = certs.0.display();
    let more = more.replace("DIR", &folder.to_string());
    format!("tls: {{cert: {folder}/server.pem, key: {folder}/server.key{more}}}")
}

/// RFC 8323 §8.2: `coap` is told by ALPN to those that ask; who asks for something else alone is refused.
#[test]
fn tls_says_coap_by_alpn() {
    let (certs, _authority) = certs("coap-alpn");
    let listener = format!("protocol: coaps+tcp, anonymous: true, {}", tls(&certs, ""));
    let gateway = gateway("coap-alpn", &listener);
    for (offered, chosen) in
        [(&["coap"][..], Some(&b"coap"[..])), (&["h2", "coap"], Some(b"coap")), (&[], None)]
    {
        let mut stream = secure(dial(&gateway, "coaps+tcp"), client(&certs, offered, false));
        exchange(&mut stream).unwrap();
        assert_eq!(stream.conn.alpn_protocol(), chosen, "{offered:?}");
    }
    let mut stream = secure(dial(&gateway, "coaps+tcp"), client(&certs, &["mqtt"], false));
    exchange(&mut stream).unwrap_err();
}

/// Nobody is let in without an identity: the certificate is one.
#[test]
fn a_client_certificate_is_an_identity() {
    let (certs, _authority) = certs("coap-cert");
    let more = ", client_ca: DIR/ca.pem, client_cert: required, identity: cn";
    let gateway = gateway("coap-cert", &format!("protocol: coaps+tcp, {}", tls(&certs, more)));
    let mut stream = secure(dial(&gateway, "coaps+tcp"), client(&certs, &["coap"], true));
    exchange(&mut stream).unwrap();
    let line = gateway.says("connected");
    assert!(line.contains("mote"), "{line}");
    let mut stream = secure(dial(&gateway, "coaps+tcp"), client(&certs, &["coap"], false));
    exchange(&mut stream).unwrap_err();
}

/// RFC 8323 §4: at `/.well-known/coap`, with the subprotocol `coap`, one message a message.
#[test]
fn a_websocket_carries_coap() {
    let (certs, _authority) = certs("coap-ws");
    for (word, secured) in [("coap+ws", false), ("coaps+ws", true)] {
        let end = if secured { tls(&certs, "") } else { "name: plain".into() };
        let listener = format!("protocol: {word}, anonymous: true, {end}");
        let gateway = gateway(&format!("coap-{word}"), &listener);
        let dial = || dial(&gateway, word);
        if secured {
            websocket(secure(dial(), client(&certs, &["http/1.1"], false)));
            continue;
        }
        websocket(dial());
        for (url, protocol) in
            [("ws://localhost/.well-known/coap", "mqtt"), ("ws://localhost/mqtt", "coap")]
        {
            let mut request = url.into_client_request().unwrap();
            request.headers_mut().insert("Sec-WebSocket-Protocol", protocol.parse().unwrap());
            let refused = tungstenite::client::client(request, dial());
            assert!(refused.is_err(), "{url} {protocol}");
        }
    }
}

fn websocket<S: Read + Write + std::fmt::Debug>(stream: S) {
    let mut request = "ws://localhost/.well-known/coap".into_client_request().unwrap();
    request.headers_mut().insert("Sec-WebSocket-Protocol", "coap".parse().unwrap());
    let (mut socket, response) = tungstenite::client::client(request, stream).unwrap();
    assert_eq!(response.headers()["Sec-WebSocket-Protocol"], "coap");
    let mut say = |message: &[u8]| {
        // Len is 0 (RFC 8323 §4.2).
        let carried = [&[message[0] & 15], &message[1..]].concat();
        socket.send(Message::binary(carried)).unwrap();
        let answer = socket.read().unwrap();
        assert!(answer.is_binary());
        let answer = answer.into_data();
        assert_eq!(answer[0] >> 4, 0, "Len");
        answer.to_vec()
    };
    assert_eq!(say(&CSM)[1], 0xe1);
    let answer = say(&PUT);
    assert_eq!(answer[..], [1, 0x41, 6]);
    let answer = say(&GET);
    assert!(answer.starts_with(&[1, 0x45, 7]) && answer.ends_with(b"\xffon"), "{answer:02x?}");
}
