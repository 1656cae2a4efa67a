//! The topic collection of draft-ietf-core-coap-pubsub (-21) and its topics' configurations, through the
//! whole core: each test names the section that it is about.

mod common;

use common::pubsub::{
    ACCEPT, BAD_REQUEST, BLOCK1, BLOCK2, Broker, CHANGED, CONTENT, CONTINUE, CREATED, DELETE, ETAG,
    FETCH, FORMAT, GET, IF_MATCH, IPATCH, NOT_ACCEPTABLE, NOT_ALLOWED, NOT_FOUND, OBSERVE, PATCH,
    PATH, POST, PRECONDITION_FAILED, PROPERTIES, PS, PUT, QUERY, UNSUPPORTED, VALID, body,
    configuration, id, named, text,
};
use common::{option, publish};
use motegate_coap::pubsub::{Date, Properties};

const IF_NONE_MATCH: u16 = 5;

/// §2.4.3 creating a topic, and ETSI's TD_COAP_CORE_18: POST with several Location-Path options.
#[test]
fn s2_4_3_and_td_coap_core_18_a_topic_is_created() {
    let mut broker = Broker::new();
    let answer = broker.post(&named("living"));
    assert_eq!(answer[1], CREATED);
    let made = configuration(&answer);
    let reference = Some("/ps/data/living".into());
    assert_eq!(made, Properties { topic_data: reference, ..named("living") });
    // The draft: it is only created in full once something is published.
    let id = id(&answer);
    assert_eq!(configuration(&broker.topic(GET, &id, &[], b"")), made);
    assert_eq!(broker.data(4_000, GET, "living", &[], b"")[1], NOT_FOUND);
    assert_eq!(broker.observe(4_000, "living")[1], NOT_FOUND);
    // Without a Content-Format the body is what this resource takes.
    assert_eq!(broker.ask(POST, &[PS], &named("other").to_cbor())[1], CREATED);
}

/// §2.4.3: "MUST reply with a 4.xx client error … invalid, unrecognized, … already in use".
#[test]
fn s2_4_3_what_is_wrong_is_refused() {
    let mut broker = Broker::new();
    broker.make(&named("a"));
    let with = |change: fn(&mut Properties)| {
        let mut properties = named("b");
        change(&mut properties);
        properties.to_cbor()
    };
    for (body, why) in [
        (named("a").to_cbor(), "already"),
        (Properties { resource_type: None, ..named("b") }.to_cbor(), "resource-type"),
        (Properties { topic_name: None, ..named("b") }.to_cbor(), "topic-name"),
        (b"\xa1\x09\x00".to_vec(), "9 is no topic property"),
        (b"no cbor".to_vec(), "no map"),
        (with(|p| p.expiration_date = Date::from_millis(1_000)), "over already"),
        (with(|p| p.initialize = Some("x".into())), "topic-content-format"),
        (with(|p| p.topic_data = Some("ps/data/b".into())), "neither a path"),
        (with(|p| p.topic_data = Some("/nowhere".into())), "topic-data"),
        (with(|p| p.topic_data = Some("/ps/data/a".into())), "another topic's"),
        (with(|p| p.topic_data = Some("/ps".into())), "the topic collection"),
    ] {
        let answer = broker.ask(POST, &[PS, PROPERTIES], &body);
        assert_eq!(answer[1], BAD_REQUEST, "{why}");
        assert!(text(&answer).contains(why), "{why}: {}", text(&answer));
    }
    let invalid = Properties {
        topic_content_format: Some(60),
        initialize: Some(b"\x81"[..].into()),
        ..named("b")
    };
    assert_eq!(broker.post(&invalid)[1], BAD_REQUEST, "no CBOR");
    let elsewhere = Properties {
        topic_data: Some("coap://host/t".into()),
        topic_content_format: Some(0),
        initialize: Some("x".into()),
        ..named("b")
    };
    assert_eq!(broker.post(&elsewhere)[1], BAD_REQUEST, "it cannot be initialized from here");
    let json = broker.ask(POST, &[PS, (FORMAT, b"\x32")], &named("b").to_cbor());
    assert_eq!(json[1], UNSUPPORTED);
    let accept = broker.ask(POST, &[PS, PROPERTIES, (ACCEPT, b"\x28")], &named("b").to_cbor());
    assert_eq!(accept[1], NOT_ACCEPTABLE);
    assert_eq!(text(&broker.ask(GET, &[PS], b"")).matches('<').count(), 1, "nothing came of them");
}

