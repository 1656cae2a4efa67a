//! The interface's resources: one file a group, their shapes in `model`.
//!
//! Each handler carries its own description; the OpenAPI document is made from the same table of
//! routes that serves them, so that it cannot say anything else. Failures are problem documents
//! (RFC 9457).

mod clients;
mod health;
pub(crate) mod model;
mod problem;
mod receivers;
pub(crate) mod reload;
mod status;
pub(crate) mod store;
mod topics;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use motegate_core::admin::{Answer, Query};
use motegate_message::ListenerId;
use utoipa::OpenApi as _;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::ask::{Asker, Reply};
use super::server::Identity;
use crate::notices::protocol;
pub(crate) use problem::Problem;

/// Where the interface begins.
pub(crate) const ROOT: &str = "/api/v1";

#[derive(utoipa::OpenApi)]
#[openapi(info(
    title = "Motegate control interface",
    description = "Asks a running gateway. Served on the Unix socket `control.sock` in `data_dir`, \
                   whose file mode is its access control. Lists come in pages: `next` is the \
                   `cursor` of the next one. Pages are taken one after the other while the \
                   gateway goes on; together they are no snapshot."
))]
struct Document;

/// The running gateway, as the handlers see it.
#[derive(Debug, Clone)]
pub(crate) struct Gateway(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    identity: Identity,
    asker: Asker,
    started: motegate_message::Wall,
}

impl Gateway {
    pub(crate) fn new(identity: Identity, asker: Asker) -> Self {
        let started = crate::clock::Clock::wall();
        Gateway(Arc::new(Inner { identity, asker, started }))
    }

    fn identity(&self) -> &Identity {
        &self.0.identity
    }

    /// Whether what is durable cannot be stored now.
    fn store_fails(&self) -> bool {
        let stored = self.0.identity.stored.as_ref();
        stored.is_some_and(|stored| stored.counters().failing.load(Ordering::Relaxed))
    }

    /// Asks the core.
    async fn ask(&self, query: Query) -> Result<Reply, Problem> {
        self.0.asker.ask(query).await.map_err(Problem::unanswered)
    }

    fn listener(&self, id: ListenerId) -> Option<String> {
        let standing = self.0.identity.standing.borrow();
        standing.names.get(usize::from(id.0)).map(|name| name.to_string())
    }
}

/// An answer that is none to the question: our bug, and told as one.
fn unexpected(_: Answer) -> Problem {
    Problem::internal("the core answered another question")
}

/// Every route, with its description.
fn router() -> OpenApiRouter<Gateway> {
    let api = OpenApiRouter::new()
        .routes(routes!(status::status))
        .routes(routes!(clients::list))
        .routes(routes!(clients::show))
        .routes(routes!(topics::levels))
        .routes(routes!(topics::retained))
        .routes(routes!(topics::observed))
        .routes(routes!(receivers::receivers))
        .routes(routes!(reload::reload))
        .routes(routes!(store::backup))
        .routes(routes!(store::check))
        .routes(routes!(document))
        .routes(routes!(health::alive))
        .routes(routes!(health::ready));
    OpenApiRouter::with_openapi(Document::openapi())
        .nest(ROOT, api)
        .routes(routes!(health::alive_at_root))
        .routes(routes!(health::ready_at_root))
}

/// What the thread serves.
pub(crate) fn service(gateway: Gateway) -> Router {
    let (router, _) = router().split_for_parts();
    router
        .fallback(problem::unknown_path)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .with_state(gateway)
}

/// This interface, described (OpenAPI 3.1)
#[utoipa::path(
    get, path = "/openapi.json", tag = "interface",
    responses((status = OK, description = "The document", body = Object))
)]
async fn document() -> Result<axum::Json<serde_json::Value>, Problem> {
    // Made when it is asked for: an idle gateway does not carry it.
    let (_, document) = router().split_for_parts();
    let value = serde_json::to_value(document);
    value.map(axum::Json).map_err(|error| Problem::internal(&error.to_string()))
}
