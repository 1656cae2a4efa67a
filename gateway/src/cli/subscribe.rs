//! `motegate sub`: prints what is published.

use std::time::Duration;

use clap::Args;
use motegate_message::{Qos, SubscriptionFilter, TopicError, TopicFilter, topic_matches};
use motegate_mqtt::client::{Event, Filter, Publish};
use motegate_mqtt::{PropertyBuf, ReasonCode};
use motegate_mqtt_sn::{QosBits, TopicId, TopicRef};

use super::Exit;
use super::link::{Link, subscribers_qos};
use super::message::{Printer, Printing, Received};
use super::properties::For;
use super::publish::{not_published, qos_text, short};
use super::running::count;
use super::talk::{Talk, bounded, drive};
use crate::client::{Error, MqttClient, Reception, Scheme, SnClient, Target, random};
use crate::clock::Clock;

/// Waits between attempts to reach a lost MQTT-SN gateway.
const SN_RECONNECT: Duration = Duration::from_secs(2);
const SN_ATTEMPTS: u32 = 30;

/// Subscribe and print what is published, with mosquitto_sub's options
#[derive(Debug, Args)]
#[command(
    disable_help_flag = true,
    after_help = "\
It goes on until -C, -W or a signal ends it, and connects again if need be; what
is published meanwhile waits for it with -c and -i.
-F FORMAT has mosquitto's fields: %t topic, %p payload, %x payload in hex,
%q QoS, %r retain, %l length, %m message id, %j JSON, %J JSON with the payload
as JSON, %I time, %U seconds since 1970; for MQTT-SN %i topic id; for MQTT 5
%C content type, %R response topic, %D correlation data, %E expiry, %F payload
format, %A alias, %S subscription ids, %P user properties. %-10t and %010l are
wide, %.10t is short. @H:@M:@S is the time (UTC) as strftime has it. %% is %, @@
is @, and \\n \\t \\r \\0 \\e are what they are elsewhere.

Examples:
  motegate sub -t 'site/#' -v
  motegate sub mqtt://broker.lan -t site/door -C 1 -W 10
  motegate sub mqttsn://localhost -t 'site/+' -o ndjson
  motegate sub mqttsn://localhost -i me -T 2 --sleep 30",
    mut_arg("qos", subscribers_qos)
)]
pub(super) struct Sub {
    /// Topic filter; may be repeated
    #[arg(short, long, value_name = "FILTER")]
    topic: Vec<String>,
    /// Unsubscribe from this; may be repeated
    #[arg(short = 'U', long, value_name = "FILTER")]
    unsubscribe: Vec<String>,
    /// Stop after so many messages
    #[arg(short = 'C', value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Stop when the subscriptions are acknowledged
    #[arg(short = 'E')]
    only_subscribe: bool,
    /// Leave out messages that were retained before
    #[arg(short = 'R', long = "no-retained")]
    no_retained: bool,
    /// Stop at the first message that was not retained
    #[arg(long, conflicts_with = "no_retained")]
    retained_only: bool,
    /// Delete every retained message that comes (MQTT; also those that -R leaves out)
    #[arg(long)]
    remove_retained: bool,
    /// Have messages keep their retain flag as they were published (MQTT 5)
    #[arg(long)]
    retain_as_published: bool,
    /// Print this part of the messages, by chance
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    random_filter: Option<f64>,
    /// MQTT: leave out topics that match this filter; MQTT-SN: a predefined topic id
    #[arg(short = 'T', long = "filter-out", value_name = "FILTER|ID")]
    filter_out_or_id: Vec<String>,
    #[command(flatten)]
    link: Link,
    #[command(flatten)]
    printing: Printing,
    /// The topics have two characters and are sent as they are
    #[arg(long, help_heading = "MQTT-SN")]
    short: bool,
    /// Sleep, and wake up every so many seconds to fetch messages
    #[arg(
        long, value_name = "SECONDS", value_parser = clap::value_parser!(u16).range(1..),
        help_heading = "MQTT-SN"
    )]
    sleep: Option<u16>,
    /// Print this help
    #[arg(long, action = clap::ArgAction::HelpShort)]
    help: Option<bool>,
}

impl Sub {
    pub(super) fn run(self, clock: Clock) -> Exit {
        let mut talk = self.link.talk();
        let result = self.checked().and_then(|(target, printer)| {
            let mut session = Session { sub: &self, printer, seen: 0, talk: &mut talk };
            let result = drive(async {
                match target.scheme {
                    Scheme::MqttSn => session.by_sn(&target, clock).await,
                    _ => session.by_mqtt(&target, clock).await,
                }
            });
            session.printer.finish().and(result)
        });
        talk.end(result)
    }

