//! A desktop's keyring without a desktop: D-Bus and GNOME Keyring.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::daemon::{self, Daemon};
use super::program;

/// A real Secret Service on a session bus of its own, with an empty keyring that is open.
#[derive(Debug)]
pub struct Keyring {
    // Before the directory and the bus, so that the daemons end first.
    _keyring: Daemon,
    _bus: Daemon,
    dir: TempDir,
}

impl Keyring {
    /// Starts both daemons.
    ///
    /// # Panics
    ///
    /// When one does not start, or [`Requirement::SecretService`](super::Requirement::SecretService)
    /// is missing.
    #[must_use]
    pub fn start() -> Self {
        let dir = daemon::shared_dir("ph-keyring-");
        for part in ["home", "run"] {
            std::fs::create_dir(dir.path().join(part)).expect("a directory can be made");
        }
        let mut bus = Command::new(program("dbus-daemon"));
        bus.args(["--session", "--nofork", "--nopidfile", "--address"])
            .arg(address(&dir));
        let mut bus = Daemon::start("dbus-daemon", &mut bus, &dir.path().join("bus.log"));
        let socket = dir.path().join("bus");
        let connects = || std::os::unix::net::UnixStream::connect(&socket).is_ok();
        assert!(
            bus.wait_until(connects),
            "dbus-daemon does not start:\n{}",
            bus.log_text()
        );
        // It makes a keyring that opens with the password on its standard input.
        let script = "echo sesame | exec \"$0\" --foreground --unlock --components=secrets";
        let mut keyring = Command::new("/bin/sh");
        keyring
            .args(["-c", script])
            .arg(program("gnome-keyring-daemon"));
        set_environment(&mut keyring, &dir);
        let log = dir.path().join("keyring.log");
        let mut keyring = Daemon::start("gnome-keyring-daemon", &mut keyring, &log);
        let is_there = || {
            let service = "string:org.freedesktop.secrets";
            let method = "org.freedesktop.DBus.NameHasOwner";
            let answer = dbus_send(&dir, "org.freedesktop.DBus", "/", &[method, service]);
            answer.contains("boolean true")
        };
        assert!(
            keyring.wait_until(is_there),
            "gnome-keyring-daemon does not start:\n{}",
            keyring.log_text()
        );
        Self {
            _keyring: keyring,
            _bus: bus,
            dir,
        }
    }

    /// The address of the bus, for `DBUS_SESSION_BUS_ADDRESS`.
    #[must_use]
    pub fn bus(&self) -> String {
        address(&self.dir)
    }

    /// Stores a secret as `secret-tool store ATTRIBUTE VALUE …` does.
    ///
    /// # Panics
    ///
    /// When it cannot be stored.
    pub fn store(&self, attributes: &[&str], secret: &str) {
        let mut command = Command::new(program("secret-tool"));
        command
            .args(["store", "--label=test"])
            .args(attributes)
            .stdin(Stdio::piped());
        set_environment(&mut command, &self.dir);
        let mut child = command.spawn().expect("secret-tool can be started");
        let mut stdin = child.stdin.take().expect("stdin is a pipe");
        std::io::Write::write_all(&mut stdin, secret.as_bytes()).expect("it reads the secret");
        drop(stdin);
        let status = child.wait().expect("secret-tool can be waited for");
        assert!(status.success(), "secret-tool store: {status}");
    }

    /// Locks the keyring; nobody is there to unlock it again.
    pub fn lock(&self) {
        let service = "/org/freedesktop/secrets";
        let method = "org.freedesktop.Secret.Service.Lock";
        let collections = "array:objpath:/org/freedesktop/secrets/collection/login";
        let name = "org.freedesktop.secrets";
        let answer = dbus_send(&self.dir, name, service, &[method, collections]);
        assert!(answer.contains("collection/login"), "{answer}");
    }
}

fn address(dir: &TempDir) -> String {
    format!("unix:path={}", dir.path().join("bus").display())
}

fn set_environment(command: &mut Command, dir: &TempDir) {
    let (home, run): (PathBuf, PathBuf) = (dir.path().join("home"), dir.path().join("run"));
    command
        .env("DBUS_SESSION_BUS_ADDRESS", address(dir))
        .env("HOME", &home)
        .env("XDG_DATA_HOME", home.join("share"))
        .env("XDG_RUNTIME_DIR", run);
}

/// Calls a method and returns what dbus-send(1) prints.
fn dbus_send(dir: &TempDir, name: &str, path: &str, call: &[&str]) -> String {
    let mut command = Command::new(program("dbus-send"));
    command
        .args(["--session", "--print-reply"])
        .arg(format!("--dest={name}"))
        .arg(path)
        .args(call);
    set_environment(&mut command, dir);
    let output = command.output().expect("dbus-send can be run");
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}
