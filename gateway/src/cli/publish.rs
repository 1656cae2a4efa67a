//! `motegate pub`: publishes and ends when the messages are through.

use std::time::Duration;

use clap::Args;
use motegate_message::{Qos, TopicName};
use motegate_mqtt::ReasonCode;
use motegate_mqtt::client::{Event, Goodbye, Publish, PublishError};
use motegate_mqtt_sn::{QosBits, TopicId};
use tokio::sync::mpsc::Receiver;

use super::Exit;
use super::link::Link;
use super::payload::{Payload, stdin_lines};
use super::properties::For;
use super::talk::{Talk, bounded, drive};
use crate::client::{Error, MqttClient, Scheme, SnClient, Target};
use crate::clock::Clock;

/// How long a refused client waits for the answer to its goodbye.
const GOODBYE: Duration = Duration::from_millis(500);

/// How long a closed port may take to be noticed where nobody answers (QoS -1).
const SETTLE: Duration = Duration::from_millis(100);

/// For so long the server keeps what it knows of messages in flight while the connection is lost.
const KEEP: Duration = Duration::from_secs(300);

/// Publish to an MQTT broker or an MQTT-SN gateway, with mosquitto_pub's options
#[derive(Debug, Args)]
#[command(
    disable_help_flag = true,
    after_help = "\
It ends when all is through: written at QoS 0, acknowledged at QoS 1 and 2.
A lost connection is made again and what was not acknowledged sent again; before
MQTT 5 the session that makes QoS 2 exactly once across that needs -c and -i.
-D takes COMMAND IDENTIFIER VALUE: connect, publish or will, and a property's
name as mosquitto has it; a user-property has a name and a value.

Examples:
  motegate pub -t site/door -m open
  motegate pub mqtt://user:secret@broker.lan -q 1 -r -t site/door -f door.json
  motegate pub mqttsn://localhost -i me -t site/door -m closed
  motegate pub mqttsn://localhost --qos -1 -T 10 -m 21.5
The last one needs no connection and gets no answer: the gateway takes only ids
that its configuration names in mappings.mqttsn.qos_minus_one."
)]
pub(super) struct Pub {
    /// Topic, if the URL has none
    #[arg(short, long, value_name = "TOPIC")]
    topic: Option<String>,
    #[command(flatten)]
    payload: Payload,
    /// Send every line from stdin as a message
    #[arg(short = 'l', long = "stdin-line", group = "payload")]
    lines: bool,
    /// The messages are retained; an empty one (-n) deletes what is
    #[arg(short, long)]
    retain: bool,
    /// Send the message so many times
    #[arg(
        long, value_name = "N", default_value_t = 1, conflicts_with = "lines",
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    repeat: u32,
    /// Wait so long between them
    #[arg(long, value_name = "SECONDS", value_parser = super::talk::seconds)]
    repeat_delay: Option<Duration>,
    /// Most QoS 1 and 2 messages in flight (MQTT)
    // mosquitto's own; before MQTT 5 it closes the connection at 21 of QoS 2.
    #[arg(
        short = 'M', long, value_name = "N", default_value_t = 20,
        value_parser = clap::value_parser!(u16).range(1..)
    )]
    max_inflight: u16,
    #[command(flatten)]
    link: Link,
    /// Publish to a predefined topic id
    #[arg(
        short = 'T', long = "topic-id", value_name = "ID", conflicts_with = "topic",
        value_parser = clap::value_parser!(u16).range(1..=65_534), help_heading = "MQTT-SN"
    )]
    topic_id: Option<u16>,
    /// The topic has two characters and is sent as they are
    #[arg(long, conflicts_with = "topic_id", help_heading = "MQTT-SN")]
    short: bool,
    /// Go to sleep afterwards for so many seconds instead of disconnecting
    #[arg(
        long, value_name = "SECONDS", value_parser = clap::value_parser!(u16).range(1..),
        help_heading = "MQTT-SN"
    )]
    sleep: Option<u16>,
    /// Print this help
    #[arg(long, action = clap::ArgAction::HelpShort)]
    help: Option<bool>,
}

impl Pub {
    pub(super) fn run(self, clock: Clock) -> Exit {
        let mut talk = self.link.talk();
        let result = self.checked().and_then(|(target, messages)| {
            let what = format!("not published to {target}");
            let talk = &mut talk;
            drive(bounded(self.link.wait, &what, async {
                match target.scheme {
                    Scheme::MqttSn => self.by_sn(&target, messages, clock, talk).await,
                    _ => self.by_mqtt(&target, messages, clock, talk).await,
                }
            }))
        });
        talk.end(result)
    }