/// RFC 9290, as everywhere: with Accept 257 an error is a problem.
#[test]
fn rfc_9290_errors_are_problem_details_where_they_are_asked_for() {
    let mut broker = Broker::new();
    let answer = broker.ask(POST, &[PS, PROPERTIES, (ACCEPT, b"\x01\x01")], b"\xa1\x09\x00");
    assert_eq!(option(&answer, FORMAT).as_deref(), Some(&b"\x01\x01"[..]));
    assert_eq!(body(&answer)[0], 0xa2);
}

/// §2.2.1 topic-data: any URI, of another server, too; a name that can be no topic is one all the same.
#[test]
fn s2_2_1_where_a_topics_data_are() {
    let mut broker = Broker::new();
    let data = |broker: &mut Broker, properties: &Properties| {
        let answer = broker.post(properties);
        assert_eq!(answer[1], CREATED, "{}", String::from_utf8_lossy(&answer));
        (id(&answer), configuration(&answer).topic_data.expect("required"))
    };
    let (_, levels) = data(&mut broker, &named("hall/door"));
    assert_eq!(levels, "/ps/data/hall/door");
    for name in ["a+b", "#", "$SYS/x", "a\0b"] {
        let (id, own) = data(&mut broker, &named(name));
        assert_eq!(own, format!("/ps/data/{id}"), "{name}");
    }
    let given = |reference: &str, name: &str| Properties {
        topic_data: Some(reference.into()),
        ..named(name)
    };
    assert_eq!(data(&mut broker, &given("/mqtt/x", "mine")).1, "/mqtt/x");
    let remote = "coap://[2001:db8::1]/data/t";
    assert_eq!(data(&mut broker, &given(remote, "remote")).1, remote);
    let list = broker.ask(GET, &[PS, (QUERY, b"rt=core.ps.*")], b"");
    assert!(text(&list).contains(&format!("<{remote}>;rt=\"core.ps.data\"")), "{}", text(&list));
}

/// §2.2.1, RFC 3986 §5.2.4: what a URI library takes out of a path is asked for by nobody; nor is a
/// segment that no Uri-Path option holds (RFC 7252 §5.10.1). The broker's choice is the id then, as for
/// a name that can be no topic; a reference of the client's is refused.
#[test]
fn s2_2_1_data_are_where_they_can_be_asked_for() {
    let mut broker = Broker::new();
    let data = |broker: &mut Broker, properties: &Properties| {
        let answer = broker.post(properties);
        assert_eq!(answer[1], CREATED, "{}", String::from_utf8_lossy(&answer));
        (id(&answer), configuration(&answer).topic_data.expect("required"))
    };
    let long = "x".repeat(256);
    for name in [".", "..", "a/../b", "./a", "a/.", &long, &format!("a/{long}")] {
        let (id, own) = data(&mut broker, &named(name));
        assert_eq!(own, format!("/ps/data/{id}"), "{name}");
        assert_eq!(broker.data(4_000, PUT, &id, &[], b"1")[1], CREATED, "{name}");
        assert_eq!(body(&broker.data(4_000, GET, &id, &[], b"")), b"1", "{name}");
    }
    let longest = "x".repeat(255);
    for name in ["...", ".a", "a..", "a//b", &longest] {
        assert_eq!(data(&mut broker, &named(name)).1, format!("/ps/data/{name}"));
    }
    let given = |reference: &str, name: &str| Properties {
        topic_data: Some(reference.into()),
        ..named(name)
    };
    // RFC 3986 §6.2.2.2: %2e is the same.
    for reference in ["/mqtt/../x", "/mqtt/.", "/mqtt/%2e%2E/x", &format!("/mqtt/{long}")] {
        let answer = broker.post(&given(reference, "nowhere"));
        assert_eq!(answer[1], BAD_REQUEST, "{reference}");
        assert!(text(&answer).contains("topic-data: no request"), "{}", text(&answer));
    }
}

