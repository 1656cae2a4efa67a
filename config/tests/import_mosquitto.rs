//! Options of mosquitto by themselves: what each becomes here, and what is said of what it cannot be.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use motegate_config::import::{Dialect, Imported, RemarkKind, Source, import};
use motegate_config::{Config, Resolved};

fn import_as(dialect: Dialect, text: &str) -> (Imported, Resolved) {
    let imported = import(dialect, &[Source { name: "x.conf", text }]).unwrap();
    let resolved = Config::parse("motegate.yaml", &imported.yaml);
    let resolved = resolved.unwrap_or_else(|e| panic!("{e}\n\n{}", imported.yaml));
    assert!(!imported.yaml.contains("does not pass check"), "{}", imported.yaml);
    (imported, resolved)
}

fn mosquitto(text: &str) -> (Imported, Resolved) {
    import_as(Dialect::Mosquitto, text)
}

/// The remarks on a line, without that on sessions that never end there.
fn said(imported: &Imported, line: usize) -> Vec<(RemarkKind, &str)> {
    let of = imported.remarks.iter().filter(|r| r.line == line);
    of.filter(|r| r.what != "persistent_client_expiration").map(|r| (r.kind, &*r.text)).collect()
}

/// `enable_proxy_protocol` (mosquitto 2.1), with the certificates that the load balancer has seen: whoever
/// has one needs a login there, too, unless `allow_anonymous` is on.
#[test]
fn the_proxy_protocol_in_both_versions() {
    let proxy = |options: &str| {
        let text = format!("listener 1883\nallow_anonymous true\n{options}");
        let (imported, resolved) = mosquitto(&text);
        let proxy = resolved.listeners[0].transport.proxy.clone();
        let proxy = proxy.map(|proxy| (proxy.v1, proxy.v2, proxy.identity));
        (proxy, resolved.core.listeners[0].anonymous, imported)
    };
    let (one, open, imported) = proxy("enable_proxy_protocol 1\n");
    assert_eq!((one, open), (Some((true, false, false)), true));
    assert!(said(&imported, 3)[0].1.contains("proxy_from"), "{:#?}", imported.remarks);
    let (two, open, _) = proxy("enable_proxy_protocol 2\n");
    assert_eq!((two, open), (Some((false, true, false)), true));
    let (named, open, imported) = proxy("enable_proxy_protocol 2\nuse_identity_as_username true\n");
    assert_eq!((named, open), (Some((false, true, true)), true));
    assert_eq!(said(&imported, 4), []);
    // Nobody comes in without a certificate where it was required; with 1 there is none to be seen.
    let required = "require_certificate true\nuse_identity_as_username true\n";
    let (named, open, imported) = proxy(&format!("enable_proxy_protocol 2\n{required}"));
    assert_eq!((named, open), (Some((false, true, true)), false));
    assert!(said(&imported, 4)[0].1.contains("no certificate"), "{:#?}", imported.remarks);
    let (one, open, _) = proxy(&format!("enable_proxy_protocol 1\n{required}"));
    assert_eq!((one, open), (Some((true, false, false)), false));
    // Who asked for a login, or kept clients out by other means, still does.
    for more in ["allow_anonymous false\n", "acl_file acl\n"] {
        let (named, open, imported) = proxy(&format!("enable_proxy_protocol 2\n{required}{more}"));
        assert_eq!((named, open), (Some((false, true, false)), false), "{more}");
        assert!(said(&imported, 5)[0].1.contains("left out"), "{:#?}", imported.remarks);
    }
    let (none, _, imported) = proxy("enable_proxy_protocol 3\n");
    assert_eq!((none, said(&imported, 3)[0].0), (None, RemarkKind::Unknown));
}

/// Other spellings, and what versions 1.x had.
#[test]
fn other_spellings_and_old_options() {
    let text = "retained_persistence true\nretry_interval 20\nstore_clean_interval 10\n\
                trace_level 1\nlistener 1883\nmaximum_qos 1\nlistener 1884\nmax_qos 1\n";
    let (imported, resolved) = mosquitto(text);
    assert_eq!(resolved.core.mqtt.max_qos, 1);
    assert_eq!(resolved.durability, motegate_config::Durability::ProcessCrash);
    let unsupported = RemarkKind::Unsupported;
    let kinds: Vec<_> = (2..5).map(|line| said(&imported, line)[0].0).collect();
    assert_eq!(kinds, [unsupported; 3]);
    assert!(!imported.remarks.iter().any(|r| r.kind == RemarkKind::Unknown), "{imported:#?}");
    let (imported, resolved) = mosquitto("listener 1883\nmaximum_qos 1\nlistener 1884\n");
    assert_eq!((resolved.core.mqtt.max_qos, said(&imported, 2)[0].0), (2, unsupported));
}

