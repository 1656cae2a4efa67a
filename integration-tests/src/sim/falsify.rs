//! Planted faults that no code of the gateway has a place for: its datagrams of CoAP are falsified.

use super::coap_wire::{self as wire, ACK, BLOCK1};
use super::payload::parse;

/// What a gateway would see that knows no Block1 and takes the first block for the whole body.
pub(super) fn into_whole(bytes: &mut Vec<u8>) {
    let Ok(mut message) = wire::decode(bytes) else { return };
    if message.option(BLOCK1).is_some_and(|value| value.first().is_some_and(|byte| *byte < 0x10)) {
        message.options.retain(|(number, _)| *number != BLOCK1);
        *bytes = message.encode();
    }
}

/// Whether it is a notification that never arrives, however often it is repeated.
pub(super) fn is_forgotten(bytes: &[u8]) -> bool {
    wire::decode(bytes).is_ok_and(|message| {
        let forgotten = parse(&message.payload).is_some_and(|id| id % 4 == 0);
        message.kind != ACK && message.observe().is_some() && forgotten
    })
}
