//! `motegate explain`: which rule takes a request, and why.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use motegate_coap::endpoint::Code;
use motegate_config::Resolved;
use motegate_config::tests::{CoapRequest, Payload, SnPublish, SnTopic};
use motegate_core::Protocol;
use motegate_mapping::CoapMethod;
use motegate_message::{ListenerId, Qos, TopicName};
use serde::Serialize;

use super::answer::{code_text, content_format};
use super::layers::Options;
use super::pages::write;
use super::test::Format;
use super::{Exit, fail, receivers, refuse};
use crate::client::{Scheme, Target};
use crate::control::socket::in_directory;
use crate::explain::{
    self, NamesCard, NearCard, PathCard, RequestCard, ResultCard, RuleCard, TopicCard, span,
};

/// Show which rule takes a request, why, and what it makes of it
///
/// From the configuration alone: nothing is sent, no gateway needs to run. If one of this configuration runs, it says who would get the message now.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(after_help = "\
Examples:
  motegate explain PUT \"coap://localhost/s/kitchen/temp?u=Cel\" --client node-7
  motegate explain POST /s/kitchen/door --text open
  motegate explain POST /rd/0a1f/senml -t senml+json --json '[{\"n\":\"t\",\"v\":20.5}]'
  motegate explain topic plant/a/site/kitchen/temp --client env-3
  motegate explain sn --client env-3 --id 10")]
pub(super) struct Explain {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    request: Request,
}

#[derive(Debug, Subcommand)]
enum What {
    Topic(Topic),
    Sn(Sn),
}

/// A CoAP request.
#[derive(Debug, Args)]
struct Request {
    /// GET, OBSERVE, PUT, POST, DELETE or FETCH
    #[arg(value_name = "METHOD", value_parser = method, required = true)]
    method: Option<CoapMethod>,
    /// coap://HOST/PATH?QUERY (a port tells the listener), or /PATH?QUERY
    #[arg(value_name = "URL", required = true)]
    url: Option<String>,
    /// As this client, whatever the listener knows clients by
    #[arg(long, value_name = "NAME")]
    client: Option<String>,
    /// Content-Format: a number, or text, json, cbor, senml+json …
    #[arg(short = 't', long, value_name = "FORMAT", value_parser = content_format)]
    content_format: Option<u16>,
    /// Accept: a Content-Format
    #[arg(short = 'A', long, value_name = "FORMAT", value_parser = content_format)]
    accept: Option<u16>,
    /// The request is NON
    #[arg(long)]
    non: bool,
    #[command(flatten)]
    payload: Given,
    #[command(flatten)]
    common: Common,
}

/// Show the CoAP path, the MQTT-SN ids and the names of a topic
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  motegate explain topic plant/a/site/hall/co2
  motegate explain topic plant/a/dev/env-3/env --client env-3")]
struct Topic {
    /// The final topic: mount and all
    #[arg(value_name = "TOPIC")]
    topic: String,
    /// As this client knows it
    #[arg(long, value_name = "NAME")]
    client: Option<String>,
    #[command(flatten)]
    common: Common,
}

/// Show what an MQTT-SN topic id or name means to a client
#[derive(Debug, Args)]
#[command(override_usage = "motegate explain sn [OPTIONS] --client <NAME> --id <N>\n       \
    motegate explain sn [OPTIONS] --client <NAME> --topic <NAME>\n       \
    motegate explain sn [OPTIONS] --client <NAME> --short <XY>")]
#[command(after_help = "\
Examples:
  motegate explain sn --client env-3 --id 10
  motegate explain sn --client env-3 --id 10 --hex 08662da5
  motegate explain sn --client env-3 --topic d/temp
  motegate explain sn --client env-3 --short tt")]
