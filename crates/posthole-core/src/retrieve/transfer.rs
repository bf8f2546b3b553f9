//! The transfer: messages to disk, deletions to the server, both at once.
//!
//! Commands are sent ahead of their answers as far as the window allows, so that neither side
//! waits for the other; without pipelining the window is one command. Text goes to the spool as it
//! arrives. What comes back from there as [`Recorded`] may be deleted, and rides along.
//!
//! A server must not be told QUIT when a message that it sent is not safe here: some servers take
//! a message for fetched once it was sent, and delete it by themselves.

use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use posthole_proto::pop3::{CommandKind, Event as Pop3Event};
use posthole_proto::text::clean;
use tokio::time::{Instant, sleep_until};

use super::arrival::{Likeness, Sizes};
use super::changes::Changes;
use super::entry::{self, Entered};
use super::spool::{Outcome, Spool};
use super::{Context, MessageFailure, PreviewEntry, Summary, blocking, means};
use crate::deliver::{Delivery, Refusal};
use crate::error::Error;
use crate::plan::{Job, Keep};
use crate::policy::{self, Decisions};
use crate::progress::Event;
use crate::record::{Identity, IdentityKind, Mailbox, RecordError, Recorded};
use crate::session::{Committed, Listing, MessageRef, Session, SessionError};

/// The transfer of one session.
pub(super) struct Transfer<'a> {
    job: &'a Job,
    cx: &'a Context,
    mailbox: &'a Mailbox,
    session: Session,
    listing: Arc<Listing>,
    pipelined: bool,
    summary: &'a mut Summary,
    /// To fetch, in this order.
    fetch: VecDeque<u32>,
    /// To fetch alone, when nothing else is in flight.
    suspects: VecDeque<u32>,
    /// To delete once everything is fetched.
    delete: VecDeque<Recorded>,
    /// May go, but share their unique-id with messages that may not yet; by the first of them.
    ///
    /// Which of them is which depends on their number, so deleting one alone would let the next
    /// session take another one for it.
    waiting: HashMap<u32, Vec<Recorded>>,
    /// Asked for and not yet here, in the order of the answers.
    retrieving: VecDeque<MessageRef>,
    /// Octets of `retrieving` as the server lists them.
    window: u64,
    /// Octets of the message that is arriving.
    arrived: u64,
    /// Whether the message that is arriving looks as if another reply had got into it.
    likeness: Likeness,
    /// A message that did. Until all that is in flight is answered, nothing that comes is believed
    /// to be what it was asked for as.
    doubted: Option<MessageRef>,
    sizes: Sizes,
    /// Whether the server sent a message whole.
    proven: bool,
    /// Messages that were handed to the spool and are not recorded yet.
    spooled: u64,
    /// Messages that could not be fetched or delivered, to be put on record, and whether that is
    /// for good.
    failed: Vec<(Identity, String, bool)>,
    /// Whether a message that the server sent is not safe here.
    unsafe_to_quit: bool,
    /// Whether a destination did not take what the server sent.
    refused_here: bool,
    /// Whether the deletions have begun, for which everything else is over.
    deleting: bool,
    stopping: bool,
}

/// How a session ended.
pub(super) enum Commit {
    /// By QUIT.
    Done(Committed),
    /// By a QUIT that was not answered.
    Unconfirmed,
    /// Without QUIT, since not everything that the server sent is safe here: some servers take what
    /// they have sent for fetched.
    Withheld {
        /// How many deletions came to nothing by that.
        deletions: usize,
        /// Whether it is the server that cannot be trusted, and not a destination that said no.
        is_doubtful: bool,
    },
}

impl<'a> Transfer<'a> {
    pub(super) fn new(
        job: &'a Job,
        cx: &'a Context,
        mailbox: &'a Mailbox,
        entered: Entered,
        summary: &'a mut Summary,
    ) -> Self {
        let Entered {
            session,
            listing,
            pipelined,
            login_delay: _,
        } = entered;
        Self {
            job,
            cx,
            mailbox,
            session,
            listing,
            pipelined,
            summary,
            fetch: VecDeque::new(),
            suspects: VecDeque::new(),
            delete: VecDeque::new(),
            waiting: HashMap::new(),
            retrieving: VecDeque::new(),
            window: 0,
            arrived: 0,
            likeness: Likeness::default(),
            doubted: None,
            sizes: Sizes::default(),
            proven: false,
            spooled: 0,
            failed: Vec::new(),
            unsafe_to_quit: false,
            refused_here: false,
            deleting: false,
            stopping: false,
        }
    }

