//! `import`: realistic files of other brokers. Every result passes `check`; what it means is what
//! it meant there, and what it does not say any more is a remark.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use motegate_config::import::{Dialect, Imported, RemarkKind, Source, import};
use motegate_config::{Config, Resolved};
use motegate_mapping::{Caller, CoapMethod, SnTopic};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/import")
}

fn texts(files: &[&str]) -> Vec<(String, String)> {
    let read = |file: &&str| {
        let name = file.rsplit('/').next().unwrap().to_owned();
        (name, std::fs::read_to_string(folder().join(file)).unwrap())
    };
    files.iter().map(read).collect()
}

fn imported(dialect: Dialect, files: &[&str]) -> (Imported, Resolved) {
    let texts = texts(files);
    let sources: Vec<Source<'_>> = texts.iter().map(|(name, text)| Source { name, text }).collect();
    let imported = import(dialect, &sources).unwrap_or_else(|e| panic!("{e}"));
    let resolved = Config::parse("motegate.yaml", &imported.yaml)
        .unwrap_or_else(|e| panic!("{e}\n\n{}", imported.yaml));
    // Nothing is dropped in silence: each remark stands in the YAML, too.
    for remark in &imported.remarks {
        let comment = format!("# import: {remark}");
        assert!(imported.yaml.contains(&comment), "{comment} is not in\n{}", imported.yaml);
    }
    assert!(!imported.yaml.contains("does not pass check"), "{}", imported.yaml);
    for secret in ["not-to-be-copied", "very-secret", "0011223344", "hunter2", "public", "c00kie"] {
        assert!(!imported.yaml.contains(secret), "{secret} is in\n{}", imported.yaml);
    }
    (imported, resolved)
}

fn snapshot(name: &str, imported: &Imported) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(folder());
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, imported.yaml));
}

fn remark(imported: &Imported, line: usize, what: &str) -> (RemarkKind, String) {
    let found = imported.remarks.iter().find(|r| r.line == line && r.what.starts_with(what));
    let found = found.unwrap_or_else(|| panic!("no remark on {what}: {:#?}", imported.remarks));
    (found.kind, found.text.clone())
}

fn caller<'a>(client: &'a str, mount: &'a str) -> Caller<'a> {
    Caller {
        listener: "field",
        client,
        identity: None,
        tenant: "",
        gateway: "gw",
        source_ip: [10, 0, 0, 1].into(),
        mount,
    }
}

fn topic(resolved: &Resolved, client: &str, id: u16) -> Option<String> {
    let found = resolved.table.sn(&caller(client, ""), SnTopic::Predefined(id));
    found.ok().map(|found| found.topic.as_str().to_owned())
}

/// What a list of topics meant there: by client and id, then by id; the first line holds.
fn paho_topic(list: &str, client: &str, id: u16) -> Option<String> {
    let lines = || {
        list.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
            let line: String = line.split_whitespace().collect();
            let fields: Vec<String> = line.split(',').map(str::to_owned).collect();
            let [client, topic, id] = <[String; 3]>::try_from(fields).ok()?;
            let client = if client == "COMMON" { "*".into() } else { client };
            Some((client, topic, id.parse::<u16>().ok()?))
        })
    };
    let first_of_topic = |at: usize, line: &(String, String, u16)| {
        lines().position(|other| (&other.0, &other.1) == (&line.0, &line.1)) == Some(at)
    };
    let find = |who: &str| {
        let mut all = lines().enumerate();
        let found =
            all.find(|(at, line)| line.0 == who && line.2 == id && first_of_topic(*at, line));
        found.map(|(_, (_, topic, _))| topic)
    };
    find(client).or_else(|| find("*")).filter(|topic| !topic.contains('#'))
}

