//! The configuration file: what was written, with the place of every value.
//!
//! Text goes in, a [`Config`] and every problem in it come out; this stage knows no home
//! directory, no environment and no defaults, so it is the same on every machine. What will be
//! done is worked out from it by [`plan`](crate::plan). Only [`load`](fn@load) touches the disk.
//!
//! The hard part is to go on after a mistake: a value that is wrong is reported and left out,
//! and the rest is still read, so that all problems are reported at once. The other is that the
//! file may hold passwords, also where none belongs: whatever looks like one is kept out of
//! every message and is blotted out by [`Config::redact`].

mod daemon;
mod deliver;
mod diagnostic;
mod edits;
mod load;
mod lower;
mod name;
mod secrets;
mod section;
mod suggest;
mod syntax;
mod tls;
mod value;

use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

pub use daemon::DaemonOptions;
pub use diagnostic::{Diagnostic, Severity};
pub use edits::{EditOptions, MultidropOptions, Rewrite, parse_filter, parse_host};
pub use load::{LoadError, Source, check_permissions, load};
pub use tls::{TlsOptions, parse_tls_name};
pub use value::{
    AccountArg, Deliver, Listen, LmtpServer, Pin, Protocol, ServerUrl, SmtpOptions, SshTarget,
    TlsWhen, ValueError, parse_duration, parse_host_port, parse_keep, parse_path, parse_recipient,
    parse_size,
};

pub(crate) use name::{check_address, check_ssh_user};
pub(crate) use section::{Limits, check_password, one_line};
pub(crate) use suggest::did_you_mean;

use crate::plan::{AddressFamily, Auth, HostPort, Keep, Rekey, UnknownHostKey};

/// Reads a configuration file's text.
///
/// When any of the diagnostics is an error, the `Config` lacks what was wrong and is good for
/// nothing but [`Config::redact`].
#[must_use]
pub fn parse(text: &str) -> (Config, Vec<Diagnostic>) {
    lower::lower(text)
}

/// What was written in a configuration file; `None` is what was not.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// `[defaults]`: what holds for every account that does not say otherwise.
    pub defaults: Options,
    /// `[account.NAME]`, in the order of the file.
    pub accounts: Vec<Account>,
    /// `[ssh.NAME]`, in the order of the file.
    pub ssh: Vec<SshHost>,
    /// `[forward.NAME]`, in the order of the file.
    pub forwards: Vec<Forward>,
    /// `[daemon]`.
    pub daemon: DaemonOptions,
    /// Where passwords stand, also misplaced ones.
    secrets: Vec<Range<usize>>,
    /// Where passwords may stand as far as broken syntax lets us know.
    suspects: Vec<Range<usize>>,
}

impl Config {
    /// Where the first password stands in the file, if there is one.
    #[must_use]
    pub fn first_secret(&self) -> Option<Range<usize>> {
        self.secrets.iter().min_by_key(|span| span.start).cloned()
    }

    /// The text this was read from, with an asterisk for every byte of a password.
    ///
    /// Every span of a diagnostic fits it as it fits the text itself.
    #[must_use]
    pub fn redact(&self, text: &str) -> String {
        let mut spans: Vec<_> = self.secrets.iter().chain(&self.suspects).collect();
        spans.sort_by_key(|span| span.start);
        let mut redacted = String::with_capacity(text.len());
        for span in spans {
            // A span may lie within an earlier one; a text that is not the one these spans are
            // of may be shorter.
            let shown = text.floor_char_boundary(span.start);
            let hidden = text.ceil_char_boundary(span.end.min(text.len()));
            if let Some(before) = text.get(redacted.len()..shown) {
                redacted.push_str(before);
            }
            for character in text.get(redacted.len()..hidden).unwrap_or_default().chars() {
                match character {
                    '\n' => redacted.push('\n'),
                    _ => redacted.extend(std::iter::repeat_n('*', character.len_utf8())),
                }
            }
        }
        redacted.push_str(&text[redacted.len()..]);
        redacted
    }
}

/// A value and where it stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Its bytes in the configuration file.
    pub span: Range<usize>,
}

impl<T> Spanned<T> {
    /// A value that stands at `span`.
    #[must_use]
    pub fn new(value: T, span: Range<usize>) -> Self {
        Self { value, span }
    }
}

