//! `motegate observe` (RFC 7641) against libcoap's server and aiocoap's: values in order, the end
//! of interest, old values, a server that forgot.

use motegate_tests::process::Process;
use motegate_tests::relay::{From, Relay};
use motegate_tests::server::{Make, Server, running};

/// An observer whose first value has been printed.
fn observer(url: &str, first: &str, more: &[&str]) -> Process {
    let mut process = running(&[&["observe", url][..], more].concat());
    process.wait_for("the first value", |line| line == first);
    process
}

#[test]
fn every_change_is_printed_in_order_until_it_ends() {
    let mut server = Server::start(Make::Aiocoap);
    let mut observer = observer(&server.url("count"), "0", &[]);
    server.process().wait_for_text("observers 1");
    for value in 1..=20 {
        server.process().say(&format!("count {value}"));
        observer.wait_for("value", |line| line == value.to_string());
    }
    // RFC 7641 §3.6: it says goodbye.
    observer.signal("INT");
    let finished = observer.finish();
    assert_eq!(finished.status.code(), Some(0));
    let expected: Vec<String> = (0..=20).map(|value| value.to_string()).collect();
    assert_eq!(finished.stdout, expected);
    server.process().wait_for_text("observers 0");
    server.process().rewind();
    server.process().wait_for_text("observe=1");
}

#[test]
fn after_so_many_values_it_deregisters() {
    let mut aiocoap = Server::start(Make::Aiocoap);
    let url = aiocoap.url("count");
    let mut two = running(&["observe", &url, "-C", "2", "-o", "ndjson"]);
    two.wait_for_text(r#""payload":"0""#);
    aiocoap.process().say("count 1");
    let lines = two.finish();
    assert_eq!(lines.status.code(), Some(0));
    assert!(
        lines.stdout[1].contains(r#""observe":"#) && lines.stdout[1].contains(r#""payload":"1""#)
    );
    aiocoap.process().wait_for_text("observers 0");

    let mut libcoap = Server::start(Make::Libcoap);
    let finished = running(&["observe", &libcoap.url("time"), "-C", "3"]).finish();
    assert_eq!((finished.status.code(), finished.stdout.len()), (Some(0), 3), "{finished:#?}");
    assert!(finished.stdout.is_sorted(), "{finished:#?}");
    libcoap.process().wait_for_text("removed subscription");
}

#[test]
fn what_cannot_be_observed_is_said_and_printed_once() {
    let server = Server::start(Make::Libcoap);
    let finished = running(&["observe", &server.url("")]).finish();
    let talk = "2.05 Content · the server does not notify: this is the value of now";
    assert!(finished.good(talk).starts_with("This is a test server made with libcoap"));
    running(&["observe", &server.url("nothing")]).finish().bad(4, "4.04");
}

/// RFC 7641 §3.3.1: nothing came for longer than Max-Age; the registration is renewed under its
/// token, so that the server still has one observer, and what is the same is not printed again.
#[test]
fn an_old_value_is_asked_for_anew() {
    let mut server = Server::start(Make::Aiocoap);
    server.process().say("max-age 1");
    server.process().say("count a");
    let mut observer = observer(&server.url("count"), "a", &[]);
    server.process().wait_for_text("observe=0");
    server.process().wait_for_text("observe=0");
    server.process().say("count b");
    observer.wait_for("the next value", |line| line == "b");
    observer.signal("TERM");
    assert_eq!(observer.finish().stdout, ["a", "b"]);
    let transcript = server.process().transcript();
    assert!(!transcript.contains("observers 2"), "{transcript}");
    server.process().wait_for_text("observers 0");
}

/// A server that comes back has forgotten its observers; its numbers begin anew. Both at once: most
/// of the time is the client's patience with an old value.
#[test]
fn a_restarted_server_is_observed_again() {
    let mut libcoap = Server::start(Make::Libcoap);
    let mut aiocoap = Server::start(Make::Aiocoap);
    aiocoap.process().say("max-age 1");
    let mut time = observing(&libcoap.url("time"));
    let mut count = observing(&aiocoap.url("count"));
    count.wait_for("the first value", |line| line == "0");
    for value in ["1", "2", "3"] {
        aiocoap.process().say(&format!("count {value}"));
        count.wait_for("the next value", |line| line == value);
        time.wait_for("the next value", is_value);
    }
    libcoap.down();
    aiocoap.down();
    libcoap.up();
    aiocoap.up();
    aiocoap.process().wait_for_text("observe=0");
    aiocoap.process().say("count back");
    count.wait_for("the value of the new server", |line| line == "back");
    libcoap.process().wait_for_text("Observe:0");
    let last = time.wait_for("the next value", is_value);
    // What was printed before the server went may still be unread here.
    time.wait_for("a value of the new server", |line| is_value(line) && line > last.as_str());
    libcoap.process().wait_for_text("c:2.05");
    for observer in [time, count] {
        observer.signal("INT");
        assert_eq!(observer.finish().status.code(), Some(0));
    }
}

fn observing(url: &str) -> Process {
    let mut process = running(&["observe", url]);
    process.wait_for_text("2.05 Content");
    process.rewind(); // the value is on the other stream, and may have come first
    process
}

fn is_value(line: &str) -> bool {
    !line.is_empty() && !line.contains("motegate:")
}

/// RFC 7641 §4.5: a confirmable notification is acknowledged; one that was lost is repeated.
#[test]
fn a_lost_notification_is_repeated() {
    let mut server = Server::start(Make::Libcoap);
    // Server: ping of the start is not behind the link; 0 is the first response.
    let mut link =
        Relay::losing(server.address, |from, number| from == From::Gateway && number == 1);
    let url = format!("coap://{}/time", link.address);
    let finished = running(&["observe", &url, "-C", "3"]).finish();
    assert_eq!((finished.status.code(), finished.stdout.len()), (Some(0), 3), "{finished:#?}");
    server.process().wait_for_text("removed subscription");
    let acknowledged = |id: &[u8]| {
        let ack = [0x60, 0, id[0], id[1]];
        move |(from, bytes): &(From, Vec<u8>)| *from == From::Client && bytes[..] == ack
    };
    let record = link.record().to_vec();
    let notifications: Vec<&Vec<u8>> = record
        .iter()
        .filter(|(from, bytes)| *from == From::Gateway && bytes[0] & 0xF0 == 0x40)
        .map(|(_, bytes)| bytes)
        .collect();
    assert!(notifications.len() >= 2, "{record:02x?}");
    let last = notifications.last().expect("there is one");
    assert!(record.iter().any(acknowledged(&last[2..4])), "{record:02x?}");
}
