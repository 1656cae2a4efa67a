//! The requester: PUT, POST, DELETE and GET of values, pipelined, bodies whole or in blocks.

use super::super::coap_wire::{BLOCK1, BLOCK2, DELETE, ETAG, GET, Message, POST, PUT};
use super::super::ctx::{Ctx, Micros, SEC, TOPICS, retained_topic};
use super::super::model::{MsgId, Origin};
use super::frames::{BERT, Block};
use super::{Asked, Client, PIPELINED, What, dotted, value_path, with};

/// Bytes of a message beside its payload, at most.
const HEAD: usize = 150;
/// Bodies in blocks at once, at most; the gateway takes one more from a peer.
const UPLOADS: usize = 3;
/// Blocks of a body, at most.
const BLOCKS: usize = 24;
/// Times that a body is begun anew because its value has changed meanwhile.
const ANEW: u32 = 30;

/// A value on its way to the gateway.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) id: MsgId,
    code: u8,
    pub(super) topic: String,
    body: Vec<u8>,
    upload: Option<Upload>,
}

/// A body of which a part is under way.
#[derive(Debug)]
struct Upload {
    /// Where that part begins, and how long it is.
    at: usize,
    part: usize,
    exponent: u8,
    /// When it began, and how often the gateway had died by then.
    since: Micros,
    crashes: u32,
    /// It goes on where another connection has begun.
    elsewhere: bool,
}

impl Write {
    fn more(&self) -> bool {
        self.upload.as_ref().is_some_and(|u| u.at + u.part < self.body.len())
    }

    /// Whether the gateway may have had all of it.
    fn may_be_done(&self) -> bool {
        !self.more()
    }

    fn block(&self) -> Option<Vec<u8>> {
        let upload = self.upload.as_ref()?;
        let block = Block { at: upload.at, more: self.more(), exponent: upload.exponent };
        Some(block.value())
    }

    fn part(&self) -> Vec<u8> {
        let Some(upload) = &self.upload else { return self.body.clone() };
        self.body[upload.at..self.body.len().min(upload.at + upload.part)].to_vec()
    }
}

/// A value on its way from the gateway.
#[derive(Debug)]
pub(super) struct Download {
    pub(super) topic: String,
    pub(super) body: Vec<u8>,
    pub(super) etag: Option<Vec<u8>>,
    /// The model's time when it was asked for.
    pub(super) since: u64,
    pub(super) exponent: Option<u8>,
    anew: u32,
}

/// What a part has come to.
pub(super) enum Parted {
    /// It is whole.
    Whole,
    /// More is to be asked for.
    More,
    /// It is of another value.
    Changed,
}

impl Download {
    pub(super) fn new(topic: String, since: u64, exponent: Option<u8>) -> Download {
        Download { topic, body: Vec::new(), etag: None, since, exponent, anew: 0 }
    }

    /// Takes an answer with a value, or a part of it.
    pub(super) fn take(&mut self, m: &Message) -> Result<Parted, String> {
        let etag = m.option(ETAG).map(<[u8]>::to_vec);
        if !self.body.is_empty() && etag != self.etag {
            return Ok(Parted::Changed);
        }
        self.etag = etag;
        let block = m.option(BLOCK2).map(Block::of);
        let Some(Block { at, more, exponent }) = block else {
            if !self.body.is_empty() {
                return Err("a later part without Block2".into());
            }
            self.body.clone_from(&m.payload);
            return Ok(Parted::Whole);
        };
        let unit = Block::unit(exponent);
        if at != self.body.len() {
            return Err(format!("the part at {at} after {} bytes", self.body.len()));
        }
        let odd = m.payload.is_empty() || !m.payload.len().is_multiple_of(unit);
        let several = m.payload.len() > unit && exponent != BERT;
        if more && odd || several {
            return Err(format!("{} bytes in blocks of {unit}", m.payload.len()));
        }
        self.body.extend_from_slice(&m.payload);
        self.exponent = Some(exponent);
        Ok(if more { Parted::More } else { Parted::Whole })
    }
}

