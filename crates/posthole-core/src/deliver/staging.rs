//! Where a message is written before anybody sees it.
//!
//! No destination gets the first octet of a message before the whole of it is on our own disk.
//! For a Maildir that place is its `tmp/`, from where a message is moved; for all others it is a
//! folder of the state directory, from where it is copied. Files are named so that what a run that
//! died has left behind is known for ours.
//!
//! All work goes through a handle of the folder, opened without following links, so that swapping
//! it for a link later leads nowhere else.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, Mode, OFlags};
use sha2::{Digest, Sha256};

use super::{DeliverError, Receipt, private};
use crate::durable::{self, At, FsError};
use crate::message::Fingerprint;
use crate::record::{Identity, Intention};
use crate::session::MessageRef;

/// A folder for messages that are on their way.
#[derive(Debug)]
pub(crate) struct Staging {
    directory: File,
    path: PathBuf,
    tag: String,
    host: String,
    begun: AtomicU64,
}

impl Staging {
    /// Opens the folder, which must be there.
    ///
    /// `tag` is in the name of every file, and marks those that are ours to clean up. It is the
    /// same for every run of one mailbox with one set of records, and for nobody else.
    pub(crate) fn open(path: PathBuf, tag: String) -> Result<Self, DeliverError> {
        Ok(Self {
            directory: open_directory(&path)?,
            path,
            tag,
            host: host_for_name(&gethostname::gethostname().to_string_lossy()),
            begun: AtomicU64::new(0),
        })
    }

    /// The folder's path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A handle of the folder.
    pub(crate) fn directory(&self) -> &File {
        &self.directory
    }

    /// Starts a message, in a file that only its owner may read (maildir(5) for the name).
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
        let path = self.path.join(&name);
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let file =
            rustix::fs::openat(&self.directory, name.as_str(), flags, mode).at("create", &path)?;
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

    /// Makes messages durable in the folder.
    ///
    /// When that fails their files are removed: after a failed sync nobody knows what they hold.
    pub(crate) fn seal(&self, messages: Vec<Spooled>) -> Result<Sealed, DeliverError> {
        let mut files = Vec::with_capacity(messages.len());
        let mut parcels = Vec::with_capacity(messages.len());
        for spooled in messages {
            let (file, parcel) = spooled.into_parcel();
            // One that waited for long was closed meanwhile.
            let file = file.map_or_else(|| self.read(&parcel.name), Ok);
            files.push(file.map(|file| (file, self.path.join(&parcel.name))));
            parcels.push(parcel);
        }
        let files: Result<Vec<_>, _> = files.into_iter().collect();
        let synced = files
            .and_then(|files| durable::sync_files(&files))
            .and_then(|()| durable::sync_dir(&self.directory, &self.path));
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

    /// Identifies the folder, so that another one in its place is noticed.
    pub(crate) fn place(&self) -> Result<u64, DeliverError> {
        Ok(super::place_of(&self.directory).at("read", &self.path)?)
    }

    /// Opens a message for reading, from its beginning.
    pub(crate) fn read(&self, name: &str) -> Result<File, FsError> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.directory, name, flags, Mode::empty())
            .at("read", &self.path.join(name))?;
        Ok(File::from(file))
    }

    /// Whether there is a file of this name.
    pub(crate) fn holds(&self, name: &str) -> Result<bool, FsError> {
        exists(&self.directory, name).at("read", &self.path.join(name))
    }

    /// Removes what runs left here that died before they put their intent on record.
    ///
    /// Only for when no intent is open and nothing is being delivered.
    pub(crate) fn sweep(&self) -> Result<(), DeliverError> {
        let mark = format!("_{}.", self.tag);
        for entry in rustix::fs::Dir::read_from(&self.directory).at("read", &self.path)? {
            let entry = entry.at("read", &self.path)?;
            if let Ok(name) = entry.file_name().to_str()
                && name.contains(&mark)
            {
                self.remove(name);
            }
        }
        Ok(())
    }

    /// Removes a file. A failure leaves a file that the next run removes.
    pub(crate) fn remove(&self, name: &str) {
        if let Err(error) = rustix::fs::unlinkat(&self.directory, name, AtFlags::empty()) {
            tracing::debug!(name, %error, "a file is left in {}", self.path.display());
        }
    }
}

/// A message whose text is arriving.
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

    /// Appends all of a text.
    pub(super) fn fill(&mut self, text: &mut File) -> Result<(), DeliverError> {
        self.octets += io::copy(text, &mut self.file).at("write", &self.path)?;
        Ok(())
    }

    /// Says that the text is whole.
    pub(crate) fn finish(self, identity: Identity, message: MessageRef) -> Spooled {
        self.finish_as(identity, Some(message))
    }

    /// The same of a text of our own.
    pub(super) fn finish_own(self, identity: Identity) -> Spooled {
        self.finish_as(identity, None)
    }

    fn finish_as(self, identity: Identity, message: Option<MessageRef>) -> Spooled {
        let Self {
            file,
            path: _,
            name,
            octets,
        } = self;
        Spooled {
            identity,
            message,
            recipients: None,
            fingerprint: None,
            file: Some(file),
            name,
            octets,
        }
    }
}

