//! What an MQTT-SN client subscribed to, in its own words, and what that is for the broker.
//!
//! A word is a name, a pre-defined topic id or a short name; the rules say which topic filter it is.
//! Several words may be one filter: the broker then holds it once, at the highest QoS of them, and
//! until the last of them is gone. When the rules change the words stay.

use std::collections::BTreeMap;
use std::sync::Arc;

use motegate_broker::{Request, RetainHandling, Subscribe};
use motegate_mapping::{Caller, Table};
use motegate_message::{Qos, Seq, SessionId, SubscriptionFilter, TopicFilter};
use motegate_mqtt_sn::endpoint::{ClientRef, Filter};

use super::sn_filter;
use crate::Core;
use crate::pending::Pending;
use crate::topics::{check_bounds, spares_dollar};

/// Other subscriptions for a session.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Resubscription {
    from: Vec<TopicFilter>,
    to: BTreeMap<TopicFilter, Qos>,
    /// Of its listener.
    mount: Arc<str>,
}

impl Resubscription {
    pub(crate) fn is_empty(&self) -> bool {
        self.from.is_empty() && self.to.is_empty()
    }
}

impl Core {
    pub(super) fn sn_subscribe(
        &mut self,
        client: ClientRef,
        session: SessionId,
        ticket: u64,
        filter: &Filter,
        qos: Qos,
    ) {
        let mapped = self.sn_map(client, sn_filter(filter)).and_then(|mapped| {
            check_bounds(self.sn_bounds(client), mapped.topic.as_str())?;
            Ok(mapped)
        });
        match mapped {
            Ok(mapped) => {
                let ticket = self.pending.insert(Pending::SnSubscribe { ticket, qos });
                let others = self.sn_others(client, session, filter, &mapped.topic);
                let mount = self.sn_mount(client);
                let qos = others.map_or(qos, |o| o.max(qos));
                let filters = vec![subscribe(&mount, mapped.topic, qos)];
                let own = self.sn.peer(client).and_then(|peer| self.config.own(peer.listener));
                let most = own.map(|own| own.subscriptions);
                self.ask(Request::Subscribe { ticket, session, filters, most });
            }
            Err(error) => {
                let reason = self.sn_refused(client, error);
                self.sn.subscribed(&self.turn, ticket, Err(reason));
            }
        }
    }

    pub(super) fn sn_unsubscribe(
        &mut self,
        client: ClientRef,
        session: SessionId,
        ticket: u64,
        filter: &Filter,
    ) {
        match self.sn_map(client, sn_filter(filter)) {
            Ok(mapped) => {
                if let Some(qos) = self.sn_others(client, session, filter, &mapped.topic) {
                    // Another word is the same filter: it stays, at what that one was granted.
                    let after = self.sn_keep_at(client, session, mapped.topic, qos);
                    self.sn.unsubscribed(&self.turn, ticket, after);
                    return;
                }
                let ticket = self.pending.insert(Pending::SnUnsubscribe { ticket });
                let filter = SubscriptionFilter { share: None, filter: mapped.topic };
                self.ask(Request::Unsubscribe { ticket, session, filters: vec![filter] });
            }
            Err(error) => {
                // UNSUBACK has no code: what is not subscribed is not subscribed afterwards.
                self.sn_refused(client, error);
                self.sn.unsubscribed(&self.turn, ticket, Seq::NONE);
            }
        }
    }

    /// A subscription goes on at this QoS, without its retained messages coming again.
    fn sn_keep_at(
        &mut self,
        client: ClientRef,
        session: SessionId,
        filter: TopicFilter,
        qos: Qos,
    ) -> Seq {
        let retain_handling = RetainHandling::Never;
        let filter =
            Subscribe { retain_handling, ..subscribe(&self.sn_mount(client), filter, qos) };
        let ticket = self.pending.insert(Pending::Nothing);
        let filters = vec![filter];
        self.ask_quietly(Request::Subscribe { ticket, session, filters, most: None })
    }

    fn sn_mount(&self, client: ClientRef) -> Arc<str> {
        let known = self.sn.known(client);
        known.map_or_else(Arc::default, |known| self.listener(known.peer.listener).mount.clone())
    }

