//! A server of SMTP (RFC 5321) or LMTP (RFC 2033) in the test process, which takes mail and can be
//! told to misbehave.
//!
//! ```
//! use posthole_testkit::smtp::{Reply, SmtpServer};
//!
//! let server = SmtpServer::builder().on("RCPT TO:<a@localhost>", Reply::send("450 later")).start();
//! // … let a client deliver to server.addr() …
//! assert!(server.messages().is_empty());
//! ```
//!
//! It takes RFC 5321 at its word: a text ends at CR LF `.` CR LF and nowhere else, and whatever CR
//! or LF does not stand in a pair is noted as a breach of the protocol ([`SmtpServer::breaches`]),
//! as is a command that was sent ahead of a reply where nobody had offered that.

mod session;

use std::collections::HashMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::UnixListener;

use crate::background::Background;
use crate::sasl;
use crate::tls::Tls;

/// A server; it stops when this is dropped.
pub struct SmtpServer {
    shared: Arc<Shared>,
    addr: SocketAddr,
    _background: Background,
}

/// A message that was accepted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Delivered {
    /// The reverse-path, without angle brackets.
    pub sender: String,
    /// What followed it.
    pub parameters: String,
    /// The forward-path; a message for several is here several times.
    pub recipient: String,
    /// The text as it was meant: without doubled dots and the dot at its end.
    pub text: Vec<u8>,
    /// Which connection it came by, from 1.
    pub connection: usize,
}

/// What a server does about a command.
#[derive(Clone, Debug)]
pub struct Reply {
    text: Option<String>,
    accept: bool,
    then: Then,
    after: Duration,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Then {
    Close,
    GoOn,
    Stall,
}

impl Reply {
    /// Answers with these lines, whose ends are added.
    #[must_use]
    pub fn send(text: &str) -> Self {
        Self {
            text: Some(text.to_owned()),
            accept: false,
            then: Then::GoOn,
            after: Duration::ZERO,
        }
    }

    /// Closes the connection without a word.
    #[must_use]
    pub fn close() -> Self {
        Self {
            text: None,
            then: Then::Close,
            ..Self::send("")
        }
    }

    /// Does what was asked and closes the connection without a word.
    #[must_use]
    pub fn accept_and_close() -> Self {
        Self {
            accept: true,
            ..Self::close()
        }
    }

    /// Says nothing more, and leaves the connection open.
    #[must_use]
    pub fn stall() -> Self {
        Self {
            then: Then::Stall,
            ..Self::close()
        }
    }

    /// Closes the connection after the answer.
    #[must_use]
    pub fn then_close(mut self) -> Self {
        self.then = Then::Close;
        self
    }

    /// Takes its time before the answer.
    #[must_use]
    pub fn after(mut self, time: Duration) -> Self {
        self.after = time;
        self
    }
}

/// What [`SmtpServer::builder`] makes.
#[derive(Debug, Default)]
pub struct Builder {
    lmtp: bool,
    extensions: Option<Vec<String>>,
    rules: Vec<(String, Reply)>,
    limit: HashMap<String, usize>,
    socket: Option<PathBuf>,
    tls: Option<Tls>,
    tls_at_once: bool,
    accounts: HashMap<String, String>,
    mechanisms: Vec<String>,
}

impl SmtpServer {
    /// A conforming SMTP server.
    #[must_use]
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// A server with more to say.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Where it listens, unless that is a socket.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.addr.port()
    }

    /// What was accepted so far.
    #[must_use]
    pub fn messages(&self) -> Vec<Delivered> {
        lock(&self.shared.messages).clone()
    }

    /// The texts that were accepted so far, sorted.
    #[must_use]
    pub fn texts(&self) -> Vec<Vec<u8>> {
        let mut texts: Vec<_> = self.messages().into_iter().map(|one| one.text).collect();
        texts.sort();
        texts
    }

    /// The commands so far, in the order of arrival, with the connection each came by.
    #[must_use]
    pub fn commands(&self) -> Vec<(usize, String)> {
        lock(&self.shared.commands).clone()
    }

    /// How many connections there were.
    #[must_use]
    pub fn connections(&self) -> usize {
        *lock(&self.shared.connections)
    }

    /// What clients did that SMTP does not allow.
    #[must_use]
    pub fn breaches(&self) -> Vec<String> {
        lock(&self.shared.breaches).clone()
    }
}

impl fmt::Debug for SmtpServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SmtpServer")
            .field("addr", &self.addr)
            .finish_non_exhaustive()
    }
}

impl Builder {
    /// Speaks LMTP.
    #[must_use]
    pub fn lmtp(mut self) -> Self {
        self.lmtp = true;
        self
    }

    /// Offers these extensions instead of the usual ones.
    #[must_use]
    pub fn extensions(mut self, extensions: &[&str]) -> Self {
        self.extensions = Some(extensions.iter().map(|&one| one.to_owned()).collect());
        self
    }

