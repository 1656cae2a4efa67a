//! Who takes part in a run: [`Client`], one scripted client of any protocol, and [`cast`].

use super::ctx::{Ctx, MS, Micros, SEC};
use super::model::Model;
use super::rng::Rng;
use super::{coap, mqtt, sn, stream};

/// A scripted client.
#[derive(Debug)]
pub(super) enum Client {
    /// MQTT 3.1.1 or 5.0.
    Mqtt(mqtt::Client),
    /// MQTT-SN 1.2.
    Sn(sn::Client),
    /// CoAP.
    Coap(coap::Client),
    /// CoAP on a connection.
    Stream(Box<stream::Client>),
}

impl Client {
    /// Whether it is connected and has subscribed to what it wants.
    #[must_use]
    pub(super) fn settled(&self) -> bool {
        match self {
            Client::Mqtt(c) => c.settled(),
            Client::Sn(c) => c.settled(),
            Client::Coap(c) => c.settled(),
            Client::Stream(c) => c.settled(),
        }
    }

    /// Whether nothing of its own is unfinished; `damaged`: what the gateway has begun may be lost.
    #[must_use]
    pub(super) fn idle(&self, damaged: bool) -> bool {
        match self {
            Client::Mqtt(c) => c.idle(),
            Client::Sn(c) => c.idle(damaged),
            Client::Coap(c) => c.idle(),
            Client::Stream(c) => c.idle(),
        }
    }

    /// For the report of a run that does not come to rest.
    #[must_use]
    pub(super) fn describe(&self) -> String {
        match self {
            Client::Mqtt(c) => c.describe(),
            Client::Sn(c) => c.describe(),
            Client::Coap(c) => c.describe(),
            Client::Stream(c) => c.describe(),
        }
    }

    /// When it acts next.
    #[must_use]
    pub(super) fn wake(&self) -> Micros {
        match self {
            Client::Mqtt(c) => c.wake,
            Client::Sn(c) => c.wake,
            Client::Coap(c) => c.wake,
            Client::Stream(c) => c.wake,
        }
    }

    /// Its time has come.
    pub(super) fn on_wake(&mut self, ctx: &mut Ctx<'_>) {
        match self {
            Client::Mqtt(c) => c.on_wake(ctx),
            Client::Sn(c) => c.on_wake(ctx),
            Client::Coap(c) => c.on_wake(ctx),
            Client::Stream(c) => c.on_wake(ctx),
        }
    }

    /// Bytes came on its connection.
    pub(super) fn on_bytes(&mut self, ctx: &mut Ctx<'_>, chunk: &[u8]) {
        match self {
            Client::Mqtt(c) => c.on_bytes(ctx, chunk),
            Client::Stream(c) => c.on_bytes(ctx, chunk),
            Client::Sn(_) | Client::Coap(_) => {}
        }
    }

    /// Its connection has ended.
    pub(super) fn on_closed(&mut self, ctx: &mut Ctx<'_>) {
        match self {
            Client::Mqtt(c) => c.on_closed(ctx),
            Client::Stream(c) => c.on_closed(ctx),
            Client::Sn(_) | Client::Coap(_) => {}
        }
    }
}

/// The cast of [`Scene::Coap`](super::Scene): two MQTT clients that subscribe for good, one that probes
/// at the end, four CoAP requesters, four observers of them.
#[must_use]
pub(super) fn cast_of_coap(rng: &mut Rng, model: &mut Model) -> Vec<Client> {
    let mut clients = readers(rng, model);
    for observer in [false, false, false, false, true, true, true, true] {
        let index = clients.len();
        model.receiver(false, true);
        let seed = u16::try_from(rng.below(60_000)).unwrap_or(0);
        let mut client =
            coap::Client::new(index, observer, vec![3, 4, 5, 6], seed, rng.range(MS, SEC));
        client.lossy = true;
        clients.push(Client::Coap(client));
    }
    clients
}

/// The cast of [`Scene::Streams`](super::Scene): the same MQTT clients, four requesters on connections, three
/// observers of them, one that configures topics, and a requester and an observer with datagrams.
#[must_use]
pub(super) fn cast_of_streams(rng: &mut Rng, model: &mut Model) -> Vec<Client> {
    let mut clients = readers(rng, model);
    let values = vec![3, 4, 5, 6, 11];
    for _ in 0..4 {
        let index = clients.len();
        model.receiver(false, true);
        clients.push(Client::Stream(stream::Client::requester(index, values.clone(), rng).into()));
    }
    for _ in 0..3 {
        let index = clients.len();
        model.receiver(false, true);
        clients.push(Client::Stream(stream::Client::observer(index, values.clone(), rng).into()));
    }
    model.receiver(false, true);
    clients.push(Client::Stream(stream::Client::topics(clients.len(), rng).into()));
    for observer in [false, true] {
        let index = clients.len();
        model.receiver(false, true);
        let seed = u16::try_from(rng.below(60_000)).unwrap_or(0);
        // Values in blocks are for the others.
        let client = coap::Client::new(index, observer, vec![11], seed, rng.range(MS, SEC));
        clients.push(Client::Coap(client));
    }
    clients
}

/// Two MQTT clients that subscribe for good, and one that probes at the end.
fn readers(rng: &mut Rng, model: &mut Model) -> Vec<Client> {
    let mut clients = Vec::new();
    for (v5, durable, probe) in [(false, true, false), (true, true, false), (true, false, true)] {
        let index = clients.len();
        model.receiver(durable, false);
        let traits = mqtt::Traits { index, v5, durable, lazy: false, wills: false, probe };
        clients.push(Client::Mqtt(mqtt::Client::new(traits, rng.range(MS, SEC))));
    }
    clients
}

/// The cast of a run: four MQTT clients (one only probes at the end), three MQTT-SN, two CoAP
/// requesters, two observers.
#[must_use]
pub(super) fn cast(rng: &mut Rng, model: &mut Model, queue_bound: Option<u32>) -> Vec<Client> {
    let mut clients = Vec::new();
    for (v5, durable, probe) in [
        (false, true, false),
        (true, true, false),
        (rng.chance(500), false, false),
        (true, false, true),
    ] {
        let index = clients.len();
        let lazy = !probe && rng.chance(300);
        let wills = rng.chance(500);
        model.receiver(durable, false);
        let traits = mqtt::Traits { index, v5, durable, lazy, wills, probe };
        let mut client = mqtt::Client::new(traits, rng.range(MS, SEC));
        client.queue_bound = queue_bound.filter(|_| durable);
        clients.push(Client::Mqtt(client));
    }
    for (durable, sleeper) in [(true, true), (true, false), (false, rng.chance(500))] {
        let index = clients.len();
        model.receiver(durable, true);
        let (radio_off, wills) = (rng.chance(500), rng.chance(300));
        let traits = sn::Traits { index, durable, sleeper, radio_off, wills };
        clients.push(Client::Sn(sn::Client::new(traits, rng.range(MS, SEC))));
    }
    for observer in [false, false, true, true] {
        let index = clients.len();
        model.receiver(false, true);
        let targets =
            if observer { vec![index % 4, 4 + index % 3, 7, 8] } else { vec![0, 1, 4, 5, 7] };
        let seed = u16::try_from(rng.below(60_000)).unwrap_or(0);
        let client = coap::Client::new(index, observer, targets, seed, rng.range(MS, SEC));
        clients.push(Client::Coap(client));
    }
    clients
}