/// What may be said for one account or, in `[defaults]`, for all of them.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// How often the daemon polls.
    pub every: Option<Spanned<Duration>>,
    /// How to log in to the mail server.
    pub auth: Option<Spanned<Auth>>,
    /// Where messages go; never empty.
    pub deliver: Option<Spanned<Vec<Deliver>>>,
    /// Whom they are for, as destinations with an envelope are told; never empty.
    pub recipients: Option<Spanned<Vec<String>>>,
    /// The SSH hosts to go through, first hop first; empty connects directly.
    pub via: Option<Spanned<Vec<SshTarget>>>,
    /// Where the mail password comes from.
    pub password: Option<Spanned<Password>>,
    /// What happens to fetched messages on the server.
    pub keep: Option<Spanned<Keep>>,
    /// The most octets a message may have to be fetched.
    pub limit: Option<Spanned<u64>>,
    /// `max-size`: how many octets a message may have at most, whatever its server lists.
    pub max_size: Option<Spanned<u64>>,
    /// Whether larger ones are deleted from the server.
    pub limit_flush: Option<Spanned<bool>>,
    /// How many messages are fetched in one poll at most.
    pub fetch_limit: Option<Spanned<u32>>,
    /// Whether messages that were fetched before are fetched again.
    pub fetch_all: Option<Spanned<bool>>,
    /// Whether messages that were fetched before are deleted first.
    pub flush: Option<Spanned<bool>>,
    /// After how many deletions the session is ended, and another one begun.
    pub expunge: Option<Spanned<u32>>,
    /// A command that looks at each header first, as its words; never empty.
    pub filter: Option<Spanned<Vec<String>>>,
    /// How many messages go through one connection to a server that takes mail.
    pub batch_limit: Option<Spanned<u32>>,
    /// What is changed in messages.
    pub edits: EditOptions,
    /// How the mail of several people is told apart.
    pub multidrop: Option<Spanned<MultidropOptions>>,
    /// The longest wait without any progress.
    pub timeout: Option<Spanned<Duration>>,
    /// Whether a password may cross a network unprotected; not in `[defaults]`.
    pub allow_plaintext: Option<Spanned<bool>>,
    /// What is said about TLS.
    pub tls: TlsOptions,
}

/// One `[account.NAME]`.
#[derive(Clone, Debug)]
pub struct Account {
    /// NAME.
    pub name: Spanned<String>,
    /// The mail server and the user there.
    pub server: Spanned<ServerUrl>,
    /// Everything else.
    pub options: Options,
}

/// One `[ssh.NAME]`.
#[derive(Clone, Debug)]
pub struct SshHost {
    /// NAME: the host as `via` spells it.
    pub name: Spanned<String>,
    /// The real host name or address.
    pub hostname: Option<Spanned<String>>,
    /// The port.
    pub port: Option<Spanned<u16>>,
    /// The user.
    pub user: Option<Spanned<String>>,
    /// Private key files.
    pub identity: Option<Vec<Spanned<PathBuf>>>,
    /// The user's known_hosts files.
    pub known_hosts: Option<Vec<Spanned<PathBuf>>>,
    /// Whether to compress.
    pub compression: Option<Spanned<bool>>,
    /// Silence after which a sign of life is asked for; zero never asks.
    pub keepalive: Option<Spanned<Duration>>,
    /// How long the connection may take.
    pub connect_timeout: Option<Spanned<Duration>>,
    /// Where the SSH password comes from.
    pub password: Option<Spanned<Password>>,
    /// Which agent is asked.
    pub agent: Option<Spanned<Agent>>,
    /// What carries the connection.
    pub backend: Option<Spanned<SshBackend>>,
    /// A command whose standard input and output are the connection, with the tokens of
    /// ssh_config(5); `none` for none.
    pub proxy_command: Option<Spanned<String>>,
    /// The local address to connect from.
    pub bind_address: Option<Spanned<String>>,
    /// Which addresses of the host are tried.
    pub address_family: Option<Spanned<AddressFamily>>,
    /// How many signs of life may be missing.
    pub keepalive_max: Option<Spanned<u32>>,
    /// The name the host is looked up under in the known_hosts files.
    pub host_key_alias: Option<Spanned<String>>,
    /// What happens when it is not found there.
    pub strict_host_key_checking: Option<Spanned<UnknownHostKey>>,
    /// Whether names are hashed when they are written there.
    pub hash_known_hosts: Option<Spanned<bool>>,
    /// Whether keys of the agent that are not among the identities are left alone.
    pub identities_only: Option<Spanned<bool>>,
    /// Certificates to show with the keys they belong to.
    pub certificate: Option<Vec<Spanned<PathBuf>>>,
    /// The methods of authentication to try, in order.
    pub preferred_authentications: Option<Spanned<Vec<String>>>,
    /// How often a person is asked for a password.
    pub password_prompts: Option<Spanned<u32>>,
    /// The ciphers to offer.
    pub ciphers: Option<Spanned<Vec<String>>>,
    /// The key exchange methods to offer.
    pub kex_algorithms: Option<Spanned<Vec<String>>>,
    /// The message authentication codes to offer.
    pub macs: Option<Spanned<Vec<String>>>,
    /// The algorithms of host keys to take.
    pub host_key_algorithms: Option<Spanned<Vec<String>>>,
    /// The algorithms to sign with.
    pub pubkey_accepted_algorithms: Option<Spanned<Vec<String>>>,
    /// When keys are renewed.
    pub rekey_limit: Option<Spanned<Rekey>>,
}

