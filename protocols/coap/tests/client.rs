//! Transcripts of the client: RFC 7252 §4.2, §5.2, §5.3.2 and RFC 7641 §3 from the other side.
#![allow(missing_docs, clippy::unwrap_used, clippy::cast_possible_truncation)]

mod support;

use std::time::Duration;

use coap_lite::Packet;
use motegate_coap::Config;
use motegate_coap::client::{Client, Event, Request, RequestId};
use motegate_coap::endpoint::Method;
use motegate_timers::Instant;
use support::{Msg, show};

const SECOND: Duration = Duration::from_secs(1);

struct Device {
    client: Client,
    now: Instant,
    sent: Vec<Vec<u8>>,
}

impl Device {
    fn new() -> Self {
        let client = Client::new(Config::default(), 9);
        Device { client, now: Instant::from_secs(100), sent: Vec::new() }
    }

    fn ask(&mut self, request: Request) -> RequestId {
        let id = self.client.request(self.now, request);
        self.drain();
        id
    }

    fn drain(&mut self) {
        self.sent = std::iter::from_fn(|| self.client.poll_transmit()).collect();
    }

    fn shown(&self) -> Vec<String> {
        self.sent.iter().map(|bytes| show(bytes)).collect()
    }

    /// Message id and token of what was sent last.
    fn last(&self) -> (u16, Vec<u8>) {
        let packet = Packet::from_bytes(self.sent.last().unwrap()).unwrap();
        (packet.header.message_id, packet.get_token().to_vec())
    }

    fn recv(&mut self, msg: &Msg) -> Vec<String> {
        self.client.handle_datagram(self.now, &msg.bytes());
        self.drain();
        self.shown()
    }

    fn events(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.client.poll_event())
            .map(|event| match event {
                Event::Response { request, response } => {
                    format!("{} answered {:?}", request.0, response.payload)
                }
                Event::Notification { request, response } => {
                    format!("{} notified {:?}", request.0, response.payload)
                }
                Event::TimedOut { request } => format!("{} timed out", request.0),
                Event::Reset { request } => format!("{} reset", request.0),
                Event::Broken { request, flaw } => format!("{} broken: {flaw}", request.0),
                Event::Pong { request } => format!("{} pong", request.0),
                Event::Lost { .. } => panic!("datagrams have no connection"),
            })
            .collect()
    }

    fn advance(&mut self, by: Duration) -> Vec<u64> {
        let (start, end) = (self.now, self.now + by);
        let mut times = Vec::new();
        while let Some(at) = self.client.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.client.handle_timeout(self.now);
            while self.client.poll_transmit().is_some() {
                times.push(self.now.saturating_since(start).as_millis() as u64);
            }
        }
        self.now = end;
        times
    }
}

fn ack(code: u8, id: u16, token: &[u8]) -> Msg {
    Msg::ack_with(code, id).token(token)
}