/// §2.4.1 and §2.3.4: the list of topics, and of their data with `?rt=core.ps.data`.
#[test]
fn s2_4_1_and_s2_3_4_the_collection_lists_topics_and_data() {
    let mut broker = Broker::new();
    let empty = broker.ask(GET, &[PS], b"");
    assert_eq!((empty[1], text(&empty)), (CONTENT, ""));
    let door = broker.make(&Properties { topic_content_format: Some(60), ..named("door") });
    let bell = broker.make(&Properties { resource_type: Some("x.bell".into()), ..named("bell") });
    let all = broker.ask(GET, &[PS], b"");
    let conf = |id: &str| format!("</ps/{id}>;rt=\"core.ps.conf\"");
    assert_eq!(text(&all), format!("{},{}", conf(&door), conf(&bell)));
    assert_eq!(option(&all, FORMAT), Some(vec![40]));
    let mut list = |query: &[u8]| {
        let answer = broker.ask(GET, &[PS, (QUERY, query)], b"");
        text(&answer).to_owned()
    };
    let data = "</ps/data/door>;rt=\"core.ps.data\";ct=60;obs";
    assert_eq!(list(b"rt=core.ps.data"), data);
    assert_eq!(list(b"rt=x.*"), "</ps/data/bell>;rt=\"x.bell\";obs");
    assert_eq!(list(b"rt=core.ps.conf"), text(&all));
    assert_eq!(list(b"rt=nothing"), "");
    let href = format!("href=/ps/{}", &door[..1]);
    assert!(list(format!("{href}*").as_bytes()).contains(&door));
    // What somebody else has published to is a data resource, too.
    let conn = broker.gateway.mqtt("m", true);
    broker.gateway.send(conn, &publish("lamp", b"on", 0, true, 0));
    let answer = broker.ask(GET, &[PS, (QUERY, b"rt=core.ps.data")], b"");
    let lamp = "</ps/data/lamp>;ct=0;sz=2;obs;rt=\"core.ps.data\"";
    assert_eq!(text(&answer), format!("{data},{lamp}"));
    // RFC 7252 §5.10.4, §5.10.6.
    assert_eq!(broker.ask(GET, &[PS, (ACCEPT, b"\x28")], b"")[1], CONTENT);
    assert_eq!(broker.ask(GET, &[PS, (ACCEPT, b"\x32")], b"")[1], NOT_ACCEPTABLE);
    let etag = option(&all, ETAG).expect("an ETag");
    assert_eq!(broker.ask(GET, &[(ETAG, &etag), PS], b"")[1], VALID);
}

/// §2.4.2: FETCH with a filter; "a positive match happens only when each topic property … is present".
#[test]
fn s2_4_2_topics_are_found_by_their_properties() {
    let mut broker = Broker::new();
    let one = broker.make(&Properties { max_subscribers: Some(3), ..named("one") });
    let two = broker.make(&named("two"));
    let mut fetch = |filter: &Properties| {
        let answer = broker.ask(FETCH, &[PS, PROPERTIES], &filter.to_cbor());
        assert_eq!((answer[1], option(&answer, FORMAT)), (CONTENT, Some(vec![40])));
        text(&answer).to_owned()
    };
    let type_only = Properties { topic_name: None, ..named("") };
    let both = fetch(&type_only);
    assert!(both.contains(&one) && both.contains(&two), "{both}");
    assert_eq!(fetch(&named("two")), format!("</ps/{two}>;rt=\"core.ps.conf\""));
    assert_eq!(fetch(&Properties { max_subscribers: Some(3), ..named("two") }), "");
    assert_eq!(fetch(&Properties::default()).matches('<').count(), 2);
    assert_eq!(broker.ask(FETCH, &[PS, PROPERTIES], b"\x80")[1], BAD_REQUEST);
    assert_eq!(broker.ask(FETCH, &[PS, (FORMAT, b"\x3c")], b"\xa0")[1], UNSUPPORTED);
}

