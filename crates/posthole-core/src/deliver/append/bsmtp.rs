//! A message as the SMTP commands that would deliver it (RFC 2442, and fetchmail's `bsmtp`).

use std::io::{self, Read};

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

impl<R: Read> Batch<R> {
    /// Prepares a text whose lines end in LF.
    pub(in crate::deliver) fn new(text: R, sender: &str, recipients: &[String]) -> Self {
        Self {
            text,
            encoder: Some(TextEncoder::new()),
            input: vec![0; 32 << 10].into_boxed_slice(),
            output: head(sender, recipients).into_bytes(),
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

#[cfg(test)]
mod tests {
    use super::*;

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
