//! Why mail cannot be delivered, sorted by who must act.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::{MdaError, SmtpError};
use crate::durable::FsError;
use crate::error::Class;

/// Why a destination could not take mail.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeliverError {
    /// A link that another user has put there leads to the file.
    #[error("{} is a link of another user", path.display())]
    ForeignLink {
        /// The link.
        path: PathBuf,
    },
    /// The file belongs to somebody else.
    #[error("{} belongs to user {owner}, not to user {expected}", path.display())]
    ForeignOwner {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Whose it should be.
        expected: u32,
    },
    /// A file operation failed.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// It is another user's, and root would write it.
    #[error("{} is that of user {owner}, and mail that root puts there is root's", path.display())]
    OthersMaildir {
        /// The Maildir.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// The file is a directory.
    #[error("{} is a directory", path.display())]
    IsDirectory {
        /// The directory.
        path: PathBuf,
    },
    /// Others have the file locked.
    #[error(
        "{} is in use: {who}, for more than {}", path.display(),
        humantime::format_duration(*after)
    )]
    Locked {
        /// The file.
        path: PathBuf,
        /// How it is locked.
        who: &'static str,
        /// How long it was waited for.
        after: Duration,
    },
    /// A command that delivers mail cannot be used.
    #[error(transparent)]
    Mda(#[from] MdaError),
    /// The lock file beside the file cannot be made.
    #[error("cannot make the lock file {}", path.display())]
    NoDotlock {
        /// The lock file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The rights of a local user cannot be taken on.
    #[error("cannot take on the rights of the user {name}")]
    NoRights {
        /// The user.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// There is no such local user.
    #[error("there is no local user {name}, whom the mail is for")]
    NoSuchUser {
        /// The name.
        name: String,
        /// Why the user could not be looked up, where that is the reason.
        source: Option<io::Error>,
    },
    /// The file is something else than a file.
    #[error("{} is not a plain file", path.display())]
    NotAFile {
        /// What is there.
        path: PathBuf,
    },
    /// The directory holds something, but not a Maildir.
    #[error("{} is not a Maildir: it holds something else and has no `new` folder", path.display())]
    NotAMaildir {
        /// The directory.
        path: PathBuf,
    },
    /// The file holds something, but not mail.
    #[error("{} is not an mbox: it does not begin with a `From ` line", path.display())]
    NotAnMbox {
        /// The file.
        path: PathBuf,
    },
    /// A part of the Maildir is a symbolic link or no directory.
    #[error("{} is not a plain directory", path.display())]
    NotADirectory {
        /// The part.
        path: PathBuf,
    },
    /// The file has other names (hard links) as well.
    #[error("{} has another name as well, which another user may have given it", path.display())]
    SeveralNames {
        /// The file.
        path: PathBuf,
    },
    /// A server that takes mail cannot be used.
    #[error(transparent)]
    Smtp(#[from] SmtpError),
}

impl DeliverError {
    pub(crate) fn class(&self) -> Class {
        match self {
            Self::Fs(_) | Self::NoRights { .. } => Class::Local,
            Self::Locked { .. } => Class::Temporary,
            Self::Mda(error) => error.class(),
            Self::NoDotlock { source, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied => Class::Config,
                _ => Class::Local,
            },
            Self::Smtp(error) => error.class(),
            Self::ForeignLink { .. }
            | Self::OthersMaildir { .. }
            | Self::ForeignOwner { .. }
            | Self::IsDirectory { .. }
            | Self::NoSuchUser { .. }
            | Self::NotADirectory { .. }
            | Self::NotAFile { .. }
            | Self::NotAMaildir { .. }
            | Self::NotAnMbox { .. }
            | Self::SeveralNames { .. } => Class::Config,
        }
    }

    pub(crate) fn hint(&self) -> Option<String> {
        use std::io::ErrorKind;
        let hint = match self {
            Self::ForeignLink { .. } => "replace it by a link or a file of your own",
            Self::OthersMaildir { .. } => {
                "run posthole as that user, or deliver by a command: mda:maildrop -d %T"
            }
            Self::ForeignOwner { .. } => {
                "give it to the user whose mail it is, or name another file"
            }
            Self::Fs(error) => match error.kind() {
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                    "make room on the disk; what was not delivered is still on the server"
                }
                ErrorKind::PermissionDenied => "check the owner and mode of that path",
                ErrorKind::AlreadyExists | ErrorKind::NotADirectory => {
                    "a file is in the way: move it, or name another Maildir"
                }
                ErrorKind::ReadOnlyFilesystem => {
                    "name a destination on a file system that can be written"
                }
                _ => return None,
            },
            Self::IsDirectory { path } => {
                return Some(format!(
                    "for a Maildir write maildir:{}; an mbox is a file",
                    path.display()
                ));
            }
            Self::Locked { path, .. } => {
                return Some(format!(
                    "wait for the mail program that uses it; a lock file {}.lock that nobody has \
                     touched for five minutes is taken for stale",
                    path.display()
                ));
            }
            Self::Mda(error) => return error.hint(),
            Self::NoDotlock { .. } => {
                "mail programs expect one there: install Debian's liblockfile-bin, whose dotlockfile \
                 makes it, or name a file in a folder of your own"
            }
            Self::NoRights { .. } => return None,
            Self::NoSuchUser { .. } => "name a local user first in `recipients`",
            Self::NotAFile { .. } => "name a file, or one that is not there yet",
            Self::NotAMaildir { path } => {
                return Some(format!(
                    "name a folder inside it, such as maildir:{0}/inbox, or make it a Maildir with \
                     `mkdir {0}/tmp {0}/new {0}/cur`",
                    path.display()
                ));
            }
            Self::NotAnMbox { .. } => {
                "nothing is added to a file of another kind: name an mbox, or a file that is not \
                 there yet"
            }
            Self::NotADirectory { .. } => {
                "a Maildir's tmp, new and cur must be directories of its own, not links"
            }
            Self::SeveralNames { .. } => "make a copy of it and remove the other names",
            Self::Smtp(error) => return error.hint(),
        };
        Some(hint.to_owned())
    }
}
