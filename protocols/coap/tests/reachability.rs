//! Answers to peers whose address is in doubt (RFC 9175 §2.3, §2.4; RFC 7252 §11.3; RFC 7641 §7),
//! and to peers that ask too much or are not heard of (RFC 8516, RFC 7252 §4.7).
#![allow(missing_docs, clippy::unwrap_used, clippy::cast_possible_truncation)]

mod support;

use std::time::Duration;

use coap_lite::{CoapOption, Packet};
use motegate_coap::endpoint::{Code, Event, Observe, Response};
use motegate_coap::{Config, EchoWhen, Unverified};
use motegate_message::Reason;
use support::{GET, Msg, PUT, Server, content};

const OBSERVE: u16 = 6;
const ACCEPT: u16 = 17;
const BLOCK2: u16 = 23;
const ECHO: u16 = 252;
const NO_RESPONSE: u16 = 258;
const PUBLIC: [u8; 4] = [192, 0, 2, 1];
/// Ethernet, IPv4 and UDP.
const HEADERS: usize = 42;

fn server(echo: EchoWhen) -> Server {
    let unverified = Unverified { echo, ..Unverified::default() };
    let mut server = Server::with(Config { unverified, ..Config::default() });
    server.ip = PUBLIC;
    server
}

fn large(length: usize) -> Response {
    Response { etag: Some(1), content_format: Some(0), ..content(&"v".repeat(length)) }
}

/// Sends a GET, answers it if it comes up; the answer, which is within the factor unless `any`.
fn get(server: &mut Server, msg: &Msg, length: usize, any: bool) -> Packet {
    if server.msg(1, msg).is_empty() {
        let exchange = server.request().exchange;
        server.respond(exchange, large(length));
    }
    assert_eq!(server.sent.len(), 1, "one datagram for one");
    let (came, left) = (msg.bytes().len() + HEADERS, server.sent[0].1.len() + HEADERS);
    assert!(any || left <= 3 * came, "{left} bytes for {came}");
    Packet::from_bytes(&server.sent[0].1).unwrap()
}

fn code(packet: &Packet) -> String {
    packet.header.get_code()
}

fn echo(packet: &Packet) -> Vec<u8> {
    packet.get_first_option(CoapOption::from(ECHO)).expect("an Echo option").clone()
}

fn has_echo(packet: &Packet) -> bool {
    packet.get_first_option(CoapOption::from(ECHO)).is_some()
}

/// RFC 9175 §2.4: a client without Echo gets all of it, in blocks that are small enough.
#[test]
fn a_large_value_comes_in_small_blocks_to_an_address_in_doubt() {
    let mut server = server(EchoWhen::Auto);
    let (mut whole, mut number, mut exponent) = (0, 0_u32, 6);
    for id in 1.. {
        let value = (number << 4 | exponent).to_be_bytes();
        let msg = Msg::con(GET, id).token(b"t").path("mqtt/v");
        // The first request does not name a size.
        let msg = if id == 1 { msg } else { msg.opt(BLOCK2, &value[2..]) };
        let answer = get(&mut server, &msg, 1_000, false);
        assert_eq!(code(&answer), "2.05");
        let option = answer.get_first_option(CoapOption::Block2).unwrap();
        let block = option.iter().fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte));
        exponent = block & 7;
        assert_eq!((block >> 4, block & 7), (number, 2), "as large as fits");
        whole += answer.payload.len();
        number += 1;
        if block & 8 == 0 {
            break;
        }
        assert_eq!(has_echo(&answer), id == 1, "who sends it back gets larger ones");
    }
    assert_eq!(whole, 1_000);
    assert_eq!(server.endpoint.counters().answers_limited, 1, "the others asked for little");
    assert_eq!(server.endpoint.counters().echo_challenges, 0);
}

