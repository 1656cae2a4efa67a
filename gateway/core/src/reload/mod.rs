//! Another configuration while everybody stays connected (mapping.md §2.18).
//!
//! What the new rules mean for each client is worked out first ([`Plan`]) and only then done, so
//! that a dry run ([`Core::preview`]) tells exactly what a reload would do. An observation whose
//! topic is another now moves there, one that no rule takes gets a final 4.04; an MQTT-SN
//! subscription by number follows its number, and an active client whose registered names mean
//! another topic is disconnected, so that it registers anew, once what waits for it has been
//! delivered if its session ends with that; a sleeping one is not woken.
//! Which listener is which is the caller's to say ([`Reload`]); whoever is on a removed one is
//! disconnected, as is whoever came in anonymously where that is no longer allowed, or by a password
//! that counts no more. The work grows
//! with the number of clients, once a reload; those that are away are followed too, and after a
//! restart when they come back.
//!
//! Nothing that waits for a client is dropped. Left as it is: what was settled with a client when
//! it connected.

mod plan;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use motegate_broker::{Request, RetainHandling, Subscribe};
use motegate_coap::endpoint::ObservationId;
use motegate_mapping::Table;
use motegate_message::{ListenerId, Reason, SubscriptionFilter};
use motegate_mqtt_sn::endpoint::ClientRef;

use self::plan::{Moved, ObservationPlan, SnPlan};
use crate::access::Target;
use crate::notice::NoticeKind;
use crate::pending::Pending;
use crate::sn::{ROOM, notice};
use crate::topics::spares_dollar;
use crate::{Config, Core, Protocol};

/// A configuration to change to.
#[derive(Debug, Clone)]
pub struct Reload {
    /// A listener that goes on has its old place, also under another name; `durable` and `max_uncommitted_bytes` stay as they
    /// were at the start.
    pub config: Config,
    /// The rules.
    pub table: Arc<Table>,
    /// Listeners that are no more.
    pub removed: Vec<ListenerId>,
    /// Listeners of datagrams that have another address: their clients are told to leave by the
    /// old one.
    pub moved: Vec<ListenerId>,
}

/// What a reload does to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touched {
    /// What it speaks.
    pub protocol: Protocol,
    /// Its name.
    pub client: String,
    /// Its address, or its forwarder's.
    pub peer: Option<SocketAddr>,
    /// What happens.
    pub change: Change,
}

/// A change for a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Its listener is removed, or its sessions or topics are others there: it is disconnected.
    ListenerChanged {
        /// The listener's name.
        listener: String,
    },
    /// Its listener has another address: it is told to leave, and has to come there.
    ListenerMoved {
        /// The listener's name.
        listener: String,
        /// It sleeps, and is told nothing.
        asleep: bool,
    },
    /// Its listener takes no anonymous clients any more: it is disconnected.
    ListenerClosed {
        /// The listener's name.
        listener: String,
    },
    /// Its user was removed or has another password: it is disconnected.
    UserRevoked {
        /// The user's name.
        user: String,
        /// There is no such user any more.
        removed: bool,
    },
    /// An observation follows its path to another topic.
    ObservationMoved {
        /// Of which path.
        path: String,
        /// The old topic.
        before: String,
        /// The new topic.
        after: String,
    },
    /// An observation ends with a final 4.04.
    ObservationEnded {
        /// Of which path.
        path: String,
        /// Why: what the new rules say.
        text: String,
    },
    /// A topic id, short name or registered name means another topic, or none any more.
    TopicChanged {
        /// `id 10`, `short tt` or `name d/temp`.
        topic: String,
        /// The old topic.
        before: String,
        /// The new topic; `None`: it is refused from now on.
        after: Option<String>,
        /// Whether the client is disconnected, so that it registers anew.
        disconnected: bool,
    },
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::ListenerChanged { listener } => {
                write!(f, "is disconnected: listener {listener} is another or none")
            }
            Change::ListenerMoved { listener, asleep: false } => {
                write!(f, "is disconnected: listener {listener} has another address")
            }
            Change::ListenerMoved { listener, asleep: true } => {
                write!(f, "sleeps, and has to find listener {listener} at another address")
            }
            Change::ListenerClosed { listener } => {
                write!(
                    f,
                    "is disconnected: listener {listener} takes no anonymous clients any more"
                )
            }
            Change::UserRevoked { user, removed: true } => {
                write!(f, "is disconnected: there is no user {user} any more")
            }
            Change::UserRevoked { user, removed: false } => {
                write!(f, "is disconnected: user {user} has another password")
            }
            Change::ObservationMoved { path, before, after } => {
                write!(f, "observes {path}: {before} → {after}")
            }
            Change::ObservationEnded { path, text } => {
                write!(f, "loses its observe of {path} ({text}): one final 4.04")
            }
            Change::TopicChanged { topic, before, after, disconnected } => {
                let after = after.as_deref().unwrap_or("nothing");
                write!(f, "{topic}: {before} → {after}")?;
                if *disconnected {
                    f.write_str(" (is disconnected, registers anew)")
                } else {
                    Ok(())
                }
            }
        }
    }
}
impl Core {
    /// What a reload would do, by client.
    #[must_use]
    pub fn preview(&self, reload: &Reload) -> Vec<Touched> {
        self.plan(reload).touched
    }

