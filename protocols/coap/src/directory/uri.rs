//! [`Uri`]: `coap://HOST[:PORT][/PATH]` and references to such (RFC 7252 §6.1, RFC 3986 §4).

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// Port of CoAP (RFC 7252 §6.1).
const PORT: u16 = 5683;

/// A server of CoAP over UDP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// A name in small letters, or an address without brackets; a link-local one may have a zone.
    pub host: String,
    /// Its port.
    pub port: u16,
}

/// A resource of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uri {
    /// Where.
    pub server: Server,
    /// Uri-Path options; none: the root.
    pub path: Vec<String>,
}

/// Why a text is no [`Uri`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadUri {
    /// Another scheme than `coap`, or none.
    #[error("it does not begin with coap://")]
    Scheme,
    /// No host, or a port that there is not.
    #[error("behind coap:// there is no HOST or HOST:PORT")]
    Authority,
    /// A query or a fragment.
    #[error("it has a query or a fragment")]
    Query,
    /// Bad percent-encoding, or characters that no URI has.
    #[error("it is not well percent-encoded")]
    Encoding,
}

impl Server {
    /// Whether the host is an address: a name is sent as Uri-Host, an address is not (RFC 7252 §6.4).
    #[must_use]
    pub fn is_address(&self) -> bool {
        let bare = self.host.split('%').next().unwrap_or_default();
        bare.parse::<core::net::IpAddr>().is_ok()
    }
}

impl fmt::Display for Server {
    /// As in a URI, without the port that CoAP has anyway.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "coap://{open}{}{close}", self.host.replace('%', "%25"))?;
        if self.port == PORT { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

impl Uri {
    /// Reads an absolute URI.
    ///
    /// # Errors
    /// See [`BadUri`].
    pub fn parse(text: &str) -> Result<Self, BadUri> {
        let scheme = text.get(..7).filter(|start| start.eq_ignore_ascii_case("coap://"));
        let rest = scheme.and_then(|_| text.get(7..)).ok_or(BadUri::Scheme)?;
        if rest.contains(['?', '#']) {
            return Err(BadUri::Query);
        }
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        Ok(Uri { server: server(authority)?, path: segments(path)? })
    }

    /// What a reference in a document of `server` leads to: a path stands for a resource of that
    /// server. `None` where it is of another scheme, or none at all.
    ///
    /// RFC 9176 §4.3: URIs as well as relative references, and not only of the server that was asked.
    #[must_use]
    pub fn resolve(server: &Server, reference: &str) -> Option<Self> {
        if let Some(rest) = reference.strip_prefix("//") {
            return Uri::parse(&["coap://", rest].concat()).ok();
        }
        let before_path = reference.split('/').next().unwrap_or_default();
        if before_path.contains(':') {
            return Uri::parse(reference).ok();
        }
        if reference.contains(['?', '#']) {
            return None;
        }
        // RFC 6690 §2.1: without a slash, it begins at the root.
        let path = segments(reference).ok()?;
        Some(Uri { server: server.clone(), path })
    }
}

fn server(authority: &str) -> Result<Server, BadUri> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or(BadUri::Authority)?;
            let address = decode(host)?; // RFC 6874: `%25` before a zone
            let bare = address.split('%').next().unwrap_or_default();
            bare.parse::<core::net::Ipv6Addr>().map_err(|_| BadUri::Authority)?;
            let port = match rest {
                "" => None,
                rest => Some(rest.strip_prefix(':').ok_or(BadUri::Authority)?),
            };
            (address, port)
        }
        None => {
            let (host, port) = match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            };
            // Of a name that is percent-encoded there is no address to be had.
            if host.contains(|c: char| !c.is_ascii_alphanumeric() && !"-._~!$&'()*+,;=".contains(c))
            {
                return Err(BadUri::Authority);
            }
            (host.to_ascii_lowercase(), port)
        }
    };
    let port = match port {
        None | Some("") => PORT,
        Some(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => {
            text.parse().ok().filter(|port| *port != 0).ok_or(BadUri::Authority)?
        }
        Some(_) => return Err(BadUri::Authority),
    };
    let has_host = !host.is_empty() && host.len() <= 255; // RFC 7252 §5.10: Uri-Host
    if has_host { Ok(Server { host, port }) } else { Err(BadUri::Authority) }
}

