//! mosquitto.conf, as mosquitto.conf(5) describes it up to version 2.1.
//!
//! Every option of the manual is in [`options`]: carried over, or listed with the reason. Files are
//! read one after the other as if they were one, as `include_dir` does.

mod bridge;
mod listeners;
mod options;
mod shared;

use super::draft::{At, Draft, Spot};
use super::tree::{Block, Form, carry, flag, waits};
use super::{ImportError, RemarkKind, Source};

use bridge::Bridge;
use listeners::Section;
use options::{Scope, Treat};

/// An option where it stands.
#[derive(Debug, Clone, Copy)]
struct Set<'a> {
    spot: Spot<'a>,
    name: &'a str,
    value: &'a str,
}

impl Set<'_> {
    /// As it is written there, without what is secret.
    fn what(&self) -> String {
        let hidden = options::is_secret(self.name);
        match (self.value.is_empty(), hidden) {
            (true, _) => self.name.to_owned(),
            (_, true) => format!("{} …", self.name),
            _ => format!("{} {}", self.name, self.value),
        }
    }

    fn is_on(&self) -> bool {
        flag(self.value) == Some(true)
    }
}

/// Everything that the files say, by what it is about.
#[derive(Debug, Default)]
struct File<'a> {
    global: Vec<Set<'a>>,
    /// The one that there is without `listener`.
    default: Section<'a>,
    listeners: Vec<Section<'a>>,
    /// Whether files that it asks for were not given.
    parts_missing: bool,
    bridges: Vec<Bridge<'a>>,
}

impl<'a> File<'a> {
    /// The last one holds.
    fn global(&self, name: &str) -> Option<&Set<'a>> {
        self.last(&[name])
    }

    /// The same of an option with several names.
    fn last(&self, names: &[&str]) -> Option<&Set<'a>> {
        self.global.iter().rev().find(|set| names.contains(&set.name))
    }
}

pub(crate) fn read(sources: &[Source<'_>]) -> Result<Draft, ImportError> {
    let mut draft = Draft::default();
    let sets = sets(sources, &mut draft)?;
    let mut file = sort(&sets, &mut draft);
    file.parts_missing = sources.len() == 1 && file.global("include_dir").is_some();
    for set in &file.global {
        treat(set, At::Top, &mut draft);
    }
    store(&file, &mut draft);
    message_size(&file, &mut draft);
    in_flight(&file, &mut draft);
    listeners::write(&file, &mut draft);
    log(&file, &mut draft);
    for bridge in &file.bridges {
        bridge.write(&mut draft);
    }
    if let (Some(source), None) = (sources.first(), file.global("persistent_client_expiration")) {
        let spot = Spot { source: *source, line: 1 };
        let text = "sessions that nobody comes back to end after 30 days here, there never";
        let what = "persistent_client_expiration";
        draft.remark(At::Mqtt, spot, RemarkKind::Changed, what, text);
    }
    Ok(draft)
}

/// The lines that say something.
fn sets<'a>(sources: &[Source<'a>], draft: &mut Draft) -> Result<Vec<Set<'a>>, ImportError> {
    let mut sets = Vec::new();
    for source in sources {
        let (mut first, mut known) = (None, false);
        for (text, line) in source.text.lines().zip(1..) {
            let text = text.trim().trim_start_matches('\u{feff}');
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            first.get_or_insert(line);
            let (name, value) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
            let set = Set { spot: Spot { source: *source, line }, name, value: value.trim() };
            // `max_packet_size = 1MB` is somebody else's.
            if options::find(name).is_some() && !set.value.starts_with(['=', '{']) {
                known = true;
                sets.push(set);
            } else {
                let word = name.len() < 40
                    && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
                let what = if word { name } else { "a line" };
                let text = "mosquitto has no such option";
                draft.remark(At::Top, set.spot, RemarkKind::Unknown, what, text);
            }
        }
        if let (Some(line), false) = (first, known) {
            let text = "there is no option of mosquitto in this file";
            let fix = "give mosquitto.conf, and the files of its include_dir; password and access \
                       files are not read";
            return Err(ImportError::new(*source, line, text, fix));
        }
    }
    Ok(sets)
}

/// By scope: listener options belong to the listener above them, bridge options to the bridge.
fn sort<'a>(sets: &[Set<'a>], draft: &mut Draft) -> File<'a> {
    let mut file = File::default();
    let each = sets.iter().rev().find(|set| set.name == "per_listener_settings");
    let each = each.is_some_and(Set::is_on);
    for set in sets {
        let scope = options::find(set.name).map_or(Scope::Global, |option| option.scope);
        match (set.name, scope) {
            ("listener", _) => file.listeners.push(Section::new(*set)),
            ("connection", _) => file.bridges.push(Bridge::new(*set)),
            // Of the default listener wherever they stand (mosquitto.conf(5)).
            ("port" | "bind_address", _) => file.default.options.push(*set),
            (_, Scope::Listener) => file.section().options.push(*set),
            (_, Scope::Security) if each => file.section().options.push(*set),
            (_, Scope::Global | Scope::Security) => file.global.push(*set),
            (_, Scope::Bridge) => match file.bridges.last_mut() {
                Some(bridge) => bridge.options.push(*set),
                None => {
                    let text = "an option of a bridge before any `connection`";
                    draft.remark(At::Bridges, set.spot, RemarkKind::Unknown, set.name, text);
                }
            },
        }
    }
    file
}

