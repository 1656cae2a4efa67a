//! What `pub`, `sub` and `rr` have in common: whom to talk to, as whom, and with what will.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, Args};
use motegate_message::Qos;
use motegate_mqtt::client::{ClientConfig, ClientWill, Goodbye, Password, Reconnect};
use motegate_mqtt::{Property, PropertyBuf, Version};
use motegate_mqtt_sn::QosBits;
use motegate_mqtt_sn::client as sn;

use super::properties::{For, Properties};
use super::talk::{Color, Talk, seconds};
use super::tls::Tls;
use crate::client::{Error, Scheme, Target, Transport, random};

/// T_RETRY of a tool: a user waits, and the networks are near. MQTT-SN 1.2 §7.2 says 10 to 15 s.
const SN_RETRY: Duration = Duration::from_secs(2);
/// Connections in a row that may fail after the first.
const RECONNECTS: u32 = 100;

/// Options of every broker command; the letters are mosquitto's.
#[derive(Debug, Args)]
pub(super) struct Link {
    #[arg(
        value_name = "URL",
        help = "mqtt://[USER[:PASSWORD]@]HOST[:PORT][/TOPIC], mqtts:// the same, \
                ws:// or wss://HOST[:PORT][/PATH], unix:PATH, or mqttsn://HOST[:PORT]; instead \
                of -h and -p"
    )]
    url: Option<String>,
    /// The same as URL
    #[arg(short = 'L', long = "url", value_name = "URL", conflicts_with = "url")]
    url_option: Option<String>,
    /// Host, for MQTT [default: localhost]
    #[arg(short = 'h', long, value_name = "HOST")]
    host: Option<String>,
    /// Port [default: 1883, with TLS 8883, for mqttsn 1885]
    #[arg(short, long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// Unix domain socket of an MQTT broker, instead of host and port
    #[arg(long, value_name = "PATH", conflicts_with_all = ["url", "url_option", "host", "port"])]
    unix: Option<PathBuf>,
    /// Come from this address of this machine (MQTT)
    #[arg(short = 'A', long = "bind", value_name = "ADDR", conflicts_with = "unix")]
    bind: Option<IpAddr>,
    // It is always so: there for command lines that were written for mosquitto.
    #[arg(long, hide = true)]
    nodelay: bool,
    /// QoS 0, 1 or 2; -1 for MQTT-SN without a connection
    #[arg(
        short, long, value_name = "QOS", default_value = "0", allow_negative_numbers = true,
        value_parser = clap::value_parser!(i8).range(-1..=2)
    )]
    qos: i8,
    /// Stop after so many seconds, with exit code 27
    #[arg(short = 'W', long, value_name = "SECONDS", value_parser = seconds)]
    pub(super) wait: Option<Duration>,
    /// Show packets on stderr
    #[arg(short, long)]
    pub(super) debug: bool,
    /// Say nothing on stderr
    #[arg(long)]
    quiet: bool,

    /// User name
    #[arg(short, long, value_name = "NAME", help_heading = "Client")]
    username: Option<String>,
    /// Password
    #[arg(short = 'P', long = "pw", value_name = "PASSWORD", help_heading = "Client")]
    password: Option<String>,
    /// Prove the password by this method instead of sending it: SCRAM-SHA-256 (MQTT 5)
    #[arg(long, value_name = "METHOD", help_heading = "Client")]
    auth_method: Option<String>,
    /// Client id [default: motegate- and a random number]
    #[arg(short, long, value_name = "ID", help_heading = "Client")]
    id: Option<String>,
    /// Client id of this prefix and the process id
    #[arg(
        short = 'I',
        long,
        value_name = "PREFIX",
        conflicts_with = "id",
        help_heading = "Client"
    )]
    id_prefix: Option<String>,
    /// Keep alive in seconds; 0 is none
    #[arg(
        short,
        long = "keepalive",
        value_name = "SECONDS",
        default_value = "60",
        help_heading = "Client"
    )]
    keep_alive: u16,
    /// Keep the session: no clean start, and it does not expire (see -x)
    #[arg(short = 'c', long = "disable-clean-session", help_heading = "Client")]
    persistent: bool,
    /// Keep the session for so long after the end (MQTT 5); -1 is for ever
    #[arg(
        short = 'x', long = "session-expiry-interval", value_name = "SECONDS",
        allow_negative_numbers = true, value_parser = clap::value_parser!(i64).range(-1..=4_294_967_295),
        help_heading = "Client"
    )]
    session_expiry: Option<i64>,
    /// MQTT version: 5, 311 or 31
    #[arg(
        short = 'V', long, value_name = "VERSION", default_value = "5", value_parser = version,
        help_heading = "Client"
    )]
    protocol_version: Version,
    /// MQTT 5 property
    #[arg(
        short = 'D', long = "property", value_names = ["COMMAND", "IDENTIFIER", "VALUE"],
        num_args = 3..=4, help_heading = "Client"
    )]
    property: Vec<String>,

    /// Publish this if the connection is lost
    #[arg(long, value_name = "TOPIC", help_heading = "Will")]
    will_topic: Option<String>,
    /// Its payload
    #[arg(
        long,
        value_name = "TEXT",
        requires = "will_topic",
        allow_hyphen_values = true,
        help_heading = "Will"
    )]
    will_payload: Option<String>,
    /// Its QoS
    #[arg(
        long, value_name = "QOS", requires = "will_topic", default_value_t = 0,
        value_parser = clap::value_parser!(u8).range(0..=2), help_heading = "Will"
    )]
    will_qos: u8,
    /// It is retained
    #[arg(long, requires = "will_topic", help_heading = "Will")]
    will_retain: bool,

    #[command(flatten)]
    tls: Tls,

    #[arg(from_global)]
    color: Color,
}

