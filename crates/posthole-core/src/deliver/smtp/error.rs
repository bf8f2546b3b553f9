//! Why a server that takes mail cannot be used at all.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use posthole_proto::smtp::{self, CommandKind};

use crate::error::Class;
use crate::transport::dial::DialError;

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
    /// The connection broke.
    #[error("the connection to {server} was lost")]
    Lost {
        /// The server.
        server: String,
        /// Why.
        source: io::Error,
    },
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
            Self::Lost { .. } | Self::Refused { .. } | Self::TimedOut { .. } => Class::Temporary,
        }
    }

    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Dial(error) => error.hint(),
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
