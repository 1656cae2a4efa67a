//! `motegate observe`: prints a value, and every later one (RFC 7641).

use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use motegate_coap::client::{Event, RequestId, Response};
use motegate_coap::endpoint::{Code, Method};

use super::Exit;
use super::answer::{Printer, code_text, failure};
use super::resource::{Asking, Place};
use super::running;
use super::talk::{Talk, bounded, drive};
use crate::client::{CoapClient, Error, Target};
use crate::clock::Clock;

/// Max-Age where the server says nothing (RFC 7252 §5.10.5).
const MAX_AGE: Duration = Duration::from_secs(60);
/// RFC 7641 §3.3.1: a notification may be late by 5 to 15 s.
const GRACE: Duration = Duration::from_secs(10);
/// Between attempts to connect anew: at first, and at most.
const RETRIES: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(5)];
/// For the goodbye.
const LEAVE: Duration = Duration::from_secs(1);

/// Print a value over CoAP, and every later one
#[derive(Debug, Args)]
#[command(after_help = "\
It goes on until -C, -D or a signal ends it. When the value has become old and
nothing came, it asks anew, also where there is no value yet; no answer to that
within -W ends it, with exit code 27. When a connection (coap+tcp, coap+ws, ...)
is lost, it connects and asks anew, again and again for as long as -W says.

Examples:
  motegate observe coap://localhost/mqtt/site/door
  motegate observe coap://localhost/mqtt/site/door -C 3 -o ndjson")]
pub(super) struct Observe {
    #[command(flatten)]
    place: Place,
    /// Stop after so many values
    #[arg(short = 'C', long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Stop after so many seconds; with -C that is exit code 27
    #[arg(short = 'D', long, value_name = "SECONDS", value_parser = super::talk::seconds)]
    duration: Option<Duration>,
    #[command(flatten)]
    asking: Asking,
}

impl Observe {
    pub(super) fn run(self, clock: Clock) -> Exit {
        let mut talk = self.place.talk();
        let result = self.place.target().and_then(|target| {
            let mut printer = Printer::new(self.place.output, self.asking.newline(), true);
            let result = drive(self.observe(&target, clock, &mut talk, &mut printer));
            printer.finish().and(result)
        });
        talk.end(result)
    }

    async fn observe(
        &self,
        target: &Target,
        clock: Clock,
        talk: &mut Talk,
        printer: &mut Printer,
    ) -> Result<(), Error> {
        let mut client = CoapClient::open(target, clock, self.place.debug).await?;
        self.asking.set_up(&mut client);
        let mut watch =
            Watch { client: &mut client, target, id: None, last: None, seen: 0, count: self.count };
        let what = format!("no answer from {target}");
        let mut max_age = MAX_AGE;
        let mut result = bounded(Some(self.asking.wait()), &what, async {
            let response = watch.begin(&self.asking).await?;
            max_age = response.max_age.unwrap_or(MAX_AGE);
            talk.step(code_text(response.code));
            if response.observe.is_none() {
                talk.step("the server does not notify: this is the value of now");
            }
            if is_none(&response) {
                talk.step("no value yet");
            }
            talk.say_steps();
            if is_none(&response) { Ok(()) } else { watch.take(&response, printer) }
        })
        .await;
        if result.is_ok() && watch.wants_more() {
            let mut ended = None;
            result = bounded(self.duration, "no further value", async {
                ended = Some(watch.follow(&self.asking, max_age, printer, talk).await);
                Ok(())
            })
            .await;
            result = match (ended, &result, self.count) {
                (Some(ended), ..) => ended,
                // The time of -D is over.
                (None, Err(Error::TimedOut { .. }), None) => Ok(()),
                (None, Err(Error::TimedOut { what, .. }), Some(count)) => {
                    let of = running::count(count, "value");
                    Err(Error::timed_out(format!("{what}: {} of {of}", watch.seen)))
                }
                (None, ..) => result,
            };
        }
        if let Some(id) = watch.id {
            let _ = tokio::time::timeout(LEAVE, client.end(&[id])).await;
        }
        client.leave().await;
        result
    }
}

/// The gateway's way to say that there is no value.
fn is_none(response: &Response) -> bool {
    response.payload.is_empty() && response.etag.is_none()
}

/// An observation under way.
struct Watch<'a> {
    client: &'a mut CoapClient,
    target: &'a Target,
    id: Option<RequestId>,
    /// What was printed last, and its format.
    last: Option<(Bytes, Option<u16>)>,
    seen: u64,
    count: Option<u64>,
}

