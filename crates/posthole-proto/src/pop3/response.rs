//! What the lines of a server mean.
//!
//! Each function here reads one line and knows nothing of the conversation. The rule is RFC 1939's
//! for writing and fetchmail's for reading: numbers may be padded, blanks may be doubled, columns
//! may be added, case does not matter; but a number that cannot be read is never guessed.

use alloc::string::String;
use core::fmt;

use super::types::{Maildrop, MessageNumber, is_blank, trim};
use crate::text;

/// A status line.
///
/// ```text
/// status = ("+OK" / "-ERR") [SP text] CRLF
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Status<'a> {
    pub(super) positive: bool,
    pub(super) text: &'a [u8],
}

impl<'a> Status<'a> {
    /// Reads a line; servers that write `+ok`, or no blank after it, are understood.
    pub(super) fn parse(line: &'a [u8]) -> Option<Self> {
        let after = |indicator: &[u8]| {
            let (start, text) = line.split_at_checked(indicator.len())?;
            start.eq_ignore_ascii_case(indicator).then(|| trim(text))
        };
        let positive = after(b"+OK").map(|text| Status {
            positive: true,
            text,
        });
        positive.or_else(|| {
            after(b"-ERR").map(|text| Status {
                positive: false,
                text,
            })
        })
    }
}

/// What a line says as a challenge of a SASL exchange, still encoded (RFC 5034 §4).
///
/// ```text
/// continue-req = "+" SP [base64] CRLF
/// ```
///
/// Some servers leave out the blank where nothing follows it.
pub(super) fn challenge(line: &[u8]) -> Option<&[u8]> {
    match line.strip_prefix(b"+")? {
        [] => Some(&[]),
        [b' ', encoded @ ..] => Some(trim(encoded)),
        _ => None,
    }
}

/// The code at the beginning of a refusal, which tells programs the reason (RFC 2449 §8).
///
/// ```text
/// resp-code  = "[" resp-level *("/" resp-level) "]"
/// ```
///
/// A longer code than is known counts as the known one it extends, as §8 asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum RespCode {
    /// `AUTH`: the name or the password is wrong (RFC 3206 §5).
    Auth,
    /// `IN-USE`: another session has the maildrop (RFC 2449 §8.1.2).
    InUse,
    /// `LOGIN-DELAY`: too soon after the last login (RFC 2449 §8.1.1).
    LoginDelay,
    /// `SYS/PERM`: somebody must repair the server (RFC 3206 §4).
    SysPerm,
    /// `SYS/TEMP`: the server's trouble should pass (RFC 3206 §4).
    SysTemp,
    /// Any other, in capitals.
    Other(String),
}

impl RespCode {
    /// Reads the code at the beginning of a status line's text.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let inside = text.strip_prefix(b"[")?;
        let end = inside
            .iter()
            .take(MAX_CODE)
            .position(|octet| *octet == b']')?;
        let code = text::clean(trim(&inside[..end])).to_ascii_uppercase();
        let extends = |known: &str| {
            code.strip_prefix(known)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let known = [
            ("AUTH", Self::Auth),
            ("IN-USE", Self::InUse),
            ("LOGIN-DELAY", Self::LoginDelay),
            ("SYS/PERM", Self::SysPerm),
            ("SYS/TEMP", Self::SysTemp),
        ];
        let known = known
            .into_iter()
            .find_map(|(name, known)| extends(name).then_some(known));
        known.or_else(|| (!code.is_empty()).then_some(Self::Other(code)))
    }
}

impl fmt::Display for RespCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auth => "AUTH",
            Self::InUse => "IN-USE",
            Self::LoginDelay => "LOGIN-DELAY",
            Self::SysPerm => "SYS/PERM",
            Self::SysTemp => "SYS/TEMP",
            Self::Other(code) => code,
        })
    }
}

/// Reads the text of the reply to STAT: `count SP size`, and whatever follows.
///
/// The count must be a number that fits. The size is advice and saturates.
pub(super) fn maildrop(text: &[u8]) -> Option<Maildrop> {
    let (count, rest) = word(text);
    let (size, _) = word(rest);
    Some(Maildrop {
        count: decimal(count)?,
        size: saturating_decimal(size)?,
    })
}

