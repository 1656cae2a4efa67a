//! From the `tests` block to [`Test`]s, and everything that keeps one from being run.

use std::collections::{BTreeMap, HashMap};

use motegate_core::{Config as Core, Protocol};
use motegate_mapping::{CoapMethod, Place};
use motegate_message::{ListenerId, Qos};
use serde_json::Value as Json;

use super::block::{self, OneOrSome};
use super::part::{CodeText, Hex, MethodWord, REASONS, SnQos, decode_percent};
use super::{
    Answer, CoapRequest, Deliver, Expect, Given, Message, MqttPublish, Notify, Payload, SnPublish,
    SnTopic, Stimulus, Subscriber, Test,
};
use crate::diagnostic::{Code, Diagnostic, nearest};
use crate::reader::Reader;
use crate::value::Typed;

type Text<'a> = Option<&'a Typed<String>>;
type Number<'a> = Option<&'a Typed<u64>>;

/// Reads the block. A test that has a mistake is reported and left out.
pub(crate) fn read(reader: &mut Reader<'_>, tests: &[block::Test], core: &Core) -> Vec<Test> {
    let list = Place::root().at("tests");
    let mut names: HashMap<String, Place> = HashMap::new();
    let mut out = Vec::with_capacity(tests.len());
    for (i, test) in tests.iter().enumerate() {
        let at = list.at(i);
        let mut part = Part { reader: &mut *reader, core };
        let read = part.test(test, &at);
        let Some(read) = read else { continue };
        match names.get(&read.name) {
            Some(first) => {
                let first = reader.document.value(&first.at("name"));
                let text = format!("the name {:?} is already taken", read.name);
                let fix = "give each test its own name";
                let d = Diagnostic::new(Code::Test, text, fix);
                let here = reader.document.value(&at.at("name"));
                reader.found.push(d.at(here).also(first, "the first one"));
            }
            None => {
                names.insert(read.name.clone(), at);
                out.push(read);
            }
        }
    }
    out
}

struct Part<'r, 'd> {
    reader: &'r mut Reader<'d>,
    core: &'r Core,
}

impl Part<'_, '_> {
    fn test(&mut self, test: &block::Test, at: &Place) -> Option<Test> {
        let name = self.reader.get(test.name.as_ref(), at, "name").filter(|name| !name.is_empty());
        if name.is_none() {
            self.reader.missing(at, "name", "add `name:`; a failure is told by it");
        }
        let given = test.given.as_ref().map(|given| self.given(given, &at.at("given")));
        let stimulus = self.stimulus(test, at);
        let expect = match &test.expect {
            Some(expect) => {
                // Where it cannot be read, its own mistake says enough.
                let coap = stimulus.as_ref().is_none_or(|s| matches!(s, Stimulus::Coap(_)));
                self.expect(expect, &at.at("expect"), coap)
            }
            None => {
                self.reader.missing(at, "expect", "add `expect:`; without it nothing can fail");
                None
            }
        };
        Some(Test {
            name: name?,
            place: at.clone(),
            given: given.unwrap_or_default(),
            stimulus: stimulus?,
            expect: expect?,
        })
    }

    fn wrong(&mut self, place: &Place, text: impl Into<String>, fix: impl Into<String>) {
        self.reader.report(place, Code::Test, text, fix);
    }

    fn stimulus(&mut self, test: &block::Test, at: &Place) -> Option<Stimulus> {
        let given = [test.coap.is_some(), test.mqttsn.is_some(), test.mqtt.is_some()];
        match given.iter().filter(|given| **given).count() {
            1 => {}
            0 => {
                let fix = "add one of `coap`, `mqttsn` and `mqtt`";
                self.reader.missing(at, "coap", fix);
                return None;
            }
            _ => {
                let text = "a test has one of `coap`, `mqttsn` and `mqtt`";
                self.wrong(at, text, "make two tests of it");
                return None;
            }
        }
        if let Some(coap) = &test.coap {
            return self.coap(coap, &at.at("coap")).map(Stimulus::Coap);
        }
        if let Some(sn) = &test.mqttsn {
            return self.sn(sn, &at.at("mqttsn")).map(Stimulus::MqttSn);
        }
        let mqtt = test.mqtt.as_ref()?;
        self.mqtt(mqtt, &at.at("mqtt")).map(Stimulus::Mqtt)
    }

