//! What a test expects against what came.

use std::time::Duration;

use bytes::Bytes;
use motegate_config::tests::{Deliver, Expect, Message, Notify, Payload, SnTopic};
use motegate_message::{Qos, Reason};
use serde_json::Value;

use super::cbor;
use super::report::Failure;

/// Most things that are listed in one line.
const LISTED: usize = 5;

/// Everything that came of a stimulus.
#[derive(Debug, Default)]
pub(super) struct Came {
    pub(super) answer: Option<Answered>,
    pub(super) refusals: Vec<(Reason, Option<String>)>,
    pub(super) messages: Vec<Published>,
    pub(super) notified: Vec<Notified>,
    pub(super) delivered: Vec<Delivered>,
    pub(super) line: Option<Line>,
}

/// CoAP's answer.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) code: u8,
    pub(super) content_format: Option<u16>,
    pub(super) payload: Bytes,
}

/// A message, as the broker has it.
#[derive(Debug)]
pub(super) struct Published {
    pub(super) topic: String,
    pub(super) retain: bool,
    pub(super) qos: Qos,
    pub(super) expiry: Option<Duration>,
    pub(super) user: Vec<(String, String)>,
    pub(super) payload: Bytes,
}

/// A notification.
#[derive(Debug)]
pub(super) struct Notified {
    pub(super) client: Option<String>,
    pub(super) path: Vec<String>,
    pub(super) code: u8,
    pub(super) content_format: Option<u16>,
    pub(super) payload: Bytes,
}

/// A PUBLISH to an MQTT-SN client.
#[derive(Debug)]
pub(super) struct Delivered {
    pub(super) client: String,
    /// `None`: by an id that was never registered.
    pub(super) topic: Option<SnTopic>,
    pub(super) retain: bool,
    pub(super) qos: Qos,
    pub(super) payload: Bytes,
}

/// How discovery names a topic.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) path: String,
    pub(super) link: Option<String>,
}

impl Answered {
    pub(super) fn code_text(&self) -> String {
        code(self.code)
    }
}

impl Came {
    /// The gateway's words for why nothing better came.
    fn why(&self) -> String {
        let Some((reason, text)) = self.refusals.last() else { return String::new() };
        match text {
            Some(text) => format!("  ({reason}: {text})"),
            None => format!("  ({reason})"),
        }
    }
}

/// Every difference.
pub(super) fn compare(expect: &Expect, came: &Came) -> Vec<Failure> {
    let mut out = Vec::new();
    answer(expect, came, &mut out);
    if let Some(wanted) = expect.refused
        && !came.refusals.iter().any(|(reason, _)| *reason == wanted)
    {
        let reasons: Vec<String> = came.refusals.iter().map(|(r, _)| r.to_string()).collect();
        out.push(Failure::new("refused", wanted.as_str(), listed(&reasons, "not refused")));
    }
    if let Some(wanted) = &expect.messages {
        messages(wanted, came, &mut out);
    }
    if let Some(wanted) = &expect.notify {
        notifications(wanted, came, &mut out);
    }
    if let Some(wanted) = &expect.deliver {
        deliveries(wanted, came, &mut out);
    }
    discovery(expect, came, &mut out);
    out
}

fn answer(expect: &Expect, came: &Came, out: &mut Vec<Failure>) {
    let text = || came.answer.as_ref().map_or_else(|| "no answer".into(), Answered::code_text);
    if let Some(wanted) = expect.code
        && came.answer.as_ref().map(|answer| answer.code) != Some(wanted)
    {
        out.push(Failure::new("code", code(wanted), text() + &came.why()));
    }
    if let Some(wanted) = &expect.answer {
        match &came.answer {
            Some(answer) => {
                format("answer.", wanted.content_format, answer.content_format, out);
                if let Some(wanted) = &wanted.payload {
                    payload("answer.", wanted, &answer.payload, out);
                }
            }
            None => out.push(Failure::new("answer", "a payload", text())),
        }
    }
}

