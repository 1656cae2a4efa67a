//! [`Reason`]: the one closed list of why something was refused, closed or dropped.
//!
//! The same words appear in logs, counters, the interface and the API. Each protocol turns a
//! reason into its own code in one place (`reply_for`).

use core::fmt;

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident = $text:literal,)+) => {
        /// Why something was refused, closed or dropped.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Reason { $($(#[doc = $doc])+ $variant,)+ }

        impl Reason {
            /// Every reason, in the order of the published list.
            pub const ALL: &'static [Reason] = &[$(Reason::$variant),+];

            /// The published word, `snake_case`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Reason::$variant => $text),+ }
            }

            /// What it means, in a sentence or two.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self { $(Reason::$variant => concat!($($doc),+).trim()),+ }
            }
        }
    };
}

reasons! {
    /// The identity shown does not hold.
    AuthFailed = "auth_failed",
    /// The listener asks for an identity and none was shown.
    AuthMissing = "auth_missing",
    /// The authentication was not finished in time.
    AuthTimeout = "auth_timeout",
    /// The method of authentication is not offered.
    AuthMethod = "auth_method",
    /// Too many failed authentications came from this address.
    LockedOut = "locked_out",
    /// The principal may not do this on this topic.
    AclDeny = "acl_deny",
    /// The source address is not one that this listener serves.
    SourceDenied = "source_denied",
    /// More requests than the limit allows.
    RateLimited = "rate_limited",
    /// A table that has a `max_…` is full.
    QuotaExceeded = "quota_exceeded",
    /// Larger than the receiver, the limit or the datagram allows.
    TooLarge = "too_large",
    /// The payload is not what it claims to be.
    BadPayload = "bad_payload",
    /// Not a valid topic name or filter here.
    BadTopic = "bad_topic",
    /// The client identifier is not acceptable.
    BadClientId = "bad_client_id",
    /// The protocol version is not spoken (here).
    UnsupportedVersion = "unsupported_version",
    /// Clients are sent to another server.
    ServerMoved = "server_moved",
    /// Well formed, but switched off or not provided.
    NotSupported = "not_supported",
    /// Bytes that are no packet of the protocol.
    Malformed = "malformed",
    /// A packet that the specification forbids here.
    ProtocolError = "protocol_error",
    /// No mapping rule takes this request.
    NoRule = "no_rule",
    /// A rule takes the path but not the method.
    MethodNotAllowed = "method_not_allowed",
    /// A critical option that is not understood.
    BadOption = "bad_option",
    /// MQTT-SN: a topic id that nobody registered or predefined.
    SnUnknownTopicId = "sn_unknown_topic_id",
    /// MQTT-SN: the client refused a REGISTER.
    SnRegisterRefused = "sn_register_refused",
    /// MQTT-SN: a packet from a peer that has not connected.
    SnNotConnected = "sn_not_connected",
    /// MQTT-SN: a publish at QoS −1 that no rule allows.
    SnQosMinusOneOff = "sn_qos_minus_one_off",
    /// MQTT-SN: the topic name does not fit a datagram.
    SnTopicTooLong = "sn_topic_too_long",
    /// MQTT-SN: more than its address may be sent before the client has answered something.
    SnAddressUnproven = "sn_address_unproven",
    /// A queue is full and its policy dropped a message.
    QueueFull = "queue_full",
    /// The queue of a sleeping client is full.
    SleepQueueFull = "sleep_queue_full",
    /// A sleeping client is not back when it said; it is still waited for.
    SleepOverdue = "sleep_overdue",
    /// A sleeping client did not come back in time.
    SleepExpired = "sleep_expired",
    /// Nothing was heard for longer than the keep-alive allows.
    KeepaliveTimeout = "keepalive_timeout",
    /// Too many connections had not said CONNECT, and this was the oldest of them.
    HalfOpen = "half_open",
    /// The connection has lasted as long as it may.
    ConnectionAge = "connection_age",
    /// No CONNECT in time.
    ConnectTimeout = "connect_timeout",
    /// The last retransmission was not answered.
    RetryExhausted = "retry_exhausted",
    /// The same client id connected again.
    TakenOver = "taken_over",
    /// An operator closed it.
    Kicked = "kicked",
    /// The client said goodbye.
    ClientDisconnect = "client_disconnect",
    /// The transport ended without a goodbye.
    ConnectionLost = "connection_lost",
    /// The peer does not read what is sent to it.
    SlowConsumer = "slow_consumer",
    /// The session's time is over.
    SessionExpired = "session_expired",
    /// The message's time is over.
    MessageExpired = "message_expired",
    /// Nobody is subscribed.
    NoReceiver = "no_receiver",
    /// CoAP: a repeated message id, answered from memory.
    CoapDedup = "coap_dedup",
    /// CoAP: an observation could not be established or went away.
    ObserveRejected = "observe_rejected",
    /// A precondition of the request does not hold.
    PreconditionFailed = "precondition_failed",
    /// The disk is full, failing or read-only.
    StorageFull = "storage_full",
    /// What the disk held can no longer be read.
    StoreDamaged = "store_damaged",
    /// The gateway is busy with what it has accepted.
    Overloaded = "overloaded",
    /// The configuration changed under it.
    ConfigReload = "config_reload",
    /// The gateway is stopping.
    Shutdown = "shutdown",
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_distinct_and_snake_case() {
        for (i, reason) in Reason::ALL.iter().enumerate() {
            let word = reason.as_str();
            assert!(word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{word}");
            assert!(reason.meaning().ends_with('.'), "{word}: {}", reason.meaning());
            assert!(Reason::ALL[..i].iter().all(|other| other.as_str() != word), "{word} twice");
        }
    }
}
