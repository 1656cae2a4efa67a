//! Fuzz target of CoAP over connections (RFC 8323): one endpoint, half of its connections of TCP and half
//! of WebSocket, requests and signals cut anywhere, peers that read late or not at all; and the bounds on
//! what is kept for each.

use motegate_coap::endpoint::{Endpoint, Transmit};
use motegate_message::{ConnectionId, ListenerId, Reason, Turn};

use super::endpoints::{Clock, address, answer_coap, notification, small};
use super::{corpus, mutate};
use crate::sim::rng::Rng;

const SLOTS: usize = 6;
/// 7.00 to 7.05, and one that is none.
const SIGNALS: [u8; 7] = [0xe0, 0xe1, 0xe2, 0xe3, 0xe4, 0xe5, 0xe6];

/// What one connection may have in its outbox beyond `max_outbox_bytes`: the answers to what it had asked
/// before, and one notification.
const BESIDE: usize = 64 * 1024;

/// One CoAP endpoint, some connections, `inputs` pieces of what they say.
///
/// # Errors
/// A bound that does not hold.
pub fn coap(rng: &mut Rng, run: u64, inputs: u64) -> Result<(), String> {
    let mut config = motegate_coap::Config::default();
    if small(run) {
        config.max_exchanges = 50;
        config.max_observers = 20;
        config.max_observers_per_peer = 3;
        config.max_payload = 200;
        config.max_body = 2_000;
        config.max_block_bytes = 4_000;
        config.max_message_size = 300;
        config.max_outbox_bytes = 2_048;
        config.max_half_open = 3;
        config.max_request_rate = 50;
    }
    let limit = config.max_outbox_bytes as usize + config.max_message_size as usize + BESIDE;
    let mut endpoint = Endpoint::new(config, run);
    let mut clock = Clock::new(run.is_multiple_of(3));
    let (mut observations, mut waiting) = (Vec::new(), Vec::new());
    let mut generations = [0_u32; SLOTS];
    for n in 0..inputs {
        let turn = clock.turn(rng);
        let slot = rng.index(SLOTS);
        let conn = id(slot, generations[slot].max(1));
        match rng.below(20) {
            _ if generations[slot] == 0 || !endpoint.has_connection(conn) || rng.chance(3) => {
                endpoint.handle_closed(&turn, conn, Reason::ConnectionLost);
                generations[slot] += 1;
                let conn = id(slot, generations[slot]);
                let peer = address(rng.below(8));
                endpoint.handle_opened(&turn, conn, ListenerId(0), peer, turn.now);
                let csm = signal(rng, 0xe1);
                say(rng, &turn, &mut endpoint, conn, &csm);
            }
            0 => endpoint.handle_timeout(&turn),
            1 => {
                let seq = clock.seq;
                clock.seq = seq.next();
                endpoint.handle_committed(&turn, seq);
            }
            2 if !observations.is_empty() => {
                endpoint.notify(&turn, *rng.pick(&observations), notification(rng, n));
            }
            3 if rng.chance(20) => endpoint.close(&turn, conn, Reason::Kicked),
            4 => {
                // Those that end a connection, seldom.
                let most = if rng.chance(900) { 4 } else { SIGNALS.len() };
                let code = SIGNALS[rng.index(most)];
                let message = mutate::gentle(rng, |rng| signal(rng, code));
                say(rng, &turn, &mut endpoint, conn, &message);
            }
            _ => {
                let message = mutate::gentle(rng, request);
                say(rng, &turn, &mut endpoint, conn, &message);
            }
        }
        answer_coap(rng, &turn, &mut endpoint, &mut observations, &mut waiting);
        while let Some(transmit) = endpoint.poll_transmit() {
            if let Transmit::Close(conn, reason) = transmit
                && endpoint.has_connection(conn)
            {
                let left = endpoint.outbox(conn).len();
                endpoint.handle_written(&turn, conn, left);
                endpoint.handle_closed(&turn, conn, reason);
            }
        }
        for (slot, generation) in generations.iter().enumerate() {
            let left = endpoint.outbox(id(slot, *generation)).len();
            if left > limit {
                return Err(format!("{left} bytes in an outbox, the limit is {limit}"));
            }
        }
        let left = endpoint.outbox(conn).len();
        if left > 0 && rng.chance(300) {
            endpoint.handle_written(&turn, conn, 1 + rng.index(left));
        }
        if endpoint.connections() > SLOTS {
            return Err(format!("{} connections", endpoint.connections()));
        }
    }
    Ok(())
}

fn id(slot: usize, generation: u32) -> ConnectionId {
    ConnectionId::new(u32::try_from(slot).unwrap_or(0), generation)
}

/// A message for a WebSocket: TKL, code, token, options and payload (RFC 8323 §4.2).
fn request(rng: &mut Rng) -> Vec<u8> {
    let datagram = corpus::coap(rng);
    let [first, code, _, _, rest @ ..] = &datagram[..] else { return datagram };
    [&[first & 0x0f, *code], rest].concat()
}

/// The same of a signal, with options of its own and of others.
fn signal(rng: &mut Rng, code: u8) -> Vec<u8> {
    let token = rng.index(3);
    let mut message = vec![u8::try_from(token).unwrap_or(0), code];
    message.extend((0..token).map(|_| rng.byte()));
    if code == 0xe1 && rng.chance(900) {
        let size = u16::try_from(rng.below(9_000)).unwrap_or(0) + 64;
        message.extend([0x22, size.to_be_bytes()[0], size.to_be_bytes()[1]]);
        message.extend(rng.chance(700).then_some(0x20));
    } else if rng.chance(300) {
        message.extend([0x20][..rng.index(2)].iter());
        message.push(rng.byte() & 0xf0);
    }
    message
}

/// In pieces: as TCP has it (RFC 8323 §3.2), or as a WebSocket.
fn say(rng: &mut Rng, turn: &Turn, endpoint: &mut Endpoint, conn: ConnectionId, message: &[u8]) {
    let at = rng.index(message.len() + 1);
    if conn.slot() % 2 == 1 {
        let (begin, end) = message.split_at(at);
        if rng.chance(200) {
            endpoint.handle_part(turn, conn, begin, false);
            endpoint.handle_part(turn, conn, end, true);
        } else {
            endpoint.handle_part(turn, conn, message, true);
        }
        return;
    }
    let [first, code, rest @ ..] = message else { return };
    let length = rest.len().saturating_sub(usize::from(first & 0x0f));
    let mut stream = match u16::try_from(length) {
        Ok(short @ 0..13) => vec![u8::try_from(short).unwrap_or(0) << 4],
        Ok(medium @ 13..269) => vec![0xd0, u8::try_from(medium - 13).unwrap_or(0)],
        long => {
            let [high, low] = (long.unwrap_or(u16::MAX) - 269).to_be_bytes();
            vec![0xe0, high, low]
        }
    };
    stream[0] |= first & 0x0f;
    stream.push(*code);
    stream.extend(rest);
    let (begin, end) = stream.split_at(at.min(stream.len()));
    endpoint.handle_bytes(turn, conn, begin);
    if !end.is_empty() && !rng.chance(10) {
        endpoint.handle_bytes(turn, conn, end);
    }
}
