//! Where journal batches go.
//!
//! The worker hands a batch to [`Store::append`], which never blocks, and asks
//! [`Store::poll_report`] what has become of it, once after every append and once whenever
//! [`Store::poll_ready`] wakes it. A gateway that keeps nothing has a [`Forgetful`] store, which
//! answers at once. The one on disk ([`Disk`]) has a thread of its own (`writer.rs`), reached by
//! a single-producer ring and answering by another; what waits in neither is on disk.
//!
//! `group.rs` merges batches, `database.rs` is fjall, `journal.rs` looks into fjall's journals,
//! `directory.rs` holds the data directory, `open.rs` starts, `error.rs` has the words.

mod backup;
mod check;
mod counters;
mod database;
mod directory;
mod disk;
mod error;
mod group;
mod journal;
mod memory;
mod open;
mod rebuild;
mod space;
#[cfg(test)]
mod tests;
mod view;
mod writer;

use std::path::PathBuf;
use std::task::{Context, Poll};

use motegate_message::journal::{Page, PageRequest};
use motegate_message::{Record, Seq, SessionId};

pub(crate) use backup::{BackupError, Contents, write as write_backup};
pub(crate) use check::{Checked, check};
pub(crate) use directory::Directory;
pub(crate) use disk::{Disk, Stored};
pub use error::StoreError;
pub(crate) use memory::Forgetful;
pub(crate) use open::{Opened, open};
pub(crate) use rebuild::{RebuildError, backup_stopped, check_stopped, repair, restore};
pub(crate) use view::View;

/// Where and how a gateway keeps what outlives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreSetup {
    /// The data directory.
    pub directory: PathBuf,
    /// What is survived.
    pub sync: SyncPolicy,
}

/// When what is stored is forced to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncPolicy {
    /// Before it is acknowledged: `durability: power_loss`.
    EachGroup,
    /// Within about a second: `durability: process_crash`.
    InBackground,
}

impl SyncPolicy {
    /// As in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            SyncPolicy::EachGroup => "power_loss",
            SyncPolicy::InBackground => "process_crash",
        }
    }
}

/// What the store tells the worker.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// Everything up to this batch is stored.
    Committed(Seq),
    /// It cannot be stored now; it is tried again.
    Failed,
    /// A part of a queue.
    Fetched {
        /// Whose.
        session: SessionId,
        /// What is there.
        page: Page,
    },
}

/// A gateway's store.
#[derive(Debug)]
pub(crate) enum Store {
    /// `durability: none`.
    Forgetful(Forgetful),
    /// On disk.
    Disk(Box<Disk>),
}

impl Default for Store {
    fn default() -> Self {
        Store::Forgetful(Forgetful::default())
    }
}

impl Store {
    /// Takes a batch, after all earlier ones.
    pub(crate) fn append(&mut self, seq: Seq, batch: Vec<Record>) {
        match self {
            Store::Forgetful(store) => store.append(seq, batch),
            Store::Disk(store) => store.append(seq, batch),
        }
    }

    /// Wants a part of a queue, as it is when everything before is applied.
    pub(crate) fn fetch(&mut self, wanted: PageRequest) {
        match self {
            Store::Forgetful(store) => store.fetch(wanted.session),
            Store::Disk(store) => store.fetch(wanted),
        }
    }

    /// What has happened since it was last asked, in order.
    pub(crate) fn poll_report(&mut self) -> Option<Report> {
        match self {
            Store::Forgetful(store) => store.poll_report(),
            Store::Disk(store) => store.poll_report(),
        }
    }

    /// Ready when `poll_report` has something that came on its own.
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Store::Forgetful(_) => Poll::Pending,
            Store::Disk(store) => store.poll_ready(cx),
        }
    }
}
