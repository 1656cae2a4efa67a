//! The program while it serves: what it says, that it listens there, and how it ends.

mod common;

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};

use common::{PATIENCE, Program, connect, finished, packet, read_packet, string};

#[test]
fn dev_says_where_it_listens_and_what_to_type() {
    let program = Program::dev();
    let text = program.banner.join("\n");
    assert!(text.starts_with(&format!("motegate {}   DEV MODE", env!("CARGO_PKG_VERSION"))));
    let ready = program.banner.iter().find(|line| line.starts_with("ready in ")).expect("ready");
    let millis: u64 = ready.split_whitespace().nth(2).unwrap().parse().unwrap();
    assert!(millis < 1000, "{ready}");

    let mqtt = program.address("mqtt");
    connect(mqtt, 4, "seen");
    let (coap, sn) = (program.address("coap").port(), program.address("mqtt-sn").port());
    for line in [
        format!("motegate sub -p {} -t 'site/#' -v", mqtt.port()),
        format!("motegate put coap://localhost:{coap}/mqtt/site/door open"),
        format!("motegate demo --mqtt-port {} --mqttsn-port {sn} --coap-port {coap}", mqtt.port()),
        "anyone on this machine may connect".to_owned(),
    ] {
        assert!(text.contains(&line), "{line} is not in\n{text}");
    }
    assert!(text.contains("/udp   answering SEARCHGW as gateway 1"), "{text}");
    assert!(program.banner.iter().all(|line| line.chars().count() <= 80), "{text}");
}

/// As when its terminal is closed: it has no file that it could read again.
#[test]
fn a_hangup_ends_dev() {
    let program = Program::dev();
    let mqtt = program.address("mqtt");
    let mut client = connect(mqtt, 5, "told");
    program.signal("HUP");
    // MQTT 5.0 §3.14.2.1: server shutting down.
    let (first, body) = read_packet(&mut client).unwrap();
    assert_eq!((first, body.first()), (0xe0, Some(&0x8b)));
    let (code, said) = program.end();
    assert_eq!(code, Some(0), "{said:?}");
    assert!(TcpStream::connect(mqtt).is_err(), "its port is free");
}

#[test]
fn the_datagram_ports_answer() {
    let program = Program::dev();
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answer = [0; 64];
    // MQTT-SN 1.2 §5.4.2: SEARCHGW, radius 0, is answered by GWINFO of gateway 1.
    client.send_to(&[3, 0x01, 0], program.address("mqtt-sn")).unwrap();
    let (len, _) = client.recv_from(&mut answer).unwrap();
    assert_eq!(&answer[..len], [3, 0x02, 1]);
    // RFC 7252 §4.3: an empty confirmable message is answered by a reset.
    client.send_to(&[0x40, 0, 0x12, 0x34], program.address("coap")).unwrap();
    let (len, _) = client.recv_from(&mut answer).unwrap();
    assert_eq!(&answer[..len], [0x70, 0, 0x12, 0x34]);
}

