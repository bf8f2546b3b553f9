//! Commands (RFC 1939 §5 to §7, RFC 2449 §5, RFC 2595 §4, RFC 5034) and the octets they are sent as.
//!
//! The hard part is what must not happen: an argument with a line break in it would be a second
//! command, so it is refused before an octet of it is written; and a password leaves no trace in
//! memory that was grown out of, nor in what is shown.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use secrecy::zeroize::{Zeroize, Zeroizing};
use secrecy::{ExposeSecret, SecretSlice, SecretString};

use super::error::Misuse;
use super::types::MessageNumber;
use crate::sasl::{self, Mechanism};
use crate::text;

/// A command to the server.
///
/// `Display` is the line that is sent, with `****` in place of a password and of all that is made
/// from one.
#[derive(Clone, Debug)]
pub enum Command {
    /// Logs in by a digest of the greeting's challenge and the password (RFC 1939 §7).
    Apop {
        /// The user name.
        user: String,
        /// What [`ApopChallenge::digest`](super::ApopChallenge::digest) made.
        digest: SecretString,
    },
    /// Begins a SASL exchange (RFC 5034).
    Auth {
        /// The mechanism.
        mechanism: Mechanism,
        /// The initial response, of at most [`initial_response_room`](Self::initial_response_room)
        /// octets.
        initial: Option<SecretSlice<u8>>,
    },
    /// Asks for the capabilities (RFC 2449 §5).
    Capa,
    /// Marks a message for deletion.
    Dele(MessageNumber),
    /// Asks for the sizes of all messages, or of one.
    List(Option<MessageNumber>),
    /// Does nothing.
    Noop,
    /// Gives the password.
    Pass(SecretString),
    /// Ends the session; what is marked is deleted then.
    Quit,
    /// Asks for a message.
    Retr(MessageNumber),
    /// Unmarks what is marked for deletion.
    Rset,
    /// Asks how much there is.
    Stat,
    /// Asks for TLS, whose handshake follows a positive reply (RFC 2595 §4).
    Stls,
    /// Asks for the header and so many lines of the body.
    Top(MessageNumber, u32),
    /// Asks for the unique-ids of all messages, or of one.
    Uidl(Option<MessageNumber>),
    /// Gives the user name.
    User(String),
}

impl Command {
    /// The command without its secrets.
    #[must_use]
    pub const fn kind(&self) -> CommandKind {
        match *self {
            Self::Apop { .. } => CommandKind::Apop,
            Self::Auth { mechanism, .. } => CommandKind::Auth(mechanism),
            Self::Capa => CommandKind::Capa,
            Self::Dele(number) => CommandKind::Dele(number),
            Self::List(number) => CommandKind::List(number),
            Self::Noop => CommandKind::Noop,
            Self::Pass(_) => CommandKind::Pass,
            Self::Quit => CommandKind::Quit,
            Self::Retr(number) => CommandKind::Retr(number),
            Self::Rset => CommandKind::Rset,
            Self::Stat => CommandKind::Stat,
            Self::Stls => CommandKind::Stls,
            Self::Top(number, lines) => CommandKind::Top(number, lines),
            Self::Uidl(number) => CommandKind::Uidl(number),
            Self::User(_) => CommandKind::User,
        }
    }

    /// How long an initial response of a mechanism may be, before it is encoded.
    ///
    /// A command line has at most 255 octets (RFC 2449 §4), and AUTH is no exception; a longer
    /// response has to wait for the server's empty challenge (RFC 5034 §4).
    #[must_use]
    pub const fn initial_response_room(mechanism: Mechanism) -> usize {
        let around = "AUTH ".len() + mechanism.name().len() + " \r\n".len();
        (COMMAND_LINE - around) / 4 * 3
    }

    /// Says whether the command is one line, as it must be.
    pub(super) fn check(&self) -> Result<(), Misuse> {
        let command = self.kind();
        let forbidden = |text: &str| text.contains(['\r', '\n', '\0']);
        match self {
            Self::Auth {
                mechanism,
                initial: Some(initial),
            } if initial.expose_secret().len() > Self::initial_response_room(*mechanism) => {
                Err(Misuse::LineLength { command })
            }
            _ if self.free_arguments().into_iter().flatten().any(forbidden) => {
                Err(Misuse::ForbiddenOctet { command })
            }
            _ => Ok(()),
        }
    }

    /// The texts that the caller chose, as far as the command has any.
    fn free_arguments(&self) -> [Option<&str>; 2] {
        match self {
            Self::Apop { user, digest } => [Some(user), Some(digest.expose_secret())],
            Self::Pass(password) => [Some(password.expose_secret()), None],
            Self::User(name) => [Some(name), None],
            _ => [None, None],
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Apop { user, .. } => {
                write!(f, "{} {} ****", self.kind(), text::clean(user.as_bytes()))
            }
            Self::Auth {
                initial: Some(_), ..
            }
            | Self::Pass(_) => write!(f, "{} ****", self.kind()),
            Self::User(name) => write!(f, "{} {}", self.kind(), text::clean(name.as_bytes())),
            _ => self.kind().fmt(f),
        }
    }
}

