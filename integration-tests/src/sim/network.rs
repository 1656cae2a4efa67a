//! What passes between clients and gateway, in the simulation: datagrams, chunks of streams, and what
//! the scripted clients ask for.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use motegate_core::Input;
use motegate_message::{ConnectionId, LocalId, Reason};

use super::Fault;
use super::cast::Client;
use super::ctx::{Act, Ctx, MS, SEC};
use super::falsify;
use super::gateway;
use super::link::{Happening, Stream};
use super::rng::Rng;
use super::world::{Phase, World};

impl World {
    /// Where a client's datagrams come from now.
    fn address(&self, client: usize) -> SocketAddr {
        let host = u8::try_from(client + 1).expect("few clients");
        SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, host)), self.ports[client])
    }

    /// Whose address it is, or was.
    pub(super) fn client_at(&self, addr: SocketAddr) -> Option<usize> {
        let IpAddr::V4(ip) = addr.ip() else { return None };
        let client = usize::from(ip.octets()[3]).checked_sub(1)?;
        let used =
            client < self.ports.len() && (40_000..=self.ports[client]).contains(&addr.port());
        used.then_some(client)
    }

    pub(super) fn flight(&mut self) {
        let Some(flight) = self.link.pop() else { return };
        let client = flight.client;
        if flight.upward {
            self.trace.event(self.now, "from udp", client, &flight.bytes);
            if !self.gateway.is_up() {
                return;
            }
            if flight.listener == gateway::SN {
                self.sleepers.upward(client, &flight.bytes, &self.model);
            }
            let (listener, peer) = (flight.listener, self.address(client));
            let mut bytes = flight.bytes;
            if self.fault == Some(Fault::FragmentPublished) && listener == gateway::COAP {
                falsify::into_whole(&mut bytes);
            }
            let input = Input::Datagram { listener, local: LocalId::ANY, peer, bytes: &bytes };
            self.gateway.handle(self.now, input);
            self.pump();
        } else {
            self.with_client(client, |c, ctx| match c {
                Client::Mqtt(_) | Client::Stream(_) => {}
                Client::Sn(c) => c.on_datagram(ctx, &flight.bytes),
                Client::Coap(c) => c.on_datagram(ctx, &flight.bytes),
            });
        }
    }

    pub(super) fn stream(&mut self, i: usize, what: Happening) {
        let stream = &mut self.streams[i];
        let (conn, client) = (stream.conn, stream.client);
        match what {
            Happening::GatewayWrites => {
                self.write(conn, false);
                self.pump();
            }
            Happening::GatewayReads if stream.upward.is_empty() || stream.paused => {
                stream.gateway_open = false;
                self.trace.event(self.now, "closed", client, &[]);
                let input = Input::Closed { conn, reason: Reason::ConnectionLost };
                self.gateway.handle(self.now, input);
                self.pump();
            }
            Happening::GatewayReads => {
                let n = piece(&mut self.rng, stream.upward.len(), stream.bounded);
                let chunk: Vec<u8> = stream.upward.drain(..n).collect();
                stream.upward_at = self.now + self.rng.range(0, 10 * MS);
                self.trace.event(self.now, "from mqtt", client, &chunk);
                self.gateway.handle(self.now, Input::Bytes { conn, chunk: &chunk });
                self.pump();
                if self.fault == Some(Fault::BodyDoubled)
                    && let Some(again) = self.overheard[client].hear(&chunk)
                {
                    self.gateway.handle(self.now, Input::Bytes { conn, chunk: &again });
                    self.pump();
                }
            }
            Happening::ClientReads if stream.downward.is_empty() => {
                stream.client_open = false;
                stream.upward_ended = true;
                self.with_client(client, Client::on_closed);
            }
            Happening::ClientReads => {
                let n = piece(&mut self.rng, stream.downward.len(), stream.bounded);
                let chunk: Vec<u8> = stream.downward.drain(..n).collect();
                stream.downward_at = self.now + self.rng.range(0, 10 * MS);
                if stream.bounded && self.phase == Phase::Active && self.rng.chance(20) {
                    // It does not read for a while, or for longer than the gateway waits.
                    stream.downward_at += self.rng.range(SEC, 70 * SEC);
                }
                // A cable is pulled now and then, anywhere in the stream.
                let cut = self.phase == Phase::Active && self.rng.chance(4);
                if cut {
                    stream.break_off(&mut self.rng, self.now);
                }
                self.with_client(client, |c, ctx| {
                    c.on_bytes(ctx, &chunk);
                    if cut {
                        c.on_closed(ctx);
                    }
                });
            }
        }
    }

    pub(super) fn with_client(&mut self, i: usize, call: impl FnOnce(&mut Client, &mut Ctx<'_>)) {
        let mut acts = Vec::new();
        let mut ctx = Ctx {
            now: self.now,
            rng: &mut self.rng,
            model: &mut self.model,
            trace: &mut self.trace,
            acts: &mut acts,
            healing: self.phase != Phase::Active,
            last_round: self.phase >= Phase::LastRound,
            probing: self.phase >= Phase::Probing,
            failure: &mut self.failure,
        };
        call(&mut self.clients[i], &mut ctx);
        for act in acts {
            self.perform(i, act);
        }
    }

    fn perform(&mut self, client: usize, act: Act) {
        let stream = self.streams.iter().position(|s| s.client == client && s.client_open);
        match act {
            Act::Open => self.open(client),
            Act::Tcp(bytes) => {
                if let Some(i) = stream {
                    let stream = &mut self.streams[i];
                    if stream.upward.is_empty() {
                        stream.upward_at =
                            stream.upward_at.max(self.now + self.rng.range(MS, 40 * MS));
                    }
                    stream.upward.extend_from_slice(&bytes);
                }
            }
            Act::Fin => {
                if let Some(i) = stream {
                    self.streams[i].client_open = false;
                    self.streams[i].upward_ended = true;
                }
            }
            Act::Break => {
                if let Some(i) = stream {
                    self.streams[i].break_off(&mut self.rng, self.now);
                }
            }
            Act::NewPort => self.ports[client] += 1,
            Act::Datagram(bytes) => {
                let listener = match self.clients[client] {
                    Client::Coap(_) => gateway::COAP,
                    _ => gateway::SN,
                };
                self.link.send(&mut self.rng, self.now, (true, client, listener), &bytes);
            }
        }
    }

    fn open(&mut self, client: usize) {
        let taken = |slot: &usize| self.streams.iter().any(|s| s.conn.slot() == *slot);
        let slot = (0..).find(|slot| !taken(slot)).unwrap_or(0);
        if self.generations.len() <= slot {
            self.generations.resize(slot + 1, 0);
        }
        self.generations[slot] += 1;
        let conn = ConnectionId::new(u32::try_from(slot).unwrap_or(0), self.generations[slot]);
        let mut stream = Stream::new(conn, client);
        if self.gateway.is_up() {
            let on_coap = matches!(self.clients[client], Client::Stream(_));
            let listener = if on_coap { gateway::COAP_STREAMS } else { gateway::MQTT };
            stream.bounded = on_coap;
            self.overheard[client].opened();
            let peer = Some(self.address(client));
            self.trace.event(self.now, "opened", client, &conn.get().to_be_bytes());
            self.streams.push(stream);
            let (identity, since) = (None, self.gateway.clocks(self.now).0);
            self.gateway.handle(
                self.now,
                Input::Opened { conn, listener, peer, identity, host: None, since },
            );
            self.pump();
        } else {
            // Connection refused.
            stream.gateway_open = false;
            stream.downward_ended = true;
            stream.downward_at = self.now + 10 * MS;
            self.streams.push(stream);
        }
    }
}

/// How many of `len` bytes one read gives; those of `large` bodies do not all come in small pieces.
fn piece(rng: &mut Rng, len: usize, large: bool) -> usize {
    let most = if large && rng.chance(700) { 1_400 } else { 40 };
    if rng.chance(500) { len } else { 1 + rng.index(len.min(most)) }
}