/// RFC 9175 §2.3: any response may carry Echo, and the next request proves the address.
#[test]
fn an_echo_that_comes_back_proves_the_address() {
    let mut server = server(EchoWhen::Auto);
    let first = get(&mut server, &Msg::con(GET, 1).path("x"), 1_000, false);
    let echo = echo(&first);
    let again = Msg::con(GET, 2).path("x").opt(ECHO, &echo);
    let answer = get(&mut server, &again, 1_000, true);
    assert_eq!((code(&answer).as_str(), answer.payload.len()), ("2.05", 1_000));
    assert!(!has_echo(&answer));
    assert_eq!(server.endpoint.counters().echoes, 1);
    // It need not be said again, for a while.
    let ask = |server: &mut Server, id| get(server, &Msg::con(GET, id).path("x"), 1_000, true);
    assert_eq!(ask(&mut server, 3).payload.len(), 1_000);
    for id in 4..34 {
        server.advance(Duration::from_secs(120));
        ask(&mut server, id);
    }
    assert_eq!(ask(&mut server, 40).payload.len(), 32, "an hour later it is in doubt again");
    // Another port of the host may use the option, another host may not.
    let again = Msg::con(GET, 50).path("x").opt(ECHO, &echo);
    server.advance(Duration::from_secs(600));
    assert!(get(&mut server, &again, 1_000, false).payload.len() < 1_000, "too old");
}

#[test]
fn an_echo_of_another_host_proves_nothing() {
    let mut server = server(EchoWhen::Auto);
    let stolen = echo(&get(&mut server, &Msg::con(GET, 1).path("x"), 1_000, false));
    server.ip = [192, 0, 2, 2];
    let msg = Msg::con(GET, 1).path("x").opt(ECHO, &stolen);
    assert!(has_echo(&get(&mut server, &msg, 1_000, false)));
    for wrong in [&b"x"[..], &[0; 12], &[7; 40]] {
        let msg = Msg::con(GET, 2 + wrong.len() as u16).path("x").opt(ECHO, wrong);
        assert!(has_echo(&get(&mut server, &msg, 1_000, false)), "{wrong:?}");
    }
    assert_eq!(server.endpoint.counters().echoes, 0);
}

/// RFC 7641 §7: notifications are larger and more than what asked for them, so nothing is observed
/// before the address is proved; the request with the Echo option registers.
#[test]
fn to_observe_an_address_must_be_proved() {
    for mode in [EchoWhen::Auto, EchoWhen::Always] {
        let mut server = server(mode);
        let register = Msg::con(GET, 1).token(b"t").opt(OBSERVE, &[]).path("x");
        let sent = server.msg(1, &register);
        let answer = Packet::from_bytes(&server.sent[0].1).unwrap();
        assert!(sent[0].starts_with("ACK 4.01 #1 t=74 252="), "{sent:?}");
        assert!(sent[0].ends_with("\"send it again with this Echo option\""), "{sent:?}");
        assert!(server.sent[0].1.len() + HEADERS <= 3 * (register.bytes().len() + HEADERS));
        server.no_request();
        let msg = Msg::con(GET, 2).token(b"u").opt(OBSERVE, &[]).path("x");
        server.msg(1, &msg.opt(ECHO, &echo(&answer)));
        let request = server.request();
        assert_eq!(request.observe, Some(Observe::Register));
        let turn = server.turn();
        let observation = server.endpoint.observe(&turn, request.exchange).unwrap();
        let response = Response { observe: Some(observation), ..content("1") };
        server.respond(request.exchange, response);
        assert_eq!(server.notify(observation, 1, "2"), ["NON 2.05 #* t=75 observe \"2\""]);
        // The end of an observation needs no proof.
        server.ip = [192, 0, 2, 9];
        server.events.clear();
        server.msg(1, &Msg::con(GET, 1).token(b"t").opt(OBSERVE, &[1]).path("x"));
        assert_eq!(server.request().observe, Some(Observe::Deregister));
    }
}

/// `always`: who does not prove its address gets nothing that is large, from wherever it asks.
#[test]
fn always_asks_everybody_for_an_echo() {
    let mut server = server(EchoWhen::Always);
    server.ip = [127, 0, 0, 1];
    let answer = get(&mut server, &Msg::con(GET, 1).token(b"t").path("x"), 1_000, false);
    assert_eq!(code(&answer), "4.01");
    assert_eq!(server.endpoint.counters().echo_challenges, 1);
    let msg = Msg::con(GET, 2).path("x").opt(ECHO, &echo(&answer));
    assert_eq!(get(&mut server, &msg, 1_000, true).payload.len(), 1_000);
    // Little is little, and what writes is not done twice for an answer.
    server.ip = PUBLIC;
    let answer = get(&mut server, &Msg::con(GET, 1).path("x"), 4, false);
    assert_eq!((code(&answer).as_str(), has_echo(&answer)), ("2.05", false));
    server.msg(1, &Msg::con(PUT, 2).path("x").body(b"v"));
    let exchange = server.request().exchange;
    assert_eq!(server.respond(exchange, Response::new(Code::CHANGED)), ["ACK 2.04 #2"]);
    // A block that fits is no amplification.
    let msg = Msg::con(GET, 3).path("x").opt(BLOCK2, &[1]);
    assert_eq!(code(&get(&mut server, &msg, 1_000, false)), "2.05");
}

