//! Bodies larger than a message, from the side of the client (RFC 7959): what has been sent of a
//! request's ([`Upload`]), what has come of a response's ([`Download`]).
//!
//! Pure arithmetic over one transfer: which block is next, whether an answer fits what came before.
//! The size is the server's to lower at any time (§2.3, §2.4), never to raise.

use alloc::vec::Vec;

use super::{Flaw, Response};
use crate::block::{BERT, Block, LARGEST, NUMBERS, size_of, value};

/// Beginnings of one transfer before it is given up: the value changes too fast, or the server
/// forgets what it has.
const ATTEMPTS: u8 = 4;
/// A request's body under way.
#[derive(Debug)]
pub(super) struct Upload {
    /// Where the block that is under way begins.
    start: usize,
    exponent: u32,
    /// Blocks of a message, of BERT (RFC 8323 §6).
    blocks: usize,
    length: usize,
    attempts: u8,
}

/// What an answer means for an upload.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Uploaded {
    /// The next block, or the first again, is to be sent.
    Next,
    /// The answer is that of the whole.
    Whole,
    Broken(Flaw),
}

impl Upload {
    pub(super) const fn new(length: usize, exponent: u32) -> Self {
        Upload { start: 0, exponent, blocks: 1, length, attempts: 1 }
    }

    pub(super) const fn fits(length: usize, exponent: u32) -> bool {
        length <= NUMBERS * size_of(exponent)
    }

    /// Makes the next message one of at most `room` bytes of body: of several blocks with `bert`.
    /// `false` where not the smallest block fits.
    pub(super) fn fit(&mut self, room: usize, bert: bool) -> bool {
        if !bert || room < size_of(BERT) {
            self.exponent = self.exponent.min(LARGEST);
        }
        while self.exponent > 0 && size_of(self.exponent) > room {
            self.exponent -= 1;
        }
        self.exponent = self.exponent.min(BERT);
        self.blocks = if self.exponent == BERT { room / size_of(BERT) } else { 1 };
        size_of(self.exponent) <= room
    }

    /// Begin and end of what is under way: a block, or those of BERT.
    pub(super) fn range(&self) -> (usize, usize) {
        let blocks = if self.exponent == BERT { self.blocks } else { 1 };
        (self.start, self.length.min(self.start + blocks * size_of(self.exponent)))
    }

    fn more(&self) -> bool {
        self.range().1 < self.length
    }

    /// The Block1 option.
    pub(super) fn option(&self) -> u32 {
        value(self.start / size_of(self.exponent), self.more(), self.exponent)
    }

    /// Whether it is the block that tells the size of all (RFC 7959 §4: Size1).
    pub(super) const fn is_first(&self) -> bool {
        self.start == 0
    }

    pub(super) fn answered(&mut self, class: u8, detail: u8, block: Option<Block>) -> Uploaded {
        match (class, detail) {
            // RFC 7959 §2.9.1
            (2, 31) => {
                if !self.more() {
                    return Uploaded::Broken(Flaw::Blocks("2.31 Continue behind the last block"));
                }
                let number = self.start / size_of(self.exponent);
                let end = self.range().1;
                let asked = block.filter(|block| block.number as usize == number);
                let Some(block) = asked else {
                    return Uploaded::Broken(Flaw::Blocks("2.31 Continue to another block"));
                };
                // RFC 7959 §2.3: a smaller size is the size from now on; the block is taken whole.
                self.exponent = self.exponent.min(block.exponent);
                self.start = end;
                Uploaded::Next
            }
            // RFC 7959 §2.9.3: too large for one message; the option says what would do.
            (4, 13) if self.start == 0 => match block {
                Some(block) if block.exponent < self.exponent => {
                    self.exponent = block.exponent;
                    self.again()
                }
                _ => Uploaded::Whole,
            },
            // RFC 7959 §2.9.2: the server lost the beginning.
            (4, 8) if self.start > 0 && self.attempts < ATTEMPTS => self.again(),
            (2, _) if self.more() => {
                Uploaded::Broken(Flaw::Blocks("the server took a part for the whole"))
            }
            _ => Uploaded::Whole,
        }
    }

    fn again(&mut self) -> Uploaded {
        self.attempts += 1;
        self.start = 0;
        if Self::fits(self.length, self.exponent) {
            Uploaded::Next
        } else {
            Uploaded::Broken(Flaw::Blocks("too many blocks of the size that the server wants"))
        }
    }
}

/// A response's body under way.
#[derive(Debug)]
pub(super) struct Download {
    /// The first answer; its payload is replaced by the whole.
    pub(super) head: Response,
    body: Vec<u8>,
    exponent: u32,
    /// The largest that may be, BERT on a connection.
    largest: u32,
    attempts: u8,
    /// It is not the first of an observation.
    pub(super) notifies: bool,
    /// Another version came: the next answer is a first block.
    restarted: bool,
}

/// What a block means for a download.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Downloaded {
    Next,
    Whole,
    Broken(Flaw),
}

