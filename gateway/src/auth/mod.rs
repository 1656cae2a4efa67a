//! Finds out who clients are: passwords and SCRAM-SHA-256, on a thread of its own.
//!
//! A password costs thousands of hashes, which must not hold up anybody's messages: the worker hands
//! the proof to the thread `motegate-auth`, and feeds the verdict to the core when it is there. The
//! thread is started by the first proof and joined when the worker ends. What is under way is
//! bounded, in number and bytes; whoever comes then is told that the server is busy. The thread knows
//! nothing but what a request carries and what it remembers of passwords that were right
//! ([`recent`]).

mod judge;
pub(crate) mod password;
mod recent;
pub(crate) mod scram;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::task::{Context, Poll};
use std::thread::JoinHandle;

use motegate_core::{Authenticate, Proof, Verdict};
use motegate_message::Reason;
use motegate_timers::Instant;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::clock::Clock;
use judge::Judge;

/// Proofs under way at most.
const PLACES: usize = 4_096;
/// Bytes of them at most.
const BYTES: usize = 16 * 1024 * 1024;

/// A proof for the thread.
struct Job {
    request: Authenticate,
    since: Instant,
}

/// What came of it, and the bytes that it took.
type Done = (u64, Verdict, usize);

/// The thread, seen from the worker.
#[derive(Debug)]
struct Thread {
    jobs: Option<SyncSender<Job>>,
    clock: Clock,
    done: UnboundedReceiver<Done>,
    stop: Arc<AtomicBool>,
    handle: Option<JoinHandle<()>>,
}

/// The worker's end.
#[derive(Debug, Default)]
pub(crate) struct Auth {
    /// Since the first proof.
    thread: Option<Thread>,
    places: usize,
    bytes: usize,
    /// Proofs that found no place.
    refused: VecDeque<u64>,
    /// Taken from the thread by `poll_ready`.
    taken: Option<Done>,
}

impl Auth {
    /// Has a proof looked at; never blocks. The verdict comes from [`poll_verdict`](Self::poll_verdict).
    pub(crate) fn ask(&mut self, request: Authenticate) {
        let (ticket, bytes) = (request.ticket, size(&request.proof));
        if self.places >= PLACES || self.bytes.saturating_add(bytes) > BYTES {
            self.refused.push_back(ticket);
            return;
        }
        let thread = match &mut self.thread {
            Some(thread) => thread,
            None => match Thread::start() {
                Ok(thread) => self.thread.insert(thread),
                Err(error) => {
                    tracing::error!(%error, "nobody can log in: the system gives no thread");
                    self.refused.push_back(ticket);
                    return;
                }
            },
        };
        let job = Job { request, since: thread.clock.now() };
        if thread.jobs.as_ref().is_some_and(|jobs| jobs.try_send(job).is_ok()) {
            (self.places, self.bytes) = (self.places + 1, self.bytes + bytes);
        } else {
            self.refused.push_back(ticket);
        }
    }

    /// The next verdict that is there, by ticket.
    pub(crate) fn poll_verdict(&mut self) -> Option<(u64, Verdict)> {
        if let Some(ticket) = self.refused.pop_front() {
            return Some((ticket, Verdict::Deny(Reason::Overloaded)));
        }
        if self.places == 0 {
            return None;
        }
        let done = self.taken.take();
        let (ticket, verdict, bytes) =
            done.or_else(|| self.thread.as_mut()?.done.try_recv().ok())?;
        (self.places, self.bytes) = (self.places - 1, self.bytes - bytes);
        Some((ticket, verdict))
    }

    /// Ready when there is a verdict.
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.taken.is_some() || !self.refused.is_empty() {
            return Poll::Ready(());
        }
        let Some(thread) = &mut self.thread else { return Poll::Pending };
        match thread.done.poll_recv(cx) {
            Poll::Ready(Some(done)) => {
                self.taken = Some(done);
                Poll::Ready(())
            }
            // The thread has ended; `ask` finds that out.
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}

impl Thread {
    fn start() -> io::Result<Thread> {
        let (jobs, inbox) = sync_channel(PLACES);
        let (outbox, done) = unbounded_channel();
        let stop = Arc::new(AtomicBool::new(false));
        let (clock, stopped) = (Clock::start(), stop.clone());
        let judge = Judge::new().map_err(io::Error::other)?;
        let thread = std::thread::Builder::new().name("motegate-auth".into());
        let handle = thread.spawn(move || run(judge, clock, (&inbox, &outbox), &stopped))?;
        Ok(Thread { jobs: Some(jobs), clock, done, stop, handle: Some(handle) })
    }
}

impl Drop for Thread {
    /// What waits is of no use to anybody; only what is being looked at is awaited.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.jobs = None;
        if let Some(handle) = self.handle.take() {
            let _ = handle.join();
        }
    }
}

fn run(
    mut judge: Judge,
    clock: Clock,
    (inbox, outbox): (&Receiver<Job>, &UnboundedSender<Done>),
    stop: &AtomicBool,
) {
    while let Ok(Job { request, since }) = inbox.recv() {
        if stop.load(Ordering::Acquire) {
            return;
        }
        // Whoever has waited for longer has been told so.
        let verdict = match clock.now().saturating_since(since) < request.within {
            true => judge.judge(&request),
            false => Verdict::Deny(Reason::AuthTimeout),
        };
        if outbox.send((request.ticket, verdict, size(&request.proof))).is_err() {
            return;
        }
    }
}

fn size(proof: &Proof) -> usize {
    match proof {
        Proof::Password { user, password } => user.len() + password.len(),
        Proof::Exchange { method, data, state } => {
            method.len() + data.len() + state.as_ref().map_or(0, bytes::Bytes::len)
        }
    }
}

#[cfg(test)]
mod tests;
