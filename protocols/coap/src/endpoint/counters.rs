//! [`Counters`]: what happened, for metrics; drops are counted by the reader of `Event::Dropped`.

/// Numbers since the endpoint was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Requests handed up.
    pub requests: u64,
    /// Repetitions that were recognised.
    pub repeats: u64,
    /// Message ids that came again with other contents within their lifetime.
    pub reused_message_ids: u64,
    /// Deduplication entries that gave way before their time.
    pub evicted: u64,
    /// Confirmable messages sent again.
    pub retransmissions: u64,
    /// Separate responses that left as a NON because too many waited for the peer.
    pub unconfirmed_responses: u64,
    /// Times that what waited for a peer had to go on waiting because every message id had been used
    /// towards it within EXCHANGE_LIFETIME.
    pub message_ids_awaited: u64,
    /// Observations refused: `max_observers`.
    pub observers_refused: u64,
    /// Observations refused: `max_observers_per_peer`.
    pub observers_per_peer_refused: u64,
    /// Bodies in blocks refused: `max_blocks_in_progress_per_peer`.
    pub blocks_per_peer_refused: u64,
    /// Blocks refused for want of memory.
    pub blocks_refused: u64,
    /// Bodies in parts that gave way to others.
    pub blocks_evicted: u64,
    /// Bodies in parts whose rest did not come, or was not asked for, in time.
    pub blocks_expired: u64,
    /// Requests answered 4.01 with an Echo option.
    pub echo_challenges: u64,
    /// Answers made smaller because the peer's address was in doubt.
    pub answers_limited: u64,
    /// Echo options that came back right.
    pub echoes: u64,
    /// Requests refused: `max_request_rate`.
    pub rate_limited: u64,
    /// Requests of `.well-known/core` that came by a group.
    pub group_requests: u64,
    /// Answers to them; what matches nothing has none.
    pub group_answers: u64,
    /// Empty confirmable messages, and Pings of connections.
    pub pings: u64,
    /// Messages of connections, signals among them.
    pub connection_messages: u64,
    /// The same towards them.
    pub connection_messages_sent: u64,
    /// Bytes of connections, incomplete messages included.
    pub connection_bytes_received: u64,
    /// Bytes written to connections.
    pub connection_bytes_sent: u64,
    /// Connections ended by an Abort of ours.
    pub aborts: u64,
    /// Pings of ours to connections that were silent.
    pub pings_sent: u64,
    /// Connections ended because even that was not answered: `idle_timeout`.
    pub idle_closed: u64,
    /// Connections ended without a CSM, or within a message: `connect_timeout`.
    pub connect_timeouts: u64,
    /// Connections ended because too many had said no CSM: `max_half_open`.
    pub half_open_closed: u64,
    /// Connections ended because nothing was read: `write_stall_timeout`.
    pub write_stalls: u64,
    /// Connections that were told no news because they had not read what there was:
    /// `max_outbox_bytes`.
    pub outboxes_full: u64,
    /// Connections ended by a message that was too long: `max_message_size`.
    pub messages_too_large: u64,
}
