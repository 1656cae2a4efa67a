//! [`Body`]: what a response or a notification says, whatever message carries it, and its bytes.

use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;

use super::contract::{Code, Notification, Response};
use super::reachability;
use crate::frame::MAX_HEADER;
use crate::message::{Head, Kind, Token, write_head};
use crate::options::{
    BLOCK1, BLOCK2, CONTENT_FORMAT, ECHO, ETAG, LOCATION_PATH, MAX_AGE, OBSERVE, OptionWriter,
    SIZE1, SIZE2,
};

#[derive(Debug, Clone)]
pub(super) struct Body {
    pub(super) code: Code,
    pub(super) payload: Bytes,
    pub(super) content_format: Option<u16>,
    etag: Option<u64>,
    pub(super) max_age: Option<Duration>,
    location_path: Vec<String>,
    /// Which part the payload is (RFC 7959 §2.1).
    pub(super) block2: Option<u32>,
    /// Which part of the request it answers (RFC 7959 §2.3).
    pub(super) block1: Option<u32>,
    /// Bytes of the whole (RFC 7959 §4).
    pub(super) size2: Option<u32>,
    /// With 4.13: what would be accepted (RFC 7252 §5.9.2.9).
    pub(super) size1: Option<u32>,
    /// For the client to send back (RFC 9175 §2.3).
    pub(super) echo: Option<[u8; reachability::ECHO]>,
}

impl From<Response> for Body {
    fn from(response: Response) -> Self {
        Body {
            code: response.code,
            payload: response.payload,
            content_format: response.content_format,
            etag: response.etag,
            max_age: response.max_age,
            location_path: response.location_path,
            block2: None,
            block1: None,
            size2: None,
            size1: None,
            echo: None,
        }
    }
}

impl From<Notification> for Body {
    fn from(notification: Notification) -> Self {
        Body {
            code: notification.code,
            payload: notification.payload,
            content_format: notification.content_format,
            etag: notification.etag,
            max_age: notification.max_age,
            location_path: Vec::new(),
            block2: None,
            block1: None,
            size2: None,
            size1: None,
            echo: None,
        }
    }
}

impl Body {
    /// Bytes of a notification besides its payload, at most.
    pub(super) const NOTIFICATION_OVERHEAD: usize = MAX_HEADER + 8 + 5 + 6 + 4 + 1 + 9 + 3 + 5;

    /// Bytes of the message besides the payload, at most: with Block2, Size2, Observe and the marker,
    /// whether they are there or not.
    pub(super) fn overhead(&self, token: &Token) -> usize {
        let location: usize = self.location_path.iter().map(|segment| segment.len() + 2).sum();
        let several = 5 + 6 + 4 + 1;
        4 + token.as_slice().len()
            + several
            + location
            + if self.etag.is_some() { 9 } else { 0 }
            + if self.content_format.is_some() { 3 } else { 0 }
            + if self.max_age.is_some() { 5 } else { 0 }
            + if self.block1.is_some() { 5 } else { 0 }
            + if self.size1.is_some() { 6 } else { 0 }
            + if self.echo.is_some() { 2 + reachability::ECHO } else { 0 }
    }

    /// Appends the whole message; `observe` is the sequence number of a notification.
    pub(super) fn encode(
        &self,
        out: &mut Vec<u8>,
        kind: Kind,
        message_id: u16,
        token: &Token,
        observe: Option<u32>,
    ) {
        write_head(out, Head { kind, code: self.code.0, message_id }, token);
        self.encode_content(out, observe);
    }

