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
    },
    /// The outstanding request is done.
    Done(Done),
    /// The gateway refused the outstanding request.
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
    /// The gateway does not answer, or does not know this client: connect again.
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
    /// Another one is outstanding, or too much waits to be sent.
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
}
