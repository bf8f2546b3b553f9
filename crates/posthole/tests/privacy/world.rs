//! The program in a world, as from a shell that has left something open.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use posthole_testkit::World;

/// The program, with nobody to ask.
pub(crate) fn command(world: &World, args: &[&str]) -> Command {
    let mut command = world.posthole(Path::new(BIN));
    command.args(args).stdin(Stdio::null()).process_group(0);
    command
}

/// What a run of the program printed, on both.
pub(crate) fn printed(world: &World, args: &[&str]) -> String {
    text(&command(world, args).output().unwrap())
}

pub(crate) fn text(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr].concat();
    String::from_utf8(both).unwrap()
}

/// A process that is ended when this is dropped.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended, or it is no good.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[track_caller]
pub(crate) fn wait_until(what: &str, so: impl FnMut() -> bool) {
    wait_and_tell(what, so, String::new);
}

/// Waits, and tells what helps if it was for nothing.
#[track_caller]
pub(crate) fn wait_and_tell(what: &str, mut so: impl FnMut() -> bool, tell: impl Fn() -> String) {
    let deadline = Instant::now() + PATIENCE;
    while !so() {
        assert!(
            Instant::now() < deadline,
            "not so after {PATIENCE:?}: {what}\n{}",
            tell()
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub(crate) const BIN: &str = env!("CARGO_BIN_EXE_posthole");
const PATIENCE: Duration = Duration::from_secs(60);
