//! [`of`]: the URI by which clients reach a listener, as far as this machine knows it (RFC 9176 §5,
//! `base`).
//!
//! The registration leaves from a socket of its own, whose port is no listener's: the directory
//! must be told. An address that the listener is bound to is taken; of one on all addresses, it is
//! the address from which this machine reaches the directory.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use motegate_core::Protocol;

use crate::setup::Bind;

/// Where a listener is for clients of the directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Base {
    /// Scheme and authority.
    pub(super) uri: String,
    /// Only this machine reaches it, and the listener would be reached from elsewhere, too.
    pub(super) is_here_only: bool,
}

/// From `local`, the address that the way to the directory begins at. `binds` are the listener's.
pub(super) fn of(binds: &[Bind], local: IpAddr) -> Result<Base, String> {
    let addresses: Vec<(SocketAddr, &Bind)> =
        binds.iter().filter_map(|bind| Some((bind.addr.ip()?, bind))).collect();
    let is_any =
        |addr: &SocketAddr| addr.ip().is_unspecified() && (addr.is_ipv6() || local.is_ipv4());
    let is_elsewhere = |addr: &SocketAddr| !addr.ip().is_unspecified() && !addr.ip().is_loopback();
    let find = |fits: &dyn Fn(&SocketAddr) -> bool| {
        addresses.iter().find(|(addr, _)| fits(addr)).map(|(addr, bind)| (*addr, *bind))
    };
    let found = find(&|addr| addr.ip() == local)
        .or_else(|| find(&is_any))
        .or_else(|| find(&|addr| is_elsewhere(addr) && addr.is_ipv4() == local.is_ipv4()))
        .or_else(|| find(&is_elsewhere))
        .or_else(|| find(&|addr| local.is_loopback() && addr.ip().is_loopback()));
    let Some((addr, bind)) = found else {
        return Err(match addresses.first() {
            None => "there is no such listener".to_owned(),
            Some((addr, bind)) => format!(
                "listener {} on {addr} is not reached at {local}, from where the directory is: \
                 write `base` with the URI by which clients reach it",
                bind.name
            ),
        });
    };
    let is_wildcard = addr.ip().is_unspecified();
    let ip = if is_wildcard { local } else { addr.ip() };
    let (scheme, usual) = scheme(bind);
    // RFC 9176 §5: "followed by its port (if it was not the protocol's default one)"; and a
    // link-local address "MUST NOT contain a Zone Identifier", which an IpAddr has not.
    let (open, close) = if ip.is_ipv6() { ("[", "]") } else { ("", "") };
    let port = if addr.port() == usual { String::new() } else { format!(":{}", addr.port()) };
    let uri = format!("{scheme}://{open}{ip}{close}{port}");
    Ok(Base { uri, is_here_only: is_wildcard && ip.is_loopback() })
}

/// The URI scheme of a CoAP listener, and its port (RFC 7252 §6, RFC 8323 §8).
fn scheme(bind: &Bind) -> (&'static str, u16) {
    let scheme = bind.transport.word(Protocol::Coap);
    let port = match scheme {
        "coaps+tcp" => 5684,
        "coap+ws" => 80,
        "coaps+ws" => 443,
        _ => 5683,
    };
    (scheme, port)
}

/// The address that datagrams to `peer` leave from; none is sent.
pub(super) fn local(peer: SocketAddr) -> std::io::Result<IpAddr> {
    let any: SocketAddr = match peer {
        SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        SocketAddr::V6(_) => ([0_u16; 8], 0).into(),
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(peer)?;
    Ok(socket.local_addr()?.ip())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use motegate_config::Transport;

    use super::*;

    fn bind(addr: &str) -> Bind {
        Bind {
            name: "edge".into(),
            protocol: Protocol::Coap,
            addr: addr.parse::<SocketAddr>().unwrap().into(),
            transport: Arc::default(),
        }
    }

    fn uri(binds: &[&str], local: &str) -> Result<String, String> {
        let binds: Vec<Bind> = binds.iter().map(|addr| bind(addr)).collect();
        of(&binds, local.parse().unwrap()).map(|base| base.uri)
    }

    /// RFC 9176 §5: the listener's port, and an address that it is reached at.
    #[test]
    fn a_base_is_where_the_listener_is_reached() {
        for (binds, local, wanted) in [
            (&["192.0.2.7:5683"][..], "192.0.2.7", "coap://192.0.2.7"),
            (&["192.0.2.7:61616"], "198.51.100.1", "coap://192.0.2.7:61616"),
            (&["0.0.0.0:5683"], "192.0.2.7", "coap://192.0.2.7"),
            (&["[::]:5684"], "192.0.2.7", "coap://192.0.2.7:5684"),
            (&["[::]:5683"], "2001:db8::7", "coap://[2001:db8::7]"),
            (&["[::]:5683"], "fe80::7", "coap://[fe80::7]"),
            (&["[2001:db8::8]:1", "192.0.2.7:2"], "192.0.2.9", "coap://192.0.2.7:2"),
            (&["192.0.2.7:2", "192.0.2.8:3"], "192.0.2.8", "coap://192.0.2.8:3"),
            (&["127.0.0.1:1", "192.0.2.7:2"], "2001:db8::7", "coap://192.0.2.7:2"),
            (&["127.0.0.1:1"], "127.0.0.1", "coap://127.0.0.1:1"),
            (&["127.0.0.1:1"], "::1", "coap://127.0.0.1:1"),
        ] {
            assert_eq!(uri(binds, local).as_deref(), Ok(wanted), "{binds:?} {local}");
        }
        for (binds, local) in [("127.0.0.1:1", "192.0.2.7"), ("0.0.0.0:1", "2001:db8::7")] {
            let told = uri(&[binds], local).unwrap_err();
            assert!(told.contains("write `base`"), "{told}");
        }
        assert_eq!(uri(&[], "::1").unwrap_err(), "there is no such listener");
    }

    #[test]
    fn all_addresses_as_seen_from_here_are_here_only() {
        let here = |addr, local: &str| of(&[bind(addr)], local.parse().unwrap()).unwrap();
        assert!(here("[::]:1", "127.0.0.1").is_here_only);
        assert!(!here("127.0.0.1:1", "127.0.0.1").is_here_only, "as it is bound");
        assert!(!here("[::]:1", "192.0.2.7").is_here_only);
    }

    #[test]
    fn connections_have_schemes_of_their_own() {
        let mut tcp = bind("192.0.2.7:5683");
        tcp.transport = Arc::new(Transport { coap: true, ..Transport::default() });
        let base = of(&[tcp], "192.0.2.7".parse().unwrap()).unwrap();
        assert_eq!(base.uri, "coap+tcp://192.0.2.7");
    }

    #[test]
    fn the_way_to_this_machine_begins_here() {
        assert_eq!(local(([127, 0, 0, 1], 5683).into()).unwrap(), IpAddr::from([127, 0, 0, 1]));
    }
}
