//! Polls against POP3 servers in process: what ends up on disk, on the server and on record.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod account;
mod auth;
mod cut;
mod daemon;
mod destinations;
mod edits;
mod multidrop;
mod order;
mod ordinary;
mod oversized;
mod pipelining;
mod selection;
mod smtp;
mod smtp_login;
mod stls;
mod tls;
mod trouble;
mod undeliverable;
