//! EMQX 5: gateways for MQTT-SN and CoAP, listeners, limits, topic rewriting.
//!
//! Several files (`base.hocon`, `emqx.conf`) are merged, the later one wins. Listeners that EMQX
//! has without being told are not made up.

mod gateway;
mod layers;
mod tables;

use super::draft::{At, Draft, Spot};
use super::hocon::{Entry, Value};
use super::listener::{Bound, Listener, address, loopback, mount_fault};
use super::rewrite;
use super::tree::{Tree, field};
use super::yaml::Map;
use super::{ImportError, RemarkKind, Source};
use crate::Config;

/// Most rewriting rules that are looked at.
const MAX_RULES: usize = 200;

pub(crate) fn read(sources: &[Source<'_>]) -> Result<Draft, ImportError> {
    let tree = Tree::parse(sources)?;
    if !tables::is_emqx(&tree)
        && let Some(source) = sources.first()
    {
        let text = "there is nothing of EMQX in it: no listener, gateway or mqtt block";
        let fix = "give emqx.conf or cluster.hocon of EMQX 5, or a part of it";
        return Err(ImportError::new(*source, 1, text, fix));
    }
    let mut draft = Draft::default();
    let doors = Doors::of(&tree);
    gateway::mqtt_sn(&tree, &doors, &mut draft);
    gateway::coap(&tree, &doors, &mut draft);
    mqtt_listeners(&tree, &doors, &mut draft);
    tree.carry(tables::CARRIED, &mut draft);
    log(&tree, &mut draft);
    rewriting(&tree, &mut draft);
    tree.rest(tables::KNOWN, &mut draft);
    Ok(draft)
}

/// Who was let in.
#[derive(Debug)]
struct Doors {
    /// Clients prove who they are.
    authentication: bool,
    /// There are rules of access.
    authorization: bool,
}

impl Doors {
    fn of(tree: &Tree<'_>) -> Doors {
        let deny = tree.root.find(&["authorization", "no_match"]).is_some_and(
            |entry| matches!(&entry.value, Value::Text { text, .. } if text == "deny"),
        );
        let some = |path: &[&str]| tree.root.find(path).is_some_and(says_something);
        Doors {
            authentication: some(&["authentication"]),
            authorization: deny || some(&["authorization", "sources"]),
        }
    }
}

/// Whether a value is more than an empty list or object.
fn says_something(entry: &Entry<'_>) -> bool {
    match &entry.value {
        Value::Object(object) => object.iter().next().is_some(),
        Value::List(list) => !list.is_empty(),
        Value::Text { .. } => true,
    }
}

/// A listener of a group (`listeners.tcp`, `gateway.coap.listeners.udp`), as it will be.
struct Door<'t> {
    path: &'t [&'t str],
    protocol: &'static str,
    open: bool,
    mount: Option<(String, usize)>,
}

