//! `gateway.conf`: `Key=value` lines.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use motegate_message::Group;

use super::super::draft::{At, Draft, Spot};
use super::super::listener::{Listener, loopback};
use super::super::tree::waits;
use super::super::yaml::{Value, scalar};
use super::super::{RemarkKind, Source, level};
use super::clients::Clients;
use super::lines;

/// The port of that gateway where nothing else is said.
const PORT: u16 = 10_000;

/// Keys that are only remarked upon: where, why, and what to say. Keys not in here and not in
/// [`Settings::write`] are unknown.
const REMARKS: &[(&str, At, RemarkKind, &str)] = {
    use RemarkKind::{Later, Unsupported};
    &[
        (
            "AggregatingGateway",
            At::MqttSn,
            Unsupported,
            "every device has a session of its own here",
        ),
        ("RootCAfile", At::Bridges, Later, "the bridge's `tls: {ca: …}`"),
        ("RootCApath", At::Bridges, Later, "the bridge's `tls: {ca: …}`"),
        ("CertsKey", At::Bridges, Later, "the bridge's `tls: {cert: …}`"),
        ("CertKey", At::Bridges, Later, "the bridge's `tls: {cert: …}`"),
        ("PrivateKey", At::Bridges, Later, "the bridge's `tls: {key: …}`"),
        ("BrokerSecurePortNo", At::Bridges, Later, "bridges, whose port it is where they use TLS"),
        ("MQTTVersion", At::Bridges, Later, "bridges, whose version of MQTT it is"),
        ("MaxInflightMsgs", At::Bridges, Later, "bridges"),
        ("DtlsCertsKey", At::Listeners, Later, "DTLS comes with a later version"),
        ("DtlsPrivKey", At::Listeners, Later, "DTLS comes with a later version"),
        ("DTLSSharedKey", At::Listeners, Later, "DTLS comes with a later version"),
        ("Baudrate", At::Listeners, Unsupported, "there are no serial links: UDP only"),
        ("SerialDevice", At::Listeners, Unsupported, "there are no serial links: UDP only"),
        ("ApiMode", At::Listeners, Unsupported, "there are no XBee links: UDP only"),
        ("BaudrateLoRaLink", At::Listeners, Unsupported, "there are no LoRa links: UDP only"),
        ("DeviceRxLoRaLink", At::Listeners, Unsupported, "there are no LoRa links: UDP only"),
        ("DeviceTxLoRaLink", At::Listeners, Unsupported, "there are no LoRa links: UDP only"),
        ("RFCOMMAddress", At::Listeners, Unsupported, "there are no Bluetooth links: UDP only"),
        ("ShearedMemory", At::Log, Unsupported, "logs go to stderr"),
        ("SharedMemory", At::Log, Unsupported, "logs go to stderr"),
    ]
};

/// Names of files that may be given along.
const LISTS: [&str; 4] =
    ["ClientsList", "PredefinedTopicList", "QoS-1ClientsList", "ForwardersList"];

/// Keys that [`Settings::write`] knows.
const WRITTEN: [&str; 21] = [
    "GatewayID",
    "GatewayName",
    "MaxNumberOfClients",
    "KeepAlive",
    "LoginID",
    "Password",
    "BrokerName",
    "BrokerPortNo",
    "QoS-1",
    "Forwarder",
    "PredefinedTopic",
    "ClientAuthentication",
    "GatewayPortNo",
    "GatewayIPv6PortNo",
    "MulticastIP",
    "MulticastPortNo",
    "MulticastTTL",
    "MulticastIPv6",
    "MulticastIPv6PortNo",
    "MulticastIPv6If",
    "MulticastHops",
];

/// The settings, each where it stands.
#[derive(Debug, Default)]
pub(super) struct Settings<'a> {
    all: Vec<(Spot<'a>, &'a str, &'a str)>,
}

impl<'a> Settings<'a> {
    pub(super) fn read(&mut self, source: Source<'a>, draft: &mut Draft) {
        for line in lines(source) {
            let Some((key, value)) = line.text.split_once('=') else {
                let text = "neither a setting nor a comment";
                draft.remark(At::Top, line.spot, RemarkKind::Unknown, "a line", text);
                continue;
            };
            let (key, value) = (key.trim(), value.trim());
            if self.get(key).is_some() {
                let text = "set a second time: the first one holds, as it did there";
                draft.remark(At::Top, line.spot, RemarkKind::Changed, key, text);
                continue;
            }
            self.all.push((line.spot, key, value));
            self.only_remarked(line.spot, key, value, draft);
        }
    }

