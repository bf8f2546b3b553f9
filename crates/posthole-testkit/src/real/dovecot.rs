//! Dovecot as a POP3 server, with one mailbox.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use data_encoding::{BASE64, BASE64URL_NOPAD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tempfile::TempDir;

use super::daemon::{self, Daemon};
use super::program;
use crate::home;
use crate::tls::Tls;

/// A real Dovecot on a loopback port, with the mailbox of `msingh`.
///
/// The mailbox is a Maildir whose files hold the messages in their CRLF form, so that Dovecot sends
/// exactly those octets; where the final line end is missing, it adds one. A message must not start
/// with a dot: Dovecot 2.3 does not stuff it, and a client would take it for the end.
///
/// ```no_run
/// use posthole_testkit::{mail, real::Dovecot};
///
/// let dovecot = Dovecot::start(mail::corpus(1, 300));
/// // … let a client fetch and delete …
/// assert_eq!(dovecot.messages(), Vec::<Vec<u8>>::new());
/// ```
#[derive(Debug)]
pub struct Dovecot {
    // Before the directory, so that the daemon ends first.
    daemon: Daemon,
    addr: SocketAddr,
    imap_addr: Option<SocketAddr>,
    tls_addr: Option<SocketAddr>,
    dir: TempDir,
    /// The keys that tokens are signed with, where there are any.
    keys: Option<TempDir>,
    added: AtomicU64,
}

impl Dovecot {
    /// The user; the first one, if there are more.
    pub const USER: &'static str = "msingh";
    /// The password of every user.
    pub const PASSWORD: &'static str = "mail secret #1";

    /// Starts a server with these messages.
    ///
    /// # Panics
    ///
    /// When it does not start, or [`Requirement::Dovecot`](super::Requirement::Dovecot) is missing.
    #[must_use]
    pub fn start<M: AsRef<[u8]>>(messages: impl IntoIterator<Item = M>) -> Self {
        Self::start_with(messages, "")
    }

    /// Starts a server with these messages and more lines of configuration.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start) does.
    #[must_use]
    pub fn start_with<M: AsRef<[u8]>>(
        messages: impl IntoIterator<Item = M>,
        options: &str,
    ) -> Self {
        let messages: Vec<M> = messages.into_iter().collect();
        let with = With {
            options,
            ..With::default()
        };
        Self::start_serving(&messages, 1, with)
    }

    /// Starts a server with these messages that takes access tokens ([`token`](Self::token)) by
    /// XOAUTH2 and OAUTHBEARER, and no password.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start) does.
    #[must_use]
    pub fn start_with_tokens<M: AsRef<[u8]>>(messages: impl IntoIterator<Item = M>) -> Self {
        let messages: Vec<M> = messages.into_iter().collect();
        // Dovecot looks for the key of a token under `azp/alg/kid`; these are its defaults.
        let keys = daemon::shared_dir("ph-tokens-");
        let dir = keys.path().join("default/HS256");
        fs::create_dir_all(&dir).expect("the directory can be written to");
        fs::write(dir.join("default"), BASE64.encode(TOKEN_KEY)).expect("as above");
        let settings = keys.path().join("oauth2.conf");
        let text = format!(
            "introspection_mode = local\n\
             local_validation_key_dict = fs:posix:prefix={}/\n\
             username_attribute = sub\n",
            keys.path().display()
        );
        fs::write(&settings, text).expect("as above");
        let options = format!(
            "auth_mechanisms = xoauth2 oauthbearer\n\
             passdb {{\n\
             \x20 driver = oauth2\n\
             \x20 mechanisms = xoauth2 oauthbearer\n\
             \x20 args = {}\n\
             }}\n",
            settings.display()
        );
        let with = With {
            options: &options,
            ..With::default()
        };
        let mut server = Self::start_serving(&messages, 1, with);
        server.keys = Some(keys);
        server
    }

    /// An access token of the user (a JWT, RFC 7519) that expires after so many seconds.
    #[must_use]
    pub fn token(seconds: i64) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |now| i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
        let encode = |text: &str| BASE64URL_NOPAD.encode(text.as_bytes());
        let claims = format!(
            r#"{{"sub":"{}","iat":{},"exp":{}}}"#,
            Self::USER,
            now - 7200,
            now + seconds
        );
        let message = format!(
            "{}.{}",
            encode(r#"{"typ":"JWT","alg":"HS256"}"#),
            encode(&claims)
        );
        let mut mac = Hmac::<Sha256>::new_from_slice(TOKEN_KEY).expect("a key of any length");
        mac.update(message.as_bytes());
        let signature = BASE64URL_NOPAD.encode(&mac.finalize().into_bytes());
        format!("{message}.{signature}")
    }

