//! `motegate get put post delete observe discover ping` against libcoap's server and aiocoap's.

use motegate_tests::process::Process;
use motegate_tests::relay::{From, Relay};
use motegate_tests::server::{Make, Server, motegate, running};

const BOTH: [Make; 2] = [Make::Libcoap, Make::Aiocoap];

/// Type and code bytes of a datagram: CON GET is `[0x40, 1]`.
fn kind(bytes: &[u8]) -> [u8; 2] {
    [bytes[0] & 0xF0, bytes[1]]
}

#[test]
fn a_value_is_put_read_and_deleted_on_both() {
    for make in BOTH {
        let server = Server::start(make);
        let value = server.url("value");
        for non in [false, true] {
            let ask = |words: &[&str]| {
                let non: &[&str] = if non { &["-N"] } else { &[] };
                motegate(&[words, non].concat())
            };
            ask(&["get", &value]).bad(4, "4.04 Not Found");
            assert_eq!(ask(&["put", &value, "open"]).good("2.01 Created"), "");
            assert_eq!(ask(&["put", &value, "ajar"]).good("2.04 Changed"), "");
            assert_eq!(ask(&["get", &value]).good("2.05 Content"), "ajar");
            assert_eq!(ask(&["delete", &value]).good("2.02 Deleted"), "");
        }
    }
}

