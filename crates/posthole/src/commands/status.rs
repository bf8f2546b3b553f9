//! `posthole status`: how the accounts are, from the daemon or from what the last run left.

use std::time::{Duration, SystemTime};

use posthole_core::daemon::control::{Client, ClientError, Reply, Request};
use posthole_core::daemon::{AccountState, AccountStatus, Status, read_histories, seconds};

use super::Run;
use super::control::{refused, unreachable};
use super::plan::Refusal;
use crate::args::StatusArgs;
use crate::exit::Exit;
use crate::render;
use crate::report::json;

pub(crate) fn status(run: &Run, args: &StatusArgs) -> Result<Exit, Refusal> {
    let state_dir = run.state_dir(&run.environment()?)?;
    let mut client = None;
    loop {
        let status = match look(&mut client, &state_dir) {
            Ok(status) => status,
            // Between two looks it was restarted, or is being stopped.
            Err(_) if args.watch && client.take().is_some() => continue,
            Err(refusal) => return Err(refusal),
        };
        if run.global.json {
            run.console.print(json(&status));
        } else {
            let now = seconds(SystemTime::now());
            let text = render::status(&status, now, run.console.stdout_colour());
            if args.watch && run.console.is_stdout_terminal() {
                run.console.print(format!("{CLEAR}{text}"));
            } else {
                run.console.print(text);
            }
        }
        if !args.watch || run.console.is_stdout_broken() {
            return Ok(Exit::Success);
        }
        std::thread::sleep(EVERY);
    }
}

fn look(client: &mut Option<Client>, state_dir: &std::path::Path) -> Result<Status, Refusal> {
    if client.is_none() {
        *client = match Client::connect(state_dir) {
            Ok(client) => Some(client),
            Err(ClientError::NotRunning { .. }) => return Ok(remembered(state_dir)),
            Err(error) => return Err(unreachable(error).into()),
        };
    }
    let Some(client) = client else {
        return Ok(remembered(state_dir));
    };
    match client.ask(&Request::Status).map_err(unreachable)? {
        Reply::Status { status } => Ok(*status),
        other => Err(refused(other).into()),
    }
}

/// What is known without a daemon.
fn remembered(state_dir: &std::path::Path) -> Status {
    let accounts = read_histories(state_dir).into_iter();
    let account = |(account, history)| AccountStatus {
        account,
        state: AccountState::Idle,
        next_poll: None,
        history,
    };
    Status {
        accounts: accounts.map(account).collect(),
        ..Status::default()
    }
}

const EVERY: Duration = Duration::from_secs(1);
/// To the upper left, and nothing below it (ECMA-48: CUP, ED).
const CLEAR: &str = "\x1b[H\x1b[2J";
