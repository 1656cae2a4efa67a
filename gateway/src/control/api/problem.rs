//! [`Problem`]: what went wrong, as RFC 9457 says it, with a code of our own.

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::control::ask::Unanswered;

/// A problem document (RFC 9457)
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Problem {
    /// `urn:motegate:problem:` and the code.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// The same words for every problem of this code.
    pub(crate) title: String,
    /// The HTTP status.
    pub(crate) status: u16,
    /// What is wrong here, and what to do.
    pub(crate) detail: String,
    /// For programs: `unknown_client`, `bad_parameter`, `shutdown`, …
    pub(crate) code: String,
}

impl Problem {
    pub(super) fn new(status: StatusCode, code: &str, title: &str, detail: String) -> Self {
        Problem {
            kind: format!("urn:motegate:problem:{code}"),
            title: title.to_owned(),
            status: status.as_u16(),
            detail,
            code: code.to_owned(),
        }
    }

    pub(super) fn bad_parameter(detail: String) -> Self {
        Problem::new(StatusCode::BAD_REQUEST, "bad_parameter", "A parameter is wrong", detail)
    }

    pub(super) fn not_found(code: &str, title: &str, detail: String) -> Self {
        Problem::new(StatusCode::NOT_FOUND, code, title, detail)
    }

    pub(super) fn internal(detail: &str) -> Self {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Problem::new(status, "internal", "A bug of the gateway", detail.to_owned())
    }

    pub(super) fn store_fails(detail: String) -> Self {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        Problem::new(status, "storage_full", "The store fails", detail)
    }

    pub(super) fn unanswered(why: Unanswered) -> Self {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        match why {
            Unanswered::Stopping => {
                Problem::new(status, "shutdown", "The gateway is stopping", "ask the next".into())
            }
            Unanswered::Busy => Problem::new(
                status,
                "overloaded",
                "The gateway is busy",
                "it did not come to this question in time: ask again".into(),
            ),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        (status, [(CONTENT_TYPE, "application/problem+json")], body).into_response()
    }
}

pub(super) async fn unknown_path(uri: Uri) -> Problem {
    let detail = format!("{} is no resource; /api/v1/openapi.json lists all", uri.path());
    Problem::not_found("unknown_path", "No such resource", detail)
}

pub(super) async fn method_not_allowed(method: Method, uri: Uri) -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "This method is not for this resource",
        format!("{method} {}: /api/v1/openapi.json says what is", uri.path()),
    )
}

/// Parameters behind the `?`; what is wrong with them is a problem document.
#[derive(Debug)]
pub(super) struct Parameters<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Parameters<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let wrong = |error: QueryRejection| Problem::bad_parameter(error.body_text());
        let Query(value) = Query::from_request_parts(parts, state).await.map_err(wrong)?;
        Ok(Parameters(value))
    }
}

/// A part of the path.
#[derive(Debug)]
pub(super) struct Segment(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let wrong = |error: PathRejection| Problem::bad_parameter(error.body_text());
        let Path(text) = Path::from_request_parts(parts, state).await.map_err(wrong)?;
        Ok(Segment(text))
    }
}
