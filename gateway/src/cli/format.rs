//! `-F`: mosquitto_sub's output formats, and the time as it writes it.

use std::io::{self, Write};

use motegate_message::Wall;

use super::message::{Received, hex};
use crate::client::Error;

/// A parsed format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Format(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(Vec<u8>),
    Field(char),
}

const FIELDS: &str = "tpqrlxXjIUimCRDEFSP";

impl Format {
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        let mut parts = Vec::new();
        let mut literal = Vec::new();
        let mut chars = text.chars();
        while let Some(char) = chars.next() {
            match char {
                '%' => match chars.next() {
                    Some('%') => literal.push(b'%'),
                    Some(field) if FIELDS.contains(field) => {
                        parts.push(Part::Text(std::mem::take(&mut literal)));
                        parts.push(Part::Field(field));
                    }
                    other => {
                        let other = other.map_or(String::new(), String::from);
                        return Err(Error::usage(format!("-F: %{other} is no field; see --help")));
                    }
                },
                '\\' => literal.push(match chars.next() {
                    Some('n') => b'\n',
                    Some('t') => b'\t',
                    Some('r') => b'\r',
                    Some('0') => 0,
                    Some('\\') => b'\\',
                    _ => return Err(Error::usage("-F: after \\ comes n, t, r, 0 or \\")),
                }),
                other => literal.extend(other.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        parts.push(Part::Text(literal));
        Ok(Format(parts))
    }

    pub(super) fn write(&self, message: &Received<'_>, out: &mut impl Write) -> io::Result<()> {
        for part in &self.0 {
            match part {
                Part::Text(text) => out.write_all(text)?,
                Part::Field(field) => write_field(*field, message, out)?,
            }
        }
        Ok(())
    }
}

fn write_field(field: char, message: &Received<'_>, out: &mut impl Write) -> io::Result<()> {
    let named = |out: &mut dyn Write, name: &str| {
        let all = message.properties.iter().filter(|(of, _)| *of == name);
        let values: Vec<_> = all.map(|(_, value)| value.as_str()).collect();
        out.write_all(values.join(" ").as_bytes())
    };
    match field {
        't' => write!(out, "{}", message.topic),
        'p' => out.write_all(message.bytes),
        'q' => write!(out, "{}", message.qos),
        'r' => write!(out, "{}", message.retain),
        'l' => write!(out, "{}", message.payloadlen),
        'x' => write!(out, "{}", hex(message.bytes)),
        'X' => write!(out, "{}", hex(message.bytes).to_uppercase()),
        'j' => serde_json::to_writer(out, message).map_err(io::Error::from),
        'I' => write!(out, "{}", message.tst),
        'U' => {
            let millis = message.wall.as_millis();
            write!(out, "{}.{:03}", millis / 1000, millis % 1000)
        }
        'i' => message.topic_id.map_or(Ok(()), |id| write!(out, "{id}")),
        'C' => named(out, "content-type"),
        'R' => named(out, "response-topic"),
        'D' => named(out, "correlation-data"),
        'E' => named(out, "message-expiry-interval"),
        'F' => named(out, "payload-format-indicator"),
        'S' => named(out, "subscription-identifier"),
        'P' => named(out, "user-property"),
        _ => Ok(()),
    }
}

/// ISO 8601 in UTC with milliseconds, such as `2026-11-25T12:00:03.123Z`.
pub(super) fn timestamp(wall: Wall) -> String {
    let millis = wall.as_millis();
    let (days, time) = (millis / 86_400_000, millis % 86_400_000);
    let (year, month, day) = civil(days);
    let (hour, minute) = (time / 3_600_000, time / 60_000 % 60);
    let (second, milli) = (time / 1000 % 60, time % 1000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

/// Year, month and day of a day since 1970: eras of 400 years that begin on 1 March.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153; // from March
    let (date, january) = (day - (153 * month + 2) / 5 + 1, month >= 10);
    (era * 400 + year + u64::from(january), if january { month - 9 } else { month + 3 }, date)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted() {
        let at = |millis| timestamp(Wall::from_millis(millis));
        assert_eq!(at(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(at(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(at(1_709_251_199_999), "2024-02-29T23:59:59.999Z");
        assert_eq!(at(1_795_651_200_001), "2026-11-26T00:00:00.001Z");
        assert_eq!(at(4_107_542_400_000), "2100-03-01T00:00:00.000Z");
    }

    #[test]
    fn formats_are_parsed() {
        let format = Format::parse(r"%t=%p\n%%").unwrap();
        let text = |text: &str| Part::Text(text.into());
        let expected = [text(""), Part::Field('t'), text("="), Part::Field('p'), text("\n%")];
        assert_eq!(format.0, expected);
        for wrong in ["%", "%y", r"\y", r"\"] {
            assert!(Format::parse(wrong).is_err(), "{wrong}");
        }
    }
}
