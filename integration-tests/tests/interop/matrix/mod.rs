//! Every MQTT client that we know, over every transport, in every version: what arrives, how, and
//! how often. One test, because all rows share the peers' processes and the table at the end.

mod accounts;
mod broken;
mod delivery;
mod five;
mod pairs;
mod retain;
mod session;
mod shared;
mod will;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use motegate_tests::certificates::Certificates;
use motegate_tests::gateway::{Gateway, binary};
use motegate_tests::matrix::Outcome;
use motegate_tests::matrix::peer::{Transport, Version};
use motegate_tests::matrix::table::Table;
use motegate_tests::matrix::world::{Row, World, tcp};
use serde_json::json;

/// Versions that a row meets.
const VERSIONS: [Version; 3] = [Version::V31, Version::V311, Version::V5];

type Column = (&'static str, fn(&World, Row) -> Outcome);

/// What every row has to show, in both directions where there are two.
const COLUMNS: [Column; 6] = [
    ("qos", delivery::qos),
    ("order", delivery::order),
    ("retain", retain::retain),
    ("will", will::will),
    ("session", session::session),
    ("shared", shared::shared),
];

/// A gateway with TCP alone.
fn world() -> World {
    World::of(Gateway::run(""), BTreeMap::new())
}

/// The same with a listener for every transport.
fn world_of_transports(certificates: &Certificates) -> World {
    let (cert, key) = (certificates.server(), certificates.key());
    let tls = format!("tls: {{cert: \"{}\", key: \"{}\"}}", cert.display(), key.display());
    let loopback = "bind: \"127.0.0.1:0\"";
    let listeners = [
        ("tcp", "mqtt", loopback, ""),
        ("tls", "mqtts", loopback, tls.as_str()),
        ("ws", "ws", loopback, ""),
        ("wss", "wss", loopback, tls.as_str()),
        ("unix", "mqtt", "bind: \"unix:mqtt.sock\"", ""),
        ("sn", "mqttsn", loopback, ""),
        ("coap", "coap", loopback, ""),
    ];
    let listeners = listeners.map(|(name, protocol, bind, more)| {
        format!("  - {{name: {name}, protocol: {protocol}, {bind}, anonymous: true, {more}}}\n")
    });
    let text = format!("version: 1\ndurability: none\nlisteners:\n{}", listeners.concat());
    let gateway = Gateway::of_file(&binary(), &["run"], &text);
    let mut addresses = BTreeMap::new();
    for (transport, name) in
        [(Transport::Tls, "tls"), (Transport::Ws, "ws"), (Transport::Wss, "wss")]
    {
        let address: SocketAddr = gateway.listening(name).parse().expect("the log has an address");
        let mut to = tcp(address.port());
        to["kind"] = name.into();
        to["ca"] = certificates.authority().display().to_string().into();
        addresses.insert(transport, to);
    }
    let file = gateway.file().expect("it was started from a file");
    let socket = file.with_file_name("mqtt.sock").display().to_string();
    addresses.insert(Transport::Unix, json!({"kind": "unix", "path": socket}));
    World::of(gateway, addresses)
}

#[test]
fn every_client_and_version() {
    let world = world();
    let mut table = Table::new(&COLUMNS.map(|(name, _)| name));
    for row in world.rows() {
        table.row(row.to_string());
        for (name, cell) in COLUMNS {
            table.fill(name, cell(&world, row));
        }
    }
    drop(world);
    table.finish();
}

/// What a transport can get wrong: where packets begin and end, and how a connection does.
#[test]
fn every_transport() {
    let certificates = Certificates::make();
    let world = world_of_transports(&certificates);
    let columns: [Column; 2] = [("qos", delivery::qos), ("order", delivery::order)];
    let mut table = Table::new(&columns.map(|(name, _)| name));
    for row in world.rows() {
        if row.transport == Transport::Tcp {
            continue;
        }
        table.row(row.to_string());
        for (name, cell) in columns {
            table.fill(name, cell(&world, row));
        }
    }
    drop(world);
    table.finish();
}

#[test]
fn what_only_5_0_has() {
    let world = world();
    let mut table = Table::new(&five::COLUMNS.map(|(name, _)| name));
    for row in world.rows() {
        if row.version != Version::V5 || row.transport != Transport::Tcp {
            continue;
        }
        table.row(row.to_string());
        for (name, cell) in five::COLUMNS {
            if five::can(row.make, name) {
                table.fill(name, cell(&world, row));
            }
        }
    }
    drop(world);
    table.finish();
}