/// A message that is whole on our disk, though not yet durable.
#[derive(Debug)]
pub(crate) struct Spooled {
    pub(crate) identity: Identity,
    message: Option<MessageRef>,
    recipients: Option<Vec<String>>,
    fingerprint: Option<Fingerprint>,
    file: Option<File>,
    name: String,
    pub(crate) octets: u64,
}

impl Spooled {
    /// Says whom it is for, where that was found out for it alone.
    pub(crate) fn addressed_to(mut self, recipients: Option<Vec<String>>) -> Self {
        self.recipients = recipients;
        self
    }

    /// Says what it can be recognised by.
    pub(crate) fn known_by(mut self, fingerprint: Option<Fingerprint>) -> Self {
        self.fingerprint = fingerprint;
        self
    }

    /// Closes the file, since many may wait for a slow destination.
    pub(crate) fn close(&mut self) {
        self.file = None;
    }

    /// Closes the file, for a destination that need not have it synced first.
    pub(super) fn into_unsynced(self) -> Parcel {
        self.into_parcel().1
    }

    fn into_parcel(self) -> (Option<File>, Parcel) {
        let Self {
            identity,
            message,
            recipients,
            fingerprint,
            file,
            name,
            octets,
        } = self;
        let parcel = Parcel {
            identity,
            name,
            recipients,
            fingerprint,
            message,
            octets,
        };
        (file, parcel)
    }
}

/// Messages that are durable on our disk, ready for their intent to be recorded.
#[derive(Debug)]
pub(crate) struct Sealed {
    parcels: Vec<Parcel>,
    place: u64,
}

impl Intention for Sealed {
    fn place(&self) -> u64 {
        self.place
    }

    fn messages(&self) -> impl Iterator<Item = (&Identity, &str, Option<u64>)> {
        self.parcels
            .iter()
            .map(|parcel| (&parcel.identity, parcel.name.as_str(), None))
    }
}

impl Sealed {
    pub(super) fn into_parcels(self) -> Vec<Parcel> {
        self.parcels
    }
}

/// One message on its way from the staging folder to a destination.
#[derive(Debug)]
pub(crate) struct Parcel {
    pub(crate) identity: Identity,
    pub(crate) name: String,
    message: Option<MessageRef>,
    recipients: Option<Vec<String>>,
    fingerprint: Option<Fingerprint>,
    octets: u64,
}

impl Parcel {
    /// The message in the session it was fetched in; none for a text of our own.
    pub(super) fn message(&self) -> Option<MessageRef> {
        self.message
    }

    /// Whom it is for, where that was found out for it alone.
    pub(super) fn recipients(&self) -> Option<&[String]> {
        self.recipients.as_deref()
    }

    /// Its size as delivered.
    pub(super) fn octets(&self) -> u64 {
        self.octets
    }

    /// Says that it is durable at its destination, at every one if there are several.
    pub(super) fn arrived(self) -> Receipt {
        Receipt {
            identity: self.identity,
            message: self.message,
            fingerprint: self.fingerprint,
            octets: self.octets,
            _made_by_a_destination: private::Seal,
        }
    }
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

/// Opens a directory that is one, and not a link to one.
pub(super) fn open_directory(path: &Path) -> Result<File, DeliverError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(directory) => Ok(File::from(directory)),
        Err(rustix::io::Errno::LOOP | rustix::io::Errno::NOTDIR) => {
            Err(DeliverError::NotADirectory {
                path: path.to_owned(),
            })
        }
        Err(error) => Err(io::Error::from(error)).at("open", path)?,
    }
}

/// Whether a directory has an entry of this name, whatever that is.
pub(super) fn exists(directory: &File, name: &str) -> rustix::io::Result<bool> {
    match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Ok(true),
        Err(rustix::io::Errno::NOENT) => Ok(false),
        Err(error) => Err(error),
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_message_is_for_its_owner_only_from_the_first_moment() {
        let directory = tempfile::TempDir::new().unwrap();
        let staging = Staging::open(directory.path().to_owned(), "phtag".to_owned()).unwrap();
        let incoming = staging.begin().unwrap();
        let mode = std::fs::metadata(&incoming.path).unwrap().permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
    }

    #[test]
    fn only_our_own_leftovers_are_removed() {
        let directory = tempfile::TempDir::new().unwrap();
        let staging = Staging::open(directory.path().to_owned(), "phtag".to_owned()).unwrap();
        let (ours, other) = ("1.M2P3Q4_phtag.host", "1.M2P3Q4_phother.host");
        for name in [ours, other] {
            std::fs::write(directory.path().join(name), "text").unwrap();
        }
        staging.sweep().unwrap();
        assert!(!staging.holds(ours).unwrap());
        assert!(staging.holds(other).unwrap());
    }

    #[test]
    fn a_host_name_cannot_break_the_file_name() {
        assert_eq!(host_for_name("a/b:c"), "a\\057b\\072c");
        assert_eq!(host_for_name(""), "localhost");
    }
}
