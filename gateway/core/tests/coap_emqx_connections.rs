//! EMQX's connections (`/mqtt/connection` of the preset `emqx-ps`): the cases of its gateway's test
//! suite, `emqx_coap_SUITE`, by their names, and what a gateway must not let happen.
#![allow(clippy::indexing_slicing)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::pubsub::{BAD_REQUEST, CHANGED, CONTENT, CREATED, DELETED, NOT_ALLOWED, UNAVAILABLE};
use common::pubsub::{DELETE, GET, POST, PUT, body, text};
use common::{COAP, Gateway, config, option, peer, publish, request};
use motegate_core::{
    Config, FailureRate, Input, NoticeKind, Proof, Reload, Users, Verdict, Verifier,
};
use motegate_mapping::{CoapRule, Preset, Rules, Table};
use motegate_message::Reason;

const UNAUTHORIZED: u8 = 0x81;
const UNSUBSCRIBED: u8 = 0x47;
const TOO_MANY: u8 = 0x9d;
const CONNECTION: &str = "mqtt/connection";
const ADMIN: [&str; 3] = ["clientid=client1", "username=admin", "password=public"];

/// Bytes of a datagram; options, tokens and message ids are the test's.
struct Peers {
    gateway: Gateway,
    mid: u16,
    /// The Echo option of what is sent.
    echo: Option<Vec<u8>>,
}

fn table(presets: &[Preset]) -> Table {
    let rules = Rules { presets: presets.to_vec(), ..Rules::default() };
    Table::new(rules).expect("presets")
}

fn users() -> Arc<Users> {
    let (salt, stored_key) = ([1].into(), [0; 32]);
    let verifier = Verifier { iterations: 1, salt, stored_key, server_key: [0; 32] };
    Arc::new([(Arc::from("admin"), verifier)].into_iter().collect())
}

impl Peers {
    /// A connection is required, and anybody gets one.
    fn required() -> Self {
        let mut config = config();
        config.listeners[2].connection_required = true;
        Peers::with(config)
    }

    fn with(config: Config) -> Self {
        let table = table(&[Preset::EmqxPs, Preset::Passthrough]);
        Peers { gateway: Gateway::with_table(config, table), mid: 0, echo: None }
    }

    fn send(&mut self, port: u16, code: u8, path: &str, query: &[&str], observe: Option<u8>) {
        self.send_as(port, code, path, query, observe, b"x");
    }

    fn send_as(
        &mut self,
        port: u16,
        code: u8,
        path: &str,
        query: &[&str],
        observe: Option<u8>,
        payload: &[u8],
    ) {
        self.mid += 1;
        let observe: Option<&[u8]> = observe.map(|value| if value == 0 { &[][..] } else { &[1] });
        let mut options: Vec<(u16, &[u8])> = observe.map(|value| (6, value)).into_iter().collect();
        options.extend(path.split('/').map(|segment| (11, segment.as_bytes())));
        options.extend(query.iter().map(|one| (15, one.as_bytes())));
        let echo = self.echo.clone();
        options.extend(echo.as_deref().map(|echo| (252, echo)));
        let token = port.to_be_bytes();
        let bytes = request(code, self.mid, &token, &options, payload);
        self.gateway.input(Input::Datagram {
            listener: COAP,
            local: motegate_message::LocalId::ANY,
            peer: peer(port),
            bytes: &bytes,
        });
    }

    /// The answer; a password is `public`.
    fn ask(&mut self, port: u16, code: u8, path: &str, query: &[&str]) -> Vec<u8> {
        self.ask_observe(port, code, path, query, None)
    }

    fn ask_observe(
        &mut self,
        port: u16,
        code: u8,
        path: &str,
        query: &[&str],
        observe: Option<u8>,
    ) -> Vec<u8> {
        self.send(port, code, path, query, observe);
        self.judge();
        let mut answers = self.gateway.datagrams_to(peer(port));
        assert!(!answers.is_empty(), "no answer to {path} {query:?}");
        answers.remove(0)
    }

