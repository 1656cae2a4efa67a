//! A small house of simulated devices, so that a newcomer sees all three protocols talk.
//!
//! Three sleepy MQTT-SN sensors, two CoAP nodes (a door that reports, a lamp that obeys) and an
//! MQTT panel meet on the running gateway. Every message is told when it arrives: who sent it, in
//! which protocol, to whom, and how long it took or waited for a sleeper. The devices are the
//! clients of the command line; [`stage`] is what they have in common.

mod node;
mod panel;
mod sensor;
mod stage;

use std::future::Future;
use std::time::Duration;

use node::{Door, Lamp};
use panel::Panel;
use sensor::Sensor;
use stage::Stage;

use crate::client::{Error, Target};
use crate::clock::Clock;

/// For taking leave: longer than a lost datagram's retry.
const LEAVE: Duration = Duration::from_secs(5);

/// Where the gateway listens.
#[derive(Debug)]
pub(crate) struct Places {
    pub(crate) mqtt: Target,
    pub(crate) mqtt_sn: Target,
    pub(crate) coap: Target,
}

/// Plays until `end`, which is the user's patience.
pub(crate) async fn run(
    places: &Places,
    clock: Clock,
    end: impl Future<Output = ()>,
) -> Result<(), Error> {
    let stage = Stage::new(clock);
    let mut cast = Cast::default();
    let played = async {
        cast.assemble(places, &stage).await?;
        tokio::select! {
            played = cast.play() => played,
            () = end => Ok(()),
        }
    }
    .await;
    let _ = tokio::time::timeout(LEAVE, cast.leave()).await;
    played?;
    stage.close()
}

/// Who has come so far.
#[derive(Default)]
struct Cast<'a> {
    panel: Option<Panel<'a>>,
    lamp: Option<Lamp<'a>>,
    door: Option<Door<'a>>,
    sensors: Vec<Sensor<'a>>,
}

impl<'a> Cast<'a> {
    async fn assemble(&mut self, places: &Places, stage: &'a Stage) -> Result<(), Error> {
        self.panel = Some(Panel::connect(&places.mqtt, stage).await?);
        let lamp = self.lamp.insert(Lamp::open(&places.coap, stage).await?);
        lamp.observe().await?;
        self.door = Some(Door::connect(&places.coap, stage).await?);
        for number in 1..=3 {
            self.sensors.push(Sensor::open(&places.mqtt_sn, number, stage).await?);
            if let Some(sensor) = self.sensors.last_mut() {
                sensor.connect().await?;
            }
        }
        Ok(())
    }

    /// Until one of them fails.
    async fn play(&mut self) -> Result<(), Error> {
        let (Some(panel), Some(lamp), Some(door)) =
            (&mut self.panel, &mut self.lamp, &mut self.door)
        else {
            return Ok(());
        };
        let [first, second, third] = self.sensors.as_mut_slice() else { return Ok(()) };
        tokio::try_join!(
            panel.play(),
            lamp.play(),
            door.play(),
            first.play(),
            second.play(),
            third.play(),
        )
        .map(drop)
    }

    /// Nothing of them stays: no session, observation or value.
    async fn leave(&mut self) {
        let door = async {
            if let Some(door) = &mut self.door {
                door.leave().await;
            }
        };
        let lamp = async {
            if let Some(lamp) = &mut self.lamp {
                lamp.leave().await;
            }
        };
        let mut sensors = self.sensors.iter_mut();
        let (first, second, third) = (sensors.next(), sensors.next(), sensors.next());
        tokio::join!(door, lamp, gone(first), gone(second), gone(third));
        if let Some(panel) = &mut self.panel {
            panel.leave().await;
        }
    }
}

async fn gone(sensor: Option<&mut Sensor<'_>>) {
    if let Some(sensor) = sensor {
        sensor.leave().await;
    }
}
