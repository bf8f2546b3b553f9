//! OpenSSH's server, for one user without a shell.

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};

use russh::keys::{PrivateKey, PublicKey};
use rustix::process::Signal;
use tempfile::TempDir;

use super::daemon::{self, Daemon};
use super::{library, nss_wrapper, pam_wrapper, program};
use crate::keys::{self, KeyFormat, KeyType};

/// A real `sshd` on a loopback port.
///
/// It knows one user, `msingh`, whose shell is `nologin`, and who exists for this `sshd` only, by
/// libnss_wrapper; it forwards to one place and does nothing else.
///
/// ```no_run
/// use posthole_testkit::keys::{self, KeyType};
/// use posthole_testkit::real::Sshd;
///
/// let key = keys::generate(KeyType::Ed25519);
/// let sshd = Sshd::builder().key(key.public_key()).permit_open("localhost", 11110).start();
/// println!("ssh -p {} msingh@127.0.0.1", sshd.port());
/// ```
#[derive(Debug)]
pub struct Sshd {
    // Before the directory, so that the daemon ends first.
    daemon: Daemon,
    command: Command,
    addr: SocketAddr,
    host_key: PrivateKey,
    dir: TempDir,
}

impl Sshd {
    /// The only user.
    pub const USER: &'static str = "msingh";

    /// A server that lets nobody in and forwards nowhere, until it is told more.
    #[must_use]
    pub fn builder() -> Builder {
        Builder {
            keys: Vec::new(),
            password: None,
            is_expired: false,
            rounds: Vec::new(),
            permit_open: Vec::new(),
            options: Vec::new(),
            host_keys: Vec::new(),
            certificates: Vec::new(),
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

    /// Its host key, the first if it has several.
    #[must_use]
    pub fn host_key(&self) -> &PublicKey {
        self.host_key.public_key()
    }

    /// The known_hosts line for this server under that name.
    #[must_use]
    pub fn known_hosts_line(&self, host: &str) -> String {
        keys::known_hosts_line(host, self.port(), self.host_key())
    }

    /// What it logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.daemon.log_text()
    }

    /// Kills it with all connections, and starts it again on the same port.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub fn restart(&mut self) {
        self.daemon.kill();
        let log = self.dir.path().join("log");
        let listening = listening_at(self.port());
        let count = |text: String| text.matches(&listening).count();
        let before = count(self.daemon.log_text());
        self.daemon = Daemon::start("sshd", &mut self.command, &log);
        let read = || String::from_utf8_lossy(&fs::read(&log).unwrap_or_default()).into_owned();
        assert!(
            self.daemon.wait_until(|| count(read()) > before),
            "sshd does not start again:\n{}",
            read()
        );
    }

    /// Stops it and all its connections without ending them (SIGSTOP), as a network that is gone.
    pub fn freeze(&self) {
        self.daemon.signal_all(Signal::STOP);
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.daemon.signal_all(Signal::CONT);
    }
}

/// One question of a login by keyboard-interactive.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    /// What has to be answered.
    pub answer: &'static str,
    /// Whether the answer may be shown while it is typed.
    pub echo: bool,
}

/// What [`Sshd::builder`] makes.
#[derive(Debug)]
pub struct Builder {
    keys: Vec<String>,
    password: Option<String>,
    is_expired: bool,
    rounds: Vec<Round>,
    permit_open: Vec<String>,
    options: Vec<String>,
    host_keys: Vec<PrivateKey>,
    /// In the form of files.
    certificates: Vec<String>,
}

impl Builder {
    /// Lets the user in with this key.
    #[must_use]
    pub fn key(self, key: &PublicKey) -> Self {
        self.authorized_keys(&keys::public_line(key))
    }

    /// Adds a line to `authorized_keys`, options and all (sshd(8), AUTHORIZED_KEYS FILE FORMAT).
    #[must_use]
    pub fn authorized_keys(mut self, line: &str) -> Self {
        self.keys.push(line.to_owned());
        self
    }

