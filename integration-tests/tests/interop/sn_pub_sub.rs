//! mqtt-sn-12: its two command line tools, and its library driven through `peers/sn.py`.

use motegate_tests::gateway::Gateway;
use motegate_tests::peer::{from_venv, mosquitto_pub, mosquitto_sub, python};
use motegate_tests::process::Process;

const TOPIC_IDS: &str = "mappings:
  mqttsn:
    topic_ids:
      all: {1: \"dev/{client}/up\", 2: \"dev/{client}/cmd\"}
      \"client:legacy-7\": {10: \"old/plant/seven\"}
    qos_minus_one: {ids: [1], client: \"anon\", rate: 50/s}
";

/// A client of `peers/sn.py`, connected.
pub(crate) fn client(gateway: &Gateway, id: &str) -> Process {
    let mut client = python("sn.py", gateway, &[]);
    ask(&mut client, &format!("connect {id} 1"), "connected");
    client
}

/// Gives a command; everything before its answer is passed over.
pub(crate) fn ask(client: &mut Process, command: &str, answer: &str) {
    client.say(command);
    let got = client.wait_for(answer, |line| line == answer || line.starts_with("error"));
    assert_eq!(got, answer, "{command}");
}

/// The next message.
pub(crate) fn next(client: &mut Process) -> String {
    client.say("next");
    // What its library has to say of an earlier answer may come between.
    let of_ours = ["message ", "unknown ", "disconnected ", "error "];
    client.wait_for("message", |line| of_ours.iter().any(|word| line.starts_with(word)))
}

fn tool(name: &str, gateway: &Gateway, arguments: &[&str]) -> Process {
    let mut command = from_venv(name);
    command.args(["-h", "127.0.0.1", "-p", &gateway.mqtt_sn.port().to_string()]);
    command.args(arguments);
    Process::start(command)
}

#[test]
fn mqtt_sn_pub_at_each_qos() {
    let gateway = Gateway::dev();
    let mut sub = mosquitto_sub(&gateway, &["-q", "2", "-t", "sn/#", "-C", "3"]);
    for qos in ["0", "1", "2"] {
        tool("mqtt_sn_pub", &gateway, &["-t", "sn/temp", "-m", "21.5", "-q", qos, "-i", "mote"])
            .succeed();
        let got = sub.wait_for("message", |line| line.starts_with("> "));
        assert_eq!(got, format!("> sn/temp q{qos} r0 21.5"));
    }
    sub.succeed();
}

#[test]
fn mqtt_sn_sub_gets_what_mosquitto_pub_sends() {
    let gateway = Gateway::dev();
    for qos in ["0", "1"] {
        let id = format!("panel-{qos}");
        let mut sub =
            tool("mqtt_sn_sub", &gateway, &["-t", "site/+/door", "-q", qos, "-i", &id, "-1", "-d"]);
        sub.wait_for_text("SUBACK return code: 0");
        mosquitto_pub(&gateway, &["-q", "1", "-t", "site/a/door", "-m", "open"]);
        let lines = sub.succeed();
        assert!(lines.iter().any(|line| line == "open"), "{lines:#?}");
    }
}

#[test]
fn subscriptions_by_name_wildcard_and_short_name() {
    let gateway = Gateway::dev();
    let mut client = client(&gateway, "mote");
    for (filter, topic) in [("a/b", "a/b"), ("w/#", "w/x/y"), ("tt", "tt")] {
        for granted in ["0", "1", "2"] {
            ask(&mut client, &format!("subscribe {filter} {granted}"), "subscribed");
            for sent in ["0", "1", "2"] {
                mosquitto_pub(&gateway, &["-q", sent, "-t", topic, "-m", "x"]);
                let lower = sent.min(granted);
                assert_eq!(next(&mut client), format!("message {topic} q{lower} r0 x"));
            }
        }
    }
    ask(&mut client, "unsubscribe a/b", "unsubscribed");
    mosquitto_pub(&gateway, &["-q", "1", "-t", "a/b", "-m", "no longer"]);
    mosquitto_pub(&gateway, &["-q", "1", "-t", "tt", "-m", "mark"]);
    assert_eq!(next(&mut client), "message tt q1 r0 mark");
}

#[test]
fn many_topics_behind_one_wildcard_are_registered_one_by_one() {
    let gateway = Gateway::dev();
    let mut client = client(&gateway, "mote");
    ask(&mut client, "subscribe many/# 1", "subscribed");
    let mut sub = mosquitto_sub(&gateway, &["-t", "many/done"]);
    for number in 0..10 {
        let topic = format!("many/{number}");
        mosquitto_pub(&gateway, &["-q", "1", "-t", &topic, "-m", "x"]);
    }
    mosquitto_pub(&gateway, &["-q", "1", "-t", "many/done", "-m", "x"]);
    sub.wait_for_text("> many/done");
    for number in 0..10 {
        assert_eq!(next(&mut client), format!("message many/{number} q1 r0 x"));
    }
}

#[test]
fn retained_messages_go_both_ways() {
    let gateway = Gateway::dev();
    let mut client = client(&gateway, "mote");
    ask(&mut client, "publish state/mote 1 1 on", "published");
    let mut late = mosquitto_sub(&gateway, &["-q", "1", "-t", "state/#", "-C", "1"]);
    late.wait_for_text("> state/mote q1 r1 on");
    mosquitto_pub(&gateway, &["-r", "-q", "1", "-t", "state/hall", "-m", "off"]);
    ask(&mut client, "subscribe state/hall 1", "subscribed");
    assert_eq!(next(&mut client), "message state/hall q1 r1 off");
}

#[test]
fn predefined_ids_are_topics_of_the_mapping() {
    let gateway = Gateway::run(TOPIC_IDS);
    let mut sub = mosquitto_sub(&gateway, &["-q", "2", "-t", "dev/#", "-t", "old/#"]);
    let mut env = client(&gateway, "env-3");
    for qos in ["0", "1", "2"] {
        ask(&mut env, &format!("publish-id 1 {qos} 0 21"), "published");
        assert_eq!(
            sub.wait_for("message", |line| line.starts_with("> ")),
            format!("> dev/env-3/up q{qos} r0 21")
        );
    }
    let mut legacy = client(&gateway, "legacy-7");
    ask(&mut legacy, "publish-id 10 1 0 old", "published");
    sub.wait_for_text("> old/plant/seven q1 r0 old");
    // The same id is nothing to anybody else.
    env.say("publish-id 10 1 0 x");
    env.wait_for("refusal", |line| line.starts_with("error") && line.contains("invalid topic"));
    // And downlink keeps the type that was subscribed with.
    ask(&mut env, "subscribe-id 2 1", "subscribed");
    mosquitto_pub(&gateway, &["-q", "1", "-t", "dev/env-3/cmd", "-m", "go"]);
    assert_eq!(next(&mut env), "message #2 q1 r0 go");
}

#[test]
fn qos_minus_one_needs_no_connection() {
    let gateway = Gateway::run(TOPIC_IDS);
    let mut sub = mosquitto_sub(&gateway, &["-q", "2", "-t", "dev/#"]);
    tool("mqtt_sn_pub", &gateway, &["-T", "1", "-m", "bare", "-q", "-1"]).succeed();
    sub.wait_for_text("> dev/anon/up q0 r0 bare");
}

#[test]
fn a_goodbye_drops_a_will_that_was_updated() {
    let gateway = Gateway::dev();
    let mut sub = mosquitto_sub(&gateway, &["-q", "2", "-t", "wills/#"]);
    let mut client = python("sn.py", &gateway, &[]);
    ask(&mut client, "connect mote 1 wills/mote gone", "connected");
    ask(&mut client, "will-update wills/other lost", "will updated");
    ask(&mut client, "ping", "pong");
    ask(&mut client, "disconnect", "disconnected");
    mosquitto_pub(&gateway, &["-q", "1", "-t", "wills/mark", "-m", "mark"]);
    assert_eq!(sub.wait_for("message", |line| line.starts_with("> ")), "> wills/mark q1 r0 mark");
}

#[test]
fn a_lost_client_leaves_its_will_as_it_was_updated() {
    let gateway = Gateway::dev();
    let mut sub = mosquitto_sub(&gateway, &["-q", "2", "-t", "wills/#"]);
    let mut client = python("sn.py", &gateway, &[]);
    ask(&mut client, "keep-alive 1", "kept alive");
    ask(&mut client, "connect mote 1 wills/mote gone", "connected");
    ask(&mut client, "will-update wills/other lost", "will updated");
    drop(client);
    let will = sub.wait_for("message", |line| line.starts_with("> "));
    assert!(will.starts_with("> wills/other q") && will.ends_with(" lost"), "{will}");
}

#[test]
fn a_lost_client_leaves_its_will() {
    let gateway = Gateway::dev();
    let mut sub = mosquitto_sub(&gateway, &["-q", "2", "-t", "wills/#"]);
    let will =
        ["--will-topic", "wills/tool", "--will-payload", "gone", "--will-qos", "1", "-k", "1"];
    let mut client = tool(
        "mqtt_sn_sub",
        &gateway,
        &[&will[..], &["-t", "nothing", "-i", "mote", "-d"]].concat(),
    );
    client.wait_for_text("SUBACK return code: 0");
    drop(client);
    assert_eq!(sub.wait_for("message", |line| line.starts_with("> ")), "> wills/tool q1 r0 gone");
}

#[test]
fn the_gateway_is_found() {
    let gateway = Gateway::dev();
    let mut client = python("sn.py", &gateway, &[]);
    ask(&mut client, "search", "found");
}

#[test]
fn one_client_does_all_that_its_library_can() {
    let gateway = Gateway::run(TOPIC_IDS);
    let mut sub = mosquitto_sub(&gateway, &["-q", "2", "-t", "up/#", "-t", "dev/+/up", "-t", "zz"]);
    let mut mote = python("sn.py", &gateway, &[]);
    ask(&mut mote, "search", "found");
    ask(&mut mote, "connect mote 0 wills/mote gone", "connected");
    ask(&mut mote, "subscribe-id 2 1", "subscribed");
    for topic in ["w/#", "one/name", "tt"] {
        ask(&mut mote, &format!("subscribe {topic} 2"), "subscribed");
    }
    for qos in ["0", "1", "2"] {
        for (command, topic) in [
            (format!("publish up/a {qos} 0 x"), "up/a"),
            (format!("publish zz {qos} 0 x"), "zz"),
            (format!("publish-id 1 {qos} 0 x"), "dev/mote/up"),
        ] {
            ask(&mut mote, &command, "published");
            let got = sub.wait_for("message", |line| line.starts_with("> "));
            assert_eq!(got, format!("> {topic} q{qos} r0 x"));
        }
        for (topic, heard) in
            [("w/x", "w/x"), ("one/name", "one/name"), ("tt", "tt"), ("dev/mote/cmd", "#2")]
        {
            mosquitto_pub(&gateway, &["-q", qos, "-t", topic, "-m", "down"]);
            let granted = if heard == "#2" { qos.min("1") } else { qos };
            assert_eq!(next(&mut mote), format!("message {heard} q{granted} r0 down"));
        }
    }
    ask(&mut mote, "publish-id 1 -1 0 bare", "published");
    sub.wait_for_text("> dev/anon/up q0 r0 bare");
    ask(&mut mote, "will-update wills/other lost", "will updated");
    ask(&mut mote, "unsubscribe one/name", "unsubscribed");
    mosquitto_pub(&gateway, &["-q", "1", "-t", "one/name", "-m", "unheard"]);
    ask(&mut mote, "ping", "pong");
    // Asleep, awake, asleep; then away: the session that is not clean has what came meanwhile.
    ask(&mut mote, "sleep 60", "asleep");
    mosquitto_pub(&gateway, &["-q", "1", "-t", "w/x", "-m", "slept"]);
    mote.say("wake");
    let got = mote.wait_for("the buffer", |line| line.starts_with("message"));
    assert_eq!(got, "message w/x q1 r0 slept");
    assert_eq!(mote.wait_for("its end", |line| line == "pingresp"), "pingresp");
    ask(&mut mote, "active", "connected");
    ask(&mut mote, "disconnect", "disconnected");
    mosquitto_pub(&gateway, &["-q", "1", "-t", "w/x", "-m", "away"]);
    ask(&mut mote, "connect mote 0", "connected");
    assert_eq!(next(&mut mote), "message w/x q1 r0 away");
    ask(&mut mote, "disconnect", "disconnected");
}
