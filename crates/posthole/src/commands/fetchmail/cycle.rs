//! One cycle: every user of every server once, in the order of the file.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bstr::{BString, ByteSlice};
use posthole_core::config::Diagnostic;
use posthole_core::error::{Class, Error};
use posthole_core::plan::{DaemonPlan, Errand, PasswordSource, Plan, Undoable};
use posthole_core::record::import;
use posthole_core::retrieve::{self, Context};
use posthole_core::session::SessionError;
use tokio::task::{LocalSet, spawn_local};

use super::args::Action;
use super::command;
use super::daemon::HandedOver;
use super::exit::Code;
use super::links::Links;
use super::{Front, Prepared, path_of};
use crate::commands::Run;
use crate::commands::plan::Refusal;
use crate::progress::Progress;
use crate::render;
use crate::report::{Fetched, Problem, printable};

/// What cycles share: the records, the connections, and the passwords that somebody typed.
pub(super) struct Workshop<'a> {
    front: &'a Front,
    run: &'a Run,
    cx: Context,
    progress: Arc<Progress>,
    /// How often each user's poll failed in a way that will not heal by itself.
    strikes: HashMap<String, u32>,
    links: Links,
    /// Whether anybody was polled in the last cycle.
    has_polled: bool,
    /// Which cycle it is.
    number: u32,
}

/// Runs a single cycle.
pub(super) async fn once(
    front: &Front,
    run: &Run,
    prepared: &Prepared,
    handed_over: &HandedOver,
) -> Result<Code, Refusal> {
    let mut workshop = Workshop::open(front, run, prepared)?;
    let code = workshop.cycle(prepared, handed_over, false).await;
    workshop.close().await;
    Ok(code)
}

impl<'a> Workshop<'a> {
    pub(super) fn open(
        front: &'a Front,
        run: &'a Run,
        prepared: &Prepared,
    ) -> Result<Self, Refusal> {
        let state_dir = front.state_dir()?;
        let errands = prepared.plan.errands.iter().flatten();
        let plan = Plan {
            jobs: errands.map(|errand| Arc::new(errand.job.clone())).collect(),
            forwards: Vec::new(),
            state_dir,
            daemon: DaemonPlan::default(),
            remarks: posthole_core::plan::Remarks::default(),
        };
        let progress = Arc::new(Progress::new(Arc::clone(&run.console), !run.global.quiet));
        let cx = run.context(&plan, 1, Arc::clone(&progress) as _)?;
        Ok(Self {
            front,
            run,
            cx,
            progress,
            strikes: HashMap::new(),
            links: Links::default(),
            has_polled: false,
            number: 0,
        })
    }

    pub(super) async fn close(self) {
        self.cx.tunnels.close().await;
    }

    /// Polls everybody whose turn it is.
    pub(super) async fn cycle(
        &mut self,
        prepared: &Prepared,
        handed_over: &HandedOver,
        is_woken: bool,
    ) -> Code {
        self.number = self.number.wrapping_add(1);
        self.links.look(is_woken);
        self.take_over(prepared);
        let (mut codes, mut is_skipped) = (Vec::new(), false);
        for errand in &prepared.plan.errands {
            if self.run.stop.is_cancelled() {
                break;
            }
            codes.push(match errand {
                Ok(errand) if !self.is_due(errand) => continue,
                Ok(errand) => match self.links.objection(errand) {
                    Some(why) => {
                        self.say(&why);
                        is_skipped = true;
                        continue;
                    }
                    None => self.errand(errand, handed_over).await,
                },
                Err(undoable) => self.undoable(undoable),
            });
        }
        self.has_polled = !codes.is_empty();
        if is_skipped && !self.has_polled {
            return Code::Success;
        }
        Code::of_run(codes)
    }

    /// Lets go of interfaces that are monitored, and takes note of what we have moved over them.
    pub(super) async fn leave_links(&mut self, prepared: &Prepared) {
        if !self.has_polled {
            // What others move adds up until somebody is polled.
            return;
        }
        let errands = || prepared.plan.errands.iter().flatten();
        if errands().any(|errand| errand.monitor.is_some()) {
            // What keeps a tunnel open keeps the link up that it goes over.
            self.cx.tunnels.close().await;
            tokio::select! {
                () = tokio::time::sleep(TO_FALL_SILENT) => {}
                () = self.run.stop.cancelled() => {}
            }
        }
        self.links.note(errands());
    }

    fn say(&self, text: &str) {
        if !self.run.global.quiet {
            self.run.console.print(format!("fetchmail: {text}"));
        }
    }

    /// Forgets how often polls failed: somebody may have put it right.
    pub(super) fn pardon(&mut self) {
        self.strikes.clear();
    }

    fn is_due(&self, errand: &Errand) -> bool {
        let strikes = self.strikes.get(&errand.job.account).copied();
        let is_turn = errand.interval < 2 || (self.number - 1).is_multiple_of(errand.interval);
        is_turn && strikes.unwrap_or(0) < STRIKES
    }

