//! A POP3 session over a stream: the driver around the sans-IO client, and the opening commands.
//!
//! [`Session`] moves octets between the stream and [`posthole_proto::pop3::Client`], reading and
//! writing at the same time so that two full pipes cannot wait for each other. The opening is
//! here, one command at a time or in one flight; what is asked of an open session is the business
//! of [`crate::retrieve`].
//!
//! Deletion is guarded by types: [`Session::dele`] takes a [`Recorded`], and only the server's
//! answer to QUIT makes a [`Committed`].

mod doubt;
mod error;
mod exchange;
#[cfg(feature = "gssapi")]
mod gssapi;
mod listing;
mod login;
mod method;
mod opening;
mod pace;
mod stls;

pub(crate) use doubt::Doubt;
pub use doubt::Doubts;
pub use error::SessionError;
pub(crate) use exchange::{respond, start};
pub(crate) use listing::{Listing, ListingBuilder, MessageRef};
pub(crate) use login::{LoggedIn, Login};
pub use method::NoMethod;
pub(crate) use method::{Circumstances, Method, Privacy, methods};
pub use posthole_proto::pop3::RespCode;
pub(crate) use stls::Stls;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pace::Pace;
use posthole_proto::pop3::{self, ApopChallenge, Client, Command, Event, Limits};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::record::Recorded;
use crate::transport::BoxStream;

/// A POP3 session.
pub(crate) struct Session {
    stream: BoxStream,
    client: Client,
    input: Box<[u8]>,
    unread: std::ops::Range<usize>,
    /// The challenge in the greeting, if it had one that is safe to answer.
    apop: Option<ApopChallenge>,
    /// Whether something that was written may still be on this side of the stream.
    flushing: bool,
    /// The longest wait without any progress.
    timeout: Duration,
    doubt: Doubt,
    pace: Pace,
    /// For the traced dialogue.
    account: String,
    /// Messages whose DELE was sent, in the order of the answers.
    deleting: VecDeque<Recorded>,
    deleted: Vec<Recorded>,
}

impl Session {
    pub(crate) fn new(stream: BoxStream, account: &str, timeout: Duration) -> Self {
        Self {
            stream,
            client: Client::new(Limits::default()),
            input: vec![0; INPUT_SIZE].into_boxed_slice(),
            unread: 0..0,
            apop: None,
            flushing: false,
            timeout,
            doubt: Doubt::default(),
            pace: Pace::default(),
            account: account.to_owned(),
            deleting: VecDeque::new(),
            deleted: Vec::new(),
        }
    }

    /// Has the session end early if its connection is found to be dead.
    pub(crate) fn doubting(self, doubt: Doubt) -> Self {
        Self { doubt, ..self }
    }

    /// Changes the longest wait without any progress.
    pub(crate) fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// Queues the request for a message. It is written by the next [`Session::exchange`].
    pub(crate) fn retr(&mut self, message: MessageRef) -> Result<(), SessionError> {
        self.send(Command::Retr(message.number))
    }

    /// Queues the request for a message's header.
    pub(crate) fn top(&mut self, message: MessageRef) -> Result<(), SessionError> {
        self.send(Command::Top(message.number, 0))
    }

    /// Queues a sign of life, for a server that would take silence for our end.
    pub(crate) fn noop(&mut self) -> Result<(), SessionError> {
        self.send(Command::Noop)
    }

    /// Queues a command. Not for others: nobody else may send DELE or QUIT.
    fn send(&mut self, command: Command) -> Result<(), SessionError> {
        tracing::debug!(target: "posthole::pop3", account = self.account, "C: {command}");
        Ok(self.client.send(command).map_err(pop3::Error::from)?)
    }

    /// Queues the deletion of a message that is delivered and on record.
    pub(crate) fn dele(&mut self, recorded: Recorded) -> Result<(), SessionError> {
        // A record of a message that is not in this session has nothing to delete here.
        if let Some(message) = recorded.message() {
            self.send(Command::Dele(message.number))?;
            self.deleting.push_back(recorded);
        }
        Ok(())
    }

