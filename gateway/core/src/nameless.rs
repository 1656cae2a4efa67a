//! Messages of an MQTT session that its present listener has no name for: a session may roam between
//! the listeners of its realm, and a subscription made below one mount goes on while it is connected
//! below another.
//!
//! What was acknowledged to its publisher is not lost for that: it stays open, outside the window, until
//! the session comes back to a listener that can name it, within the bounds of the session's queue
//! ([`Request::PutAside`]); it expires as it would there. QoS 0 is not kept, as for a session that is
//! away.

use motegate_broker::Request;
use motegate_message::{ConnectionId, Delivery, ListenerId, Qos, Reason, SessionId};

use crate::{Core, Notice, NoticeKind};

impl Core {
    /// A message that does not lie below the mount of the connection's listener.
    pub(crate) fn mqtt_nameless(
        &mut self,
        session: SessionId,
        conn: ConnectionId,
        listener: ListenerId,
        delivery: &Delivery,
    ) {
        self.mqtt.pass_over(&self.turn, conn, delivery);
        if !self.is_of_another_mount(session, listener, delivery) {
            return self.ask(Request::Ack { session, delivery: delivery.id });
        }
        if delivery.qos == Qos::AtMostOnce {
            return self.tell_nameless(conn, NoticeKind::Dropped(Reason::NoReceiver), None);
        }
        if self.nameless.insert(conn) {
            let text = "messages of another listener's mount have no name on this one: they wait";
            self.tell_nameless(conn, NoticeKind::Limited, Some(text));
        }
        self.ask(Request::PutAside { session, delivery: delivery.id });
    }

    /// Whether a message came by a subscription that was made elsewhere. `a/#` matches `a` itself,
    /// which lies outside the mount `a/` and has no name inside it.
    fn is_of_another_mount(
        &self,
        session: SessionId,
        listener: ListenerId,
        delivery: &Delivery,
    ) -> bool {
        let (mount, topic) = (&*self.listener(listener).mount, &delivery.message.topic);
        if mount.strip_suffix('/') != Some(topic.as_str()) {
            return true;
        }
        let held = self.broker.subscriptions_of(session, usize::MAX);
        let elsewhere = |filter: &str| !filter.starts_with(mount);
        held.iter().any(|held| elsewhere(held.filter.as_str()) && held.filter.matches(topic))
    }

    fn tell_nameless(&mut self, conn: ConnectionId, kind: NoticeKind, text: Option<&str>) {
        let Some(client) = self.mqtt_client(conn) else { return };
        let limit = (kind == NoticeKind::Limited).then_some("mount");
        let notice = Notice { limit, text: text.map(str::to_owned), ..client.notice(kind) };
        self.notice(notice);
    }
}
