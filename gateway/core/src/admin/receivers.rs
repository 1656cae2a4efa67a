//! Where a message would go.

use motegate_broker::{Reach, Receiver as Matched};
use motegate_message::{Qos, TopicName};

use super::{Group, MAX_PAGE, Receiver, Receivers};
use crate::{Core, Protocol};

impl Core {
    pub(super) fn receivers(
        &mut self,
        topic: &TopicName,
        qos: Qos,
        from: u32,
        limit: usize,
    ) -> Receivers {
        let matched = self.broker.receivers(topic, qos, from, limit);
        let full = matched.len() == limit;
        let last = matched.last().map_or(0, |last| last.session.slot());
        let next = u32::try_from(last + 1).ok().filter(|_| full);
        let groups = match from {
            0 => self.broker.groups_of(topic, qos, MAX_PAGE),
            _ => Vec::new(),
        };
        let group = |group: motegate_broker::GroupView| Group {
            share: group.share,
            filter: group.filter.as_str().to_owned(),
            members: group.members,
            next: group.next.and_then(|next| self.receiver(&next)),
        };
        Receivers {
            receivers: matched.iter().filter_map(|matched| self.receiver(matched)).collect(),
            groups: groups.into_iter().map(group).collect(),
            next,
        }
    }

    fn receiver(&self, matched: &Matched) -> Option<Receiver> {
        let session = self.broker.session(matched.session)?;
        let (client, path) = self.client_of(&session)?;
        // An observer's queue is the latest value.
        let queues = matched.reach == Reach::Queued && client.protocol != Protocol::Coap;
        let most = session.queue.max_messages;
        let place = (u64::from(session.queued_messages) + 1).min(u64::from(most));
        Some(Receiver {
            client,
            qos: matched.qos,
            filters: matched.filters,
            no_local: matched.no_local,
            reach: matched.reach,
            place: queues.then_some((place, most)),
            path,
        })
    }
}
