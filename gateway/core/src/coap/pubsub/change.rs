//! Topics are made, changed and ended (draft-ietf-core-coap-pubsub §2.4.3, §2.5.3 to §2.5.5), and what
//! their time brings: the end at `expiration-date`, a confirmable notification every `observer-check`.

use bytes::Bytes;
use motegate_broker::{Precondition, Request};
use motegate_coap::endpoint::{
    Code, ExchangeId, Method, ObservationId, Request as CoapRequest, Response,
};
use motegate_coap::link_format::Link;
use motegate_coap::pubsub::{Properties, is_remote, local_path};
use motegate_mapping::payload::is_valid;
use motegate_mapping::{CoapMethod, is_unasked};
use motegate_message::{Message, Qos, Reason, Seq, TopicName, Turn};

use super::super::observe::NO_DELIVERY;
use super::super::{Resource, is_met, map_resource, precondition};
use super::table::{Due, Topic};
use super::{Refused, TopicRef, representation};
use crate::notice::{Notice, NoticeKind};
use crate::pending::Pending;
use crate::{Core, content_types};

/// A topic whose first data are being published.
#[derive(Debug)]
pub(crate) struct NewTopic {
    exchange: ExchangeId,
    topic: Topic,
}

/// Where a topic's data are.
struct Data {
    reference: String,
    /// Here, under this topic; `None`: on another server.
    topic: Option<TopicName>,
}

impl Core {
    /// POST to the collection (§2.4.3).
    pub(super) fn create_topic(&mut self, request: CoapRequest) {
        match self.new_topic(&request) {
            Ok(topic) => self.make_topic(request.exchange, topic),
            Err(refused) => self.coap_manage_refused(&request, refused),
        }
    }

    fn new_topic(&mut self, request: &CoapRequest) -> Result<Topic, Refused> {
        self.may_store()?;
        let mut properties = self.read_properties(request)?;
        let mount = self.listener(request.peer.listener).mount.clone();
        let (Some(name), Some(_)) = (&properties.topic_name, &properties.resource_type) else {
            return Err(Refused::bad("a topic needs a topic-name (0) and a resource-type (2)"));
        };
        self.check_values(&properties)?;
        if self.topics.by_name(&mount, name).is_some() {
            return Err(Refused::bad("there is a topic of this topic-name already"));
        }
        let max = self.config.max_pubsub_topics;
        if self.topics.len() >= max {
            self.topics.counts.refused += 1;
            self.limited("max_pubsub_topics");
            let text = format!("there are {max} topics already");
            let (code, reason) = (Code::SERVICE_UNAVAILABLE, Reason::QuotaExceeded);
            return Err(Refused { code, reason, text });
        }
        let id = self.new_id(&mount, name);
        let data = match &properties.topic_data {
            Some(reference) => self.given_data(request, reference)?,
            None => self.own_data(request, name, &id)?,
        };
        if data.topic.is_none() && properties.initialize.is_some() {
            return Err(Refused::bad("initialize: the topic-data are on another server"));
        }
        properties.topic_data = Some(data.reference);
        Ok(Topic::new(mount, id.into(), properties, data.topic))
    }

    /// Whether what has to be stored is taken now.
    fn may_store(&self) -> Result<(), Refused> {
        let (code, reason) = match self.broker.is_store_failed() {
            true => (Code::SERVICE_UNAVAILABLE, Reason::StorageFull),
            false if self.backpressure.is_over() => (Code::SERVICE_UNAVAILABLE, Reason::Overloaded),
            false => return Ok(()),
        };
        let text = "the store is behind: try again in a moment".to_owned();
        Err(Refused { code, reason, text })
    }

    fn limited(&mut self, key: &'static str) {
        self.notice(Notice { limit: Some(key), ..Notice::new(NoticeKind::Limited) });
    }

    fn read_properties(&mut self, request: &CoapRequest) -> Result<Properties, Refused> {
        let max = self.config.max_pubsub_topic_size;
        if request.payload.len() > max {
            self.topics.counts.too_large += 1;
            self.limited("max_pubsub_topic_size");
            let text = format!("a topic's configuration has at most {max} bytes");
            let (code, reason) = (Code::REQUEST_ENTITY_TOO_LARGE, Reason::TooLarge);
            return Err(Refused { code, reason, text });
        }
        Properties::from_cbor(&request.payload).map_err(|error| Refused::bad(error.to_string()))
    }

