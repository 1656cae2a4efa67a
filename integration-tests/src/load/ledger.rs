//! [`Ledger`]: what was acknowledged, what arrived where, and all that went wrong.

use std::collections::{BTreeMap, BTreeSet};

/// Most faults that are kept in words; the rest is counted.
const MAX_TOLD: usize = 40;

/// A stream of numbered messages of one publisher to one topic.
pub(crate) type StreamId = usize;

/// The books of a run.
#[derive(Debug, Default)]
pub struct Ledger {
    streams: Vec<Stream>,
    receivers: Vec<Receiver>,
    faults: Vec<String>,
    untold: u64,
    /// Messages that arrived again.
    pub repeats: u64,
    /// Messages that came to someone who did not acknowledge them and was cut off: they must come
    /// again.
    pub unheard: u64,
    /// Messages that arrived, each counted once a receiver.
    pub arrived: u64,
    /// Notifications that observers got.
    pub notifications: u64,
    /// Connections that were cut on purpose and found their session again.
    pub resumed: u64,
    /// Times that the client whose registered name moves was disconnected and came back.
    pub renamed: u64,
    /// Which life of the gateway this is, where it has several.
    pub life: u32,
}

#[derive(Debug)]
struct Stream {
    name: String,
    sent: u32,
    /// By number.
    acked: Vec<bool>,
    acks: u64,
    /// First number that was acknowledged in a life of the gateway.
    lives: Vec<(u32, u32)>,
}

#[derive(Debug)]
struct Receiver {
    name: String,
    /// Several may take turns here: then nothing comes in order.
    shared: bool,
    /// Of each stream that must arrive here: by number, and the highest.
    streams: BTreeMap<StreamId, (Vec<bool>, Option<u32>)>,
    /// Streams that must not come twice.
    once: BTreeSet<StreamId>,
}

impl Ledger {
    /// A stream of messages; its first number is 0.
    pub(crate) fn stream(&mut self, name: impl Into<String>) -> StreamId {
        let name = name.into();
        self.streams.push(Stream { name, sent: 0, acked: Vec::new(), acks: 0, lives: Vec::new() });
        self.streams.len() - 1
    }

    /// Somebody who must get every message of these streams.
    pub(crate) fn receiver(&mut self, name: &str, streams: &[StreamId]) -> usize {
        let streams = streams.iter().map(|id| (*id, (Vec::new(), None))).collect();
        let (name, once) = (name.to_owned(), BTreeSet::new());
        self.receivers.push(Receiver { name, shared: false, streams, once });
        self.receivers.len() - 1
    }

    /// To this receiver these streams come exactly once.
    pub(crate) fn once(&mut self, receiver: usize, streams: &[StreamId]) {
        self.receivers[receiver].once.extend(streams);
    }

    /// This receiver is several.
    pub(crate) fn shared(&mut self, receiver: usize) {
        self.receivers[receiver].shared = true;
    }

    /// A stream's name.
    pub(crate) fn name(&self, stream: StreamId) -> &str {
        self.streams.get(stream).map_or("nobody's", |stream| &stream.name)
    }

    /// Whether a message has come to a receiver.
    pub(crate) fn has(&self, receiver: usize, stream: StreamId, number: u32) -> bool {
        let known = self.receivers[receiver].streams.get(&stream);
        known.is_some_and(|(seen, _)| seen.get(number as usize).copied().unwrap_or(false))
    }

    /// The next number of a stream.
    pub(crate) fn next(&mut self, stream: StreamId) -> u32 {
        let stream = &mut self.streams[stream];
        stream.sent += 1;
        stream.sent - 1
    }

    /// The payload of a message.
    pub(crate) fn payload(stream: StreamId, number: u32) -> Vec<u8> {
        format!("{stream}:{number}").into_bytes()
    }

    /// Stream and number of a payload.
    pub(crate) fn read(payload: &[u8]) -> Option<(StreamId, u32)> {
        let (stream, number) = std::str::from_utf8(payload).ok()?.split_once(':')?;
        Some((stream.parse().ok()?, number.parse().ok()?))
    }

    /// The gateway took the responsibility for it.
    pub(crate) fn acked(&mut self, stream: StreamId, number: u32) {
        let (stream, life) = (&mut self.streams[stream], self.life);
        if mark(&mut stream.acked, number) {
            stream.acks += 1;
            if stream.lives.last().is_none_or(|(last, _)| *last < life) {
                stream.lives.push((life, number));
            }
        }
    }

    /// A payload came to a receiver.
    pub(crate) fn came(&mut self, receiver: usize, payload: &[u8]) {
        let Some((stream, number)) = Ledger::read(payload) else {
            return self.fault(format!("{}: a payload of nobody's", self.receivers[receiver].name));
        };
        if self.streams.get(stream).is_none_or(|known| known.sent <= number) {
            let name = &self.receivers[receiver].name;
            return self.fault(format!("{name}: {stream}:{number} was never sent"));
        }
        let known = &mut self.receivers[receiver];
        let Some((seen, highest)) = known.streams.get_mut(&stream) else { return };
        if !mark(seen, number) {
            self.repeats += 1;
            if known.once.contains(&stream) {
                let (name, of) = (&known.name, &self.streams[stream].name);
                let text = format!("{name}: {number} of {of} at QoS 2 came twice");
                self.fault(text);
            }
            return;
        }
        self.arrived += 1;
        if let Some(before) = highest.filter(|before| *before > number && !known.shared) {
            let (name, of) = (&known.name, &self.streams[stream].name);
            let text = format!("{name}: {number} of {of} came after {before}");
            self.fault(text);
        } else {
            *highest = Some(highest.map_or(number, |before| before.max(number)));
        }
    }