/// RFC 7252 §6.4: the empty path and `/` have no segment.
fn segments(path: &str) -> Result<Vec<String>, BadUri> {
    let path = path.strip_prefix('/').unwrap_or(path);
    if path.is_empty() { Ok(Vec::new()) } else { path.split('/').map(decode).collect() }
}

/// RFC 3986 §2.1. A segment fits an option (RFC 7252 §5.10).
fn decode(text: &str) -> Result<String, BadUri> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte <= b' ' || byte >= 0x7f || b"<>\"\\^`{|}".contains(&byte) {
            return Err(BadUri::Encoding);
        }
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16);
        let (Some(high), Some(low)) = (digit(), digit()) else { return Err(BadUri::Encoding) };
        bytes.push(u8::try_from(high << 4 | low).map_err(|_| BadUri::Encoding)?);
    }
    let text = core::str::from_utf8(&bytes).map_err(|_| BadUri::Encoding)?;
    if text.len() <= 255 { Ok(text.to_owned()) } else { Err(BadUri::Encoding) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::ToString;

    fn told(uri: Uri) -> String {
        format!("{} {}", uri.server, uri.path.join("|"))
    }

    #[test]
    fn uris_are_taken_apart() {
        for (text, parts) in [
            ("coap://rd.example.org", "coap://rd.example.org "),
            ("COAP://RD.Example.org:5683/", "coap://rd.example.org "),
            ("coap://[2001:db8::1]/rd", "coap://[2001:db8::1] rd"),
            ("coap://[fe80::1%25eth0]:61616/rd/", "coap://[fe80::1%25eth0]:61616 rd|"),
            ("coap://192.0.2.1:61616/a%2Fb/c", "coap://192.0.2.1:61616 a/b|c"),
        ] {
            assert_eq!(Uri::parse(text).map(told), Ok(parts.to_string()), "{text}");
        }
        for (text, why) in [
            ("rd.example.org", BadUri::Scheme),
            ("coaps://rd", BadUri::Scheme),
            ("coap:/rd", BadUri::Scheme),
            ("é", BadUri::Scheme),
            ("coap://", BadUri::Authority),
            ("coap:///rd", BadUri::Authority),
            ("coap://h:0", BadUri::Authority),
            ("coap://h:+1", BadUri::Authority),
            ("coap://h:65536", BadUri::Authority),
            ("coap://u@h", BadUri::Authority),
            ("coap://[::1", BadUri::Authority),
            ("coap://[::1]x", BadUri::Authority),
            ("coap://[h]", BadUri::Authority),
            ("coap://a b", BadUri::Authority),
            ("coap://a%20b", BadUri::Authority),
            ("coap://h/rd?x=1", BadUri::Query),
            ("coap://h/rd#x", BadUri::Query),
            ("coap://h/%zz", BadUri::Encoding),
            ("coap://h/%c3", BadUri::Encoding),
            ("coap://h/a b", BadUri::Encoding),
        ] {
            assert_eq!(Uri::parse(text), Err(why), "{text}");
        }
    }

    /// RFC 9176 §4.3: URIs and relative references, of this server and of others.
    #[test]
    fn references_are_resolved() {
        let server = Uri::parse("coap://h:1").unwrap().server;
        let resolved = |text: &str| Uri::resolve(&server, text).map(told);
        for (text, parts) in [
            ("/rd", "coap://h:1 rd"),
            ("/resourcedirectory/", "coap://h:1 resourcedirectory|"),
            ("rd", "coap://h:1 rd"),
            ("/", "coap://h:1 "),
            ("//other/rd", "coap://other rd"),
            ("coap://other:2/rd", "coap://other:2 rd"),
            ("/a:b", "coap://h:1 a:b"),
        ] {
            assert_eq!(resolved(text).as_deref(), Some(parts), "{text}");
        }
        for text in ["coaps://h/rd", "http://h/rd", "coap+tcp://h/rd", "/rd?x", "/%", "urn:x"] {
            assert_eq!(resolved(text), None, "{text}");
        }
    }

    #[test]
    fn an_address_is_not_sent_as_uri_host() {
        let is_address = |text: &str| Uri::parse(text).unwrap().server.is_address();
        assert!(is_address("coap://[fe80::1%25eth0]") && is_address("coap://192.0.2.1"));
        assert!(!is_address("coap://localhost"));
    }
}