    /// Starts a server with these messages, another password and more lines of configuration.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start) does.
    #[must_use]
    pub fn start_with_password<M: AsRef<[u8]>>(
        messages: impl IntoIterator<Item = M>,
        password: &str,
        options: &str,
    ) -> Self {
        let messages: Vec<M> = messages.into_iter().collect();
        let with = With {
            password,
            options,
            ..With::default()
        };
        Self::start_serving(&messages, 1, with)
    }

    /// Starts a server with these messages that speaks IMAP too, on another port.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start) does, and when
    /// [`Requirement::DovecotImap`](super::Requirement::DovecotImap) is missing.
    #[must_use]
    pub fn start_with_imap<M: AsRef<[u8]>>(messages: impl IntoIterator<Item = M>) -> Self {
        let messages: Vec<M> = messages.into_iter().collect();
        let with = With {
            imap: true,
            ..With::default()
        };
        Self::start_serving(&messages, 1, with)
    }

    /// Starts a server with these messages that speaks TLS too: after STLS, and from the start on
    /// another port. Clients may be asked for a certificate; the versions are Dovecot's choice.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start) does.
    #[must_use]
    pub fn start_with_tls<M: AsRef<[u8]>>(
        messages: impl IntoIterator<Item = M>,
        tls: &Tls,
    ) -> Self {
        Self::start_with_tls_and(messages, tls, "")
    }

    /// Starts such a server with more lines of configuration.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start) does.
    #[must_use]
    pub fn start_with_tls_and<M: AsRef<[u8]>>(
        messages: impl IntoIterator<Item = M>,
        tls: &Tls,
        options: &str,
    ) -> Self {
        let messages: Vec<M> = messages.into_iter().collect();
        let with = With {
            tls: Some(tls),
            options,
            ..With::default()
        };
        Self::start_serving(&messages, 1, with)
    }

    /// Starts a server with an empty mailbox that takes mail by LMTP, on a Unix socket.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start) does, and when
    /// [`Requirement::DovecotLmtp`](super::Requirement::DovecotLmtp) is missing.
    #[must_use]
    pub fn start_with_lmtp() -> Self {
        Self::start_with(Vec::<Vec<u8>>::new(), LMTP)
    }

