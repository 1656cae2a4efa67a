//! The `listeners` block.
//!
//! A listener with several addresses becomes several listeners of the core that share everything
//! but their number: an answer leaves by the socket that the request came in on.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use motegate_core::{ClientFrom, Config as Core, Listener, Protocol, Sources};
use motegate_mapping::Place;
use motegate_message::ListenerId;

use crate::diagnostic::{Code, Diagnostic, nearest};
use crate::file;
use crate::listener_limits;
use crate::reader::Reader;
use crate::transport::{self, Kind, Transport, WebSocket};
use crate::value::ClientFromWord;
use crate::{Address, Bind};

/// More than anyone has; the core's listener numbers are 16 bits.
const MAX_LISTENERS: usize = 1_000;

const PROTOCOLS: [(&str, Protocol, u16); 10] = [
    ("mqtt", Protocol::Mqtt, 1883),
    ("mqttsn", Protocol::MqttSn, 1885),
    ("coap", Protocol::Coap, 5683),
    ("ws", Protocol::Mqtt, 8083),
    ("coap+tcp", Protocol::Coap, 5683),
    ("mqtts", Protocol::Mqtt, 8883),
    ("wss", Protocol::Mqtt, 8084),
    // RFC 8323 §8: the ports of their URI schemes.
    ("coaps+tcp", Protocol::Coap, 5684),
    ("coap+ws", Protocol::Coap, 80),
    ("coaps+ws", Protocol::Coap, 443),
];
/// How many of them `motegate run` has by default, and `motegate dev`.
const OF_RUN: usize = 3;
const OF_DEV: usize = 5;

const ALL_WORDS: &str = "write mqtt, mqtts, ws, wss, mqttsn, coap, coap+tcp, coaps+tcp, coap+ws or \
                         coaps+ws";

/// Protocols that a later version speaks.
const LATER: [&str; 2] = ["mqttsns", "coaps"];

/// Reads the block; without one it is mqtt, mqttsn and coap on loopback.
pub(crate) fn read(
    reader: &mut Reader<'_>,
    block: Option<&[file::Listener]>,
    core: &mut Core,
    max_connections: usize,
) -> Vec<Bind> {
    let mut binds = Vec::new();
    let place = Place::root().at("listeners");
    let Some(block) = block else {
        for (name, protocol, port) in PROTOCOLS.into_iter().take(OF_RUN) {
            let listener = plain(&default_name(name, &port.to_string()), name, protocol);
            let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            push(core, &mut binds, listener, addr.into(), Arc::default());
        }
        if core.users.is_empty() {
            let text = "nobody may connect: the default listeners ask for a password, and there are \
                        no `users`";
            let fix = "write `listeners:` with `anonymous: true`, add `users` (`motegate passwd \
                       NAME` writes an entry), or try `motegate dev`";
            reader.found.push(Diagnostic::new(Code::NobodyMayConnect, text, fix));
        }
        return binds;
    };
    if block.is_empty() {
        let fix = "name one: `- {protocol: mqtt, anonymous: true}`, or leave `listeners` out";
        reader.report(
            &place,
            Code::NobodyMayConnect,
            "nobody may connect: no listener is left",
            fix,
        );
    }
    let mut seen: Vec<(Bind, Place)> = Vec::new();
    for (i, listener) in block.iter().enumerate() {
        let at = place.at(i);
        let read = one(reader, listener, &at, (core, max_connections));
        reader.listeners_unread |= read.is_empty();
        for (resolved, addr, at_bind, transport) in read {
            let bind = push(core, &mut binds, resolved, addr, transport);
            collision(reader, &bind, &at, &at_bind, &seen);
            seen.push((bind, at.clone()));
        }
    }
    if binds.len() > MAX_LISTENERS {
        let fix = "listen on [::] instead of many addresses";
        reader.report(&place, Code::Limit, "more than 1,000 addresses to listen on", fix);
    }
    binds
}

fn push(
    core: &mut Core,
    binds: &mut Vec<Bind>,
    listener: Listener,
    addr: Address,
    transport: Arc<Transport>,
) -> Bind {
    let number = u16::try_from(core.listeners.len()).unwrap_or(u16::MAX);
    let bind = Bind {
        listener: ListenerId(number),
        name: listener.name.clone(),
        protocol: listener.protocol,
        addr,
        transport,
    };
    core.listeners.push(listener);
    binds.push(bind.clone());
    bind
}

fn plain(name: &str, realm: &str, protocol: Protocol) -> Listener {
    Listener {
        name: name.into(),
        protocol,
        anonymous: false,
        sources: Sources::Any,
        realm: realm.into(),
        tenant: "".into(),
        mount: "".into(),
        client_from: ClientFrom::Address,
        connection_required: false,
        client_id_from_identity: false,
        limits: None,
    }
}

