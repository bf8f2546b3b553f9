//! What there is to say about a run, as data: `--json` prints it as it is, `render` as text.
//!
//! The names of the fields are a promise, made in posthole(1).

mod forward;

use std::error::Error;
use std::time::Duration;

use posthole_core::error::Class;
use posthole_core::plan::Job;
use posthole_core::retrieve::{MessageFailure, Preview, PreviewEntry, Report};
use serde::{Serialize, Serializer};

use crate::exit::Exit;

pub(crate) use forward::{ForwardEnded, ForwardEvent, Forwarding, NewToken};

/// Something that went wrong, for whom it concerns.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Problem {
    /// Who must act, in one word.
    pub(crate) class: &'static str,
    /// What failed.
    pub(crate) message: String,
    /// Why, outermost first.
    pub(crate) causes: Vec<String>,
    /// What to do about it.
    pub(crate) hint: Option<String>,
    /// What it makes of the run.
    #[serde(rename = "exit_code", serialize_with = "exit_code")]
    pub(crate) exit: Exit,
}

impl Problem {
    /// A problem with its causes.
    pub(crate) fn new(class: Class, error: &dyn Error) -> Self {
        let mut causes = Vec::new();
        let mut message = plain(&error.to_string());
        let mut said = message.clone();
        let mut source = error.source();
        while let Some(cause) = source {
            let text = plain(&cause.to_string());
            // Some errors end in their cause's words, and some causes in those of their error.
            if !said.ends_with(&text) && !text.ends_with(&said) {
                causes.push(text.clone());
                said = text;
            }
            source = cause.source();
        }
        if message.is_empty() {
            message = "failed without saying why".to_owned();
        }
        Self {
            class: class.name(),
            message,
            causes,
            hint: None,
            exit: class.into(),
        }
    }

    /// A problem that ends in its own words.
    pub(crate) fn say(class: Class, message: impl Into<String>) -> Self {
        Self {
            class: class.name(),
            message: message.into(),
            causes: Vec::new(),
            hint: None,
            exit: class.into(),
        }
    }

    /// A command line that asks for what cannot be.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self {
            class: "usage",
            exit: Exit::Usage,
            ..Self::say(Class::Config, message)
        }
    }

    /// A bug.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        let hint = "this is a bug in posthole, and no mail is lost by it; please report it";
        Self {
            class: "internal",
            exit: Exit::Software,
            ..Self::say(Class::Local, message)
        }
        .hint(Some(hint.to_owned()))
    }

    /// Says what to do about it.
    #[must_use]
    pub(crate) fn hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint;
        self
    }
}

impl From<&posthole_core::error::Error> for Problem {
    fn from(error: &posthole_core::error::Error) -> Self {
        Self::new(error.class(), error).hint(error.hint())
    }
}

/// How the poll of one account went.
#[derive(Debug, Serialize)]
pub(crate) struct Fetched {
    /// The account's name.
    pub(crate) account: String,
    /// Whether it went as it should: no error, no failed message.
    pub(crate) ok: bool,
    /// Messages delivered.
    pub(crate) new: u64,
    /// Their size as delivered.
    pub(crate) bytes: u64,
    /// Messages deleted from the server.
    pub(crate) deleted: u64,
    /// Messages still on the server; none when the poll ended before that was known.
    pub(crate) left: Option<u64>,
    /// How long it took.
    #[serde(serialize_with = "seconds")]
    pub(crate) seconds: Duration,
    /// Messages that were left on the server because of their size.
    pub(crate) too_large: Vec<Message>,
    /// Messages that the filter left on the server.
    pub(crate) filtered: Vec<Message>,
    /// Messages that could not be fetched.
    pub(crate) failed: Vec<Failed>,
    /// What ended the poll early.
    pub(crate) error: Option<Problem>,
    /// What it makes of the run.
    #[serde(rename = "exit_code", serialize_with = "exit_code")]
    pub(crate) exit: Exit,
}

/// A message that could not be fetched.
#[derive(Debug, Serialize)]
pub(crate) struct Failed {
    /// Its unique-id.
    pub(crate) uid: String,
    /// Why.
    pub(crate) reason: String,
}