    /// Fetches and deletes what was decided, or as much as there is time for when stopped.
    pub(super) async fn run(&mut self, decisions: Decisions) -> Result<(), Error> {
        self.report_left_out(&decisions).await?;
        for recorded in self.look_up(decisions.delete).await? {
            self.may_go(recorded);
        }
        for recorded in self.discard(decisions.discard).await? {
            if let Some(message) = recorded.message() {
                let entry = PreviewEntry::of(&self.listing, message.idx);
                self.summary.discarded.push(entry);
            }
            self.may_go(recorded);
        }
        self.fetch = decisions.fetch.into();
        self.suspects = decisions.suspects.into();
        self.warn_of_missing_uids();
        let result = if self.fetch.is_empty() && self.suspects.is_empty() {
            self.exchange_all(&mut None).await
        } else {
            self.fetch_and_delete().await
        };
        if let Err(Error::Session(error)) = &result {
            self.blame(error).await?;
        }
        self.record_failures().await?;
        result
    }

    /// Whether the transfer was cut short by a request to stop.
    pub(super) fn was_stopped(&self) -> bool {
        self.stopping
    }

    /// Says QUIT, which makes the deletions real, unless that could lose a message.
    pub(super) async fn commit(self) -> Result<Commit, Error> {
        if self.unsafe_to_quit || self.refused_here {
            // Dropping the connection leaves the mailbox as it was (RFC 1939 §6).
            return Ok(Commit::Withheld {
                deletions: self.session.asked_to_delete() + self.delete.len(),
                is_doubtful: self.unsafe_to_quit,
            });
        }
        let asked = self.session.asked_to_delete();
        let committed = match self.session.quit().await {
            Ok(committed) => committed,
            // Everything is safe here, and the next listing shows what is gone there.
            Err(error) if error.is_loss() => {
                if asked > 0 {
                    let notice = format!(
                        "the server did not confirm QUIT ({error}); whether it deleted {asked} \
                         messages shows at the next poll"
                    );
                    let event = Event::Notice(notice);
                    self.cx.observer.event(&self.job.account, &event);
                }
                return Ok(Commit::Unconfirmed);
            }
            Err(error) => return Err(error.into()),
        };
        let deleted = committed.count() as u64;
        self.summary.deleted += deleted;
        self.summary.left = self.summary.left.saturating_sub(deleted);
        Ok(Commit::Done(committed))
    }

    async fn fetch_and_delete(&mut self) -> Result<(), Error> {
        let spool = self.start_spool().await?;
        let exact = self.exact_sizes(None).await?;
        self.sizes = Sizes::remembered(exact);
        self.announce();
        let mut spool = Some(spool);
        let result = self.exchange_all(&mut spool).await;
        // Whatever ended the session, what has arrived whole is delivered.
        if let Some(mut spool) = spool {
            if !self.retrieving.is_empty() {
                spool.abort();
                spool.flush().await;
            }
            spool.close();
            while let Some(outcome) = spool.outcome().await {
                let settled = self.settle(outcome);
                if result.is_ok() {
                    settled?;
                }
            }
        }
        if self.spooled > 0 {
            self.unsafe_to_quit = true;
        }
        if let Some(verdict) = self.sizes.verdict().filter(|verdict| *verdict != exact) {
            self.exact_sizes(Some(verdict)).await?;
        }
        result
    }

    /// Whether the sizes that this server lists are right, as it is remembered or to be remembered.
    async fn exact_sizes(&self, new: Option<bool>) -> Result<bool, Error> {
        let mailbox = self.mailbox.clone();
        blocking(move || {
            let mut memory = mailbox.server()?;
            if let Some(new) = new {
                memory.exact_sizes = new;
                mailbox.remember_server(&memory)?;
            }
            Ok::<_, Error>(memory.exact_sizes)
        })
        .await
    }

