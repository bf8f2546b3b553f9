//! What the command line says, which wins over the configuration file.

use std::path::PathBuf;
use std::time::Duration;

use super::Keep;
use crate::config::{AccountArg, Agent, Deliver, Password, SshTarget};

/// The flags of the command line; `None` is a flag that was not given.
///
/// Each value is parsed by its own `FromStr` or by the `parse_` functions of
/// [`config`](crate::config), whose errors carry a help line of their own.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// The accounts to work on; none means all of the file.
    pub accounts: Vec<AccountArg>,
    /// Where messages go.
    pub deliver: Option<Deliver>,
    /// The SSH hosts to go through, first hop first; an empty list connects directly.
    pub via: Option<Vec<SshTarget>>,
    /// Where the mail password comes from.
    pub password: Option<Password>,
    /// What happens to fetched messages on the server.
    pub keep: Option<Keep>,
    /// The most octets a message may have to be fetched.
    pub limit: Option<u64>,
    /// Whether larger ones are deleted from the server.
    pub limit_flush: Option<bool>,
    /// How many messages are fetched in one poll at most.
    pub fetch_limit: Option<u32>,
    /// The longest wait without any progress.
    pub timeout: Option<Duration>,
    /// Whether a password may cross a network unprotected.
    pub allow_plaintext: Option<bool>,
    /// What holds for every SSH host on the way.
    pub ssh: SshOverrides,
}

/// The flags that are about the SSH connection.
#[derive(Clone, Debug, Default)]
pub struct SshOverrides {
    /// Private key files.
    pub identity: Option<Vec<PathBuf>>,
    /// The user's known_hosts files.
    pub known_hosts: Option<Vec<PathBuf>>,
    /// Whether to compress.
    pub compression: Option<bool>,
    /// Silence after which a sign of life is asked for; zero never asks.
    pub keepalive: Option<Duration>,
    /// How long the connection may take.
    pub connect_timeout: Option<Duration>,
    /// Which agent is asked.
    pub agent: Option<Agent>,
}