impl Client {
    pub(super) fn ask_of_values(&mut self, ctx: &mut Ctx<'_>) {
        self.do_again(ctx);
        if ctx.healing {
            if ctx.last_round && self.said_last < 2 && self.requests.is_empty() {
                let code = if self.said_last == 0 { POST } else { PUT };
                self.said_last += u8::from(self.write(ctx, code));
            }
            return;
        }
        for _ in 0..=ctx.rng.below(5) {
            if self.requests.len() >= PIPELINED {
                return;
            }
            match ctx.rng.below(100) {
                0..40 => drop(self.write(ctx, PUT)),
                40..65 => drop(self.write(ctx, POST)),
                65..71 => drop(self.write(ctx, DELETE)),
                _ => {
                    let topic = retained_topic(*ctx.rng.pick(&self.targets));
                    let wanted = [None, Some(0), Some(2), Some(6), Some(BERT)];
                    let exponent = (*ctx.rng.pick(&wanted)).filter(|e| *e != BERT || self.bert);
                    self.read(ctx, Download::new(topic, ctx.model.tick, exponent));
                }
            }
        }
    }

    /// Sends what was on its way when a connection ended, once its fate is sealed.
    fn do_again(&mut self, ctx: &mut Ctx<'_>) {
        let waits =
            |w: &Write| self.is_uncertain(ctx, &w.topic) || self.written(&w.topic).next().is_some();
        let Some(at) = self.retry.iter().position(|w| !waits(w)) else { return };
        if self.uploads() >= UPLOADS {
            return;
        }
        let mut write = self.retry.remove(at);
        if write.may_be_done() {
            ctx.model.resent(write.id);
        }
        let (room, bert) = (self.room(), self.bert);
        let fits = write.body.len() + HEAD <= room;
        match &mut write.upload {
            // What was begun elsewhere is not gone on with here, whoever tries it.
            Some(upload) if upload.exponent != BERT || bert => {
                upload.elsewhere = upload.at > 0 && ctx.rng.chance(500);
                if !upload.elsewhere {
                    upload.at = 0;
                }
                upload.part = part_of(upload.exponent, room);
                (upload.since, upload.crashes) = (ctx.now, ctx.model.crashes());
            }
            None if fits => {}
            _ => write.upload = Some(upload(ctx, &write.body, (room, bert))),
        }
        self.send(ctx, write);
    }

    /// Begins to write; whether it could.
    fn write(&mut self, ctx: &mut Ctx<'_>, code: u8) -> bool {
        let retain = code != POST;
        let topic =
            if retain { retained_topic(self.index) } else { (*ctx.rng.pick(&TOPICS)).to_string() };
        let others = self.written(&topic).count();
        let in_blocks = self.written(&topic).any(|write| write.upload.is_some());
        let waits = self.retry.iter().any(|write| write.topic == topic);
        if in_blocks || waits || self.is_uncertain(ctx, &topic) {
            return false; // which of them is done last could not be said
        }
        let blocks = others == 0 && self.uploads() < UPLOADS;
        let extra = if blocks && ctx.rng.chance(400) { ctx.rng.index(5_000) } else { 0 };
        let empty = code == DELETE;
        let extra = if empty { 0 } else { extra };
        let flags = (retain, empty);
        let (id, body) = ctx.model.begin_of(self.index, Origin::Stream, &topic, (1, extra), flags);
        let fits = body.len() + HEAD <= self.room();
        let chosen = blocks && body.len() > 16 && ctx.rng.chance(300);
        let channel = (self.room(), self.bert);
        let upload = (!fits || chosen).then(|| upload(ctx, &body, channel));
        self.send(ctx, Write { id, code, topic, body, upload });
        true
    }

    /// What is on its way to a topic.
    fn written<'c>(&'c self, topic: &'c str) -> impl Iterator<Item = &'c Write> {
        self.requests.iter().filter_map(move |r| match &r.what {
            What::Write(write) if write.topic == topic => Some(write),
            _ => None,
        })
    }

    fn uploads(&self) -> usize {
        let in_blocks = |what: &What| matches!(what, What::Write(write) if write.upload.is_some());
        self.requests.iter().filter(|request| in_blocks(&request.what)).count()
    }

    fn send(&mut self, ctx: &Ctx<'_>, write: Write) {
        let mut options = value_path(&write.topic);
        if let Some(block) = write.block() {
            options = with(options, BLOCK1, block);
        }
        let asked = (write.code, options, write.part());
        self.ask(ctx, asked, What::Write(write));
    }