    async fn start_spool(&self) -> Result<Spool, Error> {
        let mailbox = self.mailbox.clone();
        let (limits, means) = (self.cx.batch, means(self.job, self.cx));
        let job = self.job.clone();
        blocking(move || {
            let changes = Changes::of(&job);
            let delivery = Delivery::open(&job.deliver, &mailbox, &means)?;
            Ok::<_, Error>(Spool::start(delivery, mailbox, limits, changes))
        })
        .await
    }

    /// Keeps the window full until everything is answered, delivered and deleted.
    async fn exchange_all(&mut self, spool: &mut Option<Spool>) -> Result<(), Error> {
        let stop = self.cx.stop.clone();
        let mut give_up = None;
        let mut last_heard = Instant::now();
        loop {
            self.fill_window(spool.as_ref())?;
            let nothing_comes =
                self.retrieving.is_empty() && self.fetch.is_empty() && self.suspects.is_empty();
            if nothing_comes && let Some(spool) = spool {
                spool.close();
            }
            let in_flight = self.session.in_flight() > 0;
            if !in_flight && nothing_comes && self.spooled == 0 && self.delete.is_empty() {
                return Ok(());
            }
            tokio::select! {
                biased;
                () = stop.cancelled(), if !self.stopping => {
                    // What was asked for still arrives; it is soon here or given up.
                    self.stopping = true;
                    self.fetch.clear();
                    self.suspects.clear();
                    self.session.set_timeout(PATIENCE_WHEN_STOPPING.min(self.job.timeout));
                    give_up = Some(Instant::now() + PATIENCE_WHEN_STOPPING);
                }
                () = sleep_until(give_up.unwrap_or_else(Instant::now)), if give_up.is_some() => {
                    return Err(Error::Stopped);
                }
                outcome = next_outcome(spool), if self.spooled > 0 => match outcome {
                    Some(outcome) => self.settle(outcome)?,
                    // The threads end early only after a failure, which is settled above, or by a
                    // panic, which goes on here.
                    None => return Err(join(spool).await),
                },
                () = sleep_until(last_heard + KEEP_ALIVE), if !in_flight => {
                    // A slow destination is no reason for the server to hang up.
                    last_heard = Instant::now();
                    self.session.noop()?;
                }
                result = self.session.exchange(), if in_flight => {
                    result?;
                    last_heard = Instant::now();
                    self.hear(spool)?;
                    if let Some(spool) = spool {
                        spool.flush().await;
                    }
                }
            }
        }
    }

    /// Sends as many commands as may be in flight.
    fn fill_window(&mut self, spool: Option<&Spool>) -> Result<(), Error> {
        let most = if self.pipelined {
            COMMANDS_IN_FLIGHT
        } else {
            1
        };
        if self.session.in_flight() == 0 {
            // As many answers as commands: none was lost in another.
            self.doubted = None;
        }
        while self.session.in_flight() < most {
            if self.is_fetched() {
                let Some(recorded) = self.next_to_delete() else {
                    break;
                };
                self.session.dele(recorded)?;
                continue;
            }
            if self.doubted.is_some() {
                break;
            }
            let unsettled = self.spooled + self.retrieving.len() as u64;
            if self.window >= OCTETS_IN_FLIGHT
                || spool.is_some_and(|spool| spool.is_behind(unsettled))
            {
                break;
            }
            let next = match self.fetch.pop_front() {
                Some(next) => next,
                None if self.retrieving.is_empty() => match self.suspects.pop_front() {
                    Some(next) => next,
                    None => break,
                },
                None => break,
            };
            let message = self.listing.message(next);
            self.session.retr(message)?;
            self.window += self.cost(message);
            self.retrieving.push_back(message);
        }
        Ok(())
    }

    /// Whether everything that is to be fetched is safe here, or has failed.
    ///
    /// Only then anything is deleted.
    fn is_fetched(&self) -> bool {
        let Self {
            fetch,
            suspects,
            retrieving,
            spooled,
            ..
        } = self;
        fetch.is_empty() && suspects.is_empty() && retrieving.is_empty() && *spooled == 0
    }

