//! Polling again and again (fetchmail(1), DAEMON MODE).
//!
//! To leave the terminal, the program starts itself anew in a session of its own and hands over
//! what cannot be had again: passwords that were typed, and an rc file from standard input. The
//! call returns when the daemon holds its lock, so that whatever is wrong is still said on the
//! terminal.

use std::fmt;
use std::io::{self, Read, Write};
use std::process::Stdio;
use std::time::Duration;

use posthole_core::ask::{Ask, SecretQuestion};
use posthole_core::error::Class;
use posthole_core::exec;
use posthole_core::plan::PasswordSource;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};

use super::cycle::Workshop;
use super::exit::Code;
use super::lock::Lock;
use super::rcfile::Source;
use super::{Front, Prepared};
use crate::commands::Run;
use crate::commands::plan::Refusal;
use crate::report::Problem;

/// What the foreground hands over to the daemon.
#[derive(Default)]
pub(super) struct HandedOver {
    /// The rc file, if it came from standard input.
    pub(super) rcfile: Option<Zeroizing<Vec<u8>>>,
    /// The passwords that were typed, by account.
    passwords: Vec<(String, SecretString)>,
}

/// How it is written into a pipe, without copies of what is secret.
#[derive(Serialize)]
struct Letter<'a> {
    rcfile: Option<&'a [u8]>,
    passwords: Vec<(&'a str, &'a str)>,
}

/// How it is read from there.
#[derive(Deserialize)]
struct Received {
    rcfile: Option<Vec<u8>>,
    passwords: Vec<(String, String)>,
}

impl HandedOver {
    pub(super) fn password(&self, account: &str) -> Option<&SecretString> {
        let mut passwords = self.passwords.iter();
        Some(&passwords.find(|(name, _)| name == account)?.1)
    }

    /// Reads what the foreground hands over, and leaves its session.
    pub(super) fn receive() -> io::Result<Self> {
        // Not possible for whoever leads a group, which nobody does who was started by us.
        rustix::process::setsid().ok();
        // With some room, since a buffer that grows leaves a copy behind.
        let mut text = Zeroizing::new(Vec::with_capacity(ROOM));
        io::stdin().lock().read_to_end(&mut text)?;
        let Received { rcfile, passwords } = serde_json::from_slice(&text)?;
        let keep = |(account, secret)| (account, SecretString::from(secret));
        Ok(Self {
            rcfile: rcfile.map(Zeroizing::new),
            passwords: passwords.into_iter().map(keep).collect(),
        })
    }

    fn send(&self, to: &mut impl Write) -> io::Result<()> {
        let letter = Letter {
            rcfile: self.rcfile.as_ref().map(|text| &***text),
            passwords: self
                .passwords
                .iter()
                .map(|(account, secret)| (&**account, secret.expose_secret()))
                .collect(),
        };
        let mut text = Zeroizing::new(Vec::with_capacity(ROOM));
        serde_json::to_writer(&mut *text, &letter)?;
        to.write_all(&text)
    }
}

impl fmt::Debug for HandedOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandedOver").finish_non_exhaustive()
    }
}

/// Starts the daemon in the background, and returns once it works.
pub(super) fn detach(front: &Front, prepared: &Prepared) -> Code {
    let mut handed_over = HandedOver {
        rcfile: prepared.source.text.clone(),
        passwords: Vec::new(),
    };
    if let Err(problem) = handed_over.ask(front, prepared) {
        let run = Run::new(front.console.clone(), front.global.clone());
        run.eprint_problem(None, &problem);
        return Code::AuthFail;
    }
    let started = start(&handed_over);
    match started {
        Ok(code) => code,
        Err(error) => front.fail(Class::Local, "cannot start the daemon", &error),
    }
}

fn start(handed_over: &HandedOver) -> io::Result<Code> {
    let mut args: Vec<_> = std::env::args_os().collect();
    if super::is_called_fetchmail(args.first().map(|name| &**name)) {
        args[0] = "fetchmail".into();
    } else {
        args.remove(0);
    }
    // The last option wins, and this one can stand before `--`.
    let place = args.iter().position(|arg| arg == "fetchmail");
    args.insert(place.map_or(0, |place| place + 1), "--detached".into());
    let mut child = exec::program(std::env::current_exe()?.as_os_str())
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        handed_over.send(&mut stdin)?;
    }
    let mut said = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        stdout.take(READY.len() as u64).read_to_end(&mut said)?;
    }
    if said == READY {
        return Ok(Code::Success);
    }
    // It has said why on standard error.
    let status = child.wait()?;
    Ok(match status.code() {
        Some(5) => Code::Syntax,
        Some(6) => Code::IoErr,
        Some(8) => Code::Exclude,
        _ => Code::Undefined,
    })
}

