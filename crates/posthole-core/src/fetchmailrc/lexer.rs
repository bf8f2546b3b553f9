//! From octets to tokens, as fetchmail's own lexer does it.
//!
//! What a word is depends on the word before it: after `user`, `pass`, `is`, `to` and `=` the next
//! word is a name whatever it looks like, and `password` after `auth` is a value. The longest match
//! wins, which decides how quotes behave: `"a b"c` is two texts, but `"ab"c` is one word that holds
//! its quotes. The lexer never fails; what no rule fits is a word.

use std::ops::Range;

use bstr::BString;
use memchr::memchr;

use super::keyword::{Keyword, NOISE};

/// What stands in the text, without what is only there to be read by people.
pub(super) struct Tokens {
    /// The tokens in order; the last one is [`Kind::End`].
    pub(super) tokens: Vec<Token>,
    /// Where the comments are, with the `#`, without the line's end.
    pub(super) comments: Vec<Range<usize>>,
}

/// One token. It may hold a password, and so has no `Debug`.
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) span: Range<usize>,
}

/// What a token is.
pub(super) enum Kind {
    /// The end of the file.
    End,
    /// `=`.
    Equals,
    /// A word of the language.
    Keyword(Keyword),
    /// Digits, perhaps with a sign.
    Number(i32),
    /// Anything else, with its escapes resolved.
    Text {
        value: BString,
        /// Whether it stood in quotes, which the value lacks.
        quoted: bool,
    },
}

/// Splits the text into tokens.
pub(super) fn lex(text: &[u8]) -> Tokens {
    let mut lexer = Lexer {
        text,
        at: 0,
        expecting: Expecting::Word,
        tokens: Vec::new(),
        comments: Vec::new(),
    };
    while lexer.at < text.len() {
        lexer.step();
    }
    lexer.push(Kind::End, text.len()..text.len());
    Tokens {
        tokens: lexer.tokens,
        comments: lexer.comments,
    }
}

struct Lexer<'t> {
    text: &'t [u8],
    at: usize,
    expecting: Expecting,
    tokens: Vec<Token>,
    comments: Vec<Range<usize>>,
}

/// What the words before make of the next one.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Expecting {
    /// An authentication type, which `password` is one of.
    AuthType,
    /// A name, even if it is a keyword or a number.
    Name,
    /// No name.
    Word,
}

impl Lexer<'_> {
    /// Takes one token, or something that is none.
    fn step(&mut self) {
        let rest = &self.text[self.at..];
        let word = rest.iter().take_while(|octet| !ends_word(**octet)).count();
        match rest {
            [b' ' | b'\t' | b'\r' | b'\n' | b';' | b':' | b',', ..] => self.at += 1,
            [b'\\', b'\n', ..] => self.at += 2,
            [b'=', ..] => {
                self.push(Kind::Equals, self.at..self.at + 1);
                self.expecting = Expecting::Name;
            }
            [b'#', ..] if memchr(b'\n', rest).is_some() => {
                let end = self.at + memchr(b'\n', rest).unwrap_or(rest.len());
                self.comments.push(self.at..end);
                self.at = end;
            }
            [quote @ (b'"' | b'\''), inner @ ..] => match memchr(*quote, inner) {
                Some(length) if length + 2 >= word => self.text(&inner[..length], length + 2, true),
                _ => self.word(&rest[..word]),
            },
            _ => self.word(&rest[..word]),
        }
    }

    /// Takes what is not in quotes.
    fn word(&mut self, word: &[u8]) {
        if self.expecting == Expecting::Name {
            return self.text(word, word.len(), false);
        }
        let end = self.at + word.len();
        if NOISE.contains(&word) {
            self.at = end;
        } else if let Some(denied) = joined_negative(word) {
            self.push(Kind::Keyword(Keyword::No), self.at..self.at + 2);
            self.push(Kind::Keyword(denied), self.at..end);
        } else if let Some(keyword) = Keyword::of(word) {
            let after_auth = self.expecting == Expecting::AuthType;
            if keyword == Keyword::Password && after_auth && word != b"password" {
                return self.text(word, word.len(), false);
            }
            self.push(Kind::Keyword(keyword), self.at..end);
            self.expecting = match keyword {
                Keyword::Auth => Expecting::AuthType,
                Keyword::Is | Keyword::To | Keyword::User => Expecting::Name,
                Keyword::Password if !after_auth => Expecting::Name,
                _ => Expecting::Word,
            };
        } else if let Some(number) = number(word) {
            self.push(Kind::Number(number), self.at..end);
        } else {
            self.text(word, word.len(), false);
        }
    }

    /// Takes a text of which `raw` is to be resolved.
    fn text(&mut self, raw: &[u8], length: usize, quoted: bool) {
        let value = unescape(raw);
        self.push(Kind::Text { value, quoted }, self.at..self.at + length);
        self.expecting = Expecting::Word;
    }

    fn push(&mut self, kind: Kind, span: Range<usize>) {
        self.at = span.end;
        self.tokens.push(Token { kind, span });
    }
}

