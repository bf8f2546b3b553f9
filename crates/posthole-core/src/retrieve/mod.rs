//! One poll of one account, from the first byte to the confirmed QUIT.
//!
//! [`poll`] is the story, a stage a line. The stages that need room of their own are beside it:
//! the way into the mailbox ([`entry`]), the transfer of messages ([`transfer`]) and the two
//! threads that make them durable while the network goes on ([`spool`]).

mod arrival;
mod changes;
mod entry;
mod filter;
mod login;
mod oversized;
mod renumbered;
mod sorter;
mod spool;
mod transfer;

pub(crate) use entry::Anteroom;
pub use oversized::warn_of_oversized;
pub use spool::BatchLimits;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio_util::sync::CancellationToken;

use crate::ask::{Ask, SecretQuestion};
use crate::deliver;
use crate::error::Error;
use crate::plan::{Job, Keep};
use crate::policy::{self, Decisions, Rules, Strangers};
use crate::progress::{Event, Observer, Step};
use crate::record::{Mailbox, RecordError, Records};
use crate::session::{Doubts, Listing, SessionError};
use crate::transport::tls::TrustStores;
use crate::tunnel::Tunnels;
use entry::Entered;
use filter::{Broken, Filtered};
use transfer::{Commit, Transfer};

/// What polls share: made once for a run, used by every account of it.
#[derive(Clone)]
pub struct Context {
    /// Who is asked for passwords and host keys.
    pub ask: Arc<dyn Ask>,
    /// Who is told what happens.
    pub observer: Arc<dyn Observer>,
    /// The SSH connections.
    pub tunnels: Arc<Tunnels>,
    /// The certificate authorities that are trusted.
    pub trust_stores: Arc<TrustStores>,
    /// What was fetched before.
    pub records: Records,
    /// Cancelled when the program is asked to stop: polls finish what is in hand and end.
    pub stop: CancellationToken,
    /// Raised when connections may have died unnoticed.
    pub doubts: Doubts,
    /// How many messages share the cost of a sync.
    pub batch: BatchLimits,
}

impl Context {
    fn links(&self) -> Links<'_> {
        Links {
            ask: &self.ask,
            observer: &self.observer,
            tunnels: &self.tunnels,
            trust_stores: &self.trust_stores,
            doubts: Some(&self.doubts),
        }
    }
}

/// What it takes to get into a mailbox, wherever its mail goes.
#[derive(Clone, Copy)]
pub(crate) struct Links<'a> {
    pub(crate) ask: &'a Arc<dyn Ask>,
    pub(crate) observer: &'a Arc<dyn Observer>,
    pub(crate) tunnels: &'a Tunnels,
    pub(crate) trust_stores: &'a Arc<TrustStores>,
    /// Who says that connections may be dead, where somebody does.
    pub(crate) doubts: Option<&'a Doubts>,
}

/// How a poll went: what it achieved, and what ended it early if anything did.
#[derive(Debug)]
pub struct Report {
    /// What was achieved, also by a poll that failed half-way.
    pub summary: Summary,
    /// The error that ended the poll.
    pub error: Option<Error>,
}

/// What a poll achieved.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Messages delivered and recorded.
    pub fetched: u64,
    /// Their size as delivered.
    pub octets: u64,
    /// Messages whose deletion the server confirmed.
    pub deleted: u64,
    /// Messages that are still on the server.
    pub left: u64,
    /// Messages that were not fetched because of their size, and are still on the server.
    pub too_large: Vec<PreviewEntry>,
    /// Messages that were deleted because of their size, and not fetched.
    pub discarded: Vec<PreviewEntry>,
    /// Messages that the filter left on the server.
    pub filtered: Vec<PreviewEntry>,
    /// Messages that could not be fetched this time; they are tried again later.
    pub failed: Vec<MessageFailure>,
    /// How long the server wants between logins (LOGIN-DELAY, RFC 2449 §6.5).
    pub login_delay: Option<Duration>,
    /// How long the poll took.
    pub took: Duration,
}

/// A message that could not be fetched.
#[derive(Clone, Debug)]
pub struct MessageFailure {
    /// The message's unique-id, escaped for reading; empty when the server gave none.
    pub uid: String,
    /// Why, in the server's cleaned words or ours.
    pub reason: String,
}

