//! Where messages go, and the proof that they got there.
//!
//! A message passes four stages, and a batch of messages passes the last three together:
//!
//! ```text
//! Incoming ─finish→ Spooled ─seal→ Sealed ─Mailbox::intend→ Intended ─publish→ Receipt
//!  on disk, cut      whole on disk   synced     intent synced          in new/, synced
//! ```
//!
//! Every type is made by the stage before it only, so a message cannot be published before the
//! records know of it, and nothing can be recorded as delivered that was not published.

mod lines;
mod maildir;

pub(crate) use lines::{finish_lf, to_lf};
pub(crate) use maildir::{Incoming, Maildir, Parcel, Sealed, Spooled, tag};

use std::path::PathBuf;

use crate::durable::FsError;
use crate::error::Class;
use crate::record::Identity;
use crate::session::MessageRef;

/// The proof that a message is durable at its destination.
///
/// Only a destination makes it, and recording the delivery consumes it.
#[derive(Debug)]
#[must_use = "a delivery that is not recorded is repeated"]
pub(crate) struct Receipt {
    pub(crate) identity: Identity,
    pub(crate) message: Option<MessageRef>,
    pub(crate) octets: u64,
    _made_by_a_destination: private::Seal,
}

mod private {
    /// Keeps [`super::Receipt`] from being made outside this module's children.
    #[derive(Debug)]
    pub(in crate::deliver) struct Seal;
}

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
