//! From octets to events: the half of the client that listens.
//!
//! The hard part is to stay in step. A reply carries no mark of the command that it answers; only
//! its place in the stream says so. One line too many, believed to be the answer to the next
//! command, would make a DELE look confirmed that was not. So replies are matched to a queue of
//! commands that have left, and whatever fits nothing in it is an error for good.

use alloc::string::String;
use alloc::vec::Vec;

use data_encoding::BASE64;

use super::Limits;
use super::capability::Capabilities;
use super::command::CommandKind;
use super::error::{Closed, Error, Limit, Violation};
use super::event::{Event, Received};
use super::queue::Queue;
use super::response::{self, RespCode, Status};
use crate::conceal::Concealed;
use crate::dot::Unstuffer;
use crate::line::{Line, LineEnd, LineReader};
use crate::text::{Text, clean, excerpt};

/// The replies of a server, matched to what they answer.
pub(super) struct Replies {
    limits: Limits,
    queue: Queue,
    reply: Reply,
    lines: LineReader,
    /// Reads messages, one after the other. It looks for the line end that the server uses: LF
    /// until a single status line ends in CR LF.
    body: Unstuffer,
    /// What servers have been seen to repeat and nobody is to see.
    concealed: Concealed,
    /// The last challenge, decoded.
    challenge: Vec<u8>,
}

/// How far the reply to the first awaited command has come.
enum Reply {
    /// Its status line is awaited.
    Status,
    /// Capabilities follow.
    Capabilities { known: Capabilities, lines: usize },
    /// Lines of LIST or UIDL follow.
    Listing { entries: u64 },
    /// A message follows.
    Body,
    /// No further reply will come: QUIT was answered, or the greeting was a refusal.
    Over,
}

