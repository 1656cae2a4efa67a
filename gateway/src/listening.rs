//! [`Listening`]: the sockets that a gateway has, for which listener, and how they follow another
//! configuration.
//!
//! A listener stays the same one, and its clients with it, where its name and protocol stay, or its
//! protocol and address; of several addresses of one name, each is a listener of its own. An open
//! socket is never opened again: it stays, or serves another listener. Where a new address overlaps
//! with one that is given up (`127.0.0.1:1883`, `0.0.0.0:1883`), both are open for a moment, so that
//! a change that fails has changed nothing.

use motegate_config::Address;
use motegate_core::{Listener, Protocol, Reload};
use motegate_message::{Group, ListenerId};

use crate::gateway::StartError;
use crate::net::listen::{self, Lent};
use crate::net::tcp::{Acceptor, Opened, Serving};
use crate::reload::{ListenerChange, ReloadError};
use crate::setup::{Bind, Setup};
use crate::supervisor::Standing;
use crate::worker::{Changeover, Sockets};

/// The sockets that a gateway has.
#[derive(Debug)]
pub(crate) struct Listening {
    /// As the core has them, those that were removed included.
    listeners: Vec<Listener>,
    /// In the order of the configuration.
    places: Vec<Place>,
}

/// An open socket.
#[derive(Debug, Clone)]
struct Place {
    id: ListenerId,
    /// As the configuration says.
    asked: Address,
    /// As the system gave it.
    bound: Bind,
}

/// What another configuration will do to the sockets.
#[derive(Debug)]
pub(crate) struct Moves {
    setup: Setup,
    /// Of its listeners, in its order: which one it is, and whose socket it takes (its own, mostly);
    /// `None`: one is opened.
    places: Vec<(ListenerId, Option<ListenerId>)>,
    /// For the core.
    listeners: Vec<Listener>,
    removed: Vec<ListenerId>,
    /// Of datagrams, and elsewhere from now on.
    moved: Vec<ListenerId>,
    /// Of the old sockets, those that nobody takes.
    closed: Vec<ListenerId>,
}

/// What makes a listener the same one as before, the best reason first.
#[derive(Debug, Clone, Copy)]
enum Same {
    NameAndAddress,
    Name,
    /// And nobody else has the old name.
    Address,
}

impl Listening {
    /// Opens all; `groups` are what those of a protocol join.
    pub(crate) fn open(
        listeners: &[Listener],
        binds: &[Bind],
        groups: &[(Protocol, Group)],
    ) -> Result<(Self, Sockets), StartError> {
        let mut sockets = Sockets::default();
        let mut places = Vec::with_capacity(binds.len());
        for (index, bind) in binds.iter().enumerate() {
            let id = ListenerId(u16::try_from(index).map_err(|_| StartError::TooManyListeners)?);
            places.push(Place::open(id, bind, &Lent::default(), &mut sockets)?);
        }
        let listening = Listening { listeners: listeners.to_vec(), places };
        sockets.groups = listening.joins(groups);
        Ok((listening, sockets))
    }

    /// Which listener joins what.
    fn joins(&self, groups: &[(Protocol, Group)]) -> Vec<(ListenerId, Group)> {
        let of = |place: &Place| {
            let (id, own) = (place.id, place.bound.protocol);
            let hears = place.bound.has_datagrams();
            let mine = groups.iter().filter(move |(protocol, _)| hears && *protocol == own);
            mine.map(move |(_, group)| (id, group.clone()))
        };
        self.places.iter().flat_map(of).collect()
    }

    /// Where it listens, with the ports the system chose.
    pub(crate) fn bound(&self) -> Vec<Bind> {
        self.places.iter().map(|place| place.bound.clone()).collect()
    }