    fn undoable(&self, undoable: &Undoable) -> Code {
        if self.number == 1 {
            self.front.report_undoable(undoable);
        }
        if undoable.is_protocol {
            Code::Protocol
        } else {
            Code::Syntax
        }
    }

    async fn errand(&mut self, errand: &Errand, handed_over: &HandedOver) -> Code {
        let way = match &errand.preconnect {
            Some(command) => self.command(errand, "preconnect", command).await,
            None => Ok(()),
        };
        let mut code = match way {
            Ok(()) => self.visit(errand, handed_over).await,
            Err(problem) => self.fail(errand, &problem),
        };
        // It may have to take down what the one before has put up, also after a failure.
        if let Some(command) = &errand.postconnect
            && let Err(problem) = self.command(errand, "postconnect", command).await
        {
            let failed = self.fail(errand, &problem);
            if code == Code::Success {
                code = failed;
            }
        }
        code
    }

    async fn visit(&mut self, errand: &Errand, handed_over: &HandedOver) -> Code {
        let mut job = errand.job.clone();
        if let (PasswordSource::Prompt, Some(secret)) =
            (&job.password, handed_over.password(&job.account))
        {
            job.password = PasswordSource::Given {
                origin: "what was typed".to_owned(),
                secret: secret.clone(),
            };
        }
        match self.front.invocation.action {
            Action::Check => self.check(errand, &job).await,
            _ => self.poll(errand, &job).await,
        }
    }

    async fn poll(&mut self, errand: &Errand, job: &posthole_core::plan::Job) -> Code {
        let polled = {
            let (job, cx) = (job.clone(), self.cx.clone());
            let here = LocalSet::new();
            // In a task, so that a mistake of ours is one user's problem.
            let task = async { spawn_local(async move { retrieve::poll(&job, &cx).await }).await };
            here.run_until(task).await
        };
        self.progress.finish(&job.account);
        let report = match polled {
            Ok(report) => report,
            Err(error) => {
                let problem = crate::commands::jobs::crashed(error);
                self.run.eprint_problem(Some(&job.account), &problem);
                return Code::Undefined;
            }
        };
        let code = Code::of_poll(&report, job.select.fetch_limit, errand.tunnel_for);
        // Whoever runs it by hand, or by cron, sees or gets what it prints.
        if self.front.invocation.detached && report.error.is_none() {
            self.warn_of_oversized(errand, job, &report.summary).await;
        }
        match &report.error {
            Some(Error::Session(SessionError::LoginRefused { .. })) if code == Code::AuthFail => {
                self.strike(job);
            }
            Some(_) if report.summary.fetched == 0 => {}
            _ => _ = self.strikes.remove(&job.account),
        }
        let fetched = Fetched::new(&job.account, &report);
        let quiet = self.run.global.quiet;
        if self.run.global.json {
            self.run.console.print(crate::report::json(&fetched));
            return code;
        }
        let account = printable(&job.account);
        if quiet {
        } else if fetched.ok
            && fetched.new == 0
            && fetched.deleted == 0
            && fetched.too_large.is_empty()
        {
            self.run
                .console
                .print(format!("fetchmail: No mail for {account}"));
        } else if let Some(summary) = render::summary(&fetched) {
            let is_stdout = job.deliver.iter().any(crate::commands::fetch::is_stdout);
            let summary = format!("fetchmail: {summary}");
            if is_stdout {
                self.run.console.eprint(summary);
            } else {
                self.run.console.print(summary);
            }
        }
        let colour = self.run.console.stderr_colour();
        if let Some(failures) = render::failed_messages(&fetched, colour) {
            self.run.console.eprint(failures);
        }
        if let Some(problem) = &fetched.error {
            self.run.eprint_problem(Some(&job.account), problem);
        }
        code
    }

    /// Says by mail what is too large to be fetched.
    async fn warn_of_oversized(
        &self,
        errand: &Errand,
        job: &posthole_core::plan::Job,
        summary: &retrieve::Summary,
    ) {
        let user = errand.who.user.to_str_lossy();
        let who = (printable(&errand.who.entry), printable(&user));
        let who = (&*who.0, &*who.1);
        let warned = retrieve::warn_of_oversized(job, &self.cx, summary, who, errand.warnings);
        if let Err(error) = warned.await {
            let mut problem = Problem::from(&error);
            problem.message = format!(
                "nobody could be told of messages that are too large: {}",
                problem.message
            );
            self.run.eprint_problem(Some(&job.account), &problem);
        }
    }

