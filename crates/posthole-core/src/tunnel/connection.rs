//! One SSH connection: from a host in the plan to a session that is logged in and opens channels.
//!
//! The hard problem is time. Every step has a limit, since neither russh nor TCP has one for a peer
//! that falls silent; the limits stand still while a person is asked; and a connection that was
//! good a minute ago may be dead without anybody having noticed, so a channel that does not open
//! makes us ask the server for a sign of life.

use std::fmt;
use std::future::pending;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use russh::client::{self, Handle, Msg};
use russh::keys::Algorithm;
use russh::{AlgorithmKind, Channel, Disconnect};
use tokio_util::sync::CancellationToken;

use crate::plan::{Hop, HostPort};
use crate::progress::{Event, Observer, Step};

use super::algorithms::Ciphers;
use super::auth;
use super::client::{Client, Fault, Refusals, config, signed_otherwise};
use super::error::{Phase, Refusal, TunnelError};
use super::host_key::Gatekeeper;
use super::known_hosts::HostKey;
use super::loss::{Cause, Ending, Loss, explain};
use super::offer::Offer;
use super::patience::{Patience, TimedOut};
use super::process::Ended;
use super::stream::ChannelStream;
use super::wire::{Heard, Wire};
use super::{Tunnels, proxy_command};

/// Who wants a connection, and who is told about it.
#[derive(Clone, Copy)]
pub(super) struct Caller<'a> {
    pub(super) account: &'a str,
    pub(super) observer: &'a dyn Observer,
}

impl Caller<'_> {
    pub(super) fn step(&self, step: Step, took: Duration) {
        self.observer
            .event(self.account, &Event::Step { step, took });
    }

    pub(super) fn notice(&self, text: String) {
        self.observer.event(self.account, &Event::Notice(text));
    }
}

/// A session that is logged in.
pub(super) struct Connection {
    hop: Hop,
    handle: Handle<Client>,
    ending: Ending,
    refusals: Arc<Refusals>,
    lifeline: Lifeline,
    /// Given up because the server did not answer.
    is_abandoned: AtomicBool,
    /// How many channels are open on it.
    uses: AtomicUsize,
    /// How many in a row did not open in time.
    unanswered: AtomicUsize,
}

impl Connection {
    /// Connects to a host, by way of the hosts before it, and logs in.
    pub(super) async fn dial(
        hop: &Hop,
        before: &[Hop],
        tunnels: &Tunnels,
        caller: Caller<'_>,
    ) -> Result<Self, TunnelError> {
        let answers = &tunnels.answers;
        let patience = Arc::new(Patience::new());
        let gatekeeper = || {
            Arc::new(Gatekeeper::new(
                hop,
                before,
                Arc::clone(answers),
                Arc::clone(&patience),
            ))
        };
        let offer = gatekeeper().offer().await;
        let offer = offer.map_err(|fault| fault.into_error(hop))?;
        let route = Route {
            hop,
            before,
            tunnels,
            caller,
            offer: &offer,
        };
        let mut session = match route.negotiate(gatekeeper(), Ciphers::All, &patience).await {
            Err(Fault::NotStrict) => {
                let ciphers = Ciphers::WithoutStrictKex;
                route.negotiate(gatekeeper(), ciphers, &patience).await
            }
            other => other,
        }
        .map_err(|fault| fault.into_error(hop))?;

        let began = Instant::now();
        let asked = patience.asked();
        let login = auth::Login {
            hop,
            before,
            answers,
            patience: &patience,
            caller,
            ending: &session.ending,
            heard: &session.heard,
            banner: &session.banner,
        };
        let method = login.run(&mut session.handle).await?;
        let took = began.elapsed().saturating_sub(patience.asked() - asked);
        caller.step(
            Step::Authenticated {
                login: hop.login(),
                method,
            },
            took,
        );
        Ok(Self {
            hop: hop.clone(),
            handle: session.handle,
            ending: session.ending,
            refusals: session.refusals,
            lifeline: session.lifeline,
            is_abandoned: AtomicBool::new(false),
            uses: AtomicUsize::new(0),
            unanswered: AtomicUsize::new(0),
        })
    }

    /// The name of the host.
    pub(super) fn host(&self) -> &str {
        &self.hop.name
    }

    /// Where the reason of the end can be had.
    pub(super) fn ending(&self) -> Ending {
        self.ending.clone()
    }

    /// Whether a channel may still be opened, as far as anybody has noticed.
    pub(super) fn is_alive(&self) -> bool {
        !self.handle.is_closed() && !self.is_abandoned.load(Ordering::SeqCst)
    }