    fn checked(&self) -> Result<(Target, Printer), Error> {
        let target = self.link.target()?;
        let sn = target.scheme == Scheme::MqttSn;
        let ids = if sn { self.filter_out_or_id.len() } else { 0 };
        if self.topics(&target).is_empty() && ids == 0 {
            return Err(Error::usage("which topics? -t FILTER"));
        }
        self.topics(&target).iter().try_for_each(|topic| check_filter("-t", topic))?;
        self.unsubscribe.iter().try_for_each(|topic| check_filter("-U", topic))?;
        if !sn {
            if self.short || self.sleep.is_some() {
                return Err(Error::usage("--short and --sleep are MQTT-SN's: use a mqttsn:// URL"));
            }
            self.link.qos()?;
            self.filters_out()?;
        } else {
            self.ids()?;
            if self.remove_retained || self.retain_as_published {
                return Err(Error::usage(
                    "--remove-retained and --retain-as-published are MQTT's: use a mqtt:// URL",
                ));
            }
            if self.link.sn_qos() == QosBits::MinusOne {
                return Err(Error::usage("nothing can be received at QoS -1"));
            }
        }
        self.link.client_id()?;
        Ok((target, Printer::new(&self.printing)?))
    }

    fn topics(&self, target: &Target) -> Vec<String> {
        let of_url = target.topic().filter(|_| self.topic.is_empty());
        self.topic.iter().cloned().chain(of_url).collect()
    }

    fn filters_out(&self) -> Result<Vec<TopicFilter>, Error> {
        let filter =
            |text: &String| TopicFilter::new(text).map_err(|error| no_filter("-T", text, &error));
        self.filter_out_or_id.iter().map(filter).collect()
    }

    fn ids(&self) -> Result<Vec<u16>, Error> {
        let id = |text: &String| {
            text.parse().ok().filter(|id| (1..=65_534).contains(id)).ok_or_else(|| {
                Error::usage(format!("-T: `{text}` is no predefined topic id (1 to 65534)"))
            })
        };
        self.filter_out_or_id.iter().map(id).collect()
    }
}

/// Whether a filter, perhaps that of a shared subscription, can be subscribed to.
pub(super) fn check_filter(option: &str, text: &str) -> Result<(), Error> {
    SubscriptionFilter::new(text).map(drop).map_err(|error| no_filter(option, text, &error))
}

fn no_filter(option: &str, text: &str, error: &TopicError) -> Error {
    Error::usage(format!("{option}: `{text}` is no topic filter: {error}"))
}

/// One run of the command.
struct Session<'a> {
    sub: &'a Sub,
    printer: Printer,
    seen: u64,
    talk: &'a mut Talk,
}

