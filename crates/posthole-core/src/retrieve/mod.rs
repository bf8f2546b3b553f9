//! One poll of one account, from the first byte to the confirmed QUIT.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::ask::Ask;
use crate::error::Error;
use crate::plan::Job;
use crate::progress::Observer;
use crate::record::Records;
use crate::tunnel::Tunnels;

/// What polls share: made once for a run, used by every account of it.
#[derive(Clone)]
pub struct Context {
    /// Who is asked for passwords and host keys.
    pub ask: Arc<dyn Ask>,
    /// Who is told what happens.
    pub observer: Arc<dyn Observer>,
    /// The SSH connections.
    pub tunnels: Arc<Tunnels>,
    /// What was fetched before.
    pub records: Records,
    /// Cancelled when the program is asked to stop: polls finish what is in hand and end.
    pub stop: CancellationToken,
}

/// How a poll went: what it achieved, and what ended it early if anything did.
#[derive(Debug)]
pub struct Report {
    /// What was achieved, also by a poll that failed half-way.
    pub summary: Summary,
    /// The error that ended the poll.
    pub error: Option<Error>,
}

/// What a poll achieved.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Messages delivered and recorded.
    pub fetched: u64,
    /// Their size as delivered.
    pub octets: u64,
    /// Messages whose deletion the server confirmed.
    pub deleted: u64,
    /// Messages that are still on the server.
    pub left: u64,
    /// Messages that could not be fetched this time; they are tried again later.
    pub failed: Vec<MessageFailure>,
    /// How long the poll took.
    pub took: Duration,
}

/// A message that could not be fetched.
#[derive(Clone, Debug)]
pub struct MessageFailure {
    /// The message's unique-id, escaped for reading; empty when the server gave none.
    pub uid: String,
    /// Why, in the server's cleaned words or ours.
    pub reason: String,
}

/// What a poll would do.
#[derive(Clone, Debug, Default)]
pub struct Preview {
    /// Messages it would fetch.
    pub fetch: Vec<PreviewEntry>,
    /// Messages it would delete, including those it would fetch first.
    pub delete: Vec<PreviewEntry>,
    /// Messages that would be on the server afterwards.
    pub left: u64,
}

/// One message of a [`Preview`].
#[derive(Clone, Debug)]
pub struct PreviewEntry {
    /// The message's unique-id, escaped for reading; empty when the server gave none.
    pub uid: String,
    /// Octets as the server lists them.
    pub size: u64,
}

/// Polls an account once: fetches what is new, deletes what may go.
pub async fn poll(job: &Job, cx: &Context) -> Report {
    let _ = (job, cx);
    Report { summary: Summary::default(), error: None }
}

/// Looks what [`poll`] would do, without fetching or deleting anything.
pub async fn preview(job: &Job, cx: &Context) -> Result<Preview, Error> {
    let _ = (job, cx);
    Ok(Preview::default())
}

/// Walks every step towards the mailbox and the destination, changing neither.
///
/// Each step is told to the observer as it is done; the first failure ends the walk.
pub async fn check(job: &Job, cx: &Context) -> Result<(), Error> {
    let _ = (job, cx);
    Ok(())
}
