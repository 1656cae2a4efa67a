//! What is said of a listener: its own limits, and who is let in without a password.
#![allow(clippy::unwrap_used)]

use motegate_config::{Code, Config, Resolved};

fn good(text: &str) -> Resolved {
    Config::parse("motegate.yaml", text).unwrap_or_else(|e| panic!("{e}"))
}

fn codes(text: &str) -> Vec<Code> {
    let findings = Config::parse("motegate.yaml", text).unwrap_err();
    findings.diagnostics.iter().map(|d| d.code).collect()
}

/// `limits` of a listener: what it says itself, the rest of the gateway's, and nothing above.
#[test]
fn a_listener_has_its_own_limits() {
    let text = "limits: {max_packet_size: 1MiB, max_connect_rate: 100/s, max_publish_rate: 50}\n\
        listeners:\n  - {protocol: mqtt, anonymous: true}\n  - protocol: mqtt\n    bind: 127.0.0.1:1884\n    \
        anonymous: true\n    limits: {max_packet_size: 64KiB, max_connections: 5, \
        max_connect_rate: 30/m, max_publish_rate: 10/s, max_connection_age: 1h, overflow: drop_newest}\n";
    let resolved = good(text);
    assert_eq!(resolved.core.listeners[0].limits, None);
    let own = resolved.core.listeners[1].limits.as_ref().unwrap();
    assert_eq!((own.mqtt.max_packet_size, own.max_connections), (65_536, 5));
    assert_eq!((own.max_connect_rate.count, own.max_connect_rate.per.as_secs()), (30, 60));
    assert!(!own.max_connect_rate.spares_loopback, "who writes a rate means loopback too");
    assert_eq!(own.mqtt.max_publish_rate, 10);
    assert_eq!(own.mqtt.max_connection_age.as_secs(), 3600);
    assert_eq!(own.queue.overflow, motegate_core::settings::Overflow::DropNewest);
    assert_eq!(own.mqtt.max_client_id_length, resolved.core.mqtt.max_client_id_length);
    for above in [
        "max_packet_size: 2MiB",
        "max_connect_rate: 101/s",
        "max_connect_rate: 0",
        "max_publish_rate: 51",
        "max_publish_rate: 0",
        "max_connections: 100001",
        "connect_timeout: 11s",
        "max_queued_bytes: 9MiB",
    ] {
        let text = text.replace("max_packet_size: 64KiB, max_connections: 5, \
        max_connect_rate: 30/m, max_publish_rate: 10/s, max_connection_age: 1h, overflow: drop_newest", above);
        assert_eq!(codes(&text), [Code::Range], "{above}");
    }
}

/// Bounds of a listener are for what it speaks; those of no listener say why, and where they belong.
#[test]
fn a_bound_stands_where_it_means_something() {
    let listener = |protocol: &str, limits: &str| {
        format!(
            "listeners: [{{protocol: {protocol}, bind: \"127.0.0.1:1\", anonymous: true, \
             limits: {{{limits}}}}}]"
        )
    };
    let text = listener(
        "mqtt",
        "max_half_open: 9, auth_timeout: 2s, max_auth_failures: 3/m, \
         max_subscriptions_per_session: 7, max_subscription_bytes_per_session: 2KiB, \
         max_client_id_length: 99",
    );
    let limits = |text: &str| good(text).core.listeners[0].limits.clone().unwrap();
    let own = limits(&text);
    assert_eq!((own.mqtt.max_half_open, own.mqtt.auth_timeout.as_secs()), (9, 2));
    assert_eq!(own.max_auth_failures.map(|r| (r.count, r.per.as_secs())), Some((3, 60)));
    assert_eq!((own.subscriptions.count, own.mqtt.max_client_id_length), (7, 99));
    assert_eq!(own.subscriptions.bytes, 2_048);
    let own = limits(&listener(
        "mqttsn",
        "max_client_id_length: 99, max_sn_topics_per_client: 5, max_queued_messages: 3, \
         max_topic_levels: 4, max_subscriptions_per_session: 7, overflow: drop_newest",
    ));
    assert_eq!((own.mqtt_sn.max_client_id_length, own.mqtt_sn.max_topics_per_client), (99, 5));
    assert_eq!((own.queue.max_messages, own.mqtt.max_topic_levels), (3, 4));
    let own = limits(&listener(
        "coap",
        "max_observers_per_peer: 2, max_topic_length: 50, packet_rate_per_peer: 9",
    ));
    assert_eq!(own.coap.max_request_rate, 9);
    assert_eq!((own.coap.max_observers_per_peer, own.mqtt.max_topic_length), (2, 50));

    for above in [
        "max_half_open: 4097",
        "auth_timeout: 16s",
        "max_auth_failures: 11/m",
        "max_auth_failures: 1/s",
        "max_subscriptions_per_session: 10001",
    ] {
        assert_eq!(codes(&listener("mqtt", above)), [Code::Range], "{above}");
    }
    for (protocol, foreign) in [
        ("mqtt", "max_sn_topics_per_client: 1"),
        ("ws", "max_observers_per_peer: 1"),
        ("mqttsn", "max_connections: 1"),
        ("mqttsn", "max_auth_failures: 1/m"),
        ("coap", "max_connections: 1"),
        ("coap", "max_queued_messages: 1"),
    ] {
        let text = listener(protocol, foreign);
        assert_eq!(codes(&text), [Code::NotForProtocol], "{protocol} {foreign}");
        let (key, _) = foreign.split_once(':').unwrap();
        let said = Config::parse("x", &text).unwrap_err().to_string();
        assert!(said.contains(key) && said.contains("means nothing for"), "{said}");
    }
    for global in ["max_sessions", "max_retained_messages", "max_share_groups", "max_memory_queued"]
    {
        let text = listener("mqtt", &format!("{global}: 1"));
        assert_eq!(codes(&text), [Code::UnknownKey], "{global}");
        let said = Config::parse("x", &text).unwrap_err().to_string();
        assert!(said.contains("bounds all listeners together"), "{said}");
        assert!(said.contains(&format!("`limits: {{{global}: …}}`")), "{said}");
    }
}

/// W0201 is true: an identity of the transport needs no password, a certificate without one does.
#[test]
fn a_certificate_that_is_an_identity_lets_somebody_in() {
    let certs = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/certs");
    let ca = format!("client_ca: {certs}/server.pem");
    let proxy = "proxy_protocol: v2, proxy_identity: true";
    for (rest, tls, warns) in [
        ("", "", true),
        ("", &*ca, true),
        ("", &*format!("{ca}, client_cert: required, identity: none"), true),
        ("", &*format!("{ca}, identity: cn"), false),
        ("", &*format!("{ca}, client_cert: optional, identity: san_uri"), false),
        ("anonymous: true", &*ca, false),
        (proxy, "", false),
    ] {
        for protocol in ["mqtts", "wss"] {
            let text = format!(
                "listeners:\n  - {{protocol: {protocol}, tls: {{cert: {certs}/server.pem, \
                 key: {certs}/server.key, {tls}}}, {rest}}}\n"
            );
            let found = Config::parse("x", &text).unwrap_or_else(|e| panic!("{text}{e}")).warnings;
            let told = found.iter().any(|text| text.contains("[W0201]"));
            assert_eq!(told, warns, "{text}{found:?}");
        }
    }
    let text = format!("listeners: [{{protocol: mqtt, {proxy}}}]\n");
    assert!(!Config::parse("x", &text).unwrap().warnings.iter().any(|w| w.contains("W0201")));
}
