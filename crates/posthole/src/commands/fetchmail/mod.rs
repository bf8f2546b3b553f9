//! `posthole fetchmail`, and the program under the name `fetchmail`.
//!
//! The command line, the rc file, the exit codes and the daemon are fetchmail's; what moves the
//! mail is ours. A run goes in three steps: [`args`] and the rc file become a
//! [`Configuration`], that becomes an [`RcPlan`], and [`cycle`] carries it out, server by server in the
//! order of the file. [`daemon`] does that again and again. This has nothing to do with `posthole
//! daemon`, which polls side by side by a configuration of ours.

mod args;
mod command;
mod cycle;
mod daemon;
mod exit;
mod links;
mod lock;
mod output;
mod places;
mod rcfile;

use std::cell::Cell;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anstream::ColorChoice;
use bstr::ByteSlice;
use posthole_core::config::Diagnostic;
use posthole_core::error::Class;
use posthole_core::fetchmailrc::{Configuration, Rcfile, Request, configdump};
use posthole_core::openssh::Ssh;
use posthole_core::plan::{Environment, RcPlan, RcWishes, resolve_rcfile};
use rustix::process::{Signal, kill_process};

use super::Run;
use crate::args::{ColorWhen, GlobalArgs};
use crate::console::Console;
use crate::logging;
use crate::render;
use crate::report::{Problem, printable};

use args::{Action, Invocation};
use exit::Code;
use lock::{Attempt, Lock};
use places::Places;
use rcfile::Source;

/// Runs with fetchmail's command line, the program's name left out.
pub(crate) fn fetchmail(global: GlobalArgs, args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let invocation = match args::parse(args) {
        Ok(invocation) => invocation,
        Err(problem) => {
            let console = Console::new(ColorChoice::Auto, false);
            console.eprint(format!(
                "fetchmail: {}\nfetchmail: try `fetchmail --help`",
                printable(&problem)
            ));
            return Code::Syntax.into();
        }
    };
    let global = GlobalArgs {
        quiet: global.quiet || invocation.silent && invocation.verbose == 0,
        verbose: global.verbose.max(invocation.verbose),
        ..global
    };
    let front = match Front::new(global, invocation) {
        Ok(front) => front,
        Err(code) => return code.into(),
    };
    front.run().into()
}

/// Whether the program was started as `fetchmail`.
pub(crate) fn is_called_fetchmail(name: Option<&OsStr>) -> bool {
    name.is_some_and(|name| Path::new(name).file_name() == Some(OsStr::new("fetchmail")))
}

/// One run with fetchmail's command line.
struct Front {
    global: GlobalArgs,
    invocation: Invocation,
    environment: Environment,
    places: Places,
    superuser: bool,
    console: Arc<Console>,
    /// Whether the foreground has said what there is to say about the rc file.
    is_repeated: Cell<bool>,
}

/// What is to be done, and what it was made of.
struct Prepared {
    source: Source,
    configuration: Configuration,
    plan: RcPlan,
}

impl Front {
    fn new(global: GlobalArgs, invocation: Invocation) -> Result<Self, Code> {
        let colour = match global.color {
            ColorWhen::Auto => ColorChoice::Auto,
            ColorWhen::Always => ColorChoice::Always,
            ColorWhen::Never => ColorChoice::Never,
        };
        let console = Arc::new(Console::new(colour, false));
        let run = Run::new(Arc::clone(&console), global.clone());
        let environment = match run.environment() {
            Ok(environment) => environment,
            Err(problem) => {
                run.eprint_problem(None, &problem);
                return Err(problem.exit.into());
            }
        };
        let mut environment = environment;
        if environment.home.is_none() {
            let user = nix::unistd::User::from_uid(nix::unistd::getuid());
            environment.home = user.ok().flatten().map(|user| user.dir);
        }
        let superuser = rustix::process::geteuid().is_root();
        let places = Places::new(&environment, superuser, |path| path.is_dir());
        Ok(Self {
            is_repeated: Cell::new(invocation.detached),
            global,
            invocation,
            environment,
            places,
            superuser,
            console,
        })
    }