impl Download {
    /// With a first block, of which more follow; at most `limit` bytes of body, in blocks of at most
    /// the exponent `largest`.
    pub(super) fn begin(
        head: Response,
        block: Block,
        (limit, largest): (usize, u32),
        notifies: bool,
    ) -> Result<Self, Flaw> {
        let exponent = block.exponent.min(largest);
        let (body, attempts, restarted) = (Vec::new(), 1, true);
        let mut download =
            Download { head, body, exponent, largest, attempts, notifies, restarted };
        let first = download.head.clone();
        match download.take(first, Some(block), limit) {
            Downloaded::Broken(flaw) => Err(flaw),
            Downloaded::Next | Downloaded::Whole => Ok(download),
        }
    }

    /// The Block2 option of the next request.
    pub(super) fn option(&self) -> u32 {
        let number = if self.restarted { 0 } else { self.body.len() / size_of(self.exponent) };
        value(number, false, self.exponent)
    }

    /// The next answer.
    pub(super) fn take(
        &mut self,
        response: Response,
        block: Option<Block>,
        limit: usize,
    ) -> Downloaded {
        let same = response.etag == self.head.etag && response.code == self.head.code;
        // RFC 7959 §2.4: blocks of different ETags are not of one body.
        if !self.restarted && !same {
            return self.restart(response);
        }
        // A body that fits a message now needs no option; behind the first block it does.
        let whole = Block { number: 0, more: false, exponent: self.largest };
        let block = match block {
            None if self.restarted => whole,
            None => return Downloaded::Broken(Flaw::Blocks("a block without its number")),
            Some(block) => block,
        };
        if self.restarted {
            self.restarted = false;
            self.body.clear();
            let observe = self.head.observe.or(response.observe);
            self.head = Response { observe, ..response.clone() };
        }
        let size = size_of(block.exponent.min(self.largest));
        if block.exponent > self.largest || block.number as usize * size != self.body.len() {
            return Downloaded::Broken(Flaw::Blocks("not the block that was asked for"));
        }
        let came = response.payload.len();
        let right = match (block.exponent, block.more) {
            // RFC 8323 §6: one or several, whole but for the last of all.
            (BERT, true) => came > 0 && came.is_multiple_of(size),
            (BERT, false) => true,
            (_, true) => came == size,
            (_, false) => came <= size,
        };
        if !right {
            return Downloaded::Broken(Flaw::Blocks("a block of another size than it says"));
        }
        let told = response.size2.unwrap_or(0) as usize;
        let len = self.body.len() + response.payload.len();
        if told.max(len) > limit || block.more && len >= NUMBERS * size {
            return Downloaded::Broken(Flaw::TooLarge { limit });
        }
        self.body.extend_from_slice(&response.payload);
        self.exponent = self.exponent.min(block.exponent);
        if block.more { Downloaded::Next } else { Downloaded::Whole }
    }

    fn restart(&mut self, response: Response) -> Downloaded {
        if response.code != self.head.code {
            // An error: the value has gone, the server lost it.
            self.head = response;
            self.body = self.head.payload.to_vec();
            self.head.observe = None;
            return Downloaded::Whole;
        }
        if self.attempts == ATTEMPTS {
            return Downloaded::Broken(Flaw::Blocks(
                "the value changes faster than it can be read",
            ));
        }
        self.attempts += 1;
        self.restarted = true;
        Downloaded::Next
    }

    /// The whole.
    pub(super) fn finish(self) -> Response {
        Response { payload: self.body.into(), ..self.head }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(number: u32, more: bool, exponent: u32) -> Block {
        Block { number, more, exponent }
    }

    #[test]
    fn an_upload_counts_in_the_size_that_the_server_wants() {
        let mut upload = Upload::new(2_100, 6);
        assert_eq!((upload.range(), upload.option()), ((0, 1_024), 0x0e));
        assert_eq!(upload.answered(2, 31, Some(block(0, true, 5))), Uploaded::Next);
        assert_eq!((upload.range(), upload.option()), ((1_024, 1_536), 0x2d));
        assert_eq!(upload.answered(2, 31, Some(block(2, true, 6))), Uploaded::Next);
        assert_eq!(upload.answered(2, 31, Some(block(3, true, 5))), Uploaded::Next);
        assert_eq!((upload.range(), upload.option()), ((2_048, 2_100), 0x45));
        assert_eq!(upload.answered(2, 4, Some(block(4, false, 5))), Uploaded::Whole);
    }

    #[test]
    fn numbers_have_20_bits() {
        assert!(Upload::fits(NUMBERS * 16, 0) && !Upload::fits(NUMBERS * 16 + 1, 0));
        let mut upload = Upload::new(NUMBERS * 16 + 1, 6);
        let flaw = upload.answered(4, 13, Some(block(0, true, 0)));
        assert!(matches!(flaw, Uploaded::Broken(_)), "{flaw:?}");
    }

    #[test]
    fn beginnings_are_counted() {
        let mut upload = Upload::new(5_000, 6);
        for _ in 1..ATTEMPTS {
            assert_eq!(upload.answered(2, 31, Some(block(0, true, 6))), Uploaded::Next);
            assert_eq!(upload.answered(4, 8, None), Uploaded::Next);
            assert!(upload.is_first());
        }
        upload.answered(2, 31, Some(block(0, true, 6)));
        assert_eq!(upload.answered(4, 8, None), Uploaded::Whole, "the error is the answer");
    }
}
