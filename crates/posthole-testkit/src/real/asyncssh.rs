//! AsyncSSH as a server: it asks for a new password in place of one that has expired, which
//! OpenSSH's server never does.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use russh::keys::{PrivateKey, PublicKey};
use tempfile::TempDir;

use super::daemon::{self, Daemon};
use super::find_program;
use crate::keys::{self, KeyFormat, KeyType};

/// A server whose one user has a password that has expired.
#[derive(Debug)]
pub struct AsyncSsh {
    // Before the directory, so that the daemon ends first.
    _daemon: Daemon,
    addr: SocketAddr,
    host_key: PrivateKey,
    _dir: TempDir,
}

impl AsyncSsh {
    /// Starts the server.
    ///
    /// # Panics
    ///
    /// When it does not start, or [`Requirement::AsyncSsh`](super::Requirement::AsyncSsh) is
    /// missing.
    #[must_use]
    pub fn start() -> Self {
        let dir = daemon::shared_dir("ph-asyncssh-");
        let host_key = keys::generate(KeyType::Ed25519);
        let key_file = dir.path().join("host_key");
        keys::write(&key_file, &host_key, KeyFormat::OpenSsh, None);
        let python = python().expect("python3-asyncssh is installed");
        let (daemon, port) = daemon::with_free_port("asyncssh", |port| {
            let mut command = Command::new(&python);
            command
                .args(["-c", SCRIPT])
                .arg(&key_file)
                .arg(port.to_string());
            let log = dir.path().join("log");
            let mut daemon = Daemon::start("asyncssh", &mut command, &log);
            let ready = || std::fs::read_to_string(&log).is_ok_and(|log| log.contains("listening"));
            if daemon.wait_until(ready) {
                Ok((daemon, port))
            } else {
                Err(daemon.log_text())
            }
        });
        Self {
            _daemon: daemon,
            addr: (Ipv4Addr::LOCALHOST, port).into(),
            host_key,
            _dir: dir,
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The known_hosts line for this server under that name.
    #[must_use]
    pub fn known_hosts_line(&self, host: &str) -> String {
        keys::known_hosts_line(host, self.addr.port(), self.host_key())
    }

    fn host_key(&self) -> &PublicKey {
        self.host_key.public_key()
    }
}

/// Whether the library is there.
pub(super) fn is_installed() -> bool {
    python().is_some()
}

/// A Python that has the library: that of the system need not be the first in `PATH`.
fn python() -> Option<PathBuf> {
    let candidates = [find_program("python3"), Some("/usr/bin/python3".into())];
    let has_it = |python: &PathBuf| {
        Command::new(python)
            .args(["-c", "import asyncssh"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    candidates.into_iter().flatten().find(has_it)
}

const SCRIPT: &str = "
import asyncio, asyncssh, sys

class Server(asyncssh.SSHServer):
    def begin_auth(self, username):
        return True
    def password_auth_supported(self):
        return True
    def kbdint_auth_supported(self):
        return False
    def validate_password(self, username, password):
        raise asyncssh.PasswordChangeRequired('Your password has expired.')

async def main():
    await asyncssh.create_server(Server, '127.0.0.1', int(sys.argv[2]), server_host_keys=[sys.argv[1]])
    print('listening', flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
";
