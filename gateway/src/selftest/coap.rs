//! A CoAP device of a test: the client machine on a wire.

use std::net::SocketAddr;

use bytes::Bytes;
use motegate_coap::Config;
use motegate_coap::client::{Client, Event, Request, RequestId, Response};
use motegate_coap::endpoint::Method;
use motegate_config::tests::{CoapRequest, Payload};
use motegate_mapping::CoapMethod;
use motegate_message::ListenerId;

use super::cbor;
use super::compare::{Answered, Notified};
use super::report::Failure;
use super::stage::Wires;

/// Content-Formats (RFC 7252 §12.3, RFC 8428 §12.3).
const TEXT: u16 = 0;
const LINKS: u16 = 40;
const JSON: u16 = 50;
const CBOR: u16 = 60;
const SENML_JSON: u16 = 110;
const SENML_CBOR: u16 = 112;

/// One client at one address.
pub(super) struct CoapDevice {
    machine: Client,
    listener: ListenerId,
    address: SocketAddr,
    client: Option<String>,
    path: Vec<String>,
    observation: Option<RequestId>,
    pub(super) notified: Vec<Notified>,
}

impl CoapDevice {
    pub(super) fn new(wires: &mut Wires, request: &CoapRequest) -> Self {
        let address = wires.address();
        CoapDevice {
            machine: Client::new(Config::default(), u64::from(address.port())),
            listener: request.listener,
            address,
            client: request.client.clone(),
            path: request.path.clone(),
            observation: None,
            notified: Vec::new(),
        }
    }

    pub(super) const fn observes(&self) -> bool {
        self.observation.is_some()
    }

    /// Sends a request; its answer.
    pub(super) fn ask(
        &mut self,
        wires: &mut Wires,
        request: &CoapRequest,
    ) -> Result<Answered, Failure> {
        let id = self.machine.request(wires.now, encode(request));
        let response = self.answer(wires, id);
        let response = response.ok_or_else(|| {
            Failure::new("answer", "an answer", wires.explained("nothing".into()))
        })?;
        if response.observe.is_some() {
            self.observation = Some(id);
        }
        Ok(Answered {
            code: response.code.0,
            content_format: response.content_format,
            payload: response.payload,
        })
    }

    /// The line of a resource in `.well-known/core`.
    pub(super) fn discover(wires: &mut Wires, listener: ListenerId, href: &str) -> Option<String> {
        let request = CoapRequest {
            listener,
            client: None,
            method: CoapMethod::Get,
            path: vec![".well-known".into(), "core".into()],
            query: vec![format!("href={href}")],
            payload: None,
            content_format: None,
            accept: Some(LINKS),
            confirmable: true,
        };
        let mut device = CoapDevice::new(wires, &request);
        let answer = device.ask(wires, &request).ok()?;
        let text = String::from_utf8(answer.payload.to_vec()).ok()?;
        (!text.is_empty()).then_some(text)
    }

    fn answer(&mut self, wires: &mut Wires, id: RequestId) -> Option<Response> {
        loop {
            let moved = self.exchange(wires);
            while let Some(event) = self.machine.poll_event() {
                match event {
                    Event::Response { request, response } if request == id => {
                        return Some(response);
                    }
                    event => self.event(event),
                }
            }
            if !moved {
                return None;
            }
        }
    }

    /// Sends and receives what there is.
    pub(super) fn step(&mut self, wires: &mut Wires) -> bool {
        let moved = self.exchange(wires);
        while let Some(event) = self.machine.poll_event() {
            self.event(event);
        }
        moved
    }

    fn exchange(&mut self, wires: &mut Wires) -> bool {
        let mut moved = false;
        while let Some(bytes) = self.machine.poll_transmit() {
            wires.datagram(self.listener, self.address, &bytes);
            moved = true;
        }
        for bytes in wires.received(self.address) {
            self.machine.handle_datagram(wires.now, &bytes);
            moved = true;
        }
        moved
    }

    fn event(&mut self, event: Event) {
        if let Event::Notification { response, .. } = event {
            self.notified.push(Notified {
                client: self.client.clone(),
                path: self.path.clone(),
                code: response.code.0,
                content_format: response.content_format,
                payload: response.payload,
            });
        }
    }
}

fn encode(request: &CoapRequest) -> Request {
    let method = match request.method {
        CoapMethod::Get | CoapMethod::Observe => Method::Get,
        CoapMethod::Put => Method::Put,
        CoapMethod::Post => Method::Post,
        CoapMethod::Delete => Method::Delete,
        CoapMethod::Other => Method::Fetch,
    };
    let mut out = Request::new(method, "");
    out.path.clone_from(&request.path);
    out.query.extend(request.client.as_ref().map(|client| format!("client={client}")));
    out.query.extend(request.query.iter().cloned());
    out.observe = request.method == CoapMethod::Observe;
    out.confirmable = request.confirmable;
    out.accept = request.accept;
    if let Some(payload) = &request.payload {
        let (format, bytes) = written(payload, request.content_format);
        out.content_format = request.content_format.or(format);
        out.payload = bytes;
    } else {
        out.content_format = request.content_format;
    }
    out
}

/// The bytes of a payload, and the Content-Format that they have by themselves.
fn written(payload: &Payload, wanted: Option<u16>) -> (Option<u16>, Bytes) {
    match payload {
        Payload::Json(value) => (Some(JSON), value.to_string().into()),
        Payload::Text(text) => (Some(TEXT), text.clone().into()),
        Payload::Hex(bytes) => (None, bytes.clone().into()),
        Payload::Cbor(value) => (Some(CBOR), cbor::write(value).into()),
        Payload::Senml(value) if wanted == Some(SENML_CBOR) => {
            (wanted, cbor::write_senml(value).into())
        }
        Payload::Senml(value) => (Some(SENML_JSON), value.to_string().into()),
    }
}

/// The bytes of a payload, where the protocol does not name its format.
pub(super) fn plain(payload: Option<&Payload>) -> Bytes {
    payload.map_or_else(Bytes::new, |payload| written(payload, None).1)
}
