//! `motegate pub` and `sub` over connections that are cut in the middle of packets, mosquitto being
//! alive: nothing is lost, and at QoS 2 nothing comes twice.

use motegate_tests::commands;
use motegate_tests::mosquitto::Mosquitto;
use motegate_tests::process::Process;
use motegate_tests::stream::{Feed, first_times, until_end, wrong};
use motegate_tests::tcp_relay::{Cut, TcpRelay};

/// Connections that are cut before one is left alone.
const CUTS: usize = 5;

/// Where each connection ends: the first behind its CONNACK, for a tool gives up on a server that
/// it never reached; the others anywhere, in CONNECT and CONNACK too. `sent` and `received` are
/// the bytes that about a hundred messages take.
fn cuts(seed: u64, sent: usize, received: usize) -> Vec<Cut> {
    let mut state = seed;
    let mut random = |below: usize| {
        // splitmix64
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from(z >> 33).expect("31 bits") % below
    };
    (0..CUTS)
        .map(|n| {
            let least = if n == 0 { 200 } else { 1 };
            match random(2) {
                0 => Cut::Sent(least + random(sent)),
                _ => Cut::Received(least + random(received)),
            }
        })
        .collect()
}

/// From our publisher through the cuts to mosquitto_sub.
fn published(session: &str, qos: &str, seed: u64) {
    let broker = Mosquitto::start();
    let relay = TcpRelay::start(broker.address, cuts(seed, 2_000, 400));
    let mut sub = broker.sub(&["-q", "2", "-t", "fed"]);
    let line = format!("pub {session} -q {qos} -t fed -l");
    let mut publisher = commands::start(relay.address, &line);
    let mut feed = Feed::default();
    feed.until(&mut publisher, || relay.cuts_made() == CUTS);
    feed.more(&mut publisher, 50);
    let ended = publisher.finish();
    assert!(ended.status.success(), "{ended:#?}");
    let again = ended.stderr.iter().filter(|line| line.contains("connecting again")).count();
    assert!(again >= CUTS, "{ended:#?}");
    let all = format!("PUBLISH {} messages qos {qos}", feed.lines().len());
    assert!(ended.stderr.iter().any(|line| line.contains(&all)), "{ended:#?}");
    broker.publish(&["-q", "2", "-t", "fed", "-m", "end"]);
    arrived(&mut sub, qos, feed.lines());
}

/// From mosquitto_pub to our subscriber through the cuts.
fn subscribed(version: &str, qos: &str, seed: u64) {
    let broker = Mosquitto::start();
    let relay = TcpRelay::start(broker.address, cuts(seed, 400, 2_000));
    let line = format!("-V {version} -c -i reader -q {qos} -t fed");
    let mut sub = commands::sub(relay.address, &line);
    let line = ["-q", "2", "-t", "fed", "-l"];
    let mut publisher = Process::start(broker.client("mosquitto_pub", &line));
    let mut feed = Feed::default();
    feed.until(&mut publisher, || relay.cuts_made() == CUTS);
    feed.more(&mut publisher, 50);
    publisher.succeed();
    broker.publish(&["-q", "2", "-t", "fed", "-m", "end"]);
    arrived(&mut sub, qos, feed.lines());
}

/// At QoS 2 exactly the lines, at QoS 1 each at least once and first in its order
/// [MQTT-4.6.0-6].
fn arrived(sub: &mut Process, qos: &str, lines: &[String]) {
    let got = until_end(sub);
    if qos == "2" {
        assert_eq!(wrong(&got, lines), "", "not exactly once");
    } else {
        assert_eq!(wrong(&first_times(&got), lines), "", "not each at least once and in order");
    }
}

#[test]
fn at_least_once_from_us_in_5_0() {
    published("-V 5", "1", 51);
}

#[test]
fn exactly_once_from_us_in_5_0() {
    published("-V 5", "2", 52);
}

#[test]
fn at_least_once_from_us_in_3_1_1() {
    published("-V 311 -c -i feeder", "1", 41);
}

#[test]
fn exactly_once_from_us_in_3_1_1() {
    published("-V 311 -c -i feeder", "2", 42);
}

/// 3.1 has no word on whether the session was found.
#[test]
fn exactly_once_from_us_in_3_1() {
    published("-V 31 -c -i feeder", "2", 32);
}

#[test]
fn at_least_once_to_us_in_5_0() {
    subscribed("5", "1", 151);
}

#[test]
fn exactly_once_to_us_in_5_0() {
    subscribed("5", "2", 152);
}

#[test]
fn exactly_once_to_us_in_3_1_1() {
    subscribed("311", "2", 142);
}