/// What a poll would do.
#[derive(Clone, Debug, Default)]
pub struct Preview {
    /// Messages it would fetch.
    pub fetch: Vec<PreviewEntry>,
    /// Messages it would delete, including those it would fetch first.
    pub delete: Vec<PreviewEntry>,
    /// Messages it would leave on the server because of their size.
    pub too_large: Vec<PreviewEntry>,
    /// Messages that the filter would leave on the server.
    pub filtered: Vec<PreviewEntry>,
    /// Messages that the filter did not decide about; they would stay.
    pub undecided: Vec<MessageFailure>,
    /// Messages that would be on the server afterwards.
    pub left: u64,
}

/// A message as the server lists it.
#[derive(Clone, Debug)]
pub struct PreviewEntry {
    /// The message's unique-id, escaped for reading; empty when the server gave none.
    pub uid: String,
    /// Octets as the server lists them.
    pub size: u64,
}

impl PreviewEntry {
    fn of(listing: &Listing, idx: u32) -> Self {
        Self {
            uid: listing.shown_uid(idx),
            size: listing.size(idx),
        }
    }
}

impl Job {
    /// What a person is asked for who is to give the password.
    pub(crate) fn password_question(&self) -> SecretQuestion {
        SecretQuestion::MailPassword {
            account: self.account.clone(),
            login: format!("{}@{}", self.user, self.server.host),
        }
    }

    fn rules(&self) -> Rules {
        let mut select = self.select;
        if self.filter.is_some() {
            // Of what the filter lets through.
            select.fetch_limit = None;
        }
        Rules {
            keep: self.keep,
            select,
            before: None,
        }
    }
}

/// Polls an account once: fetches what is new, deletes what may go.
pub async fn poll(job: &Job, cx: &Context) -> Report {
    let started = Instant::now();
    let mut summary = Summary::default();
    let result = fetch(job, cx, &mut summary).await;
    summary.took = started.elapsed();
    Report {
        summary,
        error: result.err(),
    }
}

async fn fetch(job: &Job, cx: &Context, summary: &mut Summary) -> Result<(), Error> {
    let mailbox = open_mailbox(job, cx).await?;
    finish_interrupted(job, &mailbox).await?;
    let mut poll = Sessions::default();
    loop {
        let session = poll.one_more(job, cx, &mailbox, summary).await;
        match session {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            // The messages are safe here, and the next poll deletes them.
            Err(error) if poll.only_delete && !matches!(error, Error::Stopped) => {
                let notice = format!("nothing is deleted this time: {error}");
                cx.observer.event(&job.account, &Event::Notice(notice));
                return Ok(());
            }
            Err(error) => return Err(error),
        }
    }
}

/// The sessions of one poll: one, unless deletions are to become real in between.
struct Sessions {
    started: SystemTime,
    /// How many messages the session before had, and how many of them it deleted.
    last: Option<(usize, u64)>,
    /// The unique-ids of messages that are done with, though they are neither fetched nor deleted.
    done_with: HashSet<Box<[u8]>>,
    /// Whether what is left is to delete what the session before could not, as it ended without
    /// QUIT.
    only_delete: bool,
}

impl Default for Sessions {
    fn default() -> Self {
        Self {
            started: SystemTime::now(),
            last: None,
            done_with: HashSet::new(),
            only_delete: false,
        }
    }
}