impl Session<'_> {
    /// Prints it; `true` when that was the last one.
    fn take(&mut self, message: &Received<'_>) -> Result<bool, Error> {
        let retained = message.retain != 0;
        if retained && self.sub.no_retained {
            return Ok(false);
        }
        if !retained && self.sub.retained_only {
            return Ok(true);
        }
        if self.passed_over() {
            return Ok(false);
        }
        say(self.talk, self.printer.print(message)?);
        self.seen += 1;
        Ok(self.sub.count == Some(self.seen))
    }

    /// Whether chance leaves this one out.
    fn passed_over(&self) -> bool {
        let millionth = u32::try_from(random() % 1_000_000).unwrap_or(0);
        self.sub.random_filter.is_some_and(|part| f64::from(millionth) >= part * 10_000.0)
    }

    fn missing(&self) -> String {
        match (self.seen, self.sub.count) {
            (0, _) => "no message".to_owned(),
            (seen, Some(all)) => format!("{seen} of {}", count(all, "message")),
            (seen, None) => count(seen, "message"),
        }
    }

    async fn by_mqtt(&mut self, target: &Target, clock: Clock) -> Result<(), Error> {
        let config = self.sub.link.mqtt_config(target)?;
        let qos = self.sub.link.qos()?;
        let filters_out = self.sub.filters_out()?;
        let mut client = MqttClient::new(target, config, clock, self.sub.link.debug)?;
        let retain_as_published = self.sub.retain_as_published;
        let filter = |topic: &String| Filter { retain_as_published, ..Filter::new(topic, qos) };
        let filters: Vec<_> = self.sub.topics(target).iter().map(filter).collect();
        let properties = self.sub.link.properties()?.of(For::Subscribe);
        let bad = |error| Error::usage(format!("SUBSCRIBE: {error}"));
        client.machine.subscribe(&filters, &properties, SUBSCRIBE).map_err(bad)?;
        if !self.sub.unsubscribe.is_empty() {
            let gone: Vec<_> = self.sub.unsubscribe.iter().map(String::as_str).collect();
            client.machine.unsubscribe(&gone, &PropertyBuf::new(), UNSUBSCRIBE).map_err(bad)?;
        }
        let patience = self.sub.link.wait;
        let result =
            bounded(patience, LATE, self.messages_of_mqtt(&mut client, &filters, &filters_out))
                .await;
        client.leave().await;
        self.late(result)
    }

    async fn messages_of_mqtt(
        &mut self,
        client: &mut MqttClient,
        filters: &[Filter],
        filters_out: &[TopicFilter],
    ) -> Result<(), Error> {
        let (mut connected, mut cleared) = (false, 0_u32);
        loop {
            match client.next().await? {
                Event::Connected(how) => {
                    self.talk.step(if connected { "connected again" } else { "CONNECT ok" });
                    if how.session_present {
                        self.talk.step("session resumed");
                    }
                    if connected {
                        self.talk.say_steps();
                    }
                    connected = true;
                }
                Event::Subscribed { codes, text, again: false, .. } => {
                    granted(self.talk, filters, &codes, text.as_deref())?;
                    self.talk.say_steps();
                    if self.sub.only_subscribe {
                        return Ok(());
                    }
                }
                Event::RequestFailed { error, .. } => {
                    let text = format!("SUBSCRIBE failed: {error}");
                    return Err(Error::Refused { text, hint: "see the broker's log".into() });
                }
                Event::Disconnected { error: Some(error), .. } => {
                    self.talk.warn(&format!("{error}; connecting again"));
                }
                Event::Message(message) => {
                    let out = filters_out
                        .iter()
                        .any(|filter| topic_matches(filter.as_str(), message.topic()));
                    if !out && message.retain() && self.sub.remove_retained {
                        clear(client, message.topic())?;
                        cleared += 1;
                    }
                    let last = !out && self.take(&Received::mqtt(&message))?;
                    // Only what was printed is acknowledged.
                    if let Some(handle) = message.ack() {
                        client.machine.acknowledge(handle, ReasonCode::Success);
                    }
                    if last {
                        return cleared_all(client, cleared).await;
                    }
                }
                Event::Published { .. } => cleared -= 1,
                Event::PublishFailed { error, .. } => return Err(not_published(&error)),
                _ => {}
            }
        }
    }

    async fn by_sn(&mut self, target: &Target, clock: Clock) -> Result<(), Error> {
        let link = &self.sub.link;
        let (id, config) = (link.client_id()?, link.sn_config()?);
        let mut client = SnClient::open(target, &id, config, clock, link.debug).await?;
        let patience = link.wait;
        let result = bounded(patience, LATE, self.messages_of_sn(&mut client, target)).await;
        if client.is_connected() {
            let goodbye = tokio::time::timeout(Duration::from_secs(1), client.disconnect());
            let _ = goodbye.await;
        }
        self.late(result)
    }

    async fn messages_of_sn(
        &mut self,
        client: &mut SnClient,
        target: &Target,
    ) -> Result<(), Error> {
        let mut failures = 0;
        self.enter(client, target).await?;
        loop {
            let error = match self.listen(client).await {
                Err(error @ (Error::Ended { .. } | Error::TimedOut { .. })) => error,
                other => return other,
            };
            self.talk.warn(&format!("{error}; connecting again"));
            while let Err(error) = self.enter(client, target).await {
                failures += 1;
                if failures == SN_ATTEMPTS {
                    return Err(error);
                }
                tokio::time::sleep(SN_RECONNECT).await;
            }
            failures = 0;
        }
    }

    /// CONNECT and SUBSCRIBE.
    async fn enter(&mut self, client: &mut SnClient, target: &Target) -> Result<(), Error> {
        let qos = self.sub.link.sn_qos();
        client.connect(self.sub.link.is_clean()).await?;
        self.talk.step("CONNECT ok");
        for topic in self.sub.topics(target) {
            let reference = if self.sub.short {
                let TopicId::Short(name) = short(&topic)? else { continue };
                TopicRef::Short(name)
            } else {
                TopicRef::Name(&topic)
            };
            let granted = client.subscribe(reference, qos).await?;
            self.talk.step(format!("SUBSCRIBE qos {} {topic}", sn_qos_text(granted)));
        }
        for id in self.sub.ids()? {
            let granted = client.subscribe(TopicRef::Predefined(id), qos).await?;
            self.talk.step(format!("SUBSCRIBE qos {} id {id}", sn_qos_text(granted)));
        }
        for topic in &self.sub.unsubscribe {
            client.unsubscribe(TopicRef::Name(topic)).await?;
            self.talk.step(format!("UNSUBSCRIBE {topic}"));
        }
        Ok(())
    }

    async fn listen(&mut self, client: &mut SnClient) -> Result<(), Error> {
        if self.sub.only_subscribe {
            self.talk.say_steps();
            return Ok(());
        }
        let Some(secs) = self.sub.sleep else {
            self.talk.say_steps();
            loop {
                let message = client.message().await?;
                if self.take_sn(&message)? {
                    return Ok(());
                }
            }
        };
        // What came before the sleep, then what each waking brings.
        client.sleep(secs).await?;
        self.talk.step(format!("asleep, awake every {secs} s"));
        self.talk.say_steps();
        loop {
            while let Some(message) = client.received() {
                if self.take_sn(&message)? {
                    return Ok(());
                }
            }
            client.settle(tokio::time::sleep(Duration::from_secs(secs.into()))).await?;
            client.wake().await?;
        }
    }

    fn take_sn(&mut self, message: &Reception) -> Result<bool, Error> {
        self.take(&Received::sn(message))
    }

    fn hint_of_silence(&self) -> String {
        if self.seen > 0 {
            return "no more was published; -W SECONDS waits longer".to_owned();
        }
        if self.sub.topic.iter().any(|topic| topic == "#") {
            return "nobody has published anything; -W SECONDS waits longer".to_owned();
        }
        let again = self.sub.link.again();
        format!("is the topic right? `motegate sub{again} -t '#' -v` shows all that comes")
    }

    /// A time-out says how far it came.
    fn late(&self, result: Result<(), Error>) -> Result<(), Error> {
        match (result, self.sub.link.wait) {
            (Err(Error::TimedOut { what, .. }), Some(wait)) if what.starts_with(LATE) => {
                let what = format!("{} within {} s", self.missing(), wait.as_secs_f64());
                let hint = self.hint_of_silence().into();
                Err(Error::TimedOut { what, hint })
            }
            (other, _) => other,
        }
    }
}