    /// `--check`: counts what would be fetched.
    async fn check(&self, errand: &Errand, job: &posthole_core::plan::Job) -> Code {
        let account = printable(&job.account);
        match retrieve::preview(job, &self.cx).await {
            Ok(preview) => {
                let new = preview.fetch.len() as u64 + preview.too_large.len() as u64;
                let deleted_seen = preview.delete.len() as u64;
                let total = preview.left + deleted_seen;
                let octets: u64 = preview.fetch.iter().map(|entry| entry.size).sum();
                if !self.run.global.quiet {
                    self.run.console.print(if total == 0 {
                        format!("fetchmail: No mail for {account}")
                    } else {
                        let seen = total.saturating_sub(new);
                        let s = if total == 1 { "" } else { "s" };
                        format!(
                            "fetchmail: {total} message{s} ({seen} seen) for {account} ({octets} \
                             octets)"
                        )
                    });
                }
                if new > 0 { Code::Success } else { Code::NoMail }
            }
            Err(error) => {
                let problem = Problem::from(&error);
                self.run.eprint_problem(Some(&job.account), &problem);
                Code::of_error(&error, errand.tunnel_for)
            }
        }
    }

    /// A server that goes on refusing a password may lock the account.
    fn strike(&mut self, job: &posthole_core::plan::Job) {
        let strikes = self.strikes.entry(job.account.clone()).or_default();
        *strikes += 1;
        if *strikes == STRIKES {
            self.run.console.eprint(format!(
                "fetchmail: {}: the login failed {STRIKES} times and is not tried again until \
                 SIGUSR1, a changed rc file or a new start",
                printable(&job.account)
            ));
        }
    }

    async fn command(
        &self,
        errand: &Errand,
        what: &str,
        command: &BString,
    ) -> Result<(), Diagnostic> {
        let shown = printable(&command.to_str_lossy());
        let failed = |how: String| {
            let problem = Diagnostic::error(format!("`{what}` {how}: {shown}"));
            match what {
                "preconnect" => problem.help(
                    "nothing is fetched unless it succeeds; run it by hand to see what it does",
                ),
                _ => problem.help("run it by hand to see what it does"),
            }
        };
        let Ok(text) = command.to_str() else {
            return Err(failed("is not UTF-8".to_owned()));
        };
        let account = printable(&errand.job.account);
        let hear = |line: &[u8]| {
            let line = printable(&line.to_str_lossy());
            let text = format!("fetchmail: {account}: {what}: {line}");
            self.run.console.eprint(text);
        };
        let setting = command::Setting {
            is_in_background: self.front.invocation.detached,
            stop: &self.run.stop,
            patience: match what {
                "postconnect" => TO_TIDY_UP,
                _ => Duration::ZERO,
            },
        };
        let ended = command::run(text, setting, hear).await;
        ended.map_err(failed)
    }

    fn fail(&self, errand: &Errand, why: &Diagnostic) -> Code {
        let problem = Problem::say(Class::Config, printable(&why.message));
        let problem = problem.hint(why.help.clone());
        self.run.eprint_problem(Some(&errand.job.account), &problem);
        Code::Syntax
    }

    /// What fetchmail has seen counts as seen here, as long as nothing is known of a mailbox.
    fn take_over(&self, prepared: &Prepared) {
        let path = path_of(&prepared.configuration.globals.idfile);
        let path = self.front.environment.cwd.join(path);
        let Ok(text) = std::fs::read(&path) else {
            return;
        };
        let known = import::fetchids(&text);
        for errand in prepared.plan.errands.iter().flatten() {
            let who = &errand.who;
            let is_theirs = |account: &import::Account| {
                account.user == who.user && account.host.eq_ignore_ascii_case(&who.host)
            };
            let seen: Vec<_> = known
                .seen
                .iter()
                .filter(|seen| seen.account.as_ref().is_some_and(is_theirs))
                .map(|seen| seen.unique_id.clone())
                .collect();
            match self.cx.records.adopt(&errand.job.mailbox, &seen, false) {
                Ok(0) => {}
                Ok(count) => self.run.console.eprint(format!(
                    "fetchmail: {}: took over {count} messages that fetchmail has seen, from {}",
                    printable(&errand.job.account),
                    path.display()
                )),
                // Whatever is wrong is met again, and said, when the mailbox is polled.
                Err(error) => tracing::info!("cannot take over {}: {error}", path.display()),
            }
        }
    }
}

impl Front {
    fn state_dir(&self) -> Result<std::path::PathBuf, Problem> {
        let named = self.global.state_dir.as_ref();
        let named = named.map(|path| self.environment.cwd.join(path));
        named
            .or_else(|| self.environment.state_dir())
            .ok_or_else(|| {
                Problem::say(
                    Class::Config,
                    "there is no directory for the records: no home directory is known",
                )
                .hint(Some(
                    "set HOME, or XDG_STATE_HOME to an absolute path".to_owned(),
                ))
            })
    }
}

/// How long what comes after a poll may go on when the program is to stop.
const TO_TIDY_UP: Duration = Duration::from_secs(10);
/// How long the end of what was said takes on its way.
const TO_FALL_SILENT: Duration = Duration::from_secs(3);
/// fetchmail gives up after as many.
const STRIKES: u32 = 10;
