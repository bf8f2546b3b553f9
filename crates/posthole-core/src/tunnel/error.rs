//! Why there is no tunnel, sorted by who must act.
//!
//! Every error names its host, says what failed and why in [`Display`](std::fmt::Display), and what
//! to do next in [`TunnelError::hint`]. Text that came from a server is cleaned before it gets in.
//! Errors can be cloned, because accounts that wait for one connection share its failure.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::ask::Unanswered;
use crate::plan::{Hop, HostPort};
use crate::transport::dial::{DialError, plain};

use super::known_hosts::KnownHostsError;

/// Why there is no tunnel.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TunnelError {
    /// The server accepted none of the logins we have.
    #[error(transparent)]
    AuthenticationFailed(Box<AuthenticationFailed>),
    /// The SSH server would not connect to the mail server, or to the next SSH server.
    #[error(
        "{host} could not open a channel to {}: {}",
        target_text(to, next.as_deref()),
        refusal_text(refusal, text.as_deref())
    )]
    ChannelRefused {
        /// The SSH server.
        host: String,
        /// Where the channel should have led.
        to: HostPort,
        /// The SSH host that is there, if it is not the mail server.
        next: Option<String>,
        /// The reason code (RFC 4254 §5.1).
        refusal: Refusal,
        /// The server's own words.
        text: Option<String>,
    },
    /// The SSH connection broke.
    #[error("lost the SSH connection to {host} during {during}: {reason}")]
    ConnectionLost {
        /// The SSH server.
        host: String,
        /// What was going on.
        during: Phase,
        /// Why, as far as it is known.
        reason: String,
    },
    /// The SSH server could not be reached.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The host key is another one than was recorded.
    #[error(transparent)]
    HostKeyChanged(Box<HostKeyChanged>),
    /// A person said that the host key is not to be trusted.
    #[error("the host key {fingerprint} of {host} was not accepted")]
    HostKeyDeclined {
        /// The host as known_hosts spells it.
        host: String,
        /// The key's fingerprint.
        fingerprint: String,
    },
    /// The host key is marked as revoked.
    #[error("the {what} of {host} is revoked by {}:{line}", file.display())]
    HostKeyRevoked {
        /// The host as known_hosts spells it.
        host: String,
        /// What is revoked, such as `host key SHA256:…`.
        what: String,
        /// The file that says so.
        file: PathBuf,
        /// The line in it.
        line: usize,
    },
    /// The host key is recorded nowhere and nobody can be asked.
    #[error("the host key of {host} is not known: {algorithm} {fingerprint}{}", also(flaw.as_ref()))]
    HostKeyUnknown {
        /// The host as known_hosts spells it.
        host: String,
        /// The key's algorithm.
        algorithm: String,
        /// The key's fingerprint.
        fingerprint: String,
        /// What is wrong with the certificate that came with it.
        flaw: Option<String>,
        /// The command that records the key after a look at it.
        trust: String,
    },
    /// A key file that the person named is not there.
    #[error("the key file {} for {login} cannot be read: {}", path.display(), plain(error))]
    IdentityMissing {
        /// `user@host` of the login it is for.
        login: String,
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: Arc<io::Error>,
    },
    /// A known_hosts file cannot be used.
    #[error(transparent)]
    KnownHosts(#[from] KnownHostsError),
    /// The server and we have no algorithm of some kind in common.
    #[error("cannot talk SSH with {host}: {what}")]
    NothingInCommon {
        /// The SSH server.
        host: String,
        /// The kind, and what the server has.
        what: String,
    },
    /// The program `ssh` failed.
    #[error("ssh did not get through to {host}: {reason}")]
    OpenSsh {
        /// The SSH server.
        host: String,
        /// Who must act.
        kind: TunnelErrorKind,
        /// What it said.
        reason: String,
        /// What the reader can do about it.
        hint: Option<String>,
    },
    /// The other side is not an SSH server at all.
    #[error("{host} does not answer as an SSH server: {reason}")]
    NotSsh {
        /// The host.
        host: String,
        /// What was wrong.
        reason: String,
    },
    /// The server and we do not agree about SSH.
    #[error("cannot talk SSH with {host}: {reason}")]
    Protocol {
        /// The SSH server.
        host: String,
        /// What was wrong.
        reason: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// The program that should have connected to the mail server is not to be started.
    #[error("cannot start the plugin {program}: {reason}")]
    Plugin {
        /// The program.
        program: String,
        /// Why.
        reason: String,
    },
    /// The program that should have connected to the SSH server failed.
    #[error("the proxy command for {host} failed: {reason}")]
    ProxyCommand {
        /// The SSH server.
        host: String,
        /// The command.
        command: String,
        /// How it ended, and what it said.
        reason: String,
        /// Whether there is no such program.
        is_missing: bool,
    },
    /// A step took too long.
    #[error("{host} did not finish {during} within {}", humantime::format_duration(*after))]
    Timeout {
        /// The SSH server.
        host: String,
        /// What was going on.
        during: Phase,
        /// How long was waited, questions to a person not counted.
        after: Duration,
    },
    /// A person gave no answer.
    #[error("cannot log in to {host}: {reason}")]
    Unanswered {
        /// The SSH server.
        host: String,
        /// Why.
        reason: Unanswered,
    },
    /// The configuration allows only algorithms that we do not have.
    #[error("cannot talk SSH with {host}: {what}")]
    Unsupported {
        /// The SSH server.
        host: String,
        /// Which algorithms.
        what: String,
    },
}

impl TunnelError {
    /// Names the SSH host that a channel was to lead to.
    pub(super) fn on_the_way_to(mut self, hop: &Hop) -> Self {
        if let Self::ChannelRefused { next, .. } = &mut self {
            next.get_or_insert_with(|| hop.name.clone());
        }
        self
    }

    /// Who must act, which decides the exit code and whether to try again.
    #[must_use]
    pub fn kind(&self) -> TunnelErrorKind {
        match self {
            Self::AuthenticationFailed(_) => TunnelErrorKind::Authentication,
            Self::ChannelRefused { .. } => TunnelErrorKind::Refused,
            Self::ConnectionLost { .. } | Self::Dial(_) | Self::Timeout { .. } => {
                TunnelErrorKind::Network
            }
            Self::HostKeyChanged(_)
            | Self::HostKeyDeclined { .. }
            | Self::HostKeyRevoked { .. }
            | Self::HostKeyUnknown { .. } => TunnelErrorKind::HostKey,
            Self::OpenSsh { kind, .. } => *kind,
            Self::ProxyCommand {
                is_missing: false, ..
            } => TunnelErrorKind::Network,
            Self::IdentityMissing { .. }
            | Self::KnownHosts(_)
            | Self::Plugin { .. }
            | Self::ProxyCommand { .. }
            | Self::Unsupported { .. } => TunnelErrorKind::Local,
            Self::NothingInCommon { .. } | Self::NotSsh { .. } | Self::Protocol { .. } => {
                TunnelErrorKind::Protocol
            }
            Self::Unanswered { .. } => TunnelErrorKind::Unanswered,
        }
    }

    /// Whether it is only that nobody has answered a question.
    pub(crate) fn wants_answer(&self) -> bool {
        match self {
            Self::AuthenticationFailed(failed) => failed.no_terminal,
            _ => self.kind() == TunnelErrorKind::Unanswered,
        }
    }

    /// Whether the same attempt may well succeed later without anybody doing anything.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Dial(error) => error.is_temporary(),
            Self::ConnectionLost { .. } | Self::Timeout { .. } => true,
            Self::OpenSsh { kind, .. } => *kind == TunnelErrorKind::Network,
            Self::ProxyCommand { is_missing, .. } => !is_missing,
            Self::ChannelRefused { refusal, .. } => {
                matches!(refusal, Refusal::ConnectFailed | Refusal::ResourceShortage)
            }
            _ => false,
        }
    }

    /// What the reader can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::AuthenticationFailed(failed) => Some(failed.hint()),
            Self::ChannelRefused {
                host,
                to,
                next,
                refusal,
                text,
            } => Some(channel_hint(
                host,
                to,
                next.is_some(),
                *refusal,
                text.as_deref(),
            )),
            Self::ConnectionLost {
                during: Phase::KeyExchange,
                ..
            } => Some(
                "the server may have too many connections, or keep this address out; its log says"
                    .to_owned(),
            ),
            Self::NotSsh { .. }
            | Self::Timeout {
                during: Phase::KeyExchange,
                ..
            } => Some("check that the port is that of an SSH server".to_owned()),
            Self::ConnectionLost { .. }
            | Self::HostKeyDeclined { .. }
            | Self::Timeout { .. }
            | Self::Unanswered { .. } => None,
            Self::Dial(error) => error.hint(),
            Self::HostKeyChanged(changed) => Some(changed.hint()),
            Self::HostKeyRevoked { .. } => {
                Some("somebody may be listening in; ask the host's administrator".to_owned())
            }
            Self::HostKeyUnknown { trust, .. } => Some(format!(
                "compare the fingerprint with the host's own, then run: {trust}"
            )),
            Self::OpenSsh { hint, .. } | Self::Protocol { hint, .. } => hint.clone(),
            Self::ProxyCommand { command, .. } => {
                Some(format!("run it by hand to see what it does: {command}"))
            }
            Self::Plugin { .. } => {
                Some("a plugin is run without a shell: the first word must be a program".to_owned())
            }
            Self::NothingInCommon { host, .. } => Some(format!(
                "allow one of these in [ssh.{}]; if the built-in client has none of them, let ssh \
                 itself connect: backend = \"openssh\"",
                key(host)
            )),
            Self::Unsupported { host, .. } => Some(format!(
                "allow another one, or let ssh itself connect: backend = \"openssh\" in [ssh.{}]",
                key(host)
            )),
            Self::IdentityMissing { .. } => {
                Some("correct the path, or leave it out to use the usual keys".to_owned())
            }
            Self::KnownHosts(error) => error.hint(),
        }
    }
}

