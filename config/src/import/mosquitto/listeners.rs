//! Listeners: the default one, and those that `listener` begins.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::super::RemarkKind::{Changed, Later, Unknown, Unsupported};
use super::super::draft::{At, Draft};
use super::super::listener::{
    Bound, Certificates, Listener, PROXIED, is_origin, loopback, mount_fault, on,
};
use super::{File, Set, shared, treat};

/// The port of the default listener.
const PORT: u16 = 1883;

/// What is set for a listener.
#[derive(Debug, Default)]
pub(super) struct Section<'a> {
    /// The line that begins it; the default one has none.
    head: Option<Set<'a>>,
    pub(super) options: Vec<Set<'a>>,
}

/// What a listener turned out to be.
enum Kind {
    /// The protocol, and the addresses.
    Open(&'static str, Vec<SocketAddr>),
    /// A Unix socket.
    Unix(&'static str, String),
    /// Switched off, or nonsense that is remarked upon.
    None,
}

impl<'a> Section<'a> {
    pub(super) fn new(head: Set<'a>) -> Self {
        Section { head: Some(head), options: Vec::new() }
    }

    /// The last one holds.
    fn get(&self, name: &str) -> Option<&Set<'a>> {
        self.last(&[name])
    }

    /// The same of an option with several names.
    pub(super) fn last(&self, names: &[&str]) -> Option<&Set<'a>> {
        self.options.iter().rev().find(|set| names.contains(&set.name))
    }

    fn is_on(&self, name: &str) -> bool {
        self.get(name).is_some_and(Set::is_on)
    }

    /// Whether it has certificates.
    fn is_secure(&self) -> bool {
        ["certfile", "keyfile"].iter().any(|name| self.get(name).is_some())
    }

    /// The version of the PROXY protocol that its connections begin with.
    fn proxy(&self) -> Option<&'static str> {
        match self.get("enable_proxy_protocol")?.value {
            "1" => Some("v1"),
            "2" => Some("v2"),
            _ => None,
        }
    }

    /// Whether a load balancer tells of certificates.
    fn sees_proxied_certificates(&self) -> bool {
        self.proxy() == Some("v2") && !self.is_secure()
    }

    /// Where remarks about it point to.
    fn first(&self) -> Option<&Set<'a>> {
        self.head.as_ref().or(self.options.first())
    }

    /// Its port and host, or nothing where the line makes no sense.
    fn place(&self) -> Option<(u16, &'a str)> {
        match &self.head {
            Some(head) => {
                let (port, host) =
                    head.value.split_once(char::is_whitespace).unwrap_or((head.value, ""));
                Some((port.parse().ok()?, host.trim()))
            }
            None => {
                let port = self.get("port").map_or(Some(PORT), |set| set.value.parse().ok());
                Some((port?, self.get("bind_address").map_or("", |set| set.value)))
            }
        }
    }
}

pub(super) fn write(file: &File<'_>, draft: &mut Draft) {
    let named = ["port", "bind_address", "bind_interface"];
    let asked = named.iter().any(|name| file.default.get(name).is_some());
    let mut sections: Vec<&Section<'_>> = Vec::new();
    let local = file.listeners.is_empty() && !asked;
    let all = file.listeners.iter().chain((asked || local).then_some(&file.default));
    for section in all {
        if one(file, section, local, draft) {
            sections.push(section);
        }
    }
    if !asked && !local {
        // Nothing listens there: what is said of it has no place.
        for set in &file.default.options {
            let text = "of the default listener, which is not in use";
            draft.remark(At::Listeners, set.spot, Unknown, set.what(), text);
        }
    }
    shared::write(file, &sections, draft);
}