    fn coap(&mut self, coap: &block::Coap, at: &Place) -> Option<CoapRequest> {
        let payload = self.payload(at, coap.text.as_ref(), coap.hex.as_ref());
        let method = self.reader.get(coap.method.as_ref(), at, "method");
        let confirmable = self.reader.get(coap.confirmable.as_ref(), at, "confirmable");
        Some(CoapRequest {
            listener: self.listener(coap.listener.as_ref(), at, Protocol::Coap)?,
            client: self.reader.get(coap.client.as_ref(), at, "client"),
            method: method.map_or(CoapMethod::Get, |MethodWord(method)| method),
            path: self.path(coap.path.as_ref(), at)?,
            query: self.query(coap.query.as_ref(), at)?,
            payload,
            content_format: self.number(coap.content_format.as_ref(), at, "content_format"),
            accept: self.number(coap.accept.as_ref(), at, "accept"),
            confirmable: confirmable.unwrap_or(true),
        })
    }

    fn sn(&mut self, sn: &block::MqttSn, at: &Place) -> Option<SnPublish> {
        let payload = self.payload(at, sn.text.as_ref(), sn.hex.as_ref());
        let qos =
            self.reader.get(sn.qos.as_ref(), at, "qos").unwrap_or(SnQos(Some(Qos::AtMostOnce)));
        let topic = self.sn_topic(sn.topic.as_ref(), sn.topic_id.as_ref(), sn.short.as_ref(), at);
        if sn.topic.is_none() && sn.topic_id.is_none() && sn.short.is_none() {
            self.no_topic(at);
        }
        if let (Some(SnTopic::Name(_)), SnQos(None)) = (&topic, qos) {
            // MQTT-SN 1.2 §6.8.
            let fix = "write `topic_id` or `short`";
            self.wrong(&at.at("topic"), "QoS -1 takes pre-defined ids and short names only", fix);
        }
        Some(SnPublish {
            listener: self.listener(sn.listener.as_ref(), at, Protocol::MqttSn)?,
            // Without a connection there is no client id: the rule gives one.
            client: match (&sn.client, qos.0) {
                (None, None) => String::new(),
                (client, _) => self.client(client.as_ref(), at)?,
            },
            topic: topic?,
            qos: qos.0,
            retain: self.reader.get(sn.retain.as_ref(), at, "retain").unwrap_or(false),
            payload,
        })
    }

    fn mqtt(&mut self, mqtt: &block::Mqtt, at: &Place) -> Option<MqttPublish> {
        let payload = self.payload(at, mqtt.text.as_ref(), mqtt.hex.as_ref());
        let listener = match &mqtt.listener {
            Some(listener) => Some(self.listener(Some(listener), at, Protocol::Mqtt)?),
            None => None,
        };
        let client = self.reader.get(mqtt.client.as_ref(), at, "client");
        Some(MqttPublish {
            listener,
            client: client.unwrap_or_else(|| "test".into()),
            topic: self.topic(mqtt.topic.as_ref(), at)?,
            qos: self.qos(mqtt.qos.as_ref(), at).unwrap_or(Qos::AtLeastOnce),
            retain: self.reader.get(mqtt.retain.as_ref(), at, "retain").unwrap_or(false),
            user: texts(mqtt.user.as_ref()),
            content_type: self.content_type(mqtt.content_type.as_ref(), at, payload.as_ref()),
            payload,
        })
    }

    fn content_type(
        &mut self,
        field: Text<'_>,
        at: &Place,
        payload: Option<&Payload>,
    ) -> Option<String> {
        let json = || matches!(payload, Some(Payload::Json(_))).then(|| "application/json".into());
        self.reader.get(field, at, "content_type").or_else(json)
    }

    fn given(&mut self, given: &block::Given, at: &Place) -> Given {
        let mut out = Given::default();
        for (retained, at) in each(given.retained.as_ref(), &at.at("retained")) {
            let payload = self.payload(&at, retained.text.as_ref(), retained.hex.as_ref());
            let Some(topic) = self.topic(retained.topic.as_ref(), &at) else { continue };
            out.retained.push(MqttPublish {
                listener: None,
                client: "test".into(),
                topic,
                qos: Qos::AtLeastOnce,
                retain: true,
                user: Vec::new(),
                content_type: self.content_type(
                    retained.content_type.as_ref(),
                    &at,
                    payload.as_ref(),
                ),
                payload,
            });
        }
        for (observe, at) in each(given.observe.as_ref(), &at.at("observe")) {
            out.observe.extend(self.observe(observe, &at));
        }
        for (subscribe, at) in each(given.subscribe.as_ref(), &at.at("subscribe")) {
            out.subscribe.extend(self.subscriber(subscribe, &at, false));
        }
        for (sleep, at) in each(given.sleep.as_ref(), &at.at("sleep")) {
            out.subscribe.extend(self.subscriber(sleep, &at, true));
        }
        out
    }