fn format(at: &str, wanted: Option<u16>, came: Option<u16>, out: &mut Vec<Failure>) {
    if let Some(wanted) = wanted.filter(|wanted| came != Some(*wanted)) {
        let came = came.map_or_else(|| "none".into(), |format| format.to_string());
        out.push(Failure::new(format!("{at}content_format"), wanted.to_string(), came));
    }
}

fn messages(wanted: &[Message], came: &Came, out: &mut Vec<Failure>) {
    let count = wanted.len();
    if count != came.messages.len() {
        let topics = |all: Vec<String>| listed(&all, "no message");
        let expected = wanted.iter().map(|m| m.topic.clone().unwrap_or_else(|| "any".into()));
        let expected = topics(expected.collect());
        let got = topics(came.messages.iter().map(|m| m.topic.clone()).collect()) + &came.why();
        out.push(Failure::new("messages", expected, got));
        return;
    }
    for (i, (wanted, came)) in wanted.iter().zip(&came.messages).enumerate() {
        let at = if count == 1 { String::new() } else { format!("messages[{i}].") };
        message(&at, wanted, came, out);
    }
}

fn message(at: &str, wanted: &Message, came: &Published, out: &mut Vec<Failure>) {
    differ(at, "topic", wanted.topic.as_ref(), &came.topic, out);
    differ(at, "retain", wanted.retain.as_ref(), &came.retain, out);
    let qos = |qos: &Qos| *qos as u8;
    differ(at, "qos", wanted.qos.as_ref().map(qos).as_ref(), &qos(&came.qos), out);
    if let Some(expiry) = wanted.expiry.filter(|expiry| came.expiry != Some(*expiry)) {
        let text = |d: Duration| format!("{} s", d.as_secs_f64());
        let got = came.expiry.map_or_else(|| "never".into(), text);
        out.push(Failure::new(format!("{at}expiry"), text(expiry), got));
    }
    for (name, value) in &wanted.user {
        let got: Vec<&str> =
            came.user.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect();
        if !got.contains(&value.as_str()) {
            let got = if got.is_empty() { "none".to_owned() } else { got.join(", ") };
            out.push(Failure::new(format!("{at}user.{name}"), value, got));
        }
    }
    if let Some(wanted) = &wanted.payload {
        payload(at, wanted, &came.payload, out);
    }
}

fn differ<T: PartialEq + ToString>(
    at: &str,
    what: &str,
    wanted: Option<&T>,
    came: &T,
    out: &mut Vec<Failure>,
) {
    if let Some(wanted) = wanted.filter(|wanted| *wanted != came) {
        out.push(Failure::new(format!("{at}{what}"), wanted.to_string(), came.to_string()));
    }
}

/// Each that is expected must be among those that came; the nearest one is what it is held against.
fn each<W, C>(
    what: &str,
    wanted: &[W],
    came: &[C],
    compare: impl Fn(&str, &W, &C, &mut Vec<Failure>),
    show: impl Fn(&C) -> String,
    out: &mut Vec<Failure>,
) {
    if wanted.is_empty() && !came.is_empty() {
        let all: Vec<String> = came.iter().map(&show).collect();
        out.push(Failure::new(what, "nothing", listed(&all, "nothing")));
    }
    for (i, wanted_one) in wanted.iter().enumerate() {
        let at = if wanted.len() == 1 { format!("{what}.") } else { format!("{what}[{i}].") };
        let differences = came.iter().map(|came| {
            let mut differences = Vec::new();
            compare(&at, wanted_one, came, &mut differences);
            differences
        });
        match differences.min_by_key(Vec::len) {
            Some(least) => out.extend(least),
            None => out.push(Failure::new(at.trim_end_matches('.'), "something", "nothing")),
        }
    }
}

