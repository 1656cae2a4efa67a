//! Who an MQTT client is: passwords, identities, exchanges, lockout, and what a reload changes
//! (mqtt.md §1.2, §2.1, §2.15). The verdicts are the test's.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::cast_possible_truncation)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::{Gateway, config};
use motegate_core::{
    Change, Config, FailureRate, Input, NoticeKind, Proof, Reload, Users, Verdict, Verifier,
};
use motegate_message::{ConnectionId, Reason};

/// A listener for users only; each user's password is his name.
fn closed(names: &[&str]) -> Config {
    let mut config = config();
    config.listeners[0].anonymous = false;
    config.users = users(names);
    config
}

fn users(names: &[&str]) -> Arc<Users> {
    let user = |name: &&str| (Arc::from(*name), verifier(name));
    Arc::new(names.iter().map(user).collect())
}

fn verifier(password: &str) -> Verifier {
    let mut key = [0; 32];
    key[..password.len()].copy_from_slice(password.as_bytes());
    Verifier { iterations: 1, salt: [1].into(), stored_key: key, server_key: [0; 32] }
}

/// CONNECT of either version, with what else it says.
fn connect(v5: bool, id: &str, user: Option<&str>, password: Option<&str>) -> Vec<u8> {
    connect_with(v5, id, user, password, b"")
}

fn connect_with(
    v5: bool,
    id: &str,
    user: Option<&str>,
    password: Option<&str>,
    properties: &[u8],
) -> Vec<u8> {
    let field = |text: &str| [&[0, text.len() as u8], text.as_bytes()].concat();
    let flags = 2 | u8::from(user.is_some()) << 7 | u8::from(password.is_some()) << 6;
    let mut body = [field("MQTT"), vec![if v5 { 5 } else { 4 }, flags, 0, 60]].concat();
    if v5 {
        body.push(properties.len() as u8);
        body.extend_from_slice(properties);
    }
    body.extend(field(id));
    body.extend(user.into_iter().chain(password).flat_map(field));
    [vec![0x10, body.len() as u8], body].concat()
}

/// Method `M` with data `x`.
const METHOD: &[u8] = b"\x15\x00\x01M\x16\x00\x01x";

impl Gateway {
    /// Answers everything that is asked: a password is right if it is the verifier's.
    fn judge(&mut self) {
        for asked in std::mem::take(&mut self.asked) {
            let Proof::Password { user, password } = &asked.proof else { panic!("{asked:?}") };
            let is_right = asked.users.get(user).is_some_and(|(_, verifier)| {
                verifier.stored_key.starts_with(password) && !password.is_empty()
            });
            let verdict = match is_right {
                true => Verdict::Allow { user: user.as_str().into(), data: None },
                false => Verdict::Deny(Reason::AuthFailed),
            };
            self.input(Input::Verdict { ticket: asked.ticket, verdict });
        }
    }

    fn verdict(&mut self, conn: ConnectionId, verdict: Verdict) {
        self.input(Input::Verdict { ticket: conn.get(), verdict });
    }

    /// The code that the CONNACK carries; `None` without one.
    fn code(&mut self, conn: ConnectionId) -> Option<u8> {
        let got = self.received(conn);
        (!got.is_empty()).then(|| {
            assert_eq!(got[0], 0x20, "{got:02x?}");
            got[3]
        })
    }

    /// What a CONNECT from an address comes to.
    fn try_from(&mut self, from: [u8; 4], packet: &[u8]) -> Option<u8> {
        let conn = self.open_from(from, None);
        self.send(conn, packet);
        self.judge();
        self.code(conn)
    }

    fn login(&mut self, id: &str, user: &str) -> ConnectionId {
        let conn = self.open();
        self.send(conn, &connect(true, id, Some(user), Some(user)));
        self.judge();
        assert_eq!(self.code(conn), Some(0), "{id}");
        conn
    }

    fn told(&self) -> (NoticeKind, &str) {
        let notice = self.notices.last().expect("a notice");
        (notice.kind, notice.text.as_deref().unwrap_or_default())
    }
}