    /// Its configuration file.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.dir.path().join("dovecot.conf")
    }

    /// The socket on which it speaks LMTP, if it does.
    #[must_use]
    pub fn lmtp_socket(&self) -> PathBuf {
        self.dir.path().join("run/lmtp")
    }

    /// Starts a server with so many users, each of whom has a mailbox with these messages.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start) does.
    #[must_use]
    pub fn start_for<M: AsRef<[u8]>>(n_users: usize, messages: &[M]) -> Self {
        Self::start_serving(messages, n_users, With::default())
    }

    /// The name of a user, from 0; the password is the same for all of them.
    #[must_use]
    pub fn user(number: usize) -> String {
        match number {
            0 => Self::USER.to_owned(),
            number => format!("{}-{number}", Self::USER),
        }
    }

    fn start_serving<M: AsRef<[u8]>>(messages: &[M], n_users: usize, with: With<'_>) -> Self {
        let With {
            password,
            options,
            imap,
            tls,
        } = with;
        let dir = daemon::shared_dir("ph-dovecot-");
        let path = dir.path();
        let (uid, gid) = daemon::mail_owner();
        let added = AtomicU64::new(0);
        let mut users = String::new();
        for number in 0..n_users {
            let home = home_of(path, number);
            make_home(&home);
            for message in messages {
                add(&home, &added, message.as_ref());
            }
            let (user, home) = (Self::user(number), home.display());
            users += &format!("{user}:{{PLAIN}}{password}:{uid}:{gid}::{home}\n");
        }
        fs::write(path.join("users"), users).expect("the directory can be written to");

        let (daemon, port, imap_port, tls_port) = daemon::with_free_port("dovecot", |port| {
            let greeting = format!("{} {port}", path.display());
            let file = path.join("dovecot.conf");
            let imap_port = imap.then(daemon::free_port);
            let imap_options = imap_port.map(imap_config).unwrap_or_default();
            let tls_port = tls.map(|_| daemon::free_port());
            let tls_options = tls.zip(tls_port);
            let tls_options = tls_options.map(|(tls, port)| tls_config(path, tls, port));
            let options = imap_options + &tls_options.unwrap_or_default() + options;
            fs::write(&file, config(path, port, &greeting, &options)).expect("as above");
            let mut command = Command::new(program("dovecot"));
            command.arg("-F").arg("-c").arg(&file);
            let mut daemon = Daemon::start("dovecot", &mut command, &path.join("log"));
            // The greeting tells it from whoever else may have taken the port.
            let ready = || greets(port, &greeting);
            if daemon.wait_until(ready) {
                Ok((daemon, port, imap_port, tls_port))
            } else {
                Err(daemon.log_text())
            }
        });
        let addr = (Ipv4Addr::LOCALHOST, port).into();
        Self {
            daemon,
            addr,
            imap_addr: imap_port.map(|port| (Ipv4Addr::LOCALHOST, port).into()),
            tls_addr: tls_port.map(|port| (Ipv4Addr::LOCALHOST, port).into()),
            dir,
            keys: None,
            added,
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

    /// Where it speaks IMAP, if it does.
    #[must_use]
    pub fn imap_addr(&self) -> Option<SocketAddr> {
        self.imap_addr
    }

    /// Where it speaks TLS from the start, if it does.
    #[must_use]
    pub fn tls_addr(&self) -> Option<SocketAddr> {
        self.tls_addr
    }

    /// Adds a message, as if it had just arrived.
    pub fn add(&self, message: &[u8]) {
        add(&home_of(self.dir.path(), 0), &self.added, message);
    }

    /// The messages that are left, byte for byte, sorted.
    #[must_use]
    pub fn messages(&self) -> Vec<Vec<u8>> {
        home::maildir_messages(&self.maildir())
    }

    /// The Maildir that Dovecot keeps the mailbox in.
    #[must_use]
    pub fn maildir(&self) -> PathBuf {
        home_of(self.dir.path(), 0).join("Maildir")
    }

    /// What it logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.daemon.log_text()
    }
}

/// What a server has beside POP3.
#[derive(Clone, Copy)]
struct With<'a> {
    password: &'a str,
    /// More lines of configuration.
    options: &'a str,
    imap: bool,
    tls: Option<&'a Tls>,
}

impl Default for With<'_> {
    fn default() -> Self {
        Self {
            password: Dovecot::PASSWORD,
            options: "",
            imap: false,
            tls: None,
        }
    }
}

/// The home directory of a user.
fn home_of(dir: &Path, number: usize) -> PathBuf {
    match number {
        0 => dir.join("mail"),
        number => dir.join(format!("mail-{number}")),
    }
}

/// Makes a home directory with an empty Maildir.
fn make_home(home: &Path) {
    let (uid, gid) = daemon::mail_owner();
    for name in ["", "Maildir", "Maildir/tmp", "Maildir/new", "Maildir/cur"] {
        let path = home.join(name);
        let made = fs::DirBuilder::new().mode(0o700).create(&path);
        made.and_then(|()| chown(&path, Some(uid), Some(gid)))
            .unwrap_or_else(|error| panic!("cannot make {}: {error}", path.display()));
    }
}

/// Writes a message into the Maildir the way a delivery does: whole, then visible.
fn add(home: &Path, added: &AtomicU64, message: &[u8]) {
    assert!(
        !message.starts_with(b"."),
        "Dovecot cannot send a message that starts with a dot"
    );
    let (uid, gid) = daemon::mail_owner();
    let number = added.fetch_add(1, Ordering::SeqCst);
    let name = format!("{}.{number:06}.testkit", 1_700_000_000 + number);
    let maildir = home.join("Maildir");
    let temporary = maildir.join("tmp").join(&name);
    fs::write(&temporary, message)
        .and_then(|()| chown(&temporary, Some(uid), Some(gid)))
        .and_then(|()| fs::rename(&temporary, maildir.join("new").join(&name)))
        .unwrap_or_else(|error| panic!("cannot add a message: {error}"));
}

fn greets(port: u16, greeting: &str) -> bool {
    let Ok(stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else {
        return false;
    };
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("the time is not zero");
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).is_ok() && line.contains(greeting)
}

