//! The cells of the CoAP matrix.

use motegate_tests::coap_matrix::peer::{Make, Row, Transport};
use motegate_tests::coap_matrix::world::{Asked, ROOT, World};
use motegate_tests::matrix::Outcome;

/// The largest body.
const MOST: usize = 64 * 1024;

/// Nothing, a byte, and what is about the size of one block and of several. The largest goes by NON, too,
/// 4,096 blocks of 16 bytes: one datagram at a time over loopback, of which none is lost.
pub(super) fn sizes(row: Row) -> Vec<usize> {
    let block = row.block;
    if row.transport.is_secure() {
        return vec![0, block + 1, if block < 1024 { 5 * block + 3 } else { MOST }];
    }
    vec![0, 1, block - 1, block, block + 1, 2 * block, 5 * block + 3, MOST]
}

/// In one message, in blocks.
pub(super) fn some_sizes(row: Row) -> Vec<usize> {
    vec![row.block, 3 * row.block + 1]
}

/// Of requests that are refused. node-coap goes on with a body whose first block was refused, and throws at the
/// Block1 of 0, no more, 16, which has no bytes (RFC 7959 §2.2, RFC 7252 §3.2).
pub(super) fn refused_sizes(row: Row) -> Vec<usize> {
    let mut sizes = some_sizes(row);
    sizes.retain(|size| row.make != Make::NodeCoap || *size <= row.block);
    sizes
}

/// Of notifications; some clients know none in blocks.
pub(super) fn observed_sizes(row: Row) -> Vec<usize> {
    let mut sizes = vec![1, row.block];
    if row.make.observes_blocks() {
        sizes.extend([row.block + 1, 4 * row.block, MOST.min(32 * row.block)]);
    }
    sizes
}

/// All that a token may have (RFC 7252 §3), where blocks are of one size.
pub(super) fn token_lengths(row: Row) -> Vec<usize> {
    if row.block == 64 { (0..=8).collect() } else { Vec::new() }
}

const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz";

/// A line of so many letters, another for another `turn`.
fn text(size: usize, turn: usize) -> String {
    (0..size).map(|at| char::from(LETTERS[(at / 7 + at + turn) % LETTERS.len()])).collect()
}

/// Another client, of the largest blocks, that puts what a row's is to see: over the same transport if
/// it speaks that.
pub(super) fn partner(row: Row) -> Row {
    let other = if row.make == Make::Libcoap { Make::Aiocoap } else { Make::Libcoap };
    let same = other.transports().contains(&row.transport);
    let transport = if same { row.transport } else { Transport::Udp };
    Row { make: other, transport, confirmable: true, block: 1024 }
}

fn put_by_partner(world: &World, row: Row, topic: &str, code: &str, value: &str) -> Outcome {
    world.ask(partner(row), "PUT", topic, value)?.is(code, "")?;
    world.published(topic, value)
}

/// A PUT is published once, whole; the first creates, the second changes. An empty one leaves no
/// value, and creates none. The largest body, of many round trips, goes once.
pub(super) fn put(world: &World, row: Row, size: usize) -> Outcome {
    let topic = world.fresh();
    let codes = if size == MOST { &["2.01"][..] } else { &["2.01", "2.04"] };
    for (turn, code) in codes.iter().enumerate() {
        let code = if size == 0 { "2.04" } else { code };
        let value = text(size, turn);
        world.ask(row, "PUT", &topic, &value)?.is(code, "")?;
        world.published(&topic, &value)?;
    }
    let code = if size == 0 { "4.04" } else { "2.05" };
    let kept = world.ask(partner(row), "GET", &topic, "")?;
    if size == 0 {
        super::same_code(&kept, code)
    } else {
        kept.is(code, &text(size, codes.len() - 1))
    }
}

