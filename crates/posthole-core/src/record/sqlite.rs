//! Records in SQLite: one file, write-ahead log, every commit synced.
//!
//! One connection serves the whole process behind a mutex; other processes are waited for. The
//! tables hold one row per message, keyed by identity without a row number, so that a mailbox is
//! read in one pass over neighbouring pages.

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};

use super::store::{
    Delivered, DeliveredRow, IdentityRef, KnownCapabilities, ListingChanges, MailboxId, Missing,
    Secrecy, ServerMemory, Store, StoredFailure, StoredIntent,
};
use super::{Identity, IdentityKind, RecordError, lock};
use crate::durable::{self, At};

/// Records in an SQLite database.
pub(super) struct Sqlite {
    connection: Mutex<Connection>,
    path: PathBuf,
    /// Whether a commit failed that may be in the log all the same.
    doubtful: AtomicBool,
    /// Whether it was looked through.
    checked: AtomicBool,
}

impl Sqlite {
    /// Opens `state.db` in a directory; both are created, private to the user, when missing.
    pub(super) fn open(state_dir: &Path) -> Result<Self, RecordError> {
        durable::create_dir(state_dir)?;
        let path = state_dir.join("state.db");
        let is_new = make(&path).at("open", &path)?;
        let is_emptied = || !is_new && lock::any_marked(state_dir);
        // Before SQLite sees it, which would throw the log of an empty database away.
        if std::fs::metadata(&path).at("read", &path)?.len() == 0 && is_emptied() {
            return Err(RecordError::Emptied { path });
        }
        let at = |operation| {
            let path = path.clone();
            move |source| RecordError::Database {
                operation,
                path,
                source,
            }
        };
        let mut connection = Connection::open(&path).map_err(at("open the records"))?;
        // Another program's database is recognised before a byte of it is changed.
        match whose(&connection).map_err(at("open the records"))? {
            Whose::Nobodys if is_emptied() => return Err(RecordError::Emptied { path }),
            Whose::Nobodys | Whose::Ours(1..=SCHEMA) => {}
            Whose::Ours(found) => {
                return Err(RecordError::Newer {
                    path,
                    found,
                    known: SCHEMA,
                });
            }
            Whose::Others => return Err(RecordError::NotOurs { path }),
        }
        prepare(&mut connection).map_err(at("open the records"))?;
        Ok(Self {
            connection: Mutex::new(connection),
            path,
            doubtful: AtomicBool::new(false),
            checked: AtomicBool::new(false),
        })
    }

    fn read<T>(
        &self,
        operation: &'static str,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, RecordError> {
        // A panic while the connection was locked rolled its transaction back.
        let connection = self
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        read(&connection).map_err(|source| self.error(operation, source))
    }

    fn write<T>(
        &self,
        operation: &'static str,
        write: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, RecordError> {
        let mut connection = self
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let run = || {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let value = write(&transaction)?;
            let committed = durable::commit(|| transaction.commit());
            self.doubtful.store(committed.is_err(), Ordering::Release);
            committed?;
            Ok(value)
        };
        run().map_err(|source| self.error(operation, source))
    }

    /// Makes sure that a commit that failed does not come true after all.
    ///
    /// Where its sync failed, it is in the log, which we no longer read and the next process would.
    /// An intent that comes to life when its message was given up, counts as delivered. Another
    /// commit overwrites it.
    fn forget_failed_commit(&self) -> Result<(), RecordError> {
        if !self.doubtful.load(Ordering::Acquire) {
            return Ok(());
        }
        self.write("make good for a failed commit", |transaction| {
            // Of rows, what stays the same is not written; this is, always.
            transaction.pragma_update(None, "user_version", SCHEMA)
        })
    }

    fn error(&self, operation: &'static str, source: rusqlite::Error) -> RecordError {
        RecordError::Database {
            operation,
            path: self.path.clone(),
            source,
        }
    }
}

impl Store for Sqlite {
    fn instance(&self) -> Result<String, RecordError> {
        self.read("read the records", |connection| {
            connection.query_row("SELECT instance FROM meta", [], |row| row.get(0))
        })
    }

    fn path(&self) -> &Path {
        &self.path
    }

