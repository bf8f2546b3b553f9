//! Mistakes in the configuration file, each with its place, its line and a caret.

use std::ops::Range;
use std::path::Path;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use posthole_core::config::{Diagnostic, Severity};
use posthole_core::error::Class;

use crate::report::{Mistake, Problem, printable};

/// All mistakes as text, with a blank line between them.
///
/// `redacted` is the text of the file as `Config::redact` gives it: a wrong line may hold a
/// password.
pub(crate) fn diagnostics(
    file: Option<(&Path, &str)>,
    diagnostics: &[Diagnostic],
    colour: bool,
) -> String {
    let renderer = if colour {
        Renderer::styled()
    } else {
        Renderer::plain()
    };
    let renderer = renderer.decor_style(DecorStyle::Ascii);
    let rendered = diagnostics
        .iter()
        .map(|diagnostic| match (file, &diagnostic.span) {
            (Some((path, text)), Some(span)) => one(&renderer, path, text, span, diagnostic),
            _ => {
                let problem = Problem::say(Class::Config, printable(&diagnostic.message));
                super::problem(None, &problem.hint(diagnostic.help.clone()), colour)
            }
        });
    rendered.collect::<Vec<_>>().join("\n\n")
}

/// All mistakes as data.
pub(crate) fn mistakes(file: Option<(&Path, &str)>, diagnostics: &[Diagnostic]) -> Vec<Mistake> {
    let mistake = |diagnostic: &Diagnostic| {
        let place = file.zip(diagnostic.span.as_ref());
        let position = place.map(|((_, text), span)| position(text, span.start));
        Mistake {
            severity: match diagnostic.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
            },
            file: place.map(|((path, _), _)| printable(&path.display().to_string())),
            line: position.map(|(line, _)| line),
            column: position.map(|(_, column)| column),
            message: printable(&diagnostic.message),
            help: diagnostic.help.as_deref().map(printable),
        }
    };
    diagnostics.iter().map(mistake).collect()
}

/// `error: what is wrong`, the place, the line with a caret, and what to do.
fn one(
    renderer: &Renderer,
    path: &Path,
    text: &str,
    span: &Range<usize>,
    diagnostic: &Diagnostic,
) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut caret = AnnotationKind::Primary.span(span.clone());
    if !diagnostic.label.is_empty() {
        caret = caret.label(printable(&diagnostic.label));
    }
    let snippet = Snippet::source(text).path(printable(&path.display().to_string()));
    let help = diagnostic
        .help
        .as_deref()
        .map(|help| Level::HELP.message(printable(help)));
    let title = level.primary_title(printable(&diagnostic.message));
    renderer.render(&[title.element(snippet.annotation(caret)).elements(help)])
}

/// Line and column of a byte, both from 1; the column counts characters.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = &text[..offset];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = 1 + before.bytes().filter(|octet| *octet == b'\n').count();
    (line, 1 + before[line_start..].chars().count())
}