    pub(super) fn on_written(
        &mut self,
        ctx: &mut Ctx<'_>,
        mut write: Write,
        m: &Message,
    ) -> Result<(), String> {
        let (more, block) = (write.more(), write.block());
        let in_blocks = write.upload.is_some();
        if let Some(upload) = &mut write.upload {
            if upload.elsewhere && m.code != 0x88 {
                return Err(format!("{} to a part that another connection began", dotted(m.code)));
            }
            if m.code == 0x88 {
                let crashed = upload.crashes < ctx.model.crashes();
                let old = ctx.now >= upload.since + 30 * SEC;
                if !upload.elsewhere && !crashed && !old {
                    return Err("blocks are gone without a reason".into());
                }
                (upload.at, upload.elsewhere, upload.since) = (0, false, ctx.now);
                self.send(ctx, write);
                return Ok(());
            }
            if more && m.code == 0x5f {
                if m.option(BLOCK1) != block.as_deref() {
                    return Err(format!("2.31 of another block: {m:?}"));
                }
                upload.at += upload.part;
                self.send(ctx, write);
                return Ok(());
            }
        }
        match (write.code, m.code) {
            _ if more && m.code != 0xa3 => {
                Err(format!("{} to a block that is not the last", dotted(m.code)))
            }
            (PUT, 0x41 | 0x44) | (POST, 0x44) | (DELETE, 0x42) => {
                ctx.model.acked(write.id);
                self.newest.insert(write.topic.clone(), write.id);
                ctx.model.in_blocks += u64::from(in_blocks);
                Ok(())
            }
            // 5.03: the store fails.
            (_, 0xa3) => ctx.model.refused(write.id, ctx.now),
            (code, answer) => {
                Err(format!("{} to method {code} of {}", dotted(answer), write.topic))
            }
        }
    }

    fn read(&mut self, ctx: &Ctx<'_>, download: Download) {
        let asked = get(&download);
        self.ask(ctx, asked, What::Read(download));
    }

    pub(super) fn on_read(
        &mut self,
        ctx: &mut Ctx<'_>,
        mut download: Download,
        m: &Message,
    ) -> Result<(), String> {
        let begun = !download.body.is_empty();
        match m.code {
            0x45 => match download.take(m)? {
                Parted::Whole => {
                    ctx.model.in_blocks_read += u64::from(begun);
                    ctx.model.check_read(&download.topic, Some(&download.body), download.since)
                }
                Parted::More => {
                    self.read(ctx, download);
                    Ok(())
                }
                Parted::Changed => self.read_anew(ctx, download),
            },
            0x84 if !begun => ctx.model.check_read(&download.topic, None, download.since),
            // 4.00: the value is shorter now.
            0x80 | 0x84 if begun => self.read_anew(ctx, download),
            code => Err(format!("{} to a GET of {}", dotted(code), download.topic)),
        }
    }

    fn read_anew(&mut self, ctx: &Ctx<'_>, download: Download) -> Result<(), String> {
        if download.anew > ANEW {
            return Err(format!("{} never holds still", download.topic));
        }
        let Download { topic, exponent, anew, .. } = download;
        let next = Download { anew: anew + 1, ..Download::new(topic, ctx.model.tick, exponent) };
        self.read(ctx, next);
        Ok(())
    }
}

/// The request for what comes next of a value.
pub(super) fn get(download: &Download) -> Asked {
    let options = value_path(&download.topic);
    let block = |exponent| Block { at: download.body.len(), more: false, exponent };
    let options = match download.exponent {
        Some(exponent) => with(options, BLOCK2, block(exponent).value()),
        None => options,
    };
    (GET, options, Vec::new())
}

/// Bytes of a part of this exponent.
fn part_of(exponent: u8, room: usize) -> usize {
    match exponent {
        BERT => (room.min(6_000) - HEAD) / 1024 * 1024,
        _ => Block::unit(exponent),
    }
}

/// How `ctx` cuts a body, for a gateway that takes so much, and several blocks at once or not.
fn upload(ctx: &mut Ctx<'_>, body: &[u8], (room, bert): (usize, bool)) -> Upload {
    let several = bert && room >= 1024 + HEAD;
    let fit = |e: &u8| match *e {
        BERT => several,
        e => body.len().div_ceil(Block::unit(e)) <= BLOCKS && Block::unit(e) + HEAD <= room,
    };
    let exponents: Vec<u8> = (0..=BERT).filter(fit).collect();
    let exponent = *ctx.rng.pick(&exponents);
    Upload {
        at: 0,
        part: part_of(exponent, room),
        exponent,
        since: ctx.now,
        crashes: ctx.model.crashes(),
        elsewhere: false,
    }
}
