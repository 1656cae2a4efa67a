//! Devices find the gateway by multicast (MQTT-SN 1.2 §6.1): real sockets on two links of a network
//! of the test's own.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::IoSliceMut;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use common::PATIENCE;
use common::network::{FarEnd, elsewhere, shell};
use nix::net::if_::if_nametoindex;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};

const PORT: u16 = 1885;
const GROUP: &str = "224.0.18.83";
const GROUP_6: &str = "ff02::1:83";

fn text(bind: &str, mqttsn: &str) -> String {
    format!(
        "version: 1\ndurability: none\ngateway: {{sn_gateway_id: 7}}\nlisteners:\n  \
         - {{name: field, protocol: mqttsn, bind: \"{bind}\", anonymous: true}}\n\
         mqttsn: {{{mqttsn}}}\n"
    )
}

/// A device on a link, on a port where the answers to the group are heard too.
struct Device {
    socket: UdpSocket,
    group: SocketAddr,
}

impl Device {
    fn new(link: &str, group: &str, port: u16) -> Device {
        let index = if_nametoindex(link).unwrap();
        let group: IpAddr = group.parse().unwrap();
        let any: SocketAddr = match group {
            IpAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, port).into(),
            IpAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, port).into(),
        };
        let socket =
            Socket::new(Domain::for_address(any), Type::DGRAM, Some(Protocol::UDP)).unwrap();
        socket.set_reuse_address(true).unwrap();
        // Not what it says itself, nor what is on the other link.
        socket.bind_device(Some(link.as_bytes())).unwrap();
        let group = match group {
            IpAddr::V4(ip) => {
                let interface = InterfaceIndexOrAddress::Index(index);
                socket.join_multicast_v4_n(&ip, &interface).unwrap();
                socket.set_multicast_loop_v4(false).unwrap();
                setsockopt(&socket, sockopt::Ipv4RecvTtl, &true).unwrap();
                SocketAddr::from((ip, PORT))
            }
            IpAddr::V6(ip) => {
                socket.set_only_v6(true).unwrap();
                socket.join_multicast_v6(&ip, index).unwrap();
                socket.set_multicast_loop_v6(false).unwrap();
                setsockopt(&socket, sockopt::Ipv6RecvHopLimit, &true).unwrap();
                SocketAddrV6::new(ip, PORT, 0, index).into()
            }
        };
        socket.bind(&any.into()).unwrap();
        Device { socket: socket.into(), group }
    }

    fn search(&self, radius: u8) {
        self.socket.send_to(&[3, 0x01, radius], self.group).unwrap();
    }

    /// The next datagram and how far it could have gone, without ADVERTISE.
    fn next(&self, within: Duration) -> Option<(Vec<u8>, i32)> {
        loop {
            let (bytes, hops) = self.any(within)?;
            if bytes[1] != 0 {
                return Some((bytes, hops));
            }
        }
    }

    fn any(&self, within: Duration) -> Option<(Vec<u8>, i32)> {
        self.socket.set_read_timeout(Some(within)).unwrap();
        let mut bytes = [0; 64];
        let mut control = nix::cmsg_space!(i32, i32);
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let fd = self.socket.as_raw_fd();
        let message = recvmsg::<()>(fd, &mut parts, Some(&mut control), MsgFlags::empty()).ok()?;
        let hops = message.cmsgs().unwrap().find_map(|message| match message {
            ControlMessageOwned::Ipv4Ttl(hops) | ControlMessageOwned::Ipv6HopLimit(hops) => {
                Some(hops)
            }
            _ => None,
        });
        let (len, hops) = (message.bytes, hops.expect("the kernel tells"));
        Some((bytes[..len].to_vec(), hops))
    }

    /// Asks until it is answered, then takes what is left of the answers.
    fn found(&self, what: &str) {
        let answered = (0..PATIENCE.as_millis() / 100).any(|_| {
            self.search(1);
            self.next(Duration::from_millis(100)).is_some()
        });
        assert!(answered, "nobody answers {what}");
        while self.next(SILENCE).is_some() {}
    }

    /// Is answered twice: itself and the group, there as far as it asked.
    fn asks(&self, radius: u8, hops: i32) {
        self.search(radius);
        let mut got: Vec<_> = (0..2).map(|_| self.next(PATIENCE).expect("an answer")).collect();
        got.sort();
        let info = vec![3, 0x02, 7];
        let mut wanted = [(info.clone(), hops), (info, 64)];
        wanted.sort();
        assert_eq!(got, wanted);
    }

    fn hears_nothing(&self, what: &str) {
        self.search(1);
        assert_eq!(self.next(SILENCE), None, "{what}");
    }

    /// An ADVERTISE of this period, from as far as there is.
    fn advertised(&self, seconds: u8) {
        let advertise = (vec![5, 0x00, 7, 0, seconds], 255);
        let heard = (0..20).any(|_| self.any(PATIENCE).expect("ADVERTISE") == advertise);
        assert!(heard, "ADVERTISE every {seconds} s");
    }
}