impl Replies {
    /// Awaits the greeting.
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            queue: Queue::new(),
            reply: Reply::Status,
            lines: LineReader::new(limits.unended_line),
            body: Unstuffer::new(LineEnd::Lf),
            concealed: Concealed::default(),
            challenge: Vec::new(),
        }
    }

    pub(super) const fn queue(&self) -> &Queue {
        &self.queue
    }

    pub(super) const fn queue_mut(&mut self) -> &mut Queue {
        &mut self.queue
    }

    pub(super) const fn conceal_mut(&mut self) -> &mut Concealed {
        &mut self.concealed
    }

    /// Whether nothing more will be answered.
    pub(super) const fn is_over(&self) -> bool {
        matches!(self.reply, Reply::Over)
    }

    /// Says whether the server may close the connection now.
    pub(super) fn end_of_input(&self) -> Result<(), Closed> {
        let midway = match self.reply {
            Reply::Over => return Ok(()),
            Reply::Status => self.lines.is_midway(),
            _ => true,
        };
        Err(Closed {
            awaiting: self.queue.front(),
            midway,
        })
    }

    /// Takes one step through the input.
    pub(super) fn next<'a>(&'a mut self, input: &'a [u8]) -> Result<Received<'a>, Error> {
        if input.is_empty() {
            return Ok(Received {
                consumed: 0,
                event: None,
            });
        }
        let Some(command) = self.queue.front_sent() else {
            return Err(unsolicited(input, &self.concealed));
        };
        match self.reply {
            Reply::Body => {
                let step = self.body.next(input);
                let event = if step.end {
                    self.reply = Reply::Status;
                    let rest = &input[step.consumed..];
                    answered(&mut self.queue, rest, &self.concealed)?;
                    Some(Event::End { command })
                } else {
                    (!step.body.is_empty()).then_some(Event::Body(step.body))
                };
                Ok(Received {
                    consumed: step.consumed,
                    event,
                })
            }
            Reply::Capabilities { .. } | Reply::Listing { .. } => self.list_line(command, input),
            Reply::Over | Reply::Status => self.status_line(command, input),
        }
    }

    fn status_line<'a>(
        &'a mut self,
        command: CommandKind,
        input: &'a [u8],
    ) -> Result<Received<'a>, Error> {
        let concealed = &self.concealed;
        let keep = match command {
            CommandKind::Auth(_) => self.limits.challenge_line,
            _ => self.limits.status_line,
        };
        let (consumed, line) = next_line(&mut self.lines, input, keep, command)?;
        let Some(line) = line else {
            return Ok(Received {
                consumed,
                event: None,
            });
        };
        if line.end == LineEnd::Crlf && self.body.line_end() == LineEnd::Lf {
            self.body = Unstuffer::new(LineEnd::Crlf);
        }
        let Some(status) = Status::parse(line.bytes) else {
            if let CommandKind::Auth(_) = command
                && let Some(encoded) = response::challenge(line.bytes)
            {
                self.queue.challenge();
                let rest = &input[consumed..];
                if !rest.is_empty() {
                    return Err(unsolicited(rest, concealed));
                }
                let octets = match BASE64.decode(encoded) {
                    Ok(octets) if !line.truncated => {
                        self.challenge = octets;
                        Some(&self.challenge[..])
                    }
                    _ => None,
                };
                return Ok(Received {
                    consumed,
                    event: Some(Event::Challenge { octets }),
                });
            }
            let received = excerpt(concealed.hide(line.bytes));
            return Err(match command {
                CommandKind::Connect => Violation::NotPop3 { received }.into(),
                _ => Violation::NotAReply { command, received }.into(),
            });
        };
        let text = Text::new(concealed.hide(status.text));
        if status.positive
            && let Some(reply) = Reply::after_status(command)
        {
            // RETR and TOP have news before their first line arrives; the others only have lines.
            let event = matches!(reply, Reply::Body).then_some(Event::Ok { command, text });
            self.reply = reply;
            return Ok(Received { consumed, event });
        }
        match command {
            CommandKind::Quit => self.reply = Reply::Over,
            CommandKind::Connect if !status.positive => {
                // What was to follow the greeting is not sent any more.
                self.queue.drop_unsent();
                self.reply = Reply::Over;
            }
            CommandKind::Stls if status.positive && consumed < input.len() => {
                let received = beginning(&input[consumed..], concealed);
                return Err(Violation::ClearAfterStls { received }.into());
            }
            _ => {}
        }
        answered(&mut self.queue, &input[consumed..], concealed)?;
        let event = if !status.positive {
            Event::Rejected {
                command,
                code: RespCode::parse(status.text),
                text,
            }
        } else if command == CommandKind::Connect {
            Event::Greeting { text }
        } else {
            numbers(command, status.text).unwrap_or(Event::Ok { command, text })
        };
        Ok(Received {
            consumed,
            event: Some(event),
        })
    }

    /// Reads a line of CAPA, LIST or UIDL.
    fn list_line<'a>(
        &'a mut self,
        command: CommandKind,
        input: &'a [u8],
    ) -> Result<Received<'a>, Error> {
        let concealed = &self.concealed;
        let (consumed, line) = next_line(&mut self.lines, input, self.limits.list_line, command)?;
        let Some(Line {
            bytes,
            end,
            truncated,
        }) = line
        else {
            return Ok(Received {
                consumed,
                event: None,
            });
        };
        if bytes == b"." && (end == LineEnd::Crlf || self.body.line_end() == LineEnd::Lf) {
            let event = match core::mem::replace(&mut self.reply, Reply::Status) {
                Reply::Capabilities { known, .. } => Event::Capabilities(known),
                _ => Event::End { command },
            };
            answered(&mut self.queue, &input[consumed..], concealed)?;
            return Ok(Received {
                consumed,
                event: Some(event),
            });
        }
        if Status::parse(bytes).is_some() {
            let received = excerpt(concealed.hide(bytes));
            return Err(Violation::ReplyInsideList { command, received }.into());
        }
        // Lines are dot-stuffed here too (RFC 1939 §3).
        let bytes = bytes.strip_prefix(b".").unwrap_or(bytes);
        let event = match &mut self.reply {
            Reply::Capabilities { known, lines } => {
                *lines += 1;
                if *lines > self.limits.capability_lines {
                    let limit = self.limits.capability_lines;
                    return Err(Limit::CapabilityLines { limit }.into());
                }
                known.insert(&clean(bytes));
                None
            }
            Reply::Listing { entries } => {
                *entries += 1;
                if *entries > self.limits.listing_entries {
                    let limit = self.limits.listing_entries;
                    return Err(Limit::ListingEntries { command, limit }.into());
                }
                // A unique-id that was cut off would be another one.
                let entry = if truncated {
                    None
                } else {
                    entry(command, bytes)
                };
                Some(entry.unwrap_or_else(|| {
                    let line = Text::new(concealed.hide(bytes));
                    Event::MalformedListing { command, line }
                }))
            }
            Reply::Body | Reply::Over | Reply::Status => None,
        };
        Ok(Received { consumed, event })
    }
}

