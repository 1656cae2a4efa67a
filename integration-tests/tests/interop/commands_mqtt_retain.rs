//! Retained messages and wills of our commands at mosquitto's broker, and mosquitto's for ours.

use motegate_tests::commands;
use motegate_tests::mosquitto::Mosquitto;

const VERSIONS: [&str; 3] = ["31", "311", "5"];

#[test]
fn a_late_subscriber_sees_the_flag_until_it_is_cleared() {
    let broker = Mosquitto::start();
    for version in VERSIONS {
        let topic = format!("door/{version}");
        let publish = |rest: &str| {
            commands::run(broker.address, &format!("pub -V {version} -q 1 -t {topic} {rest}"));
        };
        publish("-r -m open");
        publish("-m passing");
        let mut theirs = broker.sub(&["-q", "1", "-t", &topic, "-C", "1"]);
        theirs.wait_for_text(&format!("> {topic} q1 r1 open"));
        let line = format!("-V {version} -q 1 -t {topic} -C 2");
        let mut ours = commands::sub(broker.address, &line);
        ours.rewind();
        ours.wait_for_text(&format!("> {topic} q1 r1 open"));
        publish("-r -m ajar");
        ours.wait_for_text(&format!("> {topic} q1 r0 ajar"));
        publish("-r -n");
        broker.publish(&["-t", &topic, "-r", "-q", "1", "-n"]); // to clear what is clear is no fault
        let mut late = commands::sub(broker.address, &format!("-t {topic} -t end -C 1"));
        commands::run(broker.address, "pub -t end -m end");
        late.rewind();
        let first = late.wait_for("message", |line| line.starts_with("> "));
        assert_eq!(first, "> end q0 r0 end", "-V {version}");
    }
}

#[test]
fn stale_ones_are_left_out_or_the_only_ones() {
    let broker = Mosquitto::start();
    for topic in ["s/1", "s/2"] {
        broker.publish(&["-r", "-q", "1", "-t", topic, "-m", "stale"]);
    }
    let mut fresh = commands::sub(broker.address, "-R -t s/# -C 1");
    let stale = commands::sub(broker.address, "--retained-only -t s/#");
    broker.publish(&["-q", "1", "-t", "s/1", "-m", "fresh"]);
    fresh.rewind();
    assert_eq!(fresh.wait_for("message", |line| line.starts_with("> ")), "> s/1 q0 r0 fresh");
    let lines = stale_lines(stale.succeed());
    assert_eq!(lines, ["> s/1 q0 r1 stale", "> s/2 q0 r1 stale"]);
    // Both are deleted; the deletions come back live and end it.
    let removed = commands::run(broker.address, "sub -t s/# --remove-retained --retained-only");
    assert_eq!(removed, ["stale", "stale"]);
    let mut after = broker.sub(&["-t", "s/#", "-C", "1"]);
    broker.publish(&["-t", "s/3", "-m", "end"]);
    assert_eq!(after.wait_for("message", |line| line.starts_with("> ")), "> s/3 q0 r0 end");
}

fn stale_lines(mut lines: Vec<String>) -> Vec<String> {
    lines.sort();
    lines
}

#[test]
fn a_killed_command_leaves_its_will_and_a_polite_one_does_not() {
    let broker = Mosquitto::start();
    for version in VERSIONS {
        let topic = format!("wills/{version}");
        let will = format!("--will-topic {topic} --will-payload gone --will-qos 1 --will-retain");
        let mut heir = broker.sub(&["-q", "2", "-t", &topic]);
        // SIGTERM is a goodbye: the next message is not the will.
        let polite = commands::sub(broker.address, &format!("-V {version} -t x {will}"));
        polite.signal("TERM");
        polite.succeed();
        broker.publish(&["-t", &topic, "-m", "no will"]);
        let first = heir.wait_for("message", |line| line.starts_with("> "));
        assert_eq!(first, format!("> {topic} q0 r0 no will"));
        // Dropped, it is killed with SIGKILL.
        drop(commands::sub(broker.address, &format!("-V {version} -t x {will}")));
        heir.wait_for_text(&format!("> {topic} q1 r0 gone"));
        let mut late = commands::sub(broker.address, &format!("-q 1 -t {topic} -C 1"));
        late.rewind();
        late.wait_for_text(&format!("> {topic} q1 r1 gone"));
    }
    // A publisher that waits for its next line has one, too; and its properties.
    let will = "--will-topic wills/p --will-payload gone -D will content-type text/plain";
    let mut heir = broker.sub(&["-V", "mqttv5", "-t", "wills/p", "-F", "> %C %p"]);
    let mut publisher = commands::start(broker.address, &format!("pub -t x -l {will}"));
    let mut seen = broker.sub(&["-t", "x"]);
    publisher.say("here");
    seen.wait_for_text("> x q0 r0 here");
    drop(publisher);
    heir.wait_for_text("> text/plain gone");
}

/// mosquitto's client is killed and ours hears of it.
#[test]
fn the_will_of_another_arrives() {
    let broker = Mosquitto::start();
    let mut heir = commands::sub(broker.address, "-q 2 -t wills/# -C 1");
    let will = ["--will-topic", "wills/x", "--will-payload", "gone", "--will-qos", "2"];
    drop(broker.sub(&[&["-V", "mqttv5", "-t", "nothing"], &will[..]].concat()));
    heir.wait_for_text("> wills/x q2 r0 gone");
    heir.succeed();
}
