//! `coap.resource_directory`: where the gateway registers itself, as what (RFC 9176).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use motegate_core::settings::Uri;
use motegate_core::{Config as Core, Protocol};
use motegate_mapping::Place;

use crate::Bind;
use crate::diagnostic::Code;
use crate::file::{self, File};
use crate::reader::Reader;
use crate::value::Typed;

/// RFC 9176 §5: `ep` and `d` have at most so many bytes.
const MAX_NAME: usize = 63;
/// What fits a Uri-Query option (RFC 7252 §5.10) behind `base=`.
const MAX_BASE: usize = 250;

/// A registration at a resource directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceDirectory {
    /// The registration resource; without a path it is to be found.
    pub uri: Uri,
    /// Name of the gateway there; `None`: that of the machine.
    pub endpoint: Option<String>,
    /// Its sector.
    pub sector: Option<String>,
    /// Lifetime of the registration in seconds, 60 or more.
    pub lifetime_secs: u32,
    /// Where clients reach the listener; `None`: as is found out.
    pub base: Option<String>,
    /// Whose resources are registered.
    pub listener: Arc<str>,
    /// How often they are looked at.
    pub links_every: Duration,
}

pub(crate) fn read(
    reader: &mut Reader<'_>,
    file: &File,
    core: &Core,
    binds: &[Bind],
) -> Option<ResourceDirectory> {
    let block = file.coap.as_ref()?.resource_directory.as_ref()?;
    let at = &Place::root().at("coap").at("resource_directory");
    let uri = uri(reader, block, at);
    let named = file.gateway.as_ref().is_some_and(|gateway| gateway.name.is_some());
    let gateway = named.then(|| core.gateway_name.to_string());
    let own = name(reader, block.endpoint.as_ref(), at, "endpoint");
    if let (None, Some(long)) = (&own, gateway.as_ref().filter(|name| name.len() > MAX_NAME)) {
        let text = format!("the gateway's name has {} bytes, an endpoint's at most 63", long.len());
        reader.report(at, Code::Value, text, "write a shorter `endpoint`");
    }
    let sector = name(reader, block.sector.as_ref(), at, "sector");
    let lifetime = reader.get(block.lifetime.as_ref(), at, "lifetime");
    let lifetime_secs = lifetime.map_or(90_000, |time| time.as_secs());
    let links_every = reader.get(block.links_every.as_ref(), at, "links_every");
    let base = base(reader, block, at);
    let listener = listener(reader, block, at, core, binds);
    if let (Some(uri), Some(listener), None) = (&uri, &listener, &base) {
        alone(reader, at, uri, listener, binds);
    }
    Some(ResourceDirectory {
        uri: uri?,
        endpoint: own.or(gateway),
        sector,
        lifetime_secs: u32::try_from(lifetime_secs).unwrap_or(u32::MAX),
        base,
        listener: listener?,
        links_every: links_every.unwrap_or(Duration::from_secs(300)),
    })
}

fn uri(reader: &mut Reader<'_>, block: &file::ResourceDirectory, at: &Place) -> Option<Uri> {
    let fix = "write `coap://HOST`, `coap://HOST:PORT` or, with the path of the registration \
               resource, `coap://HOST/PATH`; an IPv6 address stands in brackets";
    if block.uri.is_none() {
        reader.missing(at, "uri", fix);
    }
    let text = reader.get(block.uri.as_ref(), at, "uri")?;
    let place = at.at("uri");
    match Uri::parse(&text) {
        Ok(uri) if uri.server.host.parse().is_ok_and(|ip: IpAddr| ip.is_multicast()) => {
            let text = "a group has many hosts: a registration has one";
            reader.report(&place, Code::Value, text, "write the directory's own address");
            None
        }
        Ok(uri) => Some(uri),
        Err(error) => {
            reader.report(&place, Code::Value, format!("no URI of a directory: {error}"), fix);
            None
        }
    }
}