    fn judge(&mut self) {
        for asked in std::mem::take(&mut self.gateway.asked) {
            let Proof::Password { user, password } = &asked.proof else { panic!("{asked:?}") };
            let verdict = match &**password == b"public" && asked.users.get(user).is_some() {
                true => Verdict::Allow { user: user.as_str().into(), data: None },
                false => Verdict::Deny(Reason::AuthFailed),
            };
            self.gateway.input(Input::Verdict { ticket: asked.ticket, verdict });
        }
    }

    /// Connects as client1; gives its token.
    fn connect(&mut self, port: u16) -> String {
        let answer = self.ask(port, POST, CONNECTION, &ADMIN);
        assert_eq!(answer[1], CREATED, "{answer:02x?}");
        format!("token={}", text(&answer))
    }

    fn logins(&mut self) -> Option<u64> {
        self.gateway.limit("max_coap_logins").used
    }

    fn is_known(&mut self, port: u16, token: &str) -> bool {
        self.ask(port, POST, "ps/a", &["clientid=client1", token])[1] == CHANGED
    }
}

#[test]
fn t_connection() {
    let mut peers = Peers::required();
    let token = peers.connect(1);
    assert!(matches!(peers.gateway.notices[0].kind, NoticeKind::Connected { .. }));
    assert_eq!(peers.logins(), Some(1));
    let shown = ["clientid=client1", &token];
    assert_eq!(peers.ask(1, PUT, CONNECTION, &shown)[1], CHANGED);
    assert_eq!(peers.ask(1, DELETE, CONNECTION, &shown)[1], DELETED);
    assert_eq!(peers.logins(), Some(0));
    let last = peers.gateway.notices.last().expect("a line in the log");
    assert_eq!(last.kind, NoticeKind::Disconnected(Reason::ClientDisconnect));
    assert_eq!(peers.ask(1, PUT, CONNECTION, &shown)[1], UNAUTHORIZED);
}

#[test]
fn t_connection_with_short_param_name() {
    let mut peers = Peers::required();
    let answer = peers.ask(1, POST, CONNECTION, &["c=client1", "u=admin", "p=public"]);
    let token = format!("t={}", text(&answer));
    let shown = ["c=client1", &*token];
    assert_eq!(peers.ask(1, PUT, CONNECTION, &shown)[1], CHANGED);
    assert_eq!(peers.ask(1, POST, "ps/abc", &shown)[1], CHANGED);
    assert_eq!(peers.ask(1, DELETE, CONNECTION, &shown)[1], DELETED);
}

/// Any request with the token counts; after 1.5 times the heartbeat without one the client is gone, and
/// what it observed with it.
#[test]
fn t_heartbeat() {
    let mut peers = Peers::required();
    let token = peers.connect(1);
    let shown = ["clientid=client1", &token];
    assert_eq!(peers.ask_observe(1, GET, "ps/a", &shown, Some(0))[1], CONTENT);
    for (code, path) in [(PUT, CONNECTION), (POST, "ps/b"), (PUT, CONNECTION)] {
        peers.gateway.advance(Duration::from_secs(44));
        assert_eq!(peers.ask(2, code, path, &shown)[1], CHANGED, "{path}");
    }
    peers.gateway.advance(Duration::from_secs(44));
    assert_eq!(peers.logins(), Some(1));
    peers.gateway.datagrams.clear();
    peers.gateway.advance(Duration::from_secs(2));
    assert_eq!(peers.logins(), Some(0));
    let last = peers.gateway.datagrams_to(peer(1));
    assert_eq!((last.len(), last[0][1]), (1, UNAUTHORIZED), "the observer hears that it is over");
    assert_eq!(peers.gateway.limit("heartbeat").acted, Some(1));
    assert_eq!(peers.ask(1, PUT, CONNECTION, &shown)[1], UNAUTHORIZED);
}

