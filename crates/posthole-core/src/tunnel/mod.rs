//! The SSH client: from hosts in the plan to a channel that leads to the mail server.
//!
//! ```text
//! Hop ─wire→ byte stream ─host_key→ session ─auth→ Connection ─open→ channel
//!              └── TCP, a proxy command, or a channel of the connection to the host before it
//! ```
//!
//! [`Tunnels`] keeps one connection for each destination, so that accounts behind the same host
//! share its handshake, its login and its questions. The hard problems are russh's silence about why
//! things end (`loss`, `stream`), trust in host keys ([`known_hosts`], `host_key`), and logins
//! that ask as little as possible, and nothing before it is needed (`auth`). Where the plan says so,
//! the program `ssh` is the transport instead (`openssh`), with a process for each channel.
//!
//! What is not here: OpenSSH's configuration files, which the plan has read.

mod algorithms;
mod answers;
mod auth;
mod client;
mod connection;
mod error;
mod host_key;
pub mod known_hosts;
mod loss;
pub mod messenger;
mod offer;
mod openssh;
mod patience;
mod plugin;
mod process;
mod prompt;
mod proxy_command;
mod slot;
pub mod sshfp;
mod stream;
mod text;
mod trust_command;
mod wire;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bstr::BString;
use tokio::sync::OnceCell;
use tokio_util::task::TaskTracker;

use crate::ask::Ask;
use crate::plan::{AddressFamily, Algorithms, Backend, Hop, HostPort, Rekey, UnknownHostKey};
use crate::progress::Observer;
use crate::transport::BoxStream;
use crate::transport::dial::{self, Choice, plain};

pub use error::{
    Attempt, AuthenticationFailed, HostKeyChanged, Phase, Refusal, TunnelError, TunnelErrorKind,
};
pub use known_hosts::HostKey;
pub use trust_command::TrustCommand;

use answers::Answers;
use connection::{Caller, Connection};
use messenger::{Asker, Messenger};
use patience::Patience;
use slot::Slot;
use wire::QuickAck;

/// The SSH connections of this process.
///
/// Cheap to use from many accounts at once; dropping it ends the connections without a goodbye.
pub struct Tunnels {
    answers: Arc<Answers>,
    observer: Arc<dyn Observer>,
    slots: Mutex<HashMap<Destination, Arc<Slot<Link>>>>,
    /// What tends the programs that were started.
    programs: TaskTracker,
    /// Whether `ssh` puts the login before what a server words, once it was asked.
    names_logins: OnceCell<bool>,
}

impl Tunnels {
    /// No connections yet.
    ///
    /// `ask` is asked for passphrases, passwords and about unknown host keys; `observer` is told
    /// about each step.
    #[must_use]
    pub fn new(ask: Arc<dyn Ask>, observer: Arc<dyn Observer>) -> Self {
        Self {
            answers: Arc::new(Answers::new(ask)),
            observer,
            slots: Mutex::default(),
            programs: TaskTracker::new(),
            names_logins: OnceCell::new(),
        }
    }

    /// Opens a channel (RFC 4254 §7.2) to a host as the last hop sees it.
    ///
    /// The connection is opened if there is none, or if it turns out to be dead. Accounts that ask
    /// for it meanwhile wait for it, and share its failure; so does who asks soon after it failed.
    /// Steps are told under the account whose call took them.
    ///
    /// The stream must be read all the time: a channel that is not read stops the others of its
    /// connection. Its end is the server's word; a lost connection is an error.
    ///
    /// Dropping the future closes whatever only it was waiting for.
    ///
    /// # Errors
    ///
    /// No channel is open. The connection may be, for others and for later.
    ///
    /// # Panics
    ///
    /// If there are no hops.
    pub async fn open(
        &self,
        account: &str,
        hops: &[Hop],
        to: &HostPort,
    ) -> Result<BoxStream, TunnelError> {
        let hops = compressed_once(hops);
        self.channel(&hops, to, self.caller(account)).await
    }

    /// Connects to the last hop as far as needed to see its host key, without judging it.
    ///
    /// The hops before it are logged in to.
    ///
    /// # Errors
    ///
    /// The host showed no key.
    ///
    /// # Panics
    ///
    /// If there are no hops.
    pub async fn scan_host_key(&self, account: &str, hops: &[Hop]) -> Result<HostKey, TunnelError> {
        let hops = compressed_once(hops);
        let (hop, before) = split(&hops);
        connection::scan(hop, before, self, self.caller(account)).await
    }

