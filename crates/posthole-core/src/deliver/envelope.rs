//! Who a message is from, as mail programs are told it: the envelope sender.
//!
//! A mailbox keeps no envelope. What the server that delivered there knew of the sender it wrote
//! into `Return-Path` (RFC 5321 §4.4); without one, it is who the header says to answer or blame,
//! in fetchmail's order. A text that came from anywhere is searched here, so what does not look
//! like an address is none.

use std::io::{self, BufRead, BufReader, Read};

/// Finds the sender in a message whose lines end in LF; none if it has none, or says that it wants
/// no answer (`Return-Path: <>`).
pub(super) fn sender(text: impl Read) -> io::Result<Option<String>> {
    let mut header = BufReader::with_capacity(8 << 10, text.take(HEADER_LIMIT));
    let mut found: Option<(usize, Option<String>)> = None;
    let mut field = Vec::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        let length = header.read_until(b'\n', &mut line)?;
        let continues = matches!(line.first(), Some(b' ' | b'\t'));
        if !continues {
            if let Some((rank, address)) = address_field(&field)
                && found.as_ref().is_none_or(|(best, _)| rank < *best)
            {
                found = Some((rank, address));
            }
            field.clear();
        }
        if length == 0 || line == b"\n" || line == b"\r\n" {
            return Ok(found.and_then(|(_, address)| address));
        }
        // More than an address needs is not kept.
        if field.len() < FIELD_LIMIT {
            field.extend_from_slice(&line);
        }
    }
}

/// The sender of a message with this header; empty if it has none.
pub(crate) fn sender_of(header: &[u8]) -> String {
    // Memory does not fail to be read.
    sender(header).ok().flatten().unwrap_or_default()
}

/// The rank and address of a field that names a sender; a null path has no address.
fn address_field(field: &[u8]) -> Option<(usize, Option<String>)> {
    let colon = field.iter().position(|octet| *octet == b':')?;
    let (name, value) = field.split_at(colon);
    let rank = FIELDS
        .iter()
        .position(|known| name.trim_ascii_end().eq_ignore_ascii_case(known.as_bytes()))?;
    let value = std::str::from_utf8(&value[1..]).ok()?;
    let address = first_address(value);
    match address {
        Some(address) if is_address(&address) => Some((rank, Some(address))),
        // Only the server's own word for "no sender" is one.
        Some(address) if address.is_empty() && rank == 0 => Some((rank, None)),
        _ => None,
    }
}

/// The first address in a list of mailboxes (RFC 5322 §3.4): what is in angle brackets, or else
/// the words before the first comma; without comments.
fn first_address(value: &str) -> Option<String> {
    let mut address = String::new();
    let (mut quoted, mut escaped, mut comments, mut in_brackets) = (false, false, 0_u32, false);
    for c in value.chars() {
        match c {
            '\n' | '\r' => continue,
            _ if escaped => {
                escaped = false;
                if comments == 0 {
                    address.push(c);
                }
                continue;
            }
            '\\' => {
                escaped = true;
                if comments == 0 && quoted {
                    address.push(c);
                }
                continue;
            }
            '"' if comments == 0 => quoted = !quoted,
            '(' if !quoted => {
                comments += 1;
                continue;
            }
            ')' if !quoted && comments > 0 => {
                comments -= 1;
                continue;
            }
            _ if comments > 0 => continue,
            '<' if !quoted => {
                // What stood before it was a name.
                address.clear();
                in_brackets = true;
                continue;
            }
            '>' if !quoted && in_brackets => return Some(without_route(&address)),
            ',' | ';' if !quoted && !in_brackets => break,
            // A group's name (RFC 5322 §3.4).
            ':' if !quoted && !in_brackets => {
                address.clear();
                continue;
            }
            _ => {}
        }
        address.push(c);
    }
    let address = address.trim();
    (!in_brackets && !address.is_empty()).then(|| address.to_owned())
}

/// Takes an obsolete source route off (RFC 5321 appendix C).
fn without_route(path: &str) -> String {
    let path = path.trim();
    match path.strip_prefix('@').and_then(|rest| rest.split_once(':')) {
        Some((_, address)) => address.to_owned(),
        None => path.to_owned(),
    }
}

