//! The properties of MQTT 5 §2.2.2: [`Property`], a checked list of them as it is on the wire
//! ([`Properties`]), and one being written ([`PropertyBuf`]).
//!
//! A decoded list is checked once, for the place it stands in ([`Scope`]): only properties that
//! may stand there, each once (but user properties), values in range. It stays a borrowed slice;
//! reading it allocates nothing.

use alloc::vec::Vec;

use crate::codec::read::{Reader, Utf8};
use crate::codec::write;
use crate::error::DecodeError;
use crate::packet::{PacketType, Sender};

/// Where a list of properties stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// In the variable header of a packet.
    Packet(PacketType, Sender),
    /// Before the will topic of a CONNECT.
    Will,
}

/// One property with its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // the names are the specification's
pub enum Property<'a> {
    PayloadFormatIndicator(bool),
    MessageExpiryInterval(u32),
    ContentType(&'a str),
    ResponseTopic(&'a str),
    CorrelationData(&'a [u8]),
    SubscriptionIdentifier(u32),
    SessionExpiryInterval(u32),
    AssignedClientIdentifier(&'a str),
    ServerKeepAlive(u16),
    AuthenticationMethod(&'a str),
    AuthenticationData(&'a [u8]),
    RequestProblemInformation(bool),
    WillDelayInterval(u32),
    RequestResponseInformation(bool),
    ResponseInformation(&'a str),
    ServerReference(&'a str),
    ReasonString(&'a str),
    ReceiveMaximum(u16),
    TopicAliasMaximum(u16),
    TopicAlias(u16),
    MaximumQos(bool),
    RetainAvailable(bool),
    UserProperty(&'a str, &'a str),
    MaximumPacketSize(u32),
    WildcardSubscriptionAvailable(bool),
    SubscriptionIdentifierAvailable(bool),
    SharedSubscriptionAvailable(bool),
}

/// The identifier of the user property, the one that may repeat everywhere.
const USER: u8 = 0x26;
const SUBSCRIPTION_IDENTIFIER: u8 = 0x0b;

impl<'a> Property<'a> {
    /// Its identifier (MQTT 5 §2.2.2.2, table 2-4).
    #[must_use]
    pub const fn id(&self) -> u8 {
        match self {
            Property::PayloadFormatIndicator(_) => 0x01,
            Property::MessageExpiryInterval(_) => 0x02,
            Property::ContentType(_) => 0x03,
            Property::ResponseTopic(_) => 0x08,
            Property::CorrelationData(_) => 0x09,
            Property::SubscriptionIdentifier(_) => SUBSCRIPTION_IDENTIFIER,
            Property::SessionExpiryInterval(_) => 0x11,
            Property::AssignedClientIdentifier(_) => 0x12,
            Property::ServerKeepAlive(_) => 0x13,
            Property::AuthenticationMethod(_) => 0x15,
            Property::AuthenticationData(_) => 0x16,
            Property::RequestProblemInformation(_) => 0x17,
            Property::WillDelayInterval(_) => 0x18,
            Property::RequestResponseInformation(_) => 0x19,
            Property::ResponseInformation(_) => 0x1a,
            Property::ServerReference(_) => 0x1c,
            Property::ReasonString(_) => 0x1f,
            Property::ReceiveMaximum(_) => 0x21,
            Property::TopicAliasMaximum(_) => 0x22,
            Property::TopicAlias(_) => 0x23,
            Property::MaximumQos(_) => 0x24,
            Property::RetainAvailable(_) => 0x25,
            Property::UserProperty(..) => USER,
            Property::MaximumPacketSize(_) => 0x27,
            Property::WildcardSubscriptionAvailable(_) => 0x28,
            Property::SubscriptionIdentifierAvailable(_) => 0x29,
            Property::SharedSubscriptionAvailable(_) => 0x2a,
        }
    }

    fn read(input: &mut Reader<'a>) -> Result<Property<'a>, DecodeError> {
        // The identifier is a variable byte integer; all that exist have one byte.
        let id = input.var_int()?;
        Ok(match id {
            0x01 => Property::PayloadFormatIndicator(boolean(input)?),
            0x02 => Property::MessageExpiryInterval(input.u32()?),
            0x03 => Property::ContentType(input.string()?),
            0x08 => Property::ResponseTopic(input.string()?),
            0x09 => Property::CorrelationData(input.binary()?),
            0x0b => Property::SubscriptionIdentifier(input.var_int()?),
            0x11 => Property::SessionExpiryInterval(input.u32()?),
            0x12 => Property::AssignedClientIdentifier(input.string()?),
            0x13 => Property::ServerKeepAlive(input.u16()?),
            0x15 => Property::AuthenticationMethod(input.string()?),
            0x16 => Property::AuthenticationData(input.binary()?),
            0x17 => Property::RequestProblemInformation(boolean(input)?),
            0x18 => Property::WillDelayInterval(input.u32()?),
            0x19 => Property::RequestResponseInformation(boolean(input)?),
            0x1a => Property::ResponseInformation(input.string()?),
            0x1c => Property::ServerReference(input.string()?),
            0x1f => Property::ReasonString(input.string()?),
            0x21 => Property::ReceiveMaximum(input.u16()?),
            0x22 => Property::TopicAliasMaximum(input.u16()?),
            0x23 => Property::TopicAlias(input.u16()?),
            0x24 => Property::MaximumQos(boolean(input)?),
            0x25 => Property::RetainAvailable(boolean(input)?),
            0x26 => Property::UserProperty(input.string()?, input.string()?),
            0x27 => Property::MaximumPacketSize(input.u32()?),
            0x28 => Property::WildcardSubscriptionAvailable(boolean(input)?),
            0x29 => Property::SubscriptionIdentifierAvailable(boolean(input)?),
            0x2a => Property::SharedSubscriptionAvailable(boolean(input)?),
            _ => return Err(DecodeError::UnknownProperty),
        })
    }

    /// The wire form, appended. Strings longer than 65,535 bytes are cut to nothing by the
    /// caller's check, see [`PropertyBuf::push`].
    fn write(&self, out: &mut Vec<u8>) {
        out.push(self.id());
        match *self {
            Property::PayloadFormatIndicator(v)
            | Property::RequestProblemInformation(v)
            | Property::RequestResponseInformation(v)
            | Property::MaximumQos(v)
            | Property::RetainAvailable(v)
            | Property::WildcardSubscriptionAvailable(v)
            | Property::SubscriptionIdentifierAvailable(v)
            | Property::SharedSubscriptionAvailable(v) => out.push(u8::from(v)),
            Property::ServerKeepAlive(v)
            | Property::ReceiveMaximum(v)
            | Property::TopicAliasMaximum(v)
            | Property::TopicAlias(v) => out.extend_from_slice(&v.to_be_bytes()),
            Property::MessageExpiryInterval(v)
            | Property::SessionExpiryInterval(v)
            | Property::WillDelayInterval(v)
            | Property::MaximumPacketSize(v) => out.extend_from_slice(&v.to_be_bytes()),
            Property::SubscriptionIdentifier(v) => write::var_int(out, v),
            Property::CorrelationData(v) | Property::AuthenticationData(v) => write::field(out, v),
            Property::ContentType(v)
            | Property::ResponseTopic(v)
            | Property::AssignedClientIdentifier(v)
            | Property::AuthenticationMethod(v)
            | Property::ResponseInformation(v)
            | Property::ServerReference(v)
            | Property::ReasonString(v) => write::field(out, v.as_bytes()),
            Property::UserProperty(name, value) => {
                write::field(out, name.as_bytes());
                write::field(out, value.as_bytes());
            }
        }
    }

    /// The bytes of its strings and binary data, for limits.
    fn longest_field(&self) -> usize {
        match self {
            Property::CorrelationData(v) | Property::AuthenticationData(v) => v.len(),
            Property::ContentType(v)
            | Property::ResponseTopic(v)
            | Property::AssignedClientIdentifier(v)
            | Property::AuthenticationMethod(v)
            | Property::ResponseInformation(v)
            | Property::ServerReference(v)
            | Property::ReasonString(v) => v.len(),
            Property::UserProperty(name, value) => name.len().max(value.len()),
            _ => 0,
        }
    }

    fn check_value(&self) -> Result<(), DecodeError> {
        let good = match self {
            // MQTT 5 §3.1.2.11.3, §3.1.2.11.4, §3.8.2.1.2: zero is a protocol error.
            Property::ReceiveMaximum(v) => *v != 0,
            Property::MaximumPacketSize(v) => *v != 0,
            Property::SubscriptionIdentifier(v) => *v != 0,
            // [MQTT-3.3.2-14]; it is a topic name, [MQTT-4.7.3-1].
            Property::ResponseTopic(v) => !v.is_empty() && !v.contains(['+', '#']),
            _ => true,
        };
        if good { Ok(()) } else { Err(DecodeError::BadPropertyValue) }
    }
}

/// A byte that is 0 or 1; everything else is a protocol error.
fn boolean(input: &mut Reader<'_>) -> Result<bool, DecodeError> {
    match input.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(DecodeError::BadPropertyValue),
    }
}

/// Whether the property may stand there (MQTT 5 §2.2.2.2, table 2-4).
fn may_stand(id: u8, scope: Scope) -> bool {
    use PacketType as T;
    let Scope::Packet(packet, sender) = scope else {
        return matches!(id, 0x01 | 0x02 | 0x03 | 0x08 | 0x09 | 0x18 | USER);
    };
    match packet {
        T::Connect => matches!(id, 0x11 | 0x15 | 0x16 | 0x17 | 0x19 | 0x21 | 0x22 | USER | 0x27),
        T::ConnAck => matches!(
            id,
            0x11 | 0x12 | 0x13 | 0x15 | 0x16 | 0x1a | 0x1c | 0x1f | 0x21 | 0x22 | 0x24..=0x2a
        ),
        T::Publish => {
            matches!(id, 0x01 | 0x02 | 0x03 | 0x08 | 0x09 | SUBSCRIPTION_IDENTIFIER | 0x23 | USER)
        }
        T::PubAck | T::PubRec | T::PubRel | T::PubComp | T::SubAck | T::UnsubAck => {
            matches!(id, 0x1f | USER)
        }
        T::Subscribe => matches!(id, SUBSCRIPTION_IDENTIFIER | USER),
        T::Unsubscribe => id == USER,
        T::Disconnect => match id {
            0x11 => sender == Sender::Client, // [MQTT-3.14.2-2]
            0x1c => sender == Sender::Server,
            _ => matches!(id, 0x1f | USER),
        },
        T::Auth => matches!(id, 0x15 | 0x16 | 0x1f | USER),
        T::PingReq | T::PingResp => false,
    }
}

/// A list of properties in wire form, without the length before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Properties<'a>(&'a [u8]);

impl<'a> Properties<'a> {
    /// None.
    pub const EMPTY: Properties<'static> = Properties(&[]);

    /// Checks a list for the place it stands in.
    ///
    /// # Errors
    /// Unknown, misplaced or cut properties are malformed; repeated ones and values out of range
    /// are protocol errors (MQTT 5 §2.2.2).
    pub fn check(bytes: &'a [u8], scope: Scope) -> Result<Self, DecodeError> {
        Self::check_with(bytes, scope, Utf8::Strict)
    }

    /// The same where `utf8` says what strings may hold.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn check_with(bytes: &'a [u8], scope: Scope, utf8: Utf8) -> Result<Self, DecodeError> {
        let mut input = Reader(bytes, utf8);
        let mut seen = 0_u64;
        while !input.is_empty() {
            let property = Property::read(&mut input)?;
            let id = property.id();
            if !may_stand(id, scope) {
                return Err(DecodeError::MisplacedProperty);
            }
            let from_server = Scope::Packet(PacketType::Publish, Sender::Server) == scope;
            if id == SUBSCRIPTION_IDENTIFIER
                && scope == Scope::Packet(PacketType::Publish, Sender::Client)
            {
                return Err(DecodeError::SubscriptionIdentifierFromClient); // [MQTT-3.3.4-6]
            }
            let repeatable = id == USER || (id == SUBSCRIPTION_IDENTIFIER && from_server);
            if !repeatable && seen & 1 << id != 0 {
                return Err(DecodeError::DuplicateProperty);
            }
            seen |= 1 << id;
            property.check_value()?;
        }
        // MQTT 5 §3.1.2.11.10: data without a method.
        if seen & 1 << 0x16 != 0 && seen & 1 << 0x15 == 0 {
            return Err(DecodeError::BadPropertyValue);
        }
        Ok(Properties(bytes))
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The wire form, without the length before it.
    #[must_use]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.0
    }

    /// The properties, in order.
    pub fn iter(&self) -> impl Iterator<Item = Property<'a>> + use<'a> {
        let mut input = Reader(self.0, Utf8::Lenient);
        // The list was checked: reading ends at its end and not before.
        core::iter::from_fn(
            move || {
                if input.is_empty() { None } else { Property::read(&mut input).ok() }
            },
        )
    }

    /// How many user properties there are, and the bytes of their names and values.
    #[must_use]
    pub fn user_totals(&self) -> (usize, usize) {
        self.iter().fold((0, 0), |(count, bytes), property| match property {
            Property::UserProperty(name, value) => (count + 1, bytes + name.len() + value.len()),
            _ => (count, bytes),
        })
    }
}

/// A list of properties being written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PropertyBuf(Vec<u8>);

impl PropertyBuf {
    /// An empty list; allocates nothing until a property is pushed.
    #[must_use]
    pub const fn new() -> Self {
        PropertyBuf(Vec::new())
    }

    /// Appends a property; one with a field of more than 65,535 bytes cannot be said and is left
    /// out.
    pub fn push(&mut self, property: Property<'_>) -> &mut Self {
        if property.longest_field() <= usize::from(u16::MAX) {
            property.write(&mut self.0);
        }
        self
    }

    /// Appends a whole list.
    pub fn extend(&mut self, properties: Properties<'_>) -> &mut Self {
        self.0.extend_from_slice(properties.0);
        self
    }

    /// Empties the list, keeping its memory.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The list, for a packet. The writer answers for what stands in it.
    #[must_use]
    pub fn as_properties(&self) -> Properties<'_> {
        Properties(&self.0)
    }
}

impl<'a> FromIterator<Property<'a>> for PropertyBuf {
    fn from_iter<T: IntoIterator<Item = Property<'a>>>(iter: T) -> Self {
        let mut buf = PropertyBuf::new();
        for property in iter {
            buf.push(property);
        }
        buf
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLISH: Scope = Scope::Packet(PacketType::Publish, Sender::Client);

    fn check(properties: &[Property<'_>], scope: Scope) -> Result<(), DecodeError> {
        let buf: PropertyBuf = properties.iter().copied().collect();
        let checked = Properties::check(&buf.0, scope)?;
        assert_eq!(checked.iter().collect::<Vec<_>>(), properties);
        Ok(())
    }

    #[test]
    fn order_and_repeats_of_user_properties_stay() {
        let list = [
            Property::UserProperty("b", "1"),
            Property::PayloadFormatIndicator(true),
            Property::UserProperty("a", ""),
            Property::UserProperty("b", "1"),
        ];
        assert_eq!(check(&list, PUBLISH), Ok(()));
    }

    #[test]
    fn faults_have_their_class() {
        use DecodeError::*;
        let server = Scope::Packet(PacketType::Publish, Sender::Server);
        let sub = Property::SubscriptionIdentifier(7);
        assert_eq!(check(&[sub, sub], server), Ok(()));
        assert_eq!(check(&[sub], PUBLISH), Err(SubscriptionIdentifierFromClient));
        let subscribe = Scope::Packet(PacketType::Subscribe, Sender::Client);
        assert_eq!(check(&[sub, sub], subscribe), Err(DuplicateProperty));
        assert_eq!(check(&[Property::TopicAlias(1)], Scope::Will), Err(MisplacedProperty));
        assert_eq!(check(&[Property::ResponseTopic("a/+")], PUBLISH), Err(BadPropertyValue));
        assert_eq!(check(&[Property::SubscriptionIdentifier(0)], subscribe), Err(BadPropertyValue));
        let connect = Scope::Packet(PacketType::Connect, Sender::Client);
        for bad in [
            Property::ReceiveMaximum(0),
            Property::MaximumPacketSize(0),
            Property::AuthenticationData(b"x"),
        ] {
            assert_eq!(check(&[bad], connect), Err(BadPropertyValue), "{bad:?}");
        }
        assert_eq!(Properties::check(&[0x7f], connect), Err(UnknownProperty));
        assert_eq!(Properties::check(&[0x80, 0x01], connect), Err(UnknownProperty));
        assert_eq!(Properties::check(&[0x81, 0x00], PUBLISH), Err(IntegerNotShortest));
        assert_eq!(Properties::check(&[0x01, 2], PUBLISH), Err(BadPropertyValue));
        assert_eq!(Properties::check(&[0x02, 0, 0, 0], PUBLISH), Err(Truncated));
        assert_eq!(Properties::check(&[0x26, 0, 1, b'a'], PUBLISH), Err(Truncated));
        let disconnect = |sender| Scope::Packet(PacketType::Disconnect, sender);
        let expiry = Property::SessionExpiryInterval(1);
        assert_eq!(check(&[expiry], disconnect(Sender::Client)), Ok(()));
        assert_eq!(check(&[expiry], disconnect(Sender::Server)), Err(MisplacedProperty));
    }

    #[test]
    fn a_field_that_cannot_be_said_is_left_out() {
        let long = "x".repeat(65_536);
        let mut buf = PropertyBuf::new();
        buf.push(Property::UserProperty("a", &long)).push(Property::ReasonString("r"));
        assert_eq!(buf.as_properties().iter().count(), 1);
    }
}
