//! MQTT over TLS with a client of rustls (mqtt.md §2.20).
#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // real time passes here

mod common;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::certs::Authority;
use common::client::Configured;
use common::{PATIENCE, packet, string};
use rcgen::{SerialNumber, date_time_ymd};
use rustls::client::ResolvesClientCert;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ClientConnection, RootCertStore, SignatureScheme, StreamOwned};
use serde_json::Value;

const CONNACK: [u8; 4] = [0x20, 2, 0, 0];

type Stream = StreamOwned<ClientConnection, TcpStream>;

/// Where certificates of a test lie, gone with it.
struct Certs(PathBuf);

impl Certs {
    fn new(name: &str) -> Certs {
        let name = format!("motegate-tls-{name}-{}", std::process::id());
        Certs(std::env::temp_dir().join(name))
    }
}

impl Drop for Certs {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn config(directory: &Path, tls: &str, rest: &str) -> String {
    let folder = directory.display();
    let tls = tls.replace("DIR", &folder.to_string());
    format!(
        "version: 1\ndurability: none\nlisteners:\n  - protocol: mqtts\n    name: lan\n    \
         bind: \"127.0.0.1:0\"\n    tls: {{cert: {folder}/server.pem, key: {folder}/server.key{tls}}}\n\
         {rest}"
    )
}

/// A client that trusts the authority, with a certificate or without.
fn client(directory: &Path, certificate: Option<&str>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(directory.join("ca.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    Arc::new(match certificate {
        None => builder.with_no_client_auth(),
        Some(name) => {
            let of = |end: &str| directory.join(format!("{name}.{end}"));
            let chain = vec![CertificateDer::from_pem_file(of("pem")).unwrap()];
            let key = PrivateKeyDer::from_pem_file(of("key")).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    })
}

fn dial(gateway: &Configured, config: &Arc<ClientConfig>, name: &'static str) -> Stream {
    let stream = TcpStream::connect(gateway.address("mqtts")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let name = name.try_into().unwrap();
    StreamOwned::new(ClientConnection::new(config.clone(), name).unwrap(), stream)
}

fn connect_packet(id: &str) -> Vec<u8> {
    let mut body = b"\x00\x04MQTT\x04\x02\x00\x3c".to_vec();
    string(&mut body, id);
    packet(0x10, &body)
}

/// Says CONNECT; the answer, or why there is none.
fn connect(stream: &mut Stream, id: &str) -> std::io::Result<[u8; 4]> {
    stream.write_all(&connect_packet(id))?;
    let mut answer = [0; 4];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

fn failed(gateway: &Configured) -> Value {
    gateway.status()["connections"]["failed"].clone()
}

/// Shows a certificate that rustls would not let a client have.
#[derive(Debug)]
struct Shows(Arc<CertifiedKey>);

impl ResolvesClientCert for Shows {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// `openssl x509 -req` without `-extfile`, as many guides have it, makes version 1.
#[test]
fn a_client_certificate_of_version_1_is_told_how_to_be_made_anew() {
    let certs = Certs::new("v1");
    Authority::new(&certs.0, "ca").issue("server");
    let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/certs");
    let tls = format!(", client_ca: {}/v1-ca.pem", files.display());
    let gateway = Configured::start("tls-v1", &config(&certs.0, &tls, "    anonymous: true\n"));
    let chain = vec![CertificateDer::from_pem_file(files.join("v1.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(files.join("v1.key")).unwrap();
    let key = rustls::crypto::ring::sign::any_supported_type(&key).unwrap();
    let mut shows = (*client(&certs.0, None)).clone();
    shows.client_auth_cert_resolver = Arc::new(Shows(Arc::new(CertifiedKey::new(chain, key))));
    assert!(connect(&mut dial(&gateway, &Arc::new(shows), "localhost"), "a").is_err());
    let line = gateway.says("cert_version");
    assert!(line.contains("openssl x509 -req") && line.contains("-extfile"), "{line}");
    assert_eq!(failed(&gateway), serde_json::json!({"cert_version": 1}));
}

#[test]
fn mqtt_over_tls_in_pieces_and_in_bulk() {
    let certs = Certs::new("bulk");
    let ca = Authority::new(&certs.0, "ca");
    ca.issue("server");
    let gateway = Configured::start("tls-bulk", &config(&certs.0, "", "    anonymous: true\n"));
    let trust = client(&certs.0, None);
    let mut stream = dial(&gateway, &trust, "localhost");
    assert_eq!(connect(&mut stream, "a").unwrap(), CONNACK);
    // A megabyte to itself and back: records on both sides, in any pieces.
    stream.write_all(b"\x82\x08\x00\x01\x00\x03big\x00").unwrap();
    let mut suback = [0; 5];
    stream.read_exact(&mut suback).unwrap();
    let mut body = Vec::new();
    string(&mut body, "big");
    body.extend((0..1_000_000u32).map(|n| n.to_le_bytes()[0]));
    let publish = packet(0x30, &body);
    for piece in publish.chunks(40_001) {
        stream.write_all(piece).unwrap();
    }
    let mut back = vec![0; publish.len()];
    stream.read_exact(&mut back).unwrap();
    assert!(back == publish);
    // The gateway ends it in order: DISCONNECT, and its close_notify before the end.
    stream.write_all(b"\xe0\x00").unwrap();
    assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0);
    let status = gateway.status();
    assert_eq!(status["connections"]["handshakes"], 1, "{status}");
    assert_eq!(status["listeners"][0]["protocol"], "mqtts");
}

/// Both versions; a session is taken up again.
#[test]
fn versions_and_resumption() {
    let certs = Certs::new("versions");
    let ca = Authority::new(&certs.0, "ca");
    ca.issue("server");
    let gateway = Configured::start("tls-versions", &config(&certs.0, "", "    anonymous: true\n"));
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let mut roots = RootCertStore::empty();
        roots.add(ca.certificate.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let config = Arc::new(config);
        for kind in [rustls::HandshakeKind::Full, rustls::HandshakeKind::Resumed] {
            let mut stream = dial(&gateway, &config, "localhost");
            assert_eq!(connect(&mut stream, "v").unwrap(), CONNACK);
            assert_eq!(stream.conn.protocol_version(), Some(version.version));
            assert_eq!(stream.conn.handshake_kind(), Some(kind), "{version:?}");
        }
    }
}

#[test]
fn the_certificate_is_that_of_the_name_that_was_asked_for() {
    let certs = Certs::new("sni");
    let ca = Authority::new(&certs.0, "ca");
    ca.issue("server");
    for (file, name) in [("one", "one.example"), ("any", "*.any.example")] {
        ca.issue_with(file, |params| {
            params.subject_alt_names = vec![rcgen::SanType::DnsName(name.try_into().unwrap())];
        });
    }
    let sni = ", sni: [{name: one.example, cert: DIR/one.pem, key: DIR/one.key}, \
               {name: \"*.any.example\", cert: DIR/any.pem, key: DIR/any.key}]";
    let gateway = Configured::start("tls-sni", &config(&certs.0, sni, "    anonymous: true\n"));
    let trust = client(&certs.0, None);
    for name in ["localhost", "one.example", "a.any.example"] {
        assert_eq!(connect(&mut dial(&gateway, &trust, name), "n").unwrap(), CONNACK, "{name}");
    }
    // The client does not believe the certificate of another name, and says so in an alert.
    assert!(connect(&mut dial(&gateway, &trust, "two.example"), "n").is_err());
    gateway.says("tls_alert");
    assert_eq!(failed(&gateway)["tls_alert"], 1);
}

#[test]
fn client_certificates_and_what_is_wrong_with_them() {
    let certs = Certs::new("clients");
    let (ca, other) = (Authority::new(&certs.0, "ca"), Authority::new(&certs.0, "other-ca"));
    ca.issue("server");
    ca.issue("good");
    ca.issue_with("revoked", |params| params.serial_number = Some(SerialNumber::from(77u64)));
    ca.issue_with("expired", |params| params.not_after = date_time_ymd(2020, 1, 1));
    other.issue("foreign");
    ca.revoke(77);
    let tls = ", client_ca: DIR/ca.pem, client_cert: required, crl: DIR/crl.pem, identity: cn";
    // Nobody is let in without an identity: the certificate is one, and no password is asked for.
    let gateway = Configured::start("tls-clients", &config(&certs.0, tls, ""));
    let mut stream = dial(&gateway, &client(&certs.0, Some("good")), "localhost");
    assert_eq!(connect(&mut stream, "g").unwrap(), CONNACK);
    for (certificate, cause) in [
        (Some("revoked"), "cert_revoked"),
        (Some("expired"), "cert_expired"),
        (Some("foreign"), "cert_unknown_ca"),
        (None, "cert_missing"),
    ] {
        let mut stream = dial(&gateway, &client(&certs.0, certificate), "localhost");
        let error = connect(&mut stream, "x").unwrap_err();
        // TLS 1.3: the client hears of it in an alert, not in a reset.
        assert!(error.to_string().contains("alert"), "{certificate:?}: {error}");
        let line: Value = serde_json::from_str(&gateway.says(cause)).unwrap();
        assert!(!line["hint"].as_str().unwrap().is_empty(), "{line}");
        assert_eq!(failed(&gateway)[cause], 1, "{cause}");
    }
}

#[test]
fn an_optional_certificate_is_optional() {
    let certs = Certs::new("optional");
    let ca = Authority::new(&certs.0, "ca");
    ca.issue("server");
    ca.issue("good");
    let tls = ", client_ca: DIR/ca.pem, client_cert: optional, identity: san_uri";
    let gateway = Configured::start("tls-optional", &config(&certs.0, tls, ""));
    let mut known = dial(&gateway, &client(&certs.0, Some("good")), "localhost");
    assert_eq!(connect(&mut known, "k").unwrap(), CONNACK);
    // Without one it is anonymous: return code 5.
    let mut unknown = dial(&gateway, &client(&certs.0, None), "localhost");
    assert_eq!(connect(&mut unknown, "u").unwrap(), [0x20, 2, 0, 5]);
}

#[test]
fn plain_bytes_on_a_tls_port_are_said_to_be_such() {
    let certs = Certs::new("plain");
    Authority::new(&certs.0, "ca").issue("server");
    let gateway = Configured::start("tls-plain", &config(&certs.0, "", "    anonymous: true\n"));
    let mut stream = TcpStream::connect(gateway.address("mqtts")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&connect_packet("p")).unwrap();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    let line: Value = serde_json::from_str(&gateway.says("no_tls")).unwrap();
    assert!(line["detail"].as_str().unwrap().contains("MQTT CONNECT without TLS"), "{line}");
    assert_eq!(failed(&gateway)["no_tls"], 1);
}

/// `connect_timeout` runs from accept, the handshake included.
#[test]
fn a_handshake_that_stands_still_has_an_end() {
    let certs = Certs::new("late");
    Authority::new(&certs.0, "ca").issue("server");
    let rest = "    anonymous: true\nlimits: {connect_timeout: 500ms}\n";
    let gateway = Configured::start("tls-late", &config(&certs.0, "", rest));
    let mut stream = TcpStream::connect(gateway.address("mqtts")).unwrap();
    stream.write_all(b"\x16\x03\x01\x02\x00\x01\x00").unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(matches!(stream.read(&mut [0; 8]), Ok(0) | Err(_)));
    assert_eq!(failed(&gateway)["connect_timeout"], 1);
    // Nor does one that is done have longer for its CONNECT.
    let trust = client(&certs.0, None);
    let begun = std::time::Instant::now();
    let mut stream = dial(&gateway, &trust, "localhost");
    stream.flush().unwrap();
    let _ = stream.read(&mut [0; 8]);
    assert!(begun.elapsed() < PATIENCE / 2, "{:?}", begun.elapsed());
}

/// Certificates are read anew, for new handshakes; a bad one refuses the reload.
#[test]
fn a_reload_takes_new_certificates_and_drops_nobody() {
    let certs = Certs::new("reload");
    let ca = Authority::new(&certs.0, "ca");
    ca.issue("server");
    let gateway = Configured::start("tls-reload", &config(&certs.0, "", "    anonymous: true\n"));
    let trust = client(&certs.0, None);
    let mut old = dial(&gateway, &trust, "localhost");
    assert_eq!(connect(&mut old, "old").unwrap(), CONNACK);
    let leaf = |stream: &Stream| stream.conn.peer_certificates().unwrap()[0].clone().into_owned();
    let before = leaf(&old);
    let reload = || {
        let mut command = common::motegate(&["reload"]);
        command.current_dir(&gateway.directory).env("XDG_RUNTIME_DIR", &gateway.directory);
        command.output().unwrap()
    };
    std::fs::write(certs.0.join("server.key"), "nothing").unwrap();
    let output = reload();
    assert!(!output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("E0206") && said.contains("server.key"), "{said}");
    let mut stream = dial(&gateway, &trust, "localhost");
    assert_eq!(connect(&mut stream, "still").unwrap(), CONNACK);
    assert_eq!(leaf(&stream), before, "the old one is kept");

    ca.issue("server");
    let output = reload();
    assert!(output.status.success(), "{output:?}");
    let mut stream = dial(&gateway, &trust, "localhost");
    assert_eq!(connect(&mut stream, "new").unwrap(), CONNACK);
    assert_ne!(leaf(&stream), before);
    // Whoever was there is there.
    old.write_all(b"\xc0\x00").unwrap();
    let mut pingresp = [0; 2];
    old.read_exact(&mut pingresp).unwrap();
    assert_eq!(pingresp, [0xd0, 0]);
}

/// What the kernel does not take waits in the bounded outbox: a client that does not read is ended.
#[test]
fn a_client_that_does_not_read_is_ended() {
    let certs = Certs::new("stall");
    Authority::new(&certs.0, "ca").issue("server");
    let rest = "    anonymous: true\nlimits: {write_stall_timeout: 500ms}\n";
    let gateway = Configured::start("tls-stall", &config(&certs.0, "", rest));
    let trust = client(&certs.0, None);
    let mut deaf = dial(&gateway, &trust, "localhost");
    assert_eq!(connect(&mut deaf, "deaf").unwrap(), CONNACK);
    deaf.write_all(b"\x82\x08\x00\x01\x00\x03big\x00").unwrap();
    let mut suback = [0; 5];
    deaf.read_exact(&mut suback).unwrap();
    let mut loud = dial(&gateway, &trust, "localhost");
    assert_eq!(connect(&mut loud, "loud").unwrap(), CONNACK);
    let mut body = Vec::new();
    string(&mut body, "big");
    body.resize(100_000, 7);
    let publish = packet(0x30, &body);
    for _ in 0..200 {
        loud.write_all(&publish).unwrap();
    }
    let line = gateway.says("slow_consumer");
    assert!(line.contains("deaf"), "{line}");
}