    /// Something is not as it must be.
    pub fn fault(&mut self, text: String) {
        if self.faults.len() < MAX_TOLD {
            let life = self.life;
            self.faults.push(if life > 0 { format!("{text} (life {life})") } else { text });
        } else {
            self.untold += 1;
        }
    }

    /// Acknowledged messages of streams whose name begins so.
    #[must_use]
    pub fn acks(&self, prefix: &str) -> u64 {
        let streams = self.streams.iter().filter(|stream| stream.name.starts_with(prefix));
        streams.map(|stream| stream.acks).sum()
    }

    /// The last number of a stream that was acknowledged.
    pub(crate) fn last_acked(&self, stream: StreamId) -> Option<u32> {
        let at = self.streams[stream].acked.iter().rposition(|acked| *acked)?;
        u32::try_from(at).ok()
    }

    /// Acknowledged messages that have not come to someone who must get them.
    #[must_use]
    pub fn missing(&self) -> u64 {
        self.gaps().map(|(_, _, missing)| missing.len() as u64).sum()
    }

    /// Everything that went wrong, what is missing included.
    #[must_use]
    pub fn verdict(&self) -> Vec<String> {
        let gaps = self.gaps().filter(|(_, _, missing)| !missing.is_empty());
        let gaps = gaps.map(|(receiver, stream, missing)| {
            let (lost, first, stream) = (missing.len(), missing[0], &self.streams[stream]);
            let life = stream.life_of(first).map(|life| format!(", acknowledged in life {life}"));
            let (name, life) = (&stream.name, life.unwrap_or_default());
            format!("{receiver}: {lost} acknowledged messages of {name} lost, first {first}{life}")
        });
        let untold = (self.untold > 0).then(|| format!("and {} more faults", self.untold));
        self.faults.iter().cloned().chain(gaps).chain(untold).collect()
    }

    /// Faults so far.
    #[must_use]
    pub fn faults(&self) -> u64 {
        self.faults.len() as u64 + self.untold
    }

    fn gaps(&self) -> impl Iterator<Item = (&str, StreamId, Vec<usize>)> {
        self.receivers.iter().flat_map(|receiver| {
            receiver.streams.iter().map(|(id, (seen, _))| {
                let stream = &self.streams[*id];
                let came = |number: &usize| seen.get(*number).copied().unwrap_or(false);
                let acked = stream.acked.iter().enumerate().filter(|(_, acked)| **acked);
                let lost = acked.map(|(number, _)| number).filter(|number| !came(number));
                (receiver.name.as_str(), *id, lost.collect())
            })
        })
    }
}

impl Stream {
    /// In which life a number was acknowledged, as far as that is known; numbers are acknowledged in
    /// about the order they were sent.
    fn life_of(&self, number: usize) -> Option<u32> {
        let lives = self.lives.iter().filter(|(life, _)| *life > 0);
        lives.filter(|(_, first)| *first as usize <= number).map(|(life, _)| *life).next_back()
    }
}

/// Sets a bit; false if it was set.
fn mark(bits: &mut Vec<bool>, number: u32) -> bool {
    let at = number as usize;
    if bits.len() <= at {
        bits.resize(at + 1, false);
    }
    !std::mem::replace(&mut bits[at], true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_was_acknowledged_and_did_not_arrive_is_missing() {
        let mut ledger = Ledger::default();
        let stream = ledger.stream("mqtt 0");
        let receiver = ledger.receiver("all", &[stream]);
        for _ in 0..3 {
            let number = ledger.next(stream);
            ledger.acked(stream, number);
        }
        assert!(ledger.verdict()[0].contains("3 acknowledged messages"));
        for number in [0, 2, 2] {
            ledger.came(receiver, &Ledger::payload(stream, number));
        }
        assert_eq!((ledger.missing(), ledger.repeats, ledger.acks("mqtt")), (1, 1, 3));
        let lost = "all: 1 acknowledged messages of mqtt 0 lost, first 1";
        assert_eq!(ledger.verdict(), [lost]);
        // Late is no longer lost, but it is out of order.
        ledger.came(receiver, &Ledger::payload(stream, 1));
        assert_eq!(ledger.verdict(), ["all: 1 of mqtt 0 came after 2"]);
    }

    #[test]
    fn what_comes_twice_or_from_nowhere_is_a_fault_where_it_must_not() {
        let mut ledger = Ledger { life: 3, ..Ledger::default() };
        let stream = ledger.stream("mqtt 0");
        let [once, group] = ["once", "group"].map(|name| ledger.receiver(name, &[stream]));
        ledger.once(once, &[stream]);
        ledger.shared(group);
        for _ in 0..3 {
            let number = ledger.next(stream);
            ledger.acked(stream, number);
        }
        for number in [0, 1, 1, 2, 3] {
            ledger.came(once, &Ledger::payload(stream, number));
        }
        for number in [2, 0] {
            ledger.came(group, &Ledger::payload(stream, number));
        }
        let wanted = [
            "once: 1 of mqtt 0 at QoS 2 came twice (life 3)",
            "once: 0:3 was never sent (life 3)",
            "group: 1 acknowledged messages of mqtt 0 lost, first 1, acknowledged in life 3",
        ];
        assert_eq!(ledger.verdict(), wanted);
        assert!(ledger.has(group, stream, 2) && !ledger.has(group, stream, 1));
    }
}
