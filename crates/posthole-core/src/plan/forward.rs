//! A forward, ready to be served.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{Hop, HostPort, Remarks};
use crate::config::{Listen, SshTarget};

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
    /// Each SSH host on the way, reached through the one before it; never empty.
    pub hops: Arc<[Hop]>,
    /// Where the connections go, as the last SSH host sees it.
    pub to: HostPort,
    /// How long the SSH connection stays when nobody uses it; `None` is for ever.
    pub idle: Option<Duration>,
    /// Whether programs of other users may connect.
    pub allow_any: bool,
}

impl fmt::Display for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let via: Vec<_> = self.hops.iter().map(Hop::login).collect();
        write!(f, "{} through {}", self.to, via.join(", "))
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
        /// Idle time.
        idle: Option<Duration>,
        /// Whether others may connect.
        allow_any: bool,
    },
}
