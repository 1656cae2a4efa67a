//! Bridges: what they will be, as a comment.

use super::super::RemarkKind::{Later, Unknown, Unsupported};
use super::super::draft::{At, Draft};
use super::super::yaml::scalar;
use super::Set;

/// A `connection` and what is set for it.
#[derive(Debug)]
pub(super) struct Bridge<'a> {
    head: Set<'a>,
    pub(super) options: Vec<Set<'a>>,
}

/// Options that are part of what is written, or of the bridge's own doing there and here.
const WRITTEN: [&str; 20] = [
    "address",
    "addresses",
    "remote_username",
    "username",
    "remote_password",
    "password",
    "remote_clientid",
    "clientid",
    "topic",
    "bridge_cafile",
    "bridge_certfile",
    "bridge_keyfile",
    "bridge_alpn",
    "bridge_insecure",
    "bridge_tls_use_os_certs",
    "bridge_protocol_version",
    "keepalive_interval",
    "notifications",
    "try_private",
    "cleansession",
];

/// Whether an address ends in a number that is no port; a bare IPv6 address does not.
fn has_wrong_port(address: &str) -> bool {
    address.rsplit_once(':').is_some_and(|(host, port)| {
        let alone = !host.contains(':') || host.ends_with(']');
        alone && !matches!(port.parse::<u16>(), Ok(1..))
    })
}

impl<'a> Bridge<'a> {
    pub(super) fn new(head: Set<'a>) -> Self {
        Bridge { head, options: Vec::new() }
    }

    fn get(&self, names: &[&str]) -> Option<&'a str> {
        let set = self.options.iter().rev().find(|set| names.contains(&set.name));
        set.map(|set| set.value)
    }

    pub(super) fn write(&self, draft: &mut Draft) {
        for set in &self.options {
            if set.name == "topic" {
                if let Err(why) = Link::parse(set.value) {
                    draft.remark(At::Bridges, set.spot, Unknown, set.what(), why);
                }
            } else if matches!(set.name, "address" | "addresses") {
                for address in set.value.split_whitespace().filter(|a| has_wrong_port(a)) {
                    let text = format!("{address} has no port that can be: 1883 stands for it");
                    draft.remark(At::Bridges, set.spot, Unknown, set.what(), text);
                }
            } else if !WRITTEN.contains(&set.name) {
                let text = format!("of bridge {}: there is no such setting", self.head.value);
                draft.remark(At::Bridges, set.spot, Unsupported, set.what(), text);
            }
        }
        let secret = ["remote_password", "password", "bridge_psk"];
        let text = match self.get(&secret) {
            Some(_) => "bridges come with a later version; its password is not copied",
            None => "bridges come with a later version",
        };
        let (spot, what) = (self.head.spot, self.head.what());
        draft.remark_with(At::Bridges, spot, Later, what, text, self.equivalent());
    }

    /// As bridges are written.
    fn equivalent(&self) -> Vec<String> {
        let address = self.get(&["address", "addresses"]).unwrap_or_default();
        let mut addresses = address.split_whitespace();
        let first = addresses.next().unwrap_or_default();
        let (host, port) = match first.rsplit_once(':') {
            Some((host, port)) if port.parse::<u16>().is_ok() => (host, port),
            Some((host, _)) if has_wrong_port(first) => (host, "1883"),
            _ => (first, "1883"),
        };
        let name = self.head.value;
        let mut head =
            format!("name: {}, host: {}, port: {}", scalar(name), scalar(host), scalar(port));
        let mut add = |key: &str, value: Option<&str>| {
            if let Some(value) = value {
                head.push_str(&format!(", {key}: {}", scalar(value)));
            }
        };
        add("client_id", self.get(&["remote_clientid", "clientid"]));
        add("username", self.get(&["remote_username", "username"]));
        if self.get(&["remote_password", "password"]).is_some() {
            head.push_str(&format!(", password: \"${{file:secrets/{name}}}\""));
        }
        let tls: Vec<String> = [
            ("ca", "bridge_cafile"),
            ("cert", "bridge_certfile"),
            ("key", "bridge_keyfile"),
            ("alpn", "bridge_alpn"),
        ]
        .iter()
        .filter_map(|(key, option)| Some(format!("{key}: {}", scalar(self.get(&[option])?))))
        .collect();
        if !tls.is_empty() {
            head.push_str(&format!(", tls: {{{}}}", tls.join(", ")));
        }
        let mut lines = vec!["bridges:".to_owned(), format!("  - {{{head},")];
        let topics = self.options.iter().filter(|set| set.name == "topic");
        let links: Vec<Link<'_>> = topics.filter_map(|set| Link::parse(set.value).ok()).collect();
        let list = |out: bool| -> Vec<String> {
            let wanted = links.iter().filter(|link| if out { link.out } else { link.into });
            wanted.map(|link| link.write(out)).collect()
        };
        let (out, into) = (list(true), list(false));
        lines.push(format!("     out: [{}],", out.join(", ")));
        lines.push(format!("     in: [{}]}}", into.join(", ")));
        let more: Vec<&str> = addresses.collect();
        if !more.is_empty() {
            lines.push(format!("  # also tried: {}", more.join(" ")));
        }
        lines
    }
}

