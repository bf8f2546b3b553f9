//! The daemon: polls each account at its own interval, for years.
//!
//! One loop ([`Daemon::run`]) owns everything and is told of everything: a request, the end of a
//! poll, a time that has come. When whom is a question for the [`schedule`], which is pure; the polls
//! themselves are tasks on the same thread. The hard part is to go on whatever happens: a poll that
//! fails or panics is one account's trouble, a configuration that is broken leaves the old one in
//! force, a machine that slept gets its connections back.
//!
//! ```text
//!  signals ┐                          ┌─ polls: one task per account, at most `jobs`
//!  control ┼─ Handle ─ Request ─► Daemon ─ services: metrics, forwards
//!  services┘                          └─ hooks: on-new-mail, on-failure
//! ```
//!
//! As everything here it neither prints nor handles signals: what is to be said goes to `tracing`
//! and to the [`Teller`].

mod answers;
mod chores;
mod clock;
pub mod control;
mod files;
mod forwards;
mod histories;
mod hooks;
mod lock;
mod metrics;
mod outcome;
mod reload;
mod requests;
mod schedule;
mod service;
mod status;
mod watcher;

use std::collections::HashMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, oneshot};
use tokio::task::{Id, JoinSet, LocalSet, spawn_blocking, spawn_local};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::ask::Ask;
use crate::error::Class;
use crate::forward;
use crate::plan::{Hop, Job, Plan, Route};
use crate::record::{RecordError, Records};
use crate::retrieve::{self, BatchLimits, Context, Report};
use crate::session::Doubts;
use crate::tunnel::Tunnels;

pub use clock::Reading;
pub use files::Stamps;
pub use histories::{Histories, read as read_histories, update as update_histories};
pub use lock::{DaemonLock, LockError};
pub use service::Service;
pub use status::{
    AccountState, AccountStatus, DaemonStatus, ForwardStatus, History, Pause, Reason,
    ServiceStatus, Status, seconds,
};

use answers::Answers;
use control::{Control, Reply, Request};
use hooks::Hooks;
use metrics::Metrics;
use schedule::{Limits, Schedule, State};
use watcher::{Activity, Watcher};

/// Reads the configuration again; blocks. It is given the socket of an agent that somebody
/// recommends, for where the usual one is not there.
pub type Load = Arc<dyn Fn(Option<PathBuf>) -> Result<Loaded, NotLoaded> + Send + Sync>;

/// A configuration that was understood.
#[derive(Debug)]
pub struct Loaded {
    /// What it comes to.
    pub plan: Plan,
    /// Files that it depends on: if one changes while an account is in trouble, it is read again.
    pub watch: Vec<PathBuf>,
    /// Whether an SSH agent is known at all.
    pub has_agent: bool,
}

/// Why a configuration was not understood.
#[derive(Clone, Debug)]
pub struct NotLoaded {
    /// On one line.
    pub message: String,
    /// All of it, on many.
    pub details: String,
}

/// Who is told how the daemon is: the service manager.
pub trait Teller {
    /// Takes note of something.
    fn tell(&self, news: &News);
}

/// How the daemon is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum News {
    /// It still runs.
    Alive,
    /// It can be talked to, and polls.
    Ready,
    /// It reads its configuration.
    Reloading,
    /// In a few words.
    Status(String),
    /// It has ended.
    Stopped,
    /// It is about to end.
    Stopping,
}

/// What a daemon is made of.
pub struct Setup {
    /// The configuration to start with.
    pub loaded: Loaded,
    /// How it is read again.
    pub load: Load,
    /// How many files may be open.
    pub open_files: usize,
    /// Who is told how it goes.
    pub teller: Rc<dyn Teller>,
    /// For [`Ask::messenger`].
    pub messenger: Option<PathBuf>,
    /// The clocks.
    pub clocks: Box<dyn Fn() -> Reading>,
    /// How often it looks around.
    pub tick: Duration,
    /// What runs beside the polls, besides what the daemon has of its own.
    pub services: Vec<Box<dyn Service>>,
    /// Sockets for forwards that somebody else has made.
    pub passed: Vec<(String, forward::Passed)>,
    /// Cancelled to end it.
    pub stop: CancellationToken,
}

