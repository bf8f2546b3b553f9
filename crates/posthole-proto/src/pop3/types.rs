//! What POP3 counts, numbers and names.

use alloc::boxed::Box;
use core::fmt;
use core::num::{NonZeroU32, TryFromIntError};

use crate::text;

/// The number of a message in this session (RFC 1939 §5).
///
/// It means nothing in another session; a [`UniqueId`] does.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct MessageNumber(NonZeroU32);

impl MessageNumber {
    /// The number itself, at least 1.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0.get()
    }
}

impl From<NonZeroU32> for MessageNumber {
    fn from(number: NonZeroU32) -> Self {
        Self(number)
    }
}

impl TryFrom<u32> for MessageNumber {
    type Error = TryFromIntError;

    fn try_from(number: u32) -> Result<Self, Self::Error> {
        number.try_into().map(Self)
    }
}

impl fmt::Display for MessageNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The name of a message that lasts over sessions (RFC 1939 §7, UIDL).
///
/// ```text
/// unique-id = 1*70(%x21-7E)
/// ```
///
/// Servers exceed that in every way, so it is taken as opaque octets: not a number, not text, not
/// a file name. Blanks around it are not part of it, because some servers add them now and then.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct UniqueId(Box<[u8]>);

impl UniqueId {
    /// Takes octets without the blanks around them.
    #[must_use]
    pub fn new(octets: &[u8]) -> Self {
        Self(trim(octets).into())
    }

    /// The octets.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether there is nothing in it, so that it identifies no message.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for UniqueId {
    /// Shows octets that are not printable ASCII escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        text::escape(&self.0).fmt(f)
    }
}

impl fmt::Debug for UniqueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UniqueId(\"{self}\")")
    }
}

/// What STAT says about the maildrop (RFC 1939 §5): advice, for nothing else is certain about it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Maildrop {
    /// How many messages there are.
    pub count: u64,
    /// Their size in octets; as much as fits if the server says more.
    pub size: u64,
}

/// Removes blanks, and the CR that a server doubled, from both ends.
pub(super) fn trim(octets: &[u8]) -> &[u8] {
    let Some(first) = octets.iter().position(|octet| !is_blank(*octet)) else {
        return &[];
    };
    let last = octets
        .iter()
        .rposition(|octet| !is_blank(*octet))
        .unwrap_or(first);
    &octets[first..=last]
}

pub(super) const fn is_blank(octet: u8) -> bool {
    matches!(octet, b' ' | b'\t' | b'\r')
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn a_unique_id_is_opaque_but_for_the_blanks_around_it() {
        let table: &[(&[u8], &[u8], &str)] = &[
            (b"abc", b"abc", "abc"),
            (b" \tabc \r", b"abc", "abc"),
            (b"a b", b"a b", "a b"),
            (b"../../tmp/x", b"../../tmp/x", "../../tmp/x"),
            (b"a\0", b"a\0", "a\\x00"),
            (b"\xff\x1b[2J", b"\xff\x1b[2J", "\\xff\\x1b[2J"),
            (b"", b"", ""),
            (b"   ", b"", ""),
        ];
        for &(octets, kept, shown) in table {
            let uid = UniqueId::new(octets);
            assert_eq!((uid.as_bytes(), uid.to_string().as_str()), (kept, shown));
            assert_eq!(uid.is_empty(), kept.is_empty());
        }
    }

    #[test]
    fn there_is_no_message_0() {
        assert!(MessageNumber::try_from(0).is_err());
        assert_eq!(
            MessageNumber::try_from(u32::MAX).map(MessageNumber::get),
            Ok(u32::MAX)
        );
    }
}
