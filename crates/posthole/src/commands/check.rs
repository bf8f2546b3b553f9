//! `posthole check`: a walk to the mailbox and the destination, step by step.
//!
//! Accounts are walked to side by side, so that a hundred of them take no longer than the slowest
//! few, but shown one after another in the order of the plan: each has a channel of its own, and
//! the screen follows one channel to its end before it turns to the next.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use posthole_core::error::Class;
use posthole_core::plan::{Job, PasswordSource, Plan, Route};
use posthole_core::progress::{Event, Observer, Step};
use posthole_core::retrieve;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::Run;
use super::jobs::side_by_side;
use super::plan::Refusal;
use crate::args::CheckArgs;
use crate::exit::{Exit, worst_of};
use crate::render;
use crate::report::{Checked, Planned, Problem, json};
use crate::steps;

/// Walks to every account, or prints the plan.
pub(crate) async fn check(run: &Run, args: &CheckArgs) -> Result<Exit, Refusal> {
    let start = Instant::now();
    let overrides = args.account.overrides()?;
    let environment = run.environment()?;
    let file = run.config_file(&environment)?;
    if args.plan && overrides.accounts.is_empty() {
        run.print_plan(&run.plan_all(file.as_ref(), &overrides, &environment)?);
        return Ok(Exit::Success);
    }
    let plan = run.plan(file.as_ref(), &overrides, &environment)?;
    if args.plan {
        run.print_plan(&plan);
        return Ok(Exit::Success);
    }
    let origin = match &file {
        Some(file) => file.path.display().to_string(),
        None => "no file, everything is from the command line".to_owned(),
    };
    run.show(&Checked::done(None, "config", start.elapsed(), origin));

    let (senders, walks): (HashMap<_, _>, Vec<_>) = plan.jobs.iter().map(walk).unzip();
    let observer = Arc::new(Walks(senders));
    let cx = run.context(&plan, args.account.jobs, Arc::clone(&observer) as _)?;
    let Plan { jobs, .. } = plan;
    let work = |job: Arc<Job>| {
        let cx = cx.clone();
        let observer = Arc::clone(&observer);
        async move {
            observer.tell(&job.account, Told::Begin);
            let end = retrieve::check(&job, &cx).await.map_err(|error| Failure {
                step: steps::failed(&error),
                problem: Problem::from(&error),
            });
            observer.tell(&job.account, Told::End(end));
        }
    };
    let walking = async {
        side_by_side(
            jobs,
            args.account.jobs,
            &run.stop,
            work,
            |job, outcome, _| {
                if let Err(problem) = outcome {
                    observer.tell(
                        &job.account,
                        Told::End(Err(Failure {
                            step: None,
                            problem,
                        })),
                    );
                }
            },
        )
        .await;
        observer.tell_all_that_wait();
    };
    let showing = async {
        let mut exits = Vec::with_capacity(walks.len());
        for walk in walks {
            exits.push(run.follow(walk).await);
        }
        worst_of(exits)
    };
    let ((), exit) = tokio::join!(walking, showing);
    cx.tunnels.close().await;
    Ok(exit)
}

/// The way to one account, as it is walked.
struct Walk {
    job: Arc<Job>,
    told: UnboundedReceiver<(Instant, Told)>,
}

/// What is told about a walk, and when.
enum Told {
    /// Its turn has come.
    Begin,
    /// A step is done.
    Step(Step, Duration),
    /// Something else worth knowing.
    Notice(String),
    /// It is over.
    End(Result<(), Failure>),
}

/// A step that failed.
struct Failure {
    /// Which, where the error tells; else the one after the last that was done.
    step: Option<&'static str>,
    problem: Problem,
}

fn walk(job: &Arc<Job>) -> ((String, UnboundedSender<(Instant, Told)>), Walk) {
    let (sender, told) = unbounded_channel();
    (
        (job.account.clone(), sender),
        Walk {
            job: Arc::clone(job),
            told,
        },
    )
}

/// Hands what happens to whoever follows the account.
struct Walks(HashMap<String, UnboundedSender<(Instant, Told)>>);

impl Walks {
    fn tell(&self, account: &str, told: Told) {
        if let Some(sender) = self.0.get(account) {
            // Whoever followed this account may have seen its end already.
            sender.send((Instant::now(), told)).ok();
        }
    }

