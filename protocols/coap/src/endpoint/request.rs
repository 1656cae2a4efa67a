//! From a packet to a [`Request`]: the option rules of RFC 7252 §5.4 and what this server refuses
//! before the layer above hears of it.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;

use coap_lite::Packet;
use motegate_message::{Peer, Reason};

use super::block::Wanted;
use super::contract::{Code, ExchangeId, Method, Observe, Request, Response};
use crate::block::{Block, LARGEST};
use crate::options::{
    ACCEPT, BLOCK1, BLOCK2, CONTENT_FORMAT, ETAG, IF_MATCH, IF_NONE_MATCH, NO_RESPONSE, OBSERVE,
    PROXY_SCHEME, PROXY_URI, SIZE2, URI_HOST, URI_PATH, URI_QUERY, definition, is_critical,
    read_uint,
};

/// Why a request is answered with an error at once.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) reason: Reason,
    pub(super) response: Response,
}

impl Refusal {
    fn new(code: Code, reason: Reason, text: impl Into<String>) -> Self {
        Refusal { reason, response: Response::error(code, text) }
    }
}

/// A request, and what only this layer needs of it.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) request: Request,
    /// No-Response bits (RFC 7967 §2.1).
    pub(super) no_response: u8,
    /// Block2 and Size2.
    pub(super) wanted: Wanted,
}

pub(super) const fn method(code: u8) -> Option<Method> {
    Some(match code {
        1 => Method::Get,
        2 => Method::Post,
        3 => Method::Put,
        4 => Method::Delete,
        5 => Method::Fetch,
        6 => Method::Patch,
        7 => Method::IPatch,
        _ => return None,
    })
}

/// Collects options in ascending order.
struct Reader {
    request: Request,
    no_response: u8,
    wanted: Wanted,
    /// The first thing wrong with a value; an option that is not understood goes before it.
    wrong: Option<Refusal>,
    proxy: bool,
}

/// Judges a request. `max_payload` is in bytes.
pub(super) fn read(
    peer: &Peer,
    confirmable: bool,
    code: u8,
    packet: Packet,
    max_payload: usize,
) -> Result<Parsed, Refusal> {
    let known = method(code);
    let mut reader = Reader {
        request: Request {
            exchange: ExchangeId(0), // set when the exchange has a place
            peer: peer.clone(),
            confirmable,
            method: known.unwrap_or(Method::Get),
            path: Vec::new(),
            query: Vec::new(),
            host: None,
            payload: Bytes::new(),
            content_format: None,
            accept: None,
            etags: Vec::new(),
            if_match: Vec::new(),
            if_none_match: false,
            observe: None,
            later_block: false,
        },
        no_response: 0,
        wanted: Wanted::default(),
        wrong: None,
        proxy: false,
    };
    reader.options(&packet)?;
    if reader.proxy {
        // RFC 7252 §5.10.2: an endpoint that is no proxy answers 5.05.
        let text = "this server is not a proxy: leave Proxy-Uri and Proxy-Scheme out";
        return Err(Refusal::new(Code::PROXYING_NOT_SUPPORTED, Reason::NotSupported, text));
    }
    if let Some(wrong) = reader.wrong {
        return Err(wrong);
    }
    if known.is_none() {
        // RFC 7252 §5.8: an unrecognised method is answered with 4.05.
        let text = "unknown method: GET, POST, PUT, DELETE are understood";
        return Err(Refusal::new(Code::METHOD_NOT_ALLOWED, Reason::MethodNotAllowed, text));
    }
    if packet.payload.len() > max_payload {
        let text = format!("at most {max_payload} bytes of payload are accepted");
        let code = Code::REQUEST_ENTITY_TOO_LARGE;
        return Err(Refusal::new(code, Reason::TooLarge, text));
    }
    let Reader { mut request, no_response, wanted, .. } = reader;
    request.payload = packet.payload.into();
    request.later_block = wanted.is_later();
    if request.later_block {
        request.observe = None; // RFC 7959 §3.4: only a first block registers
    }
    Ok(Parsed { request, no_response, wanted })
}

