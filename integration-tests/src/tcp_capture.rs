//! What a [`TcpRelay`](crate::tcp_relay::TcpRelay) remembers as a capture, and Wireshark's reading
//! of it.

use std::collections::HashMap;

use crate::gateway::scratch;
use crate::peer::program;
use crate::process::Process;
use crate::tcp_relay::Chunk;

/// The server's port in the capture; each connection has a client's port of its own above 40,000.
const PORT: u16 = 1883;
/// Bytes of a segment.
const SEGMENT: usize = 1_400;

/// What Wireshark makes of the MQTT packets: one line a segment, its summary.
///
/// # Panics
/// If there are none, if `tshark` is missing or fails, or if it marks one of them as malformed or
/// as an error.
pub fn dissect(chunks: &[Chunk]) -> Vec<String> {
    assert!(!chunks.is_empty(), "nothing passed");
    let directory = scratch("pcap");
    let file = directory.join("relay.pcap");
    let capture = pcap(chunks);
    std::fs::write(&file, capture).expect("the scratch directory takes a file");
    let mut command = program("tshark", "tshark");
    command.arg("-r").arg(&file);
    command.args(["-d", &format!("tcp.port=={PORT},mqtt")]);
    command.args(["-T", "fields", "-E", "separator=/t"]);
    for field in ["tcp.srcport", "_ws.malformed", "_ws.expert.message", "_ws.col.Info"] {
        command.args(["-e", field]);
    }
    let lines = Process::start(command).succeed();
    // Left behind in the system's temporary folder at worst.
    let _ = std::fs::remove_dir_all(directory);
    for line in &lines {
        let marks: Vec<&str> = line.split('\t').skip(1).take(2).collect();
        assert!(marks.iter().all(|mark| mark.is_empty()), "marked as malformed: {line}");
    }
    lines.iter().map(|line| line.split('\t').skip(3).collect()).collect()
}

/// Raw IPv4 packets (pcap 2.4, link type 101). Each MQTT packet begins a segment: the dissector takes
/// a length that is cut in two for a mistake.
fn pcap(chunks: &[Chunk]) -> Vec<u8> {
    let mut file = Vec::new();
    // Version 2.4 is two halves; in the byte order of the magic number the major comes first.
    for word in [0xA1B2_C3D4_u32, 0x0004_0002, 0, 0, 65_535, 101] {
        file.extend(word.to_le_bytes());
    }
    // Bytes that client and server have sent, for each connection, and those not in a packet yet.
    let mut sent: HashMap<usize, [u32; 2]> = HashMap::new();
    let mut waiting: HashMap<(usize, bool), Vec<u8>> = HashMap::new();
    let mut second = 0_u32;
    for chunk in chunks {
        let sent = sent.entry(chunk.connection).or_insert([1, 1]);
        let waiting = waiting.entry((chunk.connection, chunk.from_server)).or_default();
        waiting.extend_from_slice(&chunk.bytes);
        while let Some(length) = length(waiting) {
            let whole: Vec<u8> = waiting.drain(..length).collect();
            for segment in whole.chunks(SEGMENT) {
                let side = usize::from(chunk.from_server);
                let packet = packet(chunk, segment, sent[side], sent[1 - side]);
                let length = u32::try_from(packet.len()).expect("a segment is short");
                sent[side] += u32::try_from(segment.len()).expect("a segment is short");
                for word in [second, 0, length, length] {
                    file.extend(word.to_le_bytes());
                }
                file.extend(packet);
                second += 1;
            }
        }
    }
    file
}

/// Of the MQTT packet at the start, when it is there whole.
fn length(bytes: &[u8]) -> Option<usize> {
    let mut length = 0;
    for (place, byte) in bytes.iter().skip(1).take(4).enumerate() {
        length |= usize::from(byte & 0x7F) << (7 * place);
        if byte & 0x80 == 0 {
            return Some(length + place + 2).filter(|whole| *whole <= bytes.len());
        }
    }
    None
}

fn packet(chunk: &Chunk, segment: &[u8], sequence: u32, acknowledged: u32) -> Vec<u8> {
    let total = u16::try_from(segment.len() + 40).expect("a segment is short");
    let client = 40_000 + u16::try_from(chunk.connection).expect("a test has few connections");
    let (ports, addresses) = if chunk.from_server {
        ([PORT, client], [[127, 0, 0, 1], [127, 0, 0, 2]])
    } else {
        ([client, PORT], [[127, 0, 0, 2], [127, 0, 0, 1]])
    };
    let mut packet = vec![0x45, 0];
    packet.extend(total.to_be_bytes());
    packet.extend([0, 0, 0x40, 0, 64, 6, 0, 0]);
    packet.extend(addresses.as_flattened());
    for port in ports {
        packet.extend(port.to_be_bytes());
    }
    packet.extend(sequence.to_be_bytes());
    packet.extend(acknowledged.to_be_bytes());
    // Five words of header, ACK and PSH, a window, no checksum, nothing urgent.
    packet.extend([0x50, 0x18, 0xFF, 0xFF, 0, 0, 0, 0]);
    packet.extend(segment);
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(from_server: bool, bytes: &[u8]) -> Chunk {
        Chunk { connection: 0, from_server, bytes: bytes.to_vec() }
    }

    const CONNECT: &[u8] = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a";

    #[test]
    fn wireshark_reads_what_is_right() {
        let lines = dissect(&[chunk(false, CONNECT), chunk(true, &[0x20, 2, 0, 0])]);
        assert!(lines[0].contains("Connect Command"), "{lines:?}");
        assert!(lines[1].contains("Connect Ack"), "{lines:?}");
    }

    #[test]
    #[should_panic(expected = "marked as malformed")]
    fn wireshark_marks_a_property_cut_short() {
        let connect = b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x01a";
        // CONNACK whose properties are longer than it is.
        dissect(&[chunk(false, connect), chunk(true, &[0x20, 5, 0, 0, 9, 0x1F, 0])]);
    }
}
