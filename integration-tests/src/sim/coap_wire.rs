//! CoAP messages (RFC 7252 §3) as the scripted client needs them, written apart from the crate
//! under test.

/// Confirmable.
pub const CON: u8 = 0;
/// Non-confirmable.
pub const NON: u8 = 1;
/// Acknowledgement.
pub const ACK: u8 = 2;
/// Reset.
pub const RST: u8 = 3;

/// GET.
pub const GET: u8 = 1;
/// POST.
pub const POST: u8 = 2;
/// PUT.
pub const PUT: u8 = 3;
/// DELETE.
pub const DELETE: u8 = 4;
/// FETCH (RFC 8132 §2).
pub const FETCH: u8 = 5;
/// iPATCH (RFC 8132 §3).
pub const IPATCH: u8 = 7;

/// Observe (RFC 7641 §2).
pub const OBSERVE: u16 = 6;
/// Content-Format (RFC 7252 §5.10.3).
pub const CONTENT_FORMAT: u16 = 12;
/// ETag (RFC 7252 §5.10.6).
pub const ETAG: u16 = 4;
/// Location-Path (RFC 7252 §5.10.7).
pub const LOCATION_PATH: u16 = 8;
/// Uri-Path (RFC 7252 §5.10.1).
pub const URI_PATH: u16 = 11;
/// Block2 (RFC 7959 §2.1).
pub const BLOCK2: u16 = 23;
/// Block1 (RFC 7959 §2.1).
pub const BLOCK1: u16 = 27;
/// Echo (RFC 9175 §2.2.1).
pub const ECHO: u16 = 252;

/// A CoAP message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Message {
    /// CON, NON, ACK, RST.
    pub kind: u8,
    /// Class and detail.
    pub code: u8,
    /// Message id.
    pub mid: u16,
    /// 0 to 8 bytes.
    pub token: Vec<u8>,
    /// In ascending order of number.
    pub options: Vec<(u16, Vec<u8>)>,
    /// Body.
    pub payload: Vec<u8>,
}

impl Message {
    /// Value of an option.
    #[must_use]
    pub fn option(&self, wanted: u16) -> Option<&[u8]> {
        self.options.iter().find(|(number, _)| *number == wanted).map(|(_, value)| value.as_slice())
    }

    /// Value of the Observe option.
    #[must_use]
    pub fn observe(&self) -> Option<u32> {
        Some(self.option(OBSERVE)?.iter().fold(0, |n, b| n << 8 | u32::from(*b)))
    }

    /// Writes the message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let tkl = u8::try_from(self.token.len()).expect("at most 8");
        let mut out = vec![0x40 | self.kind << 4 | tkl, self.code];
        out.extend_from_slice(&self.mid.to_be_bytes());
        out.extend_from_slice(&self.token);
        out.extend_from_slice(&self.content());
        out
    }

    /// What follows the token: options and payload.
    #[must_use]
    pub fn content(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut last = 0;
        for (number, value) in &self.options {
            let (delta, delta_more) = nibble(number - last);
            let (len, len_more) = nibble(u16::try_from(value.len()).expect("short"));
            out.push(delta << 4 | len);
            out.extend_from_slice(&delta_more);
            out.extend_from_slice(&len_more);
            out.extend_from_slice(value);
            last = *number;
        }
        if !self.payload.is_empty() {
            out.push(0xff);
            out.extend_from_slice(&self.payload);
        }
        out
    }

    /// The other way round.
    ///
    /// # Errors
    /// Bytes that no gateway may send.
    pub fn read_content(&mut self, mut rest: &[u8]) -> Result<(), String> {
        let mut number = 0u16;
        while let Some((head, tail)) = rest.split_first() {
            rest = tail;
            if *head == 0xff {
                if rest.is_empty() {
                    return Err("marker without payload".into());
                }
                self.payload = rest.to_vec();
                break;
            }
            let delta = extended(head >> 4, &mut rest)?;
            let len = extended(head & 15, &mut rest)?;
            number = number.checked_add(delta).ok_or("option number")?;
            let (value, tail) = rest.split_at_checked(usize::from(len)).ok_or("option cut")?;
            self.options.push((number, value.to_vec()));
            rest = tail;
        }
        Ok(())
    }
}

fn nibble(value: u16) -> (u8, Vec<u8>) {
    match value {
        0..=12 => (u8::try_from(value).unwrap_or(0), Vec::new()),
        13..=268 => (13, vec![u8::try_from(value - 13).unwrap_or(0)]),
        _ => (14, (value - 269).to_be_bytes().to_vec()),
    }
}

/// Reads one datagram.
///
/// # Errors
/// Bytes that no gateway may send.
pub fn decode(bytes: &[u8]) -> Result<Message, String> {
    let [first, code, m1, m2, rest @ ..] = bytes else { return Err("shorter than 4".into()) };
    if first >> 6 != 1 {
        return Err("version".into());
    }
    let tkl = usize::from(first & 15);
    if tkl > 8 {
        return Err("token length".into());
    }
    let (token, rest) = rest.split_at_checked(tkl).ok_or("token cut")?;
    let mut message = Message {
        kind: first >> 4 & 3,
        code: *code,
        mid: u16::from_be_bytes([*m1, *m2]),
        token: token.to_vec(),
        ..Message::default()
    };
    message.read_content(rest)?;
    if message.code == 0 && bytes.len() != 4 {
        return Err("an empty message with bytes".into());
    }
    Ok(message)
}

fn extended(nibble: u8, rest: &mut &[u8]) -> Result<u16, String> {
    let take = |rest: &mut &[u8], len: usize| {
        let (head, tail) = rest.split_at_checked(len).ok_or("option cut")?;
        *rest = tail;
        Ok::<_, String>(head.iter().fold(0u32, |n, b| n << 8 | u32::from(*b)))
    };
    let value = match nibble {
        0..=12 => u32::from(nibble),
        13 => take(rest, 1)? + 13,
        14 => take(rest, 2)? + 269,
        _ => return Err("nibble 15".into()),
    };
    u16::try_from(value).map_err(|e| e.to_string())
}
