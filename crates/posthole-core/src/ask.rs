//! Questions for a person, which the library asks through whoever called it.
//!
//! The library does not know whether there is a terminal. An implementation without one answers
//! every question with [`Unanswered::NoTerminal`] at once; it never waits and never guesses.

use std::path::PathBuf;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

/// Somebody who can be asked.
///
/// The methods block until there is an answer, so they are called from threads that may block.
/// Several accounts may ask at the same time; an implementation puts one question after another.
pub trait Ask: Send + Sync {
    /// Asks for a secret.
    fn secret(&self, question: &SecretQuestion) -> Result<SecretString, Unanswered>;

    /// Asks whether an unknown host key is to be trusted from now on.
    fn trust_host_key(&self, question: &HostKeyQuestion) -> Result<bool, Unanswered>;

    /// Says whether a question put now would reach anybody.
    ///
    /// A no spares a server an exchange that would have to be broken off; a yes promises nothing.
    fn is_anybody_there(&self) -> bool {
        true
    }

    /// What somebody can do who was not asked, if it is something else than usual.
    fn remedy(&self) -> Option<&'static str> {
        None
    }

    /// The program that carries questions of other programs here, if there is one; see
    /// [`messenger`](crate::tunnel::messenger).
    fn messenger(&self) -> Option<PathBuf> {
        None
    }
}

/// Nobody is there: every question goes unanswered.
#[derive(Clone, Copy, Debug)]
pub struct Nobody;

impl Ask for Nobody {
    fn secret(&self, _question: &SecretQuestion) -> Result<SecretString, Unanswered> {
        Err(Unanswered::NoTerminal)
    }

    fn trust_host_key(&self, _question: &HostKeyQuestion) -> Result<bool, Unanswered> {
        Err(Unanswered::NoTerminal)
    }
}

/// Which secret is wanted.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum SecretQuestion {
    /// The password of a mail account.
    MailPassword {
        /// The account's name as the person knows it.
        account: String,
        /// `user@host` of the mail server.
        login: String,
    },
    /// The passphrase of a private key file.
    Passphrase {
        /// The key file.
        key: PathBuf,
        /// Whether an earlier answer was wrong.
        again: bool,
    },
    /// The password for an SSH login.
    SshPassword {
        /// `user@host` of the SSH server.
        login: String,
        /// Whether an earlier answer was refused.
        again: bool,
    },
    /// A prompt that the SSH server words itself (keyboard-interactive).
    SshPrompt {
        /// `user@host` of the SSH server.
        login: String,
        /// The server's prompt, cleaned of control characters.
        prompt: String,
        /// Whether what is typed may be shown.
        echo: bool,
    },
}

impl SecretQuestion {
    /// The question as it is asked the first time, whose answer is the same.
    pub(crate) fn first_time(&self) -> Self {
        let mut question = self.clone();
        match &mut question {
            Self::Passphrase { again, .. } | Self::SshPassword { again, .. } => *again = false,
            Self::MailPassword { .. } | Self::SshPrompt { .. } => {}
        }
        question
    }
}

/// An unknown host key, shown to a person.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HostKeyQuestion {
    /// The host as known_hosts spells it: `host` or `[host]:port`.
    pub host: String,
    /// The key's algorithm, such as `ssh-ed25519`.
    pub algorithm: String,
    /// The key's fingerprint in OpenSSH's form, `SHA256:…`.
    pub fingerprint: String,
    /// The fingerprint as a picture, where there is time to look at it.
    pub randomart: Option<String>,
    /// What else is known of the key, each in a sentence without its beginning and end.
    pub notes: Vec<String>,
    /// The file the key is written to on a yes.
    pub known_hosts: PathBuf,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Unanswered {
    /// The person gave up (end of input, an interrupt).
    #[error("the question was not answered")]
    Cancelled,
    /// There is no terminal to ask on.
    #[error("there is no terminal to ask on")]
    NoTerminal,
    /// Nobody has given it to the daemon yet.
    #[error("it was not given to the daemon")]
    NotGiven,
}
