//! The HTTP request that begins a WebSocket (RFC 6455 §4.2), and what it is answered.
//!
//! A pure function of the bytes that came and the listener's settings. MQTT's own rules: the
//! subprotocol is `mqtt` [MQTT-6.0.0-3, MQTT-6.0.0-4], or the older `mqttv3.1` where that is offered
//! alone; whoever offers neither is refused, as browsers would fail on a missing answer only. No
//! extension is agreed on. httparse reads the syntax; the answer to the key is tungstenite's.

use std::net::{IpAddr, SocketAddr};

use motegate_config::{Subprotocol, WebSocket};
use motegate_message::Network;
use tungstenite::handshake::derive_accept_key;

/// Longest request, its empty line included (`ws_header`).
pub(crate) const MAX_HEAD: usize = 8 * 1024;
/// Most header fields of a request.
const MAX_FIELDS: usize = 64;
/// Most addresses that `X-Forwarded-For` is searched for.
const MAX_FORWARDED: usize = 32;

/// What a request is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Upgrade {
    /// It has not come whole.
    More,
    /// From here on it is a WebSocket.
    Accepted {
        /// Bytes of the request.
        len: usize,
        response: String,
        /// Where a proxy says that the client is.
        forwarded: Option<SocketAddr>,
        /// What the client calls this machine, without a port.
        host: Option<String>,
    },
    /// It is answered so, and closed.
    Refused { response: String, why: Refusal },
}

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("not an HTTP request")]
    NoHttp,
    #[error("a request longer than 8 KiB, or with more than 64 fields")]
    TooLong,
    #[error("another method than GET")]
    Method,
    #[error("nothing is served at this path")]
    Path,
    #[error("a request that is no WebSocket upgrade")]
    NoUpgrade,
    #[error("another version of WebSocket than 13")]
    Version,
    #[error("neither `mqtt` nor `mqttv3.1` among the subprotocols")]
    Subprotocol,
    #[error("no `coap` among the subprotocols")]
    NoCoap,
    #[error("an Origin that is not among `origins`")]
    Origin,
}

impl Refusal {
    const fn status(self) -> &'static str {
        match self {
            Refusal::NoHttp | Refusal::NoUpgrade | Refusal::Subprotocol | Refusal::NoCoap => {
                "400 Bad Request"
            }
            Refusal::Path => "404 Not Found",
            Refusal::Origin => "403 Forbidden",
            Refusal::Method => "405 Method Not Allowed\r\nAllow: GET",
            Refusal::Version => "426 Upgrade Required\r\nSec-WebSocket-Version: 13",
            Refusal::TooLong => "431 Request Header Fields Too Large",
        }
    }
}

fn refused(why: Refusal, subprotocol: Subprotocol) -> Upgrade {
    let spoken = match subprotocol {
        Subprotocol::Mqtt => "MQTT",
        Subprotocol::Coap => "CoAP",
    };
    let body = format!("{why}; this is {spoken} over WebSocket\n");
    let response = format!(
        "HTTP/1.1 {}\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Length: {}\r\n\r\n{body}",
        why.status(),
        body.len()
    );
    Upgrade::Refused { response, why }
}

/// Reads a request; `peer` is where it comes from.
pub(crate) fn read(bytes: &[u8], settings: &WebSocket, peer: Option<IpAddr>) -> Upgrade {
    let refuse = |why| refused(why, settings.subprotocol);
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    let len = match request.parse(bytes) {
        Ok(httparse::Status::Complete(len)) if len <= MAX_HEAD => len,
        Ok(httparse::Status::Partial) if bytes.len() < MAX_HEAD => return Upgrade::More,
        Ok(_) | Err(httparse::Error::TooManyHeaders) => return refuse(Refusal::TooLong),
        Err(_) => return refuse(Refusal::NoHttp),
    };
    match accept(&request, settings) {
        Ok(response) => {
            let trusted = |ip: IpAddr| contains(&settings.forwarded_from, ip);
            let forwarded = peer.is_some_and(trusted).then(|| forwarded(&request, trusted));
            let host = values(&request, "host").next().map(name).filter(|host| !host.is_empty());
            let host = host.map(str::to_owned);
            Upgrade::Accepted { len, response, forwarded: forwarded.flatten(), host }
        }
        Err(why) => refuse(why),
    }
}

/// Whether an address is in one of the networks.
pub(crate) fn contains(networks: &[Network], ip: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(ip))
}

