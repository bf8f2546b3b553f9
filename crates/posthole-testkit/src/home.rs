//! The home directory of somebody who fetches mail, and the program run in it.

use std::fmt::Write as _;
use std::fs::{self, DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use russh::keys::PrivateKey;
use tempfile::TempDir;

use crate::keys::{self, KeyFormat};
use crate::mail;
use crate::real;

/// A home directory in a temporary directory; it goes when this is dropped.
///
/// ```text
/// DIR/home/.ssh/id_ed25519, id_ed25519.pub, known_hosts
/// DIR/home/.config/posthole/config.toml
/// DIR/home/mail-password
/// DIR/home/Mail                   (made by whoever delivers)
/// DIR/tmp, DIR/run                TMPDIR, XDG_RUNTIME_DIR
/// ```
#[derive(Debug)]
pub struct Home {
    dir: TempDir,
}

impl Home {
    /// The user name, here and on every server.
    pub const USER: &'static str = "msingh";

    /// An empty home directory: no key, no configuration.
    #[must_use]
    pub fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("posthole-home-").tempdir();
        let dir = dir.unwrap_or_else(|error| panic!("cannot make a directory: {error}"));
        let home = Self { dir };
        for path in ["home/.ssh", "home/.config/posthole", "tmp", "run"] {
            let path = home.dir.path().join(path);
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&path)
                .unwrap_or_else(|error| panic!("cannot make {}: {error}", path.display()));
        }
        home
    }

    /// The home directory itself.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    /// The Maildir of the configuration; whoever delivers makes it.
    #[must_use]
    pub fn maildir(&self) -> PathBuf {
        self.path().join("Mail")
    }

    /// The private key file, under the name that OpenSSH tries by itself.
    #[must_use]
    pub fn identity(&self) -> PathBuf {
        self.path().join(".ssh/id_ed25519")
    }

    /// The known_hosts file.
    #[must_use]
    pub fn known_hosts(&self) -> PathBuf {
        self.path().join(".ssh/known_hosts")
    }

    /// The file with the mailbox's password.
    #[must_use]
    pub fn password_file(&self) -> PathBuf {
        self.path().join("mail-password")
    }

    /// The configuration file.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.path().join(".config/posthole/config.toml")
    }

    /// Where records are kept.
    #[must_use]
    pub fn state_dir(&self) -> PathBuf {
        self.path().join(".local/state/posthole")
    }

    /// Writes the private key file and its public key.
    pub fn write_identity(&self, key: &PrivateKey, format: KeyFormat, passphrase: Option<&str>) {
        keys::write(self.identity(), key, format, passphrase);
    }

    /// Writes the known_hosts file.
    pub fn write_known_hosts(&self, text: &str) {
        keys::write_private(&self.known_hosts(), text.as_bytes());
    }

    /// Writes OpenSSH's configuration, which holds for whoever has this home in the user database; see
    /// [`command_as_user`](Self::command_as_user).
    pub fn write_ssh_config(&self, text: &str) {
        keys::write_private(&self.path().join(".ssh/config"), text.as_bytes());
    }

    /// Writes the file with the mailbox's password.
    pub fn write_password(&self, password: &str) {
        keys::write_private(&self.password_file(), format!("{password}\n").as_bytes());
    }

    /// Writes the configuration file.
    pub fn write_config(&self, text: &str) {
        keys::write_private(&self.config(), text.as_bytes());
    }

    /// Posthole at this path, as on a machine without OpenSSH; otherwise as [`command`](Self::command).
    ///
    /// OpenSSH looks for its files in the home directory of the user database, and would find those
    /// of whoever runs the tests.
    #[must_use]
    pub fn posthole(&self, bin: &Path) -> Command {
        let dir = self.dir.path().join("bin");
        let ssh = dir.join("ssh");
        if !ssh.exists() {
            fs::create_dir_all(&dir).expect("the home is ours to write to");
            let refusal = "#!/bin/sh\necho 'No user exists for uid 1000' >&2\nexit 255\n";
            keys::write_private(&ssh, refusal.as_bytes());
            fs::set_permissions(&ssh, Permissions::from_mode(0o700))
                .expect("the file is ours to change");
        }
        let mut path = dir.into_os_string();
        if let Some(others) = std::env::var_os("PATH") {
            path.push(":");
            path.push(others);
        }
        let mut command = self.command(bin);
        command.env("PATH", path);
        command
    }

    /// A command for a program that finds this home in the user database as well, as OpenSSH and
    /// whatever asks it want it; otherwise as [`command`](Self::command).
    ///
    /// # Panics
    ///
    /// Without libnss_wrapper.
    #[must_use]
    pub fn command_as_user(&self, program: &Path) -> Command {
        let nss_wrapper = real::nss_wrapper().expect("libnss-wrapper is installed");
        let write = |name: &str, text: String| {
            let path = self.dir.path().join(name);
            fs::write(&path, text).expect("the home is ours to write to");
            path
        };
        let user = Self::USER;
        let uid = rustix::process::getuid().as_raw();
        let gid = rustix::process::getgid().as_raw();
        let home = self.path();
        // Ours comes first, so that it is found for the user id that it shares with another.
        let and_others = |ours: String, file: &str| {
            ours + &fs::read_to_string(file).expect("this machine has users")
        };
        let passwd = format!("{user}:x:{uid}:{gid}::{}:/bin/sh\n", home.display());
        let mut command = self.command(program);
        command
            .env("LD_PRELOAD", nss_wrapper)
            .env(
                "NSS_WRAPPER_PASSWD",
                write("passwd", and_others(passwd, "/etc/passwd")),
            )
            .env(
                "NSS_WRAPPER_GROUP",
                write(
                    "group",
                    and_others(format!("{user}:x:{gid}:\n"), "/etc/group"),
                ),
            );
        command
    }

    /// A command for a program, with nothing in its environment but this home.
    ///
    /// No variable of the test's own environment gets through, save `PATH` and what coverage tools
    /// need; `HOME`, the `XDG_*` directories and `TMPDIR` are inside, there is no agent, and the
    /// working directory is the home directory.
    #[must_use]
    pub fn command(&self, program: &Path) -> Command {
        let home = self.path();
        let mut command = Command::new(program);
        command.env_clear().current_dir(&home);
        for name in ["PATH", "LLVM_PROFILE_FILE"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command
            .env("HOME", &home)
            .env("LANG", "C.UTF-8")
            .env("LOGNAME", Self::USER)
            .env("RUST_BACKTRACE", "1")
            .env("TERM", "dumb")
            .env("TMPDIR", self.dir.path().join("tmp"))
            .env("TZ", "UTC")
            .env("USER", Self::USER)
            .env("XDG_CACHE_HOME", home.join(".cache"))
            .env("XDG_CONFIG_HOME", home.join(".config"))
            .env("XDG_DATA_HOME", home.join(".local/share"))
            .env("XDG_RUNTIME_DIR", self.dir.path().join("run"))
            .env("XDG_STATE_HOME", home.join(".local/state"));
        command
    }

    /// The messages in the Maildir, sorted; see [`maildir_messages`].
    #[must_use]
    pub fn delivered(&self) -> Vec<Vec<u8>> {
        maildir_messages(&self.maildir())
    }

    /// Checks the Maildir; see [`assert_maildir_holds`].
    ///
    /// # Panics
    ///
    /// When it does not hold exactly these messages.
    #[track_caller]
    pub fn assert_delivered<M: AsRef<[u8]>>(&self, expected: impl IntoIterator<Item = M>) {
        assert_maildir_holds(&self.maildir(), expected);
    }
}