/// RFC 9176 §5: a name in the directory "MUST NOT contain any character in the inclusive ranges 0-31
/// or 127-159".
fn name(
    reader: &mut Reader<'_>,
    text: Option<&Typed<String>>,
    at: &Place,
    key: &'static str,
) -> Option<String> {
    let text = reader.get(text, at, key)?;
    let good = (1..=MAX_NAME).contains(&text.len()) && !text.chars().any(char::is_control);
    if !good {
        let what = "no name for a resource directory";
        reader.report(
            &at.at(key),
            Code::Value,
            what,
            "write 1 to 63 bytes without control characters",
        );
    }
    good.then_some(text)
}

/// RFC 9176 §5: "usually of the shape scheme://authority", without a path of its own, without query
/// and fragment, and a link-local address without a zone.
fn base(reader: &mut Reader<'_>, block: &file::ResourceDirectory, at: &Place) -> Option<String> {
    let text = reader.get(block.base.as_ref(), at, "base")?;
    let text = text.strip_suffix('/').unwrap_or(&text);
    let parts = text.split_once("://").filter(|(scheme, _)| {
        let first = scheme.starts_with(|c: char| c.is_ascii_alphabetic());
        first && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    });
    let good = parts.is_some_and(|(_, place)| {
        !place.is_empty()
            && place.chars().all(|c| c.is_ascii_graphic() && !"/?#@%<>\"\\^`{|}".contains(c))
    });
    if good && text.len() <= MAX_BASE {
        return Some(text.to_owned());
    }
    let fix = "write scheme and authority alone, such as coap://gateway.example.org:5683: at most 250 \
               bytes, no path, no query, no zone";
    reader.report(&at.at("base"), Code::Value, "no base of links", fix);
    None
}

fn listener(
    reader: &mut Reader<'_>,
    block: &file::ResourceDirectory,
    at: &Place,
    core: &Core,
    binds: &[Bind],
) -> Option<Arc<str>> {
    let mut of_coap = binds.iter().filter(|bind| bind.protocol == Protocol::Coap);
    let wanted = reader.get(block.listener.as_ref(), at, "listener");
    let place = if wanted.is_some() { at.at("listener") } else { at.clone() };
    let found = match &wanted {
        Some(name) => of_coap.find(|bind| *bind.name == **name),
        None => of_coap.clone().find(|bind| !bind.transport.coap).or_else(|| of_coap.next()),
    };
    let Some(found) = found else {
        let (text, fix) = match &wanted {
            Some(name) => (format!("no CoAP listener is named `{name}`"), "write the name of one"),
            None => ("there is no CoAP listener to register".into(), "add one to `listeners`"),
        };
        reader.unknown_listener(&place, text, fix.into());
        return None;
    };
    let settings = core.listeners.get(usize::from(found.listener.0));
    let closed = settings.and_then(|listener| {
        if !listener.anonymous {
            let fix = "add `anonymous: true` to it, or name another one here: `listener: NAME`";
            Some(("takes no anonymous clients", fix))
        } else if listener.connection_required {
            let fix = "take `connection_required` out, or name another one here: `listener: NAME`";
            Some(("shows nothing to a client without a connection", fix))
        } else {
            None
        }
    });
    if let Some((why, fix)) = closed {
        let text = format!(
            "listener `{}` {why}: a directory is told that there is a broker, and none of its topics",
            found.name
        );
        reader.report(&place, Code::NobodyMayConnect, text, fix);
    }
    Some(found.name.clone())
}

/// A listener on loopback, and a directory that is elsewhere.
fn alone(reader: &mut Reader<'_>, at: &Place, uri: &Uri, listener: &str, binds: &[Bind]) {
    let elsewhere = uri.server.host.parse().is_ok_and(|ip: IpAddr| !ip.is_loopback());
    let mut own = binds.iter().filter(|bind| *bind.name == *listener);
    if elsewhere && own.all(|bind| bind.addr.ip().is_some_and(|addr| addr.ip().is_loopback())) {
        let text = format!("only this machine reaches listener `{listener}`, which is on loopback");
        let fix =
            "write `bind: \"[::]:5683\"` for it, or the URI by which clients reach it: `base: …`";
        reader.report(at, Code::Bind, text, fix);
    }
}
