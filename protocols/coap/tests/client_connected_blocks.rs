//! Bodies of any size over a connection, from the side of the client: whole messages, BERT (RFC 8323
//! §6) and blocks of RFC 7959, by what the server's CSM says.
#![allow(missing_docs, clippy::unwrap_used, clippy::cast_possible_truncation)]

mod support;

use motegate_coap::client::{Request, RequestId};
use motegate_coap::endpoint::Method;
use support::Msg;
use support::connected::{Device, NOTHING};
use support::stream::CSM;

const CONTENT: u8 = 0x45;
const CONTINUE: u8 = 0x5f;
const CHANGED: u8 = 0x44;

/// A CSM with this Max-Message-Size and, with `blocks`, Block-Wise-Transfer.
fn csm_of(size: u32, blocks: bool) -> Msg {
    let bytes = size.to_be_bytes();
    let skip = size.leading_zeros() as usize / 8;
    let msg = Msg::con(CSM, 0).opt(2, &bytes[skip..]);
    if blocks { msg.opt(4, b"") } else { msg }
}

fn put(len: usize) -> Request {
    Request::new(Method::Put, "a").payload(vec![b'v'; len])
}

/// The messages of an upload, each answered as it asks to be.
fn upload(device: &mut Device) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let sent = device.sent();
        let Some(last) = sent.last() else { return all };
        let value = last.split(" 27=").nth(1).and_then(|rest| rest.split(' ').next());
        let value = value.map(|hex| u32::from_str_radix(hex, 16).unwrap_or(0));
        all.extend(sent.clone());
        let token = device.tokens().pop().unwrap();
        let answer = match value {
            Some(value) => {
                let code = if value & 8 == 0 { CHANGED } else { CONTINUE };
                let bytes = value.to_be_bytes();
                let skip = value.leading_zeros() as usize / 8;
                Msg::con(code, 0).token(&token).opt(27, &bytes[skip..])
            }
            None => Msg::con(CHANGED, 0).token(&token),
        };
        device.say(&answer);
    }
}

/// §5.3.1, §6: one message if it fits the server's Max-Message-Size, else several blocks of 1,024 in
/// each, if it takes them; else one block in each, of a size that fits.
#[test]
fn the_csm_says_how_a_body_leaves() {
    let path = "0.03 t=* 11=61";
    let table: [(u32, bool, usize, &[&str]); 5] = [
        (66_048, true, 60_000, &["60000 bytes"]),
        (
            8_192,
            true,
            20_000,
            &[
                "27=0f 60=4e20 292=01 7168 bytes",
                "27=7f 292=01 7168 bytes",
                "27=e7 292=01 5664 bytes",
            ],
        ),
        (
            1_152,
            true,
            2_100,
            &[
                "27=0e 60=0834 292=01 1024 bytes",
                "27=1e 292=01 1024 bytes",
                "27=26 292=01 52 bytes",
            ],
        ),
        // It says nothing of blocks: those of RFC 7959 are as good as by UDP, BERT is not.
        (
            2_000,
            false,
            2_100,
            &[
                "27=0e 60=0834 292=01 1024 bytes",
                "27=1e 292=01 1024 bytes",
                "27=26 292=01 52 bytes",
            ],
        ),
        (1_152, true, 1_100, &["1100 bytes"]),
    ];
    for (size, blocks, len, messages) in table {
        let mut device = Device::new();
        device.ask(put(len));
        device.opened();
        assert_eq!(device.sent(), ["CSM 2=010200 4="], "a large body waits for the CSM");
        device.say(&csm_of(size, blocks));
        let expected: Vec<String> = messages.iter().map(|rest| format!("{path} {rest}")).collect();
        let shown: Vec<String> =
            upload(&mut device).iter().map(|text| text.replace(" \"", " ")).collect();
        assert_eq!(shown.len(), expected.len(), "{size}: {shown:?}");
        for (shown, expected) in shown.iter().zip(&expected) {
            let (head, length) = expected.rsplit_once(' ').unwrap().0.rsplit_once(' ').unwrap();
            assert!(shown.starts_with(head), "{size}: {shown} is not {expected}");
            let long = shown.ends_with(&format!("{length} bytes"));
            let short = shown.matches('v').count() == length.parse::<usize>().unwrap();
            assert!(long || short, "{size}: {shown} is not {expected}");
        }
        assert_eq!(device.events().len(), 1);
    }
}

/// §5.3.1: the smallest server that there may be.
#[test]
fn blocks_fit_small_messages() {
    let mut device = Device::new();
    device.opened_with(&csm_of(200, true));
    device.ask(put(200));
    let sent = upload(&mut device);
    assert_eq!(sent[0], "0.03 t=* 11=61 27=0b 60=c8 292=02 128 bytes");
    assert!(sent[1].starts_with("0.03 t=* 11=61 27=13 292=02 \"v"), "{sent:?}");
    assert_eq!((sent.len(), device.events().len()), (2, 1));
}

/// §5.3: a small one waits for nothing.
#[test]
fn a_small_body_leaves_at_once() {
    let mut device = Device::new();
    device.ask(put(1_024));
    device.ask(put(1_025));
    device.opened();
    assert_eq!(device.sent(), ["CSM 2=010200 4=", "0.03 t=* 11=61 1024 bytes"]);
}

