//! Runs a session that is written down, in every way in which its octets can arrive.
//!
//! ```text
//! C: RETR 1      the client sends a command
//! C+ hello       … a response to a challenge, which is shown here decoded
//! C*             … what cancels an exchange
//! S: +OK         the server sends a line, ended by CR LF
//! s: +OK         … by a bare LF
//! S~ +O          … not ended
//! EOF            the server closes the connection
//! ```
//!
//! A server's line may hold the escapes of a Rust byte string.

use expect_test::Expect;
use posthole_proto::pop3::{Client, Command, Error, Event, Limits, MessageNumber, Violation};
use posthole_proto::sasl::Mechanism;

/// Compares what the client makes of a session, which must not depend on how the octets arrive.
#[track_caller]
pub(crate) fn check(transcript: &str, expected: Expect) {
    let steps = parse(transcript);
    let whole = Seen::of(&steps, usize::MAX, usize::MAX);
    let longest = steps.iter().map(Step::len).max().unwrap_or(0);
    whole.must_agree_with(&Seen::of(&steps, 1, usize::MAX), "octet by octet");
    for cut in 1..longest {
        let split = Seen::of(&steps, cut, 2);
        whole.must_agree_with(&split, &format!("split after {cut} octets"));
    }
    expected.assert_eq(&whole.lines.concat());
}

enum Step {
    Client(Command),
    Respond(Vec<u8>),
    Cancel,
    Server(Vec<u8>),
    EndOfInput,
}

impl Step {
    fn len(&self) -> usize {
        match self {
            Self::Server(octets) => octets.len(),
            _ => 0,
        }
    }
}

/// What a caller of the client gets to see.
struct Seen {
    /// A line for each event; the pieces of a body are joined.
    lines: Vec<String>,
    unsolicited: bool,
}

impl Seen {
    /// Cuts what the server sends at a time into at most so many pieces of this size.
    fn of(steps: &[Step], size: usize, pieces: usize) -> Self {
        let mut seen = Self {
            lines: Vec::new(),
            unsolicited: false,
        };
        let mut client = Client::new(Limits::default());
        let outcome = steps.iter().try_for_each(|step| match step {
            Step::Client(command) => {
                client.send(command.clone())?;
                client.output_written(client.output().len());
                Ok(())
            }
            Step::Respond(octets) => {
                client.respond(&octets.clone().into())?;
                client.output_written(client.output().len());
                Ok(())
            }
            Step::Cancel => {
                client.cancel()?;
                client.output_written(client.output().len());
                Ok(())
            }
            Step::Server(octets) => {
                let mut rest = &octets[..];
                for piece in 1.. {
                    let length = if piece == pieces {
                        rest.len()
                    } else {
                        size.min(rest.len())
                    };
                    seen.feed(&mut client, &rest[..length])?;
                    rest = &rest[length..];
                    if rest.is_empty() {
                        break;
                    }
                }
                Ok(())
            }
            Step::EndOfInput => client.end_of_input(),
        });
        if let Err(error) = outcome {
            seen.unsolicited = matches!(
                error,
                Error::Violation(Violation::ClearAfterStls { .. } | Violation::Unsolicited { .. })
            );
            let sort = match &error {
                Error::Closed(_) => "closed",
                Error::Limit(_) => "limit",
                Error::Misuse(_) => "misuse",
                Error::Violation(_) => "violation",
                _ => "error",
            };
            seen.lines.push(format!("{sort}: {error}\n"));
            seen.lines
                .extend(error.hint().map(|hint| format!("hint: {hint}\n")));
        }
        seen
    }

    fn feed(&mut self, client: &mut Client, mut input: &[u8]) -> Result<(), Error> {
        loop {
            let available = input.len();
            let received = client.receive(input)?;
            let idle = received.event.is_none() && received.consumed == available;
            assert!(
                idle || received.event.is_some() || received.consumed > 0,
                "no progress"
            );
            input = &input[received.consumed..];
            match received.event {
                Some(Event::Body(piece)) => {
                    let piece = piece.escape_ascii().to_string();
                    match self.lines.last_mut() {
                        Some(last) if last.starts_with("Body") => {
                            last.truncate(last.len() - 1);
                            last.push_str(&format!("{piece}\n"));
                        }
                        _ => self.lines.push(format!("Body {piece}\n")),
                    }
                }
                Some(event) => {
                    self.lines.push(show(&event));
                    client.output_written(client.output().len());
                }
                None if idle => return Ok(()),
                None => {}
            }
        }
    }

    #[track_caller]
    fn must_agree_with(&self, other: &Self, how: &str) {
        if self.unsolicited && other.unsolicited {
            // The last reply is not believed if the octet too many came along with it, and the
            // quotation depends on the piece.
            let (ours, theirs) = (self.lines.len() - 1, other.lines.len() - 1);
            assert!(
                theirs.abs_diff(ours) <= 1,
                "{how}: {:?}, {:?}",
                self.lines,
                other.lines
            );
            let both = ours.min(theirs);
            assert_eq!(self.lines[..both], other.lines[..both], "{how}");
        } else {
            assert_eq!(self.lines, other.lines, "{how}");
        }
    }
}