    /// What new connections go through, by the number of their listener.
    pub(crate) fn serving(&self) -> Vec<Option<Serving>> {
        let mut serving = vec![None; self.listeners.len()];
        for place in &self.places {
            let Bind { name, transport, .. } = &place.bound;
            if let Some(slot) = serving.get_mut(usize::from(place.id.0)) {
                *slot = Some(Serving { name: name.clone(), transport: transport.clone() });
            }
        }
        serving
    }

    /// The same for whoever asks.
    pub(crate) fn standing(&self, max_connections: usize) -> Standing {
        Standing {
            listeners: self.bound(),
            ids: self.places.iter().map(|place| place.id).collect(),
            names: self.listeners.iter().map(|listener| listener.name.clone()).collect(),
            max_connections,
            last_reload: None,
        }
    }

    /// What another configuration will do.
    pub(crate) fn moves(&self, setup: Setup) -> Result<Moves, StartError> {
        let ids = self.align(&setup).ok_or(StartError::TooManyListeners)?;
        let mut listeners = self.listeners.clone();
        for (id, listener) in ids.iter().zip(&setup.core.listeners) {
            match listeners.get_mut(usize::from(id.0)) {
                Some(place) => *place = listener.clone(),
                None => listeners.push(listener.clone()),
            }
        }
        let sources = self.sources(&ids, &setup.binds);
        let old = self.places.iter().map(|place| place.id);
        let closed = old.filter(|id| !sources.contains(&Some(*id))).collect();
        let all = (0..self.listeners.len()).filter_map(|at| u16::try_from(at).ok().map(ListenerId));
        let removed = all.filter(|id| !ids.contains(id)).collect();
        let is_elsewhere = |(id, bind): &(&ListenerId, &Bind)| {
            bind.has_datagrams() && self.place(**id).is_some_and(|place| !place.is_at(&bind.addr))
        };
        let moved = ids.iter().zip(&setup.binds).filter(is_elsewhere).map(|(id, _)| *id).collect();
        let places = ids.into_iter().zip(sources).collect();
        Ok(Moves { setup, places, listeners, removed, moved, closed })
    }

    /// Whose open socket each listener takes: its own, or else one that its owner leaves.
    fn sources(&self, ids: &[ListenerId], binds: &[Bind]) -> Vec<Option<ListenerId>> {
        let own = |(id, bind): (&ListenerId, &Bind)| self.place(*id)?.is_for(bind).then_some(*id);
        let mut sources: Vec<Option<ListenerId>> = ids.iter().zip(binds).map(own).collect();
        for (at, bind) in binds.iter().enumerate() {
            let left = |place: &&Place| place.is_for(bind) && !sources.contains(&Some(place.id));
            let found = self.places.iter().find(left).map(|place| place.id);
            if let Some(source) = sources.get_mut(at) {
                *source = source.or(found);
            }
        }
        sources
    }

    /// What the core would have to do, and what that is to whoever has to find the listeners. New
    /// addresses are tried and let go.
    pub(crate) fn preview(
        &self,
        setup: Setup,
    ) -> Result<(Vec<ListenerChange>, Reload), ReloadError> {
        let moves = self.moves(setup)?;
        self.try_out(&moves)?;
        Ok((self.told(&moves, &moves.setup.binds), moves.reload()))
    }

    /// Whether the system gives the addresses that are new. Those that overlap with a socket which
    /// is given up are believed in: they can be tried beside it only, where datagrams for the old
    /// one could be lost.
    fn try_out(&self, moves: &Moves) -> Result<(), ReloadError> {
        let mut held = Vec::new();
        for ((_, from), bind) in moves.places.iter().zip(&moves.setup.binds) {
            let given_up = |id: &ListenerId| self.place(*id).is_some_and(|p| p.overlaps(bind));
            if from.is_some() || moves.closed.iter().any(given_up) {
                continue;
            }
            let tried = match &bind.addr {
                Address::Ip(addr) => listen::hold(*addr, bind.has_datagrams()).map(Some),
                Address::Unix(path) => listen::try_unix(path).map(|()| None),
            };
            match tried {
                Ok(socket) => held.extend(socket),
                Err(source) => {
                    return Err(self.whose(StartError::Bind { bind: bind.clone(), source }));
                }
            }
        }
        Ok(())
    }

