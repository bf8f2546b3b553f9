//! What was fetched before: the memory that makes delivery exactly-once.
//!
//! Records are kept per mailbox and keyed by the message's [`Identity`]. They are written in two
//! steps around a delivery, each one synced transaction for a whole batch: the *intent* before the
//! messages become visible at their destination, and the *delivery* after. Whatever instant a run
//! dies at, [`Mailbox::intents`] tells the next one what was in the air.
//!
//! Where the records are kept is behind the narrow trait [`store::Store`], whose one
//! implementation is SQLite. All methods block, and are called from threads that may.

pub mod import;
mod lock;
mod sqlite;
mod store;

pub(crate) use lock::AccountLock;
pub(crate) use store::{KnownCapabilities, Secrecy, ServerMemory, StoredIntent};

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use posthole_proto::pop3::UniqueId;

use crate::deliver::Receipt;
use crate::durable::FsError;
use crate::error::{Class, Error};
use crate::message::Fingerprint;
use crate::policy::{Seen, Standings, Strangers};
use crate::session::{Committed, Listing, MessageRef};
use store::{Delivered, ListingChanges, MailboxId, Store, StoredFailure};

/// The records of all mailboxes; a cheap handle.
#[derive(Clone)]
pub struct Records {
    store: Arc<dyn Store>,
    state_dir: Arc<Path>,
}

impl Records {
    /// Opens the records in a directory, which is created (private to the user) when missing.
    pub fn open(state_dir: &Path) -> Result<Self, RecordError> {
        let store = sqlite::Sqlite::open(state_dir)?;
        Ok(Self {
            store: Arc::new(store),
            state_dir: state_dir.into(),
        })
    }

    /// Takes over what another program has seen of a mailbox, unless there are records of it
    /// already; says how many messages were taken over.
    ///
    /// They count as delivered, so they are not fetched again; nor are they deleted because of their
    /// age, since whoever fetched them has left them there. With `into_known`, what is there
    /// already is no hindrance.
    ///
    /// # Errors
    /// When the mailbox is being fetched, or the records cannot be written.
    pub fn adopt(&self, key: &str, seen: &[UniqueId], into_known: bool) -> Result<usize, Error> {
        let mailbox = self.mailbox(key)?;
        let mut known = false;
        if !into_known {
            self.store
                .each_delivered(mailbox.id, &mut |_| known = true)?;
        }
        if known || seen.is_empty() {
            return Ok(0);
        }
        // Unique-ids that are there twice are two messages.
        let mut occurrences = HashMap::<&[u8], u32>::new();
        let identities = seen.iter().map(|unique_id| {
            let bytes = unique_id.as_bytes();
            let next = occurrences.entry(bytes).or_default();
            *next += 1;
            Identity {
                kind: IdentityKind::UniqueId,
                bytes: bytes.into(),
                occurrence: *next - 1,
            }
        });
        let identities: Vec<_> = identities.collect();
        let mut new = Vec::with_capacity(identities.len());
        // What a run that died had in the air is for recovery to judge.
        let in_the_air = mailbox.intents()?;
        for identity in &identities {
            let is_open = in_the_air.iter().any(|intent| intent.identity == *identity);
            if !is_open && !self.store.is_delivered(mailbox.id, identity)? {
                new.push(identity);
            }
        }
        let delivered = new.iter().map(|identity| Delivered {
            kept: true,
            ..Delivered::from(*identity)
        });
        let delivered: Vec<_> = delivered.collect();
        self.store
            .settle(mailbox.id, &delivered, &[], taken_over())?;
        Ok(new.len())
    }

