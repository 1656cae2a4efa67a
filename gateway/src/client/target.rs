//! [`Target`]: whom a client talks to, from a URL or from `-h` and `-p`.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use super::{Credentials, Error};

/// The protocol of a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// MQTT over TCP.
    Mqtt,
    /// MQTT-SN over UDP.
    MqttSn,
    /// CoAP, over UDP unless the transport says otherwise.
    Coap,
}

impl Scheme {
    /// The port that `motegate` listens on by default.
    pub(crate) const fn port(self) -> u16 {
        match self {
            Scheme::Mqtt => 1883,
            Scheme::MqttSn => 1885,
            Scheme::Coap => 5683,
        }
    }

    /// As in a URL.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Scheme::Mqtt => "mqtt",
            Scheme::MqttSn => "mqttsn",
            Scheme::Coap => "coap",
        }
    }
}

/// What MQTT and CoAP go through.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Transport {
    /// The socket that the scheme has of old: TCP of MQTT, UDP of the others.
    #[default]
    Plain,
    /// TCP, of CoAP (RFC 8323).
    Tcp,
    /// TLS.
    Tls,
    /// WebSocket.
    Ws,
    /// WebSocket in TLS.
    Wss,
}

impl Transport {
    pub(crate) const fn is_tls(self) -> bool {
        matches!(self, Transport::Tls | Transport::Wss)
    }

    pub(crate) const fn is_ws(self) -> bool {
        matches!(self, Transport::Ws | Transport::Wss)
    }

    /// Whether there is anything above the socket.
    pub(crate) const fn is_layered(self) -> bool {
        self.is_tls() || self.is_ws()
    }

    /// The scheme of MQTT, and the port that `motegate` listens on by default.
    const fn of_mqtt(self) -> (&'static str, u16) {
        match self {
            Transport::Plain | Transport::Tcp => ("mqtt", 1883),
            Transport::Tls => ("mqtts", 8883),
            Transport::Ws => ("ws", 8083),
            Transport::Wss => ("wss", 8084),
        }
    }

    /// The scheme of CoAP, and its port (RFC 7252 §6.1, RFC 8323 §8).
    const fn of_coap(self) -> (&'static str, u16) {
        match self {
            Transport::Plain => ("coap", 5683),
            Transport::Tcp => ("coap+tcp", 5683),
            Transport::Tls => ("coaps+tcp", 5684),
            Transport::Ws => ("coap+ws", 80),
            Transport::Wss => ("coaps+ws", 443),
        }
    }
}

/// Where brokers have their WebSocket.
const RESOURCE: &str = "/mqtt";
/// Where CoAP servers have theirs (RFC 8323 §8.3): the path of the URL is that of the request.
const COAP_RESOURCE: &str = "/.well-known/coap";

/// A parsed URL: `scheme://[user[:password]@]host[:port][/path][?query]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) scheme: Scheme,
    /// A name or an address, without brackets.
    pub(crate) host: String,
    /// The scheme's own unless given.
    pub(crate) port: u16,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<String>,
    /// Segments of the path, percent-decoded; of MQTT one, the topic.
    pub(crate) path: Vec<String>,
    /// Arguments of the query, percent-decoded.
    pub(crate) query: Vec<String>,
    /// A Unix domain socket instead of host and port (MQTT).
    pub(crate) socket: Option<PathBuf>,
    /// The address to come from (MQTT).
    pub(crate) bind: Option<IpAddr>,
    /// What is between socket and MQTT.
    pub(crate) transport: Transport,
    /// Path and query of a WebSocket, as in the URL.
    pub(crate) resource: String,
    /// What TLS trusts and shows.
    pub(crate) tls: Credentials,
}

impl Target {
    /// A host without path.
    pub(crate) fn new(scheme: Scheme, host: &str, port: Option<u16>) -> Self {
        Target {
            scheme,
            host: host.to_owned(),
            port: port.unwrap_or(scheme.port()),
            username: None,
            password: None,
            path: Vec::new(),
            query: Vec::new(),
            socket: None,
            bind: None,
            transport: Transport::Plain,
            resource: if scheme == Scheme::Coap { COAP_RESOURCE } else { RESOURCE }.to_owned(),
            tls: Credentials::default(),
        }
    }

    /// Goes through this, to its port unless one was given.
    pub(crate) fn through(mut self, transport: Transport, port: Option<u16>) -> Self {
        self.transport = transport;
        self.port = port.unwrap_or(self.name().1);
        self
    }

    /// Whether it is spoken to by a stream, and not by datagrams.
    pub(crate) fn is_stream(&self) -> bool {
        self.scheme == Scheme::Mqtt || self.transport != Transport::Plain
    }

    /// The URL of its WebSocket.
    pub(crate) fn web_url(&self) -> String {
        let (scheme, port) = if self.transport.is_tls() { ("wss", 443) } else { ("ws", 80) };
        let place = Place { scheme, host: &self.host, port: self.port, usual: port };
        format!("{place}{}", self.resource)
    }

