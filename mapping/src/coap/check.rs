//! From a rule as written to a checked one. All of its mistakes are reported, not just the first.

use super::links::LinkAttribute;
use super::rule::{METHODS, Methods, PRESET_PRIORITY, Rule, natural};
use crate::format::{Formats, Formatted};
use crate::glob::Glob;
use crate::pattern::{self, Pattern, Segment};
use crate::payload::ConversionError;
use crate::query::Queries;
use crate::reverse::Reversal;
use crate::template::{Names, Template};
use crate::{Action, CoapMethod, CoapRule, Place, RuleError, RuleErrorKind, Rules, Unasked};

/// Bytes of a Uri-Path option (RFC 7252 §5.10).
const MAX_SEGMENT: usize = 255;

/// First levels of topics that nobody but the gateway publishes to.
const RESERVED: [&str; 3] = ["$SYS", "$share", "$CONTROL"];

/// Attributes that a rule cannot give: they follow from what it is, or need another document.
const NO_ATTRIBUTES: [&str; 5] = ["href", "anchor", "rel", "rev", "obs"];

pub(super) fn check(
    rule: &CoapRule,
    rules: &Rules,
    formats: &Formats,
    place: &Place,
    errors: &mut Vec<RuleError>,
) -> Option<Rule> {
    let before = errors.len();
    let mut report = |at: Place, kind: RuleErrorKind| errors.push(RuleError::new(at, kind));
    let pattern = Pattern::parse(&rule.path).map_err(|e| report(place.at("path"), e.into())).ok();
    if let Some(unasked) = pattern.as_ref().and_then(|pattern| unasked(&rule.path, pattern)) {
        report(place.at("path"), unasked.into());
    }
    let methods = methods(rule, place, &mut report);
    let queries = Queries::new(rule, place, &mut report);
    let topic = pattern.as_ref().and_then(|pattern| topic(rule, pattern, place, &mut report));
    if let Some(topic) = &topic {
        publish_or_observe(rule, topic, place, &mut report);
        reserved(rule, topic, place, &mut report);
    }
    let wildcard = topic.as_ref().is_some_and(Template::has_wildcard);
    let formatted = payload(rule, rules, formats, wildcard, place, &mut report);
    let client = rule.client.as_deref().map(Glob::parse);
    if client == Some(None) {
        report(place.at("client"), RuleErrorKind::EmptyGlob);
    }
    let host = host(rule, place, &mut report);
    let link = pattern.as_ref().map(|pattern| link(rule, pattern, place, &mut report));
    if errors.len() > before {
        return None;
    }
    let (pattern, topic) = (pattern?, topic?);
    let mut listeners = rule.listeners.clone();
    listeners.sort();
    listeners.dedup();
    let checked = Rule {
        name: rule.name.as_str().into(),
        place: Some(place.clone()),
        reversal: Reversal::new(&pattern, &topic),
        pattern,
        topic,
        methods,
        queries,
        qos: rule.qos.unwrap_or(rules.defaults.qos),
        retain: rule.retain.unwrap_or(rules.defaults.retain),
        expiry: rule.expiry.or(rules.defaults.expiry),
        max_age: rule.max_age.or(rules.defaults.max_age),
        priority: rule.priority.max(PRESET_PRIORITY + 1),
        listeners,
        client: client.flatten(),
        host,
        encode: rule.encode,
        absolute: rule.absolute,
        content_when_empty: !rule.not_found_when_empty,
        formatted,
        link: link?,
        emqx: false,
        manages: None,
    };
    // A rule of one path needs no way back: it is listed as it stands.
    if !checked.link.is_empty() && checked.reversal.is_none() && !checked.is_literal() {
        errors.push(RuleError::new(place.at("link"), RuleErrorKind::NotReversible));
    }
    Some(checked)
}

