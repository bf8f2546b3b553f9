//! The SSH client against the in-process SSH server of the testkit.

mod auth;
mod channel;
mod connection;
mod host_key;
mod hostile;
mod world;
