//! `motegate dev`: no configuration, nothing saved, and what to type next.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use clap::Args;
use motegate_core::Protocol;

use super::{Exit, fail};
use crate::clock::Clock;
use crate::control::ControlPlace;
use crate::gateway::Handle;
use crate::log;
use crate::notices::protocol;
use crate::run::serve;
use crate::setup::{Control, Setup};

/// Serve without configuration: nothing is saved, neighbours may connect
///
/// Listens for MQTT (1883), MQTT-SN (1885/udp) and CoAP (5683/udp) on all addresses. Anyone on
/// this machine or on a private network may connect without a login; nothing outlives the
/// program.
#[derive(Debug, Args, Default)]
pub(super) struct Dev {
    /// Serve public source addresses too (anyone who can reach this machine)
    #[arg(long)]
    expose: bool,
    /// Listen for MQTT here; port 0 takes a free one
    #[arg(long, value_name = "ADDR:PORT", value_parser = address)]
    mqtt: Option<SocketAddr>,
    /// Listen for MQTT-SN here
    #[arg(long, value_name = "ADDR:PORT", value_parser = address)]
    mqttsn: Option<SocketAddr>,
    /// Listen for CoAP here
    #[arg(long, value_name = "ADDR:PORT", value_parser = address)]
    coap: Option<SocketAddr>,
}

impl Dev {
    pub(super) fn run(self, clock: Clock) -> Exit {
        let _log = log::start("info", log::Format::Auto);
        let mut setup = Setup::dev(self.expose);
        let moved = [
            (Protocol::Mqtt, self.mqtt),
            (Protocol::MqttSn, self.mqttsn),
            (Protocol::Coap, self.coap),
        ];
        for (protocol, addr) in moved {
            if let Some(addr) = addr {
                setup.rebind(protocol, addr);
            }
        }
        setup.control = Some(Control { place: ControlPlace::Runtime, required: false });
        let gateway_id = setup.core.mqtt_sn.gateway_id;
        let greet = |handle: &Handle, millis| banner(handle, self.expose, gateway_id, millis);
        match serve(setup, None, clock, greet) {
            Ok(()) => Exit::Ok,
            Err(error) => {
                let exit = fail(Exit::Failed, &error);
                if let Some(bind) = error.taken() {
                    let option = protocol(bind.protocol).replace('-', "");
                    let next = SocketAddr::new(bind.addr.ip(), bind.addr.port().wrapping_add(1));
                    eprintln!("  try: motegate dev --{option} {next}");
                }
                exit
            }
        }
    }
}

/// An address with its port; a bare port is shown how to be one.
fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        let port = text.rsplit(':').next().and_then(|p| p.parse::<u16>().ok()).unwrap_or(0);
        format!("write 127.0.0.1:{port} for this machine, [::]:{port} for every address")
    })
}

/// What it listens on, and lines to type that work with just these ports.
fn banner(handle: &Handle, expose: bool, gateway_id: u8, millis: u64) -> String {
    let who = if expose { "anyone who can reach it" } else { "anyone on this network" };
    let mut text = format!(
        "motegate {}   DEV MODE: nothing is saved, {who} may connect\n",
        env!("CARGO_PKG_VERSION")
    );
    for bind in handle.listeners() {
        let addr = match bind.protocol {
            Protocol::Mqtt => bind.addr.to_string(),
            Protocol::MqttSn => {
                format!("{}/udp   answering SEARCHGW as gateway {gateway_id}", bind.addr)
            }
            Protocol::Coap => format!("{}/udp", bind.addr),
        };
        let _ = writeln!(text, "  {:<9} {addr}", protocol(bind.protocol));
    }
    let _ = writeln!(text, "ready in {millis} ms. Next, in other terminals:");
    if let Some(addr) = handle.address(Protocol::Mqtt) {
        let to = mosquitto_options(addr);
        let _ = writeln!(text, "  mosquitto_sub{to} -t 'site/#' -v");
        let _ = writeln!(text, "  mosquitto_pub{to} -t site/door -m closed");
    }
    if let Some(addr) = handle.address(Protocol::Coap) {
        let client = coap_client();
        let host = coap_host(addr);
        let _ = writeln!(text, "  {client} -m put -e open coap://{host}/mqtt/site/door");
        let _ = writeln!(text, "  {client} -m get coap://{host}/mqtt/site/door");
    }
    text
}

/// Nothing where the client's own defaults do.
fn mosquitto_options(addr: SocketAddr) -> String {
    let mut options = String::new();
    if !addr.ip().is_loopback() || addr.ip() != std::net::Ipv4Addr::LOCALHOST {
        let _ = write!(options, " -h {}", addr.ip());
    }
    if addr.port() != 1883 {
        let _ = write!(options, " -p {}", addr.port());
    }
    options
}

fn coap_host(addr: SocketAddr) -> String {
    match (addr.ip() == std::net::Ipv4Addr::LOCALHOST, addr.port()) {
        (true, 5683) => "localhost".to_owned(),
        (true, port) => format!("localhost:{port}"),
        (false, _) => addr.to_string(),
    }
}

/// libcoap's client by the name it has on this machine: Debian calls it after its TLS library.
fn coap_client() -> &'static str {
    let names = ["coap-client", "coap-client-notls", "coap-client-openssl", "coap-client-gnutls"];
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed = |name: &&&str| {
        std::env::split_paths(&path).any(|folder| Path::new(&folder).join(name).is_file())
    };
    names.iter().find(installed).unwrap_or(&"coap-client")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_told_only_what_they_need() {
        let usual = "127.0.0.1:1883".parse().unwrap();
        assert_eq!(mosquitto_options(usual), "");
        let moved = "127.0.0.1:40001".parse().unwrap();
        assert_eq!(mosquitto_options(moved), " -p 40001");
        assert_eq!(mosquitto_options("[::1]:1883".parse().unwrap()), " -h ::1");
        assert_eq!(coap_host("127.0.0.1:5683".parse().unwrap()), "localhost");
        assert_eq!(coap_host(moved), "localhost:40001");
        assert_eq!(coap_host("[::1]:5683".parse().unwrap()), "[::1]:5683");
    }
}
