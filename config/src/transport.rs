//! [`Transport`]: what lies between a stream listener's socket and MQTT, or CoAP, from the socket up: the
//! header of the PROXY protocol, TLS, WebSocket. Each is optional; a listener without any is plain.
//!
//! mqtt.md §2.18 to §2.20 say what each does; this reads their keys.

use std::sync::Arc;

use motegate_core::Protocol;
use motegate_mapping::Place;
use motegate_message::{Network, NotANetwork};

use crate::diagnostic::Code;
use crate::file;
use crate::reader::Reader;
use crate::tls::{self, Tls};
use crate::value::{OneOrMany, Value, words};

/// The layers of a stream listener.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Transport {
    /// Every connection begins with a header of the PROXY protocol.
    pub proxy: Option<Proxy>,
    /// Then comes TLS.
    pub tls: Option<Arc<Tls>>,
    /// Then WebSocket.
    pub websocket: Option<WebSocket>,
    /// Within is CoAP (RFC 8323); of a CoAP listener that has datagrams this is not so, nor of others.
    pub coap: bool,
}

/// The PROXY protocol (its versions 1 and 2): who the client is, said by a load balancer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// Version 1, a line of text, is taken.
    pub v1: bool,
    /// Version 2 is taken.
    pub v2: bool,
    /// Who may say it. Over a Unix socket everybody who can open it may.
    pub from: Vec<Network>,
    /// The common name of a client certificate that the sender has verified is an identity.
    pub identity: bool,
}

/// WebSocket (RFC 6455).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebSocket {
    /// The path that is served; others are not found.
    pub path: String,
    /// The values of `Origin` that are served; empty: all, and clients that send none.
    pub origins: Vec<String>,
    /// Who may say in `X-Forwarded-For` from where a client comes.
    pub forwarded_from: Vec<Network>,
    /// What clients must offer to speak.
    pub subprotocol: Subprotocol,
}

/// The subprotocol of a WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Subprotocol {
    /// `mqtt`, or the older `mqttv3.1`.
    #[default]
    Mqtt,
    /// `coap` (RFC 8323 §4.1).
    Coap,
}

impl Subprotocol {
    /// The path that is served unless the listener says another; CoAP's is its well-known one
    /// (RFC 8323 §8.3).
    const fn path(self) -> &'static str {
        match self {
            Subprotocol::Mqtt => "/mqtt",
            Subprotocol::Coap => "/.well-known/coap",
        }
    }
}

impl Default for WebSocket {
    fn default() -> Self {
        let subprotocol = Subprotocol::default();
        let (origins, forwarded_from) = (Vec::new(), Vec::new());
        WebSocket { path: subprotocol.path().into(), origins, forwarded_from, subprotocol }
    }
}

impl Transport {
    /// The connection's bytes are MQTT's, or CoAP's.
    #[must_use]
    pub const fn is_plain(&self) -> bool {
        self.proxy.is_none() && self.tls.is_none() && self.websocket.is_none()
    }

    /// A client can have an identity before it has said anything: by its certificate, or by one that
    /// the load balancer has verified. It needs no password then.
    #[must_use]
    pub fn identifies(&self) -> bool {
        self.proxy.as_ref().is_some_and(|proxy| proxy.identity)
            || self.tls.as_ref().is_some_and(|tls| tls.identity != tls::IdentityFrom::None)
    }

    /// As in `protocol:` of the configuration: `mqtt`, `mqtts`, `ws`, `wss`, `coap`, `coap+tcp`…
    #[must_use]
    pub const fn word(&self, protocol: Protocol) -> &'static str {
        match (protocol, self.websocket.is_some(), self.tls.is_some()) {
            (Protocol::Mqtt, false, false) => "mqtt",
            (Protocol::Mqtt, false, true) => "mqtts",
            (Protocol::Mqtt, true, false) => "ws",
            (Protocol::Mqtt, true, true) => "wss",
            (Protocol::MqttSn, ..) => "mqttsn",
            (Protocol::Coap, ..) if !self.coap => "coap",
            (Protocol::Coap, false, false) => "coap+tcp",
            (Protocol::Coap, false, true) => "coaps+tcp",
            (Protocol::Coap, true, false) => "coap+ws",
            (Protocol::Coap, true, true) => "coaps+ws",
        }
    }
}

