//! Independent CoAP servers, for our client commands: libcoap's and one on aiocoap, and their resource
//! directories, for the gateway.
//!
//! A server has a port of its own on loopback and keeps it over a restart; it is ready when it
//! answers a CoAP ping, or takes a connection. [`motegate()`] is the program whose commands are asked.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::certificates::Certificates;
use crate::gateway::binary;
use crate::peer::{from_venv, program};
use crate::process::{Finished, Process};

/// Pings before a server counts as not coming up.
const PINGS: u32 = 300;

/// Whose server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Make {
    /// `coap-server-notls`, where PUT makes up to 20 resources.
    Libcoap,
    /// `peers/coap_server.py`.
    Aiocoap,
    /// `coap-rd-notls`.
    LibcoapDirectory,
    /// `aiocoap-rd`.
    AiocoapDirectory,
}

/// Over what it is spoken to (RFC 8323 §8); each server has those that it can.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// `coap`.
    Udp,
    /// `coap+tcp`.
    Tcp,
    /// `coaps+tcp`, of libcoap: `coap-server-openssl`.
    Tls,
    /// `coap+ws`, of aiocoap.
    WebSocket,
}

/// A running server; dropped, it is killed.
#[derive(Debug)]
pub struct Server {
    make: Make,
    way: Way,
    /// Where it listens.
    pub address: SocketAddr,
    /// None while it is away.
    process: Option<Process>,
    /// What it shows by TLS.
    certificates: Option<Certificates>,
}

impl Server {
    /// Starts one on a free port.
    ///
    /// # Panics
    /// If it is not installed or does not come up.
    pub fn start(make: Make) -> Server {
        Server::over(make, Way::Udp)
    }

    /// Starts one that is spoken to this way.
    ///
    /// # Panics
    /// As [`start`](Server::start).
    pub fn over(make: Make, way: Way) -> Server {
        let certificates = (way == Way::Tls).then(Certificates::make);
        let mut server = Server { make, way, address: free_port(), process: None, certificates };
        server.up();
        server
    }

    /// Starts it again at its old port, with nothing in its memory.
    ///
    /// # Panics
    /// As [`start`](Server::start).
    pub fn up(&mut self) {
        let port = self.address.port().to_string();
        let command = match self.make {
            Make::Libcoap => {
                let kind = if self.way == Way::Tls { "openssl" } else { "notls" };
                let mut command = program(&format!("coap-server-{kind}"), "libcoap3-bin");
                if let Some(certificates) = &self.certificates {
                    command.arg("-n").arg("-c").arg(certificates.server());
                    command.arg("-j").arg(certificates.key());
                }
                command.args(["-A", "127.0.0.1", "-p", &port, "-d", "20", "-v", "7"]);
                command
            }
            Make::LibcoapDirectory => {
                let mut command = program("coap-rd-notls", "libcoap3-bin");
                command.args(["-A", "127.0.0.1", "-p", &port, "-v", "7"]);
                command
            }
            Make::AiocoapDirectory => {
                let mut command = from_venv("aiocoap-rd");
                command.args(["--bind", &self.address.to_string()]);
                command.env("PYTHONDONTWRITEBYTECODE", "1");
                command.env("AIOCOAP_SERVER_TRANSPORT", "udp6");
                command
            }
            Make::Aiocoap => {
                let mut command = from_venv("python3");
                let peers = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers");
                command.arg(peers.join("coap_server.py")).arg(&port);
                command.env("PYTHONDONTWRITEBYTECODE", "1");
                let transport = match self.way {
                    Way::Udp => "udp6",
                    Way::Tcp | Way::Tls => "tcpserver",
                    Way::WebSocket => "ws",
                };
                command.env("AIOCOAP_SERVER_TRANSPORT", transport);
                command
            }
        };
        let mut process = Process::start(command);
        if self.make == Make::Aiocoap {
            process.wait_for_text("serving");
        }
        self.process = Some(process);
        if !self.answers() {
            let make = self.make;
            panic!("no pong from {make:?}\n{}", self.process().transcript());
        }
    }

