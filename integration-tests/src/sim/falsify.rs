//! Planted faults that no code of the gateway has a place for: its datagrams of CoAP are falsified, and its
//! connections.

use super::coap_wire::{self as wire, ACK, BLOCK1, POST, PUT};
use super::payload::parse;
use super::stream::frames;

/// No-Response (RFC 7967), and that no class is of interest.
const NO_RESPONSE: (u16, u8) = (258, 0x1a);

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

/// What a client has said on its connections, as far as it has come whole.
#[derive(Debug, Default)]
pub(super) struct Overheard {
    /// Of a message that has not.
    rest: Vec<u8>,
    /// On this connection.
    messages: usize,
    /// The last that wrote something.
    last: Option<Vec<u8>>,
    /// The same of the connection before.
    before: Option<Vec<u8>>,
}

impl Overheard {
    /// Its next connection begins.
    pub(super) fn opened(&mut self) {
        self.rest.clear();
        self.messages = 0;
        self.before = self.last.take();
    }

    /// Takes what the gateway reads; what it would do again as if it had just come, behind the CSM.
    pub(super) fn hear(&mut self, chunk: &[u8]) -> Option<Vec<u8>> {
        self.rest.extend_from_slice(chunk);
        while let Ok(Some((mut message, _))) = frames::take(&mut self.rest) {
            self.messages += 1;
            if matches!(message.code, PUT | POST) {
                message.options.push((NO_RESPONSE.0, vec![NO_RESPONSE.1]));
                self.last = Some(frames::encode(&message));
            }
        }
        if self.messages > 0 && self.rest.is_empty() { self.before.take() } else { None }
    }
}
