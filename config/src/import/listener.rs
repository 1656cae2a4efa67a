//! [`Listener`]: an entry of `listeners`, and the many ways in which others write addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::yaml::Value;
use crate::chain;
use crate::value::PerTime;

/// An entry of `listeners`.
#[derive(Debug, Clone)]
pub(crate) struct Listener {
    pub(crate) name: String,
    pub(crate) protocol: &'static str,
    pub(crate) bind: Vec<SocketAddr>,
    /// A Unix socket instead of addresses.
    pub(crate) unix: Option<String>,
    /// Of a WebSocket; empty: `/mqtt`.
    pub(crate) path: String,
    pub(crate) anonymous: bool,
    pub(crate) mount: String,
    /// `client_from: query`, of CoAP.
    pub(crate) client_from_query: bool,
    /// Of CoAP.
    pub(crate) connection_required: bool,
    /// Of mqtts and wss.
    pub(crate) tls: Option<Certificates>,
    /// Of a WebSocket; empty: all.
    pub(crate) origins: Vec<String>,
    /// `proxy_protocol`.
    pub(crate) proxy: Option<&'static str>,
    pub(crate) proxy_identity: bool,
    /// `limits` of its own.
    pub(crate) max_connections: Option<u64>,
    pub(crate) max_connect_rate: Option<PerTime>,
}

/// `tls` of a listener.
#[derive(Debug, Clone, Default)]
pub(crate) struct Certificates {
    pub(crate) cert: String,
    pub(crate) key: String,
    pub(crate) client_ca: Option<String>,
    /// Whether each client shows one; with `client_ca` only.
    pub(crate) required: bool,
    pub(crate) crl: Option<String>,
    /// What of a client's is its identity.
    pub(crate) identity: Option<&'static str>,
    /// The file from which the chain of `cert` was completed there.
    pub(crate) completed_from: Option<String>,
}

impl Certificates {
    /// What is to be done for clients to be shown the chain that they were shown there.
    pub(crate) fn completed(&self) -> Option<String> {
        let from = self.completed_from.as_deref()?;
        let missing = chain::missing(&self.cert, from);
        let (first, cert) = (missing.first()?, &self.cert);
        let names = match missing.len() {
            1 => first.clone(),
            _ => missing.join(", then "),
        };
        Some(format!(
            "clients are shown what {cert} holds and nothing of {from}: write the certificate of \
             {names} behind the one in {cert}, or they find no way to their root"
        ))
    }

    fn value(&self) -> Value {
        let mut pairs: Vec<(String, Value)> = vec![
            ("cert".into(), self.cert.as_str().into()),
            ("key".into(), self.key.as_str().into()),
        ];
        if let Some(ca) = &self.client_ca {
            let word = if self.required { "required" } else { "optional" };
            pairs.push(("client_ca".into(), ca.as_str().into()));
            pairs.push(("client_cert".into(), word.into()));
            pairs.extend(self.crl.as_deref().map(|crl| ("crl".into(), crl.into())));
            pairs.extend(self.identity.map(|word| ("identity".into(), word.into())));
        }
        Value::Flow(pairs)
    }
}

/// A listener in its place.
#[derive(Debug)]
pub(crate) struct Placed {
    pub(crate) listener: Listener,
    /// File and line of the source.
    pub(crate) spot: Option<(String, usize)>,
    /// It cannot be served here: only remarks are written.
    pub(crate) left_out: bool,
}

impl Listener {
    pub(crate) fn new(name: impl Into<String>, protocol: &'static str) -> Listener {
        Listener {
            name: name.into(),
            protocol,
            bind: Vec::new(),
            unix: None,
            path: String::new(),
            anonymous: false,
            mount: String::new(),
            client_from_query: false,
            connection_required: false,
            tls: None,
            origins: Vec::new(),
            proxy: None,
            proxy_identity: false,
            max_connections: None,
            max_connect_rate: None,
        }
    }

    /// Whether it has connections, and not datagrams.
    pub(crate) fn is_stream(&self) -> bool {
        matches!(self.protocol, "mqtt" | "mqtts" | "ws" | "wss")
    }

    /// Whether an address of another listener cannot be had beside this one.
    pub(crate) fn clashes(&self, other: &Listener, addr: SocketAddr) -> bool {
        let stream = |listener: &Listener| listener.is_stream();
        let all = |ip: IpAddr| ip == Ipv6Addr::UNSPECIFIED;
        let same = |mine: &SocketAddr| {
            mine.port() == addr.port()
                && addr.port() != 0
                && (mine.ip() == addr.ip() || all(mine.ip()) || all(addr.ip()))
        };
        stream(self) == stream(other) && self.bind.iter().any(same)
    }

