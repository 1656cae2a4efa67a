//! Independent clients of CoAP over TLS (RFC 8323 §8.2, §8.4): libcoap with each of its TLS libraries, which
//! checks the certificate and names `coap` by ALPN, and aiocoap, which does so over WebSocket, too.

use std::process::Command;

use motegate_tests::certificates::Certificates;
use motegate_tests::gateway::Gateway;
use motegate_tests::peer::{from_venv, program};
use motegate_tests::process::Process;

/// What fits no segment of TCP, nor one record of TLS.
const LARGE: usize = 40_000;

#[test]
fn one_value_is_put_and_read_by_all() {
    let certificates = Certificates::make();
    let (cert, key) = (certificates.server(), certificates.key());
    let tls = format!("tls: {{cert: {}, key: {}}}", cert.display(), key.display());
    let listener = |protocol: &str, name: &str| {
        format!(
            "  - {{protocol: {protocol}, name: {name}, bind: \"127.0.0.1:0\", anonymous: true, {tls}}}\n"
        )
    };
    let gateway = Gateway::run(&(listener("coaps+tcp", "tcp") + &listener("coaps+ws", "ws")));
    let port = |name: &str| gateway.listening(name).rsplit(':').next().map(str::to_owned);
    let (tcp, ws) = (port("tcp").expect("a port"), port("ws").expect("a port"));
    let over_tcp = |topic: &str| format!("coaps+tcp://localhost:{tcp}/mqtt/{topic}");
    let over_ws = |topic: &str| format!("coaps+ws://localhost:{ws}/mqtt/{topic}");
    let authority = certificates.authority();
    let libcoap = |library: &str, arguments: &[&str]| {
        let mut command = program(&format!("coap-client-{library}"), "libcoap3-bin");
        command.args(["-B", "12", "-R"]).arg(&authority).args(arguments);
        said(command)
    };
    let aiocoap = |arguments: &[&str]| {
        let mut command = from_venv("aiocoap-client");
        command.env("SSL_CERT_FILE", &authority).arg("-q").args(arguments);
        said(command)
    };
    let large = "x".repeat(LARGE);
    libcoap("openssl", &["-m", "put", "-e", "open", &over_tcp("door")]);
    aiocoap(&["-m", "PUT", "--payload", &large, &over_ws("large")]);
    for (topic, value) in [("door", "open"), ("large", &*large)] {
        assert_eq!(libcoap("openssl", &["-m", "get", &over_tcp(topic)]), value);
        assert_eq!(libcoap("gnutls", &["-m", "get", &over_tcp(topic)]), value);
        assert_eq!(aiocoap(&[&over_tcp(topic)]), value);
        assert_eq!(aiocoap(&[&over_ws(topic)]), value);
    }
}

/// What it printed, to its good end.
fn said(command: Command) -> String {
    Process::start(command).succeed().join("\n")
}
