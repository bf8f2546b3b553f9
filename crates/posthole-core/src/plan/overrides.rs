//! What the command line says, which wins over the configuration file.

use std::path::PathBuf;
use std::time::Duration;

use super::{Auth, Keep, StatusFields};
use crate::config::{AccountArg, Agent, Deliver, Password, Pin, Rewrite, SshTarget, TlsWhen};

/// The flags of the command line; `None` is a flag that was not given.
///
/// Each value is parsed by its own `FromStr` or by the `parse_` functions of
/// [`config`](crate::config), whose errors carry a help line of their own.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// The accounts to work on; none means all of the file.
    pub accounts: Vec<AccountArg>,
    /// Where messages go; never empty.
    pub deliver: Option<Vec<Deliver>>,
    /// Whom they are for, as destinations with an envelope are told; never empty.
    pub recipients: Option<Vec<String>>,
    /// The SSH hosts to go through, first hop first; an empty list connects directly.
    pub via: Option<Vec<SshTarget>>,
    /// How to log in to the mail server.
    pub auth: Option<Auth>,
    /// Where the mail password comes from.
    pub password: Option<Password>,
    /// What happens to fetched messages on the server.
    pub keep: Option<Keep>,
    /// The most octets a message may have to be fetched.
    pub limit: Option<u64>,
    /// `--max-size`: the largest message that is taken.
    pub max_size: Option<u64>,
    /// Whether larger ones are deleted from the server.
    pub limit_flush: Option<bool>,
    /// How many messages are fetched in one poll at most.
    pub fetch_limit: Option<u32>,
    /// Whether messages that were fetched before are fetched again.
    pub fetch_all: Option<bool>,
    /// Whether messages that were fetched before are deleted first.
    pub flush: Option<bool>,
    /// After how many deletions the session is ended, and another one begun.
    pub expunge: Option<u32>,
    /// A command that looks at each header first, as its words; empty for none.
    pub filter: Option<Vec<String>>,
    /// How many messages go through one connection to a server that takes mail.
    pub batch_limit: Option<u32>,
    /// What is changed in messages.
    pub edits: EditOverrides,
    /// The longest wait without any progress.
    pub timeout: Option<Duration>,
    /// Whether a password may cross a network unprotected.
    pub allow_plaintext: Option<bool>,
    /// What holds for every SSH host on the way.
    pub ssh: SshOverrides,
    /// What is said about TLS.
    pub tls: TlsOverrides,
}

/// The flags that are about changes to messages.
#[derive(Clone, Debug, Default)]
pub struct EditOverrides {
    /// Whether a `Received` field is put in front.
    pub received: Option<bool>,
    /// Whether it names the account.
    pub tracepolls: Option<bool>,
    /// Whether a `Return-Path` is put in front where there is none.
    pub return_path: Option<bool>,
    /// Which host is appended to addresses without one.
    pub rewrite: Option<Rewrite>,
    /// What happens to `Status` and `X-Mozilla-Status`.
    pub drop_status: Option<StatusFields>,
    /// Whether `Delivered-To` is taken out.
    pub drop_delivered: Option<bool>,
    /// Whether quoted-printable text becomes eight-bit text.
    pub mimedecode: Option<bool>,
    /// Whether carriage returns are taken out.
    pub strip_cr: Option<bool>,
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

/// The flags that are about TLS.
#[derive(Clone, Debug, Default)]
pub struct TlsOverrides {
    /// When it is started.
    pub when: Option<TlsWhen>,
    /// Files with the authorities to trust instead of the system's.
    pub ca_file: Option<Vec<PathBuf>>,
    /// Our certificate.
    pub certificate: Option<PathBuf>,
    /// Files with lists of revoked certificates.
    pub crl_file: Option<Vec<PathBuf>>,
    /// Certificates that are trusted whatever they say.
    pub fingerprint: Option<Vec<Pin>>,
    /// The private key of our certificate.
    pub key: Option<PathBuf>,
    /// The name that the server's certificate must be for.
    pub name: Option<String>,
}
