//! Every CoAP client that we know, CON and NON, over every transport that it speaks (datagrams, TCP,
//! WebSocket), into blocks of each size: what it puts is published once and whole, what it gets is what was put, and an observer has every
//! value. Bodies have from nothing to 64 KiB. One gateway a client, so that the clients run beside
//! each other; Wireshark reads every datagram that the gateways sent, and every connection.

mod cells;

use motegate_tests::coap_matrix::peer::{Make, Row, Transport};
use motegate_tests::coap_matrix::world::{Answer, World};
use motegate_tests::gateway::Gateway;
use motegate_tests::matrix::table::Table;
use motegate_tests::matrix::{Outcome, same};

/// What blocks may have.
const BLOCKS: [usize; 7] = [16, 32, 64, 128, 256, 512, 1024];

/// Over a stream bodies may also come whole, or in blocks of BERT (RFC 8323 §6): 2048.
const STREAM_BLOCKS: [usize; 3] = [64, 1024, 2048];

/// A column: each cell of it by the size of the body.
type Column = (&'static str, fn(Row) -> Vec<usize>, fn(&World, Row, usize) -> Outcome);

const COLUMNS: [Column; 6] = [
    ("put", cells::sizes, cells::put),
    ("get", cells::sizes, cells::get),
    ("post", cells::some_sizes, cells::post),
    ("delete", cells::one_size, cells::delete),
    ("fetch", cells::one_size, cells::fetch),
    ("observe", cells::observed_sizes, cells::observe),
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
        };
        for &confirmable in kinds {
            for &block in blocks {
                rows.push(Row { make, transport, confirmable, block });
            }
        }
    }
    rows
}

fn run(make: Make) -> (Vec<(Row, Cells)>, Vec<String>) {
    let world = World::start("");
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
    for (make, (_, read)) in Make::ALL.iter().zip(&all) {
        let read = read.join("\n");
        for words in
            ["2.01 Created", "2.02 Deleted", "2.04 Changed", "2.05 Content", "2.31 Continue"]
        {
            assert!(read.contains(words), "{words} is missing before {make:?}");
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
    let read = world.dissect().join("\n");
    assert!(read.contains("Block #"), "no body came in blocks\n{read}");
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
    // Not by Wireshark, of which Debian's version knows no option 252.
    assert!(world.answered(0x81), "nobody was asked for an Echo");
}