/// A NON is answered by a NON, a late answer too: an Echo is never repeated (RFC 9175 §2.4).
#[test]
fn a_challenge_is_never_repeated() {
    let mut server = server(EchoWhen::Always);
    let sent = server.msg(1, &Msg::non(GET, 1).token(b"t").opt(OBSERVE, &[]).path("x"));
    assert!(sent[0].starts_with("NON 4.01 #* t=74 252="), "{sent:?}");
    assert!(server.msg(1, &Msg::con(GET, 2).token(b"s").path("x")).is_empty());
    let exchange = server.request().exchange;
    assert_eq!(server.texts(Duration::from_secs(2)), ["ACK 0.00 #2"]);
    let sent = server.respond(exchange, large(1_000));
    assert!(sent[0].starts_with("NON 4.01 #* t=73 252="), "{sent:?}");
    assert_eq!(server.texts(Duration::from_secs(100)), Vec::<String>::new());
}

#[test]
fn the_own_network_and_off_have_no_bound() {
    for (mode, ip) in [(EchoWhen::Auto, [10, 0, 0, 9]), (EchoWhen::Off, PUBLIC)] {
        let mut server = server(mode);
        server.ip = ip;
        let answer = get(&mut server, &Msg::con(GET, 1).path("x"), 1_000, true);
        assert_eq!(answer.payload.len(), 1_000);
        let register = Msg::con(GET, 2).token(b"t").opt(OBSERVE, &[]).path("x");
        assert!(server.msg(1, &register).is_empty());
        server.request();
    }
}

/// An acknowledgement of a message of ours comes from that address.
#[test]
fn an_acknowledgement_proves_the_address() {
    let mut server = server(EchoWhen::Auto);
    server.msg(1, &Msg::con(GET, 1).path("x"));
    let exchange = server.request().exchange;
    server.texts(Duration::from_secs(2));
    server.respond(exchange, content("late"));
    let id = server.last_id();
    assert_eq!(get(&mut server, &Msg::con(GET, 2).path("x"), 1_000, false).payload.len(), 32);
    server.msg(1, &Msg::ack(id));
    assert_eq!(get(&mut server, &Msg::con(GET, 3).path("x"), 1_000, true).payload.len(), 1_000);
}

/// An error says less rather than more than it may.
#[test]
fn a_long_diagnostic_text_is_left_out() {
    let mut server = server(EchoWhen::Auto);
    server.msg(1, &Msg::con(PUT, 1).path("x").body(b"v"));
    let exchange = server.request().exchange;
    let sent = server.respond(exchange, Response::error(Code::BAD_REQUEST, "y".repeat(900)));
    assert_eq!(sent, ["ACK 4.00 #1"]);
}

/// Our own client sends an Echo back, whatever it asks for (RFC 9175 §2.3).
#[test]
fn our_client_proves_its_address() {
    use motegate_coap::client::{self, Client};
    use motegate_coap::endpoint::Method;
    for (mode, observe, most) in [
        (EchoWhen::Always, false, 1),
        (EchoWhen::Always, true, 1),
        (EchoWhen::Auto, true, 1),
        (EchoWhen::Auto, false, 0),
    ] {
        let mut server = server(mode);
        let mut client = Client::new(Config::default(), 2);
        let request = client::Request { observe, ..client::Request::new(Method::Get, "x") };
        client.request(server.now, request);
        while let Some(bytes) = client.poll_transmit() {
            server.recv(1, &bytes);
            let mut answers = server.sent.clone();
            if let Some(Event::Request(request)) = server.events.pop() {
                let turn = server.turn();
                let observe = server.endpoint.observe(&turn, request.exchange);
                server.respond(request.exchange, Response { observe, ..large(3_000) });
                answers.append(&mut server.sent);
            }
            answers.iter().for_each(|(_, bytes)| client.handle_datagram(server.now, bytes));
        }
        let Some(client::Event::Response { response, .. }) = client.poll_event() else {
            panic!("an answer")
        };
        assert_eq!((response.code, response.payload.len()), (Code::CONTENT, 3_000), "{mode:?}");
        assert_eq!(response.observe.is_some(), observe);
        assert_eq!(server.endpoint.counters().echo_challenges, most);
        assert_eq!(server.endpoint.counters().echoes, 1, "once is enough");
    }
}

