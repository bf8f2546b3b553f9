//! Files that messages are appended to, each exactly once: mbox, and batches of SMTP commands.
//!
//! An append is not atomic: after a crash there may be nothing of a message in the file, or a part
//! of it, or all. So it is on record first where each message begins, and what would be there can
//! be made again, octet by octet, from the text in the staging folder and the time on record.
//! [`recover`] compares.
//!
//! Only what is ours is ever cut off again. The file is locked meanwhile as Debian has mail
//! programs lock it ([`place`]), for others write to it too.

mod bsmtp;
mod dotlock;
mod mbox;
mod place;
mod recover;

pub(super) use bsmtp::Batch;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::DeliverError;
use super::dispatch::Round;
use super::user::LocalUser;
use crate::durable::{self, At, FsError};
use crate::error::Error;
use crate::plan::MboxTo;
use crate::record::{Identity, Intention};
use place::Locked;

/// A file that messages are appended to.
#[derive(Debug)]
pub(super) struct AppendFile {
    path: PathBuf,
    form: Form,
    owner: LocalUser,
    /// How long others may keep it locked.
    patience: Duration,
}

/// What the file is made of.
#[derive(Debug)]
enum Form {
    /// With those whom messages are for that do not say so by themselves.
    Bsmtp {
        recipients: Vec<String>,
    },
    Mbox,
}

impl AppendFile {
    /// An mbox.
    pub(super) fn mbox(to: &MboxTo) -> Result<Self, DeliverError> {
        let owner = LocalUser::find(to.owner.as_deref())?;
        Ok(Self::new(&to.path, Form::Mbox, owner))
    }

    /// An mbox of our own, of which the plan does not speak any more.
    pub(super) fn mbox_at(path: &Path) -> Result<Self, DeliverError> {
        Ok(Self::new(path, Form::Mbox, LocalUser::find(None)?))
    }

    /// A batch of SMTP commands.
    pub(super) fn bsmtp(path: &Path, recipients: &[String]) -> Result<Self, DeliverError> {
        let recipients = recipients.to_owned();
        Ok(Self::new(
            path,
            Form::Bsmtp { recipients },
            LocalUser::find(None)?,
        ))
    }

    fn new(path: &Path, form: Form, owner: LocalUser) -> Self {
        Self {
            path: path.to_owned(),
            form,
            owner,
            patience: LOCK_PATIENCE,
        }
    }

    /// Appends what waits for this file, all of it or nothing.
    pub(super) fn deliver(&self, round: &mut Round<'_>, way: usize) -> Result<(), Error> {
        let waiting = round.waiting(way);
        if waiting.is_empty() {
            return Ok(());
        }
        // In whole seconds, as it will be on record.
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let at = UNIX_EPOCH + Duration::from_secs(now.as_secs());
        let mut envelopes = Vec::with_capacity(waiting.len());
        for &idx in &waiting {
            let sender = round.sender(idx)?;
            let recipients = round.recipients(idx, way).to_owned();
            envelopes.push((sender, recipients));
        }
        let mut locked = self.wait_for_lock(round)?;
        self.check_content(&locked)?;

        let layout = self.lay_out(&locked, &waiting, &envelopes, at, round)?;
        let intended = round.mailbox().intend(layout, &self.path, at)?;
        let Layout { entries, .. } = intended.into_inner();
        let start = locked.length;
        let appended = self.append(&mut locked, &waiting, &envelopes, at, round);
        if let Err(error) = appended {
            if locked.cut_back(start).is_ok() {
                // Nothing of it is there, so there is nothing to recover.
                let lost: Vec<_> = entries.into_iter().map(|entry| entry.identity).collect();
                round.mailbox().settle(Vec::new(), &lost, at)?;
            }
            return Err(error.into());
        }
        // Still locked: until it is on record, nobody is to move a message elsewhere.
        round.got_all(&waiting, way)?;
        drop(locked);
        Ok(())
    }

    /// Removes the lock file of a run that died, for which mail programs would wait.
    pub(super) fn drop_stale_lock(&self) {
        if self.resolved().is_ok_and(|path| dotlock::is_there(&path)) {
            // Taking the lock takes that one over. Where it is somebody's, it stays.
            drop(self.lock_within(Duration::ZERO, false));
        }
    }

    /// Locks the file, which others may be at, and tells a person if it takes long.
    fn wait_for_lock(&self, round: &mut Round<'_>) -> Result<Locked, Error> {
        let deadline = Instant::now() + self.patience;
        let mut told = false;
        loop {
            match self.lock_within(self.patience.min(A_MOMENT), true) {
                // INVARIANT: only a call that is not to make the file finds none.
                Ok(locked) => return Ok(locked.expect("the file was made")),
                Err(DeliverError::Locked { path, who, .. }) => {
                    if Instant::now() >= deadline {
                        return Err(DeliverError::Locked {
                            path,
                            who,
                            after: self.patience,
                        }
                        .into());
                    }
                    if !std::mem::replace(&mut told, true) {
                        round.notice(format!("waiting for {}: {who}", path.display()));
                    }
                }
                Err(error) => return Err(error.into()),
            }
            round.go_on()?;
        }
    }

