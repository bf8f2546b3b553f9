//! An SSH server in the test process that only forwards (direct-tcpip, RFC 4254 §7.2).
//!
//! No shell, no command, no pty, as on a host where the mailbox's account is `nologin`. Its host
//! key is made anew for each server; what it forwards to is a table, so that `localhost:110` can
//! stand for the real port of a [`Pop3Server`](crate::pop3::Pop3Server).
//!
//! ```
//! use posthole_testkit::keys::{self, KeyType};
//! use posthole_testkit::pop3::{Maildrop, Pop3Server};
//! use posthole_testkit::ssh::{Login, SshServer};
//!
//! let pop3 = Pop3Server::start(&Maildrop::new());
//! let key = keys::generate(KeyType::Ed25519);
//! let ssh = SshServer::builder()
//!     .login("msingh", Login::new().key(key.public_key()).password("sesame"))
//!     .forward("localhost", 110, pop3.addr())
//!     .start();
//! let known_hosts = ssh.known_hosts_line("127.0.0.1");
//! assert!(known_hosts.starts_with(&format!("[127.0.0.1]:{}", ssh.port())));
//! ```

mod handler;
pub mod raw;

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use russh::keys::{PrivateKey, PublicKey};
use russh::{ChannelOpenFailure, Limits as RekeyLimits, server};

use crate::background::Background;
use crate::keys::{self, KeyType};
use crate::net::{Limits, Metered, Traffic};

/// An SSH server on a loopback port; it stops when this is dropped.
pub struct SshServer {
    shared: Arc<Shared>,
    addr: SocketAddr,
    _background: Background,
}

impl SshServer {
    /// A server that lets nobody in and forwards nowhere, until it is told more.
    #[must_use]
    pub fn builder() -> Builder {
        Builder {
            ip: Ipv4Addr::LOCALHOST.into(),
            settings: Settings {
                logins: HashMap::new(),
                targets: HashMap::new(),
                host_keys: Vec::new(),
                limits: Limits::default(),
                banner: None,
                rekey_after: None,
            },
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

    /// The first host key it presents.
    #[must_use]
    pub fn host_key(&self) -> PublicKey {
        lock(&self.shared.settings).host_keys[0]
            .public_key()
            .clone()
    }

    /// The known_hosts lines for this server under that name, one for each host key.
    #[must_use]
    pub fn known_hosts_line(&self, host: &str) -> String {
        let settings = lock(&self.shared.settings);
        let lines = settings.host_keys.iter();
        lines
            .map(|key| keys::known_hosts_line(host, self.port(), key.public_key()))
            .collect()
    }

    /// Presents other host keys from now on, as after an attack or a new installation.
    pub fn set_host_keys(&self, keys: Vec<PrivateKey>) {
        assert!(!keys.is_empty(), "an SSH server has a host key");
        self.change(|settings| settings.host_keys = keys);
    }

    /// Adds or replaces a user, for connections from now on.
    pub fn set_login(&self, user: &str, login: Login) {
        self.change(|settings| drop(settings.logins.insert(user.to_owned(), login)));
    }

    /// Adds or replaces what a client gets that asks for `host:port`, from now on.
    pub fn set_target(&self, host: &str, port: u16, target: Target) {
        self.change(|settings| drop(settings.targets.insert((host.to_owned(), port), target)));
    }

    /// Ends connections from now on after so many bytes, SSH's own included.
    pub fn set_limits(&self, limits: Limits) {
        self.change(|settings| settings.limits = limits);
    }

    /// Every attempt to log in so far.
    #[must_use]
    pub fn attempts(&self) -> Vec<Attempt> {
        lock(&self.shared.attempts).clone()
    }

    /// Every channel that was asked for so far.
    #[must_use]
    pub fn channels(&self) -> Vec<ChannelRequest> {
        lock(&self.shared.channels).clone()
    }

    /// Requests for what this server does not do: sessions for shells and commands, remote forwards.
    #[must_use]
    pub fn misplaced_requests(&self) -> Vec<String> {
        lock(&self.shared.misplaced).clone()
    }

    /// How many TCP connections were made so far.
    #[must_use]
    pub fn connections(&self) -> u64 {
        lock(&self.shared.connections).0
    }

    /// Waits until no connection is open; false if one still is after `timeout`.
    #[must_use]
    pub fn wait_until_idle(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let mut connections = lock(&self.shared.connections);
        while connections.0 > connections.1 {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else {
                return false;
            };
            let wait = self.shared.ended.wait_timeout(connections, left);
            connections = wait.expect("no holder of this lock panics").0;
        }
        true
    }

    /// Bytes that passed, over all connections, SSH's own included.
    #[must_use]
    pub fn traffic(&self) -> &Traffic {
        &self.shared.traffic
    }

    fn change(&self, change: impl FnOnce(&mut Settings)) {
        change(&mut lock(&self.shared.settings));
    }
}

impl fmt::Debug for SshServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SshServer")
            .field("addr", &self.addr)
            .finish_non_exhaustive()
    }
}

