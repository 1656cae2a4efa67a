//! Discovery by multicast, of MQTT-SN and of CoAP, and whose forwarders are served: addresses and
//! ranges of them.

use std::net::{IpAddr, SocketAddr};

use motegate_core::Config as Core;
use motegate_core::Protocol;
use motegate_core::settings::Forwarders;
use motegate_mapping::Place;
use motegate_message::{Group, Network};

use crate::Bind;
use crate::diagnostic::Code;
use crate::file::{Advertise, File};
use crate::reader::Reader;
use crate::value::{OneOrMany, Typed, Value};

impl Value for Group {
    const WHAT: &'static str =
        "ADDRESS%INTERFACE, such as 224.0.18.83%eth0, \"ff02::1:83%wpan0\" or 192.168.1.255";
    const PATTERN: &'static str =
        r"^(\[[0-9a-fA-F:.]+(%[^/ \]]{1,15})?\]:[0-9]+|[0-9a-fA-F:.]+(%[^/ :]{1,15})?(:[0-9]+)?)$";
    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

/// One of `mqttsn.forwarders`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Forwarder {
    Allow,
    Deny,
    At(Network),
}

impl Value for Forwarder {
    const WHAT: &'static str = "allow, deny, or a list of networks such as 192.168.7.0/24";
    const PATTERN: &'static str = r"^(allow|deny|[0-9a-fA-F:.]+(/[0-9]+)?)$";
    fn parse(text: &str) -> Option<Self> {
        match text {
            "allow" => Some(Forwarder::Allow),
            "deny" => Some(Forwarder::Deny),
            _ => text.parse().ok().map(Forwarder::At),
        }
    }
}

pub(crate) fn forwarders(
    reader: &mut Reader<'_>,
    values: Option<&OneOrMany<Forwarder>>,
    at: &Place,
) -> Forwarders {
    let at = at.at("forwarders");
    let values = values.map(|values| values.0.as_slice()).unwrap_or_default();
    let is_list = reader.document.node(&at.at(0)).is_some();
    let mut networks = Vec::new();
    for (i, typed) in values.iter().enumerate() {
        let place = if is_list { at.at(i) } else { at.clone() };
        match reader.typed(typed, &place) {
            Some(Forwarder::Allow) if values.len() == 1 => return Forwarders::Allow,
            Some(Forwarder::Deny) if values.len() == 1 => return Forwarders::Deny,
            Some(Forwarder::Allow | Forwarder::Deny) => {
                let text = format!("{:?} stands alone, or there is a list of networks", typed.text);
                let fix = "write `allow`, `deny` or `[NETWORK, …]`";
                reader.report(&place, Code::Value, text, fix);
            }
            Some(Forwarder::At(network)) => networks.push(network),
            None => {}
        }
    }
    if networks.is_empty() { Forwarders::Allow } else { Forwarders::From(networks) }
}

/// Where ADVERTISE goes (MQTT-SN 1.2 §6.1).
pub(crate) fn advertise(
    reader: &mut Reader<'_>,
    block: Option<&Advertise>,
    at: &Place,
    core: &mut Core,
) {
    let (at, Some(block)) = (&at.at("advertise"), block) else { return };
    if let Some(every) = reader.get(block.every.as_ref(), at, "every") {
        core.mqtt_sn.advertise_every = every;
    }
    let to = groups(reader, block.to.as_deref(), &at.at("to"));
    for (group, place) in to {
        let ip = group.addr.ip();
        // Which IPv4 address is a broadcast one depends on the interface's network.
        if ip.is_ipv6() && !ip.is_multicast() || ip.is_loopback() || ip.is_unspecified() {
            let text = format!("{ip} is neither a multicast group nor a broadcast address");
            let fix = "write one such as 224.0.18.83%eth0, \"ff02::1:83%wpan0\" or 192.168.1.255";
            reader.report(&place, Code::Value, text, fix);
        }
        core.mqtt_sn.advertise_to.push(group);
    }
}

/// The groups that listeners join (MQTT-SN 1.2 §6.1, RFC 7252 §8).
pub(crate) fn joined(
    reader: &mut Reader<'_>,
    file: &File,
    root: &Place,
    binds: &[Bind],
) -> Vec<(Protocol, Group)> {
    let sn = file.mqttsn.as_ref().and_then(|block| block.discovery_groups.as_deref());
    let coap = file.coap.as_ref().and_then(|block| block.multicast_discovery.as_deref());
    let places = [
        (Protocol::MqttSn, sn, root.at("mqttsn").at("discovery_groups")),
        (Protocol::Coap, coap, root.at("coap").at("multicast_discovery")),
    ];
    let mut all = Vec::new();
    for (protocol, written, at) in places {
        let wanted = groups(reader, written, &at);
        wanted.iter().for_each(|(group, place)| judge(reader, protocol, group, place, binds));
        all.extend(wanted.into_iter().map(|(group, _)| (protocol, group)));
    }
    all
}

/// Whether it is a group, and some listener hears it.
fn judge(
    reader: &mut Reader<'_>,
    protocol: Protocol,
    group: &Group,
    place: &Place,
    binds: &[Bind],
) {
    let (name, port, example) = match protocol {
        Protocol::Coap => ("coap", 5683, "224.0.1.187%eth0"),
        _ => ("mqttsn", 1885, "224.0.18.83%eth0"),
    };
    let ip = group.addr.ip();
    if !ip.is_multicast() {
        let text = format!("{ip} is not a multicast group");
        let fix = format!("write one from 224.0.0.0/4 or ff00::/8, such as {example}");
        reader.report(place, Code::Value, text, fix);
    } else if group.addr.port() != 0 {
        let text = "a group is heard at the port of the listener";
        let fix = "leave the port out; a listener of its own can have it";
        reader.report(place, Code::Value, text, fix);
    } else if !reader.listeners_unread && !binds.iter().any(|bind| hears(bind, protocol, ip)) {
        let (any, family) = match ip {
            IpAddr::V4(_) => ("0.0.0.0 or [::]", "an IPv4"),
            IpAddr::V6(_) => ("[::]", "an IPv6"),
        };
        let text = format!("no {name} listener hears {family} group: it takes one on {any}");
        let fix = format!(
            "a socket on one address gets only what is sent to it: write `bind: \"[::]:{port}\"`"
        );
        reader.report(place, Code::Bind, text, fix);
    }
}

fn hears(bind: &Bind, protocol: Protocol, group: IpAddr) -> bool {
    let Some(addr) = bind.addr.ip() else { return false };
    let family = match addr {
        SocketAddr::V4(_) => group.is_ipv4(),
        SocketAddr::V6(_) => true,
    };
    // One of connections hears no datagram.
    let datagrams = bind.protocol == protocol && !bind.transport.coap;
    datagrams && addr.ip().is_unspecified() && family
}

/// Each once, with its place.
fn groups(
    reader: &mut Reader<'_>,
    written: Option<&[Typed<Group>]>,
    at: &Place,
) -> Vec<(Group, Place)> {
    let mut groups: Vec<(Group, Place)> = Vec::new();
    for (i, typed) in written.unwrap_or_default().iter().enumerate() {
        let place = at.at(i);
        let Some(group) = reader.typed(typed, &place) else { continue };
        if groups.iter().any(|(known, _)| *known == group) {
            let fix = "remove one of them";
            reader.report(&place, Code::Value, format!("{group} is here twice"), fix);
        } else {
            groups.push((group, place));
        }
    }
    groups
}