#[test]
fn formats_entity_tags_and_further_options() {
    let server = Server::start(Make::Aiocoap);
    let value = server.url("value");
    motegate(&["put", &value, "{\"on\":true}", "-t", "json"]).good("2.01 Created");
    let shown = motegate(&["get", &value, "-o", "json", "-A", "json"]).good("2.05 Content");
    for part in [
        r#""code": "2.05""#,
        r#""content_format": 50"#,
        r#""max_age": 7"#,
        r#""payload": "{\"on\":true}""#,
    ] {
        assert!(shown.contains(part), "no {part} in {shown}");
    }
    let line = motegate(&["get", &value, "-o", "ndjson", "-q"]).good("");
    let tag = line.split(r#""etag":""#).nth(1).and_then(|rest| rest.split('"').next());
    let tag = tag.expect("the line has an ETag");
    assert!(line.starts_with(r#"{"code":"2.05","content_format":50,"#) && !line.contains('\n'));
    // Validation (RFC 7252 §5.10.6) and If-None-Match, as options by number.
    motegate(&["get", &value, "-O", &format!("4,0x{tag}")]).good("2.03 Valid");
    motegate(&["put", &value, "x", "-O", "5"]).bad(4, "4.12 Precondition Failed");
    motegate(&["get", &value, "-A", "cbor"]).bad(4, "4.06 Not Acceptable: only as it was put");
    let posted = motegate(&["post", &value, "!"]).good("2.04 Changed");
    assert_eq!(posted, "12 bytes", "the payload of a 2.04 is data");
    motegate(&["post", &server.url("place"), "x"]).good("2.01 Created · /a/b");
    // Bytes that are no text.
    motegate(&["put", &value, "-f", "/dev/stdin"]).good("2.04 Changed");
    assert_eq!(motegate(&["get", &value]).good("2.05 Content"), "");
}

/// RFC 7252 §5.5.2: the diagnostic is shown; 4.xx is a refusal, 5.xx a failure.
#[test]
fn errors_have_their_codes_and_words() {
    let server = Server::start(Make::Aiocoap);
    for (code, text, exit) in [
        ("4.00", "Bad Request", 4),
        ("4.01", "Unauthorized", 4),
        ("4.03", "Forbidden", 4),
        ("4.15", "Unsupported Content-Format", 4),
        ("4.29", "Too Many Requests", 4),
        ("5.00", "Internal Server Error", 1),
        ("5.03", "Service Unavailable", 1),
    ] {
        let asked = motegate(&["get", &server.url(&format!("error?{code}"))]);
        asked.bad(exit, &format!("motegate: {code} {text}: because"));
    }
    motegate(&["delete", &server.url("big")]).bad(4, "4.05 Method Not Allowed");
    let libcoap = Server::start(Make::Libcoap);
    motegate(&["delete", &libcoap.url("async")]).bad(4, "4.05 Method Not Allowed");
    // RFC 7252 §5.4.1: a critical option that it does not know. aiocoap takes any;
    // libcoap refuses it and sends it back, so that the answer has one that we do not know.
    motegate(&["get", &libcoap.url("async?1"), "-O", "65001,x"])
        .bad(6, "the 4.02 response has critical option 65001");
}

/// An empty acknowledgement, then a CON of its own that is acknowledged (RFC 7252 §5.2.2).
#[test]
fn separate_responses() {
    let libcoap = Server::start(Make::Libcoap);
    let mut aiocoap = Server::start(Make::Aiocoap);
    let mut link = Relay::start(aiocoap.address);
    let url = format!("coap://{}/slow", link.address);
    let mut waiting = running(&["get", &url, "-d"]);
    waiting.wait_for_text("<- ACK empty");
    aiocoap.process().say("release");
    assert_eq!(waiting.finish().stdout, ["late"]);
    let record = link.record_of(From::Client, 2);
    let kinds: Vec<_> = record.iter().map(|(from, bytes)| (*from, kind(bytes))).collect();
    assert_eq!(
        kinds,
        [
            (From::Client, [0x40, 1]),
            (From::Gateway, [0x60, 0]),
            (From::Gateway, [0x40, 0x45]),
            (From::Client, [0x60, 0]),
        ]
    );
    // Also to a NON request, and libcoap's.
    let got = motegate(&["get", "-N", &aiocoap.url("slow")]);
    assert_eq!(got.good("2.05 Content"), "late");
    motegate(&["put", &aiocoap.url("slow"), "x"]).good("2.04 Changed");
    for words in [&["get"][..], &["get", "-N"]] {
        let url = libcoap.url("async?1");
        let got = motegate(&[words, &[&url, "-q"][..]].concat());
        assert_eq!(got.good(""), "done");
    }
}

/// RFC 7252 §4.2: request, answer and both are lost, and it is executed once.
#[test]
fn lost_datagrams_are_sent_again() {
    let mut server = Server::start(Make::Aiocoap);
    let (loses_request, loses_answer) = (
        Relay::losing(server.address, |from, number| from == From::Client && number == 0),
        Relay::losing(server.address, |from, number| from == From::Gateway && number == 0),
    );
    let mut posts: Vec<Process> = [&loses_request, &loses_answer]
        .map(|link| running(&["post", &format!("coap://{}/value", link.address), "x"]))
        .into();
    for post in posts.drain(..) {
        let finished = post.finish();
        assert_eq!(finished.status.code(), Some(0), "{finished:#?}");
        assert_eq!(finished.stderr, ["2.04 Changed"]);
    }
    assert_eq!(motegate(&["get", &server.url("value"), "-q"]).good(""), "xx");
    let log = server.process();
    log.wait_for_text("POST");
    log.wait_for_text("POST");
    log.wait_for("GET and no third POST", |line| {
        assert!(!line.contains("POST"), "{line}");
        line.contains("GET")
    });
}

/// The client has what it wants and is gone: the server's repetition meets a closed port.
#[test]
fn the_lost_acknowledgement_of_a_separate_response_does_no_harm() {
    let mut server = Server::start(Make::Aiocoap);
    let mut link =
        Relay::losing(server.address, |from, number| from == From::Client && number == 1);
    let url = format!("coap://{}/slow", link.address);
    let mut waiting = running(&["get", &url, "-d"]);
    waiting.wait_for_text("<- ACK empty");
    server.process().say("release");
    assert_eq!(waiting.finish().stdout, ["late"]);
    let record = link.record_of(From::Client, 2);
    let sent: Vec<_> = record.iter().filter(|(from, _)| *from == From::Client).collect();
    assert_eq!((sent.len(), kind(&sent[1].1)), (2, [0x60, 0]), "GET and ACK");
    assert_eq!(motegate(&["get", &server.url("slow"), "-q"]).good(""), "late");
}

#[test]
fn discover_reads_both() {
    let libcoap = Server::start(Make::Libcoap);
    let found = motegate(&["discover", &libcoap.url("")]).good("2.05 Content");
    let lines: Vec<&str> = found.lines().collect();
    assert_eq!(
        lines,
        [
            "/  title=General Info  ct=0",
            "/time  if=clock  rt=ticks  title=Internal Clock  ct=0  obs",
            "/async  ct=0",
            "/example_data  title=Example Data  ct=0  obs",
        ]
    );
    let found =
        motegate(&["discover", &libcoap.url("?rt=ticks"), "-o", "json"]).good("2.05 Content");
    assert_eq!(
        found,
        r#"[{"href":"/time","attributes":[["if","clock"],["rt","ticks"],["title","Internal Clock"],["ct","0"],["obs",""]]}]"#
    );
    let aiocoap = Server::start(Make::Aiocoap);
    let found = motegate(&["discover", &aiocoap.url(""), "-o", "ndjson"]).good("2.05 Content");
    assert!(found.lines().any(|line| line.starts_with(r#"{"href":"/count""#)), "{found}");
    let count = found.lines().find(|line| line.contains("/count")).expect("it is listed");
    assert!(count.contains(r#"["obs",""#), "{count}");
    motegate(&["discover", &aiocoap.url("count")]).good("2.05 Content");
}

#[test]
fn both_are_pinged() {
    for make in BOTH {
        let server = Server::start(make);
        let address = server.address;
        let pongs = motegate(&["ping", &server.url(""), "-C", "3", "-i", "0.01"]).good("");
        assert_eq!(pongs.lines().count(), 3);
        let start = format!("coap://{address} lives: ");
        assert!(pongs.lines().all(|line| line.starts_with(&start)), "{pongs}");
    }
    let mut server = Server::start(Make::Aiocoap);
    server.down();
    motegate(&["ping", &server.url("")]).bad(5, "nothing listens on");
}
