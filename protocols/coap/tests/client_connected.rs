//! RFC 8323 from the side of the client, on a virtual clock: CSM, tokens, signals, observations, and
//! what ends with a connection. Blocks are `client_connected_blocks.rs`.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::time::Duration;

use motegate_coap::client::{Loss, Request, Wanted};
use motegate_coap::endpoint::Method;
use proptest::prelude::*;
use support::connected::{Device, NOTHING, csm};
use support::stream::{ABORT, CSM, PING, PONG, RELEASE, frame, web};
use support::{GET, Msg};

const CONTENT: u8 = 0x45;

fn get(path: &str) -> Request {
    Request::new(Method::Get, path)
}

fn content(token: &[u8], body: &str) -> Msg {
    Msg::con(CONTENT, 0).token(token).body(body.as_bytes())
}

fn observed(token: &[u8], number: &[u8], body: &str) -> Msg {
    Msg::con(CONTENT, 0).token(token).opt(6, number).body(body.as_bytes())
}

/// §3.3, §5.3: our CSM is the first message and says Max-Message-Size and Block-Wise-Transfer; requests
/// follow it, and wait for no answer.
#[test]
fn our_csm_comes_first_and_requests_with_it() {
    let mut device = Device::new();
    device.ask(get("a"));
    assert_eq!((device.wanted(), device.sent()), (vec![Wanted::Open], vec![]));
    device.ask(get("b"));
    assert_eq!(device.wanted(), [], "asked for once");
    device.opened();
    assert_eq!(device.raw[..6], [0x50, 0xe1, 0x23, 1, 2, 0], "the bytes of the CSM");
    assert_eq!(device.sent(), ["CSM 2=010200 4=", "0.01 t=* 11=61", "0.01 t=* 11=62"]);
    device.say(&csm());
    assert_eq!(device.sent(), NOTHING);
}

/// §3.3: answers come by their tokens, in any order; one that nobody waits for is ignored.
#[test]
fn answers_come_in_any_order() {
    let mut device = Device::open();
    device.ask(get("a"));
    device.ask(get("b"));
    device.sent();
    let tokens = device.tokens();
    assert_ne!(tokens[0], tokens[1]);
    device.say(&content(&tokens[1], "2"));
    device.say(&content(b"nobody", "?"));
    device.say(&content(&tokens[0], "1"));
    device.say(&content(&tokens[0], "again"));
    assert_eq!(device.events(), ["2 answered \"2\"", "1 answered \"1\""]);
    assert_eq!(device.sent(), NOTHING, "no acknowledgement, no reset");
    assert_eq!(device.client.open(), 0);
    device.advance(Duration::from_secs(300));
    assert_eq!((device.sent(), device.events()), (vec![], vec![]), "nothing is repeated");
}

/// §3.2: messages are cut anywhere, and several come at once.
#[test]
fn messages_are_cut_anywhere() {
    for piece in [1, 2, 3, 7, 10_000] {
        let mut device = Device::new();
        device.ask(get("a"));
        device.opened();
        let token = device.tokens().remove(0);
        let long = "v".repeat(300);
        let all = [frame(&csm()), frame(&content(&token, &long)), frame(&Msg::con(PING, 0))];
        for chunk in all.concat().chunks(piece) {
            device.client.handle_bytes(device.now, chunk);
        }
        assert_eq!(device.events(), [format!("1 answered {long:?}")], "in pieces of {piece}");
        assert!(device.sent().contains(&"Pong".to_owned()));
    }
}

/// §4.2: a WebSocket carries the same messages with Len 0.
#[test]
fn a_websocket_carries_the_same_messages() {
    let mut device = Device::new();
    device.ask(get("a"));
    device.opened();
    let token = device.tokens().remove(0);
    device.client.handle_message(device.now, &web(&csm()));
    device.client.handle_message(device.now, &web(&content(&token, "v")));
    assert_eq!(device.events(), ["1 answered \"v\""]);
    device.ask(get("b"));
    device.client.handle_message(device.now, &frame(&content(&token, "v")));
    assert!(device.events()[0].contains("Len is 0 on a WebSocket"));
    assert!(device.sent().last().unwrap().starts_with("Abort"));
}

