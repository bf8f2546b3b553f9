//! Lines out of a stream that arrives in arbitrary pieces.
//!
//! The hard part is the line that is longer than anybody should send. It must neither fill the
//! memory nor cost the place in the stream: its beginning is kept, the rest is thrown away, and
//! the next line is found where it starts. Only a line that does not seem to end is an error.
//!
//! A line ends at LF. Whether a CR stood before it is told to the caller, who knows what that
//! means; nothing is decided about it here.

use alloc::vec::Vec;

/// How a line ended.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum LineEnd {
    /// CR LF, as the protocols of mail require (RFC 1939 §3, RFC 5321 §2.3.8).
    Crlf,
    /// A bare LF.
    Lf,
}

impl LineEnd {
    /// The octets themselves.
    #[must_use]
    pub const fn as_bytes(self) -> &'static [u8] {
        match self {
            Self::Crlf => b"\r\n",
            Self::Lf => b"\n",
        }
    }
}

/// One line without its end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Line<'a> {
    /// The line, or as much of its beginning as was to be kept.
    pub bytes: &'a [u8],
    /// How it ended.
    pub end: LineEnd,
    /// Whether its rest was thrown away.
    pub truncated: bool,
}

/// Finds lines in a stream.
///
/// ```
/// use posthole_proto::line::LineReader;
///
/// let mut lines = LineReader::new(1000);
/// assert_eq!(lines.next(b"+OK he", 80)?, (6, None));
/// let (consumed, line) = lines.next(b"llo\r\n+OK", 80)?;
/// assert_eq!((consumed, line.map(|line| line.bytes)), (5, Some(&b"+OK hello"[..])));
/// # Ok::<(), posthole_proto::line::TooLong>(())
/// ```
#[derive(Clone)]
pub struct LineReader {
    /// The beginning of a line whose end has not arrived, as much as is to be kept.
    held: Vec<u8>,
    /// Octets of the current line that arrived in earlier pieces, held or not.
    length: usize,
    /// The last of them.
    last: u8,
    /// Where a line is given up on.
    give_up: usize,
}

impl LineReader {
    /// Makes a reader that reports a line of more than `give_up` octets as an error.
    #[must_use]
    pub const fn new(give_up: usize) -> Self {
        Self {
            held: Vec::new(),
            length: 0,
            last: 0,
            give_up,
        }
    }

    /// Whether the beginning of a line has arrived without its end.
    #[must_use]
    pub const fn is_midway(&self) -> bool {
        self.length > 0
    }

    /// Consumes input up to the end of the current line and returns how much that was.
    ///
    /// Without a line all of the input was consumed. At most `keep` octets of a line are returned;
    /// a line that is not split over several pieces is borrowed from the input.
    pub fn next<'a>(
        &'a mut self,
        input: &'a [u8],
        keep: usize,
    ) -> Result<(usize, Option<Line<'a>>), TooLong> {
        if self.length == 0 {
            // What is held was lent to the caller with the line before.
            self.held.clear();
        }
        let Some(newline) = memchr::memchr(b'\n', input) else {
            self.hold(input, keep)?;
            return Ok((input.len(), None));
        };
        let (piece, consumed) = (&input[..newline], newline + 1);
        let length = self.length + piece.len();
        if length > self.give_up {
            return Err(TooLong {
                limit: self.give_up,
            });
        }
        let last = piece.last().copied().unwrap_or(self.last);
        let bytes = if self.length == 0 {
            piece
        } else {
            self.hold(piece, keep)?;
            &self.held
        };
        self.length = 0;
        let (end, length) = match last {
            b'\r' if length > 0 => (LineEnd::Crlf, length - 1),
            _ => (LineEnd::Lf, length),
        };
        let bytes = &bytes[..length.min(keep)];
        Ok((
            consumed,
            Some(Line {
                bytes,
                end,
                truncated: length > keep,
            }),
        ))
    }

    fn hold(&mut self, piece: &[u8], keep: usize) -> Result<(), TooLong> {
        let room = keep.saturating_sub(self.held.len());
        self.held.extend_from_slice(&piece[..piece.len().min(room)]);
        self.length += piece.len();
        self.last = piece.last().copied().unwrap_or(self.last);
        if self.length > self.give_up {
            return Err(TooLong {
                limit: self.give_up,
            });
        }
        Ok(())
    }
}

