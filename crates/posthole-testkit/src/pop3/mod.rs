//! A POP3 server in the test process, modelling a maildrop (RFC 1939, RFC 2449).
//!
//! ```
//! use posthole_testkit::mail;
//! use posthole_testkit::pop3::{Faults, Maildrop, Pop3Server, Reply};
//!
//! let maildrop = Maildrop::of(mail::corpus(1, 10));
//! let server = Pop3Server::builder()
//!     .account("msingh", "secret", &maildrop)
//!     .faults(Faults::new().on("RETR 3", Reply::send("-ERR cannot read it\r\n")))
//!     .start();
//! // … let a client talk to server.addr() …
//! assert_eq!(maildrop.len(), 10);
//! assert_eq!(server.lines(), Vec::<String>::new());
//! ```
//!
//! Tests look at the model afterwards: the [`Maildrop`] knows what is left, what was deleted for
//! good and what was retrieved how often; the server knows every command, how it arrived (see
//! [`Received`]), how many bytes passed, and which it received.

mod answer;
mod faults;
mod line;
mod maildrop;
mod session;

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use tokio::io::DuplexStream;

pub use faults::{Commit, Faults, GREETING, RESPONSE, Reply, Request};
pub use maildrop::{Body, Entry, Maildrop, Uid};

use crate::background::Background;
use crate::net::{Connection, Traffic};
use crate::sasl;
use crate::tls::Tls;

/// A POP3 server on a loopback port; it stops when this is dropped.
pub struct Pop3Server {
    shared: Arc<Shared>,
    addr: SocketAddr,
    _background: Background,
}

impl Pop3Server {
    /// A server with one account, `msingh` with the password `secret`, and no faults.
    #[must_use]
    pub fn start(maildrop: &Maildrop) -> Self {
        Self::builder()
            .account("msingh", "secret", maildrop)
            .start()
    }

    /// A server with more to say.
    #[must_use]
    pub fn builder() -> Builder {
        Builder {
            ip: Ipv4Addr::LOCALHOST.into(),
            accounts: HashMap::new(),
            faults: Faults::new(),
            exclusive: false,
            gather: None,
            apop: false,
            sasl: Vec::new(),
            bindings: Vec::new(),
            tls: None,
            tls_at_once: false,
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

    /// A connection to this server in memory, served on the caller's runtime.
    ///
    /// With it, `tokio::time::pause` works: no socket stands between the client and the clock.
    #[must_use]
    pub fn connect_in_memory(&self) -> DuplexStream {
        let (client, server) = tokio::io::duplex(64 * 1024);
        drop(tokio::spawn(session::serve(
            Arc::clone(&self.shared),
            server,
        )));
        client
    }

    /// Serves one connection over any stream, until it ends.
    pub async fn serve(&self, stream: impl Connection) {
        session::serve(Arc::clone(&self.shared), stream).await;
    }

    /// Changes what goes wrong, for connections from now on.
    pub fn set_faults(&self, faults: Faults) {
        *lock(&self.shared.faults) = Arc::new(faults);
    }

    /// Every command so far, in the order of arrival.
    #[must_use]
    pub fn log(&self) -> Vec<Received> {
        lock(&self.shared.log).clone()
    }

    /// The command lines so far, without line ends; passwords stand in them.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        lock(&self.shared.log)
            .iter()
            .map(|received| received.line.clone())
            .collect()
    }

    /// How many commands with this verb came so far, over all connections.
    #[must_use]
    pub fn count(&self, verb: &str) -> usize {
        lock(&self.shared.log)
            .iter()
            .filter(|received| received.verb() == verb)
            .count()
    }

    /// How many flights of commands a connection, counted from 1, sent; see [`Received::flight`].
    #[must_use]
    pub fn flights(&self, connection: u64) -> u64 {
        let log = lock(&self.shared.log);
        let flights = log
            .iter()
            .filter(|received| received.connection == connection);
        flights.map(|received| received.flight).max().unwrap_or(0)
    }

    /// How many connections were made so far.
    #[must_use]
    pub fn connections(&self) -> u64 {
        lock(&self.shared.connections).begun
    }

    /// Waits until no connection is open; false if one still is after `timeout`.
    ///
    /// After a client broke off, the server notices a little later; from then on the model stands.
    #[must_use]
    pub fn wait_until_idle(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let mut connections = lock(&self.shared.connections);
        while connections.begun > connections.ended {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else {
                return false;
            };
            let wait = self.shared.ended.wait_timeout(connections, left);
            connections = wait.expect("no holder of this lock panics").0;
        }
        true
    }

    /// Bytes that passed, over all connections.
    #[must_use]
    pub fn traffic(&self) -> &Traffic {
        &self.shared.traffic
    }

    /// Forgets the log; connections keep their numbers.
    pub fn clear_log(&self) {
        lock(&self.shared.log).clear();
    }
}

impl fmt::Debug for Pop3Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pop3Server")
            .field("addr", &self.addr)
            .finish_non_exhaustive()
    }
}

