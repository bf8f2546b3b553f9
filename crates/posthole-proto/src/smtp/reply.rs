//! Replies: a code, and lines of text (RFC 5321 §4.2).

use alloc::string::String;
use alloc::vec::Vec;

use super::command::CommandKind;
use super::error::{Error, Limit, Violation};
use crate::conceal::Concealed;
use crate::line::LineReader;
use crate::text;

/// How much is taken from a server before it is called mad.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// How much of a line is kept; RFC 5321 §4.5.3.1.5 has 512 octets, challenges
    /// may be longer (RFC 4954 §4).
    pub line: usize,
    /// How long a line may be before it is given up on.
    pub unended_line: usize,
    /// How many lines a reply may have. At worst all are kept.
    pub lines: usize,
}

impl Default for Limits {
    /// At worst 128 KiB.
    fn default() -> Self {
        Self {
            line: 1024,
            unended_line: 64 << 10,
            lines: 128,
        }
    }
}

/// An answer of the server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reply {
    code: u16,
    lines: Vec<Vec<u8>>,
}

impl Reply {
    /// The code, from 200 to 599.
    #[must_use]
    pub const fn code(&self) -> u16 {
        self.code
    }

    /// Whether this is a yes (2yz).
    #[must_use]
    pub const fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }

    /// Whether more is awaited from us (3yz).
    #[must_use]
    pub const fn is_intermediate(&self) -> bool {
        self.code / 100 == 3
    }

    /// Whether this is a no, for now (4yz) or for good (5yz).
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        matches!(self.code / 100, 4 | 5)
    }

    /// Whether this is a no for good (5yz).
    #[must_use]
    pub const fn is_permanent(&self) -> bool {
        self.code / 100 == 5
    }

    /// Whether the server closes the connection (421).
    #[must_use]
    pub const fn is_closing(&self) -> bool {
        self.code == 421
    }

    /// The lines, as they came, without codes.
    pub fn lines(&self) -> impl Iterator<Item = &[u8]> {
        self.lines.iter().map(Vec::as_slice)
    }

    /// The challenge in a reply 334 to AUTH (RFC 4954 §4); none if it is not encoded as it must be.
    #[must_use]
    pub fn challenge(&self) -> Option<Vec<u8>> {
        let line = self.lines.first().map_or(&b""[..], Vec::as_slice);
        data_encoding::BASE64.decode(line.trim_ascii()).ok()
    }

    /// Code and words for a person, on one line, cleaned and at most a few hundred characters.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut words = alloc::format!("{}", self.code);
        for line in self.lines() {
            let line = text::clean(line);
            let line = line.trim();
            if line.is_empty() {
                continue;
            }
            words.push(' ');
            words.push_str(line);
            if let Some((cut, _)) = words.char_indices().nth(SHOWN_CHARS) {
                words.truncate(cut);
                words.push('…');
                break;
            }
        }
        words
    }

    /// The beginning, for an error.
    pub(super) fn first_line(&self) -> String {
        let first = self.lines.first().map_or(&b""[..], Vec::as_slice);
        alloc::format!("{} {}", self.code, text::excerpt(first))
    }
}

/// Finds replies in a stream.
pub(super) struct ReplyReader {
    lines: LineReader,
    limits: Limits,
    code: Option<u16>,
    collected: Vec<Vec<u8>>,
    concealed: Concealed,
}

impl ReplyReader {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            lines: LineReader::new(limits.unended_line),
            limits,
            code: None,
            collected: Vec::new(),
            concealed: Concealed::default(),
        }
    }

    /// What replies are not to repeat.
    pub(super) const fn conceal_mut(&mut self) -> &mut Concealed {
        &mut self.concealed
    }

    /// Whether a reply has begun that has not ended.
    pub(super) const fn is_midway(&self) -> bool {
        self.code.is_some() || self.lines.is_midway()
    }

    /// Consumes input up to the end of the current line; returns the reply if that ended it.
    pub(super) fn next(
        &mut self,
        input: &[u8],
        awaiting: Option<CommandKind>,
    ) -> Result<(usize, Option<Reply>), Error> {
        let (consumed, line) = match self.lines.next(input, self.limits.line) {
            Ok(step) => step,
            Err(too_long) => {
                return Err(Limit::LineLength {
                    limit: too_long.limit,
                }
                .into());
            }
        };
        let Some(line) = line else {
            return Ok((consumed, None));
        };
        let Some((code, more, words)) = parse(line.bytes) else {
            let received = text::excerpt(self.concealed.hide(line.bytes));
            let greeting = awaiting == Some(CommandKind::Connect) && self.code.is_none();
            return Err(if greeting {
                Violation::NotSmtp { received }.into()
            } else {
                Violation::NotAReply { received }.into()
            });
        };
        if self.code.is_some_and(|first| first != code) {
            let received = text::excerpt(self.concealed.hide(line.bytes));
            return Err(Violation::MixedCodes { received }.into());
        }
        if self.collected.len() >= self.limits.lines {
            return Err(Limit::ReplyLines {
                limit: self.limits.lines,
            }
            .into());
        }
        self.collected.push(self.concealed.hide(words).into());
        self.code = Some(code);
        if more {
            return Ok((consumed, None));
        }
        self.code = None;
        let lines = core::mem::take(&mut self.collected);
        Ok((consumed, Some(Reply { code, lines })))
    }
}

/// Splits a line into its code, whether another follows, and the words.
///
/// A code alone is taken for a last line (RFC 5321 §4.2 has clients accept that).
fn parse(line: &[u8]) -> Option<(u16, bool, &[u8])> {
    let (code, rest) = line.split_at_checked(3)?;
    let [
        first @ b'2'..=b'5',
        second @ b'0'..=b'9',
        third @ b'0'..=b'9',
    ] = code
    else {
        return None;
    };
    let digit = |octet: &u8| u16::from(octet - b'0');
    let code = digit(first) * 100 + digit(second) * 10 + digit(third);
    match rest.split_first() {
        None => Some((code, false, rest)),
        Some((b' ', words)) => Some((code, false, words)),
        Some((b'-', words)) => Some((code, true, words)),
        Some(_) => None,
    }
}

const SHOWN_CHARS: usize = 400;
