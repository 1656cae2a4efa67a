//! What a [`TcpRelay`](crate::tcp_relay::TcpRelay) remembers as a capture, and Wireshark's reading
//! of it.

use std::collections::HashMap;

use crate::gateway::scratch;
use crate::peer::program;
use crate::process::Process;
use crate::sim::coap_wire::Message;
use crate::sim::stream::frames::{self, BLOCK_WISE, CSM, FIRST};
use crate::tcp_relay::Chunk;

/// The server's port in the capture; each connection has a client's port of its own above 40,000.
const PORT: u16 = 1883;
/// That of HTTP, behind which Wireshark looks for WebSocket.
const WEB: u16 = 80;
/// Bytes of a segment.
const SEGMENT: usize = 1_400;

/// What the connections carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wire {
    Mqtt,
    /// RFC 8323 §3.
    Coap,
    /// RFC 8323 §4, the handshake of HTTP first.
    CoapOverWebSocket,
}

impl Wire {
    fn port(self) -> u16 {
        if self == Wire::CoapOverWebSocket { WEB } else { PORT }
    }

    /// The name of Wireshark's dissector for the port.
    fn protocol(self) -> &'static str {
        match self {
            Wire::Mqtt => "mqtt",
            Wire::Coap => "coap",
            Wire::CoapOverWebSocket => "http",
        }
    }

    /// Bytes of the message at the start, when it is there whole.
    fn length(self, bytes: &[u8]) -> Option<usize> {
        match self {
            Wire::Mqtt => length(bytes),
            Wire::Coap => coap_length(bytes),
            Wire::CoapOverWebSocket => web_length(bytes),
        }
    }
}

/// What Wireshark makes of the MQTT packets: one line a segment, its summary.
///
/// # Panics
/// If there are none, if `tshark` is missing or fails, or if it marks one of them as malformed or
/// as an error.
pub fn dissect(chunks: &[Chunk]) -> Vec<String> {
    dissect_as(chunks, Wire::Mqtt)
}

/// The same of CoAP over TCP, or over WebSocket, where what the server sent is judged.
///
/// Of the options of signals Debian's Wireshark knows none: each Max-Message-Size is marked as an option
/// 2 of a request would be, whoever sends it. These two marks, and no others, are passed over where a segment
/// is a CSM alone that our own reading finds to be one of RFC 8323 §5.3, with these two options.
///
/// # Panics
/// As [`dissect`].
pub fn dissect_coap(chunks: &[Chunk], over_websocket: bool) -> Vec<String> {
    dissect_as(chunks, if over_websocket { Wire::CoapOverWebSocket } else { Wire::Coap })
}

fn dissect_as(chunks: &[Chunk], wire: Wire) -> Vec<String> {
    assert!(!chunks.is_empty(), "nothing passed");
    let directory = scratch("pcap");
    let file = directory.join("relay.pcap");
    let capture = pcap(chunks, wire);
    std::fs::write(&file, capture).expect("the scratch directory takes a file");
    let mut command = program("tshark", "tshark");
    command.arg("-r").arg(&file);
    command.args(["-d", &format!("tcp.port=={},{}", wire.port(), wire.protocol())]);
    command.args(["-T", "fields", "-E", "separator=/t"]);
    const FIELDS: [&str; 5] =
        ["tcp.srcport", "tcp.payload", "_ws.malformed", "_ws.expert.message", "_ws.col.Info"];
    for field in FIELDS {
        command.args(["-e", field]);
    }
    let lines = Process::start(command).succeed();
    // Left behind in the system's temporary folder at worst.
    let _ = std::fs::remove_dir_all(directory);
    let server = wire.port().to_string();
    for line in &lines {
        let columns: Vec<&str> = line.split('\t').collect();
        if wire != Wire::Mqtt && columns.first() != Some(&&*server) {
            continue; // of a client's options it knows fewer
        }
        let [payload, summary] = [1, 4].map(|at| columns.get(at).copied().unwrap_or_default());
        let csm = wire != Wire::Mqtt && summary.trim() == "7.01 CSM" && is_csm(payload, wire);
        let marks = columns.iter().skip(2).take(2);
        let marked = marks.filter(|mark| !is_known(mark, csm, wire));
        assert_eq!(marked.count(), 0, "marked as malformed: {line}");
    }
    lines.iter().map(|line| line.split('\t').skip(4).collect()).collect()
}

/// Whether these hexadecimal digits are a CSM with Max-Message-Size, Block-Wise-Transfer and nothing else (RFC
/// 8323 §5.3): that Wireshark's marks say nothing of who has sent it.
fn is_csm(digits: &str, wire: Wire) -> bool {
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let bytes: Option<Vec<u8>> = digits.as_bytes().chunks(2).map(byte).collect();
    let bytes = bytes.unwrap_or_default();
    let message = match (wire, &bytes[..]) {
        // A frame with FIN, binary, unmasked, and Len 0 in it (§4.2).
        (Wire::CoapOverWebSocket, [0x82, _, 0, CSM, content @ ..]) => {
            let mut message = Message { code: CSM, ..Message::default() };
            message.read_content(content).ok().map(|()| message)
        }
        (Wire::Coap, _) => {
            let mut rest = bytes;
            let taken = frames::take(&mut rest).ok().flatten();
            taken.map(|(message, _)| message).filter(|_| rest.is_empty())
        }
        _ => None,
    };
    message.is_some_and(|message| {
        let Message { code, token, options, payload, .. } = message;
        let [(FIRST, size), (BLOCK_WISE, nothing)] = &options[..] else { return false };
        let is_uint = (1..=4).contains(&size.len()) && size[0] != 0;
        code == CSM && token.is_empty() && payload.is_empty() && is_uint && nothing.is_empty()
    })
}

