//! Why there is no password.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use crate::ask::{SecretQuestion, Unanswered};
use crate::config::one_line;

use super::KeyringProblem;
use crate::plan::NetrcEntry;

/// Why there is no password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// The command did not give one.
    #[error("the password command `{}` {failure}", one_line(command))]
    Command {
        /// The command as configured.
        command: String,
        /// What it did instead; part of the message, so that it is no source.
        failure: CommandFailure,
    },
    /// A person answered with nothing.
    #[error("an empty answer is no {}", what(question))]
    EmptyAnswer {
        /// What was asked for.
        question: SecretQuestion,
    },
    /// The file's first line is empty.
    #[error("the password file {} has nothing in its first line", path.display())]
    FileEmpty {
        /// The file.
        path: PathBuf,
    },
    /// The file's first line is not UTF-8.
    #[error("the password file {} is not UTF-8 text", path.display())]
    FileNotUtf8 {
        /// The file.
        path: PathBuf,
    },
    /// Others can read or write the file.
    #[error("the password file {} is open to others (its mode is {mode:03o})", path.display())]
    FileOpenToOthers {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file's first line is longer than any password.
    #[error("the first line of the password file {} is too long for a password", path.display())]
    FileTooLong {
        /// The file.
        path: PathBuf,
    },
    /// The credential cannot be read.
    #[error("cannot read the credential `{name}`, {}", path.display())]
    CredentialUnreadable {
        /// What the unit calls it.
        name: String,
        /// Where systemd should have put it.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The file could not be read.
    #[error("cannot read the password file {}", path.display())]
    FileUnreadable {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The desktop's keyring has none.
    #[error("no password from the keyring (`{look_up}`): {problem}")]
    Keyring {
        /// The command that would look it up.
        look_up: String,
        /// The command that would store it.
        store: String,
        /// Why not; part of the message, so that it is no source.
        problem: KeyringProblem,
    },
    /// No entry of the .netrc file is of use.
    #[error(
        "{} has {what} password for the login {} on {}",
        entry.file.display(),
        entry.login,
        entry.machines.join(" or ")
    )]
    Netrc {
        /// What was looked for.
        entry: NetrcEntry,
        /// `no`, or what is wrong with the password.
        what: &'static str,
    },
    /// The .netrc file could not be read.
    #[error("cannot read {}", entry.file.display())]
    NetrcUnreadable {
        /// What was looked for.
        entry: NetrcEntry,
        /// The system's reason.
        source: io::Error,
    },
    /// The program is stopping.
    #[error("the program is stopping")]
    Stopping,
    /// Nobody answered.
    #[error("there is no {}: {reason}", what(question))]
    Unanswered {
        /// What was asked for.
        question: SecretQuestion,
        /// Why there is no answer.
        reason: Unanswered,
    },
}

impl SecretError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Command { failure: CommandFailure::TimedOut { .. }, .. } => {
                "run the command in a shell and see what it waits for; it has no terminal to ask on"
                    .to_owned()
            }
            Self::Command { .. } => {
                "run the command in a shell: it must print the password as its first line".to_owned()
            }
            Self::CredentialUnreadable { name, .. } => format!(
                "see that the service has LoadCredential={name}:FILE, and what systemd logs about it"
            ),
            Self::FileEmpty { .. } | Self::FileTooLong { .. } => {
                "the password is the whole first line of the file".to_owned()
            }
            Self::FileNotUtf8 { .. } => "save the file as UTF-8".to_owned(),
            Self::FileOpenToOthers { path, .. } => format!("run `chmod 600 {}`", path.display()),
            Self::FileUnreadable { path, source }
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                format!("make it yours and run `chmod 600 {}`", path.display())
            }
            Self::FileUnreadable { .. } => {
                "write the password into it as its first line, or say where else to get it".to_owned()
            }
            Self::Keyring { look_up, store, problem } => match problem {
                KeyringProblem::Locked => format!(
                    "unlock it, by logging in to the desktop or with `{look_up}`, which asks for its \
                     password"
                ),
                KeyringProblem::NoBus | KeyringProblem::Bus(_) => {
                    "only programs of a desktop session reach its keyring; from cron(8), set \
                     DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/UID/bus"
                        .to_owned()
                }
                KeyringProblem::NoService | KeyringProblem::TimedOut => {
                    "start one, such as gnome-keyring, KWallet or KeePassXC with its Secret Service"
                        .to_owned()
                }
                KeyringProblem::Missing
                | KeyringProblem::Refused(_)
                | KeyringProblem::Unusable => format!("store it: {store}"),
            },
            Self::NetrcUnreadable { entry, source }
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                format!("make it yours and run `chmod 600 {}`", entry.file.display())
            }
            Self::Netrc { entry, .. } | Self::NetrcUnreadable { entry, .. } => format!(
                "write into it: machine {} login {} password …",
                entry.machines.first().map_or("HOST", String::as_str),
                entry.login
            ),
            Self::Stopping => return None,
            Self::EmptyAnswer { question } | Self::Unanswered { question, .. } => match question {
                SecretQuestion::MailPassword { .. } => {
                    "say where to get it, such as --password-command 'pass show mail', or password = \
                     { command = \"pass show mail\" } in the configuration"
                        .to_owned()
                }
                SecretQuestion::Passphrase { .. } => {
                    "add the key to an ssh-agent with `ssh-add`".to_owned()
                }
                SecretQuestion::SshPassword { .. } => {
                    "set up a key for the host, or say where to get the password with `password` in [ssh.HOST]"
                        .to_owned()
                }
                SecretQuestion::SshPrompt { .. } => {
                    "only a person can answer what the host asks: run this on a terminal".to_owned()
                }
            },
        })
    }
}

/// What a password command did instead of giving a password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandFailure {
    /// Its first line was empty.
    #[error("printed no password{}", said(stderr))]
    Empty {
        /// The beginning of its standard error, in one line and without the password.
        stderr: String,
    },
    /// It said that it failed.
    #[error("{}{}", ended(status), said(stderr))]
    Failed {
        /// How it ended.
        status: ExitStatus,
        /// The beginning of its standard error, in one line and without the password.
        stderr: String,
    },
    /// Its first line is not UTF-8.
    #[error("printed something that is not UTF-8 text")]
    NotUtf8,
    /// The shell could not be started, or not be waited for.
    #[error("could not be run: {0}")]
    NotRun(io::Error),
    /// It did not end in time and was killed.
    #[error("did not finish within {}{}", humantime::format_duration(*limit), said(stderr))]
    TimedOut {
        /// The time it had.
        limit: Duration,
        /// The beginning of its standard error, in one line and without the password.
        stderr: String,
    },
    /// Its first line is longer than any password.
    #[error("printed a line that is too long for a password")]
    TooLong,
}

fn what(question: &SecretQuestion) -> String {
    match question {
        SecretQuestion::MailPassword { account, login } if account == login => {
            format!("password for {login}")
        }
        SecretQuestion::MailPassword { account, login } => {
            format!("password for {login} (account `{account}`)")
        }
        SecretQuestion::Passphrase { key, .. } => {
            format!("passphrase for the key {}", key.display())
        }
        SecretQuestion::SshPassword { login, .. } => format!("password for the SSH login {login}"),
        SecretQuestion::SshPrompt { login, .. } => format!("answer for the SSH login {login}"),
    }
}

fn ended(status: &ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(127), _) => "was not found (exit status 127)".to_owned(),
        (Some(code), _) => format!("failed with exit status {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "failed".to_owned(),
    }
}

fn said(stderr: &str) -> String {
    if stderr.is_empty() {
        String::new()
    } else {
        format!(": {stderr}")
    }
}
