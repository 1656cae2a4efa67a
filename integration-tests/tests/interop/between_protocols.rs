//! The reason for the gateway: what is said in one protocol is heard in the two others.

use motegate_tests::gateway::Gateway;
use motegate_tests::peer::{coap, mosquitto_pub, mosquitto_sub};
use motegate_tests::process::Process;

use crate::coap_observe::{notified, observer};
use crate::sn_pub_sub::{ask, client, next};

/// One listener a protocol on `site/door`.
struct Listeners {
    mqtt: Process,
    coap: Process,
    sn: Process,
}

impl Listeners {
    fn on(gateway: &Gateway) -> Listeners {
        let mqtt = mosquitto_sub(gateway, &["-q", "2", "-t", "site/#"]);
        let (coap, _) = observer(gateway, "site/door");
        let mut sn = client(gateway, "panel");
        ask(&mut sn, "subscribe site/# 2", "subscribed");
        Listeners { mqtt, coap, sn }
    }

    fn hear(&mut self, payload: &str, qos: u8) {
        let got = self.mqtt.wait_for("message", |line| line.starts_with("> "));
        assert_eq!(got, format!("> site/door q{qos} r0 {payload}"));
        notified(&mut self.coap, payload);
        assert_eq!(next(&mut self.sn), format!("message site/door q{qos} r0 {payload}"));
    }
}

#[test]
fn a_coap_put_is_heard_by_all() {
    let gateway = Gateway::dev();
    let mut listeners = Listeners::on(&gateway);
    let door = gateway.coap_url("site/door");
    coap(&["-m", "put", "-e", "open", &door]);
    listeners.hear("open", 1);
    coap(&["-m", "post", "-e", "knock", &door]);
    listeners.hear("knock", 1);
    coap(&["-N", "-m", "put", "-e", "closed", &door]);
    listeners.hear("closed", 0);
}

#[test]
fn an_mqtt_publish_is_heard_by_all() {
    let gateway = Gateway::dev();
    let mut listeners = Listeners::on(&gateway);
    for version in ["mqttv31", "mqttv311", "mqttv5"] {
        for qos in 0..=2 {
            let payload = format!("{version}-{qos}");
            let sent = qos.to_string();
            mosquitto_pub(
                &gateway,
                &["-V", version, "-q", &sent, "-t", "site/door", "-m", &payload],
            );
            listeners.hear(&payload, qos);
        }
    }
}

#[test]
fn an_mqtt_sn_publish_is_heard_by_all() {
    let gateway = Gateway::dev();
    let mut listeners = Listeners::on(&gateway);
    let mut mote = client(&gateway, "mote");
    for qos in 0..=2 {
        ask(&mut mote, &format!("publish site/door {qos} 0 at-{qos}"), "published");
        listeners.hear(&format!("at-{qos}"), qos);
    }
}

#[test]
fn a_value_kept_by_one_protocol_is_read_in_the_others() {
    let gateway = Gateway::dev();
    coap(&["-m", "put", "-e", "from-coap", &gateway.coap_url("kept/coap")]);
    mosquitto_pub(&gateway, &["-r", "-q", "1", "-t", "kept/mqtt", "-m", "from-mqtt"]);
    let mut mote = client(&gateway, "mote");
    ask(&mut mote, "publish kept/sn 1 1 from-sn", "published");
    for name in ["coap", "mqtt", "sn"] {
        let payload = format!("from-{name}");
        let topic = format!("kept/{name}");
        let lines = coap(&[&gateway.coap_url(&topic)]);
        assert!(lines.iter().any(|line| line.contains(&format!(":: '{payload}'"))), "{lines:#?}");
        let mut sub = mosquitto_sub(&gateway, &["-q", "1", "-t", &topic, "-C", "1"]);
        sub.wait_for_text(&format!("> {topic} q1 r1 {payload}"));
        ask(&mut mote, &format!("subscribe {topic} 1"), "subscribed");
        assert_eq!(next(&mut mote), format!("message {topic} q1 r1 {payload}"));
    }
}

/// Client ids are names in one protocol's realm: an MQTT-SN `pump` does not end an MQTT `pump`.
#[test]
fn client_ids_of_two_protocols_do_not_meet() {
    let gateway = Gateway::dev();
    let mut mqtt = mosquitto_sub(&gateway, &["-i", "pump", "-t", "a"]);
    let mut sn = client(&gateway, "pump");
    ask(&mut sn, "publish a 1 0 x", "published");
    mqtt.wait_for_text("> a q0 r0 x");
}
