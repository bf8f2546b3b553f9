//! Where the addresses stand in a field.
//!
//! This walks over the text instead of parsing it by RFC 5322, since what matters of a field that
//! follows no grammar is that nothing of it gets lost.

use std::ops::Range;

/// An address in the text of a field.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Address {
    /// The address without name, brackets and comments.
    pub(super) span: Range<usize>,
    /// Whether it names a host, or a way there as UUCP had it.
    pub(super) is_qualified: bool,
}

/// Finds the addresses in the value of a field; text in quotes that stands alone is none, since it
/// is as likely a name whose address was left out.
pub(super) fn addresses(value: &[u8]) -> Vec<Address> {
    let mut found = Vec::new();
    let mut seen = Seen::default();
    let mut octets = value.iter().copied().enumerate();
    let mut comments = 0_u32;
    let mut is_quoted = false;
    while let Some((at, octet)) = octets.next() {
        match octet {
            b'\\' => {
                let end = octets.next().map_or(at + 1, |(escaped, _)| escaped + 1);
                if comments == 0 {
                    seen.word(at..end);
                }
            }
            b'"' if comments == 0 => {
                is_quoted = !is_quoted;
                seen.quote(at..at + 1);
            }
            _ if is_quoted => seen.inside_quotes(at..at + 1),
            b'(' => comments += 1,
            b')' => comments = comments.saturating_sub(1),
            _ if comments > 0 => {}
            b'<' => seen = Seen::in_brackets(),
            b'>' => {
                found.extend(seen.address());
                seen = Seen::done();
            }
            b',' if seen.is_bracketed => seen.route(),
            b',' | b';' => {
                found.extend(seen.address());
                seen = Seen::default();
            }
            // What came before was the name of a group, or a source route.
            b':' if seen.is_bracketed => seen.route(),
            b':' => seen = Seen::default(),
            _ if octet.is_ascii_whitespace() => seen.is_word_over = true,
            _ => {
                seen.word(at..at + 1);
                seen.is_qualified |= matches!(octet, b'@' | b'!');
            }
        }
    }
    if !is_quoted && comments == 0 {
        found.extend(seen.address());
    }
    found
}

/// What was seen of an address.
#[derive(Clone, Debug, Default)]
struct Seen {
    /// Its last word, or all of it in brackets.
    span: Option<Range<usize>>,
    /// The next word is another one.
    is_word_over: bool,
    is_qualified: bool,
    is_bracketed: bool,
    /// The address in brackets was seen; whatever follows is no address.
    is_done: bool,
    /// Nothing but text in quotes.
    is_only_quoted: bool,
}

impl Seen {
    fn in_brackets() -> Self {
        Self {
            is_bracketed: true,
            ..Self::default()
        }
    }

    fn done() -> Self {
        Self {
            is_done: true,
            ..Self::default()
        }
    }

    fn word(&mut self, at: Range<usize>) {
        self.is_only_quoted = false;
        self.extend(at);
    }

    fn quote(&mut self, at: Range<usize>) {
        self.is_only_quoted |= self.span.is_none();
        self.extend(at);
    }

    fn inside_quotes(&mut self, at: Range<usize>) {
        self.is_word_over = false;
        self.extend(at);
    }

    fn extend(&mut self, at: Range<usize>) {
        match &mut self.span {
            Some(span) if self.is_bracketed || !self.is_word_over => span.end = at.end,
            span => *span = Some(at),
        }
        self.is_word_over = false;
    }

    /// Hosts on the way are no part of the address (RFC 5322 §4.4).
    fn route(&mut self) {
        *self = Self {
            is_bracketed: self.is_bracketed,
            ..Self::default()
        };
    }

    fn address(&self) -> Option<Address> {
        let span = self.span.clone()?;
        let is_address = !self.is_done && (self.is_bracketed || !self.is_only_quoted);
        is_address.then_some(Address {
            span,
            is_qualified: self.is_qualified,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: &str, expected: &[&str]) {
        let found = addresses(value.as_bytes());
        let found: Vec<_> = found.into_iter().map(|a| &value[a.span]).collect();
        assert_eq!(found, expected, "{value:?}");
    }

    #[test]
    fn addresses_are_found_among_names_comments_and_groups() {
        check("a", &["a"]);
        check(" a@b , c (d, e) ,f;", &["a@b", "c", "f"]);
        check(
            "Joe <a@b>, \"B, b\" <c>, only header",
            &["a@b", "c", "header"],
        );
        check("group: a, b@c;, <>, :;", &["a", "b@c"]);
        check("<@x,@y:a@b>, <@x:a>", &["a@b", "a"]);
        check("\"a b\"@c, \"joe\", <\"a b\">", &["\"a b\"@c", "\"a b\""]);
        check("a\\,b, c\\", &["a\\,b", "c\\"]);
        check("un\"closed, a", &[]);
        check("a, un(closed", &["a"]);
        check("", &[]);
    }

    proptest::proptest! {
        #[test]
        fn an_address_is_a_part_of_the_text(value in "[ab@<>(),;:\" \\\\]{0,20}") {
            for address in addresses(value.as_bytes()) {
                proptest::prop_assert!(value.get(address.span).is_some_and(|text| !text.is_empty()));
            }
        }
    }
}
