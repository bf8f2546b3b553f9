//! Runs a row in its four ways, and looks at the wire, the disk and the server afterwards.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use posthole_core::error::{Class, Error};
use posthole_core::plan::{Authorities, Job, Keep, PasswordSource, Tls, TlsStart};
use posthole_core::progress::{Event, Observer};
use posthole_core::retrieve::{self, BatchLimits, Context, Report};
use posthole_testkit::mail;
use posthole_testkit::pop3::{Faults, Maildrop, Pop3Server};
use posthole_testkit::tls::{self, Authority};
use secrecy::SecretString;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::account::{chain, context, job};
use crate::row::{Login, NAME, Outcome, Row};

/// How an account stands to TLS.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Way {
    Required,
    /// And the capabilities inside TLS are remembered, so that all commands go in one flight.
    RequiredAgain,
    Welcome,
    FromTheStart,
}

/// Says what is wrong, in all of the ways.
pub(crate) fn judge(row: &Row) -> Result<(), String> {
    let ways = [
        Way::Required,
        Way::RequiredAgain,
        Way::Welcome,
        Way::FromTheStart,
    ];
    let cases = ways.into_iter().flat_map(|way| [(way, true), (way, false)]);
    let failures = std::thread::scope(|scope| {
        let run = |(way, keeps)| ((way, keeps), scope.spawn(move || run(row, way, keeps)));
        let threads: Vec<_> = cases.map(run).collect();
        let failed = threads.into_iter().filter_map(|((way, keeps), thread)| {
            let failure = match thread.join() {
                Ok(result) => result.err()?,
                Err(_panic) => "it panicked".to_owned(),
            };
            let keep = if keeps { "keep" } else { "delete" };
            Some(format!("{way:?}, {keep}: {failure}\n"))
        });
        failed.collect::<String>()
    });
    if failures.is_empty() {
        Ok(())
    } else {
        Err(failures)
    }
}

fn run(row: &Row, way: Way, keeps: bool) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime
        .unwrap()
        .block_on(async { World::new(row, way, keeps).run().await })
}

struct World<'a> {
    row: &'a Row,
    way: Way,
    keeps: bool,
    server: Pop3Server,
    maildrop: Maildrop,
    messages: Vec<Vec<u8>>,
    directory: TempDir,
    context: Context,
}

impl<'a> World<'a> {
    fn new(row: &'a Row, way: Way, keeps: bool) -> Self {
        let authority = Authority::new("Test CA");
        let maildrop = Maildrop::new();
        let server = Pop3Server::builder()
            .account(USER, PASSWORD, &maildrop)
            .gather(Duration::from_millis(2))
            .stls(tls::Tls::new(&(row.certificate)(&authority)));
        let server = (row.server)(server).start();
        let directory = TempDir::new().unwrap();
        std::fs::write(directory.path().join("ca.pem"), authority.pem()).unwrap();
        let stop = CancellationToken::new();
        let context = context(directory.path(), stop, BatchLimits::default());
        Self {
            row,
            way,
            keeps,
            server,
            maildrop,
            messages: (1..=3).map(mail::tiny).collect(),
            directory,
            context,
        }
    }

    async fn run(&self) -> Result<(), String> {
        if self.way == Way::RequiredAgain {
            // There is nothing to fetch yet, and no certificate of a row to be wrong.
            let (report, said) = self.poll(ENOUGH).await?;
            let has_failed = report.error.is_some();
            if has_failed && self.row.required.ends != Some(Class::Certificate) {
                return Err(format!("the sound server cannot be polled: {said}"));
            }
        }
        let before = self.server.traffic().heard().len();
        let connections = self.server.connections();
        self.server.clear_log();
        for message in &self.messages {
            self.maildrop.add(message.clone());
        }
        self.server.set_faults(self.row.faults.clone());
        let (report, said) = self.poll(self.row.timeout).await?;
        let heard = self.server.traffic().heard().split_off(before);
        let outcome = self.outcome(report.error.as_ref());
        self.check_words(&outcome, &report, &said)?;
        self.check_wire(&outcome, &heard, &said)?;
        let connections = self.server.connections() - connections;
        let knows_nothing = self.way != Way::RequiredAgain;
        if outcome.login == Login::InTls && connections > 1 && knows_nothing {
            // Only what was said before TLS can have led astray.
            return Err(format!("it took {connections} connections: {said}"));
        }
        let fetched = outcome.login != Login::Nowhere;
        self.check_mail(fetched, "the poll", &said)?;

        // Nothing of it is held against a server that is sound again, or taken for granted.
        if outcome.ends == Some(Class::Certificate) || self.way == Way::FromTheStart {
            return Ok(());
        }
        self.server.set_faults(Faults::new());
        let (report, said) = self.poll(ENOUGH).await?;
        if report.error.is_some() {
            return Err(format!("the sound server cannot be polled: {said}"));
        }
        self.check_mail(true, "the end", &said)
    }

    fn outcome(&self, error: Option<&Error>) -> Outcome {
        match self.way {
            Way::Required | Way::RequiredAgain => self.row.required.clone(),
            Way::Welcome => self.row.welcome.clone(),
            // Whatever a server without TLS says, it is not what was wanted.
            Way::FromTheStart => Outcome {
                login: Login::Nowhere,
                ends: Some(match error.map(Error::class) {
                    Some(Class::Temporary) => Class::Temporary,
                    _ => Class::Protocol,
                }),
                says: Vec::new(),
            },
        }
    }

