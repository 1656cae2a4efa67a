//! What the CoAP endpoint is told at construction; the keys of `config.md`.

use core::time::Duration;

use crate::endpoint::Room;
use crate::signal::BASE_MESSAGE_SIZE;

/// Settings of the endpoint; the defaults are those of the reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// ACK_TIMEOUT (RFC 7252 §4.8).
    pub ack_timeout: Duration,
    /// ACK_RANDOM_FACTOR in thousandths, 1,000 or more.
    pub ack_random_factor_permille: u32,
    /// MAX_RETRANSMIT.
    pub max_retransmit: u8,
    /// NSTART.
    pub nstart: u8,
    /// Largest payload of one request, in bytes; a larger one is 4.13 and told to come in blocks.
    /// RFC 7252 §4.6 asks for 1,024 and bounds the message by 1,152; some clients send in between.
    pub max_payload: usize,
    /// Largest payload of one message towards a client, in bytes: a larger body leaves in blocks of
    /// the largest size within it, and requests are asked to come in such blocks (RFC 7959).
    pub block_size: usize,
    /// Largest body of a request that comes in blocks, in bytes; beyond it 4.13 with Size1.
    pub max_body: usize,
    /// How long a body of which a part has come, or left, waits for the next request.
    pub block_timeout: Duration,
    /// Bodies that come in parts from one peer; beyond it 5.03 with Max-Age. Of answers in parts to it as many
    /// are kept, the newest.
    pub max_blocks_in_progress_per_peer: usize,
    /// Bytes of all bodies in parts; beyond it one that has waited longest gives way, or 5.03.
    pub max_block_bytes: usize,
    /// What a peer may be sent before it is known to be where it says.
    pub unverified: Unverified,
    /// Requests of one peer a second; 0: any number. Beyond it 4.29 with Max-Age (RFC 8516).
    pub max_request_rate: u32,
    /// Every n-th notification is confirmable, and one in 24 h.
    pub notify_confirmable_every: u32,
    /// Observations in all.
    pub max_observers: usize,
    /// Observations of one peer.
    pub max_observers_per_peer: usize,
    /// Deduplication entries.
    pub max_exchanges: usize,
    /// Longest wait before an answer to a multicast request (DEFAULT_LEISURE, RFC 7252 §8.2).
    pub leisure: Duration,
    /// How long a request may be answered by piggybacking; then an empty ACK goes out.
    pub piggyback_timeout: Duration,
    /// Max-Message-Size of connections, in bytes (RFC 8323 §5.3.1): a longer one ends the connection,
    /// and none leaves that is longer.
    pub max_message_size: u32,
    /// A connection of which nothing is heard for so long is sent a Ping, and ended if nothing comes
    /// for 30 s more; zero: never.
    pub idle_timeout: Duration,
    /// From the beginning of a connection to its CSM.
    pub connect_timeout: Duration,
    /// Connections that have not said their CSM; beyond it the oldest ends.
    pub max_half_open: usize,
    /// Bytes of a connection that its peer has not read; beyond it no requests are taken, and of what
    /// it observes only the latest is kept.
    pub max_outbox_bytes: u32,
    /// A connection whose peer reads nothing for so long, though something waits, ends.
    pub write_stall_timeout: Duration,
    /// Deliberate faults for the simulation.
    #[cfg(feature = "planted-faults")]
    pub faults: Faults,
}

/// What leaves for a peer that may have another one's address (RFC 9175 §2.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unverified {
    /// Bytes that leave for one that came, at most; headers are counted with both.
    pub amplification: u32,
    /// Whose address is in doubt, and what happens then.
    pub echo: EchoWhen,
}

impl Default for Unverified {
    fn default() -> Self {
        Unverified { amplification: 3, echo: EchoWhen::Auto }
    }
}

/// When a peer has to prove its address by an Echo option.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EchoWhen {
    /// Not loopback, link-local and private addresses. Others get large values in blocks that are
    /// small enough, with an Echo option to get larger ones by; to observe they must prove theirs.
    #[default]
    Auto,
    /// Everybody: what would be too large, and a registration, is answered 4.01 with an Echo option.
    Always,
    /// Nobody, and nothing is bounded.
    Off,
}

/// Bounds that a listener may have of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenerBounds {
    /// As [`Config::max_observers_per_peer`].
    pub max_observers_per_peer: usize,
    /// As [`Config::max_blocks_in_progress_per_peer`].
    pub max_blocks_in_progress_per_peer: usize,
    /// As [`Config::max_request_rate`].
    pub max_request_rate: u32,
    /// As [`Config::connect_timeout`].
    pub connect_timeout: Duration,
    /// As [`Config::max_half_open`].
    pub max_half_open: usize,
    /// As [`Config::max_outbox_bytes`].
    pub max_outbox_bytes: u32,
    /// As [`Config::write_stall_timeout`].
    pub write_stall_timeout: Duration,
}

impl Config {
    /// Those of a listener that has none of its own.
    #[must_use]
    pub const fn bounds(&self) -> ListenerBounds {
        ListenerBounds {
            max_observers_per_peer: self.max_observers_per_peer,
            max_blocks_in_progress_per_peer: self.max_blocks_in_progress_per_peer,
            max_request_rate: self.max_request_rate,
            connect_timeout: self.connect_timeout,
            max_half_open: self.max_half_open,
            max_outbox_bytes: self.max_outbox_bytes,
            write_stall_timeout: self.write_stall_timeout,
        }
    }

    /// What a message of a connection may carry.
    pub(crate) fn connection_blocks(&self) -> Room {
        // RFC 8323 §5.3.2: more than the base value says BERT.
        let bert = self.max_message_size > BASE_MESSAGE_SIZE;
        // RFC 7252 §4.6 reckons so much for header and options.
        Room { payload: (self.max_message_size as usize).saturating_sub(128), bert }
    }
}

/// Deliberate faults that the simulation must find.
#[cfg(feature = "planted-faults")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Faults {
    /// A repeated message id is executed again.
    pub no_duplicate_check: bool,
    /// What a connection's full outbox kept back is not told when it has been read.
    pub held_back_lost: bool,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            ack_timeout: Duration::from_secs(2),
            ack_random_factor_permille: 1_500,
            max_retransmit: 4,
            nstart: 1,
            max_payload: 1_152,
            block_size: 1024,
            max_body: 256 * 1024,
            block_timeout: Duration::from_secs(30),
            max_blocks_in_progress_per_peer: 4,
            max_block_bytes: 32 << 20,
            unverified: Unverified::default(),
            max_request_rate: 0,
            notify_confirmable_every: 8,
            max_observers: 100_000,
            max_observers_per_peer: 64,
            max_exchanges: 200_000,
            leisure: Duration::from_secs(5),
            piggyback_timeout: Duration::from_secs(1),
            max_message_size: 64 * 1024 + 512,
            idle_timeout: Duration::from_secs(10 * 60),
            connect_timeout: Duration::from_secs(10),
            max_half_open: 4_096,
            max_outbox_bytes: 256 * 1024,
            write_stall_timeout: Duration::from_secs(30),
            #[cfg(feature = "planted-faults")]
            faults: Faults::default(),
        }
    }
}