/// User name and password are optional where nobody asks for them; the client id never is.
#[test]
fn t_connection_optional_params_and_missing_clientid() {
    let mut config = config();
    config.mqtt.max_client_id_length = 23;
    let mut peers = Peers::with(config);
    assert_eq!(peers.ask(1, POST, CONNECTION, &["clientid=client1"])[1], CREATED);
    let long = format!("clientid={}", "x".repeat(24));
    for query in [&[][..], &["clientid="], &[&*long], &["username=admin", "password=public"]] {
        assert_eq!(peers.ask(2, POST, CONNECTION, query)[1], BAD_REQUEST, "{query:?}");
    }
    assert!(peers.ask(2, POST, CONNECTION, &["clientid=a\0b"]).ends_with(b"clientid holds NUL"));
    assert_eq!(peers.ask(2, POST, CONNECTION, &[&long[..32]])[1], CREATED);
}

/// 4.01, as EMQX's documents say; its code says 4.00. Too many lock the address out.
#[test]
fn t_connection_with_authn_failed() {
    let mut config = config();
    config.users = users();
    config.max_auth_failures = FailureRate { count: 3, per: Duration::from_secs(60) };
    config.listeners[2].connection_required = true;
    for anonymous in [false, true] {
        config.listeners[2].anonymous = anonymous;
        let mut peers = Peers::with(config.clone());
        let kept = peers.connect(9);
        for query in [
            ["clientid=c", "username=deny", "password=public"],
            ["clientid=c", "username=admin", "password=wrong"],
            ["clientid=c", "username=admin", "password="],
        ] {
            let answer = peers.ask(1, POST, CONNECTION, &query);
            assert_eq!((answer[1], text(&answer)), (UNAUTHORIZED, "Login Failed: not_authorized"));
            let told = peers.gateway.notices.last().and_then(|told| told.client.as_ref());
            assert_eq!(told.map(|client| client.client_id()), Some("c"), "the log says who");
        }
        assert_eq!(peers.logins(), Some(1));
        let locked = peers.ask(2, POST, CONNECTION, &["c=d", "u=admin", "p=public"]);
        assert_eq!((locked[1], option(&locked, 14)), (TOO_MANY, Some(vec![60])), "RFC 8516");
        assert!(peers.is_known(9, &kept), "who is in stays in");
        let told = format!("{:?}", peers.gateway.notices);
        assert!(!told.contains("public") && !told.contains("wrong"), "{told}");
        let without = peers.ask(3, POST, CONNECTION, &["clientid=c"]);
        assert_eq!(without[1], if anonymous { CREATED } else { UNAUTHORIZED });
        let half = peers.ask(4, POST, CONNECTION, &["clientid=c", "username=admin"]);
        assert_eq!(half[1], UNAUTHORIZED);
    }
}

/// RFC 9175 §2.3: the address of a datagram may be another's, who must not be locked out for what is sent
/// in its name. Who shows by Echo that it is its own is heard, and counted by itself.
#[test]
fn wrong_passwords_in_anothers_name_lock_nobody_out() {
    let mut config = config();
    config.users = users();
    config.max_auth_failures = FailureRate { count: 3, per: Duration::from_secs(60) };
    config.coap.unverified.echo = motegate_coap::EchoWhen::Always;
    let mut peers = Peers::with(config);
    let wrong = ["c=x", "u=admin", "p=wrong"];
    for n in 0..10 {
        let (code, path) = [(POST, CONNECTION), (PUT, "ps/a")][n % 2];
        let answer = peers.ask(1, code, path, &wrong);
        assert_eq!(answer[1], UNAUTHORIZED);
        assert_eq!(
            option(&answer, 252).is_some(),
            n >= 3,
            "the password is not looked at any more"
        );
    }
    let challenge = peers.ask(1, POST, CONNECTION, &ADMIN);
    assert_eq!((challenge[1], text(&challenge).contains("Echo")), (UNAUTHORIZED, true));
    peers.echo = option(&challenge, 252);
    let token = peers.connect(1);
    for _ in 0..3 {
        let answer = peers.ask(2, PUT, "ps/a", &wrong);
        assert_eq!((answer[1], option(&answer, 252)), (UNAUTHORIZED, None));
    }
    assert_eq!(
        peers.ask(2, PUT, "ps/a", &["u=admin", "p=public"])[1],
        TOO_MANY,
        "its own failures"
    );
    assert!(peers.is_known(1, &token));
}

