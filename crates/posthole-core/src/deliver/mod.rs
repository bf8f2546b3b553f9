//! Where messages go, and the proof that they got there.
//!
//! Whatever the destination, a message is whole on our own disk before the first octet of it goes
//! there. Then it passes these stages, a batch of messages at once:
//!
//! ```text
//! Incoming ─finish→ Spooled ─seal→ Sealed ─Mailbox::intend→ Intended ─publish→ Receipt
//!  on disk, cut      whole on disk   synced     intent synced          visible, synced
//! ```
//!
//! Every type is made by the stage before it only, so a message cannot be published before the
//! records know of it, and nothing can be recorded as delivered that was not published.
//!
//! That is how a Maildir gets its mail, and a file that is appended to: exactly once. A command or
//! a server that takes mail cannot be asked afterwards whether it did. There is no intent then; a
//! message is recorded as soon as it is accepted, and one that was accepted and not recorded goes
//! there twice.

mod append;
mod bsmtp;
mod dispatch;
mod envelope;
mod error;
mod lines;
mod maildir;
mod mda;
mod smtp;
mod staging;
mod user;

pub use error::DeliverError;
pub use mda::MdaError;
pub use smtp::SmtpError;

pub(crate) use dispatch::{Refusal, Settled};
pub(crate) use envelope::{is_address, sender_of};
pub(crate) use lines::{finish_lf, to_lf};
pub(crate) use maildir::Maildir;
pub(crate) use staging::{Incoming, Sealed, Spooled, Staging, tag};
pub(crate) use user::LocalUser;

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use crate::ask::Ask;
use crate::error::{Class, Error};
use crate::message::Fingerprint;
use crate::plan::{BsmtpTo, DeliverTo};
use crate::record::{Identity, IdentityKind, Mailbox, StoredIntent};
use crate::session::MessageRef;
use crate::transport::tls::TrustStores;
use crate::tunnel::Tunnels;
use append::AppendFile;
use dispatch::{Dispatch, Layout};

/// What destinations need besides knowing where the mail goes.
#[derive(Clone)]
pub(crate) struct Means {
    /// The account, for whoever is asked.
    pub(crate) account: String,
    /// Who is asked for passwords.
    pub(crate) ask: Arc<dyn Ask>,
    /// Ends what is not in hand.
    pub(crate) stop: CancellationToken,
    /// Who runs commands that connect to servers.
    pub(crate) tunnels: Arc<Tunnels>,
    /// The certificate authorities that are trusted.
    pub(crate) trust_stores: Arc<TrustStores>,
}

/// Where the messages of an account go, open for delivery.
pub(crate) enum Delivery {
    /// To one or several destinations, from a folder of our own.
    Copied(Dispatch),
    /// To a Maildir and nowhere else: messages are written into it, and moved.
    Moved(Maildir),
}

impl Delivery {
    /// Opens the destinations, when no intent of the mailbox is open and nothing is being
    /// delivered.
    pub(crate) fn open(to: &[DeliverTo], mailbox: &Mailbox, means: &Means) -> Result<Self, Error> {
        // What has got a message in part is remembered, also when the others are taken out.
        if let [DeliverTo::Maildir(root)] = to
            && !mailbox.has_parts()?
        {
            let maildir = Maildir::open(root, mailbox.tag()?)?;
            maildir.prepare()?;
            return Ok(Self::Moved(maildir));
        }
        Ok(Self::Copied(Dispatch::open(to, mailbox, means)?))
    }

    /// Where messages are written first.
    pub(crate) fn staging(&self) -> &Arc<Staging> {
        match self {
            Self::Copied(dispatch) => dispatch.staging(),
            Self::Moved(maildir) => maildir.staging(),
        }
    }

    /// Whether it may take long over a message, however fast our disk is.
    pub(crate) fn may_be_slow(&self) -> bool {
        matches!(self, Self::Copied(_))
    }

    /// Delivers and records messages, and tells what became of them as it is known.
    ///
    /// # Errors
    /// When nothing more can be delivered. What was not told is to be fetched again.
    pub(crate) fn deliver(
        &mut self,
        batch: Vec<Spooled>,
        mailbox: &Mailbox,
        tell: &mut dyn FnMut(Settled),
    ) -> Result<(), Error> {
        match self {
            Self::Copied(dispatch) => dispatch.deliver(batch, mailbox, tell),
            Self::Moved(maildir) => {
                let sealed = maildir.staging().seal(batch)?;
                let intended = mailbox.intend(sealed, maildir.root(), SystemTime::now())?;
                let receipts = maildir.publish(intended)?;
                let recorded = mailbox.delivered(receipts, SystemTime::now())?;
                tell(Settled::Recorded(recorded));
                Ok(())
            }
        }
    }

