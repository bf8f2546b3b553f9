//! A report that a message could not be delivered (RFC 3464, in the form of RFC 6522).

use std::io::{self, BufRead, BufReader, Read, Write};
use std::time::SystemTime;

use data_encoding::HEXLOWER;
use jiff::tz::TimeZone;

use crate::message::date;

/// What is to be reported, to whom.
pub(super) struct Report<'a> {
    /// The name of this machine.
    pub(super) from: String,
    /// Whom it is told.
    pub(super) to: &'a str,
    /// Who sent the message; empty if nobody says so.
    pub(super) sender: &'a str,
    pub(super) original: Original,
    /// Never empty.
    pub(super) failures: Vec<Failure<'a>>,
}

/// How much of the message goes with the report.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Original {
    Header,
    Whole,
}

/// Somebody who does not get it, and why.
pub(super) struct Failure<'a> {
    pub(super) recipient: &'a str,
    /// On one line.
    pub(super) said: &'a str,
    /// Whether these are words of the server's, which begin with a code.
    pub(super) is_the_servers: bool,
}

impl Report<'_> {
    /// Writes it with LF line ends; `original` is the message's text.
    pub(super) fn write(&self, original: impl Read, out: &mut impl Write) -> io::Result<()> {
        let Self {
            from,
            to,
            sender,
            failures,
            ..
        } = self;
        let boundary = unique()?;
        let now = date(SystemTime::now(), &TimeZone::system());
        let sender = if sender.is_empty() {
            "nobody who could be told".to_owned()
        } else {
            format!("<{sender}>")
        };
        write!(
            out,
            "From: Mail Delivery System <MAILER-DAEMON@{from}>\n\
             To: <{to}>\n\
             Subject: Mail delivery failed\n\
             Date: {now}\n\
             Message-ID: <{boundary}@{from}>\n\
             Auto-Submitted: auto-replied\n\
             MIME-Version: 1.0\n\
             Content-Type: multipart/report; report-type=delivery-status;\n\
             \tboundary=\"{boundary}\"\n\
             Content-Transfer-Encoding: 8bit\n\
             \n\
             --{boundary}\n\
             Content-Type: text/plain; charset=utf-8\n\
             Content-Transfer-Encoding: 8bit\n\
             \n\
             This is the program on {from} that fetches mail for those named below.\n\
             \n\
             A message from {sender} could not be delivered to them. That is\n\
             final: it is not tried again.\n\n"
        )?;
        for Failure {
            recipient, said, ..
        } in failures
        {
            writeln!(out, "  {recipient}\n      {said}\n")?;
        }
        write!(
            out,
            "--{boundary}\n\
             Content-Type: message/delivery-status\n\
             \n\
             Reporting-MTA: dns; {from}\n"
        )?;
        for failure in failures {
            let Failure {
                recipient, said, ..
            } = failure;
            write!(
                out,
                "\nFinal-Recipient: rfc822; {recipient}\nAction: failed\nStatus: {}\n",
                failure.status()
            )?;
            if failure.is_the_servers {
                writeln!(out, "Diagnostic-Code: smtp; {}", ascii(said))?;
            }
            writeln!(out, "Last-Attempt-Date: {now}")?;
        }
        let kind = match self.original {
            Original::Header => "text/rfc822-headers",
            Original::Whole => "message/rfc822",
        };
        write!(
            out,
            "\n--{boundary}\nContent-Type: {kind}\nContent-Transfer-Encoding: 8bit\n\n"
        )?;
        match self.original {
            Original::Header => copy_header(original, out)?,
            Original::Whole => _ = io::copy(&mut { original }, out)?,
        }
        write!(out, "\n--{boundary}--\n")
    }
}

impl Failure<'_> {
    /// The server's own status code (RFC 3463), or one that says no more than its reply code.
    fn status(&self) -> &str {
        let mut words = self.said.split(' ');
        let own = words.nth(1).filter(|word| {
            let mut numbers = word.split('.');
            let is_number = |number: &str| {
                (1..=3).contains(&number.len()) && number.bytes().all(|c| c.is_ascii_digit())
            };
            word.starts_with(['4', '5'])
                && numbers.by_ref().take(3).filter(|it| is_number(it)).count() == 3
                && numbers.next().is_none()
        });
        own.filter(|_| self.is_the_servers).unwrap_or("5.0.0")
    }
}

/// Copies a header, up to the line that ends it.
fn copy_header(text: impl Read, out: &mut impl Write) -> io::Result<()> {
    let mut header = BufReader::with_capacity(8 << 10, text.take(HEADER_LIMIT));
    let mut line = Vec::new();
    loop {
        line.clear();
        header.read_until(b'\n', &mut line)?;
        if line.is_empty() || line == b"\n" || line == b"\r\n" {
            return Ok(());
        }
        out.write_all(&line)?;
    }
}

/// What no other text has in it.
fn unique() -> io::Result<String> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    Ok(format!("posthole-{}", HEXLOWER.encode(&random)))
}

/// Fields of a delivery status are plain (RFC 3464 §2.1).
fn ascii(text: &str) -> String {
    let plain = |c: char| if c.is_ascii() { c } else { '?' };
    text.chars().map(plain).collect()
}

/// How much of a message is looked at for the end of its header.
const HEADER_LIMIT: u64 = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn report(original: Original) -> String {
        let report = Report {
            from: "gate.example.org".to_owned(),
            to: "joe@example.org",
            sender: "joe@example.org",
            original,
            failures: vec![
                Failure {
                    recipient: "a@localhost",
                    said: "550 5.1.1 no such grün",
                    is_the_servers: true,
                },
                Failure {
                    recipient: "b@localhost",
                    said: "it is too large",
                    is_the_servers: false,
                },
            ],
        };
        let mut out = Vec::new();
        let text = "Subject: x\nTo: a, b\n\nsecret\n";
        report.write(text.as_bytes(), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_report_has_its_three_parts() {
        let text = report(Original::Header);
        let (_, rest) = text.split_once("boundary=\"").unwrap();
        let boundary = rest.split('"').next().unwrap();
        let parts: Vec<_> = text.split(&format!("--{boundary}")).collect();
        assert_eq!(parts.len(), 5, "{text}");
        assert!(parts[1].contains("  a@localhost\n      550 5.1.1 no such grün\n"));
        assert!(parts[2].contains(
            "Final-Recipient: rfc822; a@localhost\nAction: failed\nStatus: 5.1.1\n\
             Diagnostic-Code: smtp; 550 5.1.1 no such gr?n\n"
        ));
        assert!(
            parts[2].contains(
                "Final-Recipient: rfc822; b@localhost\nAction: failed\nStatus: 5.0.0\nLast"
            )
        );
        assert!(parts[3].ends_with("\n\nSubject: x\nTo: a, b\n\n"), "{text}");
        assert_eq!(parts[4], "--\n");
        assert!(!text.contains("secret"));
        assert!(report(Original::Whole).contains("\n\nSubject: x\nTo: a, b\n\nsecret\n\n--"));
    }

    #[test]
    fn a_status_is_the_servers_if_it_is_one() {
        let status = |said| {
            let failure = Failure {
                recipient: "a",
                said,
                is_the_servers: true,
            };
            failure.status().to_owned()
        };
        assert_eq!(status("550 5.7.26 no"), "5.7.26");
        for said in [
            "550 no",
            "550",
            "550 5.7 no",
            "550 5.7.x no",
            "550 2.1.1 no",
            "550 5.1.1.1",
        ] {
            assert_eq!(status(said), "5.0.0", "{said}");
        }
    }
}
