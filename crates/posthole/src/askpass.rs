//! A program that asks in a window of its own, as ssh(1) has it: `SSH_ASKPASS`,
//! `SSH_ASKPASS_REQUIRE`, and a display to ask on.
//!
//! The question is its one argument and the first line that it prints is the answer; when it fails,
//! there is none. A question must never outlive the wish for an answer, so the program is killed
//! when the run is stopped. As with ssh(1), `SSH_ASKPASS_PROMPT` is not set for any of these
//! questions: all of them are answered by typing, the one about a host key among them.

use std::ffi::OsString;
use std::io;
use std::process::{Child, ChildStdout, Stdio};
use std::time::Duration;

use posthole_core::ask::Unanswered;
use posthole_core::exec;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;
use tokio_util::sync::CancellationToken;

use crate::tty::{LINE_LIMIT, LOOK};

/// Whether and when a program asks instead of the terminal.
#[derive(Clone, Debug, Default)]
pub(crate) struct Askpass {
    program: Option<OsString>,
    require: Require,
}

/// `SSH_ASKPASS_REQUIRE`, and whether there is a display.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Require {
    /// Rather than on a terminal.
    First,
    /// Where there is no terminal.
    Instead,
    #[default]
    Never,
}

impl Askpass {
    /// What the environment says.
    pub(crate) fn from_environment(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let has_display = set("DISPLAY").or_else(|| set("WAYLAND_DISPLAY")).is_some();
        let require = set("SSH_ASKPASS_REQUIRE").unwrap_or_default();
        let require = require.to_string_lossy().to_ascii_lowercase();
        Self {
            program: set("SSH_ASKPASS"),
            require: match require.as_str() {
                "force" => Require::First,
                "never" => Require::Never,
                "prefer" if has_display => Require::First,
                _ if has_display => Require::Instead,
                _ => Require::Never,
            },
        }
    }

    /// The program, if it is to be asked although there is a terminal.
    pub(crate) fn before_a_terminal(&self) -> Option<Program<'_>> {
        (self.require == Require::First)
            .then(|| self.program())
            .flatten()
    }

    /// The program, if it is to be asked where there is no terminal.
    pub(crate) fn without_a_terminal(&self) -> Option<Program<'_>> {
        (self.require != Require::Never)
            .then(|| self.program())
            .flatten()
    }

    fn program(&self) -> Option<Program<'_>> {
        self.program.as_ref().map(Program)
    }
}

/// A program to ask.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Program<'a>(&'a OsString);

impl Program<'_> {
    /// Runs the program with a question, until it answers or `stop` is cancelled.
    pub(crate) fn ask(
        self,
        question: &str,
        stop: &CancellationToken,
    ) -> Result<SecretString, Unanswered> {
        let child = exec::find(self.0, None).and_then(|()| {
            exec::program(self.0)
                .arg(question.trim_end())
                .env_remove("SSH_ASKPASS_PROMPT")
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .spawn()
        });
        let mut running = match child {
            Ok(child) => Running(child),
            Err(error) => return Err(self.failed(&error)),
        };
        // INVARIANT: it was piped above.
        let stdout = running.0.stdout.take().expect("standard output is a pipe");
        let answer = read(stdout, stop)?;
        let status = loop {
            if stop.is_cancelled() {
                return Err(Unanswered::Cancelled);
            }
            match running.0.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) => std::thread::sleep(TICK),
                Err(error) => return Err(self.failed(&error)),
            }
        };
        if !status.success() {
            return Err(Unanswered::Cancelled);
        }
        let end = answer
            .iter()
            .position(|octet| matches!(octet, b'\r' | b'\n'));
        let line = &answer[..end.unwrap_or(answer.len())];
        match std::str::from_utf8(line) {
            Ok(line) => Ok(SecretString::from(line)),
            Err(_) => {
                tracing::warn!("what {} answered is not UTF-8 text", self.name());
                Err(Unanswered::Cancelled)
            }
        }
    }

    fn failed(self, error: &io::Error) -> Unanswered {
        tracing::warn!("cannot ask with {} (SSH_ASKPASS): {error}", self.name());
        Unanswered::NoTerminal
    }

    fn name(self) -> String {
        self.0.to_string_lossy().into_owned()
    }
}