#[test]
fn paho_every_id_of_every_client_means_what_it_meant() {
    let files = ["gateway.conf", "predefinedTopic.conf", "clients.conf"];
    let files: Vec<String> = files.iter().map(|file| format!("paho-plant/{file}")).collect();
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let (imported, resolved) = imported(Dialect::Paho, &files);
    snapshot("paho-plant", &imported);
    let list = &texts(&files)[1].1;
    let clients = [
        "env-1",
        "env-2",
        "env-3",
        "meter-041",
        "meter-042",
        "meter-043",
        "legacy-7",
        "button",
        // Known from clients.conf, but without ids of its own: not in the group of the others.
        "meter-099",
        "stranger",
    ];
    let mut meant = 0;
    for client in clients {
        for id in 1..=150 {
            let there = paho_topic(list, client, id);
            assert_eq!(topic(&resolved, client, id), there, "{client} {id}");
            meant += usize::from(there.is_some());
        }
    }
    assert_eq!(meant, 19 + 3 + 2 + 1 + 3 * clients.len());
    // And back: the client hears of a topic by the id that it knows.
    let back = motegate_message::TopicName::new("plant/hall3/env-2/ch/3").unwrap();
    let names = resolved.table.sn_names(&caller("env-2", ""), &back);
    assert_eq!(names.unwrap().predefined, Some(103));
}

#[test]
fn paho_gateway_and_those_without_connection() {
    let files =
        ["paho-plant/predefinedTopic.conf", "paho-plant/clients.conf", "paho-plant/gateway.conf"];
    let (imported, resolved) = imported(Dialect::Paho, &files);
    assert_eq!(&*resolved.core.gateway_name, "Hall-3-West");
    assert_eq!(resolved.core.mqtt_sn.gateway_id, 7);
    assert_eq!(resolved.core.mqtt_sn.forwarders, motegate_core::settings::Forwarders::Deny);
    assert_eq!(resolved.listeners[0].addr.to_string(), "[::]:10000");
    assert!(!resolved.core.listeners[0].anonymous, "only listed clients might connect there");
    let minus_one = resolved.table.qos_minus_one().unwrap();
    assert_eq!(minus_one.ids, [1, 2, 3, 5]);
    // The button is known by its address.
    assert_eq!(topic(&resolved, "anon-10.3.2.5", 5).as_deref(), Some("plant/hall3/button"));
    assert_eq!(topic(&resolved, "anon-10.3.2.6", 5), None);
    let sends = |ip: [u8; 4], id| {
        let caller = Caller { source_ip: ip.into(), ..caller("", "") };
        let found = resolved.table.sn_qos_minus_one(&caller, SnTopic::Predefined(id));
        found.ok().map(|(_, found)| found.topic.as_str().to_owned())
    };
    assert_eq!(sends([10, 3, 2, 5], 5).as_deref(), Some("plant/hall3/button"));
    assert_eq!(sends([10, 3, 2, 5], 1).as_deref(), Some("plant/hall3/time"));
    assert_eq!(sends([10, 3, 0, 11], 10), None, "not for those who must connect");
    assert_eq!(remark(&imported, 30, "Colour").0, RemarkKind::Unknown);
    assert_eq!(remark(&imported, 29, "GatewayID").0, RemarkKind::Changed);
    assert_eq!(remark(&imported, 17, "ClientAuthentication").0, RemarkKind::Later);
    for (line, what) in [(30, "legacy-7"), (31, "legacy-7"), (35, "button"), (36, "button")] {
        assert!(remark(&imported, line, what).1.len() > 10);
    }
}

#[test]
fn paho_an_open_gateway_stays_open_and_a_list_alone_stays_at_home() {
    let both = ["paho-open/gateway.conf", "paho-open/predefined.conf"];
    let (open, resolved) = imported(Dialect::Paho, &both);
    snapshot("paho-open", &open);
    assert!(resolved.core.listeners[0].anonymous);
    assert_eq!(resolved.listeners[0].addr.to_string(), "0.0.0.0:2442");
    assert_eq!(topic(&resolved, "attic", 1).as_deref(), Some("home/attic/temp"));
    assert_eq!(topic(&resolved, "cellar", 1), None);
    assert_eq!(remark(&open, 3, "PredefinedTopic=NO").0, RemarkKind::Changed);
    assert_eq!(remark(&open, 1, "GatewayID=300").0, RemarkKind::Unknown);
    let (list, resolved) = imported(Dialect::Paho, &both[1..]);
    assert_eq!(resolved.listeners[0].addr.to_string(), "127.0.0.1:10000");
    assert_eq!(remark(&list, 1, "gateway.conf").0, RemarkKind::Changed);
}

