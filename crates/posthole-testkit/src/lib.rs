//! The test world of Posthole.
//!
//! Everything a test needs around the program it tests: sample mail, servers that run inside the
//! test process and can be told to misbehave, real daemons with configurations of their own, and
//! one builder that ties it together.
//!
//! ```text
//!  World ─ home directory, keys, known_hosts, configuration, Command for the binary
//!    │
//!    ├─ ssh::SshServer ──direct-tcpip──► pop3::Pop3Server ──► pop3::Maildrop ◄── mail::corpus
//!    │                      │
//!    └─ relay::Relay        └─ or the real ones: real::Sshd ──► real::Dovecot
//! ```
//!
//! The servers run on threads of their own, so they serve synchronous tests, asynchronous tests
//! and child processes alike, and stop when they are dropped. Every listener is on loopback and
//! its port is the kernel's choice.
//!
//! A fixture panics, naming what failed, where this machine is at fault: a test has no better
//! answer. None of Posthole's own code is used here, because what judges the program must not
//! share its mistakes.

pub mod certificates;
pub mod home;
pub mod keys;
pub mod mail;
pub mod net;
pub mod pop3;
pub mod real;
pub mod relay;
pub mod scene;
pub mod smtp;
pub mod ssh;
pub mod terminal;
pub mod tls;
pub mod world;

mod background;
mod base64;
mod rng;
mod sasl;

pub use home::Home;
pub use scene::Scene;
pub use terminal::Terminal;
pub use world::World;
