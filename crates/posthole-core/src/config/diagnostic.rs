//! What is wrong with a configuration, and where.

use std::ops::Range;

/// A problem, for a person to read.
///
/// Rendering (file, line, column, the source line and a caret) is the caller's. The source line
/// must come from [`Config::redact`](super::Config::redact), never from the file's own text: a
/// line that is wrong may well hold a password.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Diagnostic {
    /// Whether it stops the work.
    pub severity: Severity,
    /// What is wrong: lower case, no final period.
    pub message: String,
    /// The bytes of the configuration file it is about, in range and on character boundaries;
    /// none when it is about the command line or the environment.
    pub span: Option<Range<usize>>,
    /// A few words to stand beside the caret; may be empty.
    pub label: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl Diagnostic {
    /// An error, about nothing in the file until [`at`](Self::at) says otherwise.
    #[must_use]
    pub fn error(message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            message: message.into(),
            span: None,
            label: String::new(),
            help: None,
        }
    }

    /// A warning, about nothing in the file until [`at`](Self::at) says otherwise.
    #[must_use]
    pub fn warning(message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(message)
        }
    }

    /// Says which bytes of the file it is about.
    #[must_use]
    pub fn at(mut self, span: Range<usize>) -> Self {
        self.span = Some(span);
        self
    }

    /// Says a few words beside the caret.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// Says what to do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Whether it stops the work.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// How bad a [`Diagnostic`] is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Severity {
    /// The work goes on.
    Warning,
    /// Nothing is done until it is put right.
    Error,
}