#[test]
fn mosquitto_listeners_limits_and_what_has_no_place_yet() {
    let (imported, resolved) = imported(Dialect::Mosquitto, &["mosquitto-home/mosquitto.conf"]);
    snapshot("mosquitto-home", &imported);
    let listeners: Vec<_> = resolved
        .listeners
        .iter()
        .zip(&resolved.core.listeners)
        .map(|(bind, l)| (bind.addr.to_string(), l.anonymous, l.mount.to_string()))
        .collect();
    assert_eq!(
        listeners,
        [
            ("127.0.0.1:1883".into(), true, String::new()),
            ("0.0.0.0:1884".into(), true, "guests/".into()),
            ("127.0.0.1:1885".into(), false, String::new()),
            ("[::]:9001".into(), false, String::new()),
            ("unix:/run/mosquitto/mosquitto.sock".into(), false, String::new()),
        ]
    );
    assert_eq!(resolved.durability, motegate_config::Durability::ProcessCrash);
    assert_eq!((resolved.core.queue.max_messages, resolved.core.mqtt.max_inflight), (500, 40));
    // Not all listeners had it.
    assert_eq!(resolved.core.mqtt.max_qos, 2);
    assert_eq!(remark(&imported, 24, "max_qos 1").0, RemarkKind::Unsupported);
    assert_eq!(resolved.core.mqtt.max_packet_size, 128);
    assert_eq!(resolved.core.mqtt.max_session_expiry.as_secs(), 14 * 86_400);
    assert_eq!(remark(&imported, 14, "max_packet_size 100").0, RemarkKind::Changed);
    assert_eq!(remark(&imported, 11, "max_queued_bytes").0, RemarkKind::Changed);
    assert_eq!(remark(&imported, 35, "acl_file").0, RemarkKind::Later);
    assert_eq!(resolved.core.listeners[0].limits.as_ref().unwrap().max_connections, 50);
    // Its files cannot be read here: told as it is written.
    let tls = imported.remarks.iter().find(|r| r.what == "listener mqtts-8883").unwrap();
    assert_eq!((tls.kind, tls.line), (RemarkKind::Changed, 38));
    assert!(tls.equivalent[0].ends_with("client_cert: required, identity: cn}}"), "{tls:?}");
    assert_eq!(remark(&imported, 66, "max_conections").0, RemarkKind::Unknown);
    let bridge = imported.remarks.iter().find(|r| r.what == "connection cloud").unwrap();
    let lines = bridge.equivalent.join("\n");
    assert!(
        lines.contains("{topic: \"house/#\", to: \"sites/12/{topic|trim:house/}\"}"),
        "{lines}"
    );
    assert!(lines.contains("{topic: \"sites/12/cmd/#\", to: \"house/{topic|trim:sites/12/}\"}"));
    assert!(lines.contains("password: \"${file:secrets/cloud}\""), "{lines}");
}

#[test]
fn mosquitto_several_files_and_a_plugin_that_kept_the_door() {
    let files = ["mosquitto-edge/mosquitto.conf", "mosquitto-edge/extra.conf"];
    let (imported, resolved) = imported(Dialect::Mosquitto, &files);
    snapshot("mosquitto-edge", &imported);
    assert!(resolved.core.listeners.iter().all(|l| !l.anonymous));
    let addrs: Vec<String> = resolved.listeners.iter().map(|l| l.addr.to_string()).collect();
    assert_eq!(addrs, ["[::]:1886", "127.0.0.1:1883", "[::1]:1883"]);
    assert_eq!(remark(&imported, 7, "persistent_client_expiration").0, RemarkKind::Unknown);
    assert_eq!(remark(&imported, 3, "mount_point").0, RemarkKind::Unsupported);
}

