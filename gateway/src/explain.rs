//! What would become of a request, and what a topic is called elsewhere: the cards of `motegate
//! explain`.
//!
//! Made from the configuration alone. The rules say what they make of it and which others came near;
//! the answer and the payload come from a gateway that was made for the purpose, so that they are
//! what a device would see. Who would get the message only a running gateway knows: it fills in
//! [`RequestCard::goes_to`].

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use motegate_coap::link_format::{Link, Value};
use motegate_config::Resolved;
use motegate_config::tests::{CoapRequest, Payload, SnPublish, SnTopic as Topic, Stimulus};
use motegate_core::{ClientFrom, Protocol};
use motegate_mapping::{
    Action, Caller, CoapMatch, CoapMethod, Explanation, Managed, MapError, NearMiss, RuleKind,
    RuleRef, SnMatch, SnTopic,
};
use motegate_message::{ListenerId, Qos, Reason, TopicName};
use serde::Serialize;
use serde_json::json;

use crate::notices;
use crate::selftest::{Rehearsal, rehearse};

/// Codes as they are on the wire (RFC 7252 §12.1.2).
const CREATED: u8 = 0x41;
const CHANGED: u8 = 0x44;
const UNSUPPORTED_CONTENT_FORMAT: u8 = 0x8f;

/// What becomes of one request or message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct RequestCard {
    pub(crate) listener: ListenerCard,
    pub(crate) client: String,
    /// The rule that takes it.
    pub(crate) rule: Option<RuleCard>,
    /// What its captures hold.
    pub(crate) captures: Vec<(String, String)>,
    pub(crate) near: Vec<NearCard>,
    /// What the rules make of it; `None` where they refuse it.
    pub(crate) result: Option<ResultCard>,
    /// Why it is refused.
    pub(crate) refused: Option<RefusedCard>,
    /// Why it would be refused all the same if the listener let the client in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) refused_then: Option<RefusedCard>,
    /// What the device is answered: `2.01`.
    pub(crate) answer: Option<String>,
    /// The same where the topic has a value already, if that makes a difference and nobody was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) answer_if_held: Option<String>,
    /// No payload was given: the answer is that to one that fits.
    pub(crate) payload_assumed: bool,
    /// Who gets it; `None` where no running gateway was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) goes_to: Option<Vec<ReceiverCard>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ListenerCard {
    pub(crate) name: String,
    pub(crate) protocol: &'static str,
    pub(crate) tenant: String,
    /// Whether clients without identity may connect; nobody else can yet.
    pub(crate) anonymous: bool,
}

/// A rule by name, and its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct RuleCard {
    pub(crate) name: String,
    /// `motegate.yaml:18`; `None` for a preset.
    pub(crate) at: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct NearCard {
    #[serde(flatten)]
    pub(crate) rule: RuleCard,
    pub(crate) why: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ResultCard {
    /// `publish`, `read`, `subscribe` or `clear`.
    pub(crate) action: &'static str,
    /// The final topic, or the filter that is observed.
    pub(crate) topic: String,
    pub(crate) qos: Option<u8>,
    /// `None`: as the device says.
    pub(crate) retain: Option<bool>,
    pub(crate) expires_secs: Option<u64>,
    /// Max-Age of what is read, where the value does not expire; `None`: not said, 60.
    pub(crate) max_age_secs: Option<u64>,
    pub(crate) user: BTreeMap<String, String>,
    /// What the broker gets, where a payload was given: topic and payload.
    pub(crate) messages: Vec<(String, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct RefusedCard {
    /// A word of the published list.
    pub(crate) reason: &'static str,
    pub(crate) text: String,
    /// What to change.
    pub(crate) fix: Option<String>,
}

/// Somebody who gets the message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ReceiverCard {
    pub(crate) client: String,
    pub(crate) protocol: String,
    /// `qos 0, now`; `asleep, next wake in 42 s`.
    pub(crate) how: String,
}

/// What a topic is called on each listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct TopicCard {
    pub(crate) topic: String,
    pub(crate) client: Option<String>,
    pub(crate) coap: Vec<PathCard>,
    pub(crate) mqttsn: Vec<NamesCard>,
    pub(crate) mqtt: Vec<MqttCard>,
}

/// A CoAP path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct PathCard {
    pub(crate) listener: String,
    /// As in a URI; `None`: no rule leads there.
    pub(crate) path: Option<String>,
    pub(crate) rule: Option<RuleCard>,
    /// Its line in `.well-known/core`, without what only its value tells.
    pub(crate) link: Option<String>,
}

