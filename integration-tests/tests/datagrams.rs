//! Datagrams that no client library sends: what the gateway answers, and that it goes on serving.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use motegate_tests::gateway::Gateway;
use motegate_tests::process::DEADLINE;
use motegate_tests::wire::hex;

/// A UDP socket whose bytes the test chooses.
struct Peer(UdpSocket);

impl Peer {
    fn of(gateway: SocketAddr) -> Peer {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback has a free port");
        socket.connect(gateway).expect("the gateway has a loopback address");
        socket.set_read_timeout(Some(DEADLINE)).expect("a deadline is not zero");
        Peer(socket)
    }

    fn send(&self, bytes: &[u8]) {
        self.0.send(bytes).expect("loopback takes a datagram");
    }

    fn receive(&self) -> Vec<u8> {
        let mut buffer = [0; 2048];
        let length = self.0.recv(&mut buffer).expect("an answer");
        buffer[..length].to_vec()
    }

    fn ask(&self, bytes: &[u8], answer: &[u8]) {
        self.send(bytes);
        assert_eq!(hex(&self.receive()), hex(answer), "asked {}", hex(bytes));
    }

    /// Nothing was answered: `question` is the next thing that is.
    fn silent(&self, question: &[u8], answer: &[u8]) {
        self.ask(question, answer);
    }
}

/// CONNECT, clean, keep alive 60.
fn sn_connect(client_id: &str) -> Vec<u8> {
    let mut bytes = vec![0, 0x04, 0x04, 1, 0, 60];
    bytes.extend(client_id.as_bytes());
    bytes[0] = u8::try_from(bytes.len()).expect("a short packet");
    bytes
}

/// Radius 0 in both directions: this test has no radio.
fn wrapped(node: &[u8], packet: &[u8]) -> Vec<u8> {
    let length = u8::try_from(3 + node.len()).expect("a short node id");
    [&[length, 0xFE, 0], node, packet].concat()
}

#[test]
fn malformed_mqtt_sn_is_dropped_without_a_word() {
    let gateway = Gateway::dev();
    let peer = Peer::of(gateway.mqtt_sn);
    peer.ask(&sn_connect("mote"), &[3, 0x05, 0]);
    let bad: [&[u8]; 11] = [
        &[],
        &[0],
        &[1],
        &[1, 0],
        &[2],
        &[3, 0x16],       // longer than the datagram
        &[2, 0x16, 0],    // shorter than the datagram
        &[1, 0, 2, 0x16], // long form that does not count itself
        &[2, 0x0C],       // PUBLISH without anything
        &[4, 0x0A, 0, 1], // REGISTER cut short
        &[2, 0x03],       // reserved type
    ];
    for bytes in bad {
        peer.send(bytes);
        peer.silent(&[2, 0x16], &[2, 0x17]);
    }
    // What is well framed and cannot be taken is refused: the reserved topic id type.
    peer.ask(&[8, 0x0C, 0x03, 0, 1, 0, 0, b'x'], &[7, 0x0D, 0, 1, 0, 0, 3]);
    // The long form of a short message is right.
    peer.ask(&[1, 0, 4, 0x16], &[2, 0x17]);
}

/// MQTT-SN 1.2 §5.4.21, §6.12: only CONNECT, SEARCHGW, QoS −1 and wrapped packets are served
/// without a connection.
#[test]
fn strangers_are_told_to_connect() {
    let gateway = Gateway::dev();
    let peer = Peer::of(gateway.mqtt_sn);
    peer.ask(&[3, 0x01, 0], &[3, 0x02, 1]);
    peer.ask(&[9, 0x0C, 0x20, 0, 1, 0, 1, b'a', b'b'], &[2, 0x18]);
}

/// §5.4.4: another protocol version is not supported.
#[test]
fn the_protocol_id_is_1() {
    let gateway = Gateway::dev();
    let peer = Peer::of(gateway.mqtt_sn);
    peer.ask(&[7, 0x04, 0x04, 2, 0, 60, b'x'], &[3, 0x05, 3]);
}

/// §5.5: two nodes behind one forwarder are two clients, and the answer goes into the same wrapper.
#[test]
fn forwarder_encapsulation() {
    let gateway = Gateway::dev();
    let peer = Peer::of(gateway.mqtt_sn);
    for node in [&b"n1"[..], b"n2", b""] {
        let id = format!("mote-{}", node.len() + usize::from(node.last().copied().unwrap_or(0)));
        peer.ask(&wrapped(node, &sn_connect(&id)), &wrapped(node, &[3, 0x05, 0]));
    }
    // n1 subscribes to the short name `tt`, n2 publishes to it at QoS 1.
    let subscribe = [7, 0x12, 0x22, 0, 1, b't', b't'];
    peer.send(&wrapped(b"n1", &subscribe));
    let suback = peer.receive();
    assert_eq!(suback[..5], wrapped(b"n1", &[])[..]);
    assert_eq!(suback[5..7], [8, 0x13]);
    peer.send(&wrapped(b"n2", &[8, 0x0C, 0x22, b't', b't', 0, 9, b'x']));
    let mut got = [peer.receive(), peer.receive()];
    got.sort();
    assert_eq!(got[0][..5], wrapped(b"n1", &[])[..]);
    assert_eq!(got[0][5..7], [8, 0x0C]);
    assert_eq!(got[0][12..], *b"x");
    assert_eq!(hex(&got[1]), hex(&wrapped(b"n2", &[7, 0x0D, b't', b't', 0, 9, 0])));
    // A wrapper in a wrapper is refused.
    peer.send(&wrapped(b"n1", &wrapped(b"n2", &[2, 0x16])));
    peer.silent(&wrapped(b"n2", &[2, 0x16]), &wrapped(b"n2", &[2, 0x17]));
}

