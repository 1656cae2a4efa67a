//! Bodies larger than a message (RFC 7959), between `motegate` and the servers of libcoap and
//! aiocoap, in both directions.

use motegate_tests::gateway::scratch;
use motegate_tests::relay::{From, Relay};
use motegate_tests::server::{Make, Server, motegate, running};

const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz";

/// A file of this many bytes; the directory, to be removed, and the path.
fn file(bytes: usize) -> (std::path::PathBuf, String) {
    let directory = scratch("blocks");
    let path = directory.join("body");
    let text: String =
        (0..bytes).map(|at| LETTERS[at / 7 % LETTERS.len()]).map(char::from).collect();
    std::fs::write(&path, text).expect("the scratch directory takes a file");
    let shown = path.to_str().expect("a path of letters").to_owned();
    (directory, shown)
}

/// What `/big?N` of `coap_server.py` holds.
fn big(bytes: usize, version: u32) -> String {
    let text: String = (0..bytes).map(|number| format!("{version}.{number} ")).collect();
    text[..bytes].to_owned()
}

fn blocks(link: &mut Relay) -> usize {
    link.record().iter().filter(|(from, _)| *from == From::Client).count()
}

#[test]
fn large_values_are_read_from_both() {
    let libcoap = Server::start(Make::Libcoap);
    let data =
        motegate(&["get", &libcoap.url("example_data"), "--no-newline"]).good("2.05 Content");
    assert!(data.len() == 1500 && data.starts_with("a123456789b"), "{data}");
    let small = motegate(&["get", &libcoap.url("example_data"), "-b", "64", "--no-newline"]);
    assert_eq!(small.good("2.05 Content"), data);

    let aiocoap = Server::start(Make::Aiocoap);
    // aiocoap sends up to 1,124 bytes in one message, its choice.
    for bytes in [1_024, 1_200, 2_048, 30_000] {
        let mut link = Relay::start(aiocoap.address);
        let url = format!("coap://{}/big?{bytes}", link.address);
        let got = motegate(&["get", &url, "--no-newline"]).good("2.05 Content");
        assert!(got == big(bytes, 0), "{bytes} bytes came as {}: {got}", got.len());
        assert_eq!(blocks(&mut link), bytes.div_ceil(1_024));
        if bytes < 3_000 {
            let sized = motegate(&["get", &url, "--no-newline", "-b", "256", "-N", "-o", "json"]);
            let sized = sized.good("2.05 Content");
            assert!(sized.contains(big(bytes, 0).as_str()), "{sized}");
            assert_eq!(blocks(&mut link), bytes.div_ceil(1_024) + bytes.div_ceil(256));
        }
    }
    let found = motegate(&["discover", &aiocoap.url(""), "-b", "32"]).good("2.05 Content");
    assert_eq!(found, motegate(&["discover", &aiocoap.url(""), "-q"]).good(""));
}

/// The second datagram of each direction is lost.
#[test]
fn lost_blocks_are_sent_again() {
    let server = Server::start(Make::Aiocoap);
    let link = Relay::losing(server.address, |_, number| number == 1);
    let url = format!("coap://{}/big?2500", link.address);
    assert_eq!(motegate(&["get", &url, "--no-newline"]).good("2.05 Content"), big(2_500, 0));
    let (directory, path) = file(2_500);
    let link = Relay::losing(server.address, |_, number| number == 1);
    let url = format!("coap://{}/upload", link.address);
    let told = motegate(&["put", &url, "-f", &path]).good("2.04 Changed");
    assert!(told.starts_with("2500 bytes "), "{told}");
    let _ = std::fs::remove_dir_all(directory);
}

/// The entity tag changes between two blocks: what is printed is one version, whole.
#[test]
fn a_value_that_changes_while_it_is_read() {
    let mut server = Server::start(Make::Aiocoap);
    server.process().say("moving 2");
    let got = motegate(&["get", &server.url("moving?5000"), "--no-newline"]).good("2.05 Content");
    assert!(got == big(5_000, 2), "{got}");
    server.process().say("moving 100");
    motegate(&["get", &server.url("moving?5000")]).bad(6, "changes faster than it can be read");
}

