//! What a [`Client`](super::Client) tells its application.

use thiserror::Error;

use crate::{QosBits, ReturnCode, TopicId};

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientEvent<'a> {
    /// A gateway answered SEARCHGW or advertised itself.
    GatewayFound {
        /// Its GwId.
        gateway_id: u8,
        /// Where it is, when another client answered for it (§5.4.3); empty: where the datagram
        /// came from.
        address: &'a [u8],
    },
    /// The outstanding request is done.
    Done(Done),
    /// The gateway refused the outstanding request. After [`ReturnCode::Congestion`] it is asked
    /// again T_WAIT later: five minutes or more (§7.2). A refused CONNECT leaves the client
    /// disconnected.
    ///
    /// With [`Done::Publish`] it may also be about an earlier PUBLISH of QoS 0 or −1, whose topic
    /// id the gateway does not know (§6.6); an outstanding request then stays outstanding.
    Refused {
        /// Which.
        request: Done,
        /// Why.
        code: ReturnCode,
    },
    /// The gateway will use this id for this name.
    Registered {
        /// The id.
        topic_id: u16,
        /// The name.
        name: &'a str,
    },
    /// A message.
    Message {
        /// Its topic.
        topic: TopicId,
        /// RETAIN.
        retain: bool,
        /// The payload.
        data: &'a [u8],
    },
    /// The gateway does not answer, or does not know this client: connect again. After
    /// [`Client::search`](super::Client::search): nobody answered, nothing else has changed.
    Lost,
}

/// A request, with what its answer tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// CONNECT.
    Connect,
    /// REGISTER.
    Register {
        /// Agreed id.
        topic_id: u16,
    },
    /// PUBLISH at QoS 1 or 2.
    Publish,
    /// SUBSCRIBE.
    Subscribe {
        /// Granted.
        qos: QosBits,
        /// The id of a concrete name; 0 otherwise.
        topic_id: u16,
    },
    /// UNSUBSCRIBE.
    Unsubscribe,
    /// PINGREQ; after [`Client::wake`](super::Client::wake) the client is asleep again.
    Ping,
    /// DISCONNECT with a duration.
    Sleep,
    /// DISCONNECT.
    Disconnect,
    /// WILLTOPICUPD.
    WillTopic,
    /// WILLMSGUPD.
    WillMessage,
}

/// Why a request was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ClientError {
    /// Another one is outstanding, or what was published before was not fetched yet.
    #[error("a request is outstanding")]
    Busy,
    /// It needs a connection.
    #[error("the client is not connected")]
    NotConnected,
    /// Only a sleeper wakes.
    #[error("the client is not asleep")]
    NotAsleep,
    /// It does not fit the buffers.
    #[error("too long for the client's buffers")]
    TooLong,
    /// QoS −1 is for PUBLISH alone.
    #[error("no subscription has QoS -1")]
    Qos,
}