/// §6.6, §6.7: an id that nobody registered or predefined.
#[test]
fn unknown_topic_ids() {
    let gateway = Gateway::dev();
    let peer = Peer::of(gateway.mqtt_sn);
    peer.ask(&sn_connect("mote"), &[3, 0x05, 0]);
    for (flags, id) in [(0x00, 77), (0x20, 77), (0x40, 77), (0x21, 9), (0x01, 9)] {
        let message = if flags & 0x60 == 0 { 0 } else { 5 };
        let publish = [8, 0x0C, flags, 0, id, 0, message, b'x'];
        peer.ask(&publish, &[7, 0x0D, 0, id, 0, message, 2]);
    }
    // SUBSCRIBE to a predefined id that is none.
    peer.ask(&[7, 0x12, 0x01, 0, 6, 0, 9], &[8, 0x13, 0, 0, 9, 0, 6, 2].map(|byte| byte));
}

/// MQTT-SN 1.2 §6.6: the repetition of a QoS 2 PUBLISH is answered and not delivered.
#[test]
fn mqtt_sn_qos_2_is_delivered_once() {
    let gateway = Gateway::dev();
    let (watcher, peer) = (Peer::of(gateway.mqtt_sn), Peer::of(gateway.mqtt_sn));
    watcher.ask(&sn_connect("watcher"), &[3, 0x05, 0]);
    watcher.send(&[7, 0x12, 0x02, 0, 1, b't', b't']);
    watcher.receive();
    peer.ask(&sn_connect("mote"), &[3, 0x05, 0]);
    for flags in [0x42, 0xC2, 0xC2] {
        peer.ask(&[8, 0x0C, flags, b't', b't', 0, 9, b'x'], &[4, 0x0F, 0, 9]);
    }
    peer.ask(&[4, 0x10, 0, 9], &[4, 0x0E, 0, 9]);
    peer.ask(&[4, 0x10, 0, 9], &[4, 0x0E, 0, 9]);
    assert_eq!(watcher.receive(), [8, 0x0C, 0x02, b't', b't', 0, 0, b'x']);
    watcher.silent(&[2, 0x16], &[2, 0x17]);
}

/// RFC 7252 §3, §4.2, §4.3: what is not a message is ignored or reset, never answered otherwise.
#[test]
fn malformed_coap() {
    let gateway = Gateway::dev();
    let peer = Peer::of(gateway.coap);
    let ping = |peer: &Peer| peer.ask(&[0x40, 0, 0x7F, 0xFF], &[0x70, 0, 0x7F, 0xFF]);
    let ignored: [&[u8]; 9] = [
        &[],
        &[0x40],
        &[0x40, 1, 0],
        &[0x00, 1, 0, 1],       // version 0
        &[0x80, 1, 0, 1],       // version 2
        &[0x60, 0, 0, 1],       // ACK of nothing
        &[0x70, 0, 0, 1],       // RST of nothing
        &[0x59, 1, 0, 2],       // NON with token length 9
        &[0x50, 1, 0, 3, 0xFF], // NON, marker without payload
    ];
    for bytes in ignored {
        peer.send(bytes);
        ping(&peer);
    }
    let reset: [&[u8]; 7] = [
        &[0x49, 1, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9], // token length 9
        &[0x40, 1, 0, 2, 0xF0],                      // option delta 15
        &[0x40, 1, 0, 3, 0x0F],                      // option length 15
        &[0x40, 1, 0, 4, 0xB9, b'x'],                // option cut short
        &[0x40, 1, 0, 5, 0xFF],                      // marker without payload
        &[0x41, 0, 0, 6, 1],                         // Empty with a token
        &[0x40, 0x20, 0, 7],                         // class 1 is reserved
    ];
    for bytes in reset {
        peer.ask(bytes, &[0x70, 0, bytes[2], bytes[3]]);
    }
    ping(&peer);
}

