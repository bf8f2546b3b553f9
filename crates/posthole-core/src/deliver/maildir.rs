//! Maildir: every message a file, written in `tmp/` and moved to `new/` (maildir(5)).
//!
//! The hard part is to know after a crash whether a message was moved, though a mail client may
//! have moved it on or deleted it since. A file is therefore never searched for in `new/` or
//! `cur/`: once an intent to move `tmp/NAME` is on record, the file still being in `tmp/` means
//! that the move did not happen, and its absence means that it did. Whether it is on disk is not
//! known then: a sync that failed is not repeated, since the kernel may have dropped what it could
//! not write. So a message that is still in `new/` is moved anew, there and back.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustix::fs::Access;

use super::staging::{self, Parcel, Sealed, Staging};
use super::{DeliverError, Receipt, Recovered, private};
use crate::durable::{self, At, FsError};
use crate::record::{Intended, StoredIntent};

/// A Maildir that is open for delivery by one mailbox.
#[derive(Debug)]
pub(crate) struct Maildir {
    root: PathBuf,
    tmp: Arc<Staging>,
    new: File,
}

impl Maildir {
    /// Opens a Maildir, and creates what is missing of it, private to the user.
    ///
    /// `tag` is that of [`Staging::open`].
    /// # Errors
    /// Also for root, if it is another user's: mail that root writes there its user cannot read, and
    /// a link of the user's would have root write elsewhere.
    pub(crate) fn open(root: &Path, tag: String) -> Result<Self, DeliverError> {
        judge(root)?;
        create(root)?;
        Ok(Self {
            root: root.to_owned(),
            tmp: Arc::new(Staging::open(root.join("tmp"), tag)?),
            new: staging::open_directory(&root.join("new"))?,
        })
    }

    /// Tries out whether mail could be delivered, and leaves no trace.
    ///
    /// Of a Maildir that does not exist yet, looks whether it could be created.
    pub(crate) fn check(root: &Path, tag: String) -> Result<(), DeliverError> {
        judge(root)?;
        if !is_complete(root) {
            may_become_maildir(root)?;
            let parent = root.ancestors().find(|path| path.exists());
            let parent = parent.unwrap_or_else(|| Path::new("."));
            if !parent.is_dir() {
                let in_the_way = io::Error::from(io::ErrorKind::NotADirectory);
                return Ok(Err(in_the_way).at("create a Maildir at", parent)?);
            }
            let may_create = Access::WRITE_OK | Access::EXEC_OK;
            return Ok(rustix::fs::access(parent, may_create).at("create a Maildir in", parent)?);
        }
        let maildir = Self::open(root, tag)?;
        let mut incoming = maildir.tmp.begin()?;
        let written = incoming.write(b"\n");
        maildir.tmp.discard(incoming);
        written
    }

    /// The Maildir's path.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Where messages are written first: `tmp/`.
    pub(crate) fn staging(&self) -> &Arc<Staging> {
        &self.tmp
    }

    /// Moves messages whose intent is on record to `new/`, durably.
    pub(crate) fn publish(&self, intended: Intended<Sealed>) -> Result<Vec<Receipt>, DeliverError> {
        let parcels = intended.into_inner().into_parcels();
        for parcel in &parcels {
            self.move_to_new(&parcel.name)?;
        }
        self.sync_move()?;
        Ok(parcels.into_iter().map(Parcel::arrived).collect())
    }

    /// Finishes what a run that died left unfinished, by its intents on record.
    ///
    /// Afterwards every message of `intents` is either delivered or to be fetched again.
    pub(crate) fn recover(
        &self,
        intents: Vec<StoredIntent>,
        now: SystemTime,
    ) -> Result<Recovered, DeliverError> {
        let mut recovered = Recovered::default();
        let place = self.tmp.place()?;
        for intent in intents {
            let too_old = now
                .duration_since(intent.at)
                .is_ok_and(|age| age >= TMP_CLEANERS_RESPECT);
            if self.tmp.holds(&intent.name)? {
                if staging::exists(&self.new, &intent.name).at("read", &self.root)? {
                    // A file system without atomic moves, cut off between the two halves of one.
                    self.tmp.remove(&intent.name);
                } else {
                    self.move_to_new(&intent.name)?;
                }
            } else if intent.place != place || too_old {
                // It may have been moved, or its folder was replaced or cleaned.
                recovered.lost.push(intent.identity);
                continue;
            } else {
                self.move_anew(&intent.name)?;
            }
            recovered.receipts.push(Receipt {
                identity: intent.identity,
                message: None,
                fingerprint: None,
                octets: 0,
                _made_by_a_destination: private::Seal,
            });
        }
        self.sync_move()?;
        Ok(recovered)
    }