struct Sn {
    /// Client id
    #[arg(long, value_name = "NAME")]
    client: String,
    #[command(flatten)]
    topic: SnName,
    #[command(flatten)]
    payload: Given,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct SnName {
    /// Pre-defined topic id
    #[arg(long, value_name = "N")]
    id: Option<u16>,
    /// Topic name, or filter
    #[arg(long, value_name = "NAME")]
    topic: Option<String>,
    /// Short name: two characters
    #[arg(long, value_name = "XY", value_parser = short)]
    short: Option<[u8; 2]>,
}

/// A payload, so that formats are tried out too.
#[derive(Debug, Args)]
#[group(multiple = false)]
struct Given {
    /// With this payload, as JSON
    #[arg(long, value_name = "JSON")]
    json: Option<String>,
    /// With this payload, as text
    #[arg(long, value_name = "TEXT")]
    text: Option<String>,
    /// With this payload, in hexadecimal digits
    #[arg(long, value_name = "DIGITS")]
    hex: Option<String>,
}

#[derive(Debug, Args)]
struct Common {
    #[command(flatten)]
    from: Options,
    /// At this listener; default: the first that fits
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
    /// Format: text or json
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
    #[arg(hide_possible_values = true)]
    output: Format,
    /// Ask the gateway at this control socket who would get it, and whether
    /// there is a value
    #[arg(long, value_name = "PATH")]
    control: Option<PathBuf>,
}

/// The port of a URL.
#[derive(Debug, Clone, Copy)]
enum Port {
    /// It names none: the protocol's own.
    Usual(u16),
    Given(u16),
}

/// Whether a URL that was read names a port.
fn names_port(url: &str) -> bool {
    let (_, rest) = url.split_once("://").unwrap_or(("", url));
    let place = rest.split(['/', '?']).next().unwrap_or_default();
    let port = place.rsplit_once(']').map_or(place, |(_, after)| after).split_once(':');
    port.is_some_and(|(_, port)| !port.is_empty())
}

fn method(word: &str) -> Result<CoapMethod, &'static str> {
    Ok(match word.to_ascii_uppercase().as_str() {
        "GET" => CoapMethod::Get,
        "OBSERVE" => CoapMethod::Observe,
        "PUT" => CoapMethod::Put,
        "POST" => CoapMethod::Post,
        "DELETE" => CoapMethod::Delete,
        "FETCH" | "PATCH" | "IPATCH" => CoapMethod::Other,
        _ => return Err("write GET, OBSERVE, PUT, POST, DELETE or FETCH, or `topic`, or `sn`"),
    })
}

fn short(text: &str) -> Result<[u8; 2], &'static str> {
    text.as_bytes().try_into().map_err(|_| "a short name is exactly two bytes")
}

impl Explain {
    pub(super) fn run(self) -> Exit {
        let result = match self.what {
            Some(What::Topic(topic)) => topic.run(),
            Some(What::Sn(sn)) => sn.run(),
            None => self.request.run(),
        };
        result.unwrap_or_else(|exit| exit)
    }
}

impl Request {
    fn run(self) -> Result<Exit, Exit> {
        let (Some(method), Some(url)) = (self.method, &self.url) else {
            return Err(fail(Exit::Usage, &"write METHOD and URL, `topic` or `sn`"));
        };
        let at = |error: crate::client::Error| fail(Exit::Usage, &error);
        let (host, port, target) = match url.starts_with('/') {
            true => {
                let mut target: Target = "coap://localhost".parse().map_err(at)?;
                target.set_path(url).map_err(at)?;
                (None, None, target)
            }
            false => {
                let target: Target = url.parse().map_err(at)?;
                if target.scheme != Scheme::Coap {
                    let text = "METHOD and URL are a CoAP request: a coap:// URL, or /PATH. \
                                `motegate explain topic` and `motegate explain sn` are for the rest";
                    return Err(fail(Exit::Usage, &text));
                }
                let name = target.host.parse::<std::net::IpAddr>().is_err();
                let given = names_port(url).then_some(Port::Given(target.port));
                let port = given.unwrap_or(Port::Usual(target.port));
                (name.then(|| target.host.clone()), Some(port), target)
            }
        };
        let payload = self.payload.read()?;
        let resolved = self.common.load()?;
        let listener = self.common.listener(&resolved, Protocol::Coap, port)?;
        let request = CoapRequest {
            listener,
            client: self.client,
            method,
            path: target.path,
            query: target.query,
            payload,
            content_format: self.content_format,
            accept: self.accept,
            confirmable: !self.non,
        };
        let confirmable = request.confirmable;
        let mut card = explain::coap(&resolved, host.as_deref(), request);
        receivers::ask(&mut card, &self.common.socket(&resolved), u8::from(confirmable));
        let how = How { method: Some(method), confirmable };
        Ok(self.common.print(&card, &card_text(&card, how)))
    }
}