/// §2.5.1 and §2.5.2: the whole configuration, and a part of it.
#[test]
fn s2_5_1_and_s2_5_2_a_configuration_is_read() {
    let mut broker = Broker::new();
    let full = Properties {
        topic_content_format: Some(112),
        topic_type: Some("temperature".into()),
        expiration_date: Date::from_millis(1_900_393_599_000),
        max_subscribers: Some(100),
        observer_check: Some(600),
        ..named("t")
    };
    let id = broker.make(&full);
    let full = Properties { topic_data: Some("/ps/data/t".into()), ..full };
    let whole = broker.topic(GET, &id, &[], b"");
    assert_eq!((whole[1], configuration(&whole)), (CONTENT, full.clone()));
    let etag = option(&whole, ETAG).expect("an ETag");
    let path = [(ETAG, &etag[..]), PS, (PATH, id.as_bytes())];
    assert_eq!(broker.ask(GET, &path, b"")[1], VALID);
    let part = broker.topic(FETCH, &id, &[(FORMAT, b"\x3c")], b"\x83\x01\x03\x08");
    let wanted = Properties {
        topic_data: full.topic_data.clone(),
        topic_content_format: full.topic_content_format,
        ..Properties::default()
    };
    assert_eq!((part[1], configuration(&part)), (CONTENT, wanted));
    assert_eq!(broker.topic(FETCH, &id, &[PROPERTIES], b"\x81\x01")[1], UNSUPPORTED);
    assert_eq!(broker.topic(FETCH, &id, &[(FORMAT, b"\x3c")], b"\xa0")[1], BAD_REQUEST);
    assert_eq!(broker.topic(GET, "none", &[], b"")[1], NOT_FOUND);
    assert_eq!(broker.topic(GET, "data", &[], b"")[1], NOT_FOUND);
}

/// §2.5.3: POST overwrites, three properties are immutable; PUT does the same.
#[test]
fn s2_5_3_a_configuration_is_overwritten() {
    for method in [POST, PUT] {
        let mut broker = Broker::new();
        let id = broker.make(&Properties { max_subscribers: Some(9), ..named("t") });
        let own = Properties { topic_data: Some("/ps/data/t".into()), ..named("t") };
        let typed = Properties { topic_type: Some("x".into()), ..Properties::default() };
        let answer = broker.topic(method, &id, &[PROPERTIES], &typed.to_cbor());
        let whole = Properties { topic_type: Some("x".into()), ..own.clone() };
        assert_eq!((answer[1], configuration(&answer)), (CHANGED, whole.clone()), "reset");
        assert_eq!(configuration(&broker.topic(GET, &id, &[], b"")), whole);
        // "may be included in the request with their current values"
        assert_eq!(broker.topic(method, &id, &[PROPERTIES], &own.to_cbor())[1], CHANGED);
        for change in [
            named("other"),
            Properties { topic_data: Some("/ps/data/u".into()), ..Properties::default() },
            Properties { resource_type: Some("x".into()), ..Properties::default() },
            Properties { initialize: Some("x".into()), ..Properties::default() },
        ] {
            let answer = broker.topic(method, &id, &[PROPERTIES], &change.to_cbor());
            assert_eq!(answer[1], BAD_REQUEST, "{change:?}");
        }
        assert_eq!(configuration(&broker.topic(GET, &id, &[], b"")), own);
    }
}

