//! The way to a file that others write to as well: opened with care, and locked.
//!
//! A mailbox may lie in a folder where others can put things, and root may write for a user. So
//! links of others are never followed, and only a plain file with one name and the right owner is
//! written to. Locks are taken as Debian Policy §11.6 has it, fcntl(2) first and the dot lock
//! then; whoever has one of them is waited for, for a while.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{Access, Mode, OFlags};
use rustix::process::Resource;

use super::super::DeliverError;
use super::super::user::mail_group;
use super::dotlock::Dotlock;
use super::{AppendFile, Form, mbox};
use crate::deliver::place_of;
use crate::durable::{self, At, FsError};

/// A file that is ours to write to until this is dropped.
#[derive(Debug)]
pub(super) struct Locked {
    // Before the file, whose closing gives up the other lock.
    dotlock: Option<Dotlock>,
    pub(super) file: File,
    pub(super) path: PathBuf,
    pub(super) length: u64,
    pub(super) place: u64,
    /// Whether the entry in the folder may not be durable yet.
    made: bool,
}

impl AppendFile {
    /// Opens and locks the file; none if it is not there and is not to be made.
    pub(super) fn lock(&self, make: bool) -> Result<Option<Locked>, DeliverError> {
        self.lock_within(self.patience, make)
    }

    /// The same, with another patience.
    pub(super) fn lock_within(
        &self,
        patience: Duration,
        make: bool,
    ) -> Result<Option<Locked>, DeliverError> {
        let deadline = Instant::now() + patience;
        let mut pause = Duration::from_millis(20);
        loop {
            let who = match self.try_lock(make)? {
                Attempt::Absent => return Ok(None),
                Attempt::Locked(locked) => return Ok(Some(*locked)),
                // Somebody has put another file in its place meanwhile.
                Attempt::Replaced => "another program replaces it",
                Attempt::Taken(who) => who,
            };
            if Instant::now() >= deadline {
                return Err(DeliverError::Locked {
                    path: self.path.clone(),
                    who,
                    after: patience,
                });
            }
            std::thread::sleep(pause);
            pause = (2 * pause).min(Duration::from_millis(500));
        }
    }

