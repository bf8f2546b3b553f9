//! What a forward does right now.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::plan::{Forward, Hop};
use crate::progress::{Event, Observer, Step};
use crate::tunnel::Tunnels;

/// Shows how a forward goes, for as long as anybody likes.
#[derive(Clone, Debug)]
pub struct Handle {
    shared: Arc<Shared>,
    tunnels: Arc<Tunnels>,
}

impl Handle {
    pub(super) fn new(shared: &Arc<Shared>, tunnels: &Arc<Tunnels>) -> Self {
        Self {
            shared: Arc::clone(shared),
            tunnels: Arc::clone(tunnels),
        }
    }

    /// Why the last client could not be connected, if it could not.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.shared.failure().clone()
    }

    /// Lets the next client try at once what failed before.
    pub fn forgive(&self) {
        self.tunnels.forgive();
        *self.shared.refusal() = None;
    }

    /// Gives up an SSH connection that gives no sign of life for this long.
    pub async fn drop_dead(&self, limit: Duration) {
        self.tunnels.drop_dead(limit).await;
    }

    /// What the forward is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// What it does right now.
    #[must_use]
    pub fn status(&self) -> Status {
        let shared = &self.shared;
        Status {
            clients: shared.clients.load(Ordering::Relaxed),
            served: shared.served.load(Ordering::Relaxed),
            refused: shared.refused.load(Ordering::Relaxed),
            received: shared.received.load(Ordering::Relaxed),
            sent: shared.sent.load(Ordering::Relaxed),
            // It may have been lost while nobody used it.
            open_since: shared.open_since().filter(|_| self.tunnels.is_connected()),
        }
    }
}

/// What a forward does at one moment.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Status {
    /// Clients that are connected.
    pub clients: u64,
    /// Clients that have had a channel, those that are connected included.
    pub served: u64,
    /// Clients that were not let in.
    pub refused: u64,
    /// Octets that clients took from the server.
    pub received: u64,
    /// Octets that clients sent to the server.
    pub sent: u64,
    /// Since when the SSH connection is open, if it is.
    pub open_since: Option<SystemTime>,
}

/// The counts of a forward.
pub(super) struct Shared {
    name: String,
    /// Whether there is SSH on the way.
    is_tunnel: bool,
    observer: Arc<dyn Observer>,
    clients: AtomicU64,
    served: AtomicU64,
    refused: AtomicU64,
    pub(super) received: AtomicU64,
    pub(super) sent: AtomicU64,
    open_since: Mutex<Option<SystemTime>>,
    /// Why the last client had no channel, if it had none.
    failure: Mutex<Option<String>>,
    /// Until when the mail server is not bothered with a login that it refused, and why it did.
    refusal: Mutex<Option<(Instant, String)>>,
}

impl Shared {
    pub(super) fn new(forward: &Forward, observer: Arc<dyn Observer>) -> Self {
        Self {
            name: forward.name.clone(),
            is_tunnel: !forward.hops().is_empty(),
            observer,
            clients: AtomicU64::new(0),
            served: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            open_since: Mutex::default(),
            failure: Mutex::default(),
            refusal: Mutex::default(),
        }
    }

    pub(super) fn tell(&self, event: &Event) {
        self.observer.event(&self.name, event);
    }

    /// Counts a client for as long as the presence is kept.
    pub(super) fn enter(self: &Arc<Self>) -> Presence {
        self.clients.fetch_add(1, Ordering::Relaxed);
        Presence(Arc::clone(self))
    }

    /// Whether more than one client is here.
    pub(super) fn is_shared(&self) -> bool {
        self.clients.load(Ordering::Relaxed) > 1
    }

    pub(super) fn refuse(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// A channel was opened, so the connection is open if nobody said so before.
    ///
    /// Returns which connection it is, if there is SSH on the way.
    pub(super) fn opened(&self) -> Option<SystemTime> {
        self.served.fetch_add(1, Ordering::Relaxed);
        *self.failure() = None;
        if !self.is_tunnel {
            return None;
        }
        Some(*self.open_since().get_or_insert_with(SystemTime::now))
    }

    /// The connection was lost, unless there is another since.
    pub(super) fn lost(&self, opened: Option<SystemTime>) {
        self.open_since().take_if(|since| Some(*since) == opened);
    }

    pub(super) fn closed(&self) {
        *self.open_since() = None;
    }

    /// A client could not be connected.
    pub(super) fn note_failure(&self, reason: &str) {
        *self.failure() = Some(reason.to_owned());
    }

    fn failure(&self) -> MutexGuard<'_, Option<String>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The mail server refused our login, and would again: servers shut out who goes on trying.
    pub(super) fn note_refusal(&self, reason: &str) {
        let until = Instant::now() + AFTER_A_REFUSAL;
        *self.refusal() = Some((until, reason.to_owned()));
    }

    /// Why a login is not worth trying now.
    pub(super) fn recent_refusal(&self) -> Option<String> {
        let refusal = self.refusal();
        let (until, reason) = refusal.as_ref()?;
        (Instant::now() < *until).then(|| reason.clone())
    }

    fn refusal(&self) -> MutexGuard<'_, Option<(Instant, String)>> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_open(&self) -> bool {
        self.open_since().is_some()
    }

    fn open_since(&self) -> MutexGuard<'_, Option<SystemTime>> {
        self.open_since
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// A client that is here.
#[derive(Debug)]
pub(super) struct Presence(Arc<Shared>);

impl Drop for Presence {
    fn drop(&mut self) {
        self.0.clients.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Notes when the SSH connection opens, and passes everything on.
pub(super) struct Noting {
    shared: Arc<Shared>,
    login: Option<String>,
}

impl Noting {
    pub(super) fn new(shared: Arc<Shared>, forward: &Forward) -> Self {
        let login = forward.hops().last().map(Hop::login);
        Self { shared, login }
    }
}

impl Observer for Noting {
    fn event(&self, account: &str, event: &Event) {
        if let Event::Step {
            step: Step::Authenticated { login, .. },
            ..
        } = event
            && Some(login) == self.login.as_ref()
        {
            *self.shared.open_since() = Some(SystemTime::now());
        }
        self.shared.observer.event(account, event);
    }
}

/// As long as an SSH host that refused us is left alone.
const AFTER_A_REFUSAL: Duration = Duration::from_secs(60);
