//! WebSocket (RFC 6455), as MQTT runs over it (mqtt.md §2.18): [`upgrade`] turns an HTTP request
//! into a WebSocket, [`frames`] takes the stream of MQTT's bytes out of frames and puts it into some.

pub(crate) mod frames;
pub(crate) mod upgrade;
