//! Where a password comes from, resolved.

use std::fmt;
use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};

use crate::config::one_line;

/// Where a password comes from.
///
/// Two are equal if they are the same source; of passwords that are given outright, if they are
/// the same password.
#[derive(Clone, Debug)]
pub enum PasswordSource {
    /// The first line that a shell command prints.
    Command(String),
    /// The first line of a credential that systemd passed (systemd.exec(5), `LoadCredential`).
    Credential {
        /// Its name.
        name: String,
        /// Its file.
        path: PathBuf,
    },
    /// The first line of a file.
    File(PathBuf),
    /// Given outright.
    Given {
        /// Where it stood, such as `the environment variable MAILPW`.
        origin: String,
        /// The password.
        secret: SecretString,
    },
    /// The desktop's keyring.
    Keyring(Keyring),
    /// An entry of a .netrc file.
    Netrc(NetrcEntry),
    /// A person is asked.
    Prompt,
}

impl PartialEq for PasswordSource {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Command(a), Self::Command(b)) => a == b,
            (
                Self::Credential {
                    name: a,
                    path: path_a,
                },
                Self::Credential {
                    name: b,
                    path: path_b,
                },
            ) => a == b && path_a == path_b,
            (Self::File(a), Self::File(b)) => a == b,
            // Both are the user's own, so the time this takes tells nobody anything.
            (
                Self::Given {
                    origin: a,
                    secret: secret_a,
                },
                Self::Given {
                    origin: b,
                    secret: secret_b,
                },
            ) => a == b && secret_a.expose_secret() == secret_b.expose_secret(),
            (Self::Keyring(a), Self::Keyring(b)) => a == b,
            (Self::Netrc(a), Self::Netrc(b)) => a == b,
            (Self::Prompt, Self::Prompt) => true,
            _ => false,
        }
    }
}

impl Eq for PasswordSource {}

/// An item in the desktop's keyring (Secret Service API).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Keyring {
    /// The address of the session's bus (D-Bus specification, "Server Addresses"), if there is one.
    pub bus: Option<String>,
    /// The attributes it has; if there is no such item, the next ones, and so on. Never empty.
    pub attributes: Vec<Vec<(String, String)>>,
}

impl Keyring {
    /// The command that looks the item up, or the first of them.
    #[must_use]
    pub fn look_up_command(&self) -> String {
        format!("secret-tool lookup{}", self.words())
    }

    /// The command that stores it.
    #[must_use]
    pub fn store_command(&self) -> String {
        format!("secret-tool store --label=Posthole{}", self.words())
    }

    fn words(&self) -> String {
        let attributes = self.attributes.first().into_iter().flatten();
        let word = |text: &String| shell_words::quote(&one_line(text)).into_owned();
        attributes
            .map(|(name, value)| format!(" {} {}", word(name), word(value)))
            .collect()
    }
}

/// An entry of a .netrc file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NetrcEntry {
    /// The file.
    pub file: PathBuf,
    /// The machines it may be for, the likeliest first. Never empty.
    pub machines: Vec<String>,
    /// The login there.
    pub login: String,
}

/// Where the password comes from, never what it is.
impl fmt::Display for PasswordSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command(command) => write!(f, "the output of `{}`", one_line(command)),
            Self::Credential { name, path: _ } => write!(f, "the credential {name} of systemd"),
            Self::File(path) => write!(f, "the file {}", path.display()),
            Self::Given { origin, secret: _ } => f.write_str(origin),
            Self::Keyring(keyring) => {
                write!(f, "the keyring, as by `{}`", keyring.look_up_command())
            }
            Self::Netrc(NetrcEntry {
                file,
                machines,
                login,
            }) => write!(
                f,
                "the entry of {} for {login} on {}",
                file.display(),
                machines.join(" or ")
            ),
            Self::Prompt => f.write_str("asked for when it is needed"),
        }
    }
}