#[test]
fn mosquitto_without_listeners_is_for_this_machine() {
    let (bare, resolved) = imported(Dialect::Mosquitto, &["mosquitto-bare/mosquitto.conf"]);
    snapshot("mosquitto-bare", &bare);
    let addrs: Vec<String> = resolved.listeners.iter().map(|l| l.addr.to_string()).collect();
    assert_eq!(addrs, ["127.0.0.1:1883", "[::1]:1883"]);
    assert!(resolved.core.listeners.iter().all(|l| l.anonymous));
    assert_eq!(resolved.durability, motegate_config::Durability::None);
    // Another file may say who may connect.
    let text = "include_dir /etc/mosquitto/conf.d\n";
    let main = Source { name: "mosquitto.conf", text };
    let more = Source { name: "conf.d/a.conf", text: "log_type error\n" };
    for (sources, open) in [(vec![main], false), (vec![main, more], true)] {
        let yaml = import(Dialect::Mosquitto, &sources).unwrap().yaml;
        assert!(yaml.contains(&format!("anonymous: {open}")), "{yaml}");
    }
}

#[test]
fn mosquitto_behind_a_load_balancer_with_options_old_and_new() {
    let (imported, resolved) = imported(Dialect::Mosquitto, &["mosquitto-proxy/mosquitto.conf"]);
    snapshot("mosquitto-proxy", &imported);
    let open: Vec<bool> = resolved.core.listeners.iter().map(|l| l.anonymous).collect();
    assert_eq!(open, [false, true]);
    assert!(!imported.remarks.iter().any(|r| r.kind == RemarkKind::Unknown), "{imported:#?}");
}

#[test]
fn emqx_gateways_listeners_and_rewriting() {
    let (imported, resolved) = imported(Dialect::Emqx, &["emqx/emqx.conf"]);
    snapshot("emqx", &imported);
    assert_eq!(resolved.core.mqtt_sn.gateway_id, 3);
    for (id, there) in [(1, "time"), (2, "alarm/all"), (10, "line/0/state"), (12, "line/2/state")] {
        assert_eq!(topic(&resolved, "any", id).as_deref(), Some(there));
    }
    assert_eq!((topic(&resolved, "any", 5), topic(&resolved, "any", 13)), (None, None));
    assert_eq!(resolved.table.qos_minus_one().unwrap().ids, [1, 2, 10, 11, 12]);
    let open: Vec<(&str, bool)> =
        resolved.core.listeners.iter().map(|l| (&*l.name, l.anonymous)).collect();
    let names = [("mqttsn", true), ("coap", true), ("mqtt", true), ("mqtt-tenant-a", true)];
    assert_eq!(open, [&names[..], &[("mqtt-each", false)]].concat());
    let sn = |name: &str| {
        let found = resolved.table.sn(&caller("c", ""), SnTopic::Name(name)).unwrap();
        found.topic.as_str().to_owned()
    };
    assert_eq!(sn("old/hall/a/b"), "site/hall/a/b");
    assert_eq!(sn("y/a/z/b"), "y/a/z/b", "what cannot be undone is not rewritten");
    let coap = |method, path: &str| {
        let path: Vec<String> = path.split('/').map(str::to_owned).collect();
        let query = ["retain=true".to_owned(), "clientid=x".to_owned()];
        let found = resolved.table.coap(&caller("c", ""), None, method, &path, &query);
        found.map(|m| (m.topic.as_str().to_owned(), m.retain))
    };
    assert_eq!(coap(CoapMethod::Post, "ps/a/b").unwrap(), ("a/b".into(), true));
    assert_eq!(coap(CoapMethod::Observe, "ps/old/x/y").unwrap().0, "site/x/y");
    assert!(coap(CoapMethod::Put, "mqtt/a").is_err(), "only the paths that there were");
    assert_eq!(resolved.core.mqtt.max_qos, 1);
    assert_eq!(remark(&imported, 63, "rewrite").0, RemarkKind::Changed);
    for line in [69, 70] {
        assert_eq!(remark(&imported, line, "rewrite").0, RemarkKind::Unsupported);
    }
}