impl Sessions {
    /// Goes through a session, and says whether there is something to do in another one.
    async fn one_more(
        &mut self,
        job: &Job,
        cx: &Context,
        mailbox: &Mailbox,
        summary: &mut Summary,
    ) -> Result<bool, Error> {
        let mut entered = enter(job, cx, mailbox).await?;
        let listing = Arc::clone(&entered.listing);
        summary.left = listing.len() as u64;
        summary.login_delay = entered.login_delay;
        summary.too_large.clear();
        let mut decisions = decide(
            job,
            cx,
            mailbox,
            &mut entered,
            self.rules(job, summary),
            Looking::ToFetch,
        )
        .await?;
        self.pass_over(&listing, &mut decisions);
        if self.only_delete {
            decisions.fetch.clear();
            decisions.suspects.clear();
            decisions.set_aside.clear();
        }
        // One that says that it deletes and does not would be asked again and again.
        let obeys = self
            .last
            .is_none_or(|(before, deleted)| deleted == 0 || listing.len() < before);
        let expunge = job.select.expunge.filter(|_| obeys && !self.only_delete);
        let has_more = expunge.is_some_and(|most| {
            let now = SystemTime::now();
            let goes = |idx| policy::may_go(job.keep, &listing, idx, now, now);
            decisions.cut_after(most.get() as usize, goes)
        });
        let (done_with, deleted) = (self.done_with.len(), summary.deleted);
        let failed = summary.failed.len();
        let room = room(job, summary);
        let filtered = apply_filter(job, cx, mailbox, &mut entered, room, &mut decisions).await?;
        let left = filtered.left.iter();
        summary
            .filtered
            .extend(left.clone().map(|&idx| PreviewEntry::of(&listing, idx)));
        self.done_with
            .extend(left.map(|&idx| listing.uid(idx).into()));
        summary.failed.extend(filtered.failed);

        let mut transfer = Transfer::new(job, cx, mailbox, entered, summary);
        transfer.run(decisions).await?;
        let stopped = transfer.was_stopped();
        let committed = match transfer.commit().await? {
            Commit::Done(committed) => committed,
            Commit::Unconfirmed | Commit::Withheld { .. } if stopped => {
                return Err(Error::Stopped);
            }
            Commit::Unconfirmed => return Ok(false),
            Commit::Withheld { deletions: 0, .. } => return Ok(false),
            Commit::Withheld { is_doubtful, .. }
                if is_doubtful || self.only_delete || summary.login_delay.is_some() =>
            {
                let notice = "nothing is deleted this time, since not everything that the server \
                              sent is safe here";
                cx.observer
                    .event(&job.account, &Event::Notice(notice.to_owned()));
                return Ok(false);
            }
            // In a session that sends nothing there is nothing to lose.
            Commit::Withheld { .. } => {
                self.only_delete = true;
                return Ok(true);
            }
        };
        let records = mailbox.clone();
        blocking(move || records.retire(committed, SystemTime::now())).await?;
        if stopped {
            return Err(Error::Stopped);
        }
        self.last = Some((listing.len(), summary.deleted - deleted));
        if has_more {
            // What failed is tried again in another poll, not in another session of this one.
            let failed = summary.failed[failed..].iter();
            let failed: HashSet<_> = failed.map(|failure| failure.uid.as_str()).collect();
            let all = 0..listing.len_u32();
            let is_failed = |&idx: &u32| failed.contains(listing.shown_uid(idx).as_str());
            let failed = all.filter(|idx| !failed.is_empty() && is_failed(idx));
            self.done_with
                .extend(failed.map(|idx| listing.uid(idx).into()));
        }
        let has_moved = summary.deleted > deleted || self.done_with.len() > done_with;
        Ok(has_more && has_moved)
    }

    /// What is said of the account, less what the sessions before have done.
    fn rules(&self, job: &Job, summary: &Summary) -> Rules {
        let mut rules = job.rules();
        if rules.select.fetch_limit.is_some() {
            rules.select.fetch_limit = room(job, summary);
        }
        rules.before = self.last.map(|_| self.started);
        if self.only_delete {
            // What this poll has fetched is to go now, and not to come again.
            rules.select.fetch_all = false;
        }
        rules
    }

    /// Takes out what was dealt with in the sessions before.
    fn pass_over(&self, listing: &Listing, decisions: &mut Decisions) {
        if self.last.is_none() {
            return;
        }
        decisions.set_aside.clear();
        let is_new = |idx: &u32| !self.done_with.contains(listing.uid(*idx));
        decisions.fetch.retain(is_new);
        decisions.suspects.retain(is_new);
    }
}

/// How many messages the poll may still fetch.
fn room(job: &Job, summary: &Summary) -> Option<u32> {
    let fetched = u32::try_from(summary.fetched).unwrap_or(u32::MAX);
    Some(job.select.fetch_limit?.saturating_sub(fetched))
}