    fn check(&self) -> Result<(), RecordError> {
        if self.checked.load(Ordering::Acquire) {
            return Ok(());
        }
        let found: String = self.read("check the records", |connection| {
            connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
        })?;
        if found != "ok" {
            let path = self.path.clone();
            return Err(RecordError::Damaged { path, found });
        }
        self.checked.store(true, Ordering::Release);
        Ok(())
    }

    fn find_mailbox(&self, key: &str) -> Result<Option<MailboxId>, RecordError> {
        self.read("look up a mailbox", |connection| {
            connection
                .prepare_cached("SELECT id FROM mailbox WHERE key = ?")?
                .query_row([key], |row| row.get(0).map(MailboxId))
                .optional()
        })
    }

    fn mailbox(&self, key: &str) -> Result<MailboxId, RecordError> {
        self.write("add a mailbox", |transaction| {
            transaction.execute("INSERT OR IGNORE INTO mailbox (key) VALUES (?)", [key])?;
            transaction
                .query_row("SELECT id FROM mailbox WHERE key = ?", [key], |row| {
                    row.get(0)
                })
                .map(MailboxId)
        })
    }

    fn server(&self, mailbox: MailboxId) -> Result<ServerMemory, RecordError> {
        self.read("read what is known of the server", |connection| {
            connection
                .prepare_cached(
                    "SELECT capabilities, capabilities_at, capabilities_tls, pipelining_failed_at,
                     exact_sizes, warned_at FROM mailbox WHERE id = ?",
                )?
                .query_row([mailbox.0], |row| {
                    let lines: Option<String> = row.get(0)?;
                    let at: Option<i64> = row.get(1)?;
                    let is_tls: bool = row.get(2)?;
                    let failed: Option<i64> = row.get(3)?;
                    let known = |(lines, at)| KnownCapabilities {
                        lines,
                        at: from_seconds(at),
                        secrecy: if is_tls { Secrecy::Tls } else { Secrecy::Plain },
                    };
                    Ok(ServerMemory {
                        capabilities: lines.zip(at).map(known),
                        pipelining_failed: failed.map(from_seconds),
                        exact_sizes: row.get(4)?,
                        warned_at: row.get::<_, Option<i64>>(5)?.map(from_seconds),
                    })
                })
        })
    }

    fn remember_server(
        &self,
        mailbox: MailboxId,
        memory: &ServerMemory,
    ) -> Result<(), RecordError> {
        let capabilities = memory.capabilities.as_ref();
        self.write("remember the server", |transaction| {
            transaction.execute(
                "UPDATE mailbox SET capabilities = ?, capabilities_at = ?, capabilities_tls = ?,
                 pipelining_failed_at = ?, exact_sizes = ?, warned_at = ? WHERE id = ?",
                params![
                    capabilities.map(|known| &known.lines),
                    capabilities.map(|known| seconds(known.at)),
                    capabilities.is_some_and(|known| known.secrecy == Secrecy::Tls),
                    memory.pipelining_failed.map(seconds),
                    memory.exact_sizes,
                    memory.warned_at.map(seconds),
                    mailbox.0
                ],
            )?;
            Ok(())
        })
    }

    fn intents(&self, mailbox: MailboxId) -> Result<Vec<StoredIntent>, RecordError> {
        self.forget_failed_commit()?;
        self.read("read unfinished deliveries", |connection| {
            connection
                .prepare_cached(
                    "SELECT kind, uid, occurrence, destination, name, place, at, start
                     FROM intent WHERE mailbox = ?",
                )?
                .query_map([mailbox.0], |row| {
                    Ok(StoredIntent {
                        identity: identity(row)?,
                        destination: PathBuf::from(std::ffi::OsString::from_vec(row.get(3)?)),
                        name: row.get(4)?,
                        place: row.get::<_, i64>(5)?.cast_unsigned(),
                        at: from_seconds(row.get(6)?),
                        offset: row.get::<_, Option<i64>>(7)?.map(i64::cast_unsigned),
                    })
                })?
                .collect()
        })
    }

    fn intend(&self, mailbox: MailboxId, intents: &[StoredIntent]) -> Result<(), RecordError> {
        self.write("record an intended delivery", |transaction| {
            let mut insert = transaction.prepare_cached(
                "INSERT INTO intent
                 (mailbox, kind, uid, occurrence, destination, name, place, at, start)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )?;
            for intent in intents {
                let Identity {
                    kind,
                    bytes,
                    occurrence,
                } = &intent.identity;
                insert.execute(params![
                    mailbox.0,
                    kind_number(*kind),
                    bytes,
                    occurrence,
                    intent.destination.as_os_str().as_bytes(),
                    intent.name,
                    intent.place.cast_signed(),
                    seconds(intent.at),
                    intent.offset.map(u64::cast_signed)
                ])?;
            }
            Ok(())
        })
    }