    /// Connects to the last hop once for each kind of host key, and sees all that it has.
    ///
    /// # Errors
    ///
    /// The host showed no key at all, or could not be reached each time.
    ///
    /// # Panics
    ///
    /// If there are no hops.
    pub async fn scan_host_keys(
        &self,
        account: &str,
        hops: &[Hop],
    ) -> Result<Vec<HostKey>, TunnelError> {
        let hops = compressed_once(hops);
        let (hop, before) = split(&hops);
        connection::scan_all(hop, before, self, self.caller(account)).await
    }

    /// Forgets failures, so that what failed is tried at once by whoever asks for it next.
    ///
    /// For when somebody has done something about it. A connection that is being made is left alone.
    pub fn forgive(&self) {
        for slot in self.slots().values() {
            slot.forgive();
        }
    }

    /// Ends the connections that none of these routes needs.
    ///
    /// Streams that are still open on them go on until they end themselves.
    pub fn retain<'a>(&self, routes: impl IntoIterator<Item = &'a [Hop]>) {
        let mut wanted = HashSet::new();
        for route in routes {
            let hops = compressed_once(route);
            // What is before the last host leads to it.
            wanted.extend((1..=hops.len()).map(|count| Destination::from(&hops[..count])));
        }
        self.slots()
            .retain(|destination, _| wanted.contains(destination));
    }

    /// Whether there are connections and none is known to be lost.
    pub(crate) fn is_connected(&self) -> bool {
        let slots: Vec<_> = self.slots().values().cloned().collect();
        let mut links = slots.iter().filter_map(|slot| slot.look()).peekable();
        links.peek().is_some() && links.all(|link| link.is_alive())
    }

    /// Whether there is a connection to the last of these hosts, as far as anybody has noticed.
    #[must_use]
    pub fn are_connected(&self, hops: &[Hop]) -> bool {
        let destination = Destination::from(&compressed_once(hops)[..]);
        let slot = self.slots().get(&destination).cloned();
        slot.and_then(|slot| slot.look())
            .is_some_and(|link| link.is_alive())
    }

    /// Gives up the connections that are dead: those that give no sign of life for this long.
    ///
    /// Their streams fail at once. Returns how many there were.
    pub async fn drop_dead(&self, limit: Duration) -> usize {
        let slots: Vec<_> = self.slots().values().cloned().collect();
        // Whoever is connecting has a limit of its own.
        let connections = slots.iter().filter_map(|slot| slot.look());
        let probes = connections.filter_map(|link| match link {
            Link::Connection(connection) if connection.is_alive() => Some(connection),
            Link::Connection(_) | Link::OpenSsh => None,
        });
        let mut tasks = tokio::task::JoinSet::new();
        for connection in probes {
            tasks.spawn(async move { !connection.proves_alive(limit).await });
        }
        tasks
            .join_all()
            .await
            .into_iter()
            .filter(|dead| *dead)
            .count()
    }

    /// Ends all connections with a goodbye, but does not wait long for it to be heard.
    ///
    /// Streams that are still open fail. Failures are forgotten, too.
    pub async fn close(&self) {
        let mut slots: Vec<_> = std::mem::take(&mut *self.slots()).into_iter().collect();
        // A connection that runs through another one must end before it.
        slots.sort_by_key(|(destination, _)| std::cmp::Reverse(destination.0.len()));
        self.programs.close();
        let closing = async {
            for (_, slot) in slots {
                if let Some(Link::Connection(connection)) = slot.take().await {
                    connection.close().await;
                }
            }
            self.programs.wait().await;
        };
        // What did not hear it in time will notice.
        tokio::time::timeout(GOODBYE, closing).await.ok();
        self.programs.reopen();
    }

    fn caller<'a>(&'a self, account: &'a str) -> Caller<'a> {
        Caller {
            account,
            observer: &*self.observer,
        }
    }

    /// A channel from the last hop.
    fn channel<'a>(&'a self, hops: &'a [Hop], to: &'a HostPort, caller: Caller<'a>) -> Opening<'a> {
        Box::pin(async move {
            let (hop, _) = split(hops);
            if let Backend::OpenSsh { .. } = hop.backend {
                return self.channel_of_openssh(hops, to, caller).await;
            }
            let (connection, is_fresh) = self.connection(hops, caller).await?;
            match connection.open(to, caller).await {
                // It was open before, and nobody had noticed that it had died since.
                Err(TunnelError::ConnectionLost { .. }) if !is_fresh => {
                    let (connection, _) = self.connection(hops, caller).await?;
                    Ok(Box::new(connection.open(to, caller).await?) as BoxStream)
                }
                opened => Ok(Box::new(opened?)),
            }
        })
    }

    /// A channel that the program `ssh` opens. Until one has worked they are opened one by one, so
    /// that many accounts do not run into the same refusal side by side.
    async fn channel_of_openssh(
        &self,
        hops: &[Hop],
        to: &HostPort,
        caller: Caller<'_>,
    ) -> Result<BoxStream, TunnelError> {
        let slot = self.slot(hops);
        let open = || openssh::open(hops, to, self, caller);
        let mut first = None;
        let login = async {
            match open().await {
                // The login was good, and others may want to go elsewhere.
                refused @ Err(TunnelError::ChannelRefused { .. }) => first = Some(refused),
                opened => first = Some(Ok(opened?)),
            }
            Ok(Link::OpenSsh)
        };
        slot.get(Link::is_alive, login).await?;
        if let Some(opened) = first {
            return opened;
        }
        let opened = open().await;
        if !matches!(opened, Ok(_) | Err(TunnelError::ChannelRefused { .. })) {
            slot.take().await;
        }
        opened
    }

    /// The connection to the last hop, opened if need be, and whether it was opened just now.
    async fn connection(
        &self,
        hops: &[Hop],
        caller: Caller<'_>,
    ) -> Result<(Arc<Connection>, bool), TunnelError> {
        let (hop, before) = split(hops);
        let mut fresh = None;
        let connect = async {
            let connection = Connection::dial(hop, before, self, caller).await?;
            let connection = fresh.insert(Arc::new(connection));
            Ok(Link::Connection(Arc::clone(connection)))
        };
        let (link, is_fresh) = self.slot(hops).get(Link::is_alive, connect).await?;
        match link {
            Link::Connection(connection) => Ok((connection, is_fresh)),
            // The backend is part of the destination.
            Link::OpenSsh => unreachable!("a connection of ours is one of `ssh`"),
        }
    }

    /// Starts a program whose standard input and output are the stream to a mail server.
    pub(crate) fn plugin(
        &self,
        account: &str,
        words: &[BString],
    ) -> Result<BoxStream, TunnelError> {
        plugin::start(account, words, &self.programs)
    }

    /// What a session with a host runs over.
    async fn wire(
        &self,
        hop: &Hop,
        before: &[Hop],
        patience: &Arc<Patience>,
        caller: Caller<'_>,
    ) -> Result<BoxStream, TunnelError> {
        match (before, &hop.proxy_command) {
            ([], None) => {
                let choice = Choice {
                    bind_address: hop.bind_address.as_deref(),
                    family: hop.address_family,
                };
                let (account, observer) = (caller.account, caller.observer);
                let limit = hop.connect_timeout;
                let tcp = dial::tcp(&hop.address, choice, account, observer, limit).await?;
                Ok(Box::new(QuickAck::new(tcp)))
            }
            ([], Some(command)) => {
                let hops = std::slice::from_ref(hop);
                let messenger = self.messenger(hops, patience, caller).await;
                let process = proxy_command::start(hop, command, messenger, &self.programs)?;
                Ok(Box::new(process))
            }
            (before, _) => self
                .channel(before, &hop.address, caller)
                .await
                .map_err(|error| error.on_the_way_to(hop)),
        }
    }

    /// Somebody who passes on the questions of a program that leads to these hosts, if there are
    /// answers to be had.
    async fn messenger(
        &self,
        hops: &[Hop],
        patience: &Arc<Patience>,
        caller: Caller<'_>,
    ) -> Option<Messenger> {
        let program = self.answers.messenger()?;
        let asker = Asker {
            answers: Arc::clone(&self.answers),
            is_anybody_there: self.answers.is_anybody_there().await,
            observer: Arc::clone(&self.observer),
            account: caller.account.to_owned(),
            hops: hops.to_vec(),
            patience: Arc::clone(patience),
            names_logins: *self.names_logins.get_or_init(names_logins).await,
        };
        if !asker.has_answers() {
            return None;
        }
        match Messenger::start(asker, &program, &self.programs) {
            Ok(messenger) => Some(messenger),
            Err(error) => {
                tracing::warn!("ssh cannot ask anything: {}", plain(&error));
                None
            }
        }
    }

    fn slot(&self, hops: &[Hop]) -> Arc<Slot<Link>> {
        Arc::clone(self.slots().entry(Destination::from(hops)).or_default())
    }

    fn slots(&self) -> std::sync::MutexGuard<'_, HashMap<Destination, Arc<Slot<Link>>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Tunnels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tunnels")
            .field("destinations", &self.slots().len())
            .finish()
    }
}