    fn only_remarked(&self, spot: Spot<'a>, key: &str, value: &str, draft: &mut Draft) {
        if let Some((_, at, kind, text)) = REMARKS.iter().find(|(name, ..)| *name == key) {
            // What is switched off is no loss.
            if !value.eq_ignore_ascii_case("NO") {
                let text = waits(*kind, text);
                draft.remark(*at, spot, *kind, format!("{key}={value}"), text);
            }
        } else if LISTS.contains(&key) {
            let text = "its content is imported if the file is given, too";
            draft.remark(At::Top, spot, RemarkKind::Changed, format!("{key}={value}"), text);
        } else if !WRITTEN.contains(&key) {
            let text = "the Paho gateway has no such setting";
            draft.remark(At::Top, spot, RemarkKind::Unknown, key, text);
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<(Spot<'a>, &'a str)> {
        self.all.iter().find(|(_, name, _)| *name == key).map(|(spot, _, value)| (*spot, *value))
    }

    /// Where a switch is set to YES.
    pub(super) fn is_on(&self, key: &str) -> Option<Spot<'a>> {
        self.get(key).filter(|(_, value)| value.eq_ignore_ascii_case("YES")).map(|(spot, _)| spot)
    }

    /// Whether there was a `gateway.conf`.
    pub(super) fn given(&self) -> bool {
        !self.all.is_empty()
    }

    /// Reads a number, or says that it is none.
    fn number(
        &self,
        key: &str,
        range: std::ops::RangeInclusive<u64>,
        at: At,
        draft: &mut Draft,
    ) -> Option<u64> {
        let (spot, value) = self.get(key)?;
        let number = value.parse().ok().filter(|n| range.contains(n));
        if number.is_none() {
            let text = format!("not from {} to {}: left out", range.start(), range.end());
            draft.remark(at, spot, RemarkKind::Unknown, format!("{key}={value}"), text);
        }
        number
    }

    pub(super) fn write(&self, clients: &Clients<'_>, spot: Option<Spot<'a>>, draft: &mut Draft) {
        if let Some((spot, name)) = self.get("GatewayName").filter(|(_, name)| !name.is_empty()) {
            draft.gateway.set("name", level(name));
            if level(name) != name {
                let text = "templates put the name into one level of a topic: what cannot stand \
                            there became -";
                draft.remark(At::Gateway, spot, RemarkKind::Changed, "GatewayName", text);
            }
        }
        if let Some(id) = self.number("GatewayID", 1..=255, At::Gateway, draft) {
            draft.gateway.set("sn_gateway_id", id.to_string());
        }
        let sessions = 1..=1_000_000_000;
        if let Some(count) = self.number("MaxNumberOfClients", sessions, At::Limits, draft) {
            draft.limits.set("max_sessions", count.to_string());
            if let Some((spot, _)) = self.get("MaxNumberOfClients") {
                let text =
                    "`max_sessions` counts the clients of all protocols, not of MQTT-SN only";
                draft.remark(At::Limits, spot, RemarkKind::Changed, "MaxNumberOfClients", text);
            }
        }
        if let Some((_, value)) = self.get("Forwarder") {
            let on = value.eq_ignore_ascii_case("YES");
            draft.mqttsn.set("forwarders", if on { "allow" } else { "deny" });
        }
        self.discovery(draft);
        self.broker(draft);
        self.listener(clients, spot, draft);
    }

    /// The groups that it joined are those that it advertised to.
    fn discovery(&self, draft: &mut Draft) {
        let every = self.number("KeepAlive", 1..=65_535, At::MqttSn, draft);
        let interface =
            self.get("MulticastIPv6If").map_or(String::new(), |(_, name)| format!("%{name}"));
        let six = self.get("GatewayIPv6PortNo").and_then(|_| self.get("MulticastIPv6"));
        let six = six.map(|(spot, ip)| (spot, "MulticastIPv6", format!("{ip}{interface}")));
        let four = self.get("MulticastIP").map(|(spot, ip)| (spot, "MulticastIP", ip.to_owned()));
        let (mut groups, mut to) = (Vec::new(), Vec::new());
        for (spot, key, text) in [four, six].into_iter().flatten() {
            let what = format!("{key}={text}");
            let group = text.parse::<Group>().ok().filter(|group| group.addr.ip().is_multicast());
            let Some(mut group) = group else {
                let text = "not a multicast group: left out";
                draft.remark(At::MqttSn, spot, RemarkKind::Unknown, what, text);
                continue;
            };
            groups.push(group.to_string());
            let port = if key == "MulticastIP" { "MulticastPortNo" } else { "MulticastIPv6PortNo" };
            let port = self.number(port, 1..=65_535, At::MqttSn, draft);
            group.addr.set_port(port.and_then(|port| u16::try_from(port).ok()).unwrap_or(0));
            to.push(group.to_string());
            let text = "devices are heard at the port of the listener, whatever the group's was; \
                        `%INTERFACE` behind a group says on which link";
            draft.remark(At::MqttSn, spot, RemarkKind::Changed, what, text);
        }
        for key in ["MulticastTTL", "MulticastHops"] {
            if let Some((spot, value)) = self.get(key) {
                let text = "GWINFO goes as far as SEARCHGW asks, ADVERTISE as far as it is carried";
                let what = format!("{key}={value}");
                draft.remark(At::MqttSn, spot, RemarkKind::Changed, what, text);
            }
        }
        if !groups.is_empty() {
            draft.mqttsn.set("discovery_groups", Value::Texts(groups));
            let every = every.map(|secs| ("every".to_owned(), format!("{secs}s").into()));
            let to = ("to".to_owned(), Value::Texts(to));
            draft.mqttsn.set("advertise", Value::Flow(every.into_iter().chain([to]).collect()));
        }
    }

    fn broker(&self, draft: &mut Draft) {
        let Some((spot, host)) = self.get("BrokerName") else { return };
        let port = self.number("BrokerPortNo", 1..=65_535, At::Bridges, draft).unwrap_or(1883);
        let mut parts = vec![format!("name: broker, host: {}, port: {port}", scalar(host))];
        if let Some((_, name)) = self.get("LoginID") {
            parts.push(format!("username: {}", scalar(name)));
        }
        if let Some((spot, _)) = self.get("Password") {
            parts.push("password: \"${file:secrets/broker}\"".into());
            let text = "not copied: it belongs into a file of its own";
            draft.remark(At::Bridges, spot, RemarkKind::Later, "Password", text);
        }
        let equivalent = vec![
            "bridges:".into(),
            format!("  - {{{},", parts.join(", ")),
            "     out: [{topic: \"#\", to: \"{topic}\"}], in: [{topic: \"#\", to: \"{topic}\"}]}"
                .into(),
        ];
        let text = "the gateway is a broker itself; bridges to another one come with a later \
                    version. Until then programs connect here: add a listener with \
                    `protocol: mqtt`";
        let what = format!("BrokerName={host}");
        draft.remark_with(At::Bridges, spot, RemarkKind::Later, what, text, equivalent);
    }

    fn listener(&self, clients: &Clients<'_>, spot: Option<Spot<'a>>, draft: &mut Draft) {
        let mut listener = Listener::new("field", "mqttsn");
        let (at, spot) = (At::Listener(0), spot);
        if !self.given() {
            listener.bind = loopback(PORT);
            listener.anonymous = true;
            let place = spot.and_then(|spot| draft.listen(listener, spot).map(|i| (spot, i)));
            if let Some((spot, _)) = place {
                let text = "not given: the listener is on this machine only, set its `bind`";
                draft.remark(at, spot, RemarkKind::Changed, "gateway.conf", text);
            }
            return;
        }
        let port = |key: &str, draft: &mut Draft| {
            let port = self.number(key, 1..=65_535, At::Listeners, draft)?;
            u16::try_from(port).ok()
        };
        let four = port("GatewayPortNo", draft);
        let six = port("GatewayIPv6PortNo", draft);
        let mut bind: Vec<SocketAddr> = vec![(Ipv4Addr::UNSPECIFIED, four.unwrap_or(PORT)).into()];
        match six {
            // One socket for both; which of them that gateway was built for is not in the file.
            Some(six) if six == four.unwrap_or(PORT) => {
                bind = vec![(Ipv6Addr::UNSPECIFIED, six).into()];
            }
            Some(six) => bind.push((Ipv6Addr::UNSPECIFIED, six).into()),
            None => {}
        }
        listener.bind = bind;
        let closed = self.is_on("ClientAuthentication");
        listener.anonymous = closed.is_none();
        let Some(spot) = spot else { return };
        draft.listen(listener, spot);
        if let Some(spot) = closed {
            let text = format!(
                "only the {} of clients.conf could connect; identities come with a later version, \
                 so nobody can now. `anonymous: true` opens the listener to every device",
                clients.count()
            );
            draft.remark(at, spot, RemarkKind::Later, "ClientAuthentication=YES", text);
        }
    }
}