impl Reply {
    /// What follows the status line of a positive reply, if anything does.
    fn after_status(command: CommandKind) -> Option<Self> {
        match command {
            CommandKind::Capa => Some(Self::Capabilities {
                known: Capabilities::default(),
                lines: 0,
            }),
            CommandKind::List(None) | CommandKind::Uidl(None) => Some(Self::Listing { entries: 0 }),
            CommandKind::Retr(_) | CommandKind::Top(..) => Some(Self::Body),
            _ => None,
        }
    }
}

fn next_line<'a>(
    lines: &'a mut LineReader,
    input: &'a [u8],
    keep: usize,
    command: CommandKind,
) -> Result<(usize, Option<Line<'a>>), Limit> {
    lines.next(input, keep).map_err(|error| Limit::LineLength {
        command,
        limit: error.limit,
    })
}

/// Takes the first command off the queue, if what follows its reply can be a reply as well.
///
/// Otherwise the reply itself is not to be believed: it may have been meant for another command.
fn answered(queue: &mut Queue, rest: &[u8], concealed: &Concealed) -> Result<(), Error> {
    queue.pop();
    if queue.front_sent().is_none() && !rest.is_empty() {
        return Err(unsolicited(rest, concealed));
    }
    Ok(())
}

/// The event for a reply of one line that is to hold numbers, if it does.
fn numbers(command: CommandKind, text: &[u8]) -> Option<Event<'_>> {
    match command {
        CommandKind::Stat => response::maildrop(text).map(Event::Maildrop),
        CommandKind::List(Some(asked)) | CommandKind::Uidl(Some(asked)) => entry(command, text)
            .filter(|event| match event {
                Event::ScanListing { number, .. } | Event::UniqueIdListing { number, .. } => {
                    *number == asked
                }
                _ => false,
            }),
        _ => None,
    }
}

/// The event for an entry of LIST or UIDL.
fn entry(command: CommandKind, line: &[u8]) -> Option<Event<'_>> {
    match command {
        CommandKind::List(_) => {
            response::scan_listing(line).map(|(number, size)| Event::ScanListing { number, size })
        }
        _ => response::unique_id_listing(line)
            .map(|(number, uid)| Event::UniqueIdListing { number, uid }),
    }
}

fn unsolicited(input: &[u8], concealed: &Concealed) -> Error {
    let received = beginning(input, concealed);
    Violation::Unsolicited { received }.into()
}

/// The first line of the input as far as it is there, to be shown.
fn beginning(input: &[u8], concealed: &Concealed) -> String {
    // Only as much as a person will look at, so that the search for the password stays short.
    let beginning = &input[..input.len().min(WORTH_SHOWING)];
    let line = beginning
        .split(|octet| *octet == b'\n')
        .next()
        .unwrap_or_default();
    excerpt(concealed.hide(line.strip_suffix(b"\r").unwrap_or(line)))
}

const WORTH_SHOWING: usize = 2048;
