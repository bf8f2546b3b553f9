//! `posthole daemon`: the process around the daemon of the library.
//!
//! Log lines and signals are arranged here, and what is asked on a terminal at the start. `--detach`
//! does not fork, which a process with threads cannot do safely: it starts the program once more in
//! a session of its own, waits until that is ready, and asks what the daemon waits for as `unlock`
//! would.

use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use posthole_core::ask::Ask;
use posthole_core::daemon::control::{Client, Request};
use posthole_core::daemon::{Daemon, Handle, Load, Loaded, NotLoaded, Reading, Setup, StartError};
use posthole_core::error::Class;
use posthole_core::exec;
use posthole_core::plan::{Environment, Overrides};
use tokio::signal::unix::{SignalKind, signal};

use super::Run;
use super::forward::{passed_sockets, unwanted};
use super::plan::Refusal;
use super::unlock::dialog;
use crate::args::DaemonArgs;
use crate::exit::Exit;
use crate::limits;
use crate::logging::{self, LogFile, Sink};
use crate::notify::{self, Notifier};
use crate::report::Problem;
use crate::tty::Tty;

/// Runs the daemon to its end, or starts it in the background.
pub(crate) fn daemon(run: &Run, args: DaemonArgs) -> Exit {
    if args.detach && !args.is_detached {
        return run.to_end(|run| detach(run, &args));
    }
    if args.is_detached {
        // Away from the terminal; it fails only if it was done before.
        rustix::process::setsid().ok();
    }
    let sink = match sink(run, &args) {
        Ok(sink) => Arc::new(sink),
        Err(problem) => return run.to_end(|_| Err(problem.into())),
    };
    let is_elsewhere = !matches!(&*sink, Sink::Console(_));
    let GlobalOptions { quiet, verbose } = GlobalOptions::of(run);
    logging::start_daemon(Arc::clone(&sink), quiet, verbose);
    let inner = Run {
        logs: true,
        ..Run::new(Arc::clone(&run.console), run.global.clone())
    };
    inner.in_runtime(async move |run| {
        let ended = serve(run, args, sink).await;
        if let Err(refusal) = &ended
            && is_elsewhere
        {
            // Whoever reads the log wants to know, too.
            tracing::error!("the daemon cannot run: {}", refusal.message());
        }
        ended
    })
}

struct GlobalOptions {
    quiet: bool,
    verbose: u8,
}

impl GlobalOptions {
    fn of(run: &Run) -> Self {
        Self {
            quiet: run.global.quiet,
            verbose: run.global.verbose,
        }
    }
}

async fn serve(run: &Run, args: DaemonArgs, sink: Arc<Sink>) -> Result<Exit, Refusal> {
    let loader = Loader::new(run)?;
    let loaded = loader.load(None)?;
    let state_dir = loaded.plan.state_dir.clone();
    let load: Load = Arc::new(move |agent| {
        loader.load(agent).map_err(|refusal| {
            let message = refusal.message();
            let message = message
                .strip_prefix("nothing was done: ")
                .unwrap_or(message);
            NotLoaded {
                message: message.to_owned(),
                details: refusal.details(),
            }
        })
    });
    let is_detached = args.is_detached;
    let on_ready = move || {
        if is_detached {
            notify::release_parent();
        }
    };
    let notifier = Rc::new(Notifier::new(on_ready));
    let passed = passed_sockets()?;
    if let Some(text) = unwanted(&passed, &loaded.plan.forwards) {
        tracing::warn!("{text}");
    }
    let setup = Setup {
        loaded,
        load,
        open_files: limits::open_files(),
        teller: Rc::clone(&notifier) as _,
        messenger: std::env::current_exe().ok(),
        clocks: Box::new(Reading::take),
        tick: notify::watchdog().map_or(TICK, |half| half.min(TICK)),
        services: Vec::new(),
        passed,
        stop: run.stop.clone(),
    };
    let (daemon, handle) = Daemon::new(setup).map_err(|error| cannot_start(&error))?;
    // Only now is it sure that no other daemon has written it.
    if let Some(path) = &args.pidfile {
        notifier.keep(Pidfile::write(&in_directory(run, path)?)?);
    }
    obey_signals(run, handle, sink)?;
    if !args.is_detached && !args.no_ask && Tty::open().is_some() {
        ask_at_the_start(run, &state_dir);
    }
    // What ends it is a request or a signal, and both are obeyed in order.
    run.is_orderly.store(true, Ordering::Relaxed);
    daemon.run().await.map_err(|error| cannot_start(&error))?;
    Ok(Exit::Success)
}

