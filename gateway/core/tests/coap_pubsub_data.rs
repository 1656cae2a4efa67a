//! What the configuration of a topic (draft-ietf-core-coap-pubsub-21) means for its data, subscribers and
//! time, and what topics outlive: each test names the section that it is about.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::pubsub::{
    BAD_REQUEST, BLOCK1, Broker, CHANGED, CONTENT, CREATED, DELETE, DELETED, FORMAT, GET, IPATCH,
    NOT_ALLOWED, NOT_FOUND, OBSERVE, PATH, POST, PROPERTIES, PS, PUT, TOO_LARGE, UNAVAILABLE,
    UNSUPPORTED, body, configuration, named, table, text,
};
use common::{COAP, Options, config, option, peer, publish, request};
use motegate_coap::pubsub::{Date, Properties};
use motegate_core::{Config, Core, Input, Reload};
use motegate_mapping::Table;
use motegate_message::Reason;

/// §2.5.5 and §3.1: with the topic go its data and every subscription.
#[test]
fn s2_5_5_a_topic_is_deleted_with_its_data_and_observers() {
    let mut broker = Broker::new();
    let id = broker.make(&named("t"));
    assert_eq!(broker.data(4_000, PUT, "t", &[], b"1")[1], CREATED);
    assert_eq!(broker.observe(4_001, "t")[1], CONTENT);
    let mqtt = broker.gateway.mqtt("m", true);
    broker.gateway.mqtt_subscribe(mqtt, "t", 0);
    broker.gateway.received(mqtt);
    // By another path, whose rule would tell of a value that was cleared by an empty one.
    let other = [(OBSERVE, &b""[..]), (PATH, b"mqtt"), (PATH, b"t")];
    assert!(option(&broker.from(4_002, GET, &other, b""), OBSERVE).is_some());
    broker.gateway.datagrams.clear();
    assert_eq!(broker.topic(DELETE, &id, &[], b"")[1], DELETED);
    for port in [4_001, 4_002] {
        let last = broker.told(port);
        assert_eq!((last.len(), last[0][1], option(&last[0], OBSERVE)), (1, NOT_FOUND, None));
    }
    assert_eq!(broker.gateway.received(mqtt), publish("t", b"", 0, false, 0), "cleared for MQTT");
    assert_eq!(broker.data(4_000, GET, "t", &[], b"")[1], NOT_FOUND);
    assert_eq!(broker.topic(GET, &id, &[], b"")[1], NOT_FOUND);
    // "can be considered a successful deletion"
    assert_eq!(broker.topic(DELETE, &id, &[], b"")[1], NOT_FOUND);
    // One that nobody has published to disturbs nobody.
    let half = broker.make(&named("half"));
    broker.gateway.mqtt_subscribe(mqtt, "half", 0);
    assert_eq!(broker.topic(DELETE, &half, &[], b"")[1], DELETED);
    assert_eq!(broker.gateway.received(mqtt), [0_u8; 0]);
    assert_eq!(text(&broker.ask(GET, &[PS], b"")), "");
}

/// §3.2.1: 2.01 first, 2.04 later; 4.15 for another Content-Format, in blocks at the first one.
#[test]
fn s3_2_1_data_are_published_in_their_format() {
    let mut broker = Broker::new();
    broker.make(&Properties { topic_content_format: Some(50), ..named("t") });
    let json = [(FORMAT, &b"\x32"[..])];
    assert_eq!(broker.data(4_000, PUT, "t", &[], b"{}")[1], UNSUPPORTED, "none is not 50");
    assert_eq!(broker.data(4_000, PUT, "t", &[(FORMAT, b"\x3c")], b"\xa0")[1], UNSUPPORTED);
    let first = [(FORMAT, &b"\x3c"[..]), (BLOCK1, b"\x08")];
    assert_eq!(broker.data(4_000, PUT, "t", &first, &[0; 16])[1], UNSUPPORTED);
    assert_eq!(broker.data(4_000, PUT, "t", &json, b"{}")[1], CREATED);
    assert_eq!(broker.data(4_000, PUT, "t", &json, b"[]")[1], CHANGED);
    assert_eq!(broker.data(4_000, POST, "t", &json, b"[]")[1], NOT_ALLOWED);
    let value = broker.data(4_000, GET, "t", &[], b"");
    assert_eq!((value[1], body(&value)), (CONTENT, &b"[]"[..]));
    // By whichever path.
    let other = [(PATH, &b"mqtt"[..]), (PATH, b"t"), (FORMAT, b"")];
    assert_eq!(broker.ask(PUT, &other, b"x")[1], UNSUPPORTED);
    assert_eq!(broker.data(4_000, DELETE, "t", &[], b"")[1], DELETED, "a DELETE has no format");
}

