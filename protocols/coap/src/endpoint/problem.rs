//! Errors as a client wants to read them: text by default (RFC 7252 §5.5.2), or problem details
//! (RFC 9290) where it asks for them by Accept.

use alloc::vec::Vec;

use super::body::Body;
use super::contract::Code;

/// `application/concise-problem-details+cbor` (RFC 9290 §6.3).
pub(super) const CONTENT_FORMAT: u16 = 257;
/// Standard problem details (RFC 9290 §2), as CBOR: -1 and -2.
const TITLE: u8 = 0x20;
const DETAIL: u8 = 0x21;
/// CBOR: a map of two.
const TWO: u8 = 0xa2;
const TEXT: u8 = 0x60;

impl Body {
    /// A diagnostic text becomes the detail of a problem; anything else stays as it is.
    pub(super) fn into_problem(mut self) -> Body {
        let is_text = self.code.class() > 3 && self.content_format.is_none();
        let Some(detail) =
            core::str::from_utf8(&self.payload).ok().filter(|text| is_text && !text.is_empty())
        else {
            return self;
        };
        let mut out = Vec::with_capacity(detail.len() + 40);
        out.extend_from_slice(&[TWO, TITLE]);
        write_text(&mut out, title(self.code));
        out.push(DETAIL);
        write_text(&mut out, detail);
        self.payload = out.into();
        self.content_format = Some(CONTENT_FORMAT);
        self
    }
}

/// RFC 8949 §3.1: a head of the fewest bytes, then the text.
fn write_text(out: &mut Vec<u8>, text: &str) {
    match (u8::try_from(text.len()), u16::try_from(text.len())) {
        (Ok(len @ ..=23), _) => out.push(TEXT | len),
        (Ok(len), _) => out.extend_from_slice(&[TEXT | 24, len]),
        (_, Ok(len)) => {
            out.push(TEXT | 25);
            out.extend_from_slice(&len.to_be_bytes());
        }
        // A diagnostic text fits a message; this keeps the document whole.
        _ => return out.push(TEXT),
    }
    out.extend_from_slice(text.as_bytes());
}

/// RFC 9290 §2: the same for every occurrence of a kind of problem.
const fn title(code: Code) -> &'static str {
    match code {
        Code::BAD_REQUEST => "Bad Request",
        Code::UNAUTHORIZED => "Unauthorized",
        Code::BAD_OPTION => "Bad Option",
        Code::FORBIDDEN => "Forbidden",
        Code::NOT_FOUND => "Not Found",
        Code::METHOD_NOT_ALLOWED => "Method Not Allowed",
        Code::NOT_ACCEPTABLE => "Not Acceptable",
        Code::REQUEST_ENTITY_INCOMPLETE => "Request Entity Incomplete",
        Code::PRECONDITION_FAILED => "Precondition Failed",
        Code::REQUEST_ENTITY_TOO_LARGE => "Request Entity Too Large",
        Code::UNSUPPORTED_CONTENT_FORMAT => "Unsupported Content-Format",
        Code::TOO_MANY_REQUESTS => "Too Many Requests",
        Code::NOT_IMPLEMENTED => "Not Implemented",
        Code::SERVICE_UNAVAILABLE => "Service Unavailable",
        Code::PROXYING_NOT_SUPPORTED => "Proxying Not Supported",
        _ if code.class() == 5 => "Internal Server Error",
        _ => "Client Error",
    }
}

#[cfg(test)]
mod tests {
    use super::super::contract::Response;
    use super::*;
    use alloc::string::String;

    #[test]
    fn a_problem_is_a_map_of_title_and_detail() {
        let body = Body::from(Response::error(Code::NOT_FOUND, "gone")).into_problem();
        assert_eq!(&body.payload[..], b"\xa2\x20\x69Not Found\x21\x64gone");
        assert_eq!(body.content_format, Some(257));
        for len in [23, 24, 255, 256, 900] {
            let text: String = core::iter::repeat_n('x', len).collect();
            let body = Body::from(Response::error(Code::NOT_FOUND, text)).into_problem();
            let head: &[u8] = match len {
                23 => &[0x77],
                24 => &[0x78, 24],
                255 => &[0x78, 255],
                256 => &[0x79, 1, 0],
                _ => &[0x79, 3, 132],
            };
            assert_eq!(&body.payload[12..13 + head.len()], [&[0x21][..], head].concat());
            assert_eq!(body.payload.len(), 13 + head.len() + len);
        }
    }

    #[test]
    fn what_is_no_text_stays() {
        let mut json = Response::error(Code::NOT_FOUND, "{}");
        json.content_format = Some(50);
        for response in [
            json,
            Response::new(Code::NOT_FOUND),
            Response { payload: "x".into(), ..Response::new(Code::CONTENT) },
        ] {
            let before = response.payload.clone();
            assert_eq!(Body::from(response).into_problem().payload, before);
        }
    }
}