/// Has the filter look at what is to be fetched, if there is one.
async fn apply_filter(
    job: &Job,
    cx: &Context,
    mailbox: &Mailbox,
    entered: &mut Entered,
    room: Option<u32>,
    decisions: &mut Decisions,
) -> Result<Filtered, Error> {
    let Some(filter) = &job.filter else {
        return Ok(Filtered::default());
    };
    let listing = Arc::clone(&entered.listing);
    let asked = filter::ask(filter, entered, room, &cx.stop, decisions).await;
    let Err(Broken { error, message }) = asked else {
        return asked.map_err(|broken| broken.error);
    };
    if let Error::Session(error) = &error
        && let Some(message) = message
    {
        // Was it this message, or commands in advance?
        let in_advance = entered.pipelined && entered.session.in_flight() > 1;
        if in_advance && error.may_come_from_pipelining() {
            entry::distrust_pipelining(mailbox).await?;
        } else if error.is_loss()
            && let Some(identity) = transfer::identity(&listing, message)
        {
            let reason = "the session ended while its header was on its way";
            let mailbox = mailbox.clone();
            let now = SystemTime::now();
            blocking(move || mailbox.failed(&identity, reason, false, now)).await?;
        }
    }
    Err(error)
}

/// Looks what [`poll`] would do, without fetching or deleting anything.
pub async fn preview(job: &Job, cx: &Context) -> Result<Preview, Error> {
    let mailbox = open_mailbox(job, cx).await?;
    let mut entered = enter(job, cx, &mailbox).await?;
    let only = Looking::Only;
    let mut decisions = decide(job, cx, &mailbox, &mut entered, job.rules(), only).await?;
    let room = job.select.fetch_limit;
    let filtered = apply_filter(job, cx, &mailbox, &mut entered, room, &mut decisions).await?;
    let Entered {
        session, listing, ..
    } = entered;
    let preview = preview_of(&listing, &decisions, filtered, job.keep);
    // Nothing hangs on this goodbye, since nothing was marked for deletion.
    let _unneeded = session.quit().await;
    Ok(preview)
}

/// What the destinations of an account need.
fn means(job: &Job, cx: &Context) -> deliver::Means {
    deliver::Means {
        account: job.account.clone(),
        ask: Arc::clone(&cx.ask),
        stop: cx.stop.clone(),
        tunnels: Arc::clone(&cx.tunnels),
        trust_stores: Arc::clone(&cx.trust_stores),
    }
}

/// Walks every step towards the mailbox and the destination, changing neither.
///
/// Each step is told to the observer as it is done; the first failure ends the walk.
pub async fn check(job: &Job, cx: &Context) -> Result<(), Error> {
    let mailbox = open_mailbox(job, cx).await?;
    let entered = enter(job, cx, &mailbox).await?;
    let _unneeded = entered.session.quit().await;

    for to in &job.deliver {
        let started = Instant::now();
        let step = Step::Destination { to: to.to_string() };
        let (to, mailbox, means) = (to.clone(), mailbox.clone(), means(job, cx));
        blocking(move || deliver::check(&to, &mailbox, &means)).await?;
        cx.observer.event(
            &job.account,
            &Event::Step {
                step,
                took: started.elapsed(),
            },
        );
    }
    Ok(())
}

async fn open_mailbox(job: &Job, cx: &Context) -> Result<Mailbox, Error> {
    let (records, key) = (cx.records.clone(), job.mailbox.clone());
    let destinations = Vec::from_iter(job.deliver.iter().map(ToString::to_string)).join(", ");
    let keeps = job.keep != Keep::Never;
    blocking(move || {
        let mailbox = records.mailbox(&key)?;
        Ok::<_, Error>(mailbox.delivering_to(&destinations).keeping(keeps))
    })
    .await
}

/// Opens the mailbox, unless the program is asked to stop first: nothing is in hand yet.
async fn enter(job: &Job, cx: &Context, mailbox: &Mailbox) -> Result<Entered, Error> {
    tokio::select! {
        entered = entry::enter(job, cx, mailbox) => entered,
        () = cx.stop.cancelled() => Err(Error::Stopped),
    }
}