/// The host key is another one than was recorded: a new installation, or somebody in between.
#[derive(Clone, Debug, thiserror::Error)]
#[error(
    "the host key of {host} has changed: it is {algorithm} {fingerprint} now, but {}:{line} records \
     {recorded}{}",
    file.display(),
    also(flaw.as_ref())
)]
#[non_exhaustive]
pub struct HostKeyChanged {
    /// The host as known_hosts spells it.
    pub host: String,
    /// Algorithm of the key the server showed.
    pub algorithm: String,
    /// Its fingerprint.
    pub fingerprint: String,
    /// Algorithm and fingerprint of the recorded key.
    pub recorded: String,
    /// The file that records it.
    pub file: PathBuf,
    /// The line in it.
    pub line: usize,
    /// What is wrong with the certificate that came with the key.
    pub flaw: Option<String>,
}

impl HostKeyChanged {
    fn hint(&self) -> String {
        format!(
            "somebody may be listening in. Ask the host's administrator; only if the key was really \
             changed, remove the old one with `ssh-keygen -R {} -f {}`",
            shell_words::quote(&self.host),
            shell_words::quote(&self.file.display().to_string()),
        )
    }
}

/// What more is to be said.
fn also(more: Option<&String>) -> String {
    more.map_or_else(String::new, |more| format!("; {more}"))
}