/// Which command a reply belongs to: a [`Command`] without what must not be kept.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum CommandKind {
    /// No command: the connection itself, which the greeting is the reply to.
    Connect,
    /// APOP.
    Apop,
    /// AUTH, with the exchange that follows it.
    Auth(Mechanism),
    /// CAPA.
    Capa,
    /// DELE.
    Dele(MessageNumber),
    /// LIST, of all messages or of one.
    List(Option<MessageNumber>),
    /// NOOP.
    Noop,
    /// PASS.
    Pass,
    /// QUIT.
    Quit,
    /// RETR.
    Retr(MessageNumber),
    /// RSET.
    Rset,
    /// STAT.
    Stat,
    /// STLS.
    Stls,
    /// TOP, with the number of body lines.
    Top(MessageNumber, u32),
    /// UIDL, of all messages or of one.
    Uidl(Option<MessageNumber>),
    /// USER.
    User,
}

impl CommandKind {
    /// Whether no other command may be in flight with it: after AUTH the server takes every line
    /// for a response, and after STLS for the beginning of TLS.
    pub(super) const fn is_alone(self) -> bool {
        matches!(self, Self::Auth(_) | Self::Stls)
    }
}

impl fmt::Display for CommandKind {
    /// Shows the command line as far as it is known here.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect => f.write_str("the connection"),
            Self::Apop => f.write_str("APOP"),
            Self::Auth(mechanism) => write!(f, "AUTH {mechanism}"),
            Self::Capa => f.write_str("CAPA"),
            Self::Dele(number) => write!(f, "DELE {number}"),
            Self::List(None) => f.write_str("LIST"),
            Self::List(Some(number)) => write!(f, "LIST {number}"),
            Self::Noop => f.write_str("NOOP"),
            Self::Pass => f.write_str("PASS"),
            Self::Quit => f.write_str("QUIT"),
            Self::Retr(number) => write!(f, "RETR {number}"),
            Self::Rset => f.write_str("RSET"),
            Self::Stat => f.write_str("STAT"),
            Self::Stls => f.write_str("STLS"),
            Self::Top(number, lines) => write!(f, "TOP {number} {lines}"),
            Self::Uidl(None) => f.write_str("UIDL"),
            Self::Uidl(Some(number)) => write!(f, "UIDL {number}"),
            Self::User => f.write_str("USER"),
        }
    }
}

/// Octets on their way to the server.
///
/// ```text
/// bytes: │ written: zeros │ not written yet │
///        0              start             len
/// ```
#[derive(Default)]
pub(super) struct Output {
    bytes: Zeroizing<Vec<u8>>,
    start: usize,
}

impl Output {
    /// Appends the line of a command that was checked.
    pub(super) fn push(&mut self, command: &Command) {
        self.append(alloc::format!("{}", command.kind()).as_bytes());
        for argument in command.free_arguments().into_iter().flatten() {
            self.append(b" ");
            self.append(argument.as_bytes());
        }
        if let Command::Auth {
            initial: Some(initial),
            ..
        } = command
        {
            // An empty response would look like none (RFC 5034 §4).
            match sasl::base64(initial) {
                response if response.is_empty() => self.append(b" ="),
                response => {
                    self.append(b" ");
                    self.append(response.as_bytes());
                }
            }
        }
        self.append(b"\r\n");
    }

    /// Appends the line of a response in a SASL exchange.
    pub(super) fn push_response(&mut self, encoded: &str) {
        self.append(encoded.as_bytes());
        self.append(b"\r\n");
    }

    pub(super) fn pending(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// Forgets the first `count` octets for good.
    pub(super) fn written(&mut self, count: usize) {
        let end = (self.start + count).min(self.bytes.len());
        self.bytes[self.start..end].zeroize();
        self.start = end;
        if self.start == self.bytes.len() {
            self.bytes.clear();
            self.start = 0;
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.written(self.bytes.len());
    }

    /// Appends octets without leaving a copy behind where a vector would move itself.
    fn append(&mut self, octets: &[u8]) {
        if self.bytes.capacity() - self.bytes.len() < octets.len() {
            let pending = self.pending();
            let mut moved = Vec::with_capacity(2 * (pending.len() + octets.len()).max(128));
            moved.extend_from_slice(pending);
            // The old vector is overwritten with zeros when it is dropped here.
            self.bytes = Zeroizing::new(moved);
            self.start = 0;
        }
        self.bytes.extend_from_slice(octets);
    }
}

impl fmt::Debug for Output {
    /// Does not show the octets: a password may be among them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output")
            .field("pending", &self.pending().len())
            .finish()
    }
}

/// RFC 2449 §4.
const COMMAND_LINE: usize = 255;

#[cfg(test)]
mod tests {
    use std::format;
    use std::string::ToString;

    use super::*;

    fn number(number: u32) -> MessageNumber {
        number.try_into().expect("not 0")
    }