    /// Locks a mailbox against other runs and looks up its records.
    pub(crate) fn mailbox(&self, key: &str) -> Result<Mailbox, Error> {
        let lock = AccountLock::take(&self.state_dir, key)?;
        let instance = self.store.instance()?;
        let found = self.store.find_mailbox(key)?;
        let is_known = found.is_some();
        let id = match found {
            Some(id) => id,
            // Taken for new, it would all be fetched again.
            None if lock.is_marked(key, &instance) => {
                return Err(RecordError::Forgotten {
                    path: self.store.path().to_owned(),
                    lock: lock.path().to_owned(),
                }
                .into());
            }
            None => self.store.mailbox(key)?,
        };
        lock.mark(key, &instance);
        Ok(Mailbox {
            store: Arc::clone(&self.store),
            id,
            key: key.into(),
            is_known,
            destinations: Arc::default(),
            keeps: true,
            state_dir: Arc::clone(&self.state_dir),
            _lock: Arc::new(lock),
        })
    }
}

/// The records of one mailbox, locked against other runs for as long as a clone exists.
#[derive(Clone)]
pub(crate) struct Mailbox {
    store: Arc<dyn Store>,
    id: MailboxId,
    key: Arc<str>,
    /// Whether it was fetched before.
    is_known: bool,
    /// Where its mail goes, as the plan shows it.
    destinations: Arc<str>,
    /// Whether what is fetched is to stay on the server, for whatever time.
    keeps: bool,
    state_dir: Arc<Path>,
    _lock: Arc<AccountLock>,
}

impl Mailbox {
    /// The same for mail that goes to these destinations.
    ///
    /// What failed on the way to others is not made to wait here: they may have been what was
    /// wrong.
    pub(crate) fn delivering_to(mut self, destinations: &str) -> Self {
        self.destinations = destinations.into();
        self
    }

    /// The same for mail that is to stay on the server, or not.
    pub(crate) fn keeping(mut self, keeps: bool) -> Self {
        self.keeps = keeps;
        self
    }

    /// What tells the files of this mailbox and these records from all others.
    pub(crate) fn tag(&self) -> Result<String, RecordError> {
        Ok(crate::deliver::tag(&[&self.store.instance()?, &self.key]))
    }

    /// What is remembered of the server.
    pub(crate) fn server(&self) -> Result<ServerMemory, RecordError> {
        self.store.server(self.id)
    }

    /// Remembers something of the server.
    pub(crate) fn remember_server(&self, memory: &ServerMemory) -> Result<(), RecordError> {
        self.store.remember_server(self.id, memory)
    }

    /// What a run that died had in the air.
    pub(crate) fn intents(&self) -> Result<Vec<StoredIntent>, RecordError> {
        self.store.intents(self.id)
    }

    /// The folder for messages that are on their way to anything but a Maildir.
    pub(crate) fn staging_dir(&self) -> PathBuf {
        self.state_dir.join("spool")
    }

    /// Records that messages are about to appear at `destination`.
    pub(crate) fn intend<T: Intention>(
        &self,
        what: T,
        destination: &Path,
        now: SystemTime,
    ) -> Result<Intended<T>, RecordError> {
        let place = what.place();
        let intents = what
            .messages()
            .map(|(identity, name, offset)| StoredIntent {
                identity: identity.clone(),
                destination: destination.to_owned(),
                name: name.to_owned(),
                place,
                at: now,
                offset,
            })
            .collect::<Vec<_>>();
        self.store.intend(self.id, &intents)?;
        Ok(Intended { what })
    }

    /// Records which destinations have got messages that others have not got yet.
    pub(crate) fn delivered_in_part(
        &self,
        parts: &[(&Identity, &str)],
        now: SystemTime,
    ) -> Result<(), RecordError> {
        if parts.is_empty() {
            return Ok(());
        }
        self.store.settle_parts(self.id, parts, now)
    }

    /// Which destinations have got a message that others have not got yet.
    pub(crate) fn parts(&self, identity: &Identity) -> Result<Vec<String>, RecordError> {
        self.store.parts(self.id, identity)
    }

    /// Whether that is so of any message.
    pub(crate) fn has_parts(&self) -> Result<bool, RecordError> {
        self.store.has_parts(self.id)
    }

    /// Records that messages were delivered.
    pub(crate) fn delivered(
        &self,
        receipts: Vec<Receipt>,
        now: SystemTime,
    ) -> Result<Vec<Recorded>, RecordError> {
        self.settle(receipts, &[], now)
    }

