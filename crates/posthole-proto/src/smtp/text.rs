//! A message as SMTP carries it: lines that end in CR LF, dots doubled, and nothing else that
//! anybody could take for the end of a line.
//!
//! Servers that end a line at a bare LF or a bare CR can be made to see the end of a message in
//! its middle, and what follows as commands ("SMTP smuggling"). So what goes out has CR and LF in
//! pairs only (RFC 5321 §2.3.8). A CR that ends no line becomes a blank rather than a line end,
//! which could make a header of what was none.

use alloc::vec::Vec;

use crate::dot::Stuffer;
use crate::line::LineEnd;

/// Encodes a text whose lines end in LF, or in CR LF.
///
/// ```
/// use posthole_proto::smtp::text::TextEncoder;
///
/// let (mut encoder, mut wire) = (TextEncoder::new(), Vec::new());
/// encoder.write(b"Subject: a\rb\n\n.\n", &mut wire);
/// encoder.finish(&mut wire);
/// assert_eq!(wire, b"Subject: a b\r\n\r\n..\r\n.\r\n");
/// ```
#[derive(Clone, Debug)]
pub struct TextEncoder {
    stuffer: Stuffer,
    /// CRs that have come last; what follows says what they are.
    held: usize,
    lines: Vec<u8>,
}

impl TextEncoder {
    /// Makes an encoder for one text.
    #[must_use]
    pub fn new() -> Self {
        Self {
            stuffer: Stuffer::new(LineEnd::Crlf),
            held: 0,
            lines: Vec::new(),
        }
    }

    /// Appends a piece of the text to `output`.
    pub fn write(&mut self, piece: &[u8], output: &mut Vec<u8>) {
        self.lines.clear();
        let mut rest = piece;
        while let Some(at) = memchr::memchr2(b'\r', b'\n', rest) {
            let (before, ended) = rest.split_at(at);
            self.plain(before);
            if ended[0] == b'\r' {
                self.held += 1;
            } else {
                // Those before it belong to the line end: CR CR LF is one.
                self.held = 0;
                self.lines.extend_from_slice(b"\r\n");
            }
            rest = &ended[1..];
        }
        self.plain(rest);
        self.stuffer.write(&self.lines, output);
    }

    /// Completes the last line, if it has no end yet, and appends the lone dot.
    pub fn finish(self, output: &mut Vec<u8>) {
        self.stuffer.finish(output);
    }

    /// Octets without CR and LF.
    fn plain(&mut self, octets: &[u8]) {
        if octets.is_empty() {
            return;
        }
        let blanks = core::mem::take(&mut self.held);
        self.lines.extend(core::iter::repeat_n(b' ', blanks));
        self.lines.extend_from_slice(octets);
    }
}

impl Default for TextEncoder {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec as any_vec;
    use proptest::prelude::*;

    use super::*;

    fn encode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
        let (mut encoder, mut output) = (TextEncoder::new(), Vec::new());
        for piece in pieces {
            encoder.write(piece, &mut output);
        }
        encoder.finish(&mut output);
        output
    }

    #[test]
    fn lines_end_in_pairs_and_dots_are_doubled() {
        let table: &[(&[u8], &[u8])] = &[
            (b"", b".\r\n"),
            (b"a", b"a\r\n.\r\n"),
            (b"a\nb\n", b"a\r\nb\r\n.\r\n"),
            (b"a\r\nb\r\n", b"a\r\nb\r\n.\r\n"),
            (b"a\r\r\nb", b"a\r\nb\r\n.\r\n"),
            (b"a\rb\n", b"a b\r\n.\r\n"),
            (b"a\r", b"a\r\n.\r\n"),
            (b"\r\r.\n", b"  .\r\n.\r\n"),
            (b".\n..\n.a\n", b"..\r\n...\r\n..a\r\n.\r\n"),
            (
                b"a\n.\nMAIL FROM:<x>\n",
                b"a\r\n..\r\nMAIL FROM:<x>\r\n.\r\n",
            ),
            (b"a\n.\rMAIL", b"a\r\n.. MAIL\r\n.\r\n"),
            (b"a\r.\rb", b"a . b\r\n.\r\n"),
        ];
        for (text, wire) in table {
            assert_eq!(encode([*text]), *wire, "{}", text.escape_ascii());
        }
    }

    proptest! {
        /// Whatever a server takes for a line end, it sees one end, and it is the last thing.
        #[test]
        fn no_text_can_end_itself(
            text in any_vec(prop_oneof![
                3 => Just(b'.'), 3 => Just(b'\r'), 3 => Just(b'\n'), 2 => Just(b'a'), 1 => any::<u8>()
            ], 0..80),
            cuts in any_vec(1usize..9, 1..9),
        ) {
            let wire = encode([&text[..]]);
            let (mut rest, mut pieces) = (&text[..], Vec::new());
            for cut in cuts.iter().cycle() {
                if rest.is_empty() { break; }
                let (piece, after) = rest.split_at((*cut).min(rest.len()));
                pieces.push(piece);
                rest = after;
            }
            prop_assert_eq!(&encode(pieces), &wire);
            let strict: Vec<u8> = wire.iter().copied().filter(|octet| *octet != b'\r').collect();
            let lines: Vec<&[u8]> = strict.split(|octet| *octet == b'\n').collect();
            let lone = lines.iter().filter(|line| **line == b".").count();
            prop_assert_eq!(lone, 1);
            prop_assert!(wire == b".\r\n" || wire.ends_with(b"\r\n.\r\n"));
            for (at, octet) in wire.iter().enumerate() {
                match octet {
                    b'\r' => prop_assert_eq!(wire.get(at + 1), Some(&b'\n')),
                    b'\n' => prop_assert_eq!(at.checked_sub(1).map(|at| wire[at]), Some(b'\r')),
                    _ => {}
                }
            }
        }
    }
}
