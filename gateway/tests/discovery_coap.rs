//! Clients find the gateway by CoAP's groups (RFC 7252 §8): real sockets on two links of a network of
//! the test's own.
#![allow(clippy::unwrap_used)]

mod common;

use std::net::{IpAddr, SocketAddr, SocketAddrV6, UdpSocket};
use std::time::Duration;

use common::network::{FarEnd, elsewhere};
use nix::net::if_::if_nametoindex;
use socket2::{Domain, Protocol, Socket, Type};

const PORT: u16 = 5683;
/// Longer than the leisure of 5 s.
const LEISURE: Duration = Duration::from_secs(7);
/// NON GET with the token `t`, `.well-known/core`, `rt=core.ps`.
const GET: &[u8] = b"\x51\x01\0\x07t\xbb.well-known\x04core\x4art=core.ps";
/// The same as a CON, and of something that there is not.
const CON: &[u8] = b"\x41\x01\0\x08t\xbb.well-known\x04core\x4art=core.ps";
const OTHER: &[u8] = b"\x51\x01\0\x09t\xbb.well-known\x04core\x46rt=xyz";

fn text(bind: &str, groups: &str) -> String {
    format!(
        "version: 1\ndurability: none\nlisteners:\n  \
         - {{name: edge, protocol: coap, bind: \"{bind}\", anonymous: true}}\n\
         coap: {{multicast_discovery: [{groups}]}}\n"
    )
}

/// A client on a link.
fn client(link: &str, group: IpAddr) -> UdpSocket {
    let domain = if group.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP)).unwrap();
    socket.bind_device(Some(link.as_bytes())).unwrap();
    let any: SocketAddr = match group {
        IpAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        IpAddr::V6(_) => ([0_u16; 8], 0).into(),
    };
    socket.bind(&any.into()).unwrap();
    socket.into()
}

/// What comes until nothing has come for as long as the leisure is, and from where.
fn answers(socket: &UdpSocket) -> Vec<(Vec<u8>, SocketAddr)> {
    socket.set_read_timeout(Some(LEISURE)).unwrap();
    let (mut all, mut bytes) = (Vec::new(), [0; 256]);
    while let Ok((len, from)) = socket.recv_from(&mut bytes) {
        all.push((bytes[..len].to_vec(), from));
    }
    all
}

#[test]
fn a_client_finds_the_gateway_by_the_groups_that_it_has_joined() {
    if std::env::var_os("OWN_NETWORK").is_none() {
        return elsewhere("a_client_finds_the_gateway_by_the_groups_that_it_has_joined");
    }
    let far = FarEnd::new();
    let groups = "\"224.0.1.187%n0\", \"ff02::fd%n0\", \"ff05::fd%n1\"";
    let _gateway = far.gateway("coap-groups", &text("[::]:5683", groups));
    let asks = |link: &str, group: &str| {
        let (index, ip) = (if_nametoindex(link).unwrap(), group.parse().unwrap());
        let to = match ip {
            IpAddr::V4(ip) => SocketAddr::from((ip, PORT)),
            IpAddr::V6(ip) => SocketAddrV6::new(ip, PORT, 0, index).into(),
        };
        let socket = client(link, ip);
        for datagram in [GET, GET, CON, OTHER] {
            socket.send_to(datagram, to).unwrap();
        }
        socket
    };
    // All at once, so that the leisure is waited for once.
    let joined = [("m0", "224.0.1.187"), ("m0", "ff02::fd"), ("m1", "ff05::fd")];
    let others = [("m1", "224.0.1.187"), ("m1", "ff02::fd"), ("m0", "ff05::fd")];
    let sockets = |of: [(&str, &str); 3]| of.map(|(link, group)| asks(link, group));
    let (asked, unheard) = (sockets(joined), sockets(others));
    std::thread::scope(|scope| {
        let wait = |socket| scope.spawn(move || answers(socket));
        let (asked, unheard) = (asked.each_ref().map(wait), unheard.each_ref().map(wait));
        for (socket, what) in asked.into_iter().zip(joined) {
            let answers = socket.join().unwrap();
            let [(answer, from)] = &answers[..] else { panic!("{what:?}: {answers:02x?}") };
            assert!(answer.starts_with(b"\x51\x45") && answer[4] == b't', "{answer:02x?}");
            assert!(answer.ends_with(b"</mqtt>;rt=\"core.ps\""), "{answer:02x?}");
            assert!(!from.ip().is_multicast() && from.port() == PORT, "{from}");
        }
        for (socket, what) in unheard.into_iter().zip(others) {
            assert_eq!(socket.join().unwrap(), [], "not joined on that link: {what:?}");
        }
    });
}

/// `coap.multicast_discovery` is empty: no group is heard; with `0.0.0.0` those of IPv4 are.
#[test]
fn groups_are_off_by_default_and_ipv4_alone_has_them() {
    if std::env::var_os("OWN_NETWORK").is_none() {
        return elsewhere("groups_are_off_by_default_and_ipv4_alone_has_them");
    }
    let far = FarEnd::new();
    let group = "224.0.1.187".parse().unwrap();
    for (bind, groups, found) in [("[::]:5683", "", 0), ("0.0.0.0:5683", "\"224.0.1.187%n0\"", 1)] {
        let gateway = far.gateway("coap-groups-off", &text(bind, groups));
        let socket = client("m0", group);
        socket.send_to(GET, (group, PORT)).unwrap();
        assert_eq!(answers(&socket).len(), found, "{bind} {groups}");
        drop(gateway);
    }
}