    pub(crate) fn value(&self) -> Value {
        let mut pairs: Vec<(String, Value)> = vec![
            ("name".into(), self.name.as_str().into()),
            ("protocol".into(), self.protocol.into()),
        ];
        let bind: Vec<String> = self.bind.iter().map(SocketAddr::to_string).collect();
        let bind = match (&self.unix, bind.as_slice()) {
            (Some(path), _) => Value::Text(format!("unix:{path}")),
            (None, [one]) => Value::Text(one.clone()),
            _ => Value::Texts(bind),
        };
        pairs.push(("bind".into(), bind));
        if !self.path.is_empty() {
            pairs.push(("path".into(), self.path.as_str().into()));
        }
        pairs.push(("anonymous".into(), if self.anonymous { "true" } else { "false" }.into()));
        if self.client_from_query {
            pairs.push(("client_from".into(), "query".into()));
        }
        if self.connection_required {
            pairs.push(("connection_required".into(), "true".into()));
        }
        if !self.mount.is_empty() {
            pairs.push(("mount".into(), self.mount.as_str().into()));
        }
        if !self.origins.is_empty() {
            pairs.push(("origins".into(), Value::Texts(self.origins.clone())));
        }
        pairs.extend(self.proxy.map(|word| ("proxy_protocol".into(), word.into())));
        if self.proxy_identity {
            pairs.push(("proxy_identity".into(), "true".into()));
        }
        pairs.extend(self.tls.as_ref().map(|tls| ("tls".into(), tls.value())));
        let mut limits: Vec<(String, Value)> = Vec::new();
        limits.extend(
            self.max_connections.map(|most| ("max_connections".into(), most.to_string().into())),
        );
        limits.extend(
            self.max_connect_rate.map(|rate| ("max_connect_rate".into(), rate.word().into())),
        );
        if !limits.is_empty() {
            pairs.push(("limits".into(), Value::Flow(limits)));
        }
        Value::Flow(pairs)
    }
}

/// What a foreign address means.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    Addrs(Vec<SocketAddr>),
    /// A host name or a device, which only the machine knows.
    Host(u16),
    /// No address at all.
    Nonsense,
}

/// Reads `1884`, `:1884`, `0.0.0.0:1884`, `[::]:1884`, `::1:1884`, `localhost:1884`; a bare port is
/// every address, IPv4 and IPv6.
pub(crate) fn address(text: &str) -> Bound {
    let text = text.trim();
    if let Ok(port) = text.parse::<u16>() {
        return Bound::Addrs(vec![(Ipv6Addr::UNSPECIFIED, port).into()]);
    }
    if let Ok(addr) = text.parse::<SocketAddr>() {
        return Bound::Addrs(vec![addr]);
    }
    let Some((host, port)) = text.rsplit_once(':') else { return Bound::Nonsense };
    let Ok(port) = port.parse::<u16>() else { return Bound::Nonsense };
    on(host, port)
}

/// A host and a port.
pub(crate) fn on(host: &str, port: u16) -> Bound {
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    match bare {
        "" | "*" => Bound::Addrs(vec![(Ipv6Addr::UNSPECIFIED, port).into()]),
        "localhost" => Bound::Addrs(vec![
            (Ipv4Addr::LOCALHOST, port).into(),
            (Ipv6Addr::LOCALHOST, port).into(),
        ]),
        _ => match bare.parse::<IpAddr>() {
            Ok(ip) => Bound::Addrs(vec![(ip, port).into()]),
            Err(_) if bare.chars().all(|c| c.is_alphanumeric() || "-._%".contains(c)) => {
                Bound::Host(port)
            }
            Err(_) => Bound::Nonsense,
        },
    }
}

/// Where a listener stays whose address is not known: on this machine, never wider than it was.
pub(crate) fn loopback(port: u16) -> Vec<SocketAddr> {
    vec![(Ipv4Addr::LOCALHOST, port).into()]
}

/// What a browser sends as `Origin`, as `origins` takes it (RFC 6454 §6.2).
pub(crate) fn is_origin(text: &str) -> bool {
    let host = text.split_once("://").filter(|(scheme, _)| !scheme.is_empty());
    host.is_some_and(|(_, host)| !host.is_empty() && !host.contains('/')) || text == "null"
}

/// A path of a WebSocket, as `path` takes it.
pub(crate) fn is_path(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '?' | '#');
    text.starts_with('/') && text.chars().all(plain)
}

/// Said where a load balancer names the clients.
pub(crate) const PROXIED: &str = "its header is believed from this machine only: set `proxy_from` to the load balancer's address";

/// What keeps a text from being a mount.
pub(crate) fn mount_fault(text: &str) -> Option<&'static str> {
    if text.contains(['+', '#', '{', '}', '\0']) {
        Some("a mount cannot hold + # { or }")
    } else if motegate_message::has_disallowed(text) {
        Some("a mount cannot hold control characters")
    } else if text.len() > 1024 {
        Some("a mount is at most 1,024 bytes long")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_as_others_write_them() {
        let show = |text: &str| match address(text) {
            Bound::Addrs(addrs) => {
                addrs.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(" ")
            }
            Bound::Host(port) => format!("host {port}"),
            Bound::Nonsense => "no".into(),
        };
        for (text, expected) in [
            ("1884", "[::]:1884"),
            (":1884", "[::]:1884"),
            ("*:1884", "[::]:1884"),
            ("0.0.0.0:1884", "0.0.0.0:1884"),
            ("[::]:1884", "[::]:1884"),
            ("::1:1884", "[::1]:1884"),
            ("localhost:1884", "127.0.0.1:1884 [::1]:1884"),
            ("broker.lan:1884", "host 1884"),
            ("0.0.0.0", "no"),
            ("70000", "no"),
            ("a b:1", "no"),
        ] {
            assert_eq!(show(text), expected, "{text}");
        }
    }
}
