//! Real servers: OpenSSH's `sshd` and `ssh-agent`, Dropbear, Dovecot, and a Kerberos KDC.
//!
//! Each runs with a configuration of its own in a temporary directory, on a loopback port that was
//! free a moment before, as root and as an ordinary user alike, and is ended with all its processes
//! when its fixture is dropped. Its log is shown when the test fails.
//!
//! Not every machine has them. [`Suite`] runs tests that need them and reports those whose
//! [`Requirement`]s are missing as ignored, saying so; it never counts them as passed.

mod agent;
mod asyncssh;
mod daemon;
mod dovecot;
mod dropbear;
mod kdc;
mod keyring;
mod mailhost;
mod postfix;
mod sshd;
mod suite;
mod systemd;

use std::path::PathBuf;
use std::process::{Command, Stdio};

pub use agent::Agent;
pub use asyncssh::AsyncSsh;
pub use dovecot::Dovecot;
pub use dropbear::Dropbear;
pub use kdc::Kdc;
pub use keyring::Keyring;
pub use mailhost::Mailhost;
pub use postfix::Postfix;
pub use sshd::{Builder as SshdBuilder, Round, Sshd};
pub use suite::Suite;
pub use systemd::Systemd;

/// A program or a library that a test needs and a machine may lack.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Requirement {
    /// Dovecot with its POP3 server; Debian package `dovecot-pop3d`.
    Dovecot,
    /// The command that makes lock files in `/var/mail`; Debian package `liblockfile-bin`.
    Dotlockfile,
    /// Dovecot's IMAP server; Debian package `dovecot-imapd`.
    DovecotImap,
    /// Another SSH server, and the program that makes its keys; Debian package `dropbear-bin`.
    Dropbear,
    /// Dovecot's part for Kerberos; Debian package `dovecot-gssapi`.
    DovecotGssapi,
    /// The `curl` command; Debian package `curl`.
    Curl,
    /// Python; Debian package `python3`.
    Python,
    /// The program that stands in for systemd's socket units; Debian package `systemd`.
    SocketActivate,
    /// A feature of the program under test, which was built without it.
    Feature(&'static str),
    /// MIT's KDC and its tools; Debian packages `krb5-kdc`, `krb5-admin-server`, `krb5-user`.
    Kdc,
    /// Dovecot's `dovecot-lda`; Debian package `dovecot-core`.
    DovecotLda,
    /// Dovecot's LMTP server; Debian package `dovecot-lmtpd`.
    DovecotLmtp,
    /// The `maildrop` command; Debian package `maildrop`.
    Maildrop,
    /// fetchmail, whose language we speak; Debian package `fetchmail`.
    Fetchmail,
    /// fdm, which fetches and sorts mail; Debian package `fdm`.
    Fdm,
    /// getmail, another program that fetches mail; Debian package `getmail6`.
    Getmail,
    /// mpop, another program that fetches mail; Debian package `mpop`.
    Mpop,
    /// The right to mount file systems that only some processes see.
    MountNamespace,
    /// The library that shows a process users of its own; Debian package `libnss-wrapper`.
    NssWrapper,
    /// The library that shows a process PAM services of its own; Debian package `libpam-wrapper`.
    PamWrapper,
    /// Another SSH server, for what OpenSSH's never does; Debian package `python3-asyncssh`.
    AsyncSsh,
    /// The `openssl` command; Debian package `openssl`.
    OpenSsl,
    /// A keyring, its bus and its command; Debian packages `dbus`, `gnome-keyring` and
    /// `libsecret-tools`.
    SecretService,
    /// The mail server Postfix, and the rights to run it; Debian package `postfix`.
    Postfix,
    /// The `procmail` command; Debian package `procmail`.
    Procmail,
    /// The rights of root.
    Root,
    /// The `ssh` command; Debian package `openssh-client`.
    Ssh,
    /// `ssh-agent` and `ssh-add`; Debian package `openssh-client`.
    SshAgent,
    /// The `ssh-keygen` command; Debian package `openssh-client`.
    SshKeygen,
    /// The SSH server; Debian package `openssh-server`.
    Sshd,
    /// systemd, and the rights of root to start another one; Debian package `systemd`.
    Systemd,
}

