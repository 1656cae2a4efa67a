//! [`Setup`]: what a gateway is started with.
//!
//! The one place where the shell meets the `config` crate: everything else takes a `Setup`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use motegate_config::{
    Address, Config, Durability, Findings, Layers, LogFormat, Resolved, ResourceDirectory,
    Transport,
};
use motegate_core::Protocol;
use motegate_mapping::Table;
use motegate_message::Group;

use crate::control::ControlPlace;
use crate::log;
use crate::notices;
use crate::store::{StoreSetup, SyncPolicy};

/// What `motegate run` and `motegate check` read when they are given no file.
pub(crate) const DEFAULT_FILE: &str = "motegate.yaml";

/// A listener's place in the world; the core knows the rest of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// As in the configuration.
    pub name: Arc<str>,
    /// What is spoken on it.
    pub protocol: Protocol,
    /// Port 0 lets the system choose. `[::]` is every address, IPv4 included; on a machine
    /// without IPv6 it becomes `0.0.0.0`.
    pub addr: Address,
    /// What lies between the socket and MQTT, or CoAP.
    pub transport: Arc<Transport>,
}

impl Bind {
    /// As in `protocol:` of the configuration, but for MQTT-SN, which is `mqtt-sn` in logs.
    pub(crate) fn word(&self) -> &'static str {
        match self.protocol {
            Protocol::MqttSn => notices::protocol(self.protocol),
            protocol => self.transport.word(protocol),
        }
    }

    /// Its socket takes datagrams, not connections.
    pub(crate) fn has_datagrams(&self) -> bool {
        match self.protocol {
            Protocol::Mqtt => false,
            Protocol::MqttSn => true,
            Protocol::Coap => !self.transport.coap,
        }
    }
}

/// The control interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    /// Where it listens.
    pub place: ControlPlace,
    /// Whether a gateway without it does not start; otherwise it says why and serves on.
    pub required: bool,
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
    /// Groups that listeners of a protocol join, those on all addresses.
    pub groups: Vec<(Protocol, Group)>,
    /// Where the gateway registers itself, if anywhere.
    pub directory: Option<ResourceDirectory>,
    /// Most stream connections open at a time; more are accepted and closed.
    pub max_connections: usize,
    /// What is kept on disk, and where; `None` for a gateway that keeps nothing. `core.durable`
    /// says the same.
    pub store: Option<StoreSetup>,
    /// The control interface; `None` for a gateway that only its program asks.
    pub control: Option<Control>,
}

impl Setup {
    /// What `motegate dev` runs with: MQTT, MQTT-SN and CoAP on all addresses and their usual
    /// ports, nothing saved, clients without identity welcome from private addresses, or from any
    /// if `expose`.
    #[must_use]
    pub fn dev(expose: bool) -> Self {
        Setup { control: None, ..Setup::from(Config::dev(expose)) }
    }

    /// Moves the listeners of a protocol to another address: the first one to just that, the others
    /// (MQTT over WebSocket) to their own port there, or to a free one where the first takes one. CoAP
    /// over TCP has the port of CoAP over UDP.
    pub fn rebind(&mut self, protocol: Protocol, addr: SocketAddr) {
        let of_it = self.binds.iter_mut().filter(|bind| bind.protocol == protocol);
        for (i, bind) in of_it.enumerate() {
            let own = i > 0 && addr.port() > 0 && protocol != Protocol::Coap;
            let port = bind.addr.port().filter(|_| own);
            bind.addr = SocketAddr::new(addr.ip(), port.unwrap_or(addr.port())).into();
        }
    }
}

impl From<Resolved> for Setup {
    fn from(resolved: Resolved) -> Self {
        let binds = resolved.listeners.into_iter().map(|bind| Bind {
            name: bind.name,
            protocol: bind.protocol,
            addr: bind.addr,
            transport: bind.transport,
        });
        let sync = match resolved.durability {
            Durability::PowerLoss => Some(SyncPolicy::EachGroup),
            Durability::ProcessCrash => Some(SyncPolicy::InBackground),
            Durability::None => None,
        };
        let store = sync.map(|sync| StoreSetup { directory: resolved.data_dir.clone(), sync });
        // A directory that was asked for must be had; the default one may be out of reach.
        let control = Control {
            place: ControlPlace::Directory(resolved.data_dir),
            required: resolved.data_dir_given,
        };
        Setup {
            store,
            control: Some(control),
            binds: binds.collect(),
            core: resolved.core,
            table: resolved.table,
            groups: resolved.groups,
            directory: resolved.directory,
            max_connections: resolved.max_connections,
        }
    }
}

/// A configuration that was read and found good.
#[derive(Debug)]
pub(crate) struct Configured {
    pub(crate) setup: Setup,
    pub(crate) log_level: &'static str,
    pub(crate) log_format: log::Format,
    /// What is worth a second look, drawn for a terminal.
    pub(crate) warnings: Vec<String>,
    /// What cannot change while it runs.
    pub(crate) fixed: Fixed,
    /// Every file that was read.
    pub(crate) files: Vec<PathBuf>,
    /// One line for `motegate check`.
    pub(crate) summary: String,
}

/// Settings that count from the start of the program to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fixed {
    data_dir: PathBuf,
    durability: Durability,
    max_uncommitted_bytes: usize,
    log: (&'static str, log::Format),
}

impl Fixed {
    /// Where state is kept.
    pub(crate) fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// The keys in which another configuration differs.
    pub(crate) fn differences(&self, other: &Fixed) -> Vec<&'static str> {
        let keys = [
            ("data_dir", self.data_dir != other.data_dir),
            ("durability", self.durability != other.durability),
            (
                "limits.max_uncommitted_bytes",
                self.max_uncommitted_bytes != other.max_uncommitted_bytes,
            ),
            ("log", self.log != other.log),
        ];
        keys.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect()
    }
}

/// Reads and checks a configuration.
pub(crate) fn load(layers: &Layers) -> Result<Configured, Findings> {
    layers.load().map(Configured::from)
}

impl From<Resolved> for Configured {
    fn from(mut resolved: Resolved) -> Self {
        let log_level = resolved.log.level.as_str();
        let log_format = match resolved.log.format {
            LogFormat::Auto => log::Format::Auto,
            LogFormat::Logfmt => log::Format::Logfmt,
            LogFormat::Json => log::Format::Json,
        };
        Configured {
            fixed: Fixed {
                data_dir: resolved.data_dir.clone(),
                durability: resolved.durability,
                max_uncommitted_bytes: resolved.core.max_uncommitted_bytes,
                log: (log_level, log_format),
            },
            files: std::mem::take(&mut resolved.files),
            summary: resolved.summary(),
            warnings: std::mem::take(&mut resolved.warnings),
            log_level,
            log_format,
            setup: Setup::from(resolved),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_core_and_the_sockets_agree_on_listeners() {
        let mut setup = Setup::dev(false);
        let of_core: Vec<_> = setup.core.listeners.iter().map(|l| (&l.name, l.protocol)).collect();
        let of_binds: Vec<_> = setup.binds.iter().map(|b| (&b.name, b.protocol)).collect();
        assert_eq!(of_core, of_binds);
        let moved: SocketAddr = "127.0.0.1:4".parse().unwrap();
        setup.rebind(Protocol::Coap, moved);
        let elsewhere: Vec<_> = setup.binds.iter().filter(|b| b.addr == moved).collect();
        let words: Vec<_> = elsewhere.iter().map(|bind| bind.word()).collect();
        assert_eq!(words, ["coap", "coap+tcp"]);
    }
}
