//! Forwards: a server behind an SSH host that appears on this machine, for other mail programs.
//!
//! ```text
//! client ─accept→ its user ─open→ channel of the one SSH connection ─relay→ the end of either
//!                      └─reception→ token ─anteroom→ logged in ──┘
//! ```
//!
//! The SSH connection opens for the first client and closes when none has been there for a while.
//! A client is not answered before its channel stands, so that it never talks to a socket which
//! leads nowhere; where there is no channel, a mail program is told why in its own protocol.
//!
//! [`Forwarder::bind`] takes the places, [`Forwarder::run`] serves them until it is told to stop,
//! and a [`Handle`] shows meanwhile what goes on.

mod error;
mod listen;
mod owner;
mod proxy;
mod reception;
mod refuse;
mod relay;
mod status;
mod token;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::ask::Ask;
use crate::error::Error;
use crate::plan::{Forward, ForwardTo, Hop, HostPort};
use crate::progress::{Event, Observer};
use crate::transport::tls::TrustStores;
use crate::transport::{BoxStream, TransportError};
use crate::tunnel::Tunnels;

pub use error::ForwardError;
pub use listen::Passed;
pub use status::{Handle, Status};
pub use token::{make_token, revoke_token};

use listen::{Client, Listeners, Visitor};
use relay::End;
use status::{Noting, Shared};

/// A forward whose places are taken, ready to serve.
pub struct Forwarder {
    listeners: Listeners,
    service: Arc<Service>,
}

impl fmt::Debug for Forwarder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forwarder")
            .field("forward", &self.service.forward.name)
            .field("listeners", &self.listeners)
            .finish_non_exhaustive()
    }
}

/// What all clients of a forward share.
struct Service {
    forward: Arc<Forward>,
    ask: Arc<dyn Ask>,
    observer: Arc<dyn Observer>,
    tunnels: Arc<Tunnels>,
    trust_stores: Arc<TrustStores>,
    state_dir: PathBuf,
    shared: Arc<Shared>,
    limits: Limits,
}

/// A client with its server at the other end.
struct Connected {
    client: Client,
    server: BoxStream,
    /// What the client has said to the server already.
    first: Vec<u8>,
}

/// What forwards share.
#[derive(Clone)]
pub struct Context {
    /// Who is asked for passphrases and passwords.
    pub ask: Arc<dyn Ask>,
    /// Who is told what happens.
    pub observer: Arc<dyn Observer>,
    /// The certificate authorities that are trusted.
    pub trust_stores: Arc<TrustStores>,
    /// Where the tokens are.
    pub state_dir: PathBuf,
    /// Sockets that somebody else has made, by name.
    pub passed: Arc<Vec<(String, Passed)>>,
    /// What clients may leave unread.
    pub limits: Limits,
}

/// How long and how much a client may leave unread.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How many octets are kept for a client that does not take them. When there are more, the SSH
    /// connection is not read any more, which stops all of its clients.
    pub backlog: usize,
    /// How long a client may then stop the others before its connection is reset.
    pub patience: Duration,
}

impl Default for Limits {
    /// Much more than a message, and less than a mail program waits for an answer.
    fn default() -> Self {
        Self {
            backlog: 8 << 20,
            patience: Duration::from_secs(5),
        }
    }
}

/// What became of a client.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ClientEvent {
    /// It was let in and has a channel.
    Opened,
    /// Both sides ended it, or the client did.
    Closed {
        /// Octets that the server sent and the client took.
        received: u64,
        /// Octets that the client sent.
        sent: u64,
    },
    /// It was cut off.
    Cut {
        /// Why.
        reason: String,
    },
    /// There was no channel for it.
    Failed(Arc<Error>),
    /// It was not let in.
    Refused {
        /// Why.
        reason: String,
    },
    /// It could not even be accepted.
    NotAccepted {
        /// What the system said.
        reason: String,
    },
}

impl Forwarder {
    /// Takes the places where clients connect.
    ///
    /// Nothing is connected to yet. Must be called from within the runtime. The forward has SSH
    /// connections of its own, so that no account waits for one of its clients.
    ///
    /// # Errors
    ///
    /// A place is taken by another, or not to be had; or nobody has a token.
    pub async fn bind(forward: Arc<Forward>, cx: &Context) -> Result<Self, ForwardError> {
        if let ForwardTo::Mailbox(_) = forward.target
            && token::stored(&cx.state_dir, &forward.name)?.is_none()
        {
            let name = forward.name.clone();
            return Err(ForwardError::NoToken { name });
        }
        let listeners = Listeners::bind(&forward, &cx.passed).await?;
        let shared = Arc::new(Shared::new(&forward, Arc::clone(&cx.observer)));
        let observer: Arc<dyn Observer> = Arc::new(Noting::new(Arc::clone(&shared), &forward));
        let tunnels = Tunnels::new(Arc::clone(&cx.ask), Arc::clone(&observer));
        Ok(Self {
            listeners,
            service: Arc::new(Service {
                forward,
                ask: Arc::clone(&cx.ask),
                observer,
                tunnels: Arc::new(tunnels),
                trust_stores: Arc::clone(&cx.trust_stores),
                state_dir: cx.state_dir.clone(),
                shared,
                limits: cx.limits,
            }),
        })
    }