/// What `motegate dev` listens on.
pub(crate) fn dev(expose: bool, core: &mut Core) -> Vec<Bind> {
    let mut binds = Vec::new();
    for (name, protocol, port) in PROTOCOLS.into_iter().take(OF_DEV) {
        let listener = Listener {
            anonymous: true,
            sources: if expose { Sources::Any } else { Sources::Private },
            ..plain(&default_name(name, &port.to_string()), realm(protocol), protocol)
        };
        let addr = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
        let websocket = (name == "ws").then(WebSocket::default);
        let coap = name == "coap+tcp";
        let transport = Transport { websocket, coap, ..Transport::default() };
        push(core, &mut binds, listener, addr.into(), Arc::new(transport));
    }
    binds
}

/// What a listener is called unless it says so; a plus sign could not stand in a topic.
fn default_name(word: &str, port: &str) -> String {
    format!("{}-{port}", word.replace('+', "-"))
}

/// The name space of client ids unless the listener has another: that of the protocol, whatever it runs
/// over.
const fn realm(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Mqtt => "mqtt",
        Protocol::MqttSn => "mqttsn",
        Protocol::Coap => "coap",
    }
}

/// One entry: a core listener for each address, with the address's place.
fn one(
    reader: &mut Reader<'_>,
    entry: &file::Listener,
    at: &Place,
    (core, max_connections): (&Core, usize),
) -> Vec<(Listener, Address, Place, Arc<Transport>)> {
    let Some((word, protocol, port)) = protocol(reader, entry, at) else { return Vec::new() };
    let addrs = addresses(reader, entry, at, (word, protocol), port);
    let first = addrs.first().map(|(addr, _)| addr.port());
    let first =
        first.map_or_else(|| port.to_string(), |p| p.map_or("unix".into(), |p| p.to_string()));
    let name = reader.get(entry.name.as_ref(), at, "name");
    let name: Arc<str> = name.unwrap_or_else(|| default_name(word, &first)).into();
    check_level(reader, &at.at("name"), "listener name", &name);
    let tenant = reader.get(entry.tenant.as_ref(), at, "tenant").unwrap_or_default();
    if !tenant.is_empty() {
        check_level(reader, &at.at("tenant"), "tenant", &tenant);
    }
    let realm =
        reader.get(entry.realm.as_ref(), at, "realm").unwrap_or_else(|| realm(protocol).into());
    if realm.is_empty() || realm.contains('\0') {
        let fix = "leave it out, or give the name space of client ids a name";
        reader.report(&at.at("realm"), Code::Mount, "a realm cannot be empty", fix);
    }
    let client_from = client_from(reader, entry, at, protocol);
    let connection_required = connection_required(reader, entry, at, protocol);
    let anonymous = reader.get(entry.anonymous.as_ref(), at, "anonymous").unwrap_or(false);
    let client_id_from_identity = client_id_from_identity(reader, entry, at, protocol, anonymous);
    let mount = mount(reader, entry, at, [&tenant, &name, &core.gateway_name]);
    let at_limits = at.at("limits");
    listener_limits::check_protocol(reader, &at_limits, (protocol, word));
    let limits =
        listener_limits::read(reader, entry.limits.as_ref(), &at_limits, core, max_connections);
    let listener = Listener {
        name: name.clone(),
        protocol,
        anonymous,
        sources: Sources::Any,
        realm: realm.into(),
        tenant: tenant.into(),
        mount: mount.into(),
        client_from,
        connection_required,
        client_id_from_identity,
        limits,
    };
    let transport = Arc::new(transport::read(reader, entry, at, word));
    // A block of TLS that cannot be read was reported; what it would let in is not known.
    let unread = entry.tls.is_some() && transport.tls.is_none();
    if !anonymous && !unread && !transport.identifies() {
        nobody(reader, at, (protocol, word), &name);
    }
    let with = |(addr, place)| (listener.clone(), addr, place, transport.clone());
    addrs.into_iter().map(with).collect()
}

