//! What a client learns from the server.

use super::capability::Capabilities;
use super::command::CommandKind;
use super::response::RespCode;
use super::types::{Maildrop, MessageNumber};
use crate::text::Text;

/// What happened, in the order in which it happened.
///
/// Each command is answered by [`Rejected`](Self::Rejected), or else by
///
/// | command | events |
/// |---|---|
/// | AUTH | `Challenge` in any number, each to be answered, then `Ok` |
/// | CAPA | `Capabilities` |
/// | LIST | `ScanListing` and `MalformedListing` in any number, then `End` |
/// | LIST n | `ScanListing`, or `Ok` if it cannot be read |
/// | RETR, TOP | `Ok`, `Body` in any number, `End` |
/// | STAT | `Maildrop`, or `Ok` if it cannot be read |
/// | UIDL | `UniqueIdListing` and `MalformedListing` in any number, then `End` |
/// | UIDL n | `UniqueIdListing`, or `Ok` if it cannot be read |
/// | others | `Ok` |
///
/// and the connection by `Greeting` or `Rejected`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event<'a> {
    /// A piece of a message, without dot-stuffing, with line ends as the server sent them.
    ///
    /// Pieces are never empty, and as large as the input allows.
    Body(&'a [u8]),
    /// The reply to CAPA.
    Capabilities(Capabilities),
    /// A challenge of a SASL exchange (RFC 5034 §4), which waits for
    /// [`Client::respond`](super::Client::respond) or [`Client::cancel`](super::Client::cancel).
    Challenge {
        /// It decoded; none if it is not base64, or longer than is taken.
        octets: Option<&'a [u8]>,
    },
    /// A reply of several lines is complete.
    End {
        /// The command it answers.
        command: CommandKind,
    },
    /// The server is ready.
    Greeting {
        /// Its words.
        text: Text<'a>,
    },
    /// A line of a listing names no message, or was too long to be kept.
    ///
    /// The listing goes on, but nothing may be concluded from what is missing in it.
    MalformedListing {
        /// LIST or UIDL.
        command: CommandKind,
        /// The line, or its beginning.
        line: Text<'a>,
    },
    /// The reply to STAT.
    Maildrop(Maildrop),
    /// The server did what it was asked, or (RETR, TOP) is about to.
    Ok {
        /// The command it answers.
        command: CommandKind,
        /// The server's words.
        text: Text<'a>,
    },
    /// The server will not do what it was asked.
    Rejected {
        /// The command it answers.
        command: CommandKind,
        /// The reason as far as programs can know it. Servers use these codes without announcing
        /// RESP-CODES, so this does not depend on it.
        code: Option<RespCode>,
        /// The server's words, with the code.
        text: Text<'a>,
    },
    /// A line of LIST.
    ScanListing {
        /// The message.
        number: MessageNumber,
        /// Its size in octets: advice. As much as fits, or 0 if it cannot be read.
        size: u64,
    },
    /// A line of UIDL.
    UniqueIdListing {
        /// The message.
        number: MessageNumber,
        /// Its unique-id, without blanks around it; empty if the server gives none.
        uid: &'a [u8],
    },
}

/// What [`Client::receive`](super::Client::receive) made of its input.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Received<'a> {
    /// How much of the input is done with.
    pub consumed: usize,
    /// What happened there, if anything did.
    pub event: Option<Event<'a>>,
}
