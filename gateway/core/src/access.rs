//! Who may be looked at at all: source addresses of a listener that serves only its own network.

use std::net::SocketAddr;

use motegate_broker::Handle;
use motegate_coap::endpoint::ObservationId;
use motegate_message::{ConnectionId, is_private};
use motegate_mqtt_sn::endpoint::ClientRef;

use crate::Sources;

/// Whether a listener looks at packets from `peer`.
pub(crate) fn admits(sources: Sources, peer: SocketAddr) -> bool {
    match sources {
        Sources::Any => true,
        Sources::Private => is_private(peer.ip()),
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
        let private: SocketAddr = "10.1.2.3:1".parse().unwrap();
        assert!(admits(Sources::Any, private) && admits(Sources::Private, private));
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
