//! [`Handshakes`]: a few threads on which TLS handshakes are carried out.
//!
//! A handshake costs a signature and a key agreement, up to some milliseconds with RSA, in which the
//! worker would serve nobody. So the bytes of a connection and its session go to a helper, and come
//! back with what is to be sent. A connection has at most one such job under way, so that
//! `max_half_open` bounds them; its socket stays with the worker, so that no peer holds a helper up.

use std::collections::VecDeque;
use std::sync::mpsc::{Sender, channel};
use std::task::{Context, Poll};

use motegate_message::ConnectionId;
use tokio::sync::mpsc;

use super::tls::{Session, State};

/// Most helper threads; a gateway's other threads want the processor as well.
const MAX_THREADS: usize = 4;
/// Results that wait for the worker; helpers wait for it then.
const RESULTS: usize = 256;

/// The helpers; started with the first handshake.
#[derive(Debug)]
pub(crate) struct Handshakes {
    threads: Option<Vec<Sender<Job>>>,
    /// Who has the next job.
    next: usize,
    results: mpsc::Receiver<Done>,
    /// For the helpers.
    sender: mpsc::Sender<Done>,
    /// Taken by `poll_ready`, or carried out without a helper.
    taken: VecDeque<Done>,
}

/// Bytes for a session.
#[derive(Debug)]
struct Job {
    conn: ConnectionId,
    session: Session,
    bytes: Vec<u8>,
}

/// What became of them.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) conn: ConnectionId,
    pub(crate) session: Session,
    /// What the client sent right behind its handshake.
    pub(crate) clear: Vec<u8>,
    /// To be sent.
    pub(crate) out: Vec<u8>,
    pub(crate) result: Result<State, rustls::Error>,
}

impl Default for Handshakes {
    fn default() -> Self {
        let (sender, results) = mpsc::channel(RESULTS);
        Handshakes { threads: None, next: 0, results, sender, taken: VecDeque::new() }
    }
}

impl Handshakes {
    /// Hands bytes to a helper; without one they are taken here and now.
    pub(crate) fn submit(&mut self, conn: ConnectionId, session: Session, bytes: Vec<u8>) {
        let threads = self.threads.get_or_insert_with(|| {
            let wanted = std::thread::available_parallelism().map_or(1, usize::from);
            (0..wanted.min(MAX_THREADS)).map_while(|_| start(self.sender.clone())).collect()
        });
        let job = Job { conn, session, bytes };
        self.next = self.next.wrapping_add(1);
        let thread = self.next.checked_rem(threads.len()).and_then(|at| threads.get(at));
        let unsent = match thread {
            Some(thread) => thread.send(job).err().map(|unsent| unsent.0),
            None => Some(job),
        };
        self.taken.extend(unsent.map(carry_out));
    }

    /// Ready when one came back.
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.has_more() {
            return Poll::Ready(());
        }
        self.results.poll_recv(cx).map(|done| self.taken.extend(done))
    }

    /// Whether one is there without waiting.
    pub(crate) fn has_more(&self) -> bool {
        !self.taken.is_empty()
    }

    /// One that came back.
    pub(crate) fn pop(&mut self) -> Option<Done> {
        self.taken.pop_front().or_else(|| self.results.try_recv().ok())
    }
}

fn start(results: mpsc::Sender<Done>) -> Option<Sender<Job>> {
    let (sender, jobs) = channel::<Job>();
    let thread = std::thread::Builder::new().name("motegate-tls".into()).spawn(move || {
        for job in jobs {
            if results.blocking_send(carry_out(job)).is_err() {
                return;
            }
        }
    });
    match thread {
        Ok(_) => Some(sender),
        Err(error) => {
            tracing::warn!(%error, "no thread for TLS handshakes: they hold others up");
            None
        }
    }
}

fn carry_out(mut job: Job) -> Done {
    let (mut clear, mut out) = (Vec::new(), Vec::new());
    let result = job.session.receive(&mut job.bytes, &mut clear, &mut out);
    Done { conn: job.conn, session: job.session, clear, out, result }
}
