//! The commands, and what they share: the console, the environment, the runtime.

mod check;
mod control;
mod daemon;
mod fetch;
mod fetchmail;
mod forward;
mod import;
mod jobs;
mod plan;
mod print;
mod status;
mod trust;
mod unlock;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use posthole_core::ask::Ask;
use posthole_core::error::Class;
use posthole_core::plan::{Environment, Plan};
use posthole_core::progress::Observer;
use posthole_core::record::Records;
use posthole_core::retrieve::{BatchLimits, Context};
use posthole_core::secret::Remember;
use posthole_core::session::Doubts;
use posthole_core::tunnel::Tunnels;
use tokio_util::sync::CancellationToken;

pub(crate) use check::check;
pub(crate) use control::{pause, reload, resume, stop, wake};
pub(crate) use daemon::daemon;
pub(crate) use fetch::fetch;
pub(crate) use fetchmail::{fetchmail, is_called_fetchmail};
pub(crate) use forward::forward;
pub(crate) use import::import;
#[cfg(test)]
pub(crate) use print::MANUAL;
pub(crate) use print::{completions, man};
pub(crate) use status::status;
pub(crate) use trust::trust;
pub(crate) use unlock::unlock;

use crate::args::GlobalArgs;
use crate::askpass::Askpass;
use crate::console::Console;
use crate::exit::Exit;
use crate::limits;
use crate::prompt::Prompt;
use crate::render;
use crate::report::{Problem, json};
use crate::signals::Stopper;

use plan::Refusal;

/// One run of the program.
pub(crate) struct Run {
    pub(crate) console: Arc<Console>,
    pub(crate) global: GlobalArgs,
    pub(crate) stop: CancellationToken,
    /// The name under which it speaks.
    pub(crate) program: &'static str,
    /// Whether what there is to say goes to the log.
    pub(crate) logs: bool,
    /// Whether a signal to stop was obeyed in order, as a daemon does.
    pub(crate) is_orderly: AtomicBool,
}

impl Run {
    pub(crate) fn new(console: Arc<Console>, global: GlobalArgs) -> Self {
        Self {
            console,
            global,
            stop: CancellationToken::new(),
            program: "posthole",
            logs: false,
            is_orderly: AtomicBool::new(false),
        }
    }

    /// Runs a command that asks somebody who answers at once.
    pub(crate) fn to_end(&self, command: impl FnOnce(&Self) -> Result<Exit, Refusal>) -> Exit {
        command(self).unwrap_or_else(|refusal| self.refuse(&refusal))
    }