/// §3.4: Empty messages are ignored, also before the CSM.
#[test]
fn empty_messages_are_ignored() {
    let mut device = Device::new();
    device.ask(get("a"));
    device.opened();
    device.sent();
    device.client.handle_bytes(device.now, &[0, 0, 0, 0]);
    device.say(&csm());
    assert_eq!((device.sent(), device.events()), (vec![], vec![]));
}

/// §5.4: a Ping of ours is answered by its Pong; theirs is answered at once, with Custody if that is
/// asked, because all that came before it is done with.
#[test]
fn pings_of_both_sides() {
    let mut device = Device::open();
    device.client.ping(device.now);
    assert_eq!(device.sent(), ["Ping t=*"]);
    let token = device.tokens().remove(0);
    device.say(&Msg::con(PONG, 0).token(b"other"));
    device.say(&content(&token, "no Pong"));
    assert_eq!(device.events(), NOTHING);
    device.say(&Msg::con(PONG, 0).token(&token));
    assert_eq!(device.events(), ["1 pong"]);
    // libcoap's 4.3 leaves the token out.
    device.client.ping(device.now);
    device.client.ping(device.now);
    device.say(&Msg::con(PONG, 0));
    device.say(&Msg::con(PONG, 0));
    assert_eq!(device.events(), ["2 pong", "3 pong"]);
    device.sent();
    device.say(&Msg::con(PING, 0).token(b"t"));
    device.say(&Msg::con(PING, 0).opt(2, b""));
    assert_eq!(device.sent(), ["Pong t=74", "Pong 2="]);
}

/// §5.5: what is in flight is answered; then the connection ends, and what is asked meanwhile goes by
/// another, not before Hold-Off is over.
#[test]
fn after_a_release_requests_go_elsewhere() {
    let mut device = Device::open();
    device.ask(get("a"));
    device.sent();
    let token = device.tokens().remove(0);
    device.say(&Msg::con(RELEASE, 0).opt(4, &[5]).opt(2, b"a.example").body(b"bye"));
    device.ask(get("b"));
    assert_eq!((device.sent(), device.wanted()), (vec![], vec![]), "in flight");
    device.say(&content(&token, "1"));
    assert_eq!(device.events(), ["1 answered \"1\""]);
    assert_eq!(device.wanted(), [Wanted::Close]);
    device.closed();
    assert_eq!((device.wanted(), device.events()), (vec![], vec![]), "held off");
    device.advance(Duration::from_secs(4));
    assert_eq!(device.wanted(), []);
    device.advance(Duration::from_secs(1));
    assert_eq!(device.wanted(), [Wanted::Open]);
    device.opened();
    assert_eq!(device.sent(), ["CSM 2=010200 4=", "0.01 t=* 11=62"]);
    // What it does not answer before it closes is lost.
    device.say(&csm());
    device.say(&Msg::con(RELEASE, 0).body(b"bye"));
    device.closed();
    assert_eq!(device.events(), ["2 lost: the server released the connection: bye"]);
}

/// A server that sends every request elsewhere does not keep us for ever.
#[test]
fn releases_in_a_row_are_counted() {
    let mut device = Device::new();
    device.ask(Request::new(Method::Put, "a").payload(vec![b'v'; 2_000]));
    for _ in 0..3 {
        assert_eq!(device.wanted(), [Wanted::Open]);
        device.opened();
        // Before its CSM ends: the large body has not been sent.
        device
            .client
            .handle_bytes(device.now, &[frame(&csm()), frame(&Msg::con(RELEASE, 0))].concat());
        device.wanted();
        device.closed();
        if !device.events().is_empty() {
            return;
        }
    }
    panic!("the request is asked for ever");
}

/// §5.6: an Abort ends it, and its diagnostic is told.
#[test]
fn an_abort_says_why() {
    let mut device = Device::open();
    device.ask(get("a"));
    device.say(&Msg::con(ABORT, 0).body(b"too much"));
    assert_eq!(device.events(), ["1 lost: the server aborted the connection: too much"]);
    assert_eq!(device.wanted(), [Wanted::Close]);
    device.closed();
    assert_eq!((device.events(), device.wanted()), (vec![], vec![]));
    device.ask(get("b"));
    assert_eq!(device.wanted(), [Wanted::Open]);
    device.closed();
    assert_eq!(device.events(), ["2 lost: there is no connection to the server"]);
}