fn notifications(wanted: &[Notify], came: &Came, out: &mut Vec<Failure>) {
    let compare = |at: &str, wanted: &Notify, came: &Notified, out: &mut Vec<Failure>| {
        let client = came.client.clone().unwrap_or_default();
        differ(at, "client", wanted.client.as_ref(), &client, out);
        let path = wanted.path.as_ref().map(|path| shown(path));
        differ(at, "path", path.as_ref(), &shown(&came.path), out);
        differ(at, "code", wanted.code.map(code).as_ref(), &code(came.code), out);
        format(at, wanted.content_format, came.content_format, out);
        if let Some(wanted) = &wanted.payload {
            payload(at, wanted, &came.payload, out);
        }
    };
    let show = |came: &Notified| {
        let client = came.client.as_deref().unwrap_or("a client");
        format!("{client} {} {}", shown(&came.path), bytes(&came.payload))
    };
    each("notify", wanted, &came.notified, compare, show, out);
}

fn deliveries(wanted: &[Deliver], came: &Came, out: &mut Vec<Failure>) {
    let compare = |at: &str, wanted: &Deliver, came: &Delivered, out: &mut Vec<Failure>| {
        differ(at, "client", wanted.client.as_ref(), &came.client, out);
        if wanted.topic.is_some() && wanted.topic != came.topic {
            let expected = sn_topic(wanted.topic.as_ref());
            out.push(Failure::new(format!("{at}topic"), expected, sn_topic(came.topic.as_ref())));
        }
        differ(at, "retain", wanted.retain.as_ref(), &came.retain, out);
        let qos = |qos: &Qos| *qos as u8;
        differ(at, "qos", wanted.qos.as_ref().map(qos).as_ref(), &qos(&came.qos), out);
        if let Some(wanted) = &wanted.payload {
            payload(at, wanted, &came.payload, out);
        }
    };
    let show = |came: &Delivered| {
        format!("{} {} {}", came.client, sn_topic(came.topic.as_ref()), bytes(&came.payload))
    };
    each("deliver", wanted, &came.delivered, compare, show, out);
}

fn sn_topic(topic: Option<&SnTopic>) -> String {
    match topic {
        Some(SnTopic::Name(name)) => format!("name {name}"),
        Some(SnTopic::Id(id)) => format!("id {id}"),
        Some(SnTopic::Short(short)) => format!("short {}", String::from_utf8_lossy(short)),
        None => "an id that was not registered".into(),
    }
}

fn discovery(expect: &Expect, came: &Came, out: &mut Vec<Failure>) {
    let none = "no rule leads from this topic to a path";
    if let Some(wanted) = &expect.coap_path {
        match &came.line {
            Some(line) => differ("", "coap_path", Some(wanted), &line.path, out),
            None => out.push(Failure::new("coap_path", wanted, none)),
        }
    }
    let Some(wanted) = &expect.link else { return };
    match came.line.as_ref().map(|line| line.link.as_deref()) {
        Some(Some(line)) => {
            let (wanted_parts, parts) = (parts(wanted), parts(line));
            if wanted_parts.iter().any(|part| !parts.contains(part)) {
                out.push(Failure::new("link", wanted, line));
            }
        }
        Some(None) => {
            out.push(Failure::new("link", wanted, "no such line in .well-known/core"));
        }
        None => out.push(Failure::new("link", wanted, none)),
    }
}

/// Target and attributes of a link; semicolons in quotes separate nothing.
fn parts(link: &str) -> Vec<String> {
    let (mut parts, mut part, mut quoted, mut escaped) = (Vec::new(), String::new(), false, false);
    for c in link.chars() {
        if c == ';' && !quoted {
            parts.push(std::mem::take(&mut part));
            continue;
        }
        quoted ^= c == '"' && !escaped;
        escaped = quoted && c == '\\' && !escaped;
        part.push(c);
    }
    parts.push(part);
    // `ct=50` and `ct="50"` say the same.
    let plain = |part: &String| match part.split_once('=') {
        Some((name, value)) => format!("{}={}", name.trim(), value.trim_matches('"')),
        None => part.trim().to_owned(),
    };
    parts.iter().map(plain).collect()
}

fn payload(at: &str, wanted: &Payload, came: &Bytes, out: &mut Vec<Failure>) {
    match wanted {
        Payload::Json(wanted) => match value(came) {
            Some(came) => json(&format!("{at}json"), wanted, &came, out),
            None => {
                out.push(Failure::new(format!("{at}json"), wanted.to_string(), bytes(came)));
            }
        },
        Payload::Text(text) if text.as_bytes() != came => {
            out.push(Failure::new(format!("{at}text"), quoted(text), bytes(came)));
        }
        Payload::Hex(wanted) if wanted[..] != came[..] => {
            out.push(Failure::new(format!("{at}hex"), hex(wanted), hex(came)));
        }
        _ => {}
    }
}

