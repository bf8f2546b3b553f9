//! POP3 from the client's side (RFC 1939, with RFC 2449's CAPA, response codes and pipelining,
//! RFC 2595's STLS and RFC 5034's AUTH).
//!
//! [`Client`] turns [`Command`]s into octets and octets into [`Event`]s. It knows which reply
//! belongs to which command however many are in flight, and nothing else: when to send what, how
//! long to wait and what to do about a refusal is the caller's business.

mod apop;
mod capability;
mod command;
mod error;
mod event;
mod queue;
mod replies;
mod response;
mod types;

use core::fmt;

use secrecy::{SecretSlice, SecretString};

pub use self::apop::ApopChallenge;
pub use self::capability::{Capabilities, Expire, LoginDelay};
use self::command::Output;
pub use self::command::{Command, CommandKind};
pub use self::error::{Closed, Error, Limit, Misuse, Violation};
pub use self::event::{Event, Received};
use self::replies::Replies;
pub use self::response::RespCode;
pub use self::types::{Maildrop, MessageNumber, UniqueId};
use crate::sasl;

/// One POP3 session, from the greeting to the reply to QUIT.
///
/// - Commands: [`send`](Self::send) queues one. Any number may be in flight; RFC 2449 §6.6 asks for
///   PIPELINING before there is more than one. AUTH and STLS are always alone. During AUTH,
///   [`respond`](Self::respond) and [`cancel`](Self::cancel) answer an [`Event::Challenge`].
/// - Output: [`output`](Self::output) is to be written to the server, and
///   [`output_written`](Self::output_written) told how much was, before the next octets that
///   arrive are handed in.
/// - Input: [`receive`](Self::receive) and [`end_of_input`](Self::end_of_input).
///
/// ```
/// use posthole_proto::pop3::{Client, Command, Event, Limits};
///
/// let mut client = Client::new(Limits::default());
/// client.receive(b"+OK ready\r\n")?;
/// client.send(Command::Stat)?;
/// assert_eq!(client.output(), b"STAT\r\n");
/// client.output_written(6);
///
/// let received = client.receive(b"+OK 2 320\r\n")?;
/// assert_eq!(received.consumed, 11);
/// let Some(Event::Maildrop(maildrop)) = received.event else { panic!("no maildrop") };
/// assert_eq!((maildrop.count, maildrop.size), (2, 320));
/// # Ok::<(), posthole_proto::pop3::Error>(())
/// ```
///
/// # Staying in step
///
/// A reply that nobody waits for makes every later one doubtful. So input that is left over after
/// the last reply due is a [`Violation`], and then that reply is not reported either; and a
/// command counts as answered only by octets that came after it was written. A caller who does
/// not pipeline makes this guard complete by handing in whatever has arrived before it sends.
///
/// After STLS is answered by [`Event::Ok`], everything else comes and goes through TLS; there is no
/// second greeting. Whatever had arrived in the clear by then, in the same piece of input, is a
/// [`Violation`]. What the server said of itself before is not to be believed any more (RFC 2595
/// §4); the client holds nothing of it.
///
/// After an error nothing is sent any more, not even QUIT: what was queued is dropped, further
/// commands go nowhere, and every call for input returns the same error.
pub struct Client {
    output: Output,
    replies: Replies,
    quitting: bool,
    failed: Option<Error>,
}

