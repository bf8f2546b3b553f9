//! The SSH client against the in-process SSH server of the testkit.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod auth;
mod channel;
mod connection;
mod fake_agent;
mod forward;
mod host_key;
mod hostile;
mod silent;
mod world;