    /// Polls, and returns what a user would read as well.
    async fn poll(&self, timeout: Duration) -> Result<(Report, String), String> {
        let words = Arc::new(Words::default());
        let cx = Context {
            observer: words.clone(),
            ..self.context.clone()
        };
        let job = self.job(timeout);
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
        if !self.server.wait_until_idle(PATIENCE) {
            return Err(format!("the connection is still open: {said}"));
        }
        Ok((report, said))
    }

    fn job(&self, timeout: Duration) -> Job {
        let start = match self.way {
            Way::Required | Way::RequiredAgain => TlsStart::Required,
            Way::Welcome => TlsStart::IfOffered,
            Way::FromTheStart => TlsStart::AtOnce,
        };
        let keep = if self.keeps {
            Keep::Always
        } else {
            Keep::Never
        };
        Job {
            keep,
            timeout,
            allow_plaintext: self.way == Way::Welcome,
            password: PasswordSource::Given {
                origin: "the test".to_owned(),
                secret: SecretString::from(PASSWORD),
            },
            tls: Tls {
                start,
                authorities: Authorities::Files(vec![self.directory.path().join("ca.pem")]),
                ..Tls::never(NAME)
            },
            ..job(self.directory.path(), self.server.port())
        }
    }

    fn check_words(&self, outcome: &Outcome, report: &Report, said: &str) -> Result<(), String> {
        let class = report.error.as_ref().map(Error::class);
        if class != outcome.ends {
            return Err(format!("it ends with {class:?}: {said}"));
        }
        if let Some(words) = outcome.says.iter().find(|words| !said.contains(**words)) {
            return Err(format!("it does not say `{words}`: {said}"));
        }
        if said.contains(PASSWORD) {
            return Err(format!("it tells the password: {said}"));
        }
        if said.chars().any(|c| c.is_control() && c != '\n') {
            return Err(format!("it prints control characters: {said:?}"));
        }
        Ok(())
    }

    fn check_wire(&self, outcome: &Outcome, heard: &[u8], said: &str) -> Result<(), String> {
        let clear = String::from_utf8_lossy(heard);
        let lines = self.server.lines();
        if outcome.login != Login::InTheClear {
            for secret in LOGIN {
                if clear.contains(secret) {
                    return Err(format!("{secret} is on the wire: {said}{clear}"));
                }
            }
            // Stronger: of all commands only these are sent in the clear.
            let handshake = heard.iter().position(|octet| *octet == HANDSHAKE);
            let prelude = &clear[..handshake.unwrap_or(heard.len())];
            let may_be_said = |line: &str| matches!(line, "CAPA" | "STLS" | "QUIT");
            if let Some(line) = prelude.lines().find(|line| !may_be_said(line)) {
                return Err(format!("`{line}` is said in the clear: {said}"));
            }
        }
        let logs_in = |line: &String| {
            let verb = line.split(' ').next().unwrap_or_default();
            matches!(verb, "USER" | "PASS" | "AUTH" | "APOP")
        };
        let has_login = lines.iter().any(logs_in);
        if has_login != (outcome.login != Login::Nowhere) {
            return Err(format!("the server heard {lines:?}: {said}"));
        }
        let mut stls = Vec::new();
        for received in self.server.log() {
            if received.line == "STLS" {
                if stls.contains(&received.connection) {
                    return Err(format!("TLS is asked for twice: {lines:?}"));
                }
                stls.push(received.connection);
            }
        }
        Ok(())
    }

    /// All messages are where they should be, each once and whole.
    fn check_mail(&self, fetched: bool, when: &str, said: &str) -> Result<(), String> {
        let maildir = self.directory.path().join("Mail");
        let mut found = Vec::new();
        for folder in ["new", "cur", "tmp"] {
            let Ok(entries) = std::fs::read_dir(maildir.join(folder)) else {
                continue;
            };
            found.extend(entries.map(|entry| std::fs::read(entry.unwrap().path()).unwrap()));
        }
        found.sort();
        let expected = if fetched {
            mail::delivered_sorted(&self.messages)
        } else {
            Vec::new()
        };
        if found != expected {
            let found = found.len();
            return Err(format!(
                "after {when}, {found} messages are delivered, or changed: {said}"
            ));
        }
        let left = self.maildrop.messages().len();
        let expected = if fetched && !self.keeps {
            0
        } else {
            self.messages.len()
        };
        if left != expected {
            return Err(format!("after {when}, {left} are on the server: {said}"));
        }
        Ok(())
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

const USER: &str = "msingh";
const PASSWORD: &str = "Tr0ub4dor-and-3";

/// What tells of a login, in any way that it could be sent.
const LOGIN: [&str; 9] = [
    USER,
    PASSWORD,
    "USER",
    "PASS",
    "AUTH",
    "APOP",
    // In base64, whatever stands before it.
    "bXNpbmdo",
    "VHIwdWI0ZG9y",
    "AG1zaW5naABUcjB1YjRkb3I",
];

/// The type of the record that every handshake begins with (RFC 8446 §5.1).
const HANDSHAKE: u8 = 22;

/// More silence than there is on a sound server.
const ENOUGH: Duration = Duration::from_secs(20);

/// More than any poll may take.
const PATIENCE: Duration = Duration::from_secs(30);