/// §2.5.4: iPATCH changes what it says and leaves the rest; RFC 7252 §5.10.8 conditions.
#[test]
fn s2_5_4_a_configuration_is_patched() {
    let mut broker = Broker::new();
    let id = broker.make(&Properties { topic_type: Some("x".into()), ..named("t") });
    let five = Properties { max_subscribers: Some(5), ..Properties::default() };
    let answer = broker.topic(IPATCH, &id, &[PROPERTIES], &five.to_cbor());
    assert_eq!(answer[1], CHANGED);
    let whole = configuration(&answer);
    assert_eq!((whole.max_subscribers, whole.topic_type.as_deref()), (Some(5), Some("x")));
    let renamed = named("u").to_cbor();
    assert_eq!(broker.topic(IPATCH, &id, &[PROPERTIES], &renamed)[1], BAD_REQUEST);
    let etag = option(&answer, ETAG).expect("an ETag");
    let with = |etag: &[u8], broker: &mut Broker| {
        let options = [(IF_MATCH, etag), PS, (PATH, id.as_bytes()), PROPERTIES];
        broker.ask(IPATCH, &options, &five.to_cbor())[1]
    };
    assert_eq!(with(b"other", &mut broker), PRECONDITION_FAILED);
    assert_eq!(with(&etag, &mut broker), CHANGED);
    // Whatever is asked of what is there.
    let conditions: [(u16, &[u8]); 2] = [(IF_MATCH, b"other"), (IF_NONE_MATCH, b"")];
    for condition in conditions {
        for method in [GET, FETCH, PUT, IPATCH, DELETE] {
            let format = [(FORMAT, &[60][..]), PROPERTIES][usize::from(method != FETCH)];
            let options = [condition, PS, (PATH, id.as_bytes()), format];
            let options = &options[..if matches!(method, GET | DELETE) { 3 } else { 4 }];
            let answer = broker.ask(method, options, b"");
            assert_eq!(answer[1], PRECONDITION_FAILED, "{method} {condition:?}");
        }
    }
    for (method, most) in [(GET, 2), (FETCH, 3), (POST, 3)] {
        let options = [(IF_NONE_MATCH, &b""[..]), PS, PROPERTIES];
        let answer = broker.ask(method, &options[..most], &named("new").to_cbor());
        assert_eq!(answer[1], PRECONDITION_FAILED, "{method}");
    }
    assert_eq!(broker.topic(GET, &id, &[], b"")[1], CONTENT);
}

