//! Answers of a conforming server, made piece by piece so that a gigabyte need not fit in memory.

use super::maildrop::Body;

/// The bytes of an answer, in pieces.
pub(super) type Answer = Box<dyn Iterator<Item = Vec<u8>> + Send>;

/// A single line.
pub(super) fn line(text: impl Into<Vec<u8>>) -> Answer {
    let mut bytes = text.into();
    bytes.extend_from_slice(b"\r\n");
    Box::new(std::iter::once(bytes))
}

/// A multi-line answer whose lines need no dot-stuffing (RFC 1939 §3).
pub(super) fn lines(
    status: impl Into<Vec<u8>>,
    lines: impl Iterator<Item = Vec<u8>> + Send + 'static,
) -> Answer {
    let body = lines.map(|mut line| {
        line.extend_from_slice(b"\r\n");
        line
    });
    Box::new(gather(line(status).chain(body).chain(line(*b"."))))
}

/// The answer to RETR.
pub(super) fn message(body: &Body) -> Answer {
    let status = format!("+OK {} octets", body.octets());
    Box::new(line(status).chain(Stuffed::new(body.chunks())))
}

/// The answer to TOP: the header, the empty line, and `n` lines of the body.
pub(super) fn top(body: &Body, n: u64) -> Answer {
    let mut text = Vec::new();
    let mut end = None;
    for chunk in body.chunks() {
        text.extend_from_slice(&chunk);
        end = top_end(&text, n);
        if end.is_some() {
            break;
        }
    }
    text.truncate(end.unwrap_or(text.len()));
    Box::new(
        line("+OK top of message follows").chain(Stuffed::new(Box::new(std::iter::once(text)))),
    )
}

fn top_end(text: &[u8], n: u64) -> Option<usize> {
    let header = if text.starts_with(b"\r\n") {
        2
    } else {
        memchr::memmem::find(text, b"\r\n\r\n")? + 4
    };
    let mut end = header;
    for _ in 0..n {
        end += memchr::memmem::find(&text[end..], b"\r\n")? + 2;
    }
    Some(end)
}

/// Joins many small pieces into fewer of about 32 KiB.
fn gather(
    mut pieces: impl Iterator<Item = Vec<u8>> + Send,
) -> impl Iterator<Item = Vec<u8>> + Send {
    std::iter::from_fn(move || {
        let mut joined = pieces.next()?;
        while joined.len() < 32 * 1024 {
            let Some(piece) = pieces.next() else { break };
            joined.extend_from_slice(&piece);
        }
        Some(joined)
    })
}

/// Dot-stuffs a message and ends it with the lone dot (RFC 1939 §3).
///
/// A line starts at the beginning and after each CRLF, wherever the pieces are cut; a message
/// without a final CRLF gets one.
struct Stuffed {
    chunks: Option<Answer>,
    /// The last two octets that were passed on; CRLF before the first.
    last: [u8; 2],
}

impl Stuffed {
    fn new(chunks: Answer) -> Self {
        Self {
            chunks: Some(chunks),
            last: *b"\r\n",
        }
    }
}

impl Iterator for Stuffed {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let Some(chunk) = self.chunks.as_mut()?.next() else {
            self.chunks = None;
            let end: &[u8] = if self.last == *b"\r\n" {
                b".\r\n"
            } else {
                b"\r\n.\r\n"
            };
            return Some(end.to_vec());
        };
        let mut out = Vec::with_capacity(chunk.len() + 64);
        if self.last == *b"\r\n" && chunk.first() == Some(&b'.') {
            out.push(b'.');
        }
        // CR before the cut, LF and dot after it.
        let split_crlf = self.last[1] == b'\r' && chunk.starts_with(b"\n.");
        let mut copied = 0;
        if split_crlf {
            out.extend_from_slice(b"\n.");
            copied = 1;
        }
        for at in memchr::memmem::find_iter(&chunk, b"\r\n.") {
            out.extend_from_slice(&chunk[copied..at + 2]);
            out.push(b'.');
            copied = at + 2;
        }
        out.extend_from_slice(&chunk[copied..]);
        match chunk[..] {
            [.., a, b] => self.last = [a, b],
            [b] => self.last = [self.last[1], b],
            [] => {}
        }
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stuffed(pieces: &[&[u8]]) -> Vec<u8> {
        let pieces: Vec<_> = pieces.iter().map(|piece| piece.to_vec()).collect();
        Stuffed::new(Box::new(pieces.into_iter()))
            .flatten()
            .collect()
    }

    #[test]
    fn dots_at_line_starts_are_doubled_wherever_the_text_is_cut() {
        let text = b".\r\n..a\r\nb.\r\n\r\n.\r\nx\r.y\r\r\n.z\r\n";
        let expected = b"..\r\n...a\r\nb.\r\n\r\n..\r\nx\r.y\r\r\n..z\r\n.\r\n";
        for i in 0..=text.len() {
            for j in i..=text.len() {
                let got = stuffed(&[&text[..i], &text[i..j], &text[j..]]);
                assert_eq!(
                    got.escape_ascii().to_string(),
                    expected.escape_ascii().to_string()
                );
            }
        }
    }

    #[test]
    fn a_message_without_final_line_end_gets_one_and_an_empty_one_does_not() {
        assert_eq!(stuffed(&[b"a"]), b"a\r\n.\r\n");
        assert_eq!(stuffed(&[b"a\r"]), b"a\r\r\n.\r\n");
        assert_eq!(stuffed(&[]), b".\r\n");
    }

    #[test]
    fn top_stops_after_the_asked_lines() {
        let body = Body::from("A: b\r\n\r\none\r\n.two\r\nthree\r\n");
        let answer = |n| String::from_utf8(top(&body, n).flatten().collect()).unwrap();
        let status = "+OK top of message follows\r\n";
        assert_eq!(answer(0), format!("{status}A: b\r\n\r\n.\r\n"));
        assert_eq!(
            answer(2),
            format!("{status}A: b\r\n\r\none\r\n..two\r\n.\r\n")
        );
        assert_eq!(
            answer(99),
            format!("{status}A: b\r\n\r\none\r\n..two\r\nthree\r\n.\r\n")
        );
    }
}
