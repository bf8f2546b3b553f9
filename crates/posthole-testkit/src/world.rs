//! One builder for the whole world around the program: servers, mail, keys and a home directory.

use std::ffi::OsStr;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::Command;

use russh::keys::PrivateKey;
use tempfile::TempDir;

use crate::keys::{self, KeyFormat, KeyType};
use crate::mail;
use crate::pop3::{self, Body, Faults, Maildrop, Pop3Server};
use crate::ssh::{self, Login, SshServer};

/// An SSH server in front of a POP3 server with mail, and a home directory of someone who may
/// fetch it. All of it goes when this is dropped.
///
/// ```
/// use posthole_testkit::{World, mail};
///
/// let world = World::builder().messages(mail::corpus(1, 10)).build();
/// assert!(world.known_hosts().is_file());
/// assert_eq!(world.delivered(), Vec::<Vec<u8>>::new());
/// // world.posthole(Path::new(env!("CARGO_BIN_EXE_posthole"))).arg("fetch").status()
/// ```
///
/// ```text
/// DIR/home/.ssh/id_ed25519, id_ed25519.pub, known_hosts
/// DIR/home/.config/posthole/config.toml
/// DIR/home/mail-password
/// DIR/home/Mail                   (made by whoever delivers)
/// DIR/tmp, DIR/run                TMPDIR, XDG_RUNTIME_DIR
/// ```
#[derive(Debug)]
pub struct World {
    dir: TempDir,
    key: PrivateKey,
    maildrop: Maildrop,
    pop3: Pop3Server,
    ssh: SshServer,
}

impl World {
    /// The user name, on the SSH server and on the POP3 server.
    pub const USER: &'static str = "msingh";
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
            passphrase: None,
            faults: Faults::new(),
            change_pop3: Box::new(|builder| builder),
            change_ssh: Box::new(|builder| builder),
            knows_host: true,
        }
    }

    /// The directory that holds everything.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The home directory.
    #[must_use]
    pub fn home(&self) -> PathBuf {
        self.dir().join("home")
    }

    /// The Maildir of the configuration; whoever delivers makes it.
    #[must_use]
    pub fn maildir(&self) -> PathBuf {
        self.home().join("Mail")
    }

    /// The private key file, which the SSH server accepts.
    #[must_use]
    pub fn identity(&self) -> PathBuf {
        self.home().join(".ssh/id_ed25519")
    }

    /// The key in the private key file.
    #[must_use]
    pub fn key(&self) -> &PrivateKey {
        &self.key
    }

    /// The known_hosts file.
    #[must_use]
    pub fn known_hosts(&self) -> PathBuf {
        self.home().join(".ssh/known_hosts")
    }

    /// The file with the mailbox's password.
    #[must_use]
    pub fn password_file(&self) -> PathBuf {
        self.home().join("mail-password")
    }

    /// The configuration file, which describes the account `work` of this world.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.home().join(".config/posthole/config.toml")
    }

    /// Where records are kept.
    #[must_use]
    pub fn state_dir(&self) -> PathBuf {
        self.home().join(".local/state/posthole")
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

    /// The SSH server, for `--via`.
    #[must_use]
    pub fn via(&self) -> String {
        via(&self.ssh)
    }

    /// A command for the given program, with nothing in its environment but this world.
    ///
    /// No variable of the test's own environment gets through, save `PATH` and what coverage tools
    /// need; `HOME`, the `XDG_*` directories and `TMPDIR` are inside the world, and the working
    /// directory is its home.
    pub fn posthole(&self, bin: &Path) -> Command {
        let home = self.home();
        let mut command = Command::new(bin);
        command.env_clear().current_dir(&home);
        for name in ["PATH", "LLVM_PROFILE_FILE"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        let set: [(&str, &OsStr); 7] = [
            ("HOME", home.as_os_str()),
            ("LANG", OsStr::new("C.UTF-8")),
            ("LOGNAME", OsStr::new(Self::USER)),
            ("RUST_BACKTRACE", OsStr::new("1")),
            ("TERM", OsStr::new("dumb")),
            ("TZ", OsStr::new("UTC")),
            ("USER", OsStr::new(Self::USER)),
        ];
        command.envs(set);
        command.env("TMPDIR", self.dir().join("tmp"));
        command.env("XDG_CACHE_HOME", home.join(".cache"));
        command.env("XDG_CONFIG_HOME", home.join(".config"));
        command.env("XDG_DATA_HOME", home.join(".local/share"));
        command.env("XDG_RUNTIME_DIR", self.dir().join("run"));
        command.env("XDG_STATE_HOME", home.join(".local/state"));
        command
    }

    /// The messages in the Maildir, in `new` and in `cur`, sorted; empty without a Maildir.
    ///
    /// Compare it with [`mail::delivered_sorted`].
    #[must_use]
    pub fn delivered(&self) -> Vec<Vec<u8>> {
        maildir_messages(&self.maildir())
    }

    /// Checks that the Maildir holds exactly these messages, each once, and nothing in `tmp`.
    ///
    /// # Panics
    ///
    /// When it does not, saying what is missing and what is too much.
    #[track_caller]
    pub fn assert_delivered<M: AsRef<[u8]>>(&self, expected: impl IntoIterator<Item = M>) {
        assert_maildir_holds(&self.maildir(), expected);
    }
}

/// What [`World::builder`] makes.
pub struct Builder {
    ip: IpAddr,
    maildrop: Maildrop,
    key_type: KeyType,
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

        let dir = tempfile::Builder::new().prefix("posthole-world-").tempdir();
        let dir = dir.unwrap_or_else(|error| panic!("cannot make a directory: {error}"));
        let world = World {
            dir,
            key,
            maildrop: self.maildrop,
            pop3,
            ssh,
        };
        for path in ["home/.ssh", "home/.config/posthole", "tmp", "run"] {
            make_private_dir(&world.dir().join(path));
        }
        keys::write(
            world.identity(),
            &world.key,
            KeyFormat::OpenSsh,
            self.passphrase.as_deref(),
        );
        if self.knows_host {
            let line = world
                .ssh
                .known_hosts_line(&world.ssh.addr().ip().to_string());
            keys::write_private(&world.known_hosts(), line.as_bytes());
        }
        let password = format!("{}\n", World::MAIL_PASSWORD);
        keys::write_private(&world.password_file(), password.as_bytes());
        keys::write_private(&world.config(), config(&world).as_bytes());
        world
    }
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder")
            .field("faults", &self.faults)
            .finish_non_exhaustive()
    }
}