    /// Records what became of intents: messages that were delivered, and those to fetch again.
    pub(crate) fn settle(
        &self,
        receipts: Vec<Receipt>,
        lost: &[Identity],
        now: SystemTime,
    ) -> Result<Vec<Recorded>, RecordError> {
        if receipts.is_empty() && lost.is_empty() {
            return Ok(Vec::new());
        }
        // Also for a clock that was not set, this is no time of what nobody wants.
        let now = now.max(UNIX_EPOCH + Duration::from_secs(60 * 60));
        let delivered = receipts
            .iter()
            .map(|receipt| Delivered {
                identity: &receipt.identity,
                fingerprint: receipt.fingerprint,
                kept: self.keeps,
            })
            .collect::<Vec<_>>();
        self.store.settle(self.id, &delivered, lost, now)?;
        let recorded = |receipt: Receipt| Recorded {
            identity: receipt.identity,
            message: receipt.message,
            octets: receipt.octets,
        };
        Ok(receipts.into_iter().map(recorded).collect())
    }

    /// Records that messages are never to be fetched, since their owner does not want them, which
    /// allows them to be deleted, now and in later polls.
    pub(crate) fn discard(
        &self,
        messages: Vec<(Identity, MessageRef)>,
    ) -> Result<Vec<Recorded>, RecordError> {
        let identities = messages
            .iter()
            .map(|(identity, _)| Delivered::from(identity));
        self.store
            .settle(self.id, &Vec::from_iter(identities), &[], unwanted())?;
        let recorded = |(identity, message)| Recorded {
            identity,
            message: Some(message),
            octets: 0,
        };
        Ok(messages.into_iter().map(recorded).collect())
    }

    /// Lets records be forgotten of what was never on the server.
    pub(crate) fn forget(&self, recorded: &[Recorded], now: SystemTime) -> Result<(), RecordError> {
        let identities = Vec::from_iter(recorded.iter().map(|recorded| &recorded.identity));
        self.store.retire(self.id, &identities, now)
    }

    /// Looks up a message, which its record allows to be deleted if there is one.
    pub(crate) fn lookup(
        &self,
        identity: &Identity,
        message: MessageRef,
    ) -> Result<Option<Recorded>, RecordError> {
        Ok(self
            .store
            .is_delivered(self.id, identity)?
            .then(|| Recorded {
                identity: identity.clone(),
                message: Some(message),
                octets: 0,
            }))
    }

    /// Compares a listing with the records, and forgets what is long gone from the server.
    ///
    /// Some servers list only a part of the mailbox at times, so this takes count of what is
    /// missing for a while first. Nothing is written when nothing changed.
    pub(crate) fn update(
        &self,
        listing: &Listing,
        now: SystemTime,
    ) -> Result<Standings, RecordError> {
        let (standings, changes) = self.compare(listing, now)?;
        // Where all is new, the server may have renamed what is missing.
        if !changes.is_empty() && standings.strangers().is_none() {
            self.store.apply_changes(self.id, &changes, now)?;
        }
        Ok(standings)
    }

    /// Compares a listing with the records, and writes nothing.
    pub(crate) fn standings(
        &self,
        listing: &Listing,
        now: SystemTime,
    ) -> Result<Standings, RecordError> {
        Ok(self.compare(listing, now)?.0)
    }

