//! Events as JSON lines, and what both versions read out of a command.

use std::fmt::Debug;

use serde_json::{Map, Value};

/// Writes one event.
pub(crate) fn tell(client: &str, event: &str, mut more: Value) {
    more["client"] = client.into();
    more["event"] = event.into();
    println!("{more}");
}

/// A member that is text, empty if there is none.
pub(crate) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

/// A member that is true.
pub(crate) fn yes(value: &Value, name: &str) -> bool {
    value[name].as_bool().unwrap_or_default()
}

/// A member that is a number of this size.
pub(crate) fn number<T: TryFrom<u64>>(value: &Value, name: &str) -> Option<T> {
    value[name].as_u64().and_then(|number| T::try_from(number).ok())
}

/// User properties of a command.
pub(crate) fn users(value: &Value) -> Vec<(String, String)> {
    let pairs = value["user_property"].as_array().into_iter().flatten();
    pairs
        .map(|pair| {
            let of = |at: usize| pair[at].as_str().unwrap_or_default().to_owned();
            (of(0), of(1))
        })
        .collect()
}

/// Adds a property that is there.
pub(crate) fn put(map: &mut Map<String, Value>, name: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        map.insert(name.to_owned(), value.into());
    }
}

/// A code by the name that it has in rumqttc, whose types differ by packet; 0x80 for one that no
/// test asks for.
pub(crate) fn code(reason: impl Debug) -> u8 {
    match format!("{reason:?}").as_str() {
        "Success" | "NormalDisconnection" => 0,
        "NoMatchingSubscribers" => 0x10,
        "RefusedProtocolVersion" => 1,
        "BadClientId" => 2,
        "ServiceUnavailable" => 3,
        "ClientIdentifierNotValid" => 0x85,
        "BadUserNamePassword" => 0x86,
        "NotAuthorized" => 0x87,
        "BadAuthenticationMethod" => 0x8C,
        "SessionTakenOver" => 0x8E,
        "QuotaExceeded" => 0x97,
        _ => 0x80,
    }
}