/// Why a daemon could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Nobody could talk to it.
    #[error("cannot make the control socket in {}", state_dir.display())]
    Control {
        /// The directory.
        state_dir: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// There is another one.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The records cannot be used.
    #[error(transparent)]
    Record(#[from] RecordError),
}

impl StartError {
    /// Says who must act.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Lock(LockError::Running { .. }) => Class::Temporary,
            Self::Control { .. } | Self::Lock(LockError::Failed { .. }) => Class::Local,
            Self::Record(error) => error.class(),
        }
    }

    /// Says what to do about it, where there is something to say.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Lock(LockError::Running { .. }) => {
                Some("`posthole status` asks it how it is, `posthole stop` ends it".to_owned())
            }
            Self::Control { .. } | Self::Lock(LockError::Failed { .. }) => Some(
                "check that this directory is yours to write to, or name another with --state-dir"
                    .to_owned(),
            ),
            Self::Record(error) => error.hint(),
        }
    }
}

/// The way to a daemon, for its own process.
#[derive(Clone, Debug)]
pub struct Handle(mpsc::Sender<(Request, oneshot::Sender<Reply>)>);

impl Handle {
    /// Asks, and waits for the reply.
    pub async fn ask(&self, request: Request) -> Reply {
        let (sender, receiver) = oneshot::channel();
        let gone = |()| Reply::failed("the daemon is stopping", None);
        if self.0.send((request, sender)).await.is_err() {
            return gone(());
        }
        receiver.await.unwrap_or_else(|_| gone(()))
    }
}

/// The daemon.
pub struct Daemon {
    plan: Plan,
    watch: Stamps,
    has_agent: bool,
    load: Load,
    loading: Option<Loading>,
    config_problem: Option<String>,

    accounts: HashMap<Arc<str>, Account>,
    order: Vec<Arc<str>>,
    schedule: Schedule,
    polls: JoinSet<Polled>,
    polled: HashMap<Id, Arc<str>>,
    context: Context,
    answers: Arc<Answers>,
    watcher: Arc<Watcher>,
    open_files: usize,

    paused: Option<Pause>,
    /// Who waits for questions.
    curious: Vec<(Instant, oneshot::Sender<Reply>)>,
    /// Probes of connections, and other chores.
    chores: JoinSet<Chore>,

    services: Vec<Box<dyn Service>>,
    passed: Arc<Vec<(String, forward::Passed)>>,
    hooks: Hooks,
    teller: Rc<dyn Teller>,
    said: String,
    clocks: Box<dyn Fn() -> Reading>,
    clock: Reading,
    tick: Duration,
    since: SystemTime,
    /// Since when polls could go well, as far as this machine is concerned.
    awake: u64,
    saved: Instant,
    is_saving: bool,
    /// Whether the files that the configuration depends on are being looked at.
    is_looking: bool,

    handle: Handle,
    requests: mpsc::Receiver<(Request, oneshot::Sender<Reply>)>,
    control: Option<Control>,
    stop: CancellationToken,
    _lock: DaemonLock,
}

/// An account as the daemon sees it.
struct Account {
    job: Arc<Job>,
    history: History,
    /// Whether the history is to be written.
    is_changed: bool,
    poll: Option<Poll>,
    /// What the files looked like before the poll that got it into trouble read them.
    files: Option<Stamps>,
    /// Whether files are being looked at.
    is_looking: bool,
}

/// A poll that has ended.
struct Polled {
    report: Report,
    /// What the files that it depends on looked like before it read them.
    files: Stamps,
}

/// A poll that is going on.
struct Poll {
    id: Id,
    stop: CancellationToken,
    activity: Arc<Activity>,
}

/// A configuration that is being read.
struct Loading {
    replies: Vec<oneshot::Sender<Reply>>,
    /// Somebody has asked for it again meanwhile.
    again: Option<Option<PathBuf>>,
}

/// What a chore found out.
enum Chore {
    /// Files of this account have changed, or look as before.
    Files { account: Arc<str>, changed: bool },
    /// Files that the configuration depends on have changed.
    Configuration { changed: bool },
    /// The configuration was read.
    Loaded(Box<reload::Read>),
    /// Dead connections are gone.
    Probed { dead: usize },
    /// What has changed is written down.
    Saved,
    /// Nothing of interest.
    Done,
}