#[test]
fn emqx_paths_stay_what_they_were() {
    let text = "gateway.coap {\n mountpoint = \"coap/\"\n listeners.udp.default.bind = 5683\n}";
    let source = [Source { name: "gateway.conf", text }];
    let yaml = import(Dialect::Emqx, &source).unwrap().yaml;
    assert!(yaml.contains("presets: [emqx-ps]") || yaml.contains("name: emqx-ps"), "{yaml}");
    let resolved = Config::parse("motegate.yaml", &yaml).unwrap();
    let mount = &resolved.core.listeners[0].mount;
    let ask = |method, query: &str| {
        let path = ["ps", "a", "b"].map(str::to_owned);
        let query: Vec<String> = query.split('&').map(str::to_owned).collect();
        resolved.table.coap(&caller("c", mount), None, method, &path, &query)
    };
    let post = ask(CoapMethod::Post, "clientid=x&qos=1").unwrap();
    assert_eq!((post.topic.as_str(), post.retain), ("coap/a/b", false));
    assert!(ask(CoapMethod::Post, "retain=true&expiry=60").unwrap().retain);
    assert_eq!(ask(CoapMethod::Observe, "qos=0").unwrap().topic.as_str(), "coap/a/b");
    assert!(ask(CoapMethod::Delete, "qos=0").is_err());
    let listener = &resolved.core.listeners[0];
    assert_eq!(listener.client_from, motegate_core::ClientFrom::Query, "clientid= is its name");
    assert!(listener.anonymous && !listener.connection_required);
}

#[test]
fn emqx_connections_stay_what_they_were() {
    for (authentication, open) in [("", true), ("authentication { mechanism = jwt }\n", false)] {
        let text = format!(
            "gateway.coap {{\n connection_required = true\n heartbeat = 1m\n \
             publish_qos = qos2\n {authentication} listeners.udp.default.bind = 5683\n}}"
        );
        let source = [Source { name: "gateway.conf", text: &text }];
        let yaml = import(Dialect::Emqx, &source).unwrap().yaml;
        let resolved = Config::parse("motegate.yaml", &yaml).unwrap();
        let (core, listener) = (&resolved.core, &resolved.core.listeners[0]);
        assert_eq!((listener.connection_required, listener.anonymous), (true, open), "{yaml}");
        assert_eq!(core.coap_heartbeat, std::time::Duration::from_secs(60));
        let path = ["ps", "a"].map(str::to_owned);
        let put = resolved.table.coap(&caller("c", ""), None, CoapMethod::Post, &path, &[]);
        assert_eq!(put.unwrap().qos, Some(motegate_message::Qos::ExactlyOnce));
    }
}

/// Whom rules of addresses kept out is not let in for want of them.
#[test]
fn emqx_with_access_rules_stays_shut() {
    for (rules, open) in [
        ("", true),
        ("access_rules = [\"allow all\"]", true),
        ("access_rules = []", true),
        ("access_rules = [\"allow 192.168.0.0/16\", \"deny all\"]", false),
        ("access_rules = [\"deny 10.0.0.1\", \"allow all\"]", false),
    ] {
        let coap = format!("gateway.coap.listeners.udp.default {{\n bind = 5683\n {rules}\n}}");
        let mqtt = format!("listeners.tcp.default {{\n bind = 1883\n {rules}\n}}");
        for text in [coap, mqtt] {
            let source = [Source { name: "emqx.conf", text: &text }];
            let yaml = import(Dialect::Emqx, &source).unwrap().yaml;
            let resolved = Config::parse("motegate.yaml", &yaml).unwrap();
            assert_eq!(resolved.core.listeners[0].anonymous, open, "{text}\n{yaml}");
            assert_eq!(yaml.contains("nobody may connect until there is a rule"), !open, "{yaml}");
        }
    }
}

#[test]
fn emqx_with_logins_stays_shut() {
    let (imported, resolved) = imported(Dialect::Emqx, &["emqx/locked.conf"]);
    snapshot("emqx-locked", &imported);
    let open: Vec<(&str, bool)> =
        resolved.core.listeners.iter().map(|l| (&*l.name, l.anonymous)).collect();
    // The gateways there have authentication of their own, and this one has none.
    assert_eq!(open, [("mqttsn-a", true), ("mqtt", false)]);
    assert_eq!(resolved.listeners[0].addr.to_string(), "127.0.0.1:1884");
    assert_eq!(&*resolved.core.listeners[0].mount, "mqtt/sn/");
    assert_eq!(remark(&imported, 1, "include").0, RemarkKind::Changed);
    assert_eq!(remark(&imported, 7, "${window}").0, RemarkKind::Unknown);
}