/// Takes the listeners of a group; gives their places.
fn listeners(tree: &Tree<'_>, door: &Door<'_>, draft: &mut Draft) -> Vec<usize> {
    let mut places = Vec::new();
    for (name, spot) in tree.keys(door.path) {
        let at = |key: &'static str| [door.path, &[name.as_str(), key]].concat();
        let off = ["enable", "enabled"].iter().find_map(|key| tree.flag(&at(key)));
        let path = [door.path, &[name.as_str()]].concat();
        let what = path.join(".");
        if off.is_some_and(|(_, on)| !on) {
            tree.done(&path);
            let text = "switched off there: left out";
            draft.remark(At::Listeners, spot, RemarkKind::Changed, what, text);
            continue;
        }
        let mut listener = Listener::new(listener_name(&name, door.protocol), door.protocol);
        let fault = match tree.text(&at("bind")) {
            Some((spot, text)) => match address(text) {
                Bound::Addrs(addrs) => {
                    listener.bind = addrs;
                    None
                }
                Bound::Host(port) => {
                    listener.bind = loopback(port);
                    Some((
                        spot,
                        "a host name: set `bind` to its address; until then this machine only",
                    ))
                }
                Bound::Nonsense => {
                    let text = format!("{text:?} is no address: the listener is left out");
                    draft.remark(At::Listeners, spot, RemarkKind::Unknown, what, text);
                    tree.done(&path);
                    continue;
                }
            },
            None => {
                draft.remark(At::Listeners, spot, RemarkKind::Unknown, what, "no `bind`: left out");
                tree.done(&path);
                continue;
            }
        };
        listener.anonymous =
            door.open && !tree.root.find(&at("authentication")).is_some_and(says_something);
        layers::read(tree, &path, &mut listener, draft);
        let own = tree.text(&at("mountpoint")).map(|(_, text)| (text.to_owned(), spot.line));
        let Some(place) = draft.listen(listener, spot) else {
            tree.done(&path);
            continue;
        };
        if let Some((spot, text)) = fault {
            draft.remark(At::Listener(place), spot, RemarkKind::Changed, what.as_str(), text);
        }
        if let Some((mount, line)) = own.filter(|(m, _)| !m.is_empty()).or(door.mount.clone()) {
            self::mount(Spot { line, ..spot }, place, &mount, draft);
        }
        places.push(place);
    }
    places
}

/// Names are unique within a group there, and among all here.
fn listener_name(name: &str, protocol: &str) -> String {
    if name == "default" { protocol.to_owned() } else { format!("{protocol}-{name}") }
}

fn mount(spot: Spot<'_>, place: usize, mount: &str, draft: &mut Draft) {
    let fault = mount_fault(mount);
    let Some(listener) = draft.listener_mut(place) else { return };
    match fault {
        None => listener.mount = mount.to_owned(),
        Some(fault) => {
            listener.anonymous = false;
            let text = format!(
                "{fault}; without it clients would share topics, so nobody may connect. What \
                 differs by client belongs into the topics of `mappings`: \"dev/{{client}}/…\""
            );
            let what = format!("mountpoint = {mount:?}");
            draft.remark(At::Listener(place), spot, RemarkKind::Unsupported, what, text);
        }
    }
}

fn mqtt_listeners(tree: &Tree<'_>, doors: &Doors, draft: &mut Draft) {
    let open = !doors.authentication && !doors.authorization;
    let path = &["listeners", "tcp"];
    let door = Door { path, protocol: "mqtt", open, mount: None };
    listeners(tree, &door, draft);
    for (group, protocol) in [("ws", "ws"), ("ssl", "mqtts"), ("wss", "wss")] {
        listeners(tree, &Door { path: &["listeners", group], protocol, open, mount: None }, draft);
    }
    layers::done(tree, draft);
    later_listeners(tree, &["listeners", "quic"], "quic", draft);
}

/// Listeners of protocols that are not built: what they are here.
fn later_listeners(tree: &Tree<'_>, path: &[&str], protocol: &str, draft: &mut Draft) {
    for (name, spot) in tree.keys(path) {
        let path = [path, &[name.as_str()]].concat();
        let at = |key: &'static str| [path.as_slice(), &[key]].concat();
        let off = ["enable", "enabled"].iter().find_map(|key| tree.flag(&at(key)));
        let bind = tree.text(&at("bind")).map_or("", |(_, text)| text).to_owned();
        let others = tree.others(&path);
        tree.done(&path);
        if off.is_some_and(|(_, on)| !on) {
            continue;
        }
        let (kind, text, equivalent) = match protocol {
            "quic" => (RemarkKind::Unsupported, "QUIC has no counterpart".to_owned(), Vec::new()),
            _ => {
                let name = listener_name(&name, protocol);
                let line = format!("- {{name: {name}, protocol: {protocol}, bind: \"{bind}\"}}");
                let text =
                    format!("the protocol {protocol} comes with a later version: left out{others}");
                (RemarkKind::Later, text, vec![line])
            }
        };
        draft.remark_with(At::Listeners, spot, kind, path.join("."), text, equivalent);
    }
}

