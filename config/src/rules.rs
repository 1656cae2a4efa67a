//! The `mappings` block: into [`Rules`], and the mapping's errors into diagnostics.

mod advice;

use std::collections::BTreeMap;
use std::time::Duration;

use motegate_core::{Config as Core, Protocol};
use motegate_mapping::{
    CoapMethod, CoapRule, Codec, CodecForm, Defaults, FrameField, NameRule, PayloadRule, Place,
    Preset, QosMinusOne, Rules, Scope, SnRules, TopicId,
};

pub(crate) use advice::diagnose;

use crate::diagnostic::{Code, Diagnostic, nearest};
use crate::file;
use crate::reader::Reader;
use crate::value::{
    EmptyWord, ExtraWord, IdTopic, OneOrMany, SplitWord, Typed, UnsafeWord, radix, whole,
};

const METHODS: [(&str, CoapMethod); 5] = [
    ("GET", CoapMethod::Get),
    ("OBSERVE", CoapMethod::Observe),
    ("PUT", CoapMethod::Put),
    ("POST", CoapMethod::Post),
    ("DELETE", CoapMethod::Delete),
];

/// Reads the block; also how many rules the file has.
pub(crate) fn read(reader: &mut Reader<'_>, file: &file::File, core: &Core) -> (Rules, usize) {
    let mut rules = Rules::default();
    let coap = file.coap.as_ref();
    let coap_place = Place::root().at("coap");
    if let Some(prefix) = coap.and_then(|c| reader.get(c.prefix.as_ref(), &coap_place, "prefix")) {
        rules.prefix = prefix;
        if rules.prefix.contains(['?', '#', '{', '}', '%']) || rules.prefix.len() > 255 {
            let fix = "write the first segment of the path, such as `mqtt`";
            let place = coap_place.at("prefix");
            reader.report(&place, Code::Value, "this is no prefix of a path", fix);
        }
    }
    if let Some(blocks) = &file.codecs {
        rules.codecs = codecs(reader, blocks);
    }
    let Some(block) = &file.mappings else { return (rules, 0) };
    let place = Place::root().at("mappings");
    if let Some(defaults) = &block.defaults {
        let at = place.at("defaults");
        rules.defaults = Defaults {
            qos: reader.get(defaults.qos.as_ref(), &at, "qos").flatten(),
            retain: reader.get(defaults.retain.as_ref(), &at, "retain").unwrap_or_default(),
            expiry: reader.get(defaults.expiry.as_ref(), &at, "expiry"),
            max_age: max_age(reader, defaults.max_age.as_ref(), &at),
            on_bad_payload: reader
                .get(defaults.on_bad_payload.as_ref(), &at, "on_bad_payload")
                .unwrap_or_default(),
        };
    }
    if let Some(presets) = &block.presets {
        rules.presets = self::presets(reader, presets, &place.at("presets"));
    }
    for (i, rule) in block.coap.iter().flatten().enumerate() {
        let at = place.at("coap").at(i);
        // One that lacks something is reported, and left out of what is checked further.
        let rule = coap_rule(reader, rule, &at, core);
        rules.coap.push(rule);
    }
    if let Some(block) = &block.mqttsn {
        rules.sn = sn_rules(reader, block, &place.at("mqttsn"));
    }
    let count = rules.coap.len() + rules.sn.names.len();
    (rules, count)
}

fn presets(reader: &mut Reader<'_>, words: &[Typed<String>], at: &Place) -> Vec<Preset> {
    let mut presets = Vec::new();
    for (i, word) in words.iter().enumerate() {
        let place = at.at(i);
        match Preset::ALL.into_iter().find(|preset| preset.as_str() == word.text) {
            Some(preset) if presets.contains(&preset) => {
                reader.report(&place, Code::RuleName, "the preset is listed twice", "remove one");
            }
            Some(preset) => presets.push(preset),
            None => {
                let text = format!("there is no preset {:?}", word.text);
                let names = Preset::ALL.map(Preset::as_str);
                let fix = match nearest(&word.text, names.into_iter()) {
                    Some(name) => format!("did you mean `{name}`?"),
                    None => format!("the presets are {}", names.join(", ")),
                };
                reader.report(&place, Code::Value, text, fix);
            }
        }
    }
    presets
}