impl core::fmt::Debug for LineReader {
    /// Does not show what is held, which may be a secret that the other side repeats.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("LineReader")
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

/// A line does not seem to end.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a line is longer than {limit} octets")]
pub struct TooLong {
    /// Where it was given up on.
    pub limit: usize,
}

#[cfg(test)]
mod tests {
    use std::vec;

    use proptest::collection::vec as any_vec;
    use proptest::prelude::*;

    use super::*;

    type Owned = (Vec<u8>, LineEnd, bool);

    /// Feeds the pieces and collects what comes out.
    fn lines(pieces: &[&[u8]], keep: usize) -> Vec<Owned> {
        let mut reader = LineReader::new(usize::MAX);
        let mut found = Vec::new();
        for piece in pieces {
            let mut rest = *piece;
            while !rest.is_empty() {
                let (consumed, line) = reader.next(rest, keep).expect("no limit");
                if let Some(line) = line {
                    found.push((line.bytes.to_vec(), line.end, line.truncated));
                } else {
                    assert_eq!(
                        consumed,
                        rest.len(),
                        "without a line everything is consumed"
                    );
                }
                rest = &rest[consumed..];
            }
        }
        found
    }

    fn owned(bytes: &[u8], end: LineEnd) -> Owned {
        (bytes.to_vec(), end, false)
    }

    #[test]
    fn a_line_ends_at_lf_with_or_without_cr() {
        let expected = vec![
            owned(b"one", LineEnd::Crlf),
            owned(b"two", LineEnd::Lf),
            owned(b"", LineEnd::Crlf),
            owned(b"", LineEnd::Lf),
            owned(b"a\rb\r", LineEnd::Crlf),
        ];
        let text = b"one\r\ntwo\n\r\n\na\rb\r\r\nunfinished";
        assert_eq!(lines(&[text], 80), expected);
        let single: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(lines(&single, 80), expected);
    }

    #[test]
    fn an_overlong_line_is_cut_and_the_next_one_is_whole() {
        let text = b"123456789\r\nnext\r\n";
        let expected = vec![
            (b"12345".to_vec(), LineEnd::Crlf, true),
            owned(b"next", LineEnd::Crlf),
        ];
        assert_eq!(lines(&[text], 5), expected);
        let single: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(lines(&single, 5), expected);
    }

    #[test]
    fn a_line_of_exactly_the_kept_length_is_not_cut() {
        for end in [LineEnd::Crlf, LineEnd::Lf] {
            let text = [b"12345", end.as_bytes()].concat();
            for cut in 0..=text.len() {
                let (left, right) = text.split_at(cut);
                assert_eq!(lines(&[left, right], 5), vec![owned(b"12345", end)]);
            }
        }
    }

    #[test]
    fn a_line_without_end_takes_no_memory_and_is_given_up_on() {
        let mut reader = LineReader::new(1_000_000);
        let error = loop {
            match reader.next(&[b'x'; 1000], 100) {
                Ok((1000, None)) => assert!(reader.held.capacity() < 1000),
                Ok(other) => panic!("found {other:?} in a line without end"),
                Err(error) => break error,
            }
        };
        assert_eq!(error, TooLong { limit: 1_000_000 });
        assert_eq!(reader.length, 1_001_000);
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(
            text in any_vec(prop_oneof![Just(b'\r'), Just(b'\n'), any::<u8>()], 0..200),
            sizes in any_vec(1usize..9, 1..20),
            keep in 0usize..20,
        ) {
            let mut pieces = Vec::new();
            let mut rest = &text[..];
            for size in sizes.iter().cycle() {
                if rest.is_empty() { break; }
                let (piece, after) = rest.split_at((*size).min(rest.len()));
                pieces.push(piece);
                rest = after;
            }
            prop_assert_eq!(lines(&pieces, keep), lines(&[&text], keep));
        }

        #[test]
        fn lines_and_their_ends_make_up_the_text_again(
            text in any_vec(prop_oneof![Just(b'\r'), Just(b'\n'), any::<u8>()], 0..200),
        ) {
            let complete = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
            let mut again = Vec::new();
            for (line, end, _) in lines(&[&text], usize::MAX - 1) {
                again.extend_from_slice(&line);
                again.extend_from_slice(end.as_bytes());
            }
            prop_assert_eq!(again, &text[..complete]);
        }
    }
}
