//! Who may be looked at at all: source addresses of a listener that serves only its own network.

use std::net::{IpAddr, SocketAddr};

use motegate_broker::Handle;
use motegate_coap::endpoint::ObservationId;
use motegate_message::ConnectionId;
use motegate_mqtt_sn::endpoint::ClientRef;

use crate::Sources;

/// Whether a listener looks at packets from `peer`.
pub(crate) fn admits(sources: Sources, peer: SocketAddr) -> bool {
    match sources {
        Sources::Any => true,
        Sources::Private => is_private(peer.ip()),
    }
}

/// Loopback, link-local and private addresses (RFC 1918, RFC 3927, RFC 4193, RFC 4291 §2.5.6).
fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || v4.is_link_local(),
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => is_private(IpAddr::V4(v4)),
            None => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
        },
    }
}

/// Where a delivery goes: the broker's opaque handle, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    Mqtt(ConnectionId),
    Sn(ClientRef),
    Coap(ObservationId),
}

const PROTOCOL_SHIFT: u32 = 62;
const REFERENCE: u64 = (1 << PROTOCOL_SHIFT) - 1;

impl Target {
    /// Two bits of protocol, 62 of reference: generations past 2^30 do not occur (a slot would
    /// have to be reused a thousand million times).
    pub(crate) fn to_handle(self) -> Handle {
        let (protocol, reference) = match self {
            Target::Mqtt(conn) => (0, conn.get()),
            Target::Sn(client) => (1, client.0),
            Target::Coap(observation) => (2, observation.0),
        };
        Handle(protocol << PROTOCOL_SHIFT | reference & REFERENCE)
    }

    pub(crate) fn from_handle(handle: Handle) -> Target {
        let reference = handle.0 & REFERENCE;
        match handle.0 >> PROTOCOL_SHIFT {
            0 => Target::Mqtt(ConnectionId::from_u64(reference)),
            1 => Target::Sn(ClientRef(reference)),
            _ => Target::Coap(ObservationId(reference)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_sources() {
        for yes in ["127.0.0.1", "10.1.2.3", "192.168.0.9", "172.31.0.1", "169.254.3.4", "::1"] {
            assert!(is_private(yes.parse().unwrap()), "{yes}");
        }
        for yes in ["fe80::1", "fd00::1", "::ffff:10.0.0.1"] {
            assert!(is_private(yes.parse().unwrap()), "{yes}");
        }
        for no in ["8.8.8.8", "172.32.0.1", "2001:db8::1", "::ffff:8.8.8.8", "0.0.0.0"] {
            assert!(!is_private(no.parse().unwrap()), "{no}");
        }
        let public: SocketAddr = "8.8.8.8:1".parse().unwrap();
        assert!(admits(Sources::Any, public) && !admits(Sources::Private, public));
    }

    #[test]
    fn handles_take_apart() {
        for target in [
            Target::Mqtt(ConnectionId::new(u32::MAX, 5)),
            Target::Sn(ClientRef(7)),
            Target::Coap(ObservationId(1 << 40)),
        ] {
            assert_eq!(Target::from_handle(target.to_handle()), target);
        }
    }
}
