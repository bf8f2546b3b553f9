//! From message text to recorded deliveries, on two threads beside the network.
//!
//! ```text
//! network task ──blocks──▶ writer thread ──spooled──▶ committer thread ──outcomes──▶ network task
//!  line ends              files on our disk          made durable, visible and recorded
//! ```
//!
//! So a disk that syncs never holds up the network, and the more messages arrive during one sync,
//! the larger the next batch. A text travels in blocks of what was read at once, whether that is
//! a part of a message or many messages. The queues are bounded: a disk that cannot keep up slows
//! the network down instead of filling memory. A destination that is slow though our disk is not
//! does not: what waits for it waits on disk, and when enough does, no more is asked for
//! ([`Spool::is_behind`]).

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc as thread};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::changes::{Change, Changes};
use crate::deliver::{Delivery, Incoming, Refusal, Settled, Spooled, Staging, finish_lf, to_lf};
use crate::error::Error;
use crate::message::Fingerprinter;
use crate::record::{Identity, IdentityKind, Mailbox, Recorded};
use crate::session::MessageRef;

/// How many messages share the cost of a sync.
///
/// A batch is closed by whichever limit is reached first.
#[derive(Clone, Copy, Debug)]
pub struct BatchLimits {
    /// Messages in a batch. Each holds a file open, and so do half as many that wait for the next.
    pub messages: usize,
    /// Octets in a batch.
    pub octets: u64,
    /// How long a batch waits for more messages while none come.
    pub gather: Duration,
    /// Octets that may wait for a destination that may be slow, besides what is under way.
    pub backlog: u64,
}

impl BatchLimits {
    /// The usual limits, or less where many accounts at once could not have all their files open.
    #[must_use]
    pub fn within(open_files: usize, accounts: usize) -> Self {
        let usual = Self::default();
        // Half as many again wait for the next batch, and some are left for everything else.
        let each = open_files / accounts.max(1) / 2;
        Self {
            messages: usual.messages.min(each).max(1),
            ..usual
        }
    }
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self {
            messages: 256,
            octets: 32 << 20,
            gather: Duration::from_millis(20),
            backlog: 256 << 20,
        }
    }
}

/// What became of messages that were handed over.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It was delivered and recorded in an earlier session; its text gave it away.
    Known(Recorded),
    /// Something a person should know.
    Notice(String),
    /// They are delivered and on record.
    Recorded(Vec<Recorded>),
    /// A destination did not want it, though it works.
    Refused(MessageRef, Refusal),
    /// Nothing more can be delivered.
    Failed(Error),
}

/// The network's end of the pipe.
pub(super) struct Spool {
    blocks: Option<mpsc::Sender<Block>>,
    outcomes: mpsc::UnboundedReceiver<Outcome>,
    used: mpsc::UnboundedReceiver<Block>,
    block: Block,
    held_cr: bool,
    /// Octets that wait for a destination that may be slow.
    backlog: Option<Arc<Backlog>>,
    threads: [JoinHandle<()>; 2],
}

impl Spool {
    /// Starts the threads, which end when the spool is closed or dropped.
    pub(super) fn start(
        delivery: Delivery,
        mailbox: Mailbox,
        limits: BatchLimits,
        changes: Changes,
    ) -> Self {
        let (blocks, blocks_in) = mpsc::channel(BLOCKS_IN_FLIGHT);
        let (used_out, used) = mpsc::unbounded_channel();
        let (outcomes_out, outcomes) = mpsc::unbounded_channel();
        // A disk that is behind slows the network down. A destination that is slow must not: what
        // waits for it waits in closed files, and no more is asked for than there is room.
        let backlog = delivery.may_be_slow().then(|| {
            Arc::new(Backlog {
                octets: AtomicU64::new(0),
                limit: limits.backlog,
            })
        });
        let room = match &backlog {
            None => limits.messages / 2,
            Some(_) => BACKLOG_MESSAGES,
        };
        let (spooled_out, spooled_in) = thread::sync_channel(room);
        let staging = Arc::clone(delivery.staging());
        let writer = Writer {
            staging: Arc::clone(&staging),
            mailbox: mailbox.clone(),
            spooled: spooled_out,
            outcomes: outcomes_out.clone(),
            backlog: backlog.clone(),
            changes,
            current: None,
            digests: HashMap::new(),
        };
        let committer = Committer {
            staging,
            delivery,
            mailbox,
            spooled: spooled_in,
            outcomes: outcomes_out,
            backlog: backlog.clone(),
            limits,
        };
        let threads = [
            tokio::task::spawn_blocking(move || writer.run(blocks_in, &used_out)),
            tokio::task::spawn_blocking(move || committer.run()),
        ];
        Self {
            blocks: Some(blocks),
            outcomes,
            used,
            block: Block::default(),
            held_cr: false,
            backlog,
            threads,
        }
    }

