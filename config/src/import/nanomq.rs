//! NanoMQ: listeners, limits and bridges of `nanomq.conf`, in HOCON.
//!
//! Best effort: of the older file of `key=value` lines, bridges are only named; of newer ones the
//! comment says how they will be written.

use super::RemarkKind::{Changed, Later, Unknown, Unsupported};
use super::draft::{At, Draft, Spot};
use super::hocon::{Entry, Value};
use super::listener::{Bound, Certificates, Listener, address, is_path, loopback};
use super::tree::{Block, Carried, Form, Known, Tree, field};
use super::yaml::scalar;
use super::{ImportError, Source};

const CARRIED: &[Carried] = &[
    ("mqtt.max_packet_size", Block::Limits, "max_packet_size", Form::Size(128, 268_435_460)),
    ("mqtt.max_mqueue_len", Block::Limits, "max_queued_messages", Form::Number(1, 100_000_000)),
    ("msq_len", Block::Limits, "max_queued_messages", Form::Number(1, 100_000_000)),
];

const KNOWN: &[Known] = &[
    ("system", At::Top, Unsupported, "threads are the gateway's own matter"),
    ("num_taskq_thread", At::Top, Unsupported, "threads are the gateway's own matter"),
    ("max_taskq_thread", At::Top, Unsupported, "threads are the gateway's own matter"),
    ("parallel", At::Top, Unsupported, "threads are the gateway's own matter"),
    ("daemon", At::Top, Unsupported, "the service manager runs it"),
    ("mqtt.keepalive_multiplier", At::Mqtt, Unsupported, "1.5, as the standard says"),
    ("mqtt.retry_interval", At::Mqtt, Unsupported, "repeated at a reconnect, as the standard says"),
    ("mqtt.*", At::Mqtt, Unsupported, "there is no such setting"),
    ("listeners.*.key_password", At::Listeners, Unsupported, "keys are read without a password"),
    ("listeners.*.*.key_password", At::Listeners, Unsupported, "keys are read without a password"),
    ("listeners.*.*", At::Listeners, Unsupported, "there is no such setting"),
    ("sqlite", At::Top, Unsupported, "`data_dir` and `durability` say what is kept"),
    ("log.*", At::Log, Unsupported, "the log goes to stderr, as logfmt or JSON"),
    (
        "auth.password",
        At::Users,
        Changed,
        "passwords are not carried over: `motegate passwd NAME` writes each user anew",
    ),
    ("auth.acl", At::Acl, Later, "access rules: nobody may connect until then"),
    (
        "auth.http_auth",
        At::Users,
        Unsupported,
        "no service is asked: nobody may connect until there are `users`",
    ),
    ("auth.no_match", At::Acl, Later, "access rules"),
    ("auth.deny_action", At::Acl, Later, "access rules"),
    ("auth.cache", At::Acl, Later, "access rules"),
    ("auth.*", At::Users, Unsupported, "there is no such setting"),
    ("http_server", At::Top, Later, "the API"),
    ("webhook", At::Top, Unsupported, "subscribe instead"),
    ("bridges.mqtt.cache", At::Bridges, Later, "the queues of bridges"),
    ("bridges.*.*", At::Bridges, Later, "bridges"),
    ("bridge", At::Bridges, Later, "bridges"),
    ("rules", At::Top, Unsupported, "there is no rule engine; see `mappings`"),
    ("tls", At::Listeners, Changed, "add a listener of `protocol: mqtts`"),
    ("websocket", At::Listeners, Changed, "add a listener of `protocol: ws`"),
];