impl Daemon {
    /// Prepares a daemon; blocks.
    ///
    /// # Errors
    /// When another one runs for the same records, or those or the socket cannot be used.
    pub fn new(setup: Setup) -> Result<(Self, Handle), StartError> {
        let Setup {
            loaded:
                Loaded {
                    plan,
                    watch,
                    has_agent,
                },
            load,
            open_files,
            teller,
            messenger,
            clocks,
            tick,
            services,
            passed,
            stop,
        } = setup;
        let lock = DaemonLock::take(&plan.state_dir)?;
        let records = Records::open(&plan.state_dir)?;
        let answers = Arc::new(Answers::new(messenger));
        let watcher = Arc::<Watcher>::default();
        let ask: Arc<dyn Ask> = answers.clone();
        let context = Context {
            tunnels: Arc::new(Tunnels::new(Arc::clone(&ask), watcher.clone())),
            ask,
            observer: watcher.clone(),
            trust_stores: Arc::default(),
            records,
            stop: stop.clone(),
            doubts: Doubts::default(),
            batch: BatchLimits::default(),
        };
        let (sender, requests) = mpsc::channel(64);
        let handle = Handle(sender);
        let clock = clocks();
        let mut daemon = Self {
            watch: Stamps::of(watch),
            has_agent,
            load,
            loading: None,
            config_problem: None,
            accounts: HashMap::new(),
            order: Vec::new(),
            schedule: Schedule::new(limits(&plan)),
            polls: JoinSet::new(),
            polled: HashMap::new(),
            context,
            answers,
            watcher,
            open_files,
            paused: None,
            curious: Vec::new(),
            chores: JoinSet::new(),
            services,
            passed: Arc::new(passed),
            hooks: Hooks::default(),
            teller,
            said: String::new(),
            clock,
            clocks,
            tick,
            since: SystemTime::now(),
            awake: seconds(SystemTime::now()),
            saved: Instant::now(),
            is_saving: false,
            is_looking: false,
            handle: handle.clone(),
            requests,
            control: None,
            stop,
            _lock: lock,
            plan: Plan {
                jobs: Vec::new(),
                ..plan.clone()
            },
        };
        let histories = histories::read(&daemon.plan.state_dir);
        daemon.adopt(plan, &histories);
        Ok((daemon, handle))
    }

    /// Works until it is told to stop; then polls finish the message in hand, for a limited time.
    ///
    /// # Errors
    /// When the control socket cannot be made.
    pub async fn run(mut self) -> Result<(), StartError> {
        let here = LocalSet::new();
        here.run_until(async {
            let control =
                Control::bind(&self.plan.state_dir).map_err(|source| StartError::Control {
                    state_dir: self.plan.state_dir.clone(),
                    source,
                })?;
            self.control = Some(control);
            self.work().await;
            Ok(())
        })
        .await
    }

