//! How OpenSSH reaches a host, by OpenSSH's own answer.
//!
//! `~/.ssh/config` is a language with conditions, includes, tokens and defaults, and reading it
//! nearly right would now and then lead mail through another host than `ssh` goes through. So it is
//! never read here: `ssh -G` (ssh(1)) is asked, and [`Answer`] is what it prints. What that means
//! for a connection is worked out by [`plan`](crate::plan), through the trait [`OpenSsh`], so that
//! it depends on no installed program.
//!
//! Nothing here connects to a host. `ssh -G` may look up names (`CanonicalizeHostname`) and run
//! commands of the person's own (`Match exec`), which is why it has a time limit.

mod answer;
mod evidence;
mod run;

use std::ffi::OsStr;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

pub use answer::Answer;
pub(crate) use evidence::version;
pub use run::Ssh;

/// OpenSSH's client on this machine, and what else it would go by.
pub trait OpenSsh {
    /// What it would do; `None` where it is not installed.
    ///
    /// # Errors
    /// When it does not say, for example because its configuration has a mistake.
    fn answer(&self, query: &Query) -> Result<Option<Arc<Answer>>, OpenSshError>;

    /// Whether there is something at this path.
    fn is_there(&self, path: &Path) -> bool;

    /// Whether a private key file is for a key on a FIDO authenticator; `None` where there is no
    /// such file, or no key in it.
    fn is_security_key(&self, identity: &Path) -> Option<bool>;

    /// Whether there is a Kerberos ticket to log in with; `cache` is the value of `KRB5CCNAME`.
    fn has_kerberos_ticket(&self, cache: Option<&OsStr>) -> bool;
}

/// A machine without OpenSSH.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoOpenSsh;

impl OpenSsh for NoOpenSsh {
    fn answer(&self, _: &Query) -> Result<Option<Arc<Answer>>, OpenSshError> {
        Ok(None)
    }

    fn is_there(&self, _: &Path) -> bool {
        false
    }

    fn is_security_key(&self, _: &Path) -> Option<bool> {
        None
    }

    fn has_kerberos_ticket(&self, _: Option<&OsStr>) -> bool {
        false
    }
}

/// A question to `ssh -G`.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Query {
    /// The host as written.
    pub host: String,
    /// The user, where it is not for the configuration to say (`-l`).
    pub user: Option<String>,
    /// The port, where it is not for the configuration to say (`-p`).
    pub port: Option<u16>,
    /// The real host name, where it is not for the configuration to say (`HostName`).
    pub hostname: Option<String>,
    /// Whether another host leads there, so that `ProxyJump` and `ProxyCommand` of the
    /// configuration do not count, as those of the hosts after `-J` do not.
    pub is_behind: bool,
    /// Which configuration is read.
    pub files: Files,
    /// What else a command line says, as arguments of `ssh`.
    pub arguments: Vec<String>,
}

impl Query {
    /// What holds for a host that nobody said anything about: OpenSSH's own defaults.
    #[must_use]
    pub fn defaults() -> Self {
        Self {
            // Any will do.
            host: "localhost".to_owned(),
            files: Files::None,
            ..Self::default()
        }
    }
}

/// Which of OpenSSH's configuration files are read.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Files {
    /// The person's own and the system's.
    #[default]
    All,
    /// None, which tells OpenSSH's own defaults.
    None,
    /// The system's only.
    System,
}

/// Why `ssh -G` gave no answer.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenSshError {
    /// It refused.
    #[error(
        "OpenSSH's configuration for {host} does not work: {}",
        said(status, stderr)
    )]
    Failed {
        /// The host it was asked about.
        host: String,
        /// How it ended.
        status: ExitStatus,
        /// What it said, in one line.
        stderr: String,
    },
    /// A host's configuration forbids connections to it (`RefuseConnection`).
    #[error("OpenSSH's configuration forbids connections to {host}: {reason}")]
    Forbidden {
        /// The host.
        host: String,
        /// What the configuration says about it.
        reason: String,
    },
    /// The host would be taken for an option.
    #[error("a host name cannot start with `-`")]
    Host,
    /// It could not be run.
    #[error("cannot run ssh to read its configuration: {source}")]
    NotRun {
        /// Why not.
        #[source]
        source: Arc<std::io::Error>,
    },
    /// It printed more than any configuration comes to.
    #[error("`ssh -G {host}` printed more than {} KiB", run::OUTPUT_LIMIT >> 10)]
    TooLong {
        /// The host it was asked about.
        host: String,
    },
    /// It did not come to an end.
    #[error("`ssh -G {host}` took longer than {}{}", humantime::format_duration(*limit), and_said(stderr))]
    TimedOut {
        /// The host it was asked about.
        host: String,
        /// How long it was waited for.
        limit: Duration,
        /// What it said until then, in one line.
        stderr: String,
    },
}

impl OpenSshError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Failed { host, .. } => format!(
                "put it right in ~/.ssh/config or /etc/ssh/ssh_config; `ssh {host}` fails for the \
                 same reason"
            ),
            Self::Forbidden { .. } => {
                "the line `RefuseConnection` is in ~/.ssh/config or /etc/ssh/ssh_config".to_owned()
            }
            Self::Host => "write another name for it".to_owned(),
            Self::NotRun { .. } => "make `ssh` work, or take it out of PATH".to_owned(),
            Self::TooLong { host } | Self::TimedOut { host, .. } => format!(
                "look at what `ssh -G {host}` does; a `Match exec` of its configuration may be slow"
            ),
        }
    }
}

fn said(status: &ExitStatus, stderr: &str) -> String {
    if stderr.is_empty() {
        format!("ssh ended with {status} and said nothing")
    } else {
        stderr.to_owned()
    }
}

fn and_said(stderr: &str) -> String {
    if stderr.is_empty() {
        String::new()
    } else {
        format!("; it said: {stderr}")
    }
}

/// What the table in the manual is compared with.
#[cfg(test)]
pub(crate) mod limits {
    pub(crate) use super::run::{OUTPUT_LIMIT, TIME_LIMIT};
}

#[cfg(test)]
mod tests;