words! {
    /// Versions of the PROXY protocol that a listener takes.
    pub(crate) ProxyWord, "off, v1, v2 or any" { Off = "off", V1 = "v1", V2 = "v2", Any = "any", }
}

/// Whether listeners of this word have connections, and between them and their sockets TLS, WebSocket.
pub(crate) struct Kind {
    pub(crate) connections: bool,
    secure: bool,
    web: bool,
    coap: bool,
}

impl Kind {
    pub(crate) fn of(word: &str) -> Kind {
        let coap = matches!(word, "coap+tcp" | "coaps+tcp" | "coap+ws" | "coaps+ws");
        Kind {
            connections: coap || matches!(word, "mqtt" | "mqtts" | "ws" | "wss"),
            secure: matches!(word, "mqtts" | "wss" | "coaps+tcp" | "coaps+ws"),
            web: matches!(word, "ws" | "wss" | "coap+ws" | "coaps+ws"),
            coap,
        }
    }
}

/// Reads what lies below MQTT, or CoAP, on a listener; `word` is its protocol.
pub(crate) fn read(
    reader: &mut Reader<'_>,
    entry: &file::Listener,
    at: &Place,
    word: &str,
) -> Transport {
    let Kind { secure, web, coap, connections } = Kind::of(word);
    let foreign = [
        (
            "path",
            entry.path.is_some() && !web,
            "`path` is for WebSocket: ws, wss, coap+ws and coaps+ws",
        ),
        (
            "origins",
            entry.origins.is_some() && !web,
            "`origins` is for WebSocket: ws, wss, coap+ws and coaps+ws",
        ),
        (
            "forwarded_from",
            entry.forwarded_from.is_some() && !web,
            "`forwarded_from` is for WebSocket: ws, wss, coap+ws and coaps+ws",
        ),
    ];
    for (key, _, text) in foreign.into_iter().filter(|(_, wrong, _)| *wrong) {
        let fix = if coap || word == "coap" {
            "remove the key, or write `protocol: coap+ws`"
        } else {
            "remove the key, or write `protocol: ws`"
        };
        reader.report(&at.at(key), Code::NotForProtocol, text, fix);
    }
    let proxy = proxy(reader, entry, at, connections);
    let tls = match (&entry.tls, secure) {
        (Some(block), true) => {
            // RFC 8323 §8.2: what is not on port 5684 is told by ALPN.
            let alpn = (coap && !web).then_some("coap");
            tls::read(reader, block, &at.at("tls"), alpn).map(Arc::new)
        }
        (None, true) => {
            let fix = if coap {
                "add `tls: {cert: server.pem, key: server.key}`, or write `coap+tcp` or `coap+ws`"
            } else {
                "add `tls: {cert: server.pem, key: server.key}`, or write `mqtt` or `ws`"
            };
            reader.missing(at, "tls", fix);
            None
        }
        (Some(_), false) => {
            let fix = match word {
                "mqtt" => "write `protocol: mqtts`, or remove the block",
                "ws" => "write `protocol: wss`, or remove the block",
                "coap+tcp" => "write `protocol: coaps+tcp`, or remove the block",
                "coap+ws" => "write `protocol: coaps+ws`, or remove the block",
                _ => "remove the block",
            };
            let text = if coap {
                format!("`tls` is for coaps+tcp and coaps+ws: {word} is not encrypted")
            } else {
                format!("`tls` is for mqtts and wss: {word} is not encrypted")
            };
            reader.report(&at.at("tls"), Code::NotForProtocol, text, fix);
            None
        }
        (None, false) => None,
    };
    let subprotocol = if coap { Subprotocol::Coap } else { Subprotocol::Mqtt };
    let websocket = web.then(|| websocket(reader, entry, at, subprotocol));
    Transport { proxy, tls, websocket, coap }
}

