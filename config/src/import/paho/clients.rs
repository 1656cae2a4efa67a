//! `clients.conf`, `qos-1clients.conf`: `client,address[,flag…]` lines.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use super::super::draft::{At, Draft, Spot};
use super::super::yaml::scalar;
use super::super::{RemarkKind, Source};
use super::gateway::Settings;
use super::lines;

/// A client that is listed.
#[derive(Debug)]
pub(super) struct Client<'a> {
    pub(super) spot: Spot<'a>,
    pub(super) name: String,
    address: String,
    /// Publishes without a connection.
    pub(super) qos_minus_one: bool,
    flags: Vec<String>,
}

impl Client<'_> {
    /// Where it sends from, if that is an IP address.
    pub(super) fn ip(&self) -> Option<IpAddr> {
        let addr: SocketAddr = self.address.parse().ok()?;
        Some(addr.ip().to_canonical())
    }
}

/// All that are listed.
#[derive(Debug, Default)]
pub(super) struct Clients<'a> {
    pub(super) all: Vec<Client<'a>>,
}

impl<'a> Clients<'a> {
    pub(super) fn read(&mut self, source: Source<'a>, draft: &mut Draft) {
        let list = source.name.to_ascii_lowercase().contains("qos-1");
        for line in lines(source) {
            let text: String = line.text.chars().filter(|c| !c.is_whitespace()).collect();
            let mut fields = text.split(',').map(str::to_owned);
            let (Some(name), Some(address)) = (fields.next(), fields.next()) else {
                let text = "not a client and its address: left out";
                draft.remark(At::Users, line.spot, RemarkKind::Unknown, line.text, text);
                continue;
            };
            let flags: Vec<String> = fields.collect();
            let has = |flag: &str| flags.iter().any(|f| f == flag);
            self.all.push(Client {
                spot: line.spot,
                qos_minus_one: list || has("QoS-1"),
                name,
                address,
                flags,
            });
        }
    }

    pub(super) fn count(&self) -> String {
        match self.all.len() {
            1 => "1 client".into(),
            n => format!("{n} clients"),
        }
    }

    pub(super) fn names(&self) -> BTreeSet<String> {
        self.all.iter().map(|client| client.name.clone()).collect()
    }

    /// One remark for all, with a line for each.
    pub(super) fn write(&self, settings: &Settings<'_>, draft: &mut Draft) {
        let Some(first) = self.all.first() else { return };
        let line = |client: &Client<'_>| {
            let flags: String = client.flags.iter().map(|flag| format!(", {flag}")).collect();
            let name = scalar(&client.name);
            format!(
                "{name}: {{sn_client: {name}}}   # line {}: {}{flags}",
                client.spot.line, client.address
            )
        };
        let equivalent = self.all.iter().map(line).collect();
        let text = match settings.is_on("ClientAuthentication") {
            Some(_) => "the only ones that might connect",
            None => "not asked for (ClientAuthentication is off): every device may connect",
        };
        let text =
            format!("{text}; identities come with a later version, by name and not by address");
        let what = self.count();
        draft.remark_with(At::Users, first.spot, RemarkKind::Later, what, text, equivalent);
        for client in &self.all {
            let flag = |flag: &str| client.flags.iter().any(|f| f == flag);
            if flag("secureConnection") {
                let text = "its connection to the broker used TLS: a matter of the bridge";
                draft.remark(At::Bridges, client.spot, RemarkKind::Later, &client.name, text);
            }
            if flag("forwarder") {
                let text = "a forwarder: `mqttsn: {forwarders: [ADDRESS, …]}` takes those alone";
                draft.remark(At::MqttSn, client.spot, RemarkKind::Changed, &client.name, text);
            }
        }
    }
}
