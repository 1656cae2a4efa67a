//! `get put post delete observe discover ping`: success against a gateway, and the usual failures.

mod common;

use common::Program;
use common::client::{
    Configured, Running, closed_udp, said, said_with_stdin, said_words, silent_udp,
};
use serde_json::Value;

/// `coap://127.0.0.1:PORT`.
fn url(addr: std::net::SocketAddr) -> String {
    format!("coap://{addr}")
}

#[test]
fn a_value_is_put_got_posted_over_and_deleted() {
    let gateway = Program::dev();
    let door = format!("{}/mqtt/site/door", url(gateway.address("coap")));
    let put = said(&format!("put {door} open"));
    assert_eq!(put.err, "2.01 Created\n");
    assert_eq!(put.good(), "");
    assert_eq!(said(&format!("put {door} -m ajar")).err, "2.04 Changed\n");
    let got = said(&format!("get {door}"));
    assert_eq!(got.err, "2.05 Content\n");
    assert_eq!(got.good(), "ajar\n");
    assert_eq!(said(&format!("post {door} -m now")).err, "2.04 Changed\n");
    assert_eq!(said(&format!("get {door} --no-newline -q")).good(), "ajar");
    let deleted = said(&format!("delete {door}"));
    assert_eq!(deleted.err, "2.02 Deleted\n");
    deleted.good();
    said(&format!("get {door}")).bad(4, &["4.04 Not Found", "try:"]);
}

#[test]
fn payloads_come_from_everywhere_and_keep_their_format() {
    let gateway = Program::dev();
    let addr = gateway.address("coap");
    let value = format!("{}/mqtt/v", url(addr));
    said_with_stdin(&format!("put {value} -s -t json"), "{\"a\":1}").good();
    let got = said(&format!("get {value} -o json")).good();
    let got: Value = serde_json::from_str(&got).unwrap();
    assert_eq!((&got["code"], &got["content_format"]), (&"2.05".into(), &50.into()));
    assert_eq!(got["payload"], "{\"a\":1}");
    assert_eq!(got["etag"].as_str().unwrap().len(), 16);
    said(&format!("get {value} -A cbor")).bad(4, &["4.06 Not Acceptable"]);
    said_with_stdin(&format!("put {value} -f -"), "from a file").good();
    // By host and path, and a NON request.
    let got = said(&format!("get -N --host localhost -p {} /mqtt/v -o ndjson", addr.port())).good();
    let got: Value = serde_json::from_str(&got).unwrap();
    assert_eq!(got["payload"], "from a file");
    said_words(&["put", &value, "two words", "--quiet"]).good();
    let debug = said(&format!("get {value} -d"));
    assert!(debug.err.contains("-> CON GET #") && debug.err.contains("<- ACK 2.05 #"));
    assert_eq!(debug.good(), "two words\n");
}

#[test]
fn an_observer_sees_every_value_until_it_has_enough() {
    let gateway = Program::dev();
    let door = format!("{}/mqtt/site/door", url(gateway.address("coap")));
    let text = Running::until("no value yet", &format!("observe {door} -C 2"));
    let json = Running::until("no value yet", &format!("observe {door} -o json"));
    let lines = Running::until("no value yet", &format!("observe {door} -o ndjson -C 1"));
    said(&format!("put {door} open")).good();
    assert_eq!(lines.end().0, Some(0));
    said(&format!("put {door} closed")).good();
    assert_eq!(text.end(), (Some(0), "open\nclosed\n".to_owned()));
    // A signal is a good end, and the array is closed.
    said(&format!("get {door}")).good();
    json.signal("INT");
    let (code, out) = json.end();
    let values: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &values[1]["payload"]), (Some(0), &"closed".into()));
    // The value of now comes first; then -D ends it.
    let now = said(&format!("observe {door} -D 0.2"));
    assert!(now.err.starts_with("2.05 Content\n"), "{}", now.err);
    assert_eq!(now.good(), "closed\n");
    let late = said(&format!("observe {door} -D 0.2 -C 2"));
    assert_eq!((late.code, late.out.as_str()), (Some(27), "closed\n"));
    assert!(late.err.contains("1 of 2 values"), "{}", late.err);
}