    fn settle(
        &self,
        mailbox: MailboxId,
        delivered: &[Delivered<'_>],
        lost: &[Identity],
        now: SystemTime,
    ) -> Result<(), RecordError> {
        self.write("record a delivery", |transaction| {
            let mut drop_intent = transaction.prepare_cached(DROP_INTENT)?;
            let mut drop_parts = transaction.prepare_cached(DROP_PARTS)?;
            // Mostly there are none: looked up once, not for every message.
            let any_parts = transaction
                .prepare_cached("SELECT 1 FROM part WHERE mailbox = ?")?
                .exists([mailbox.0])?;
            let mut insert = transaction.prepare_cached(
                "INSERT OR REPLACE INTO message
                 (mailbox, kind, uid, occurrence, at, fingerprint, kept)
                 VALUES (?, ?, ?, ?, ?, ?, ?)",
            )?;
            let mut forgive = transaction.prepare_cached(
                "DELETE FROM failure WHERE mailbox = ? AND kind = ? AND uid = ? AND occurrence = ?",
            )?;
            for Identity {
                kind,
                bytes,
                occurrence,
            } in delivered
                .iter()
                .map(|delivered| delivered.identity)
                .chain(lost)
            {
                drop_intent.execute(params![mailbox.0, kind_number(*kind), bytes, occurrence])?;
            }
            for Delivered {
                identity,
                fingerprint,
                kept,
            } in delivered
            {
                let Identity {
                    kind,
                    bytes,
                    occurrence,
                } = identity;
                let kind = kind_number(*kind);
                let at = seconds(now);
                insert.execute(params![
                    mailbox.0,
                    kind,
                    bytes,
                    occurrence,
                    at,
                    fingerprint,
                    kept
                ])?;
                forgive.execute(params![mailbox.0, kind, bytes, occurrence])?;
                if any_parts {
                    drop_parts.execute(params![mailbox.0, kind, bytes, occurrence])?;
                }
            }
            Ok(())
        })
    }

    fn rename(
        &self,
        mailbox: MailboxId,
        names: &[(Identity, Identity)],
    ) -> Result<(), RecordError> {
        self.write("record new unique-ids", |transaction| {
            let mut rename = transaction.prepare_cached(
                "UPDATE OR REPLACE message SET uid = ?5, occurrence = ?6, missing_since = NULL,
                 missing_counted = NULL, missing_listings = 0
                 WHERE mailbox = ?1 AND kind = ?2 AND uid = ?3 AND occurrence = ?4",
            )?;
            for (old, new) in names {
                let kind = kind_number(old.kind);
                rename.execute(params![
                    mailbox.0,
                    kind,
                    old.bytes,
                    old.occurrence,
                    new.bytes,
                    new.occurrence
                ])?;
            }
            Ok(())
        })
    }

    fn settle_parts(
        &self,
        mailbox: MailboxId,
        parts: &[(&Identity, &str)],
        now: SystemTime,
    ) -> Result<(), RecordError> {
        self.write("record a delivery", |transaction| {
            let mut drop_intent = transaction.prepare_cached(DROP_INTENT)?;
            let mut insert = transaction.prepare_cached(
                "INSERT OR REPLACE INTO part (mailbox, kind, uid, occurrence, destination, at)
                 VALUES (?, ?, ?, ?, ?, ?)",
            )?;
            for (identity, destination) in parts {
                let Identity {
                    kind,
                    bytes,
                    occurrence,
                } = identity;
                let kind = kind_number(*kind);
                drop_intent.execute(params![mailbox.0, kind, bytes, occurrence])?;
                insert.execute(params![
                    mailbox.0,
                    kind,
                    bytes,
                    occurrence,
                    destination,
                    seconds(now)
                ])?;
            }
            Ok(())
        })
    }

    fn has_parts(&self, mailbox: MailboxId) -> Result<bool, RecordError> {
        self.read("look up a message", |connection| {
            connection
                .prepare_cached("SELECT EXISTS (SELECT 1 FROM part WHERE mailbox = ?)")?
                .query_row(params![mailbox.0], |row| row.get(0))
        })
    }

    fn parts(&self, mailbox: MailboxId, identity: &Identity) -> Result<Vec<String>, RecordError> {
        self.read("look up a message", |connection| {
            connection
                .prepare_cached(
                    "SELECT destination FROM part
                     WHERE mailbox = ? AND kind = ? AND uid = ? AND occurrence = ?",
                )?
                .query_map(
                    params![
                        mailbox.0,
                        kind_number(identity.kind),
                        identity.bytes,
                        identity.occurrence
                    ],
                    |row| row.get(0),
                )?
                .collect()
        })
    }

    fn is_delivered(&self, mailbox: MailboxId, identity: &Identity) -> Result<bool, RecordError> {
        self.read("look up a message", |connection| {
            connection
                .prepare_cached(
                    "SELECT 1 FROM message
                     WHERE mailbox = ? AND kind = ? AND uid = ? AND occurrence = ?",
                )?
                .exists(params![
                    mailbox.0,
                    kind_number(identity.kind),
                    identity.bytes,
                    identity.occurrence
                ])
        })
    }

    fn each_delivered(
        &self,
        mailbox: MailboxId,
        show: &mut dyn FnMut(DeliveredRow<'_>),
    ) -> Result<(), RecordError> {
        self.read("read what was fetched", |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT kind, uid, occurrence, at, missing_since, missing_counted, missing_listings,
                 fingerprint, kept FROM message WHERE mailbox = ?",
            )?;
            let mut rows = statement.query([mailbox.0])?;
            while let Some(row) = rows.next()? {
                let since: Option<i64> = row.get(4)?;
                let missing = match since {
                    None => None,
                    Some(since) => Some(Missing {
                        since: from_seconds(since),
                        last_counted: from_seconds(row.get(5)?),
                        listings: row.get(6)?,
                    }),
                };
                show(DeliveredRow {
                    identity: IdentityRef {
                        kind: kind_of(row.get(0)?)?,
                        bytes: row.get_ref(1)?.as_blob()?,
                        occurrence: row.get(2)?,
                    },
                    fingerprint: row.get(7)?,
                    at: from_seconds(row.get(3)?),
                    kept: row.get(8)?,
                    missing,
                });
            }
            Ok(())
        })
    }