    /// The next message to delete, from the end of the mailbox on.
    ///
    /// Some servers delete at DELE already, and count anew: what is still to be asked for by its
    /// number must not move up.
    fn next_to_delete(&mut self) -> Option<Recorded> {
        if !std::mem::replace(&mut self.deleting, true) {
            let number = |recorded: &Recorded| recorded.message().map(|message| message.number);
            let delete = self.delete.make_contiguous();
            delete.sort_unstable_by_key(|recorded| Reverse(number(recorded)));
        }
        self.delete.pop_front()
    }

    /// What a message takes of the window. Sizes are advice, and a missing one is no free ride.
    fn cost(&self, message: MessageRef) -> u64 {
        self.listing.size(message.idx).clamp(1024, OCTETS_IN_FLIGHT)
    }

    /// Deals with everything that was read.
    fn hear(&mut self, spool: &mut Option<Spool>) -> Result<(), Error> {
        let mut received = 0;
        let most = self.job.max_size;
        while !self.session.is_drained() {
            // Whether the end of another message could be taken for the end of this one.
            let may_mix = self.session.in_flight() > 1;
            let Some(event) = self.session.event()? else {
                continue;
            };
            match event {
                Pop3Event::Body(text) => {
                    received += text.len() as u64;
                    self.arrived += text.len() as u64;
                    if self.arrived > most {
                        return Err(SessionError::TooLarge { most }.into());
                    }
                    if let Some(reply) = self.likeness.reply_at_start(text) {
                        let message = self.retrieving.front().map_or(0, |it| it.number.get());
                        let received = clean(reply).into_owned();
                        return Err(SessionError::ReplyInMessage { message, received }.into());
                    }
                    if may_mix {
                        self.likeness.look(text);
                    }
                    if let Some(spool) = spool {
                        spool.text(text);
                    }
                }
                Pop3Event::Ok {
                    command: CommandKind::Retr(_),
                    ..
                } => {
                    self.arrived = 0;
                    self.likeness = Likeness::default();
                    if let (Some(spool), Some(&message)) = (&mut *spool, self.retrieving.front()) {
                        spool.begin(message, identity(&self.listing, message));
                    }
                }
                Pop3Event::End {
                    command: CommandKind::Retr(_),
                } => self.message_ended(spool),
                Pop3Event::Rejected {
                    command: CommandKind::Retr(_),
                    text,
                    ..
                } => {
                    let reason = format!("the server refused it: {text}");
                    if let Some(message) = self.next_arrived() {
                        self.fail(message, reason);
                    }
                }
                Pop3Event::Ok {
                    command: CommandKind::Dele(_),
                    ..
                } => {
                    self.session.dele_answered(true);
                }
                Pop3Event::Rejected {
                    command: CommandKind::Dele(number),
                    text,
                    ..
                } => {
                    let notice = format!("the server did not delete message {number}: {text}");
                    self.cx
                        .observer
                        .event(&self.job.account, &Event::Notice(notice));
                    self.session.dele_answered(false);
                }
                _ => {}
            }
        }
        if received > 0 {
            self.cx
                .observer
                .event(&self.job.account, &Event::Received { octets: received });
        }
        Ok(())
    }

    fn message_ended(&mut self, spool: &mut Option<Spool>) {
        self.proven = true;
        let (Some(message), Some(spool)) = (self.next_arrived(), spool) else {
            return;
        };
        if self.doubted.is_some() || self.likeness.is_there() {
            spool.abort();
            self.doubted.get_or_insert(message);
            if self.likeness.is_there() {
                // To be asked for alone, where there is nothing that it could be mixed up with.
                self.suspects.push_back(message.idx);
            } else {
                self.fetch.push_back(message.idx);
            }
            return;
        }
        if let Some(reason) = self.sizes.belie(self.arrived, message, &self.listing) {
            spool.abort();
            self.unsafe_to_quit = true;
            return self.fail(message, reason);
        }
        spool.end();
        self.spooled += 1;
    }

    /// Takes the message that was answered off the window.
    fn next_arrived(&mut self) -> Option<MessageRef> {
        let message = self.retrieving.pop_front()?;
        self.window -= self.cost(message);
        Some(message)
    }