/// Warns of a listener that lets nobody in.
fn nobody(reader: &mut Reader<'_>, at: &Place, (protocol, word): (Protocol, &str), name: &str) {
    // EMQX's clients have passwords, too.
    let has_passwords = match protocol {
        Protocol::Mqtt => true,
        Protocol::Coap => reader.has_emqx,
        Protocol::MqttSn => false,
    };
    let (why, fix) = match protocol {
        _ if has_passwords && reader.has_users => return,
        Protocol::Mqtt if matches!(word, "mqtts" | "wss") => (
            "there are no `users`, and no certificate is an identity",
            "add `users` (`motegate passwd NAME` writes an entry), `client_ca` and `identity` to \
             `tls` for clients with certificates, or `anonymous: true` to the listener to open it to \
             clients without identity",
        ),
        _ if has_passwords => (
            "there are no `users`",
            "add `users` (`motegate passwd NAME` writes an entry), or `anonymous: true` to the \
             listener to open it to clients without identity",
        ),
        Protocol::Coap if matches!(word, "coaps+tcp" | "coaps+ws") => (
            "no certificate is an identity",
            "add `client_ca` and `identity` to `tls` for clients with certificates, or `anonymous: \
             true` to the listener to open it to clients without identity",
        ),
        _ => (
            "its devices have no passwords in this version",
            "add `anonymous: true` to the listener to open it to clients without identity",
        ),
    };
    let text = format!("nobody may connect to listener {name}: {why}");
    let d = Diagnostic::new(Code::NobodyMayConnect, text, fix);
    reader.found.push(d.at(reader.document.key(at)));
}

fn protocol(
    reader: &mut Reader<'_>,
    entry: &file::Listener,
    at: &Place,
) -> Option<(&'static str, Protocol, u16)> {
    let Some(typed) = &entry.protocol else {
        reader.missing(
            at,
            "protocol",
            "add `protocol: mqtt`, `mqtts`, `ws`, `wss`, `mqttsn`, `coap`, `coap+tcp`, `coaps+tcp`, \
             `coap+ws` or `coaps+ws`",
        );
        return None;
    };
    let word = typed.text.as_str();
    let known = PROTOCOLS.iter().find(|(name, ..)| *name == word);
    if known.is_none() {
        let place = at.at("protocol");
        if LATER.contains(&word) {
            let text = format!("the protocol {word} is not in this version");
            reader.report(&place, Code::NotInThisVersion, text, ALL_WORDS);
        } else {
            let near = nearest(word, PROTOCOLS.iter().map(|(name, ..)| *name));
            let fix = match (near, word) {
                (_, "mqtt-sn") => "did you mean `mqttsn`?".to_owned(),
                (Some(name), _) => format!("did you mean `{name}`?"),
                (None, _) => ALL_WORDS.to_owned(),
            };
            reader.report(&place, Code::Value, format!("{word:?} is no protocol"), fix);
        }
    }
    known.copied()
}

fn addresses(
    reader: &mut Reader<'_>,
    entry: &file::Listener,
    at: &Place,
    (word, protocol): (&str, Protocol),
    port: u16,
) -> Vec<(Address, Place)> {
    let at = at.at("bind");
    let texts = entry.bind.as_ref().map(|bind| bind.0.as_slice()).unwrap_or_default();
    if texts.is_empty() {
        return vec![(SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into(), at)];
    }
    let mut addrs = Vec::new();
    for (i, typed) in texts.iter().enumerate() {
        let place = at.at(i);
        if let Some(path) = typed.text.strip_prefix("unix:") {
            if let Some(path) = unix(reader, path, &place, (word, protocol)) {
                addrs.push((Address::Unix(path), place));
            }
            continue;
        }
        match address(&typed.text, port) {
            Ok(addr) => addrs.push((addr.into(), place)),
            Err(fix) => {
                let text = format!("{:?} is not an address to listen on", typed.text);
                reader.report(&place, Code::Bind, text, fix);
            }
        }
    }
    addrs
}

/// What the system takes as the path of a Unix socket, with the zero byte behind it.
const MAX_UNIX_PATH: usize = 107;

fn unix(
    reader: &mut Reader<'_>,
    path: &str,
    at: &Place,
    (word, protocol): (&str, Protocol),
) -> Option<PathBuf> {
    if protocol != Protocol::Mqtt {
        let text = if Kind::of(word).connections {
            "a Unix socket is for MQTT: CoAP has no name for one"
        } else {
            "a Unix socket is for MQTT: this protocol has datagrams"
        };
        reader.report(at, Code::Bind, text, "write ADDRESS:PORT");
        return None;
    }
    if path.is_empty() || path.len() > MAX_UNIX_PATH || path.contains('\0') {
        let text = format!("{path:?} is no path of a Unix socket");
        let fix = format!("write unix:PATH with a path of 1 to {MAX_UNIX_PATH} bytes");
        reader.report(at, Code::Bind, text, fix);
        return None;
    }
    Some(PathBuf::from(path))
}

