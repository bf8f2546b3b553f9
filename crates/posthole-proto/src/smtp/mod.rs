//! SMTP (RFC 5321) and LMTP (RFC 2033), the client's side, with any number of commands in flight.
//!
//! [`Client`] is a queue of commands that await their replies. The hard parts are to match replies
//! to commands, of which LMTP sends one for each recipient after the text, and to write a text so
//! that no server sees its end where it is not: see [`text`].
//!
//! What is sent when, and what a refusal means for a message, is the caller's business, as are the
//! stream and its TLS, time limits, and who answers the challenges of a login ([`crate::sasl`]).
//!
//! ```
//! use posthole_proto::smtp::{Client, Command, CommandKind, Event, Limits, Protocol};
//!
//! let mut client = Client::new(Protocol::Smtp, Limits::default());
//! client.send(Command::Ehlo("client.example".into()))?;
//! // Nothing is sent before the greeting.
//! assert_eq!(client.output(), b"");
//! let received = client.receive(b"220 mail.example ESMTP\r\n")?;
//! assert!(matches!(received.event, Some(Event::Reply { to: CommandKind::Connect, .. })));
//! assert_eq!(client.output(), b"EHLO client.example\r\n");
//! # Ok::<(), posthole_proto::smtp::Error>(())
//! ```

mod command;
mod error;
mod extension;
mod reply;
pub mod text;

pub use command::{Command, CommandKind, MailParameters};
pub use error::{Closed, Error, Limit, Misuse, Violation};
pub use extension::Extensions;
pub use reply::{Limits, Reply};

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;

use secrecy::zeroize::{Zeroize, Zeroizing};
use secrecy::{SecretSlice, SecretString};

use crate::sasl;
use reply::ReplyReader;
use text::TextEncoder;

/// What is spoken with a server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Protocol {
    /// LMTP: LHLO, and one reply for each recipient after the text.
    Lmtp,
    /// SMTP.
    Smtp,
}

/// The client's side of a session.
///
/// - Commands: [`send`](Self::send), and for the text [`text`](Self::text) and
///   [`end_text`](Self::end_text) once DATA was answered with 354.
/// - Outputs: [`output`](Self::output), to be confirmed with
///   [`output_written`](Self::output_written).
/// - Inputs: [`receive`](Self::receive), called until everything is consumed and there is no
///   event, and [`end_of_input`](Self::end_of_input).
///
/// After an error the place in the conversation is lost: commands go nowhere, and every call for
/// input returns the same error.
pub struct Client {
    protocol: Protocol,
    /// A password may be among it.
    output: Zeroizing<Vec<u8>>,
    replies: ReplyReader,
    awaiting: VecDeque<CommandKind>,
    /// Recipients that were accepted since MAIL.
    accepted: usize,
    /// Whether DATA was answered with 354.
    may_send_text: bool,
    /// Whether a challenge waits for its response.
    challenged: bool,
    text: Option<TextEncoder>,
    quitting: bool,
    failed: Option<Error>,
}

/// What a step through the input yielded.
#[derive(Debug)]
pub struct Received {
    /// How much of the input is done with.
    pub consumed: usize,
    /// What happened, if anything.
    pub event: Option<Event>,
}

/// Something the server said.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event {
    /// The answer to a command.
    Reply {
        /// Which.
        to: CommandKind,
        /// The answer.
        reply: Reply,
    },
    /// The server said something though nothing was asked: it closes the connection (421), or it
    /// has enough of a text that is still being sent.
    Unasked(Reply),
}

impl Client {
    /// Makes a client that waits for the greeting.
    #[must_use]
    pub fn new(protocol: Protocol, limits: Limits) -> Self {
        Self {
            protocol,
            output: Zeroizing::default(),
            replies: ReplyReader::new(limits),
            awaiting: VecDeque::from([CommandKind::Connect]),
            accepted: 0,
            may_send_text: false,
            challenged: false,
            text: None,
            quitting: false,
            failed: None,
        }
    }

    /// Queues a command.
    ///
    /// Commands queued before the greeting wait for it. The caller sends ahead of replies only
    /// what RFC 2920 allows, and only to a server that says so.
    pub fn send(&mut self, command: Command) -> Result<(), Misuse> {
        let kind = command.kind();
        if self.quitting {
            return Err(Misuse::AfterQuit { command: kind });
        }
        if self.text.is_some() {
            return Err(Misuse::InsideText { command: kind });
        }
        command.check()?;
        self.quitting = kind == CommandKind::Quit;
        if self.failed.is_some() {
            return Ok(());
        }
        if kind == CommandKind::Mail {
            self.accepted = 0;
        }
        if let Command::Auth {
            initial: Some(initial),
            ..
        } = &command
        {
            let encoded = sasl::base64(initial);
            let concealed = self.replies.conceal_mut();
            concealed.response(encoded.as_str().into());
        }
        command.write(&mut self.output);
        self.awaiting.push_back(kind);
        Ok(())
    }

    /// Queues the response to a challenge (334); it may be of any length (RFC 4954 §4).
    pub fn respond(&mut self, response: &SecretSlice<u8>) -> Result<(), Misuse> {
        let encoded = sasl::base64(response);
        self.push_response(&encoded)?;
        let concealed = self.replies.conceal_mut();
        concealed.response(encoded.as_str().into());
        Ok(())
    }

