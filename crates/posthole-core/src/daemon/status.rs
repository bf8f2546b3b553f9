//! How the daemon and the accounts are: what `status` shows, and what is kept between runs.
//!
//! The names of the fields are a promise, made in posthole(1). Times are seconds since 1970.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::error::{Class, Error};
use crate::retrieve::Report;
use crate::session::SessionError;

/// How everything is.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Status {
    /// The daemon, if one runs.
    pub daemon: Option<DaemonStatus>,
    /// The accounts, in the order of the configuration.
    pub accounts: Vec<AccountStatus>,
    /// What runs beside the polls, such as forwards.
    pub services: Vec<ServiceStatus>,
}

/// The daemon.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct DaemonStatus {
    /// Its process.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// When it started.
    pub since: u64,
    /// Why it does not poll, if it does not.
    pub paused: Option<Pause>,
    /// What is wrong with the configuration file, if the one that holds is an older one.
    pub config_problem: Option<String>,
    /// How many passwords and passphrases are waited for.
    pub questions: usize,
}

/// Why nothing is polled.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pause {
    /// Somebody said so, until `resume`.
    Asked,
    /// The network is gone, until `wake`.
    UntilWake,
}

/// An account.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct AccountStatus {
    /// Its name.
    pub account: String,
    /// What it is about.
    pub state: AccountState,
    /// When it is polled next, if that is known.
    pub next_poll: Option<u64>,
    /// What has become of it so far.
    #[serde(flatten)]
    pub history: History,
}

/// What an account is about.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AccountState {
    /// No daemon takes care of it.
    Idle,
    /// Everything is paused.
    Paused,
    /// It is being polled.
    Polling,
    /// Its time has come, and others are before it.
    Queued,
    /// It waits for somebody to do something about it.
    Stuck,
    /// It waits for its time.
    Waiting,
}

/// Something that runs beside the polls.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ServiceStatus {
    /// What it is, such as `forward`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Whether it works.
    pub ok: bool,
    /// How it is, in words.
    pub text: String,
    /// More of a forward that is served.
    pub forward: Option<ForwardStatus>,
}

/// A forward that is served.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct ForwardStatus {
    /// Where programs connect.
    pub listen: Vec<String>,
    /// The account whose mailbox it is, if programs log in with a token.
    pub account: Option<String>,
    /// Where the connections go.
    pub to: String,
    /// The SSH hosts on the way, as `user@host`.
    pub via: Vec<String>,
    /// Programs that are connected.
    pub clients: u64,
    /// Programs that were connected through since it is served.
    pub served: u64,
    /// Programs that were not let in.
    pub refused: u64,
    /// Octets that programs got.
    pub received: u64,
    /// Octets that programs sent.
    pub sent: u64,
    /// Since when the SSH connection is open, if it is.
    pub connected_since: Option<u64>,
}

/// What has become of an account so far.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct History {
    /// When it was polled last.
    pub last_attempt: Option<u64>,
    /// When a poll went well last.
    pub last_success: Option<u64>,
    /// When mail came last.
    pub last_mail: Option<u64>,
    /// How many polls went wrong since.
    pub failures: u32,
    /// Since when they go wrong.
    pub failing_since: Option<u64>,
    /// Why the last one did.
    pub error: Option<Reason>,
    /// When somebody was last told about it by `on-failure`.
    pub alarmed: Option<u64>,
    /// How many polls there were.
    pub polls: u64,
    /// How many messages were fetched.
    pub fetched: u64,
    /// Their octets.
    pub octets: u64,
    /// How many messages were deleted from the server.
    pub deleted: u64,
    /// How many messages were on the server after the last poll that went well.
    pub left: Option<u64>,
}

/// Why a poll went wrong.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Reason {
    /// Who must act, in one word, as in the reports of `fetch`.
    pub class: String,
    /// What failed and why, on one line.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl From<&Error> for Reason {
    fn from(error: &Error) -> Self {
        Self {
            class: error.class().name().to_owned(),
            message: chain(error),
            hint: error.hint(),
        }
    }
}

impl Reason {
    /// A poll that ended in a bug.
    pub(super) fn crashed() -> Self {
        Self {
            class: "internal".to_owned(),
            message: "internal error in the poll of this account".to_owned(),
            hint: Some(
                "this is a bug in posthole, and no mail is lost by it; please report it".to_owned(),
            ),
        }
    }
}

/// An error with its causes, on one line and without the numbers of system errors.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut message = without_numbers(&error.to_string());
    let mut said = message.clone();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = without_numbers(&cause.to_string());
        // Some errors end in their cause's words, and some causes in those of their error.
        if !said.ends_with(&text) && !text.ends_with(&said) {
            message = format!("{message}: {text}");
            said = text;
        }
        source = cause.source();
    }
    message
}

fn without_numbers(text: &str) -> String {
    let mut rest = text.to_owned();
    while let Some(start) = rest.find(" (os error ") {
        let Some(length) = rest[start..].find(')') else {
            break;
        };
        rest.replace_range(start..=start + length, "");
    }
    rest
}

impl History {
    /// Takes note of a poll.
    pub fn note(&mut self, report: &Report, now: SystemTime) {
        let summary = &report.summary;
        self.fetched += summary.fetched;
        self.octets += summary.octets;
        self.deleted += summary.deleted;
        if summary.fetched > 0 {
            self.last_mail = Some(seconds(now));
        }
        match &report.error {
            None => self.succeed(summary.left, now),
            // It was us who ended it, or the machine that slept.
            Some(Error::Stopped | Error::Session(SessionError::Asleep { .. })) => {}
            Some(error) => self.fail(error.into(), now),
        }
    }

    fn succeed(&mut self, left: u64, now: SystemTime) {
        self.polls += 1;
        self.last_attempt = Some(seconds(now));
        self.last_success = self.last_attempt;
        self.left = Some(left);
        self.failures = 0;
        self.failing_since = None;
        self.error = None;
        self.alarmed = None;
    }

    /// Takes note of a poll that went wrong.
    pub(super) fn fail(&mut self, reason: Reason, now: SystemTime) {
        self.polls += 1;
        self.last_attempt = Some(seconds(now));
        self.failures = self.failures.saturating_add(1);
        self.failing_since.get_or_insert_with(|| seconds(now));
        self.error = Some(reason);
    }
}

impl Class {
    /// The class in one word, as reports have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Authentication => "authentication",
            Self::Certificate => "certificate",
            Self::Config => "config",
            Self::HostKey => "host-key",
            Self::Local => "local",
            Self::Protocol => "protocol",
            Self::Temporary => "temporary",
            Self::Unavailable => "unavailable",
        }
    }
}

/// Seconds since 1970.
#[must_use]
pub fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}
