//! Sleep (MQTT-SN 1.2 §6.14): what comes while a client sleeps waits, and is handed over once,
//! before PINGRESP.

use motegate_tests::gateway::Gateway;
use motegate_tests::peer::{mosquitto_pub, mosquitto_sub};
use motegate_tests::process::Process;

use crate::sn_pub_sub::{ask, client};

/// Wakes the client by PINGREQ; the messages that came before PINGRESP.
fn wake(client: &mut Process) -> Vec<String> {
    client.say("wake");
    let mut messages = Vec::new();
    loop {
        match client.wait_for("message or pingresp", |line| !line.is_empty()) {
            line if line == "pingresp" => return messages,
            line => messages.push(line),
        }
    }
}

#[test]
fn everything_buffered_comes_once_before_pingresp() {
    let gateway = Gateway::dev();
    let mut mote = client(&gateway, "sleeper");
    ask(&mut mote, "subscribe cmd/# 2", "subscribed");
    ask(&mut mote, "subscribe tt 1", "subscribed");
    ask(&mut mote, "sleep 600", "asleep");
    let mut expected = Vec::new();
    for number in 0..8 {
        let qos = (number % 3).to_string();
        let topic = format!("cmd/{}", number % 2);
        mosquitto_pub(&gateway, &["-q", &qos, "-t", &topic, "-m", &number.to_string()]);
        expected.push(format!("message {topic} q{qos} r0 {number}"));
    }
    mosquitto_pub(&gateway, &["-q", "1", "-t", "tt", "-m", "short"]);
    expected.push("message tt q1 r0 short".into());
    assert_eq!(wake(&mut mote), expected);
    assert_eq!(wake(&mut mote), Vec::<String>::new(), "nothing comes a second time");
    // Asleep again: what comes now waits too.
    mosquitto_pub(&gateway, &["-q", "1", "-t", "cmd/0", "-m", "later"]);
    assert_eq!(wake(&mut mote), ["message cmd/0 q1 r0 later"]);
}

#[test]
fn connect_from_sleep_hands_over_the_buffer_too() {
    let gateway = Gateway::dev();
    let mut mote = client(&gateway, "sleeper");
    ask(&mut mote, "subscribe cmd/# 1", "subscribed");
    ask(&mut mote, "sleep 600", "asleep");
    mosquitto_pub(&gateway, &["-q", "1", "-t", "cmd/a", "-m", "waited"]);
    ask(&mut mote, "active", "connected");
    assert_eq!(crate::sn_pub_sub::next(&mut mote), "message cmd/a q1 r0 waited");
}

#[test]
fn a_sleeper_may_publish_when_it_is_active_again() {
    let gateway = Gateway::dev();
    let mut sub = mosquitto_sub(&gateway, &["-q", "1", "-t", "up/#"]);
    let mut mote = client(&gateway, "sleeper");
    ask(&mut mote, "sleep 600", "asleep");
    assert_eq!(wake(&mut mote), Vec::<String>::new());
    ask(&mut mote, "active", "connected");
    ask(&mut mote, "publish up/a 1 0 awake", "published");
    sub.wait_for_text("> up/a q1 r0 awake");
}

#[test]
fn the_sleep_buffer_is_bounded_and_keeps_the_newest() {
    let gateway = Gateway::run("mqttsn: {when_asleep: {max_messages: 3, overflow: drop_oldest}}\n");
    let mut mote = client(&gateway, "sleeper");
    ask(&mut mote, "subscribe cmd 1", "subscribed");
    ask(&mut mote, "sleep 600", "asleep");
    for number in 0..5 {
        mosquitto_pub(&gateway, &["-q", "1", "-t", "cmd", "-m", &number.to_string()]);
    }
    let expected = [2, 3, 4].map(|number| format!("message cmd q1 r0 {number}"));
    assert_eq!(wake(&mut mote), expected);
}