/// Whether no request has this segment: `.` and `..` are relative (RFC 3986 §5.2.4, RFC 7252
/// §5.10.1), and an option of a path has 255 bytes.
#[must_use]
pub fn is_unasked(segment: &str) -> bool {
    matches!(segment, "." | "..") || segment.len() > MAX_SEGMENT
}

/// Why no request reaches the path.
fn unasked(text: &str, pattern: &Pattern) -> Option<Unasked> {
    if let Some(segment) = pattern::segment_with(text, '?') {
        return Some(Unasked::Query(segment.to_owned()));
    }
    if let Some(segment) = pattern::segment_with(text, '#') {
        return Some(Unasked::Fragment(segment.to_owned()));
    }
    let literals = pattern.segments.iter().map(|segment| match segment {
        Segment::Literal(text) => Some(&**text),
        _ => None,
    });
    // Choices are not judged: another of their words may be asked for.
    for text in literals.clone().flatten() {
        if text.len() <= MAX_SEGMENT && is_unasked(text) {
            return Some(Unasked::Relative(text.to_owned()));
        }
        if text.len() > MAX_SEGMENT {
            return Some(Unasked::LongSegment(text.len()));
        }
    }
    let discovery = !pattern.tail && literals.eq([Some(".well-known"), Some("core")]);
    discovery.then_some(Unasked::Discovery)
}

/// What only the gateway publishes to (every rule's topic is judged before its mount).
fn reserved(
    rule: &CoapRule,
    topic: &Template,
    place: &Place,
    report: &mut impl FnMut(Place, RuleErrorKind),
) {
    let Some(root) = RESERVED.into_iter().find(|root| topic.first_level() == Some(root)) else {
        return;
    };
    let kind = RuleErrorKind::ReservedTopic { root };
    let Some(methods) = &rule.methods else { return report(place.at("topic"), kind) };
    let writes = |action| matches!(action, Action::Publish | Action::Clear);
    for (method, _) in methods.iter().filter(|(_, action)| writes(*action)) {
        let Some(slot) = Methods::slot(*method) else { continue };
        report(place.at("methods").at(METHODS[slot].1), kind.clone());
    }
}

fn topic(
    rule: &CoapRule,
    pattern: &Pattern,
    place: &Place,
    report: &mut impl FnMut(Place, RuleErrorKind),
) -> Option<Template> {
    let splits = rule.payload.as_ref().is_some_and(|payload| payload.split);
    if !splits && rule.topic.contains("{senml.n") {
        report(place.at("topic"), RuleErrorKind::RecordWithoutSplit);
        return None;
    }
    let names = Names {
        pattern: Some(pattern),
        query: &rule.query,
        has_query: true,
        has_record: splits,
        wildcards: true,
        ..Names::default()
    };
    let topic = Template::parse(&rule.topic, &names)
        .map_err(|e| report(place.at("topic"), e.into()))
        .ok()?;
    if !topic.wildcards_fit() {
        report(place.at("topic"), RuleErrorKind::MisplacedWildcard);
        return None;
    }
    Some(topic)
}

/// Topics that are more than one: those with wildcards are observed, those of records published to
/// (mapping.md §2.7, §2.10).
fn publish_or_observe(
    rule: &CoapRule,
    topic: &Template,
    place: &Place,
    report: &mut impl FnMut(Place, RuleErrorKind),
) {
    let fits: fn(CoapMethod, Action) -> bool = match (topic.has_wildcard(), topic.has_record()) {
        (false, false) => return,
        (true, false) => |method, _| method == CoapMethod::Observe,
        (false, true) => |_, action| action == Action::Publish,
        (true, true) => |_, _| false,
    };
    let kind = match topic.has_wildcard() {
        true => RuleErrorKind::WildcardTopic,
        false => RuleErrorKind::RecordTopic,
    };
    let Some(methods) = &rule.methods else { return report(place.at("topic"), kind) };
    for (method, _) in methods.iter().filter(|(method, action)| !fits(*method, *action)) {
        let Some(slot) = Methods::slot(*method) else { continue };
        report(place.at("methods").at(METHODS[slot].1), kind.clone());
    }
}