impl<'a> File<'a> {
    fn section(&mut self) -> &mut Section<'a> {
        self.listeners.last_mut().unwrap_or(&mut self.default)
    }
}

/// Does what the table says about an option; remarks of a listener stand above it.
fn treat(set: &Set<'_>, listener: At, draft: &mut Draft) {
    let Some(option) = options::find(set.name) else { return };
    let place = |at: At| if at == At::Listeners && listener != At::Top { listener } else { at };
    match option.treat {
        Treat::Code => {}
        Treat::Say(at, kind, text) => {
            draft.remark(place(at), set.spot, kind, set.what(), waits(kind, text));
        }
        Treat::Unless(usual, at, kind, text) => {
            let same =
                set.value == usual || flag(set.value).is_some() && flag(set.value) == flag(usual);
            if !same {
                draft.remark(place(at), set.spot, kind, set.what(), text);
            }
        }
        Treat::Carry(block, key, form) => {
            carry(block, key, form, set.spot, (&set.what(), set.value), draft);
        }
        Treat::CarryOrNone(block, key, form) => carry_or_none(set, block, key, form, draft),
    }
}

/// Carries an option over of which 0 is no limit there.
fn carry_or_none(set: &Set<'_>, block: Block, key: &str, form: Form, draft: &mut Draft) {
    let value = if matches!(set.value, "0" | "-1") { "unlimited" } else { set.value };
    carry(block, key, form, set.spot, (&set.what(), value), draft);
}

/// What is kept: `persistence`, the life of sessions, queues.
fn store(file: &File<'_>, draft: &mut Draft) {
    let asked = file.last(&["persistence", "retained_persistence"]);
    let kept = asked.is_some_and(Set::is_on);
    draft.store.set("durability", if kept { "process_crash" } else { "none" });
    if let (Some(set), true) = (asked, kept) {
        let text = "sessions and retained messages survive a crash of the program, and with \
                    `power_loss` of the machine; the content of mosquitto.db is not imported";
        draft.remark(At::Top, set.spot, RemarkKind::Changed, set.what(), text);
    }
    if ["max_queued_messages", "max_queued_bytes"].iter().any(|name| file.global(name).is_some()) {
        draft.limits.set("overflow", "drop_newest");
    }
    if let Some(set) = file.global("persistent_client_expiration") {
        let days =
            set.value.get(..set.value.len().saturating_sub(1)).and_then(|n| n.parse::<u64>().ok());
        let unit = match set.value.chars().last() {
            Some('h') => Some(3_600),
            Some('d') => Some(86_400),
            Some('w') => Some(604_800),
            Some('m') => Some(2_592_000),
            Some('y') => Some(31_536_000),
            _ => None,
        };
        let seconds = days.zip(unit).map(|(n, unit)| n.saturating_mul(unit).min(4_294_967_295));
        match seconds {
            Some(seconds) => draft.mqtt.set("max_session_expiry", format!("{seconds}s")),
            None => {
                let text = "not a number with h, d, w, m or y: left out";
                draft.remark(At::Mqtt, set.spot, RemarkKind::Unknown, set.what(), text);
            }
        }
    }
}

/// `message_size_limit`: of payloads there, those of wills included.
fn message_size(file: &File<'_>, draft: &mut Draft) {
    let Some(set) = file.global("message_size_limit").filter(|set| set.value != "0") else {
        return;
    };
    let (kind, text) = match set.value.parse::<u64>() {
        Ok(limit) => {
            // The topic and the header come on top of the payload.
            let bytes = limit.saturating_add(65_543).clamp(128, 268_435_460);
            let packet = draft.limits.number("max_packet_size");
            let bytes = packet.map_or(bytes, |packet| packet.min(bytes));
            draft.limits.set("max_packet_size", bytes.to_string());
            if limit < 65_535 {
                draft.limits.set("max_will_payload", limit.to_string());
            }
            let text = "a bound on the whole packet here, topic included; a client that sends more \
                        is disconnected";
            (RemarkKind::Changed, text)
        }
        Err(_) => (RemarkKind::Unknown, "not a number: left out"),
    };
    draft.remark(At::Limits, set.spot, kind, set.what(), text);
}

/// `max_inflight_messages`: towards a client, and from it (the Receive Maximum of its CONNACK).
fn in_flight(file: &File<'_>, draft: &mut Draft) {
    let Some(set) = file.global("max_inflight_messages") else { return };
    for key in ["max_inflight", "receive_maximum"] {
        carry_or_none(set, Block::Mqtt, key, Form::Number(1, 65_535), draft);
    }
}

/// `log_type` as a level.
fn log(file: &File<'_>, draft: &mut Draft) {
    let types: Vec<&Set<'_>> = file.global.iter().filter(|set| set.name == "log_type").collect();
    let level = types.iter().map(|set| match set.value {
        "all" | "debug" => 3,
        "information" | "notice" | "subscribe" | "unsubscribe" | "websockets" => 2,
        "warning" => 1,
        _ => 0,
    });
    if let Some(level) = level.max() {
        draft.log.set("level", ["error", "warn", "info", "debug"][level]);
    }
    for set in types.iter().filter(|set| set.value == "none") {
        let text = "errors are always logged";
        draft.remark(At::Log, set.spot, RemarkKind::Changed, set.what(), text);
    }
}