impl Reader {
    fn options(&mut self, packet: &Packet) -> Result<(), Refusal> {
        for (number, values) in packet.options() {
            let rule = definition(*number);
            for (index, value) in values.iter().enumerate() {
                // RFC 7252 §5.4.3, §5.4.5: illegal length and needless repetition count as
                // not recognised.
                let recognised = rule.is_some_and(|rule| {
                    (rule.min..=rule.max).contains(&value.len()) && (rule.repeatable || index == 0)
                });
                if recognised {
                    self.option(*number, value)?;
                } else if is_critical(*number) {
                    return Err(bad_option(*number)); // RFC 7252 §5.4.1
                }
            }
        }
        Ok(())
    }

    fn option(&mut self, number: u16, value: &[u8]) -> Result<(), Refusal> {
        let request = &mut self.request;
        let uint = read_uint(value).unwrap_or(0);
        let uint16 = u16::try_from(uint).ok();
        match number {
            IF_MATCH => request.if_match.push(value.into()),
            ETAG => request.etags.push(value.into()),
            IF_NONE_MATCH => request.if_none_match = true,
            CONTENT_FORMAT => request.content_format = uint16,
            ACCEPT => request.accept = uint16,
            URI_HOST => self.request.host = self.text(value),
            URI_PATH => self.segment(value),
            URI_QUERY => {
                if let Some(query) = self.text(value) {
                    self.request.query.push(query);
                }
            }
            // RFC 7641 §2, RFC 8132 §2.4: Observe speaks in a GET or FETCH only, and says 0 or 1.
            OBSERVE if matches!(request.method, Method::Get | Method::Fetch) => {
                request.observe = match uint {
                    0 => Some(Observe::Register),
                    1 => Some(Observe::Deregister),
                    _ => None,
                };
            }
            PROXY_URI | PROXY_SCHEME => self.proxy = true,
            BLOCK1 | BLOCK2 => return self.block(number, Block::from_uint(uint)),
            SIZE2 => self.wanted.size = true,
            NO_RESPONSE => self.no_response = value.first().copied().unwrap_or(0),
            _ => {}
        }
        Ok(())
    }

    /// Block2 says which part of the answer is wanted (RFC 7959 §2.4). Of Block1 a single block is a
    /// plain message; more are an option that is not understood (§2.9, §2.3).
    fn block(&mut self, number: u16, block: Block) -> Result<(), Refusal> {
        if block.exponent > LARGEST {
            let text = "block size exponent 7 is reserved";
            self.wrong(Code::BAD_REQUEST, Reason::ProtocolError, text);
            return Ok(());
        }
        if number == BLOCK1 {
            let parts = block.number > 0 || block.more;
            return if parts { Err(bad_option(number)) } else { Ok(()) };
        }
        // What is not read has one answer: its later parts would be had by doing it again.
        if block.number > 0 && !matches!(self.request.method, Method::Get | Method::Fetch) {
            return Err(bad_option(number));
        }
        self.wanted.block = Some(block);
        Ok(())
    }

    fn segment(&mut self, value: &[u8]) {
        let Some(segment) = self.text(value) else { return };
        if segment == "." || segment == ".." {
            // RFC 7252 §5.10.1.
            let text = "a Uri-Path segment cannot be . or ..";
            return self.wrong(Code::BAD_REQUEST, Reason::BadTopic, text);
        }
        self.request.path.push(segment);
    }

    fn text(&mut self, value: &[u8]) -> Option<String> {
        let text = core::str::from_utf8(value).ok().map(String::from);
        if text.is_none() {
            let text = "Uri-Host, Uri-Path and Uri-Query are UTF-8";
            self.wrong(Code::BAD_REQUEST, Reason::Malformed, text);
        }
        text
    }

    fn wrong(&mut self, code: Code, reason: Reason, text: &str) {
        self.wrong.get_or_insert_with(|| Refusal::new(code, reason, text));
    }
}

