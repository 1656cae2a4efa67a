//! Payloads in two formats: what a device writes and what stands in the broker (mapping.md §2.10),
//! and observations of several topics at once (§2.7).

mod common;

use std::time::Duration;

use common::{
    COAP, Gateway, Options, SN, config, option, options, peer, publish, request, sn, sn_connect,
};
use motegate_core::NoticeKind;
use motegate_mapping::{
    Action, CoapMethod, CoapRule, Codec, CodecForm, Defaults, FrameField, OnBadPayload,
    PayloadRule, QosMinusOne, Rate, Rules, Scope, SnRules, Table, TopicId,
};
use motegate_message::Reason;

const IF_MATCH: u16 = 1;
const ETAG: u16 = 4;
const OBSERVE: u16 = 6;
const PATH: u16 = 11;
const FORMAT: u16 = 12;
const ACCEPT: u16 = 17;
const CHANGED: u8 = 0x44;
const CONTENT: u8 = 0x45;

fn formats(device: &[&str], broker: &str, split: bool) -> Option<PayloadRule> {
    let device = device.iter().map(|name| (*name).to_owned()).collect();
    Some(PayloadRule { device, broker: broker.into(), split })
}

fn rule(name: &str, path: &str, topic: &str) -> CoapRule {
    CoapRule { name: name.into(), path: path.into(), topic: topic.into(), ..CoapRule::default() }
}

fn field(name: &str, kind: &str, scale: Option<&str>) -> FrameField {
    let scale = scale.map(Into::into);
    FrameField { name: name.into(), kind: kind.into(), scale, ..FrameField::default() }
}

fn gateway(on_bad: OnBadPayload) -> Gateway {
    let frame = vec![field("temp", "i16be", Some("0.01")), field("hum", "u8", None)];
    let keys = vec![(0, "temp".into()), (1, "hum".into())];
    let id = TopicId {
        first: 10,
        last: 10,
        topic: "dev/env".into(),
        codec: Some("env".into()),
        ..TopicId::default()
    };
    let rules = Rules {
        defaults: Defaults { on_bad_payload: on_bad, ..Defaults::default() },
        codecs: vec![
            Codec { name: "env".into(), form: CodecForm::Frame(frame) },
            Codec { name: "compact".into(), form: CodecForm::CborKeys(keys) },
        ],
        coap: vec![
            CoapRule {
                payload: formats(&["cbor", "json"], "json", false),
                ..rule("state", "/v", "site/v")
            },
            CoapRule {
                payload: formats(&["senml+json"], "json", true),
                methods: Some(vec![(CoapMethod::Post, Action::Publish)]),
                ..rule("pack", "/pack", "dev/{senml.n...}")
            },
            CoapRule {
                methods: Some(vec![(CoapMethod::Observe, Action::Subscribe)]),
                ..rule("all", "/all", "site/#")
            },
            CoapRule {
                payload: formats(&["senml+json"], "json", false),
                methods: Some(vec![(CoapMethod::Observe, Action::Subscribe)]),
                ..rule("read", "/read", "json/#")
            },
            CoapRule { payload: formats(&["compact"], "json", false), ..rule("c", "/c", "cmd") },
        ],
        sn: SnRules { topic_ids: vec![(Scope::All, vec![id])], ..SnRules::default() },
        ..Rules::default()
    };
    Gateway::with_table(config(), Table::new(rules).expect("good rules"))
}

/// One request from one peer; the answer.
fn ask(gateway: &mut Gateway, code: u8, path: &str, more: Options<'_>, body: &[u8]) -> Vec<u8> {
    let mid = u16::try_from(gateway.now.as_micros() / 1000 % 60_000).expect("small");
    gateway.advance(std::time::Duration::from_millis(1));
    let mut all: Vec<(u16, &[u8])> = more.to_vec();
    all.push((PATH, path.as_bytes()));
    all.sort_by_key(|(number, _)| *number);
    let answers = gateway.datagram(COAP, peer(4_000), &request(code, mid, b"t", &all, body));
    answers.into_iter().next().expect("an answer")
}

fn payload(packet: &[u8]) -> &[u8] {
    let mut at = 4 + usize::from(packet[0] & 0xf);
    while packet.get(at).is_some_and(|head| *head != 0xff) {
        let head = packet[at];
        at += 1 + usize::from(head >> 4 == 13) + usize::from(head & 0xf);
    }
    packet.get(at + 1..).unwrap_or_default()
}

