//! The only place in the tree that makes a change to the file system durable.
//!
//! Delivery survives a crash at any instant because its steps happen in one order and each is on
//! disk before the next begins. Keeping all of them here means that the order can be audited by
//! reading callers, and that a test can kill the process before and after every single step: see
//! [`watch`]. Nothing here decides what is written. A failed sync of a file is never repeated, since
//! the kernel may have dropped the pages it could not write: the file is written anew.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::fs::{Advice, OFlags, RenameFlags, fcntl_getfl, fcntl_setfl};

/// Makes the contents of files durable, several at a time.
///
/// A file system commits concurrent syncs together, so a batch costs little more than one file.
pub(crate) fn sync_files(files: &[(File, PathBuf)]) -> Result<(), FsError> {
    for (file, _) in files {
        // On Linux this starts the writing of dirty pages (posix_fadvise(2)), so that the disk is
        // busy with all files while the first is waited for. Where it does not, nothing is lost.
        rustix::fs::fadvise(file, 0, None, Advice::DontNeed).ok();
    }
    let per_thread = files.len().div_ceil(SYNC_THREADS).max(1);
    let sync = |part: &[(File, PathBuf)]| {
        part.iter()
            .try_for_each(|(file, path)| step(Step::SyncFile, || file.sync_all()).at("sync", path))
    };
    std::thread::scope(|scope| {
        let parts: Vec<_> = files
            .chunks(per_thread)
            .map(|part| scope.spawn(move || sync(part)))
            .collect();
        // The first error in the order of the files is reported, whichever thread saw it.
        parts.into_iter().try_for_each(|part| match part.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })
}

/// Makes the entries of a directory durable.
pub(crate) fn sync_dir(directory: &File, path: &Path) -> Result<(), FsError> {
    step(Step::SyncDir, || directory.sync_all()).at("sync", path)
}

/// Moves a file between two directories of one file system; an existing target is never replaced.
///
/// Durable only once both directories are synced.
pub(crate) fn rename(from: (&File, &str), to: (&File, &str), target: &Path) -> Result<(), FsError> {
    let rename = || -> io::Result<()> {
        match rustix::fs::renameat_with(from.0, from.1, to.0, to.1, RenameFlags::NOREPLACE) {
            // Not every file system knows the flag. Names are unique, so plain rename will do.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
                Ok(rustix::fs::renameat(from.0, from.1, to.0, to.1)?)
            }
            other => Ok(other?),
        }
    };
    step(Step::Rename, rename).at("move a message to", target)
}

/// Creates a directory with its missing parents, all private to the user and durable.
pub(crate) fn create_dir(path: &Path) -> Result<(), FsError> {
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => return Ok(()),
        Ok(_) => return Err(io::Error::from(io::ErrorKind::NotADirectory)).at("create", path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        // It may be there, and going on upwards would find no end.
        Err(error) => return Err(error).at("look at", path),
    }
    let here = Path::new(".");
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => here,
    };
    if path != here {
        create_dir(parent)?;
    }
    let make = || match std::fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        other => other,
    };
    step(Step::CreateDir, make).at("create", path)?;
    sync_dir(&File::open(parent).at("open", parent)?, parent)
}

/// Appends octets to a file that others append to as well; durable once it is synced.
pub(crate) fn append(mut file: &File, octets: &[u8], path: &Path) -> Result<(), FsError> {
    step(Step::Append, || file.write_all(octets)).at("write", path)
}

/// Writes over octets of a file that is open to append to; durable once it is synced.
pub(crate) fn overwrite(file: &File, at: u64, octets: &[u8], path: &Path) -> Result<(), FsError> {
    let write = || -> io::Result<()> {
        // On Linux, all is appended while the flag is set, wherever it is to go (pwrite(2)).
        let flags = fcntl_getfl(file)?;
        fcntl_setfl(file, flags.difference(OFlags::APPEND))?;
        let written = file.write_all_at(octets, at);
        fcntl_setfl(file, flags)?;
        written
    };
    step(Step::Overwrite, write).at("write", path)
}

/// Takes off what was appended to a file; durable once it is synced.
pub(crate) fn cut(file: &File, length: u64, path: &Path) -> Result<(), FsError> {
    step(Step::Cut, || file.set_len(length)).at("truncate", path)
}

/// Runs a database commit, which is durable when it returns.
pub(crate) fn commit<T, E>(commit: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    step(Step::Commit, commit)
}

/// Has a function called before and after every durable step of this process.
///
/// For crash tests, which count the steps of a scenario and then kill the process at each. Only
/// the first call takes effect.
pub fn watch(watcher: Watcher) {
    // A second watcher would hide steps from the first, so it is turned away.
    let _first = WATCHER.set(watcher);
}

/// What [`watch`] calls; it may be called from several threads at once.
pub type Watcher = Box<dyn Fn(Step, Moment) + Send + Sync>;

/// A kind of durable step.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Step {
    /// Octets are appended to a file that others append to as well.
    Append,
    /// A database transaction is committed and synced.
    Commit,
    /// A directory is created.
    CreateDir,
    /// The end of such a file is taken off again.
    Cut,
    /// Octets of a file are written over.
    Overwrite,
    /// A file is moved.
    Rename,
    /// A directory is synced.
    SyncDir,
    /// A file is synced.
    SyncFile,
}

/// On which side of a durable step we are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Moment {
    /// Nothing of the step has happened.
    Before,
    /// The step is complete, or has failed.
    After,
}

/// A file operation that failed, with the path it was about.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {}", path.display())]
pub struct FsError {
    operation: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl FsError {
    /// The path the operation was about.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The kind of failure.
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }
}

/// Adds what was tried, and on which path, to an error.
pub(crate) trait At<T> {
    /// Names the operation, such as `create`, and the path.
    fn at(self, operation: &'static str, path: &Path) -> Result<T, FsError>;
}

impl<T, E: Into<io::Error>> At<T> for Result<T, E> {
    fn at(self, operation: &'static str, path: &Path) -> Result<T, FsError> {
        self.map_err(|source| FsError {
            operation,
            path: path.to_owned(),
            source: source.into(),
        })
    }
}

fn step<T, E>(step: Step, run: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    let Some(watcher) = WATCHER.get() else {
        return run();
    };
    watcher(step, Moment::Before);
    let result = run();
    watcher(step, Moment::After);
    result
}

static WATCHER: OnceLock<Watcher> = OnceLock::new();

/// How many files are synced at a time. More gain nothing on the disks this was measured on.
const SYNC_THREADS: usize = 16;
