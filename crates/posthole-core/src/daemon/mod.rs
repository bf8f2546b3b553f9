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
mod clock;
pub mod control;
mod files;
mod histories;
mod hooks;
mod lock;
mod metrics;
mod schedule;
mod service;
mod status;
mod watcher;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, Id, JoinError, JoinSet, LocalSet, spawn_local};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::ask::Ask;
use crate::error::{Class, Error};
use crate::plan::{Hop, Job, PasswordSource, Plan, Route};
use crate::record::{RecordError, Records};
use crate::retrieve::{self, BatchLimits, Context, Report};
use crate::tunnel::Tunnels;

pub use clock::Reading;
pub use histories::{Histories, read as read_histories, update as update_histories};
pub use lock::{DaemonLock, LockError};
pub use service::Service;
pub use status::{
    AccountState, AccountStatus, DaemonStatus, History, Pause, Reason, ServiceStatus, Status,
    seconds,
};

use answers::Answers;
use control::{Control, Reply, Request};
use files::Stamps;
use hooks::{Hook, Hooks};
use metrics::Metrics;
use schedule::{Ended, Limits, Schedule, State, Trouble};
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
    watched: Vec<PathBuf>,
    load: Load,
    loading: Option<Loading>,
    config_problem: Option<String>,

    accounts: HashMap<Arc<str>, Account>,
    order: Vec<Arc<str>>,
    schedule: Schedule,
    polls: JoinSet<Report>,
    polled: HashMap<Id, Arc<str>>,
    context: Context,
    answers: Arc<Answers>,
    watcher: Arc<Watcher>,
    open_files: usize,

    paused: Option<Pause>,
    /// Who waits for questions.
    curious: Vec<oneshot::Sender<Reply>>,
    /// Polls that must move until then to be believed alive.
    suspects: Option<(Instant, HashMap<Id, u64>)>,
    /// Probes of connections, and other chores.
    chores: JoinSet<Chore>,

    services: Vec<Box<dyn Service>>,
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
    /// What the files looked like when it got into trouble.
    files: Option<Stamps>,
    /// Whether files are being looked at.
    is_looking: bool,
}

