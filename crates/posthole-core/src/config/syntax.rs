//! Text that is not TOML: what is wrong with it, and where it may hold passwords all the same.

use std::ops::Range;

use super::Diagnostic;

/// One diagnostic for each line that is broken: what follows on the same line follows from it.
pub(super) fn diagnose(text: &str, errors: &[toml::de::Error]) -> Vec<Diagnostic> {
    let mut diagnostics: Vec<Diagnostic> = Vec::new();
    let mut last_line = None;
    let mut errors: Vec<_> = errors.iter().collect();
    errors.sort_by_key(|error| error.span().map(|span| span.start));
    for error in errors {
        let span = error.span().unwrap_or(text.len()..text.len());
        let line = text
            .as_bytes()
            .iter()
            .take(span.start)
            .filter(|byte| **byte == b'\n')
            .count();
        if last_line.replace(line) == Some(line) {
            continue;
        }
        diagnostics.push(Diagnostic::error(error.message()).at(span));
    }
    diagnostics
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
    let word = ["literal", "pass", "pw", "secret", "token"]
        .into_iter()
        .filter_map(|word| folded.find(word))
        .min()?;
    let value = word + line[word..].find('=')? + 1;
    let harmless = line[value..]
        .trim_start()
        .strip_prefix('{')
        .is_some_and(|table| {
            let table = table.trim_start();
            ["command", "env", "file"]
                .iter()
                .any(|source| table.starts_with(source))
                && !folded.contains("literal")
        });
    (!harmless).then_some(value)
}