impl Link {
    pub(super) fn talk(&self) -> Talk {
        Talk::new(self.quiet, self.color)
    }

    /// Host, port and perhaps login and topic; its scheme is MQTT or MQTT-SN.
    pub(super) fn target(&self) -> Result<Target, Error> {
        let url = self.url.as_ref().or(self.url_option.as_ref());
        let stray = self.properties()?.url();
        let Some(url) = url.cloned().or(stray) else {
            let host = self.host.as_deref().unwrap_or("localhost");
            let mut target = Target::new(Scheme::Mqtt, host, self.port);
            (target.socket, target.bind) = (self.unix.clone(), self.bind);
            // As in mosquitto, a file of TLS asks for TLS.
            target.tls = self.tls.credentials();
            if target.tls.is_set() {
                target = target.through(Transport::Tls, self.port);
            }
            return Ok(target);
        };
        let mut target: Target = url.parse()?;
        target.bind = self.bind;
        self.tls.apply(std::slice::from_mut(&mut target), "mqtts:// or wss://")?;
        if self.unix.is_some() {
            return Err(Error::usage("--unix names the broker already: leave out the URL"));
        }
        if self.host.is_some() {
            return Err(Error::usage("the URL names the host already: leave out -h"));
        }
        if let Some(port) = self.port {
            target.port = port;
        }
        match target.scheme {
            Scheme::Coap => Err(Error::usage(
                "CoAP has no topics: use `motegate get`, `put`, `post`, `delete` or `observe`",
            )),
            Scheme::MqttSn => self.check_for_sn(&target).map(|()| target),
            Scheme::Mqtt => Ok(target),
        }
    }

    /// MQTT-SN 1.2 has less than MQTT.
    fn check_for_sn(&self, target: &Target) -> Result<(), Error> {
        if self.bind.is_some() {
            return Err(Error::usage("-A is for MQTT: an MQTT-SN client comes from any address"));
        }
        let login = self.username.is_some() || self.password.is_some() || target.username.is_some();
        for (given, what) in [
            (login, "login (-u, -P)"),
            (self.auth_method.is_some(), "authentication method (--auth-method)"),
            (self.session_expiry.is_some(), "session expiry (-x)"),
            (!self.property.is_empty(), "properties (-D)"),
        ] {
            if given {
                return Err(Error::usage(format!("MQTT-SN 1.2 has no {what}")));
            }
        }
        Ok(())
    }

    pub(super) fn properties(&self) -> Result<Properties, Error> {
        Properties::parse(&self.property)
    }

    /// Options that name the same broker again, for a hint; no login.
    pub(super) fn again(&self) -> String {
        if let Some(path) = &self.unix {
            return format!(" --unix {}", path.display());
        }
        if self.url.is_some() || self.url_option.is_some() {
            return self.target().map_or_else(|_| String::new(), |target| format!(" {target}"));
        }
        let host = self.host.as_ref().map(|host| format!(" -h {host}"));
        let port = self.port.map(|port| format!(" -p {port}"));
        host.unwrap_or_default() + &port.unwrap_or_default()
    }

    pub(super) fn qos(&self) -> Result<Qos, Error> {
        let bits = u8::try_from(self.qos).ok();
        bits.and_then(Qos::from_bits)
            .ok_or_else(|| Error::usage("QoS -1 is MQTT-SN's: use a mqttsn:// URL"))
    }

    pub(super) fn sn_qos(&self) -> QosBits {
        match self.qos {
            -1 => QosBits::MinusOne,
            1 => QosBits::One,
            2 => QosBits::Two,
            _ => QosBits::Zero,
        }
    }

    pub(super) fn is_clean(&self) -> bool {
        !self.persistent
    }

    pub(super) fn client_id(&self) -> Result<String, Error> {
        match (&self.id, &self.id_prefix) {
            (Some(id), _) => Ok(id.clone()),
            (None, Some(prefix)) => Ok(format!("{prefix}{}", std::process::id())),
            (None, None) if self.persistent => {
                Err(Error::usage("a session that is kept (-c) needs a client id (-i)"))
            }
            (None, None) => Ok(format!("motegate-{:08x}", random() >> 32)),
        }
    }

