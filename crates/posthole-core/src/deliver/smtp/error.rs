//! Why a server that takes mail cannot be used at all.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use posthole_proto::sasl::{self, Mechanism};
use posthole_proto::smtp::{self, CommandKind};

use crate::error::Class;
use crate::secret::SecretError;
use crate::session::NoMethod;
use crate::transport::dial::DialError;
use crate::transport::tls::TlsError;
use crate::tunnel::TunnelError;

/// Why a server could not take any mail.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SmtpError {
    /// It could not be reached.
    #[error(transparent)]
    Dial(DialError),
    /// Its socket could not be connected to.
    #[error("cannot connect to the socket {}", path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There was more after the answer to STARTTLS, before TLS began.
    #[error("{server} said more than its answer to STARTTLS before TLS began")]
    Injected {
        /// The server.
        server: String,
    },
    /// It refused the login.
    #[error("{server} refused the login by {mechanism}: {text}")]
    LoginRefused {
        /// The server.
        server: String,
        /// How it was tried.
        mechanism: Mechanism,
        /// The code and its words, cleaned.
        text: String,
        /// Whether it says that it never will.
        for_good: bool,
    },
    /// The connection broke.
    #[error("the connection to {server} was lost")]
    Lost {
        /// The server.
        server: String,
        /// Why.
        source: io::Error,
    },
    /// There is no way to log in.
    #[error("cannot log in to {server}")]
    NoMethod {
        /// The server.
        server: String,
        /// Why.
        source: NoMethod,
    },
    /// TLS is required, and it has none.
    #[error("{server} does not offer TLS (STARTTLS)")]
    NoTls {
        /// The server.
        server: String,
    },
    /// There is no password to log in with.
    #[error("no password for {server}")]
    Password {
        /// The server.
        server: String,
        /// Why.
        source: SecretError,
    },
    /// The command that connects to it cannot be run.
    #[error(transparent)]
    Plugout(TunnelError),
    /// It broke the protocol, or ended the session.
    #[error("the session with {server} failed")]
    Protocol {
        /// The server.
        server: String,
        /// Why.
        source: smtp::Error,
    },
    /// It does not want us.
    #[error("{server} refused {command}: {text}")]
    Refused {
        /// The server.
        server: String,
        /// What was asked.
        command: CommandKind,
        /// The code and its words, cleaned.
        text: String,
        /// Whether it says that it never will.
        for_good: bool,
    },
    /// The exchange of a login failed.
    #[error("the login to {server} by {mechanism} failed")]
    Sasl {
        /// The server.
        server: String,
        /// How it was tried.
        mechanism: Mechanism,
        /// Why.
        source: sasl::Failure,
    },
    /// There is no TLS.
    #[error(transparent)]
    Tls(TlsError),
    /// It said nothing for too long.
    #[error("{server} was silent for {}", humantime::format_duration(*after))]
    TimedOut {
        /// The server.
        server: String,
        /// How long.
        after: Duration,
    },
}

impl SmtpError {
    pub(crate) fn class(&self) -> Class {
        match self {
            Self::Dial(error) if error.is_temporary() => Class::Temporary,
            Self::Dial(_) => Class::Unavailable,
            Self::Socket { source, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied => Class::Config,
                _ => Class::Unavailable,
            },
            Self::Refused { for_good: true, .. } => Class::Unavailable,
            Self::Protocol { source, .. } => match source {
                smtp::Error::Closed(_) => Class::Temporary,
                _ => Class::Protocol,
            },
            Self::Tls(error) => error.class(),
            Self::Plugout(_) => Class::Config,
            Self::Password {
                source: SecretError::Stopping,
                ..
            } => Class::Temporary,
            Self::Password { .. } => Class::Authentication,
            Self::LoginRefused { for_good: true, .. }
            | Self::NoMethod { .. }
            | Self::Sasl { .. } => Class::Authentication,
            Self::Injected { .. } => Class::Protocol,
            Self::NoTls { .. } => Class::Unavailable,
            Self::LoginRefused { .. }
            | Self::Lost { .. }
            | Self::Refused { .. }
            | Self::TimedOut { .. } => Class::Temporary,
        }
    }

    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Dial(error) => error.hint(),
            Self::Plugout(error) => error.hint(),
            Self::Injected { .. } => {
                Some("somebody in between may have put it there; no password was sent".to_owned())
            }
            Self::LoginRefused { for_good: true, .. } => {
                Some("check `user` and `password` of the destination".to_owned())
            }
            Self::NoMethod { source, .. } => Some(match source {
                NoMethod::Exposed { .. } => "use TLS: leave `tls` out, or write smtps".to_owned(),
                _ => "leave `user` out if it takes mail without a login; some servers offer one \
                      only inside TLS"
                    .to_owned(),
            }),
            Self::NoTls { .. } => Some(
                "no password was sent; use smtps if the server has it (port 465), or another port \
                 (587)"
                    .to_owned(),
            ),
            Self::Password { source, .. } => source.hint(),
            Self::Tls(TlsError::NotTls { stls: false, .. }) => Some(
                "this port does not speak TLS from the start: write smtp in place of smtps"
                    .to_owned(),
            ),
            Self::Tls(error) => error.hint(),
            Self::Socket { source, .. } => match source.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                    Some("check that the server runs, and where its LMTP socket is".to_owned())
                }
                io::ErrorKind::PermissionDenied => {
                    Some("the server must let you use its socket: check its mode".to_owned())
                }
                _ => None,
            },
            Self::Protocol {
                source: smtp::Error::Violation(smtp::Violation::NotSmtp { .. }),
                ..
            } => Some("check host and port: it is no server that takes mail".to_owned()),
            Self::Refused { command, .. } if *command == CommandKind::Ehlo => {
                Some("if it speaks LMTP and not SMTP, write lmtp: in place of smtp:".to_owned())
            }
            Self::Refused { command, .. } if *command == CommandKind::Lhlo => {
                Some("if it speaks SMTP and not LMTP, write smtp: in place of lmtp:".to_owned())
            }
            _ => None,
        }
    }
}
