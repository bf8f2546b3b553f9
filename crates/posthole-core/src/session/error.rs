//! What can go wrong in a POP3 session, sorted by who must act.

use std::io;
use std::time::Duration;

use posthole_proto::pop3::{Error as Pop3Error, RespCode};
use posthole_proto::text::Text;

use crate::error::Class;
use crate::transport::tls::TlsError;

/// Why a session ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The connection broke.
    #[error("the connection to the mail server was lost")]
    Lost(#[source] io::Error),
    /// Messages cannot be told apart, so keeping them on the server would fetch them for ever.
    #[error("the mail server gives messages no unique-ids (UIDL), so mail cannot be kept on it")]
    NoUniqueIds,
    /// The server did not greet us, on a connection without TLS.
    #[error("the mail server did not greet us within {}", humantime::format_duration(*after))]
    NoGreeting {
        /// How long was waited.
        after: Duration,
    },
    /// The server broke the protocol or ended the session, or a command cannot be sent.
    #[error("the POP3 session failed")]
    Protocol(#[from] Pop3Error),
    /// The server said no.
    #[error("the mail server refused {command}: {text}")]
    Rejected {
        /// What was asked, without secrets.
        command: String,
        /// The server's response code, if it gave one.
        code: Option<RespCode>,
        /// The server's words, cleaned.
        text: String,
    },
    /// The server said nothing for too long.
    #[error("the mail server was silent for {}", humantime::format_duration(*after))]
    TimedOut {
        /// How long.
        after: Duration,
    },
    /// TLS could not be started, or broke.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The mailbox holds more than we are ready to remember.
    #[error("the mail server lists too many messages, or unique-ids that are too long")]
    TooManyMessages,
}

impl SessionError {
    /// A refusal in the server's words.
    pub(crate) fn rejected(command: &str, code: Option<RespCode>, words: Text<'_>) -> Self {
        let text = words.clean().trim().to_owned();
        let text = if text.is_empty() {
            "it gave no reason".to_owned()
        } else {
            text
        };
        Self::Rejected {
            command: command.to_owned(),
            code,
            text,
        }
    }

    /// What an error of the stream means: with TLS it may be the server's verdict on us.
    pub(crate) fn lost(error: io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref()) {
            Some(error) => Self::Tls(TlsError::clone(error)),
            None => Self::Lost(error),
        }
    }

    /// Whether the connection is gone, for whatever reason.
    pub(crate) fn is_loss(&self) -> bool {
        matches!(
            self,
            Self::Lost(_) | Self::Protocol(Pop3Error::Closed(_)) | Self::TimedOut { .. }
        )
    }

    /// Whether the server may simply be unable to take commands in advance, whatever it says.
    pub(crate) fn may_come_from_pipelining(&self) -> bool {
        self.is_loss() || matches!(self, Self::Protocol(Pop3Error::Violation(_)))
    }

    pub(crate) fn class(&self) -> Class {
        match self {
            Self::NoUniqueIds | Self::Protocol(Pop3Error::Misuse(_)) => Class::Config,
            Self::Lost(_)
            | Self::NoGreeting { .. }
            | Self::Protocol(Pop3Error::Closed(_))
            | Self::TimedOut { .. } => Class::Temporary,
            Self::Protocol(_) | Self::TooManyMessages => Class::Protocol,
            Self::Tls(error) => error.class(),
            Self::Rejected { command, code, .. } => match code {
                Some(RespCode::InUse | RespCode::LoginDelay | RespCode::SysTemp) => {
                    Class::Temporary
                }
                Some(RespCode::SysPerm) => Class::Unavailable,
                Some(RespCode::Auth) => Class::Authentication,
                // Without a code, a refusal of the password is about the password.
                _ if command == LOGIN => Class::Authentication,
                _ => Class::Temporary,
            },
        }
    }

    pub(crate) fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Tls(error) => return error.hint(),
            Self::NoUniqueIds => {
                "set keep = false, so that fetched mail is deleted, or use a server with UIDL"
            }
            Self::Protocol(error) if error.hint().is_some() => error.hint()?,
            Self::Protocol(Pop3Error::Violation(_)) => {
                "check that host and port are those of a POP3 server; -vv shows the dialogue"
            }
            Self::NoGreeting { .. } => {
                "a server that waits for TLS says nothing: if this port is for TLS from the start, \
                 as 995 usually is, write pop3s:// in place of pop3://"
            }
            Self::TimedOut { .. } => "raise `timeout` if the server is only slow",
            Self::Rejected {
                code: Some(RespCode::InUse),
                ..
            } => "another program has the mailbox open; the next poll tries again",
            Self::Rejected {
                code: Some(RespCode::LoginDelay),
                ..
            } => "the server wants more time between logins: poll it less often",
            Self::Rejected { .. } if self.class() == Class::Authentication => {
                "check the user name and the password's source"
            }
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

/// How a refused login is named in [`SessionError::Rejected`].
pub(crate) const LOGIN: &str = "the login";