    fn run(mut self) -> Code {
        if self.invocation.action == Action::Help {
            self.console.print(args::HELP.trim_end());
            return Code::Success;
        }
        let handed_over = if self.invocation.detached {
            match daemon::HandedOver::receive() {
                Ok(handed_over) => handed_over,
                Err(error) => {
                    return self.fail(Class::Local, "cannot take over from the foreground", &error);
                }
            }
        } else {
            daemon::HandedOver::default()
        };
        let source = match Source::read(&self, handed_over.rcfile.as_ref().map(|text| &***text)) {
            Ok(source) => source,
            Err(code) => return code,
        };
        let prepared = match self.prepare(source) {
            Ok(prepared) => prepared,
            Err(code) => return code,
        };
        match self.invocation.action {
            Action::Configdump => {
                let dump = configdump(&prepared.configuration, FEATURES).to_string();
                self.console.print(dump.trim_end());
                return Code::Success;
            }
            Action::Version => return self.show_version(&prepared),
            Action::Check | Action::Help | Action::Poll => {}
        }
        let pidfile = match &prepared.configuration.globals.pidfile {
            Some(path) => self.environment.cwd.join(path_of(path)),
            None => self.places.pidfile.clone(),
        };
        if self.invocation.quit {
            let code = self.quit(&pidfile);
            if code != Code::Success || self.only_quits() {
                return code;
            }
        }
        if prepared.plan.errands.is_empty() {
            self.console
                .eprint("fetchmail: no mailservers have been specified");
            return Code::Syntax;
        }
        let is_daemon = prepared.configuration.globals.poll_interval > 0
            && self.invocation.action == Action::Poll;
        if is_daemon && !self.invocation.nodetach && !self.invocation.detached {
            // Whoever has the lock is asked first, while there is somebody to be told.
            return match self.lock(&pidfile) {
                Ok(lock) => {
                    drop(lock);
                    daemon::detach(&self, &prepared)
                }
                Err(code) => code,
            };
        }
        let lock = match self.lock(&pidfile) {
            Ok(lock) => lock,
            Err(code) => return code,
        };
        self.choose_output(&prepared.configuration, is_daemon);
        logging::start(
            Arc::clone(&self.console),
            self.global.quiet,
            self.global.verbose,
        );
        self.remark(&prepared);
        let run = Run {
            program: "fetchmail",
            ..Run::new(Arc::clone(&self.console), self.global.clone())
        };
        let code = Cell::new(Code::Undefined);
        let exit = run.in_runtime(async |run| {
            let ended = if is_daemon {
                daemon::daemon(&self, run, prepared, handed_over, &lock).await
            } else {
                cycle::once(&self, run, &prepared, &handed_over).await
            };
            code.set(ended?);
            // Before the process may end by a signal.
            drop(lock);
            Ok(crate::exit::Exit::Success)
        });
        match exit.worse(run.output_exit()) {
            crate::exit::Exit::Success => code.get(),
            exit => exit.into(),
        }
    }

    /// From the rc file and the command line to what is to be done.
    fn prepare(&self, source: Source) -> Result<Prepared, Code> {
        let check_all = matches!(self.invocation.action, Action::Configdump | Action::Version);
        let (configuration, diagnostics) = source.rcfile.resolve(&self.request(&source, check_all));
        source.report(self, diagnostics)?;
        let wishes = RcWishes {
            native_tunnels: !self.invocation.no_native_tunnel,
            superuser: self.superuser,
            netrc: self.places.netrc.clone(),
        };
        let plan = match self.invocation.action {
            Action::Configdump => RcPlan::default(),
            _ => resolve_rcfile(&configuration, &wishes, &self.environment, &Ssh::new()),
        };
        Ok(Prepared {
            source,
            plan: self.with_idfile(rcfile::with_netrc(plan), &configuration),
            configuration,
        })
    }

    /// Keeps what was seen apart where another file than the usual one is to hold it.
    fn with_idfile(&self, mut plan: RcPlan, configuration: &Configuration) -> RcPlan {
        let idfile = self
            .environment
            .cwd
            .join(path_of(&configuration.globals.idfile));
        if idfile != self.places.idfile {
            for errand in plan.errands.iter_mut().flatten() {
                let mailbox = &mut errand.job.mailbox;
                *mailbox = format!("{mailbox} by {}", idfile.display());
            }
        }
        plan
    }

