//! Getting a password from where the plan says it is.
//!
//! A password comes from outside: a program that may hang, print pages or leave children behind,
//! a file that others can read, a keyring that is locked, a person who went for lunch. Each of these
//! has a bound, and an error that says what to do. What a source gave is in no error: only a command's complaints
//! (its standard error) are, with the password struck out of them should it be there.
//!
//! Sources are asked anew each time, so that a changed password is noticed; only a person's
//! answers are kept, by [`Remember`].

mod command;
mod error;
mod file;
mod keyring;
mod netrc;
mod remember;

use std::sync::Arc;

use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};

pub use error::{CommandFailure, SecretError};
pub(crate) use file::is_open_to_others;
pub use keyring::KeyringProblem;
pub use remember::Remember;

use crate::ask::{Ask, SecretQuestion};
use crate::plan::{NetrcEntry, PasswordSource};

impl PasswordSource {
    /// Gets the password; a person is asked `question`.
    ///
    /// Dropping the future kills a running command. A question that was put to a person stays
    /// until it is answered.
    ///
    /// # Errors
    /// When the source has none, or nothing that can be a password.
    pub async fn resolve(
        &self,
        ask: &Arc<dyn Ask>,
        question: SecretQuestion,
    ) -> Result<SecretString, SecretError> {
        match self {
            Self::Command(command) => command::run(command, command::TIME_LIMIT).await,
            Self::Credential { name, path } => {
                let file = path.clone();
                let read = blocking(move || file::read(&file)).await;
                read.map_err(|error| match error {
                    SecretError::FileUnreadable { path, source } => {
                        let name = name.clone();
                        SecretError::CredentialUnreadable { name, path, source }
                    }
                    other => other,
                })
            }
            Self::File(path) => {
                let path = path.clone();
                blocking(move || file::read(&path)).await
            }
            Self::Given { origin: _, secret } => Ok(secret.clone()),
            Self::Keyring(keyring) => keyring::look_up(keyring).await,
            Self::Netrc(entry) => {
                let entry = entry.clone();
                blocking(move || netrc::read(&entry)).await
            }
            Self::Prompt => {
                let ask = Arc::clone(ask);
                blocking(move || match ask.secret(&question) {
                    Ok(secret) if secret.expose_secret().is_empty() => {
                        Err(SecretError::EmptyAnswer { question })
                    }
                    Ok(secret) => Ok(secret),
                    Err(reason) => Err(SecretError::Unanswered { question, reason }),
                })
                .await
            }
        }
    }
}

/// Whether a .netrc file may have a password; false only where there is no such entry, or no file.
///
/// Blocks. What is wrong with the file is an error when the password is wanted.
#[must_use]
pub fn is_in_netrc(entry: &NetrcEntry) -> bool {
    match netrc::read(entry) {
        Err(SecretError::Netrc { what: "no", .. }) => false,
        Err(SecretError::NetrcUnreadable { source, .. }) => {
            source.kind() != std::io::ErrorKind::NotFound
        }
        _ => true,
    }
}

/// Runs what blocks where it may; its panic goes on here.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SecretError> + Send + 'static,
) -> Result<T, SecretError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is shutting down and takes no more work.
            Err(_) => Err(SecretError::Stopping),
        },
    }
}

/// What is wrong with octets that should be a password.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum NoPassword {
    Empty,
    NotUtf8,
    TooLong,
}

/// The first line of `octets`, of which there are at most [`LENGTH_LIMIT`] and one more.
///
/// Everything else about it is the user's own business: blanks at either end belong to the
/// password.
fn first_line(octets: &[u8]) -> Result<SecretString, NoPassword> {
    let end = memchr::memchr(b'\n', octets);
    if end.unwrap_or(octets.len()) > LENGTH_LIMIT {
        return Err(NoPassword::TooLong);
    }
    let line = &octets[..end.unwrap_or(octets.len())];
    // A carriage return is no part of any password: the file came from another system.
    let length = line
        .iter()
        .rposition(|octet| *octet != b'\r')
        .map_or(0, |last| last + 1);
    let line = std::str::from_utf8(&line[..length]).map_err(|_| NoPassword::NotUtf8)?;
    if line.is_empty() {
        Err(NoPassword::Empty)
    } else {
        Ok(SecretString::from(line))
    }
}

/// A buffer for what may be a password; it never grows, so that no copy is left behind, and is
/// wiped when it is dropped.
fn secret_buffer() -> Zeroizing<Vec<u8>> {
    Zeroizing::new(Vec::with_capacity(LENGTH_LIMIT + 1))
}

/// Longer than any password or token; an OAuth2 access token takes 2 to 4 KiB.
pub(crate) const LENGTH_LIMIT: usize = 16 * 1024;

/// What the table in the manual is compared with.
#[cfg(test)]
pub(crate) mod limits {
    pub(crate) use super::LENGTH_LIMIT;
    pub(crate) use super::command::TIME_LIMIT;
    pub(crate) use super::keyring::TIME_LIMIT as KEYRING_TIME_LIMIT;
    pub(crate) use super::netrc::FILE_LIMIT;
}

#[cfg(test)]
mod tests;
