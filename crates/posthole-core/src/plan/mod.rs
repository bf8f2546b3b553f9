//! What will be done, fully resolved: nothing after this reads the environment or a default.
//!
//! [`resolve`](fn@resolve) works a [`Plan`] out of the configuration file, the command line and the captured
//! environment, and of nothing else: it is a pure function, so it does not know which files
//! exist or what a name resolves to. Like the stage before it, it reports all problems at once.

mod describe;
mod environment;
mod hop;
mod mailbox;
mod overrides;
mod resolve;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

pub use environment::Environment;
pub use hop::{AddressFamily, Algorithms, Backend, Hop, Rekey, UnknownHostKey};
pub use overrides::{Overrides, SshOverrides};
pub use resolve::{ConfigFile, resolve, resolve_hop};

/// Everything one run will do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The accounts, in the order of the configuration.
    pub jobs: Vec<Arc<Job>>,
    /// Where the records live.
    pub state_dir: PathBuf,
}

/// One account, ready to be polled.
#[derive(Clone, Debug)]
pub struct Job {
    /// The account's name as the person wrote it.
    pub account: String,
    /// What the records are keyed by: `pop3:user@host via sshhost`.
    ///
    /// It names the mailbox, not the way to it, so that giving an account a name, another SSH
    /// user or another jump host does not make its mail new again. Ports are part of it where they
    /// are not the usual ones (110 and 22).
    pub mailbox: String,
    /// The user name for the mail server.
    pub user: String,
    /// The mail server, as the last SSH host sees it when there is one.
    pub server: HostPort,
    /// The way to the mail server.
    pub route: Route,
    /// Where the mail password comes from.
    pub password: PasswordSource,
    /// What happens to fetched messages on the server.
    pub keep: Keep,
    /// Which messages are fetched.
    pub select: Select,
    /// The longest wait without any progress.
    pub timeout: Duration,
    /// Where messages go.
    pub deliver: DeliverTo,
    /// Whether a password may cross a network unprotected.
    pub allow_plaintext: bool,
}

/// A host and a port.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct HostPort {
    /// Name or address; an IPv6 address stands without brackets.
    pub host: String,
    /// Port number.
    pub port: u16,
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// The way to the mail server.
#[derive(Clone, Debug)]
pub enum Route {
    /// A TCP connection from here.
    Direct,
    /// A direct-tcpip channel from the last of these SSH hosts, each reached through the one
    /// before it. Never empty.
    Ssh(Arc<[Hop]>),
}

/// Where a password comes from.
#[derive(Clone, Debug)]
pub enum PasswordSource {
    /// The first line that a shell command prints.
    Command(String),
    /// The first line of a file.
    File(PathBuf),
    /// Given outright.
    Given {
        /// Where it stood, such as `the environment variable MAILPW`.
        origin: String,
        /// The password.
        secret: SecretString,
    },
    /// A person is asked.
    Prompt,
}

/// What happens to a fetched message on the server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Keep {
    /// It stays.
    Always,
    /// It stays this long after it was fetched, then it is deleted.
    For(Duration),
    /// It stays as long as it is among this many that are the last in the mailbox.
    Newest(u32),
    /// It is deleted as soon as it is safe here.
    Never,
}

/// Which messages are fetched; by default all that were not fetched before.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Select {
    /// The most octets a message may have, as the server lists them, to be fetched.
    pub limit: Option<u64>,
    /// Whether larger ones are deleted from the server instead of staying there.
    pub limit_flush: bool,
    /// How many are fetched in one poll at most.
    pub fetch_limit: Option<u32>,
}

/// Where messages go.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum DeliverTo {
    /// A Maildir, made when it is missing.
    Maildir(PathBuf),
}

impl fmt::Display for DeliverTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Maildir(path) => write!(f, "maildir:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests;
