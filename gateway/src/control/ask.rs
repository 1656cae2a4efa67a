//! How the control interface's thread asks the worker.
//!
//! The way there is a queue that neither side locks, bounded by [`Asker`]: at most [`PLACES`]
//! questions are under way. The worker takes one a turn, so that messages go on between two; the
//! answer comes back through a channel of its own.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use motegate_core::Input;
use motegate_core::admin::{Answer, Query};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::machine::Machine;
use crate::net::Counters;

/// Questions under way at most; the next one waits on the asking side.
const PLACES: usize = 16;
/// How long a question may take, its wait for a place included.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the control interface wants of the worker.
#[derive(Debug)]
pub(crate) enum Control {
    /// A question to the core.
    Query {
        /// What.
        query: Query,
        /// Where the answer goes.
        reply: oneshot::Sender<Reply>,
    },
}

/// An answer, and what only the shell knows.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) answer: Answer,
    pub(crate) shell: Shell,
}

/// The worker's own numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Shell {
    /// Stream connections open now.
    pub(crate) connections: usize,
    /// Of these, those that the core does not know yet.
    pub(crate) half_open: usize,
    /// What its sockets did.
    pub(crate) counters: Counters,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unanswered {
    /// The worker is gone: the gateway is stopping.
    Stopping,
    /// The worker does not come to it.
    Busy,
}

/// The asking side.
#[derive(Debug, Clone)]
pub(crate) struct Asker {
    requests: mpsc::UnboundedSender<Control>,
    places: Arc<Semaphore>,
}

/// The answering side, in the worker.
#[derive(Debug)]
pub(crate) struct Asked {
    /// `None` once nobody can ask any more.
    requests: Option<mpsc::UnboundedReceiver<Control>>,
    /// Taken from the queue, for this turn.
    taken: Option<Control>,
    /// By ticket, in their order; at most [`PLACES`].
    open: VecDeque<(u64, oneshot::Sender<Reply>)>,
    last_ticket: u64,
}

/// Both sides.
pub(crate) fn channel() -> (Asker, Asked) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let asker = Asker { requests: sender, places: Arc::new(Semaphore::new(PLACES)) };
    let (taken, open) = (None, VecDeque::new());
    (asker, Asked { requests: Some(receiver), taken, open, last_ticket: 0 })
}

impl Asker {
    /// Asks the core. Must be called within a runtime with a timer.
    pub(crate) async fn ask(&self, query: Query) -> Result<Reply, Unanswered> {
        let Asker { requests, places } = self.clone();
        // A task of its own: who asks may lose interest, the place is taken until the answer.
        let task = tokio::spawn(async move {
            let place = places.acquire_owned().await.map_err(|_| Unanswered::Stopping)?;
            let (reply, answer) = oneshot::channel();
            let sent = requests.send(Control::Query { query, reply });
            sent.map_err(|_| Unanswered::Stopping)?;
            let answer = answer.await.map_err(|_| Unanswered::Stopping);
            drop(place);
            answer
        });
        match tokio::time::timeout(PATIENCE, task).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(Unanswered::Stopping),
            Err(_) => Err(Unanswered::Busy),
        }
    }
}

impl Asked {
    /// Ready when somebody asks; [`turn`](Self::turn) takes it up.
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.taken.is_some() {
            return Poll::Ready(());
        }
        let Some(requests) = &mut self.requests else { return Poll::Pending };
        match requests.poll_recv(cx) {
            Poll::Ready(Some(request)) => {
                self.taken = Some(request);
                Poll::Ready(())
            }
            Poll::Ready(None) => {
                self.requests = None;
                Poll::Pending
            }
            Poll::Pending => Poll::Pending,
        }
    }

    /// Puts a question to the core and hands out what it has answered.
    pub(crate) fn turn(&mut self, machine: &mut Machine, shell: Shell) {
        match self.taken.take() {
            Some(Control::Query { query, reply }) if !reply.is_closed() => {
                self.last_ticket += 1;
                let ticket = self.last_ticket;
                self.open.push_back((ticket, reply));
                machine.feed(Input::Admin { ticket, query });
            }
            _ => {}
        }
        while let Some((ticket, answer)) = machine.answers.pop_front() {
            let Some(at) = self.open.iter().position(|(open, _)| *open == ticket) else { continue };
            if let Some((_, reply)) = self.open.remove(at) {
                let _ = reply.send(Reply { answer, shell });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    fn machine() -> Machine {
        let setup = crate::setup::Setup::dev(false);
        Machine::new(setup.core, setup.table, 1)
    }

    #[tokio::test]
    async fn questions_are_answered_one_a_turn() {
        let (asker, mut asked) = channel();
        let mut machine = machine();
        let ask = |asker: Asker| tokio::spawn(async move { asker.ask(Query::Status).await });
        let asking = [ask(asker.clone()), ask(asker)];
        let shell = Shell { connections: 3, ..Shell::default() };
        for _ in 0..2 {
            poll_fn(|cx| asked.poll_ready(cx)).await;
            asked.turn(&mut machine, shell);
            assert!(asked.open.is_empty());
        }
        for task in asking {
            let reply = task.await.unwrap().unwrap();
            assert!(matches!(reply.answer, Answer::Status(_)));
            assert_eq!(reply.shell, shell);
        }
        // Nobody can ask any more: the worker is not woken for that.
        let ready = poll_fn(|cx| Poll::Ready(asked.poll_ready(cx))).await;
        assert_eq!(ready, Poll::Pending);
        assert!(asked.requests.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_that_does_not_come_is_busy_and_one_that_went_has_stopped() {
        let (asker, asked) = channel();
        assert_eq!(asker.ask(Query::Status).await.unwrap_err(), Unanswered::Busy);
        for _ in 0..PLACES {
            assert_eq!(asker.ask(Query::Status).await.unwrap_err(), Unanswered::Busy);
        }
        assert_eq!(asked.requests.as_ref().map(|queue| queue.len()), Some(PLACES));
        drop(asked);
        assert_eq!(asker.ask(Query::Status).await.unwrap_err(), Unanswered::Stopping);
    }
}
