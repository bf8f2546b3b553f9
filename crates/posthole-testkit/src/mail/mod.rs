//! Sample mail: deterministic, real-looking, and as nasty as real mail is.
//!
//! [`corpus`] covers what the formats allow and what the world does anyway: multiparts, base64
//! attachments, 8-bit text in several charsets, very long lines, lines of dots, mbox `From ` lines,
//! bare CRs, missing headers, missing bodies, a missing final newline. [`small`] is for benchmarks,
//! [`Big`] is a message of any size that is never held in memory.
//!
//! Messages are in their CRLF form, as a server keeps them: not dot-stuffed. What a client must put
//! on disk is [`delivered`]. There are no NUL bytes, because Dovecot replaces them (RFC 5322 §4
//! forbids them), and no bare LF, because a Maildir could not tell it from a line end. None starts
//! with a dot, because Dovecot 2.3 forgets to stuff that one; [`dot_first`] makes one that does.

mod big;
mod compose;

pub use big::Big;

use crate::rng::Rng;

/// Makes `n` messages, the same ones for the same seed, no two alike.
///
/// From about 24 messages on, every kind of message is among them.
#[must_use]
pub fn corpus(seed: u64, n: usize) -> Vec<Vec<u8>> {
    (0..n).map(|i| compose::message(seed, i)).collect()
}

/// Makes `n` plain messages of about 2.5 KB, for benchmarks.
#[must_use]
pub fn small(n: usize) -> Vec<Vec<u8>> {
    (0..n).map(compose::small).collect()
}

/// Makes `n` plain messages of about 20 KB, for benchmarks; prose that compresses well.
#[must_use]
pub fn text(n: usize) -> Vec<Vec<u8>> {
    (0..n).map(|i| compose::text(i, 20_000)).collect()
}

/// Makes `n` messages as they come in a day, for benchmarks: most of them text of 2 to 16 KB, each
/// fifth with an attachment of 20 to 150 KB.
#[must_use]
pub fn mixed(n: usize) -> Vec<Vec<u8>> {
    (0..n).map(compose::mixed).collect()
}

/// Makes `n` messages with an attachment of so many octets each, before base64 makes a third more
/// of them; for benchmarks.
#[must_use]
pub fn attachments(n: usize, octets: usize) -> Vec<Vec<u8>> {
    (0..n).map(|i| compose::attached(i, octets)).collect()
}

/// Makes one tiny message, of less than 200 octets, for mailboxes of a million.
#[must_use]
pub fn tiny(i: usize) -> Vec<u8> {
    format!(
        "From: <counter@example.org>\r\nTo: <msingh@example.edu>\r\nSubject: {i}\r\n\
         Message-ID: <{i}.tiny@example.org>\r\n\r\nThis is message {i}.\r\n"
    )
    .into_bytes()
}

/// Makes a message whose first octets are dots, for servers that stuff them properly.
#[must_use]
pub fn dot_first() -> Vec<u8> {
    b".\r\n..X-Dots: two\r\n.\r\n\r\n.\r\n".to_vec()
}

/// What a client receives when it RETRieves this message: a final line end is added if it lacks
/// one, because RFC 1939 §3 ends a multi-line response with a line of its own.
#[must_use]
pub fn as_received(message: &[u8]) -> Vec<u8> {
    let mut received = message.to_vec();
    if !received.is_empty() && !received.ends_with(b"\r\n") {
        received.extend_from_slice(b"\r\n");
    }
    received
}

/// The message as a Maildir keeps it: every CRLF becomes LF, and nothing else changes.
///
/// A bare CR stays, and CR CR LF becomes CR LF.
#[must_use]
pub fn to_lf(message: &[u8]) -> Vec<u8> {
    let mut lf = Vec::with_capacity(message.len());
    let mut rest = message;
    while let Some(at) = memchr::memmem::find(rest, b"\r\n") {
        lf.extend_from_slice(&rest[..at]);
        lf.push(b'\n');
        rest = &rest[at + 2..];
    }
    lf.extend_from_slice(rest);
    lf
}

/// What must be in the Maildir after this message was fetched over POP3.
#[must_use]
pub fn delivered(message: &[u8]) -> Vec<u8> {
    to_lf(&as_received(message))
}

