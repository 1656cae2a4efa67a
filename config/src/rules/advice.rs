//! The mapping's errors as diagnostics: where, and what to do.

use motegate_mapping::payload::CodecError;
use motegate_mapping::{PatternError, RuleError, RuleErrorKind, TemplateError, Unasked};

use crate::diagnostic::{Code, Diagnostic, nearest};
use crate::document::Document;

/// The mapping's error as a diagnostic: code and fix.
pub(crate) fn diagnose(error: RuleError, document: &Document) -> Diagnostic {
    use RuleErrorKind as Kind;
    let (code, mut fix) = advice(&error.kind);
    if code == Code::Overlap && error.place.steps().get(1) == Some(&"presets".into()) {
        "keep one of them: both claim this path".clone_into(&mut fix);
    }
    let at = match &error.kind {
        // These are about the key, not about what stands behind it.
        Kind::DuplicateTopicId { .. }
        | Kind::BadTopicId
        | Kind::BadShortName
        | Kind::UnknownGroup { .. }
        | Kind::BadCodecName
        | Kind::BadLinkAttribute { .. }
        | Kind::NotReversible
        | Kind::NoPayload
        | Kind::BadGroupName => document.key(&error.place),
        _ => document.value(&error.place),
    };
    let text = match &error.kind {
        Kind::Overlap { .. } => "two rules take the same request and neither is narrower".into(),
        kind => kind.to_string(),
    };
    let diagnostic = Diagnostic::new(code, text, fix).at(at);
    match error.kind {
        Kind::DuplicateName { first, .. } => {
            diagnostic.also(document.value(&first), "the first one")
        }
        Kind::DuplicateTopicId { first, .. } => {
            diagnostic.also(document.key(&first), "the first one")
        }
        Kind::Overlap { other_place, witness, other, .. } => {
            let labelled = diagnostic.label(format!("both take {witness}"));
            match other_place {
                Some(place) => {
                    // A rule is known by its pattern; a preset is a word.
                    let pattern = ["path", "filter"].into_iter().map(|step| place.at(step));
                    let place = pattern
                        .into_iter()
                        .find(|place| document.node(place).is_some())
                        .unwrap_or(place);
                    labelled.also(document.value(&place), format!("rule {other}"))
                }
                None => labelled,
            }
        }
        _ => diagnostic,
    }
}

fn advice(kind: &RuleErrorKind) -> (Code, String) {
    use RuleErrorKind as Kind;
    let (code, fix) = match kind {
        Kind::Pattern(error) => return (Code::Pattern, pattern_fix(error)),
        Kind::Unasked(unasked) => (Code::Pattern, unasked_fix(unasked)),
        Kind::ReservedTopic { .. } => (
            Code::Method,
            "add `methods: {GET: read, OBSERVE: subscribe}`, or publish to another topic",
        ),
        Kind::Template(error) => return (Code::Template, template_fix(error)),
        Kind::UnknownGroup { group, known } => {
            let near = nearest(group, known.iter().map(String::as_str).chain(["all"]));
            let fix = match near {
                Some(name) => format!("did you mean `{name}`?"),
                None => format!("add it under `groups`, or write `all` or `client:{group}`"),
            };
            return (Code::Group, fix);
        }
        Kind::UnknownQosMinusOneId { id } => {
            return (Code::QosMinusOne, format!("add {id} under `topic_ids`, or remove it here"));
        }
        Kind::UnknownFormat { format, known } => {
            let fix = match nearest(format, known.iter().map(String::as_str)) {
                Some(name) => format!("did you mean `{name}`?"),
                None => format!("add it under `codecs`, or write one of {}", known.join(", ")),
            };
            return (Code::Format, fix);
        }
        Kind::Codec(error) => return (Code::Format, codec_fix(error).to_owned()),
        Kind::Conversion(_) => {
            (Code::Format, "let both sides be json, cbor or a codec, or both text, raw or senml")
        }
        Kind::FormatTwice { .. } => (Code::Format, "remove one"),
        Kind::NoFormats => (Code::Format, "add `device: json`: what devices write"),
        Kind::SplitNeedsSenml { .. } | Kind::WildcardNeedsSenml { .. } => {
            (Code::Format, "write senml+json, senml+cbor or both")
        }
        Kind::NoPayload => (Code::Format, "add `payload: {device: …, broker: …}`, or remove it"),
        Kind::BadCodecName => (Code::Format, "give the codec another name"),
        Kind::RecordWithoutSplit => {
            (Code::Template, "add `split: senml` to `payload`, or name one topic")
        }
        Kind::MisplacedWildcard => (Code::Template, "give + and # levels of their own"),
        Kind::RecordTopic => (Code::Method, "add `methods: {POST: publish}`"),
        Kind::NotReversible => (
            Code::Link,
            "let each capture of the path fill one level of the topic, once, or remove `link`",
        ),
        Kind::BadLinkAttribute { .. } => {
            (Code::Link, "give rt, if, ct, sz, title or an attribute of your own")
        }
        Kind::BadHost { .. } => {
            (Code::Value, "write the host that devices ask for, without scheme and port")
        }
        Kind::EmptyGlob => (Code::Group, "write a client id, with * for any characters"),
        Kind::BadGroupName => (Code::Group, "give the group another name"),
        Kind::GroupOverlap { .. } => {
            (Code::Group, "narrow one of the globs: a client may be in one group only")
        }
        Kind::DuplicateName { .. } => (Code::RuleName, "give each rule its own name"),
        Kind::Overlap { .. } | Kind::MoreOverlaps => {
            (Code::Overlap, "narrow one of them, or put `priority: 10` on the one that should win")
        }
        Kind::BadMethod { .. } => (
            Code::Method,
            "PUT and POST publish (or clear), GET reads, OBSERVE subscribes, DELETE clears",
        ),
        Kind::NoMethods => (Code::Method, "name a method, or leave `methods` out to take all"),
        Kind::BadQueryTarget { .. } => (
            Code::Query,
            "write qos, retain, expiry, user_property.NAME or a {capture} that the topic reads",
        ),
        Kind::WildcardTopic => (
            Code::Method,
            "add `methods: {OBSERVE: subscribe}`, or put what varies into a {capture}",
        ),
        Kind::BadTopicId => (Code::TopicId, "use ids from 1 to 65534; 0 and 65535 are reserved"),
        Kind::DuplicateTopicId { .. } => (Code::TopicId, "keep one of them"),
        Kind::BadShortName => (Code::ShortName, "use two letters or digits"),
        Kind::NoQosMinusOneIds => {
            (Code::QosMinusOne, "list the ids that are open to anyone: `ids: [1]`")
        }
        _ => (Code::Value, "see the reference of mappings"),
    };
    (code, fix.to_owned())
}

