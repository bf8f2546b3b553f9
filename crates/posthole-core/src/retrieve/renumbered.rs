//! A server that calls every message by a new name, as one does that was moved or repaired.
//!
//! To believe it would mean to fetch the whole mailbox again. So the headers of what is listed are
//! compared with what is known of the messages that are missing. Where that cannot be, and there
//! are many, it is left to a person to say whether the mailbox is another one.

use super::filter::{self, SIDE_BY_SIDE};
use super::{Context, blocking};
use crate::error::Error;
use crate::message::{Fingerprint, Fingerprinter};
use crate::plan::{Job, Keep};
use crate::policy::{Decisions, Strangers};
use crate::record::{Identity, Mailbox};
use crate::retrieve::entry::Entered;
use crate::session::SessionError;

/// Records, and the messages of the listing that they are about.
pub(super) type Names = Vec<(Identity, u32)>;

/// Recognises messages, and takes them out of what is to be fetched.
///
/// Nothing is written: the names are for [`Mailbox::rename`].
pub(super) async fn recognise(
    job: &Job,
    cx: &Context,
    mailbox: &Mailbox,
    entered: &mut Entered,
    strangers: Strangers,
    decisions: &mut Decisions,
) -> Result<Names, Error> {
    if job.select.fetch_all {
        return Ok(Names::new());
    }
    let Strangers { recorded, unmarked } = strangers;
    let (marks, shows_headers) = if unmarked < recorded {
        fingerprints(cx, entered, &decisions.fetch).await?
    } else {
        (Vec::new(), false)
    };
    let (records, listing) = (mailbox.clone(), std::sync::Arc::clone(&entered.listing));
    let names = blocking(move || records.recognise(&listing, marks)).await?;
    let known = std::collections::HashSet::<u32>::from_iter(names.iter().map(|(_, idx)| *idx));
    decisions.fetch.retain(|idx| !known.contains(idx));

    let unknown = if shows_headers { unmarked } else { recorded };
    let new = decisions.fetch.len();
    // Where mail is deleted once it is fetched, little is left on the server to be fetched twice.
    if job.keep != Keep::Never && unknown >= MANY && new >= MANY {
        return Err(SessionError::Renumbered { recorded, new }.into());
    }
    Ok(names)
}

/// What messages can be recognised by, and whether the server shows their headers at all.
async fn fingerprints(
    cx: &Context,
    entered: &mut Entered,
    messages: &[u32],
) -> Result<(Vec<(Fingerprint, u32)>, bool), Error> {
    let ahead = if entered.pipelined { SIDE_BY_SIDE } else { 1 };
    let mut marks = Vec::new();
    for some in messages.chunks(SIDE_BY_SIDE) {
        let (session, listing) = (&mut entered.session, &entered.listing);
        let headers = tokio::select! {
            headers = filter::headers(session, listing, some, ahead) => headers.map_err(|broken| broken.error)?,
            () = cx.stop.cancelled() => return Err(Error::Stopped),
        };
        for (message, header) in headers {
            let Ok(header) = header else {
                return Ok((marks, false));
            };
            let mut taker = Fingerprinter::default();
            taker.push(&header);
            marks.extend(taker.finish().map(|mark| (mark, message.idx)));
        }
    }
    Ok((marks, true))
}

/// So many messages twice are a nuisance; fewer are less than a poll that stops.
const MANY: usize = 20;
