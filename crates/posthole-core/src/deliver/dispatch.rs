//! From a folder of our own to one or several destinations.
//!
//! All destinations must get a message before it counts as delivered. The hard part is what
//! happens when some have got it and another has not: the message is fetched again, and must not
//! go twice to those that have it. So each of them is remembered for each message, and where a
//! server answers for each recipient by itself, each recipient: such a thing that takes a message
//! or not is called a unit here.

use std::fs::File;
use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

use tokio_util::sync::CancellationToken;

use super::append::AppendFile;
use super::bsmtp::BsmtpOutput;
use super::maildir::Maildir;
use super::mda::Mda;
use super::smtp::Smtp;
use super::staging::{Parcel, Spooled, Staging};
use super::{DeliverError, Means, envelope};
use crate::durable::{self, At};
use crate::error::Error;
use crate::plan::DeliverTo;
use crate::record::{Mailbox, RecordError, Recorded};
use crate::session::MessageRef;

/// What became of messages.
#[derive(Debug)]
pub(crate) enum Settled {
    /// Something a person should know.
    Notice(String),
    /// They are delivered and on record.
    Recorded(Vec<Recorded>),
    /// A destination did not want it, and others did.
    Refused {
        /// The message.
        message: MessageRef,
        /// Its size as it would have been delivered.
        octets: u64,
        /// Why.
        refusal: Refusal,
    },
}

/// Why a destination did not take a message, though it works.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    /// Whether it says that it never will.
    pub(crate) for_good: bool,
    /// Who, and in which words.
    pub(crate) reason: String,
}

/// Destinations that are open for delivery.
pub(crate) struct Dispatch {
    staging: Arc<Staging>,
    to: Vec<DeliverTo>,
    destinations: Vec<Destination>,
    /// For messages that do not say by themselves whom they are for.
    layout: Arc<Layout>,
    stop: CancellationToken,
}

enum Destination {
    BsmtpOutput(BsmtpOutput),
    File(AppendFile),
    Maildir(Maildir),
    Mda(Mda),
    Smtp(Box<Smtp>),
}

/// Everything that takes a message or not, for one message or for all of them.
pub(super) struct Layout {
    /// The names of all units, by which records remember what has got a message.
    names: Vec<String>,
    /// For each destination, which of the units are its own, and whom it is told the mail is for.
    ways: Vec<(Range<usize>, Vec<String>)>,
}

impl Layout {
    /// `found` are the recipients of one message, where each says by itself whom it is for.
    pub(super) fn of(to: &[DeliverTo], found: Option<&[String]>) -> Self {
        let (mut names, mut ways) = (Vec::new(), Vec::with_capacity(to.len()));
        for to in to {
            let start = names.len();
            let recipients = recipients(to, found);
            match to {
                DeliverTo::Smtp(_) => {
                    names.extend(recipients.iter().map(|name| format!("{to} for {name}")));
                }
                // Nobody is to get it, and these would have to be told somebody.
                DeliverTo::Bsmtp(_) | DeliverTo::Mda(_) if recipients.is_empty() => {}
                _ => names.push(to.to_string()),
            }
            ways.push((start..names.len(), recipients));
        }
        Self { names, ways }
    }

    /// The names of all units.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }
}

/// Whom a destination is told that a message is for.
fn recipients(to: &DeliverTo, found: Option<&[String]>) -> Vec<String> {
    let (usual, domain) = match to {
        DeliverTo::Maildir(_) | DeliverTo::Mbox(_) => return Vec::new(),
        DeliverTo::Bsmtp(to) => (&to.recipients, Some(&to.domain)),
        DeliverTo::Mda(to) => (&to.recipients, None),
        DeliverTo::Smtp(to) => (&to.recipients, Some(&to.domain)),
    };
    let Some(found) = found else {
        return usual.clone();
    };
    let mut recipients = Vec::with_capacity(found.len());
    for name in found {
        let recipient = match domain {
            Some(domain) if !name.contains('@') => format!("{name}@{domain}"),
            _ => name.clone(),
        };
        if !recipients.contains(&recipient) {
            recipients.push(recipient);
        }
    }
    recipients
}