/// RFC 7252 §5.10.8 and §5.10.6: of the collection, of what is found there, of a part of a topic and
/// of `.well-known/core`: If-Match with the ETag of what would be the answer, 2.03 for who has it.
#[test]
fn rfc_7252_s5_10_8_conditions_of_what_lists_and_finds() {
    let mut broker = Broker::new();
    let id = broker.make(&named("t"));
    let other: &[u8] = b"12345678";
    let filter = named("t").to_cbor();
    let core = [(PATH, &b".well-known"[..]), (PATH, b"core")];
    let topic = [PS, (PATH, id.as_bytes())];
    let cbor = (FORMAT, &b"\x3c"[..]);
    type Asked<'a> = (u8, &'a [(u16, &'a [u8])], &'a [(u16, &'a [u8])], &'a [u8]);
    let asked: [Asked<'_>; 6] = [
        (GET, &[PS], &[], b""),
        (GET, &[PS], &[(QUERY, b"rt=core.ps.data")], b""),
        (FETCH, &[PS], &[PROPERTIES], &filter),
        (GET, &topic, &[], b""),
        (FETCH, &topic, &[cbor], b"\x81\x01"),
        (GET, &core, &[(QUERY, b"rt=core.ps*")], b""),
    ];
    for (method, path, behind, body) in asked {
        let mut with =
            |before: &[(u16, &[u8])]| broker.ask(method, &[before, path, behind].concat(), body);
        let answer = with(&[]);
        let etag = option(&answer, ETAG).expect("an ETag");
        let name = format!("{method} {path:?} {behind:?}");
        for (condition, code) in [
            (&[(IF_MATCH, &b""[..])][..], CONTENT),
            (&[(IF_MATCH, &etag)], CONTENT),
            (&[(IF_MATCH, other), (IF_MATCH, &etag)], CONTENT),
            (&[(IF_MATCH, other)], PRECONDITION_FAILED),
            (&[(IF_NONE_MATCH, b"")], PRECONDITION_FAILED),
            (&[(IF_MATCH, &etag), (IF_NONE_MATCH, b"")], PRECONDITION_FAILED),
            (&[(ETAG, &etag)], VALID),
            (&[(ETAG, other)], CONTENT),
        ] {
            assert_eq!(with(condition)[1], code, "{name} {condition:02x?}");
        }
        assert_eq!(with(&[])[4..], answer[4..], "nothing has changed");
    }
    // A topic is made in the collection as it was read.
    let list = option(&broker.ask(GET, &[PS], b""), ETAG).expect("an ETag");
    let make = |broker: &mut Broker, etag: &[u8], name: &str| {
        broker.ask(POST, &[(IF_MATCH, etag), PS, PROPERTIES], &named(name).to_cbor())[1]
    };
    assert_eq!(make(&mut broker, other, "u"), PRECONDITION_FAILED);
    assert_eq!(make(&mut broker, &list, "u"), CREATED);
    assert_eq!(make(&mut broker, &list, "v"), PRECONDITION_FAILED, "it has one topic more");
    assert_eq!(make(&mut broker, b"", "v"), CREATED);
    // The part of a topic is what If-Match of its FETCH may name as well as the whole.
    let whole = option(&broker.topic(GET, &id, &[], b""), ETAG).expect("an ETag");
    let options = [(IF_MATCH, &whole[..]), PS, (PATH, id.as_bytes()), cbor];
    assert_eq!(broker.ask(FETCH, &options, b"\x81\x01")[1], CONTENT);
}

/// RFC 8132 §2.4, RFC 7641 §4.1: what cannot be observed answers a FETCH, or a GET, with Observe as
/// one without, and what the token observed before is over.
#[test]
fn rfc_8132_s2_4_observe_of_the_collection_and_of_a_topic_is_passed_over() {
    let mut broker = Broker::new();
    let id = broker.make(&named("t"));
    broker.data(4_000, PUT, "t", &[], b"1");
    let register = (OBSERVE, &b""[..]);
    let cbor = (FORMAT, &b"\x3c"[..]);
    let own = (PATH, id.as_bytes());
    let filter = named("t").to_cbor();
    type Asked<'a> = (u8, &'a [(u16, &'a [u8])], &'a [u8]);
    let asked: [Asked<'_>; 4] = [
        (FETCH, &[register, PS, PROPERTIES], &filter),
        (GET, &[register, PS], b""),
        (FETCH, &[register, PS, own, cbor], b"\x81\x06"),
        (GET, &[register, PS, own], b""),
    ];
    for (method, options, body) in asked {
        assert!(option(&broker.observe(4_000, "t"), OBSERVE).is_some());
        let answer = broker.ask(method, options, body);
        assert_eq!((answer[1], option(&answer, OBSERVE)), (CONTENT, None), "{method} {options:?}");
        assert_eq!(broker.gateway.limit("max_observers").used, Some(0), "{method} {options:?}");
        // Nothing follows when it changes.
        broker.make(&named("x"));
        broker.from(4_001, IPATCH, &[PS, own, PROPERTIES], b"\xa1\x06\x05");
        broker.data(4_001, PUT, "t", &[], b"2");
        assert_eq!(broker.told(4_000).len(), 0, "{method} {options:?}");
        let x = broker.ask(FETCH, &[PS, PROPERTIES], &named("x").to_cbor());
        let x = text(&x).trim_start_matches("</ps/").split('>').next().map(str::to_owned);
        broker.topic(DELETE, &x.expect("its id"), &[], b"");
    }
    // Elsewhere FETCH is 4.05, with Observe, too.
    let answer = broker.data(4_000, FETCH, "t", &[register], b"");
    assert_eq!((answer[1], option(&answer, OBSERVE)), (NOT_ALLOWED, None));
}

/// RFC 8132: other methods are 4.05, here and elsewhere.
#[test]
fn rfc_8132_methods_belong_to_the_collection_only() {
    let mut broker = Broker::new();
    let id = broker.make(&named("t"));
    for method in [PUT, DELETE, PATCH, IPATCH] {
        assert_eq!(broker.ask(method, &[PS], b"")[1], NOT_ALLOWED, "{method}");
    }
    assert_eq!(broker.topic(PATCH, &id, &[], b"")[1], NOT_ALLOWED);
    for method in [FETCH, PATCH, IPATCH] {
        assert_eq!(broker.data(4_000, method, "t", &[], b"")[1], NOT_ALLOWED, "{method}");
        let elsewhere = [(PATH, &b"mqtt"[..]), (PATH, b"t")];
        assert_eq!(broker.ask(method, &elsewhere, b"")[1], NOT_ALLOWED, "{method}");
    }
    assert_eq!(broker.ask(POST, &[PS, PROPERTIES, (QUERY, b"x=1")], b"\xa0")[1], BAD_REQUEST);
}

/// §2.3: the broker, its collection and its topics in `.well-known/core`, and ETSI's
/// TD_COAP_LINK_09: a link of ct=40 leads to more links.
#[test]
fn s2_3_and_td_coap_link_09_discovery_leads_to_the_topics() {
    let mut broker = Broker::new();
    let id = broker.make(&named("t"));
    let mut core = |query: &[u8]| {
        let path = [(PATH, &b".well-known"[..]), (PATH, b"core"), (QUERY, query)];
        let answer = broker.ask(GET, &path, b"");
        assert_eq!((answer[1], option(&answer, FORMAT)), (CONTENT, Some(vec![40])));
        text(&answer).to_owned()
    };
    assert_eq!(core(b"rt=core.ps"), "</ps>;rt=\"core.ps\",</mqtt>;rt=\"core.ps\"");
    assert_eq!(core(b"rt=core.ps.coll"), "</ps>;rt=\"core.ps.coll\";ct=40");
    assert_eq!(core(b"rt=core.ps.conf"), format!("</ps/{id}>;rt=\"core.ps.conf\""));
    assert_eq!(core(b"rt=core.ps.*").matches('<').count(), 2);
    assert!(text(&broker.ask(GET, &[PS], b"")).contains(&id));
}

/// ETSI's TD_COAP_BLOCK_04 and 05: a POST that makes a resource comes in blocks, and its answer
/// leaves in blocks.
#[test]
fn td_coap_block_04_05_a_topic_is_created_in_blocks() {
    let mut broker = Broker::new();
    let large = Properties { topic_type: Some("x".repeat(60)), ..named("t") }.to_cbor();
    let parts: Vec<&[u8]> = large.chunks(16).collect();
    let mut last = Vec::new();
    for (number, part) in (0_u8..).zip(&parts) {
        let more = u8::from(usize::from(number) + 1 < parts.len());
        let block = [number << 4 | more << 3];
        last = broker.ask(POST, &[PS, PROPERTIES, (BLOCK2, b""), (BLOCK1, &block)], part);
        assert_eq!(last[1], if more == 1 { CONTINUE } else { CREATED });
    }
    let id = id(&last);
    assert_eq!(option(&last, BLOCK2), Some(vec![0x08]), "16 bytes, and more");
    let mut whole = body(&last).to_vec();
    for number in 1_u8.. {
        let options = [PS, PROPERTIES, (BLOCK2, &[number << 4][..])];
        let answer = broker.ask(POST, &options, b"");
        whole.extend_from_slice(body(&answer));
        if option(&answer, BLOCK2).is_none_or(|block| block[0] & 8 == 0) {
            break;
        }
    }
    assert_eq!(whole, body(&broker.topic(GET, &id, &[], b"")));
}