    /// The place of each new listener among the old ones, or behind them. `None` beyond 65,536.
    fn align(&self, setup: &Setup) -> Option<Vec<ListenerId>> {
        let new = &setup.core.listeners;
        let named = |a: &Listener, b: &Listener| a.name == b.name && a.protocol == b.protocol;
        let old: Vec<(&Listener, Option<&Place>)> = (0..)
            .zip(&self.listeners)
            .map(|(at, listener)| (listener, self.place(ListenerId(at))))
            .collect();
        let is_same = |how: Same, (old, place): (&Listener, Option<&Place>), at: usize| {
            let Some((new_one, bind)) = new.get(at).zip(setup.binds.get(at)) else { return false };
            let is_there = || place.is_some_and(|place| place.is_at(&bind.addr));
            match how {
                Same::NameAndAddress => named(old, new_one) && is_there(),
                Same::Name => named(old, new_one),
                Same::Address => {
                    let gone = || !new.iter().any(|new| named(old, new));
                    old.protocol == new_one.protocol && is_there() && gone()
                }
            }
        };
        let mut ids: Vec<Option<usize>> = vec![None; new.len()];
        let mut free = vec![true; old.len()];
        for how in [Same::NameAndAddress, Same::Name, Same::Address] {
            for (at, id) in ids.iter_mut().enumerate().filter(|(_, id)| id.is_none()) {
                let mut places = free.iter_mut().zip(&old).enumerate();
                if let Some((place, (free, _))) =
                    places.find(|(_, (free, old))| **free && is_same(how, **old, at))
                {
                    (*id, *free) = (Some(place), false);
                }
            }
        }
        let mut next = old.len()..;
        let ids = ids.into_iter().map(|id| id.or_else(|| next.next()));
        ids.map(|id| u16::try_from(id?).ok().map(ListenerId)).collect()
    }

    fn place(&self, id: ListenerId) -> Option<&Place> {
        self.places.iter().find(|place| place.id == id)
    }

    /// The open sockets that are given up and hold an address that is to be opened: they are to be
    /// lent for [`change`](Self::change).
    pub(crate) fn in_the_way(&self, moves: &Moves) -> Vec<ListenerId> {
        let new = || moves.places.iter().zip(&moves.setup.binds);
        let held =
            |place: &Place| new().any(|((_, from), bind)| from.is_none() && place.overlaps(bind));
        let closed = moves.closed.iter().filter(|id| self.place(**id).is_some_and(held));
        closed.copied().collect()
    }

    /// What the moves are to whoever has to find the listeners, which are here then.
    fn told(&self, moves: &Moves, then: &[Bind]) -> Vec<ListenerChange> {
        let mut told = Vec::new();
        for ((id, _), bind) in moves.places.iter().zip(then) {
            let Some(place) = self.place(*id) else {
                told.push(ListenerChange::Opened { bind: bind.clone() });
                continue;
            };
            if place.bound.name != bind.name {
                let (before, after) = (place.bound.name.clone(), bind.name.clone());
                told.push(ListenerChange::Renamed { before, after });
            }
            if !place.is_at(&bind.addr) {
                let before = place.bound.addr.clone();
                told.push(ListenerChange::Moved { bind: bind.clone(), before });
            }
        }
        let gone = moves.removed.iter().filter_map(|id| self.place(*id));
        told.extend(gone.map(|place| ListenerChange::Closed { bind: place.bound.clone() }));
        told
    }

