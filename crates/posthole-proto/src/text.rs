//! What a server wrote, made fit for a person's eyes and terminal.
//!
//! A server can put anything into its texts: escape sequences that rewrite the screen or the
//! window's title, octets that are no UTF-8, marks that turn the reading direction. Here they
//! become visible and harmless. What the text means is not looked at.

use alloc::borrow::Cow;
use alloc::string::String;
use core::fmt;

/// Words of a server, as it sent them; cleaned when they are shown.
///
/// `Display` is safe to print. [`as_bytes`](Self::as_bytes) is not.
#[derive(Clone, Copy, Default, Eq, PartialEq)]
pub struct Text<'a>(&'a [u8]);

impl<'a> Text<'a> {
    /// Takes octets for words.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The octets as they came.
    #[must_use]
    pub const fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// The words as a person may see them.
    #[must_use]
    pub fn clean(self) -> Cow<'a, str> {
        clean(self.0)
    }
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.clean())
    }
}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.clean(), f)
    }
}

/// Makes text from a server harmless for a terminal and a log.
///
/// A tabulator becomes a blank. Every other control character (C0 with ESC, CR, LF and NUL; DEL;
/// C1 with CSI and OSC) and every octet that is not UTF-8 becomes U+FFFD, and so do the marks that
/// break lines or turn the reading direction. What followed an ESC stays as plain letters.
///
/// ```
/// assert_eq!(posthole_proto::text::clean(b"\x1b]0;hi\x07 there"), "\u{fffd}]0;hi\u{fffd} there");
/// ```
#[must_use]
pub fn clean(text: &[u8]) -> Cow<'_, str> {
    let text = String::from_utf8_lossy(text);
    if text.chars().all(is_harmless) {
        return text;
    }
    let harmless = text.chars().map(|char| match char {
        '\t' => ' ',
        char if is_harmless(char) => char,
        _ => char::REPLACEMENT_CHARACTER,
    });
    Cow::Owned(harmless.collect())
}

/// Cleans the beginning of a text, at most 80 characters of it, and marks the cut with `…`.
#[must_use]
pub fn excerpt(text: &[u8]) -> String {
    // A character has at most four octets, so this is enough of the text and never all of a big
    // one.
    let beginning = &text[..text.len().min(4 * EXCERPT_CHARS + 4)];
    let cleaned = clean(beginning);
    match cleaned.char_indices().nth(EXCERPT_CHARS) {
        Some((at, _)) => alloc::format!("{}…", &cleaned[..at]),
        None => cleaned.into_owned(),
    }
}

/// Shows opaque octets, such as a unique-id, so that different ones look different.
///
/// Printable ASCII stands for itself, except quotes and the backslash; everything else is escaped
/// as in a Rust byte string.
pub fn escape(bytes: &[u8]) -> impl fmt::Display {
    bytes.escape_ascii()
}

fn is_harmless(char: char) -> bool {
    !char.is_control()
        && !matches!(
            char,
            // Line and paragraph separators; marks, embeddings, overrides and isolates of the
            // bidirectional algorithm (UAX #9).
            '\u{2028}' | '\u{2029}' | '\u{61c}' | '\u{200e}' | '\u{200f}'
                | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

const EXCERPT_CHARS: usize = 80;

#[cfg(test)]
mod tests {
    use std::string::ToString;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ordinary_text_is_not_copied() {
        assert!(matches!(
            clean("Grüße, 3 messages".as_bytes()),
            Cow::Borrowed(_)
        ));
    }

    #[test]
    fn whatever_moves_a_terminal_becomes_visible() {
        let table: &[(&[u8], &str)] = &[
            (b"\x1b[2J", "\u{fffd}[2J"),
            (b"\x1b]0;title\x1b\\", "\u{fffd}]0;title\u{fffd}\\"),
            (b"\xc2\x9b2J", "\u{fffd}2J"),
            (b"\x9b2J", "\u{fffd}2J"),
            (b"a\r\nb\x00c\x7f", "a\u{fffd}\u{fffd}b\u{fffd}c\u{fffd}"),
            (b"a\tb", "a b"),
            (b"caf\xe9", "caf\u{fffd}"),
            ("a\u{202e}b\u{2028}c".as_bytes(), "a\u{fffd}b\u{fffd}c"),
        ];
        for &(text, expected) in table {
            assert_eq!(clean(text), expected, "{}", escape(text));
        }
    }

    #[test]
    fn an_excerpt_is_short_however_long_the_text_is() {
        assert_eq!(excerpt(b"short"), "short");
        assert_eq!(excerpt(&[b'x'; 80]), "x".repeat(80));
        assert_eq!(excerpt(&[b'x'; 81]), "x".repeat(80) + "…");
        assert_eq!(
            excerpt("ü".repeat(1_000_000).as_bytes()),
            "ü".repeat(80) + "…"
        );
        assert_eq!(excerpt(&[0xff; 1000]), "\u{fffd}".repeat(80) + "…");
        assert_eq!(excerpt("😀".repeat(80).as_bytes()), "😀".repeat(80));
    }

    #[test]
    fn words_are_cleaned_when_shown() {
        let text = Text::new(b"hi\x1b[31m");
        assert_eq!(text.to_string(), "hi\u{fffd}[31m");
        assert_eq!(std::format!("{text:?}"), "\"hi\u{fffd}[31m\"");
        assert_eq!(std::format!("{:5}|", Text::new(b"ab")), "ab   |");
    }

    proptest! {
        #[test]
        fn nothing_harmful_comes_out(text in any::<Vec<u8>>()) {
            let cleaned = clean(&text);
            prop_assert!(cleaned.chars().all(is_harmless));
            prop_assert_eq!(clean(cleaned.as_bytes()), cleaned.clone());
            prop_assert!(excerpt(&text).chars().count() <= EXCERPT_CHARS + 1);
        }

        #[test]
        fn different_octets_are_shown_differently(a in any::<Vec<u8>>(), b in any::<Vec<u8>>()) {
            prop_assert_eq!(a == b, escape(&a).to_string() == escape(&b).to_string());
        }
    }
}