fn allow(user: &str) -> Verdict {
    Verdict::Allow { user: user.into(), data: None }
}

#[test]
fn who_may_come_in() {
    let (anna, wrong) = (Some("anna"), Some("wrong"));
    // Anonymous, has users; user, password; 3.1.1, 5.0.
    let cases = [
        (false, true, anna, anna, 0, 0),
        (false, true, anna, wrong, 4, 0x86),
        (false, true, wrong, wrong, 4, 0x86),
        (false, true, anna, None, 4, 0x86),
        (false, true, None, None, 5, 0x87),
        (false, false, anna, anna, 4, 0x86),
        (false, false, None, None, 5, 0x87),
        (true, true, anna, anna, 0, 0),
        (true, true, anna, wrong, 4, 0x86),
        (true, true, None, None, 0, 0),
        // Without `users` a name is only a name.
        (true, false, anna, wrong, 0, 0),
        (true, false, None, None, 0, 0),
    ];
    for (anonymous, has_users, user, password, v3, v5) in cases {
        for (is_v5, code) in [(false, v3), (true, v5)] {
            let mut config = closed(if has_users { &["anna"] } else { &[] });
            config.listeners[0].anonymous = anonymous;
            let mut gateway = Gateway::new(config);
            let conn = gateway.open();
            gateway.send(conn, &connect(is_v5, "a", user, password));
            gateway.judge();
            let case = format!("{anonymous} {has_users} {user:?} {password:?} {is_v5}");
            assert_eq!(gateway.code(conn), Some(code), "{case}");
            assert_eq!(gateway.closed.contains_key(&conn), code != 0, "{case}");
        }
    }
}

/// MQTT 5 only (MQTT 5 §3.1.2.9): a password without a user name shows no identity.
#[test]
fn a_password_alone_is_no_identity() {
    let mut gateway = Gateway::new(closed(&["anna"]));
    let packet = connect(true, "a", None, Some("anna"));
    assert_eq!(gateway.try_from([127, 0, 0, 1], &packet), Some(0x87));
}

#[test]
fn a_refusal_says_which_line_to_add() {
    let mut gateway = Gateway::new(closed(&[]));
    gateway.try_from([127, 0, 0, 1], &connect(false, "a", None, None));
    let (kind, text) = gateway.told();
    assert_eq!(kind, NoticeKind::Refused(Reason::AuthMissing));
    assert!(text.contains("listener `mqtt`") && text.contains("`motegate passwd"), "{text}");
    assert!(text.contains("`anonymous: true`"), "{text}");

    let mut gateway = Gateway::new(closed(&["anna"]));
    gateway.try_from([127, 0, 0, 1], &connect(false, "a", None, None));
    assert!(gateway.told().1.contains("a user name and password of `users`"));
}

/// Nothing that could be a secret is told, and a name only if it is a user's.
#[test]
fn the_log_says_what_was_wrong() {
    let mut gateway = Gateway::new(closed(&["anna"]));
    let try_with = |gateway: &mut Gateway, user, password| {
        gateway.advance(Duration::from_secs(11)); // a line each
        gateway.try_from([127, 0, 0, 1], &connect(true, "a", Some(user), Some(password)));
        gateway.told().1.to_owned()
    };
    let wrong = try_with(&mut gateway, "anna", "hunter2");
    assert_eq!(wrong, "the password of user `anna` is wrong");
    assert_eq!(try_with(&mut gateway, "hunter2", "x"), "there is no user of that name");
    assert_eq!(gateway.core.stats().dropped(Reason::AuthFailed), 2);

    let conn = gateway.open();
    gateway.send(conn, &connect(true, "a", Some("hunter2"), Some("hunter2")));
    let shown = format!("{:?}", gateway.asked);
    assert!(!shown.contains("hunter2") && shown.contains("Password"), "{shown}");
}