/// What [`SshServer::builder`] makes.
pub struct Builder {
    ip: IpAddr,
    settings: Settings,
}

impl Builder {
    /// Lets a user in.
    #[must_use]
    pub fn login(mut self, user: &str, login: Login) -> Self {
        self.settings.logins.insert(user.to_owned(), login);
        self
    }

    /// Forwards `host:port`, as clients name it, to an address.
    #[must_use]
    pub fn forward(self, host: &str, port: u16, to: SocketAddr) -> Self {
        self.target(host, port, Target::Connect(to))
    }

    /// Says what a client gets that asks for `host:port`; what is not in the table is refused as
    /// administratively prohibited.
    #[must_use]
    pub fn target(mut self, host: &str, port: u16, target: Target) -> Self {
        self.settings
            .targets
            .insert((host.to_owned(), port), target);
        self
    }

    /// Adds a host key; without this the server makes an Ed25519 key for itself.
    #[must_use]
    pub fn host_key(mut self, key: PrivateKey) -> Self {
        self.settings.host_keys.push(key);
        self
    }

    /// Ends connections after so many bytes, SSH's own included.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.settings.limits = limits;
        self
    }

    /// Shows a banner before the login (RFC 4252 §5.4).
    #[must_use]
    pub fn banner(mut self, text: &str) -> Self {
        self.settings.banner = Some(text.to_owned());
        self
    }

    /// Exchanges keys anew after so many bytes in either direction.
    #[must_use]
    pub fn rekey_after(mut self, octets: usize) -> Self {
        self.settings.rekey_after = Some(octets);
        self
    }

    /// Listens on another loopback address, such as `::1`.
    #[must_use]
    pub fn listen_on(mut self, ip: IpAddr) -> Self {
        self.ip = ip;
        self
    }

    /// Starts the server.
    #[must_use]
    pub fn start(mut self) -> SshServer {
        if self.settings.host_keys.is_empty() {
            self.settings
                .host_keys
                .push(keys::generate(KeyType::Ed25519));
        }
        let shared = Arc::new(Shared {
            settings: Mutex::new(self.settings),
            attempts: Mutex::default(),
            channels: Mutex::default(),
            misplaced: Mutex::default(),
            connections: Mutex::default(),
            ended: std::sync::Condvar::new(),
            traffic: Traffic::default(),
        });
        let background = Background::start("ssh server");
        let (listener, addr) = background.listen(self.ip);
        let serving = Arc::clone(&shared);
        background.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).ok();
                let shared = Arc::clone(&serving);
                let (connection, limits, config) = shared.begin_connection();
                let stream = Metered::new(stream, limits, shared.traffic.clone());
                drop(tokio::spawn(async move {
                    let handler = handler::Handler::new(Arc::clone(&shared), connection);
                    // How a session ends is for the test to judge from the client's side.
                    if let Ok(session) = server::run_stream(config, stream, handler).await {
                        session.await.ok();
                    }
                    shared.end_connection();
                }));
            }
        });
        SshServer {
            shared,
            addr,
            _background: background,
        }
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("ip", &self.ip)
            .finish_non_exhaustive()
    }
}

/// How a user gets in; each way alone is enough.
#[derive(Clone, Default)]
pub struct Login {
    keys: Vec<PublicKey>,
    password: Option<String>,
    keyboard_interactive: Option<(String, String)>,
}