    /// Starts a message; without an identity it is recognised by its text.
    pub(super) fn begin(&mut self, message: MessageRef, identity: Option<Identity>) {
        self.held_cr = false;
        self.block.marks.push(Mark::Begin(message, identity));
    }

    /// Appends to the message.
    pub(super) fn text(&mut self, text: &[u8]) {
        to_lf(text, &mut self.held_cr, &mut self.block.text);
    }

    /// Says that the message is whole.
    pub(super) fn end(&mut self) {
        finish_lf(&mut self.held_cr, &mut self.block.text);
        self.mark_text();
        self.block.marks.push(Mark::End);
    }

    /// Gives up on the message.
    pub(super) fn abort(&mut self) {
        self.mark_text();
        self.block.marks.push(Mark::Abort);
    }

    /// Hands over what has gathered. Waits while the disk is too far behind.
    ///
    /// Must not be dropped half-way: what had gathered would be lost.
    pub(super) async fn flush(&mut self) {
        self.mark_text();
        if self.block.marks.is_empty() {
            return;
        }
        let mut next = self.used.try_recv().unwrap_or_default();
        next.clear();
        let block = std::mem::replace(&mut self.block, next);
        if let Some(blocks) = &self.blocks {
            // A writer that is gone has said why, in an outcome.
            let _gone = blocks.send(block).await;
        }
    }

    /// Whether so much waits for a slow destination that nothing more is to be asked for.
    ///
    /// `messages` is how many were asked for and are not settled yet.
    pub(super) fn is_behind(&self, messages: u64) -> bool {
        self.backlog
            .as_ref()
            .is_some_and(|backlog| messages >= BACKLOG_MESSAGES as u64 || backlog.is_full())
    }

    /// Says that no more messages come, so that what there is is committed at once.
    pub(super) fn close(&mut self) {
        self.blocks = None;
    }

    /// What became of messages; none once the spool is closed and everything is told.
    ///
    /// Safe to drop.
    pub(super) async fn outcome(&mut self) -> Option<Outcome> {
        self.outcomes.recv().await
    }

    /// Waits for the threads to end, and passes on the panic of one.
    pub(super) async fn join(mut self) {
        self.close();
        for thread in self.threads {
            if let Err(error) = thread.await
                && let Ok(panic) = error.try_into_panic()
            {
                std::panic::resume_unwind(panic);
            }
        }
    }

    fn mark_text(&mut self) {
        let end = self.block.text.len();
        let marked = self.block.marks.iter().rev().find_map(|mark| match mark {
            Mark::Text(end) => Some(*end),
            _ => None,
        });
        if end > marked.unwrap_or(0) {
            self.block.marks.push(Mark::Text(end));
        }
    }
}

/// What waits for a destination that may be slow.
struct Backlog {
    octets: AtomicU64,
    limit: u64,
}

impl Backlog {
    fn is_full(&self) -> bool {
        self.octets.load(Ordering::Acquire) >= self.limit
    }
}