/// One client at an address; what comes anew to the endpoint is another request.
#[test]
fn t_duplicate_connection_and_other_clientid_and_invalid_queries() {
    let mut peers = Peers::required();
    let token = peers.connect(1);
    let again = peers.ask(1, POST, CONNECTION, &ADMIN);
    let said = (again[1], text(&again).to_owned());
    assert_eq!(said, (BAD_REQUEST, "Bad Request: client has connected".into()));
    assert_eq!(peers.ask(1, POST, CONNECTION, &["clientid=client2"])[1], BAD_REQUEST);
    assert_eq!(peers.ask(2, POST, CONNECTION, &["username=admin"])[1], BAD_REQUEST);
    assert!(peers.is_known(1, &token));
}

/// The same client id from another address takes over: the old token and its observations are gone.
#[test]
fn a_client_that_connects_from_elsewhere_has_a_new_token() {
    let mut peers = Peers::required();
    let old = peers.connect(1);
    peers.ask_observe(1, GET, "ps/a", &["clientid=client1", &old], Some(0));
    let new = peers.connect(2);
    assert_ne!(old, new);
    let last = peers.gateway.datagrams_to(peer(1));
    assert_eq!((last.len(), last[0][1]), (1, UNAUTHORIZED));
    assert_eq!(peers.logins(), Some(1));
    assert!(peers.is_known(3, &new) && !peers.is_known(3, &old));
}

#[test]
fn t_request_with_token_no_connection_and_t_invalid_token_request() {
    let mut peers = Peers::required();
    let query = ["clientid=client1", "token=tok"];
    assert_eq!(peers.ask_observe(1, GET, "ps/no_connection", &query, Some(0))[1], UNAUTHORIZED);
    peers.connect(1);
    let answer = peers.ask_observe(1, GET, "ps/abc", &["clientid=client1", "token=bad"], Some(0));
    assert_eq!(answer[1], UNAUTHORIZED);
    assert_eq!(text(&answer), "Invalid token or clientid in connection mode");
}

/// 2.02 to whoever is not connected; whoever is must show its own token, and nobody ends another's.
#[test]
fn t_delete_without_connection() {
    let mut peers = Peers::required();
    let wrong = ["clientid=client1", "token=badtoken"];
    assert_eq!(peers.ask(1, DELETE, CONNECTION, &wrong)[1], DELETED);
    assert_eq!(peers.ask(1, DELETE, CONNECTION, &[])[1], BAD_REQUEST);
    let token = peers.connect(1);
    assert_eq!(peers.ask(1, DELETE, CONNECTION, &wrong)[1], UNAUTHORIZED);
    assert_eq!(peers.ask(2, DELETE, CONNECTION, &wrong)[1], DELETED);
    assert!(peers.is_known(1, &token), "it was not that token's");
}

#[test]
fn t_delete_connection_missing_clientid() {
    let mut peers = Peers::with(config());
    assert_eq!(peers.ask(1, DELETE, CONNECTION, &[])[1], DELETED);
    let token = peers.connect(1);
    assert_eq!(peers.ask(2, DELETE, CONNECTION, &["clientid=client1"])[1], DELETED);
    assert_eq!(peers.ask(1, PUT, CONNECTION, &["clientid=client1", &token])[1], CHANGED);
}

/// `t_request_without_token_times_out`, `t_request_with_partial_token_params`: 4.00, whatever the path.
#[test]
fn t_request_with_partial_token_params() {
    let mut peers = Peers::required();
    let token = peers.connect(1);
    for path in ["ps/a", "mqtt/a", ".well-known/core", "unknown"] {
        for query in [&[][..], &["clientid=client1"], &[&*token], &ADMIN] {
            let answer = peers.ask_observe(1, GET, path, query, Some(0));
            assert_eq!(answer[1], BAD_REQUEST, "{path} {query:?}");
            assert_eq!(text(&answer), "Missing token or clientid in connection mode");
        }
    }
    let shown = ["clientid=client1", &*token];
    assert_eq!(peers.ask(1, PUT, "mqtt/a", &shown)[1], CREATED, "a rule that takes no such words");
    assert_eq!(peers.ask(1, GET, "mqtt/a", &shown)[1], CONTENT);
    assert_eq!(peers.ask(1, GET, ".well-known/core", &shown)[1], CONTENT);
}