/// A server that wants Echo for ever gets its 4.01 reported.
#[test]
fn our_client_does_not_go_round_in_circles() {
    use motegate_coap::client::{self, Client};
    use motegate_coap::endpoint::Method;
    let mut client = Client::new(Config::default(), 2);
    let mut rounds = 0;
    client.request(motegate_timers::Instant::ZERO, client::Request::new(Method::Get, "x"));
    while let Some(bytes) = client.poll_transmit() {
        rounds += 1;
        let asked = Packet::from_bytes(&bytes).unwrap();
        assert_eq!(has_echo(&asked), rounds > 1);
        let answer = Msg::ack_with(0x81, asked.header.message_id).token(asked.get_token());
        let answer = answer.opt(ECHO, &[rounds]).bytes();
        client.handle_datagram(motegate_timers::Instant::ZERO, &answer);
    }
    assert_eq!(rounds, 3);
    let Some(client::Event::Response { response, .. }) = client.poll_event() else { panic!() };
    assert_eq!(response.code, Code::UNAUTHORIZED);
}

/// Nothing is remembered of those that do not come back, beyond the entry of their request.
#[test]
fn a_flood_of_false_addresses_leaves_nothing() {
    let mut server = server(EchoWhen::Always);
    for host in 0..2_000_u16 {
        let [high, low] = host.to_be_bytes();
        server.ip = [198, 51, high, low];
        server.msg(1, &Msg::non(GET, 1).token(b"t").opt(OBSERVE, &[]).path("x"));
    }
    server.no_request();
    assert_eq!(server.endpoint.observations(), 0);
    server.advance(Duration::from_secs(145 + 247 + 10));
    assert_eq!((server.endpoint.peers(), server.endpoint.deduplication_entries()), (0, 0));
}

/// RFC 8516 §3: 4.29 with Max-Age; nothing is done, and the same request may come again.
#[test]
fn a_peer_that_asks_too_much_is_told_when_to_come_back() {
    let mut server = Server::with(Config { max_request_rate: 3, ..Config::default() });
    for id in 1..=3 {
        assert!(server.msg(1, &Msg::con(PUT, id).path("x")).is_empty());
        let exchange = server.request().exchange;
        server.respond(exchange, Response::new(Code::CHANGED));
    }
    let fourth = Msg::con(PUT, 4).token(b"t").path("x");
    // The first request of a peer is not counted: nothing was known of it.
    server.msg(1, &fourth);
    let exchange = server.request().exchange;
    server.respond(exchange, Response::new(Code::CHANGED));
    let fifth = Msg::con(PUT, 5).token(b"t").path("x");
    let sent = server.msg(1, &fifth);
    assert_eq!(sent, ["ACK 4.29 #5 t=74 14=01 \"at most 3 requests a second\""]);
    assert_eq!(server.msg(1, &Msg::con(PUT, 1).path("x")), ["ACK 2.04 #1"], "a repetition is none");
    assert!(server.msg(1, &Msg::non(PUT, 6).path("x"))[0].starts_with("NON 4.29 #* 14=01 "));
    assert!(server.msg(1, &Msg::non(PUT, 7).path("x").opt(NO_RESPONSE, &[8])).is_empty());
    let silent = Msg::con(PUT, 8).path("x").opt(NO_RESPONSE, &[8]);
    assert_eq!(server.msg(1, &silent), ["ACK 0.00 #8"]);
    server.no_request();
    assert!(server.dropped.contains(&Reason::RateLimited));
    assert_eq!(server.endpoint.counters().rate_limited, 4);
    assert!(server.msg(2, &Msg::con(PUT, 1).path("x")).is_empty(), "another peer");
    server.advance(Duration::from_secs(1));
    server.events.clear();
    assert!(server.msg(1, &fifth).is_empty());
    server.request();
}