/// §5.3.1: what it cannot receive is not sent.
#[test]
fn what_fits_no_message_is_told() {
    let mut device = Device::new();
    device.opened_with(&csm_of(64, true));
    let mut request = put(10);
    request.query = vec!["q".repeat(100)];
    device.ask(request);
    let why = "the request does not fit the 64 bytes of a message that the server takes";
    assert_eq!(device.events(), [format!("1 broken: {why}")]);
    assert_eq!(device.sent(), NOTHING);
}

/// §6.2, RFC 7959 §2.3: the server may want single blocks instead of BERT, or smaller ones.
#[test]
fn the_server_may_want_smaller_blocks() {
    let mut device = Device::new();
    device.opened_with(&csm_of(4_200, true));
    device.ask(put(10_000));
    assert_eq!(device.sent(), ["0.03 t=* 11=61 27=0f 60=2710 292=02 4096 bytes"]);
    let token = device.tokens().remove(0);
    device.say(&Msg::con(CONTINUE, 0).token(&token).opt(27, &[0x0d]));
    let next = device.sent().remove(0);
    let taken = next.split(" 27=").nth(1).unwrap();
    assert!(taken.contains("d ") && next.ends_with("512 bytes"), "{next}");
    // RFC 7959 §2.9.3: one that was sent whole is wanted in parts.
    let mut device = Device::new();
    device.opened_with(&csm_of(66_048, true));
    device.ask(put(5_000));
    assert_eq!(device.sent(), ["0.03 t=* 11=61 5000 bytes"]);
    let token = device.tokens().remove(0);
    device.say(&Msg::con(0x8d, 0).token(&token).opt(27, &[0x06]));
    assert!(device.sent()[0].ends_with("27=0e 60=1388 292=02 1024 bytes"));
    let mut device = Device::new();
    device.opened_with(&csm_of(66_048, true));
    device.ask(put(65_900));
    device.sent();
    let token = device.tokens().remove(0);
    device.say(&Msg::con(0x8d, 0).token(&token).opt(27, &[0x07]));
    let again = device.sent().remove(0);
    assert!(again.contains(" 27=0f 60=01016c"), "{again}");
}

/// Whoever wants blocks of a size has them.
#[test]
fn a_size_may_be_asked_for() {
    let mut device = Device::new();
    device.opened_with(&csm_of(66_048, true));
    device.client.set_block_size(1_024);
    device.ask(Request::new(Method::Get, "a"));
    device.ask(put(1_500));
    let sent = device.sent();
    assert_eq!(sent[0], "0.01 t=* 11=61 23=06");
    assert!(sent[1].ends_with("27=0e 60=05dc 292=03 1024 bytes"), "{}", sent[1]);
}

fn block(token: &[u8], value: u32, body: &[u8]) -> Msg {
    let bytes = value.to_be_bytes();
    let skip = value.leading_zeros() as usize / 8;
    Msg::con(CONTENT, 0).token(token).opt(23, &bytes[skip..]).opt(4, b"e").body(body)
}

/// §6, §6.1: SZX 7, whole blocks of 1,024 but for the last; the next is asked for by the number of its
/// first 1,024.
#[test]
fn bert_blocks_are_put_together() {
    let mut device = Device::new();
    device.opened_with(&csm_of(66_048, true));
    let id = get(&mut device);
    let first = device.tokens().remove(0);
    device.say(&block(&first, 0x0f, &[1; 3_072]));
    assert_eq!(device.sent(), ["0.01 t=* 11=61 23=37"]);
    let second = device.tokens().remove(0);
    assert_ne!(first, second, "an exchange of its own");
    device.say(&block(&second, 0x3f, &[2; 1_024]));
    assert_eq!(device.sent(), ["0.01 t=* 11=61 23=47"]);
    let third = device.tokens().remove(0);
    device.say(&block(&third, 0x47, &[3; 1_500]));
    let whole = [vec![1; 3_072], vec![2; 1_024], vec![3; 1_500]].concat();
    assert_eq!(device.bodies(), [(id, whole)]);
    // A message that is larger than a block and not whole ones.
    for (value, len) in [(0x0f, 1_500), (0x0f, 0), (0x0e, 2_048)] {
        get(&mut device);
        let token = device.tokens().remove(0);
        device.say(&block(&token, value, &vec![1; len]));
        assert!(device.events()[0].ends_with("a block of another size than it says"));
    }
}

fn get(device: &mut Device) -> RequestId {
    device.sent();
    let id = device.ask(Request::new(Method::Get, "a"));
    assert_eq!(device.sent(), ["0.01 t=* 11=61"]);
    id
}

/// RFC 7959 §2.6: the observation stands, the rest of a value is fetched beside it; it is lost with it.
#[test]
fn a_large_value_of_an_observation() {
    let mut device = Device::new();
    device.opened_with(&csm_of(66_048, true));
    device.ask(Request::new(Method::Get, "a").observe());
    device.sent();
    let token = device.tokens().remove(0);
    device.say(&block(&token, 0x0f, &[1; 2_048]).opt(6, b""));
    assert_eq!(device.sent(), ["0.01 t=* 11=61 23=27"]);
    let part = device.tokens().remove(0);
    device.say(&block(&part, 0x27, &[2; 10]));
    assert_eq!(device.bodies().remove(0).1.len(), 2_058);
    device.say(&block(&token, 0x0f, &[1; 2_048]).opt(6, b"\x01"));
    device.sent();
    device.closed();
    assert_eq!(device.events(), ["1 lost: the server closed the connection"], "once");
    assert_eq!(device.client.open(), 1);
}
