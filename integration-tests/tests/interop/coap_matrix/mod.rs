//! Every CoAP client that we know, CON and NON, over every transport that it speaks (datagrams, TCP,
//! WebSocket, and both in TLS), into blocks of each size: what it puts is published once and whole, what it
//! gets is what was put, and an observer has every value; the collection of topics takes the methods that
//! a value refuses. Bodies have from nothing to 64 KiB, tokens from nothing to 8 bytes. One gateway a
//! client, so that the clients run beside each other; Wireshark reads every datagram that the gateways sent,
//! and every connection that is not encrypted.

mod cells;
mod collection;

use std::collections::BTreeMap;

use motegate_tests::coap_matrix::peer::{Make, Row, Transport};
use motegate_tests::coap_matrix::world::{Answer, World};
use motegate_tests::gateway::Gateway;
use motegate_tests::matrix::table::Table;
use motegate_tests::matrix::{Outcome, same};

/// What blocks may have.
const BLOCKS: [usize; 7] = [16, 32, 64, 128, 256, 512, 1024];

/// Over a stream bodies may also come whole, or in blocks of BERT (RFC 8323 §6): 2048.
const STREAM_BLOCKS: [usize; 8] = [16, 32, 64, 128, 256, 512, 1024, 2048];

/// In TLS nothing of CoAP is another than without: the records are what may go wrong.
const SECURE_BLOCKS: [usize; 4] = [16, 64, 1024, 2048];

/// A column: each cell of it by the size of the body.
type Column = (&'static str, fn(Row) -> Vec<usize>, fn(&World, Row, usize) -> Outcome);

const COLUMNS: [Column; 8] = [
    ("put", cells::sizes, cells::put),
    ("get", cells::sizes, cells::get),
    ("post", cells::sizes, cells::post),
    ("delete", cells::some_sizes, cells::delete),
    ("4.05", cells::refused_sizes, cells::fetch),
    ("pubsub", collection::sizes, collection::life),
    ("observe", cells::observed_sizes, cells::observe),
    ("token", cells::token_lengths, cells::token),
];

/// The columns of a row: name, size of the body, and what came of it.
type Cells = Vec<(&'static str, usize, Outcome)>;

/// Whether it is this code, whatever its text.
fn same_code(answer: &Answer, code: &str) -> Outcome {
    same("code", answer.code.as_str(), code)
}

fn rows(make: Make, world: &World) -> Vec<Row> {
    let mut rows = Vec::new();
    for transport in world.transports().filter(|one| make.transports().contains(one)) {
        // Over a stream every message is as good as confirmable (RFC 8323 §2.2).
        let (kinds, blocks) = match transport {
            Transport::Udp => (&[true, false][..], &BLOCKS[..]),
            Transport::Tcp | Transport::Ws => (&[true][..], &STREAM_BLOCKS[..]),
            Transport::Tls | Transport::Wss => (&[true][..], &SECURE_BLOCKS[..]),
        };
        for &confirmable in kinds {
            for &block in blocks {
                rows.push(Row { make, transport, confirmable, block });
            }
        }
    }
    rows
}

/// What Wireshark said of a transport.
type Read = BTreeMap<Transport, Vec<String>>;

fn run(make: Make) -> (Vec<(Row, Cells)>, Read) {
    let world = World::start("mappings: {presets: [core-pubsub, passthrough]}\n");
    let mut done = Vec::new();
    for row in rows(make, &world) {
        let mut cells = Cells::new();
        for (name, sizes, cell) in COLUMNS {
            cells.extend(sizes(row).into_iter().map(|size| (name, size, cell(&world, row, size))));
        }
        done.push((row, cells));
    }
    (done, world.dissect())
}

#[test]
fn every_client_kind_and_block_size() {
    let mut table = Table::new(&COLUMNS.map(|(name, ..)| name));
    let all = std::thread::scope(|scope| {
        let runs = Make::ALL.map(|make| scope.spawn(move || run(make)));
        runs.map(|run| run.join().expect("the thread of a client says what is wrong"))
    });
    for (row, cells) in all.iter().flat_map(|(rows, _)| rows) {
        table.row(row.to_string());
        for (name, size, outcome) in cells {
            table.fill_part(name, &format!("{size} bytes"), outcome.clone());
        }
    }
    table.finish();
    const ANSWERS: [&str; 7] = [
        "2.01 Created",
        "2.02 Deleted",
        "2.04 Changed",
        "2.05 Content",
        "2.31 Continue",
        "4.04 Not Found",
        "4.05 Method Not Allowed",
    ];
    for (make, (_, read)) in Make::ALL.iter().zip(&all) {
        for (transport, lines) in read {
            let read = lines.join("\n");
            for words in ANSWERS {
                assert!(read.contains(words), "{make:?} {transport:?}: {words} is missing");
            }
        }
    }
}

/// Where messages of a connection have a limit, larger bodies come and go in several blocks at once
/// (RFC 8323 §6): aiocoap makes them of what our CSM says, and reads ours.
#[test]
fn aiocoap_speaks_bert() {
    let world = World::start("coap: {max_message_size: 5000}\n");
    for transport in [Transport::Tcp, Transport::Ws] {
        let row = Row { make: Make::Aiocoap, transport, confirmable: true, block: 2048 };
        for size in [4_096, 5_000, 20_000, 65_536] {
            assert_eq!(cells::put(&world, row, size), Ok(()), "{row} {size}");
            assert_eq!(cells::get(&world, row, size), Ok(()), "{row} {size}");
        }
        assert_eq!(cells::observe(&world, row, 20_000), Ok(()), "{row}");
    }
    for (transport, lines) in world.dissect() {
        let read = lines.join("\n");
        assert!(read.contains("2.05 Content"), "{transport:?}: no body\n{read}");
        let in_blocks = read.contains("Block #");
        assert!(in_blocks || transport == Transport::Udp, "{transport:?}: no blocks\n{read}");
    }
}

/// Where every address is in doubt, libcoap sends back the Echo option that it is given (RFC 9175
/// §2.3). aiocoap and node-coap tell their user of the 4.01.
#[test]
fn libcoap_proves_its_address() {
    let echo = "coap: {unverified_peer: {echo: always}}\n";
    let mut world = World::before(Gateway::run(echo));
    let mut told = Vec::new();
    for block in [64, 1024] {
        for confirmable in [true, false] {
            let (make, transport) = (Make::Libcoap, Transport::Udp);
            let row = Row { make, transport, confirmable, block };
            for size in [1, 5_000] {
                for name in ["PUT", "GET"] {
                    let topic = &format!("{block}{confirmable}{size}");
                    let value = "v".repeat(size);
                    let (sent, code) = if name == "PUT" { (&*value, "2.01") } else { ("", "2.05") };
                    let wanted = if name == "PUT" { "" } else { &*value };
                    let answer = world.ask(row, name, topic, sent);
                    told.push(answer.and_then(|answer| answer.is(code, wanted)));
                }
            }
            let observed = world.observe(row, &format!("{block}{confirmable}1"));
            told.push(observed.and_then(|(_, first)| first.is("2.05", "v")));
        }
    }
    assert_eq!(told, vec![Ok(()); told.len()]);
    assert!(world.answered(0x81), "nobody was asked for an Echo");
    // All that the Wireshark of Debian does not know.
    let read = world.dissect_but(&["Invalid Option Number 252"]).remove(&Transport::Udp);
    assert!(read.is_some_and(|lines| lines.join("\n").contains("4.01 Unauthorized")));
}