    fn try_lock(&self, make: bool) -> Result<Attempt, DeliverError> {
        let path = self.resolved()?;
        let parent = parent_of(&path);
        if make && !parent.is_dir() {
            self.owner.run_as(None, || durable::create_dir(parent))??;
        }
        // A link of a user leads to where the user may write, and to nobody else's mailbox.
        let group = self
            .group_for(parent)
            .filter(|_| parent == parent_of(&self.path));
        // Before it is opened as well, which may not be allowed for the very reason.
        if let Ok(metadata) = std::fs::symlink_metadata(&path) {
            self.judge(&metadata, &path)?;
        }
        let opened = self.owner.run_as(group, || open(&path, make, group))??;
        let Some((file, made)) = opened else {
            return Ok(Attempt::Absent);
        };
        let metadata = file.metadata().at("read", &path)?;
        self.judge(&metadata, &path)?;
        if !lock_fcntl(&file).at("lock", &path)? {
            return Ok(Attempt::Taken("a mail program has locked it"));
        }
        let dotlock = match self.form {
            Form::Bsmtp { .. } => None,
            Form::Mbox => match Dotlock::take(&path, &self.owner, group)? {
                Some(dotlock) => Some(dotlock),
                None => return Ok(Attempt::Taken("its lock file is there")),
            },
        };
        // Only now nobody changes it any more.
        let there = match std::fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Attempt::Replaced),
            there => there.at("read", &path)?,
        };
        let metadata = file.metadata().at("read", &path)?;
        if (there.dev(), there.ino()) != (metadata.dev(), metadata.ino()) {
            return Ok(Attempt::Replaced);
        }
        Ok(Attempt::Locked(Box::new(Locked {
            dotlock,
            length: metadata.len(),
            place: place_of(&file).at("read", &path)?,
            // One that is empty may have been made by a run that died.
            made: made || metadata.len() == 0,
            file,
            path,
        })))
    }

    /// Refuses to add to a file of another kind.
    pub(super) fn check_content(&self, locked: &Locked) -> Result<(), DeliverError> {
        if locked.length == 0 || matches!(self.form, Form::Bsmtp { .. }) {
            return Ok(());
        }
        let mut head = [0; mbox::FROM.len()];
        let read = locked.file.read_at(&mut head, 0).at("read", &locked.path)?;
        if head[..read] != *mbox::FROM {
            return Err(DeliverError::NotAnMbox {
                path: locked.path.clone(),
            });
        }
        Ok(())
    }

    /// Follows a link that its user has put there, or root.
    pub(super) fn resolved(&self) -> Result<PathBuf, DeliverError> {
        let mut path = self.path.clone();
        for _ in 0..LINKS {
            let metadata = match std::fs::symlink_metadata(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(path),
                metadata => metadata.at("read", &path)?,
            };
            if !metadata.is_symlink() {
                return Ok(path);
            }
            if metadata.uid() != self.owner.uid && metadata.uid() != 0 {
                return Err(DeliverError::ForeignLink { path });
            }
            let target = std::fs::read_link(&path).at("read", &path)?;
            path = parent_of(&path).join(target);
        }
        Err(io::Error::from(rustix::io::Errno::LOOP)).at("follow the links of", &self.path)?
    }

    /// The group to write with: that of the mail folder, where this is one.
    fn group_for(&self, parent: &Path) -> Option<u32> {
        let folder = std::fs::metadata(parent).ok()?;
        let shared = folder.mode() & 0o020 != 0;
        mail_group().filter(|group| shared && *group == folder.gid())
    }

    fn judge(&self, metadata: &Metadata, path: &Path) -> Result<(), DeliverError> {
        let path = path.to_owned();
        if metadata.is_dir() {
            return Err(DeliverError::IsDirectory { path });
        }
        if !metadata.is_file() {
            return Err(DeliverError::NotAFile { path });
        }
        if metadata.nlink() > 1 {
            return Err(DeliverError::SeveralNames { path });
        }
        if metadata.uid() != self.owner.uid {
            return Err(DeliverError::ForeignOwner {
                path,
                owner: metadata.uid(),
                expected: self.owner.uid,
            });
        }
        Ok(())
    }

    /// Whether a file that is not there could be made.
    pub(super) fn may_create(&self) -> Result<(), DeliverError> {
        let existing = self.path.ancestors().skip(1).find(|path| path.exists());
        let parent = existing.unwrap_or_else(|| Path::new("."));
        if !parent.is_dir() {
            let in_the_way = io::Error::from(io::ErrorKind::NotADirectory);
            return Ok(Err(in_the_way).at("create a file in", parent)?);
        }
        // A link of a user leads to where the user may write, and to nobody else's mailbox.
        let group = self
            .group_for(parent)
            .filter(|_| parent == parent_of(&self.path));
        let may = || {
            rustix::fs::accessat(
                rustix::fs::CWD,
                parent,
                Access::WRITE_OK | Access::EXEC_OK,
                rustix::fs::AtFlags::EACCESS,
            )
        };
        Ok(self
            .owner
            .run_as(group, may)?
            .at("create a file in", parent)?)
    }
}

enum Attempt {
    Absent,
    Locked(Box<Locked>),
    Replaced,
    Taken(&'static str),
}

impl Locked {
    /// Makes durable what was appended.
    pub(super) fn sync(&mut self) -> Result<(), FsError> {
        super::sync(&self.file, &self.path)?;
        if self.made {
            let parent = parent_of(&self.path);
            durable::sync_dir(&File::open(parent).at("open", parent)?, parent)?;
            self.made = false;
        }
        Ok(())
    }

    /// The same for a file that may have been made by a run that died.
    pub(super) fn sync_as_new(&mut self) -> Result<(), FsError> {
        self.made = true;
        self.sync()
    }

