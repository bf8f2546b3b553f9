//! Real servers: OpenSSH's `sshd` and `ssh-agent`, and Dovecot.
//!
//! Each runs with a configuration of its own in a temporary directory, on a loopback port that was
//! free a moment before, as root and as an ordinary user alike, and is ended with all its processes
//! when its fixture is dropped. Its log is shown when the test fails.
//!
//! Not every machine has them. [`Suite`] runs tests that need them and reports those whose
//! [`Requirement`]s are missing as ignored, saying so; it never counts them as passed.

mod agent;
mod daemon;
mod dovecot;
mod mailhost;
mod sshd;
mod suite;

use std::path::PathBuf;

pub use agent::Agent;
pub use dovecot::Dovecot;
pub use mailhost::Mailhost;
pub use sshd::{Builder as SshdBuilder, Sshd};
pub use suite::Suite;

/// A program or a library that a test needs and a machine may lack.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Requirement {
    /// Dovecot with its POP3 server; Debian package `dovecot-pop3d`.
    Dovecot,
    /// Dovecot's IMAP server; Debian package `dovecot-imapd`.
    DovecotImap,
    /// fetchmail, whose language we speak; Debian package `fetchmail`.
    Fetchmail,
    /// mpop, another program that fetches mail; Debian package `mpop`.
    Mpop,
    /// The library that shows a process users of its own; Debian package `libnss-wrapper`.
    NssWrapper,
    /// The `openssl` command; Debian package `openssl`.
    OpenSsl,
    /// The `ssh` command; Debian package `openssh-client`.
    Ssh,
    /// `ssh-agent` and `ssh-add`; Debian package `openssh-client`.
    SshAgent,
    /// The `ssh-keygen` command; Debian package `openssh-client`.
    SshKeygen,
    /// The SSH server; Debian package `openssh-server`.
    Sshd,
}

impl Requirement {
    /// What a [`Mailhost`] needs.
    pub const MAILHOST: &'static [Self] =
        &[Self::Dovecot, Self::NssWrapper, Self::OpenSsl, Self::Sshd];

    /// What has to be installed for this, or nothing if it is there.
    #[must_use]
    pub fn missing(self) -> Option<&'static str> {
        let (found, package) = match self {
            Self::Dovecot => (
                find_program("dovecot").is_some() && dovecot_has("pop3"),
                "dovecot-pop3d",
            ),
            Self::DovecotImap => (dovecot_has("imap"), "dovecot-imapd"),
            Self::Fetchmail => (find_program("fetchmail").is_some(), "fetchmail"),
            Self::Mpop => (find_program("mpop").is_some(), "mpop"),
            Self::NssWrapper => (nss_wrapper().is_some(), "libnss-wrapper"),
            Self::OpenSsl => (find_program("openssl").is_some(), "openssl"),
            Self::Ssh => (find_program("ssh").is_some(), "openssh-client"),
            Self::SshAgent => (
                find_program("ssh-agent").is_some() && find_program("ssh-add").is_some(),
                "openssh-client",
            ),
            Self::SshKeygen => (find_program("ssh-keygen").is_some(), "openssh-client"),
            Self::Sshd => (find_program("sshd").is_some(), "openssh-server"),
        };
        (!found).then_some(package)
    }
}

/// Whether one of Dovecot's own programs is installed.
fn dovecot_has(program: &str) -> bool {
    let dirs = ["/usr/lib/dovecot", "/usr/libexec/dovecot"].map(PathBuf::from);
    dirs.iter().any(|dir| dir.join(program).exists())
}

/// Finds a program in `PATH` or where Debian keeps daemons, which is not in everybody's `PATH`.
fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let daemons = ["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from);
    let mut dirs = std::env::split_paths(&path).chain(daemons);
    dirs.find_map(|dir| Some(dir.join(name)).filter(|program| program.is_file()))
}

/// The path of a program that [`Requirement::missing`] found before.
fn program(name: &str) -> PathBuf {
    find_program(name).unwrap_or_else(|| panic!("there is no `{name}` on this machine"))
}

/// Finds the library that shows a process users of its own.
fn nss_wrapper() -> Option<PathBuf> {
    let triplet = format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
    let dirs = [triplet.as_str(), "/usr/lib64", "/usr/lib", "/usr/local/lib"];
    let files = dirs
        .iter()
        .map(|dir| PathBuf::from(dir).join("libnss_wrapper.so"));
    files.into_iter().find(|file| file.is_file())
}
