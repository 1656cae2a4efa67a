//! What the clients of a run do: [`Action`], and the choice of the next one from what they know.

use super::Kind;
use super::reference::{Reference, Session};
use super::wire::{
    self, Carried, Connect, Item, Outgoing, PUBACK, PUBCOMP, PUBREC, Version, WillSpec,
};
use crate::sim::payload::payload;
use crate::sim::rng::Rng;

/// Something that a client does.
#[derive(Debug, Clone)]
pub enum Action {
    /// Opens a connection and says CONNECT.
    Connect(usize, u32, Box<Connect>),
    /// Loses it.
    Lose(u32),
    /// DISCONNECT: code, expiry.
    Goodbye(u32, u8, Option<u32>),
    /// SUBSCRIBE: identifier, filters, subscription identifier.
    Subscribe(u32, u16, Vec<Item>, Option<u32>),
    /// UNSUBSCRIBE.
    Unsubscribe(u32, u16, Vec<String>),
    /// PUBLISH.
    Publish(u32, Outgoing),
    /// PUBREL.
    Release(u32, u16),
    /// PUBACK, PUBREC or PUBCOMP: kind, identifier, code.
    Acknowledge(u32, u8, u16, u8),
}

impl Action {
    /// Whether it may end a connection: what was said before must have been heard first.
    #[must_use]
    pub fn ends(&self) -> bool {
        let leaves = matches!(self, Action::Unsubscribe(..)); // what moves is seen to move
        leaves || matches!(self, Action::Connect(..) | Action::Lose(_) | Action::Goodbye(..))
    }

    /// Whether both acknowledge the same.
    #[must_use]
    pub fn is_same_acknowledgement(&self, other: &Action) -> bool {
        let of = |action: &Action| match action {
            Action::Acknowledge(conn, _, pid, _) => Some((*conn, *pid)),
            _ => None,
        };
        of(self).is_some() && of(self) == of(other)
    }

    /// On which connection, and the bytes.
    #[must_use]
    pub fn bytes(&self, v5: bool) -> Option<(u32, Vec<u8>)> {
        Some(match self {
            Action::Connect(_, conn, c) => (*conn, wire::connect(c)),
            Action::Lose(_) => return None,
            Action::Goodbye(conn, code, expiry) => (*conn, wire::disconnect(v5, *code, *expiry)),
            Action::Subscribe(conn, pid, items, id) => {
                (*conn, wire::subscribe(v5, *pid, items, *id))
            }
            Action::Unsubscribe(conn, pid, filters) => {
                (*conn, wire::unsubscribe(v5, *pid, filters))
            }
            Action::Publish(conn, p) => (*conn, wire::publish(v5, p)),
            Action::Release(conn, pid) => (*conn, wire::ack(wire::PUBREL, *pid, 0)),
            Action::Acknowledge(conn, kind, pid, code) => (*conn, wire::ack(*kind, *pid, *code)),
        })
    }

    /// The same for the reference.
    pub fn apply(&self, to: &mut Reference) {
        match self {
            Action::Connect(who, conn, c) => to.connect(*who, *conn, c),
            Action::Lose(conn) => to.close(*conn),
            Action::Goodbye(conn, code, expiry) => to.goodbye(*conn, *code, *expiry),
            Action::Subscribe(conn, pid, items, id) => to.subscribe(*conn, *pid, items, *id),
            Action::Unsubscribe(conn, pid, filters) => to.unsubscribe(*conn, *pid, filters),
            Action::Publish(conn, p) => to.publish(*conn, p),
            Action::Release(conn, pid) => to.release(*conn, *pid),
            Action::Acknowledge(conn, kind, pid, code) => {
                to.acknowledge(*conn, *kind, *pid, *code);
            }
        }
    }
}

