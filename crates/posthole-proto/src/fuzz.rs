//! What the fuzz targets run, kept here so that ordinary tests run it too.
//!
//! A function takes any octets, makes a session of them, and panics if a promise of the crate is
//! broken. It is not part of the API.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::pop3::{Client, Command, Error, Event, Limits, MessageNumber, Violation};
use crate::sasl::{
    Authentication, Binding, ChannelBinding, CramMd5, Exchange, Hash, Login, Mechanism,
    OAuthBearer, Plain, Scram, XOAuth2,
};
use crate::smtp;
use crate::text::escape;

/// Runs a POP3 session and checks that its outcome does not depend on how the octets arrive.
///
/// ```text
/// data = commands LF sizes LF server-octets
/// ```
///
/// Each octet of `commands` is a command (see `command`), each of `sizes` the size of a piece.
///
/// # Panics
///
/// Panics if the client breaks a promise.
pub fn pop3_client(data: &[u8]) {
    let (commands, rest) = split(data);
    let (sizes, octets) = split(rest);
    let commands = read_commands(commands);

    let whole = Outcome::of(&commands, core::iter::once(octets));
    let single = Outcome::of(&commands, octets.chunks(1));
    whole.must_agree_with(&single);
    let pieces = Pieces {
        sizes,
        at: 0,
        rest: octets,
    };
    whole.must_agree_with(&Outcome::of(&commands, pieces));
    in_lock_step(&commands, octets);
}

/// Runs an SMTP and an LMTP session on the same octets from a server, checks that their outcome does
/// not depend on how the octets arrive, and that a text does not end before its end.
///
/// # Panics
///
/// Panics if the client breaks a promise.
pub fn smtp_client(data: &[u8]) {
    for protocol in [smtp::Protocol::Lmtp, smtp::Protocol::Smtp] {
        let whole = smtp_session(protocol, core::iter::once(data));
        assert_eq!(whole, smtp_session(protocol, data.chunks(1)));
        assert_eq!(whole, smtp_session(protocol, data.chunks(7)));
    }
    let (mut encoder, mut wire) = (smtp::text::TextEncoder::new(), Vec::new());
    for piece in data.chunks(5) {
        encoder.write(piece, &mut wire);
    }
    encoder.finish(&mut wire);
    let end = memchr::memmem::find(&wire, b"\r\n.\r\n").map_or(0, |at| at + 2);
    assert_eq!(
        &wire[end..],
        b".\r\n",
        "the first lone dot is the last line"
    );
}

/// A message to two recipients, with everything sent ahead.
fn smtp_session<'a>(
    protocol: smtp::Protocol,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> (Vec<smtp::Event>, Option<smtp::Error>) {
    let mut client = smtp::Client::new(protocol, smtp::Limits::default());
    let mail = smtp::Command::Mail {
        reverse_path: String::new(),
        parameters: smtp::MailParameters::default(),
    };
    let rcpt = || smtp::Command::Rcpt("a@b".into());
    for command in [mail, rcpt(), rcpt(), smtp::Command::Data] {
        client.send(command).expect("these are right");
    }
    let mut events = Vec::new();
    for mut piece in pieces {
        while !piece.is_empty() {
            let received = match client.receive(piece) {
                Ok(received) => received,
                Err(error) => {
                    assert_eq!(client.output(), b"", "nothing is sent after an error");
                    return (events, Some(error));
                }
            };
            assert!(received.consumed > 0, "it makes progress");
            piece = &piece[received.consumed..];
            events.extend(received.event);
            if client.in_flight() == 0 {
                // The server has asked for the text, or has refused it.
                client.end_text().ok();
            }
        }
    }
    (events, client.end_of_input().err())
}

/// All that is seen of a session.
#[derive(Debug, Eq, PartialEq)]
struct Outcome {
    /// The greeting, and then the events, with successive pieces of a body joined.
    events: Vec<String>,
    end: Result<(), Error>,
}