/// Reads the configuration, as often as it is wanted.
struct Loader {
    run: Run,
    environment: Environment,
    /// The socket that was recommended last.
    recommended: Mutex<Option<PathBuf>>,
}

impl Loader {
    fn new(run: &Run) -> Result<Self, Problem> {
        Ok(Self {
            run: Run {
                logs: true,
                ..Run::new(Arc::clone(&run.console), run.global.clone())
            },
            environment: run.environment()?,
            recommended: Mutex::default(),
        })
    }

    fn load(&self, recommended: Option<PathBuf>) -> Result<Loaded, Refusal> {
        let agents = Agents::of(&self.environment, self.recommended(recommended));
        let mut environment = self.environment.clone();
        let agent = agents.choose();
        let has_agent = agent.is_some() || environment.agent().is_some();
        if let Some(socket) = agent {
            environment.vars.insert(AGENT.into(), socket.into());
        }
        let file = self.run.config_file(&environment)?;
        let plan = self
            .run
            .plan_all(file.as_ref(), &Overrides::default(), &environment)?;
        let mut watch = agents.everywhere();
        watch.extend(file.map(|file| file.path));
        Ok(Loaded {
            plan,
            watch,
            has_agent,
        })
    }

    /// The socket that is recommended now, or was before.
    fn recommended(&self, now: Option<PathBuf>) -> Option<PathBuf> {
        let known = self.recommended.lock();
        let mut known = known.unwrap_or_else(PoisonError::into_inner);
        if now.is_some() {
            *known = now;
        }
        known.clone()
    }
}

/// The sockets at which an agent may be found. It moves when somebody logs in anew.
struct Agents {
    /// The one in the environment.
    named: Option<PathBuf>,
    /// The one that somebody has recommended.
    recommended: Option<PathBuf>,
    /// Where agents usually are.
    usual: Vec<PathBuf>,
}

impl Agents {
    fn of(environment: &Environment, recommended: Option<PathBuf>) -> Self {
        let runtime = environment.var("XDG_RUNTIME_DIR").map(Path::new);
        let usual = runtime.into_iter().flat_map(|runtime| {
            let usual = [
                "ssh-agent.socket",
                "openssh_agent",
                "gcr/ssh",
                "keyring/ssh",
            ];
            let usual = usual.into_iter().chain(["gnupg/S.gpg-agent.ssh"]);
            usual.map(|name| runtime.join(name))
        });
        Self {
            named: environment.agent(),
            recommended,
            usual: usual.collect(),
        }
    }

    /// The first at which somebody listens.
    fn choose(&self) -> Option<PathBuf> {
        let listens = |socket: &&PathBuf| std::os::unix::net::UnixStream::connect(socket).is_ok();
        self.all().find(listens).cloned()
    }

    fn everywhere(&self) -> Vec<PathBuf> {
        self.all().cloned().collect()
    }

    fn all(&self) -> impl Iterator<Item = &PathBuf> {
        let by_name = self.named.iter().chain(&self.recommended);
        by_name.chain(&self.usual)
    }
}

/// SIGHUP reads the configuration again, SIGUSR1 polls, SIGUSR2 opens the log file again.
fn obey_signals(run: &Run, handle: Handle, sink: Arc<Sink>) -> Result<(), Problem> {
    let watch = |kind| signal(kind).map_err(|error| Problem::new(Class::Local, &error));
    let (mut hup, mut usr1, mut usr2) = (
        watch(SignalKind::hangup())?,
        watch(SignalKind::user_defined1())?,
        watch(SignalKind::user_defined2())?,
    );
    let stop = run.stop.clone();
    let had_terminal = Tty::is_there();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                // A terminal that was closed sends it too, and then it means the end.
                Some(()) = hup.recv() => if had_terminal && !Tty::is_there() {
                    stop.cancel();
                } else {
                    handle.ask(Request::Reload { agent: None }).await;
                },
                Some(()) = usr1.recv() => {
                    handle.ask(Request::Wake { account: None }).await;
                }
                Some(()) = usr2.recv() => sink.reopen(),
                else => return,
            }
        }
    });
    Ok(())
}