/// Whether a mark says nothing of who has sent the message.
fn is_known(mark: &str, is_csm: bool, wire: Wire) -> bool {
    const MARKS: [&str; 2] = ["Invalid Option Number 2", "Invalid Option Range: 0 (1 < x < 8)"];
    let of_csm = |mark: &str| MARKS.iter().any(|known| mark.starts_with(known));
    // Two options, two marks.
    let only_csm = is_csm && mark.split(',').all(|one| one == "_ws.malformed" || of_csm(one));
    let is_http = wire == Wire::CoapOverWebSocket && mark.contains("HTTP/1.1");
    mark.is_empty() || only_csm || is_http
}

/// Raw IPv4 packets (pcap 2.4, link type 101). Each message begins a segment: the dissector of MQTT
/// takes a length that is cut in two for a mistake.
fn pcap(chunks: &[Chunk], wire: Wire) -> Vec<u8> {
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
        while let Some(length) = wire.length(waiting) {
            let whole: Vec<u8> = waiting.drain(..length).collect();
            for segment in whole.chunks(SEGMENT) {
                let side = usize::from(chunk.from_server);
                let packet = packet(chunk, wire.port(), segment, sent[side], sent[1 - side]);
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

/// Of the message of CoAP at the start (RFC 8323 §3.2), when it is there whole.
fn coap_length(bytes: &[u8]) -> Option<usize> {
    let number = |at: std::ops::Range<usize>| {
        bytes.get(at).map(|b| b.iter().fold(0, |sum, b| sum << 8 | usize::from(*b)))
    };
    let first = usize::from(*bytes.first()?);
    let (extended, rest) = match first >> 4 {
        13 => (1, 13 + number(1..2)?),
        14 => (2, 269 + number(1..3)?),
        15 => (4, 65_805 + number(1..5)?),
        length => (0, length),
    };
    let whole = 1 + extended + 1 + (first & 0x0F) + rest;
    (whole <= bytes.len()).then_some(whole)
}

/// Of the head of HTTP or the frame of WebSocket (RFC 6455 §5.2) at the start, when it is there whole.
fn web_length(bytes: &[u8]) -> Option<usize> {
    if bytes.starts_with(b"GET ") || bytes.starts_with(b"HTTP/") {
        return bytes.windows(4).position(|end| end == b"\r\n\r\n").map(|at| at + 4);
    }
    let second = *bytes.get(1)?;
    let mask = if second & 0x80 == 0 { 0 } else { 4 };
    let (head, length) = match second & 0x7F {
        126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => (10, usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?),
        length => (2, usize::from(length)),
    };
    let whole = head + mask + length;
    (whole <= bytes.len()).then_some(whole)
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

fn packet(chunk: &Chunk, port: u16, segment: &[u8], sequence: u32, acknowledged: u32) -> Vec<u8> {
    let total = u16::try_from(segment.len() + 40).expect("a segment is short");
    let client = 40_000 + u16::try_from(chunk.connection).expect("a test has few connections");
    let (ports, addresses) = if chunk.from_server {
        ([port, client], [[127, 0, 0, 1], [127, 0, 0, 2]])
    } else {
        ([client, port], [[127, 0, 0, 2], [127, 0, 0, 1]])
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

    /// CSMs of both sides and an answer, cut in pieces.
    #[test]
    fn wireshark_reads_coap() {
        let csm = &[0x40, 0xE1, 0x22, 0x04, 0x80, 0x20][..];
        let answer = &[0xD0, 0, 0x45, 0xFF, b'a', b'b', b'c', b'd', b'e', b'f', b'g', b'h'];
        let rest = [&answer[..], b"ijkl"].concat();
        let (begin, end) = rest.split_at(9);
        let chunks = [chunk(true, csm), chunk(false, csm), chunk(true, begin), chunk(true, end)];
        let lines = dissect_coap(&chunks, false);
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert!(lines[0].contains("CSM") && lines[2].contains("2.05 Content"), "{lines:?}");
    }

    /// A CSM with an option that there is not, and one with a token.
    #[test]
    fn only_a_csm_is_passed_over() {
        assert!(is_csm("40e122048020", Wire::Coap));
        assert!(!is_csm("50e12204802021", Wire::Coap), "6: an option that there is not");
        assert!(!is_csm("41e17722048020", Wire::Coap), "a token");
        assert!(!is_csm("40e12204802000e2", Wire::Coap), "two messages");
        assert!(!is_csm("40e22204802020", Wire::Coap), "a Ping");
        assert!(is_csm("820600e122048020", Wire::CoapOverWebSocket));
        assert!(!is_csm("820640e122048020", Wire::CoapOverWebSocket), "Len is not 0");
    }

    #[test]
    #[should_panic(expected = "marked as malformed")]
    fn wireshark_marks_an_option_that_is_none() {
        dissect_coap(&[chunk(true, &[0x20, 0x45, 0x21, 0])], false);
    }

    #[test]
    #[should_panic(expected = "marked as malformed")]
    fn wireshark_marks_a_property_cut_short() {
        let connect = b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x01a";
        // CONNACK whose properties are longer than it is.
        dissect(&[chunk(false, connect), chunk(true, &[0x20, 5, 0, 0, 9, 0x1F, 0])]);
    }
}
