//! The seeded fuzzer, on the stable toolchain: every decoder and endpoint, the payload codecs, the
//! configuration parser and the whole core are fed valid, wounded and random inputs. Checked: no
//! panic, decode(encode(x)) = x, bounded output, and (by the binary's allocator) peak memory.
//!
//! A target with state runs in rounds of [`ROUND`] inputs, each on a new machine with its own seed, so
//! that a finding is repeated by one number. Every second round has small limits.

pub mod codecs;
pub mod connections;
pub mod core;
pub mod corpus;
pub mod endpoints;
pub mod mutate;
pub mod payloads;

use crate::sim::rng::Rng;

/// Inputs that one machine gets before a new one takes its place.
pub const ROUND: u64 = 20_000;

/// Something to fuzz.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name on the command line.
    pub name: &'static str,
    /// Its share of the inputs, in thousandths.
    pub share: u64,
    kind: Kind,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    /// One input at a time.
    Single(fn(&mut Rng) -> Result<(), String>),
    /// A machine: its chance, the number of the round, how many inputs.
    Machine(fn(&mut Rng, u64, u64) -> Result<(), String>),
}

/// Every target; the shares make 1,000.
pub const TARGETS: [Target; 14] = [
    single("mqtt-codec-3.1", 70, |rng| codecs::mqtt(rng, 0)),
    single("mqtt-codec-3.1.1", 100, |rng| codecs::mqtt(rng, 1)),
    single("mqtt-codec-5.0", 120, |rng| codecs::mqtt(rng, 2)),
    machine("mqtt-endpoint", 150, endpoints::mqtt),
    single("mqtt-sn-codec", 100, codecs::sn),
    machine("mqtt-sn-endpoint", 130, endpoints::sn),
    machine("coap-parser", 50, |rng, run, inputs| endpoints::coap(rng, run, inputs, true)),
    machine("coap-endpoint", 70, |rng, run, inputs| endpoints::coap(rng, run, inputs, false)),
    machine("coap-connections", 30, connections::coap),
    machine("core", 70, core::core),
    single("coap-properties", 10, codecs::properties),
    single("topics", 39, codecs::topics),
    machine("payloads", 60, payloads::payloads),
    single("config", 1, config),
];

const fn single(name: &'static str, share: u64, f: fn(&mut Rng) -> Result<(), String>) -> Target {
    Target { name, share, kind: Kind::Single(f) }
}

const fn machine(
    name: &'static str,
    share: u64,
    f: fn(&mut Rng, u64, u64) -> Result<(), String>,
) -> Target {
    Target { name, share, kind: Kind::Machine(f) }
}

impl Target {
    /// Runs round `round` of `seed` with at most [`ROUND`] inputs.
    ///
    /// # Errors
    /// The rule that is broken, with its input where that says something.
    pub fn round(&self, seed: u64, round: u64, inputs: u64) -> Result<(), String> {
        let name = self.name.bytes().fold(0u64, |n, b| n.wrapping_mul(31) + u64::from(b));
        let mut rng = Rng::new(seed.wrapping_mul(1_000_003) ^ name << 24 ^ round);
        match self.kind {
            Kind::Single(f) => (0..inputs).try_for_each(|_| f(&mut rng)),
            Kind::Machine(f) => f(&mut rng, round, inputs),
        }
    }
}

/// The configuration parser with wounded YAML: it may complain, with a text, but not more.
fn config(rng: &mut Rng) -> Result<(), String> {
    let mut bytes = rng.pick(&corpus::YAML).as_bytes().to_vec();
    mutate::wound(rng, &mut bytes);
    let text = String::from_utf8_lossy(&bytes);
    if text.contains("${file:") {
        return Ok(());
    }
    match motegate_config::Config::parse("fuzz.yaml", &text) {
        Ok(_) => Ok(()),
        Err(findings) if findings.to_string().is_empty() => {
            Err(format!("{text:?} is refused without a word"))
        }
        Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_are_whole() {
        assert_eq!(TARGETS.iter().map(|t| t.share).sum::<u64>(), 1000);
    }
}