/// How a connection ends without a word.
#[test]
fn ends_are_told_apart() {
    let mut device = Device::new();
    device.ask(get("a"));
    device.opened();
    device.closed();
    let early = "the server closed the connection before it said that it speaks CoAP (its CSM)";
    assert_eq!(device.events(), [format!("1 lost: {early}")]);
    device.ask(get("b"));
    device.opened();
    device.sent();
    device.advance(Duration::from_secs(9));
    assert_eq!(device.events(), NOTHING);
    device.advance(Duration::from_secs(1));
    let silent = "the server did not say that it speaks CoAP (its CSM) within 10 s";
    assert_eq!(device.events(), [format!("2 lost: {silent}")]);
    assert_eq!(device.sent(), ["Abort \"no CSM has come\""]);
    let mut device = Device::open();
    device.ask(get("a"));
    device.closed();
    assert_eq!(device.events(), ["1 lost: the server closed the connection"]);
    assert_eq!(
        Loss::Aborted { text: String::new() }.to_string(),
        "the server aborted the connection"
    );
}

/// §3.3: a first message that is no CSM; §5.6: message format errors; §5.3.1: what is longer than we
/// take, by its header alone. Each is answered by an Abort that says why.
#[test]
fn what_is_against_the_rules_aborts() {
    for (bytes, why) in [
        (&[0x00, 0xe2][..], "its first message is no CSM"),
        (&[0x00, 0xe1, 0x09], "a token of more than 8 bytes"),
        (&[0x00, 0xe1, 0x10, 0x45, 0xff], "options or payload are malformed"),
        (&[0x00, 0xe1, 0x00, 0x20], "a code of a reserved class"),
        (
            &[0x00, 0xe1, 0xf0, 0, 1, 0, 0, 0x45],
            "a message of more than the 66048 bytes that we take",
        ),
        (&[0x10, 0xe1, 0x10], "critical option 1 is not understood"),
        (&[0x00, 0xe1, 0x10, 0xe2, 0x10], "critical option 1 is not understood"),
    ] {
        let mut device = Device::new();
        device.ask(get("a"));
        device.opened();
        device.sent();
        device.client.handle_bytes(device.now, bytes);
        let lost = format!("1 lost: the server broke the rules of the connection: {why}");
        assert_eq!(device.events(), [lost]);
        let named = if bytes[..2] == [0x10, 0xe1] { " 2=01" } else { "" };
        assert_eq!(device.sent(), [format!("Abort{named} {why:?}")]);
        assert_eq!(device.wanted(), [Wanted::Close]);
        device.client.handle_bytes(device.now, &[0x00, 0xe2]);
        assert_eq!(device.sent(), NOTHING, "nothing is heard after it");
    }
}

/// §5.2: elective options and codes that are not assigned are ignored.
#[test]
fn what_is_not_known_of_signals_is_ignored() {
    let mut device = Device::new();
    device.ask(get("a"));
    device.opened();
    device.sent();
    let token = device.tokens().remove(0);
    device.say(&Msg::con(CSM, 0).opt(6, b"?"));
    device.say(&Msg::con(0xe9, 0));
    device.say(&content(&token, "v"));
    assert_eq!((device.events(), device.sent()), (vec!["1 answered \"v\"".to_owned()], vec![]));
}

/// A server may ask, too: this is a client alone.
#[test]
fn a_request_of_the_server_is_refused() {
    let mut device = Device::open();
    device.say(&Msg::con(GET, 0).token(b"t").path("x"));
    assert_eq!(device.sent(), ["5.01 t=74 \"this is a client alone\""]);
}

/// RFC 7252 §5.4.1: the answer is not used; the connection goes on.
#[test]
fn a_critical_option_spoils_its_answer_alone() {
    let mut device = Device::open();
    device.ask(get("a"));
    device.ask(get("b"));
    device.sent();
    let tokens = device.tokens();
    device.say(&content(&tokens[0], "v").opt(65_001, b""));
    device.say(&content(&tokens[1], "v"));
    let events = device.events();
    assert!(events[0].starts_with("1 broken: the 2.05 response has critical option 65001"));
    assert_eq!(events[1], "2 answered \"v\"");
}