/// Names towards an MQTT-SN client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct NamesCard {
    pub(crate) listener: String,
    pub(crate) id: Option<u16>,
    pub(crate) short: Option<String>,
    /// `None`: it lies outside the mount.
    pub(crate) name: Option<String>,
    pub(crate) rules: Vec<RuleCard>,
}

/// The name for MQTT clients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct MqttCard {
    pub(crate) listener: String,
    /// `None`: it lies outside the mount.
    pub(crate) topic: Option<String>,
}

/// Where devices are, as far as the offline card goes.
const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// What becomes of a CoAP request.
pub(crate) fn coap(
    resolved: &Resolved,
    host: Option<&str>,
    mut request: CoapRequest,
) -> RequestCard {
    let listener = request.listener;
    take_client(resolved, &mut request);
    let client = request.client.clone().unwrap_or_else(|| format!("anon-{SOURCE}"));
    let asks = caller(resolved, listener, &client);
    let CoapRequest { method, path, query, confirmable, .. } = &request;
    let explained = resolved.table.explain_coap(&asks, host, *method, path, query);
    // What describes topics has no topic, and an answer all the same.
    let managed = resolved.table.managed(&asks, host, path);
    let describes = managed.is_some();
    let settings = resolved.core.listeners.get(usize::from(listener.0));
    let connects = managed == Some(Managed::Connection);
    // Who has not connected is refused before any rule.
    let required = !connects && settings.is_some_and(|listener| listener.connection_required);
    // EMQX's clients show who they are.
    let may_log_in = required
        || !resolved.core.users.is_empty()
            && (managed == Some(Managed::Connection)
                || !resolved.table.client_words(path).is_empty());
    let (confirmable, puts) = (*confirmable, *method == CoapMethod::Put);
    let payload = request.payload.is_some();
    let publish = explained.outcome.as_ref().ok().filter(|of| of.action == Action::Publish);
    let assumed = publish.filter(|_| !payload);
    let rehearsal = match assumed {
        Some(matched) => rehearse_fitting(resolved, request, puts && matched.retain),
        None => rehearse(resolved, Stimulus::Coap(request)).unwrap_or_default(),
    };
    let mut card = card(resolved, listener, &client, &explained);
    card.payload_assumed = assumed.is_some();
    card.answer = rehearsal.answer.as_ref().map(|(code, _)| code_text(*code));
    // RFC 7252 §5.8.3: what was there is changed, and the rehearsal's gateway has nothing.
    let creates = card.answer.as_deref() == Some("2.01") && !connects;
    card.answer_if_held = creates.then(|| "2.04".to_owned());
    match &explained.outcome {
        Ok(matched) => {
            card.result = Some(coap_result(matched, confirmable, payload, &rehearsal));
            // The rules take it; what is behind them may not: a payload, a limit.
            card.refused = behind(&rehearsal, &card.near, "mappings.coap");
        }
        Err(_) if describes => {}
        Err(error) => card.refused = Some(refused(error, &card.near, "mappings.coap")),
    }
    if required && let Some(found) = behind(&rehearsal, &[], "") {
        card.refused_then = card.refused.take().filter(|then| then.text != found.text);
        let fix = "connect first: POST /mqtt/connection?clientid=…&username=…&password=…, \
                   then show clientid and the token that it answers in every query";
        card.refused = Some(RefusedCard { fix: Some(fix.to_owned()), ..found });
    } else if !may_log_in && close(&mut card) {
        card.answer = Some("4.01".to_owned());
        card.answer_if_held = None;
        card.payload_assumed = false;
    }
    card
}

