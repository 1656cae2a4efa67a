//! From a URL to the one address of its host that answers; every client of a bench goes there.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use motegate_coap::client as coap;
use motegate_mqtt_sn::client as sn;

use rustls::ClientConfig;
use rustls::client::Resumption;

use crate::client::{Error, Scheme, Target, random, secure};
use crate::clock::Clock;

/// Patience with a TCP address.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);
/// Patience with a UDP address is so often ...
const ATTEMPTS: u32 = 3;
/// ... so long.
const ATTEMPT: Duration = Duration::from_millis(700);
/// Addresses that are tried.
const MAX_ADDRESSES: usize = 8;

/// Where clients go.
#[derive(Debug)]
pub(super) enum Address {
    Inet(SocketAddr),
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Inet(address) => write!(f, "{address}"),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// How clients go there: all share it.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) target: Target,
    pub(super) address: Address,
    /// What TLS trusts and shows, if there is TLS. Every connection has a handshake of its own.
    pub(super) tls: Option<Arc<ClientConfig>>,
}

impl Way {
    /// As it is told of.
    pub(super) fn place(&self) -> String {
        match &self.address {
            Address::Inet(address) => format!("{address}/tcp"),
            Address::Unix(_) => self.address.to_string(),
        }
    }
}

/// The way to the first address that answers.
pub(super) fn way(target: &Target, clock: Clock) -> Result<Arc<Way>, Error> {
    let tls = match target.transport.is_tls() {
        true => {
            let mut config = secure::config(target)?;
            config.resumption = Resumption::disabled();
            Some(Arc::new(config))
        }
        false => None,
    };
    let address = match &target.socket {
        Some(path) => Address::Unix(find_socket(path.clone())?),
        None => Address::Inet(find(target, clock)?),
    };
    Ok(Arc::new(Way { target: target.clone(), address, tls }))
}

fn find_socket(path: PathBuf) -> Result<PathBuf, Error> {
    let source = match UnixStream::connect(&path) {
        Ok(_) => return Ok(path),
        Err(source) => source,
    };
    let place = path.display().to_string();
    Err(match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Error::NothingListens {
            place,
            hint: "is the gateway up, and is this the path of its `bind: unix:PATH`?",
        },
        _ => Error::Unreachable { place, source },
    })
}

/// The first address that answers in the target's protocol; what is above the socket is not tried.
fn find(target: &Target, clock: Clock) -> Result<SocketAddr, Error> {
    let unknown = || Error::NoSuchHost { host: target.host.clone() };
    let found = (target.host.as_str(), target.port).to_socket_addrs().map_err(|_| unknown())?;
    let (mut closed, mut fault) = (Vec::new(), None);
    for address in found.take(MAX_ADDRESSES) {
        let answer = match target.scheme {
            _ if target.is_stream() => TcpStream::connect_timeout(&address, OPEN_TIMEOUT).map(drop),
            Scheme::MqttSn => ask(address, |socket| connect_sn(socket, clock)),
            Scheme::Coap | Scheme::Mqtt => ask(address, |socket| ping_coap(socket, clock)),
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
    let transport = if target.is_stream() { "tcp" } else { "udp" };
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
