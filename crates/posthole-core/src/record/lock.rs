//! One poll of a mailbox at a time, across processes.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::durable::{At, create_dir};
use crate::error::Error;
use crate::record::RecordError;

/// A lock on a mailbox, held until dropped.
///
/// The kernel holds it for the open file (flock(2)), so it ends with the process however that
/// dies. The file itself stays: removing it would let two runs lock two files of one name.
#[derive(Debug)]
pub(crate) struct AccountLock {
    _file: File,
}

impl AccountLock {
    /// Takes the lock, or says at once that another run has it.
    pub(crate) fn take(state_dir: &Path, mailbox: &str) -> Result<Self, Error> {
        let directory = state_dir.join("locks");
        create_dir(&directory).map_err(RecordError::from)?;
        let path = directory.join(format!("{}.lock", crate::deliver::tag(&[mailbox])));
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true).mode(0o600);
        let mut file = options
            .open(&path)
            .at("open", &path)
            .map_err(RecordError::from)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::Locked { path }),
            Err(TryLockError::Error(error)) => {
                return Err(error).at("lock", &path).map_err(RecordError::from)?;
            }
        }
        // For people who look: whose lock this is. Nothing reads it, so a failure does not matter.
        if let Ok(0) = file.metadata().map(|metadata| metadata.len()) {
            let _unread = writeln!(file, "{mailbox}");
        }
        Ok(Self { _file: file })
    }
}
