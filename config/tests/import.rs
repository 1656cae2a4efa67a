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
    // Whether its files can be read is not known here: told as it is written.
    let tls = imported.remarks.iter().find(|r| r.what == "listener 8883").unwrap();
    assert_eq!(tls.kind, RemarkKind::Changed);
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