#[test]
fn nanomq_both_formats() {
    let (new, resolved) = imported(Dialect::Nanomq, &["nanomq/nanomq.conf"]);
    snapshot("nanomq", &new);
    assert!(resolved.core.listeners[0].anonymous);
    assert_eq!(resolved.core.mqtt.max_packet_size, 1024);
    let bridge = new.remarks.iter().find(|r| r.what == "bridges.mqtt.up").unwrap();
    let lines = bridge.equivalent.join("\n");
    assert!(lines.contains("{topic: up, to: sites/1/up}"), "{lines}");
    assert!(lines.contains("{topic: \"raw/#\", to: \"{topic}\"}") && !lines.contains("secret,"));
    let (old, resolved) = imported(Dialect::Nanomq, &["nanomq-old/nanomq.conf"]);
    snapshot("nanomq-old", &old);
    assert!(!resolved.core.listeners[0].anonymous);
}

#[test]
fn a_port_that_is_none_is_told_wherever_it_stands() {
    let remarks = |text: &str| {
        let source = [Source { name: "m.conf", text }];
        let imported = import(Dialect::Mosquitto, &source).unwrap();
        Config::parse("motegate.yaml", &imported.yaml).unwrap();
        imported
    };
    for (text, line) in [
        ("port 99999999999\n", 1),
        ("listener 99999999999\n", 1),
        ("max_connections 5\nport 99999999999\nlistener 1884\n", 2),
        ("listener 1884\nport 99999999999\n", 2),
        ("connection b\naddress h:99999999999\ntopic # out\n", 2),
        ("connection b\naddress h:1883 [::1]:0\ntopic # out\n", 2),
    ] {
        let imported = remarks(text);
        let found = imported.remarks.iter().find(|r| r.text.contains("port") && r.line == line);
        assert!(found.is_some(), "{text}{:#?}", imported.remarks);
    }
    // mosquitto's `port` is that of the default listener, also behind another.
    let imported = remarks("listener 1884\nport 1885\n");
    for name in ["mqtt-1884", "mqtt-1885"] {
        assert!(imported.yaml.contains(name), "{}", imported.yaml);
    }
    let imported = remarks("connection b\naddress ::1\ntopic # out\n");
    assert!(!imported.remarks.iter().any(|r| r.text.contains("port")), "{:#?}", imported.remarks);
}

/// The layers of a listener, with its certificates where they can be read.
fn layers<'a>(resolved: &'a Resolved, name: &str) -> (&'a motegate_config::Transport, bool, usize) {
    let at = resolved.core.listeners.iter().position(|l| &*l.name == name);
    let at = at.unwrap_or_else(|| panic!("no listener {name}"));
    let (bind, listener) = (&resolved.listeners[at], &resolved.core.listeners[at]);
    let most = listener.limits.as_ref().map_or(0, |own| own.max_connections);
    (&bind.transport, listener.anonymous, most)
}

fn import_text(dialect: Dialect, text: &str) -> (Imported, Resolved) {
    let source = [Source { name: "x.conf", text }];
    let imported = import(dialect, &source).unwrap();
    let resolved = Config::parse("motegate.yaml", &imported.yaml);
    let resolved = resolved.unwrap_or_else(|e| panic!("{e}\n\n{}", imported.yaml));
    assert!(!imported.yaml.contains("does not pass check"), "{}", imported.yaml);
    assert!(!imported.yaml.contains("left out"), "{}", imported.yaml);
    (imported, resolved)
}