/// §7.1: notifications come in order, whatever Observe says; §7.4: a GET with Observe 1 and the token of
/// the registration cancels.
#[test]
fn an_observation_and_its_end() {
    let mut device = Device::open();
    let id = device.ask(get("a").observe());
    assert_eq!(device.sent(), ["0.01 t=* observe 11=61"]);
    let token = device.tokens().remove(0);
    for (number, value) in [(&b"\x09"[..], "1"), (b"\x09", "2"), (b"", "3"), (b"\x01", "4")] {
        device.say(&observed(&token, number, value));
    }
    let told = ["1 answered \"1\"", "1 notified \"2\"", "1 notified \"3\"", "1 notified \"4\""];
    assert_eq!(device.events(), told);
    device.advance(Duration::from_secs(300));
    assert_eq!((device.sent(), device.events()), (vec![], vec![]), "for as long as it lasts");
    device.client.deregister(device.now, id);
    assert_eq!(device.sent(), ["0.01 t=* observe 11=61"]);
    assert_eq!(device.tokens().remove(0), token);
    device.say(&observed(&token, b"", "under way"));
    device.say(&content(&token, "last"));
    assert_eq!(device.events(), ["1 answered \"last\""]);
    assert_eq!(device.client.open(), 0);
}

/// §7.4: an observation ends with its connection, and is registered again over the next, under its
/// token.
#[test]
fn an_observation_is_registered_again() {
    let mut device = Device::open();
    let id = device.ask(get("a").observe());
    device.sent();
    let token = device.tokens().remove(0);
    device.say(&observed(&token, b"", "1"));
    device.closed();
    assert_eq!(device.events(), ["1 answered \"1\"", "1 lost: the server closed the connection"]);
    assert_eq!((device.wanted(), device.client.open()), (vec![], 1), "it is for the caller to say");
    for _ in 0..2 {
        assert!(device.client.reregister(device.now, id));
        assert_eq!(device.wanted(), [Wanted::Open]);
        device.closed();
        assert_eq!(device.events(), ["1 lost: there is no connection to the server"]);
    }
    assert!(device.client.reregister(device.now, id));
    device.wanted();
    device.opened();
    assert_eq!(device.sent(), ["CSM 2=010200 4=", "0.01 t=* observe 11=61"]);
    assert_eq!(device.tokens().remove(0), token);
    device.say(&csm());
    device.say(&observed(&token, b"", "2"));
    assert_eq!(device.events(), ["1 answered \"2\""]);
    // A Release ends it, too, at once: nothing else is in flight.
    device.say(&Msg::con(RELEASE, 0));
    assert_eq!(device.events(), ["1 lost: the server released the connection"]);
    assert_eq!(device.wanted(), [Wanted::Close]);
    device.client.deregister(device.now, id);
    assert_eq!((device.client.open(), device.sent()), (0, vec![]), "nothing is left to end");
}

/// Who leaves says so.
#[test]
fn a_client_that_leaves_releases() {
    let mut device = Device::open();
    device.ask(get("a"));
    device.sent();
    device.client.disconnect();
    assert_eq!((device.sent(), device.wanted()), (vec!["Release".to_owned()], vec![Wanted::Close]));
    device.closed();
    assert_eq!((device.events(), device.client.open()), (vec![], 0));
}

proptest! {
    /// Whatever a server sends, in whatever pieces.
    #[test]
    fn no_bytes_panic(chunks in proptest::collection::vec(
        proptest::collection::vec(any::<u8>(), 0..40), 0..6,
    ), csm_first in any::<bool>(), web in any::<bool>()) {
        let mut device = Device::new();
        device.ask(get("a").observe());
        device.opened();
        if csm_first {
            device.say(&csm());
        }
        for chunk in chunks {
            if web {
                device.client.handle_message(device.now, &chunk);
            } else {
                device.client.handle_bytes(device.now, &chunk);
            }
            device.events();
            device.sent();
        }
        device.closed();
    }
}