pub(crate) fn read(sources: &[Source<'_>]) -> Result<Draft, ImportError> {
    let tree = Tree::parse_lines(sources)?;
    let known = ["listeners", "mqtt", "auth", "bridges", "url", "system", "bridge", "websocket"];
    if let (Some(source), false) =
        (sources.first(), known.iter().any(|block| tree.root.get(block).is_some()))
    {
        let text = "there is nothing of NanoMQ in it: no listener, mqtt, auth or bridge";
        return Err(ImportError::new(*source, 1, text, "give nanomq.conf"));
    }
    let mut draft = Draft::default();
    let closed = auth(&tree, &mut draft);
    listeners(&tree, !closed, &mut draft);
    tree.carry(CARRIED, &mut draft);
    if let Some((spot, level)) = tree.text(&["log", "level"]) {
        match level {
            "trace" | "debug" | "info" | "warn" | "error" => draft.log.set("level", level),
            "fatal" => draft.log.set("level", "error"),
            _ => draft.remark(At::Log, spot, Unknown, level, "not a level of the log"),
        }
    }
    for (name, spot) in tree.keys(&["bridges", "mqtt"]) {
        if name != "cache" {
            bridge(&tree, &name, spot, &mut draft);
        }
    }
    tree.rest(KNOWN, &mut draft);
    Ok(draft)
}

/// Whether clients were kept out by something that is not carried over.
fn auth(tree: &Tree<'_>, draft: &mut Draft) -> bool {
    let allowed = tree.flag(&["auth", "allow_anonymous"]).or(tree.flag(&["allow_anonymous"]));
    let mut closed = false;
    if let Some((spot, false)) = allowed {
        let text = "nobody may connect until there are `users`";
        draft.remark(At::Users, spot, Changed, "allow_anonymous = false", text);
        closed = true;
    }
    for (key, _) in tree.keys(&["auth"]) {
        let deny = key == "no_match"
            && tree.root.find(&["auth", "no_match"]).is_some_and(
                |entry| matches!(&entry.value, Value::Text { text, .. } if text == "deny"),
            );
        // Access rules, or a service that decides.
        closed |= deny || matches!(key.as_str(), "acl" | "http_auth");
    }
    closed
}

/// A listener there: where it stands, and what its address says.
struct Found<'a> {
    spot: Spot<'a>,
    bind: String,
    path: Vec<String>,
    protocol: &'static str,
    name: String,
}

fn listeners(tree: &Tree<'_>, open: bool, draft: &mut Draft) {
    let mut found: Vec<Found<'_>> = Vec::new();
    if let Some((spot, text)) = tree.text(&["url"]) {
        let (bind, name) = (text.to_owned(), "mqtt".to_owned());
        found.push(Found { spot, bind, path: Vec::new(), protocol: "mqtt", name });
    }
    for (group, protocol) in [("tcp", "mqtt"), ("ssl", "mqtts"), ("ws", "ws"), ("wss", "wss")] {
        let below = tree.keys(&["listeners", group]).into_iter().map(|(name, _)| Some(name));
        for name in std::iter::once(None).chain(below) {
            let mut path = vec!["listeners".to_owned(), group.to_owned()];
            path.extend(name.clone());
            let keys: Vec<&str> = path.iter().map(String::as_str).collect();
            let at = |key: &'static str| [keys.as_slice(), &[key]].concat();
            let Some((spot, text)) = tree.text(&at("bind")) else { continue };
            if tree.flag(&at("enable")).is_some_and(|(_, on)| !on) {
                continue;
            }
            let bind = text.to_owned();
            let name =
                name.map_or_else(|| protocol.to_owned(), |name| format!("{protocol}-{name}"));
            found.push(Found { spot, bind, path, protocol, name });
        }
    }
    for found in found {
        one(tree, &found, open, draft);
    }
}

fn one(tree: &Tree<'_>, found: &Found<'_>, open: bool, draft: &mut Draft) {
    let (spot, text) = (found.spot, found.bind.as_str());
    let bare = text.split_once("://").map_or(text, |(_, rest)| rest);
    // Of a WebSocket it ends in the path.
    let (bare, path) = bare.split_at(bare.find('/').unwrap_or(bare.len()));
    let mut listener = Listener::new(found.name.as_str(), found.protocol);
    listener.anonymous = open;
    if matches!(found.protocol, "ws" | "wss") && is_path(path) {
        path.clone_into(&mut listener.path);
    }
    if matches!(found.protocol, "mqtts" | "wss") {
        listener.tls = Some(certificates(tree, &found.path, &mut listener.anonymous));
    }
    let host = match address(bare) {
        Bound::Addrs(addrs) => {
            listener.bind = addrs;
            false
        }
        Bound::Host(port) => {
            listener.bind = loopback(port);
            true
        }
        Bound::Nonsense => {
            return draft.remark(At::Listeners, spot, Unknown, text, "no address: left out");
        }
    };
    let place = draft.listen(listener, spot);
    if let (Some(place), true) = (place, host) {
        let why = "a host name: set `bind` to its address; until then this machine only";
        draft.remark(At::Listener(place), spot, Changed, text, why);
    }
}