    /// Opens the sockets that are new; the result is what the gateway listens on once the change
    /// is carried out, and what has changed then.
    pub(crate) fn change(
        &self,
        moves: Moves,
        lent: &Lent,
    ) -> Result<(Listening, Vec<ListenerChange>, Changeover), ReloadError> {
        let mut opened = Sockets::default();
        let mut handed = Vec::new();
        let mut places = Vec::with_capacity(moves.places.len());
        for ((id, from), bind) in moves.places.iter().zip(&moves.setup.binds) {
            let Some(old) = from.and_then(|from| self.place(from)) else {
                let place = Place::open(*id, bind, lent, &mut opened);
                places.push(place.map_err(|error| self.whose(error))?);
                continue;
            };
            if old.id != *id {
                handed.push((old.id, *id));
            }
            let addr = old.bound.addr.clone();
            let bound = Bind { addr, ..bind.clone() };
            places.push(Place { id: *id, asked: bind.addr.clone(), bound });
        }
        let listening = Listening { listeners: moves.listeners.clone(), places };
        let told = self.told(&moves, &listening.bound());
        let closed = moves.closed.clone();
        let max_connections = moves.setup.max_connections;
        let groups = listening.joins(&moves.setup.groups);
        let reload = moves.reload();
        let serving = listening.serving();
        let change =
            Changeover { reload, opened, handed, closed, groups, serving, max_connections };
        Ok((listening, told, change))
    }

    /// An address that this gateway itself has is not somebody else's.
    fn whose(&self, error: StartError) -> ReloadError {
        let StartError::Bind { bind, source } = &error else { return error.into() };
        let ours = self.places.iter().find(|place| place.overlaps(bind));
        match ours.filter(|_| source.kind() == std::io::ErrorKind::AddrInUse) {
            Some(place) => ReloadError::Own {
                bind: Box::new(bind.clone()),
                owner: Box::new(place.bound.clone()),
            },
            None => error.into(),
        }
    }
}

impl Moves {
    /// For the core.
    pub(crate) fn reload(self) -> Reload {
        let mut config = self.setup.core;
        config.listeners = self.listeners;
        let (removed, moved) = (self.removed, self.moved);
        Reload { config, table: self.setup.table, removed, moved }
    }
}

impl Place {
    fn is_at(&self, addr: &Address) -> bool {
        self.asked == *addr || self.bound.addr == *addr
    }

    /// Whether its socket is the one that is wanted.
    fn is_for(&self, bind: &Bind) -> bool {
        self.is_at(&bind.addr) && self.bound.has_datagrams() == bind.has_datagrams()
    }

    /// Whether the system lets no other socket have what is wanted beside it.
    fn overlaps(&self, bind: &Bind) -> bool {
        self.bound.has_datagrams() == bind.has_datagrams() && self.bound.addr.overlaps(&bind.addr)
    }

    fn open(
        id: ListenerId,
        bind: &Bind,
        lent: &Lent,
        sockets: &mut Sockets,
    ) -> Result<Place, StartError> {
        let addr = match &bind.addr {
            Address::Unix(path) => listen::unix(path).map(|(socket, file)| {
                sockets.tcp.push(Opened { id, socket: Acceptor::Unix { socket, _file: file } });
                bind.addr.clone()
            }),
            Address::Ip(addr) if bind.has_datagrams() => {
                listen::udp(*addr, lent).and_then(|socket| {
                    let addr = socket.local_addr()?;
                    sockets.udp.push((id, socket));
                    Ok(addr.into())
                })
            }
            Address::Ip(addr) => listen::tcp(*addr, lent).and_then(|socket| {
                let addr = socket.local_addr()?;
                sockets.tcp.push(Opened { id, socket: Acceptor::Tcp(socket) });
                Ok(addr.into())
            }),
        };
        let asked = bind.addr.clone();
        match addr {
            Ok(addr) => Ok(Place { id, asked, bound: Bind { addr, ..bind.clone() } }),
            Err(source) => Err(StartError::Bind { bind: bind.clone(), source }),
        }
    }
}