fn show(event: &Event<'_>) -> String {
    match event {
        Event::Body(_) => unreachable!("joined by the caller"),
        Event::Challenge { octets: None } => "Challenge that cannot be decoded\n".to_owned(),
        Event::Challenge {
            octets: Some(octets),
        } => format!("Challenge <{}>\n", octets.escape_ascii()),
        Event::Capabilities(known) => format!("Capabilities {:?}\n", known.lines()),
        Event::End { command } => format!("End of {command}\n"),
        Event::Greeting { text } => format!("Greeting {text:?}\n"),
        Event::MalformedListing { command, line } => {
            format!("MalformedListing of {command} {line:?}\n")
        }
        Event::Maildrop(maildrop) => format!("Maildrop {} {}\n", maildrop.count, maildrop.size),
        Event::Ok { command, text } => format!("Ok to {command} {text:?}\n"),
        Event::Rejected {
            command,
            code: None,
            text,
        } => format!("Rejected {command} {text:?}\n"),
        Event::Rejected {
            command,
            code: Some(code),
            text,
        } => {
            format!("Rejected {command} <{code}> {text:?}\n")
        }
        Event::ScanListing { number, size } => format!("ScanListing {number} {size}\n"),
        Event::UniqueIdListing { number, uid } => {
            format!("UniqueIdListing {number} <{}>\n", uid.escape_ascii())
        }
    }
}

/// Reads a transcript; what the server says in successive lines arrives together.
fn parse(transcript: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    for line in transcript
        .lines()
        .map(str::trim_start)
        .filter(|line| !line.is_empty())
    {
        let (side, text) = line.split_at(line.len().min(2));
        let text = text.strip_prefix(' ').unwrap_or(text);
        let end: &[u8] = match side {
            "C:" => {
                steps.push(Step::Client(command(text)));
                continue;
            }
            "C+" => {
                steps.push(Step::Respond(unescape(text)));
                continue;
            }
            "C*" => {
                steps.push(Step::Cancel);
                continue;
            }
            "EO" => {
                steps.push(Step::EndOfInput);
                continue;
            }
            "S:" => b"\r\n",
            "s:" => b"\n",
            "S~" => b"",
            _ => panic!("who says `{line}`?"),
        };
        let octets = [&unescape(text), end].concat();
        match steps.last_mut() {
            Some(Step::Server(before)) => before.extend(octets),
            _ => steps.push(Step::Server(octets)),
        }
    }
    steps
}

fn command(line: &str) -> Command {
    let (name, argument) = line.split_once(' ').unwrap_or((line, ""));
    let number = |text: &str| -> MessageNumber {
        let number: u32 = text.parse().expect("a number");
        number.try_into().expect("a message number")
    };
    match (name, argument) {
        ("APOP", argument) => {
            let (user, digest) = argument.split_once(' ').expect("a name and a digest");
            Command::Apop {
                user: user.into(),
                digest: digest.into(),
            }
        }
        ("AUTH", argument) => {
            let (name, initial) = match argument.split_once(' ') {
                Some((name, initial)) => (name, Some(unescape(initial).into())),
                None => (argument, None),
            };
            Command::Auth {
                mechanism: Mechanism::from_name(name).expect("a mechanism"),
                initial,
            }
        }
        ("CAPA", "") => Command::Capa,
        ("DELE", argument) => Command::Dele(number(argument)),
        ("LIST", "") => Command::List(None),
        ("LIST", argument) => Command::List(Some(number(argument))),
        ("NOOP", "") => Command::Noop,
        ("PASS", argument) => Command::Pass(argument.into()),
        ("QUIT", "") => Command::Quit,
        ("RETR", argument) => Command::Retr(number(argument)),
        ("RSET", "") => Command::Rset,
        ("STAT", "") => Command::Stat,
        ("STLS", "") => Command::Stls,
        ("TOP", argument) => {
            let (message, lines) = argument.split_once(' ').expect("two numbers");
            Command::Top(number(message), lines.parse().expect("a number"))
        }
        ("UIDL", "") => Command::Uidl(None),
        ("UIDL", argument) => Command::Uidl(Some(number(argument))),
        ("USER", argument) => Command::User(argument.into()),
        _ => panic!("no command: `{line}`"),
    }
}

fn unescape(text: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&octet, after)) = rest.split_first() {
        rest = after;
        if octet != b'\\' {
            octets.push(octet);
            continue;
        }
        let (&escape, after) = rest.split_first().expect("an escape");
        rest = after;
        octets.push(match escape {
            b'0' => 0,
            b'\\' => b'\\',
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'x' => {
                let digits = std::str::from_utf8(&rest[..2]).expect("two digits");
                rest = &rest[2..];
                u8::from_str_radix(digits, 16).expect("two hexadecimal digits")
            }
            _ => panic!("unknown escape in `{text}`"),
        });
    }
    octets
}
