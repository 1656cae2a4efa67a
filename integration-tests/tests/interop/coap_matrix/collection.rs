//! Cells of the topic collection (draft-ietf-core-coap-pubsub §2.4, §2.5), which takes FETCH and iPATCH:
//! bodies of CBOR, in one message or in blocks, up and down.

use motegate_tests::coap_matrix::peer::Row;
use motegate_tests::coap_matrix::world::{Answer, Asked, ROOT, World};
use motegate_tests::matrix::{Outcome, ensure};

use super::cells::partner;

/// `application/core-pubsub+cbor` and `application/cbor`.
const PUBSUB: u16 = 606;
const CBOR: u16 = 60;

/// Of the words in a configuration, which makes up most of it; it has at most 4 KiB.
pub(super) fn sizes(row: Row) -> Vec<usize> {
    if row.transport.is_secure() {
        return vec![3 * row.block.min(1024)];
    }
    vec![1, row.block.min(3_000), 3 * row.block.min(1024), 3_900]
}

/// A text string of CBOR (RFC 8949 §3.1), a letter a byte.
fn cbor_text(text: &str) -> String {
    let letter = |byte: usize| char::from(u8::try_from(byte & 0xFF).expect("it is masked"));
    match text.len() {
        length @ 0..24 => format!("{}{text}", letter(0x60 | length)),
        length @ 24..256 => format!("x{}{text}", letter(length)),
        length => format!("y{}{}{text}", letter(length >> 8), letter(length)),
    }
}

/// The properties of a topic: name, resource-type, topic-content-format text/plain, topic-type.
fn properties(name: &str, words: &str) -> String {
    let [name, data, words] = [name, "core.ps.data", words].map(cbor_text);
    format!("\u{a4}\u{0}{name}\u{2}{data}\u{3}\u{0}\u{4}{words}")
}

/// Whether it is a 2.05 with this in it.
fn has(answer: &Answer, part: &str) -> Outcome {
    super::same_code(answer, "2.05")?;
    let found = answer.payload.contains(part);
    ensure(found, || format!("{} bytes without what was to be in them", answer.payload.len()))
}

/// A topic is made, found by its name, read in part and whole, changed in part, written to and ended.
pub(super) fn life(world: &World, row: Row, size: usize) -> Outcome {
    let topic = world.fresh();
    let name = format!("{ROOT}/{topic}");
    let words = "w".repeat(size);
    let ask = |method: &str, path: &str, format: u16, payload: &str| {
        let asked = Asked { method, path, payload, format: Some(format), ..Asked::default() };
        world.ask_at(row, asked).map_err(|error| format!("{method} {path}: {error}"))
    };
    let get = |path: &str| world.ask_at(row, Asked { method: "GET", path, ..Asked::default() });
    super::same_code(&ask("POST", "/ps", PUBSUB, &properties(&name, &words))?, "2.01")?;
    // By a filter that is as long as the configuration.
    let filter = format!("\u{a2}\u{0}{}\u{4}{}", cbor_text(&name), cbor_text(&words));
    let found = ask("FETCH", "/ps", PUBSUB, &filter)?;
    has(&found, "</ps/")?;
    let link = found.payload.split(['<', '>']).nth(1).ok_or("no link")?.to_owned();
    // topic-data, topic-type
    has(&ask("FETCH", &link, CBOR, "\u{82}\u{1}\u{4}")?, &format!("\u{4}{}", cbor_text(&words)))?;
    let changed = "v".repeat(size);
    let part = format!("\u{a2}\u{4}{}\u{6}\u{5}", cbor_text(&changed));
    super::same_code(&ask("iPATCH", &link, PUBSUB, &part)?, "2.04")?;
    super::same_code(&ask("PATCH", &link, PUBSUB, "\u{a1}\u{6}\u{5}")?, "4.05")?;
    has(&get(&link)?, &format!("\u{4}{}\u{6}\u{5}", cbor_text(&changed)))?;
    let data = format!("/ps/data/{name}");
    super::same_code(&get(&data)?, "4.04")?;
    let put = Asked { method: "PUT", path: &data, payload: "open", ..Asked::default() };
    super::same_code(&world.ask_at(partner(row), Asked { format: Some(0), ..put })?, "2.01")?;
    world.published(&topic, "open")?;
    has(&get(&data)?, "open")?;
    let delete = Asked { method: "DELETE", path: &link, ..Asked::default() };
    super::same_code(&world.ask_at(row, delete)?, "2.02")?;
    // Its data go with it.
    world.published(&topic, "")?;
    super::same_code(&get(&link)?, "4.04")
}
