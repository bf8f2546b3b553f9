//! Where messages go, and the proof that they got there.
//!
//! A message passes four stages, and a batch of messages passes the last three together:
//!
//! ```text
//! Incoming ─finish→ Spooled ─seal→ Sealed ─Mailbox::intend→ Intended ─publish→ Receipt
//!  on disk, cut      whole on disk   synced     intent synced          in new/, synced
//! ```
//!
//! Every type is made by the stage before it only, so a message cannot be published before the
//! records know of it, and nothing can be recorded as delivered that was not published.

mod error;
mod lines;
mod maildir;
mod staging;

pub use error::DeliverError;
pub(crate) use lines::{finish_lf, to_lf};
pub(crate) use maildir::Maildir;
pub(crate) use staging::{Incoming, Parcel, Sealed, Spooled, Staging, tag};

use std::sync::Arc;
use std::time::SystemTime;

use crate::error::Error;
use crate::plan::DeliverTo;
use crate::record::{Identity, Mailbox, Recorded};
use crate::session::MessageRef;

/// The destination of an account, open for delivery.
#[derive(Debug)]
pub(crate) enum Destination {
    /// A Maildir.
    Maildir(Maildir),
}

impl Destination {
    /// Opens a destination, when no intent of the mailbox is open and nothing is being delivered.
    pub(crate) fn open(to: &DeliverTo, mailbox: &Mailbox) -> Result<Self, Error> {
        match to {
            DeliverTo::Maildir(root) => {
                let maildir = Maildir::open(root, mailbox.tag()?)?;
                maildir.prepare()?;
                Ok(Self::Maildir(maildir))
            }
        }
    }

    /// Tries out whether mail could be delivered, and leaves no trace.
    pub(crate) fn check(to: &DeliverTo, mailbox: &Mailbox) -> Result<(), Error> {
        match to {
            DeliverTo::Maildir(root) => Ok(Maildir::check(root, mailbox.tag()?)?),
        }
    }

    /// Where messages are written first.
    pub(crate) fn staging(&self) -> &Arc<Staging> {
        match self {
            Self::Maildir(maildir) => maildir.staging(),
        }
    }

    /// Makes messages durable, visible and recorded, in that order.
    pub(crate) fn deliver(
        &self,
        batch: Vec<Spooled>,
        mailbox: &Mailbox,
    ) -> Result<Vec<Recorded>, Error> {
        match self {
            Self::Maildir(maildir) => {
                let sealed = maildir.staging().seal(batch)?;
                let intended = mailbox.intend(sealed, maildir.root(), SystemTime::now())?;
                let receipts = maildir.publish(intended)?;
                Ok(mailbox.delivered(receipts, SystemTime::now())?)
            }
        }
    }
}

/// Brings to an end what a run that died left unfinished.
///
/// Afterwards every message it had in the air is either on record as delivered or to be fetched
/// again.
pub(crate) fn recover(to: &DeliverTo, mailbox: &Mailbox) -> Result<(), Error> {
    let DeliverTo::Maildir(current) = to;
    let now = SystemTime::now();
    let mut intents = mailbox.intents()?;
    // Grouped by destination, which may have been another one when the run died.
    while let Some(first) = intents.first() {
        let root = first.destination.clone();
        let (here, elsewhere) = intents
            .into_iter()
            .partition(|intent| intent.destination == root);
        intents = elsewhere;
        if root != *current && !root.exists() {
            // Nobody can tell any more what became of these.
            let lost = Vec::from_iter(here.into_iter().map(|intent| intent.identity));
            mailbox.settle(Vec::new(), &lost, now)?;
            continue;
        }
        let recovered = Maildir::open(&root, mailbox.tag()?)?.recover(here, now)?;
        mailbox.settle(recovered.receipts, &recovered.lost, now)?;
    }
    Ok(())
}

/// What became of the intents of a run that died.
#[derive(Debug, Default)]
pub(crate) struct Recovered {
    /// Messages that are delivered.
    pub(crate) receipts: Vec<Receipt>,
    /// Messages nobody can tell about, which are fetched again: rather twice than never.
    pub(crate) lost: Vec<Identity>,
}

/// The proof that a message is durable at its destination.
///
/// Only a destination makes it, and recording the delivery consumes it.
#[derive(Debug)]
#[must_use = "a delivery that is not recorded is repeated"]
pub(crate) struct Receipt {
    pub(crate) identity: Identity,
    pub(crate) message: Option<MessageRef>,
    pub(crate) octets: u64,
    _made_by_a_destination: private::Seal,
}

mod private {
    /// Keeps [`super::Receipt`] from being made outside this module's children.
    #[derive(Debug)]
    pub(in crate::deliver) struct Seal;
}
