//! Commands that deliver mail: procmail, maildrop, dovecot-lda, a script.
//!
//! A command is given the message as its standard input, a file of which all is there, so that it
//! may read as much of it as it likes, and its exit code is its answer (sysexits(3)). One that
//! does not come to an end is killed with all that it has started. It gets an environment of its
//! own, and as root it runs with the rights of the user whom the mail is for.

mod error;
mod process;
mod words;

pub use error::MdaError;

use std::ffi::OsStr;
use std::io;
use std::path::PathBuf;

use tokio::runtime::Handle;

use super::DeliverError;
use super::dispatch::Round;
use super::user::LocalUser;
use crate::error::Error;
use crate::exec;
use crate::plan::{MdaCommand, MdaTo};

/// A command, ready to be given messages.
pub(super) struct Mda {
    to: MdaTo,
    user: LocalUser,
    runtime: Handle,
}

impl Mda {
    pub(super) fn new(to: &MdaTo) -> Result<Self, DeliverError> {
        Ok(Self {
            to: to.clone(),
            user: LocalUser::find(to.user.as_deref())?,
            runtime: Handle::current(),
        })
    }

    pub(super) fn deliver(&self, round: &mut Round<'_>, way: usize) -> Result<(), Error> {
        for idx in round.waiting(way) {
            round.go_on()?;
            let sender = round.sender(idx)?;
            let text = round.text(idx)?;
            let argv = self.argv(&sender, round.recipients(idx, way));
            let ended = self.run(&argv, text, round.stop())?;
            match ended {
                None => round.got_all(&[idx], way)?,
                Some(refusal) => round.refused(idx, refusal),
            }
        }
        Ok(())
    }

    /// Looks whether the command is there and may be run.
    pub(super) fn check(&self) -> Result<(), DeliverError> {
        let argv = self.argv("", &self.to.recipients);
        let found = self.user.run_as(None, || self.find(&argv[0]))?;
        found.map_err(|source| {
            let command = self.to.command.to_string();
            MdaError::NotRun { command, source }.into()
        })
    }

    /// Looks for a program where the command would.
    fn find(&self, program: &str) -> io::Result<()> {
        if program.contains('/') {
            return exec::find(self.directory().join(program).as_os_str(), None);
        }
        exec::find(OsStr::new(program), self.variable("PATH").as_deref())
    }

    /// The program and its arguments for a message; never empty.
    fn argv(&self, sender: &str, recipients: &[String]) -> Vec<String> {
        match &self.to.command {
            MdaCommand::Argv(template) => words::argv(template, sender, recipients),
            MdaCommand::Shell(text) => vec![
                "/bin/sh".to_owned(),
                "-c".to_owned(),
                words::shell(text, sender, recipients),
            ],
        }
    }

    /// The environment of the command: what the plan says, with another user's own home and name.
    fn environment(&self) -> Vec<(std::ffi::OsString, std::ffi::OsString)> {
        self.user.environment(&self.to.environment)
    }

    fn variable(&self, name: &str) -> Option<std::ffi::OsString> {
        let (_, value) = self
            .environment()
            .into_iter()
            .find(|(other, _)| other == name)?;
        Some(value)
    }

    /// Where the command starts: at home, where there is one.
    fn directory(&self) -> PathBuf {
        let home = self.variable("HOME").map(PathBuf::from);
        home.filter(|home| home.is_absolute() && home.is_dir())
            .unwrap_or_else(|| PathBuf::from("/"))
    }
}

#[cfg(test)]
mod tests;
