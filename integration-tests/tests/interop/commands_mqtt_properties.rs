//! Properties of MQTT 5: what one side gives with -D the other prints, by mosquitto's formats and
//! as its JSON; mosquitto_rr and ours as asker and as the one who answers.

use motegate_tests::commands;
use motegate_tests::gateway::Gateway;
use motegate_tests::mosquitto::{Mosquitto, client};
use motegate_tests::process::Process;

/// For either publisher.
const GIVEN: &str = "-D publish content-type text/plain -D publish response-topic answers/1 \
    -D publish correlation-data c0ffee -D publish user-property unit Cel \
    -D publish user-property place hall -D publish message-expiry-interval 3600 \
    -D publish payload-format-indicator 1";
/// Of either subscriber: all of them, and the payload.
const SHOWN: &str = "%C|%R|%D|%P|%E|%F|%p";
const EXPECTED: &str = "text/plain|answers/1|c0ffee|unit:Cel place:hall|3600|1|21.5";

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

#[test]
fn all_of_them_pass_both_ways() {
    let broker = Mosquitto::start();
    let mut theirs =
        broker.sub(&["-V", "mqttv5", "-q", "1", "-t", "props", "-C", "2", "-F", SHOWN]);
    let mut ours = commands::sub(broker.address, &format!("-q 1 -t props -C 2 -F {SHOWN}"));
    let line = format!("pub -q 1 -t props -m 21.5 {}", words(GIVEN).join(" "));
    commands::run(broker.address, &line);
    let given = words(GIVEN);
    broker
        .publish(&[&["-V", "mqttv5", "-q", "1", "-t", "props", "-m", "21.5"], &given[..]].concat());
    for sub in [&mut theirs, &mut ours] {
        for _ in 0..2 {
            assert_eq!(sub.wait_for("message", |line| line.contains("21.5")), EXPECTED);
        }
    }
}

/// A line of JSON without its time, which is written differently, and its message id.
fn without_time(line: &str) -> String {
    let at = line.find(r#""topic""#).expect("a line of JSON");
    let rest = &line[at..];
    let mid = rest.find(r#","mid":"#).map(|at| {
        let end = rest[at + 7..].find(',').map_or(rest.len(), |end| at + 7 + end);
        (at, end)
    });
    mid.map_or(rest.to_owned(), |(at, end)| format!("{}{}", &rest[..at], &rest[end..]))
}

/// Byte for byte what mosquitto_sub prints.
#[test]
fn json_is_mosquittos() {
    let broker = Mosquitto::start();
    for format in ["%j", "%J"] {
        let mut theirs = broker.sub(&["-V", "mqttv5", "-q", "1", "-t", "j/#", "-F", format]);
        let mut ours = commands::sub(broker.address, &format!("-q 1 -t j/# -F {format}"));
        let line = format!("pub -q 1 -t j/a -m {{\"x\":[1,2]}} {}", words(GIVEN).join(" "));
        commands::run(broker.address, &line);
        commands::run(broker.address, "pub -q 0 -t j/b -m 3");
        commands::run(broker.address, "pub -q 0 -t j/end -m 0");
        for topic in ["j/a", "j/b", "j/end"] {
            let of = |line: &str| line.starts_with(r#"{"tst""#) && line.contains(topic);
            let (theirs, ours) = (theirs.wait_for("message", of), ours.wait_for("message", of));
            assert_eq!(without_time(&ours), without_time(&theirs), "{format}");
        }
    }
}

/// Widths and cuts, as mosquitto_sub lays them out.
#[test]
fn formats_are_mosquittos() {
    let broker = Mosquitto::start();
    let formats = [
        "[%8t]", "[%-8t]", "[%.2t]", "[%5.1t]", "[%06l]", "[%-6l]", "[%10p]", "[%x]", "[%X]",
        "[%q%r]",
    ];
    let format = formats.concat();
    let mut theirs = broker.sub(&["-V", "mqttv5", "-t", "w/x", "-F", &format]);
    let mut ours = commands::sub(broker.address, &format!("-t w/x -F {format}"));
    commands::run(broker.address, "pub -t w/x -m abc");
    let of = |line: &str| line.starts_with('[');
    assert_eq!(ours.wait_for("message", of), theirs.wait_for("message", of));
}

/// The expiry that a subscriber sees is what is left of it.
#[test]
fn a_message_that_waited_is_older_and_one_that_waited_too_long_is_gone() {
    let broker = Mosquitto::start();
    let session = "-c -i late -q 1 -t old";
    commands::run(broker.address, &format!("sub {session} -E"));
    for (secs, text) in [("1", "short"), ("3600", "long")] {
        let line = format!("pub -q 1 -t old -m {text} -D publish message-expiry-interval {secs}");
        commands::run(broker.address, &line);
    }
    let waited = std::time::Duration::from_millis(2_500); // the thing itself, not a synchronisation
    std::thread::sleep(waited);
    let lines = commands::run(broker.address, &format!("sub {session} -C 1 -F %E,%p"));
    let (left, text) = lines[0].split_once(',').expect("two fields");
    let left: u32 = left.parse().expect("a number");
    assert!((3_000..3_600).contains(&left), "{left}");
    assert_eq!(text, "long");
}

/// Both roles at both brokers: mosquitto's and ours.
#[test]
fn requests_are_answered() {
    let (broker, gateway) = (Mosquitto::start(), Gateway::dev());
    for address in [broker.address, gateway.mqtt] {
        // Ours asks, mosquitto_sub and mosquitto_pub answer.
        let words = ["-V", "mqttv5", "-t", "ask", "-F", "> %R %D %p", "-C", "1"];
        let mut server = Process::start(client("mosquitto_sub", address, &words));
        server.wait_for_text("Subscribed (mid:");
        let ask = "rr -t ask -e answers/us -m on? -q 1 -D publish correlation-data k1";
        let mut asker = commands::start(address, ask);
        asker.wait_for_text("PUBLISH qos 1");
        let asked = server.wait_for("request", |line| line.starts_with("> "));
        let [_, topic, correlation, text] = asked.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{asked}")
        };
        assert_eq!((topic, correlation, text), ("answers/us", "k1", "on?"));
        for (data, text) in [("foreign", "no"), ("k1", "yes")] {
            let words = ["-V", "mqttv5", "-t", topic, "-m", text];
            let more = ["-D", "publish", "correlation-data", data];
            Process::start(client("mosquitto_pub", address, &[&words[..], &more[..]].concat()))
                .succeed();
        }
        assert_eq!(asker.succeed(), ["yes"]);
        // mosquitto_rr asks, ours answers.
        let mut server = commands::sub(address, "-t ask -F %R|%p -C 1");
        let words = ["-V", "mqttv5", "-t", "ask", "-e", "answers/them", "-m", "off?"];
        let mut asker = Process::start(client("mosquitto_rr", address, &words));
        server.wait_for_text("answers/them|off?");
        commands::run(address, "pub -t answers/them -m no");
        asker.wait_for_text("answers/them q0 r0 no");
        asker.succeed();
    }
}