/// Opens the folder for messages on their way.
pub(super) fn open_staging(mailbox: &Mailbox) -> Result<Staging, Error> {
    let path = mailbox.staging_dir();
    durable::create_dir(&path).map_err(RecordError::from)?;
    Ok(Staging::open(path, mailbox.tag()?)?)
}

impl Dispatch {
    pub(super) fn open(to: &[DeliverTo], mailbox: &Mailbox, means: &Means) -> Result<Self, Error> {
        let staging = open_staging(mailbox)?;
        staging.sweep()?;
        let destinations = to.iter().map(|to| Destination::open(to, mailbox, means));
        Ok(Self {
            destinations: destinations.collect::<Result<_, _>>()?,
            staging: Arc::new(staging),
            layout: Arc::new(Layout::of(to, None)),
            to: to.to_owned(),
            stop: means.stop.clone(),
        })
    }

    pub(super) fn staging(&self) -> &Arc<Staging> {
        &self.staging
    }

    pub(super) fn deliver(
        &mut self,
        batch: Vec<Spooled>,
        mailbox: &Mailbox,
        tell: &mut dyn FnMut(Settled),
    ) -> Result<(), Error> {
        let Self {
            staging,
            to,
            destinations,
            layout,
            stop,
        } = self;
        // Recovery of a file compares it with what was spooled, which must then be there.
        let synced = destinations
            .iter()
            .any(|destination| matches!(destination, Destination::File(_)));
        let parcels = if synced {
            staging.seal(batch)?.into_parcels()
        } else {
            batch.into_iter().map(Spooled::into_unsynced).collect()
        };
        let mut round = Round {
            staging,
            mailbox,
            to,
            layout,
            stop,
            tell,
            letters: Vec::with_capacity(parcels.len()),
        };
        for parcel in parcels {
            round.add(parcel)?;
        }
        for (way, destination) in destinations.iter_mut().enumerate() {
            destination.deliver(&mut round, way)?;
        }
        round.finish();
        Ok(())
    }

    pub(super) fn close(self) {
        for destination in self.destinations {
            if let Destination::Smtp(smtp) = destination {
                smtp.close();
            }
        }
    }
}

impl Destination {
    fn open(to: &DeliverTo, mailbox: &Mailbox, means: &Means) -> Result<Self, Error> {
        Ok(match to {
            DeliverTo::Bsmtp(to) => match &to.path {
                Some(path) => Self::File(AppendFile::bsmtp(path, &to.recipients)?),
                None => Self::BsmtpOutput(BsmtpOutput),
            },
            DeliverTo::Maildir(root) => {
                let maildir = Maildir::open(root, mailbox.tag()?)?;
                maildir.prepare()?;
                Self::Maildir(maildir)
            }
            DeliverTo::Mbox(to) => Self::File(AppendFile::mbox(to)?),
            DeliverTo::Mda(to) => Self::Mda(Mda::new(to)?),
            DeliverTo::Smtp(to) => Self::Smtp(Box::new(Smtp::new(to, means))),
        })
    }

    fn deliver(&mut self, round: &mut Round<'_>, way: usize) -> Result<(), Error> {
        match self {
            Self::BsmtpOutput(output) => output.deliver(round, way),
            Self::File(file) => file.deliver(round, way),
            Self::Maildir(maildir) => copy_to_maildir(maildir, round, way),
            Self::Mda(mda) => mda.deliver(round, way),
            Self::Smtp(smtp) => smtp.deliver(round, way),
        }
    }
}

