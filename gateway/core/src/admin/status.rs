//! How the gateway does: reasons, limits, their use.

use std::time::Duration;

use motegate_message::Reason;
use motegate_mqtt::endpoint::Limit as Bound;

use super::{Limit, Status, Unit};
use crate::admission::TAKEOVERS;
use crate::{ConnectRate, Core};

impl Core {
    pub(super) fn status(&self) -> Status {
        let usage = self.broker.usage();
        let counted = |reason: &Reason| (*reason, self.stats().dropped(*reason));
        let reasons = Reason::ALL.iter().map(counted).filter(|(_, count)| *count > 0).collect();
        let mut limits = self.broker_limits();
        limits.extend(self.endpoint_limits());
        limits.extend(self.connect_limits());
        limits.extend(self.mqtt_limits());
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
            bytes(
                "max_subscription_bytes_per_session",
                max.max_subscription_bytes_per_session,
                None,
                acted.max_subscription_bytes_per_session,
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
        let (sn, coap) = (&self.config.mqtt_sn, &self.config.coap);
        let counters = self.coap.counters();
        let reason = |reason| self.stats().dropped(reason);
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
                "max_observers_per_topic",
                self.config.max_observers_per_topic,
                // Of the topic that has the most.
                Some(u64::from(self.audience.most())),
                self.audience.refused,
            ),
            count(
                "packet_rate_per_peer",
                coap.max_request_rate as usize,
                None,
                counters.rate_limited,
            ),
            count(
                "max_blocks_in_progress_per_peer",
                coap.max_blocks_in_progress_per_peer,
                None,
                counters.blocks_per_peer_refused,
            ),
            bytes(
                "max_message_size",
                coap.max_message_size as usize,
                None,
                counters.messages_too_large,
            ),
            Limit {
                key: "idle_timeout",
                unit: Unit::Millis,
                max: millis(coap.idle_timeout),
                used: None,
                acted: Some(counters.idle_closed),
            },
            count(
                "max_exchanges",
                coap.max_exchanges,
                Some(self.coap.deduplication_entries() as u64),
                counters.evicted,
            ),
            count(
                "max_pubsub_topics",
                self.config.max_pubsub_topics,
                Some(self.topics.len() as u64),
                self.topics.counts.refused,
            ),
            count(
                "max_coap_logins",
                self.config.max_coap_logins,
                Some(self.passes.len() as u64),
                self.passes.refused,
            ),
            Limit {
                key: "heartbeat",
                unit: Unit::Millis,
                max: millis(self.config.coap_heartbeat),
                used: None,
                acted: Some(self.passes.silent),
            },
            bytes(
                "max_pubsub_topic_size",
                self.config.max_pubsub_topic_size,
                None,
                self.topics.counts.too_large,
            ),
            count(
                "max_sn_topics_per_client",
                sn.max_topics_per_client,
                None,
                self.sn.topics_refused(),
            ),
            bytes("sn_unproven_octets", self.sn.unproven().0, None, self.sn.unproven().2),
            count(
                "sn_unproven_factor",
                self.sn.unproven().1,
                None,
                reason(Reason::SnAddressUnproven),
            ),
            count(
                "will_dialogues",
                self.sn.max_dialogues(),
                Some(self.sn.connecting_count() as u64),
                self.sn.dialogues_given_up(),
            ),
            Limit {
                key: "auth_timeout",
                unit: Unit::Millis,
                max: millis(self.config.mqtt.auth_timeout),
                used: None,
                acted: Some(reason(Reason::AuthTimeout)),
            },
            count(
                "max_auth_failures",
                self.config.max_auth_failures.count as usize,
                Some(self.lockout.locked(self.turn.now) as u64),
                reason(Reason::LockedOut),
            ),
        ]
    }

    fn connect_limits(&self) -> Vec<Limit> {
        let (counts, sn) = (&self.admission.counts, &self.sn_admission.counts);
        let (all, each) = (self.config.max_connect_rate, self.config.max_connect_rate_per_address);
        vec![
            Limit {
                unit: Unit::PerSecond,
                ..count(
                    "max_connect_rate",
                    per_second(all),
                    Some(self.admission.waiting() as u64),
                    counts.rate + sn.rate,
                )
            },
            Limit {
                unit: Unit::PerSecond,
                ..count(
                    "max_connect_rate_per_address",
                    per_second(each),
                    None,
                    counts.per_address + sn.per_address,
                )
            },
            count("takeovers", TAKEOVERS as usize, None, counts.takeovers + sn.takeovers),
        ]
    }

    fn mqtt_limits(&self) -> Vec<Limit> {
        let (mqtt, acted) = (&self.config.mqtt, self.mqtt.acted());
        let limit = |limit: &Bound| {
            let (unit, max) = mqtt_bound(mqtt, *limit);
            let used = match limit {
                Bound::MaxHalfOpen => Some(self.half_open(None) as u64),
                Bound::MaxOutboxBytes => Some(self.mqtt.counters().bytes_waiting),
                _ => None,
            };
            // CoAP's connections have these, too.
            let coap = self.coap.counters();
            let also = match limit {
                Bound::ConnectTimeout => coap.connect_timeouts,
                Bound::MaxHalfOpen => coap.half_open_closed,
                Bound::MaxOutboxBytes => coap.outboxes_full,
                Bound::WriteStallTimeout => coap.write_stalls,
                _ => 0,
            };
            let acted = acted.of(*limit) + also;
            Limit { key: limit.key(), unit, max, used, acted: Some(acted) }
        };
        let mut limits: Vec<Limit> = Bound::ALL.iter().map(limit).collect();
        let window = count(
            "max_inflight",
            usize::from(mqtt.max_inflight),
            None,
            self.broker.acted().max_inflight,
        );
        limits.push(window);
        limits
    }
}