/// Its files; without authorities nobody's certificate can be verified, so that nobody may connect
/// where that was asked for.
fn certificates(tree: &Tree<'_>, path: &[String], anonymous: &mut bool) -> Certificates {
    let keys: Vec<&str> = path.iter().map(String::as_str).collect();
    let at = |key: &'static str| [keys.as_slice(), &[key]].concat();
    let text = |key: &'static str| tree.text(&at(key)).map(|(_, text)| text.to_owned());
    let on = |key: &'static str| tree.flag(&at(key)).is_some_and(|(_, on)| on);
    let mut tls = Certificates {
        cert: text("certfile").unwrap_or_default(),
        key: text("keyfile").unwrap_or_default(),
        ..Certificates::default()
    };
    let (ca, verified, required) =
        (text("cacertfile"), on("verify_peer"), on("fail_if_no_peer_cert"));
    if verified || required {
        *anonymous &= ca.is_some();
        (tls.client_ca, tls.required) = (ca, required);
    }
    tls
}

/// A bridge, as it will be written.
fn bridge(tree: &Tree<'_>, name: &str, spot: Spot<'_>, draft: &mut Draft) {
    let path = ["bridges", "mqtt", name];
    let text = |key: &'static str| tree.text(&["bridges", "mqtt", name, key]).map(|(_, text)| text);
    let server = text("server").or(text("address")).unwrap_or_default();
    let bare = server.split_once("://").map_or(server, |(_, rest)| rest);
    let (host, port) = bare.rsplit_once(':').unwrap_or((bare, "1883"));
    let mut head =
        format!("name: {}, host: {}, port: {}", scalar(name), scalar(host), scalar(port));
    if let Some(id) = text("clientid") {
        head.push_str(&format!(", client_id: {}", scalar(id)));
    }
    if let Some(user) = text("username") {
        head.push_str(&format!(
            ", username: {}, password: \"${{file:secrets/{name}}}\"",
            scalar(user)
        ));
    }
    let mut equivalent = vec!["bridges:".to_owned(), format!("  - {{{head},")];
    let list = |key: &'static str| -> Vec<String> {
        let Some(Entry { value: Value::List(items), .. }) =
            tree.get(&["bridges", "mqtt", name, key])
        else {
            return Vec::new();
        };
        items.iter().filter_map(|item| link(item, key == "forwards")).collect()
    };
    equivalent.push(format!("     out: [{}],", list("forwards").join(", ")));
    equivalent.push(format!("     in: [{}]}}", list("subscription").join(", ")));
    let _ = text("password");
    let others = tree.others(&path);
    let why = format!("bridges come with a later version; passwords are not copied{others}");
    draft.remark_with(At::Bridges, spot, Later, path.join("."), why, equivalent);
    tree.done(&path);
}

/// `{topic: …, to: …}` of a topic that goes out or comes in.
fn link(item: &Entry<'_>, out: bool) -> Option<String> {
    if let Value::Text { text, .. } = &item.value {
        return Some(format!("{{topic: {}, to: \"{{topic}}\"}}", scalar(text)));
    }
    let text = |key: &str| field(item, key).map_or("", |(_, text)| text);
    let (local, remote) = (text("local_topic"), text("remote_topic"));
    let (from, to) = if out { (local, remote) } else { (remote, local) };
    let to = if to.is_empty() { "{topic}" } else { to };
    (!from.is_empty()).then(|| format!("{{topic: {}, to: {}}}", scalar(from), scalar(to)))
}
