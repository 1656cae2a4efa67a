//! A client over a connection, whose server is written by hand.

use std::time::Duration;

use motegate_coap::Config;
use motegate_coap::client::{Client, Event, Request, RequestId, Wanted};
use motegate_timers::Instant;

use super::Msg;
use super::stream::{CSM, frame, messages, shown};

pub const NOTHING: [&str; 0] = [];

pub struct Device {
    pub client: Client,
    pub now: Instant,
    /// The last bytes that left.
    pub raw: Vec<u8>,
    tokens: Vec<Vec<u8>>,
    /// Requests that the opening took.
    taken: u64,
}

/// A server's that says nothing of itself.
pub fn csm() -> Msg {
    Msg::con(CSM, 0)
}

impl Device {
    pub fn new() -> Self {
        let client = Client::over_connection(Config::default(), 9);
        Device {
            client,
            now: Instant::from_secs(100),
            raw: Vec::new(),
            tokens: Vec::new(),
            taken: 0,
        }
    }

    /// One whose connection is open, by a request that has its answer.
    pub fn open() -> Self {
        let mut device = Device::new();
        device.opened_with(&csm());
        device
    }

    /// The connection is open, and the server has said this.
    pub fn opened_with(&mut self, csm: &Msg) {
        let id = self.client.ping(self.now);
        self.opened();
        self.say(csm);
        self.client.forget(self.now, id);
        self.sent();
        self.taken += 1;
    }

    pub fn ask(&mut self, request: Request) -> RequestId {
        self.client.request(self.now, request)
    }

    pub fn opened(&mut self) {
        self.wanted();
        self.client.handle_opened(self.now);
        self.raw = self.client.outbox().to_vec();
    }

    pub fn closed(&mut self) {
        self.client.handle_closed(self.now);
    }

    pub fn say(&mut self, msg: &Msg) {
        self.client.handle_bytes(self.now, &frame(msg));
    }

    pub fn wanted(&mut self) -> Vec<Wanted> {
        std::iter::from_fn(|| self.client.poll_wanted()).collect()
    }

    /// What has left since the last time, with `t=*` for our tokens.
    pub fn sent(&mut self) -> Vec<String> {
        self.raw = self.client.outbox().to_vec();
        self.client.handle_written(self.raw.len());
        let all = messages(&self.raw);
        let ours = |token: &[u8]| token.len() == 4;
        self.tokens = all
            .iter()
            .map(|packet| packet.get_token().to_vec())
            .filter(|token| ours(token))
            .collect();
        let text = |packet| {
            let text = shown(packet);
            let token = packet.get_token();
            let hex: String = token.iter().map(|byte| format!("{byte:02x}")).collect();
            if ours(token) { text.replace(&format!("t={hex}"), "t=*") } else { text }
        };
        all.iter().map(text).collect()
    }

    /// The tokens of what has left.
    pub fn tokens(&mut self) -> Vec<Vec<u8>> {
        if !self.client.outbox().is_empty() {
            self.sent();
        }
        self.tokens.clone()
    }

    /// What was answered, as it is.
    pub fn bodies(&mut self) -> Vec<(RequestId, Vec<u8>)> {
        let events = std::iter::from_fn(|| self.client.poll_event());
        let body = |event| match event {
            Event::Response { request, response } | Event::Notification { request, response } => {
                Some((request, response.payload.to_vec()))
            }
            _ => None,
        };
        events.filter_map(body).collect()
    }

    pub fn events(&mut self) -> Vec<String> {
        let text = |payload: &[u8]| String::from_utf8_lossy(payload).into_owned();
        let taken = self.taken;
        let number = |request: RequestId| request.0 - taken;
        std::iter::from_fn(|| self.client.poll_event())
            .map(|event| match event {
                Event::Response { request, response } => {
                    format!("{} answered {:?}", number(request), text(&response.payload))
                }
                Event::Notification { request, response } => {
                    format!("{} notified {:?}", number(request), text(&response.payload))
                }
                Event::TimedOut { request } => format!("{} timed out", number(request)),
                Event::Reset { request } => format!("{} reset", number(request)),
                Event::Broken { request, flaw } => format!("{} broken: {flaw}", number(request)),
                Event::Pong { request } => format!("{} pong", number(request)),
                Event::Lost { request, loss } => format!("{} lost: {loss}", number(request)),
            })
            .collect()
    }

    pub fn advance(&mut self, by: Duration) {
        let end = self.now + by;
        while let Some(at) = self.client.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.client.handle_timeout(self.now);
        }
        self.now = end;
    }
}
