//! [`Queries`]: the query keys that a rule takes, and what they say.
//!
//! Only declared keys are taken; any other is 4.00 naming it, unless the rule says
//! `query_extra: ignore`. Values are the options as they are: not decoded again.

use std::fmt::Write as _;
use std::time::Duration;

use motegate_message::{Qos, Reason};

use crate::pattern::is_name;
use crate::template::{Template, is_builtin, query_value};
use crate::{CoapRule, Emqx, MapError, Place, RuleErrorKind};

/// What a rule takes in the query.
#[derive(Debug, Default)]
pub(crate) struct Queries {
    keys: Vec<(Box<str>, Target)>,
    ignore_others: bool,
}

#[derive(Debug, Clone)]
enum Target {
    Qos,
    Retain,
    /// EMQX's: `true`, or not.
    RetainIfTrue,
    Expiry,
    /// EMQX's: 0 is never.
    ExpiryOrNever,
    /// Of an EMQX client's subscription.
    NoLocal,
    RetainHandling,
    User(Box<str>),
    /// Read by the topic's template.
    Capture,
    /// Taken and passed over.
    Ignored,
}

/// What a request's query says.
#[derive(Debug, Default)]
pub(crate) struct Options {
    pub(crate) qos: Option<Qos>,
    pub(crate) retain: Option<bool>,
    pub(crate) expiry: Option<Expiry>,
    pub(crate) user: Vec<(String, String)>,
    /// What an EMQX client says of its subscription.
    pub(crate) emqx: Emqx,
}

/// When a message expires, as a request says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expiry {
    /// Whatever the rule says.
    Never,
    After(Duration),
}

/// Whether a topic's template reads this capture, or the query key that gives it.
fn reads(topic: &str, name: &str, key: &str) -> bool {
    topic.contains(&["{", name].concat()) || topic.contains(&["{query.", key].concat())
}

impl Queries {
    /// `qos`, `retain`, `expiry`.
    pub(crate) fn passthrough() -> Queries {
        let keys = vec![
            ("qos".into(), Target::Qos),
            ("retain".into(), Target::Retain),
            ("expiry".into(), Target::Expiry),
        ];
        Queries { keys, ignore_others: false }
    }

    /// Nothing is taken.
    pub(crate) fn none() -> Queries {
        Queries::default()
    }

    /// What EMQX's gateway takes, in long and in short, as it reads it; who the client is and what
    /// proves it are the listener's. What else its clients say it passes over, too.
    pub(crate) fn emqx() -> Queries {
        let mut queries = Queries::none();
        queries.keys.extend([
            ("qos".into(), Target::Qos),
            ("q".into(), Target::Qos),
            ("retain".into(), Target::RetainIfTrue),
            ("r".into(), Target::RetainIfTrue),
            ("expiry".into(), Target::ExpiryOrNever),
            ("nl".into(), Target::NoLocal),
            ("rh".into(), Target::RetainHandling),
        ]);
        let who = ["clientid", "c", "username", "u", "password", "p", "token", "t"];
        queries.keys.extend(who.map(|key| (key.into(), Target::Ignored)));
        Queries { ignore_others: true, ..queries }
    }

    pub(crate) fn new(
        rule: &CoapRule,
        place: &Place,
        report: &mut impl FnMut(Place, RuleErrorKind),
    ) -> Queries {
        let mut keys = Vec::new();
        for (key, target) in &rule.query {
            let parsed = match (target.as_str(), target.strip_prefix("user_property.")) {
                ("qos", _) => Target::Qos,
                ("retain", _) => Target::Retain,
                ("expiry", _) => Target::Expiry,
                (_, Some(name)) if !name.is_empty() => Target::User(name.into()),
                // A target that the topic does not read is a slip: the value would be lost.
                (name, None)
                    if is_name(name) && !is_builtin(name) && reads(&rule.topic, name, key) =>
                {
                    Target::Capture
                }
                _ => {
                    let kind = RuleErrorKind::BadQueryTarget { target: target.clone() };
                    report(place.at("query").at(key.as_str()), kind);
                    continue;
                }
            };
            keys.push((key.as_str().into(), parsed));
        }
        Queries { keys, ignore_others: rule.query_extra_ignored }
    }