const TOPICS: [&str; 9] = ["a", "a/b", "a/b/c", "b", "a/", "/", "$x/y", "a/c", "b/c"];
const FILTERS: [&str; 14] =
    ["#", "+", "a/#", "a/+", "+/b", "a/b", "$x/#", "/", "+/+", "a", "b", "a/b/c", "+/c", "b/#"];
/// Groups that go for the same topics: copies of one message out of two of them are told apart by
/// their subscription identifiers, of which each group has its own.
const OVERLAPPING: [&str; 7] = [
    "$share/g/a/#",
    "$share/h/a/+",
    "$share/g/#",
    "$share/g/a/b",
    "$share/h/a/#",
    "$share/g/$x/#",
    "$share/g/+",
];
/// In each of these no topic goes to two groups, so that nothing need tell copies apart.
const APART: [&[&str]; 4] = [
    &["$share/g/a/#", "$share/h/b/#", "$share/g/$x/#"],
    &["$share/h/a/+", "$share/g/+", "$share/g/a/b/c", "$share/g/$x/#"],
    &["$share/g/#", "$share/g/$x/#"],
    &["$share/g/a/b", "$share/h/+/c", "$share/g/+", "$share/g/$x/#"],
];
/// The first identifier of a group.
const IDS_OF_GROUPS: u32 = 1_000;

/// The author of a run.
#[derive(Debug)]
pub struct Script {
    kind: Kind,
    /// The shared filters of this run.
    shared: &'static [&'static str],
    /// Of a thousand; who is lazy acknowledges late.
    lazy: Vec<u64>,
    conns: u32,
    messages: u32,
    pids: u16,
}

impl Script {
    /// For so many clients.
    #[must_use]
    pub fn new(rng: &mut Rng, kind: Kind, clients: usize) -> Self {
        let lazy = (0..clients).map(|_| *rng.pick(&[100, 500, 950])).collect();
        let shared = if kind.overlap { &OVERLAPPING } else { *rng.pick(&APART) };
        Script { kind, shared, lazy, conns: 0, messages: 0, pids: 0 }
    }

    /// All topics of a run.
    #[must_use]
    pub fn topics(clients: usize) -> Vec<String> {
        let wills = (0..clients).map(|who| format!("a/w{who}"));
        TOPICS.iter().map(ToString::to_string).chain(wills).collect()
    }

    fn conn(&mut self) -> u32 {
        self.conns += 1;
        self.conns
    }

    fn pid(&mut self) -> u16 {
        self.pids = self.pids % 40_000 + 1;
        self.pids
    }

    /// A connection that stays: what it takes is only bounded by the gateway.
    pub fn come_back(&mut self, who: usize) -> Action {
        let connect = Connect {
            version: Version::V5,
            bridge: false,
            id: format!("c{who}"),
            clean: false,
            expiry: 10_000,
            receive_maximum: 0,
            max_packet: 0,
            aliases: 0,
            will: None,
        };
        Action::Connect(who, self.conn(), Box::new(connect))
    }

    fn connect(&mut self, rng: &mut Rng, who: usize, known: bool) -> Action {
        let versions = [Version::V5, Version::V5, Version::V5, Version::V311, Version::V31];
        let version = if self.kind.overlap { Version::V5 } else { *rng.pick(&versions) };
        let will = (self.kind.wills && rng.chance(400)).then(|| {
            let qos = u8::try_from(rng.below(3)).unwrap_or(0);
            let spec = WillSpec {
                topic: format!("a/w{who}"),
                payload: payload(self.message()),
                qos,
                retain: rng.chance(300) && !self.kind.limits,
                delay: *rng.pick(&[0, 0, 1, 3, 15]),
                expiry: rng.chance(200).then(|| u32::try_from(rng.below(8)).unwrap_or(0)),
            };
            if version == Version::V5 { spec } else { WillSpec { delay: 0, expiry: None, ..spec } }
        });
        let max_packet =
            if self.kind.sizes && rng.chance(250) { *rng.pick(&[40, 60, 90]) } else { 0 };
        let clean = rng.chance(200);
        // What becomes, at a crash, of a session that was to last and now ends with its connection
        // depends on what of its queue was still on disk only.
        let lasts = self.kind.crashes && known && !clean;
        let expiry = *rng.pick(&[0, 0, 1, 5, 20, 300, u32::MAX]);
        let connect = Connect {
            version,
            bridge: version != Version::V5 && rng.chance(150),
            id: format!("c{who}"),
            clean,
            expiry: if lasts { expiry.max(1) } else { expiry },
            receive_maximum: *rng.pick(&[0, 1, 2, 3, 10]),
            max_packet,
            aliases: if max_packet > 0 { 0 } else { *rng.pick(&[0, 0, 1, 3]) },
            will,
        };
        Action::Connect(who, self.conn(), Box::new(connect))
    }