/// Adds a listener, if it is one.
fn one(file: &File<'_>, section: &Section<'_>, local: bool, draft: &mut Draft) -> bool {
    let place = match kind(section, local, draft) {
        Kind::None => None,
        Kind::Open(word, bind) => {
            let port = bind.first().map_or(PORT, SocketAddr::port);
            let mut listener = Listener::new(format!("{word}-{port}"), word);
            listener.bind = bind;
            listen(file, section, local, listener, draft)
        }
        Kind::Unix(word, path) => {
            let mut listener = Listener::new(format!("{word}-unix"), word);
            listener.unix = Some(path);
            listen(file, section, local, listener, draft)
        }
    };
    let at = place.map_or(At::Listeners, At::Listener);
    section.options.iter().for_each(|set| treat(set, at, draft));
    place.is_some()
}

/// Gives it to the draft, with what is said of who may connect.
fn listen(
    file: &File<'_>,
    section: &Section<'_>,
    local: bool,
    mut listener: Listener,
    draft: &mut Draft,
) -> Option<usize> {
    listener.tls = matches!(listener.protocol, "mqtts" | "wss").then(|| certificates(section));
    let closed = closing(file, section).is_some();
    if let Some(tls) = listener.tls.as_mut().filter(|_| closed) {
        tls.identity = None; // else it would let in whom other means kept out
    }
    listener.anonymous = is_open(file, section, local);
    layers(section, &mut listener);
    proxied_certificates(section, &mut listener);
    let proved = listener.tls.as_ref().is_some_and(|tls| tls.identity.is_some());
    // Without an option of its own the default listener has no line; nothing can be said of it.
    let place = match section.first().map(|set| set.spot) {
        Some(spot) => draft.listen(listener, spot),
        None => draft.listen_silently(listener),
    }?;
    if !proved {
        say_closed(file, section, place, draft);
    }
    say_layers(section, place, draft);
    if let Some(set) = section.get("protocol").filter(|set| set.value == "websockets") {
        let text = "clients find it at /mqtt, and nowhere else: `path` names another";
        draft.remark(At::Listener(place), set.spot, Changed, set.what(), text);
    }
    mount(section, place, draft);
    Some(place)
}

fn kind(section: &Section<'_>, local: bool, draft: &mut Draft) -> Kind {
    if local {
        let all = vec![(Ipv4Addr::LOCALHOST, PORT).into(), (Ipv6Addr::LOCALHOST, PORT).into()];
        return Kind::Open("mqtt", all);
    }
    let Some((port, host)) = section.place() else {
        if let Some(set) = section.head.as_ref().or(section.get("port")) {
            let text = "not a port: the listener is left out";
            draft.remark(At::Listeners, set.spot, Unknown, set.what(), text);
        }
        return Kind::None;
    };
    let tls = section.is_secure();
    if !tls && section.get("psk_hint").is_some() {
        return Kind::None; // pre-shared keys alone, as is remarked upon
    }
    let protocol = section.get("protocol").map_or("mqtt", |set| set.value);
    let word = match (protocol, tls) {
        ("mqtt", false) => "mqtt",
        ("mqtt", true) => "mqtts",
        ("websockets", false) => "ws",
        ("websockets", true) => "wss",
        _ => {
            if let Some(set) = section.get("protocol") {
                let text = "not a protocol that is spoken here: the listener is left out";
                draft.remark(At::Listeners, set.spot, Unsupported, set.what(), text);
            }
            return Kind::None;
        }
    };
    if port == 0 && host.is_empty() {
        return Kind::None; // switched off
    }
    if port == 0 {
        return Kind::Unix(word, host.to_owned());
    }
    Kind::Open(word, address(section, port, host, draft))
}

/// `tls` of a listener.
fn certificates(section: &Section<'_>) -> Certificates {
    let file = |name: &str| section.get(name).map(|set| set.value.to_owned());
    let mut tls = Certificates {
        cert: file("certfile").unwrap_or_default(),
        key: file("keyfile").unwrap_or_default(),
        completed_from: file("cafile"),
        ..Certificates::default()
    };
    if section.is_on("require_certificate") {
        (tls.client_ca, tls.crl, tls.required) = (file("cafile"), file("crlfile"), true);
        tls.identity = if section.is_on("use_identity_as_username") {
            Some("cn")
        } else {
            section.is_on("use_subject_as_username").then_some("subject")
        };
        tls.identity = tls.identity.filter(|_| tls.client_ca.is_some());
    }
    tls
}

