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

/// As [`clean`], but with the lines left apart and empty ones left out.
pub(crate) fn clean_lines(text: &str, limit: usize) -> String {
    let mut cleaned = String::new();
    let mut left = limit;
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if left == 0 {
            break;
        }
        if !cleaned.is_empty() {
            cleaned.push('\n');
        }
        let line = clean(line, left);
        left = left.saturating_sub(line.chars().count());
        cleaned += &line;
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

/// The most of a server's banner that is shown.
pub(crate) const BANNER: usize = 2000;

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
    fn lines_stay_lines_and_are_cut_as_a_whole() {
        assert_eq!(
            clean_lines("\r\n one\x1b[2J\r\n\r\ntwo\n", SHOWN),
            "one?[2J\ntwo"
        );
        assert_eq!(clean_lines("ab\ncd\nef\n", 3), "ab\nc…");
        assert_eq!(clean_lines(&"\n".repeat(1000), SHOWN), "");
    }

    #[test]
    fn long_text_is_cut() {
        assert_eq!(clean("Grüße aus Köln", 5), "Grüße…");
    }
}