    fn checked(&self) -> Result<(Target, Messages), Error> {
        let target = self.link.target()?;
        if !self.payload.is_given() && !self.lines {
            return Err(Error::usage("what to send? -m TEXT, -f FILE, -s, -l or -n"));
        }
        if target.scheme == Scheme::Mqtt {
            let of_sn = self.topic_id.is_some() || self.short || self.sleep.is_some();
            if of_sn {
                return Err(Error::usage(
                    "-T, --short and --sleep are MQTT-SN's: use a mqttsn:// URL",
                ));
            }
            self.link.qos()?;
        }
        if self.topic_id.is_none() {
            self.topic(&target)?;
        }
        self.link.client_id()?;
        let source = if self.lines {
            Source::Lines(stdin_lines())
        } else {
            let (payload, delay) = (self.payload.read()?, self.repeat_delay);
            Source::Copies { payload, left: self.repeat, delay, sent: false }
        };
        Ok((target, Messages::new(source)))
    }

    fn topic(&self, target: &Target) -> Result<String, Error> {
        topic(self.topic.as_ref(), target)
    }

    async fn by_sn(
        &self,
        target: &Target,
        mut messages: Messages,
        clock: Clock,
        talk: &mut Talk,
    ) -> Result<(), Error> {
        let qos = self.link.sn_qos();
        let (mut topic, shown) = match self.topic_id {
            Some(id) => (Some(TopicId::Predefined(id)), format!("id {id}")),
            None => {
                let name = self.topic(target)?;
                (self.short.then(|| short(&name)).transpose()?, name)
            }
        };
        if qos == QosBits::MinusOne && topic.is_none() {
            return Err(Error::usage(
                "QoS -1 needs a predefined id (-T ID) or a short topic (--short)",
            ));
        }
        let id = self.link.client_id()?;
        let config = self.link.sn_config()?;
        let mut client = SnClient::open(target, &id, config, clock, self.link.debug).await?;
        if qos != QosBits::MinusOne {
            client.connect(self.link.is_clean()).await?;
            talk.step("CONNECT ok");
        }
        let sending = async {
            if topic.is_none() {
                let id = client.register(&shown).await?;
                talk.step(format!("REGISTER id {id}"));
                topic = Some(TopicId::Normal(id));
            }
            let mut count = 0_u64;
            while let Some(payload) = client.settle(messages.next()).await? {
                if let Some(topic) = topic {
                    client.publish(topic, qos, self.retain, &payload).await?;
                    count += 1;
                }
            }
            Ok(count)
        };
        let sent: Result<u64, Error> = sending.await;
        let count = match sent {
            Ok(count) => count,
            Err(error) => {
                if qos != QosBits::MinusOne {
                    // Who is refused is still connected: without a goodbye its will would be sent.
                    let _ = tokio::time::timeout(GOODBYE, client.disconnect()).await;
                }
                return Err(error);
            }
        };
        let bits = match qos {
            QosBits::MinusOne => "-1",
            QosBits::Zero => "0",
            QosBits::One => "1",
            QosBits::Two => "2",
        };
        talk.step(published(count, bits, &shown));
        match (qos, self.sleep) {
            (QosBits::MinusOne, _) => client.settle(tokio::time::sleep(SETTLE)).await,
            (_, Some(secs)) => {
                client.sleep(secs).await?;
                talk.step(format!("asleep for {secs} s"));
                Ok(())
            }
            (_, None) => client.disconnect().await,
        }
    }

    async fn by_mqtt(
        &self,
        target: &Target,
        mut messages: Messages,
        clock: Clock,
        talk: &mut Talk,
    ) -> Result<(), Error> {
        let (topic, qos) = (self.topic(target)?, self.link.qos()?);
        let mut config = self.link.mqtt_config(target)?;
        config.max_inflight = self.max_inflight;
        let goodbye = match qos {
            Qos::AtMostOnce => Goodbye::default(),
            // What was in flight is then sent again as what it was, and not as a new message.
            _ => self.link.outlive(&mut config, KEEP),
        };
        let properties = self.link.properties()?.of(For::Publish);
        let mut client = MqttClient::new(target, config, clock, self.link.debug)?;
        client.goodbye = goodbye;
        let mut flow = Flow { goes_on: self.lines || self.repeat > 1, ..Flow::default() };
        let mut over = false;
        while !over || flow.taken > flow.ended {
            let may_send = client.machine.is_connected() && !over && !flow.blocked;
            tokio::select! {
                event = client.next() => flow.take(event?, talk)?,
                payload = messages.next(), if may_send => match payload {
                    None => over = true,
                    Some(payload) => {
                        let publish = Publish {
                            retain: self.retain,
                            properties: properties.as_properties(),
                            ..Publish::new(&topic, &payload, qos)
                        };
                        match client.machine.publish(&publish, flow.taken) {
                            Ok(()) => flow.taken += 1,
                            Err(PublishError::QueueFull) => {
                                flow.blocked = true;
                                messages.returned = Some(payload);
                            }
                            Err(error) => return Err(not_published(&error)),
                        }
                    }
                }
            }
        }
        talk.step(published(flow.ended - flow.lost, qos_text(qos), &topic));
        if flow.unheard && flow.ended == 1 {
            talk.step("no subscriber");
        }
        client.leave().await;
        match flow.lost {
            0 => Ok(()),
            lost => Err(Error::Failed(format!(
                "{lost} of {} messages at QoS 0 were lost with a connection; -q 1 sends them again",
                flow.taken
            ))),
        }
    }
}

