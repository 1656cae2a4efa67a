//! What an idle connection of MQTT or CoAP costs: opens many to a release build of the gateway and reads its
//! resident memory.
//!
//! Each is a plain 3.1.1 client with a clean session and a keep alive, and says nothing after
//! CONNECT. The figure is the growth of `VmRSS` from the first connection to the last, divided by
//! their number. One of CoAP (RFC 8323) has said its CSM. Exit code 1 when it is more than `--require` bytes; unless it is given, that is asked
//! of plain connections only. `--transport` puts TLS 1.3, WebSocket or both between, or is CoAP's.
#![allow(clippy::disallowed_methods)] // a measurement has a clock of its own

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use motegate_tests::durability::server::resident;
use motegate_tests::gateway::{Gateway, binary, scratch};
use motegate_tests::wire::{Version, connect};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// How long a gateway may take for an answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// Of a plain connection.
const REQUIRED: u64 = 1_024;

/// What is between socket and MQTT, or that it is CoAP
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Transport {
    Plain,
    Tls,
    Ws,
    Wss,
    CoapTcp,
    CoapWs,
}

impl Transport {
    fn is_coap(self) -> bool {
        matches!(self, Transport::CoapTcp | Transport::CoapWs)
    }

    fn is_websocket(self) -> bool {
        matches!(self, Transport::Ws | Transport::Wss | Transport::CoapWs)
    }
}

/// Measure the memory of idle connections
#[derive(Debug, Parser)]
struct Options {
    /// How many to open
    #[arg(long, default_value_t = 10_000)]
    connections: usize,
    /// What is between socket and MQTT, or that it is CoAP
    #[arg(long, value_enum, default_value = "plain")]
    transport: Transport,
    /// Most bytes of resident memory that one may cost [default: 1024 where it is plain]
    #[arg(long)]
    require: Option<u64>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    // One descriptor a connection here, one there; the gateway raises its own limit.
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a process knows its limits");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("the soft limit may be the hard one");
    let certificates = scratch("idle");
    let (gateway, dialer) = start(options.transport, &certificates);
    let mut clients = vec![dialer.open(0)];
    let (before, _) = resident(gateway.id());
    let began = Instant::now();
    clients.extend((1..options.connections).map(|number| dialer.open(number)));
    let took = began.elapsed();
    let (after, _) = resident(gateway.id());
    let threads =
        std::fs::read_dir(format!("/proc/{}/task", gateway.id())).map_or(0, Iterator::count);
    for client in [0, clients.len() / 2, clients.len() - 1] {
        alive(clients[client].as_mut(), options.transport);
    }
    let each = after.saturating_sub(before) / (clients.len() as u64 - 1).max(1);
    let plain = (options.transport == Transport::Plain).then_some(REQUIRED);
    let most = options.require.or(plain);
    let bound = most.map_or_else(String::new, |most| format!("   (at most {most})"));
    println!("connections           {}", clients.len());
    println!("threads               {threads}");
    println!("resident, with one    {} KiB", before / 1024);
    println!("resident, with all    {} KiB", after / 1024);
    println!("bytes a connection    {each}{bound}");
    println!("µs a connect          {}", took.as_micros() / clients.len() as u128);
    let _ = std::fs::remove_dir_all(certificates);
    if most.is_some_and(|most| each > most) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// A byte stream to the gateway, whatever is between.
trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// Where clients connect, and how.
struct Dialer {
    address: SocketAddr,
    tls: Option<Arc<ClientConfig>>,
    transport: Transport,
}

fn start(transport: Transport, certificates: &Path) -> (Gateway, Dialer) {
    if transport == Transport::Plain {
        let gateway = Gateway::dev_of(&binary());
        let address = gateway.mqtt;
        return (gateway, Dialer { address, tls: None, transport });
    }
    let secure = matches!(transport, Transport::Tls | Transport::Wss);
    let (protocol, tls) = match transport {
        Transport::Ws => ("ws", String::new()),
        Transport::CoapTcp => ("coap+tcp", String::new()),
        Transport::CoapWs => ("coap+ws", String::new()),
        _ => {
            certify(certificates);
            let folder = certificates.display();
            let tls = format!(", tls: {{cert: {folder}/server.pem, key: {folder}/server.key}}");
            (if transport == Transport::Wss { "wss" } else { "mqtts" }, tls)
        }
    };
    let listener = |protocol: &str, rest: &str| {
        let name = protocol.replace('+', "-");
        format!(
            "  - {{protocol: {protocol}, name: {name}, bind: \"127.0.0.1:0\", anonymous: true{rest}}}\n"
        )
    };
    let listeners = ["mqtt", "mqttsn", "coap"].map(|protocol| listener(protocol, "")).concat();
    let text = format!(
        "version: 1\ndurability: none\nlisteners:\n{listeners}{}\
         limits: {{max_connections: 100000}}\n",
        listener(protocol, &tls),
    );
    let gateway = Gateway::of_file(&binary(), &["run"], &text);
    let address =
        gateway.listening(&protocol.replace('+', "-")).parse().expect("the log has an address");
    let tls = secure.then(|| trust(certificates));
    (gateway, Dialer { address, tls, transport })
}

/// A certificate for `localhost`.
fn certify(folder: &Path) {
    let words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost \
                 -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE \
                 -keyout server.key -out server.pem -config openssl.cnf";
    let config = "[req]\ndistinguished_name=dn\n[dn]\n";
    std::fs::write(folder.join("openssl.cnf"), config).expect("the folder takes a file");
    let made = Command::new("openssl").args(words.split_whitespace()).current_dir(folder).output();
    assert!(made.is_ok_and(|made| made.status.success()), "openssl makes a certificate");
}

fn trust(folder: &Path) -> Arc<ClientConfig> {
    let own = CertificateDer::from_pem_file(folder.join("server.pem")).expect("it was made");
    let mut roots = RootCertStore::empty();
    roots.add(own).expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has them")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

impl Dialer {
    fn open(&self, number: usize) -> Box<dyn Stream> {
        let socket = TcpStream::connect(self.address).expect("the gateway listens");
        socket.set_read_timeout(Some(PATIENCE)).expect("a deadline is not zero");
        socket.set_nodelay(true).expect("a TCP socket has no delay to lose");
        let mut stream: Box<dyn Stream> = match &self.tls {
            None => Box::new(socket),
            Some(config) => {
                let name = "localhost".try_into().expect("a name");
                let tls =
                    ClientConnection::new(config.clone(), name).expect("a good configuration");
                Box::new(StreamOwned::new(tls, socket))
            }
        };
        let websocket = self.transport.is_websocket();
        if self.transport.is_coap() {
            if websocket {
                upgrade(stream.as_mut(), "/.well-known/coap", "coap");
            }
            // A CSM each; that of the gateway has 5 bytes of options.
            send(stream.as_mut(), &[0, 0xe1], websocket);
            let length = if websocket { 0 } else { 0x50 };
            expect(stream.as_mut(), &[length, 0xe1, 0x23, 1, 2, 0, 0x20], websocket);
            return stream;
        }
        if websocket {
            upgrade(stream.as_mut(), "/mqtt", "mqtt");
        }
        let packet = connect(Version::V311, &format!("idle-{number:06}"), true, 60);
        send(stream.as_mut(), &packet, websocket);
        expect(stream.as_mut(), &[0x20, 2, 0, 0], websocket);
        stream
    }
}

fn upgrade(stream: &mut dyn Stream, path: &str, protocol: &str) {
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Protocol: {protocol}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).expect("the gateway reads");
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("the gateway answers the upgrade");
        answer.extend(byte);
    }
    assert!(answer.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&answer));
}

