//! A program that connects to an SSH host in our place (`ProxyCommand` in ssh_config(5)).
//!
//! It is run as ssh(1) runs it: by the user's shell, which is told to become it. What it asks on the
//! terminal it would ask behind the back of whatever else is shown there, and it would be stopped,
//! since it is not in the foreground; so an `ssh` among the programs is told to ask through a
//! messenger of ours.

use std::io;

use tokio::process::Command;
use tokio_util::task::TaskTracker;

use crate::exec::{self, CANNOT_RUN, NOT_FOUND};
use crate::plan::Hop;
use crate::transport::dial::plain;

use super::error::TunnelError;
use super::messenger::Messenger;
use super::process::{Ended, Outcome, Process};

/// Starts the proxy command of a host.
pub(super) fn start(
    hop: &Hop,
    command: &str,
    messenger: Option<Messenger>,
    programs: &TaskTracker,
) -> Result<Process, TunnelError> {
    let mut shell = Command::from(exec::script(LAUNCH));
    shell.arg(format!("exec {command}"));
    if let Some(messenger) = &messenger {
        messenger.equip(&mut shell);
    }
    let host = hop.name.clone();
    tracing::debug!(host, command, "starting the proxy command");
    let hear = move |line: &str| {
        tracing::debug!(host, "proxy command: {line}");
        true
    };
    let process = Process::start(shell, describe, hear, programs);
    let mut process = process.map_err(|error| TunnelError::ProxyCommand {
        host: hop.name.clone(),
        command: command.to_owned(),
        reason: plain(&error),
        is_missing: false,
    })?;
    process.accompany(messenger);
    Ok(process)
}

/// The error of a session whose proxy command failed.
pub(super) fn failed(hop: &Hop, error: &io::Error) -> TunnelError {
    let outcome = Ended::in_error(error).map(|ended| &ended.outcome);
    let code = outcome.and_then(|outcome| outcome.status?.code());
    TunnelError::ProxyCommand {
        host: hop.name.clone(),
        command: hop.proxy_command.clone().unwrap_or_default(),
        reason: outcome.map_or_else(|| plain(error), Outcome::text),
        is_missing: matches!(code, Some(CANNOT_RUN | NOT_FOUND)),
    }
}

fn describe(outcome: &Outcome) -> String {
    format!("the proxy command ended with {}", outcome.text())
}

/// The user's shell is the environment's, which the program inherits like every other. Without
/// anybody to ask, not even a program of the user's own, every question is declined.
const LAUNCH: &str = r#"
SSH_ASKPASS=${SSH_ASKPASS:-false} SSH_ASKPASS_REQUIRE=force
export SSH_ASKPASS SSH_ASKPASS_REQUIRE
exec "${SHELL:-/bin/sh}" -c "$1"
"#;