    fn request(&self, source: &Source, check_all: bool) -> Request {
        let user = places::user(&self.environment).unwrap_or_default();
        Request {
            check_all,
            flags: self.invocation.flags.clone(),
            hostname: rustix::system::uname().nodename().to_bytes().into(),
            idfile: bytes_of(&self.places.idfile),
            names: self.invocation.servers.clone(),
            rcfile_dir: source.dir.clone(),
            superuser: self.superuser,
            user: user.as_encoded_bytes().into(),
        }
    }

    /// Takes the lock, or does what fetchmail does when another run has it.
    fn lock(&self, pidfile: &Path) -> Result<Lock, Code> {
        let other = match lock::take(pidfile) {
            Ok(Attempt::Locked(lock)) => return Ok(lock),
            Ok(Attempt::Taken(other)) => other,
            Err(error) => {
                let message = format!("cannot use the lock file {}", pidfile.display());
                self.fail(Class::Local, &message, &error);
                return Err(Code::Exclude);
            }
        };
        let pid = other.pid.as_raw_nonzero();
        let say = |text: String| self.console.eprint(format!("fetchmail: {text}"));
        if self.invocation.action == Action::Check {
            say(format!(
                "can't check mail while another fetchmail is running at {pid}"
            ));
        } else if !self.invocation.servers.is_empty() {
            say(format!(
                "can't poll specified hosts with another fetchmail running at {pid}"
            ));
        } else if !other.is_daemon {
            say(format!("another foreground fetchmail is running at {pid}"));
        } else if !self.invocation.is_bare {
            say(format!(
                "can't accept options while a background fetchmail is running at {pid}; \
                 end it with `fetchmail --quit`, or call `fetchmail` without options to wake it"
            ));
        } else if kill_process(other.pid, Signal::USR1).is_ok() {
            say(format!("background fetchmail at {pid} awakened"));
            return Err(Code::Success);
        } else {
            say(format!("the fetchmail at {pid} ended meanwhile; try again"));
            return Err(Code::Undefined);
        }
        Err(Code::Exclude)
    }

    /// `--quit`: ends the other run, and waits until it is gone.
    fn quit(&self, pidfile: &Path) -> Code {
        let say = |text: String| {
            if !self.global.quiet {
                self.console.eprint(format!("fetchmail: {text}"));
            }
        };
        let other = match lock::holder(pidfile) {
            Ok(Some(other)) => other,
            Ok(None) => {
                say("no other fetchmail is running".to_owned());
                return if self.only_quits() {
                    Code::Exclude
                } else {
                    Code::Success
                };
            }
            Err(error) => {
                let message = format!("cannot read the lock file {}", pidfile.display());
                self.fail(Class::Local, &message, &error);
                return Code::Exclude;
            }
        };
        let what = if other.is_daemon {
            "background"
        } else {
            "foreground"
        };
        let pid = other.pid.as_raw_nonzero();
        if let Err(error) = kill_process(other.pid, Signal::TERM) {
            let message = format!("cannot end the {what} fetchmail at {pid}");
            self.fail(Class::Local, &message, &error);
            return Code::Exclude;
        }
        let is_gone = |patience: Duration| {
            let deadline = Instant::now() + patience;
            while matches!(lock::holder(pidfile), Ok(Some(still)) if still == other) {
                if Instant::now() >= deadline {
                    return false;
                }
                std::thread::sleep(daemon::LOOK);
            }
            true
        };
        // It finishes the message in hand, and at the second request does not.
        let is_over =
            is_gone(TO_FINISH) || kill_process(other.pid, Signal::TERM).is_err() || is_gone(TO_END);
        if !is_over {
            self.console.eprint(format!(
                "fetchmail: the {what} fetchmail at {pid} was told to end, and does not; `kill -KILL \
                 {pid}` ends it at once"
            ));
            return Code::Exclude;
        }
        say(format!("{what} fetchmail at {pid} killed"));
        Code::Success
    }