#[test]
fn t_token_takeover_across_udp_sessions() {
    let mut peers = Peers::required();
    let token = peers.connect(1);
    let shown = ["clientid=client1", &*token];
    assert_eq!(peers.ask(2, POST, "ps/coap/udp_takeover", &shown)[1], CHANGED);
    assert_eq!(peers.logins(), Some(1));
    assert_eq!(peers.ask(1, POST, CONNECTION, &["clientid=client2"])[1], CREATED, "it has moved");
    assert_eq!(peers.ask(2, DELETE, CONNECTION, &shown)[1], DELETED);
}

#[test]
fn t_wrong_clientid_with_valid_token_rejected_across_udp_sessions() {
    let mut peers = Peers::required();
    let token = peers.connect(1);
    for query in [["clientid=client1", "token=wrong-token"], ["clientid=client2", &token]] {
        assert_eq!(peers.ask(2, POST, "ps/a", &query)[1], UNAUTHORIZED, "{query:?}");
    }
}

#[test]
fn t_mqtt_handler_errors() {
    let mut peers = Peers::required();
    let token = peers.connect(1);
    assert_eq!(peers.ask(1, GET, CONNECTION, &["clientid=client1", &token])[1], NOT_ALLOWED);
}

/// `t_publish`, `t_subscribe`, `t_un_subscribe` with a connection: the client is who it said, its user
/// the one that it has proved, and what it observes ends by its topic from any address.
#[test]
fn t_publish_and_t_subscribe_with_a_connection() {
    let mut config = config();
    config.users = users();
    config.listeners[2].anonymous = false;
    config.listeners[2].connection_required = true;
    let mine = CoapRule {
        name: "mine".into(),
        path: "/mine".into(),
        topic: "of/{client}/{identity}".into(),
        ..CoapRule::default()
    };
    let presets = vec![Preset::EmqxPs];
    let rules = Rules { coap: vec![mine], presets, ..Rules::default() };
    let table = Table::new(rules).expect("one rule");
    let mut peers = Peers { gateway: Gateway::with_table(config, table), mid: 0, echo: None };
    let mqtt = peers.gateway.mqtt("m", true);
    peers.gateway.mqtt_subscribe(mqtt, "#", 0);
    let token = peers.connect(1);
    let shown = ["clientid=client1", &*token];
    assert_eq!(peers.ask(1, POST, "mine", &shown)[1], CHANGED);
    let came = peers.gateway.received(mqtt);
    assert!(came.windows(16).any(|part| part == b"of/client1/admin"), "{came:02x?}");
    let answer = peers.ask_observe(1, GET, "ps/abc", &shown, Some(0));
    assert_eq!((answer[1], body(&answer)), (CONTENT, &b""[..]));
    peers.gateway.send(mqtt, &publish("abc", b"123", 0, false, 0));
    assert!(peers.gateway.datagrams_to(peer(1))[0].ends_with(b"\xff123"));
    assert_eq!(peers.ask_observe(2, GET, "ps/abc", &shown, Some(1))[1], UNSUBSCRIBED);
    peers.gateway.send(mqtt, &publish("abc", b"4", 0, false, 0));
    assert!(peers.gateway.datagrams_to(peer(1)).is_empty());
}

