//! [`Device`]: the firmware's client, and the application on it.

use std::time::Duration;

use motegate_mqtt_sn::client::{Client, ClientConfig, ClientEvent, ClientState, Done};
use motegate_mqtt_sn::{QosBits, ReturnCode, TopicId, TopicRef};
use motegate_timers::Instant;

use super::ledger::Account;
use crate::sim::ctx::{MAX_DELAY, Micros, SEC};
use crate::sim::rng::Rng;

type Firmware = Client<96, 0>;

/// What a device counts of its life.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) awakenings: u64,
    pub(super) lost: u64,
    pub(super) powerless: u64,
}

#[derive(Debug)]
pub(super) struct Device {
    client: Firmware,
    name: String,
    /// What is done next, unless something is under way.
    plan: Plan,
    /// When.
    pub(super) due: Micros,
    /// Subscriptions that the gateway has granted, and the id of its own topic: all of it lasts as
    /// long as the session, and is forgotten without power.
    subscribed: u8,
    own_topic: Option<u16>,
    /// Number and lane of the reading under way.
    publishing: Option<(u32, usize)>,
    /// A reading that is not acknowledged, to be published again.
    unsent: Option<(u32, usize)>,
    /// May come twice at QoS 2: power went while it was received.
    excused: Option<u32>,
    sleep: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plan {
    Connect,
    /// Whatever an active device has to do; then sleep.
    Work,
    /// Be it by PINGREQ or by CONNECT.
    WakeUp,
    /// Something is under way.
    Wait,
}

fn instant(now: Micros) -> Instant {
    Instant::from_micros(now)
}

fn client(name: &str) -> Firmware {
    let config = ClientConfig {
        keep_alive_secs: 120,
        retry_timeout: Duration::from_secs(10),
        max_retries: 4,
        will: None,
    };
    Firmware::new(name, config).expect("its name is short")
}

impl Device {
    pub(super) fn new(number: usize, sleep: u16, begins: Micros) -> Device {
        let name = format!("mote-{number}");
        Device {
            client: client(&name),
            name,
            plan: Plan::Connect,
            due: begins,
            subscribed: 0,
            own_topic: None,
            publishing: None,
            unsent: None,
            excused: None,
            sleep,
        }
    }

    /// Nothing is on its way to the operator any more.
    pub(super) fn is_idle(&self) -> bool {
        self.publishing.is_none() && self.unsent.is_none()
    }

    /// When it wants to be called.
    pub(super) fn next(&self) -> Micros {
        let timeout = self.client.poll_timeout().map_or(Micros::MAX, |at| at.as_micros());
        if self.plan == Plan::Wait { timeout } else { timeout.min(self.due) }
    }

    /// What it sends.
    pub(super) fn transmit(&mut self) -> Option<Vec<u8>> {
        self.client.poll_transmit().map(|datagram| datagram.to_vec())
    }

    /// The battery is out and in again: whatever was in memory is gone.
    pub(super) fn lose_power(
        &mut self,
        now: Micros,
        account: &Account,
        counts: &mut Counts,
        rng: &mut Rng,
    ) {
        self.client = client(&self.name);
        let id = u16::try_from(rng.range(1, 0xffff)).expect("16 bits");
        self.client.set_next_msg_id(id);
        (self.subscribed, self.own_topic) = (0, None);
        self.unsent = self.publishing.take().filter(|(_, lane)| *lane == 0).or(self.unsent);
        self.excused = account.down[1].last();
        counts.powerless += 1;
        self.later(now, rng, Plan::Connect);
    }

    /// So much later that no copy of what was sent is under way.
    fn later(&mut self, now: Micros, rng: &mut Rng, plan: Plan) {
        self.plan = plan;
        self.due = now + MAX_DELAY + rng.range(0, 2 * SEC);
    }

    /// Its time has come. `healing`: no new reading is begun.
    pub(super) fn wake(
        &mut self,
        now: Micros,
        account: &mut Account,
        counts: &mut Counts,
        rng: &mut Rng,
        healing: bool,
    ) {
        if self.client.poll_timeout().is_some_and(|at| at.as_micros() <= now)
            && self.client.handle_timeout(instant(now)) == Some(ClientEvent::Lost)
        {
            self.lost(now, counts, rng);
        }
        if self.plan == Plan::Wait || self.due > now || self.client.is_busy() {
            return;
        }
        match self.plan {
            Plan::Connect => self.ask(|client| client.connect(instant(now), false)),
            Plan::WakeUp if self.unsent.is_some() || rng.chance(250) => {
                self.ask(|client| client.connect(instant(now), false));
            }
            Plan::WakeUp => self.ask(|client| client.wake(instant(now))),
            Plan::Work => self.work(now, account, rng, healing),
            Plan::Wait => {}
        }
    }