/// [MQTT-3.1.4-3], mqtt.md §2.1(a): nothing of a session is touched before the verdict.
#[test]
fn a_takeover_waits_for_the_verdict() {
    let mut gateway = Gateway::new(closed(&["anna"]));
    let old = gateway.login("a", "anna");
    let new = gateway.open();
    gateway.send(new, &connect(true, "a", Some("anna"), Some("wrong")));
    gateway.send(old, b"\xc0\x00");
    assert_eq!(gateway.received(old), b"\xd0\x00");
    gateway.judge();
    assert_eq!(gateway.code(new), Some(0x86));
    gateway.send(old, b"\xc0\x00");
    assert_eq!(gateway.received(old), b"\xd0\x00");
    gateway.login("a", "anna");
    assert_eq!(gateway.closed.get(&old), Some(&Reason::TakenOver));
}

/// What is pipelined behind a CONNECT waits with it, and is dropped with it (MQTT-3.1.4-6).
#[test]
fn what_comes_behind_the_connect_waits_for_the_verdict() {
    let mut gateway = Gateway::new(closed(&["anna"]));
    for (password, answer) in
        [("anna", &b"\x20\x02\x00\x00\xd0\x00"[..]), ("no", b"\x20\x02\x00\x04")]
    {
        let conn = gateway.open();
        let packet = [connect(false, "a", Some("anna"), Some(password)), vec![0xc0, 0]].concat();
        gateway.send(conn, &packet);
        assert_eq!(gateway.received(conn), b"");
        gateway.judge();
        assert_eq!(gateway.received(conn), answer);
    }
}

#[test]
fn a_late_verdict_finds_nobody() {
    let mut gateway = Gateway::new(closed(&["anna"]));
    let packet = connect(true, "a", Some("anna"), Some("anna"));
    // The time is over.
    let conn = gateway.open();
    gateway.send(conn, &packet);
    gateway.advance(Duration::from_secs(15));
    assert_eq!(gateway.code(conn), Some(0x87));
    assert_eq!(gateway.told().0, NoticeKind::Refused(Reason::AuthTimeout));
    gateway.judge();
    assert_eq!(gateway.code(conn), None);
    // The connection is lost, then the time is over.
    let conn = gateway.open();
    gateway.send(conn, &packet);
    gateway.input(Input::Closed { conn, reason: Reason::ConnectionLost });
    gateway.advance(Duration::from_secs(15));
    let told = gateway.notices.len();
    gateway.judge();
    assert_eq!(gateway.notices.len(), told, "{:?}", gateway.notices);
    // A verdict about nobody, and one twice.
    gateway.verdict(conn, allow("anna"));
    let conn = gateway.login("a", "anna");
    gateway.verdict(conn, Verdict::Deny(Reason::AuthFailed));
    gateway.send(conn, b"\xc0\x00");
    assert_eq!(gateway.received(conn), b"\xd0\x00");
}

/// A client that sends what it has and leaves is heard, once its password is found right.
#[test]
fn a_client_that_leaves_before_its_verdict_is_heard() {
    let mut gateway = Gateway::new(closed(&["anna"]));
    let listener = gateway.login("b", "anna");
    gateway.mqtt_subscribe_v5(listener, "t");
    let conn = gateway.open();
    let publish = b"\x30\x05\x00\x01t\x00x";
    let packet = [&connect(true, "a", Some("anna"), Some("anna")), &publish[..]].concat();
    gateway.send(conn, &packet);
    gateway.input(Input::Closed { conn, reason: Reason::ConnectionLost });
    gateway.judge();
    assert_eq!(gateway.received(listener), publish);
    assert_eq!(gateway.told().0, NoticeKind::Disconnected(Reason::ConnectionLost));
}

impl Gateway {
    fn mqtt_subscribe_v5(&mut self, conn: ConnectionId, filter: &str) {
        let mut packet = vec![0x82, 6 + filter.len() as u8, 0, 9, 0, 0, filter.len() as u8];
        packet.extend_from_slice(filter.as_bytes());
        packet.push(0);
        self.send(conn, &packet);
        assert_eq!(self.received(conn), b"\x90\x04\x00\x09\x00\x00");
    }
}

