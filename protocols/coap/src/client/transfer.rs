//! Block-wise transfer in the machine: which answer is a part, and what is asked next.
//!
//! The next block of a request is an exchange of its own, with a token of its own (RFC 7959 §2.4
//! and, for an observation, which keeps its token, §2.6).

use alloc::boxed::Box;
use alloc::vec::Vec;
use motegate_timers::{Instant, Timer};

use super::blocks::{Download, Downloaded, Upload, Uploaded};
use super::{Client, Event, Flaw, Pending, Phase, Request, RequestId, Response};
use crate::block::{BERT, Block, LARGEST, size_of};
use crate::endpoint::Method;
use crate::message::Token;
use crate::options::{BLOCK1, BLOCK2};

/// What is under way of a body.
#[derive(Debug, Default)]
pub(super) struct Transfer {
    pub(super) upload: Option<Upload>,
    pub(super) download: Option<Box<Download>>,
    /// The observation whose notification is fetched.
    pub(super) of: Option<Token>,
    /// The request's body went in blocks: all of the operation carries a Request-Tag.
    pub(super) tagged: bool,
}

/// Where a request stands when an answer comes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stage {
    /// The answer is a notification.
    pub(super) notifies: bool,
    /// The observation stands behind it.
    pub(super) observes: bool,
}

impl Client {
    /// Largest block that is sent and, below 1,024, asked for: 16, 32 … 1,024 bytes. What is not
    /// such a size is rounded down (RFC 7959 §2.2). For requests made from now on. Over a connection
    /// messages are as large as both sides take unless this is called.
    pub const fn set_block_size(&mut self, bytes: usize) {
        self.block_exponent = LARGEST;
        while self.block_exponent > 0 && size_of(self.block_exponent) > bytes {
            self.block_exponent -= 1;
        }
    }

    /// Largest body of a response that is put together, in bytes; 1 MiB unless said.
    pub const fn set_max_body(&mut self, bytes: usize) {
        self.max_body = bytes;
    }

    /// Size exponent of the largest block that may come.
    const fn largest_block(&self) -> u32 {
        if self.connection.is_some() { BERT } else { LARGEST }
    }

    /// Size exponent of the blocks to ask for, where they are to be smaller than they would be.
    pub(super) fn wanted_blocks(&self) -> Option<u32> {
        (self.block_exponent < self.largest_block()).then_some(self.block_exponent)
    }

    /// How the request's body begins.
    pub(super) fn transfer(&self, request: &Request) -> Option<Box<Transfer>> {
        let length = request.payload.len();
        let by_hand = request.options.iter().any(|(number, _)| *number == BLOCK1);
        if by_hand || length <= size_of(self.block_exponent) {
            return None;
        }
        let upload = Some(Upload::new(length, self.block_exponent));
        Some(Box::new(Transfer { upload, tagged: true, ..Transfer::default() }))
    }

    /// The answer to `token`, which is still pending, and whether it is a notification; `None` when
    /// it is a part, and the next has been asked for, or there is nothing more to report.
    pub(super) fn assemble(
        &mut self,
        now: Instant,
        token: Token,
        response: Response,
        stage: Stage,
    ) -> Option<(Response, bool)> {
        // Of a message that is refused whole: one of a connection may have been larger than any block.
        let whole = if self.connection.is_some() { BERT + 1 } else { LARGEST };
        let pending = self.pending.get_mut(&token)?;
        let (class, detail) = (response.code.class(), response.code.detail());
        let block1 = response.block1.map(Block::from_uint);
        let length = pending.request.payload.len();
        let transfer = pending.transfer.get_or_insert_default();
        // A message that the server wants in smaller pieces (RFC 7959 §2.9.3).
        if let (None, None, 4, 13, Some(block)) =
            (&transfer.upload, &transfer.download, class, detail, block1)
            && size_of(block.exponent) < length
        {
            transfer.upload = Some(Upload::new(length, whole.min(block.exponent + 1)));
            transfer.tagged = true;
        }
        if let Some(upload) = &mut transfer.upload {
            match upload.answered(class, detail, block1) {
                Uploaded::Next => {
                    self.ask_next(now, token);
                    return None;
                }
                Uploaded::Broken(flaw) => {
                    self.break_off(token, flaw);
                    return None;
                }
                Uploaded::Whole => transfer.upload = None,
            }
        }
        let by_hand = pending.request.options.iter().any(|(number, _)| *number == BLOCK2);
        if by_hand {
            return Some((response, stage.notifies));
        }
        let block2 = response.block2.map(Block::from_uint);
        match &mut transfer.download {
            Some(download) => {
                let taken = download.take(response, block2, self.max_body);
                self.took(now, token, taken)
            }
            None => match block2 {
                Some(block) if block.more || block.number > 0 => {
                    self.begin_download(now, token, response, block, stage);
                    None
                }
                _ => Some((response, stage.notifies)),
            },
        }
    }

    fn begin_download(
        &mut self,
        now: Instant,
        token: Token,
        response: Response,
        block: Block,
        stage: Stage,
    ) {
        let limits = (self.max_body, self.largest_block());
        let download = match Download::begin(response, block, limits, stage.notifies) {
            Ok(download) => Some(Box::new(download)),
            Err(flaw) => return self.break_off(token, flaw),
        };
        let Some(pending) = self.pending.get_mut(&token) else { return };
        if stage.observes {
            // RFC 7959 §2.6: the observation stands, the rest is fetched beside it.
            let (id, request) = (pending.id, pending.request.clone());
            let part = Pending {
                request: Request { observe: false, ..request },
                transfer: Some(Box::new(Transfer {
                    download,
                    of: Some(token),
                    ..Transfer::default()
                })),
                ..Pending::new(id)
            };
            let part_token = self.next_token();
            self.pending.insert(part_token, part);
            self.queue.push_front(part_token);
            return self.pump(now);
        }
        if let Some(transfer) = &mut pending.transfer {
            transfer.download = download;
        }
        self.ask_next(now, token);
    }

