//! [`Ledger`]: what was acknowledged, what arrived where, and all that went wrong.

use std::collections::BTreeMap;

/// Most faults that are kept in words; the rest is counted.
const MAX_TOLD: usize = 40;

/// A stream of numbered messages of one publisher to one topic.
pub(super) type StreamId = usize;

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
}

#[derive(Debug)]
struct Stream {
    name: String,
    sent: u32,
    /// By number.
    acked: Vec<bool>,
    acks: u64,
}

#[derive(Debug)]
struct Receiver {
    name: String,
    /// Of each stream that must arrive here: by number, and the highest.
    streams: BTreeMap<StreamId, (Vec<bool>, Option<u32>)>,
}

impl Ledger {
    /// A stream of messages; its first number is 0.
    pub(super) fn stream(&mut self, name: impl Into<String>) -> StreamId {
        let name = name.into();
        self.streams.push(Stream { name, sent: 0, acked: Vec::new(), acks: 0 });
        self.streams.len() - 1
    }

    /// Somebody who must get every message of these streams.
    pub(super) fn receiver(&mut self, name: &str, streams: &[StreamId]) -> usize {
        let streams = streams.iter().map(|id| (*id, (Vec::new(), None))).collect();
        self.receivers.push(Receiver { name: name.to_owned(), streams });
        self.receivers.len() - 1
    }

    /// The next number of a stream.
    pub(super) fn next(&mut self, stream: StreamId) -> u32 {
        let stream = &mut self.streams[stream];
        stream.sent += 1;
        stream.sent - 1
    }

    /// The payload of a message.
    pub(super) fn payload(stream: StreamId, number: u32) -> Vec<u8> {
        format!("{stream}:{number}").into_bytes()
    }

    /// Stream and number of a payload.
    pub(super) fn read(payload: &[u8]) -> Option<(StreamId, u32)> {
        let (stream, number) = std::str::from_utf8(payload).ok()?.split_once(':')?;
        Some((stream.parse().ok()?, number.parse().ok()?))
    }

    /// The gateway took the responsibility for it.
    pub(super) fn acked(&mut self, stream: StreamId, number: u32) {
        let stream = &mut self.streams[stream];
        if mark(&mut stream.acked, number) {
            stream.acks += 1;
        }
    }

    /// A payload came to a receiver.
    pub(super) fn came(&mut self, receiver: usize, payload: &[u8]) {
        let Some((stream, number)) = Ledger::read(payload) else {
            return self.fault(format!("{}: a payload of nobody's", self.receivers[receiver].name));
        };
        let known = &mut self.receivers[receiver];
        let Some((seen, highest)) = known.streams.get_mut(&stream) else { return };
        if !mark(seen, number) {
            self.repeats += 1;
            return;
        }
        self.arrived += 1;
        if let Some(before) = highest.filter(|before| *before > number) {
            let name = known.name.clone();
            let of = &self.streams[stream].name;
            self.fault(format!("{name}: {number} of {of} came after {before}"));
        } else {
            *highest = Some(number);
        }
    }

    /// Something is not as it must be.
    pub fn fault(&mut self, text: String) {
        if self.faults.len() < MAX_TOLD {
            self.faults.push(text);
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
    pub(super) fn last_acked(&self, stream: StreamId) -> Option<u32> {
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
            let (lost, first) = (missing.len(), missing[0]);
            format!("{receiver}: {lost} acknowledged messages of {stream} lost, first {first}")
        });
        let untold = (self.untold > 0).then(|| format!("and {} more faults", self.untold));
        self.faults.iter().cloned().chain(gaps).chain(untold).collect()
    }

    fn gaps(&self) -> impl Iterator<Item = (&str, &str, Vec<usize>)> {
        self.receivers.iter().flat_map(|receiver| {
            receiver.streams.iter().map(|(id, (seen, _))| {
                let stream = &self.streams[*id];
                let came = |number: &usize| seen.get(*number).copied().unwrap_or(false);
                let acked = stream.acked.iter().enumerate().filter(|(_, acked)| **acked);
                let lost = acked.map(|(number, _)| number).filter(|number| !came(number));
                (receiver.name.as_str(), stream.name.as_str(), lost.collect())
            })
        })
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
}
