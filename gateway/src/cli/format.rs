//! `-F`: mosquitto_sub's output formats.
//!
//! `%` begins a field of the message, with the flags `0` and `-`, a width and a maximum width as
//! mosquitto 2.0 takes them; `@` a field of the time (UTC); `\` a character that is hard to type.

use std::io::{self, Write};

use super::message::{Received, hex};
use super::{json, time};
use crate::client::Error;

/// A parsed format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Format(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(Vec<u8>),
    Field(char, Layout),
    Time(char),
}

/// How wide a field is, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Layout {
    zero: bool,
    left: bool,
    width: usize,
    max: Option<usize>,
}

const FIELDS: &str = "tpqrlxXjJIUimACRDEFSP";
/// Numbers and digits: 0 fills them.
const ZERO_FILLED: &str = "lxXimAEFS";
/// Texts that may be cut.
const CUT: &str = "tICR";
/// Those that have no width.
const AS_THEY_ARE: &str = "qrjJUDP";
/// A wider field is a slip of the hand.
const MAX_WIDTH: usize = 10_000;

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

impl Format {
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        let mut parts = Vec::new();
        let mut literal = Vec::new();
        let mut chars = text.chars().peekable();
        while let Some(char) = chars.next() {
            let part = match char {
                '%' if chars.next_if_eq(&'%').is_some() => Err('%'),
                '@' if chars.next_if_eq(&'@').is_some() => Err('@'),
                '%' => Ok(field(&mut chars)?),
                '@' => Ok(time_field(&mut chars)?),
                '\\' => Err(escape(&mut chars)?),
                other => Err(other),
            };
            match part {
                Ok(part) => {
                    if !literal.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut literal)));
                    }
                    parts.push(part);
                }
                Err(char) => literal.extend(char.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        Ok(Format(parts))
    }

    /// Whether a message without a payload of JSON cannot be written.
    pub(super) fn wants_json(&self) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Field('J', _)))
    }

    pub(super) fn write(
        &self,
        message: &Received<'_>,
        pretty: bool,
        out: &mut impl Write,
    ) -> io::Result<()> {
        for part in &self.0 {
            match part {
                Part::Text(text) => out.write_all(text)?,
                Part::Time(field) => write!(out, "{}", time::field(*field, message.wall))?,
                Part::Field(field, layout) => {
                    write_field(*field, *layout, &value(*field, message, pretty)?, out)?;
                }
            }
        }
        Ok(())
    }
}

/// Behind `%`: `[0-][width][.max]FIELD`.
fn field(chars: &mut Chars<'_>) -> Result<Part, Error> {
    let mut layout = Layout::default();
    while let Some(flag) = chars.next_if(|char| matches!(char, '0' | '-')) {
        *(if flag == '0' { &mut layout.zero } else { &mut layout.left }) = true;
    }
    layout.width = number(chars)?.unwrap_or(0);
    if chars.next_if_eq(&'.').is_some() {
        let none = || Error::usage("-F: behind the dot of a field comes its maximum width");
        layout.max = Some(number(chars)?.ok_or_else(none)?);
    }
    match chars.next() {
        Some(field) if FIELDS.contains(field) => Ok(Part::Field(field, layout)),
        other => {
            let other = other.map_or(String::new(), String::from);
            Err(Error::usage(format!("-F: %{other} is no field; see --help")))
        }
    }
}

fn number(chars: &mut Chars<'_>) -> Result<Option<usize>, Error> {
    let mut all = None;
    while let Some(digit) = chars.peek().and_then(|char| char.to_digit(10)) {
        chars.next();
        let value = all.unwrap_or(0) * 10 + digit as usize;
        if value > MAX_WIDTH {
            return Err(Error::usage(format!("-F: a field has at most {MAX_WIDTH} characters")));
        }
        all = Some(value);
    }
    Ok(all)
}

fn time_field(chars: &mut Chars<'_>) -> Result<Part, Error> {
    match chars.next() {
        Some(field) if time::FIELDS.contains(field) => Ok(Part::Time(field)),
        other => {
            let (other, known) = (other.map_or(String::new(), String::from), time::FIELDS);
            Err(Error::usage(format!("-F: @{other} is no field of the time: {known} or @")))
        }
    }
}

fn escape(chars: &mut Chars<'_>) -> Result<char, Error> {
    Ok(match chars.next() {
        Some('n') => '\n',
        Some('t') => '\t',
        Some('r') => '\r',
        Some('0') => '\0',
        Some('a') => '\x07',
        Some('e') => '\x1b',
        Some('v') => '\x0b',
        Some('\\') => '\\',
        _ => return Err(Error::usage("-F: after \\ comes n, t, r, 0, a, e, v or \\")),
    })
}