    fn apply_changes(
        &self,
        mailbox: MailboxId,
        changes: &ListingChanges,
        now: SystemTime,
    ) -> Result<(), RecordError> {
        self.write("record what is on the server", |transaction| {
            each(
                transaction,
                "UPDATE message SET missing_since = NULL, missing_counted = NULL,
                 missing_listings = 0 WHERE mailbox = ? AND kind = ? AND uid = ? AND occurrence = ?",
                mailbox,
                &changes.back,
            )?;
            count_missing(transaction, mailbox, changes.counted.iter(), now)?;
            each(
                transaction,
                "UPDATE message SET kept = TRUE
                 WHERE mailbox = ? AND kind = ? AND uid = ? AND occurrence = ?",
                mailbox,
                &changes.kept,
            )?;
            each(
                transaction,
                "DELETE FROM message WHERE mailbox = ? AND kind = ? AND uid = ? AND occurrence = ?",
                mailbox,
                &changes.forgotten,
            )?;
            each(
                transaction,
                "DELETE FROM failure WHERE mailbox = ? AND kind = ? AND uid = ? AND occurrence = ?",
                mailbox,
                &changes.pardoned,
            )?;
            each(transaction, DROP_PARTS, mailbox, &changes.pardoned)
        })
    }

    fn retire(
        &self,
        mailbox: MailboxId,
        identities: &[&Identity],
        now: SystemTime,
    ) -> Result<(), RecordError> {
        self.write("record a deletion", |transaction| {
            count_missing(transaction, mailbox, identities.iter().copied(), now)
        })
    }

    fn failures(&self, mailbox: MailboxId) -> Result<Vec<StoredFailure>, RecordError> {
        self.read("read what could not be fetched", |connection| {
            connection
                .prepare_cached(
                    "SELECT kind, uid, occurrence, sessions, retry_at, destinations
                     FROM failure WHERE mailbox = ?",
                )?
                .query_map([mailbox.0], |row| {
                    Ok(StoredFailure {
                        identity: identity(row)?,
                        sessions: row.get(3)?,
                        retry_at: from_seconds(row.get(4)?),
                        destinations: row.get(5)?,
                    })
                })?
                .collect()
        })
    }