/// Who must act on a [`TunnelError`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum TunnelErrorKind {
    /// The person: no key or password they gave is accepted.
    Authentication,
    /// The person: decide about the host key.
    HostKey,
    /// The person: a file on this machine is missing or broken.
    Local,
    /// Nobody: the network or the host is down for now.
    Network,
    /// The server does not speak the protocol.
    Protocol,
    /// The server's administrator: it does not let the channel through.
    Refused,
    /// The person: a question was not answered.
    Unanswered,
}

/// What was going on when something went wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Phase {
    /// The login.
    Authentication,
    /// The opening of a channel.
    Channel,
    /// The exchange of banners and keys.
    KeyExchange,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Authentication => "the login",
            Self::Channel => "the opening of a channel",
            Self::KeyExchange => "the key exchange",
        })
    }
}

/// Why a channel was refused (RFC 4254 §5.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Refusal {
    /// The server does not allow it.
    AdministrativelyProhibited,
    /// The server tried and could not connect.
    ConnectFailed,
    /// Another reason code.
    Other(u32),
    /// The server is short of something.
    ResourceShortage,
    /// The server does not know direct-tcpip channels.
    UnknownChannelType,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AdministrativelyProhibited => f.write_str("administratively prohibited"),
            Self::ConnectFailed => f.write_str("connect failed"),
            Self::Other(code) => write!(f, "reason {code}"),
            Self::ResourceShortage => f.write_str("resource shortage"),
            Self::UnknownChannelType => f.write_str("unknown channel type"),
        }
    }
}