/// mqtt.md §4: `max_auth_failures` per address, then 0x8A / 5 for 60 s.
#[test]
fn an_address_with_too_many_failures_is_locked_out() {
    let mut config = closed(&["anna"]);
    config.max_auth_failures = FailureRate { count: 3, per: Duration::from_secs(60) };
    config.listeners[0].anonymous = true;
    let mut gateway = Gateway::new(config);
    let (here, elsewhere) = ([10, 0, 0, 1], [10, 0, 0, 2]);
    let wrong = connect(true, "a", Some("anna"), Some("no"));
    let right = |v5| connect(v5, "a", Some("anna"), Some("anna"));
    // Many at once: their answers tell nothing any more once the third was wrong.
    let burst: Vec<ConnectionId> = (0..5).map(|_| gateway.open_from(here, None)).collect();
    for conn in &burst[..4] {
        gateway.send(*conn, &wrong);
    }
    gateway.send(burst[4], &right(true));
    gateway.judge();
    let codes: Vec<_> = burst.iter().map(|conn| gateway.code(*conn).unwrap()).collect();
    assert_eq!(codes, [0x86, 0x86, 0x86, 0x8a, 0x8a]);
    // Nobody looks at a password now.
    assert_eq!(gateway.try_from(here, &right(true)), Some(0x8a));
    assert_eq!(gateway.try_from(here, &right(false)), Some(5));
    let kind = NoticeKind::Refused(Reason::LockedOut);
    let told = gateway.notices.iter().find(|notice| notice.kind == kind).unwrap();
    assert!(told.text.as_ref().unwrap().contains("max_auth_failures"), "{told:?}");
    // Whoever needs none comes in, and so does another address.
    assert_eq!(gateway.try_from(here, &connect(true, "b", None, None)), Some(0));
    assert_eq!(gateway.try_from(elsewhere, &right(true)), Some(0));
    gateway.advance(Duration::from_secs(59));
    assert_eq!(gateway.try_from(here, &right(true)), Some(0x8a));
    gateway.advance(Duration::from_secs(1));
    assert_eq!(gateway.try_from(here, &right(true)), Some(0));
}

/// 0x89 / 3: nobody could look at it; that is no failure of the client's.
#[test]
fn an_overloaded_authentication_is_told() {
    for (v5, code) in [(true, 0x89), (false, 3)] {
        let mut gateway = Gateway::new(closed(&["anna"]));
        for _ in 0..20 {
            let conn = gateway.open();
            gateway.send(conn, &connect(v5, "a", Some("anna"), Some("anna")));
            gateway.verdict(conn, Verdict::Deny(Reason::Overloaded));
            assert_eq!(gateway.code(conn), Some(code));
        }
        gateway.asked.clear();
        gateway.login("a", "anna");
    }
}

/// An exchange goes through the core as it is; its state comes back with the client's answer.
#[test]
fn an_exchange_is_carried_through() {
    let mut gateway = Gateway::new(closed(&["anna"]));
    let conn = gateway.open();
    gateway.send(conn, &connect_with(true, "a", None, None, METHOD));
    let first = gateway.asked.pop().unwrap();
    let proof = |data: &'static str, state: Option<&'static str>| Proof::Exchange {
        method: "M".into(),
        data: data.into(),
        state: state.map(Bytes::from),
    };
    assert_eq!(first.proof, proof("x", None));
    gateway.verdict(conn, Verdict::Continue { data: "y".into(), state: "s".into() });
    assert_eq!(gateway.received(conn), b"\xf0\x0a\x18\x08\x15\x00\x01M\x16\x00\x01y");
    gateway.send(conn, b"\xf0\x0a\x18\x08\x15\x00\x01M\x16\x00\x01z");
    assert_eq!(gateway.asked.pop().unwrap().proof, proof("z", Some("s")));
    gateway.verdict(conn, Verdict::Allow { user: "anna".into(), data: Some("w".into()) });
    let connack = gateway.received(conn);
    assert_eq!(connack[3], 0);
    assert!(connack.windows(8).any(|w| w == b"\x15\x00\x01M\x16\x00\x01w"), "{connack:02x?}");

    // And again while it is open; a failure ends it.
    gateway.send(conn, b"\xf0\x0a\x19\x08\x15\x00\x01M\x16\x00\x01x");
    assert_eq!(gateway.asked.pop().unwrap().proof, proof("x", None));
    gateway.send(conn, b"\xc0\x00");
    assert_eq!(gateway.received(conn), b"\xd0\x00");
    gateway.verdict(conn, allow("anna"));
    assert_eq!(gateway.received(conn), b"\xf0\x06\x00\x04\x15\x00\x01M");
    gateway.send(conn, b"\xf0\x0a\x19\x08\x15\x00\x01M\x16\x00\x01x");
    gateway.asked.clear();
    gateway.verdict(conn, Verdict::Deny(Reason::AuthFailed));
    assert_eq!(gateway.received(conn)[..3], [0xe0, 0x13, 0x87]);
    assert_eq!(gateway.told().0, NoticeKind::Disconnected(Reason::AuthFailed));
}

