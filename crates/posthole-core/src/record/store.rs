//! The narrow interface behind which records are kept.
//!
//! Everything is keyed by mailbox, every write is one transaction that is synced when the method
//! returns, and nothing is read back row by row except through [`Store::each_delivered`], so that
//! another database can take SQLite's place.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::{Identity, IdentityKind, RecordError};
use crate::message::Fingerprint;

/// Where records are kept.
pub(crate) trait Store: Send + Sync {
    /// A random name that these records were given when they were made.
    fn instance(&self) -> Result<String, RecordError>;

    /// The file they are in.
    fn path(&self) -> &Path;

    /// Looks for damage, through all there is.
    fn check(&self) -> Result<(), RecordError>;

    /// Finds a mailbox by its key.
    fn find_mailbox(&self, key: &str) -> Result<Option<MailboxId>, RecordError>;

    /// Finds a mailbox by its key, or makes it.
    fn mailbox(&self, key: &str) -> Result<MailboxId, RecordError>;

    /// What is remembered of the mailbox's server.
    fn server(&self, mailbox: MailboxId) -> Result<ServerMemory, RecordError>;

    /// Remembers something of the mailbox's server.
    fn remember_server(&self, mailbox: MailboxId, memory: &ServerMemory)
    -> Result<(), RecordError>;

    /// The intents that were neither settled nor dropped.
    fn intents(&self, mailbox: MailboxId) -> Result<Vec<StoredIntent>, RecordError>;

    /// Adds intents.
    fn intend(&self, mailbox: MailboxId, intents: &[StoredIntent]) -> Result<(), RecordError>;

    /// Turns intents into deliveries, and drops others.
    fn settle(
        &self,
        mailbox: MailboxId,
        delivered: &[Delivered<'_>],
        lost: &[Identity],
        now: SystemTime,
    ) -> Result<(), RecordError>;

    /// Records what destinations have got, of messages that have several, and drops the intents
    /// of these messages.
    fn settle_parts(
        &self,
        mailbox: MailboxId,
        parts: &[(&Identity, &str)],
        now: SystemTime,
    ) -> Result<(), RecordError>;

    /// Gives messages the unique-ids that their server now calls them by.
    fn rename(&self, mailbox: MailboxId, names: &[(Identity, Identity)])
    -> Result<(), RecordError>;

    /// Which of its destinations have got a message that is not on record as delivered.
    fn parts(&self, mailbox: MailboxId, identity: &Identity) -> Result<Vec<String>, RecordError>;

    /// Whether some message has been delivered in part.
    fn has_parts(&self, mailbox: MailboxId) -> Result<bool, RecordError>;

    /// Whether a message is on record as delivered.
    fn is_delivered(&self, mailbox: MailboxId, identity: &Identity) -> Result<bool, RecordError>;

    /// Shows every delivery of the mailbox, in no particular order.
    fn each_delivered(
        &self,
        mailbox: MailboxId,
        show: &mut dyn FnMut(DeliveredRow<'_>),
    ) -> Result<(), RecordError>;

    /// Keeps count of what the server no longer lists, and of what is kept there by now.
    fn apply_changes(
        &self,
        mailbox: MailboxId,
        changes: &ListingChanges,
        now: SystemTime,
    ) -> Result<(), RecordError>;

    /// Counts deleted messages as missing from now on.
    fn retire(
        &self,
        mailbox: MailboxId,
        identities: &[&Identity],
        now: SystemTime,
    ) -> Result<(), RecordError>;

    /// The messages that could not be fetched.
    fn failures(&self, mailbox: MailboxId) -> Result<Vec<StoredFailure>, RecordError>;

    /// In how many sessions a message could not be fetched.
    fn failure_count(&self, mailbox: MailboxId, identity: &Identity) -> Result<u32, RecordError>;

    /// Why a message could not be fetched, or not be delivered, the last time.
    fn failure_reason(
        &self,
        mailbox: MailboxId,
        identity: &Identity,
    ) -> Result<Option<String>, RecordError>;

    /// Records that a message could not be fetched.
    fn record_failure(
        &self,
        mailbox: MailboxId,
        failure: &StoredFailure,
        reason: &str,
    ) -> Result<(), RecordError>;
}

/// A mailbox in the store.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct MailboxId(pub(super) i64);

/// What is remembered of a server between sessions.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct ServerMemory {
    /// What it said it can do.
    pub(crate) capabilities: Option<KnownCapabilities>,
    /// When it was caught advertising PIPELINING without being able to do it.
    pub(crate) pipelining_failed: Option<SystemTime>,
    /// Whether the sizes that it listed were those of the messages, the last time it was seen.
    pub(crate) exact_sizes: bool,
    /// When the owner of the mailbox was told last of messages there that are too large to be
    /// fetched; none if there are none.
    pub(crate) warned_at: Option<SystemTime>,
}

/// What a server said it can do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct KnownCapabilities {
    /// Its capability lines.
    pub(crate) lines: String,
    /// When they were asked for.
    pub(crate) at: SystemTime,
    /// On what kind of connection; on the other kind the server may say something else.
    pub(crate) secrecy: Secrecy,
}

/// Whether a session goes through TLS.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Secrecy {
    Plain,
    Tls,
}

