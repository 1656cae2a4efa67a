//! `motegate get`, `put`, `post` and `delete`: one CoAP request and its answer.

use std::time::Duration;

use clap::Args;
use motegate_coap::client::Request;
use motegate_coap::endpoint::Method;

use super::Exit;
use super::answer::{Printer, code_text, content_format, failure};
use super::message::Output;
use super::payload::Payload;
use super::talk::{Color, Talk, bounded, drive, seconds};
use super::tls::Tls;
use crate::client::{CoapClient, Error, Scheme, Target};
use crate::clock::Clock;

/// The largest body of one message: RFC 7959 §2.2.
const MAX_BLOCK: usize = 1_024;

/// Options of every CoAP command.
#[derive(Debug, Args)]
pub(super) struct Place {
    #[arg(
        value_name = "URL",
        help = "coap://HOST[:PORT]/PATH[?QUERY]; over TCP coap+tcp:// or coaps+tcp://, over WebSocket \
                coap+ws:// or coaps+ws://; or /PATH with --host and -p"
    )]
    url: String,
    /// Host, where URL is a path [default: localhost]
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// Port [default: 5683; of coaps+tcp 5684, coap+ws 80, coaps+ws 443]
    #[arg(short, long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// Show messages on stderr
    #[arg(short, long)]
    pub(super) debug: bool,
    /// Say nothing on stderr
    #[arg(short, long)]
    quiet: bool,
    /// text, json or ndjson (one object a line)
    #[arg(
        short,
        long,
        value_enum,
        value_name = "OUTPUT",
        default_value_t,
        hide_possible_values = true
    )]
    pub(super) output: Output,
    #[command(flatten)]
    tls: Tls,
    #[arg(from_global)]
    color: Color,
}

impl Place {
    pub(super) fn talk(&self) -> Talk {
        Talk::new(self.quiet, self.color)
    }

    pub(super) fn target(&self) -> Result<Target, Error> {
        let mut target = if self.url.contains("://") {
            if self.host.is_some() {
                return Err(Error::usage("the URL names the host already: leave out --host"));
            }
            let mut target: Target = self.url.parse()?;
            target.port = self.port.unwrap_or(target.port);
            target
        } else if self.url.starts_with('/') || self.host.is_some() {
            let host = self.host.as_deref().unwrap_or("localhost");
            let mut target = Target::new(Scheme::Coap, host, self.port);
            target.set_path(&self.url)?;
            target
        } else {
            let url = &self.url;
            return Err(Error::usage(format!("`{url}` is no coap:// URL and no /PATH")));
        };
        if target.scheme != Scheme::Coap {
            return Err(Error::usage(
                "this is a CoAP command: `motegate pub` and `sub` speak MQTT and MQTT-SN",
            ));
        }
        if target.username.take().is_some() {
            return Err(Error::usage("a URL of CoAP has no user name"));
        }
        self.tls.apply(std::slice::from_mut(&mut target), "coaps+tcp:// or coaps+ws://")?;
        Ok(target)
    }
}

/// Options of every request.
#[derive(Debug, Args)]
pub(super) struct Asking {
    /// Give up after so many seconds, with exit code 27
    #[arg(short = 'W', long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    wait: Duration,
    /// Send a NON message: not repeated, not acknowledged (by UDP alone)
    #[arg(short = 'N', long)]
    non: bool,
    /// Accept this format: text, json, cbor, … or a number
    #[arg(short = 'A', long, value_name = "FORMAT", value_parser = content_format)]
    accept: Option<u16>,
    /// A further option, as text, or as hex after 0x
    #[arg(short = 'O', long, value_name = "NUMBER,VALUE", value_parser = option)]
    option: Vec<(u16, Vec<u8>)>,
    /// Largest block to send, and to ask for: 16, 32 … 1024 bytes [default: by
    /// UDP 1024, over connections what both sides take]
    #[arg(short, long, value_name = "SIZE", value_parser = block_size)]
    block: Option<usize>,
    /// No end of line behind the payload
    #[arg(long)]
    no_newline: bool,
}

impl Asking {
    pub(super) fn newline(&self) -> bool {
        !self.no_newline
    }

    pub(super) fn wait(&self) -> Duration {
        self.wait
    }

    pub(super) fn set_up(&self, client: &mut CoapClient) {
        if let Some(bytes) = self.block {
            client.set_block_size(bytes);
        }
    }

    pub(super) fn apply(&self, request: &mut Request) {
        request.confirmable = !self.non;
        request.accept = self.accept;
        request.options.extend(self.option.iter().cloned());
    }
}

/// The payload of a request.
#[derive(Debug, Args)]
pub(super) struct Body {
    /// Send this text (one that begins with - and is no number: behind --)
    #[arg(value_name = "PAYLOAD", group = "payload", allow_negative_numbers = true)]
    text: Option<String>,
    #[command(flatten)]
    payload: Payload,
    /// The payload is of this format: text, json, cbor, … or a number
    #[arg(short = 't', long, value_name = "FORMAT", value_parser = content_format)]
    content_format: Option<u16>,
}

impl Body {
    fn is_none(&self) -> bool {
        self.text.is_none() && !self.payload.is_given()
    }
}

/// What a request without a payload takes.
#[derive(Debug, Args)]
struct Read {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    asking: Asking,
}

/// What a request with a payload takes.
#[derive(Debug, Args)]
struct Write {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    body: Body,
    #[command(flatten)]
    asking: Asking,
}

