//! `motegate pub` and `sub` with `mqttsn://` against a gateway on mqtt-sn-12's packets, and
//! Wireshark's reading of every packet type that our client sends.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use motegate_mqtt_sn::client::{Client, ClientConfig, ClientEvent, WillFields};
use motegate_mqtt_sn::{QosBits, TopicId, TopicRef, WillTopic};
use motegate_tests::gateway::Gateway;
use motegate_tests::peer::from_venv;
use motegate_tests::process::{DEADLINE, Process};
use motegate_tests::relay::{From, Relay};
use motegate_tests::server::{motegate, running};
use motegate_timers::Instant;

/// `peers/sn_gateway.py`, and its URL.
fn gateway() -> (Process, String) {
    let mut command = from_venv("python3");
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/sn_gateway.py"));
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    let mut process = Process::start(command);
    let line = process.wait_for_text("serving");
    let url = format!("mqttsn://127.0.0.1:{}", line.trim_start_matches("serving "));
    (process, url)
}

/// The next lines that the gateway tells, exactly.
#[track_caller]
fn told(gateway: &mut Process, lines: &[&str]) {
    for line in lines {
        assert_eq!(gateway.wait_for("line", |_| true), *line);
    }
}

#[test]
fn what_is_published_is_read_by_another_program() {
    let (mut gateway, url) = gateway();
    let connect = "CONNECT me protocol=1 clean=1 will=0 keep=60";
    for qos in ["0", "1", "2"] {
        let done = motegate(&["pub", &url, "-i", "me", "-t", "site/door", "-q", qos, "-m", "shut"]);
        done.good(&format!("CONNECT ok · REGISTER id 7 · PUBLISH qos {qos} → site/door"));
        let publish = format!("PUBLISH type=0 topic=7 qos={qos} retain=0 dup=0 shut");
        told(&mut gateway, &[connect, "REGISTER site/door id=0", &publish]);
        if qos == "2" {
            told(&mut gateway, &["PUBREL"]);
        }
        told(&mut gateway, &["DISCONNECT 0"]);
    }
    motegate(&["pub", &url, "-i", "me", "-t", "ab", "--short", "-q", "1", "-r", "-m", "x"])
        .good("CONNECT ok · PUBLISH qos 1 → ab");
    told(&mut gateway, &[connect, "PUBLISH type=2 topic=24930 qos=1 retain=1 dup=0 x"]);
    told(&mut gateway, &["DISCONNECT 0"]);
    motegate(&["pub", &url, "-i", "me", "-T", "12", "-q", "1", "-m", "x", "--sleep", "30"]);
    told(&mut gateway, &[connect, "PUBLISH type=1 topic=12 qos=1 retain=0 dup=0 x"]);
    told(&mut gateway, &["DISCONNECT 30"]);
    motegate(&["pub", &url, "-T", "12", "--qos", "-1", "-m", "x"]);
    told(&mut gateway, &["PUBLISH type=1 topic=12 qos=-1 retain=0 dup=0 x"]);
}

