//! [`Block`]: the value of Block1 and Block2 (RFC 7959 §2.2), and what it counts. Both halves use it;
//! what a block means for a transfer is `endpoint::block`'s and `client::blocks`'.

/// Size exponent of 1,024 bytes, the largest of datagrams.
pub(crate) const LARGEST: u32 = 6;
/// Size exponent of a message that holds several blocks of 1,024 bytes, on a connection (RFC 8323 §6);
/// elsewhere it is reserved.
pub(crate) const BERT: u32 = 7;
/// Number of blocks that the option can count: 20 bits.
pub(crate) const NUMBERS: usize = 1 << 20;

/// Bytes of a block of this exponent; of BERT, of each of its blocks.
pub(crate) const fn size_of(exponent: u32) -> usize {
    if exponent < BERT { 16 << exponent } else { 16 << LARGEST }
}

/// A Block1 or Block2 value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) number: u32,
    pub(crate) more: bool,
    /// Size exponent.
    pub(crate) exponent: u32,
}

impl Block {
    pub(crate) const fn from_uint(value: u32) -> Self {
        Block { number: value >> 4, more: value & 8 != 0, exponent: value & 7 }
    }

    /// Bytes of each block but the last.
    pub(crate) const fn size(self) -> usize {
        size_of(self.exponent)
    }

    /// Where it stands in the body.
    pub(crate) const fn start(self) -> usize {
        self.number as usize * self.size()
    }
}

/// The option's value, of format uint.
pub(crate) fn value(number: usize, more: bool, exponent: u32) -> u32 {
    let number = u32::try_from(number).unwrap_or(u32::MAX) & 0xf_ffff;
    number << 4 | u32::from(more) << 3 | exponent
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_take_apart() {
        let block = Block::from_uint(0x00ff_fffe);
        assert_eq!(block, Block { number: 0xf_ffff, more: true, exponent: 6 });
        assert_eq!(value(0xf_ffff, true, 6), 0x00ff_fffe);
    }
}