    /// Says that nothing more comes.
    pub(crate) fn close(self) {
        if let Self::Copied(dispatch) = self {
            dispatch.close();
        }
    }
}

/// Delivers a text of our own, with lines that end in LF; says whether all destinations took it, and
/// gives `notice` what a person should know.
pub(crate) fn post(
    to: &[DeliverTo],
    text: &[u8],
    mailbox: &Mailbox,
    means: &Means,
    notice: &mut dyn FnMut(String),
) -> Result<bool, Error> {
    let mut delivery = Delivery::open(to, mailbox, means)?;
    let mut incoming = delivery.staging().begin()?;
    incoming.write(text)?;
    let identity = Identity {
        kind: IdentityKind::Digest,
        bytes: Box::from(<[u8; 32]>::from(Sha256::digest(text))),
        occurrence: 0,
    };
    let mut taken = Vec::new();
    let delivered = delivery.deliver(
        vec![incoming.finish_own(identity)],
        mailbox,
        &mut |settled| match settled {
            Settled::Notice(text) => notice(text),
            Settled::Recorded(recorded) => taken.extend(recorded),
            Settled::Refused { refusal, .. } => notice(refusal.reason),
        },
    );
    delivery.close();
    delivered?;
    mailbox.forget(&taken, SystemTime::now())?;
    Ok(!taken.is_empty())
}

/// Tries out whether mail could be delivered, and leaves no trace.
pub(crate) fn check(to: &DeliverTo, mailbox: &Mailbox, means: &Means) -> Result<(), Error> {
    match to {
        DeliverTo::Bsmtp(BsmtpTo { path: None, .. }) => Ok(()),
        DeliverTo::Bsmtp(BsmtpTo {
            path: Some(path),
            recipients,
            domain: _,
        }) => Ok(AppendFile::bsmtp(path, recipients)?.check()?),
        DeliverTo::Maildir(root) => Ok(Maildir::check(root, mailbox.tag()?)?),
        DeliverTo::Mbox(to) => Ok(AppendFile::mbox(to)?.check()?),
        DeliverTo::Mda(to) => Ok(mda::Mda::new(to)?.check()?),
        DeliverTo::Smtp(to) => smtp::Smtp::new(to, means).check(),
    }
}

/// Brings to an end what a run that died left unfinished.
///
/// Afterwards every message it had in the air is either on record as delivered or to be fetched
/// again. `is_shared` is whether each message says by itself whom it is for.
pub(crate) fn recover(to: &[DeliverTo], is_shared: bool, mailbox: &Mailbox) -> Result<(), Error> {
    let now = SystemTime::now();
    let mut intents = mailbox.intents()?;
    // Grouped by destination, which may have been another one when the run died.
    while let Some(first) = intents.first() {
        let (place, appended) = (first.destination.clone(), first.offset.is_some());
        let (here, elsewhere) = intents
            .into_iter()
            .partition(|intent| intent.destination == place && intent.offset.is_some() == appended);
        intents = elsewhere;
        let current = to.iter().find(|to| path_of(to) == Some(&place));
        let identities: Vec<_> = here.iter().map(|intent| intent.identity.clone()).collect();
        let recovered = if current.is_none() && !place.exists() {
            // Nobody can tell any more what became of these.
            Err(None)
        } else if appended {
            recover_file(current, &place, here, mailbox).map_err(Some)
        } else {
            let tag = mailbox.tag()?;
            let recovered = Maildir::open(&place, tag).and_then(|it| it.recover(here, now));
            recovered.map_err(|error| Some(error.into()))
        };
        let recovered = match recovered {
            Ok(recovered) => recovered,
            Err(Some(error)) if current.is_some() || error.class() == Class::Temporary => {
                return Err(error);
            }
            // Mail does not go there any more, so that what is wrong with it is no hindrance.
            Err(error) => {
                if let Some(error) = error {
                    let place = place.display();
                    tracing::warn!(
                        "what a run left unfinished in {place} is fetched again: {error}"
                    );
                }
                Recovered {
                    lost: identities,
                    ..Recovered::default()
                }
            }
        };
        settle_recovered(to, is_shared, current, recovered, mailbox, now)?;
    }
    for to in to {
        if let DeliverTo::Mbox(to) = to {
            AppendFile::mbox(to)?.drop_stale_lock();
        }
    }
    // Texts that are delivered, or to be fetched again: nothing is to lie there unread for long.
    if mailbox.staging_dir().is_dir() {
        dispatch::open_staging(mailbox)?.sweep()?;
    }
    Ok(())
}

