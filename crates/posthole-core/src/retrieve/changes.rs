//! What happens to the text of a message between the network and the disk.
//!
//! The text is changed before it is on disk, so that whatever is made of the file later, also by a
//! run that finds it after a crash, is made of the same octets.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use jiff::tz::TimeZone;

use super::sorter::{Sorted, Sorter};
use crate::message::{Editor, Edits, Received, Recipient};
use crate::plan::{self, Job};

/// What is to happen to all messages of a poll.
pub(super) struct Changes {
    edits: Option<Arc<Edits>>,
    sorter: Option<Sorter>,
}

impl Changes {
    /// What a job wants.
    pub(super) fn of(job: &Job) -> Self {
        let sorter = Sorter::new(job);
        let edits = (!job.edits.is_none() || sorter.is_some()).then(|| Arc::new(edits(job)));
        Self { edits, sorter }
    }

    /// Starts a message, if anything is to happen to it.
    pub(super) fn begin(&self) -> Option<Change> {
        let edits = Arc::clone(self.edits.as_ref()?);
        Some(Change {
            editor: Editor::new(edits, SystemTime::now()),
            sorted: None,
            out: Vec::new(),
        })
    }
}

/// A message that is changed, or sorted.
pub(super) struct Change {
    editor: Editor,
    /// Whom it is for, or why nobody can tell, once its header was seen.
    sorted: Option<Result<Sorted, String>>,
    out: Vec<u8>,
}

impl Change {
    /// Takes text, and returns what is to be written of it so far.
    pub(super) fn push(&mut self, text: &[u8], changes: &mut Changes) -> &[u8] {
        let Self {
            editor,
            sorted,
            out,
        } = self;
        out.clear();
        editor.push(text, out, &mut |header| sort(changes, header, sorted));
        out
    }

    /// Ends the message; returns what is still to be written, and whom it is for where that was
    /// to be found out.
    pub(super) fn finish(
        self,
        changes: &mut Changes,
    ) -> (Vec<u8>, Result<Option<Vec<String>>, String>) {
        let Self {
            editor,
            mut sorted,
            mut out,
        } = self;
        out.clear();
        editor.finish(&mut out, &mut |header| sort(changes, header, &mut sorted));
        let recipients = match sorted {
            None => Ok(None),
            Some(sorted) => sorted.map(|sorted| Some(sorted.recipients)),
        };
        (out, recipients)
    }
}

fn sort(
    changes: &mut Changes,
    header: &[u8],
    sorted: &mut Option<Result<Sorted, String>>,
) -> Option<Recipient> {
    let result = changes.sorter.as_mut()?.sort(header);
    let shown = result.as_ref().ok().and_then(|sorted| sorted.shown.clone());
    *sorted = Some(result);
    shown
}

/// The plan's edits, with what is known of this machine only now.
fn edits(job: &Job) -> Edits {
    let plan::Edits {
        received,
        return_path,
        rewrite,
        status,
        drop_delivered,
        mimedecode,
        strip_cr,
    } = job.edits.clone();
    Edits {
        received: received.map(|trace| Received {
            address: job.server.host.parse::<IpAddr>().ok(),
            from: trace.from,
            by: gethostname::gethostname().to_string_lossy().into_owned(),
            with: "POP3",
            account: trace.account,
            recipient: trace.recipient.map(|address| Recipient {
                address,
                how: "single-drop",
            }),
            zone: TimeZone::system(),
        }),
        return_path,
        qualify: rewrite,
        status,
        drop_delivered,
        decode_mime: mimedecode,
        strip_cr,
    }
}