/// `t_connectionless_hardened_*`, `t_connectionless_legacy_*`: without a connection user name and
/// password are looked at in each request, and nothing is let in that has to prove itself.
#[test]
fn t_connectionless_authn_is_request_scoped() {
    let mut config = config();
    config.listeners[2].anonymous = false;
    let admin = ["clientid=n", "username=admin", "password=public"];
    let deny = ["clientid=n", "username=deny", "password=public"];
    let ask = |config: &Config, query: &[&str]| {
        let mut peers = Peers::with(config.clone());
        let mqtt = peers.gateway.mqtt("m", true);
        peers.gateway.mqtt_subscribe(mqtt, "#", 0);
        let done = peers.ask(1, POST, "ps/a", query)[1];
        assert_eq!(peers.gateway.received(mqtt).is_empty(), done != CHANGED);
        let observed = peers.ask_observe(1, GET, "ps/a", query, Some(0))[1];
        assert_eq!(peers.ask(1, POST, "ps/a", &[])[1] == CHANGED, config.listeners[2].anonymous);
        (done, observed)
    };
    const NO: (u8, u8) = (UNAUTHORIZED, UNAUTHORIZED);
    const YES: (u8, u8) = (CHANGED, CONTENT);
    for query in [&[][..], &admin, &["clientid=n", "token=t"]] {
        assert_eq!(ask(&config, query), NO, "no users: {query:?}");
    }
    config.users = users();
    assert_eq!(ask(&config, &admin), YES);
    assert_eq!(ask(&config, &deny), NO);
    assert_eq!(ask(&config, &["clientid=n", "username=admin"]), NO);
    assert_eq!(ask(&config, &["clientid=n", "token=t"]), NO);
    config.listeners[2].anonymous = true;
    assert_eq!(ask(&config, &deny), NO, "a password that is shown is looked at");
    assert_eq!(ask(&config, &["clientid=n", "token=old"]), YES, "a token that nobody asks for");
    config.users = Arc::default();
    assert_eq!(ask(&config, &deny), YES, "there is nothing to compare it with");
}

/// A connection without proof lets in where none is wanted, and nowhere else.
#[test]
fn a_token_that_was_had_for_nothing_is_worth_nothing_on_a_closed_listener() {
    let mut config = config();
    let mut closed = config.listeners[2].clone();
    (closed.name, closed.anonymous) = ("closed".into(), false);
    config.listeners.push(closed);
    let mut peers = Peers::with(config);
    let token = peers.connect(1);
    let options = [(11, &b"ps"[..]), (11, b"a"), (15, b"clientid=client1"), (15, token.as_bytes())];
    let bytes = request(POST, 900, b"t", &options, b"x");
    let closed = motegate_message::ListenerId(3);
    assert_eq!(peers.gateway.datagram(closed, peer(1), &bytes)[0][1], UNAUTHORIZED);
    assert_eq!(peers.gateway.datagram(COAP, peer(7), &bytes)[0][1], CHANGED);
}

/// `t_channel_block1_connection`: a body means nothing, and is taken.
#[test]
fn t_channel_block1_connection() {
    let mut peers = Peers::required();
    let block = |number: u8| {
        let path = [(11, &b"mqtt"[..]), (11, b"connection"), (15, b"clientid=client1")];
        (path, [number])
    };
    for (number, code) in [(0x08, 0x5f), (0x10, CREATED)] {
        let (path, value) = block(number);
        let options = [&path[..], &[(27, &value[..])]].concat();
        peers.mid += 1;
        let body = if number == 0x08 { &b"0123456789abcdef"[..] } else { b"end" };
        let bytes = request(POST, peers.mid, b"t", &options, body);
        assert_eq!(peers.gateway.datagram(COAP, peer(1), &bytes)[0][1], code);
    }
}

#[test]
fn there_are_so_many_at_a_time() {
    let mut config = config();
    config.max_coap_logins = 1;
    let mut peers = Peers::with(config);
    peers.connect(1);
    let full = peers.ask(2, POST, CONNECTION, &["clientid=other"]);
    assert_eq!((full[1], option(&full, 14)), (UNAVAILABLE, Some(vec![5])), "with Max-Age");
    assert_eq!(peers.gateway.limit("max_coap_logins").acted, Some(1));
    peers.connect(2);
}