/// Whether an octet ends a word that is not in quotes. Form feeds and vertical tabs do not.
fn ends_word(octet: u8) -> bool {
    matches!(
        octet,
        b'=' | b';' | b':' | b',' | b' ' | b'\t' | b'\r' | b'\n'
    )
}

/// The `keep` of `nokeep`.
fn joined_negative(word: &[u8]) -> Option<Keyword> {
    let keyword = Keyword::of(word.strip_prefix(b"no")?)?;
    keyword.is_joined_to_no().then_some(keyword)
}

/// A number as C's atoi(3) reads it, which wraps what is too large.
#[expect(
    clippy::cast_possible_truncation,
    reason = "so does the conversion of a long to an int"
)]
fn number(word: &[u8]) -> Option<i32> {
    let digits = word.strip_prefix(b"-").unwrap_or(word);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let negative = digits.len() < word.len();
    let value = digits.iter().fold(0_i64, |value, digit| {
        let digit = i64::from(digit - b'0');
        let digit = if negative { -digit } else { digit };
        value.saturating_mul(10).saturating_add(digit)
    });
    Some(value as i32)
}

/// Resolves backslashes.
///
/// A value ends at its first NUL, however it came there, because fetchmail's are C strings.
fn unescape(raw: &[u8]) -> BString {
    let mut value = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((octet, after)) = rest.split_first() {
        rest = after;
        let resolved = match (octet, after) {
            (b'\\', []) => break,
            (b'\\', [b'\n', ..]) => {
                rest = &after[1..];
                continue;
            }
            (b'\\', [b'x' | b'X', digits @ ..]) => take_digits(digits, 16, 2, &mut rest),
            (b'\\', [b'0', ..]) => take_digits(after, 8, 3, &mut rest),
            (b'\\', [b'1'..=b'9', ..]) => take_digits(after, 10, 3, &mut rest),
            (b'\\', [escaped, after @ ..]) => {
                rest = after;
                match escaped {
                    b'b' => 0x08,
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    other => *other,
                }
            }
            _ => *octet,
        };
        if resolved == 0 {
            break;
        }
        value.push(resolved);
    }
    value.into()
}

/// Takes up to `most` digits from the start of `from`; what is too large wraps, as in C.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a char keeps the lowest eight bits"
)]
fn take_digits<'t>(from: &'t [u8], radix: u32, most: usize, rest: &mut &'t [u8]) -> u8 {
    let digits = from
        .iter()
        .take(most)
        .map_while(|octet| char::from(*octet).to_digit(radix));
    let (mut value, mut taken) = (0, 0);
    for digit in digits {
        value = value * radix + digit;
        taken += 1;
    }
    *rest = &from[taken..];
    value as u8
}
