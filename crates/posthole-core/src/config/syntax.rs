//! Text that is not TOML: what is wrong with it, and how far that reaches.

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
        diagnostics.push(explain(error.message()).at(span));
    }
    diagnostics
}

/// The parser's words, and better ones for what people do most.
fn explain(message: &str) -> Diagnostic {
    if message.starts_with("string values must be quoted") {
        Diagnostic::error("this value must stand in quotes")
    } else if message.starts_with("invalid unquoted key") {
        Diagnostic::error(message)
            .help("a name with other characters stands in quotes, such as [account.\"me@home\"]")
    } else {
        Diagnostic::error(message)
    }
}

/// Where nothing that was understood can be relied on: lines with broken syntax, and below a
/// broken header all lines up to the next header.
pub(super) fn broken(text: &str, errors: &[Diagnostic]) -> Vec<Range<usize>> {
    let mut broken = Vec::new();
    let mut below_broken_header = false;
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let end = start + line.len();
        let header = line.trim_start().starts_with('[');
        let wrong = errors
            .iter()
            .filter_map(|error| error.span.as_ref())
            .any(|span| {
                (start..end).contains(&span.start) || (span.start >= end && end == text.len())
            });
        if header {
            below_broken_header = wrong;
        }
        if wrong || below_broken_header {
            broken.push(start..end);
        }
        start = end;
    }
    broken
}
