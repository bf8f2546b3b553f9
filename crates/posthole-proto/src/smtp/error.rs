//! What can go wrong, sorted by whose fault it is.
//!
//! A refusal is none of these: it is an answer. After any of these the place in the conversation
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
    /// The server broke a rule of SMTP.
    #[error(transparent)]
    Violation(#[from] Violation),
}

/// The connection ended too early.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the server closed the connection {}", self.when())]
pub struct Closed {
    /// The command whose reply was due, if any.
    pub awaiting: Option<CommandKind>,
}

impl Closed {
    fn when(&self) -> String {
        match self.awaiting {
            None => "before the end of the session".into(),
            Some(CommandKind::Connect) => "without a greeting".into(),
            Some(command) => alloc::format!("instead of answering {command}"),
        }
    }
}

/// A server sends more than we are ready to take; [`Limits`](super::Limits) says how much that is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Limit {
    /// A line does not end.
    #[error("the server sent a line of more than {limit} octets")]
    LineLength {
        /// How long a line may be.
        limit: usize,
    },
    /// A reply does not end.
    #[error("the server sent a reply of more than {limit} lines")]
    ReplyLines {
        /// How many are taken.
        limit: usize,
    },
}

/// Something that must not be sent; never the server's fault.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Misuse {
    /// A command after QUIT.
    #[error("{command} cannot be sent after QUIT")]
    AfterQuit {
        /// The command.
        command: CommandKind,
    },
    /// An argument that would not end where it should.
    #[error("the argument of {command} is not one that SMTP can carry")]
    ForbiddenArgument {
        /// The command.
        command: CommandKind,
    },
    /// A command inside a text.
    #[error("{command} cannot be sent inside a message")]
    InsideText {
        /// The command.
        command: CommandKind,
    },
    /// A response that the server has not asked for.
    #[error("the server has not sent a challenge")]
    NoChallenge,
    /// A text that the server has not asked for.
    #[error("the server has not asked for a message")]
    TextUnasked,
}

/// The server broke a rule, so what it says next cannot be matched to what was asked.
///
/// `received` is the beginning of what came instead, cleaned for a person's eyes.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// A line of a reply has another code than the one before (RFC 5321 §4.2.1).
    #[error("the server changed the code in the middle of a reply: `{received}`")]
    MixedCodes {
        /// What came.
        received: String,
    },
    /// A line does not begin with a reply code (RFC 5321 §4.2).
    #[error("expected a reply code, received `{received}`")]
    NotAReply {
        /// What came.
        received: String,
    },
    /// The greeting is not that of an SMTP server.
    #[error("expected the greeting of a server that takes mail, received `{received}`")]
    NotSmtp {
        /// What came.
        received: String,
    },
    /// Something came when nothing was asked.
    #[error("received `{received}` when no reply was due")]
    Unsolicited {
        /// What came.
        received: String,
    },
}
