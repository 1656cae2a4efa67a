//! What a running gateway tells of itself, over three protocols and a virtual clock.

mod common;

use std::time::Duration;

use common::{COAP, Gateway, SN, coap, config, peer, publish, sn, sn_connect};
use motegate_core::admin::{
    Answer, Client, ClientDetails, ClientFilter, ClientState, Clients, Cursor, Query, Reach,
    Receivers, Status, Tally, Topics,
};
use motegate_core::{ClientFrom, Config, Input, Protocol};
use motegate_message::{Qos, Reason, TopicName};

const GET: u8 = 1;

fn ask(gateway: &mut Gateway, query: Query) -> Answer {
    gateway.input(Input::Admin { ticket: 7, query });
    gateway.answers.pop().expect("an answer in the same turn")
}

fn status(gateway: &mut Gateway) -> Status {
    let Answer::Status(status) = ask(gateway, Query::Status) else { panic!("a status") };
    *status
}

fn page(gateway: &mut Gateway, from: Cursor, limit: usize, only: ClientFilter) -> Clients {
    let query = Query::Clients { from, limit, only };
    let Answer::Clients(page) = ask(gateway, query) else { panic!("clients") };
    page
}

fn clients(gateway: &mut Gateway, only: &ClientFilter) -> Vec<Client> {
    let (mut all, mut from) = (Vec::new(), Some(Cursor::default()));
    while let Some(at) = from {
        let page = page(gateway, at, 1, only.clone());
        assert!(page.clients.len() <= 1);
        all.extend(page.clients);
        from = page.next;
    }
    all
}

fn show(gateway: &mut Gateway, client_id: &str) -> ClientDetails {
    let query = Query::Client { client_id: client_id.into(), from: Cursor::default() };
    let Answer::Client(details) = ask(gateway, query) else { panic!("details") };
    assert_eq!(details.next, None);
    details
}

fn receivers(gateway: &mut Gateway, topic: &str, qos: Qos) -> Receivers {
    let topic = TopicName::new(topic).expect("a topic");
    let query = Query::Receivers { topic, qos, from: 0, limit: 100 };
    let Answer::Receivers(receivers) = ask(gateway, query) else { panic!("receivers") };
    receivers
}

/// Connected, subscribed to `site/+` at QoS 1, asleep for 100 s.
fn sleeper(gateway: &mut Gateway, port: u16, client_id: &str) {
    let at = peer(port);
    assert_eq!(gateway.datagram(SN, at, &sn_connect(client_id, false, 60)), [sn(0x05, &[0])]);
    let subscribe = [&[0x20, 0, 7], &b"site/+"[..]].concat();
    assert_eq!(gateway.datagram(SN, at, &sn(0x12, &subscribe))[0][1], 0x13);
    assert_eq!(gateway.datagram(SN, at, &sn(0x18, &[0, 100])), [sn(0x18, &[])]);
}

fn observer(gateway: &mut Gateway, port: u16, token: &[u8], path: &[&str]) {
    let message_id = u16::from(token[0]);
    let asked = coap(0, GET, message_id, token, Some(0), path, b"");
    assert_eq!(gateway.datagram(COAP, peer(port), &asked).len(), 1);
}

/// One of each kind.
fn populated() -> Gateway {
    let mut gateway = Gateway::new(config());
    let panel = gateway.mqtt("panel", true);
    gateway.mqtt_subscribe(panel, "site/#", 0);
    let away = gateway.mqtt("away", false);
    gateway.mqtt_subscribe(away, "site/door", 1);
    gateway.input(Input::Closed { conn: away, reason: Reason::ConnectionLost });
    sleeper(&mut gateway, 2_000, "mote");
    observer(&mut gateway, 3_000, b"a", &["mqtt", "site", "door"]);
    observer(&mut gateway, 3_000, b"b", &["mqtt", "site", "gate"]);
    gateway
}

#[test]
fn clients_are_listed_with_their_states() {
    let mut gateway = populated();
    let all = clients(&mut gateway, &ClientFilter::default());
    let lines: Vec<(&str, Protocol, ClientState, usize)> =
        all.iter().map(|c| (c.client_id.as_str(), c.protocol, c.state, c.subscriptions)).collect();
    let expected = [
        ("panel", Protocol::Mqtt, ClientState::Active, 1),
        ("away", Protocol::Mqtt, ClientState::Offline, 1),
        ("mote", Protocol::MqttSn, ClientState::Asleep, 1),
        ("anon-10.0.0.9", Protocol::Coap, ClientState::Observing, 2),
    ];
    assert_eq!(lines.len(), 4);
    for (line, wanted) in lines.iter().zip(expected) {
        assert_eq!((line.1, line.2, line.3), (wanted.1, wanted.2, wanted.3), "{line:?}");
    }
    assert_eq!([lines[0].0, lines[1].0, lines[2].0], ["panel", "away", "mote"]);
    assert!(lines[3].0.starts_with("anon-"));
    assert_eq!(all[0].version, Some("3.1.1"));
    assert_eq!((all[0].listener, all[0].kept), (Some(common::MQTT), false));
    assert_eq!(all[2].wakes_in, Some(Duration::from_secs(100)));
    assert_eq!(all[2].lost_in, Some(Duration::from_secs(110)));
    assert_eq!(all[2].peer, Some(peer(2_000)));
    assert!(all[1].ends_in.is_some_and(|left| left > Duration::from_secs(3_600)));

    let asleep = ClientFilter { state: Some(ClientState::Asleep), ..ClientFilter::default() };
    assert_eq!(clients(&mut gateway, &asleep).len(), 1);
    let mqtt = ClientFilter { protocol: Some(Protocol::Mqtt), ..ClientFilter::default() };
    assert_eq!(clients(&mut gateway, &mqtt).len(), 2);
    gateway.advance(Duration::from_secs(111));
    let lost = ClientFilter { state: Some(ClientState::Lost), ..ClientFilter::default() };
    assert_eq!(clients(&mut gateway, &lost)[0].client_id, "mote");
}