    /// What holds between properties, and now.
    fn check_values(&self, properties: &Properties) -> Result<(), Refused> {
        let now = self.wall.as_millis();
        if properties.expiration_date.is_some_and(|date| date.as_millis() <= now) {
            return Err(Refused::bad("expiration-date is over already"));
        }
        match (&properties.initialize, properties.topic_content_format) {
            (Some(_), None) => Err(Refused::bad("initialize needs a topic-content-format (3)")),
            (Some(data), Some(format)) if !is_valid(format, data) => {
                Err(Refused::bad(format!("initialize is not of Content-Format {format}")))
            }
            _ => Ok(()),
        }
    }

    /// The same name makes the same id, unless that is taken.
    fn new_id(&self, mount: &str, name: &str) -> String {
        let mut hash = motegate_broker::etag(None, name.as_bytes());
        loop {
            let id = format!("{:08x}", (hash ^ hash >> 32) & 0xffff_ffff);
            if self.topics.by_id(mount, &id).is_none() {
                return id;
            }
            hash = hash.wrapping_add(1);
        }
    }

    /// The resource that a client wants the data at.
    fn given_data(&self, request: &CoapRequest, reference: &str) -> Result<Data, Refused> {
        let reference = reference.to_owned();
        if is_remote(&reference) {
            return Ok(Data { reference, topic: None });
        }
        let Some(path) = local_path(&reference) else {
            let text = "topic-data is neither a path from / on nor a URI of coap and its kin";
            return Err(Refused::bad(text));
        };
        let topic = self.data_at(request, &path)?;
        Ok(Data { reference, topic: Some(topic) })
    }

    /// Where the data of a name are: at the topic of that name, where it can be one.
    fn own_data(&self, request: &CoapRequest, name: &str, id: &str) -> Result<Data, Refused> {
        let collection = self.table.collection().unwrap_or_default();
        let path = |levels: &str| -> Vec<String> {
            let levels = levels.split('/').map(str::to_owned);
            [collection, "data"].map(str::to_owned).into_iter().chain(levels).collect()
        };
        let named = path(name);
        let (path, topic) = match self.data_at(request, &named) {
            Ok(topic) => (named, topic),
            Err(_) => (path(id), self.data_at(request, &path(id))?),
        };
        Ok(Data { reference: Link::to(&path).href, topic: Some(topic) })
    }

    /// The final topic that a path writes to, which is no other topic's data.
    fn data_at(&self, request: &CoapRequest, path: &[String]) -> Result<TopicName, Refused> {
        // RFC 3986 §5.2.4: URI libraries take . and .. away; RFC 7252 §5.10.1: and no option is so long.
        if path.iter().any(|segment| is_unasked(segment)) {
            let text = "topic-data: no request has a path with . or .., or with more than 255 bytes \
                        between two slashes";
            return Err(Refused::bad(text));
        }
        let listener = request.peer.listener;
        let key = self.coap_client(request);
        let caller = self.caller(listener, key.client_id(), request.peer.addr.ip());
        let asked = Resource { host: request.host.as_deref(), path, query: &[] };
        let rules = (&self.config, &*self.table);
        let mapped = map_resource(rules, listener, &caller, CoapMethod::Put, asked)
            .map_err(|error| Refused::bad(format!("topic-data: {}", error.text)))?;
        let topic = mapped.topic.as_name().filter(|_| mapped.conversion.is_none());
        let Some(topic) = topic else {
            return Err(Refused::bad(
                "topic-data: the rule of this path converts what it is given",
            ));
        };
        self.coap_may_publish(listener, &topic)?;
        match self.topics.by_data(topic.as_str()) {
            Some(_) => Err(Refused::bad("topic-data: these are another topic's")),
            None => Ok(topic),
        }
    }