fn recover_file(
    current: Option<&DeliverTo>,
    path: &Path,
    intents: Vec<StoredIntent>,
    mailbox: &Mailbox,
) -> Result<Recovered, Error> {
    let file = match current {
        Some(DeliverTo::Bsmtp(to)) => AppendFile::bsmtp(path, &to.recipients)?,
        Some(DeliverTo::Mbox(to)) => AppendFile::mbox(to)?,
        _ => AppendFile::mbox_at(path)?,
    };
    let staging = dispatch::open_staging(mailbox)?;
    Ok(file.recover(intents, &staging)?)
}

/// Records what became of intents. A message that has other destinations too is fetched again for
/// their sake.
fn settle_recovered(
    to: &[DeliverTo],
    is_shared: bool,
    current: Option<&DeliverTo>,
    recovered: Recovered,
    mailbox: &Mailbox,
    now: SystemTime,
) -> Result<(), Error> {
    let Recovered { receipts, mut lost } = recovered;
    let layout = Layout::of(to, None);
    let all = layout.names();
    let has_others = match is_shared {
        true => to.len() > 1,
        false => all.len() > 1,
    };
    if !has_others {
        mailbox.settle(receipts, &lost, now)?;
        return Ok(());
    }
    let Some(current) = current else {
        // Where they are, mail does not go any more, and the others may lack them.
        lost.extend(receipts.into_iter().map(|receipt| receipt.identity));
        mailbox.settle(Vec::new(), &lost, now)?;
        return Ok(());
    };
    let here = current.to_string();
    let (mut complete, mut partly) = (Vec::new(), Vec::new());
    for receipt in receipts {
        let got = mailbox.parts(&receipt.identity)?;
        // Whom a message of a shared mailbox is for is not known before it is fetched again.
        if !is_shared && all.iter().all(|unit| *unit == here || got.contains(unit)) {
            complete.push(receipt);
        } else {
            partly.push(receipt);
        }
    }
    let parts: Vec<_> = partly
        .iter()
        .map(|receipt| (&receipt.identity, here.as_str()))
        .collect();
    mailbox.delivered_in_part(&parts, now)?;
    mailbox.settle(complete, &lost, now)?;
    Ok(())
}

/// Tells a file or folder from any other that may take its place, as an intent records it.
///
/// The number of its inode alone is given to the next one, so that its birth counts as well. The
/// device does not, which may get another number when the machine starts again.
fn place_of(file: &File) -> io::Result<u64> {
    use rustix::fs::{AtFlags, StatxFlags, statx};

    let wanted = StatxFlags::INO | StatxFlags::BTIME;
    let found = statx(file, "", AtFlags::EMPTY_PATH, wanted)?;
    let mut digest = Sha256::new();
    digest.update(found.stx_ino.to_le_bytes());
    if StatxFlags::from_bits_retain(found.stx_mask).contains(StatxFlags::BTIME) {
        digest.update(found.stx_btime.tv_sec.to_le_bytes());
        digest.update(found.stx_btime.tv_nsec.to_le_bytes());
    }
    let digest: [u8; 32] = digest.finalize().into();
    let (first, _) = digest.split_first_chunk().unwrap_or((&[0; 8], &[]));
    // It goes into a column of 63 bits and a sign.
    Ok(u64::from_le_bytes(*first) >> 1)
}

/// The path by which intents know a destination.
fn path_of(to: &DeliverTo) -> Option<&Path> {
    match to {
        DeliverTo::Bsmtp(to) => to.path.as_deref(),
        DeliverTo::Maildir(path) => Some(path),
        DeliverTo::Mbox(to) => Some(&to.path),
        DeliverTo::Mda(_) | DeliverTo::Smtp(_) => None,
    }
}

/// What became of the intents of a run that died.
#[derive(Debug, Default)]
pub(crate) struct Recovered {
    /// Messages that are delivered.
    pub(crate) receipts: Vec<Receipt>,
    /// Messages that are to be fetched again, since they are not delivered, or since nobody can
    /// tell: rather twice than never.
    pub(crate) lost: Vec<Identity>,
}

/// The proof that a message is durable at its destination, or at every one if it has several.
///
/// Only destinations make it, and recording the delivery consumes it.
#[derive(Debug)]
#[must_use = "a delivery that is not recorded is repeated"]
pub(crate) struct Receipt {
    pub(crate) identity: Identity,
    pub(crate) message: Option<MessageRef>,
    pub(crate) fingerprint: Option<Fingerprint>,
    pub(crate) octets: u64,
    _made_by_a_destination: private::Seal,
}

impl Receipt {
    /// For a message of a run that died.
    fn of_earlier_run(identity: Identity) -> Self {
        Self {
            identity,
            message: None,
            fingerprint: None,
            octets: 0,
            _made_by_a_destination: private::Seal,
        }
    }
}

mod private {
    /// Keeps [`super::Receipt`] from being made outside this module's children.
    #[derive(Debug)]
    pub(in crate::deliver) struct Seal;
}

#[cfg(test)]
mod tests;
