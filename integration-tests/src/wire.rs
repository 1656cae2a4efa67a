//! MQTT bytes over a bare socket: what no client library can be made to send.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use crate::process::DEADLINE;

/// The versions, by the level byte of CONNECT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// 3.1, `MQIsdp`, level 3.
    V31,
    /// 3.1.1, level 4.
    V311,
    /// 5.0, level 5.
    V5,
}

/// All of them, oldest first.
pub const VERSIONS: [Version; 3] = [Version::V31, Version::V311, Version::V5];

/// A connection whose bytes the test chooses.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    /// What was said, for messages of failure.
    story: Vec<String>,
}

impl Wire {
    /// Connects the socket and says nothing.
    ///
    /// # Panics
    /// If nobody listens.
    pub fn open(address: SocketAddr) -> Wire {
        let stream = TcpStream::connect(address).expect("the gateway listens");
        stream.set_read_timeout(Some(DEADLINE)).expect("a deadline is not zero");
        stream.set_nodelay(true).expect("a TCP socket has no delay to lose");
        Wire { stream, story: Vec::new() }
    }

    /// Connects with a clean session and takes a successful CONNACK.
    ///
    /// # Panics
    /// If the gateway refuses.
    pub fn connect(address: SocketAddr, version: Version, client_id: &str) -> Wire {
        let mut wire = Wire::open(address);
        wire.send(&connect(version, client_id, true, 60));
        let (_, code) = wire.connack(version);
        assert_eq!(code, 0, "CONNACK refuses {client_id}\n{}", wire.story());
        wire
    }

    /// Writes `bytes` as they are.
    ///
    /// # Panics
    /// If the gateway has closed.
    pub fn send(&mut self, bytes: &[u8]) {
        self.story.push(format!("→ {}", hex(bytes)));
        self.stream.write_all(bytes).unwrap_or_else(|error| panic!("{error}\n{}", self.story()));
    }

    /// Writes `bytes`, taking no notice of a gateway that has closed meanwhile.
    pub fn send_regardless(&mut self, bytes: &[u8]) {
        self.story.push(format!("→ {}", hex(bytes)));
        // A close that overtakes our bytes is what such a test is about.
        let _ = self.stream.write_all(bytes);
    }

    /// Reads one whole packet.
    ///
    /// # Panics
    /// If the gateway closes or the deadline passes first.
    pub fn packet(&mut self) -> Vec<u8> {
        self.try_packet()
            .unwrap_or_else(|end| panic!("{end} instead of a packet\n{}", self.story()))
    }

    /// Reads a packet and insists that it is `wanted`.
    ///
    /// # Panics
    /// If it is another, or none.
    pub fn expect(&mut self, wanted: &[u8]) {
        let got = self.packet();
        assert_eq!(hex(&got), hex(wanted), "\n{}", self.story());
    }

    /// Reads CONNACK: the flags and the code.
    ///
    /// # Panics
    /// If another packet comes, or one of another form.
    pub fn connack(&mut self, version: Version) -> (u8, u8) {
        let packet = self.packet();
        assert_eq!(packet[0], 0x20, "not a CONNACK\n{}", self.story());
        if version != Version::V5 {
            assert_eq!(packet.len(), 4, "a CONNACK of 3.x has 4 bytes\n{}", self.story());
        }
        (packet[2], packet[3])
    }

    /// Insists that the gateway has closed in order and sent nothing more.
    ///
    /// # Panics
    /// If bytes come, or a reset, or nothing happens.
    pub fn closed(&mut self) {
        let mut byte = [0; 1];
        match self.stream.read(&mut byte) {
            Ok(0) => {}
            Ok(_) => panic!("byte {:02x} instead of a close\n{}", byte[0], self.story()),
            Err(error) => panic!("{error} instead of a close\n{}", self.story()),
        }
    }

    /// Insists that the gateway says goodbye with `code` (5.0: DISCONNECT) and closes; 3.x only
    /// closes.
    ///
    /// # Panics
    /// If it does anything else.
    pub fn refused(&mut self, version: Version, code: u8) {
        if version == Version::V5 {
            let packet = self.packet();
            assert_eq!(packet[0], 0xE0, "{} is not a DISCONNECT\n{}", hex(&packet), self.story());
            let got = packet.get(2).copied().unwrap_or(0);
            assert_eq!(got, code, "DISCONNECT {got:#04x}, wanted {code:#04x}\n{}", self.story());
        }
        self.closed();
    }

