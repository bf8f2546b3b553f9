//! A forward, ready to be served.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{Hop, HostPort, Job, Remarks, Route};
use crate::config::{Listen, Protocol, SshTarget};

/// All forwards of a run.
#[derive(Clone, Debug)]
pub struct Forwards {
    /// In the order they were asked for.
    pub forwards: Vec<Arc<Forward>>,
    /// What a person should know about them.
    pub remarks: Remarks,
}

/// A server behind an SSH host that appears on this machine.
///
/// Two are equal if serving them is the same in everything: that is how a daemon finds out what a
/// new configuration changes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Forward {
    /// What it is called.
    pub name: String,
    /// Where clients connect.
    pub listen: ListenOn,
    /// Where their connections go.
    pub target: ForwardTo,
    /// What is spoken there.
    pub protocol: Protocol,
    /// How long the SSH connection stays when nobody uses it; `None` is for ever.
    pub idle: Option<Duration>,
    /// Whether programs of other users may connect.
    pub allow_any: bool,
}

/// Where the connections of a forward go.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ForwardTo {
    /// To a server, whoever logs in there.
    Through {
        /// Each SSH host on the way, reached through the one before it; never empty.
        hops: Arc<[Hop]>,
        /// The server, as the last SSH host sees it.
        to: HostPort,
    },
    /// Into the mailbox of this account, for clients that have the forward's token.
    Mailbox(Arc<Job>),
}

impl Forward {
    /// Each SSH host on the way; none if an account's server is reached without.
    #[must_use]
    pub fn hops(&self) -> &[Hop] {
        match &self.target {
            ForwardTo::Through { hops, .. } => hops,
            ForwardTo::Mailbox(job) => match &job.route {
                Route::Ssh(hops) => hops,
                Route::Direct | Route::Plugin(_) => &[],
            },
        }
    }

    /// The server, as the last SSH host sees it.
    #[must_use]
    pub fn to(&self) -> &HostPort {
        match &self.target {
            ForwardTo::Through { to, .. } => to,
            ForwardTo::Mailbox(job) => &job.server,
        }
    }

    /// The account whose mailbox it is, if clients log in with a token.
    #[must_use]
    pub fn account(&self) -> Option<&str> {
        match &self.target {
            ForwardTo::Through { .. } => None,
            ForwardTo::Mailbox(job) => Some(&job.account),
        }
    }
}

/// `localhost:110 through msingh@popserver`, or `the mailbox of work at …`
impl fmt::Display for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(account) = self.account() {
            write!(f, "the mailbox of {account} at ")?;
        }
        self.to().fmt(f)?;
        let via: Vec<_> = self.hops().iter().map(Hop::login).collect();
        match via.is_empty() {
            true => Ok(()),
            false => write!(f, " through {}", via.join(", ")),
        }
    }
}

/// Where a forward's clients connect.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ListenOn {
    /// This port of 127.0.0.1 and, where there is IPv6, of `::1`.
    Loopback(u16),
    /// Sockets of this name that were passed to this process; without one, all of them.
    Systemd(Option<String>),
    /// This address.
    Tcp(HostPort),
    /// A Unix socket at this path.
    Unix(PathBuf),
}

impl fmt::Display for ListenOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loopback(port) => write!(f, "localhost:{port}"),
            Self::Systemd(None) => f.write_str("systemd"),
            Self::Systemd(Some(name)) => write!(f, "systemd:{name}"),
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Which forwards the command line asks for.
#[derive(Clone, Debug)]
pub enum Wish {
    /// Those of the file with these names; all if there are none.
    Named {
        /// The names.
        names: Vec<String>,
        /// Idle time instead of the one in the file.
        idle: Option<Duration>,
        /// Whether others may connect, whatever the file says.
        allow_any: bool,
    },
    /// One that is not in the file.
    New {
        /// Where clients connect.
        listen: Listen,
        /// The SSH hosts to go through.
        via: Vec<SshTarget>,
        /// Where the connections go.
        to: HostPort,
        /// What is spoken there, if the port does not say it.
        protocol: Option<Protocol>,
        /// Idle time.
        idle: Option<Duration>,
        /// Whether others may connect.
        allow_any: bool,
    },
}