#[test]
fn discover_and_ping() {
    let gateway = Program::dev();
    let addr = gateway.address("coap");
    said(&format!("put {}/mqtt/site/door open", url(addr))).good();
    let found = said(&format!("discover {} -o json", url(addr))).good();
    let found: Value = serde_json::from_str(&found).unwrap();
    assert_eq!(found[0]["href"], "/mqtt");
    let root = found[0]["attributes"].as_array().unwrap();
    assert!(root.iter().any(|pair| pair[0] == "rt" && pair[1] == "core.ps"), "{root:?}");
    assert_eq!(found[1]["href"], "/mqtt/site/door");
    let rules = Configured::start(
        "discover",
        "version: 1\nlisteners:\n  - {protocol: coap, bind: \"127.0.0.1:0\", anonymous: true}\n\
         mappings:\n  coap:\n    - {name: lamp, path: /lamp, topic: site/lamp, methods: {GET: read, PUT: publish, \
         OBSERVE: subscribe}}\n",
    );
    let listed = url(rules.address("coap"));
    said(&format!("put {listed}/lamp on")).good();
    let found = said(&format!("discover {listed}"));
    assert_eq!(found.err, "2.05 Content\n");
    let lines = found.good();
    let starts: Vec<&str> = lines.lines().filter_map(|l| l.split_whitespace().next()).collect();
    assert_eq!(starts, ["/mqtt", "/lamp"]);
    let found = said(&format!("discover {listed} -o ndjson")).good();
    let found: Value = serde_json::from_str(found.lines().last().unwrap()).unwrap();
    assert_eq!(found["href"], "/lamp");
    assert!(found["attributes"].as_array().unwrap().iter().any(|pair| pair[0] == "obs"), "{found}");
    said(&format!("discover {listed}/?rt=nothing")).good();

    let pong = said(&format!("ping {}", url(addr))).good();
    assert!(pong.starts_with(&format!("coap://{addr} lives: ")) && pong.ends_with(" ms\n"));
    let pongs = said(&format!("ping {} -C 3 -i 0.01 -o ndjson", url(addr))).good();
    let pongs: Vec<Value> = pongs.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let seqs: Vec<_> = pongs.iter().map(|pong| pong["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, [1, 2, 3]);
    assert!(pongs.iter().all(|pong| pong["millis"].as_f64().unwrap() > 0.0));
}

const COMMANDS: [&str; 7] = ["get", "put", "post", "delete", "observe", "discover", "ping"];

/// What a command cannot do without.
fn rest(command: &str) -> &'static str {
    if command == "put" { " x" } else { "" }
}

#[test]
fn nobody_is_there() {
    for command in COMMANDS {
        let addr = closed_udp();
        let place = format!("nothing listens on {addr}/udp");
        said(&format!("{command} coap://{addr}/a{}", rest(command)))
            .bad(5, &[&place, "try: `motegate dev`"]);
    }
    said("get coap://no-such-host.invalid/a").bad(5, &["no host `no-such-host.invalid`", "try:"]);
}

#[test]
fn nobody_answers() {
    let (_silent, addr) = silent_udp();
    for command in COMMANDS {
        let words = ["timed out", "within 0.3 s", "try:"];
        said(&format!("{command} coap://{addr}/a -W 0.3{}", rest(command))).bad(27, &words);
    }
}

#[test]
fn the_gateway_refuses() {
    let gateway = Configured::closed("coap");
    let addr = gateway.address("coap");
    for command in COMMANDS.into_iter().filter(|command| *command != "ping") {
        let words = ["4.01 Unauthorized", "try:"];
        said(&format!("{command} coap://{addr}/mqtt/a{}", rest(command))).bad(4, &words);
    }
    said(&format!("ping coap://{addr}")).good();
    // What is in the way of a ping is a server that does not speak CoAP.
    let (rude, addr) = silent_udp();
    let server = std::thread::spawn(move || {
        let mut message = [0; 64];
        let (_, from) = rude.recv_from(&mut message).unwrap();
        // An answer of CoAP, but to a message that was never sent; then nothing.
        rude.send_to(&[0x70, 0, message[2], message[3].wrapping_add(1)], from).unwrap();
        rude
    });
    said(&format!("ping coap://{addr} -W 0.5")).bad(27, &["timed out"]);
    drop(server.join().unwrap());
}

#[test]
fn a_payload_may_begin_with_a_dash() {
    let gateway = Program::dev();
    let value = format!("{}/mqtt/v", url(gateway.address("coap")));
    for payload in ["-5", "-21.5", "-- --hello", "-- -5x", "-m -r", "-m --hello"] {
        said(&format!("put {value} {payload}")).good();
        let sent = payload.trim_start_matches("-- ").trim_start_matches("-m ");
        assert_eq!(said(&format!("get {value}")).good(), format!("{sent}\n"));
    }
}

/// The hint fits what was asked.
#[test]
fn a_hint_names_what_helps() {
    let gateway = Configured::start(
        "hints",
        "listeners: [{protocol: coap, bind: \"127.0.0.1:0\", anonymous: true}]\n\
         mappings: {coap: [{name: a, path: /a, topic: a, methods: {PUT: publish}}]}\n",
    );
    let server = url(gateway.address("coap"));
    for command in ["get", "delete", "observe"] {
        let discover = format!("`motegate discover {server}`");
        said(&format!("{command} {server}/b")).bad(4, &["4.04", &discover]);
    }
    for command in ["put", "post"] {
        let said = said(&format!("{command} {server}/b 1"));
        assert!(!said.err.contains("PUT creates"), "{}", said.err);
        said.bad(4, &["4.04", "no rule takes this path"]);
    }
}

/// A payload of more than a message goes in blocks, as far as `coap.max_body` allows.
#[test]
fn a_large_payload_goes_in_blocks() {
    let gateway = Program::dev();
    let value = format!("coap://{}/mqtt/a", gateway.address("coap"));
    for command in ["put", "post"] {
        let line = format!("{command} {value} -s");
        said_with_stdin(&line, &"x".repeat(300_000)).bad(4, &["4.13", "at most 262144 bytes"]);
    }
    said(&format!("get {value}")).bad(4, &["4.04"]);
    let large = "x".repeat(3_000);
    said_with_stdin(&format!("put {value} -s"), &large).good();
    assert_eq!(said(&format!("get {value}")).good().trim_end(), large);
}

#[test]
fn the_command_line_is_wrong() {
    for (line, word) in [
        ("get", "URL"),
        ("get localhost/a", "no coap:// URL"),
        ("get mqtt://localhost/a", "motegate pub"),
        ("get coaps://localhost/a", "yet"),
        ("get coap://me@localhost/a", "user name"),
        ("get coap://localhost/a --host other", "leave out --host"),
        ("put coap://localhost/a", "what to send?"),
        ("get coap://localhost/a -p 0", "--port"),
        ("get coap://localhost/a -W 0", "above 0"),
        ("get coap://localhost/a -A yaml", "link"),
        ("get coap://localhost/a -b 100", "16, 32, 64"),
        ("put coap://localhost/a x -b 2048", "16, 32, 64"),
        ("post coap://localhost/a x -O x,1", "NUMBER"),
        ("delete coap://localhost/a x", "unexpected argument"),
        ("discover coap://localhost -C 1", "unexpected argument"),
        ("get coap://224.0.1.187/a", "multicast"),
        ("put coap://localhost/a x -m y", "cannot be used"),
        ("put coap://localhost/a --hello", "'--hello'"),
        ("put coap://localhost/a -r", "'-r'"),
        ("post coap://localhost/a -r x", "'-r'"),
        ("put coap://localhost/a -5x", "'-5'"),
        ("put coap://localhost/a -t nothing x", "cbor"),
        ("observe coap://localhost/a -C 0", "--count"),
        ("ping coap://localhost -C none", "--count"),
    ] {
        let said = said(line);
        assert_eq!((said.code, said.out.as_str()), (Some(2), ""), "{line}: {}", said.err);
        assert!(said.err.contains(word), "{line}: {}", said.err);
    }
    said("put coap://127.0.0.1:1/a -f /no/such/file").bad(1, &["/no/such/file"]);
}

/// A server that answers one registration, with a value for a second or with none, and says
/// nothing more.
fn dying_server(payload: &'static [u8]) -> std::net::SocketAddr {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    let addr = socket.local_addr().expect("it has one");
    std::thread::spawn(move || {
        let mut buffer = [0; 1500];
        let (len, peer) = socket.recv_from(&mut buffer).expect("a GET");
        let token = usize::from(buffer[0] & 15);
        let mut answer = vec![0x60 | buffer[0] & 15, 0x45];
        answer.extend(&buffer[2..4 + token]);
        answer.extend([0x61, 1, 0x81, 1]); // Observe 1, Max-Age 1
        if !payload.is_empty() {
            answer.push(0xff);
            answer.extend(payload);
        }
        assert!(len > 4 && socket.send_to(&answer, peer).is_ok());
        // It hears the rest and says nothing, as a machine without power.
        while socket.recv(&mut buffer).is_ok() {}
    });
    addr
}

#[test]
fn an_observer_notices_that_its_server_is_gone() {
    let ends = [(b"21".as_slice(), "", "21\n"), (b"", "", ""), (b"", " -D 60", "")].map(
        |(payload, more, out)| {
            let url = format!("coap://{}/x", dying_server(payload));
            std::thread::spawn(move || {
                let said = said(&format!("observe {url} -W 1{more}"));
                (said, out)
            })
        },
    );
    for end in ends {
        let (said, out) = end.join().expect("it ends");
        assert_eq!((said.code, &*said.out), (Some(27), out));
        assert!(said.err.contains("did not answer when asked anew, within 1 s"), "{}", said.err);
    }
}
