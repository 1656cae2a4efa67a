//! Where journal batches go.
//!
//! The worker hands a batch to [`Store::append`], which never blocks, and asks
//! [`Store::poll_committed`] how far the store has come, once after every append and once
//! whenever [`Store::poll_ready`] wakes it. A store that writes to disk runs on a thread of its
//! own behind the same three calls: `append` pushes into a single-producer ring, `poll_committed`
//! pops from the one that comes back, `poll_ready` is woken by the thread.

mod memory;

pub(crate) use memory::Store;