    /// The scheme as in a URL, and its port.
    const fn name(&self) -> (&'static str, u16) {
        match self.scheme {
            Scheme::Mqtt => self.transport.of_mqtt(),
            Scheme::MqttSn => (self.scheme.as_str(), self.scheme.port()),
            Scheme::Coap => self.transport.of_coap(),
        }
    }

    /// Takes path and query from `/a/b?c=d`.
    pub(crate) fn set_path(&mut self, text: &str) -> Result<(), Error> {
        if text.contains('#') {
            // RFC 7252 §6.4: a fragment is no part of a request; whoever types one means a topic.
            return Err(Error::usage("a URL's # begins what is not sent: write %23"));
        }
        let (path, query) = text.split_once('?').unwrap_or((text, ""));
        let path = path.strip_prefix('/').unwrap_or(path);
        let decoded = |part: &str, by: char| -> Result<Vec<String>, Error> {
            if part.is_empty() { Ok(Vec::new()) } else { part.split(by).map(decode).collect() }
        };
        self.path = decoded(path, '/')?; // RFC 7252 §6.4
        self.query = decoded(query, '&')?;
        Ok(())
    }

    /// The path as an MQTT topic, if there is one.
    pub(crate) fn topic(&self) -> Option<String> {
        (!self.path.is_empty()).then(|| self.path.join("/"))
    }
}

impl FromStr for Target {
    type Err = Error;

    fn from_str(url: &str) -> Result<Self, Error> {
        if let Some(path) = url.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() {
                return Err(Error::usage("unix:PATH needs the path of a socket"));
            }
            let mut target = Target::new(Scheme::Mqtt, "localhost", None);
            target.socket = Some(PathBuf::from(path));
            return Ok(target);
        }
        let Some((scheme, rest)) = url.split_once("://") else {
            return Err(Error::usage(format!(
                "`{url}` is no URL: it begins with mqtt://, mqtts://, ws://, wss://, unix:, \
                 mqttsn://, coap://, coap+tcp://, coaps+tcp://, coap+ws:// or coaps+ws://"
            )));
        };
        let (scheme, transport) = match scheme.to_ascii_lowercase().as_str() {
            "mqtt" => (Scheme::Mqtt, Transport::Plain),
            "mqtts" => (Scheme::Mqtt, Transport::Tls),
            "ws" => (Scheme::Mqtt, Transport::Ws),
            "wss" => (Scheme::Mqtt, Transport::Wss),
            "mqttsn" => (Scheme::MqttSn, Transport::Plain),
            "coap" => (Scheme::Coap, Transport::Plain),
            "coap+tcp" => (Scheme::Coap, Transport::Tcp),
            "coaps+tcp" => (Scheme::Coap, Transport::Tls),
            "coap+ws" => (Scheme::Coap, Transport::Ws),
            "coaps+ws" => (Scheme::Coap, Transport::Wss),
            "mqttsns" | "coaps" => {
                return Err(Error::usage(format!("the commands do not speak {scheme}:// yet")));
            }
            _ => {
                return Err(Error::usage(format!(
                    "`{scheme}` is no protocol of ours: mqtt, mqtts, ws, wss, mqttsn, coap, \
                     coap+tcp, coaps+tcp, coap+ws or coaps+ws"
                )));
            }
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let (login, place) = match authority.rsplit_once('@') {
            Some((login, place)) => (Some(login), place),
            None => (None, authority),
        };
        let (host, port) = host_and_port(place)
            .ok_or_else(|| Error::usage(format!("`{place}` is no HOST or HOST:PORT")))?;
        let mut target = Target::new(scheme, &decode(host)?, port);
        if transport != Transport::Plain {
            target = target.through(transport, port);
        }
        if let Some(login) = login {
            let (name, password) =
                login.split_once(':').map_or((login, None), |(n, p)| (n, Some(p)));
            target.username = Some(decode(name)?);
            target.password = password.map(decode).transpose()?;
        }
        match (scheme, path.strip_prefix('/')) {
            (Scheme::Coap, _) => target.set_path(path)?,
            (_, None | Some("")) => {}
            // The path is the listener's: a topic is given by -t.
            _ if transport.is_ws() => path.clone_into(&mut target.resource),
            (_, Some(topic)) => target.path = vec![decode(topic)?], // with # and ? as they are
        }
        Ok(target)
    }
}

impl fmt::Display for Target {
    /// Without login, path and query.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(path) = &self.socket {
            return write!(f, "unix:{}", path.display());
        }
        let (scheme, usual) = self.name();
        Place { scheme, host: &self.host, port: self.port, usual }.fmt(f)
    }
}

/// A scheme, a host, and a port unless it is the usual one.
struct Place<'a> {
    scheme: &'a str,
    host: &'a str,
    port: u16,
    usual: u16,
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{}://{open}{}{close}", self.scheme, self.host)?;
        if self.port == self.usual { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

fn host_and_port(place: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
        }
        None => place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port))),
    };
    let port = match port {
        None | Some("") => None,
        Some(port) => Some(port.parse().ok().filter(|port| *port != 0)?),
    };
    (!host.is_empty()).then_some((host, port))
}

