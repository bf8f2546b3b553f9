//! Text from a server, made safe to show.

/// Replaces what could steer a terminal or mislead a reader, and bounds the length.
///
/// Line breaks and tabs become spaces; other control characters, among them ESC and the C1 set, and
/// the characters that reorder or hide text become `?`.
pub(crate) fn clean(text: &str, limit: usize) -> String {
    let text = text.trim();
    let mut cleaned = String::with_capacity(text.len().min(limit));
    for (count, character) in text.chars().enumerate() {
        if count == limit {
            cleaned.push('…');
            break;
        }
        cleaned.push(match character {
            '\n' | '\r' | '\t' => ' ',
            _ if character.is_control() || is_deceptive(character) => '?',
            _ => character,
        });
    }
    cleaned
}

/// Bidirectional controls and invisible characters (Unicode TR 36 §2).
fn is_deceptive(character: char) -> bool {
    matches!(
        character,
        '\u{00ad}' | '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}'
    )
}

/// The most of a message, a banner line or a prompt that is shown.
pub(crate) const SHOWN: usize = 400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_controls_do_not_get_through() {
        assert_eq!(
            clean("\x1b]0;pwned\x07 hi\u{9b}2J\r\nthere", SHOWN),
            "?]0;pwned? hi?2J  there"
        );
        assert_eq!(clean("abc\u{202e}fed", SHOWN), "abc?fed");
    }

    #[test]
    fn long_text_is_cut() {
        assert_eq!(clean("Grüße aus Köln", 5), "Grüße…");
    }
}
