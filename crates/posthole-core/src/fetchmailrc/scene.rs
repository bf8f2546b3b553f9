//! A place in an rc file, what stands around it, and how that may be shown.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use super::keyword::Keyword;
use super::lexer::{Kind, Token};

/// A place in the text and what surrounds it.
pub(super) struct Scene<'t> {
    pub(super) text: &'t [u8],
    pub(super) tokens: &'t [Token],
    pub(super) comments: &'t [Range<usize>],
    /// Where passwords may stand.
    pub(super) hidden: &'t [Range<usize>],
    /// The token that the statement begins with.
    pub(super) statement: usize,
    /// The token that is looked at.
    pub(super) at: usize,
}

impl<'t> Scene<'t> {
    pub(super) fn token(&self) -> &'t Token {
        &self.tokens[self.at]
    }

    pub(super) fn keyword(&self) -> Option<Keyword> {
        match self.token().kind {
            Kind::Keyword(keyword) => Some(keyword),
            _ => None,
        }
    }

    /// The word here if it is no keyword and not in quotes.
    pub(super) fn bare_word(&self) -> Option<&'t [u8]> {
        match self.token().kind {
            Kind::Text { quoted: false, .. } => Some(&self.text[self.token().span.clone()]),
            _ => None,
        }
    }
}

/// What stands around the place.
impl Scene<'_> {
    /// The token before, within the statement.
    pub(super) fn previous(&self) -> Option<&Token> {
        let before = self
            .at
            .checked_sub(1)
            .filter(|before| *before >= self.statement)?;
        self.tokens.get(before)
    }

    pub(super) fn follows_bare_text(&self) -> bool {
        self.previous().is_some_and(|token| {
            matches!(token.kind, Kind::Text { quoted: false, .. })
                && token.span.end == self.token().span.start
        })
    }

    pub(super) fn follows_server_name(&self) -> bool {
        self.at == self.statement + 2
    }

    /// The separator that stands, without a blank, between the word before and this one.
    pub(super) fn cut_by(&self) -> Option<char> {
        let previous = self.previous()?;
        let Kind::Text { quoted: false, .. } = previous.kind else {
            return None;
        };
        let between = &self.text[previous.span.end..self.token().span.start];
        let separators = !between.is_empty() && between.iter().all(|octet| b";:,".contains(octet));
        separators.then(|| char::from(between[0]))
    }

    /// An unclosed quote, or one that was closed far too late, earlier in the statement.
    pub(super) fn trouble_with_quotes(&self) -> Option<String> {
        let before = &self.tokens[self.statement..=self.at];
        before.iter().rev().find_map(|token| {
            let raw = &self.text[token.span.clone()];
            let line = self.line_of(token.span.start);
            match token.kind {
                Kind::Text { quoted: false, .. }
                    if matches!(raw, [b'"' | b'\'', ..])
                        && raw.len() > 1
                        && raw.first() != raw.last() =>
                {
                    Some(format!(
                        "the quote that opens on line {line} is never closed"
                    ))
                }
                Kind::Text { quoted: true, .. } if raw.contains(&b'\n') => {
                    let last = self.line_of(token.span.end);
                    Some(format!(
                        "the text in quotes that begins on line {line} ends only on line {last}; \
                         is a quote missing?"
                    ))
                }
                _ => None,
            }
        })
    }

    pub(super) fn line_of(&self, at: usize) -> usize {
        1 + memchr::memchr_iter(b'\n', &self.text[..at]).count()
    }

    /// What stands here, for a message.
    pub(super) fn found(&self) -> Cow<'static, str> {
        self.word(self.token())
    }

    /// A token for a message: quoted, unless it may be a password.
    pub(super) fn word(&self, token: &Token) -> Cow<'static, str> {
        match token.kind {
            Kind::End => "the end of the file".into(),
            Kind::Equals => "`=`".into(),
            _ if self.is_hidden(token) => "this word".into(),
            Kind::Text { quoted: true, .. } => "a text in quotes".into(),
            _ => format!("`{}`", Shown(&self.text[token.span.clone()])).into(),
        }
    }

    /// The word here as it stands.
    pub(super) fn bare(&self) -> String {
        Shown(&self.text[self.token().span.clone()]).to_string()
    }

    /// The first word of an option, without `no`.
    pub(super) fn first_word(&self, option: &Range<usize>) -> String {
        let text = &self.text[option.clone()];
        let end = text.iter().position(u8::is_ascii_whitespace);
        Shown(&text[..end.unwrap_or(text.len())]).to_string()
    }

    /// How the keyword, which stands somewhere before, was written.
    pub(super) fn spelling_of(&self, keyword: Keyword) -> String {
        let before = self.tokens[self.statement..self.at].iter().rev();
        let written = before
            .filter(|token| matches!(token.kind, Kind::Keyword(found) if found == keyword))
            .map(|token| Shown(&self.text[token.span.clone()]).to_string());
        written
            .into_iter()
            .next()
            .unwrap_or_else(|| "is".to_owned())
    }

    pub(super) fn is_hidden(&self, token: &Token) -> bool {
        let after = self
            .hidden
            .partition_point(|hidden| hidden.end <= token.span.start);
        self.hidden
            .get(after)
            .is_some_and(|hidden| hidden.start < token.span.end)
    }
}

/// A word as it may be shown: on one line, and not too long.
struct Shown<'t>(&'t [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = posthole_proto::text::clean(self.0);
        match text.char_indices().nth(LONGEST) {
            Some((end, _)) => write!(f, "{}…", &text[..end]),
            None => f.write_str(&text),
        }
    }
}

/// How much of a word is shown.
const LONGEST: usize = 40;
