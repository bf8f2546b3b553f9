//! OpenSSH's agent.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use russh::keys::PrivateKey;
use tempfile::TempDir;

use super::daemon::{self, Daemon};
use super::program;
use crate::keys::{self, KeyFormat};

/// A real `ssh-agent`.
#[derive(Debug)]
pub struct Agent {
    // Before the directory, so that the daemon ends first.
    _daemon: Daemon,
    dir: TempDir,
}

impl Agent {
    /// Starts an agent without keys.
    ///
    /// # Panics
    ///
    /// When it does not start, or [`Requirement::SshAgent`](super::Requirement::SshAgent) is
    /// missing.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(|command| command)
    }

    /// Starts an agent whose command was changed, such as with a program that confirms
    /// (`SSH_ASKPASS` in ssh-add(1)).
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start) does.
    #[must_use]
    pub fn start_with(change: impl FnOnce(&mut Command) -> &mut Command) -> Self {
        let dir = daemon::shared_dir("ph-agent-");
        let socket = dir.path().join("socket");
        let mut command = Command::new(program("ssh-agent"));
        change(&mut command);
        command.arg("-D").arg("-a").arg(&socket);
        let log = dir.path().join("log");
        let mut daemon = Daemon::start("ssh-agent", &mut command, &log);
        let ready = || UnixStream::connect(&socket).is_ok();
        assert!(
            daemon.wait_until(ready),
            "ssh-agent does not start:\n{}",
            daemon.log_text()
        );
        Self {
            _daemon: daemon,
            dir,
        }
    }

    /// Its socket, for `SSH_AUTH_SOCK`.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("socket")
    }

    /// Gives it a key.
    pub fn add(&self, key: &PrivateKey) {
        let path = self.dir.path().join("key");
        keys::write(&path, key, KeyFormat::OpenSsh, None);
        self.add_file(&path);
        for path in [path.with_extension("pub"), path] {
            std::fs::remove_file(path).expect("what was just written can be removed");
        }
    }

    /// Locks it, as `ssh-add -x` does, which insists on a terminal.
    pub fn lock(&self, passphrase: &str) {
        // SSH_AGENTC_LOCK (draft-miller-ssh-agent §4.7), and SSH_AGENT_SUCCESS.
        let length = u32::try_from(passphrase.len()).expect("a passphrase is short");
        let mut request = (5 + length).to_be_bytes().to_vec();
        request.push(22);
        request.extend(length.to_be_bytes());
        request.extend(passphrase.as_bytes());
        let mut stream = UnixStream::connect(self.socket()).expect("the agent listens");
        let mut answer = [0; 5];
        let locked = stream
            .write_all(&request)
            .and_then(|()| stream.read_exact(&mut answer));
        assert!(locked.is_ok() && answer == [0, 0, 0, 1, 6], "{answer:?}");
    }

    /// Gives it the key in a file without passphrase, and the certificate beside that.
    pub fn add_file(&self, path: &Path) {
        self.add_with(&[], path);
    }

    /// Gives it the key in a file without passphrase, with these options of ssh-add(1).
    pub fn add_with(&self, options: &[&str], path: &Path) {
        let output = Command::new(program("ssh-add"))
            .arg("-q")
            .args(options)
            .arg(path)
            .env("SSH_AUTH_SOCK", self.socket())
            .output()
            .expect("ssh-add can be run");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "ssh-add {}: {said}",
            path.display()
        );
    }
}
