//! CoAP on a byte stream (RFC 8323 §3.2) as the scripted client needs it, written apart from the crate
//! under test: frames, signals, and the numbers of blocks (RFC 7959 §2.2, RFC 8323 §6).

use super::super::coap_wire::Message;

/// 7.01, Capabilities and Settings.
pub const CSM: u8 = 0xe1;
/// 7.02.
pub const PING: u8 = 0xe2;
/// 7.03.
pub const PONG: u8 = 0xe3;
/// 7.04.
pub const RELEASE: u8 = 0xe4;
/// 7.05.
pub const ABORT: u8 = 0xe5;

/// Max-Message-Size of a CSM, Custody of Ping and Pong.
pub const FIRST: u16 = 2;
/// Block-Wise-Transfer of a CSM.
pub const BLOCK_WISE: u16 = 4;
/// What a message has at most where nothing was said (RFC 8323 §5.3.1).
pub const BASE: usize = 1152;
/// The exponent of several blocks at once.
pub const BERT: u8 = 7;

/// A message as it stands on a stream; kind and message id are not there.
#[must_use]
pub fn encode(message: &Message) -> Vec<u8> {
    let content = message.content();
    let length = u32::try_from(content.len()).expect("short");
    let (nibble, more) = match length {
        0..13 => (u8::try_from(length).unwrap_or(0), Vec::new()),
        13..269 => (13, vec![u8::try_from(length - 13).unwrap_or(0)]),
        269..65_805 => (14, u16::try_from(length - 269).unwrap_or(0).to_be_bytes().to_vec()),
        _ => (15, (length - 65_805).to_be_bytes().to_vec()),
    };
    let tkl = u8::try_from(message.token.len()).expect("at most 8");
    let mut out = vec![nibble << 4 | tkl];
    out.extend_from_slice(&more);
    out.push(message.code);
    out.extend_from_slice(&message.token);
    out.extend_from_slice(&content);
    out
}

/// Bytes of the first message, when it is there whole.
#[must_use]
pub fn length(bytes: &[u8]) -> Option<usize> {
    let (first, rest) = bytes.split_first()?;
    let number =
        |n: usize| rest.get(..n).map(|b| b.iter().fold(0, |sum, b| sum << 8 | usize::from(*b)));
    let (more, content) = match first >> 4 {
        13 => (1, 13 + number(1)?),
        14 => (2, 269 + number(2)?),
        15 => (4, 65_805 + number(4)?),
        short => (0, usize::from(short)),
    };
    let whole = 1 + more + 1 + usize::from(first & 15) + content;
    (whole <= bytes.len()).then_some(whole)
}

/// Takes the first message off `bytes`, and says how long it was; `Ok(None)` when it is not whole yet.
///
/// # Errors
/// Bytes that no gateway may send.
pub fn take(bytes: &mut Vec<u8>) -> Result<Option<(Message, usize)>, String> {
    let tkl = usize::from(bytes.first().map_or(0, |first| first & 15));
    if tkl > 8 {
        return Err("token length".into());
    }
    let Some(whole) = length(bytes) else { return Ok(None) };
    let taken: Vec<u8> = bytes.drain(..whole).collect();
    let head = match taken[0] >> 4 {
        13 => 2,
        14 => 3,
        15 => 5,
        _ => 1,
    };
    let (token, content) = taken[head + 1..].split_at(tkl);
    let mut message = Message { code: taken[head], token: token.to_vec(), ..Message::default() };
    message.read_content(content).map_err(|e| format!("{e}: {taken:02x?}"))?;
    Ok(Some((message, whole)))
}

/// The value of an option that is a number (RFC 7252 §3.2).
#[must_use]
pub fn uint(value: u32) -> Vec<u8> {
    let zeros = usize::try_from(value.leading_zeros() / 8).unwrap_or(0);
    value.to_be_bytes()[zeros..].to_vec()
}

/// A block: where it begins, whether more follow, exponent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// Byte that it begins with.
    pub at: usize,
    /// More follow.
    pub more: bool,
    /// 0 to 6 of 16 to 1024 bytes; 7: several of 1024.
    pub exponent: u8,
}

impl Block {
    /// Bytes that its number counts.
    #[must_use]
    pub fn unit(exponent: u8) -> usize {
        16 << exponent.min(6)
    }

    /// The option's value.
    #[must_use]
    pub fn value(self) -> Vec<u8> {
        let number = u32::try_from(self.at / Block::unit(self.exponent)).unwrap_or(0);
        uint(number << 4 | u32::from(self.more) << 3 | u32::from(self.exponent))
    }

    /// From its value.
    #[must_use]
    pub fn of(value: &[u8]) -> Block {
        let value = value.iter().fold(0u32, |sum, byte| sum << 8 | u32::from(*byte));
        let exponent = u8::try_from(value & 7).unwrap_or(0);
        let number = usize::try_from(value >> 4).unwrap_or(0);
        Block { at: number * Block::unit(exponent), more: value & 8 != 0, exponent }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_each_length() {
        for (length, first) in
            [(0, 0x01), (12, 0xC1), (13, 0xD1), (268, 0xD1), (269, 0xE1), (70_000, 0xF1)]
        {
            // A marker is a byte of the content, too.
            let payload = vec![b'x'; usize::max(length, 1) - 1];
            let message = Message { code: 0x45, token: vec![7], payload, ..Message::default() };
            let mut bytes = encode(&message);
            let whole = bytes.len();
            let marked = if message.payload.is_empty() { 0x01 } else { first };
            assert_eq!(bytes[0], marked, "{length}");
            bytes.push(9);
            assert_eq!(take(&mut bytes), Ok(Some((message, whole))));
            assert_eq!((take(&mut bytes), bytes), (Err("token length".into()), vec![9]));
        }
    }

    #[test]
    fn blocks() {
        let bert = Block { at: 3 * 1024, more: true, exponent: BERT };
        assert_eq!(bert.value(), [0x3F]);
        assert_eq!(Block::of(&bert.value()), bert);
        assert_eq!(Block { at: 0, more: false, exponent: 0 }.value(), [0u8; 0]);
        assert_eq!(Block::of(&[1, 0x06]), Block { at: 16 * 1024, more: false, exponent: 6 });
    }
}