    /// Kills it.
    pub fn down(&mut self) {
        self.process = None;
    }

    /// Its process, for what it prints and for what it is told.
    ///
    /// # Panics
    /// While it is away.
    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("the server is up")
    }

    /// `coap://ADDRESS/PATH`, or by the scheme of its way.
    pub fn url(&self, path: &str) -> String {
        let scheme = match self.way {
            Way::Udp => "coap",
            Way::Tcp => "coap+tcp",
            Way::Tls => "coaps+tcp",
            Way::WebSocket => "coap+ws",
        };
        format!("{scheme}://{}/{path}", self.place())
    }

    /// The authority that has issued its certificate.
    ///
    /// # Panics
    /// Without TLS.
    pub fn authority(&self) -> String {
        let certificates = self.certificates.as_ref().expect("it has TLS");
        certificates.authority().display().to_string()
    }

    /// libcoap has TLS on the next port, aiocoap its WebSocket 3,000 further.
    fn place(&self) -> SocketAddr {
        let further = match self.way {
            Way::Udp | Way::Tcp => 0,
            Way::Tls => 1,
            Way::WebSocket => 3_000,
        };
        SocketAddr::new(self.address.ip(), self.address.port() + further)
    }

    /// RFC 7252 §4.3: an empty CON is answered by a reset.
    fn answers(&self) -> bool {
        if self.way != Way::Udp {
            return (0..PINGS).any(|_| {
                let open = TcpStream::connect(self.place()).is_ok();
                if !open {
                    std::thread::sleep(Duration::from_millis(20));
                }
                open
            });
        }
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        socket.connect(self.address).expect("the server has a loopback address");
        let wait = Some(Duration::from_millis(100));
        socket.set_read_timeout(wait).expect("a deadline is not zero");
        (0..PINGS).any(|_| {
            // A closed port is an error at once, or at the next call: then it is not up yet.
            let heard = socket.send(&[0x40, 0, 0x12, 0x34]).and_then(|_| socket.recv(&mut [0; 16]));
            if heard.is_err() {
                std::thread::sleep(Duration::from_millis(20));
            }
            heard.is_ok()
        })
    }
}

/// Free by UDP, and by TCP with those that are counted from it.
fn free_port() -> SocketAddr {
    for _ in 0..1_000 {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        let address = socket.local_addr().expect("a bound socket has an address");
        let free = |further: u16| {
            let port = address.port().checked_add(further);
            port.is_some_and(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok())
        };
        if [0, 1, 3_000].into_iter().all(free) {
            return address;
        }
    }
    panic!("loopback has no free port");
}

/// `motegate` with these arguments, to its end.
pub fn motegate(arguments: &[&str]) -> Finished {
    running(arguments).finish()
}

/// `motegate` with these arguments, still running.
pub fn running(arguments: &[&str]) -> Process {
    let mut command = Command::new(binary());
    command.args(arguments).env_remove("MOTEGATE_LOG");
    Process::start(command)
}

impl Finished {
    /// It ended well: what it printed on standard output, and `talk` is all of standard error.
    ///
    /// # Panics
    /// If not.
    #[track_caller]
    pub fn good(&self, talk: &str) -> String {
        assert_eq!(self.status.code(), Some(0), "{self:#?}");
        assert_eq!(self.stderr.join("\n"), talk, "{self:#?}");
        self.stdout.join("\n")
    }

    /// It ended with this exit code, without data, and with `word` on standard error.
    ///
    /// # Panics
    /// If not.
    #[track_caller]
    pub fn bad(&self, code: i32, word: &str) {
        assert_eq!(self.status.code(), Some(code), "{self:#?}");
        assert!(self.stdout.is_empty(), "{self:#?}");
        assert!(self.stderr.iter().any(|line| line.contains(word)), "no {word}: {self:#?}");
    }
}