/// §2.2.1 initialize: as a first publication; §3.2.4: it does not come again by itself.
#[test]
fn s2_2_1_a_topic_begins_with_its_data() {
    let mut broker = Broker::new();
    let id = broker.make(&Properties {
        topic_content_format: Some(60),
        initialize: Some(b"\x80"[..].into()),
        ..named("t")
    });
    let value = broker.observe(4_001, "t");
    assert_eq!((value[1], body(&value)), (CONTENT, &b"\x80"[..]));
    assert_eq!(option(&value, FORMAT), Some(vec![60]));
    let cbor = [(FORMAT, &b"\x3c"[..])];
    assert_eq!(broker.data(4_000, PUT, "t", &cbor, b"\x81\x01")[1], CHANGED);
    broker.acknowledge(4_001);
    assert_eq!(broker.data(4_000, DELETE, "t", &[], b"")[1], DELETED);
    assert_eq!(broker.told(4_001)[0][1], NOT_FOUND);
    assert_eq!(broker.data(4_000, GET, "t", &[], b"")[1], NOT_FOUND);
    let whole = configuration(&broker.topic(GET, &id, &[], b""));
    assert_eq!(whole.topic_data.as_deref(), Some("/ps/data/t"), "half created again");
    assert_eq!(broker.data(4_000, PUT, "t", &cbor, b"\x80")[1], CREATED);
}

/// §2.2.1 and §3.2.2 max-subscribers: the one too many gets 2.05 without Observe; §2.5.3: those too
/// many get a final 4.04 when it sinks.
#[test]
fn s3_2_2_subscribers_are_bounded() {
    let mut broker = Broker::new();
    broker.data(4_000, PUT, "t", &[], b"1");
    assert!(option(&broker.observe(4_001, "t"), OBSERVE).is_some(), "before there was a topic");
    let id = broker.make(&Properties { max_subscribers: Some(2), ..named("t") });
    assert!(option(&broker.observe(4_002, "t"), OBSERVE).is_some());
    let third = broker.observe(4_003, "t");
    assert_eq!((third[1], body(&third), option(&third, OBSERVE)), (CONTENT, &b"1"[..], None));
    assert!(option(&broker.observe(4_002, "t"), OBSERVE).is_some(), "the same one again");
    broker.data(4_001, GET, "t", &[(OBSERVE, b"\x01")], b"");
    assert!(option(&broker.observe(4_003, "t"), OBSERVE).is_some(), "there is room again");
    let one = Properties { max_subscribers: Some(1), ..Properties::default() };
    broker.topic(IPATCH, &id, &[PROPERTIES], &one.to_cbor());
    let finals: Vec<u8> =
        [4_002, 4_003].iter().flat_map(|port| broker.told(*port)).map(|told| told[1]).collect();
    assert_eq!(finals, [NOT_FOUND]);
    broker.data(4_000, PUT, "t", &[], b"2");
    let told: usize = [4_001, 4_002, 4_003].iter().map(|port| broker.told(*port).len()).sum();
    assert_eq!(told, 1);
}

/// §2.2.1 and §3.2.3 observer-check: a confirmable notification at least so often, changes or not;
/// who does not acknowledge it is forgotten.
#[test]
fn s3_2_3_observers_are_checked() {
    let mut broker = Broker::new();
    broker.data(4_000, PUT, "t", &[], b"1");
    let id = broker.make(&Properties { observer_check: Some(60), ..named("t") });
    broker.observe(4_001, "t");
    broker.gateway.advance(Duration::from_secs(59));
    assert_eq!(broker.told(4_001).len(), 0);
    broker.gateway.advance(Duration::from_secs(1));
    assert_eq!(body(&broker.acknowledge(4_001)), b"1");
    let rows = |broker: &mut Broker| broker.gateway.limit("max_observers").used;
    broker.gateway.advance(Duration::from_secs(59));
    assert_eq!(broker.told(4_001).len(), 0);
    assert_eq!(rows(&mut broker), Some(1));
    broker.gateway.advance(Duration::from_secs(1 + 95));
    assert_eq!(rows(&mut broker), Some(0), "nobody acknowledged it");
    broker.told(4_001);
    // Another interval holds from now on.
    broker.observe(4_001, "t");
    let ten = Properties { observer_check: Some(10), ..Properties::default() };
    broker.topic(IPATCH, &id, &[PROPERTIES], &ten.to_cbor());
    broker.gateway.advance(Duration::from_secs(10));
    assert_eq!(broker.told(4_001).len(), 1);
}

