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

use motegate_tests::gateway::Gateway;
use motegate_tests::matrix::Outcome;
use motegate_tests::matrix::peer::{Transport, Version};
use motegate_tests::matrix::table::Table;
use motegate_tests::matrix::world::{Row, World};

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

fn world() -> World {
    World::of(Gateway::run(""), std::collections::BTreeMap::new())
}

#[test]
fn every_client_version_and_transport() {
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