#[test]
fn what_is_subscribed_to_comes_at_each_qos() {
    let (mut gateway, url) = gateway();
    let finished = running(&[
        "sub",
        &url,
        "-i",
        "me",
        "-t",
        "told/+",
        "-q",
        "2",
        "-v",
        "-C",
        "3",
        "-k",
        "20",
        "--will-topic",
        "w",
        "--will-payload",
        "gone",
        "--will-qos",
        "1",
        "--will-retain",
    ])
    .finish();
    let lines = ["told/later hello at 0", "told/later hello at 1", "told/later hello at 2"];
    assert_eq!(
        (finished.status.code(), &finished.stdout[..]),
        (Some(0), &lines.map(String::from)[..])
    );
    told(
        &mut gateway,
        &[
            "CONNECT me protocol=1 clean=1 will=1 keep=20",
            "WILLTOPIC w qos=1 retain=1",
            "WILLMSG gone",
            "SUBSCRIBE type=0 told/+ qos=2",
            "REGACK id=9 code=0",
            "PUBACK topic=9 code=0",
            "PUBREC",
        ],
    );
    // The message counts when it is in, the client leaves behind its PUBREC or its PUBCOMP.
    gateway.wait_for_text("DISCONNECT 0");

    for (words, subscribe) in [
        (&["-t", "ab", "--short"][..], "SUBSCRIBE type=2 #24930 qos=1"),
        (&["-T", "12"], "SUBSCRIBE type=1 #12 qos=1"),
        (&["-t", "a/b"], "SUBSCRIBE type=0 a/b qos=1"),
    ] {
        let got = motegate(&[&["sub", &url, "-q", "1", "-C", "2"], words].concat());
        assert_eq!(got.stdout, ["hello at 0", "hello at 1"], "{got:#?}");
        gateway.wait_for("subscription", |line| line == subscribe);
    }
    assert!(!gateway.transcript().contains("error"), "{}", gateway.transcript());
}

#[test]
fn a_sleeper_asks_for_what_was_kept() {
    let (mut gateway, url) = gateway();
    let words = ["sub", &url, "-i", "me", "-t", "a/b", "-q", "0", "--sleep", "1", "-C", "3"];
    let got = motegate(&words);
    assert_eq!(got.stdout, ["hello at 0", "kept", "kept"], "{got:#?}");
    for line in ["DISCONNECT 1", "PINGREQ me", "PUBACK topic=5 code=0", "PINGREQ me"] {
        gateway.wait_for(line, |told| told == line);
    }
}

/// The message names what was refused.
#[test]
fn refusals_name_what_was_refused() {
    let (_gateway, url) = gateway();
    for (id, words, text) in [
        ("connect", &["pub", "-t", "a/b", "-m", "x"][..], "CONNECT refused: not supported"),
        ("register", &["pub", "-t", "a/b", "-m", "x"], "REGISTER a/b refused: not supported"),
        ("publish", &["pub", "-t", "a/b", "-q", "1", "-m", "x"], "PUBLISH refused: not supported"),
        ("publish", &["pub", "-t", "a/b", "-q", "2", "-m", "x"], "PUBLISH refused: not supported"),
        ("publish", &["pub", "-t", "a/b", "-q", "0", "-m", "x"], "PUBLISH refused: not supported"),
        ("subscribe", &["sub", "-t", "a/+"], "SUBSCRIBE a/+ refused: not supported"),
        ("subscribe", &["sub", "-T", "3"], "SUBSCRIBE id 3 refused: not supported"),
        ("subscribe", &["rr", "-t", "a", "-e", "b", "-m", "x"], "SUBSCRIBE b refused: not"),
    ] {
        let id = format!("refuse-{id}");
        motegate(&[words, &[&url, "-i", &id][..]].concat()).bad(4, text);
    }
}

/// A client on a socket, one request after the other.
struct Device {
    client: Client<512, 32>,
    socket: std::net::UdpSocket,
    start: std::time::Instant,
}

impl Device {
    fn new(gateway: SocketAddr) -> Device {
        let will = WillFields {
            qos: QosBits::One,
            retain: true,
            topic: "w".try_into().expect("short"),
            message: b"gone".iter().copied().collect(),
        };
        let config = ClientConfig { will: Some(will), ..ClientConfig::default() };
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("loopback has a free port");
        socket.connect(gateway).expect("the relay has a loopback address");
        socket.set_read_timeout(Some(DEADLINE)).expect("a deadline is not zero");
        let client = Client::new("device", config).expect("a short name");
        #[allow(clippy::disallowed_methods)] // a harness of real sockets has a clock of its own
        let start = std::time::Instant::now();
        Device { client, socket, start }
    }

    fn now(&self) -> Instant {
        Instant::ZERO + self.start.elapsed() + Duration::from_secs(1)
    }

