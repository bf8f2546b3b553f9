//! One builder for the whole world around the program: servers, mail, keys and a home directory.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::Command;

use russh::keys::PrivateKey;

use crate::home::Home;
use crate::keys::{self, KeyFormat, KeyType};
use crate::pop3::{self, Body, Faults, Maildrop, Pop3Server};
use crate::ssh::{self, Login, SshServer};

/// An SSH server in front of a POP3 server with mail, and a home directory of someone who may
/// fetch it. All of it goes when this is dropped.
///
/// The configuration describes one account, `work`, whose way leads over SSH to `localhost:110`,
/// and whose mail goes to `~/Mail`.
///
/// ```
/// use posthole_testkit::{World, mail};
///
/// let world = World::builder().messages(mail::corpus(1, 10)).build();
/// assert!(world.home().known_hosts().is_file());
/// assert_eq!(world.delivered(), Vec::<Vec<u8>>::new());
/// // world.posthole(Path::new(env!("CARGO_BIN_EXE_posthole"))).arg("fetch").status()
/// ```
#[derive(Debug)]
pub struct World {
    home: Home,
    key: PrivateKey,
    maildrop: Maildrop,
    pop3: Pop3Server,
    ssh: SshServer,
}

impl World {
    /// The user name, on the SSH server and on the POP3 server.
    pub const USER: &'static str = Home::USER;
    /// The password of the mailbox.
    pub const MAIL_PASSWORD: &'static str = "mail secret #1";
    /// The password for SSH.
    pub const SSH_PASSWORD: &'static str = "ssh secret #2";

    /// A world with the default of everything: no mail, and nothing goes wrong.
    #[must_use]
    pub fn builder() -> Builder {
        Builder {
            ip: Ipv4Addr::LOCALHOST.into(),
            maildrop: Maildrop::new(),
            key_type: KeyType::Ed25519,
            key_format: KeyFormat::OpenSsh,
            passphrase: None,
            faults: Faults::new(),
            change_pop3: Box::new(|builder| builder),
            change_ssh: Box::new(|builder| builder),
            knows_host: true,
        }
    }

    /// The home directory and all files in it.
    #[must_use]
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// The key in the private key file, which the SSH server accepts.
    #[must_use]
    pub fn key(&self) -> &PrivateKey {
        &self.key
    }

    /// The mailbox on the server.
    #[must_use]
    pub fn maildrop(&self) -> &Maildrop {
        &self.maildrop
    }

    /// The POP3 server.
    #[must_use]
    pub fn pop3(&self) -> &Pop3Server {
        &self.pop3
    }

    /// The SSH server.
    #[must_use]
    pub fn ssh(&self) -> &SshServer {
        &self.ssh
    }

    /// The mailbox as the SSH server sees it, for the command line.
    #[must_use]
    pub fn url(&self) -> String {
        format!("pop3://{}@localhost:110", Self::USER)
    }

    /// The SSH server as `user@host:port`, for `--via`.
    #[must_use]
    pub fn via(&self) -> String {
        // An IPv6 socket address is displayed with brackets.
        format!("{}@{}", Self::USER, self.ssh.addr())
    }

    /// A command for the given program, run in this world; see [`Home::posthole`].
    #[must_use]
    pub fn posthole(&self, bin: &Path) -> Command {
        self.home.posthole(bin)
    }

    /// The Maildir that mail is delivered to.
    #[must_use]
    pub fn maildir(&self) -> PathBuf {
        self.home.maildir()
    }

    /// The messages in the Maildir, sorted; empty without a Maildir.
    #[must_use]
    pub fn delivered(&self) -> Vec<Vec<u8>> {
        self.home.delivered()
    }

    /// Checks that the Maildir holds exactly what these messages become, each once, and nothing in
    /// `tmp`.
    ///
    /// # Panics
    ///
    /// When it does not, saying what is missing and what is too much.
    #[track_caller]
    pub fn assert_delivered<M: AsRef<[u8]>>(&self, expected: impl IntoIterator<Item = M>) {
        self.home.assert_delivered(expected);
    }
}

/// What [`World::builder`] makes.
pub struct Builder {
    ip: IpAddr,
    maildrop: Maildrop,
    key_type: KeyType,
    key_format: KeyFormat,
    passphrase: Option<String>,
    faults: Faults,
    change_pop3: Box<dyn FnOnce(pop3::Builder) -> pop3::Builder>,
    change_ssh: Box<dyn FnOnce(ssh::Builder) -> ssh::Builder>,
    knows_host: bool,
}

