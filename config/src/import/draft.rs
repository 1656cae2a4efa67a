//! [`Draft`]: the configuration that grows while a source is read.
//!
//! Its blocks are written in the order of the reference, each remark as a comment in the block that
//! it belongs to; blocks of parts that are not built are comments only.

use super::listener::{Listener, Placed};
use super::yaml::{Item, Map, Value};
use super::{Remark, RemarkKind, Source, level};
use crate::Config;
use crate::value::PerTime;

/// Where a remark stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum At {
    Top,
    Gateway,
    Listeners,
    /// Above a listener of the list.
    Listener(usize),
    Mqtt,
    MqttSn,
    Coap,
    Limits,
    /// Blocks of later versions.
    Users,
    Acl,
    Bridges,
    Mappings,
    /// Above the topic ids of MQTT-SN.
    TopicIds,
    /// Above the rewriting of names.
    Names,
    /// Above the rules of CoAP.
    CoapRules,
    Log,
}

/// Where in a source something stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spot<'a> {
    pub(crate) source: Source<'a>,
    pub(crate) line: usize,
}

/// Defaults of `limits`.
const DEFAULT_CONNECTIONS: u64 = 100_000;
const DEFAULT_CONNECT_RATE: u64 = 1_000;
/// Most that `max_connections` can be.
const MAX_CONNECTIONS: u64 = 10_000_000;

/// Most listeners, as many as a configuration can have.
const MAX_LISTENERS: usize = 500;

/// Why a listener cannot be served on this machine, if it cannot.
fn why_not(listener: &Listener) -> Option<String> {
    // Its bounds are another matter.
    let (max_connections, max_connect_rate) = (None, None);
    let bare = Listener { max_connections, max_connect_rate, ..listener.clone() };
    let mut map = Map::default();
    map.set("version", "1");
    let item = Item { above: Vec::new(), value: Some(bare.value()) };
    map.set("listeners", Value::List(vec![item]));
    let findings = Config::parse("motegate.yaml", &map.write()).err()?;
    let first = findings.diagnostics.iter().find(|found| found.is_error());
    Some(first.map_or_else(String::new, |found| found.text.clone()))
}

#[derive(Debug, Default)]
pub(crate) struct Draft {
    pub(crate) gateway: Map,
    /// `data_dir`, `durability`.
    pub(crate) store: Map,
    listeners: Vec<Placed>,
    pub(crate) mqtt: Map,
    pub(crate) mqttsn: Map,
    pub(crate) coap: Map,
    pub(crate) limits: Map,
    pub(crate) log: Map,
    /// `None`: not said.
    pub(crate) presets: Option<Vec<String>>,
    /// Of what is published where a rule says nothing; `None`: not said.
    pub(crate) default_qos: Option<String>,
    /// Rules of CoAP.
    pub(crate) coap_rules: Vec<Map>,
    /// Groups: name and globs.
    pub(crate) groups: Vec<(String, Vec<String>)>,
    /// Pre-defined topic ids: scope, then key and topic.
    pub(crate) topic_ids: Vec<(String, Vec<(String, String)>)>,
    /// Rewriting of names.
    pub(crate) names: Vec<Map>,
    pub(crate) qos_minus_one: Option<Map>,
    remarks: Vec<(At, Remark)>,
}

impl Draft {
    /// Takes a remark.
    pub(crate) fn remark(
        &mut self,
        at: At,
        spot: Spot<'_>,
        kind: RemarkKind,
        what: impl Into<String>,
        text: impl Into<String>,
    ) {
        self.remark_with(at, spot, kind, what, text, Vec::new());
    }

    /// Takes a remark that says how it will be written.
    pub(crate) fn remark_with(
        &mut self,
        at: At,
        spot: Spot<'_>,
        kind: RemarkKind,
        what: impl Into<String>,
        text: impl Into<String>,
        equivalent: Vec<String>,
    ) {
        let remark = Remark {
            file: spot.source.name.to_owned(),
            line: spot.line,
            kind,
            what: short(&what.into()),
            text: text.into(),
            equivalent,
        };
        self.remarks.push((at, remark));
    }

