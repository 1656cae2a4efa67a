//! The bytes of MQTT's data types (MQTT 5 §1.5), as both simulations read and write them: written apart
//! from the crate under test so that one misreading is not made twice.

/// What is left to read.
pub(super) struct Cursor<'a>(pub(super) &'a [u8]);

impl<'a> Cursor<'a> {
    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], String> {
        let (head, tail) = self.0.split_at_checked(len).ok_or("cut short")?;
        self.0 = tail;
        Ok(head)
    }

    pub(super) fn u8(&mut self) -> Result<u8, String> {
        Ok(self.take(1)?[0])
    }

    pub(super) fn u16(&mut self) -> Result<u16, String> {
        Ok(u16::from(self.u8()?) << 8 | u16::from(self.u8()?))
    }

    pub(super) fn u32(&mut self) -> Result<u32, String> {
        Ok(u32::from(self.u16()?) << 16 | u32::from(self.u16()?))
    }

    pub(super) fn data(&mut self) -> Result<Vec<u8>, String> {
        let len = usize::from(self.u16()?);
        Ok(self.take(len)?.to_vec())
    }

    pub(super) fn text(&mut self) -> Result<String, String> {
        String::from_utf8(self.data()?).map_err(|e| e.to_string())
    }

    pub(super) fn varint(&mut self) -> Result<usize, String> {
        let mut value = 0;
        for shift in [0, 7, 14, 21] {
            let byte = self.u8()?;
            value |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("a length of five bytes".into())
    }
}

pub(super) fn text(out: &mut Vec<u8>, value: &[u8]) {
    let len = u16::try_from(value.len()).expect("the script's strings are short");
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(value);
}

pub(super) fn varint(out: &mut Vec<u8>, mut value: usize) {
    loop {
        let digit = u8::try_from(value % 128).expect("below 128");
        value /= 128;
        out.push(if value > 0 { digit | 0x80 } else { digit });
        if value == 0 {
            return;
        }
    }
}

pub(super) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    varint(&mut out, body.len());
    out.extend_from_slice(body);
    out
}
