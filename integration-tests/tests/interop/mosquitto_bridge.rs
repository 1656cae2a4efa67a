//! A real mosquitto that bridges to the gateway: as an older broker with the bridge bit in the
//! level, and in 5.0; what either side publishes is heard once on both.

use motegate_tests::gateway::Gateway;
use motegate_tests::mosquitto::Mosquitto;
use motegate_tests::peer::{mosquitto_pub, mosquitto_sub};
use motegate_tests::process::Process;

/// A bridge that is connected and has subscribed.
fn bridged(gateway: &Gateway, version: &str, more: &str) -> Mosquitto {
    let port = gateway.mqtt.port();
    let mut broker = Mosquitto::with(&format!(
        "log_type all\nconnection up\naddress 127.0.0.1:{port}\nremote_clientid bridge\n\
         bridge_protocol_version {version}\nrestart_timeout 1\n\
         topic # both 2 both/ both/\ntopic # out 1 out/ out/\ntopic # in 1 in/ in/\n{more}"
    ));
    for _ in 0..2 {
        broker.process().wait_for_text("Received SUBACK from local.bridge");
    }
    broker
}

fn next(sub: &mut Process) -> String {
    sub.wait_for("message", |line| line.starts_with("> "))
}

/// Everything there is on the gateway and on the broker.
struct Listeners {
    ours: Process,
    theirs: Process,
}

impl Listeners {
    fn on(gateway: &Gateway, broker: &Mosquitto) -> Listeners {
        let all = ["-q", "2", "-t", "both/#", "-t", "out/#", "-t", "in/#"];
        Listeners { ours: mosquitto_sub(gateway, &all), theirs: broker.sub(&all) }
    }

    /// The next message on either side.
    fn hear(&mut self, topic: &str, qos: [u8; 2], payload: &str) {
        let wanted = |qos: u8| format!("> {topic} q{qos} r0 {payload}");
        assert_eq!(next(&mut self.ours), wanted(qos[0]), "on the gateway");
        assert_eq!(next(&mut self.theirs), wanted(qos[1]), "on the broker");
    }
}

fn both_ways(version: &str) {
    let gateway = Gateway::dev();
    let broker = bridged(&gateway, version, "");
    let mut listeners = Listeners::on(&gateway, &broker);
    // A loop would put a copy between these, or end in a flood.
    for (number, qos) in [(0, "0"), (1, "1"), (2, "2"), (3, "2")] {
        let sent = qos.parse().expect("a digit");
        broker.publish(&["-q", qos, "-t", "both/a", "-m", &format!("theirs {number}")]);
        listeners.hear("both/a", [sent, sent], &format!("theirs {number}"));
        mosquitto_pub(&gateway, &["-q", qos, "-t", "both/a", "-m", &format!("ours {number}")]);
        listeners.hear("both/a", [sent, sent], &format!("ours {number}"));
        let one = sent.min(1);
        broker.publish(&["-q", qos, "-t", "out/a", "-m", "up"]);
        listeners.hear("out/a", [one, sent], "up");
        mosquitto_pub(&gateway, &["-q", qos, "-t", "in/a", "-m", "down"]);
        listeners.hear("in/a", [sent, one], "down");
    }
}

#[test]
fn with_the_bridge_bit() {
    both_ways("mqttv311");
}

#[test]
fn of_3_1_with_the_bridge_bit() {
    both_ways("mqttv31");
}

#[test]
fn of_5_0() {
    both_ways("mqttv50");
}

/// A bridge without the bit cannot say that it does not want its own messages; mosquitto tells the
/// copies that come back from the first, and the gateway has no part in it.
#[test]
fn without_the_bridge_bit() {
    let gateway = Gateway::dev();
    let broker = bridged(&gateway, "mqttv311", "try_private false\n");
    let mut listeners = Listeners::on(&gateway, &broker);
    broker.publish(&["-q", "1", "-t", "out/a", "-m", "up"]);
    listeners.hear("out/a", [1, 1], "up");
    mosquitto_pub(&gateway, &["-q", "1", "-t", "in/a", "-m", "down"]);
    listeners.hear("in/a", [1, 1], "down");
}

/// Retained messages cross as such in both directions: the bridge bit is retain-as-published too.
#[test]
fn retained_messages_stay_retained() {
    for version in ["mqttv311", "mqttv50"] {
        let gateway = Gateway::dev();
        let broker = bridged(&gateway, version, "");
        let mut listeners = Listeners::on(&gateway, &broker);
        broker.publish(&["-q", "1", "-r", "-t", "both/theirs", "-m", "kept"]);
        listeners.hear("both/theirs", [1, 1], "kept");
        mosquitto_pub(&gateway, &["-q", "1", "-r", "-t", "both/ours", "-m", "kept"]);
        listeners.hear("both/ours", [1, 1], "kept");
        for topic in ["both/theirs", "both/ours"] {
            let wanted = format!("> {topic} q1 r1 kept");
            let once = ["-q", "1", "-t", topic, "-C", "1"];
            assert_eq!(next(&mut mosquitto_sub(&gateway, &once)), wanted, "{version}");
            assert_eq!(next(&mut broker.sub(&once)), wanted, "{version}");
        }
    }
}

/// The bridge says on the gateway's side whether it is there, retained; its will says when not.
#[test]
fn the_bridge_tells_its_state() {
    for version in ["mqttv311", "mqttv50"] {
        let gateway = Gateway::dev();
        let mut broker = bridged(&gateway, version, "");
        let state = ["-q", "1", "-t", "$SYS/broker/connection/bridge/state"];
        let mut watcher = mosquitto_sub(&gateway, &state);
        assert_eq!(
            next(&mut watcher),
            "> $SYS/broker/connection/bridge/state q1 r1 1",
            "{version}"
        );
        broker.kill();
        assert_eq!(
            next(&mut watcher),
            "> $SYS/broker/connection/bridge/state q1 r0 0",
            "{version}"
        );
        let mut late = mosquitto_sub(&gateway, &state);
        assert_eq!(next(&mut late), "> $SYS/broker/connection/bridge/state q1 r1 0", "{version}");
    }
}
