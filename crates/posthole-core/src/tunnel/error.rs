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
use crate::plan::HostPort;
use crate::transport::dial::{DialError, plain};

use super::known_hosts::KnownHostsError;

/// Why there is no tunnel.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TunnelError {
    /// The server accepted none of the logins we have.
    #[error(transparent)]
    AuthenticationFailed(Box<AuthenticationFailed>),
    /// The SSH server would not connect to the mail server.
    #[error("{host} could not open a channel to {to}: {}", refusal_text(refusal, text.as_deref()))]
    ChannelRefused {
        /// The SSH server.
        host: String,
        /// Where the channel should have led.
        to: HostPort,
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
    /// Nothing is left of the host key algorithms to offer.
    #[error("no host key algorithm is left to offer to {host}: we have none of {wanted}")]
    NoHostKeyAlgorithm {
        /// The SSH server.
        host: String,
        /// The algorithms that are allowed (`HostKeyAlgorithms`).
        wanted: String,
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
}

impl TunnelError {
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
            Self::IdentityMissing { .. }
            | Self::KnownHosts(_)
            | Self::NoHostKeyAlgorithm { .. } => TunnelErrorKind::Local,
            Self::NotSsh { .. } | Self::Protocol { .. } => TunnelErrorKind::Protocol,
            Self::Unanswered { .. } => TunnelErrorKind::Unanswered,
        }
    }

    /// Whether the same attempt may well succeed later without anybody doing anything.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Dial(error) => error.is_temporary(),
            Self::ConnectionLost { .. } | Self::Timeout { .. } => true,
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
                refusal,
                text,
            } => Some(channel_hint(host, to, *refusal, text.as_deref())),
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
            | Self::Protocol { .. }
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
            Self::IdentityMissing { .. } => {
                Some("correct the path, or leave it out to use the usual keys".to_owned())
            }
            Self::KnownHosts(error) => error.hint(),
            Self::NoHostKeyAlgorithm { .. } => Some(
                "allow one more in `HostKeyAlgorithms`, such as ssh-ed25519 or rsa-sha2-512"
                    .to_owned(),
            ),
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

fn channel_hint(host: &str, to: &HostPort, refusal: Refusal, text: Option<&str>) -> String {
    let text = text.unwrap_or_default().to_ascii_lowercase();
    match refusal {
        Refusal::AdministrativelyProhibited => format!(
            "{host} does not let this login forward to {to}: AllowTcpForwarding and PermitOpen in \
             its sshd_config(5), or permitopen and restrict in authorized_keys, decide that"
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
    /// The server's parting words or its banner.
    pub said: Option<String>,
    /// Whether some secret could not be asked for because there is no terminal.
    pub no_terminal: bool,
}

/// One thing that was tried to log in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Attempt {
    /// The method and key, such as `publickey ED25519 SHA256:… from /home/x/.ssh/id_ed25519`.
    pub what: String,
    /// What came of it.
    pub outcome: String,
}

impl fmt::Display for AuthenticationFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} did not let us in", self.login)?;
        for (index, Attempt { what, outcome }) in self.tried.iter().enumerate() {
            let separator = if index == 0 { ": " } else { "; " };
            write!(f, "{separator}{what}: {outcome}")?;
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
    fn hint(&self) -> String {
        let takes = |method: &str| self.offered.iter().any(|offered| offered == method);
        let is_too_open = |attempt: &Attempt| attempt.outcome.contains("others can read");
        if self.tried.iter().any(is_too_open) {
            "make the key file private: chmod 600".to_owned()
        } else if self.no_terminal {
            "run it in a terminal to be asked, hold the key in ssh-agent, or name a source for the \
             SSH password in the configuration"
                .to_owned()
        } else if takes("publickey") && !takes("password") && !takes("keyboard-interactive") {
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
        let failed = AuthenticationFailed {
            login: "msingh@popserver".to_owned(),
            tried: vec![Attempt {
                what: "publickey ED25519 SHA256:x from /k".to_owned(),
                outcome: "not accepted".to_owned(),
            }],
            offered: vec!["publickey".to_owned()],
            said: None,
            no_terminal: false,
        };
        let error = TunnelError::AuthenticationFailed(Box::new(failed));
        assert_eq!(
            error.to_string(),
            "msingh@popserver did not let us in: publickey ED25519 SHA256:x from /k: not accepted; \
             the server takes publickey"
        );
        assert!(error.hint().unwrap().contains("takes keys only"));
    }
}
