//! Forwards of the configuration, served beside the polls.
//!
//! Each is a task. One whose place is taken says so in `status` and the log, and tries again until
//! it gets it; accounts and other forwards go on meanwhile. Clients of a forward that a reload
//! leaves as it was do not notice the reload.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::{AbortHandle, spawn_local};
use tokio_util::sync::CancellationToken;

use super::answers::UNLOCK;
use super::service::Service;
use super::status::{ForwardStatus, ServiceStatus, chain};
use super::{Daemon, Handle, SIGN_OF_LIFE, seconds};
use crate::forward::{self, ClientEvent, Forwarder};
use crate::plan::{Forward, Hop, Plan};
use crate::progress::{Event, Observer, Step};

/// All of them.
pub(super) struct Forwards {
    cx: forward::Context,
    running: Vec<Running>,
}

/// A forward that is served, or meant to be; dropping it ends that.
struct Running {
    forward: Arc<Forward>,
    state: Rc<RefCell<State>>,
    task: AbortHandle,
    stop: CancellationToken,
    /// Has it try again at once.
    again: Rc<Notify>,
    /// Cancelled when its places are free again.
    gone: CancellationToken,
}

/// How it goes.
#[derive(Default)]
enum State {
    /// Its places are about to be taken.
    #[default]
    Starting,
    /// Its places are not to be had.
    Waiting(String),
    /// Clients can connect at these places.
    Serving(forward::Handle, Vec<String>),
}

impl Forwards {
    pub(super) const fn new(cx: forward::Context) -> Self {
        Self {
            cx,
            running: Vec::new(),
        }
    }

    fn handles(&self) -> Vec<forward::Handle> {
        let handle = |running: &Running| match &*running.state.borrow() {
            State::Serving(handle, _) => Some(handle.clone()),
            State::Starting | State::Waiting(_) => None,
        };
        self.running.iter().filter_map(handle).collect()
    }
}

impl Service for Forwards {
    fn configure(&mut self, plan: &Plan, _handle: &Handle) {
        let (mut kept, gone): (Vec<_>, Vec<_>) = self
            .running
            .drain(..)
            .partition(|running| plan.forwards.contains(&running.forward) && running.is_alive());
        // Whoever is new may want the place of one that goes.
        let leaving: Vec<_> = gone.iter().map(|running| running.gone.clone()).collect();
        drop(gone);
        self.running = plan
            .forwards
            .iter()
            .map(|forward| {
                let known = kept.iter().position(|running| running.forward == *forward);
                match known {
                    Some(known) => kept.swap_remove(known),
                    None => Running::start(Arc::clone(forward), &self.cx, leaving.clone()),
                }
            })
            .collect();
        self.forgive();
    }

    fn forgive(&mut self) {
        for running in &self.running {
            running.again.notify_one();
        }
        for handle in self.handles() {
            handle.forgive();
        }
    }

    fn probe(&mut self) {
        for handle in self.handles() {
            spawn_local(async move { handle.drop_dead(SIGN_OF_LIFE).await });
        }
    }

    fn status(&self) -> Vec<ServiceStatus> {
        self.running.iter().map(Running::status).collect()
    }
}

impl Running {
    fn start(forward: Arc<Forward>, cx: &forward::Context, after: Vec<CancellationToken>) -> Self {
        let state = Rc::<RefCell<State>>::default();
        let (stop, gone) = (CancellationToken::new(), CancellationToken::new());
        let again = Rc::<Notify>::default();
        let serving = {
            let (forward, cx, state) = (Arc::clone(&forward), cx.clone(), Rc::clone(&state));
            let (stop, is_gone) = (stop.clone(), gone.clone().drop_guard());
            let again = Rc::clone(&again);
            async move {
                for other in after {
                    other.cancelled().await;
                }
                keep_serving(forward, &cx, &state, &again, stop).await;
                drop(is_gone);
            }
        };
        Self {
            forward,
            state,
            task: spawn_local(serving).abort_handle(),
            stop,
            again,
            gone,
        }
    }

    /// If it is not, that is a bug, and the next reload starts it again.
    fn is_alive(&self) -> bool {
        !self.task.is_finished()
    }

