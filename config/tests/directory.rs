//! `coap.resource_directory`: what it may say, and what is told of what it may not.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use motegate_config::{Config, ResourceDirectory};

const LISTENERS: &str = "version: 1\nlisteners:\n  \
    - {name: tcp, protocol: coap+tcp, bind: \"[::]:5683\", anonymous: true}\n  \
    - {name: edge, protocol: coap, bind: \"[::]:5683\", anonymous: true}\n  \
    - {name: closed, protocol: coap, bind: \"[::]:5685\"}\n  \
    - {name: here, protocol: coap, bind: \"127.0.0.1:5686\", anonymous: true}\n  \
    - {name: lan, protocol: mqtt, bind: \"[::]:1883\", anonymous: true}\n";

fn of(block: &str) -> ResourceDirectory {
    let text = format!("{LISTENERS}coap: {{resource_directory: {{{block}}}}}\n");
    Config::parse("f", &text).unwrap_or_else(|found| panic!("{block}\n{found}")).directory.unwrap()
}

#[test]
fn one_line_is_enough() {
    let found = of("uri: \"coap://rd.example.org\"");
    assert_eq!(found.uri.server.to_string(), "coap://rd.example.org");
    assert!(found.uri.path.is_empty());
    let rest = (found.endpoint, found.sector, found.lifetime_secs, found.base, &*found.listener);
    assert_eq!(rest, (None, None, 90_000, None, "edge"));
    assert_eq!(found.links_every, Duration::from_secs(300));
    assert_eq!(Config::parse("f", LISTENERS).unwrap().directory, None);
}

#[test]
fn every_key_counts() {
    let found = of("uri: \"coap://[2001:db8::1]:61616/rd\", endpoint: gw-7, sector: \"floor é\", \
                    lifetime: 1h, base: \"coap+tcp://gw.example.org:61616/\", listener: tcp, \
                    links_every: 10s");
    assert_eq!(found.uri.server.to_string(), "coap://[2001:db8::1]:61616");
    assert_eq!(found.uri.path, ["rd"]);
    assert_eq!(found.endpoint.as_deref(), Some("gw-7"));
    assert_eq!(found.sector.as_deref(), Some("floor é"));
    assert_eq!(found.lifetime_secs, 3_600);
    assert_eq!(found.base.as_deref(), Some("coap+tcp://gw.example.org:61616"));
    assert_eq!((&*found.listener, found.links_every), ("tcp", Duration::from_secs(10)));
    let longest = of("uri: \"coap://h\", lifetime: 36500d").lifetime_secs;
    assert_eq!(longest, 36_500 * 86_400);
    // What is bound to loopback can be registered at a directory that is there, too.
    assert_eq!(&*of("uri: \"coap://[::1]\", listener: here").listener, "here");
    let named = format!(
        "{LISTENERS}gateway: {{name: hall}}\ncoap: {{resource_directory: {{uri: \
                         \"coap://h\"}}}}\n"
    );
    let named = Config::parse("f", &named).unwrap().directory.unwrap();
    assert_eq!(named.endpoint.as_deref(), Some("hall"));
}

#[test]
fn what_is_wrong_is_told_where_it_stands() {
    let long = "x".repeat(64);
    for (block, words) in [
        ("endpoint: x".to_owned(), "`uri` is missing"),
        ("uri: rd.example.org".to_owned(), "does not begin with coap://"),
        ("uri: \"coaps://rd\"".to_owned(), "does not begin with coap://"),
        ("uri: \"coap://rd?x=1\"".to_owned(), "a query or a fragment"),
        ("uri: \"coap://2001:db8::1\"".to_owned(), "no HOST or HOST:PORT"),
        ("uri: \"coap://224.0.1.187\"".to_owned(), "a group has many hosts"),
        (format!("uri: \"coap://h\", endpoint: {long}"), "1 to 63 bytes"),
        ("uri: \"coap://h\", endpoint: \"\"".to_owned(), "1 to 63 bytes"),
        ("uri: \"coap://h\", sector: \"a\\u0085b\"".to_owned(), "1 to 63 bytes"),
        ("uri: \"coap://h\", lifetime: 59s".to_owned(), "at least 60s"),
        ("uri: \"coap://h\", lifetime: 36501d".to_owned(), "at most 36500d"),
        ("uri: \"coap://h\", links_every: 2d".to_owned(), "at most 1d"),
        ("uri: \"coap://h\", base: gw.example.org".to_owned(), "no base of links"),
        ("uri: \"coap://h\", base: \"coap://gw/x\"".to_owned(), "no base of links"),
        ("uri: \"coap://h\", base: \"coap://gw?x\"".to_owned(), "no base of links"),
        ("uri: \"coap://h\", base: \"coap://[fe80::1%25eth0]\"".to_owned(), "no zone"),
        (format!("uri: \"coap://h\", base: \"coap://{}\"", "g".repeat(250)), "at most 250"),
        ("uri: \"coap://h\", listener: edg".to_owned(), "no CoAP listener is named `edg`"),
        ("uri: \"coap://h\", listener: lan".to_owned(), "no CoAP listener is named `lan`"),
        ("uri: \"coap://192.0.2.1\", listener: here".to_owned(), "only this machine reaches"),
    ] {
        let text = format!("{LISTENERS}coap: {{resource_directory: {{{block}}}}}\n");
        let told = Config::parse("f", &text).unwrap_err().to_string();
        assert!(told.contains(words), "{block}\n{told}");
    }
    let closed = format!(
        "{LISTENERS}coap: {{resource_directory: {{uri: \"coap://h\", listener: closed}}}}\n"
    );
    let warned = Config::parse("f", &closed).unwrap().warnings.concat();
    assert!(warned.contains("`closed` takes no anonymous clients"), "{warned}");
    let required = "listeners: [{name: c, protocol: coap, anonymous: true, connection_required: true}]\n\
                    mappings: {presets: [emqx-ps]}\ncoap: {resource_directory: {uri: \"coap://h\"}}\n";
    let warned = Config::parse("f", required).unwrap().warnings.concat();
    assert!(warned.contains("`c` shows nothing to a client without a connection"), "{warned}");
    let none = "listeners: [{protocol: mqtt, anonymous: true}]\ncoap: {resource_directory: {uri: \
                \"coap://h\"}}\n";
    let told = Config::parse("f", none).unwrap_err().to_string();
    assert!(told.contains("there is no CoAP listener"), "{told}");
    let long = format!(
        "{LISTENERS}gateway: {{name: {long}}}\ncoap: {{resource_directory: {{uri: \
                        \"coap://h\"}}}}\n"
    );
    let told = Config::parse("f", &long).unwrap_err().to_string();
    assert!(told.contains("write a shorter `endpoint`"), "{told}");
}