/// The messages of a Maildir, in `new` and in `cur`, sorted; empty where there is none.
#[must_use]
pub fn maildir_messages(maildir: &Path) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    for part in ["new", "cur"] {
        for path in files(&maildir.join(part)) {
            let message = fs::read(&path);
            messages
                .push(message.unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display())));
        }
    }
    messages.sort();
    messages
}

/// Checks that a Maildir holds what these messages become, each once, and nothing in `tmp`.
///
/// # Panics
///
/// When it does not, saying what is missing and what is too much.
#[track_caller]
pub fn assert_maildir_holds<M: AsRef<[u8]>>(maildir: &Path, expected: impl IntoIterator<Item = M>) {
    let expected = mail::delivered_sorted(expected);
    let found = maildir_messages(maildir);
    let left = files(&maildir.join("tmp"));
    if expected == found && left.is_empty() {
        return;
    }
    let missing = difference(&expected, &found);
    let surplus = difference(&found, &expected);
    panic!(
        "{} holds {} messages where {} are expected\nmissing: {}\ntoo much: {}\nin tmp: {}",
        maildir.display(),
        found.len(),
        expected.len(),
        describe(&missing),
        describe(&surplus),
        left.len(),
    );
}

/// What is in `a` more often than in `b`; both are sorted.
fn difference<'a>(a: &'a [Vec<u8>], b: &[Vec<u8>]) -> Vec<&'a [u8]> {
    let mut rest = b.iter().peekable();
    let mut only = Vec::new();
    for message in a {
        while rest.next_if(|other| *other < message).is_some() {}
        if rest.next_if(|other| *other == message).is_none() {
            only.push(message.as_slice());
        }
    }
    only
}

fn describe(messages: &[&[u8]]) -> String {
    let mut text = format!("{} messages", messages.len());
    for message in messages.iter().take(5) {
        let start = &message[..message.len().min(200)];
        text += &format!("\n  {} octets: {}", message.len(), start.escape_ascii());
    }
    text
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    let entries = entries.map(|entry| entry.expect("a directory can be read to its end").path());
    entries.collect()
}

fn make_private_dir(path: &Path) {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .unwrap_or_else(|error| panic!("cannot make {}: {error}", path.display()));
}

/// `user@host:port`, with brackets around an IPv6 address.
fn via(ssh: &SshServer) -> String {
    format!("{}@{}", World::USER, ssh.addr())
}

fn config(world: &World) -> String {
    format!(
        "[account.work]\n\
         server = \"{}\"\n\
         via = \"{}\"\n\
         password = {{ file = \"~/mail-password\" }}\n\
         deliver = \"maildir:~/Mail\"\n",
        world.url(),
        world.via(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_world_has_what_its_documentation_says_and_no_foreign_environment() {
        let world = World::builder().messages(mail::small(2)).build();
        assert_eq!((world.maildrop().len(), world.ssh().connections()), (2, 0));
        for path in [
            world.identity(),
            world.known_hosts(),
            world.config(),
            world.password_file(),
        ] {
            assert!(path.is_file(), "{}", path.display());
        }
        let output = world.posthole(Path::new("/usr/bin/env")).output().unwrap();
        let env = String::from_utf8(output.stdout).unwrap();
        assert!(
            env.contains(&format!("HOME={}", world.home().display())),
            "{env}"
        );
        assert!(!env.contains("CARGO"), "{env}");
    }

    #[test]
    fn delivered_mail_is_compared_as_a_multiset() {
        let world = World::builder().build();
        let new = world.maildir().join("new");
        fs::create_dir_all(&new).unwrap();
        fs::create_dir_all(world.maildir().join("cur")).unwrap();
        fs::write(new.join("a"), "one\n").unwrap();
        fs::write(world.maildir().join("cur/b:2,S"), "two\n").unwrap();
        world.assert_delivered(["two\r\n", "one"]);
        fs::write(new.join("c"), "one\n").unwrap();
        let messages = world.delivered();
        let expected = mail::delivered_sorted(["one", "two", "three"]);
        assert_eq!(difference(&messages, &expected), [b"one\n"]);
        assert_eq!(difference(&expected, &messages), [b"three\n"]);
    }
}