    /// Lets the user in with this password; needs the `openssl` command.
    #[must_use]
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self
    }

    /// Has the password expired, so that it must be changed at the next login (shadow(5)).
    #[must_use]
    pub fn expired_password(mut self) -> Self {
        self.is_expired = true;
        self
    }

    /// Lets the user in who gives all these answers, round by round, by keyboard-interactive
    /// (RFC 4256) and PAM; needs [`Requirement::PamWrapper`](super::Requirement::PamWrapper).
    ///
    /// Where passwords are taken too, they are asked of PAM: with one round, its answer is one.
    #[must_use]
    pub fn rounds(mut self, rounds: &[Round]) -> Self {
        self.rounds = rounds.to_vec();
        self
    }

    /// Forwards to `host:port`.
    #[must_use]
    pub fn permit_open(mut self, host: &str, port: u16) -> Self {
        self.permit_open.push(format!("{host}:{port}"));
        self
    }

    /// Adds a line to `sshd_config`, such as `RekeyLimit 1M`.
    #[must_use]
    pub fn option(mut self, line: &str) -> Self {
        self.options.push(line.to_owned());
        self
    }

    /// Gives it a host key, instead of an Ed25519 key of its own making; one of each type at most.
    #[must_use]
    pub fn host_key(mut self, key: &PrivateKey) -> Self {
        self.host_keys.push(key.clone());
        self
    }

    /// Gives it a certificate for one of its host keys, as it stands in a file.
    #[must_use]
    pub fn host_certificate(mut self, certificate: &str) -> Self {
        self.certificates.push(certificate.to_owned());
        self
    }

    /// Starts the server.
    ///
    /// # Panics
    ///
    /// When it does not start, or a [`Requirement`](super::Requirement) is missing.
    #[must_use]
    pub fn start(mut self) -> Sshd {
        let dir = daemon::shared_dir("ph-sshd-");
        let path = dir.path();
        if daemon::is_root() {
            // Where it locks up its unprivileged child; Debian makes it when the service starts.
            fs::create_dir_all("/run/sshd").expect("root can make /run/sshd");
        }
        if self.host_keys.is_empty() {
            self.host_keys.push(keys::generate(KeyType::Ed25519));
        }
        let host_key = self.host_keys[0].clone();
        for (index, key) in self.host_keys.iter().enumerate() {
            let path = path.join(format!("host_key{index}"));
            keys::write(path, key, KeyFormat::OpenSsh, None);
        }
        for (index, certificate) in self.certificates.iter().enumerate() {
            write(&path.join(format!("certificate{index}")), certificate);
        }
        write(
            &path.join("authorized_keys"),
            &(self.keys.join("\n") + "\n"),
        );
        self.write_users(path);
        if !self.rounds.is_empty() {
            self.write_pam(path);
        }

        let (daemon, command, port) = daemon::with_free_port("sshd", |port| {
            write(&path.join("sshd_config"), &self.config(path, port));
            // The name of the binary must be absolute: sshd executes itself again.
            let mut command = Command::new(program("sshd"));
            command
                .args(["-D", "-e", "-f"])
                .arg(path.join("sshd_config"))
                .env("LD_PRELOAD", self.preloaded())
                .env("NSS_WRAPPER_PASSWD", path.join("passwd"))
                .env("NSS_WRAPPER_GROUP", path.join("group"));
            if self.is_expired {
                command.env("NSS_WRAPPER_SHADOW", path.join("shadow"));
            }
            if !self.rounds.is_empty() {
                command
                    .env("PAM_WRAPPER", "1")
                    .env("PAM_WRAPPER_SERVICE_DIR", path.join("pam"));
            }
            let log = path.join("log");
            let mut daemon = Daemon::start("sshd", &mut command, &log);
            let listening = listening_at(port);
            let ready = || {
                String::from_utf8_lossy(&fs::read(&log).unwrap_or_default()).contains(&listening)
            };
            if daemon.wait_until(ready) {
                Ok((daemon, command, port))
            } else {
                Err(daemon.log_text())
            }
        });
        let addr = (Ipv4Addr::LOCALHOST, port).into();
        Sshd {
            daemon,
            command,
            addr,
            host_key,
            dir,
        }
    }

    fn config(&self, dir: &Path, port: u16) -> String {
        let dir = dir.display();
        let permit_open = if self.permit_open.is_empty() {
            "none".to_owned()
        } else {
            self.permit_open.join(" ")
        };
        // The first value of a keyword counts, so what the test asks for comes first.
        let mut config = self.options.join("\n");
        for index in 0..self.host_keys.len() {
            config += &format!("\nHostKey {dir}/host_key{index}");
        }
        for index in 0..self.certificates.len() {
            config += &format!("\nHostCertificate {dir}/certificate{index}");
        }
        config += &format!(
            "\n\
             ListenAddress 127.0.0.1:{port}\n\
             PidFile none\n\
             LogLevel VERBOSE\n\
             AuthorizedKeysFile {dir}/authorized_keys\n\
             StrictModes no\n\
             UsePAM {pam}\n\
             PasswordAuthentication {password}\n\
             KbdInteractiveAuthentication {pam}\n\
             AllowTcpForwarding local\n\
             PermitOpen {permit_open}\n\
             X11Forwarding no\n\
             PermitTTY no\n\
             MaxStartups 100\n\
             Compression yes\n",
            pam = yes_or_no(!self.rounds.is_empty()),
            password = yes_or_no(self.password.is_some()),
        );
        config
    }

    /// What shows sshd users, and PAM services, of its own.
    fn preloaded(&self) -> OsString {
        let mut libraries = nss_wrapper()
            .expect("libnss-wrapper is installed")
            .into_os_string();
        if !self.rounds.is_empty() {
            libraries.push(":");
            libraries.push(pam_wrapper().expect("libpam-wrapper is installed"));
        }
        libraries
    }

    /// A PAM service (pam_matrix(8)) that asks for one answer after another.
    fn write_pam(&self, dir: &Path) {
        let module = library("pam_wrapper/pam_matrix.so").expect("libpam-wrapper is installed");
        let module = module.display();
        fs::create_dir(dir.join("pam")).expect("a directory can be made in a temporary one");
        let mut service = String::new();
        for (index, Round { answer, echo }) in self.rounds.iter().enumerate() {
            let answers = dir.join(format!("answers-{index}"));
            write(&answers, &format!("{}:{answer}:sshd\n", Sshd::USER));
            let echo = if *echo { " echo" } else { "" };
            service += &format!(
                "auth required {module} passdb={}{echo}\n",
                answers.display()
            );
        }
        service += "account required pam_permit.so\nsession required pam_permit.so\n";
        write(&dir.join("pam/sshd"), &service);
    }

    /// The users and groups that this sshd sees (passwd(5), group(5)).
    fn write_users(&self, dir: &Path) {
        let (uid, gid) = daemon::mail_owner();
        let hash = self
            .password
            .as_deref()
            .map_or_else(|| "*".to_owned(), crypt);
        let user = Sshd::USER;
        let home = dir.display();
        // As root, sshd puts its unprivileged child under the user `sshd`.
        let passwd = format!(
            "root:x:0:0::/root:/bin/sh\n\
             sshd:x:{SSHD_UID}:{gid}::/run/sshd:/usr/sbin/nologin\n\
             {user}:{hash}:{uid}:{gid}::{home}:/usr/sbin/nologin\n"
        );
        write(&dir.join("passwd"), &passwd);
        if self.is_expired {
            let shadow = format!("{user}:{hash}:0:0:99999:7:::\n");
            write(&dir.join("shadow"), &shadow);
        }
        write(&dir.join("group"), &format!("root:x:0:\nmail:x:{gid}:\n"));
    }
}

/// What it logs when it can be connected to.
fn listening_at(port: u16) -> String {
    format!("Server listening on 127.0.0.1 port {port}.")
}

fn yes_or_no(yes: bool) -> &'static str {
    if yes { "yes" } else { "no" }
}

/// The crypt(5) hash of a password.
fn crypt(password: &str) -> String {
    let mut child = Command::new(program("openssl"))
        .args(["passwd", "-6", "-stdin"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("openssl can be started");
    let mut stdin = child.stdin.take().expect("stdin is a pipe");
    writeln!(stdin, "{password}").expect("openssl reads the password");
    drop(stdin);
    let output = child.wait_with_output().expect("openssl can be waited for");
    let hash = String::from_utf8(output.stdout)
        .expect("a hash is ASCII")
        .trim()
        .to_owned();
    assert!(hash.starts_with("$6$"), "openssl passwd says {hash}");
    hash
}

fn write(path: &Path, text: &str) {
    fs::write(path, text)
        .unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
}

/// Any unprivileged number that nobody else has.
const SSHD_UID: u32 = 61_184;