    fn failure_count(&self, mailbox: MailboxId, identity: &Identity) -> Result<u32, RecordError> {
        let Identity {
            kind,
            bytes,
            occurrence,
        } = identity;
        self.read("read what could not be fetched", |connection| {
            let sessions = connection
                .prepare_cached(
                    "SELECT sessions FROM failure
                     WHERE mailbox = ? AND kind = ? AND uid = ? AND occurrence = ?",
                )?
                .query_row(
                    params![mailbox.0, kind_number(*kind), bytes, occurrence],
                    |row| row.get(0),
                )
                .optional()?;
            Ok(sessions.unwrap_or(0))
        })
    }

    fn failure_reason(
        &self,
        mailbox: MailboxId,
        identity: &Identity,
    ) -> Result<Option<String>, RecordError> {
        self.read("read what could not be fetched", |connection| {
            connection
                .prepare_cached(
                    "SELECT reason FROM failure
                     WHERE mailbox = ? AND kind = ? AND uid = ? AND occurrence = ?",
                )?
                .query_row(
                    params![
                        mailbox.0,
                        kind_number(identity.kind),
                        identity.bytes,
                        identity.occurrence
                    ],
                    |row| row.get(0),
                )
                .optional()
        })
    }

    fn record_failure(
        &self,
        mailbox: MailboxId,
        failure: &StoredFailure,
        reason: &str,
    ) -> Result<(), RecordError> {
        let StoredFailure {
            identity:
                Identity {
                    kind,
                    bytes,
                    occurrence,
                },
            sessions,
            retry_at,
            destinations,
        } = failure;
        self.write(
            "record a message that could not be fetched",
            |transaction| {
                transaction.execute(
                    "INSERT OR REPLACE INTO failure
                 (mailbox, kind, uid, occurrence, sessions, retry_at, destinations, reason)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    params![
                        mailbox.0,
                        kind_number(*kind),
                        bytes,
                        occurrence,
                        sessions,
                        seconds(*retry_at),
                        destinations,
                        reason
                    ],
                )?;
                Ok(())
            },
        )
    }
}

/// Makes the file unless it is there; says whether it was made.
///
/// SQLite creates files by the umask; its log and index take over the mode of the database.
fn make(path: &Path) -> std::io::Result<bool> {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    match options.open(path) {
        Ok(_there) => Ok(false),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            options.create(true).truncate(false).open(path)?;
            Ok(true)
        }
        Err(error) => Err(error),
    }
}

enum Whose {
    Nobodys,
    /// With the version of its schema.
    Ours(i64),
    Others,
}

fn whose(connection: &Connection) -> rusqlite::Result<Whose> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    let application: i64 = connection.pragma_query_value(None, "application_id", |r| r.get(0))?;
    let version: i64 = connection.pragma_query_value(None, "user_version", |r| r.get(0))?;
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    Ok(match (application, tables) {
        (APPLICATION_ID, _) => Whose::Ours(version),
        (0, 0) => Whose::Nobodys,
        _ => Whose::Others,
    })
}