impl HandedOver {
    /// Asks for the passwords now, as long as there is somebody to answer.
    fn ask(&mut self, front: &Front, prepared: &Prepared) -> Result<(), Problem> {
        let run = Run::new(front.console.clone(), front.global.clone());
        let prompt = run.prompt();
        for errand in prepared.plan.errands.iter().flatten() {
            let job = &errand.job;
            if !matches!(job.password, PasswordSource::Prompt) || !job.auth.may_need_secret() {
                continue;
            }
            let question = SecretQuestion::MailPassword {
                account: job.account.clone(),
                login: format!("{}@{}", job.user, job.server.host),
            };
            let secret = prompt.secret(&question).map_err(|why| {
                Problem::say(
                    Class::Authentication,
                    format!("no password for {}: {why}", job.account),
                )
                .hint(Some("write it into the rc file or ~/.netrc".to_owned()))
            })?;
            self.passwords.push((job.account.clone(), secret));
        }
        Ok(())
    }
}

/// Polls until it is told to stop.
pub(super) async fn daemon(
    front: &Front,
    run: &Run,
    mut prepared: Prepared,
    handed_over: HandedOver,
    lock: &Lock,
) -> Result<Code, Refusal> {
    let interval = prepared.configuration.globals.poll_interval;
    let lost = |error: io::Error| Problem::new(Class::Local, &error);
    let mut wake = signal(SignalKind::user_defined1()).map_err(lost)?;
    // For root it is an old way to wake a daemon; for others it is the end of a session.
    let mut hangup = if front.superuser {
        Some(signal(SignalKind::hangup()).map_err(lost)?)
    } else {
        None
    };
    lock.write(Some(interval)).map_err(lost)?;
    let mut workshop = Workshop::open(front, run, &prepared)?;
    if front.invocation.detached {
        leave_terminal().map_err(lost)?;
    }
    let say = |text: String| {
        if !run.global.quiet {
            run.console.print(format!("fetchmail: {text}"));
        }
    };
    let version = env!("CARGO_PKG_VERSION");
    say(format!("starting posthole {version} as fetchmail daemon"));
    let mut code = Code::NoMail;
    let mut interval = interval;
    let mut is_woken = false;
    front.is_repeated.set(false);
    while !run.stop.is_cancelled() {
        if let Some(changed) = prepared.source.change() {
            match front.read_again() {
                Some(again) => {
                    say(format!("read {} again", again.source.name()));
                    prepared = again;
                    workshop.pardon();
                    interval = match prepared.configuration.globals.poll_interval {
                        0 => interval,
                        other => other,
                    };
                    lock.write(Some(interval)).map_err(lost)?;
                    front.remark(&prepared);
                }
                None => {
                    prepared.source.accept(changed);
                    say("the rc file is of no use now; going on with what it said before".into());
                }
            }
        }
        code = workshop.cycle(&prepared, &handed_over, is_woken).await;
        workshop.leave_links(&prepared).await;
        is_woken = false;
        if run.global.verbose > 0 {
            say(format!("sleeping for {interval} seconds"));
        }
        let hung_up = async {
            match &mut hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = run.stop.cancelled() => {}
            () = tokio::time::sleep(Duration::from_secs(interval.into())) => {}
            _ = wake.recv() => {
                say("awakened by SIGUSR1".to_owned());
                workshop.pardon();
                is_woken = true;
            }
            _ = hung_up => {
                say("awakened by SIGHUP".to_owned());
                workshop.pardon();
                is_woken = true;
            }
        }
    }
    workshop.close().await;
    say("terminated".to_owned());
    Ok(code)
}

impl Front {
    /// What is to be done by the rc file as it is now; what is wrong with it is said.
    fn read_again(&self) -> Option<Prepared> {
        let prepared = self.prepare(Source::read(self, None).ok()?).ok()?;
        (!prepared.plan.errands.is_empty()).then_some(prepared)
    }
}

/// Tells the foreground that all is well, and lets go of the terminal.
fn leave_terminal() -> io::Result<()> {
    let mut stdout = io::stdout();
    stdout.write_all(READY)?;
    stdout.flush()?;
    let nowhere = std::fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/null")?;
    rustix::stdio::dup2_stdin(&nowhere)?;
    rustix::stdio::dup2_stdout(&nowhere)?;
    rustix::stdio::dup2_stderr(&nowhere)?;
    Ok(())
}

/// More than most letters need; an octet of the rc file takes up to four.
const ROOM: usize = 256 * 1024;
const READY: &[u8] = b"ready\n";

/// How often it is looked whether another run has ended.
pub(super) const LOOK: Duration = Duration::from_millis(20);