impl Login {
    /// A user who cannot get in.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Accepts this key.
    #[must_use]
    pub fn key(mut self, key: &PublicKey) -> Self {
        self.keys.push(key.clone());
        self
    }

    /// Accepts this password.
    #[must_use]
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self
    }

    /// Accepts this answer to this prompt, by keyboard-interactive (RFC 4256).
    #[must_use]
    pub fn keyboard_interactive(mut self, prompt: &str, answer: &str) -> Self {
        self.keyboard_interactive = Some((prompt.to_owned(), answer.to_owned()));
        self
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("keys", &self.keys.len())
            .field("password", &self.password.is_some())
            .field("keyboard_interactive", &self.keyboard_interactive.is_some())
            .finish()
    }
}

/// What a client gets that asks for a direct-tcpip channel.
#[derive(Clone, Debug)]
pub enum Target {
    /// A connection to this address; where that fails, the channel is refused as "connect failed".
    Connect(SocketAddr),
    /// No answer at all.
    Ignore,
    /// A refusal with this reason.
    Refuse(ChannelOpenFailure),
}

/// An attempt to log in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Attempt {
    /// Which connection to this server, from 1.
    pub connection: u64,
    /// The user who was named.
    pub user: String,
    /// `none`, `password`, `publickey`, `publickey-offer` or `keyboard-interactive`.
    pub method: &'static str,
    /// The algorithm and fingerprint of the key, where there was one.
    pub key: Option<(String, String)>,
    /// Whether it was good enough.
    pub accepted: bool,
}

/// A direct-tcpip channel that a client asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ChannelRequest {
    /// Which connection to this server, from 1.
    pub connection: u64,
    /// The user who was logged in.
    pub user: String,
    /// The host, as the client named it.
    pub host: String,
    /// The port.
    pub port: u32,
    /// Whether the channel was opened.
    pub opened: bool,
}

struct Settings {
    logins: HashMap<String, Login>,
    targets: HashMap<(String, u16), Target>,
    host_keys: Vec<PrivateKey>,
    limits: Limits,
    banner: Option<String>,
    rekey_after: Option<usize>,
}

/// What all connections of a server share.
struct Shared {
    settings: Mutex<Settings>,
    attempts: Mutex<Vec<Attempt>>,
    channels: Mutex<Vec<ChannelRequest>>,
    misplaced: Mutex<Vec<String>>,
    /// How many connections began and how many ended.
    connections: Mutex<(u64, u64)>,
    ended: std::sync::Condvar,
    traffic: Traffic,
}

impl Shared {
    fn begin_connection(&self) -> (u64, Limits, Arc<server::Config>) {
        let settings = lock(&self.settings);
        let config = server::Config {
            keys: settings.host_keys.clone(),
            // Constant-time refusals protect against strangers; here they only take time.
            auth_rejection_time: Duration::ZERO,
            // A refused key is an attempt too, as with OpenSSH's MaxAuthTries.
            max_auth_attempts: 20,
            inactivity_timeout: None,
            nodelay: true,
            limits: match settings.rekey_after {
                Some(octets) => RekeyLimits::new(octets, octets, Duration::from_secs(3_600)),
                None => RekeyLimits::default(),
            },
            ..server::Config::default()
        };
        let mut connections = lock(&self.connections);
        connections.0 += 1;
        (connections.0, settings.limits, Arc::new(config))
    }

    fn end_connection(&self) {
        lock(&self.connections).1 += 1;
        self.ended.notify_all();
    }

    fn login(&self, user: &str) -> Login {
        lock(&self.settings)
            .logins
            .get(user)
            .cloned()
            .unwrap_or_default()
    }

    fn target(&self, host: &str, port: u32) -> Target {
        let port = u16::try_from(port).ok();
        let settings = lock(&self.settings);
        let target = port.and_then(|port| settings.targets.get(&(host.to_owned(), port)));
        target.cloned().unwrap_or(Target::Refuse(
            ChannelOpenFailure::AdministrativelyProhibited,
        ))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no holder of this lock panics")
}
