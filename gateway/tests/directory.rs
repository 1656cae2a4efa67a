//! A resource directory that does not do its part (RFC 9176 §4.1, §5): the gateway goes on, says so
//! once, and ends in time.
#![allow(clippy::unwrap_used)]
#![allow(clippy::disallowed_methods)] // real processes run in real time

mod common;

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::PATIENCE;
use common::client::{Configured, closed_udp, said};

fn text(directory: SocketAddr, block: &str) -> String {
    format!(
        "version: 1\ndurability: none\nlisteners:\n  \
         - {{name: edge, protocol: coap, bind: \"127.0.0.1:0\", anonymous: true}}\n\
         coap: {{resource_directory: {{uri: \"coap://{directory}/rd\", endpoint: gw-7{block}}}}}\n"
    )
}

/// The status, once it is in this state.
fn status(gateway: &Configured, state: &str) -> serde_json::Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let told = gateway.status()["resource_directory"].clone();
        if told["state"] == state {
            return told;
        }
        assert!(Instant::now() < deadline, "not {state}: {told}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Answers a registration with a location, as long as it is open; requests come back as text.
struct Directory {
    address: SocketAddr,
    open: Arc<AtomicBool>,
    heard: std::sync::mpsc::Receiver<Vec<u8>>,
}

impl Directory {
    fn start() -> Directory {
        Directory::that_asks(&[])
    }

    /// The first requests are answered with these codes and options.
    fn that_asks(answers: &'static [&'static [u8]]) -> Directory {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let open = Arc::new(AtomicBool::new(true));
        let is_open = open.clone();
        let (sender, heard) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let (mut bytes, mut answers) = ([0; 1500], answers.iter());
            while let Ok((len, from)) = socket.recv_from(&mut bytes) {
                let request = &bytes[..len];
                if sender.send(request.to_vec()).is_err() {
                    return;
                }
                if is_open.load(Ordering::Relaxed) {
                    let token = usize::from(request[0] & 15);
                    // ACK; 2.01 with Location-Path (8) `7`.
                    let answer = answers.next().copied().unwrap_or(b"\x41\x817");
                    let head = [0x60 | request[0] & 15, answer[0], request[2], request[3]];
                    let answer = [&head[..], &request[4..4 + token], &answer[1..]].concat();
                    socket.send_to(&answer, from).unwrap();
                }
            }
        });
        Directory { address, open, heard }
    }

    /// The next request that holds this.
    fn hears(&self, text: &[u8]) -> Vec<u8> {
        loop {
            let request = self.heard.recv_timeout(PATIENCE).expect("a request");
            if request.windows(text.len()).any(|part| part == text) {
                return request;
            }
        }
    }
}

/// Nothing listens where the directory should be: one line in the log, the reason in the status, and
/// everybody else is served.
#[test]
fn s4_1_a_directory_that_is_not_there_costs_one_line() {
    let nowhere = closed_udp();
    let mut gateway = Configured::start("rd-nowhere", &text(nowhere, ""));
    let line = gateway.says("not registered at the resource directory");
    assert!(line.contains(&format!("nothing listens on {nowhere}/udp")), "{line}");
    assert!(line.contains("\"WARN\"") && line.contains("\"again_in_s\":1"), "{line}");
    let told = status(&gateway, "failing");
    assert_eq!(told["uri"], format!("coap://{nowhere}/rd"));
    assert!(told["last_failure"].as_str().unwrap().contains("nothing listens"), "{told}");
    assert_eq!((&told["registrations"], &told["location"]), (&0.into(), &serde_json::Value::Null));
    let edge = gateway.address("coap");
    assert_eq!(said(&format!("put coap://{edge}/mqtt/a 1")).code, Some(0));
    // Nothing is to be removed, and nothing is waited for.
    let start = Instant::now();
    gateway.stop();
    assert_eq!(gateway.ended(PATIENCE), Some(0));
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

/// RFC 9176 §5: "If the registrant-ep uses an ephemeral port to register with, it MUST include the
/// base parameter"; and what it registers with is no listener's port.
#[test]
fn s5_the_base_is_the_listener_and_not_where_the_request_comes_from() {
    let directory = Directory::start();
    let gateway = Configured::start("rd-base", &text(directory.address, ", sector: \"floor é\""));
    let edge = gateway.address("coap");
    let request = directory.hears(b"base=");
    for part in [&b"\xb2rd"[..], b"ep=gw-7", "d=floor é".as_bytes(), b"lt=90000"] {
        let found = request.windows(part.len()).any(|window| window == part);
        assert!(found, "{}", String::from_utf8_lossy(&request));
    }
    let text = String::from_utf8_lossy(&request).into_owned();
    assert!(text.contains(&format!("base=coap://{edge}")), "{text}");
    assert!(text.ends_with("</mqtt>;rt=\"core.ps\""), "{text}");
    let told = status(&gateway, "registered");
    assert_eq!(told["location"], format!("coap://{}/7", directory.address));
    assert_eq!((&told["links"], &told["registrations"]), (&1.into(), &1.into()));
    assert!(told["last_failure"].is_null() && told["confirmed_ms"].as_u64() > Some(0), "{told}");
    // §5.3.2: removed at an orderly stop.
    gateway.stop();
    let removal = directory.hears(b"\xb17"); // Uri-Path (11) `7`
    assert_eq!(removal[1], 4, "DELETE");
}

/// §5.3.3: "An endpoint MUST support the use of the Echo option" (RFC 9175).
#[test]
fn s5_3_3_a_directory_that_asks_for_an_echo_gets_it() {
    // 4.01 with Echo (252) `e`.
    let directory = Directory::that_asks(&[b"\x81\xd1\xefe"]);
    let gateway = Configured::start("rd-echo", &text(directory.address, ""));
    directory.hears(b"base=");
    directory.hears(b"\xd1\xe0e\xff"); // behind Uri-Query (15), before the links
    assert_eq!(status(&gateway, "registered")["failures"], 0);
}

/// A directory that hangs is given three seconds for the last words, and a second signal ends them.
#[test]
fn s5_3_2_a_stop_does_not_wait_for_a_directory_that_hangs() {
    for patient in [true, false] {
        let directory = Directory::start();
        let mut gateway = Configured::start(
            if patient { "rd-hangs" } else { "rd-hangs-not" },
            &text(directory.address, ""),
        );
        status(&gateway, "registered");
        directory.open.store(false, Ordering::Relaxed);
        let start = Instant::now();
        gateway.stop();
        directory.hears(b"\xb17");
        if patient {
            gateway.says("was not removed in time");
            assert_eq!(gateway.ended(PATIENCE), Some(0));
            assert!(start.elapsed() >= Duration::from_secs(3), "{:?}", start.elapsed());
        } else {
            gateway.stop();
            assert_ne!(gateway.ended(PATIENCE), Some(0));
        }
        assert!(start.elapsed() < Duration::from_secs(6), "{:?}", start.elapsed());
    }
}
