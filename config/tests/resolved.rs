//! What a file becomes: defaults, every kind of key, listeners, substitutions; and no panic on any
//! text.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::time::Duration;

use motegate_config::{
    Code, Config, Durability, Layers, LogFormat, LogLevel, Resolved, check, check_text,
};
use motegate_core::settings::{Forwarders, Utf8};
use motegate_core::{ClientFrom, Protocol, Sources};
use motegate_mapping::{Caller, CoapMethod, SnTopic};

fn good(text: &str) -> Resolved {
    Config::parse("motegate.yaml", text).unwrap_or_else(|e| panic!("{e}"))
}

fn codes(text: &str) -> Vec<Code> {
    let findings = Config::parse("motegate.yaml", text).unwrap_err();
    findings.diagnostics.iter().map(|d| d.code).collect()
}

fn example(name: &str) -> Resolved {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name);
    Config::load(path).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn nothing_at_all_is_loopback_and_nobody() {
    let resolved = good("");
    let addrs: Vec<String> = resolved.listeners.iter().map(|b| b.addr.to_string()).collect();
    assert_eq!(addrs, ["127.0.0.1:1883", "127.0.0.1:1885", "127.0.0.1:5683"]);
    assert!(resolved.core.listeners.iter().all(|l| !l.anonymous && l.sources == Sources::Any));
    let names: Vec<&str> = resolved.core.listeners.iter().map(|l| &*l.name).collect();
    assert_eq!(names, ["mqtt-1883", "mqttsn-1885", "coap-5683"]);
    let default = motegate_core::Config::default();
    assert_eq!(resolved.core.mqtt, default.mqtt);
    assert_eq!(resolved.core.coap, default.coap);
    assert_eq!(resolved.core.mqtt_sn, default.mqtt_sn);
    assert!(resolved.core.durable && resolved.durability == Durability::PowerLoss);
    assert_eq!(resolved.summary(), "config ok: 0 rules, 3 listeners");
    assert!(resolved.warnings[0].contains("anonymous: true"), "says which line to add");
    for empty in ["# nothing\n", "---\n", "version: 1\n", "listeners:\n", "mqtt: ~\nlog:\n"] {
        assert_eq!(good(empty).listeners.len(), 3, "{empty:?}");
    }
    let none = good("listeners: []");
    assert_eq!(none.listeners.len(), 0);
    assert!(none.warnings[0].contains("nobody may connect: no listener"), "{:?}", none.warnings);
}

#[test]
fn dev_is_open_to_neighbours_and_saves_nothing() {
    let dev = Config::dev(false);
    assert!(!dev.core.durable && dev.durability == Durability::None);
    for (bind, listener) in dev.listeners.iter().zip(&dev.core.listeners) {
        assert_eq!((bind.name.clone(), bind.protocol), (listener.name.clone(), listener.protocol));
        assert_eq!(bind.addr.ip().unwrap().ip().to_string(), "::");
        assert!(listener.anonymous && listener.sources == Sources::Private);
    }
    let exposed = Config::dev(true);
    assert!(exposed.core.listeners.iter().all(|l| l.sources == Sources::Any));
}

