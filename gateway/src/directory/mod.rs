//! [`Registrar`]: registers the gateway at a resource directory (RFC 9176), beside all else it does.
//!
//! A thread with a runtime of its own, started by the first configuration that asks for it. The
//! machine of `motegate_coap::directory` says what to do; [`hands`] does it: it asks the core for
//! the links by the control interface's way, finds the listener's place in the world ([`base`]), and
//! sends requests from a socket of its own. A directory that fails costs a line in the log and a
//! place in the status, and nothing else. A stop removes the registration, within [`LAST_WORDS`].

mod base;
mod hands;
mod keep;
mod status;

use std::io;
use std::thread::JoinHandle;
use std::time::Duration;

use motegate_config::ResourceDirectory;
use tokio::sync::{mpsc, oneshot, watch};

pub(crate) use status::Status;

use crate::clock::Clock;
use crate::control::ask::Asker;
use crate::supervisor::Standing;

/// How long the removal of a registration may take.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// What the thread works with.
#[derive(Debug, Clone)]
pub(crate) struct Means {
    /// To the core.
    pub(crate) asker: Asker,
    /// Where the gateway listens.
    pub(crate) standing: watch::Receiver<Standing>,
    /// What is told of the registration; `None` while there is none to keep.
    pub(crate) status: watch::Sender<Option<Status>>,
    pub(crate) clock: Clock,
}

/// What the thread is told.
#[derive(Debug)]
enum Command {
    /// This holds from now on; the same as before: it is looked at anew.
    Change(Option<Box<ResourceDirectory>>),
    /// The registration is removed: the end.
    Stop,
}

/// The gateway's hold of the thread. Dropped without [`stop`](Self::stop), it ends at once and leaves
/// the registration to its lifetime.
#[derive(Debug)]
pub(crate) struct Registrar {
    commands: Option<mpsc::UnboundedSender<Command>>,
    /// Closed when the thread has ended.
    running: Option<oneshot::Receiver<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Registrar {
    /// Registers from now on.
    pub(crate) fn start(means: Means, wanted: ResourceDirectory) -> io::Result<Registrar> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (commands, inbox) = mpsc::unbounded_channel();
        let (alive, running) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new().name("motegate-rd".into());
        let thread = thread.spawn(move || {
            let _alive = alive;
            runtime.block_on(keep::run(means, inbox, wanted));
            // A name may still be looked up.
            runtime.shutdown_background();
        })?;
        Ok(Registrar { commands: Some(commands), running: Some(running), thread: Some(thread) })
    }

    /// Another configuration, or the same one again.
    pub(crate) fn change(&self, wanted: Option<ResourceDirectory>) {
        self.tell(Command::Change(wanted.map(Box::new)));
    }

    /// Removes the registration; [`stopped`](Self::stopped) is ready then.
    pub(crate) fn stop(&self) {
        self.tell(Command::Stop);
    }

    /// Ready when the thread has ended.
    pub(crate) async fn stopped(&mut self) {
        if let Some(running) = &mut self.running {
            let _ = running.await;
            self.running = None;
        }
    }

    fn tell(&self, command: Command) {
        // Who has ended is told nothing.
        let _ = self.commands.as_ref().map(|commands| commands.send(command));
    }
}

impl Drop for Registrar {
    fn drop(&mut self) {
        drop(self.commands.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
