//! `posthole fetch`: one poll of every account.

use std::sync::Arc;
use std::time::SystemTime;

use posthole_core::daemon;
use posthole_core::plan::{BsmtpTo, DeliverTo, Job};
use posthole_core::retrieve;

use super::Run;
use super::jobs::side_by_side;
use super::plan::Refusal;
use crate::args::FetchArgs;
use crate::exit::Exit;
use crate::progress::Progress;
use crate::render;
use crate::report::{Fetched, Previewed, Problem, json};

/// Polls the accounts, or looks what polling them would do.
pub(crate) async fn fetch(run: &Run, args: &FetchArgs) -> Result<Exit, Refusal> {
    let overrides = args.account.overrides()?;
    let environment = run.environment()?;
    let file = run.config_file(&environment)?;
    let plan = run.plan(file.as_ref(), &overrides, &environment)?;
    let progress = Arc::new(Progress::new(Arc::clone(&run.console), !run.global.quiet));
    let jobs = args.account.jobs;
    let cx = run.context(&plan, jobs, Arc::clone(&progress) as _)?;
    let mut exit = Exit::Success;
    if args.dry_run {
        let work = |job: Arc<Job>| {
            let cx = cx.clone();
            async move { retrieve::preview(&job, &cx).await }
        };
        side_by_side(plan.jobs, jobs, &run.stop, work, |job, outcome, _| {
            let outcome = outcome.and_then(|preview| preview.map_err(|e| Problem::from(&e)));
            let previewed = Previewed::new(&job.account, outcome);
            exit = exit.worse(previewed.exit);
            run.print_preview(&previewed);
        })
        .await;
    } else {
        let work = |job: Arc<Job>| {
            let cx = cx.clone();
            async move { retrieve::poll(&job, &cx).await }
        };
        let state_dir = plan.state_dir;
        let known = daemon::read_histories(&state_dir);
        let mut histories = daemon::Histories::new();
        side_by_side(plan.jobs, jobs, &run.stop, work, |job, outcome, took| {
            progress.finish(&job.account);
            let fetched = match outcome {
                Ok(report) => {
                    let history = known.get(&job.account).cloned().unwrap_or_default();
                    let history = histories.entry(job.account.clone()).or_insert(history);
                    history.note(&report, SystemTime::now());
                    Fetched::new(&job.account, &report)
                }
                Err(problem) => Fetched::crashed(&job.account, problem, took),
            };
            exit = exit.worse(fetched.exit);
            let to_stdout = job.deliver.iter().any(is_stdout);
            run.print_fetched(&fetched, to_stdout);
        })
        .await;
        // For `posthole status`; the mail does not depend on it.
        if let Err(error) = daemon::update_histories(&state_dir, histories) {
            let state_dir = state_dir.display();
            tracing::warn!("cannot note in {state_dir} how it went: {error}");
        }
    }
    cx.tunnels.close().await;
    Ok(exit)
}

pub(super) fn is_stdout(to: &DeliverTo) -> bool {
    matches!(to, DeliverTo::Bsmtp(BsmtpTo { path: None, .. }))
}

impl Run {
    /// Not between messages that go to standard output, where they do.
    fn print_fetched(&self, fetched: &Fetched, to_stdout: bool) {
        if self.global.json {
            return self.print_json(fetched, fetched.exit);
        }
        let colour = self.console.stderr_colour();
        if let Some(summary) = render::summary(fetched).filter(|_| !self.global.quiet) {
            if to_stdout {
                self.console.eprint(summary);
            } else {
                self.console.print(summary);
            }
        }
        if let Some(failures) = render::failed_messages(fetched, colour) {
            self.console.eprint(failures);
        }
        if let Some(problem) = &fetched.error {
            self.eprint_problem(Some(&fetched.account), problem);
        }
    }

    fn print_preview(&self, previewed: &Previewed) {
        if self.global.json {
            return self.print_json(previewed, previewed.exit);
        }
        match &previewed.error {
            Some(problem) => self.eprint_problem(Some(&previewed.account), problem),
            None if self.global.quiet => {}
            None => self.console.print(render::preview(previewed)),
        }
    }

    /// With `-q`, what went well is not worth a line in JSON either.
    fn print_json(&self, report: &impl serde::Serialize, exit: Exit) {
        if !self.global.quiet || exit != Exit::Success {
            self.console.print(json(report));
        }
    }
}
