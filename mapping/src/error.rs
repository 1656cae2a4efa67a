//! [`RuleError`]: what is wrong with the rules, and where.

use crate::Place;
use crate::payload::{CodecError, ConversionError};

/// A mistake in the rules.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {kind}")]
pub struct RuleError {
    /// Where.
    pub place: Place,
    /// What.
    pub kind: RuleErrorKind,
}

impl RuleError {
    pub(crate) fn new(place: Place, kind: impl Into<RuleErrorKind>) -> Self {
        RuleError { place, kind: kind.into() }
    }
}

/// The mistakes that rules can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RuleErrorKind {
    /// In a pattern.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// In a template.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// In a glob.
    #[error("a glob is text in which * stands for any run of characters; it cannot be empty")]
    EmptyGlob,
    /// Two things of one name.
    #[error("the name {name:?} is already taken")]
    DuplicateName {
        /// The name.
        name: String,
        /// Where the first one is.
        first: Place,
    },
    /// Two rules, neither narrower, take one request.
    #[error("two rules take the same request and neither is narrower: both take {witness}")]
    Overlap {
        /// Name of this rule.
        rule: String,
        /// Name of the other.
        other: String,
        /// Where the other is; `None` for a preset.
        other_place: Option<Place>,
        /// A request (or name) that both take.
        witness: String,
    },
    /// More overlaps than are listed one by one.
    #[error("more pairs of rules take the same request; they are listed once these are settled")]
    MoreOverlaps,
    /// A method with an action that it cannot have.
    #[error("{method} cannot mean {action}")]
    BadMethod {
        /// As in the file.
        method: &'static str,
        /// As in the file.
        action: &'static str,
    },
    /// No method at all.
    #[error("the rule takes no method")]
    NoMethods,
    /// A path that no request has, or none that rules are asked for.
    #[error(transparent)]
    Unasked(#[from] Unasked),
    /// A rule that publishes to what the gateway alone publishes to.
    #[error("topics below {root} are the gateway's own to publish: this is always answered 4.03")]
    ReservedTopic {
        /// `$SYS`, `$share` or `$CONTROL`.
        root: &'static str,
    },
    /// A query target that is none.
    #[error("the query target {target:?} is not known")]
    BadQueryTarget {
        /// As written.
        target: String,
    },
    /// A rule whose topic holds a wildcard and that takes more than OBSERVE (mapping.md §2.7).
    #[error("a topic with + or # can only be observed")]
    WildcardTopic,
    /// A wildcard beside text.
    #[error("+ and # stand alone in their level, # in the last one")]
    MisplacedWildcard,
    /// `{senml.n}` in the topic of a rule that takes more than publishing.
    #[error("a topic with {{senml.n}} is one per record: it can only be published to")]
    RecordTopic,
    /// `{senml.n}` without `split: senml`.
    #[error("{{senml.n}} is the name of a record: it needs `split: senml`")]
    RecordWithoutSplit,
    /// A format that is neither built in nor a codec.
    #[error("there is no format or codec {format:?}")]
    UnknownFormat {
        /// As written.
        format: String,
        /// What could stand here.
        known: Vec<String>,
    },
    /// A format twice in one list.
    #[error("the format {format:?} is listed twice")]
    FormatTwice {
        /// As written.
        format: String,
    },
    /// Formats of the two sides that never become each other.
    #[error(transparent)]
    Conversion(#[from] ConversionError),
    /// In an entry of `codecs`.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// A `payload` that names no format of the device.
    #[error("`payload` names no format of the device")]
    NoFormats,
    /// Records can be split out of SenML only, and a wildcard's notifications are SenML.
    #[error("{format:?} is no SenML: its records cannot be told apart")]
    SplitNeedsSenml {
        /// As written.
        format: String,
    },
    /// The notifications of a topic with wildcards are packs (mapping.md §2.7).
    #[error(
        "a topic with + or # is observed as SenML packs, so the device's format cannot be {format:?}"
    )]
    WildcardNeedsSenml {
        /// As written.
        format: String,
    },
    /// `on_bad_payload` where nothing is read.
    #[error("without `payload` nothing is read, so that no payload can be bad")]
    NoPayload,
    /// A codec with a built-in format's name, or none.
    #[error("a codec needs a name that no built-in format has")]
    BadCodecName,
    /// A `link` on a rule that does not lead back from topic to path (mapping.md §2.14).
    #[error("a link needs a rule that leads from the topic back to the path")]
    NotReversible,
    /// An attribute that a link cannot be given.
    #[error("{attribute:?} is no attribute that a rule can give")]
    BadLinkAttribute {
        /// As written.
        attribute: String,
    },
    /// Not a Uri-Host.
    #[error("{host:?} is no host name or address")]
    BadHost {
        /// As written.
        host: String,
    },
    /// A listener that does not exist is named by config; here only an empty name.
    #[error("a group needs the name of a scope in topic_ids other than `all` and `client:…`")]
    BadGroupName,
    /// A scope that names no group.
    #[error("there is no group {group:?}")]
    UnknownGroup {
        /// As written.
        group: String,
        /// Groups that exist.
        known: Vec<String>,
    },
    /// One client in two groups.
    #[error("the client {witness:?} would be in two groups: {group:?} and {other:?}")]
    GroupOverlap {
        /// This group.
        group: String,
        /// The other group.
        other: String,
        /// A client id in both.
        witness: String,
    },
    /// 0 and 65535 are reserved (MQTT-SN 1.2 §5.3.11), or an empty range.
    #[error("topic ids are 1 to 65534, a range goes upwards")]
    BadTopicId,
    /// An id twice in one scope.
    #[error("topic id {id} is defined twice")]
    DuplicateTopicId {
        /// The id.
        id: u16,
        /// Where the first definition is.
        first: Place,
    },
    /// A short name that is not two plain characters.
    #[error("a short topic name is exactly two bytes, without + and #")]
    BadShortName,
    /// QoS −1 for an id that nobody can resolve.
    #[error("QoS -1 allows topic id {id}, which has no entry in topic_ids")]
    UnknownQosMinusOneId {
        /// The id.
        id: u16,
    },
    /// QoS −1 that lists nothing.
    #[error("QoS -1 lists no topic ids")]
    NoQosMinusOneIds,
}

