//! fetchmail's lock file: one run at a time, and how to find the one that runs.
//!
//! The file holds the process id, and for a daemon its interval in a second line. fetchmail judges
//! by the process id alone, so that a file left behind locks out whoever comes after the id was
//! given to another process; here the file is locked (flock(2)) as well, and the lock ends with
//! its process. A fetchmail that is not ours is known by its name.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::process::Pid;

use super::daemon::LOOK;

/// The lock of this run, until it is dropped.
pub(super) struct Lock {
    file: File,
    path: PathBuf,
}

/// Another run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Other {
    pub(super) pid: Pid,
    pub(super) is_daemon: bool,
}

/// What came of trying to lock.
pub(super) enum Attempt {
    Locked(Lock),
    Taken(Other),
}

/// Takes the lock, unless another run has it.
pub(super) fn take(path: &Path) -> io::Result<Attempt> {
    let deadline = Instant::now() + TO_SAY_WHO;
    loop {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
            .open(path)?;
        let is_free = match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => true,
            Err(rustix::io::Errno::WOULDBLOCK) => false,
            Err(error) => return Err(error.into()),
        };
        let mut text = String::new();
        (&file).take(64).read_to_string(&mut text)?;
        match (is_free, other(&text)) {
            (false, Some(other)) => return Ok(Attempt::Taken(other)),
            // It has the lock, and is about to say who it is.
            (false, None) if Instant::now() < deadline => std::thread::sleep(LOOK),
            // Whoever has locked the file is no fetchmail: `flock FILE fetchmail` does that, and the
            // lock may be the one that we inherited. fetchmail looks only at what is written.
            (false, None) if is_still(&file, path) => {
                let lock = Lock {
                    file,
                    path: path.to_owned(),
                };
                lock.write(None)?;
                return Ok(Attempt::Locked(lock));
            }
            (false, None) => {}
            (true, Some(other)) if is_fetchmail(other.pid) => return Ok(Attempt::Taken(other)),
            (true, _) if is_still(&file, path) => {
                let lock = Lock {
                    file,
                    path: path.to_owned(),
                };
                lock.write(None)?;
                return Ok(Attempt::Locked(lock));
            }
            // It was removed by the run that ended meanwhile.
            (true, _) => {}
        }
    }
}

/// The run that has the lock, if there is one.
pub(super) fn holder(path: &Path) -> io::Result<Option<Other>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let is_free = flock(&file, FlockOperation::NonBlockingLockShared).is_ok();
    let mut text = String::new();
    (&file).take(64).read_to_string(&mut text)?;
    Ok(other(&text).filter(|other| !is_free || is_fetchmail(other.pid)))
}

impl Lock {
    /// Says who has it, and how often a daemon polls.
    pub(super) fn write(&self, interval: Option<u32>) -> io::Result<()> {
        let mut text = format!("{}\n", std::process::id());
        if let Some(interval) = interval {
            text += &format!("{interval}\n");
        }
        let mut file = &self.file;
        file.rewind()?;
        file.set_len(0)?;
        file.write_all(text.as_bytes())
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // While it is still locked, so that it is our own.
        std::fs::remove_file(&self.path).ok();
    }
}

fn other(text: &str) -> Option<Other> {
    let mut words = text.split_whitespace();
    let pid = Pid::from_raw(words.next()?.parse().ok()?)?;
    Some(Other {
        pid,
        is_daemon: words.next().is_some(),
    })
}

/// Whether the file is the one that is there now.
fn is_still(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let identity = |metadata: &std::fs::Metadata| (metadata.dev(), metadata.ino());
    let (ours, there) = (file.metadata(), std::fs::metadata(path));
    matches!((&ours, &there), (Ok(ours), Ok(there)) if identity(ours) == identity(there))
}

/// Whether a process is a fetchmail which does not lock its file.
fn is_fetchmail(pid: Pid) -> bool {
    let pid = pid.as_raw_nonzero();
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm"));
    let is_ours = std::process::id().cast_signed() == pid.get();
    !is_ours && name.is_ok_and(|name| name.trim_end() == "fetchmail")
}

/// How long whoever has the lock may take to write its process id.
const TO_SAY_WHO: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_flock_holds_is_taken_over_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fetchmail.pid");
        let outer = File::create(&path).unwrap();
        flock(&outer, FlockOperation::LockExclusive).unwrap();
        let Attempt::Locked(lock) = take(&path).unwrap() else {
            panic!("nobody has said that it is taken");
        };
        // Others see who has it.
        assert!(matches!(take(&path).unwrap(), Attempt::Taken(_)));
        drop(lock);
        assert!(!path.exists());
    }

    #[test]
    fn a_lock_is_taken_once_and_ends_with_its_run() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fetchmail.pid");
        let Attempt::Locked(lock) = take(&path).unwrap() else {
            panic!("it is free");
        };
        let own = rustix::process::getpid();
        let Attempt::Taken(other) = take(&path).unwrap() else {
            panic!("it is taken");
        };
        assert_eq!((other.pid, other.is_daemon), (own, false));
        lock.write(Some(300)).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, format!("{}\n300\n", own.as_raw_nonzero()));
        assert_eq!(
            holder(&path).unwrap().map(|other| other.is_daemon),
            Some(true)
        );
        drop(lock);
        assert_eq!(holder(&path).unwrap(), None);
        assert!(matches!(take(&path).unwrap(), Attempt::Locked(_)));
    }

    #[test]
    fn a_file_that_was_left_behind_is_no_lock() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fetchmail.pid");
        // Process 1 is there, and is no fetchmail.
        std::fs::write(&path, "1\n300\n").unwrap();
        assert_eq!(holder(&path).unwrap(), None);
        assert!(matches!(take(&path).unwrap(), Attempt::Locked(_)));
    }
}
