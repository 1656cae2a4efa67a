//! A shared message that is in the queue of one of several members, nobody knows which: an entry in
//! each of theirs, until all but one are out of the question.

use super::{Entry, GroupName, Reference};

/// One such message.
#[derive(Debug, Clone)]
pub(super) struct Maybe {
    pub(super) name: GroupName,
    /// All members could take it: whose turn it was can be checked.
    pub(super) all_ready: bool,
    /// It may be in no queue at all.
    pub(super) vanishes: bool,
    /// So many of its places are on their way to another queue.
    moving: usize,
}

impl Reference {
    pub(super) fn new_maybe(&mut self, name: &GroupName, all_ready: bool, vanishes: bool) -> u32 {
        let id = self.number();
        let maybe = Maybe { name: name.clone(), all_ready, vanishes, moving: 0 };
        self.maybes.insert(id, maybe);
        id
    }

    fn entries_of(&self, id: u32) -> usize {
        let all = self.sessions.values().flat_map(|s| &s.queue);
        let moving = self.maybes.get(&id).map_or(0, |maybe| maybe.moving);
        all.filter(|entry| entry.maybe == Some(id)).count() + moving
    }

    /// These were taken out and go to other queues, one after the other.
    pub(super) fn moving(&mut self, entries: &[Entry]) {
        for id in entries.iter().filter_map(|entry| entry.maybe) {
            if let Some(maybe) = self.maybes.get_mut(&id) {
                maybe.moving += 1;
            }
        }
    }

    /// One of those arrives; whether it is not known to be elsewhere.
    pub(super) fn arrives(&mut self, entry: &Entry) -> bool {
        let Some(id) = entry.maybe else { return true };
        let Some(maybe) = self.maybes.get_mut(&id) else { return false };
        maybe.moving -= 1;
        true
    }

    /// One of the places where it may have been is gone, and it perhaps with it.
    pub(super) fn gone_perhaps(&mut self, id: u32) {
        if let Some(maybe) = self.maybes.get_mut(&id) {
            maybe.vanishes = true;
        }
        self.one_less(id);
    }

    /// It is not in one of the places where it may have been.
    pub(super) fn one_less(&mut self, id: u32) {
        let Some(maybe) = self.maybes.get(&id).cloned() else { return };
        match self.entries_of(id) {
            0 => {
                self.maybes.remove(&id);
                if !maybe.vanishes {
                    self.fail(format!("a message shared to {:?} went to nobody", maybe.name));
                }
            }
            // What is still on its way says where it is when it arrives.
            1 if !maybe.vanishes && maybe.moving == 0 => {
                let whose = self.sessions.iter_mut().find_map(|(who, session)| {
                    let entry = session.queue.iter_mut().find(|e| e.maybe == Some(id))?;
                    entry.maybe = None;
                    Some((*who, entry.message.topic.clone()))
                });
                self.maybes.remove(&id);
                if let Some((who, topic)) = whose {
                    self.took(&maybe.name, who, &topic, maybe.all_ready);
                }
            }
            _ => {}
        }
    }

    /// It is in this session's queue. That no other copy looks like it the script sees to.
    pub(super) fn found(&mut self, who: usize, id: u32, at: &Entry) {
        for session in self.sessions.values_mut() {
            session.queue.retain(|e| e.maybe != Some(id) || e.flying);
            session.queue.iter_mut().filter(|e| e.maybe == Some(id)).for_each(|e| e.maybe = None);
        }
        if let Some(maybe) = self.maybes.remove(&id) {
            self.took(&maybe.name, who, &at.message.topic, maybe.all_ready);
        }
    }

    /// Takes entries out of a queue, in order.
    pub(super) fn take_entries(&mut self, who: usize, of: impl Fn(&Entry) -> bool) -> Vec<Entry> {
        let Some(session) = self.sessions.get_mut(&who) else { return Vec::new() };
        let queue = std::mem::take(&mut session.queue);
        let (mut taken, kept): (Vec<Entry>, _) = queue.into_iter().partition(of);
        session.queue = kept;
        taken.iter_mut().for_each(Entry::forget_tries);
        if !taken.is_empty() {
            self.note(|| format!("client {who}: taken out: {taken:?}"));
        }
        taken
    }

    /// What waits and satisfies `of` is dropped.
    pub(super) fn drop_waiting(&mut self, who: usize, of: impl Fn(&Entry) -> bool) {
        for entry in self.take_entries(who, |e| !e.sent && of(e)) {
            if let Some(id) = entry.maybe {
                self.gone_perhaps(id);
            }
        }
    }

    /// Whether nothing is in a queue only perhaps, but for what may have vanished.
    #[must_use]
    pub fn unresolved(&self) -> usize {
        self.maybes.values().filter(|maybe| !maybe.vanishes).count()
    }
}
