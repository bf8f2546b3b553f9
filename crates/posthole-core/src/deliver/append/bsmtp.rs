//! A message as the SMTP commands that would deliver it (RFC 2442, and fetchmail's `bsmtp`).

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use posthole_proto::smtp::text::TextEncoder;

/// A message with its commands, to be read.
pub(in crate::deliver) struct Batch<R> {
    text: R,
    encoder: Option<TextEncoder>,
    input: Box<[u8]>,
    output: Vec<u8>,
    given: usize,
}

/// The commands before the text.
fn head(sender: &str, recipients: &[String]) -> String {
    let mut head = format!("MAIL FROM:<{sender}>\r\n");
    for recipient in recipients {
        head.push_str(&format!("RCPT TO:<{recipient}>\r\n"));
    }
    head.push_str("DATA\r\n");
    head
}

/// The commands that stand in a file before a message that may have been cut off there.
///
/// Whom it was for is known by nothing but the file, where each message says so by itself. What
/// cannot have been written for this sender is not believed, and `recipients` are taken.
pub(super) fn head_at(
    file: &File,
    start: u64,
    end: u64,
    sender: &str,
    recipients: &[String],
) -> io::Result<Vec<u8>> {
    let length = usize::try_from(end.saturating_sub(start)).map_or(HEAD_LIMIT, |length| length);
    let mut there = vec![0; length.min(HEAD_LIMIT)];
    file.read_exact_at(&mut there, start)?;
    // A loss of power may leave a hole where the rest was to be.
    while there.last() == Some(&0) {
        there.pop();
    }
    Ok(match head_length(&there, sender) {
        Some(length) => {
            there.truncate(length);
            there
        }
        None => head(sender, recipients).into_bytes(),
    })
}

/// How long the commands are that a file ends in or a text follows.
fn head_length(there: &[u8], sender: &str) -> Option<usize> {
    let first = format!("MAIL FROM:<{sender}>\r\n").into_bytes();
    if first.starts_with(there) {
        return Some(there.len());
    }
    let mut rest = there.strip_prefix(first.as_slice())?;
    while let Some(end) = memchr::memmem::find(rest, b"\r\n") {
        let (line, after) = (&rest[..end], &rest[end + 2..]);
        rest = after;
        if line == b"DATA" {
            return Some(there.len() - rest.len());
        }
        if !line.starts_with(RCPT) || !line.ends_with(b">") {
            return None;
        }
    }
    let may_go_on = rest.starts_with(RCPT) || RCPT.starts_with(rest) || b"DATA\r".starts_with(rest);
    (may_go_on && there.len() < HEAD_LIMIT && !rest.contains(&0)).then_some(there.len())
}

impl<R: Read> Batch<R> {
    /// Prepares a text whose lines end in LF.
    pub(in crate::deliver) fn new(text: R, sender: &str, recipients: &[String]) -> Self {
        Self::with_head(text, head(sender, recipients).into_bytes())
    }

    /// The same, with the commands as they are.
    pub(super) fn with_head(text: R, head: Vec<u8>) -> Self {
        Self {
            text,
            encoder: Some(TextEncoder::new()),
            input: vec![0; 32 << 10].into_boxed_slice(),
            output: head,
            given: 0,
        }
    }
}

impl<R: Read> Read for Batch<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.given == self.output.len() {
            let Some(mut encoder) = self.encoder.take() else {
                return Ok(0);
            };
            self.output.clear();
            self.given = 0;
            let length = self.text.read(&mut self.input)?;
            if length == 0 {
                encoder.finish(&mut self.output);
            } else {
                encoder.write(&self.input[..length], &mut self.output);
                self.encoder = Some(encoder);
            }
        }
        let rest = &self.output[self.given..];
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        self.given += length;
        Ok(length)
    }
}

const RCPT: &[u8] = b"RCPT TO:<";

/// More recipients than a header has room for.
const HEAD_LIMIT: usize = 2 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_known_wherever_they_were_cut_off() {
        let head = head("s@h", &["a@b".to_owned(), "c@d".to_owned()]).into_bytes();
        for end in 0..=head.len() {
            assert_eq!(head_length(&head[..end], "s@h"), Some(end), "{end}");
        }
        let whole = [&head[..], b"Subject: x\r\n"].concat();
        assert_eq!(head_length(&whole, "s@h"), Some(head.len()));
        for other in [
            "From x",
            "MAIL FROM:<x@h>\r\nDATA\r\n",
            "MAIL FROM:<s@h>\r\nRSET\r\n",
        ] {
            assert_eq!(head_length(other.as_bytes(), "s@h"), None, "{other}");
        }
        let hole = [&head[..30], &[0; 30]].concat();
        assert_eq!(head_length(&hole, "s@h"), None);
    }

    #[test]
    fn a_message_is_a_transaction() {
        let recipients = ["a@localhost", "b@localhost"].map(str::to_owned);
        let mut form = String::new();
        Batch::new(&b"Subject: x\n\n.\nend"[..], "", &recipients)
            .read_to_string(&mut form)
            .unwrap();
        assert_eq!(
            form,
            "MAIL FROM:<>\r\nRCPT TO:<a@localhost>\r\nRCPT TO:<b@localhost>\r\nDATA\r\n\
             Subject: x\r\n\r\n..\r\nend\r\n.\r\n"
        );
    }
}