/// The entries of `codecs`; their fields are checked with the rules.
fn codecs(reader: &mut Reader<'_>, blocks: &BTreeMap<String, file::Codec>) -> Vec<Codec> {
    let place = Place::root().at("codecs");
    let mut codecs = Vec::new();
    for (name, block) in blocks {
        let at = place.at(name.as_str());
        let form = match (&block.frame, &block.cbor_keys) {
            (Some(fields), None) => {
                let at = at.at("frame");
                let fields = fields.iter().enumerate();
                CodecForm::Frame(fields.map(|(i, f)| field(reader, f, &at.at(i))).collect())
            }
            (None, Some(keys)) => CodecForm::CborKeys(cbor_keys(reader, keys, &at.at("cbor_keys"))),
            (one, _) => {
                let text = match one {
                    Some(_) => "a codec is a frame or has CBOR keys, not both",
                    None => "the codec is empty",
                };
                let fix = "write `frame: [{temp: i16be}]` or `cbor_keys: {0: temp}`";
                let at = reader.document.key(&at);
                reader.found.push(Diagnostic::new(Code::Format, text, fix).at(at));
                continue;
            }
        };
        codecs.push(Codec { name: name.clone(), form });
    }
    codecs
}

fn field(reader: &mut Reader<'_>, field: &file::Field, at: &Place) -> FrameField {
    let mut names = field.name.iter();
    // Without a name there is an empty one, which the mapping refuses.
    let (name, kind) = names.next().map_or_else(
        || (String::new(), "u8".to_owned()),
        |(n, kind)| (n.clone(), kind.text.clone()),
    );
    if names.next().is_some() {
        let fix = "write `{NAME: TYPE}` with `scale`, `offset`, `unit` or `bits` behind it";
        reader.report(at, Code::Format, "a field has one name", fix);
    }
    let mut bits = Vec::new();
    for (bit, number) in field.bits.iter().flatten() {
        let place = at.at("bits").at(bit.as_str());
        let Some(number) = reader.typed(number, &place) else { continue };
        match u8::try_from(number) {
            Ok(number) => bits.push((bit.clone(), number)),
            Err(_) => {
                reader.report(&place, Code::Format, "no field has so many bits", "count from 0")
            }
        }
    }
    FrameField {
        name,
        kind,
        scale: reader.get(field.scale.as_ref(), at, "scale"),
        offset: reader.get(field.offset.as_ref(), at, "offset"),
        unit: reader.get(field.unit.as_ref(), at, "unit"),
        bits,
    }
}

fn cbor_keys(
    reader: &mut Reader<'_>,
    keys: &BTreeMap<String, Typed<String>>,
    at: &Place,
) -> Vec<(i64, String)> {
    let mut out = Vec::new();
    for (key, name) in keys {
        // As it would be written, so that no key stands twice.
        match key.parse::<i64>().ok().filter(|number| number.to_string() == *key) {
            Some(number) => out.push((number, name.text.clone())),
            None => {
                let at = reader.document.key(&at.at(key.as_str()));
                let text = format!("{key:?} is no integer key");
                let fix = "write integers, and the names that they stand for: `{0: temp}`";
                reader.found.push(Diagnostic::new(Code::Format, text, fix).at(at));
            }
        }
    }
    out
}

/// A text that must be there.
fn required(
    reader: &mut Reader<'_>,
    field: Option<&Typed<String>>,
    at: &Place,
    key: &str,
    fix: &str,
) -> String {
    match reader.get(field, at, key) {
        Some(text) if !text.is_empty() => text,
        _ => {
            reader.missing(at, key, fix);
            String::new()
        }
    }
}

/// A name in logs and counters; unique, so that what has none gets its place.
fn name(reader: &mut Reader<'_>, field: Option<&Typed<String>>, at: &Place) -> String {
    let name = required(reader, field, at, "name", "add `name:`; it appears in logs and errors");
    if name.is_empty() { at.to_string() } else { name }
}

fn coap_rule(reader: &mut Reader<'_>, rule: &file::CoapRule, at: &Place, core: &Core) -> CoapRule {
    let r = reader;
    let path = required(r, rule.path.as_ref(), at, "path", "add `path: \"/s/{x}\"`");
    let topic = required(r, rule.topic.as_ref(), at, "topic", "add `topic: \"site/{x}\"`");
    let query = rule.query.iter().flatten();
    let encode = r.get(rule.unsafe_.as_ref(), at, "unsafe") == Some(UnsafeWord::Encode);
    let extra = r.get(rule.query_extra.as_ref(), at, "query_extra");
    let empty = r.get(rule.when_empty.as_ref(), at, "when_empty");
    CoapRule {
        name: name(r, rule.name.as_ref(), at),
        methods: methods(r, rule, &at.at("methods")),
        query: texts(query),
        query_extra_ignored: extra == Some(ExtraWord::Ignore),
        qos: r.get(rule.qos.as_ref(), at, "qos"),
        retain: r.get(rule.retain.as_ref(), at, "retain"),
        expiry: r.get(rule.expiry.as_ref(), at, "expiry"),
        max_age: max_age(r, rule.max_age.as_ref(), at),
        priority: r.get(rule.priority.as_ref(), at, "priority").unwrap_or(0),
        listeners: listeners(r, rule.listener.as_ref(), &at.at("listener"), core),
        client: r.get(rule.client.as_ref(), at, "client"),
        encode,
        absolute: r.get(rule.absolute.as_ref(), at, "absolute").unwrap_or(false),
        not_found_when_empty: empty == Some(EmptyWord::NotFound),
        host: r.get(rule.host.as_ref(), at, "host"),
        payload: rule.payload.as_ref().map(|block| payload(r, block, &at.at("payload"))),
        on_bad_payload: r.get(rule.on_bad_payload.as_ref(), at, "on_bad_payload"),
        link: texts(rule.link.iter().flatten()),
        path,
        topic,
    }
}

