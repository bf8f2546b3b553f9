//! Runs a row in its four cases, and looks at the disk and the server afterwards.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use posthole_core::error::Error;
use posthole_core::plan::{Keep, PasswordSource};
use posthole_core::progress::{Event, Observer};
use posthole_core::retrieve::{self, BatchLimits, Context, Report};
use posthole_testkit::mail;
use posthole_testkit::pop3::{Faults, Maildrop, Pop3Server};
use secrecy::SecretString;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::account::{chain, context, job};
use crate::row::{Case, Row};

/// Says what is wrong, in all of the cases.
pub(crate) fn judge(row: &Row) -> Result<(), String> {
    let cases = [(true, true), (true, false), (false, true), (false, false)]
        .map(|(keep, pipelined)| Case { keep, pipelined });
    let failures = std::thread::scope(|scope| {
        let threads = cases.map(|case| (case, scope.spawn(move || run(&row.in_case(case), case))));
        let failed = threads.map(|(case, thread)| {
            let failure = match thread.join() {
                Ok(result) => result.err()?,
                Err(_panic) => "it panicked".to_owned(),
            };
            let keep = if case.keep { "keep" } else { "delete" };
            let way = if case.pipelined {
                "pipelined"
            } else {
                "lock-step"
            };
            Some(format!("{keep}, {way}: {failure}\n"))
        });
        failed.into_iter().flatten().collect::<String>()
    });
    if failures.is_empty() {
        Ok(())
    } else {
        Err(failures)
    }
}

fn run(row: &Row, case: Case) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime
        .unwrap()
        .block_on(async { World::new(row, case).run().await })
}

struct World<'a> {
    row: &'a Row,
    case: Case,
    server: Pop3Server,
    maildrop: Maildrop,
    directory: TempDir,
    context: Context,
    /// How often which message was delivered.
    delivered: BTreeMap<usize, usize>,
}

impl<'a> World<'a> {
    fn new(row: &'a Row, case: Case) -> Self {
        let maildrop = Maildrop::new();
        for (uid, text) in &row.mail {
            maildrop.add_with_uid(uid.clone(), text.clone());
        }
        let server = Pop3Server::builder()
            .account("msingh", PASSWORD, &maildrop)
            .gather(Duration::from_millis(2))
            .faults(row.faults.clone())
            .start();
        let directory = TempDir::new().unwrap();
        let stop = CancellationToken::new();
        let context = context(directory.path(), stop, BatchLimits::default());
        Self {
            row,
            case,
            server,
            maildrop,
            directory,
            context,
            delivered: BTreeMap::new(),
        }
    }

    async fn run(&mut self) -> Result<(), String> {
        let row = self.row;
        for poll in 1..=row.polls {
            let (report, said) = self.poll().await?;
            if poll == 1 {
                self.check_words(&report, &said)?;
            }
            if let (true, Some(class)) = (poll == row.polls, row.ends_later)
                && report.error.as_ref().map(Error::class) != Some(class)
            {
                return Err(format!("poll {poll} does not end with {class:?}: {said}"));
            }
            self.check_mail(&said)?;
        }
        self.check_sets("the faulty polls", &row.delivers, &row.leaves)?;

        self.server.set_faults(if self.case.pipelined {
            Faults::new()
        } else {
            Faults::new().without_pipelining()
        });
        if row.mends {
            let (report, said) = self.poll().await?;
            if report.error.is_some() {
                return Err(format!("the mended server's mail is not fetched: {said}"));
            }
            self.check_mail(&said)?;
        } else {
            return Ok(());
        }
        let all = Vec::from_iter(1..=row.mail.len());
        let left = if self.case.keep && !row.takes {
            &*all
        } else {
            &[]
        };
        self.check_sets("the end", &all, left)
    }