    fn ask(
        &mut self,
        request: impl FnOnce(&mut Firmware) -> Result<(), motegate_mqtt_sn::client::ClientError>,
    ) {
        self.plan = Plan::Wait;
        request(&mut self.client).expect("it is not busy, and the request is short");
    }

    /// The next thing that an active device does.
    fn work(&mut self, now: Micros, account: &mut Account, rng: &mut Rng, healing: bool) {
        let now = instant(now);
        if self.client.state() != ClientState::Active {
            self.plan = Plan::Connect;
            return self.ask(|client| client.connect(now, false));
        }
        if usize::from(self.subscribed) < 2 {
            let (kind, qos) =
                [("cmd", QosBits::One), ("cfg", QosBits::Two)][usize::from(self.subscribed)];
            // Half of them by a wildcard: ids come by REGISTER then.
            let wildcard = self.name.len().is_multiple_of(2);
            let filter = if wildcard {
                format!("{kind}/{}/+", self.name)
            } else {
                format!("{kind}/{}/x", self.name)
            };
            return self.ask(|client| client.subscribe(now, TopicRef::Name(&filter), qos));
        }
        if self.unsent.is_none() && !healing && rng.chance(300) {
            let lane = rng.index(2);
            self.unsent = Some((account.up[lane].begin(), lane));
        }
        let Some((number, lane)) = self.unsent else {
            let sleep = self.sleep;
            return self.ask(|client| client.sleep(now, sleep));
        };
        let Some(id) = self.own_topic else {
            let name = format!("up/{}", self.name);
            return self.ask(|client| client.register(now, &name));
        };
        self.unsent = None;
        self.publishing = Some((number, lane));
        let qos = [QosBits::One, QosBits::Two][lane];
        let text = format!("{lane} {number}");
        self.ask(|client| client.publish(now, TopicId::Normal(id), qos, false, text.as_bytes()));
    }

    fn lost(&mut self, now: Micros, counts: &mut Counts, rng: &mut Rng) {
        counts.lost += 1;
        // Whether the gateway took it is not known; the same again could be a second one.
        self.unsent = self.publishing.take().filter(|(_, lane)| *lane == 0).or(self.unsent);
        self.later(now, rng, Plan::Connect);
    }

    /// A datagram comes; a sleeper has its radio off.
    pub(super) fn receive(
        &mut self,
        now: Micros,
        bytes: &[u8],
        account: &mut Account,
        counts: &mut Counts,
        rng: &mut Rng,
    ) -> Result<(), String> {
        if self.client.state() == ClientState::Asleep && !self.client.is_busy() {
            return Ok(());
        }
        let Some(event) = self.client.handle_datagram(instant(now), bytes) else { return Ok(()) };
        match event {
            ClientEvent::Message { data, .. } => {
                let (lane, number) = parse(data)?;
                return account.down[lane].arrive(number, lane == 1, self.excused);
            }
            ClientEvent::Lost => self.lost(now, counts, rng),
            ClientEvent::Done(done) => self.done(now, done, account, counts, rng),
            ClientEvent::Refused { request, code } => match (request, code) {
                (Done::Publish, ReturnCode::InvalidTopicId) => {
                    // The gateway has forgotten the id, which it may not: the session is kept.
                    return Err(format!("{}: its topic id is unknown", self.name));
                }
                (request, ReturnCode::Congestion) => {
                    if request == Done::Publish {
                        self.unsent = self.publishing.take().or(self.unsent);
                    }
                    self.later(now, rng, Plan::Work);
                }
                refused => return Err(format!("{}: refused {refused:?}", self.name)),
            },
            ClientEvent::Registered { .. } | ClientEvent::GatewayFound { .. } => {}
        }
        Ok(())
    }

    fn done(
        &mut self,
        now: Micros,
        done: Done,
        account: &mut Account,
        counts: &mut Counts,
        rng: &mut Rng,
    ) {
        match done {
            Done::Sleep | Done::Ping if self.client.state() == ClientState::Asleep => {
                counts.awakenings += u64::from(done == Done::Ping);
                self.plan = Plan::WakeUp;
                let sleep = u64::from(self.sleep) * SEC;
                self.due = now + rng.range(sleep / 2, sleep * 9 / 10);
                return;
            }
            Done::Subscribe { .. } => self.subscribed += 1,
            Done::Register { topic_id } => self.own_topic = Some(topic_id),
            Done::Publish => {
                if let Some((number, lane)) = self.publishing.take() {
                    account.up[lane].acknowledge(number);
                }
            }
            _ => {}
        }
        self.later(now, rng, Plan::Work);
    }
}

/// `LANE NUMBER`.
pub(super) fn parse(data: &[u8]) -> Result<(usize, u32), String> {
    let text = String::from_utf8_lossy(data);
    let numbers = text.split_once(' ').and_then(|(lane, number)| {
        Some((lane.parse().ok().filter(|lane| *lane < 2)?, number.parse().ok()?))
    });
    numbers.ok_or_else(|| format!("a payload that nobody sent: {text:?}"))
}
