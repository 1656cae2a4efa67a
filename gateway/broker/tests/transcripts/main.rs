//! What the broker does, one behaviour a test: requests in, effects out, a virtual clock.
//! Paragraph numbers are those of the project's MQTT notes and of MQTT 5.

#![allow(clippy::unwrap_used)] // in tests and their helpers

mod bench;

mod credit;
mod disk;
mod drain;
mod expiry;
mod journal;
mod overlap;
mod publish;
mod queue_bounds;
mod retained;
mod sessions;
mod shared;
mod view;
mod wills;
