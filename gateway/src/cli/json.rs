//! JSON of messages: on one line or laid out for people, with the payload as text or as JSON.

use std::io;

use serde::de::IgnoredAny;

use super::message::Received;

/// The message with its payload as text.
pub(super) fn of(message: &Received<'_>, pretty: bool) -> io::Result<String> {
    let text = serde_json::to_string(message)?;
    Ok(if pretty { lay_out(&text, true) } else { text })
}

/// The message with its payload as it is; the caller has found that to be JSON.
pub(super) fn with_payload(message: &Received<'_>, pretty: bool) -> io::Result<String> {
    let head = Received { payload: None, payload_hex: None, ..message.clone() };
    let mut text = serde_json::to_string(&head)?;
    text.pop(); // the closing brace
    text.push_str(",\"payload\":");
    text.push_str(message.payload.unwrap_or_default());
    text.push('}');
    Ok(lay_out(&text, pretty))
}

/// Whether a payload is JSON.
pub(super) fn is(bytes: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(bytes).is_ok()
}

/// Valid JSON with other white space: none, or two spaces a level. Numbers, order and repeated
/// names stay as they are, which a parser of values would not promise.
fn lay_out(text: &str, pretty: bool) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    let newline = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth));
    };
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        if quoted {
            out.push(char);
            quoted = escaped || char != '"';
            escaped = !escaped && char == '\\';
            continue;
        }
        match char {
            ' ' | '\t' | '\r' | '\n' => {}
            '{' | '[' => {
                out.push(char);
                while chars.next_if(char::is_ascii_whitespace).is_some() {}
                if pretty && !matches!(chars.peek(), Some('}' | ']')) {
                    depth += 1;
                    newline(&mut out, depth);
                } else if let Some(close) = chars.next_if(|char| matches!(char, '}' | ']')) {
                    out.push(close);
                }
            }
            '}' | ']' => {
                if pretty {
                    depth = depth.saturating_sub(1);
                    newline(&mut out, depth);
                }
                out.push(char);
            }
            ',' if pretty => {
                out.push(char);
                newline(&mut out, depth);
            }
            ':' if pretty => out.push_str(": "),
            _ => {
                quoted = char == '"';
                out.push(char);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_white_space_changes() {
        let loose = " { \"a b\" : [ 1.50 , { } , [ ] ], \"q\\\"{,\" :\t\"\\\\\", \"a b\": null } ";
        let tight = "{\"a b\":[1.50,{},[]],\"q\\\"{,\":\"\\\\\",\"a b\":null}";
        assert_eq!(lay_out(loose, false), tight);
        let pretty = lay_out(loose, true);
        assert_eq!(lay_out(&pretty, false), tight);
        let expected = "{\n  \"a b\": [\n    1.50,\n    {},\n    []\n  ],";
        assert!(pretty.starts_with(expected), "{pretty}");
        assert!(pretty.ends_with("\n  \"a b\": null\n}"), "{pretty}");
    }

    #[test]
    fn json_is_known() {
        for yes in ["1", " {\"a\": [true]} ", "\"x\""] {
            assert!(is(yes.as_bytes()), "{yes}");
        }
        for no in ["", "x", "{a:1}", "1 2", "\"\u{1}\""] {
            assert!(!is(no.as_bytes()), "{no}");
        }
    }
}