/// What a connection goes through before MQTT, and how many there may be.
fn layers(section: &Section<'_>, listener: &mut Listener) {
    let web = matches!(listener.protocol, "ws" | "wss");
    let origin = section.get("websockets_origin").filter(|set| web && is_origin(set.value));
    listener.origins = origin.into_iter().map(|set| set.value.to_owned()).collect();
    listener.proxy = section.proxy();
    let most = section.get("max_connections").and_then(|set| set.value.parse::<u64>().ok());
    listener.max_connections = most.filter(|most| *most > 0);
}

/// Certificates that clients show to a load balancer, which tells of them by PROXY version 2. Whoever
/// has one still needs a login there unless `allow_anonymous` is on, so that only then it lets in.
fn proxied_certificates(section: &Section<'_>, listener: &mut Listener) {
    let required = section.is_on("require_certificate");
    if section.sees_proxied_certificates() && listener.anonymous {
        listener.proxy_identity = required || section.is_on("use_identity_as_username");
        listener.anonymous = !required;
    }
}

fn say_proxied_certificates(section: &Section<'_>, place: usize, draft: &mut Draft) {
    let Some(listener) = draft.listener_mut(place) else { return };
    let identified = listener.proxy_identity;
    if !section.sees_proxied_certificates() {
        return;
    }
    for name in ["require_certificate", "use_identity_as_username"] {
        let Some(set) = section.get(name).filter(|set| set.is_on()) else { continue };
        let text = match (identified, name) {
            (true, "use_identity_as_username") => continue,
            (true, _) => {
                "whoever the load balancer names no certificate of is not let in; its common name \
                 is the client's identity here"
            }
            (false, "require_certificate") => {
                "the load balancer decides whether clients need a certificate"
            }
            (false, _) => {
                "`proxy_identity: true` would let in without a login whoever shows the load balancer \
                 a certificate: left out"
            }
        };
        draft.remark(At::Listener(place), set.spot, Changed, set.what(), text);
    }
}

fn say_layers(section: &Section<'_>, place: usize, draft: &mut Draft) {
    let at = At::Listener(place);
    let Some(listener) = draft.listener_mut(place) else { return };
    let (proxied, has_origin) = (listener.proxy.is_some(), !listener.origins.is_empty());
    if let Some(set) = section.get("enable_proxy_protocol") {
        let (kind, text) = match proxied {
            true => (Changed, PROXIED),
            false => (Unknown, "not 1 or 2: no header is read"),
        };
        draft.remark(at, set.spot, kind, set.what(), text);
    }
    say_proxied_certificates(section, place, draft);
    if let Some(set) = section.get("websockets_origin").filter(|_| !has_origin) {
        let text = "not what a browser sends as Origin: every origin is served";
        draft.remark(at, set.spot, Unknown, set.what(), text);
    }
    if let Some(set) =
        section.get("max_connections").filter(|set| set.value.parse::<i64>().is_err())
    {
        let text = "not a number: the gateway's bound holds";
        draft.remark(at, set.spot, Unknown, set.what(), text);
    }
}