    /// Takes note of the server's answer to the oldest [`Session::dele`].
    ///
    /// The messages it took are not gone before QUIT is answered (RFC 1939 §6). Those it refused
    /// stay on record, so that a later session asks again.
    pub(crate) fn dele_answered(&mut self, accepted: bool) {
        let recorded = self.deleting.pop_front();
        self.deleted.extend(recorded.filter(|_| accepted));
    }

    /// How many messages are gone once QUIT is answered.
    pub(crate) fn asked_to_delete(&self) -> usize {
        self.deleted.len()
    }

    /// How many commands await their answer.
    pub(crate) fn in_flight(&self) -> usize {
        self.client.in_flight()
    }

    /// Writes what is queued and reads once; returns when something was read.
    ///
    /// Safe to drop: nothing that was read or written is forgotten.
    pub(crate) async fn exchange(&mut self) -> Result<(), SessionError> {
        let (timeout, in_flight) = (self.timeout, self.client.in_flight());
        let begun = Instant::now();
        let confirmed = self.doubt.clone().confirmed();
        let heard = async {
            tokio::select! {
                biased;
                result = poll_fn(|cx| self.poll_exchange(cx)) => result,
                after = confirmed => Err(SessionError::Asleep { after }),
            }
        };
        // Not one of the branches: a stream that always has something, such as records of TLS that
        // carry nothing for us, uses up what a task may do at a time, and a timer would never be
        // looked at.
        match tokio::time::timeout(timeout, heard).await {
            Ok(result) => result?,
            Err(_elapsed) => return Err(SessionError::TimedOut { after: timeout }),
        }
        self.doubt.dispel();
        let (waited, octets) = (begun.elapsed(), self.unread.len());
        match self.pace.note(waited, octets, in_flight, timeout) {
            Some((octets, within)) => Err(SessionError::TooSlow { octets, within }),
            None => Ok(()),
        }
    }

