//! Wireshark reads every datagram that the gateway sends and finds nothing malformed.

use motegate_tests::gateway::Gateway;
use motegate_tests::peer::{coap, mosquitto_pub};
use motegate_tests::relay::Relay;

use crate::coap_observe::{notified, observer};
use crate::sn_pub_sub::ask;

#[test]
fn mqtt_sn_is_well_formed() {
    let mut gateway = Gateway::dev();
    let port = gateway.mqtt_sn.port();
    let mut relay = Relay::start(gateway.mqtt_sn);
    gateway.mqtt_sn = relay.address;
    let mut mote = motegate_tests::peer::python("sn.py", &gateway, &[]);
    ask(&mut mote, "connect mote 1 wills/mote gone", "connected");
    ask(&mut mote, "will-update wills/other lost", "will updated");
    for topic in ["a/b", "w/#", "tt"] {
        ask(&mut mote, &format!("subscribe {topic} 2"), "subscribed");
    }
    for qos in ["0", "1", "2"] {
        ask(&mut mote, &format!("publish up/a {qos} 0 x"), "published");
        for topic in ["a/b", "w/new", "tt"] {
            mosquitto_pub(&gateway, &["-q", qos, "-t", topic, "-m", "x"]);
            let got = crate::sn_pub_sub::next(&mut mote);
            assert_eq!(got, format!("message {topic} q{qos} r0 x"));
        }
    }
    // Longer than one length byte can say.
    let long = "x".repeat(300);
    mosquitto_pub(&gateway, &["-q", "1", "-t", "a/b", "-m", &long]);
    assert_eq!(crate::sn_pub_sub::next(&mut mote), format!("message a/b q1 r0 {long}"));
    ask(&mut mote, "ping", "pong");
    ask(&mut mote, "unsubscribe w/#", "unsubscribed");
    ask(&mut mote, "sleep 60", "asleep");
    ask(&mut mote, "wake", "pingresp");
    ask(&mut mote, "disconnect", "disconnected");
    let read = relay.dissect("mqttsn", port).join("\n");
    for name in [
        "Connect Ack",
        "Register",
        "Register Ack",
        "Subscribe Ack",
        "Publish Message",
        "Publish Ack",
        "Publish Received",
        "Publish Complete",
        "Unsubscribe Ack",
        "Ping Response",
        "Disconnect",
    ] {
        assert!(read.contains(name), "{name} is missing in\n{read}");
    }
}

#[test]
fn coap_is_well_formed() {
    let mut gateway = Gateway::dev();
    let port = gateway.coap.port();
    let mut relay = Relay::start(gateway.coap);
    gateway.coap = relay.address;
    let door = gateway.coap_url("site/door");
    coap(&["-m", "put", "-e", "open", "-t", "50", &door]);
    coap(&[&door]);
    coap(&["-N", &door]);
    coap(&[&gateway.coap_url("nothing/here")]);
    coap(&[&format!("coap://{}/.well-known/core", gateway.coap)]);
    coap(&["-m", "put", "-e", "x", &gateway.coap_url("a%2Fb")]);
    let (mut watcher, _) = observer(&gateway, "site/door");
    for value in ["0", "1"] {
        mosquitto_pub(&gateway, &["-q", value, "-t", "site/door", "-m", value]);
        notified(&mut watcher, value);
    }
    coap(&["-m", "delete", &door]);
    let read = relay.dissect("coap", port).join("\n");
    for name in
        ["2.01 Created", "2.05 Content", "4.04 Not Found", "4.00 Bad Request", "2.02 Deleted"]
    {
        assert!(read.contains(name), "{name} is missing in\n{read}");
    }
}
