//! A program whose standard input and output are the stream to a mail server: fetchmail's `plugin`.
//!
//! It is run as fetchmail runs it, without a shell. There is no knowing what it does, so nothing is
//! awaited before the greeting of the mail server; what it says on standard error is kept for the
//! case that it fails.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use bstr::BString;
use tokio::process::Command;
use tokio_util::task::TaskTracker;

use crate::exec;
use crate::transport::BoxStream;
use crate::transport::dial::plain;

use super::error::TunnelError;
use super::process::{Outcome, Process};

/// Starts it; `words` are a program and its arguments.
pub(super) fn start(
    account: &str,
    words: &[BString],
    programs: &TaskTracker,
) -> Result<BoxStream, TunnelError> {
    let mut words = words.iter().map(|word| OsStr::from_bytes(word));
    // INVARIANT: the plan has none that is empty; and a program without a name is not found.
    let program = words.next().unwrap_or_default();
    let mut command = Command::from(exec::program(program));
    command.args(words);
    let account = account.to_owned();
    tracing::debug!(account, program = %program.display(), "starting the plugin");
    let hear = move |line: &str| {
        tracing::debug!(account, "plugin: {line}");
        true
    };
    let started =
        exec::find(program, None).and_then(|()| Process::start(command, describe, hear, programs));
    match started {
        Ok(process) => Ok(Box::new(process)),
        Err(error) => Err(TunnelError::Plugin {
            program: program.display().to_string(),
            reason: plain(&error),
        }),
    }
}

fn describe(outcome: &Outcome) -> String {
    format!("the plugin ended with {}", outcome.text())
}
