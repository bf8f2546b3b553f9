//! Dot-stuffing (RFC 1939 §3, RFC 5321 §4.5.2), as a stream in both directions.
//!
//! A text ends with a line that holds a dot and nothing else, and a dot in front of any other line
//! is doubled. The hard part is to agree with the other side about what a line is: a reader that
//! takes LF `.` LF for the end, while the writer doubles dots after CR LF only, cuts a message in
//! two and reads its second half as replies. So both directions are told which line end counts,
//! and only that one does.
//!
//! Line ends are not converted here. A writer who must not pass on a bare LF (SMTP) converts
//! before stuffing.

use alloc::vec::Vec;

use memchr::memmem::Finder;

use crate::line::LineEnd;

/// Takes the stuffing out of a text and finds its end.
///
/// ```
/// use posthole_proto::{dot::Unstuffer, line::LineEnd};
///
/// let mut unstuffer = Unstuffer::new(LineEnd::Crlf);
/// let first = unstuffer.next(b"one\r\n..two\r\n.\r\n+OK");
/// assert_eq!((first.consumed, first.body, first.end), (6, &b"one\r\n"[..], false));
/// let second = unstuffer.next(b".two\r\n.\r\n+OK");
/// assert_eq!((second.consumed, second.body, second.end), (7, &b".two\r\n"[..], false));
/// let third = unstuffer.next(b"\r\n+OK");
/// assert_eq!((third.consumed, third.body, third.end), (2, &b""[..], true));
/// ```
#[derive(Clone, Debug)]
pub struct Unstuffer {
    place: Place,
    lines: Lines,
}

/// What a piece of input yielded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Unstuffed<'a> {
    /// How much of the input is done with.
    pub consumed: usize,
    /// A piece of the text; empty if there is none in what was consumed.
    pub body: &'a [u8],
    /// Whether the text is complete.
    pub end: bool,
}

impl Unstuffer {
    /// Makes a reader for one text whose lines end in this way.
    ///
    /// Where lines end in a bare LF, a lone dot before CR LF ends the text too: a writer that
    /// doubles dots after every LF cannot have meant anything else.
    #[must_use]
    pub fn new(line_end: LineEnd) -> Self {
        Self {
            place: Place::LineStart,
            lines: Lines::new(line_end),
        }
    }

    /// Which line end counts.
    #[must_use]
    pub const fn line_end(&self) -> LineEnd {
        self.lines.end
    }

    /// Consumes input up to the next dot that is not part of the text.
    ///
    /// Call it until everything is consumed or `end` is set; it makes progress unless the input is
    /// empty. Pieces are as large as the input allows. After the end it is ready for another text.
    pub fn next<'a>(&mut self, input: &'a [u8]) -> Unstuffed<'a> {
        let mut at = 0;
        // At the start of a line, the octets that tell a lone dot from a doubled one.
        loop {
            let Some(&octet) = input.get(at) else {
                return Unstuffed {
                    consumed: at,
                    body: b"",
                    end: false,
                };
            };
            match (self.place, octet) {
                (Place::LineStart, b'.') => self.place = Place::Dot,
                (Place::Dot, b'\r') => self.place = Place::DotCr,
                (Place::Dot, b'\n') if self.lines.end == LineEnd::Lf => {
                    self.place = Place::LineStart;
                    return Unstuffed {
                        consumed: at + 1,
                        body: b"",
                        end: true,
                    };
                }
                (Place::DotCr, b'\n') => {
                    self.place = Place::LineStart;
                    return Unstuffed {
                        consumed: at + 1,
                        body: b"",
                        end: true,
                    };
                }
                (Place::DotCr, _) => {
                    // The CR was the first octet of the line. It may have come with the piece
                    // before and cannot be lent from there any more.
                    self.place = Place::Inside;
                    return Unstuffed {
                        consumed: at,
                        body: b"\r",
                        end: false,
                    };
                }
                _ => break,
            }
            at += 1;
        }
        let rest = &input[at..];
        match self.lines.before_dot(self.place, rest) {
            Some(length) => {
                self.place = Place::Dot;
                Unstuffed {
                    consumed: at + length + 1,
                    body: &rest[..length],
                    end: false,
                }
            }
            None => {
                self.place = self.lines.place_after(self.place, rest);
                Unstuffed {
                    consumed: input.len(),
                    body: rest,
                    end: false,
                }
            }
        }
    }
}