/// Tries a request without payload with payloads of the formats there are; what it is answered if
/// none of them is known to fit follows from the method.
fn rehearse_fitting(resolved: &Resolved, request: CoapRequest, creates: bool) -> Rehearsal {
    let named = request.content_format.is_some();
    let some = || json!({"v": 1});
    let tried = [
        Payload::Text("1".to_owned()),
        Payload::Json(some()),
        Payload::Cbor(some()),
        Payload::Senml(json!([{"n": "v", "v": 1}])),
    ];
    let mut unsupported = None;
    for payload in tried {
        let request = CoapRequest { payload: Some(payload), ..request.clone() };
        let Some(rehearsal) = rehearse(resolved, Stimulus::Coap(request)) else { continue };
        let bad = matches!(rehearsal.refused, Some((Reason::BadPayload, _)));
        if !bad {
            return rehearsal;
        }
        if named && matches!(rehearsal.answer, Some((UNSUPPORTED_CONTENT_FORMAT, _))) {
            unsupported = Some(rehearsal);
        }
    }
    let code = if creates { CREATED } else { CHANGED };
    let fits = || Rehearsal { answer: Some((code, String::new())), ..Rehearsal::default() };
    unsupported.unwrap_or_else(fits)
}

/// Whether the listener lets nobody in, which comes before every rule; the card says so then.
fn close(card: &mut RequestCard) -> bool {
    let listener = &card.listener;
    if listener.anonymous {
        return false;
    }
    card.refused_then = card.refused.take();
    card.refused = Some(RefusedCard {
        reason: Reason::AuthMissing.as_str(),
        text: format!("{} takes no anonymous clients, and these have no logins yet", listener.name),
        fix: Some(format!("`anonymous: true` opens the listener {}", listener.name)),
    });
    true
}

/// Why what the rules take is refused all the same.
fn behind(rehearsal: &Rehearsal, near: &[NearCard], table: &str) -> Option<RefusedCard> {
    let (reason, text) = rehearsal.refused.clone()?;
    let words = rehearsal.answer.as_ref().map(|(_, words)| words.clone());
    let text = text.or(words).unwrap_or_default();
    Some(refused(&MapError { reason, text }, near, table))
}

/// The client that the query names, where the listener believes it.
fn take_client(resolved: &Resolved, request: &mut CoapRequest) {
    let settings = resolved.core.listeners.get(usize::from(request.listener.0));
    if settings.is_none_or(|listener| listener.client_from != ClientFrom::Query) {
        return;
    }
    let words = resolved.table.client_words(&request.path);
    let own = request.query.iter().find_map(|pair| pair.strip_prefix("client="));
    let named = own.or_else(|| {
        let others = request.query.iter().filter_map(|pair| pair.split_once('='));
        others.filter(|(word, _)| words.contains(word)).map(|(_, name)| name).next()
    });
    let named = named.map(str::to_owned);
    request.query.retain(|pair| !pair.starts_with("client="));
    if request.client.is_none() {
        request.client = named;
    }
}

fn coap_result(
    matched: &CoapMatch,
    confirmable: bool,
    payload: bool,
    rehearsal: &Rehearsal,
) -> ResultCard {
    let publishes = matches!(matched.action, Action::Publish | Action::Clear);
    let auto = if confirmable { Qos::AtLeastOnce } else { Qos::AtMostOnce };
    ResultCard {
        action: matched.action.as_str(),
        topic: matched.topic.as_str().to_owned(),
        qos: publishes.then(|| matched.qos.unwrap_or(auto) as u8),
        retain: publishes.then_some(matched.retain || matched.action == Action::Clear),
        expires_secs: matched.expiry.filter(|_| publishes).map(|expiry| expiry.as_secs()),
        max_age_secs: matched.max_age.filter(|_| !publishes).map(|age| age.as_secs()),
        user: matched.user.iter().cloned().collect(),
        messages: if payload { rehearsal.messages.clone() } else { Vec::new() },
    }
}

