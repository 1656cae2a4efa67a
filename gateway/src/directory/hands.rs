//! [`Hands`]: does what the registration's machine asks for, on sockets.

use motegate_coap::client::{Request, Response};
use motegate_coap::directory::{Action, Look, Server};
use motegate_config::ResourceDirectory;
use motegate_core::Protocol;
use motegate_core::admin::{Answer, Query};
use motegate_message::ListenerId;
use motegate_timers::Instant;
use std::net::SocketAddr;

use super::{Means, base};
use crate::client::{CoapClient, Scheme, Target, resolve, until};
use crate::control::ask::Unanswered;
use crate::setup::Bind;

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
    /// A directory that has several addresses is tried at the next one after each failure.
    failures: usize,
    /// Links that were left out of the last look, and whether its base is reached from here only.
    pub(super) left_out: usize,
    pub(super) is_here_only: bool,
}

impl<'a> Hands<'a> {
    pub(super) fn new(means: &'a Means, wanted: &'a ResourceDirectory) -> Self {
        let (client, failures, left_out, is_here_only) = (None, 0, 0, false);
        Hands { means, wanted, client, failures, left_out, is_here_only }
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
            self.failures = self.failures.wrapping_add(1);
            self.client = None;
            Outcome::Failed(why)
        })
    }

    async fn open(&mut self, server: Server) -> Result<Server, String> {
        self.client = None;
        let target = Target::new(Scheme::Coap, &server.host, Some(server.port));
        let addresses = resolve(&target).await.map_err(|error| error.to_string())?;
        let at = self.failures.checked_rem(addresses.len());
        let Some(peer) = at.and_then(|at| addresses.get(at).copied()) else {
            return Err(format!("there is no host `{}`", server.host));
        };
        // One address: where it is must be known before anything was answered.
        let host = match peer {
            SocketAddr::V6(v6) if v6.scope_id() != 0 => format!("{}%{}", v6.ip(), v6.scope_id()),
            _ => peer.ip().to_string(),
        };
        let target = Target::new(Scheme::Coap, &host, Some(peer.port()));
        let client = CoapClient::open(&target, self.means.clock, false).await;
        self.client = Some((client.map_err(|error| error.to_string())?, peer));
        Ok(server)
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