    /// First its data, where it says some: what refuses them refuses the topic.
    fn make_topic(&mut self, exchange: ExchangeId, topic: Topic) {
        let (Some(payload), Some(data)) = (&topic.properties.initialize, &topic.data) else {
            return self.topic_made(NewTopic { exchange, topic }, Seq::NONE);
        };
        let mut message = Message::new(data.clone(), payload.clone());
        message.qos = Qos::AtLeastOnce;
        message.retain = true;
        let format = topic.properties.topic_content_format;
        message.properties = content_types::properties(format, &[]);
        let pending = Pending::CoapTopic(Box::new(NewTopic { exchange, topic }));
        let ticket = self.pending.insert(pending);
        self.ask(Request::Publish { ticket, message, precondition: None });
    }

    pub(crate) fn topic_made(&mut self, new: NewTopic, after: Seq) {
        let NewTopic { exchange, topic } = new;
        let location = [self.table.collection().unwrap_or_default(), &topic.id];
        let location_path = location.map(str::to_owned).to_vec();
        let response =
            Response { location_path, ..representation(Code::CREATED, &topic.properties) };
        let number = self.topics.insert(&self.calendar(), topic);
        self.count_observers(number);
        self.coap.respond(&self.turn, exchange, response, after.max(self.written()));
    }

    pub(crate) fn topic_refused(&mut self, new: &NewTopic, reason: Reason) {
        self.coap_failed(new.exchange, reason);
    }

    /// Takes a record of the journal back; whether it is a topic's and whole.
    pub(crate) fn restore_topic(&mut self, key: &[u8], value: &[u8]) -> bool {
        let calendar = self.calendar();
        self.topics.restore(&calendar, key, value)
    }

    /// This turn by the wall clock as it is: an expiration date is one of the calendar, not so long
    /// from some time on.
    fn calendar(&self) -> Turn {
        Turn { wall: self.wall, ..self.turn }
    }

    /// The batch that this turn's records of topics are in.
    fn written(&self) -> Seq {
        if self.turn.durable { self.turn.seq } else { Seq::NONE }
    }

    /// Who has observed the data since before there was a topic.
    fn count_observers(&mut self, number: TopicRef) {
        let Some(topic) = self.topics.get(number) else { return };
        let path = topic.properties.topic_data.as_deref().and_then(local_path);
        let (Some(path), mount) = (path, topic.mount.clone()) else { return };
        let of_this = |observation: &ObservationId| {
            let listener = self.coap.observer(*observation).map(|peer| peer.listener);
            listener.is_some_and(|listener| self.listener(listener).mount == mount)
        };
        let mut earlier: Vec<ObservationId> = self
            .observations
            .iter()
            .filter(|(id, known)| known.of.is_none() && known.asked.path == path && of_this(id))
            .map(|(id, _)| *id)
            .collect();
        earlier.sort_unstable(); // the same in every run
        for observation in earlier {
            if let Some(known) = self.observations.get_mut(&observation) {
                known.of = Some(number);
            }
            self.topics.observed(&self.turn, number, observation);
        }
        self.end_surplus(number);
    }

    /// POST, PUT (§2.5.3) and iPATCH (§2.5.4).
    pub(super) fn update_topic(&mut self, request: &CoapRequest, number: TopicRef) {
        let properties = match self.updated(request, number) {
            Ok(properties) => properties,
            Err(refused) => return self.coap_manage_refused(request, refused),
        };
        let response = representation(Code::CHANGED, &properties);
        self.topics.update(&self.calendar(), number, properties);
        self.end_surplus(number);
        self.coap.respond(&self.turn, request.exchange, response, self.written());
    }