/// `ADDRESS:PORT`, or an address with the protocol's own port.
fn address(text: &str, port: u16) -> Result<SocketAddr, String> {
    if let Ok(addr) = text.parse::<SocketAddr>() {
        return Ok(addr);
    }
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return Ok((ip, port).into());
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, p)) => (host, p.parse().unwrap_or(port)),
        None => (text, text.parse().unwrap_or(port)),
    };
    Err(match host {
        "localhost" => format!("write 127.0.0.1:{port} or [::1]:{port}"),
        "" | "*" => {
            format!("write [::]:{port} for all addresses, 127.0.0.1:{port} for this machine")
        }
        _ if host.parse::<Ipv6Addr>().is_ok() => {
            format!("put the address in brackets: [{host}]:{port}")
        }
        _ => format!(
            "write ADDRESS:PORT with a numeric address, such as 0.0.0.0:{port} or [::]:{port}"
        ),
    })
}

fn client_from(
    reader: &mut Reader<'_>,
    entry: &file::Listener,
    at: &Place,
    protocol: Protocol,
) -> ClientFrom {
    let word = reader.get(entry.client_from.as_ref(), at, "client_from");
    if word.is_some() && protocol != Protocol::Coap {
        let text = "`client_from` is for coap: other clients say their name";
        reader.report(&at.at("client_from"), Code::NotForProtocol, text, "remove the key");
    }
    match word {
        Some(ClientFromWord::Query) => ClientFrom::Query,
        Some(ClientFromWord::Address) | None => ClientFrom::Address,
    }
}

fn connection_required(
    reader: &mut Reader<'_>,
    entry: &file::Listener,
    at: &Place,
    protocol: Protocol,
) -> bool {
    const KEY: &str = "connection_required";
    let wanted = reader.get(entry.connection_required.as_ref(), at, KEY).unwrap_or(false);
    if wanted && protocol != Protocol::Coap {
        let text = "`connection_required` is for coap: other clients connect anyway";
        reader.report(&at.at(KEY), Code::NotForProtocol, text, "remove the key");
    }
    wanted
}

fn client_id_from_identity(
    reader: &mut Reader<'_>,
    entry: &file::Listener,
    at: &Place,
    protocol: Protocol,
    anonymous: bool,
) -> bool {
    const KEY: &str = "client_id_from_identity";
    let wanted = reader.get(entry.client_id_from_identity.as_ref(), at, KEY).unwrap_or(false);
    if wanted && protocol != Protocol::Mqtt {
        let text = "`client_id_from_identity` is for mqtt: these devices have no identity yet";
        reader.report(&at.at(KEY), Code::NotForProtocol, text, "remove the key");
    } else if wanted && anonymous {
        let text = "a client that `anonymous: true` lets in has no identity to compare its id with";
        let fix = "remove `anonymous: true` from the listener, or `client_id_from_identity`";
        reader.report(&at.at(KEY), Code::NotForProtocol, text, fix);
    }
    wanted
}

/// The mount with its placeholders filled.
fn mount(
    reader: &mut Reader<'_>,
    entry: &file::Listener,
    at: &Place,
    [tenant, listener, gateway]: [&str; 3],
) -> String {
    let place = at.at("mount");
    let Some(text) = reader.get(entry.mount.as_ref(), at, "mount") else { return String::new() };
    let mount = text
        .replace("{tenant}", tenant)
        .replace("{listener}", listener)
        .replace("{gateway}", gateway);
    if let Some(c) = mount.chars().find(|c| matches!(c, '+' | '#' | '\0' | '{' | '}')) {
        let (text, fix) = match c {
            '{' | '}' => (
                "a mount can hold {tenant}, {listener} and {gateway} only".to_owned(),
                "what differs by client belongs into the topic of a rule",
            ),
            c => (format!("a mount cannot hold {c:?}"), "it is the beginning of topic names"),
        };
        reader.report(&place, Code::Mount, text, fix);
    } else if motegate_message::has_disallowed(&mount) {
        let fix = "it is the beginning of topic names: use printable characters";
        reader.report(&place, Code::Mount, "a mount cannot hold control characters", fix);
    } else if mount.len() > 1024 {
        reader.report(&place, Code::Mount, "a mount is at most 1,024 bytes long", "shorten it");
    } else if text.contains("{tenant}") && tenant.is_empty() {
        let fix = "add `tenant:` to the listener";
        reader.report(&place, Code::Mount, "the mount needs a tenant, which is not set", fix);
    } else if !mount.is_empty() && !mount.ends_with('/') {
        let fix = format!("write {:?} to have it as a level of its own", format!("{text}/"));
        let text = format!("topics will run into the mount: {mount}door, not {mount}/door");
        let d = Diagnostic::new(Code::MountSlash, text, fix);
        reader.found.push(d.at(reader.document.value(&place)));
    }
    mount
}