    /// Takes note of what the disk says.
    fn settle(&mut self, outcome: Outcome) -> Result<(), Error> {
        let recorded = match outcome {
            Outcome::Known(recorded) => vec![recorded],
            Outcome::Recorded(recorded) => {
                let messages = recorded.len() as u64;
                self.summary.fetched += messages;
                self.summary.octets += recorded.iter().map(Recorded::octets).sum::<u64>();
                self.cx
                    .observer
                    .event(&self.job.account, &Event::Delivered { messages });
                recorded
            }
            Outcome::Notice(text) => {
                self.cx
                    .observer
                    .event(&self.job.account, &Event::Notice(text));
                return Ok(());
            }
            Outcome::Refused(message, refusal) => {
                self.spooled -= 1;
                self.refused_here = true;
                self.refused(message, refusal);
                return Ok(());
            }
            Outcome::Failed(error) => {
                self.unsafe_to_quit = true;
                return Err(error);
            }
        };
        self.spooled -= recorded.len() as u64;
        let now = SystemTime::now();
        for recorded in recorded {
            let may_go = recorded.message().is_some_and(|message| {
                policy::may_go(self.job.keep, &self.listing, message.idx, now, now)
            });
            if may_go {
                self.may_go(recorded);
            }
        }
        Ok(())
    }

    /// Has a message deleted, together with all that share its unique-id.
    fn may_go(&mut self, recorded: Recorded) {
        let Some(message) = recorded.message() else {
            return;
        };
        if self.listing.uid(message.idx).is_empty() {
            return self.delete.push_back(recorded);
        }
        match self.listing.namesakes(message.idx) {
            (_, 1) => self.delete.push_back(recorded),
            (first, all) => {
                let waiting = self.waiting.entry(first).or_default();
                waiting.push(recorded);
                if waiting.len() == all as usize {
                    self.delete.extend(waiting.drain(..));
                }
            }
        }
    }

    /// Looks up the records that allow the deletion of messages from earlier sessions.
    async fn look_up(&self, delete: Vec<u32>) -> Result<Vec<Recorded>, Error> {
        if delete.is_empty() {
            return Ok(Vec::new());
        }
        let (mailbox, listing) = (self.mailbox.clone(), Arc::clone(&self.listing));
        blocking(move || {
            let mut found = Vec::with_capacity(delete.len());
            for idx in delete {
                let message = listing.message(idx);
                if let Some(identity) = identity(&listing, message) {
                    found.extend(mailbox.lookup(&identity, message)?);
                }
            }
            Ok::<_, Error>(found)
        })
        .await
    }

    /// Puts on record that messages are not to be fetched, which allows their deletion.
    async fn discard(&mut self, discard: Vec<u32>) -> Result<Vec<Recorded>, Error> {
        let mut named = Vec::with_capacity(discard.len());
        for idx in discard {
            let message = self.listing.message(idx);
            match identity(&self.listing, message) {
                Some(identity) => named.push((identity, message)),
                // Without a unique-id there is nothing to put on record.
                None => self.fail(
                    message,
                    "it is not wanted, and cannot be deleted without a unique-id".to_owned(),
                ),
            }
        }
        if named.is_empty() {
            return Ok(Vec::new());
        }
        let mailbox = self.mailbox.clone();
        blocking(move || mailbox.discard(named)).await
    }

    fn announce(&self) {
        let all = self.fetch.iter().chain(&self.suspects);
        let octets = all.fold(0, |sum: u64, &idx| {
            sum.saturating_add(self.listing.size(idx))
        });
        let messages = (self.fetch.len() + self.suspects.len()) as u64;
        self.cx
            .observer
            .event(&self.job.account, &Event::Started { messages, octets });
    }

    fn warn_of_missing_uids(&self) {
        let all = self.fetch.iter().chain(&self.suspects);
        let nameless = all.filter(|&&idx| self.listing.uid(idx).is_empty()).count();
        if nameless > 0 && self.job.keep != Keep::Never {
            let notice = format!(
                "the server gives {nameless} messages no unique-id; they are fetched at every poll \
                 to be recognised by their text"
            );
            self.cx
                .observer
                .event(&self.job.account, &Event::Notice(notice));
        }
    }