/// What a topic of an MQTT-SN client means.
pub(crate) fn sn(resolved: &Resolved, publish: SnPublish) -> RequestCard {
    let (listener, client) = (publish.listener, publish.client.clone());
    let asks = caller(resolved, listener, &client);
    let topic = match &publish.topic {
        Topic::Name(name) => SnTopic::Name(name),
        Topic::Id(id) => SnTopic::Predefined(*id),
        Topic::Short(short) => SnTopic::Short(*short),
    };
    let explained = resolved.table.explain_sn(&asks, topic);
    let payload = publish.payload.is_some();
    let wildcard = matches!(&publish.topic, Topic::Name(name) if name.contains(['+', '#']));
    let mut card = card(resolved, listener, &client, &explained);
    match &explained.outcome {
        Ok(matched) => {
            let rehearsal = match payload && !wildcard {
                true => rehearse(resolved, Stimulus::MqttSn(publish)).unwrap_or_default(),
                false => Rehearsal::default(),
            };
            card.result = Some(sn_result(matched, wildcard, &rehearsal));
            card.refused = behind(&rehearsal, &card.near, "mappings.mqttsn");
        }
        Err(error) => card.refused = Some(refused(error, &card.near, "mappings.mqttsn.topic_ids")),
    }
    close(&mut card);
    card
}

fn sn_result(matched: &SnMatch, wildcard: bool, rehearsal: &Rehearsal) -> ResultCard {
    ResultCard {
        action: if wildcard { "subscribe" } else { "publish or subscribe" },
        topic: matched.topic.as_str().to_owned(),
        qos: None,
        retain: matched.retain,
        expires_secs: matched.expiry.map(|expiry| expiry.as_secs()),
        max_age_secs: None,
        user: BTreeMap::new(),
        messages: rehearsal.messages.clone(),
    }
}

/// What a final topic is called.
pub(crate) fn topic(resolved: &Resolved, topic: &TopicName, client: Option<&str>) -> TopicCard {
    let mut card = TopicCard {
        topic: topic.to_string(),
        client: client.map(str::to_owned),
        coap: Vec::new(),
        mqttsn: Vec::new(),
        mqtt: Vec::new(),
    };
    for (place, settings) in resolved.core.listeners.iter().enumerate() {
        let Ok(id) = u16::try_from(place).map(ListenerId) else { continue };
        let asks = caller(resolved, id, client.unwrap_or_default());
        let listener = settings.name.to_string();
        match settings.protocol {
            Protocol::Coap => card.coap.push(path_card(resolved, &asks, topic, listener)),
            Protocol::MqttSn => card.mqttsn.push(names_card(resolved, &asks, topic, listener)),
            Protocol::Mqtt => {
                let below = topic.as_str().strip_prefix(&*settings.mount);
                let topic = below.filter(|rest| !rest.is_empty()).map(str::to_owned);
                card.mqtt.push(MqttCard { listener, topic });
            }
        }
    }
    card
}

fn path_card(
    resolved: &Resolved,
    asks: &Caller<'_>,
    topic: &TopicName,
    listener: String,
) -> PathCard {
    let Some(found) = resolved.table.link(asks, None, topic) else {
        return PathCard { listener, path: None, rule: None, link: None };
    };
    let mut link = Link::to(&found.path).content_formats(&found.content_formats);
    for (name, value) in &found.attributes {
        link = link.attribute(name.clone(), Value::Text(value.clone().into()));
    }
    if found.observable {
        link = link.observable();
    }
    let mut line = String::new();
    link.write(&mut line);
    let rules = resolved.table.rules();
    let rule = rules.iter().find(|rule| {
        matches!(rule.kind, RuleKind::Coap | RuleKind::Preset) && rule.name == *found.rule
    });
    PathCard {
        listener,
        path: Some(link.href.clone()),
        rule: rule.map(|rule| rule_card(resolved, rule)),
        link: Some(line),
    }
}

