//! Our commands and mosquitto's on both sides of mosquitto's broker, in every version and at every
//! QoS; and where the lines come from.

use motegate_tests::commands;
use motegate_tests::mosquitto::Mosquitto;
use motegate_tests::stream::{until_end, wrong};

/// As ours and as mosquitto's commands write them.
const VERSIONS: [(&str, &str); 3] = [("31", "mqttv31"), ("311", "mqttv311"), ("5", "mqttv5")];

/// What arrives is min(published, granted), once each, whoever publishes and whoever subscribes.
fn every_qos(ours: &str, theirs: &str) {
    let broker = Mosquitto::start();
    for granted in ["0", "1", "2"] {
        let filter = format!("-V {ours} -q {granted} -t plant/+/temp -C 6");
        let mut our_sub = commands::sub(broker.address, &filter);
        let words: Vec<&str> = vec!["-V", theirs, "-q", granted, "-t", "plant/+/temp", "-C", "6"];
        let mut their_sub = broker.sub(&words);
        for published in ["0", "1", "2"] {
            let line = format!("pub -V {ours} -q {published} -t plant/a/temp -m ours-{published}");
            commands::run(broker.address, &line);
            let payload = format!("theirs-{published}");
            let words = ["-V", theirs, "-q", published, "-t", "plant/a/temp", "-m", &payload];
            broker.publish(&words);
            let qos = published.min(granted);
            for sub in [&mut our_sub, &mut their_sub] {
                for whose in ["ours", "theirs"] {
                    let got = sub.wait_for("message", |line| line.starts_with("> "));
                    assert_eq!(got, format!("> plant/a/temp q{qos} r0 {whose}-{published}"));
                }
            }
        }
        assert_eq!(our_sub.succeed().len(), 6, "nothing came twice");
        let lines = their_sub.succeed();
        assert_eq!(lines.iter().filter(|line| line.starts_with("> ")).count(), 6, "{lines:#?}");
    }
}

#[test]
fn every_qos_in_3_1() {
    every_qos(VERSIONS[0].0, VERSIONS[0].1);
}

#[test]
fn every_qos_in_3_1_1() {
    every_qos(VERSIONS[1].0, VERSIONS[1].1);
}

#[test]
fn every_qos_in_5_0() {
    every_qos(VERSIONS[2].0, VERSIONS[2].1);
}

/// Ours in one version, theirs in another: the broker is between them.
#[test]
fn versions_meet() {
    let broker = Mosquitto::start();
    for (ours, _) in VERSIONS {
        for (_, theirs) in VERSIONS {
            let mut sub = broker.sub(&["-V", theirs, "-q", "2", "-t", "v", "-C", "1"]);
            commands::run(broker.address, &format!("pub -V {ours} -q 2 -t v -m {ours}-{theirs}"));
            sub.wait_for_text(&format!("> v q2 r0 {ours}-{theirs}"));
        }
    }
}

/// More at once than mosquitto takes in flight, faster than it stores.
#[test]
fn a_burst_of_lines_arrives_whole_and_in_order() {
    let broker = Mosquitto::start();
    let lines: Vec<String> = (0..500).map(|number| format!("line {number}")).collect();
    for (ours, _) in VERSIONS {
        let mut their_sub = broker.sub(&["-q", "2", "-t", "burst"]);
        let mut our_sub = commands::sub(broker.address, &format!("-V {ours} -q 2 -t burst"));
        let line = format!("pub -V {ours} -q 2 -t burst -l");
        let mut publisher = commands::start(broker.address, &line);
        lines.iter().for_each(|line| publisher.say(line));
        publisher.say("end");
        let ended = publisher.finish();
        assert!(ended.status.success(), "{ended:#?}");
        assert!(!ended.stderr.iter().any(|line| line.contains("again")), "{ended:#?}");
        for sub in [&mut our_sub, &mut their_sub] {
            assert_eq!(wrong(&until_end(sub), &lines), "", "-V {ours}");
        }
    }
}

/// -s and -f take everything, line ends and zero bytes too; -n sends nothing at all.
#[test]
fn payloads_come_from_stdin_and_files() {
    let broker = Mosquitto::start();
    let mut sub = broker.sub(&["-t", "p", "-F", "> %l %x", "-C", "3"]);
    let mut publisher = commands::start(broker.address, "pub -t p -s");
    publisher.say("a");
    publisher.say("b");
    publisher.succeed();
    let file = broker.file("payload", b"\0\xff\n");
    commands::run(broker.address, &format!("pub -t p -f {}", file.display()));
    commands::run(broker.address, "pub -t p -n");
    for expected in ["> 4 610a620a", "> 3 00ff0a", "> 0 "] {
        assert_eq!(sub.wait_for("message", |line| line.starts_with("> ")), expected);
    }
}

/// The broker's other door.
#[test]
fn the_unix_socket_of_mosquitto() {
    let broker = Mosquitto::start();
    let socket = broker.socket.display().to_string();
    let mut sub = broker.sub(&["-q", "2", "-t", "u"]);
    let mut command = std::process::Command::new(motegate_tests::gateway::binary());
    command.args(["pub", "--unix", &socket, "-q", "2", "-t", "u", "-m", "by socket"]);
    motegate_tests::process::Process::start(command).succeed();
    sub.wait_for_text("> u q2 r0 by socket");
}
