//! For supervisors: does it live, does it serve?

use axum::Json;
use axum::extract::State;
use motegate_core::admin::{Answer, Query};
use motegate_message::TopicName;

use super::model::Health;
use super::{Gateway, Problem, unexpected};

/// Is the process alive?
#[utoipa::path(
    get, path = "/healthz", tag = "health",
    responses((status = OK, description = "It is", body = Health))
)]
pub(super) async fn alive() -> Json<Health> {
    Json(Health { status: "ok".into() })
}

/// Is the process alive? Where supervisors look for it
#[utoipa::path(
    get, path = "/healthz", tag = "health", operation_id = "alive_at_root",
    responses((status = OK, description = "It is", body = Health))
)]
pub(super) async fn alive_at_root() -> Json<Health> {
    alive().await
}

/// Does it serve? The configuration is loaded, the listeners are bound, the store can be written,
/// the worker answers
#[utoipa::path(
    get, path = "/readyz", tag = "health",
    responses(
        (status = OK, description = "It does", body = Health),
        (status = SERVICE_UNAVAILABLE, description = "It is stopping or busy, or the store cannot be written", body = Problem,
            content_type = "application/problem+json")
    )
)]
pub(super) async fn ready(State(gateway): State<Gateway>) -> Result<Json<Health>, Problem> {
    // Listeners are bound before the interface is; the cheapest question shows that the worker
    // turns.
    if gateway.store_fails() {
        return Err(Problem::store_fails("it cannot be written now: the log says why".into()));
    }
    let topic = TopicName::new("$SYS").map_err(|_| Problem::internal("a topic"))?;
    match gateway.ask(Query::Retained { topic }).await?.answer {
        Answer::Retained(_) => Ok(Json(Health { status: "ok".into() })),
        other => Err(unexpected(other)),
    }
}

/// Does it serve? Where supervisors look for it
#[utoipa::path(
    get, path = "/readyz", tag = "health", operation_id = "ready_at_root",
    responses(
        (status = OK, description = "It does", body = Health),
        (status = SERVICE_UNAVAILABLE, description = "It is stopping or busy, or the store cannot be written", body = Problem,
            content_type = "application/problem+json")
    )
)]
pub(super) async fn ready_at_root(state: State<Gateway>) -> Result<Json<Health>, Problem> {
    ready(state).await
}