/// Longer than an answer takes.
const SILENCE: Duration = Duration::from_millis(400);

#[test]
fn a_device_finds_the_gateway_by_the_groups_that_it_has_joined() {
    if std::env::var_os("OWN_NETWORK").is_none() {
        return elsewhere("a_device_finds_the_gateway_by_the_groups_that_it_has_joined");
    }
    let far = FarEnd::new();
    let groups = format!("discovery_groups: [\"{GROUP}%n0\", \"{GROUP_6}%n1\"]");
    for bind in ["[::]:1885", "0.0.0.0:1885"] {
        let v6 = bind.starts_with('[');
        let groups =
            if v6 { groups.clone() } else { format!("discovery_groups: [\"{GROUP}%n0\"]") };
        let gateway = far.gateway("discovery", &text(bind, &groups));
        let [four, six] = [("m0", GROUP), ("m1", GROUP_6)].map(|(l, g)| Device::new(l, g, PORT));
        for (radius, hops) in [(3, 3), (0, 255)] {
            four.asks(radius, hops);
            if v6 {
                six.asks(radius, hops);
            }
        }
        // The same groups on the other link are not joined.
        for (link, group) in [("m1", GROUP), ("m0", GROUP_6)] {
            Device::new(link, group, PORT).hears_nothing("the other link");
        }
        // Who asks it alone is answered alone.
        four.socket.send_to(&[3, 0x01, 1], ("10.83.0.1", PORT)).unwrap();
        assert_eq!(four.next(PATIENCE), Some((vec![3, 0x02, 7], 64)));
        assert_eq!(four.next(SILENCE), None);
        // Nobody connects to a group.
        four.socket.send_to(&[7, 0x04, 0x04, 1, 0, 60, b'm'], four.group).unwrap();
        assert_eq!(four.next(SILENCE), None);
        drop(gateway);
    }
}

#[test]
fn a_reload_joins_and_leaves_and_an_interface_may_come_later() {
    if std::env::var_os("OWN_NETWORK").is_none() {
        return elsewhere("a_reload_joins_and_leaves_and_an_interface_may_come_later");
    }
    let far = FarEnd::new();
    let of = |groups: &str| format!("discovery_groups: [{groups}]");
    let gateway = far.gateway("groups", &text("[::]:1885", &of("")));
    let [near, other] = ["m0", "m1"].map(|link| Device::new(link, GROUP, PORT));
    near.hears_nothing("no group is joined");
    let reload = |groups: &str| {
        std::fs::write(gateway.directory.join("motegate.yaml"), text("[::]:1885", &of(groups)))
            .unwrap();
        gateway.signal("HUP");
    };
    reload(&format!("\"{GROUP}%n0\""));
    near.found("a group joined by a reload");
    other.hears_nothing("the other link");
    reload(&format!("\"{GROUP}%n1\", \"{GROUP}%n2\""));
    other.found("a group joined by the next");
    near.hears_nothing("the group was left");
    // Nobody was kept waiting for n2, which comes now, goes, and comes again.
    for _ in 0..2 {
        far.connect(2);
        let late = Device::new("m2", GROUP, PORT);
        late.found("a group on an interface that came later");
        shell("ip link del m2");
    }
    other.asks(5, 5);
}

#[test]
fn the_gateway_advertises_to_groups_and_broadcast_addresses() {
    if std::env::var_os("OWN_NETWORK").is_none() {
        return elsewhere("the_gateway_advertises_to_groups_and_broadcast_addresses");
    }
    let far = FarEnd::new();
    let devices = [("m0", GROUP, PORT), ("m1", GROUP, PORT), ("m1", GROUP_6, 1999)];
    let [four, broadcast, six] = devices.map(|(link, group, port)| Device::new(link, group, port));
    let to = format!("[\"{GROUP}%n0\", 10.83.1.255, \"[{GROUP_6}%n1]:1999\", \"{GROUP}%none\"]");
    let mqttsn = |every: u8| format!("advertise: {{every: {every}s, to: {to}}}");
    let gateway = far.gateway("advertise", &text("[::]:1885", &mqttsn(1)));
    for _ in 0..2 {
        four.advertised(1);
        broadcast.advertised(1);
        six.advertised(1);
    }
    std::fs::write(gateway.directory.join("motegate.yaml"), text("[::]:1885", &mqttsn(60)))
        .unwrap();
    gateway.signal("HUP");
    four.advertised(60);
    broadcast.advertised(60);
    six.advertised(60);
    assert_eq!(four.any(2 * SILENCE), None, "the next one is due in a minute");
    // From IPv4 sockets the same, as far as they go.
    drop(gateway);
    let _gateway = far.gateway("advertise", &text("0.0.0.0:1885", &mqttsn(2)));
    four.advertised(2);
    broadcast.advertised(2);
    assert_eq!(six.any(SILENCE), None);
}
