//! From a packet to a [`Request`]: the option rules of RFC 7252 §5.4 and what this server refuses
//! before the layer above hears of it.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;

use coap_lite::Packet;
use motegate_message::{ConnectionId, Peer, Reason};

use super::block::{Wanted, largest};
use super::body::Body;
use super::contract::{Code, ExchangeId, Method, Observe, Request, Response};
use super::{problem, reachability};
use crate::Config;
use crate::block::{BERT, Block, LARGEST, value};
use crate::options::{
    ACCEPT, BLOCK1, BLOCK2, CONTENT_FORMAT, ECHO, ETAG, IF_MATCH, IF_NONE_MATCH, NO_RESPONSE,
    OBSERVE, PROXY_SCHEME, PROXY_URI, SIZE1, SIZE2, URI_HOST, URI_PATH, URI_QUERY, definition,
    is_critical, names_operation, read_uint,
};

/// Why a request is answered with an error at once.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) reason: Reason,
    pub(super) body: Box<Body>,
}

impl Refusal {
    pub(super) fn new(code: Code, reason: Reason, text: impl Into<String>) -> Self {
        Refusal { reason, body: Box::new(Body::from(Response::error(code, text))) }
    }

    /// RFC 7252 §5.9.2.9: with what would be accepted.
    pub(super) fn too_large(max_body: usize) -> Self {
        let text = format!("at most {max_body} bytes are accepted");
        let mut refusal = Refusal::new(Code::REQUEST_ENTITY_TOO_LARGE, Reason::TooLarge, text);
        refusal.body.size1 = u32::try_from(max_body).ok();
        refusal
    }
}

/// A request, and what only this layer needs of it.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) request: Request,
    /// Block2 and Size2.
    pub(super) wanted: Wanted,
    /// Block1.
    pub(super) block1: Option<Block>,
    /// Size1.
    pub(super) size1: Option<u32>,
    /// Echo, if it has the length of ours.
    pub(super) echo: Option<[u8; reachability::ECHO]>,
    /// What a request of the same operation has in common with this one; empty for those that
    /// neither come nor are answered in parts.
    pub(super) operation: Vec<u8>,
}

/// What a request says of its answer, read before it is judged: an error is an answer, too.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Manner {
    /// No-Response bits (RFC 7967 §2.1).
    pub(super) no_response: u8,
    /// Errors as problem details (RFC 9290).
    pub(super) problem: bool,
}

impl Manner {
    pub(super) fn of(packet: &Packet) -> Self {
        let first = |number: u16| packet.get_first_option(number.into());
        let no_response = match first(NO_RESPONSE).map(Vec::as_slice) {
            Some([bits]) => *bits,
            _ => 0,
        };
        let problem = u32::from(problem::CONTENT_FORMAT);
        let accept = first(ACCEPT).and_then(|value| read_uint(value));
        Manner { no_response, problem: accept == Some(problem) }
    }
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
    wanted: Wanted,
    block1: Option<Block>,
    size1: Option<u32>,
    echo: Option<[u8; reachability::ECHO]>,
    /// The first thing wrong with a value; an option that is not understood goes before it.
    wrong: Option<Refusal>,
    proxy: bool,
    /// Several blocks may come at once (RFC 8323 §6).
    bert: bool,
}

/// Who sends a request, and how.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sender<'a> {
    pub(super) peer: &'a Peer,
    pub(super) conn: Option<ConnectionId>,
    pub(super) confirmable: bool,
}