/// What an MQTT subscriber of everything has got: topics and payloads.
fn heard(gateway: &mut Gateway, conn: motegate_message::ConnectionId) -> Vec<(String, String)> {
    let bytes = gateway.received(conn);
    let mut rest = &bytes[..];
    let mut found = Vec::new();
    while let [first, len, body @ ..] = rest {
        let (body, tail) = body.split_at(usize::from(*len));
        assert_eq!(first >> 4, 3, "a PUBLISH");
        let topic = usize::from(u16::from_be_bytes([body[0], body[1]]));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        found.push((text(&body[2..2 + topic]), text(&body[2 + topic..])));
        rest = tail;
    }
    found
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
}

#[test]
fn a_value_has_a_format_on_each_side_and_an_etag_in_each() {
    let mut gateway = gateway(OnBadPayload::Reject);
    let mqtt = gateway.mqtt("m", true);
    gateway.mqtt_subscribe(mqtt, "site/#", 0);
    // {"v": 21.5}
    let cbor = b"\xa1\x61v\xf9\x4d\x60";
    ask(&mut gateway, 3, "v", &[(FORMAT, &[60])], cbor);
    assert_eq!(heard(&mut gateway, mqtt), pairs(&[("site/v", "{\"v\":21.5}")]));
    let in_cbor = ask(&mut gateway, 1, "v", &[], b"");
    assert_eq!((payload(&in_cbor), option(&in_cbor, FORMAT)), (&cbor[..], Some(vec![60])));
    let in_json = ask(&mut gateway, 1, "v", &[(ACCEPT, &[50])], b"");
    assert_eq!(payload(&in_json), b"{\"v\":21.5}");
    let (one, other) = (option(&in_cbor, ETAG).unwrap(), option(&in_json, ETAG).unwrap());
    assert_ne!(one, other, "two representations (RFC 7252 §5.10.6)");
    let valid = ask(&mut gateway, 1, "v", &[(ETAG, &other), (ACCEPT, &[50])], b"");
    assert_eq!((valid[1], payload(&valid)), (0x43, &b""[..]));
    assert_eq!(ask(&mut gateway, 1, "v", &[(ETAG, &other)], b"")[1], CONTENT);
    for etag in [&one, &other] {
        // Whichever it has seen, it is the value that is there.
        let put = ask(&mut gateway, 3, "v", &[(IF_MATCH, etag), (FORMAT, &[60])], cbor);
        assert_eq!(put[1], CHANGED);
    }
    let old = [(IF_MATCH, &[1; 8][..]), (FORMAT, &[60])];
    assert_eq!(ask(&mut gateway, 3, "v", &old, cbor)[1], 0x8c);
}

#[test]
fn formats_that_a_rule_does_not_have_are_refused() {
    let mut gateway = gateway(OnBadPayload::Reject);
    let answer = ask(&mut gateway, 3, "v", &[(FORMAT, &[42])], b"x");
    assert_eq!(answer[1], 0x8f, "4.15");
    assert!(String::from_utf8_lossy(payload(&answer)).contains("60, 50"), "{answer:02x?}");
    ask(&mut gateway, 3, "v", &[(FORMAT, &[50])], b"1");
    assert_eq!(ask(&mut gateway, 1, "v", &[(ACCEPT, &[42])], b"")[1], 0x86, "4.06");
    let bad = ask(&mut gateway, 3, "v", &[(FORMAT, &[50])], b"{\"v\":");
    assert_eq!(bad[1], 0x80, "4.00");
    assert!(!payload(&bad).is_empty());
    assert!(gateway.notices.iter().all(|n| n.kind == NoticeKind::Refused(Reason::BadPayload)));
    ask(&mut gateway, 3, "v", &[(FORMAT, &[50])], b"1e400");
    assert_eq!(ask(&mut gateway, 1, "v", &[(ACCEPT, &[60])], b"")[1], 0x86, "4.06, JSON holds it");
    // What an MQTT client wrote there is not what the rule says: that is nobody's 4.xx.
    let mqtt = gateway.mqtt("m", true);
    gateway.send(mqtt, &publish("site/v", b"no json", 0, true, 0));
    assert_eq!(ask(&mut gateway, 1, "v", &[], b"")[1], 0xa0, "5.00");
}

#[test]
fn a_bad_payload_passes_or_becomes_a_dead_letter() {
    for (on_bad, topic) in
        [(OnBadPayload::Pass, "site/v"), (OnBadPayload::DeadLetter, "$dead_letter/site/v")]
    {
        let mut gateway = gateway(on_bad);
        let mqtt = gateway.mqtt("m", true);
        gateway.mqtt_subscribe(mqtt, "#", 0);
        gateway.mqtt_subscribe(mqtt, "$dead_letter/#", 0);
        let answer = ask(&mut gateway, 3, "v", &[(FORMAT, &[50])], b"{\"v\":");
        assert_eq!(answer[1] >> 5, 2, "{answer:02x?}");
        assert_eq!(heard(&mut gateway, mqtt), pairs(&[(topic, "{\"v\":")]));
    }
}