/// RFC 7252 §5.10.5: an integer number of seconds.
fn max_age(
    reader: &mut Reader<'_>,
    field: Option<&Typed<Duration>>,
    at: &Place,
) -> Option<Duration> {
    let found = reader.get(field, at, "max_age");
    if found.is_some_and(|age| age.subsec_nanos() > 0) {
        let text = "Max-Age is in whole seconds";
        let fix = "write seconds such as `1s`, or `0`: ask again each time";
        reader.report(&at.at("max_age"), Code::Value, text, fix);
    }
    found
}

fn texts<'a>(
    pairs: impl Iterator<Item = (&'a String, &'a Typed<String>)>,
) -> Vec<(String, String)> {
    pairs.map(|(key, value)| (key.clone(), value.text.clone())).collect()
}

fn payload(reader: &mut Reader<'_>, block: &file::Payload, at: &Place) -> PayloadRule {
    let device = block.device.as_ref().map(|many| many.0.as_slice()).unwrap_or_default();
    if block.device.is_none() {
        reader.missing(at, "device", "add `device: json`: what devices write");
    }
    PayloadRule {
        device: device.iter().map(|typed| typed.text.clone()).collect(),
        broker: required(reader, block.broker.as_ref(), at, "broker", "add `broker: json`"),
        split: reader.get(block.split.as_ref(), at, "split") == Some(SplitWord::Senml),
    }
}

fn methods(
    reader: &mut Reader<'_>,
    rule: &file::CoapRule,
    at: &Place,
) -> Option<Vec<(CoapMethod, motegate_mapping::Action)>> {
    let methods = rule.methods.as_ref()?;
    let mut out = Vec::new();
    for (word, action) in methods {
        let place = at.at(word.as_str());
        let action = reader.typed(action, &place);
        let known = METHODS.iter().find(|(name, _)| name == word).map(|(_, method)| *method);
        match (known, action) {
            (Some(method), Some(action)) => out.push((method, action)),
            (None, _) => {
                let upper = word.to_uppercase();
                let near = nearest(&upper, METHODS.iter().map(|(name, _)| *name));
                let fix = match near {
                    Some(name) => format!("did you mean `{name}`?"),
                    None => "a rule can take GET, OBSERVE, PUT, POST and DELETE".to_owned(),
                };
                let at = reader.document.key(&place);
                let text = format!("no rule can take the method {word}");
                reader.found.push(Diagnostic::new(Code::Method, text, fix).at(at));
            }
            _ => {}
        }
    }
    Some(out)
}

fn listeners(
    reader: &mut Reader<'_>,
    field: Option<&OneOrMany<String>>,
    at: &Place,
    core: &Core,
) -> Vec<String> {
    let names = field.map(|many| many.0.as_slice()).unwrap_or_default();
    let mut out = Vec::new();
    for (i, typed) in names.iter().enumerate() {
        let coap = || core.listeners.iter().filter(|l| l.protocol == Protocol::Coap);
        if !coap().any(|l| *l.name == *typed.text) {
            let known: Vec<&str> = coap().map(|l| &*l.name).collect();
            let fix = match nearest(&typed.text, known.iter().copied()) {
                Some(name) => format!("did you mean `{name}`?"),
                None if known.is_empty() => "there is no listener with `protocol: coap`".to_owned(),
                None => format!("the CoAP listeners are {}", known.join(", ")),
            };
            let text = format!("there is no CoAP listener {:?}", typed.text);
            reader.unknown_listener(&at.at(i), text, fix);
        }
        out.push(typed.text.clone());
    }
    out
}