    fn observe(&mut self, observe: &block::Observe, at: &Place) -> Option<CoapRequest> {
        Some(CoapRequest {
            listener: self.listener(observe.listener.as_ref(), at, Protocol::Coap)?,
            client: self.reader.get(observe.client.as_ref(), at, "client"),
            method: CoapMethod::Observe,
            path: self.path(observe.path.as_ref(), at)?,
            query: self.query(observe.query.as_ref(), at)?,
            payload: None,
            content_format: None,
            accept: self.number(observe.accept.as_ref(), at, "accept"),
            confirmable: true,
        })
    }

    fn subscriber(
        &mut self,
        block: &block::Subscribe,
        at: &Place,
        asleep: bool,
    ) -> Option<Subscriber> {
        let topic =
            self.sn_topic(block.topic.as_ref(), block.topic_id.as_ref(), block.short.as_ref(), at);
        if block.topic.is_none() && block.topic_id.is_none() && block.short.is_none() {
            self.no_topic(at);
        }
        Some(Subscriber {
            listener: self.listener(block.listener.as_ref(), at, Protocol::MqttSn)?,
            client: self.client(block.client.as_ref(), at)?,
            topic: topic?,
            qos: self.qos(block.qos.as_ref(), at).unwrap_or(Qos::AtLeastOnce),
            asleep,
        })
    }

    fn expect(&mut self, expect: &block::Expect, at: &Place, coap: bool) -> Option<Expect> {
        let Ok(code) = self.code(expect.code.as_ref(), at) else { return None };
        if !coap {
            for (key, there) in [("code", code.is_some()), ("answer", expect.answer.is_some())] {
                if there {
                    let fix = "remove it, or write `refused`, or `messages`";
                    self.wrong(&at.at(key), "only a CoAP request is answered so", fix);
                }
            }
        }
        let one = Message {
            topic: self.reader.get(expect.topic.as_ref(), at, "topic"),
            retain: self.reader.get(expect.retain.as_ref(), at, "retain"),
            qos: self.qos(expect.qos.as_ref(), at),
            expiry: self.reader.get(expect.expiry.as_ref(), at, "expiry"),
            user: texts(expect.user.as_ref()),
            payload: self.payload(at, expect.text.as_ref(), expect.hex.as_ref()),
        };
        let messages = expect.messages.as_ref().map(|all| {
            let at = at.at("messages");
            all.iter().enumerate().map(|(i, message)| self.message(message, &at.at(i))).collect()
        });
        let single = one != Message::default();
        if single && messages.is_some() {
            let fix = "put it into the list, or leave `messages` out";
            self.wrong(&at.at("messages"), "`messages` are all, and beside them is one more", fix);
        }
        let notify = expect.notify.as_ref().map(|all| {
            let all = each(Some(all), &at.at("notify"));
            all.filter_map(|(one, at)| self.notify(one, &at)).collect()
        });
        let deliver = expect.deliver.as_ref().map(|all| {
            let all = each(Some(all), &at.at("deliver"));
            all.map(|(one, at)| self.deliver(one, &at)).collect()
        });
        let answer = expect.answer.as_ref().map(|answer| {
            let at = at.at("answer");
            Answer {
                content_format: self.number(answer.content_format.as_ref(), &at, "content_format"),
                payload: self.payload(&at, answer.text.as_ref(), answer.hex.as_ref()),
            }
        });
        let read = Expect {
            code,
            answer,
            refused: self.refused(expect, at),
            messages: messages.or(single.then(|| vec![one])),
            notify,
            deliver,
            coap_path: self.reader.get(expect.coap_path.as_ref(), at, "coap_path"),
            link: self.reader.get(expect.link.as_ref(), at, "link"),
        };
        if read == Expect::default() && expect.refused.is_none() {
            self.wrong(
                at,
                "the test expects nothing, so that it cannot fail",
                "write what must come",
            );
            return None;
        }
        Some(read)
    }

    fn refused(&mut self, expect: &block::Expect, at: &Place) -> Option<motegate_message::Reason> {
        let typed = expect.refused.as_ref()?;
        let known = REASONS.iter().find(|word| **word == typed.text);
        if known.is_some() {
            return self.reader.typed(typed, &at.at("refused")).map(|word| word.0);
        }
        let fix = match nearest(&typed.text, REASONS.iter().copied()) {
            Some(word) => format!("did you mean `{word}`?"),
            None => format!("the reasons are {}", REASONS.join(", ")),
        };
        let text = format!("{:?} is no reason", typed.text);
        self.reader.report(&at.at("refused"), Code::Value, text, fix);
        None
    }