/// Texts that templates put into one level of a topic.
pub(crate) fn check_level(reader: &mut Reader<'_>, place: &Place, what: &str, text: &str) {
    if text.is_empty() {
        reader.report(place, Code::Mount, format!("the {what} is empty"), "write a name");
    } else if let Some(c) = text.chars().find(|c| matches!(c, '/' | '+' | '#' | '\0' | '{' | '}')) {
        let fix = "templates put it into one level of a topic: use letters, digits, - and _";
        reader.report(place, Code::Mount, format!("the {what} cannot hold {c:?}"), fix);
    }
}

fn collision(
    reader: &mut Reader<'_>,
    bind: &Bind,
    at: &Place,
    at_bind: &Place,
    seen: &[(Bind, Place)],
) {
    let datagrams = |bind: &Bind| match bind.protocol {
        Protocol::Mqtt => false,
        Protocol::MqttSn => true,
        Protocol::Coap => !bind.transport.coap,
    };
    let clash = seen
        .iter()
        .find(|(other, _)| datagrams(bind) == datagrams(other) && bind.addr.overlaps(&other.addr));
    if let Some((other, place)) = clash {
        let text = format!("{} is already taken by listener {}", bind.addr, other.name);
        let d = Diagnostic::new(Code::ListenerTwice, text, "give one of them another port")
            .at(reader.document.value(at_bind))
            .also(reader.document.key(place), "the first one");
        reader.found.push(d);
    }
    if let Some((_, place)) =
        seen.iter().find(|(other, place)| place != at && other.name == bind.name)
    {
        let text = format!("two listeners are called {}", bind.name);
        let d = Diagnostic::new(Code::ListenerTwice, text, "give each its own `name`")
            .at(reader.document.value(&at.at("name")))
            .also(reader.document.value(&place.at("name")), "the first one");
        reader.found.push(d);
    }
}

/// Whether no two sockets can have these. Port 0 is a free one each time; `[::]` holds every
/// address, `0.0.0.0` every one of IPv4.
#[must_use]
pub fn overlaps(one: SocketAddr, other: SocketAddr) -> bool {
    let holds = |a: IpAddr, b: IpAddr| match a {
        IpAddr::V6(ip) => ip.is_unspecified() || a == b,
        IpAddr::V4(ip) => ip.is_unspecified() && b.to_canonical().is_ipv4() || a == b,
    };
    let (a, b) = (one.ip().to_canonical(), other.ip().to_canonical());
    one.port() == other.port() && one.port() != 0 && (holds(a, b) || holds(b, a))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_stands_for_all_overlaps_with_each() {
        let overlap = |a: &str, b: &str| {
            let (a, b) = (a.parse().unwrap(), b.parse().unwrap());
            assert_eq!(overlaps(a, b), overlaps(b, a), "{a} {b}");
            overlaps(a, b)
        };
        assert!(overlap("127.0.0.1:1", "127.0.0.1:1") && !overlap("127.0.0.1:1", "127.0.0.1:2"));
        assert!(overlap("0.0.0.0:1", "127.0.0.1:1") && overlap("[::]:1", "127.0.0.1:1"));
        assert!(overlap("[::]:1", "0.0.0.0:1") && overlap("[::]:1", "[::1]:1"));
        assert!(!overlap("[::1]:1", "0.0.0.0:1") && !overlap("127.0.0.1:1", "127.0.0.2:1"));
        assert!(overlap("[::ffff:127.0.0.1]:1", "0.0.0.0:1"));
        assert!(!overlap("0.0.0.0:0", "0.0.0.0:0"));
    }

    #[test]
    fn addresses_and_what_people_type_instead() {
        assert_eq!(address("0.0.0.0:1", 9).unwrap().to_string(), "0.0.0.0:1");
        assert_eq!(address("[::]", 9).unwrap().to_string(), "[::]:9");
        assert_eq!(address("::1", 9).unwrap().to_string(), "[::1]:9");
        assert_eq!(address("10.0.0.1", 9).unwrap().to_string(), "10.0.0.1:9");
        let fix = |text: &str| address(text, 9).unwrap_err();
        assert!(fix("localhost:1884").contains("127.0.0.1:1884"));
        assert!(fix(":1884").contains("[::]:1884"));
        assert!(fix("*").contains("[::]:9"));
        assert!(fix("1884").contains("0.0.0.0:1884"), "{}", fix("1884"));
        assert!(fix("host:70000").contains("numeric"));
    }
}