#[test]
fn a_request_is_written_in_order() {
    let mut device = Device::new();
    let mut request = Request::new(Method::Put, "/mqtt/a").payload("v");
    request.query = vec!["qos=1".into()];
    request.content_format = Some(50);
    request.accept = Some(0);
    request.if_match = vec![vec![1]];
    request.options = vec![(3, b"host".to_vec())];
    device.ask(request);
    let text = device.shown().remove(0);
    let (start, rest) = text.split_once(" 1=").unwrap();
    assert!(start.starts_with("CON 0.03 #* t="), "{start}");
    assert_eq!(rest, r#"01 3=686f7374 11=6d717474 11=61 12=32 15=716f733d31 17= "v""#);
}

#[test]
fn a_piggybacked_response_needs_id_and_token() {
    let mut device = Device::new();
    device.ask(Request::new(Method::Get, "x"));
    let (id, token) = device.last();
    device.recv(&ack(0x45, id, b"other").body(b"no"));
    device.recv(&ack(0x45, id.wrapping_add(1), &token).body(b"no"));
    assert_eq!(device.events(), [] as [&str; 0]);
    device.recv(&ack(0x45, id, &token).body(b"yes"));
    assert_eq!(device.events(), ["1 answered b\"yes\""]);
    assert_eq!((device.client.open(), device.advance(SECOND * 300).len()), (0, 0));
}

#[test]
fn a_con_is_repeated_and_given_up() {
    let mut device = Device::new();
    device.ask(Request::new(Method::Get, "x"));
    let times = device.advance(SECOND * 93);
    assert_eq!(times.len(), 4);
    assert!((2_000..=3_000).contains(&times[0]), "{times:?}");
    assert!(times[3].abs_diff(times[0] * 15) < 10, "{times:?}");
    assert_eq!(device.events(), ["1 timed out"]);
}

#[test]
fn separate_responses() {
    let mut device = Device::new();
    device.ask(Request::new(Method::Get, "x"));
    let (id, token) = device.last();
    device.recv(&Msg::ack(id));
    assert_eq!(device.advance(SECOND * 100), []); // no more repetitions
    let response = Msg::con(0x45, 77).token(&token).body(b"v");
    assert_eq!(device.recv(&response), ["ACK 0.00 #77"]);
    assert_eq!(device.recv(&response), ["ACK 0.00 #77"]); // our ACK was lost
    assert_eq!(device.events(), ["1 answered b\"v\""]);

    // The response overtakes the acknowledgement, which it implies.
    device.ask(Request::new(Method::Get, "x"));
    let (id, token) = device.last();
    assert_eq!(device.recv(&Msg::con(0x45, 78).token(&token)), ["ACK 0.00 #78"]);
    device.recv(&Msg::ack(id));
    assert_eq!(device.events(), ["2 answered b\"\""]);
    assert_eq!(device.advance(SECOND * 300), []);
}

#[test]
fn nstart_and_resets() {
    let mut device = Device::new();
    device.ask(Request::new(Method::Get, "a"));
    let (id, _) = device.last();
    device.ask(Request::new(Method::Get, "b"));
    assert!(device.sent.is_empty());
    let sent = device.recv(&Msg::rst(id));
    assert!(sent[0].ends_with("11=62"), "{sent:?}");
    assert_eq!(device.events(), ["1 reset"]);
}

#[test]
fn a_non_waits_and_is_not_repeated() {
    let mut device = Device::new();
    device.ask(Request::new(Method::Get, "a").non_confirmable());
    assert!(device.shown()[0].starts_with("NON 0.01"));
    assert_eq!(device.advance(SECOND * 144), []);
    assert_eq!(device.events(), [] as [&str; 0]);
    device.advance(SECOND);
    assert_eq!(device.events(), ["1 timed out"]);
}

/// RFC 7641 §3.2 to §3.6.
#[test]
fn an_observation() {
    let mut device = Device::new();
    let request = device.ask(Request::new(Method::Get, "t").observe());
    let (id, token) = device.last();
    device.recv(&ack(0x45, id, &token).opt(6, &[5]).body(b"a"));
    assert_eq!(
        device.recv(&Msg::con(0x45, 1).token(&token).opt(6, &[6]).body(b"b")),
        ["ACK 0.00 #1"]
    );
    device.recv(&Msg::non(0x45, 2).token(&token).opt(6, &[8]).body(b"d"));
    device.recv(&Msg::non(0x45, 3).token(&token).opt(6, &[7]).body(b"c")); // overtaken
    let expected = ["1 answered b\"a\"", "1 notified b\"b\"", "1 notified b\"d\""];
    assert_eq!(device.events(), expected);
    assert_eq!(device.client.stale(), 1);
    assert_eq!(device.advance(SECOND * 300), []);
    assert_eq!(device.client.poll_timeout(), None);

    device.client.deregister(device.now, request);
    device.drain();
    let text = device.shown().remove(0);
    assert!(text.contains("observe") && text.ends_with("11=74"), "{text}");
    let packet = Packet::from_bytes(&device.sent[0]).unwrap();
    let observe = packet.get_first_option(coap_lite::CoapOption::Observe);
    assert_eq!((packet.get_token(), observe), (&token[..], Some(&vec![1])));
    let (id, _) = device.last();
    // A notification that was under way is acknowledged and passed over.
    let sent = device.recv(&Msg::con(0x45, 4).token(&token).opt(6, &[9]).body(b"e"));
    assert_eq!(sent, ["ACK 0.00 #4"]);
    device.recv(&ack(0x45, id, &token).body(b"e"));
    assert_eq!(device.events(), ["1 answered b\"e\""]);
    assert_eq!(device.client.open(), 0);
}

/// RFC 7641 §3.6: what is not known is reset, CON and NON.
#[test]
fn unknown_notifications_are_reset() {
    let mut device = Device::new();
    let request = device.ask(Request::new(Method::Get, "t").observe());
    let (id, token) = device.last();
    device.recv(&ack(0x45, id, &token).opt(6, &[5]));
    device.client.forget(device.now, request);
    let con = Msg::con(0x45, 1).token(&token).opt(6, &[6]);
    assert_eq!(device.recv(&con), ["RST 0.00 #1"]);
    assert_eq!(device.recv(&con), ["RST 0.00 #1"]);
    assert_eq!(device.recv(&Msg::non(0x45, 2).token(&token).opt(6, &[7])), ["RST 0.00 #2"]);
    assert_eq!(device.recv(&Msg::con(0, 3)), ["RST 0.00 #3"]); // a ping
}

/// RFC 7641 §3.3.1: the interest is renewed under the same token, and numbers may begin anew.
#[test]
fn an_observation_is_renewed() {
    let mut device = Device::new();
    let request = device.ask(Request::new(Method::Get, "t").observe());
    assert!(!device.client.reregister(device.now, request), "it does not stand yet");
    let (id, token) = device.last();
    device.recv(&ack(0x45, id, &token).opt(6, &[200]).body(b"a"));
    assert!(device.client.reregister(device.now, request));
    device.drain();
    let again = device.last();
    assert_eq!(again.1, token);
    assert!(device.shown()[0].contains("observe"));
    device.recv(&ack(0x45, again.0, &token).opt(6, &[1]).body(b"b"));
    device.recv(&Msg::con(0x45, 1).token(&token).opt(6, &[2]).body(b"c"));
    assert_eq!(device.events(), ["1 answered b\"a\"", "1 answered b\"b\"", "1 notified b\"c\""]);
    assert_eq!((device.client.stale(), device.client.open()), (0, 1));
    // Nobody answers: the observation is over.
    assert!(device.client.reregister(device.now, request));
    device.advance(SECOND * 100);
    assert_eq!(device.events(), ["1 timed out"]);
    assert_eq!(device.client.open(), 0);
}

/// RFC 7252 §5.4.1: rejected, and the request is over; an elective one is ignored.
#[test]
fn a_critical_option_that_is_not_known_breaks_an_answer() {
    let broken =
        "broken: the 2.05 response has critical option 65001, which this client does not know";
    let mut device = Device::new();
    for separate in [false, true] {
        device.ask(Request::new(Method::Get, "x"));
        let (id, token) = device.last();
        if separate {
            let response = Msg::con(0x45, 5).token(&token).opt(65_001, b"x");
            assert_eq!(device.recv(&response), ["RST 0.00 #5"]);
            assert_eq!(device.recv(&response), ["RST 0.00 #5"]);
        } else {
            device.recv(&ack(0x45, id, &token).opt(65_001, b"x"));
        }
        assert_eq!(device.events(), [format!("{} {broken}", 1 + u8::from(separate))]);
    }
    device.ask(Request::new(Method::Get, "x"));
    let (id, token) = device.last();
    device.recv(&ack(0x45, id, &token).opt(65_000, b"x").body(b"v"));
    assert_eq!(device.events(), ["3 answered b\"v\""]);
    assert_eq!(device.client.open(), 0);
}

#[test]
fn a_non_may_be_reset() {
    let mut device = Device::new();
    device.ask(Request::new(Method::Get, "a").non_confirmable());
    let (id, _) = device.last();
    device.recv(&Msg::rst(id.wrapping_add(1)));
    assert_eq!(device.events(), [] as [&str; 0]);
    device.recv(&Msg::rst(id));
    assert_eq!(device.events(), ["1 reset"]);
}

#[test]
fn an_error_or_a_missing_observe_ends_an_observation() {
    for last in [Msg::con(0x84, 1), Msg::con(0x45, 1)] {
        let mut device = Device::new();
        device.ask(Request::new(Method::Get, "t").observe());
        let (id, token) = device.last();
        device.recv(&ack(0x45, id, &token).opt(6, &[5]));
        device.recv(&last.token(&token));
        assert_eq!(device.events(), ["1 answered b\"\"", "1 notified b\"\""]);
        assert_eq!(device.client.open(), 0);
    }
}

#[test]
fn a_ping_is_answered_by_its_rejection() {
    let mut device = Device::new();
    let ping = device.client.ping(device.now);
    device.drain();
    let (id, token) = device.last();
    // RFC 7252 §4.3: empty, so without a token.
    assert_eq!((device.shown(), token), (vec!["CON 0.00 #*".to_owned()], vec![]));
    device.recv(&Msg::rst(id.wrapping_add(1)));
    assert_eq!(device.events(), [] as [&str; 0]);
    device.recv(&Msg::rst(id));
    assert_eq!(device.events(), [format!("{} pong", ping.0)]);
    assert_eq!(device.client.open(), 0);

    device.client.ping(device.now);
    assert_eq!(device.advance(SECOND * 93).len(), 5, "sent and repeated four times");
    assert_eq!(device.events(), ["2 timed out"]);
}
