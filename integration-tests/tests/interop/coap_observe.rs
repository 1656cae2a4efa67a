//! Observe (RFC 7641) by libcoap's coap-client.

use motegate_tests::gateway::Gateway;
use motegate_tests::peer::{coap, coap_client, mosquitto_pub};
use motegate_tests::process::Process;

/// An observer that is registered when this returns, and the line of its first response.
pub(crate) fn observer(gateway: &Gateway, topic: &str) -> (Process, String) {
    let mut process =
        Process::start(coap_client(&["-v", "6", "-s", "60", "-w", &gateway.coap_url(topic)]));
    let first = process
        .wait_for("registration", |line| line.contains("c:2.05") && line.contains("Observe:"));
    (process, first)
}

/// Waits for a notification with `payload`; its line.
pub(crate) fn notified(observer: &mut Process, payload: &str) -> String {
    let text = format!(":: '{payload}'");
    observer.wait_for(&format!("notification of {payload:?}"), |line| {
        line.contains("c:2.05") && line.contains("Observe:") && line.contains(&text)
    })
}

fn number(line: &str) -> u32 {
    let digits = line.split("Observe:").nth(1).and_then(|rest| rest.split([',', ' ']).next());
    digits.and_then(|digits| digits.parse().ok()).unwrap_or_else(|| panic!("no number in {line}"))
}

#[test]
fn every_change_is_notified_with_growing_numbers() {
    let gateway = Gateway::dev();
    coap(&["-m", "put", "-e", "0", &gateway.coap_url("temp")]);
    let (mut observer, first) = observer(&gateway, "temp");
    assert!(first.contains(":: '0'"), "the present value comes first: {first}");
    let mut last = number(&first);
    for value in 1..=10 {
        mosquitto_pub(&gateway, &["-r", "-q", "1", "-t", "temp", "-m", &value.to_string()]);
        let line = notified(&mut observer, &value.to_string());
        let now = number(&line);
        assert!(now > last, "{now} after {last}");
        last = now;
    }
}

#[test]
fn an_observation_may_begin_before_the_first_value() {
    let gateway = Gateway::dev();
    let (mut observer, first) = observer(&gateway, "later");
    assert!(!first.contains("::"), "no payload yet: {first}");
    mosquitto_pub(&gateway, &["-q", "1", "-t", "later", "-m", "now"]);
    notified(&mut observer, "now");
}

#[test]
fn two_observers_and_one_that_left() {
    let gateway = Gateway::dev();
    let (mut one, _) = observer(&gateway, "shared");
    let (mut two, _) = observer(&gateway, "shared");
    mosquitto_pub(&gateway, &["-q", "1", "-t", "shared", "-m", "both"]);
    notified(&mut one, "both");
    notified(&mut two, "both");
    drop(two); // its port answers with ICMP from now on
    mosquitto_pub(&gateway, &["-q", "1", "-t", "shared", "-m", "one"]);
    notified(&mut one, "one");
}

/// QoS 0 goes out non-confirmable, QoS 1 confirmable.
#[test]
fn the_quality_of_the_message_is_that_of_the_notification() {
    let gateway = Gateway::dev();
    let (mut observer, _) = observer(&gateway, "kinds");
    mosquitto_pub(&gateway, &["-q", "1", "-t", "kinds", "-m", "first"]);
    notified(&mut observer, "first"); // the first after the registration may be confirmable for another reason
    mosquitto_pub(&gateway, &["-q", "0", "-t", "kinds", "-m", "zero"]);
    assert!(notified(&mut observer, "zero").contains("t:NON"));
    mosquitto_pub(&gateway, &["-q", "1", "-t", "kinds", "-m", "one"]);
    assert!(notified(&mut observer, "one").contains("t:CON"));
}
