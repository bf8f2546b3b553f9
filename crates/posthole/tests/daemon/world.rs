//! A daemon in a world, and its end.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use posthole_testkit::World;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// A daemon, which is ended when this is dropped.
pub(crate) struct Daemon<'w> {
    world: &'w World,
    child: Child,
    log: PathBuf,
}

impl<'w> Daemon<'w> {
    /// Starts it, and waits until it can be talked to.
    pub(crate) fn start(world: &'w World, args: &[&str]) -> Self {
        let daemon = Self::launch(world, command(world, &[&["daemon"], args].concat()));
        wait_until("the daemon answers", || daemon.status().is_some());
        daemon
    }

    /// Starts it.
    pub(crate) fn launch(world: &'w World, mut command: Command) -> Self {
        let log = world.home().path().join("log-of-daemon");
        let output = File::create(&log).unwrap();
        let errors = output.try_clone().unwrap();
        let child = command.stdout(output).stderr(errors).spawn().unwrap();
        Self { world, child, log }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    #[track_caller]
    pub(crate) fn wait_for_log(&self, text: &str) {
        wait_until(&format!("{text:?} in the log"), || {
            self.log().contains(text)
        });
    }

    pub(crate) fn status(&self) -> Option<Value> {
        let status = status(self.world);
        (!status["daemon"].is_null()).then_some(status)
    }

    /// The only account.
    #[track_caller]
    pub(crate) fn account(&self) -> Value {
        self.status().expect("the daemon answers")["accounts"][0].clone()
    }

    /// Waits until the only account is so.
    #[track_caller]
    pub(crate) fn wait_for(&self, what: &str, so: impl Fn(&Value) -> bool) {
        wait_until(what, || {
            self.status().is_some_and(|s| so(&s["accounts"][0]))
        });
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> (ExitStatus, String) {
        let mut status = None;
        wait_until("the daemon has ended", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        (status.unwrap(), self.log())
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        // It has ended, or it is no good.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A daemon in the background, which is ended when this is dropped, also by a test that fails.
pub(crate) struct InBackground<'w>(pub(crate) &'w World);

impl Drop for InBackground<'_> {
    fn drop(&mut self) {
        // Mostly the test has ended it already.
        command(self.0, &["stop"]).output().ok();
    }
}

/// The program in the world, with nobody to ask.
pub(crate) fn command(world: &World, args: &[&str]) -> Command {
    let mut command = world.posthole(Path::new(BIN));
    command.args(args).stdin(Stdio::null()).process_group(0);
    command
}

pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs the program to its end.
pub(crate) fn run(world: &World, args: &[&str]) -> Ended {
    let Output {
        status,
        stdout,
        stderr,
    } = command(world, args).output().unwrap();
    Ended {
        code: status.code(),
        stdout: String::from_utf8(stdout).unwrap(),
        stderr: String::from_utf8(stderr).unwrap(),
    }
}

/// Runs the program, which must succeed; returns what it printed.
#[track_caller]
pub(crate) fn ok(world: &World, args: &[&str]) -> String {
    let ended = run(world, args);
    assert_eq!(ended.code, Some(0), "{args:?}: {}", ended.stderr);
    ended.stdout
}

pub(crate) fn status(world: &World) -> Value {
    serde_json::from_str(&ok(world, &["status", "--json"])).unwrap()
}

/// Replaces a text in the configuration.
pub(crate) fn configure(world: &World, change: impl FnOnce(String) -> String) {
    let before = std::fs::read_to_string(world.home().config()).unwrap();
    world.home().write_config(&change(before));
}

#[track_caller]
pub(crate) fn wait_until(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !so() {
        assert!(
            Instant::now() < deadline,
            "not so after {PATIENCE:?}: {what}"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub(crate) const BIN: &str = env!("CARGO_BIN_EXE_posthole");
const PATIENCE: Duration = Duration::from_secs(60);
