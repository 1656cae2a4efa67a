//! `motegate discover` and `motegate ping`: what a CoAP server has, and whether it lives.

use std::io::{self, Write as _};
use std::time::Duration;

use clap::Args;
use motegate_coap::endpoint::Method;
use serde::Serialize;

use super::Exit;
use super::answer::{code_text, failure};
use super::message::Output;
use super::resource::{Asking, Place};
use super::talk::{bounded, drive, seconds};
use crate::client::{CoapClient, Error};
use crate::clock::Clock;

/// application/link-format (RFC 6690 §7.3).
const LINK_FORMAT: u16 = 40;

/// List the resources of a CoAP server (/.well-known/core)
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  motegate discover coap://localhost
  motegate discover 'coap://localhost/?href=/mqtt/site/*' -o ndjson")]
pub(super) struct Discover {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    asking: Asking,
}

impl Discover {
    pub(super) fn run(self, clock: Clock) -> Exit {
        let mut talk = self.place.talk();
        let result = self.place.target().and_then(|mut target| {
            if target.path.iter().all(String::is_empty) {
                target.path = vec![".well-known".to_owned(), "core".to_owned()];
            }
            let what = format!("no answer from {target}");
            drive(bounded(Some(self.asking.wait()), &what, async {
                let mut client = CoapClient::open(&target, clock, self.place.debug).await?;
                self.asking.set_up(&mut client);
                let mut request = client.to_target(Method::Get);
                self.asking.apply(&mut request);
                request.accept = request.accept.or(Some(LINK_FORMAT));
                let response = client.ask(request).await;
                client.leave().await;
                let response = response?;
                if let Some(error) = failure(Method::Get, &target, &response) {
                    return Err(error);
                }
                talk.step(code_text(response.code));
                talk.say_steps();
                let text = String::from_utf8_lossy(&response.payload);
                print(&links(&text), self.place.output)
            }))
        });
        talk.end(result)
    }
}

/// Ask whether a CoAP server lives, and how long the answer takes
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  motegate ping coap://localhost
  motegate ping coap://sensor.lan -C 5 -i 0.2")]
pub(super) struct Ping {
    #[command(flatten)]
    place: Place,
    /// So many times
    #[arg(
        short = 'C', long, value_name = "COUNT", default_value_t = 1,
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    count: u32,
    /// Seconds between them
    #[arg(short, long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    interval: Duration,
    /// Give up after so many seconds without an answer, with exit code 27
    #[arg(short = 'W', long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    wait: Duration,
}

#[derive(Debug, Serialize)]
struct Pong<'a> {
    server: &'a str,
    seq: u32,
    millis: f64,
}

impl Ping {
    pub(super) fn run(self, clock: Clock) -> Exit {
        let talk = self.place.talk();
        let result = self.place.target().and_then(|target| {
            let (what, server) = (format!("no answer from {target}"), target.to_string());
            drive(async {
                let mut client = CoapClient::open(&target, clock, self.place.debug).await?;
                let mut all = Vec::new();
                for seq in 1..=self.count {
                    if seq > 1 {
                        tokio::time::sleep(self.interval).await;
                    }
                    let mut took = Duration::ZERO;
                    bounded(Some(self.wait), &what, async {
                        took = client.ping().await?;
                        Ok(())
                    })
                    .await?;
                    let millis = (took.as_secs_f64() * 1e5).round() / 100.0;
                    let pong = Pong { server: &server, seq, millis };
                    match self.place.output {
                        Output::Text => writeln!(io::stdout(), "{server} lives: {millis} ms")?,
                        Output::Ndjson => writeln!(io::stdout(), "{}", json(&pong)?)?,
                        Output::Json => all.push(pong),
                    }
                }
                client.leave().await;
                if self.place.output == Output::Json {
                    writeln!(io::stdout(), "{}", json(&all)?)?;
                }
                Ok(())
            })
        });
        talk.end(result)
    }
}

fn json(value: &impl Serialize) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|error| Error::file("stdout", error.into()))
}

/// A link of RFC 6690.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Link {
    href: String,
    attributes: Vec<(String, String)>,
}

fn print(links: &[Link], output: Output) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    match output {
        Output::Json => writeln!(out, "{}", json(&links)?)?,
        Output::Ndjson => {
            for link in links {
                writeln!(out, "{}", json(link)?)?;
            }
        }
        Output::Text => {
            for link in links {
                write!(out, "{}", link.href)?;
                for (name, value) in &link.attributes {
                    let equals = if value.is_empty() { "" } else { "=" };
                    write!(out, "  {name}{equals}{value}")?;
                }
                writeln!(out)?;
            }
        }
    }
    Ok(())
}

/// The links of a document (RFC 6690 §2). What is no link is left out.
fn links(text: &str) -> Vec<Link> {
    let link = |text: &str| {
        let (href, rest) = text.trim().strip_prefix('<')?.split_once('>')?;
        let attributes = split(rest, ';').into_iter().filter(|part| !part.trim().is_empty());
        let attribute = |part: &str| {
            let (name, value) = part.trim().split_once('=').unwrap_or((part.trim(), ""));
            let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
            let bare = part.trim().split_once('=').map_or("", |(_, value)| value);
            (name.to_owned(), value.map_or_else(|| bare.to_owned(), unescape))
        };
        Some(Link { href: href.to_owned(), attributes: attributes.map(attribute).collect() })
    };
    split(text, ',').into_iter().filter_map(link).collect()
}

/// Parts between separators that stand neither in quotes nor in a target.
fn split(text: &str, separator: char) -> Vec<&str> {
    let (mut parts, mut start) = (Vec::new(), 0);
    let (mut quoted, mut target, mut escaped) = (false, false, false);
    for (at, char) in text.char_indices() {
        match char {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' if !target => quoted = !quoted,
            '<' if !quoted => target = true,
            '>' if !quoted => target = false,
            _ if char == separator && !quoted && !target => {
                parts.extend(text.get(start..at));
                start = at + char.len_utf8();
            }
            _ => {}
        }
    }
    parts.extend(text.get(start..));
    parts
}

fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        out.extend(if char == '\\' { chars.next() } else { Some(char) });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_taken_apart() {
        let text = r#"</a,b>;rt="x \"y\", z";ct=40;obs, </c>,nonsense,<d>"#;
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let first = Link {
            href: "/a,b".to_owned(),
            attributes: vec![pair("rt", r#"x "y", z"#), pair("ct", "40"), pair("obs", "")],
        };
        let bare = |href: &str| Link { href: href.to_owned(), attributes: vec![] };
        assert_eq!(links(text), [first, bare("/c"), bare("d")]);
        assert_eq!(links(""), []);
    }
}