fn accept(request: &httparse::Request<'_, '_>, settings: &WebSocket) -> Result<String, Refusal> {
    if request.method != Some("GET") {
        return Err(Refusal::Method);
    }
    let target = request.path.unwrap_or_default();
    if path(target) != settings.path {
        return Err(Refusal::Path);
    }
    let named = |name, token: &str| tokens(request, name).any(|t| t.eq_ignore_ascii_case(token));
    let upgrades = named("upgrade", "websocket") && named("connection", "upgrade");
    // RFC 6455 §4.2.1; a Host is what every HTTP/1.1 request has.
    if request.version != Some(1) || !upgrades || values(request, "host").count() != 1 {
        return Err(Refusal::NoUpgrade);
    }
    if !values(request, "sec-websocket-version").eq(["13"]) {
        return Err(Refusal::Version);
    }
    let mut keys = values(request, "sec-websocket-key");
    let (Some(key), None) = (keys.next().filter(|key| is_key(key)), keys.next()) else {
        return Err(Refusal::NoUpgrade);
    };
    let mut origins = values(request, "origin");
    // Whoever sends none is no browser: what the list is against cannot happen.
    let allowed = |origin: &str| settings.origins.iter().any(|o| o.eq_ignore_ascii_case(origin));
    if !settings.origins.is_empty() && !origins.all(allowed) {
        return Err(Refusal::Origin);
    }
    // [MQTT-6.0.0-3]; `mqtt` is preferred, as hbmqtt offers both and speaks 3.1.1. RFC 8323 §4.1: `coap`.
    let (ours, none): (&[&str], _) = match settings.subprotocol {
        Subprotocol::Mqtt => (&["mqtt", "mqttv3.1"], Refusal::Subprotocol),
        Subprotocol::Coap => (&["coap"], Refusal::NoCoap),
    };
    let offered = |name: &str| tokens(request, "sec-websocket-protocol").any(|t| t == name);
    let protocol = ours.iter().find(|name| offered(name)).ok_or(none)?;
    // [MQTT-6.0.0-4]
    Ok(format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\nSec-WebSocket-Protocol: {protocol}\r\n\r\n",
        derive_accept_key(key.as_bytes())
    ))
}

/// The path of a target: `/path?query`, or `http://host/path?query`, which a proxy may make of it and
/// a server must accept (RFC 9112 §3.2.2).
fn path(target: &str) -> &str {
    let whole = target.split('?').next().unwrap_or_default();
    let absolute = whole.split_once("://").filter(|(scheme, _)| {
        ["http", "https", "ws", "wss"].iter().any(|known| scheme.eq_ignore_ascii_case(known))
    });
    match absolute {
        None => whole,
        Some((_, rest)) => rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/"),
    }
}

/// The host of `HOST:PORT`, with an address of IPv6 as it is between its brackets.
fn name(authority: &str) -> &str {
    match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((ip, _)) => ip,
        None => authority.split(':').next().unwrap_or_default(),
    }
}

/// The values of a field, in order.
fn values<'r>(
    request: &'r httparse::Request<'_, '_>,
    name: &'static str,
) -> impl Iterator<Item = &'r str> {
    let fields = request.headers.iter().filter(move |field| field.name.eq_ignore_ascii_case(name));
    // What is not UTF-8 is no word that is looked for.
    fields.map(|field| std::str::from_utf8(field.value).unwrap_or_default().trim())
}

/// The elements of a list, which may stand in several fields.
fn tokens<'r>(
    request: &'r httparse::Request<'_, '_>,
    name: &'static str,
) -> impl Iterator<Item = &'r str> {
    values(request, name).flat_map(|value| value.split(',').map(str::trim))
}

/// Sixteen bytes in base64 (RFC 6455 §4.1).
fn is_key(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'+' || b == b'/';
    matches!(text.as_bytes(), [key @ .., b'=', b'='] if key.len() == 22 && key.iter().all(|b| plain(*b)))
}

