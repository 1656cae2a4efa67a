//! [`Hands`]: does what the registration's machine asks for, on sockets.

use std::net::SocketAddr;
use std::time::Duration;

use motegate_coap::client::{Request, Response};
use motegate_coap::directory::{Action, Look, Server};
use motegate_config::ResourceDirectory;
use motegate_core::Protocol;
use motegate_core::admin::{Answer, Query};
use motegate_message::ListenerId;
use motegate_timers::Instant;

use super::{Means, base};
use crate::client::{CoapClient, Scheme, Target, resolve, until};
use crate::control::ask::Unanswered;
use crate::setup::Bind;

/// How long one of several addresses has to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What came of an action.
pub(super) enum Outcome {
    /// There was none, and its time has come.
    Time,
    Opened(Server),
    Looked(Look),
    Answered(Response),
    Failed(String),
}

/// Everything outside the machine.
pub(super) struct Hands<'a> {
    means: &'a Means,
    wanted: &'a ResourceDirectory,
    /// The server that was opened.
    client: Option<(CoapClient, SocketAddr)>,
    /// Links that were left out of the last look, and whether its base is reached from here only.
    pub(super) left_out: usize,
    pub(super) is_here_only: bool,
}

impl<'a> Hands<'a> {
    pub(super) fn new(means: &'a Means, wanted: &'a ResourceDirectory) -> Self {
        Hands { means, wanted, client: None, left_out: 0, is_here_only: false }
    }

    /// Carries an action out, or waits until the deadline.
    pub(super) async fn perform(
        &mut self,
        action: Option<Action>,
        deadline: Option<Instant>,
    ) -> Outcome {
        let done = match action {
            None => {
                until(self.means.clock, deadline).await;
                return Outcome::Time;
            }
            Some(Action::Open(server)) => self.open(server).await.map(Outcome::Opened),
            Some(Action::Look) => self.look().await.map(Outcome::Looked),
            Some(Action::Ask(request)) => self.ask(request).await.map(Outcome::Answered),
        };
        done.unwrap_or_else(|why| {
            self.client = None;
            Outcome::Failed(why)
        })
    }

    async fn open(&mut self, server: Server) -> Result<Server, String> {
        self.client = None;
        let target = Target::new(Scheme::Coap, &server.host, Some(server.port));
        let addresses = resolve(&target).await.map_err(|error| error.to_string())?;
        let found = self.one_of(&addresses).await;
        self.client = Some(found.ok_or(format!("there is no host `{}`", server.host))??);
        Ok(server)
    }

    /// Of several addresses, one that answers: where it is decides on the base, and must be known
    /// before anything is asked. `None` of none.
    async fn one_of(
        &self,
        addresses: &[SocketAddr],
    ) -> Option<Result<(CoapClient, SocketAddr), String>> {
        let mut fault = None;
        for &peer in addresses {
            match self.reach(peer, addresses.len() > 1).await {
                Ok(client) => return Some(Ok((client, peer))),
                Err(why) => fault = Some(Err(why)),
            }
        }
        fault
    }

    async fn reach(&self, peer: SocketAddr, has_others: bool) -> Result<CoapClient, String> {
        let host = match peer {
            SocketAddr::V6(v6) if v6.scope_id() != 0 => format!("{}%{}", v6.ip(), v6.scope_id()),
            _ => peer.ip().to_string(),
        };
        let target = Target::new(Scheme::Coap, &host, Some(peer.port()));
        let client = CoapClient::open(&target, self.means.clock, false).await;
        let mut client = client.map_err(|error| error.to_string())?;
        if has_others {
            // RFC 7252 §4.3: an empty CON is answered, whatever else the server does.
            let answer = tokio::time::timeout(PATIENCE, client.ping()).await;
            let answer = answer.map_err(|_| format!("no answer from {peer}/udp"))?;
            answer.map_err(|error| error.to_string())?;
        }
        Ok(client)
    }

    async fn look(&mut self) -> Result<Look, String> {
        let (id, binds) = self.listener();
        let base = match (&self.wanted.base, &self.client) {
            (Some(uri), _) => base::Base { uri: uri.clone(), is_here_only: false },
            (None, Some((_, peer))) => {
                let local = base::local(*peer)
                    .map_err(|error| format!("cannot reach {peer}/udp: {error}"))?;
                base::of(&binds, local)?
            }
            (None, None) => return Err("no directory was found yet".to_owned()),
        };
        let id = id.ok_or("there is no such listener")?;
        let reply = self.means.asker.ask(Query::Links { listener: id }).await;
        let reply = reply.map_err(|why| match why {
            Unanswered::Stopping => "the gateway is stopping".to_owned(),
            Unanswered::Busy => "the gateway is too busy to say what it serves".to_owned(),
        })?;
        let Answer::Links(links) = reply.answer else {
            return Err("the gateway does not say what it serves".to_owned());
        };
        self.left_out = links.left_out;
        self.is_here_only = base.is_here_only;
        Ok(Look { links: links.document, count: links.count, base: base.uri })
    }

    /// The listener whose resources are registered, and all its addresses.
    fn listener(&self) -> (Option<ListenerId>, Vec<Bind>) {
        let standing = self.means.standing.borrow();
        let mut id = None;
        let mut binds = Vec::new();
        for (bind, of) in standing.listeners.iter().zip(&standing.ids) {
            if bind.protocol == Protocol::Coap && bind.name == self.wanted.listener {
                id = id.or(Some(*of));
                binds.push(bind.clone());
            }
        }
        (id, binds)
    }

    async fn ask(&mut self, request: Request) -> Result<Response, String> {
        let Some((client, _)) = &mut self.client else {
            return Err("no directory was found yet".to_owned());
        };
        client.ask(request).await.map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use tokio::sync::watch;

    use super::*;
    use crate::clock::Clock;
    use crate::control::ask;
    use crate::supervisor::Standing;

    /// RFC 9176 §5: "pick other choices": another address of the same name, at once.
    #[tokio::test]
    async fn the_address_that_answers_is_taken() {
        let (asker, _asked) = ask::channel();
        let (_, standing) = watch::channel(Standing::default());
        let (status, _) = watch::channel(None);
        let means = Means { asker, standing, status, clock: Clock::start() };
        let resolved = motegate_config::Config::parse(
            "f",
            "listeners: [{protocol: coap, anonymous: true}]\ncoap: {resource_directory: {uri: \
             \"coap://localhost\"}}\n",
        );
        let wanted = resolved.unwrap().directory.unwrap();
        let hands = Hands::new(&means, &wanted);
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let open = socket.local_addr().unwrap();
        let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        std::thread::spawn(move || {
            let mut ping = [0; 4];
            let (_, from) = socket.recv_from(&mut ping).unwrap();
            assert_eq!(ping[..2], [0x40, 0], "an empty CON");
            socket.send_to(&[0x70, 0, ping[2], ping[3]], from).unwrap();
        });
        let found = hands.one_of(&[closed, open]).await;
        assert_eq!(found.unwrap().map(|(_, peer)| peer).ok(), Some(open));
        let told = hands.one_of(&[closed, closed]).await.unwrap().err().unwrap();
        assert!(told.contains("nothing listens"), "{told}");
        assert!(hands.one_of(&[]).await.is_none());
    }
}
