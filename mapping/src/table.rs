//! [`Table`]: the checked rules, asked per request, and the vocabulary of asking.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use motegate_message::{Qos, Reason, TopicFilter, TopicName};

use crate::coap::{Asker, CoapTable, Link};
use crate::format::Payload;
use crate::payload::Conversion;
use crate::record::RecordTopic;
use crate::sn::SnTable;
use crate::{Preset, QosMinusOne, RuleError, Rules};

/// Who asks, and through which listener.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a> {
    /// `{listener}`.
    pub listener: &'a str,
    /// `{client}`: the name the device gave; for CoAP see mapping.md §2.4.
    pub client: &'a str,
    /// `{identity}`: what authentication proved.
    pub identity: Option<&'a str>,
    /// `{tenant}` of the listener.
    pub tenant: &'a str,
    /// `{gateway}`.
    pub gateway: &'a str,
    /// `{source_ip}`.
    pub source_ip: IpAddr,
    /// Prefix of every topic of the listener, resolved (no placeholders left).
    pub mount: &'a str,
}

/// What a CoAP client wants done to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CoapMethod {
    /// GET.
    Get,
    /// GET with Observe 0.
    Observe,
    /// PUT.
    Put,
    /// POST.
    Post,
    /// DELETE.
    Delete,
    /// FETCH, PATCH, iPATCH: no rule takes them.
    Other,
}

/// What a rule says a method means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// The retained value.
    Read,
    /// Deliveries of a topic filter.
    Subscribe,
    /// Publish; whether retained is in [`CoapMatch::retain`].
    Publish,
    /// Clear the retained value.
    Clear,
}

impl Action {
    /// The word that stands in a rule's `methods`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Action::Read => "read",
            Action::Subscribe => "subscribe",
            Action::Publish => "publish",
            Action::Clear => "clear",
        }
    }
}

/// A resource that is no topic's value: it describes topics (the preset `core-pubsub`), or lets clients
/// in (`emqx-ps`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Managed {
    /// The collection, which lists and makes topics.
    Collection,
    /// A topic's configuration; the path's last segment is its id.
    Topic,
    /// Where the clients of EMQX's gateway connect.
    Connection,
}

impl fmt::Display for Managed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Managed::Collection => "the topic collection of core-pubsub",
            Managed::Topic => "a topic's configuration (core-pubsub)",
            Managed::Connection => {
                "where clients of EMQX's gateway connect (emqx-ps: POST, PUT, DELETE)"
            }
        })
    }
}

/// What a client that was written for EMQX's gateway says of its subscription (the preset `emqx-ps`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Emqx {
    /// `rh=2`: it wants no retained message, only what comes from now on.
    pub skips_retained: bool,
    /// `nl=1`: it wants nothing back that it has published itself.
    pub no_local: bool,
}

/// A CoAP request, mapped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoapMatch {
    /// Name of the rule, for logs and `explain`.
    pub rule: Arc<str>,
    /// What to do.
    pub action: Action,
    /// The final topic (mount applied); a filter with wildcards only with [`Action::Subscribe`].
    pub topic: TopicFilter,
    /// Whether a publish is retained.
    pub retain: bool,
    /// QoS of a publish or subscription; `None` is `auto`: CON 1, NON 0.
    pub qos: Option<Qos>,
    /// Message expiry of a publish.
    pub expiry: Option<Duration>,
    /// Max-Age of a value that does not expire; `None`: it is not said, which means 60 s.
    pub max_age: Option<Duration>,
    /// User properties from query keys.
    pub user: Vec<(String, String)>,
    /// Whether observing a topic without value answers 2.05 empty (`true`) or 4.04.
    pub content_when_empty: bool,
    /// Formats of the two sides; `None`: the payload goes through as it is.
    pub payload: Option<Arc<Payload>>,
    /// What turns one side's format into the other's; with a topic that has wildcards there is one
    /// without [`payload`](Self::payload), too.
    pub conversion: Option<Arc<Conversion>>,
    /// The topic of each record, where the rule's topic names them; [`topic`](Self::topic) is then
    /// the filter of all of them.
    pub records: Option<RecordTopic>,
    /// Its client is answered as EMQX answers: an observation begins with an empty 2.05, the value, if
    /// there is one, being its first notification, and ends with 2.07.
    pub emqx: Option<Emqx>,
}