impl Builder {
    /// Puts messages into the mailbox, besides those that are there.
    #[must_use]
    pub fn messages(self, messages: impl IntoIterator<Item = impl Into<Body>>) -> Self {
        for message in messages {
            self.maildrop.add(message);
        }
        self
    }

    /// Uses this mailbox.
    #[must_use]
    pub fn maildrop(mut self, maildrop: &Maildrop) -> Self {
        self.maildrop = maildrop.clone();
        self
    }

    /// Makes the POP3 server misbehave.
    #[must_use]
    pub fn faults(mut self, faults: Faults) -> Self {
        self.faults = faults;
        self
    }

    /// Makes a key of another type than Ed25519.
    #[must_use]
    pub fn key_type(mut self, key_type: KeyType) -> Self {
        self.key_type = key_type;
        self
    }

    /// Writes the key file in another format than OpenSSH's.
    #[must_use]
    pub fn key_format(mut self, format: KeyFormat) -> Self {
        self.key_format = format;
        self
    }

    /// Protects the key file with a passphrase.
    #[must_use]
    pub fn passphrase(mut self, passphrase: &str) -> Self {
        self.passphrase = Some(passphrase.to_owned());
        self
    }

    /// Leaves the known_hosts file out.
    #[must_use]
    pub fn without_known_host(mut self) -> Self {
        self.knows_host = false;
        self
    }

    /// Lets both servers listen on another loopback address, such as `::1`.
    #[must_use]
    pub fn listen_on(mut self, ip: IpAddr) -> Self {
        self.ip = ip;
        self
    }

    /// Changes the POP3 server before it starts.
    #[must_use]
    pub fn pop3(mut self, change: impl FnOnce(pop3::Builder) -> pop3::Builder + 'static) -> Self {
        self.change_pop3 = Box::new(change);
        self
    }

    /// Changes the SSH server before it starts.
    #[must_use]
    pub fn ssh(mut self, change: impl FnOnce(ssh::Builder) -> ssh::Builder + 'static) -> Self {
        self.change_ssh = Box::new(change);
        self
    }

    /// Starts the servers and writes the files.
    #[must_use]
    pub fn build(self) -> World {
        let pop3 = Pop3Server::builder()
            .account(World::USER, World::MAIL_PASSWORD, &self.maildrop)
            .faults(self.faults)
            .listen_on(self.ip);
        let pop3 = (self.change_pop3)(pop3).start();
        let key = keys::generate(self.key_type);
        let login = Login::new()
            .key(key.public_key())
            .password(World::SSH_PASSWORD);
        let ssh = SshServer::builder()
            .login(World::USER, login)
            .forward("localhost", 110, pop3.addr())
            .listen_on(self.ip);
        let ssh = (self.change_ssh)(ssh).start();

        let home = Home::new();
        home.write_identity(&key, self.key_format, self.passphrase.as_deref());
        if self.knows_host {
            home.write_known_hosts(&ssh.known_hosts_line(&ssh.addr().ip().to_string()));
        }
        home.write_password(World::MAIL_PASSWORD);
        let world = World {
            home,
            key,
            maildrop: self.maildrop,
            pop3,
            ssh,
        };
        world
            .home
            .write_config(&account_config(&world.url(), &world.via()));
        world
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("faults", &self.faults)
            .finish_non_exhaustive()
    }
}

/// The configuration of the account `work`.
pub(crate) fn account_config(url: &str, via: &str) -> String {
    format!(
        "[account.work]\n\
         server = \"{url}\"\n\
         via = \"{via}\"\n\
         password = {{ file = \"~/mail-password\" }}\n\
         deliver = \"maildir:~/Mail\"\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail;

    #[test]
    fn a_world_has_what_its_documentation_says() {
        let world = World::builder().messages(mail::small(2)).build();
        assert_eq!((world.maildrop().len(), world.ssh().connections()), (2, 0));
        let home = world.home();
        for path in [
            home.identity(),
            home.known_hosts(),
            home.config(),
            home.password_file(),
        ] {
            assert!(path.is_file(), "{}", path.display());
        }
    }

    #[test]
    fn a_world_can_live_on_ipv6() {
        let world = World::builder().listen_on("::1".parse().unwrap()).build();
        assert!(world.via().starts_with("msingh@[::1]:"), "{}", world.via());
        let known_hosts = std::fs::read_to_string(world.home().known_hosts()).unwrap();
        assert!(known_hosts.starts_with("[::1]:"), "{known_hosts}");
    }
}
