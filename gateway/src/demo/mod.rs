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

/// For taking leave.
const LEAVE: Duration = Duration::from_secs(1);

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
    let mut panel = Panel::connect(&places.mqtt, &stage).await?;
    let mut lamp = Lamp::connect(&places.coap, &stage).await?;
    let mut door = Door::connect(&places.coap, &stage).await?;
    let mut first = Sensor::connect(&places.mqtt_sn, 1, &stage).await?;
    let mut second = Sensor::connect(&places.mqtt_sn, 2, &stage).await?;
    let mut third = Sensor::connect(&places.mqtt_sn, 3, &stage).await?;
    let played = tokio::select! {
        played = async {
            tokio::try_join!(
                panel.play(), lamp.play(), door.play(),
                first.play(), second.play(), third.play(),
            )
            .map(drop)
        } => played,
        () = end => Ok(()),
    };
    let leave = async {
        tokio::join!(first.leave(), second.leave(), third.leave(), lamp.leave(), door.leave());
        panel.leave().await;
    };
    let _ = tokio::time::timeout(LEAVE, leave).await;
    played?;
    stage.close()
}
