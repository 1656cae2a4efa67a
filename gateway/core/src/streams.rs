//! Connections, of MQTT and of CoAP: which endpoint hears what the shell says of one, and what the
//! shell may ask of all. A connection's number is in one endpoint only, from `Input::Opened` on;
//! what comes for a number that none knows is of MQTT, which has forgotten more of them, and passes it
//! over.

use motegate_message::{ConnectionId, ListenerId, Reason};
use motegate_timers::{Instant, earliest};

use crate::access::admits;
use crate::mqtt::Opened;
use crate::{Core, Output, Protocol};

impl Core {
    /// Bytes to write to a connection.
    #[must_use]
    pub fn outbox(&self, conn: ConnectionId) -> &[u8] {
        match self.mqtt.outbox(conn) {
            [] => self.coap.outbox(conn),
            bytes => bytes,
        }
    }

    /// How many connections, of a listener or of all, have not said CONNECT, or their CSM of CoAP. The
    /// shell counts its own with them.
    #[must_use]
    pub fn half_open(&self, of: Option<ListenerId>) -> usize {
        self.mqtt.half_open(of) + self.coap.half_open(of)
    }

    /// When the oldest of them was accepted.
    pub fn oldest_half_open(&mut self, of: Option<ListenerId>) -> Option<Instant> {
        earliest(self.mqtt.oldest_half_open(of), self.coap.oldest_half_open(of))
    }

    pub(crate) fn close_oldest_half_open(&mut self, of: Option<ListenerId>) {
        let coap = self.coap.oldest_half_open(of);
        let mqtt = self.mqtt.oldest_half_open(of);
        if coap.is_some_and(|coap| mqtt.is_none_or(|mqtt| coap < mqtt)) {
            self.coap.close_oldest_half_open(&self.turn, of);
        } else {
            self.mqtt.close_oldest_half_open(&self.turn, of);
        }
    }

    pub(crate) fn opened(&mut self, opened: Opened) {
        let Opened { conn, listener, peer, .. } = opened;
        self.sys.sockets += 1;
        let Some(settings) = self.config.listeners.get(usize::from(listener.0)) else { return };
        let protocol = settings.protocol;
        if let Some(addr) = peer.filter(|addr| !admits(settings.sources, *addr)) {
            self.refuse_source(protocol, listener, addr);
            self.outputs.push_back(Output::Close(conn, Reason::SourceDenied));
            return;
        }
        match protocol {
            Protocol::Coap => self.coap_connected(opened),
            Protocol::Mqtt | Protocol::MqttSn => self.mqtt_opened(opened),
        }
    }

    pub(crate) fn stream_bytes(&mut self, conn: ConnectionId, chunk: &[u8]) {
        if self.coap.has_connection(conn) {
            self.coap.handle_bytes(&self.turn, conn, chunk);
        } else {
            self.mqtt.handle_bytes(&self.turn, conn, chunk);
        }
    }

    pub(crate) fn stream_written(&mut self, conn: ConnectionId, n: usize) {
        if self.coap.has_connection(conn) {
            self.coap.handle_written(&self.turn, conn, n);
        } else {
            self.mqtt.handle_written(&self.turn, conn, n);
        }
    }

    pub(crate) fn stream_closed(&mut self, conn: ConnectionId, reason: Reason) {
        if self.coap.has_connection(conn) {
            self.coap.handle_closed(&self.turn, conn, reason);
        } else {
            self.mqtt_lost(conn, reason);
        }
    }
}