/// §2.2.1 expiration-date: the topic is deleted as by DELETE.
#[test]
fn s2_2_1_a_topic_expires() {
    let mut broker = Broker::new();
    let at = |broker: &Broker, secs| Date::from_millis(broker.gateway.wall().as_millis() + secs);
    let date = at(&broker, 60_000);
    let id = broker.make(&Properties { expiration_date: date, ..named("t") });
    let kept = broker.make(&Properties { expiration_date: date, ..named("kept") });
    broker.data(4_000, PUT, "t", &[], b"1");
    broker.observe(4_001, "t");
    let later = Properties { expiration_date: at(&broker, 90_000), ..Properties::default() };
    broker.topic(IPATCH, &kept, &[PROPERTIES], &later.to_cbor());
    broker.gateway.advance(Duration::from_millis(59_999));
    assert_eq!(broker.topic(GET, &id, &[], b"")[1], CONTENT);
    broker.gateway.advance(Duration::from_millis(1));
    assert_eq!(broker.told(4_001)[0][1], NOT_FOUND);
    assert_eq!(broker.topic(GET, &id, &[], b"")[1], NOT_FOUND);
    assert_eq!(broker.data(4_000, GET, "t", &[], b"")[1], NOT_FOUND);
    assert_eq!(broker.topic(GET, &kept, &[], b"")[1], CONTENT);
    broker.gateway.advance(Duration::from_secs(30));
    assert_eq!(broker.topic(GET, &kept, &[], b"")[1], NOT_FOUND);
}

/// What was acknowledged survives a crash, and nothing is acknowledged before it is stored.
#[test]
fn topics_survive_a_restart() {
    let mut broker = Broker::new();
    let restart = |broker: &mut Broker| {
        let gateway = &mut broker.gateway;
        gateway.uncommitted.clear();
        gateway.core = Core::new(config(), Arc::new(table()), 2);
        let damaged = gateway.core.restore(gateway.now, gateway.wall(), &mut gateway.store);
        assert_eq!(damaged, 0);
    };
    let soon = Date::from_millis(broker.gateway.wall().as_millis() + 60_000);
    let kept = broker.make(&Properties { max_subscribers: Some(0), ..named("kept") });
    let short = broker.make(&Properties { expiration_date: soon, ..named("short") });
    let gone = broker.make(&named("gone"));
    broker.topic(DELETE, &gone, &[], b"");
    broker.gateway.commit_at_once = false;
    let create = request(POST, 900, b"t", &[PS, PROPERTIES], &named("lost").to_cbor());
    assert_eq!(broker.gateway.datagram(COAP, peer(4_000), &create).len(), 0, "not stored yet");
    let patch = Properties { max_subscribers: Some(7), ..Properties::default() }.to_cbor();
    let patch = request(IPATCH, 901, b"t", &[PS, (PATH, kept.as_bytes()), PROPERTIES], &patch);
    assert_eq!(broker.gateway.datagram(COAP, peer(4_000), &patch).len(), 0, "not stored yet");
    broker.gateway.commit_at_once = true;
    restart(&mut broker);
    broker.mid = 1_000;
    assert_eq!(text(&broker.ask(GET, &[PS], b"")).matches('<').count(), 2);
    let whole = configuration(&broker.topic(GET, &kept, &[], b""));
    assert_eq!(whole.max_subscribers, Some(0));
    broker.data(4_000, PUT, "kept", &[], b"1");
    assert_eq!(option(&broker.observe(4_001, "kept"), OBSERVE), None, "and it holds");
    assert_eq!(broker.post(&named("kept"))[1], BAD_REQUEST, "the name is taken");
    broker.gateway.advance(Duration::from_secs(60));
    assert_eq!(broker.topic(GET, &short, &[], b"")[1], NOT_FOUND);
    // What expired while nobody was there ends at the start.
    broker.make(&Properties {
        expiration_date: Date::from_millis(broker.gateway.wall().as_millis() + 5_000),
        ..named("away")
    });
    broker.gateway.now += Duration::from_secs(10);
    restart(&mut broker);
    broker.mid = 2_000;
    broker.gateway.advance(Duration::ZERO);
    assert_eq!(text(&broker.ask(GET, &[PS], b"")).matches('<').count(), 1);
}

