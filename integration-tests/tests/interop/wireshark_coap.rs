//! Wireshark reads the answers of CoAP that no client of the matrix asks for: Echo, problem details, 4.29,
//! what is said to No-Response and Request-Tag, the collection's CBOR, and what a group is told. Nothing is
//! malformed, and of all options that the gateway sends its Debian version (4.0) knows one not: Echo, 252. Of
//! those that it is sent, it knows No-Response, 258, and Request-Tag, 292, not.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use motegate_tests::gateway::Gateway;
use motegate_tests::process::DEADLINE;
use motegate_tests::relay::{dissect, dissect_but};
use motegate_tests::sim::coap_wire::{
    self as wire, ACK, BLOCK1, CON, CONTENT_FORMAT, DELETE, ECHO, FETCH, GET, IPATCH,
    LOCATION_PATH, Message, NON, OBSERVE, POST, PUT, URI_PATH,
};

const ACCEPT: u16 = 17;
const MAX_AGE: u16 = 14;
const NO_RESPONSE: u16 = 258;
const REQUEST_TAG: u16 = 292;
/// concise-problem-details and core-pubsub, both as CBOR; CBOR.
const PROBLEM: [u8; 2] = [1, 1];
const PUBSUB: [u8; 2] = [2, 0x5e];
const CBOR: [u8; 1] = [60];
/// What Wireshark 4.0 says to Echo.
const UNKNOWN: [&str; 1] = ["Invalid Option Number 252"];

/// A client whose options the test chooses; what it was told.
struct Client {
    socket: UdpSocket,
    next: u16,
    told: Vec<Vec<u8>>,
}

impl Client {
    fn new(gateway: SocketAddr) -> Client {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback has a free port");
        socket.connect(gateway).expect("the gateway has a loopback address");
        socket.set_read_timeout(Some(DEADLINE)).expect("a deadline is not zero");
        Client { socket, next: 1, told: Vec::new() }
    }

    fn send(&mut self, (kind, code): (u8, u8), path: &str, options: &[(u16, &[u8])], body: &[u8]) {
        self.next += 1;
        let mut all: Vec<(u16, Vec<u8>)> =
            path.split('/').map(|segment| (URI_PATH, segment.into())).collect();
        all.extend(options.iter().map(|(number, value)| (*number, value.to_vec())));
        all.sort_by_key(|(number, _)| *number);
        let (mid, token) = (self.next, self.next.to_be_bytes().to_vec());
        let message = Message { kind, code, mid, token, options: all, payload: body.to_vec() };
        self.socket.send(&message.encode()).expect("loopback takes a datagram");
    }

    fn hear(&mut self) -> Message {
        let mut buffer = [0; 2048];
        let length = self.socket.recv(&mut buffer).expect("an answer");
        self.told.push(buffer[..length].to_vec());
        let message = wire::decode(&buffer[..length]).expect("it is well-formed");
        if message.kind == CON {
            let ack = Message { kind: ACK, mid: message.mid, ..Message::default() };
            self.socket.send(&ack.encode()).expect("loopback takes a datagram");
        }
        message
    }

    /// A CON; its answer, of this class and detail.
    #[track_caller]
    fn ask(
        &mut self,
        code: u8,
        path: &str,
        options: &[(u16, &[u8])],
        body: &[u8],
        wanted: u8,
    ) -> Message {
        self.send((CON, code), path, options, body);
        let answer = self.hear();
        assert_eq!(answer.code, wanted, "{answer:?}");
        answer
    }
}

#[test]
fn errors_are_well_formed() {
    let gateway = Gateway::run("");
    let mut client = Client::new(gateway.coap);
    // RFC 9290: as text, and as problem details.
    client.ask(GET, "mqtt/none", &[], b"", 0x84);
    let problem = client.ask(GET, "mqtt/none", &[(ACCEPT, &PROBLEM)], b"", 0x84);
    assert_eq!(problem.option(CONTENT_FORMAT), Some(&PROBLEM[..]));
    client.ask(FETCH, "mqtt/none", &[(CONTENT_FORMAT, &CBOR), (ACCEPT, &PROBLEM)], b"\x80", 0x85);
    client.ask(GET, "mqtt/a", &[(9, b"?")], b"", 0x82);
    client.ask(PUT, "mqtt/a", &[(BLOCK1, b"\x18")], &[0; 16], 0x88);
    // RFC 7967 §2: nothing where nothing is wanted, and the rest as ever.
    client.send((NON, PUT), "mqtt/a", &[(NO_RESPONSE, &[0x1a])], b"x");
    client.ask(PUT, "mqtt/a", &[(NO_RESPONSE, &[0x08])], b"x", 0x44);
    // RFC 9175 §3: two bodies at once.
    for tag in [b"1", b"2"] {
        let options = [(BLOCK1, &b"\x08"[..]), (REQUEST_TAG, tag)];
        client.ask(PUT, "mqtt/b", &options, &[b'x'; 16], 0x5f);
    }
    client.ask(PUT, "mqtt/b", &[(BLOCK1, b"\x10"), (REQUEST_TAG, b"2")], b"y", 0x41);
    client.ask(GET, "mqtt/b", &[(5, b""), (23, b"")], b"", 0x8c);
    client.ask(DELETE, "mqtt/b", &[], b"", 0x42);
    let read = dissect(&client.told, "coap", gateway.coap.port()).join("\n");
    for words in ["4.04 Not Found", "4.05 Method Not", "4.02 Bad Option", "4.08 Request Entity"] {
        assert!(read.contains(words), "{words} is missing in\n{read}");
    }
}