/// Why a request maps to nothing, with a text for the device's developer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct MapError {
    /// For counters and the wire code: `NoRule`, `MethodNotAllowed`, `BadTopic`, `BadOption`,
    /// `AuthMissing` (the topic needs an identity), `SnUnknownTopicId`, `SnQosMinusOneOff`.
    pub reason: Reason,
    /// What is wrong and what to change.
    pub text: String,
}

/// How an MQTT-SN client names a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SnTopic<'a> {
    /// By name (a filter in SUBSCRIBE).
    Name(&'a str),
    /// By pre-defined id.
    Predefined(u16),
    /// By two characters.
    Short([u8; 2]),
}

/// An MQTT-SN topic, mapped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnMatch {
    /// The final topic (mount applied).
    pub topic: TopicFilter,
    /// Overrides the RETAIN flag of a publish.
    pub retain: Option<bool>,
    /// Message expiry of a publish.
    pub expiry: Option<Duration>,
    /// Formats of the two sides; `None`: the payload goes through as it is.
    pub payload: Option<Arc<Payload>>,
    /// What turns one side's format into the other's.
    pub conversion: Option<Arc<Conversion>>,
}

/// How a topic is named towards an MQTT-SN client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnNames {
    /// Mount stripped, names rewritten.
    pub name: TopicName,
    /// A pre-defined id that means it to this client.
    pub predefined: Option<u16>,
    /// Formats of the two sides when it is delivered by [`predefined`](Self::predefined).
    pub payload: Option<Arc<Payload>>,
    /// What turns the broker's into the device's then.
    pub conversion: Option<Arc<Conversion>>,
    /// A short name that means it to this client.
    pub short: Option<[u8; 2]>,
}

/// Checked rules, ready to be asked.
#[derive(Debug)]
pub struct Table {
    pub(crate) coap: CoapTable,
    pub(crate) sn: SnTable,
    /// Of the passthrough preset, where it holds.
    prefix: Option<String>,
    /// Of all presets.
    roots: Vec<String>,
    /// Whether the preset `emqx-ps` holds.
    emqx: bool,
}

impl Table {
    /// Checks the rules.
    ///
    /// # Errors
    /// Every mistake, with its place; overlapping rules among them.
    pub fn new(rules: Rules) -> Result<Table, Vec<RuleError>> {
        let mut errors = Vec::new();
        let table = Table {
            coap: CoapTable::new(&rules, &mut errors),
            sn: SnTable::new(&rules, &mut errors),
            emqx: rules.presets.contains(&Preset::EmqxPs),
            roots: rules.presets.iter().map(|one| one.entry(&rules).to_owned()).collect(),
            prefix: rules.presets.contains(&Preset::Passthrough).then_some(rules.prefix),
        };
        if errors.is_empty() { Ok(table) } else { Err(errors) }
    }

    /// The rules that hold when no file is given: CoAP `/PREFIX/{topic...}` (passthrough), MQTT-SN
    /// names and short topics as they are. The prefix may hold slashes or be empty.
    #[must_use]
    pub fn passthrough(prefix: &str) -> Table {
        let rules = Rules { prefix: prefix.to_owned(), ..Rules::default() };
        Table::new(rules).expect("the passthrough rule alone has no mistakes")
    }

    /// Under which CoAP path every topic is reached as it is, for discovery: segments with slashes
    /// between them, possibly none. `None` without the passthrough preset.
    #[must_use]
    pub fn prefix(&self) -> Option<&str> {
        self.prefix.as_deref()
    }

    /// Where presets have every topic as it is, or the collection that leads there: segments with
    /// slashes between them, possibly none. Its order is that of the configuration.
    pub fn roots(&self) -> impl Iterator<Item = &str> {
        self.roots.iter().map(String::as_str)
    }