fn names_card(
    resolved: &Resolved,
    asks: &Caller<'_>,
    topic: &TopicName,
    listener: String,
) -> NamesCard {
    let Some(naming) = resolved.table.explain_sn_names(asks, topic) else {
        return NamesCard { listener, id: None, short: None, name: None, rules: Vec::new() };
    };
    NamesCard {
        listener,
        id: naming.names.predefined,
        short: naming.names.short.map(|two| String::from_utf8_lossy(&two).into_owned()),
        name: Some(naming.names.name.to_string()),
        rules: naming.rules.iter().map(|rule| rule_card(resolved, rule)).collect(),
    }
}

fn caller<'a>(resolved: &'a Resolved, listener: ListenerId, client: &'a str) -> Caller<'a> {
    let settings = &resolved.core.listeners[usize::from(listener.0)];
    Caller {
        listener: &settings.name,
        client,
        identity: None,
        tenant: &settings.tenant,
        gateway: &resolved.core.gateway_name,
        source_ip: SOURCE,
        mount: &settings.mount,
    }
}

fn card<M>(
    resolved: &Resolved,
    listener: ListenerId,
    client: &str,
    explained: &Explanation<M>,
) -> RequestCard {
    let settings = &resolved.core.listeners[usize::from(listener.0)];
    let near = explained.near.iter().map(|NearMiss { rule, why }| NearCard {
        rule: rule_card(resolved, rule),
        why: why.clone(),
    });
    RequestCard {
        listener: ListenerCard {
            name: settings.name.to_string(),
            protocol: notices::protocol(settings.protocol),
            tenant: settings.tenant.to_string(),
            anonymous: settings.anonymous,
        },
        client: client.to_owned(),
        rule: explained.rule.as_ref().map(|rule| rule_card(resolved, rule)),
        captures: explained.captures.clone(),
        near: near.collect(),
        result: None,
        refused: None,
        refused_then: None,
        answer: None,
        answer_if_held: None,
        payload_assumed: false,
        goes_to: None,
    }
}

fn rule_card(resolved: &Resolved, rule: &RuleRef) -> RuleCard {
    let name = match rule.kind {
        RuleKind::TopicId => format!("id {}", rule.name),
        RuleKind::Short => format!("short {}", rule.name),
        _ => rule.name.clone(),
    };
    RuleCard { name, at: rule.place.as_ref().and_then(|place| resolved.places.line(place)) }
}

fn refused(error: &MapError, near: &[NearCard], table: &str) -> RefusedCard {
    let first = near.first().map(|near| {
        let at = near.rule.at.as_deref().map(|at| format!(" ({at})")).unwrap_or_default();
        format!("{}{at}", near.rule.name)
    });
    let fix = match error.reason {
        Reason::MethodNotAllowed => {
            first.map(|rule| format!("add the method to `methods` of {rule}, or ask with another"))
        }
        Reason::NoRule => match first {
            Some(rule) => Some(format!("add a rule to {table}, or widen {rule}")),
            None => Some(format!("add a rule to {table}")),
        },
        Reason::BadTopic => {
            Some("ask with other text, or write `unsafe: encode` in a CoAP rule".to_owned())
        }
        Reason::BadOption => {
            Some("name the key in the rule's `query`, or write `query_extra: ignore`".to_owned())
        }
        Reason::BadPayload => {
            Some("send one of the formats of the rule's `payload.device`".to_owned())
        }
        _ => None,
    };
    RefusedCard { reason: error.reason.as_str(), text: error.text.clone(), fix }
}

fn code_text(code: u8) -> String {
    format!("{}.{:02}", code >> 5, code & 31)
}

/// `1h`, `90s`.
pub(crate) fn span(secs: u64) -> String {
    for (unit, size) in [("d", 86_400), ("h", 3_600), ("m", 60)] {
        if secs >= size && secs.is_multiple_of(size) {
            return format!("{}{unit}", secs / size);
        }
    }
    format!("{secs}s")
}