fn bad_option(number: u16) -> Refusal {
    let text = match number {
        BLOCK1 => "Block1: a body must fit one message".into(),
        BLOCK2 => "Block2: only what GET reads comes in blocks".into(),
        _ if definition(number).is_some() => {
            format!("option {number} has an illegal length or comes too often")
        }
        _ => format!("critical option {number} is not understood"),
    };
    Refusal::new(Code::BAD_OPTION, Reason::BadOption, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::OptionWriter;
    use core::net::SocketAddr;
    use motegate_message::ListenerId;

    type Options<'a> = &'a [(u16, &'a [u8])];

    fn judge(code: u8, options: Options<'_>, payload: &[u8]) -> Result<Parsed, Code> {
        let mut bytes = alloc::vec![0x40, code, 0, 1];
        let mut writer = OptionWriter::new(&mut bytes);
        for (number, value) in options {
            writer.bytes(*number, value);
        }
        writer.payload(payload);
        let packet = Packet::from_bytes(&bytes).unwrap();
        let peer = Peer::new(ListenerId(0), SocketAddr::from(([127, 0, 0, 1], 9)));
        read(&peer, true, code, packet, 64).map_err(|refusal| refusal.response.code)
    }

    fn code(options: Options<'_>) -> Option<Code> {
        judge(1, options, b"").err()
    }

    /// Checklist item 8: RFC 7252 §5.4 and table 4.
    #[test]
    fn option_rules() {
        let long = [b'a'; 256];
        let bad = Some(Code::BAD_OPTION);
        let table: &[(Options<'_>, Option<Code>)] = &[
            (&[(IF_MATCH, b""), (IF_MATCH, b"12345678")], None),
            (&[(IF_MATCH, b"123456789")], bad),
            (&[(URI_HOST, b"h"), (7, b"\x16\x33")], None), // Uri-Port
            (&[(URI_HOST, b"")], bad),
            (&[(URI_HOST, b"h"), (URI_HOST, b"h")], bad),
            (&[(7, b"123")], bad),
            (&[(ETAG, b"")], None), // elective: ignored
            (&[(IF_NONE_MATCH, b"")], None),
            (&[(IF_NONE_MATCH, b"x")], bad),
            (&[(IF_NONE_MATCH, b""), (IF_NONE_MATCH, b"")], bad),
            (&[(OBSERVE, b"1234")], None), // elective
            (&[(9, b"x")], bad),           // OSCORE
            (&[(URI_PATH, b"")], None),
            (&[(URI_PATH, &long[..255])], None),
            (&[(URI_PATH, &long)], bad),
            (&[(URI_PATH, b"\xff")], Some(Code::BAD_REQUEST)),
            (&[(URI_PATH, b"a"), (URI_PATH, b"..")], Some(Code::BAD_REQUEST)),
            (&[(URI_PATH, b".")], Some(Code::BAD_REQUEST)),
            (&[(URI_QUERY, b"a=\xc3")], Some(Code::BAD_REQUEST)),
            (&[(URI_QUERY, b""), (URI_QUERY, b"x")], None),
            (&[(CONTENT_FORMAT, b"123")], None), // elective
            (&[(14, b"")], None),                // Max-Age means nothing in a request
            (&[(16, b"\x00")], None),            // Hop-Limit, RFC 8768: no proxy
            (&[(ACCEPT, b"")], None),
            (&[(ACCEPT, b"123")], bad),
            (&[(ACCEPT, b"\x28"), (ACCEPT, b"\x28")], bad),
            (&[(19, b"")], bad), // Q-Block1, RFC 9177
            (&[(BLOCK2, b"")], None),
            (&[(BLOCK2, b"\x06")], None),
            (&[(BLOCK2, b"\x16")], None),
            (&[(BLOCK2, b"\x16\x00\x00\x00")], bad),
            (&[(BLOCK2, b""), (BLOCK2, b"\x16")], bad),
            (&[(28, b"")], None),      // Size2
            (&[(28, b"12345")], None), // elective
            (&[(BLOCK2, b"\x07")], Some(Code::BAD_REQUEST)),
            (&[(BLOCK1, b"\x02")], None),
            (&[(BLOCK1, b"\x0a")], bad),
            (&[(BLOCK1, b"\x10\x00\x02")], bad), // a number of 20 bits
            (&[(BLOCK1, b"\x07")], Some(Code::BAD_REQUEST)),
            (&[(PROXY_URI, b"coap://x/")], Some(Code::PROXYING_NOT_SUPPORTED)),
            (&[(PROXY_SCHEME, b"coap")], Some(Code::PROXYING_NOT_SUPPORTED)),
            (&[(PROXY_URI, b"")], bad),
            (&[(URI_PATH, b"\xff"), (65_001, b"")], bad), // 4.02 goes before 4.00
            (&[(252, b"echo")], None),
            (&[(292, b"tag"), (292, b"")], None), // Request-Tag
            (&[(65_000, b"?")], None),
            (&[(65_001, b"?")], bad),
        ];
        for (options, expected) in table {
            assert_eq!(code(options), *expected, "{options:?}");
        }
    }

    #[test]
    fn everything_reaches_the_request() {
        let parsed = judge(
            3,
            &[
                (IF_MATCH, b"\x01"),
                (URI_HOST, b"gw"),
                (URI_PATH, b"mqtt"),
                (URI_PATH, b"a%2Fb"),
                (URI_PATH, "é".as_bytes()),
                (CONTENT_FORMAT, b"\x32"),
                (URI_QUERY, b"qos=1"),
                (ACCEPT, b""),
                (NO_RESPONSE, b"\x1a"),
            ],
            b"hello",
        )
        .unwrap();
        let request = parsed.request;
        assert_eq!(request.method, Method::Put);
        assert_eq!(request.path, ["mqtt", "a%2Fb", "é"]); // not decoded again
        assert_eq!(request.query, ["qos=1"]);
        assert_eq!(request.host.as_deref(), Some("gw"));
        assert_eq!((request.content_format, request.accept), (Some(50), Some(0)));
        assert_eq!(request.if_match, [[1]]);
        assert_eq!(&request.payload[..], b"hello");
        assert_eq!(parsed.no_response, 0x1a);
    }

    #[test]
    fn observe_speaks_in_get_and_fetch_only() {
        let observe =
            |code, value: &[u8]| judge(code, &[(OBSERVE, value)], b"").unwrap().request.observe;
        assert_eq!(observe(1, b""), Some(Observe::Register));
        assert_eq!(observe(1, b"\x00"), Some(Observe::Register));
        assert_eq!(observe(1, b"\x01"), Some(Observe::Deregister));
        assert_eq!(observe(1, b"\x02"), None);
        assert_eq!(observe(5, b""), Some(Observe::Register));
        assert_eq!(observe(3, b""), None);
    }

    /// RFC 7959 §3.4: the rest of a notification is asked for without Observe.
    #[test]
    fn only_a_first_block_registers() {
        let request = |block| judge(1, &[(OBSERVE, b""), (BLOCK2, block)], b"").unwrap().request;
        let first = request(b"\x02");
        assert_eq!((first.observe, first.later_block), (Some(Observe::Register), false));
        let second = request(b"\x12");
        assert_eq!((second.observe, second.later_block), (None, true));
        assert_eq!(judge(3, &[(BLOCK2, b"\x12")], b"").unwrap_err(), Code::BAD_OPTION);
    }

    #[test]
    fn unknown_methods_and_large_payloads() {
        assert_eq!(judge(8, &[], b"").unwrap_err(), Code::METHOD_NOT_ALLOWED);
        assert_eq!(judge(31, &[], b"").unwrap_err(), Code::METHOD_NOT_ALLOWED);
        assert!(judge(3, &[], &[1; 64]).is_ok());
        assert_eq!(judge(3, &[], &[1; 65]).unwrap_err(), Code::REQUEST_ENTITY_TOO_LARGE);
    }
}
