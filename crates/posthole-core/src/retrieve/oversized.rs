//! Mail of our own about messages that are too large to be fetched: fetchmail's `warnings`.

use std::fmt::Write;
use std::time::{Duration, SystemTime};

use jiff::tz::TimeZone;

use super::{Context, Summary, blocking, is_over, means};
use crate::deliver;
use crate::error::Error;
use crate::message::date;
use crate::plan::{DeliverTo, Job};
use crate::progress::Event;

/// Tells whoever gets the account's mail what a poll has left on the server, or deleted there,
/// because of its size: by mail, and about what stays there not again before `every` has passed.
///
/// `server` and `user` are what the account is called in the text. Says whether there was a mail.
///
/// # Errors
/// When there is nowhere to deliver it, or the records cannot be read or written.
pub async fn warn_of_oversized(
    job: &Job,
    cx: &Context,
    summary: &Summary,
    (server, user): (&str, &str),
    every: Duration,
) -> Result<bool, Error> {
    let mut sizes: Vec<_> = [&summary.too_large, &summary.discarded]
        .into_iter()
        .flatten()
        .map(|entry| entry.size)
        .collect();
    sizes.sort_unstable();
    let is_news = !summary.discarded.is_empty();
    let text = warning(job, &sizes, job.select.limit_flush, server, user);
    let (records, job, means) = (cx.records.clone(), job.clone(), means(job, cx));
    let (observer, account) = (cx.observer.clone(), job.account.clone());
    blocking(move || {
        let mailbox = records.mailbox(&job.mailbox)?;
        let mut memory = mailbox.server()?;
        let now = SystemTime::now();
        let is_due = match memory.warned_at {
            Some(last) => is_news || is_over(last, every, now),
            None => true,
        };
        if sizes.is_empty() {
            if memory.warned_at.take().is_some() {
                mailbox.remember_server(&memory)?;
            }
            return Ok(false);
        }
        let mut notice = |text| observer.event(&account, &Event::Notice(text));
        let taken =
            is_due && deliver::post(&job.deliver, text.as_bytes(), &mailbox, &means, &mut notice)?;
        if taken {
            memory.warned_at = Some(now);
            mailbox.remember_server(&memory)?;
        }
        Ok::<_, Error>(taken)
    })
    .await
}

/// The mail, with LF line ends; the words are fetchmail's, which somebody may look for.
fn warning(job: &Job, sizes: &[u64], deleted: bool, server: &str, user: &str) -> String {
    let to = job.deliver.iter().find_map(|to| match to {
        DeliverTo::Bsmtp(to) => to.recipients.first(),
        DeliverTo::Mda(to) => to.recipients.first(),
        DeliverTo::Smtp(to) => to.recipients.first(),
        DeliverTo::Maildir(_) | DeliverTo::Mbox(_) => None,
    });
    let to = to.map_or("postmaster", String::as_str);
    let host = gethostname::gethostname().to_string_lossy().into_owned();
    let date = date(SystemTime::now(), &TimeZone::system());
    let (fate, done) = match deleted {
        true => ("were deleted", "deleted"),
        false => ("remain", "skipped"),
    };
    let mut text = format!(
        "From: FETCHMAIL-DAEMON@{host}\nTo: {to}\nSubject: Fetchmail oversized-messages warning\n\
         Date: {date}\nAuto-Submitted: auto-generated\nMIME-Version: 1.0\n\
         Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n\
         The following oversized messages {fate} on server {server} account {user}:\n\n"
    );
    for same in sizes.chunk_by(|one, other| one == other) {
        let s = if same.len() == 1 { " " } else { "s" };
        let (count, size) = (same.len(), same[0]);
        writeln!(
            text,
            "  {count} message{s} {size} octets long {done} by fetchmail."
        )
        .ok();
    }
    text.push_str("\n-- \nThe Fetchmail Daemon\n");
    text
}
