//! A running gateway changes its configuration: sockets are opened first, then the worker changes
//! over between two turns, then old sockets are closed. Whatever fails leaves everything as it was.

use std::io;
use std::net::SocketAddr;

use motegate_core::{Aligned, Listener, Protocol, Reload, align};
use motegate_message::ListenerId;

use crate::gateway::StartError;
use crate::net::listen;
use crate::setup::{Bind, Setup};
use crate::supervisor::Standing;
use crate::worker::{Changeover, Sockets};

/// Why a reload changed nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReloadError {
    /// A new listener's address cannot be had, or there are too many listeners.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The system refuses to watch a socket, or the gateway is stopping.
    #[error("{0}")]
    System(#[from] io::Error),
    /// The worker has ended.
    #[error("the gateway has ended")]
    Ended,
}

/// The sockets that a gateway has, and for what.
#[derive(Debug)]
pub(crate) struct Listening {
    /// As the core has them, those that were removed included.
    listeners: Vec<Listener>,
    places: Vec<Place>,
}

/// An open socket.
#[derive(Debug, Clone)]
struct Place {
    id: ListenerId,
    /// As the configuration says.
    asked: SocketAddr,
    /// As the system gave it.
    bound: Bind,
}

/// What a reload will do to the sockets.
struct Moves {
    aligned: Aligned,
    /// In the order of the new configuration; `Err`: still to be opened.
    places: Vec<Result<Place, (ListenerId, Bind)>>,
    closed: Vec<ListenerId>,
}

impl Listening {
    /// Opens all.
    pub(crate) fn open(
        listeners: &[Listener],
        binds: &[Bind],
    ) -> Result<(Self, Sockets), StartError> {
        let mut sockets = Sockets::default();
        let mut places = Vec::with_capacity(binds.len());
        for (index, bind) in binds.iter().enumerate() {
            let id = ListenerId(u16::try_from(index).map_err(|_| StartError::TooManyListeners)?);
            places.push(Place::open(id, bind, &mut sockets)?);
        }
        Ok((Listening { listeners: listeners.to_vec(), places }, sockets))
    }

    /// Where it listens, with the ports the system chose.
    pub(crate) fn bound(&self) -> Vec<Bind> {
        self.places.iter().map(|place| place.bound.clone()).collect()
    }

    /// The same for whoever asks.
    pub(crate) fn standing(&self, max_connections: usize) -> Standing {
        Standing {
            listeners: self.bound(),
            names: self.listeners.iter().map(|listener| listener.name.clone()).collect(),
            max_connections,
            last_reload: None,
        }
    }

    /// What the core would have to do.
    pub(crate) fn preview(&self, setup: Setup) -> Result<Reload, ReloadError> {
        let Moves { aligned, .. } = self.moves(&setup)?;
        Ok(reload(aligned, setup))
    }

    /// Opens the sockets that are new; the result is what the gateway listens on once the change
    /// is carried out.
    pub(crate) fn change(&self, setup: Setup) -> Result<(Listening, Changeover), ReloadError> {
        let Moves { aligned, places, closed } = self.moves(&setup)?;
        let mut opened = Sockets::default();
        let places = places.into_iter().map(|place| match place {
            Ok(place) => Ok(place),
            Err((id, bind)) => Place::open(id, &bind, &mut opened),
        });
        let places = places.collect::<Result<Vec<Place>, StartError>>()?;
        let listening = Listening { listeners: aligned.listeners.clone(), places };
        let max_connections = setup.max_connections;
        let reload = reload(aligned, setup);
        Ok((listening, Changeover { reload, opened, closed, max_connections }))
    }

    fn moves(&self, setup: &Setup) -> Result<Moves, StartError> {
        let aligned = align(&self.listeners, setup.core.listeners.clone())
            .ok_or(StartError::TooManyListeners)?;
        let kept = |id: ListenerId, bind: &Bind| {
            let mut here = self.places.iter().filter(|place| place.id == id);
            here.find(|place| place.asked == bind.addr || place.bound.addr == bind.addr).cloned()
        };
        let pairs = aligned.ids.iter().zip(&setup.binds);
        let places: Vec<_> =
            pairs.map(|(id, bind)| kept(*id, bind).ok_or_else(|| (*id, bind.clone()))).collect();
        let stays = |id: &ListenerId| places.iter().flatten().any(|place| place.id == *id);
        let closed = self.places.iter().map(|place| place.id).filter(|id| !stays(id)).collect();
        Ok(Moves { aligned, places, closed })
    }
}

fn reload(aligned: Aligned, setup: Setup) -> Reload {
    let mut config = setup.core;
    config.listeners = aligned.listeners;
    Reload { config, table: setup.table, removed: aligned.removed }
}

impl Place {
    fn open(id: ListenerId, bind: &Bind, sockets: &mut Sockets) -> Result<Place, StartError> {
        let addr = match bind.protocol {
            Protocol::Mqtt => listen::tcp(bind.addr).and_then(|socket| {
                let addr = socket.local_addr()?;
                sockets.tcp.push((id, socket));
                Ok(addr)
            }),
            Protocol::MqttSn | Protocol::Coap => listen::udp(bind.addr).and_then(|socket| {
                let addr = socket.local_addr()?;
                sockets.udp.push((id, socket));
                Ok(addr)
            }),
        };
        match addr {
            Ok(addr) => Ok(Place { id, asked: bind.addr, bound: Bind { addr, ..bind.clone() } }),
            Err(source) => Err(StartError::Bind { bind: bind.clone(), source }),
        }
    }
}