    /// Insists that the connection is still served.
    ///
    /// # Panics
    /// If PINGRESP is not the next packet.
    pub fn alive(&mut self) {
        self.send(&[0xC0, 0]);
        self.expect(&[0xD0, 0]);
    }

    /// Ends our direction; the gateway sees the end of the stream.
    ///
    /// # Panics
    /// If the socket is gone.
    pub fn half_close(&mut self) {
        self.stream.shutdown(Shutdown::Write).expect("the socket is open");
    }

    /// What was said in both directions.
    pub fn story(&self) -> String {
        self.story.join("\n")
    }

    fn try_packet(&mut self) -> Result<Vec<u8>, String> {
        let mut packet = vec![0; 1];
        self.fill(&mut packet, 0)?;
        let mut length = 0usize;
        for shift in [0, 7, 14, 21] {
            let at = packet.len();
            packet.push(0);
            self.fill(&mut packet, at)?;
            length |= usize::from(packet[at] & 0x7F) << shift;
            if packet[at] & 0x80 == 0 {
                break;
            }
        }
        let at = packet.len();
        packet.resize(at + length, 0);
        self.fill(&mut packet, at)?;
        self.story.push(format!("← {}", hex(&packet)));
        Ok(packet)
    }

    fn fill(&mut self, packet: &mut [u8], from: usize) -> Result<(), String> {
        let (_, rest) = packet.split_at_mut(from);
        self.stream.read_exact(rest).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => "a close".to_owned(),
            ErrorKind::WouldBlock | ErrorKind::TimedOut => "silence".to_owned(),
            _ => error.to_string(),
        })
    }
}

/// A whole packet: first byte, length, body.
pub fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut left = body.len();
    loop {
        let seven = u8::try_from(left % 128).expect("a remainder of 128 fits a byte");
        left /= 128;
        bytes.push(if left > 0 { seven | 0x80 } else { seven });
        if left == 0 {
            break;
        }
    }
    bytes.extend_from_slice(body);
    bytes
}

/// A string as MQTT writes it: two length bytes, then the bytes.
///
/// # Panics
/// If it is longer than 65,535 bytes.
pub fn string(text: impl AsRef<[u8]>) -> Vec<u8> {
    let text = text.as_ref();
    let length = u16::try_from(text.len()).expect("an MQTT string has at most 65,535 bytes");
    [&length.to_be_bytes(), text].concat()
}

/// CONNECT without will, user name and properties.
pub fn connect(version: Version, client_id: &str, clean: bool, keep_alive_secs: u16) -> Vec<u8> {
    let flags = if clean { 0x02 } else { 0 };
    packet(0x10, &[head(version, flags, keep_alive_secs), string(client_id)].concat())
}

/// The variable header of CONNECT, with no properties in 5.0.
pub fn head(version: Version, flags: u8, keep_alive_secs: u16) -> Vec<u8> {
    let (name, level) = match version {
        Version::V31 => ("MQIsdp", 3),
        Version::V311 => ("MQTT", 4),
        Version::V5 => ("MQTT", 5),
    };
    let mut body = string(name);
    body.extend([level, flags]);
    body.extend(keep_alive_secs.to_be_bytes());
    if version == Version::V5 {
        body.push(0);
    }
    body
}

/// SUBSCRIBE with packet id 1 and one filter.
pub fn subscribe(version: Version, filter: &str, options: u8) -> Vec<u8> {
    let mut body = vec![0, 1];
    if version == Version::V5 {
        body.push(0);
    }
    body.extend(string(filter));
    body.push(options);
    packet(0x82, &body)
}

/// PUBLISH with packet id `id` where `flags` ask for one.
pub fn publish(version: Version, flags: u8, id: u16, topic: &str, payload: &[u8]) -> Vec<u8> {
    let mut body = string(topic);
    if flags & 0x06 != 0 {
        body.extend(id.to_be_bytes());
    }
    if version == Version::V5 {
        body.push(0);
    }
    body.extend(payload);
    packet(0x30 | flags, &body)
}

/// Two hexadecimal digits a byte, spaced.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}