    /// Appends options and payload: what follows the token, whatever carries the message.
    pub(super) fn encode_content(&self, out: &mut Vec<u8>, observe: Option<u32>) {
        let mut options = OptionWriter::new(out);
        if let Some(etag) = self.etag {
            options.bytes(ETAG, &etag.to_be_bytes());
        }
        if let Some(sequence) = observe {
            options.uint(OBSERVE, sequence);
        }
        // A segment past 255 bytes has no option that could hold it.
        for segment in self.location_path.iter().filter(|segment| segment.len() <= 255) {
            options.bytes(LOCATION_PATH, segment.as_bytes());
        }
        if let Some(format) = self.content_format {
            options.uint(CONTENT_FORMAT, u32::from(format));
        }
        if let Some(max_age) = self.max_age {
            options.uint(MAX_AGE, u32::try_from(max_age.as_secs()).unwrap_or(u32::MAX));
        }
        if let Some(block) = self.block2 {
            options.uint(BLOCK2, block);
        }
        if let Some(block) = self.block1 {
            options.uint(BLOCK1, block);
        }
        if let Some(size) = self.size2 {
            options.uint(SIZE2, size);
        }
        if let Some(size) = self.size1 {
            options.uint(SIZE1, size);
        }
        if let Some(echo) = &self.echo {
            options.bytes(ECHO, echo);
        }
        options.payload(&self.payload);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::decode;
    use alloc::string::ToString;
    use proptest::prelude::*;

    fn values(packet: &coap_lite::Packet, number: u16) -> Vec<Vec<u8>> {
        packet.get_option(number.into()).map(|l| l.iter().cloned().collect()).unwrap_or_default()
    }

    proptest! {
        /// coap-lite reads what our encoder writes, and writes the same bytes.
        #[test]
        fn coap_lite_agrees_with_the_encoder(
            code in prop_oneof![Just(Code::CONTENT), Just(Code::NOT_FOUND), Just(Code::CREATED)],
            payload in proptest::collection::vec(any::<u8>(), 0..600),
            content_format in any::<Option<u16>>(),
            etag in any::<Option<u64>>(),
            max_age in any::<Option<u32>>(),
            location_path in proptest::collection::vec("[a-zé]{0,100}", 0..3),
            block2 in proptest::option::of(0..0x100_0000_u32),
            block1 in proptest::option::of(0..0x100_0000_u32),
            size2 in any::<Option<u32>>(),
            size1 in any::<Option<u32>>(),
            echo in any::<Option<[u8; reachability::ECHO]>>(),
            observe in proptest::option::of(0..0x100_0000_u32),
            message_id in any::<u16>(),
            token in proptest::collection::vec(any::<u8>(), 0..9),
        ) {
            let body = Body {
                code,
                payload: payload.clone().into(),
                content_format,
                etag,
                max_age: max_age.map(|secs| Duration::from_secs(secs.into())),
                location_path: location_path.iter().map(ToString::to_string).collect(),
                block2,
                block1,
                size2,
                size1,
                echo,
            };
            let token = Token::new(&token).unwrap();
            let mut out = Vec::new();
            body.encode(&mut out, Kind::Confirmable, message_id, &token, observe);
            prop_assert!(out.len() <= body.overhead(&token) + payload.len(), "{}", out.len());
            let message = decode(&out).unwrap();
            prop_assert_eq!(message.head.message_id, message_id);
            prop_assert_eq!(message.head.code, code.0);
            prop_assert_eq!(message.token, token);
            let packet = message.packet.unwrap();
            prop_assert_eq!(&packet.payload, &payload);
            let uint = |number| values(&packet, number).first().map(|v| {
                crate::options::read_uint(v).unwrap()
            });
            prop_assert_eq!(uint(CONTENT_FORMAT), content_format.map(u32::from));
            prop_assert_eq!(uint(MAX_AGE), max_age);
            prop_assert_eq!(uint(BLOCK2), block2);
            prop_assert_eq!(uint(BLOCK1), block1);
            prop_assert_eq!(uint(SIZE2), size2);
            prop_assert_eq!(uint(SIZE1), size1);
            prop_assert_eq!(uint(OBSERVE), observe);
            prop_assert_eq!(values(&packet, ECHO).pop(), echo.map(|echo| echo.to_vec()));
            prop_assert_eq!(
                values(&packet, ETAG).pop(),
                etag.map(|etag| etag.to_be_bytes().to_vec())
            );
            let path: Vec<Vec<u8>> = location_path.iter().map(|s| s.as_bytes().to_vec())
                .filter(|s| s.len() <= 255).collect();
            prop_assert_eq!(values(&packet, LOCATION_PATH), path);
            prop_assert_eq!(packet.to_bytes_unlimited().unwrap(), out);
        }
    }
}