fn copy_to_maildir(maildir: &Maildir, round: &mut Round<'_>, way: usize) -> Result<(), Error> {
    let waiting = round.waiting(way);
    if waiting.is_empty() {
        return Ok(());
    }
    let staging = maildir.staging();
    let mut copies = Vec::with_capacity(waiting.len());
    for &idx in &waiting {
        let mut text = round.text(idx)?;
        let mut copy = staging.begin()?;
        if let Err(error) = copy.fill(&mut text) {
            staging.discard(copy);
            return Err(error.into());
        }
        let parcel = round.parcel(idx);
        if let Some(message) = parcel.message() {
            copies.push(copy.finish(parcel.identity.clone(), message));
        }
    }
    let sealed = staging.seal(copies)?;
    let mailbox = round.mailbox();
    let intended = mailbox.intend(sealed, maildir.root(), SystemTime::now())?;
    let receipts = maildir.publish(intended)?;
    // One for each copy; that of the message itself is made when all destinations have it.
    debug_assert_eq!(receipts.len(), waiting.len());
    round.got_all(&waiting, way)
}

/// A batch on its way to all destinations.
pub(super) struct Round<'a> {
    staging: &'a Staging,
    mailbox: &'a Mailbox,
    to: &'a [DeliverTo],
    layout: &'a Arc<Layout>,
    stop: &'a CancellationToken,
    tell: &'a mut dyn FnMut(Settled),
    /// None is one that is delivered and on record.
    letters: Vec<Option<Letter>>,
}

struct Letter {
    parcel: Parcel,
    layout: Arc<Layout>,
    /// Which units have got it.
    got: Vec<bool>,
    refusals: Vec<Refusal>,
    /// The envelope sender, once it was looked for.
    sender: Option<String>,
}

impl<'a> Round<'a> {
    fn add(&mut self, parcel: Parcel) -> Result<(), Error> {
        let found = parcel.recipients();
        let layout = match found {
            None => Arc::clone(self.layout),
            Some(found) => Arc::new(Layout::of(self.to, Some(found))),
        };
        if layout.names.is_empty() {
            self.notice("a message that is for nobody here is dropped".to_owned());
        }
        let mut got = vec![false; layout.names.len()];
        for earlier in self.mailbox.parts(&parcel.identity)? {
            if let Some(unit) = layout.names.iter().position(|unit| *unit == earlier) {
                got[unit] = true;
            }
        }
        let had_all = got.iter().all(|got| *got);
        self.letters.push(Some(Letter {
            parcel,
            layout,
            got,
            refusals: Vec::new(),
            sender: None,
        }));
        if had_all {
            // The destination that it was fetched again for has been taken out since.
            self.record(&[self.letters.len() - 1])?;
        }
        Ok(())
    }

