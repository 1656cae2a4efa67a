//! The topic names of a device and the ids that a gateway gave them.

use crate::{TopicId, is_reserved_topic_id};

/// The names that a device uses, known when it is built, and their ids: ten bytes a topic on a
/// 32-bit device, the names themselves are in flash.
///
/// An id holds as long as the session: [`forget`](Self::forget) after a clean CONNECT, and when a
/// PUBLISH was refused with [`InvalidTopicId`](crate::ReturnCode::InvalidTopicId).
///
/// ```
/// use motegate_mqtt_sn::TopicId;
/// use motegate_mqtt_sn::client::Topics;
///
/// let mut topics = Topics::new(["env/3/temperature", "env/3/interval"]);
/// assert_eq!(topics.unknown(), Some("env/3/temperature")); // for `Client::register`
/// topics.learn("env/3/temperature", 7); // from `Done::Register`
/// assert_eq!(topics.id(0), Some(TopicId::Normal(7)));
/// topics.learn("env/3/interval", 8); // from `Registered`: a wildcard was subscribed to
/// assert_eq!(topics.position(TopicId::Normal(8)), Some(1));
/// assert_eq!(topics.unknown(), None);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topics<'n, const T: usize> {
    names: [&'n str; T],
    /// 0x0000, which is reserved, for none.
    ids: [u16; T],
}

impl<'n, const T: usize> Topics<'n, T> {
    /// These names, none with an id yet.
    #[must_use]
    pub const fn new(names: [&'n str; T]) -> Self {
        Topics { names, ids: [0; T] }
    }

    /// The id of the topic at `position`; `None` without one.
    #[must_use]
    pub fn id(&self, position: usize) -> Option<TopicId> {
        self.ids.get(position).filter(|id| **id != 0).map(|id| TopicId::Normal(*id))
    }

    /// Which of the topics a message is about.
    #[must_use]
    pub fn position(&self, topic: TopicId) -> Option<usize> {
        let TopicId::Normal(id) = topic else { return None };
        self.ids.iter().position(|known| *known != 0 && *known == id)
    }

    /// The first name without an id: to be registered.
    #[must_use]
    pub fn unknown(&self) -> Option<&'n str> {
        self.names.iter().zip(&self.ids).find(|(_, id)| **id == 0).map(|(name, _)| *name)
    }

    /// Keeps the id of a name; `false` when it is none of ours, or the id is reserved (§5.3.11).
    pub fn learn(&mut self, name: &str, id: u16) -> bool {
        if is_reserved_topic_id(id) {
            return false;
        }
        // An id names one topic: a gateway that gives it anew has forgotten the old one.
        for known in self.ids.iter_mut().filter(|known| **known == id) {
            *known = 0;
        }
        let found = self.names.iter().zip(&mut self.ids).find(|(known, _)| **known == name);
        found.map(|(_, known)| *known = id).is_some()
    }

    /// Forgets every id.
    pub fn forget(&mut self) {
        self.ids = [0; T];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_names_one_topic() {
        let mut topics = Topics::new(["a", "b"]);
        assert!(topics.learn("a", 1));
        assert!(topics.learn("b", 1));
        assert_eq!((topics.id(0), topics.id(1)), (None, Some(TopicId::Normal(1))));
        assert_eq!(topics.unknown(), Some("a"));
    }

    #[test]
    fn strangers_and_reserved_ids_are_not_kept() {
        let mut topics = Topics::new(["a"]);
        assert!(!topics.learn("c", 1));
        assert!(!topics.learn("a", 0) && !topics.learn("a", 0xffff));
        assert_eq!((topics.id(0), topics.id(1)), (None, None));
        assert_eq!(topics.position(TopicId::Normal(0)), None);
        assert!(topics.learn("a", 5));
        assert_eq!(topics.position(TopicId::Predefined(5)), None);
        topics.forget();
        assert_eq!(topics.position(TopicId::Normal(5)), None);
    }
}
