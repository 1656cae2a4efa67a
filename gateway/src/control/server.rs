//! The control interface's thread: a runtime of its own that serves HTTP on the control socket.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot, watch};

use super::api::{self, Gateway};
use super::ask::Asker;
use super::socket::{ControlSocket, SocketFile};
use crate::clock::Clock;
use crate::directory::Status;
use crate::store::Stored;
use crate::supervisor::{Request, Standing};

/// What is known of the gateway without asking it.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) name: Arc<str>,
    pub(crate) clock: Clock,
    pub(crate) standing: watch::Receiver<Standing>,
    /// How the registration at a resource directory stands.
    pub(crate) directory: watch::Receiver<Option<Status>>,
    /// To the gateway's owner; closed where nobody answers.
    pub(crate) requests: mpsc::Sender<Request>,
    /// The store, if anything is kept.
    pub(crate) stored: Option<Stored>,
}

/// The running interface; dropping it ends the thread and removes the socket's file.
#[derive(Debug)]
pub(crate) struct Server {
    file: SocketFile,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves from now on.
    pub(crate) fn start(
        socket: ControlSocket,
        identity: Identity,
        asker: Asker,
    ) -> io::Result<Server> {
        let ControlSocket { listener, file } = socket;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = {
            let _within = runtime.enter();
            UnixListener::from_std(listener)?
        };
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name("motegate-control".into());
        let thread = thread.spawn(move || {
            let service = api::service(Gateway::new(identity, asker));
            runtime.block_on(async {
                tokio::select! {
                    _ = async { axum::serve(listener, service).await } => {}
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Server { file, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    pub(crate) fn path(&self) -> &Path {
        self.file.path()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.file.remove();
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
