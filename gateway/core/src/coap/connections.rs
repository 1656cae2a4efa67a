//! CoAP over connections (RFC 8323): what their transport says of a client, their beginnings and ends in
//! the log. Their requests are those of datagrams.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use motegate_coap::endpoint::{Request as CoapRequest, Transmit};
use motegate_message::{ConnectionId, Peer, Reason};

use crate::mqtt::Opened;
use crate::notice::{Notice, NoticeKind};
use crate::{Core, Output, Protocol};

/// What the transport of a connection says of whoever is behind it.
#[derive(Debug)]
pub(crate) struct Behind {
    /// What a client certificate has proved.
    identity: Option<Arc<str>>,
    /// What Uri-Host is unless a request says it (RFC 8323 §8.5).
    host: Option<Arc<str>>,
}

/// The end of a connection.
pub(super) struct End {
    pub(super) reason: Reason,
    pub(super) was_connected: bool,
    pub(super) limit: Option<&'static str>,
    pub(super) text: Option<String>,
}

impl Core {
    pub(crate) fn coap_connected(&mut self, opened: Opened) {
        let Opened { conn, listener, peer, identity, host, since } = opened;
        if identity.is_some() || host.is_some() {
            self.coap_behind.insert(conn, Behind { identity, host });
        }
        let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let addr = peer.unwrap_or(nowhere);
        self.coap.handle_opened(&self.turn, conn, listener, addr, since);
    }

    /// Adds what the connection of a request says.
    pub(super) fn coap_default_host(&self, request: &mut CoapRequest) {
        let behind = request.conn.and_then(|conn| self.coap_behind.get(&conn));
        if let (None, Some(host)) = (&request.host, behind.and_then(|b| b.host.as_deref())) {
            request.host = Some(host.to_owned());
        }
    }

    /// What has been proved of who asks.
    pub(crate) fn coap_identity(&self, conn: Option<ConnectionId>) -> Option<&Arc<str>> {
        self.coap_behind.get(&conn?)?.identity.as_ref()
    }

    pub(super) fn coap_begun(&mut self, conn: ConnectionId, peer: &Peer) {
        let notice = self.coap_notice(conn, peer, NoticeKind::Connected { present: false });
        self.notice(notice);
    }

    pub(super) fn coap_limited(&mut self, conn: ConnectionId, peer: &Peer, limit: &'static str) {
        let notice = self.coap_notice(conn, peer, NoticeKind::Limited);
        self.notice(Notice { limit: Some(limit), ..notice });
    }

    /// Who never said a CSM and just went is worth no line.
    pub(super) fn coap_ended(&mut self, conn: ConnectionId, peer: &Peer, end: End) {
        let End { reason, was_connected, limit, text } = end;
        let kind = match was_connected {
            true => NoticeKind::Disconnected(reason),
            false => NoticeKind::Refused(reason),
        };
        let notice = self.coap_notice(conn, peer, kind);
        self.coap_behind.remove(&conn);
        if was_connected || !matches!(reason, Reason::ConnectionLost | Reason::Shutdown) {
            self.notice(Notice { limit, text, ..notice });
        }
    }

    fn coap_notice(&self, conn: ConnectionId, peer: &Peer, kind: NoticeKind) -> Notice {
        let realm = &self.listener(peer.listener).realm;
        let name = |identity: &Arc<str>| motegate_message::SessionKey::new(realm, identity);
        let client = self.coap_identity(Some(conn)).map(name);
        Notice { client, ..Notice::of_peer(kind, Protocol::Coap, peer) }
    }

    pub(crate) fn coap_transmit(&mut self, transmit: Transmit) {
        self.output(match transmit {
            Transmit::Write(conn) => Output::Write(conn),
            Transmit::Close(conn, reason) => Output::Close(conn, reason),
            Transmit::PauseReads(conn) => Output::PauseReads(conn),
            Transmit::ResumeReads(conn) => Output::ResumeReads(conn),
        });
    }
}
