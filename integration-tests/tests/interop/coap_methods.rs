//! GET, PUT, POST and DELETE by libcoap's coap-client, confirmable and not.

use motegate_tests::gateway::{Gateway, scratch};
use motegate_tests::peer::{any, coap, mosquitto_pub, mosquitto_sub};

/// The response that coap-client logged: `v:1 t:ACK c:2.05 …`.
fn answered(lines: &[String], kind: &str, code: &str) {
    let wanted = format!("t:{kind} c:{code} ");
    assert!(any(lines, &wanted), "no {wanted}\n{lines:#?}");
}

#[test]
fn put_is_a_retained_message() {
    let gateway = Gateway::dev();
    let door = gateway.coap_url("site/door");
    let mut sub = mosquitto_sub(&gateway, &["-q", "2", "-t", "site/#"]);
    answered(&coap(&["-m", "put", "-e", "open", &door]), "ACK", "2.01");
    assert_eq!(sub.wait_for("message", |line| line.starts_with("> ")), "> site/door q1 r0 open");
    answered(&coap(&["-m", "put", "-e", "closed", &door]), "ACK", "2.04");
    assert_eq!(sub.wait_for("message", |line| line.starts_with("> ")), "> site/door q1 r0 closed");
    let mut late = mosquitto_sub(&gateway, &["-q", "2", "-t", "site/door", "-C", "1"]);
    assert_eq!(late.wait_for("message", |line| line.starts_with("> ")), "> site/door q1 r1 closed");
}

#[test]
fn get_is_the_retained_value() {
    let gateway = Gateway::dev();
    let door = gateway.coap_url("site/door");
    answered(&coap(&[&door]), "ACK", "4.04");
    mosquitto_pub(&gateway, &["-r", "-q", "1", "-t", "site/door", "-m", "open"]);
    let lines = coap(&[&door]);
    answered(&lines, "ACK", "2.05");
    assert!(any(&lines, ":: 'open'"), "{lines:#?}");
    assert!(any(&lines, "ETag:"), "a value has an entity tag: {lines:#?}");
    // A message that is not retained is no value.
    mosquitto_pub(&gateway, &["-q", "1", "-t", "site/window", "-m", "open"]);
    answered(&coap(&[&gateway.coap_url("site/window")]), "ACK", "4.04");
}

/// TD_COAP_BLOCK_01, 02, 06: with the block size of either side, from any block on.
#[test]
fn a_large_value_is_read_in_blocks() {
    let gateway = Gateway::dev();
    let directory = scratch("read-in-blocks");
    let path = |name: &str| directory.join(name).display().to_string();
    let value: String = (0..5_000).map(|number| format!("{number} ")).collect();
    std::fs::write(path("value"), &value).expect("the scratch directory takes a file");
    mosquitto_pub(&gateway, &["-r", "-q", "1", "-t", "site/log", "-f", &path("value")]);
    let log = gateway.coap_url("site/log");
    let read = |url: &str, options: &[&str]| {
        let out = path("out");
        coap(&[&["-o", &out][..], options, &[url]].concat());
        let got = std::fs::read_to_string(&out).expect("coap-client wrote what it got");
        std::fs::remove_file(&out).expect("it was there");
        got
    };
    for options in [&[][..], &["-N"], &["-b", "128"], &["-N", "-b", "512"]] {
        assert!(read(&log, options) == value, "with {options:?}");
    }
    assert!(read(&log, &["-b", "9,256"]).starts_with(&value[9 * 256..10 * 256]));
    // `.well-known/core` is as long as it must be.
    for number in 0..60 {
        coap(&["-m", "put", "-e", "1", &gateway.coap_url(&format!("long/topic/name/{number}"))]);
    }
    let list = read(&format!("coap://{}/.well-known/core", gateway.coap), &["-b", "64"]);
    assert_eq!(list.matches("</mqtt/long/topic/name/").count(), 60, "{list}");
    std::fs::remove_dir_all(&directory).expect("the scratch directory is ours");
}

#[test]
fn post_is_a_message_that_is_not_kept() {
    let gateway = Gateway::dev();
    let bell = gateway.coap_url("site/bell");
    let mut sub = mosquitto_sub(&gateway, &["-q", "1", "-t", "site/bell"]);
    answered(&coap(&["-m", "post", "-e", "ring", &bell]), "ACK", "2.04");
    sub.wait_for_text("> site/bell q1 r0 ring");
    answered(&coap(&[&bell]), "ACK", "4.04");
}

