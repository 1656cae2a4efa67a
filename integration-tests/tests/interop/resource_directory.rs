//! The gateway registers itself at the resource directories of aiocoap and libcoap (RFC 9176).
#![allow(clippy::disallowed_methods)] // real processes run in real time

use std::time::{Duration, Instant};

use motegate_tests::gateway::Gateway;
use motegate_tests::peer::coap;
use motegate_tests::process::DEADLINE;
use motegate_tests::server::{Make, Server, motegate};

/// A gateway that registers with what `block` says beside the URI. Its CoAP listener is on all
/// addresses: where it is reached is for it to find out.
fn registering(at: &str, block: &str) -> Gateway {
    let text = format!(
        "version: 1\ndurability: none\nlisteners:\n  \
         - {{protocol: mqtt, bind: \"127.0.0.1:0\", anonymous: true}}\n  \
         - {{protocol: mqttsn, bind: \"127.0.0.1:0\", anonymous: true}}\n  \
         - {{name: edge, protocol: coap, bind: \"[::]:0\", anonymous: true}}\n\
         coap: {{resource_directory: {{uri: \"{at}\", {block}}}}}\n"
    );
    Gateway::of_file(&motegate_tests::gateway::binary(), &["run"], &text)
}

/// What a GET of the directory shows, when it shows this; `None`: nothing at all.
fn shows(directory: &Server, path: &str, wanted: Option<&str>) -> String {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let lines = coap(&[&directory.url(path)]).concat();
        let seen = match wanted {
            Some(text) => lines.contains(text),
            None => lines.contains("c:2.05") && !lines.contains('<'),
        };
        if seen {
            return lines;
        }
        assert!(Instant::now() < deadline, "{path} does not show {wanted:?}: {lines}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn reload(gateway: &Gateway) {
    let file = gateway.file().expect("it has a file").display().to_string();
    let finished = motegate(&["reload", "-c", &file]);
    assert!(finished.status.success(), "{finished:#?}");
}

fn status(gateway: &Gateway) -> String {
    let file = gateway.file().expect("it has a file").display().to_string();
    let told = motegate(&["status", "-c", &file]).good("");
    told.lines().find(|line| line.starts_with("registered")).expect("a line of its own").to_owned()
}

const ENDPOINTS: &str = "endpoint-lookup/";
const RESOURCES: &str = "resource-lookup/";

/// RFC 9176 §4.3, §5, §5.3.1, §5.3.2 and the lookups of §6: found, registered with endpoint, sector and
/// base, changed with the retained topics, made anew after a restart of the directory, removed at the
/// end.
#[test]
fn aiocoap_finds_the_gateway_as_long_as_it_is_there() {
    let mut directory = Server::start(Make::AiocoapDirectory);
    let uri = format!("coap://localhost:{}", directory.address.port());
    let mut gateway = registering(&uri, "endpoint: gw-7, sector: hall, links_every: 1s");
    gateway.process().wait_for_text("registered at the resource directory");
    let base = format!("coap://127.0.0.1:{}", gateway.coap.port());
    let endpoints = shows(&directory, ENDPOINTS, Some("ep=\"gw-7\""));
    for word in ["d=\"hall\"", &format!("base=\"{base}\""), "rt=\"core.rd-ep\""] {
        assert!(endpoints.contains(word), "{word}: {endpoints}");
    }
    shows(&directory, &format!("{RESOURCES}?rt=core.ps"), Some(&format!("<{base}/mqtt>;")));
    let line = status(&gateway);
    assert!(line.contains("1 link as gw-7 at coap://localhost:"), "{line}");
    assert!(line.contains("/reg/1/, base coap://127.0.0.1:"), "{line}");

    // What is found can be used.
    let door = format!("{base}/mqtt/site/door");
    coap(&["-m", "put", "-e", "open", &door]);
    let resources = shows(&directory, RESOURCES, Some(&format!("<{door}>;")));
    assert!(resources.contains("obs") && !resources.contains("sz="), "{resources}");
    coap(&["-m", "delete", &door]);
    let deadline = Instant::now() + DEADLINE;
    while coap(&[&directory.url(RESOURCES)]).concat().contains(&door) {
        assert!(Instant::now() < deadline, "a topic that is no more stays");
        std::thread::sleep(Duration::from_millis(100));
    }

    directory.down();
    directory.up();
    shows(&directory, ENDPOINTS, None);
    reload(&gateway);
    gateway.process().wait_for_text("the gateway registers anew");
    gateway.process().wait_for_text("registered at the resource directory");
    shows(&directory, ENDPOINTS, Some("ep=\"gw-7\""));
    shows(&directory, RESOURCES, Some(&format!("<{base}/mqtt>;")));

    gateway.process().signal("TERM");
    gateway.process().wait_for_text("removed from the resource directory");
    shows(&directory, ENDPOINTS, None);
    shows(&directory, RESOURCES, None);
}

/// A configuration without the block removes the registration, one with another makes that.
#[test]
fn a_reload_follows_what_is_wanted() {
    let directory = Server::start(Make::AiocoapDirectory);
    let uri = directory.url("resourcedirectory/");
    let base = "base: \"coap://gw.example.org:61616\"";
    let gateway = registering(&uri, &format!("endpoint: gw-7, {base}"));
    let registered = shows(&directory, ENDPOINTS, Some("ep=\"gw-7\""));
    assert!(registered.contains("base=\"coap://gw.example.org:61616\""), "{registered}");
    let file = gateway.file().expect("it has a file");
    let text = std::fs::read_to_string(&file).expect("it is there");
    std::fs::write(&file, text.replace("gw-7", "gw-8")).expect("it is ours");
    reload(&gateway);
    let registered = shows(&directory, ENDPOINTS, Some("ep=\"gw-8\""));
    assert!(!registered.contains("gw-7"), "{registered}");
    std::fs::write(&file, text.split("coap: {").next().unwrap_or_default()).expect("it is ours");
    reload(&gateway);
    shows(&directory, ENDPOINTS, None);
    std::fs::write(&file, text).expect("it is ours");
    reload(&gateway);
    shows(&directory, ENDPOINTS, Some("ep=\"gw-7\""));
}

/// libcoap's directory has no update: the registration is made anew then (§5.3.1). It ends with a
/// double free at a DELETE (4.3.1), which is why it is not asked to remove anything here.
#[test]
fn libcoap_keeps_the_links_of_the_gateway() {
    let directory = Server::start(Make::LibcoapDirectory);
    let mut gateway = registering(&directory.url(""), "lifetime: 60s");
    gateway.process().wait_for_text("registered at the resource directory");
    let location = |gateway: &Gateway| {
        let line = status(gateway);
        let word = line.split_whitespace().find(|word| word.contains("/rd/"));
        let url = word.unwrap_or_else(|| panic!("no location: {line}")).trim_end_matches(',');
        url.to_owned()
    };
    let first = location(&gateway);
    let links = coap(&[&first]).concat();
    assert!(links.contains("</mqtt>;rt=\"core.ps\""), "{links}");
    reload(&gateway);
    let deadline = Instant::now() + DEADLINE;
    while location(&gateway) == first {
        assert!(Instant::now() < deadline, "it is not registered anew");
        std::thread::sleep(Duration::from_millis(100));
    }
    let links = coap(&[&location(&gateway)]).concat();
    assert!(links.contains("</mqtt>;rt=\"core.ps\""), "{links}");
}
