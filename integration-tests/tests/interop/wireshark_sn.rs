//! Wireshark reads every type of MQTT-SN packet that the gateway sends: each return code, each kind of
//! topic id, each QoS, lengths of one and of three octets, and the same behind a forwarder.

use std::net::{Ipv4Addr, UdpSocket};

use motegate_tests::gateway::Gateway;
use motegate_tests::peer::mosquitto_pub;
use motegate_tests::process::DEADLINE;
use motegate_tests::relay::{Relay, dissect};

const RULES: &str = "mappings:
  mqttsn:
    topic_ids: {all: {7: \"pre/defined\"}}
";

/// A device whose octets the test chooses, perhaps behind a forwarder.
struct Device {
    socket: UdpSocket,
    wrapper: &'static [u8],
}

impl Device {
    fn new(relay: &Relay, wrapper: &'static [u8]) -> Device {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback has a free port");
        socket.connect(relay.address).expect("the relay has a loopback address");
        socket.set_read_timeout(Some(DEADLINE)).expect("a deadline is not zero");
        Device { socket, wrapper }
    }

    fn say(&self, kind: u8, body: &[u8]) {
        let length = body.len() + 2;
        let head = match u8::try_from(length) {
            Ok(short) => vec![short, kind],
            Err(_) => {
                let [high, low] = u16::try_from(length + 2).expect("not that long").to_be_bytes();
                vec![1, high, low, kind]
            }
        };
        let packet = [self.wrapper, &head, body].concat();
        self.socket.send(&packet).expect("loopback takes a datagram");
    }

    /// The next packet, which is of this type: what is behind the type.
    #[track_caller]
    fn hears(&self, kind: u8) -> Vec<u8> {
        let mut buffer = [0; 2048];
        let length = self.socket.recv(&mut buffer).expect("an answer");
        let packet = buffer[..length].strip_prefix(self.wrapper).expect("in the same wrapper");
        let (got, body) =
            if packet[0] == 1 { (packet[3], &packet[4..]) } else { (packet[1], &packet[2..]) };
        assert_eq!(got, kind, "{packet:02x?}");
        body.to_vec()
    }

    fn asks(&self, kind: u8, body: &[u8], answer: u8) -> Vec<u8> {
        self.say(kind, body);
        self.hears(answer)
    }

    /// A whole life with everything that a gateway can say.
    fn lives(&self, gateway: &Gateway, id: &str) {
        let connect = |flags, id: &str| [&[flags, 1, 0, 60], id.as_bytes()].concat();
        self.asks(0x01, &[0], 0x02); // SEARCHGW; another radius is in the wrapper of the answer
        self.asks(0x16, b"", 0x18); // a stranger's PINGREQ
        assert_eq!(self.asks(0x04, &connect(4, ""), 0x05), [3]);
        self.asks(0x04, &connect(0x0c, id), 0x06); // WILLTOPICREQ
        self.asks(0x07, b"\x20wills/sn", 0x08); // WILLMSGREQ
        assert_eq!(self.asks(0x09, b"gone", 0x05), [0]);
        self.asks(0x1a, b"\x00wills/other", 0x1b);
        self.asks(0x1c, b"lost", 0x1d);
        self.asks(0x0a, b"\0\0\0\x01up/a", 0x0b);
        self.asks(0x0a, b"\0\0\0\x02up/+", 0x0b); // refused
        for qos in [0x20, 0x40] {
            let answer = if qos == 0x20 { 0x0d } else { 0x0f };
            self.asks(0x0c, &[qos, 0, 1, 0, 3, b'x'], answer);
        }
        self.asks(0x10, &[0, 3], 0x0e); // PUBREL, PUBCOMP
        self.asks(0x0c, &[0x20, 0, 99, 0, 4, b'x'], 0x0d); // refused
        self.asks(0x12, b"\x40\0\x05w/#", 0x13);
        self.asks(0x12, b"\x41\0\x06\0\x07", 0x13); // pre-defined
        self.asks(0x12, b"\x42\0\x07ab", 0x13); // short
        self.asks(0x12, b"\x41\0\x08\0\x63", 0x13); // refused
        let long = "x".repeat(300);
        let deep = format!("w/{}", "y".repeat(300));
        for (topic, text) in
            [("w/new", "1"), ("pre/defined", "2"), ("ab", "3"), ("w/new", &long), (&deep, "4")]
        {
            for qos in ["0", "1", "2"] {
                mosquitto_pub(gateway, &["-q", qos, "-t", topic, "-m", text]);
                self.takes(text);
            }
        }
        self.asks(0x14, b"\0\0\x09w/#", 0x15);
        self.asks(0x16, b"", 0x17);
        self.asks(0x18, &[0, 60], 0x18);
        self.asks(0x16, id.as_bytes(), 0x17);
        self.asks(0x18, b"", 0x18);
    }

    /// Takes one message, whatever its QoS.
    fn takes(&self, text: &str) {
        loop {
            let mut buffer = [0; 2048];
            let length = self.socket.recv(&mut buffer).expect("a message");
            let packet = buffer[..length].strip_prefix(self.wrapper).expect("in the wrapper");
            let packet = if packet[0] == 1 { &packet[3..] } else { &packet[1..] };
            match packet[0] {
                0x0a => self.say(0x0b, &[&packet[1..5], &[0]].concat()),
                0x0c => {
                    assert_eq!(&packet[6..], text.as_bytes());
                    match packet[1] & 0x60 {
                        0x20 => self.say(0x0d, &[&packet[2..6], &[0]].concat()),
                        0x40 => {
                            let id = packet[4..6].to_vec();
                            self.asks(0x0f, &id, 0x10); // PUBREC, PUBREL
                            self.say(0x0e, &id);
                        }
                        _ => {}
                    }
                    return;
                }
                other => panic!("{other:#04x}"),
            }
        }
    }
}

const TYPES: [&str; 17] = [
    "Gateway Info",
    "Connect Ack",
    "Will Topic Request",
    "Will Message Request",
    "Register",
    "Register Ack",
    "Publish Message",
    "Publish Ack",
    "Publish Received",
    "Publish Release",
    "Publish Complete",
    "Subscribe Ack",
    "Unsubscribe Ack",
    "Ping Response",
    "Disconnect",
    "Will Topic Response",
    "Will Message Response",
];

/// Left out is the empty node id, which a forwarder may use (§5.5): this dissector wants an octet.
#[test]
fn every_packet_of_the_gateway_is_well_formed_alone_and_behind_a_forwarder() {
    for wrapper in [&[][..], &[4, 0xfe, 0, 9], &[7, 0xfe, 0, 1, 2, 3, 4]] {
        let mut gateway = Gateway::run(RULES);
        let port = gateway.mqtt_sn.port();
        let mut relay = Relay::start(gateway.mqtt_sn);
        gateway.mqtt_sn = relay.address;
        Device::new(&relay, wrapper).lives(&gateway, "mote");
        // Of a wrapper the summary does not say what is in it.
        let names = if wrapper.is_empty() { &TYPES[..] } else { &["Encapsulated Message"] };
        let read = relay.dissect("mqttsn", port).join("\n");
        for name in names {
            assert!(read.contains(name), "{name} is missing in\n{read}");
        }
    }
}

/// What it says to everybody, unasked.
#[test]
fn advertise_is_well_formed() {
    let group = Ipv4Addr::new(224, 0, 18, 83);
    let heard = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("there is a free port");
    heard.join_multicast_v4(&group, &Ipv4Addr::LOCALHOST).expect("loopback has groups");
    heard.set_read_timeout(Some(DEADLINE)).expect("a deadline is not zero");
    let port = heard.local_addr().expect("it is bound").port();
    let gateway = Gateway::run(&format!(
        "mqttsn: {{advertise: {{every: 1s, to: [\"{group}%lo:{port}\"]}}}}\n"
    ));
    let mut buffer = [0; 64];
    let length = heard.recv(&mut buffer).expect("ADVERTISE");
    let read = dissect(&[buffer[..length].to_vec()], "mqttsn", gateway.mqtt_sn.port());
    assert!(read[0].contains("Advertise Gateway"), "{read:?}");
}
