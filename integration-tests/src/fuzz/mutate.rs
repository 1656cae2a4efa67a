//! Mutation of inputs: a few small wounds each, as a bad link or a bad program would inflict them.

use crate::sim::rng::Rng;

const EDGES: [u8; 12] = [0, 1, 2, 3, 0x7f, 0x80, 0x81, 0xc0, 0xed, 0xf4, 0xfe, 0xff];

/// Random bytes, mostly few.
#[must_use]
pub fn noise(rng: &mut Rng) -> Vec<u8> {
    let len = if rng.chance(20) { rng.index(2000) } else { rng.index(40) };
    (0..len).map(|_| rng.byte()).collect()
}

/// Inflicts up to four wounds.
pub fn wound(rng: &mut Rng, bytes: &mut Vec<u8>) {
    for _ in 0..=rng.index(4) {
        let at = rng.index(bytes.len());
        match rng.below(9) {
            0 | 1 if !bytes.is_empty() => bytes[at] ^= 1 << rng.below(8),
            2 | 3 if !bytes.is_empty() => bytes[at] = *rng.pick(&EDGES),
            4 if !bytes.is_empty() => bytes[at] = rng.byte(),
            5 => bytes.truncate(at),
            6 => bytes.insert(at, rng.byte()),
            7 if !bytes.is_empty() => drop(bytes.remove(at)),
            8 if bytes.len() < 4096 => {
                let end = at + rng.index(bytes.len() - at + 1);
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            _ => {}
        }
    }
}

/// Valid, wounded or random: 3 : 6 : 1.
#[must_use]
pub fn input(rng: &mut Rng, valid: impl FnOnce(&mut Rng) -> Vec<u8>) -> Vec<u8> {
    match rng.below(10) {
        0 => noise(rng),
        1..=3 => valid(rng),
        _ => {
            let mut bytes = valid(rng);
            wound(rng, &mut bytes);
            bytes
        }
    }
}

/// For streams, where one wound ends the connection: 16 : 3 : 1.
#[must_use]
pub fn gentle(rng: &mut Rng, valid: impl FnOnce(&mut Rng) -> Vec<u8>) -> Vec<u8> {
    if rng.chance(200) { input(rng, valid) } else { valid(rng) }
}