/// A lost connection takes its exchange along; there is nobody in the tables.
#[test]
fn an_exchange_that_is_given_up_leaves_nothing() {
    for goodbye in [false, true] {
        let mut gateway = Gateway::new(closed(&["anna"]));
        let conn = gateway.open();
        gateway.send(conn, &connect_with(true, "a", None, None, METHOD));
        gateway.verdict(conn, Verdict::Continue { data: "y".into(), state: "s".into() });
        gateway.received(conn);
        if goodbye {
            gateway.send(conn, b"\xe0\x00");
            assert_eq!(gateway.told().0, NoticeKind::Disconnected(Reason::ClientDisconnect));
        } else {
            gateway.input(Input::Closed { conn, reason: Reason::ConnectionLost });
        }
        gateway.verdict(conn, allow("anna"));
        assert_eq!(gateway.code(conn), None);
    }
}

/// 0x8C where there is nobody who could authenticate.
#[test]
fn without_users_no_method_is_offered() {
    let mut gateway = Gateway::new(closed(&[]));
    let packet = connect_with(true, "a", None, None, METHOD);
    assert_eq!(gateway.try_from([127, 0, 0, 1], &packet), Some(0x8c));
    assert!(gateway.told().1.contains("`users`"));
    // One that the authentication does not know.
    let mut gateway = Gateway::new(closed(&["anna"]));
    let conn = gateway.open();
    gateway.send(conn, &packet);
    gateway.verdict(conn, Verdict::Deny(Reason::AuthMethod));
    assert_eq!(gateway.code(conn), Some(0x8c));
}

/// A certificate needs no password, and a user name beside it is not looked at.
#[test]
fn what_the_transport_has_proved_is_enough() {
    let mut gateway = Gateway::new(closed(&["anna"]));
    for (user, password) in [(None, None), (Some("anna"), Some("wrong"))] {
        let conn = gateway.open_as(Some("device-1"));
        gateway.send(conn, &connect(true, "a", user, password));
        assert_eq!(gateway.code(conn), Some(0));
        assert!(gateway.asked.is_empty());
    }
    // Its identity is not that of a user with the same name.
    let conn = gateway.open_as(Some("anna"));
    gateway.send(conn, &connect(true, "b", None, None));
    gateway.received(conn);
    assert_eq!(reload(&mut gateway, closed(&[])), [] as [String; 0]);
    assert_eq!(gateway.received(conn), b"");
}

fn reload(gateway: &mut Gateway, config: Config) -> Vec<String> {
    let table = Arc::new(motegate_mapping::Table::passthrough("mqtt"));
    let reload = Reload { config, table, removed: Vec::new(), moved: Vec::new() };
    let preview = gateway.core.preview(&reload);
    gateway.touched.clear();
    gateway.input(Input::Reload(Box::new(reload)));
    assert_eq!(gateway.touched, preview);
    preview.iter().map(|t| format!("{} {}", t.client, t.change)).collect()
}

