//! The topic collection of the preset `core-pubsub`, driven by libcoap's coap-client and by aiocoap.

use motegate_tests::gateway::{Gateway, scratch};
use motegate_tests::peer::{any, coap, mosquitto_sub, python};

const PRESETS: &str = "mappings: {presets: [core-pubsub, passthrough]}\n";

/// The response that coap-client logged: `v:1 t:ACK c:2.05 …`.
fn answered(lines: &[String], code: &str) {
    let wanted = format!("t:ACK c:{code} ");
    assert!(any(lines, &wanted), "no {wanted}\n{lines:#?}");
}

/// draft-ietf-core-coap-pubsub §2.3 to §2.5 and §3.2.
#[test]
fn libcoap_makes_finds_changes_and_ends_a_topic() {
    let gateway = Gateway::run(PRESETS);
    let directory = scratch("pubsub");
    let base = format!("coap://{}", gateway.coap);
    let collection = format!("{base}/ps");
    let body = directory.join("body").display().to_string();
    // {0: "door", 2: "core.ps.data", 3: 0} and the same without the format.
    let properties = b"\xa3\x00\x64door\x02\x6ccore.ps.data\x03\x00";
    let send = |method: &str, format: &str, payload: &[u8], url: &str| {
        std::fs::write(&body, payload).expect("the scratch directory takes a file");
        coap(&["-m", method, "-t", format, "-f", &body, url])
    };
    answered(&coap(&[&format!("{base}/.well-known/core?rt=core.ps.coll")]), "2.05");
    let made = send("post", "606", properties, &collection);
    answered(&made, "2.01");
    assert!(any(&made, "Location-Path:ps, Location-Path:"), "{made:#?}");
    answered(&send("post", "606", properties, &collection), "4.00");
    let found = send("fetch", "606", b"\xa1\x00\x64door", &collection);
    answered(&found, "2.05");
    let line = found.iter().find(|line| line.contains("</ps/")).expect("a link");
    let id = line.split("</ps/").nth(1).and_then(|rest| rest.split('>').next()).expect("an id");
    let topic = format!("{collection}/{id}");
    let none = send("fetch", "606", b"\xa1\x00\x64bell", &collection);
    assert!(any(&none, "c:2.05 ") && !any(&none, "</ps/"), "{none:#?}");
    answered(&send("fetch", "60", b"\x82\x01\x03", &topic), "2.05");
    answered(&send("ipatch", "606", b"\xa1\x06\x05", &topic), "2.04");
    answered(&send("patch", "606", b"\xa1\x06\x05", &topic), "4.05");
    answered(&coap(&["-A", "606", &topic]), "2.05");
    let data = format!("{collection}/data/door");
    answered(&coap(&[&data]), "4.04");
    let mut sub = mosquitto_sub(&gateway, &["-q", "1", "-t", "door"]);
    answered(&coap(&["-m", "put", "-t", "50", "-e", "{}", &data]), "4.15");
    answered(&coap(&["-m", "put", "-t", "0", "-e", "open", &data]), "2.01");
    sub.wait_for_text("> door q1 r0 open");
    answered(&coap(&["-m", "put", "-t", "0", "-e", "closed", &data]), "2.04");
    answered(&coap(&[&format!("{collection}?rt=core.ps.data")]), "2.05");
    answered(&coap(&["-m", "delete", &topic]), "2.02");
    answered(&coap(&["-m", "delete", &topic]), "4.04");
    answered(&coap(&[&data]), "4.04");
    std::fs::remove_dir_all(&directory).expect("the scratch directory is ours");
}

/// The same by aiocoap, which observes the data to their end.
#[test]
fn aiocoap_follows_a_topic_from_its_making_to_its_end() {
    let gateway = Gateway::run(PRESETS);
    let finished = python("aiocoap_suite.py", &gateway, &["pubsub"]).finish();
    assert_eq!(finished.stdout.last().map(String::as_str), Some("ok"), "{finished:#?}");
}

/// The paths and queries that a client written for EMQX's gateway has, long and short.
#[test]
fn a_client_of_emqx_works_unchanged() {
    let gateway = Gateway::run("mappings: {presets: [emqx-ps]}\n");
    let url = |query: &str| format!("coap://{}/ps/coap/test?{query}", gateway.coap);
    let mut sub = mosquitto_sub(&gateway, &["-q", "2", "-t", "coap/#"]);
    let long = "clientid=123&username=admin&password=public&qos=1";
    answered(&coap(&["-m", "post", "-e", "Hello", &url(long)]), "2.04");
    sub.wait_for_text("> coap/test q1 r0 Hello");
    let kept = "c=123&u=admin&p=public&t=3404490787&q=0&r=true&expiry=60";
    answered(&coap(&["-m", "put", "-e", "kept", &url(kept)]), "2.01");
    sub.wait_for_text("> coap/test q0 r0 kept");
    let mut late = mosquitto_sub(&gateway, &["-t", "coap/test", "-C", "1"]);
    late.wait_for_text("> coap/test q0 r1 kept");
    let heard = coap(&["-s", "1", &url("clientid=123&qos=1&nl=0&rh=1")]);
    answered(&heard, "2.05");
    assert!(any(&heard, "Observe:") && any(&heard, "kept"), "{heard:#?}");
}