    /// Adds a listener unless its address is taken; gives its place.
    pub(crate) fn listen(&mut self, listener: Listener, spot: Spot<'_>) -> Option<usize> {
        let clash = listener.bind.iter().find_map(|addr| {
            let other = self.listeners.iter().find(|p| p.listener.clashes(&listener, *addr))?;
            Some((*addr, other.listener.name.clone()))
        });
        if let Some((addr, other)) = clash {
            let text = format!("{addr} is already taken by listener {other}: left out");
            self.remark(At::Listeners, spot, RemarkKind::Unsupported, &listener.name, text);
            return None;
        }
        if self.listeners.len() >= MAX_LISTENERS {
            let text = "more than 500 listeners: left out";
            self.remark(At::Listeners, spot, RemarkKind::Unsupported, &listener.name, text);
            return None;
        }
        let at = self.listen_silently(listener)?;
        if let Some(placed) = self.listeners.get_mut(at) {
            placed.spot = Some((spot.source.name.to_owned(), spot.line));
        }
        Some(at)
    }

    /// Adds a listener whose addresses are free.
    pub(crate) fn listen_silently(&mut self, mut listener: Listener) -> Option<usize> {
        let base = match level(&listener.name) {
            name if name.is_empty() => listener.protocol.to_owned(),
            name => name,
        };
        let mut names = std::iter::once(base.clone()).chain((2..).map(|n| format!("{base}-{n}")));
        let taken = |name: &str| self.listeners.iter().any(|p| p.listener.name == *name);
        listener.name = names.find(|name| !taken(name)).unwrap_or(base);
        self.listeners.push(Placed { listener, spot: None, left_out: false });
        Some(self.listeners.len() - 1)
    }

    pub(crate) fn listener_mut(&mut self, at: usize) -> Option<&mut Listener> {
        self.listeners.get_mut(at).map(|placed| &mut placed.listener)
    }

    pub(crate) fn listeners(&self) -> impl Iterator<Item = &Listener> {
        self.listeners.iter().map(|placed| &placed.listener)
    }

    /// Everything is read: what bounds a listener's own bounds is wide enough for them, and a listener
    /// that cannot be served on this machine is only told of, as is a chain of certificates that was
    /// completed there.
    pub(crate) fn settle(&mut self) {
        self.make_room();
        for (at, placed) in self.listeners.iter_mut().enumerate() {
            let listener = &placed.listener;
            let Some(tls) = &listener.tls else { continue };
            let (text, equivalent) = if let Some(cause) = why_not(listener) {
                placed.left_out = true;
                let chain = tls.completed_from.as_ref().map_or_else(String::new, |from| {
                    format!(
                        ", with intermediate authorities of {from}, if any, behind {}",
                        tls.cert
                    )
                });
                let place = "Take it over where the gateway can read its files";
                let line = format!("- {}", listener.value().line());
                (format!("left out: {cause}. {place}{chain}"), vec![line])
            } else if let Some(text) = tls.completed() {
                (text, Vec::new())
            } else {
                continue;
            };
            let (file, line) = placed.spot.clone().unwrap_or_default();
            let what = short(&format!("listener {}", listener.name));
            let kind = RemarkKind::Changed;
            self.remarks
                .push((At::Listener(at), Remark { file, line, kind, what, text, equivalent }));
        }
    }

    /// No bound of a listener may be above that of all.
    fn make_room(&mut self) {
        let all = self.limits.number("max_connections");
        let own = |l: &&mut Placed| l.listener.max_connections;
        let sum = self.listeners.iter_mut().filter_map(|l| own(&l)).fold(0, u64::saturating_add);
        if all.is_none() && sum > DEFAULT_CONNECTIONS {
            self.limits.set("max_connections", sum.min(MAX_CONNECTIONS).to_string());
        }
        let most = all.unwrap_or(sum.clamp(DEFAULT_CONNECTIONS, MAX_CONNECTIONS));
        for placed in &mut self.listeners {
            if let Some(own) = &mut placed.listener.max_connections {
                *own = (*own).min(most);
            }
        }
        let rates = self.listeners.iter().filter_map(|placed| placed.listener.max_connect_rate);
        let second = |rate: PerTime| u64::from(rate.count).div_ceil(rate.per.as_secs().max(1));
        let sum = rates.map(second).fold(0, u64::saturating_add);
        if sum > DEFAULT_CONNECT_RATE {
            let sum = sum.min(u64::from(u32::MAX));
            self.limits.set("max_connect_rate", format!("{sum}/s"));
        }
    }

