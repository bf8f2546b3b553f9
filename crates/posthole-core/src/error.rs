//! Why a poll ended early, sorted by who must act.

use std::path::PathBuf;

use crate::deliver::DeliverError;
use crate::record::RecordError;
use crate::secret::SecretError;
use crate::session::SessionError;
use crate::transport::TransportError;
use crate::tunnel::TunnelErrorKind;

/// What ended a poll.
///
/// The text says what failed and why; [`Error::hint`] says what to do about it. The account is not
/// in it, since whoever reports the error knows which account it polled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A destination could not take the mail.
    #[error(transparent)]
    Deliver(#[from] DeliverError),
    /// Another poll of this account is running.
    #[error("another posthole is fetching this account (it holds {})", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// The records could not be read or written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The password could not be had.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The POP3 session failed.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The poll was told to stop before it was through.
    #[error("stopped before it was through")]
    Stopped,
    /// The mail server could not be reached.
    #[error(transparent)]
    Transport(#[from] TransportError),
}

/// Who must act before a retry can succeed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Class {
    /// A login was refused, by the SSH or the mail server, or a secret was not to be had.
    Authentication,
    /// A certificate cannot be trusted.
    Certificate,
    /// The configuration, or a file it names, must be changed.
    Config,
    /// A host key is unknown, changed or revoked.
    HostKey,
    /// This machine could not do it: a full disk, a missing permission.
    Local,
    /// The other side broke the protocol.
    Protocol,
    /// Nobody: a later attempt may succeed by itself.
    Temporary,
    /// The service or host is not there, or refuses for good.
    Unavailable,
}

impl Error {
    /// Says who must act.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Deliver(error) => error.class(),
            Self::Locked { .. } | Self::Stopped => Class::Temporary,
            Self::Record(error) => error.class(),
            Self::Secret(SecretError::Stopping) => Class::Temporary,
            Self::Secret(_) => Class::Authentication,
            Self::Session(error) => error.class(),
            Self::Transport(error) => transport_class(error),
        }
    }

    /// Whether it is only that nobody has answered a question.
    pub(crate) fn wants_answer(&self) -> bool {
        match self {
            Self::Secret(SecretError::Unanswered { .. }) => true,
            Self::Transport(TransportError::Tunnel(error)) => error.wants_answer(),
            _ => false,
        }
    }

    /// Whether the mailbox is only busy, or was polled too soon.
    pub(crate) fn is_busy(&self) -> bool {
        match self {
            Self::Locked { .. } => true,
            Self::Session(error) => error.is_busy(),
            _ => false,
        }
    }

    /// Says what to do about it, where there is something to say.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Deliver(error) => error.hint(),
            Self::Locked { .. } => {
                Some("wait for it to end; a lock never outlives its process".to_owned())
            }
            Self::Record(error) => error.hint(),
            Self::Secret(error) => error.hint(),
            Self::Session(error) => error.hint(),
            Self::Stopped => None,
            Self::Transport(error) => error.hint(),
        }
    }
}

fn transport_class(error: &TransportError) -> Class {
    if error.is_temporary() {
        return Class::Temporary;
    }
    match error {
        TransportError::Dial(_) => Class::Unavailable,
        TransportError::Exposed { .. } => Class::Config,
        TransportError::Tls(error) => error.class(),
        TransportError::Tunnel(error) => match error.kind() {
            TunnelErrorKind::Authentication | TunnelErrorKind::Unanswered => Class::Authentication,
            TunnelErrorKind::HostKey => Class::HostKey,
            TunnelErrorKind::Local => Class::Config,
            TunnelErrorKind::Network | TunnelErrorKind::Refused => Class::Unavailable,
            TunnelErrorKind::Protocol => Class::Protocol,
        },
    }
}