    pub(super) fn mailbox(&self) -> &'a Mailbox {
        self.mailbox
    }

    /// The messages that a destination has not got yet, or not for all.
    pub(super) fn waiting(&self, way: usize) -> Vec<usize> {
        (0..self.letters.len())
            .filter(|&idx| !self.open(idx, way).is_empty())
            .collect()
    }

    /// The units of a destination that have not got a message yet, each with the place of its
    /// recipient among those of the destination.
    pub(super) fn open(&self, idx: usize, way: usize) -> Vec<(usize, usize)> {
        let Some(letter) = &self.letters[idx] else {
            return Vec::new();
        };
        let units = letter.layout.ways[way].0.clone();
        let numbered = units.enumerate().map(|(place, unit)| (unit, place));
        numbered.filter(|&(unit, _)| !letter.got[unit]).collect()
    }

    /// Whom a destination is told that a message is for.
    pub(super) fn recipients(&self, idx: usize, way: usize) -> &[String] {
        &self.letter(idx).layout.ways[way].1
    }

    /// Records that a destination has got messages, which are one unit of its.
    pub(super) fn got_all(&mut self, which: &[usize], way: usize) -> Result<(), Error> {
        let unit = |&idx: &usize| (idx, self.letter(idx).layout.ways[way].0.start);
        let which: Vec<_> = which.iter().map(unit).collect();
        self.got(&which)
    }

    pub(super) fn parcel(&self, idx: usize) -> &Parcel {
        &self.letter(idx).parcel
    }

    /// The text of a message, with lines that end in LF.
    pub(super) fn text(&self, idx: usize) -> Result<File, DeliverError> {
        Ok(self.staging.read(&self.parcel(idx).name)?)
    }

    /// The envelope sender of a message; empty if it has none.
    pub(super) fn sender(&mut self, idx: usize) -> Result<String, DeliverError> {
        if let Some(sender) = &self.letter(idx).sender {
            return Ok(sender.clone());
        }
        let name = &self.parcel(idx).name;
        let sender = envelope::sender(self.staging.read(name)?)
            .at("read", &self.staging.path().join(name))?
            .unwrap_or_default();
        if let Some(letter) = &mut self.letters[idx] {
            letter.sender = Some(sender.clone());
        }
        Ok(sender)
    }

    /// The folder for texts on their way.
    pub(super) fn staging(&self) -> &'a Staging {
        self.staging
    }

    /// Fails when the program is asked to stop, which is looked at between messages.
    pub(super) fn go_on(&self) -> Result<(), Error> {
        if self.stop.is_cancelled() {
            return Err(Error::Stopped);
        }
        Ok(())
    }

    /// The request to stop.
    pub(super) fn stop(&self) -> &CancellationToken {
        self.stop
    }

    pub(super) fn notice(&mut self, text: String) {
        (self.tell)(Settled::Notice(text));
    }

    /// Records that units have got messages.
    pub(super) fn got(&mut self, which: &[(usize, usize)]) -> Result<(), Error> {
        let mut complete = Vec::new();
        for &(idx, unit) in which {
            if let Some(letter) = &mut self.letters[idx] {
                letter.got[unit] = true;
                if letter.got.iter().all(|got| *got) {
                    complete.push(idx);
                }
            }
        }
        let parts: Vec<_> = which
            .iter()
            .filter(|(idx, _)| !complete.contains(idx))
            .map(|&(idx, unit)| {
                let Letter { parcel, layout, .. } = self.letter(idx);
                (&parcel.identity, layout.names[unit].as_str())
            })
            .collect();
        self.mailbox.delivered_in_part(&parts, SystemTime::now())?;
        self.record(&complete)
    }

    /// Takes note that a destination did not take a message. Other destinations get it anyhow.
    pub(super) fn refused(&mut self, idx: usize, refusal: Refusal) {
        if let Some(letter) = &mut self.letters[idx] {
            letter.refusals.push(refusal);
        }
    }

    fn record(&mut self, complete: &[usize]) -> Result<(), Error> {
        if complete.is_empty() {
            return Ok(());
        }
        let mut receipts = Vec::with_capacity(complete.len());
        let mut names = Vec::with_capacity(complete.len());
        for &idx in complete {
            if let Some(Letter { parcel, .. }) = self.letters[idx].take() {
                names.push(parcel.name.clone());
                receipts.push(parcel.arrived());
            }
        }
        let recorded = self.mailbox.delivered(receipts, SystemTime::now())?;
        (self.tell)(Settled::Recorded(recorded));
        for name in names {
            self.staging.remove(&name);
        }
        Ok(())
    }

    /// Tells which messages were refused. Their texts go: they are fetched again another time.
    fn finish(self) {
        for letter in self.letters.into_iter().flatten() {
            let Letter {
                parcel, refusals, ..
            } = letter;
            self.staging.remove(&parcel.name);
            if let Some(message) = parcel.message() {
                (self.tell)(Settled::Refused {
                    message,
                    octets: parcel.octets(),
                    refusal: all_of(&refusals),
                });
            } else {
                let Refusal { reason, .. } = all_of(&refusals);
                let text = format!("a message of our own was not taken: {reason}");
                (self.tell)(Settled::Notice(text));
            }
        }
    }

    fn letter(&self, idx: usize) -> &Letter {
        // INVARIANT: whoever asks has the number from `waiting`, and has not reported
        // the message as got since.
        self.letters[idx]
            .as_ref()
            .expect("a message that is waiting is there")
    }
}

/// The refusals of several units as one.
fn all_of(refusals: &[Refusal]) -> Refusal {
    let reasons: Vec<_> = refusals
        .iter()
        .map(|refusal| refusal.reason.as_str())
        .collect();
    Refusal {
        // One that may change its mind is worth another try soon.
        for_good: refusals.iter().all(|refusal| refusal.for_good),
        reason: reasons.join("; "),
    }
}
