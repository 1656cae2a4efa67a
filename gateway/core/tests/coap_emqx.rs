//! Clients written for EMQX's CoAP gateway (its connectionless mode) on the preset `emqx-ps`: paths,
//! methods and query parameters as they know them.

mod common;

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
const BAD_REQUEST: u8 = 0x80;
const NOT_ALLOWED: u8 = 0x85;

const TOPIC: [(u16, &[u8]); 3] = [(11, b"ps"), (11, b"coap"), (11, b"test")];

struct Device {
    gateway: Gateway,
    mid: u16,
}

impl Device {
    fn new() -> Self {
        let mut config = config();
        config.listeners[2].client_from = ClientFrom::Query;
        let rules = Rules { presets: vec![Preset::EmqxPs], ..Rules::default() };
        let table = Table::new(rules).expect("one preset");
        Device { gateway: Gateway::with_table(config, table), mid: 0 }
    }

    fn ask(&mut self, code: u8, observe: Option<&[u8]>, query: &[&str], body: &[u8]) -> Vec<u8> {
        self.mid += 1;
        let observe: Vec<(u16, &[u8])> = observe.map(|value| (6, value)).into_iter().collect();
        let query: Vec<(u16, &[u8])> = query.iter().map(|one| (15, one.as_bytes())).collect();
        let options: Options<'_> = &[&observe[..], &TOPIC, &query].concat();
        let bytes = request(code, self.mid, b"t", options, body);
        let mut answers = self.gateway.datagram(COAP, peer(4_000), &bytes);
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
        let answer = device.ask(code, None, &query, b"hello");
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
    assert_eq!(device.ask(PUT, None, &["retain=true"], b"again")[1], CHANGED);
    assert_eq!(device.ask(POST, None, &["qos=3"], b"")[1], BAD_REQUEST);
    assert_eq!(device.ask(DELETE, None, &[], b"")[1], NOT_ALLOWED);
    let other = [(11, &b"ps"[..]), (11, b"a"), (15, b"retain=true")];
    let first = request(PUT, 900, b"t", &other, b"1");
    assert_eq!(device.gateway.datagram(COAP, peer(4_000), &first)[0][1], CREATED);
}

/// GET with Observe 0 subscribes, with 1 it ends that; options of a subscription are passed over.
#[test]
fn what_is_observed() {
    let mut device = Device::new();
    let answer = device.ask(GET, Some(b""), &["clientid=123", "qos=0", "nl=1", "rh=1"], b"");
    assert_eq!(answer[1], CONTENT);
    assert!(option(&answer, 6).is_some(), "{answer:02x?}");
    let mqtt = device.gateway.mqtt("m", true);
    device.gateway.send(mqtt, &publish("coap/test", b"on", 0, false, 0));
    let told = device.gateway.datagrams_to(peer(4_000));
    assert_eq!((told.len(), told[0][1]), (1, CONTENT));
    assert!(told[0].ends_with(b"\xffon"));
    assert_eq!(device.ask(GET, Some(b"\x01"), &["clientid=123"], b"")[1] >> 5, 4, "no value");
    device.gateway.send(mqtt, &publish("coap/test", b"off", 0, false, 0));
    assert_eq!(device.gateway.datagrams_to(peer(4_000)).len(), 0);
}

/// On a listener whose clients name themselves, EMQX's words do.
#[test]
fn who_a_client_is() {
    for (port, query) in [(4_001, "clientid=n-7"), (4_002, "c=n-8"), (4_003, "client=n-9")] {
        let mut device = Device::new();
        let options = [&[(6, &b""[..])][..], &TOPIC, &[(15, query.as_bytes())]].concat();
        let bytes = request(GET, 1, b"t", &options, b"");
        device.gateway.datagram(COAP, peer(port), &bytes);
        let name = query.split('=').nth(1).expect("a name").to_owned();
        let show = Query::Client { client_id: name.clone(), from: Cursor::default() };
        device.gateway.input(motegate_core::Input::Admin { ticket: 1, query: show });
        let Some(Answer::Client(details)) = device.gateway.answers.pop() else { panic!() };
        assert_eq!(details.clients.len(), 1, "{name}");
    }
}