/// Brings to an end what a run that died left unfinished.
async fn finish_interrupted(job: &Job, mailbox: &Mailbox) -> Result<(), Error> {
    let (to, mailbox) = (job.deliver.clone(), mailbox.clone());
    let is_shared = job.multidrop.is_some();
    blocking(move || deliver::recover(&to, is_shared, &mailbox)).await
}

/// Why the records are looked at.
#[derive(Clone, Copy)]
enum Looking {
    ToFetch,
    /// Nothing is to be changed by it.
    Only,
}

async fn decide(
    job: &Job,
    cx: &Context,
    mailbox: &Mailbox,
    entered: &mut Entered,
    rules: Rules,
    looking: Looking,
) -> Result<Decisions, Error> {
    let (mut decisions, strangers) = compare(mailbox, entered, rules, looking).await?;
    let Some(strangers) = strangers else {
        return Ok(decisions);
    };
    let names = renumbered::recognise(job, cx, mailbox, entered, strangers, &mut decisions).await?;
    if names.is_empty() || matches!(looking, Looking::Only) {
        return Ok(decisions);
    }
    let notice = format!(
        "the server has given {} messages other unique-ids; they are not fetched again",
        names.len()
    );
    cx.observer.event(&job.account, &Event::Notice(notice));
    let (records, listing) = (mailbox.clone(), Arc::clone(&entered.listing));
    blocking(move || records.rename(&listing, names)).await?;
    Ok(compare(mailbox, entered, rules, looking).await?.0)
}

async fn compare(
    mailbox: &Mailbox,
    entered: &Entered,
    rules: Rules,
    looking: Looking,
) -> Result<(Decisions, Option<Strangers>), Error> {
    let listing = Arc::clone(&entered.listing);
    if rules.keep != Keep::Never && listing.len() > 0 && listing.has_no_uids() {
        return Err(SessionError::NoUniqueIds.into());
    }
    let mailbox = mailbox.clone();
    blocking(move || {
        let now = SystemTime::now();
        let standings = match looking {
            Looking::ToFetch => mailbox.update(&listing, now)?,
            Looking::Only => mailbox.standings(&listing, now)?,
        };
        let decisions = policy::decide(&listing, &standings, rules, now);
        Ok::<_, RecordError>((decisions, standings.strangers()))
    })
    .await
}

fn preview_of(listing: &Listing, decisions: &Decisions, filtered: Filtered, keep: Keep) -> Preview {
    let entry = |&idx: &u32| PreviewEntry::of(listing, idx);
    let fetch = || decisions.fetch.iter().chain(&decisions.suspects);
    let now = SystemTime::now();
    let at_once = fetch().filter(|&&idx| policy::may_go(keep, listing, idx, now, now));
    let known = decisions.delete.iter().chain(&decisions.discard);
    let delete: Vec<_> = known.chain(at_once).map(entry).collect();
    Preview {
        left: (listing.len() - delete.len()) as u64,
        fetch: fetch().map(entry).collect(),
        delete,
        too_large: decisions.too_large.iter().map(entry).collect(),
        filtered: filtered.left.iter().map(entry).collect(),
        undecided: filtered.failed,
    }
}

/// Whether a time has passed since; a clock that went back does not make it endless.
fn is_over(since: SystemTime, time: Duration, now: SystemTime) -> bool {
    now.duration_since(since).map_or(true, |age| age >= time)
}

/// Runs something that blocks, away from the network.
async fn blocking<T, E>(run: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, Error>
where
    T: Send + 'static,
    E: Send + 'static,
    Error: From<E>,
{
    match tokio::task::spawn_blocking(run).await {
        Ok(result) => Ok(result?),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Only a runtime that shuts down cancels such a task.
            Err(_cancelled) => Err(Error::Stopped),
        },
    }
}

/// What the table in the manual is compared with.
#[cfg(test)]
pub(crate) mod limits {
    pub(crate) use super::entry::{LONGEST_LOGIN_DELAY, PATIENCE_WITH_PIPELINING};
    pub(crate) use super::filter::HEADER_LIMIT;
    pub(crate) use super::sorter::HOSTS_OF_A_MESSAGE;
    pub(crate) use super::spool::BACKLOG_MESSAGES;
    pub(crate) use super::transfer::{COMMANDS_IN_FLIGHT, OCTETS_IN_FLIGHT};
}