#[test]
fn counts_are_those_of_the_list() {
    let mut gateway = populated();
    let query = Query::Tally { from: Cursor::default() };
    let Answer::Tally(Tally { mut counts, next }) = ask(&mut gateway, query) else { panic!() };
    assert_eq!(next, None);
    counts.sort_unstable_by_key(|(_, state, _)| state.as_str());
    let expected = [
        (Protocol::Mqtt, ClientState::Active, 1),
        (Protocol::MqttSn, ClientState::Asleep, 1),
        (Protocol::Coap, ClientState::Observing, 1),
        (Protocol::Mqtt, ClientState::Offline, 1),
    ];
    assert_eq!(counts, expected);
}

#[test]
fn a_page_looks_at_so_many_and_no_more() {
    let mut gateway = Gateway::new(Config { durable: false, ..config() });
    for number in 0..1_500 {
        let id = format!("c{number}");
        gateway.datagram(SN, peer(number), &sn_connect(&id, true, 60));
    }
    let query = Query::Tally { from: Cursor::default() };
    let Answer::Tally(first) = ask(&mut gateway, query) else { panic!() };
    assert_eq!(first.counts, [(Protocol::MqttSn, ClientState::Active, 1_000)]);
    let from = first.next.expect("there are more");
    let Answer::Tally(second) = ask(&mut gateway, Query::Tally { from }) else { panic!() };
    assert_eq!(second.counts, [(Protocol::MqttSn, ClientState::Active, 500)]);
    assert_eq!(second.next, None);
    let everything = page(&mut gateway, Cursor::default(), usize::MAX, ClientFilter::default());
    assert_eq!(everything.clients.len(), 1_000);
    let nobody = ClientFilter { state: Some(ClientState::Asleep), ..ClientFilter::default() };
    let none = page(&mut gateway, Cursor::default(), 10, nobody);
    assert!(none.clients.is_empty() && none.next.is_some(), "not the end yet");
}

#[test]
fn one_client_is_shown_with_what_it_is_subscribed_to() {
    let mut gateway = populated();
    let mote = show(&mut gateway, "mote").clients;
    assert_eq!(mote.len(), 1);
    let filters: Vec<&str> = mote[0].subscriptions.iter().map(|s| s.filter.as_str()).collect();
    assert_eq!((filters, mote[0].max_queued_messages), (vec!["site/+"], 100));
    let id = clients(&mut gateway, &ClientFilter::default())[3].client_id.clone();
    let tab = show(&mut gateway, &id).clients;
    let observed: Vec<(&str, &str)> =
        tab[0].observations.iter().map(|o| (o.path.as_str(), o.topic.as_str())).collect();
    assert_eq!(observed, [("/mqtt/site/gate", "site/gate"), ("/mqtt/site/door", "site/door")]);
    assert_eq!(show(&mut gateway, "nobody").clients, []);
}

#[test]
fn a_client_that_names_itself_is_found_by_its_name() {
    let mut config = config();
    config.listeners[2].client_from = ClientFrom::Query;
    let mut gateway = Gateway::new(config);
    // Observe (6) is empty, Uri-Path (11) twice, Uri-Query (15).
    let asked = b"\x41\x01\x00\x01o\x60\x54mqtt\x01t\x4cclient=tab-1".to_vec();
    assert_eq!(gateway.datagram(COAP, peer(3_000), &asked).len(), 1);
    let details = show(&mut gateway, "tab-1");
    assert_eq!(details.clients.len(), 1);
    assert_eq!(details.clients[0].observations[0].path, "/mqtt/t");
}