#[test]
fn a_pack_is_one_message_a_record_and_one_answer() {
    let mut gateway = gateway(OnBadPayload::Reject);
    let mqtt = gateway.mqtt("m", true);
    gateway.mqtt_subscribe(mqtt, "dev/#", 0);
    let pack = br#"[{"bn":"k/","n":"t","v":20.5},{"n":"h","v":41}]"#;
    let answer = ask(&mut gateway, 2, "pack", &[(FORMAT, &[110])], pack);
    assert_eq!(answer[1], CHANGED);
    assert_eq!(
        heard(&mut gateway, mqtt),
        pairs(&[("dev/k/t", "{\"v\":20.5}"), ("dev/k/h", "{\"v\":41}")])
    );
    // One record that has no topic, and nothing of the pack is published.
    let bad = br#"[{"n":"a","v":1},{"n":"b//","v":2},{"n":"$c","v":3}]"#;
    let answer = ask(&mut gateway, 2, "pack", &[(FORMAT, &[110])], bad);
    assert_eq!(answer[1] >> 5, 4, "{answer:02x?}");
    assert!(heard(&mut gateway, mqtt).is_empty());
}

#[test]
fn an_observer_is_notified_in_its_format() {
    let mut gateway = gateway(OnBadPayload::Reject);
    let mqtt = gateway.mqtt("m", true);
    let first = ask(&mut gateway, 1, "c", &[(OBSERVE, &[])], b"");
    assert_eq!(first[1], CONTENT);
    gateway.send(mqtt, &publish("cmd", b"{\"temp\":19}", 0, false, 0));
    let notification = gateway.datagrams_to(peer(4_000)).pop().expect("a notification");
    assert_eq!(payload(&notification), b"\xa1\x00\x13");
    // One that is none is left out, and the next one comes.
    gateway.datagram(COAP, peer(4_000), &[0x60, 0, notification[2], notification[3]]);
    gateway.send(mqtt, &publish("cmd", b"nonsense", 0, false, 0));
    assert!(gateway.datagrams_to(peer(4_000)).is_empty());
    gateway.send(mqtt, &publish("cmd", b"{\"hum\":7}", 0, false, 0));
    let notification = gateway.datagrams_to(peer(4_000)).pop().expect("the next one");
    assert_eq!(payload(&notification), b"\xa1\x01\x07");
}

