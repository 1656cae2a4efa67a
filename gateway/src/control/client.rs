//! The other side of the interface, for the commands: one connection to a control socket.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use super::api::{Problem, ROOT};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Most bytes of an answer that are read.
const MAX_ANSWER: usize = 64 * 1024 * 1024;

/// Why a gateway did not answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// No gateway listens at any of these.
    #[error("no gateway answers at {}", listed(.0))]
    NoGateway(Vec<PathBuf>),
    /// Several do.
    #[error("several gateways run here: {}", listed(.0))]
    Several(Vec<PathBuf>),
    /// There is one, and it is not this user's.
    #[error("{} may not be opened by this user", .0.display())]
    Forbidden(PathBuf),
    /// The connection broke, or could not be made.
    #[error("the gateway at {} went away: {text}", path.display())]
    Lost {
        /// Where it was.
        path: PathBuf,
        /// What happened.
        text: String,
    },
    /// It took too long.
    #[error("the gateway at {} did not answer within {} s", .0.display(), PATIENCE.as_secs())]
    TimedOut(PathBuf),
    /// It says no.
    #[error("{}", .0.detail)]
    Refused(Problem),
    /// What came is no answer of this interface.
    #[error("the gateway at {} answers in another way than this program: {text}", path.display())]
    Strange {
        /// Where it is.
        path: PathBuf,
        /// What came.
        text: String,
    },
}

fn listed(paths: &[PathBuf]) -> String {
    let paths: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    paths.join(", ")
}

/// A connection to a running gateway.
#[derive(Debug)]
pub(crate) struct Connection {
    path: PathBuf,
    sender: SendRequest<Empty<Bytes>>,
    patience: Duration,
}

impl Connection {
    /// Connects to a socket. Must be called within a runtime.
    pub(crate) async fn open(path: &Path) -> Result<Self, AskError> {
        let stream = match UnixStream::connect(path).await {
            Ok(stream) => stream,
            Err(error) => return Err(unreachable(path, &error)),
        };
        let lost = |error: hyper::Error| lost(path, &error);
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(lost)?;
        tokio::spawn(connection);
        Ok(Connection { path: path.to_owned(), sender, patience: PATIENCE })
    }

    /// Waits longer for answers that take their time.
    pub(crate) fn be_patient(&mut self) {
        self.patience = Duration::from_secs(24 * 3_600);
    }

    /// The answer to GET `path` (below the interface's root) with these parameters.
    pub(crate) async fn get<T: DeserializeOwned>(
        &mut self,
        path: &str,
        parameters: &[(&str, &str)],
    ) -> Result<T, AskError> {
        self.answer(Method::GET, &target(path, parameters)).await
    }

    /// The answer to POST.
    pub(crate) async fn post<T: DeserializeOwned>(
        &mut self,
        path: &str,
        parameters: &[(&str, &str)],
    ) -> Result<T, AskError> {
        self.answer(Method::POST, &target(path, parameters)).await
    }

    async fn answer<T: DeserializeOwned>(
        &mut self,
        method: Method,
        target: &str,
    ) -> Result<T, AskError> {
        let bytes = match tokio::time::timeout(self.patience, self.exchange(method, target)).await {
            Ok(answer) => answer?,
            Err(_) => return Err(AskError::TimedOut(self.path.clone())),
        };
        serde_json::from_slice(&bytes).map_err(|error| self.strange(error.to_string()))
    }

    async fn exchange(&mut self, method: Method, target: &str) -> Result<Bytes, AskError> {
        let request = Request::builder().method(method).uri(target).header("host", "localhost");
        let request = request.body(Empty::new());
        let request = request.map_err(|error| self.strange(error.to_string()))?;
        let answer = self.sender.send_request(request).await;
        let answer = answer.map_err(|error| lost(&self.path, &error))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(|error| self.strange(error.to_string()))?.to_bytes();
        if status == StatusCode::OK {
            return Ok(body);
        }
        match serde_json::from_slice(&body) {
            Ok(problem) => Err(AskError::Refused(problem)),
            Err(_) => Err(self.strange(format!("status {status}"))),
        }
    }

    fn strange(&self, text: String) -> AskError {
        AskError::Strange { path: self.path.clone(), text }
    }
}

fn unreachable(path: &Path, error: &io::Error) -> AskError {
    match error.kind() {
        io::ErrorKind::PermissionDenied => AskError::Forbidden(path.to_owned()),
        _ => AskError::NoGateway(vec![path.to_owned()]),
    }
}

fn lost(path: &Path, error: &hyper::Error) -> AskError {
    AskError::Lost { path: path.to_owned(), text: error.to_string() }
}

/// A path below the root with its parameters, percent-encoded.
fn target(path: &str, parameters: &[(&str, &str)]) -> String {
    let mut target = format!("{ROOT}{path}");
    for (place, (name, value)) in parameters.iter().enumerate() {
        target.push(if place == 0 { '?' } else { '&' });
        target.push_str(name);
        target.push('=');
        target.push_str(&encoded(value));
    }
    target
}

/// Percent-encoded but for the unreserved characters (RFC 3986 §2.3).
pub(crate) fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// Runs a conversation on this thread.
pub(crate) fn converse<T>(
    talk: impl Future<Output = Result<T, AskError>>,
) -> io::Result<Result<T, AskError>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(talk))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_but_unreserved_characters_is_encoded() {
        let asked = target("/clients/a", &[("topic", "a/ä b&c"), ("qos", "1")]);
        assert_eq!(asked, "/api/v1/clients/a?topic=a%2F%C3%A4%20b%26c&qos=1");
    }

    #[tokio::test]
    async fn where_nobody_is_there_is_no_gateway() {
        let path = std::env::temp_dir().join("motegate-nobody.sock");
        let error = Connection::open(&path).await.unwrap_err();
        assert!(matches!(&error, AskError::NoGateway(paths) if paths[..] == [path]));
    }
}