impl Outcome {
    /// Waits for the greeting, sends all commands at once, then hands in the pieces.
    fn of<'a>(commands: &[Command], pieces: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut client = Client::new(LIMITS);
        let mut events = Vec::new();
        let greeting = feed(&mut client, b"+OK\r\n", &mut events);
        assert_eq!((greeting, events.len()), (Ok(()), 1), "a plain greeting");
        for command in commands {
            // QUIT may come in the middle; what follows it is refused.
            let _ = client.send(command.clone());
        }
        client.output_written(client.output().len());
        for piece in pieces {
            if let Err(error) = feed(&mut client, piece, &mut events) {
                assert_eq!(client.output(), b"", "nothing is sent after an error");
                assert_eq!(
                    client.receive(b"+OK\r\n"),
                    Err(error.clone()),
                    "it stays an error"
                );
                return Self {
                    events,
                    end: Err(error),
                };
            }
        }
        Self {
            events,
            end: client.end_of_input(),
        }
    }

    fn must_agree_with(&self, other: &Self) {
        let unsolicited = |outcome: &Self| {
            matches!(
                &outcome.end,
                Err(Error::Violation(
                    Violation::ClearAfterStls { .. } | Violation::Unsolicited { .. }
                ))
            )
        };
        if unsolicited(self) && unsolicited(other) {
            // The last reply is not believed if the octet too many came along with it; and how
            // much of that can be quoted depends on the piece.
            let (a, b) = (self.events.len(), other.events.len());
            assert!(a.abs_diff(b) <= 1, "{self:?} and {other:?}");
            assert_eq!(self.events[..a.min(b)], other.events[..a.min(b)]);
        } else {
            assert_eq!(self, other);
        }
    }
}

/// Sends each command when the one before is answered, in whichever way the octets fit.
fn in_lock_step(commands: &[Command], octets: &[u8]) {
    let mut client = Client::new(LIMITS);
    let mut commands = commands.iter();
    for octet in octets.chunks(1) {
        if client.in_flight() == 0 {
            let Some(command) = commands.next() else {
                return;
            };
            if client.send(command.clone()).is_err() {
                return;
            }
            client.output_written(usize::MAX);
        }
        if feed(&mut client, octet, &mut Vec::new()).is_err() {
            return;
        }
        // Refused unless there is a challenge.
        if client.respond(&b"OK".to_vec().into()).is_ok() {
            client.output_written(usize::MAX);
        }
    }
}

/// Runs a SASL exchange, and checks that it ends and that only a server that knows the password is
/// believed.
///
/// ```text
/// data = mechanism *(challenge LF)
/// ```
///
/// # Panics
///
/// Panics if the exchange breaks a promise.
pub fn sasl(data: &[u8]) {
    let Some((&which, challenges)) = data.split_first() else {
        return;
    };
    let password = "pencil".into();
    let scram = |hash, binding: &Binding| Scram::new(hash, "user", &password, NONCE, binding);
    let bound = Binding::Used(ChannelBinding {
        kind: "tls-exporter",
        data: alloc::vec![0; 32],
    });
    let (mechanism, exchange): (_, Result<Box<dyn Exchange>, _>) = match which {
        b'B' => (
            Mechanism::OAuthBearer,
            OAuthBearer::new("user", "host", 110, &password).map(|it| Box::new(it) as _),
        ),
        b'C' => (
            Mechanism::CramMd5,
            Ok(Box::new(CramMd5::new("user", &password))),
        ),
        b'L' => (
            Mechanism::Login,
            Ok(Box::new(Login::new("user", &password))),
        ),
        b'P' => (
            Mechanism::Plain,
            Plain::new("user", &password).map(|it| Box::new(it) as _),
        ),
        b'S' => (
            Mechanism::ScramSha1,
            scram(Hash::Sha1, &Binding::NotOffered).map(|it| Box::new(it) as _),
        ),
        b'X' => (
            Mechanism::XOAuth2,
            XOAuth2::new("user", &password).map(|it| Box::new(it) as _),
        ),
        _ => (
            Mechanism::ScramSha256Plus,
            scram(Hash::Sha256, &bound).map(|it| Box::new(it) as _),
        ),
    };
    let exchange = exchange.expect("a name, a password and a nonce");
    let mut login = Authentication::new(mechanism, exchange).expect("it needs nothing else");
    let mut responses = 0;
    for challenge in challenges.split(|octet| *octet == b'\n') {
        if login.respond(Some(challenge)).is_err() {
            break;
        }
        responses += 1;
    }
    assert!(responses <= 3, "an exchange that does not end");
    // Whoever finds a signature for this nonce by chance has broken SHA.
    if which == b'S' || which == b'+' {
        assert!(login.succeeded().is_err(), "believed without a proof");
    }
}