    fn message(&mut self, message: &block::Message, at: &Place) -> Message {
        Message {
            topic: self.reader.get(message.topic.as_ref(), at, "topic"),
            retain: self.reader.get(message.retain.as_ref(), at, "retain"),
            qos: self.qos(message.qos.as_ref(), at),
            expiry: self.reader.get(message.expiry.as_ref(), at, "expiry"),
            user: texts(message.user.as_ref()),
            payload: self.payload(at, message.text.as_ref(), message.hex.as_ref()),
        }
    }

    fn notify(&mut self, notify: &block::Notify, at: &Place) -> Option<Notify> {
        let path = match &notify.path {
            Some(path) => Some(self.path(Some(path), at)?),
            None => None,
        };
        Some(Notify {
            client: self.reader.get(notify.client.as_ref(), at, "client"),
            path,
            code: self.code(notify.code.as_ref(), at).ok()?,
            content_format: self.number(notify.content_format.as_ref(), at, "content_format"),
            payload: self.payload(at, notify.text.as_ref(), notify.hex.as_ref()),
        })
    }

    fn deliver(&mut self, deliver: &block::Deliver, at: &Place) -> Deliver {
        Deliver {
            client: self.reader.get(deliver.client.as_ref(), at, "client"),
            topic: self.sn_topic(
                deliver.topic.as_ref(),
                deliver.topic_id.as_ref(),
                deliver.short.as_ref(),
                at,
            ),
            retain: self.reader.get(deliver.retain.as_ref(), at, "retain"),
            qos: self.qos(deliver.qos.as_ref(), at),
            payload: self.payload(at, deliver.text.as_ref(), deliver.hex.as_ref()),
        }
    }

    fn listener(&mut self, field: Text<'_>, at: &Place, protocol: Protocol) -> Option<ListenerId> {
        let all = self.core.listeners.iter().enumerate();
        let ours = all.filter(|(_, listener)| listener.protocol == protocol);
        let id = |place: usize| u16::try_from(place).ok().map(ListenerId);
        let word = match protocol {
            Protocol::Mqtt => "mqtt",
            Protocol::MqttSn => "mqttsn",
            Protocol::Coap => "coap",
        };
        let Some(field) = field else {
            let first = ours.map(|(place, _)| place).next().and_then(id);
            if first.is_none() {
                let text = format!("there is no listener with `protocol: {word}`");
                let fix = format!("add one: `{{protocol: {word}, anonymous: true}}`");
                self.reader.unknown_listener(at, text, fix);
            }
            return first;
        };
        let names: Vec<(usize, String)> =
            ours.map(|(place, listener)| (place, listener.name.to_string())).collect();
        if let Some((place, _)) = names.iter().find(|(_, name)| *name == field.text) {
            return id(*place);
        }
        let known: Vec<&str> = names.iter().map(|(_, name)| name.as_str()).collect();
        let fix = match nearest(&field.text, known.iter().copied()) {
            Some(name) => format!("did you mean `{name}`?"),
            None if known.is_empty() => format!("there is no listener with `protocol: {word}`"),
            None => format!("those with `protocol: {word}` are {}", known.join(", ")),
        };
        let text = format!("there is no listener {:?} with `protocol: {word}`", field.text);
        self.reader.unknown_listener(&at.at("listener"), text, fix);
        None
    }

    fn client(&mut self, field: Text<'_>, at: &Place) -> Option<String> {
        let client = self.reader.get(field, at, "client").filter(|client| !client.is_empty());
        if client.is_none() {
            self.reader.missing(at, "client", "add `client: NAME`");
        }
        client
    }

    fn topic(&mut self, field: Text<'_>, at: &Place) -> Option<String> {
        let topic = self.reader.get(field, at, "topic").filter(|topic| !topic.is_empty());
        if topic.is_none() {
            self.reader.missing(at, "topic", "add `topic: site/kitchen/temp`");
        }
        topic
    }

    fn no_topic(&mut self, at: &Place) {
        self.reader.missing(at, "topic", "add one of `topic`, `topic_id` and `short`");
    }

