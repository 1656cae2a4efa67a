//! `motegate rr`: publishes a request and prints the response.

use std::cell::Cell;
use std::time::Duration;

use clap::Args;
use motegate_mqtt::client::{Event, Filter, Message, Publish};
use motegate_mqtt::{Property, ReasonCode};
use motegate_mqtt_sn::{TopicId, TopicRef};

use super::Exit;
use super::link::{Link, subscribers_qos};
use super::message::{Printer, Printing, Received};
use super::payload::Payload;
use super::properties::For;
use super::publish::{not_published, qos_text, topic};
use super::subscribe::{check_filter, granted, say};
use super::talk::{Talk, bounded, drive};
use crate::client::{Error, MqttClient, Scheme, SnClient, Target, random};
use crate::clock::Clock;

/// Patience without -W.
const PATIENCE: Duration = Duration::from_secs(30);

/// Publish a request and print the response, with mosquitto_rr's options
#[derive(Debug, Args)]
#[command(
    disable_help_flag = true,
    after_help = "\
With MQTT 5 the request carries the response topic and correlation data; a
response with other correlation data is not taken. It waits 30 s, or -W.
For -D and -F see `motegate pub --help` and `motegate sub --help`.

Examples:
  motegate rr -t lamp/ask -e lamp/answer -m on?
  motegate rr mqtt://broker.lan/lamp/ask -m on? -W 5",
    mut_arg("qos", subscribers_qos)
)]
pub(super) struct Rr {
    /// Topic of the request, if the URL has none
    #[arg(short, long, value_name = "TOPIC")]
    topic: Option<String>,
    /// Topic of the response [default: response/ and the client id]
    #[arg(short = 'e', long, value_name = "TOPIC")]
    response_topic: Option<String>,
    #[command(flatten)]
    payload: Payload,
    /// Leave out messages that were retained before
    #[arg(short = 'R', long = "no-retained")]
    no_retained: bool,
    #[command(flatten)]
    link: Link,
    #[command(flatten)]
    printing: Printing,
    /// Print this help
    #[arg(long, action = clap::ArgAction::HelpShort)]
    help: Option<bool>,
}

/// A request that is ready.
struct Exchange {
    target: Target,
    topic: String,
    response_topic: String,
    client_id: String,
    payload: Vec<u8>,
}

/// What is said meanwhile, and whether the request is on its way.
struct Voices<'a> {
    talk: &'a mut Talk,
    printer: &'a mut Printer,
    asked: &'a Cell<bool>,
}

impl Exchange {
    /// The way there is good: it is the other side that is silent.
    fn unanswered(&self, result: Result<(), Error>) -> Result<(), Error> {
        let Err(Error::TimedOut { what, .. }) = result else { return result };
        let (topic, response) = (&self.topic, &self.response_topic);
        let hint = format!(
            "the request was published: does anybody subscribe to {topic} and answer on {response}?"
        );
        Err(Error::TimedOut { what, hint: hint.into() })
    }
}

impl Rr {
    pub(super) fn run(self, clock: Clock) -> Exit {
        let mut talk = self.link.talk();
        let result = self.checked().and_then(|(exchange, mut printer)| {
            let patience = self.link.wait.unwrap_or(PATIENCE);
            let what = format!("no response on {}", exchange.response_topic);
            let asked = Cell::new(false);
            let mut voices = Voices { talk: &mut talk, printer: &mut printer, asked: &asked };
            let result = drive(bounded(Some(patience), &what, async {
                match exchange.target.scheme {
                    Scheme::MqttSn => self.by_sn(&exchange, clock, &mut voices).await,
                    _ => self.by_mqtt(&exchange, clock, &mut voices).await,
                }
            }));
            printer.finish().and(if asked.get() { exchange.unanswered(result) } else { result })
        });
        talk.end(result)
    }

    fn checked(&self) -> Result<(Exchange, Printer), Error> {
        let target = self.link.target()?;
        let topic = topic(self.topic.as_ref(), &target)?;
        if !self.payload.is_given() {
            return Err(Error::usage("what to ask? -m TEXT, -f FILE, -s or -n"));
        }
        let client_id = self.link.client_id()?;
        let response_topic = self.response_topic.clone();
        let response_topic = response_topic.unwrap_or_else(|| format!("response/{client_id}"));
        check_filter("-e", &response_topic)?;
        self.link.qos()?;
        let of_publish = self.link.properties()?.of(For::Publish);
        let is_topic = |property| matches!(property, Property::ResponseTopic(_));
        if of_publish.as_properties().iter().any(is_topic) {
            return Err(Error::usage("-D response-topic: -e TOPIC gives it"));
        }
        let payload = self.payload.read()?;
        let exchange = Exchange { target, topic, response_topic, client_id, payload };
        Ok((exchange, Printer::new(&self.printing)?))
    }