    /// Answers a command in this way: every one that begins like this, or the `GREETING`, or the
    /// `TEXT` of a message, in LMTP that for a recipient (`TEXT a@localhost`). The first rule that
    /// fits counts.
    #[must_use]
    pub fn on(mut self, command: &str, reply: Reply) -> Self {
        self.rules.push((command.to_owned(), reply));
        self
    }

    /// The same for so many times only, over all connections.
    #[must_use]
    pub fn on_first(mut self, times: usize, command: &str, reply: Reply) -> Self {
        self.limit.insert(command.to_owned(), times);
        self.on(command, reply)
    }

    /// Speaks TLS with each connection from its start.
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls_at_once = true;
        self.starttls(tls)
    }

    /// Offers STARTTLS (RFC 3207).
    #[must_use]
    pub fn starttls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Takes mail only from this user, who logs in by one of these mechanisms (RFC 4954).
    #[must_use]
    pub fn login(mut self, user: &str, password: &str, mechanisms: &[&str]) -> Self {
        self.accounts.insert(user.to_owned(), password.to_owned());
        self.mechanisms = mechanisms.iter().map(|&one| one.to_owned()).collect();
        self
    }

    /// Listens on a Unix socket in place of a port.
    #[must_use]
    pub fn socket(mut self, path: &Path) -> Self {
        self.socket = Some(path.to_owned());
        self
    }

    /// Starts the server.
    ///
    /// # Panics
    /// When the socket cannot be made.
    #[must_use]
    pub fn start(self) -> SmtpServer {
        let usual = ["PIPELINING", "SIZE 10000000", "8BITMIME", "SMTPUTF8"];
        let shared = Arc::new(Shared {
            lmtp: self.lmtp,
            extensions: self
                .extensions
                .unwrap_or_else(|| usual.map(str::to_owned).into()),
            rules: self.rules,
            left: Mutex::new(self.limit),
            messages: Mutex::default(),
            commands: Mutex::default(),
            connections: Mutex::default(),
            breaches: Mutex::default(),
            tls: self.tls.map(|tls| tls.config()),
            tls_at_once: self.tls_at_once,
            accounts: self.accounts,
            mechanisms: self.mechanisms,
        });
        let background = Background::start("smtp server");
        let (listener, addr) = background.listen(Ipv4Addr::LOCALHOST.into());
        let serving = Arc::clone(&shared);
        if let Some(path) = self.socket {
            let listener = std::os::unix::net::UnixListener::bind(&path)
                .unwrap_or_else(|error| panic!("cannot listen on {}: {error}", path.display()));
            listener
                .set_nonblocking(true)
                .expect("a listener can be made non-blocking");
            background.spawn(async move {
                let listener = UnixListener::from_std(listener).expect("there is an IO driver");
                while let Ok((stream, _)) = listener.accept().await {
                    drop(tokio::spawn(session::serve(
                        Arc::clone(&serving),
                        Box::new(stream),
                    )));
                }
            });
        } else {
            background.spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    stream.set_nodelay(true).ok();
                    drop(tokio::spawn(session::serve(
                        Arc::clone(&serving),
                        Box::new(stream),
                    )));
                }
            });
        }
        SmtpServer {
            shared,
            addr,
            _background: background,
        }
    }
}

/// What all connections share.
struct Shared {
    lmtp: bool,
    extensions: Vec<String>,
    rules: Vec<(String, Reply)>,
    /// How often rules hold that do not hold for ever.
    left: Mutex<HashMap<String, usize>>,
    messages: Mutex<Vec<Delivered>>,
    commands: Mutex<Vec<(usize, String)>>,
    connections: Mutex<usize>,
    breaches: Mutex<Vec<String>>,
    tls: Option<Arc<rustls::ServerConfig>>,
    tls_at_once: bool,
    accounts: HashMap<String, String>,
    mechanisms: Vec<String>,
}

impl sasl::Users for Shared {
    fn password(&self, user: &str) -> Option<String> {
        self.accounts.get(user).cloned()
    }

    fn offers(&self, mechanism: &str) -> bool {
        self.mechanisms.iter().any(|offered| offered == mechanism)
    }

    fn binding(&self, _kind: &str) -> Option<Vec<u8>> {
        None
    }
}

impl Shared {
    /// The reply that a rule has for this.
    fn rule(&self, command: &str) -> Option<Reply> {
        let (pattern, reply) = self
            .rules
            .iter()
            .find(|(pattern, _)| command.starts_with(pattern.as_str()) && self.holds(pattern))?;
        if let Some(left) = lock(&self.left).get_mut(pattern) {
            *left -= 1;
        }
        Some(reply.clone())
    }

    fn holds(&self, pattern: &str) -> bool {
        lock(&self.left).get(pattern).is_none_or(|left| *left > 0)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().expect("no holder of this lock panics")
}
