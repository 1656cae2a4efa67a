//! The store of a running gateway: backups and checks, from a snapshot, while it goes on.

use std::path::PathBuf;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::problem::Parameters;
use super::{Gateway, Problem};
use crate::store::{self, BackupError, Checked, View};

/// A backup that was written
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Backup {
    /// The file.
    pub(crate) target: String,
    /// Of the file.
    pub(crate) bytes: u64,
    /// In it.
    pub(crate) records: u64,
    /// The last batch in it, over all lives of the store.
    pub(crate) applied: u64,
}

/// Where to
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Where {
    /// A file that is not there; a path from the root of the gateway's machine.
    target: String,
}

/// Write a backup of the store
///
/// The file is the gateway's own (mode 0600). It appears when it is whole.
#[utoipa::path(
    post, path = "/backup", tag = "store", params(Where),
    responses(
        (status = OK, description = "Written", body = Backup),
        (status = BAD_REQUEST, description = "No absolute path", body = Problem,
            content_type = "application/problem+json"),
        (status = CONFLICT, description = "Nothing is kept, the file is there, or it cannot be written",
            body = Problem, content_type = "application/problem+json"),
        (status = SERVICE_UNAVAILABLE, description = "The store fails now, or it is stopping",
            body = Problem, content_type = "application/problem+json")
    )
)]
pub(super) async fn backup(
    State(gateway): State<Gateway>,
    Parameters(Where { target }): Parameters<Where>,
) -> Result<Json<Backup>, Problem> {
    let path = PathBuf::from(&target);
    if !path.is_absolute() {
        return Err(Problem::bad_parameter(format!("target `{target}`: a path from the root")));
    }
    let view = view(&gateway).await?;
    let written = blocking(move || store::write_backup(&view, &path)).await?;
    let store::Contents { applied, records, bytes } = written.map_err(|error| refused(&error))?;
    Ok(Json(Backup { target, bytes, records, applied }))
}

/// Read the whole store, count it, and find damage
#[utoipa::path(
    get, path = "/store/check", tag = "store",
    responses(
        (status = OK, description = "What it holds and what is wrong with it", body = Checked),
        (status = CONFLICT, description = "Nothing is kept", body = Problem,
            content_type = "application/problem+json"),
        (status = SERVICE_UNAVAILABLE, description = "The store fails now, or it is stopping",
            body = Problem, content_type = "application/problem+json")
    )
)]
pub(super) async fn check(State(gateway): State<Gateway>) -> Result<Json<Checked>, Problem> {
    let view = view(&gateway).await?;
    blocking(move || store::check(&view)).await.map(Json)
}

async fn view(gateway: &Gateway) -> Result<View, Problem> {
    let Some(stored) = &gateway.identity().stored else {
        let detail = "this gateway keeps nothing on disk (`durability: none`)".to_owned();
        return Err(Problem::new(StatusCode::CONFLICT, "no_store", "Nothing is kept", detail));
    };
    stored
        .view()
        .await
        .ok_or_else(|| Problem::store_fails("it cannot be written now: see the log".into()))
}

/// On a thread of its own: reading a store takes its time.
async fn blocking<T: Send + 'static>(
    what: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(what).await;
    done.map_err(|error| Problem::internal(&error.to_string()))
}

fn refused(error: &BackupError) -> Problem {
    match error {
        BackupError::Closing => Problem::store_fails(error.to_string()),
        error => Problem::new(
            StatusCode::CONFLICT,
            "backup_failed",
            "No backup was written",
            error.to_string(),
        ),
    }
}