    #[test]
    fn each_command_is_one_line() {
        let one = number(1);
        let auth = |mechanism, initial: Option<&[u8]>| Command::Auth {
            mechanism,
            initial: initial.map(|octets| octets.to_vec().into()),
        };
        let table = [
            (
                Command::Apop {
                    user: "mrose".into(),
                    digest: "c4c9334bac560ecc979e58001b3e22fb".into(),
                },
                "APOP mrose c4c9334bac560ecc979e58001b3e22fb",
            ),
            (auth(Mechanism::CramMd5, None), "AUTH CRAM-MD5"),
            (auth(Mechanism::External, Some(b"")), "AUTH EXTERNAL ="),
            (
                auth(Mechanism::Plain, Some(b"\0test\0test")),
                "AUTH PLAIN AHRlc3QAdGVzdA==",
            ),
            (Command::Capa, "CAPA"),
            (Command::Dele(one), "DELE 1"),
            (Command::List(None), "LIST"),
            (Command::List(Some(one)), "LIST 1"),
            (Command::Noop, "NOOP"),
            (Command::Pass("hunter 2".into()), "PASS hunter 2"),
            (Command::Quit, "QUIT"),
            (Command::Retr(number(u32::MAX)), "RETR 4294967295"),
            (Command::Rset, "RSET"),
            (Command::Stat, "STAT"),
            (Command::Stls, "STLS"),
            (Command::Top(one, 0), "TOP 1 0"),
            (Command::Uidl(None), "UIDL"),
            (Command::Uidl(Some(one)), "UIDL 1"),
            (Command::User("müller".into()), "USER müller"),
        ];
        for (command, line) in table {
            let mut output = Output::default();
            output.push(&command);
            assert_eq!(command.check(), Ok(()));
            assert_eq!(output.pending(), format!("{line}\r\n").as_bytes());
            let shown = command.to_string();
            assert_eq!(
                shown.trim_end_matches(" ****"),
                &line[..shown.trim_end_matches(" ****").len()]
            );
            let secret = matches!(
                command,
                Command::Apop { .. }
                    | Command::Auth {
                        initial: Some(_),
                        ..
                    }
                    | Command::Pass(_)
            );
            assert_eq!(shown.ends_with(" ****"), secret, "{shown}");
            assert!(secret || shown == line, "{shown}");
        }
    }

    #[test]
    fn an_argument_cannot_smuggle_a_second_command() {
        for bad in ["a\r\nDELE 1", "a\nDELE 1", "a\rDELE 1", "a\0", "\r\n", "\n"] {
            let apop = |user: &str, digest: &str| Command::Apop {
                user: user.into(),
                digest: digest.into(),
            };
            for command in [
                Command::User(bad.into()),
                Command::Pass(bad.into()),
                apop(bad, "c4c9"),
                apop("mrose", bad),
            ] {
                let refused = Misuse::ForbiddenOctet {
                    command: command.kind(),
                };
                assert_eq!(command.check(), Err(refused));
            }
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        let command = Command::Pass("hunter2".into());
        let mut output = Output::default();
        output.push(&command);
        for shown in [
            format!("{command}"),
            format!("{command:?}"),
            format!("{output:?}"),
        ] {
            assert!(!shown.contains("hunter2"), "{shown}");
        }
        assert_eq!(command.to_string(), "PASS ****");
    }

    #[test]
    fn nothing_made_from_a_password_is_shown() {
        let command = Command::Auth {
            mechanism: Mechanism::Plain,
            initial: Some(b"\0me\0hunter2".to_vec().into()),
        };
        assert_eq!(command.to_string(), "AUTH PLAIN ****");
        let shown = format!("{command:?}");
        assert!(!shown.contains("104"), "{shown}");
        let command = Command::Apop {
            user: "me\x1b".into(),
            digest: "c4c9334b".into(),
        };
        assert_eq!(command.to_string(), "APOP me\u{fffd} ****");
        assert!(!format!("{command:?}").contains("c4c9"));
    }

    #[test]
    fn a_command_line_never_has_more_than_255_octets() {
        for &mechanism in Mechanism::ALL {
            let room = Command::initial_response_room(mechanism);
            let auth = |length| Command::Auth {
                mechanism,
                initial: Some(std::vec![0; length].into()),
            };
            let mut output = Output::default();
            output.push(&auth(room));
            let length = output.pending().len();
            assert!((252..=255).contains(&length), "{mechanism}: {length}");
            assert_eq!(auth(room).check(), Ok(()));
            let command = CommandKind::Auth(mechanism);
            assert_eq!(auth(room + 1).check(), Err(Misuse::LineLength { command }));
        }
    }

    #[test]
    fn what_was_written_is_zeroed_and_the_rest_keeps_its_order() {
        let mut output = Output::default();
        output.push(&Command::Pass("hunter2".into()));
        output.written(9);
        assert_eq!(output.pending(), b"er2\r\n");
        assert_eq!(output.bytes[..9], [0; 9]);
        for _ in 0..1000 {
            output.push(&Command::Noop);
        }
        assert_eq!(
            output.pending(),
            [&b"er2\r\n"[..], &b"NOOP\r\n".repeat(1000)].concat()
        );
        output.written(usize::MAX / 2);
        assert_eq!((output.pending(), output.start), (&b""[..], 0));
    }
}