    fn compare(
        &self,
        listing: &Listing,
        now: SystemTime,
    ) -> Result<(Standings, ListingChanges), RecordError> {
        let mut standings = Standings::all_new(listing.len());
        let mut changes = ListingChanges::default();
        // The records come ordered by unique-id, and so do the messages of most servers.
        let mut next = 0;
        let (mut known, mut gone) = (0_usize, Strangers::default());
        self.store.each_delivered(self.id, &mut |row| {
            let listed = match row.identity {
                store::IdentityRef {
                    kind: IdentityKind::UniqueId,
                    bytes,
                    occurrence,
                } => listing.find_near(next, bytes, occurrence),
                store::IdentityRef {
                    kind: IdentityKind::Digest,
                    ..
                } => None,
            };
            if let Some(idx) = listed {
                known += 1;
                next = idx + 1;
                let (at, kept) = (row.at, row.kept);
                standings.set(idx, Seen::Delivered { at, kept });
                if self.keeps && !kept && at != unwanted() {
                    changes.keep(row.identity.to_owned());
                }
            }
            let by_name = row.identity.kind == IdentityKind::UniqueId;
            if listed.is_none() && row.missing.is_none() && by_name {
                gone.recorded += 1;
                gone.unmarked += usize::from(row.fingerprint.is_none());
            }
            if listing.is_complete() {
                changes.judge(&row, listed.is_some(), now);
            }
        })?;
        // Much that is new may be much that is forgotten.
        let new = listing.len() - known;
        if self.is_known && !listing.has_no_uids() && new >= MUCH.max(listing.len() / 100) {
            self.store.check()?;
        }
        if known == 0 && gone.recorded > 0 && !listing.has_no_uids() {
            standings.set_strangers(gone);
        }
        for failure in self.store.failures(self.id)? {
            let Identity {
                bytes, occurrence, ..
            } = &failure.identity;
            if let Some(idx) = listing.find(bytes, *occurrence) {
                let sessions = failure.sessions;
                let retry_at = if *failure.destinations == *self.destinations {
                    failure.retry_at
                } else {
                    now
                };
                standings.set(idx, Seen::Failed { sessions, retry_at });
            } else if listing.is_complete() {
                changes.pardon(failure.identity);
            }
        }
        Ok((standings, changes))
    }

    /// Finds messages among those that the server no longer lists, and gives their records the names
    /// that it calls them by now. Each is found once only.
    ///
    /// `listed` are fingerprints of messages of the listing.
    pub(crate) fn recognise(
        &self,
        listing: &Listing,
        mut listed: Vec<(Fingerprint, u32)>,
    ) -> Result<Vec<(Identity, u32)>, RecordError> {
        listed.sort_unstable();
        let mut found = vec![false; listed.len()];
        let mut names = Vec::new();
        self.store.each_delivered(self.id, &mut |row| {
            let is_listed = listing
                .find(row.identity.bytes, row.identity.occurrence)
                .is_some();
            let Some(fingerprint) = row.fingerprint.filter(|_| !is_listed) else {
                return;
            };
            if row.identity.kind != IdentityKind::UniqueId {
                return;
            }
            let first = listed.partition_point(|(other, _)| *other < fingerprint);
            let equal = listed[first..]
                .iter()
                .take_while(|(other, _)| *other == fingerprint);
            let Some(place) = (first..).zip(equal).map(|(n, _)| n).find(|&n| !found[n]) else {
                return;
            };
            found[place] = true;
            names.push((row.identity.to_owned(), listed[place].1));
        })?;
        Ok(names)
    }

    /// Gives messages the names that the server calls them by now.
    pub(crate) fn rename(
        &self,
        listing: &Listing,
        names: Vec<(Identity, u32)>,
    ) -> Result<(), RecordError> {
        let new = |idx: u32| Identity {
            kind: IdentityKind::UniqueId,
            bytes: listing.uid(idx).into(),
            occurrence: listing.occurrence(idx),
        };
        let names = names.into_iter().map(|(old, idx)| (old, new(idx)));
        self.store.rename(self.id, &Vec::from_iter(names))
    }

    /// Records that a message could not be fetched, or not be delivered.
    ///
    /// One that was refused for good is set aside at once.
    pub(crate) fn failed(
        &self,
        identity: &Identity,
        reason: &str,
        for_good: bool,
        now: SystemTime,
    ) -> Result<(), RecordError> {
        let mut sessions = self
            .store
            .failure_count(self.id, identity)?
            .saturating_add(1);
        if for_good {
            sessions = sessions.max(SET_ASIDE_AFTER);
        }
        let failure = StoredFailure {
            identity: identity.clone(),
            sessions,
            retry_at: now + retry_delay(sessions),
            destinations: self.destinations.to_string(),
        };
        self.store.record_failure(self.id, &failure, reason)
    }