/// `topic pattern [[[out|in|both] qos] local-prefix remote-prefix]`.
#[derive(Debug)]
struct Link<'a> {
    pattern: &'a str,
    out: bool,
    into: bool,
    local: &'a str,
    remote: &'a str,
}

impl<'a> Link<'a> {
    fn parse(text: &'a str) -> Result<Link<'a>, &'static str> {
        let empty = |text: Option<&'a str>| text.filter(|text| *text != "\"\"").unwrap_or_default();
        let mut words = text.split_whitespace();
        let pattern = empty(words.next());
        let (out, into) = match words.next() {
            None | Some("out") => (true, false),
            Some("in") => (false, true),
            Some("both") => (true, true),
            Some(_) => return Err("a direction is out, in or both: left out"),
        };
        let qos = words.next().unwrap_or("0");
        let (local, remote) = (empty(words.next()), empty(words.next()));
        if !matches!(qos, "0" | "1" | "2") || words.next().is_some() {
            return Err("not a pattern, a direction, a QoS and two prefixes: left out");
        }
        if pattern.is_empty() && (local.is_empty() || remote.is_empty()) {
            return Err("without a pattern both prefixes are needed: left out");
        }
        Ok(Link { pattern, out, into, local, remote })
    }

    /// Prefixes become a template: the one that is cut off, and the one that is put in front.
    fn write(&self, out: bool) -> String {
        let (cut, put) = if out { (self.local, self.remote) } else { (self.remote, self.local) };
        let topic = scalar(&format!("{cut}{}", self.pattern));
        let put = super::super::literal(put);
        let rest = match (self.pattern, cut) {
            ("", _) => String::new(),
            (_, "") => "{topic}".to_owned(),
            (_, cut) => format!("{{topic|trim:{cut}}}"),
        };
        format!("{{topic: {topic}, to: {}}}", scalar(&(put + &rest)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_become_templates() {
        let write = |text: &str, out| Link::parse(text).map(|link| link.write(out));
        assert_eq!(
            write("sensors/# both 1 local/ remote/", true).unwrap(),
            "{topic: \"local/sensors/#\", to: \"remote/{topic|trim:local/}\"}"
        );
        assert_eq!(
            write("sensors/# both 1 local/ remote/", false).unwrap(),
            "{topic: \"remote/sensors/#\", to: \"local/{topic|trim:remote/}\"}"
        );
        assert_eq!(write("#", true).unwrap(), "{topic: \"#\", to: \"{topic}\"}");
        assert_eq!(
            write("clients/total in 0 test/ $SYS/broker/", false).unwrap(),
            "{topic: \"$SYS/broker/clients/total\", to: \"test/{topic|trim:$SYS/broker/}\"}"
        );
        assert_eq!(write("\"\" out 0 a b", true).unwrap(), "{topic: a, to: b}");
        for bad in ["\"\" out 0 a", "x up", "x out 3", "x out 0 a b c", "\"\""] {
            assert!(Link::parse(bad).is_err(), "{bad}");
        }
    }
}
