//! `motegate demo`: simulated devices of all protocols on a running gateway.

use std::time::Duration;

use clap::Args;

use super::Exit;
use super::talk::{Color, Talk, bounded, drive, seconds};
use crate::client::{Error, Scheme, Target};
use crate::clock::Clock;
use crate::demo::{self, Places};

/// Watch sleepy sensors, CoAP nodes and an MQTT panel talk through the gateway
#[derive(Debug, Args)]
#[command(after_help = "\
Three MQTT-SN sensors sleep most of the time, a CoAP door reports, a CoAP lamp
obeys, an MQTT panel watches and gives orders, all under demo/#. A line tells
who sent what to whom when it arrived; what waited for a sleeper says how long.

Examples:
  motegate demo
  motegate demo --seconds 20 --host gateway.lan
  motegate sub -t 'demo/#' -v          meanwhile, in another terminal")]
pub(super) struct Demo {
    /// How long
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    seconds: Duration,
    /// The gateway
    #[arg(long, value_name = "HOST", default_value = "localhost")]
    host: String,
    /// Its port for MQTT [default: 1883]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    mqtt_port: Option<u16>,
    /// Its port for MQTT-SN [default: 1885]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    mqttsn_port: Option<u16>,
    /// Its port for CoAP [default: 5683]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    coap_port: Option<u16>,
    #[arg(from_global)]
    color: Color,
}

/// What helps, in this command's options.
fn hint(error: &Error) -> Option<&str> {
    match error {
        Error::NothingListens { .. } => Some(
            "`motegate dev` starts a gateway; --host, --mqtt-port, --mqttsn-port and --coap-port \
             name another",
        ),
        Error::NoSuchHost { .. } => {
            Some("check the spelling, or give an address: --host 192.168.1.10")
        }
        Error::TimedOut { .. } => Some("check --host, the ports and the firewall"),
        Error::Protocol(_) => Some("is another protocol spoken on this port?"),
        other => other.hint(),
    }
}

impl Demo {
    pub(super) fn run(self, clock: Clock) -> Exit {
        let talk = Talk::new(false, self.color);
        let places = Places {
            mqtt: Target::new(Scheme::Mqtt, &self.host, self.mqtt_port),
            mqtt_sn: Target::new(Scheme::MqttSn, &self.host, self.mqttsn_port),
            coap: Target::new(Scheme::Coap, &self.host, self.coap_port),
        };
        let end = async {
            let time = async {
                tokio::time::sleep(self.seconds).await;
                Ok(())
            };
            let _ = bounded(None, "", time).await; // or a signal, as good an end
        };
        talk.end_with(drive(demo::run(&places, clock, end)), hint)
    }
}