/// What [`Pop3Server::builder`] makes.
#[derive(Debug)]
pub struct Builder {
    ip: IpAddr,
    accounts: HashMap<String, (String, Maildrop)>,
    faults: Faults,
    exclusive: bool,
    gather: Option<Duration>,
    apop: bool,
    sasl: Vec<String>,
    bindings: Vec<(&'static str, Vec<u8>)>,
    tls: Option<Tls>,
    tls_at_once: bool,
}

impl Builder {
    /// Adds an account.
    #[must_use]
    pub fn account(mut self, user: &str, password: &str, maildrop: &Maildrop) -> Self {
        self.accounts
            .insert(user.to_owned(), (password.to_owned(), maildrop.clone()));
        self
    }

    /// Makes things go wrong; see also [`Pop3Server::set_faults`].
    #[must_use]
    pub fn faults(mut self, faults: Faults) -> Self {
        self.faults = faults;
        self
    }

    /// Lets only one session at a time open a maildrop; others hear `-ERR [IN-USE]` (RFC 2449 §8.1.2).
    #[must_use]
    pub fn exclusive(mut self) -> Self {
        self.exclusive = true;
        self
    }

    /// Offers APOP by a challenge in the greeting (RFC 1939 §7).
    #[must_use]
    pub fn apop(mut self) -> Self {
        self.apop = true;
        self
    }

    /// Offers these SASL mechanisms (RFC 5034): any of PLAIN, LOGIN, CRAM-MD5, SCRAM-SHA-1,
    /// SCRAM-SHA-256 and their `-PLUS`, XOAUTH2 and OAUTHBEARER (the token is the password), and
    /// EXTERNAL, which believes whatever it is told.
    #[must_use]
    pub fn sasl<S: Into<String>>(mut self, mechanisms: impl IntoIterator<Item = S>) -> Self {
        self.sasl = mechanisms.into_iter().map(Into::into).collect();
        self
    }

    /// Expects this channel binding in the `-PLUS` mechanisms; that of `tls-exporter` needs not be
    /// said where there is TLS.
    #[must_use]
    pub fn channel_binding(mut self, kind: &'static str, data: &[u8]) -> Self {
        self.bindings.push((kind, data.to_vec()));
        self
    }

    /// Answers only after the client has been silent for this long.
    ///
    /// So all that a client sends without waiting for answers counts as one flight, however many
    /// packets it took. A few milliseconds are enough on loopback.
    #[must_use]
    pub fn gather(mut self, quiet: Duration) -> Self {
        self.gather = Some(quiet);
        self
    }

    /// Speaks TLS with each connection from its start.
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self.tls_at_once = true;
        self
    }

