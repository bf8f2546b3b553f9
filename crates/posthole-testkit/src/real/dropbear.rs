//! Dropbear, the SSH server of routers and small machines.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use russh::keys::PublicKey;
use tempfile::TempDir;

use super::daemon::{self, Daemon};
use super::{nss_wrapper, program};
use crate::keys;

/// A real `dropbear` on a loopback port.
///
/// It knows one user, `msingh`, who exists for it only, by libnss_wrapper. Unlike OpenSSH's it wants
/// users to have a shell, and forwards to wherever a client asks.
///
/// ```no_run
/// use posthole_testkit::keys::{self, KeyType};
/// use posthole_testkit::real::Dropbear;
///
/// let key = keys::generate(KeyType::Ed25519);
/// let dropbear = Dropbear::start(key.public_key());
/// println!("ssh -p {} msingh@127.0.0.1", dropbear.port());
/// ```
#[derive(Debug)]
pub struct Dropbear {
    // Before the directory, so that the daemon ends first.
    daemon: Daemon,
    addr: SocketAddr,
    host_key: String,
    _dir: TempDir,
}

impl Dropbear {
    /// The only user.
    pub const USER: &'static str = "msingh";

    /// Starts a server that lets the user in with this key.
    ///
    /// # Panics
    ///
    /// When it does not start, or a [`Requirement`](super::Requirement) is missing.
    #[must_use]
    pub fn start(key: &PublicKey) -> Self {
        let dir = daemon::shared_dir("ph-dropbear-");
        let path = dir.path();
        let host_key = make_host_key(&path.join("host_key"));
        write_user(path, key);

        let nss_wrapper = nss_wrapper().expect("libnss-wrapper is installed");
        let (daemon, port) = daemon::with_free_port("dropbear", |port| {
            let mut command = Command::new(program("dropbear"));
            command
                // In the foreground, with its log on standard error, and no passwords.
                .args(["-F", "-E", "-s", "-p"])
                .arg(format!("127.0.0.1:{port}"))
                .arg("-r")
                .arg(path.join("host_key"))
                .arg("-P")
                .arg(path.join("pid"))
                .env("LD_PRELOAD", &nss_wrapper)
                .env("NSS_WRAPPER_PASSWD", path.join("passwd"))
                .env("NSS_WRAPPER_GROUP", path.join("group"));
            let mut daemon = Daemon::start("dropbear", &mut command, &path.join("log"));
            // It listens before it writes its number down, and says so only if it cannot.
            if daemon.wait_until(|| path.join("pid").exists())
                && !daemon.log_text().contains("Failed listening")
            {
                Ok((daemon, port))
            } else {
                Err(daemon.log_text())
            }
        });
        Self {
            daemon,
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

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.addr.port()
    }

    /// Its known_hosts line.
    #[must_use]
    pub fn known_hosts_line(&self) -> String {
        format!("[127.0.0.1]:{} {}\n", self.port(), self.host_key)
    }

    /// What it logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.daemon.log_text()
    }
}

/// Makes a host key in Dropbear's own format, and returns its algorithm and text.
fn make_host_key(path: &Path) -> String {
    let output = Command::new(program("dropbearkey"))
        .args(["-t", "ed25519", "-f"])
        .arg(path)
        .output()
        .expect("dropbearkey can be started");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = said.lines().find(|line| line.starts_with("ssh-ed25519 "));
    let line = line.unwrap_or_else(|| panic!("dropbearkey says {output:?}"));
    let mut words = line.split(' ');
    let key: Vec<_> = words.by_ref().take(2).collect();
    key.join(" ")
}

/// The user that this server sees, with a key in the only place where it looks.
fn write_user(dir: &Path, key: &PublicKey) {
    let (uid, gid) = daemon::mail_owner();
    let home = dir.join("home");
    let ssh = home.join(".ssh");
    fs::create_dir_all(&ssh).expect("a directory can be made");
    write(
        &ssh.join("authorized_keys"),
        &format!("{}\n", keys::public_line(key)),
    );
    let user = Dropbear::USER;
    let home = home.display();
    write(
        &dir.join("passwd"),
        &format!("root:x:0:0::/root:/bin/sh\n{user}:*:{uid}:{gid}::{home}:/bin/sh\n"),
    );
    write(&dir.join("group"), &format!("root:x:0:\nmail:x:{gid}:\n"));
}

/// Writes a file that the user can read, and nobody else can write.
fn write(path: &Path, text: &str) {
    let written = fs::write(path, text)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o644)));
    written.unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
}