/// Boxed, because a connection may need the one to the host before it.
type Opening<'a> = Pin<Box<dyn Future<Output = Result<BoxStream, TunnelError>> + Send + 'a>>;

/// What leads to the last host of a route.
#[derive(Clone)]
enum Link {
    /// A connection of ours.
    Connection(Arc<Connection>),
    /// The program `ssh`, started anew for each channel, which has worked before.
    OpenSsh,
}

impl Link {
    fn is_alive(&self) -> bool {
        match self {
            Self::Connection(connection) => connection.is_alive(),
            Self::OpenSsh => true,
        }
    }
}

fn split(hops: &[Hop]) -> (&Hop, &[Hop]) {
    hops.split_last()
        .expect("a route through SSH has at least one host")
}

/// Whether the `ssh` of `PATH` puts the login before what a server words (OpenSSH 8.5).
async fn names_logins() -> bool {
    let version = tokio::task::spawn_blocking(crate::openssh::version).await;
    version.ok().flatten() >= Some((8, 5))
}

/// The same hosts, of which only the last one compresses: what passes through the others is
/// encrypted, and does not get smaller.
fn compressed_once(hops: &[Hop]) -> Vec<Hop> {
    let mut hops = hops.to_vec();
    if let Some((_, before)) = hops.split_last_mut() {
        for hop in before {
            hop.compression = false;
        }
    }
    hops
}