    fn message(&mut self) -> u32 {
        self.messages += 1;
        self.messages
    }

    /// What happens next; `reference` knows what the client knows. `None`: nothing comes to mind.
    pub fn next(&mut self, rng: &mut Rng, reference: &Reference) -> Option<Action> {
        let who = rng.index(self.lazy.len());
        let session = reference.sessions.get(&who);
        let open = session.and_then(|s| Some((s, s.link.as_ref()?)));
        let Some((session, link)) = open else {
            return rng.chance(600).then(|| self.connect(rng, who, session.is_some()));
        };
        let (conn, v5) = (link.conn, link.version == Version::V5);
        Some(match rng.below(100) {
            0..38 => self.publish(rng, conn, v5, session),
            38..70 => return self.acknowledge(rng, who, conn, v5, session),
            70..83 => {
                let pid = self.pid();
                let count = if rng.chance(300) { 2 + rng.index(2) } else { 1 };
                let mut items: Vec<Item> = (0..count).map(|_| self.item(rng)).collect();
                let mut id = rng.chance(500).then(|| *rng.pick(&[1, 2, 127, 128, 268_435_455]));
                let of_group = |item: &Item| self.shared.iter().position(|s| *s == item.filter);
                if self.kind.overlap
                    && let Some((at, group)) =
                        items.iter().enumerate().find_map(|(at, item)| Some((at, of_group(item)?)))
                {
                    items = vec![items.swap_remove(at)];
                    id = u32::try_from(group * 3 + rng.index(3)).ok().map(|n| IDS_OF_GROUPS + n);
                }
                Action::Subscribe(conn, pid, items, id)
            }
            83..87 => {
                let pid = self.pid();
                let mut filters = Vec::new();
                for _ in 0..=rng.index(2) {
                    let own: Vec<&str> =
                        session.subscriptions.iter().map(|s| s.text.as_str()).collect();
                    let from = if own.is_empty() || rng.chance(150) { &FILTERS[..] } else { &own };
                    filters.push((*rng.pick(from)).to_string());
                }
                Action::Unsubscribe(conn, pid, filters)
            }
            87..90 => self.connect(rng, who, true),
            90..94 => Action::Lose(conn),
            94..97 => {
                let code = if v5 { *rng.pick(&[0, 0, 4]) } else { 0 };
                let expiry =
                    (v5 && link.lasting && rng.chance(400)).then(|| *rng.pick(&[0, 1, 7, 100]));
                Action::Goodbye(conn, code, expiry)
            }
            _ => {
                let held: Vec<u16> = session.held.keys().copied().collect();
                let pid =
                    if held.is_empty() || rng.chance(100) { 50_000 } else { *rng.pick(&held) };
                Action::Release(conn, pid)
            }
        })
    }

    fn item(&mut self, rng: &mut Rng) -> Item {
        let shared = self.kind.shared && rng.chance(400);
        let filter = if shared { *rng.pick(self.shared) } else { *rng.pick(&FILTERS) };
        Item {
            filter: filter.into(),
            qos: u8::try_from(rng.below(3)).unwrap_or(0),
            no_local: !shared && rng.chance(200),
            as_published: rng.chance(300),
            handling: *rng.pick(&[0, 0, 1, 2]),
        }
    }

