//! Representations larger than a message (RFC 7959, Block2): which part of a body leaves.
//!
//! Stateless for GET: every block is cut out of the representation that the layer above gives for
//! that very request, at any place and of any size, and carries its ETag, by which the client knows
//! that the parts are of one body (§2.4). A notification is a first block; the client asks for the
//! rest without Observe (§3.4). The size is the client's wish, or the largest that fits `block_size`.
//! What answers another method is kept (`upload`), as doing it again is no way to read it.

use alloc::format;

use motegate_message::Reason;

use super::body::Body;
use super::contract::{Code, Response};
use crate::block::{BERT, Block, LARGEST, NUMBERS, size_of, value};

/// What a message towards one peer may carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    /// Bytes of its payload.
    pub(crate) payload: usize,
    /// Several blocks of 1,024 bytes at once (RFC 8323 §6).
    pub(crate) bert: bool,
}

impl From<usize> for Room {
    fn from(payload: usize) -> Self {
        Room { payload, bert: false }
    }
}

impl Room {
    /// Exponent of the largest block that fits.
    pub(super) fn largest(self) -> u32 {
        let bert = self.bert && self.payload >= size_of(BERT);
        if bert { BERT } else { largest(self.payload) }
    }

    /// Bytes that a part of this exponent has, unless it is the last.
    fn part(self, exponent: u32) -> usize {
        let block = size_of(exponent);
        if exponent == BERT { (self.payload / block * block).max(block) } else { block }
    }
}

/// What a request says about the parts of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Wanted {
    /// Block2.
    pub(super) block: Option<Block>,
    /// Size2 (RFC 7959 §4): how large is the whole?
    pub(super) size: bool,
}

impl Wanted {
    /// For a notification of this length: its blocks are as large as the client asked for when it
    /// registered; an exponent past [`LARGEST`] says that it did not, or takes several (BERT).
    pub(super) fn first(exponent: u8, length: usize) -> Wanted {
        let exponent = u32::from(exponent);
        let several = exponent <= LARGEST && length > size_of(exponent);
        let block = several.then_some(Block { number: 0, more: false, exponent });
        Wanted { block, size: false }
    }

    /// Whether it asks for more of a body whose beginning the client has.
    pub(super) fn is_later(&self) -> bool {
        self.block.is_some_and(|block| block.number > 0)
    }
}

/// Why nothing of a body can leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoPart {
    /// More bytes than blocks can count.
    TooLarge { most: usize },
    /// The block asked for is behind the last (RFC 7959 §2.4).
    Behind { number: u32, length: usize },
}

impl NoPart {
    pub(super) const fn reason(self) -> Reason {
        match self {
            NoPart::TooLarge { .. } => Reason::TooLarge,
            NoPart::Behind { .. } => Reason::ProtocolError,
        }
    }

    /// What leaves in its place.
    pub(super) fn body(self) -> Body {
        Body::from(match self {
            NoPart::TooLarge { most } => {
                let text = format!("the representation has more than {most} bytes");
                Response::error(Code::REQUEST_ENTITY_TOO_LARGE, text)
            }
            NoPart::Behind { number, length } => {
                let text = format!("there is no block {number}: the body has {length} bytes");
                Response::error(Code::BAD_REQUEST, text)
            }
        })
    }
}

/// The largest block of at most `max` bytes.
pub(super) fn largest(max: usize) -> u32 {
    (1..=LARGEST).rev().find(|exponent| size_of(*exponent) <= max).unwrap_or(0)
}

impl Body {
    /// The part that leaves of a whole.
    pub(super) fn part(mut self, wanted: Wanted, room: impl Into<Room>) -> Result<Body, NoPart> {
        let (length, room) = (self.payload.len(), room.into());
        if self.code.class() != 2 {
            return Ok(self.shortened(room.payload));
        }
        judge(length, wanted, room)?;
        let told = u32::try_from(length).ok();
        if wanted.block.is_none() && length <= room.payload
            || length == 0 && self.code != Code::CONTENT
        {
            self.size2 = told.filter(|_| wanted.size);
            return Ok(self);
        }
        let asked = wanted.block.unwrap_or(Block { number: 0, more: false, exponent: BERT });
        // RFC 7959 §2.4: that size or a smaller one, counted in the size that is used. RFC 8323 §6: a
        // BERT option asks for as many blocks as fit.
        let exponent = asked.exponent.min(room.largest());
        let size = room.part(exponent);
        let start = asked.number as usize * size_of(asked.exponent);
        if asked.number > 0 && start >= length {
            return Err(NoPart::Behind { number: asked.number, length });
        }
        let end = length.min(start + size);
        let more = end < length;
        self.payload = self.payload.slice(start..end);
        self.block2 = Some(value(start / size_of(exponent), more, exponent));
        self.size2 = told.filter(|_| wanted.size || more && start == 0);
        Ok(self)
    }

    /// What is wrong, in a message that is not cut into blocks: a text that is too long ends early, at
    /// a whole character; of anything else the code says it all.
    pub(super) fn shortened(mut self, most: usize) -> Body {
        if self.payload.len() > most {
            let text = core::str::from_utf8(&self.payload).ok();
            let text = text.filter(|_| self.content_format.is_none());
            let end =
                text.and_then(|text| (0..=most).rev().find(|end| text.is_char_boundary(*end)));
            self.payload.truncate(end.unwrap_or(0));
            self.content_format = None;
        }
        self
    }
}