    /// Remembers a password so as not to show it when the server repeats it.
    pub fn conceal(&mut self, password: &SecretString) {
        self.replies.conceal_mut().password(password.clone());
    }

    /// Queues the `*` that cancels the exchange; the server answers with a refusal.
    pub fn cancel(&mut self) -> Result<(), Misuse> {
        self.push_response("*")
    }

    fn push_response(&mut self, encoded: &str) -> Result<(), Misuse> {
        if self.failed.is_some() {
            return Ok(());
        }
        if !core::mem::take(&mut self.challenged) {
            return Err(Misuse::NoChallenge);
        }
        self.output.reserve(encoded.len() + 2);
        self.output.extend_from_slice(encoded.as_bytes());
        self.output.extend_from_slice(b"\r\n");
        self.awaiting.push_back(CommandKind::Auth);
        Ok(())
    }

    /// Whether something of the server has arrived that is not told yet: part of a reply.
    ///
    /// After the answer to STARTTLS there must be nothing, since somebody may have put it there.
    #[must_use]
    pub const fn is_midway(&self) -> bool {
        self.replies.is_midway()
    }

    /// Queues a piece of a message, whose lines end in LF.
    pub fn text(&mut self, piece: &[u8]) -> Result<(), Misuse> {
        if !self.may_send_text {
            return Err(Misuse::TextUnasked);
        }
        let encoder = self.text.get_or_insert_with(TextEncoder::new);
        if self.failed.is_none() {
            encoder.write(piece, &mut self.output);
        }
        Ok(())
    }

    /// Queues the end of the message.
    ///
    /// SMTP answers it once. LMTP answers it once for each recipient that was accepted, in the
    /// order of the RCPTs (RFC 2033 §4.2).
    pub fn end_text(&mut self) -> Result<(), Misuse> {
        if !self.may_send_text {
            return Err(Misuse::TextUnasked);
        }
        self.may_send_text = false;
        let encoder = self.text.take().unwrap_or_default();
        if self.failed.is_some() {
            return Ok(());
        }
        encoder.finish(&mut self.output);
        let replies = match self.protocol {
            Protocol::Lmtp => self.accepted,
            Protocol::Smtp => 1,
        };
        let ends = core::iter::repeat_n(CommandKind::Text, replies);
        self.awaiting.extend(ends);
        Ok(())
    }

    /// How many replies are due; the greeting is one of them.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.awaiting.len()
    }

    /// What is to be written to the server.
    #[must_use]
    pub fn output(&self) -> &[u8] {
        if self.awaiting.front() == Some(&CommandKind::Connect) || self.failed.is_some() {
            &[]
        } else {
            &self.output
        }
    }

    /// Takes note that the first `count` octets of the output were written, and forgets them.
    ///
    /// A count beyond the output stands for all of it.
    pub fn output_written(&mut self, count: usize) {
        let count = count.min(self.output().len());
        let left = self.output.len() - count;
        self.output.copy_within(count.., 0);
        self.output[left..].zeroize();
        self.output.truncate(left);
    }

    /// Takes one step through octets from the server.
    ///
    /// Call it again with the rest until everything is consumed and there is no event. It makes
    /// progress: it consumes something, or the input is empty.
    pub fn receive(&mut self, input: &[u8]) -> Result<Received, Error> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let awaiting = self.awaiting.front().copied();
        let (consumed, reply) = match self.replies.next(input, awaiting) {
            Ok(step) => step,
            Err(error) => return Err(self.fail(error)),
        };
        let event = match reply {
            None => None,
            Some(reply) => Some(self.event(reply)?),
        };
        Ok(Received { consumed, event })
    }

    fn event(&mut self, reply: Reply) -> Result<Event, Error> {
        let Some(to) = self.awaiting.pop_front() else {
            if reply.is_closing() || self.may_send_text {
                return Ok(Event::Unasked(reply));
            }
            let received = reply.first_line();
            return Err(self.fail(Violation::Unsolicited { received }.into()));
        };
        if to == CommandKind::Connect && !reply.is_refusal() && !reply.is_positive() {
            let received = reply.first_line();
            return Err(self.fail(Violation::NotSmtp { received }.into()));
        }
        match to {
            CommandKind::Rcpt if reply.is_positive() => self.accepted += 1,
            CommandKind::Data => self.may_send_text = reply.is_intermediate(),
            CommandKind::Auth => self.challenged = reply.is_intermediate(),
            _ => {}
        }
        Ok(Event::Reply { to, reply })
    }

    /// Takes note that the server closed the connection, and says whether it may do that.
    ///
    /// It may after the reply to QUIT.
    pub fn end_of_input(&mut self) -> Result<(), Error> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        if self.quitting && self.awaiting.is_empty() {
            return Ok(());
        }
        let awaiting = self.awaiting.front().copied();
        Err(self.fail(Closed { awaiting }.into()))
    }

    fn fail(&mut self, error: Error) -> Error {
        self.output.zeroize();
        self.awaiting.clear();
        self.failed.insert(error).clone()
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("protocol", &self.protocol)
            .field("in_flight", &self.in_flight())
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
