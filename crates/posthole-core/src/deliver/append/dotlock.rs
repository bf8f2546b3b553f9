//! Dot locks: `FILE.lock` beside the file, which locks it where fcntl(2) does not reach.
//!
//! Debian Policy §11.6 has mail programs take both. A dot lock outlives whoever dies with it, so
//! somebody must tell a stale one from one that is held: after five minutes it counts as stale for
//! everybody. One of ours says so, and is known for stale as soon as its process is gone.
//!
//! Whoever may not create files in `/var/mail` can still lock his own mailbox there, by way of
//! dotlockfile(1), which runs with the group `mail`.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use rustix::fs::{Timespec, Timestamps, UTIME_NOW};
use rustix::process::{Pid, test_kill_process};

use super::super::DeliverError;
use super::super::user::LocalUser;
use crate::durable::At;
use crate::exec;

/// A dot lock, held until dropped.
#[derive(Debug)]
pub(super) struct Dotlock {
    path: PathBuf,
    owner: LocalUser,
    group: Option<u32>,
    held: Held,
}

#[derive(Debug)]
enum Held {
    /// By dotlockfile(1).
    ByHelper,
    /// By this file of ours.
    ByUs(File),
}

impl Dotlock {
    /// Takes the lock of a file; none while somebody else has it.
    ///
    /// The caller holds the file's fcntl(2) lock already, so that no other Posthole is at it.
    pub(super) fn take(
        file: &Path,
        owner: &LocalUser,
        group: Option<u32>,
    ) -> Result<Option<Self>, DeliverError> {
        let path = beside(file);
        let held = |held| {
            Some(Self {
                path: path.clone(),
                owner: owner.clone(),
                group,
                held,
            })
        };
        let attempt = || match create(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && remove_stale(&path) => {
                create(&path)
            }
            other => other,
        };
        match owner.run_as(group, attempt)? {
            Ok(lock) => Ok(held(Held::ByUs(lock))),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                match ask_helper("-l", &path) {
                    Some(true) => Ok(held(Held::ByHelper)),
                    Some(false) => Ok(None),
                    None => Err(DeliverError::NoDotlock {
                        path,
                        source: error,
                    }),
                }
            }
            Err(error) => Err(error).at("create", &path)?,
        }
    }

    /// Makes the lock young again.
    pub(super) fn touch(&self) {
        if let Held::ByUs(file) = &self.held {
            let now = Timespec {
                tv_sec: 0,
                tv_nsec: UTIME_NOW,
            };
            let times = Timestamps {
                last_access: now,
                last_modification: now,
            };
            // Too old a lock is a risk, not an error.
            rustix::fs::futimens(file, &times).ok();
        }
    }
}

impl Drop for Dotlock {
    fn drop(&mut self) {
        let removed = match &self.held {
            Held::ByHelper => ask_helper("-u", &self.path).is_some(),
            Held::ByUs(file) => {
                let remove =
                    || is_same(file, &self.path) && std::fs::remove_file(&self.path).is_ok();
                self.owner.run_as(self.group, remove).unwrap_or(false)
            }
        };
        if !removed {
            tracing::debug!("the lock {} is left", self.path.display());
        }
    }
}

/// Whether a file has a lock, whoever made it.
pub(super) fn is_there(file: &Path) -> bool {
    std::fs::symlink_metadata(beside(file)).is_ok()
}

fn beside(file: &Path) -> PathBuf {
    let mut path = file.as_os_str().to_owned();
    path.push(".lock");
    PathBuf::from(path)
}

fn create(path: &Path) -> io::Result<File> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(path)?;
    // For people and for ourselves; a lock without it is as good a lock.
    let host = gethostname::gethostname();
    let _unread = writeln!(
        file,
        "{}\n{MARK} {}",
        std::process::id(),
        host.to_string_lossy()
    );
    Ok(file)
}

/// Removes a lock that nobody holds any more; false if somebody may.
fn remove_stale(path: &Path) -> bool {
    let Ok(found) = std::fs::symlink_metadata(path) else {
        // Gone, so it is worth another try.
        return true;
    };
    let age = found
        .modified()
        .ok()
        .and_then(|at| SystemTime::now().duration_since(at).ok());
    let stale = age.is_some_and(|age| age >= STALE_AFTER) || is_ours_and_dead(path);
    // It may have been taken anew since it was looked at.
    let unchanged = std::fs::symlink_metadata(path).is_ok_and(|now| {
        (now.ino(), now.mtime(), now.mtime_nsec())
            == (found.ino(), found.mtime(), found.mtime_nsec())
    });
    stale && unchanged && std::fs::remove_file(path).is_ok()
}

/// Whether a Posthole on this machine has made the lock and died.
fn is_ours_and_dead(path: &Path) -> bool {
    let mut text = String::new();
    let read = OpenOptions::new()
        .read(true)
        .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
        .open(path)
        .and_then(|file| file.take(512).read_to_string(&mut text));
    let mut lines = text.lines();
    let (Ok(_), Some(pid), Some(maker)) = (read, lines.next(), lines.next()) else {
        return false;
    };
    let host = gethostname::gethostname();
    if maker != format!("{MARK} {}", host.to_string_lossy()) {
        return false;
    }
    let Some(pid) = pid.parse().ok().and_then(Pid::from_raw) else {
        return false;
    };
    // One of our own number is of an earlier process: this one would hold the file's lock.
    pid == rustix::process::getpid() || test_kill_process(pid) == Err(rustix::io::Errno::SRCH)
}

fn is_same(file: &File, path: &Path) -> bool {
    let identity = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
    match (file.metadata(), std::fs::symlink_metadata(path)) {
        (Ok(ours), Ok(there)) => identity(ours) == identity(there),
        _ => false,
    }
}

/// Has dotlockfile(1) lock or unlock; none if it cannot be run or may not, and false if somebody
/// else has the lock.
fn ask_helper(operation: &str, lock: &Path) -> Option<bool> {
    let helper = OsStr::new(HELPER);
    exec::find(helper, None).ok()?;
    let status = exec::program(helper)
        .args(["-p", "-r", "0", operation])
        .arg(lock)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .ok()?;
    match status.code()? {
        0 => Some(true),
        HELPER_GAVE_UP => Some(false),
        _ => None,
    }
}

const MARK: &str = "posthole";

const STALE_AFTER: Duration = Duration::from_secs(5 * 60);

const HELPER: &str = "/usr/bin/dotlockfile";

/// `L_MAXTRYS` of lockfile_create(3).
const HELPER_GAVE_UP: i32 = 4;
