//! A UDP relay between a client and the gateway that records what passes, and Wireshark's reading
//! of the record.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use crate::gateway::scratch;
use crate::peer::program;
use crate::process::{DEADLINE, Process};

/// Who sent a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// The client.
    Client,
    /// The gateway.
    Gateway,
}

/// What both directions share.
struct Link {
    passed: Sender<(From, Vec<u8>)>,
    lost: Box<dyn Fn(From, usize) -> bool + Send + Sync>,
    /// Datagrams of the client and of the gateway.
    count: [AtomicUsize; 2],
}

impl Link {
    /// Records a datagram; whether it goes on, and `None` when nobody reads the record any more.
    fn pass(&self, from: From, bytes: &[u8]) -> Option<bool> {
        let number = self.count[usize::from(from == From::Gateway)].fetch_add(1, Ordering::Relaxed);
        self.passed.send((from, bytes.to_vec())).ok()?;
        Some(!(self.lost)(from, number))
    }
}

/// A running relay; clients send to [`address`](Relay::address).
#[derive(Debug)]
pub struct Relay {
    /// Where clients send to.
    pub address: SocketAddr,
    passed: Receiver<(From, Vec<u8>)>,
    record: Vec<(From, Vec<u8>)>,
    stop: Arc<AtomicBool>,
}

impl Relay {
    /// Starts one in front of `gateway`.
    ///
    /// # Panics
    /// If loopback has no free port.
    pub fn start(gateway: SocketAddr) -> Relay {
        Relay::losing(gateway, |_, _| false)
    }

    /// The same over a bad link: `lost` says for each datagram, by sender and its number from 0
    /// among those of this sender, whether it disappears behind the record.
    ///
    /// # Panics
    /// As [`start`](Relay::start).
    pub fn losing(
        gateway: SocketAddr,
        lost: impl Fn(From, usize) -> bool + Send + Sync + 'static,
    ) -> Relay {
        let front = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        let address = front.local_addr().expect("a bound socket has an address");
        let (sender, passed) = mpsc::channel();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let link =
            Arc::new(Link { passed: sender, lost: Box::new(lost), count: Default::default() });
        std::thread::spawn(move || forward(&front, gateway, &link, &stopped));
        Relay { address, passed, record: Vec::new(), stop }
    }

    /// Everything that passed so far.
    pub fn record(&mut self) -> &[(From, Vec<u8>)] {
        self.record.extend(self.passed.try_iter());
        &self.record
    }

    /// The record, as soon as `sender` has so many datagrams in it.
    ///
    /// # Panics
    /// If the deadline passes first.
    pub fn record_of(&mut self, sender: From, count: usize) -> &[(From, Vec<u8>)] {
        let seen =
            |record: &[(From, Vec<u8>)]| record.iter().filter(|(from, _)| *from == sender).count();
        while seen(&self.record) < count {
            let next = self.passed.recv_timeout(DEADLINE);
            let record = &self.record;
            self.record
                .push(next.unwrap_or_else(|_| panic!("no {count} of {sender:?}: {record:02x?}")));
        }
        self.record()
    }

    /// What Wireshark makes of the datagrams that the gateway sent: one line each,
    /// `protocols<TAB>summary`.
    ///
    /// # Panics
    /// If there are none, if `tshark` is missing or fails, or if it marks one of them.
    pub fn dissect(&mut self, protocol: &str, port: u16) -> Vec<String> {
        self.dissect_of(From::Gateway, protocol, port)
    }

    /// The same, but for what its version does not know: marks that are one of `unknown`.
    ///
    /// # Panics
    /// As [`dissect`](Relay::dissect), but for these.
    pub fn dissect_but(&mut self, protocol: &str, port: u16, unknown: &[&str]) -> Vec<String> {
        dissect_but(&self.sent_by(From::Gateway), protocol, port, unknown)
    }

    /// The same for the datagrams that `sender` sent.
    ///
    /// # Panics
    /// As [`dissect`](Relay::dissect).
    pub fn dissect_of(&mut self, sender: From, protocol: &str, port: u16) -> Vec<String> {
        dissect(&self.sent_by(sender), protocol, port)
    }