    fn publish(&mut self, rng: &mut Rng, conn: u32, v5: bool, session: &Session) -> Action {
        let held: Vec<_> = session.held.iter().collect();
        if !held.is_empty() && rng.chance(100) {
            // A repetition of what is held.
            let (pid, (topic, payload)) = *rng.pick(&held);
            let (topic, payload) = (topic.clone(), payload.clone());
            return Action::Publish(
                conn,
                Outgoing {
                    dup: true,
                    qos: 2,
                    retain: false,
                    topic,
                    pid: *pid,
                    payload,
                    expiry: None,
                    carried: Carried::default(),
                },
            );
        }
        let qos = u8::try_from(rng.below(3)).unwrap_or(0);
        // Whether one can be taken at once depends on whether what is too large has been found so.
        let at_least = u32::from(self.kind.sizes && !self.kind.one_by_one);
        let retain = rng.chance(250) && (v5 || !self.kind.limits);
        let number = self.message();
        let carried = if v5 && rng.chance(300) { carried(rng, number) } else { Carried::default() };
        Action::Publish(
            conn,
            Outgoing {
                dup: false,
                qos,
                retain,
                topic: (*rng.pick(&TOPICS)).into(),
                pid: if qos > 0 { self.pid() } else { 0 },
                payload: if retain && rng.chance(150) { Vec::new() } else { payload(number) },
                expiry: (v5 && rng.chance(300))
                    .then(|| *rng.pick(&[0, 1, 2, 5, 30]).max(&at_least)),
                carried,
            },
        )
    }

    fn acknowledge(
        &mut self,
        rng: &mut Rng,
        who: usize,
        conn: u32,
        v5: bool,
        session: &Session,
    ) -> Option<Action> {
        if rng.chance(self.lazy[who]) {
            return None;
        }
        let flying: Vec<_> = session.queue.iter().filter(|e| e.is_open()).collect();
        if flying.is_empty() {
            let kind = *rng.pick(&[PUBACK, PUBREC, PUBCOMP]);
            return rng.chance(20).then_some(Action::Acknowledge(conn, kind, 60_000, 0));
        }
        // Not always in order: nothing of ours may depend on it.
        let at = if rng.chance(800) { 0 } else { rng.index(flying.len()) };
        let entry = flying[at];
        let refuse = v5 && rng.chance(60);
        let (kind, code) = match (entry.qos, entry.released) {
            (1, _) => (PUBACK, if refuse { 0x83 } else { 0 }),
            (_, false) => (PUBREC, if refuse { 0x87 } else { 0 }),
            (_, true) if rng.chance(80) => (PUBREC, 0),
            _ => (PUBCOMP, 0),
        };
        Some(Action::Acknowledge(conn, kind, entry.pid, code))
    }

    /// The oldest delivery is done, as far as one packet goes.
    #[must_use]
    pub fn finish(session: &Session) -> Option<Action> {
        let conn = session.link.as_ref()?.conn;
        let entry = session.queue.iter().find(|e| e.is_open())?;
        let kind = match (entry.qos, entry.released) {
            (1, _) => PUBACK,
            (_, false) => PUBREC,
            _ => PUBCOMP,
        };
        Some(Action::Acknowledge(conn, kind, entry.pid, 0))
    }
}

fn carried(rng: &mut Rng, number: u32) -> Carried {
    Carried {
        format: rng.chance(500).then_some(1),
        content_type: rng.chance(300).then(|| "text/plain".into()),
        response: rng.chance(300).then(|| "re/ply".into()),
        correlation: rng.chance(300).then(|| number.to_be_bytes().to_vec()),
        user: (0..rng.below(3)).map(|i| ("k".into(), format!("{number}.{i}"))).collect(),
    }
}