fn codec_fix(error: &CodecError) -> &'static str {
    match error {
        CodecError::Empty => "write `frame: [{temp: i16be}]` or `cbor_keys: {0: temp}`",
        CodecError::EmptyName => "write `{NAME: TYPE}`, such as `{temp: i16be}`",
        CodecError::UnknownKind(_) | CodecError::NoByteOrder { .. } => {
            "write u8, i16be, u32le, f32be, bool, text[8], bytes[4] or rest, for example"
        }
        CodecError::BadNumber(_) => "write a decimal number such as 0.01",
        CodecError::OnlyIntegers(_) | CodecError::BitsAndScale => "remove it",
        CodecError::BadBit(_) => "count bits from 0, each with a name of its own",
        CodecError::RestNotLast => "put it at the end",
        _ => "rename or remove it",
    }
}

fn pattern_fix(error: &PatternError) -> String {
    match error {
        PatternError::Mixed(_) => {
            "give the capture a segment of its own, or limit it: {x:~regex}; {{ is a literal brace"
                .into()
        }
        PatternError::Unclosed(_) => "close the brace, or write {{ for a literal one".into(),
        PatternError::BadName(_) | PatternError::Duplicate(_) => "rename the capture".into(),
        PatternError::Reserved(name) => format!("rename it, for example {{my_{name}}}"),
        PatternError::TailNotLast(name) => format!("put {{{name}...}} at the end"),
        PatternError::EmptyChoice(name) => format!("write {{{name}:a|b}}"),
        PatternError::NoMatch(name) => {
            format!(
                "say what it may be, such as {{{name}:~[0-9]+}}, or write {{{name}}} for any text"
            )
        }
        PatternError::BadRegex { .. } => "the expression must match one whole segment".into(),
        PatternError::BadPercent(_) => "write % itself as %25".into(),
        PatternError::TooLong => "shorten it; {rest...} takes any depth".into(),
    }
}

fn unasked_fix(unasked: &Unasked) -> &'static str {
    match unasked {
        Unasked::Discovery => {
            "choose another path; what is listed there is said by `link:` of rules"
        }
        Unasked::Relative(_) => "write the whole path without it",
        Unasked::LongSegment(_) => "shorten it, or part it with /",
        Unasked::Query(_) => {
            "end the path before it and name the keys: `query: {KEY: qos}`; a ? in a path is %3F"
        }
        Unasked::Fragment(_) => {
            "leave it out; for all that lies below write {rest...}; a # in a path is %23"
        }
        _ => "choose another path",
    }
}

fn template_fix(error: &TemplateError) -> String {
    match error {
        TemplateError::Empty => "write the topic".into(),
        TemplateError::Unclosed => "close the brace, or write {{ or }} for a literal one".into(),
        TemplateError::Unknown { name, known } => {
            match nearest(name, known.iter().map(String::as_str)) {
                Some(near) => format!("did you mean {{{near}}}?"),
                None => {
                    let known: Vec<String> = known.iter().map(|k| format!("{{{k}}}")).collect();
                    format!("what can stand here is {}", known.join(" "))
                }
            }
        }
        TemplateError::UnknownFilter(name) => {
            match nearest(name, ["trim", "lower", "hex"].into_iter()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "the filters are trim:PREFIX, lower and hex".into(),
            }
        }
        TemplateError::FilterArgument(_) => "write {x|trim:PREFIX}, {x|lower} or {x|hex}".into(),
        TemplateError::BadId(_) => "write {id}, or {id-N} to count from 0 at N".into(),
        TemplateError::BadCharacter(_) => {
            "a topic that is published to has no wildcards; name one topic".into()
        }
    }
}