    fn status(&self) -> ServiceStatus {
        let forward = &self.forward;
        let line = |ok, text, forward: Option<ForwardStatus>| ServiceStatus {
            kind: "forward".to_owned(),
            name: self.forward.name.clone(),
            ok,
            text,
            forward,
        };
        match &*self.state.borrow() {
            _ if !self.is_alive() => line(false, "internal error".to_owned(), None),
            State::Starting => line(true, "starting".to_owned(), None),
            State::Waiting(reason) => line(false, reason.clone(), None),
            State::Serving(handle, listen) => {
                let status = handle.status();
                let shown = ForwardStatus {
                    listen: listen.clone(),
                    account: forward.account().map(str::to_owned),
                    to: forward.to().to_string(),
                    via: forward.hops().iter().map(Hop::login).collect(),
                    clients: status.clients,
                    served: status.served,
                    refused: status.refused,
                    received: status.received,
                    sent: status.sent,
                    connected_since: status.open_since.map(seconds),
                };
                let text = format!("{} leads to {forward}", listen.join(", "));
                match handle.failure() {
                    None => line(true, text, Some(shown)),
                    Some(reason) => {
                        let text = format!("{text}; the last client was not connected: {reason}");
                        line(false, text, Some(shown))
                    }
                }
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn keep_serving(
    forward: Arc<Forward>,
    cx: &forward::Context,
    state: &RefCell<State>,
    again: &Notify,
    stop: CancellationToken,
) {
    let name = forward.name.as_str();
    let forwarder = loop {
        let error = match Forwarder::bind(Arc::clone(&forward), cx).await {
            Ok(forwarder) => break forwarder,
            Err(error) => error,
        };
        let mut reason = chain(&error);
        if let Some(hint) = error.hint() {
            reason = format!("{reason} ({hint})");
        }
        let is_news = !matches!(&*state.borrow(), State::Waiting(before) if *before == reason);
        if is_news {
            tracing::error!(account = name, "not served: {reason}");
            state.replace(State::Waiting(reason));
        }
        tokio::select! {
            () = tokio::time::sleep(TRY_AGAIN) => {}
            () = again.notified() => {}
            () = stop.cancelled() => return,
        }
    };
    let places = forwarder.places();
    tracing::info!(account = name, "{} leads to {forward}", places.join(", "));
    state.replace(State::Serving(forwarder.handle(), places));
    forwarder.run(stop).await;
}

impl Daemon {
    /// What serves forwards, with the answers that polls have.
    pub(super) fn forwards(&self) -> Forwards {
        Forwards::new(forward::Context {
            ask: Arc::clone(&self.context.ask),
            observer: Arc::new(Log),
            trust_stores: Arc::clone(&self.context.trust_stores),
            state_dir: self.plan.state_dir.clone(),
            passed: Arc::clone(&self.passed),
            limits: forward::Limits::default(),
        })
    }
}

/// Writes what happens to clients into the log.
struct Log;

impl Observer for Log {
    fn event(&self, name: &str, event: &Event) {
        match event {
            Event::Notice(text) => tracing::info!(account = name, "{text}"),
            Event::Step {
                step: step @ (Step::Authenticated { .. } | Step::Secured(_)),
                ..
            } => tracing::debug!(account = name, "{step:?}"),
            Event::Client(event) => log_client(name, event),
            _ => {}
        }
    }
}

fn log_client(name: &str, event: &ClientEvent) {
    match event {
        ClientEvent::Opened => tracing::debug!(account = name, "a client is connected"),
        ClientEvent::Closed { received, sent } => tracing::info!(
            account = name,
            "a client has ended: {received} octets to it, {sent} from it"
        ),
        ClientEvent::Cut { reason } => {
            tracing::warn!(account = name, "a client was cut off: {reason}");
        }
        ClientEvent::Failed(error) => {
            let unlock = error.wants_answer().then(|| UNLOCK.to_owned());
            let hint = unlock.or_else(|| error.hint());
            let hint = hint.map(|hint| format!(" ({hint})"));
            let (reason, hint) = (chain(&**error), hint.unwrap_or_default());
            tracing::warn!(account = name, "a client was not connected: {reason}{hint}");
        }
        ClientEvent::Refused { reason } => {
            tracing::warn!(account = name, "not let in: {reason}");
        }
        ClientEvent::NotAccepted { reason } => {
            tracing::warn!(account = name, "a client could not be accepted: {reason}");
        }
    }
}

/// How long a place that is taken is left to whoever has it.
const TRY_AGAIN: Duration = Duration::from_secs(10);