    /// Opens a direct-tcpip channel (RFC 4254 §7.2).
    pub(super) async fn open(
        self: &Arc<Self>,
        to: &HostPort,
        caller: Caller<'_>,
    ) -> Result<ChannelStream, TunnelError> {
        let began = Instant::now();
        let limit = self.hop.connect_timeout;
        let channel = tokio::select! {
            opened = tokio::time::timeout(limit, self.request_channel(to)) => match opened {
                Ok(channel) => channel?,
                Err(_) => {
                    self.did_not_open();
                    let (host, during) = (self.hop.name.clone(), Phase::Channel);
                    return Err(TunnelError::Timeout { host, during, after: limit });
                }
            },
            loss = self.watch() => {
                self.abandon();
                return Err(self.lost(loss));
            }
        };
        self.unanswered.store(0, Ordering::SeqCst);
        caller.step(Step::ChannelOpen { to: to.to_string() }, began.elapsed());
        Ok(ChannelStream::new(channel, Arc::clone(self)))
    }

    /// Asks for a channel in a task of its own, so that a channel which opens when nobody waits for
    /// it any more is closed again.
    async fn request_channel(self: &Arc<Self>, to: &HostPort) -> Result<Channel<Msg>, TunnelError> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let connection = Arc::clone(self);
        let HostPort { host, port } = to.clone();
        tokio::spawn(async move {
            // The address of the originator is for the server's log; it is us.
            let request =
                connection
                    .handle
                    .channel_open_direct_tcpip(host, u32::from(port), "127.0.0.1", 0);
            let opened = match request.await {
                Ok(channel) => Ok(channel),
                // Its words are fetched even if nobody waits for them any more, or they would be
                // taken for those of another one.
                Err(russh::Error::ChannelOpenFailure(reason)) => {
                    let refusal = Refusal::from(&reason);
                    Err(Some((refusal, connection.refusals.words(refusal).await)))
                }
                Err(_) => Err(None),
            };
            if let Err(Ok(unwanted)) = sender.send(opened) {
                // Fails only if the connection is gone, and the channel with it.
                unwanted.close().await.ok();
            }
        });
        match receiver.await.unwrap_or(Err(None)) {
            Ok(channel) => Ok(channel),
            Err(Some((refusal, text))) => Err(TunnelError::ChannelRefused {
                host: self.hop.name.clone(),
                to: to.clone(),
                next: None,
                refusal,
                text,
            }),
            Err(None) => Err(self.lost(self.ending().wait().await)),
        }
    }

    /// Returns once the server turns out to be dead; never if it answers.
    async fn watch(&self) -> Loss {
        tokio::time::sleep(SUSPICION).await;
        match tokio::time::timeout(SIGN_OF_LIFE, self.handle.send_ping()).await {
            Ok(Ok(())) => pending().await,
            Ok(Err(_)) => self.ending().wait().await,
            Err(_) => {
                let reason = "the server stopped answering".to_owned();
                Loss {
                    reason,
                    cause: Cause::Broken,
                }
            }
        }
    }

    /// Asks for a sign of life; without one within the limit the connection is given up, and all
    /// that goes over it fails.
    pub(super) async fn proves_alive(&self, limit: Duration) -> bool {
        let answer = tokio::time::timeout(limit, self.handle.send_ping()).await;
        if matches!(answer, Ok(Ok(()))) {
            return true;
        }
        self.is_abandoned.store(true, Ordering::SeqCst);
        self.lifeline.cut();
        false
    }

    /// Opens no more channels on it, and ends it when those that are open are done with: a server
    /// that does not answer may still be busy with what they wait for.
    fn abandon(&self) {
        self.is_abandoned.store(true, Ordering::SeqCst);
        if self.uses.load(Ordering::SeqCst) == 0 {
            self.lifeline.cut();
        }
    }

    /// Gives the connection up if its server answers, but opens no channels: at once where nobody
    /// else uses it, and otherwise at the second one, since the first may be the destination's fault.
    fn did_not_open(&self) {
        let before = self.unanswered.fetch_add(1, Ordering::SeqCst);
        if before > 0 || self.uses.load(Ordering::SeqCst) == 0 {
            self.abandon();
        }
    }

    /// Counts a channel that is open.
    pub(super) fn used(self: &Arc<Self>) -> Use {
        self.uses.fetch_add(1, Ordering::SeqCst);
        Use(Arc::clone(self))
    }

    fn lost(&self, loss: Loss) -> TunnelError {
        TunnelError::ConnectionLost {
            host: self.hop.name.clone(),
            during: Phase::Channel,
            reason: loss.reason,
        }
    }

    /// Says goodbye and waits for the connection to end.
    pub(super) async fn close(&self) {
        if self
            .handle
            .disconnect(Disconnect::ByApplication, "", "")
            .await
            .is_ok()
        {
            self.ending().wait().await;
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("login", &self.hop.login())
            .finish_non_exhaustive()
    }
}