    /// Where clients connect, as text for people.
    #[must_use]
    pub fn places(&self) -> Vec<String> {
        self.listeners.places()
    }

    /// What shows how it goes.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle::new(&self.service.shared, &self.service.tunnels)
    }

    /// Serves clients until `stop` is cancelled; then their connections are reset, and SSH is told
    /// goodbye.
    pub async fn run(self, stop: CancellationToken) {
        let Self { listeners, service } = self;
        let mut clients = JoinSet::new();
        loop {
            // Only an empty house is locked.
            let is_idle = clients.is_empty() && service.shared.is_open();
            let idle = async {
                match service.forward.idle {
                    Some(idle) if is_idle => tokio::time::sleep(idle).await,
                    _ => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => break,
                client = listeners.accept() => match client {
                    Ok(client) => {
                        clients.spawn(Arc::clone(&service).serve(client));
                    }
                    Err(error) => {
                        service.tell(ClientEvent::NotAccepted { reason: error.to_string() });
                        // There are none to be had for now, as a rule: descriptors or memory.
                        tokio::select! {
                            () = tokio::time::sleep(BREATH) => {}
                            () = stop.cancelled() => break,
                        }
                    }
                },
                // If that was a panic, it is one client's, and was reported where it happened.
                Some(_) = clients.join_next() => {}
                () = idle => {
                    service.tunnels.close().await;
                    service.shared.closed();
                }
            }
        }
        drop(listeners);
        clients.shutdown().await;
        service.tunnels.close().await;
        service.shared.closed();
    }
}

impl Service {
    /// Serves a client from its first moment to its last.
    async fn serve(self: Arc<Self>, client: Client) {
        if !self.forward.allow_any {
            match client.visitor().await {
                Visitor::Ours => {}
                // Scanners and probes do that, and mail programs that are in a hurry.
                Visitor::Gone => return,
                Visitor::Stranger(reason) => {
                    self.refuse(&reason);
                    let us = rustix::process::geteuid().as_raw();
                    let words = format!("this is for programs of the user with id {us} only");
                    return refuse::say(client, self.forward.protocol, false, &words).await;
                }
            }
        }
        let presence = self.shared.enter();
        let connected = match &self.forward.target {
            ForwardTo::Through { hops, to } => self.connect(client, hops, to).await,
            ForwardTo::Mailbox(job) => self.receive(client, job).await,
        };
        let Some(Connected {
            mut client,
            server,
            first,
        }) = connected
        else {
            return;
        };
        let connection = self.shared.opened();
        self.tell(ClientEvent::Opened);
        let end = relay::run(&mut client, server, &first, &self.shared, self.limits).await;
        drop(presence);
        match end {
            End::Closed { received, sent } => {
                client.ends_in_order();
                self.tell(ClientEvent::Closed { received, sent });
            }
            End::Cut(reason) => self.tell(ClientEvent::Cut { reason }),
            End::Lost(reason) => {
                self.shared.lost(connection);
                self.tell(ClientEvent::Cut { reason });
            }
        }
    }

    /// Opens a channel for a client.
    async fn connect(&self, client: Client, hops: &[Hop], to: &HostPort) -> Option<Connected> {
        let opened = tokio::select! {
            opened = self.tunnels.open(&self.forward.name, hops, to) => opened,
            () = client.gone() => return None,
        };
        match opened {
            Ok(server) => Some(Connected {
                client,
                server,
                first: Vec::new(),
            }),
            Err(error) => {
                self.fail(client, TransportError::from(error).into()).await;
                None
            }
        }
    }

    /// Takes note of a client that is not let in.
    fn refuse(&self, reason: &str) {
        self.shared.refuse();
        let reason = reason.to_owned();
        self.tell(ClientEvent::Refused { reason });
    }

    fn tell(&self, event: ClientEvent) {
        self.shared.tell(&Event::Client(event));
    }
}

/// How long nothing is accepted after the system refused to.
const BREATH: Duration = Duration::from_millis(100);

/// What the table in the manual is compared with.
#[cfg(test)]
pub(crate) mod limits {
    pub(crate) use super::reception::LINE;
}
