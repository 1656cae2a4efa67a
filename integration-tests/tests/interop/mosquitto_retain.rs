//! Retained messages, as mosquitto's clients store, get and clear them.

use motegate_tests::gateway::Gateway;
use motegate_tests::peer::{mosquitto_pub, mosquitto_sub};

#[test]
fn a_late_subscriber_gets_the_last_one_with_the_flag() {
    let gateway = Gateway::dev();
    for version in ["mqttv31", "mqttv311", "mqttv5"] {
        mosquitto_pub(&gateway, &["-V", version, "-r", "-q", "1", "-t", "site/door", "-m", "open"]);
        mosquitto_pub(
            &gateway,
            &["-V", version, "-r", "-q", "1", "-t", "site/door", "-m", "closed"],
        );
        let mut sub =
            mosquitto_sub(&gateway, &["-V", version, "-q", "2", "-t", "site/#", "-C", "2"]);
        let first = sub.wait_for("retained message", |line| line.starts_with("> "));
        assert_eq!(first, "> site/door q1 r1 closed", "{version}");
        // Live, the flag is 0 again.
        mosquitto_pub(&gateway, &["-V", version, "-r", "-t", "site/door", "-m", "ajar"]);
        let second = sub.wait_for("live message", |line| line.starts_with("> "));
        assert_eq!(second, "> site/door q0 r0 ajar", "{version}");
        sub.succeed();
    }
}

#[test]
fn an_empty_payload_clears_and_is_delivered() {
    let gateway = Gateway::dev();
    mosquitto_pub(&gateway, &["-r", "-q", "1", "-t", "a/1", "-m", "one"]);
    mosquitto_pub(&gateway, &["-r", "-q", "1", "-t", "a/2", "-m", "two"]);
    let mut live = mosquitto_sub(&gateway, &["-t", "a/1"]);
    live.wait_for_text("> a/1 q0 r1 one");
    mosquitto_pub(&gateway, &["-r", "-q", "1", "-t", "a/1", "-n"]);
    live.wait_for("the clearing message", |line| line.trim_end() == "> a/1 q0 r0");
    let mut late = mosquitto_sub(&gateway, &["-t", "a/+", "-C", "1"]);
    assert_eq!(late.wait_for("message", |line| line.starts_with("> ")), "> a/2 q0 r1 two");
}

#[test]
fn retain_as_published_keeps_the_flag() {
    let gateway = Gateway::dev();
    let arguments = ["-V", "mqttv5", "--retain-as-published", "-q", "1", "-t", "state", "-C", "2"];
    let mut sub = mosquitto_sub(&gateway, &arguments);
    mosquitto_pub(&gateway, &["-r", "-q", "1", "-t", "state", "-m", "on"]);
    assert_eq!(sub.wait_for("message", |line| line.starts_with("> ")), "> state q1 r1 on");
    mosquitto_pub(&gateway, &["-q", "1", "-t", "state", "-m", "off"]);
    assert_eq!(sub.wait_for("message", |line| line.starts_with("> ")), "> state q1 r0 off");
}
