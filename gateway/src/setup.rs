//! [`Setup`]: what a gateway is started with.
//!
//! The one place where the shell meets the `config` crate: everything else takes a `Setup`.

use std::net::SocketAddr;
use std::sync::Arc;

use motegate_core::{Listener, Protocol, Sources};
use motegate_mapping::Table;

/// A listener's place in the world; the core knows the rest of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// As in the configuration.
    pub name: Arc<str>,
    /// What is spoken on it.
    pub protocol: Protocol,
    /// Port 0 lets the system choose.
    pub addr: SocketAddr,
}

/// Everything a gateway needs at its start.
#[derive(Debug, Clone)]
pub struct Setup {
    /// For the core; its listeners are those of `binds`, in the same order.
    pub core: motegate_core::Config,
    /// The rules.
    pub table: Arc<Table>,
    /// Where to listen, by [`motegate_message::ListenerId`].
    pub binds: Vec<Bind>,
    /// Most stream connections open at a time; more are accepted and closed.
    pub max_connections: usize,
}

impl Setup {
    /// What `motegate dev` runs with: MQTT, MQTT-SN and CoAP on all addresses and their usual
    /// ports, nothing saved, clients without identity welcome from private addresses, or from any
    /// if `expose`.
    #[must_use]
    pub fn dev(expose: bool) -> Self {
        let mut setup = Setup {
            core: motegate_core::Config::default(),
            table: Arc::new(Table::passthrough("mqtt")),
            binds: Vec::new(),
            max_connections: 100_000,
        };
        let all = |port| SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, port));
        let sources = if expose { Sources::Any } else { Sources::Private };
        setup.listen("mqtt-1883", Protocol::Mqtt, all(1883), sources);
        setup.listen("mqttsn-1885", Protocol::MqttSn, all(1885), sources);
        setup.listen("coap-5683", Protocol::Coap, all(5683), sources);
        setup
    }

    fn listen(&mut self, name: &str, protocol: Protocol, addr: SocketAddr, sources: Sources) {
        let realm = match protocol {
            Protocol::Mqtt => "mqtt",
            Protocol::MqttSn => "mqttsn",
            Protocol::Coap => "coap",
        };
        self.core.listeners.push(Listener {
            name: name.into(),
            protocol,
            anonymous: true,
            sources,
            realm: realm.into(),
            tenant: "".into(),
            mount: "".into(),
            client_from: motegate_core::ClientFrom::Address,
        });
        self.binds.push(Bind { name: name.into(), protocol, addr });
    }

    /// Moves every listener of a protocol to another address.
    pub fn rebind(&mut self, protocol: Protocol, addr: SocketAddr) {
        for bind in self.binds.iter_mut().filter(|bind| bind.protocol == protocol) {
            bind.addr = addr;
        }
    }
}

/// A configuration that was read and found good.
#[derive(Debug)]
pub(crate) struct Configured {
    pub(crate) setup: Setup,
    pub(crate) log_level: String,
    pub(crate) log_format: crate::log::Format,
    /// What is worth a second look.
    pub(crate) warnings: Vec<String>,
    /// One line for `motegate check`.
    pub(crate) summary: String,
}

/// Reads and checks configuration files.
pub(crate) fn load(files: &[std::path::PathBuf]) -> Result<Configured, String> {
    Err(format!("configuration files are not read yet: {files:?}"))
}