impl Secrecy {
    /// That of a session that a login could bind itself to.
    pub(crate) fn of<T>(binding: Option<T>) -> Self {
        match binding {
            Some(_) => Self::Tls,
            None => Self::Plain,
        }
    }
}

/// An intent as it is on record.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct StoredIntent {
    pub(crate) identity: Identity,
    /// The Maildir, or the file that is appended to.
    pub(crate) destination: PathBuf,
    /// The file's name in the staging folder, and later in `new/`.
    pub(crate) name: String,
    /// Which folder `tmp/` was, or which file is appended to.
    pub(crate) place: u64,
    /// Where in the file the message begins; none for a Maildir.
    pub(crate) offset: Option<u64>,
    pub(crate) at: SystemTime,
}

/// A message that could not be fetched, as it is on record.
#[derive(Clone, Debug)]
pub(crate) struct StoredFailure {
    pub(crate) identity: Identity,
    pub(crate) sessions: u32,
    pub(crate) retry_at: SystemTime,
    /// Where the mailbox's mail went then.
    pub(crate) destinations: String,
}

/// A message that was delivered, and what it can be recognised by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delivered<'a> {
    pub(crate) identity: &'a Identity,
    pub(crate) fingerprint: Option<Fingerprint>,
    /// Whether it is to stay on the server.
    pub(crate) kept: bool,
}

impl<'a> From<&'a Identity> for Delivered<'a> {
    fn from(identity: &'a Identity) -> Self {
        Self {
            identity,
            fingerprint: None,
            kept: false,
        }
    }
}

/// One delivery on record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DeliveredRow<'a> {
    pub(crate) identity: IdentityRef<'a>,
    pub(crate) fingerprint: Option<Fingerprint>,
    pub(crate) at: SystemTime,
    /// Whether it was to stay on the server.
    pub(crate) kept: bool,
    pub(crate) missing: Option<Missing>,
}

/// A borrowed [`Identity`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct IdentityRef<'a> {
    pub(crate) kind: IdentityKind,
    pub(crate) bytes: &'a [u8],
    pub(crate) occurrence: u32,
}

impl IdentityRef<'_> {
    pub(super) fn to_owned(self) -> Identity {
        Identity {
            kind: self.kind,
            bytes: self.bytes.into(),
            occurrence: self.occurrence,
        }
    }
}

/// Since when, and in how many listings, a message was missing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Missing {
    pub(crate) since: SystemTime,
    pub(crate) last_counted: SystemTime,
    pub(crate) listings: u32,
}

/// What a listing changes about messages on record.
///
/// Some servers list only a part of the mailbox at times, so a delivered message is forgotten only
/// after it was missing from three listings over thirty days. To keep a poll without news free of
/// writes, a listing counts once a day at most. No more than [`ROOM`] changes are taken at a time:
/// the next poll finds the rest unchanged, and takes those.
#[derive(Clone, Debug, Default)]
pub(crate) struct ListingChanges {
    pub(crate) back: Vec<Identity>,
    pub(crate) counted: Vec<Identity>,
    pub(crate) forgotten: Vec<Identity>,
    /// Messages that were to be deleted, and are to stay by now.
    pub(crate) kept: Vec<Identity>,
    /// Messages that could not be fetched, and need not be any more.
    pub(crate) pardoned: Vec<Identity>,
}

impl ListingChanges {
    /// Takes note of one delivery and whether the server lists it.
    pub(crate) fn judge(&mut self, row: &DeliveredRow<'_>, listed: bool, now: SystemTime) {
        let age = |since: SystemTime| now.duration_since(since).unwrap_or_default();
        let by_text = row.identity.kind == IdentityKind::Digest;
        let changes = match row.missing {
            _ if self.len() >= ROOM => return,
            // A message known by its text is in no listing: only its deletion says it is gone.
            None if by_text || listed => return,
            Some(_) if listed => &mut self.back,
            None => &mut self.counted,
            Some(missing) => {
                let often = by_text || missing.listings >= FORGET_AFTER_LISTINGS;
                if often && age(missing.since) >= FORGET_AFTER {
                    &mut self.forgotten
                } else if !by_text && age(missing.last_counted) >= COUNT_EVERY {
                    &mut self.counted
                } else {
                    return;
                }
            }
        };
        changes.push(row.identity.to_owned());
    }

    /// Takes note that a delivered message is to stay on the server.
    pub(crate) fn keep(&mut self, identity: Identity) {
        if self.len() < ROOM {
            self.kept.push(identity);
        }
    }

    /// Takes note that a message that could not be fetched is gone.
    pub(crate) fn pardon(&mut self, identity: Identity) {
        if self.len() < ROOM {
            self.pardoned.push(identity);
        }
    }

    fn len(&self) -> usize {
        let Self {
            back,
            counted,
            forgotten,
            kept,
            pardoned,
        } = self;
        [back, counted, forgotten, kept, pardoned]
            .into_iter()
            .map(Vec::len)
            .sum()
    }

    /// Whether there is nothing to write.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const COUNT_EVERY: Duration = DAY;
pub(crate) const FORGET_AFTER: Duration = Duration::from_secs(30 * DAY.as_secs());
pub(crate) const FORGET_AFTER_LISTINGS: u32 = 3;

/// How many changes a listing makes at most, so that memory does not grow with the mailbox.
const ROOM: usize = 10_000;
