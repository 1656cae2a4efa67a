//! Bounds of the endpoint: their names, how often each has acted, and whose settings hold where a
//! listener has its own (`protocols/mqtt.md` §4).

use alloc::boxed::Box;
use alloc::vec::Vec;

use motegate_message::ListenerId;

use crate::config::Config;
use crate::properties::Properties;

macro_rules! limits {
    ($($(#[$doc:meta])* $variant:ident = $key:literal,)+) => {
        /// A bound that acted.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Limit { $($(#[$doc])* $variant,)+ }

        impl Limit {
            /// Every bound.
            pub const ALL: &'static [Limit] = &[$(Limit::$variant),+];

            /// Its key in the configuration.
            #[must_use]
            pub const fn key(self) -> &'static str {
                match self { $(Limit::$variant => $key),+ }
            }
        }
    };
}

limits! {
    /// No CONNECT in time: closed.
    ConnectTimeout = "connect_timeout",
    /// Too many had not said CONNECT: the oldest closed.
    MaxHalfOpen = "max_half_open",
    /// A CONNECT that is too long: closed before it is buffered.
    MaxConnectSize = "max_connect_size",
    /// A packet that is too long: 0x95 as soon as its header is read.
    MaxPacketSize = "max_packet_size",
    /// A client id that is too long: 0x85.
    MaxClientIdLength = "max_client_id_length",
    /// A topic or filter that is too long: 0x90, 0x8F.
    MaxTopicLength = "max_topic_length",
    /// A topic or filter with too many levels: 0x90, 0x8F.
    MaxTopicLevels = "max_topic_levels",
    /// Too many user properties in a packet: 0x97.
    MaxUserProperties = "max_user_properties",
    /// Too many bytes of user properties in a packet: 0x97.
    MaxUserPropertyBytes = "max_user_property_bytes",
    /// A will that is too long: 0x95.
    MaxWillPayload = "max_will_payload",
    /// An expiry that is too long: clamped, and told.
    MaxSessionExpiry = "max_session_expiry",
    /// A keep alive that is too long: another is told; before 5.0 refused.
    MaxKeepAlive = "max_keep_alive",
    /// Too many open publishes of a client: 0x93.
    ReceiveMaximum = "receive_maximum",
    /// Too many QoS 2 publishes of an MQTT 3 client without PUBREL: closed unless it releases them, and
    /// with its connection the oldest are forgotten.
    MaxAwaitingRelease = "max_awaiting_release",
    /// An alias above the maximum: 0x94.
    TopicAliasMaximum = "topic_alias_maximum",
    /// A full outbox: the client is not read until it reads.
    MaxOutboxBytes = "max_outbox_bytes",
    /// A peer that reads nothing: closed.
    WriteStallTimeout = "write_stall_timeout",
    /// A client that publishes too fast: it is not read for a while, and after a minute of that
    /// closed with 0x96.
    MaxPublishRate = "max_publish_rate",
    /// A connection that has lasted long enough: 0xA0.
    MaxConnectionAge = "max_connection_age",
}

/// How often each bound has acted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Acted([u64; Limit::ALL.len()]);

impl Acted {
    pub(super) fn count(&mut self, limit: Limit) {
        self.0[limit as usize] += 1;
    }

    /// Since the start.
    #[must_use]
    pub const fn of(&self, limit: Limit) -> u64 {
        self.0[limit as usize]
    }
}

/// The settings; some listeners may have their own. Whoever asks says for which listener, or uses what
/// holds for all of them together by its name: nothing else can be reached from here.
#[derive(Debug)]
pub(super) struct Configs {
    all: Config,
    /// By listener, as far as there are any.
    own: Vec<Option<Box<Config>>>,
}

impl Configs {
    pub(super) const fn new(all: Config) -> Self {
        Configs { all, own: Vec::new() }
    }

    /// Those that hold for connections of a listener.
    pub(super) fn of(&self, listener: ListenerId) -> &Config {
        let own = self.own.get(usize::from(listener.0)).and_then(Option::as_deref);
        own.unwrap_or(&self.all)
    }

    /// Most connections of all listeners together that have not said CONNECT.
    pub(super) const fn max_half_open(&self) -> usize {
        self.all.max_half_open
    }

    /// Others hold from now on.
    pub(super) fn replace(&mut self, all: Config, own: Vec<Option<Config>>) {
        self.all = all;
        self.own = own.into_iter().map(|own| own.map(Box::new)).collect();
    }
}

/// The bound that a topic name or filter is beyond, if it is, with what stands before it.
pub(super) fn topic_limit(config: &Config, topic: &str) -> Option<Limit> {
    if topic.len() + config.prefix.bytes > config.max_topic_length {
        return Some(Limit::MaxTopicLength);
    }
    let levels = config.max_topic_levels.saturating_sub(config.prefix.slashes);
    is_deeper(topic, levels).then_some(Limit::MaxTopicLevels)
}

/// The same of a filter: as the packet has it, perhaps with `$share` and the name of a group, and
/// what of it matches topics, which alone stands behind a prefix.
pub(super) fn filter_limit(config: &Config, text: &str, filter: &str) -> Option<Limit> {
    if text.len() > config.max_topic_length {
        return Some(Limit::MaxTopicLength);
    }
    let deep = is_deeper(text, config.max_topic_levels).then_some(Limit::MaxTopicLevels);
    deep.or_else(|| topic_limit(config, filter).filter(|_| config.prefix.bytes > 0))
}

/// The count stops at the bound; an ordinary topic is shorter than that.
fn is_deeper(topic: &str, levels: usize) -> bool {
    topic.len() >= levels && topic.split('/').nth(levels).is_some()
}

/// The bound that the user properties of a packet are beyond, if they are.
pub(super) fn user_limit(config: &Config, properties: Properties<'_>) -> Option<Limit> {
    if properties.is_empty() {
        return None;
    }
    let (count, bytes) = properties.user_totals();
    if count > config.max_user_properties {
        return Some(Limit::MaxUserProperties);
    }
    (bytes > config.max_user_property_bytes).then_some(Limit::MaxUserPropertyBytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Prefix;

    #[test]
    fn keys_are_distinct_and_counted_apart() {
        let mut acted = Acted::default();
        for (i, limit) in Limit::ALL.iter().enumerate() {
            assert!(Limit::ALL[..i].iter().all(|other| other.key() != limit.key()));
            (0..=i).for_each(|_| acted.count(*limit));
        }
        assert!(Limit::ALL.iter().enumerate().all(|(i, limit)| acted.of(*limit) == i as u64 + 1));
    }

    #[test]
    fn bounds_of_a_topic_are_exact() {
        let config = Config { max_topic_length: 8, max_topic_levels: 3, ..Config::default() };
        for fits in ["a", "a/b/c", "//", "12345678"] {
            assert_eq!(topic_limit(&config, fits), None, "{fits}");
        }
        assert_eq!(topic_limit(&config, "///"), Some(Limit::MaxTopicLevels));
        assert_eq!(topic_limit(&config, "a/b/c/"), Some(Limit::MaxTopicLevels));
        assert_eq!(topic_limit(&config, "123456789"), Some(Limit::MaxTopicLength));
        let config = Config { prefix: Prefix::of("m/"), ..config };
        for fits in ["a", "a/b", "/", "123456"] {
            assert_eq!(topic_limit(&config, fits), None, "{fits}");
        }
        assert_eq!(topic_limit(&config, "//"), Some(Limit::MaxTopicLevels));
        assert_eq!(topic_limit(&config, "1234567"), Some(Limit::MaxTopicLength));
        assert_eq!(filter_limit(&config, "$share/g", "123456"), None, "not both");
        assert_eq!(filter_limit(&config, "/////", "a"), Some(Limit::MaxTopicLevels));
        let config = Config { prefix: Prefix::of("1234/6789/"), ..config };
        assert_eq!(topic_limit(&config, "a"), Some(Limit::MaxTopicLength));
    }

    #[test]
    fn a_listener_may_have_its_own() {
        let mut configs = Configs::new(Config::default());
        let own = Config { max_packet_size: 1_000, ..Config::default() };
        configs.replace(Config::default(), [None, Some(own)].into());
        let size = |listener| configs.of(ListenerId(listener)).max_packet_size;
        assert_eq!([size(0), size(1), size(2)], [2_097_152, 1_000, 2_097_152]);
        assert_eq!(configs.all.max_packet_size, 2_097_152);
    }
}