#[test]
fn receivers_say_what_becomes_of_a_message() {
    let mut gateway = populated();
    let goes = receivers(&mut gateway, "site/door", Qos::AtLeastOnce);
    let lines: Vec<_> = goes
        .receivers
        .iter()
        .map(|r| {
            let id = if r.path.is_some() { "tab" } else { r.client.client_id.as_str() };
            (id, r.qos as u8, r.reach, r.place, r.path.as_deref())
        })
        .collect();
    let expected = [
        ("panel", 0, Reach::Now, None, None),
        ("away", 1, Reach::Queued, Some((1, 1_000)), None),
        ("mote", 1, Reach::Queued, Some((1, 100)), None),
        ("tab", 1, Reach::Now, None, Some("/mqtt/site/door")),
    ];
    assert_eq!(lines, expected);
    assert_eq!(goes.receivers[2].client.wakes_in, Some(Duration::from_secs(100)));
    let before = status(&mut gateway);
    let sender = gateway.mqtt("sender", true);
    gateway.send(sender, &publish("site/door", b"1", 1, false, 9));
    let goes = receivers(&mut gateway, "site/door", Qos::AtLeastOnce);
    assert_eq!(goes.receivers[2].place, Some((2, 100)), "the first one waits");
    assert!(status(&mut gateway).queued_bytes > before.queued_bytes);
    assert!(receivers(&mut gateway, "elsewhere", Qos::AtMostOnce).receivers.is_empty());
}

#[test]
fn receivers_come_in_pages_and_groups_on_the_first() {
    let mut gateway = Gateway::new(config());
    for id in ["a", "b", "c"] {
        let conn = gateway.mqtt(id, true);
        gateway.mqtt_subscribe(conn, "t", 0);
        gateway.mqtt_subscribe(conn, "$share/g/t", 1);
    }
    let mut from = Some(0);
    let mut pages = Vec::new();
    while let Some(at) = from {
        let topic = TopicName::new("t").expect("a topic");
        let query = Query::Receivers { topic, qos: Qos::AtMostOnce, from: at, limit: 2 };
        let Answer::Receivers(page) = ask(&mut gateway, query) else { panic!() };
        pages.push((page.receivers.len(), page.groups.len()));
        let next = page.groups.iter().filter_map(|g| g.next.as_ref());
        assert!(next.clone().all(|next| next.client.client_id == "a"));
        from = page.next;
    }
    assert_eq!(pages, [(2, 1), (1, 0)]);
}

#[test]
fn topics_are_a_tree_with_values() {
    let mut gateway = Gateway::new(config());
    let sender = gateway.mqtt("sender", true);
    for (number, topic) in (1..).zip(["site/door", "site/kitchen/temp", "site/kitchen", "up"]) {
        gateway.send(sender, &publish(topic, topic.as_bytes(), 1, true, number));
    }
    let topics = |gateway: &mut Gateway, prefix: Option<&str>, after: Option<&str>| {
        let (prefix, after) = (prefix.map(Into::into), after.map(Into::into));
        let query = Query::Topics { prefix, after, limit: 2 };
        let Answer::Topics(Topics { levels, more }) = ask(gateway, query) else { panic!() };
        let line = |level: &motegate_core::admin::Level| {
            (level.name.clone(), level.below, level.message.is_some())
        };
        (levels.iter().map(line).collect::<Vec<_>>(), more)
    };
    let line = |name: &str, below, value| (name.to_owned(), below, value);
    let root = vec![line("site", 3, false), line("up", 0, true)];
    assert_eq!(topics(&mut gateway, None, None), (root, true));
    assert_eq!(topics(&mut gateway, None, Some("up")), (vec![], false));
    let site = vec![line("door", 0, true), line("kitchen", 1, true)];
    assert_eq!(topics(&mut gateway, Some("site"), None), (site, true));
    let topic = TopicName::new("site/kitchen").expect("a topic");
    let Answer::Retained(Some((message, None))) = ask(&mut gateway, Query::Retained { topic })
    else {
        panic!("a value")
    };
    assert_eq!(&message.payload[..], b"site/kitchen");
    let topic = TopicName::new("site").expect("a topic");
    assert_eq!(ask(&mut gateway, Query::Retained { topic }), Answer::Retained(None));
}

#[test]
fn the_status_counts_reasons_and_limits() {
    let mut config = config();
    config.broker.max_subscriptions_per_session = 1;
    config.coap.max_observers_per_peer = 1;
    let mut gateway = Gateway::new(config);
    let conn = gateway.mqtt("greedy", true);
    gateway.mqtt_subscribe(conn, "a", 0);
    let second = [0x82, 6, 0, 9, 0, 1, b'b', 0];
    gateway.send(conn, &second);
    observer(&mut gateway, 3_000, b"a", &["mqtt", "a"]);
    observer(&mut gateway, 3_000, b"b", &["mqtt", "b"]);
    let told = status(&mut gateway);
    let limit = |key: &str| {
        let mut found = told.limits.iter().filter(|limit| limit.key == key);
        let limit = found.next().expect("the key is listed");
        assert!(found.next().is_none(), "{key} twice");
        (limit.max, limit.used, limit.acted)
    };
    assert_eq!(limit("max_subscriptions_per_session"), (1, None, Some(1)));
    assert_eq!(limit("max_subscriptions"), (10_000_000, Some(2), Some(0)));
    assert_eq!(limit("max_observers_per_peer"), (1, None, Some(1)));
    assert_eq!(limit("max_observers"), (100_000, Some(1), Some(0)));
    assert_eq!(limit("max_packet_size"), (2 * 1024 * 1024, None, Some(0)));
    let both = (Reason::QuotaExceeded, 2); // the filter and the observer
    assert!(told.reasons.contains(&both));
    assert_eq!((told.sessions, told.coap_peers), (2, 1));
}