/// Reads a line of LIST: `number SP size`, and whatever follows.
///
/// A line without a size that can be read still names a message; its size is 0 then.
pub(super) fn scan_listing(line: &[u8]) -> Option<(MessageNumber, u64)> {
    let (number, rest) = word(line);
    let (size, _) = word(rest);
    Some((
        message_number(number)?,
        saturating_decimal(size).unwrap_or(0),
    ))
}

/// Reads a line of UIDL: `number SP unique-id`.
///
/// Everything after the number is the unique-id. To take only its first word would make messages
/// look alike on a server that puts blanks into it, and a message that looks like one already
/// fetched is lost; a column that changes only makes it be fetched again.
pub(super) fn unique_id_listing(line: &[u8]) -> Option<(MessageNumber, &[u8])> {
    let (number, rest) = word(line);
    Some((message_number(number)?, trim(rest)))
}

/// Splits off the first word, and the blanks before it.
fn word(line: &[u8]) -> (&[u8], &[u8]) {
    let line = trim(line);
    let end = line
        .iter()
        .position(|octet| is_blank(*octet))
        .unwrap_or(line.len());
    line.split_at(end)
}

fn message_number(digits: &[u8]) -> Option<MessageNumber> {
    let number = u32::try_from(decimal(digits)?).ok()?;
    number.try_into().ok()
}

/// Reads a number that fits, zeros before it or not.
fn decimal(digits: &[u8]) -> Option<u64> {
    read_decimal(digits)?
}

/// Reads a number, or as much of it as fits.
fn saturating_decimal(digits: &[u8]) -> Option<u64> {
    read_decimal(digits).map(|number| number.unwrap_or(u64::MAX))
}

/// Reads a number: the inner value is missing if it does not fit, the outer if it is no number.
fn read_decimal(digits: &[u8]) -> Option<Option<u64>> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().try_fold(0u64, |number, digit| {
        number.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
    }))
}