/// What must be in the Maildir after these messages were fetched, in sorted order.
///
/// Sorted, because a folder has no order of its own; compare it with a sorted list of files.
#[must_use]
pub fn delivered_sorted<M: AsRef<[u8]>>(messages: impl IntoIterator<Item = M>) -> Vec<Vec<u8>> {
    let mut all: Vec<_> = messages
        .into_iter()
        .map(|m| delivered(m.as_ref()))
        .collect();
    all.sort();
    all
}

/// Random text and bytes that stay the same for ever, for tests with needs of their own.
#[must_use]
pub fn noise(seed: u64, octets: usize) -> Vec<u8> {
    Rng::new(seed).bytes(octets)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_mail_and_another_seed_makes_other_mail() {
        assert_eq!(corpus(7, 60), corpus(7, 60));
        let (one, other) = (corpus(7, 60), corpus(8, 60));
        assert!(one.iter().zip(&other).all(|(a, b)| a != b));
    }

    #[test]
    fn no_two_messages_are_alike_even_on_disk() {
        let messages = corpus(1, 500);
        let on_disk: HashSet<_> = messages.iter().map(|m| delivered(m)).collect();
        assert_eq!(on_disk.len(), messages.len());
    }

    #[test]
    fn the_corpus_holds_what_it_promises() {
        let messages = corpus(1, 24);
        let any = |what: &str, test: &dyn Fn(&[u8]) -> bool| {
            assert!(messages.iter().any(|m| test(m)), "no message {what}");
        };
        let has = |m: &[u8], needle: &[u8]| memchr::memmem::find(m, needle).is_some();
        any("is multipart", &|m| {
            has(m, b"Content-Type: multipart/mixed")
        });
        any("has a base64 part", &|m| {
            has(m, b"Content-Transfer-Encoding: base64")
        });
        any("has 8-bit octets", &|m| m.iter().any(|b| *b > 0x7f));
        any("has a lone dot line", &|m| has(m, b"\r\n.\r\n"));
        any("has a dot-dot line", &|m| has(m, b"\r\n..\r\n"));
        any("has nothing but dots before its text", &|m| {
            m.starts_with(b"\r\n.\r\n")
        });
        any("has a From_ line", &|m| has(m, b"\r\nFrom "));
        any("starts with a From_ line", &|m| m.starts_with(b"From "));
        any("lacks a final line end", &|m| !m.ends_with(b"\r\n"));
        any("has CR CR LF", &|m| has(m, b"\r\r\n"));
        any("has a bare CR", &|m| {
            has(&to_lf(m), b"\r") && !has(m, b"\r\r\n")
        });
        any("has a line of 100 kB", &|m| {
            m.split(|b| *b == b'\n').any(|line| line.len() > 100_000)
        });
        any("has no body", &|m| {
            m.ends_with(b"\r\n\r\n") && m.len() < 600
        });
        any("has no header", &|m| m.starts_with(b"\r\n"));
        any("has not even an empty line", &|m| !has(m, b"\r\n\r\n"));
        any("is 100 kB", &|m| m.len() > 100_000);
    }

    #[test]
    fn no_message_has_what_dovecot_or_a_maildir_cannot_keep() {
        for message in corpus(3, 300) {
            assert!(!message.starts_with(b"."));
            assert!(!message.contains(&0));
            assert!(!to_lf(&message).is_empty());
            let lines = message.iter().filter(|b| **b == b'\n').count();
            let pairs = memchr::memmem::find_iter(&message, b"\r\n").count();
            assert_eq!(lines, pairs);
        }
    }

    #[test]
    fn a_maildir_keeps_bare_crs_and_the_first_of_two() {
        assert_eq!(to_lf(b"a\r\nb\rc\r\r\nd\r"), b"a\nb\rc\r\nd\r");
        assert_eq!(delivered(b"no end"), b"no end\n");
        assert_eq!(delivered(b""), b"");
    }

    #[test]
    fn small_messages_are_about_two_and_a_half_kilobytes() {
        for message in small(50) {
            assert!(
                (2_300..2_700).contains(&message.len()),
                "{} octets",
                message.len()
            );
        }
    }
}