/// Asks whoever sits at the terminal what the daemon waits for, in a thread of its own.
fn ask_at_the_start(run: &Run, state_dir: &Path) {
    let prompt: Arc<dyn Ask> = run.prompt();
    let state_dir = state_dir.to_owned();
    let stop = run.stop.clone();
    tokio::spawn(async move {
        // The socket is made when the daemon runs, which it does before this comes to its turn.
        let asking = tokio::task::spawn_blocking(move || {
            let mut client = connect(&state_dir)?;
            dialog(&mut client, &*prompt)
        });
        match asking.await {
            Ok(Ok(answered)) if answered.passed_over > 0 => {
                tracing::warn!("not everything was answered: `posthole unlock` asks again");
            }
            Ok(Err(problem)) if !stop.is_cancelled() => tracing::warn!("{}", problem.message),
            _ => {}
        }
    });
}

/// The control socket may take a moment to be there.
fn connect(state_dir: &Path) -> Result<Client, Problem> {
    let mut tries = 0;
    loop {
        match Client::connect(state_dir) {
            Ok(client) => return Ok(client),
            Err(error) if tries == TRIES => return Err(super::control::unreachable(error)),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
        tries += 1;
    }
}

/// Starts the daemon in the background, and asks what it waits for.
fn detach(run: &Run, args: &DaemonArgs) -> Result<Exit, Refusal> {
    let environment = run.environment()?;
    let program = std::env::current_exe().map_err(|error| Problem::new(Class::Local, &error))?;
    let mut arguments: Vec<_> = std::env::args_os().skip(1).collect();
    // What is not said again is the same: the arguments are those of this process.
    arguments.push("--is-detached".into());
    if args.logfile.is_none() && args.syslog.is_none() {
        arguments.push("--syslog".into());
    }
    let mut child = exec::program(program.as_os_str())
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| Problem::new(Class::Local, &StartFailed(error)))?;
    let mut said = String::new();
    if let Some(mut stdout) = child.stdout.take() {
        let mut octets = vec![0; notify::READY.len()];
        if stdout.read_exact(&mut octets).is_ok() {
            said = String::from_utf8_lossy(&octets).into_owned();
        }
    }
    if said != notify::READY {
        // It has said why.
        let status = child.wait().map_err(|e| Problem::new(Class::Local, &e))?;
        return died(status).map_err(Refusal::from);
    }
    let state_dir = run.state_dir(&environment)?;
    if !args.no_ask && Tty::open().is_some() {
        let prompt: Arc<dyn Ask> = run.prompt();
        let answered = dialog(&mut connect(&state_dir)?, &*prompt)?;
        if answered.passed_over > 0 {
            run.console.eprint(
                "posthole: not everything was answered; `posthole unlock` asks again".to_owned(),
            );
        }
    }
    if !run.global.quiet {
        let pid = child.id();
        run.console.print(format!(
            "posthole: the daemon runs as process {pid}; `posthole status` shows how it goes"
        ));
    }
    Ok(Exit::Success)
}

/// What to make of a daemon that ended before it was ready.
fn died(status: ExitStatus) -> Result<Exit, Problem> {
    let how = match (status.code(), status.signal()) {
        (Some(code @ 1..=255), _) => return Ok(Exit::from_code(u8::try_from(code).unwrap_or(1))),
        (_, Some(signal)) => format!("was killed by signal {signal}"),
        _ => "ended".to_owned(),
    };
    let message = format!("the daemon {how} before it was ready");
    let hint = "run `posthole daemon` in the foreground to see what it does";
    Err(Problem {
        exit: Exit::Software,
        ..Problem::say(Class::Local, message).hint(Some(hint.to_owned()))
    })
}

