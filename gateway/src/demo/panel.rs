//! The MQTT panel: sees everything, switches the lamp, tells sensors how often to measure.

use std::time::Duration;

use motegate_message::Qos;
use motegate_mqtt::PropertyBuf;
use motegate_mqtt::client::{ClientConfig, Event, Filter, Publish};
use motegate_timers::Instant;

use super::stage::{Actor, Stage, Way};
use crate::client::{Error, MqttClient, Target, random};

const PANEL: Actor = Actor { protocol: "mqtt", name: "demo-panel" };
/// Between two orders.
const PAUSE: Duration = Duration::from_millis(1500);

/// See the module.
pub(super) struct Panel<'a> {
    client: MqttClient,
    stage: &'a Stage,
    orders: u64,
    next: Instant,
}

impl<'a> Panel<'a> {
    pub(super) async fn connect(target: &Target, stage: &'a Stage) -> Result<Self, Error> {
        let id = format!("demo-panel-{:04x}", random() >> 48);
        let config = ClientConfig { reconnect: None, ..ClientConfig::new(&id) };
        let client = MqttClient::new(target, config, stage.clock, false)?;
        let next = stage.clock.now() + PAUSE;
        let mut panel = Panel { client, stage, orders: 0, next };
        let filter = Filter {
            no_local: true,
            retain_handling: 2, // what an earlier demo has left is no news
            ..Filter::new("demo/#", Qos::AtLeastOnce)
        };
        panel
            .client
            .machine
            .subscribe(&[filter], &PropertyBuf::new(), 0)
            .map_err(|error| Error::Protocol(error.to_string()))?;
        loop {
            match panel.client.next().await? {
                Event::Subscribed { codes, .. } if codes.iter().any(|code| code.is_error()) => {
                    return Err(Error::Refused {
                        text: "SUBSCRIBE to demo/# refused".to_owned(),
                        hint: "the demo needs access to demo/#: see the gateway's access rules"
                            .into(),
                    });
                }
                Event::Subscribed { .. } => break,
                _ => {}
            }
        }
        Ok(panel)
    }

    pub(super) async fn play(&mut self) -> Result<(), Error> {
        self.stage.does(PANEL, "watches demo/#")?;
        loop {
            let at = self.stage.clock.to_std(self.next);
            tokio::select! {
                event = self.client.next() => {
                    if let Event::Message(message) = event? {
                        let (topic, value) = (message.topic(), message.payload());
                        self.stage.got(PANEL, topic, value, Way::Straight)?;
                    }
                }
                () = tokio::time::sleep_until(at.into()) => self.order()?,
            }
        }
    }

    /// The lamp and a sensor in turn.
    fn order(&mut self) -> Result<(), Error> {
        self.next += PAUSE;
        self.orders += 1;
        let (topic, value) = match self.orders % 4 {
            1 => ("demo/lamp".to_owned(), "on".to_owned()),
            3 => ("demo/lamp".to_owned(), "off".to_owned()),
            _ => {
                let sensor = 1 + self.orders / 2 % 3;
                let secs = 3 + self.stage.random(3);
                (format!("demo/env-{sensor}/interval"), secs.to_string())
            }
        };
        self.stage.sends(PANEL, &topic, &value);
        let publish = Publish::new(&topic, value.as_bytes(), Qos::AtLeastOnce);
        self.client
            .machine
            .publish(&publish, self.orders)
            .map_err(|error| Error::Failed(format!("PUBLISH to {topic}: {error}")))
    }

    pub(super) async fn leave(&mut self) {
        self.client.leave().await;
    }
}