    async fn report_left_out(&mut self, decisions: &Decisions) -> Result<(), Error> {
        for &idx in &decisions.too_large {
            self.summary
                .too_large
                .push(PreviewEntry::of(&self.listing, idx));
        }
        if decisions.set_aside.is_empty() {
            return Ok(());
        }
        let set_aside = decisions.set_aside.clone();
        let (mailbox, listing) = (self.mailbox.clone(), Arc::clone(&self.listing));
        let failures = blocking(move || {
            let failure = |idx| {
                let known = identity(&listing, listing.message(idx));
                let reason = match known {
                    Some(known) => mailbox.failure_reason(&known)?,
                    None => None,
                };
                Ok::<_, RecordError>(MessageFailure {
                    uid: listing.shown_uid(idx),
                    reason: match reason {
                        Some(reason) => format!("it is set aside for now, since {reason}"),
                        None => "it is set aside for now, since it failed before".to_owned(),
                    },
                })
            };
            set_aside
                .into_iter()
                .map(failure)
                .collect::<Result<Vec<_>, _>>()
        });
        self.summary.failed.extend(failures.await?);
        Ok(())
    }

    /// Notes that a message could not be fetched; the others go on.
    fn fail(&mut self, message: MessageRef, reason: String) {
        let for_good = false;
        self.refused(message, Refusal { for_good, reason });
    }

    /// Notes that a destination did not take a message; the others go on.
    fn refused(&mut self, message: MessageRef, refusal: Refusal) {
        let Refusal { for_good, reason } = refusal;
        let uid = self.listing.shown_uid(message.idx);
        self.summary.failed.push(MessageFailure {
            uid,
            reason: reason.clone(),
        });
        if let Some(identity) = identity(&self.listing, message) {
            self.failed.push((identity, reason, for_good));
        }
    }

    /// After the session broke: was it the message that was due, or commands in advance?
    async fn blame(&mut self, error: &SessionError) -> Result<(), Error> {
        if self.stopping {
            return Ok(());
        }
        if self.pipelined
            && !self.proven
            && self.session.in_flight() > 1
            && error.may_come_from_pipelining()
        {
            return entry::distrust_pipelining(self.mailbox).await;
        }
        // One that swallowed the reply behind it is to blame for what is missing then.
        let swallowed = self
            .doubted
            .filter(|_| !matches!(error, SessionError::Lost(_)));
        if error.is_about_what_came()
            && let Some(message) = swallowed.or_else(|| self.retrieving.front().copied())
        {
            let reason = match error {
                SessionError::TooLarge { most } => format!("it is larger than max-size ({most})"),
                _ => "the session ended while it was on its way".to_owned(),
            };
            self.fail(message, reason);
        }
        Ok(())
    }

    async fn record_failures(&mut self) -> Result<(), Error> {
        let failed = std::mem::take(&mut self.failed);
        if failed.is_empty() {
            return Ok(());
        }
        let mailbox = self.mailbox.clone();
        blocking(move || {
            let now = SystemTime::now();
            failed.iter().try_for_each(|(identity, reason, for_good)| {
                mailbox.failed(identity, reason, *for_good, now)
            })
        })
        .await
    }
}

pub(super) fn identity(listing: &Listing, message: MessageRef) -> Option<Identity> {
    let uid = listing.uid(message.idx);
    (!uid.is_empty()).then(|| Identity {
        kind: IdentityKind::UniqueId,
        bytes: uid.into(),
        occurrence: listing.occurrence(message.idx),
    })
}

/// Passes on the panic that ended the spool's threads.
async fn join(spool: &mut Option<Spool>) -> Error {
    if let Some(spool) = spool.take() {
        spool.join().await;
    }
    Error::Stopped
}

/// The next outcome, once there is a spool to have one.
async fn next_outcome(spool: &mut Option<Spool>) -> Option<Outcome> {
    match spool {
        Some(spool) => spool.outcome().await,
        None => std::future::pending().await,
    }
}

/// How many commands may await their answers: their lines fit into what any network buffers.
pub(crate) const COMMANDS_IN_FLIGHT: usize = 512;

/// How many octets may be under way: as much as the SSH connection's window holds.
pub(crate) const OCTETS_IN_FLIGHT: u64 = 8 << 20;

/// How long a server hears nothing from us. RFC 1939 §3 allows it to hang up after ten minutes.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// How long a server may take for what it was asked, once the program was asked to stop.
const PATIENCE_WHEN_STOPPING: Duration = Duration::from_secs(5);