#[test]
fn a_taken_port_is_exit_1_with_the_remedy() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let free = "127.0.0.1:0";
    let output = finished(&["dev", "--mqtt", &addr, "--mqttsn", free, "--coap", free]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty(), "it said that it was ready");
    let text = String::from_utf8(output.stderr).unwrap();
    let port = taken.local_addr().unwrap().port();
    assert!(text.contains(&format!("port {port} is taken")), "{text}");
    let next = format!("try: motegate dev --mqtt 127.0.0.1:{}", port.wrapping_add(1));
    assert!(text.contains(&next), "{text}");

    let folder = std::env::temp_dir().join(format!("motegate-taken-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("site.yaml");
    let text = format!("listeners: [{{name: lan, protocol: mqtt, bind: \"{addr}\"}}]\n");
    std::fs::write(&file, text).unwrap();
    let output = finished(&["run", "-c", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("is taken") && text.contains("`bind:` of the listener `lan`"), "{text}");
    assert!(!text.contains("motegate dev"), "{text}");
    let _ = std::fs::remove_dir_all(&folder);
}

#[test]
fn sigterm_tells_clients_and_ends_well() {
    let program = Program::dev();
    let mut v5 = connect(program.address("mqtt"), 5, "five");
    let mut v3 = connect(program.address("mqtt"), 4, "three");
    program.signal("TERM");
    // MQTT 5 §3.14.2.1: 0x8B, server shutting down.
    let (first, body) = read_packet(&mut v5).expect("a DISCONNECT");
    assert_eq!((first, body.first()), (0xe0, Some(&0x8b)));
    assert_eq!(read_packet(&mut v5), None);
    assert_eq!(read_packet(&mut v3), None);
    drop((v5, v3));
    let (code, said) = program.end();
    assert_eq!(code, Some(0), "{said:?}");
    assert!(said.last().is_some_and(|line| line.contains("\"stopped\"")), "{said:?}");
}

#[test]
fn a_second_signal_does_not_wait() {
    let program = Program::dev();
    // A reader with a backlog: the gateway waits seconds for it to take what is written.
    let (_reader, mut writer) = unread(&program);
    program.signal("INT");
    while read_packet(&mut writer).is_some() {}
    program.signal("INT");
    let (code, said) = program.end();
    assert_eq!(code, Some(1), "{said:?}");
    assert!(said.iter().any(|line| line.contains("second signal")), "{said:?}");
}

#[test]
fn the_last_packet_arrives_although_input_is_unread() {
    let program = Program::dev();
    let mut client = connect(program.address("mqtt"), 5, "rude");
    // A reserved packet type, and more than the gateway reads before it has closed.
    let mut bytes = packet(0x00, &[]);
    bytes.extend(vec![0; 300_000]);
    client.write_all(&bytes).unwrap();
    let (first, body) = read_packet(&mut client).expect("a DISCONNECT, not a reset");
    assert_eq!((first, body.first()), (0xe0, Some(&0x81)));
    let mut rest = Vec::new();
    assert_eq!(client.read_to_end(&mut rest).unwrap_or(usize::MAX), 0, "a reset");
    // For a second it still takes what a client says that has not noticed yet.
    client.write_all(b"more").expect("no reset");
}

#[test]
fn a_half_closed_client_gets_its_answers() {
    let program = Program::dev();
    let mut client = TcpStream::connect(program.address("mqtt")).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut body = b"\x00\x04MQTT\x04\x02\x00\x00".to_vec();
    string(&mut body, "half");
    client.write_all(&packet(0x10, &body)).unwrap();
    client.write_all(&packet(0xc0, &[])).unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(read_packet(&mut client).map(|(first, _)| first), Some(0x20));
    assert_eq!(read_packet(&mut client).map(|(first, _)| first), Some(0xd0));
    assert_eq!(read_packet(&mut client), None);
}

const MESSAGES: u16 = 200;
const SIZE: usize = 60_000;

/// A subscriber that has read nothing of what a publisher sent: more than the sockets' buffers
/// hold, all of it acknowledged to the publisher.
fn unread(program: &Program) -> (TcpStream, TcpStream) {
    let mut reader = connect(program.address("mqtt"), 4, "reader");
    // With the kernel's own sizes, what is in flight might fit.
    socket2::SockRef::from(&reader).set_recv_buffer_size(16 * 1024).expect("a buffer");
    let mut subscribe = vec![0, 1];
    string(&mut subscribe, "bulk");
    subscribe.push(1);
    reader.write_all(&packet(0x82, &subscribe)).expect("sent");
    assert_eq!(read_packet(&mut reader), Some((0x90, vec![0, 1, 1])));

    let mut writer = connect(program.address("mqtt"), 4, "writer");
    for id in 1..=MESSAGES {
        let mut publish = Vec::new();
        string(&mut publish, "bulk");
        publish.extend(id.to_be_bytes());
        publish.extend(id.to_be_bytes().repeat(SIZE / 2));
        writer.write_all(&packet(0x32, &publish)).expect("sent");
    }
    for id in 1..=MESSAGES {
        assert_eq!(read_packet(&mut writer), Some((0x40, id.to_be_bytes().to_vec())));
    }
    (reader, writer)
}

/// Towards a reader that pauses: every byte in order.
#[test]
fn what_the_kernel_refuses_waits_and_arrives_whole() {
    let program = Program::dev();
    let (mut reader, _writer) = unread(&program);
    for id in 1..=MESSAGES {
        let (first, body) = read_packet(&mut reader).expect("a PUBLISH");
        assert_eq!(first, 0x32);
        let (packet_id, payload) = (&body[6..8], &body[8..]);
        assert_eq!(payload.len(), SIZE);
        assert!(payload.chunks(2).all(|pair| pair == id.to_be_bytes()), "message {id} is torn");
        reader.write_all(&packet(0x40, packet_id)).unwrap();
    }
}

#[test]
fn without_descriptors_it_waits_and_goes_on() {
    let program = Program::dev_with_files(32);
    let mqtt = program.address("mqtt");
    // The kernel takes them all; the program cannot accept as many.
    let crowd: Vec<_> = (0..64).map(|_| TcpStream::connect(mqtt).unwrap()).collect();
    drop(crowd);
    connect(mqtt, 4, "after");
    program.signal("TERM");
    let (code, said) = program.end();
    assert_eq!(code, Some(0), "{said:?}");
    assert!(said.iter().any(|line| line.contains("ulimit -n")), "{said:?}");
}