/// Read a value over CoAP
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  motegate get coap://localhost/mqtt/site/door
  motegate get coaps+tcp://gateway.lan/mqtt/site/door --cafile ca.pem
  motegate get --host 192.168.1.10 /mqtt/site/door -A json -o json")]
pub(super) struct Get {
    #[command(flatten)]
    read: Read,
}

/// Write a value over CoAP (the gateway keeps and publishes it)
#[derive(Debug, Args)]
#[command(
    after_help = "\
Examples:
  motegate put coap://localhost/mqtt/site/door open
  motegate put coap://localhost/mqtt/site/door -f door.json -t json",
    mut_arg("null", |arg| arg.help("Send an empty message: at a gateway it clears the value, as `delete` does"))
)]
pub(super) struct Put {
    #[command(flatten)]
    write: Write,
}

/// Send a payload over CoAP (the gateway publishes it and keeps nothing)
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  motegate post coap://localhost/mqtt/site/bell ring")]
pub(super) struct Post {
    #[command(flatten)]
    write: Write,
}

/// Delete a value over CoAP
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  motegate delete coap://localhost/mqtt/site/door")]
pub(super) struct Delete {
    #[command(flatten)]
    read: Read,
}

impl Read {
    fn run(&self, method: Method, clock: Clock) -> Exit {
        exchange(method, &self.place, &self.asking, None, clock)
    }
}

impl Write {
    fn run(&self, method: Method, clock: Clock) -> Exit {
        exchange(method, &self.place, &self.asking, Some(&self.body), clock)
    }
}

impl Get {
    pub(super) fn run(self, clock: Clock) -> Exit {
        self.read.run(Method::Get, clock)
    }
}

impl Put {
    pub(super) fn run(self, clock: Clock) -> Exit {
        self.write.run(Method::Put, clock)
    }
}

impl Post {
    pub(super) fn run(self, clock: Clock) -> Exit {
        self.write.run(Method::Post, clock)
    }
}

impl Delete {
    pub(super) fn run(self, clock: Clock) -> Exit {
        self.read.run(Method::Delete, clock)
    }
}

fn exchange(
    method: Method,
    place: &Place,
    asking: &Asking,
    body: Option<&Body>,
    clock: Clock,
) -> Exit {
    let mut talk = place.talk();
    let result = place.target().and_then(|target| {
        let payload = match body {
            // Empty it would clear the value, which is no slip to make.
            Some(body) if body.is_none() && method == Method::Put => {
                return Err(Error::usage("what to send? TEXT, -m TEXT, -f FILE, -s or -n"));
            }
            Some(body) if body.text.is_none() => body.payload.read()?,
            Some(body) => body.text.clone().unwrap_or_default().into_bytes(),
            None => Vec::new(),
        };
        let what = format!("no answer from {target}");
        let in_blocks = !target.is_stream() && payload.len() > asking.block.unwrap_or(MAX_BLOCK);
        drive(bounded(Some(asking.wait), &what, async {
            let mut client = CoapClient::open(&target, clock, place.debug).await?;
            asking.set_up(&mut client);
            let mut request = client.to_target(method).payload(payload);
            asking.apply(&mut request);
            request.content_format = body.and_then(|body| body.content_format);
            let response = client.ask(request).await;
            client.leave().await;
            let response = response?;
            if let Some(error) = failure(method, &target, &response) {
                return Err(if in_blocks { of_blocks(error) } else { error });
            }
            talk.step(code_text(response.code));
            if !response.location_path.is_empty() {
                talk.step(format!("/{}", response.location_path.join("/")));
            }
            talk.say_steps();
            Printer::new(place.output, asking.newline(), false).print(&response)
        }))
    });
    talk.end(result)
}

/// What helps where a body went in blocks (RFC 7959 Block1) and was refused.
fn of_blocks(error: Error) -> Error {
    match error {
        Error::Refused { text, .. } => {
            let hint = "it was sent in blocks, as it is large: a Motegate takes bodies of at most \
                        `coap.max_body` bytes";
            Error::Refused { text, hint: hint.into() }
        }
        other => other,
    }
}

/// For clap: a size of RFC 7959 §2.2.
fn block_size(text: &str) -> Result<usize, String> {
    let size = text.parse().ok().filter(|size: &usize| size.is_power_of_two());
    size.filter(|size| (16..=1024).contains(size))
        .ok_or_else(|| "16, 32, 64, 128, 256, 512 or 1024".to_owned())
}

/// For clap: `2053,text` or `2053,0x0102`.
fn option(text: &str) -> Result<(u16, Vec<u8>), String> {
    let wrong = || "NUMBER,TEXT or NUMBER,0xHEX".to_owned();
    let (number, value) = text.split_once(',').unwrap_or((text, ""));
    let number = number.parse().map_err(|_| wrong())?;
    let Some(digits) = value.strip_prefix("0x") else { return Ok((number, value.into())) };
    if digits.len() % 2 != 0 || !digits.is_ascii() {
        return Err(wrong());
    }
    let byte = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
    let bytes: Option<Vec<u8>> = (0..digits.len()).step_by(2).map(byte).collect();
    bytes.map(|bytes| (number, bytes)).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read() {
        assert_eq!(option("4,0x0aFF"), Ok((4, vec![0x0a, 0xff])));
        assert_eq!(option("15,a=b,c"), Ok((15, b"a=b,c".to_vec())));
        assert_eq!(option("5"), Ok((5, vec![])));
        for wrong in ["", "x,1", "4,0x0", "4,0xzz", "70000,1"] {
            assert!(option(wrong).is_err(), "{wrong}");
        }
    }
}
