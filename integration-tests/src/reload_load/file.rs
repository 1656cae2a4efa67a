//! The configuration file: what stays the same in every good version, what changes, and the
//! mistakes of bad ones.

use std::fmt::Write as _;
use std::net::SocketAddr;

/// What is the matter with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mistake {
    Syntax,
    Overlap,
    TakenAddress,
    FailingTest,
}

/// All, in turn.
pub(super) const MISTAKES: [Mistake; 4] =
    [Mistake::Syntax, Mistake::Overlap, Mistake::TakenAddress, Mistake::FailingTest];

impl Mistake {
    /// What is said of it, and the exit code of `motegate reload`.
    pub(super) fn told(self) -> (&'static str, i32) {
        match self {
            Mistake::Syntax => ("has mistakes", 3),
            Mistake::Overlap => ("E0312", 3),
            Mistake::TakenAddress => ("is taken", 1),
            Mistake::FailingTest => ("1 of 2 tests failed", 7),
        }
    }
}

/// What is on either side of the moving rule.
pub(super) fn letter(version: u32) -> char {
    if version.is_multiple_of(2) { 'a' } else { 'b' }
}

/// The topic's level that the renamed client's registered name means.
fn named(version: u32) -> &'static str {
    if (version / 3).is_multiple_of(2) { "one" } else { "two" }
}

/// Ids that take each other's topics at every change: whoever subscribes to all hears all topics.
pub(super) const SHIFTING_IDS: [u16; 3] = [11, 12, 13];

/// What a shifting id means.
fn shifted(id: u16, version: u32) -> String {
    format!("load/shift/{}", (u32::from(id) + version) % 3)
}

/// Rules of good version `version`, as the summary counts them.
fn spares(version: u32) -> u32 {
    1 + version % 5
}

/// The file of good version `version`, with a mistake or without.
pub(super) fn text(version: u32, mistake: Option<(Mistake, SocketAddr)>) -> String {
    let mut text = String::from("version: 1\ndurability: none\nlisteners:\n");
    for protocol in ["mqtt", "mqttsn", "coap"] {
        let _ = writeln!(
            text,
            "  - {{name: {protocol}, protocol: {protocol}, bind: \"127.0.0.1:0\", anonymous: true}}"
        );
    }
    // Listeners that come and go; nobody is on them.
    if version.is_multiple_of(2) {
        text.push_str("  - {name: extra, protocol: mqtt, bind: \"127.0.0.1:0\"}\n");
    } else {
        text.push_str("  - {name: extra, protocol: coap, bind: \"127.0.0.1:0\", mount: \"x/\"}\n");
    }
    if let Some((Mistake::TakenAddress, taken)) = mistake {
        let _ = writeln!(text, "  - {{name: taken, protocol: mqtt, bind: \"{taken}\"}}");
    }
    let _ = write!(
        text,
        "limits: {{max_queued_messages: {}, max_connections: {}, max_topic_levels: {}}}\n\
         mqttsn: {{retry_timeout: 3s, when_asleep: {{max_messages: {}}}}}\n\
         mappings:\n  coap:\n\
         \x20   - {{name: state, path: \"/p/{{n}}\", topic: \"load/coap/{{n}}\", \
         methods: {{PUT: publish, OBSERVE: subscribe}}}}\n\
         \x20   - {{name: event, path: \"/e/{{n}}\", topic: \"load/coap/e{{n}}\", \
         methods: {{POST: publish}}}}\n\
         \x20   - {{name: slow, path: /slow, topic: load/slow/cmd, methods: {{OBSERVE: subscribe}}}}\n\
         \x20   - {{name: moving, path: /moving, topic: load/moving/{}, \
         methods: {{OBSERVE: subscribe}}}}\n",
        100_000 - version,
        5_000 + version,
        100 + version % 20,
        900 + version % 50,
        letter(version),
    );
    for spare in 0..spares(version) {
        let name = version + spare;
        let _ = writeln!(
            text,
            "    - {{name: spare-{name}, path: \"/spare/{name}\", topic: \"spare/{name}\"}}"
        );
    }
    if mistake.is_some_and(|(mistake, _)| mistake == Mistake::Overlap) {
        text.push_str(
            "    - {name: here, path: \"/o/{a}/x\", topic: \"o/{a}\"}\n\
             \x20   - {name: there, path: \"/o/y/{b}\", topic: \"q/{b}\"}\n",
        );
    }
    let shifting = SHIFTING_IDS.map(|id| format!("{id}: {}", shifted(id, version))).join(", ");
    let _ = write!(
        text,
        "  mqttsn:\n    topic_ids:\n      all: {{1: \"load/sn/{{client}}/up\", 2: load/slow/cmd, \
         {shifting}, {}: spare/id}}\n    names:\n\
         \x20     - {{name: kept, filter: \"e/{{kind}}\", topic: \"load/sn/{{client}}/{{kind}}\"}}\n\
         \x20     - {{name: slow, filter: \"f/{{kind}}\", topic: \"load/slow/{{kind}}\"}}\n\
         \x20     - {{name: renamed, filter: \"d/{{kind}}\", topic: \"load/renamed/{}/{{kind}}\"}}\n",
        100 + version % 7,
        named(version),
    );
    let expected = match mistake {
        Some((Mistake::FailingTest, _)) => "load/slow/other",
        _ => "load/slow/cmd",
    };
    let _ = write!(
        text,
        "tests:\n\
         \x20 - {{name: by number, mqttsn: {{client: c, topic_id: 2, text: x}}, \
         expect: {{topic: {expected}}}}}\n\
         \x20 - {{name: by path, coap: {{method: PUT, path: /p/9, text: x}}, \
         expect: {{topic: load/coap/9}}}}\n"
    );
    if mistake.is_some_and(|(mistake, _)| mistake == Mistake::Syntax) {
        text.push_str("mappings: [}\n");
    }
    text
}

/// Whether the renamed client's name means something else in the next version.
pub(super) fn renames(version: u32) -> bool {
    named(version) != named(version + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the gateway says of a file.
    fn load(text: &str) -> Result<String, String> {
        let directory = crate::gateway::scratch("reload-load");
        let file = directory.join("motegate.yaml");
        std::fs::write(&file, text).expect("it writes");
        let loaded = motegate_config::Layers::new().files([file]).load();
        std::fs::remove_dir_all(directory).expect("it is ours");
        loaded.map(|resolved| resolved.summary()).map_err(|findings| findings.to_string())
    }

    #[test]
    fn good_versions_are_good_and_differ() {
        let said: Vec<String> =
            (0..12).map(|version| load(&text(version, None)).expect("good")).collect();
        assert!(said.windows(2).all(|pair| pair[0] != pair[1]), "{said:?}");
        assert!((0..12).any(renames) && !(0..12).all(renames));
    }

    #[test]
    fn a_mistake_that_can_be_seen_in_the_file_is_told() {
        let taken = "127.0.0.1:1".parse().expect("an address");
        for mistake in MISTAKES {
            let loaded = load(&text(3, Some((mistake, taken))));
            let seen = matches!(mistake, Mistake::Syntax | Mistake::Overlap);
            assert_eq!(loaded.is_err(), seen, "{mistake:?}: {loaded:?}");
        }
        let overlap = load(&text(3, Some((Mistake::Overlap, taken)))).expect_err("it overlaps");
        assert!(overlap.contains(Mistake::Overlap.told().0), "{overlap}");
    }
}
