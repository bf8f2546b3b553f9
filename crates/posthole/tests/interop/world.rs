//! The program and its end, for all tests.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use posthole_testkit::real::Mailhost;
use posthole_testkit::relay::Relay;
use posthole_testkit::{Home, Terminal, keys};
use serde_json::Value;

/// The program in a home, in the background of whatever terminal runs the tests: it has nobody to
/// ask.
pub(crate) fn posthole(home: &Home, args: &[&str]) -> Command {
    let mut command = home.command_as_user(Path::new(BIN));
    command.args(args).stdin(Stdio::null()).process_group(0);
    command
}

/// The program on a terminal.
pub(crate) fn at_a_terminal(home: &Home, args: &[&str]) -> Terminal {
    let mut command = home.command_as_user(Path::new(BIN));
    command.args(args).env("TERM", "xterm");
    Terminal::start(command)
}

/// Runs the program to its end.
#[track_caller]
pub(crate) fn run(home: &Home, args: &[&str]) -> Ended {
    end(start(home, args))
}

/// Starts the program.
#[track_caller]
pub(crate) fn start(home: &Home, args: &[&str]) -> Child {
    let mut command = posthole(home, args);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// Waits for the end of the program.
#[track_caller]
pub(crate) fn end(child: Child) -> Ended {
    let output = child.wait_with_output().unwrap();
    Ended {
        status: output.status,
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// What came of a run.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// Checks the exit code, and that nothing was said on standard error if it is 0.
    #[track_caller]
    pub(crate) fn exits(&self, code: i32) -> &Self {
        let quiet = code != 0 || self.stderr.is_empty();
        assert!(
            self.status.code() == Some(code) && quiet,
            "{} where {code} was expected\n{}",
            self.status,
            self.text()
        );
        self
    }

    /// Checks that the process ended by this signal.
    #[track_caller]
    pub(crate) fn ends_by(&self, signal: i32) -> &Self {
        let by = self.status.signal();
        assert_eq!(by, Some(signal), "{}\n{}", self.status, self.text());
        self
    }

    /// Checks that all of these are in what it said on standard error.
    #[track_caller]
    pub(crate) fn says(&self, words: &[&str]) -> &Self {
        for word in words {
            assert!(
                self.stderr.contains(word),
                "{word:?} is not in\n{}",
                self.text()
            );
        }
        self
    }

    /// Checks that all of these are in what it printed on standard output.
    #[track_caller]
    pub(crate) fn prints(&self, words: &[&str]) -> &Self {
        for word in words {
            assert!(
                self.stdout.contains(word),
                "{word:?} is not in\n{}",
                self.text()
            );
        }
        self
    }

    /// Standard output as lines of JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Vec<Value> {
        let line = |line| match serde_json::from_str(line) {
            Ok(value) => value,
            Err(error) => panic!("{error} in {line}\n{}", self.text()),
        };
        self.stdout.lines().map(line).collect()
    }

    /// Everything it said.
    pub(crate) fn text(&self) -> String {
        format!("stdout:\n{}stderr:\n{}", self.stdout, self.stderr)
    }
}

/// Puts a relay between the program and sshd, which the program knows there; the configuration
/// leads through it.
pub(crate) fn through(host: &Mailhost, relay: &Relay) -> String {
    let addr = relay.addr();
    let ip = addr.ip().to_string();
    let line = keys::known_hosts_line(&ip, addr.port(), host.sshd().host_key());
    host.home().write_known_hosts(&line);
    let via = format!("{}@{addr}", Mailhost::USER);
    host.home()
        .write_config(&account("work", &host.url(), &via));
    via
}

/// The configuration of an account.
pub(crate) fn account(name: &str, url: &str, via: &str) -> String {
    format!(
        "[account.{name}]\n\
         server = \"{url}\"\n\
         via = \"{via}\"\n\
         password = {{ file = \"~/mail-password\" }}\n\
         deliver = \"maildir:~/Mail\"\n"
    )
}

/// Waits until something is so.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !so() {
        assert!(
            Instant::now() < deadline,
            "not so after {PATIENCE:?}: {what}"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
}

pub(crate) const BIN: &str = env!("CARGO_BIN_EXE_posthole");
/// How long anything may take on a machine that is very busy.
const PATIENCE: Duration = Duration::from_secs(60);