fn sn_rules(reader: &mut Reader<'_>, block: &file::SnMappings, at: &Place) -> SnRules {
    let texts = |many: &OneOrMany<String>| many.0.iter().map(|t| t.text.clone()).collect();
    let groups = block.groups.iter().flatten();
    let short = block.short.iter().flatten();
    let mut rules = SnRules {
        groups: groups.map(|(name, globs)| (name.clone(), texts(globs))).collect(),
        short: short.map(|(name, topic)| (name.clone(), topic.text.clone())).collect(),
        ..SnRules::default()
    };
    let ids_at = at.at("topic_ids");
    for (scope, ids) in block.topic_ids.iter().flatten() {
        let at = ids_at.at(scope.as_str());
        let ids = ids.iter().filter_map(|(key, topic)| topic_id(reader, key, topic, &at)).collect();
        rules.topic_ids.push((self::scope(scope), ids));
    }
    for (i, entry) in block.names.iter().flatten().enumerate() {
        let at = at.at("names").at(i);
        let r = &mut *reader;
        rules.names.push(NameRule {
            name: name(r, entry.name.as_ref(), &at),
            filter: required(r, entry.filter.as_ref(), &at, "filter", "add `filter: \"d/{x}\"`"),
            topic: required(r, entry.topic.as_ref(), &at, "topic", "add `topic: \"dev/{x}\"`"),
            priority: r.get(entry.priority.as_ref(), &at, "priority").unwrap_or(0),
        });
    }
    let minus_one = block.qos_minus_one.as_ref();
    rules.qos_minus_one = minus_one.map(|m| qos_minus_one(reader, m, &at.at("qos_minus_one")));
    rules
}

fn scope(key: &str) -> Scope {
    match (key, key.strip_prefix("client:")) {
        ("all", _) => Scope::All,
        (_, Some(client)) => Scope::Client(client.to_owned()),
        _ => Scope::Group(key.to_owned()),
    }
}

fn topic_id(reader: &mut Reader<'_>, key: &str, topic: &IdTopic, at: &Place) -> Option<TopicId> {
    let place = at.at(key);
    let number = |text: &str| -> Option<u16> {
        let canonical = radix(text).is_some() || !text.starts_with('0');
        whole(text).filter(|_| canonical).and_then(|number| number.try_into().ok())
    };
    let range = match key.split_once('-') {
        Some((first, last)) => number(first).zip(number(last)),
        None => number(key).map(|id| (id, id)),
    };
    let Some((first, last)) = range else {
        let at = reader.document.key(&place);
        let fix = "write a number from 1 to 65534, or a range such as 100-131";
        let text = format!("{key:?} is no topic id");
        reader.found.push(Diagnostic::new(Code::TopicId, text, fix).at(at));
        return None;
    };
    let mut id = TopicId { first, last, ..TopicId::default() };
    match topic {
        IdTopic::Plain(text) => id.topic = text.clone(),
        IdTopic::Detailed(detail) => {
            id.detailed = true;
            let fix = "add `topic: \"dev/{client}/x\"`";
            id.topic = required(reader, detail.topic.as_ref(), &place, "topic", fix);
            id.retain = reader.get(detail.retain.as_ref(), &place, "retain");
            id.expiry = reader.get(detail.expiry.as_ref(), &place, "expiry");
            let absolute = reader.get(detail.absolute.as_ref(), &place, "absolute");
            id.absolute = absolute.unwrap_or(false);
            id.codec = reader.get(detail.codec.as_ref(), &place, "codec");
        }
    }
    Some(id)
}

fn qos_minus_one(reader: &mut Reader<'_>, block: &file::QosMinusOne, at: &Place) -> QosMinusOne {
    let client = required(
        reader,
        block.client.as_ref(),
        at,
        "client",
        "add `client: \"anon-{source_ip}\"`: every message has somebody who sent it",
    );
    if block.rate.is_none() {
        reader.missing(at, "rate", "add `rate: 5/s`: anyone can send these messages");
    }
    if block.ids.is_none() {
        reader.missing(at, "ids", "add `ids: [1]`: the topic ids that are open to anyone");
    }
    let (mut ids, mut short) = (Vec::new(), Vec::new());
    for (i, typed) in block.ids.iter().flatten().enumerate() {
        let number = whole(&typed.text).and_then(|number| u16::try_from(number).ok());
        match (number, <[u8; 2]>::try_from(typed.text.as_bytes())) {
            (Some(id), _) => ids.push(id),
            (None, Ok(name)) => short.push(name),
            (None, Err(_)) => {
                let text = format!("{:?} is neither a topic id nor a short name", typed.text);
                let fix = "list ids from topic_ids, or short names of two characters";
                reader.report(&at.at("ids").at(i), Code::QosMinusOne, text, fix);
            }
        }
    }
    let rate = reader.get(block.rate.as_ref(), at, "rate");
    QosMinusOne { ids, short, client, rate }
}