/// Puts the stuffing into a text and ends it.
///
/// Used by whoever writes messages: servers of POP3 in the tests, clients of SMTP.
#[derive(Clone, Debug)]
pub struct Stuffer {
    place: Place,
    lines: Lines,
}

impl Stuffer {
    /// Makes a writer for one text whose lines end in this way.
    #[must_use]
    pub fn new(line_end: LineEnd) -> Self {
        Self {
            place: Place::LineStart,
            lines: Lines::new(line_end),
        }
    }

    /// Appends a piece of the text to `output`.
    pub fn write(&mut self, piece: &[u8], output: &mut Vec<u8>) {
        let mut rest = piece;
        loop {
            if self.place == Place::LineStart && rest.first() == Some(&b'.') {
                output.push(b'.');
            }
            let Some(length) = self.lines.before_dot(self.place, rest) else {
                break;
            };
            output.extend_from_slice(&rest[..length]);
            rest = &rest[length..];
            self.place = Place::LineStart;
        }
        output.extend_from_slice(rest);
        self.place = self.lines.place_after(self.place, rest);
    }

    /// Completes the last line, if it has no end yet, and appends the lone dot.
    pub fn finish(self, output: &mut Vec<u8>) {
        let end = self.lines.end.as_bytes();
        if self.place != Place::LineStart {
            output.extend_from_slice(end);
        }
        output.push(b'.');
        output.extend_from_slice(end);
    }
}

/// Where in a line the stream stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Place {
    /// After a CR that is part of the text. Only where lines end in CR LF.
    Cr,
    /// After a dot that was the first octet of its line.
    Dot,
    /// After such a dot and a CR.
    DotCr,
    /// Anywhere else in a line.
    Inside,
    /// Before the first octet of a line.
    LineStart,
}

/// What a line is, and where the next one with a dot in front begins.
#[derive(Clone, Debug)]
struct Lines {
    end: LineEnd,
    dotted: Finder<'static>,
}

impl Lines {
    fn new(end: LineEnd) -> Self {
        let dotted = match end {
            LineEnd::Crlf => Finder::new(b"\r\n."),
            LineEnd::Lf => Finder::new(b"\n."),
        };
        Self { end, dotted }
    }

    /// The length of the text up to the next line that begins with a dot.
    fn before_dot(&self, place: Place, text: &[u8]) -> Option<usize> {
        if place == Place::Cr && text.starts_with(b"\n.") {
            return Some(1);
        }
        self.dotted
            .find(text)
            .map(|at| at + self.end.as_bytes().len())
    }

