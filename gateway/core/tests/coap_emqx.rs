//! Clients written for EMQX's CoAP gateway (its connectionless mode) on the preset `emqx-ps`: paths,
//! methods and query parameters as they know them.

mod common;

use common::pubsub::body;
use common::{COAP, Gateway, Options, config, option, peer, publish, request};
use motegate_core::ClientFrom;
use motegate_core::admin::{Answer, Cursor, Query};
use motegate_mapping::{Preset, Rules, Table};

const GET: u8 = 1;
const POST: u8 = 2;
const PUT: u8 = 3;
const DELETE: u8 = 4;
const CREATED: u8 = 0x41;
const CHANGED: u8 = 0x44;
const CONTENT: u8 = 0x45;
const UNSUBSCRIBED: u8 = 0x47;
const BAD_REQUEST: u8 = 0x80;
const NOT_ALLOWED: u8 = 0x85;

const CON: u8 = 0;

struct Device {
    gateway: Gateway,
    mid: u16,
    kind: u8,
    token: &'static [u8],
}

impl Device {
    fn new() -> Self {
        Device::with(motegate_mapping::Defaults::default())
    }

    fn with(defaults: motegate_mapping::Defaults) -> Self {
        let mut config = config();
        config.listeners[2].client_from = ClientFrom::Query;
        let rules = Rules { presets: vec![Preset::EmqxPs], defaults, ..Rules::default() };
        let table = Table::new(rules).expect("one preset");
        Device { gateway: Gateway::with_table(config, table), mid: 0, kind: CON, token: b"t" }
    }

    fn get(&mut self, observe: Option<u8>, topic: &str, query: &[&str]) -> Vec<u8> {
        self.answers(GET, observe, topic, query, b"").remove(0)
    }

    /// The answer, and what else comes at once.
    fn answers(
        &mut self,
        code: u8,
        observe: Option<u8>,
        topic: &str,
        query: &[&str],
        body: &[u8],
    ) -> Vec<Vec<u8>> {
        self.mid += 1;
        let observe: Option<&[u8]> = observe.map(|value| if value == 0 { &[][..] } else { &[1] });
        let mut options: Vec<(u16, &[u8])> = observe.map(|value| (6, value)).into_iter().collect();
        options.push((11, b"ps"));
        options.extend(topic.split('/').map(|segment| (11, segment.as_bytes())));
        options.extend(query.iter().map(|one| (15, one.as_bytes())));
        let options: Options<'_> = &options;
        let mut bytes = request(code, self.mid, self.token, options, body);
        bytes[0] |= self.kind << 4;
        self.gateway.datagram(COAP, peer(4_000), &bytes)
    }

    fn ask(
        &mut self,
        code: u8,
        observe: Option<u8>,
        topic: &str,
        query: &[&str],
        body: &[u8],
    ) -> Vec<u8> {
        let mut answers = self.answers(code, observe, topic, query, body);
        assert_eq!(answers.len(), 1, "{answers:02x?}");
        answers.remove(0)
    }
}

/// PUT and POST publish, retained only where the query says so.
#[test]
fn what_is_published() {
    let mut device = Device::new();
    let mqtt = device.gateway.mqtt("m", true);
    device.gateway.mqtt_subscribe(mqtt, "coap/test", 2);
    let who = ["clientid=123", "username=admin", "password=public", "token=3404490787"];
    let short = ["c=123", "u=admin", "p=public", "t=3404490787"];
    for (code, query, qos, retained) in [
        (POST, [&who[..], &["qos=0"]].concat(), 0, false),
        (PUT, [&who[..], &["qos=1", "retain=false"]].concat(), 1, false),
        (POST, [&short[..], &["q=0", "r=true", "expiry=60"]].concat(), 0, true),
    ] {
        let answer = device.ask(code, None, "coap/test", &query, b"hello");
        assert_eq!(answer[1], CHANGED, "{query:?}");
        let came = device.gateway.received(mqtt);
        assert_eq!((came[0] >> 1 & 3, came[0] & 1), (qos, 0), "{query:?}");
        assert!(came.ends_with(b"hello"));
        let late = device.gateway.mqtt("late", true);
        device.gateway.send(late, b"\x82\x0e\0\x09\0\x09coap/test\0");
        let kept = device.gateway.received(late).len() > 5;
        assert_eq!(kept, retained, "{query:?}");
        device.gateway.send(late, &[0xe0, 0]);
    }
    assert_eq!(device.ask(PUT, None, "coap/test", &["retain=true"], b"again")[1], CHANGED);
    assert_eq!(device.ask(POST, None, "coap/test", &["qos=3"], b"")[1], BAD_REQUEST);
    let other = [(11, &b"ps"[..]), (11, b"a"), (15, b"retain=true")];
    let first = request(PUT, 900, b"t", &other, b"1");
    assert_eq!(device.gateway.datagram(COAP, peer(4_000), &first)[0][1], CREATED);
}

