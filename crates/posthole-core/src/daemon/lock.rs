//! One daemon at a time for the same records.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::durable;

/// Held for as long as the daemon lives, and not a moment longer: the kernel sees to it (flock(2)).
#[derive(Debug)]
pub struct DaemonLock {
    _file: File,
}

impl DaemonLock {
    /// Takes the lock; blocks.
    ///
    /// # Errors
    /// When another daemon has it, or the directory cannot be used.
    pub fn take(state_dir: &Path) -> Result<Self, LockError> {
        let path = state_dir.join("daemon.lock");
        let failed = |source| LockError::Failed {
            path: path.clone(),
            source,
        };
        durable::create_dir(state_dir).map_err(|error| failed(io::Error::other(error)))?;
        let mut options = OpenOptions::new();
        options
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600);
        let mut file = options.open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let pid = std::fs::read_to_string(&path).unwrap_or_default();
                return Err(LockError::Running {
                    pid: pid.trim().parse().ok(),
                    state_dir: state_dir.to_owned(),
                });
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        // For the message above; nothing else reads it.
        file.set_len(0).map_err(failed)?;
        writeln!(file, "{}", std::process::id()).map_err(failed)?;
        Ok(Self { _file: file })
    }
}

/// Why a daemon cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// The lock file could not be used.
    #[error("cannot use {}", path.display())]
    Failed {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Another daemon runs.
    #[error(
        "a daemon is already running{} for {}",
        pid.map(|pid| format!(" (process {pid})")).unwrap_or_default(),
        state_dir.display()
    )]
    Running {
        /// Its process, if it could be found out.
        pid: Option<u32>,
        /// Where its records are.
        state_dir: PathBuf,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_daemon_is_told_about_the_first() {
        let directory = tempfile::tempdir().unwrap();
        let first = DaemonLock::take(directory.path()).unwrap();
        let second = DaemonLock::take(directory.path()).unwrap_err().to_string();
        assert!(second.contains(&format!("process {}", std::process::id())));
        drop(first);
        DaemonLock::take(directory.path()).unwrap();
    }
}