    /// How a client names itself in the query of a request for this path, beside `client`: EMQX's
    /// clients have words of their own.
    #[must_use]
    pub fn client_words(&self, path: &[String]) -> &'static [&'static str] {
        let emqx = self.has_connections() && path.first().is_some_and(|first| first == "ps");
        if emqx { &["clientid", "c"] } else { &[] }
    }

    /// Whether the clients of EMQX's gateway may connect (the preset `emqx-ps`).
    #[must_use]
    pub const fn has_connections(&self) -> bool {
        self.emqx
    }

    /// Whether a path is where they do, if no rule of the file goes before ([`Table::managed`] says).
    #[must_use]
    pub fn is_connection(&self, path: &[String]) -> bool {
        self.coap.is_connection(path)
    }

    /// What a path describes instead of leading to a topic; rules of the file go before.
    #[must_use]
    pub fn managed(
        &self,
        caller: &Caller<'_>,
        host: Option<&str>,
        path: &[String],
    ) -> Option<Managed> {
        self.coap.managed(Asker { caller, host }, path)
    }

    /// Whether some path does.
    #[must_use]
    pub const fn manages_topics(&self) -> bool {
        self.coap.manages()
    }

    /// The path of the topic collection, one segment, where there is one.
    #[must_use]
    pub const fn collection(&self) -> Option<&'static str> {
        if self.coap.manages() { Some(crate::coap::COLLECTION) } else { None }
    }

    /// Maps a CoAP request; `host` (Uri-Host), `path` and `query` are the options as they are. An
    /// Observe that no rule takes is mapped as the GET that it also is: the action is then
    /// [`Action::Read`]. The host matters to rules that say `host` only.
    ///
    /// # Errors
    /// `NoRule` 4.04, `MethodNotAllowed` 4.05, `BadTopic` and `BadOption` 4.00, `AuthMissing` 4.01
    /// where the topic needs an identity.
    pub fn coap(
        &self,
        caller: &Caller<'_>,
        host: Option<&str>,
        method: CoapMethod,
        path: &[String],
        query: &[String],
    ) -> Result<CoapMatch, MapError> {
        self.coap.map(Asker { caller, host }, method, path, query)
    }

    /// The CoAP path (segments) whose GET reads this final topic, for discovery.
    #[must_use]
    pub fn coap_path(&self, caller: &Caller<'_>, topic: &TopicName) -> Option<Vec<String>> {
        self.coap.path(Asker { caller, host: None }, topic)
    }

    /// The resource whose GET reads this final topic, and what its rule says of it, for a client
    /// that asks for this Uri-Host.
    #[must_use]
    pub fn link(&self, caller: &Caller<'_>, host: Option<&str>, topic: &TopicName) -> Option<Link> {
        self.coap.link(Asker { caller, host }, topic)
    }

    /// The resources of rules whose path has no captures, for discovery. Whether the client may
    /// read their topic is for the caller to ask.
    pub fn links<'a>(
        &'a self,
        caller: &'a Caller<'a>,
        host: Option<&'a str>,
    ) -> impl Iterator<Item = Link> + 'a {
        self.coap.literal_links(Asker { caller, host })
    }

    /// Maps the topic of an MQTT-SN PUBLISH, SUBSCRIBE, UNSUBSCRIBE, REGISTER or will. A result with
    /// wildcards comes only from [`SnTopic::Name`] with wildcards.
    ///
    /// # Errors
    /// `SnUnknownTopicId`, `BadTopic`, or `AuthMissing` where the topic needs an identity.
    pub fn sn(&self, caller: &Caller<'_>, topic: SnTopic<'_>) -> Result<SnMatch, MapError> {
        self.sn.map(caller, topic)
    }

    /// Maps a PUBLISH at QoS −1: the client name it acts as, and the topic. [`Caller::client`] is
    /// not looked at.
    ///
    /// # Errors
    /// `SnQosMinusOneOff`, `SnUnknownTopicId` or `BadTopic`.
    pub fn sn_qos_minus_one(
        &self,
        caller: &Caller<'_>,
        topic: SnTopic<'_>,
    ) -> Result<(String, SnMatch), MapError> {
        self.sn.map_minus_one(caller, topic)
    }

    /// What QoS −1 is allowed; `None`: nothing. Its rate is for the caller to keep.
    #[must_use]
    pub fn qos_minus_one(&self) -> Option<&QosMinusOne> {
        self.sn.minus_one()
    }

    /// Every pre-defined id that means something to a client, in order.
    #[must_use]
    pub fn sn_ids(&self, client: &str) -> Vec<u16> {
        self.sn.ids_of(client)
    }

    /// Every short name that means something else than itself.
    #[must_use]
    pub fn sn_short_names(&self) -> &[[u8; 2]] {
        self.sn.shorts()
    }

    /// Whether some topic id converts payloads: what a client is sent may then be shorter than the
    /// message.
    #[must_use]
    pub fn sn_converts(&self) -> bool {
        self.sn.converts()
    }

    /// The names of a final topic towards a client; `None` when it lies outside the mount (and no
    /// `absolute` id means it).
    #[must_use]
    pub fn sn_names(&self, caller: &Caller<'_>, topic: &TopicName) -> Option<SnNames> {
        self.sn.names(caller, topic)
    }
}
