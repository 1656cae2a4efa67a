//! From the chunks that the driver reads to packets, and to whom they belong.
//!
//! A chunk is copied once, when the first message in it is handed up, and not at all when the
//! driver gives it as [`Bytes`]; a packet that is cut by the end of a chunk is put together first.

use alloc::vec::Vec;

use bytes::Bytes;
use motegate_timers::Instant;

use super::error::{ClientError, Violation};
use super::{Client, Phase};
use crate::codec::{self, Header};
use crate::error::DecodeError;
use crate::packet::{Packet, PacketType, Sender, Version};

/// Bytes that were read; what of them is shared once it is.
pub(super) struct Chunk<'a> {
    bytes: &'a [u8],
    /// From `bytes[from]` on.
    shared: Option<Bytes>,
    from: usize,
}

impl<'a> Chunk<'a> {
    pub(super) const fn borrowed(bytes: &'a [u8]) -> Self {
        Chunk { bytes, shared: None, from: 0 }
    }

    pub(super) const fn shared(bytes: &'a [u8], shared: Bytes) -> Self {
        Chunk { bytes, shared: Some(shared), from: 0 }
    }

    fn share(&mut self, start: usize, end: usize) -> Bytes {
        if self.shared.is_none() {
            self.from = start;
        }
        let rest = self.bytes.get(start..).unwrap_or_default();
        let shared = self.shared.get_or_insert_with(|| Bytes::copy_from_slice(rest));
        shared.slice(start - self.from..end - self.from)
    }
}

enum Next {
    Whole(Header),
    /// Bytes that are at least needed.
    Cut(usize),
}

impl Client {
    pub(super) fn read(&mut self, now: Instant, mut chunk: Chunk<'_>) {
        self.link.heard(now);
        let mut at = 0;
        while self.is_reading() && !self.partial.is_empty() {
            let Some(taken) = self.complete_partial(now, chunk.bytes.get(at..).unwrap_or_default())
            else {
                return;
            };
            at += taken;
        }
        while self.is_reading() {
            let rest = chunk.bytes.get(at..).unwrap_or_default();
            let header = match self.next(rest) {
                Ok(Next::Whole(header)) => header,
                Ok(Next::Cut(_)) => {
                    self.partial.extend_from_slice(rest);
                    return;
                }
                Err(error) => return self.reject(now, error),
            };
            let (start, end) = (at + header.len, at + header.packet_len());
            let body = chunk.bytes.get(start..end).unwrap_or_default();
            self.packet(now, header.first, body, |_| chunk.share(start, end));
            at = end;
        }
    }

    const fn is_reading(&self) -> bool {
        matches!(self.phase, Phase::Connecting | Phase::Open)
    }

    /// Adds to the packet that was cut; how many bytes it took, or `None` if that were all.
    fn complete_partial(&mut self, now: Instant, bytes: &[u8]) -> Option<usize> {
        let before = self.partial.len();
        loop {
            let taken = self.partial.len() - before;
            match self.next(&self.partial) {
                Ok(Next::Cut(_)) if taken == bytes.len() => return None,
                Ok(Next::Cut(missing)) => {
                    let end = bytes.len().min(taken + missing);
                    self.partial.extend_from_slice(bytes.get(taken..end)?);
                }
                Ok(Next::Whole(header)) => {
                    let packet = Bytes::from(core::mem::take(&mut self.partial));
                    let body = packet.slice(header.len..);
                    self.packet(now, header.first, &body, |body| body.clone());
                    return Some(taken);
                }
                Err(error) => {
                    self.reject(now, error);
                    return None;
                }
            }
        }
    }

    /// Judges a packet by its header, before its body is there.
    fn next(&self, bytes: &[u8]) -> Result<Next, ClientError> {
        if let Some(first) = bytes.first() {
            let kind = codec::check_first(*first, self.version, Sender::Server);
            let kind = kind.map_err(ClientError::Malformed)?;
            let auth = kind == PacketType::Auth && self.config.auth_method.is_some();
            if self.phase == Phase::Connecting && kind != PacketType::ConnAck && !auth {
                return Err(ClientError::Violation(match kind {
                    PacketType::Auth => Violation::UnexpectedAuth,
                    _ => Violation::NotConnAck,
                }));
            }
        }
        let header = codec::header(bytes).map_err(ClientError::Malformed)?;
        let Some(header) = header else { return Ok(Next::Cut(1)) };
        if header.packet_len() > self.config.max_packet_size as usize {
            return Err(ClientError::Violation(Violation::PacketTooLarge));
        }
        match header.packet_len().checked_sub(bytes.len()) {
            None | Some(0) => Ok(Next::Whole(header)),
            Some(missing) => Ok(Next::Cut(missing)),
        }
    }

    fn reject(&mut self, now: Instant, error: ClientError) {
        let code = match &error {
            ClientError::Malformed(fault) => Some(fault.code()),
            ClientError::Violation(violation) => Some(violation.code()),
            _ => None,
        };
        self.fail(now, error, code);
    }

    /// One whole packet; `share` gives its body without a copy.
    fn packet<'a, B: AsRef<[u8]> + ?Sized>(
        &mut self,
        now: Instant,
        first: u8,
        body: &'a B,
        share: impl FnOnce(&'a B) -> Bytes,
    ) {
        let packet = match decode(first, body.as_ref(), self.version) {
            Ok(packet) => packet,
            Err(fault) => return self.reject(now, ClientError::Malformed(fault)),
        };
        match packet {
            Packet::ConnAck(ack) if self.phase == Phase::Connecting => self.on_conn_ack(now, &ack),
            Packet::ConnAck(_) => self.violate(now, Violation::SecondConnAck),
            Packet::Publish(publish) => self.on_publish(now, &publish, || share(body)),
            Packet::PubAck(ack) => self.on_ack(now, PacketType::PubAck, &ack),
            Packet::PubRec(ack) => self.on_ack(now, PacketType::PubRec, &ack),
            Packet::PubComp(ack) => self.on_ack(now, PacketType::PubComp, &ack),
            Packet::PubRel(ack) => self.on_pub_rel(now, ack.id),
            Packet::SubAck(ack) => self.on_sub_ack(now, ack, true),
            Packet::UnsubAck(ack) => self.on_sub_ack(now, ack, false),
            Packet::PingResp => self.on_ping_resp(),
            Packet::Disconnect(disconnect) => self.on_disconnect(now, &disconnect),
            Packet::Auth(auth) => self.on_auth(now, &auth),
            // `decode` has refused what only clients send.
            Packet::Connect(_)
            | Packet::Subscribe(_)
            | Packet::Unsubscribe(_)
            | Packet::PingReq => {}
        }
    }
}

fn decode(first: u8, body: &[u8], version: Version) -> Result<Packet<'_>, DecodeError> {
    // A server that does not know 5.0 says so with a CONNACK of 3.1.1 (MQTT 3.1.1 §3.1.2.2).
    let short = first >> 4 == PacketType::ConnAck as u8 && body.len() == 2;
    let version = if short && version.is_v5() && body != [0, 0] { Version::V311 } else { version };
    codec::decode(first, body, version, Sender::Server)
}

/// A packet that is cut.
pub(super) type Partial = Vec<u8>;