impl Fetched {
    /// The outcome of a poll.
    pub(crate) fn new(account: &str, report: &Report) -> Self {
        let summary = &report.summary;
        let error = report.error.as_ref().map(Problem::from);
        let failed: Vec<_> = summary.failed.iter().map(Failed::from).collect();
        let exit = match &error {
            Some(problem) => problem.exit,
            // They are tried again by themselves.
            None if !failed.is_empty() => Exit::TempFail,
            None => Exit::Success,
        };
        Self {
            account: account.to_owned(),
            ok: exit == Exit::Success,
            new: summary.fetched,
            bytes: summary.octets,
            deleted: summary.deleted,
            left: error.is_none().then_some(summary.left),
            seconds: summary.took,
            too_large: summary.too_large.iter().map(Message::from).collect(),
            filtered: summary.filtered.iter().map(Message::from).collect(),
            failed,
            error,
            exit,
        }
    }

    /// A poll that ended in a bug.
    pub(crate) fn crashed(account: &str, problem: Problem, took: Duration) -> Self {
        Self {
            account: account.to_owned(),
            ok: false,
            new: 0,
            bytes: 0,
            deleted: 0,
            left: None,
            seconds: took,
            too_large: Vec::new(),
            filtered: Vec::new(),
            failed: Vec::new(),
            exit: problem.exit,
            error: Some(problem),
        }
    }
}

impl From<&MessageFailure> for Failed {
    fn from(failure: &MessageFailure) -> Self {
        let MessageFailure { uid, reason } = failure;
        Self {
            uid: printable(uid),
            reason: printable(reason),
        }
    }
}

/// What a poll of one account would do.
#[derive(Debug, Serialize)]
pub(crate) struct Previewed {
    /// The account's name.
    pub(crate) account: String,
    /// Whether it could be found out.
    pub(crate) ok: bool,
    /// True, so that nobody takes this for something done.
    pub(crate) dry_run: bool,
    /// Messages it would fetch.
    pub(crate) fetch: Vec<Message>,
    /// Messages it would delete.
    pub(crate) delete: Vec<Message>,
    /// Messages it would leave because of their size.
    pub(crate) too_large: Vec<Message>,
    /// Messages that the filter would leave.
    pub(crate) filtered: Vec<Message>,
    /// Messages that the filter did not decide about.
    pub(crate) undecided: Vec<Failed>,
    /// Messages that would be on the server afterwards.
    pub(crate) left: Option<u64>,
    /// Why it could not be found out.
    pub(crate) error: Option<Problem>,
    /// What it makes of the run.
    #[serde(rename = "exit_code", serialize_with = "exit_code")]
    pub(crate) exit: Exit,
}

/// A message on the server.
#[derive(Debug, Serialize)]
pub(crate) struct Message {
    /// Its unique-id.
    pub(crate) uid: String,
    /// Its size as the server lists it.
    pub(crate) bytes: u64,
}

impl Previewed {
    /// The outcome of a preview.
    pub(crate) fn new(account: &str, outcome: Result<Preview, Problem>) -> Self {
        let (preview, error) = match outcome {
            Ok(preview) => (preview, None),
            Err(problem) => (Preview::default(), Some(problem)),
        };
        let exit = error.as_ref().map_or(Exit::Success, |problem| problem.exit);
        Self {
            account: account.to_owned(),
            ok: error.is_none(),
            dry_run: true,
            fetch: preview.fetch.iter().map(Message::from).collect(),
            delete: preview.delete.iter().map(Message::from).collect(),
            too_large: preview.too_large.iter().map(Message::from).collect(),
            filtered: preview.filtered.iter().map(Message::from).collect(),
            undecided: preview.undecided.iter().map(Failed::from).collect(),
            left: error.is_none().then_some(preview.left),
            error,
            exit,
        }
    }
}

impl From<&PreviewEntry> for Message {
    fn from(entry: &PreviewEntry) -> Self {
        let PreviewEntry { uid, size } = entry;
        Self {
            uid: printable(uid),
            bytes: *size,
        }
    }
}

/// One step of `posthole check`.
#[derive(Debug, Serialize)]
pub(crate) struct Checked {
    /// The account's name; none for the configuration, which is everybody's.
    pub(crate) account: Option<String>,
    /// Which step.
    pub(crate) step: &'static str,
    /// Whether it was done.
    pub(crate) ok: bool,
    /// How long it took.
    #[serde(serialize_with = "seconds")]
    pub(crate) seconds: Duration,
    /// What was found, with the other side's words.
    pub(crate) text: String,
    /// Why it was not done.
    pub(crate) error: Option<Problem>,
}

impl Checked {
    /// A step that was done.
    pub(crate) fn done(
        account: Option<&str>,
        step: &'static str,
        took: Duration,
        text: String,
    ) -> Self {
        let account = account.map(str::to_owned);
        Self {
            account,
            step,
            ok: true,
            seconds: took,
            text: printable(&text),
            error: None,
        }
    }