/// Judges a request.
pub(super) fn read(
    sender: Sender<'_>,
    code: u8,
    packet: Packet,
    config: &Config,
) -> Result<Parsed, Refusal> {
    let known = method(code);
    let mut reader = Reader {
        request: Request {
            exchange: ExchangeId(0), // set when the exchange has a place
            peer: sender.peer.clone(),
            conn: sender.conn,
            confirmable: sender.confirmable,
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
            more_follows: false,
        },
        wanted: Wanted::default(),
        block1: None,
        size1: None,
        echo: None,
        wrong: None,
        proxy: false,
        bert: sender.conn.is_some() && config.connection_blocks().bert,
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
    judge_size(packet.payload.len(), &reader, config)?;
    let Reader { mut request, wanted, block1, size1, echo, .. } = reader;
    let several = block1.is_some() || wanted.block.is_some() && request.method != Method::Get;
    let operation = if several || request.method == Method::Fetch {
        operation(code, &packet)
    } else {
        Vec::new()
    };
    request.payload = packet.payload.into();
    request.later_block = wanted.is_later();
    if request.later_block {
        request.observe = None; // RFC 7959 §3.4: only a first block registers
    }
    Ok(Parsed { request, wanted, block1, size1, echo, operation })
}

/// One message has at most `max_payload` bytes, and a block those that it says. What a connection's may
/// have was judged before it was read.
fn judge_size(length: usize, reader: &Reader, config: &Config) -> Result<(), Refusal> {
    if let Some(block) = reader.block1 {
        let size = block.size();
        // RFC 8323 §6: a BERT block is several of them, and the last may have any length.
        let several = block.exponent == BERT && (!block.more || length > 0);
        let fits =
            if several { !block.more || length.is_multiple_of(size) } else { length <= size };
        if !fits || !several && block.more && length != size {
            // RFC 7959 §2.2: every block but the last has the size that the option says.
            let text = format!("a block of {size} bytes has {length}");
            return Err(Refusal::new(Code::BAD_REQUEST, Reason::ProtocolError, text));
        }
    }
    let connected = reader.request.conn.is_some();
    if length <= config.max_body && (connected || length <= config.max_payload) {
        return Ok(());
    }
    let mut refusal = Refusal::too_large(config.max_body);
    if length <= config.max_body {
        // RFC 7959 §2.5, §2.9.3: it could come in blocks, of this size.
        let text = format!("more than {} bytes come in blocks (Block1)", config.max_payload);
        refusal.body.payload = text.into();
        refusal.body.block1 = Some(value(0, false, largest(config.block_size)));
    }
    Err(refusal)
}

/// RFC 9175 §3.3: requests belong together whose method and options are the same, save elective
/// ones outside the cache key and those of the transfer itself. Request-Tag is among them.
fn operation(code: u8, packet: &Packet) -> Vec<u8> {
    let mut name = alloc::vec![code];
    for (number, values) in packet.options().filter(|(number, _)| names_operation(**number)) {
        for value in values {
            name.extend_from_slice(&number.to_be_bytes());
            name.extend_from_slice(&u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
            name.extend_from_slice(value);
        }
    }
    name
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
            SIZE1 => self.size1 = Some(uint),
            SIZE2 => self.wanted.size = true,
            ECHO => self.echo = value.try_into().ok(),
            _ => {}
        }
        Ok(())
    }

    /// Block1 says which part of the request's body this is, Block2 which part of the answer is
    /// wanted (RFC 7959 §2.1).
    fn block(&mut self, number: u16, block: Block) -> Result<(), Refusal> {
        // Block2 says that the client takes several (RFC 8323 §6); Block1, that we do.
        let bert = self.bert || number == BLOCK2 && self.request.conn.is_some();
        if block.exponent > LARGEST && !bert {
            let text = "block size exponent 7 is reserved";
            self.wrong(Code::BAD_REQUEST, Reason::ProtocolError, text);
        } else if number == BLOCK2 {
            self.wanted.block = Some(block);
        } else if !matches!(self.request.method, Method::Get | Method::Delete) {
            self.block1 = Some(block);
        } else if block.more || block.number > 0 {
            // RFC 7252 §5.8: a body means nothing there, so parts of one are not understood.
            return Err(bad_option(number));
        }
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
        BLOCK1 => "Block1: GET and DELETE have no body".into(),
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
        let config = Config { max_payload: 64, ..Config::default() };
        let sender = Sender { peer: &peer, conn: None, confirmable: true };
        read(sender, code, packet, &config).map_err(|refusal| refusal.body.code)
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
    }

    /// RFC 7959 §2.2, §2.3.
    #[test]
    fn a_block_has_the_size_that_it_says() {
        let put = |block: &[u8], length: usize| {
            judge(3, &[(BLOCK1, block)], &[1; 64][..length]).map(|parsed| parsed.block1).err()
        };
        assert_eq!((put(b"\x0a", 64), put(b"\x12", 64), put(b"\x12", 3)), (None, None, None));
        assert_eq!(put(b"\x12", 0), None, "a body may end with a block");
        let wrong = Some(Code::BAD_REQUEST);
        assert_eq!((put(b"\x0a", 63), put(b"\x0a", 0)), (wrong, wrong), "not the last");
        assert_eq!((put(b"\x01", 33), put(b"\x11", 33)), (wrong, wrong));
    }

    /// RFC 9175 §3.3, and its definition of "matchable".
    #[test]
    fn an_operation_is_its_method_and_options() {
        let name = |code, options: Options<'_>| judge(code, options, b"").unwrap().operation;
        assert_eq!(name(3, &[(URI_PATH, b"a")]), b"", "comes in one message");
        let a = name(3, &[(URI_PATH, b"a"), (BLOCK1, b"")]);
        let same: [Options<'_>; 4] = [
            &[(URI_PATH, b"a"), (BLOCK1, b"\x10")],
            &[(URI_PATH, b"a"), (BLOCK2, b"\x02"), (BLOCK1, b"")],
            &[(URI_PATH, b"a"), (BLOCK1, b""), (SIZE1, b"\x09"), (252, b"echo")],
            &[(URI_PATH, b"a"), (BLOCK1, b""), (NO_RESPONSE, b"\x1a")],
        ];
        for options in same {
            assert_eq!(name(3, options), a, "{options:?}");
        }
        let others: [Options<'_>; 8] = [
            &[(URI_PATH, b"b"), (BLOCK1, b"")],
            &[(URI_PATH, b"a"), (URI_PATH, b""), (BLOCK1, b"")],
            &[(URI_HOST, b"h"), (URI_PATH, b"a"), (BLOCK1, b"")],
            &[(URI_PATH, b"a"), (URI_QUERY, b"q"), (BLOCK1, b"")],
            &[(URI_PATH, b"a"), (CONTENT_FORMAT, b""), (BLOCK1, b"")],
            &[(IF_NONE_MATCH, b""), (URI_PATH, b"a"), (BLOCK1, b"")],
            &[(URI_PATH, b"a"), (BLOCK1, b""), (292, b"")],
            &[(URI_PATH, b"a"), (BLOCK1, b""), (292, b""), (292, b"")],
        ];
        for options in others {
            assert_ne!(name(3, options), a, "{options:?}");
        }
        assert_ne!(name(2, &[(URI_PATH, b"a"), (BLOCK1, b"")]), a, "another method");
    }

    #[test]
    fn unknown_methods_and_large_payloads() {
        assert_eq!(judge(8, &[], b"").unwrap_err(), Code::METHOD_NOT_ALLOWED);
        assert_eq!(judge(31, &[], b"").unwrap_err(), Code::METHOD_NOT_ALLOWED);
        assert!(judge(3, &[], &[1; 64]).is_ok());
        assert_eq!(judge(3, &[], &[1; 65]).unwrap_err(), Code::REQUEST_ENTITY_TOO_LARGE);
    }
}
