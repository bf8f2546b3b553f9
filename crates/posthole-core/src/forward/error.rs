//! Why a forward cannot be served.

use std::io;
use std::path::PathBuf;

use crate::durable::FsError;
use crate::error::Class;

/// A place where clients should connect and cannot.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ForwardError {
    /// A token could not be read or written.
    #[error(transparent)]
    File(#[from] FsError),
    /// The system does not let us listen there.
    #[error("cannot listen on {place}")]
    Listen {
        /// The place.
        place: String,
        /// What the system said.
        source: io::Error,
    },
    /// The forward lets in whoever has its token, and has none.
    #[error("there is no token for it yet")]
    NoToken {
        /// The forward.
        name: String,
    },
    /// No socket was passed to us, or none of that name.
    #[error("systemd passed no socket{}", name.as_ref().map(|name| format!(" called `{name}`")).unwrap_or_default())]
    NotPassed {
        /// The name.
        name: Option<String>,
        /// The names of those that were passed.
        passed: Vec<String>,
    },
    /// A socket that was passed to us is of no use.
    #[error("a socket that was passed to this process cannot be used")]
    Passed(#[source] io::Error),
    /// It can be reached from other machines, and nobody said that it may.
    #[error("{place}, which was passed to this process, can be reached from other machines")]
    PassedExposed {
        /// The place.
        place: String,
    },
    /// Somebody else is there.
    #[error("{place} is taken{}", by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default())]
    Taken {
        /// The place.
        place: String,
        /// Who, as far as it can be seen.
        by: Option<String>,
    },
    /// There is a file that is not a socket of ours.
    #[error("{} is not a socket of this user, and is left alone", path.display())]
    NotOurSocket {
        /// The file.
        path: PathBuf,
    },
}

impl ForwardError {
    /// Says who must act.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::File(_) | Self::Listen { .. } | Self::Passed(_) | Self::Taken { .. } => {
                Class::Local
            }
            Self::NoToken { .. }
            | Self::NotOurSocket { .. }
            | Self::NotPassed { .. }
            | Self::PassedExposed { .. } => Class::Config,
        }
    }

    /// Says what to do about it, where there is something to say.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(
            match self {
                Self::File(_) => return None,
                Self::NoToken { name } => {
                    return Some(format!(
                        "make one with `posthole forward token {name}`, and give it to the mail \
                         program as its password"
                    ));
                }
                Self::Listen { source, .. } => match source.kind() {
                    io::ErrorKind::PermissionDenied => {
                        "ports below 1024 are for root: take a higher one, such as 11110, or have \
                         systemd pass the socket; a socket needs a directory that can be written to"
                    }
                    io::ErrorKind::AddrNotAvailable => {
                        "this machine does not have that address: listen on a port alone"
                    }
                    io::ErrorKind::NotFound => "make its directory first",
                    io::ErrorKind::InvalidInput => {
                        "the path of a Unix socket has some 90 octets at most: take a shorter one"
                    }
                    _ => return None,
                },
                Self::NotPassed { passed, .. } if passed.is_empty() => {
                    "have a .socket unit start this, or listen on a port such as 11110"
                }
                Self::NotPassed { passed, .. } => {
                    let passed = passed.join(", ");
                    return Some(format!(
                        "passed are {passed}; write FileDescriptorName= with that name into the \
                         .socket unit"
                    ));
                }
                Self::Passed(_) => "pass listening stream sockets: TCP, or Unix",
                Self::PassedExposed { .. } => {
                    "have it listen on 127.0.0.1, or accept it with allow = \"any\" or --allow any"
                }
                Self::Taken { .. } => {
                    "end that program, or listen on another port; whoever is there hears the \
                     passwords of mail programs that connect"
                }
                Self::NotOurSocket { .. } => "remove it, or listen elsewhere",
            }
            .to_owned(),
        )
    }
}
