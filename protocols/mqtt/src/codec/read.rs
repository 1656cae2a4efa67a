//! The data types of MQTT 5 §1.5, read from a slice.

use crate::error::DecodeError;

/// Which characters strings may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Utf8 {
    /// No control characters and no non-characters (a receiver may refuse them, MQTT 5 §1.5.4).
    #[default]
    Strict,
    /// All but U+0000.
    Lenient,
}

/// Reads fields from the front of a slice.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8], pub(crate) Utf8);

impl<'a> Reader<'a> {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next `len` bytes.
    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let (head, tail) = self.0.split_at_checked(len).ok_or(DecodeError::Truncated)?;
        self.0 = tail;
        Ok(head)
    }

    /// Everything that is left.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        core::mem::take(&mut self.0)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        let (first, tail) = self.0.split_first().ok_or(DecodeError::Truncated)?;
        self.0 = tail;
        Ok(*first)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, DecodeError> {
        let (head, tail) = self.0.split_first_chunk().ok_or(DecodeError::Truncated)?;
        self.0 = tail;
        Ok(u16::from_be_bytes(*head))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        let (head, tail) = self.0.split_first_chunk().ok_or(DecodeError::Truncated)?;
        self.0 = tail;
        Ok(u32::from_be_bytes(*head))
    }

    /// Variable byte integer, shortest form only. [MQTT-1.5.5-1]
    pub(crate) fn var_int(&mut self) -> Result<u32, DecodeError> {
        let (value, len) = var_int(self.0, true)?.ok_or(DecodeError::Truncated)?;
        self.take(len)?;
        Ok(value)
    }

    /// Binary data.
    pub(crate) fn binary(&mut self) -> Result<&'a [u8], DecodeError> {
        let len = self.u16()?;
        self.take(usize::from(len))
    }

    /// UTF-8 string. [MQTT-1.5.4-1, -2]
    pub(crate) fn string(&mut self) -> Result<&'a str, DecodeError> {
        text(self.binary()?, self.1)
    }

    /// What a property length announces.
    pub(crate) fn property_bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let len = self.var_int()?;
        self.take(usize::try_from(len).map_err(|_| DecodeError::Truncated)?)
    }
}

/// Reads a variable byte integer: value and length in bytes; `None` if it is not complete. The
/// remaining length of a fixed header may be padded (`shortest` false): only MQTT 5 forbids it.
pub(crate) fn var_int(bytes: &[u8], shortest: bool) -> Result<Option<(u32, usize)>, DecodeError> {
    let mut value = 0;
    for (i, byte) in bytes.iter().enumerate() {
        if i == 4 {
            return Err(DecodeError::IntegerTooLong);
        }
        value |= u32::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            if shortest && i > 0 && *byte == 0 {
                return Err(DecodeError::IntegerNotShortest);
            }
            return Ok(Some((value, i + 1)));
        }
        if i == 3 {
            return Err(DecodeError::IntegerTooLong);
        }
    }
    Ok(None)
}

/// Checks a UTF-8 string: well formed, no U+0000, and no character that `utf8` refuses.
pub(crate) fn text(bytes: &[u8], utf8: Utf8) -> Result<&str, DecodeError> {
    let text = core::str::from_utf8(bytes).map_err(|_| DecodeError::BadUtf8)?;
    let forbidden = match utf8 {
        Utf8::Strict => motegate_message::has_disallowed(text),
        Utf8::Lenient => bytes.contains(&0),
    };
    if forbidden { Err(DecodeError::ForbiddenCharacter) } else { Ok(text) }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use super::*;

    /// MQTT 5 §1.5.5, table 1-1.
    #[test]
    fn variable_byte_integers() {
        for (value, bytes) in [
            (0, &[0x00][..]),
            (127, &[0x7f]),
            (128, &[0x80, 0x01]),
            (16_383, &[0xff, 0x7f]),
            (16_384, &[0x80, 0x80, 0x01]),
            (2_097_151, &[0xff, 0xff, 0x7f]),
            (2_097_152, &[0x80, 0x80, 0x80, 0x01]),
            (268_435_455, &[0xff, 0xff, 0xff, 0x7f]),
        ] {
            assert_eq!(var_int(bytes, true), Ok(Some((value, bytes.len()))));
            assert_eq!(var_int(&bytes[..bytes.len() - 1], true), Ok(None));
        }
        assert_eq!(var_int(&[0x80, 0x00], true), Err(DecodeError::IntegerNotShortest));
        assert_eq!(var_int(&[0x80, 0x00], false), Ok(Some((0, 2))));
        // A fourth continuation bit is enough to know.
        assert_eq!(var_int(&[0xff; 4], false), Err(DecodeError::IntegerTooLong));
        assert_eq!(var_int(&[0xff; 9], true), Err(DecodeError::IntegerTooLong));
    }

    #[test]
    fn strings() {
        for good in ["", "a", "é", "\u{feff}a", "\u{a0}", "\u{10fffd}", "€", "a b"] {
            assert_eq!(text(good.as_bytes(), Utf8::Strict), Ok(good));
            assert_eq!(text(good.as_bytes(), Utf8::Lenient), Ok(good));
        }
        for bad in
            ["\0", "a\u{1}", "\u{1f}", "\u{7f}", "\u{9f}", "\u{fdd0}", "\u{ffff}", "\u{1fffe}"]
        {
            let strict = text(bad.as_bytes(), Utf8::Strict);
            assert_eq!(strict, Err(DecodeError::ForbiddenCharacter), "{bad:?}");
            let lenient = text(bad.as_bytes(), Utf8::Lenient);
            assert_eq!(lenient.is_ok(), bad != "\0", "{bad:?}");
        }
        // Surrogates, overlong forms, cut sequences.
        for bad in [&[0xed, 0xa0, 0x80][..], &[0xc0, 0x80], &[0xe2, 0x82], &[0xff]] {
            for utf8 in [Utf8::Strict, Utf8::Lenient] {
                assert_eq!(text(bad, utf8), Err(DecodeError::BadUtf8), "{bad:?}");
            }
        }
    }
}
