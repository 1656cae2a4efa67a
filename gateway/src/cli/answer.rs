//! How CoAP responses are shown, and what their codes mean for the exit code.

use std::io::{self, Write};

use motegate_coap::client::Response;
use motegate_coap::endpoint::{Code, Method};
use serde::Serialize;

use super::message::{Output, hex};
use crate::client::{Error, Target};

/// Content-Formats by the names that are typed (IANA, CoAP Content-Formats).
const FORMATS: [(&str, u16); 10] = [
    ("text/plain", 0),
    ("application/link-format", 40),
    ("application/xml", 41),
    ("application/octet-stream", 42),
    ("application/exi", 47),
    ("application/json", 50),
    ("application/cbor", 60),
    ("application/senml+json", 110),
    ("application/senml+cbor", 112),
    ("application/cose", 98),
];

/// For clap: a number, a media type, or its last word.
pub(super) fn content_format(text: &str) -> Result<u16, String> {
    if let Ok(number) = text.parse() {
        return Ok(number);
    }
    let short = match text {
        "text" => "text/plain",
        "link" => "application/link-format",
        "binary" => "application/octet-stream",
        other => other,
    };
    let named = |(name, _): &&(&str, u16)| *name == short || name.ends_with(&format!("/{short}"));
    let found = FORMATS.iter().find(named).map(|(_, number)| *number);
    found.ok_or_else(|| "a number, or text, link, xml, binary, json, cbor, senml+json".to_owned())
}

/// `2.05 Content`.
pub(super) fn code_text(code: Code) -> String {
    let name = name(code);
    let space = if name.is_empty() { "" } else { " " };
    format!("{}.{:02}{space}{name}", code.class(), code.detail())
}

fn name(code: Code) -> &'static str {
    match (code.class(), code.detail()) {
        (2, 1) => "Created",
        (2, 2) => "Deleted",
        (2, 3) => "Valid",
        (2, 4) => "Changed",
        (2, 5) => "Content",
        (4, 0) => "Bad Request",
        (4, 1) => "Unauthorized",
        (4, 2) => "Bad Option",
        (4, 3) => "Forbidden",
        (4, 4) => "Not Found",
        (4, 5) => "Method Not Allowed",
        (4, 6) => "Not Acceptable",
        (4, 8) => "Request Entity Incomplete",
        (4, 12) => "Precondition Failed",
        (4, 13) => "Request Entity Too Large",
        (4, 15) => "Unsupported Content-Format",
        (4, 29) => "Too Many Requests",
        (5, 0) => "Internal Server Error",
        (5, 1) => "Not Implemented",
        (5, 2) => "Bad Gateway",
        (5, 3) => "Service Unavailable",
        (5, 4) => "Gateway Timeout",
        (5, 5) => "Proxying Not Supported",
        _ => "",
    }
}

/// The error that a response to this request is, if it is one.
pub(super) fn failure(method: Method, target: &Target, response: &Response) -> Option<Error> {
    let code = response.code;
    // RFC 7252 §5.5.2: the payload of an error is a diagnostic for people.
    let words = String::from_utf8_lossy(&response.payload);
    let text = if words.is_empty() || !is_text(response) {
        code_text(code)
    } else {
        format!("{}: {words}", code_text(code))
    };
    let writes = matches!(method, Method::Put | Method::Post);
    let hint = match (code.class(), code.detail()) {
        (2, _) => return None,
        // No rule: there is nothing that could be created.
        (4, 4) if writes => {
            let hint = "no rule takes this path? see `mappings.coap` of its configuration";
            return Some(Error::Refused { text, hint: hint.into() });
        }
        (4, 4) => {
            let hint = format!("`motegate discover {target}` lists what is there");
            return Some(Error::Refused { text, hint: hint.into() });
        }
        (4, 1) => {
            "is it let in? its user name, password, token or certificate; the server's log says more"
        }
        (4, 3) => "this device may not do that: see the server's access rules",
        (4, 5) => "the resource has other methods: see the rule's `methods`",
        (4, 6) => "ask for another format (-A), or for none",
        (4, 13) => "send less in one message",
        (4, 15) => "say what the payload is: -t text, json, cbor or a number",
        (4, 29) => "wait a little and try again",
        (4, _) => "the server does not take this request; -d shows what was sent",
        (5, _) => return Some(Error::Failed(text)),
        _ => return Some(Error::Protocol(format!("{text} is no answer to a request"))),
    };
    Some(Error::Refused { text, hint: hint.into() })
}

fn is_text(response: &Response) -> bool {
    matches!(response.content_format, None | Some(0))
}

/// A response as JSON.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    code: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_format: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_age: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    observe: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_hex: Option<String>,
}

/// Prints responses on stdout, each at once.
#[derive(Debug)]
pub(super) struct Printer {
    output: Output,
    newline: bool,
    /// An array of all that comes instead of one document.
    many: bool,
    count: usize,
}

impl Printer {
    pub(super) fn new(output: Output, newline: bool, many: bool) -> Self {
        Printer { output, newline, many, count: 0 }
    }

    pub(super) fn print(&mut self, response: &Response) -> Result<(), Error> {
        let mut out = io::stdout().lock();
        let first = self.count == 0;
        self.count += 1;
        match (self.output, self.many) {
            (Output::Text, _) => {
                out.write_all(&response.payload)?;
                let has_one = response.payload.last() == Some(&b'\n');
                let wanted = self.many || !response.payload.is_empty();
                if self.newline && wanted && !has_one {
                    writeln!(out)?;
                }
            }
            (Output::Json, true) => {
                write!(out, "{}", if first { "[\n  " } else { ",\n  " })?;
                serde_json::to_writer(&mut out, &shown(response)).map_err(io::Error::from)?;
            }
            (Output::Json, false) => {
                serde_json::to_writer_pretty(&mut out, &shown(response))
                    .map_err(io::Error::from)?;
                writeln!(out)?;
            }
            (Output::Ndjson, _) => {
                serde_json::to_writer(&mut out, &shown(response)).map_err(io::Error::from)?;
                writeln!(out)?;
            }
        }
        out.flush()?;
        Ok(())
    }

    /// Nothing follows: closes the array.
    pub(super) fn finish(&self) -> Result<(), Error> {
        if self.output == Output::Json && self.many {
            let mut out = io::stdout().lock();
            writeln!(out, "{}", if self.count == 0 { "[]" } else { "\n]" })?;
        }
        Ok(())
    }
}

fn shown(response: &Response) -> Shown<'_> {
    let text = std::str::from_utf8(&response.payload).ok();
    let location = &response.location_path;
    Shown {
        code: format!("{}.{:02}", response.code.class(), response.code.detail()),
        content_format: response.content_format,
        etag: response.etag.as_deref().map(hex),
        max_age: response.max_age.map(|age| age.as_secs()),
        observe: response.observe,
        location: (!location.is_empty()).then(|| format!("/{}", location.join("/"))),
        payload: text,
        payload_hex: text.is_none().then(|| hex(&response.payload)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_have_names() {
        for (text, number) in
            [("text", 0), ("json", 50), ("application/cbor", 60), ("11542", 11_542), ("link", 40)]
        {
            assert_eq!(content_format(text), Ok(number), "{text}");
        }
        assert!(content_format("yaml").is_err());
        assert!(content_format("65536").is_err());
    }

    #[test]
    fn codes_have_names() {
        assert_eq!(code_text(Code::CONTENT), "2.05 Content");
        assert_eq!(code_text(Code::new(4, 29)), "4.29 Too Many Requests");
        assert_eq!(code_text(Code::new(6, 1)), "6.01");
    }
}