    /// Why a message could not be fetched, or not be delivered, the last time.
    pub(crate) fn failure_reason(
        &self,
        identity: &Identity,
    ) -> Result<Option<String>, RecordError> {
        self.store.failure_reason(self.id, identity)
    }

    /// Notes that the server confirmed deletions.
    ///
    /// The records stay for a while: a server may show a deleted message again.
    pub(crate) fn retire(&self, committed: Committed, now: SystemTime) -> Result<(), RecordError> {
        let deleted = committed.into_deleted();
        if deleted.is_empty() {
            return Ok(());
        }
        let identities = deleted
            .iter()
            .map(|recorded| &recorded.identity)
            .collect::<Vec<_>>();
        self.store.retire(self.id, &identities, now)
    }
}

/// What makes a message the same message in every session.
///
/// A server's unique-id is opaque octets (RFC 1939 §7). One server in the wild lists the same
/// unique-id for two messages, so the how-many-eth it is in the listing belongs to it. A message
/// without a unique-id is recognised by its text, once it has been fetched.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Identity {
    pub(crate) kind: IdentityKind,
    pub(crate) bytes: Box<[u8]>,
    pub(crate) occurrence: u32,
}

/// What an [`Identity`] is made of.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum IdentityKind {
    /// The SHA-256 of the message as the server sent it.
    Digest,
    /// The server's unique-id.
    UniqueId,
}

/// Messages that a destination has made ready for the step that makes them visible.
pub(crate) trait Intention {
    /// Which folder they lie in, or which file they go to.
    fn place(&self) -> u64;

    /// Each message, its file's name, and where in the destination it begins if that is a file.
    fn messages(&self) -> impl Iterator<Item = (&Identity, &str, Option<u64>)>;
}

/// Messages whose intended delivery is on record; only a destination can use it up.
#[derive(Debug)]
#[must_use]
pub(crate) struct Intended<T> {
    what: T,
}

impl<T> Intended<T> {
    pub(crate) fn into_inner(self) -> T {
        self.what
    }
}

/// The proof that a message is delivered and on record: only such a message may be deleted.
#[derive(Debug)]
pub(crate) struct Recorded {
    identity: Identity,
    message: Option<MessageRef>,
    octets: u64,
}

impl Recorded {
    /// The message in the session it was fetched or listed in, if any.
    pub(crate) fn message(&self) -> Option<MessageRef> {
        self.message
    }

    /// The message's size as delivered.
    pub(crate) fn octets(&self) -> u64 {
        self.octets
    }
}

/// Why the records could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The database failed.
    #[error("cannot {operation} in {}", path.display())]
    Database {
        /// What was tried.
        operation: &'static str,
        /// The database.
        path: PathBuf,
        /// The database's reason.
        source: rusqlite::Error,
    },
    /// The database contradicts itself.
    #[error("{} is damaged: {found}", path.display())]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What is wrong with it, in SQLite's words.
        found: String,
    },
    /// The database has lost everything.
    #[error("{} is empty, though mail was fetched with it", path.display())]
    Emptied {
        /// The database.
        path: PathBuf,
    },
    /// The database knows nothing of a mailbox that it knew.
    #[error("{} has lost what was fetched from this mailbox", path.display())]
    Forgotten {
        /// The database.
        path: PathBuf,
        /// The file that says that it knew it.
        lock: PathBuf,
    },
    /// A file operation around the database failed.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// A newer Posthole wrote the database.
    #[error("{} was written by a newer posthole (schema {found}, known is {known})", path.display())]
    Newer {
        /// The database.
        path: PathBuf,
        /// The schema version found.
        found: i64,
        /// The newest schema version this program knows.
        known: i64,
    },
    /// The file is a database of another program.
    #[error("{} is a database, but not posthole's", path.display())]
    NotOurs {
        /// The file.
        path: PathBuf,
    },
}