impl SshHost {
    /// A host about which nothing is said.
    #[must_use]
    pub fn new(name: Spanned<String>) -> Self {
        Self {
            name,
            hostname: None,
            port: None,
            user: None,
            identity: None,
            known_hosts: None,
            compression: None,
            keepalive: None,
            connect_timeout: None,
            password: None,
            agent: None,
            backend: None,
            proxy_command: None,
            bind_address: None,
            address_family: None,
            keepalive_max: None,
            host_key_alias: None,
            strict_host_key_checking: None,
            hash_known_hosts: None,
            identities_only: None,
            certificate: None,
            preferred_authentications: None,
            password_prompts: None,
            ciphers: None,
            kex_algorithms: None,
            macs: None,
            host_key_algorithms: None,
            pubkey_accepted_algorithms: None,
            rekey_limit: None,
        }
    }
}

/// One `[forward.NAME]`.
#[derive(Clone, Debug)]
pub struct Forward {
    /// NAME.
    pub name: Spanned<String>,
    /// Where clients connect.
    pub listen: Spanned<Listen>,
    /// Where their connections go.
    pub target: ForwardTarget,
    /// Idle time after which the SSH connection closes; zero keeps it open.
    pub idle: Option<Spanned<Duration>>,
    /// What is spoken there, when the port does not say it.
    pub protocol: Option<Spanned<Protocol>>,
    /// Whether programs of other users, and of other machines, may connect.
    pub allow_any: bool,
}

impl Forward {
    /// The SSH hosts to go through, if it says so itself.
    pub(crate) fn via(&self) -> &[SshTarget] {
        match &self.target {
            ForwardTarget::Through { via, .. } => &via.value,
            ForwardTarget::Account(_) => &[],
        }
    }
}

/// Where the connections of a forward go.
#[derive(Clone, Debug)]
pub enum ForwardTarget {
    /// To a server behind SSH hosts, whoever logs in there.
    Through {
        /// The SSH hosts to go through, first hop first; never empty.
        via: Spanned<Vec<SshTarget>>,
        /// The server, as the last SSH host sees it.
        to: Spanned<HostPort>,
    },
    /// Into the mailbox of this account, for clients that have a token (`login = "local-token"`).
    Account(Spanned<String>),
}

/// Where a password comes from, as written.
#[derive(Clone, Debug)]
pub enum Password {
    /// The first line that a shell command prints.
    Command(String),
    /// A credential that systemd passed, by its name.
    Credential(String),
    /// An environment variable.
    Env(String),
    /// The first line of a file.
    File(PathBuf),
    /// The item of the desktop's keyring with these attributes; without any, the usual ones.
    Keyring(Vec<(String, String)>),
    /// The password itself.
    Literal(SecretString),
    /// An entry of this .netrc file, or of the usual one.
    Netrc(Option<PathBuf>),
    /// A person is asked.
    Prompt,
}

/// Which SSH agent is asked for keys.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Agent {
    /// None.
    Off,
    /// The one at this socket.
    Socket(PathBuf),
}

/// What carries a connection to an SSH host.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SshBackend {
    /// The client in this program.
    BuiltIn,
    /// The program `ssh`.
    OpenSsh,
}

/// What the table in the manual is compared with.
#[cfg(test)]
pub(crate) mod limits {
    pub(crate) use super::load::SIZE_LIMIT;
}

#[cfg(test)]
mod tests;
