//! Quoted-printable text to eight-bit text, for programs that cannot read MIME (`mimedecode`).
//!
//! Character sets stay what they are, so this loses what an encoded word of a header says of its
//! own; fetchmail(1) warns of that too. Nothing that is not text is touched, nor what stands in
//! base64 in a body.

use data_encoding::BASE64;

use super::header::Field;

/// Follows the parts of a message, and decodes the bodies of those that are quoted-printable.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    /// Of the part that is read; before [`Decoder::enter_body`] what its header has said so far.
    part: Part,
    /// The boundaries of the parts this one is in, the innermost last.
    boundaries: Vec<Vec<u8>>,
    in_header: bool,
    /// The field of a part's header that is being read.
    field: Vec<u8>,
    line: Vec<u8>,
    /// The line was too long to be looked at, and its end has not come.
    in_long_line: bool,
}

#[derive(Debug, Default)]
struct Part {
    is_quoted_printable: bool,
    is_text: Option<bool>,
    boundary: Option<Vec<u8>>,
}

impl Part {
    fn hear(&mut self, field: &Field<'_>) {
        if field.is("Content-Transfer-Encoding") {
            self.is_quoted_printable = is_quoted_printable(field);
        } else if field.is("Content-Type") {
            let value = String::from_utf8_lossy(field.value()).to_ascii_lowercase();
            self.is_text = Some(value.trim_start().starts_with("text/"));
            if value.trim_start().starts_with("multipart/") {
                self.boundary = boundary(field.value());
            }
        }
    }

    /// A part that names no type is text (RFC 2045 §5.2).
    fn is_decoded(&self) -> bool {
        self.is_quoted_printable && self.is_text != Some(false)
    }
}

impl Decoder {
    /// Takes note of a field of the message's header.
    pub(super) fn field(&mut self, field: &Field<'_>) {
        self.part.hear(field);
    }

    /// The message's header is over.
    pub(super) fn enter_body(&mut self) {
        self.boundaries.extend(self.part.boundary.take());
    }

    /// Takes more of the body.
    pub(super) fn push(&mut self, mut text: &[u8], out: &mut Vec<u8>) {
        while let Some(newline) = memchr::memchr(b'\n', text) {
            let (line, rest) = text.split_at(newline + 1);
            text = rest;
            if std::mem::take(&mut self.in_long_line) {
                out.extend_from_slice(line);
            } else if self.line.is_empty() {
                self.line(line, out);
            } else {
                let mut held = std::mem::take(&mut self.line);
                held.extend_from_slice(line);
                self.line(&held, out);
                held.clear();
                self.line = held;
            }
        }
        if self.in_long_line {
            out.extend_from_slice(text);
            return;
        }
        self.line.extend_from_slice(text);
        if self.line.len() > LINE_LIMIT {
            self.in_long_line = true;
            // Longer than RFC 2045 allows a hundred times over: neither a boundary nor encoded.
            out.append(&mut self.line);
        }
    }

    /// The body is over.
    pub(super) fn finish(mut self, out: &mut Vec<u8>) {
        let line = std::mem::take(&mut self.line);
        self.line(&line, out);
        self.end_of_field(out);
    }

    fn line(&mut self, line: &[u8], out: &mut Vec<u8>) {
        if let Some(depth) = self.boundary_of(line) {
            self.end_of_field(out);
            out.extend_from_slice(line);
            self.boundaries.truncate(depth + 1);
            self.in_header = !line.trim_ascii_end().ends_with(b"--");
            self.part = Part::default();
        } else if self.in_header {
            let is_continuation = matches!(line.first(), Some(b' ' | b'\t'));
            if !is_continuation || self.field.len() > LINE_LIMIT {
                self.end_of_field(out);
            }
            if line.trim_ascii().is_empty() {
                out.extend_from_slice(line);
                self.in_header = false;
                if self.boundaries.len() < DEPTH_LIMIT {
                    self.boundaries.extend(self.part.boundary.take());
                }
            } else {
                self.field.extend_from_slice(line);
            }
        } else if self.part.is_decoded() {
            decode_line(line, out);
        } else {
            out.extend_from_slice(line);
        }
    }

    fn end_of_field(&mut self, out: &mut Vec<u8>) {
        let octets = std::mem::take(&mut self.field);
        for field in super::header::fields(&octets) {
            self.part.hear(&field);
            let start = out.len();
            out.extend_from_slice(field.octets);
            decode_field(&field, start, out);
        }
    }

    /// Which of the boundaries a line is, as its place in [`Decoder::boundaries`].
    fn boundary_of(&self, line: &[u8]) -> Option<usize> {
        let rest = line.strip_prefix(b"--")?.trim_ascii_end();
        let is = |boundary: &Vec<u8>| {
            rest.strip_prefix(boundary.as_slice())
                .is_some_and(|rest| rest.is_empty() || rest == b"--")
        };
        self.boundaries.iter().rposition(is)
    }
}

