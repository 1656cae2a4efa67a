//! CONNECT, the ends of connections, acknowledgements.

use std::collections::BTreeMap;

use super::{Entry, Link, NEVER, Reference, Session, Will, WillState};
use crate::sim::exact::wire::{Connect, PUBACK, PUBCOMP, PUBREC, Packet, Version};

impl Reference {
    /// CONNECT on a new connection.
    pub fn connect(&mut self, who: usize, conn: u32, c: &Connect) {
        self.begin_event();
        let v5 = c.version == Version::V5;
        let known = self.sessions.contains_key(&who);
        if !known && self.sessions.len() >= self.settings.max_sessions {
            self.expect(conn, &Packet::ConnAck(false, if v5 { 0x97 } else { 3 }, None));
            return self.expect_closed(conn);
        }
        let present = known && self.take_over(who, c.clean);
        let asked = match c.version {
            Version::V5 if c.expiry == u32::MAX => NEVER,
            Version::V5 => u64::from(c.expiry) * 1000,
            _ if c.clean => 0,
            _ => NEVER,
        };
        let cap = self.settings.max_expiry;
        let expiry = asked.min(cap);
        let told = (v5 && asked > cap).then(|| u32::try_from(cap / 1000).unwrap_or(0));
        let receive_maximum = match c.receive_maximum {
            0 => usize::MAX,
            max => usize::from(max),
        };
        let link = Link {
            conn,
            version: c.version,
            bridge: c.bridge,
            lasting: asked > 0,
            window: if v5 { receive_maximum } else { usize::MAX }.min(self.settings.max_inflight),
            max_packet: if v5 && c.max_packet > 0 { c.max_packet as usize } else { usize::MAX },
            rejected: (0, 0),
        };
        let session = self.sessions.entry(who).or_insert_with(|| Session {
            link: None,
            expiry: 0,
            ends: NEVER,
            will: None,
            subscriptions: Vec::new(),
            queue: Vec::new(),
            held: BTreeMap::new(),
        });
        session.link = Some(link);
        (session.expiry, session.ends) = (expiry, NEVER);
        session.will = c.will.clone().map(|spec| Will { spec, state: WillState::Armed });
        let told_present = present && c.version != Version::V31;
        let place = self.expect(conn, &Packet::ConnAck(told_present, 0, told));
        if place != 0 {
            self.fail(format!("connection {conn}: CONNACK is not the first packet"));
        }
        self.conclude();
    }

    /// What a new connection does to the session it names; whether it goes on.
    fn take_over(&mut self, who: usize, clean: bool) -> bool {
        let Some(session) = self.sessions.get_mut(&who) else { return false };
        let old = session.link.take();
        session.queue.iter_mut().for_each(Entry::lands);
        let over = clean || session.expiry == 0 || session.ends <= self.now;
        if let Some(link) = old {
            if link.version == Version::V5 {
                self.expect(link.conn, &Packet::Disconnect(0x8e));
            }
            self.expect_closed(link.conn);
        }
        if over {
            self.end(who);
            return false;
        }
        let published = self.settings.takeover_will;
        let now = self.now;
        let due = self.sessions.get(&who).and_then(|s| s.will.as_ref()).is_some_and(|will| {
            match will.state {
                WillState::Armed => will.spec.delay == 0 && published,
                WillState::Due(at) => at <= now,
                WillState::Spent => false,
            }
        });
        if due {
            self.publish_will(who);
        }
        true
    }

    /// The transport is gone.
    pub fn close(&mut self, conn: u32) {
        self.begin_event();
        if let Some(who) = self.whose(conn) {
            self.disconnect(who, false);
        }
        self.conclude();
    }

    /// DISCONNECT.
    pub fn goodbye(&mut self, conn: u32, code: u8, expiry: Option<u32>) {
        self.begin_event();
        let Some(who) = self.whose(conn) else { return };
        if let (Some(secs), Some(session)) = (expiry, self.sessions.get_mut(&who)) {
            session.expiry = (u64::from(secs) * 1000).min(self.settings.max_expiry);
        }
        self.expect_closed(conn);
        self.disconnect(who, code == 0);
        self.conclude();
    }

    /// PUBACK, PUBREC or PUBCOMP of a client, that fits what was sent.
    pub fn acknowledge(&mut self, conn: u32, kind: u8, pid: u16, code: u8) {
        self.begin_event();
        let Some(who) = self.whose(conn) else { return };
        let Some(session) = self.sessions.get_mut(&who) else { return };
        let here = |e: &Entry| e.is_open() && e.pid == pid;
        let at = session.queue.iter().position(here);
        let v5 = session.link.as_ref().is_some_and(|link| link.version == Version::V5);
        let Some(at) = at else {
            if kind == PUBREC {
                // MQTT 5 §4.3.3: an identifier that nobody knows.
                self.expect_release(conn, pid, if v5 { 0x92 } else { 0 });
            }
            return;
        };
        match kind {
            PUBREC if code < 0x80 => {
                let was = std::mem::replace(&mut session.queue[at].released, true);
                let place = self.expect_release(conn, pid, 0);
                if let Some(session) = self.sessions.get_mut(&who).filter(|_| !was) {
                    session.queue[at].released_at = (conn, place);
                    session.queue[at].released_here = true;
                }
            }
            PUBACK | PUBREC | PUBCOMP => drop(session.queue.remove(at)),
            _ => {}
        }
        self.conclude();
    }

    /// Where it is in the stream.
    fn expect_release(&mut self, conn: u32, pid: u16, code: u8) -> u64 {
        match self.heard.of(conn).releases.pop_front() {
            Some((place, p, c)) if (p, c) == (pid, code) => place,
            other => {
                let text = format!("{other:?} instead of PUBREL {pid} {code:#x}");
                self.fail(format!("connection {conn}: {text}"));
                0
            }
        }
    }
}