/// What listeners have for themselves there is carried over where they agree, as one does with itself.
#[test]
fn versions_and_prefixes_of_one_listener() {
    for list in ["4,5", "4, 5", "5 4", "4\t5,"] {
        let (imported, resolved) =
            mosquitto(&format!("listener 1883\naccept_protocol_versions {list}\n"));
        let mqtt = &resolved.core.mqtt;
        assert_eq!((mqtt.allow_v31, mqtt.allow_v311, mqtt.allow_v5), (false, true, true), "{list}");
        assert_eq!(said(&imported, 2), []);
    }
    let (imported, _) = mosquitto("listener 1883\naccept_protocol_versions 6\n");
    assert!(said(&imported, 2)[0].1.contains("protocols"), "{:#?}", imported.remarks);
    let each = "per_listener_settings true\nlistener 1883\nauto_id_prefix x-\n";
    for text in [
        "listener 1883\nlistener_auto_id_prefix x-\n",
        "auto_id_prefix x-\nlistener 1883\nlistener 1884\n",
        "auto_id_prefix x-\n",
        "auto_id_prefix x-\nlistener 1883\nlistener 1884\nlistener_auto_id_prefix x-\n",
        each,
    ] {
        let (imported, resolved) = mosquitto(text);
        assert_eq!(&*resolved.core.mqtt.assigned_prefix, "x-", "{text}");
        assert!(!imported.yaml.contains("_id_prefix x-"), "{}", imported.yaml);
    }
    let other = "auto_id_prefix x-\nlistener 1883\nlistener 1884\nlistener_auto_id_prefix y-\n";
    for (text, line) in
        [(format!("{each}listener 1884\n"), 3), (other.into(), 4), (other.into(), 1)]
    {
        let (imported, resolved) = mosquitto(&text);
        assert_eq!(&*resolved.core.mqtt.assigned_prefix, "auto-", "{text}");
        assert!(said(&imported, line)[0].1.contains("assigned_client_id_prefix"), "{text}");
    }
}

/// Messages in flight count in both directions, and the longest message is also the longest will
/// (`send_connack.c`, `handle_connect.c`).
#[test]
fn bounds_that_hold_for_more_than_one_thing() {
    let (_, resolved) = mosquitto("max_inflight_messages 30\nmessage_size_limit 1000\n");
    let mqtt = &resolved.core.mqtt;
    assert_eq!((mqtt.max_inflight, mqtt.receive_maximum), (30, 30));
    assert_eq!((mqtt.max_packet_size, mqtt.max_will_payload), (66_543, 1_000));
    let (imported, resolved) = mosquitto("max_inflight_messages 0\nmessage_size_limit 70000\n");
    let mqtt = &resolved.core.mqtt;
    assert_eq!((mqtt.max_inflight, mqtt.receive_maximum), (128, 1_024));
    assert_eq!((mqtt.max_packet_size, mqtt.max_will_payload), (135_543, 65_535));
    for key in ["max_inflight", "receive_maximum"] {
        assert!(said(&imported, 1).iter().any(|(_, text)| text.contains(key)), "{key}");
    }
    // With both the tighter one holds, in either order.
    for (packet, both) in [(20_000, 20_000), (90_000, 66_543)] {
        let text = format!("message_size_limit 1000\nmax_packet_size {packet}\n");
        let (imported, resolved) = mosquitto(&text);
        let mqtt = &resolved.core.mqtt;
        assert_eq!((mqtt.max_packet_size, mqtt.max_will_payload), (both, 1_000));
        assert_eq!(said(&imported, 1)[0].0, RemarkKind::Changed);
    }
}