/// Whoever came in by a password that counts no more is disconnected, will and all; the others stay.
#[test]
fn a_reload_sends_away_whose_password_is_another() {
    let mut gateway = Gateway::new(closed(&["anna", "ben", "carl"]));
    let [anna, ben, carl] = ["anna", "ben", "carl"].map(|user| gateway.login(user, user));
    let mut after = closed(&["anna"]);
    let carl_now = (Arc::from("carl"), verifier("other"));
    after.users = Arc::new([carl_now, (Arc::from("anna"), verifier("anna"))].into_iter().collect());
    let mut told = reload(&mut gateway, after);
    told.sort();
    assert_eq!(
        told,
        [
            "ben is disconnected: there is no user ben any more",
            "carl is disconnected: user carl has another password"
        ]
    );
    for conn in [ben, carl] {
        assert_eq!(gateway.received(conn)[..3], [0xe0, 0x13, 0x87], "not authorized");
        assert_eq!(gateway.closed.get(&conn), Some(&Reason::AuthFailed));
    }
    gateway.send(anna, b"\xc0\x00");
    assert_eq!(gateway.received(anna), b"\xd0\x00");
    let touched = gateway.touched.iter().map(|touched| &touched.change);
    assert!(touched.clone().all(|change| matches!(change, Change::UserRevoked { .. })));
}

/// A verdict that was under way counts only if its user is still the same.
#[test]
fn a_verdict_about_a_user_of_yesterday_is_none() {
    for (after, code) in [(&["anna"][..], 0), (&["ben"], 0x87)] {
        let mut gateway = Gateway::new(closed(&["anna"]));
        let conn = gateway.open();
        gateway.send(conn, &connect(true, "a", Some("anna"), Some("anna")));
        assert!(reload(&mut gateway, closed(after)).is_empty());
        gateway.judge();
        assert_eq!(gateway.code(conn), Some(code));
    }
}

/// A listener that closes to anonymous clients keeps those that have shown an identity.
#[test]
fn a_listener_that_closes_keeps_its_users() {
    let mut open = closed(&["anna"]);
    open.listeners[0].anonymous = true;
    let mut gateway = Gateway::new(open);
    let anna = gateway.login("a", "anna");
    let anyone = gateway.mqtt("b", true);
    let told = reload(&mut gateway, closed(&["anna"]));
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(gateway.closed.get(&anyone), Some(&Reason::ConfigReload));
    gateway.send(anna, b"\xc0\x00");
    assert_eq!(gateway.received(anna), b"\xd0\x00");
}

/// Whoever waits for a verdict when the gateway stops is told so.
#[test]
fn a_stop_does_not_wait_for_verdicts() {
    let mut gateway = Gateway::new(closed(&["anna"]));
    let conn = gateway.open();
    gateway.send(conn, &connect(true, "a", Some("anna"), Some("anna")));
    gateway.input(Input::Shutdown);
    assert_eq!(gateway.code(conn), Some(0x88));
    gateway.judge();
    assert_eq!(gateway.code(conn), None);
}

/// mqtt.md §2.20: another client id than the identity is refused, and nobody is renamed.
#[test]
fn a_client_id_may_have_to_be_the_identity() {
    let mut config = closed(&["anna"]);
    config.listeners[0].client_id_from_identity = true;
    let mut gateway = Gateway::new(config);
    for (id, code) in [("device-1", 0), ("device-2", 0x85), ("", 0x85)] {
        let conn = gateway.open_as(Some("device-1"));
        gateway.send(conn, &connect(true, id, None, None));
        assert_eq!(gateway.code(conn), Some(code), "{id}");
    }
    let kind = NoticeKind::Refused(Reason::BadClientId);
    assert_eq!(gateway.told(), (kind, "its client id must be its identity: connect as `device-1`"));
    let conn = gateway.open_as(Some("device-1"));
    gateway.send(conn, &connect(false, "device-2", None, None));
    assert_eq!(gateway.code(conn), Some(2), "identifier rejected, in MQTT 3");
    // Users are identities, too.
    gateway.login("anna", "anna");
    let conn = gateway.open();
    gateway.send(conn, &connect(true, "bert", Some("anna"), Some("anna")));
    gateway.judge();
    assert_eq!(gateway.code(conn), Some(0x85));
}