/// Keeps a connection for as long as there is a channel on it.
pub(super) struct Use(Arc<Connection>);

impl Drop for Use {
    fn drop(&mut self) {
        let Self(connection) = self;
        if connection.uses.fetch_sub(1, Ordering::SeqCst) == 1
            && connection.is_abandoned.load(Ordering::SeqCst)
        {
            connection.lifeline.cut();
        }
    }
}

/// What a session hangs on: it ends for certain once this is dropped.
struct Lifeline {
    cut: CancellationToken,
    ending: Ending,
}

impl Lifeline {
    /// Ends the session here and now, whether or not the other side hears of it.
    fn cut(&self) {
        self.cut.cancel();
    }
}

impl Drop for Lifeline {
    fn drop(&mut self) {
        let (cut, ending) = (self.cut.clone(), self.ending.clone());
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return cut.cancel();
        };
        // Without its handle russh sends what it still has, and ends; but not if it waits for new
        // keys or for a peer that does not read.
        runtime.spawn(async move {
            tokio::time::timeout(LAST_WORDS, ending.wait()).await.ok();
            cut.cancel();
        });
    }
}

/// Connects to a host as far as needed to see its key, asking nobody and trusting nothing.
pub(super) async fn scan(
    hop: &Hop,
    before: &[Hop],
    tunnels: &Tunnels,
    caller: Caller<'_>,
) -> Result<HostKey, TunnelError> {
    let offer = Gatekeeper::scanning(hop).offer().await;
    let offer = offer.map_err(|fault| fault.into_error(hop))?;
    let route = Route {
        hop,
        before,
        tunnels,
        caller,
        offer: &offer,
    };
    route.scan().await.map_err(|fault| fault.into_error(hop))
}

/// Connects as often as needed to see every plain key that a host has.
pub(super) async fn scan_all(
    hop: &Hop,
    before: &[Hop],
    tunnels: &Tunnels,
    caller: Caller<'_>,
) -> Result<Vec<HostKey>, TunnelError> {
    let mut keys = Vec::new();
    let mut lacks = None;
    let offer = Gatekeeper::scanning(hop).offer().await;
    let offer = offer.map_err(|fault| fault.into_error(hop))?;
    for offer in offer.split() {
        let route = Route {
            hop,
            before,
            tunnels,
            caller,
            offer: &offer,
        };
        match route.scan().await {
            Ok(key) => keys.push(key),
            Err(
                fault @ Fault::Ssh(russh::Error::NoCommonAlgo {
                    kind: AlgorithmKind::Key,
                    ..
                }),
            ) => lacks = Some(fault),
            Err(fault) => return Err(fault.into_error(hop)),
        }
    }
    match lacks {
        Some(fault) if keys.is_empty() => Err(fault.into_error(hop)),
        _ => Ok(keys),
    }
}

/// A session after the key exchange, not logged in.
struct Session {
    handle: Handle<Client>,
    lifeline: Lifeline,
    ending: Ending,
    heard: Heard,
    refusals: Arc<Refusals>,
    banner: Arc<Mutex<String>>,
}

/// How a host is reached, and what it is offered.
#[derive(Clone, Copy)]
struct Route<'a> {
    hop: &'a Hop,
    before: &'a [Hop],
    tunnels: &'a Tunnels,
    caller: Caller<'a>,
    offer: &'a Offer,
}