    /// Works out where each message will begin.
    fn lay_out(
        &self,
        locked: &Locked,
        waiting: &[usize],
        envelopes: &[(String, Vec<String>)],
        at: SystemTime,
        round: &Round<'_>,
    ) -> Result<Layout, DeliverError> {
        let mut layout = Layout {
            place: locked.place,
            entries: Vec::with_capacity(waiting.len()),
        };
        let mut end = locked.length;
        let mut lead = self.lead(&locked.file, end, &locked.path)?;
        for (&idx, (sender, recipients)) in waiting.iter().zip(envelopes) {
            let mut text = self.render(round.text(idx)?, sender, recipients, at, lead);
            let length = io::copy(&mut text, &mut io::sink()).at("read", &self.path)?;
            let parcel = round.parcel(idx);
            layout.entries.push(Entry {
                identity: parcel.identity.clone(),
                name: parcel.name.clone(),
                offset: end,
            });
            end += length;
            lead = b"";
        }
        place::check_limit(end, &locked.path)?;
        Ok(layout)
    }

    fn append(
        &self,
        locked: &mut Locked,
        waiting: &[usize],
        envelopes: &[(String, Vec<String>)],
        at: SystemTime,
        round: &Round<'_>,
    ) -> Result<(), DeliverError> {
        let mut lead = self.lead(&locked.file, locked.length, &locked.path)?;
        let mut buffer = vec![0; PIECE];
        let mut filled = 0;
        let mut touched = Instant::now();
        for (&idx, (sender, recipients)) in waiting.iter().zip(envelopes) {
            let mut text = self.render(round.text(idx)?, sender, recipients, at, lead);
            loop {
                let length = text.read(&mut buffer[filled..]).at("read", &self.path)?;
                filled += length;
                if length == 0 {
                    break;
                }
                if filled == buffer.len() {
                    durable::append(&locked.file, &buffer, &locked.path)?;
                    filled = 0;
                }
                if touched.elapsed() >= TOUCH_EVERY {
                    locked.touch();
                    touched = Instant::now();
                }
            }
            lead = b"";
        }
        durable::append(&locked.file, &buffer[..filled], &locked.path)?;
        locked.sync()?;
        Ok(())
    }

    /// What must stand between the last octets of the file and a message.
    fn lead(&self, file: &File, end: u64, path: &Path) -> Result<&'static [u8], FsError> {
        match self.form {
            Form::Bsmtp { .. } => Ok(b""),
            Form::Mbox => mbox::lead(file, end).at("read", path),
        }
    }

    /// A message as it stands in the file.
    fn render(
        &self,
        text: File,
        sender: &str,
        recipients: &[String],
        at: SystemTime,
        lead: &'static [u8],
    ) -> Box<dyn Read> {
        match &self.form {
            Form::Bsmtp { .. } => Box::new(Batch::new(text, sender, recipients)),
            Form::Mbox => Box::new(mbox::Quoted::new(text, sender, at, lead)),
        }
    }

    /// Tries out whether mail could be delivered, and leaves no trace.
    pub(super) fn check(&self) -> Result<(), DeliverError> {
        let patience = self.patience.min(CHECK_PATIENCE);
        match self.lock_within(patience, false)? {
            Some(locked) => self.check_content(&locked),
            None => self.may_create(),
        }
    }
}

/// Messages with the places where they will begin.
struct Layout {
    place: u64,
    entries: Vec<Entry>,
}

struct Entry {
    identity: Identity,
    name: String,
    offset: u64,
}

impl Intention for Layout {
    fn place(&self) -> u64 {
        self.place
    }

    fn messages(&self) -> impl Iterator<Item = (&Identity, &str, Option<u64>)> {
        self.entries
            .iter()
            .map(|entry| (&entry.identity, entry.name.as_str(), Some(entry.offset)))
    }
}

/// Syncs a file that was appended to.
fn sync(file: &File, path: &Path) -> Result<(), FsError> {
    let file = file.try_clone().at("sync", path)?;
    durable::sync_files(&[(file, path.to_owned())])
}

/// How much is written at once.
const PIECE: usize = 64 << 10;

/// A mail program that rewrites a large mbox takes a while.
const LOCK_PATIENCE: Duration = Duration::from_secs(30);

/// The same when somebody waits for the answer.
const CHECK_PATIENCE: Duration = Duration::from_secs(5);

/// A wait that is not worth a word, nor too long for who asks to stop.
const A_MOMENT: Duration = Duration::from_secs(1);

/// How often a dot lock is made young again, which others take for stale after five minutes.
const TOUCH_EVERY: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