/// The last address that is not one of a trusted proxy: what is before it, anybody may have written.
fn forwarded(
    request: &httparse::Request<'_, '_>,
    trusted: impl Fn(IpAddr) -> bool,
) -> Option<SocketAddr> {
    let all: Vec<&str> = tokens(request, "x-forwarded-for").collect();
    let mut last = None;
    for text in all.into_iter().rev().take(MAX_FORWARDED) {
        let bare = text.trim_start_matches('[').trim_end_matches(']');
        let ip = || bare.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, 0));
        // What cannot be read hides who is before it.
        let Some(address) = text.parse::<SocketAddr>().ok().or_else(ip) else { break };
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        last = Some(address);
        if !trusted(address.ip()) {
            break;
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const REQUEST: &str = "GET /mqtt HTTP/1.1\r\nHost: gateway.example\r\nUpgrade: websocket\r\n\
        Connection: keep-alive, Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Origin: https://app.example\r\nSec-WebSocket-Protocol: mqtt\r\n\
        Sec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Version: 13\r\n\r\n";

    fn settings() -> WebSocket {
        WebSocket::default()
    }

    fn peer() -> Option<IpAddr> {
        Some([10, 0, 0, 1].into())
    }

    #[track_caller]
    fn response(request: &str, settings: &WebSocket) -> String {
        match read(request.as_bytes(), settings, peer()) {
            Upgrade::Accepted { len, response, .. } => {
                assert_eq!(len, request.len());
                response
            }
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn status(request: &str, settings: &WebSocket) -> (u16, Refusal) {
        match read(request.as_bytes(), settings, peer()) {
            Upgrade::Refused { response, why } => {
                assert!(response.starts_with("HTTP/1.1 ") && response.contains("close"));
                (response[9..12].parse().unwrap(), why)
            }
            other => panic!("{other:?}"),
        }
    }

    /// [MQTT-6.0.0-4]; the key is the example of RFC 6455 §1.3.
    #[test]
    fn the_subprotocol_is_echoed_and_no_extension() {
        let said = response(REQUEST, &settings());
        assert!(said.starts_with("HTTP/1.1 101 "), "{said}");
        assert!(said.contains("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
        assert!(said.contains("\r\nSec-WebSocket-Protocol: mqtt\r\n"));
        assert!(!said.contains("Extensions") && said.ends_with("\r\n\r\n"));
        let offering = |list: &str| REQUEST.replace("Protocol: mqtt", &format!("Protocol: {list}"));
        for (list, echoed) in [
            ("mqttv3.1", "mqttv3.1"),
            ("mqttv3.1, mqtt", "mqtt"),
            ("chat, mqttv3.1", "mqttv3.1"),
            ("chat\r\nSec-WebSocket-Protocol: mqtt", "mqtt"),
        ] {
            let said = response(&offering(list), &settings());
            assert!(said.contains(&format!("Protocol: {echoed}\r\n")), "{list}: {said}");
        }
        for list in ["chat", "MQTT", "mqttv5", ""] {
            let refused = status(&offering(list), &settings());
            assert_eq!(refused, (400, Refusal::Subprotocol), "{list}");
        }
        let none = REQUEST.replace("Sec-WebSocket-Protocol: mqtt\r\n", "");
        assert_eq!(status(&none, &settings()), (400, Refusal::Subprotocol));
    }

    #[test]
    fn what_is_refused_and_how() {
        let with = |old: &str, new: &str| status(&REQUEST.replace(old, new), &settings());
        assert_eq!(with("/mqtt", "/"), (404, Refusal::Path));
        assert_eq!(with("/mqtt", "/mqtt/"), (404, Refusal::Path));
        assert_eq!(with("GET", "POST"), (405, Refusal::Method));
        assert_eq!(with("Version: 13", "Version: 8"), (426, Refusal::Version));
        assert_eq!(with("Upgrade: websocket\r\n", ""), (400, Refusal::NoUpgrade));
        assert_eq!(with("keep-alive, Upgrade", "keep-alive"), (400, Refusal::NoUpgrade));
        assert_eq!(with("HTTP/1.1", "HTTP/1.0"), (400, Refusal::NoUpgrade));
        assert_eq!(with("Host: gateway.example\r\n", ""), (400, Refusal::NoUpgrade));
        assert_eq!(with("b25jZQ==", "b25j"), (400, Refusal::NoUpgrade));
        assert_eq!(status("\x10\x0c\0\x04MQTT\x04", &settings()), (400, Refusal::NoHttp));
        let many = format!("Host: a\r\n{}", "X: y\r\n".repeat(60));
        assert_eq!(with("Host: gateway.example\r\n", &many), (431, Refusal::TooLong));
        let long = format!("Cookie: {}\r\nHost", "x".repeat(MAX_HEAD));
        assert_eq!(with("Host", &long), (431, Refusal::TooLong));
        // Also where its end has not come.
        let open = format!("GET /mqtt HTTP/1.1\r\nCookie: {}", "x".repeat(MAX_HEAD));
        assert_eq!(status(&open, &settings()), (431, Refusal::TooLong));
    }

    /// RFC 8323 §4.1: the subprotocol `coap` at the well-known path; the Host is what Uri-Host is by
    /// default (§8.5).
    #[test]
    fn coap_has_its_own_subprotocol_and_path() {
        let coap = WebSocket {
            path: "/.well-known/coap".into(),
            subprotocol: Subprotocol::Coap,
            ..settings()
        };
        let request = REQUEST.replace("/mqtt", "/.well-known/coap").replace(": mqtt", ": coap");
        let said = response(&request, &coap);
        assert!(said.contains("\r\nSec-WebSocket-Protocol: coap\r\n"), "{said}");
        for (written, host) in [
            ("gateway.example", "gateway.example"),
            ("gateway.example:8080", "gateway.example"),
            ("[2001:db8::1]:80", "2001:db8::1"),
            ("192.0.2.1", "192.0.2.1"),
        ] {
            let request = request.replace("Host: gateway.example", &format!("Host: {written}"));
            match read(request.as_bytes(), &coap, peer()) {
                Upgrade::Accepted { host: found, .. } => assert_eq!(found.as_deref(), Some(host)),
                other => panic!("{other:?}"),
            }
        }
        let mqtt = request.replace("Protocol: coap", "Protocol: mqtt");
        assert_eq!(status(&mqtt, &coap), (400, Refusal::NoCoap));
        assert_eq!(status(&REQUEST.replace(": mqtt", ": coap"), &coap), (404, Refusal::Path));
        assert_eq!(status(&request, &settings()), (404, Refusal::Path));
    }

    #[test]
    fn a_query_is_no_part_of_the_path() {
        response(&REQUEST.replace("/mqtt", "/mqtt?token=1"), &settings());
        let other = WebSocket { path: "/other".into(), ..settings() };
        response(&REQUEST.replace("/mqtt", "/other"), &other);
        assert_eq!(status(REQUEST, &other), (404, Refusal::Path));
    }

    /// RFC 9112 §3.2.2: the absolute form, which names the host, too.
    #[test]
    fn a_target_may_be_absolute() {
        for target in
            ["http://x/mqtt", "HTTPS://gateway.example:8443/mqtt", "ws://[::1]:8083/mqtt?token=a/b"]
        {
            response(&REQUEST.replace("/mqtt", target), &settings());
        }
        for target in ["http://x/", "http://x", "ftp://x/mqtt", "http://x/mqtt/", "x://y/mqtt"] {
            let refused = status(&REQUEST.replace("/mqtt", target), &settings());
            assert_eq!(refused, (404, Refusal::Path), "{target}");
        }
        let root = WebSocket { path: "/".into(), ..settings() };
        response(&REQUEST.replace("/mqtt", "http://gateway.example?x"), &root);
    }

    #[test]
    fn origins_that_are_not_listed_are_refused() {
        let listed = |origins: &[&str]| WebSocket {
            origins: origins.iter().map(|o| (*o).to_owned()).collect(),
            ..settings()
        };
        response(REQUEST, &listed(&["http://localhost:8080", "https://App.example"]));
        assert_eq!(status(REQUEST, &listed(&["https://evil.example"])), (403, Refusal::Origin));
        let program = REQUEST.replace("Origin: https://app.example\r\n", "");
        response(&program, &listed(&["https://other.example"]));
    }

    #[test]
    fn forwarded_addresses_are_believed_of_trusted_proxies_only() {
        let from = |network: &str, header: &str| {
            let field = format!("X-Forwarded-For: {header}\r\nHost");
            let settings =
                WebSocket { forwarded_from: vec![network.parse().unwrap()], ..settings() };
            match read(REQUEST.replace("Host", &field).as_bytes(), &settings, peer()) {
                Upgrade::Accepted { forwarded, .. } => forwarded.map(|f| f.to_string()),
                other => panic!("{other:?}"),
            }
        };
        let one = |text: &str| Some(text.to_owned());
        assert_eq!(from("192.168.0.0/16", "203.0.113.7"), None, "not from there");
        assert_eq!(from("10.0.0.0/8", "203.0.113.7"), one("203.0.113.7:0"));
        assert_eq!(from("10.0.0.0/8", "1.1.1.1, 203.0.113.7, 10.9.9.9"), one("203.0.113.7:0"));
        assert_eq!(from("10.0.0.0/8", "203.0.113.7:4711"), one("203.0.113.7:4711"));
        assert_eq!(from("10.0.0.0/8", "[2001:db8::1], 10.1.1.1"), one("[2001:db8::1]:0"));
        assert_eq!(from("10.0.0.0/8", "10.1.1.1, 10.2.2.2"), one("10.1.1.1:0"));
        assert_eq!(from("10.0.0.0/8", "203.0.113.7, unknown"), None);
    }

    proptest! {
        #[test]
        fn any_beginning_is_more_or_the_same_refusal(cut in 0..REQUEST.len()) {
            prop_assert_eq!(read(&REQUEST.as_bytes()[..cut], &settings(), None), Upgrade::More);
        }

        #[test]
        fn noise_is_no_fault_of_ours(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = read(&bytes, &settings(), None);
        }

        #[test]
        fn changed_bytes_are_no_fault_of_ours(at in 0..REQUEST.len(), byte in any::<u8>()) {
            let mut bytes = REQUEST.as_bytes().to_vec();
            bytes[at] = byte;
            let _ = read(&bytes, &settings(), None);
        }
    }
}