fn refusal_text(refusal: &Refusal, text: Option<&str>) -> String {
    match text {
        // OpenSSH says "open failed" for a prohibition, which adds nothing.
        Some(text) if !text.is_empty() && text != "open failed" => format!("{refusal}: {text}"),
        _ => refusal.to_string(),
    }
}

/// A name as a key of the configuration file: bare where TOML allows it.
fn key(name: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.chars().all(is_bare) {
        name.to_owned()
    } else {
        format!("\"{name}\"")
    }
}

fn target_text(to: &HostPort, next: Option<&str>) -> String {
    match next {
        Some(next) if next != to.host => format!("{next} ({to})"),
        _ => to.to_string(),
    }
}

fn channel_hint(
    host: &str,
    to: &HostPort,
    is_ssh: bool,
    refusal: Refusal,
    text: Option<&str>,
) -> String {
    let text = text.unwrap_or_default().to_ascii_lowercase();
    match refusal {
        Refusal::AdministrativelyProhibited => format!(
            "{host} does not let this login forward to {to}: AllowTcpForwarding and PermitOpen in \
             its sshd_config(5), or permitopen and restrict in authorized_keys, decide that; nor is \
             anything forwarded for a password that has expired"
        ),
        Refusal::ConnectFailed if text.contains("refused") && is_ssh => format!(
            "nothing listens on port {} of {} as {host} sees it: check host and port of the SSH \
             server",
            to.port, to.host
        ),
        Refusal::ConnectFailed if text.contains("refused") => format!(
            "nothing listens on port {} of {} as {host} sees it: check the server address, 110 is \
             POP3's usual port",
            to.port, to.host
        ),
        Refusal::ConnectFailed if text.contains("not known") || text.contains("resolution") => {
            format!("{host} cannot resolve the name {}", to.host)
        }
        Refusal::ConnectFailed => {
            format!("{host} could not connect to {to}: check host and port as {host} sees them")
        }
        Refusal::UnknownChannelType => {
            format!("{host} does not support TCP forwarding")
        }
        Refusal::Other(_) | Refusal::ResourceShortage => {
            format!("{host} may have too many connections open; try again later")
        }
    }
}

/// What was tried in vain to log in.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AuthenticationFailed {
    /// `user@host`.
    pub login: String,
    /// What was tried, and what came of it, in that order.
    pub tried: Vec<Attempt>,
    /// The methods that the server would still take, as far as we know them.
    pub offered: Vec<String>,
    /// The methods that were to be tried, where that was said (`PreferredAuthentications`).
    pub allowed: Option<Vec<String>>,
    /// The server's parting words or its banner.
    pub said: Option<String>,
    /// Whether some secret could not be asked for because there is no terminal.
    pub no_terminal: bool,
}

/// One thing that was tried to log in, or could not be tried.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Attempt {
    /// The method and key, such as `publickey ED25519 SHA256:… from /home/x/.ssh/id_ed25519`.
    pub what: String,
    /// What came of it.
    pub outcome: String,
    /// Whether it was put to the server, which said no.
    pub refused: bool,
    hint: Option<Hint>,
}

/// What to do about an attempt.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Hint {
    /// If nothing else speaks for itself.
    Perhaps(String),
    Surely(String),
}

impl Attempt {
    /// Something that the server refused.
    pub(super) fn refused(what: impl Into<String>, outcome: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            outcome: outcome.into(),
            refused: true,
            hint: None,
        }
    }

    /// Something that was not even put to the server.
    pub(super) fn missed(what: impl Into<String>, outcome: impl Into<String>) -> Self {
        Self {
            refused: false,
            ..Self::refused(what, outcome)
        }
    }

    /// Adds what to do about it.
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(Hint::Surely(hint.into()));
        self
    }

    /// Adds what may be done about it, if it is the cause at all.
    pub(super) fn perhaps(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(Hint::Perhaps(hint.into()));
        self
    }
}