/// What makes two routes the same: every host on the way and how it is logged in to.
#[derive(Eq, Hash, PartialEq)]
struct Destination(Vec<HopIdentity>);

/// The host and all that decides who is there and who we are to it, with nothing in it that only
/// says how to ask or how long to wait.
#[derive(Eq, Hash, PartialEq)]
struct HopIdentity {
    host: String,
    port: u16,
    user: String,
    backend: Backend,
    proxy_command: Option<String>,
    bind_address: Option<String>,
    address_family: AddressFamily,
    compression: bool,
    algorithms: Algorithms,
    rekey: Rekey,
    known_hosts: Vec<PathBuf>,
    host_key_alias: Option<String>,
    unknown_host_key: UnknownHostKey,
    identities: Vec<PathBuf>,
    identities_only: bool,
    certificates: Vec<PathBuf>,
    agent: Option<PathBuf>,
    methods: Option<Vec<String>>,
}

impl From<&[Hop]> for Destination {
    fn from(hops: &[Hop]) -> Self {
        Self(hops.iter().map(HopIdentity::from).collect())
    }
}

impl From<&Hop> for HopIdentity {
    fn from(hop: &Hop) -> Self {
        // No `..`, so that whoever adds a field decides whether it tells connections apart.
        let Hop {
            name: _,
            address,
            user,
            backend,
            proxy_command,
            bind_address,
            address_family,
            connect_timeout: _,
            keepalive: _,
            keepalive_max: _,
            compression,
            algorithms,
            rekey,
            known_hosts,
            host_key_alias,
            unknown_host_key,
            hash_known_hosts: _,
            identities,
            identities_named: _,
            identities_only,
            certificates,
            agent,
            methods,
            // Whichever password opened it, the login is the same.
            password: _,
            password_prompts: _,
        } = hop.clone();
        Self {
            host: address.host.to_ascii_lowercase(),
            port: address.port,
            user,
            backend,
            proxy_command,
            bind_address,
            address_family,
            compression,
            algorithms,
            rekey,
            known_hosts,
            host_key_alias,
            unknown_host_key,
            identities,
            identities_only,
            certificates,
            agent,
            methods,
        }
    }
}

/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(2);

/// What the table in the manual is compared with.
#[cfg(test)]
pub(crate) mod limits {
    pub(crate) use super::auth::limits::{
        LONGEST_ANSWER, LONGEST_KEY_FILE, MOST_PROMPTS, MOST_ROUNDS,
    };
}
