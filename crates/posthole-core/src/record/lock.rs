//! One poll of a mailbox at a time, across processes.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::durable::{At, create_dir};
use crate::error::Error;
use crate::record::RecordError;

/// A lock on a mailbox, held until dropped.
///
/// The kernel holds it for the open file (flock(2)), so it ends with the process however that
/// dies. The file itself stays: removing it would let two runs lock two files of one name. It says
/// whose lock this is, and with which records the mailbox was fetched.
#[derive(Debug)]
pub(crate) struct AccountLock {
    file: File,
    path: PathBuf,
}

impl AccountLock {
    /// Takes the lock, or says at once that another run has it.
    pub(crate) fn take(state_dir: &Path, mailbox: &str) -> Result<Self, Error> {
        let directory = directory(state_dir);
        create_dir(&directory).map_err(RecordError::from)?;
        let path = directory.join(format!("{}.lock", crate::deliver::tag(&[mailbox])));
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).read(true).write(true);
        // It is written to, and a link may lead anywhere.
        let flags = OFlags::NOFOLLOW.bits().cast_signed();
        let file = options
            .mode(0o600)
            .custom_flags(flags)
            .open(&path)
            .at("open", &path)
            .map_err(RecordError::from)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { file, path }),
            Err(TryLockError::WouldBlock) => Err(Error::Locked { path }),
            Err(TryLockError::Error(error)) => {
                Err(error).at("lock", &path).map_err(RecordError::from)?
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether these records have known the mailbox before.
    pub(super) fn is_marked(&self, mailbox: &str, instance: &str) -> bool {
        let mut text = String::new();
        let mut file = &self.file;
        // What cannot be read says nothing.
        let read = file
            .rewind()
            .and_then(|()| file.take(MARK_LIMIT).read_to_string(&mut text));
        read.is_ok() && text == mark(mailbox, instance)
    }

    /// Notes that these records know the mailbox; a failure does not matter.
    pub(super) fn mark(&self, mailbox: &str, instance: &str) {
        if self.is_marked(mailbox, instance) {
            return;
        }
        let mut file = &self.file;
        let written = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(mark(mailbox, instance).as_bytes()));
        if let Err(error) = written {
            tracing::debug!(%error, "nothing is noted in {}", self.path.display());
        }
    }
}

/// Whether any mailbox was fetched with the records of this directory.
pub(super) fn any_marked(state_dir: &Path) -> bool {
    let entries = std::fs::read_dir(directory(state_dir))
        .into_iter()
        .flatten();
    let mut metadata = entries.flatten().filter_map(|entry| entry.metadata().ok());
    metadata.any(|metadata| metadata.is_file() && metadata.len() > 0)
}

fn directory(state_dir: &Path) -> PathBuf {
    state_dir.join("locks")
}

fn mark(mailbox: &str, instance: &str) -> String {
    format!("{mailbox}\n{instance}\n")
}

/// More than any mark has.
const MARK_LIMIT: u64 = 64 << 10;
