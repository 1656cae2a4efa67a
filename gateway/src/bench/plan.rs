//! [`Plan`]: what a bench shall do, with every default filled in.

use std::time::Duration;

use motegate_mqtt::Version;

use crate::client::{Error, Scheme, Target};

use super::stamp::STAMP;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Connecting; of CoAP a ping, where it has connections the first over one.
    Conn,
    /// Publishing to nobody, until the acknowledgement.
    Pub,
    /// From few publishers to every subscriber of one topic.
    Sub,
    /// From each publisher to the subscriber of its own topic.
    Rtt,
}

impl Mode {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Mode::Conn => "conn",
            Mode::Pub => "pub",
            Mode::Sub => "sub",
            Mode::Rtt => "rtt",
        }
    }
}

/// Everything about one run.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) mode: Mode,
    /// Whom publishers talk to.
    pub(crate) from: Target,
    /// Whom subscribers talk to.
    pub(crate) to: Target,
    pub(crate) publishers: u32,
    pub(crate) subscribers: u32,
    /// Messages (connections) a second, of all publishers.
    pub(crate) rate: Option<f64>,
    /// Messages (connections) in all.
    pub(crate) count: Option<u64>,
    /// How long messages are published.
    pub(crate) time: Option<Duration>,
    /// Nothing has to move for so long, and the run ends.
    pub(crate) wait: Duration,
    /// Unfinished messages a publisher; unfinished connections.
    pub(crate) window: u32,
    /// Bytes.
    pub(crate) payload: usize,
    pub(crate) qos: u8,
    /// Of MQTT.
    pub(crate) version: Version,
    /// MQTT-SN clients share one socket, behind a forwarder's wrapper.
    pub(crate) forwarder: bool,
    /// A process to look at.
    pub(crate) pid: Option<u32>,
}

/// The longest body of CoAP over a connection here: what its clients put together.
const MAX_BODY: usize = 1 << 20;
/// The longest payload of MQTT-SN and CoAP here: one datagram that no network cuts.
const MAX_DATAGRAM_PAYLOAD: usize = 1024;
/// Where the Remaining Length of a packet ends (MQTT 5 §1.5.5).
const MAX_MQTT_PACKET: usize = 268_435_455;

impl Plan {
    /// Whether it makes sense.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.mode != Mode::Conn && self.payload < STAMP {
            return Err(Error::usage(format!(
                "--payload: at least {STAMP} bytes, they carry a number and a time"
            )));
        }
        for target in [&self.from, &self.to] {
            let udp = !target.is_stream();
            if udp && self.payload > MAX_DATAGRAM_PAYLOAD {
                return Err(Error::usage(format!(
                    "--payload: at most {MAX_DATAGRAM_PAYLOAD} bytes over UDP"
                )));
            }
            let header = 5 + target.topic().map_or(0, |topic| topic.len());
            if target.scheme == Scheme::Coap && self.payload > MAX_BODY {
                return Err(Error::usage(format!(
                    "--payload: at most {MAX_BODY} bytes by CoAP over connections"
                )));
            }
            if target.scheme == Scheme::Mqtt
                && self.payload > MAX_MQTT_PACKET.saturating_sub(header)
            {
                return Err(Error::usage(format!(
                    "--payload: no MQTT packet is longer than {MAX_MQTT_PACKET} bytes"
                )));
            }
            if target.scheme == Scheme::Coap && self.qos > 1 {
                return Err(Error::usage(
                    "--qos: CoAP has 0 (NON) and 1 (CON); over connections they are the same",
                ));
            }
            let wild = target.path.iter().any(|part| part.contains(['+', '#']));
            if wild && target.scheme != Scheme::Coap {
                return Err(Error::usage("the URL's topic holds no + or #: it is published to"));
            }
        }
        if self.forwarder && self.from.scheme != Scheme::MqttSn && self.to.scheme != Scheme::MqttSn
        {
            return Err(Error::usage("--forwarder is for mqttsn:// URLs"));
        }
        Ok(())
    }

    /// Whether the gateway answers a publish.
    pub(crate) fn acknowledges(&self) -> bool {
        self.mode == Mode::Conn || self.qos > 0 || self.from.scheme == Scheme::Coap
    }

    /// Distinct topics: one, or one a publisher.
    pub(crate) const fn topics(&self) -> u32 {
        match self.mode {
            Mode::Sub => 1,
            _ => self.publishers,
        }
    }

    /// Subscribers of each topic.
    pub(crate) fn fan_out(&self) -> u32 {
        self.subscribers / self.topics().max(1)
    }

    /// Publishers of each topic.
    pub(crate) fn fan_in(&self) -> u32 {
        self.publishers / self.topics().max(1)
    }
}
