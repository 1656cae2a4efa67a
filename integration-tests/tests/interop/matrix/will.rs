//! Wills: not after a goodbye, at once after a broken connection, later if 5.0 says so.

use motegate_tests::matrix::client::Client;
use motegate_tests::matrix::peer::{Make, Version};
use motegate_tests::matrix::world::{Row, World};
use motegate_tests::matrix::{Outcome, same};
use serde_json::{Value, json};

use super::partners;

/// Watched by another.
pub(super) fn will(world: &World, row: Row, qos: u64) -> Outcome {
    for partner in partners(world, row, qos) {
        at_once(world, row, partner, qos).map_err(|error| format!("to {partner}: {error}"))?;
    }
    Ok(())
}

fn with_will(world: &World, row: Row, mut command: Value, will: Value) -> Outcome<Client> {
    command["will"] = will;
    let client = world.accepted(row, command)?;
    // mosquitto_sub connects for a subscription only.
    client.subscribe(&world.fresh("nothing"), 0)?;
    Ok(client)
}

fn at_once(world: &World, row: Row, watcher: Row, qos: u64) -> Outcome {
    let root = world.fresh("will");
    let (gone, mark) = (format!("{root}/gone"), format!("{root}/mark"));
    let watcher = world.client(watcher)?;
    watcher.subscribe(&format!("{root}/#"), 2)?;
    let will =
        |retain: bool| json!({"topic": gone, "payload": "lost", "qos": qos, "retain": retain});
    with_will(world, row, json!({}), will(true))?.disconnect()?;
    // Interrupted, mosquitto_sub asks for its will in 5.0, with code 4.
    if row.make == Make::Mosquitto && row.version == Version::V5 {
        watcher.expect(&gone, "lost", qos, false)?;
        watcher.publish_with(&gone, "", 1, true, json!({}))?;
        watcher.expect(&gone, "", 1, false)?;
    }
    watcher.publish(&mark, "mark", 2)?;
    watcher.expect(&mark, "mark", 2, false)?;
    for retain in [false, true] {
        with_will(world, row, json!({}), will(retain))?.kill()?;
        watcher.expect(&gone, "lost", qos, false)?;
        let late = world.client(row)?;
        late.subscribe(&format!("{root}/#"), 1)?;
        if retain {
            late.expect(&gone, "lost", qos.min(1), true)?;
            late.publish_with(&gone, "", 1, true, json!({}))?;
        } else {
            watcher.publish(&mark, "mark", 2)?;
            late.expect(&mark, "mark", 1, false)?;
            watcher.expect(&mark, "mark", 2, false)?;
        }
        late.disconnect()?;
    }
    watcher.disconnect()
}

/// A will that is due one second after the connection is lost, with properties; and one that is
/// not, because its client is back before.
pub(super) struct Delayed {
    qos: u64,
    root: String,
    watcher: Client,
    back: Option<Client>,
}

impl Delayed {
    pub(super) fn start(world: &World, row: Row, qos: u64) -> Outcome<Delayed> {
        let root = world.fresh("delayed");
        let watcher = world.client(world.partner(row, Version::V5))?;
        watcher.subscribe(&format!("{root}/#"), 2)?;
        let will = |name: &str, delay: u64| {
            json!({"topic": format!("{root}/{name}"), "payload": name, "qos": qos, "retain": false,
            "properties": {
                "will_delay_interval": delay,
                "content_type": "text/plain",
                "user_property": [["a", "1"], ["a", "2"]],
            }})
        };
        let session = json!({"properties": {"session_expiry_interval": 60}});
        with_will(world, row, session.clone(), will("late", 1))?.kill()?;
        // The gateway saw the end of that connection before this one's beginning, and said nothing.
        let mark = format!("{root}/mark");
        world.client(world.partner(row, Version::V5))?.publish(&mark, "mark", 1)?;
        watcher.expect(&mark, "mark", 1, false)?;
        // The mosquitto peer's connections have ids of their own, as many as subscriptions.
        let mut again = session;
        again["id"] = world.fresh("back").into();
        with_will(world, row, again.clone(), will("never", 1))?.kill()?;
        again["clean"] = false.into();
        let back = world.accepted(row, again)?;
        if row.make == Make::Mosquitto {
            back.subscribe(&world.fresh("nothing"), 0)?;
        }
        Ok(Delayed { qos, root, watcher, back: Some(back) })
    }

    pub(super) fn finish(mut self) -> Outcome {
        let got = self.watcher.expect(&format!("{}/late", self.root), "late", self.qos, false)?;
        same("content type", got.properties["content_type"].as_str(), Some("text/plain"))?;
        let users = json!([["a", "1"], ["a", "2"]]);
        same("user properties", &got.properties["user_property"], &users)?;
        // Its own, which would be due with the first or just behind it.
        self.back.take().map_or(Ok(()), Client::disconnect)?;
        let mark = format!("{}/mark", self.root);
        self.watcher.publish(&mark, "mark", 1)?;
        self.watcher.expect(&mark, "mark", 1, false)?;
        self.watcher.disconnect()
    }
}
