//! The SSH client: from hosts in the plan to a channel that leads to the mail server.
//!
//! ```text
//! Hop ─dial→ TCP ─host_key→ session ─auth→ Connection ─open→ channel
//!              └── or a channel of the connection to the host before it
//! ```
//!
//! [`Tunnels`] keeps one connection for each destination, so that accounts behind the same host
//! share its handshake, its login and its questions. The hard problems are russh's silence about why
//! things end (`loss`, `stream`), trust in host keys ([`known_hosts`], `host_key`), and logins
//! that ask as little as possible, and nothing before it is needed (`auth`).
//!
//! What is not here: OpenSSH's configuration files, proxy commands, and `ssh` itself as a
//! transport.

mod answers;
mod auth;
mod client;
mod connection;
mod error;
mod host_key;
pub mod known_hosts;
mod loss;
mod offer;
mod patience;
pub mod sshfp;
mod stream;
mod text;

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::ask::Ask;
use crate::plan::{AddressFamily, Algorithms, Backend, Hop, HostPort, Rekey, UnknownHostKey};
use crate::progress::Observer;
use crate::transport::BoxStream;

pub use error::{
    Attempt, AuthenticationFailed, HostKeyChanged, Phase, Refusal, TunnelError, TunnelErrorKind,
};
pub use known_hosts::HostKey;

use answers::Answers;
use connection::{Caller, Connection};

/// The SSH connections of this process.
///
/// Cheap to use from many accounts at once; dropping it ends the connections without a goodbye.
pub struct Tunnels {
    answers: Arc<Answers>,
    observer: Arc<dyn Observer>,
    slots: Mutex<HashMap<Destination, Arc<Slot>>>,
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
        }
    }

    /// Opens a channel (RFC 4254 §7.2) to a host as the last hop sees it.
    ///
    /// The connection is opened if there is none, or if it turns out to be dead. Accounts that ask
    /// for it meanwhile wait for it, and share its failure. Steps are told under the account whose
    /// call took them.
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
        let caller = Caller {
            account,
            observer: &*self.observer,
        };
        let (connection, is_fresh) = self.connection(hops, caller).await?;
        match connection.open(to, caller).await {
            // It was open before, and nobody had noticed that it had died since.
            Err(TunnelError::ConnectionLost { .. }) if !is_fresh => {
                let (connection, _) = self.connection(hops, caller).await?;
                Ok(Box::new(connection.open(to, caller).await?))
            }
            opened => Ok(Box::new(opened?)),
        }
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
        let caller = Caller {
            account,
            observer: &*self.observer,
        };
        let (hop, before) = split(hops);
        let below = match before {
            [] => None,
            before => Some(self.connection(before, caller).await?.0),
        };
        connection::scan(hop, below.as_ref(), caller).await
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
        let caller = Caller {
            account,
            observer: &*self.observer,
        };
        let (hop, before) = split(hops);
        let below = match before {
            [] => None,
            before => Some(self.connection(before, caller).await?.0),
        };
        connection::scan_all(hop, below.as_ref(), caller).await
    }

    /// Ends all connections with a goodbye, but does not wait long for it to be heard.
    ///
    /// Streams that are still open fail.
    pub async fn close(&self) {
        let mut slots: Vec<_> = std::mem::take(&mut *self.slots()).into_iter().collect();
        // A connection that runs through another one must end before it.
        slots.sort_by_key(|(destination, _)| std::cmp::Reverse(destination.0.len()));
        let closing = async {
            for (_, slot) in slots {
                if let Some(connection) = slot.state.lock().await.connection.take() {
                    connection.close().await;
                }
            }
        };
        // What did not hear it in time will notice.
        tokio::time::timeout(GOODBYE, closing).await.ok();
    }

    /// The connection to the last hop, opened if need be, and whether it was opened just now.
    fn connection<'a>(&'a self, hops: &'a [Hop], caller: Caller<'a>) -> Connecting<'a> {
        Box::pin(async move {
            let (hop, before) = split(hops);
            let slot = Arc::clone(self.slots().entry(Destination::from(hops)).or_default());
            let seen = slot.attempts.load(Ordering::Acquire);
            let mut state = slot.state.lock().await;
            if let Some(connection) = &state.connection
                && connection.is_alive()
            {
                return Ok((Arc::clone(connection), false));
            }
            if let Some(failure) = &state.failure
                && slot.attempts.load(Ordering::Acquire) != seen
            {
                // Somebody else tried while we waited for our turn.
                return Err(failure.clone());
            }
            state.connection = None;
            state.failure = None;
            let dialled = async {
                let below = match before {
                    [] => None,
                    before => Some(self.connection(before, caller).await?.0),
                };
                Connection::dial(hop, before, below.as_ref(), &self.answers, caller).await
            };
            let dialled = dialled.await;
            slot.attempts.fetch_add(1, Ordering::Release);
            match dialled {
                Ok(connection) => {
                    let connection = Arc::new(connection);
                    state.connection = Some(Arc::clone(&connection));
                    Ok((connection, true))
                }
                Err(error) => {
                    state.failure = Some(error.clone());
                    Err(error)
                }
            }
        })
    }

    fn slots(&self) -> std::sync::MutexGuard<'_, HashMap<Destination, Arc<Slot>>> {
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
type Connecting<'a> =
    Pin<Box<dyn Future<Output = Result<(Arc<Connection>, bool), TunnelError>> + Send + 'a>>;

fn split(hops: &[Hop]) -> (&Hop, &[Hop]) {
    hops.split_last()
        .expect("a route through SSH has at least one host")
}

/// The place of a connection, existing or not.
#[derive(Default)]
struct Slot {
    /// How often a connection was attempted.
    attempts: AtomicU64,
    /// Held by whoever is connecting.
    state: tokio::sync::Mutex<State>,
}

#[derive(Default)]
struct State {
    connection: Option<Arc<Connection>>,
    /// Why the last attempt failed.
    failure: Option<TunnelError>,
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