    /// The next event in what was read, if it is whole.
    pub(crate) fn event(&mut self) -> Result<Option<Event<'_>>, SessionError> {
        let input = &self.input[self.unread.clone()];
        let received = self.client.receive(input)?;
        self.unread.start += received.consumed;
        if let Some(event) = &received.event {
            trace(&self.account, event);
        }
        Ok(received.event)
    }

    /// Whether everything that was read has been turned into events.
    pub(crate) fn is_drained(&self) -> bool {
        self.unread.is_empty()
    }

    /// Sends one command and waits for its answer, all lines of it.
    async fn ask(
        &mut self,
        command: Command,
        mut hear: impl FnMut(Event<'_>) -> Result<(), SessionError>,
    ) -> Result<(), SessionError> {
        self.send(command)?;
        self.hear_all(&mut hear).await
    }

    /// Waits until every command in flight is answered.
    async fn hear_all(
        &mut self,
        hear: &mut impl FnMut(Event<'_>) -> Result<(), SessionError>,
    ) -> Result<(), SessionError> {
        loop {
            while !self.is_drained() {
                if let Some(event) = self.event()? {
                    hear(event)?;
                }
            }
            if self.client.in_flight() == 0 {
                return Ok(());
            }
            self.exchange().await?;
        }
    }

    /// Ends the session, which makes the deletions real.
    ///
    /// The server deletes when it answers QUIT. Without that answer nobody knows, and the next
    /// session finds out.
    pub(crate) async fn quit(mut self) -> Result<Committed, SessionError> {
        let mut refused = None;
        self.ask(Command::Quit, |event| {
            if let Event::Rejected { code, text, .. } = event {
                refused = Some(SessionError::rejected("QUIT", code, text));
            }
            Ok(())
        })
        .await?;
        match refused {
            Some(error) => Err(error),
            None => Ok(Committed {
                deleted: self.deleted,
            }),
        }
    }

    /// Hands the stream to somebody else, who takes the session from where it is.
    ///
    /// Nothing may be in flight, and nothing may have come that was not asked for.
    pub(crate) fn into_stream(self) -> Result<BoxStream, SessionError> {
        if !self.is_drained() || self.in_flight() > 0 {
            let early = io::Error::new(
                io::ErrorKind::InvalidData,
                "the server said more than it was asked",
            );
            return Err(SessionError::Lost(early));
        }
        Ok(self.stream)
    }

    fn poll_exchange(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SessionError>> {
        if !self.client.awaits_reply() && !self.client.output().is_empty() {
            // What is here before anything was asked answers nothing, least of all what is asked
            // next.
            if let Poll::Ready(read) = self.poll_read(cx) {
                return Poll::Ready(read);
            }
        }
        while !self.client.output().is_empty() {
            let write = Pin::new(&mut self.stream).poll_write(cx, self.client.output());
            match write.map_err(SessionError::lost)? {
                Poll::Ready(0) => {
                    let error = io::ErrorKind::WriteZero.into();
                    return Poll::Ready(Err(SessionError::Lost(error)));
                }
                Poll::Ready(n) => self.client.output_written(n),
                // Reading goes on meanwhile; the stream wakes us for either.
                Poll::Pending => break,
            }
            self.flushing = true;
        }
        if self.flushing {
            // What a flush cannot finish now goes out with a later poll: TLS holds on to what the
            // connection does not take.
            let flush = Pin::new(&mut self.stream).poll_flush(cx);
            self.flushing = flush.map_err(SessionError::lost)?.is_pending();
        }
        self.poll_read(cx)
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SessionError>> {
        let mut buffer = ReadBuf::new(&mut self.input);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))
            .map_err(SessionError::lost)?;
        self.unread = 0..buffer.filled().len();
        if self.unread.is_empty() {
            self.client.end_of_input()?;
            // A server may close after its answer to QUIT; nothing is asked of it then.
            return Poll::Ready(Err(SessionError::Lost(io::ErrorKind::UnexpectedEof.into())));
        }
        Poll::Ready(Ok(()))
    }
}

/// The proof that the server confirmed QUIT, and with it the deletions of the session.
#[derive(Debug)]
#[must_use]
pub(crate) struct Committed {
    deleted: Vec<Recorded>,
}

impl Committed {
    /// How many messages were deleted.
    pub(crate) fn count(&self) -> usize {
        self.deleted.len()
    }

    pub(crate) fn into_deleted(self) -> Vec<Recorded> {
        self.deleted
    }
}

/// Shows an answer in the traced dialogue; of long answers the first line only.
fn trace(account: &str, event: &Event<'_>) {
    let line = match event {
        Event::Challenge { octets: None } => "+ (not base64)".to_owned(),
        Event::Challenge {
            octets: Some(octets),
        } => format!("+ (a challenge of {} octets)", octets.len()),
        Event::Capabilities(capabilities) => capabilities.lines().join(", "),
        Event::End { command } => format!(". (end of {command})"),
        Event::Greeting { text } | Event::Ok { text, .. } => format!("+OK {text}"),
        Event::MalformedListing { line, .. } => format!("{line} (malformed)"),
        Event::Maildrop(maildrop) => format!("+OK {} {}", maildrop.count, maildrop.size),
        Event::Rejected { text, .. } => format!("-ERR {text}"),
        Event::Body(_) | Event::ScanListing { .. } | Event::UniqueIdListing { .. } => return,
    };
    tracing::debug!(target: "posthole::pop3", account, "S: {line}");
}

/// Room for two of the largest packets that OpenSSH's sshd sends.
const INPUT_SIZE: usize = 64 * 1024;

/// What the table in the manual is compared with.
#[cfg(test)]
pub(crate) mod limits {
    pub(crate) use super::listing::{MAX_MESSAGES, MAX_UIDS};
    pub(crate) use super::pace::{LEAST, PERIOD};
}

#[cfg(test)]
mod tests;
