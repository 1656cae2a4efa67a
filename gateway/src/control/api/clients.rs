//! Who is here.

use axum::Json;
use axum::extract::State;
use motegate_core::admin::{self, Answer, ClientFilter, ClientState, Cursor, MAX_PAGE, Query};
use serde::Deserialize;
use utoipa::IntoParams;

use super::model::{Client, ClientDetail, ClientDetails, Clients, Observation, Subscription};
use super::problem::{Parameters, Segment};
use super::status::{millis, spoken};
use super::{Gateway, Problem, protocol, unexpected};

/// Rows of a page unless asked otherwise.
pub(super) const DEFAULT_LIMIT: usize = 100;

/// Which clients
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// Only those that speak it: mqtt, mqtt-sn or coap.
    protocol: Option<String>,
    /// Only those in this state: active, asleep, awake, lost, observing or offline.
    state: Option<String>,
    /// Most clients, 1 to 1000; default 100.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Clients: connected ones, sleepers, observers, and those whose session is kept
#[utoipa::path(
    get, path = "/clients", tag = "clients", params(Which),
    responses(
        (status = OK, description = "A page", body = Clients),
        (status = BAD_REQUEST, description = "A parameter is wrong", body = Problem,
            content_type = "application/problem+json"),
        (status = SERVICE_UNAVAILABLE, description = "It is stopping, or busy", body = Problem,
            content_type = "application/problem+json")
    )
)]
pub(super) async fn list(
    State(gateway): State<Gateway>,
    Parameters(which): Parameters<Which>,
) -> Result<Json<Clients>, Problem> {
    let limit = limit(which.limit)?;
    let only = ClientFilter {
        protocol: which.protocol.as_deref().map(spoken).transpose()?,
        state: which.state.as_deref().map(state).transpose()?,
        client_id: None,
    };
    let mut from = Cursor(cursor(which.cursor.as_deref())?);
    let mut clients = Vec::new();
    loop {
        let query = Query::Clients { from, limit: limit - clients.len(), only: only.clone() };
        let answer = gateway.ask(query).await?.answer;
        let Answer::Clients(page) = answer else { return Err(unexpected(answer)) };
        clients.extend(page.clients.iter().map(|found| client(&gateway, found)));
        match page.next {
            Some(next) if clients.len() < limit => from = next,
            next => {
                let next = next.map(|next| next.0.to_string());
                return Ok(Json(Clients { clients, next }));
            }
        }
    }
}

/// Everybody of one client id, with subscriptions and observations
#[utoipa::path(
    get, path = "/clients/{id}", tag = "clients",
    params(("id" = String, Path, description = "The client id, percent-encoded")),
    responses(
        (status = OK, description = "At least one", body = ClientDetails),
        (status = NOT_FOUND, description = "Nobody has this id", body = Problem,
            content_type = "application/problem+json"),
        (status = SERVICE_UNAVAILABLE, description = "It is stopping, or busy", body = Problem,
            content_type = "application/problem+json")
    )
)]
pub(super) async fn show(
    State(gateway): State<Gateway>,
    Segment(client_id): Segment,
) -> Result<Json<ClientDetails>, Problem> {
    let mut clients = Vec::new();
    let mut from = Some(Cursor::default());
    while let Some(at) = from {
        let query = Query::Client { client_id: client_id.clone(), from: at };
        let answer = gateway.ask(query).await?.answer;
        let Answer::Client(page) = answer else { return Err(unexpected(answer)) };
        clients.extend(page.clients.iter().map(|found| detail(&gateway, found)));
        from = page.next.filter(|_| clients.len() < MAX_PAGE);
    }
    if clients.is_empty() {
        let detail = format!("nobody is called `{client_id}`, and no session of it is kept");
        return Err(Problem::not_found("unknown_client", "No such client", detail));
    }
    Ok(Json(ClientDetails { clients }))
}

pub(super) fn limit(asked: Option<usize>) -> Result<usize, Problem> {
    let limit = asked.unwrap_or(DEFAULT_LIMIT);
    if (1..=MAX_PAGE).contains(&limit) {
        Ok(limit)
    } else {
        Err(Problem::bad_parameter(format!("limit {limit}: write 1 to {MAX_PAGE}")))
    }
}

/// A place in a list; its beginning unless asked otherwise.
pub(super) fn cursor<T: std::str::FromStr + Default>(asked: Option<&str>) -> Result<T, Problem> {
    let Some(text) = asked else { return Ok(T::default()) };
    text.parse().map_err(|_| {
        Problem::bad_parameter(format!("cursor `{text}`: write the `next` of the page before"))
    })
}

fn state(word: &str) -> Result<ClientState, Problem> {
    ClientState::ALL.into_iter().find(|state| state.as_str() == word).ok_or_else(|| {
        let words: Vec<&str> = ClientState::ALL.iter().map(|state| state.as_str()).collect();
        Problem::bad_parameter(format!("state `{word}`: write one of {}", words.join(", ")))
    })
}

/// A client in the interface's words.
pub(super) fn client(gateway: &Gateway, found: &admin::Client) -> Client {
    Client {
        client_id: found.client_id.clone(),
        realm: found.realm.clone(),
        protocol: protocol(found.protocol).into(),
        version: found.version.map(Into::into),
        state: found.state.as_str().into(),
        listener: found.listener.and_then(|id| gateway.listener(id)),
        peer: found.peer.map(|peer| peer.to_string()),
        wakes_in_ms: found.wakes_in.map(millis),
        lost_in_ms: found.lost_in.map(millis),
        ends_in_ms: found.ends_in.map(millis),
        kept: found.kept,
        subscriptions: found.subscriptions as u64,
        queued_messages: found.queued_messages,
        queued_bytes: found.queued_bytes,
        in_flight: found.in_flight as u64,
    }
}

fn detail(gateway: &Gateway, found: &admin::ClientDetail) -> ClientDetail {
    let subscription = |s: &admin::SubscriptionView| Subscription {
        filter: match &s.share {
            Some(share) => format!("$share/{share}/{}", s.filter.as_str()),
            None => s.filter.as_str().to_owned(),
        },
        qos: s.qos as u8,
        no_local: s.no_local,
    };
    let observation =
        |o: &admin::Observed| Observation { path: o.path.clone(), topic: o.topic.clone() };
    ClientDetail {
        client: client(gateway, &found.client),
        subscribed: found.subscriptions.iter().map(subscription).collect(),
        observed: found.observations.iter().map(observation).collect(),
        max_queued_messages: u64::from(found.max_queued_messages),
        max_queued_bytes: u64::from(found.max_queued_bytes),
        has_will: found.has_will,
    }
}