/// RFC 7252 §4.5: the same message again is answered the same and executed once; the same id with
/// other content is new.
#[test]
fn coap_repetitions() {
    let gateway = Gateway::dev();
    let peer = Peer::of(gateway.coap);
    // POST /mqtt/n, token 7.
    let post =
        |value| [0x41, 2, 0x12, 0x34, 7, 0xB4, b'm', b'q', b't', b't', 0x01, b'n', 0xFF, value];
    let watcher = Peer::of(gateway.mqtt_sn);
    watcher.ask(&sn_connect("watcher"), &[3, 0x05, 0]);
    watcher.send(&[6, 0x12, 0x00, 0, 1, b'n']);
    watcher.receive();
    peer.send(&post(b'a'));
    let first = peer.receive();
    assert_eq!(first[..5], [0x61, 0x44, 0x12, 0x34, 7], "{}", hex(&first));
    for _ in 0..3 {
        peer.ask(&post(b'a'), &first);
    }
    let delivered = watcher.receive();
    assert_eq!(delivered.last(), Some(&b'a'));
    watcher.silent(&[2, 0x16], &[2, 0x17]);
}

/// A reset ends an observation, whether it answers a confirmable or a non-confirmable notification.
#[test]
fn a_reset_ends_an_observation() {
    let gateway = Gateway::dev();
    for confirmable in [true, false] {
        let observer = Peer::of(gateway.coap);
        // GET /mqtt/o with Observe 0, token 9; the value comes by PUT from elsewhere.
        observer.send(&[0x41, 1, 0, 1, 9, 0x60, 0x54, b'm', b'q', b't', b't', 0x01, b'o']);
        let first = observer.receive();
        assert_eq!(first[..5], [0x61, 0x45, 0, 1, 9], "{}", hex(&first));
        let writer = Peer::of(gateway.coap);
        let mut id = 0;
        let mut put = |value| {
            id += 1;
            let kind = if confirmable { 0x41 } else { 0x51 };
            writer
                .send(&[kind, 3, 1, id, 5, 0xB4, b'm', b'q', b't', b't', 0x01, b'o', 0xFF, value]);
            writer.receive();
        };
        put(b'1');
        let notification = observer.receive();
        assert_eq!(notification.last(), Some(&b'1'), "{}", hex(&notification));
        observer.send(&[0x70, 0, notification[2], notification[3]]);
        // The reset is processed before what follows on the same socket.
        observer.ask(&[0x40, 0, 0, 2], &[0x70, 0, 0, 2]);
        put(b'2');
        observer.ask(&[0x40, 0, 0, 3], &[0x70, 0, 0, 3]);
    }
}

/// On all addresses: each device hears the address that it spoke to, also what comes unasked, and
/// the one it speaks to now if that has changed.
#[test]
fn answers_leave_from_the_address_that_was_asked() {
    let gateway = Gateway::dev_everywhere();
    let at = |address: SocketAddr, host| SocketAddr::from(([127, 0, 0, host], address.port()));
    for host in 1..5 {
        Peer::of(at(gateway.coap, host)).ask(&[0x40, 0, 0, host], &[0x70, 0, 0, host]);
    }
    let watcher = Peer::of(at(gateway.mqtt_sn, 2));
    watcher.ask(&sn_connect("watcher"), &[3, 0x05, 0]);
    watcher.send(&[7, 0x12, 0x02, 0, 1, b't', b't']);
    watcher.receive();
    let other = Peer::of(at(gateway.mqtt_sn, 3));
    other.ask(&sn_connect("other"), &[3, 0x05, 0]);
    other.send(&[8, 0x0C, 0x02, b't', b't', 0, 0, b'x']);
    assert_eq!(watcher.receive(), [8, 0x0C, 0x02, b't', b't', 0, 0, b'x']);
    watcher.0.connect(at(gateway.mqtt_sn, 4)).expect("loopback has every address");
    watcher.ask(&[2, 0x16], &[2, 0x17]);
    other.send(&[8, 0x0C, 0x02, b't', b't', 0, 0, b'y']);
    assert_eq!(watcher.receive(), [8, 0x0C, 0x02, b't', b't', 0, 0, b'y']);
}

/// A client that is gone (its port answers with ICMP) does no harm to the others.
#[test]
fn a_port_that_is_closed() {
    let gateway = Gateway::dev();
    let staying = Peer::of(gateway.mqtt_sn);
    staying.ask(&sn_connect("staying"), &[3, 0x05, 0]);
    staying.send(&[7, 0x12, 0x02, 0, 1, b't', b't']);
    staying.receive();
    for number in 0..20 {
        let leaving = Peer::of(gateway.mqtt_sn);
        leaving.ask(&sn_connect(&format!("leaving-{number}")), &[3, 0x05, 0]);
        leaving.send(&[7, 0x12, 0x02, 0, 1, b't', b't']);
        leaving.receive();
    }
    for number in 0..20 {
        staying.send(&[8, 0x0C, 0x02, b't', b't', 0, 0, number]);
        assert_eq!(staying.receive(), [8, 0x0C, 0x02, b't', b't', 0, 0, number]);
    }
    staying.0.set_read_timeout(Some(Duration::from_millis(50))).expect("a deadline is not zero");
    assert!(staying.0.recv(&mut [0; 16]).is_err(), "one copy each");
}