/// Percent-decoding (RFC 3986 §2.1).
fn decode(text: &str) -> Result<String, Error> {
    let wrong = || Error::usage(format!("`{text}` is not well percent-encoded UTF-8"));
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let mut digit = || char::from(rest.next()?).to_digit(16);
            let (high, low) = (digit().ok_or_else(wrong)?, digit().ok_or_else(wrong)?);
            bytes.push(u8::try_from(high << 4 | low).map_err(|_| wrong())?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str) -> Target {
        url.parse().unwrap()
    }

    fn strings(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|&text| text.to_owned()).collect()
    }

    #[test]
    fn urls_are_taken_apart() {
        assert_eq!(target("mqtt://h"), Target::new(Scheme::Mqtt, "h", None));
        assert_eq!(target("MQTTSN://h:9"), Target::new(Scheme::MqttSn, "h", Some(9)));
        let full = target("mqtt://u%40x:p:q@[::1]:1884/site/+/%23#?");
        assert_eq!((full.host.as_str(), full.port), ("::1", 1884));
        assert_eq!(full.username.as_deref(), Some("u@x"));
        assert_eq!(full.password.as_deref(), Some("p:q"));
        assert_eq!(full.topic().as_deref(), Some("site/+/##?"));
        assert_eq!(full.to_string(), "mqtt://[::1]:1884");
        let full = target("coap://h/site/a%2Fb?x=1&y");
        assert_eq!((full.path, full.query), (strings(&["site", "a/b"]), strings(&["x=1", "y"])));
        for cut in ["coap://h/a/#", "coap://h/a/#?token=1", "coap://h/a?b#c", "coap://h#a"] {
            let refused = cut.parse::<Target>().unwrap_err();
            assert!(refused.to_string().contains("write %23"), "{cut}: {refused}");
        }
        assert_eq!(target("coap://h/a/%23").path, ["a", "#"]);
        assert_eq!(target("coap://h?a").query, ["a"]);
        assert_eq!(target("coap://h/").path, [] as [&str; 0]);
        assert_eq!(target("coap://h/a/").path, ["a", ""]);
        assert_eq!(target("coap://h/").topic(), None);
        let full = target("mqtts://h/a/b");
        assert_eq!((full.port, full.topic().as_deref()), (8883, Some("a/b")));
        let full = target("wss://h:443/x?y=1");
        assert_eq!((full.resource.as_str(), full.topic()), ("/x?y=1", None));
        assert_eq!(full.to_string(), "wss://h:443");
        assert_eq!((target("ws://h").resource.as_str(), target("ws://h").port), ("/mqtt", 8083));
        assert_eq!(target("unix:/run/x").socket, Some("/run/x".into()));
    }

    /// RFC 8323 §8: the schemes and their ports; the path is that of the request, also of a WebSocket,
    /// which is at the well-known one.
    #[test]
    fn urls_of_coap_over_connections() {
        for (url, transport, port) in [
            ("coap://h/a?b", Transport::Plain, 5683),
            ("coap+tcp://h/a?b", Transport::Tcp, 5683),
            ("coaps+tcp://h/a?b", Transport::Tls, 5684),
            ("coap+ws://h/a?b", Transport::Ws, 80),
            ("coaps+ws://h/a?b", Transport::Wss, 443),
        ] {
            let full = target(url);
            assert_eq!((full.scheme, full.transport, full.port), (Scheme::Coap, transport, port));
            assert_eq!((full.path.clone(), full.query.clone()), (strings(&["a"]), strings(&["b"])));
            assert_eq!(full.to_string(), url.split("/a").next().unwrap());
        }
        let web = |url: &str| target(url).web_url();
        assert_eq!(web("coap+ws://h/a"), "ws://h/.well-known/coap");
        assert_eq!(web("coaps+ws://[::1]:9/a"), "wss://[::1]:9/.well-known/coap");
        assert_eq!(web("coap+ws://h:443"), "ws://h:443/.well-known/coap");
        assert_eq!(web("ws://h/x?y"), "ws://h:8083/x?y");
    }

    #[test]
    fn what_is_no_url_is_said() {
        for (url, word) in [
            ("h", "no URL"),
            ("http://h", "no protocol"),
            ("coaps://h", "yet"),
            ("unix:", "PATH"),
            ("mqtt://", "HOST"),
            ("mqtt://h:x", "HOST"),
            ("mqtt://h:0", "HOST"),
            ("mqtt://h:65536", "HOST"),
            ("mqtt://[::1", "HOST"),
            ("mqtt://[::1]x", "HOST"),
            ("coap://h/%zz", "percent"),
            ("coap://h/%c3", "percent"),
            ("coap://h/%c", "percent"),
        ] {
            let error = url.parse::<Target>().unwrap_err();
            assert!(error.to_string().contains(word), "{url}: {error}");
        }
    }
}
