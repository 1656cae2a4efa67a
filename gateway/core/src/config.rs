//! What the gateway is told at construction: plain data, resolved by the `config` crate.

use std::sync::Arc;
use std::time::Duration;

use motegate_broker::QueuePolicy;
use motegate_message::ListenerId;

use crate::{ConnectRate, FailureRate, Users};

/// Everything the core needs to know; the shell keeps addresses, files and threads to itself.
#[derive(Debug, Clone)]
pub struct Config {
    /// `{gateway}`.
    pub gateway_name: Arc<str>,
    /// By [`motegate_message::ListenerId`].
    pub listeners: Vec<Listener>,
    /// Of the MQTT endpoint.
    pub mqtt: motegate_mqtt::Config,
    /// Of the MQTT-SN endpoint.
    pub mqtt_sn: motegate_mqtt_sn::endpoint::Config,
    /// Of the CoAP endpoint.
    pub coap: motegate_coap::Config,
    /// Of the broker.
    pub broker: motegate_broker::Config,
    /// Bounds of an MQTT session's queue, and of an MQTT-SN client's that is awake.
    pub queue: QueuePolicy,
    /// Bounds of a sleeping MQTT-SN client's queue.
    pub when_asleep: QueuePolicy,
    /// Who has a password.
    pub users: Arc<Users>,
    /// Failed authentications of one address, after which it is locked out for 60 s.
    pub max_auth_failures: FailureRate,
    /// Whether anything outlives the process (`durability` other than `none`).
    pub durable: bool,
    /// How fast MQTT connections may come in all.
    pub max_connect_rate: ConnectRate,
    /// How fast from one address.
    pub max_connect_rate_per_address: ConnectRate,
    /// How often `$SYS` is published; zero: never.
    pub sys_interval: Duration,
    /// Topics of the collection of draft-ietf-core-coap-pubsub, all mounts together.
    pub max_pubsub_topics: usize,
    /// CoAP observers of one topic, or of the filter of a rule with wildcards; beyond it GET is
    /// answered without Observe. They come by any listener.
    pub max_observers_per_topic: usize,
    /// Bytes of the configuration of one.
    pub max_pubsub_topic_size: usize,
    /// EMQX's clients that may be connected (the preset `emqx-ps`).
    pub max_coap_logins: usize,
    /// How often they are to be heard: one that was not for 1.5 times as long is disconnected.
    pub coap_heartbeat: Duration,
    /// Bytes of records that may wait for the store; beyond it publishers are held back.
    pub max_uncommitted_bytes: usize,
}

/// A listener, as far as the core is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// `{listener}`.
    pub name: Arc<str>,
    /// What is spoken on it.
    pub protocol: Protocol,
    /// Whether clients that show no identity may connect.
    pub anonymous: bool,
    /// Whose packets are looked at.
    pub sources: Sources,
    /// Name space of client ids.
    pub realm: Arc<str>,
    /// `{tenant}`.
    pub tenant: Arc<str>,
    /// Prefix of every topic, placeholders resolved.
    pub mount: Arc<str>,
    /// Where a CoAP client's name comes from.
    pub client_from: ClientFrom,
    /// Whether a CoAP client must connect as EMQX's do, and show its token with every request.
    pub connection_required: bool,
    /// Whether an MQTT client's id must be its identity.
    pub client_id_from_identity: bool,
    /// Its own bounds, where it has some.
    pub limits: Option<Arc<ListenerLimits>>,
}

/// Bounds of one listener, none above the gateway's; those that it does not say itself are the
/// gateway's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerLimits {
    /// Stream connections open at a time: the shell's to heed.
    pub max_connections: usize,
    /// How fast MQTT connections may come by it.
    pub max_connect_rate: ConnectRate,
    /// How fast from one address.
    pub max_connect_rate_per_address: ConnectRate,
    /// Failed authentications of one address on it, after which the address is locked out of it alone;
    /// `None`: only the gateway's count.
    pub max_auth_failures: Option<FailureRate>,
    /// Settings of the MQTT endpoint for its connections. The bounds of topics hold for every protocol.
    pub mqtt: motegate_mqtt::Config,
    /// Bounds of the queues of sessions that connect by it.
    pub queue: QueuePolicy,
    /// Subscriptions of a session while it is connected by it.
    pub subscriptions: motegate_broker::SubscriptionBounds,
    /// Bounds of the MQTT-SN endpoint for its clients.
    pub mqtt_sn: motegate_mqtt_sn::endpoint::ListenerBounds,
    /// Bounds of the CoAP endpoint for its clients.
    pub coap: motegate_coap::ListenerBounds,
}

impl ListenerLimits {
    /// The gateway's, of which a listener then lowers some.
    #[must_use]
    pub fn of(config: &Config, max_connections: usize) -> Self {
        ListenerLimits {
            max_connections,
            max_connect_rate: config.max_connect_rate,
            max_connect_rate_per_address: config.max_connect_rate_per_address,
            max_auth_failures: None,
            mqtt: config.mqtt.clone(),
            queue: config.queue,
            subscriptions: config.broker.subscription_bounds(),
            mqtt_sn: config.mqtt_sn.bounds(),
            coap: config.coap.bounds(),
        }
    }
}