    /// Runs a command that waits for networks and people.
    ///
    /// One thread moves all mail: a poll waits far more than it computes, and what blocks (disk,
    /// prompts, commands) has threads of its own.
    pub(crate) fn in_runtime(
        &self,
        command: impl AsyncFnOnce(&Self) -> Result<Exit, Refusal>,
    ) -> Exit {
        self.report_panics();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => return self.cannot_start(error),
        };
        let (stopper, exit) = runtime.block_on(async {
            let console = Arc::clone(&self.console);
            let (quiet, logs, program) = (self.global.quiet, self.logs, self.program);
            let on_stop = move || {
                if !quiet && !logs {
                    console.eprint(format!(
                        "{program}: stopping after what is in hand; again to stop at once"
                    ));
                }
            };
            let stopper = match Stopper::watch(self.stop.clone(), on_stop) {
                Ok(stopper) => stopper,
                Err(error) => return (None, self.cannot_start(error)),
            };
            let exit = match command(self).await {
                Ok(exit) => exit,
                Err(refusal) => self.refuse(&refusal),
            };
            (Some(stopper), exit)
        });
        // What is being synced may come to its end; a question nobody wants answered ends now, and
        // a name that does not resolve is not waited for.
        self.stop.cancel();
        runtime.shutdown_timeout(AFTERMATH);
        if let Some(stopper) = stopper
            && !self.is_orderly.load(Ordering::Relaxed)
        {
            stopper.end();
        }
        exit
    }

    /// What standard output makes of the run: data that did not arrive is a failure.
    pub(crate) fn output_exit(&self) -> Exit {
        let Some(error) = self.console.take_stdout_error() else {
            return Exit::Success;
        };
        let problem = Problem::new(Class::Local, &OutputError(error));
        self.eprint_problem(None, &problem);
        problem.exit
    }

    /// Prints a problem on standard error.
    pub(crate) fn eprint_problem(&self, account: Option<&str>, problem: &Problem) {
        self.console.eprint(render::problem(
            account,
            problem,
            self.console.stderr_colour(),
        ));
    }

    /// The person who runs this.
    fn prompt(&self) -> Arc<Prompt> {
        let console = Arc::clone(&self.console);
        let askpass = Askpass::from_environment(|name| std::env::var_os(name));
        Arc::new(Prompt::new(console, askpass, self.stop.clone()))
    }

    /// What the process was given by whoever started it.
    fn environment(&self) -> Result<Environment, Problem> {
        let cwd = std::env::current_dir().map_err(|error| {
            Problem::new(Class::Local, &CwdError(error))
                .hint(Some("change to a directory that exists".to_owned()))
        })?;
        let mut environment = Environment::new(cwd, std::env::vars_os());
        // As ssh(1) does; services are often started without LOGNAME and USER.
        environment.user = environment.user.or_else(user_by_id);
        Ok(environment)
    }

    /// Where the records are.
    fn state_dir(&self, environment: &Environment) -> Result<PathBuf, Problem> {
        if let Some(state_dir) = &self.global.state_dir {
            return Ok(environment.cwd.join(state_dir));
        }
        environment.state_dir().ok_or_else(|| {
            let message = "it is not known where the records are: no home directory is known";
            let hint = "set HOME, or name their directory with --state-dir";
            Problem::say(Class::Config, message).hint(Some(hint.to_owned()))
        })
    }

    /// What the polls of this run share.
    fn context(
        &self,
        plan: &Plan,
        at_a_time: u16,
        observer: Arc<dyn Observer>,
    ) -> Result<Context, Problem> {
        let records = Records::open(&plan.state_dir).map_err(|e| Problem::from(&e.into()))?;
        let prompt: Arc<dyn Ask> = self.prompt();
        // The tunnels keep what proved right themselves, and must be able to ask anew.
        let tunnels = Arc::new(Tunnels::new(Arc::clone(&prompt), Arc::clone(&observer)));
        let ask = Arc::new(Remember::new(prompt));
        let stop = self.stop.clone();
        Ok(Context {
            ask,
            observer,
            tunnels,
            trust_stores: Arc::default(),
            records,
            stop,
            doubts: Doubts::default(),
            batch: BatchLimits::within(limits::open_files(), plan.jobs.len().min(at_a_time.into())),
        })
    }

    fn refuse(&self, refusal: &Refusal) -> Exit {
        if self.global.json {
            self.console.print(json(&refusal.json()));
        } else {
            self.console
                .eprint(refusal.text(self.console.stderr_colour()));
        }
        refusal.exit()
    }

    fn cannot_start(&self, error: std::io::Error) -> Exit {
        let problem = Problem::new(Class::Local, &StartError(error));
        self.eprint_problem(None, &problem);
        problem.exit
    }

    /// A panic ends one account's task; where it happened is said at once, what it did to the
    /// account when the task is missed.
    fn report_panics(&self) {
        std::panic::set_hook(Box::new(|panic| {
            let place = panic
                .location()
                .map_or_else(String::new, |place| format!(" at {place}"));
            tracing::error!(target: "posthole", "internal error{place}");
        }));
    }
}

/// The name of the user this process runs as, by the user database.
fn user_by_id() -> Option<String> {
    let user = nix::unistd::User::from_uid(nix::unistd::getuid());
    Some(user.ok()??.name)
}

#[derive(Debug, thiserror::Error)]
#[error("cannot write to standard output")]
struct OutputError(#[source] std::io::Error);

#[derive(Debug, thiserror::Error)]
#[error("cannot find out the working directory")]
struct CwdError(#[source] std::io::Error);

#[derive(Debug, thiserror::Error)]
#[error("cannot start")]
struct StartError(#[source] std::io::Error);

/// How long threads that still block are waited for at the end of a run.
const AFTERMATH: Duration = Duration::from_secs(1);