/// Marks the time-out of -W among those of the connection.
const LATE: &str = "messages";
const SUBSCRIBE: u64 = 0;
const UNSUBSCRIBE: u64 = 1;
const CLEAR: u64 = 2;

/// Deletes a retained message, as --remove-retained asks for.
fn clear(client: &mut MqttClient, topic: &str) -> Result<(), Error> {
    let publish = Publish { retain: true, ..Publish::new(topic, b"", Qos::AtLeastOnce) };
    client.machine.publish(&publish, CLEAR).map_err(|error| not_published(&error))
}

/// Waits until the server has deleted what it was asked to.
async fn cleared_all(client: &mut MqttClient, mut cleared: u32) -> Result<(), Error> {
    while cleared > 0 {
        match client.next().await? {
            Event::Published { .. } => cleared -= 1,
            Event::PublishFailed { error, .. } => return Err(not_published(&error)),
            _ => {}
        }
    }
    Ok(())
}

/// Says what was wrong with a message, if anything.
pub(super) fn say(talk: &mut Talk, trouble: Option<String>) {
    if let Some(trouble) = trouble {
        talk.warn(&trouble);
    }
}

fn percent(text: &str) -> Result<f64, String> {
    let part: f64 = text.parse().map_err(|_| "a number of percent".to_owned())?;
    if (0.1..=100.0).contains(&part) { Ok(part) } else { Err("0.1 to 100".to_owned()) }
}

/// Tells what was granted; an error if that is nothing.
pub(super) fn granted(
    talk: &mut Talk,
    filters: &[Filter],
    codes: &[ReasonCode],
    text: Option<&str>,
) -> Result<(), Error> {
    let mut refused = Vec::new();
    for (filter, code) in filters.iter().zip(codes) {
        match Qos::from_bits(code.as_u8()) {
            Some(qos) => talk.step(format!("SUBSCRIBE qos {} {}", qos_text(qos), filter.filter)),
            None => refused.push((filter, *code)),
        }
    }
    let words = |(filter, code): &(&Filter, ReasonCode)| {
        format!("SUBSCRIBE {} refused: {code:?} (0x{:02x})", filter.filter, code.as_u8())
    };
    let mut said = refused.iter().map(words).collect::<Vec<_>>().join("; ");
    if let Some(text) = text {
        said = format!("{said}: {text}");
    }
    if !refused.is_empty() && refused.len() == filters.len() {
        let hint = "may this user read that? -u NAME -P PASSWORD logs in";
        return Err(Error::Refused { text: said, hint: hint.into() });
    }
    if !refused.is_empty() {
        talk.warn(&said);
    }
    Ok(())
}

fn sn_qos_text(qos: QosBits) -> &'static str {
    match qos {
        QosBits::MinusOne => "-1",
        QosBits::Zero => "0",
        QosBits::One => "1",
        QosBits::Two => "2",
    }
}