/// RFC 9290 §2, RFC 7252 §5.5.2: errors are problem details for those that accept them.
#[test]
fn errors_are_problem_details_where_they_are_asked_for() {
    let mut server = Server::new();
    let ask = |code, id| Msg::con(code, id).path("x").opt(ACCEPT, &[1, 1]);
    server.msg(1, &ask(GET, 1));
    let exchange = server.request().exchange;
    server.respond(exchange, Response::error(Code::NOT_FOUND, "no value"));
    let packet = Packet::from_bytes(&server.sent[0].1).unwrap();
    assert_eq!(packet.get_first_option(CoapOption::ContentFormat).unwrap()[..], [1, 1]);
    assert_eq!(packet.payload, b"\xa2\x20\x69Not Found\x21\x68no value");
    // What this layer refuses, too.
    let sent = server.msg(1, &ask(PUT, 2).opt(65_001, b""));
    assert!(sent[0].starts_with("ACK 4.02 #2 12=0101 "), "{sent:?}");
    assert!(sent[0].contains("Bad Option"));
    // A success is what it is, and so is an error for everybody else.
    server.msg(1, &ask(PUT, 3));
    let exchange = server.request().exchange;
    assert_eq!(server.respond(exchange, Response::new(Code::CHANGED)), ["ACK 2.04 #3"]);
    assert!(server.msg(1, &Msg::con(9, 4).path("x"))[0].starts_with("ACK 4.05 #4 \""));
}

/// RFC 7967 §2: errors that this layer makes are silenced as well, and a CON is acknowledged.
#[test]
fn no_response_holds_for_what_is_refused_early() {
    let mut server = Server::new();
    let bad = |msg: Msg, bits: &[u8]| msg.opt(11, b"\xff").opt(NO_RESPONSE, bits);
    assert!(server.msg(1, &bad(Msg::non(GET, 1), &[8])).is_empty());
    assert_eq!(server.msg(1, &bad(Msg::con(GET, 2), &[8])), ["ACK 0.00 #2"]);
    assert!(server.msg(1, &bad(Msg::non(GET, 3), &[2]))[0].starts_with("NON 4.00"));
    // An illegal length is as if the option were not there (RFC 7252 §5.4.3: elective).
    assert!(server.msg(1, &bad(Msg::non(GET, 4), &[0, 8]))[0].starts_with("NON 4.00"));
}

/// RFC 7252 §4.7: a peer that does not answer is probed by one message, and sent nothing beside it.
#[test]
fn nothing_else_leaves_for_a_peer_that_is_not_heard() {
    let mut server = Server::new();
    let first = server.register(1, 1, b"a", "0");
    let second = server.register(1, 2, b"b", "0");
    assert_eq!(server.notify_con(first, 1, "1").len(), 1);
    assert_eq!(server.notify(second, 1, "1").len(), 1, "not repeated yet");
    let mut left = server.texts(Duration::from_secs(4)).len();
    assert_eq!(left, 1);
    for delivery in 2..100 {
        assert!(server.notify(second, delivery, "2").is_empty());
        left += server.texts(Duration::from_secs(1)).len();
    }
    // Four repetitions; then the first observation is over and the second is the probe.
    assert!((5..=10).contains(&left), "{left}");
    assert_eq!(server.endpoint.observations(), 1);
    server.advance(Duration::from_secs(100));
    assert_eq!(server.endpoint.observations(), 0);
    assert!(server.events.iter().any(|event| matches!(event, Event::ObservationEnded { .. })));
}

/// The first notification after an hour of silence is confirmable.
#[test]
fn a_notification_after_a_silence_is_confirmable() {
    let mut server = Server::new();
    let observation = server.register(1, 1, b"t", "0");
    server.advance(Duration::from_secs(3_599));
    assert!(server.notify(observation, 1, "1")[0].starts_with("NON"));
    server.advance(Duration::from_secs(3_600));
    assert!(server.notify(observation, 2, "2")[0].starts_with("CON"));
    let id = server.last_id();
    server.msg(1, &Msg::ack(id));
    assert!(server.notify(observation, 3, "3")[0].starts_with("NON"));
}
