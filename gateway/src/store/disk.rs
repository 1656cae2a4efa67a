//! [`Disk`]: the worker's end of the store on disk, and [`Stored`], everybody else's.
//!
//! The rings are bounded and nothing here blocks: what does not fit waits on its own side, and is
//! handed over as soon as the other side has taken something. How much can wait is bounded by
//! `max_uncommitted_bytes`, which holds publishers back.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll};
use std::thread::{JoinHandle, Thread};

use atomic_waker::AtomicWaker;
use motegate_message::journal::PageRequest;
use motegate_message::{Record, Seq};
use ringbuf::traits::{Consumer as _, Observer as _, Producer as _, Split as _};
use ringbuf::{HeapCons, HeapProd, HeapRb};

use super::counters::Counters;
use super::open::Opened;
use super::view::View;
use super::writer::{Job, Writer};
use super::{Report, SyncPolicy};

/// Places of either ring.
const RING: usize = 1024;

/// What the worker wants of the thread.
#[derive(Debug)]
pub(super) enum Request {
    Batch(Seq, Vec<Record>),
    Fetch(PageRequest),
}

/// What both sides look at.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Of the worker.
    pub(super) waker: AtomicWaker,
    /// Nothing more will come.
    pub(super) stop: AtomicBool,
    /// The thread is gone.
    pub(super) ended: AtomicBool,
    pub(super) counters: Counters,
}

/// The worker's end.
pub(crate) struct Disk {
    requests: HeapProd<Request>,
    reports: HeapCons<Report>,
    /// Requests that found no place.
    waiting: VecDeque<Request>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    told_end: bool,
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Disk").field("waiting", &self.waiting.len()).finish_non_exhaustive()
    }
}

/// The store as others see it: its numbers, and a way to have it do something.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    shared: Arc<Shared>,
    jobs: mpsc::Sender<Job>,
    thread: Thread,
    /// The data directory.
    pub(crate) directory: PathBuf,
    pub(crate) sync: SyncPolicy,
}

impl Opened {
    /// Starts the thread. A function in `faults` is asked before each write and sync.
    pub(crate) fn start(self, faults: Option<super::writer::Faults>) -> io::Result<(Disk, Stored)> {
        let (requests, inbox) = HeapRb::new(RING).split();
        let (outbox, reports) = HeapRb::new(RING).split();
        let (jobs, inbox_of_jobs) = mpsc::channel();
        let shared = Arc::new(Shared::default());
        let counters = &shared.counters;
        counters.lost.store(self.lost, Ordering::Relaxed);
        counters.damaged.store(self.damaged, Ordering::Relaxed);
        counters.applied.store(self.applied, Ordering::Relaxed);
        let (directory, sync) = (self.directory.path().to_owned(), self.sync);
        let writer = Writer::new(self, inbox, outbox, inbox_of_jobs, shared.clone(), faults);
        let thread = std::thread::Builder::new().name("motegate-store".into());
        let thread = thread.spawn(move || writer.run())?;
        let stored = Stored {
            shared: shared.clone(),
            jobs,
            thread: thread.thread().clone(),
            directory,
            sync,
        };
        let disk = Disk {
            requests,
            reports,
            waiting: VecDeque::new(),
            shared,
            thread: Some(thread),
            told_end: false,
        };
        Ok((disk, stored))
    }
}

impl Disk {
    pub(super) fn append(&mut self, seq: Seq, batch: Vec<Record>) {
        self.request(Request::Batch(seq, batch));
    }

    pub(super) fn fetch(&mut self, wanted: PageRequest) {
        self.request(Request::Fetch(wanted));
    }

    fn request(&mut self, request: Request) {
        self.waiting.push_back(request);
        self.hand_over();
    }

    /// Gives the thread what it has room for. It may be asleep.
    fn hand_over(&mut self) {
        let before = self.waiting.len();
        while let Some(request) = self.waiting.pop_front() {
            if let Err(request) = self.requests.try_push(request) {
                self.waiting.push_front(request);
                break;
            }
        }
        if self.waiting.len() < before {
            self.unpark();
        }
    }

    fn unpark(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }

    pub(super) fn poll_report(&mut self) -> Option<Report> {
        if !self.waiting.is_empty() {
            self.hand_over();
        }
        let was_full = self.reports.is_full();
        let report = self.reports.try_pop();
        if was_full {
            // The thread may hold more reports back.
            self.unpark();
        }
        if report.is_none() && !self.told_end && self.shared.ended.load(Ordering::Acquire) {
            self.told_end = true;
            tracing::error!("the store's thread is gone: nothing is stored any more");
            return Some(Report::Failed);
        }
        report
    }

    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.shared.waker.register(cx.waker());
        let ended = !self.told_end && self.shared.ended.load(Ordering::Acquire);
        // The thread wakes us when it has taken something, too.
        let room = !self.waiting.is_empty() && !self.requests.is_full();
        if !self.reports.is_empty() || ended || room { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for Disk {
    /// Everything that was handed over is stored, if it can be.
    fn drop(&mut self) {
        while !self.waiting.is_empty() && !self.shared.ended.load(Ordering::Acquire) {
            self.hand_over();
            if !self.waiting.is_empty() {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            // Room for reports that nobody will read.
            self.reports.clear();
        }
        self.shared.stop.store(true, Ordering::Release);
        self.unpark();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Stored {
    /// What it has done.
    pub(crate) fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// Bytes that the files of the store take on the disk.
    pub(crate) fn disk_bytes(&self) -> u64 {
        super::directory::bytes_below(&super::directory::database_of(&self.directory))
    }

    /// Bytes that may still be written there.
    pub(crate) fn free_bytes(&self) -> Option<u64> {
        super::error::free_bytes(&self.directory)
    }

    /// The store as it is between two groups; `None` while it fails, or is gone.
    pub(crate) async fn view(&self) -> Option<View> {
        let (reply, view) = tokio::sync::oneshot::channel();
        let job: Job = Box::new(move |db, applied| drop(reply.send(db.view(applied))));
        self.jobs.send(job).ok()?;
        self.thread.unpark();
        view.await.ok()
    }
}