    /// Changes over; the caller has opened the sockets of new listeners.
    pub(crate) fn reload(&mut self, reload: Reload) -> Vec<Touched> {
        let plan = self.plan(&reload);
        let Reload { mut config, table, .. } = reload;
        config.durable = self.config.durable;
        config.max_uncommitted_bytes = self.config.max_uncommitted_bytes;
        self.broker.reconfigure(config.broker);
        self.mqtt.reconfigure_listeners(config.mqtt.clone(), config.mqtt_by_listener());
        self.sn.reconfigure(config.sn());
        self.sn.bound_listeners(config.sn_by_listener());
        self.coap.reconfigure(config.coap.clone());
        self.coap.bound_listeners(config.coap_by_listener());
        if config.connect_rates() != self.config.connect_rates() {
            self.admission.forget_rates();
            self.sn_admission.forget_rates();
        }
        self.config = config;
        self.table = table;
        self.sys_reconfigure();
        for conn in plan.mqtt {
            self.mqtt_moved(conn);
        }
        for conn in plan.revoked {
            self.mqtt_revoked(conn);
        }
        for moved in plan.mounts {
            self.move_mount(moved);
        }
        for plan in plan.sn {
            self.sn_reload(plan);
        }
        for (observation, plan) in plan.observations {
            self.observation_reload(observation, plan);
        }
        for id in plan.passes {
            self.end_pass(id, Reason::ConfigReload, None);
        }
        for conn in plan.coap {
            self.coap.close(&self.turn, conn, Reason::ConfigReload);
        }
        plan.touched
    }
    fn sn_reload(&mut self, plan: SnPlan) {
        self.sn_resubscribe(plan.session, plan.change);
        let Some(client) = plan.close else { return };
        let kept = self.broker.session(plan.session).is_some_and(|session| session.kept);
        if self.sn.known(client).is_none() {
            return;
        }
        if kept || plan.at_once {
            return self.sn_send_away(client, Reason::ConfigReload);
        }
        // Its session ends with its connection, and what waits was acknowledged: it leaves first.
        self.sn_leaving.insert(client, Reason::ConfigReload);
        self.sn_hears_no_more(plan.session);
        let (ticket, session, window, room) = (0, plan.session, 1, ROOM);
        self.ask(Request::Drain { ticket, session, window, room });
    }

    /// A client is disconnected and will connect anew.
    pub(crate) fn sn_send_away(&mut self, client: ClientRef, reason: Reason) {
        self.sn_leaving.remove(&client);
        let Some(known) = self.sn.known(client) else { return };
        let (session, notice) = (known.session, notice(known, NoticeKind::Disconnected(reason)));
        self.sn.close(&self.turn, client, reason);
        // It is on its way back: its will would only alarm.
        let handle = Target::Sn(client).to_handle();
        self.ask(Request::Close { session, handle, drop_will: true, expiry: None });
        self.notice(notice);
    }

    /// The subscriptions of an MQTT session stand below another mount from now on.
    fn move_mount(&mut self, moved: Moved) {
        let Moved { session, mount, filters: moved } = moved;
        let (mut from, mut to) = (Vec::with_capacity(moved.len()), Vec::new());
        for (held, filter) in moved {
            to.push(Subscribe {
                spares_dollar: spares_dollar(&mount, &filter),
                by_rule: held.by_rule,
                hears_expiry: false,
                filter: SubscriptionFilter { share: held.share.clone(), filter },
                qos: held.qos,
                no_local: held.no_local,
                retain_as_published: held.retain_as_published,
                retain_handling: RetainHandling::Never,
                identifier: held.identifier,
            });
            from.push(SubscriptionFilter { share: held.share, filter: held.filter });
        }
        let ticket = self.pending.insert(Pending::Nothing);
        self.ask(Request::Resubscribe { ticket, session, from, to });
    }

    fn observation_reload(&mut self, id: ObservationId, plan: ObservationPlan) {
        match plan {
            ObservationPlan::End(code) => self.finish_observation(id, code),
            ObservationPlan::Keep { meaning } => {
                if let Some(known) = self.observations.get_mut(&id) {
                    known.meaning = meaning;
                }
            }
            ObservationPlan::Move { before, after, meaning } => {
                self.move_observation(id, before, after, meaning);
            }
        }
    }
}