    /// Reads the query of a request.
    ///
    /// # Errors
    /// `BadOption`, naming the key.
    pub(crate) fn read(&self, query: &[String], topic: &Template) -> Result<Options, MapError> {
        let mut options = Options::default();
        for (i, item) in query.iter().enumerate() {
            let (key, value) = item.split_once('=').unwrap_or((item, ""));
            let target = self.keys.iter().find(|(k, _)| **k == *key).map(|(_, target)| target);
            if target.is_some() && query_value(&query[..i], key).is_some() {
                return Err(bad(format!("the query parameter {key} is given twice")));
            }
            match target {
                Some(Target::Qos) => options.qos = Some(read_qos(value)?),
                Some(Target::Retain) => options.retain = Some(read_flag(value)?),
                Some(Target::RetainIfTrue) => options.retain = Some(value == "true"),
                Some(Target::Expiry) => options.expiry = Some(Expiry::After(read_expiry(value)?)),
                Some(Target::ExpiryOrNever) => {
                    options.expiry = Some(match read_expiry(value)? {
                        Duration::ZERO => Expiry::Never,
                        after => Expiry::After(after),
                    });
                }
                Some(Target::NoLocal) => options.emqx.no_local = value == "1",
                Some(Target::RetainHandling) => options.emqx.skips_retained = value == "2",
                Some(Target::User(name)) => options.user.push((name.to_string(), value.to_owned())),
                Some(Target::Capture | Target::Ignored) => {}
                None if self.ignore_others || topic.query_keys().any(|k| k == key) => {}
                None => return Err(self.unknown(key)),
            }
        }
        Ok(options)
    }

    fn unknown(&self, key: &str) -> MapError {
        if key == "client" {
            // The listener's own; it takes the key away before it asks.
            let text = "client=… is read only by a listener that says `client_from: query`";
            return bad(text.to_owned());
        }
        let known: Vec<&str> = self.keys.iter().map(|(key, _)| &**key).collect();
        bad(match known.as_slice() {
            [] => format!("unknown query parameter {key}: this path takes none"),
            some => format!("unknown query parameter {key}: this path takes {}", some.join(", ")),
        })
    }
}

fn bad(text: String) -> MapError {
    MapError { reason: Reason::BadOption, text }
}

fn read_qos(value: &str) -> Result<Qos, MapError> {
    match value {
        "0" => Ok(Qos::AtMostOnce),
        "1" => Ok(Qos::AtLeastOnce),
        "2" => Ok(Qos::ExactlyOnce),
        _ => Err(bad(format!("qos={value} is none of 0, 1, 2"))),
    }
}

fn read_flag(value: &str) -> Result<bool, MapError> {
    match value {
        "true" | "1" | "" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(bad(format!("retain={value} is neither true nor false"))),
    }
}

/// Seconds, or a number with `s`, `m`, `h` or `d`.
fn read_expiry(value: &str) -> Result<Duration, MapError> {
    let digits = value.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let scale = match &value[digits.len()..] {
        "" | "s" => Some(1),
        "m" => Some(60),
        "h" => Some(3600),
        "d" => Some(86_400),
        _ => None,
    };
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let number = if plain { digits.parse::<u32>().ok() } else { None };
    match (number, scale) {
        // MQTT's message expiry is 32 bits of seconds.
        (Some(n), Some(scale)) if u64::from(n) * scale <= u64::from(u32::MAX) => {
            Ok(Duration::from_secs(u64::from(n) * scale))
        }
        _ => Err(bad(format!("expiry={value} is no time: write seconds, or 10m, 1h, 7d"))),
    }
}

/// A path as a person would type it.
pub(crate) fn show_path<S: AsRef<str>>(path: &[S]) -> String {
    let mut out = String::new();
    for segment in path {
        out.push('/');
        for c in segment.as_ref().chars() {
            match c {
                '/' | '%' | '?' | '#' | '\0'..=' ' => {
                    let _ = write!(out, "%{:02X}", u32::from(c));
                }
                c => out.push(c),
            }
        }
    }
    if out.is_empty() { "/".to_owned() } else { out }
}