    /// Writes over what stands in the file already, so that there is something to sync.
    pub(super) fn write_anew(&self, start: u64, text: &mut dyn Read) -> Result<(), FsError> {
        let mut at = start;
        let mut piece = vec![0; super::PIECE];
        loop {
            let length = read_full(&mut &mut *text, &mut piece).at("read", &self.path)?;
            durable::overwrite(&self.file, at, &piece[..length], &self.path)?;
            at += length as u64;
            if length < piece.len() {
                return Ok(());
            }
        }
    }

    /// Takes off what was appended since the file was this long.
    pub(super) fn cut_back(&mut self, length: u64) -> Result<(), FsError> {
        durable::cut(&self.file, length, &self.path)?;
        super::sync(&self.file, &self.path)?;
        self.length = length;
        Ok(())
    }

    /// Keeps the lock from looking stale.
    pub(super) fn touch(&self) {
        if let Some(dotlock) = &self.dotlock {
            dotlock.touch();
        }
    }
}

/// Opens the file, and says whether it was made; none if it is not there and is not to be made.
fn open(path: &Path, make: bool, group: Option<u32>) -> Result<Option<(File, bool)>, FsError> {
    // A FIFO must not make us wait for whoever reads it.
    let flags =
        OFlags::RDWR | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    loop {
        match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(file) => return Ok(Some((File::from(file), false))),
            Err(rustix::io::Errno::NOENT) if !make => return Ok(None),
            Err(rustix::io::Errno::NOENT) => {}
            Err(error) => return Err(error).at("open", path),
        }
        let mode = Mode::RUSR | Mode::WUSR;
        match rustix::fs::open(path, flags | OFlags::CREATE | OFlags::EXCL, mode) {
            Ok(file) => {
                let file = File::from(file);
                if let Some(group) = group {
                    // Mail programs of the group `mail` are to get at it (Debian Policy §11.6).
                    // Who is not in the group may not give it away, and need not.
                    std::os::unix::fs::fchown(&file, None, Some(group)).ok();
                    // Not for any other group than that.
                    if file.metadata().at("look at", path)?.gid() == group {
                        let mode = std::fs::Permissions::from_mode(0o660);
                        file.set_permissions(mode).at("change the mode of", path)?;
                    }
                }
                return Ok(Some((file, true)));
            }
            // Somebody else was faster.
            Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(error).at("create", path),
        }
    }
}

/// Locks a file as fcntl(2) does, though for this open file and not for the whole process, of
/// which another thread may want the same file; false if somebody else has it.
fn lock_fcntl(file: &File) -> io::Result<bool> {
    #[cfg(target_os = "linux")]
    {
        use nix::fcntl::{FcntlArg, fcntl};
        use nix::libc;

        let whole = libc::flock {
            // Both constants fit; their types differ between platforms.
            l_type: libc::F_WRLCK as libc::c_short,
            l_whence: libc::SEEK_SET as libc::c_short,
            l_start: 0,
            l_len: 0,
            l_pid: 0,
        };
        match fcntl(file, FcntlArg::F_OFD_SETLK(&whole)) {
            Ok(_) => Ok(true),
            Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EACCES) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
    #[cfg(not(target_os = "linux"))]
    match rustix::fs::fcntl_lock(file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::ACCESS) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Refuses what the process may not write: the kernel would end it in the middle (SIGXFSZ).
pub(super) fn check_limit(length: u64, path: &Path) -> Result<(), FsError> {
    match rustix::process::getrlimit(Resource::Fsize).current {
        Some(limit) if length > limit => {
            Err(io::Error::from(rustix::io::Errno::FBIG)).at("write", path)
        }
        _ => Ok(()),
    }
}

pub(super) fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Reads into the buffer as much as there is.
pub(super) fn read_full(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read(&mut buffer[filled..])? {
            0 => break,
            length => filled += length,
        }
    }
    Ok(filled)
}

/// As many links as a kernel follows is more than anybody means.
const LINKS: usize = 8;