    /// Ends the walks whose turn never came, because the run was stopped.
    fn tell_all_that_wait(&self) {
        for account in self.0.keys() {
            let problem = Problem::say(Class::Temporary, "stopped before its turn came");
            self.tell(
                account,
                Told::End(Err(Failure {
                    step: Some("start"),
                    problem,
                })),
            );
        }
    }
}

impl Observer for Walks {
    fn event(&self, account: &str, event: &Event) {
        match event {
            Event::Step { step, took } => self.tell(account, Told::Step(step.clone(), *took)),
            Event::Notice(text) => self.tell(account, Told::Notice(text.clone())),
            _ => {}
        }
    }
}

/// Where the password came from that a login was done with, if one was.
fn password_source<'a>(job: &'a Job, step: &Step) -> Option<&'a PasswordSource> {
    match step {
        Step::LoggedIn {
            with_secret: true, ..
        } => Some(&job.password),
        Step::Authenticated { login, method } if !method.starts_with("publickey") => {
            let Route::Ssh(hops) = &job.route else {
                return None;
            };
            let hop = hops.iter().find(|hop| hop.login() == *login)?;
            Some(&hop.password)
        }
        _ => None,
    }
}

/// The problem of a login that was refused, with a word on where its password came from.
fn with_password_source(problem: Problem, job: &Job) -> Problem {
    let source = match &job.password {
        PasswordSource::Prompt => "typed".to_owned(),
        source => format!("from {source}"),
    };
    let hint = match &problem.hint {
        Some(hint) => format!("{hint}; the password was {source}"),
        None => format!("the password was {source}"),
    };
    problem.hint(Some(hint))
}

impl Run {
    fn print_plan(&self, plan: &Plan) {
        if self.global.json {
            for job in &plan.jobs {
                self.console.print(json(&Planned::new(job)));
            }
        } else {
            self.console.print(plan.to_string().trim_end());
        }
    }

    /// Shows a walk from its beginning to its end.
    async fn follow(&self, walk: Walk) -> Exit {
        let Walk { job, mut told } = walk;
        let account = &job.account;
        if !self.global.quiet && !self.global.json {
            self.console
                .print(render::heading(account, self.console.stdout_colour()));
        }
        let hops = match &job.route {
            Route::Direct | Route::Plugin(_) => 0,
            Route::Ssh(hops) => hops.len(),
        };
        let mut last = None;
        let mut channels = 0;
        let mut since = Instant::now();
        while let Some((at, event)) = told.recv().await {
            match event {
                Told::Begin => {}
                Told::Notice(text) => self.show_notice(account, &text),
                Told::Step(step, took) => {
                    let (name, mut text) = steps::describe(&step);
                    if let Some(source) = password_source(&job, &step) {
                        text += &format!(", password: {source}");
                    }
                    self.show(&Checked::done(Some(account), name, took, text));
                    if let Some(notice) = steps::ends_soon(&step, SystemTime::now()) {
                        self.show_notice(account, &notice);
                    }
                    channels += usize::from(matches!(step, Step::ChannelOpen { .. }));
                    last = Some(step);
                }
                Told::End(Ok(())) => return Exit::Success,
                Told::End(Err(Failure { step, problem })) => {
                    let next = || steps::after(last.as_ref(), hops > 0, channels < hops);
                    let exit = problem.exit;
                    let step = step.unwrap_or_else(next);
                    let problem = if step == "login" && exit == Exit::NoPerm {
                        with_password_source(problem, &job)
                    } else {
                        problem
                    };
                    let took = at.duration_since(since);
                    self.show(&Checked::failed(account, step, took, problem));
                    return exit;
                }
            }
            since = at;
        }
        // INVARIANT: every walk is told its end before the senders go.
        Exit::Software
    }

    fn show(&self, checked: &Checked) {
        let Self {
            console, global, ..
        } = self;
        match &checked.error {
            _ if global.json && (checked.error.is_some() || !global.quiet) => {
                console.print(json(checked));
            }
            Some(problem) if global.quiet => {
                self.eprint_problem(checked.account.as_deref(), problem);
            }
            _ if global.quiet || global.json => {}
            _ => console.print(render::step(checked, console.stdout_colour())),
        }
    }

    fn show_notice(&self, account: &str, text: &str) {
        if !self.global.quiet {
            self.console
                .eprint(render::notice(account, text, self.console.stderr_colour()));
        }
    }
}
