//! What a message is recognised by when its server calls it by another name.
//!
//! It is made of header fields that neither change in the mailbox nor are the same in two messages:
//! not of those that servers and mail programs add and change, such as `Status` and `X-UIDL`.

use sha2::{Digest, Sha256};

/// A digest of the fields of a header that stay the same.
pub(crate) type Fingerprint = [u8; 16];

/// Takes the fingerprint of a message as it streams by.
#[derive(Clone, Default)]
pub(crate) struct Fingerprinter {
    line: Vec<u8>,
    fields: Sha256,
    /// Whether the field that a folded line would belong to is one of those that count.
    counts: bool,
    /// Whether there was one that no other message has.
    is_unique: bool,
    over: bool,
}

impl Fingerprinter {
    /// Takes text with LF line ends.
    pub(crate) fn push(&mut self, mut text: &[u8]) {
        while !self.over && !text.is_empty() {
            let end = memchr::memchr(b'\n', text);
            let (piece, rest) = text.split_at(end.map_or(text.len(), |at| at + 1));
            let room = LINE.saturating_sub(self.line.len());
            self.line.extend_from_slice(&piece[..piece.len().min(room)]);
            text = rest;
            if end.is_some() {
                self.line_ended();
            }
        }
    }

    /// The fingerprint, if the header had what makes one.
    pub(crate) fn finish(mut self) -> Option<Fingerprint> {
        if !self.over {
            self.line_ended();
        }
        let digest: [u8; 32] = self.fields.finalize().into();
        let (first, _) = digest.split_first_chunk()?;
        self.is_unique.then_some(*first)
    }

    fn line_ended(&mut self) {
        let line = self.line.trim_ascii_end();
        match line.first() {
            None => self.over = true,
            Some(b' ' | b'\t') => {}
            Some(_) => {
                let name = line
                    .split(|octet| *octet == b':')
                    .next()
                    .unwrap_or_default();
                let is = |known: &&str| name.eq_ignore_ascii_case(known.as_bytes());
                let is_unique = UNIQUE.iter().any(is);
                self.counts = is_unique || LASTING.iter().any(is);
                self.is_unique |= is_unique;
            }
        }
        if self.counts && !self.over {
            self.fields.update(line);
            self.fields.update(b"\n");
        }
        self.line.clear();
    }
}

/// Fields with something in them that is made for one message only.
const UNIQUE: [&str; 2] = ["message-id", "received"];

/// Others that count.
const LASTING: [&str; 6] = ["cc", "date", "from", "reply-to", "subject", "to"];

/// How much of a line counts.
const LINE: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn fingerprint(text: &[u8], piece: usize) -> Option<Fingerprint> {
        let mut taker = Fingerprinter::default();
        text.chunks(piece).for_each(|piece| taker.push(piece));
        taker.finish()
    }

    #[test]
    fn what_servers_change_does_not_count_and_what_tells_messages_apart_does() {
        let base =
            b"Received: from a\n\tby b; now\nFrom: x\nMessage-ID: <1@x>\nStatus: N\n\nbody\n";
        let same: [&[u8]; 4] = [
            b"X-UIDL: 7\nReceived: from a\n\tby b; now\nFrom: x\nMessage-ID: <1@x>\n\nother body",
            b"Received: from a\n\tby b; now \nFrom: x\nX: y\n Z\nMessage-ID: <1@x>",
            b"Received: from a\n\tby b; now\r\nFrom: x\r\nMessage-ID: <1@x>\r\nStatus: RO\r\n\r\n",
            base,
        ];
        let other: [&[u8]; 4] = [
            b"Received: from a\n\tby c; now\nFrom: x\nMessage-ID: <1@x>\n\n",
            b"Received: from a\n\tby b; now\nFrom: x\nMessage-ID: <2@x>\n\n",
            b"Received: from a\n\tby b; now\nFrom: y\nMessage-ID: <1@x>\n\n",
            b"From: x\nMessage-ID: <1@x>\n\n",
        ];
        let expected = fingerprint(base, 1000);
        assert!(expected.is_some());
        for size in [1, 2, 7, 1000] {
            assert!(same.iter().all(|text| fingerprint(text, size) == expected));
            assert!(other.iter().all(|text| fingerprint(text, size) != expected));
        }
    }

    #[test]
    fn a_header_that_any_message_could_have_is_no_fingerprint() {
        for text in [
            &b""[..],
            b"\nMessage-ID: <1@x>\n",
            b"From: x\nSubject: hi\n\nhi\n",
        ] {
            assert_eq!(fingerprint(text, 1000), None);
        }
    }
}