/// What a payload says, if it is JSON or CBOR.
fn value(came: &[u8]) -> Option<Value> {
    serde_json::from_slice(came).ok().or_else(|| cbor::read(came))
}

/// Compares by value, and names the member that differs. Both are as deep as JSON is read.
fn json(at: &str, wanted: &Value, came: &Value, out: &mut Vec<Failure>) {
    match (wanted, came) {
        (Value::Object(wanted), Value::Object(came)) => {
            for (key, wanted) in wanted {
                let at = format!("{at}.{key}");
                match came.get(key) {
                    Some(came) => json(&at, wanted, came, out),
                    None => out.push(Failure::new(at, wanted.to_string(), "nothing")),
                }
            }
            for (key, came) in came.iter().filter(|(key, _)| !wanted.contains_key(*key)) {
                out.push(Failure::new(format!("{at}.{key}"), "nothing", came.to_string()));
            }
        }
        (Value::Array(wanted), Value::Array(came)) if wanted.len() == came.len() => {
            for (i, (wanted, came)) in wanted.iter().zip(came).enumerate() {
                json(&format!("{at}[{i}]"), wanted, came, out);
            }
        }
        // 45 and 45.0 are one number.
        (Value::Number(a), Value::Number(b)) if a == b || a.as_f64() == b.as_f64() => {}
        (wanted, came) if wanted == came => {}
        (wanted, came) => out.push(Failure::new(at, wanted.to_string(), came.to_string())),
    }
}

fn code(code: u8) -> String {
    format!("{}.{:02}", code >> 5, code & 31)
}

fn shown(path: &[String]) -> String {
    motegate_coap::link_format::Link::to(path).href
}

/// JSON as it is, other text in quotes, what is no text in hexadecimal digits.
pub(super) fn bytes(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok("") => "nothing".into(),
        Ok(text) if text.starts_with(['{', '[']) && !text.contains('\n') => text.to_owned(),
        Ok(text) if !text.chars().any(char::is_control) => quoted(text),
        _ => format!("hex {}", hex(bytes)),
    }
}

fn quoted(text: &str) -> String {
    format!("{text:?}")
}

fn hex(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "nothing".into();
    }
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn listed(all: &[String], none: &str) -> String {
    match all.len() {
        0 => none.to_owned(),
        n if n > LISTED => {
            format!("{}, and {} more", all.get(..LISTED).unwrap_or_default().join(", "), n - LISTED)
        }
        _ => all.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn differences(wanted: Value, came: Value) -> Vec<String> {
        let mut out = Vec::new();
        super::json("json", &wanted, &came, &mut out);
        out.into_iter().map(|f| format!("{} {} {}", f.what, f.expected, f.came)).collect()
    }

    #[test]
    fn json_is_compared_by_value_and_the_member_is_named() {
        assert!(differences(json!({"a": 45, "b": [1.0]}), json!({"b": [1], "a": 45.0})).is_empty());
        assert_eq!(differences(json!({"a": {"b": 1}}), json!({"a": {"b": 2}})), ["json.a.b 1 2"]);
        assert_eq!(
            differences(json!({"a": 1}), json!({"b": 1})),
            ["json.a 1 nothing", "json.b nothing 1"]
        );
        assert_eq!(differences(json!([1, 2]), json!([1])), ["json [1,2] [1]"]);
        assert_eq!(differences(json!("1"), json!(1)), ["json \"1\" 1"]);
    }

    #[test]
    fn a_link_is_its_target_and_its_attributes() {
        let line = "</s/hall/co2>;rt=\"sensor.co2\";title=\"a;b\";ct=50;obs";
        assert_eq!(parts(line), ["</s/hall/co2>", "rt=sensor.co2", "title=a;b", "ct=50", "obs"]);
    }
}
