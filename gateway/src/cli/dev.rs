//! `motegate dev`: no configuration, nothing saved, and what to type next.

use std::fmt::Write as _;
use std::net::SocketAddr;

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
/// Listens for MQTT (1883, and 8083 over WebSocket), MQTT-SN (1885/udp) and CoAP (5683, UDP and TCP) on all
/// addresses. Anyone on this machine or on a private network may connect without a login; nothing
/// outlives the program. Ctrl-C, SIGTERM and the end of its terminal (SIGHUP) end it.
#[derive(Debug, Args, Default)]
pub(super) struct Dev {
    /// Serve public source addresses too (anyone who can reach this machine)
    #[arg(long)]
    expose: bool,
    /// Listen for MQTT here; port 0 takes a free one
    #[arg(long, value_name = "ADDR:PORT", value_parser = address)]
    mqtt: Option<SocketAddr>,
    /// Listen for MQTT over WebSocket here
    #[arg(long, value_name = "ADDR:PORT", value_parser = address)]
    ws: Option<SocketAddr>,
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
        if let Some(addr) = self.ws {
            let websocket = setup.binds.iter_mut().find(|bind| bind.word() == "ws");
            websocket.into_iter().for_each(|bind| bind.addr = addr.into());
        }
        setup.control = Some(Control { place: ControlPlace::Runtime, required: false });
        let gateway_id = setup.core.mqtt_sn.gateway_id;
        let greet = |handle: &Handle, millis| banner(handle, self.expose, gateway_id, millis);
        match serve(setup, None, clock, greet) {
            Ok(()) => Exit::Ok,
            Err(error) => {
                let exit = fail(Exit::Failed, &error);
                if let Some(bind) = error.taken() {
                    // CoAP over TCP is where CoAP is.
                    let word = bind.word().replace('-', "");
                    let option = word.trim_end_matches("+tcp");
                    if let Some(addr) = bind.addr.ip() {
                        let next = SocketAddr::new(addr.ip(), addr.port().wrapping_add(1));
                        eprintln!("  try: motegate dev --{option} {next}");
                    }
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
    let mut text = format!(
        "motegate {}   DEV MODE: nothing is saved, {} may connect\n",
        env!("CARGO_PKG_VERSION"),
        who(handle.listeners().iter().filter_map(|bind| bind.addr.ip()), expose)
    );
    for bind in handle.listeners() {
        let addr = match bind.protocol {
            Protocol::Mqtt => match &bind.transport.websocket {
                Some(web) => format!("{}   at {}", bind.addr, web.path),
                None => bind.addr.to_string(),
            },
            Protocol::MqttSn => {
                format!("{}/udp   answering SEARCHGW as gateway {gateway_id}", bind.addr)
            }
            Protocol::Coap if bind.has_datagrams() => format!("{}/udp", bind.addr),
            Protocol::Coap => bind.addr.to_string(),
        };
        let _ = writeln!(text, "  {:<9} {addr}", bind.word());
    }
    let _ = writeln!(text, "ready in {millis} ms. Next, in other terminals:");
    let mqtt = handle.address(Protocol::Mqtt);
    let coap = handle.address(Protocol::Coap);
    let motegate = as_typed(std::env::args().next());
    if let Some(addr) = mqtt {
        let _ = writeln!(text, "  {motegate} sub{} -t 'site/#' -v", mqtt_options(addr));
    }
    if let Some(addr) = coap {
        let _ = writeln!(text, "  {motegate} put coap://{}/mqtt/site/door open", coap_host(addr));
    }
    let _ = writeln!(text, "  {motegate} demo{}", demo_options(handle));
    let _ = writeln!(text, "mosquitto_sub takes the same options; coap-client works as well.");
    text
}

/// The program as it was called, if that can be typed again: `target/release/motegate`.
fn as_typed(called: Option<String>) -> String {
    let short = |called: &String| called.contains('/') && !called.starts_with('/');
    let plain =
        |called: &String| called.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
    called
        .filter(|called| short(called) && plain(called) && called.len() <= 24)
        .unwrap_or_else(|| "motegate".into())
}

/// The ports that are not the usual ones.
fn demo_options(handle: &Handle) -> String {
    let mut options = String::new();
    let all = [(Protocol::Mqtt, 1883), (Protocol::MqttSn, 1885), (Protocol::Coap, 5683)];
    for (proto, usual) in all {
        let Some(addr) = handle.address(proto) else { continue };
        if proto == Protocol::Mqtt && addr.ip() != std::net::Ipv4Addr::LOCALHOST {
            let _ = write!(options, " --host {}", addr.ip());
        }
        if addr.port() != usual {
            let _ = write!(options, " --{}-port {}", protocol(proto).replace('-', ""), addr.port());
        }
    }
    options
}

/// Whom the listeners let in.
fn who(addrs: impl IntoIterator<Item = SocketAddr>, expose: bool) -> &'static str {
    if addrs.into_iter().all(|addr| addr.ip().to_canonical().is_loopback()) {
        "anyone on this machine"
    } else if expose {
        "anyone who can reach it"
    } else {
        "anyone on this network"
    }
}

/// Nothing where the client's own defaults do.
fn mqtt_options(addr: SocketAddr) -> String {
    let mut options = String::new();
    if addr.ip() != std::net::Ipv4Addr::LOCALHOST {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_this_machine_and_nobody_else() {
        let addrs = |all: &[&str]| all.iter().map(|a| a.parse().unwrap()).collect::<Vec<_>>();
        let here = addrs(&["127.0.0.1:1", "[::1]:2", "[::ffff:127.0.0.1]:3"]);
        assert_eq!(who(here.clone(), false), "anyone on this machine");
        assert_eq!(who(here, true), "anyone on this machine");
        let one_is_open = addrs(&["127.0.0.1:1", "[::]:2"]);
        assert_eq!(who(one_is_open.clone(), false), "anyone on this network");
        assert_eq!(who(one_is_open, true), "anyone who can reach it");
    }

    #[test]
    fn the_program_is_named_as_it_was_called() {
        let said = |called: &str| as_typed(Some(called.to_owned()));
        assert_eq!(said("target/release/motegate"), "target/release/motegate");
        for other in
            ["motegate", "/usr/local/bin/motegate", "a b/motegate", "very/long/way/to/motegate"]
        {
            assert_eq!(said(other), "motegate", "{other}");
        }
    }

    #[test]
    fn clients_are_told_only_what_they_need() {
        let usual = "127.0.0.1:1883".parse().unwrap();
        assert_eq!(mqtt_options(usual), "");
        let moved = "127.0.0.1:40001".parse().unwrap();
        assert_eq!(mqtt_options(moved), " -p 40001");
        assert_eq!(mqtt_options("[::1]:1883".parse().unwrap()), " -h ::1");
        assert_eq!(coap_host("127.0.0.1:5683".parse().unwrap()), "localhost");
        assert_eq!(coap_host(moved), "localhost:40001");
        assert_eq!(coap_host("[::1]:5683".parse().unwrap()), "[::1]:5683");
    }
}