/// How far the messages are.
#[derive(Default)]
struct Flow {
    connected: bool,
    taken: u64,
    ended: u64,
    blocked: bool,
    /// 0x10 came.
    unheard: bool,
    /// There is more than one message.
    goes_on: bool,
    /// Went down with their connection.
    lost: u64,
}

impl Flow {
    fn take(&mut self, event: Event, talk: &mut Talk) -> Result<(), Error> {
        match event {
            Event::Connected(_) => {
                talk.step(if self.connected { "connected again" } else { "CONNECT ok" });
                self.connected = true;
            }
            Event::Published { code, .. } => {
                self.ended += 1;
                self.unheard |= code == ReasonCode::NoMatchingSubscribers;
            }
            // At QoS 0 of a stream of messages: the next ones may have more luck.
            Event::PublishFailed { error: PublishError::ConnectionLost, .. } if self.goes_on => {
                self.ended += 1;
                self.lost += 1;
            }
            Event::PublishFailed { error, .. } => return Err(not_published(&error)),
            Event::QueueFree => self.blocked = false,
            Event::Disconnected { error: Some(error), .. } => {
                talk.warn(&format!("{error}; connecting again"));
            }
            _ => {}
        }
        Ok(())
    }
}

/// What is to be published, one after the other.
#[derive(Debug)]
struct Messages {
    /// One that found the queue full.
    returned: Option<Vec<u8>>,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Copies { payload: Vec<u8>, left: u32, delay: Option<Duration>, sent: bool },
    Lines(Receiver<Vec<u8>>),
}

impl Messages {
    fn new(source: Source) -> Self {
        Messages { returned: None, source }
    }

    /// May be dropped at its await without loss.
    async fn next(&mut self) -> Option<Vec<u8>> {
        if let Some(payload) = self.returned.take() {
            return Some(payload);
        }
        match &mut self.source {
            Source::Copies { left: 0, .. } => None,
            Source::Copies { payload, left, delay, sent } => {
                if let (true, Some(delay)) = (*sent, *delay) {
                    tokio::time::sleep(delay).await;
                }
                *sent = true;
                *left -= 1;
                Some(payload.clone())
            }
            Source::Lines(lines) => lines.recv().await,
        }
    }
}

/// A topic to publish to: of the option, or of the URL.
pub(super) fn topic(option: Option<&String>, target: &Target) -> Result<String, Error> {
    let topic = option.cloned().or_else(|| target.topic());
    let topic = topic.ok_or_else(|| Error::usage("to which topic? -t TOPIC"))?;
    match TopicName::new(&topic) {
        Ok(_) => Ok(topic),
        Err(error) => Err(Error::usage(format!("`{topic}` is no topic to publish to: {error}"))),
    }
}

/// Two octets without registration (MQTT-SN 1.2 §3).
pub(super) fn short(name: &str) -> Result<TopicId, Error> {
    match <[u8; 2]>::try_from(name.as_bytes()) {
        Ok(name) => Ok(TopicId::Short(name)),
        Err(_) => Err(Error::usage(format!("--short: `{name}` does not have two characters"))),
    }
}

pub(super) fn qos_text(qos: Qos) -> &'static str {
    ["0", "1", "2"][qos as usize]
}

fn published(count: u64, qos: &str, topic: &str) -> String {
    match count {
        1 => format!("PUBLISH qos {qos} → {topic}"),
        count => format!("PUBLISH {count} messages qos {qos} → {topic}"),
    }
}

pub(super) fn not_published(error: &PublishError) -> Error {
    match error {
        PublishError::Refused(refusal) => Error::Refused {
            text: format!("PUBLISH refused: {refusal}"),
            hint: match refusal.code {
                ReasonCode::NotAuthorized => {
                    "may this user publish there? -u NAME -P PASSWORD logs in".into()
                }
                _ => "see the broker's log".into(),
            },
        },
        PublishError::RetainNotSupported | PublishError::QosNotSupported => {
            let hint = "publish without -r, or at QoS 0".into();
            Error::Refused { text: error.to_string(), hint }
        }
        PublishError::BadTopic | PublishError::BadProperty | PublishError::TooLarge { .. } => {
            Error::usage(error.to_string())
        }
        _ => Error::Failed(format!("not published: {error}")),
    }
}