#[derive(Debug, thiserror::Error)]
#[error("cannot start the process that is to stay")]
struct StartFailed(#[source] std::io::Error);

fn sink(run: &Run, args: &DaemonArgs) -> Result<Sink, Problem> {
    let console = Arc::clone(&run.console);
    if let Some(path) = &args.logfile {
        let path = in_directory(run, path)?;
        return LogFile::open(path.clone(), console)
            .map(Sink::File)
            .map_err(|source| {
                let error = FileError { path, source };
                let hint = "check that its directory is there and is yours to write to";
                Problem::new(Class::Local, &error).hint(Some(hint.to_owned()))
            });
    }
    match &args.syslog {
        Some(socket) => Sink::syslog(socket, console).map_err(|reason| {
            let message = format!("cannot log to syslog: {reason}");
            let hint = "start a syslog daemon, or name a file with --logfile";
            Problem::say(Class::Local, message).hint(Some(hint.to_owned()))
        }),
        None => Ok(Sink::usual(console)),
    }
}

/// A path of the command line, in which `~` stands for the home directory.
fn in_directory(run: &Run, path: &Path) -> Result<PathBuf, Problem> {
    let environment = run.environment()?;
    Ok(match (path.strip_prefix("~"), &environment.home) {
        (Ok(below), Some(home)) => home.join(below),
        _ => environment.cwd.join(path),
    })
}

#[derive(Debug, thiserror::Error)]
#[error("cannot write {}", path.display())]
struct FileError {
    path: PathBuf,
    source: std::io::Error,
}

/// A file with the number of this process, for as long as it runs.
struct Pidfile(PathBuf);

impl Pidfile {
    fn write(path: &Path) -> Result<Self, Problem> {
        // A link may have been put there by somebody who wants another file to be overwritten.
        let nofollow = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
        let mut options = std::fs::File::options();
        options.write(true).create(true).truncate(true);
        let file = options.custom_flags(nofollow).open(path);
        let written = file.and_then(|mut file| writeln!(file, "{}", std::process::id()));
        written.map_err(|source| {
            let is_link = path.is_symlink();
            let path = path.to_owned();
            let hint = if is_link {
                "it is a symbolic link, which is not followed: remove it, or name another file"
            } else {
                "check that its directory is there and is yours to write to"
            };
            Problem::new(Class::Local, &FileError { path, source }).hint(Some(hint.to_owned()))
        })?;
        Ok(Self(path.to_owned()))
    }
}

impl Drop for Pidfile {
    fn drop(&mut self) {
        let text = std::fs::read_to_string(&self.0).unwrap_or_default();
        // Somebody else may have put their own there.
        if text.trim() == std::process::id().to_string() {
            // It is wrong from now on, but that harms only who believes it.
            std::fs::remove_file(&self.0).ok();
        }
    }
}

fn cannot_start(error: &StartError) -> Problem {
    Problem::new(error.class(), error).hint(error.hint())
}

const AGENT: &str = "SSH_AUTH_SOCK";
const TICK: Duration = Duration::from_secs(5);
const TRIES: u32 = 250;

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use anstream::ColorChoice;
    use posthole_core::plan::Route;

    use super::*;
    use crate::args::GlobalArgs;
    use crate::console::Console;

    #[test]
    fn a_recommended_agent_is_used_as_long_as_it_lives() {
        let home = tempfile::tempdir().unwrap();
        let config = home.path().join("config.toml");
        std::fs::write(
            &config,
            "[account.work]\nserver = \"pop3://m@localhost\"\nvia = \"m@gate\"\n\
             password = \"prompt\"\ndeliver = \"maildir:~/Mail\"\n\
             [ssh.gate]\nbackend = \"builtin\"\n",
        )
        .unwrap();
        let global = GlobalArgs {
            config: Some(config),
            ..GlobalArgs::default()
        };
        let console = Arc::new(Console::new(ColorChoice::Never, false));
        let vars = [("HOME", home.path().as_os_str().to_owned())];
        let vars = vars.map(|(name, value)| (name.into(), value));
        let loader = Loader {
            run: Run::new(console, global),
            environment: Environment::new(home.path().to_owned(), vars),
            recommended: Mutex::default(),
        };
        let load = |recommended: Option<&Path>| {
            let loaded = loader.load(recommended.map(Path::to_owned));
            let loaded = loaded.unwrap_or_else(|refusal| panic!("{}", refusal.details()));
            let Route::Ssh(hops) = &loaded.plan.jobs[0].route else {
                panic!("a route through SSH");
            };
            (hops[0].agent.clone(), loaded.has_agent, loaded.watch)
        };
        let socket = home.path().join("agent");
        let listener = UnixListener::bind(&socket).unwrap();
        assert_eq!(load(None).0, None);
        for recommended in [Some(&*socket), None] {
            let (agent, has_agent, watch) = load(recommended);
            assert_eq!((agent.as_ref(), has_agent), (Some(&socket), true));
            assert!(watch.contains(&socket));
        }
        drop(listener);
        assert_eq!(load(None).0, None);
        let _listener = {
            std::fs::remove_file(&socket).unwrap();
            UnixListener::bind(&socket).unwrap()
        };
        assert_eq!(load(None).0, Some(socket), "it has come back");
    }

    #[test]
    fn a_daemon_that_dies_before_it_is_ready_is_a_failure() {
        let status = |raw| ExitStatus::from_raw(raw);
        assert_eq!(died(status(78 << 8)).unwrap(), Exit::Config);
        let killed = died(status(9)).unwrap_err();
        assert_eq!(killed.exit, Exit::Software);
        assert!(killed.message.contains("signal 9"), "{}", killed.message);
        assert_eq!(died(status(0)).unwrap_err().exit, Exit::Software);
    }
}
