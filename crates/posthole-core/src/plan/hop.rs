//! One SSH host of the way, resolved.
//!
//! The fields stand for settings of ssh_config(5), which their docs name, and hold them with every
//! token expanded and every default filled in.

use std::path::PathBuf;
use std::time::Duration;

use super::{HostPort, PasswordSource};

/// One SSH host on the way.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Hop {
    /// The host as written in `via`; what `trust` and messages call it.
    pub name: String,
    /// The address to connect to (`HostName`, `Port`).
    pub address: HostPort,
    /// The SSH user (`User`).
    pub user: String,
    /// What carries the connection (ours, or ssh(1)).
    pub backend: Backend,

    /// A command whose standard input and output are the connection (`ProxyCommand`).
    pub proxy_command: Option<String>,
    /// The local address to connect from (`BindAddress`).
    pub bind_address: Option<String>,
    /// Which addresses of the host are tried (`AddressFamily`).
    pub address_family: AddressFamily,
    /// How long the connection may take, up to and including the key exchange (`ConnectTimeout`).
    pub connect_timeout: Duration,
    /// Silence after which a sign of life is asked for; zero never asks (`ServerAliveInterval`).
    pub keepalive: Duration,
    /// How many such questions may go unanswered (`ServerAliveCountMax`).
    pub keepalive_max: u32,
    /// Whether to compress (`Compression`).
    pub compression: bool,
    /// Which algorithms are offered.
    pub algorithms: Algorithms,
    /// When the keys of the connection are renewed (`RekeyLimit`).
    pub rekey: Rekey,

    /// known_hosts files; new keys are written to the first (`UserKnownHostsFile`,
    /// `GlobalKnownHostsFile`).
    pub known_hosts: Vec<PathBuf>,
    /// The name the host is looked up under in them (`HostKeyAlias`).
    pub host_key_alias: Option<String>,
    /// What happens when it is not found there (`StrictHostKeyChecking`).
    pub unknown_host_key: UnknownHostKey,
    /// Whether names are hashed when they are written there (`HashKnownHosts`).
    pub hash_known_hosts: bool,

    /// Private key files to try, in order (`IdentityFile`).
    pub identities: Vec<PathBuf>,
    /// Whether the person named the identities, so that a missing file is an error.
    pub identities_named: bool,
    /// Whether keys of the agent that are not among the identities are left alone
    /// (`IdentitiesOnly`).
    pub identities_only: bool,
    /// Certificates to show with the keys they belong to (`CertificateFile`).
    pub certificates: Vec<PathBuf>,
    /// The agent's socket (`IdentityAgent`).
    pub agent: Option<PathBuf>,
    /// The methods of authentication to try, in order (`PreferredAuthentications`); `None` is our
    /// own order.
    pub methods: Option<Vec<String>>,
    /// The SSH password, when it does not come from a prompt.
    pub password: PasswordSource,
    /// How often a person is asked for it (`NumberOfPasswordPrompts`).
    pub password_prompts: u32,
}

impl Hop {
    /// A host about which nothing is said.
    ///
    /// It has no keys, no agent and no known_hosts files; what else ssh_config(5) gives a default
    /// has that one, or ours where the manual says so.
    #[must_use]
    pub fn new(name: &str, user: &str) -> Self {
        Self {
            name: name.to_owned(),
            address: HostPort {
                host: name.to_owned(),
                port: SSH_PORT,
            },
            user: user.to_owned(),
            backend: Backend::BuiltIn,
            proxy_command: None,
            bind_address: None,
            address_family: AddressFamily::Any,
            connect_timeout: CONNECT_TIMEOUT,
            keepalive: KEEPALIVE,
            keepalive_max: KEEPALIVE_MAX,
            compression: false,
            algorithms: Algorithms::default(),
            rekey: Rekey::default(),
            known_hosts: Vec::new(),
            host_key_alias: None,
            unknown_host_key: UnknownHostKey::Ask,
            hash_known_hosts: false,
            identities: Vec::new(),
            identities_named: false,
            identities_only: false,
            certificates: Vec::new(),
            agent: None,
            methods: None,
            password: PasswordSource::Prompt,
            password_prompts: PASSWORD_PROMPTS,
        }
    }

    /// `user@name`, as prompts and messages say it.
    #[must_use]
    pub fn login(&self) -> String {
        format!("{}@{}", self.user, self.name)
    }
}

/// What carries a connection to an SSH host.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub enum Backend {
    /// The client in this program.
    #[default]
    BuiltIn,
    /// The program `ssh`.
    OpenSsh {
        /// What only it can do, such as `GSSAPIAuthentication`; `None` where the person asked for
        /// it outright.
        needed_for: Option<String>,
    },
}

/// Which addresses of a host are tried.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum AddressFamily {
    /// All.
    #[default]
    Any,
    /// IPv4 (`inet`).
    Inet,
    /// IPv6 (`inet6`).
    Inet6,
}

/// What happens when a host key is not known. A key that differs from a known one is refused
/// whatever this says.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum UnknownHostKey {
    /// A person on a terminal is asked, and without one it is refused.
    #[default]
    Ask,
    /// It is recorded (`accept-new`).
    Record,
    /// It is refused (`yes`).
    Refuse,
}

/// The names of the algorithms to offer, in order; `None` is our own choice.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Algorithms {
    /// `Ciphers`.
    pub ciphers: Option<Vec<String>>,
    /// `KexAlgorithms`.
    pub key_exchanges: Option<Vec<String>>,
    /// `MACs`.
    pub macs: Option<Vec<String>>,
    /// `HostKeyAlgorithms`.
    pub host_keys: Option<Vec<String>>,
    /// `PubkeyAcceptedAlgorithms`: for signatures of ours, these and no others.
    pub public_keys: Option<Vec<String>>,
}

/// When keys are renewed; `None` is when RFC 4253 §9 recommends it.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Rekey {
    /// After this many octets in either direction.
    pub octets: Option<u64>,
    /// After this time.
    pub time: Option<Duration>,
}

/// RFC 4253 §4.1.
pub(super) const SSH_PORT: u16 = 22;
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
pub(crate) const KEEPALIVE: Duration = Duration::from_secs(30);
/// ssh_config(5), `ServerAliveCountMax`.
pub(crate) const KEEPALIVE_MAX: u32 = 3;
/// ssh_config(5), `NumberOfPasswordPrompts`.
pub(crate) const PASSWORD_PROMPTS: u32 = 3;