/// What a reload takes away: the user, the preset, the open listener, the way in without a connection.
#[test]
fn what_a_reload_takes_away() {
    let mut before = config();
    before.users = users();
    type After = fn(&mut Config);
    let cases: [(bool, After, &[Preset], bool); 5] = [
        (true, |_| {}, &[Preset::EmqxPs], true),
        (true, |after| after.users = Arc::default(), &[Preset::EmqxPs], false),
        (true, |_| {}, &[Preset::Passthrough], false),
        (true, |after| after.listeners[2].anonymous = false, &[Preset::EmqxPs], true),
        (false, |after| after.listeners[2].anonymous = false, &[Preset::EmqxPs], false),
    ];
    for (n, (proven, change, presets, stays)) in cases.into_iter().enumerate() {
        let mut peers = Peers::with(before.clone());
        let query = if proven { &ADMIN[..] } else { &ADMIN[..1] };
        let answer = peers.ask(1, POST, CONNECTION, query);
        let token = format!("token={}", text(&answer));
        let shown = ["clientid=client1", &*token];
        assert_eq!(peers.ask_observe(1, GET, "ps/a", &shown, Some(0))[1], CONTENT);
        let mut config = before.clone();
        change(&mut config);
        let (table, removed, moved) = (Arc::new(table(presets)), Vec::new(), Vec::new());
        let reload = Reload { config, table, removed, moved };
        peers.gateway.datagrams.clear();
        peers.gateway.input(Input::Reload(Box::new(reload)));
        assert_eq!(peers.logins(), Some(u64::from(stays)), "case {n}");
        let told = peers.gateway.datagrams_to(peer(1));
        assert_eq!(told.len(), usize::from(!stays), "case {n}: {told:02x?}");
        assert!(told.iter().all(|packet| packet[1] >> 5 == 4), "{told:02x?}");
        let touched = &peers.gateway.touched;
        assert_eq!(touched.len(), usize::from(!stays), "the operator is told once: {touched:?}");
    }
    let mut peers = Peers::with(before.clone());
    assert_eq!(peers.ask_observe(1, GET, "ps/a", &ADMIN, Some(0))[1], CONTENT);
    before.listeners[2].connection_required = true;
    let (table, removed, moved) = (Arc::new(table(&[Preset::EmqxPs])), Vec::new(), Vec::new());
    peers.gateway.datagrams.clear();
    let reload = Reload { config: before, table, removed, moved };
    peers.gateway.input(Input::Reload(Box::new(reload)));
    assert_eq!(peers.gateway.datagrams_to(peer(1))[0][1], UNAUTHORIZED);
}

/// A verdict that comes when another has the place, twice, or about nobody.
#[test]
fn late_verdicts() {
    let mut config = config();
    config.users = users();
    let mut peers = Peers::with(config);
    peers.send(1, POST, CONNECTION, &ADMIN, None);
    peers.send(1, POST, CONNECTION, &["clientid=client2", "u=admin", "p=public"], None);
    let first = peers.gateway.asked[0].ticket;
    peers.judge();
    let answers: Vec<u8> = peers.gateway.datagrams_to(peer(1)).iter().map(|a| a[1]).collect();
    assert_eq!(answers, [CREATED, BAD_REQUEST]);
    for ticket in [first, u64::MAX] {
        let verdict = Verdict::Allow { user: "admin".into(), data: None };
        peers.gateway.input(Input::Verdict { ticket, verdict });
    }
    assert_eq!(peers.logins(), Some(1));
    peers.send(3, POST, "ps/a", &ADMIN, None);
    let ticket = peers.gateway.asked.remove(0).ticket;
    let verdict = Verdict::Deny(Reason::Overloaded);
    peers.gateway.input(Input::Verdict { ticket, verdict });
    let busy = peers.gateway.datagrams_to(peer(3));
    assert_eq!((busy[0][1], option(&busy[0], 14)), (UNAVAILABLE, Some(vec![5])));
}

/// A rule of the file goes before: its path is a topic's then, and nobody connects there.
#[test]
fn a_rule_of_the_file_goes_before() {
    let rule = CoapRule {
        name: "mine".into(),
        path: "/mqtt/{rest...}".into(),
        topic: "mine/{rest...}".into(),
        query_extra_ignored: true,
        ..CoapRule::default()
    };
    let presets = vec![Preset::EmqxPs];
    let rules = Rules { coap: vec![rule], presets, ..Rules::default() };
    let table = Table::new(rules).expect("one rule");
    let mut peers = Peers { gateway: Gateway::with_table(config(), table), mid: 0, echo: None };
    assert_eq!(peers.ask(1, POST, CONNECTION, &ADMIN)[1], CHANGED);
    assert_eq!(peers.logins(), Some(0));
}
