//! Posthole as a contender.

use std::path::Path;
use std::process::Command;

use posthole_testkit::{Home, World};

use super::Attempt;
use crate::bench::stage::Stage;

/// One fetch by a user who never fetched before.
pub(super) fn prepare(stage: &Stage, fresh: &Path) -> Attempt {
    let maildir = fresh.join("Mail");
    let mut command = fetch(stage.posthole(), stage.home(), &fresh.join("state"));
    one_mailbox(&mut command, &stage.url(Home::USER), &stage.via(), &maildir);
    command.arg("--quiet");
    if stage.line().compressed {
        command.arg("--compress");
    }
    Attempt::Program {
        command: Box::new(command),
        maildir,
    }
}

/// One fetch from servers in this process, which says in JSON what it did.
pub(in crate::bench) fn from_world(
    posthole: &Path,
    world: &World,
    maildir: &Path,
    state: &Path,
) -> Command {
    let mut command = fetch(posthole, world.home(), state);
    one_mailbox(&mut command, &world.url(), &world.via(), maildir);
    command.arg("--json");
    command
}

/// One fetch of so many accounts on the stage, each into a Maildir of its own.
pub(in crate::bench) fn of_accounts(stage: &Stage, users: &[String], fresh: &Path) -> Command {
    let mut config = format!(
        "[defaults]\nvia = \"{}\"\npassword = {{ file = \"{}\" }}\nkeep = true\n",
        stage.via(),
        stage.home().password_file().display(),
    );
    for user in users {
        config += &format!(
            "[account.{user}]\nserver = \"{}\"\ndeliver = \"maildir:{}\"\n",
            stage.url(user),
            fresh.join(user).display(),
        );
    }
    stage.home().write_config(&config);
    let mut command = fetch(stage.posthole(), stage.home(), &fresh.join("state"));
    command.arg("--quiet");
    command
}

fn fetch(posthole: &Path, home: &Home, state: &Path) -> Command {
    let mut command = home.posthole(posthole);
    command.arg("fetch").arg("--state-dir").arg(state);
    command
}

fn one_mailbox(command: &mut Command, url: &str, via: &str, maildir: &Path) {
    command
        .arg(url)
        .args(["--via", via])
        .arg("--to")
        .arg(format!("maildir:{}", maildir.display()))
        .args(["--password-file", "mail-password", "--keep"]);
}
