//! Where passwords stand, also where they do not belong.
//!
//! A person who mistypes `password` has written a password all the same, and the line with the
//! mistake is just the one that is shown. So every value is judged by what its key sounds like.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::did_you_mean;
use super::section::place_within;

/// Where passwords stand in a document.
pub(super) fn find(text: &str, document: &DeTable<'_>) -> Vec<Range<usize>> {
    let mut finder = Finder {
        text,
        found: Vec::new(),
    };
    for (section, value) in document {
        match value.get_ref() {
            DeValue::Table(named) if NAMED.contains(&section.get_ref().as_ref()) => {
                // These keys are names, which may sound like anything.
                for (name, value) in named {
                    if value.get_ref().is_table() {
                        finder.search(value);
                    } else {
                        finder.judge(name.get_ref(), value);
                    }
                }
            }
            _ => finder.judge(section.get_ref(), value),
        }
    }
    finder.found
}

struct Finder<'t> {
    text: &'t str,
    found: Vec<Range<usize>>,
}

impl Finder<'_> {
    fn judge(&mut self, key: &str, value: &toml::Spanned<DeValue<'_>>) {
        if sounds_secret(key) {
            self.take(value);
        } else if key != "command" {
            self.search(value);
        }
    }

    /// Looks for passwords in what is none as a whole.
    fn search(&mut self, value: &toml::Spanned<DeValue<'_>>) {
        match value.get_ref() {
            DeValue::Array(array) => array.iter().for_each(|value| self.search(value)),
            DeValue::String(string) => {
                if let Some(at) = in_url(string) {
                    let place = place_within(self.text, &value.span(), string, &at);
                    self.found.push(place);
                }
            }
            DeValue::Table(table) => {
                table
                    .iter()
                    .for_each(|(key, value)| self.judge(key.get_ref(), value));
            }
            _ => {}
        }
    }

    /// Takes the value of a key that sounds like a password.
    fn take(&mut self, value: &toml::Spanned<DeValue<'_>>) {
        let Range { start, end } = value.span();
        match value.get_ref() {
            DeValue::Array(array) => array.iter().for_each(|value| self.take(value)),
            DeValue::String(word) if word == "prompt" => {}
            DeValue::String(_) => self
                .found
                .push(start + 1..end.saturating_sub(1).max(start + 1)),
            DeValue::Table(table) => {
                let values = table
                    .iter()
                    .filter(|(key, _)| !SOURCES.contains(&key.get_ref().as_ref()));
                values.for_each(|(_, value)| self.take(value));
            }
            _ => self.found.push(start..end),
        }
    }
}

/// What may be passwords in text whose quotes and brackets cannot be relied on.
///
/// Rather too much than too little: the values of keys that sound like it, and everything between
/// a `:` and an `@` behind a scheme.
pub(super) fn suspects(text: &str) -> Vec<Range<usize>> {
    let mut suspects = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let end = start + line.len();
        if let Some(at) = suspicious_value(line) {
            let value = &text[start + at..];
            // A string of several lines goes on to its closing quotes, or to the end.
            let delimiter = ["\"\"\"", "'''"]
                .into_iter()
                .find(|quotes| line[at..].contains(quotes));
            let value_end = delimiter.map_or(end, |quotes| {
                let open = value.find(quotes).unwrap_or(0) + quotes.len();
                let close = value[open..].find(quotes);
                close.map_or(text.len(), |close| end.max(start + at + open + close))
            });
            suspects.push(start + at..value_end);
        }
        if let Some(at) = line.find("://").map(|at| at + "://".len())
            && let Some(sign) = line.rfind('@').filter(|sign| *sign > at)
            && let Some(colon) = line[at..sign].find(':')
        {
            suspects.push(start + at + colon + 1..start + sign);
        }
        start = end;
    }
    suspects
}

/// Where the value starts in a line that may give a password.
fn suspicious_value(line: &str) -> Option<usize> {
    let folded = line.to_ascii_lowercase();
    let word = WORDS.iter().filter_map(|word| folded.find(word)).min()?;
    let value = word + line[word..].find('=')? + 1;
    let harmless = line[value..]
        .trim_start()
        .strip_prefix('{')
        .is_some_and(|table| {
            let table = table.trim_start();
            SOURCES.iter().any(|source| table.starts_with(source)) && !folded.contains("literal")
        });
    (!harmless).then_some(value)
}

fn sounds_secret(key: &str) -> bool {
    let folded = key.to_ascii_lowercase();
    WORDS.iter().any(|word| folded.contains(word))
        || did_you_mean(&folded, ["literal", "password"].iter()).is_some()
}

/// Where a string that should be a URL or a host has what may be a password: `user:HERE@host`.
fn in_url(string: &str) -> Option<Range<usize>> {
    let start = string.find("://").map_or(0, |at| at + "://".len());
    let end = string.rfind('@').filter(|at| *at >= start)?;
    let colon = start + string[start..end].find(':')?;
    Some(colon + 1..end)
}

/// The sections of which each table has a name.
const NAMED: &[&str] = &["account", "forward", "ssh"];
/// Where a password comes from when it is not in the file.
const SOURCES: &[&str] = &["command", "credential", "env", "file", "keyring", "netrc"];
/// What keys for passwords have in them.
const WORDS: &[&str] = &["literal", "pass", "pw", "secret", "token"];