/// `t_subscribe` and `t_un_subscribe` of EMQX's suite: GET with Observe 0 subscribes and has an empty
/// answer, with 1 it ends that, whatever its token, and is answered 2.07 without a value, too.
#[test]
fn t_subscribe_and_t_un_subscribe() {
    for topic in ["abc", "/abc"] {
        let mut device = Device::new();
        let mqtt = device.gateway.mqtt("m", true);
        let answer = device.get(Some(0), topic, &["clientid=client1"]);
        assert_eq!((answer[1], body(&answer)), (CONTENT, &b""[..]), "{topic}");
        assert!(option(&answer, 6).is_some(), "{answer:02x?}");
        device.gateway.send(mqtt, &publish(topic, b"123", 0, false, 0));
        let told = device.gateway.datagrams_to(peer(4_000));
        assert_eq!((told.len(), told[0][1]), (1, CONTENT));
        assert!(told[0].ends_with(b"\xff123"));
        device.token = b"another";
        let answer = device.get(Some(1), topic, &["clientid=client1"]);
        assert_eq!((answer[1], body(&answer)), (UNSUBSCRIBED, &b""[..]), "nothing is retained");
        assert_eq!(option(&answer, 6), None);
        assert_eq!(device.get(Some(1), topic, &[])[1], UNSUBSCRIBED, "again");
        device.gateway.send(mqtt, &publish(topic, b"off", 0, false, 0));
        assert_eq!(device.gateway.datagrams_to(peer(4_000)).len(), 0);
    }
}

/// The answer has no value; what is retained is the first notification, unless `rh=2` says that it is
/// not wanted. Observe 1 of one topic leaves the others.
#[test]
fn what_is_retained_comes_after_the_answer() {
    let mut device = Device::new();
    let mqtt = device.gateway.mqtt("m", true);
    device.gateway.send(mqtt, &publish("a", b"kept", 0, true, 0));
    device.gateway.send(mqtt, &publish("b", b"kept", 0, true, 0));
    device.token = b"a";
    let answers = device.answers(GET, Some(0), "a", &[], b"");
    assert_eq!((answers.len(), body(&answers[0]), body(&answers[1])), (2, &b""[..], &b"kept"[..]));
    let number = |packet: &[u8]| option(packet, 6).expect("Observe");
    assert!(number(&answers[0]) < number(&answers[1]), "RFC 7641 3.4");
    device.token = b"b";
    assert_eq!(device.answers(GET, Some(0), "b", &["rh=2"], b"").len(), 1);
    device.token = b"x";
    assert_eq!(device.get(Some(1), "a", &[])[1], UNSUBSCRIBED);
    device.gateway.send(mqtt, &publish("a", b"new", 0, false, 0));
    assert_eq!(device.gateway.datagrams_to(peer(4_000)).len(), 0);
    device.gateway.send(mqtt, &publish("b", b"new", 0, false, 0));
    assert_eq!(device.gateway.datagrams_to(peer(4_000)).len(), 1);
    assert_eq!(body(&device.get(None, "a", &[])), b"kept", "a GET alone reads");
}

/// `t_subscribe_with_qos_opt` and `t_observe_notify_type_qos`: a message's QoS and the subscription's,
/// by default that of its request's type, say whether a notification is confirmable.
#[test]
fn t_subscribe_with_qos_opt() {
    const NON: u8 = 1;
    for (query, kind, published, confirmable) in [
        (&["qos=0"][..], CON, 1, false),
        (&["q=1"], NON, 1, true),
        (&["qos=2"], CON, 1, true),
        (&["qos=2"], CON, 0, false),
        (&[], CON, 1, true),
        (&[], NON, 1, false),
    ] {
        let mut device = Device::new();
        let mqtt = device.gateway.mqtt("m", true);
        device.kind = kind;
        assert_eq!(device.get(Some(0), "abc/d", query)[1], CONTENT);
        device.gateway.send(mqtt, &publish("abc/d", b"x", published, false, 1));
        let told = device.gateway.datagrams_to(peer(4_000));
        assert_eq!(told.len(), 1, "{query:?}");
        assert_eq!(told[0][0] >> 4 & 3 == CON, confirmable, "{query:?} {kind} {published}");
    }
}

/// `t_observe_wildcard`: whoever observes may name wildcards, decoded or not; a notification is the
/// message as it is. They end by their topic, and are not to be published to or read.
#[test]
fn t_observe_wildcard() {
    for topic in ["abc/+", "#", "abc/%23", "abc%2F%2B", "+/def"] {
        let mut device = Device::new();
        let mqtt = device.gateway.mqtt("m", true);
        let answer = device.get(Some(0), topic, &[]);
        assert_eq!((answer[1], body(&answer)), (CONTENT, &b""[..]), "{topic}");
        device.gateway.send(mqtt, &publish("abc/def", b"123", 0, false, 0));
        let told = device.gateway.datagrams_to(peer(4_000));
        assert_eq!((told.len(), body(&told[0])), (1, &b"123"[..]), "{topic}");
        assert_eq!(device.ask(POST, None, topic, &[], b"x")[1], BAD_REQUEST, "{topic}");
        assert_eq!(device.get(None, topic, &[])[1], BAD_REQUEST, "{topic}");
        assert_eq!(device.get(Some(1), topic, &[])[1], UNSUBSCRIBED, "{topic}");
        device.gateway.send(mqtt, &publish("abc/def", b"4", 0, false, 0));
        assert_eq!(device.gateway.datagrams_to(peer(4_000)).len(), 0, "{topic}");
    }
    for topic in ["a/#/b", "a+", "#a"] {
        assert_eq!(Device::new().get(Some(0), topic, &[])[1], BAD_REQUEST, "{topic}");
    }
}