    /// Remarks in the order of the sources.
    pub(crate) fn sort(&mut self, sources: &[Source<'_>]) {
        let place = |remark: &Remark| sources.iter().position(|s| s.name == remark.file);
        self.remarks.sort_by_key(|(_, remark)| (place(remark), remark.line));
    }

    pub(crate) fn into_remarks(self) -> Vec<Remark> {
        self.remarks.into_iter().map(|(_, remark)| remark).collect()
    }

    fn comments(&self, at: At) -> Vec<String> {
        let here = self.remarks.iter().filter(|(place, _)| *place == at);
        here.flat_map(|(_, remark)| remark.comments()).collect()
    }

    /// The YAML; `names` are those of the sources.
    pub(crate) fn write(&self, names: &[&str]) -> String {
        let mut out = Map::default();
        out.comment(format!("Imported from {}.", names.join(", ")));
        if !self.remarks.is_empty() {
            out.comment("Lines `# import: …` say what is not as it was there.");
        }
        out.comments(self.comments(At::Top));
        out.set("version", "1");
        self.block(&mut out, "gateway", &self.gateway, &[At::Gateway]);
        if !self.store.is_empty() {
            out.blank();
            out.append(self.store.clone());
        }
        self.write_listeners(&mut out);
        self.block(&mut out, "mqtt", &self.mqtt, &[At::Mqtt]);
        self.block(&mut out, "mqttsn", &self.mqttsn, &[At::MqttSn]);
        self.block(&mut out, "coap", &self.coap, &[At::Coap]);
        self.block(&mut out, "limits", &self.limits, &[At::Limits]);
        for (at, what) in [
            (At::Users, "users: `motegate passwd NAME` writes each entry anew"),
            (At::Acl, "acl: access rules come with a later version"),
            (At::Bridges, "bridges: they come with a later version"),
        ] {
            let comments = self.comments(at);
            if !comments.is_empty() {
                out.blank();
                out.comment(what);
                out.comments(comments);
            }
        }
        let mappings = self.mappings();
        self.block(&mut out, "mappings", &mappings, &[At::Mappings]);
        self.block(&mut out, "log", &self.log, &[At::Log]);
        out.write()
    }

    /// A block with its comments; only comments where it has no key.
    fn block(&self, out: &mut Map, key: &str, map: &Map, at: &[At]) {
        let comments: Vec<String> = at.iter().flat_map(|at| self.comments(*at)).collect();
        if map.is_empty() && comments.is_empty() {
            return;
        }
        out.blank();
        if map.has_keys() {
            out.comments(comments);
            out.set(key, Value::Map(map.clone()));
        } else {
            out.comment(format!("{key}:"));
            out.comments(comments);
        }
    }

    fn write_listeners(&self, out: &mut Map) {
        out.blank();
        out.comments(self.comments(At::Listeners));
        let items = self.listeners.iter().enumerate().map(|(i, placed)| Item {
            above: self.comments(At::Listener(i)),
            value: (!placed.left_out).then(|| placed.listener.value()),
        });
        out.set("listeners", Value::List(items.collect()));
    }

    fn mappings(&self) -> Map {
        let mut map = Map::default();
        if let Some(qos) = &self.default_qos {
            map.set("defaults", Value::Flow(vec![("qos".into(), qos.as_str().into())]));
        }
        if let Some(presets) = &self.presets {
            map.set("presets", Value::Texts(presets.clone()));
        }
        let list = |maps: &[Map]| {
            let value = |map: &Map| Some(Value::Map(map.clone()));
            let items = maps.iter().map(|map| Item { above: Vec::new(), value: value(map) });
            Value::List(items.collect())
        };
        map.comments(self.comments(At::CoapRules));
        if !self.coap_rules.is_empty() {
            map.set("coap", list(&self.coap_rules));
        }
        let mut sn = Map::default();
        if !self.groups.is_empty() {
            let mut groups = Map::default();
            for (name, globs) in &self.groups {
                match globs.as_slice() {
                    [one] => groups.set(name, one.as_str()),
                    many => groups.set(name, Value::Texts(many.to_vec())),
                }
            }
            sn.set("groups", Value::Map(groups));
        }
        sn.comments(self.comments(At::TopicIds));
        if !self.topic_ids.is_empty() {
            let mut scopes = Map::default();
            for (scope, ids) in &self.topic_ids {
                let mut map = Map::default();
                ids.iter().for_each(|(key, topic)| map.set(key, topic.as_str()));
                scopes.set(scope, Value::Map(map));
            }
            sn.set("topic_ids", Value::Map(scopes));
        }
        sn.comments(self.comments(At::Names));
        if !self.names.is_empty() {
            sn.set("names", list(&self.names));
        }
        if let Some(minus_one) = &self.qos_minus_one {
            sn.set("qos_minus_one", Value::Map(minus_one.clone()));
        }
        if sn.has_keys() {
            map.set("mqttsn", Value::Map(sn));
        } else {
            map.append(sn);
        }
        map
    }
}

/// What was written there, not longer than a line can bear.
fn short(text: &str) -> String {
    match text.char_indices().nth(80) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}