/// Why no request reaches a path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unasked {
    /// `/.well-known/core`.
    #[error("`/.well-known/core` is answered by the gateway itself: no rule is asked")]
    Discovery,
    /// `.` or `..` as a segment (RFC 7252 §5.10.1).
    #[error("the segment {0:?} is in no request: CoAP has no relative paths")]
    Relative(String),
    /// A segment that no Uri-Path option holds (RFC 7252 §5.10.1).
    #[error("a segment of a path has at most 255 bytes, and this one has {0}")]
    LongSegment(usize),
    /// A query behind the path.
    #[error("the segment {0:?} has a ?: what follows it is a query, which is no part of a path")]
    Query(String),
    /// A fragment, or a wildcard of MQTT.
    #[error("the segment {0:?} has a #: what follows it is a fragment, which no request has")]
    Fragment(String),
}

/// What is wrong with a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Longer than a datagram could carry.
    #[error("a pattern is at most 4,096 bytes long and 128 segments deep")]
    TooLong,
    /// Text and braces in one segment.
    #[error("the segment {0:?} mixes text and braces: a capture fills a whole segment")]
    Mixed(String),
    /// A brace without its other half.
    #[error("the segment {0:?} has an unclosed brace")]
    Unclosed(String),
    /// Not a name.
    #[error("{0:?} is no name for a capture: it is a letter, then letters, digits and _")]
    BadName(String),
    /// A built-in's name.
    #[error("{{{0}}} is built in and cannot be a capture")]
    Reserved(String),
    /// Twice in one pattern.
    #[error("the capture {{{0}}} appears twice")]
    Duplicate(String),
    /// Something after the tail.
    #[error("{{{0}...}} takes the rest of the path, so nothing can follow it")]
    TailNotLast(String),
    /// `{x:a||b}`.
    #[error("the capture {{{0}}} has an empty alternative")]
    EmptyChoice(String),
    /// A regular expression that does not parse or is too large.
    #[error("the regular expression of {{{name}}} is not valid: {cause}")]
    BadRegex {
        /// Of the capture.
        name: String,
        /// From the engine, one line.
        cause: String,
    },
    /// A regular expression that takes no text that a segment could have.
    #[error("the regular expression of {{{0}}} takes no text at all, and a segment is never empty")]
    NoMatch(String),
    /// `%` without two hex digits, or bytes that are not UTF-8.
    #[error("the segment {0:?} has a % that is not the code of a character")]
    BadPercent(String),
}

/// What is wrong with a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// Nothing in it.
    #[error("the template is empty")]
    Empty,
    /// A brace without its other half.
    #[error("the template has an unclosed brace")]
    Unclosed,
    /// A name that stands for nothing here.
    #[error("{{{name}}} stands for nothing here")]
    Unknown {
        /// As written.
        name: String,
        /// What could stand here.
        known: Vec<String>,
    },
    /// A filter that does not exist.
    #[error("there is no filter {0:?}")]
    UnknownFilter(String),
    /// `trim` without a prefix, or text after a filter that takes none.
    #[error("the filter {0:?} is written trim:PREFIX, lower or hex")]
    FilterArgument(String),
    /// `{id-N}` with an N that is no number.
    #[error("{{{0}}} is written {{id}} or {{id-N}}, N not above the first id")]
    BadId(String),
    /// A literal part that no topic may hold.
    #[error("a topic cannot hold {0:?}")]
    BadCharacter(char),
}
