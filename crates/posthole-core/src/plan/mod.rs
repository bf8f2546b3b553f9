//! What will be done, fully resolved: nothing after this reads the environment or a default.
//!
//! [`resolve`](fn@resolve) works a [`Plan`] out of the configuration file, the command line, the
//! captured environment and what OpenSSH answers through the trait
//! [`OpenSsh`](crate::openssh::OpenSsh), and of nothing else: given the same answers it is a pure
//! function, so it does not itself know which files exist or what a name resolves to. Like the
//! stage before it, it reports all problems at once.

mod auth;
mod daemon;
mod deliver;
mod describe;
mod edits;
mod environment;
mod forward;
mod hop;
mod mailbox;
mod overrides;
mod password;
mod rcfile;
mod resolve;
mod tls;

use std::fmt;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bstr::BString;

use crate::config::Diagnostic;

pub use auth::Auth;
pub use daemon::DaemonPlan;
pub use deliver::{
    BsmtpTo, DeliverTo, MboxTo, MdaCommand, MdaTo, ReportTo, SmtpLogin, SmtpProtocol, SmtpServer,
    SmtpTo, Undeliverable,
};
pub use edits::{Edits, Filter, Multidrop, NameService, StatusFields, Trace};
pub use environment::Environment;
pub use forward::{Forward, ForwardTo, Forwards, ListenOn, Wish};
pub use hop::{AddressFamily, Algorithms, Backend, Hop, Rekey, UnknownHostKey};
pub use overrides::{EditOverrides, Overrides, SshOverrides, TlsOverrides};
pub use password::{Keyring, NetrcEntry, PasswordSource};
pub use rcfile::{
    Errand, InterfaceTest, RcPlan, RcWishes, TunnelFor, Undoable, Who, resolve_rcfile,
};
pub(crate) use resolve::is_loopback;
pub use resolve::{ConfigFile, resolve, resolve_all, resolve_forwards, resolve_way};
pub use tls::{Authorities, NameFrom, Pin, SystemStore, Tls, TlsIdentity, TlsStart};

/// Everything one run will do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The accounts, in the order of the configuration.
    pub jobs: Vec<Arc<Job>>,
    /// The forwards, for who serves them beside the accounts.
    pub forwards: Vec<Arc<Forward>>,
    /// Where the records live.
    pub state_dir: PathBuf,
    /// How the daemon goes about it.
    pub daemon: DaemonPlan,
    /// What a person should know about it.
    pub remarks: Remarks,
}

/// The way to an SSH host.
#[derive(Clone, Debug)]
pub struct Way {
    /// Each SSH host on it, reached through the one before it; the last is the host itself.
    pub hops: Vec<Hop>,
    /// What a person should know about it.
    pub remarks: Remarks,
}

/// What was noticed on the way to a plan, and does not stop it.
#[derive(Clone, Debug, Default)]
pub struct Remarks {
    /// What is probably not meant.
    pub warnings: Vec<Diagnostic>,
    /// What was decided and might surprise: for those who want to know.
    pub notices: Vec<String>,
}

/// One account, ready to be polled.
///
/// Two are equal if polling them is the same in everything, passwords in the file included: that
/// is how a daemon finds out what a new configuration changes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Job {
    /// The account's name as the person wrote it.
    pub account: String,
    /// What the records are keyed by: `pop3:user@host via sshhost`.
    ///
    /// It names the mailbox, not the way to it, so that giving an account a name, another SSH
    /// user or another jump host does not make its mail new again. Ports are part of it where they
    /// are not the usual ones (110, 995 with TLS, and 22).
    pub mailbox: String,
    /// The user name for the mail server.
    pub user: String,
    /// The mail server, as the last SSH host sees it when there is one.
    pub server: HostPort,
    /// The way to the mail server.
    pub route: Route,
    /// How to log in to the mail server.
    pub auth: Auth,
    /// Where the mail password comes from.
    pub password: PasswordSource,
    /// What happens to fetched messages on the server.
    pub keep: Keep,
    /// Which messages are fetched.
    pub select: Select,
    /// A command that looks at each header before a message is fetched.
    pub filter: Option<Filter>,
    /// What is changed in messages.
    pub edits: Edits,
    /// How the mail of several people is told apart, if it is theirs.
    pub multidrop: Option<Arc<Multidrop>>,
    /// How often the daemon polls it.
    pub every: Duration,
    /// The longest wait without any progress.
    pub timeout: Duration,
    /// How many octets a message may have at most, whatever its server lists.
    pub max_size: u64,
    /// Where messages go: to all of these. Never empty.
    pub deliver: Vec<DeliverTo>,
    /// Whether a password may cross a network unprotected.
    pub allow_plaintext: bool,
    /// How TLS protects the stream.
    pub tls: Tls,
}

impl Job {
    /// Whether others may listen to the login: because the password is not in it, or because a
    /// person accepted that.
    #[must_use]
    pub const fn may_be_overheard(&self) -> bool {
        self.allow_plaintext || !self.auth.may_reveal_secret()
    }
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
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Route {
    /// A TCP connection from here.
    Direct,
    /// The standard input and output of a command: a program and its arguments. Never empty.
    Plugin(Vec<BString>),
    /// A direct-tcpip channel from the last of these SSH hosts, each reached through the one
    /// before it. Never empty.
    Ssh(Arc<[Hop]>),
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

/// The largest message that is taken if nothing is said: larger than any that mail servers pass on.
pub(crate) const MAX_SIZE: u64 = 2 << 30;

/// Which messages are fetched; by default all that were not fetched before.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Select {
    /// The most octets a message may have, as the server lists them, to be fetched.
    pub limit: Option<u64>,
    /// Whether larger ones are deleted from the server instead of staying there.
    pub limit_flush: bool,
    /// How many are fetched in one poll at most.
    pub fetch_limit: Option<u32>,
    /// Whether messages that were fetched before are fetched again.
    pub fetch_all: bool,
    /// What becomes of those that were fetched and stayed there on purpose.
    pub kept: KeptMail,
    /// Whether messages that were fetched before are deleted first, whatever else is said.
    pub flush: bool,
    /// After how many deletions the session is ended, which makes them real, and another one
    /// begun.
    pub expunge: Option<NonZeroU32>,
}

/// What becomes of messages that were fetched, by us or by another program, and stayed on the server
/// because they were to be kept there.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum KeptMail {
    /// They stay as long as `keep` says now; what another program has left there stays for ever.
    #[default]
    AsKeepSays,
    /// They are fetched again.
    ComesAgain,
    /// They stay, whatever `keep` says now.
    Stays,
}

/// What the table in the manual is compared with.
#[cfg(test)]
pub(crate) mod limits {
    pub(crate) use super::MAX_SIZE;
    pub(crate) use super::hop::{CONNECT_TIMEOUT, KEEPALIVE, KEEPALIVE_MAX, PASSWORD_PROMPTS};
    pub(crate) use super::resolve::limits::{
        FILTER_TIMEOUT, MAX_JUMPS, MDA_TIMEOUT, SMTP_TIMEOUT, TIMEOUT,
    };
}

#[cfg(test)]
mod tests;