    /// Polls, and returns what a user would read as well.
    async fn poll(&self) -> Result<(Report, String), String> {
        let words = Arc::new(Words::default());
        let cx = Context {
            observer: words.clone(),
            ..self.context.clone()
        };
        let mut job = job(self.directory.path(), self.server.port());
        job.keep = if self.case.keep {
            Keep::Always
        } else {
            Keep::Never
        };
        job.timeout = self.row.timeout;
        job.max_size = self.row.max_size.unwrap_or(job.max_size);
        job.password = PasswordSource::Given {
            origin: "the test".to_owned(),
            secret: SecretString::from(PASSWORD),
        };
        let poll = tokio::time::timeout(PATIENCE, retrieve::poll(&job, &cx));
        let report = poll.await.map_err(|_elapsed| "it hangs".to_owned())?;
        let mut said = words.0.lock().unwrap().clone();
        for failure in &report.summary.failed {
            writeln!(said, "failed: {}: {}", failure.uid, failure.reason).unwrap();
        }
        if let Some(error) = &report.error {
            writeln!(said, "error: {}", chain(error)).unwrap();
            writeln!(said, "hint: {}", error.hint().unwrap_or_default()).unwrap();
        }
        // What the model says of a connection that was broken off stands a little later.
        if !self.server.wait_until_idle(PATIENCE) {
            return Err(format!("the connection is still open: {said}"));
        }
        Ok((report, said))
    }

    fn check_words(&self, report: &Report, said: &str) -> Result<(), String> {
        let class = report.error.as_ref().map(Error::class);
        if class != self.row.ends {
            return Err(format!("the first poll ends with {class:?}: {said}"));
        }
        match self.row.says.iter().find(|words| !said.contains(**words)) {
            Some(words) => Err(format!("it does not say `{words}`: {said}")),
            None => Ok(()),
        }
    }

    /// What holds after every poll, whatever the server does.
    fn check_mail(&mut self, said: &str) -> Result<(), String> {
        if said.contains(PASSWORD) {
            return Err(format!("it tells the password: {said}"));
        }
        if said.chars().any(|c| c.is_control() && c != '\n') {
            return Err(format!("it prints control characters: {said:?}"));
        }
        let maildir = self.directory.path().join("Mail");
        let texts = self.row.mail.iter().map(|(_, text)| mail::delivered(text));
        let texts = Vec::from_iter(texts);
        self.delivered.clear();
        for folder in ["new", "cur"] {
            let Ok(entries) = std::fs::read_dir(maildir.join(folder)) else {
                continue;
            };
            for entry in entries {
                let found = std::fs::read(entry.unwrap().path()).unwrap();
                let Some(n) = texts.iter().position(|text| *text == found) else {
                    let found = String::from_utf8_lossy(&found[..found.len().min(2000)]);
                    return Err(format!("this is none of the messages: {found:?}\n{said}"));
                };
                *self.delivered.entry(n + 1).or_default() += 1;
            }
        }
        let in_tmp = std::fs::read_dir(maildir.join("tmp")).map_or(0, Iterator::count);
        if in_tmp > 0 {
            return Err(format!("{in_tmp} files are left in tmp: {said}"));
        }
        let on_server = self.on_server();
        let is_lost = |n: &usize| !on_server.contains(n) && !self.delivered.contains_key(n);
        match (1..=self.row.mail.len()).find(is_lost) {
            Some(n) => Err(format!("message {n} is lost: {said}")),
            None => Ok(()),
        }
    }

    fn check_sets(&self, when: &str, delivered: &[usize], left: &[usize]) -> Result<(), String> {
        let found = Vec::from_iter(self.delivered.keys().copied());
        if found != delivered {
            return Err(format!(
                "after {when}, {found:?} are delivered, not {delivered:?}"
            ));
        }
        let twice = self.delivered.iter().find(|(_, count)| **count > 1);
        if let (Some((n, count)), None) = (twice, self.row.unavoidable) {
            return Err(format!("after {when}, message {n} is there {count} times"));
        }
        let found = self.on_server();
        if found != left {
            return Err(format!(
                "after {when}, {found:?} are on the server, not {left:?}"
            ));
        }
        Ok(())
    }

    fn on_server(&self) -> Vec<usize> {
        let left = self.maildrop.messages();
        let all = (1..).zip(&self.row.mail);
        all.filter(|(_, (_, text))| left.contains(text))
            .map(|(n, _)| n)
            .collect()
    }
}

/// What a user reads.
#[derive(Default)]
struct Words(Mutex<String>);

impl Observer for Words {
    fn event(&self, _account: &str, event: &Event) {
        if let Event::Notice(text) = event {
            writeln!(self.0.lock().unwrap(), "notice: {text}").unwrap();
        }
    }
}

const PASSWORD: &str = "Tr0ub4dor-and-3";

/// More than any poll may take.
const PATIENCE: Duration = Duration::from_secs(30);
