//! How the gateway does: reasons, limits, their use.

use motegate_message::Reason;

use super::{Limit, Status, Unit};
use crate::Core;

impl Core {
    pub(super) fn status(&self) -> Status {
        let usage = self.broker.usage();
        let counted = |reason: &Reason| (*reason, self.stats().dropped(*reason));
        let reasons = Reason::ALL.iter().map(counted).filter(|(_, count)| *count > 0).collect();
        let mut limits = self.broker_limits();
        limits.extend(self.endpoint_limits());
        Status {
            retained: (usage.retained_messages, usage.retained_bytes),
            sessions: usage.sessions,
            subscriptions: usage.subscriptions,
            queued_bytes: usage.queued_bytes,
            sn_connecting: self.sn.connecting_count(),
            coap_peers: self.coap.peers(),
            reasons,
            limits,
        }
    }

    fn broker_limits(&self) -> Vec<Limit> {
        let (max, acted, usage) = (self.broker.config(), self.broker.acted(), self.broker.usage());
        let queue = &self.config.queue;
        let used = |count: usize| Some(count as u64);
        vec![
            count("max_sessions", max.max_sessions, used(usage.sessions), acted.max_sessions),
            count(
                "max_subscriptions_per_session",
                max.max_subscriptions_per_session,
                None,
                acted.max_subscriptions_per_session,
            ),
            count(
                "max_subscriptions",
                max.max_subscriptions,
                used(usage.subscriptions),
                acted.max_subscriptions,
            ),
            count(
                "max_share_groups",
                max.max_share_groups,
                used(usage.share_groups),
                acted.max_share_groups,
            ),
            count(
                "max_queued_messages",
                queue.max_messages as usize,
                None,
                acted.max_queued_messages,
            ),
            bytes("max_queued_bytes", queue.max_bytes as usize, None, acted.max_queued_bytes),
            bytes(
                "max_memory_queued",
                max.max_memory_queued,
                Some(usage.queued_bytes),
                acted.max_memory_queued,
            ),
            bytes(
                "max_disk_queued",
                max.max_disk_queued,
                Some(usage.disk_bytes),
                acted.max_disk_queued,
            ),
            count(
                "max_retained_messages",
                max.max_retained_messages,
                used(usage.retained_messages),
                acted.max_retained_messages,
            ),
            bytes(
                "max_retained_bytes",
                max.max_retained_bytes,
                used(usage.retained_bytes),
                acted.max_retained_bytes,
            ),
        ]
    }

    fn endpoint_limits(&self) -> Vec<Limit> {
        let (mqtt, sn, coap) = (&self.config.mqtt, &self.config.mqtt_sn, &self.config.coap);
        let counters = self.coap.counters();
        let reason = |reason| self.stats().dropped(reason);
        let millis = |key, max: std::time::Duration, acted| Limit {
            key,
            unit: Unit::Millis,
            max: u64::try_from(max.as_millis()).unwrap_or(u64::MAX),
            used: None,
            acted: Some(acted),
        };
        let uncounted = |limit: Limit| Limit { acted: None, ..limit };
        vec![
            bytes(
                "max_uncommitted_bytes",
                self.config.max_uncommitted_bytes,
                Some(self.backpressure.waiting() as u64),
                self.backpressure.paused_so_far() + reason(Reason::Overloaded),
            ),
            count(
                "max_observers",
                coap.max_observers,
                Some(self.coap.observations() as u64),
                counters.observers_refused,
            ),
            count(
                "max_observers_per_peer",
                coap.max_observers_per_peer,
                None,
                counters.observers_per_peer_refused,
            ),
            count(
                "max_exchanges",
                coap.max_exchanges,
                Some(self.coap.deduplication_entries() as u64),
                counters.evicted,
            ),
            uncounted(count("max_sn_topics_per_client", sn.max_topics_per_client, None, 0)),
            uncounted(bytes("max_packet_size", mqtt.max_packet_size as usize, None, 0)),
            uncounted(bytes("max_connect_size", mqtt.max_connect_size as usize, None, 0)),
            uncounted(bytes("max_client_id_length", mqtt.max_client_id_length, None, 0)),
            uncounted(bytes("max_topic_length", mqtt.max_topic_length, None, 0)),
            uncounted(count("max_topic_levels", mqtt.max_topic_levels, None, 0)),
            uncounted(count("max_user_properties", mqtt.max_user_properties, None, 0)),
            uncounted(bytes("max_user_property_bytes", mqtt.max_user_property_bytes, None, 0)),
            uncounted(bytes("max_outbox_bytes", mqtt.max_outbox_bytes as usize, None, 0)),
            millis("connect_timeout", mqtt.connect_timeout, reason(Reason::ConnectTimeout)),
            millis("auth_timeout", mqtt.auth_timeout, reason(Reason::AuthTimeout)),
            count(
                "max_auth_failures",
                self.config.max_auth_failures.count as usize,
                Some(self.lockout.locked(self.turn.now) as u64),
                reason(Reason::LockedOut),
            ),
            millis("write_stall_timeout", mqtt.write_stall_timeout, reason(Reason::SlowConsumer)),
        ]
    }
}

const fn count(key: &'static str, max: usize, used: Option<u64>, acted: u64) -> Limit {
    Limit { key, unit: Unit::Count, max: max as u64, used, acted: Some(acted) }
}

const fn bytes(key: &'static str, max: usize, used: Option<u64>, acted: u64) -> Limit {
    Limit { key, unit: Unit::Bytes, max: max as u64, used, acted: Some(acted) }
}