fn address(section: &Section<'_>, port: u16, host: &str, draft: &mut Draft) -> Vec<SocketAddr> {
    if let Some(set) = section.get("bind_interface") {
        let text = "set `bind` to the address of that device; until then this machine only";
        draft.remark(At::Listeners, set.spot, Changed, set.what(), text);
        return loopback(port);
    }
    let domain = section.get("socket_domain");
    match (host, domain.map(|set| set.value)) {
        ("", Some("ipv4")) => return vec![(Ipv4Addr::UNSPECIFIED, port).into()],
        (_, Some("ipv6")) => {
            if let Some(set) = domain {
                let text = "[::] takes IPv4 clients, too";
                draft.remark(At::Listeners, set.spot, Changed, set.what(), text);
            }
        }
        _ => {}
    }
    match on(host, port) {
        Bound::Addrs(addrs) => addrs,
        Bound::Host(_) | Bound::Nonsense => {
            let set = section.head.as_ref().or(section.get("bind_address"));
            if let Some(set) = set {
                let text = "a host name: set `bind` to its address; until then this machine only";
                draft.remark(At::Listeners, set.spot, Changed, set.what(), text);
            }
            loopback(port)
        }
    }
}

/// Options that kept clients out, or from topics, and that are not carried over.
const CLOSING: [&str; 7] = [
    "acl_file",
    "auth_plugin",
    "plugin",
    "global_plugin",
    "plugin_load",
    "plugin_use",
    "clientid_prefixes",
];

fn closing<'f, 'a>(file: &'f File<'a>, section: &'f Section<'a>) -> Option<&'f Set<'a>> {
    let plain = CLOSING.iter().find_map(|name| section.get(name).or(file.global(name)));
    let renamed = section.get("use_username_as_clientid");
    // Without a file of authorities nobody's certificate is looked at here.
    let seen = section.get("cafile").is_some() || section.sees_proxied_certificates();
    let unseen = section.get("require_certificate").filter(|_| !seen);
    plain.or_else(|| renamed.into_iter().chain(unseen).find(|set| set.is_on()))
}

fn is_open(file: &File<'_>, section: &Section<'_>, local: bool) -> bool {
    let own = section.get("listener_allow_anonymous").or(section.get("allow_anonymous"));
    let said = own.or(file.global("allow_anonymous"));
    // Without a listener in the file, this machine's clients need no login there; but another file
    // may have one.
    let local = local && !file.parts_missing;
    said.map_or(local, Set::is_on) && closing(file, section).is_none()
}

/// Says why nobody may connect.
fn say_closed(file: &File<'_>, section: &Section<'_>, place: usize, draft: &mut Draft) {
    let own = section.get("listener_allow_anonymous").or(section.get("allow_anonymous"));
    let said = own.or(file.global("allow_anonymous"));
    let at = At::Listener(place);
    let unknown = file.parts_missing && said.is_none() && section.head.is_none();
    if let Some(set) = closing(file, section) {
        let text = "keeps the listener closed: it cannot be carried over yet";
        draft.remark(at, set.spot, Later, set.what(), text);
    } else if let Some(set) = said.filter(|set| !set.is_on()) {
        let text = "nobody may connect until there are `users`: `motegate passwd NAME` writes each \
                    entry. `anonymous: true` opens the listener to everybody";
        draft.remark(at, set.spot, Changed, set.what(), text);
    } else if let (Some(set), true) = (file.global("include_dir"), unknown) {
        let text = "may say who may connect: give its files, too. Until then nobody may";
        draft.remark(at, set.spot, Changed, set.what(), text);
    } else if let (Some(set), None) = (section.first(), said) {
        let text = "allow_anonymous is not set, so it asked for logins: nobody may connect until \
                    there are `users`";
        draft.remark(at, set.spot, Changed, set.what(), text);
    }
}

fn mount(section: &Section<'_>, place: usize, draft: &mut Draft) {
    let Some(set) = section.get("mount_point") else { return };
    let fault = mount_fault(set.value);
    let Some(listener) = draft.listener_mut(place) else { return };
    match fault {
        None => listener.mount = set.value.to_owned(),
        Some(fault) => {
            listener.anonymous = false;
            let text = format!("{fault}; without it topics would be shared: nobody may connect");
            draft.remark(At::Listener(place), set.spot, Unsupported, set.what(), text);
        }
    }
}