#[test]
fn delete_clears() {
    let gateway = Gateway::dev();
    let door = gateway.coap_url("site/door");
    let mut sub = mosquitto_sub(&gateway, &["-q", "1", "-t", "site/door"]);
    coap(&["-m", "put", "-e", "open", &door]);
    sub.wait_for_text("> site/door q1 r0 open");
    answered(&coap(&["-m", "delete", &door]), "ACK", "2.02");
    sub.wait_for("the clearing message", |line| line.trim_end() == "> site/door q1 r0");
    answered(&coap(&[&door]), "ACK", "4.04");
}

#[test]
fn non_confirmable_requests_get_non_confirmable_answers_and_qos_0() {
    let gateway = Gateway::dev();
    let door = gateway.coap_url("site/door");
    let mut sub = mosquitto_sub(&gateway, &["-q", "2", "-t", "site/#"]);
    answered(&coap(&["-N", "-m", "put", "-e", "open", &door]), "NON", "2.01");
    sub.wait_for_text("> site/door q0 r0 open");
    answered(&coap(&["-N", &door]), "NON", "2.05");
    answered(
        &coap(&["-N", "-m", "post", "-e", "x", &gateway.coap_url("site/bell")]),
        "NON",
        "2.04",
    );
    sub.wait_for_text("> site/bell q0 r0 x");
    answered(&coap(&["-N", "-m", "delete", &door]), "NON", "2.02");
}

/// Half of the client's datagrams never leave it; the request is still executed exactly once.
#[test]
fn lost_datagrams_are_sent_again_and_executed_once() {
    let gateway = Gateway::dev();
    let mut sub = mosquitto_sub(&gateway, &["-q", "2", "-t", "lossy"]);
    // The first is lost, its repetition arrives.
    let lines = coap(&["-l", "1", "-m", "post", "-e", "once", &gateway.coap_url("lossy")]);
    answered(&lines, "ACK", "2.04");
    mosquitto_pub(&gateway, &["-q", "2", "-t", "lossy", "-m", "mark"]);
    assert_eq!(sub.wait_for("message", |line| line.starts_with("> ")), "> lossy q1 r0 once");
    assert_eq!(sub.wait_for("message", |line| line.starts_with("> ")), "> lossy q2 r0 mark");
}

#[test]
fn well_known_core_lists_what_is_there() {
    let gateway = Gateway::dev();
    coap(&["-m", "put", "-e", "open", &gateway.coap_url("site/door")]);
    let lines = coap(&[&format!("coap://{}/.well-known/core", gateway.coap)]);
    answered(&lines, "ACK", "2.05");
    assert!(any(&lines, "Content-Format:application/link-format"), "{lines:#?}");
    assert!(any(&lines, "</mqtt/site/door>"), "{lines:#?}");
}

#[test]
fn what_is_not_understood_is_refused() {
    let gateway = Gateway::dev();
    let topic = gateway.coap_url("a");
    answered(&coap(&[&format!("coap://{}/elsewhere", gateway.coap)]), "ACK", "4.04");
    // Option 65001 is critical and nobody's.
    answered(&coap(&["-O", "65001,x", &topic]), "ACK", "4.02");
    answered(&coap(&["-m", "fetch", "-e", "x", &topic]), "ACK", "4.05");
    answered(&coap(&["-m", "put", "-e", "x", &gateway.coap_url("a%2Fb")]), "ACK", "4.00");
}

#[test]
fn a_ping_is_answered_by_reset() {
    let gateway = Gateway::dev();
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("loopback has a free port");
    socket.connect(gateway.coap).expect("the gateway has a loopback address");
    socket
        .set_read_timeout(Some(motegate_tests::process::DEADLINE))
        .expect("a deadline is not zero");
    socket.send(&[0x40, 0, 0x12, 0x34]).expect("loopback takes a datagram");
    let mut answer = [0; 16];
    let length = socket.recv(&mut answer).expect("an answer");
    assert_eq!(answer[..length], [0x70, 0, 0x12, 0x34]);
}