impl Route<'_> {
    /// Connects as far as needed to see the key that the host shows for this offer.
    async fn scan(self) -> Result<HostKey, Fault> {
        let gatekeeper = Arc::new(Gatekeeper::scanning(self.hop));
        let patience = Arc::new(Patience::new());
        match self.negotiate(gatekeeper, Ciphers::All, &patience).await {
            Err(Fault::Seen(key)) => Ok(key),
            Err(fault) => Err(fault),
            // The key exchange cannot succeed when its key is never admitted.
            Ok(_) => Err(Fault::Ssh(russh::Error::Inconsistent)),
        }
    }

    /// Connects and exchanges keys.
    async fn negotiate(
        self,
        gatekeeper: Arc<Gatekeeper>,
        ciphers: Ciphers,
        patience: &Arc<Patience>,
    ) -> Result<Session, Fault> {
        let Self {
            hop,
            before,
            tunnels,
            caller,
            offer,
        } = self;
        // Before anything is sent, since no server can help if there is nothing to offer.
        let config = config(hop, offer, ciphers).map_err(|unsupported| match ciphers {
            Ciphers::All => Fault::Unsupported(unsupported),
            // Something was left before the server turned out to be without it.
            Ciphers::WithoutStrictKex => Fault::NotStrict,
        })?;
        let began = Instant::now();
        let stream = tunnels.wire(hop, before, patience, caller).await?;
        let left = hop
            .connect_timeout
            .saturating_sub(began.elapsed())
            .max(LEAST_FOR_KEY_EXCHANGE);

        let began = Instant::now();
        let (loss, ending) = Ending::new();
        let cut = CancellationToken::new();
        let agreed = Arc::<OnceLock<Algorithm>>::default();
        let (refusals, banner) = (Arc::<Refusals>::default(), Arc::<Mutex<String>>::default());
        let client = Client {
            gatekeeper: Arc::clone(&gatekeeper),
            shown: None,
            refusals: Arc::clone(&refusals),
            banner: Arc::clone(&banner),
            loss,
            agreed: Arc::clone(&agreed),
            cut: cut.clone(),
        };
        // russh goes on by itself when nobody waits any more: to questions about a host key of a
        // connection that has failed, or for ever.
        let unless_kept = cut.clone().drop_guard();
        let wire = Wire::new(stream, cut);
        let heard = wire.heard();
        let connecting = client::connect_stream(Arc::new(config), wire, client);
        let handle = match patience.limit(left, connecting).await {
            Ok(Ok(handle)) => handle,
            Ok(Err(fault)) => return Err(parting_words(fault, &ending, hop)),
            Err(TimedOut) => {
                return Err(Fault::Failed(TunnelError::Timeout {
                    host: hop.name.clone(),
                    during: Phase::KeyExchange,
                    after: hop.connect_timeout,
                }));
            }
        };
        if let (Some(binding), Some(agreed)) = (handle.agent_session_binding(), agreed.get())
            && let Some(signed) = signed_otherwise(binding.signature(), agreed)
        {
            let agreed = agreed.clone();
            return Err(Fault::OtherSignature { agreed, signed });
        }
        if let Some(admitted) = gatekeeper.admitted() {
            let step = Step::HostKey {
                host: admitted.key.host().to_owned(),
                algorithm: admitted.key.algorithm(),
                fingerprint: admitted.key.fingerprint(),
                recorded: admitted.recorded,
                authority: admitted.authority,
            };
            caller.step(step, began.elapsed().saturating_sub(patience.asked()));
            for notice in admitted.notices {
                caller.notice(notice);
            }
        }
        let lifeline = Lifeline {
            cut: unless_kept.disarm(),
            ending: ending.clone(),
        };
        Ok(Session {
            handle,
            lifeline,
            ending,
            heard,
            refusals,
            banner,
        })
    }
}

/// The server's own reason to end the key exchange, which russh forgets, or the fault.
fn parting_words(fault: Fault, ending: &Ending, hop: &Hop) -> Fault {
    match ending.known() {
        Some(Loss {
            reason,
            cause: Cause::Disconnected,
        }) => Fault::Failed(TunnelError::ConnectionLost {
            host: hop.name.clone(),
            during: Phase::KeyExchange,
            reason,
        }),
        _ => fault,
    }
}

impl Fault {
    fn into_error(self, hop: &Hop) -> TunnelError {
        let host = hop.name.clone();
        match self {
            Self::Failed(error) => error,
            Self::Unsupported(unsupported) => TunnelError::Unsupported {
                host,
                what: unsupported.to_string(),
            },
            Self::Ssh(error @ russh::Error::NoCommonAlgo { .. }) => {
                let what = explain(&error);
                TunnelError::NothingInCommon { host, what }
            }
            Self::Ssh(russh::Error::IO(error)) if Ended::in_error(&error).is_some() => {
                proxy_command::failed(hop, &error)
            }
            Self::Ssh(
                error @ (russh::Error::HUP | russh::Error::Disconnect | russh::Error::IO(_)),
            ) => {
                let reason = explain(&error);
                TunnelError::ConnectionLost {
                    host,
                    during: Phase::KeyExchange,
                    reason,
                }
            }
            Self::Ssh(russh::Error::PacketSize(_)) => TunnelError::NotSsh {
                host,
                reason: "it does not send SSH packets".to_owned(),
            },
            Self::Ssh(error @ russh::Error::Version) => {
                let reason = explain(&error);
                TunnelError::NotSsh { host, reason }
            }
            fault => TunnelError::Protocol {
                host,
                hint: fault.hint().map(str::to_owned),
                reason: fault.to_string(),
            },
        }
    }
}

/// After how long without an answer a server is asked for a sign of life.
const SUSPICION: Duration = Duration::from_secs(5);

/// How long a server may take to give one.
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);

/// How long what is still to be sent may take once a connection is not wanted any more.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// A slow TCP connection must not leave the key exchange without any time.
const LEAST_FOR_KEY_EXCHANGE: Duration = Duration::from_secs(2);