    /// The highest QoS of other words of the client that are this filter.
    fn sn_others(
        &self,
        client: ClientRef,
        session: SessionId,
        word: &Filter,
        filter: &TopicFilter,
    ) -> Option<Qos> {
        let known = self.sn.known(client)?;
        let caller = self.sn_caller(known.key, known.peer);
        let others = self.sn.subscribed_of(session).filter(|(other, _)| other != word);
        let is_same = |other: &Filter| {
            self.table.sn(&caller, sn_filter(other)).is_ok_and(|mapped| mapped.topic == *filter)
        };
        others.filter(|(other, _)| is_same(other)).map(|(_, qos)| *qos).max()
    }

    /// What a session must be subscribed to by these rules instead of what it is subscribed to.
    /// A word that meant something else `before` is subscribed anew, for the value that its new
    /// topic has.
    pub(crate) fn sn_resubscription(
        &self,
        session: SessionId,
        before: Option<(&Table, &Caller<'_>)>,
        (table, caller): (&Table, &Caller<'_>),
    ) -> Resubscription {
        let (mut wanted, mut again) = (BTreeMap::new(), Vec::new());
        for (word, qos) in self.sn.subscribed_of(session) {
            let Ok(mapped) = table.sn(caller, sn_filter(word)) else { continue };
            let old = before.and_then(|(table, caller)| table.sn(caller, sn_filter(word)).ok());
            if old.is_some_and(|old| old.topic != mapped.topic) {
                again.push(mapped.topic.clone());
            }
            let highest = wanted.entry(mapped.topic).or_insert(*qos);
            *highest = (*highest).max(*qos);
        }
        let mut from = Vec::new();
        for held in self.broker.subscriptions_of(session, usize::MAX) {
            match wanted.get(&held.filter) {
                // The client made it over MQTT (two listeners may share a realm): it stays.
                _ if !held.by_rule => {
                    wanted.remove(&held.filter);
                }
                None => from.push(held.filter),
                Some(qos) if *qos == held.qos && !again.contains(&held.filter) => {
                    wanted.remove(&held.filter);
                }
                Some(_) => {}
            }
        }
        Resubscription { from, to: wanted, mount: caller.mount.into() }
    }

    /// Subscriptions held since the client was last here follow the rules of today.
    pub(super) fn sn_follow_rules(&mut self, client: ClientRef) {
        let Some(known) = self.sn.known(client) else { return };
        let session = known.session;
        let caller = self.sn_caller(known.key, known.peer);
        let change = self.sn_resubscription(session, None, (&self.table, &caller));
        self.sn_resubscribe(session, change);
    }

    /// What waits because of the old filters goes on waiting: it was acknowledged.
    pub(crate) fn sn_resubscribe(&mut self, session: SessionId, change: Resubscription) {
        if change.is_empty() {
            return;
        }
        let from = |filter| SubscriptionFilter { share: None, filter };
        let from = change.from.into_iter().map(from).collect();
        let to = change.to.into_iter();
        let to = to.map(|(filter, qos)| subscribe(&change.mount, filter, qos)).collect();
        let ticket = self.pending.insert(Pending::Nothing);
        self.ask(Request::Resubscribe { ticket, session, from, to });
    }

    /// No subscription from now on; what waits goes on waiting.
    pub(crate) fn sn_hears_no_more(&mut self, session: SessionId) {
        let held = self.broker.subscriptions_of(session, usize::MAX);
        let from = held.into_iter().filter(|held| held.by_rule).map(|held| held.filter).collect();
        self.sn_resubscribe(session, Resubscription { from, ..Resubscription::default() });
    }
}

fn subscribe(mount: &str, filter: TopicFilter, qos: Qos) -> Subscribe {
    Subscribe {
        spares_dollar: spares_dollar(mount, &filter),
        by_rule: true,
        hears_expiry: false,
        filter: SubscriptionFilter { share: None, filter },
        qos,
        no_local: false,
        retain_as_published: false,
        retain_handling: RetainHandling::Always,
        identifier: None,
    }
}