/// Whether a part of this body leaves, and more may be asked for.
pub(super) fn is_cut(body: &Body, wanted: Wanted, room: Room) -> bool {
    let part = |block: Block| room.part(block.exponent).min(room.payload);
    let asked = wanted.block.map_or(room.payload, part);
    body.code.class() == 2 && body.payload.len() > asked
}

/// Bytes of a notification that leave at once; `exponent` as in [`Wanted::first`].
pub(super) fn at_once(exponent: u8, room: Room) -> usize {
    let exponent = u32::from(exponent);
    if exponent <= LARGEST { room.payload.min(size_of(exponent)) } else { room.payload }
}

/// Whether a body of this length can be told at all, in however many parts.
pub(super) fn judge(length: usize, wanted: Wanted, room: Room) -> Result<(), NoPart> {
    let exponent = wanted.block.map_or(room.largest(), |block| block.exponent.min(room.largest()));
    let most = NUMBERS * size_of(exponent);
    if length <= most { Ok(()) } else { Err(NoPart::TooLarge { most }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use alloc::vec::Vec;
    use bytes::Bytes;

    const MAX: usize = 1_024;

    fn part(length: usize, number: u32, exponent: u32, max: usize) -> Result<Body, Code> {
        let payload: Bytes = (0_u8..251).cycle().take(length).collect();
        let response = Response { payload, ..Response::new(Code::CONTENT) };
        let block = Some(Block { number, more: false, exponent });
        let wanted = Wanted { block, size: false };
        Body::from(response).part(wanted, max).map_err(|no_part| no_part.body().code)
    }

    #[test]
    fn blocks_of_every_size_are_the_whole() {
        for (length, exponent, max) in [
            (1, 0, MAX),
            (16, 0, MAX),
            (17, 0, MAX),
            (2_000, 6, MAX),
            (2_000, 6, 200),
            (999, 3, 64),
        ] {
            let (mut whole, mut number, mut exponent) = (Vec::<u8>::new(), 0, exponent);
            loop {
                let body = part(length, number, exponent, max).unwrap();
                let block = Block::from_uint(body.block2.unwrap());
                assert!(block.exponent <= exponent && body.payload.len() <= max);
                let size = size_of(block.exponent);
                assert_eq!(block.number as usize * size, whole.len());
                assert!(body.payload.len() == size || !block.more);
                whole.extend_from_slice(&body.payload);
                if !block.more {
                    break;
                }
                exponent = block.exponent;
                number = block.number + 1;
            }
            assert!(whole.iter().copied().eq((0_u8..251).cycle().take(length)), "{length} {max}");
        }
    }

    #[test]
    fn there_is_no_block_behind_the_last() {
        assert!(part(2_048, 1, 6, MAX).is_ok());
        for (length, number, exponent) in [(2_048, 2, 6), (0, 1, 0), (5, 0xf_ffff, 6)] {
            let refused = part(length, number, exponent, MAX).unwrap_err();
            assert_eq!(refused, Code::BAD_REQUEST, "{length} {number}");
        }
        assert!(part(0, 0, 2, MAX).unwrap().payload.is_empty());
    }

    #[test]
    fn a_larger_size_than_ours_is_counted_in_ours() {
        let body = part(2_048, 1, 6, 300).unwrap();
        let block = Block::from_uint(body.block2.unwrap());
        assert_eq!((block.number, block.exponent, body.payload.len()), (4, 4, 256));
    }

    /// RFC 7252 §5.5.2: what is wrong stays what it is, however little of the text fits.
    #[test]
    fn a_long_diagnostic_ends_early() {
        let refused = |text: &str, format| {
            let mut response = Response::error(Code::BAD_REQUEST, text);
            response.content_format = format;
            let body = Body::from(response).part(Wanted::default(), 16).unwrap();
            assert_eq!(body.code, Code::BAD_REQUEST);
            (String::from_utf8(body.payload.to_vec()).unwrap(), body.content_format)
        };
        assert_eq!(refused("no such topic", None), ("no such topic".into(), None));
        assert_eq!(refused("there is no such topic", None), ("there is no such".into(), None));
        assert_eq!(refused("there is no suché", None), ("there is no such".into(), None));
        assert_eq!(refused("there is no sucé", None), ("there is no suc".into(), None));
        assert_eq!(
            refused(r#"{"a":"fourteen"}"#, Some(50)),
            (r#"{"a":"fourteen"}"#.into(), Some(50))
        );
        assert_eq!(refused(r#"{"a":"fourteens"}"#, Some(50)), (String::new(), None));
    }

    #[test]
    fn numbers_have_20_bits() {
        assert!(part(NUMBERS * 16, 0, 0, MAX).is_ok());
        let refused = part(NUMBERS * 16 + 1, 0, 0, MAX).unwrap_err();
        assert_eq!(refused, Code::REQUEST_ENTITY_TOO_LARGE);
    }
}