/// A poll that is going on.
struct Poll {
    id: Id,
    abort: AbortHandle,
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
    Loaded(Result<Loaded, NotLoaded>),
    /// Dead connections are gone.
    Probed { dead: usize },
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
            loaded: Loaded { plan, watch },
            load,
            open_files,
            teller,
            messenger,
            clocks,
            tick,
            services,
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
            batch: BatchLimits::default(),
        };
        let (sender, requests) = mpsc::channel(64);
        let handle = Handle(sender);
        let clock = clocks();
        let mut daemon = Self {
            watch: Stamps::of(watch.iter().cloned()),
            watched: watch,
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
            suspects: None,
            chores: JoinSet::new(),
            services,
            hooks: Hooks::default(),
            teller,
            said: String::new(),
            clock,
            clocks,
            tick,
            since: SystemTime::now(),
            awake: seconds(SystemTime::now()),
            saved: Instant::now(),
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
        daemon.adopt(plan);
        let histories = histories::read(&daemon.plan.state_dir);
        for (name, account) in &mut daemon.accounts {
            account.history = histories.get(&**name).cloned().unwrap_or_default();
        }
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
        self.configure_services();
        let count = self.order.len();
        tracing::info!("started with {}", counted(count, "account"));
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
        if let Some(saving) = self.save() {
            saving.await.ok();
        }
        tracing::info!("stopped");
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
            let poll = async move { retrieve::poll(&job, &context).await };
            let abort = self.polls.spawn_local(poll);
            let id = abort.id();
            self.polled.insert(id, Arc::clone(&name));
            account.files = None;
            account.poll = Some(Poll {
                id,
                abort,
                stop,
                activity,
            });
        }
    }

    /// Takes note of the end of a poll.
    fn ended(&mut self, ended: Result<(Id, Report), JoinError>) {
        let (id, report) = match ended {
            Ok((id, report)) => (id, Ok(report)),
            Err(error) => (error.id(), Err(error)),
        };
        let Some(name) = self.polled.remove(&id) else {
            return;
        };
        let Some(account) = self.accounts.get_mut(&name) else {
            return;
        };
        // The account was taken out and put in again meanwhile.
        if account.poll.as_ref().is_none_or(|poll| poll.id != id) {
            return;
        }
        account.poll = None;
        let now = SystemTime::now();
        let before = account.history.failures;
        let (ended, delay, fetched) = match &report {
            Ok(report) => {
                account.history.note(report, now);
                let ended = match &report.error {
                    None => Ended::Well,
                    Some(Error::Stopped) => Ended::Interrupted,
                    Some(error) => Ended::Badly(trouble(error, &account.job, &self.answers)),
                };
                let summary = &report.summary;
                (ended, summary.login_delay, summary.fetched)
            }
            Err(error) if error.is_cancelled() => (Ended::Interrupted, None, 0),
            Err(_) => {
                account.history.fail(Reason::crashed(), now);
                (Ended::Badly(Trouble::Temporary), None, 0)
            }
        };
        account.is_changed = true;
        if let Ended::Badly(Trouble::Unanswered) = ended
            && let Some(reason) = &mut account.history.error
        {
            reason.hint = Some(UNLOCK.to_owned());
        }
        let chance = RandomState::new().hash_one(id);
        self.schedule
            .ended(&name, ended, delay, Instant::now(), chance);
        if let Ok(report) = &report {
            tell_of_messages(&name, report);
        }
        let state = self.schedule.state(&name);
        tell_of_end(&name, &account.history, before, ended, state);
        if let Ended::Badly(trouble) = ended
            && !matches!(trouble, Trouble::Temporary | Trouble::Busy)
        {
            account.files = Some(Stamps::of(files::of_job(&account.job)));
        }
        if fetched > 0 {
            self.announce_mail(&name, fetched);
        }
        self.alarm(&name);
    }

    fn announce_mail(&mut self, name: &Arc<str>, fetched: u64) {
        if let Some(command) = self.plan.daemon.on_new_mail.clone() {
            let messages = counted(
                usize::try_from(fetched).unwrap_or(usize::MAX),
                "new message",
            );
            self.hook(Hook {
                name: "on-new-mail",
                command,
                account: Arc::clone(name),
                variables: vec![("POSTHOLE_NEW", fetched.to_string())],
                stdin: format!("{name}: {messages}\n"),
            });
        }
    }

    /// Tells somebody that an account is in trouble, if it is time to.
    fn alarm(&mut self, name: &Arc<str>) {
        let now = seconds(SystemTime::now());
        let is_stuck = matches!(self.schedule.state(name), Some(State::Stuck(_)));
        let Some(account) = self.accounts.get_mut(name) else {
            return;
        };
        let (history, every) = (&account.history, account.job.every);
        let plan = &self.plan.daemon;
        let Some(why) = hooks::alarm(history, plan, every, is_stuck, self.awake, now) else {
            return;
        };
        account.history.alarmed = Some(now);
        account.is_changed = true;
        let history = account.history.clone();
        tracing::error!(account = %name, "this account needs attention: {why}");
        let Some(command) = self.plan.daemon.on_failure.clone() else {
            return;
        };
        let class = history.error.as_ref().map(|reason| reason.class.clone());
        let last_success = history.last_success.unwrap_or(0);
        self.hook(Hook {
            name: "on-failure",
            command,
            account: Arc::clone(name),
            variables: vec![
                ("POSTHOLE_FAILURES", history.failures.to_string()),
                ("POSTHOLE_CLASS", class.unwrap_or_default()),
                ("POSTHOLE_LAST_SUCCESS", last_success.to_string()),
            ],
            stdin: hooks::letter(name, &history, &why),
        });
    }

    fn hook(&mut self, hook: Hook) {
        let hooks = self.hooks.clone();
        self.chores.spawn_local(async move {
            hooks.run(hook).await;
            Chore::Done
        });
    }

    fn request(&mut self, request: Request, reply: oneshot::Sender<Reply>) {
        let now = Instant::now();
        let answer = match request {
            Request::Status => Reply::Status {
                status: Box::new(self.status()),
            },
            Request::Wake { account: None } => {
                tracing::info!("woken");
                if self.paused == Some(Pause::UntilWake) {
                    self.paused = None;
                }
                self.wake_all();
                match self.paused {
                    Some(_) => Reply::done("woken, but still paused (`posthole resume` goes on)"),
                    None => Reply::done("polling all accounts"),
                }
            }
            Request::Wake {
                account: Some(name),
            } => {
                self.context.tunnels.forgive();
                if self.schedule.wake(&name, now) {
                    tracing::info!(account = name, "woken");
                    match self.paused {
                        Some(_) => {
                            Reply::done("woken, but still paused (`posthole resume` goes on)")
                        }
                        None => Reply::done(format!("polling {name}")),
                    }
                } else {
                    let names: Vec<_> = self.order.iter().map(|name| &**name).collect();
                    let hint = match crate::config::did_you_mean(&name, names.iter().copied()) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => "`posthole status` lists the accounts; `posthole reload` reads a \
                                 changed configuration"
                            .to_owned(),
                    };
                    let message = format!("the daemon has no account `{name}`");
                    Reply::failed(message, Some(&hint))
                }
            }
            Request::Pause { until_wake } => {
                if until_wake && self.paused.is_none() {
                    self.paused = Some(Pause::UntilWake);
                } else if !until_wake {
                    self.paused = Some(Pause::Asked);
                }
                tracing::info!("paused");
                Reply::done("paused; polls that are going on finish")
            }
            Request::Resume => {
                let was_paused = self.paused.take().is_some();
                if was_paused {
                    tracing::info!("resumed");
                    self.awake = seconds(SystemTime::now());
                    self.wake_all();
                    Reply::done("resumed; polling all accounts")
                } else {
                    Reply::done("it was not paused")
                }
            }
            Request::Reload { agent } => return self.reload(agent, Some(reply)),
            Request::Questions { wait: true } => return self.curious.push(reply),
            Request::Questions { wait: false } => Reply::Questions {
                questions: self.answers.open(),
            },
            Request::Answer { question, answer } => {
                self.answers.give(&question, &answer);
                drop(answer);
                self.context.tunnels.forgive();
                self.wake_those(|state| state == State::Stuck(Trouble::Unanswered));
                Reply::done("kept in memory")
            }
            Request::Stop => {
                self.stop.cancel();
                Reply::done("stopping")
            }
        };
        // Whoever asked may have left.
        reply.send(answer).ok();
    }

    /// Has everybody polled, after dead connections are gone.
    fn wake_all(&mut self) {
        self.context.tunnels.forgive();
        self.probe();
        self.schedule.wake_all(Instant::now());
    }

    fn wake_those(&mut self, which: impl Fn(State) -> bool) {
        for name in self.order.clone() {
            if self.schedule.state(&name).is_some_and(&which) {
                self.schedule.wake(&name, Instant::now());
            }
        }
    }

    /// Gives up connections that are dead, and polls that do not move.
    fn probe(&mut self) {
        let tunnels = Arc::clone(&self.context.tunnels);
        self.chores.spawn_local(async move {
            Chore::Probed {
                dead: tunnels.drop_dead(SIGN_OF_LIFE).await,
            }
        });
        let polls = self.accounts.values().filter_map(|a| a.poll.as_ref());
        let moves = polls.map(|poll| (poll.id, poll.activity.moves()));
        self.suspects = Some((Instant::now() + SIGN_OF_LIFE * 2, moves.collect()));
    }

    fn reload(&mut self, agent: Option<PathBuf>, reply: Option<oneshot::Sender<Reply>>) {
        if let Some(loading) = &mut self.loading {
            loading.replies.extend(reply);
            loading.again = Some(agent);
            return;
        }
        self.loading = Some(Loading {
            replies: reply.into_iter().collect(),
            again: None,
        });
        self.teller.tell(&News::Reloading);
        let load = Arc::clone(&self.load);
        // Taken before the file is read, so that no change is missed.
        self.chores.spawn_local(async move {
            let loaded = tokio::task::spawn_blocking(move || load(agent)).await;
            Chore::Loaded(loaded.unwrap_or_else(|_| {
                let message = "internal error while the configuration was read".to_owned();
                Err(NotLoaded {
                    details: message.clone(),
                    message,
                })
            }))
        });
    }

    fn loaded(&mut self, loaded: Result<Loaded, NotLoaded>) {
        let Some(Loading { replies, again }) = self.loading.take() else {
            return;
        };
        let answer = match loaded {
            Ok(Loaded { plan, .. }) if plan.state_dir != self.plan.state_dir => {
                let message = "the configuration is not taken over: its records are elsewhere";
                tracing::error!("{message}");
                Err((message.to_owned(), "restart the daemon for that".to_owned()))
            }
            Ok(Loaded { plan, watch }) => {
                self.watch = Stamps::of(watch.iter().cloned());
                self.watched = watch;
                self.config_problem = None;
                let what = self.adopt(plan);
                self.configure_services();
                tracing::info!("configuration read: {what}");
                Ok(format!("configuration read: {what}"))
            }
            Err(NotLoaded { message, details }) => {
                self.watch = Stamps::of(self.watched.iter().cloned());
                self.config_problem = Some(message.clone());
                for line in details.lines().filter(|line| !line.trim().is_empty()) {
                    tracing::error!("{line}");
                }
                tracing::error!("the old configuration stays in force");
                Err((details, "the old configuration stays in force".to_owned()))
            }
        };
        self.teller.tell(&News::Ready);
        self.said.clear();
        for reply in replies {
            let answer = match &answer {
                Ok(text) => Reply::done(text.clone()),
                Err((message, hint)) => Reply::failed(message.clone(), Some(hint)),
            };
            reply.send(answer).ok();
        }
        if let Some(agent) = again {
            self.reload(agent, None);
        }
    }

    /// Does from now on what the plan says, and says what that changed.
    fn adopt(&mut self, plan: Plan) -> String {
        let now = Instant::now();
        let (mut added, mut changed, mut same) = (0, 0, 0);
        let order: Vec<Arc<str>> = plan
            .jobs
            .iter()
            .map(|job| job.account.as_str().into())
            .collect();
        let gone: Vec<_> = self.accounts.keys().cloned().collect();
        let gone: Vec<_> = gone.into_iter().filter(|n| !order.contains(n)).collect();
        for name in &gone {
            self.schedule.remove(name);
            self.watcher.forget(name);
            if let Some(Account {
                poll: Some(poll), ..
            }) = self.accounts.remove(name)
            {
                poll.stop.cancel();
            }
        }
        self.schedule.set_limits(limits(&plan));
        for (name, job) in order.iter().zip(&plan.jobs) {
            match self.accounts.get_mut(name) {
                Some(account) if account.job == *job => {
                    same += 1;
                    continue;
                }
                Some(account) => {
                    changed += 1;
                    account.job = Arc::clone(job);
                    account.files = None;
                    if let Some(poll) = &account.poll {
                        // It takes up the rest as the new configuration wants it.
                        poll.stop.cancel();
                    }
                }
                None => {
                    added += 1;
                    let account = Account {
                        job: Arc::clone(job),
                        history: History::default(),
                        is_changed: false,
                        poll: None,
                        files: None,
                        is_looking: false,
                    };
                    self.accounts.insert(Arc::clone(name), account);
                }
            }
            self.schedule.put(name, job.every, &host(job), now);
        }
        self.context
            .tunnels
            .retain(plan.jobs.iter().filter_map(|job| route(job)));
        if added + changed + gone.len() > 0 {
            self.context.tunnels.forgive();
        }
        let jobs = plan.daemon.jobs.min(plan.jobs.len());
        self.context.batch = BatchLimits::within(self.open_files, jobs);
        self.forget_questions(&plan);
        self.order = order;
        self.plan = plan;
        let text = format!(
            "{}, {added} added, {changed} changed, {} removed, {same} as before",
            counted(self.order.len(), "account"),
            gone.len()
        );
        text.replace(", 0 added", "")
            .replace(", 0 changed", "")
            .replace(", 0 removed", "")
            .replace(", 0 as before", "")
    }

    /// Does not ask for passwords of accounts that are gone.
    fn forget_questions(&self, plan: &Plan) {
        let wanted: Vec<_> = plan
            .jobs
            .iter()
            .filter(|job| job.password == PasswordSource::Prompt)
            .map(|job| job.password_question())
            .collect();
        self.answers.retain(|question| match question {
            crate::ask::SecretQuestion::MailPassword { .. } => wanted.contains(question),
            _ => true,
        });
    }

    fn configure_services(&mut self) {
        for service in &mut self.services {
            service.configure(&self.plan, &self.handle);
        }
    }

    fn chore(&mut self, chore: Result<Chore, JoinError>) {
        match chore {
            Ok(Chore::Files { account, changed }) => {
                if let Some(known) = self.accounts.get_mut(&account) {
                    known.is_looking = false;
                    if changed && known.poll.is_none() {
                        tracing::info!(account = %account, "a file it needs has changed");
                        known.files = None;
                        self.context.tunnels.forgive();
                        self.schedule.wake(&account, Instant::now());
                    }
                }
            }
            Ok(Chore::Configuration { changed: true }) if self.loading.is_none() => {
                tracing::info!("the configuration, or what it depends on, has changed");
                self.reload(None, None);
            }
            Ok(Chore::Loaded(loaded)) => self.loaded(loaded),
            Ok(Chore::Probed { dead: 0 } | Chore::Configuration { .. } | Chore::Done) => {}
            Ok(Chore::Probed { dead }) => {
                tracing::info!("{} given up", counted(dead, "dead connection"));
                self.schedule.wake_all(Instant::now());
            }
            Err(error) if error.is_panic() => tracing::error!("internal error in a chore"),
            Err(_) => {}
        }
    }

    /// What is done every few seconds.
    fn look_around(&mut self) {
        self.teller.tell(&News::Alive);
        let clock = (self.clocks)();
        if let Some(jump) = self.clock.jump_until(&clock, self.tick) {
            tracing::info!("{jump}: polling all accounts");
            self.awake = seconds(SystemTime::now());
            self.wake_all();
        }
        self.clock = clock;
        self.give_up_the_dead();
        self.look_at_files();
        if self.paused.is_none() {
            for name in self.order.clone() {
                self.alarm(&name);
            }
        }
        if self.saved.elapsed() >= SAVE_EVERY
            && let Some(saving) = self.save()
        {
            self.chores.spawn_local(async move {
                saving.await.ok();
                Chore::Done
            });
        }
    }

    fn give_up_the_dead(&mut self) {
        let Some((deadline, moves)) = &self.suspects else {
            return;
        };
        if Instant::now() < *deadline {
            return;
        }
        for (name, account) in &self.accounts {
            if let Some(poll) = &account.poll
                && moves.get(&poll.id) == Some(&poll.activity.moves())
            {
                tracing::info!(account = %name, "its connection does not move, and is given up");
                poll.abort.abort();
            }
        }
        self.suspects = None;
    }

    /// Looks whether somebody has done something about accounts in trouble.
    fn look_at_files(&mut self) {
        let mut is_anybody_in_trouble = self.config_problem.is_some();
        for (name, account) in &mut self.accounts {
            let Some(stamps) = account.files.clone() else {
                continue;
            };
            is_anybody_in_trouble = true;
            if !std::mem::replace(&mut account.is_looking, true) {
                let name = Arc::clone(name);
                self.chores.spawn_blocking(move || Chore::Files {
                    changed: stamps.have_changed(),
                    account: name,
                });
            }
        }
        if is_anybody_in_trouble && self.loading.is_none() {
            let stamps = self.watch.clone();
            self.chores.spawn_blocking(move || Chore::Configuration {
                changed: stamps.have_changed(),
            });
        }
    }

    /// Writes down what has changed, in a task of its own.
    fn save(&mut self) -> Option<tokio::task::JoinHandle<()>> {
        self.saved = Instant::now();
        let take = |(name, account): (&Arc<str>, &mut Account)| {
            let is_changed = std::mem::take(&mut account.is_changed);
            is_changed.then(|| (name.to_string(), account.history.clone()))
        };
        let changed: Histories = self.accounts.iter_mut().filter_map(take).collect();
        if changed.is_empty() {
            return None;
        }
        let state_dir = self.plan.state_dir.clone();
        Some(tokio::task::spawn_blocking(move || {
            if let Err(error) = histories::update(&state_dir, changed) {
                let state_dir = state_dir.display();
                tracing::warn!("cannot write the state of the accounts in {state_dir}: {error}");
            }
        }))
    }

    /// Tells those who wait for questions that there are some, or that there will be none.
    fn satisfy_the_curious(&mut self) {
        if self.curious.is_empty() {
            return;
        }
        let questions = self.answers.open();
        let polls = self.accounts.values().filter_map(|a| a.poll.as_ref());
        let is_anybody_due = self.paused.is_none() && self.schedule.is_anybody_due(Instant::now());
        let may_ask = is_anybody_due || polls.into_iter().any(|p| !p.activity.is_logged_in());
        if questions.is_empty() && may_ask {
            return;
        }
        for reply in self.curious.drain(..) {
            let questions = questions.clone();
            reply.send(Reply::Questions { questions }).ok();
        }
    }

    fn tell_status(&mut self) {
        let failing = self
            .accounts
            .values()
            .filter(|account| account.history.failures > 0)
            .count();
        let mut text = counted(self.accounts.len(), "account");
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
                )
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

