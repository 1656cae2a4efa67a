//! Every option of mosquitto.conf(5): whose it is, and what becomes of it.

use super::super::RemarkKind::{self, Changed, Later, Unsupported};
use super::super::draft::At;
use super::super::tree::{Block, Form};

/// What an option belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    Global,
    /// The listener above it.
    Listener,
    /// Global, or of a listener with `per_listener_settings`.
    Security,
    /// The bridge above it.
    Bridge,
}

/// What becomes of an option.
#[derive(Debug, Clone, Copy)]
pub(super) enum Treat {
    /// More than a table can say.
    Code,
    /// A remark.
    Say(At, RemarkKind, &'static str),
    /// A remark, unless it has the value that it always has here.
    Unless(&'static str, At, RemarkKind, &'static str),
    /// The same under another name.
    Carry(Block, &'static str, Form),
    /// The same, but 0 is no limit there.
    CarryOrNone(Block, &'static str, Form),
}

#[derive(Debug)]
pub(super) struct Known {
    name: &'static str,
    pub(super) scope: Scope,
    pub(super) treat: Treat,
}

/// What is known of an option.
pub(super) fn find(name: &str) -> Option<&'static Known> {
    let name = match name {
        _ if name.starts_with("auth_opt_") => "auth_opt_*",
        _ if name.starts_with("plugin_opt_") => "plugin_opt_*",
        _ => name,
    };
    OPTIONS.iter().find(|option| option.name == name)
}

/// Whether a value must not be copied.
pub(super) fn is_secret(name: &str) -> bool {
    matches!(name, "password" | "remote_password" | "local_password" | "bridge_psk")
        || name == "tls_engine_kpass_sha1"
        || name.starts_with("auth_opt_")
        || name.starts_with("plugin_opt_")
}

const fn global(name: &'static str, treat: Treat) -> Known {
    Known { name, scope: Scope::Global, treat }
}

const fn security(name: &'static str, treat: Treat) -> Known {
    Known { name, scope: Scope::Security, treat }
}

const fn listener(name: &'static str, treat: Treat) -> Known {
    Known { name, scope: Scope::Listener, treat }
}

const fn bridge(name: &'static str) -> Known {
    Known { name, scope: Scope::Bridge, treat: Treat::Code }
}

const fn tls(name: &'static str) -> Known {
    let text = "`tls` has no such key: TLS 1.2 and 1.3 with the ciphers of rustls, PEM files";
    listener(name, Treat::Say(At::Listeners, Unsupported, text))
}

const PLUGIN: Treat =
    Treat::Say(At::Users, Unsupported, "plugins cannot be loaded: nobody may connect until then");
const SERVICE: &str = "a matter of the service manager";
const LOG: &str = "the log goes to stderr, as logfmt or JSON";

use Treat::{Carry, CarryOrNone, Code, Say, Unless};

#[rustfmt::skip]
const OPTIONS: &[Known] = &[
    // General.
    security("acl_file", Say(At::Acl, Later, "access rules: nobody may connect until then")),
    security("allow_anonymous", Code),
    global("allow_duplicate_messages", Unless("false", At::Mqtt, Unsupported, "there is no such setting")),
    security("allow_zero_length_clientid", Unless("true", At::Mqtt, Unsupported, "a client without a name is given one, as MQTT 3.1.1 and 5 say")),
    security("auth_opt_*", Say(At::Users, Unsupported, "plugins cannot be loaded")),
    security("auth_plugin", PLUGIN),
    security("auth_plugin_deny_special_chars", Say(At::Users, Unsupported, "plugins cannot be loaded")),
    security("plugin", PLUGIN),
    global("global_plugin", PLUGIN),
    security("plugin_load", PLUGIN),
    security("plugin_use", PLUGIN),
    security("plugin_opt_*", Say(At::Users, Unsupported, "plugins cannot be loaded")),
    security("auto_id_prefix", Code),
    global("autosave_interval", Say(At::Top, Unsupported, "state is written as it changes; `durability` says what survives what")),
    global("autosave_on_changes", Say(At::Top, Unsupported, "state is written as it changes; `durability` says what survives what")),
    global("check_retain_source", Say(At::Acl, Later, "access rules")),
    global("clientid_prefixes", Say(At::Users, Unsupported, "names of clients are not restricted: nobody may connect until then")),
    global("connection_messages", Unless("true", At::Log, Unsupported, "`log: {level: warn}` is without them")),
    global("include_dir", Say(At::Top, Changed, "not followed: its files are read if they are named after this one")),
    global("log_dest", Unless("stderr", At::Log, Unsupported, LOG)),
    global("log_facility", Say(At::Log, Unsupported, LOG)),
    global("log_timestamp", Unless("true", At::Log, Unsupported, LOG)),
    global("log_timestamp_format", Say(At::Log, Unsupported, "times are ISO 8601")),
    global("log_type", Code),
    global("max_inflight_bytes", Unless("0", At::Limits, Changed, "`max_queued_bytes` bounds the bytes in flight, too")),
    global("max_inflight_messages", Code),
    global("max_keepalive", Carry(Block::Mqtt, "max_keep_alive", Form::Time(0, 65_535))),
    global("max_packet_size", CarryOrNone(Block::Limits, "max_packet_size", Form::Size(128, 268_435_460))),
    global("max_queued_bytes", CarryOrNone(Block::Limits, "max_queued_bytes", Form::Size(1_024, (4 << 30) - 1))),
    global("max_queued_messages", CarryOrNone(Block::Limits, "max_queued_messages", Form::Number(1, 100_000_000))),
    global("memory_limit", Unless("0", At::Limits, Unsupported, "`max_memory_queued` and `max_retained_bytes` bound what grows")),
    global("message_size_limit", Code),
    global("packet_buffer_size", Say(At::Limits, Unsupported, "buffers are the gateway's own matter")),
    security("password_file", Say(At::Users, Changed, "its hashes cannot be used: `motegate passwd NAME` writes each user anew")),
    global("per_listener_settings", Code),
    global("persistence", Code),
    global("retained_persistence", Code),
    global("persistence_file", Say(At::Top, Unsupported, "the gateway's own files have names of their own")),
    global("persistence_location", Say(At::Top, Changed, "that folder is mosquitto's: `data_dir` stays the gateway's own")),
    global("persistent_client_expiration", Code),
    global("pid_file", Say(At::Top, Unsupported, SERVICE)),
    security("psk_file", Say(At::Users, Later, "pre-shared keys")),
    global("queue_qos0_messages", Carry(Block::Mqtt, "queue_qos0", Form::Flag)),
    global("retain_available", Carry(Block::Mqtt, "retain_available", Form::Flag)),
    global("retain_expiry_interval", Say(At::Limits, Unsupported, "retained messages expire by their own expiry")),
    global("set_tcp_nodelay", Unless("true", At::Listeners, Changed, "small packets are never held back")),
    global("sys_interval", Carry(Block::Mqtt, "sys_interval", Form::Time(0, 65_535))),
    global("upgrade_outgoing_qos", Unless("false", At::Mqtt, Unsupported, "a message keeps its QoS, as the standard says")),
    global("user", Say(At::Top, Unsupported, SERVICE)),
    global("websockets_log_level", Say(At::Log, Unsupported, "`log: {level: …}` holds for all")),
    global("websockets_headers_size", Say(At::Listeners, Unsupported, "the size of an upgrade is bounded")),
    global("global_max_connections", CarryOrNone(Block::Limits, "max_connections", Form::Number(1, 10_000_000))),
    global("global_max_clients", CarryOrNone(Block::Limits, "max_sessions", Form::Number(1, 1 << 40))),
    // Of old versions, and of the broker before them, which mosquitto still reads past.
    global("retry_interval", Say(At::Mqtt, Unsupported, "repeated at a reconnect, as the standard says")),
    global("store_clean_interval", Say(At::Top, Unsupported, "what nobody waits for any more is removed at once")),
    global("ffdc_output", Say(At::Log, Unsupported, LOG)),
    global("max_log_entries", Say(At::Log, Unsupported, LOG)),
    global("trace_level", Say(At::Log, Unsupported, LOG)),
    global("trace_output", Say(At::Log, Unsupported, LOG)),
    global("enable_control_api", Say(At::Top, Unsupported, "there is no control by topics")),
    // Listeners.
    listener("bind_address", Code),
    listener("bind_interface", Code),
    listener("http_dir", Say(At::Listeners, Unsupported, "no files are served")),
    listener("listener", Code),
    listener("listener_allow_anonymous", Code),
    listener("listener_auto_id_prefix", Code),
    listener("accept_protocol_versions", Code),
    listener("max_connections", Code),
    listener("max_qos", Code),
    listener("maximum_qos", Code),
    listener("max_topic_alias", Code),
    listener("max_topic_alias_broker", Say(At::Mqtt, Unsupported, "`mqtt: {topic_alias_maximum: …}` holds for both directions")),
    listener("mount_point", Code),
    listener("port", Code),
    listener("protocol", Code),
    listener("enable_proxy_protocol", Code),
    listener("proxy_protocol_v2_require_tls", Say(At::Listeners, Unsupported, "the load balancer decides whether clients need TLS")),
    listener("socket_domain", Code),
    listener("use_username_as_clientid", Say(At::Users, Unsupported, "clients keep their names: nobody may connect until then")),
    listener("websockets_origin", Code),
    listener("cafile", Code),
    tls("capath"),
    listener("certfile", Code),
    tls("ciphers"),
    tls("ciphers_tls1.3"),
    listener("crlfile", Code),
    tls("dhparamfile"),
    tls("disable_client_cert_date_checks"),
    listener("keyfile", Code),
    listener("require_certificate", Code),
    tls("tls_engine"),
    tls("tls_engine_kpass_sha1"),
    tls("tls_keyform"),
    tls("tls_version"),
    listener("use_identity_as_username", Code),
    listener("use_subject_as_username", Code),
    listener("psk_hint", Say(At::Listeners, Later, "pre-shared keys")),
    // Bridges.
    bridge("address"),
    bridge("addresses"),
    bridge("bridge_alpn"),
    bridge("bridge_attempt_unsubscribe"),
    bridge("bridge_bind_address"),
    bridge("bridge_cafile"),
    bridge("bridge_capath"),
    bridge("bridge_certfile"),
    bridge("bridge_ciphers"),
    bridge("bridge_ciphers_tls1.3"),
    bridge("bridge_identity"),
    bridge("bridge_insecure"),
    bridge("bridge_keyfile"),
    bridge("bridge_max_packet_size"),
    bridge("bridge_max_topic_alias"),
    bridge("bridge_outgoing_retain"),
    bridge("bridge_protocol_version"),
    bridge("bridge_psk"),
    bridge("bridge_receive_maximum"),
    bridge("bridge_reload_type"),
    bridge("bridge_require_ocsp"),
    bridge("bridge_session_expiry_interval"),
    bridge("bridge_tcp_keepalive"),
    bridge("bridge_tcp_user_timeout"),
    bridge("bridge_tls_use_os_certs"),
    bridge("bridge_tls_version"),
    bridge("cleansession"),
    bridge("clientid"),
    bridge("connection"),
    bridge("idle_timeout"),
    bridge("keepalive_interval"),
    bridge("local_cleansession"),
    bridge("local_clientid"),
    bridge("local_password"),
    bridge("local_username"),
    bridge("notification_topic"),
    bridge("notifications"),
    bridge("notifications_local_only"),
    bridge("password"),
    bridge("remote_clientid"),
    bridge("remote_password"),
    bridge("remote_username"),
    bridge("restart_timeout"),
    bridge("round_robin"),
    bridge("start_type"),
    bridge("threshold"),
    bridge("topic"),
    bridge("try_private"),
    bridge("username"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_option_is_there_once() {
        for (i, option) in OPTIONS.iter().enumerate() {
            assert!(
                OPTIONS[i + 1..].iter().all(|other| other.name != option.name),
                "{}",
                option.name
            );
        }
        assert!(find("auth_opt_x").is_some() && find("plugin_opt_y").is_some());
        assert!(find("ciphers_tls1.3").is_some() && find("nonsense").is_none());
    }

    /// What `conf.c` of a version from 1.4 to 2.1 reads and the manual of 2.0.11 does not have: other
    /// spellings, what is gone, what is new.
    #[test]
    fn old_and_new_options_are_known() {
        let names = "retained_persistence maximum_qos retry_interval store_clean_interval trace_level \
            trace_output ffdc_output max_log_entries enable_proxy_protocol \
            proxy_protocol_v2_require_tls accept_protocol_versions listener_auto_id_prefix \
            max_topic_alias_broker global_max_clients global_max_connections packet_buffer_size \
            plugin_load plugin_use global_plugin websockets_origin disable_client_cert_date_checks \
            bridge_receive_maximum bridge_session_expiry_interval bridge_ciphers bridge_tcp_keepalive";
        for name in names.split_whitespace() {
            assert!(find(name).is_some(), "{name}");
        }
        assert!(find("proxy_protocol_v2").is_none(), "no version has it");
    }

    /// The options of mosquitto.conf(5) 2.0.11, by name.
    #[test]
    fn the_manual_has_no_option_that_is_not_here() {
        let manual = "acl_file allow_anonymous allow_duplicate_messages allow_zero_length_clientid \
            auth_opt_x auth_plugin auth_plugin_deny_special_chars auto_id_prefix autosave_interval \
            autosave_on_changes check_retain_source clientid_prefixes connection_messages include_dir \
            log_dest log_facility log_timestamp log_timestamp_format log_type max_inflight_bytes \
            max_inflight_messages max_keepalive max_packet_size max_queued_bytes max_queued_messages \
            memory_limit message_size_limit password_file per_listener_settings persistence \
            persistence_file persistence_location persistent_client_expiration pid_file psk_file \
            queue_qos0_messages retain_available set_tcp_nodelay sys_interval upgrade_outgoing_qos user \
            bind_address bind_interface http_dir listener max_connections max_qos max_topic_alias \
            mount_point port protocol socket_domain use_username_as_clientid websockets_log_level \
            websockets_headers_size cafile capath certfile ciphers ciphers_tls1.3 crlfile dhparamfile \
            keyfile require_certificate tls_engine tls_engine_kpass_sha1 tls_keyform tls_version \
            use_identity_as_username use_subject_as_username psk_hint address addresses \
            bridge_attempt_unsubscribe bridge_bind_address bridge_max_packet_size \
            bridge_outgoing_retain bridge_protocol_version cleansession local_cleansession connection \
            keepalive_interval idle_timeout local_clientid local_password local_username notifications \
            notifications_local_only notification_topic remote_clientid remote_password \
            remote_username restart_timeout round_robin start_type threshold topic try_private \
            bridge_alpn bridge_cafile bridge_capath bridge_certfile bridge_identity bridge_insecure \
            bridge_keyfile bridge_psk bridge_require_ocsp bridge_tls_version";
        for name in manual.split_whitespace() {
            assert!(find(name).is_some(), "{name}");
        }
    }
}
