//! `predefinedTopic.conf`: `client,topic,id` lines.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use super::super::draft::{At, Draft, Spot};
use super::super::fold::{self, Ids};
use super::super::yaml::{Map, Value};
use super::super::{RemarkKind, Source, is_topic, literal};
use super::clients::Clients;
use super::gateway::Settings;
use super::lines;

/// What ids mean to all, and to each client.
#[derive(Debug, Default)]
pub(super) struct Topics<'a> {
    all: Ids,
    clients: BTreeMap<String, Ids>,
    first: Option<Spot<'a>>,
}

impl<'a> Topics<'a> {
    pub(super) fn read(&mut self, source: Source<'a>, draft: &mut Draft) {
        // Topics of each scope: a topic has one id there, whatever a later line says.
        let mut named: BTreeSet<(String, String)> = BTreeSet::new();
        for line in lines(source) {
            let text: String = line.text.chars().filter(|c| !c.is_whitespace()).collect();
            self.first.get_or_insert(line.spot);
            if let Err((kind, why)) = self.take(&text, &mut named) {
                draft.remark(At::TopicIds, line.spot, kind, text, why);
            } else if text.starts_with("COMMON,") {
                let why = "taken as every client; newer versions of that gateway want * for that";
                draft.remark(At::TopicIds, line.spot, RemarkKind::Changed, "COMMON", why);
            }
        }
    }

    fn take(
        &mut self,
        text: &str,
        named: &mut BTreeSet<(String, String)>,
    ) -> Result<(), (RemarkKind, &'static str)> {
        use RemarkKind::{Changed, Unknown, Unsupported};
        let fields: Vec<&str> = text.split(',').collect();
        let [client, topic, id] = fields.as_slice() else {
            return Err((Unknown, "not client,topic,id: left out"));
        };
        let id: u16 = match id.parse() {
            Ok(0 | 0xffff) => return Err((Unsupported, "ids 0 and 65535 are reserved: left out")),
            Ok(id) => id,
            Err(_) => return Err((Unknown, "not a topic id from 1 to 65534: left out")),
        };
        if topic.contains(['+', '#']) {
            return Err((Unsupported, "an id stands for one topic, not for a filter: left out"));
        }
        if !is_topic(topic) || client.is_empty() {
            return Err((Unknown, "no client, or no topic that a broker takes: left out"));
        }
        if !named.insert(((*client).to_owned(), (*topic).to_owned())) {
            return Err((Changed, "the topic has an id already, and that gateway kept to it"));
        }
        let scope = match *client {
            "*" | "COMMON" => &mut self.all,
            client => self.clients.entry(client.to_owned()).or_default(),
        };
        match scope.entry(id) {
            Entry::Vacant(free) => {
                free.insert((*topic).to_owned());
                Ok(())
            }
            Entry::Occupied(_) => Err((Changed, "the id has a topic already: that one holds")),
        }
    }

    pub(super) fn write(self, settings: &Settings<'_>, clients: &Clients<'_>, draft: &mut Draft) {
        let folded = fold::fold(&self.all, &self.clients, &clients.names());
        for group in &folded.groups {
            if let (true, Some(spot)) = (group.is_open(), self.first) {
                let text = format!(
                    "{} clients became one group; it also takes clients that are not listed there",
                    group.clients
                );
                let what = format!("group {} ({})", group.name, group.globs.join(" "));
                draft.remark(At::TopicIds, spot, RemarkKind::Changed, what, text);
            }
        }
        let groups = folded.groups.into_iter();
        draft.groups = groups.map(|group| (group.name, group.globs)).collect();
        draft.topic_ids = folded.scopes;
        if let (Some((spot, value)), Some(_)) = (settings.get("PredefinedTopic"), self.first)
            && !value.eq_ignore_ascii_case("YES")
        {
            let text = "the ids were not in use there; they are now";
            let what = format!("PredefinedTopic={value}");
            draft.remark(At::TopicIds, spot, RemarkKind::Changed, what, text);
        }
        self.minus_one(settings, clients, draft);
    }

    /// Publishing without a connection: a client there is known by its address, and so it is here.
    fn minus_one(&self, settings: &Settings<'_>, clients: &Clients<'_>, draft: &mut Draft) {
        let devices = || clients.all.iter().filter(|client| client.qos_minus_one);
        let Some(spot) = settings.is_on("QoS-1") else {
            if let (Some(first), true) = (devices().next(), settings.given()) {
                let text = "publishing without a connection was off (QoS-1=NO) and stays off";
                draft.remark(At::TopicIds, first.spot, RemarkKind::Changed, &first.name, text);
            }
            return;
        };
        let mut ids: BTreeSet<u16> = self.all.keys().copied().collect();
        let mut scopes: BTreeMap<String, Ids> = BTreeMap::new();
        for client in devices() {
            let own = self.clients.get(&client.name);
            let (Some(ip), Some(own)) = (client.ip(), own) else {
                let text =
                    "no IP address, or no topic ids of its own: only the ids of all are open";
                draft.remark(At::TopicIds, client.spot, RemarkKind::Changed, &client.name, text);
                continue;
            };
            let scope = scopes.entry(format!("client:anon-{ip}")).or_default();
            for (id, topic) in own {
                ids.insert(*id);
                let kept = scope.entry(*id).or_insert_with(|| literal(topic));
                if *kept != literal(topic) {
                    let text = format!("another client of {ip} has id {id} for another topic");
                    let kind = RemarkKind::Unsupported;
                    draft.remark(At::TopicIds, client.spot, kind, &client.name, text);
                }
            }
        }
        if ids.is_empty() {
            let text = "off: give clients.conf and predefinedTopic.conf, which say whose and which";
            draft.remark(At::TopicIds, spot, RemarkKind::Unsupported, "QoS-1=YES", text);
            return;
        }
        draft
            .topic_ids
            .extend(scopes.iter().map(|(scope, ids)| (scope.clone(), fold::ranges(ids))));
        let mut minus_one = Map::default();
        minus_one.set("ids", Value::Texts(ids.iter().map(u16::to_string).collect()));
        minus_one.set("client", "anon-{source_ip}");
        minus_one.set("rate", "5/s");
        draft.qos_minus_one = Some(minus_one);
        let text = "senders are known by address, not by port, and each may send 5 a second";
        draft.remark(At::TopicIds, spot, RemarkKind::Changed, "QoS-1=YES", text);
    }
}
