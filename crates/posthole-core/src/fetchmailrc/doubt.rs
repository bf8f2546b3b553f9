//! What is right as far as fetchmail is concerned, and yet hardly meant.

use std::ops::Range;

use super::ast::Written;
use super::explain::Expected;
use super::keyword::Keyword;
use super::lexer::{Kind, Token};
use super::scene::Scene;
use crate::config::Diagnostic;

impl Scene<'_> {
    /// An option of the server that stands after a user's.
    pub(super) fn misplaced(&self, option: Range<usize>) -> Diagnostic {
        let word = self.first_word(&option);
        Diagnostic::error(format!("server option after user options: `{word}`"))
            .at(option)
            .label("belongs to the server")
            .help(format!(
                "move `{word}` before the first option of a user (`user`, `pass`, `is`, `keep` …)"
            ))
    }

    /// An option that is written a second time.
    pub(super) fn repeated(&self, written: &Written, earlier: &Range<usize>) -> Diagnostic {
        let word = self.first_word(&written.span);
        let line = self.line_of(earlier.start);
        Diagnostic::warning(format!("`{word}` overrides line {line}"))
            .at(written.span.clone())
            .label("the last one counts")
    }

    /// What is odd about the text here, which is none the less taken as it stands.
    pub(super) fn doubt_text(&self, expected: Expected) -> Option<Diagnostic> {
        let Token { kind, span } = self.token();
        let Kind::Text { quoted, .. } = kind else {
            return None;
        };
        let raw = &self.text[span.clone()];
        if let Some(comment) = self.comment_instead(expected) {
            return Some(
                Diagnostic::warning("a comment stands where the password is expected")
                    .at(comment)
                    .label("this is ignored, and the next word is taken as the password")
                    .help("a password with `#` must stand in quotes: pass \"#…\""),
            );
        }
        let in_list = self
            .previous()
            .is_some_and(|token| matches!(token.kind, Kind::Text { .. }));
        if in_list && let Some(option) = self.option_in_disguise() {
            return Some(
                Diagnostic::warning(format!("{} is taken for one more name", self.found()))
                    .at(span.clone())
                    .help(format!(
                        "write `{option}` if the option is meant, or quotes if it is a name"
                    )),
            );
        }
        if !quoted
            && raw.iter().any(|octet| matches!(octet, b'"' | b'\''))
            && starts_or_ends_quoted(raw)
        {
            return Some(
                Diagnostic::warning("the quotes here are part of the text")
                    .at(span.clone())
                    .label("not a text in quotes")
                    .help(
                        "what is in quotes ends with a blank behind the closing quote; a quote \
                           inside is written \\x22 or \\x27",
                    ),
            );
        }
        let breaks_line = *quoted
            && raw
                .windows(2)
                .any(|pair| pair[1] == b'\n' && pair[0] != b'\\');
        if breaks_line && !matches!(expected, Expected::Text(keyword) if is_command(keyword)) {
            let lines = raw.iter().filter(|octet| **octet == b'\n').count() + 1;
            return Some(
                Diagnostic::warning(format!("this text runs over {lines} lines"))
                    .at(span.start..span.start + 1)
                    .label("the quote opens here")
                    .help(
                        "is a closing quote missing? To break a long text, end its lines with \
                           a backslash",
                    ),
            );
        }
        None
    }

    /// A comment between `pass` and the text here, on the line of `pass`.
    fn comment_instead(&self, expected: Expected) -> Option<Range<usize>> {
        let Expected::Text(Keyword::Password | Keyword::EsmtpPassword) = expected else {
            return None;
        };
        let keyword = &self.tokens[self.at.checked_sub(1)?].span;
        let next = self
            .comments
            .partition_point(|comment| comment.start < keyword.end);
        let comment = self.comments.get(next)?;
        let here = comment.end <= self.token().span.start
            && !self.text[keyword.end..comment.start].contains(&b'\n');
        here.then(|| comment.clone())
    }
}

/// Whether a word looks as if its quotes were meant to be none of it.
fn starts_or_ends_quoted(raw: &[u8]) -> bool {
    matches!(raw, [b'"' | b'\'', ..] | [.., b'"' | b'\''])
}

/// Whether an option is a command, which may well run over several lines.
fn is_command(keyword: Keyword) -> bool {
    matches!(
        keyword,
        Keyword::Mda
            | Keyword::PasswordEval
            | Keyword::Plugin
            | Keyword::Plugout
            | Keyword::Postconnect
            | Keyword::Preconnect
            | Keyword::Properties
    )
}
