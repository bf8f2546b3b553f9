//! Why a command cannot be used at all.

use std::io;

use crate::error::Class;

/// Why a command that delivers mail could not do its work, whatever the message.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MdaError {
    /// It could not be started.
    #[error("cannot run `{command}`")]
    NotRun {
        /// The command as it is configured.
        command: String,
        /// Why.
        source: io::Error,
    },
    /// It was started, and nobody knows how it ended.
    #[error("cannot wait for the end of `{command}`")]
    NotWaitedFor {
        /// The command as it is configured.
        command: String,
        /// Why.
        source: io::Error,
    },
}

impl MdaError {
    pub(crate) fn class(&self) -> Class {
        match self {
            Self::NotRun { source, .. } => match source.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => Class::Config,
                _ => Class::Local,
            },
            Self::NotWaitedFor { .. } => Class::Local,
        }
    }

    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::NotRun { source, .. } => match source.kind() {
                io::ErrorKind::NotFound => {
                    Some("install it, or write its whole path; it is looked for in PATH".to_owned())
                }
                io::ErrorKind::PermissionDenied => {
                    Some("check the mode of the program and of its folders".to_owned())
                }
                _ => None,
            },
            Self::NotWaitedFor { .. } => None,
        }
    }
}
