//! The data types of MQTT 5 §1.5, appended to a buffer.

use alloc::vec::Vec;

use crate::error::EncodeError;

/// Largest variable byte integer.
pub(crate) const MAX_VAR_INT: u32 = 268_435_455;

/// Variable byte integer in its shortest form; the caller keeps it within [`MAX_VAR_INT`].
pub(crate) fn var_int(out: &mut Vec<u8>, mut value: u32) {
    loop {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 {
            out.push(low & 0x7f);
            return;
        }
        out.push(low | 0x80);
    }
}

/// Bytes of a variable byte integer.
pub(crate) const fn var_int_len(value: usize) -> usize {
    match value {
        0..=127 => 1,
        128..=16_383 => 2,
        16_384..=2_097_151 => 3,
        _ => 4,
    }
}

/// String or binary data; the caller has checked its length.
pub(crate) fn field(out: &mut Vec<u8>, bytes: &[u8]) {
    let len = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(bytes.get(..usize::from(len)).unwrap_or(bytes));
}

/// String or binary data of the caller's.
pub(crate) fn checked_field(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), EncodeError> {
    if bytes.len() > usize::from(u16::MAX) {
        return Err(EncodeError::FieldTooLong);
    }
    field(out, bytes);
    Ok(())
}

/// A property length and the properties.
pub(crate) fn properties(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), EncodeError> {
    let len = u32::try_from(bytes.len())
        .ok()
        .filter(|len| *len <= MAX_VAR_INT)
        .ok_or(EncodeError::PacketTooLong)?;
    var_int(out, len); // [MQTT-2.2.2-1]: also when it is 0
    out.extend_from_slice(bytes);
    Ok(())
}
