//! The real world in one piece: sshd in front of Dovecot, and a home to fetch mail to.

use std::path::{Path, PathBuf};
use std::process::Command;

use russh::keys::PrivateKey;

use super::{Dovecot, Sshd, sshd};
use crate::home::Home;
use crate::keys::{self, KeyFormat, KeyType};
use crate::world;

/// What [`World`](crate::World) is with servers in process, with real ones.
///
/// The SSH user has no shell and may only forward to Dovecot's port on `localhost`.
///
/// ```no_run
/// use posthole_testkit::{mail, real::Mailhost};
///
/// let messages = mail::corpus(1, 300);
/// let host = Mailhost::start(&messages);
/// // host.posthole(bin).arg("fetch").status() …
/// host.home().assert_delivered(&messages);
/// ```
#[derive(Debug)]
pub struct Mailhost {
    home: Home,
    key: PrivateKey,
    sshd: Sshd,
    dovecot: Dovecot,
}

impl Mailhost {
    /// The user name, on both servers.
    pub const USER: &'static str = Home::USER;
    /// The password of the mailbox.
    pub const MAIL_PASSWORD: &'static str = Dovecot::PASSWORD;
    /// The password for SSH.
    pub const SSH_PASSWORD: &'static str = "ssh secret #2";

    /// Starts both servers, with these messages in the mailbox.
    ///
    /// # Panics
    ///
    /// When one does not start, or something of
    /// [`Requirement::MAILHOST`](super::Requirement::MAILHOST) is missing.
    #[must_use]
    pub fn start<M: AsRef<[u8]>>(messages: impl IntoIterator<Item = M>) -> Self {
        Self::start_with(messages, |sshd| sshd)
    }

    /// Starts both servers, with a change to sshd before it starts.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start) does.
    #[must_use]
    pub fn start_with<M: AsRef<[u8]>>(
        messages: impl IntoIterator<Item = M>,
        change: impl FnOnce(sshd::Builder) -> sshd::Builder,
    ) -> Self {
        Self::start_on(Dovecot::start(messages), change)
    }

    /// Starts an SSH server in front of this mail server, with a change to the former before it
    /// starts.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start) does.
    #[must_use]
    pub fn start_on(dovecot: Dovecot, change: impl FnOnce(sshd::Builder) -> sshd::Builder) -> Self {
        let key = keys::generate(KeyType::Ed25519);
        let sshd = Sshd::builder()
            .key(key.public_key())
            .password(Self::SSH_PASSWORD)
            .permit_open("localhost", dovecot.port());
        let sshd = match dovecot.tls_addr() {
            Some(addr) => sshd.permit_open("localhost", addr.port()),
            None => sshd,
        };
        let sshd = change(sshd).start();
        let home = Home::new();
        home.write_identity(&key, KeyFormat::OpenSsh, None);
        home.write_known_hosts(&sshd.known_hosts_line("127.0.0.1"));
        home.write_password(Self::MAIL_PASSWORD);
        // Debian's system-wide configuration would have it hashed.
        home.write_ssh_config("HashKnownHosts no\n");
        let host = Self {
            home,
            key,
            sshd,
            dovecot,
        };
        host.home
            .write_config(&world::account_config(&host.url(), &host.via()));
        host
    }

    /// The home directory and all files in it.
    #[must_use]
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// The key in the private key file, which sshd accepts.
    #[must_use]
    pub fn key(&self) -> &PrivateKey {
        &self.key
    }

    /// The SSH server.
    #[must_use]
    pub fn sshd(&self) -> &Sshd {
        &self.sshd
    }

    /// The SSH server, to restart it.
    pub fn sshd_mut(&mut self) -> &mut Sshd {
        &mut self.sshd
    }

    /// The POP3 server.
    #[must_use]
    pub fn dovecot(&self) -> &Dovecot {
        &self.dovecot
    }

    /// The mailbox as the SSH server sees it, for the command line.
    #[must_use]
    pub fn url(&self) -> String {
        format!("pop3://{}@localhost:{}", Self::USER, self.dovecot.port())
    }

    /// The SSH server as `user@host:port`, for `--via`.
    #[must_use]
    pub fn via(&self) -> String {
        format!("{}@{}", Self::USER, self.sshd.addr())
    }

    /// A command for the given program, run in this world; see [`Home::command_as_user`].
    #[must_use]
    pub fn posthole(&self, bin: &Path) -> Command {
        self.home.command_as_user(bin)
    }

    /// The Maildir that mail is delivered to.
    #[must_use]
    pub fn maildir(&self) -> PathBuf {
        self.home.maildir()
    }
}
