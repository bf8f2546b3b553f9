//! What can go wrong, sorted by whose fault it is.
//!
//! A refusal (`-ERR`) is none of these: it is an answer, and comes as an
//! [`Event::Rejected`](super::Event::Rejected). After any of these the place in the conversation
//! is lost, and the session is over.

use alloc::string::String;

use super::command::CommandKind;

/// Why a session cannot go on.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The connection ended where the server may not end it.
    #[error(transparent)]
    Closed(#[from] Closed),
    /// The server sends more than we are ready to take.
    #[error(transparent)]
    Limit(#[from] Limit),
    /// We were used wrongly.
    #[error(transparent)]
    Misuse(#[from] Misuse),
    /// The server broke a rule of POP3.
    #[error(transparent)]
    Violation(#[from] Violation),
}

impl Error {
    /// What a person may do about it, where that can be guessed.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Violation(Violation::NotPop3 { received }) => guess_protocol(received),
            _ => None,
        }
    }
}

/// The connection ended too early: not a broken rule, since networks do that.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the server closed the connection {}", self.when())]
pub struct Closed {
    /// The command whose reply was due, if any.
    pub awaiting: Option<CommandKind>,
    /// Whether a part of that reply had arrived.
    pub midway: bool,
}

impl Closed {
    fn when(&self) -> String {
        match (self.awaiting, self.midway) {
            (None, _) => "before the end of the session".into(),
            (Some(CommandKind::Connect), false) => "without a greeting".into(),
            (Some(CommandKind::Connect), true) => "in the middle of the greeting".into(),
            (Some(command), false) => alloc::format!("instead of answering {command}"),
            (Some(command), true) => alloc::format!("in the middle of the reply to {command}"),
        }
    }
}

/// A server sends more than we are ready to take; [`Limits`](super::Limits) says how much that is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Limit {
    /// The list of capabilities is too long.
    #[error("the server lists more than {limit} capabilities")]
    CapabilityLines {
        /// How many are taken.
        limit: usize,
    },
    /// A line does not end.
    #[error("the server sent a line of more than {limit} octets in the reply to {command}")]
    LineLength {
        /// The command that was being answered.
        command: CommandKind,
        /// How long a line may be.
        limit: usize,
    },
    /// A listing is too long.
    #[error("the server lists more than {limit} messages in the reply to {command}")]
    ListingEntries {
        /// LIST or UIDL.
        command: CommandKind,
        /// How many are taken.
        limit: u64,
    },
}

/// A command that must not be sent; never the server's fault.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Misuse {
    /// A command after QUIT.
    #[error("{command} cannot be sent after QUIT")]
    AfterQuit {
        /// The command.
        command: CommandKind,
    },
    /// A response without a challenge.
    #[error("there is no challenge to respond to")]
    NoChallenge,
    /// A command while an answer is due that changes what the server takes for a command.
    #[error("{command} cannot be sent before {other} is answered")]
    NotAlone {
        /// The command.
        command: CommandKind,
        /// What is not answered yet.
        other: CommandKind,
    },
    /// A command line that is longer than RFC 2449 §4 allows.
    #[error("the line of {command} would be too long for POP3")]
    LineLength {
        /// The command.
        command: CommandKind,
    },
    /// An argument with an octet that would break the line.
    #[error("the argument of {command} contains a line break or NUL, which POP3 cannot carry")]
    ForbiddenOctet {
        /// The command.
        command: CommandKind,
    },
}

/// The server broke a rule, so what it says next cannot be matched to what was asked.
///
/// `received` is the beginning of what came instead, cleaned for a person's eyes.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// Something came in the clear after the reply to STLS, where only TLS may follow (RFC 2595 §4):
    /// somebody between here and the server may have put it there.
    #[error("received {} in the clear where TLS was to begin", quoted(received))]
    ClearAfterStls {
        /// What came.
        received: String,
    },
    /// A reply begins with neither `+OK` nor `-ERR` (RFC 1939 §3).
    #[error("expected the reply to {command}, received {}", quoted(received))]
    NotAReply {
        /// The command that was being answered.
        command: CommandKind,
        /// What came.
        received: String,
    },
    /// The greeting is not that of a POP3 server (RFC 1939 §4).
    #[error(
        "expected the greeting of a POP3 server, received {}",
        quoted(received)
    )]
    NotPop3 {
        /// What came.
        received: String,
    },
    /// A list was followed by a reply before its end, a lone dot (RFC 1939 §3).
    #[error("the reply to {command} was not ended before {}", quoted(received))]
    ReplyInsideList {
        /// The command that was being answered.
        command: CommandKind,
        /// The line inside.
        received: String,
    },
    /// Something came when nothing was asked.
    #[error("received {} when no reply was due", quoted(received))]
    Unsolicited {
        /// What came.
        received: String,
    },
}

fn quoted(received: &str) -> String {
    if received.is_empty() {
        "an empty line".into()
    } else {
        alloc::format!("`{received}`")
    }
}

/// Guesses what kind of server greets like this.
fn guess_protocol(greeting: &str) -> Option<&'static str> {
    let begins = |prefix: &str| {
        greeting
            .get(..prefix.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    if begins("220") || begins("554") || begins("421") {
        Some("this looks like an SMTP or FTP server; POP3 usually listens on port 110")
    } else if begins("* ") {
        Some("this looks like an IMAP server; POP3 usually listens on port 110")
    } else if begins("SSH-") {
        Some("this looks like an SSH server; POP3 usually listens on port 110")
    } else if begins("HTTP/") {
        Some("this looks like a web server; POP3 usually listens on port 110")
    } else {
        None
    }
}