    /// What is published or subscribed to; `None` without one of the three.
    fn sn_topic(
        &mut self,
        name: Text<'_>,
        id: Number<'_>,
        short: Text<'_>,
        at: &Place,
    ) -> Option<SnTopic> {
        let count = [name.is_some(), id.is_some(), short.is_some()];
        if count.iter().filter(|given| **given).count() > 1 {
            let text = "a topic is named once: by `topic`, `topic_id` or `short`";
            self.wrong(at, text, "keep one of them");
        }
        if let Some(name) = self.reader.get(name, at, "topic") {
            return Some(SnTopic::Name(name));
        }
        if let Some(id) = self.number(id, at, "topic_id") {
            return Some(SnTopic::Id(id));
        }
        let short = self.reader.get(short, at, "short")?;
        match <[u8; 2]>::try_from(short.as_bytes()) {
            Ok(short) => Some(SnTopic::Short(short)),
            Err(_) => {
                let text = "a short topic name is exactly two bytes";
                self.wrong(&at.at("short"), text, "use two letters or digits");
                None
            }
        }
    }

    fn path(&mut self, field: Text<'_>, at: &Place) -> Option<Vec<String>> {
        let Some(path) = self.reader.get(field, at, "path") else {
            self.reader.missing(at, "path", "add `path: /s/kitchen/temp`");
            return None;
        };
        let rest = path.strip_prefix('/').unwrap_or(&path);
        if rest.is_empty() {
            return Some(Vec::new());
        }
        if rest.contains('?') {
            let fix = "put what follows the ? into `query`";
            self.wrong(&at.at("path"), "a path ends where a query begins", fix);
            return None;
        }
        // Split first, decoded after that, once (mapping.md §2.2).
        let decoded: Option<Vec<String>> = rest.split('/').map(decode_percent).collect();
        if decoded.is_none() {
            self.bad_percent(&at.at("path"));
        }
        decoded
    }

    fn query(&mut self, field: Text<'_>, at: &Place) -> Option<Vec<String>> {
        let Some(query) = self.reader.get(field, at, "query").filter(|q| !q.is_empty()) else {
            return Some(Vec::new());
        };
        let decoded: Option<Vec<String>> = query.split('&').map(decode_percent).collect();
        if decoded.is_none() {
            self.bad_percent(&at.at("query"));
        }
        decoded
    }

    fn bad_percent(&mut self, at: &Place) {
        self.wrong(at, "this has a % that is not the code of a character", "write % itself as %25");
    }

    /// `Err` when it was reported.
    fn code(&mut self, field: Option<&Typed<CodeText>>, at: &Place) -> Result<Option<u8>, ()> {
        let Some(field) = field else { return Ok(None) };
        let code = self.reader.typed(field, &at.at("code"));
        code.map(|CodeText(code)| Some(code)).ok_or(())
    }

    fn qos(&mut self, field: Number<'_>, at: &Place) -> Option<Qos> {
        let number = self.reader.get(field, at, "qos")?;
        u8::try_from(number).ok().and_then(Qos::from_bits)
    }

    fn number(&mut self, field: Number<'_>, at: &Place, key: &str) -> Option<u16> {
        self.reader.get(field, at, key).and_then(|number| u16::try_from(number).ok())
    }

    /// The one payload that is written at a place.
    fn payload(&mut self, at: &Place, text: Text<'_>, hex: Option<&Typed<Hex>>) -> Option<Payload> {
        let value = |key: &str| -> Option<Json> {
            self.reader.document.node(&at.at(key)).map(crate::document::Node::to_json)
        };
        let (json, cbor, senml) = (value("json"), value("cbor"), value("senml"));
        let text = self.reader.get(text, at, "text").map(Payload::Text);
        let hex = self.reader.get(hex, at, "hex").map(|Hex(bytes)| Payload::Hex(bytes));
        let all = [
            json.map(Payload::Json),
            text,
            hex,
            cbor.map(Payload::Cbor),
            senml.map(Payload::Senml),
        ];
        let mut all = all.into_iter().flatten();
        let first = all.next();
        if all.next().is_some() {
            self.wrong(at, "there are two payloads", "keep one of them");
        }
        first
    }
}

fn texts(map: Option<&BTreeMap<String, Typed<String>>>) -> Vec<(String, String)> {
    map.into_iter().flatten().map(|(key, value)| (key.clone(), value.text.clone())).collect()
}

/// Each block with its place.
fn each<'b, T>(
    blocks: Option<&'b OneOrSome<T>>,
    at: &Place,
) -> impl Iterator<Item = (&'b T, Place)> + use<'b, T> {
    let (one, some): (Option<&T>, &[T]) = match blocks {
        Some(OneOrSome::One(one)) => (Some(one), &[]),
        Some(OneOrSome::Some(all)) => (None, all),
        None => (None, &[]),
    };
    let list = at.clone();
    let one = one.map(|one| (one, at.clone()));
    one.into_iter().chain(some.iter().enumerate().map(move |(i, block)| (block, list.at(i))))
}