/// Hands in one piece, as a driver does.
fn feed(client: &mut Client, mut input: &[u8], events: &mut Vec<String>) -> Result<(), Error> {
    loop {
        let available = input.len();
        let received = client.receive(input)?;
        assert!(
            received.consumed <= available,
            "more was consumed than there was"
        );
        match received.event {
            Some(Event::Body(piece)) => {
                assert!(!piece.is_empty(), "an empty piece of a body");
                match events.last_mut() {
                    Some(last) if last.starts_with("Body") => last.push_str(&show(piece)),
                    _ => events.push(format!("Body {}", show(piece))),
                }
            }
            Some(event) => events.push(format!("{event:?}")),
            None if available == 0 => return Ok(()),
            None => assert!(received.consumed > 0, "no progress"),
        }
        input = &input[received.consumed..];
    }
}

fn show(octets: &[u8]) -> String {
    format!("{}", escape(octets))
}

/// Splits at the first LF.
fn split(data: &[u8]) -> (&[u8], &[u8]) {
    let end = data
        .iter()
        .position(|octet| *octet == b'\n')
        .unwrap_or(data.len());
    (&data[..end], data.get(end + 1..).unwrap_or_default())
}

/// Reads a digit as the message number from here on, and another octet as a command.
fn read_commands(octets: &[u8]) -> Vec<Command> {
    let mut number = MessageNumber::from(core::num::NonZeroU32::MIN);
    let mut commands = Vec::new();
    for octet in octets {
        match octet {
            b'1'..=b'9' => {
                number = u32::from(octet - b'0').try_into().unwrap_or(number);
            }
            _ => commands.push(command(*octet, number)),
        }
    }
    commands
}

/// The command that an octet stands for.
fn command(octet: u8, number: MessageNumber) -> Command {
    match octet {
        b'A' => Command::User("user".into()),
        b'a' => Command::Auth {
            mechanism: Mechanism::Plain,
            initial: None,
        },
        b'C' => Command::Capa,
        b'D' => Command::Dele(number),
        b'L' => Command::List(None),
        b'l' => Command::List(Some(number)),
        b'P' => Command::Pass("OK".into()),
        b'Q' => Command::Quit,
        b'R' => Command::Retr(number),
        b'S' => Command::Stat,
        b's' => Command::Stls,
        b'T' => Command::Top(number, 0),
        b'U' => Command::Uidl(None),
        b'u' => Command::Uidl(Some(number)),
        b'X' => Command::Rset,
        _ => Command::Noop,
    }
}

/// Cuts octets into pieces of the given sizes, again and again.
struct Pieces<'a> {
    sizes: &'a [u8],
    at: usize,
    rest: &'a [u8],
}

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        let size = self
            .sizes
            .get(self.at % self.sizes.len().max(1))
            .copied()
            .unwrap_or(1);
        self.at += 1;
        let (piece, rest) = self
            .rest
            .split_at(usize::from(size.max(1)).min(self.rest.len()));
        self.rest = rest;
        Some(piece)
    }
}

const NONCE: &str = "fyko+d2lbbFgONRv9qkxdawL";

/// Small enough to be met.
const LIMITS: Limits = Limits {
    capability_lines: 4,
    challenge_line: 48,
    list_line: 24,
    listing_entries: 6,
    status_line: 24,
    unended_line: 96,
};
