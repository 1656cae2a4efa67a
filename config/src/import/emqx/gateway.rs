//! `gateway.mqttsn` and `gateway.coap`.

use super::super::draft::{At, Draft, Spot};
use super::super::fold::{self, Ids};
use super::super::hocon::Value as Hocon;
use super::super::tree::{Tree, field};
use super::super::yaml::{Map, Value};
use super::super::{RemarkKind, is_topic};
use super::{Door, Doors, later_listeners, listeners, says_something};

const SN: &str = "mqttsn";
const COAP: &str = "coap";

/// Whether there is such a gateway and it is on.
fn present(tree: &Tree<'_>, name: &str, draft: &mut Draft) -> Option<usize> {
    let entry = tree.root.find(&["gateway", name])?;
    if tree.flag(&["gateway", name, "enable"]).is_some_and(|(_, on)| !on) {
        tree.done(&["gateway", name]);
        let what = format!("gateway.{name}");
        let text = "switched off there: left out";
        draft.remark(At::Listeners, entry.spot, RemarkKind::Changed, what, text);
        return None;
    }
    Some(entry.spot.line)
}

/// Its listeners; gives their places.
fn doors(tree: &Tree<'_>, name: &'static str, doors: &Doors, draft: &mut Draft) -> Vec<usize> {
    let own = tree.root.find(&["gateway", name, "authentication"]).filter(|e| says_something(e));
    let mount = tree.text(&["gateway", name, "mountpoint"]);
    let mount = mount.filter(|(_, text)| !text.is_empty());
    let path = &["gateway", name, "listeners", "udp"];
    let door = Door {
        path,
        protocol: name,
        open: own.is_none() && !doors.authorization,
        mount: mount.map(|(spot, text)| (text.to_owned(), spot.line)),
    };
    let places = listeners(tree, &door, draft);
    let secure = if name == SN { "mqttsns" } else { "coaps" };
    later_listeners(tree, &["gateway", name, "listeners", "dtls"], secure, draft);
    places
}

pub(super) fn mqtt_sn(tree: &Tree<'_>, who: &Doors, draft: &mut Draft) {
    if present(tree, SN, draft).is_none() {
        return;
    }
    doors(tree, SN, who, draft);
    let at = |key: &'static str| ["gateway", SN, key];
    if let Some((spot, text)) = tree.text(&at("gateway_id")) {
        match text.parse::<u8>() {
            Ok(id) if id > 0 => draft.gateway.set("sn_gateway_id", id.to_string()),
            _ => {
                let text = "not from 1 to 255: left out";
                draft.remark(At::Gateway, spot, RemarkKind::Unknown, "gateway_id", text);
            }
        }
    }
    if let Some((spot, true)) = tree.flag(&at("broadcast")) {
        let to = Value::Texts(vec!["255.255.255.255".into()]);
        draft.mqttsn.set("advertise", Value::Flow(vec![("to".into(), to)]));
        let text = "to the link that the system picks; `255.255.255.255%INTERFACE` says which";
        draft.remark(At::MqttSn, spot, RemarkKind::Changed, "broadcast = true", text);
    }
    let ids = predefined(tree, draft);
    let folded = fold::fold(&ids, &Default::default(), &Default::default());
    draft.topic_ids.extend(folded.scopes);
    if let Some((spot, true)) = tree.flag(&at("enable_qos3")) {
        if ids.is_empty() {
            let text =
                "publishing without a connection is for listed ids only; none is pre-defined";
            draft.remark(At::TopicIds, spot, RemarkKind::Unsupported, "enable_qos3 = true", text);
            return;
        }
        let mut minus_one = Map::default();
        minus_one.set("ids", Value::Texts(ids.keys().map(u16::to_string).collect()));
        minus_one.set("client", "anon-{source_ip}");
        minus_one.set("rate", "5/s");
        draft.qos_minus_one = Some(minus_one);
        let text = "open for the pre-defined ids, 5 a second from an address; names that were \
                    registered need a connection here";
        draft.remark(At::TopicIds, spot, RemarkKind::Changed, "enable_qos3 = true", text);
    }
}

