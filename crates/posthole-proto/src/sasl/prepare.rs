//! One spelling for passwords that can be typed in several ways (SASLprep, RFC 4013).

use alloc::borrow::Cow;

/// Brings a name or a password into the form in which SCRAM's two sides compare it.
///
/// What SASLprep cannot prepare stays as it is, though RFC 5802 §5.1 would have the login fail:
/// its tables end with Unicode 3.2, so any newer character is "prohibited", and servers that let
/// such a password be set compare it as it was typed.
pub(super) fn saslprep(text: &str) -> Cow<'_, str> {
    // The form of visible ASCII is its own, which is nearly every password.
    if text.bytes().all(|octet| matches!(octet, b' '..=b'~')) {
        return Cow::Borrowed(text);
    }
    stringprep::saslprep(text).unwrap_or(Cow::Borrowed(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_rfc_4013() {
        let table = [
            ("I\u{ad}X", "IX"),
            ("user", "user"),
            ("USER", "USER"),
            ("\u{aa}", "a"),
            ("\u{2168}", "IX"),
            // Prohibited, so left alone.
            ("\u{7}", "\u{7}"),
            ("\u{627}\u{31}", "\u{627}\u{31}"),
        ];
        for (text, prepared) in table {
            assert_eq!(saslprep(text), prepared);
        }
    }

    #[test]
    fn one_word_typed_in_two_ways_is_one_word() {
        assert_eq!(saslprep("mu\u{308}ller"), saslprep("m\u{fc}ller"));
        assert_eq!(saslprep("a\u{a0}b"), "a b");
        assert_eq!(saslprep("\u{1fae0}"), "\u{1fae0}", "newer than Unicode 3.2");
    }
}