    fn sent_by(&mut self, sender: From) -> Vec<Vec<u8>> {
        let of_sender = self.record().iter().filter(|(from, _)| *from == sender);
        let sent: Vec<Vec<u8>> = of_sender.map(|(_, bytes)| bytes.clone()).collect();
        assert!(!sent.is_empty(), "the {sender:?} sent nothing");
        sent
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// One upstream socket a client, so that the gateway sees as many peers as there are.
fn forward(front: &UdpSocket, gateway: SocketAddr, link: &Arc<Link>, stop: &Arc<AtomicBool>) {
    let mut upstream: HashMap<SocketAddr, UdpSocket> = HashMap::new();
    front.set_read_timeout(Some(Duration::from_millis(100))).expect("a deadline is not zero");
    let mut buffer = [0; 65_535];
    while !stop.load(Ordering::Relaxed) {
        let Ok((length, client)) = front.recv_from(&mut buffer) else {
            continue; // the read deadline, there to look at `stop`
        };
        let bytes = &buffer[..length];
        let Some(goes_on) = link.pass(From::Client, bytes) else { return };
        let socket = upstream.entry(client).or_insert_with(|| {
            let back = front.try_clone().expect("a socket can be shared");
            answer(&back, client, gateway, link.clone(), stop.clone())
        });
        if !goes_on {
            continue;
        }
        // What the gateway does not take is lost, as datagrams are.
        let _ = socket.send(bytes);
    }
}

fn answer(
    back: &UdpSocket,
    client: SocketAddr,
    gateway: SocketAddr,
    link: Arc<Link>,
    stop: Arc<AtomicBool>,
) -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
    socket.connect(gateway).expect("the gateway has a loopback address");
    socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a deadline is not zero");
    let from_gateway = socket.try_clone().expect("a socket can be shared");
    let back = back.try_clone().expect("a socket can be shared");
    std::thread::spawn(move || {
        let mut buffer = [0; 65_535];
        while !stop.load(Ordering::Relaxed) {
            let Ok(length) = from_gateway.recv(&mut buffer) else { continue };
            let bytes = &buffer[..length];
            // Recorded before it is passed on: who waits for the client's word then finds it here.
            let Some(goes_on) = link.pass(From::Gateway, bytes) else { return };
            if goes_on {
                let _ = back.send_to(bytes, client);
            }
        }
    });
    socket
}

/// What Wireshark makes of these datagrams from `port`: one line each, `protocols<TAB>summary`.
///
/// # Panics
/// If `tshark` is missing or fails, or if it marks one of them.
pub fn dissect(sent: &[Vec<u8>], protocol: &str, port: u16) -> Vec<String> {
    dissect_but(sent, protocol, port, &[])
}

/// The same, but for what its version does not know: marks that are one of `unknown`.
///
/// # Panics
/// As [`dissect`], but for these.
pub fn dissect_but(sent: &[Vec<u8>], protocol: &str, port: u16, unknown: &[&str]) -> Vec<String> {
    let directory = scratch("pcap");
    let file = directory.join("gateway.pcap");
    std::fs::write(&file, pcap(sent, port)).expect("the scratch directory takes a file");
    let lines = tshark(&file, protocol, port);
    // Left behind in the system's temporary folder at worst.
    let _ = std::fs::remove_dir_all(directory);
    assert_eq!(lines.len(), sent.len(), "a line a datagram: {lines:#?}");
    for (line, bytes) in lines.iter().zip(sent) {
        let mut columns = line.split('\t');
        let protocols = columns.next().unwrap_or_default();
        let [malformed, expert] = [columns.next(), columns.next()].map(Option::unwrap_or_default);
        let known = !expert.is_empty() && expert.split(',').all(|mark| unknown.contains(&mark));
        let right = known || malformed.is_empty() && expert.is_empty();
        assert!(protocols.contains(protocol), "not {protocol}: {line}: {bytes:02x?}");
        assert!(right, "marked as malformed: {line}: {bytes:02x?}");
    }
    lines
}

/// `datagrams` as a capture of raw IPv4 packets sent from `port` (pcap 2.4, link type 101).
fn pcap(datagrams: &[Vec<u8>], port: u16) -> Vec<u8> {
    let mut file = Vec::new();
    for word in [0xA1B2_C3D4_u32, 0x0002_0004, 0, 0, 65_535, 101] {
        // Version 2.4 is two halves; in the byte order of the magic number the major comes first.
        let word = if word == 0x0002_0004 { 0x0004_0002 } else { word };
        file.extend(word.to_le_bytes());
    }
    for (second, datagram) in (0_u32..).zip(datagrams) {
        let packet = ipv4(datagram, port);
        let length = u32::try_from(packet.len()).expect("an IPv4 packet has at most 65,535 bytes");
        for word in [second, 0, length, length] {
            file.extend(word.to_le_bytes());
        }
        file.extend(packet);
    }
    file
}

fn ipv4(datagram: &[u8], port: u16) -> Vec<u8> {
    let udp = u16::try_from(datagram.len() + 8).expect("a datagram fits IPv4");
    let total = udp + 20;
    let mut packet = vec![0x45, 0];
    packet.extend(total.to_be_bytes());
    packet.extend([0, 0, 0x40, 0, 64, 17, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1]);
    packet.extend(port.to_be_bytes());
    packet.extend(40_000_u16.to_be_bytes());
    packet.extend(udp.to_be_bytes());
    packet.extend([0, 0]);
    packet.extend(datagram);
    packet
}

fn tshark(file: &Path, protocol: &str, port: u16) -> Vec<String> {
    let mut command = program("tshark", "tshark");
    command.arg("-r").arg(file);
    let mut decode = String::new();
    write!(decode, "udp.port=={port},{protocol}").expect("a string takes text");
    command.args(["-d", &decode, "-T", "fields", "-E", "separator=/t"]);
    for field in ["frame.protocols", "_ws.malformed", "_ws.expert.message", "_ws.col.Info"] {
        command.args(["-e", field]);
    }
    Process::start(command).succeed()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(datagrams: &[&[u8]]) -> Relay {
        let (sender, passed) = mpsc::channel();
        for datagram in datagrams {
            sender.send((From::Gateway, datagram.to_vec())).expect("the receiver is below");
        }
        let address = (Ipv4Addr::LOCALHOST, 1).into();
        Relay { address, passed, record: Vec::new(), stop: Arc::new(AtomicBool::new(false)) }
    }

    #[test]
    fn wireshark_reads_what_is_right() {
        let lines = recorded(&[&[3, 5, 0], &[7, 0x0B, 0, 1, 0, 1, 0]]).dissect("mqttsn", 1885);
        assert!(lines[0].contains("Connect Ack"), "{lines:?}");
        assert!(lines[1].contains("Register Ack"), "{lines:?}");
        let lines = recorded(&[&[0x60, 0x45, 1, 2, 0xFF, b'x']]).dissect("coap", 5683);
        assert!(lines[0].contains("2.05 Content"), "{lines:?}");
    }

    #[test]
    #[should_panic(expected = "marked as malformed")]
    fn wireshark_marks_an_mqtt_sn_packet_cut_short() {
        recorded(&[&[7, 0x0B, 0, 1]]).dissect("mqttsn", 1885);
    }

    /// Of two marks one is known.
    #[test]
    #[should_panic(expected = "marked as malformed")]
    fn wireshark_marks_what_stands_beside_an_unknown_option() {
        let echo = b"\x60\x81\x00\x01\xd1\xefe\xc5x";
        recorded(&[&echo[..7]]).dissect_but("coap", 5683, &["Invalid Option Number 252"]);
        recorded(&[echo]).dissect_but("coap", 5683, &["Invalid Option Number 252"]);
    }

    #[test]
    #[should_panic(expected = "marked as malformed")]
    fn wireshark_marks_a_coap_option_cut_short() {
        recorded(&[&[0x60, 0x45, 1, 2, 0xC5, 1]]).dissect("coap", 5683);
    }
}
