//! Every kind of message in every state of an exchange, in one table to look at: what is sent and
//! what the layer above hears.
#![allow(missing_docs, clippy::unwrap_used, clippy::cast_possible_truncation)]

mod support;

use std::fmt::Write;
use std::time::Duration;

use motegate_coap::endpoint::Event;
use support::{DELETE, GET, Msg, POST, PUT, Server, content};

const STATES: [&str; 10] = [
    "unknown peer",
    "same CON in progress",
    "same CON acknowledged, not answered",
    "same CON answered",
    "same CON answered separately, outstanding",
    "same CON answered separately, acknowledged",
    "same NON answered",
    "other request with the id",
    "observing",
    "observing, CON notification outstanding",
];

/// Brings a server into a state in which `id` and token `t` mean something to it.
fn server_in(state: &str, msg: &Msg) -> Server {
    let mut server = Server::new();
    let answer_by = |server: &mut Server, msg: &Msg, wait: u64| {
        server.msg(1, msg);
        let Some(Event::Request(request)) = server.events.pop() else { return };
        server.advance(Duration::from_secs(wait));
        server.respond(request.exchange, content("v"));
    };
    match state {
        "same CON in progress" => {
            server.msg(1, msg);
        }
        "same CON acknowledged, not answered" => {
            server.msg(1, msg);
            server.advance(Duration::from_secs(1));
        }
        "same CON answered" | "same NON answered" => answer_by(&mut server, msg, 0),
        "same CON answered separately, outstanding" => answer_by(&mut server, msg, 1),
        "same CON answered separately, acknowledged" => {
            answer_by(&mut server, msg, 1);
            if !server.sent.is_empty() {
                let id = server.last_id();
                server.msg(1, &Msg::ack(id));
            }
        }
        "other request with the id" => {
            answer_by(&mut server, &Msg::con(PUT, 1).token(b"o").path("other"), 0);
        }
        "observing" => {
            server.register(1, 50, b"t", "v");
        }
        "observing, CON notification outstanding" => {
            let observation = server.register(1, 50, b"t", "v");
            server.notify_con(observation, 1, "w");
        }
        _ => {}
    }
    server.events.clear();
    server.dropped.clear();
    server
}

fn describe(server: &Server) -> String {
    let mut parts = server.shown();
    for event in &server.events {
        parts.push(match event {
            Event::Request(request) => {
                let observe = request.observe.map(|o| format!(" {o:?}")).unwrap_or_default();
                format!("up: {:?}{observe}", request.method)
            }
            Event::ObservationEnded { reason, .. } => format!("up: ended {reason}"),
            Event::Notified { delivery, .. } => format!("up: notified {}", delivery.0),
            Event::Dropped { .. } | Event::Discovery(_) => String::new(),
            other => format!("{other:?}"),
        });
    }
    parts.extend(server.dropped.iter().map(|reason| format!("dropped {reason}")));
    if parts.is_empty() { "nothing".into() } else { parts.join(", ") }
}

#[test]
fn every_kind_in_every_state() {
    let kinds: Vec<(&str, Msg)> = vec![
        ("CON GET", Msg::con(GET, 1).token(b"t").path("x")),
        ("CON GET observe", Msg::con(GET, 1).token(b"t").opt(6, &[]).path("x")),
        ("CON GET deregister", Msg::con(GET, 1).token(b"t").opt(6, &[1]).path("x")),
        ("CON PUT", Msg::con(PUT, 1).token(b"t").path("x").body(b"v")),
        ("CON POST", Msg::con(POST, 1).token(b"t").path("x").body(b"v")),
        ("CON DELETE", Msg::con(DELETE, 1).token(b"t").path("x")),
        ("CON FETCH", Msg::con(5, 1).token(b"t").path("x")),
        ("CON 0.08", Msg::con(8, 1).token(b"t").path("x")),
        ("CON unknown critical", Msg::con(GET, 1).token(b"t").opt(9, b"?")),
        ("CON 2.05", Msg::con(0x45, 1).token(b"t")),
        ("CON empty", Msg::con(0, 1)),
        ("NON GET", Msg::non(GET, 1).token(b"t").path("x")),
        ("NON PUT", Msg::non(PUT, 1).token(b"t").path("x").body(b"v")),
        ("NON unknown critical", Msg::non(GET, 1).token(b"t").opt(9, b"?")),
        ("NON 2.05", Msg::non(0x45, 1).token(b"t")),
        ("ACK", Msg::ack(1)),
        ("RST", Msg::rst(1)),
    ];
    let mut table = String::new();
    for state in STATES {
        writeln!(table, "\n== {state}").unwrap();
        for (name, msg) in &kinds {
            let is_non = name.starts_with("NON");
            let repeats = state.starts_with("same");
            if repeats && (is_non != state.starts_with("same NON") || name.len() < 4) {
                continue; // that state has no such message
            }
            let mut server = server_in(state, msg);
            server.msg(1, msg);
            writeln!(table, "{name:22}{}", describe(&server)).unwrap();
        }
    }
    // ACK and RST for what the server sent.
    for (name, reply) in [("ACK", Msg::ack as fn(u16) -> Msg), ("RST", Msg::rst)] {
        let mut server = server_in("observing, CON notification outstanding", &Msg::ack(0));
        let id = server.last_id();
        server.msg(1, &reply(id));
        writeln!(table, "{name} of it{:13}{}", "", describe(&server)).unwrap();
    }
    insta::assert_snapshot!(table);
}
