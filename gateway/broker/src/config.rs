//! What the broker is told at construction; the keys of `config.md`.

/// Which member of a group of shared subscriptions gets a message (MQTT 5 §4.8.2 leaves it open):
/// always one of the readiest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SharedStrategy {
    /// They take turns.
    #[default]
    RoundRobin,
    /// The one that got the last, while it is among the readiest.
    Sticky,
    /// By a hash of the topic, so that one topic's messages go to one member.
    HashTopic,
}

/// What becomes of a will without delay when its session goes on with another connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TakeoverWill {
    /// It is published, as the old connection was not closed by a goodbye (MQTT 5 §3.1.2.5).
    #[default]
    Published,
    /// It is published only if the session ended, as mosquitto does up to 2.1.
    EndedSession,
}

/// Limits that hold for all sessions together, and choices that the standard leaves. What happens
/// at each limit is said in [`crate::Effect`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Most sessions, offline ones included.
    pub max_sessions: usize,
    /// Most subscriptions of one session.
    pub max_subscriptions_per_session: usize,
    /// Most bytes of the filters that one session is subscribed to, and of their share names.
    pub max_subscription_bytes_per_session: usize,
    /// Most subscriptions in all.
    pub max_subscriptions: usize,
    /// Most groups of shared subscriptions.
    pub max_share_groups: usize,
    /// Most bytes queued in memory, all sessions; beyond it the longest queue goes to disk, or is
    /// cut where it cannot.
    pub max_memory_queued: usize,
    /// Most bytes of queues that are on disk only, all sessions; beyond it a message that would go
    /// there is dropped.
    pub max_disk_queued: usize,
    /// Of a durable session's queue so many messages are kept in memory while the session takes
    /// messages; the rest is on disk only. A page is read when less than 32 are left.
    pub head_messages: usize,
    /// The same while it is away: no connection, or asleep.
    pub head_messages_away: usize,
    /// Most retained messages.
    pub max_retained_messages: usize,
    /// Most bytes of retained messages.
    pub max_retained_bytes: usize,
    /// Who gets what is shared.
    pub shared_strategy: SharedStrategy,
    /// What a takeover does with a will.
    pub takeover_will: TakeoverWill,
}

/// Bounds of one session's subscriptions that may be lower than the gateway's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubscriptionBounds {
    /// As [`Config::max_subscriptions_per_session`].
    pub count: usize,
    /// As [`Config::max_subscription_bytes_per_session`].
    pub bytes: usize,
}

impl Config {
    /// The gateway's.
    #[must_use]
    pub const fn subscription_bounds(&self) -> SubscriptionBounds {
        SubscriptionBounds {
            count: self.max_subscriptions_per_session,
            bytes: self.max_subscription_bytes_per_session,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Config {
            max_sessions: 1_000_000,
            max_subscriptions_per_session: 10_000,
            max_subscription_bytes_per_session: 1024 * 1024,
            max_subscriptions: 10_000_000,
            max_share_groups: 100_000,
            max_memory_queued: 256 * 1024 * 1024,
            max_disk_queued: 4_usize.saturating_mul(1024 * 1024 * 1024),
            head_messages: 1_024,
            head_messages_away: 8,
            max_retained_messages: 1_000_000,
            max_retained_bytes: 1024 * 1024 * 1024,
            shared_strategy: SharedStrategy::RoundRobin,
            takeover_will: TakeoverWill::Published,
        }
    }
}