impl Topic {
    fn run(self) -> Result<Exit, Exit> {
        let resolved = self.common.load()?;
        let topic = TopicName::new(&self.topic)
            .map_err(|error| fail(Exit::Usage, &format!("`{}`: {error}", self.topic)))?;
        let mut card = explain::topic(&resolved, &topic, self.client.as_deref());
        if let Some(name) = &self.common.listener {
            card.coap.retain(|one| one.listener == *name);
            card.mqttsn.retain(|one| one.listener == *name);
            card.mqtt.retain(|one| one.listener == *name);
        }
        Ok(self.common.print(&card, &topic_text(&card)))
    }
}

impl Sn {
    fn run(self) -> Result<Exit, Exit> {
        let resolved = self.common.load()?;
        let listener = self.common.listener(&resolved, Protocol::MqttSn, None)?;
        let topic = match self.topic {
            SnName { id: Some(id), .. } => SnTopic::Id(id),
            SnName { short: Some(short), .. } => SnTopic::Short(short),
            SnName { topic, .. } => SnTopic::Name(topic.unwrap_or_default()),
        };
        let publish = SnPublish {
            listener,
            client: self.client,
            topic,
            qos: Some(Qos::AtLeastOnce),
            retain: false,
            payload: self.payload.read()?,
        };
        let mut card = explain::sn(&resolved, publish);
        receivers::ask(&mut card, &self.common.socket(&resolved), 1);
        let how = How { method: None, confirmable: false };
        Ok(self.common.print(&card, &card_text(&card, how)))
    }
}

impl Given {
    fn read(&self) -> Result<Option<Payload>, Exit> {
        if let Some(text) = &self.json {
            let value = serde_json::from_str(text)
                .map_err(|error| fail(Exit::Usage, &format!("--json: {error}")))?;
            return Ok(Some(Payload::Json(value)));
        }
        if let Some(digits) = &self.hex {
            let bytes = unhex(digits)
                .ok_or_else(|| fail(Exit::Usage, &"--hex: pairs of hexadecimal digits"))?;
            return Ok(Some(Payload::Hex(bytes)));
        }
        Ok(self.text.clone().map(Payload::Text))
    }
}

impl Common {
    fn load(&self) -> Result<Resolved, Exit> {
        self.from.layers().load().map_err(|findings| refuse(&findings))
    }

    /// Where a gateway of this configuration is asked.
    fn socket(&self, resolved: &Resolved) -> PathBuf {
        self.control.clone().unwrap_or_else(|| in_directory(&resolved.data_dir))
    }

    /// The listener that is named, or has the port, or comes first.
    fn listener(
        &self,
        resolved: &Resolved,
        protocol: Protocol,
        port: Option<Port>,
    ) -> Result<ListenerId, Exit> {
        let ours = || resolved.listeners.iter().filter(|bind| bind.protocol == protocol);
        let number = match port {
            Some(Port::Usual(port) | Port::Given(port)) => Some(port),
            None => None,
        };
        let by_port = || ours().find(|bind| bind.addr.port() == number && number.is_some());
        if let (Some(Port::Given(port)), None, None) = (port, &self.listener, by_port()) {
            // Port 0 is one that the system will choose.
            let ports: BTreeSet<u16> = ours().filter_map(|bind| bind.addr.port()).collect();
            if !ports.is_empty() && !ports.contains(&0) {
                let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
                let there = ports.join(", ");
                let text = format!("no listener for CoAP has port {port}; there is {there}");
                return Err(fail(Exit::Usage, &text));
            }
        }
        let found = match &self.listener {
            Some(name) => ours().find(|bind| *bind.name == **name),
            None => by_port().or_else(|| ours().next()),
        };
        found.map(|bind| bind.listener).ok_or_else(|| {
            let names: Vec<&str> = ours().map(|bind| &*bind.name).collect();
            let word = match protocol {
                Protocol::Mqtt => "mqtt",
                Protocol::MqttSn => "mqttsn",
                Protocol::Coap => "coap",
            };
            let text = match (&self.listener, names.as_slice()) {
                (Some(name), [_, ..]) => {
                    format!("no {word} listener is named `{name}`; there is {}", names.join(", "))
                }
                _ => format!("the configuration has no {word} listener"),
            };
            fail(Exit::Usage, &text)
        })
    }