/// The longest response code that is looked for; the known ones have eleven octets.
const MAX_CODE: usize = 64;

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;
    use crate::text::escape;

    /// A line, and what is read from it.
    type Table<T> = &'static [(&'static [u8], Option<T>)];

    #[test]
    fn status_lines_of_all_kinds_of_servers_are_read() {
        let table: Table<(bool, &[u8])> = &[
            (b"+OK", Some((true, b""))),
            (b"+OK ", Some((true, b""))),
            (b"+OK hello  there ", Some((true, b"hello  there"))),
            (b"+OKmessage follows", Some((true, b"message follows"))),
            (b"+ok 3 messages", Some((true, b"3 messages"))),
            (b"+OK\tx", Some((true, b"x"))),
            (b"-ERR", Some((false, b""))),
            (b"-Err [AUTH] no", Some((false, b"[AUTH] no"))),
            (b"-ERRno", Some((false, b"no"))),
            (b"", None),
            (b"+", None),
            (b"+ ", None),
            (b"+O", None),
            (b"-ER", None),
            (b" +OK", None),
            (b"OK", None),
            (b"220 mail.example ESMTP", None),
            (b"* OK IMAP4rev1", None),
            (b"\0+OK", None),
        ];
        for &(line, expected) in table {
            let found = Status::parse(line).map(|status| (status.positive, status.text));
            assert_eq!(found, expected, "{}", escape(line));
        }
    }

    #[test]
    fn response_codes_are_read_in_either_case_and_with_extensions() {
        let table: Table<&str> = &[
            (b"[AUTH] invalid credentials", Some("AUTH")),
            (b"[in-use] locked", Some("IN-USE")),
            (b"[Login-Delay] wait 900 s", Some("LOGIN-DELAY")),
            (b"[SYS/TEMP] backend down", Some("SYS/TEMP")),
            (b"[SYS/PERM]", Some("SYS/PERM")),
            (b"[SYS/TEMP/DISK]full", Some("SYS/TEMP")),
            (b"[ AUTH ] odd", Some("AUTH")),
            (b"[SYS/TEMPERED] x", Some("SYS/TEMPERED")),
            (b"[SYS] x", Some("SYS")),
            (b"[utf8] x", Some("UTF8")),
            (b"[\x1b] x", Some("\u{fffd}")),
            (b"[] x", None),
            (b"[AUTH no end", None),
            (b"AUTH", None),
            (b"", None),
            (b"x [AUTH]", None),
        ];
        for &(text, expected) in table {
            let found = RespCode::parse(text).map(|code| code.to_string());
            assert_eq!(found.as_deref(), expected, "{}", escape(text));
        }
        let endless = ["[".as_bytes(), &[b'A'; 1000], b"]"].concat();
        assert_eq!(RespCode::parse(&endless), None);
    }

    #[test]
    fn stat_is_read_or_given_up_on_but_never_guessed() {
        let table: Table<(u64, u64)> = &[
            (b"3 1200", Some((3, 1200))),
            (b"  003   01200 extra 7", Some((3, 1200))),
            (b"0 0", Some((0, 0))),
            (b"2000000000 1", Some((2_000_000_000, 1))),
            (b"1 99999999999999999999", Some((1, u64::MAX))),
            (b"99999999999999999999 1", None),
            (b"-1 -5", None),
            (b"3", None),
            (b"3 many", None),
            (b"", None),
            (b"maildrop has 3 messages", None),
        ];
        for &(text, expected) in table {
            let found = maildrop(text).map(|maildrop| (maildrop.count, maildrop.size));
            assert_eq!(found, expected, "{}", escape(text));
        }
    }

    #[test]
    fn list_lines_of_all_kinds_of_servers_are_read() {
        let table: Table<(u32, u64)> = &[
            (b"1 120", Some((1, 120))),
            (b"  001 \t 0120  extra columns", Some((1, 120))),
            (b"1 18446744073709551615", Some((1, u64::MAX))),
            (b"1 18446744073709551616", Some((1, u64::MAX))),
            (b"4294967295 1", Some((u32::MAX, 1))),
            // The message is there, whatever its size.
            (b"1", Some((1, 0))),
            (b"1 -5", Some((1, 0))),
            (b"1 big", Some((1, 0))),
            (b"4294967296 1", None),
            (b"0 120", None),
            (b"-1 120", None),
            (b"+1 120", None),
            (b"1a 120", None),
            (b"", None),
            (b"   ", None),
            (b"one 120", None),
        ];
        for &(line, expected) in table {
            let found = scan_listing(line).map(|(number, size)| (number.get(), size));
            assert_eq!(found, expected, "{}", escape(line));
        }
    }

    #[test]
    fn uidl_lines_of_all_kinds_of_servers_are_read() {
        let table: Table<(u32, &[u8])> = &[
            (b"1 abc", Some((1, b"abc"))),
            (b"001   abc", Some((1, b"abc"))),
            (b"  1\tabc \r", Some((1, b"abc"))),
            (b"1 a b  c", Some((1, b"a b  c"))),
            (b"1 \xff\x1b[2J", Some((1, b"\xff\x1b[2J"))),
            (b"1 a\0b", Some((1, b"a\0b"))),
            (b"1 ../../../../tmp/x", Some((1, b"../../../../tmp/x"))),
            (b"1", Some((1, b""))),
            (b"1 ", Some((1, b""))),
            (b"1    ", Some((1, b""))),
            (b"0 abc", None),
            (b"abc", None),
            (b"1abc", None),
            (b"", None),
        ];
        for &(line, expected) in table {
            let found = unique_id_listing(line).map(|(number, uid)| (number.get(), uid));
            assert_eq!(found, expected, "{}", escape(line));
        }
        let long = [b'u'; 500];
        let line = [b"7 ", &long[..]].concat();
        let (number, uid) = unique_id_listing(&line).expect("a number and a unique-id");
        assert_eq!((number.get(), uid), (7, &long[..]));
    }
}