/// What trouble an error means.
fn trouble(error: &Error, job: &Job, answers: &Answers) -> Trouble {
    if error.wants_answer() {
        return Trouble::Unanswered;
    }
    if error.is_busy() {
        return Trouble::Busy;
    }
    match error {
        // No server was bothered, and a keyring may be unlocked any time.
        Error::Secret(_) => return Trouble::Permanent,
        Error::Session(_)
            if error.class() == Class::Authentication
                && job.password == PasswordSource::Prompt
                && answers.refuse(&job.password_question()) =>
        {
            return Trouble::Unanswered;
        }
        _ => {}
    }
    match error.class() {
        Class::Authentication => Trouble::Authentication,
        Class::Certificate | Class::Config | Class::HostKey => Trouble::Permanent,
        Class::Local | Class::Protocol | Class::Temporary | Class::Unavailable => {
            Trouble::Temporary
        }
    }
}

fn tell_of_messages(name: &str, report: &Report) {
    let summary = &report.summary;
    if summary.fetched > 0 || summary.deleted > 0 {
        tracing::info!(
            account = name,
            "{} new ({} octets), {} deleted, {} left, {:.1} s",
            summary.fetched,
            summary.octets,
            summary.deleted,
            summary.left,
            summary.took.as_secs_f64()
        );
    } else if report.error.is_none() {
        tracing::debug!(account = name, "nothing new, {} left", summary.left);
    }
    for failure in &summary.failed {
        tracing::warn!(
            account = name,
            "message {} could not be fetched, and is tried again later: {}",
            failure.uid,
            failure.reason
        );
    }
}