    /// A step that was not.
    pub(crate) fn failed(
        account: &str,
        step: &'static str,
        took: Duration,
        problem: Problem,
    ) -> Self {
        let account = Some(account.to_owned());
        Self {
            account,
            step,
            ok: false,
            seconds: took,
            text: String::new(),
            error: Some(problem),
        }
    }
}

/// What will be done for an account.
#[derive(Debug, Serialize)]
pub(crate) struct Planned {
    /// The account's name.
    pub(crate) account: String,
    /// The plan as text, without secrets.
    pub(crate) plan: String,
}

impl Planned {
    /// What the job comes to.
    pub(crate) fn new(job: &Job) -> Self {
        Self {
            account: job.account.clone(),
            plan: job.to_string(),
        }
    }
}

/// What is trusted after `posthole trust`.
#[derive(Debug, Serialize)]
pub(crate) struct Trusted {
    /// The host as known_hosts spells it.
    pub(crate) host: String,
    /// Always true: everything else is an error.
    pub(crate) ok: bool,
    /// `known` before, `certified` by an authority, or `added` just now.
    pub(crate) status: &'static str,
    /// The key's algorithm.
    pub(crate) algorithm: String,
    /// The key's fingerprint.
    pub(crate) fingerprint: String,
    /// Where it, or the authority, is recorded.
    pub(crate) file: String,
    /// The line, where it was recorded before.
    pub(crate) line: Option<usize>,
    /// The authority that certified it.
    pub(crate) authority: Option<String>,
    /// What the DNS says of it, if that was asked.
    pub(crate) sshfp: Option<Sshfp>,
    /// The fingerprint as a picture, for people.
    #[serde(skip)]
    pub(crate) randomart: String,
}

/// What the DNS says of a host key.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Sshfp {
    /// `match`, `mismatch`, or `none` where it says nothing.
    pub(crate) verdict: &'static str,
    /// Whether the answer was validated.
    pub(crate) authenticated: bool,
    /// The same in words.
    #[serde(skip)]
    pub(crate) text: String,
}

/// What the daemon was asked to do, and did.
#[derive(Debug, Serialize)]
pub(crate) struct Asked<'a> {
    /// Always true: everything else is an error.
    pub(crate) ok: bool,
    /// What it did.
    pub(crate) text: &'a str,
}

/// A run that failed before it came to any account.
#[derive(Debug, Serialize)]
pub(crate) struct Refused<'a> {
    /// Always null: it is about all accounts.
    pub(crate) account: Option<&'a str>,
    /// Always false.
    pub(crate) ok: bool,
    /// What is wrong.
    pub(crate) error: &'a Problem,
    /// The mistakes in the configuration file.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub(crate) diagnostics: &'a [Mistake],
    /// What it makes of the run.
    #[serde(rename = "exit_code", serialize_with = "exit_code")]
    pub(crate) exit: Exit,
}

/// A mistake in the configuration file.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Mistake {
    /// `error` or `warning`.
    pub(crate) severity: &'static str,
    /// The file; none when it is about the command line or the environment.
    pub(crate) file: Option<String>,
    /// The line, from 1.
    pub(crate) line: Option<usize>,
    /// The column in characters, from 1.
    pub(crate) column: Option<usize>,
    /// What is wrong.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) help: Option<String>,
}

/// A value as one line of JSON.
pub(crate) fn json(value: &impl Serialize) -> String {
    // INVARIANT: these types are structs of strings, numbers and lists, which always serialise.
    serde_json::to_string(value).expect("a report is JSON")
}

/// A text whose control characters can do no harm to a terminal.
///
/// What servers say was cleaned where it came in; this is the second lock on the door.
pub(crate) fn printable(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() && character != '\n' {
            clean.extend(character.escape_default());
        } else {
            clean.push(character);
        }
    }
    clean
}

/// A text without control characters and without the numbers of system errors.
fn plain(text: &str) -> String {
    let mut rest = printable(text);
    while let Some(start) = rest.find(" (os error ") {
        let Some(length) = rest[start..].find(')') else {
            break;
        };
        rest.replace_range(start..=start + length, "");
    }
    rest
}

fn exit_code<S: Serializer>(exit: &Exit, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u8(exit.code())
}

/// Seconds with microseconds, which is as precise as it gets.
fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_micros() as f64 / 1e6)
}
