//! [`Connections`]: the table of stream connections.
//!
//! An entry is a file descriptor, a generation, a listener and flags: twelve bytes, no task, no
//! buffer. Bytes that wait to be written live in the core's outbox; bytes that were read never live
//! anywhere. What a connection has below MQTT (TLS, WebSocket) lies in a table of its own
//! ([`super::tcp`]), so that plain ones pay nothing for it.

use motegate_message::{ConnectionId, ListenerId};
use socket2::Socket;

/// What is known about a connection's socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Flags(u16);

impl Flags {
    /// An edge was seen since a read last came up short: there may be bytes.
    pub(crate) const READABLE: Flags = Flags(1);
    /// The peer sent its FIN or the transport failed: a short read is not the last word.
    pub(crate) const READ_CLOSED: Flags = Flags(1 << 1);
    /// Listed for another visit in the next turn.
    pub(crate) const LISTED: Flags = Flags(1 << 2);
    /// The core takes no bytes now.
    pub(crate) const PAUSED: Flags = Flags(1 << 3);
    /// The kernel took less than it was given; an edge will say when it takes more.
    pub(crate) const BLOCKED: Flags = Flags(1 << 4);
    /// The core has closed it; its outbox is still being written.
    pub(crate) const CLOSING: Flags = Flags(1 << 5);
    /// Half-closed by us: reads are thrown away until the peer's FIN or a second has passed.
    pub(crate) const DRAINING: Flags = Flags(1 << 6);
    /// Something lies between the socket and MQTT.
    pub(crate) const LAYERED: Flags = Flags(1 << 7);
    /// Nothing was read yet.
    pub(crate) const FRESH: Flags = Flags(1 << 8);

    /// Whether any of these is set.
    pub(crate) const fn any(self, flags: Flags) -> bool {
        self.0 & flags.0 != 0
    }

    /// Both.
    pub(crate) const fn or(self, flags: Flags) -> Flags {
        Flags(self.0 | flags.0)
    }

    pub(crate) const fn set(&mut self, flags: Flags) {
        self.0 |= flags.0;
    }

    pub(crate) const fn clear(&mut self, flags: Flags) {
        self.0 &= !flags.0;
    }
}

/// One slot of the table; `stream` is `None` while it is free.
#[derive(Debug)]
struct Slot {
    stream: Option<Socket>,
    generation: u32,
    listener: ListenerId,
    flags: Flags,
}

/// An open connection, borrowed from the table.
#[derive(Debug)]
pub(crate) struct Connection<'a> {
    pub(crate) stream: &'a mut Socket,
    pub(crate) flags: &'a mut Flags,
    pub(crate) listener: ListenerId,
}

/// All open connections, by slot.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// How many each listener has brought, by its number.
    brought: Vec<usize>,
}

impl Connections {
    /// How many are open.
    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// How many of them a listener has brought.
    pub(crate) fn of(&self, listener: ListenerId) -> usize {
        self.brought.get(usize::from(listener.0)).copied().unwrap_or(0)
    }

    /// The slot that the next `insert` fills.
    pub(crate) fn next_slot(&self) -> Option<u32> {
        self.free.last().copied().or_else(|| u32::try_from(self.slots.len()).ok())
    }

    /// Takes a connection in. `slot` is what `next_slot` said.
    pub(crate) fn insert(
        &mut self,
        slot: u32,
        stream: Socket,
        listener: ListenerId,
        flags: Flags,
    ) -> ConnectionId {
        let number = usize::from(listener.0);
        if self.brought.len() <= number {
            self.brought.resize(number + 1, 0);
        }
        if let Some(count) = self.brought.get_mut(number) {
            *count += 1;
        }
        if let Some(used) = self.slots.get_mut(slot as usize) {
            self.free.pop();
            used.stream = Some(stream);
            used.listener = listener;
            used.flags = flags;
            return ConnectionId::new(slot, used.generation);
        }
        self.slots.push(Slot { stream: Some(stream), generation: 0, listener, flags });
        ConnectionId::new(slot, 0)
    }

    /// The connection of that name, unless it is gone.
    pub(crate) fn get(&mut self, conn: ConnectionId) -> Option<Connection<'_>> {
        let slot = self.slots.get_mut(conn.slot())?;
        if u64::from(slot.generation) != conn.get() >> 32 {
            return None;
        }
        let (listener, flags) = (slot.listener, &mut slot.flags);
        Some(Connection { stream: slot.stream.as_mut()?, flags, listener })
    }

    /// The name of the connection that a slot holds now.
    pub(crate) fn at(&self, slot: usize) -> Option<ConnectionId> {
        let entry = self.slots.get(slot)?;
        entry.stream.as_ref()?;
        Some(ConnectionId::new(u32::try_from(slot).ok()?, entry.generation))
    }

    /// Takes a connection out; its name is never used again before 2³² others had the slot.
    pub(crate) fn remove(&mut self, conn: ConnectionId) -> Option<Socket> {
        self.get(conn)?;
        let slot = self.slots.get_mut(conn.slot())?;
        slot.generation = slot.generation.wrapping_add(1);
        if let Some(count) = self.brought.get_mut(usize::from(slot.listener.0)) {
            *count = count.saturating_sub(1);
        }
        self.free.push(u32::try_from(conn.slot()).ok()?);
        slot.stream.take()
    }

    /// Names of all open connections.
    pub(crate) fn ids(&self) -> impl Iterator<Item = ConnectionId> {
        (0..self.slots.len()).filter_map(|slot| self.at(slot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream() -> Socket {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        stream.into()
    }

    fn insert(table: &mut Connections) -> ConnectionId {
        let slot = table.next_slot().unwrap();
        table.insert(slot, stream(), ListenerId(0), Flags::default())
    }

    #[test]
    fn a_late_report_finds_nobody_else() {
        let mut table = Connections::default();
        let (a, b) = (insert(&mut table), insert(&mut table));
        assert_eq!((a.slot(), b.slot(), table.len()), (0, 1, 2));
        assert!(table.remove(a).is_some());
        assert!(table.remove(a).is_none());
        assert_eq!(table.at(0), None);
        assert_eq!((table.of(ListenerId(0)), table.of(ListenerId(1))), (1, 0));
        let c = insert(&mut table);
        assert_eq!(c.slot(), a.slot());
        assert_ne!(c, a);
        assert!(table.get(a).is_none());
        assert!(table.get(c).is_some());
        assert_eq!(table.ids().collect::<Vec<_>>(), [c, b]);
    }

    #[test]
    fn an_idle_connection_costs_twelve_bytes() {
        assert_eq!(size_of::<Slot>(), 12);
    }
}