/// A short packet; in a frame whose mask changes nothing.
fn send(stream: &mut dyn Stream, packet: &[u8], websocket: bool) {
    let mut bytes = Vec::new();
    if websocket {
        bytes.extend([0x82, 0x80 | u8::try_from(packet.len()).expect("short"), 0, 0, 0, 0]);
    }
    bytes.extend_from_slice(packet);
    stream.write_all(&bytes).and_then(|()| stream.flush()).expect("the gateway reads");
}

fn expect(stream: &mut dyn Stream, packet: &[u8], websocket: bool) {
    let mut wanted = Vec::new();
    if websocket {
        wanted.extend([0x82, u8::try_from(packet.len()).expect("short")]);
    }
    wanted.extend_from_slice(packet);
    let mut got = vec![0; wanted.len()];
    stream.read_exact(&mut got).expect("the gateway answers");
    assert_eq!(got, wanted);
}

/// It still answers a PINGREQ, or a Ping.
fn alive(stream: &mut dyn Stream, transport: Transport) {
    let websocket = transport.is_websocket();
    let (ping, pong): ([u8; 2], &[u8]) = match (transport.is_coap(), websocket) {
        (false, _) => ([0xc0, 0], &[0xd0, 0]),
        // With Custody: nothing is left to answer.
        (true, false) => ([0, 0xe2], &[0x10, 0xe3, 0x20]),
        (true, true) => ([0, 0xe2], &[0, 0xe3, 0x20]),
    };
    send(stream, &ping, websocket);
    expect(stream, pong, websocket);
}