    async fn work(&mut self) {
        let serving = self.control.take().map(|control| {
            let handle = self.handle.clone();
            spawn_local(control.serve(handle)).abort_handle()
        });
        self.services.push(Box::<Metrics>::default());
        let forwards = self.forwards();
        self.services.push(Box::new(forwards));
        self.configure_services();
        tracing::info!("started with {}", self.contents());
        self.teller.tell(&News::Ready);
        let mut ticks = tokio::time::interval(self.tick);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !self.stop.is_cancelled() {
            self.start_polls();
            self.satisfy_the_curious();
            self.tell_status();
            let due = self.schedule.next_due(Instant::now());
            let due = due.filter(|_| self.paused.is_none());
            let timer = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some((request, reply)) = self.requests.recv() => self.request(request, reply),
                Some(ended) = self.polls.join_next_with_id() => self.ended(ended),
                Some(chore) = self.chores.join_next() => self.chore(chore),
                _ = ticks.tick() => self.look_around(),
                () = timer => {}
                () = self.stop.cancelled() => {}
            }
        }
        self.finish().await;
        if let Some(serving) = serving {
            serving.abort();
        }
    }

    /// `3 accounts and 1 forward`
    fn contents(&self) -> String {
        let accounts = counted(self.order.len(), "account");
        match self.plan.forwards.len() {
            0 => accounts,
            count => format!("{accounts} and {}", counted(count, "forward")),
        }
    }

    /// Ends the polls, in order if they let it.
    async fn finish(&mut self) {
        self.teller.tell(&News::Stopping);
        let running = self.polls.len();
        match running {
            0 => tracing::info!("stopping"),
            _ => tracing::info!("stopping after what is in hand"),
        }
        let limit = self.plan.daemon.stop_timeout;
        let deadline = Instant::now() + limit;
        // Who asks now is told that the daemon is stopping.
        self.requests.close();
        while !self.polls.is_empty() {
            match tokio::time::timeout_at(deadline, self.polls.join_next_with_id()).await {
                Ok(Some(ended)) => self.ended(ended),
                Ok(None) => break,
                Err(_) => {
                    tracing::warn!(
                        "{} did not come to an end within {}, and will be taken up again",
                        counted(self.polls.len(), "poll"),
                        humantime::format_duration(limit)
                    );
                    break;
                }
            }
        }
        self.polls.shutdown().await;
        self.services.clear();
        self.context.tunnels.close().await;
        if let Some(saving) = self.save()
            && tokio::time::timeout(LAST_SAVE, saving).await.is_err()
        {
            let state_dir = self.plan.state_dir.display();
            tracing::warn!("cannot write the state of the accounts in {state_dir} in time");
        }
        tracing::info!("stopped");
        self.teller.tell(&News::Stopped);
    }

    fn start_polls(&mut self) {
        if self.paused.is_some() || self.stop.is_cancelled() {
            return;
        }
        while let Some(name) = self.schedule.start_next(Instant::now()) {
            let Some(account) = self.accounts.get_mut(&name) else {
                self.schedule.remove(&name);
                continue;
            };
            let stop = self.stop.child_token();
            let context = Context {
                stop: stop.clone(),
                ..self.context.clone()
            };
            let job = Arc::clone(&account.job);
            let activity = self.watcher.follow(&name);
            let poll = async move {
                let paths = files::of_job(&job);
                let files = spawn_blocking(move || Stamps::of(paths)).await;
                Polled {
                    files: files.unwrap_or_default(),
                    report: retrieve::poll(&job, &context).await,
                }
            };
            let id = self.polls.spawn_local(poll).id();
            self.polled.insert(id, Arc::clone(&name));
            account.files = None;
            account.poll = Some(Poll { id, stop, activity });
        }
    }

    fn tell_status(&mut self) {
        let failing = self
            .accounts
            .values()
            .filter(|account| account.history.failures > 0)
            .count();
        let mut text = self.contents();
        match self.schedule.running() {
            0 => {}
            polling => text += &format!(", {polling} being polled"),
        }
        if failing > 0 {
            text += &format!(", {failing} in trouble");
        }
        match self.answers.open().len() {
            0 => {}
            open => {
                text += &format!(
                    ", {} waited for (posthole unlock)",
                    counted(open, "password")
                );
            }
        }
        if self.paused.is_some() {
            text += ", paused";
        }
        if self.config_problem.is_some() {
            text += "; the configuration file is broken, an older one is in force";
        }
        if text != self.said {
            self.teller.tell(&News::Status(text.clone()));
            self.said = text;
        }
    }

    fn status(&self) -> Status {
        let (now, wall) = (Instant::now(), SystemTime::now());
        let account = |name: &Arc<str>| {
            let account = self.accounts.get(name)?;
            let (state, due) = match self.schedule.state(name)? {
                State::Polling => (AccountState::Polling, None),
                State::Stuck(_) => (AccountState::Stuck, None),
                State::Waiting(_) if self.paused.is_some() => (AccountState::Paused, None),
                State::Waiting(due) if due <= now => (AccountState::Queued, None),
                State::Waiting(due) => (AccountState::Waiting, Some(wall + (due - now))),
            };
            Some(AccountStatus {
                account: name.to_string(),
                state,
                next_poll: due.map(seconds),
                history: account.history.clone(),
            })
        };
        Status {
            daemon: Some(DaemonStatus {
                pid: std::process::id(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                since: seconds(self.since),
                paused: self.paused,
                config_problem: self.config_problem.clone(),
                questions: self.answers.open().len(),
            }),
            accounts: self.order.iter().filter_map(account).collect(),
            services: self.services.iter().flat_map(|s| s.status()).collect(),
        }
    }
}

fn limits(plan: &Plan) -> Limits {
    Limits {
        jobs: plan.daemon.jobs,
        per_host: plan.daemon.jobs_per_host,
    }
}

fn route(job: &Job) -> Option<&[Hop]> {
    match &job.route {
        Route::Direct | Route::Plugin(_) => None,
        Route::Ssh(hops) => Some(hops),
    }
}

fn counted(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}

/// How long whoever waits for questions is kept waiting.
const CURIOSITY: Duration = Duration::from_secs(60);

/// How long the state of the accounts may take to be written at the end.
const LAST_SAVE: Duration = Duration::from_secs(5);

/// How long a connection may take to prove that it is alive.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);

/// What the table in the manual is compared with.
#[cfg(test)]
pub(crate) mod limits {
    pub(crate) use super::control::{CONNECTIONS, LINE};
    pub(crate) use super::hooks::{AT_A_TIME, TIME_LIMIT};
    pub(crate) use super::metrics::{CONNECTIONS as METRICS_CONNECTIONS, REQUEST};
}