#[test]
fn mosquitto_certificates_proxies_and_bounds_of_a_listener() {
    use motegate_config::IdentityFrom;
    let (imported, resolved) = import_text(
        Dialect::Mosquitto,
        "listener 8883\nallow_anonymous true\ncertfile tests/certs/server.pem\n\
         keyfile tests/certs/server.key\nmax_connections 70000\n\
         listener 8884\ncertfile tests/certs/server.pem\nkeyfile tests/certs/server.key\n\
         cafile tests/certs/server.pem\nrequire_certificate true\nuse_identity_as_username true\n\
         listener 8885\nprotocol websockets\ncertfile tests/certs/server.pem\n\
         keyfile tests/certs/server.key\nallow_anonymous true\nwebsockets_origin https://a.example\n\
         cafile tests/certs/server.pem\nrequire_certificate true\nmax_connections 50000\n\
         listener 1884\nenable_proxy_protocol 2\nmax_connections 0\nallow_anonymous true\n",
    );
    let (plain, open, most) = layers(&resolved, "mqtts-8883");
    assert_eq!(
        (plain.tls.as_ref().unwrap().identity, open, most),
        (IdentityFrom::None, true, 70_000)
    );
    // Who shows a certificate needs no password, as there.
    let (named, open, _) = layers(&resolved, "mqtts-8884");
    assert_eq!((named.tls.as_ref().unwrap().identity, open), (IdentityFrom::Cn, true));
    assert!(!imported.remarks.iter().any(|r| r.line == 6), "{:#?}", imported.remarks);
    let (web, open, most) = layers(&resolved, "wss-8885");
    assert_eq!(web.websocket.as_ref().unwrap().origins, ["https://a.example"]);
    assert!(web.tls.is_some() && open && most == 50_000);
    let (proxied, _, most) = layers(&resolved, "mqtt-1884");
    let proxy = proxied.proxy.as_ref().unwrap();
    assert!(proxy.v2 && !proxy.v1 && most == 0);
    assert_eq!(remark(&imported, 22, "enable_proxy_protocol").0, RemarkKind::Changed);
    assert_eq!(resolved.max_connections, 120_000);
}

/// One setting for all listeners here: carried over where all of them agree.
#[test]
fn mosquitto_versions_of_all_listeners() {
    let two = "listener 1883\naccept_protocol_versions 4,5\nlistener 1884\n";
    let (_, resolved) =
        import_text(Dialect::Mosquitto, &format!("{two}accept_protocol_versions 4, 5\n"));
    let mqtt = &resolved.core.mqtt;
    assert!(!mqtt.allow_v31 && mqtt.allow_v311 && mqtt.allow_v5);
    let source = [Source { name: "x.conf", text: two }];
    let imported = import(Dialect::Mosquitto, &source).unwrap();
    assert_eq!(remark(&imported, 2, "accept_protocol_versions").0, RemarkKind::Unsupported);
    // Bytes in flight are bounded here by a bound of their own.
    let text = "max_inflight_bytes 1000\n";
    let imported = import(Dialect::Mosquitto, &[Source { name: "x.conf", text }]).unwrap();
    let (kind, text) = remark(&imported, 1, "max_inflight_bytes");
    assert!(kind == RemarkKind::Changed && text.contains("max_queued_bytes"), "{text}");
}

/// What kept clients out by other means than a certificate keeps them out still.
#[test]
fn mosquitto_a_certificate_opens_no_more_than_it_did() {
    let secure = "listener 8883\ncertfile tests/certs/server.pem\nkeyfile tests/certs/server.key\n\
                  require_certificate true\nuse_identity_as_username true\n";
    let with = |more: &str| {
        let (_, resolved) = import_text(Dialect::Mosquitto, &format!("{secure}{more}"));
        let (transport, open, _) = layers(&resolved, "mqtts-8883");
        (transport.identifies(), open)
    };
    assert_eq!(with("cafile tests/certs/server.pem\n"), (true, false));
    assert_eq!(with("cafile tests/certs/server.pem\nacl_file acl\n"), (false, false));
    assert_eq!(with("capath certs\nallow_anonymous true\n"), (false, false));
}