impl Client {
    /// Makes a client that waits for the greeting.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            output: Output::default(),
            replies: Replies::new(limits),
            quitting: false,
            failed: None,
        }
    }

    /// Queues a command.
    ///
    /// Commands queued before the greeting wait for it, so that no password goes to a server that
    /// is none of POP3. Only what may be alone in flight depends on the server's answers: AUTH and
    /// STLS need all others answered, and others need these answered.
    pub fn send(&mut self, command: Command) -> Result<(), Misuse> {
        let kind = command.kind();
        if self.quitting {
            return Err(Misuse::AfterQuit { command: kind });
        }
        command.check()?;
        if self.failed.is_some() || self.replies.is_over() {
            self.quitting = kind == CommandKind::Quit;
            return Ok(());
        }
        if let Some(other) = self.replies.queue().front()
            && (kind.is_alone() || other.is_alone())
        {
            let command = kind;
            return Err(Misuse::NotAlone { command, other });
        }
        self.quitting = kind == CommandKind::Quit;
        match &command {
            Command::Apop { digest, .. } => self.replies.conceal_mut().response(digest.clone()),
            Command::Auth {
                initial: Some(initial),
                ..
            } => {
                let encoded = sasl::base64(initial);
                self.replies.conceal_mut().response(encoded.as_str().into());
            }
            Command::Pass(password) => self.conceal(password),
            _ => {}
        }
        self.output.push(&command);
        self.replies.queue_mut().push(kind);
        Ok(())
    }

    /// Queues the response to a challenge.
    ///
    /// It may be of any length (RFC 5034 §4).
    pub fn respond(&mut self, response: &SecretSlice<u8>) -> Result<(), Misuse> {
        let encoded = sasl::base64(response);
        self.push_response(&encoded)?;
        self.replies.conceal_mut().response(encoded.as_str().into());
        Ok(())
    }

    /// Queues the `*` that cancels the exchange; the server answers AUTH with a refusal.
    pub fn cancel(&mut self) -> Result<(), Misuse> {
        self.push_response("*")
    }

    fn push_response(&mut self, encoded: &str) -> Result<(), Misuse> {
        if self.failed.is_some() {
            return Ok(());
        }
        if !self.replies.queue().is_challenged() {
            return Err(Misuse::NoChallenge);
        }
        self.output.push_response(encoded);
        self.replies.queue_mut().responded();
        Ok(())
    }

    /// Remembers a password so as not to show it when the server repeats it; PASS does so itself.
    pub fn conceal(&mut self, password: &SecretString) {
        self.replies.conceal_mut().password(password.clone());
    }

    /// How many replies are due; the greeting is one of them.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.replies.queue().len()
    }

    /// Whether the server has been asked something that it has not answered yet.
    #[must_use]
    pub fn awaits_reply(&self) -> bool {
        self.replies.queue().front_sent().is_some()
    }

    /// What is to be written to the server.
    #[must_use]
    pub fn output(&self) -> &[u8] {
        let greeting_due = self.replies.queue().front() == Some(CommandKind::Connect);
        if greeting_due || self.replies.is_over() {
            &[]
        } else {
            self.output.pending()
        }
    }

    /// Takes note that the first `count` octets of the output were written, and forgets them.
    ///
    /// A count beyond the output stands for all of it.
    pub fn output_written(&mut self, count: usize) {
        let written = &self.output()[..count.min(self.output().len())];
        // Arguments have no line breaks, so there is one in each command.
        let commands = memchr::memchr_iter(b'\n', written).count();
        let count = written.len();
        self.output.written(count);
        self.replies.queue_mut().sent(commands);
    }

    /// Takes one step through octets from the server.
    ///
    /// Call it again with the rest until everything is consumed and there is no event. It makes
    /// progress: it consumes something, or there is an event, or the input is empty.
    pub fn receive<'a>(&'a mut self, input: &'a [u8]) -> Result<Received<'a>, Error> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        match self.replies.next(input) {
            Ok(received) => Ok(received),
            Err(error) => {
                self.output.clear();
                self.failed = Some(error.clone());
                Err(error)
            }
        }
    }

    /// Takes note that the server closed the connection, and says whether it may do that.
    ///
    /// It may after the reply to QUIT, and after a greeting that is a refusal.
    pub fn end_of_input(&mut self) -> Result<(), Error> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        self.replies.end_of_input().map_err(|closed| {
            self.output.clear();
            self.failed.insert(closed.into()).clone()
        })
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("output", &self.output)
            .field("in_flight", &self.in_flight())
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}

/// How much is taken from a server before it is called mad.
///
/// The client itself holds at most one line; the others bound what its caller collects.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// How many capability lines are taken. They are all kept: at worst this many times
    /// [`list_line`](Self::list_line), three times that if nothing of it is UTF-8.
    pub capability_lines: usize,
    /// How much of a challenge is kept, in its encoded form. At worst the client holds one, and
    /// three quarters of it decoded; Kerberos has the largest, some 1,000 octets.
    pub challenge_line: usize,
    /// How much of a line of CAPA, LIST or UIDL is kept. At worst the client holds one; RFC 1939
    /// has unique-ids of up to 70 octets, and some servers many more.
    pub list_line: usize,
    /// How many entries of a listing are taken. The client keeps none of them; at worst its caller
    /// keeps this many unique-ids.
    pub listing_entries: u64,
    /// How much of a status line is kept. At worst the client holds one; RFC 2449 §4 has 512
    /// octets.
    pub status_line: usize,
    /// How long a line may be before it is given up on. What is not kept of it is thrown away, so
    /// this bounds the wait, not the memory. Lines of messages may have any length.
    pub unended_line: usize,
}

impl Default for Limits {
    /// At worst 512 KiB of capabilities and a listing of four million messages.
    fn default() -> Self {
        Self {
            capability_lines: 256,
            challenge_line: 16 * 1024,
            list_line: 2048,
            listing_entries: 4_000_000,
            status_line: 2048,
            unended_line: 1 << 20,
        }
    }
}