    fn flush(&mut self) {
        while let Some(packet) = self.client.poll_transmit() {
            self.socket.send(&packet).expect("loopback takes a datagram");
        }
    }

    /// Until `wanted` is reported, and nothing is left to send.
    fn until(&mut self, wanted: impl Fn(&ClientEvent<'_>) -> bool) {
        let mut buffer = [0; 512];
        loop {
            self.flush();
            let length = self.socket.recv(&mut buffer).expect("the gateway answers");
            let now = self.now();
            let done =
                self.client.handle_datagram(now, &buffer[..length]).is_some_and(|e| wanted(&e));
            self.flush();
            if done {
                return;
            }
        }
    }

    fn done(&mut self) {
        self.until(|event| matches!(event, ClientEvent::Done(_)));
    }
}

/// All types that our client has. Left out is the empty WILLTOPICUPD that deletes a will: two octets
/// by MQTT-SN 1.2 §5.4.22, which this dissector reads on behind.
#[test]
fn wireshark_reads_every_packet_of_our_client() {
    let gateway = Gateway::dev();
    let mut relay = Relay::start(gateway.mqtt_sn);
    let mut device = Device::new(relay.address);
    let expect = "the client is free";
    device.client.search(device.now(), 1).expect(expect);
    device.until(|event| matches!(event, ClientEvent::GatewayFound { .. }));
    let now = device.now();
    device
        .client
        .publish(now, TopicId::Short(*b"mm"), QosBits::MinusOne, false, b"x")
        .expect(expect);
    device.flush();
    device.client.connect(device.now(), true).expect(expect);
    device.done();
    device
        .client
        .update_will_topic(
            device.now(),
            Some(WillTopic { qos: QosBits::Zero, retain: false, topic: "v" }),
        )
        .expect(expect);
    device.done();
    device.client.update_will_message(device.now(), b"lost").expect(expect);
    device.done();
    device.client.register(device.now(), "up/a").expect(expect);
    device.done();
    for topic in [TopicRef::Name("w/#"), TopicRef::Short(*b"ab")] {
        device.client.subscribe(device.now(), topic, QosBits::Two).expect(expect);
        device.done();
    }
    let long = [b'x'; 300];
    for (qos, name) in [(QosBits::Zero, "0"), (QosBits::One, "1"), (QosBits::Two, "2")] {
        for data in [&b"x"[..], &long] {
            device
                .client
                .publish(device.now(), TopicId::Short(*b"zz"), qos, true, data)
                .expect(expect);
            device.flush();
            if qos != QosBits::Zero {
                device.done();
            }
        }
        // REGISTER (once), then the messages: PUBACK, PUBREC and PUBCOMP of ours.
        let url = format!("mqttsn://{}", gateway.mqtt_sn);
        motegate(&["pub", &url, "-t", "w/new", "-q", name, "-m", "hello", "--quiet"]).good("");
        device.until(|event| matches!(event, ClientEvent::Message { data: b"hello", .. }));
    }
    device.client.unsubscribe(device.now(), TopicRef::Name("w/#")).expect(expect);
    device.done();
    device.client.sleep(device.now(), 60).expect(expect);
    device.done();
    device.client.wake(device.now()).expect(expect);
    device.done();
    device.client.disconnect(device.now()).expect(expect);
    device.done();
    let read = relay.dissect_of(From::Client, "mqttsn", gateway.mqtt_sn.port()).join("\n");
    for name in [
        "Search Gateway",
        "Connect Command",
        "Will Topic",
        "Will Message",
        "Will Topic Update",
        "Will Message Update",
        "Register",
        "Register Ack",
        "Publish Message",
        "Publish Ack",
        "Publish Received",
        "Publish Release",
        "Publish Complete",
        "Subscribe Request",
        "Unsubscribe Request",
        "Ping Request",
        "Disconnect",
    ] {
        assert!(read.contains(name), "{name} is missing in\n{read}");
    }
}
