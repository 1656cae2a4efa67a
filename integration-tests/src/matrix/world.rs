//! Every peer beside one gateway, and the rows of the matrix.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::{Value, json};

use super::Outcome;
use super::client::Client;
use super::peer::{Make, Peer, Transport, Version};
use crate::gateway::Gateway;

/// A peer, what it speaks and over what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Whose client.
    pub make: Make,
    /// Which version.
    pub version: Version,
    /// Over what.
    pub transport: Transport,
}

impl Row {
    /// The same client over TCP.
    pub fn tcp(make: Make, version: Version) -> Row {
        Row { make, version, transport: Transport::Tcp }
    }
}

impl std::fmt::Display for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:<9}  {:<5}  {:<4}", self.make, self.version, self.transport)
    }
}

/// The gateway and all peers.
#[derive(Debug)]
pub struct World {
    /// The gateway.
    pub gateway: Gateway,
    /// Where each transport is, as `transport` of a command.
    addresses: BTreeMap<Transport, Value>,
    /// Where clients of a make go instead over TCP.
    detours: BTreeMap<Make, Value>,
    peers: RefCell<BTreeMap<Make, Rc<RefCell<Peer>>>>,
    next: Cell<u32>,
    partners: Cell<usize>,
}

impl World {
    /// Around a gateway; a peer is started when it is needed first.
    pub fn of(gateway: Gateway, more: BTreeMap<Transport, Value>) -> World {
        let mut addresses = more;
        addresses.insert(Transport::Tcp, tcp(gateway.mqtt.port()));
        World {
            gateway,
            addresses,
            detours: BTreeMap::new(),
            peers: RefCell::default(),
            next: Cell::new(0),
            partners: Cell::new(0),
        }
    }

    /// Sends the clients of one make elsewhere over TCP.
    pub fn detour(&mut self, make: Make, port: u16) {
        self.detours.insert(make, tcp(port));
    }

    /// Every row that these transports and the peers allow.
    pub fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for make in Make::ALL {
            for transport in make.transports() {
                if !self.addresses.contains_key(transport) {
                    continue;
                }
                for version in make.versions() {
                    rows.push(Row { make, version: *version, transport: *transport });
                }
            }
        }
        rows
    }

    /// A name that was not given before.
    pub fn fresh(&self, what: &str) -> String {
        self.next.set(self.next.get() + 1);
        format!("{what}{}", self.next.get())
    }

    /// A client with a fresh id and a clean session.
    ///
    /// # Errors
    /// If it is not accepted.
    pub fn client(&self, row: Row) -> Outcome<Client> {
        self.accepted(row, json!({}))
    }

    /// A client that is accepted; `command` as [`connect`](World::connect).
    ///
    /// # Errors
    /// If it is not.
    pub fn accepted(&self, row: Row, command: Value) -> Outcome<Client> {
        let client = self.connect(row, command)?;
        super::same(&format!("CONNACK to {row}"), client.connack["code"].as_u64(), Some(0))?;
        Ok(client)
    }

    /// A client; what `command` does not say is a fresh id, a clean session and the row's address.
    ///
    /// # Errors
    /// If there is no CONNACK.
    pub fn connect(&self, row: Row, mut command: Value) -> Outcome<Client> {
        let name = self.fresh("c");
        let detour = self.detours.get(&row.make).filter(|_| row.transport == Transport::Tcp);
        let transport = detour.unwrap_or(&self.addresses[&row.transport]);
        let usual = [("id", json!(name)), ("clean", json!(true)), ("transport", transport.clone())];
        for (key, value) in usual {
            if command[key].is_null() {
                command[key] = value;
            }
        }
        Client::connect(self.peer(row.make), row.make, row.version, &name, command)
    }

    /// Another make that speaks `version`, over whatever transport: each pair in its turn.
    pub fn partner(&self, row: Row, version: Version) -> Row {
        // Makes change fastest, so that those that follow each other are different ones.
        let pairs = self.addresses.keys().flat_map(|transport| {
            Make::ALL.iter().filter(|make| make.transports().contains(transport)).map(|make| Row {
                make: *make,
                version,
                transport: *transport,
            })
        });
        let able: Vec<Row> = pairs
            .filter(|other| other.make != row.make && other.make.versions().contains(&version))
            .collect();
        let turn = self.partners.get();
        self.partners.set(turn + 1);
        able[turn % able.len()]
    }

    /// The process that makes this client.
    pub fn peer(&self, make: Make) -> Rc<RefCell<Peer>> {
        let mut peers = self.peers.borrow_mut();
        peers.entry(make).or_insert_with(|| Rc::new(RefCell::new(Peer::start(make)))).clone()
    }
}

/// `transport` of a command that leads to a port of this machine.
pub fn tcp(port: u16) -> Value {
    json!({"kind": "tcp", "host": "127.0.0.1", "port": port})
}
