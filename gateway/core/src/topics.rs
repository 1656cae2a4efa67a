//! Final topics: the mount point's prefix before every topic of a listener (mapping.md §2.6), and
//! the bounds that hold for all protocols alike.

use bytes::Bytes;
use motegate_mapping::MapError;
use motegate_mapping::payload::PayloadError;
use motegate_message::{
    Message, Properties, Qos, Reason, SessionKey, SubscriptionFilter, TopicFilter, TopicName,
};

/// Whether a final topic or filter is within `max_topic_levels` and `max_topic_length`: what goes
/// beyond, no MQTT client could name.
pub(crate) fn check_bounds(config: &motegate_mqtt::Config, topic: &str) -> Result<(), MapError> {
    let (levels, length) = (config.max_topic_levels, config.max_topic_length);
    let bad = |text| Err(MapError { reason: Reason::BadTopic, text });
    if topic.len() > length {
        return bad(format!("a topic has at most {length} bytes here (max_topic_length)"));
    }
    // The count stops at the bound; an ordinary topic is shorter than that.
    if topic.len() >= levels && topic.split('/').nth(levels).is_some() {
        return bad(format!("a topic has at most {levels} levels here (max_topic_levels)"));
    }
    Ok(())
}

/// The final topic of a name that an MQTT client of this listener uses. Without a mount it is the
/// name, whose bounds the endpoint has judged.
pub(crate) fn mount_name(
    config: &motegate_mqtt::Config,
    mount: &str,
    name: TopicName,
) -> Result<TopicName, Reason> {
    if mount.is_empty() {
        return Ok(name);
    }
    let mounted = [mount, name.as_str()].concat();
    check_bounds(config, &mounted).map_err(|error| error.reason)?;
    TopicName::lenient(&mounted).map_err(|_| Reason::BadTopic)
}

/// The final filter of one that an MQTT client of this listener uses.
pub(crate) fn mount_filter(
    config: &motegate_mqtt::Config,
    mount: &str,
    filter: SubscriptionFilter,
) -> Result<SubscriptionFilter, Reason> {
    if mount.is_empty() {
        return Ok(filter);
    }
    let text = [mount, filter.filter.as_str()].concat();
    check_bounds(config, &text).map_err(|error| error.reason)?;
    let mounted = TopicFilter::lenient(&text).map_err(|_| Reason::BadTopic)?;
    Ok(SubscriptionFilter { share: filter.share, filter: mounted })
}

/// Whether the client of a final filter sees topics only from its leading wildcard on: then those
/// that have a `$` there are not matched. [MQTT-4.7.2-1] Without a mount the broker needs no word.
pub(crate) fn spares_dollar(mount: &str, filter: &TopicFilter) -> bool {
    let own = filter.as_str().strip_prefix(mount).filter(|_| !mount.is_empty());
    own.is_some_and(|own| own.starts_with(['+', '#']))
}

/// Where payloads go that are not in their rule's format (`on_bad_payload: dead_letter`), each below
/// the topic that it was meant for. A leading `$` keeps them out of `#`.
const DEAD_LETTERS: &str = "$dead_letter/";

/// Where bridges tell of themselves; their client ids follow.
const BRIDGES: &str = "$SYS/broker/connection/";

/// A payload as it came, with what is known of it as user properties.
pub(crate) fn dead_letter(
    topic: &TopicFilter,
    payload: Bytes,
    client: &SessionKey,
    rule: &str,
    error: &PayloadError,
) -> Message {
    // Of a pack's records there is one topic with wildcards: its letter goes below their level.
    let topic = topic.as_str().replace(['+', '#'], "_");
    let topic = TopicName::lenient(&[DEAD_LETTERS, &topic].concat());
    let topic = topic.unwrap_or_else(|_| TopicName::new("$dead_letter").expect("a topic"));
    let user = [("reason", &*error.to_string()), ("rule", rule), ("client", client.client_id())];
    let user = user.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
    let mut message = Message::new(topic, payload);
    message.qos = Qos::AtLeastOnce;
    message.publisher = Some(client.clone());
    message.properties = Some(Box::new(Properties { user, ..Properties::default() }));
    message
}