#[test]
fn emqx_certificates_proxies_and_bounds_of_a_listener() {
    let text = "listeners.ssl.default { bind = 8883, max_connections = 300000, max_conn_rate = 900/s\n\
         ssl_options { certfile = \"tests/certs/server.pem\", keyfile = \"tests/certs/server.key\"\n\
         cacertfile = \"tests/certs/server.pem\", verify = verify_peer, fail_if_no_peer_cert = true\n\
         ciphers = [a] } }\n\
         listeners.tcp.a { bind = 1883, proxy_protocol = true, max_connections = infinity\n\
         max_conn_rate = \"500/s\" }\n\
         listeners.ws.b { bind = 8083, websocket { mqtt_path = \"/m\", check_origin_enable = true\n\
         check_origins = \"http://a.example, https://b.example\", compress = true } }\n\
         listeners.wss.c { bind = 8084, ssl_options { certfile = \"tests/certs/server.pem\"\n\
         keyfile = \"tests/certs/server.key\", verify = verify_peer } }\n\
         gateway.mqttsn.listeners.udp.default { bind = 1884, max_conn_rate = 10/s }\n\
         mqtt.peer_cert_as_username = cn\n";
    let (imported, resolved) = import_text(Dialect::Emqx, text);
    let (secure, open, most) = layers(&resolved, "mqtts");
    let identity = secure.tls.as_ref().unwrap().identity;
    assert_eq!((identity, open, most), (motegate_config::IdentityFrom::Cn, true, 300_000));
    assert_eq!((resolved.max_connections, resolved.core.max_connect_rate.count), (300_000, 1_410));
    let proxy = layers(&resolved, "mqtt-a").0.proxy.as_ref().unwrap();
    assert!(proxy.v1 && proxy.v2);
    let web = layers(&resolved, "ws-b").0.websocket.clone().unwrap();
    assert_eq!((web.path.as_str(), web.origins.len()), ("/m", 2));
    assert!(!layers(&resolved, "wss-c").1, "no authorities: nobody may connect");
    for (line, what, kind) in [
        (4, "listeners.ssl.default.ssl_options.ciphers", RemarkKind::Unsupported),
        (5, "listeners.tcp.a.proxy_protocol", RemarkKind::Changed),
        (8, "listeners.ws.b.websocket.compress", RemarkKind::Unsupported),
        (10, "listeners.wss.c.ssl_options.verify", RemarkKind::Unsupported),
        (12, "mqtt.peer_cert_as_username", RemarkKind::Changed),
    ] {
        assert_eq!(remark(&imported, line, what).0, kind, "{what}");
    }
    assert!(
        !imported.remarks.iter().any(|r| r.kind == RemarkKind::Later),
        "{:#?}",
        imported.remarks
    );
    // With logins a certificate is no way around them.
    let (_, locked) = import_text(Dialect::Emqx, &format!("{text}authentication = [{{a = b}}]\n"));
    let (secure, open, _) = layers(&locked, "mqtts");
    assert!(!secure.identifies() && !open);
}

#[test]
fn nanomq_listeners_of_every_kind() {
    let text = "listeners.tcp { bind = \"0.0.0.0:1883\" }\n\
         listeners.ssl { bind = \"0.0.0.0:8883\", keyfile = \"tests/certs/server.key\"\n\
         certfile = \"tests/certs/server.pem\", cacertfile = \"tests/certs/server.pem\"\n\
         verify_peer = true, fail_if_no_peer_cert = true, key_password = hunter2 }\n\
         listeners.ws { bind = \"0.0.0.0:8083/m\" }\n\
         listeners.wss { enable = false, bind = \"0.0.0.0:8084/m\" }\n\
         listeners.ssl.other { bind = 8885, keyfile = \"tests/certs/server.key\"\n\
         certfile = \"tests/certs/server.pem\", verify_peer = true }\n";
    let (imported, resolved) = import_text(Dialect::Nanomq, text);
    let names: Vec<&str> = resolved.core.listeners.iter().map(|l| &*l.name).collect();
    assert_eq!(names, ["mqtt", "mqtts", "mqtts-other", "ws"]);
    assert!(layers(&resolved, "mqtts").0.tls.is_some() && layers(&resolved, "mqtts").1);
    assert!(!layers(&resolved, "mqtts-other").1, "no authorities: nobody may connect");
    assert_eq!(layers(&resolved, "ws").0.websocket.as_ref().unwrap().path, "/m");
    assert_eq!(remark(&imported, 4, "listeners.ssl.key_password").0, RemarkKind::Unsupported);
    assert!(!imported.yaml.contains("hunter2"));
}