/// What was read at once: text, and what it means.
#[derive(Default)]
struct Block {
    text: Vec<u8>,
    marks: Vec<Mark>,
}

impl Block {
    fn clear(&mut self) {
        self.text.clear();
        self.marks.clear();
    }
}

enum Mark {
    Abort,
    Begin(MessageRef, Option<Identity>),
    End,
    /// Text up to here, from the one before, belongs to the message begun last.
    Text(usize),
}

/// Writes messages to files.
struct Writer {
    staging: Arc<Staging>,
    mailbox: Mailbox,
    spooled: thread::SyncSender<Spooled>,
    outcomes: mpsc::UnboundedSender<Outcome>,
    backlog: Option<Arc<Backlog>>,
    changes: Changes,
    current: Option<Current>,
    /// How many messages with the same text there were in this session.
    digests: HashMap<[u8; 32], u32>,
}

struct Current {
    incoming: Incoming,
    message: MessageRef,
    identity: Result<Identity, Sha256>,
    fingerprinter: Fingerprinter,
    /// None where every octet stays as it came, and mail is for whom it always is for.
    change: Option<Change>,
}

impl Current {
    /// Writes what has arrived. The only way of text from the network to the disk.
    fn write(&mut self, text: &[u8], changes: &mut Changes) -> Result<(), Error> {
        if let Err(digest) = &mut self.identity {
            // Of what the server sent, which is the same in every session.
            digest.update(text);
        }
        self.fingerprinter.push(text);
        match &mut self.change {
            None => Ok(self.incoming.write(text)?),
            Some(change) => Ok(self.incoming.write(change.push(text, changes))?),
        }
    }
}

impl Writer {
    fn run(mut self, mut blocks: mpsc::Receiver<Block>, used: &mpsc::UnboundedSender<Block>) {
        while let Some(block) = blocks.blocking_recv() {
            if let Err(error) = self.write(&block) {
                let _nobody_listens = self.outcomes.send(Outcome::Failed(error));
                break;
            }
            // The network may have no use for it any more.
            let _unused = used.send(block);
        }
        self.abort();
    }