/// `predefined = [{id, topic}]`.
fn predefined(tree: &Tree<'_>, draft: &mut Draft) -> Ids {
    let mut ids = Ids::new();
    let Some(entry) = tree.get(&["gateway", SN, "predefined"]) else { return ids };
    let Hocon::List(list) = &entry.value else { return ids };
    for item in list {
        let text = |key: &str| field(item, key).map_or("", |(_, text)| text);
        let (id, topic) = (text("id"), text("topic"));
        let what = format!("predefined {id} {topic}");
        let number = id.parse::<u16>().ok().filter(|id| (1..0xffff).contains(id));
        let mut out =
            |why: &str| draft.remark(At::TopicIds, item.spot, RemarkKind::Unknown, &what, why);
        match number {
            None => out("not a topic id from 1 to 65534: left out"),
            Some(_) if !is_topic(topic) => out("not the name of one topic: left out"),
            // The table there is filled in order, the last one holds.
            Some(id) => {
                if let Some(old) = ids.insert(id, topic.to_owned()).filter(|old| old != topic) {
                    let why = format!("takes the id from {old:?}, as it did there");
                    draft.remark(At::TopicIds, item.spot, RemarkKind::Changed, &what, why);
                }
            }
        }
    }
    ids
}

pub(super) fn coap(tree: &Tree<'_>, who: &Doors, draft: &mut Draft) {
    let Some(line) = present(tree, COAP, draft) else { return };
    let places = doors(tree, COAP, who, draft);
    let Some(entry) = tree.root.find(&["gateway", COAP]) else { return };
    let spot = Spot { line, ..entry.spot };
    if places.is_empty() {
        return;
    }
    let at = |key: &'static str| ["gateway", COAP, key];
    let required = tree.flag(&at("connection_required")).is_some_and(|(_, required)| required);
    for place in places {
        if let Some(listener) = draft.listener_mut(place) {
            (listener.client_from_query, listener.connection_required) = (true, required);
        }
    }
    if let Some((spot, kind)) = tree.text(&at("notify_type")).filter(|(_, kind)| *kind != "qos") {
        let text =
            "notifications are CON or NON by the QoS of the message, and one of a few is CON";
        let what = format!("notify_type = {kind}");
        draft.remark(At::Coap, spot, RemarkKind::Changed, what, text);
    }
    qos(tree, draft);
    draft.default_qos = rule_qos(tree).map(str::to_owned);
    draft.presets = Some(vec!["emqx-ps".into()]);
    let text = "what is retained comes to an observer first, and a connection's token has 16 \
                characters, not 10";
    draft.remark(At::Coap, spot, RemarkKind::Changed, "gateway.coap", text);
}

/// How rules for EMQX's paths treat requests.
pub(super) fn ps_settings(tree: &Tree<'_>, rule: &mut Map) {
    let pairs = |pairs: &[(&str, &str)]| {
        Value::Flow(pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).into())).collect())
    };
    let methods = [("PUT", "publish"), ("POST", "publish"), ("OBSERVE", "subscribe")];
    rule.set("methods", pairs(&methods));
    rule.set("query", pairs(&[("qos", "qos"), ("retain", "retain"), ("expiry", "expiry")]));
    rule.set("query_extra", "ignore");
    rule.set("retain", "false");
    if let Some(qos) = rule_qos(tree) {
        rule.set("qos", qos);
    }
}

/// The QoS of what is published, if it is not that of the request.
fn rule_qos<'t>(tree: &'t Tree<'_>) -> Option<&'t str> {
    let (_, text) = tree.text(&["gateway", COAP, "publish_qos"])?;
    text.strip_prefix("qos").filter(|qos| matches!(*qos, "0" | "1" | "2"))
}

fn qos(tree: &Tree<'_>, draft: &mut Draft) {
    let publish = tree.text(&["gateway", COAP, "publish_qos"]).map_or("coap", |(_, text)| text);
    let subscribe = tree.text(&["gateway", COAP, "subscribe_qos"]);
    if let Some((spot, text)) = subscribe.filter(|(_, text)| *text != publish) {
        let what = format!("subscribe_qos = {text}");
        let text = "a rule has one QoS, for what is published and observed: that of publish_qos";
        draft.remark(At::Coap, spot, RemarkKind::Changed, what, text);
    }
}