impl Watch<'_> {
    /// Registers, or renews the registration; the value of now.
    async fn begin(&mut self, asking: &Asking) -> Result<Response, Error> {
        let id = match self.id.take() {
            // RFC 7641 §3.3.1: under its token, so that the server does not count two.
            Some(old) if self.client.renew(old) => old,
            _ => {
                let mut request = self.client.to_target(Method::Get).observe();
                asking.apply(&mut request);
                self.client.start(request)
            }
        };
        loop {
            match self.client.next().await? {
                Event::Response { request, response } if request == id => {
                    if let Some(error) = failure(Method::Get, self.target, &response) {
                        return Err(error);
                    }
                    self.id = response.observe.map(|_| id);
                    return Ok(response);
                }
                Event::Lost { request, loss } if request == id => {
                    self.id = Some(id); // it may be registered again
                    return Err(self.client.lost(loss));
                }
                _ => {}
            }
        }
    }

    /// The value of now, of a server that has been silent: it may be gone.
    async fn renew(&mut self, asking: &Asking, talk: &mut Talk) -> Result<Response, Error> {
        let patience = asking.wait();
        let mut last = None;
        let again = async {
            let [mut pause, longest] = RETRIES;
            loop {
                match self.begin(asking).await {
                    Err(error) if error.may_pass() && self.target.is_stream() => {
                        if last.is_none() {
                            talk.warn(&format!("{error}; trying again"));
                        }
                        last = Some(error);
                    }
                    result => return result,
                }
                tokio::time::sleep(pause).await;
                pause = longest.min(pause * 2);
            }
        };
        match (tokio::time::timeout(patience, again).await, last) {
            (Ok(result), _) => result,
            (Err(_), Some(error)) => Err(error),
            (Err(_), None) => Err(Error::timed_out(format!(
                "nothing came while the value was new, and {} did not answer when asked anew, \
                 within {} s",
                self.target,
                patience.as_secs_f64()
            ))),
        }
    }

    fn take(&mut self, response: &Response, printer: &mut Printer) -> Result<(), Error> {
        printer.print(response)?;
        self.last = Some((response.payload.clone(), response.content_format));
        self.seen += 1;
        Ok(())
    }

    fn wants_more(&self) -> bool {
        self.id.is_some() && self.count.is_none_or(|count| self.seen < count)
    }

    async fn follow(
        &mut self,
        asking: &Asking,
        mut max_age: Duration,
        printer: &mut Printer,
        talk: &mut Talk,
    ) -> Result<(), Error> {
        while self.wants_more() {
            let response = match tokio::time::timeout(max_age + GRACE, self.client.next()).await {
                Ok(Ok(Event::Notification { request, response })) if Some(request) == self.id => {
                    self.id = self.id.filter(|_| response.observe.is_some()); // RFC 7641 §3.2
                    match failure(Method::Get, self.target, &response) {
                        None => Some(response),
                        // Whoever stops says so, and ends its connections: it may be back soon.
                        Some(error)
                            if self.target.is_stream()
                                && response.code == Code::SERVICE_UNAVAILABLE =>
                        {
                            talk.warn(&format!("{error}; asking anew"));
                            self.asked_anew(asking, &mut max_age, talk).await?
                        }
                        Some(error) => return Err(error),
                    }
                }
                Ok(Ok(Event::Lost { request, .. })) if Some(request) != self.id => continue,
                // RFC 8323 §7.4: an observation ends with its connection.
                Ok(Ok(Event::Lost { loss, .. })) => {
                    let error = self.client.lost(loss);
                    if !error.may_pass() {
                        return Err(error);
                    }
                    talk.warn(&format!("{error}; asking anew"));
                    self.asked_anew(asking, &mut max_age, talk).await?
                }
                Ok(Ok(_)) => continue,
                Ok(Err(error)) => return Err(error),
                // RFC 7641 §3.3.1: the value is old, the server may have forgotten us.
                Err(_) => self.asked_anew(asking, &mut max_age, talk).await?,
            };
            let Some(response) = response else { continue };
            max_age = response.max_age.unwrap_or(MAX_AGE);
            self.take(&response, printer)?;
        }
        Ok(())
    }

    /// The value of now, unless it is the one that is known.
    async fn asked_anew(
        &mut self,
        asking: &Asking,
        max_age: &mut Duration,
        talk: &mut Talk,
    ) -> Result<Option<Response>, Error> {
        let response = self.renew(asking, talk).await?;
        let known = (response.payload.clone(), response.content_format);
        let none = self.last.is_none() && is_none(&response);
        *max_age = response.max_age.unwrap_or(MAX_AGE);
        Ok((!none && self.last != Some(known)).then_some(response))
    }
}
