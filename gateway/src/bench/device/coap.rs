//! A CoAP client on a datagram socket or over a connection: publishing is PUT, subscribing is Observe,
//! connecting a ping, over a connection that of RFC 8323.

use std::collections::HashMap;
use std::sync::Arc;

use mio::Token;
use motegate_coap::Config;
use motegate_coap::client::{Client, Event, Loss, Request, RequestId, Response};
use motegate_coap::endpoint::Method;
use motegate_timers::Instant;

use super::coap_stream::CoapStream;
use super::{Around, Fact, Role, Taken};
use crate::bench::find::Way;
use crate::bench::plan::Plan;
use crate::bench::stamp::Stamp;
use crate::client::Error;

/// Bytes that wait to be written, from which on a publisher waits.
const FULL: usize = 64 * 1024;

/// See the module.
#[derive(Debug)]
pub(super) struct Coap {
    machine: Client,
    /// What datagrams do not have.
    stream: Option<CoapStream>,
    path: String,
    query: Vec<String>,
    subscribes: bool,
    publishes: bool,
    confirmable: bool,
    /// Publishes without an answer, and when they were due.
    open: HashMap<RequestId, Instant>,
    /// The ping or the observation that makes it ready.
    first: Option<RequestId>,
    /// The request that ends it.
    last: Option<RequestId>,
    /// It takes leave of its connection.
    leaving: bool,
    /// Its connection has broken.
    lost: bool,
}

impl Coap {
    pub(super) fn new(plan: &Plan, way: &Arc<Way>, role: &Role, token: Token, seed: u64) -> Self {
        // NSTART is the window: a bench asks for more than a device may (RFC 7252 §4.7).
        let nstart = u8::try_from(plan.window).unwrap_or(u8::MAX);
        let config = Config { nstart, ..Config::default() };
        let (path, publishes, subscribes) = match role {
            Role::Connect => (String::new(), false, false),
            Role::Publish { topic, .. } => (topic.clone(), true, false),
            Role::Subscribe { topic, .. } => (topic.clone(), false, true),
        };
        let stream = way.target.is_stream().then(|| CoapStream::new(way, token));
        Coap {
            machine: match stream {
                Some(_) => Client::over_connection(config, seed),
                None => Client::new(config, seed),
            },
            stream,
            path,
            query: way.target.query.clone(),
            subscribes,
            publishes,
            confirmable: plan.qos > 0,
            open: HashMap::new(),
            first: None,
            last: None,
            leaving: false,
            lost: false,
        }
    }

    pub(super) fn open(&mut self, around: &mut Around<'_>) {
        self.leaving = false;
        self.first = Some(if self.subscribes {
            let observe = self.request(Method::Get).observe();
            self.machine.request(around.now, observe)
        } else {
            self.machine.ping(around.now)
        });
        self.work(around);
    }

    pub(super) fn publish(
        &mut self,
        payload: &[u8],
        since: Instant,
        around: &mut Around<'_>,
    ) -> Taken {
        if self.machine.outbox().len() >= FULL {
            return Taken::NotNow;
        }
        let mut request = self.request(Method::Put).payload(payload.to_vec());
        request.confirmable = self.confirmable;
        let id = self.machine.request(around.now, request);
        self.open.insert(id, since);
        self.work(around);
        Taken::Yes
    }

    /// A publisher clears the value that it leaves, a subscriber ends its observation.
    pub(super) fn close(&mut self, around: &mut Around<'_>) {
        if self.publishes {
            let request = self.request(Method::Delete);
            self.last = Some(self.machine.request(around.now, request));
        } else if self.subscribes
            && let Some(id) = self.first
        {
            self.machine.deregister(around.now, id);
            self.last = Some(id);
        }
        if self.last.is_none() || self.machine.open() == 0 {
            self.leave(around);
        }
        self.work(around);
    }

    fn leave(&mut self, around: &mut Around<'_>) {
        if self.stream.is_some() && !std::mem::replace(&mut self.leaving, true) {
            self.machine.disconnect();
        }
        around.facts.push(Fact::Left);
    }

    /// Its stream may be read or written.
    pub(super) fn ready(&mut self, readable: bool, writable: bool, around: &mut Around<'_>) {
        if let Some(stream) = &mut self.stream {
            stream.ready(&mut self.machine, readable, writable, around);
            self.work(around);
        }
    }