/// A GET has what another client put.
pub(super) fn get(world: &World, row: Row, size: usize) -> Outcome {
    let topic = world.fresh();
    if size == 0 {
        return super::same_code(&world.ask(row, "GET", &topic, "")?, "4.04");
    }
    let value = text(size, 0);
    put_by_partner(world, row, &topic, "2.01", &value)?;
    world.ask(row, "GET", &topic, "")?.is("2.05", &value)
}

/// A POST is published once, and is no value.
pub(super) fn post(world: &World, row: Row, size: usize) -> Outcome {
    let topic = world.fresh();
    let value = text(size, 0);
    world.ask(row, "POST", &topic, &value)?.is("2.04", "")?;
    world.published(&topic, &value)?;
    super::same_code(&world.ask(row, "GET", &topic, "")?, "4.04")
}

/// A DELETE leaves no value, and is published as MQTT does it. It has no body; that of the value that it
/// ends came in one message or in several.
pub(super) fn delete(world: &World, row: Row, size: usize) -> Outcome {
    let topic = world.fresh();
    put_by_partner(world, row, &topic, "2.01", &text(size, 0))?;
    world.ask(row, "DELETE", &topic, "")?.is("2.02", "")?;
    world.published(&topic, "")?;
    super::same_code(&world.ask(row, "GET", &topic, "")?, "4.04")
}

/// A value has no parts that could be fetched or changed (RFC 8132 §2, §3); the collection of topics
/// has ([`collection`](super::collection)).
pub(super) fn fetch(world: &World, row: Row, size: usize) -> Outcome {
    for method in ["FETCH", "PATCH", "iPATCH"] {
        let answer = world.ask(row, method, &world.fresh(), &text(size, 0))?;
        super::same_code(&answer, "4.05").map_err(|error| format!("{method}: {error}"))?;
    }
    Ok(())
}

/// Answers and notifications, in several blocks where the client knows that, come by the token of the
/// request.
pub(super) fn token(world: &World, row: Row, length: usize) -> Outcome {
    let topic = world.fresh();
    let path = format!("/mqtt/{ROOT}/{topic}");
    let size = if row.make.observes_blocks() { 3 * row.block + 1 } else { row.block };
    put_by_partner(world, row, &topic, "2.01", &text(size, 0))?;
    let asked = Asked { path: &path, token: Some(length), ..Asked::default() };
    world.ask_at(row, Asked { method: "GET", ..asked })?.is("2.05", &text(size, 0))?;
    let (observation, first) = world.observe_by(row, &topic, Some(length))?;
    first.is("2.05", &text(size, 0))?;
    put_by_partner(world, row, &topic, "2.04", &text(size, 1))?;
    world.value(row, &observation)?.is("2.05", &text(size, 1))?;
    world.cancel(row, &observation)?;
    let payload = &text(size, 2);
    let put = Asked { method: "PUT", payload, ..asked };
    world.ask_at(row, put)?.is("2.04", "")?;
    world.published(&topic, payload)
}

/// An observer has the value that is there, and each that follows, whether it comes by CON or by NON.
/// Then it leaves, some clients by a RST to the next one (RFC 7641 §3.6), aiocoap to the one after
/// that: a gateway that heeded no RST would have no room for all of its observations.
pub(super) fn observe(world: &World, row: Row, size: usize) -> Outcome {
    let topic = world.fresh();
    put_by_partner(world, row, &topic, "2.01", &text(size, 0))?;
    let (observation, first) = world.observe(row, &topic)?;
    first.is("2.05", &text(size, 0))?;
    for turn in 1..4 {
        let (value, publisher) = (text(size, turn), partner(row));
        let publisher = Row { confirmable: turn % 2 == 0, ..publisher };
        world.ask(publisher, "PUT", &topic, &value)?.is("2.04", "")?;
        world.published(&topic, &value)?;
        world.value(row, &observation)?.is("2.05", &value)?;
    }
    world.cancel(row, &observation)?;
    put_by_partner(world, row, &topic, "2.04", "unseen")?;
    put_by_partner(world, row, &topic, "2.04", "unheard")
}