/// What doveconf(1) reads. Without the penalty (mode 0), the second wrong password is answered as
/// soon as the first.
fn config(dir: &Path, port: u16, greeting: &str, options: &str) -> String {
    let dir = dir.display();
    // As an ordinary user, Dovecot cannot become the users that its processes usually run as.
    let users = if daemon::is_root() {
        String::new()
    } else {
        own_users()
    };
    format!(
        "protocols = pop3\n\
         base_dir = {dir}/run\n\
         state_dir = {dir}/state\n\
         log_path = {dir}/log\n\
         login_greeting = {greeting}\n\
         listen = 127.0.0.1\n\
         ssl = no\n\
         disable_plaintext_auth = no\n\
         auth_failure_delay = 0\n\
         mail_fsync = never\n\
         mail_max_userip_connections = 100\n\
         first_valid_uid = 1\n\
         {users}\
         service pop3-login {{\n\
         \x20 chroot =\n\
         \x20 inet_listener pop3 {{\n\
         \x20   port = {port}\n\
         \x20 }}\n\
         \x20 inet_listener pop3s {{\n\
         \x20   port = 0\n\
         \x20 }}\n\
         }}\n\
         service anvil {{\n\
         \x20 chroot =\n\
         \x20 unix_listener anvil-auth-penalty {{\n\
         \x20   mode = 0\n\
         \x20 }}\n\
         }}\n\
         passdb {{\n\
         \x20 driver = passwd-file\n\
         \x20 args = scheme=PLAIN username_format=%u {dir}/users\n\
         }}\n\
         userdb {{\n\
         \x20 driver = passwd-file\n\
         \x20 args = username_format=%u {dir}/users\n\
         }}\n\
         mail_location = maildir:~/Maildir\n\
         {options}\n"
    )
}

/// The lines that add IMAP; they come last, and of the same setting the last one counts.
fn imap_config(port: u16) -> String {
    format!(
        "protocols = pop3 imap\n\
         service imap-login {{\n\
         \x20 chroot =\n\
         \x20 inet_listener imap {{\n\
         \x20   port = {port}\n\
         \x20 }}\n\
         \x20 inet_listener imaps {{\n\
         \x20   port = 0\n\
         \x20 }}\n\
         }}\n"
    )
}

/// The lines that add TLS, and the files that they name.
fn tls_config(dir: &Path, tls: &Tls, port: u16) -> String {
    let write = |name: &str, text: &str| {
        fs::write(dir.join(name), text).expect("the directory can be written to");
    };
    write("cert.pem", tls.certificate_pem());
    write("key.pem", tls.key_pem());
    let mut clients = String::new();
    if let Some(authority) = tls.clients_pem() {
        write("clients.pem", authority);
        clients = format!(
            "ssl_ca = <{}\n\
             ssl_require_crl = no\n\
             ssl_verify_client_cert = yes\n\
             auth_ssl_require_client_cert = yes\n",
            dir.join("clients.pem").display()
        );
    }
    format!(
        "ssl = yes\n\
         ssl_cert = <{}\n\
         ssl_key = <{}\n\
         {clients}\
         service pop3-login {{\n\
         \x20 inet_listener pop3s {{\n\
         \x20   port = {port}\n\
         \x20   ssl = yes\n\
         \x20 }}\n\
         }}\n",
        dir.join("cert.pem").display(),
        dir.join("key.pem").display()
    )
}
/// The lines that add LMTP. `%n` is the user without the domain.
const LMTP: &str = "protocols = pop3 lmtp
    auth_username_format = %n
    postmaster_address = postmaster@localhost
    hostname = testkit.example
    lmtp_save_to_detail_mailbox = no
    service lmtp {
      chroot =
      unix_listener lmtp {
        mode = 0666
      }
    }
";

fn own_users() -> String {
    let id = |what| {
        let output = Command::new("id")
            .arg(what)
            .output()
            .expect("`id` can be run");
        assert!(
            output.status.success(),
            "the user who runs the tests has no name"
        );
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    let (user, group) = (id("-un"), id("-gn"));
    format!(
        "default_internal_user = {user}\n\
         default_internal_group = {group}\n\
         default_login_user = {user}\n"
    )
}

/// What access tokens are signed with.
const TOKEN_KEY: &[u8] = b"a key that nobody else knows";
