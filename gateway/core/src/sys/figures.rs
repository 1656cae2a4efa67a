//! What `$SYS` tells: each topic with where its number comes from.

use crate::coap::TopicCounts;
use crate::{Core, Protocol};

/// One moment's numbers of one gateway.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Figures {
    clients: u64,
    connected: u64,
    expired: u64,
    sockets: u64,
    stored: u64,
    stored_bytes: u64,
    subscriptions: u64,
    shared_subscriptions: u64,
    retained: u64,
    heap: (u64, u64),
    mqtt: motegate_mqtt::endpoint::Counters,
    dropped: u64,
    sn: Datagrams,
    sn_clients: u64,
    coap: Datagrams,
    coap_counts: motegate_coap::endpoint::Counters,
    coap_connections: u64,
    topics: u64,
    topic_counts: TopicCounts,
    observers: u64,
    observations: u64,
    /// Of the topic that has the most.
    most_observers: u64,
    observers_refused: u64,
}

/// What a front-end of datagrams has moved since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Datagrams {
    pub(crate) received: u64,
    pub(crate) bytes_received: u64,
    pub(crate) sent: u64,
    pub(crate) bytes_sent: u64,
    /// Messages published by devices.
    pub(crate) published: u64,
    /// Messages handed to devices.
    pub(crate) delivered: u64,
}