/// Decodes the encoded words (RFC 2047) of a field that was appended to `out` at `start`, and
/// says of quoted-printable text that it is eight-bit text.
pub(super) fn decode_field(field: &Field<'_>, start: usize, out: &mut Vec<u8>) {
    if field.is("Content-Transfer-Encoding") {
        if is_quoted_printable(field) {
            out.truncate(start + field.value_start());
            out.extend_from_slice(b" 8bit\n");
        }
        return;
    }
    if memchr::memmem::find(&out[start..], b"=?").is_none() {
        return;
    }
    let text = out.split_off(start);
    let mut rest = &text[..];
    let mut after_word = false;
    while let Some(at) = memchr::memmem::find(rest, b"=?") {
        let (before, from_word) = rest.split_at(at);
        match encoded_word(from_word) {
            Some((decoded, after)) => {
                // Blanks between encoded words belong to the encoding.
                if !(after_word && before.trim_ascii().is_empty()) {
                    out.extend_from_slice(before);
                }
                // A line end that was encoded would become one of the header's own.
                out.extend(
                    decoded
                        .into_iter()
                        .filter(|octet| !matches!(octet, b'\n' | b'\r' | 0)),
                );
                rest = after;
                after_word = true;
            }
            None => {
                let (marker, after) = from_word.split_at(2);
                out.extend_from_slice(before);
                out.extend_from_slice(marker);
                rest = after;
                after_word = false;
            }
        }
    }
    out.extend_from_slice(rest);
}

/// Decodes the word that `text` starts with; also returns what follows it.
fn encoded_word(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let text = text.strip_prefix(b"=?")?;
    let mut parts = text.splitn(3, |&octet| octet == b'?');
    let (_charset, encoding, rest) = (parts.next()?, parts.next()?, parts.next()?);
    let end = memchr::memmem::find(rest, b"?=")?;
    let (word, after) = (&rest[..end], &rest[end + 2..]);
    if word.iter().any(u8::is_ascii_whitespace) {
        return None;
    }
    let decoded = match encoding {
        b"q" | b"Q" => {
            let blanks: Vec<_> = word
                .iter()
                .map(|&octet| if octet == b'_' { b' ' } else { octet })
                .collect();
            let mut decoded = Vec::new();
            decode_quoted(&blanks, &mut decoded);
            decoded
        }
        b"b" | b"B" => BASE64.decode(word).ok()?,
        _ => return None,
    };
    Some((decoded, after))
}

/// Decodes a line of quoted-printable text, with its line end (RFC 2045 §6.7).
fn decode_line(line: &[u8], out: &mut Vec<u8>) {
    let text = line.strip_suffix(b"\n").unwrap_or(line);
    let is_whole = text.len() < line.len();
    let text = text.trim_ascii_end();
    match text.strip_suffix(b"=") {
        Some(text) if is_whole => decode_quoted(text, out),
        _ => {
            decode_quoted(text, out);
            if is_whole {
                out.push(b'\n');
            }
        }
    }
}

/// What is not properly encoded stays as it is.
fn decode_quoted(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'=', rest) {
        out.extend_from_slice(&rest[..at]);
        let digits = rest.get(at + 1..at + 3);
        let octet =
            digits.and_then(|digits| u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok());
        match octet {
            Some(octet) if rest[at + 1] != b'+' => {
                out.push(octet);
                rest = &rest[at + 3..];
            }
            _ => {
                out.push(b'=');
                rest = &rest[at + 1..];
            }
        }
    }
    out.extend_from_slice(rest);
}

fn is_quoted_printable(field: &Field<'_>) -> bool {
    field
        .value()
        .trim_ascii()
        .eq_ignore_ascii_case(b"quoted-printable")
}

/// The boundary that a `Content-Type` names (RFC 2046 §5.1.1).
fn boundary(content_type: &[u8]) -> Option<Vec<u8>> {
    let lower = content_type.to_ascii_lowercase();
    let at = memchr::memmem::find(&lower, b"boundary=")?;
    let value = &content_type[at + b"boundary=".len()..];
    let boundary = match value.strip_prefix(b"\"") {
        Some(quoted) => quoted.split(|&octet| octet == b'"').next()?,
        None => value
            .split(|&octet| octet == b';' || octet.is_ascii_whitespace())
            .next()?,
    };
    (!boundary.is_empty()).then(|| boundary.to_vec())
}

/// The longest line that is looked at.
const LINE_LIMIT: usize = 64 << 10;

/// How deep parts within parts are followed.
const DEPTH_LIMIT: usize = 32;