impl Default for Home {
    fn default() -> Self {
        Self::new()
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
        // Writing to a String cannot fail.
        write!(
            text,
            "\n  {} octets: {}",
            message.len(),
            start.escape_ascii()
        )
        .ok();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_sees_the_home_and_no_foreign_environment() {
        let home = Home::new();
        let output = home.posthole(Path::new("/usr/bin/env")).output().unwrap();
        let env = String::from_utf8(output.stdout).unwrap();
        assert!(
            env.contains(&format!("HOME={}", home.path().display())),
            "{env}"
        );
        assert!(!env.contains("CARGO"), "{env}");
    }

    #[test]
    fn delivered_mail_is_compared_as_a_multiset() {
        let home = Home::new();
        let new = home.maildir().join("new");
        fs::create_dir_all(&new).unwrap();
        fs::create_dir_all(home.maildir().join("cur")).unwrap();
        fs::write(new.join("a"), "one\n").unwrap();
        fs::write(home.maildir().join("cur/b:2,S"), "two\n").unwrap();
        home.assert_delivered(["two\r\n", "one"]);
        fs::write(new.join("c"), "one\n").unwrap();
        let messages = home.delivered();
        let expected = mail::delivered_sorted(["one", "two", "three"]);
        assert_eq!(difference(&messages, &expected), [b"one\n"]);
        assert_eq!(difference(&expected, &messages), [b"three\n"]);
    }
}
