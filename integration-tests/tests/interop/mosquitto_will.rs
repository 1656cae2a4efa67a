//! Wills: sent when the connection is lost, not when it is closed in order.

use motegate_tests::gateway::Gateway;
use motegate_tests::peer::{mosquitto, mosquitto_pub, mosquitto_sub};
use motegate_tests::process::Process;

fn with_will(gateway: &Gateway, version: &str, id: &str) -> Process {
    let will =
        ["--will-topic", "wills/x", "--will-payload", "gone", "--will-qos", "1", "--will-retain"];
    let arguments = [&["-V", version, "-i", id, "-t", "nothing"], &will[..]].concat();
    let mut process = Process::start(mosquitto("mosquitto_sub", gateway, &arguments));
    process.wait_for_text("Subscribed (mid:");
    process
}

#[test]
fn a_killed_client_leaves_its_will() {
    for version in ["mqttv31", "mqttv311", "mqttv5"] {
        let gateway = Gateway::dev();
        let mut watcher = mosquitto_sub(&gateway, &["-q", "2", "-t", "wills/#"]);
        drop(with_will(&gateway, version, "victim"));
        let got = watcher.wait_for("will", |line| line.starts_with("> "));
        assert_eq!(got, "> wills/x q1 r0 gone", "{version}");
        let mut late = mosquitto_sub(&gateway, &["-t", "wills/#", "-C", "1"]);
        assert_eq!(late.wait_for("will", |line| line.starts_with("> ")), "> wills/x q0 r1 gone");
    }
}

#[test]
fn a_client_that_says_goodbye_takes_its_will_along() {
    let gateway = Gateway::dev();
    let mut watcher = mosquitto_sub(&gateway, &["-t", "wills/#", "-t", "after"]);
    for version in ["mqttv31", "mqttv311", "mqttv5"] {
        // -E leaves in order as soon as it is subscribed.
        let will = ["--will-topic", "wills/x", "--will-payload", "gone"];
        let arguments = [&["-V", version, "-t", "nothing", "-E"], &will[..]].concat();
        Process::start(mosquitto("mosquitto_sub", &gateway, &arguments)).succeed();
        // Whatever the gateway had to say about the will came before this.
        mosquitto_pub(&gateway, &["-t", "after", "-m", version]);
        let got = watcher.wait_for("message", |line| line.starts_with("> "));
        assert_eq!(got, format!("> after q0 r0 {version}"));
    }
}

/// Interrupted, mosquitto_sub says goodbye: in 5.0 with code 4, which asks for the will.
#[test]
fn a_goodbye_of_5_0_may_ask_for_the_will() {
    let gateway = Gateway::dev();
    let mut watcher = mosquitto_sub(&gateway, &["-q", "1", "-t", "wills/#", "-t", "after"]);
    for version in ["mqttv311", "mqttv5"] {
        let client = with_will(&gateway, version, "interrupted");
        client.signal("INT");
        client.finish();
        if version == "mqttv5" {
            watcher.wait_for_text("> wills/x q1 r0 gone");
        }
        mosquitto_pub(&gateway, &["-q", "1", "-t", "after", "-m", version]);
        let got = watcher.wait_for("message", |line| line.starts_with("> "));
        assert_eq!(got, format!("> after q1 r0 {version}"));
    }
}
