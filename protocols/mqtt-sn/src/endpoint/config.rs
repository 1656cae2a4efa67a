//! What the MQTT-SN endpoint is told at construction; the keys of `config.md`.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use motegate_message::{Group, ListenerId, Network};

/// Bytes of a PUBLISH before its payload (MQTT-SN 1.2 §5.4.12), with the long form of the length.
pub(super) const PUBLISH_HEAD: usize = 9;

/// Which new source addresses may continue a known session by PINGREQ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rebind {
    /// The same IP address, any port (NAT).
    #[default]
    SameHost,
    /// Any address.
    Any,
    /// None: the client must CONNECT.
    Never,
}

/// Whose forwarder encapsulation is taken (MQTT-SN 1.2 §5.5).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Forwarders {
    /// Everybody's.
    #[default]
    Allow,
    /// Nobody's.
    Deny,
    /// That of forwarders at these addresses.
    From(Vec<Network>),
}

impl Forwarders {
    pub(super) fn admits(&self, ip: IpAddr) -> bool {
        match self {
            Forwarders::Allow => true,
            Forwarders::Deny => false,
            Forwarders::From(networks) => networks.iter().any(|network| network.contains(ip)),
        }
    }
}

/// Settings of the endpoint; the defaults are those of the reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Names of the listeners, by [`ListenerId`]; empty where it is not one of MQTT-SN. The
    /// journal names them, because numbers change with the configuration.
    pub listeners: Vec<Box<str>>,
    /// GwId, 1 to 255.
    pub gateway_id: u8,
    /// Between ADVERTISE messages (T_ADV).
    pub advertise_every: Duration,
    /// Where ADVERTISE goes: groups or broadcast addresses, by every listener that reaches them;
    /// empty is off.
    pub advertise_to: Vec<Group>,
    /// T_retry.
    pub retry_timeout: Duration,
    /// N_retry.
    pub max_retries: u8,
    /// Longest sleep granted.
    pub max_sleep: Duration,
    /// Whose forwarder encapsulation is taken.
    pub forwarders: Forwarders,
    /// Address change of a known client.
    pub rebind: Rebind,
    /// Topic ids a client may register.
    pub max_topics_per_client: usize,
    /// Longest client id, in bytes.
    pub max_client_id_length: usize,
    /// Most clients known at once, half-open ones included.
    pub max_clients: usize,
    /// How long a session without CleanSession outlives its connection.
    pub session_expiry: Duration,
    /// Largest datagram sent, in bytes.
    pub max_datagram: usize,
    /// Keep going without: deliberate faults for the simulation.
    #[cfg(feature = "planted-faults")]
    pub faults: Faults,
}

/// Bounds that a listener may have of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenerBounds {
    /// As [`Config::max_topics_per_client`].
    pub max_topics_per_client: usize,
    /// As [`Config::max_client_id_length`].
    pub max_client_id_length: usize,
}

impl Config {
    /// Those of a listener that has none of its own.
    #[must_use]
    pub const fn bounds(&self) -> ListenerBounds {
        ListenerBounds {
            max_topics_per_client: self.max_topics_per_client,
            max_client_id_length: self.max_client_id_length,
        }
    }
}

/// Deliberate faults that the simulation must find.
#[cfg(feature = "planted-faults")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Faults {
    /// A repeated PUBLISH at QoS 1/2 is published again.
    pub no_duplicate_check: bool,
    /// PINGRESP leaves before the buffer is out.
    pub early_pingresp: bool,
}

impl Config {
    /// Bytes of the longest payload that a client without a forwarder can be sent.
    #[must_use]
    pub const fn max_payload(&self) -> usize {
        self.max_datagram.saturating_sub(PUBLISH_HEAD)
    }

    /// Empty for one that there is not.
    pub(super) fn listener_name(&self, id: ListenerId) -> &str {
        self.listeners.get(usize::from(id.0)).map_or("", |name| name)
    }

    pub(super) fn listener_id(&self, name: &str) -> Option<ListenerId> {
        let at = self.listeners.iter().position(|known| !name.is_empty() && **known == *name)?;
        u16::try_from(at).ok().map(ListenerId)
    }
}

impl Default for Config {
    fn default() -> Self {
        Config {
            listeners: Vec::new(),
            gateway_id: 1,
            advertise_every: Duration::from_secs(15 * 60),
            advertise_to: Vec::new(),
            retry_timeout: Duration::from_secs(10),
            max_retries: 4,
            max_sleep: Duration::from_secs(24 * 3600),
            forwarders: Forwarders::Allow,
            rebind: Rebind::SameHost,
            max_topics_per_client: 1000,
            max_client_id_length: 1024,
            max_clients: 1_000_000,
            session_expiry: Duration::from_secs(30 * 24 * 3600),
            max_datagram: 1400,
            #[cfg(feature = "planted-faults")]
            faults: Faults::default(),
        }
    }
}