/// What stands for a field; nothing for a property that the message does not have.
fn value(field: char, message: &Received<'_>, pretty: bool) -> io::Result<Vec<u8>> {
    let properties = &message.properties;
    let list = |all: Vec<String>| all.join(" ");
    let text = match field {
        'p' => return Ok(message.bytes.to_vec()),
        'D' => return Ok(properties.correlation.clone().unwrap_or_default()),
        't' => message.topic.to_string(),
        'q' => message.qos.to_string(),
        'r' => message.retain.to_string(),
        'l' => message.payloadlen.to_string(),
        'x' => hex(message.bytes),
        'X' => hex(message.bytes).to_uppercase(),
        'j' => json::of(message, pretty)?,
        'J' => json::with_payload(message, pretty)?,
        'I' => message.tst.clone(),
        'U' => {
            let millis = message.wall.as_millis();
            format!("{}.{:03}", millis / 1000, millis % 1000)
        }
        'i' => message.topic_id.map_or(String::new(), |id| id.to_string()),
        'm' => message.mid.unwrap_or(0).to_string(),
        'A' => properties.alias.map_or(String::new(), |alias| alias.to_string()),
        'C' => properties.content_type.clone().unwrap_or_default(),
        'R' => properties.response_topic.clone().unwrap_or_default(),
        'E' => properties.expiry.map_or(String::new(), |secs| secs.to_string()),
        'F' => properties.format.map_or(String::new(), |format| format.to_string()),
        'S' => list(properties.subscriptions.iter().map(u32::to_string).collect()),
        'P' => list(properties.user.iter().map(|(n, v)| format!("{n}:{v}")).collect()),
        _ => String::new(),
    };
    Ok(text.into_bytes())
}

fn write_field(field: char, layout: Layout, value: &[u8], out: &mut impl Write) -> io::Result<()> {
    if AS_THEY_ARE.contains(field) {
        return out.write_all(value);
    }
    let mut value = value;
    if let (Some(max), Ok(text)) =
        (layout.max.filter(|_| CUT.contains(field)), str::from_utf8(value))
    {
        let end = text.char_indices().nth(max).map_or(text.len(), |(end, _)| end);
        value = &value[..end];
    }
    let len = str::from_utf8(value).map_or(value.len(), |text| text.chars().count());
    let zero = layout.zero && !layout.left && ZERO_FILLED.contains(field);
    let fill = vec![if zero { b'0' } else { b' ' }; layout.width.saturating_sub(len)];
    if layout.left {
        out.write_all(value)?;
        return out.write_all(&fill);
    }
    out.write_all(&fill)?;
    out.write_all(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_parsed() {
        let format = Format::parse(r"%t=%-08.3p\n%%@@@H\e").unwrap();
        let text = |text: &str| Part::Text(text.into());
        let wide = Layout { zero: true, left: true, width: 8, max: Some(3) };
        let expected = [
            Part::Field('t', Layout::default()),
            text("="),
            Part::Field('p', wide),
            text("\n%@"),
            Part::Time('H'),
            text("\x1b"),
        ];
        assert_eq!(format.0, expected);
        for wrong in ["%", "%y", "%5", "%5.t", "%99999t", "@", "@Q", r"\y", r"\"] {
            assert!(Format::parse(wrong).is_err(), "{wrong}");
        }
    }

    /// Each as mosquitto_sub 2.0.11 prints it.
    #[test]
    fn fields_are_filled_and_cut() {
        for (field, layout, value, expected) in [
            ('t', "%6t", "abc", "   abc"),
            ('t', "%-6t", "abc", "abc   "),
            ('t', "%06t", "abc", "   abc"),
            ('t', "%4.2t", "abc", "  ab"),
            ('t', "%.2t", "äöü", "äö"),
            ('p', "%6p", "abc", "   abc"),
            ('p', "%.2p", "abc", "abc"),
            ('l', "%05l", "42", "00042"),
            ('l', "%-05l", "42", "42   "),
            ('q', "%5q", "1", "1"),
        ] {
            let format = Format::parse(layout).unwrap();
            let [Part::Field(parsed, layout)] = format.0[..] else { panic!("{format:?}") };
            assert_eq!(parsed, field);
            let mut out = Vec::new();
            write_field(field, layout, value.as_bytes(), &mut out).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), expected, "%{layout:?}{field}");
        }
    }
}
