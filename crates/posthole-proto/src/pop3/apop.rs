//! APOP (RFC 1939 §7): a digest of the greeting and the password.
//!
//! MD5 is broken: a false server that chooses its challenges freely can find the password out,
//! some characters of it, from collisions of its making (CVE-2007-1558). Those it has found need
//! octets that no message-id has, so that the strict form asked for here stops that attack; it does
//! not stop trying passwords against one digest.

use core::fmt;

use data_encoding::HEXLOWER;
use md5::{Digest, Md5};
use secrecy::{ExposeSecret, SecretString};

use alloc::borrow::ToOwned;
use alloc::string::String;

/// The challenge in a greeting.
///
/// ```text
/// msg-id = "<" local-part "@" domain ">"    ; RFC 822 §4.6
/// ```
///
/// ```
/// use posthole_proto::pop3::ApopChallenge;
///
/// let challenge = ApopChallenge::find(b"POP3 server ready <1896.697170952@dbc.mtview.ca.us>")
///     .expect("a challenge");
/// assert_eq!(challenge.to_string(), "<1896.697170952@dbc.mtview.ca.us>");
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ApopChallenge(String);

impl ApopChallenge {
    /// Finds the challenge in the words of a greeting; none unless exactly one thing there looks
    /// like it and is well-formed.
    ///
    /// Stricter than RFC 822: no quoted strings, no comments, no blanks; servers do not use them.
    #[must_use]
    pub fn find(greeting: &[u8]) -> Option<Self> {
        let start = memchr::memchr(b'<', greeting)?;
        let length = memchr::memchr(b'>', &greeting[start..])? + 1;
        let (before, rest) = greeting.split_at(start);
        let (challenge, after) = rest.split_at(length);
        let challenge = core::str::from_utf8(challenge).ok()?;
        let inside = challenge.strip_prefix('<')?.strip_suffix('>')?;
        let (local, domain) = inside.split_once('@')?;
        let alone = !before.contains(&b'>') && !after.contains(&b'<');
        (alone && length <= LENGTH && is_dotted(local) && is_domain(domain))
            .then(|| Self(challenge.to_owned()))
    }

    /// The digest that answers the challenge: MD5 over it and the password.
    #[must_use]
    pub fn digest(&self, password: &SecretString) -> SecretString {
        let mut md5 = Md5::new();
        md5.update(self.0.as_bytes());
        md5.update(password.expose_secret().as_bytes());
        HEXLOWER.encode(&md5.finalize()).into()
    }
}

impl fmt::Display for ApopChallenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Words of atoms with single dots between them.
fn is_dotted(text: &str) -> bool {
    text.split('.')
        .all(|word| !word.is_empty() && word.bytes().all(is_atom))
}

/// A domain, or an address in brackets.
fn is_domain(text: &str) -> bool {
    match text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
    {
        Some(literal) => {
            !literal.is_empty()
                && literal
                    .bytes()
                    .all(|octet| octet.is_ascii_alphanumeric() || b".:".contains(&octet))
        }
        None => is_dotted(text),
    }
}

/// RFC 822 §3.3: any character but specials, blanks and controls.
const fn is_atom(octet: u8) -> bool {
    octet.is_ascii_graphic()
        && !matches!(
            octet,
            b'(' | b')'
                | b'<'
                | b'>'
                | b'@'
                | b','
                | b';'
                | b':'
                | b'\\'
                | b'"'
                | b'.'
                | b'['
                | b']'
        )
}

/// As long as RFC 1939 §4 lets a greeting be, less its `+OK ` and line end.
const LENGTH: usize = 506;

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn the_digest_is_the_example_of_rfc_1939() {
        let greeting = b"POP3 server ready <1896.697170952@dbc.mtview.ca.us>";
        let challenge = ApopChallenge::find(greeting).expect("a challenge");
        let digest = challenge.digest(&"tanstaaf".into());
        assert_eq!(digest.expose_secret(), "c4c9334bac560ecc979e58001b3e22fb");
    }

    #[test]
    fn a_challenge_is_a_well_formed_message_id_and_nothing_else() {
        let table: &[(&[u8], Option<&str>)] = &[
            (b"<1.2@host>", Some("<1.2@host>")),
            (b"ready <1.2@host.example> go", Some("<1.2@host.example>")),
            (b"<1@[192.0.2.1]>", Some("<1@[192.0.2.1]>")),
            (
                b"<2.0000.68f2+/=@mx_1.example>",
                Some("<2.0000.68f2+/=@mx_1.example>"),
            ),
            (b"hello", None),
            (b"", None),
            (b"<>", None),
            (b"<@>", None),
            (b"<1@>", None),
            (b"<@host>", None),
            (b"<1@ho st>", None),
            (b"<1 2@host>", None),
            (b"<1@a@b>", None),
            (b"<1..2@host>", None),
            (b"<1@host.>", None),
            (b"<1@host", None),
            (b"1@host>", None),
            (b"<1@host> <2@host>", None),
            (b"a > b <1@host>", None),
            (b"<<1@host>>", None),
            (b"<1\x80@host>", None),
            (b"<1\x00@host>", None),
            (b"<1\x07@host>", None),
            ("<1é@host>".as_bytes(), None),
            (b"<\"1\"@host>", None),
            (b"<1(x)@host>", None),
        ];
        for &(greeting, expected) in table {
            let found = ApopChallenge::find(greeting).map(|challenge| challenge.to_string());
            assert_eq!(found.as_deref(), expected, "{}", greeting.escape_ascii());
        }
        let long = [b"<", &[b'1'; 500][..], b"@host>"].concat();
        assert_eq!(ApopChallenge::find(&long), None);
    }
}