#[test]
fn large_values_are_written_to_both() {
    let (directory, path) = file(5_000);
    let body = std::fs::read_to_string(&path).expect("it was written");
    let libcoap = Server::start(Make::Libcoap);
    motegate(&["put", &libcoap.url("made"), "-f", &path]).good("2.01 Created");
    let got = motegate(&["get", &libcoap.url("made"), "--no-newline"]).good("2.05 Content");
    assert!(got == body, "{got}");
    motegate(&["put", &libcoap.url("made"), "-f", &path, "-b", "128"]).good("2.04 Changed");
    let got = motegate(&["get", &libcoap.url("made"), "--no-newline", "-q"]).good("");
    assert!(got == body, "{got}");

    let mut aiocoap = Server::start(Make::Aiocoap);
    for non in [false, true] {
        let mut words = vec!["put", "-f", &path, "-t", "binary"];
        let url = aiocoap.url("upload");
        words.push(&url);
        if non {
            words.push("-N");
        }
        let told = motegate(&words).good("2.04 Changed");
        assert!(told.starts_with("5000 bytes "), "{told}");
        aiocoap.process().wait_for_text(&format!("upload {told} format=42"));
    }
    // Question and answer in blocks.
    let echo = motegate(&["post", &aiocoap.url("upload"), "-f", &path, "--no-newline"]);
    assert!(echo.good("2.04 Changed") == body, "{echo:#?}");
    let _ = std::fs::remove_dir_all(directory);
}

/// RFC 7959 §2.9.3: 4.13 says what would do, or that nothing would.
#[test]
fn a_server_that_takes_less() {
    let mut server = Server::start(Make::Aiocoap);
    let (directory, path) = file(300);
    let mut link = Relay::start(server.address);
    let url = format!("coap://{}/tight", link.address);
    motegate(&["put", &url, "-f", &path]).good("2.04 Changed");
    server.process().wait_for_text("upload 300 bytes");
    assert_eq!(blocks(&mut link), 1 + 300_usize.div_ceil(64));
    motegate(&["put", &server.url("closed"), "-f", &path])
        .bad(4, "4.13 Request Entity Too Large: 256 bytes at most");
    let _ = std::fs::remove_dir_all(directory);
    let (directory, path) = file(3_000);
    motegate(&["put", &server.url("tight"), "-f", &path]).good("2.04 Changed");
    server.process().wait_for_text("upload 3000 bytes");
    motegate(&["put", &server.url("closed"), "-f", &path]).bad(4, "4.13");
    let _ = std::fs::remove_dir_all(directory);
}

/// RFC 7252 §5.4.1, and more than the client keeps.
#[test]
fn what_cannot_be_taken_is_said() {
    let server = Server::start(Make::Aiocoap);
    motegate(&["get", &server.url("odd")]).bad(6, "critical option 65001");
    motegate(&["get", &server.url("big?1100000"), "-W", "60"]).bad(1, "larger than 1024 KiB");
}

/// RFC 7959 §2.6: each notification is fetched to its end.
#[test]
fn large_values_are_observed() {
    let mut server = Server::start(Make::Aiocoap);
    let url = server.url("swarm");
    let mut observer = running(&["observe", &url, "-C", "5"]);
    let value = |letter: &str| letter.repeat(3_000);
    observer.wait_for("the first value", |line| line == value("0"));
    for letter in ["a", "b", "c", "d"] {
        server.process().say(&format!("swarm {letter}"));
        observer.wait_for("the next value", |line| line == value(letter));
    }
    let finished = observer.finish();
    assert_eq!((finished.status.code(), finished.stdout.len()), (Some(0), 5), "{finished:#?}");
    server.process().wait_for_text("observers 0");
}
