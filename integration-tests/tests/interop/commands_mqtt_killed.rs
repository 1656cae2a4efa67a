//! `motegate pub` and `sub` while the broker is killed and comes back.
//!
//! mosquitto acknowledges before it writes its store, so that a kill may lose what it had
//! acknowledged, whatever the client does. Here its answers pass a gate that opens when the store
//! is on the disk: what our client hears acknowledged is then kept, what it does not hear it must
//! send again, and a message that is missing in the end was lost by the client. The gateway keeps
//! sessions in memory: there the commands must come back and go on.

use std::time::Duration;

use motegate_tests::commands;
use motegate_tests::gateway::Gateway;
use motegate_tests::mosquitto::Mosquitto;
use motegate_tests::process::Process;
use motegate_tests::stream::{Feed, first_times, until_end, wrong};
use motegate_tests::tcp_relay::TcpRelay;

const KILLS: usize = 3;
/// A session that never expires: mosquitto 2.0.11 forgets any other of MQTT 5 when it is killed,
/// and with it the QoS 2 messages whose PUBREC it had sent.
const SESSION: &str = "-c -i feeder";

/// Kills the broker under a running feed, again and again. Each time it has accepted connections
/// again and taken new lines before the next kill.
fn kill_under(
    broker: &mut Mosquitto,
    relay: &TcpRelay,
    publisher: &mut Process,
    clients: usize,
) -> Feed {
    let mut feed = Feed::default();
    for kill in 1..=KILLS {
        feed.more(publisher, 60 + 17 * kill);
        broker.kill();
        // Some are written while nobody is there.
        feed.more(publisher, 20);
        broker.restart();
        feed.until(publisher, || relay.accepted() >= (1 + kill) * clients);
    }
    feed.more(publisher, 60);
    feed
}

/// The subscriber is away, and mosquitto's own: what it finds is what the broker had kept.
fn publisher(qos: &str) {
    let mut broker = Mosquitto::start();
    // At QoS 1 once is once, too, on one connection. At QoS 2 this broker sends a backlog faster
    // than its own client allows, which then loses some of it.
    let session = ["-c", "-i", "keeper", "-V", "mqttv311", "-q", "1", "-t", "fed"];
    broker.sub(&[&session[..], &["-E"]].concat()).succeed();
    assert!(broker.stored()(), "the session is on the disk");
    let relay = TcpRelay::gated(broker.address, Vec::new(), broker.stored());
    let mut publisher =
        commands::start(relay.address, &format!("pub {SESSION} -q {qos} -t fed -l"));
    let feed = kill_under(&mut broker, &relay, &mut publisher, 1);
    let ended = publisher.finish();
    assert!(ended.status.success(), "{ended:#?}");
    let lost = ended.stderr.iter().filter(|line| line.contains("connecting again")).count();
    assert!(lost >= KILLS, "{ended:#?}");
    broker.publish(&["-q", "2", "-t", "fed", "-m", "end"]);
    let mut keeper = Process::start(broker.client("mosquitto_sub", &session));
    arrived(&until_end(&mut keeper), qos, feed.lines());
}

/// Our publisher and our subscriber, which stays and keeps its session.
fn subscriber(qos: &str) {
    let mut broker = Mosquitto::start();
    let relay = TcpRelay::gated(broker.address, Vec::new(), broker.stored());
    let mut sub = commands::sub(relay.address, &format!("-c -i reader -q {qos} -t fed"));
    let mut publisher =
        commands::start(relay.address, &format!("pub {SESSION} -q {qos} -t fed -l"));
    let feed = kill_under(&mut broker, &relay, &mut publisher, 2);
    publisher.succeed();
    broker.publish(&["-q", "2", "-t", "fed", "-m", "end"]);
    arrived(&until_end(&mut sub), qos, feed.lines());
}

fn arrived(got: &[String], qos: &str, lines: &[String]) {
    if qos == "2" {
        assert_eq!(wrong(got, lines), "", "not exactly once");
    } else {
        assert_eq!(wrong(&first_times(got), lines), "", "not each at least once and in order");
    }
}

#[test]
fn nothing_acknowledged_at_qos_1_is_lost() {
    publisher("1");
}

#[test]
fn what_is_published_at_qos_2_is_there_once() {
    publisher("2");
}

#[test]
fn a_subscriber_at_qos_1_misses_nothing() {
    subscriber("1");
}

#[test]
fn a_subscriber_at_qos_2_gets_each_once() {
    subscriber("2");
}

/// Sessions die with the gateway: the subscription is made anew, what was not acknowledged is sent
/// to the new one, and all that is published from then on arrives.
#[test]
fn commands_come_back_to_a_gateway_that_was_killed() {
    for version in ["5", "311", "31"] {
        let gateway = Gateway::dev();
        let relay = TcpRelay::start(gateway.mqtt, Vec::new());
        let mut sub = commands::sub(relay.address, &format!("-V {version} -q 1 -t fed"));
        let line = format!("pub -V {version} -q 1 -t fed -l");
        let mut publisher = commands::start(relay.address, &line);
        let mut feed = Feed::default();
        feed.more(&mut publisher, 50);
        sub.wait_for_text("line 49");
        let next = Gateway::dev();
        relay.lead_to(next.mqtt);
        drop(gateway);
        sub.wait_for_text("connected again");
        // SUBSCRIBE follows CONNECT at once, but only a message proves that it is through.
        while !sub.prints_within("probe", Duration::from_millis(200)) {
            commands::run(next.mqtt, "pub -q 1 -t fed -m probe");
        }
        let from = feed.lines().len();
        feed.more(&mut publisher, 50);
        let ended = publisher.finish();
        assert!(ended.status.success(), "{ended:#?}");
        assert!(ended.stderr.iter().any(|line| line.contains("100 messages")), "{ended:#?}");
        commands::run(next.mqtt, "pub -q 1 -t fed -m end");
        let mut got = until_end(&mut sub);
        got.retain(|line| line != "probe");
        assert_eq!(got, feed.lines()[from..], "{version}");
    }
}