/// Reads to the end, but no more than an answer can be.
fn read(stdout: ChildStdout, stop: &CancellationToken) -> Result<Zeroizing<Vec<u8>>, Unanswered> {
    // Never grows, so no copy of a password is left behind.
    let mut answer = Zeroizing::new(Vec::with_capacity(LINE_LIMIT));
    let mut chunk = Zeroizing::new([0; 256]);
    loop {
        if stop.is_cancelled() {
            return Err(Unanswered::Cancelled);
        }
        match poll(&mut [PollFd::new(&stdout, PollFlags::IN)], Some(&LOOK)) {
            Ok(0) | Err(Errno::INTR) => continue,
            Ok(_) => {}
            Err(_) => return Err(Unanswered::Cancelled),
        }
        match rustix::io::read(&stdout, &mut chunk[..]) {
            Ok(0) => return Ok(answer),
            Ok(length) if answer.len() + length > LINE_LIMIT => return Err(Unanswered::Cancelled),
            Ok(length) => answer.extend_from_slice(&chunk[..length]),
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(_) => return Err(Unanswered::Cancelled),
        }
    }
}

/// A program that is ended when nobody waits for it any more.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// How often a program that has answered is looked at, until it ends.
const TICK: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use std::process::Command;

    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn the_environment_decides_as_with_ssh() {
        let table: [(&[(&str, &str)], Require); 10] = [
            (&[], Require::Never),
            (&[("DISPLAY", ":0")], Require::Instead),
            (&[("WAYLAND_DISPLAY", "wayland-0")], Require::Instead),
            (&[("DISPLAY", "")], Require::Never),
            (&[("SSH_ASKPASS_REQUIRE", "force")], Require::First),
            (&[("SSH_ASKPASS_REQUIRE", "prefer")], Require::Never),
            (
                &[("SSH_ASKPASS_REQUIRE", "Prefer"), ("DISPLAY", ":0")],
                Require::First,
            ),
            (
                &[("SSH_ASKPASS_REQUIRE", "never"), ("DISPLAY", ":0")],
                Require::Never,
            ),
            (
                &[("SSH_ASKPASS_REQUIRE", "what"), ("DISPLAY", ":0")],
                Require::Instead,
            ),
            (&[("SSH_ASKPASS_REQUIRE", "")], Require::Never),
        ];
        for (variables, expected) in table {
            let askpass = Askpass::from_environment(|name| {
                let found = variables.iter().find(|(variable, _)| *variable == name);
                found.map(|(_, value)| OsString::from(value))
            });
            assert_eq!(askpass.require, expected, "{variables:?}");
            assert!(
                askpass.without_a_terminal().is_none(),
                "no program is named"
            );
        }
    }

    fn ask(script: &str, stop: &CancellationToken) -> Result<String, Unanswered> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("askpass").into_os_string();
        // By another process: a file that is open for writing here, or in a child that was forked
        // meanwhile, cannot be executed.
        let written = Command::new("sh")
            .args([
                "-c",
                "printf '#!/bin/sh\n%s\n' \"$1\" >\"$0\" && chmod 700 \"$0\"",
            ])
            .arg(&path)
            .arg(script)
            .status();
        assert!(written.unwrap().success());
        let answer = Program(&path).ask("Password: ", stop);
        answer.map(|answer| answer.expose_secret().to_owned())
    }

    #[test]
    fn the_first_line_is_the_answer_if_the_program_succeeds() {
        let stop = CancellationToken::new();
        let table = [
            ("echo \"$#$1\"", Ok("1Password:".to_owned())),
            ("printf 'a b\\r\\nc\\n'", Ok("a b".to_owned())),
            ("exit 0", Ok(String::new())),
            ("echo secret; exit 1", Err(Unanswered::Cancelled)),
            ("kill $$", Err(Unanswered::Cancelled)),
            ("printf '\\377\\n'", Err(Unanswered::Cancelled)),
            ("yes", Err(Unanswered::Cancelled)),
            ("echo \"$SSH_ASKPASS_PROMPT\"", Ok(String::new())),
        ];
        for (script, expected) in table {
            assert_eq!(ask(script, &stop), expected, "{script}");
        }
    }

    #[test]
    fn a_program_that_is_not_there_is_no_terminal() {
        let path = OsString::from("/nonexistent/askpass");
        let answer = Program(&path).ask("Password: ", &CancellationToken::new());
        assert_eq!(answer.err(), Some(Unanswered::NoTerminal));
    }

    #[test]
    fn a_request_to_stop_ends_the_program() {
        let stop = CancellationToken::new();
        std::thread::scope(|scope| {
            // Once with standard output open, once closed.
            let asking = ["exec sleep 600", "exec >/dev/null; exec sleep 600"]
                .map(|script| scope.spawn(|| ask(script, &stop)));
            stop.cancel();
            for asking in asking {
                assert_eq!(asking.join().unwrap(), Err(Unanswered::Cancelled));
            }
        });
    }
}
