//! The examples of EMQX's documents ("CoAP Gateway", reference "CoAP Client Guide") as they stand
//! there, by libcoap's coap-client, and the same life of a device by aiocoap.

use std::process::Command;

use motegate_tests::gateway::{Gateway, binary};
use motegate_tests::peer::{any, coap, coap_client, mosquitto_pub, mosquitto_sub, python};
use motegate_tests::process::Process;

/// A gateway with user `admin`, password `public`; a connection is required or not.
fn gateway(required: bool) -> Gateway {
    let mut command = Command::new(binary());
    command.args(["passwd", "admin", "--iterations", "4096"]);
    let mut passwd = Process::start(command);
    passwd.say("public");
    let users = passwd.succeed().join("\n");
    let text = format!(
        "version: 1\ndurability: none\nlisteners:\n  \
         - {{protocol: mqtt, bind: \"127.0.0.1:0\", anonymous: true}}\n  \
         - {{protocol: mqttsn, bind: \"127.0.0.1:0\", anonymous: true}}\n  \
         - {{protocol: coap, bind: \"127.0.0.1:0\", anonymous: {}, connection_required: {required}}}\n\
         mappings: {{presets: [emqx-ps, passthrough]}}\n{users}\n",
        !required
    );
    Gateway::of_file(&binary(), &["run"], &text)
}

/// The response that coap-client logged: `v:1 t:ACK c:2.05 …`; a login's comes by itself, a CON.
fn answered(lines: &[String], code: &str) {
    assert!(any(lines, &format!(" c:{code} ")), "no {code}\n{lines:#?}");
}

/// What it printed beside its log: the answer's payload.
fn payload(lines: &[String]) -> String {
    let token = lines.iter().find(|line| line.len() == 16 && !line.contains(' '));
    token.unwrap_or_else(|| panic!("no token\n{lines:#?}")).clone()
}

#[test]
fn libcoap_does_the_documents_examples_in_connection_mode() {
    let gateway = gateway(true);
    let url = |rest: &str| format!("coap://{}/{rest}", gateway.coap);
    let wrong = url("mqtt/connection?clientid=123&username=admin&password=secret");
    answered(&coap(&["-m", "post", "-e", "", &wrong]), "4.01");
    let connect = url("mqtt/connection?clientid=123&username=admin&password=public");
    let made = coap(&["-m", "post", "-e", "", &connect]);
    answered(&made, "2.01");
    let shown = format!("clientid=123&token={}", payload(&made));
    let connection = url(&format!("mqtt/connection?{shown}"));
    answered(&coap(&["-m", "put", "-e", "", &connection]), "2.04");
    let test = url(&format!("ps/coap/test?{shown}"));
    let mut sub = mosquitto_sub(&gateway, &["-t", "coap/test"]);
    answered(&coap(&["-m", "post", "-e", "Hi, this is libcoap", &test]), "2.04");
    sub.wait_for_text("Hi, this is libcoap");
    let arguments = ["-v", "6", "-m", "get", "-s", "60", "-O", "6,0x00", "-T", "obstoken", &test];
    let mut observer = Process::start(coap_client(&arguments));
    observer
        .wait_for("2.05 with Observe", |line| line.contains("c:2.05") && line.contains("Observe:"));
    mosquitto_pub(&gateway, &["-q", "1", "-t", "coap/test", "-m", "to the device"]);
    observer.wait_for_text("to the device");
    answered(&coap(&["-m", "get", "-O", "6,0x01", &test]), "2.07");
    answered(&coap(&["-m", "delete", "-e", "", &connection]), "2.02");
    answered(&coap(&["-m", "put", "-e", "", &connection]), "4.01");
    answered(&coap(&["-m", "post", "-e", "x", &url("ps/coap/test")]), "4.00");
}

#[test]
fn libcoap_does_the_documents_examples_without_connections() {
    let gateway = gateway(false);
    let test = format!("coap://{}/ps/coap/test", gateway.coap);
    let arguments =
        ["-v", "6", "-m", "get", "-s", "60", "-O", "6,0x00", "-o", "-", "-T", "obstoken"];
    let mut observer = Process::start(coap_client(&[&arguments[..], &[&test]].concat()));
    observer
        .wait_for("2.05 with Observe", |line| line.contains("c:2.05") && line.contains("Observe:"));
    answered(&coap(&["-m", "post", "-e", "Hi, this is libcoap", &test]), "2.04");
    observer.wait_for_text("Hi, this is libcoap");
    let wrong = format!("{test}?username=admin&password=secret");
    answered(&coap(&["-m", "post", "-e", "x", &wrong]), "4.01");
}

#[test]
fn aiocoap_lives_the_life_of_a_device_of_emqx() {
    let gateway = gateway(true);
    let finished = python("aiocoap_suite.py", &gateway, &["emqx"]).finish();
    assert_eq!(finished.stdout.last().map(String::as_str), Some("ok"), "{finished:#?}");
}