/// A topic below `$SYS/` and its number.
pub(super) type Row = (&'static str, fn(&Figures) -> u64);

/// Plain numbers. The names are mosquitto's; its old ones stand beside the new.
pub(super) const ROWS: &[Row] = &[
    ("broker/clients/total", |f| f.clients),
    ("broker/clients/disconnected", |f| f.clients - f.connected),
    ("broker/clients/inactive", |f| f.clients - f.connected),
    ("broker/clients/connected", |f| f.connected),
    ("broker/clients/active", |f| f.connected),
    ("broker/clients/expired", |f| f.expired),
    ("broker/connections/socket/count", |f| f.sockets),
    ("broker/messages/received", |f| f.mqtt.packets_received),
    ("broker/messages/sent", |f| f.mqtt.packets_sent),
    ("broker/messages/stored", |f| f.stored),
    ("broker/store/messages/count", |f| f.stored),
    ("broker/store/messages/bytes", |f| f.stored_bytes),
    ("broker/publish/messages/received", |f| f.mqtt.publishes_received),
    ("broker/publish/messages/sent", |f| f.mqtt.publishes_sent),
    ("broker/publish/messages/dropped", |f| f.dropped),
    ("broker/publish/bytes/received", |f| f.mqtt.payload_received),
    ("broker/publish/bytes/sent", |f| f.mqtt.payload_sent),
    ("broker/bytes/received", |f| f.mqtt.bytes_received),
    ("broker/bytes/sent", |f| f.mqtt.bytes_sent),
    ("broker/packet/out/count", |f| f.mqtt.packets_waiting),
    ("broker/packet/out/bytes", |f| f.mqtt.bytes_waiting),
    ("broker/subscriptions/count", |f| f.subscriptions),
    ("broker/shared_subscriptions/count", |f| f.shared_subscriptions),
    ("broker/retained messages/count", |f| f.retained),
    ("motegate/mqtt-sn/clients/connected", |f| f.sn_clients),
    ("motegate/mqtt-sn/packets/received", |f| f.sn.received),
    ("motegate/mqtt-sn/packets/sent", |f| f.sn.sent),
    ("motegate/mqtt-sn/bytes/received", |f| f.sn.bytes_received),
    ("motegate/mqtt-sn/bytes/sent", |f| f.sn.bytes_sent),
    ("motegate/mqtt-sn/publish/received", |f| f.sn.published),
    ("motegate/mqtt-sn/publish/sent", |f| f.sn.delivered),
    ("motegate/coap/clients/observing", |f| f.observers),
    ("motegate/coap/observations/count", |f| f.observations),
    ("motegate/coap/observations/highest", |f| f.most_observers),
    ("motegate/coap/observations/refused", |f| f.observers_refused),
    ("motegate/coap/connections/count", |f| f.coap_connections),
    ("motegate/coap/connections/aborted", |f| f.coap_counts.aborts),
    ("motegate/coap/connections/pinged", |f| f.coap_counts.pings_sent),
    ("motegate/coap/packets/received", |f| f.coap.received),
    ("motegate/coap/packets/sent", |f| f.coap.sent),
    ("motegate/coap/bytes/received", |f| f.coap.bytes_received),
    ("motegate/coap/bytes/sent", |f| f.coap.bytes_sent),
    ("motegate/coap/requests/received", |f| f.coap_counts.requests),
    ("motegate/coap/requests/repeated", |f| f.coap_counts.repeats),
    ("motegate/coap/requests/challenged", |f| f.coap_counts.echo_challenges),
    ("motegate/coap/messages/retransmitted", |f| f.coap_counts.retransmissions),
    ("motegate/coap/discovery/received", |f| f.coap_counts.group_requests),
    ("motegate/coap/discovery/sent", |f| f.coap_counts.group_answers),
    ("motegate/coap/topics/count", |f| f.topics),
    ("motegate/coap/topics/created", |f| f.topic_counts.created),
    ("motegate/coap/topics/subscribers/refused", |f| f.topic_counts.unobserved),
    ("motegate/coap/publish/received", |f| f.coap.published),
    ("motegate/coap/publish/sent", |f| f.coap.delivered),
];

/// Numbers of which the highest so far is told.
pub(super) const HIGHEST: &[Row] = &[("broker/clients/maximum", |f| f.clients)];

/// Numbers that only the shell knows; left out until it has said them.
pub(super) const HEAP: &[Row] =
    &[("broker/heap/current", |f| f.heap.0), ("broker/heap/maximum", |f| f.heap.1)];

/// Counters of which moving averages are told, below `$SYS/broker/load/`.
pub(super) const LOADS: [Row; 9] = [
    ("connections", |f| f.mqtt.connects_received),
    ("sockets", |f| f.sockets),
    ("bytes/received", |f| f.mqtt.bytes_received),
    ("bytes/sent", |f| f.mqtt.bytes_sent),
    ("messages/received", |f| f.mqtt.packets_received),
    ("messages/sent", |f| f.mqtt.packets_sent),
    ("publish/dropped", |f| f.dropped),
    ("publish/received", |f| f.mqtt.publishes_received),
    ("publish/sent", |f| f.mqtt.publishes_sent),
];

impl Core {
    /// The numbers now; the work does not grow with the number of clients.
    pub(super) fn figures(&self) -> Figures {
        let usage = self.broker.usage();
        let (own, own_bytes) = self.broker.own();
        let observers = self.coap.observers() as u64;
        let mqtt = *self.mqtt.counters();
        let coap_counts = *self.coap.counters();
        Figures {
            // MQTT-SN and CoAP peers with a session are clients too; each observation is a
            // nameless session of its own.
            clients: usage.named as u64 + observers,
            connected: usage.connected as u64 + observers,
            expired: self.broker.expired_sessions(),
            sockets: self.sys.sockets,
            stored: usage.retained_messages as u64 + own as u64 + usage.queued_messages,
            stored_bytes: usage.retained_bytes as u64 + own_bytes as u64 + usage.queued_bytes,
            subscriptions: (usage.subscriptions - usage.shared_subscriptions) as u64,
            shared_subscriptions: usage.shared_subscriptions as u64,
            retained: usage.retained_messages as u64 + own as u64,
            heap: self.sys.heap.unwrap_or_default(),
            mqtt,
            dropped: self.sys.dropped + mqtt.oversize_dropped + mqtt.expired_dropped,
            sn: self.datagram_figures(Protocol::MqttSn),
            sn_clients: self.sn.connected_count() as u64,
            coap: self.datagram_figures(Protocol::Coap),
            coap_counts,
            coap_connections: self.coap.connections() as u64,
            topics: self.topics.len() as u64,
            topic_counts: self.topics.counts,
            observers,
            observations: self.coap.observations() as u64,
            most_observers: u64::from(self.audience.most()),
            observers_refused: coap_counts.observers_refused
                + coap_counts.observers_per_peer_refused
                + self.audience.refused,
        }
    }

    fn datagram_figures(&self, protocol: Protocol) -> Datagrams {
        let mut figures = *self.sys.of(protocol);
        if protocol == Protocol::MqttSn {
            (figures.sent, figures.bytes_sent) = self.sn.pushed();
            return figures;
        }
        // With what came and went on connections.
        let counters = self.coap.counters();
        (figures.sent, figures.bytes_sent) = self.coap.pushed();
        figures.sent += counters.connection_messages_sent;
        figures.bytes_sent += counters.connection_bytes_sent;
        figures.received += counters.connection_messages;
        figures.bytes_received += counters.connection_bytes_received;
        figures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_named_once() {
        let mut names: Vec<&str> = [ROWS, HIGHEST, HEAP].concat().iter().map(|r| r.0).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