    fn write(&mut self, block: &Block) -> Result<(), Error> {
        let mut start = 0;
        for mark in &block.marks {
            match mark {
                Mark::Begin(message, identity) => {
                    self.abort();
                    self.current = Some(Current {
                        change: self.changes.begin(),
                        incoming: self.staging.begin()?,
                        message: *message,
                        identity: identity.clone().ok_or_else(Sha256::new),
                        fingerprinter: Fingerprinter::default(),
                    });
                }
                Mark::Text(end) => {
                    let text = &block.text[start..*end];
                    start = *end;
                    if let Some(current) = &mut self.current {
                        current.write(text, &mut self.changes)?;
                    }
                }
                Mark::End => self.end()?,
                Mark::Abort => self.abort(),
            }
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), Error> {
        let Some(Current {
            mut incoming,
            message,
            identity,
            fingerprinter,
            change,
        }) = self.current.take()
        else {
            return Ok(());
        };
        let mut recipients = None;
        if let Some(change) = change {
            let (rest, found) = change.finish(&mut self.changes);
            incoming.write(&rest)?;
            match found {
                Ok(found) => recipients = found,
                Err(reason) => {
                    self.staging.discard(incoming);
                    let for_good = false;
                    let refusal = Refusal { for_good, reason };
                    let _nobody_listens = self.outcomes.send(Outcome::Refused(message, refusal));
                    return Ok(());
                }
            }
        }
        let mut spooled = match identity {
            Ok(identity) => incoming.finish(identity, message),
            Err(digest) => {
                let spooled = incoming.finish(self.by_text(digest), message);
                if let Some(recorded) = self.mailbox.lookup(&spooled.identity, message)? {
                    // Delivered before; the server could only not tell us so.
                    self.staging.discard_spooled(spooled);
                    let _nobody_listens = self.outcomes.send(Outcome::Known(recorded));
                    return Ok(());
                }
                spooled
            }
        };
        spooled = spooled
            .addressed_to(recipients)
            .known_by(fingerprinter.finish());
        if let Some(backlog) = &self.backlog {
            backlog.octets.fetch_add(spooled.octets, Ordering::AcqRel);
            spooled.close();
        }
        // A committer that is gone has said why, in an outcome.
        if let Err(thread::SendError(spooled)) = self.spooled.send(spooled) {
            self.staging.discard_spooled(spooled);
        }
        Ok(())
    }

    fn by_text(&mut self, digest: Sha256) -> Identity {
        let digest: [u8; 32] = digest.finalize().into();
        let seen = self.digests.entry(digest).or_insert(0);
        let occurrence = *seen;
        *seen += 1;
        Identity {
            kind: IdentityKind::Digest,
            bytes: digest.into(),
            occurrence,
        }
    }

    fn abort(&mut self) {
        if let Some(current) = self.current.take() {
            self.staging.discard(current.incoming);
        }
    }
}

/// Makes batches of messages, and has them delivered and recorded.
struct Committer {
    staging: Arc<Staging>,
    delivery: Delivery,
    mailbox: Mailbox,
    spooled: thread::Receiver<Spooled>,
    outcomes: mpsc::UnboundedSender<Outcome>,
    backlog: Option<Arc<Backlog>>,
    limits: BatchLimits,
}

impl Committer {
    fn run(mut self) {
        while let Ok(first) = self.spooled.recv() {
            let batch = self.gather(first);
            let outcomes = &self.outcomes;
            let backlog = &self.backlog;
            let mut tell = |settled| {
                let (outcome, octets) = match settled {
                    Settled::Notice(text) => (Outcome::Notice(text), 0),
                    Settled::Recorded(recorded) => {
                        let octets = recorded.iter().map(Recorded::octets).sum();
                        (Outcome::Recorded(recorded), octets)
                    }
                    Settled::Refused {
                        message,
                        octets,
                        refusal,
                    } => (Outcome::Refused(message, refusal), octets),
                };
                // Before it is told, or the network would go on waiting for room.
                if let Some(backlog) = backlog {
                    backlog.octets.fetch_sub(octets, Ordering::AcqRel);
                }
                let _nobody_listens = outcomes.send(outcome);
            };
            let delivered = self.delivery.deliver(batch, &self.mailbox, &mut tell);
            if let Err(error) = delivered {
                let _nobody_listens = self.outcomes.send(Outcome::Failed(error));
                break;
            }
        }
        // After a failure nothing more is delivered; the files are of no use.
        while let Ok(spooled) = self.spooled.recv() {
            self.staging.discard_spooled(spooled);
        }
        self.delivery.close();
    }

    fn gather(&self, first: Spooled) -> Vec<Spooled> {
        let deadline = Instant::now() + self.limits.gather;
        let mut octets = first.octets;
        let mut batch = vec![first];
        while batch.len() < self.limits.messages && octets < self.limits.octets {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.spooled.recv_timeout(left) {
                Ok(spooled) => {
                    octets += spooled.octets;
                    batch.push(spooled);
                }
                Err(_timeout_or_closed) => break,
            }
        }
        batch
    }
}

/// How many messages may wait for a slow destination, in the order of a few mebibytes of memory.
pub(crate) const BACKLOG_MESSAGES: usize = 4096;

/// As many as the window of the transfer fills at 32 KiB a block, which is what an SSH packet
/// brings: while the disk is behind, an SSH connection that others share is read nevertheless, up
/// to messages larger than the window.
const BLOCKS_IN_FLIGHT: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_accounts_share_the_files_that_may_be_open() {
        assert_eq!(BatchLimits::within(1 << 20, 16).messages, 256);
        assert_eq!(BatchLimits::within(4096, 16).messages, 128);
        assert_eq!(BatchLimits::within(100, 1000).messages, 1);
        assert_eq!(BatchLimits::within(1024, 0).messages, 256);
    }
}