/// Whether this can go into a command of SMTP, a line of an mbox and an argument of a program.
pub(crate) fn is_address(text: &str) -> bool {
    let plain = |c: char| {
        !c.is_control()
            && !c.is_whitespace()
            && !matches!(
                c,
                '<' | '>' | '(' | ')' | ',' | ';' | '"' | '\\' | '|' | '`' | '$'
            )
    };
    !text.is_empty()
        && text.len() <= ADDRESS_LIMIT
        && !text.starts_with('-')
        && text.chars().all(plain)
}

/// From the best to the worst. The first is the envelope's, the others are fetchmail's.
const FIELDS: &[&str] = &[
    "Return-Path",
    "Resent-Sender",
    "Sender",
    "Resent-From",
    "From",
    "Reply-To",
    "Apparently-From",
];

/// How much of a message is searched.
const HEADER_LIMIT: u64 = 256 << 10;

/// How much of a field is looked at.
const FIELD_LIMIT: usize = 8 << 10;

/// RFC 5321 §4.5.3.1.3 has 254 octets between the brackets.
const ADDRESS_LIMIT: usize = 320;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(text: &str) -> Option<String> {
        sender(text.as_bytes()).unwrap()
    }

    #[test]
    fn the_return_path_counts_before_all_others() {
        let table = [
            ("Return-Path: <a@b>\nFrom: c@d\n\n", Some("a@b")),
            ("From: c@d\nreturn-path:<a@b>\n\n", Some("a@b")),
            ("Return-Path: <>\nFrom: c@d\n\n", None),
            ("Return-Path: <@relay,@other:a@b>\n\n", Some("a@b")),
            ("Return-Path:\n <a@b>\n\n", Some("a@b")),
            ("Return-Path: <a@b>\nReturn-Path: <x@y>\n\n", Some("a@b")),
            ("Subject: x\n\nReturn-Path: <a@b>\n", None),
            (
                "From: A (the <first>) \"B, <C>\" <a@b>, d@e\n\n",
                Some("a@b"),
            ),
            ("From: a@b (A)\n\n", Some("a@b")),
            ("From: a@b, c@d\n\n", Some("a@b")),
            ("From: friends: a@b, c@d;\n\n", Some("a@b")),
            ("From: x@y\nSender: a@b\n\n", Some("a@b")),
            ("Reply-To: x@y\nFrom: a@b\n\n", Some("a@b")),
            ("From: <grün@example.org>\n\n", Some("grün@example.org")),
            ("From: root\n\n", Some("root")),
            ("From:\n\n", None),
            ("From: <>\n\n", None),
            ("", None),
            ("no header at all", None),
        ];
        for (text, expected) in table {
            assert_eq!(found(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn what_could_be_more_than_an_address_is_none() {
        for text in [
            "Return-Path: <a b@c>\n\n",
            "Return-Path: <a@b\n",
            "Return-Path: <\"a b\"@c>\n\n",
            "Return-Path: <-f@b>\n\n",
            "Return-Path: <$(reboot)@b>\n\n",
            "Return-Path: <`reboot`@b>\n\n",
            "Return-Path: <a\0@b>\n\n",
        ] {
            assert_eq!(found(text), None, "{text}");
        }
        let long = format!("Return-Path: <{}@b>\n\n", "a".repeat(400));
        assert_eq!(found(&long), None);
    }

    #[test]
    fn a_header_without_end_is_searched_no_longer_than_it_pays() {
        let endless = "X: y\n".repeat(1 << 16) + "From: a@b\n\n";
        assert_eq!(found(&endless), None);
        let one_line = format!("From: {}", "a".repeat(1 << 20));
        assert_eq!(found(&one_line), None);
    }

    proptest! {
        #[test]
        fn whatever_is_found_fits_everywhere(value in "\\PC{0,60}", field in 0usize..7) {
            if let Some(address) = found(&format!("{}: {value}\n\n", FIELDS[field])) {
                prop_assert!(is_address(&address));
            }
        }
    }
}
