//! Retained topics, level by level, their values, and how many observe each.

use std::fmt::Write as _;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use motegate_core::admin::{self, Answer, Query};
use motegate_message::{Message as Retained, TopicFilter, TopicName};
use serde::Deserialize;
use utoipa::IntoParams;

use super::clients::limit;
use super::model::{Audience, Level, Levels, Message, Observers};
use super::problem::Parameters;
use super::status::millis;
use super::{Gateway, Problem, unexpected};

/// Payloads up to this are shown in the tree.
const SHOWN: usize = 1024;

/// Which levels
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Below {
    /// The topic that they lie under; without it the first levels.
    prefix: Option<String>,
    /// Most levels, 1 to 1000; default 100.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// The levels directly below a topic, with how much is retained below each
#[utoipa::path(
    get, path = "/topics", tag = "topics", params(Below),
    responses(
        (status = OK, description = "A page", body = Levels),
        (status = BAD_REQUEST, description = "A parameter is wrong", body = Problem,
            content_type = "application/problem+json"),
        (status = SERVICE_UNAVAILABLE, description = "It is stopping, or busy", body = Problem,
            content_type = "application/problem+json")
    )
)]
pub(super) async fn levels(
    State(gateway): State<Gateway>,
    Parameters(below): Parameters<Below>,
) -> Result<Json<Levels>, Problem> {
    let (limit, prefix) = (limit(below.limit)?, below.prefix);
    let mut after = below.cursor;
    let mut levels: Vec<Level> = Vec::new();
    loop {
        let left = limit - levels.len();
        let query = Query::Topics { prefix: prefix.clone(), after: after.clone(), limit: left };
        let answer = gateway.ask(query).await?.answer;
        let Answer::Topics(page) = answer else { return Err(unexpected(answer)) };
        for found in page.levels {
            levels.push(level(&gateway, prefix.as_deref(), found).await?);
        }
        after = levels.last().map(|last| last.level.clone()).filter(|_| page.more);
        if after.is_none() || levels.len() >= limit {
            return Ok(Json(Levels { levels, next: after }));
        }
    }
}

/// A level in the interface's words, counted to its end.
async fn level(
    gateway: &Gateway,
    prefix: Option<&str>,
    found: admin::Level,
) -> Result<Level, Problem> {
    let topic = match prefix {
        Some(prefix) => format!("{prefix}/{}", found.name),
        None => found.name.clone(),
    };
    let mut below = found.below as u64;
    let mut from = found.counted_to;
    while from.is_some() {
        let query = Query::Count { level: topic.clone(), from };
        let answer = gateway.ask(query).await?.answer;
        let Answer::Count { below: more, counted_to } = answer else {
            return Err(unexpected(answer));
        };
        below += more as u64;
        from = counted_to;
    }
    let retained = found.message.map(|value| message(&value, None, SHOWN));
    Ok(Level { level: found.name, topic, below, retained })
}

/// Which observed topics
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Behind {
    /// Most topics, 1 to 1000; default 100.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Topics that CoAP clients observe, with how many do
#[utoipa::path(
    get, path = "/observed", tag = "topics", params(Behind),
    responses(
        (status = OK, description = "A page", body = Audience),
        (status = BAD_REQUEST, description = "A parameter is wrong", body = Problem,
            content_type = "application/problem+json"),
        (status = SERVICE_UNAVAILABLE, description = "It is stopping, or busy", body = Problem,
            content_type = "application/problem+json")
    )
)]
pub(super) async fn observed(
    State(gateway): State<Gateway>,
    Parameters(behind): Parameters<Behind>,
) -> Result<Json<Audience>, Problem> {
    let wrong = |error| Problem::bad_parameter(format!("cursor: {error}"));
    let from = behind.cursor.as_deref().map(TopicFilter::new).transpose().map_err(wrong)?;
    let query = Query::Audience { from, limit: limit(behind.limit)? };
    let answer = gateway.ask(query).await?.answer;
    let Answer::Audience(page) = answer else { return Err(unexpected(answer)) };
    let row = |(topic, observers): (TopicFilter, u32)| Observers {
        topic: topic.as_str().to_owned(),
        observers,
    };
    let topics: Vec<Observers> = page.topics.into_iter().map(row).collect();
    let next = topics.last().map(|last| last.topic.clone()).filter(|_| page.more);
    Ok(Json(Audience { topics, next }))
}

/// Which topic
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// A topic name.
    topic: String,
}

/// A retained message
#[utoipa::path(
    get, path = "/retained", tag = "topics", params(Which),
    responses(
        (status = OK, description = "The message", body = Message),
        (status = BAD_REQUEST, description = "No topic name", body = Problem,
            content_type = "application/problem+json"),
        (status = NOT_FOUND, description = "Nothing is retained there", body = Problem,
            content_type = "application/problem+json"),
        (status = SERVICE_UNAVAILABLE, description = "It is stopping, or busy", body = Problem,
            content_type = "application/problem+json")
    )
)]
pub(super) async fn retained(
    State(gateway): State<Gateway>,
    Parameters(which): Parameters<Which>,
) -> Result<Json<Message>, Problem> {
    let topic = topic_name(&which.topic)?;
    let answer = gateway.ask(Query::Retained { topic }).await?.answer;
    match answer {
        Answer::Retained(Some((value, left))) => Ok(Json(message(&value, left, usize::MAX))),
        Answer::Retained(None) => {
            let detail = format!("nothing is retained on `{}`", which.topic);
            Err(Problem::not_found("no_retained_value", "No value", detail))
        }
        other => Err(unexpected(other)),
    }
}

pub(super) fn topic_name(text: &str) -> Result<TopicName, Problem> {
    TopicName::new(text).map_err(|error| Problem::bad_parameter(format!("topic `{text}`: {error}")))
}

fn message(value: &Retained, left: Option<Duration>, shown: usize) -> Message {
    let payload = &value.payload[..];
    let visible = payload.len() <= shown;
    let text = std::str::from_utf8(payload).ok();
    let properties = value.properties.as_deref();
    Message {
        topic: value.topic.as_str().to_owned(),
        qos: value.qos as u8,
        bytes: payload.len() as u64,
        payload: text.filter(|_| visible).map(str::to_owned),
        payload_hex: (visible && text.is_none()).then(|| hex(payload)),
        content_type: properties.and_then(|p| p.content_type.as_deref()).map(str::to_owned),
        content_format: properties.and_then(|p| p.content_format),
        publisher: value.publisher.as_ref().map(|key| key.client_id().to_owned()),
        expires_in_ms: left.map(millis),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
