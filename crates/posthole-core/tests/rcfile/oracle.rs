//! What fetchmail makes of an rc file, and what we make of it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use posthole_core::config::Diagnostic;
use posthole_core::fetchmailrc::{self, Configuration, Flags, Request, configdump};
use tempfile::TempDir;

use crate::python::Value;

/// fetchmail in a home directory of its own.
pub(crate) struct Oracle {
    dir: TempDir,
    request: Request,
}

/// What became of an rc file.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It was understood.
    Configuration(Value),
    /// It was refused; for a mistake in the grammar the line is known.
    Refused { line: Option<usize>, words: String },
}

impl Oracle {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("home");
        fs::create_dir(&home).unwrap();
        fs::write(dir.path().join("log"), "").unwrap();
        let mut oracle = Self {
            request: Request {
                check_all: true,
                flags: Flags::default(),
                hostname: "unknown".into(),
                idfile: format!("{}/.fetchids", home.display()).into(),
                names: Vec::new(),
                rcfile_dir: dir.path().to_str().unwrap().into(),
                superuser: false,
                user: "unknown".into(),
            },
            dir,
        };
        oracle.learn_about_the_machine();
        oracle
    }

    /// Takes the host's name, the user's, and whether that is root, from fetchmail itself.
    fn learn_about_the_machine(&mut self) {
        let Outcome::Configuration(dump) = self.fetchmail(b"poll x proto etrn\n") else {
            panic!("fetchmail does not understand the simplest of files");
        };
        self.request.superuser = dump.get("postmaster") == Some(&Value::Text("postmaster".into()));
        let server = &dump.get("servers").unwrap().items()[0];
        let user = &server.get("users").unwrap().items()[0];
        let text = |value: &Value| match value {
            Value::Text(text) => text.as_str().into(),
            other => panic!("{other:?} is no text"),
        };
        self.request.hostname = text(&user.get("fetchdomains").unwrap().items()[0]);
        self.request.user = text(user.get("remote").unwrap());
    }

    pub(crate) fn request(&self) -> Request {
        self.request.clone()
    }

    fn rcfile(&self) -> PathBuf {
        self.dir.path().join("rc")
    }

    pub(crate) fn fetchmail(&self, text: &[u8]) -> Outcome {
        self.fetchmail_with(text, &[])
    }

    pub(crate) fn fetchmail_with(&self, text: &[u8], arguments: &[&str]) -> Outcome {
        fs::write(self.rcfile(), text).unwrap();
        fs::set_permissions(self.rcfile(), fs::Permissions::from_mode(0o600)).unwrap();
        let output = Command::new("fetchmail")
            .args(["--configdump", "-f"])
            .arg(self.rcfile())
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.dir.path())
            .env("FETCHMAILHOME", self.dir.path().join("home"))
            .env("LC_ALL", "C")
            .output()
            .unwrap();
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() {
            let dump = String::from_utf8_lossy(&output.stdout);
            return Outcome::Configuration(Value::of_dump(&dump).unwrap());
        }
        assert_eq!(output.status.code(), Some(5), "{words}");
        let place = format!("{}:", self.rcfile().display());
        let line = words.split_once(&place).and_then(|(_, rest)| {
            let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
            digits.parse().ok()
        });
        Outcome::Refused { line, words }
    }

    pub(crate) fn posthole(&self, text: &[u8]) -> (Option<Configuration>, Vec<Diagnostic>) {
        self.posthole_with(text, &self.request)
    }

    pub(crate) fn posthole_with(
        &self,
        text: &[u8],
        request: &Request,
    ) -> (Option<Configuration>, Vec<Diagnostic>) {
        let (rcfile, mut diagnostics) = fetchmailrc::parse(text);
        if diagnostics.iter().any(Diagnostic::is_error) {
            return (None, diagnostics);
        }
        let (configuration, more) = rcfile.resolve(request);
        diagnostics.extend(more);
        let refused = diagnostics.iter().any(Diagnostic::is_error);
        ((!refused).then_some(configuration), diagnostics)
    }

    /// Says how fetchmail and we differ on a file, if we do.
    pub(crate) fn disagreement(&self, text: &[u8]) -> Option<String> {
        let (ours, diagnostics) = self.posthole(text);
        self.compare(text, self.fetchmail(text), ours, &diagnostics)
    }

    pub(crate) fn compare(
        &self,
        text: &[u8],
        fetchmail: Outcome,
        ours: Option<Configuration>,
        diagnostics: &[Diagnostic],
    ) -> Option<String> {
        let first = diagnostics.iter().find(|diagnostic| diagnostic.is_error());
        match (fetchmail, ours) {
            (Outcome::Refused { words, .. }, _) if words.contains("not compiled in") => None,
            // Names of services are looked up when the connection is made.
            (Outcome::Refused { words, .. }, Some(_))
                if words.contains("Servname not supported") =>
            {
                None
            }
            (Outcome::Configuration(theirs), Some(ours)) => {
                let dump = configdump(&ours, &[]).to_string();
                let ours = Value::of_dump(&dump).unwrap();
                let mut found = Vec::new();
                let theirs = without_known_differences(theirs, &ours);
                ours.differences(&theirs, "", &mut found);
                (!found.is_empty()).then(|| format!("ours / fetchmail's:\n{}", found.join("\n")))
            }
            (Outcome::Refused { line: None, .. }, None) => None,
            (
                Outcome::Refused {
                    line: Some(line),
                    words,
                },
                None,
            ) => {
                let span = first?.span.clone()?;
                let lines = line_as_fetchmail_counts(text, span.start)
                    ..=line_as_fetchmail_counts(text, span.end);
                // fetchmail reports a misplaced option, or a word too many, only behind it.
                let late = words.contains("server option after user options")
                    || first?.message.contains("and `here` is missing");
                let agreed = lines.contains(&line) || late && line > *lines.start();
                (!agreed).then(|| {
                    format!(
                        "we see it on line {}: {}\nfetchmail: {words}",
                        lines.start(),
                        first.map_or("", |f| &f.message)
                    )
                })
            }
            (Outcome::Configuration(_), None) => {
                let message = first.map_or("", |first| &first.message);
                Some(format!("only we refuse it: {message}"))
            }
            (Outcome::Refused { words, .. }, Some(_)) => {
                Some(format!("only fetchmail refuses it: {words}"))
            }
        }
    }
}

