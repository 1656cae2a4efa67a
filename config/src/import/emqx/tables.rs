//! What is known of EMQX's settings: those that mean the same here, and what becomes of others.

use super::super::RemarkKind::{Changed, Later, Unsupported};
use super::super::draft::At;
use super::super::tree::{Block, Carried, Form, Known, Tree};

/// Whether anything of EMQX is in it.
pub(super) fn is_emqx(tree: &Tree<'_>) -> bool {
    const BLOCKS: [&str; 12] = [
        "gateway",
        "listeners",
        "mqtt",
        "rewrite",
        "node",
        "cluster",
        "dashboard",
        "authentication",
        "authorization",
        "log",
        "bridges",
        "retainer",
    ];
    BLOCKS.iter().any(|block| tree.root.get(block).is_some())
}

pub(super) const CARRIED: &[Carried] = &[
    ("mqtt.max_packet_size", Block::Limits, "max_packet_size", Form::Size(128, 268_435_460)),
    ("mqtt.max_clientid_len", Block::Limits, "max_client_id_length", Form::Number(23, 65_535)),
    ("mqtt.max_topic_levels", Block::Limits, "max_topic_levels", Form::Number(1, 65_536)),
    (
        "mqtt.max_subscriptions",
        Block::Limits,
        "max_subscriptions_per_session",
        Form::Number(1, 1 << 40),
    ),
    ("mqtt.max_mqueue_len", Block::Limits, "max_queued_messages", Form::Number(1, 100_000_000)),
    ("mqtt.idle_timeout", Block::Limits, "connect_timeout", Form::Time(1, 3_600)),
    ("mqtt.max_qos_allowed", Block::Mqtt, "max_qos", Form::Number(0, 2)),
    ("mqtt.max_topic_alias", Block::Mqtt, "topic_alias_maximum", Form::Number(0, 65_535)),
    ("mqtt.mqueue_store_qos0", Block::Mqtt, "queue_qos0", Form::Flag),
    ("mqtt.retain_available", Block::Mqtt, "retain_available", Form::Flag),
    ("mqtt.wildcard_subscription", Block::Mqtt, "wildcard_subscriptions", Form::Flag),
    ("mqtt.shared_subscription", Block::Mqtt, "shared_subscriptions", Form::Flag),
    ("mqtt.max_inflight", Block::Mqtt, "max_inflight", Form::Number(1, 65_535)),
    ("mqtt.max_awaiting_rel", Block::Mqtt, "max_awaiting_release", Form::Number(1, 65_535)),
    ("sys_topics.sys_msg_interval", Block::Mqtt, "sys_interval", Form::Time(0, 86_400)),
    ("gateway.coap.heartbeat", Block::Coap, "heartbeat", Form::Time(1, 604_800)),
    ("mqtt.server_keepalive", Block::Mqtt, "max_keep_alive", Form::Time(0, 65_535)),
    (
        "mqtt.session_expiry_interval",
        Block::Mqtt,
        "max_session_expiry",
        Form::Time(0, 4_294_967_295),
    ),
    (
        "retainer.backend.max_retained_messages",
        Block::Limits,
        "max_retained_messages",
        Form::Number(1, 1 << 40),
    ),
];

/// No hash of another program can be changed into a verifier.
const USERS: &str =
    "its users are not carried over: nobody may connect until there are `users` here";
const SESSIONS: &str = "devices have no connections: `limits.max_sessions` bounds all sessions";
const NO_CONNECTION: &str = "there are no connections";
const CIPHERS: &str = "TLS 1.2 and 1.3 with the ciphers of rustls, PEM files";
const UPGRADE: &str = "there is no such setting of a WebSocket";
const SOCKET: &str = "the system's and the gateway's own settings of sockets hold";