    /// Writes what waits for its stream.
    pub(super) fn flush(&mut self, around: &mut Around<'_>) {
        if self.stream.is_some() {
            self.work(around);
        }
    }

    pub(super) fn datagram(&mut self, bytes: &[u8], around: &mut Around<'_>) {
        self.machine.handle_datagram(around.now, bytes);
        self.work(around);
    }

    pub(super) fn timeout(&mut self, around: &mut Around<'_>) {
        self.machine.handle_timeout(around.now);
        self.work(around);
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.machine.poll_timeout()
    }

    fn request(&self, method: Method) -> Request {
        let mut request = Request::new(method, &self.path);
        request.query.clone_from(&self.query);
        request
    }

    fn work(&mut self, around: &mut Around<'_>) {
        loop {
            self.tell(around);
            let Some(stream) = &mut self.stream else { break };
            stream.work(&mut self.machine, around);
            let Some(event) = self.machine.poll_event() else { return };
            self.take(event, around);
        }
        let Some(wire) = &mut around.wire else { return };
        while let Some(datagram) = self.machine.poll_transmit() {
            wire.push(&[], &datagram);
        }
    }

    fn tell(&mut self, around: &mut Around<'_>) {
        while let Some(event) = self.machine.poll_event() {
            self.take(event, around);
        }
    }

    fn take(&mut self, event: Event, around: &mut Around<'_>) {
        match self.fact(event, around.run) {
            Some(Fact::Left) => self.leave(around),
            Some(fact) => around.facts.push(fact),
            None => {}
        }
    }

    fn fact(&mut self, event: Event, run: u32) -> Option<Fact> {
        match event {
            Event::Notification { response, .. } => {
                Stamp::read(run, &response.payload).map(Fact::Delivered)
            }
            Event::Response { request, response } => self.answered(request, &response),
            Event::Pong { request } if Some(request) == self.first => Some(Fact::Ready),
            Event::Pong { .. } => None,
            Event::Lost { request, loss } => self.lost(request, &loss),
            Event::TimedOut { request } => self.failed(request, || Error::TimedOut {
                what: "no answer from the CoAP server".to_owned(),
                hint: "is it overloaded? try fewer --clients, a smaller --window or --rate".into(),
            }),
            Event::Reset { request } => self.failed(request, || Error::Refused {
                text: "refused: the server answered with a reset".to_owned(),
                hint: "is it a CoAP server, and does it take this kind of request?".into(),
            }),
            Event::Broken { request, flaw } => {
                self.failed(request, || Error::Protocol(flaw.to_string()))
            }
        }
    }

    fn answered(&mut self, request: RequestId, response: &Response) -> Option<Fact> {
        if Some(request) == self.last {
            return Some(Fact::Left);
        }
        let ok = response.code.class() == 2;
        if let Some(since) = self.open.remove(&request) {
            return Some(Fact::Through { since, ok });
        }
        if Some(request) != self.first {
            return None;
        }
        Some(if ok && response.observe.is_some() {
            Fact::Ready
        } else {
            let (class, detail) = (response.code.class(), response.code.detail());
            Fact::Gone(Error::Refused {
                text: format!("observing /{} was answered by {class}.{detail:02}", self.path),
                hint: "is there such a resource, and can it be observed?".into(),
            })
        })
    }

    /// A connection has ended. Publishes that it takes along are not through, and it is gone.
    fn lost(&mut self, request: RequestId, loss: &Loss) -> Option<Fact> {
        if Some(request) == self.last {
            return Some(Fact::Left);
        }
        self.open.remove(&request);
        let stream = self.stream.as_mut().filter(|_| !self.lost)?;
        self.lost = true;
        Some(Fact::Gone(stream.lost(loss)))
    }

    fn failed(&mut self, request: RequestId, error: impl FnOnce() -> Error) -> Option<Fact> {
        if Some(request) == self.last {
            return Some(Fact::Left);
        }
        match self.open.remove(&request) {
            Some(since) => Some(Fact::Through { since, ok: false }),
            None => Some(Fact::Gone(error())),
        }
    }
}