    fn print(&self, card: &impl Serialize, text: &str) -> Exit {
        match self.output {
            Format::Text => write(text.as_bytes()),
            Format::Json => {
                let json = serde_json::to_string_pretty(card).unwrap_or_default();
                write(format!("{json}\n").as_bytes())
            }
        }
    }
}

/// What the card does not say of the request.
#[derive(Clone, Copy)]
struct How {
    method: Option<CoapMethod>,
    confirmable: bool,
}

/// Column of what comes behind the label.
const LABEL: usize = 10;

struct Drawing(String);

impl Drawing {
    /// A line of cells in columns; empty ones are left out.
    fn line(&mut self, label: &str, cells: &[(String, usize)]) {
        let mut line = format!("{label:LABEL$}");
        for (cell, width) in cells.iter().filter(|(cell, _)| !cell.is_empty()) {
            line.push_str(&format!("{cell:width$}   "));
        }
        self.0.push_str(line.trim_end());
        self.0.push('\n');
    }

    fn text(&mut self, label: &str, text: impl Into<String>) {
        self.line(label, &[(text.into(), 0)]);
    }
}

fn card_text(card: &RequestCard, how: How) -> String {
    let mut out = Drawing(String::new());
    let RequestCard { listener, client, rule, captures, near, result, .. } = card;
    let tenant = match listener.tenant.is_empty() {
        true => String::new(),
        false => format!("tenant {}", listener.tenant),
    };
    let name = format!("{} ({})", listener.name, listener.protocol);
    out.line("listener", &[(name, 20), (tenant, 10), (format!("client {client}"), 0)]);
    rules(&mut out, rule.as_ref(), captures, near, result.is_some());
    if let Some(result) = result {
        out.line("topic", &topic_cells(result, how));
        for (topic, payload) in &result.messages {
            let topic = if *topic == result.topic { String::new() } else { topic.clone() };
            out.line("message", &[(topic, 0), (payload.clone(), 0)]);
        }
    }
    if card.payload_assumed {
        out.text(
            "payload",
            "none given: taken as one that fits; --text, --json or --hex tries yours",
        );
    }
    if card.goes_to.as_ref().is_some_and(Vec::is_empty) {
        out.text("goes to", "nobody now");
    }
    for (i, receiver) in card.goes_to.iter().flatten().enumerate() {
        let label = if i == 0 { "goes to" } else { "" };
        let cells = [
            (receiver.client.clone(), 8),
            (receiver.protocol.clone(), 9),
            (receiver.how.clone(), 0),
        ];
        out.line(label, &cells);
    }
    for (label, refused) in [("refused", &card.refused), ("then", &card.refused_then)] {
        let Some(refused) = refused else { continue };
        out.text(label, format!("{}: {}", refused.reason, refused.text));
        if let Some(fix) = &refused.fix {
            out.text("fix", fix);
        }
    }
    if let Some(answer) = &card.answer {
        let held = card.answer_if_held.as_deref().map(named);
        let held = held.map_or(String::new(), |held| format!(" ({held} where there is a value)"));
        out.text("answer", format!("{}{held}", named(answer)));
    }
    out.0
}

fn rules(
    out: &mut Drawing,
    rule: Option<&RuleCard>,
    captures: &[(String, String)],
    near: &[NearCard],
    taken: bool,
) {
    let all = rule.into_iter().chain(near.iter().map(|near| &near.rule));
    let (mut name, mut at) = (20, 16);
    for rule in all {
        name = name.max(rule.name.chars().count());
        at = at.max(place(rule).chars().count());
    }
    match rule {
        Some(rule) => {
            let held: Vec<String> =
                captures.iter().map(|(name, text)| format!("{name}={text}")).collect();
            out.line("rule", &[(rule.name.clone(), name), (place(rule), at), (held.join(" "), 0)]);
        }
        None if taken => out.text("rule", "none: the topic as it is"),
        None => out.text("rule", "none"),
    }
    for NearCard { rule, why } in near {
        out.line("", &[(rule.name.clone(), name), (place(rule), at), (why.clone(), 0)]);
    }
}