impl Requirement {
    /// What a [`Mailhost`] needs, and who fetches from it as a user with OpenSSH would.
    pub const MAILHOST: &'static [Self] = &[
        Self::Dovecot,
        Self::NssWrapper,
        Self::OpenSsl,
        Self::Ssh,
        Self::Sshd,
    ];

    /// What has to be installed for this, or nothing if it is there.
    #[must_use]
    pub fn missing(self) -> Option<&'static str> {
        let (found, package) = match self {
            Self::Dovecot => (
                find_program("dovecot").is_some() && dovecot_has("pop3"),
                "dovecot-pop3d",
            ),
            Self::Dotlockfile => (find_program("dotlockfile").is_some(), "liblockfile-bin"),
            Self::DovecotImap => (dovecot_has("imap"), "dovecot-imapd"),
            Self::Dropbear => (
                find_program("dropbear").is_some() && find_program("dropbearkey").is_some(),
                "dropbear-bin",
            ),
            Self::DovecotGssapi => (dovecot_module("auth/libmech_gssapi.so"), "dovecot-gssapi"),
            Self::Curl => (find_program("curl").is_some(), "curl"),
            Self::Python => (find_program("python3").is_some(), "python3"),
            Self::SocketActivate => (find_program("systemd-socket-activate").is_some(), "systemd"),
            Self::Feature(name) => (false, name),
            Self::Kdc => (
                ["krb5kdc", "kdb5_util", "kadmin.local", "kinit"]
                    .iter()
                    .all(|name| find_program(name).is_some()),
                "krb5-kdc krb5-admin-server krb5-user",
            ),
            Self::DovecotLda => (dovecot_has("dovecot-lda"), "dovecot-core"),
            Self::DovecotLmtp => (dovecot_has("lmtp"), "dovecot-lmtpd"),
            Self::Maildrop => (find_program("maildrop").is_some(), "maildrop"),
            Self::Fetchmail => (find_program("fetchmail").is_some(), "fetchmail"),
            Self::Fdm => (find_program("fdm").is_some(), "fdm"),
            Self::Getmail => (find_program("getmail").is_some(), "getmail6"),
            Self::Mpop => (find_program("mpop").is_some(), "mpop"),
            Self::MountNamespace => (may_mount(), "to be run by root who may mount"),
            Self::NssWrapper => (nss_wrapper().is_some(), "libnss-wrapper"),
            Self::PamWrapper => (pam_wrapper().is_some(), "libpam-wrapper"),
            Self::AsyncSsh => (asyncssh::is_installed(), "python3-asyncssh"),
            Self::OpenSsl => (find_program("openssl").is_some(), "openssl"),
            Self::SecretService => (
                [
                    "dbus-daemon",
                    "dbus-send",
                    "gnome-keyring-daemon",
                    "secret-tool",
                ]
                .iter()
                .all(|name| find_program(name).is_some()),
                "dbus, gnome-keyring and libsecret-tools",
            ),
            Self::Postfix if !daemon::is_root() => (false, "to be run by root"),
            Self::Postfix => (postfix::master().is_some(), "postfix"),
            Self::Procmail => (find_program("procmail").is_some(), "procmail"),
            Self::Root => (daemon::is_root(), "to be run by root"),
            Self::Ssh => (find_program("ssh").is_some(), "openssh-client"),
            Self::SshAgent => (
                find_program("ssh-agent").is_some() && find_program("ssh-add").is_some(),
                "openssh-client",
            ),
            Self::SshKeygen => (find_program("ssh-keygen").is_some(), "openssh-client"),
            Self::Sshd => (find_program("sshd").is_some(), "openssh-server"),
            Self::Systemd => (
                systemd::is_possible(),
                "systemd, and root with namespaces and overlayfs",
            ),
        };
        (!found).then_some(package)
    }
}

/// Whether a file system can be mounted that nobody else sees.
fn may_mount() -> bool {
    let script = "mount -t tmpfs none /mnt && nsenter --version";
    let tried = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", script])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    tried.is_ok_and(|status| status.success())
}

/// Whether one of Dovecot's own programs is installed.
fn dovecot_has(program: &str) -> bool {
    let dirs = ["/usr/lib/dovecot", "/usr/libexec/dovecot"].map(PathBuf::from);
    dirs.iter().any(|dir| dir.join(program).exists())
}

/// Whether one of Dovecot's modules is installed.
fn dovecot_module(name: &str) -> bool {
    let dirs = ["/usr/lib/dovecot/modules", "/usr/lib64/dovecot"].map(PathBuf::from);
    dirs.iter().any(|dir| dir.join(name).exists())
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
pub(crate) fn nss_wrapper() -> Option<PathBuf> {
    library("libnss_wrapper.so")
}

/// Finds the library that shows a process PAM services of its own.
fn pam_wrapper() -> Option<PathBuf> {
    library("libpam_wrapper.so")
}

fn library(name: &str) -> Option<PathBuf> {
    let triplet = format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
    let dirs = [triplet.as_str(), "/usr/lib64", "/usr/lib", "/usr/local/lib"];
    let mut files = dirs.iter().map(|dir| PathBuf::from(dir).join(name));
    files.find(|file| file.is_file())
}