    /// Where the stream stands after text in which no line begins with a dot.
    fn place_after(&self, place: Place, text: &[u8]) -> Place {
        match (self.end, text) {
            (_, []) => place,
            (LineEnd::Lf, [.., b'\n']) | (LineEnd::Crlf, [.., b'\r', b'\n']) => Place::LineStart,
            (LineEnd::Crlf, [b'\n']) if place == Place::Cr => Place::LineStart,
            (LineEnd::Crlf, [.., b'\r']) => Place::Cr,
            _ => Place::Inside,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec as any_vec;
    use proptest::prelude::*;

    use super::*;

    /// Feeds the pieces; returns the text, and what came after its end.
    fn unstuff(line_end: LineEnd, pieces: &[&[u8]]) -> (Vec<u8>, Option<Vec<u8>>) {
        let mut unstuffer = Unstuffer::new(line_end);
        let (mut text, mut after): (Vec<u8>, Option<Vec<u8>>) = (Vec::new(), None);
        for piece in pieces {
            let mut rest = *piece;
            while !rest.is_empty() {
                if let Some(after) = &mut after {
                    after.extend_from_slice(rest);
                    break;
                }
                let step = unstuffer.next(rest);
                assert!(
                    step.consumed > 0 || !step.body.is_empty() || step.end,
                    "no progress"
                );
                text.extend_from_slice(step.body);
                rest = &rest[step.consumed..];
                if step.end {
                    after = Some(Vec::new());
                }
            }
        }
        (text, after)
    }

    fn stuff(line_end: LineEnd, pieces: &[&[u8]]) -> Vec<u8> {
        let mut stuffer = Stuffer::new(line_end);
        let mut output = Vec::new();
        for piece in pieces {
            stuffer.write(piece, &mut output);
        }
        stuffer.finish(&mut output);
        output
    }

    fn pieces<'a>(text: &'a [u8], sizes: &[usize]) -> Vec<&'a [u8]> {
        let (mut rest, mut pieces) = (text, Vec::new());
        for size in sizes.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, after) = rest.split_at((*size).min(rest.len()));
            pieces.push(piece);
            rest = after;
        }
        pieces
    }

    /// The rule, line by line, as RFC 1939 §3 words it.
    fn unstuff_slowly(mut wire: &[u8]) -> (Vec<u8>, Option<Vec<u8>>) {
        let mut text = Vec::new();
        loop {
            let end = wire.windows(2).position(|pair| pair == b"\r\n");
            let line = &wire[..end.map_or(wire.len(), |at| at + 2)];
            wire = &wire[line.len()..];
            match (line, end) {
                (b".\r\n", Some(_)) => return (text, Some(wire.to_vec())),
                // Not decided yet, so not said yet.
                (b"." | b".\r", None) => return (text, None),
                ([b'.', stuffed @ ..], _) => text.extend_from_slice(stuffed),
                _ => text.extend_from_slice(line),
            }
            if end.is_none() {
                return (text, None);
            }
        }
    }

    /// What breaks clients that look for the end in the wrong way (RFC 5321 calls for CR LF only).
    #[test]
    fn only_a_lone_dot_between_the_right_line_ends_is_the_end() {
        type Row = (&'static [u8], &'static [u8], Option<&'static [u8]>);
        let crlf: &[Row] = &[
            (b".\r\n", b"", Some(b"")),
            (b".\r\n+OK\r\n", b"", Some(b"+OK\r\n")),
            (b"a\r\n.\r\n", b"a\r\n", Some(b"")),
            (b"a\r\n..\r\n.\r\n", b"a\r\n.\r\n", Some(b"")),
            (b"..\r\n.\r\n", b".\r\n", Some(b"")),
            (b"...\r\n.\r\n", b"..\r\n", Some(b"")),
            (b".a\r\n.\r\n", b"a\r\n", Some(b"")),
            // A bare LF is no line end, so none of these is a lone dot.
            (b"a\n.\nb\r\n.\r\n", b"a\n.\nb\r\n", Some(b"")),
            (b"a\n.\r\nb\r\n.\r\n", b"a\n.\r\nb\r\n", Some(b"")),
            (b"a\r\n.\nb\r\n.\r\n", b"a\r\n\nb\r\n", Some(b"")),
            (b".\nb\r\n.\r\n", b"\nb\r\n", Some(b"")),
            // Nor is a bare CR.
            (b"a\r.\r\n.\r\n", b"a\r.\r\n", Some(b"")),
            (b"a\r\n.\rb\r\n.\r\n", b"a\r\n\rb\r\n", Some(b"")),
            (b"a\r\n.\r\r\nb\r\n.\r\n", b"a\r\n\r\r\nb\r\n", Some(b"")),
            (b"a\r\r\n.\r\n", b"a\r\r\n", Some(b"")),
            (b"a\r\n.\r.\r\n.\r\n", b"a\r\n\r.\r\n", Some(b"")),
            (b"a\r\n.\r\r.\r\n.\r\n", b"a\r\n\r\r.\r\n", Some(b"")),
            // The dot of a last line without end cannot be told from text.
            (b"text.\r\n", b"text.\r\n", None),
            (b"a\r\n. \r\n", b"a\r\n \r\n", None),
            (b"a\r\n.\0\r\n", b"a\r\n\0\r\n", None),
        ];
        let lf: &[Row] = &[
            (b".\n", b"", Some(b"")),
            (b"a\n.\n", b"a\n", Some(b"")),
            (b"a\n..\n.\n", b"a\n.\n", Some(b"")),
            (b"a\r\n.\r\n", b"a\r\n", Some(b"")),
            (b"a\r\n..\r\n.\n", b"a\r\n.\r\n", Some(b"")),
            (b"a\n.\rb\n.\n", b"a\n\rb\n", Some(b"")),
        ];
        for (line_end, table) in [(LineEnd::Crlf, crlf), (LineEnd::Lf, lf)] {
            for &(wire, text, after) in table {
                let expected = (text.to_vec(), after.map(<[u8]>::to_vec));
                for cut in 0..=wire.len() {
                    let (left, right) = wire.split_at(cut);
                    let found = unstuff(line_end, &[left, right]);
                    assert_eq!(found, expected, "{line_end:?} {}", wire.escape_ascii());
                }
                let single: Vec<&[u8]> = wire.chunks(1).collect();
                assert_eq!(
                    unstuff(line_end, &single),
                    expected,
                    "{}",
                    wire.escape_ascii()
                );
            }
        }
    }

    #[test]
    fn a_piece_without_stuffing_is_one_slice_of_the_input() {
        let input = b"Subject: x\r\n\r\n".repeat(1000);
        let step = Unstuffer::new(LineEnd::Crlf).next(&input);
        assert_eq!(step.consumed, input.len());
        assert!(core::ptr::eq(step.body, &*input));
    }

    #[test]
    fn a_text_without_last_line_end_gets_one() {
        assert_eq!(stuff(LineEnd::Crlf, &[b".a"]), b"..a\r\n.\r\n");
        assert_eq!(stuff(LineEnd::Crlf, &[b"a\r"]), b"a\r\r\n.\r\n");
        assert_eq!(stuff(LineEnd::Lf, &[b"a"]), b"a\n.\n");
        assert_eq!(stuff(LineEnd::Crlf, &[]), b".\r\n");
    }

    /// Text made of the octets that matter here.
    fn text() -> impl Strategy<Value = Vec<u8>> {
        any_vec(
            prop_oneof![
                4 => Just(b'.'),
                4 => Just(b'\r'),
                4 => Just(b'\n'),
                2 => Just(b'a'),
                1 => any::<u8>(),
            ],
            0..120,
        )
    }

    proptest! {
        #[test]
        fn what_was_stuffed_is_what_comes_out(
            lf in any::<bool>(),
            text in text(),
            write_sizes in any_vec(1usize..9, 1..9),
            read_sizes in any_vec(1usize..9, 1..9),
        ) {
            let line_end = if lf { LineEnd::Lf } else { LineEnd::Crlf };
            let mut wire = stuff(line_end, &pieces(&text, &write_sizes));
            prop_assert_eq!(&wire, &stuff(line_end, &[&text]));
            wire.extend_from_slice(b"+OK");
            let mut expected = text;
            if !expected.is_empty() && !expected.ends_with(line_end.as_bytes()) {
                expected.extend_from_slice(line_end.as_bytes());
            }
            let found = unstuff(line_end, &pieces(&wire, &read_sizes));
            prop_assert_eq!(found, (expected, Some(b"+OK".to_vec())));
        }

        #[test]
        fn any_octets_are_read_as_the_rule_says(
            wire in text(),
            sizes in any_vec(1usize..9, 1..9),
        ) {
            let expected = unstuff_slowly(&wire);
            prop_assert_eq!(&unstuff(LineEnd::Crlf, &pieces(&wire, &sizes)), &expected);
            prop_assert_eq!(&unstuff(LineEnd::Crlf, &[&wire]), &expected);
        }
    }
}
