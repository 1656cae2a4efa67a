//! Another configuration for a running gateway.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use motegate_core::Touched as CoreTouched;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use utoipa::{IntoParams, ToSchema};

use super::problem::Parameters;
use super::{Gateway, Problem, protocol};
use crate::control::ask::Unanswered;
use crate::supervisor::{Refused, Request};

/// The code of a problem: tests of the configuration fail.
pub(crate) const TESTS_FAILED: &str = "tests_failed";

/// What a reload did, or would do
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Reloaded {
    /// Whether it was only looked at.
    pub(crate) dry_run: bool,
    /// The configuration in a line.
    pub(crate) summary: String,
    /// What becomes of listeners, in words.
    #[serde(default)]
    pub(crate) listeners: Vec<String>,
    /// What changes for whom.
    pub(crate) touched: Vec<Touched>,
    /// Keys that have changed and count from the next start.
    pub(crate) at_next_start: Vec<String>,
}

/// What changes for a client
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Touched {
    /// `mqtt`, `mqtt-sn` or `coap`.
    pub(crate) protocol: String,
    /// Its name.
    pub(crate) client: String,
    /// Its address.
    pub(crate) peer: Option<String>,
    /// What changes, in words.
    pub(crate) change: String,
}

/// How to reload
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct How {
    /// Change nothing, only say what would change.
    #[serde(default)]
    dry_run: bool,
}

/// Read the configuration's files again and change over
///
/// One with a mistake, or with a test that fails, changes nothing.
#[utoipa::path(
    post, path = "/reload", tag = "configuration", params(How),
    responses(
        (status = OK, description = "Done", body = Reloaded),
        (status = CONFLICT, description = "It runs without a file, or an address is taken",
            body = Problem, content_type = "application/problem+json"),
        (status = UNPROCESSABLE_ENTITY, description = "The configuration has mistakes, or its tests fail",
            body = Problem, content_type = "application/problem+json"),
        (status = SERVICE_UNAVAILABLE, description = "It is stopping", body = Problem,
            content_type = "application/problem+json")
    )
)]
pub(super) async fn reload(
    State(gateway): State<Gateway>,
    Parameters(How { dry_run }): Parameters<How>,
) -> Result<Json<Reloaded>, Problem> {
    let (reply, answer) = oneshot::channel();
    let asked = gateway.identity().requests.send(Request { dry_run, reply }).await;
    if asked.is_err() {
        return Err(refused(&Refused::NoFile));
    }
    let reloaded = answer.await.map_err(|_| Problem::unanswered(Unanswered::Stopping))?;
    let reloaded = reloaded.map_err(|error| refused(&error))?;
    Ok(Json(Reloaded {
        dry_run,
        summary: reloaded.summary,
        listeners: reloaded.changes.listeners.iter().map(ToString::to_string).collect(),
        touched: reloaded.changes.touched.into_iter().map(Touched::from).collect(),
        at_next_start: reloaded.at_next_start.into_iter().map(str::to_owned).collect(),
    }))
}

impl From<CoreTouched> for Touched {
    fn from(touched: CoreTouched) -> Self {
        Touched {
            protocol: protocol(touched.protocol).into(),
            client: touched.client,
            peer: touched.peer.map(|peer| peer.to_string()),
            change: touched.change.to_string(),
        }
    }
}

fn refused(error: &Refused) -> Problem {
    let (status, code, title) = match error {
        Refused::Config(_) => {
            (StatusCode::UNPROCESSABLE_ENTITY, "bad_config", "The configuration has mistakes")
        }
        Refused::Tests(_) => {
            (StatusCode::UNPROCESSABLE_ENTITY, TESTS_FAILED, "Tests of the configuration fail")
        }
        Refused::Reload(_) => (StatusCode::CONFLICT, "reload_failed", "It cannot be changed to"),
        Refused::Stopping => {
            (StatusCode::SERVICE_UNAVAILABLE, "shutdown", "The gateway is stopping")
        }
        Refused::Failed => {
            (StatusCode::INTERNAL_SERVER_ERROR, "reload_failed", "It cannot be read")
        }
        Refused::NoFile => (StatusCode::CONFLICT, "no_file", "There is nothing to reload"),
    };
    Problem::new(status, code, title, error.to_string())
}
