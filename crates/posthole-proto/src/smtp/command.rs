//! What a client says.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use secrecy::{ExposeSecret, SecretSlice};

use super::error::Misuse;
use crate::sasl::{self, Mechanism};

/// A command with its arguments.
#[derive(Clone, Debug)]
pub enum Command {
    /// Logs in (RFC 4954 §4). Challenges come as replies 334.
    Auth {
        /// How.
        mechanism: Mechanism,
        /// The initial response, of at most [`initial_response_room`](Self::initial_response_room)
        /// octets.
        initial: Option<SecretSlice<u8>>,
    },
    /// Asks for the text (RFC 5321 §4.1.1.4).
    Data,
    /// Introduces us and asks for extensions (RFC 5321 §4.1.1.1).
    Ehlo(String),
    /// Introduces us to a server that knows no extensions.
    Helo(String),
    /// Introduces us to an LMTP server (RFC 2033 §4.1).
    Lhlo(String),
    /// Begins a message (RFC 5321 §4.1.1.2).
    Mail {
        /// The reverse-path, without angle brackets; empty is the null path.
        reverse_path: String,
        /// What else is said about the message.
        parameters: MailParameters,
    },
    /// Does nothing.
    Noop,
    /// Ends the session.
    Quit,
    /// Names a recipient (RFC 5321 §4.1.1.3): the forward-path, without angle brackets.
    Rcpt(String),
    /// Gives up on the message.
    Rset,
    /// Asks for TLS (RFC 3207). What follows it in either direction is not ours any more.
    StartTls,
}

/// The parameters of MAIL that are known here.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct MailParameters {
    /// Octets of the message (RFC 1870).
    pub size: Option<u64>,
    /// Whether to say that the text has octets beyond ASCII (RFC 6152).
    pub eight_bit: bool,
    /// Whether addresses or headers are in UTF-8 (RFC 6531).
    pub utf8: bool,
}

/// A command without its arguments, or what else is answered.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum CommandKind {
    /// AUTH, or a response in its exchange.
    Auth,
    /// The connection itself, which is answered with the greeting.
    Connect,
    /// DATA.
    Data,
    /// EHLO.
    Ehlo,
    /// HELO.
    Helo,
    /// LHLO.
    Lhlo,
    /// MAIL.
    Mail,
    /// NOOP.
    Noop,
    /// QUIT.
    Quit,
    /// RCPT.
    Rcpt,
    /// RSET.
    Rset,
    /// STARTTLS.
    StartTls,
    /// The text with the dot that ends it.
    Text,
}

impl fmt::Display for CommandKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Auth => "AUTH",
            Self::Connect => "the connection",
            Self::Data => "DATA",
            Self::Ehlo => "EHLO",
            Self::Helo => "HELO",
            Self::Lhlo => "LHLO",
            Self::Mail => "MAIL FROM",
            Self::Noop => "NOOP",
            Self::Quit => "QUIT",
            Self::Rcpt => "RCPT TO",
            Self::Rset => "RSET",
            Self::StartTls => "STARTTLS",
            Self::Text => "the message",
        })
    }
}

impl Command {
    /// The command without its arguments.
    #[must_use]
    pub const fn kind(&self) -> CommandKind {
        match self {
            Self::Auth { .. } => CommandKind::Auth,
            Self::Data => CommandKind::Data,
            Self::Ehlo(_) => CommandKind::Ehlo,
            Self::Helo(_) => CommandKind::Helo,
            Self::Lhlo(_) => CommandKind::Lhlo,
            Self::Mail { .. } => CommandKind::Mail,
            Self::Noop => CommandKind::Noop,
            Self::Quit => CommandKind::Quit,
            Self::Rcpt(_) => CommandKind::Rcpt,
            Self::Rset => CommandKind::Rset,
            Self::StartTls => CommandKind::StartTls,
        }
    }