#[test]
fn every_kind_of_key_arrives() {
    let resolved = example("limits.yaml");
    let (core, secs) = (&resolved.core, Duration::from_secs);
    assert_eq!((resolved.durability, core.durable), (Durability::ProcessCrash, true));
    assert_eq!(resolved.max_connections, 500);
    assert_eq!((resolved.log.level, resolved.log.format), (LogLevel::Warn, LogFormat::Json));
    let mqtt = &core.mqtt;
    assert_eq!((mqtt.allow_v31, mqtt.allow_v311, mqtt.allow_v5), (false, true, true));
    assert_eq!((mqtt.max_qos, mqtt.receive_maximum, mqtt.max_inflight), (1, 32, 16));
    assert_eq!((mqtt.max_keep_alive, mqtt.max_session_expiry), (secs(600), secs(86_400)));
    assert_eq!((mqtt.max_packet_size, mqtt.max_outbox_bytes), (65_536, 65_536));
    assert_eq!((mqtt.connect_timeout, mqtt.write_stall_timeout), (secs(5), secs(20)));
    let sn = &core.mqtt_sn;
    assert_eq!((sn.session_expiry, sn.retry_timeout, sn.max_retries), (secs(86_400), secs(15), 3));
    assert_eq!((sn.max_clients, sn.max_topics_per_client), (1000, 100));
    assert_eq!(sn.forwarders, Forwarders::Deny);
    assert_eq!(sn.rebind, motegate_core::settings::Rebind::Never);
    let coap = &core.coap;
    assert_eq!((coap.ack_timeout, coap.ack_random_factor_permille), (secs(3), 1500));
    assert_eq!((coap.max_observers, coap.max_exchanges), (500, 5000));
    assert_eq!(core.max_observers_per_topic, 200);
    assert_eq!((coap.block_size, coap.max_body), (512, 65_536));
    assert_eq!((coap.unverified.amplification, coap.max_request_rate), (5, 20));
    assert_eq!(coap.unverified.echo, motegate_core::settings::EchoWhen::Always);
    assert_eq!((coap.block_timeout, coap.max_blocks_in_progress_per_peer), (secs(20), 2));
    assert_eq!((core.max_pubsub_topics, core.max_pubsub_topic_size), (100, 1024));
    assert_eq!((core.queue.max_messages, core.queue.max_bytes), (100, 256 * 1024));
    assert_eq!(core.broker.max_retained_bytes, 8 << 20);
    let asleep = example("sensors.yaml").core.when_asleep;
    assert_eq!((asleep.max_messages, asleep.max_bytes, asleep.queue_qos0), (20, 16_384, true));
    assert_eq!(asleep.overflow, motegate_core::settings::Overflow::LatestPerTopic);
}

#[test]
fn every_address_is_a_listener_of_its_own() {
    let resolved = example("mounts-and-realms.yaml");
    let backup: Vec<_> =
        resolved.listeners.iter().filter(|b| &*b.name == "plant-a-backup").collect();
    assert_eq!(backup.len(), 2);
    for (i, bind) in resolved.listeners.iter().enumerate() {
        assert_eq!(usize::from(bind.listener.0), i);
        assert_eq!(resolved.core.listeners[i].name, bind.name);
    }
    let listener = &resolved.core.listeners[usize::from(backup[1].listener.0)];
    assert_eq!((&*listener.mount, &*listener.tenant), ("plant/a/", "a"));
    assert_eq!((&*listener.realm, listener.protocol), ("devices", Protocol::MqttSn));
    assert_eq!(resolved.summary(), "config ok: 2 rules, 4 listeners");
    let edge = &example("sensors.yaml").core.listeners[2];
    assert_eq!((edge.client_from, &*edge.realm), (ClientFrom::Query, "coap"));
}

#[test]
fn the_rules_arrive() {
    let table = example("sensors.yaml").table;
    let caller = Caller {
        listener: "edge",
        client: "env-3",
        identity: None,
        tenant: "",
        gateway: "motegate",
        source_ip: [10, 0, 0, 1].into(),
        mount: "",
    };
    let put = |path: &str, query: &str| {
        let path: Vec<String> = path.split('/').map(str::to_owned).collect();
        table.coap(&caller, None, CoapMethod::Put, &path, &[query.to_owned()]).unwrap()
    };
    let found = put("s/kitchen/temp", "u=Cel");
    assert_eq!((found.topic.as_str(), &*found.rule), ("site/kitchen/temp", "sensor-state"));
    assert_eq!(found.user, [("unit".to_owned(), "Cel".to_owned())]);
    assert_eq!(found.expiry, Some(Duration::from_secs(3600)));
    let command = table.coap(&caller, None, CoapMethod::Observe, &["cmd".to_owned()], &[]);
    let ages = [found.max_age, command.unwrap().max_age];
    assert_eq!(ages, [None, Some(Duration::from_secs(86_400))]);
    let sn = |id| table.sn(&caller, SnTopic::Predefined(id)).unwrap();
    assert_eq!(sn(117).topic.as_str(), "dev/env-3/ch/17");
    assert_eq!((sn(10).topic.as_str(), sn(10).retain), ("dev/env-3/env", Some(true)));
    let minus_one = table.qos_minus_one().unwrap();
    assert_eq!((minus_one.ids.as_slice(), minus_one.rate.unwrap().count), ([1].as_slice(), 5));
    let prefix = example("limits.yaml").table;
    let path = ["ps", "a"].map(str::to_owned);
    assert!(prefix.coap(&caller, None, CoapMethod::Put, &path, &[]).is_ok());
}

