//! Where a message would go.

use axum::Json;
use axum::extract::State;
use motegate_core::admin::{self, Answer, ClientState, Query, Reach};
use motegate_message::Qos;
use serde::Deserialize;
use utoipa::IntoParams;

use super::clients::{client, cursor, limit};
use super::model::{Group, Receiver, Receivers};
use super::problem::Parameters;
use super::topics::topic_name;
use super::{Gateway, Problem, unexpected};

/// Which message
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Published {
    /// The topic, as subscribers see it.
    topic: String,
    /// 0, 1 or 2; default 0.
    #[param(maximum = 2)]
    qos: Option<u8>,
    /// Most receivers, 1 to 1000; default 100.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Who a message on a topic would go to, were it published now
#[utoipa::path(
    get, path = "/receivers", tag = "topics", params(Published),
    responses(
        (status = OK, description = "A page", body = Receivers),
        (status = BAD_REQUEST, description = "A parameter is wrong", body = Problem,
            content_type = "application/problem+json"),
        (status = SERVICE_UNAVAILABLE, description = "It is stopping, or busy", body = Problem,
            content_type = "application/problem+json")
    )
)]
pub(super) async fn receivers(
    State(gateway): State<Gateway>,
    Parameters(published): Parameters<Published>,
) -> Result<Json<Receivers>, Problem> {
    let topic = topic_name(&published.topic)?;
    let bits = published.qos.unwrap_or(0);
    let qos = Qos::from_bits(bits)
        .ok_or_else(|| Problem::bad_parameter(format!("qos {bits}: write 0, 1 or 2")))?;
    let from = cursor(published.cursor.as_deref())?;
    let query = Query::Receivers { topic, qos, from, limit: limit(published.limit)? };
    let answer = gateway.ask(query).await?.answer;
    let Answer::Receivers(page) = answer else { return Err(unexpected(answer)) };
    Ok(Json(Receivers {
        topic: published.topic,
        qos: bits,
        receivers: page.receivers.iter().map(|found| receiver(&gateway, found)).collect(),
        groups: page.groups.iter().map(|found| group(&gateway, found)).collect(),
        next: page.next.map(|next| next.to_string()),
    }))
}

fn group(gateway: &Gateway, found: &admin::Group) -> Group {
    Group {
        share: found.share.to_string(),
        filter: found.filter.clone(),
        members: found.members as u64,
        next: found.next.as_ref().map(|next| receiver(gateway, next)),
    }
}

fn receiver(gateway: &Gateway, found: &admin::Receiver) -> Receiver {
    Receiver {
        client: client(gateway, &found.client),
        qos: found.qos as u8,
        filters: u64::from(found.filters),
        no_local: found.no_local,
        reach: match found.reach {
            Reach::Now => "now",
            Reach::Queued => "queued",
            Reach::Dropped => "dropped",
        }
        .into(),
        place: found.place.map(|(place, _)| place),
        places: found.place.map(|(_, places)| u64::from(places)),
        path: found.path.clone(),
        text: text(found),
    }
}

/// What becomes of the message, in words (mapping.md §3, "goes to").
fn text(found: &admin::Receiver) -> String {
    let mut parts = vec![match &found.path {
        Some(path) => format!("observe {path}"),
        None => format!("qos {}", found.qos as u8),
    }];
    match found.client.state {
        ClientState::Active | ClientState::Observing => {}
        state => parts.push(state.as_str().to_owned()),
    }
    if let Some(wakes) = found.client.wakes_in {
        parts.push(match wakes.as_secs() {
            0 => "its wake is due".to_owned(),
            secs => format!("next wake in {secs} s"),
        });
    }
    match (found.reach, found.place) {
        (Reach::Now, _) => parts.push("now".into()),
        (Reach::Queued, Some((place, places))) => {
            parts.push(format!("would be {place} of {places} in its queue"));
        }
        (Reach::Queued, None) => parts.push("waits as its latest value".into()),
        (Reach::Dropped, _) => parts.push("dropped: nothing of QoS 0 is kept for it now".into()),
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use motegate_core::Protocol;
    use std::time::Duration;

    fn sleeper() -> admin::Receiver {
        admin::Receiver {
            client: admin::Client {
                client_id: "panel-2".into(),
                realm: "mqttsn".into(),
                protocol: Protocol::MqttSn,
                version: None,
                state: ClientState::Asleep,
                listener: None,
                peer: None,
                wakes_in: Some(Duration::from_millis(42_700)),
                lost_in: None,
                ends_in: None,
                kept: true,
                subscriptions: 1,
                queued_messages: 1,
                queued_bytes: 9,
                in_flight: 0,
            },
            qos: Qos::AtLeastOnce,
            filters: 1,
            no_local: false,
            reach: Reach::Queued,
            place: Some((2, 20)),
            path: None,
        }
    }

    #[test]
    fn what_becomes_of_a_message_is_said_in_words() {
        let mut found = sleeper();
        let words = "qos 1, asleep, next wake in 42 s, would be 2 of 20 in its queue";
        assert_eq!(text(&found), words);
        found.client.wakes_in = Some(Duration::ZERO);
        assert!(text(&found).contains("its wake is due"));
        found.reach = Reach::Dropped;
        assert!(text(&found).contains("dropped"));
        found.client = admin::Client { state: ClientState::Active, wakes_in: None, ..found.client };
        found.reach = Reach::Now;
        assert_eq!(text(&found), "qos 1, now");
        found.client.state = ClientState::Observing;
        found.path = Some("/s/temp".into());
        assert_eq!(text(&found), "observe /s/temp, now");
    }
}