    /// How long an initial response may be, before it is encoded.
    ///
    /// A command line has at most 512 octets, also for AUTH (RFC 4954 §4); a longer response has to
    /// wait for the server's empty challenge.
    #[must_use]
    pub const fn initial_response_room(mechanism: Mechanism) -> usize {
        let around = "AUTH ".len() + mechanism.name().len() + " \r\n".len();
        (COMMAND_LINE - around) / 4 * 3
    }

    /// Refuses arguments that would be more than an argument.
    pub(super) fn check(&self) -> Result<(), Misuse> {
        let fits = match self {
            Self::Ehlo(name) | Self::Helo(name) | Self::Lhlo(name) => {
                !name.is_empty() && !name.contains(|c: char| c.is_control() || c == ' ')
            }
            Self::Mail { reverse_path, .. } => reverse_path.is_empty() || is_path(reverse_path),
            Self::Rcpt(forward_path) => is_path(forward_path),
            Self::Auth {
                mechanism,
                initial: Some(initial),
            } => initial.expose_secret().len() <= Self::initial_response_room(*mechanism),
            _ => true,
        };
        if fits {
            Ok(())
        } else {
            Err(Misuse::ForbiddenArgument {
                command: self.kind(),
            })
        }
    }

    pub(super) fn write(&self, output: &mut Vec<u8>) {
        use alloc::string::ToString;
        match self {
            Self::Auth { mechanism, initial } => {
                let encoded = initial.as_ref().map(sasl::base64);
                // In one piece, so that no copy stays behind where a buffer grows.
                output.reserve(COMMAND_LINE);
                output.extend_from_slice(b"AUTH ");
                output.extend_from_slice(mechanism.name().as_bytes());
                if let Some(encoded) = encoded {
                    // An empty response would look like none (RFC 4954 §4).
                    let response = if encoded.is_empty() { "=" } else { &encoded };
                    output.push(b' ');
                    output.extend_from_slice(response.as_bytes());
                }
            }
            _ => output.extend_from_slice(self.to_string().as_bytes()),
        }
        output.extend_from_slice(b"\r\n");
    }
}

/// As it is sent, without the line end and without what is secret.
impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auth { mechanism, initial } => {
                let secret = if initial.is_some() { " ****" } else { "" };
                write!(f, "AUTH {}{secret}", mechanism.name())
            }
            Self::Ehlo(name) | Self::Helo(name) | Self::Lhlo(name) => {
                write!(f, "{} {name}", self.kind())
            }
            Self::Mail {
                reverse_path,
                parameters,
            } => {
                write!(f, "MAIL FROM:<{reverse_path}>")?;
                if let Some(size) = parameters.size {
                    write!(f, " SIZE={size}")?;
                }
                if parameters.eight_bit {
                    f.write_str(" BODY=8BITMIME")?;
                }
                if parameters.utf8 {
                    f.write_str(" SMTPUTF8")?;
                }
                Ok(())
            }
            Self::Rcpt(forward_path) => write!(f, "RCPT TO:<{forward_path}>"),
            Self::Data | Self::Noop | Self::Quit | Self::Rset | Self::StartTls => {
                self.kind().fmt(f)
            }
        }
    }
}

/// Whether text can stand between the angle brackets of a path: what ends it, or the line, may
/// not be in it, save what RFC 5321 §4.1.2 allows in quotes.
#[must_use]
pub(crate) fn is_path(text: &str) -> bool {
    let (mut quoted, mut escaped) = (false, false);
    for c in text.chars() {
        match c {
            _ if c.is_control() => return false,
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ' ' | '<' | '>' if !quoted => return false,
            _ => {}
        }
    }
    !text.is_empty() && text.len() <= PATH_LENGTH && !quoted
}

/// RFC 5321 §4.5.3.1.3 has 256 octets; addresses in the wild are longer, lines of commands are not
/// to be longer than 512 (§4.5.3.1.4) by much.
const PATH_LENGTH: usize = 480;

/// RFC 5321 §4.5.3.1.4.
const COMMAND_LINE: usize = 512;