#[test]
fn p07_several_topics_are_observed_as_packs_of_one_record_named_by_its_topic() {
    let mut gateway = gateway(OnBadPayload::Reject);
    let mqtt = gateway.mqtt("m", true);
    gateway.send(mqtt, &publish("site/a", b"1", 0, true, 0));
    gateway.send(mqtt, &publish("site/b/c", b"on", 0, true, 0));
    let observe = request(1, 7, b"t", &[(OBSERVE, b""), (PATH, b"all")], b"");
    let mut packets = gateway.datagram(COAP, peer(4_000), &observe);
    let first = packets.remove(0);
    assert_eq!((first[1], payload(&first)), (CONTENT, &b""[..]));
    assert!(options(&first).iter().any(|(number, _)| *number == OBSERVE));
    let mut told = Vec::new();
    while !packets.is_empty() {
        let next = packets.remove(0);
        told.push(String::from_utf8_lossy(payload(&next)).into_owned());
        packets.extend(gateway.datagram(COAP, peer(4_000), &[0x60, 0, next[2], next[3]]));
    }
    told.sort();
    assert_eq!(told, [r#"[{"n":"site/a","vs":"1"}]"#, r#"[{"n":"site/b/c","vs":"on"}]"#]);
    // While one is on its way the others wait, whatever their QoS: none is another's newer value.
    gateway.send(mqtt, &publish("site/a", b"2", 1, false, 1));
    let busy = gateway.datagrams_to(peer(4_000)).pop().expect("a confirmable one");
    for (topic, value) in [("site/a", "3"), ("site/b", "4")] {
        gateway.send(mqtt, &publish(topic, value.as_bytes(), 0, false, 0));
    }
    assert!(gateway.datagrams_to(peer(4_000)).is_empty());
    let ack = [0x60, 0, busy[2], busy[3]];
    let rest = gateway.datagram(COAP, peer(4_000), &ack);
    let rest: Vec<_> = rest.iter().map(|next| String::from_utf8_lossy(payload(next))).collect();
    assert_eq!(rest, [r#"[{"n":"site/a","vs":"3"}]"#, r#"[{"n":"site/b","vs":"4"}]"#]);
    // A topic that is cleared is an empty record, and no end of the others.
    gateway.send(mqtt, &publish("site/a", b"", 0, true, 0));
    let cleared = gateway.datagrams_to(peer(4_000)).pop().expect("a notification");
    assert_eq!(payload(&cleared), br#"[{"n":"site/a","vs":""}]"#);
    // Whatever the broker's format is: none has a word for nothing.
    let observe = request(1, 8, b"j", &[(OBSERVE, b""), (PATH, b"read")], b"");
    gateway.datagram(COAP, peer(4_000), &observe);
    gateway.send(mqtt, &publish("json/a", b"", 0, true, 0));
    let cleared = gateway.datagrams_to(peer(4_000)).pop().expect("a notification");
    assert_eq!(payload(&cleared), br#"[{"n":"json/a","vs":""}]"#);
    // Without Observe there is no one value.
    assert_eq!(ask(&mut gateway, 1, "all", &[], b"")[1], 0x85, "4.05");
}

#[test]
fn a_codec_of_a_topic_id_works_in_both_directions() {
    let mut gateway = gateway(OnBadPayload::Reject);
    let mqtt = gateway.mqtt("m", true);
    gateway.mqtt_subscribe(mqtt, "dev/#", 0);
    gateway.datagram(SN, peer(9), &sn_connect("mote", true, 60));
    // QoS 1, pre-defined id 10: 0x0866 is 21.5, 45.
    let puback = gateway.datagram(SN, peer(9), &sn(0x0c, &[0x21, 0, 10, 0, 7, 0x08, 0x66, 0x2d]));
    assert_eq!(puback, [sn(0x0d, &[0, 10, 0, 7, 0])]);
    assert_eq!(heard(&mut gateway, mqtt), pairs(&[("dev/env", "{\"temp\":21.5,\"hum\":45}")]));
    // A byte too few: "rejected: not supported", and nobody hears of it.
    let puback = gateway.datagram(SN, peer(9), &sn(0x0c, &[0x21, 0, 10, 0, 8, 0x08, 0x66]));
    assert_eq!(puback, [sn(0x0d, &[0, 10, 0, 8, 3])]);
    assert!(heard(&mut gateway, mqtt).is_empty());
    // Downwards, by the id that it subscribed with.
    gateway.datagram(SN, peer(9), &sn(0x12, &[0x01, 0, 1, 0, 10]));
    gateway.send(mqtt, &publish("dev/env", b"{\"hum\": 1, \"temp\": -0.5}", 0, false, 0));
    let down = gateway.datagrams_to(peer(9));
    assert_eq!(down, [sn(0x0c, &[0x01, 0, 10, 0, 0, 0xff, 0xce, 1])]);
    gateway.received(mqtt);
    gateway.advance(std::time::Duration::from_secs(11)); // a flood is one line in ten seconds
    gateway.send(mqtt, &publish("dev/env", b"{\"temp\": 0.001}", 0, false, 0));
    assert!(gateway.datagrams_to(peer(9)).is_empty(), "it is not in the frame's grid");
    let notice = gateway.notices.pop().expect("somebody should know");
    assert_eq!(notice.kind, NoticeKind::Dropped(Reason::BadPayload));
    assert_eq!(notice.client.expect("a client").client_id(), "mote");
    let text = notice.text.expect("a cause");
    assert!(text.starts_with("the value of dev/env: "), "{text}");
    // A topic that is cleared has no value in any format.
    gateway.received(mqtt);
    gateway.send(mqtt, &publish("dev/env", b"", 0, true, 0));
    assert_eq!(gateway.datagrams_to(peer(9)), [sn(0x0c, &[0x01, 0, 10, 0, 0])]);
}

/// mapping.md §2.12: what is not listed uses up nothing of the rate, and is told as what it is.
#[test]
fn qos_minus_one_that_is_not_listed_takes_nobodys_turn() {
    let minus_one = SnRules {
        short: vec![("tt".into(), "t".into())],
        qos_minus_one: Some(QosMinusOne {
            ids: vec![],
            short: vec![*b"tt"],
            client: "anybody".into(),
            rate: Some(Rate { count: 1, per: Duration::from_secs(1) }),
        }),
        ..SnRules::default()
    };
    let rules = Rules { sn: minus_one, ..Rules::default() };
    let mut gateway = Gateway::with_table(config(), Table::new(rules).expect("good rules"));
    let mut say = |topic: &[u8; 2]| {
        gateway.notices.clear();
        gateway.datagram(
            SN,
            peer(3_000),
            &sn(0x0c, &[&[0x62], &topic[..], &[0, 0, b'x']].concat()),
        );
        gateway.notices.iter().map(|notice| notice.kind).collect::<Vec<_>>()
    };
    for _ in 0..5 {
        assert!(!say(b"no").contains(&NoticeKind::Dropped(Reason::RateLimited)));
    }
    assert_eq!(say(b"tt"), []);
    assert_eq!(say(b"tt"), [NoticeKind::Dropped(Reason::RateLimited)]);
}