/// Sets the connection up, and makes the tables in a new database.
fn prepare(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // FULL syncs the log at every commit: a record that is lost is a message delivered twice.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.set_prepared_statement_cache_capacity(32);
    if matches!(whose(connection)?, Whose::Ours(SCHEMA)) {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another process may have been faster.
    match whose(&transaction)? {
        Whose::Nobodys => {
            transaction.execute_batch(SCHEMA_SQL)?;
            transaction.execute_batch(FROM_2_TO_3)?;
            transaction.execute_batch(FROM_3_TO_4)?;
            transaction.execute_batch(FROM_4_TO_5)?;
            transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        }
        Whose::Ours(older @ 1..SCHEMA) => {
            let steps = [FROM_1_TO_2, FROM_2_TO_3, FROM_3_TO_4, FROM_4_TO_5];
            for (from, step) in (1..).zip(steps) {
                if from >= older {
                    transaction.execute_batch(step)?;
                }
            }
        }
        Whose::Ours(_) | Whose::Others => return Ok(()),
    }
    transaction.pragma_update(None, "user_version", SCHEMA)?;
    durable::commit(|| transaction.commit())
}

fn each(
    transaction: &Transaction<'_>,
    sql: &str,
    mailbox: MailboxId,
    identities: &[Identity],
) -> rusqlite::Result<()> {
    let mut statement = transaction.prepare_cached(sql)?;
    for Identity {
        kind,
        bytes,
        occurrence,
    } in identities
    {
        statement.execute(params![mailbox.0, kind_number(*kind), bytes, occurrence])?;
    }
    Ok(())
}

fn count_missing<'a>(
    transaction: &Transaction<'_>,
    mailbox: MailboxId,
    identities: impl Iterator<Item = &'a Identity>,
    now: SystemTime,
) -> rusqlite::Result<()> {
    let mut statement = transaction.prepare_cached(
        "UPDATE message SET missing_since = ifnull(missing_since, ?5), missing_counted = ?5,
         missing_listings = missing_listings + 1
         WHERE mailbox = ?1 AND kind = ?2 AND uid = ?3 AND occurrence = ?4",
    )?;
    for Identity {
        kind,
        bytes,
        occurrence,
    } in identities
    {
        statement.execute(params![
            mailbox.0,
            kind_number(*kind),
            bytes,
            occurrence,
            seconds(now)
        ])?;
    }
    Ok(())
}

/// Reads an identity from the first three columns.
fn identity(row: &Row<'_>) -> rusqlite::Result<Identity> {
    Ok(Identity {
        kind: kind_of(row.get(0)?)?,
        bytes: row.get::<_, Vec<u8>>(1)?.into(),
        occurrence: row.get(2)?,
    })
}

fn kind_number(kind: IdentityKind) -> i64 {
    match kind {
        IdentityKind::UniqueId => 0,
        IdentityKind::Digest => 1,
    }
}

fn kind_of(number: i64) -> rusqlite::Result<IdentityKind> {
    match number {
        0 => Ok(IdentityKind::UniqueId),
        1 => Ok(IdentityKind::Digest),
        _ => Err(rusqlite::Error::IntegralValueOutOfRange(0, number)),
    }
}

fn seconds(time: SystemTime) -> i64 {
    let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX)
}

