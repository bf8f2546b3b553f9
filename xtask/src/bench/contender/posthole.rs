//! Posthole as a contender.

use std::path::Path;
use std::process::Command;

use super::Attempt;
use crate::bench::stage::Stage;

/// One fetch by a user who never fetched before.
pub(super) fn prepare(stage: &Stage, fresh: &Path) -> Result<Attempt, String> {
    let maildir = fresh.join("Mail");
    Ok(Attempt::Program {
        command: Box::new(fetch(stage, &maildir, &fresh.join("state"))),
        maildir,
    })
}

/// The command line that fetches the mailbox on the stage.
pub(super) fn fetch(stage: &Stage, maildir: &Path, state: &Path) -> Command {
    let mut command = stage.home().posthole(stage.posthole());
    command
        .arg("fetch")
        .arg(stage.url())
        .args(["--via", &stage.via()])
        .arg("--to")
        .arg(format!("maildir:{}", maildir.display()))
        .arg("--state-dir")
        .arg(state)
        .arg("--password-file")
        .arg(stage.home().password_file())
        .arg("--keep");
    if stage.line().compressed {
        command.arg("--compress");
    }
    command
}