    pub(super) fn sn_config(&self) -> Result<sn::ClientConfig, Error> {
        let long = |_| Error::usage("topic and payload of an MQTT-SN will have 64 bytes at most");
        let will = match &self.will_topic {
            None => None,
            Some(topic) => Some(sn::WillFields {
                qos: [QosBits::Zero, QosBits::One, QosBits::Two][usize::from(self.will_qos)],
                retain: self.will_retain,
                topic: topic.as_str().try_into().map_err(long)?,
                message: heapless::Vec::from_slice(self.will_payload().as_bytes()).map_err(long)?,
            }),
        };
        Ok(sn::ClientConfig {
            keep_alive_secs: self.keep_alive,
            retry_timeout: SN_RETRY,
            will,
            ..sn::ClientConfig::default()
        })
    }

    pub(super) fn mqtt_config(&self, target: &Target) -> Result<ClientConfig, Error> {
        let properties = self.properties()?;
        let username = self.username.clone().or(target.username.clone());
        let password = self.password.clone().or(target.password.clone());
        let will = self.will_topic.as_ref().map(|topic| ClientWill {
            topic: topic.clone(),
            payload: self.will_payload().into(),
            qos: Qos::from_bits(self.will_qos).unwrap_or(Qos::AtMostOnce),
            retain: self.will_retain,
            properties: properties.of(For::Will),
        });
        let v5 = self.protocol_version.is_v5();
        if !v5 && (self.session_expiry.is_some() || !self.property.is_empty()) {
            return Err(Error::usage("properties (-D) and session expiry (-x) need -V 5"));
        }
        if !v5 && self.auth_method.is_some() {
            return Err(Error::usage("an authentication method (--auth-method) needs -V 5"));
        }
        let kept = if self.persistent && v5 { u32::MAX } else { 0 };
        let mut config = ClientConfig {
            version: self.protocol_version,
            clean: !self.persistent,
            keep_alive_secs: self.keep_alive,
            session_expiry_secs: self
                .session_expiry
                .map_or(kept, |secs| u32::try_from(secs).unwrap_or(u32::MAX)),
            will,
            user_name: username,
            password: password.map(|password| Password(password.into_bytes())),
            auth_method: self.auth_method.clone(),
            manual_ack: true,
            // mosquitto 2.0.11 does not keep a lower one after a reconnection.
            receive_maximum: u16::MAX,
            // Before MQTT 5 a server cannot say how many it takes; mosquitto closes at 21 of QoS 2.
            max_inflight: 20,
            reconnect: Some(Reconnect {
                max: Duration::from_secs(30),
                attempts: Some(RECONNECTS),
                ..Reconnect::default()
            }),
            ..ClientConfig::new(&self.client_id()?)
        };
        take_connect_properties(&mut config, &properties.of(For::Connect), self.session_expiry);
        Ok(config)
    }

    /// Keeps the session for so long after a lost connection and no longer than the command runs,
    /// unless the command line says what becomes of it (MQTT 5).
    pub(super) fn outlive(&self, config: &mut ClientConfig, lost: Duration) -> Goodbye {
        let decided =
            self.persistent || self.session_expiry.is_some() || config.session_expiry_secs != 0;
        if decided || !self.is_v5() {
            return Goodbye::default();
        }
        config.session_expiry_secs = u32::try_from(lost.as_secs()).unwrap_or(u32::MAX);
        Goodbye { session_expiry_secs: Some(0), ..Goodbye::default() }
    }

    pub(super) fn is_v5(&self) -> bool {
        self.protocol_version.is_v5()
    }

    fn will_payload(&self) -> &str {
        self.will_payload.as_deref().unwrap_or_default()
    }
}

/// The client has settings of its own for some of them; -x goes before its property.
fn take_connect_properties(config: &mut ClientConfig, all: &PropertyBuf, expiry: Option<i64>) {
    for property in all.as_properties().iter() {
        match property {
            Property::SessionExpiryInterval(secs) if expiry.is_none() => {
                config.session_expiry_secs = secs;
            }
            Property::SessionExpiryInterval(_) => {}
            Property::ReceiveMaximum(max) => config.receive_maximum = max,
            Property::MaximumPacketSize(max) => config.max_packet_size = max,
            Property::TopicAliasMaximum(max) => config.topic_alias_maximum = max,
            other => {
                config.properties.push(other);
            }
        }
    }
}

/// Who subscribes has no QoS -1.
pub(super) fn subscribers_qos(arg: Arg) -> Arg {
    arg.help("QoS 0, 1 or 2").value_parser(clap::value_parser!(i8).range(0..=2))
}

fn version(text: &str) -> Result<Version, String> {
    match text.strip_prefix("mqttv").unwrap_or(text) {
        "5" | "50" | "5.0" => Ok(Version::V5),
        "311" | "3.1.1" | "4" => Ok(Version::V311),
        "31" | "3.1" | "3" => Ok(Version::V31),
        _ => Err("5, 311 or 31".to_owned()),
    }
}
