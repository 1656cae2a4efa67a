//! The client: transcripts against a scripted server, byte by byte; the client against the server
//! endpoint over connections that are cut anywhere; arbitrary bytes from the server.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "../common/mod.rs"]
mod common;

mod auth;
mod chaos;
mod connect;
mod cost;
mod lossy;
mod peer;
mod publish;
mod receive;
mod subscribe;