/// fetchmail does not count the lines within quotes.
fn line_as_fetchmail_counts(text: &[u8], at: usize) -> usize {
    let mut counted = 1;
    let mut rest = &text[..at];
    let mut at_word = true;
    // Quotes as the lexer sees them: a word that goes on behind its quotes is no text in quotes.
    while let [octet, after @ ..] = rest {
        let quoted = match octet {
            b'"' | b'\'' if at_word => after.iter().position(|o| o == octet).filter(|end| {
                let bare = rest
                    .iter()
                    .take_while(|o| !b"=;:, \t\r\n".contains(o))
                    .count();
                end + 2 >= bare
            }),
            _ => None,
        };
        if let Some(end) = quoted {
            rest = &after[end + 1..];
            continue;
        }
        if at_word && *octet == b'#' {
            let end = rest.iter().position(|o| *o == b'\n').unwrap_or(rest.len());
            rest = &rest[end..];
            at_word = true;
            continue;
        }
        at_word = b"=;:, \t\r\n".contains(octet);
        counted += usize::from(*octet == b'\n');
        rest = after;
    }
    counted
}

/// fetchmail has room for 128 characters of a local name when it prints one.
fn restore_cut_names(theirs: &mut Value, ours: &mut Value) {
    match (theirs, ours) {
        (Value::Text(theirs), Value::Text(ours)) => {
            if ours.len() > 60 && ours.starts_with(theirs.as_str()) {
                theirs.clone_from(ours);
            }
        }
        (Value::List(theirs), Value::List(ours)) => {
            let pairs = theirs.iter_mut().zip(ours);
            pairs.for_each(|(theirs, ours)| restore_cut_names(theirs, ours));
        }
        (theirs, ours) => {
            for key in ["users", "localnames"] {
                if let (Some(theirs), Some(ours)) = (theirs.get_mut(key), ours.get_mut(key)) {
                    restore_cut_names(theirs, ours);
                }
            }
        }
    }
}

/// fetchmail's dump as it would be without what is left out on purpose.
///
/// `no tracepolls` and `set no showdots` switch these on: where we say no, so it should. A log
/// file that exists covers `syslog`, and one that does not is forgotten, when it is opened.
fn without_known_differences(mut theirs: Value, ours: &Value) -> Value {
    if let Some(Value::Text(logfile)) = ours.get("logfile") {
        let (there, syslog) = (Path::new(logfile).exists(), ours.get("syslog").cloned());
        let (key, value) = if there {
            ("syslog", syslog)
        } else {
            ("logfile", Some(Value::Text(logfile.clone())))
        };
        if let (Some(theirs), Some(value)) = (theirs.get_mut(key), value) {
            *theirs = value;
        }
    }
    let off = || Value::Word("FALSE".to_owned());
    if ours.get("showdots") == Some(&off())
        && let Some(showdots) = theirs.get_mut("showdots")
    {
        *showdots = off();
    }
    let mut ours = ours.clone();
    if let (Some(theirs), Some(ours)) = (theirs.get_mut("servers"), ours.get_mut("servers")) {
        for (theirs, ours) in theirs.items_mut().iter_mut().zip(ours.items_mut()) {
            restore_cut_names(theirs, ours);
            if ours.get("tracepolls") == Some(&off())
                && let Some(tracepolls) = theirs.get_mut("tracepolls")
            {
                *tracepolls = off();
            }
        }
    }
    theirs
}