    fn took(&mut self, now: Instant, token: Token, taken: Downloaded) -> Option<(Response, bool)> {
        match taken {
            Downloaded::Next => self.ask_next(now, token),
            Downloaded::Broken(flaw) => self.break_off(token, flaw),
            Downloaded::Whole => {
                let transfer = self.pending.get_mut(&token)?.transfer.as_deref_mut()?;
                let download = transfer.download.take()?;
                let (of, notifies) = (transfer.of, download.notifies);
                let response = download.finish();
                let Some(of) = of else { return Some((response, notifies)) };
                let request = self.remove(token)?.id;
                if response.observe.is_none() {
                    self.remove(of); // the value has gone
                }
                self.events.push_back(if notifies {
                    Event::Notification { request, response }
                } else {
                    Event::Response { request, response }
                });
            }
        }
        None
    }

    /// The same request again, under a new token, for the next part.
    pub(super) fn ask_next(&mut self, now: Instant, token: Token) {
        let Some(mut pending) = self.pending.remove(&token) else { return };
        self.outstanding.remove(&pending.message_id);
        let fresh = self.next_token();
        pending.phase = Phase::Queued;
        pending.timer = Timer::default();
        if self.tokens.get(&pending.id) == Some(&token) {
            self.tokens.insert(pending.id, fresh);
        }
        self.pending.insert(fresh, pending);
        self.queue.push_front(fresh);
        self.pump(now);
    }

    /// Nothing more can come of the request.
    pub(super) fn break_off(&mut self, token: Token, flaw: Flaw) {
        if let Some(request) = self.end(token) {
            self.events.push_back(Event::Broken { request, flaw });
        }
    }

    /// A request is over, and the observation that it was a part of.
    pub(super) fn end(&mut self, token: Token) -> Option<RequestId> {
        let pending = self.remove(token)?;
        if let Some(of) = pending.transfer.and_then(|transfer| transfer.of) {
            self.remove(of);
        }
        Some(pending.id)
    }

    /// An observation ends, or there is newer: what is being fetched for it is of no interest.
    pub(super) fn drop_parts(&mut self, of: Token) {
        let is_part = |pending: &Pending| {
            pending.transfer.as_ref().is_some_and(|transfer| transfer.of == Some(of))
        };
        let found = self.pending.iter().find(|(_, pending)| is_part(pending));
        if let Some(token) = found.map(|(token, _)| *token) {
            self.remove(token);
        }
    }
}

/// A request as it goes into one message: the part of the body and the options that say which.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) block1: Option<u32>,
    pub(super) block2: Option<u32>,
    pub(super) size1: Option<usize>,
    pub(super) tag: Option<u64>,
    pub(super) echo: Option<Vec<u8>>,
    /// Of the payload.
    pub(super) range: (usize, usize),
    pub(super) observe: Option<u32>,
}

impl Part {
    /// `ask` is the size exponent of the blocks that are asked for.
    pub(super) fn of(pending: &Pending, ask: Option<u32>) -> Part {
        let request = &pending.request;
        let observe = request.observe.then_some(0);
        let observe = if pending.deregisters { Some(1) } else { observe };
        let whole = (0, request.payload.len());
        let mut part = Part {
            block1: None,
            block2: None,
            size1: None,
            tag: None,
            echo: None,
            range: whole,
            observe,
        };
        let transfer = pending.transfer.as_deref();
        // RFC 9175 §3: the parts of two bodies for one resource are told apart, and the rest of the
        // answer is found by the tag, too.
        part.tag = transfer.filter(|transfer| transfer.tagged).map(|_| pending.id.0);
        if let Some(download) = transfer.and_then(|transfer| transfer.download.as_ref()) {
            // RFC 7959 §3.3: the body has been sent, only the answer is asked for.
            part.block2 = Some(download.option());
            part.range = (0, 0);
            part.observe = None;
            return part;
        }
        let by_hand = request.options.iter().any(|(number, _)| *number == BLOCK2);
        if !by_hand && matches!(request.method, Method::Get | Method::Fetch) {
            part.block2 = ask; // RFC 7959 §2.4: early negotiation
        }
        if let Some(upload) = transfer.and_then(|transfer| transfer.upload.as_ref()) {
            part.block1 = Some(upload.option());
            part.range = upload.range();
            part.size1 = upload.is_first().then_some(whole.1);
        }
        part
    }
}

impl Pending {
    pub(super) fn new(id: RequestId) -> Self {
        Pending {
            id,
            request: Request::new(Method::Get, ""),
            message_id: 0,
            phase: Phase::Queued,
            deregisters: false,
            pings: false,
            timer: Timer::default(),
            newest: None,
            transfer: None,
            echoes: 0,
        }
    }
}

/// For a Request-Tag (RFC 9175 §3.2: 0 to 8 bytes).
pub(super) fn tag_bytes(tag: u64) -> Vec<u8> {
    let skip = tag.leading_zeros() as usize / 8;
    tag.to_be_bytes().into_iter().skip(skip).collect()
}
