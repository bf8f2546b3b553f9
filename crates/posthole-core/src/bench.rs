//! What the benchmarks run, kept here so that nothing need be public for their sake.
//!
//! Each function is one stage of a poll for a whole mailbox or batch, made of what a real poll is
//! made of, and the types between them show nothing of what they hold. It is not part of the API.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use crate::deliver::{self, Maildir, Receipt, Sealed};
use crate::error::Error;
use crate::plan::{Keep, Select};
use crate::policy::{self, Rules, Standings};
use crate::record::{Identity, IdentityKind, Intended, Mailbox, Records, StoredIntent};
use crate::session::{Listing, Login, Method, Privacy, Session};
use crate::transport::BoxStream;

/// A mailbox as its server lists it.
pub struct Listed(Listing);

/// A listing compared with the records.
pub struct Compared(Standings);

/// Logs in on a stream on which all answers are ready, and lists the mailbox.
pub async fn list(answers: BoxStream) -> Result<Listed, Error> {
    let mut session = Session::new(answers, "bench", Duration::from_secs(60));
    session.greeting().await?;
    let login = Login {
        user: "bench",
        secret: "secret".into(),
        host: "localhost",
        port: 110,
        privacy: &Privacy::Private,
        offers_plus: false,
    };
    let listing = session
        .log_in_and_list(Method::UserPass, &login, || {})
        .await?;
    Ok(Listed(listing))
}

/// Decides what to do, and returns how many messages are to be fetched.
#[must_use]
pub fn decide(listed: &Listed, compared: &Compared, now: SystemTime) -> usize {
    let rules = Rules {
        keep: Keep::For(Duration::from_secs(30 * 24 * 60 * 60)),
        select: Select::default(),
        before: None,
    };
    let decisions = policy::decide(&listed.0, &compared.0, rules, now);
    decisions.fetch.len()
}

/// Appends a text to `out` as a Maildir keeps it.
pub fn to_lf<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, out: &mut Vec<u8>) {
    let mut held_cr = false;
    for piece in pieces {
        deliver::to_lf(piece, &mut held_cr, out);
    }
    deliver::finish_lf(&mut held_cr, out);
}

/// A Maildir and its records.
pub struct Home {
    maildir: Maildir,
    mailbox: Mailbox,
    delivered: AtomicU32,
}

/// A batch that is durable in `tmp/`.
pub struct InTmp(Sealed);

/// A batch whose delivery is intended on record.
pub struct OnRecord(Intended<Sealed>);

/// A batch that is durable in `new/`.
pub struct InNew(Vec<Receipt>);

impl Home {
    /// Makes a Maildir and its records in an empty directory.
    pub fn create(directory: &Path) -> Result<Self, Error> {
        let mailbox = Records::open(&directory.join("state"))?.mailbox("bench")?;
        Ok(Self {
            maildir: Maildir::open(&directory.join("Mail"), mailbox.tag()?)?,
            mailbox,
            delivered: AtomicU32::new(0),
        })
    }

    /// Records all messages of a listing as delivered, without delivering any.
    pub fn assume_delivered(&self, listed: &Listed, now: SystemTime) -> Result<(), Error> {
        let place = self.maildir.staging().place()?;
        let intents = (0..listed.0.len_u32())
            .map(|idx| StoredIntent {
                identity: identity(listed.0.uid(idx)),
                destination: self.maildir.root().to_owned(),
                // As if a run had died between the move and the record of it.
                name: format!("moved-{idx}"),
                place,
                at: now,
                offset: None,
            })
            .collect();
        let recovered = self.maildir.recover(intents, now)?;
        self.mailbox.delivered(recovered.receipts, now)?;
        Ok(())
    }

    /// Compares a listing with the records.
    pub fn compare(&self, listed: &Listed, now: SystemTime) -> Result<Compared, Error> {
        Ok(Compared(self.mailbox.standings(&listed.0, now)?))
    }

    /// Writes a batch to `tmp/` and syncs it.
    pub fn spool(&self, texts: &[Vec<u8>]) -> Result<InTmp, Error> {
        let spool = |text: &Vec<u8>| {
            let number = self.delivered.fetch_add(1, Ordering::Relaxed);
            let message = crate::session::MessageRef {
                idx: number,
                number: std::num::NonZeroU32::MIN.saturating_add(number).into(),
            };
            let mut incoming = self.maildir.staging().begin()?;
            incoming.write(text)?;
            Ok(incoming.finish(
                identity(format!("{number:08x}65f2c1d4").as_bytes()),
                message,
            ))
        };
        let spooled = texts.iter().map(spool).collect::<Result<Vec<_>, Error>>()?;
        Ok(InTmp(self.maildir.staging().seal(spooled)?))
    }

    /// Records that a batch is about to be moved.
    pub fn intend(&self, batch: InTmp, now: SystemTime) -> Result<OnRecord, Error> {
        let intended = self.mailbox.intend(batch.0, self.maildir.root(), now)?;
        Ok(OnRecord(intended))
    }

    /// Moves a batch to `new/` and syncs that.
    pub fn publish(&self, batch: OnRecord) -> Result<InNew, Error> {
        Ok(InNew(self.maildir.publish(batch.0)?))
    }

    /// Records that a batch is delivered, and returns how many messages that were.
    pub fn settle(&self, batch: InNew, now: SystemTime) -> Result<usize, Error> {
        Ok(self.mailbox.delivered(batch.0, now)?.len())
    }
}

fn identity(uid: &[u8]) -> Identity {
    Identity {
        kind: IdentityKind::UniqueId,
        bytes: uid.into(),
        occurrence: 0,
    }
}
