//! A sleepy MQTT-SN sensor: measures, publishes, sleeps, wakes for what has waited.

use std::time::Duration;

use motegate_mqtt_sn::client::ClientConfig;
use motegate_mqtt_sn::{QosBits, TopicId, TopicRef};

use super::stage::{Actor, Stage, Way};
use crate::client::{Error, SnClient, Target};

/// T_RETRY: the gateway is near.
const RETRY: Duration = Duration::from_secs(2);

/// See the module.
pub(super) struct Sensor<'a> {
    client: SnClient,
    stage: &'a Stage,
    actor: Actor,
    number: u16,
    topic: String,
    /// Of the topic.
    topic_id: u16,
    /// Seconds asleep; the panel may set another.
    interval: u16,
    /// Tenths of a degree.
    temperature: u64,
}

impl<'a> Sensor<'a> {
    pub(super) async fn open(
        target: &Target,
        number: u16,
        stage: &'a Stage,
    ) -> Result<Self, Error> {
        let name = ["demo-env-1", "demo-env-2", "demo-env-3"];
        let name = name.get(usize::from(number) - 1).copied().unwrap_or("demo-env");
        let actor = Actor { protocol: "mqtt-sn", name };
        let config = ClientConfig { retry_timeout: RETRY, ..ClientConfig::default() };
        let client = SnClient::open(target, name, config, stage.clock, false).await?;
        let topic = format!("demo/env-{number}/temp");
        let (interval, temperature) = (1 + number, 195 + stage.random(30));
        Ok(Sensor { client, stage, actor, number, topic, topic_id: 0, interval, temperature })
    }

    pub(super) async fn connect(&mut self) -> Result<(), Error> {
        self.client.connect(true).await?;
        self.topic_id = self.client.register(&self.topic).await?;
        let interval = format!("demo/env-{}/interval", self.number);
        self.client.subscribe(TopicRef::Name(&interval), QosBits::One).await?;
        if self.number == 3 {
            self.client.subscribe(TopicRef::Name("demo/door"), QosBits::One).await?;
        }
        Ok(())
    }

    pub(super) async fn play(&mut self) -> Result<(), Error> {
        let said = format!("is connected, topic id {} is {}", self.topic_id, self.topic);
        self.stage.does(self.actor, &said)?;
        loop {
            self.measure().await?;
            // A sleeper that is twice as late counts as lost.
            self.client.sleep(self.interval * 2).await?;
            self.stage.does(self.actor, &format!("sleeps for {} s", self.interval))?;
            tokio::time::sleep(Duration::from_secs(self.interval.into())).await;
            self.client.wake().await?;
            let mut waited = Vec::new();
            while let Some(message) = self.client.received() {
                waited.push(message);
            }
            self.stage.woke(self.actor, waited.len())?;
            for message in waited {
                let topic = message.name.unwrap_or_else(|| message.topic.raw().to_string());
                self.stage.got(self.actor, &topic, &message.payload, Way::Queued)?;
                if topic.ends_with("/interval") {
                    self.obey(&message.payload);
                }
            }
            self.client.connect(false).await?; // the session goes on, ids and all
        }
    }

    async fn measure(&mut self) -> Result<(), Error> {
        self.temperature = self.temperature + self.stage.random(7) - 3;
        let value = format!("{}.{}", self.temperature / 10, self.temperature % 10);
        self.stage.sends(self.actor, &self.topic, &value);
        let topic = TopicId::Normal(self.topic_id);
        self.client.publish(topic, QosBits::One, false, value.as_bytes()).await
    }

    /// Anybody may publish there: only what makes sense is taken.
    fn obey(&mut self, value: &[u8]) {
        let secs = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
        if let Some(secs @ 1..=60) = secs {
            self.interval = secs;
        }
    }

    pub(super) async fn leave(&mut self) {
        // MQTT-SN 1.2 has no session expiry: what ends a session is a clean CONNECT (§6.3).
        if self.client.connect(true).await.is_ok() {
            let _ = self.client.disconnect().await;
        }
    }
}
