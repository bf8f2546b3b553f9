//! Maildir: every message a file, written in `tmp/` and moved to `new/` (maildir(5)).
//!
//! The hard part is to know after a crash whether a message was moved, though a mail client may
//! have moved it on or deleted it since. A file is therefore never searched for in `new/` or
//! `cur/`: once an intent to move `tmp/NAME` is on record, the file still being in `tmp/` means
//! that the move did not happen, and its absence means that it did.
//!
//! All work goes through handles of the directories, opened without following links, so that
//! swapping one for a link later leads nowhere else.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{Access, AtFlags, Mode, OFlags};
use sha2::{Digest, Sha256};

use super::{DeliverError, Receipt, private};
use crate::durable::{self, At, FsError};
use crate::record::{Identity, Intended, StoredIntent};
use crate::session::MessageRef;

/// A Maildir that is open for delivery by one mailbox.
#[derive(Debug)]
pub(crate) struct Maildir {
    root: PathBuf,
    tmp: File,
    new: File,
    tag: String,
    host: String,
    begun: AtomicU64,
}

impl Maildir {
    /// Opens a Maildir, and creates what is missing of it, private to the user.
    ///
    /// `tag` is in the name of every file, and marks those in `tmp/` as ours to clean up. It is
    /// the same for every run of one mailbox with one set of records, and for nobody else.
    pub(crate) fn open(root: &Path, tag: String) -> Result<Self, DeliverError> {
        create(root)?;
        Ok(Self {
            root: root.to_owned(),
            tmp: open_part(root, "tmp")?,
            new: open_part(root, "new")?,
            tag,
            host: host_for_name(&gethostname::gethostname().to_string_lossy()),
            begun: AtomicU64::new(0),
        })
    }

    /// Tries out whether mail could be delivered, and leaves no trace.
    ///
    /// Of a Maildir that does not exist yet, looks whether it could be created.
    pub(crate) fn check(root: &Path, tag: String) -> Result<(), DeliverError> {
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
        let mut incoming = maildir.begin()?;
        let written = incoming.write(b"\n");
        maildir.discard(incoming);
        written
    }

    /// The Maildir's path.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Starts a message.
    pub(crate) fn begin(&self) -> Result<Incoming, DeliverError> {
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let name = format!(
            "{}.M{:06}P{}Q{}_{}.{}",
            since_epoch.as_secs(),
            since_epoch.subsec_micros(),
            std::process::id(),
            self.begun.fetch_add(1, Ordering::Relaxed),
            self.tag,
            self.host,
        );
        let path = self.root.join("tmp").join(&name);
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.tmp, name.as_str(), flags, Mode::RUSR | Mode::WUSR)
            .at("create", &path)?;
        Ok(Incoming {
            file: File::from(file),
            path,
            name,
            octets: 0,
        })
    }

    /// Gives up on a message whose text did not arrive whole.
    pub(crate) fn discard(&self, incoming: Incoming) {
        self.remove(&incoming.name);
    }

    /// Gives up on a message that is not needed after all.
    pub(crate) fn discard_spooled(&self, spooled: Spooled) {
        self.remove(&spooled.name);
    }

    /// Makes messages durable in `tmp/`.
    ///
    /// When that fails their files are removed: after a failed sync nobody knows what they hold.
    pub(crate) fn seal(&self, messages: Vec<Spooled>) -> Result<Sealed, DeliverError> {
        let mut files = Vec::with_capacity(messages.len());
        let mut parcels = Vec::with_capacity(messages.len());
        for spooled in messages {
            files.push((spooled.file, spooled.path));
            parcels.push(Parcel {
                identity: spooled.identity,
                message: Some(spooled.message),
                name: spooled.name,
                octets: spooled.octets,
            });
        }
        let synced = durable::sync_files(&files)
            .and_then(|()| durable::sync_dir(&self.tmp, &self.root.join("tmp")));
        if let Err(error) = synced {
            for parcel in &parcels {
                self.remove(&parcel.name);
            }
            return Err(error.into());
        }
        Ok(Sealed {
            parcels,
            place: self.place()?,
        })
    }

    /// Moves messages whose intent is on record to `new/`, durably.
    pub(crate) fn publish(&self, intended: Intended) -> Result<Vec<Receipt>, DeliverError> {
        let parcels = intended.into_parcels();
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
        let place = self.place()?;
        for intent in intents {
            let too_old = now
                .duration_since(intent.at)
                .is_ok_and(|age| age >= TMP_CLEANERS_RESPECT);
            if self.is_in_tmp(&intent.name)? {
                if Self::exists(&self.new, &intent.name).at("read", &self.root)? {
                    // A file system without atomic moves, cut off between the two halves of one.
                    self.remove(&intent.name);
                } else {
                    self.move_to_new(&intent.name)?;
                }
            } else if intent.place != place || too_old {
                // It may have been moved, or its folder was replaced or cleaned.
                recovered.lost.push(intent.identity);
                continue;
            }
            recovered.receipts.push(Receipt {
                identity: intent.identity,
                message: None,
                octets: 0,
                _made_by_a_destination: private::Seal,
            });
        }
        self.sync_move()?;
        Ok(recovered)
    }

    /// Identifies the folder that intents refer to, so that another one in its place is noticed.
    fn place(&self) -> Result<u64, DeliverError> {
        Ok(self
            .tmp
            .metadata()
            .at("read", &self.root.join("tmp"))?
            .ino())
    }

    fn is_in_tmp(&self, name: &str) -> Result<bool, FsError> {
        Self::exists(&self.tmp, name).at("read", &self.root.join("tmp").join(name))
    }

    fn exists(directory: &File, name: &str) -> rustix::io::Result<bool> {
        match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(rustix::io::Errno::NOENT) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn move_to_new(&self, name: &str) -> Result<(), FsError> {
        let target = self.root.join("new").join(name);
        durable::rename((&self.tmp, name), (&self.new, name), &target)
    }

    /// Syncs both ends of a move, the arrival first: a file in both folders does less harm than
    /// one in neither.
    fn sync_move(&self) -> Result<(), FsError> {
        durable::sync_dir(&self.new, &self.root.join("new"))?;
        durable::sync_dir(&self.tmp, &self.root.join("tmp"))
    }

    /// Makes ready for delivery, when no intent is open and nothing is being delivered.
    ///
    /// Removes what runs left in `tmp/` that died before they put their intent on record. Where
    /// nothing was delivered yet, such a run may also have died between creating the Maildir and
    /// syncing it.
    pub(crate) fn prepare(&self) -> Result<(), DeliverError> {
        let path = self.root.join("tmp");
        let mark = format!("_{}.", self.tag);
        for entry in rustix::fs::Dir::read_from(&self.tmp).at("read", &path)? {
            let entry = entry.at("read", &path)?;
            if let Ok(name) = entry.file_name().to_str()
                && name.contains(&mark)
            {
                self.remove(name);
            }
        }
        let new = self.root.join("new");
        if std::fs::read_dir(&new).at("read", &new)?.next().is_none() {
            for path in self.root.ancestors().take(2).filter(|path| path.is_dir()) {
                durable::sync_dir(&File::open(path).at("open", path)?, path)?;
            }
        }
        Ok(())
    }

    /// Removes a file from `tmp/`. A failure leaves a file that the next run removes.
    fn remove(&self, name: &str) {
        if let Err(error) = rustix::fs::unlinkat(&self.tmp, name, AtFlags::empty()) {
            tracing::debug!(name, %error, "a file is left in tmp");
        }
    }
}

