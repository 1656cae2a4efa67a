//! The network between clients and gateway: datagrams that get lost, doubled, late and out of order
//! ([`Link`]), and streams that arrive in pieces and break ([`Stream`]).

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use motegate_message::{ConnectionId, ListenerId};

use super::ctx::{MAX_DELAY, MS, Micros};
use super::rng::Rng;

/// A datagram under way.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flight {
    /// When it arrives.
    pub at: Micros,
    order: u64,
    /// To the gateway, or from it.
    pub upward: bool,
    /// The client at the far end.
    pub client: usize,
    /// The gateway's listener.
    pub listener: ListenerId,
    /// What it carries.
    pub bytes: Vec<u8>,
}

/// All datagrams under way.
#[derive(Debug)]
pub struct Link {
    flights: BinaryHeap<Reverse<Flight>>,
    order: u64,
    /// Lost, per mille.
    pub loss: u64,
    /// Doubled, per mille.
    pub doubling: u64,
    /// Late (up to [`MAX_DELAY`]), per mille.
    pub late: u64,
}

impl Link {
    /// A bad link: 10–25 % loss, 5–15 % duplicates, 15–30 % late.
    #[must_use]
    pub fn new(rng: &mut Rng) -> Self {
        Link {
            flights: BinaryHeap::new(),
            order: 0,
            loss: rng.range(100, 250),
            doubling: rng.range(50, 150),
            late: rng.range(150, 300),
        }
    }

    /// A link that loses so many of a thousand datagrams; 10 % are doubled, 20 % late.
    #[must_use]
    pub fn losing(loss: u64) -> Self {
        Link { flights: BinaryHeap::new(), order: 0, loss, doubling: 100, late: 200 }
    }

    /// From now on nothing is lost or doubled.
    pub fn heal(&mut self) {
        (self.loss, self.doubling, self.late) = (0, 0, 0);
    }

    /// Sends a datagram on its way, or loses it.
    pub fn send(
        &mut self,
        rng: &mut Rng,
        now: Micros,
        to: (bool, usize, ListenerId),
        bytes: &[u8],
    ) {
        let copies = if rng.chance(self.loss) {
            0
        } else if rng.chance(self.doubling) {
            2
        } else {
            1
        };
        for _ in 0..copies {
            let late = rng.chance(self.late);
            let delay =
                if late { rng.range(60 * MS, MAX_DELAY) } else { rng.range(3 * MS, 40 * MS) };
            self.order += 1;
            let (upward, client, listener) = to;
            let (at, order) = (now + delay, self.order);
            let bytes = bytes.to_vec();
            self.flights.push(Reverse(Flight { at, order, upward, client, listener, bytes }));
        }
    }

    /// How many datagrams are under way.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.flights.len()
    }

    /// When the next datagram arrives.
    #[must_use]
    pub fn next_at(&self) -> Micros {
        self.flights.peek().map_or(Micros::MAX, |Reverse(f)| f.at)
    }

    /// The next datagram.
    pub fn pop(&mut self) -> Option<Flight> {
        self.flights.pop().map(|Reverse(f)| f)
    }
}

/// One stream connection.
#[derive(Debug)]
pub struct Stream {
    /// Its name at the gateway.
    pub conn: ConnectionId,
    /// Whose.
    pub client: usize,
    /// Written by the client, not yet read by the gateway.
    pub upward: Vec<u8>,
    /// Taken from the outbox, not yet read by the client.
    pub downward: Vec<u8>,
    /// The gateway still has it: neither told of its end nor has it ended it.
    pub gateway_open: bool,
    /// The client still has it.
    pub client_open: bool,
    /// Nothing more comes from the client: the gateway is told when it has read everything.
    pub upward_ended: bool,
    /// Nothing more comes from the gateway.
    pub downward_ended: bool,
    /// The gateway does not want to read.
    pub paused: bool,
    /// The outbox holds bytes that were not taken.
    pub unwritten: bool,
    /// What was not read is bounded, as by the buffers of a kernel.
    pub bounded: bool,
    /// When the gateway reads next.
    pub upward_at: Micros,
    /// When the client reads next.
    pub downward_at: Micros,
    /// When the outbox is looked at next.
    pub write_at: Micros,
}

impl Stream {
    /// A connection that was just accepted.
    #[must_use]
    pub fn new(conn: ConnectionId, client: usize) -> Self {
        Stream {
            conn,
            client,
            upward: Vec::new(),
            downward: Vec::new(),
            gateway_open: true,
            client_open: true,
            upward_ended: false,
            downward_ended: false,
            paused: false,
            unwritten: false,
            bounded: false,
            upward_at: 0,
            downward_at: 0,
            write_at: 0,
        }
    }

    /// Whether both ends have let go.
    #[must_use]
    pub fn is_over(&self) -> bool {
        !self.gateway_open && !self.client_open
    }

    /// The earliest thing that happens on it, and when.
    #[must_use]
    pub fn next(&self) -> Option<(Micros, Happening)> {
        let reads = self.gateway_open
            && (!self.upward.is_empty() && !self.paused
                || self.upward_ended && (self.upward.is_empty() || self.paused));
        let delivers = self.client_open && (!self.downward.is_empty() || self.downward_ended);
        let writes = self.gateway_open && self.unwritten;
        [
            reads.then_some((self.upward_at, Happening::GatewayReads)),
            delivers.then_some((self.downward_at, Happening::ClientReads)),
            writes.then_some((self.write_at, Happening::GatewayWrites)),
        ]
        .into_iter()
        .flatten()
        .min_by_key(|(at, _)| *at)
    }

    /// The client is gone; of what it wrote last only a part arrives.
    pub fn break_off(&mut self, rng: &mut Rng, now: Micros) {
        let arrives = rng.index(self.upward.len() + 1);
        self.upward.truncate(arrives);
        self.client_open = false;
        self.upward_ended = true;
        self.downward.clear();
        // The gateway notices at once or only after a while.
        if rng.chance(400) {
            self.upward_at = now + rng.range(0, 8_000 * MS);
        }
    }
}

/// What happens on a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happening {
    /// The gateway reads a chunk, or learns that nothing more comes.
    GatewayReads,
    /// The client reads a chunk, or learns that nothing more comes.
    ClientReads,
    /// The gateway's outbox is written to the socket.
    GatewayWrites,
}
