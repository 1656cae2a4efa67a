//! Every version of the publisher, every version of the subscriber, every pair of QoS.

use motegate_tests::gateway::Gateway;
use motegate_tests::peer::{mosquitto_pub, mosquitto_sub};

const VERSIONS: [&str; 3] = ["mqttv31", "mqttv311", "mqttv5"];

/// The nine pairs of QoS for one pair of versions: what arrives is min(published, granted), once
/// each.
fn all_qos(publisher: &str, subscriber: &str) {
    let gateway = Gateway::dev();
    for granted in ["0", "1", "2"] {
        let mut sub = mosquitto_sub(
            &gateway,
            &["-V", subscriber, "-q", granted, "-t", "plant/+/temp", "-C", "3"],
        );
        for published in ["0", "1", "2"] {
            let payload = format!("{publisher} {subscriber} {published}");
            mosquitto_pub(
                &gateway,
                &["-V", publisher, "-q", published, "-t", "plant/a/temp", "-m", &payload],
            );
            let got = sub.wait_for("message", |line| line.starts_with("> "));
            let lower = published.min(granted);
            assert_eq!(got, format!("> plant/a/temp q{lower} r0 {payload}"));
        }
        let lines = sub.succeed();
        let messages = lines.iter().filter(|line| line.starts_with("> ")).count();
        assert_eq!(messages, 3, "{lines:#?}");
    }
}

#[test]
fn each_qos_from_3_1() {
    VERSIONS.iter().for_each(|subscriber| all_qos("mqttv31", subscriber));
}

#[test]
fn each_qos_from_3_1_1() {
    VERSIONS.iter().for_each(|subscriber| all_qos("mqttv311", subscriber));
}

#[test]
fn each_qos_from_5_0() {
    VERSIONS.iter().for_each(|subscriber| all_qos("mqttv5", subscriber));
}

/// The handshakes are those of the protocol, as the publisher's own log shows them.
#[test]
fn qos_2_is_four_packets() {
    let gateway = Gateway::dev();
    for version in VERSIONS {
        let lines = mosquitto_pub(&gateway, &["-V", version, "-q", "2", "-t", "a", "-m", "x"]);
        let log = lines.join("\n");
        for step in ["received PUBREC", "sending PUBREL", "received PUBCOMP"] {
            assert!(log.contains(step), "{step} is missing with {version}\n{log}");
        }
    }
}

/// Ten thousand bytes cross several reads and writes.
#[test]
fn a_large_payload_arrives_whole() {
    let gateway = Gateway::dev();
    let payload: String = (0..2_000).map(|number| format!("{number:05}")).collect();
    let mut sub = mosquitto_sub(&gateway, &["-V", "mqttv5", "-q", "2", "-t", "big", "-C", "1"]);
    mosquitto_pub(&gateway, &["-V", "mqttv5", "-q", "2", "-t", "big", "-m", &payload]);
    let got = sub.wait_for("message", |line| line.starts_with("> "));
    assert_eq!(got, format!("> big q2 r0 {payload}"));
}

/// Order of one publisher on one topic, many at once.
#[test]
fn lines_arrive_in_order() {
    let gateway = Gateway::dev();
    for qos in ["0", "1", "2"] {
        let mut sub = mosquitto_sub(&gateway, &["-q", qos, "-t", "ordered", "-C", "200"]);
        let lines: String = (0..200).map(|number| format!("{number}\n")).collect();
        let file = motegate_tests::gateway::scratch("lines").join("lines");
        std::fs::write(&file, lines).expect("the scratch directory takes a file");
        let script = format!(
            "exec mosquitto_pub -p {} -q {qos} -t ordered -l < {}",
            gateway.mqtt.port(),
            file.display()
        );
        let mut command = std::process::Command::new("sh");
        command.args(["-c", &script]);
        motegate_tests::process::Process::start(command).succeed();
        for number in 0..200 {
            let got = sub.wait_for("message", |line| line.starts_with("> "));
            assert_eq!(got, format!("> ordered q{qos} r0 {number}"));
        }
        sub.succeed();
    }
}