/// Bounds, with their counters.
#[test]
fn topics_are_bounded_in_number_and_size() {
    let config = Config { max_pubsub_topics: 2, max_pubsub_topic_size: 100, ..config() };
    let mut broker = Broker::with(config);
    broker.make(&named("a"));
    let b = broker.make(&named("b"));
    let answer = broker.post(&named("c"));
    assert_eq!((answer[1], option(&answer, 14)), (UNAVAILABLE, Some(vec![5])), "Max-Age");
    let limit = broker.gateway.limit("max_pubsub_topics");
    assert_eq!((limit.max, limit.used, limit.acted), (2, Some(2), Some(1)));
    let large = Properties { topic_type: Some("x".repeat(100)), ..named("b") };
    assert_eq!(broker.post(&large)[1], TOO_LARGE);
    let most = Properties { topic_type: Some("x".repeat(80)), ..Properties::default() };
    assert_eq!(
        broker.topic(POST, &b, &[PROPERTIES], &most.to_cbor())[1],
        TOO_LARGE,
        "with its own"
    );
    assert_eq!(broker.gateway.limit("max_pubsub_topic_size").acted, Some(2));
    assert_eq!(broker.topic(DELETE, &b, &[], b"")[1], DELETED);
    assert_eq!(broker.post(&named("c"))[1], CREATED);
}

/// A store that fails takes no topics.
#[test]
fn who_cannot_store_makes_no_topics() {
    let mut broker = Broker::new();
    let id = broker.make(&named("a"));
    broker.gateway.input(motegate_core::Input::StoreFailed);
    assert_eq!(broker.post(&named("b"))[1], UNAVAILABLE);
    assert_eq!(broker.topic(IPATCH, &id, &[PROPERTIES], b"\xa0")[1], UNAVAILABLE);
    assert_eq!(broker.topic(GET, &id, &[], b"")[1], CONTENT);
    assert!(broker.gateway.core.stats().dropped(Reason::StorageFull) > 0);
}

/// Without the preset there is no collection, and what it said of data holds no more; with it again
/// everything is as it was.
#[test]
fn a_reload_takes_the_collection_away_and_gives_it_back() {
    let mut broker = Broker::new();
    let id = broker.make(&Properties { topic_content_format: Some(50), ..named("t") });
    let mqtt = [(PATH, &b"mqtt"[..]), (PATH, b"t"), (FORMAT, b"")];
    let reload = |broker: &mut Broker, table: Table| {
        let (config, table) = (config(), Arc::new(table));
        let reload = Reload { config, table, removed: Vec::new(), moved: Vec::new() };
        broker.gateway.input(Input::Reload(Box::new(reload)));
    };
    assert_eq!(broker.ask(PUT, &mqtt, b"x")[1], UNSUPPORTED);
    reload(&mut broker, Table::passthrough("mqtt"));
    assert_eq!(broker.ask(GET, &[PS], b"")[1], NOT_FOUND);
    assert_eq!(broker.topic(GET, &id, &[], b"")[1], NOT_FOUND);
    assert_eq!(broker.ask(PUT, &mqtt, b"x")[1], CREATED);
    reload(&mut broker, table());
    assert_eq!(broker.topic(GET, &id, &[], b"")[1], CONTENT);
    assert_eq!(broker.ask(PUT, &mqtt, b"x")[1], UNSUPPORTED);
}

/// A topic belongs to the mount of its listener: nobody else sees it, and names are free elsewhere.
#[test]
fn topics_are_of_one_mount() {
    let mut config = config();
    let mut other = common::listener("other", motegate_core::Protocol::Coap, "coap");
    other.mount = "b/".into();
    config.listeners.push(other);
    let mut broker = Broker::with(config);
    let id = broker.make(&named("t"));
    let elsewhere = motegate_message::ListenerId(3);
    let mut there = |code, options: Options<'_>, body: &[u8]| {
        broker.mid += 1;
        let bytes = request(code, broker.mid, b"t", options, body);
        broker.gateway.datagram(elsewhere, peer(5_000), &bytes).remove(0)
    };
    assert_eq!(text(&there(GET, &[PS], b"")), "");
    assert_eq!(there(GET, &[PS, (PATH, id.as_bytes())], b"")[1], NOT_FOUND);
    let made = there(POST, &[PS, PROPERTIES], &named("t").to_cbor());
    assert_eq!(made[1], CREATED);
    let conn = broker.gateway.mqtt("m", true);
    broker.gateway.mqtt_subscribe(conn, "#", 0);
    broker.data(4_000, PUT, "t", &[], b"1");
    assert_eq!(broker.gateway.received(conn), publish("t", b"1", 0, false, 0));
}
