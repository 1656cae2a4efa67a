//! Sessions that outlive their connection: the queue fills while the subscriber is away.

use motegate_tests::gateway::Gateway;
use motegate_tests::peer::{mosquitto_pub, mosquitto_resume, mosquitto_sub};

#[test]
fn messages_wait_for_a_persistent_session() {
    let gateway = Gateway::dev();
    for version in ["mqttv31", "mqttv311", "mqttv5"] {
        let id = format!("keeper-{version}");
        let session = ["-V", version, "-c", "-i", &id, "-q", "2", "-t", "queue/#"];
        // -E leaves as soon as SUBACK is in.
        mosquitto_sub(&gateway, &[&session[..], &["-E"]].concat()).succeed();
        for qos in ["0", "1", "2"] {
            mosquitto_pub(&gateway, &["-q", qos, "-t", "queue/a", "-m", &format!("at {qos}")]);
        }
        let mut resumed = mosquitto_resume(&gateway, &[&session[..], &["-C", "3"]].concat());
        let first = resumed.wait_for("queued message", |line| line.starts_with("> "));
        assert_eq!(first, "> queue/a q1 r0 at 1", "QoS 0 is not queued: {version}");
        let second = resumed.wait_for("queued message", |line| line.starts_with("> "));
        assert_eq!(second, "> queue/a q2 r0 at 2", "{version}");
        // mosquitto_sub subscribes anew each time: nothing comes twice.
        mosquitto_pub(&gateway, &["-q", "1", "-t", "queue/a", "-m", "live"]);
        let third = resumed.wait_for("live message", |line| line.starts_with("> "));
        assert_eq!(third, "> queue/a q1 r0 live", "{version}");
        resumed.succeed();
    }
}

#[test]
fn a_clean_session_forgets() {
    let gateway = Gateway::dev();
    let id = "forgetful";
    mosquitto_sub(&gateway, &["-c", "-i", id, "-q", "1", "-t", "queue", "-E"]).succeed();
    mosquitto_pub(&gateway, &["-q", "1", "-t", "queue", "-m", "old"]);
    mosquitto_sub(&gateway, &["-i", id, "-q", "1", "-t", "elsewhere", "-E"]).succeed();
    let mut back = mosquitto_sub(&gateway, &["-c", "-i", id, "-q", "1", "-t", "queue", "-C", "1"]);
    mosquitto_pub(&gateway, &["-q", "1", "-t", "queue", "-m", "new"]);
    assert_eq!(back.wait_for("message", |line| line.starts_with("> ")), "> queue q1 r0 new");
}

#[test]
fn a_second_connection_takes_the_session_over() {
    let gateway = Gateway::dev();
    let mut first = mosquitto_sub(&gateway, &["-V", "mqttv5", "-i", "twin", "-t", "a"]);
    let mut second = mosquitto_sub(&gateway, &["-V", "mqttv5", "-i", "twin", "-t", "a", "-C", "1"]);
    // DISCONNECT 0x8E, session taken over.
    first.wait_for("DISCONNECT 142", |line| line.contains("DISCONNECT") && line.contains("142"));
    drop(first); // it would come back after a second
    mosquitto_pub(&gateway, &["-t", "a", "-m", "x"]);
    second.wait_for_text("> a q0 r0 x");
}