/// Writes `root.pem`, `mid.pem` of it, `leaf.pem` of that, and `own.pem` of the root, each with its key.
fn authorities() -> PathBuf {
    use rcgen::{CertificateParams, DnType, IsCa, Issuer, KeyPair};
    let name = format!("motegate-import-chain-{}", std::process::id());
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&folder).unwrap();
    let params = |name: &str, ca: bool| {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        if ca {
            params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        }
        (params, KeyPair::generate().unwrap())
    };
    let write = |name: &str, pem: String, key: &KeyPair| {
        std::fs::write(folder.join(format!("{name}.pem")), pem).unwrap();
        std::fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    };
    let (root, root_key) = params("Root", true);
    write("root", root.self_signed(&root_key).unwrap().pem(), &root_key);
    let root = Issuer::new(root, root_key);
    let (own, own_key) = params("own", false);
    write("own", own.signed_by(&own_key, &root).unwrap().pem(), &own_key);
    let (mid, mid_key) = params("Signing CA", true);
    write("mid", mid.signed_by(&mid_key, &root).unwrap().pem(), &mid_key);
    let mid = Issuer::new(mid, mid_key);
    let (leaf, leaf_key) = params("leaf", false);
    write("leaf", leaf.signed_by(&leaf_key, &mid).unwrap().pem(), &leaf_key);
    let join = |name: &str, parts: [&str; 2]| {
        let texts = parts.map(|part| std::fs::read_to_string(folder.join(part)).unwrap());
        std::fs::write(folder.join(name), texts.concat()).unwrap();
    };
    join("all.pem", ["root.pem", "mid.pem"]);
    join("chain.pem", ["leaf.pem", "mid.pem"]);
    folder
}

fn tls_listener(folder: &Path, cert: &str, key: &str, ca: &str) -> String {
    let at = folder.display();
    format!("listener 8883\ncertfile {at}/{cert}\nkeyfile {at}/{key}\ncafile {at}/{ca}\n")
}

/// OpenSSL and Erlang complete the server's chain from the authorities; here it is shown as it is.
#[test]
fn a_chain_that_was_completed_is_told() {
    let folder = authorities();
    let chain = |cert, key, ca| {
        let (imported, _) = mosquitto(&tls_listener(&folder, cert, key, ca));
        let remarks = imported.remarks.iter().filter(|r| r.text.contains("behind"));
        remarks.map(|r| (r.line, r.what.clone(), r.text.clone())).collect::<Vec<_>>()
    };
    let told = chain("leaf.pem", "leaf.key", "all.pem");
    assert_eq!((told.len(), told[0].0, &*told[0].1), (1, 1, "listener mqtts-8883"));
    let text = format!(
        "write the certificate of CN=Signing CA behind the one in {}/leaf.pem",
        folder.display()
    );
    assert!(told[0].2.contains(&text), "{told:?}");
    assert_eq!(chain("leaf.pem", "leaf.key", "mid.pem").len(), 1);
    // It is all there, there is none, or it was not known there either.
    assert_eq!(chain("chain.pem", "leaf.key", "all.pem"), []);
    assert_eq!(chain("own.pem", "own.key", "all.pem"), []);
    assert_eq!(chain("leaf.pem", "leaf.key", "root.pem"), []);
    assert_eq!(chain("root.pem", "root.key", "all.pem"), []);
    let at = folder.display();
    let (emqx, _) = import_as(
        Dialect::Emqx,
        &format!(
            "listeners.ssl.a {{ bind = 8883, ssl_options {{ certfile = \"{at}/leaf.pem\"\n\
             keyfile = \"{at}/leaf.key\", cacertfile = \"{at}/all.pem\" }} }}\n"
        ),
    );
    assert!(emqx.remarks.iter().any(|r| r.text.contains("CN=Signing CA")), "{:#?}", emqx.remarks);
    std::fs::remove_dir_all(folder).unwrap();
}

/// A listener whose files are elsewhere is written as it would be: open where it was, and with word of
/// its chain.
#[test]
fn a_listener_without_its_files_is_as_open_as_it_was() {
    let nowhere = Path::new("/nowhere");
    let tls = tls_listener(nowhere, "leaf.pem", "leaf.key", "all.pem");
    for (more, as_it_was) in [
        ("allow_anonymous true\n", "anonymous: true"),
        ("allow_anonymous true\nrequire_certificate true\n", "anonymous: true"),
        ("allow_anonymous false\n", "anonymous: false"),
        ("", "anonymous: false"),
    ] {
        let (imported, resolved) = mosquitto(&format!("{tls}{more}"));
        assert!(resolved.listeners.is_empty());
        let left = imported.remarks.iter().find(|r| r.what == "listener mqtts-8883").unwrap();
        assert!(left.equivalent[0].contains(as_it_was), "{more}: {left:?}");
        assert!(left.text.contains("of /nowhere/all.pem, if any, behind"), "{}", left.text);
    }
}
