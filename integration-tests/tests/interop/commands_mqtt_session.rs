//! Sessions that outlive their connection and subscriptions that are shared, by our commands at
//! mosquitto's broker.

use motegate_tests::commands;
use motegate_tests::mosquitto::Mosquitto;

#[test]
fn messages_wait_for_a_kept_session() {
    let broker = Mosquitto::start();
    for version in ["-V 31", "-V 311", "-V 5", "-V 5 -x 600"] {
        let id = version.replace(' ', "");
        let session = format!("{version} -c -i keep{id} -q 2 -t queue");
        commands::run(broker.address, &format!("sub {session} -E"));
        for qos in ["0", "1", "2"] {
            broker.publish(&["-q", qos, "-t", "queue", "-m", qos]);
        }
        // What is printed is acknowledged, and nothing else.
        let one = commands::run(broker.address, &format!("sub {session} -C 1"));
        assert_eq!(one, ["1"], "QoS 0 is not queued: {version}");
        let two = commands::run(broker.address, &format!("sub {session} -C 1"));
        assert_eq!(two, ["2"], "{version}");
        // Without -c it is over.
        let clean = format!("sub {version} -i keep{id} -q 1 -t other -E");
        commands::run(broker.address, &clean.replace(" -x 600", ""));
        broker.publish(&["-q", "1", "-t", "queue", "-m", "missed"]);
        let mut back = commands::sub(broker.address, &format!("{session} -C 1"));
        broker.publish(&["-q", "1", "-t", "queue", "-m", "new"]);
        back.rewind();
        let first = back.wait_for("message", |line| line.starts_with("> "));
        assert_eq!(first, "> queue q1 r0 new", "{version}");
    }
}

/// Each message goes to one of the group, whichever side its members are of.
#[test]
fn a_shared_subscription_is_shared_with_mosquittos_client() {
    let broker = Mosquitto::start();
    let filter = "$share/group/work";
    let mut ours = commands::sub(broker.address, &format!("-q 1 -t {filter} -t end"));
    let mut theirs = broker.sub(&["-V", "mqttv5", "-q", "1", "-t", filter, "-t", "end"]);
    let mut publisher = commands::start(broker.address, "pub -q 1 -t work -l");
    let lines: Vec<String> = (0..40).map(|number| format!("job {number}")).collect();
    lines.iter().for_each(|line| publisher.say(line));
    publisher.succeed();
    commands::run(broker.address, "pub -q 1 -t end -m end");
    let (of_us, of_them) = (
        motegate_tests::stream::until_end(&mut ours),
        motegate_tests::stream::until_end(&mut theirs),
    );
    assert!(!of_us.is_empty() && !of_them.is_empty(), "{of_us:?} {of_them:?}");
    let mut all = [of_us, of_them].concat();
    all.sort_by_key(|line| lines.iter().position(|other| other == line));
    assert_eq!(all, lines, "each once");
}

/// -U takes a subscription of the kept session away.
#[test]
fn a_subscription_is_given_up() {
    let broker = Mosquitto::start();
    commands::run(broker.address, "sub -c -i half -q 1 -t a -t b -E");
    let mut sub = commands::sub(broker.address, "-c -i half -q 1 -t b -U a -C 1");
    let line = ["-q", "1", "-t", "a", "-m", "not this"];
    // UNSUBSCRIBE follows SUBSCRIBE; the broker has it before a publish that comes after b's.
    broker.publish(&["-q", "1", "-t", "b", "-m", "first"]);
    sub.rewind();
    sub.wait_for_text("> b q1 r0 first");
    sub.succeed();
    broker.publish(&line);
    broker.publish(&["-q", "1", "-t", "b", "-m", "second"]);
    let lines = commands::run(broker.address, "sub -c -i half -q 1 -t b -C 1");
    assert_eq!(lines, ["second"]);
}