    /// Whether `--quit` stands alone, as far as it matters.
    fn only_quits(&self) -> bool {
        self.invocation.servers.is_empty() && self.invocation.flags.globals.daemon.is_none()
    }

    fn show_version(&self, prepared: &Prepared) -> Code {
        let version = env!("CARGO_PKG_VERSION");
        self.console.print(format!(
            "This is posthole {version}, with the command line and the rc file of fetchmail 6.4."
        ));
        self.console
            .print(format!("rc file: {}", prepared.source.name()));
        for errand in &prepared.plan.errands {
            match errand {
                Ok(errand) => self.console.print(errand.job.to_string().trim_end()),
                Err(undoable) => self.report_undoable(undoable),
            }
        }
        self.remark(prepared);
        Code::Success
    }

    fn report_undoable(&self, undoable: &posthole_core::plan::Undoable) {
        let why = &undoable.why;
        let problem = Problem::say(Class::Config, printable(&why.message));
        let problem = problem.hint(why.help.clone());
        let colour = self.console.stderr_colour();
        self.console.eprint(render::problem(None, &problem, colour));
    }

    /// Says what was noticed on the way.
    fn remark(&self, prepared: &Prepared) {
        if self.is_repeated.get() {
            return;
        }
        let remarks = &prepared.plan.remarks;
        if !remarks.warnings.is_empty() && !self.global.quiet {
            self.eprint_diagnostics(None, &remarks.warnings);
        }
        for notice in &remarks.notices {
            if self.global.verbose > 0 {
                self.console
                    .eprint(format!("fetchmail: {}", printable(notice)));
            }
        }
    }

    fn eprint_diagnostics(&self, file: Option<(&Path, &str)>, diagnostics: &[Diagnostic]) {
        let colour = self.console.stderr_colour();
        self.console
            .eprint(render::diagnostics(file, diagnostics, colour));
    }

    /// To the log, once there is nobody on the terminal any more or if that is wished.
    fn choose_output(&mut self, configuration: &Configuration, is_daemon: bool) {
        let globals = &configuration.globals;
        let detached = is_daemon && self.invocation.detached;
        let logfile = globals.logfile.as_ref().filter(|_| detached);
        let console = if let Some(path) = logfile {
            let path = self.environment.cwd.join(path_of(path));
            let open = || output::LogFile::open(&path);
            open().and_then(|first| Ok(Console::to(Box::new(first), Box::new(open()?))))
        } else if globals.syslog {
            let open = |severe| output::Syslog::open(Path::new(output::LOG), severe);
            open(false).and_then(|first| Ok(Console::to(Box::new(first), Box::new(open(true)?))))
        } else {
            return;
        };
        match console {
            Ok(console) => self.console = Arc::new(console),
            Err(error) => {
                let what = match logfile {
                    Some(path) => format!("the log file {path}"),
                    None => "the system's log".to_owned(),
                };
                // Mail is worth more than messages about it.
                self.console.eprint(format!(
                    "fetchmail: cannot write to {what}: {error}; messages go to standard error"
                ));
            }
        }
    }

    /// Says what failed on this machine.
    fn fail(&self, class: Class, message: &str, error: &dyn std::error::Error) -> Code {
        let mut problem = Problem::say(class, message);
        problem.causes.push(error.to_string());
        let colour = self.console.stderr_colour();
        self.console.eprint(render::problem(None, &problem, colour));
        problem.exit.into()
    }
}

fn path_of(path: &[u8]) -> &Path {
    path.to_path().unwrap_or_else(|_| Path::new(""))
}

fn bytes_of(path: &Path) -> bstr::BString {
    path.as_os_str().as_encoded_bytes().into()
}

/// How long the message in hand may take, and what comes after a poll.
const TO_FINISH: Duration = Duration::from_secs(30);
/// How long anybody may take to end at once.
const TO_END: Duration = Duration::from_secs(5);

/// What `--configdump` says this program can do.
const FEATURES: &[&str] = &["pop3", "sasl", "ssl"];