impl fmt::Display for AuthenticationFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.was_refused() {
            write!(f, "{} did not let us in", self.login)?;
        } else {
            write!(f, "cannot log in to {}", self.login)?;
        }
        let mut separator = ": ";
        for same in self.tried.chunk_by(PartialEq::eq) {
            let Attempt { what, outcome, .. } = &same[0];
            write!(f, "{separator}{what}: {outcome}")?;
            if same.len() > 1 {
                write!(f, " ({} times)", same.len())?;
            }
            separator = "; ";
        }
        if self.tried.is_empty() {
            f.write_str(": there was no key or password to try")?;
        }
        if !self.offered.is_empty() {
            write!(f, "; the server takes {}", self.offered.join(", "))?;
        }
        if let Some(said) = &self.said {
            write!(f, "; it says: {said}")?;
        }
        Ok(())
    }
}

impl std::error::Error for AuthenticationFailed {}

impl AuthenticationFailed {
    fn was_refused(&self) -> bool {
        self.tried.iter().any(|attempt| attempt.refused)
    }

    fn hint(&self) -> String {
        let hints = || {
            self.tried
                .iter()
                .filter_map(|attempt| attempt.hint.as_ref())
        };
        let sure = hints().find_map(|hint| match hint {
            Hint::Surely(hint) => Some(hint),
            Hint::Perhaps(_) => None,
        });
        let perhaps = hints().find_map(|hint| match hint {
            Hint::Perhaps(hint) => Some(hint),
            Hint::Surely(_) => None,
        });
        let takes = |method: &str| self.offered.iter().any(|offered| offered == method);
        let takes_keys_only =
            takes("publickey") && !takes("password") && !takes("keyboard-interactive");
        let excluded = |allowed: &Vec<String>| {
            !self.offered.is_empty() && !allowed.iter().any(|method| takes(method))
        };
        if let Some(hint) = sure {
            hint.clone()
        } else if let Some(hint) = perhaps.filter(|_| !self.was_refused()) {
            hint.clone()
        } else if self.no_terminal {
            "run it in a terminal to be asked, hold the key in ssh-agent, or name a source for the \
             SSH password in the configuration"
                .to_owned()
        } else if let Some(allowed) = self.allowed.as_ref().filter(|allowed| excluded(allowed)) {
            format!(
                "PreferredAuthentications allows only {}",
                allowed.join(", ")
            )
        } else if takes_keys_only {
            format!(
                "the server takes keys only: put the public key into ~/.ssh/authorized_keys of {}, \
                 or name the right key with `identity`",
                self.login
            )
        } else {
            "check the SSH user name, the key and the password".to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(refusal: Refusal, text: &str) -> TunnelError {
        TunnelError::ChannelRefused {
            host: "popserver".to_owned(),
            to: HostPort {
                host: "localhost".to_owned(),
                port: 111,
            },
            next: None,
            refusal,
            text: Some(text.to_owned()),
        }
    }

    #[test]
    fn a_refused_channel_explains_itself_by_reason() {
        let prohibited = refused(Refusal::AdministrativelyProhibited, "open failed");
        assert_eq!(
            prohibited.to_string(),
            "popserver could not open a channel to localhost:111: administratively prohibited"
        );
        assert!(
            prohibited
                .hint()
                .unwrap()
                .contains("AllowTcpForwarding and PermitOpen")
        );
        assert!(!prohibited.is_temporary());

        let closed = refused(Refusal::ConnectFailed, "Connection refused");
        assert!(
            closed
                .to_string()
                .ends_with("connect failed: Connection refused")
        );
        assert!(
            closed
                .hint()
                .unwrap()
                .starts_with("nothing listens on port 111 of localhost")
        );
        assert!(closed.is_temporary());
    }

    #[test]
    fn a_failed_login_lists_what_was_tried_and_what_is_offered() {
        let mut failed = AuthenticationFailed {
            login: "msingh@popserver".to_owned(),
            tried: vec![Attempt::refused(
                "publickey ED25519 SHA256:x from /k",
                "not accepted",
            )],
            offered: vec!["publickey".to_owned()],
            allowed: None,
            said: None,
            no_terminal: false,
        };
        failed
            .tried
            .extend(vec![Attempt::refused("password", "not accepted"); 3]);
        let error = TunnelError::AuthenticationFailed(Box::new(failed));
        assert_eq!(
            error.to_string(),
            "msingh@popserver did not let us in: publickey ED25519 SHA256:x from /k: not accepted; \
             password: not accepted (3 times); the server takes publickey"
        );
        assert!(error.hint().unwrap().contains("takes keys only"));
    }
}
