//! `-D COMMAND IDENTIFIER VALUE`: MQTT 5 properties by mosquitto's names.

use motegate_mqtt::{Property, PropertyBuf};

use crate::client::Error;

/// The packet that a property is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum For {
    Connect,
    Publish,
    Subscribe,
    Will,
}

/// All of a command line, checked.
#[derive(Debug, Default)]
pub(super) struct Properties {
    all: Vec<(For, PropertyBuf)>,
    /// What stood behind the last property and is none.
    url: Option<String>,
}

impl Properties {
    /// From the words behind every `-D`.
    pub(super) fn parse(words: &[String]) -> Result<Self, Error> {
        let mut properties = Properties::default();
        let mut words = words.iter().map(String::as_str);
        while let Some(command) = words.next() {
            // clap hands `-D publish content-type text mqtt://host` over as four words.
            if command.contains("://") {
                properties.url = Some(command.to_owned());
                continue;
            }
            let packet = match command {
                "connect" => For::Connect,
                "publish" => For::Publish,
                "subscribe" => For::Subscribe,
                "will" => For::Will,
                _ => {
                    return Err(Error::usage(format!(
                        "-D: `{command}` is none of connect, publish, subscribe, will"
                    )));
                }
            };
            let missing = || Error::usage(format!("-D {command}: an identifier and a value"));
            let identifier = words.next().ok_or_else(missing)?;
            let value = words.next().ok_or_else(missing)?;
            let second = if identifier == "user-property" {
                words.next().ok_or_else(|| Error::usage("-D … user-property NAME VALUE"))?
            } else {
                ""
            };
            let property = property(packet, identifier, value, second)?;
            let mut buf = PropertyBuf::new();
            buf.push(property);
            properties.all.push((packet, buf));
        }
        Ok(properties)
    }

    /// Those of one packet.
    pub(super) fn of(&self, packet: For) -> PropertyBuf {
        let mut out = PropertyBuf::new();
        for (_, property) in self.all.iter().filter(|(whose, _)| *whose == packet) {
            out.extend(property.as_properties());
        }
        out
    }

    /// A URL that was found among them.
    pub(super) fn url(&self) -> Option<String> {
        self.url.clone()
    }
}

fn property<'a>(
    packet: For,
    identifier: &str,
    value: &'a str,
    second: &'a str,
) -> Result<Property<'a>, Error> {
    use For::{Connect, Publish, Subscribe, Will};
    let number = || {
        value
            .parse::<u32>()
            .map_err(|_| Error::usage(format!("-D {identifier}: `{value}` is no number")))
    };
    let small = || {
        value
            .parse::<u16>()
            .map_err(|_| Error::usage(format!("-D {identifier}: `{value}` is not 0 to 65535")))
    };
    let flag = || match value {
        "0" => Ok(false),
        "1" => Ok(true),
        _ => Err(Error::usage(format!("-D {identifier}: 0 or 1"))),
    };
    Ok(match (packet, identifier) {
        (_, "user-property") => Property::UserProperty(value, second),
        (Publish | Will, "payload-format-indicator") => Property::PayloadFormatIndicator(flag()?),
        (Publish | Will, "message-expiry-interval") => Property::MessageExpiryInterval(number()?),
        (Publish | Will, "content-type") => Property::ContentType(value),
        (Publish | Will, "response-topic") => Property::ResponseTopic(value),
        (Publish | Will, "correlation-data") => Property::CorrelationData(value.as_bytes()),
        (Will, "will-delay-interval") => Property::WillDelayInterval(number()?),
        (Subscribe, "subscription-identifier") => Property::SubscriptionIdentifier(number()?),
        (Connect, "session-expiry-interval") => Property::SessionExpiryInterval(number()?),
        (Connect, "receive-maximum") => Property::ReceiveMaximum(small()?),
        (Connect, "maximum-packet-size") => Property::MaximumPacketSize(number()?),
        (Connect, "topic-alias-maximum") => Property::TopicAliasMaximum(small()?),
        (Connect, "request-problem-information") => Property::RequestProblemInformation(flag()?),
        (Connect, "request-response-information") => Property::RequestResponseInformation(flag()?),
        _ => {
            return Err(Error::usage(format!("-D: `{identifier}` is no property of this packet")));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Properties, Error> {
        Properties::parse(&line.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn words_become_properties_of_their_packets() {
        let all = parse(
            "publish content-type text/plain will will-delay-interval 5 publish user-property a b \
             mqtt://h",
        );
        let all = all.unwrap();
        let publish = all.of(For::Publish);
        let publish: Vec<_> = publish.as_properties().iter().collect();
        let expected = [Property::ContentType("text/plain"), Property::UserProperty("a", "b")];
        assert_eq!(publish, expected);
        let will = all.of(For::Will);
        assert_eq!(will.as_properties().iter().next(), Some(Property::WillDelayInterval(5)));
        assert!(all.of(For::Connect).as_properties().iter().next().is_none());
        assert_eq!(all.url().as_deref(), Some("mqtt://h"));
    }

    #[test]
    fn nonsense_is_named() {
        for (line, word) in [
            ("shout content-type x", "shout"),
            ("connect content-type x", "content-type"),
            ("publish message-expiry-interval soon", "soon"),
            ("publish payload-format-indicator 2", "0 or 1"),
            ("publish user-property a", "NAME VALUE"),
            ("connect receive-maximum 65536", "65535"),
            ("publish", "identifier"),
        ] {
            let error = parse(line).unwrap_err().to_string();
            assert!(error.contains(word), "{line}: {error}");
        }
    }
}