/// RFC 8516 and RFC 9175 §2.3.
#[test]
fn limits_are_well_formed() {
    let gateway = Gateway::run("limits: {packet_rate_per_peer: 2/s}\n");
    let mut client = Client::new(gateway.coap);
    for number in 0..20 {
        client.send((CON, GET), &format!("mqtt/{number}"), &[(ACCEPT, &PROBLEM)], b"");
    }
    let answers: Vec<Message> = (0..20).map(|_| client.hear()).collect();
    let slow = answers.iter().find(|answer| answer.code == 0x9d).expect("a 4.29");
    assert!(slow.option(MAX_AGE).is_some(), "{slow:?}");
    let read = dissect(&client.told, "coap", gateway.coap.port()).join("\n");
    assert!(read.contains("4.29 Too Many Requests"), "{read}");

    let gateway = Gateway::run("coap: {unverified_peer: {echo: always}}\n");
    let mut client = Client::new(gateway.coap);
    client.ask(PUT, "mqtt/a", &[], &[b'x'; 300], 0x41);
    let asked = client.ask(GET, "mqtt/a", &[], b"", 0x81);
    let echo = asked.option(ECHO).expect("an Echo").to_vec();
    client.ask(GET, "mqtt/a", &[(ECHO, &echo)], b"", 0x45);
    let read = dissect_but(&client.told, "coap", gateway.coap.port(), &UNKNOWN).join("\n");
    assert!(read.contains("4.01 Unauthorized"), "{read}");
}

/// draft-ietf-core-coap-pubsub §2.4, §2.5, §3.2: the answers in CBOR, and the end that an observer hears.
#[test]
fn the_collection_is_well_formed() {
    let gateway = Gateway::run("mappings: {presets: [core-pubsub, passthrough]}\n");
    let mut client = Client::new(gateway.coap);
    let made = b"\xa3\x00\x64door\x02\x6ccore.ps.data\x03\x00";
    let pubsub = (CONTENT_FORMAT, &PUBSUB[..]);
    let topic = client.ask(POST, "ps", &[pubsub], made, 0x41);
    let segments = topic.options.iter().filter(|(number, _)| *number == LOCATION_PATH);
    let path: Vec<String> =
        segments.map(|(_, value)| String::from_utf8_lossy(value).into_owned()).collect();
    let path = path.join("/");
    client.ask(POST, "ps", &[pubsub], made, 0x80);
    client.ask(GET, "ps", &[], b"", 0x45);
    client.ask(FETCH, "ps", &[pubsub], b"\xa1\x00\x64door", 0x45);
    client.ask(FETCH, &path, &[(CONTENT_FORMAT, &CBOR)], b"\x82\x01\x03", 0x45);
    client.ask(IPATCH, &path, &[pubsub], b"\xa1\x06\x05", 0x44);
    client.ask(IPATCH, &path, &[pubsub, (ACCEPT, &PROBLEM)], b"\xa1\x06", 0x86);
    client.ask(GET, &path, &[], b"", 0x45);
    client.ask(PUT, "ps/data/door", &[(CONTENT_FORMAT, &[50])], b"{}", 0x8f);
    client.ask(PUT, "ps/data/door", &[(CONTENT_FORMAT, b"")], b"open", 0x41);
    client.ask(GET, "ps/data/door", &[(OBSERVE, b"")], b"", 0x45);
    client.send((CON, DELETE), &path, &[], b"");
    let mut ends = [client.hear().code, client.hear().code];
    ends.sort_unstable();
    assert_eq!(ends, [0x42, 0x84], "the answer and the final notification");
    let read = dissect(&client.told, "coap", gateway.coap.port()).join("\n");
    for words in ["2.01 Created", "2.04 Changed", "2.02 Deleted", "4.15 Unsupported"] {
        assert!(read.contains(words), "{words} is missing in\n{read}");
    }
}

/// RFC 7252 §8.2: whoever asks a group is answered by each member itself, after its leisure.
#[test]
fn what_a_group_is_told_is_well_formed() {
    let text = "version: 1\ndurability: none\nlisteners:\n  \
        - {protocol: mqtt, bind: \"127.0.0.1:0\", anonymous: true}\n  \
        - {protocol: mqttsn, bind: \"127.0.0.1:0\", anonymous: true}\n  \
        - {protocol: coap, bind: \"0.0.0.0:0\", anonymous: true}\n\
        coap: {multicast_discovery: [\"224.0.1.187%lo\"]}\n";
    let gateway = Gateway::of_file(&motegate_tests::gateway::binary(), &["run"], text);
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback has a free port");
    let loopback = Ipv4Addr::LOCALHOST;
    socket2::SockRef::from(&socket).set_multicast_if_v4(&loopback).expect("loopback is there");
    socket.set_read_timeout(Some(DEADLINE)).expect("a deadline is not zero");
    let path = [".well-known", "core"].map(|segment| (URI_PATH, segment.into()));
    let message =
        Message { kind: NON, code: GET, mid: 7, options: path.to_vec(), ..Message::default() };
    let group = SocketAddr::from(([224, 0, 1, 187], gateway.coap.port()));
    socket.send_to(&message.encode(), group).expect("loopback carries groups");
    let mut buffer = [0; 2048];
    let (length, from) = socket.recv_from(&mut buffer).expect("an answer within the leisure");
    assert!(!from.ip().is_multicast(), "{from}");
    let read = dissect(&[buffer[..length].to_vec()], "coap", gateway.coap.port()).join("\n");
    assert!(read.contains("2.05 Content"), "{read}");
    socket.set_read_timeout(Some(Duration::from_millis(300))).expect("it is not zero");
    assert!(socket.recv_from(&mut buffer).is_err(), "it answers once");
}