/// What a bound of the MQTT endpoint is set to.
fn mqtt_bound(mqtt: &motegate_mqtt::Config, limit: Bound) -> (Unit, u64) {
    let time = |max: Duration| (Unit::Millis, millis(max));
    match limit {
        Bound::ConnectTimeout => time(mqtt.connect_timeout),
        Bound::MaxHalfOpen => (Unit::Count, mqtt.max_half_open as u64),
        Bound::MaxConnectSize => (Unit::Bytes, u64::from(mqtt.max_connect_size)),
        Bound::MaxPacketSize => (Unit::Bytes, u64::from(mqtt.max_packet_size)),
        Bound::MaxClientIdLength => (Unit::Bytes, mqtt.max_client_id_length as u64),
        Bound::MaxTopicLength => (Unit::Bytes, mqtt.max_topic_length as u64),
        Bound::MaxTopicLevels => (Unit::Count, mqtt.max_topic_levels as u64),
        Bound::MaxUserProperties => (Unit::Count, mqtt.max_user_properties as u64),
        Bound::MaxUserPropertyBytes => (Unit::Bytes, mqtt.max_user_property_bytes as u64),
        Bound::MaxWillPayload => (Unit::Bytes, mqtt.max_will_payload as u64),
        Bound::MaxSessionExpiry => time(mqtt.max_session_expiry),
        Bound::MaxKeepAlive => time(mqtt.max_keep_alive),
        Bound::ReceiveMaximum => (Unit::Count, u64::from(mqtt.receive_maximum)),
        Bound::MaxAwaitingRelease => (Unit::Count, u64::from(mqtt.max_awaiting_release)),
        Bound::TopicAliasMaximum => (Unit::Count, u64::from(mqtt.topic_alias_maximum)),
        Bound::MaxOutboxBytes => (Unit::Bytes, u64::from(mqtt.max_outbox_bytes)),
        Bound::WriteStallTimeout => time(mqtt.write_stall_timeout),
        Bound::MaxPublishRate => (Unit::PerSecond, u64::from(mqtt.max_publish_rate)),
        Bound::MaxConnectionAge => time(mqtt.max_connection_age),
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// As it is told: rounded up, so that a low rate is not none.
fn per_second(rate: ConnectRate) -> usize {
    let per = rate.per.as_secs().max(1);
    usize::try_from(u64::from(rate.count).div_ceil(per)).unwrap_or(usize::MAX)
}

const fn count(key: &'static str, max: usize, used: Option<u64>, acted: u64) -> Limit {
    Limit { key, unit: Unit::Count, max: max as u64, used, acted: Some(acted) }
}

const fn bytes(key: &'static str, max: usize, used: Option<u64>, acted: u64) -> Limit {
    Limit { key, unit: Unit::Bytes, max: max as u64, used, acted: Some(acted) }
}