fn place(rule: &RuleCard) -> String {
    rule.at.clone().unwrap_or_else(|| "preset".to_owned())
}

fn topic_cells(result: &ResultCard, how: How) -> Vec<(String, usize)> {
    let mut cells = vec![(result.topic.clone(), 0)];
    if let action @ ("read" | "subscribe" | "clear") = result.action {
        cells.push((action.to_owned(), 0));
    }
    let mut cell = |text: String| cells.push((text, 0));
    if let Some(qos) = result.qos {
        let kind = if how.confirmable { "CON" } else { "NON" };
        cell(format!("qos {qos} ({kind})"));
    }
    match result.retain {
        Some(true) => cell("retain yes".into()),
        Some(false) => cell("retain no".into()),
        None if how.method.is_none() => cell("retain as the device says".into()),
        None => {}
    }
    if let Some(secs) = result.expires_secs {
        cell(format!("expires {}", span(secs)));
    }
    if let Some(secs) = result.max_age_secs {
        cell(format!("Max-Age {}", span(secs)));
    }
    for (name, value) in &result.user {
        cell(format!("{name}={value}"));
    }
    cells
}

fn topic_text(card: &TopicCard) -> String {
    let mut out = Drawing(String::new());
    let client = card.client.as_ref().map(|client| format!("client {client}"));
    out.line("topic", &[(card.topic.clone(), 20), (client.unwrap_or_default(), 0)]);
    let mut label = "coap";
    for PathCard { listener, path, rule, link } in &card.coap {
        let path = path.clone().unwrap_or_else(|| "no rule leads from this topic to a path".into());
        out.line(label, &[(listener.clone(), 10), (path, 20), (rule_text(rule.as_ref()), 0)]);
        if let Some(link) = link {
            out.line("", &[("link".into(), 10), (link.clone(), 0)]);
        }
        label = "";
    }
    let mut label = "mqtt-sn";
    for NamesCard { listener, id, short, name, rules } in &card.mqttsn {
        let mut names = Vec::new();
        names.extend(id.map(|id| format!("id {id}")));
        names.extend(short.as_ref().map(|short| format!("short {short}")));
        names.extend(name.as_ref().map(|name| format!("name {name}")));
        if names.is_empty() {
            names.push("outside the listener's mount".into());
        }
        let rules: Vec<String> = rules.iter().map(|rule| rule_text(Some(rule))).collect();
        let cells = [(listener.clone(), 10), (names.join(", "), 20), (rules.join(", "), 0)];
        out.line(label, &cells);
        label = "";
    }
    let mut label = "mqtt";
    for one in &card.mqtt {
        let topic = one.topic.clone().unwrap_or_else(|| "outside the listener's mount".into());
        out.line(label, &[(one.listener.clone(), 10), (topic, 0)]);
        label = "";
    }
    out.0
}

fn rule_text(rule: Option<&RuleCard>) -> String {
    rule.map(|rule| format!("{} {}", rule.name, place(rule))).unwrap_or_default()
}

/// `2.01 Created`.
fn named(answer: &str) -> String {
    let parts = answer.split_once('.');
    let numbers =
        parts.and_then(|(class, detail)| Some((class.parse().ok()?, detail.parse().ok()?)));
    numbers.map_or_else(|| answer.to_owned(), |(class, detail)| code_text(Code::new(class, detail)))
}

fn unhex(digits: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = digits.bytes().filter(|b| *b != b' ').collect();
    let all = digits.iter().all(u8::is_ascii_hexdigit) && digits.len().is_multiple_of(2);
    let pairs = digits.chunks_exact(2).map(|pair| std::str::from_utf8(pair).ok());
    let bytes = pairs.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect();
    if all { bytes } else { None }
}