    fn move_to_new(&self, name: &str) -> Result<(), FsError> {
        let target = self.root.join("new").join(name);
        durable::rename((self.tmp.directory(), name), (&self.new, name), &target)
    }

    /// Moves a message that is in `new/` there once more, so that there is something to sync.
    ///
    /// Where a mail client has moved it on, that has changed the folders since.
    fn move_anew(&self, name: &str) -> Result<(), FsError> {
        let back = durable::rename(
            (&self.new, name),
            (self.tmp.directory(), name),
            &self.tmp.path().join(name),
        );
        match back {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(()) => self.move_to_new(name),
        }
    }

    /// Syncs both ends of a move, the arrival first: a file in both folders does less harm than
    /// one in neither.
    fn sync_move(&self) -> Result<(), FsError> {
        durable::sync_dir(&self.new, &self.root.join("new"))?;
        durable::sync_dir(self.tmp.directory(), self.tmp.path())
    }

    /// Makes ready for delivery, when no intent is open and nothing is being delivered.
    ///
    /// Where nothing was delivered yet, a run may have died between creating the Maildir and
    /// syncing it.
    pub(crate) fn prepare(&self) -> Result<(), DeliverError> {
        self.tmp.sweep()?;
        let new = self.root.join("new");
        if std::fs::read_dir(&new).at("read", &new)?.next().is_none() {
            for path in self.root.ancestors().take(2).filter(|path| path.is_dir()) {
                durable::sync_dir(&File::open(path).at("open", path)?, path)?;
            }
        }
        Ok(())
    }
}

/// Looks whose a Maildir is, or would be.
fn judge(root: &Path) -> Result<(), DeliverError> {
    let us = rustix::process::geteuid().as_raw();
    let there = root
        .ancestors()
        .find_map(|path| std::fs::metadata(path).ok());
    match there {
        Some(metadata) if us == 0 && metadata.uid() != 0 => Err(DeliverError::OthersMaildir {
            path: root.to_owned(),
            owner: metadata.uid(),
        }),
        _ => Ok(()),
    }
}

fn create(root: &Path) -> Result<(), DeliverError> {
    if is_complete(root) {
        return Ok(());
    }
    may_become_maildir(root)?;
    for part in PARTS {
        durable::create_dir(&root.join(part))?;
    }
    Ok(())
}

fn is_complete(root: &Path) -> bool {
    PARTS.iter().all(|part| root.join(part).is_dir())
}

/// Refuses a folder of something else: it has no part of a Maildir, and holds files.
///
/// An interrupted creation leaves some part, and another account may deliver to a Maildir below.
fn may_become_maildir(root: &Path) -> Result<(), DeliverError> {
    if root.is_dir() && holds_something_else(root)? {
        return Err(DeliverError::NotAMaildir {
            path: root.to_owned(),
        });
    }
    Ok(())
}

fn holds_something_else(directory: &Path) -> Result<bool, DeliverError> {
    if PARTS.iter().any(|part| directory.join(part).exists()) {
        return Ok(false);
    }
    for entry in std::fs::read_dir(directory).at("read", directory)? {
        let entry = entry.at("read", directory)?;
        // Not through links, which may lead anywhere, also back.
        let is_directory = entry.file_type().at("read", &entry.path())?.is_dir();
        if !is_directory || holds_something_else(&entry.path())? {
            return Ok(true);
        }
    }
    Ok(false)
}

const PARTS: [&str; 3] = ["cur", "new", "tmp"];

/// Programs that clean `tmp/` leave files alone that were read in the last 36 hours (maildir(5)).
const TMP_CLEANERS_RESPECT: Duration = Duration::from_secs(36 * 60 * 60);

#[cfg(test)]
mod tests;