pub(super) const KNOWN: &[Known] = &[
    ("gateway.mqttsn.idle_timeout", At::MqttSn, Unsupported, "a device is lost by its keep alive"),
    ("gateway.mqttsn.subs_resume", At::MqttSn, Unsupported, "sessions always keep subscriptions"),
    ("gateway.mqttsn.enable_stats", At::MqttSn, Unsupported, "counters are always on"),
    ("gateway.mqttsn.authentication", At::Users, Later, "logins: nobody may connect until then"),
    ("gateway.mqttsn.clientinfo_override", At::Users, Unsupported, "who a device is cannot be set"),
    ("gateway.mqttsn.listeners.udp.*.max_connections", At::Listeners, Unsupported, SESSIONS),
    ("gateway.mqttsn.listeners.udp.*.*", At::Listeners, Unsupported, SOCKET),
    ("gateway.coap.idle_timeout", At::Coap, Unsupported, "who is silent is gone by `heartbeat`"),
    ("gateway.coap.enable_stats", At::Coap, Unsupported, "counters are always on"),
    ("gateway.coap.authentication", At::Users, Changed, USERS),
    ("gateway.coap.clientinfo_override", At::Users, Unsupported, "who a device is cannot be set"),
    ("gateway.coap.listeners.udp.*.max_connections", At::Listeners, Unsupported, NO_CONNECTION),
    ("gateway.coap.listeners.udp.*.max_conn_rate", At::Listeners, Unsupported, NO_CONNECTION),
    ("gateway.coap.listeners.udp.*.*", At::Listeners, Unsupported, SOCKET),
    ("gateway.*", At::Listeners, Unsupported, "the gateway speaks MQTT, MQTT-SN and CoAP"),
    ("listeners.*.*.authentication", At::Users, Changed, USERS),
    ("listeners.*.*.enable_authn", At::Users, Changed, USERS),
    ("listeners.*.*.ssl_options.*", At::Listeners, Unsupported, CIPHERS),
    ("listeners.*.*.websocket.*", At::Listeners, Unsupported, UPGRADE),
    ("listeners.*.*.*", At::Listeners, Unsupported, SOCKET),
    ("mqtt.keepalive_multiplier", At::Mqtt, Unsupported, "1.5, as the standard says"),
    ("mqtt.retry_interval", At::Mqtt, Unsupported, "repeated at a reconnect, as the standard says"),
    ("mqtt.use_username_as_clientid", At::Users, Unsupported, "clients keep their names"),
    ("mqtt.*", At::Mqtt, Unsupported, "there is no such setting"),
    ("retainer.backend.*", At::Limits, Unsupported, "`durability` says what is kept, for all"),
    ("retainer.max_payload_size", At::Limits, Changed, "`limits.max_packet_size` is the bound"),
    ("retainer.*", At::Limits, Unsupported, "there is no such setting"),
    ("authentication", At::Users, Changed, USERS),
    ("authorization.no_match", At::Acl, Later, "access rules"),
    ("authorization.*", At::Acl, Later, "access rules: nobody may connect until then"),
    ("log.console.*", At::Log, Unsupported, "the log goes to stderr, as logfmt or JSON"),
    ("log.*", At::Log, Unsupported, "the log goes to stderr, as logfmt or JSON"),
    ("bridges.*", At::Bridges, Later, "bridges"),
    ("bridges.*.*", At::Bridges, Later, "bridges"),
    ("connectors.*", At::Bridges, Later, "bridges"),
    ("actions.*", At::Bridges, Later, "bridges"),
    ("sources.*", At::Bridges, Later, "bridges"),
    ("rule_engine", At::Bridges, Unsupported, "there is no rule engine; see `mappings`"),
    ("node", At::Top, Unsupported, "there is no Erlang node"),
    ("cluster", At::Top, Later, "clusters"),
    ("dashboard", At::Top, Later, "the dashboard"),
    ("api_key", At::Top, Later, "the API"),
    ("prometheus", At::Top, Later, "metrics"),
    ("psk_authentication", At::Users, Later, "pre-shared keys"),
    ("sys_topics.*", At::Mqtt, Unsupported, "`$SYS` topics have mosquitto's names"),
    ("sys_topics.*.*", At::Mqtt, Unsupported, "`$SYS` topics have mosquitto's names"),
];