#[test]
fn text_stays_what_was_typed() {
    let resolved = good(
        "listeners: [{name: 1.10, protocol: mqtt, anonymous: true, mount: on/, tenant: 007}]\n\
         mappings: {mqttsn: {short: {no: 1.10}}}\n",
    );
    let listener = &resolved.core.listeners[0];
    assert_eq!((&*listener.name, &*listener.mount, &*listener.tenant), ("1.10", "on/", "007"));
    let caller = Caller {
        listener: "field",
        client: "a",
        identity: None,
        tenant: "",
        gateway: "motegate",
        source_ip: [10, 0, 0, 1].into(),
        mount: "",
    };
    let table = good("mappings: {mqttsn: {topic_ids: {all: {1: 1.10}}}}").table;
    assert_eq!(table.sn(&caller, SnTopic::Predefined(1)).unwrap().topic.as_str(), "1.10");
}

#[test]
fn substitution_is_data_never_yaml() {
    let path = std::env::var("PATH").unwrap();
    let resolved = good("data_dir: ${env:PATH}");
    assert_eq!(resolved.data_dir.to_str().unwrap(), path);
    let folder = std::env::temp_dir().join(format!("motegate-config-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("name"), "a: [b]\"\n").unwrap();
    let file = folder.join("motegate.yaml");
    std::fs::write(&file, "data_dir: \"x-${file:name}\"\n").unwrap();
    assert_eq!(Config::load(&file).unwrap().data_dir, folder.join("x-a: [b]\""));
    std::fs::write(&file, [0xff, 0xfe]).unwrap();
    assert_eq!(Config::load(&file).unwrap_err().diagnostics[0].code, Code::Unreadable);
    std::fs::remove_dir_all(&folder).unwrap();
    let gone = check(&file);
    assert!(!gone.ok && gone.text.contains("cannot be read"), "{gone}");
}

/// A file that never ends, or cannot be read at all, is told at once (in `conf.d` and by name).
#[test]
fn what_is_no_file_is_refused_and_not_waited_for() {
    let folder = std::env::temp_dir().join(format!("motegate-kinds-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("conf.d")).unwrap();
    let main = folder.join("motegate.yaml");
    std::fs::write(&main, "version: 1\n").unwrap();
    let pipe = |path: &Path| {
        let status = std::process::Command::new("mkfifo").arg(path).status().unwrap();
        assert!(status.success());
    };
    let refused = |layers: Layers| {
        let findings = layers.load().unwrap_err();
        assert_eq!(findings.diagnostics.len(), 1, "{findings}");
        (findings.diagnostics[0].code, findings.diagnostics[0].text.clone())
    };
    let named = |path: &Path| Layers::new().file(path);
    let told = |what: &str| (Code::Unreadable, format!("the file cannot be read: {what}"));
    assert_eq!(refused(named(Path::new("/dev/zero"))), told("it is a device, not a file"));
    assert_eq!(refused(named(&folder)), told("it is a folder, not a file"));
    assert!(named(Path::new("/dev/null")).load().is_ok(), "an empty one");
    // Too large is seen without reading all of it.
    let large = folder.join("large.yaml");
    std::fs::File::create(&large).unwrap().set_len(1 << 40).unwrap();
    let (code, _) = refused(named(&large));
    assert_eq!(code, Code::Limit);
    // A pipe that is named is read, once.
    let named_pipe = folder.join("pipe");
    pipe(&named_pipe);
    let path = named_pipe.clone();
    let writer = std::thread::spawn(move || std::fs::write(path, "version: 1\n").unwrap());
    assert!(named(&main).file(&named_pipe).load().is_ok());
    writer.join().unwrap();
    let again = named(&main).file(&named_pipe).again();
    assert_eq!(refused(again), told("it is a pipe, not a file"));
    // In conf.d nobody named it.
    pipe(&folder.join("conf.d/a.yaml"));
    assert_eq!(refused(named(&main)), told("it is a pipe, not a file"));
    std::fs::remove_dir_all(&folder).unwrap();
}

/// What a configuration consists of is known before and after it was read, also in vain.
#[test]
fn the_files_of_a_configuration_are_known() {
    let folder = std::env::temp_dir().join(format!("motegate-paths-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("conf.d")).unwrap();
    let path = |name: &str| folder.join(name);
    let write = |name: &str, text: &str| std::fs::write(path(name), text).unwrap();
    write("motegate.yaml", "data_dir: ${file:place}\n");
    write("conf.d/b.yaml", "version: 1\n");
    write("conf.d/a.yaml", "version: 1\n");
    for ignored in ["conf.d/.c.yaml", "conf.d/d.yml", "conf.d/e.yaml.bak"] {
        write(ignored, "nonsense\n");
    }
    write("site.yaml", "version: 1\n");
    let layers = Layers::new().file(path("motegate.yaml")).file(path("site.yaml"));
    let mut all =
        ["motegate.yaml", "conf.d/a.yaml", "conf.d/b.yaml", "site.yaml"].map(path).to_vec();
    assert_eq!(layers.paths(), all);
    assert_eq!(layers.folder(), Some(path("conf.d")));
    // A file that a value comes from is known although it is not there yet.
    all.insert(1, path("place"));
    assert_eq!(layers.load().unwrap_err().files, all);
    write("place", "there\n");
    assert_eq!(layers.load().unwrap().files, all);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn numbers_may_be_octal_or_hexadecimal() {
    let resolved = good("version: 0x1\ngateway: {sn_gateway_id: 0o17}\nmqtt: {max_qos: 0x1}\n");
    assert_eq!((resolved.core.mqtt_sn.gateway_id, resolved.core.mqtt.max_qos), (15, 1));
    let ids = "mappings: {mqttsn: {topic_ids: {all: {0x10: a, 0x20-0x21: \"b/{id}\"}}}}\n";
    let topics = good(ids).table.sn_ids("x");
    assert_eq!(topics, [16, 32, 33]);
    assert_eq!(codes("gateway: {sn_gateway_id: 0x100}\n"), [Code::Range]);
    let twice = "mappings: {mqttsn: {topic_ids: {all: {0x10: a, 16: b}}}}\n";
    assert_eq!(codes(twice), [Code::TopicId]);
}

#[test]
fn two_listeners_cannot_share_a_port_that_one_has_on_all_addresses() {
    let text = |one: &str, other: &str| {
        format!(
            "listeners:\n- {{name: a, protocol: mqtt, bind: \"{one}\", anonymous: true}}\n\
             - {{name: b, protocol: mqtt, bind: \"{other}\", anonymous: true}}\n"
        )
    };
    assert_eq!(codes(&text("0.0.0.0:7000", "127.0.0.1:7000")), [Code::ListenerTwice]);
    assert_eq!(codes(&text("127.0.0.1:7000", "[::]:7000")), [Code::ListenerTwice]);
    assert_eq!(good(&text("127.0.0.1:7000", "[::1]:7000")).listeners.len(), 2);
}

#[test]
fn aliases_are_resolved_within_bounds() {
    let shared = good(
        "listeners:\n- &one {protocol: mqtt, bind: \"127.0.0.1:0\", anonymous: &yes true, name: a}\n\
         - {protocol: coap, anonymous: *yes, name: b}\n",
    );
    assert!(shared.core.listeners[1].anonymous);
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for i in 1..9 {
        let list = vec![format!("*a{}", i - 1); 10].join(", ");
        bomb.push_str(&format!("a{i}: &a{i} [{list}]\n"));
    }
    assert!(codes(&bomb).contains(&Code::Limit));
    assert_eq!(codes("a: &a [*a]"), [Code::Limit]);
}

#[test]
fn any_text_is_answered_without_panic() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed % below as u64).unwrap()
    };
    let (mut refused, mut taken) = (0, 0);
    for name in ["sensors.yaml", "limits.yaml", "mounts-and-realms.yaml", "bad/topic-ids.yaml"] {
        let text = std::fs::read_to_string(folder.join(name)).unwrap();
        for _ in 0..150 {
            let mut chars: Vec<char> = text.chars().collect();
            for _ in 0..=random(3) {
                let at = random(chars.len());
                let junk = ['{', '}', '"', ':', '\n', 'é', '0', '-', '&', '*', '\t', '|', '😀'];
                match random(3) {
                    0 => chars[at] = junk[random(junk.len())],
                    1 => chars.insert(at, junk[random(junk.len())]),
                    _ => {
                        let end = (at + random(40)).min(chars.len());
                        chars.drain(at..end);
                    }
                }
            }
            let mutated: String = chars.into_iter().collect();
            let report = check_text(name, &mutated);
            if report.ok {
                taken += 1
            } else {
                refused += 1
            }
            assert!(!report.text.is_empty());
        }
    }
    assert!(refused > 100 && taken > 20, "{refused} {taken}");
}

#[test]
fn places_count_characters_and_survive_other_line_ends() {
    let text = "# é😀\r\nlisteners:\r\n  - {name: \"é😀\", protocol: mqtt, anonymous: maybe}\r\n";
    let findings = Config::parse("f.yaml", text).unwrap_err();
    let [one] = findings.diagnostics.as_slice() else { panic!("{findings}") };
    let at = one.position(&findings.sources).unwrap();
    assert_eq!((at.line, at.column), (3, 45), "{findings}");
    assert_eq!(&text[one.span.clone().unwrap()], "maybe");
    assert_eq!(good("\u{feff}log: {level: debug}\r\n").log.level, LogLevel::Debug);
}

#[test]
fn ten_thousand_rules_are_no_trouble() {
    let mut text = String::from("mappings:\n  coap:\n");
    for i in 0..10_000 {
        let line =
            format!("    - {{name: r{i}, path: \"/s/{i}/{{x}}\", topic: \"t/{i}/{{x}}\"}}\n");
        text.push_str(&line);
    }
    let resolved = good(&text);
    assert_eq!(resolved.rules, 10_000);
}

#[test]
fn very_many_mistakes_are_counted_not_drawn() {
    let mut text = String::from("mqtt:\n");
    for i in 0..5_000 {
        text.push_str(&format!("  nonsense_{i}: {i}\n"));
    }
    let findings = Config::parse("motegate.yaml", &text).unwrap_err();
    assert_eq!(findings.diagnostics.len(), 5_000);
    let drawn = findings.to_string();
    assert!(drawn.ends_with("and 4900 more"), "{}", &drawn[drawn.len() - 200..]);
    // As many keys of a mapping that takes any.
    let mut ids = String::from("mappings:\n  mqttsn:\n    topic_ids:\n      all:\n");
    for i in 1..=65_534 {
        ids.push_str(&format!("        {i}: \"t/{i}\"\n"));
    }
    good(&ids);
}

/// What MQTT 5 clients are told, and what is done where they may not.
#[test]
fn settings_of_mqtt_5() {
    let core = good(
        "mqtt: {response_prefix: reply/, assigned_client_id_prefix: field-, deny: disconnect,
                server_reference: \"b.example:1883\", server_moved: true, validate_payload_format: true,
                queue_qos0: true}",
    )
    .core;
    assert!(core.queue.queue_qos0 && !good("").core.queue.queue_qos0);
    let mqtt = core.mqtt;
    assert_eq!((&*mqtt.response_prefix, &*mqtt.assigned_prefix), ("reply/", "field-"));
    assert_eq!((&*mqtt.server_reference, mqtt.server_moved), ("b.example:1883", true));
    assert!(mqtt.validate_payload_format && mqtt.deny_disconnects);
    assert!(!good("mqtt: {deny: answer}").core.mqtt.deny_disconnects);
    for (text, utf8) in [
        ("", Utf8::Strict),
        ("mqtt: {utf8: strict}", Utf8::Strict),
        ("mqtt: {utf8: lenient}", Utf8::Lenient),
    ] {
        assert_eq!(good(text).core.mqtt.utf8, utf8);
    }
    for bad in [
        "response_prefix: a/+/",
        "response_prefix: \"a\\u0000\"",
        "server_reference: \"a\\u0007\"",
        "assigned_client_id_prefix: \"\\u0001\"",
        "deny: close",
        "utf8: loose",
        "server_moved: for good",
    ] {
        assert_eq!(codes(&format!("mqtt: {{{bad}}}")), [Code::Value], "{bad}");
    }
}

#[test]
fn discovery_and_forwarders_arrive_and_their_mistakes_are_told() {
    let listeners = "version: 1\nlisteners: [{protocol: mqttsn, bind: \"[::]:1885\"}]\nmqttsn:\n";
    let resolved = good(&format!(
        "{listeners}  advertise: {{every: 20m, to: [224.0.18.83%eth0, 10.0.0.255, \
         \"[ff02::1:83%wpan0]:1886\"]}}\n  discovery_groups: [224.0.18.83%eth0, \
         \"ff02::1:83%wpan0\"]\n  forwarders: [10.0.0.0/8, \"fd00::/8\", 192.0.2.7]\n"
    ));
    let sn = &resolved.core.mqtt_sn;
    assert_eq!(sn.advertise_every, Duration::from_secs(1200));
    let texts = |groups: &[motegate_message::Group]| {
        groups.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let to = ["224.0.18.83%eth0", "10.0.0.255", "[ff02::1:83%wpan0]:1886"];
    assert_eq!(texts(&sn.advertise_to), to);
    let of = |resolved: &Resolved, protocol| {
        let mine = resolved.groups.iter().filter(|(of, _)| *of == protocol);
        mine.map(|(_, group)| group.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(of(&resolved, Protocol::MqttSn), ["224.0.18.83%eth0", "ff02::1:83%wpan0"]);
    let coap = good(
        "listeners: [{protocol: coap, bind: \"[::]:5683\"}]\ncoap: {multicast_discovery: \
         [224.0.1.187%eth0, \"ff02::fd%wpan0\", \"ff05::fd\"]}\n",
    );
    let joined = ["224.0.1.187%eth0", "ff02::fd%wpan0", "ff05::fd"];
    assert_eq!(of(&coap, Protocol::Coap), joined);
    assert_eq!(of(&coap, Protocol::MqttSn), [""; 0]);
    let networks = ["10.0.0.0/8", "fd00::/8", "192.0.2.7"].map(|n| n.parse().unwrap());
    assert_eq!(sn.forwarders, Forwarders::From(networks.to_vec()));
    let plain = good(&format!("{listeners}  forwarders: 10.0.0.0/8\n"));
    assert!(
        matches!(plain.core.mqtt_sn.forwarders, Forwarders::From(networks) if networks.len() == 1)
    );

    let bad = |listeners: &str, rest: &str, words: &str| {
        let told = Config::parse("f", &format!("{listeners}  {rest}\n")).unwrap_err().to_string();
        assert!(told.contains(words), "{rest}\n{told}");
    };
    for (rest, words) in [
        ("advertise: {to: [127.0.0.1]}", "neither a multicast group nor a broadcast address"),
        ("advertise: {to: [\"fd00::1\"]}", "neither a multicast group nor a broadcast address"),
        ("advertise: {to: [eth0]}", "write ADDRESS%INTERFACE"),
        ("advertise: {every: 0s}", "at least 1s"),
        ("discovery_groups: [10.0.0.255]", "not a multicast group"),
        ("discovery_groups: [\"224.0.18.83%eth0:1884\"]", "at the port of the listener"),
        ("discovery_groups: [224.0.18.83, 224.0.18.83]", "here twice"),
        ("forwarders: [10.0.0.1/8]", "allow, deny, or a list of networks"),
        ("forwarders: [allow, 10.0.0.0/8]", "stands alone"),
        ("forwarders: some", "allow, deny, or a list of networks"),
    ] {
        bad(listeners, rest, words);
    }
    let here = listeners.replace("[::]", "127.0.0.1");
    bad(&here, "discovery_groups: [224.0.18.83]", "no mqttsn listener hears an IPv4 group");
    let v4 = listeners.replace("[::]", "0.0.0.0");
    bad(&v4, "discovery_groups: [\"ff02::1:83\"]", "no mqttsn listener hears an IPv6 group");
    // What CoAP joins needs a listener of CoAP.
    let other = "version: 1\nlisteners: [{protocol: mqttsn, bind: \"[::]:1885\"}]\ncoap:\n";
    bad(other, "multicast_discovery: [224.0.1.187]", "no coap listener hears an IPv4 group");
    bad(other, "multicast_discovery: [10.0.0.255]", "not a multicast group");
    let streams =
        "listeners: [{protocol: coap+tcp, bind: \"[::]:5683\", anonymous: true}]\ncoap:\n";
    bad(streams, "multicast_discovery: [224.0.1.187]", "no coap listener hears an IPv4 group");
}

/// EMQX's keys, and a warning where nobody can connect who must.
#[test]
fn connections_of_emqx_are_configured() {
    let read = |listener: &str, rest: &str| {
        let coap = format!("listeners: [{{name: edge, protocol: coap, {listener}}}]\n");
        Config::parse("emqx.yaml", &[&coap, rest].concat()).expect("no errors")
    };
    const PRESET: &str = "mappings: {presets: [emqx-ps]}\n";
    let all = [PRESET, "coap: {heartbeat: 10s}\n", "limits: {max_coap_logins: 7}\n"].concat();
    let resolved = read("anonymous: true, connection_required: true", &all);
    let core = &resolved.core;
    assert_eq!((core.max_coap_logins, core.coap_heartbeat), (7, Duration::from_secs(10)));
    assert!(core.listeners[0].connection_required && resolved.warnings.is_empty());
    let plain = read("anonymous: true", PRESET);
    assert!(!plain.core.listeners[0].connection_required);
    assert_eq!(plain.core.coap_heartbeat, Duration::from_secs(30));
    let rule = |path: &str| {
        let rule = format!("coap: [{{name: mine, path: \"{path}\", topic: a}}]");
        format!("mappings: {{presets: [emqx-ps], {rule}}}\n")
    };
    for (rest, warning) in [
        ("", Some("needs the preset `emqx-ps`")),
        (&*rule("/mqtt/{x}"), Some("rule mine takes /mqtt/connection")),
        (&rule("/mqtt/{x}/{y}"), None),
    ] {
        let warnings = read("anonymous: true, connection_required: true", rest).warnings;
        assert_eq!(warnings.len(), usize::from(warning.is_some()), "{rest}: {warnings:?}");
        assert!(warning.is_none_or(|text| warnings[0].contains(text)), "{warnings:?}");
    }
    const USER: &str = "users: [{name: a, password: \"SCRAM-SHA-256$4096:c2FsdA==$\
        AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:\
        AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\"}]\n";
    let warnings = read("anonymous: false", PRESET).warnings;
    assert_eq!(warnings.len(), 1, "nobody has a password");
    assert!(warnings[0].contains("there are no `users`"), "{warnings:?}");
    let warnings = read("anonymous: false", USER).warnings;
    assert!(warnings[0].contains("devices have no passwords"), "{warnings:?}");
    assert!(read("anonymous: false", &[PRESET, USER].concat()).warnings.is_empty());
    let mqtt = "listeners: [{protocol: mqtt, anonymous: true, connection_required: true}]";
    assert!(Config::parse("mqtt.yaml", mqtt).is_err());
}