fn log(tree: &Tree<'_>, draft: &mut Draft) {
    let levels = [&["log", "console", "level"][..], &["log", "console_handler", "level"]];
    let Some((spot, level)) = levels.iter().find_map(|path| tree.text(path)) else { return };
    let ours = match level {
        "debug" | "info" | "error" => level,
        "warning" | "warn" => "warn",
        "notice" => "info",
        "critical" | "alert" | "emergency" => "error",
        _ => {
            draft.remark(At::Log, spot, RemarkKind::Unknown, level, "not a level of the log");
            return;
        }
    };
    draft.log.set("level", ours);
}

/// `rewrite = [{action, source_topic, re, dest_topic}]`.
fn rewriting(tree: &Tree<'_>, draft: &mut Draft) {
    let Some(entry) = tree.get(&["rewrite"]) else { return };
    let Value::List(rules) = &entry.value else { return };
    let protocols: Vec<&str> = draft.listeners().map(|l| l.protocol).collect();
    let (sn, coap) = (protocols.contains(&"mqttsn"), protocols.contains(&"coap"));
    let mounted = draft.listeners().any(|l| l.protocol != "mqtt" && !l.mount.is_empty());
    let mut converted = 0;
    for (i, rule) in rules.iter().enumerate() {
        let text = |key: &str| field(rule, key).map_or("", |(_, text)| text);
        let what = format!("rewrite {} → {}", text("re"), text("dest_topic"));
        let mut marked = |kind, why: &str| draft.remark(At::Names, rule.spot, kind, &what, why);
        let action = text("action");
        if action != "all" {
            let why = "only one direction is rewritten there; rules here hold in both";
            marked(RemarkKind::Unsupported, why);
            continue;
        }
        if mounted {
            marked(RemarkKind::Unsupported, "with a mount it saw other topics than rules do here");
            continue;
        }
        if i >= MAX_RULES || !(sn || coap) {
            let why = "topics of MQTT clients are not rewritten; rules hold for MQTT-SN and CoAP";
            marked(RemarkKind::Unsupported, why);
            continue;
        }
        let rule_text = rewrite::convert(text("source_topic"), text("re"), text("dest_topic"));
        let (filter, topic) = match rule_text {
            Ok((filter, topic)) if passes(&filter, &topic) => (filter, topic),
            Ok(_) => {
                marked(RemarkKind::Unsupported, "the expression cannot be read here");
                continue;
            }
            Err(why) => {
                marked(RemarkKind::Unsupported, why);
                continue;
            }
        };
        converted += 1;
        // The last rule whose filter matches is the one that counts there.
        let rule_of = |name: String, path: &str, pattern: String| {
            let mut map = Map::default();
            map.set("name", name);
            map.set(path, pattern);
            map.set("topic", topic.as_str());
            map.set("priority", converted.to_string());
            map
        };
        if sn {
            draft.names.push(rule_of(format!("rewrite-{}", i + 1), "filter", filter.clone()));
        }
        if coap {
            let mut map =
                rule_of(format!("rewrite-{}-coap", i + 1), "path", format!("/ps/{filter}"));
            gateway::ps_settings(tree, &mut map);
            draft.coap_rules.push(map);
        }
        let why = "a rule for MQTT-SN and CoAP; topics of MQTT clients are not rewritten. Where a \
                   later filter matched and its expression did not, this one now holds";
        draft.remark(At::Names, rule.spot, RemarkKind::Changed, &what, why);
    }
}

/// Whether a rule of this pattern and template can be read.
fn passes(filter: &str, topic: &str) -> bool {
    let mut rule = Map::default();
    rule.set("name", "x");
    rule.set("filter", filter);
    rule.set("topic", topic);
    let mut draft = Draft::default();
    draft.names.push(rule);
    Config::parse("", &draft.write(&[])).is_ok()
}