fn from_seconds(seconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

/// "Post" in ASCII: marks the file as ours, and names it in file(1)'s output.
const APPLICATION_ID: i64 = 0x506f_7374;

const SCHEMA: i64 = 5;

/// Version 1 did not know TLS.
const FROM_1_TO_2: &str =
    "ALTER TABLE mailbox ADD COLUMN capabilities_tls INTEGER NOT NULL DEFAULT FALSE;";
const DROP_INTENT: &str =
    "DELETE FROM intent WHERE mailbox = ? AND kind = ? AND uid = ? AND occurrence = ?";

const DROP_PARTS: &str =
    "DELETE FROM part WHERE mailbox = ? AND kind = ? AND uid = ? AND occurrence = ?";

/// Times are seconds since the epoch. `kind` is 0 for a unique-id, 1 for a digest of the text.
const SCHEMA_SQL: &str = "
    CREATE TABLE meta (instance TEXT NOT NULL) STRICT;
    INSERT INTO meta (instance) VALUES (lower(hex(randomblob(8))));

    CREATE TABLE mailbox (
        id INTEGER PRIMARY KEY,
        key TEXT NOT NULL UNIQUE,
        capabilities TEXT,
        capabilities_at INTEGER,
        capabilities_tls INTEGER NOT NULL DEFAULT FALSE,
        pipelining_failed_at INTEGER
    ) STRICT;

    -- Messages that are about to be moved to where people see them.
    CREATE TABLE intent (
        mailbox INTEGER NOT NULL REFERENCES mailbox,
        kind INTEGER NOT NULL,
        uid BLOB NOT NULL,
        occurrence INTEGER NOT NULL,
        destination BLOB NOT NULL,
        name TEXT NOT NULL,
        place INTEGER NOT NULL,
        at INTEGER NOT NULL,
        PRIMARY KEY (mailbox, kind, uid, occurrence)
    ) STRICT, WITHOUT ROWID;

    -- Messages that were delivered.
    CREATE TABLE message (
        mailbox INTEGER NOT NULL REFERENCES mailbox,
        kind INTEGER NOT NULL,
        uid BLOB NOT NULL,
        occurrence INTEGER NOT NULL,
        at INTEGER NOT NULL,
        missing_since INTEGER,
        missing_counted INTEGER,
        missing_listings INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (mailbox, kind, uid, occurrence)
    ) STRICT, WITHOUT ROWID;

    -- Messages that could not be fetched.
    CREATE TABLE failure (
        mailbox INTEGER NOT NULL REFERENCES mailbox,
        kind INTEGER NOT NULL,
        uid BLOB NOT NULL,
        occurrence INTEGER NOT NULL,
        sessions INTEGER NOT NULL,
        retry_at INTEGER NOT NULL,
        reason TEXT NOT NULL,
        PRIMARY KEY (mailbox, kind, uid, occurrence)
    ) STRICT, WITHOUT ROWID;
";

/// Version 2 knew no destinations but a single Maildir.
const FROM_2_TO_3: &str = "
    -- Where in a file the message begins that is about to be appended; null for a Maildir.
    ALTER TABLE intent ADD COLUMN start INTEGER;

    -- Where the mail went, one of which may have been the cause.
    ALTER TABLE failure ADD COLUMN destinations TEXT NOT NULL DEFAULT '';

    -- What destinations have got, of messages that others have not got yet.
    CREATE TABLE part (
        mailbox INTEGER NOT NULL REFERENCES mailbox,
        kind INTEGER NOT NULL,
        uid BLOB NOT NULL,
        occurrence INTEGER NOT NULL,
        destination TEXT NOT NULL,
        at INTEGER NOT NULL,
        PRIMARY KEY (mailbox, kind, uid, occurrence, destination)
    ) STRICT, WITHOUT ROWID;
";

/// Version 3 could not recognise messages that a server had given other unique-ids.
const FROM_3_TO_4: &str = "
    -- A digest of the header fields that stay the same; null for what was delivered before.
    ALTER TABLE message ADD COLUMN fingerprint BLOB;

    -- Whether the server lists how large messages are, and not about how large.
    ALTER TABLE mailbox ADD COLUMN exact_sizes INTEGER NOT NULL DEFAULT FALSE;
";

/// Version 4 did not know what had been kept on the server on purpose. What may have been counts as
/// kept: rather does something stay there than that it vanishes.
const FROM_4_TO_5: &str = "
    -- Whether the message was to stay on the server.
    ALTER TABLE message ADD COLUMN kept INTEGER NOT NULL DEFAULT TRUE;

    -- When its owner was told last of messages that are too large to be fetched.
    ALTER TABLE mailbox ADD COLUMN warned_at INTEGER;
";

/// How long another process may hold the database before we give up.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    /// The files of a database that is in use, as they would be after a crash.
    fn copy(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).unwrap();
        for name in ["state.db", "state.db-wal"] {
            std::fs::copy(from.join(name), to.join(name)).unwrap();
        }
    }

    #[test]
    fn an_intent_whose_commit_failed_does_not_come_to_life() {
        let directory = tempfile::TempDir::new().unwrap();
        let [ours, twin, later] = ["ours", "twin", "later"].map(|name| directory.path().join(name));
        let store = Sqlite::open(&ours).unwrap();
        let mailbox = store.mailbox("pop3:a@b").unwrap();
        let intent = StoredIntent {
            identity: Identity {
                kind: IdentityKind::UniqueId,
                bytes: b"uid"[..].into(),
                occurrence: 0,
            },
            destination: "/Mail".into(),
            name: "name".to_owned(),
            place: 1,
            at: UNIX_EPOCH,
            offset: None,
        };
        // What is written to the log before a sync fails, we have a twin write into a copy.
        copy(&ours, &twin);
        let other = Sqlite::open(&twin).unwrap();
        other.intend(mailbox, &[intent]).unwrap();
        std::fs::copy(twin.join("state.db-wal"), ours.join("state.db-wal")).unwrap();
        let intents = |store: &Sqlite| store.intents(mailbox).unwrap().len();
        copy(&ours, &later);
        assert_eq!(
            intents(&Sqlite::open(&later).unwrap()),
            1,
            "it is in the log"
        );

        store.doubtful.store(true, Ordering::Release);
        assert_eq!(intents(&store), 0);
        std::fs::remove_dir_all(&later).unwrap();
        copy(&ours, &later);
        assert_eq!(intents(&Sqlite::open(&later).unwrap()), 0);
    }
}
