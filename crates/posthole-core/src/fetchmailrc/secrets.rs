//! Where passwords stand, also where one was meant to stand.
//!
//! A line is shown to a person because something in it is wrong, and what is wrong is often just
//! the password: it holds a `;`, or begins with `#`, or its quotes do not match. So what follows
//! `pass` is hidden up to the next word of the language, and a word that looks like a slip of
//! `password` counts as one.

use std::ops::Range;

use super::keyword::Keyword;
use super::lexer::{Kind, Token, Tokens};

/// Where passwords stand or may stand, in order.
pub(super) fn find(text: &[u8], tokens: &Tokens) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    for (index, token) in tokens.tokens.iter().enumerate() {
        let hidden = found.last().is_some_and(|last| token.span.start < last.end);
        if !hidden && announces_secret(text, token) {
            let end = end_of_secret(text, &tokens.tokens[index..]);
            // From the first octet that is no blank: a comment behind `pass` may be the password.
            let blanks = text[token.span.end..end].iter();
            let start = token.span.end + blanks.take_while(|o| o.is_ascii_whitespace()).count();
            found.push(start..end.max(start));
        }
    }
    found
}

/// The text with an asterisk for every octet in `hidden`, and `?` for octets that are not UTF-8.
///
/// It is as long as the text itself, so that all places in it stay the same.
pub(super) fn redact(text: &[u8], hidden: &[Range<usize>]) -> String {
    let mut octets = text.to_vec();
    for range in hidden {
        // A text that is not the one these ranges are of may be shorter.
        let end = range.end.min(octets.len());
        let start = range.start.min(end);
        for octet in &mut octets[start..end] {
            if *octet != b'\n' {
                *octet = b'*';
            }
        }
    }
    let mut redacted = String::with_capacity(octets.len());
    for chunk in octets.utf8_chunks() {
        redacted.push_str(chunk.valid());
        redacted.extend(std::iter::repeat_n('?', chunk.invalid().len()));
    }
    redacted
}

/// Whether a password follows, or would if this word were written right.
fn announces_secret(text: &[u8], token: &Token) -> bool {
    match &token.kind {
        Kind::Keyword(Keyword::EsmtpPassword | Keyword::Password) => true,
        Kind::Text { quoted: false, .. } => {
            let word = text[token.span.clone()].to_ascii_lowercase();
            WORDS.iter().any(|start| word.starts_with(start))
        }
        _ => false,
    }
}

/// Where that ends which follows the first of `tokens`.
fn end_of_secret(text: &[u8], tokens: &[Token]) -> usize {
    let mut end = tokens[0].span.end;
    let mut argument_seen = false;
    for token in &tokens[1..] {
        let same_line = !text[end..token.span.start].contains(&b'\n');
        match token.kind {
            Kind::End => break,
            Kind::Keyword(_) if argument_seen || matches!(tokens[0].kind, Kind::Text { .. }) => {
                break;
            }
            _ if argument_seen && !same_line => break,
            Kind::Equals => {}
            _ => argument_seen = true,
        }
        end = token.span.end;
    }
    let rest = &text[end..];
    let comment = rest.iter().take_while(|o| b" \t".contains(o)).count();
    if !argument_seen && rest.get(comment) == Some(&b'#') {
        return end + memchr::memchr(b'\n', rest).unwrap_or(rest.len());
    }
    // What adjoins was meant as a part of it: the `,d` of `pass c,d`, or a comment.
    let adjoining = rest.iter();
    end + adjoining
        .take_while(|octet| !octet.is_ascii_whitespace())
        .count()
}

/// How words begin that may be meant as `password`.
const WORDS: &[&[u8]] = &[b"pass", b"pasw", b"pwd"];