    async fn by_sn(
        &self,
        exchange: &Exchange,
        clock: Clock,
        Voices { talk, printer, asked }: &mut Voices<'_>,
    ) -> Result<(), Error> {
        let (config, qos) = (self.link.sn_config()?, self.link.sn_qos());
        let (target, id) = (&exchange.target, &exchange.client_id);
        let mut client = SnClient::open(target, id, config, clock, self.link.debug).await?;
        client.connect(self.link.is_clean()).await?;
        talk.step("CONNECT ok");
        client.subscribe(TopicRef::Name(&exchange.response_topic), qos).await?;
        talk.step(format!("SUBSCRIBE {}", exchange.response_topic));
        let id = client.register(&exchange.topic).await?;
        client.publish(TopicId::Normal(id), qos, false, &exchange.payload).await?;
        talk.step(format!("PUBLISH → {}", exchange.topic));
        talk.say_steps();
        asked.set(true);
        loop {
            let message = client.message().await?;
            if !(message.retain && self.no_retained) {
                say(talk, printer.print(&Received::sn(&message))?);
                return client.disconnect().await;
            }
        }
    }

    async fn by_mqtt(
        &self,
        exchange: &Exchange,
        clock: Clock,
        Voices { talk, printer, asked }: &mut Voices<'_>,
    ) -> Result<(), Error> {
        let mut config = self.link.mqtt_config(&exchange.target)?;
        config.client_id.clone_from(&exchange.client_id);
        let qos = self.link.qos()?;
        let mut properties = self.link.properties()?.of(For::Publish);
        let given = properties.as_properties().iter().find_map(|property| match property {
            Property::CorrelationData(data) => Some(data.to_vec()),
            _ => None,
        });
        let correlation = given.clone().unwrap_or_else(|| random().to_be_bytes().to_vec());
        if self.link.is_v5() {
            properties.push(Property::ResponseTopic(&exchange.response_topic));
            if given.is_none() {
                properties.push(Property::CorrelationData(&correlation));
            }
        }
        let mut client = MqttClient::new(&exchange.target, config, clock, self.link.debug)?;
        let filters = [Filter::new(&exchange.response_topic, qos)];
        let subscribe = self.link.properties()?.of(For::Subscribe);
        client
            .machine
            .subscribe(&filters, &subscribe, 0)
            .map_err(|error| Error::usage(format!("SUBSCRIBE: {error}")))?;
        let publish = Publish {
            properties: properties.as_properties(),
            ..Publish::new(&exchange.topic, &exchange.payload, qos)
        };
        loop {
            match client.next().await? {
                Event::Connected(_) => talk.step("CONNECT ok"),
                Event::Subscribed { codes, text, again: false, .. } => {
                    granted(talk, &filters, &codes, text.as_deref())?;
                    client.machine.publish(&publish, 1).map_err(|error| not_published(&error))?;
                    talk.step(format!("PUBLISH qos {} → {}", qos_text(qos), exchange.topic));
                    talk.say_steps();
                    asked.set(true);
                }
                Event::Published { code: ReasonCode::NoMatchingSubscribers, .. } => {
                    talk.warn("nobody has subscribed to the request's topic");
                }
                Event::PublishFailed { error, .. } => return Err(not_published(&error)),
                Event::Message(message) => {
                    let taken = self.is_response(&message, &correlation);
                    if taken {
                        say(talk, printer.print(&Received::mqtt(&message))?);
                    }
                    if let Some(handle) = message.ack() {
                        client.machine.acknowledge(handle, ReasonCode::Success);
                    }
                    if taken {
                        client.leave().await;
                        return Ok(());
                    }
                }
                _ => {}
            }
        }
    }

    /// A response without correlation data is taken, too: many devices leave it out.
    fn is_response(&self, message: &Message, correlation: &[u8]) -> bool {
        if message.retain() && self.no_retained {
            return false;
        }
        message.properties().iter().all(|property| match property {
            Property::CorrelationData(data) => data == correlation,
            _ => true,
        })
    }
}
