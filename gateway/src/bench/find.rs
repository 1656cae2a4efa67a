//! From a URL to the one address of its host that answers; every client of a bench goes there.

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _, UdpSocket};
use std::time::Duration;

use motegate_coap::client as coap;
use motegate_mqtt_sn::client as sn;

use crate::client::{Error, Scheme, Target, random};
use crate::clock::Clock;

/// Patience with a TCP address.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);
/// Patience with a UDP address is so often ...
const ATTEMPTS: u32 = 3;
/// ... so long.
const ATTEMPT: Duration = Duration::from_millis(700);
/// Addresses that are tried.
const MAX_ADDRESSES: usize = 8;

/// The first address that answers in the target's protocol.
pub(super) fn find(target: &Target, clock: Clock) -> Result<SocketAddr, Error> {
    let unknown = || Error::NoSuchHost { host: target.host.clone() };
    let found = (target.host.as_str(), target.port).to_socket_addrs().map_err(|_| unknown())?;
    let (mut closed, mut fault) = (Vec::new(), None);
    for address in found.take(MAX_ADDRESSES) {
        let answer = match target.scheme {
            Scheme::Mqtt => TcpStream::connect_timeout(&address, OPEN_TIMEOUT).map(drop),
            Scheme::MqttSn => ask(address, |socket| connect_sn(socket, clock)),
            Scheme::Coap => ask(address, |socket| ping_coap(socket, clock)),
        };
        let place = place(target, address);
        match answer {
            Ok(()) => return Ok(address),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => closed.push(place),
            Err(error) if is_silence(&error) => {
                fault = Some(Error::TimedOut {
                    what: format!("no answer from {place}"),
                    hint: "check host, port and firewall; is this protocol spoken there?".into(),
                });
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                fault = Some(Error::Refused {
                    text: format!("{place} refused: {error}"),
                    hint: "does it take clients without identity (`anonymous`)? see its log".into(),
                });
            }
            Err(source) => fault = Some(Error::Unreachable { place, source }),
        }
    }
    match fault {
        Some(fault) => Err(fault),
        None if closed.is_empty() => Err(unknown()),
        None => {
            closed.dedup();
            Err(Error::NothingListens {
                place: closed.join(" and "),
                hint: "`motegate dev` starts a gateway; HOST:PORT in the URL names another port",
            })
        }
    }
}

fn place(target: &Target, address: SocketAddr) -> String {
    let transport = if target.scheme == Scheme::Mqtt { "tcp" } else { "udp" };
    format!("{address}/{transport}")
}

fn is_silence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock)
}

fn ask(address: SocketAddr, attempt: impl Fn(&UdpSocket) -> io::Result<()>) -> io::Result<()> {
    let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any)?;
    socket.connect(address)?;
    socket.set_read_timeout(Some(ATTEMPT))?;
    let mut result = Err(io::ErrorKind::TimedOut.into());
    for _ in 0..ATTEMPTS {
        result = attempt(&socket);
        if !result.as_ref().is_err_and(is_silence) {
            break;
        }
    }
    result
}

/// CONNECT and DISCONNECT: what every MQTT-SN gateway answers.
fn connect_sn(socket: &UdpSocket, clock: Clock) -> io::Result<()> {
    let id = format!("bench-{:08x}", random() >> 32);
    let mut client =
        sn::Client::<128>::new(&id, sn::ClientConfig::default()).map_err(io::Error::other)?;
    client.connect(clock.now(), true).map_err(io::Error::other)?;
    let mut buffer = [0; 2048];
    loop {
        while let Some(packet) = client.poll_transmit() {
            socket.send(&packet)?;
        }
        let len = socket.recv(&mut buffer)?;
        let bytes = buffer.get(..len).unwrap_or_default();
        match client.handle_datagram(clock.now(), bytes) {
            Some(sn::ClientEvent::Done(_)) => {
                let _ = client.disconnect(clock.now());
                while let Some(packet) = client.poll_transmit() {
                    socket.send(&packet)?;
                }
                return Ok(());
            }
            Some(sn::ClientEvent::Refused { code, .. }) => {
                let text = format!("CONNECT was answered by {code:?}");
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
            }
            _ => {}
        }
    }
}

fn ping_coap(socket: &UdpSocket, clock: Clock) -> io::Result<()> {
    let mut client = coap::Client::new(motegate_coap::Config::default(), random());
    client.ping(clock.now());
    let mut buffer = [0; 2048];
    while let Some(datagram) = client.poll_transmit() {
        socket.send(&datagram)?;
    }
    loop {
        let len = socket.recv(&mut buffer)?;
        client.handle_datagram(clock.now(), buffer.get(..len).unwrap_or_default());
        if client.poll_event().is_some() {
            return Ok(());
        }
    }
}
