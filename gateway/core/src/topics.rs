//! Mount points: the prefix that stands before every topic of a listener (mapping.md §2.6).

use motegate_message::{Reason, SubscriptionFilter, TopicFilter, TopicName};

/// The final topic of a name that a client of this listener uses.
pub(crate) fn mount_name(mount: &str, name: TopicName) -> Result<TopicName, Reason> {
    if mount.is_empty() {
        return Ok(name);
    }
    TopicName::new(&[mount, name.as_str()].concat()).map_err(|_| Reason::BadTopic)
}

/// The final filter of one that a client of this listener uses.
pub(crate) fn mount_filter(
    mount: &str,
    filter: SubscriptionFilter,
) -> Result<SubscriptionFilter, Reason> {
    if mount.is_empty() {
        return Ok(filter);
    }
    let text = [mount, filter.filter.as_str()].concat();
    let mounted = TopicFilter::new(&text).map_err(|_| Reason::BadTopic)?;
    Ok(SubscriptionFilter { share: filter.share, filter: mounted })
}

/// Topics that are the broker's own to publish (mqtt.md, choice 15).
pub(crate) fn is_reserved(topic: &TopicName) -> bool {
    ["$SYS", "$share", "$CONTROL"].iter().any(|root| {
        topic
            .as_str()
            .strip_prefix(root)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_go_before_names_and_filters() {
        let name = TopicName::new("up").unwrap();
        assert_eq!(mount_name("", name.clone()).unwrap(), name);
        assert_eq!(mount_name("plant/", name).unwrap().as_str(), "plant/up");
        let shared = SubscriptionFilter::new("$share/g/+/up").unwrap();
        let mounted = mount_filter("plant/", shared).unwrap();
        assert_eq!((mounted.share.as_deref(), mounted.filter.as_str()), (Some("g"), "plant/+/up"));
        let long = TopicName::new(&"x".repeat(65_535)).unwrap();
        assert_eq!(mount_name("plant/", long), Err(Reason::BadTopic));
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
