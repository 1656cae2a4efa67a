//! [`Spoil`]: planted faults. A check that finds nothing wrong must be shown to find what is: each of
//! these falsifies what the gateway says, is told, or has stored, now and then, and nothing else.

use motegate_message::Record;
use motegate_message::journal::{MemoryStore, QueueKey, Reader};

use super::script::Action;
use super::wire::{Connect, Publish};

/// A way to falsify what happens, that must be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spoil {
    /// A wrong subscription identifier.
    Identifier,
    /// The expiry interval as published.
    Expiry,
    /// RETAIN the other way.
    Retain,
    /// DUP forgotten.
    Dup,
    /// QoS higher than granted.
    Qos,
    /// A user property lost.
    Property,
    /// What has expired is kept and delivered, with an interval that looks right.
    Expired,
    /// At a crash the store forgets a message that was shared to a member of a group.
    SharedLost,
}

/// So many seconds longer the gateway keeps what expires, with [`Spoil::Expired`].
const LONGER: u32 = 1_000;

impl Spoil {
    /// All of them.
    pub const ALL: [Spoil; 8] = [
        Spoil::Identifier,
        Spoil::Expiry,
        Spoil::Retain,
        Spoil::Dup,
        Spoil::Qos,
        Spoil::Property,
        Spoil::Expired,
        Spoil::SharedLost,
    ];

    /// Its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Spoil::Identifier => "wrong-identifier",
            Spoil::Expiry => "expiry-as-published",
            Spoil::Retain => "wrong-retain",
            Spoil::Dup => "dup-forgotten",
            Spoil::Qos => "wrong-qos",
            Spoil::Property => "property-lost",
            Spoil::Expired => "expired-delivered",
            Spoil::SharedLost => "shared-lost",
        }
    }

    /// From its name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Spoil::ALL.into_iter().find(|f| f.name() == name)
    }

    /// What the gateway is told instead of what the client does.
    pub(super) fn told(self, action: &Action) -> Option<Action> {
        let longer = |expiry: &mut Option<u32>| *expiry = expiry.map(|secs| secs + LONGER);
        let mut action = action.clone();
        match &mut action {
            Action::Publish(_, publish) if self == Spoil::Expired => longer(&mut publish.expiry),
            Action::Connect(_, _, connect) if self == Spoil::Expired => {
                let Connect { will, .. } = &mut **connect;
                longer(&mut will.as_mut()?.expiry);
            }
            _ => return None,
        }
        Some(action)
    }

    /// Every third PUBLISH of the gateway's that it fits.
    pub(super) fn said(self, p: &mut Publish, count: &mut u32) {
        if self == Spoil::Expired {
            // DUP asks for one second at least.
            let left = |secs: u32| secs.saturating_sub(LONGER).max(u32::from(p.dup));
            return p.expiry = p.expiry.map(left);
        }
        let fits = match self {
            Spoil::Identifier => !p.ids.is_empty(),
            Spoil::Expiry => p.expiry.is_some(),
            Spoil::Retain => true,
            Spoil::Dup => p.dup,
            Spoil::Qos => p.qos == 1,
            Spoil::Property => !p.carried.user.is_empty(),
            Spoil::Expired | Spoil::SharedLost => false,
        };
        *count += u32::from(fits);
        if !fits || !(*count).is_multiple_of(3) {
            return;
        }
        match self {
            Spoil::Identifier => p.ids[0] += 1,
            Spoil::Expiry => p.expiry = p.expiry.map(|secs| secs + 1),
            Spoil::Retain => p.retain = !p.retain,
            Spoil::Dup => p.dup = false,
            Spoil::Qos => p.qos = 2,
            Spoil::Property => drop(p.carried.user.pop()),
            Spoil::Expired | Spoil::SharedLost => {}
        }
    }

    /// What a crash leaves on disk; whether something is missing there.
    pub(super) fn crashed(self, disk: &mut MemoryStore) -> bool {
        if self != Spoil::SharedLost {
            return false;
        }
        let shared = |(key, value): &(&[u8], &[u8])| {
            QueueKey::from_bytes(key).is_some() && is_shared(value) == Some(true)
        };
        // The last of a queue: it waits rather than being under way.
        let lost = disk.iter().filter(shared).last().map(|(key, _)| key.to_vec());
        let lost: Vec<Record> = lost.map(|key| Record { key, value: None }).into_iter().collect();
        let any = !lost.is_empty();
        disk.apply(lost);
        any
    }
}

/// Whether a queue entry, as the broker writes it, is of a group, at a QoS that a crash leaves.
fn is_shared(value: &[u8]) -> Option<bool> {
    let mut input = Reader::new(value);
    let (_format, flags, _size) = (input.u8()?, input.u8()?, input.u64()?);
    let group = input.u8()?;
    Some(flags & 3 > 0 && group == 1)
}