fn proxy(
    reader: &mut Reader<'_>,
    entry: &file::Listener,
    at: &Place,
    connections: bool,
) -> Option<Proxy> {
    let word = reader.get(entry.proxy_protocol.as_ref(), at, "proxy_protocol");
    let word = word.unwrap_or(ProxyWord::Off);
    if !connections {
        for (key, there) in [
            ("proxy_protocol", entry.proxy_protocol.is_some()),
            ("proxy_from", entry.proxy_from.is_some()),
            ("proxy_identity", entry.proxy_identity.is_some()),
        ] {
            if there {
                let text = "the PROXY protocol is for connections; this listener has datagrams";
                reader.report(&at.at(key), Code::NotForProtocol, text, "remove the key");
            }
        }
        return None;
    }
    let (v1, v2) = match word {
        ProxyWord::Off => return None,
        ProxyWord::V1 => (true, false),
        ProxyWord::V2 => (false, true),
        ProxyWord::Any => (true, true),
    };
    let from = match &entry.proxy_from {
        Some(list) => networks(reader, list, &at.at("proxy_from")),
        None => LOOPBACK.iter().filter_map(|text| text.parse().ok()).collect(),
    };
    let identity = reader.get(entry.proxy_identity.as_ref(), at, "proxy_identity");
    Some(Proxy { v1, v2, from, identity: identity.unwrap_or(false) })
}

/// Who may send a PROXY header unless the listener says otherwise: whoever is believed can claim any
/// address, so that nobody beyond this machine is without being named.
const LOOPBACK: [&str; 2] = ["127.0.0.0/8", "::1/128"];

fn websocket(
    reader: &mut Reader<'_>,
    entry: &file::Listener,
    at: &Place,
    subprotocol: Subprotocol,
) -> WebSocket {
    let path = reader.get(entry.path.as_ref(), at, "path");
    let path = path.unwrap_or_else(|| subprotocol.path().into());
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '?' | '#');
    if !path.starts_with('/') || !path.chars().all(plain) {
        let text = format!("{path:?} is no path of a URL");
        let fix = "write one that begins with a slash, such as /mqtt, without ? and #";
        reader.report(&at.at("path"), Code::Value, text, fix);
    }
    let texts = |list: &Option<OneOrMany<String>>| {
        list.as_ref().map(|list| list.0.iter().map(|t| t.text.clone()).collect::<Vec<_>>())
    };
    let origins = texts(&entry.origins).unwrap_or_default();
    for (i, origin) in origins.iter().enumerate() {
        // RFC 6454 §6.2: scheme, host and port; browsers send no slash behind it.
        let is_origin = origin.split_once("://").is_some_and(|(scheme, host)| {
            !scheme.is_empty() && !host.is_empty() && !host.contains('/')
        });
        if !is_origin && origin != "null" {
            let text = format!("{origin:?} is not what a browser sends as Origin");
            let fix = "write scheme, host and port: https://app.example or http://localhost:8080";
            reader.report(&at.at("origins").at(i), Code::Value, text, fix);
        }
    }
    let forwarded_from = entry.forwarded_from.as_ref();
    let forwarded_from = forwarded_from
        .map(|list| networks(reader, list, &at.at("forwarded_from")))
        .unwrap_or_default();
    WebSocket { path, origins, forwarded_from, subprotocol }
}

fn networks(reader: &mut Reader<'_>, list: &OneOrMany<String>, at: &Place) -> Vec<Network> {
    let mut networks = Vec::new();
    for (i, typed) in list.0.iter().enumerate() {
        let text = typed.text.as_str();
        match text.parse() {
            Ok(network) => networks.push(network),
            Err(NotANetwork) => {
                let text = format!("{text:?} is no network");
                let fix = "write an address or a network: 10.0.0.7, 10.0.0.0/8 or fd00::/8";
                reader.report(&at.at(i), Code::Value, text, fix);
            }
        }
    }
    networks
}