/// Topics that are the broker's own to publish (mqtt.md, choice 15).
pub(crate) fn is_reserved(topic: &TopicName) -> bool {
    let Some(name) = topic.as_str().strip_prefix('$') else { return false };
    let root = name.split_once('/').map_or(name, |(root, _)| root);
    matches!(root, "SYS" | "share" | "CONTROL")
}

/// Whether an MQTT client may not publish a topic: the broker's own are closed to it, except the
/// one by which bridges say that they are there, each of itself only (mqtt.md, choice 15):
/// `$SYS/broker/connection/CLIENT_ID/state`.
pub(crate) fn is_closed_to(client: &SessionKey, topic: &TopicName) -> bool {
    let of_bridge = || topic.as_str().strip_prefix(BRIDGES)?.strip_suffix("/state");
    is_reserved(topic) && of_bridge() != Some(client.client_id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_go_before_names_and_filters() {
        let config = motegate_mqtt::Config::default();
        let name = TopicName::new("up").unwrap();
        assert_eq!(mount_name(&config, "", name.clone()).unwrap(), name);
        assert_eq!(mount_name(&config, "plant/", name).unwrap().as_str(), "plant/up");
        let shared = SubscriptionFilter::new("$share/g/+/up").unwrap();
        let mounted = mount_filter(&config, "plant/", shared).unwrap();
        assert_eq!((mounted.share.as_deref(), mounted.filter.as_str()), (Some("g"), "plant/+/up"));
        let long = TopicName::new(&"x".repeat(65_535)).unwrap();
        assert_eq!(mount_name(&config, "plant/", long), Err(Reason::BadTopic));
    }

    #[test]
    fn bounds_are_exact() {
        let config = motegate_mqtt::Config {
            max_topic_levels: 3,
            max_topic_length: 8,
            ..motegate_mqtt::Config::default()
        };
        for fits in ["a", "a/b/c", "//", "12345678"] {
            assert_eq!(check_bounds(&config, fits), Ok(()), "{fits}");
        }
        for (beyond, limit) in [("///", "levels"), ("a/b/c/", "levels"), ("123456789", "length")] {
            let error = check_bounds(&config, beyond).unwrap_err();
            assert_eq!(error.reason, Reason::BadTopic, "{beyond}");
            assert!(error.text.contains(&format!("max_topic_{limit}")), "{}", error.text);
        }
        let name = TopicName::new("a/b/c").unwrap();
        assert_eq!(mount_name(&config, "m/", name), Err(Reason::BadTopic));
        let filter = SubscriptionFilter::new("a/b/#").unwrap();
        assert_eq!(mount_filter(&config, "m/", filter), Err(Reason::BadTopic));
    }

    #[test]
    fn a_bridge_tells_of_itself_only() {
        let bridge = SessionKey::new("mqtt", "a/b");
        let closed = |topic: &str| is_closed_to(&bridge, &TopicName::new(topic).unwrap());
        assert!(!closed("$SYS/broker/connection/a/b/state"));
        assert!(!closed("plant/state"));
        for topic in [
            "$SYS/broker/connection/b/state",
            "$SYS/broker/connection/a/b/state/x",
            "$SYS/broker/connection//a/b/state",
            "$SYS/broker/connection/state",
            "$SYS/broker/uptime",
            "$CONTROL/x",
        ] {
            assert!(closed(topic), "{topic}");
        }
    }

    #[test]
    fn only_whole_first_levels_are_reserved() {
        for yes in ["$SYS", "$SYS/broker/uptime", "$CONTROL/x", "$share/g/t"] {
            assert!(is_reserved(&TopicName::new(yes).unwrap()), "{yes}");
        }
        for no in ["$SYSTEM", "a/$SYS", "$x/y"] {
            assert!(!is_reserved(&TopicName::new(no).unwrap()), "{no}");
        }
    }
}
