//! What can go wrong in a POP3 session, sorted by who must act.

use std::io;
use std::time::Duration;

use posthole_proto::pop3::{Error as Pop3Error, RespCode};
use posthole_proto::sasl::{Failure, Mechanism};
use posthole_proto::text::Text;

use super::method::{Method, NoMethod};

use crate::error::Class;
use crate::transport::tls::TlsError;

/// Why a session ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The machine slept, and the connection did not survive it.
    #[error(
        "the mail server was silent for {} after the sleep of this machine",
        humantime::format_duration(*after)
    )]
    Asleep {
        /// How long.
        after: Duration,
    },
    /// The connection broke.
    #[error("the connection to the mail server was lost")]
    Lost(#[source] io::Error),
    /// Messages cannot be told apart, so keeping them on the server would fetch them for ever.
    #[error("the mail server gives messages no unique-ids (UIDL), so mail cannot be kept on it")]
    NoUniqueIds,
    /// The server refused the login.
    #[error("the mail server refused the login{by}: {text}")]
    LoginRefused {
        /// ` by MECHANISM`, unless it is the ordinary one.
        by: String,
        /// The server's response code, if it gave one.
        code: Option<RespCode>,
        /// The server's words, cleaned.
        text: String,
        /// What may be done about it, as far as the method says.
        advice: &'static str,
    },
    /// There is no way to log in.
    #[error(transparent)]
    NoMethod(#[from] NoMethod),
    /// A SASL exchange could not even be begun.
    #[error("the login by {mechanism} cannot be begun")]
    NotStarted {
        /// The mechanism.
        mechanism: Mechanism,
        /// Why.
        #[source]
        failure: Failure,
    },
    /// The server did not greet us, on a connection without TLS.
    #[error("the mail server did not greet us within {}", humantime::format_duration(*after))]
    NoGreeting {
        /// How long was waited.
        after: Duration,
    },
    /// The server broke the protocol or ended the session, or a command cannot be sent.
    #[error("the POP3 session failed")]
    Protocol(#[from] Pop3Error),
    /// Every message has another unique-id than those that were fetched.
    #[error(
        "the mail server calls all of its messages by new unique-ids: none of {new} is known, and of \
         {recorded} that were fetched none is there"
    )]
    Renumbered {
        /// How many messages were there at the last poll.
        recorded: usize,
        /// How many are there now.
        new: usize,
    },
    /// A message begins with another status line: replies are out of step, or the server changed its
    /// mind after `+OK`.
    #[error("the mail server sent `{received}` at the beginning of message {message}")]
    ReplyInMessage {
        /// The message's number.
        message: u32,
        /// What came, cleaned.
        received: String,
    },
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
    /// A SASL exchange went wrong on our side of it.
    #[error("the login by {mechanism} failed")]
    Sasl {
        /// The mechanism.
        mechanism: Mechanism,
        /// Why.
        #[source]
        failure: Failure,
    },
    /// The server said nothing for too long.
    #[error("the mail server was silent for {}", humantime::format_duration(*after))]
    TimedOut {
        /// How long.
        after: Duration,
    },
    /// A message is larger than any is allowed to be.
    #[error("the mail server sent more than {most} octets of a message, and no end of it")]
    TooLarge {
        /// How large it may be.
        most: u64,
    },
    /// The server sends, but so slowly that it would never come to an end.
    #[error(
        "the mail server was too slow: it sent {octets} octets in {}",
        humantime::format_duration(Duration::from_millis(u64::try_from(within.as_millis()).unwrap_or(u64::MAX)))
    )]
    TooSlow {
        /// How much came.
        octets: u64,
        /// In how much time.
        within: Duration,
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
        Self::Rejected {
            command: command.to_owned(),
            code,
            text: reason(words),
        }
    }

    /// What an error of the stream means: with TLS it may be the server's verdict on us.
    pub(crate) fn lost(error: io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref()) {
            Some(error) => Self::Tls(TlsError::clone(error)),
            None => Self::Lost(error),
        }
    }

    /// A refused login, in the server's words and those that it used inside a SASL exchange.
    pub(crate) fn login_refused(
        method: Method,
        code: Option<RespCode>,
        words: Text<'_>,
        complaint: Option<&str>,
    ) -> Self {
        let mut text = reason(words);
        if let Some(complaint) = complaint {
            text = format!("{text}, because of {complaint}");
        }
        Self::LoginRefused {
            by: match method {
                Method::UserPass => String::new(),
                _ => format!(" by {method}"),
            },
            code,
            text,
            advice: advice(method),
        }
    }

    /// Whether the server has looked at a password and refused it, or may have.
    pub(crate) fn is_refused_login(&self) -> bool {
        matches!(self, Self::LoginRefused { .. })
    }

    /// Whether somebody else has the mailbox, or the server wants more time between logins.
    pub(crate) fn is_busy(&self) -> bool {
        matches!(
            self,
            Self::LoginRefused {
                code: Some(RespCode::InUse | RespCode::LoginDelay),
                ..
            } | Self::Rejected {
                code: Some(RespCode::InUse | RespCode::LoginDelay),
                ..
            }
        )
    }

    /// Whether the connection is gone, for whatever reason.
    pub(crate) fn is_loss(&self) -> bool {
        matches!(
            self,
            Self::Lost(_)
                | Self::Protocol(Pop3Error::Closed(_))
                | Self::TimedOut { .. }
                | Self::TooSlow { .. }
        )
    }

    /// Whether the server, or what it sent, is to blame and not the way there or we.
    pub(crate) fn is_about_what_came(&self) -> bool {
        let broke_rules =
            matches!(self, Self::Protocol(error) if !matches!(error, Pop3Error::Misuse(_)));
        self.is_loss()
            || broke_rules
            || matches!(self, Self::ReplyInMessage { .. } | Self::TooLarge { .. })
    }

    /// Whether the server may simply be unable to take commands in advance, whatever it says.
    pub(crate) fn may_come_from_pipelining(&self) -> bool {
        self.is_loss() || matches!(self, Self::Protocol(Pop3Error::Violation(_)))
    }

    pub(crate) fn class(&self) -> Class {
        match self {
            Self::NoMethod(_)
            | Self::NoUniqueIds
            | Self::Protocol(Pop3Error::Misuse(_))
            | Self::Renumbered { .. } => Class::Config,
            Self::NotStarted { failure, .. } | Self::Sasl { failure, .. } => match failure {
                Failure::Credentials { .. } => Class::Config,
                Failure::Library(_) | Failure::Server(_) => Class::Authentication,
                _ => Class::Protocol,
            },
            Self::LoginRefused { code, .. } => match code {
                Some(RespCode::InUse | RespCode::LoginDelay | RespCode::SysTemp) => {
                    Class::Temporary
                }
                Some(RespCode::SysPerm) => Class::Unavailable,
                // Without a code, a refusal of the password is about the password.
                _ => Class::Authentication,
            },
            Self::Asleep { .. }
            | Self::Lost(_)
            | Self::NoGreeting { .. }
            | Self::Protocol(Pop3Error::Closed(_))
            | Self::TimedOut { .. }
            | Self::TooSlow { .. } => Class::Temporary,
            Self::Protocol(_)
            | Self::ReplyInMessage { .. }
            | Self::TooLarge { .. }
            | Self::TooManyMessages => Class::Protocol,
            Self::Tls(error) => error.class(),
            Self::Rejected { code, .. } => match code {
                Some(RespCode::InUse | RespCode::LoginDelay | RespCode::SysTemp) => {
                    Class::Temporary
                }
                Some(RespCode::SysPerm) => Class::Unavailable,
                Some(RespCode::Auth) => Class::Authentication,
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
            Self::Renumbered { .. } => {
                "they may be the same messages, so nothing was fetched; if they are new, or to be \
                 fetched in any case, poll once with --fetch-all"
            }
            Self::TooLarge { .. } => {
                "raise `max-size` if there is such a message; it stays on the server meanwhile"
            }
            Self::TooSlow { .. } => {
                "raise `timeout` if the line is that slow: a server may be slow for four times that"
            }
            Self::TimedOut { .. } => "raise `timeout` if the server is only slow",
            Self::LoginRefused {
                code: Some(RespCode::InUse),
                ..
            }
            | Self::Rejected {
                code: Some(RespCode::InUse),
                ..
            } => "another program has the mailbox open; the next poll tries again",
            Self::LoginRefused {
                code: Some(RespCode::LoginDelay),
                ..
            }
            | Self::Rejected {
                code: Some(RespCode::LoginDelay),
                ..
            } => "the server wants more time between logins: poll it less often",
            Self::LoginRefused { advice, .. } if self.class() == Class::Authentication => advice,
            Self::Rejected { .. } if self.class() == Class::Authentication => {
                "check the user name and the password's source"
            }
            Self::NoMethod(no_method) => no_method.hint()?,
            Self::NotStarted { failure, .. } | Self::Sasl { failure, .. } => match failure {
                Failure::Credentials { .. } => "check the user name and the password's source",
                Failure::Library(_) => {
                    "get a ticket with kinit(1), or see with klist(1) what is there"
                }
                Failure::Signature | Failure::Unproven | Failure::Nonce => {
                    "this may not be your mail server; find out before you log in otherwise"
                }
                Failure::Iterations { .. } | Failure::Extension => {
                    "the server's administrator can change that; `auth` can name another mechanism"
                }
                _ => return None,
            },
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

fn reason(words: Text<'_>) -> String {
    let text = words.clean().trim().to_owned();
    if text.is_empty() {
        "it gave no reason".to_owned()
    } else {
        text
    }
}

/// What to do about a login that was refused.
const fn advice(method: Method) -> &'static str {
    match method {
        Method::Apop => {
            "check the user name and the password's source; not every server that has a challenge \
             in its greeting knows the password such that it can check APOP"
        }
        Method::Sasl(Mechanism::OAuthBearer | Mechanism::XOAuth2) => {
            "the access token may have expired, or be for something else: check what the \
             password's source gives"
        }
        Method::Sasl(Mechanism::External) => "check the user name and the certificate",
        Method::Sasl(Mechanism::Gssapi) => {
            "check the user name, and with klist(1) whose ticket it is"
        }
        Method::Sasl(Mechanism::Login | Mechanism::Plain) | Method::UserPass => {
            "check the user name and the password's source"
        }
        Method::Sasl(_) => {
            "check the user name and the password's source; if they are right, the server may \
             offer what it cannot do for this user: try auth = \"plain\""
        }
    }
}