    /// Offers STLS (RFC 2595 §4); a login without it is taken all the same.
    #[must_use]
    pub fn stls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self.tls_at_once = false;
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
    pub fn start(self) -> Pop3Server {
        let shared = Arc::new(Shared {
            accounts: self.accounts,
            faults: Mutex::new(Arc::new(self.faults)),
            exclusive: self.exclusive,
            gather: self.gather,
            apop: self.apop,
            sasl: self.sasl,
            bindings: self.bindings,
            tls: self.tls.map(|tls| tls.config()),
            tls_at_once: self.tls_at_once,
            log: Mutex::default(),
            connections: Mutex::default(),
            ended: Condvar::new(),
            traffic: Traffic::default(),
        });
        let background = Background::start("pop3 server");
        let (listener, addr) = background.listen(self.ip);
        let serving = Arc::clone(&shared);
        background.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // Nagle's algorithm would only blur what arrives when.
                stream.set_nodelay(true).ok();
                drop(tokio::spawn(session::serve(Arc::clone(&serving), stream)));
            }
        });
        Pop3Server {
            shared,
            addr,
            _background: background,
        }
    }
}

/// A command as the server received it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Received {
    /// Which connection to this server, from 1.
    pub connection: u64,
    /// Which flight of its connection, from 1: a flight is what arrived while the server had
    /// answered everything before it. See [`Builder::gather`].
    pub flight: u64,
    /// Whether it was already there when the command before it was answered.
    pub pipelined: bool,
    /// The line, without its line end; octets that are no UTF-8 are replaced.
    pub line: String,
}

impl Received {
    /// The verb in upper case.
    #[must_use]
    pub fn verb(&self) -> String {
        faults::split(&self.line).0
    }
}

/// What all connections of a server share.
#[derive(Debug)]
struct Shared {
    accounts: HashMap<String, (String, Maildrop)>,
    faults: Mutex<Arc<Faults>>,
    exclusive: bool,
    gather: Option<Duration>,
    apop: bool,
    sasl: Vec<String>,
    bindings: Vec<(&'static str, Vec<u8>)>,
    tls: Option<Arc<rustls::ServerConfig>>,
    tls_at_once: bool,
    log: Mutex<Vec<Received>>,
    connections: Mutex<Connections>,
    ended: Condvar,
    traffic: Traffic,
}

#[derive(Debug, Default)]
struct Connections {
    begun: u64,
    ended: u64,
}

impl Shared {
    fn begin_connection(&self) -> (u64, Arc<Faults>) {
        let mut connections = lock(&self.connections);
        connections.begun += 1;
        (connections.begun, Arc::clone(&lock(&self.faults)))
    }

    fn end_connection(&self) {
        lock(&self.connections).ended += 1;
        self.ended.notify_all();
    }

    fn note(&self, received: Received) {
        lock(&self.log).push(received);
    }

    fn log_in(&self, user: &str, password: &str) -> Option<Maildrop> {
        let (expected, maildrop) = self.accounts.get(user)?;
        (expected == password).then(|| maildrop.clone())
    }
}

/// What the server knows of its users and of the connection to one.
struct Known<'a> {
    shared: &'a Shared,
    /// Of `tls-exporter`.
    exporter: Option<Vec<u8>>,
}

impl sasl::Users for Known<'_> {
    fn password(&self, user: &str) -> Option<String> {
        let account = self.shared.accounts.get(user);
        account.map(|(password, _)| password.clone())
    }

    fn offers(&self, mechanism: &str) -> bool {
        self.shared.sasl.iter().any(|offered| offered == mechanism)
    }

    fn binding(&self, kind: &str) -> Option<Vec<u8>> {
        let mut bindings = self.shared.bindings.iter();
        let found = bindings.find(|(known, _)| *known == kind);
        let own = self.exporter.clone().filter(|_| kind == "tls-exporter");
        found.map(|(_, data)| data.clone()).or(own)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().expect("no holder of this lock panics")
}

/// The capability lines of a conforming server.
const CAPABILITIES: &[&str] = &[
    "TOP",
    "USER",
    "UIDL",
    "PIPELINING",
    "RESP-CODES",
    "AUTH-RESP-CODE",
    "EXPIRE NEVER",
    "IMPLEMENTATION posthole-testkit",
];