fn tell_of_end(name: &str, history: &History, before: u32, ended: Ended, state: Option<State>) {
    if ended == Ended::Well && before > 0 {
        let failures = counted(usize::try_from(before).unwrap_or(usize::MAX), "failure");
        tracing::info!(account = name, "works again after {failures}");
    }
    let (Ended::Badly(trouble), Some(reason)) = (ended, &history.error) else {
        return;
    };
    let mut text = reason.message.clone();
    if let Some(hint) = &reason.hint {
        text += &format!("; {hint}");
    }
    let next = match state {
        Some(State::Waiting(due)) => {
            let pause = due
                .saturating_duration_since(Instant::now())
                .as_secs()
                .max(1);
            let pause = humantime::format_duration(Duration::from_secs(pause));
            format!("next try in {pause}")
        }
        Some(State::Stuck(Trouble::Unanswered)) => "it waits for that".to_owned(),
        _ => format!(
            "it is not tried again until a file it needs changes, or by `posthole wake {name}`"
        ),
    };
    match trouble {
        Trouble::Temporary | Trouble::Busy => tracing::warn!(account = name, "{text} ({next})"),
        _ => tracing::error!(account = name, "{text} ({next})"),
    }
}

fn limits(plan: &Plan) -> Limits {
    Limits {
        jobs: plan.daemon.jobs,
        per_host: plan.daemon.jobs_per_host,
    }
}

/// The mail server as far as its load goes: `localhost` is another one behind each SSH host.
fn host(job: &Job) -> String {
    let behind = route(job).and_then(<[Hop]>::last);
    let behind = behind.map_or("", |hop| &hop.address.host);
    format!("{} behind {behind}", job.server.host).to_ascii_lowercase()
}

fn route(job: &Job) -> Option<&[Hop]> {
    match &job.route {
        Route::Direct => None,
        Route::Ssh(hops) => Some(hops),
    }
}

fn counted(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}

const UNLOCK: &str = "give it to the daemon with `posthole unlock`";
/// How long a connection may take to prove that it is alive.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);
const SAVE_EVERY: Duration = Duration::from_secs(10);