impl RecordError {
    pub(crate) fn class(&self) -> Class {
        match self {
            Self::Database { source, .. } if is_busy(source) => Class::Temporary,
            Self::Newer { .. } | Self::NotOurs { .. } => Class::Config,
            Self::Damaged { .. }
            | Self::Database { .. }
            | Self::Emptied { .. }
            | Self::Forgotten { .. }
            | Self::Fs(_) => Class::Local,
        }
    }

    pub(crate) fn hint(&self) -> Option<String> {
        use rusqlite::ErrorCode;
        match self {
            Self::Damaged { path, .. } => Some(damaged(path)),
            Self::Database { source, path, .. } => match source.sqlite_error_code() {
                Some(ErrorCode::DiskFull) => Some(
                    "make room on the disk; nothing is deleted from a server without a record"
                        .to_owned(),
                ),
                Some(
                    ErrorCode::CannotOpen
                    | ErrorCode::FileLockingProtocolFailed
                    | ErrorCode::PermissionDenied
                    | ErrorCode::ReadOnly
                    | ErrorCode::SystemIoFailure,
                ) => Some(
                    "check the owner, mode and free space there, and the disk itself; nothing is \
                     deleted from a server without a record"
                        .to_owned(),
                ),
                Some(ErrorCode::OutOfMemory | ErrorCode::OperationInterrupted) => None,
                _ if is_busy(source) => {
                    Some("another posthole is busy with it: try again".to_owned())
                }
                // What it says makes no sense, or is not what a table should hold.
                _ => Some(damaged(path)),
            },
            Self::Emptied { path } => Some(format!(
                "restore it from a backup, or remove {} to fetch all that is still on the servers \
                 again",
                path.display()
            )),
            Self::Forgotten { path, lock } => Some(format!(
                "restore {} from a backup, or remove {} to fetch all that is still on this server \
                 again",
                path.display(),
                lock.display()
            )),
            Self::Fs(_) => Some("check the owner, mode and free space of that path".to_owned()),
            Self::Newer { .. } => Some("run the newer posthole".to_owned()),
            Self::NotOurs { .. } => Some("name another directory with --state-dir".to_owned()),
        }
    }
}

fn damaged(path: &Path) -> String {
    format!(
        "look whether the disk can be read; if so, the records of what was fetched are damaged: \
         restore {} from a backup, or move it away to fetch all that is still on the servers again",
        path.display()
    )
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked)
    )
}

/// How long a message that could not be fetched is left alone: not at all at first, then for an
/// hour, doubling up to a day.
pub(crate) fn retry_delay(sessions: u32) -> Duration {
    const HOUR: u64 = 60 * 60;
    match sessions.checked_sub(SET_ASIDE_AFTER) {
        None => Duration::ZERO,
        Some(more) => Duration::from_secs(HOUR << more.min(5)).min(LONGEST_DELAY),
    }
}

/// How long a message that failed is left alone at most.
pub(crate) const LONGEST_DELAY: Duration = Duration::from_secs(24 * 60 * 60);

/// When a message counts as delivered that nobody wants: the first minute that records can tell from
/// none.
pub(crate) fn unwanted() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(60)
}

/// When a message counts as delivered that another program has fetched: the year 2100, which no
/// clock shows.
pub(crate) fn taken_over() -> SystemTime {
    UNIX_EPOCH + YEAR_2100
}
const YEAR_2100: Duration = Duration::from_secs(4_102_444_800);

/// So many messages are not new by chance, in a mailbox that is known.
const MUCH: usize = 20;

/// In how many sessions a message may fail before it is set aside.
pub(crate) const SET_ASIDE_AFTER: u32 = 3;

/// What the table in the manual is compared with.
#[cfg(test)]
pub(crate) mod limits {
    pub(crate) use super::store::{FORGET_AFTER, FORGET_AFTER_LISTINGS};
    pub(crate) use super::{SET_ASIDE_AFTER, retry_delay};
}

#[cfg(test)]
mod tests;
