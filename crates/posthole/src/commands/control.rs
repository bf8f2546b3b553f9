//! The commands that talk to the daemon: wake, pause, resume, reload, stop.

use posthole_core::daemon::control::{Client, ClientError, Reply, Request};
use posthole_core::error::Class;

use super::Run;
use super::plan::Refusal;
use crate::args::{PauseArgs, WakeArgs};
use crate::exit::Exit;
use crate::report::{Asked, Problem, json};

pub(crate) fn wake(run: &Run, args: WakeArgs) -> Result<Exit, Refusal> {
    let WakeArgs { account } = args;
    run.ask_daemon(&Request::Wake { account })
}

pub(crate) fn pause(run: &Run, args: &PauseArgs) -> Result<Exit, Refusal> {
    let until_wake = args.until_wake;
    run.ask_daemon(&Request::Pause { until_wake })
}

pub(crate) fn resume(run: &Run) -> Result<Exit, Refusal> {
    run.ask_daemon(&Request::Resume)
}

pub(crate) fn reload(run: &Run) -> Result<Exit, Refusal> {
    let agent = run.environment()?.agent();
    run.ask_daemon(&Request::Reload { agent })
}

/// Ends the daemon, and waits for its end.
pub(crate) fn stop(run: &Run) -> Result<Exit, Refusal> {
    run.daemon()?.stop().map_err(unreachable)?;
    run.done("stopped")
}

impl Run {
    /// A connection to the daemon.
    pub(super) fn daemon(&self) -> Result<Client, Refusal> {
        let state_dir = self.state_dir(&self.environment()?)?;
        Ok(Client::connect(&state_dir).map_err(unreachable)?)
    }

    fn ask_daemon(&self, request: &Request) -> Result<Exit, Refusal> {
        let reply = self.daemon()?.ask(request).map_err(unreachable)?;
        self.show_reply(reply)
    }

    fn show_reply(&self, reply: Reply) -> Result<Exit, Refusal> {
        match reply {
            Reply::Done { text } => self.done(&text),
            Reply::Failed {
                message,
                hint,
                details: Some(details),
            } => {
                if !self.global.json {
                    self.console.eprint(details + "\n");
                }
                Err(Problem::say(Class::Config, message).hint(hint).into())
            }
            other => Err(refused(other).into()),
        }
    }

    fn done(&self, text: &str) -> Result<Exit, Refusal> {
        if self.global.json {
            self.console.print(json(&Asked { ok: true, text }));
        } else if !self.global.quiet {
            self.console.print(text);
        }
        Ok(Exit::Success)
    }
}

/// What to make of an answer that is none.
pub(super) fn refused(reply: Reply) -> Problem {
    match reply {
        Reply::Failed { message, hint, .. } => Problem::say(Class::Config, message).hint(hint),
        Reply::Done { .. } | Reply::Questions { .. } | Reply::Status { .. } => {
            unreachable(ClientError::Garbled)
        }
    }
}

pub(super) fn unreachable(error: ClientError) -> Problem {
    let class = match error {
        ClientError::NotRunning { .. } => Class::Unavailable,
        ClientError::Garbled => Class::Protocol,
        _ => Class::Local,
    };
    Problem::new(class, &error).hint(error.hint().map(str::to_owned))
}