/// The protocols that have an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// MQTT over a byte stream.
    Mqtt,
    /// MQTT-SN over datagrams.
    MqttSn,
    /// CoAP over datagrams.
    Coap,
}

/// Source addresses that a listener serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sources {
    /// All.
    #[default]
    Any,
    /// Loopback, link-local and private addresses.
    Private,
}

/// Where a CoAP client's name comes from (mapping.md §2.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClientFrom {
    /// `anon-{source_ip}`.
    #[default]
    Address,
    /// The query parameter `client`.
    Query,
}

impl Config {
    /// Settings of the MQTT-SN endpoint, with the names that its journal calls listeners by.
    pub(crate) fn sn(&self) -> motegate_mqtt_sn::endpoint::Config {
        let name = |listener: &Listener| match listener.protocol {
            Protocol::MqttSn => (*listener.name).into(),
            Protocol::Mqtt | Protocol::Coap => Box::default(),
        };
        motegate_mqtt_sn::endpoint::Config {
            listeners: self.listeners.iter().map(name).collect(),
            ..self.mqtt_sn.clone()
        }
    }

    /// A listener's own bounds, where it has some.
    #[must_use]
    pub fn own(&self, listener: ListenerId) -> Option<&ListenerLimits> {
        self.listeners.get(usize::from(listener.0))?.limits.as_deref()
    }

    /// Settings of the MQTT endpoint that hold on a listener; the bounds of topics among them hold for
    /// every protocol.
    #[must_use]
    pub fn mqtt_of(&self, listener: ListenerId) -> &motegate_mqtt::Config {
        self.own(listener).map_or(&self.mqtt, |own| &own.mqtt)
    }

    /// Bounds of the queues of sessions that are connected by a listener.
    pub(crate) fn queue_of(&self, listener: ListenerId) -> QueuePolicy {
        self.own(listener).map_or(self.queue, |own| own.queue)
    }

    /// What a listener itself bounds of failed authentications, and which.
    pub(crate) fn own_auth_failures(
        &self,
        listener: ListenerId,
    ) -> Option<(ListenerId, FailureRate)> {
        let own = self.own(listener)?.max_auth_failures?;
        Some((listener, own))
    }

    /// What a listener's own bounds are, by its number.
    fn by_listener<T>(&self, own: impl Fn(&ListenerLimits) -> T) -> Vec<Option<T>> {
        self.listeners.iter().map(|listener| listener.limits.as_deref().map(&own)).collect()
    }

    /// Settings of the MQTT endpoint for listeners that have some of their own, or a mount, which
    /// counts with the bounds of topics.
    pub(crate) fn mqtt_by_listener(&self) -> Vec<Option<motegate_mqtt::Config>> {
        let own = |listener: &Listener| {
            let own = listener.limits.as_deref().map(|own| &own.mqtt);
            let prefix = motegate_mqtt::Prefix::of(&listener.mount);
            let config = own.or((prefix.bytes > 0).then_some(&self.mqtt))?;
            Some(motegate_mqtt::Config { prefix, ..config.clone() })
        };
        self.listeners.iter().map(own).collect()
    }

    /// The same of the MQTT-SN endpoint.
    pub(crate) fn sn_by_listener(&self) -> Vec<Option<motegate_mqtt_sn::endpoint::ListenerBounds>> {
        self.by_listener(|own| own.mqtt_sn)
    }

    /// The same of the CoAP endpoint.
    pub(crate) fn coap_by_listener(&self) -> Vec<Option<motegate_coap::ListenerBounds>> {
        self.by_listener(|own| own.coap)
    }

    /// How fast connections may come: another count begins where these change.
    pub(crate) fn connect_rates(&self) -> Vec<Option<(ConnectRate, ConnectRate)>> {
        let mut rates =
            self.by_listener(|own| (own.max_connect_rate, own.max_connect_rate_per_address));
        rates.push(Some((self.max_connect_rate, self.max_connect_rate_per_address)));
        rates
    }
}

impl Default for Config {
    fn default() -> Self {
        let queue = QueuePolicy {
            max_messages: 1_000,
            max_bytes: 8 * 1024 * 1024,
            overflow: motegate_broker::Overflow::DropOldest,
            queue_qos0: false,
            max_payload: u16::MAX,
        };
        Config {
            gateway_name: "motegate".into(),
            listeners: Vec::new(),
            mqtt: motegate_mqtt::Config::default(),
            mqtt_sn: motegate_mqtt_sn::endpoint::Config::default(),
            coap: motegate_coap::Config::default(),
            broker: motegate_broker::Config::default(),
            queue,
            when_asleep: QueuePolicy {
                max_messages: 100,
                max_bytes: 64 * 1024,
                queue_qos0: true,
                ..queue
            },
            users: Arc::default(),
            max_auth_failures: FailureRate::default(),
            durable: false,
            max_connect_rate: ConnectRate::per_second(1_000),
            max_connect_rate_per_address: ConnectRate::per_second(50),
            sys_interval: Duration::from_secs(10),
            max_pubsub_topics: 10_000,
            max_observers_per_topic: 100_000,
            max_pubsub_topic_size: 4 * 1024,
            max_coap_logins: 100_000,
            coap_heartbeat: Duration::from_secs(30),
            max_uncommitted_bytes: 32 * 1024 * 1024,
        }
    }
}