/// `t_subscribe_opts_nl_rh`: `nl=1` keeps a client's own messages from it.
#[test]
fn t_subscribe_opts_nl_rh() {
    for (query, own) in [(["c=1", "nl=1"], 0), (["c=1", "nl=0"], 1)] {
        let mut device = Device::new();
        assert_eq!(device.get(Some(0), "nlrh", &query)[1], CONTENT);
        device.mid += 1;
        let options = [(11, &b"ps"[..]), (11, b"nlrh"), (15, b"clientid=1"), (15, b"q=0")];
        let bytes = request(POST, device.mid, b"p", &options, b"x");
        let told = device.gateway.datagram(COAP, peer(4_000), &bytes);
        assert_eq!(told.len(), 1 + own, "its answer, and its own message");
        let mqtt = device.gateway.mqtt("m", true);
        device.gateway.send(mqtt, &publish("nlrh", b"y", 0, false, 0));
        assert_eq!(device.gateway.datagrams_to(peer(4_000)).len(), 1, "the next one comes");
    }
}

/// `t_publish`, `t_publish_with_retain_qos_expiry`: 2.04; `expiry` is seconds, and 0, which is never by
/// EMQX's documents, holds against what the rules say.
#[test]
fn t_publish_with_retain_qos_expiry() {
    let defaults = motegate_mapping::Defaults {
        expiry: Some(std::time::Duration::from_secs(5)),
        ..Default::default()
    };
    for (query, after, is_there) in [
        (&["retain=true", "qos=1", "expiry=60"][..], 59, true),
        (&["retain=true", "qos=1", "expiry=60"], 61, false),
        (&["retain=true", "expiry=0"], 0, true),
        (&["retain=true", "expiry=0"], 1_000_000, true),
        (&["r=true"], 6, false),
        (&["r=true"], 4, true),
        (&["retain=1"], 0, false),
        (&["retain"], 0, false),
    ] {
        let mut device = Device::with(defaults);
        let mqtt = device.gateway.mqtt("m", true);
        device.gateway.mqtt_subscribe(mqtt, "/abc", 1);
        assert_eq!(device.ask(POST, None, "/abc", query, b"123")[1], CHANGED);
        assert!(device.gateway.received(mqtt).ends_with(b"123"), "{query:?}");
        device.gateway.advance(std::time::Duration::from_secs(after));
        let found = device.get(None, "/abc", &[]);
        assert_eq!(found[1] == CONTENT, is_there, "{query:?} after {after} s");
    }
}

/// `t_pubsub_handler_errors`: there is a topic to name.
#[test]
fn t_pubsub_handler_errors() {
    let mut device = Device::new();
    for path in [&[&b"ps"[..]][..], &[b"ps", b""]] {
        device.mid += 1;
        let path: Vec<(u16, &[u8])> = path.iter().map(|segment| (11, *segment)).collect();
        let bytes = request(GET, device.mid, b"t", &path, b"");
        assert_eq!(device.gateway.datagram(COAP, peer(4_000), &bytes)[0][1], BAD_REQUEST);
    }
    assert_eq!(device.ask(DELETE, None, "abc", &[], b"")[1], NOT_ALLOWED);
}

/// `t_connectionless_pubsub`: one client observes and publishes.
#[test]
fn t_connectionless_pubsub() {
    let mut device = Device::new();
    assert_eq!(device.get(Some(0), "t/a", &[])[1], CONTENT);
    let answers = device.answers(POST, None, "t/a", &[], b"123");
    let told: Vec<_> = answers.iter().map(|packet| (packet[1], body(packet))).collect();
    assert_eq!(told, [(CHANGED, &b""[..]), (CONTENT, b"123")]);
}

/// On a listener whose clients name themselves, EMQX's words do.
#[test]
fn who_a_client_is() {
    for (port, query) in [(4_001, "clientid=n-7"), (4_002, "c=n-8"), (4_003, "client=n-9")] {
        let mut device = Device::new();
        let topic = [(6, &b""[..]), (11, b"ps"), (11, b"coap"), (11, b"test")];
        let options = [&topic[..], &[(15, query.as_bytes())]].concat();
        let bytes = request(GET, 1, b"t", &options, b"");
        device.gateway.datagram(COAP, peer(port), &bytes);
        let name = query.split('=').nth(1).expect("a name").to_owned();
        let show = Query::Client { client_id: name.clone(), from: Cursor::default() };
        device.gateway.input(motegate_core::Input::Admin { ticket: 1, query: show });
        let Some(Answer::Client(details)) = device.gateway.answers.pop() else { panic!() };
        assert_eq!(details.clients.len(), 1, "{name}");
    }
}