/// A message whose text is arriving in `tmp/`.
#[derive(Debug)]
pub(crate) struct Incoming {
    file: File,
    path: PathBuf,
    name: String,
    octets: u64,
}

impl Incoming {
    /// Appends text; line ends are the caller's business.
    pub(crate) fn write(&mut self, text: &[u8]) -> Result<(), DeliverError> {
        self.file.write_all(text).at("write", &self.path)?;
        self.octets += text.len() as u64;
        Ok(())
    }

    /// Says that the text is whole.
    pub(crate) fn finish(self, identity: Identity, message: MessageRef) -> Spooled {
        let Self {
            file,
            path,
            name,
            octets,
        } = self;
        Spooled {
            identity,
            message,
            file,
            path,
            name,
            octets,
        }
    }
}

/// A message that is whole in `tmp/`, though not yet durable.
#[derive(Debug)]
pub(crate) struct Spooled {
    pub(crate) identity: Identity,
    message: MessageRef,
    file: File,
    path: PathBuf,
    name: String,
    pub(crate) octets: u64,
}

/// Messages that are durable in `tmp/`, ready for their intent to be recorded.
#[derive(Debug)]
pub(crate) struct Sealed {
    parcels: Vec<Parcel>,
    place: u64,
}

impl Sealed {
    pub(crate) fn place(&self) -> u64 {
        self.place
    }

    pub(crate) fn into_parcels(self) -> Vec<Parcel> {
        self.parcels
    }
}

/// One message on its way from `tmp/` to `new/`.
#[derive(Debug)]
pub(crate) struct Parcel {
    pub(crate) identity: Identity,
    pub(crate) name: String,
    message: Option<MessageRef>,
    octets: u64,
}

impl Parcel {
    fn arrived(self) -> Receipt {
        Receipt {
            identity: self.identity,
            message: self.message,
            octets: self.octets,
            _made_by_a_destination: private::Seal,
        }
    }
}

/// What became of the intents of a run that died.
#[derive(Debug, Default)]
pub(crate) struct Recovered {
    /// Messages that are delivered.
    pub(crate) receipts: Vec<Receipt>,
    /// Messages nobody can tell about, which are fetched again: rather twice than never.
    pub(crate) lost: Vec<Identity>,
}

/// A tag for the file names of one mailbox, from whatever tells it apart.
pub(crate) fn tag(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    let digest = hash.finalize();
    digest[..6]
        .iter()
        .fold(String::from("ph"), |tag, byte| format!("{tag}{byte:02x}"))
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

fn open_part(root: &Path, part: &str) -> Result<File, DeliverError> {
    let path = root.join(part);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::open(&path, flags, Mode::empty()) {
        Ok(directory) => Ok(File::from(directory)),
        Err(rustix::io::Errno::LOOP | rustix::io::Errno::NOTDIR) => {
            Err(DeliverError::NotADirectory { path })
        }
        Err(error) => Err(io::Error::from(error)).at("open", &path)?,
    }
}

/// A host name as it may stand in a file name: maildir(5) wants `/` and `:` in octal.
fn host_for_name(host: &str) -> String {
    let name = host.replace('/', "\\057").replace(':', "\\072");
    if name.is_empty() {
        "localhost".to_owned()
    } else {
        name
    }
}

const PARTS: [&str; 3] = ["cur", "new", "tmp"];

/// Programs that clean `tmp/` leave files alone that were read in the last 36 hours (maildir(5)).
const TMP_CLEANERS_RESPECT: Duration = Duration::from_secs(36 * 60 * 60);

#[cfg(test)]
mod tests;