    fn updated(&mut self, request: &CoapRequest, number: TopicRef) -> Result<Properties, Refused> {
        self.may_store()?;
        let mut new = self.read_properties(request)?;
        let Some(topic) = self.topics.get(number) else {
            return Err(Refused::bad("the topic is gone"));
        };
        let own = &topic.properties;
        for (name, given, own) in [
            ("topic-name", &new.topic_name, &own.topic_name),
            ("topic-data", &new.topic_data, &own.topic_data),
            ("resource-type", &new.resource_type, &own.resource_type),
        ] {
            if given.is_some() && given != own {
                return Err(Refused::bad(format!("{name} stays as it was made")));
            }
        }
        new = match request.method {
            Method::IPatch => {
                let mut whole = own.clone();
                whole.patch(new);
                whole
            }
            // The other properties are what is said, and absent where nothing is.
            _ => Properties {
                topic_name: own.topic_name.clone(),
                topic_data: own.topic_data.clone(),
                resource_type: own.resource_type.clone(),
                ..new
            },
        };
        // One that is kept may have come close meanwhile: that is no mistake of this request.
        let kept = new.expiration_date == own.expiration_date;
        let judged =
            Properties { expiration_date: new.expiration_date.filter(|_| !kept), ..new.clone() };
        self.check_values(&judged)?;
        if new.to_cbor().len() > self.config.max_pubsub_topic_size {
            let text = "the configuration becomes too large (max_pubsub_topic_size)".to_owned();
            let (code, reason) = (Code::REQUEST_ENTITY_TOO_LARGE, Reason::TooLarge);
            self.topics.counts.too_large += 1;
            return Err(Refused { code, reason, text });
        }
        Ok(new)
    }

    /// §2.5.3: who has subscribed last goes first when `max-subscribers` sinks.
    fn end_surplus(&mut self, number: TopicRef) {
        let Some(topic) = self.topics.get(number) else { return };
        let most = topic.properties.max_subscribers.unwrap_or(u64::MAX);
        let surplus = (topic.observers.len() as u64).saturating_sub(most);
        let surplus = usize::try_from(surplus).unwrap_or(usize::MAX);
        let last: Vec<ObservationId> =
            topic.observers.iter().rev().take(surplus).copied().collect();
        for observation in last {
            self.finish_observation(observation, Code::NOT_FOUND);
        }
    }

    /// DELETE (§2.5.5).
    pub(super) fn delete_topic(&mut self, request: &CoapRequest, number: TopicRef) {
        self.end_topic(number);
        let response = Response::new(Code::DELETED);
        self.coap.respond(&self.turn, request.exchange, response, self.written());
    }

    /// The topic, its data and every observation of them.
    fn end_topic(&mut self, number: TopicRef) {
        let Some(topic) = self.topics.remove(&self.turn, number) else { return };
        for observation in topic.observers {
            self.finish_observation(observation, Code::NOT_FOUND);
        }
        let Some(data) = topic.data else { return };
        let mut message = Message::new(data, Bytes::new());
        message.qos = Qos::AtLeastOnce;
        message.retain = true;
        let ticket = self.pending.insert(Pending::Nothing);
        // Where there are none, nobody is told that they are gone.
        let exists = Some(Precondition::Match(Vec::new()));
        self.ask(Request::Publish { ticket, message, precondition: exists });
    }

    /// What of the topics is due.
    pub(in crate::coap) fn topics_due(&mut self) {
        while let Some(due) = self.topics.pop_due(&self.calendar()) {
            match due {
                Due::Expired(number) => self.end_topic(number),
                Due::Check(number) => {
                    let data = self.topics.get(number).and_then(|topic| topic.data.clone());
                    let Some(topic) = data else { continue };
                    let ticket = self.pending.insert(Pending::CoapTopicCheck(number));
                    self.ask(Request::Read { ticket, topic });
                }
            }
        }
    }

    /// The present data go to every observer as a confirmable notification: who does not
    /// acknowledge it is forgotten (RFC 7641 §4.5).
    pub(crate) fn check_observers(&mut self, number: TopicRef, message: Option<&Message>) {
        let Some((topic, message)) = self.topics.get(number).zip(message) else { return };
        let observers: Vec<ObservationId> = topic.observers.iter().copied().collect();
        for observation in observers {
            self.coap_tell(observation, message, NO_DELIVERY, true);
        }
    }
}

/// If-Match and If-None-Match, of the configuration as it is represented.
pub(super) fn judge_condition(request: &CoapRequest, own: &Properties) -> Result<(), Refused> {
    let Some(condition) = precondition(&request.if_match, request.if_none_match, &[]) else {
        return Ok(());
    };
    let etag = representation(Code::CONTENT, own).etag.unwrap_or_default();
    if is_met(Some(&condition), etag) {
        return Ok(());
    }
    Err(Refused::condition("the topic's configuration is another than If-Match says"))
}
