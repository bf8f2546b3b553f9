//! Why mail cannot be delivered, sorted by who must act.

use std::path::PathBuf;

use crate::durable::FsError;
use crate::error::Class;

/// Why a destination could not take mail.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeliverError {
    /// A file operation failed.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// The directory holds something, but not a Maildir.
    #[error("{} is not a Maildir: it holds something else and has no `new` folder", path.display())]
    NotAMaildir {
        /// The directory.
        path: PathBuf,
    },
    /// A part of the Maildir is a symbolic link or no directory.
    #[error("{} is not a plain directory", path.display())]
    NotADirectory {
        /// The part.
        path: PathBuf,
    },
}

impl DeliverError {
    pub(crate) fn class(&self) -> Class {
        match self {
            Self::Fs(_) => Class::Local,
            Self::NotAMaildir { .. } | Self::NotADirectory { .. } => Class::Config,
        }
    }

    pub(crate) fn hint(&self) -> Option<String> {
        use std::io::ErrorKind;
        let hint = match self {
            Self::Fs(error) => match error.kind() {
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                    "make room on the disk; what was not delivered is still on the server"
                }
                ErrorKind::PermissionDenied => "check the owner and mode of that path",
                ErrorKind::AlreadyExists | ErrorKind::NotADirectory => {
                    "a file is in the way: move it, or name another Maildir"
                }
                ErrorKind::ReadOnlyFilesystem => {
                    "name a Maildir on a file system that can be written"
                }
                _ => return None,
            },
            Self::NotAMaildir { path } => {
                return Some(format!(
                    "name a folder inside it, such as maildir:{0}/inbox, or make it a Maildir with \
                     `mkdir {0}/tmp {0}/new {0}/cur`",
                    path.display()
                ));
            }
            Self::NotADirectory { .. } => {
                "a Maildir's tmp, new and cur must be directories of its own, not links"
            }
        };
        Some(hint.to_owned())
    }
}