fn payload(
    rule: &CoapRule,
    rules: &Rules,
    formats: &Formats,
    wildcard: bool,
    place: &Place,
    report: &mut impl FnMut(Place, RuleErrorKind),
) -> Formatted {
    let on_bad = rule.on_bad_payload.unwrap_or(rules.defaults.on_bad_payload);
    if rule.payload.is_none() && rule.on_bad_payload.is_some() {
        report(place.at("on_bad_payload"), RuleErrorKind::NoPayload);
    }
    let place = place.at("payload");
    let payload =
        rule.payload.as_ref().and_then(|rule| formats.payload(rule, on_bad, &place, report));
    let device = payload.iter().flat_map(|payload| &payload.device).enumerate();
    for (i, format) in device {
        if wildcard && !format.is_senml() {
            let kind = RuleErrorKind::WildcardNeedsSenml { format: format.name().to_owned() };
            report(place.at("device").at(i), kind);
        }
    }
    formats.compile(payload, wildcard).unwrap_or_else(|error| {
        let at = match &error {
            ConversionError::NeverConverts { index, .. } => place.at("device").at(*index),
            _ => place.clone(),
        };
        report(at, error.into());
        Formatted::default()
    })
}

fn host(
    rule: &CoapRule,
    place: &Place,
    report: &mut impl FnMut(Place, RuleErrorKind),
) -> Option<Box<str>> {
    let host = rule.host.as_deref()?;
    // RFC 7252 §5.10: 1 to 255 bytes; a port has an option of its own, an IPv6 address brackets.
    let bracketed = host.starts_with('[') && host.ends_with(']');
    let plain = !host.contains(['/', '?', '#', '@', ' ']) && (bracketed || !host.contains(':'));
    if host.is_empty() || host.len() > 255 || !plain {
        let kind = RuleErrorKind::BadHost { host: host.to_owned() };
        report(place.at("host"), kind);
        return None;
    }
    Some(host.to_ascii_lowercase().into())
}

fn link(
    rule: &CoapRule,
    pattern: &Pattern,
    place: &Place,
    report: &mut impl FnMut(Place, RuleErrorKind),
) -> Box<[LinkAttribute]> {
    let mut attributes = Vec::with_capacity(rule.link.len());
    let names = Names { pattern: Some(pattern), free: true, ..Names::default() };
    for (name, value) in &rule.link {
        let at = place.at("link").at(name.as_str());
        // RFC 6690 §2: parmname, without the mark of RFC 5987's encodings.
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$&+-^_`{}~|.".contains(&b);
        if name.is_empty() || !name.bytes().all(token) || NO_ATTRIBUTES.contains(&name.as_str()) {
            report(at, RuleErrorKind::BadLinkAttribute { attribute: name.clone() });
            continue;
        }
        match Template::parse(value, &names) {
            Ok(value) => attributes.push(LinkAttribute { name: name.as_str().into(), value }),
            Err(e) => report(at, e.into()),
        }
    }
    attributes.into()
}

fn methods(
    rule: &CoapRule,
    place: &Place,
    report: &mut impl FnMut(Place, RuleErrorKind),
) -> Methods {
    let Some(given) = &rule.methods else { return Methods::all() };
    let mut methods = Methods::default();
    if given.is_empty() {
        report(place.at("methods"), RuleErrorKind::NoMethods);
    }
    for (method, action) in given {
        let Some(slot) = Methods::slot(*method) else { continue };
        let (name, at) = (METHODS[slot].1, place.at("methods").at(METHODS[slot].1));
        // PUT and POST may also clear, so that devices without DELETE can.
        let clears = matches!(method, CoapMethod::Put | CoapMethod::Post);
        if *action != natural(*method) && !(clears && *action == Action::Clear) {
            let action = action.as_str();
            report(at, RuleErrorKind::BadMethod { method: name, action });
        }
        methods.0[slot] = Some(*action);
    }
    methods
}
