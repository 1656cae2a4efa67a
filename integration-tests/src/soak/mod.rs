//! The firmware client against the whole gateway, for days or a month of virtual time: sleep cycles,
//! a link that loses, doubles, delays and reorders, gateways that crash and start again from their
//! journal, devices that lose power.
//!
//! Each device is the [`Client`](motegate_mqtt_sn::client::Client) that runs on one: it connects
//! without CleanSession, subscribes at QoS 1 and 2, sleeps, wakes by PINGREQ or by CONNECT, publishes
//! now and then. An operator on MQTT sends commands to all of them and hears what they publish. What
//! must hold (`ledger`): whatever was acknowledged arrives, in order; at QoS 2 once; nothing is sent
//! to a sleeper, and PINGRESP comes after everything that waited when PINGREQ came.

mod device;
mod ledger;
mod operator;
mod world;

pub use self::world::World;

/// What is run.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Everything follows from it.
    pub seed: u64,
    /// How many devices.
    pub devices: usize,
    /// Virtual time, in hours.
    pub hours: u64,
    /// Seconds that a device sleeps.
    pub sleep: u16,
    /// Datagrams lost, of a thousand.
    pub loss: u64,
    /// Crashes of the gateway, evenly spread.
    pub crashes: u64,
    /// Seconds between two commands to one device, on average.
    pub pace: u64,
    /// Days after which a device loses its power once, on average; 0: never.
    pub power: u64,
    /// A deliberate fault that must be found.
    pub fault: Option<Fault>,
    /// Prints what passes between the gateway and this device.
    pub trace: Option<usize>,
}

/// A deliberate fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// PINGRESP leaves before the buffer is out.
    EarlyPingresp,
    /// Repetitions are executed again.
    NoDuplicateCheck,
    /// The disk forgets what it has stored when the gateway crashes.
    Forget,
}

impl Fault {
    /// By name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Fault> {
        match name {
            "early-pingresp" => Some(Fault::EarlyPingresp),
            "no-duplicate-check" => Some(Fault::NoDuplicateCheck),
            "forget" => Some(Fault::Forget),
            _ => None,
        }
    }
}

/// What became of it.
#[derive(Debug, Default)]
pub struct Report {
    /// The broken rule, if one was.
    pub failure: Option<String>,
    /// Messages to devices that the gateway acknowledged.
    pub commands: u64,
    /// Readings of devices that the gateway acknowledged.
    pub readings: u64,
    /// Awakenings that were answered.
    pub awakenings: u64,
    /// Times that a device lost its connection and made another.
    pub lost: u64,
    /// Times that a device lost its power.
    pub powerless: u64,
    /// Datagrams, and how many were lost.
    pub datagrams: (u64, u64),
    /// Crashes of the gateway.
    pub crashes: u64,
}
