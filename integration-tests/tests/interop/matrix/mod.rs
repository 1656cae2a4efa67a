//! Every MQTT client that we know, over every transport, in every version, at every QoS: what
//! arrives, how, and how often. One test, because all rows share the peers' processes and the table
//! at the end. Whom a row meets are the other clients in their turn, over every transport, too.

mod accounts;
mod broken;
mod delivery;
mod five;
mod pairs;
mod request;
mod retain;
mod session;
mod shared;
mod will;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use motegate_tests::certificates::Certificates;
use motegate_tests::gateway::{Gateway, binary};
use motegate_tests::matrix::Outcome;
use motegate_tests::matrix::peer::{Make, Transport, Version};
use motegate_tests::matrix::table::Table;
use motegate_tests::matrix::world::{Row, World, tcp};
use serde_json::json;

/// Versions that a row meets.
const VERSIONS: [Version; 3] = [Version::V31, Version::V311, Version::V5];

/// Each of them.
const QOS: [u64; 3] = [0, 1, 2];

type Column = (&'static str, fn(&World, Row) -> Outcome);

/// One behaviour at one QoS.
type Aspect = (&'static str, fn(&World, Row, u64) -> Outcome);

/// What every row has to show at each QoS, in both directions where there are two.
const ASPECTS: [Aspect; 7] = [
    ("pairs", delivery::pairs),
    ("order", delivery::order),
    ("retain", retain::retain),
    ("will", will::will),
    ("session", session::session),
    ("shared", shared::shared),
    ("request", request::request),
];

/// Of 5.0 alone.
const DELAYED: &str = "delayed will";

/// Whether a client can be made to do what an aspect asks for.
fn can(row: Row, aspect: &str) -> bool {
    // mosquitto_rr; what the others ask is in the table of 5.0.
    aspect != "request" || row.make == Make::Mosquitto
}

/// Whom a row meets at one QoS: a client of each version over TCP, where what a client is and
/// speaks is looked at; over the other transports one, so that all have been there after three QoS.
fn partners(world: &World, row: Row, qos: u64) -> Vec<Row> {
    if row.transport == Transport::Tcp {
        return VERSIONS.map(|version| world.partner(row, version)).to_vec();
    }
    let turn = row.make as u64 + row.version as u64 + row.transport as u64 + qos;
    vec![world.partner(row, VERSIONS[(turn % 3) as usize])]
}

/// One direction and then the other, with each partner.
fn both_ways(
    world: &World,
    row: Row,
    qos: u64,
    cell: fn(&World, Row, Row, u64) -> Outcome,
) -> Outcome {
    for partner in partners(world, row, qos) {
        cell(world, row, partner, qos).map_err(|error| format!("to {partner}: {error}"))?;
        cell(world, partner, row, qos).map_err(|error| format!("from {partner}: {error}"))?;
    }
    Ok(())
}

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
fn every_client_version_and_transport() {
    let certificates = Certificates::make();
    let world = world_of_transports(&certificates);
    let names = ASPECTS.iter().map(|(name, _)| *name).chain([DELAYED]).collect::<Vec<_>>();
    let mut table = Table::new(&names);
    for row in world.rows() {
        table.row(row.to_string());
        // They run while everything else does.
        let later = if row.version == Version::V5 { QOS.to_vec() } else { Vec::new() };
        let later = later.into_iter().map(|qos| (qos, will::Delayed::start(&world, row, qos)));
        let later: Vec<_> = later.collect();
        for (name, cell) in ASPECTS {
            for qos in QOS {
                if can(row, name) {
                    table.fill_qos(name, qos, cell(&world, row, qos));
                }
            }
        }
        for (qos, delayed) in later {
            table.fill_qos(DELAYED, qos, delayed.and_then(will::Delayed::finish));
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
